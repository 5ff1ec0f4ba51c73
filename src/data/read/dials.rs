//! Reads pages of the DIALS REST interface (JSON): histograms, and the lumisections that old pages
//! refer to by number.

use super::{
    builder::{Builder, Holds},
    row::Incoming,
    text::Source,
};
use crate::{
    config::data::Format,
    data::{
        field::{Field, FieldKind},
        json::Object,
        paths::expand,
        read::options::{Detail, ReadOptions},
        shape::Shape,
        table::{Column, Table},
    },
    error::{ColumnProblem, Error, Result},
};
use serde::Deserialize;
use serde_json::{Map, Number, Value};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

#[derive(Deserialize)]
struct Page<T> {
    results: Vec<T>,
}

#[derive(Deserialize)]
struct Histogram {
    #[serde(alias = "title")]
    me: Option<String>,
    #[serde(alias = "run")]
    run_number: Option<u32>,
    ls_number: Option<u32>,
    /// An identifier in DIALS, not the LS number (old pages).
    lumisection: Option<u64>,
    data: HistogramData,
    x_bin: Option<f64>,
    y_bin: Option<f64>,
    x_min: Option<f64>,
    x_max: Option<f64>,
    y_min: Option<f64>,
    y_max: Option<f64>,
    #[serde(flatten)]
    others: Object<Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum HistogramData {
    Line(Vec<Number>),
    Map(Vec<Vec<Number>>),
}

/// Rounded to single precision once.
fn single(number: Number) -> f32 {
    number.as_i64().map_or_else(|| number.as_f64().unwrap_or(f64::NAN) as f32, |whole| whole as f32)
}

/// Reads a page of histograms.
pub fn read(path: &Path, wanted: &ReadOptions) -> Result<Table> {
    let text = Source::open(path)?.rest(path)?;
    let page: Page<Histogram> = match serde_json::from_slice(&text) {
        Ok(page) => page,
        Err(error) => return Err(not_a_page(path, &text, &error)),
    };
    let fields = match serde_json::from_slice::<Page<Map<String, Value>>>(&text) {
        Ok(page) => page.results.first().map(fields).unwrap_or_default(),
        Err(_) => vec![],
    };
    drop(text);
    let extra: Vec<String> = wanted.required.iter().chain(&wanted.welcome).cloned().collect();
    if let Some(missing) = wanted
        .required
        .iter()
        .find(|name| !page.results.iter().any(|one| one.others.contains_key(*name)))
    {
        let near =
            crate::error::suggestion(missing, fields.iter().map(|field| field.name.as_str()));
        let message = format!("{}: no key \"{missing}\"{near} in its results", path.display());
        return Err(Error::column(missing, ColumnProblem::NoKey, message));
    }
    let mut builder =
        Builder::new(path, Format::Dials, fields, Holds::Histograms, extra.clone(), wanted);
    builder.has_axis(page.results.iter().any(|one| one.x_min.is_some() || one.x_max.is_some()));
    let (mut unresolved, all) = (0, page.results.len());
    for one in page.results {
        let me = one.me.as_deref();
        if me.is_some_and(|me| !builder.element(me)) {
            continue;
        }
        let known = one.lumisection.and_then(|number| wanted.dials.get(&number)).copied();
        let (run, ls) = (
            one.run_number.or(known.map(|(run, _)| run)),
            one.ls_number.or(known.map(|(_, ls)| ls)),
        );
        let bins = |bins: Option<f64>| {
            bins.filter(|bins| (0.0..1e9).contains(bins)).map(|bins| bins as usize)
        };
        let edges = [one.x_min, one.x_max, one.y_min, one.y_max];
        let mut incoming = Incoming {
            run,
            ls,
            x_bins: bins(one.x_bin),
            y_bins: bins(one.y_bin),
            edges,
            ..Incoming::default()
        };
        if ls.is_none() && wanted.detail == Detail::Values {
            return Err(Error::input(match one.lumisection {
                Some(number) => format!(
                    "{}: names lumisections by their number in DIALS, and {number} is not known; name the pages of lumisections with data.lumisections",
                    path.display()
                ),
                None => format!("{}: a histogram without ls_number", path.display()),
            }));
        }
        unresolved += usize::from(ls.is_none());
        match one.data {
            HistogramData::Line(values) => builder.values().extend(values.into_iter().map(single)),
            HistogramData::Map(rows) => {
                incoming.shape = Some(Shape { y: rows.len(), x: rows.first().map_or(0, Vec::len) });
                if let Some(y) = rows.iter().position(|row| row.len() != rows[0].len()) {
                    let reason = format!(
                        "row {y} of the map has {} bins where row 0 has {}",
                        rows[y].len(),
                        rows[0].len()
                    );
                    builder.fault(incoming, reason);
                    continue;
                }
                builder.values().extend(rows.into_iter().flatten().map(single));
            }
        }
        if builder.row(incoming) {
            for (at, name) in extra.iter().enumerate() {
                let entry = match one.others.get(name) {
                    Some(Value::String(text)) => Column::Texts(vec![text.clone()]),
                    Some(Value::Bool(flag)) => Column::Numbers(vec![f64::from(u8::from(*flag))]),
                    other => {
                        Column::Numbers(vec![other.and_then(Value::as_f64).unwrap_or(f64::NAN)])
                    }
                };
                builder.extra(at).push(&entry, 0);
            }
        }
    }
    if unresolved > 0 {
        builder.note(format!("{unresolved} of {all} histograms name their lumisection by a number in DIALS; pages of lumisections resolve it (inspect --lumisections, data.lumisections)"));
    }
    builder.finish()
}

fn fields(result: &Map<String, Value>) -> Vec<Field> {
    let field = |(name, value): (&String, &Value)| {
        let (kind, type_name) = match value {
            Value::Number(_) => (FieldKind::Number, "number"),
            Value::Bool(_) => (FieldKind::Flag, "flag"),
            Value::String(_) => (FieldKind::Text, "text"),
            Value::Array(_) => (FieldKind::List, "list"),
            _ => (FieldKind::Other, "null"),
        };
        Field { name: name.clone(), kind, type_name: type_name.into() }
    };
    result.iter().map(field).collect()
}

/// The error for JSON that is not a page of histograms; names its probable kind.
fn not_a_page(path: &Path, text: &[u8], error: &serde_json::Error) -> Error {
    let path = path.display();
    let found = match serde_json::from_slice::<Value>(text) {
        Err(error) => return Error::input(format!("{path}: not valid JSON: {error}")),
        Ok(Value::Object(keys)) if keys.contains_key("results") => {
            return Error::input(format!(
                "{path}: a page whose results are not histograms: {error}"
            ));
        }
        Ok(Value::Object(keys)) if keys.contains_key("run_number") => {
            "columns by lumisection as OMS has them; data.oms reads it"
        }
        Ok(Value::Object(keys))
            if !keys.is_empty() && keys.keys().all(|key| key.parse::<u32>().is_ok()) =>
        {
            "runs with ranges of lumisections or rates; labels.good, select.golden and data.hlt read such files"
        }
        Ok(_) => "some other JSON",
    };
    Error::input(format!(
        "{path}: expected a DIALS page of histograms ({{\"results\": [{{\"data\": …}}]}}); found {found}"
    ))
}

/// Reads a page of lumisections: their identifier in DIALS, run and LS.
pub fn read_lumisections(path: &Path, into: &mut BTreeMap<u64, (u32, u32)>) -> Result<()> {
    #[derive(Deserialize)]
    struct Numbered {
        id: u64,
        #[serde(alias = "run_number")]
        run: u32,
        ls_number: u32,
    }
    let text = Source::open(path)?.rest(path)?;
    let page: Page<Numbered> = serde_json::from_slice(&text).map_err(|error| {
        Error::input(format!(
            "{}: expected a DIALS page of lumisections ({{\"results\": [{{\"id\", \"run\", \"ls_number\"}}]}}): {error}",
            path.display()
        ))
    })?;
    for Numbered { id, run, ls_number } in page.results {
        if let Some((before, ls)) =
            into.insert(id, (run, ls_number)).filter(|before| *before != (run, ls_number))
        {
            let path = path.display();
            return Err(Error::input(format!(
                "{path}: the number {id} is run {run} LS {ls_number}, but was run {before} LS {ls} before"
            )));
        }
    }
    Ok(())
}

/// The map from identifiers in DIALS to (run, LS), from pages of lumisections.
pub fn lumisection_numbers(patterns: &[PathBuf]) -> Result<Arc<BTreeMap<u64, (u32, u32)>>> {
    let mut numbers = BTreeMap::new();
    expand(patterns)?.iter().try_for_each(|path| read_lumisections(path, &mut numbers))?;
    Ok(Arc::new(numbers))
}
