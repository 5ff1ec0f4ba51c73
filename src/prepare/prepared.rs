//! What the stage hands on: rows that are ready for a model.

use super::{Rows, classes::Classes, labels::LabelSet, scale::Scaler, split::Split};
use crate::{
    config::raw::Order,
    data::{Samples, automasks::Automasks, channels::Channel},
};
use std::ops::Range;

/// Rows that are ready for a model.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// Rows as read.
    pub samples: Samples,
    /// What is known about them.
    pub labels: Vec<LabelSet>,
    /// What kinds of rows there are, where the config says so.
    pub classes: Option<Classes>,
    /// What is drawn beside the scores: a name, and one number a row, NaN where it is unknown.
    pub beside: Vec<(String, Vec<f32>)>,
    /// What each row is for.
    pub splits: Vec<Split>,
    /// How much each row counts, where the config says so.
    pub weights: Option<Vec<f32>>,
    /// How bins become inputs.
    pub scaler: Scaler,
    /// Inputs, `[rows, inputs]`: the scaled bins and what is added to them.
    pub inputs: Vec<f32>,
    /// Which of the inputs make which channel.
    pub channels: Vec<Channel>,
    /// What was masked when, where the config names tables of it.
    pub automasks: Automasks,
    /// What is worth knowing about files and labels.
    pub notes: Vec<String>,
}

impl Prepared {
    /// Names of the inputs.
    pub fn input_names(&self) -> Vec<String> {
        let added = self.scaler.added.as_ref().map_or(&[][..], |added| added.names.as_slice());
        self.samples.feature_names().into_iter().chain(added.iter().cloned()).collect()
    }

    /// All rows of a channel, weighted as they are; `columns` are those of the channel.
    pub fn rows<'a>(&'a self, columns: &'a [Range<usize>]) -> Rows<'a> {
        Rows::new(&self.inputs, self.scaler.inputs()).columns(columns).weighted(self.weights.as_deref())
    }

    /// The inputs of a row.
    pub fn input(&self, row: u32) -> &[f32] {
        let width = self.scaler.inputs();
        &self.inputs[row as usize * width..][..width]
    }

    /// Positions of the rows of a split, by run and LS or as they stand in their files.
    pub fn of_split(&self, wanted: Split, order: Order) -> Vec<u32> {
        let mut rows: Vec<u32> = (0..self.splits.len() as u32).filter(|&i| self.splits[i as usize] == wanted).collect();
        if order == Order::File {
            rows.sort_by_key(|&i| (self.samples.rows[i as usize].source, self.samples.rows[i as usize].index));
        }
        rows
    }
}
