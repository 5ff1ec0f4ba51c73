//! The hierarchy of features, read from their names, and the channels that it defines.
//!
//! A name such as `muons_photons_eta__q3_mean` contains the position of its feature: stream,
//! particle, quantity, quantile, statistic. Rules (regular expressions with named groups, tried in
//! order) convert names to paths of the same depth. Features that share the outermost levels of
//! their paths form a channel. This is the grouping of the CMS 2010B study, for any kind of names.

use super::{histogram_quantiles::Unit, shape::Shape};
use crate::{
    config::channels::{Channels as Config, Unmatched},
    error::{Error, Result, listed, suggestion},
};
use regex::Regex;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Range,
};

/// The name of the single channel of a plain dense model.
pub const ALL_FEATURES: &str = "all";
/// The name for all channels combined.
pub const COMBINED: &str = "combined";

/// A group of features with its own autoencoder: one entry of `channels.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Channel {
    /// Its name; `/` becomes `_` in file names.
    pub name: String,
    /// Its features, in the order of the model's inputs.
    pub features: Vec<String>,
    /// The path of each feature in the hierarchy, level by level; empty without a hierarchy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<Vec<String>>,
    /// The monitoring element of the bins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub element: Option<String>,
    /// The shape of the bins of a map or a layer; other inputs come after the bins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<Shape>,
    /// The unit of the features, if they are the seven numbers of a histogram.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<Unit>,
}

impl Channel {
    /// A single channel with all features.
    pub fn all(features: Vec<String>, element: Option<String>) -> Self {
        Self {
            name: ALL_FEATURES.into(),
            features,
            paths: vec![],
            element,
            shape: None,
            unit: None,
        }
    }

    /// The shape of its features: a map, or a line.
    pub fn map(&self) -> Shape {
        self.shape.unwrap_or(Shape::line(self.features.len()))
    }

    /// Its columns in a matrix whose columns are `inputs`, as ranges in the order of its features.
    pub fn columns(&self, inputs: &[String]) -> Vec<Range<usize>> {
        let place: HashMap<&str, usize> =
            inputs.iter().enumerate().map(|(at, name)| (name.as_str(), at)).collect();
        let mut ranges: Vec<Range<usize>> = vec![];
        for at in self.features.iter().filter_map(|name| place.get(name.as_str()).copied()) {
            match ranges.last_mut() {
                Some(range) if range.end == at => range.end += 1,
                _ => ranges.push(at..at + 1),
            }
        }
        ranges
    }
}

/// The distinct features of some channels, in the order of the channels.
pub fn inputs(channels: &[Channel]) -> Vec<String> {
    let mut seen = BTreeSet::new();
    channels
        .iter()
        .flat_map(|channel| &channel.features)
        .filter(|name| seen.insert(name.as_str()))
        .cloned()
        .collect()
}

/// A line of the tree that `check` prints.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Group {
    /// Its outermost levels, joined by `/`.
    pub name: String,
    /// Number of features of its own.
    pub features: usize,
    /// Its outcome.
    pub fate: Fate,
}

/// The outcome of a group of features.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// A channel with this number of features, including spread ones.
    Channel(usize),
    /// A channel that is not in `channels.use`.
    NotUsed(usize),
    /// Its features are added to its sibling channels.
    Spread,
}

/// The hierarchy that the names of features define.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hierarchy {
    /// The channels to train.
    pub channels: Vec<Channel>,
    /// All groups, in the order of the table.
    pub groups: Vec<Group>,
    /// Features excluded by rules.
    pub left_out: Vec<String>,
    /// Warnings.
    pub notes: Vec<String>,
}

/// A compiled rule.
struct Rule<'a> {
    number: usize,
    whole: Regex,
    part: Regex,
    insert: &'a BTreeMap<String, String>,
    leave_out: bool,
}

/// The position of each feature and the resulting channels. `names` are the features in the order
/// of the table.
pub fn read(config: &Config, names: &[String]) -> Result<Hierarchy> {
    let paths = paths(config, names)?;
    let mut hierarchy = Hierarchy { left_out: paths.left_out, ..Hierarchy::default() };
    if !paths.unmatched.is_empty() {
        let told = format!(
            "{} read by no rule of [channels]: {}",
            count(paths.unmatched.len(), "feature is", "features are"),
            examples(&paths.unmatched)
        );
        if config.unmatched == Unmatched::Error {
            return Err(Error::input(format!(
                "{told}; add a rule (with leave_out = true if they belong to no channel), name them in data.columns.ignore, or set channels.unmatched = \"leave-out\""
            )));
        }
        hierarchy.notes.push(format!("{told}; they are in no channel"));
    }
    hierarchy.notes.extend(holes(&paths.of));

    // Groups in the order of their first feature, with their features.
    let depth = config.depth as usize;
    let mut groups: Vec<(Vec<String>, Vec<usize>)> = vec![];
    let mut place: HashMap<&[String], usize> = HashMap::new();
    for (feature, path) in &paths.of {
        let at = *place.entry(&path[..depth]).or_insert_with(|| {
            groups.push((path[..depth].to_vec(), vec![]));
            groups.len() - 1
        });
        groups[at].1.push(*feature);
    }
    let is_spread = |path: &[String]| config.spread.contains(&path[depth - 1]);
    for name in config
        .spread
        .iter()
        .filter(|name| !groups.iter().any(|(path, _)| path.last() == Some(name)))
    {
        hierarchy.notes.push(format!("channels.spread: no feature belongs to \"{name}\""));
    }
    let pattern = |text: &String| {
        glob::Pattern::new(text)
            .map_err(|error| Error::input(format!("channels.last: \"{text}\": {error}")))
    };
    let last = config.last.iter().map(pattern).collect::<Result<Vec<_>>>()?;
    for (_, text) in last
        .iter()
        .zip(&config.last)
        .filter(|(pattern, _)| !names.iter().any(|name| pattern.matches(name)))
    {
        hierarchy.notes.push(format!("channels.last: no feature is named like \"{text}\""));
    }
    let mut all: Vec<(String, Vec<usize>)> = vec![];
    for (path, own) in groups.iter().filter(|(path, _)| !is_spread(path)) {
        let beside = |other: &&(Vec<String>, Vec<usize>)| {
            is_spread(&other.0) && other.0[..depth - 1] == path[..depth - 1]
        };
        let spread = groups.iter().filter(beside).flat_map(|(_, features)| features);
        let mut features: Vec<usize> = own.iter().chain(spread).copied().collect();
        features.sort_by_key(|&feature| {
            last.iter().position(|pattern| pattern.matches(&names[feature])).map_or(0, |at| at + 1)
        });
        all.push((path.join("/"), features));
    }
    for (path, _) in groups.iter().filter(|(path, _)| is_spread(path)) {
        if !groups
            .iter()
            .any(|(other, _)| !is_spread(other) && other[..depth - 1] == path[..depth - 1])
        {
            return Err(Error::input(format!(
                "channels.spread: {} has no sibling channel to spread to",
                path.join("/")
            )));
        }
    }
    let used = choose(config, &all)?;
    for (path, own) in &groups {
        let name = path.join("/");
        let of = all.iter().position(|(channel, _)| *channel == name);
        let fate = match of {
            None => Fate::Spread,
            Some(at) if used.contains(&at) => Fate::Channel(all[at].1.len()),
            Some(at) => Fate::NotUsed(all[at].1.len()),
        };
        hierarchy.groups.push(Group { name, features: own.len(), fate });
    }
    let path_of: HashMap<usize, &Vec<String>> =
        paths.of.iter().map(|(feature, path)| (*feature, path)).collect();
    for at in used {
        let (name, features) = &all[at];
        hierarchy.channels.push(Channel {
            name: name.clone(),
            features: features.iter().map(|feature| names[*feature].clone()).collect(),
            paths: features
                .iter()
                .filter_map(|feature| path_of.get(feature).map(|path| (*path).clone()))
                .collect(),
            element: None,
            shape: None,
            unit: None,
        });
    }
    refuse_same_file(&hierarchy.channels)?;
    Ok(hierarchy)
}

/// The channels of `channels.use`, as positions in `all`.
fn choose(config: &Config, all: &[(String, Vec<usize>)]) -> Result<Vec<usize>> {
    let names = || all.iter().map(|(name, _)| name.as_str());
    if config.chosen.is_empty() {
        return Ok((0..all.len()).collect());
    }
    let mut used: Vec<usize> = vec![];
    for wanted in &config.chosen {
        let pattern = glob::Pattern::new(wanted)
            .map_err(|error| Error::input(format!("channels.use: \"{wanted}\": {error}")))?;
        let matching: Vec<usize> =
            (0..all.len()).filter(|&at| pattern.matches(&all[at].0)).collect();
        if matching.is_empty() {
            let near = suggestion(wanted, names());
            return Err(Error::input(format!(
                "channels.use: no feature belongs to \"{wanted}\"{near}; there are {}",
                listed(names())
            )));
        }
        used.extend(matching);
    }
    let mut seen = BTreeSet::new();
    used.retain(|at| seen.insert(*at));
    Ok(used)
}

/// Fails if two channels would write to the same file.
fn refuse_same_file(channels: &[Channel]) -> Result<()> {
    let mut files: HashMap<String, &str> = HashMap::new();
    for Channel { name, .. } in channels {
        if name == COMBINED {
            return Err(Error::input(format!(
                "[channels]: the name \"{COMBINED}\" is reserved for all channels together; choose another"
            )));
        }
        if let Some(other) = files.insert(name.replace('/', "_"), name) {
            return Err(Error::input(format!(
                "[channels]: {other} and {name} would both be written to {}.safetensors",
                name.replace('/', "_")
            )));
        }
    }
    Ok(())
}

/// The result of applying the rules to the names.
#[derive(Default)]
struct Paths {
    /// Features with their path.
    of: Vec<(usize, Vec<String>)>,
    left_out: Vec<String>,
    unmatched: Vec<String>,
}

fn paths(config: &Config, names: &[String]) -> Result<Paths> {
    let rules = config
        .rules
        .iter()
        .enumerate()
        .map(|(at, rule)| {
            let regex = |pattern: &str| {
                Regex::new(pattern)
                    .map_err(|error| Error::input(format!("channels.rules[{at}].pattern: {error}")))
            };
            let (whole, part) = (regex(&format!("^(?:{})$", rule.pattern))?, regex(&rule.pattern)?);
            Ok(Rule {
                number: at + 1,
                whole,
                part,
                insert: &rule.insert,
                leave_out: rule.leave_out,
            })
        })
        .collect::<Result<Vec<_>>>()?;
    let mut paths = Paths::default();
    let mut taken: HashMap<Vec<String>, &str> = HashMap::new();
    for (at, name) in names.iter().enumerate() {
        let Some((rule, captures)) =
            rules.iter().find_map(|rule| Some((rule, rule.whole.captures(name)?)))
        else {
            if let Some((rule, times)) = rules
                .iter()
                .map(|rule| (rule, rule.part.find_iter(name).count()))
                .find(|(_, times)| *times > 1)
            {
                return Err(Error::input(format!(
                    "the feature \"{name}\" is ambiguous: rule {} of [channels] is found in it {times} times",
                    rule.number
                )));
            }
            paths.unmatched.push(name.clone());
            continue;
        };
        if rule.leave_out {
            paths.left_out.push(name.clone());
            continue;
        }
        let mut path = Vec::with_capacity(config.levels.len());
        for level in &config.levels {
            let said = captures
                .name(level)
                .map(|found| found.as_str())
                .or_else(|| rule.insert.get(level).map(String::as_str));
            match said.filter(|said| !said.is_empty() && !said.contains('/')) {
                Some(said) => path.push(said.to_owned()),
                None => {
                    let number = rule.number;
                    return Err(Error::input(format!(
                        "the feature \"{name}\" is read by rule {number} of [channels], but has no {level}: all paths need {} levels",
                        config.levels.len()
                    )));
                }
            }
        }
        if let Some(other) = taken.insert(path.clone(), name) {
            return Err(Error::input(format!(
                "the features \"{other}\" and \"{name}\" have the same place in the hierarchy: {}",
                path.join("/")
            )));
        }
        paths.of.push((at, path));
    }
    Ok(paths)
}

/// A note on places that lack features which similar places have: a column may be missing or
/// renamed.
fn holes(paths: &[(usize, Vec<String>)]) -> Option<String> {
    let mut leaves: BTreeMap<&[String], BTreeSet<&str>> = BTreeMap::new();
    for (_, path) in paths {
        if let Some((leaf, above)) = path.split_last() {
            leaves.entry(above).or_default().insert(leaf);
        }
    }
    let mut kinds: HashMap<&BTreeSet<&str>, usize> = HashMap::new();
    leaves.values().for_each(|kind| *kinds.entry(kind).or_insert(0) += 1);
    let (usual, times) = kinds.into_iter().max_by_key(|(kind, times)| (*times, kind.len()))?;
    let others: Vec<(&&[String], &BTreeSet<&str>)> =
        leaves.iter().filter(|(_, kind)| *kind != usual).collect();
    // If places differ anyway, a difference is not suspicious.
    if others.is_empty() || times * 2 <= leaves.len() || times < 3 {
        return None;
    }
    let told: Vec<String> = others
        .iter()
        .map(|(above, kind)| {
            let lacks: Vec<&str> = usual.difference(kind).copied().collect();
            let has: Vec<&str> = kind.difference(usual).copied().collect();
            let part = |word: &str, names: &[&str]| {
                if names.is_empty() {
                    String::new()
                } else {
                    format!(" {word} {}", names.join(", "))
                }
            };
            format!("{}{}{}", above.join("/"), part("lacks", &lacks), part("has", &has))
        })
        .collect();
    Some(format!(
        "{} from the {times} others, which have {}: {}",
        count(others.len(), "place of the hierarchy differs", "places of the hierarchy differ"),
        usual.iter().copied().collect::<Vec<_>>().join(", "),
        examples(&told)
    ))
}

fn count(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

/// The first few names, and the number of others.
fn examples(names: &[String]) -> String {
    const MOST: usize = 4;
    let more = if names.len() > MOST {
        format!(", and {} more", names.len() - MOST)
    } else {
        String::new()
    };
    names[..names.len().min(MOST)].join(", ") + &more
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn config(text: &str) -> Config {
        toml::from_str(text).unwrap()
    }

    const RULES: &str = r#"
levels = ["stream", "particle", "quantity", "statistic"]
depth = 2
spread = ["allChannels"]
rules = [
    { pattern = '(?<stream>[a-z]+)_(?<particle>[a-zA-Z]+)_(?<quantity>[a-zA-Z]+)_+(?<statistic>[a-z0-9]+)' },
    { pattern = '(?<stream>[a-z]+)_(?<quantity>[a-zA-Z]+)__(?<statistic>\w+)', insert = { particle = "allChannels" } },
    { pattern = '[a-z]+_nEvents', leave_out = true },
]
"#;

    fn names(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn told(rules: &str, features: &str) -> String {
        read(&config(rules), &names(features)).unwrap_err().to_string()
    }

    const FEATURES: &str = "mu_PF_eta__mean mu_PF_eta__std mu_calo_eta__mean mu_lumi__mean mu_nEvents ph_PF_eta__mean ph_lumi__mean";

    #[test]
    fn names_make_channels_and_spread_features_come_last() {
        let hierarchy = read(&config(RULES), &names(FEATURES)).unwrap();
        let found: Vec<(&str, String)> = hierarchy
            .channels
            .iter()
            .map(|channel| (channel.name.as_str(), channel.features.join(" ")))
            .collect();
        let expected = [
            ("mu/PF", "mu_PF_eta__mean mu_PF_eta__std mu_lumi__mean".to_owned()),
            ("mu/calo", "mu_calo_eta__mean mu_lumi__mean".to_owned()),
            ("ph/PF", "ph_PF_eta__mean ph_lumi__mean".to_owned()),
        ];
        assert_eq!(found, expected);
        assert_eq!(hierarchy.channels[0].paths[2], ["mu", "allChannels", "lumi", "mean"]);
        assert_eq!(hierarchy.left_out, ["mu_nEvents"]);
        let groups: Vec<(&str, usize, Fate)> = hierarchy
            .groups
            .iter()
            .map(|group| (group.name.as_str(), group.features, group.fate.clone()))
            .collect();
        assert_eq!(groups[0], ("mu/PF", 2, Fate::Channel(3)));
        assert_eq!(groups[2], ("mu/allChannels", 1, Fate::Spread));
        assert_eq!(groups.len(), 5);
    }

    #[test]
    fn columns_are_ranges_of_the_inputs() {
        let hierarchy =
            read(&config(&format!("use = [\"mu/calo\", \"mu/PF\"]{RULES}")), &names(FEATURES))
                .unwrap();
        let inputs = inputs(&hierarchy.channels);
        assert_eq!(
            inputs,
            ["mu_calo_eta__mean", "mu_lumi__mean", "mu_PF_eta__mean", "mu_PF_eta__std"]
        );
        assert_eq!(hierarchy.channels[0].columns(&inputs), std::slice::from_ref(&(0..2)));
        assert_eq!(hierarchy.channels[1].columns(&inputs), [2..4, 1..2]);
    }

    #[test]
    fn some_features_may_come_last() {
        let hierarchy = read(
            &config(&format!("last = [\"*__mean\", \"*_PF_*__std\"]{RULES}")),
            &names(FEATURES),
        )
        .unwrap();
        assert_eq!(
            hierarchy.channels[0].features,
            ["mu_PF_eta__mean", "mu_lumi__mean", "mu_PF_eta__std"]
        );
    }

    #[test]
    fn what_is_wrong_with_names_is_told() {
        assert!(
            told(RULES, "mu_PF_eta_mean mu_PF_eta__mean")
                .contains("have the same place in the hierarchy: mu/PF/eta/mean")
        );
        assert!(
            told(RULES, "mu_PF_eta_mean other")
                .contains("1 feature is read by no rule of [channels]: other")
        );
        assert!(
            told(RULES, "mu_PF_eta_a-mu_PF_eta_a")
                .contains("is ambiguous: rule 1 of [channels] is found in it 2 times")
        );
        assert!(told(RULES, "mu_lumi__mean").contains("mu/allChannels has no sibling channel"));
        let error = told(&format!("use = [\"mu/calor\"]{RULES}"), FEATURES);
        assert!(
            error.contains("no feature belongs to \"mu/calor\" (did you mean \"mu/calo\"?)"),
            "{error}"
        );
        assert!(
            told(
                "levels = [\"a\", \"b\"]\ndepth = 2\nrules = [{ pattern = '(?<a>.)(?<b>.)?' }]",
                "xy x"
            )
            .contains("has no b")
        );
        assert!(
            told("levels = [\"a\"]\nrules = [{ pattern = '(?<a>.*)' }]", "combined")
                .contains("\"combined\"")
        );
        let lenient = read(
            &config(&format!("unmatched = \"leave-out\"{RULES}")),
            &names("mu_PF_eta_mean other"),
        )
        .unwrap();
        assert!(lenient.notes[0].contains("1 feature is read by no rule"), "{:?}", lenient.notes);
    }

    #[test]
    fn a_missing_or_renamed_column_is_noticed() {
        let usual = "a_b_x__mean a_b_x__std a_b_y__mean a_b_y__std a_b_z__mean a_b_z__std a_c_x__mean a_c_x__std";
        assert_eq!(
            read(&config(RULES), &names(usual)).unwrap().notes,
            ["channels.spread: no feature belongs to \"allChannels\""]
        );
        let renamed = usual.replace("a_b_y__std", "a_b_y__rms");
        let notes = read(&config(RULES), &names(&renamed)).unwrap().notes;
        assert!(notes[0].contains("1 place of the hierarchy differs from the 3 others, which have mean, std: a/b/y lacks std has rms"), "{notes:?}");
    }

    proptest! {
        #[test]
        fn every_feature_is_in_its_channel_or_told(picks in prop::collection::btree_set((0_usize..3, 0_usize..3, 0_usize..3), 1..20)) {
            let features: Vec<String> = picks.iter().map(|(a, b, c)| format!("{}_{}_x__{}", ["mu", "ph", "mb"][*a], ["PF", "calo", "allChannels"][*b], ["mean", "std", "p1"][*c])).collect();
            match read(&config(RULES), &features) {
                Err(error) => prop_assert!(error.to_string().contains("no sibling channel")),
                Ok(hierarchy) => {
                    for feature in &features {
                        let stream = feature.split('_').next().unwrap_or_default();
                        let holding = hierarchy.channels.iter().filter(|channel| channel.features.contains(feature)).count();
                        let expected = if feature.contains("allChannels") { hierarchy.channels.iter().filter(|channel| channel.name.starts_with(stream)).count() } else { 1 };
                        prop_assert_eq!(holding, expected);
                    }
                    let total: usize = hierarchy.groups.iter().map(|group| group.features).sum();
                    prop_assert_eq!(total, features.len());
                }
            }
        }
    }
}
