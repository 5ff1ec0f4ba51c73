//! What people, or another model, say: of whole runs, before the scores are looked at, and of
//! lumisections, which wins.

use super::{Id, Lumisections, Source};
use crate::{
    data::{json::Object, side_table::Sheet},
    error::{Error, Result, listed, suggestion},
    files,
    score::verdict::Verdict,
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

/// "good", "grey" or "bad"; also 1 and true for good, 0 and false for bad.
pub(super) fn verdict(word: &str) -> Option<Verdict> {
    match word.trim().to_lowercase().as_str() {
        "good" | "1" | "true" => Some(Verdict::Good),
        "grey" | "gray" => Some(Verdict::Grey),
        "bad" | "0" | "false" => Some(Verdict::Bad),
        _ => None,
    }
}

/// A whole file, without a byte order mark.
fn read(path: &Path) -> Result<Vec<u8>> {
    files::regular(path)?;
    let bytes = std::fs::read(path).map_err(|error| Error::reading(path, &error))?;
    Ok(bytes.strip_prefix(b"\xef\xbb\xbf").map(<[u8]>::to_vec).unwrap_or(bytes))
}

/// The rows of a table by the names of its columns, each with its line.
struct Lines {
    header: Vec<String>,
    records: Vec<(String, csv::StringRecord)>,
}

impl Lines {
    fn read(path: &Path) -> Result<Self> {
        let sheet = Sheet::open(path)?;
        let header = sheet.header().to_vec();
        let mut records = vec![];
        sheet.all(|place, fields| {
            records.push((place.to_string(), csv::StringRecord::from(fields.to_vec())));
            Ok(())
        })?;
        Ok(Self { header, records })
    }

    /// The column of one of some names. Several such columns must say the same.
    fn find(&self, path: &Path, names: &[&str]) -> Result<Option<usize>> {
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

    fn column(&self, path: &Path, names: &[&str]) -> Result<usize> {
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

/// A line of a list of decisions.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    /// Where it is.
    pub place: String,
    /// The run.
    pub run: u32,
    /// The first LS.
    pub first: u32,
    /// The last.
    pub last: u32,
    /// As it was typed, or empty.
    pub decision: String,
    /// As it was typed, or empty.
    pub comment: String,
}

/// The names of the columns of a list of decisions: of each, one must be there, but for the last LS
/// and the comment.
const RUN: [&str; 2] = ["run", "run_number"];
const FIRST: [&str; 3] = ["first_ls", "ls", "ls_number"];

/// Whether a file is a list of decisions that has no columns but these.
pub(super) fn is_list(path: &Path, columns: &[&str]) -> bool {
    let Ok(lines) = Lines::read(path) else { return false };
    let has = |names: &[&str]| lines.header.iter().any(|name| names.contains(&name.as_str()));
    let known = |name: &String| {
        RUN.contains(&name.as_str())
            || FIRST.contains(&name.as_str())
            || columns.contains(&name.as_str())
    };
    has(&RUN) && has(&FIRST) && has(&["decision"]) && lines.header.iter().all(known)
}

/// The lines of a list of decisions that have a decision, or with `commented` a decision or a
/// comment.
pub(super) fn entries(path: &Path, commented: bool) -> Result<Vec<Entry>> {
    let lines = Lines::read(path)?;
    let run = lines.column(path, &RUN)?;
    let first = lines.column(path, &FIRST)?;
    let last = lines.find(path, &["last_ls"])?.unwrap_or(first);
    let (decision, comment) = (lines.column(path, &["decision"])?, lines.find(path, &["comment"])?);
    let mut entries = vec![];
    for (place, record) in lines.records {
        let field = |at: usize| record.get(at).unwrap_or_default();
        let comment = comment.map(field).unwrap_or_default();
        if field(decision).is_empty() && (comment.is_empty() || !commented) {
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

/// What is said of runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Runs {
    /// By run: the verdict, and where it says so.
    said: BTreeMap<u32, (Verdict, String)>,
}

/// How many lumisections a file of runs speaks of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spoken {
    /// Those of good and bad runs, whose scores are not looked at.
    pub settled: usize,
    /// Those of good runs that scores call grey or bad.
    pub overruled: usize,
    /// Those of grey runs.
    pub grey: usize,
    /// Those of runs that it does not name.
    pub unnamed: usize,
}

impl Runs {
    /// Reads `run,verdict` or `run,score` lines, or a JSON of runs with a word or a score each. A
    /// score up to the first of `cuts` is good, one above the second bad.
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
                "{place}: gives a score; which are good and which bad is said by --set certify.run_scores=[LOW,HIGH]"
            ))),
        };
        let wrong = |place: &str, found: &str| {
            Error::input(format!("{place}: found \"{found}\"; expected good, grey or bad"))
        };
        let bytes = read(path)?;
        if bytes.trim_ascii_start().starts_with(b"{") {
            let json: Object<Value> = serde_json::from_slice(&bytes).map_err(|error| {
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

    /// Lays them over what scores say: lumisections of good runs are good where they are evaluated
    /// at all, those of bad runs bad. Those of grey runs, and of runs that are not named, keep what
    /// their scores say.
    pub fn apply(&self, lumisections: &mut Lumisections) -> Spoken {
        let mut spoken = Spoken::default();
        for ((run, _), said) in lumisections.iter_mut() {
            match self.said.get(run) {
                None => spoken.unnamed += 1,
                Some((Verdict::Grey | Verdict::NotEvaluated, _)) => spoken.grey += 1,
                Some((verdict, place)) => {
                    spoken.settled += 1;
                    // What is empty in a good run is not good for that.
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

/// What people decided of lumisections.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decisions {
    said: BTreeMap<Id, (Verdict, String)>,
}

/// A range of a decision is not longer than any run is.
const LONGEST: u32 = 100_000;

impl Decisions {
    /// Reads lines with a run, an LS or the first and last one, and a decision; those without one
    /// are skipped. The list that is written for review has these columns.
    pub fn read(path: &Path) -> Result<Self> {
        let mut decisions = Self::default();
        for Entry { place, run, first, last, decision, comment } in entries(path, false)? {
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

    /// Lays them over everything else. Returns how many verdicts they settle, how many they change,
    /// and the lumisections that are not there.
    pub fn apply(&self, lumisections: &mut Lumisections) -> (usize, usize, BTreeSet<Id>) {
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
    use crate::certify::Lumisection;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::Builder::new().suffix(".csv").tempfile().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    fn lumisections(said: &[(Id, Verdict)]) -> Lumisections {
        let one = |verdict| Lumisection {
            verdict,
            reason: String::new(),
            source: Source::Autoencoder,
            score: None,
            p_value: None,
            experiment: None,
            channels: vec![],
            opinions: vec![],
            luminosity: None,
            floored: false,
        };
        said.iter().map(|(id, verdict)| (*id, one(*verdict))).collect()
    }

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
        let mut lumisections = lumisections(&said);
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
            "what is not evaluated stays so"
        );
    }

    #[test]
    fn decisions_win_and_do_not_contradict_each_other() {
        use Verdict::{Bad, Good, Grey};
        let mut lumisections =
            lumisections(&[((1, 1), Bad), ((1, 2), Bad), ((1, 3), Grey), ((1, 4), Good)]);
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
