//! Which column of a file is what: the same for CSV, Parquet, Arrow, and arrays.

use super::names::{self, Alike, Pair, Twin};
use crate::{
    data::{
        channels::{self, Hierarchy},
        table::Wanted,
    },
    error::{Error, Result, listed, suggestion},
};
use serde::Serialize;
use std::path::Path;

/// A column of a file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Field {
    /// Its name in the header.
    pub name: String,
    /// What it holds.
    pub kind: Kind,
    /// Its type in the words of its format.
    #[serde(rename = "type")]
    pub type_name: String,
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Numbers.
    Number,
    /// True or false.
    Flag,
    /// Text.
    Text,
    /// A list of numbers, or a list of such lists.
    List,
    /// Nothing in any row.
    Blank,
    /// Anything else; not read.
    Other,
}

/// Which column is what, by position.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    /// Run number.
    pub run: Option<usize>,
    /// Lumisection number; without one, rows are events.
    pub ls: Option<usize>,
    /// Name of the monitoring element.
    pub me: Option<usize>,
    /// What becomes the inputs.
    pub contents: Contents,
    /// Where features belong by their names, where rules for that were given.
    pub hierarchy: Option<Hierarchy>,
    /// Number of bins in x, without underflow and overflow.
    pub x_bins: Option<usize>,
    /// Number of bins in y.
    pub y_bins: Option<usize>,
    /// Edges of the axes: x from, x to, y from, y to.
    pub edges: [Option<usize>; 4],
    /// Further columns to bring, by name.
    pub extra: Vec<(String, usize)>,
    /// Columns that must hold the same.
    pub twins: Vec<Twin>,
    /// What is worth knowing about the columns.
    pub notes: Vec<String>,
}

/// What becomes the inputs.
#[derive(Clone, Debug, PartialEq)]
pub enum Contents {
    /// One column of lists: a histogram.
    List(usize),
    /// A column per bin, `bin_0` first: a histogram.
    Bins(Vec<usize>),
    /// A column per feature.
    Features(Vec<usize>),
}

const RUN: &[&str] = &["fromrun", "run_number", "run"];
const LS: &[&str] =
    &["fromlumi", "ls_number", "lumisection_number", "lumi", "ls", "luminosityblock"];
const HISTOGRAM: &[&str] = &["histo", "data"];
const X_BINS: &[&str] = &["xbins", "x_bin"];
const Y_BINS: &[&str] = &["ybins", "y_bin"];
const ME: &[&str] = &["hname", "me", "title"];
const EDGES: [&[&str]; 4] =
    [&["xmin", "x_min"], &["xmax", "x_max"], &["ymin", "y_min"], &["ymax", "y_max"]];
/// An index that pandas wrote is no feature.
const INDEX: &[&str] = &["", "unnamed: 0", "index", "level_0", "index_level_0__"];

/// Lower case, without surrounding blanks, leading underscores (`_run`) and the groups that an
/// array lies in.
fn plain(name: &str) -> String {
    name.rsplit('/').next().unwrap_or(name).trim().trim_start_matches('_').to_lowercase()
}

/// Whether a name is one of some usual ones; blanks and `-` count as `_`, and those between words
/// count nothing.
fn is_usual(name: &str, usual: &[&str]) -> bool {
    let joined = |name: &str| name.replace([' ', '_', '-'], "");
    let name = joined(&plain(name));
    usual.iter().any(|usual| joined(usual) == name)
}

/// Whether a name is one that histograms usually have.
pub fn is_histogram(name: &str) -> bool {
    is_usual(name, HISTOGRAM)
}

/// Whether a column of this name says the run.
pub fn is_run(name: &str) -> bool {
    is_usual(name, RUN)
}

/// Whether a column of this name says the lumisection.
pub fn is_ls(name: &str) -> bool {
    is_usual(name, LS)
}

impl Layout {
    /// Finds the columns by their usual names or by those in the config.
    pub fn find(path: &Path, fields: &[Field], wanted: &Wanted) -> Result<Self> {
        let names = &wanted.columns;
        let usual = |usual: &[&str]| fields.iter().position(|field| is_usual(&field.name, usual));
        let column = |name: &Option<String>, words: &[&str]| match name {
            Some(name) => named(path, fields, name).map(Some),
            None => Ok(usual(words)),
        };
        let (run, ls, me) =
            (column(&names.run, RUN)?, column(&names.ls, LS)?, column(&names.me, ME)?);
        let (x_bins, y_bins, edges) =
            (column(&names.bins, X_BINS)?, usual(Y_BINS), EDGES.map(usual));
        let mut extra = vec![];
        for name in &wanted.required {
            extra.push((name.clone(), named(path, fields, name)?));
        }
        for name in &wanted.welcome {
            extra.extend(named(path, fields, name).ok().map(|at| (name.clone(), at)));
        }

        let is_list = |at: usize| matches!(fields[at].kind, Kind::List | Kind::Text | Kind::Blank);
        let lists: Vec<usize> =
            (0..fields.len()).filter(|&at| fields[at].kind == Kind::List).collect();
        let list = match &names.histogram {
            Some(name) => {
                let at = named(path, fields, name)?;
                if !is_list(at) {
                    let kind = &fields[at].type_name;
                    return Err(Error::input(format!(
                        "{}: column \"{name}\" holds {kind}, not lists of bins",
                        path.display()
                    )));
                }
                Some(at)
            }
            None => {
                usual(HISTOGRAM).filter(|&at| is_list(at)).or((lists.len() == 1).then(|| lists[0]))
            }
        };
        let list = list.filter(|_| names.features.is_empty());
        let used = [run, ls, me, x_bins, y_bins]
            .into_iter()
            .chain(edges)
            .flatten()
            .chain(extra.iter().map(|(_, at)| *at))
            .collect();
        let mut same = Same {
            fields,
            wanted,
            ignore: patterns(&names.ignore)?,
            used,
            list: list.is_some(),
            twins: vec![],
            beside: vec![],
            notes: vec![],
        };
        same.keys([
            ("run", run, &names.run, RUN),
            ("ls", ls, &names.ls, LS),
            ("me", me, &names.me, ME),
            ("bins", x_bins, &names.bins, X_BINS),
        ]);
        if let Some(at) = list {
            same.used.push(at);
            same.keys([("histogram", list, &names.histogram, HISTOGRAM)]);
        }
        for (taken, usual) in
            [y_bins].into_iter().chain(edges).zip([Y_BINS].into_iter().chain(EDGES))
        {
            same.beside.extend((0..fields.len()).filter(|at| {
                taken.is_some_and(|taken| taken != *at) && is_usual(&fields[*at].name, usual)
            }));
        }
        same.names();
        let contents = match list {
            Some(at) => Contents::List(at),
            None => columns(path, fields, wanted, &same)?,
        };
        let (contents, hierarchy) = match contents {
            Contents::Features(features) if !wanted.channels.is_empty() => {
                let names: Vec<String> =
                    features.iter().map(|&at| fields[at].name.clone()).collect();
                let hierarchy = channels::read(&wanted.channels, &names).map_err(|error| {
                    error.map(|message| format!("{}: {message}", path.display()))
                })?;
                // What no channel uses is not even read.
                let used = channels::inputs(&hierarchy.channels)
                    .iter()
                    .map(|name| named(path, fields, name))
                    .collect::<Result<_>>()?;
                (Contents::Features(used), Some(hierarchy))
            }
            contents => (contents, None),
        };
        let Same { used, mut twins, mut notes, beside, ignore, .. } = same;
        let mut layout = Self {
            run,
            ls,
            me,
            contents,
            hierarchy,
            x_bins,
            y_bins,
            edges,
            extra,
            twins: vec![],
            notes: vec![],
        };
        // Columns that nothing is made of may be called what they like.
        let by_name = wanted.features.is_none() && names.features.is_empty();
        let is_feature = matches!(layout.contents, Contents::Features(_));
        twins.retain(|twin| {
            used.contains(&twin.taken)
                || layout.contents().contains(&twin.taken)
                || is_feature && by_name && fields[twin.left].kind == Kind::Number
        });
        if is_feature && by_name {
            notes.extend(left_out(fields, wanted, &ignore, &used, &twins, &beside));
        }
        (layout.twins, layout.notes) = (twins, notes);
        if is_feature {
            // Features are no bins, whatever stands beside them.
            (layout.x_bins, layout.y_bins) = (None, None);
        }
        Ok(layout)
    }

    /// Refuses histograms without lumisection numbers; features without them are events.
    pub fn require_ls(&self, path: &Path, fields: &[Field]) -> Result<()> {
        match (self.ls, &self.contents) {
            (None, Contents::List(_) | Contents::Bins(_)) => {
                Err(missing(path, fields, "lumisection numbers", "ls", LS))
            }
            _ => Ok(()),
        }
    }

    /// The names of the further columns.
    pub fn extra_names(&self) -> Vec<String> {
        self.extra.iter().map(|(name, _)| name.clone()).collect()
    }

    /// The positions of the columns that become inputs.
    pub fn contents(&self) -> &[usize] {
        match &self.contents {
            Contents::List(at) => std::slice::from_ref(at),
            Contents::Bins(columns) | Contents::Features(columns) => columns,
        }
    }

    /// The positions of all columns that are read, with or without those of the values, ascending.
    pub fn columns(&self, values: bool) -> Vec<usize> {
        let (contents, twins) =
            if values { (self.contents(), self.twins.as_slice()) } else { (&[][..], &[][..]) };
        let named = [self.run, self.ls, self.me, self.x_bins, self.y_bins]
            .into_iter()
            .chain(self.edges)
            .flatten();
        let mut columns: Vec<usize> = named
            .chain(contents.iter().copied())
            .chain(self.extra.iter().map(|(_, at)| *at))
            .collect();
        columns.extend(twins.iter().flat_map(|twin| [twin.taken, twin.left]));
        columns.sort_unstable();
        columns.dedup();
        columns
    }
}

/// Looks for columns that are meant to be one.
struct Same<'a> {
    fields: &'a [Field],
    wanted: &'a Wanted,
    /// What the config names as no input.
    ignore: Vec<glob::Pattern>,
    /// Columns that are used for something else than inputs, and the column of histograms.
    used: Vec<usize>,
    /// Whether the inputs are a column of histograms.
    list: bool,
    twins: Vec<Twin>,
    /// Columns with a usual name of what the config says another column is.
    beside: Vec<usize>,
    notes: Vec<String>,
}

/// A key of `data.columns`: its name, the column found for it, the name in the config, the usual
/// names.
type Key<'a> = (&'static str, Option<usize>, &'a Option<String>, &'a [&'a str]);

impl Same<'_> {
    /// Whether the config names a column as one that is no input.
    fn ignored(&self, at: usize) -> bool {
        self.ignore.iter().any(|pattern| pattern.matches(&self.fields[at].name))
    }

    /// Several usual names of the same thing.
    fn keys<'k>(&mut self, keys: impl IntoIterator<Item = Key<'k>>) {
        for (key, taken, configured, usual) in keys {
            let Some(taken) = taken else { continue };
            for left in (0..self.fields.len())
                .filter(|at| is_usual(&self.fields[*at].name, usual) && !self.used.contains(at))
            {
                let same_name = self.fields[taken].name == self.fields[left].name;
                let is_kind =
                    key != "histogram" || matches!(self.fields[left].kind, Kind::List | Kind::Text);
                if same_name || configured.is_none() && is_kind && !self.ignored(left) {
                    let lenient = self.list && same_name && ["run", "ls", "me"].contains(&key);
                    let alike = if same_name { Alike::Name } else { Alike::Key(key) };
                    self.twins.push(Twin { taken, left, alike, lenient });
                } else if configured.is_some() && plain(&self.fields[left].name) != "lumi" {
                    // Luminosities are called "lumi" too; where the config says what numbers
                    // lumisections, it is one.
                    self.beside.push(left);
                }
            }
        }
    }

    /// Names that are there several times.
    fn names(&mut self) {
        let columns = &self.wanted.columns;
        let said = |name: &String| {
            columns.features.contains(name)
                || self.wanted.features.as_ref().is_some_and(|names| names.contains(name))
        };
        for Pair { first, second, alike } in names::pairs(self.fields) {
            let settled =
                |at| self.twins.iter().any(|twin| twin.left == at) || self.beside.contains(&at);
            if settled(first) || settled(second) {
                continue;
            }
            let is_used = [first, second].map(|at| self.used.contains(&at));
            let (taken, left) =
                if is_used == [false, true] { (second, first) } else { (first, second) };
            let both = match alike {
                Alike::Name => false,
                // The config says that they are two.
                _ if is_used == [true, true]
                    || said(&self.fields[first].name) && said(&self.fields[second].name) =>
                {
                    true
                }
                Alike::Case if is_used == [false, false] => {
                    let (a, b) =
                        (names::shown(self.fields, first), names::shown(self.fields, second));
                    if !self.list && !self.ignored(first) && !self.ignored(second) {
                        self.notes.push(format!(
                            "{a} and {b} differ in case or blanks only, and are taken for two; name one in data.columns.ignore if they are one"
                        ));
                    }
                    true
                }
                _ => self.ignored(left),
            };
            if !both {
                // ML4DQM headers repeat names with other contents.
                let lenient = self.list
                    && alike != Alike::Case
                    && [RUN, LS, ME].iter().any(|usual| is_usual(&self.fields[taken].name, usual));
                self.twins.push(Twin { taken, left, alike, lenient });
            }
        }
    }

    /// Whether a column may become an input.
    fn free(&self, at: usize) -> bool {
        !self.twins.iter().any(|twin| twin.left == at)
    }
}

/// The columns that are bins or features.
fn columns(path: &Path, fields: &[Field], wanted: &Wanted, same: &Same) -> Result<Contents> {
    let names = &wanted.columns;
    if let Some(trained) = &wanted.features
        && fields.iter().any(|field| trained.contains(&field.name))
    {
        let chosen =
            trained.iter().map(|name| named(path, fields, name)).collect::<Result<Vec<_>>>()?;
        return numbers(path, fields, chosen);
    }
    if !names.features.is_empty() {
        let patterns = patterns(&names.features)?;
        for (pattern, text) in patterns.iter().zip(&names.features) {
            if !fields.iter().any(|field| pattern.matches(&field.name)) {
                let near = suggestion(text, fields.iter().map(|field| field.name.as_str()));
                return Err(Error::input(format!(
                    "{}: data.columns.features: no column \"{text}\"{near}",
                    path.display()
                )));
            }
        }
        // In the order of the list: a column belongs to the first pattern that fits it.
        let first =
            |at: &usize| patterns.iter().position(|pattern| pattern.matches(&fields[*at].name));
        let mut chosen: Vec<usize> =
            (0..fields.len()).filter(|&at| same.free(at) && first(&at).is_some()).collect();
        chosen.sort_by_key(first);
        return numbers(path, fields, chosen);
    }
    let bin = |field: &Field| {
        field.name.strip_prefix("bin_").and_then(|number| number.parse::<u32>().ok())
    };
    let mut bins: Vec<(u32, usize)> = fields
        .iter()
        .enumerate()
        .filter(|(at, _)| same.free(*at))
        .filter_map(|(at, field)| Some((bin(field)?, at)))
        .collect();
    if !bins.is_empty() {
        bins.sort_unstable();
        return Ok(Contents::Bins(bins.into_iter().map(|(_, at)| at).collect()));
    }
    if let Some(text) = same
        .ignore
        .iter()
        .zip(&names.ignore)
        .find(|(pattern, _)| !fields.iter().any(|field| pattern.matches(&field.name)))
    {
        let near = suggestion(text.1, fields.iter().map(|field| field.name.as_str()));
        return Err(Error::input(format!(
            "{}: data.columns.ignore: no column \"{}\"{near}",
            path.display(),
            text.1
        )));
    }
    let feature = |&at: &usize| {
        let field = &fields[at];
        let index = INDEX.contains(&plain(&field.name).as_str());
        let taken = same.used.contains(&at) || same.beside.contains(&at) || !same.free(at);
        may_be_input(field, wanted) && !taken && !index && !same.ignored(at)
    };
    let features: Vec<usize> = (0..fields.len()).filter(feature).collect();
    if features.is_empty() {
        return Err(missing(path, fields, "histograms", "histogram", HISTOGRAM));
    }
    Ok(Contents::Features(features))
}

/// Whether a column holds numbers, or nothing where missing ones are filled.
fn may_be_input(field: &Field, wanted: &Wanted) -> bool {
    field.kind == Kind::Number
        || field.kind == Kind::Blank && wanted.keeps_missing && !field.name.is_empty()
}

/// Names the columns of a table of features that are no inputs because of what they hold, unless
/// the config says so.
fn left_out(
    fields: &[Field],
    wanted: &Wanted,
    ignored: &[glob::Pattern],
    used: &[usize],
    twins: &[Twin],
    beside: &[usize],
) -> Option<String> {
    let told = |&at: &usize| {
        let Field { name, kind, .. } = &fields[at];
        let index = may_be_input(&fields[at], wanted) && !(name.is_empty() && at > 0);
        let nothing = *kind == Kind::Blank && name.is_empty();
        let known = used.contains(&at)
            || twins.iter().any(|twin| twin.left == at)
            || ignored.iter().any(|pattern| pattern.matches(name));
        !known && !nothing && (!index || beside.contains(&at))
    };
    let what = |at: usize| match fields[at].kind {
        Kind::Number if fields[at].name.is_empty() => "no name".into(),
        Kind::Number => "a usual name of what data.columns names".into(),
        Kind::Blank => "blank".into(),
        _ => fields[at].type_name.clone(),
    };
    let columns: Vec<String> = (0..fields.len())
        .filter(told)
        .map(|at| format!("{} ({})", names::shown(fields, at), what(at)))
        .collect();
    let remedy = "name them in data.columns.ignore if they are not meant to be";
    (!columns.is_empty()).then(|| {
        format!("left out of the inputs: {}; {remedy}", listed(columns.iter().map(String::as_str)))
    })
}

/// Features must be numbers.
fn numbers(path: &Path, fields: &[Field], chosen: Vec<usize>) -> Result<Contents> {
    match chosen
        .iter()
        .find(|&&at| !matches!(fields[at].kind, Kind::Number | Kind::Flag | Kind::Blank))
    {
        Some(&at) => Err(Error::input(format!(
            "{}: feature \"{}\" holds {}, not numbers",
            path.display(),
            fields[at].name,
            fields[at].type_name
        ))),
        None => Ok(Contents::Features(chosen)),
    }
}

fn missing(path: &Path, fields: &[Field], what: &str, key: &str, looked_for: &[&str]) -> Error {
    let header = show_names(fields);
    Error::input(format!(
        "{}: no column of {what}: looked for {} in the header \"{header}\"; name it with data.columns.{key}, or see `lumisift inspect`",
        path.display(),
        looked_for.join(", "),
    ))
}

fn patterns(texts: &[String]) -> Result<Vec<glob::Pattern>> {
    let pattern = |text: &String| {
        glob::Pattern::new(text)
            .map_err(|error| Error::input(format!("data.columns: \"{text}\": {error}")))
    };
    texts.iter().map(pattern).collect()
}

/// The first column of that name: ML4DQM headers repeat names.
fn named(path: &Path, fields: &[Field], name: &str) -> Result<usize> {
    fields.iter().position(|field| field.name == name).ok_or_else(|| {
        let near = suggestion(name, fields.iter().map(|field| field.name.as_str()));
        Error::input(format!(
            "{}: no column \"{name}\"{near}; its columns are {}",
            path.display(),
            show_names(fields)
        ))
    })
}

/// Column names in a row.
pub fn show_names(fields: &[Field]) -> String {
    listed(fields.iter().map(|field| field.name.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(names: &[(&str, Kind)]) -> Vec<Field> {
        names
            .iter()
            .map(|(name, kind)| Field {
                name: (*name).into(),
                kind: *kind,
                type_name: format!("{kind:?}"),
            })
            .collect()
    }

    fn find(names: &[(&str, Kind)], wanted: &Wanted) -> Result<Layout> {
        Layout::find(Path::new("x"), &fields(names), wanted)
    }

    #[test]
    fn bins_come_in_the_order_of_their_numbers() {
        let layout = find(
            &[
                ("run", Kind::Number),
                ("lumi", Kind::Number),
                ("bin_10", Kind::Number),
                ("bin_2", Kind::Number),
            ],
            &Wanted::default(),
        );
        assert_eq!(layout.unwrap().contents, Contents::Bins(vec![3, 2]));
    }

    #[test]
    fn features_are_the_numbers_that_are_used_for_nothing_else() {
        let names = [
            ("", Kind::Number),
            ("_run", Kind::Number),
            ("_luminosityBlock", Kind::Number),
            ("pt", Kind::Number),
            ("ok", Kind::Flag),
            ("w", Kind::Number),
            ("eta", Kind::Number),
        ];
        let layout =
            find(&names, &Wanted { required: vec!["w".into()], ..Wanted::default() }).unwrap();
        assert_eq!(
            (layout.run, layout.ls, layout.contents),
            (Some(1), Some(2), Contents::Features(vec![3, 6]))
        );
        let columns =
            crate::config::data::Columns { features: vec!["e*".into()], ..Default::default() };
        assert_eq!(
            find(&names, &Wanted { columns, ..Wanted::default() }).unwrap().contents,
            Contents::Features(vec![6])
        );
        let columns = crate::config::data::Columns {
            features: vec!["w".into(), "?t*".into()],
            ..Default::default()
        };
        assert_eq!(
            find(&names, &Wanted { columns, ..Wanted::default() }).unwrap().contents,
            Contents::Features(vec![5, 3, 6])
        );
        let columns =
            crate::config::data::Columns { features: vec!["etta".into()], ..Default::default() };
        assert!(
            find(&names, &Wanted { columns, ..Wanted::default() })
                .unwrap_err()
                .to_string()
                .contains("did you mean \"eta\"?")
        );
    }

    #[test]
    fn a_histogram_needs_its_lumisection() {
        let fields = fields(&[("a", Kind::Number), ("histo", Kind::List)]);
        let layout = Layout::find(Path::new("x"), &fields, &Wanted::default()).unwrap();
        let message = layout.require_ls(Path::new("x"), &fields).unwrap_err().to_string();
        assert!(message.contains("no column of lumisection numbers"), "{message}");
    }
}
