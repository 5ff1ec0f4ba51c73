//! TensorBoard event files: one run per model, with its losses by epoch, its scores, its
//! hyperparameters and its final figures.
//!
//! An event file is a sequence of records (length, its checksum, payload, its checksum), each
//! payload an `Event` in protobuf's encoding. The field numbers are those of TensorFlow's
//! `event.proto`, `summary.proto`, `tensor.proto` and TensorBoard's `hparams/plugin_data.proto`.

use super::figures::Report;
use crate::{
    config::{Experiment, affects_results, resolved::flat},
    data::channels::COMBINED,
    error::{Error, Result},
    files::{
        folder::{Folder, names},
        lock,
    },
    model::weights,
    prepare::split::Split,
    protobuf::Message,
    score::{channel_scores::ChannelScores, row::ScoredRow, scores::Scores},
    train::{Epoch, Fitted},
};
use std::{
    collections::HashMap,
    fs::{self, File},
    io::Write,
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

/// The file of a run; TensorBoard requires "tfevents" in names.
const FILE: &str = "events.out.tfevents.0000000000.lumisift";
/// Maximum number of open files; a process may have about a thousand.
const OPEN: usize = 64;
/// Number of bins of the histograms, as in TensorBoard.
const BINS: usize = 30;
/// Sections of the config with hyperparameters.
const HYPERPARAMETERS: [&str; 9] =
    ["seed", "channels.", "loss.", "model.", "scale.", "score.", "split.", "threshold.", "train."];

/// CRC-32C (Castagnoli) of each byte.
const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { 0x82f6_3b78 ^ (crc >> 1) } else { crc >> 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

fn crc32c(bytes: &[u8]) -> u32 {
    !bytes
        .iter()
        .fold(!0, |crc, byte| TABLE[((crc ^ u32::from(*byte)) & 0xff) as usize] ^ (crc >> 8))
}

/// The masked checksum of a record, since a CRC of bytes that contain their own CRC is weak.
fn checksum(bytes: &[u8]) -> [u8; 4] {
    crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

fn record(payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u64).to_le_bytes();
    [&length[..], &checksum(&length), payload, &checksum(payload)].concat()
}

/// The record of an `Event` with values of a `Summary`.
fn event(wall_time: f64, step: u32, values: impl IntoIterator<Item = Message>) -> Vec<u8> {
    let summary = Message::default().messages(1, values);
    record(
        Message::default()
            .double(1, wall_time)
            .integer(2, step.into())
            .message(5, summary)
            .as_bytes(),
    )
}

/// A scalar with a tag.
fn scalar(tag: &str, value: f64) -> Message {
    Message::default().bytes(1, tag).float(2, value as f32)
}

/// A tensor with a tag, for a plugin of TensorBoard. `data_class` is 2 for tensors.
fn tensor(tag: &str, plugin: (&str, Message), description: &str, tensor: Message) -> Message {
    let plugin = Message::default().bytes(1, plugin.0).message(2, plugin.1);
    let metadata = Message::default().message(1, plugin).bytes(3, description).integer(4, 2);
    Message::default().bytes(1, tag).message(9, metadata).message(8, tensor)
}

/// A `TensorProto` of some type with the lengths of its dimensions.
fn shaped(kind: u64, lengths: &[usize]) -> Message {
    let dimension = |length: &usize| Message::default().integer(1, *length as u64);
    let shape = Message::default().messages(2, lengths.iter().map(dimension));
    Message::default().integer(1, kind).message(2, shape)
}

/// A histogram for the tab "Histograms": `[bins, 3]` with lower edge, upper edge and count of each.
fn histogram(tag: &str, description: &str, values: &[f64]) -> Message {
    let (low, high) =
        values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(*value), high.max(*value))
        });
    let width = (high - low) / BINS as f64;
    let mut counts = [0.0; BINS];
    // A single value has no width, and is in the last bin as TensorBoard requires.
    values.iter().for_each(|value| {
        counts[if width > 0.0 {
            (((value - low) / width) as usize).min(BINS - 1)
        } else {
            BINS - 1
        }] += 1.0
    });
    let edge = |bin: usize| if bin == BINS { high } else { low + width * bin as f64 };
    let content: Vec<u8> = counts
        .iter()
        .enumerate()
        .flat_map(|(bin, count)| [edge(bin), edge(bin + 1), *count])
        .flat_map(f64::to_le_bytes)
        .collect();
    let (double, version) = (2, Message::default().integer(1, 0));
    tensor(tag, ("histograms", version), description, shaped(double, &[BINS, 3]).bytes(4, content))
}

/// A message for the tab "HParams": the content of its plugin, with an empty tensor.
fn session(tag: &str, content: Message) -> Message {
    let float = 1;
    tensor(tag, ("hparams", content), "", shaped(float, &[0]))
}

/// The start of a session: hyperparameters by name, each a `google.protobuf.Value`.
fn session_start(hyperparameters: &[(String, toml::Value)], wall_time: f64) -> Message {
    let value = |value: &toml::Value| match value {
        toml::Value::Integer(number) => Message::default().double(2, *number as f64),
        toml::Value::Float(number) => Message::default().double(2, *number),
        toml::Value::Boolean(is) => Message::default().integer(4, u64::from(*is)),
        toml::Value::String(text) => Message::default().bytes(3, text),
        other => Message::default().bytes(3, other.to_string()),
    };
    let info = hyperparameters.iter().fold(Message::default(), |info, (name, of)| {
        info.message(1, Message::default().bytes(1, name).message(2, value(of)))
    });
    session(
        "_hparams_/session_start_info",
        Message::default().message(3, info.double(5, wall_time)),
    )
}

/// The successful end of a session.
fn session_end(wall_time: f64) -> Message {
    let success = 1;
    session(
        "_hparams_/session_end_info",
        Message::default().message(4, Message::default().integer(1, success).double(2, wall_time)),
    )
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// The numbers of an epoch.
fn of_epoch(epoch: &Epoch, wall_time: f64) -> Vec<u8> {
    let valid = epoch.valid_loss.map(|loss| scalar("loss/valid", loss));
    let always = [
        scalar("loss/train", epoch.train_loss),
        scalar("learning_rate", epoch.learning_rate),
        scalar("seconds", epoch.seconds),
    ];
    let penalty = epoch.penalty.map(|penalty| scalar("loss/penalty", penalty));
    event(wall_time, epoch.epoch, always.into_iter().chain(valid).chain(penalty))
}

/// The event files of an experiment in training.
#[derive(Debug)]
pub struct Events {
    folder: Folder,
    hyperparameters: Vec<(String, toml::Value)>,
    open: HashMap<String, File>,
    /// The last epoch of each run, because a training that restarts with less memory reports its
    /// epochs again.
    last: HashMap<String, u32>,
}

impl Events {
    /// Rewrites the files of models (channel and member) with their completed epochs. `None` if the
    /// config disables such files.
    pub fn begin<'a>(
        folder: &Folder,
        experiment: &Experiment,
        models: impl IntoIterator<Item = ((&'a str, usize), &'a [Epoch])>,
    ) -> Result<Option<Self>> {
        if !experiment.report.tensorboard {
            return Ok(None);
        }
        let is_wanted = |key: &str| {
            HYPERPARAMETERS.iter().any(|section| key.starts_with(section)) && affects_results(key)
        };
        let hyperparameters =
            flat(&experiment.to_toml()?).into_iter().filter(|(key, _)| is_wanted(key)).collect();
        let mut events = Self {
            folder: folder.clone(),
            hyperparameters,
            open: HashMap::new(),
            last: HashMap::new(),
        };
        for ((channel, member), epochs) in models {
            events.start(channel, member, epochs)?;
        }
        Ok(Some(events))
    }

    fn path(&self, run: &str) -> PathBuf {
        self.folder.file(names::TENSORBOARD).join(run).join(FILE)
    }

    /// Rewrites the file of a run. The file is overwritten, not replaced, because a running
    /// TensorBoard keeps it open. It continues at its position, because each epoch has the same
    /// number of bytes.
    fn start(&mut self, channel: &str, member: usize, epochs: &[Epoch]) -> Result<()> {
        let run = weights::stem(channel, member);
        let now = now();
        let own = [
            ("channel".to_owned(), channel.into()),
            ("member".to_owned(), (member as i64 + 1).into()),
        ];
        let hyperparameters: Vec<_> =
            own.into_iter().chain(self.hyperparameters.iter().cloned()).collect();
        // End times as if the epochs had been trained just now.
        let mut left: f64 = epochs.iter().map(|epoch| epoch.seconds).sum();
        let mut bytes =
            record(Message::default().double(1, now - left).bytes(3, "brain.Event:2").as_bytes());
        bytes.extend(event(now - left, 0, [session_start(&hyperparameters, now - left)]));
        for epoch in epochs {
            left -= epoch.seconds;
            bytes.extend(of_epoch(epoch, now - left));
        }
        let path = self.path(&run);
        self.folder.make(path.parent().unwrap_or(&path))?;
        lock::check(&path)?;
        fs::write(&path, bytes).map_err(|error| Error::writing(&path, error))?;
        self.last.insert(run, epochs.last().map_or(0, |epoch| epoch.epoch));
        Ok(())
    }

    /// Appends to the file of a run in one write.
    fn write(&mut self, run: &str, bytes: &[u8]) -> Result<()> {
        let path = self.path(run);
        lock::check(&path)?;
        let failed = |error: std::io::Error| Error::writing(&path, error);
        if let Some(file) = self.open.get_mut(run) {
            return file.write_all(bytes).map_err(failed);
        }
        if self.open.len() >= OPEN {
            self.open.clear();
        }
        let mut file = File::options().append(true).open(&path).map_err(failed)?;
        file.write_all(bytes).map_err(failed)?;
        self.open.insert(run.to_owned(), file);
        Ok(())
    }

    /// Appends an epoch of a model (channel and member).
    pub fn append(&mut self, (channel, member): (&str, usize), epoch: &Epoch) -> Result<()> {
        let run = weights::stem(channel, member);
        if self.last.get(&run).is_some_and(|last| epoch.epoch <= *last) {
            return Ok(());
        }
        self.write(&run, &of_epoch(epoch, now()))?;
        self.last.insert(run, epoch.epoch);
        Ok(())
    }

    /// Appends the scores and figures of each model. Those of an ensemble are in the run of its
    /// first member, those of all channels combined in a separate run.
    pub fn end<'a>(
        mut self,
        models: impl IntoIterator<Item = ((&'a str, usize), &'a Fitted)>,
        scores: &Scores,
        report: &Report,
    ) -> Result<()> {
        let mut steps: HashMap<&str, u32> = HashMap::new();
        for ((channel, member), fitted) in models {
            let step = fitted.kept_epoch;
            let kept = (step as usize).checked_sub(1).and_then(|at| fitted.history.get(at));
            let mut values = vec![scalar("final/kept epoch", step.into())];
            values.extend(kept.map(|epoch| scalar("final/train loss", epoch.train_loss)));
            values.extend(
                kept.and_then(|epoch| epoch.valid_loss)
                    .map(|loss| scalar("final/valid loss", loss)),
            );
            if let Some(of) = scores.channels.iter().find(|of| of.name == channel) {
                values.extend(histograms(
                    scores,
                    channel,
                    of.members.get(member).unwrap_or(&of.scores),
                ));
                if member == 0 {
                    values.extend(figures(of, report));
                }
            }
            values.push(session_end(now()));
            self.write(&weights::stem(channel, member), &event(now(), step, values))?;
            let last = steps.entry(channel).or_default();
            *last = step.max(*last);
        }
        let together = scores.channels.iter().filter(|of| !steps.contains_key(of.name.as_str()));
        let step = steps.values().copied().max().unwrap_or(0);
        for of in together {
            self.start(&of.name, 0, &[])?;
            let values = histograms(scores, &of.name, &of.scores)
                .into_iter()
                .chain(figures(of, report))
                .chain([session_end(now())]);
            self.write(&weights::stem(&of.name, 0), &event(now(), step, values))?;
        }
        Ok(())
    }
}

/// Histograms of ln(score) for the rows of each split, and for those labelled good and bad.
/// Combined scores already are logarithms.
fn histograms(scores: &Scores, channel: &str, of: &[Option<f64>]) -> Vec<Message> {
    let (quantity, number): (&str, fn(f64) -> f64) =
        if channel == COMBINED { ("score", |score| score) } else { ("ln score", f64::ln) };
    let good = scores.labels.iter().position(|name| name == "good");
    let label = |row: &ScoredRow| row.labels[good?];
    let groups = [
        ("", "", None),
        (" good", " labelled good", Some(true)),
        (" bad", " labelled bad", Some(false)),
    ];
    let mut messages = vec![];
    for split in Split::ALL {
        for (name, which, wanted) in groups {
            let rows = scores.rows.iter().zip(of).filter(|(row, _)| {
                row.split == split && (wanted.is_none() || label(row) == wanted)
            });
            let numbers: Vec<f64> = rows
                .filter_map(|(_, score)| {
                    Some(number((*score)?)).filter(|number| number.is_finite())
                })
                .collect();
            if !numbers.is_empty() {
                let description = format!(
                    "{quantity} of {} rows{which}, {} of them, unweighted",
                    split.name(),
                    numbers.len()
                );
                messages.push(histogram(
                    &format!("{quantity}/{}{name}", split.name()),
                    &description,
                    &numbers,
                ));
            }
        }
    }
    messages
}

/// The figures of a channel in the report.
fn figures(channel: &ChannelScores, report: &Report) -> Vec<Message> {
    let mut values = vec![];
    if let Some(figures) = report.channels.iter().find(|figures| figures.name == channel.name) {
        values.push(scalar("final/mean-field error", figures.mean_field_error.mean));
        values.push(scalar("final/autoencoder error", figures.ae_error.mean));
    }
    let areas = report.auc.iter().filter(|area| area.channel == channel.name);
    values.extend(
        areas.filter_map(|area| Some(scalar(&format!("final/AUC {}", area.labels), area.auc?))),
    );
    if report.main() == channel.name {
        values
            .extend(report.false_alarms.iter().map(|rate| scalar("final/false alarms", rate.rate)));
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_standard() {
        // RFC 3720, B.4, and the standard check value.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(&(0..32).collect::<Vec<u8>>()), 0x46dd_794e);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(b""), 0);
    }

    #[test]
    fn a_record_is_framed_by_its_length_and_two_checksums() {
        let bytes = record(b"123456789");
        assert_eq!(bytes.len(), 8 + 4 + 9 + 4);
        assert_eq!(&bytes[..8], &[9, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(&bytes[12..21], b"123456789");
        // As TensorBoard computes them.
        assert_eq!(bytes[8..12], 0x3971_f937_u32.to_le_bytes());
        assert_eq!(bytes[21..], 0xc78a_b0e5_u32.to_le_bytes());
    }
}
