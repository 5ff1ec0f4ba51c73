//! Decisions of people on lumisections, which override all other verdicts.

use super::{
    decision_list::{Entry, entries},
    lines::verdict,
    notes::Notes,
    verdicts::{Id, Source, Verdicts},
};
use crate::{
    error::{Error, Result},
    score::verdict::Verdict,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

/// Decisions of people on lumisections.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decisions {
    said: BTreeMap<Id, (Verdict, String)>,
    /// The decisions and comments as in the file.
    pub notes: Notes,
}

impl Decisions {
    /// Reads lines with a run, an LS or the first and last one, and a decision; lines without a
    /// decision are skipped. The review list has these columns.
    pub fn read(path: &Path) -> Result<Self> {
        let entries = entries(path)?;
        let mut decisions = Self { notes: Notes::new(&entries), ..Self::default() };
        for Entry { place, run, first, last, decision, comment } in
            entries.into_iter().filter(|entry| !entry.decision.is_empty())
        {
            let Some(verdict) = verdict(&decision) else {
                return Err(Error::input(format!(
                    "{place}: found the decision \"{decision}\"; expected good, grey or bad, or nothing"
                )));
            };
            let comment = if comment.is_empty() { comment } else { format!(": {comment}") };
            for ls in first..=last {
                match decisions.said.get(&(run, ls)) {
                    Some((before, other)) if *before != verdict => {
                        let other = other.split(": ").next().unwrap_or(other);
                        return Err(Error::input(format!(
                            "run {run} LS {ls}: {other} decides {}, {place} decides {}",
                            before.name(),
                            verdict.name()
                        )));
                    }
                    Some(_) => {}
                    None => {
                        decisions.said.insert((run, ls), (verdict, format!("{place}{comment}")));
                    }
                }
            }
        }
        Ok(decisions)
    }

    /// Replaces verdicts by decisions. Returns the number of decided verdicts, the number of
    /// changed ones, and the lumisections that do not exist.
    pub fn apply(&self, lumisections: &mut Verdicts) -> (usize, usize, BTreeSet<Id>) {
        let (mut settled, mut changed, mut unknown) = (0, 0, BTreeSet::new());
        for (id, (verdict, place)) in &self.said {
            let Some(said) = lumisections.get_mut(id) else {
                unknown.insert(*id);
                continue;
            };
            settled += 1;
            changed += usize::from(said.verdict != *verdict);
            (said.verdict, said.source, said.reason) =
                (*verdict, Source::Decision, format!("decision ({place})"));
        }
        (settled, changed, unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certify::verdicts::tests::{all_said, file};

    #[test]
    fn decisions_win_and_do_not_contradict_each_other() {
        use Verdict::{Bad, Good, Grey};
        let mut lumisections =
            all_said(&[((1, 1), Bad), ((1, 2), Bad), ((1, 3), Grey), ((1, 4), Good)]);
        let text = "run,first_ls,last_ls,verdict,decision,comment\n1,1,2,bad,good,beam dump\n1,3,3,grey,,\n1,4,9,good,bad,\n1,2,2,bad,good,\n";
        let (settled, changed, unknown) =
            Decisions::read(file(text).path()).unwrap().apply(&mut lumisections);
        assert_eq!((settled, changed, unknown.len()), (3, 3, 5));
        assert_eq!(
            lumisections.values().map(|said| said.verdict).collect::<Vec<_>>(),
            [Good, Good, Grey, Bad]
        );
        assert!(
            lumisections[&(1, 1)].reason.ends_with(":2: beam dump)"),
            "{}",
            lumisections[&(1, 1)].reason
        );
        let path = file("run,ls,decision\n1,2,good\n1,1,bad\n1,2,bad\n");
        let message = Decisions::read(path.path()).unwrap_err().to_string();
        assert!(
            message.contains("run 1 LS 2")
                && message.contains(":2 decides good")
                && message.contains(":4 decides bad"),
            "{message}"
        );
        for (text, part) in [
            ("run,ls,decision\n1,2,fine\n", ":2: found the decision \"fine\""),
            ("run,first_ls,last_ls,decision\n1,5,2,good\n", ":2: found LSs 5 to 2"),
            ("run,ls\n1,2\n", "no column \"decision\""),
        ] {
            let message = Decisions::read(file(text).path()).unwrap_err().to_string();
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
