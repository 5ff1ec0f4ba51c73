//! Which rows are evaluated at all. Every rejected row keeps its reason: an empty lumisection is neither good nor bad.

use crate::{
    config::raw::DropEmpty,
    data::Samples,
    error::{Error, Result},
};

/// Rejects empty rows as the config asks.
pub fn select(samples: &mut Samples, drop_empty: DropEmpty) -> Result<()> {
    let mut reasons: Vec<Option<&str>> = vec![None; samples.rows.len()];
    for range in samples.run_ranges() {
        let filled: Vec<usize> = range.clone().filter(|&i| samples.row(i).iter().any(|&value| value != 0.0)).collect();
        let (first, last) = (filled.first().copied().unwrap_or(range.end), filled.last().copied().unwrap_or(range.end));
        for i in range {
            let empty = filled.binary_search(&i).is_err();
            reasons[i] = match drop_empty {
                DropEmpty::None => None,
                _ if empty && i < first => Some("empty (leading)"),
                DropEmpty::All if empty && i > last => Some("empty (trailing)"),
                DropEmpty::All if empty => Some("empty (interior)"),
                _ => None,
            };
        }
    }
    let before = samples.rows.len();
    samples.reject(|i| reasons[i].map(str::to_owned));
    if samples.rows.is_empty() {
        return Err(Error::input(format!("no rows left: all {before} lumisections are empty (select.drop_empty = \"{drop_empty}\")")));
    }
    Ok(())
}

/// How many rows are rejected for each reason, the most frequent first; rows that cannot be read count together.
pub fn counts(samples: &Samples) -> Vec<(String, usize)> {
    let mut counts: Vec<(String, usize)> = vec![];
    for rejected in &samples.rejected {
        let reason = if rejected.unreadable { "cannot be read" } else { &rejected.reason };
        match counts.iter_mut().find(|(known, _)| known == reason) {
            Some((_, count)) => *count += 1,
            None => counts.push((reason.to_owned(), 1)),
        }
    }
    counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(filled: &[bool]) -> Samples {
        Samples::made(&[filled.iter().map(|&filled| f32::from(u8::from(filled))).collect()])
    }

    #[test]
    fn empties_are_told_apart() {
        let run = [false, false, true, false, true, false];
        let mut all = samples(&run);
        select(&mut all, DropEmpty::All).unwrap();
        assert_eq!(all.rows.iter().map(|row| row.ls).collect::<Vec<_>>(), [3, 5]);
        assert_eq!(counts(&all), [("empty (leading)".into(), 2), ("empty (interior)".into(), 1), ("empty (trailing)".into(), 1)]);
        let mut leading = samples(&run);
        select(&mut leading, DropEmpty::Leading).unwrap();
        assert_eq!(leading.rows.len(), 4);
        let mut none = samples(&run);
        select(&mut none, DropEmpty::None).unwrap();
        assert_eq!(none.rows.len(), 6);
    }

    #[test]
    fn nothing_left_is_an_error() {
        assert!(select(&mut samples(&[false, false]), DropEmpty::Leading).unwrap_err().to_string().contains("all 2 lumisections are empty"));
    }
}
