//! Experiment folders to resume: checks whether they belong to a config and whether they are
//! complete.

use crate::{
    config::{Experiment, resolved::differences},
    error::{Error, Result},
    files::folder::{Folder, names},
    report::figures::Report,
};
use std::{fs, path::Path};

impl Folder {
    /// The folder of an experiment to resume; `None` if there is none. Fails if its config differs.
    pub fn begun(path: &Path, experiment: &Experiment) -> Result<Option<Self>> {
        let folder = Self::at(path);
        let file = folder.file(names::EXPERIMENT);
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::reading(&file, error)),
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

    /// Whether training and report are done, and the history matches the report.
    pub fn is_complete(&self) -> bool {
        self.file(names::REPORT).is_file() && !self.has_older_history()
    }

    /// Whether the history lacks epochs of the report. If a task is held while HTCondor transfers a
    /// complete folder, the transfer overwrites it with the files of the last eviction; the
    /// checkpoints have all epochs.
    fn has_older_history(&self) -> bool {
        let Ok(report) = self.read_json::<Report>(names::REPORT) else { return false };
        if !self.file(names::HISTORY).is_file() {
            return false;
        }
        // The file was copied while a line was written.
        let Ok(history) = self.read_history() else { return true };
        report.channels.iter().any(|channel| {
            let lines = || history.iter().filter(|line| line.channel == channel.name);
            let (last, seconds) = (
                lines().map(|line| line.epoch.epoch).max(),
                lines().map(|line| line.epoch.seconds).sum::<f64>(),
            );
            // For an ensemble the report has the maximum of the members' epochs, and the sum of
            // their times; each time is rounded to microseconds.
            (last.unwrap_or(0) as usize) < channel.training.epochs
                || seconds < channel.training.seconds - 1e-6 * lines().count() as f64
        })
    }
}
