//! Small trainings for tests.

use super::{
    fit::fit,
    state::{Epoch, Fitted, State},
    trainer::Job,
};
use crate::{
    config::{Document, Experiment},
    device::Device,
    error::Result,
    random,
};
use rand::RngExt;

pub(super) fn cpu() -> Device {
    crate::device::open(crate::config::DeviceChoice::Cpu).unwrap()
}

pub(super) fn experiment(text: &str) -> Experiment {
    let text = format!("data.train = [\"a\"]\nthreshold.on = \"train\"\n{text}");
    Experiment::check(&Document::parse(&text, std::path::Path::new("x.toml")).unwrap(), "x")
        .unwrap()
}

pub(super) fn data(rows: usize, width: usize) -> Vec<f32> {
    let mut chance = random::generator(5, "test data", 0);
    (0..rows)
        .flat_map(|_| {
            let a: f32 = chance.random();
            (0..width).map(move |i| (a * (i + 1) as f32).sin().abs()).collect::<Vec<_>>()
        })
        .collect()
}

pub(super) fn run(job: &Job<'_>) -> Result<Fitted> {
    run_pack(std::slice::from_ref(job)).remove(0)
}

pub(super) fn run_pack(jobs: &[Job<'_>]) -> Vec<Result<Fitted>> {
    let watches = jobs.iter().map(|_| |_: &Epoch| Ok(())).collect();
    fit(jobs, &cpu(), jobs.iter().map(State::start).collect(), watches).unwrap().unwrap()
}

pub(super) const SMALL: &str = "model = {hidden = [8], latent = 3}\n";
