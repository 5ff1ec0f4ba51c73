//! Reads hand-written tables by the names of their columns, and verdicts in them.

use crate::{
    data::side_table::SideTable,
    error::{Error, Result, listed, suggestion},
    score::verdict::Verdict,
};
use std::path::Path;

/// Accepted names of the column of runs.
pub(super) const RUN: [&str; 2] = ["run", "run_number"];

/// Parses "good", "grey" or "bad"; also 1 and true for good, 0 and false for bad.
pub(super) fn verdict(word: &str) -> Option<Verdict> {
    match word.trim().to_lowercase().as_str() {
        "good" | "1" | "true" => Some(Verdict::Good),
        "grey" | "gray" => Some(Verdict::Grey),
        "bad" | "0" | "false" => Some(Verdict::Bad),
        _ => None,
    }
}

/// The rows of a table, each with its line, and the names of its columns.
pub(super) struct Lines {
    pub(super) header: Vec<String>,
    pub(super) records: Vec<(String, csv::StringRecord)>,
}

impl Lines {
    pub(super) fn read(path: &Path) -> Result<Self> {
        let sheet = SideTable::open(path)?;
        let header = sheet.header().to_vec();
        let mut records = vec![];
        sheet.all(|place, fields| {
            records.push((place.to_string(), csv::StringRecord::from(fields.to_vec())));
            Ok(())
        })?;
        Ok(Self { header, records })
    }

    /// The column with one of these names. Several such columns must be equal.
    pub(super) fn find(&self, path: &Path, names: &[&str]) -> Result<Option<usize>> {
        let mut found = names
            .iter()
            .flat_map(|name| (0..self.header.len()).filter(move |at| self.header[*at] == *name));
        let Some(first) = found.next() else { return Ok(None) };
        for other in found {
            if let Some((place, _)) =
                self.records.iter().find(|(_, record)| record.get(first) != record.get(other))
            {
                let (a, b) = (&self.header[first], &self.header[other]);
                let (at, beside) = (first + 1, other + 1);
                return Err(Error::input(format!(
                    "{}: columns {at} \"{a}\" and {beside} \"{b}\" differ (first at {place}); expected one of them",
                    path.display()
                )));
            }
        }
        Ok(Some(first))
    }

    pub(super) fn column(&self, path: &Path, names: &[&str]) -> Result<usize> {
        self.find(path, names)?.ok_or_else(|| {
            let near = suggestion(names[0], self.header.iter().map(String::as_str));
            let found = listed(self.header.iter().map(String::as_str));
            Error::input(format!(
                "{}: no column \"{}\"{near}; its header is {found}",
                path.display(),
                names[0]
            ))
        })
    }
}
