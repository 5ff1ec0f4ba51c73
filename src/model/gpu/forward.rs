//! The forward pass on a GPU, and buffers on it.

use super::kernels::{self, Distance, KernelPlan, UpdateRule};
use crate::{
    config::Distance as Loss,
    device::{self, Gpu},
    error::Result,
    model::architecture::Architecture,
};
use cubecl::{client::Client, prelude::*, server::Handle};
use std::ops::Range;

/// Rows per block at a time.
pub(crate) const ROWS: usize = 32;

/// Blocks per member; more if the loops of a thread are limited.
const WORKERS: usize = 64;

pub(crate) fn upload(client: &Client, values: &[f32]) -> Handle {
    client.create_from_slice(f32::as_bytes(values))
}

pub(crate) fn download(client: &Client, handle: &Handle) -> Result<Vec<f32>> {
    let bytes =
        client.read_one(handle.clone()).map_err(|error| device::failure(&format!("{error:?}")))?;
    Ok(f32::from_bytes(&bytes).to_vec())
}

/// A kernel's argument.
#[allow(
    unsafe_code,
    reason = "kernels do not check where they read and write; lengths are those the buffers were made with"
)]
pub(crate) fn argument(handle: &Handle, length: usize) -> BufferArg {
    // SAFETY: every caller passes the number of values that the buffer was made for.
    unsafe { BufferArg::from_raw_parts(handle.clone(), length) }
}

/// Compilation parameters of the kernels of a network for `batch` rows at a time.
pub(crate) fn plan(
    architecture: &Architecture,
    batch: usize,
    loss: Loss,
    rule: UpdateRule,
    weighted: bool,
    units: usize,
) -> KernelPlan {
    let distance = match loss {
        Loss::Mse | Loss::Sse => Distance::Square,
        Loss::Mae => Distance::Absolute,
        Loss::SmoothL1 { .. } => Distance::Smooth,
    };
    let (widths, kinds) = (architecture.widths.clone(), architecture.activations.clone());
    KernelPlan { widths, kinds, batch, units, rule, distance, sum: loss == Loss::Sse, weighted }
}

/// Some layers of members on a GPU.
pub struct Forward {
    gpu: Gpu,
    plan: KernelPlan,
    states: Handle,
    stride: usize,
    members: usize,
}

impl Forward {
    /// From the flat weights `[parameters]` of each member. Returns `None` if the kernels do not
    /// support the network.
    pub fn new(
        architecture: &Architecture,
        members: &[Vec<f32>],
        layers: Range<usize>,
        gpu: Gpu,
    ) -> Option<Self> {
        if !KernelPlan::knows(architecture) {
            return None;
        }
        let whole = plan(architecture, ROWS, Loss::Mse, UpdateRule::Sgd, false, gpu.threads);
        let own = whole.weight_at(layers.start)..whole.weight_at(layers.end);
        let states: Vec<f32> =
            members.iter().flat_map(|weights| &weights[own.clone()]).copied().collect();
        let plan = KernelPlan {
            widths: whole.widths[layers.start..=layers.end].to_vec(),
            kinds: whole.kinds[layers].to_vec(),
            ..whole
        };
        Some(Self {
            states: upload(&gpu.client, &states),
            plan,
            stride: own.len(),
            members: members.len(),
            gpu,
        })
    }

    /// The output of the layers for rows `[rows, in]`: `[members, rows, out]`.
    pub fn run(&self, input: &[f32]) -> Result<Vec<f32>> {
        let rows = input.len() / self.plan.widths[0];
        let table = upload(&self.gpu.client, input);
        run(
            &self.gpu.client,
            self.gpu.most_loops,
            self.plan.clone(),
            1.0,
            (&table, rows),
            (&self.states, self.stride, self.members),
            false,
        )
    }
}

/// Computes the outputs of all members, `[members, rows, width of the last layer]`, or the
/// distances of input and output, `[members, rows]`. `states` are the members' parameters, their
/// stride, and the number of members.
pub(crate) fn run(
    client: &Client,
    most_loops: Option<usize>,
    plan: KernelPlan,
    beta: f32,
    (table, rows): (&Handle, usize),
    (states, stride, members): (&Handle, usize, usize),
    distances: bool,
) -> Result<Vec<f32>> {
    let blocks = rows.div_ceil(plan.batch).max(1);
    let workers = WORKERS
        .max(most_loops.map_or(0, |most| blocks.div_ceil((most / plan.loops().0).max(1))))
        .min(blocks);
    let values = plan.value_at(plan.widths.len());
    let (width, out_width) =
        (plan.widths[0], if distances { 1 } else { plan.widths[plan.layers()] });
    let out = client.empty(members * rows * out_width * size_of::<f32>());
    kernels::run::launch(
        client,
        CubeCount::Static((members * workers) as u32, 1, 1),
        CubeDim::new_1d(plan.units as u32),
        argument(table, rows * width),
        argument(states, members * stride),
        argument(
            &client.empty(members * workers * values * size_of::<f32>()),
            members * workers * values,
        ),
        argument(&out, members * rows * out_width),
        stride as u32,
        rows as u32,
        workers as u32,
        beta,
        plan,
        distances,
    );
    download(client, &out)
}
