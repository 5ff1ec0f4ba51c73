//! Replaces histograms by their seven numbers
//! ([`histogram_quantiles`](crate::data::histogram_quantiles)).

use crate::{
    data::{
        histogram_quantiles::{NAMES, Unit, of_bins},
        samples::Samples,
        shape::Shape,
        table::Column,
    },
    error::{Error, Result},
};
use rayon::prelude::*;

/// Replaces the bins of each row by their seven numbers in units of its axis. Underflow and
/// overflow have no position on the axis and are excluded. If no file has the axis, the numbers are
/// in bins.
pub fn summarise(samples: &mut Samples) -> Result<()> {
    if samples.features.is_some() {
        return Err(Error::input("data.summary: the rows hold features; expected histograms"));
    }
    if samples.shape.y > 1 {
        return Err(Error::input(format!(
            "data.summary: the histograms are maps of {}; expected histograms in one dimension",
            samples.shape
        )));
    }
    let width = samples.width();
    let inside = if samples.flow_bins && width > 2 { 1..width - 1 } else { 0..width };
    let axes = std::mem::take(&mut samples.axes);
    let unit = if axes.is_empty() { Unit::Bins } else { Unit::Axis };
    let edges =
        |row: usize| axes.get(row).map_or((0.0, inside.len() as f64), |[low, high]| (*low, *high));
    if unit == Unit::Bins {
        samples.notes.push("data.summary: the files do not say the axis of their histograms, so the seven numbers are in bins from 0; give the files columns Xmin and Xmax to have units".into());
    }
    // Keeps the "entries" of each row.
    if !samples.columns.contains_key("entries") {
        let entries = samples
            .values
            .chunks_exact(width)
            .map(|bins| bins.iter().map(|count| f64::from(*count)).sum())
            .collect();
        samples.columns.insert("entries".into(), Column::Numbers(entries));
    }
    let of_row = |(row, bins): (usize, &[f32])| of_bins(&bins[inside.clone()], edges(row));
    samples.values = samples
        .values
        .par_chunks_exact(width)
        .enumerate()
        .flat_map_iter(of_row)
        .map(|number| number as f32)
        .collect();
    (samples.shape, samples.flow_bins, samples.edges) =
        (Shape::line(NAMES.len()), false, [None; 4]);
    samples.features = Some(NAMES.map(String::from).to_vec().into());
    samples.summarised = Some(unit);
    Ok(())
}
