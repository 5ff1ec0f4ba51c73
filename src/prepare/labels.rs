//! Labels of rows from columns and files. Good is always 1; rows that no source names are
//! unlabelled.

use super::label_values::{self, Labels};
use crate::{
    config::{
        LabelOrigin, LabelValues, Scalar,
        labels::{Labels as Section, Lists, Subsystems},
    },
    data::{
        self, Role, Samples,
        lumi::golden_json::{self, LumisectionSet},
        table::Column,
    },
    error::{Error, Result, listed},
};

/// A set of labels, one entry per row: `Some(true)` is good, `None` unknown.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelSet {
    /// The name in reports: "good" for `labels.good`, else the name in `labels.sets` or of the
    /// subsystem.
    pub name: String,
    /// Description of the source.
    pub origin: String,
    /// Good, bad or unknown.
    pub good: Vec<Option<bool>>,
    /// The value of its column that counts as bad without being configured: the only one besides
    /// those that mean good.
    pub other: Option<Scalar>,
}

/// The columns that labels are read from.
pub fn columns(labels: &Section) -> Vec<String> {
    let classes = labels.classes.iter().map(|classes| classes.column.as_str());
    labels
        .sets
        .iter()
        .filter_map(|spec| spec.origin.column())
        .chain(classes)
        .map(str::to_owned)
        .collect()
}

fn file_name(path: &std::path::Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The label sets of a config, `labels.good` first, and notes about them. There is no set for
/// columns that the samples lack (data to be scored), nor for files that no longer exist if the
/// model is `trained` already.
pub fn read(
    samples: &Samples,
    labels: &Section,
    trained: bool,
) -> Result<(Vec<LabelSet>, Vec<String>)> {
    let (mut sets, mut notes) = (vec![], vec![]);
    let is_gone = |path: &std::path::Path| trained && !path.exists();
    let gone = |path: &std::path::Path| {
        format!("{} is no longer there: no labels from it", path.display())
    };
    for spec in labels.sets.iter() {
        let key = key(&spec.name);
        if let LabelOrigin::File { path, .. } = &spec.origin
            && is_gone(path)
        {
            notes.push(gone(path));
            continue;
        }
        let Labels { good, other, note } = match &spec.origin {
            LabelOrigin::Column { name, values } => match samples.columns.get(name) {
                Some(column) => of_column(samples, (&key, name), column, values, trained)?,
                None => continue,
            },
            LabelOrigin::File { path, values, .. }
                if path
                    .extension()
                    .is_some_and(|extension| extension.eq_ignore_ascii_case("npy")) =>
            {
                match of_array(samples, &key, path, values, trained)? {
                    Some(labels) => labels,
                    None => continue,
                }
            }
            LabelOrigin::File { path, lists, complete, .. } => {
                let set = LumisectionSet::read(path)?;
                let good = of_set(samples, &set, *lists, *complete);
                let doubt = doubt(samples, path, &set);
                let note = if doubt.is_some() {
                    None
                } else {
                    absent(&good, &file_name(path), *lists, *complete)
                };
                notes.extend(doubt);
                Labels { good, other: None, note }
            }
        };
        notes.extend(note);
        sets.push(LabelSet {
            name: spec.name.clone(),
            origin: spec.origin.to_string(),
            good,
            other,
        });
    }
    if let Some(own) = labels.subsystems.as_ref().filter(|own| is_gone(&own.folder)) {
        notes.push(gone(&own.folder));
    } else if let Some(Subsystems { folder, pattern }) = &labels.subsystems {
        let (files, others) = golden_json::subsystems(folder, pattern)?;
        if !others.is_empty() {
            notes.push(format!(
                "{}: skipped {}: no files named like {pattern}",
                folder.display(),
                others.join(", ")
            ));
        }
        let (complete, mut doubtful) = (labels.complete, vec![]);
        for (name, path) in files {
            if sets.iter().any(|set| set.name == name) {
                return Err(Error::input(format!(
                    "{}: there is a label set \"{name}\" already",
                    path.display()
                )));
            }
            let good = of_set(samples, &LumisectionSet::read(&path)?, Lists::Good, complete);
            if absent(&good, "", Lists::Good, complete).is_some() {
                doubtful.push(name.clone());
            }
            sets.push(LabelSet { name, origin: file_name(&path), good, other: None });
        }
        if !doubtful.is_empty() {
            notes.push(format!(
                "{}: lumisections that a file does not name stay unlabelled, so no row is bad by {}; labels.complete = true makes them bad",
                folder.display(),
                listed(doubtful.iter().map(String::as_str))
            ));
        }
    }
    Ok((sets, notes))
}

/// The config key of a label set.
fn key(name: &str) -> String {
    if name == "good" { "labels.good".into() } else { format!("labels.sets.{name}") }
}

/// A note on the rows that a JSON or list does not label, and the key that would label them.
fn absent(good: &[Option<bool>], file: &str, lists: Lists, complete: bool) -> Option<String> {
    let (named, all) = (good.iter().flatten().count(), good.len());
    if named == all {
        return None;
    }
    let (one, other) = match lists {
        Lists::Good => ("good", "bad"),
        Lists::Bad => ("bad", "good"),
    };
    Some(if complete {
        format!(
            "{file}: {} of {all} rows stay unlabelled, since their run is not known; add a run column (data.columns.run)",
            all - named
        )
    } else {
        format!(
            "{file}: names {named} of {all} rows as {one}; the other {} stay unlabelled, so no row is {other}; labels.complete = true makes them {other}",
            all - named
        )
    })
}

/// A note if the file has no run in common with the data; it is probably of another era.
fn doubt(samples: &Samples, path: &std::path::Path, set: &LumisectionSet) -> Option<String> {
    let known: Vec<u32> = samples.runs.iter().filter_map(|run| run.number).collect();
    let (Some(first), Some(last)) = (known.first(), known.last()) else {
        return Some(format!(
            "{}: the data have no run numbers, so its lumisections cannot be found; add a run column (data.columns.run)",
            path.display()
        ));
    };
    if known.iter().any(|run| set.runs().contains_key(run)) {
        return None;
    }
    let runs = set.runs().keys().next().zip(set.runs().keys().next_back());
    let covers = runs
        .map_or_else(|| "names no runs".into(), |(from, to)| format!("covers runs {from} to {to}"));
    Some(format!(
        "{}: has no run in common with the data: it {covers}, the data are of runs {first} to {last}",
        path.display()
    ))
}

fn of_set(
    samples: &Samples,
    set: &LumisectionSet,
    lists: Lists,
    complete: bool,
) -> Vec<Option<bool>> {
    let named = lists == Lists::Good;
    let label = |row: usize| {
        let id = samples.id(row);
        match (set.contains(id), id.run) {
            (true, _) => Some(named),
            // An unknown run cannot be looked up.
            (false, Some(_)) if complete => Some(!named),
            _ => None,
        }
    };
    (0..samples.rows.len()).map(label).collect()
}

fn of_column(
    samples: &Samples,
    (key, name): (&str, &str),
    column: &Column,
    values: &LabelValues,
    trained: bool,
) -> Result<Labels> {
    let entries = (0..samples.rows.len()).map(|row| Some(column.text(row)));
    let labels = label_values::read(entries, values, &format!("{key}, column \"{name}\""), trained);
    labels.map_err(|(row, text)| {
        let place = samples.place(row);
        Error::input(format!(
            "{place}: label column \"{name}\": \"{text}\" is neither true/false nor 1/0; expected {key} = {{ column = \"{name}\", values = [...], bad_values = [...] }} with the good and the bad values"
        ))
    })
}

/// Labels from an array with one number per row of the training files, in the order of the files
/// and their rows. Data to be scored have none.
fn of_array(
    samples: &Samples,
    key: &str,
    path: &std::path::Path,
    values: &LabelValues,
    trained: bool,
) -> Result<Option<Labels>> {
    let column = data::read::npy::read_column(path)?;
    let mut offsets = vec![];
    let mut total = 0;
    for (index, source) in samples.sources.iter().enumerate() {
        let unreadable = samples
            .rejected
            .iter()
            .filter(|rejected| rejected.unreadable && rejected.source as usize == index)
            .count();
        offsets.push((source.role == Role::Train).then_some(total));
        total += if source.role == Role::Train { source.rows + unreadable } else { 0 };
    }
    if total == 0 {
        return Ok(None);
    }
    if column.len() != total {
        return Err(Error::input(format!(
            "{}: {} labels for {total} rows of data.train",
            path.display(),
            column.len()
        )));
    }
    let entry = |row: usize| match offsets[samples.rows[row].source as usize] {
        None => Ok(None),
        Some(offset) => {
            let at = offset + samples.rows[row].index as usize;
            if at >= column.len() {
                let place = samples.place(row);
                return Err(Error::input(format!(
                    "{}: has no label for {place}: the file has rows that are not read",
                    path.display()
                )));
            }
            Ok(Some(column.text(at)))
        }
    };
    let entries = (0..samples.rows.len()).map(entry).collect::<Result<Vec<_>>>()?;
    let labels = label_values::read(
        entries.into_iter(),
        values,
        &format!("{key}, {}", file_name(path)),
        trained,
    );
    labels.map(Some).map_err(|(row, text)| {
        let place = samples.place(row);
        Error::input(format!("{}: the entry for {place} is {text}; expected 1 (good) or 0, or values and bad_values in {key}", path.display()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_list_does_not_name_is_unlabelled_unless_it_is_complete() {
        let samples = Samples::made(&[vec![1.0; 3]]);
        let set =
            LumisectionSet::from_ranges(&std::collections::BTreeMap::from([(0, vec![(2, 2)])]));
        assert_eq!(of_set(&samples, &set, Lists::Good, false), [None, Some(true), None]);
        assert_eq!(
            of_set(&samples, &set, Lists::Good, true),
            [Some(false), Some(true), Some(false)]
        );
        assert_eq!(of_set(&samples, &set, Lists::Bad, false), [None, Some(false), None]);
        assert_eq!(of_set(&samples, &set, Lists::Bad, true), [Some(true), Some(false), Some(true)]);
    }

    #[test]
    fn rows_that_a_list_does_not_name_are_counted_with_the_key_that_labels_them() {
        let note = absent(&[Some(true), None, None], "golden.json", Lists::Good, false).unwrap();
        assert!(note.starts_with("golden.json: names 1 of 3 rows as good; the other 2 stay unlabelled, so no row is bad"), "{note}");
        assert!(note.contains("labels.complete = true makes them bad"), "{note}");
        assert!(
            absent(&[Some(false), None], "hot.txt", Lists::Bad, false)
                .unwrap()
                .ends_with("makes them good")
        );
        assert!(
            absent(&[Some(true), None], "golden.json", Lists::Good, true)
                .unwrap()
                .contains("run is not known")
        );
        assert_eq!(absent(&[Some(true), Some(true)], "golden.json", Lists::Good, false), None);
    }
}
