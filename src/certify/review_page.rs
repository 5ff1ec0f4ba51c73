//! The review list as an HTML page on which decisions can be made and saved.

use super::{
    lines,
    review::{HEADER, ReviewRow},
};
use crate::{
    error::Result,
    files::atomic::write_atomically,
    palette,
    score::{explain::ErrorShare, verdict::Verdict},
};
use std::{fmt::Write as _, path::Path};

/// Escapes text for HTML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

const STYLE: &str = "body{font:14px/1.5 system-ui,sans-serif;margin:2rem;color:var(--ink);background:var(--paper)}\
table{border-collapse:collapse}th,td:nth-child(-n+5){white-space:nowrap}th,td{padding:.3rem .6rem;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}\
th{position:sticky;top:0;background:var(--paper)}tr.bad td:first-child{border-left:4px solid var(--bad)}tr.grey td:first-child{border-left:4px solid var(--grey)}\
button{font:inherit;padding:.3rem .8rem}";

/// Script that saves the decisions on the page in a file for `--decisions`.
const SCRIPT: &str = "document.getElementById('save').onclick=()=>{\
const quote=t=>'\"'+t.replace(/\"/g,'\"\"')+'\"',lines=['run,first_ls,last_ls,decision,comment'];\
document.querySelectorAll('tbody tr').forEach(r=>{const d=r.querySelector('select').value;\
if(d)lines.push([r.dataset.run,r.dataset.first,r.dataset.last,d,quote(r.querySelector('input').value)].join(','))});\
const a=document.createElement('a');a.href=URL.createObjectURL(new Blob([lines.join('\\n')+'\\n'],{type:'text/csv'}));\
a.download='decisions.csv';a.click()}";

/// Writes the page; `summary` are its first lines.
pub fn write_page(path: &Path, title: &str, summary: &[String], rows: &[ReviewRow]) -> Result<()> {
    let at = |row: &ReviewRow, name: &str| {
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
        ErrorShare::TIMES
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
        let decision = lines::verdict(&at(row, "decision"));
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
