//! `scores.parquet`: one row per sample and channel, with what became of it.

use super::folder;
use crate::{
    config::raw::CalibrateOn,
    data::{Rejected, Samples},
    error::{Error, Result},
    prepare::{labels::LabelSet, split::Split},
    score::threshold::Calibrated,
};
use arrow_array::{
    Array, ArrayRef, BooleanArray, Float64Array, RecordBatch, StringArray, UInt32Array,
    cast::AsArray,
    types::{Float64Type, UInt32Type},
};
use parquet::{
    arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder},
    basic::Compression,
    file::properties::WriterProperties,
};
use std::{path::Path, sync::Arc};

/// What is said of a lumisection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The score is not above the threshold.
    Good,
    /// The score is above the threshold.
    Bad,
    /// There is no score; this never counts as good.
    NotEvaluated,
}

impl Verdict {
    /// The words in the file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Bad => "bad",
            Self::NotEvaluated => "not evaluated",
        }
    }
}

/// One row of `scores.parquet`.
#[derive(Clone, Debug, PartialEq)]
pub struct Score {
    /// What the row was for.
    pub split: Split,
    /// The file it came from.
    pub file: Arc<str>,
    /// Its run, where known.
    pub run: Option<u32>,
    /// Its lumisection, or the number of the event; unknown only where the row could not be read.
    pub ls: Option<u32>,
    /// The channel.
    pub channel: Arc<str>,
    /// The reconstruction error; none where it was not evaluated.
    pub score: Option<f64>,
    /// What the score was held against.
    pub threshold: Option<f64>,
    /// Whether the score is strictly above the threshold.
    pub flagged: Option<bool>,
    /// What is said of it.
    pub verdict: Verdict,
    /// Why it was not evaluated, or what flagged it.
    pub reason: Option<Arc<str>>,
    /// What the label sets say (good = true), in the order of [`Scores::labels`].
    pub labels: Vec<Option<bool>>,
}

/// All scores of an experiment, sorted by run and LS.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scores {
    /// Whether rows are events: the column of their number is then `event`, else `ls`.
    pub events: bool,
    /// Names of the label sets; columns `label_<name>`.
    pub labels: Vec<String>,
    /// One per sample and channel.
    pub rows: Vec<Score>,
}

impl Scores {
    /// Puts the scores of evaluated rows and the rejected ones together. `scores` has one number a row of `samples`.
    pub fn new(samples: &Samples, splits: &[Split], labels: &[LabelSet], channel: &str, scores: &[f64]) -> Self {
        let files: Vec<Arc<str>> = samples.sources.iter().map(|source| source.name.as_str().into()).collect();
        let channel: Arc<str> = channel.into();
        let mut rows: Vec<Score> = (0..samples.rows.len())
            .map(|i| Score {
                split: splits[i],
                file: files[samples.rows[i].source as usize].clone(),
                run: samples.id(i).run,
                ls: Some(samples.rows[i].ls),
                channel: channel.clone(),
                score: Some(scores[i]),
                threshold: None,
                flagged: None,
                verdict: Verdict::NotEvaluated,
                reason: None,
                labels: labels.iter().map(|set| set.good[i]).collect(),
            })
            .collect();
        rows.extend(samples.rejected.iter().map(|rejected| Score {
            split: if samples.sources[rejected.source as usize].role == crate::data::Role::Test { Split::Test } else { Split::Unused },
            file: files[rejected.source as usize].clone(),
            run: rejected.id.and_then(|id| id.run),
            ls: rejected.id.map(|id| id.ls),
            channel: channel.clone(),
            score: None,
            threshold: None,
            flagged: None,
            verdict: Verdict::NotEvaluated,
            reason: Some(rejected.told().into()),
            labels: (0..labels.len()).map(|set| rejected.labels.get(set).copied().flatten()).collect(),
        }));
        let place = |file: &Arc<str>| files.iter().position(|known| known == file);
        // Without rejected rows they are in order.
        if !samples.rejected.is_empty() {
            rows.sort_by_cached_key(|row| (row.run.is_none(), row.run, if row.run.is_none() { place(&row.file) } else { None }, row.ls));
        }
        Self { events: samples.events, labels: labels.iter().map(|set| set.name.clone()).collect(), rows }
    }

    /// "ls" or "event": what a row is known by beside its run.
    fn number_column(&self) -> &'static str {
        if self.events { "event" } else { "ls" }
    }

    /// Positions of the evaluated rows of each run, in the order of LS.
    pub fn runs(&self) -> Vec<Vec<usize>> {
        let key = |row: &Score| (row.run, if row.run.is_none() { Some(row.file.clone()) } else { None });
        let mut runs: Vec<Vec<usize>> = vec![];
        for (i, row) in self.rows.iter().enumerate().filter(|(_, row)| row.score.is_some()) {
            match runs.last_mut() {
                Some(run) if key(&self.rows[run[0]]) == key(row) => run.push(i),
                _ => runs.push(vec![i]),
            }
        }
        runs
    }

    /// The scores of the rows of one split, run by run.
    pub fn of_split(&self, split: Split) -> Vec<Vec<f64>> {
        let of_run =
            |run: &Vec<usize>| -> Vec<f64> { run.iter().filter(|&&i| self.rows[i].split == split).filter_map(|&i| self.rows[i].score).collect() };
        self.runs().iter().map(of_run).filter(|run| !run.is_empty()).collect()
    }

    /// Holds every score against a threshold.
    pub fn flag(&mut self, threshold: &Calibrated) -> Result<()> {
        let reason: Arc<str> = match threshold.on {
            CalibrateOn::Scored => format!("above the {} of its run", threshold.threshold),
            CalibrateOn::Train => format!("above the {} of training rows", threshold.threshold),
            CalibrateOn::Valid => format!("above the {} of held-out good rows", threshold.threshold),
        }
        .into();
        for run in self.runs() {
            let scores: Vec<f64> = run.iter().filter_map(|&i| self.rows[i].score).collect();
            let value = threshold.for_run(&scores)?;
            for (&i, score) in run.iter().zip(scores) {
                let row = &mut self.rows[i];
                let flagged = score > value;
                row.threshold = Some(value);
                row.flagged = Some(flagged);
                row.verdict = if flagged { Verdict::Bad } else { Verdict::Good };
                row.reason = flagged.then(|| reason.clone());
            }
        }
        Ok(())
    }

    /// Writes a Parquet file, or CSV where the name ends in .csv; beside its target, then renamed.
    pub fn write(&self, path: &Path) -> Result<()> {
        let bytes = if path.extension().is_some_and(|extension| extension == "csv") { self.to_csv()? } else { self.to_parquet()? };
        folder::write_atomically(path, &bytes)
    }

    fn batch(&self) -> Result<RecordBatch> {
        let text = |get: fn(&Score) -> Option<&str>| -> ArrayRef { Arc::new(self.rows.iter().map(get).collect::<StringArray>()) };
        let number = |get: fn(&Score) -> Option<f64>| -> ArrayRef { Arc::new(self.rows.iter().map(get).collect::<Float64Array>()) };
        let whole = |get: fn(&Score) -> Option<u32>| -> ArrayRef { Arc::new(self.rows.iter().map(get).collect::<UInt32Array>()) };
        let mut columns: Vec<(String, ArrayRef)> = vec![
            ("split".into(), text(|row| Some(row.split.name()))),
            ("file".into(), text(|row| Some(&row.file))),
            ("run".into(), whole(|row| row.run)),
            (self.number_column().into(), whole(|row| row.ls)),
            ("channel".into(), text(|row| Some(&row.channel))),
            ("score".into(), number(|row| row.score)),
            ("threshold".into(), number(|row| row.threshold)),
            ("flagged".into(), Arc::new(self.rows.iter().map(|row| row.flagged).collect::<BooleanArray>())),
            ("verdict".into(), text(|row| Some(row.verdict.name()))),
            ("reason".into(), text(|row| row.reason.as_deref())),
        ];
        for (i, name) in self.labels.iter().enumerate() {
            columns.push((format!("label_{name}"), Arc::new(self.rows.iter().map(|row| row.labels[i]).collect::<BooleanArray>())));
        }
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)))
            .map_err(|error| Error::failed(format!("scores: {error}")))
    }

    fn to_parquet(&self) -> Result<Vec<u8>> {
        to_parquet(&self.batch()?)
    }

    fn to_csv(&self) -> Result<Vec<u8>> {
        let failed = |error: csv::Error| Error::failed(format!("scores: {error}"));
        let mut writer = csv::Writer::from_writer(vec![]);
        let labels = self.labels.iter().map(|name| format!("label_{name}"));
        let header =
            ["split", "file", "run", self.number_column(), "channel", "score", "threshold", "flagged", "verdict", "reason"].map(str::to_owned);
        writer.write_record(header.into_iter().chain(labels)).map_err(failed)?;
        let show = |value: Option<String>| value.unwrap_or_default();
        for row in &self.rows {
            let fields = [
                row.split.name().to_owned(),
                row.file.to_string(),
                show(row.run.map(|run| run.to_string())),
                show(row.ls.map(|ls| ls.to_string())),
                row.channel.to_string(),
                show(row.score.map(|score| score.to_string())),
                show(row.threshold.map(|threshold| threshold.to_string())),
                show(row.flagged.map(|flagged| flagged.to_string())),
                row.verdict.name().to_owned(),
                show(row.reason.as_ref().map(ToString::to_string)),
            ];
            let labels = row.labels.iter().map(|label| show(label.map(|good| good.to_string())));
            writer.write_record(fields.into_iter().chain(labels)).map_err(failed)?;
        }
        writer.into_inner().map_err(|error| Error::failed(format!("scores: {error}")))
    }

    /// Reads a `scores.parquet`.
    pub fn read(path: &Path) -> Result<Self> {
        let file = std::fs::File::open(path).map_err(|error| Error::reading(path, &error))?;
        let torn = |error: &dyn std::fmt::Display| Error::input(format!("{}: not a whole scores file: {error}", path.display()));
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).and_then(|builder| builder.build()).map_err(|error| torn(&error))?;
        let mut scores = Self::default();
        for batch in reader {
            let batch = batch.map_err(|error| torn(&error))?;
            scores.events = batch.column_by_name("event").is_some();
            scores.labels = batch.schema().fields().iter().filter_map(|field| Some(field.name().strip_prefix("label_")?.to_owned())).collect();
            scores.append(&batch).ok_or_else(|| torn(&"its columns are not those of a scores file"))?;
        }
        Ok(scores)
    }

    fn append(&mut self, batch: &RecordBatch) -> Option<()> {
        let text = |name: &str| batch.column_by_name(name)?.as_string_opt::<i32>();
        let whole = |name: &str| batch.column_by_name(name)?.as_primitive_opt::<UInt32Type>();
        let number = |name: &str| batch.column_by_name(name)?.as_primitive_opt::<Float64Type>();
        let flag = |name: &str| batch.column_by_name(name)?.as_boolean_opt();
        let (split, file, channel, verdict, reason) = (text("split")?, text("file")?, text("channel")?, text("verdict")?, text("reason")?);
        let (run, ls, score, threshold, flagged) =
            (whole("run")?, whole(self.number_column())?, number("score")?, number("threshold")?, flag("flagged")?);
        let labels = self.labels.iter().map(|name| flag(&format!("label_{name}"))).collect::<Option<Vec<_>>>()?;
        let valid = |array: &dyn Array, i: usize| array.is_valid(i).then_some(i);
        let mut shared: std::collections::HashMap<String, Arc<str>> = std::collections::HashMap::new();
        let mut share = |text: &str| shared.entry(text.to_owned()).or_insert_with(|| text.into()).clone();
        for i in 0..batch.num_rows() {
            self.rows.push(Score {
                split: Split::ALL.into_iter().find(|known| known.name() == split.value(i))?,
                file: share(file.value(i)),
                run: valid(run, i).map(|i| run.value(i)),
                ls: valid(ls, i).map(|i| ls.value(i)),
                channel: share(channel.value(i)),
                score: valid(score, i).map(|i| score.value(i)),
                threshold: valid(threshold, i).map(|i| threshold.value(i)),
                flagged: valid(flagged, i).map(|i| flagged.value(i)),
                verdict: [Verdict::Good, Verdict::Bad, Verdict::NotEvaluated].into_iter().find(|known| known.name() == verdict.value(i))?,
                reason: valid(reason, i).map(|i| share(reason.value(i))),
                labels: labels.iter().map(|label| valid(*label, i).map(|i| label.value(i))).collect(),
            });
        }
        Some(())
    }
}

fn to_parquet(batch: &RecordBatch) -> Result<Vec<u8>> {
    let failed = |error: parquet::errors::ParquetError| Error::failed(format!("Parquet: {error}"));
    let properties = WriterProperties::builder().set_compression(Compression::ZSTD(parquet::basic::ZstdLevel::default())).build();
    let mut bytes = vec![];
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).map_err(failed)?;
    writer.write(batch).map_err(failed)?;
    writer.close().map_err(failed)?;
    Ok(bytes)
}

/// `rejected.parquet`: every row that is not evaluated, with its place in its file and the first reason against it.
pub fn rejected(samples: &Samples) -> Result<Vec<u8>> {
    let rows = &samples.rejected;
    let number = |get: &dyn Fn(&Rejected) -> Option<u32>| -> ArrayRef { Arc::new(rows.iter().map(get).collect::<UInt32Array>()) };
    let files = rows.iter().map(|rejected| Some(samples.sources[rejected.source as usize].name.as_str()));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("file", Arc::new(files.collect::<StringArray>())),
        ("run", number(&|rejected| rejected.id?.run)),
        (if samples.events { "event" } else { "ls" }, number(&|rejected| Some(rejected.id?.ls))),
        ("line", number(&|rejected| Some(rejected.line).filter(|line| *line > 0))),
        ("row", number(&|rejected| Some(rejected.index))),
        ("reason", Arc::new(rows.iter().map(|rejected| Some(rejected.reason.as_str())).collect::<StringArray>())),
    ];
    let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)));
    to_parquet(&batch.map_err(|error| Error::failed(format!("rejected rows: {error}")))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Threshold;

    fn scores() -> Scores {
        let row = |run: u32, ls: u32, score: Option<f64>| Score {
            split: Split::Test,
            file: "a.csv".into(),
            run: Some(run),
            ls: Some(ls),
            channel: "all".into(),
            score,
            threshold: None,
            flagged: None,
            verdict: Verdict::NotEvaluated,
            reason: score.is_none().then(|| "empty (leading)".into()),
            labels: vec![Some(ls.is_multiple_of(2))],
        };
        Scores {
            events: false,
            labels: vec!["good".into()],
            rows: vec![row(1, 1, None), row(1, 2, Some(0.5)), row(1, 3, Some(0.7)), row(2, 1, Some(5.0)), row(2, 2, Some(6.0))],
        }
    }

    fn threshold(on: CalibrateOn, value: Option<f64>) -> Calibrated {
        Calibrated {
            channel: "all".into(),
            threshold: Threshold::Percentile { percentile: 50.0, smooth: 1 },
            on,
            value,
            rows: 2,
            runs: 1,
            files: vec![],
        }
    }

    #[test]
    fn flags_are_strictly_above_and_runs_may_have_their_own_threshold() {
        let mut common = scores();
        common.flag(&threshold(CalibrateOn::Valid, Some(0.7))).unwrap();
        assert_eq!(common.rows.iter().map(|row| row.flagged).collect::<Vec<_>>(), [None, Some(false), Some(false), Some(true), Some(true)]);
        let mut own = scores();
        own.flag(&threshold(CalibrateOn::Scored, None)).unwrap();
        assert_eq!(own.rows.iter().map(|row| row.flagged).collect::<Vec<_>>(), [None, Some(false), Some(true), Some(false), Some(true)]);
        assert_eq!(own.rows[0].verdict, Verdict::NotEvaluated, "what has no score is never good");
    }

    #[test]
    fn scores_survive_their_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scores.parquet");
        let mut scores = scores();
        scores.flag(&threshold(CalibrateOn::Valid, Some(0.6))).unwrap();
        scores.write(&path).unwrap();
        assert_eq!(Scores::read(&path).unwrap(), scores);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        assert_eq!(Scores::read(&path).unwrap_err().exit_code(), 2);
    }

    #[test]
    fn csv_is_there_for_those_who_want_it() {
        let text = String::from_utf8(scores().to_csv().unwrap()).unwrap();
        assert!(text.starts_with("split,file,run,ls,channel,score,threshold,flagged,verdict,reason,label_good\ntest,a.csv,1,1,all,,,,not evaluated,empty (leading),false\n"), "{text}");
    }
}
