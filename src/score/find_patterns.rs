//! Finds patterns in the reconstruction errors of rows.

use super::{
    inference::Inference,
    network::Network,
    patterns::{DetectorLayer, Finder, Found, Map, PatternSettings, Region, scored::Patterns},
};
use crate::{
    config,
    device::{Device, side_by_side},
    error::Result,
    prepare::Prepared,
};
use std::ops::Range;

/// Finds patterns in the errors of every row, run by run, if the config has `[patterns]`.
pub fn find_patterns(
    section: Option<&config::patterns::Patterns>,
    networks: &[Network],
    prepared: &Prepared,
    device: &Device,
) -> Result<Option<Patterns>> {
    let Some(section) = section else { return Ok(None) };
    let layers: Vec<DetectorLayer> = networks.iter().map(Network::layer).collect();
    let settings = PatternSettings::new(section, layers.len());
    settings.check(layers.iter().map(|layer| (layer.name.as_str(), layer.shape)))?;
    let names = prepared.input_names();
    let columns: Vec<Vec<Range<usize>>> =
        networks.iter().map(|network| network.channel.columns(&names)).collect();
    let of_run = |rows: Range<usize>| {
        find_all(&settings, &layers, networks, &columns, prepared, rows, device)
    };
    let found = side_by_side(device, prepared.samples.run_ranges(), of_run)?.concat();
    let known = |(row, found): (usize, &Found)| {
        let id = prepared.samples.id(row);
        let masked = |region: &Region| prepared.automasks.masked(id.run?, id.ls, region.layer);
        found
            .regions
            .iter()
            .map(|region| masked(region).is_some_and(|areas| region.is_known(areas)))
            .collect()
    };
    let known = found.iter().enumerate().map(known).collect();
    Ok(Some(Patterns::new(settings, layers, found, known, &prepared.samples, section.gap)))
}

/// Finds the patterns of a run's rows. `layers` and `columns` (of the inputs) are those of
/// `networks`, in the same order. An ensemble uses its mean reconstruction.
fn find_all(
    settings: &PatternSettings,
    layers: &[DetectorLayer],
    networks: &[Network],
    columns: &[Vec<Range<usize>>],
    prepared: &Prepared,
    rows: Range<usize>,
    device: &Device,
) -> Result<Vec<Found>> {
    let index: Vec<u32> = rows.clone().map(|row| row as u32).collect();
    // For each layer: offset of its bins in a row, inputs and reconstructions, [rows, bins].
    let mut of_layers: Vec<(usize, Vec<f32>, Vec<f32>)> = vec![];
    for (network, columns) in networks.iter().zip(columns) {
        let (mut inputs, mut outputs): (Vec<f32>, Vec<f32>) = (vec![], vec![]);
        let members = network.members.len() as f32;
        let runner = Inference::new(&network.architecture, &network.members, device);
        runner.reconstruct(
            prepared.rows(columns).at(&index),
            &mut |_, member, input, output| {
                if member == 0 {
                    inputs.extend_from_slice(input);
                    outputs.extend(output.iter().map(|value| value / members));
                } else {
                    let row = outputs.len() - output.len();
                    outputs[row..]
                        .iter_mut()
                        .zip(output)
                        .for_each(|(sum, value)| *sum += value / members);
                }
            },
        )?;
        // A missing bin is replaced by its reconstruction.
        inputs
            .iter_mut()
            .zip(&outputs)
            .filter(|(input, _)| input.is_nan())
            .for_each(|(input, output)| *input = *output);
        of_layers.push((columns.first().map_or(0, |range| range.start), inputs, outputs));
    }
    let mut finder = Finder::new(settings, layers);
    let of_row = |(at, row): (usize, usize)| {
        let maps: Vec<Map<'_>> = of_layers
            .iter()
            .zip(layers)
            .map(|((first, inputs, outputs), layer)| {
                let width = layer.shape.width();
                let own = at * width..(at + 1) * width;
                Map {
                    contents: &prepared.samples.row(row)[*first..first + width],
                    input: &inputs[own.clone()],
                    output: &outputs[own],
                }
            })
            .collect();
        finder.row(prepared.samples.rows[row].run, &maps)
    };
    Ok(rows.enumerate().map(of_row).collect())
}
