//! Reads lists of decisions, line by line as they were typed.

use super::lines::{Lines, RUN};
use crate::error::{Error, Result};
use std::path::Path;

/// A line of a list of decisions.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    /// File and line.
    pub place: String,
    /// The run.
    pub run: u32,
    /// The first LS.
    pub first: u32,
    /// The last LS.
    pub last: u32,
    /// The decision as typed, or empty.
    pub decision: String,
    /// The comment as typed, or empty.
    pub comment: String,
}

/// Names of the column of the first LS. The last LS and the comment may be missing.
const FIRST: [&str; 3] = ["first_ls", "ls", "ls_number"];

/// Longest range of a decision; no run is longer.
const LONGEST: u32 = 100_000;

/// Whether lines are a list of decisions with no other columns than these.
fn is_list(lines: &Lines, columns: &[&str]) -> bool {
    let has = |names: &[&str]| lines.header.iter().any(|name| names.contains(&name.as_str()));
    let known = |name: &String| {
        RUN.contains(&name.as_str())
            || FIRST.contains(&name.as_str())
            || columns.contains(&name.as_str())
    };
    has(&RUN) && has(&FIRST) && has(&["decision"]) && lines.header.iter().all(known)
}

/// The lines of a list of decisions that have a decision or a comment.
pub(super) fn entries(path: &Path) -> Result<Vec<Entry>> {
    of_lines(path, Lines::read(path)?)
}

/// The same for a list with no other columns than these; `None` if the file is not such a list.
pub(super) fn entries_of_list(path: &Path, columns: &[&str]) -> Result<Option<Vec<Entry>>> {
    match Lines::read(path) {
        Ok(lines) if is_list(&lines, columns) => of_lines(path, lines).map(Some),
        _ => Ok(None),
    }
}

fn of_lines(path: &Path, lines: Lines) -> Result<Vec<Entry>> {
    let run = lines.column(path, &RUN)?;
    let first = lines.column(path, &FIRST)?;
    let last = lines.find(path, &["last_ls"])?.unwrap_or(first);
    let (decision, comment) = (lines.column(path, &["decision"])?, lines.find(path, &["comment"])?);
    let mut entries = vec![];
    for (place, record) in lines.records {
        let field = |at: usize| record.get(at).unwrap_or_default();
        let comment = comment.map(field).unwrap_or_default();
        if field(decision).is_empty() && comment.is_empty() {
            continue;
        }
        let number = |at: usize, what: &str| {
            let text = field(at);
            text.parse::<u32>()
                .map_err(|_| Error::input(format!("{place}: \"{text}\" is not {what}")))
        };
        let (run, first, last) =
            (number(run, "a run number")?, number(first, "an LS")?, number(last, "an LS")?);
        if first > last || last - first > LONGEST {
            return Err(Error::input(format!(
                "{place}: found LSs {first} to {last}; expected the first and the last of a range"
            )));
        }
        entries.push(Entry {
            run,
            first,
            last,
            decision: field(decision).to_owned(),
            comment: comment.to_owned(),
            place,
        });
    }
    Ok(entries)
}
