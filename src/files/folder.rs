//! The experiment folder: all files of one training. The folder is the model. Its contents are read
//! and written by their modules: `History` in `train`, the trained model in `experiment`.

use super::{
    atomic::{cannot_write, is_part, read_json, write_atomically, write_json},
    lock,
};
use crate::error::{Error, Result};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Names of the files in an experiment folder.
pub mod names {
    /// The resolved config.
    pub const EXPERIMENT: &str = "experiment.toml";
    /// Provenance: data, versions, devices.
    pub const PROVENANCE: &str = "provenance.json";
    /// One line per epoch.
    pub const HISTORY: &str = "history.csv";
    /// One row per sample and channel.
    pub const SCORES: &str = "scores.parquet";
    /// Rows that are not evaluated, with the reasons.
    pub const REJECTED: &str = "rejected.parquet";
    /// The scaling of bins to inputs.
    pub const SCALER: &str = "scaler.json";
    /// The averages of bins, if the scaling divides by them.
    pub const NORMALISATION: &str = "normalisation.parquet";
    /// Thresholds of scores.
    pub const THRESHOLDS: &str = "thresholds.json";
    /// Cuts for verdicts, from the last `lumisift certify`.
    pub const CUTS: &str = "cuts.json";
    /// Channels and their features.
    pub const CHANNELS: &str = "channels.json";
    /// The regions that patterns found.
    pub const REGIONS: &str = "regions.parquet";
    /// The points of the ROC curves.
    pub const ROC: &str = "roc.parquet";
    /// Latents in two dimensions.
    pub const PROJECTIONS: &str = "projections.parquet";
    /// Figures as numbers.
    pub const REPORT: &str = "report.json";
    /// The report page.
    pub const PAGE: &str = "report.html";
    /// Weights, one file per channel.
    pub const MODEL: &str = "model";
    /// Log, one line per event.
    pub const LOG: &str = "log.txt";
    /// Checkpoints, one folder per channel.
    pub const CHECKPOINTS: &str = "checkpoints";
    /// Event files for TensorBoard, one folder per model.
    pub const TENSORBOARD: &str = "tensorboard";
    /// All names, for recreating a folder.
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
/// An experiment folder on disk.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Creates a folder. Fails if it is not empty; with `force`, removes the files of the previous
    /// experiment (and no others).
    pub fn create(path: &Path, force: bool) -> Result<Self> {
        Self::check_free(path, force)?;
        fs::create_dir_all(path).map_err(|error| Error::writing(path, error))?;
        let folder = Self::at(path);
        folder.tidy();
        for name in names::ALL {
            let old = folder.file(name);
            lock::check(&old)?;
            let removed =
                if old.is_dir() { fs::remove_dir_all(&old) } else { fs::remove_file(&old) };
            match removed {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::writing(&old, error));
                }
                _ => {}
            }
        }
        Ok(folder)
    }

    /// Fails if [`Folder::create`] would fail for this path.
    pub fn check_free(path: &Path, force: bool) -> Result<()> {
        let shown = path.display();
        if let Some(reason) = super::no_folder(path) {
            return Err(Error::input(format!("--out {shown}: {reason}")));
        }
        // Left by a training that was killed at its start: its lock and unfinished files.
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
                    "holds an experiment that is not complete; --resume continues it, --force replaces it"
                };
                Err(Error::input(format!("--out {shown}: {message}")))
            }
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::reading(path, error))
            }
            _ => Ok(()),
        }
    }

    /// Removes unfinished files of killed writers. Only the holder of the lock may call it.
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
                // A failure is ignored: the next call tries again.
                let _ = fs::remove_file(&path);
            }
        }
    }

    /// The folder at a path, without checks.
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_path_buf() }
    }

    /// Opens a folder written by a training.
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
        Ok(Self::at(path))
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a file atomically.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        write_atomically(&self.file(name), bytes)
    }

    /// Writes a JSON file atomically.
    pub fn write_json(&self, name: &str, value: &impl Serialize) -> Result<()> {
        write_json(&self.file(name), value)
    }

    /// Reads a JSON file.
    pub fn read_json<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        read_json(&self.file(name))
    }

    /// Creates a folder in this one. Fails if this one was removed, because the rest of a removed
    /// experiment would look like a valid one.
    pub fn make(&self, place: &Path) -> Result<()> {
        if !self.path.is_dir() {
            return Err(Error::failed(format!("{}: the folder is gone", self.path.display())));
        }
        lock::check(place)?;
        fs::create_dir_all(place).map_err(|error| cannot_write(place, error))
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
}
