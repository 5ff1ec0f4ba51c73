//! `scores.parquet`: one row per sample and channel; `rejected.parquet`.

use super::{
    channel_scores::ChannelScores,
    row::{ScoredRow, shared},
    scores::Scores,
};
use crate::{
    data::{Rejected, Samples, channels::COMBINED, read::columnar},
    error::{Error, Result},
    files::tables,
    prepare::split::Split,
};
use arrow_array::{
    Array, ArrayRef, BooleanArray, Float32Array, Float64Array, RecordBatch, StringArray,
    UInt32Array,
    cast::AsArray,
    types::{Float32Type, Float64Type, UInt32Type},
};
use rayon::prelude::*;
use std::{collections::HashSet, ops::Range, path::Path, sync::Arc};

/// Why a row that is evaluated has no score in a channel.
const NO_INPUTS: &str = "no input of the channel is present";

/// Names of the columns beyond the usual ones.
const LOG_RATIO: &str = "log_ratio";
const INSIDE: &str = "svm";
const SPREAD: &str = "spread";
const FLAGGING: &str = "members_flagging";
const WEIGHT: &str = "weight";
const CLASS: &str = "class";

/// Makes a column of the table.
type Column<'a> = Box<dyn FnOnce() -> ArrayRef + Send + 'a>;

impl Scores {
    /// "ls" or "event": what a row is known by beside its run.
    fn number_column(&self) -> &'static str {
        if self.events { "event" } else { "ls" }
    }

    /// Writes a Parquet file, or CSV where the name ends in .csv; beside its target, then renamed.
    pub fn write(&self, path: &Path) -> Result<()> {
        let all = self.rows.len() * self.channels.len();
        tables::write_parts(
            path,
            (0..all.max(1))
                .step_by(tables::GROUP)
                .map(|first| self.batch(first..(first + tables::GROUP).min(all))),
        )
    }

    fn reason<'a>(&'a self, channel: &'a ChannelScores, row: usize) -> Option<&'a str> {
        let own = || channel.reasons.get(row).and_then(Option::as_deref).unwrap_or(&channel.why);
        let above = || (channel.flagged(row) == Some(true)).then(own);
        let without_inputs = || channel.scores[row].is_none().then_some(NO_INPUTS);
        self.rows[row].rejected.as_deref().or_else(above).or_else(without_inputs)
    }

    /// Whether rows have weights.
    fn weighted(&self) -> bool {
        self.rows.iter().any(|row| row.weight.is_some())
    }

    /// Some rows of the table, which has one channel after the other.
    fn batch<'a>(&'a self, range: Range<usize>) -> Result<RecordBatch> {
        let (first, end, rows) = (range.start, range.end, self.rows.len());
        let of_channels =
            move || (first..end).map(move |at| (&self.channels[at / rows], at % rows));
        let repeated = move || of_channels().map(|(_, row)| &self.rows[row]);
        // None where a channel has no such numbers.
        let numbers = move |of: fn(&ChannelScores) -> &[Option<f64>]| -> Column<'a> {
            Box::new(move || {
                Arc::new(
                    of_channels()
                        .map(|(channel, row)| of(channel).get(row).copied().flatten())
                        .collect::<Float64Array>(),
                )
            })
        };
        let mut columns: Vec<(String, Column<'a>)> = vec![];
        let mut add = |name: &str, column: Column<'a>| columns.push((name.into(), column));
        add(
            "split",
            Box::new(move || {
                Arc::new(repeated().map(|row| Some(row.split.name())).collect::<StringArray>())
            }),
        );
        add(
            "file",
            Box::new(move || {
                Arc::new(repeated().map(|row| Some(&*row.file)).collect::<StringArray>())
            }),
        );
        add(
            "run",
            Box::new(move || Arc::new(repeated().map(|row| row.run).collect::<UInt32Array>())),
        );
        add(
            self.number_column(),
            Box::new(move || Arc::new(repeated().map(|row| row.ls).collect::<UInt32Array>())),
        );
        add(
            "channel",
            Box::new(move || {
                Arc::new(
                    of_channels()
                        .map(|(channel, _)| Some(channel.name.as_str()))
                        .collect::<StringArray>(),
                )
            }),
        );
        add("score", numbers(|channel| &channel.scores));
        add("threshold", numbers(|channel| &channel.thresholds));
        add(
            "flagged",
            Box::new(move || {
                Arc::new(
                    of_channels()
                        .map(|(channel, row)| channel.flagged(row))
                        .collect::<BooleanArray>(),
                )
            }),
        );
        add(
            "verdict",
            Box::new(move || {
                Arc::new(
                    of_channels()
                        .map(|(channel, row)| Some(channel.verdict(row).name()))
                        .collect::<StringArray>(),
                )
            }),
        );
        add(
            "reason",
            Box::new(move || {
                Arc::new(
                    of_channels()
                        .map(|(channel, row)| self.reason(channel, row))
                        .collect::<StringArray>(),
                )
            }),
        );
        add(LOG_RATIO, numbers(|channel| &channel.log_ratios));
        if self.channels.iter().any(|channel| !channel.inside.is_empty()) {
            add(INSIDE, numbers(|channel| &channel.inside));
        }
        if self.channels.iter().any(|channel| !channel.spread.is_empty()) {
            add(SPREAD, numbers(|channel| &channel.spread));
            add(FLAGGING, numbers(|channel| &channel.flagging));
        }
        if self.weighted() {
            add(
                WEIGHT,
                Box::new(move || {
                    Arc::new(repeated().map(|row| row.weight).collect::<Float32Array>())
                }),
            );
        }
        if !self.classes.is_empty() {
            let name =
                |row: &ScoredRow| row.class.map(|class| self.classes[class as usize].as_str());
            add(CLASS, Box::new(move || Arc::new(repeated().map(name).collect::<StringArray>())));
        }
        for (i, name) in self.labels.iter().enumerate() {
            add(
                &format!("label_{name}"),
                Box::new(move || {
                    Arc::new(repeated().map(|row| row.labels[i]).collect::<BooleanArray>())
                }),
            );
        }
        tables::of_columns(columns.into_par_iter().map(|(name, column)| (name, column())).collect())
    }

    /// Reads a `scores.parquet`.
    pub fn read(path: &Path) -> Result<Self> {
        crate::files::regular(path)?;
        let torn = |error: &dyn std::fmt::Display| {
            Error::input(format!("{}: not a whole scores file: {error}", path.display()))
        };
        let (_, batches) = columnar::read_table(path, tables::GROUP)?;
        let mut scores = Self::default();
        for batch in batches {
            scores.events = batch.column_by_name("event").is_some();
            scores.labels = batch
                .schema()
                .fields()
                .iter()
                .filter_map(|field| Some(field.name().strip_prefix("label_")?.to_owned()))
                .collect();
            scores
                .append(&batch)
                .ok_or_else(|| torn(&"its columns are not those of a scores file"))?;
        }
        // Where all are flagged for the same reason it is told once.
        for channel in &mut scores.channels {
            if channel.reasons.iter().flatten().all(|reason| *reason == channel.why) {
                channel.reasons = vec![];
            }
        }
        let rows = scores.rows.len();
        match scores.channels.iter().find(|channel| channel.scores.len() != rows) {
            Some(channel) => Err(torn(&format!(
                "{} rows of the channel {}, {rows} of others",
                channel.scores.len(),
                channel.name
            ))),
            None => Ok(scores),
        }
    }

    fn append(&mut self, batch: &RecordBatch) -> Option<()> {
        let text = |name: &str| batch.column_by_name(name)?.as_string_opt::<i32>();
        let whole = |name: &str| batch.column_by_name(name)?.as_primitive_opt::<UInt32Type>();
        let number = |name: &str| batch.column_by_name(name)?.as_primitive_opt::<Float64Type>();
        let flag = |name: &str| batch.column_by_name(name)?.as_boolean_opt();
        let (split, file, channel, reason) =
            (text("split")?, text("file")?, text("channel")?, text("reason")?);
        let (run, ls, score, threshold, log_ratio) = (
            whole("run")?,
            whole(self.number_column())?,
            number("score")?,
            number("threshold")?,
            number(LOG_RATIO)?,
        );
        let (inside, spread, flagging) = (number(INSIDE), number(SPREAD), number(FLAGGING));
        let weight = batch
            .column_by_name(WEIGHT)
            .and_then(|column| column.as_primitive_opt::<Float32Type>());
        let class = text(CLASS);
        let labels = self
            .labels
            .iter()
            .map(|name| flag(&format!("label_{name}")))
            .collect::<Option<Vec<_>>>()?;
        let valid = |array: &dyn Array, i: usize| array.is_valid(i).then_some(i);
        let (mut texts, mut label_sets) = (HashSet::new(), HashSet::new());
        let mut share = |text: &str| shared(&mut texts, text);
        for i in 0..batch.num_rows() {
            let name = channel.value(i);
            if self.channels.last().is_none_or(|channel| channel.name != name) {
                self.channels
                    .push(ChannelScores { name: name.to_owned(), ..ChannelScores::default() });
            }
            let first = self.channels.len() == 1;
            let of_channel = self.channels.last_mut()?;
            of_channel.scores.push(valid(score, i).map(|i| score.value(i)));
            of_channel.thresholds.push(valid(threshold, i).map(|i| threshold.value(i)));
            if name != COMBINED {
                of_channel.log_ratios.push(valid(log_ratio, i).map(|i| log_ratio.value(i)));
                if let Some(inside) = inside {
                    of_channel.inside.push(valid(inside, i).map(|i| inside.value(i)));
                }
            }
            for (column, numbers) in
                [(&mut of_channel.spread, spread), (&mut of_channel.flagging, flagging)]
            {
                column.extend(numbers.map(|numbers| valid(numbers, i).map(|i| numbers.value(i))));
            }
            let evaluated = of_channel.scores.last()?.is_some();
            if evaluated && let Some(i) = valid(reason, i) {
                of_channel.why = share(reason.value(i));
            }
            of_channel
                .reasons
                .push(valid(reason, i).filter(|_| evaluated).map(|i| share(reason.value(i))));
            if !first {
                continue;
            }
            let class = class.and_then(|class| Some(class.value(valid(class, i)?))).map(|name| {
                let known = self.classes.iter().position(|known| known == name);
                known.unwrap_or_else(|| {
                    self.classes.push(name.to_owned());
                    self.classes.len() - 1
                })
            });
            self.rows.push(ScoredRow {
                class: class.map(u8::try_from).transpose().ok()?,
                split: Split::ALL.into_iter().find(|known| known.name() == split.value(i))?,
                file: share(file.value(i)),
                run: valid(run, i).map(|i| run.value(i)),
                ls: valid(ls, i).map(|i| ls.value(i)),
                weight: weight.and_then(|weight| valid(weight, i).map(|i| weight.value(i))),
                rejected: valid(reason, i)
                    .map(|i| reason.value(i))
                    .filter(|reason| !evaluated && *reason != NO_INPUTS)
                    .map(&mut share),
                labels: shared(
                    &mut label_sets,
                    labels
                        .iter()
                        .map(|label| valid(*label, i).map(|i| label.value(i)))
                        .collect::<Vec<_>>()
                        .as_slice(),
                ),
            });
        }
        Some(())
    }
}

/// `rejected.parquet`: every row that is not evaluated, with its place in its file and the first
/// reason against it.
pub fn rejected(samples: &Samples) -> Result<Vec<u8>> {
    let rows = &samples.rejected;
    let number = |get: &dyn Fn(&Rejected) -> Option<u32>| -> ArrayRef {
        Arc::new(rows.iter().map(get).collect::<UInt32Array>())
    };
    let files =
        rows.iter().map(|rejected| Some(samples.sources[rejected.source as usize].name.as_str()));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("file", Arc::new(files.collect::<StringArray>())),
        ("run", number(&|rejected| rejected.id?.run)),
        (if samples.events { "event" } else { "ls" }, number(&|rejected| Some(rejected.id?.ls))),
        ("line", number(&|rejected| Some(rejected.line).filter(|line| *line > 0))),
        ("row", number(&|rejected| Some(rejected.index))),
        (
            "reason",
            Arc::new(
                rows.iter().map(|rejected| Some(rejected.reason.as_str())).collect::<StringArray>(),
            ),
        ),
    ];
    tables::to_parquet(&tables::of_columns(columns)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::threshold::CalibrateOn;
    use crate::score::scores::tests::{scores, threshold};

    #[test]
    fn scores_survive_their_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scores.parquet");
        let mut scores = scores();
        scores
            .flag(&[
                threshold("a/b", CalibrateOn::Valid, Some(0.6)),
                threshold(COMBINED, CalibrateOn::Valid, Some(3.0)),
            ])
            .unwrap();
        scores.write(&path).unwrap();
        assert_eq!(Scores::read(&path).unwrap(), scores);
        scores.rows.iter_mut().for_each(|row| row.weight = Some(2.5));
        scores.channels[0].inside = vec![None, Some(1.0), Some(-1.0), Some(0.0), None];
        scores.write(&path).unwrap();
        assert_eq!(Scores::read(&path).unwrap(), scores);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        assert_eq!(Scores::read(&path).unwrap_err().exit_code(), 2);
    }

    #[test]
    fn a_table_written_in_parts_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scores.parquet");
        // The second channel begins within a part, and the last part is not full.
        let many = scores().pick(&(0..tables::GROUP + 7).map(|row| row % 5).collect::<Vec<_>>());
        many.write(&path).unwrap();
        assert!(Scores::read(&path).unwrap() == many);
    }

    #[test]
    fn csv_is_there_for_those_who_want_it() {
        let text = String::from_utf8(tables::to_csv([scores().batch(0..10)]).unwrap()).unwrap();
        assert!(text.starts_with("split,file,run,ls,channel,score,threshold,flagged,verdict,reason,log_ratio,label_good\ntest,a.csv,1,1,a/b,,,,not evaluated,empty (leading),,false\n"), "{text}");
    }
}
