//! What a person should look at: a list to fill in, and the same as a page.

use super::{Id, Lumisections, decisions, notes::Notes, outputs::Stretch};
use crate::{
    error::{Error, Result},
    files::atomic::write_atomically,
    report::{
        explain::{Explanation, Share},
        plots::palette,
    },
    score::verdict::Verdict,
};
use std::{collections::BTreeMap, fmt::Write as _, path::Path};

/// What explains the worst lumisection of a stretch, channel by channel.
pub type Explanations = BTreeMap<Id, Vec<Explanation>>;

/// Features that are told of the only channel; of several one each.
const MOST_FEATURES: usize = 3;

/// The columns of the list; `lumisift certify --decisions` reads the first four and the comment
/// again.
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
pub type Row = [String; 17];

/// Where a line has its decision.
pub const DECISION: usize = 3;

/// The list as rows of text; `decision` and `comment` are for a person to fill in, and are what
/// `notes` say already.
pub fn rows(
    lumisections: &Lumisections,
    stretches: &[Stretch],
    notes: &Notes,
    names: &[String],
    explanations: &Explanations,
) -> Vec<Row> {
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

/// A p-value for people.
fn p_value(p: f64) -> String {
    if p >= 0.001 { format!("{p:.4}") } else { format!("{p:.1e}") }
}

/// "bin_7 31 % (12 ×), bin_8 22 % (8.0 ×)": shares of the error, and how many times the mean error
/// in training; of several channels those that are responsible, each with its name.
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

/// Writes the list as CSV; one without rows says why it is empty, as a comment below the header.
pub fn write_list(path: &Path, rows: &[Row], empty: Option<&str>) -> Result<()> {
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

/// Text that stands in HTML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

const STYLE: &str = "body{font:14px/1.5 system-ui,sans-serif;margin:2rem;color:var(--ink);background:var(--paper)}\
table{border-collapse:collapse}th,td:nth-child(-n+5){white-space:nowrap}th,td{padding:.3rem .6rem;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}\
th{position:sticky;top:0;background:var(--paper)}tr.bad td:first-child{border-left:4px solid var(--bad)}tr.grey td:first-child{border-left:4px solid var(--grey)}\
button{font:inherit;padding:.3rem .8rem}";

/// Puts the decisions that were made on the page into a file that `--decisions` reads.
const SCRIPT: &str = "document.getElementById('save').onclick=()=>{\
const quote=t=>'\"'+t.replace(/\"/g,'\"\"')+'\"',lines=['run,first_ls,last_ls,decision,comment'];\
document.querySelectorAll('tbody tr').forEach(r=>{const d=r.querySelector('select').value;\
if(d)lines.push([r.dataset.run,r.dataset.first,r.dataset.last,d,quote(r.querySelector('input').value)].join(','))});\
const a=document.createElement('a');a.href=URL.createObjectURL(new Blob([lines.join('\\n')+'\\n'],{type:'text/csv'}));\
a.download='decisions.csv';a.click()}";

/// Writes the list as a page on which decisions can be made and saved; `summary` are its first
/// lines.
pub fn write_page(path: &Path, title: &str, summary: &[String], rows: &[Row]) -> Result<()> {
    let at = |row: &Row, name: &str| {
        HEADER
            .iter()
            .position(|other| *other == name)
            .map(|at| escaped(&row[at]))
            .unwrap_or_default()
    };
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\n<title>{0}</title>\n<style>{2}\n{STYLE}</style>\n\
         <h1>{0}</h1>\n{1}<p><button id=\"save\">Save decisions.csv</button> for <code>lumisift certify … --decisions decisions.csv</code></p>\n\
         <p>contributions: %: share of the error of the LS with the highest score; {3}</p>\n\
         <table><thead><tr><th>run<th>LSs<th>verdict<th>score<th>p-value<th>channels<th>contributions<th>before<th>after<th>reason<th>decision<th>comment</thead><tbody>\n",
        escaped(title),
        summary.iter().map(|line| format!("<p>{}</p>\n", escaped(line))).collect::<String>(),
        palette::css(),
        Share::TIMES
    );
    for row in rows {
        let (first, last) = (at(row, "first_ls"), at(row, "last_ls"));
        let range = if first == last { first.clone() } else { format!("{first}–{last}") };
        let experiment = at(row, "experiment");
        let channels = [experiment, at(row, "channels")]
            .into_iter()
            .filter(|text| !text.is_empty())
            .collect::<Vec<_>>()
            .join(": ");
        let decision = decisions::verdict(&at(row, "decision"));
        let options: String = [Verdict::Good, Verdict::Grey, Verdict::Bad]
            .map(|verdict| {
                format!(
                    "<option{}>{}",
                    if decision == Some(verdict) { " selected" } else { "" },
                    verdict.name()
                )
            })
            .concat();
        let _ = writeln!(
            page,
            "<tr class=\"{verdict}\" data-run=\"{run}\" data-first=\"{first}\" data-last=\"{last}\"><td>{run}<td>{range}<td>{verdict}<td>{}<td>{}<td>{channels}<td>{}<td>{}<td>{}<td>{}\
             <td><select aria-label=\"decision\"><option>{options}</select><td><input aria-label=\"comment\" value=\"{}\">",
            at(row, "score"),
            at(row, "p_value"),
            at(row, "contributions"),
            at(row, "before"),
            at(row, "after"),
            at(row, "reason"),
            at(row, "comment"),
            verdict = at(row, "verdict"),
            run = at(row, "run"),
        );
    }
    let _ = writeln!(page, "</tbody></table>\n<script>{SCRIPT}</script>\n</html>");
    write_atomically(path, page.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certify::{Lumisection, Source, decisions::Decisions, outputs::flagged};

    #[test]
    fn the_list_is_read_again_and_the_page_shows_text_as_text() {
        let said = |verdict: Verdict, reason: &str| Lumisection {
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
        let mut lumisections: Lumisections = verdicts
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
