//! Time of scoring rows that are in memory with 9-128-64-32-64-128-9, on all cores: `cargo bench
//! --bench score [-- --json]`.

use lumisift::{
    config::{
        DeviceChoice,
        model::{Init, Model},
        score::{Score, ScoreKind},
    },
    data::channels::Channel,
    device,
    model::Architecture,
    prepare::Rows,
    random,
    score::network::Network,
};
use rand::RngExt;
use std::time::Instant;

const ROWS: usize = 2_000_000;
const WIDTH: usize = 9;
const REPEATS: usize = 5;

fn main() {
    let architecture =
        Architecture::new(WIDTH, &Model { hidden: vec![128, 64], latent: 32, ..Model::default() });
    let members = vec![architecture.draw(Init::GlorotUniform, 1, 0)];
    let mut chance = random::generator(1, "bench", 0);
    let values: Vec<f32> = (0..ROWS * WIDTH).map(|_| chance.random()).collect();
    let (rows, device) =
        (Rows::new(&values, WIDTH), device::open(DeviceChoice::Cpu).expect("the CPU"));
    let channel = Channel::all((0..WIDTH).map(|i| format!("x_{i}")).collect(), None);
    let few: Vec<u32> = (0..1000).collect();
    let (trained, score) =
        ((channel, architecture, members), Score { kind: ScoreKind::Mse, ..Score::default() });
    let (network, _) =
        Network::fit_baseline(trained, &score, rows.at(&few), rows.at(&few), &device)
            .expect("a network");
    let once = || {
        let clock = Instant::now();
        let said = network.score(&score, rows, &device).expect("scores");
        assert_eq!(said.scores.len(), ROWS);
        ROWS as f64 / clock.elapsed().as_secs_f64() / 1e6
    };
    once();
    let mut rates: Vec<f64> = (0..REPEATS).map(|_| once()).collect();
    rates.sort_by(f64::total_cmp);
    if std::env::args().any(|argument| argument == "--json") {
        println!("{{\"rows\": {ROWS}, \"million_rows_per_second\": {:.3}}}", rates[REPEATS / 2]);
    } else {
        println!("{:.2} million rows a second", rates[REPEATS / 2]);
    }
}
