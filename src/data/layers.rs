//! Layers: several monitoring elements of one detector. Chooses and names them.

use super::{channels, shape::Shape};
use crate::{
    config::data::Data,
    error::{Error, Result, listed, suggestion},
};
use std::{
    collections::{BTreeSet, HashSet},
    ops::Range,
};

/// A layer of the samples.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// What its channel is called.
    pub name: String,
    /// Its monitoring element.
    pub element: String,
    /// How its bins are laid out.
    pub shape: Shape,
    /// Edges of its axes, if the files have them: x from, x to, y from, y to.
    pub edges: [Option<f64>; 4],
    /// The range of its bins among a row's values.
    pub columns: Range<usize>,
}

/// A layer to read.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerSpec {
    /// What its channel is called.
    pub name: String,
    /// Its monitoring element.
    pub element: String,
    /// The required shape if a model was trained on it.
    pub shape: Option<Shape>,
}

/// The layers that match `data.layers` among the monitoring elements of all files, in the order of
/// the patterns, and within a pattern in natural order of their names.
pub fn choose(data: &Data, elements: &BTreeSet<&str>) -> Result<Vec<LayerSpec>> {
    let texts = &data.layers;
    let mut chosen: Vec<&str> = vec![];
    for (pattern, text) in data.layer_patterns().iter().zip(texts) {
        let mut own: Vec<&str> = elements
            .iter()
            .copied()
            .filter(|element| element == text || pattern.matches(element))
            .collect();
        if own.is_empty() {
            return Err(Error::input(format!(
                "data.layers: no monitoring element \"{text}\"{}",
                there_are(text, elements)
            )));
        }
        own.sort_by_cached_key(|element| natural(element));
        own.retain(|element| !chosen.contains(element));
        chosen.extend(own);
    }
    let names = names(&chosen)?;
    Ok(names
        .into_iter()
        .zip(chosen)
        .map(|(name, element)| LayerSpec { name, element: element.to_owned(), shape: None })
        .collect())
}

/// Refuses files that lack a layer of a trained model.
pub fn refuse_missing(layers: &[LayerSpec], elements: &BTreeSet<&str>) -> Result<()> {
    match layers.iter().find(|layer| !elements.contains(layer.element.as_str())) {
        None => Ok(()),
        Some(LayerSpec { name, element, .. }) => {
            let there_are = there_are(element, elements);
            Err(Error::input(format!(
                "no monitoring element \"{element}\", the layer {name} of the model{there_are}"
            )))
        }
    }
}

/// Lists all elements and suggests the nearest. The parts before the last are mostly equal, so the
/// last is compared separately as well.
fn there_are(text: &str, elements: &BTreeSet<&str>) -> String {
    if elements.is_empty() {
        return "; the files name no monitoring elements".into();
    }
    let last = |name: &str| name.rsplit('/').next().unwrap_or_default().to_owned();
    let wanted = last(text).replace(['*', '?'], "");
    let by_last = elements.iter().map(|element| last(element)).collect::<Vec<_>>();
    let whole = suggestion(text, elements.iter().copied());
    let near = if whole.is_empty() {
        suggestion(&wanted, by_last.iter().map(String::as_str))
    } else {
        whole
    };
    format!("{near}; there are {}", listed(elements.iter().copied()))
}

/// Splits a name into texts followed by numbers, so that layer 10 sorts after layer 9.
fn natural(name: &str) -> Vec<(String, u64)> {
    let mut parts = vec![];
    let mut rest = name;
    while !rest.is_empty() {
        let text = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let digits = rest[text..]
            .find(|c: char| !c.is_ascii_digit())
            .map_or(rest.len(), |digits| text + digits);
        parts.push((rest[..text].to_owned(), rest[text..digits].parse().unwrap_or(u64::MAX)));
        rest = &rest[digits..];
    }
    parts
}

/// The names of the layers of some elements: the last part of the path without the common first
/// words, provided that the rest begins with a letter. If that is ambiguous, the last part, or the
/// whole element.
fn names(elements: &[&str]) -> Result<Vec<String>> {
    let last: Vec<&str> =
        elements.iter().map(|element| element.rsplit('/').next().unwrap_or_default()).collect();
    let Some(first) = last.first() else { return Ok(vec![]) };
    let alike = |other: &&str| first.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count();
    let common = last.iter().map(alike).min().unwrap_or_default();
    let begins =
        |cut: &usize| last.iter().all(|name| name[*cut..].starts_with(char::is_alphabetic));
    let cut = (1..=common)
        .rev()
        .filter(|&at| first.as_bytes()[at - 1] == b'_')
        .find(begins)
        .unwrap_or_default();
    let short: Vec<String> = last.iter().map(|name| name[cut..].to_owned()).collect();
    let whole = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    for names in [short, whole(&last), whole(elements)] {
        let files: HashSet<String> =
            names.iter().map(|name: &String| name.replace('/', "_")).collect();
        let taken = [channels::ALL_FEATURES, channels::COMBINED, ""];
        if files.len() == names.len() && !names.iter().any(|name| taken.contains(&name.as_str())) {
            return Ok(names);
        }
    }
    Err(Error::input(format!(
        "data.layers: the monitoring elements {} cannot be told apart in file names",
        listed(elements.iter().copied())
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(elements: &[&str]) -> Vec<String> {
        names(elements).unwrap()
    }

    #[test]
    fn names_are_as_short_as_they_can_be() {
        assert_eq!(
            named(&[
                "P/B/clusterposition_zphi_ontrack_PXLayer_1",
                "P/B/clusterposition_zphi_ontrack_PXLayer_2"
            ]),
            ["PXLayer_1", "PXLayer_2"]
        );
        assert_eq!(named(&["P/B/clusterposition_zphi_ontrack_PXLayer_1"]), ["PXLayer_1"]);
        assert_eq!(
            named(&["DigiTask_Occupancy_depth_depth1", "DigiTask_Occupancy_depth_depth7"]),
            ["depth1", "depth7"]
        );
        assert_eq!(
            named(&["F/position_xy_PXDisk_+1", "F/position_xy_PXDisk_-1"]),
            ["PXDisk_+1", "PXDisk_-1"]
        );
        assert_eq!(
            named(&["P_zphi_PXLayer_1", "P_xy_PXDisk_1"]),
            ["zphi_PXLayer_1", "xy_PXDisk_1"]
        );
        assert_eq!(named(&["occupancy", "occupancy_fine"]), ["occupancy", "occupancy_fine"]);
    }

    #[test]
    fn names_that_are_alike_or_taken_are_longer() {
        assert_eq!(named(&["A/charge_1", "B/charge_1"]), ["A/charge_1", "B/charge_1"]);
        assert_eq!(named(&["D/hits_all", "D/hits_combined"]), ["hits_all", "hits_combined"]);
        assert_eq!(named(&["D/all"]), ["D/all"]);
        assert!(
            names(&["A/b_1", "A_b/1", "A/b/1"])
                .unwrap_err()
                .to_string()
                .contains("cannot be told apart")
        );
    }

    #[test]
    fn layer_10_comes_after_layer_9() {
        let mut elements = ["L_10", "L_9", "L_+2", "M_1", "L_9_b"];
        elements.sort_by_cached_key(|name| natural(name));
        assert_eq!(elements, ["L_9", "L_9_b", "L_10", "L_+2", "M_1"]);
    }
}
