//! Faults of the rules that read the names of features.

use super::raw::Channels as Config;
use crate::error::suggestion;
use regex::Regex;

/// Faults of the rules of a config, by key within `[channels]`.
pub(super) fn faults(config: &Config) -> Vec<(String, String)> {
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
                    "\"{name}\" is no level{near}; channels.levels are {}",
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
                    "says nothing of {}; name it in the pattern, (?<{}>…), or in insert",
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
            text.contains("\"strem\" is no level (did you mean \"stream\"?)")
                && text.contains("says nothing of stream, b"),
            "{text}"
        );
        assert!(
            keys("levels = [\"a\"]\ndepth = 2\nrules = [{ pattern = '(?<a>.)' }]")
                .contains("depth: found 2; there are 1 levels")
        );
    }
}
