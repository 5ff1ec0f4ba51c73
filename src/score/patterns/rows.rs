//! The patterns of rows that networks reconstruct.

use super::{Finder, Found, Layer, Map, Settings};
use crate::{
    device::Opened,
    error::Result,
    prepare::Prepared,
    score::{error::Runner, network::Network},
};
use std::ops::Range;

/// Finds the patterns of a run's rows; `layers` and `columns` (of the inputs) are those of
/// `networks`, in their order. Of an ensemble the mean reconstruction counts.
pub fn find_all(
    settings: &Settings,
    layers: &[Layer],
    networks: &[Network],
    columns: &[Vec<Range<usize>>],
    prepared: &Prepared,
    rows: Range<usize>,
    device: &Opened,
) -> Result<Vec<Found>> {
    let index: Vec<u32> = rows.clone().map(|row| row as u32).collect();
    // Of each layer where its bins begin in a row, its inputs and its reconstructions, [rows,
    // bins].
    let mut of_layers: Vec<(usize, Vec<f32>, Vec<f32>)> = vec![];
    for (network, columns) in networks.iter().zip(columns) {
        let (mut inputs, mut outputs): (Vec<f32>, Vec<f32>) = (vec![], vec![]);
        let members = network.members.len() as f32;
        let runner = Runner::new(&network.architecture, &network.members, device);
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
        // A missing bin is taken for reconstructed as it would be.
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
