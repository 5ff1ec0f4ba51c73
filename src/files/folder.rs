//! The experiment folder: everything one training wrote. The folder is the model. What it holds is
//! read and written where that is made: `History` in `train`, the trained model in `experiment`.

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
/// An experiment folder on disk.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// A new folder. One that holds anything is refused, or with `force` loses the files of the
    /// experiment before (and no others).
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

    /// Whether [`Folder::create`] would take this path.
    pub fn check_free(path: &Path, force: bool) -> Result<()> {
        let shown = path.display();
        if let Some(reason) = super::no_folder(path) {
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
                Err(Error::reading(path, error))
            }
            _ => Ok(()),
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

    /// The folder at a path, whatever it holds.
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_path_buf() }
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
        Ok(Self::at(path))
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
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

    /// Makes a folder in this one, which must still be there: what is left of a removed experiment
    /// would look like one.
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
