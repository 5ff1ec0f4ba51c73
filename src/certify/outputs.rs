//! The files that a certification leaves: golden JSON and its siblings, and a table of all
//! lumisections.

use super::{
    stretches::Stretch,
    verdicts::{LumisectionVerdict, Verdicts, ranges},
};
use crate::{
    error::{Error, Result},
    files::{atomic::write_atomically, tables},
    score::verdict::Verdict,
};
use arrow_array::{ArrayRef, Float64Array, StringArray, UInt32Array};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

/// The golden JSON, and where its siblings lie.
#[derive(Clone, Debug, PartialEq)]
pub struct Names {
    golden: PathBuf,
}

impl Names {
    /// Of the golden JSON's name, which ends in .json.
    pub fn new(golden: &Path) -> Result<Self> {
        match golden.extension() {
            Some(extension) if extension == "json" => Ok(Self { golden: golden.to_path_buf() }),
            _ => Err(Error::input(format!(
                "--out {}: is the golden JSON; expected a name that ends in .json",
                golden.display()
            ))),
        }
    }

    /// The golden JSON.
    pub fn golden(&self) -> &Path {
        &self.golden
    }

    /// `golden.bad.json` of `golden.json` and "bad.json".
    pub fn beside(&self, ending: &str) -> PathBuf {
        self.golden.with_extension(ending)
    }

    /// All files that are written, the golden JSON first.
    pub fn all(&self) -> Vec<PathBuf> {
        let json = Verdict::ALL
            .into_iter()
            .filter(|verdict| *verdict != Verdict::Good)
            .map(|verdict| self.of(verdict));
        let tables = [
            "flagged.json",
            "summary.json",
            "csv",
            "parquet",
            "dials.csv",
            "review.csv",
            "review.html",
        ];
        std::iter::once(self.golden.clone())
            .chain(json)
            .chain(tables.map(|ending| self.beside(ending)))
            .collect()
    }

    /// The file of one verdict.
    pub fn of(&self, verdict: Verdict) -> PathBuf {
        match verdict {
            Verdict::Good => self.golden.clone(),
            other => self.beside(&format!("{}.json", other.name().replace(' ', "-"))),
        }
    }
}

/// `{"run": [[first, last], …]}`, a run a line, as CMS's own files have it.
pub fn to_json(runs: &BTreeMap<u32, Vec<(u32, u32)>>) -> String {
    let run = |(run, ranges): (&u32, &Vec<(u32, u32)>)| {
        let ranges: Vec<String> =
            ranges.iter().map(|(first, last)| format!("[{first}, {last}]")).collect();
        format!("\"{run}\": [{}]", ranges.join(", "))
    };
    format!("{{{}}}\n", runs.iter().map(run).collect::<Vec<_>>().join(",\n "))
}

/// Writes the four JSONs, which partition the lumisections.
pub fn write_partition(names: &Names, lumisections: &Verdicts) -> Result<()> {
    // The golden one last: where it is, the others are.
    let order = [Verdict::NotEvaluated, Verdict::Bad, Verdict::Grey, Verdict::Good];
    order.into_iter().try_for_each(|verdict| {
        write_atomically(&names.of(verdict), to_json(&ranges(lumisections, verdict)).as_bytes())
    })
}

/// Flagged stretches by run, with the reasons and what the worst LS of each scores.
pub fn flagged_json(lumisections: &Verdicts, stretches: &[Stretch], names: &[String]) -> Value {
    let mut runs: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for stretch in stretches {
        let worst = &lumisections[&(stretch.run, stretch.worst)];
        runs.entry(stretch.run.to_string()).or_default().push(json!({
            "range": [stretch.first, stretch.last],
            "verdict": stretch.verdict,
            "source": worst.source,
            "reason": worst.reason,
            "worst": {
                "ls": stretch.worst,
                "score": worst.score,
                "p_value": worst.p_value,
                "experiment": worst.experiment.map(|at| &names[at]),
                "channels": worst.channels,
            },
        }));
    }
    json!(runs)
}

/// Writes the table of all lumisections as CSV and as Parquet: `run, ls, verdict, reason, source,
/// score, p_value, experiment, channels, split, file, luminosity`; of several experiments also what
/// each says, as `verdict_<name>` and `p_value_<name>`. `files` are those of each experiment's
/// rows.
pub fn write_table(
    names: &Names,
    lumisections: &Verdicts,
    experiments: &[String],
    files: &[Vec<Arc<str>>],
) -> Result<()> {
    let rows = || lumisections.iter();
    let all = || lumisections.values();
    let numbers = |get: &dyn Fn(&LumisectionVerdict) -> Option<f64>| -> ArrayRef {
        Arc::new(all().map(get).collect::<Float64Array>())
    };
    let texts = |get: &dyn Fn(&LumisectionVerdict) -> Option<String>| -> ArrayRef {
        Arc::new(all().map(get).collect::<StringArray>())
    };
    // The row that decided, else the first there is.
    let shown = |said: &LumisectionVerdict| {
        let at = said.experiment.or_else(|| said.opinions.iter().position(Option::is_some))?;
        Some((at, said.opinions[at].clone()?))
    };
    let filled = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let mut columns: Vec<(String, ArrayRef)> = vec![
        ("run".into(), Arc::new(rows().map(|((run, _), _)| Some(*run)).collect::<UInt32Array>())),
        ("ls".into(), Arc::new(rows().map(|((_, ls), _)| Some(*ls)).collect::<UInt32Array>())),
        ("verdict".into(), texts(&|said| Some(said.verdict.name().into()))),
        ("reason".into(), texts(&|said| filled(&said.reason))),
        ("source".into(), texts(&|said| Some(said.source.name().into()))),
        ("score".into(), numbers(&|said| said.score)),
        ("p_value".into(), numbers(&|said| said.p_value)),
        ("experiment".into(), texts(&|said| said.experiment.map(|at| experiments[at].clone()))),
        ("channels".into(), texts(&|said| filled(&said.channels.join(" ")))),
        (
            "split".into(),
            texts(&|said| shown(said).map(|(_, opinion)| opinion.split.name().into())),
        ),
        (
            "file".into(),
            texts(&|said| shown(said).map(|(at, opinion)| files[at][opinion.row].to_string())),
        ),
        ("luminosity".into(), numbers(&|said| said.luminosity)),
    ];
    for (at, name) in experiments.iter().enumerate().filter(|_| experiments.len() > 1) {
        let of = move |said: &LumisectionVerdict| said.opinions[at].clone();
        columns.push((
            format!("verdict_{name}"),
            texts(&|said| of(said).map(|opinion| opinion.verdict.name().into())),
        ));
        columns.push((
            format!("p_value_{name}"),
            numbers(&|said| of(said).and_then(|opinion| opinion.p_value)),
        ));
    }
    let table = tables::of_columns(columns)?;
    ["csv", "parquet"]
        .into_iter()
        .try_for_each(|ending| tables::write(&names.beside(ending), &table))
}

/// Writes bad lumisections a line each, named as DIALS names its columns: `run_number, ls_number,
/// me, verdict, score, p_value, reason`. `elements` are the monitoring elements of the experiments.
pub fn write_dials(
    path: &Path,
    lumisections: &Verdicts,
    elements: &[Option<String>],
) -> Result<()> {
    let bad = || lumisections.iter().filter(|(_, said)| said.verdict == Verdict::Bad);
    let element = |said: &LumisectionVerdict| elements.get(said.experiment?).cloned().flatten();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("run_number", Arc::new(bad().map(|((run, _), _)| Some(*run)).collect::<UInt32Array>())),
        ("ls_number", Arc::new(bad().map(|((_, ls), _)| Some(*ls)).collect::<UInt32Array>())),
        ("me", Arc::new(bad().map(|(_, said)| element(said)).collect::<StringArray>())),
        (
            "verdict",
            Arc::new(bad().map(|(_, said)| Some(said.verdict.name())).collect::<StringArray>()),
        ),
        ("score", Arc::new(bad().map(|(_, said)| said.score).collect::<Float64Array>())),
        ("p_value", Arc::new(bad().map(|(_, said)| said.p_value).collect::<Float64Array>())),
        (
            "reason",
            Arc::new(bad().map(|(_, said)| Some(said.reason.as_str())).collect::<StringArray>()),
        ),
    ];
    tables::write(path, &tables::of_columns(columns)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certify::verdicts::tests::scored;
    use crate::data::lumi::golden_json::LumisectionSet;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_four_files_partition_the_lumisections(
            verdicts in prop::collection::btree_map((1_u32..5, prop_oneof![0_u32..60, Just(u32::MAX)]), prop::sample::select(Verdict::ALL.to_vec()), 0..150),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let names = Names::new(&folder.path().join("golden.json")).unwrap();
            let lumisections: Verdicts = verdicts.iter().map(|(id, verdict)| (*id, scored(*verdict, 0.0))).collect();
            write_partition(&names, &lumisections).unwrap();
            let mut all = 0;
            for verdict in Verdict::ALL {
                let set = LumisectionSet::read(&names.of(verdict)).unwrap();
                let listed: Vec<(u32, u32)> =
                    set.runs().iter().flat_map(|(run, ranges)| ranges.iter().flat_map(|(first, last)| (*first..=*last).map(|ls| (*run, ls)))).collect();
                all += listed.len();
                prop_assert!(listed.iter().all(|id| verdicts.get(id) == Some(&verdict)), "{:?}", verdict);
                for ranges in set.runs().values() {
                    prop_assert!(ranges.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0), "sorted and merged");
                }
            }
            prop_assert_eq!(all, verdicts.len());
        }
    }
}
