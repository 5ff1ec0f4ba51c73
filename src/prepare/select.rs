//! Selects the rows to evaluate. Every rejected row keeps its first reason. An empty lumisection is
//! neither good nor bad.

use super::{missing::too_few, quantities::Quantity};
use crate::{
    config::{
        Value,
        select::{DropEmpty, Select, UnknownRows},
    },
    data::{
        Samples,
        layers::Layer,
        lumi::{
            LumiInfo,
            golden_json::{self, LumisectionSet},
        },
    },
    error::{Error, Result},
    random,
};
use rand::seq::SliceRandom;
use std::collections::BTreeMap;

/// The first reason to reject each row according to the config, and notes. `least` is the share of
/// inputs that must be present; `weights` have one number per row, NaN if unknown.
pub fn reasons(
    samples: &Samples,
    (select, least, seed): (&Select, Option<f64>, u64),
    facts: &LumiInfo,
    weights: Option<&[f32]>,
) -> Result<(Vec<Option<String>>, Vec<String>)> {
    let rows = samples.rows.len();
    let mut notes = vec![];
    let mut reasons: Vec<Option<String>> = vec![None; rows];
    let mut reject = |row: usize, reason: &dyn Fn() -> String| {
        if reasons[row].is_none() {
            reasons[row] = Some(reason());
        }
    };

    if !select.runs.is_empty() {
        let mut ranges = select.runs.to_vec();
        ranges.sort_unstable();
        let wanted = |row: usize| {
            samples.id(row).run.is_some_and(|run| {
                ranges.iter().any(|(first, last)| (*first..=*last).contains(&run))
            })
        };
        (0..rows)
            .filter(|&row| !wanted(row))
            .for_each(|row| reject(row, &|| "run not in select.runs".into()));
    }
    if !select.lumisections.is_empty() {
        let set = LumisectionSet::from_ranges(&select.lumisections);
        let outside = |row: usize| {
            let id = samples.id(row);
            id.run
                .and_then(|run| set.runs().get(&run))
                .is_some_and(|ranges| !golden_json::within(ranges, id.ls))
        };
        (0..rows)
            .filter(|&row| outside(row))
            .for_each(|row| reject(row, &|| "LS not in select.lumisections".into()));
    }
    if let Some(path) = select.golden.as_ref() {
        let set = LumisectionSet::read(path)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        (0..rows)
            .filter(|&row| !set.contains(samples.id(row)))
            .for_each(|row| reject(row, &|| format!("not in {name}")));
    }
    for (i, condition) in select.conditions.iter().enumerate() {
        let quantity = Quantity::new(&format!("select.where[{i}]"), condition, samples, facts)?;
        if quantity.reasons.iter().all(Option::is_some) {
            notes.push(format!("select.where: \"{condition}\" is unknown for every row"));
        }
        for (row, (value, unknown)) in quantity.values.iter().zip(&quantity.reasons).enumerate() {
            match (value, unknown) {
                (Value::Number(number), _) if *number == 0.0 => {
                    reject(row, &|| format!("fails {condition}"))
                }
                (Value::Text(_), _) => {
                    return Err(Error::input(format!(
                        "select.where[{i}]: \"{condition}\" is a text, not a condition"
                    )));
                }
                (Value::Unknown, Some(unknown)) if select.unknown == UnknownRows::Reject => {
                    reject(row, &|| unknown.clone())
                }
                _ => {}
            }
        }
    }
    for (row, reason) in empties(samples, select.drop_empty) {
        reject(row, &|| reason.to_owned());
    }
    if select.drop_empty != DropEmpty::None && samples.layers.len() > 1 {
        for row in 0..rows {
            let is_empty = |layer: &&Layer| !is_filled(&samples.row(row)[layer.columns.clone()]);
            if let Some(layer) =
                samples.layers.iter().find(is_empty).filter(|_| is_filled(samples.row(row)))
            {
                reject(row, &|| format!("empty {}", layer.name));
            }
        }
    }
    if let Some(least) = least {
        (0..rows)
            .filter_map(|row| Some((row, too_few(samples.row(row), least)?)))
            .for_each(|(row, reason)| reject(row, &|| reason.clone()));
    }
    if let Some(weights) = weights {
        for (row, weight) in weights.iter().enumerate() {
            if weight.is_nan() {
                reject(row, &|| "unknown weight".into());
            } else if weight.is_infinite() {
                reject(row, &|| "infinite weight".into());
            } else if *weight < 0.0 {
                reject(row, &|| "negative weight".into());
            } else if select.nonzero_weight && *weight == 0.0 {
                reject(row, &|| "weight 0".into());
            }
        }
    }
    if let Some(most) = select.per_run {
        for range in samples.run_ranges() {
            let mut left: Vec<usize> = range.filter(|&row| reasons[row].is_none()).collect();
            if let Some(&first) = left.first() {
                left.shuffle(&mut random::generator(
                    seed,
                    "per run",
                    u64::from(samples.rows[first].run),
                ));
            }
            left.iter()
                .skip(most as usize)
                .for_each(|&row| reasons[row] = Some(format!("more than {most} rows of its run")));
        }
    }

    Ok((reasons, notes))
}

/// Whether any bin is present and not 0.
fn is_filled(bins: &[f32]) -> bool {
    bins.iter().any(|value| *value != 0.0 && !value.is_nan())
}

/// The empty rows that the config drops, with their position in the run as the reason.
fn empties(samples: &Samples, drop_empty: DropEmpty) -> Vec<(usize, &'static str)> {
    let mut empties = vec![];
    // An event of zeros is a valid event.
    if (samples.features.is_some() && samples.summarised.is_none()) || drop_empty == DropEmpty::None
    {
        return empties;
    }
    for range in samples.run_ranges() {
        let filled: Vec<usize> = range.clone().filter(|&i| is_filled(samples.row(i))).collect();
        let (first, last) = (
            filled.first().copied().unwrap_or(range.end),
            filled.last().copied().unwrap_or(range.end),
        );
        for row in range.filter(|row| filled.binary_search(row).is_err()) {
            match drop_empty {
                _ if row < first => empties.push((row, "empty (leading)")),
                DropEmpty::All if row > last => empties.push((row, "empty (trailing)")),
                DropEmpty::All => empties.push((row, "empty (interior)")),
                _ => {}
            }
        }
    }
    empties
}

/// Number of rejected rows for each reason, the most frequent first; rows that cannot be read are
/// counted together.
pub fn counts(samples: &Samples) -> Vec<(String, usize)> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for rejected in &samples.rejected {
        *counts
            .entry(if rejected.unreadable { "cannot be read" } else { &rejected.reason })
            .or_insert(0) += 1;
    }
    let mut counts: Vec<(String, usize)> =
        counts.into_iter().map(|(reason, count)| (reason.to_owned(), count)).collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Document, Experiment};

    fn select(samples: &mut Samples, text: &str) -> Result<()> {
        let text = format!("data.train = [\"a\"]\n{text}");
        let experiment = Experiment::check(
            &Document::parse(&text, std::path::Path::new("x.toml")).unwrap(),
            "x",
        )
        .unwrap();
        samples.reject(
            reasons(
                samples,
                (&experiment.select, experiment.data.min_present, experiment.seed),
                &LumiInfo::default(),
                None,
            )?
            .0,
        );
        Ok(())
    }

    fn samples(filled: &[bool]) -> Samples {
        Samples::made(&[filled.iter().map(|&filled| f32::from(u8::from(filled))).collect()])
    }

    #[test]
    fn empties_are_told_apart() {
        let run = [false, false, true, false, true, false];
        let mut all = samples(&run);
        select(&mut all, "").unwrap();
        assert_eq!(all.rows.iter().map(|row| row.ls).collect::<Vec<_>>(), [3, 5]);
        assert_eq!(
            counts(&all),
            [
                ("empty (leading)".into(), 2),
                ("empty (interior)".into(), 1),
                ("empty (trailing)".into(), 1)
            ]
        );
        let mut leading = samples(&run);
        select(&mut leading, "select.drop_empty = \"leading\"").unwrap();
        assert_eq!(leading.rows.len(), 4);
        let mut none = samples(&run);
        select(&mut none, "select.drop_empty = \"none\"").unwrap();
        assert_eq!(none.rows.len(), 6);
    }

    #[test]
    fn the_first_reason_counts_and_rows_follow_their_identities() {
        let mut samples = Samples::made(&[vec![1.0, 0.0, 3.0], vec![4.0, 5.0, 6.0]]);
        select(&mut samples, "select = {runs = [\"0-0\", 1], lumisections = {\"0\" = [[1, 2]]}, where = [\"entries > 4 or ls < 3\"]}").unwrap();
        assert_eq!(samples.values, [1.0, 4.0, 5.0, 6.0]);
        assert_eq!(
            counts(&samples),
            [("LS not in select.lumisections".into(), 1), ("empty (interior)".into(), 1)]
        );
        select(&mut samples, "select = {runs = [1], per_run = 2}").unwrap();
        assert_eq!(
            (samples.rows.len(), samples.runs[samples.rows[0].run as usize].number),
            (2, Some(1))
        );
    }

    #[test]
    fn one_layer_may_be_empty() {
        use crate::data::shape::Shape;
        let mut samples = Samples::made(&[vec![0.0; 10]]);
        samples.rows.truncate(5);
        samples.shape = Shape::line(2);
        let layer = |name: &str, at: usize| Layer {
            name: name.into(),
            element: name.into(),
            shape: Shape::line(1),
            edges: [None; 4],
            columns: at..at + 1,
        };
        samples.layers = vec![layer("a", 0), layer("b", 1)];
        samples.values = vec![1.0, 2.0, 0.0, 2.0, 0.0, 0.0, 3.0, 0.0, 5.0, 4.0];
        let mut all = samples.clone();
        select(&mut all, "").unwrap();
        assert_eq!(
            counts(&all),
            [("empty (interior)".into(), 1), ("empty a".into(), 1), ("empty b".into(), 1)]
        );
        select(&mut samples, "select.drop_empty = \"none\"").unwrap();
        assert_eq!(samples.rows.len(), 5);
    }

    #[test]
    fn what_is_not_known_is_rejected_or_kept() {
        let condition = "where = [\"pileup > 3\"]";
        let mut samples = Samples::made(&[vec![1.0, 2.0, 3.0]]);
        samples
            .columns
            .insert("pileup".into(), crate::data::table::Column::Numbers(vec![5.0, f64::NAN, 2.0]));
        let mut kept = samples.clone();
        select(&mut samples, &format!("select = {{{condition}}}")).unwrap();
        assert_eq!(samples.values, [1.0]);
        assert_eq!(
            counts(&samples),
            [("fails pileup > 3".into(), 1), ("unknown pileup".into(), 1)]
        );
        select(&mut kept, &format!("select = {{{condition}, unknown = \"keep\"}}")).unwrap();
        assert_eq!(kept.values, [1.0, 2.0]);
    }
}
