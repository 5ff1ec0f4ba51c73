//! What people wrote into the review list: it stays in the list when that is written again.

use super::{Id, Lumisections, decisions, outputs::Stretch, review};
use crate::error::{Error, Result};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Decision and comment of a lumisection, as they were typed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Note {
    /// Empty, or a word such as "good".
    pub decision: String,
    /// A remark.
    pub comment: String,
}

impl Note {
    /// This note in place of an older one. The comment of the older one stays, and its decision
    /// where it differs.
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
    /// Those of a list of decisions.
    pub fn read(path: &Path) -> Result<Self> {
        let mut notes = Self::default();
        for decisions::Entry { run, first, last, decision, comment, .. } in
            decisions::entries(path, true)?
        {
            (first..=last).for_each(|ls| {
                notes.add((run, ls), Note { decision: decision.clone(), comment: comment.clone() })
            });
        }
        Ok(notes)
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

    /// The number of lumisections that these notes decide on and others do not.
    pub fn decided_beyond(&self, others: Option<&Self>) -> usize {
        let decides = |note: &Note| !note.decision.is_empty();
        let known = |id: &Id| others.and_then(|others| others.get(*id)).is_some_and(decides);
        self.0.iter().filter(|(id, note)| decides(note) && !known(id)).count()
    }

    /// Lays newer notes over these, where `wanted`.
    pub fn lay(&mut self, newer: &Self, wanted: impl Fn(&Id) -> bool) {
        newer
            .0
            .iter()
            .filter(|(id, _)| wanted(id))
            .for_each(|(id, note)| self.add(*id, note.clone()));
    }

    /// Rows of the list for notes on lumisections outside its stretches, so that nothing that was
    /// written down is lost.
    pub fn kept(&self, lumisections: &Lumisections, stretches: &[Stretch]) -> Vec<review::Row> {
        let listed: BTreeSet<Id> = stretches
            .iter()
            .flat_map(|stretch| (stretch.first..=stretch.last).map(|ls| (stretch.run, ls)))
            .collect();
        let mut ranges: Vec<(Id, u32, &Note, Option<&str>)> = vec![];
        for (&(run, ls), note) in self.0.iter().filter(|(id, _)| !listed.contains(id)) {
            let verdict = lumisections.get(&(run, ls)).map(|said| said.verdict.name());
            match ranges.last_mut() {
                Some(((of, _), last, before, said))
                    if *of == run
                        && last.checked_add(1) == Some(ls)
                        && *before == note
                        && *said == verdict =>
                {
                    *last = ls;
                }
                _ => ranges.push(((run, ls), ls, note, verdict)),
            }
        }
        let row = |((run, first), last, note, verdict): (Id, u32, &Note, Option<&str>)| {
            let reason =
                if verdict.is_some() { "kept: not flagged" } else { "kept: not judged here" };
            let mut row = review::Row::default();
            let cells = [
                ("run", run.to_string()),
                ("first_ls", first.to_string()),
                ("last_ls", last.to_string()),
                ("decision", note.decision.clone()),
                ("comment", note.comment.clone()),
                ("verdict", verdict.unwrap_or_default().to_owned()),
                ("lumisections", (u64::from(last - first) + 1).to_string()),
                ("reason", reason.to_owned()),
            ];
            review::HEADER.iter().zip(&mut row).for_each(|(name, cell)| {
                *cell = cells
                    .iter()
                    .find(|(of, _)| of == name)
                    .map(|(_, text)| text.clone())
                    .unwrap_or_default();
            });
            row
        };
        ranges.into_iter().map(row).collect()
    }
}

/// A review list that was there before.
#[derive(Clone, Debug)]
pub struct List {
    /// Where it lies.
    pub path: PathBuf,
    bytes: Vec<u8>,
    /// What people wrote into it.
    pub notes: Notes,
}

impl List {
    /// Reads it; none where there is no file, or one that is no review list.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        if !path.is_file() {
            return Ok(None);
        }
        let bytes = fs::read(path).map_err(|error| Error::reading(path, &error))?;
        if !decisions::is_list(path, &review::HEADER) {
            return Ok(None);
        }
        Ok(Some(Self { path: path.to_path_buf(), notes: Notes::read(path)?, bytes }))
    }

    /// Refuses to go on where someone has written into it since it was read.
    pub fn check(&self) -> Result<()> {
        let path = &self.path;
        match fs::read(path) {
            Ok(bytes) if bytes == self.bytes => Ok(()),
            _ => Err(Error::failed(format!(
                "{}: was changed while it was in use, and is left as it is; run the command again",
                path.display()
            ))),
        }
    }
}
