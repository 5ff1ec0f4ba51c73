//! The experiment folder: everything one training wrote. The folder is the model.

use super::{consistent, figures::Report, lock};
use crate::{
    config::{Experiment, raw::Scalar},
    data::{
        Source,
        channels::{self, Channel},
        layers,
        summary::Unit,
        table,
    },
    error::{Error, Result},
    files,
    model::{Architecture, weights},
    prepare::scale::Scaler,
    score::{network::Network, one_class_svm::OneClassSvm, threshold::Calibrated, usual::Usual},
    train::{Epoch, State, checkpoint},
};
use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    sync::LazyLock,
};

/// Names of the files in an experiment folder.
pub mod names {
    /// The resolved config.
    pub const EXPERIMENT: &str = "experiment.toml";
    /// Where everything came from.
    pub const PROVENANCE: &str = "provenance.json";
    /// One line an epoch.
    pub const HISTORY: &str = "history.csv";
    /// One row per sample and channel.
    pub const SCORES: &str = "scores.parquet";
    /// Rows that are not evaluated, with the reasons.
    pub const REJECTED: &str = "rejected.parquet";
    /// How bins become inputs.
    pub const SCALER: &str = "scaler.json";
    /// What bins are on average, where the scaling divides by that.
    pub const NORMALISATION: &str = "normalisation.parquet";
    /// Where scores become flags.
    pub const THRESHOLDS: &str = "thresholds.json";
    /// Where scores become verdicts, as `lumisift certify` last found it.
    pub const CUTS: &str = "cuts.json";
    /// Which features make which channel.
    pub const CHANNELS: &str = "channels.json";
    /// The regions that patterns found.
    pub const REGIONS: &str = "regions.parquet";
    /// The points of the ROC curves.
    pub const ROC: &str = "roc.parquet";
    /// Latents in two dimensions.
    pub const PROJECTIONS: &str = "projections.parquet";
    /// Figures as numbers.
    pub const REPORT: &str = "report.json";
    /// The page.
    pub const PAGE: &str = "report.html";
    /// Weights, one file a channel.
    pub const MODEL: &str = "model";
    /// What happened, a line an event.
    pub const LOG: &str = "log.txt";
    /// Where trainings stand, a folder a channel.
    pub const CHECKPOINTS: &str = "checkpoints";
    /// Event files for TensorBoard, a folder a model.
    pub const TENSORBOARD: &str = "tensorboard";
    /// All of them, for making a folder anew.
    pub const ALL: [&str; 19] = [
        EXPERIMENT,
        PROVENANCE,
        HISTORY,
        SCORES,
        REJECTED,
        SCALER,
        NORMALISATION,
        THRESHOLDS,
        CUTS,
        CHANNELS,
        REGIONS,
        ROC,
        PROJECTIONS,
        REPORT,
        PAGE,
        MODEL,
        LOG,
        CHECKPOINTS,
        TENSORBOARD,
    ];
}

/// The columns of `history.csv` that are there only where they say something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HistoryColumns {
    /// Models of an ensemble, told apart by their number, from 1.
    pub member: bool,
    /// What penalties added to what was made small.
    pub penalty: bool,
}

impl HistoryColumns {
    /// Those of an experiment.
    pub fn new(experiment: &Experiment) -> Self {
        Self {
            member: experiment.config.train.ensemble > 1,
            penalty: !experiment.penalties.is_empty(),
        }
    }

    /// The first line of the file.
    fn header(self) -> String {
        let (member, penalty) =
            (if self.member { "member," } else { "" }, if self.penalty { ",penalty" } else { "" });
        format!("epoch,channel,{member}train_loss,valid_loss,learning_rate,seconds{penalty}")
    }

    /// A line of the file for an epoch of a model (channel and member).
    fn line(self, (channel, member): (&str, usize), epoch: &Epoch) -> String {
        let Epoch { epoch, train_loss, valid_loss, learning_rate, seconds, penalty } = epoch;
        let member = if self.member { format!("{},", member + 1) } else { String::new() };
        let valid = valid_loss.map(|loss| loss.to_string()).unwrap_or_default();
        let penalty = if self.penalty {
            format!(",{}", penalty.map(|penalty| penalty.to_string()).unwrap_or_default())
        } else {
            String::new()
        };
        format!(
            "{epoch},{channel},{member}{train_loss},{valid},{learning_rate},{seconds:.6}{penalty}\n"
        )
    }
}

/// A line of `history.csv`.
#[derive(Clone, Debug, PartialEq)]
pub struct HistoryLine {
    /// The channel.
    pub channel: String,
    /// Which member of its ensemble, from 0.
    pub member: usize,
    /// What the epoch came to.
    pub epoch: Epoch,
}

/// One entry of `channels.json`.
#[derive(Clone, Debug, PartialEq, Serialize, serde::Deserialize)]
pub struct ChannelEntry {
    /// Name and features.
    #[serde(flatten)]
    pub channel: Channel,
    /// What is usual for its errors.
    #[serde(flatten)]
    pub usual: Usual,
    /// Bins that patterns leave out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub masked: Vec<u32>,
}

/// What reading a model takes from `provenance.json`.
#[derive(Debug, Default, serde::Deserialize)]
struct Provenance {
    /// By label set: the value that counted as bad because it was the only one beside those that
    /// mean good.
    #[serde(default)]
    bad_values: BTreeMap<String, Scalar>,
}

/// An experiment folder on disk.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
}

/// What scoring needs, read back from a folder.
#[derive(Clone, Debug)]
pub struct Model {
    /// The resolved config.
    pub experiment: Experiment,
    /// The trained channels.
    pub networks: Vec<Network>,
    /// How bins become inputs.
    pub scaler: Scaler,
    /// Where scores become flags: for each channel the one that flags first.
    pub thresholds: Vec<Calibrated>,
}

impl Model {
    /// Names of what is read of a row, in the order of the scaler: features, or `bin_0`, `bin_1`,
    /// ….
    pub fn read_names(&self) -> Vec<String> {
        let channels: Vec<Channel> =
            self.networks.iter().map(|network| network.channel.clone()).collect();
        let added = self.scaler.added.as_ref().map_or(&[][..], |added| added.names.as_slice());
        let mut names = channels::inputs(&channels);
        names.retain(|name| !added.contains(name));
        names
    }

    /// The columns that it was trained on, where its inputs are features; histograms have bins.
    pub fn columns(&self) -> Option<Vec<String>> {
        Some(self.read_names()).filter(|columns| {
            !self.is_layered() && columns.first().is_some_and(|name| name != "bin_0")
        })
    }

    /// The monitoring element that it was trained on, where that is one.
    pub fn element(&self) -> Option<&String> {
        self.networks
            .first()
            .filter(|_| self.networks.len() == 1)
            .and_then(|network| network.channel.element.as_ref())
    }

    /// What its features are in, where they are seven numbers of a histogram and it was recorded.
    pub fn unit(&self) -> Option<Unit> {
        self.networks.first().and_then(|network| network.channel.unit)
    }

    /// Whether each channel is a monitoring element.
    pub fn is_layered(&self) -> bool {
        !self.experiment.layers.is_empty()
    }

    /// The layers that it was trained on; none where it has one monitoring element.
    pub fn layers(&self) -> Vec<layers::Wanted> {
        let layer = |channel: &Channel| layers::Wanted {
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
    /// A new folder. One that holds anything is refused, or with `force` loses the files of the
    /// experiment before (and no others).
    pub fn create(path: &Path, force: bool) -> Result<Self> {
        Self::check_free(path, force)?;
        fs::create_dir_all(path).map_err(|error| Error::writing(path, &error))?;
        let folder = Self { path: path.to_path_buf() };
        folder.tidy();
        for name in names::ALL {
            let old = folder.file(name);
            lock::check(&old)?;
            let removed =
                if old.is_dir() { fs::remove_dir_all(&old) } else { fs::remove_file(&old) };
            match removed {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::writing(&old, &error));
                }
                _ => {}
            }
        }
        Ok(folder)
    }

    /// Whether [`Folder::create`] would take this path.
    pub fn check_free(path: &Path, force: bool) -> Result<()> {
        let shown = path.display();
        if let Some(reason) = files::no_folder(path) {
            return Err(Error::input(format!("--out {shown}: {reason}")));
        }
        // Of a training that was killed before it began: its lock, and what it was about to write.
        let is_left = |name: &str| lock::is_lock(name) || is_part(name);
        let is_left = |entry: &std::io::Result<fs::DirEntry>| {
            entry.as_ref().is_ok_and(|entry| is_left(&entry.file_name().to_string_lossy()))
        };
        match fs::read_dir(path).map(|entries| entries.filter(|entry| !is_left(entry)).count() > 0)
        {
            Ok(true) if !force => {
                let message = if !path.join(names::EXPERIMENT).exists() {
                    "is a folder with files in it; choose another folder, or --force to write into it"
                } else if path.join(names::REPORT).exists() {
                    "holds an experiment; choose another folder, or --force to replace it"
                } else {
                    "holds an experiment that is not complete; --resume goes on with it, --force replaces it"
                };
                Err(Error::input(format!("--out {shown}: {message}")))
            }
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::reading(path, &error))
            }
            _ => Ok(()),
        }
    }

    /// The folder of an experiment that was begun and is to go on, where there is one. It must be
    /// of the same config.
    pub fn begun(path: &Path, experiment: &Experiment) -> Result<Option<Self>> {
        let folder = Self { path: path.to_path_buf() };
        let file = folder.file(names::EXPERIMENT);
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::reading(&file, &error)),
        };
        let differ = differences(&text, &experiment.to_toml()?);
        match differ.first() {
            None => Ok(Some(folder)),
            Some(_) => Err(Error::input(format!(
                "--resume: {} was begun with another config: {}",
                path.display(),
                differ.join(", ")
            ))),
        }
    }

    /// Removes what writers that were killed left beside their targets. Only who holds the lock
    /// may.
    pub fn tidy(&self) {
        let folders = [self.path.clone(), self.file(names::MODEL)];
        let channels = fs::read_dir(self.file(names::CHECKPOINTS))
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path());
        for path in folders
            .into_iter()
            .chain(channels)
            .flat_map(|folder| fs::read_dir(folder).into_iter().flatten().flatten())
            .map(|entry| entry.path())
        {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if is_part(&name) && lock::check(&path).is_ok() {
                // Another time, if not now.
                let _ = fs::remove_file(&path);
            }
        }
    }

    /// Whether training and report are done, and the history is that of the report.
    pub fn is_complete(&self) -> bool {
        self.file(names::REPORT).is_file() && !self.has_older_history()
    }

    /// Whether the history lacks epochs of the report. HTCondor's file transfer lays the files of
    /// the last eviction over a folder that is complete, where a task was held while it brought
    /// that home; the checkpoints have it all.
    fn has_older_history(&self) -> bool {
        let Ok(report) = self.read_json::<Report>(names::REPORT) else { return false };
        if !self.file(names::HISTORY).is_file() {
            return false;
        }
        // Copied while a line was written.
        let Ok(history) = self.read_history() else { return true };
        report.channels.iter().any(|channel| {
            let lines = || history.iter().filter(|line| line.channel == channel.name);
            let (last, seconds) = (
                lines().map(|line| line.epoch.epoch).max(),
                lines().map(|line| line.epoch.seconds).sum::<f64>(),
            );
            // Of an ensemble the report has the most epochs of any member; the times are those of
            // all, in whole microseconds each.
            (last.unwrap_or(0) as usize) < channel.training.epochs
                || seconds < channel.training.seconds - 1e-6 * lines().count() as f64
        })
    }

    /// A folder that a training wrote.
    pub fn open(path: &Path) -> Result<Self> {
        if !path.join(names::EXPERIMENT).is_file() {
            let what = if path.exists() {
                format!("holds no {}", names::EXPERIMENT)
            } else {
                "does not exist".into()
            };
            return Err(Error::input(format!(
                "{}: {what}; expected a folder that `lumisift train` wrote",
                path.display()
            )));
        }
        Ok(Self { path: path.to_path_buf() })
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The weights of a member of a channel's ensemble, from 0.
    pub fn weights_file(&self, channel: &str, member: usize) -> PathBuf {
        self.path.join(names::MODEL).join(weights::file_name(channel, member))
    }

    /// The one-class SVM of a channel.
    pub fn svm_file(&self, channel: &str) -> PathBuf {
        self.path.join(names::MODEL).join(format!("{}.svm.json", channel.replace('/', "_")))
    }

    /// Writes a file whole or not at all.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        write_atomically(&self.file(name), bytes)
    }

    /// Writes a JSON file whole or not at all.
    pub fn write_json(&self, name: &str, value: &impl Serialize) -> Result<()> {
        write_json(&self.file(name), value)
    }

    /// Reads a JSON file.
    pub fn read_json<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        read_json(&self.file(name))
    }

    /// Writes the weights of a member of a channel's ensemble, from 0.
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

    /// Writes `history.csv` with the epochs that models (channel and member) have behind them,
    /// whole or not at all; returns it open to append to.
    pub fn write_history<'a>(
        &self,
        columns: HistoryColumns,
        models: impl IntoIterator<Item = ((&'a str, usize), &'a [Epoch])>,
    ) -> Result<History> {
        let mut text = format!("{}\n", columns.header());
        for (model, epochs) in models {
            epochs.iter().for_each(|epoch| text.push_str(&columns.line(model, epoch)));
        }
        self.write(names::HISTORY, text.as_bytes())?;
        let path = self.file(names::HISTORY);
        let file = File::options()
            .append(true)
            .open(&path)
            .map_err(|error| Error::writing(&path, &error))?;
        Ok(History { file, path, columns })
    }

    fn checkpoints(&self, channel: &str, member: usize) -> PathBuf {
        self.path.join(names::CHECKPOINTS).join(weights::stem(channel, member))
    }

    /// Makes a folder in this one, which must still be there: what is left of a removed experiment
    /// would look like one.
    pub(super) fn make(&self, place: &Path) -> Result<()> {
        if !self.path.is_dir() {
            return Err(Error::failed(format!("{}: the folder is gone", self.path.display())));
        }
        lock::check(place)?;
        fs::create_dir_all(place).map_err(|error| cannot_write(place, &error))
    }

    /// Keeps where the training of a channel's member stands, and the last `keep` states of it.
    pub fn write_checkpoint(
        &self,
        (channel, member): (&str, usize),
        state: &State,
        fingerprint: &str,
        keep: usize,
    ) -> Result<()> {
        let place = self.checkpoints(channel, member);
        self.make(&place)?;
        let path = place.join(format!("{:07}-{:07}.safetensors", state.epoch(), state.batch));
        let bytes = checkpoint::to_bytes(state, fingerprint)
            .map_err(|error| Error::failed(format!("{}: {error}", path.display())))?;
        write_atomically(&path, &bytes)?;
        let kept = checkpoint_files(&place)?;
        for old in kept.iter().rev().skip(keep.max(1)) {
            lock::check(old)?;
            fs::remove_file(old).map_err(|error| cannot_write(old, &error))?;
        }
        Ok(())
    }

    /// The newest whole state of the training of a channel's member, and what is wrong with newer
    /// ones.
    pub fn read_checkpoint(
        &self,
        channel: &str,
        member: usize,
        fingerprint: &str,
    ) -> Result<(Option<State>, Vec<String>)> {
        let mut notes = vec![];
        for path in checkpoint_files(&self.checkpoints(channel, member))?.iter().rev() {
            let shown = path.display();
            let bytes = fs::read(path).map_err(|error| Error::reading(path, &error))?;
            match checkpoint::from_bytes(&bytes) {
                Ok((state, of)) if of == fingerprint => return Ok((Some(state), notes)),
                Ok(_) => {
                    return Err(Error::input(format!(
                        "{shown}: of another config, other data or another version of lumisift; --force begins anew"
                    )));
                }
                Err(error) => notes.push(format!("{shown}: {error}; the one before is taken")),
            }
        }
        Ok((None, notes))
    }

    /// Reads `history.csv` as it was written.
    pub fn read_history(&self) -> Result<Vec<HistoryLine>> {
        let path = self.file(names::HISTORY);
        let text = fs::read_to_string(&path).map_err(|error| Error::reading(&path, &error))?;
        let header = text.lines().next().unwrap_or_default();
        let columns = HistoryColumns {
            member: header.contains(",member,"),
            penalty: header.ends_with(",penalty"),
        };
        let parse = |line: &str| -> Option<HistoryLine> {
            let mut fields = line.split(',');
            let epoch = fields.next()?.parse().ok()?;
            let channel = fields.next()?.to_owned();
            let member = if columns.member {
                fields.next()?.parse::<usize>().ok()?.checked_sub(1)?
            } else {
                0
            };
            let mut number = || fields.next()?.parse::<f64>().ok();
            let (train_loss, valid_loss, learning_rate, seconds) =
                (number()?, number(), number()?, number()?);
            let penalty = if columns.penalty { number() } else { None };
            Some(HistoryLine {
                channel,
                member,
                epoch: Epoch { epoch, train_loss, valid_loss, learning_rate, seconds, penalty },
            })
        };
        let lines = text.lines().enumerate().skip(1);
        lines
            .map(|(i, line)| {
                parse(line).ok_or_else(|| {
                    Error::input(format!(
                        "{}:{}: found \"{line}\"; expected {}",
                        path.display(),
                        i + 1,
                        columns.header()
                    ))
                })
            })
            .collect()
    }

    /// Writes the weights of a trained channel, and what is usual for its latents.
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
            usual: network.usual.clone(),
            masked: network.masked.clone(),
        };
        self.write_json(names::CHANNELS, &networks.iter().map(entry).collect::<Vec<_>>())
    }

    /// Everything scoring needs, with `--set` arguments laid over the config.
    pub fn read_model(&self, sets: &[String]) -> Result<Model> {
        let mut experiment = Experiment::load(&self.file(names::EXPERIMENT), sets)?;
        // What counted as bad in training does so in new data, which may hold no other value.
        let provenance: Provenance = self.read_json(names::PROVENANCE).unwrap_or_default();
        experiment
            .labels
            .iter_mut()
            .for_each(|set| set.origin.settle(provenance.bad_values.get(&set.name)));
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
            let architecture = Architecture::new(channel.features.len(), &experiment.config.model);
            let read = |member: usize| {
                weights::read(&self.weights_file(&channel.name, member), &architecture)
            };
            let members = (0..experiment.config.train.ensemble as usize)
                .map(read)
                .collect::<Result<Vec<_>>>()?;
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
            networks.push(Network { channel, architecture, members, usual, svm, masked });
        }
        let model = Model { experiment, networks, scaler, thresholds };
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

/// `history.csv`, one line appended and flushed an epoch.
#[derive(Debug)]
pub struct History {
    file: File,
    path: PathBuf,
    columns: HistoryColumns,
}

impl History {
    /// Appends an epoch of a model (channel and member).
    pub fn append(&mut self, model: (&str, usize), epoch: &Epoch) -> Result<()> {
        let line = self.columns.line(model, epoch);
        lock::check(&self.path)?;
        self.file
            .write_all(line.as_bytes())
            .and_then(|()| self.file.flush())
            .map_err(|error| cannot_write(&self.path, &error))
    }
}

/// The checkpoints in a folder, oldest first; none where there is no such folder.
fn checkpoint_files(place: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(place) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(vec![]),
        Err(error) => return Err(Error::reading(place, &error)),
    };
    let mut files = vec![];
    for entry in entries {
        let path = entry.map_err(|error| Error::reading(place, &error))?.path();
        if path.extension().is_some_and(|extension| extension == "safetensors") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Keys that are no part of what an experiment is: where it is computed and how it gets there, how
/// often it stops on the way, and who looks on.
pub(super) fn is_circumstance(key: &str) -> bool {
    let sections = ["train.checkpoint.", "batch."];
    ["device", "train.time_limit", "report.tensorboard"].contains(&key)
        || sections.iter().any(|section| key.starts_with(section))
}

/// Whether a file of that name is one that a writer was still at.
fn is_part(name: &str) -> bool {
    name.starts_with('.') && name.ends_with(".part")
}

/// What two resolved configs differ in, key by key.
pub(crate) fn differences(begun: &str, wanted: &str) -> Vec<String> {
    const MOST: usize = 6;
    let (begun, wanted) = (flat(begun), flat(wanted));
    let keys: BTreeSet<&String> =
        begun.keys().chain(wanted.keys()).filter(|key| !is_circumstance(key)).collect();
    let show = |value: Option<&toml::Value>| {
        value.map_or_else(|| "nothing".to_owned(), toml::Value::to_string)
    };
    let differ = keys.into_iter().filter(|key| begun.get(*key) != wanted.get(*key));
    differ
        .take(MOST)
        .map(|key| format!("{key} was {}, is {}", show(begun.get(key)), show(wanted.get(key))))
        .collect()
}

/// SHA-256 of all that makes an experiment what it is: its config, its data, the version of this
/// program.
pub fn fingerprint(experiment: &Experiment, sources: &[Source]) -> Result<String> {
    let mut hash = Sha256::new();
    let config = flat(&experiment.to_toml()?);
    for (key, value) in config.iter().filter(|(key, _)| !is_circumstance(key)) {
        hash.update(format!("{key} = {value}\n"));
    }
    hash.update(env!("CARGO_PKG_VERSION"));
    sources.iter().for_each(|source| hash.update(&source.sha256));
    if let Some(reference) = &experiment.reference {
        hash.update(table::fingerprint(reference)?.1);
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The values of a config by dotted key.
pub(super) fn flat(text: &str) -> BTreeMap<String, toml::Value> {
    fn add(prefix: &str, value: toml::Value, to: &mut BTreeMap<String, toml::Value>) {
        match value {
            toml::Value::Table(table) => table.into_iter().for_each(|(key, value)| {
                let key = if prefix.is_empty() { key } else { format!("{prefix}.{key}") };
                add(&key, value, to);
            }),
            value => {
                to.insert(prefix.to_owned(), value);
            }
        }
    }
    let mut values = BTreeMap::new();
    if let Ok(table) = text.parse::<toml::Table>() {
        add("", toml::Value::Table(table), &mut values);
    }
    values
}

/// Writes a JSON file whole or not at all.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_string_pretty(value)
        .map_err(|error| Error::failed(format!("{}: {error}", path.display())))?;
    text.push('\n');
    write_atomically(path, text.as_bytes())
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    files::regular(path)?;
    let text = fs::read_to_string(path).map_err(|error| Error::reading(path, &error))?;
    serde_json::from_str(&text).map_err(|error| {
        Error::input(format!("{}: not what `lumisift train` writes: {error}", path.display()))
    })
}

/// Writes beside the target, makes sure it is on disk, then renames: readers see the old file or
/// the new one, never a part.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if name.is_empty() || path.is_dir() {
        return Err(Error::input(format!("{}: is not a file name to write to", path.display())));
    }
    // First, since the folder may have been removed with the lock.
    lock::check(path)?;
    if let Some(folder) =
        path.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.is_dir())
    {
        return Err(Error::input(format!(
            "{}: its folder {} does not exist",
            path.display(),
            folder.display()
        )));
    }
    let beside = path.with_file_name(format!(".{name}.{}.part", *WRITER));
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&beside)?;
        file.write_all(bytes)?;
        synced(file.sync_all())
    };
    let failed = |error: std::io::Error| cannot_write(path, &error);
    write()
        .map_err(failed)
        // Now, since the folder may have been lost while that was written.
        .and_then(|()| lock::check(path))
        .and_then(|()| fs::rename(&beside, path).map_err(failed))
        .inspect_err(|_| drop(fs::remove_file(&beside)))?;
    // The new name, too, must be on disk.
    sync_folder(
        path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")),
    )
    .map_err(failed)
}

/// Why a file of an experiment cannot be written: another process took its folder over, where that
/// is so, and else what the system says.
fn cannot_write(path: &Path, error: &std::io::Error) -> Error {
    lock::check(path).err().unwrap_or_else(|| Error::writing(path, error))
}

/// What tells the unfinished files of this process from those of others, on other machines too.
static WRITER: LazyLock<String> = LazyLock::new(lock::token);

/// Makes sure that the names in a folder are on disk, as far as its file system can and the folder
/// may be opened: one may be written but not read.
fn sync_folder(folder: &Path) -> std::io::Result<()> {
    match File::open(folder) {
        Ok(folder) => synced(folder.sync_all()),
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Ok(()),
        Err(error) => Err(error),
    }
}

/// The outcome of an `fsync`, which is well where the file system has none: CIFS, FUSE, AFS and EOS
/// mounts answer EINVAL, ENOTSUP or ENOSYS, above all for folders. What is full or broken stays an
/// error.
pub(super) fn synced(outcome: std::io::Result<()>) -> std::io::Result<()> {
    match outcome {
        Err(error)
            if matches!(
                error.kind(),
                std::io::ErrorKind::InvalidInput | std::io::ErrorKind::Unsupported
            ) =>
        {
            Ok(())
        }
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_files_is_not_overwritten_by_accident() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("experiment");
        Folder::create(&path, false).unwrap().write(names::EXPERIMENT, b"x").unwrap();
        fs::write(path.join("notes.txt"), "mine").unwrap();
        assert!(Folder::create(&path, false).unwrap_err().to_string().contains("--force"));
        Folder::create(&path, true).unwrap();
        assert!(!path.join(names::EXPERIMENT).exists());
        assert!(path.join("notes.txt").exists(), "files of others stay");
    }

    #[test]
    fn history_comes_back_as_written() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::create(place.path(), false).unwrap();
        let epochs = [
            Epoch {
                epoch: 1,
                train_loss: 0.1 + 0.2,
                valid_loss: None,
                learning_rate: 1e-3,
                seconds: 0.25,
                penalty: None,
            },
            Epoch {
                epoch: 2,
                train_loss: 0.1,
                valid_loss: Some(1e-9),
                learning_rate: 1e-4,
                seconds: 0.5,
                penalty: None,
            },
        ];
        for (columns, member, penalty) in
            [(false, 0, None), (true, 6, None), (false, 0, Some(0.1 + 0.7)), (true, 6, Some(1e-9))]
                .map(|(has, member, penalty)| {
                    (HistoryColumns { member: has, penalty: penalty.is_some() }, member, penalty)
                })
        {
            let epochs = epochs.clone().map(|epoch| Epoch { penalty, ..epoch });
            let mut history = folder.write_history(columns, []).unwrap();
            epochs.iter().for_each(|epoch| history.append(("all", member), epoch).unwrap());
            let lines = epochs.map(|epoch| HistoryLine { channel: "all".into(), member, epoch });
            assert_eq!(folder.read_history().unwrap(), lines);
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn file_systems_without_fsync_are_no_failure() {
        let outcome = |number| synced(Err(std::io::Error::from_raw_os_error(number)));
        // EINVAL, ENOTSUP and ENOSYS; EIO, ENOSPC and EDQUOT.
        assert!([22, 95, 38].into_iter().all(|number| outcome(number).is_ok()));
        assert!([5, 28, 122].into_iter().all(|number| outcome(number).is_err()));
        assert!(sync_folder(Path::new("/no/such/folder")).is_err());
    }

    #[test]
    fn nothing_is_left_beside_a_file_that_could_not_be_written() {
        let place = tempfile::tempdir().unwrap();
        assert_eq!(
            write_atomically(&place.path().join("no/such/file"), b"x").unwrap_err().exit_code(),
            2
        );
        assert_eq!(write_atomically(place.path(), b"x").unwrap_err().exit_code(), 2);
        write_atomically(&place.path().join("file"), b"x").unwrap();
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
    }
}
