//! What the lumisection viewer shows: of each row kept, the input, its reconstruction and the error of every bin or feature.

use super::data::{Shown, packed};
use crate::{
    config::{Experiment, raw::FitOn},
    data::table::Shape,
    device::Opened,
    error::Result,
    prepare::Prepared,
    report::scores::Scores,
    score::{error::Runner, network::Network},
};
use serde_json::{Value, json};

/// Bytes that the frames of all channels have together before they are packed, but for flagged rows, all of which are kept.
const BUDGET: usize = 4 << 20;
/// Of more features than this, as many are kept of a row: those with the largest errors.
const FEATURES: usize = 40;

/// The frames of each channel. Of several channels each keeps the rows that it flags itself or that all together flag.
pub fn of_channels(
    experiment: &Experiment,
    networks: &[Network],
    prepared: &Prepared,
    scores: &Scores,
    shown: &Shown,
    device: &Opened,
) -> Result<Vec<Value>> {
    networks.iter().map(|network| of_channel(experiment, network, networks.len(), prepared, scores, shown, device)).collect()
}

fn of_channel(
    experiment: &Experiment,
    network: &Network,
    channels: usize,
    prepared: &Prepared,
    scores: &Scores,
    shown: &Shown,
    device: &Opened,
) -> Result<Value> {
    let samples = &prepared.samples;
    let width = network.channel.features.len();
    let is_map = samples.features.is_none();
    let k = if is_map { width } else { width.min(FEATURES) };
    let listed = k < width;
    let bytes = 3 * k + if listed { 2 * k } else { 0 } + 16;
    let own = scores.channels.iter().find(|channel| channel.name == network.channel.name);
    let deciding: Vec<_> = own.into_iter().chain(scores.main()).collect();
    let rows: Vec<(usize, usize, usize)> = shown.places().collect();
    let (flagged, others): (Vec<_>, Vec<_>) =
        rows.into_iter().partition(|(_, _, row)| deciding.iter().any(|channel| channel.flagged(*row) == Some(true)));
    let place = (BUDGET / channels / bytes).saturating_sub(flagged.len()).max(1);
    let step = others.len().div_ceil(place).max(1);
    let mut kept: Vec<(usize, usize, usize)> = flagged.into_iter().chain(others.into_iter().step_by(step)).collect();
    kept.sort_unstable();

    // In the units of the data where the scaling can be undone.
    let scaler = &prepared.scaler;
    let as_read = scaler.forgets().is_none() && scaler.clip.is_none() && scaler.fit_on != FitOn::EachFile && experiment.divide_by.is_none();
    let columns = network.channel.columns(&prepared.input_names());
    let places: Vec<usize> = columns.iter().cloned().flatten().collect();
    let undo = |values: &[f32]| -> Vec<f32> {
        if as_read { values.iter().zip(&places).map(|(value, &column)| scaler.undo(column, *value)).collect() } else { values.to_vec() }
    };
    let kind = experiment.config.score.kind;
    let positions: Vec<u32> = kept.iter().map(|(_, _, row)| shown.position(*row)).collect();
    let n = kept.len();
    let (mut low, mut high, mut highest) = (Vec::with_capacity(n), Vec::with_capacity(n), Vec::with_capacity(n));
    let (mut inputs, mut outputs, mut errors) = (Vec::with_capacity(n * k), Vec::with_capacity(n * k), Vec::with_capacity(n * k));
    let mut features: Vec<u16> = vec![];
    // Of an ensemble the mean of what its members make of a row.
    let members = network.members.len();
    let (mut output_sum, mut error_sum) = (vec![0.0_f32; width], vec![0.0_f64; width]);
    let runner = Runner::new(&network.architecture, &network.members, device);
    runner.reconstruct(prepared.rows(&columns).at(&positions), &mut |_, member, input, output| {
        if member == 0 {
            output_sum.fill(0.0);
            error_sum.fill(0.0);
        }
        for ((sum, error), (input, output)) in output_sum.iter_mut().zip(&mut error_sum).zip(input.iter().zip(output)) {
            *sum += output / members as f32;
            *error += kind.of_feature(*input, *output) / members as f64;
        }
        if member + 1 < members {
            return;
        }
        let (seen, made) = (undo(input), undo(&output_sum));
        let mut chosen: Vec<usize> = (0..width).collect();
        if listed {
            chosen.sort_by(|a, b| error_sum[*b].total_cmp(&error_sum[*a]));
            chosen.truncate(k);
            chosen.sort_unstable();
            features.extend(chosen.iter().map(|&at| at as u16));
        }
        let finite = || chosen.iter().flat_map(|&at| [seen[at], made[at]]).filter(|value| value.is_finite());
        let (from, to) = finite().fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        let (from, to) = if from <= to { (from, to) } else { (0.0, 0.0) };
        let worst = chosen.iter().map(|&at| error_sum[at]).filter(|error| error.is_finite()).fold(0.0, f64::max);
        let code = |value: f64, range: f64| if range > 0.0 { ((value / range).clamp(0.0, 1.0).sqrt() * 255.0).round() as u8 } else { 0 };
        inputs.extend(chosen.iter().map(|&at| code(f64::from(seen[at] - from), f64::from(to - from))));
        outputs.extend(chosen.iter().map(|&at| code(f64::from(made[at] - from), f64::from(to - from))));
        errors.extend(chosen.iter().map(|&at| code(error_sum[at], worst)));
        low.push(from);
        high.push(to);
        highest.push(worst as f32);
    })?;
    let note = if step > 1 { format!("all flagged ones, and one in {step} of the others that are shown above") } else { String::new() };
    let layer = samples.layers.iter().find(|layer| layer.name == network.channel.name);
    let whole = Some(samples.shape).filter(|_| width == samples.width());
    let shape = layer.map(|layer| layer.shape).or(whole).filter(|shape| shape.width() == width).unwrap_or(Shape::line(width));
    let edges = layer.map_or(samples.edges, |layer| layer.edges);
    Ok(json!({
        "channel": network.channel.name,
        "names": if is_map { None } else { Some(&network.channel.features) },
        "element": network.channel.element,
        "shape": [shape.y, shape.x],
        "edges": edges.iter().any(Option::is_some).then_some(edges),
        "unit": if as_read { "as read" } else { "as scaled" },
        "error": format!("{} of scaled inputs", kind.per_feature()),
        "run": packed(kept.iter().map(|(run, _, _)| *run as u16))?,
        "at": packed(kept.iter().map(|(_, at, _)| *at as u32))?,
        "low": packed(low.into_iter())?,
        "high": packed(high.into_iter())?,
        "input": packed(inputs.into_iter())?,
        "output": packed(outputs.into_iter())?,
        "error_high": packed(highest.into_iter())?,
        "errors": packed(errors.into_iter())?,
        "features": if listed { Some(packed(features.into_iter())?) } else { None },
        "k": k,
        "note": note,
    }))
}
