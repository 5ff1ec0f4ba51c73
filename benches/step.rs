//! Time of one training step of the two reference networks, on one thread: `cargo bench --bench
//! step [-- --json]`.

use lumisift::{
    config::{DeviceChoice, Document, Experiment},
    device,
    model::Architecture,
    prepare::Rows,
    random,
    train::{Epoch, Job, State, fit},
};
use rand::RngExt;
use std::{path::Path, time::Instant};

const BATCHES: usize = 100;
const REPEATS: usize = 7;

fn main() {
    // One thread, so that peers can be held to the same.
    rayon::ThreadPoolBuilder::new().num_threads(1).build_global().expect("the first thread pool");
    let metsig = "model = {hidden = [103], latent = 82, activation = \"relu\", output_activation = \"sigmoid\"}\nloss.activity_l2 = 1e-7";
    let cms2010b = "model = {hidden = [150], latent = 20, activation = \"sigmoid\"}";
    let results = [
        measure("52-103-82-103-52", 52, 42, metsig),
        measure("273-150-20-150-273", 273, 128, cms2010b),
    ];
    if std::env::args().any(|argument| argument == "--json") {
        println!("{{{}}}", results.join(", "));
    } else {
        results.iter().for_each(|result| println!("{result}"));
    }
}

fn measure(name: &str, width: usize, batch: usize, model: &str) -> String {
    let text = format!(
        "data.train = [\"-\"]\nthreshold.on = \"train\"\n{model}\n[train]\nepochs = 3\nbatch_size = {batch}\nshuffle = false\n"
    );
    let document = Document::parse(&text, Path::new("bench.toml")).expect("valid TOML");
    let experiment = Experiment::check(&document, "bench").expect("a valid config");
    let architecture = Architecture::new(width, &experiment.model);
    let start = architecture.draw(experiment.model.init, 1, 0);
    let mut chance = random::generator(1, "bench", 0);
    let values: Vec<f32> = (0..BATCHES * batch * width).map(|_| chance.random()).collect();
    let device = device::open(DeviceChoice::Cpu).expect("the CPU");
    let job = Job {
        experiment: &experiment,
        architecture: &architecture,
        start: &start,
        seed: 1,
        train: Rows::new(&values, width),
        valid: None,
    };
    let once = || {
        let clock = Instant::now();
        fit(&[job], &device, vec![State::start(&job)], vec![|_: &Epoch| Ok(())])
            .expect("a training");
        clock.elapsed().as_secs_f64() * 1e6 / (3 * BATCHES) as f64
    };
    once();
    let mut times: Vec<f64> = (0..REPEATS).map(|_| once()).collect();
    times.sort_by(f64::total_cmp);
    format!(
        "\"{name}\": {{\"batch\": {batch}, \"microseconds\": {:.1}, \"repeats\": {REPEATS}}}",
        times[REPEATS / 2]
    )
}
