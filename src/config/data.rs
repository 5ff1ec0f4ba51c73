//! `[data]`: the files and how to read them.

use super::{
    check::Checker,
    expression::Expression,
    keys::{Key, OneOrMany, choice, section},
};
use std::path::PathBuf;

section! {
    /// Which files, and how to read them.
    Data {
        /// Files to train on: paths or globs, relative to this file.
        train: Key<Vec<String>, Vec<PathBuf>> = Key::default(),
        /// Files that are only scored: paths or globs, relative to this file.
        test: Key<Vec<String>, Vec<PathBuf>> = Key::default(),
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
        #[serde(skip_serializing_if = "Key::is_unset")]
        add_inputs: Key<Vec<String>, Vec<Expression>> = Key::default(),
        /// OMS files: JSON objects of equally long arrays with run_number and lumisection_number.
        /// Joined by (run, LS).
        #[serde(skip_serializing_if = "Key::is_unset")]
        oms: Key<Vec<String>, Vec<PathBuf>> = Key::default(),
        /// Rates of trigger paths: JSON of run, path, rate and first_lumisection_number.
        /// HLT_ZeroBias_v* is any version.
        #[serde(skip_serializing_if = "Key::is_unset")]
        hlt: Key<Vec<String>, Vec<PathBuf>> = Key::default(),
        /// Luminosities that brilcalc wrote as CSV (--byls): the quantities delivered, recorded and
        /// avgpu.
        #[serde(skip_serializing_if = "Key::is_unset")]
        brilcalc: Key<Vec<String>, Vec<PathBuf>> = Key::default(),
        /// DIALS pages of lumisections, for histogram pages that name lumisections by their number
        /// in DIALS.
        #[serde(skip_serializing_if = "Key::is_unset")]
        lumisections: Key<Vec<String>, Vec<PathBuf>> = Key::default(),
        bad_rows: BadRows = BadRows::Error,
        /// Numbers that stand for a missing value: [-999]. Cells that hold one of them are missing,
        /// and so are NaN, null and blank cells. data.fill says how missing cells are treated.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        missing: Vec<f64> = vec![],
        #[serde(skip_serializing_if = "Fill::is_reject")]
        fill: Fill = Fill::Reject,
        /// The share of a row's inputs that must be present: a row with fewer is not evaluated.
        /// Default: 0.5 with a data.fill. A row without any input is never evaluated.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 0.0, max = 1.0))]
        min_present: Option<f64> = None => ["zero", "median", "mask"],
        /// Only a part of the runs, such as "2 of 8": the parts have about equally many rows, no
        /// run in common, and make all together.
        #[serde(skip_serializing_if = "Key::is_unset")]
        part: Key<Option<String>, Option<Part>> = Key::default(),
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
    /// Whether rows with missing cells are rejected.
    pub fn is_reject(&self) -> bool {
        *self == Self::Reject
    }
}

section! {
    /// Header names of the columns, where they are not the usual ones. Usual names are recognised
    /// whatever their case and blanks. Where two columns have usual names of one thing and differ,
    /// the key says which is meant.
    Columns {
        /// Run number. Usual names: fromrun, run_number, run, _run.
        #[serde(skip_serializing_if = "Option::is_none")]
        run: Option<String> = None,
        /// Lumisection number. Usual names: fromlumi, ls_number, lumisection_number, lumi, ls,
        /// luminosityBlock.
        #[serde(skip_serializing_if = "Option::is_none")]
        ls: Option<String> = None,
        /// The list of bin contents, or the array of an HDF5 or NPZ file. Usual names: histo, data.
        #[serde(skip_serializing_if = "Option::is_none")]
        histogram: Option<String> = None,
        /// Number of bins without underflow and overflow. Usual name: Xbins.
        #[serde(skip_serializing_if = "Option::is_none")]
        bins: Option<String> = None,
        /// Name of the monitoring element. Usual names: hname, me, title.
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

/// One of several parts, written "2 of 8".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The number of the part, from 1.
    pub number: u32,
    /// The number of parts.
    pub of: u32,
}

impl Part {
    /// Parses "2 of 8".
    pub fn parse(text: &str) -> Result<Self, String> {
        let numbers = text
            .split_once(" of ")
            .and_then(|(number, of)| Some((number.trim().parse().ok()?, of.trim().parse().ok()?)));
        match numbers {
            Some((number, of)) if (1..=of).contains(&number) => Ok(Self { number, of }),
            _ => Err(format!(
                "found \"{text}\"; expected a part such as \"2 of 8\", from \"1 of 8\" to \"8 of 8\""
            )),
        }
    }
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {}", self.number, self.of)
    }
}

impl Data {
    pub(super) fn check(&mut self, checker: &mut Checker) {
        checker.paths("data.train", &mut self.train);
        checker.paths("data.test", &mut self.test);
        if self.train.is_empty() {
            checker.fault(
                "data.train",
                "no files; expected a list of paths or globs, such as [\"good.csv\"]",
            );
        }
        checker.paths("data.oms", &mut self.oms);
        checker.paths("data.hlt", &mut self.hlt);
        checker.paths("data.brilcalc", &mut self.brilcalc);
        checker.paths("data.lumisections", &mut self.lumisections);
        self.check_bins(checker);
        self.part.meaning = self.part.written.as_deref().and_then(|text| {
            Part::parse(text).map_err(|message| checker.fault("data.part", message)).ok()
        });
        checker.expressions("data.add_inputs", &mut self.add_inputs);
        self.check_layers(checker);
        self.check_missing(checker);
    }

    fn check_bins(&self, checker: &mut Checker) {
        if let Some(rebin) = self.rebin.as_ref().filter(|_| self.rebinning().is_none()) {
            checker.fault(
                "data.rebin",
                format!(
                    "found {:?}; expected a number of bins, or two of them for x and y",
                    rebin.to_vec()
                ),
            );
        }
        if !matches!(self.cut_cross.len(), 0 | 2) {
            checker.fault(
                "data.cut_cross",
                format!(
                    "found {:?}; expected two numbers, of columns and of rows: [8, 2]",
                    self.cut_cross
                ),
            );
        }
    }

    fn rebinning(&self) -> Option<(usize, Option<usize>)> {
        match self.rebin.as_ref()?.to_vec()[..] {
            [x] if x > 0 => Some((x as usize, None)),
            [x, y] if x > 0 && y > 0 => Some((x as usize, Some(y as usize))),
            _ => None,
        }
    }

    /// The number of neighbouring bins added up in x, and in y if it differs.
    pub fn bins_together(&self) -> (usize, Option<usize>) {
        self.rebinning().unwrap_or((1, None))
    }

    /// The number of columns and rows cut out of the middle of a map.
    pub fn cross(&self) -> (usize, usize) {
        match self.cut_cross[..] {
            [x, y] => (x as usize, y as usize),
            _ => (0, 0),
        }
    }

    /// Patterns of the monitoring elements that are layers; empty for a single element.
    pub fn layer_patterns(&self) -> Vec<glob::Pattern> {
        self.layers.iter().filter_map(|text| layer_pattern(text).ok()).collect()
    }

    fn check_layers(&self, checker: &mut Checker) {
        if self.layers.is_empty() {
            return;
        }
        let beside = [
            ("data.me", self.me.is_some(), "data.layers chooses the monitoring elements"),
            (
                "data.summary",
                self.summary,
                "the seven numbers are of a single histogram, not of layers (data.layers)",
            ),
            (
                "data.keep_duplicates",
                self.keep_duplicates,
                "layers (data.layers) are joined by lumisection and need one row each",
            ),
        ];
        for (key, _, message) in beside.into_iter().filter(|(_, is_set, _)| *is_set) {
            checker.fault(key, message);
        }
        for (i, text) in self.layers.iter().enumerate() {
            if let Err(error) = layer_pattern(text) {
                checker.fault(&format!("data.layers[{i}]"), format!("\"{text}\": {error}"));
            }
        }
    }

    fn check_missing(&mut self, checker: &mut Checker) {
        let is_finite = |number: &f64| number.is_finite() && (*number as f32).is_finite();
        if let Some(number) = self.missing.iter().find(|number| !is_finite(number)) {
            checker.fault(
                "data.missing",
                format!(
                    "found {number}; expected finite numbers such as -999 (NaN is missing anyway)"
                ),
            );
        }
        if !self.fill.is_reject() {
            self.min_present.get_or_insert(0.5);
            if self.summary {
                checker.fault("data.fill", "seven numbers of a histogram (data.summary) need all its bins; expected \"reject\"");
            }
        }
    }
}

/// Parses a pattern in which only * and ? are wildcards.
fn layer_pattern(text: &str) -> Result<glob::Pattern, glob::PatternError> {
    glob::Pattern::new(&text.replace('[', "[[]"))
}
