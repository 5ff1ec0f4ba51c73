//! A trained model in an experiment folder.

use super::consistent;
use crate::{
    config::{Experiment, Scalar},
    data::{
        channels::{self, Channel},
        histogram_quantiles::Unit,
        layers,
    },
    error::{Error, Result},
    experiment::channel_entry::ChannelEntry,
    files::{
        atomic::{read_json, write_atomically, write_json},
        folder::{Folder, names},
    },
    model::{Architecture, weights},
    prepare::scale::Scaler,
    score::{network::Network, one_class_svm::OneClassSvm, threshold::Calibrated},
};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// What reading a model takes from `provenance.json`.
#[derive(Debug, Default, serde::Deserialize)]
struct Provenance {
    /// By label set: the value that counted as bad because it was the only one besides those that
    /// mean good.
    #[serde(default)]
    bad_values: BTreeMap<String, Scalar>,
}

/// A trained model read from a folder, with everything needed for scoring.
#[derive(Clone, Debug)]
pub struct TrainedModel {
    /// The resolved config.
    pub experiment: Experiment,
    /// The trained channels.
    pub networks: Vec<Network>,
    /// The scaling of bins to inputs.
    pub scaler: Scaler,
    /// The thresholds of scores; the first one of each channel flags.
    pub thresholds: Vec<Calibrated>,
}

impl TrainedModel {
    /// Reads the model of an experiment folder.
    ///
    /// # Errors
    /// If `path` is not a folder written by `lumisift train`, or if its files are inconsistent.
    pub fn open(path: &Path) -> Result<Self> {
        Folder::open(path)?.read_model(&[])
    }

    /// Names of the values of a row in the order of the scaler: features, or `bin_0`, `bin_1`, ….
    pub fn read_names(&self) -> Vec<String> {
        let channels: Vec<Channel> =
            self.networks.iter().map(|network| network.channel.clone()).collect();
        let added = self.scaler.added.as_ref().map_or(&[][..], |added| added.names.as_slice());
        let mut names = channels::inputs(&channels);
        names.retain(|name| !added.contains(name));
        names
    }

    /// The columns that it was trained on, if its inputs are features; `None` for histograms.
    pub fn columns(&self) -> Option<Vec<String>> {
        Some(self.read_names()).filter(|columns| {
            !self.is_layered() && columns.first().is_some_and(|name| name != "bin_0")
        })
    }

    /// The monitoring element that it was trained on, if there is a single one.
    pub fn element(&self) -> Option<&String> {
        self.networks
            .first()
            .filter(|_| self.networks.len() == 1)
            .and_then(|network| network.channel.element.as_ref())
    }

    /// The unit of its features, if they are the seven numbers of a histogram and it was recorded.
    pub fn unit(&self) -> Option<Unit> {
        self.networks.first().and_then(|network| network.channel.unit)
    }

    /// Whether each channel is a monitoring element.
    pub fn is_layered(&self) -> bool {
        !self.experiment.data.layers.is_empty()
    }

    /// The layers that it was trained on; empty for a single monitoring element.
    pub fn layers(&self) -> Vec<layers::LayerSpec> {
        let layer = |channel: &Channel| layers::LayerSpec {
            name: channel.name.clone(),
            element: channel.element.clone().unwrap_or_default(),
            shape: channel.shape,
        };
        self.networks
            .iter()
            .filter(|_| self.is_layered())
            .map(|network| layer(&network.channel))
            .collect()
    }
}

impl Folder {
    /// Path of the weights of a member (from 0) of a channel's ensemble.
    pub fn weights_file(&self, channel: &str, member: usize) -> PathBuf {
        self.file(names::MODEL).join(weights::file_name(channel, member))
    }

    /// Path of the one-class SVM of a channel.
    pub fn svm_file(&self, channel: &str) -> PathBuf {
        self.file(names::MODEL).join(format!("{}.svm.json", channel.replace('/', "_")))
    }

    /// Writes the weights of a member (from 0) of a channel's ensemble.
    pub fn write_weights(
        &self,
        channel: &str,
        member: usize,
        architecture: &Architecture,
        flat: &[f32],
    ) -> Result<()> {
        let path = self.weights_file(channel, member);
        if let Some(folder) = path.parent() {
            self.make(folder)?;
        }
        write_atomically(&path, &weights::to_bytes(architecture, flat)?)
    }

    /// Writes the weights of a trained channel and its one-class SVM.
    pub fn write_network(&self, network: &Network) -> Result<()> {
        for (member, weights) in network.members.iter().enumerate() {
            self.write_weights(&network.channel.name, member, &network.architecture, weights)?;
        }
        match &network.svm {
            Some(svm) => write_json(&self.svm_file(&network.channel.name), svm),
            None => Ok(()),
        }
    }

    /// Writes `channels.json`.
    pub fn write_channels(&self, networks: &[Network]) -> Result<()> {
        let entry = |network: &Network| ChannelEntry {
            channel: network.channel.clone(),
            usual: network.baseline.clone(),
            masked: network.masked.clone(),
        };
        self.write_json(names::CHANNELS, &networks.iter().map(entry).collect::<Vec<_>>())
    }

    /// Reads the model; `sets` are `--set` arguments that override the config.
    pub fn read_model(&self, sets: &[String]) -> Result<TrainedModel> {
        let mut experiment = Experiment::load(&self.file(names::EXPERIMENT), sets)?;
        // The value that counted as bad in training also does in new data, which may have no other.
        let provenance: Provenance = self.read_json(names::PROVENANCE).unwrap_or_default();
        experiment.labels.settle(&provenance.bad_values);
        let scaler: Scaler = self.read_json(names::SCALER)?;
        scaler.check()?;
        let thresholds: Vec<Calibrated> = self.read_json(names::THRESHOLDS)?;
        if thresholds.is_empty() {
            return Err(Error::input(format!(
                "{}: holds no threshold",
                self.file(names::THRESHOLDS).display()
            )));
        }
        let entries: Vec<ChannelEntry> = self.read_json(names::CHANNELS)?;
        let wrong = |file: &str, reason: &dyn std::fmt::Display| {
            Error::input(format!("{}: {reason}", self.file(file).display()))
        };
        consistent::channels(&entries, &experiment)
            .map_err(|reason| wrong(names::CHANNELS, &reason))?;
        consistent::thresholds(&thresholds, &entries)
            .map_err(|reason| wrong(names::THRESHOLDS, &reason))?;
        let mut networks = vec![];
        for ChannelEntry { channel, usual, masked } in entries {
            let architecture = Architecture::new(channel.features.len(), &experiment.model);
            let read = |member: usize| {
                weights::read(&self.weights_file(&channel.name, member), &architecture)
            };
            let members =
                (0..experiment.train.ensemble as usize).map(read).collect::<Result<Vec<_>>>()?;
            let svm = self.svm_file(&channel.name);
            let svm: Option<OneClassSvm> =
                if svm.is_file() { Some(read_json(&svm)?) } else { None };
            let fits = |svm: &OneClassSvm| {
                svm.width == architecture.latent()
                    && Some(svm.support.len()) == svm.width.checked_mul(svm.coefficients.len())
            };
            if svm.as_ref().is_some_and(|svm| !fits(svm)) {
                return Err(Error::input(format!(
                    "{}: does not fit the latents of channel {}",
                    self.svm_file(&channel.name).display(),
                    channel.name
                )));
            }
            networks.push(Network { channel, architecture, members, baseline: usual, svm, masked });
        }
        let model = TrainedModel { experiment, networks, scaler, thresholds };
        let names = model.read_names().len();
        if names != model.scaler.width {
            let (channels, scaler) =
                (self.file(names::CHANNELS).display().to_string(), names::SCALER);
            return Err(Error::input(format!(
                "{channels}: names {names} features, but {scaler} has {}",
                model.scaler.width
            )));
        }
        Ok(model)
    }
}
