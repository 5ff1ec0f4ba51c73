//! Checks that the files of an experiment folder are consistent: each may be damaged, edited, or
//! from another folder.

use super::channel_entry::ChannelEntry;
use crate::{config::Experiment, data::channels::COMBINED, score::threshold::Calibrated};
use std::collections::HashSet;

/// Checks `channels.json`; the error describes the fault.
pub fn channels(entries: &[ChannelEntry], experiment: &Experiment) -> Result<(), String> {
    if entries.is_empty() {
        return Err("names no channel".into());
    }
    let mut names = HashSet::new();
    for entry in entries {
        let name = &entry.channel.name;
        if name.is_empty() || name == COMBINED || !names.insert(name) {
            return Err(format!("the channel \"{name}\" is there twice, or its name is reserved"));
        }
        channel(entry, experiment).map_err(|reason| format!("channel \"{name}\": {reason}"))?;
    }
    Ok(())
}

fn channel(entry: &ChannelEntry, experiment: &Experiment) -> Result<(), String> {
    let ChannelEntry { channel, usual, masked } = entry;
    let features = channel.features.len();
    if features == 0 {
        return Err("has no features".into());
    }
    let mut names = HashSet::new();
    if let Some(name) = channel.features.iter().find(|name| !names.insert(*name)) {
        return Err(format!("has the feature \"{name}\" twice"));
    }
    if let Some(shape) = channel.shape
        && shape.y.checked_mul(shape.x).is_none_or(|bins| bins == 0 || bins > features)
    {
        return Err(format!(
            "has a shape of {} · {} bins, but {features} features",
            shape.x, shape.y
        ));
    }
    if !experiment.data.layers.is_empty() && (channel.shape.is_none() || channel.element.is_none())
    {
        return Err("has no shape or no monitoring element, which layers need".into());
    }
    let beside = [
        ("paths", channel.paths.len()),
        ("unscaled", usual.unscaled.len()),
        ("feature_errors", usual.feature_errors.len()),
    ];
    if let Some((key, length)) =
        beside.into_iter().find(|(_, length)| *length != 0 && *length != features)
    {
        return Err(format!("{key} has {length} entries, but there are {features} features"));
    }
    let numbers =
        [usual.error, usual.mean_field_error, usual.log_mean, usual.log_std, usual.outside];
    if !numbers.iter().chain(&usual.feature_errors).all(|number| number.is_finite())
        || usual.log_std < 0.0
    {
        return Err("holds a number that is not finite, or a negative log_std".into());
    }
    match masked.iter().find(|bin| **bin as usize >= features) {
        Some(bin) => Err(format!("masks bin {bin} of {features}")),
        None => Ok(()),
    }
}

/// Checks `thresholds.json`; the error describes the fault.
pub fn thresholds(thresholds: &[Calibrated], entries: &[ChannelEntry]) -> Result<(), String> {
    for threshold in thresholds {
        let name = &threshold.channel;
        if name != COMBINED && !entries.iter().any(|entry| entry.channel.name == *name) {
            return Err(format!(
                "is for the channel \"{name}\", which channels.json does not name"
            ));
        }
        if !threshold.value.iter().chain(&threshold.members).all(|value| value.is_finite()) {
            return Err(format!("the threshold of \"{name}\" is not finite"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::Document,
        data::{channels::Channel, shape::Shape},
        score::error_baseline::ErrorBaseline,
    };
    use std::path::Path;

    fn wrong(change: impl Fn(&mut ChannelEntry)) -> String {
        let experiment = Experiment::check(
            &Document::parse("data.train = [\"a.csv\"]", Path::new("x.toml")).unwrap(),
            "x",
        )
        .unwrap();
        let channel = Channel::all(vec!["bin_0".into(), "bin_1".into()], None);
        let usual = ErrorBaseline {
            error: 1.0,
            mean_field_error: 2.0,
            log_mean: 0.0,
            log_std: 1.0,
            feature_errors: vec![0.5; 2],
            varies: None,
            unscaled: vec![],
            outside: 0.0,
        };
        let mut entry = ChannelEntry { channel, usual, masked: vec![] };
        change(&mut entry);
        channels(&[entry], &experiment).err().unwrap_or_default()
    }

    #[test]
    fn what_does_not_fit_is_named() {
        assert_eq!(wrong(|_| {}), "");
        for (message, part) in [
            (wrong(|entry| entry.channel.features.clear()), "channel \"all\": has no features"),
            (wrong(|entry| entry.channel.features[1] = "bin_0".into()), "\"bin_0\" twice"),
            (
                wrong(|entry| entry.channel.shape = Some(Shape { y: usize::MAX, x: 3 })),
                "has a shape of",
            ),
            (wrong(|entry| entry.usual.feature_errors.truncate(1)), "feature_errors has 1 entries"),
            (wrong(|entry| entry.usual.log_std = f64::NAN), "not finite"),
            (wrong(|entry| entry.masked = vec![2]), "masks bin 2"),
            (wrong(|entry| entry.channel.name = COMBINED.into()), "its name is reserved"),
        ] {
            assert!(message.contains(part), "{message}");
        }
    }
}
