//! What the page of several experiments draws.

use super::data::{curves, history};
use crate::{
    config::Experiment,
    error::Result,
    prepare::split::Split,
    report::{
        figures::Report,
        folder::{Folder, names},
        scores::{RunKey, Scores},
    },
};
use serde_json::{Value, json};
use std::collections::HashMap;

/// An experiment among others.
pub struct Compared {
    folder: Folder,
    /// Its figures.
    pub report: Report,
    experiment: Experiment,
    scores: Scores,
}

impl Compared {
    /// Reads it from its folder.
    pub fn read(folder: Folder) -> Result<Self> {
        let experiment = Experiment::load(&folder.file(names::EXPERIMENT), &[])?;
        Ok(Self { report: folder.read_json(names::REPORT)?, scores: Scores::read(&folder.file(names::SCORES))?, experiment, folder })
    }

    /// Where it lies.
    pub fn place(&self) -> String {
        self.folder.path().display().to_string()
    }

    /// Whether each test row is flagged.
    fn flags(&self) -> HashMap<Identity, bool> {
        let Some(main) = self.scores.main() else { return HashMap::new() };
        let rows = self.scores.rows.iter().enumerate().filter(|(_, row)| row.split == Split::Test);
        let identity = |at: usize| {
            let row = &self.scores.rows[at];
            (row.run_key(), row.ls)
        };
        rows.filter_map(|(at, _)| Some((identity(at), main.flagged(at)?))).collect()
    }
}

/// Run and LS.
type Identity = (RunKey, Option<u32>);

/// What the page draws; `warnings` say what is not comparable.
pub fn data(compared: &[Compared], warnings: &[String]) -> Result<Value> {
    let one = |compared: &Compared| {
        Ok(json!({
            "name": compared.report.name,
            "folder": compared.place(),
            "report": compared.report,
            "history": history(compared.folder.read_history()?, &compared.report),
            "curves": curves(&compared.experiment, &compared.scores, Some(compared.report.main())),
        }))
    };
    Ok(json!({
        "kind": "comparison",
        "experiments": compared.iter().map(one).collect::<Result<Vec<_>>>()?,
        "overlap": overlap(compared),
        "warnings": warnings,
    }))
}

/// How many test rows each two experiments both flag, of those that all of them scored; nothing where there are none.
fn overlap(compared: &[Compared]) -> Option<Value> {
    let flags: Vec<HashMap<Identity, bool>> = compared.iter().map(Compared::flags).collect();
    let shared: Vec<&Identity> = flags.first()?.keys().filter(|row| flags.iter().all(|flags| flags.contains_key(*row))).collect();
    if shared.is_empty() {
        return None;
    }
    let both = |a: &HashMap<Identity, bool>, b: &HashMap<Identity, bool>| shared.iter().filter(|row| a[**row] && b[**row]).count();
    let common: Vec<Vec<usize>> = flags.iter().map(|a| flags.iter().map(|b| both(a, b)).collect()).collect();
    let names: Vec<String> = compared.iter().map(Compared::place).collect();
    Some(json!({"names": names, "common": common, "note": format!("test rows that all of them scored: {}", shared.len())}))
}
