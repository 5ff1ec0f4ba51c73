//! Known names of columns of runs, lumisections and histograms.

pub const RUN: &[&str] = &["fromrun", "run_number", "run"];
pub const LS: &[&str] =
    &["fromlumi", "ls_number", "lumisection_number", "lumi", "ls", "luminosityblock"];
pub const HISTOGRAM: &[&str] = &["histo", "data"];
pub const X_BINS: &[&str] = &["xbins", "x_bin"];
pub const Y_BINS: &[&str] = &["ybins", "y_bin"];
pub const ME: &[&str] = &["hname", "me", "title"];
pub const EDGES: [&[&str]; 4] =
    [&["xmin", "x_min"], &["xmax", "x_max"], &["ymin", "y_min"], &["ymax", "y_max"]];

/// Names of an index that pandas wrote, which is not a feature.
pub const INDEX: &[&str] = &["", "unnamed: 0", "index", "level_0", "index_level_0__"];

/// Lower case, without surrounding blanks, leading underscores (`_run`) and the groups of an array.
pub fn plain(name: &str) -> String {
    name.rsplit('/').next().unwrap_or(name).trim().trim_start_matches('_').to_lowercase()
}

/// Whether a name is one of the known ones; blanks and `-` count as `_`, and those between words
/// are ignored.
pub fn is_usual(name: &str, usual: &[&str]) -> bool {
    let joined = |name: &str| name.replace([' ', '_', '-'], "");
    let name = joined(&plain(name));
    usual.iter().any(|usual| joined(usual) == name)
}

/// Whether a name is a known one of histograms.
pub fn is_histogram(name: &str) -> bool {
    is_usual(name, HISTOGRAM)
}

/// Whether a name is a known one of run numbers.
pub fn is_run(name: &str) -> bool {
    is_usual(name, RUN)
}

/// Whether a name is a known one of lumisection numbers.
pub fn is_ls(name: &str) -> bool {
    is_usual(name, LS)
}
