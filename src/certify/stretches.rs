//! Flagged lumisections (grey and bad) as stretches of neighbours.

use super::{notes::Notes, verdicts::Verdicts};
use crate::score::verdict::Verdict;

/// Neighbouring lumisections of one verdict, source and note.
#[derive(Clone, Debug, PartialEq)]
pub struct Stretch {
    /// Their run.
    pub run: u32,
    /// The first LS.
    pub first: u32,
    /// The last LS.
    pub last: u32,
    /// Their verdict.
    pub verdict: Verdict,
    /// The LS with the highest score.
    pub worst: u32,
}

/// Joins flagged lumisections (grey and bad) to stretches of equal verdict, source and note.
pub fn flagged(lumisections: &Verdicts, notes: &Notes) -> Vec<Stretch> {
    let mut stretches: Vec<Stretch> = vec![];
    for ((run, ls), said) in
        lumisections.iter().filter(|(_, said)| matches!(said.verdict, Verdict::Grey | Verdict::Bad))
    {
        let source = |stretch: &Stretch| lumisections[&(stretch.run, stretch.last)].source;
        match stretches.last_mut() {
            Some(before)
                if before.run == *run
                    && before.last.checked_add(1) == Some(*ls)
                    && before.verdict == said.verdict
                    && source(before) == said.source
                    && notes.get((*run, before.last)) == notes.get((*run, *ls)) =>
            {
                before.last = *ls;
                let score = |ls: u32| lumisections[&(*run, ls)].score.unwrap_or(f64::NEG_INFINITY);
                if score(*ls) > score(before.worst) {
                    before.worst = *ls;
                }
            }
            _ => stretches.push(Stretch {
                run: *run,
                first: *ls,
                last: *ls,
                verdict: said.verdict,
                worst: *ls,
            }),
        }
    }
    stretches
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certify::verdicts::tests::scored;

    #[test]
    fn stretches_are_of_one_verdict() {
        let verdicts = [Verdict::Bad, Verdict::Bad, Verdict::Grey, Verdict::Good, Verdict::Bad];
        let lumisections: Verdicts = verdicts
            .iter()
            .enumerate()
            .map(|(i, verdict)| ((7, i as u32 + 1), scored(*verdict, i as f64)))
            .chain([((8, 6), scored(Verdict::Bad, 0.0))])
            .collect();
        let found: Vec<(u32, u32, u32, u32)> = flagged(&lumisections, &Notes::default())
            .iter()
            .map(|stretch| (stretch.run, stretch.first, stretch.last, stretch.worst))
            .collect();
        assert_eq!(found, [(7, 1, 2, 2), (7, 3, 3, 3), (7, 5, 5, 5), (8, 6, 6, 6)]);
    }
}
