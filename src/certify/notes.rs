//! Decisions and comments that people wrote into the review list. They are kept when the list is
//! written again.

use super::{decision_list::Entry, verdicts::Id};
use std::collections::BTreeMap;

/// Decision and comment on a lumisection, as typed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Note {
    /// A decision such as "good", or empty.
    pub decision: String,
    /// A comment, or empty.
    pub comment: String,
}

impl Note {
    /// Merges this note over an older one. The comment of the older one is kept, and its decision
    /// is noted if it differs.
    fn over(self, older: &Self) -> Self {
        let is_changed = !older.decision.is_empty()
            && !self.decision.is_empty()
            && !older.decision.eq_ignore_ascii_case(&self.decision);
        let before = if is_changed {
            join(&format!("was {}", older.decision), &older.comment)
        } else {
            older.comment.clone()
        };
        let comment = if before.contains(&self.comment) {
            before
        } else if self.comment.contains(&before) {
            self.comment
        } else {
            join(&self.comment, &before)
        };
        Self {
            decision: if self.decision.is_empty() { older.decision.clone() } else { self.decision },
            comment,
        }
    }
}

fn join(first: &str, second: &str) -> String {
    if second.is_empty() { first.to_owned() } else { format!("{first}; {second}") }
}

/// Notes by lumisection.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Notes(BTreeMap<Id, Note>);

impl Notes {
    /// The notes of a list of decisions.
    pub(super) fn new(entries: &[Entry]) -> Self {
        let mut notes = Self::default();
        for Entry { run, first, last, decision, comment, .. } in entries {
            (*first..=*last).for_each(|ls| {
                notes.add((*run, ls), Note { decision: decision.clone(), comment: comment.clone() })
            });
        }
        notes
    }

    /// All notes in the order of the lumisections.
    pub fn iter(&self) -> impl Iterator<Item = (Id, &Note)> {
        self.0.iter().map(|(id, note)| (*id, note))
    }

    fn add(&mut self, id: Id, note: Note) {
        let note = match self.0.get(&id) {
            Some(older) => note.over(older),
            None => note,
        };
        self.0.insert(id, note);
    }

    /// The note on a lumisection.
    pub fn get(&self, id: Id) -> Option<&Note> {
        self.0.get(&id)
    }

    /// The number of lumisections with a decision in these notes but not in `others`.
    pub fn decided_beyond(&self, others: Option<&Self>) -> usize {
        let decides = |note: &Note| !note.decision.is_empty();
        let known = |id: &Id| others.and_then(|others| others.get(*id)).is_some_and(decides);
        self.0.iter().filter(|(id, note)| decides(note) && !known(id)).count()
    }

    /// Merges newer notes over these for `wanted` lumisections.
    pub fn lay(&mut self, newer: &Self, wanted: impl Fn(&Id) -> bool) {
        newer
            .0
            .iter()
            .filter(|(id, _)| wanted(id))
            .for_each(|(id, note)| self.add(*id, note.clone()));
    }
}
