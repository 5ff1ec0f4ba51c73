//! The TOML file as it is written: every key, its default and its allowed range. The doc comments
//! here are what `lumisift schema` prints and editors show.

#![allow(missing_docs, reason = "a key whose type says what it is carries no words of its own")]

use crate::error::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

macro_rules! section {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident : $type:ty = $default:expr,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name { $($(#[$field_doc])* pub $field: $type,)* }
        impl Default for $name {
            fn default() -> Self { Self { $($field: $default,)* } }
        }
    };
}

macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
        pub enum $name { $($(#[$variant_doc])* #[serde(rename = $text)] $variant,)* }
        impl $name {
            /// The word that stands for it in the TOML file.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str(self.name()) }
        }
    };
}

section! {
    /// A Lumisift experiment.
    Config {
        /// What the experiment is called in reports. Default: the file's name.
        #[serde(skip_serializing_if = "String::is_empty")]
        name: String = String::new(),
        /// The one source of all chance: initial weights, batch order, splits, dropout, noise,
        /// bootstrap.
        #[schemars(range(max = 9_223_372_036_854_775_807_u64))]
        seed: u64 = 1,
        /// Where to compute: "cpu", "cuda", "cuda:1", "wgpu", "wgpu:1", or "auto" for the best
        /// there is. Several, with commas between them, share the models of a training.
        device: String = "cpu".into(),
        /// Another experiment file whose keys hold wherever this one is silent.
        #[serde(skip_serializing_if = "Option::is_none")]
        extends: Option<String> = None,
        data: Data = Data::default(),
        labels: Labels = Labels::default(),
        weights: Weights = Weights::default(),
        select: Select = Select::default(),
        split: Split = Split::default(),
        #[serde(skip_serializing_if = "Channels::is_empty")]
        channels: Channels = Channels::default(),
        scale: Scale = Scale::default(),
        model: Model = Model::default(),
        loss: Loss = Loss::default(),
        train: Train = Train::default(),
        score: Score = Score::default(),
        /// Patterns in space in the errors of maps: with this section (an empty one will do) they
        /// are what flags.
        #[serde(skip_serializing_if = "Option::is_none")]
        patterns: Option<Patterns> = None,
        threshold: Threshold = Threshold::default(),
        #[serde(skip_serializing_if = "Certify::is_empty")]
        certify: Certify = Certify::default(),
        report: Report = Report::default(),
        #[serde(skip_serializing_if = "Sensitivity::is_usual")]
        sensitivity: Sensitivity = Sensitivity::default(),
        /// A hyperparameter search, for `lumisift sweep`; other verbs pass over it.
        #[serde(skip_serializing_if = "Option::is_none")]
        sweep: Option<Sweep> = None,
        #[serde(skip_serializing_if = "Batch::is_empty")]
        batch: Batch = Batch::default(),
    }
}

section! {
    /// A search over keys of this file: which of their values make a figure of the report best.
    Sweep {
        /// The figure of report.json that counts: its path with dots, such as "auc.good.auc" or
        /// "channels.all.training.best_valid_loss". An entry of a list is meant by its name, labels
        /// or number, and needs not be named where it is the only one.
        objective: String = String::new(),
        /// Whether the lowest or the highest figure is the best.
        #[serde(skip_serializing_if = "Option::is_none")]
        goal: Option<Goal> = None,
        strategy: Strategy = Strategy::Random,
        /// How many points of the space are tried. Default: 20; with strategy = "grid" all of them.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 1, max = 1_000_000))]
        trials: Option<u32> = None,
        /// Trainings of each point, with seed, seed + 1, …: what counts is their mean.
        #[schemars(range(min = 1, max = 1_000))]
        repeats: u32 = 1,
        /// Strategy "tpe" learns after every so many points, all of which must be done: as many can
        /// be tried side by side.
        #[schemars(range(min = 1, max = 10_000))]
        round: u32 = 8,
        pruner: PrunerKind = PrunerKind::None,
        /// Epochs before a trial may be pruned: those of the first rung of "asha", the wait of
        /// "median". Default: a tenth of train.epochs.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 1))]
        warm_up: Option<u32> = None,
        /// With pruner = "asha": of so many trials at a rung the best goes on, to a rung so many
        /// times as far.
        #[schemars(range(min = 2, max = 100))]
        reduction: u32 = 3,
        /// The sweep ends when more trials than this have failed.
        max_failures: u32 = 10,
        /// What is varied: `"train.optimizer.learning_rate" = { log_uniform = [1e-4, 1e-2] }`. See
        /// docs/sweeps.md.
        #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
        space: toml::Table = toml::Table::new(),
    }
}

choice! {
    /// Which end is good.
    Goal {
        /// The lowest.
        Min = "min",
        /// The highest.
        Max = "max",
    }
}

choice! {
    /// How the points of a search are chosen.
    Strategy {
        /// All combinations of the values.
        Grid = "grid",
        /// Drawn at random, each by itself.
        Random = "random",
        /// Tree-structured Parzen estimator: drawn where the trials before were good.
        Tpe = "tpe",
    }
}

choice! {
    /// Which trials are ended early, going by their validation losses.
    PrunerKind {
        /// None.
        None = "none",
        /// Those worse than half of the trials that are done were after as many epochs.
        Median = "median",
        /// Asynchronous successive halving: at each rung all but the best share.
        Asha = "asha",
    }
}

section! {
    /// Which files, and how to read them.
    Data {
        /// Files to train on: paths or globs, relative to this file.
        train: Vec<String> = vec![],
        /// Files that are only scored: paths or globs, relative to this file.
        test: Vec<String> = vec![],
        format: Format = Format::Auto,
        /// The monitoring element to take where a file holds several; in HDF5 and NPZ files the
        /// path of the dataset.
        #[serde(skip_serializing_if = "Option::is_none")]
        me: Option<String> = None,
        /// Several monitoring elements, each of which is a channel of its own: names, or patterns
        /// with * and ?. Their histograms or maps are joined by (run, LS); a lumisection that lacks
        /// one of them is not evaluated.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        layers: Vec<String> = vec![],
        flow_bins: FlowBins = FlowBins::Keep,
        /// Cut so many columns and rows, [x, y], out of the middle of every map, before bins are
        /// added up.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        #[schemars(length(min = 2, max = 2))]
        cut_cross: Vec<u32> = vec![],
        /// Add up so many neighbouring bins: 2 (of a map in x and in y), or [2, 4] for x and y.
        /// Bins that are left over make a smaller last one.
        #[serde(skip_serializing_if = "Option::is_none")]
        rebin: Option<OneOrMany<u32>> = None,
        /// Take seven numbers of each histogram (in one dimension) instead of its bins: the
        /// quantiles at 10, 30, 50, 70 and 90 %, the mean and the standard deviation, as the
        /// features q10, q30, q50, q70, q90, mean and rms. Underflow and overflow are left out.
        /// They are in units of the axis of each histogram (columns Xmin and Xmax), or in bins
        /// where the files do not say it.
        summary: bool = false,
        /// Further inputs beside the bins, as quantities: ["recorded_lumi_per_lumisection"]. Scaled
        /// by scale.added.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        add_inputs: Vec<String> = vec![],
        /// OMS files: JSON objects of equally long arrays with run_number and lumisection_number.
        /// Joined by (run, LS).
        #[serde(skip_serializing_if = "Vec::is_empty")]
        oms: Vec<String> = vec![],
        /// Rates of trigger paths: JSON of run, path, rate and first_lumisection_number.
        /// HLT_ZeroBias_v* is any version.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        hlt: Vec<String> = vec![],
        /// Luminosities that brilcalc wrote as CSV (--byls): the quantities delivered, recorded and
        /// avgpu.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        brilcalc: Vec<String> = vec![],
        /// DIALS pages of lumisections, for histogram pages that name lumisections by their number
        /// in DIALS.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        lumisections: Vec<String> = vec![],
        bad_rows: BadRows = BadRows::Error,
        /// Numbers that stand for a missing value: [-999]. Cells that hold one of them are missing,
        /// and so are NaN, null and blank cells. data.fill says what becomes of missing cells.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        missing: Vec<f64> = vec![],
        #[serde(skip_serializing_if = "Fill::is_reject")]
        fill: Fill = Fill::Reject,
        /// The share of a row's inputs that must be present: a row with fewer is not evaluated.
        /// Default: 0.5 with a data.fill. A row without any input is never evaluated.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 0.0, max = 1.0))]
        min_present: Option<f64> = None,
        /// Only a part of the runs, such as "2 of 8": the parts have about equally many rows, no
        /// run in common, and make all together.
        #[serde(skip_serializing_if = "Option::is_none")]
        part: Option<String> = None,
        /// Rows of one lumisection all stay (and are counted). Otherwise a second one is a row that
        /// cannot be read.
        keep_duplicates: bool = false,
        columns: Columns = Columns::default(),
    }
}

choice! {
    /// How a data file is laid out.
    Format {
        /// Found out from the file itself.
        Auto = "auto",
        /// `LS;[count, count, …]`: one header row, LS number, list of bins.
        LsBins = "ls-bins",
        /// ML4DQM: comma-separated with `fromrun,fromlumi,…,hname,"[…]",entries,…,Xbins`.
        Ml4dqm = "ml4dqm",
        /// A table with a column per bin (`bin_0`, `bin_1`, …) or per feature.
        Csv = "csv",
        /// Parquet: histograms as lists (DIALS, DQMIO), or a column per feature.
        Parquet = "parquet",
        /// Arrow IPC: a file (Feather) or a stream.
        Arrow = "arrow",
        /// HDF5: datasets as columns or matrices, or a table.
        Hdf5 = "hdf5",
        /// A NumPy array, one row a sample.
        Npy = "npy",
        /// Several NumPy arrays: columns and matrices.
        Npz = "npz",
        /// Pages of the DIALS REST interface, as JSON.
        Dials = "dials",
    }
}

choice! {
    /// What to do with underflow and overflow bins, where the file has them.
    FlowBins {
        /// They are bins like any other.
        Keep = "keep",
        /// The first and last bin are left out.
        Strip = "strip",
    }
}

choice! {
    /// What to do with a row that cannot be read.
    BadRows {
        /// Stop, naming its line.
        Error = "error",
        /// Go on without it; its line and reason are counted and reported.
        Reject = "reject",
    }
}

choice! {
    /// What becomes of missing inputs: blank, NaN and null cells, and those with one of the numbers
    /// of data.missing.
    Fill {
        /// A row with a missing cell is a row that cannot be read.
        Reject = "reject",
        /// Missing cells are 0, in units of the data.
        Zero = "zero",
        /// Missing cells are the median of the training rows.
        Median = "median",
        /// Missing cells are left out of losses, scores, explanations and gradients; the network
        /// sees the mean of the training rows.
        Mask = "mask",
    }
}

impl Fill {
    /// Whether rows with missing cells are not taken.
    pub fn is_reject(&self) -> bool {
        *self == Self::Reject
    }
}

section! {
    /// Header names of the columns, where they are not the usual ones. ErrorBaseline names are recognised
    /// whatever their case and blanks. Where two columns have usual names of one thing and differ,
    /// the key says which is meant.
    Columns {
        /// Run number. ErrorBaseline names: fromrun, run_number, run, _run.
        #[serde(skip_serializing_if = "Option::is_none")]
        run: Option<String> = None,
        /// Lumisection number. ErrorBaseline names: fromlumi, ls_number, lumisection_number, lumi, ls,
        /// luminosityBlock.
        #[serde(skip_serializing_if = "Option::is_none")]
        ls: Option<String> = None,
        /// The list of bin contents, or the array of an HDF5 or NPZ file. ErrorBaseline names: histo, data.
        #[serde(skip_serializing_if = "Option::is_none")]
        histogram: Option<String> = None,
        /// Number of bins without underflow and overflow. ErrorBaseline name: Xbins.
        #[serde(skip_serializing_if = "Option::is_none")]
        bins: Option<String> = None,
        /// Name of the monitoring element. ErrorBaseline names: hname, me, title.
        #[serde(skip_serializing_if = "Option::is_none")]
        me: Option<String> = None,
        /// The columns that are inputs, in tables of features: names, or patterns with * and ?, in
        /// the order of this list. Default: bin_0, bin_1, … where there are any, else every column
        /// of numbers that is not used for something else.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        features: Vec<String> = vec![],
        /// Columns that are no inputs: names, or patterns with * and ?.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        ignore: Vec<String> = vec![],
    }
}

section! {
    /// What is known about which lumisections are good. Good = 1 (or true), always.
    Labels {
        /// Which lumisections are good: a column (true/false or 1/0), or a file: a golden or DCS
        /// JSON, a list of `run ls` lines, or a .npy with one number a row of data.train.
        #[serde(skip_serializing_if = "Option::is_none")]
        good: Option<LabelSource> = None,
        /// Further label sets to hold the scores against, by a name of your choice: `dcs =
        /// "DCSbit"`.
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        sets: BTreeMap<String, LabelSource> = BTreeMap::new(),
        /// Whether JSONs and lists are complete: a lumisection that they do not name is then the
        /// opposite of those they name. Otherwise it is unlabelled, and a warning counts such
        /// lumisections.
        complete: bool = false,
        #[serde(skip_serializing_if = "Option::is_none")]
        subsystems: Option<Subsystems> = None,
        #[serde(skip_serializing_if = "Option::is_none")]
        classes: Option<ClassNames> = None,
        train_on: TrainOn = TrainOn::Good,
    }
}

/// Where labels come from: a column or file by name, or more said about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum LabelSource {
    /// A column, or a file (.json, .txt, .npy, or a path).
    Name(String),
    /// With what makes a row good.
    Told(ToldLabels),
}

section! {
    /// A label source that says what its values mean.
    ToldLabels {
        /// The column.
        #[serde(skip_serializing_if = "Option::is_none")]
        column: Option<String> = None,
        /// The file: JSON, list of `run ls` lines, or .npy.
        #[serde(skip_serializing_if = "Option::is_none")]
        file: Option<String> = None,
        /// The values of a column or .npy that mean good. Default: 1 and true; 0 and false are then
        /// bad, and any other value is an error.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        values: Vec<Scalar> = vec![],
        /// The values that mean bad: a list, or "others" for all that are not in `values`. Rows
        /// with any other value are unlabelled, and a warning counts them; blanks are unlabelled
        /// too. Default: where there are two values and one of them is in `values`, the other one.
        #[serde(skip_serializing_if = "Option::is_none")]
        bad_values: Option<BadValues> = None,
        /// What the lumisections are that a JSON or list names.
        lists: Lists = Lists::Good,
        /// Whether it names all of them. Default: labels.complete.
        #[serde(skip_serializing_if = "Option::is_none")]
        complete: Option<bool> = None,
    }
}

/// The values of a label column that mean bad.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum BadValues {
    /// All that do not mean good.
    Others(Others),
    /// These.
    These(Vec<Scalar>),
}

choice! {
    /// All values that are not named.
    Others {
        /// All that are not in `values`.
        All = "others",
    }
}

/// A number or a text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Scalar {
    /// A number.
    Number(f64),
    /// A text.
    Text(String),
}

impl std::fmt::Display for Scalar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => f.write_str(text),
        }
    }
}

choice! {
    /// What the lumisections are that a label file names.
    Lists {
        /// Good ones, as in a golden JSON.
        Good = "good",
        /// Bad ones, as in a list of abnormal lumisections.
        Bad = "bad",
    }
}

section! {
    /// What kinds of rows there are, beside good and bad: figures are told class by class.
    ClassNames {
        /// The column that tells them.
        column: String = String::new(),
        /// The values of each class, by its name: { QCD = [1, 2], Higgs = [3, 4] }.
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        names: BTreeMap<String, Vec<Scalar>> = BTreeMap::new(),
        /// The name of all other values together. Default: each is a class of its own.
        #[serde(skip_serializing_if = "Option::is_none")]
        others: Option<String> = None,
    }
}

section! {
    /// A folder with one JSON of good lumisections per subsystem.
    Subsystems {
        /// The folder.
        folder: String = String::new(),
        /// The names of the files; the part that * stands for is the name of the label set. Other
        /// files are skipped, and told.
        pattern: String = "*.json".into(),
    }
}

choice! {
    /// Which rows of the training split the model may see.
    TrainOn {
        /// Good ones only, where there are labels.
        Good = "good",
        /// All of them, whatever their label.
        All = "all",
    }
}

section! {
    /// How much each row counts.
    Weights {
        /// A column of weights (luminosity, entries): not negative. Default: every row counts the
        /// same.
        #[serde(skip_serializing_if = "Option::is_none")]
        column: Option<String> = None,
        /// The weight as a quantity: "recorded_lumi_per_lumisection" from OMS, "max(lumi_a,
        /// lumi_b)" of columns.
        #[serde(skip_serializing_if = "Option::is_none")]
        from: Option<String> = None,
    }
}

section! {
    /// Which rows are evaluated at all. The others keep the first reason against them, in the order
    /// of these keys.
    Select {
        /// Only these runs: numbers, or ranges such as "297050-297180".
        #[serde(skip_serializing_if = "Vec::is_empty")]
        runs: Vec<Scalar> = vec![],
        /// Only these LSs of a run, inclusive: { "297050" = [[1, 100], [120, 130]] }. Other runs
        /// are not touched.
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        lumisections: BTreeMap<String, Vec<Vec<i64>>> = BTreeMap::new(),
        /// Only the LSs that this golden or DCS JSON (or list of `run ls` lines) names.
        #[serde(skip_serializing_if = "Option::is_none")]
        golden: Option<String> = None,
        /// Conditions that all must hold: ["beams_stable", "pileup > 25", "HLT_ZeroBias_v* > 5",
        /// "entries >= 1000"]. Names are run, ls, entries, those of OMS, HLT and brilcalc files,
        /// and columns.
        #[serde(rename = "where", skip_serializing_if = "Vec::is_empty")]
        conditions: Vec<String> = vec![],
        unknown: UnknownRows = UnknownRows::Reject,
        drop_empty: DropEmpty = DropEmpty::All,
        /// Only rows whose weight is not 0.
        nonzero_weight: bool = false,
        /// At most so many rows of each run, drawn by the seed.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 1))]
        per_run: Option<u32> = None,
    }
}

choice! {
    /// What becomes of a row for which a condition is neither met nor broken, because something in
    /// it is not known.
    UnknownRows {
        /// It is not evaluated, with the reason "unknown in OMS" (or HLT, or the column).
        Reject = "reject",
        /// It stays.
        Keep = "keep",
    }
}

choice! {
    /// Which empty lumisections are not evaluated.
    DropEmpty {
        /// Wherever they stand in the run.
        All = "all",
        /// Only those before the first filled one of a run.
        Leading = "leading",
        /// None: an empty histogram is scored like any other.
        None = "none",
    }
}

section! {
    /// Which rows are for training, which for validation, which for testing.
    Split {
        by: SplitBy = SplitBy::Run,
        /// Fraction of the rows of `data.train` that are held out for validation.
        #[schemars(range(min = 0.0, max = 0.95))]
        valid: f64 = 0.2,
        /// Fraction of the rows of `data.train` that are held out for testing; files of `data.test`
        /// come on top.
        #[schemars(range(min = 0.0, max = 0.95))]
        test: f64 = 0.0,
        /// With `by = "block"`: how many neighbouring LSs stay together.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 1))]
        block: Option<u32> = None,
        /// With `by = "column"`: the column that says train, valid or test.
        #[serde(skip_serializing_if = "Option::is_none")]
        column: Option<String> = None,
        /// With `by = "random"`: as many good and bad rows on each side as their shares, by
        /// labels.good.
        stratify: bool = false,
        /// With `by = "run"`: these runs for validation, instead of a fraction.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        valid_runs: Vec<u32> = vec![],
        /// With `by = "run"`: these runs for testing, instead of a fraction.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        test_runs: Vec<u32> = vec![],
        /// With `by = "file"`: the files for validation, by name or pattern, instead of a fraction.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        valid_files: Vec<String> = vec![],
        /// With `by = "file"`: the files for testing, by name or pattern, instead of a fraction.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        test_files: Vec<String> = vec![],
    }
}

choice! {
    /// What stays together when rows are split. Neighbouring LSs are nearly equal: whole runs or
    /// blocks keep the test honest.
    SplitBy {
        /// Whole runs.
        Run = "run",
        /// Blocks of neighbouring LSs.
        Block = "block",
        /// Whole files.
        File = "file",
        /// As a column says.
        Column = "column",
        /// Row by row, at random. Neighbours end up on both sides.
        Random = "random",
        /// The first rows train, the next validate, the last test.
        Order = "order",
    }
}

section! {
    /// Which features make which channel; each channel has an autoencoder of its own. Without rules
    /// there is one channel, "all".
    Channels {
        /// The levels of the hierarchy, outermost first: ["stream", "particle", "quantity"].
        #[serde(skip_serializing_if = "Vec::is_empty")]
        levels: Vec<String> = vec![],
        /// How names are read. The first rule whose pattern is the whole name of a feature says its
        /// place at each level. Columns that are weights, labels or identities need no rule.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        rules: Vec<ChannelRule> = vec![],
        /// So many levels, from the outermost, make a channel: 2 makes "muons/photons".
        #[schemars(range(min = 1))]
        depth: u32 = 1,
        /// Names at the last of those levels that are no channels: their features go to all
        /// channels beside them.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        spread: Vec<String> = vec![],
        /// Features that come last in their channel, by name or pattern ("*_lumi__mean"), in this
        /// order. The others keep the order of the table, spread ones after the channel's own.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        last: Vec<String> = vec![],
        /// The channels to train, by name or pattern ("minibias/*", "*/PF"), in this order.
        /// Default: all.
        #[serde(rename = "use", skip_serializing_if = "Vec::is_empty")]
        chosen: Vec<String> = vec![],
        unmatched: Unmatched = Unmatched::Error,
    }
}

impl Channels {
    /// Whether nothing is said: one channel of everything.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

section! {
    /// How the names of some features are read.
    ChannelRule {
        /// A regular expression for the whole name, with a named group per level:
        /// `(?<stream>[a-z]+)_(?<quantity>\w+)`.
        pattern: String = String::new(),
        /// The place at levels that the name does not say: { particle = "allChannels" }. Every
        /// level is named, in the pattern or here; what the pattern finds wins.
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        insert: BTreeMap<String, String> = BTreeMap::new(),
        /// These features are in no channel.
        leave_out: bool = false,
    }
}

choice! {
    /// What becomes of features whose names no rule reads.
    Unmatched {
        /// They stop the program.
        Error = "error",
        /// They are in no channel, and are counted in a warning.
        LeaveOut = "leave-out",
    }
}

section! {
    /// How bins become inputs.
    Scale {
        /// One step, or several in order: `["unit-area", "standard"]`.
        kind: OneOrMany<ScaleKind> = OneOrMany::One(ScaleKind::Range),
        fit_on: FitOn = FitOn::Train,
        constant: Constant = Constant::Floor,
        /// A quantity that every bin of a row is divided by, before any other step: "pileup *
        /// HLT_ZeroBias_v*". A row whose quantity is 0 is not evaluated.
        #[serde(skip_serializing_if = "Option::is_none")]
        divide_by: Option<String> = None,
        /// With a step "reference": the file of the numbers that it divides by, the
        /// normalisation.parquet of another experiment.
        #[serde(skip_serializing_if = "Option::is_none")]
        reference: Option<String> = None,
        /// Scaled bins above this number become it: the last step of all.
        #[serde(skip_serializing_if = "Option::is_none")]
        clip: Option<f64> = None,
        /// How the inputs of data.add_inputs are scaled.
        added: ScaleKind = ScaleKind::Standard,
    }
}

/// A value, or a list of values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OneOrMany<T> {
    /// One.
    One(T),
    /// Several, in order.
    Many(Vec<T>),
}

impl<T: Clone> OneOrMany<T> {
    /// The values as a list.
    pub fn to_vec(&self) -> Vec<T> {
        match self {
            Self::One(value) => vec![value.clone()],
            Self::Many(values) => values.clone(),
        }
    }
}

choice! {
    /// One step of scaling.
    ScaleKind {
        /// Bins as they are.
        None = "none",
        /// Per bin x / (max − min); the minimum is not subtracted. Bins of range 0: see
        /// scale.constant.
        Range = "range",
        /// Per bin (x − min) / (max − min). Bins of range 0: see scale.constant.
        MinMax = "min-max",
        /// Per bin (x − mean) / std (ddof 0). Bins of std 0: see scale.constant.
        Standard = "standard",
        /// Per row x / sum; a row of sum 0 becomes 0. Of several layers (data.layers) each by
        /// itself.
        UnitArea = "unit-area",
        /// Per row x / mean of its bins; a row of mean 0 becomes 0. Of several layers (data.layers)
        /// each by itself.
        MeanOne = "mean-one",
        /// Per bin x / mean. Bins of mean 0: see scale.constant. Kept as normalisation.parquet.
        BinMean = "bin-mean",
        /// Per bin x / the mean that scale.reference has for it. Bins of mean 0: see
        /// scale.constant.
        Reference = "reference",
        /// Per bin (x − median) / (75th − 25th percentile). Bins where those are equal: see
        /// scale.constant.
        Robust = "robust",
        /// Per value √x, which makes the noise of counts even.
        Sqrt = "sqrt",
        /// Per value ln(1 + x).
        Log1p = "log1p",
    }
}

choice! {
    /// How a step scales bins (or features) that do not vary in the rows it is fitted on, so that
    /// it has nothing to divide by.
    #[derive(Default)]
    Constant {
        /// (x − constant) / floor: training rows become 0, and a change counts. For counts the
        /// floor is the Poisson error of the constant content, of at least one count, scaled as
        /// typical standard deviations of the other bins are; for features a tenth of the constant,
        /// or 1 where it is 0. Of a bin that varies too little for "robust" it is its standard
        /// deviation.
        Floor = "floor",
        /// "range", "min-max", "bin-mean" and "reference" make such a bin 0 whatever it holds, so
        /// that scores are blind there (as the METSig notebook does); "standard" and "robust" leave
        /// it as it is (as scikit-learn does). New values there raise a warning.
        #[default]
        Zero = "zero",
    }
}

choice! {
    /// What the scaling is learned from.
    FitOn {
        /// The training rows.
        Train = "train",
        /// Each file by its own rows (as the METSig notebook does): scores of two files are then
        /// not comparable.
        EachFile = "each-file",
        /// All rows that are evaluated, test included.
        All = "all",
        /// All rows that were read, those that are not evaluated included (as the 2010B notebook
        /// does).
        Read = "read",
    }
}

section! {
    /// The autoencoder.
    Model {
        /// With "nmf", latent is the number of components, and keys of this section that are not
        /// named with it have no meaning.
        kind: ModelKind = ModelKind::Dense,
        /// Widths of the encoder's hidden layers; the decoder mirrors them.
        #[schemars(inner(range(min = 1, max = 65536)))]
        hidden: Vec<u32> = vec![64],
        /// Width of the latent layer.
        #[schemars(range(min = 1, max = 65536))]
        latent: u32 = 16,
        /// Activation of the hidden layers.
        activation: Activation = Activation::Relu,
        /// Activation of the latent layer. Default: that of the hidden layers.
        #[serde(skip_serializing_if = "Option::is_none")]
        latent_activation: Option<Activation> = None,
        /// Activation of the output.
        output_activation: Activation = Activation::Linear,
        /// Fraction of hidden values dropped in training.
        #[schemars(range(min = 0.0, max = 0.95))]
        dropout: f64 = 0.0,
        /// Normalise each hidden layer (not the latent one) between its linear part and its
        /// activation: in training by mean and variance of the batch, whatever its rows weigh; else
        /// by running ones (PyTorch's BatchNorm1d: epsilon 1e-5, momentum 0.1).
        batch_norm: bool = false,
        /// Standard deviation of Gaussian noise that is added to the scaled inputs in training; the
        /// output is still held to the clean ones.
        #[schemars(range(min = 0.0))]
        noise: f64 = 0.0,
        /// Fraction of the inputs that are set to 0 in training, after noise is added; the output
        /// is still held to all of them.
        #[schemars(range(min = 0.0, max = 0.95))]
        masking: f64 = 0.0,
        /// In training, draw each latent from a normal distribution whose mean the (linear) latent
        /// layer gives, and the logarithm of its variance another layer beside it; loss.kl holds
        /// them near the standard normal one. After training a latent is its mean.
        variational: bool = false,
        init: Init = Init::GlorotUniform,
        #[serde(skip_serializing_if = "Nmf::is_empty")]
        nmf: Nmf = Nmf::default(),
    }
}

section! {
    /// What kind = "nmf" is told: a row (without negative numbers, most naturally) is a sum of a
    /// few components, found without negative numbers either. With train.batch_size below the
    /// number of rows, sums go on from batch to batch. Penalties are those of scikit-learn: alpha_W
    /// · l1_ratio is l1_coefficients, alpha_W · (1 − l1_ratio) l2_coefficients, alpha_H likewise of
    /// components.
    Nmf {
        solver: NmfSolver = NmfSolver::Descent,
        start: NmfStart = NmfStart::Nndsvd,
        /// With batches: the share of what was learned before that is kept, over a whole epoch. 1
        /// keeps all.
        #[schemars(extend("exclusiveMinimum" = 0.0), range(max = 1.0))]
        forget: f64 = 1.0,
        #[schemars(range(min = 0.0))]
        l1_coefficients: f64 = 0.0,
        #[schemars(range(min = 0.0))]
        l2_coefficients: f64 = 0.0,
        #[schemars(range(min = 0.0))]
        l1_components: f64 = 0.0,
        #[schemars(range(min = 0.0))]
        l2_components: f64 = 0.0,
        /// What inputs of training rows that are 0 are taken for in training, but for bins that are
        /// 0 in all of them: a bin that was dead for a while is then not learned as one that is
        /// sometimes dead.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 0.0))]
        fill_zeros: Option<f64> = None,
        /// Scoring finds coefficients from inputs that are cut off here; errors are those of the
        /// inputs as they are.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(extend("exclusiveMinimum" = 0.0))]
        clip: Option<f64> = None,
    }
}

impl Nmf {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

choice! {
    /// How coefficients and components are found.
    NmfSolver {
        /// Coordinate descent, each side to the end while the other is held: the fastest way to the
        /// smallest error.
        Descent = "cd",
        /// Multiplicative updates (Lee and Seung).
        Multiplicative = "mu",
    }
}

choice! {
    /// The components to start from, without train.init.
    NmfStart {
        /// Made of the singular vectors of the training rows.
        Nndsvd = "nndsvd",
        /// Drawn.
        Random = "random",
    }
}

impl Model {
    /// Whether training is unlike what comes after it: by dropout, batch norm, drawn latents, or
    /// noise or masking of inputs.
    pub fn is_regularised(&self) -> bool {
        self.batch_norm
            || self.variational
            || self.dropout > 0.0
            || self.noise > 0.0
            || self.masking > 0.0
    }

    /// Whether anything is drawn in training.
    pub fn draws(&self) -> bool {
        self.variational || self.dropout > 0.0 || self.noise > 0.0 || self.masking > 0.0
    }
}

choice! {
    /// The kind of model.
    ModelKind {
        /// A dense autoencoder.
        Dense = "dense",
        /// Non-negative matrix factorisation.
        Nmf = "nmf",
    }
}

choice! {
    /// An activation function.
    Activation {
        /// max(0, x)
        Relu = "relu",
        /// x, or 0.01 x below 0
        LeakyRelu = "leaky_relu",
        /// x, or a x below 0, where a is trained with the weights: one number a layer, 0.25 before
        /// training (PyTorch's PReLU).
        Prelu = "prelu",
        /// x, or eˣ − 1 below 0
        Elu = "elu",
        /// The self-normalising elu.
        Selu = "selu",
        /// x Φ(x)
        Gelu = "gelu",
        /// Hyperbolic tangent.
        Tanh = "tanh",
        /// 1 / (1 + e⁻ˣ)
        Sigmoid = "sigmoid",
        /// x
        Linear = "linear",
    }
}

choice! {
    /// How weights are drawn before training; biases start at 0, but with "torch".
    Init {
        /// Uniform, limit √(6 / (in + out)): Keras' default.
        GlorotUniform = "glorot-uniform",
        /// Normal, std √(2 / (in + out)).
        GlorotNormal = "glorot-normal",
        /// Uniform, limit √(6 / in).
        HeUniform = "he-uniform",
        /// Normal, std √(2 / in).
        HeNormal = "he-normal",
        /// Normal, std √(1 / in): what selu is meant for.
        LecunNormal = "lecun-normal",
        /// Uniform, limit √(1 / in), weights and biases: PyTorch's default.
        Torch = "torch",
    }
}

section! {
    /// What training makes small.
    Loss {
        kind: LossKind = LossKind::Mse,
        /// With `kind = "smooth_l1"`: where the square turns into a line.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(extend("exclusiveMinimum" = 0.0))]
        beta: Option<f64> = None,
        /// Factor of the sum of all squared weights (not biases). Not part of the logged loss.
        #[schemars(range(min = 0.0))]
        l2: f64 = 0.0,
        /// Factor of the squared outputs of the first hidden layer, summed and divided by the batch
        /// size (Keras' activity regularisation). Not part of the logged loss.
        #[schemars(range(min = 0.0))]
        activity_l2: f64 = 0.0,
        /// A sparse autoencoder: what its latents cost. Not part of the logged loss.
        #[serde(skip_serializing_if = "Option::is_none")]
        sparsity: Option<Sparsity> = None,
        /// A contractive autoencoder: factor of the squared Frobenius norm of the derivative of a
        /// row's latents by its (scaled) inputs, a mean over rows. Not part of the logged loss.
        #[schemars(range(min = 0.0))]
        contractive: f64 = 0.0,
        /// With model.variational: factor of the Kullback-Leibler divergence of a row's latents
        /// from the standard normal distribution, summed over latents, a mean over rows. Default
        /// 1e-3. Not part of the logged loss.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 0.0))]
        kl: Option<f64> = None,
        /// With model.variational: epochs over which that factor rises linearly to its full value.
        /// Default 0.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(max = 1_000_000))]
        kl_warmup: Option<u32> = None,
    }
}

section! {
    /// What keeps most latents of a row silent.
    Sparsity {
        kind: SparsityKind = SparsityKind::L1,
        /// Its factor.
        #[schemars(extend("exclusiveMinimum" = 0.0))]
        weight: f64 = 1e-3,
        /// kl: the mean that each latent shall have over the rows of a batch. Default 0.05.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(extend("exclusiveMinimum" = 0.0, "exclusiveMaximum" = 1.0))]
        target: Option<f64> = None,
    }
}

choice! {
    /// How latents that are not silent are counted.
    SparsityKind {
        /// Their absolute values, summed over latents, a mean over rows.
        L1 = "l1",
        /// The Kullback-Leibler divergence of each latent's mean over a batch from target, both as
        /// probabilities, summed over latents. Wants latents between 0 and 1: latent_activation =
        /// "sigmoid".
        Kl = "kl",
    }
}

choice! {
    /// The distance of input and output that is made small, a mean over rows and, but for "sse",
    /// over bins.
    LossKind {
        /// Mean squared error.
        Mse = "mse",
        /// Sum of squared errors over the bins.
        Sse = "sse",
        /// Mean absolute error.
        Mae = "mae",
        /// Huber-like: a square below beta, a line above (PyTorch's SmoothL1Loss).
        SmoothL1 = "smooth_l1",
    }
}

section! {
    /// How the model is trained.
    Train {
        /// Weights to start from: a safetensors file as `lumisift export` writes it (or PyTorch's
        /// Linear layers named encoder.0.weight, …, BatchNorm1d encoder.0.norm.weight, …, PReLU
        /// encoder.0.prelu.weight, and of a variational autoencoder the Linear layers latent_mean
        /// and latent_log_variance), or a folder with one file per channel.
        #[serde(skip_serializing_if = "Option::is_none")]
        init: Option<String> = None,
        /// How often the training rows are gone through. 0 scores with the initial weights.
        #[schemars(range(max = 1_000_000))]
        epochs: u32 = 100,
        #[schemars(range(min = 1, max = 1_000_000))]
        batch_size: u32 = 64,
        /// Draw a new order of rows each epoch.
        shuffle: bool = true,
        order: Order = Order::Ls,
        last_batch: LastBatch = LastBatch::Keep,
        validate_on: ValidateOn = ValidateOn::Valid,
        kernels: Kernels = Kernels::Auto,
        /// Models to train per channel, alike but for the seed: a score is the mean of theirs,
        /// their spread tells how far it is chance.
        #[schemars(range(min = 1, max = 1_000))]
        ensemble: u32 = 1,
        /// Scale gradients down to this norm (over all weights together) where they exceed it.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(extend("exclusiveMinimum" = 0.0))]
        gradient_clip: Option<f64> = None,
        /// Stop for now after this time, with a checkpoint to go on from: "90s", "30m", "7h 30m".
        /// Default: never.
        #[serde(skip_serializing_if = "Option::is_none")]
        time_limit: Option<String> = None,
        checkpoint: Checkpoint = Checkpoint::default(),
        optimizer: Optimizer = Optimizer::default(),
        schedule: Schedule = Schedule::default(),
        stop: Stop = Stop::default(),
    }
}

impl Train {
    /// Batches of an epoch over so many rows.
    pub fn batches(&self, rows: usize) -> usize {
        match self.last_batch {
            LastBatch::Keep => rows.div_ceil(self.batch_size as usize),
            LastBatch::Drop => rows / self.batch_size as usize,
        }
    }

    /// Refuses rows that do not fill a batch where the last one is dropped.
    pub fn check_batches(&self, rows: usize) -> Result<()> {
        if self.batches(rows) > 0 {
            return Ok(());
        }
        Err(Error::input(format!(
            "{rows} training rows do not fill a batch of {}, and train.last_batch = \"drop\"",
            self.batch_size
        )))
    }
}

choice! {
    /// The order of the training rows before any shuffling.
    Order {
        /// By run and LS.
        Ls = "ls",
        /// As they stand in their files.
        File = "file",
    }
}

choice! {
    /// What happens to the rows that do not fill a batch.
    LastBatch {
        /// They make a smaller batch.
        Keep = "keep",
        /// They are left out this epoch.
        Drop = "drop",
    }
}

choice! {
    /// Which rows the validation loss is taken on.
    ValidateOn {
        /// The validation split.
        Valid = "valid",
        /// The training rows themselves (as the METSig notebook does): says nothing about new data.
        Train = "train",
    }
}

choice! {
    /// How a training step is computed.
    Kernels {
        /// The fastest that the device has for the network: on a GPU "reference" for GELU, PReLU,
        /// dropout, batch norm, noise or masking of inputs, model.variational, loss.sparsity,
        /// loss.contractive, and train.gradient_clip.
        Auto = "auto",
        /// Autodiff over the module, on any device.
        Reference = "reference",
        /// Forward, backward and update by hand, on the CPU or as kernels of a GPU. The same to
        /// rounding.
        Fused = "fused",
    }
}

section! {
    /// When the state of a training is kept, so that `lumisift train --resume` goes on from it. A
    /// signal to stop keeps it too.
    Checkpoint {
        /// Every so many seconds, at the end of an epoch.
        #[schemars(range(min = 0.0))]
        seconds: f64 = 30.0,
        /// Every so many epochs too.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 1))]
        epochs: Option<u32> = None,
        /// How many of the last ones stay, should the newest be damaged.
        #[schemars(range(min = 1, max = 1000))]
        keep: u32 = 2,
    }
}

section! {
    /// How gradients become steps. Keys that the chosen kind does not have are refused.
    Optimizer {
        kind: OptimizerKind = OptimizerKind::Adam,
        /// Default 1e-3; with adadelta 1.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(extend("exclusiveMinimum" = 0.0))]
        learning_rate: Option<f64> = None,
        /// adam, adamw: decay of the mean gradient. Default 0.9.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))]
        beta1: Option<f64> = None,
        /// adam, adamw: decay of the mean squared gradient. Default 0.999.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))]
        beta2: Option<f64> = None,
        /// adam, adamw, rmsprop, adadelta: the small number in the denominator. Default 1e-8 (with
        /// Keras' placement 1e-7, with adadelta 1e-6).
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(extend("exclusiveMinimum" = 0.0))]
        epsilon: Option<f64> = None,
        /// adam, adamw: where epsilon stands. Default "torch".
        #[serde(skip_serializing_if = "Option::is_none")]
        epsilon_placement: Option<EpsilonPlacement> = None,
        /// adamw: decoupled decay of weights and biases. Default 0.01.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 0.0))]
        weight_decay: Option<f64> = None,
        /// sgd: how much of the last step is kept. Default 0.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))]
        momentum: Option<f64> = None,
        /// rmsprop, adadelta: decay of the mean squared gradient (adadelta: and step). Default 0.9,
        /// with adadelta 0.95.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))]
        rho: Option<f64> = None,
    }
}

choice! {
    /// The rule by which gradients become steps.
    OptimizerKind {
        /// Adam.
        Adam = "adam",
        /// Adam with decoupled weight decay.
        AdamW = "adamw",
        /// Stochastic gradient descent with momentum.
        Sgd = "sgd",
        /// RMSprop.
        RmsProp = "rmsprop",
        /// Adadelta.
        Adadelta = "adadelta",
    }
}

choice! {
    /// Where Adam's epsilon stands.
    EpsilonPlacement {
        /// Inside: m̂ / (√v̂ + ε).
        Torch = "torch",
        /// Outside the bias correction: m √(1 − β₂ᵗ) / (1 − β₁ᵗ) / (√v + ε), with βᵗ in single
        /// precision.
        Keras = "keras",
    }
}

section! {
    /// How the learning rate changes from epoch to epoch. Keys that the chosen kind does not have
    /// are refused.
    Schedule {
        kind: ScheduleKind = ScheduleKind::Constant,
        /// Epochs over which the rate rises linearly to its full value.
        #[schemars(range(max = 1_000_000))]
        warmup: u32 = 0,
        /// step: every so many epochs the rate is multiplied by factor.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 1))]
        every: Option<u32> = None,
        /// step (default 0.1), exponential (each epoch, default 0.95), plateau (default 0.1).
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(max = 1.0), extend("exclusiveMinimum" = 0.0))]
        factor: Option<f64> = None,
        /// plateau: epochs without a better validation loss before the rate falls. Default 10.
        #[serde(skip_serializing_if = "Option::is_none")]
        patience: Option<u32> = None,
        /// cosine, plateau: the rate never falls below this. Default 0.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 0.0))]
        min_rate: Option<f64> = None,
    }
}

choice! {
    /// The course of the learning rate.
    ScheduleKind {
        /// The same all the time.
        Constant = "constant",
        /// Multiplied by factor every so many epochs.
        Step = "step",
        /// Multiplied by factor each epoch.
        Exponential = "exponential",
        /// Half a cosine from the full rate to min_rate over all epochs.
        Cosine = "cosine",
        /// Multiplied by factor when the validation loss no longer falls.
        Plateau = "plateau",
    }
}

section! {
    /// When to stop early. Watches the validation loss.
    Stop {
        /// Epochs without a better validation loss before training stops. Default: never.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 1))]
        patience: Option<u32> = None,
        /// How much smaller a loss must be to count as better.
        #[schemars(range(min = 0.0))]
        min_delta: f64 = 0.0,
        /// Stop when an epoch lowered the training loss by less than this part of the first epoch's
        /// loss. Default: never; with model.kind = "nmf" 1e-5.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 0.0))]
        tolerance: Option<f64> = None,
        /// Keep the weights of the epoch with the best validation loss instead of the last.
        /// Default: yes where patience is set.
        #[serde(skip_serializing_if = "Option::is_none")]
        restore_best: Option<bool> = None,
    }
}

section! {
    /// What the score of a lumisection is. Higher is worse.
    Score {
        kind: ScoreKind = ScoreKind::Mse,
        /// With model.variational: add so many times the Kullback-Leibler divergence of a row's
        /// latents from the standard normal distribution (summed over latents) to its score, which
        /// is then the negative evidence lower bound, estimated with the means for latents. 0 is
        /// the reconstruction alone.
        #[schemars(range(min = 0.0))]
        kl: f64 = 0.0,
        combine: Combine = Combine::Standardised,
        #[serde(skip_serializing_if = "Option::is_none")]
        one_class_svm: Option<OneClassSvm> = None,
        /// For so many of the worst flagged rows of each channel: which features made them so, in
        /// report.json.
        #[schemars(range(max = 1000))]
        explain: u32 = 10,
    }
}

choice! {
    /// How the scores of several channels make one, channel "combined". Each score is first taken
    /// as ln(score / mean-field error), the mean-field error being that of always answering with
    /// the mean of the training rows.
    Combine {
        /// The largest, each channel's less its mean and over its standard deviation in the
        /// calibration rows.
        Standardised = "standardised",
        /// The largest.
        Max = "max",
        /// The mean.
        Mean = "mean",
        /// The sum.
        Sum = "sum",
    }
}

section! {
    /// A one-class SVM on the latents of each channel's training rows: how far inside the usual
    /// codes a row's code lies.
    OneClassSvm {
        /// At most this share of the training rows' weight lies outside.
        #[schemars(extend("exclusiveMinimum" = 0.0), range(max = 1.0))]
        nu: f64 = 0.1,
        /// Of the kernel exp(−gamma · distance²). Default: 2 / number of the channel's inputs.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(extend("exclusiveMinimum" = 0.0))]
        gamma: Option<f64> = None,
        /// How exactly it is solved: the largest violation of optimality that remains.
        #[schemars(extend("exclusiveMinimum" = 0.0))]
        tolerance: f64 = 1e-3,
    }
}

choice! {
    /// The reconstruction error of one row: a mean over its bins, or a sum.
    ScoreKind {
        /// Mean squared error.
        Mse = "mse",
        /// Sum of squared errors.
        Sse = "sse",
        /// Mean absolute error.
        Mae = "mae",
    }
}

section! {
    /// What makes a pattern of badly reconstructed bins. The score of a channel is then the number
    /// of its bins in patterns, and that of all together the number of bins at which several of
    /// them coincide; the threshold is 0 unless its section says otherwise.
    Patterns {
        /// A bin is bad where its squared error is above this.
        #[schemars(range(min = 0.0))]
        bin_error: f64 = 0.04,
        /// A bad bin counts where it lies in a window of one of these sizes, anywhere in the map,
        /// that is full of bins that are bad on the same side. Without any every bad bin counts.
        windows: Vec<Window> = vec![Window { x: 16, y: 2 }, Window { x: 20, y: 1 }, Window { x: 8, y: 2 }],
        /// The share of a window's bins that makes it full.
        #[schemars(extend("exclusiveMinimum" = 0.0), range(max = 1.0))]
        fill: f64 = 1.0,
        sides: Sides = Sides::Both,
        /// Bins that are 0 in so large a share of the training rows are never bad.
        #[schemars(extend("exclusiveMinimum" = 0.0), range(max = 1.0))]
        static_mask: f64 = 0.9,
        /// Nor are bins that were 0 in each of so many rows of the run before. 0 for no such mask.
        #[schemars(range(max = 1_000_000))]
        dynamic_mask: u32 = 0,
        /// In how many channels a bin must be bad, at the same place and on the same side, to flag
        /// a lumisection. Default: 2, or 1 where there is one channel.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 1))]
        layers: Option<u32> = None,
        /// A region that is gone for no more LSs than this is the same when it is back.
        gap: u32 = 2,
        /// Tables of what was masked when: run, ls (or time), layer, then x_first, x_last, y_first
        /// and y_last in bins as filed, or chip. A region that is masked there is known, and does
        /// not flag.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        automasks: Vec<String> = vec![],
        /// Where chips are: chip, layer, x_first, x_last, y_first, y_last.
        #[serde(skip_serializing_if = "Option::is_none")]
        chips: Option<String> = None,
    }
}

section! {
    /// What `lumisift sensitivity` tries: defects of each size and strength, injected into good
    /// rows that are held out. Other verbs pass over it.
    Sensitivity {
        /// Sizes of the defects, in bins of the map as it is scored; of histograms in one dimension
        /// x only. Default: of 2 × 2, 4 × 2, 8 × 3, 16 × 2 and 16 × 6 bins, or of 1, 2, 5 and 10 in
        /// one dimension, those that fit.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        sizes: Vec<Window> = vec![],
        /// What the contents of the bins are multiplied by: 0 is a dead region, 5 a hot one.
        strengths: Vec<f64> = vec![0.0, 0.25, 0.5, 0.75, 1.5, 2.0, 5.0],
        /// How many rows each size and strength is tried on; fewer where fewer are held out.
        #[schemars(range(min = 1, max = 1_000_000))]
        rows: u32 = 200,
        /// In how many channels, at the same place, a defect is. Default: patterns.layers, or 1
        /// without that section.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 1))]
        channels: Option<u32> = None,
        /// Draw the contents anew from a Poisson distribution around what they are multiplied to,
        /// as counts are. With false they are multiplied.
        poisson: bool = true,
    }
}

impl Sensitivity {
    fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

section! {
    /// A size in bins of the map as it is scored.
    Window {
        #[schemars(range(min = 1, max = 65536))]
        x: u32 = 1,
        #[schemars(range(min = 1, max = 65536))]
        y: u32 = 1,
    }
}

choice! {
    /// On which side a bin must be off to be bad.
    Sides {
        /// Both, each for itself.
        Both = "both",
        /// It holds less than its reconstruction.
        Dead = "dead",
        /// It holds more.
        Hot = "hot",
    }
}

section! {
    /// Where a score becomes a flag: strictly above the threshold.
    Threshold {
        kind: ThresholdKind = ThresholdKind::Percentile,
        /// percentile: of the calibration scores, linearly interpolated. Default 99.5.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 0.0, max = 100.0))]
        percentile: Option<f64> = None,
        /// percentile: take it of the moving average over so many LSs of a run. Default 1, the
        /// scores themselves.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 1))]
        smooth: Option<u32> = None,
        /// fixed: the threshold.
        #[serde(skip_serializing_if = "Option::is_none")]
        value: Option<f64> = None,
        /// mean-std: how many standard deviations above the mean. Default 3.
        #[serde(skip_serializing_if = "Option::is_none")]
        k: Option<f64> = None,
        /// mean-std: divide by n − ddof. Default 1.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(max = 1))]
        ddof: Option<u32> = None,
        on: CalibrateOn = CalibrateOn::Valid,
        /// percentile, mean-std: take it of ln(score), and e to the power of that.
        log: bool = false,
        /// percentile: further thresholds to report beside the first.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        also: Vec<Percentile> = vec![],
    }
}

choice! {
    /// How the threshold is found.
    ThresholdKind {
        /// A percentile of the calibration scores.
        Percentile = "percentile",
        /// A number given in the config.
        Fixed = "fixed",
        /// Mean plus k standard deviations of the calibration scores.
        MeanStd = "mean-std",
    }
}

choice! {
    /// Which scores the threshold is calibrated on.
    CalibrateOn {
        /// Held-out good rows: the validation split.
        Valid = "valid",
        /// The training rows.
        Train = "train",
        /// Each scored run by itself, its rows of each split apart (as the notebooks on METSig and
        /// on events do): it then always flags something.
        Scored = "scored",
    }
}

section! {
    /// A percentile of the scores, or of their moving average.
    Percentile {
        #[schemars(range(min = 0.0, max = 100.0))]
        percentile: f64 = 99.5,
        /// Moving average over so many LSs.
        #[schemars(range(min = 1))]
        smooth: u32 = 1,
    }
}

section! {
    /// How scores become verdicts: good up to the grey cut, bad above the bad cut, grey between
    /// them. Read by `lumisift certify`, where every one of these keys may still be set.
    Certify {
        /// Above this cut a lumisection is at least grey. Default: { false_alarm_rate = 0.05 }, or
        /// the smallest rate above it that the calibration rows can tell.
        #[serde(skip_serializing_if = "Option::is_none")]
        grey: Option<CutRule> = None,
        /// Above this cut it is bad. Default: { false_alarm_rate = 0.01 }, or the smallest rate
        /// above it that the calibration rows can tell.
        #[serde(skip_serializing_if = "Option::is_none")]
        bad: Option<CutRule> = None,
        on: CertifyOn = CertifyOn::Valid,
        /// So many neighbouring LSs of a run count as one where rows are counted, since they are
        /// not independent; a shorter run counts as one. Default: as many as the calibration scores
        /// are correlated over.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 1))]
        block: Option<u32> = None,
        /// Quantities of OMS, HLT or brilcalc files, or "weight", in which a lumisection must lie
        /// within the range of the training rows: ["pileup"]. Outside, and where it is unknown, it
        /// is not evaluated.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        within: Vec<String> = vec![],
        /// What a run's score in the file of --runs says of it: good up to the first number, bad
        /// above the second, grey between them: [0.2, 0.8]. A higher score is worse.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        run_scores: Vec<f64> = vec![],
    }
}

impl Certify {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

section! {
    /// Where a cut lies. One of these keys.
    CutRule {
        /// At most this share of good lumisections lies above it.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(extend("exclusiveMinimum" = 0.0, "exclusiveMaximum" = 1.0))]
        false_alarm_rate: Option<f64> = None,
        /// Of all lumisections above it at most this share is expected to be good (Benjamini and
        /// Hochberg's procedure on the p-values of all that are judged).
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(extend("exclusiveMinimum" = 0.0, "exclusiveMaximum" = 1.0))]
        false_discovery_rate: Option<f64> = None,
        /// The highest cut above which at least this share of the rows labelled bad lies.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(extend("exclusiveMinimum" = 0.0, "exclusiveMaximum" = 1.0))]
        efficiency: Option<f64> = None,
        /// The lowest cut above which at least this share of the labelled rows is bad.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(extend("exclusiveMinimum" = 0.0), range(max = 1.0))]
        purity: Option<f64> = None,
        /// The cut at which a figure of the labelled rows is largest.
        #[serde(skip_serializing_if = "Option::is_none")]
        best: Option<Best> = None,
        /// This score.
        #[serde(skip_serializing_if = "Option::is_none")]
        score: Option<f64> = None,
    }
}

choice! {
    /// A figure of a cut.
    Best {
        /// The harmonic mean of purity and efficiency.
        F1 = "f1",
        /// Youden's index: efficiency less false-alarm rate.
        Youden = "youden",
    }
}

choice! {
    /// The rows that cuts are calibrated on. None of them was trained on.
    CertifyOn {
        /// Good rows of the validation split; the bad ones, where a cut needs them, are those that
        /// are labelled bad in the runs for training and validation, which are set aside.
        Valid = "valid",
        /// Rows of the test split that are labelled good or bad.
        Test = "test",
    }
}

section! {
    /// What the figures are taken on.
    Report {
        on: ReportOn = ReportOn::Test,
        /// ROC areas by weighted rows.
        weighted: bool = false,
        /// Shares of the good rows above a threshold, at each of which the share of the bad above
        /// it is told.
        #[schemars(inner(range(min = 0.0, max = 1.0)))]
        background_rates: Vec<f64> = vec![0.001, 0.01, 0.05, 0.1],
        /// Quantities to draw beside the scores, as conditions name them: ["pileup"]. Weights and
        /// recorded luminosities are drawn wherever they are known.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        beside: Vec<String> = vec![],
        /// Write event files for TensorBoard while training.
        tensorboard: bool = true,
        /// How latents are laid out in two dimensions.
        projections: Vec<Projection> = vec![Projection::Pca],
    }
}

choice! {
    /// Latents in two dimensions.
    Projection {
        /// The first two principal components of the training rows' latents.
        Pca = "pca",
        /// t-SNE: neighbours stay neighbours, other distances mean nothing. It takes longer, up to
        /// a minute or so a channel.
        TSne = "t-sne",
    }
}

choice! {
    /// Which rows the figures that judge the result are taken on.
    ReportOn {
        /// The test split.
        Test = "test",
        /// All rows that are evaluated, those trained on included (as the 2010B notebook does):
        /// that flatters.
        All = "all",
    }
}

section! {
    /// How `--engine slurm` and `--engine htcondor` send trainings to a batch system.
    Batch {
        /// Shell lines to run before the program: modules, environments, CVMFS.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        setup: Vec<String> = vec![],
        /// A container image to run the program in: a file, a folder on CVMFS, or "docker://…".
        /// Slurm starts it with `apptainer exec`, HTCondor by itself.
        #[serde(skip_serializing_if = "Option::is_none")]
        image: Option<String> = None,
        /// The program on the machines of the batch system: a path, or a name that is found there.
        /// Default: the path of the one that submits.
        #[serde(skip_serializing_if = "Option::is_none")]
        program: Option<String> = None,
        /// Processor cores of a task, and its threads.
        #[schemars(range(min = 1, max = 4096))]
        cpus: u32 = 4,
        /// Memory of a task: "8 GB", "500 MB".
        memory: String = "4 GB".into(),
        /// GPUs of a task. Default: as many CUDA devices as `device` names; must be set where that
        /// is "auto" or "wgpu".
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(max = 64))]
        gpus: Option<u32> = None,
        /// How long a task may run before it is stopped and put back into the queue: "45m", "8h".
        /// Default: what the batch system has set.
        #[serde(skip_serializing_if = "Option::is_none")]
        time: Option<String> = None,
        /// How long before the end of its time a task is warned, so that it keeps where it stands.
        lead: String = "2m".into(),
        /// At most so many tasks run at once. Default: as many as the batch system lets.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 1))]
        at_once: Option<u32> = None,
        /// A task that failed (not by a mistake in its config or data) goes back into the queue
        /// unless it was started more often than this before. Pauses are no failures.
        #[schemars(range(max = 1000))]
        retries: u32 = 0,
        slurm: Slurm = Slurm::default(),
        htcondor: HtCondor = HtCondor::default(),
    }
}

impl Batch {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

section! {
    /// What only Slurm knows.
    Slurm {
        #[serde(skip_serializing_if = "Option::is_none")]
        partition: Option<String> = None,
        #[serde(skip_serializing_if = "Option::is_none")]
        account: Option<String> = None,
        /// Quality of service.
        #[serde(skip_serializing_if = "Option::is_none")]
        qos: Option<String> = None,
        /// Features that the node must have.
        #[serde(skip_serializing_if = "Option::is_none")]
        constraint: Option<String> = None,
        /// Further options of sbatch: ["--exclusive", "--gres=gpu:h200:1"].
        #[serde(skip_serializing_if = "Vec::is_empty")]
        extra: Vec<String> = vec![],
    }
}

section! {
    /// What only HTCondor knows.
    HtCondor {
        /// CERN's classes of running time. Takes the place of batch.time.
        #[serde(skip_serializing_if = "Option::is_none")]
        flavour: Option<Flavour> = None,
        /// Send the folder and what is in `inputs` to the machine and results back, where there is
        /// no shared file system.
        transfer: bool = false,
        /// Data files to send along, by path or glob; they are found by the config's own paths.
        /// Data that a task can read where they are (EOS, AFS, CVMFS) need not be sent.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        inputs: Vec<String> = vec![],
        /// Further lines of the submit description: ["+AccountingGroup =
        /// \"group_u_CMS.u_zh.users\""].
        #[serde(skip_serializing_if = "Vec::is_empty")]
        extra: Vec<String> = vec![],
    }
}

choice! {
    /// How long a job may run at CERN.
    Flavour {
        /// 20 minutes.
        Espresso = "espresso",
        /// 1 hour.
        Microcentury = "microcentury",
        /// 2 hours.
        Longlunch = "longlunch",
        /// 8 hours.
        Workday = "workday",
        /// 1 day.
        Tomorrow = "tomorrow",
        /// 3 days.
        Testmatch = "testmatch",
        /// 1 week.
        Nextweek = "nextweek",
    }
}
