//! Checks of the rows of all files: missing, unreadable and duplicate rows.

use crate::{
    config::data::{BadRows, Data},
    data::{
        samples::{Role, Samples, Source},
        table::{self, Table},
    },
    error::{Error, Result, listed, suggestion},
};
use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
};

/// Fails if no file has the monitoring element; a file without it has no rows.
pub fn refuse_missing_element(tables: &[(Source, Table)], me: Option<&str>) -> Result<()> {
    let Some(me) =
        me.filter(|me| !tables.iter().any(|(_, table)| table.elements.contains_key(*me)))
    else {
        return Ok(());
    };
    let mut names: Vec<&str> =
        tables.iter().flat_map(|(_, table)| table.elements.keys().map(String::as_str)).collect();
    names.sort_unstable();
    names.dedup();
    let files: Vec<String> =
        tables.iter().map(|(source, _)| source.path.display().to_string()).collect();
    let found = if names.is_empty() {
        "; the files name no monitoring elements".into()
    } else {
        format!("; there are {}", listed(names.iter().copied()))
    };
    Err(Error::input(format!(
        "{}: no monitoring element \"{me}\"{}{found}",
        files.join(", "),
        suggestion(me, names.iter().copied())
    )))
}

pub fn refuse_faults(table: &Table) -> Result<()> {
    let Some(first) = table.faults.first() else { return Ok(()) };
    let more = match table.faults.len() - 1 {
        0 => String::new(),
        1 => "; one more row cannot be read".into(),
        n => format!("; {n} more rows cannot be read"),
    };
    let place = table::place_in(&table.path, first.line, first.index);
    Err(Error::input(format!(
        "{place}: {}{more} (data.bad_rows = \"reject\" continues without such rows)",
        first.reason
    )))
}

/// Fails if rows of the training files are also test rows, compared by (run, LS), or by content if
/// runs are unknown. Events are not compared, because equal events can occur by chance.
pub fn refuse_overlap(samples: &Samples) -> Result<()> {
    if samples.events {
        return Ok(());
    }
    // Equal histograms of a hundred entries at the same LS are no coincidence.
    let telling =
        |i: usize| samples.row(i).iter().filter(|value| !value.is_nan()).sum::<f32>() >= 100.0;
    let content = |i: usize| {
        let mut hash = DefaultHasher::new();
        samples.row(i).iter().for_each(|value| value.to_bits().hash(&mut hash));
        hash.finish()
    };
    let key = |i: usize| match samples.id(i).run {
        Some(_) => Some((samples.rows[i].run, samples.rows[i].ls, 0)),
        None if telling(i) => Some((u32::MAX, samples.rows[i].ls, content(i))),
        None => None,
    };
    let of_role =
        |role: Role| (0..samples.rows.len()).filter(move |&i| samples.source(i).role == role);
    if of_role(Role::Test).next().is_none() {
        return Ok(());
    }
    let train: HashMap<_, usize> =
        of_role(Role::Train).filter_map(|i| Some((key(i)?, i))).collect();
    let bits = |i: usize| samples.row(i).iter().map(|value| value.to_bits());
    let same = |a: usize, b: usize| samples.id(a).run.is_some() || bits(a).eq(bits(b));
    let both: Vec<(usize, usize)> = of_role(Role::Test)
        .filter_map(|i| Some((*train.get(&key(i)?)?, i)))
        .filter(|&(a, b)| same(a, b))
        .collect();
    match both.first() {
        None => Ok(()),
        Some(&(a, b)) => Err(Error::input(format!(
            "training rows inside the test set: {} lumisections are in both, the first {} at {} and {}",
            both.len(),
            samples.id(a),
            samples.place(a),
            samples.place(b)
        ))),
    }
}

/// Fails if a file is named twice or copied, because its rows would count twice.
pub fn refuse_copies(files: &[(Source, Vec<(usize, Table)>)]) -> Result<()> {
    for (i, (source, tables)) in files.iter().enumerate().filter(|(_, (source, _))| source.rows > 0)
    {
        let copy = files[..i]
            .iter()
            .find(|(other, _)| other.sha256 == source.sha256 && other.role == source.role);
        let between_roles = files[..i].iter().find(|(other, _)| other.sha256 == source.sha256);
        if let Some((copy, _)) = copy {
            return Err(Error::input(format!(
                "{} and {} hold the same bytes; name a file once",
                copy.path.display(),
                source.path.display()
            )));
        }
        if let (Some((copy, _)), true) =
            (between_roles, tables.iter().any(|(_, table)| table.events))
        {
            let (a, b) = (copy.path.display(), source.path.display());
            return Err(Error::input(format!(
                "training rows inside the test set: {a} and {b} hold the same bytes"
            )));
        }
    }
    Ok(())
}

/// The same (run, LS) twice is an error, or the later one is rejected.
pub fn duplicates(samples: &mut Samples, config: &Data) -> Result<()> {
    let same = |i: usize| {
        i > 0
            && (samples.rows[i].run, samples.rows[i].ls)
                == (samples.rows[i - 1].run, samples.rows[i - 1].ls)
    };
    let count = (0..samples.rows.len()).filter(|&i| same(i)).count();
    let Some(first) = (0..samples.rows.len()).find(|&i| same(i)) else { return Ok(()) };
    if config.keep_duplicates {
        samples.notes.push(format!("{count} rows repeat the lumisection of another row; all are kept (data.keep_duplicates)"));
        return Ok(());
    }
    if config.bad_rows == BadRows::Error {
        let more = if count > 1 { format!(" ({count} duplicates in all)") } else { String::new() };
        let no_run = if samples.id(first).run.is_none() {
            "; the file has no run numbers: if a column has them, name it in data.columns.run"
        } else {
            ""
        };
        return Err(Error::input(format!(
            "{}: duplicate of {}: {} is there twice{more}{no_run}; data.bad_rows = \"reject\" keeps the first of each, data.keep_duplicates = true all",
            samples.place(first),
            samples.place(first - 1),
            samples.id(first)
        )));
    }
    let reasons = (0..samples.rows.len())
        .map(|i| same(i).then(|| "duplicate of an earlier row".to_owned()))
        .collect();
    samples.reject(reasons);
    Ok(())
}
