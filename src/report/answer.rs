//! The summary sentence with its counts, identical on the page and in the terminal.

use super::figures::Report;
use serde::Serialize;
use std::fmt::Write as _;

/// Counts of rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Rows with a score among those that figures are computed on.
    pub evaluated: usize,
    /// Evaluated rows above the threshold.
    pub flagged: usize,
    /// Rows that are not evaluated in the judged files.
    pub not_evaluated: usize,
    /// Rows of `not_evaluated` that are in no run of the table.
    pub elsewhere: usize,
    /// Rows that are not evaluated in all files.
    pub not_evaluated_of_all: usize,
    /// Missing LS numbers in the runs that figures are computed on.
    pub gaps: usize,
}

/// Formats a count with commas between thousands: `14,690`.
pub fn thousands(count: usize) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

impl Report {
    /// Description of the judged files.
    pub fn judged_files(&self) -> &str {
        if self.not_evaluated.of.is_empty() { "all files" } else { &self.not_evaluated.of }
    }

    /// The number of rows that are not evaluated in all files and in the judged files: `22 of all
    /// files, 5 of them in the test files`.
    pub fn absent(&self) -> String {
        let Counts { not_evaluated, not_evaluated_of_all: all, .. } = self.counts();
        let part = if not_evaluated == all {
            String::new()
        } else {
            format!(", {} of them in {}", thousands(not_evaluated), self.judged_files())
        };
        format!("{} of all files{part}", thousands(all))
    }

    /// The counts of the answer.
    pub fn counts(&self) -> Counts {
        let all = self.data.not_evaluated.iter().map(|(_, rows)| rows).sum();
        let not_evaluated =
            if self.not_evaluated.of.is_empty() { all } else { self.not_evaluated.rows };
        let in_runs: usize = self
            .runs
            .iter()
            .map(|run| run.not_evaluated)
            .chain(self.runs_not_evaluated.iter().map(|run| run.rows))
            .sum();
        Counts {
            evaluated: self.runs.iter().map(|run| run.evaluated).sum(),
            flagged: self.runs.iter().map(|run| run.flags()).sum(),
            not_evaluated,
            elsewhere: not_evaluated.saturating_sub(in_runs),
            not_evaluated_of_all: all,
            gaps: self.runs.iter().map(|run| run.gaps).sum(),
        }
    }

    /// The most important finding, the number of flagged rows, and the rows that are not evaluated.
    pub fn answer(&self) -> String {
        let Counts { evaluated, flagged, not_evaluated, .. } = self.counts();
        let unit = if self.data.events { "event" } else { "lumisection" };
        let several = |count: usize| {
            if count == 1 { format!("1 {unit}") } else { format!("{} {unit}s", thousands(count)) }
        };
        let mut text =
            self.findings.first().map_or_else(String::new, |finding| format!("{finding} "));
        text += &match (evaluated, flagged) {
            (0, _) if self.on == "all" => format!("No {unit} is evaluated."),
            (0, _) => "There are no test rows: nothing is judged.".into(),
            (1, 0) => format!("The one evaluated {unit} is not flagged."),
            (1, _) => format!("The one evaluated {unit} is flagged."),
            (_, 0) => format!("None of the {} evaluated {unit}s is flagged.", thousands(evaluated)),
            _ if flagged == evaluated => {
                format!("All {} evaluated {unit}s are flagged.", thousands(evaluated))
            }
            _ => {
                let with = self.runs.iter().filter(|run| run.flags() > 0).count();
                let (runs, of) = (self.runs.len(), if self.data.events { "files" } else { "runs" });
                let wherein = if runs > 1 {
                    format!(", in {} of {} {of}", thousands(with), thousands(runs))
                } else {
                    String::new()
                };
                let verb = if flagged == 1 { "is" } else { "are" };
                format!(
                    "{} of {} evaluated {unit}s {verb} flagged{wherein}.",
                    thousands(flagged),
                    thousands(evaluated)
                )
            }
        };
        if not_evaluated > 0 {
            let verb = if not_evaluated == 1 { "is" } else { "are" };
            let _ = write!(
                text,
                " {} of {} could not be evaluated and {verb} neither good nor bad.",
                several(not_evaluated),
                self.judged_files()
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_off() {
        assert_eq!(
            [0, 999, 1000, 14_690, 1_234_567].map(thousands),
            ["0", "999", "1,000", "14,690", "1,234,567"]
        );
    }
}
