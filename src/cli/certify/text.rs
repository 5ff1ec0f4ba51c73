//! A certification as text for the terminal.

use crate::{
    certify::{
        against::{Against, RunDifference},
        cuts::{CalibratedCut, Cuts, RowShare},
        notes::Notes,
        review::{self, Explanations},
        run::Certification,
        stretches::Stretch,
        summary::{Luminosity, PerVerdict},
        verdicts::Verdicts,
    },
    error::listed,
    report::terminal,
    score::verdict::Verdict,
    text::count,
};
use console::style;
use std::fmt::Write as _;

/// A cut as text.
fn cut(cut: &CalibratedCut) -> String {
    let Some(score) = cut.score else {
        return format!("nothing is {}: no cut has {}", cut.above.name(), cut.rule);
    };
    let share = |share: &RowShare, what: &str| {
        let percent = |share: f64| format!("{:.2}", 100.0 * share);
        format!(
            "{} of {} {what}: {} % ({} to {} %)",
            share.rows,
            share.of,
            percent(share.share),
            percent(share.interval.0),
            percent(share.interval.1)
        )
    };
    let parts = [
        cut.false_alarms.map(|s| share(&s, "good above")),
        cut.efficiency.map(|s| share(&s, "bad above")),
        cut.purity.map(|s| share(&s, "above are bad")),
    ];
    let parts: String =
        parts.into_iter().flatten().map(|part| format!("\n             {part}")).collect();
    format!("{} above {score:.6} ({}){parts}", cut.above.name(), cut.rule)
}

fn cuts_text(cuts: &Cuts) -> String {
    let rows = format!("{} {} of {}", cuts.rows, cuts.sample, count(cuts.runs, "run"));
    let counted = if cuts.block == 1 {
        String::new()
    } else {
        format!(", {} blocks of {} LSs", cuts.blocks, cuts.block)
    };
    let bad =
        if cuts.bad_rows > 0 { format!(", {} bad ones", cuts.bad_rows) } else { String::new() };
    format!(
        "{}\n           {}\n           calibrated on {rows}{counted}{bad}",
        cut(&cuts.grey),
        cut(&cuts.bad)
    )
}

/// Maximum numbers of stretches and of differing runs shown.
const MOST_SHOWN: usize = 20;
const MOST_RUNS: usize = 10;

/// A certification as text.
pub fn text(certification: &Certification, width: u16) -> String {
    let Certification { summary, stretches, lumisections, explanations, .. } = certification;
    let names: Vec<String> = summary.experiments.iter().map(|judge| judge.name.clone()).collect();
    let mut text = String::new();
    for rate in &summary.rates_not_met {
        let _ = writeln!(
            text,
            "{}     {}",
            style("notice").yellow().bold(),
            terminal::printable(&rate.text)
        );
    }
    let _ = writeln!(text, "verdicts   {}", style(summary.verdicts()).bold());
    if !summary.not_evaluated.is_empty() {
        let reasons: Vec<String> = summary
            .not_evaluated
            .iter()
            .map(|(reason, count)| format!("{count} {reason}"))
            .collect();
        let _ = writeln!(
            text,
            "           not evaluated: {}",
            listed(reasons.iter().map(String::as_str))
        );
    }
    if let Some(Luminosity { quantity, sum, unknown }) = &summary.luminosity {
        let total = sum.good + sum.grey + sum.bad + sum.not_evaluated;
        // The sum of nothing is −0.
        let part = |part: f64| format!("{:.2} %", 0.0 + 100.0 * part / total);
        let unknown = if *unknown > 0 {
            format!("; not known for {}", count(*unknown, "lumisection"))
        } else {
            String::new()
        };
        let (good, grey, bad, not) =
            (part(sum.good), part(sum.grey), part(sum.bad), part(sum.not_evaluated));
        let _ = writeln!(
            text,
            "luminosity {good} good, {grey} grey, {bad} bad, {not} not evaluated of {total:.6} ({quantity}){unknown}"
        );
    }
    for judge in &summary.experiments {
        let of = if names.len() > 1 {
            format!(
                "{}: {} lumisections, {} missing\n           ",
                judge.name, judge.lumisections, judge.missing
            )
        } else {
            String::new()
        };
        if let Some(cuts) = judge.cuts.last().filter(|_| summary.joint.is_none()) {
            let _ = writeln!(text, "cuts       {of}{}", cuts_text(cuts));
        }
    }
    if let Some(cuts) = &summary.joint {
        let _ = writeln!(text, "cuts       {}", cuts_text(cuts));
    }
    let PerVerdict { good, grey, bad, not_evaluated } = summary.above_threshold;
    let flagged_by_threshold = summary.above_threshold.sum();
    if flagged_by_threshold > 0 {
        let (of, not) = (
            if names.len() == 1 { "the" } else { "an" },
            if not_evaluated > 0 {
                format!(", {not_evaluated} not evaluated")
            } else {
                String::new()
            },
        );
        let flagged = count(flagged_by_threshold, "lumisection");
        let _ = writeln!(
            text,
            "threshold  {flagged} above {of} experiment's own threshold: {good} good, {grey} grey, {bad} bad{not}"
        );
    }
    if let Some(expected) = &summary.false_discoveries {
        let _ = writeln!(
            text,
            "expected   of these {} flagged, at most {} expected to be good ({:.2} % false discoveries)",
            expected.flagged,
            expected.good.floor(),
            100.0 * expected.rate
        );
    }
    if let Some(flags) = &summary.run_flags {
        let _ = writeln!(
            text,
            "runs       {}: {} lumisections of good and bad runs, scores decide on {}",
            flags.file,
            flags.settled,
            flags.grey + flags.unnamed
        );
    }
    if let Some(decided) = &summary.decisions {
        let _ = writeln!(
            text,
            "decisions  {}: on {}, {} of them changed",
            decided.file,
            count(decided.settled, "lumisection"),
            decided.changed
        );
    }
    if let Some(why) = &summary.nothing_to_review {
        let _ = writeln!(text, "review     {}", terminal::printable(why));
    }
    if !stretches.is_empty() {
        text.push_str(&flagged(stretches, lumisections, &names, explanations, width));
    }
    if let Some(against) = &summary.against {
        text.push_str(&beside(against, width));
    }
    text
}

/// The worst stretches.
fn flagged(
    stretches: &[Stretch],
    lumisections: &Verdicts,
    names: &[String],
    explanations: &Explanations,
    width: u16,
) -> String {
    let mut table = terminal::table(&["run", "LSs", "verdict", "score", "p-value", "why"], width);
    let worst =
        |stretch: &Stretch| lumisections[&(stretch.run, stretch.worst)].p_value.unwrap_or(0.0);
    let score = |stretch: &Stretch| {
        lumisections[&(stretch.run, stretch.worst)].score.unwrap_or(f64::INFINITY)
    };
    let mut shown: Vec<&Stretch> = stretches.iter().collect();
    shown.sort_by(|a, b| {
        (b.verdict == Verdict::Bad)
            .cmp(&(a.verdict == Verdict::Bad))
            .then(worst(a).total_cmp(&worst(b)))
            .then(score(b).total_cmp(&score(a)))
    });
    shown.truncate(MOST_SHOWN);
    let shown: Vec<Stretch> = shown.into_iter().cloned().collect();
    for row in review::rows(lumisections, &shown, &Notes::default(), names, explanations) {
        let at = |name: &str| {
            review::HEADER
                .iter()
                .position(|other| *other == name)
                .map(|at| row[at].clone())
                .unwrap_or_default()
        };
        let range = if at("first_ls") == at("last_ls") {
            at("first_ls")
        } else {
            format!("{}–{}", at("first_ls"), at("last_ls"))
        };
        let experiment = if names.len() > 1 { at("experiment") } else { String::new() };
        let told =
            if at("contributions").is_empty() { at("channels") } else { at("contributions") };
        let why = [experiment, told]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join(": ");
        let why = if at("source") == "autoencoder" && !why.is_empty() { why } else { at("reason") };
        table.add_row([at("run"), range, at("verdict"), at("score"), at("p_value"), why]);
    }
    let more = if stretches.len() > MOST_SHOWN {
        format!("{MOST_SHOWN} of {} stretches; all are in the review list\n", stretches.len())
    } else {
        String::new()
    };
    format!("{table}\n{more}")
}

/// The comparison with a golden JSON.
fn beside(against: &Against, width: u16) -> String {
    let known = against.luminosity.is_some();
    let mut header = vec!["verdict", "golden LSs", "other LSs"];
    header.extend(if known { vec!["golden luminosity", "other luminosity"] } else { vec![] });
    let mut table = terminal::table(&header, width);
    for line in &against.verdicts {
        let mut row =
            vec![line.verdict.name().to_owned(), line.golden.to_string(), line.other.to_string()];
        row.extend(
            [line.golden_luminosity, line.other_luminosity]
                .into_iter()
                .filter(|_| known)
                .map(|sum| format!("{sum:.6}")),
        );
        table.add_row(row);
    }
    let not_judged = match against.not_judged {
        Some(0) => String::new(),
        Some(count) => format!("{count} of its lumisections are not judged here\n"),
        None => {
            "it names whole runs, so its lumisections that are not judged here cannot be counted\n"
                .into()
        }
    };
    let mut text = format!("against    {}\n{table}\n{not_judged}", against.file);
    if against.runs.is_empty() {
        return text + "no lumisection is good in one and not in the other\n";
    }
    let show = |ranges: &[(u32, u32)]| {
        let one = |(first, last): &(u32, u32)| {
            if first == last { first.to_string() } else { format!("{first}–{last}") }
        };
        listed(ranges.iter().map(one).collect::<Vec<_>>().iter().map(String::as_str))
    };
    let mut table = terminal::table(
        &[
            "run",
            "good here only",
            "golden, grey here",
            "golden, bad here",
            "golden, not evaluated",
        ],
        width,
    );
    for RunDifference { run, good_here, grey_here, bad_here, not_evaluated_here } in
        against.runs.iter().take(MOST_RUNS)
    {
        table.add_row([
            run.to_string(),
            show(good_here),
            show(grey_here),
            show(bad_here),
            show(not_evaluated_here),
        ]);
    }
    let more = if against.runs.len() > MOST_RUNS {
        format!("{MOST_RUNS} of {} runs; all are in the summary\n", against.runs.len())
    } else {
        String::new()
    };
    let _ = write!(text, "{table}\n{more}");
    text
}
