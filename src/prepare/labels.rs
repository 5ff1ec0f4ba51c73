//! What is known about rows: labels (good = 1) and weights, from columns.

use crate::{
    config::raw::Labels as Config,
    data::{Samples, parse_flag},
    error::{Error, Result},
};

/// One set of labels, one entry a row: `Some(true)` is good, `None` unknown.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelSet {
    /// How reports name it: "good" for `labels.good`, else the name in `labels.sets`.
    pub name: String,
    /// The column it comes from.
    pub column: String,
    /// Good, bad or unknown.
    pub good: Vec<Option<bool>>,
}

/// The columns that labels are read from.
pub fn columns(config: &Config) -> Vec<String> {
    config.good.iter().chain(config.sets.values()).cloned().collect()
}

/// The label sets of a config, `labels.good` first. Columns that the samples lack (data to be scored) give no set.
pub fn read(samples: &Samples, config: &Config) -> Result<Vec<LabelSet>> {
    let main = config.good.iter().map(|column| ("good", column));
    let others = config.sets.iter().map(|(name, column)| (name.as_str(), column));
    let mut sets = vec![];
    for (name, column) in main.chain(others) {
        let Some(texts) = samples.columns.get(column) else { continue };
        let good = texts
            .iter()
            .enumerate()
            .map(|(i, text)| parse_flag(text).map_err(|reason| Error::input(format!("{}: label column \"{column}\": {reason}", samples.place(i)))))
            .collect::<Result<Vec<_>>>()?;
        sets.push(LabelSet { name: name.to_owned(), column: column.clone(), good });
    }
    Ok(sets)
}

/// The weights in a column: finite and not negative.
pub fn weights(samples: &Samples, column: &str) -> Result<Vec<f32>> {
    let Some(texts) = samples.columns.get(column) else { return Ok(vec![1.0; samples.rows.len()]) };
    let number = |(i, text): (usize, &String)| match text.parse::<f32>() {
        Ok(weight) if weight.is_finite() && weight >= 0.0 => Ok(weight),
        _ => Err(Error::input(format!("{}: weight column \"{column}\" is \"{text}\"; expected a number, not negative", samples.place(i)))),
    };
    texts.iter().enumerate().map(number).collect()
}
