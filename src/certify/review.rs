//! The review list of lumisections, to be filled in by a person. Entries of people are kept when it
//! is written again.

use super::{
    decision_list::entries_of_list,
    notes::{Note, Notes},
    stretches::Stretch,
    verdicts::{Id, Verdicts},
};
use crate::{
    error::{Error, Result},
    files::atomic::write_atomically,
    score::explain::Explanation,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Explanations of the worst lumisection of each stretch, channel by channel.
pub type Explanations = BTreeMap<Id, Vec<Explanation>>;

/// Number of explaining features with a single channel; with several channels, one per channel.
const MOST_FEATURES: usize = 3;

/// The columns of the list; `lumisift certify --decisions` reads the decisions and comments back.
pub const HEADER: [&str; 17] = [
    "run",
    "first_ls",
    "last_ls",
    "decision",
    "comment",
    "verdict",
    "source",
    "lumisections",
    "worst_ls",
    "score",
    "p_value",
    "experiment",
    "channels",
    "contributions",
    "before",
    "after",
    "reason",
];

/// A line of the list, in the order of [`HEADER`].
pub type ReviewRow = [String; 17];

/// Index of the decision in a line.
pub const DECISION: usize = 3;

/// The list as rows of text. `decision` and `comment` are for a person to fill in; their values
/// come from `notes`.
pub fn rows(
    lumisections: &Verdicts,
    stretches: &[Stretch],
    notes: &Notes,
    names: &[String],
    explanations: &Explanations,
) -> Vec<ReviewRow> {
    let row = |stretch: &Stretch| {
        let worst = &lumisections[&(stretch.run, stretch.worst)];
        let number =
            |number: Option<f64>| number.map(|number| format!("{number:.6}")).unwrap_or_default();
        let beside = |ls: Option<u32>| {
            let Some((ls, said)) =
                ls.and_then(|ls| Some((ls, lumisections.get(&(stretch.run, ls))?)))
            else {
                return "none".to_owned();
            };
            let score = said.score.map(|score| format!(", score {score:.6}")).unwrap_or_default();
            format!("LS {ls} {}{score}", said.verdict.name())
        };
        let note = notes.get((stretch.run, stretch.first)).cloned().unwrap_or_default();
        [
            stretch.run.to_string(),
            stretch.first.to_string(),
            stretch.last.to_string(),
            note.decision,
            note.comment,
            stretch.verdict.name().to_owned(),
            worst.source.name().to_owned(),
            (stretch.last - stretch.first + 1).to_string(),
            stretch.worst.to_string(),
            number(worst.score),
            worst.p_value.map(p_value).unwrap_or_default(),
            worst.experiment.map(|at| names[at].clone()).unwrap_or_default(),
            worst.channels.join(" "),
            explanations
                .get(&(stretch.run, stretch.worst))
                .map(|told| contributions(told, &worst.channels))
                .unwrap_or_default(),
            beside(stretch.first.checked_sub(1)),
            beside(stretch.last.checked_add(1)),
            worst.reason.clone(),
        ]
    };
    stretches.iter().map(row).collect()
}

/// Rows of the list for notes on lumisections outside its stretches, so that no note is lost.
pub fn kept_rows(notes: &Notes, lumisections: &Verdicts, stretches: &[Stretch]) -> Vec<ReviewRow> {
    let listed: BTreeSet<Id> = stretches
        .iter()
        .flat_map(|stretch| (stretch.first..=stretch.last).map(|ls| (stretch.run, ls)))
        .collect();
    let mut ranges: Vec<(Id, u32, &Note, Option<&str>)> = vec![];
    for ((run, ls), note) in notes.iter().filter(|(id, _)| !listed.contains(id)) {
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
        let reason = if verdict.is_some() { "kept: not flagged" } else { "kept: not judged here" };
        let mut row = ReviewRow::default();
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
        HEADER.iter().zip(&mut row).for_each(|(name, cell)| {
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

/// Formats a p-value.
fn p_value(p: f64) -> String {
    if p >= 0.001 { format!("{p:.4}") } else { format!("{p:.1e}") }
}

/// "bin_7 31 % (12 ×), bin_8 22 % (8.0 ×)": shares of the error, and the error in units of the mean
/// error in training. With several channels, only the responsible ones, each with its name.
fn contributions(told: &[Explanation], channels: &[String]) -> String {
    let most = if told.len() == 1 { MOST_FEATURES } else { 1 };
    let of = |explanation: &Explanation| {
        let features = explanation.features.iter().take(most).map(|share| {
            format!("{} {:.0} % ({})", share.place(), 100.0 * share.share, share.times())
        });
        let features = features.collect::<Vec<_>>().join(", ");
        if told.len() == 1 { features } else { format!("{}: {features}", explanation.channel) }
    };
    told.iter()
        .filter(|explanation| told.len() == 1 || channels.contains(&explanation.channel))
        .map(of)
        .collect::<Vec<_>>()
        .join("; ")
}

/// Writes the list as CSV; the reason for an empty list is a comment below the header.
pub fn write_list(path: &Path, rows: &[ReviewRow], empty: Option<&str>) -> Result<()> {
    let failed =
        |error: &dyn std::fmt::Display| Error::failed(format!("{}: {error}", path.display()));
    let mut writer = csv::Writer::from_writer(vec![]);
    writer.write_record(HEADER).map_err(|error| failed(&error))?;
    rows.iter().try_for_each(|row| writer.write_record(row)).map_err(|error| failed(&error))?;
    let mut bytes = writer.into_inner().map_err(|error| failed(&error))?;
    if let Some(empty) = empty.filter(|_| rows.is_empty()) {
        bytes.extend(format!("# {}\n", empty.replace(['\n', '\r'], " ")).bytes());
    }
    write_atomically(path, &bytes)
}

/// A review list of an earlier run.
#[derive(Clone, Debug)]
pub struct ReviewList {
    /// Its path.
    pub path: PathBuf,
    bytes: Vec<u8>,
    /// The notes in it.
    pub notes: Notes,
}

impl ReviewList {
    /// Reads it; `None` if the file does not exist or is not a review list.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        if !path.is_file() {
            return Ok(None);
        }
        let bytes = fs::read(path).map_err(|error| Error::reading(path, error))?;
        let entries = entries_of_list(path, &HEADER)?;
        Ok(entries.map(|entries| Self {
            path: path.to_path_buf(),
            notes: Notes::new(&entries),
            bytes,
        }))
    }

    /// Fails if its notes have changed since it was read.
    pub fn check(&self) -> Result<()> {
        let path = &self.path;
        match fs::read(path) {
            Ok(bytes) if bytes == self.bytes => Ok(()),
            _ => Err(Error::failed(format!(
                "{}: changed while this command ran, and was not overwritten; run the command again",
                path.display()
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        certify::{
            decisions::Decisions,
            review_page::write_page,
            stretches::flagged,
            verdicts::{LumisectionVerdict, Source},
        },
        score::verdict::Verdict,
    };

    #[test]
    fn the_list_is_read_again_and_the_page_shows_text_as_text() {
        let said = |verdict: Verdict, reason: &str| LumisectionVerdict {
            verdict,
            reason: reason.into(),
            source: Source::Autoencoder,
            score: Some(0.5),
            p_value: Some(0.00002),
            experiment: None,
            channels: vec!["a/b".into()],
            opinions: vec![],
            luminosity: None,
            floored: false,
        };
        let verdicts =
            [Verdict::Good, Verdict::Bad, Verdict::Bad, Verdict::NotEvaluated, Verdict::Grey];
        let mut lumisections: Verdicts = verdicts
            .into_iter()
            .enumerate()
            .map(|(i, verdict)| ((7, i as u32 + 1), said(verdict, "<script>, \"quoted\"")))
            .collect();
        let mut rows = rows(
            &lumisections,
            &flagged(&lumisections, &Notes::default()),
            &Notes::default(),
            &[],
            &Explanations::new(),
        );
        assert_eq!(
            rows.iter().map(|row| row[..3].join(" ")).collect::<Vec<_>>(),
            ["7 2 3", "7 5 5"]
        );
        assert_eq!(
            (rows[0][10].as_str(), rows[0][14].as_str(), rows[0][15].as_str()),
            ("2.0e-5", "LS 1 good, score 0.500000", "LS 4 not evaluated, score 0.500000")
        );
        let folder = tempfile::tempdir().unwrap();
        let (list, page) = (folder.path().join("list.csv"), folder.path().join("page.html"));
        rows[0][3] = "good".into();
        write_list(&list, &rows, None).unwrap();
        assert_eq!(Decisions::read(&list).unwrap().apply(&mut lumisections).0, 2);
        write_page(&page, "a <b>", &["all & more".to_owned()], &rows).unwrap();
        let page = std::fs::read_to_string(page).unwrap();
        assert!(
            page.contains("a &lt;b&gt;")
                && page.contains("all &amp; more")
                && page.contains("&lt;script&gt;, &quot;quoted&quot;")
        );
        assert_eq!(page.matches("<script>").count(), 1);
    }

    #[test]
    fn an_empty_list_says_why_and_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let list = folder.path().join("list.csv");
        write_list(&list, &[], Some("nothing to review:\nnone is above the cuts")).unwrap();
        let text = std::fs::read_to_string(&list).unwrap();
        assert_eq!(
            text.lines().collect::<Vec<_>>(),
            [HEADER.join(",").as_str(), "# nothing to review: none is above the cuts"]
        );
        assert_eq!(Decisions::read(&list).unwrap(), Decisions::default());
    }
}
