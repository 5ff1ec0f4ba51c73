//! Latents and decoded rows as tables.

use crate::{
    data::Samples, error::Result, files::tables, model::Architecture, score::network::Network,
};
use arrow_array::{Array, ArrayRef, Float32Array, StringArray, UInt32Array};
use std::{path::Path, sync::Arc};

/// Who a row is.
#[derive(Clone, Debug, PartialEq)]
pub struct Identity {
    /// Its file.
    pub file: Option<Arc<str>>,
    /// Its run, where known.
    pub run: Option<u32>,
    /// Its LS, or the number of the event.
    pub ls: u32,
}

impl Identity {
    /// Those of all rows that are evaluated.
    pub fn of(samples: &Samples) -> Vec<Self> {
        let files: Vec<Arc<str>> =
            samples.sources.iter().map(|source| source.name.as_str().into()).collect();
        let of_row = |i: usize| Self {
            file: Some(files[samples.rows[i].source as usize].clone()),
            run: samples.id(i).run,
            ls: samples.rows[i].ls,
        };
        (0..samples.rows.len()).map(of_row).collect()
    }
}

pub(super) fn identity_columns<'a>(
    rows: impl Iterator<Item = &'a Identity> + Clone,
    events: bool,
) -> Vec<(String, ArrayRef)> {
    vec![
        (
            "file".into(),
            Arc::new(rows.clone().map(|row| row.file.as_deref()).collect::<StringArray>()),
        ),
        ("run".into(), Arc::new(rows.clone().map(|row| row.run).collect::<UInt32Array>())),
        (
            if events { "event" } else { "ls" }.into(),
            Arc::new(rows.map(|row| Some(row.ls)).collect::<UInt32Array>()),
        ),
    ]
}

/// The same without a run where no row has one: a table with runs that are all unknown is none that
/// can be read again.
fn known_columns<'a>(
    rows: impl Iterator<Item = &'a Identity> + Clone,
    events: bool,
) -> Vec<(String, ArrayRef)> {
    let mut columns = identity_columns(rows, events);
    columns.retain(|(name, column)| name != "run" || column.null_count() < column.len());
    columns
}

/// The name of one number of a latent.
pub fn latent_name(i: usize) -> String {
    format!("latent_{i}")
}

/// Writes `file, run` (where known)`, ls` (or `event`)`, channel, latent_0, latent_1, …`: one row
/// per sample and channel. `latents` holds for each network the positions of the rows that it
/// evaluates and their latents, `[rows, latent]`.
pub fn write_latents(
    path: &Path,
    rows: &[Identity],
    events: bool,
    networks: &[Network],
    latents: &[(Vec<u32>, Vec<f32>)],
) -> Result<()> {
    let mut columns = known_columns(
        latents.iter().flat_map(|(own, _)| own.iter().map(|row| &rows[*row as usize])),
        events,
    );
    let names = networks
        .iter()
        .zip(latents)
        .flat_map(|(network, (own, _))| own.iter().map(|_| Some(network.channel.name.as_str())));
    columns.push(("channel".into(), Arc::new(names.collect::<StringArray>())));
    let width = networks.first().map_or(0, |network| Architecture::latent(&network.architecture));
    for at in 0..width {
        let numbers = latents
            .iter()
            .flat_map(|(_, latents)| latents.chunks_exact(width).map(|row| Some(row[at])));
        columns.push((latent_name(at), Arc::new(numbers.collect::<Float32Array>())));
    }
    tables::write(path, &tables::of_columns(columns)?)
}

/// Writes `file, run` (where known)`, ls` (or `event`) and a column per feature. `features` are
/// names with one entry a row.
pub fn write_features(
    path: &Path,
    rows: &[Identity],
    events: bool,
    features: Vec<(String, Vec<Option<f32>>)>,
) -> Result<()> {
    let mut columns = known_columns(rows.iter(), events);
    columns.extend(features.into_iter().map(|(name, values)| -> (String, ArrayRef) {
        (name, Arc::new(Float32Array::from(values)))
    }));
    tables::write(path, &tables::of_columns(columns)?)
}
