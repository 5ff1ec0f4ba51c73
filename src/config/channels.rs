//! `[channels]`: assigns features to channels.

use super::{
    check::Checker,
    keys::{choice, section},
};
use crate::error::suggestion;
use regex::Regex;
use std::collections::BTreeMap;

section! {
    /// Which features make which channel; each channel has an autoencoder of its own. Without rules
    /// there is one channel, "all".
    Channels {
        /// The levels of the hierarchy, outermost first: ["stream", "particle", "quantity"].
        #[serde(skip_serializing_if = "Vec::is_empty")]
        levels: Vec<String> = vec![],
        /// How names are read. The first rule whose pattern is the whole name of a feature says its
        /// place at each level. Columns that are weights, labels or identities need no rule.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        rules: Vec<ChannelRule> = vec![],
        /// So many levels, from the outermost, make a channel: 2 makes "muons/photons".
        #[schemars(range(min = 1))]
        depth: u32 = 1,
        /// Names at the last of those levels that are no channels: their features go to all
        /// channels beside them.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        spread: Vec<String> = vec![],
        /// Features that come last in their channel, by name or pattern ("*_lumi__mean"), in this
        /// order. The others keep the order of the table, spread ones after the channel's own.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        last: Vec<String> = vec![],
        /// The channels to train, by name or pattern ("minibias/*", "*/PF"), in this order.
        /// Default: all.
        #[serde(rename = "use", skip_serializing_if = "Vec::is_empty")]
        chosen: Vec<String> = vec![],
        unmatched: Unmatched = Unmatched::Error,
    }
}

impl Channels {
    /// Whether the section is empty: a single channel with everything.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

section! {
    /// How the names of some features are read.
    ChannelRule {
        /// A regular expression for the whole name, with a named group per level:
        /// `(?<stream>[a-z]+)_(?<quantity>\w+)`.
        pattern: String = String::new(),
        /// The place at levels that the name does not say: { particle = "allChannels" }. Every
        /// level is named, in the pattern or here; what the pattern finds wins.
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        insert: BTreeMap<String, String> = BTreeMap::new(),
        /// These features are in no channel.
        leave_out: bool = false,
    }
}

choice! {
    /// What becomes of features whose names no rule reads.
    Unmatched {
        /// They stop the program.
        Error = "error",
        /// They are in no channel, and are counted in a warning.
        LeaveOut = "leave-out",
    }
}

impl Channels {
    pub(super) fn check(&self, checker: &mut Checker) {
        if !self.is_empty() {
            for (key, message) in faults(self) {
                checker.fault(&format!("channels.{key}"), message);
            }
        }
    }
}

/// Faults of the rules of a config, by key within `[channels]`.
fn faults(config: &Channels) -> Vec<(String, String)> {
    let mut faults = vec![];
    let mut fault = |key: String, message: String| faults.push((key, message));
    if config.rules.is_empty() {
        fault("rules".into(), "missing; expected rules that read the names of features".into());
    }
    if config.levels.is_empty() && config.rules.iter().any(|rule| !rule.leave_out) {
        fault("levels".into(), "missing; expected the names of the levels, outermost first".into());
    }
    if config.depth as usize > config.levels.len() && !config.levels.is_empty() {
        fault(
            "depth".into(),
            format!("found {}; there are {} levels", config.depth, config.levels.len()),
        );
    }
    let known = |level: &str| config.levels.iter().any(|known| known == level);
    for (i, rule) in config.rules.iter().enumerate() {
        let key = |name: &str| format!("rules[{i}].{name}");
        let pattern = match Regex::new(&rule.pattern) {
            Ok(_) if rule.pattern.is_empty() => {
                fault(key("pattern"), "missing; expected a regular expression".into());
                continue;
            }
            Ok(pattern) => pattern,
            Err(error) => {
                let told = error.to_string().lines().last().unwrap_or_default().to_owned();
                fault(key("pattern"), format!("not a regular expression: {told}"));
                continue;
            }
        };
        let named: Vec<&str> = pattern.capture_names().flatten().collect();
        for name in named
            .iter()
            .copied()
            .chain(rule.insert.keys().map(String::as_str))
            .filter(|name| !known(name))
        {
            let near = suggestion(name, config.levels.iter().map(String::as_str));
            fault(
                key("pattern"),
                format!(
                    "\"{name}\" is not a level{near}; channels.levels are {}",
                    config.levels.join(", ")
                ),
            );
        }
        let silent: Vec<&str> = config
            .levels
            .iter()
            .map(String::as_str)
            .filter(|level| !named.contains(level) && !rule.insert.contains_key(*level))
            .collect();
        if !rule.leave_out && !silent.is_empty() {
            fault(
                key("pattern"),
                format!(
                    "does not contain {}; name it in the pattern, (?<{}>…), or in insert",
                    silent.join(", "),
                    silent[0]
                ),
            );
        }
        if rule.insert.values().any(|name| name.is_empty() || name.contains('/')) {
            fault(key("insert"), "expected names without \"/\"".into());
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faulty_rules_are_told_by_key() {
        let keys = |text: &str| {
            faults(&toml::from_str(text).unwrap())
                .into_iter()
                .map(|(key, message)| format!("{key}: {message}"))
                .collect::<Vec<_>>()
                .join("\n")
        };
        assert_eq!(
            keys(
                "levels = [\"a\", \"b\"]\nrules = [{ pattern = '(?<a>.)', insert = { b = \"x\" } }]"
            ),
            ""
        );
        assert!(keys("use = [\"a\"]").starts_with("rules: missing"));
        assert!(
            keys("levels = [\"a\"]\nrules = [{ pattern = '(' }]")
                .contains("rules[0].pattern: not a regular expression")
        );
        let text = keys("levels = [\"stream\", \"b\"]\nrules = [{ pattern = '(?<strem>.)' }]");
        assert!(
            text.contains("\"strem\" is not a level (did you mean \"stream\"?)")
                && text.contains("does not contain stream, b"),
            "{text}"
        );
        assert!(
            keys("levels = [\"a\"]\ndepth = 2\nrules = [{ pattern = '(?<a>.)' }]")
                .contains("depth: found 2; there are 1 levels")
        );
    }
}
