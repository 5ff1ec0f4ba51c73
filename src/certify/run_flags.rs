//! Verdicts on whole runs, which override scores in good and bad runs.

use super::{
    lines::{Lines, RUN, verdict},
    verdicts::{Source, Verdicts},
};
use crate::{
    data::{json::Object, read::text::without_mark},
    error::{Error, Result},
    files,
    score::verdict::Verdict,
};
use serde_json::Value;
use std::{collections::BTreeMap, path::Path};

/// Verdicts on runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Runs {
    /// By run: the verdict, and its line in the file.
    said: BTreeMap<u32, (Verdict, String)>,
}

/// Numbers of lumisections by the verdict on their run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spoken {
    /// In good and bad runs, whose scores do not count.
    pub settled: usize,
    /// In good runs, but grey or bad by score.
    pub overruled: usize,
    /// In grey runs.
    pub grey: usize,
    /// In runs that the file does not name.
    pub unnamed: usize,
}

impl Runs {
    /// Reads `run,verdict` or `run,score` lines, or a JSON of runs with a verdict or a score each.
    /// A score up to the first of `cuts` is good, one above the second is bad.
    pub fn read(path: &Path, cuts: Option<(f64, f64)>) -> Result<Self> {
        let mut runs = Self::default();
        let scored = |score: f64, place: &str| match cuts {
            Some((good, bad)) if score.is_finite() => Ok(match () {
                () if score > bad => Verdict::Bad,
                () if score > good => Verdict::Grey,
                () => Verdict::Good,
            }),
            Some(_) => {
                Err(Error::input(format!("{place}: the score {score} is not a finite number")))
            }
            None => Err(Error::input(format!(
                "{place}: gives a score; expected --set certify.run_scores=[LOW,HIGH], which separates good, grey and bad"
            ))),
        };
        let wrong = |place: &str, found: &str| {
            Error::input(format!("{place}: found \"{found}\"; expected good, grey or bad"))
        };
        files::regular(path)?;
        let bytes = std::fs::read(path).map_err(|error| Error::reading(path, error))?;
        let bytes = without_mark(&bytes);
        if bytes.trim_ascii_start().starts_with(b"{") {
            let json: Object<Value> = serde_json::from_slice(bytes).map_err(|error| {
                Error::input(format!("{}: not a JSON of runs: {error}", path.display()))
            })?;
            for (run, said) in json.0 {
                let place = format!("{}, run {run}", path.display());
                let number = run.trim().parse().map_err(|_| {
                    Error::input(format!("{}: \"{run}\" is not a run number", path.display()))
                })?;
                let verdict = match &said {
                    Value::Number(score) => scored(score.as_f64().unwrap_or(f64::NAN), &place)?,
                    Value::Bool(good) => verdict(&good.to_string()).unwrap_or(Verdict::Bad),
                    Value::String(word) => verdict(word).ok_or_else(|| wrong(&place, word))?,
                    other => return Err(wrong(&place, &other.to_string())),
                };
                runs.add(number, verdict, place)?;
            }
            return Ok(runs);
        }
        let lines = Lines::read(path)?;
        let run = lines.column(path, &RUN)?;
        let (word, score) =
            (lines.find(path, &["verdict", "flag"])?, lines.find(path, &["score"])?);
        let word = match (word, score) {
            (None, None) => Some(lines.column(path, &["verdict"])?),
            (word, _) => word,
        };
        for (place, record) in &lines.records {
            let field = |at: usize| record.get(at).unwrap_or_default();
            let number = field(run).parse().map_err(|_| {
                Error::input(format!("{place}: \"{}\" is not a run number", field(run)))
            })?;
            let verdict = match (word, score) {
                (Some(word), _) => verdict(field(word)).ok_or_else(|| wrong(place, field(word)))?,
                (None, score) => {
                    let text = field(score.unwrap_or_default());
                    scored(
                        text.parse().map_err(|_| {
                            Error::input(format!("{place}: \"{text}\" is not a score"))
                        })?,
                        place,
                    )?
                }
            };
            runs.add(number, verdict, place.clone())?;
        }
        Ok(runs)
    }

    fn add(&mut self, run: u32, verdict: Verdict, place: String) -> Result<()> {
        match self.said.get(&run) {
            Some((before, other)) if *before != verdict => Err(Error::input(format!(
                "run {run}: {other} says {}, {place} says {}",
                before.name(),
                verdict.name()
            ))),
            Some(_) => Ok(()),
            None => {
                self.said.insert(run, (verdict, place));
                Ok(())
            }
        }
    }

    /// Applies verdicts on runs: evaluated lumisections of good runs become good, all of bad runs
    /// bad. Those of grey runs and of unnamed runs keep the verdicts of their scores.
    pub fn apply(&self, lumisections: &mut Verdicts) -> Spoken {
        let mut spoken = Spoken::default();
        for ((run, _), said) in lumisections.iter_mut() {
            match self.said.get(run) {
                None => spoken.unnamed += 1,
                Some((Verdict::Grey | Verdict::NotEvaluated, _)) => spoken.grey += 1,
                Some((verdict, place)) => {
                    spoken.settled += 1;
                    // A lumisection of a good run that was not evaluated does not become good.
                    if *verdict == Verdict::Bad || said.verdict != Verdict::NotEvaluated {
                        let mut reason = format!("{} run ({place})", verdict.name());
                        if *verdict == Verdict::Good
                            && matches!(said.verdict, Verdict::Grey | Verdict::Bad)
                        {
                            spoken.overruled += 1;
                            reason = format!(
                                "{reason}, although {}: {}",
                                said.verdict.name(),
                                said.reason
                            );
                        }
                        (said.verdict, said.source, said.reason) = (*verdict, Source::Run, reason);
                    }
                }
            }
        }
        spoken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certify::verdicts::tests::{all_said, file};

    #[test]
    fn runs_are_read_as_words_and_as_scores() {
        let cuts = Some((0.2, 0.8));
        let verdicts = |text: &str| {
            Runs::read(file(text).path(), cuts)
                .unwrap()
                .said
                .into_values()
                .map(|(verdict, _)| verdict)
                .collect::<Vec<_>>()
        };
        let expected = [Verdict::Good, Verdict::Grey, Verdict::Bad];
        assert_eq!(verdicts("run,flag\n1,GOOD\n2,grey\n3,Bad\n"), expected);
        assert_eq!(verdicts("\u{feff}run_number, score\n3,0.81\n1,0.2\n2,0.8\n"), expected);
        assert_eq!(verdicts("{\"1\": \"good\", \"2\": 0.5, \"3\": false}"), expected);
        for (text, part) in [
            ("run,flag\n1,fine\n", ":2: found \"fine\"; expected good, grey or bad"),
            ("run,vedict\n1,good\n", "no column \"verdict\" (did you mean \"vedict\"?)"),
            ("run,flag\nx,good\n", ":2: \"x\" is not a run number"),
            ("run,flag\n1,good\n1,bad\n", "run 1: "),
            ("{\"1\": []}", "run 1: found \"[]\""),
            ("{\"1\": \"good\", \"1\": \"bad\"}", "the key \"1\" is there twice"),
            (
                "run,verdict,verdict\n1,good,good\n2,good,bad\n",
                "columns 2 \"verdict\" and 3 \"verdict\" differ",
            ),
            ("run,run_number,verdict\n1,2,good\n", "columns 1 \"run\" and 2 \"run_number\" differ"),
            ("run,flag\n1,good,bad\n", ":2: 3 fields where the header has 2"),
            ("run,flag,note\n1,good,\"sic\n2,bad,x\n", ":2: a quote is opened and not closed"),
        ] {
            let message = Runs::read(file(text).path(), None).unwrap_err().to_string();
            assert!(message.contains(part), "{text}: {message}");
        }
        assert_eq!(
            verdicts("run;run_number;flag;note\n1;1;good;\n2;2;grey;a, b\n3;3;bad;\n"),
            expected,
            "columns that are equal, and semicolons"
        );
        assert!(
            Runs::read(file("run,score\n1,0.1\n").path(), None)
                .unwrap_err()
                .to_string()
                .contains("certify.run_scores")
        );
    }

    #[test]
    fn scores_are_looked_at_in_grey_runs_only() {
        use Verdict::{Bad, Good, Grey, NotEvaluated};
        let said = [
            ((1, 1), Bad),
            ((1, 2), NotEvaluated),
            ((2, 1), Good),
            ((2, 2), NotEvaluated),
            ((3, 1), Bad),
            ((4, 1), Grey),
        ];
        let mut lumisections = all_said(&said);
        let spoken = Runs::read(file("run,flag\n1,good\n2,bad\n3,grey\n").path(), None)
            .unwrap()
            .apply(&mut lumisections);
        assert_eq!(spoken, Spoken { settled: 4, overruled: 1, grey: 1, unnamed: 1 });
        let after: Vec<Verdict> = lumisections.values().map(|said| said.verdict).collect();
        assert_eq!(after, [Good, NotEvaluated, Bad, Bad, Bad, Grey]);
        assert_eq!(lumisections[&(1, 1)].source, Source::Run);
        assert_eq!(
            lumisections[&(1, 2)].source,
            Source::Autoencoder,
            "a lumisection that is not evaluated stays so"
        );
    }
}
