//! Experiments that were begun: whether they are those of a config, and whether they are complete.

use crate::{
    config::{Experiment, resolved::differences},
    error::{Error, Result},
    files::folder::{Folder, names},
    report::figures::Report,
};
use std::{fs, path::Path};

impl Folder {
    /// The folder of an experiment that was begun and is to go on, where there is one. It must be
    /// of the same config.
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
}
