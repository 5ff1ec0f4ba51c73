//! `history.csv`: one line per epoch of each model.

use super::state::Epoch;
use crate::{
    config::Experiment,
    error::{Error, Result},
    files::{
        atomic::cannot_write,
        folder::{Folder, names},
        lock,
    },
};
use std::{
    fs::{self, File},
    io::Write,
    path::PathBuf,
};

/// The optional columns of `history.csv`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HistoryColumns {
    /// The number of the model in its ensemble, from 1.
    pub member: bool,
    /// The penalties added to the loss.
    pub penalty: bool,
}

impl HistoryColumns {
    /// The columns for an experiment.
    pub fn new(experiment: &Experiment) -> Self {
        Self {
            member: experiment.train.ensemble > 1,
            penalty: !experiment.loss.penalties().is_empty(),
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
    /// The member of its ensemble, from 0.
    pub member: usize,
    /// The losses, learning rate and time of the epoch.
    pub epoch: Epoch,
}

/// `history.csv`; one line is appended and flushed per epoch.
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
            .map_err(|error| cannot_write(&self.path, error))
    }
}

impl Folder {
    /// Writes `history.csv` atomically with the completed epochs of models (channel and member).
    /// Returns it open for appending.
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
            .map_err(|error| Error::writing(&path, error))?;
        Ok(History { file, path, columns })
    }

    /// Reads `history.csv`.
    pub fn read_history(&self) -> Result<Vec<HistoryLine>> {
        let path = self.file(names::HISTORY);
        let text = fs::read_to_string(&path).map_err(|error| Error::reading(&path, error))?;
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
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
