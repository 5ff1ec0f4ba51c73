//! Reads sets of lumisections: golden and DCS JSONs, lists of `run ls` lines, folders with one JSON
//! per subsystem.

use crate::{
    data::{
        json::Object,
        lumisections::Lumisection,
        read::text::{Source, without_mark},
    },
    error::{Error, Result},
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// A set of lumisections, as ranges per run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LumisectionSet {
    /// Ranges of LSs, inclusive, ascending; (0, `u32::MAX`) is the whole run.
    runs: BTreeMap<u32, Vec<(u32, u32)>>,
}

/// All lumisections of a run, which a JSON writes as `[[-1]]`.
const WHOLE_RUN: (u32, u32) = (0, u32::MAX);

impl LumisectionSet {
    /// Reads a JSON `{"run": [[first, last], …]}` or a list of `run ls` lines.
    pub fn read(path: &Path) -> Result<Self> {
        let text = Source::open(path)?.rest(path)?;
        let text = without_mark(&text);
        match text.trim_ascii_start().first() {
            None => {
                Err(Error::input(format!("{}: is empty; expected lumisections", path.display())))
            }
            Some(b'{') => Self::from_json(path, text),
            Some(_) => Self::from_lines(path, text),
        }
    }

    /// A set of ranges per run.
    pub fn from_ranges(runs: &BTreeMap<u32, Vec<(u32, u32)>>) -> Self {
        let mut set = Self::default();
        runs.iter()
            .for_each(|(run, ranges)| ranges.iter().for_each(|range| set.insert(*run, *range)));
        set.tidy();
        set
    }

    fn from_json(path: &Path, text: &[u8]) -> Result<Self> {
        let wrong = |reason: String| {
            Error::input(format!(
                "{}: {reason}; expected {{\"run\": [[first, last], …]}}",
                path.display()
            ))
        };
        let json: Object<Value> = serde_json::from_slice(text)
            .map_err(|error| wrong(format!("not a lumisection JSON: {error}")))?;
        let mut set = Self::default();
        for (run, ranges) in json.iter() {
            let number: u32 =
                run.trim().parse().map_err(|_| wrong(format!("\"{run}\" is not a run number")))?;
            let Value::Array(ranges) = ranges else {
                return Err(wrong(format!("run {run} has no list of ranges")));
            };
            if set.runs.insert(number, vec![]).is_some() {
                return Err(wrong(format!("run {number} is there twice")));
            }
            for range in ranges {
                let bounds: Option<Vec<i64>> =
                    range.as_array().and_then(|bounds| bounds.iter().map(Value::as_i64).collect());
                let range = match bounds.as_deref() {
                    Some([-1]) => WHOLE_RUN,
                    Some(&[first, last])
                        if first >= 0 && first <= last && last <= i64::from(u32::MAX) =>
                    {
                        (first as u32, last as u32)
                    }
                    _ => return Err(wrong(format!("run {run} has the range {range}"))),
                };
                set.insert(number, range);
            }
        }
        set.tidy();
        Ok(set)
    }

    fn from_lines(path: &Path, text: &[u8]) -> Result<Self> {
        let mut set = Self::default();
        for (i, line) in String::from_utf8_lossy(text).lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let numbers: Option<Vec<u32>> = line
                .split([' ', '\t', ',', ';'])
                .filter(|word| !word.is_empty())
                .map(|word| word.parse().ok())
                .collect();
            match numbers.as_deref() {
                Some(&[run, ls]) => set.insert(run, (ls, ls)),
                Some(&[run, first, last]) if first <= last => set.insert(run, (first, last)),
                _ => {
                    let shown: String = line.chars().take(40).collect();
                    let place = format!("{}:{}", path.display(), i + 1);
                    return Err(Error::input(format!(
                        "{place}: found \"{shown}\"; expected a line of run and LS, or a JSON of runs"
                    )));
                }
            }
        }
        set.tidy();
        Ok(set)
    }

    fn insert(&mut self, run: u32, range: (u32, u32)) {
        self.runs.entry(run).or_default().push(range);
    }

    /// Sorts ranges and merges those that touch.
    fn tidy(&mut self) {
        for ranges in self.runs.values_mut() {
            ranges.sort_unstable();
            let mut joined: Vec<(u32, u32)> = vec![];
            for &(first, last) in ranges.iter() {
                match joined.last_mut() {
                    Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
                    _ => joined.push((first, last)),
                }
            }
            *ranges = joined;
        }
    }

    /// Whether a lumisection is in the set; false if its run is unknown.
    pub fn contains(&self, id: Lumisection) -> bool {
        id.run.and_then(|run| self.runs.get(&run)).is_some_and(|ranges| within(ranges, id.ls))
    }

    /// Runs and their ranges.
    pub fn runs(&self) -> &BTreeMap<u32, Vec<(u32, u32)>> {
        &self.runs
    }

    /// Number of lumisections; `None` if a run is whole.
    pub fn count(&self) -> Option<u64> {
        let ranges = || self.runs.values().flatten();
        (!ranges().any(|range| *range == WHOLE_RUN))
            .then(|| ranges().map(|(first, last)| u64::from(last - first) + 1).sum())
    }

    /// Number of whole runs in the set.
    pub fn whole_runs(&self) -> usize {
        self.runs.values().filter(|ranges| ranges.first() == Some(&WHOLE_RUN)).count()
    }
}

/// Whether a number is in one of the ascending ranges.
pub fn within(ranges: &[(u32, u32)], number: u32) -> bool {
    let after = ranges.partition_point(|(first, _)| *first <= number);
    after > 0 && number <= ranges[after - 1].1
}

/// A subsystem and its label file.
pub type Subsystem = (String, PathBuf);

/// The label files of a folder by subsystem, sorted by name, and the names of files that do not fit
/// the pattern.
pub fn subsystems(folder: &Path, pattern: &str) -> Result<(Vec<Subsystem>, Vec<String>)> {
    let (before, after) = pattern.split_once('*').unwrap_or((pattern, ""));
    let entries = std::fs::read_dir(folder).map_err(|error| Error::reading(folder, error))?;
    let (mut files, mut others) = (vec![], vec![]);
    for entry in entries {
        let path = entry.map_err(|error| Error::reading(folder, error))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match name.strip_prefix(before).and_then(|rest| rest.strip_suffix(after)) {
            Some(subsystem) if !subsystem.is_empty() && path.is_file() => {
                files.push((subsystem.to_owned(), path))
            }
            _ => others.push(name),
        }
    }
    files.sort();
    others.sort();
    if files.is_empty() {
        return Err(Error::input(format!(
            "{}: no file is named like labels.subsystems.pattern = \"{pattern}\"",
            folder.display()
        )));
    }
    Ok((files, others))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set(text: &str) -> Result<LumisectionSet> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        LumisectionSet::read(file.path())
    }

    fn id(run: u32, ls: u32) -> Lumisection {
        Lumisection { run: Some(run), ls }
    }

    #[test]
    fn ranges_are_inclusive_and_minus_one_is_the_whole_run() {
        let set = set("{\"297050\": [[12, 14], [3, 5]], \"305040\": [[-1]], \"1\": []}").unwrap();
        let inside: Vec<u32> = (0..20).filter(|&ls| set.contains(id(297_050, ls))).collect();
        assert_eq!(inside, [3, 4, 5, 12, 13, 14]);
        assert!(
            set.contains(id(305_040, 999_999))
                && !set.contains(id(1, 1))
                && !set.contains(Lumisection { run: None, ls: 3 })
        );
        assert_eq!((set.count(), set.whole_runs(), set.runs().len()), (None, 1, 3));
    }

    #[test]
    fn lists_have_a_run_and_an_ls_a_line() {
        let set = set("148862 891\n148862 911\r\n\n148862 892\n").unwrap();
        assert_eq!(set.runs()[&148_862], [(891, 892), (911, 911)]);
    }

    #[test]
    fn other_files_are_refused_with_the_place() {
        for (text, part) in [
            ("", "is empty"),
            ("{\"1\": [[1, 2]", "not a lumisection JSON"),
            ("{\"run\": [[1, 2]]}", "\"run\" is not a run number"),
            ("{\"1\": [[2, 1]]}", "run 1 has the range [2,1]"),
            ("{\"1\": [[-2]]}", "the range [-2]"),
            ("{\"1\": [[1, 2]], \"1\": [[5, 6]]}", "the key \"1\" is there twice at line 1"),
            ("{\"1\": [[1, 2]], \"01\": [[5, 6]]}", "run 1 is there twice"),
            ("{\"1\": 3}", "run 1 has no list"),
            ("1 2\nhello\n", ":2: found \"hello\""),
        ] {
            let message = set(text).unwrap_err().to_string();
            assert!(message.contains(part), "{text}: {message}");
        }
    }

    proptest! {
        #[test]
        fn a_set_holds_what_its_ranges_hold(ranges in prop::collection::vec((0_u32..60, 0_u32..9), 0..12)) {
            let ranges: Vec<(u32, u32)> = ranges.into_iter().map(|(first, more)| (first, first + more)).collect();
            let set = LumisectionSet::from_ranges(&BTreeMap::from([(7, ranges.clone())]));
            for ls in 0..80 {
                prop_assert_eq!(set.contains(id(7, ls)), ranges.iter().any(|(first, last)| (*first..=*last).contains(&ls)));
            }
        }
    }
}
