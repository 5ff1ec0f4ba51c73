//! What is known about rows: labels, from columns and files. Good = 1, always; what no source names is unlabelled.

use crate::{
    config::{
        Experiment, LabelOrigin,
        raw::{Lists, Scalar},
    },
    data::{
        self, Role, Samples,
        golden::{self, LumisectionSet},
        table::Column,
    },
    error::{Error, Result},
};

/// One set of labels, one entry a row: `Some(true)` is good, `None` unknown.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelSet {
    /// How reports name it: "good" for `labels.good`, else the name in `labels.sets` or of the subsystem.
    pub name: String,
    /// Where it comes from, in words.
    pub origin: String,
    /// Good, bad or unknown.
    pub good: Vec<Option<bool>>,
}

/// The columns that labels are read from.
pub fn columns(experiment: &Experiment) -> Vec<String> {
    let classes = experiment.config.labels.classes.iter().map(|classes| classes.column.as_str());
    experiment.labels.iter().filter_map(|spec| spec.origin.column()).chain(classes).map(str::to_owned).collect()
}

fn file_name(path: &std::path::Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The label sets of a config, `labels.good` first, and what is worth knowing about them. Columns that the samples lack (data to
/// be scored) give no set; nor do files that are gone, where the model is `trained` already.
pub fn read(samples: &Samples, experiment: &Experiment, trained: bool) -> Result<(Vec<LabelSet>, Vec<String>)> {
    let (mut sets, mut notes) = (vec![], vec![]);
    let is_gone = |path: &std::path::Path| trained && !path.exists();
    let gone = |path: &std::path::Path| format!("{} is no longer there: no labels from it", path.display());
    for spec in &experiment.labels {
        if let LabelOrigin::File { path, .. } = &spec.origin
            && is_gone(path)
        {
            notes.push(gone(path));
            continue;
        }
        let good = match &spec.origin {
            LabelOrigin::Column { name, values } => match samples.columns.get(name) {
                Some(column) => of_column(samples, name, column, values)?,
                None => continue,
            },
            LabelOrigin::File { path, values, .. } if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("npy")) => {
                match of_array(samples, path, values)? {
                    Some(good) => good,
                    None => continue,
                }
            }
            LabelOrigin::File { path, lists, complete, .. } => {
                let set = LumisectionSet::read(path)?;
                notes.extend(doubt(samples, path, &set));
                of_set(samples, &set, *lists, *complete)
            }
        };
        sets.push(LabelSet { name: spec.name.clone(), origin: spec.origin.to_string(), good });
    }
    if let Some((folder, _)) = experiment.subsystems.as_ref().filter(|(folder, _)| is_gone(folder)) {
        notes.push(gone(folder));
    } else if let Some((folder, pattern)) = &experiment.subsystems {
        let (files, others) = golden::subsystems(folder, pattern)?;
        if !others.is_empty() {
            notes.push(format!("{}: skipped {}: no files named like {pattern}", folder.display(), others.join(", ")));
        }
        for (name, path) in files {
            if sets.iter().any(|set| set.name == name) {
                return Err(Error::input(format!("{}: there is a label set \"{name}\" already", path.display())));
            }
            let good = of_set(samples, &LumisectionSet::read(&path)?, Lists::Good, experiment.config.labels.complete);
            sets.push(LabelSet { name, origin: file_name(&path), good });
        }
    }
    Ok((sets, notes))
}

/// A file of other runs is probably another era's.
fn doubt(samples: &Samples, path: &std::path::Path, set: &LumisectionSet) -> Option<String> {
    let known: Vec<u32> = samples.runs.iter().filter_map(|run| run.number).collect();
    let (Some(first), Some(last)) = (known.first(), known.last()) else {
        return Some(format!("{}: the data say no run numbers, so its lumisections cannot be found", path.display()));
    };
    if known.iter().any(|run| set.runs().contains_key(run)) {
        return None;
    }
    let runs = set.runs().keys().next().zip(set.runs().keys().next_back());
    let covers = runs.map_or_else(|| "names no runs".into(), |(from, to)| format!("covers runs {from} to {to}"));
    Some(format!("{}: has no run in common with the data: it {covers}, the data are of runs {first} to {last}", path.display()))
}

fn of_set(samples: &Samples, set: &LumisectionSet, lists: Lists, complete: bool) -> Vec<Option<bool>> {
    let named = lists == Lists::Good;
    let label = |row: usize| {
        let id = samples.id(row);
        match (set.contains(id), id.run) {
            (true, _) => Some(named),
            // A run that is not known cannot be looked up.
            (false, Some(_)) if complete => Some(!named),
            _ => None,
        }
    };
    (0..samples.rows.len()).map(label).collect()
}

fn of_column(samples: &Samples, name: &str, column: &Column, values: &[Scalar]) -> Result<Vec<Option<bool>>> {
    (0..samples.rows.len())
        .map(|row| {
            label(column, row, values).map_err(|text| {
                let place = samples.place(row);
                let told = if values.is_empty() { "; which values are good is told by {column = …, values = […]}" } else { "" };
                Error::input(format!("{place}: label column \"{name}\": \"{text}\" is neither true/false nor 1/0{told}"))
            })
        })
        .collect()
}

/// The label of one entry; the error is the entry.
fn label(column: &Column, row: usize, values: &[Scalar]) -> std::result::Result<Option<bool>, String> {
    let text = column.text(row);
    if text.is_empty() {
        return Ok(None);
    }
    let number = text.parse::<f64>().ok();
    if !values.is_empty() {
        let same = |value: &Scalar| match value {
            Scalar::Number(value) => number == Some(*value),
            Scalar::Text(value) => *value == text,
        };
        return Ok(Some(values.iter().any(same)));
    }
    match (number, text.to_lowercase().as_str()) {
        (Some(1.0), _) | (_, "true") => Ok(Some(true)),
        (Some(0.0), _) | (_, "false") => Ok(Some(false)),
        _ => Err(text),
    }
}

/// One number a row of the training files, in the order of the files and their rows. Data to be scored have none.
fn of_array(samples: &Samples, path: &std::path::Path, values: &[Scalar]) -> Result<Option<Vec<Option<bool>>>> {
    let column = data::read_column(path)?;
    let mut offsets = vec![];
    let mut total = 0;
    for (index, source) in samples.sources.iter().enumerate() {
        let unreadable = samples.rejected.iter().filter(|rejected| rejected.unreadable && rejected.source as usize == index).count();
        offsets.push((source.role == Role::Train).then_some(total));
        total += if source.role == Role::Train { source.rows + unreadable } else { 0 };
    }
    if total == 0 {
        return Ok(None);
    }
    if column.len() != total {
        return Err(Error::input(format!("{}: {} labels for {total} rows of data.train", path.display(), column.len())));
    }
    let good = |row: usize| match offsets[samples.rows[row].source as usize] {
        None => Ok(None),
        Some(offset) => {
            let at = offset + samples.rows[row].index as usize;
            if at >= column.len() {
                let place = samples.place(row);
                return Err(Error::input(format!("{}: has no label for {place}: the file has rows that are not read", path.display())));
            }
            label(&column, at, values).map_err(|text| Error::input(format!("{}: entry {at} is {text}; expected 1 (good) or 0", path.display())))
        }
    };
    (0..samples.rows.len()).map(good).collect::<Result<Vec<_>>>().map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_say_what_is_good() {
        let column = Column::Numbers(vec![1.0, 2.0, 3.0, f64::NAN]);
        let good = |values: &[Scalar]| (0..4).map(|row| label(&column, row, values)).collect::<Vec<_>>();
        assert_eq!(good(&[Scalar::Number(1.0), Scalar::Number(2.0)]), [Ok(Some(true)), Ok(Some(true)), Ok(Some(false)), Ok(None)]);
        assert_eq!(good(&[])[1], Err("2".into()));
    }

    #[test]
    fn what_a_list_does_not_name_is_unlabelled_unless_it_is_complete() {
        let samples = Samples::made(&[vec![1.0; 3]]);
        let set = LumisectionSet::from_ranges(&std::collections::BTreeMap::from([(0, vec![(2, 2)])]));
        assert_eq!(of_set(&samples, &set, Lists::Good, false), [None, Some(true), None]);
        assert_eq!(of_set(&samples, &set, Lists::Good, true), [Some(false), Some(true), Some(false)]);
        assert_eq!(of_set(&samples, &set, Lists::Bad, false), [None, Some(false), None]);
        assert_eq!(of_set(&samples, &set, Lists::Bad, true), [Some(true), Some(false), Some(true)]);
    }
}
