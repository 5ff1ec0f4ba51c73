//! Splits rows into training, validation and test.
//!
//! Neighbouring lumisections are nearly equal, so whole runs, blocks or files stay together unless
//! configured otherwise.

use crate::{
    config::{
        labels::TrainOn,
        split::{Split as Config, SplitBy},
    },
    data::{Role, Samples, Source},
    error::{Error, Result, suggestion},
    prepare::labels::LabelSet,
    random,
};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

/// The role of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// Used to train the model.
    Train,
    /// Held out to monitor training and to calibrate thresholds.
    Valid,
    /// Held out to evaluate the result.
    Test,
    /// From the runs for training or validation, but used for neither because it is not known to
    /// be good.
    Unused,
}

impl Split {
    /// All splits in the order of use.
    pub const ALL: [Self; 4] = [Self::Train, Self::Valid, Self::Test, Self::Unused];

    /// The name in `scores.parquet`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Valid => "valid",
            Self::Test => "test",
            Self::Unused => "unused",
        }
    }
}

/// The split of each row. Rows of `data.test` are test rows; those of `data.train` are split
/// according to the config. With `labels.train_on = "good"` and labels, bad and unlabelled rows of
/// training and validation are unused.
pub fn split(
    samples: &Samples,
    labels: &[LabelSet],
    config: &Config,
    train_on: TrainOn,
    seed: u64,
) -> Result<Vec<Split>> {
    let ours: Vec<usize> =
        (0..samples.rows.len()).filter(|&i| samples.source(i).role == Role::Train).collect();
    let mut splits = vec![Split::Test; samples.rows.len()];
    let assigned = match config.by {
        SplitBy::Column => by_column(samples, &ours, config)?,
        SplitBy::Run if !config.valid_runs.is_empty() || !config.test_runs.is_empty() => {
            by_runs(samples, &ours, config, seed)?
        }
        SplitBy::File if !config.valid_files.is_empty() || !config.test_files.is_empty() => {
            by_files(samples, &ours, config, seed)?
        }
        _ if config.stratify => stratified(samples, labels, &ours, config, seed)?,
        _ => by_groups(samples, &ours, config, seed)?,
    };
    for (&i, split) in ours.iter().zip(assigned) {
        splits[i] = split;
    }
    let main = labels.first().filter(|set| set.name == "good");
    if let (TrainOn::Good, Some(labels)) = (train_on, main) {
        for (split, good) in splits.iter_mut().zip(&labels.good) {
            if *split != Split::Test && *good != Some(true) {
                *split = Split::Unused;
            }
        }
    }
    if !splits.contains(&Split::Train) {
        let why = main
            .map(|set| format!("; none of them is labelled good by {}", set.origin))
            .unwrap_or_default();
        return Err(Error::input(format!(
            "no rows left for training: {} rows are split by {}{why}",
            ours.len(),
            config.by
        )));
    }
    Ok(splits)
}

/// The group number of each row; rows of one group stay together.
fn groups(samples: &Samples, ours: &[usize], config: &Config) -> Vec<u64> {
    let key = |i: usize| -> u64 {
        let row = samples.rows[i];
        match config.by {
            SplitBy::Run => u64::from(row.run),
            SplitBy::File => u64::from(row.source),
            SplitBy::Block => {
                u64::from(row.run) << 32 | u64::from(row.ls / config.block.unwrap_or(1))
            }
            SplitBy::Random | SplitBy::Order | SplitBy::Column => i as u64,
        }
    };
    ours.iter().map(|&i| key(i)).collect()
}

/// Assigns whole groups to test until it has its share of the rows, then to validation, the rest
/// to training.
fn by_groups(samples: &Samples, ours: &[usize], config: &Config, seed: u64) -> Result<Vec<Split>> {
    let keys = groups(samples, ours, config);
    let mut unique = keys.clone();
    unique.sort_unstable();
    unique.dedup();
    let position = |key: &u64| unique.partition_point(|other| other < key);
    let mut sizes = vec![0_usize; unique.len()];
    keys.iter().for_each(|key| sizes[position(key)] += 1);
    let mut order: Vec<usize> = (0..unique.len()).collect();
    if config.by == SplitBy::Order {
        order.reverse();
    } else {
        order.shuffle(&mut random::generator(seed, "split", 0));
    }
    let asked = 1 + usize::from(config.valid > 0.0) + usize::from(config.test > 0.0);
    if order.len() < asked {
        let what = if config.by == SplitBy::Block { "blocks" } else { "parts" };
        let advice = match config.by {
            SplitBy::Run | SplitBy::File => {
                "; split.by = \"block\" splits within runs, and split.valid = 0 holds nothing out"
            }
            _ => "",
        };
        return Err(Error::input(format!(
            "split.by = \"{}\": {} {what}, but {asked} are needed for training, validation and test{advice}",
            config.by,
            order.len()
        )));
    }
    let share = |fraction: f64| (fraction * ours.len() as f64).round() as usize;
    let mut assigned = vec![Split::Train; unique.len()];
    let mut rest = order.into_iter().peekable();
    for (split, rows) in [(Split::Test, share(config.test)), (Split::Valid, share(config.valid))] {
        let mut taken = 0;
        while taken < rows {
            // A group that overshoots by more than it fills goes to training, unless nothing was
            // taken yet.
            let Some(group) = rest.next_if(|&group| taken == 0 || taken + sizes[group] / 2 <= rows)
            else {
                break;
            };
            taken += sizes[group];
            assigned[group] = split;
        }
    }
    Ok(keys.iter().map(|key| assigned[position(key)]).collect())
}

/// Splits good, bad and unlabelled rows separately, so that every split has its share of them.
fn stratified(
    samples: &Samples,
    labels: &[LabelSet],
    ours: &[usize],
    config: &Config,
    seed: u64,
) -> Result<Vec<Split>> {
    let label = |i: usize| labels.first().and_then(|set| set.good[i]);
    let mut splits = vec![Split::Train; ours.len()];
    for (at, class) in [Some(true), Some(false), None].into_iter().enumerate() {
        let (positions, rows): (Vec<usize>, Vec<usize>) =
            ours.iter().copied().enumerate().filter(|(_, i)| label(*i) == class).unzip();
        // A class of one or two rows cannot be in all splits: it goes to training.
        if let Ok(assigned) = by_groups(samples, &rows, config, seed.wrapping_add(at as u64)) {
            positions
                .into_iter()
                .zip(assigned)
                .for_each(|(position, split)| splits[position] = split);
        }
    }
    Ok(splits)
}

/// The runs that the config names for validation and testing.
fn by_runs(samples: &Samples, ours: &[usize], config: &Config, seed: u64) -> Result<Vec<Split>> {
    let runs: Vec<Option<u32>> = ours.iter().map(|&i| samples.id(i).run).collect();
    for (key, named) in [("valid_runs", &config.valid_runs), ("test_runs", &config.test_runs)] {
        if let Some(run) = named.iter().find(|run| !runs.contains(&Some(**run))) {
            return Err(Error::input(format!("split.{key}: no row of data.train is of run {run}")));
        }
    }
    let splits = explicit(ours, "runs", |at| {
        let named = |list: &[u32]| runs[at].is_some_and(|run| list.contains(&run));
        (
            named(&config.valid_runs),
            named(&config.test_runs),
            format!("run {}", runs[at].unwrap_or_default()),
        )
    })?;
    split_rest(samples, ours, splits, config, seed)
}

/// The files that the config names for validation and testing.
fn by_files(samples: &Samples, ours: &[usize], config: &Config, seed: u64) -> Result<Vec<Split>> {
    let fits = |pattern: &glob::Pattern, source: &Source| {
        pattern.matches(&source.name) || pattern.matches_path(&source.path)
    };
    let patterns = |key: &str, texts: &[String]| {
        let pattern = |text: &String| {
            let pattern = glob::Pattern::new(text)
                .map_err(|error| Error::input(format!("split.{key}: \"{text}\": {error}")))?;
            if samples.sources.iter().any(|source| fits(&pattern, source)) {
                Ok(pattern)
            } else {
                let near =
                    suggestion(text, samples.sources.iter().map(|source| source.name.as_str()));
                Err(Error::input(format!(
                    "split.{key}: no file of data.train is named \"{text}\"{near}"
                )))
            }
        };
        texts.iter().map(pattern).collect::<Result<Vec<_>>>()
    };
    let (valid, test) = (
        patterns("valid_files", &config.valid_files)?,
        patterns("test_files", &config.test_files)?,
    );
    let splits = explicit(ours, "files", |at| {
        let source = samples.source(ours[at]);
        let named = |list: &[glob::Pattern]| list.iter().any(|pattern| fits(pattern, source));
        (named(&valid), named(&test), source.name.clone())
    })?;
    split_rest(samples, ours, splits, config, seed)
}

/// If only one of validation and test is named, the other gets its fraction of the rest.
fn split_rest(
    samples: &Samples,
    ours: &[usize],
    mut splits: Vec<Split>,
    config: &Config,
    seed: u64,
) -> Result<Vec<Split>> {
    let named = |list: bool, fraction: f64| if list { 0.0 } else { fraction };
    let valid =
        named(!config.valid_runs.is_empty() || !config.valid_files.is_empty(), config.valid);
    let test = named(!config.test_runs.is_empty() || !config.test_files.is_empty(), config.test);
    let (positions, rest): (Vec<usize>, Vec<usize>) =
        ours.iter().copied().enumerate().filter(|(at, _)| splits[*at] == Split::Train).unzip();
    let assigned = by_groups(samples, &rest, &Config { valid, test, ..config.clone() }, seed)?;
    positions.into_iter().zip(assigned).for_each(|(at, split)| splits[at] = split);
    Ok(splits)
}

/// Splits by explicit names for validation and test; the rest is for training.
fn explicit(
    ours: &[usize],
    what: &str,
    named: impl Fn(usize) -> (bool, bool, String),
) -> Result<Vec<Split>> {
    let split = |at: usize| match named(at) {
        (true, true, place) => {
            Err(Error::input(format!("split.valid_{what} and split.test_{what} both name {place}")))
        }
        (true, false, _) => Ok(Split::Valid),
        (false, true, _) => Ok(Split::Test),
        (false, false, _) => Ok(Split::Train),
    };
    (0..ours.len()).map(split).collect()
}

fn by_column(samples: &Samples, ours: &[usize], config: &Config) -> Result<Vec<Split>> {
    let name = config.column.as_deref().unwrap_or_default();
    let Some(column) = samples.columns.get(name) else {
        return Err(Error::input(format!(
            "split.column: no column \"{name}\" in the training files"
        )));
    };
    let read = |&i: &usize| match column.text(i).to_lowercase().as_str() {
        "train" => Ok(Split::Train),
        "valid" => Ok(Split::Valid),
        "test" => Ok(Split::Test),
        other => {
            let near = suggestion(other, ["train", "valid", "test"]);
            Err(Error::input(format!(
                "{}: split column \"{name}\" is \"{other}\"{near}; expected train, valid or test",
                samples.place(i)
            )))
        }
    };
    ours.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Experiment;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn samples(runs: &[u32]) -> Samples {
        Samples::made(&runs.iter().map(|&n| vec![1.0; n as usize]).collect::<Vec<_>>())
    }

    /// Splits according to an experiment.
    fn split(
        samples: &Samples,
        labels: &[LabelSet],
        experiment: &Experiment,
    ) -> Result<Vec<Split>> {
        let (train_on, seed) = (experiment.labels.train_on, experiment.seed);
        super::split(samples, labels, &experiment.split, train_on, seed)
    }

    fn experiment(split: &str) -> Experiment {
        let text = format!("data.train = [\"a\"]\nthreshold.on = \"train\"\n[split]\n{split}");
        Experiment::check(
            &crate::config::Document::parse(&text, std::path::Path::new("x.toml")).unwrap(),
            "x",
        )
        .unwrap()
    }

    #[test]
    fn in_order_the_first_rows_train() {
        let splits =
            split(&samples(&[10]), &[], &experiment("by = \"order\"\nvalid = 0.2\ntest = 0.1"))
                .unwrap();
        let names: Vec<&str> = splits.iter().map(|split| split.name()).collect();
        assert_eq!(
            names,
            [
                "train", "train", "train", "train", "train", "train", "train", "valid", "valid",
                "test"
            ]
        );
    }

    #[test]
    fn one_run_cannot_be_split_by_run() {
        let message = split(&samples(&[10]), &[], &experiment("by = \"run\"\nvalid = 0.2"))
            .unwrap_err()
            .to_string();
        assert!(message.contains("split.by = \"block\""), "{message}");
    }

    #[test]
    fn bad_rows_are_set_aside() {
        let labels = LabelSet {
            name: "good".into(),
            origin: "column".into(),
            good: (0..10).map(|i| [Some(true), Some(false), None][i % 3]).collect(),
            other: None,
        };
        let splits =
            split(&samples(&[10]), &[labels], &experiment("by = \"order\"\nvalid = 0.2")).unwrap();
        assert_eq!(splits.iter().filter(|split| **split == Split::Train).count(), 3);
        assert_eq!(splits.iter().filter(|split| **split == Split::Unused).count(), 6);
    }

    #[test]
    fn named_runs_are_held_out() {
        let samples = samples(&[3, 4, 5]);
        let splits =
            split(&samples, &[], &experiment("valid_runs = [1]\ntest_runs = [2]")).unwrap();
        let rows = |wanted: Split| splits.iter().filter(|split| **split == wanted).count();
        assert_eq!((rows(Split::Train), rows(Split::Valid), rows(Split::Test)), (3, 4, 5));
        let rest = split(&samples, &[], &experiment("test_runs = [2]\nvalid = 0.4")).unwrap();
        let valid = rest.iter().filter(|split| **split == Split::Valid).count();
        assert!(valid == 3 || valid == 4, "a whole run of the rest: {valid}");
        let message = |text: &str| split(&samples, &[], &experiment(text)).unwrap_err().to_string();
        assert!(message("valid_runs = [7]").contains("no row of data.train is of run 7"));
        assert!(message("valid_runs = [1]\ntest_runs = [1]").contains("both name run 1"));
        assert!(
            message("by = \"file\"\nvalid_files = [\"b\"]")
                .contains("no file of data.train is named \"b\"")
        );
    }

    proptest! {
        #[test]
        fn a_stratified_split_gives_each_side_its_share(good in prop::collection::vec(any::<bool>(), 20..200)) {
            let samples = samples(&[good.len() as u32]);
            let labels = LabelSet { name: "good".into(), origin: String::new(), good: good.iter().map(|good| Some(*good)).collect(), other: None };
            let mut experiment = experiment("by = \"random\"\nvalid = 0.2\ntest = 0.2");
            experiment.split.stratify = true;
            experiment.labels.train_on = TrainOn::All;
            let splits = split(&samples, &[labels], &experiment).unwrap();
            for class in [true, false] {
                let of_class = good.iter().filter(|good| **good == class).count();
                for wanted in [Split::Valid, Split::Test] {
                    let rows = splits.iter().zip(&good).filter(|(split, good)| **split == wanted && **good == class).count();
                    prop_assert!(of_class < 5 || rows.abs_diff((0.2 * of_class as f64).round() as usize) <= 1);
                }
            }
        }

        #[test]
        fn groups_stay_whole_and_shares_are_met(runs in prop::collection::vec(1_u32..30, 3..40), seed in 0_u64..50, by in prop::sample::select(vec!["run", "block", "random"])) {
            let samples = samples(&runs);
            let block = if by == "block" { "block = 7\n" } else { "" };
            let mut experiment = experiment(&format!("by = \"{by}\"\n{block}valid = 0.2\ntest = 0.2"));
            experiment.seed = seed;
            let Ok(splits) = split(&samples, &[], &experiment) else { return Ok(()) };
            prop_assert_eq!(splits.len(), samples.rows.len());
            let all: Vec<usize> = (0..splits.len()).collect();
            let keys = groups(&samples, &all, &experiment.split);
            let mut of_group = BTreeMap::new();
            for (key, split) in keys.iter().zip(&splits) {
                prop_assert_eq!(of_group.entry(*key).or_insert(*split), split, "group {} is on both sides", key);
            }
            let largest = keys.iter().map(|key| keys.iter().filter(|other| *other == key).count()).max().unwrap_or(0);
            for wanted in [Split::Valid, Split::Test] {
                let rows = splits.iter().filter(|split| **split == wanted).count();
                let share = (0.2 * splits.len() as f64).round() as usize;
                prop_assert!(rows > 0 && rows.abs_diff(share) <= largest, "{} rows for {}, share {}", rows, wanted.name(), share);
            }
        }

        #[test]
        fn the_same_seed_splits_the_same(seed in 0_u64..1000) {
            let samples = samples(&[5, 6, 7, 8, 9]);
            let mut experiment = experiment("valid = 0.3");
            experiment.seed = seed;
            prop_assert_eq!(split(&samples, &[], &experiment).unwrap(), split(&samples, &[], &experiment).unwrap());
        }
    }
}
