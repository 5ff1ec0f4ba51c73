//! Automasks in the bins of the scored maps.

use crate::{
    config::{Value, patterns::Patterns},
    data::{
        Samples,
        lumi::{
            LumiInfo, START_TIME,
            automasks::{self, Automasks},
        },
    },
    error::{Result, listed},
};

/// Reads the tables of the config; also returns warnings.
pub fn read(
    patterns: Option<&Patterns>,
    samples: &Samples,
    facts: &LumiInfo,
) -> Result<(Automasks, Vec<String>)> {
    let Some(patterns) = patterns.filter(|patterns| !patterns.automasks.is_empty()) else {
        return Ok((Automasks::default(), vec![]));
    };
    let mut notes = vec![];
    let starts = |run: u32| {
        let seconds = |value: Value| match value {
            Value::Number(seconds) => Some(seconds),
            Value::Text(text) => automasks::seconds(&text),
            Value::Unknown => None,
        };
        let starts: Vec<(u32, f64)> = facts
            .of_run(START_TIME, run)
            .into_iter()
            .filter_map(|(ls, value)| Some((ls, seconds(value)?)))
            .collect();
        (!starts.is_empty()).then_some(starts)
    };
    let masks =
        Automasks::read(&patterns.automasks, patterns.chips.as_deref(), &samples.frames, &starts)?;
    if !masks.others.is_empty() {
        let others = listed(masks.others.iter().map(String::as_str));
        notes.push(format!("patterns.automasks: some layers are not scored: {others}"));
    }
    if let Some(run) = masks.untimed.first() {
        let runs = masks.untimed.len();
        notes.push(format!(
            "patterns.automasks: entries with a time in {runs} runs, the first {run}, are ignored, because the start times of their LSs are unknown; name a file with {START_TIME} in data.oms"
        ));
    }
    Ok((masks, notes))
}
