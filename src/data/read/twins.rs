//! Searches for columns with the same meaning.

use super::{
    names::{self, Alike, Pair, Twin},
    options::ReadOptions,
    usual_names::{LS, ME, RUN, is_usual, plain},
};
use crate::data::field::{Field, FieldKind};

/// Searches for columns that should be equal.
pub struct TwinSearch<'a> {
    pub fields: &'a [Field],
    pub wanted: &'a ReadOptions,
    /// Patterns of `data.columns.ignore`.
    pub ignore: Vec<glob::Pattern>,
    /// Columns used for other purposes than inputs, and the column of histograms.
    pub used: Vec<usize>,
    /// Whether the inputs are a column of histograms.
    pub list: bool,
    pub twins: Vec<Twin>,
    /// Columns with a known name of a quantity for which the config names another column.
    pub beside: Vec<usize>,
    pub notes: Vec<String>,
}

/// A key of `data.columns`: its name, the column found for it, the name in the config, the known
/// names.
pub type Key<'a> = (&'static str, Option<usize>, &'a Option<String>, &'a [&'a str]);

impl TwinSearch<'_> {
    /// Whether the config ignores a column.
    pub fn ignored(&self, at: usize) -> bool {
        self.ignore.iter().any(|pattern| pattern.matches(&self.fields[at].name))
    }

    /// Finds several columns with known names of the same quantity.
    pub fn keys<'k>(&mut self, keys: impl IntoIterator<Item = Key<'k>>) {
        for (key, taken, configured, usual) in keys {
            let Some(taken) = taken else { continue };
            for left in (0..self.fields.len())
                .filter(|at| is_usual(&self.fields[*at].name, usual) && !self.used.contains(at))
            {
                let same_name = self.fields[taken].name == self.fields[left].name;
                let is_kind = key != "histogram"
                    || matches!(self.fields[left].kind, FieldKind::List | FieldKind::Text);
                if same_name || configured.is_none() && is_kind && !self.ignored(left) {
                    let lenient = self.list && same_name && ["run", "ls", "me"].contains(&key);
                    let alike = if same_name { Alike::Name } else { Alike::Key(key) };
                    self.twins.push(Twin { taken, left, alike, lenient });
                } else if configured.is_some() && plain(&self.fields[left].name) != "lumi" {
                    // Luminosities can also be named "lumi"; if the config names the column of
                    // lumisections, "lumi" is a luminosity.
                    self.beside.push(left);
                }
            }
        }
    }

    /// Finds repeated names.
    pub fn names(&mut self) {
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
                // The config uses both.
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
                            "{a} and {b} differ only in case or blanks and are treated as two columns; if they are one, name one in data.columns.ignore"
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
    pub fn free(&self, at: usize) -> bool {
        !self.twins.iter().any(|twin| twin.left == at)
    }
}
