//! The role of each column of a file. The rules are the same for CSV, Parquet, Arrow and arrays.

use super::{
    names::{self, Twin},
    options::ReadOptions,
    twins::TwinSearch,
    usual_names::{EDGES, HISTOGRAM, INDEX, LS, ME, RUN, X_BINS, Y_BINS, is_usual, plain},
};
use crate::{
    data::{
        channels::{self, Hierarchy},
        field::{Field, FieldKind, show_names},
    },
    error::{ColumnProblem, Error, Result, listed, suggestion},
};
use std::path::Path;

/// The columns of each role, by position.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    /// Run number.
    pub run: Option<usize>,
    /// Lumisection number; without one, rows are events.
    pub ls: Option<usize>,
    /// Name of the monitoring element.
    pub me: Option<usize>,
    /// The columns that become inputs.
    pub contents: Contents,
    /// The hierarchy of features by their names, if there are rules for it.
    pub hierarchy: Option<Hierarchy>,
    /// Number of bins in x, without underflow and overflow.
    pub x_bins: Option<usize>,
    /// Number of bins in y.
    pub y_bins: Option<usize>,
    /// Edges of the axes: x from, x to, y from, y to.
    pub edges: [Option<usize>; 4],
    /// Further columns to read, by name.
    pub extra: Vec<(String, usize)>,
    /// Columns that must be equal.
    pub twins: Vec<Twin>,
    /// Notes on the columns.
    pub notes: Vec<String>,
}

/// The columns that become inputs.
#[derive(Clone, Debug, PartialEq)]
pub enum Contents {
    /// One column of lists: a histogram.
    List(usize),
    /// A column per bin, `bin_0` first: a histogram.
    Bins(Vec<usize>),
    /// A column per feature.
    Features(Vec<usize>),
}

impl Layout {
    /// Finds the columns by their known names or by those in the config.
    pub fn find(path: &Path, fields: &[Field], wanted: &ReadOptions) -> Result<Self> {
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

        let is_list = |at: usize| {
            matches!(fields[at].kind, FieldKind::List | FieldKind::Text | FieldKind::Blank)
        };
        let lists: Vec<usize> =
            (0..fields.len()).filter(|&at| fields[at].kind == FieldKind::List).collect();
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
        let mut same = TwinSearch {
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
                // Features that no channel uses are not read.
                let used = channels::inputs(&hierarchy.channels)
                    .iter()
                    .map(|name| named(path, fields, name))
                    .collect::<Result<_>>()?;
                (Contents::Features(used), Some(hierarchy))
            }
            contents => (contents, None),
        };
        let TwinSearch { used, mut twins, mut notes, beside, ignore, .. } = same;
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
        // Names of unused columns do not matter.
        let by_name = wanted.features.is_none() && names.features.is_empty();
        let is_feature = matches!(layout.contents, Contents::Features(_));
        twins.retain(|twin| {
            used.contains(&twin.taken)
                || layout.contents().contains(&twin.taken)
                || is_feature && by_name && fields[twin.left].kind == FieldKind::Number
        });
        if is_feature && by_name {
            notes.extend(left_out(fields, wanted, &ignore, &used, &twins, &beside));
        }
        (layout.twins, layout.notes) = (twins, notes);
        if is_feature {
            // Features are not bins, whatever the other columns.
            (layout.x_bins, layout.y_bins) = (None, None);
        }
        Ok(layout)
    }

    /// Fails for histograms without lumisection numbers; features without them are events.
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

    /// The ascending positions of all columns to read, with or without those of the values.
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

/// The columns that are bins or features.
fn columns(
    path: &Path,
    fields: &[Field],
    wanted: &ReadOptions,
    same: &TwinSearch,
) -> Result<Contents> {
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
        // In the order of the list: a column belongs to the first pattern that matches.
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

/// Whether a column holds numbers, or is blank and missing ones are filled.
fn may_be_input(field: &Field, wanted: &ReadOptions) -> bool {
    field.kind == FieldKind::Number
        || field.kind == FieldKind::Blank && wanted.keeps_missing && !field.name.is_empty()
}

/// A note on the columns of a table of features that are not inputs because of their type, unless
/// configured.
fn left_out(
    fields: &[Field],
    wanted: &ReadOptions,
    ignored: &[glob::Pattern],
    used: &[usize],
    twins: &[Twin],
    beside: &[usize],
) -> Option<String> {
    let told = |&at: &usize| {
        let Field { name, kind, .. } = &fields[at];
        let index = may_be_input(&fields[at], wanted) && !(name.is_empty() && at > 0);
        let nothing = *kind == FieldKind::Blank && name.is_empty();
        let known = used.contains(&at)
            || twins.iter().any(|twin| twin.left == at)
            || ignored.iter().any(|pattern| pattern.matches(name));
        !known && !nothing && (!index || beside.contains(&at))
    };
    let what = |at: usize| match fields[at].kind {
        FieldKind::Number if fields[at].name.is_empty() => "no name".into(),
        FieldKind::Number => "a usual name of what data.columns names".into(),
        FieldKind::Blank => "blank".into(),
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

/// Fails if a feature is not a column of numbers.
fn numbers(path: &Path, fields: &[Field], chosen: Vec<usize>) -> Result<Contents> {
    match chosen.iter().find(|&&at| {
        !matches!(fields[at].kind, FieldKind::Number | FieldKind::Flag | FieldKind::Blank)
    }) {
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

/// The first column with this name: ML4DQM headers repeat names.
fn named(path: &Path, fields: &[Field], name: &str) -> Result<usize> {
    fields.iter().position(|field| field.name == name).ok_or_else(|| {
        let near = suggestion(name, fields.iter().map(|field| field.name.as_str()));
        let message = format!(
            "{}: no column \"{name}\"{near}; its columns are {}",
            path.display(),
            show_names(fields)
        );
        Error::column(name, ColumnProblem::NoColumn, message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(names: &[(&str, FieldKind)]) -> Vec<Field> {
        names
            .iter()
            .map(|(name, kind)| Field {
                name: (*name).into(),
                kind: *kind,
                type_name: format!("{kind:?}"),
            })
            .collect()
    }

    fn find(names: &[(&str, FieldKind)], wanted: &ReadOptions) -> Result<Layout> {
        Layout::find(Path::new("x"), &fields(names), wanted)
    }

    #[test]
    fn bins_come_in_the_order_of_their_numbers() {
        let layout = find(
            &[
                ("run", FieldKind::Number),
                ("lumi", FieldKind::Number),
                ("bin_10", FieldKind::Number),
                ("bin_2", FieldKind::Number),
            ],
            &ReadOptions::default(),
        );
        assert_eq!(layout.unwrap().contents, Contents::Bins(vec![3, 2]));
    }

    #[test]
    fn features_are_the_numbers_that_are_used_for_nothing_else() {
        let names = [
            ("", FieldKind::Number),
            ("_run", FieldKind::Number),
            ("_luminosityBlock", FieldKind::Number),
            ("pt", FieldKind::Number),
            ("ok", FieldKind::Flag),
            ("w", FieldKind::Number),
            ("eta", FieldKind::Number),
        ];
        let layout =
            find(&names, &ReadOptions { required: vec!["w".into()], ..ReadOptions::default() })
                .unwrap();
        assert_eq!(
            (layout.run, layout.ls, layout.contents),
            (Some(1), Some(2), Contents::Features(vec![3, 6]))
        );
        let columns =
            crate::config::data::Columns { features: vec!["e*".into()], ..Default::default() };
        assert_eq!(
            find(&names, &ReadOptions { columns, ..ReadOptions::default() }).unwrap().contents,
            Contents::Features(vec![6])
        );
        let columns = crate::config::data::Columns {
            features: vec!["w".into(), "?t*".into()],
            ..Default::default()
        };
        assert_eq!(
            find(&names, &ReadOptions { columns, ..ReadOptions::default() }).unwrap().contents,
            Contents::Features(vec![5, 3, 6])
        );
        let columns =
            crate::config::data::Columns { features: vec!["etta".into()], ..Default::default() };
        assert!(
            find(&names, &ReadOptions { columns, ..ReadOptions::default() })
                .unwrap_err()
                .to_string()
                .contains("did you mean \"eta\"?")
        );
    }

    #[test]
    fn a_histogram_needs_its_lumisection() {
        let fields = fields(&[("a", FieldKind::Number), ("histo", FieldKind::List)]);
        let layout = Layout::find(Path::new("x"), &fields, &ReadOptions::default()).unwrap();
        let message = layout.require_ls(Path::new("x"), &fields).unwrap_err().to_string();
        assert!(message.contains("no column of lumisection numbers"), "{message}");
    }
}
