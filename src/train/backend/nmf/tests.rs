use crate::{
    config::{DeviceChoice, Document, Experiment},
    device::{self, Device},
    model::Architecture,
    prepare::Rows,
    random,
    train::{
        fit,
        observer::Pausing,
        state::{Epoch, Fitted, State, Stopped},
        trainer::Job,
    },
};
use rand::RngExt;

pub(crate) const ROWS: usize = 120;

pub(crate) const BINS: usize = 30;

pub(crate) fn cpu() -> Device {
    device::open(DeviceChoice::Cpu).unwrap()
}

pub(crate) fn experiment(text: &str) -> Experiment {
    let text = format!(
        "data.train = [\"a\"]\nthreshold.on = \"train\"\nmodel.kind = \"nmf\"\nmodel.latent = 3\n{text}"
    );
    Experiment::check(&Document::parse(&text, std::path::Path::new("x.toml")).unwrap(), "x")
        .unwrap()
}

/// Rows that are sums of three components, with some noise.
pub(crate) fn made(rows: usize, noise: f32) -> Vec<f32> {
    let mut chance = random::generator(3, "test data", rows as u64);
    let component = |j: usize, bin: usize| {
        if bin % 3 == j { 1.0 + (bin as f32 * 0.7).sin().abs() } else { 0.05 }
    };
    (0..rows)
        .flat_map(|_| {
            let coefficients: [f32; 3] = std::array::from_fn(|_| chance.random_range(0.0..2.0));
            let row = |bin: usize| (0..3).map(|j| coefficients[j] * component(j, bin)).sum::<f32>();
            (0..BINS)
                .map(|bin| (row(bin) + chance.random_range(0.0..=noise)).max(0.0))
                .collect::<Vec<_>>()
        })
        .collect()
}

/// Trains with a pause after every `every` batches.
fn train_in_pieces(text: &str, values: &[f32], every: usize) -> Fitted {
    let experiment = experiment(text);
    let architecture = Architecture::new(BINS, &experiment.model);
    let start = architecture.draw(experiment.model.init, 1, 0);
    let valid = made(40, 0.1);
    let job = Job {
        experiment: &experiment,
        architecture: &architecture,
        start: &start,
        seed: 1,
        train: Rows::new(values, BINS),
        valid: Some(Rows::new(&valid, BINS)),
    };
    let mut state = State::start(&job);
    loop {
        let mut pausing = Pausing { left: every, kept: None };
        match fit(&[job], &cpu(), vec![state], vec![&mut pausing]).unwrap() {
            Some(mut fitted) => break fitted.remove(0).unwrap(),
            None => state = pausing.kept.unwrap(),
        }
    }
}

pub(crate) fn train(text: &str, values: &[f32]) -> Fitted {
    train_in_pieces(text, values, usize::MAX)
}

fn losses(fitted: &Fitted) -> Vec<(f64, Option<f64>)> {
    fitted.history.iter().map(|epoch| (epoch.train_loss, epoch.valid_loss)).collect()
}

#[test]
fn rows_that_are_sums_of_components_are_factorised() {
    let values = made(ROWS, 0.0);
    let square =
        values.iter().map(|value| f64::from(value * value)).sum::<f64>() / values.len() as f64;
    for (text, part) in [
        ("train.epochs = 300\ntrain.stop.tolerance = 0.0", 1e-6),
        ("train.epochs = 300\ntrain.stop.tolerance = 0.0\nmodel.nmf.start = \"random\"", 1e-6),
        ("train.epochs = 1000\ntrain.stop.tolerance = 0.0\nmodel.nmf.solver = \"mu\"", 1e-3),
        (
            "train.epochs = 300\ntrain.batch_size = 40\ntrain.stop.tolerance = 0.0\nmodel.nmf.forget = 0.7",
            1e-4,
        ),
        ("train.epochs = 100\ntrain.kernels = \"reference\"\ntrain.stop.tolerance = 0.0", 1e-5),
    ] {
        let fitted = train(text, &values);
        let last = fitted.history.last().unwrap().train_loss;
        assert!(last < part * square, "{text}: {last} of {square}");
        assert!(fitted.weights.iter().all(|value| *value >= 0.0 && value.is_finite()));
    }
}

#[test]
fn with_all_rows_at_once_the_loss_never_rises_and_training_ends_where_it_hardly_falls() {
    let values = made(ROWS, 0.3);
    for start in ["nndsvd", "random"] {
        let fitted = train(
            &format!(
                "train.epochs = 500\nmodel.nmf.start = \"{start}\"\ntrain.stop.tolerance = 1e-4"
            ),
            &values,
        );
        let losses: Vec<f64> = fitted.history.iter().map(|epoch| epoch.train_loss).collect();
        assert!(losses.windows(2).all(|pair| pair[1] <= pair[0] * (1.0 + 1e-6)), "{losses:?}");
        assert_eq!(fitted.stopped, Stopped::Converged);
        let falls = |at: usize| losses[at - 1] - losses[at] >= 1e-4 * losses[0];
        assert!((1..losses.len() - 1).all(falls) && !falls(losses.len() - 1), "{losses:?}");
    }
}

#[test]
fn tensors_come_to_the_same_as_plain_memory() {
    let values = made(ROWS, 0.3);
    for text in [
        "",
        "train.batch_size = 50\nmodel.nmf.forget = 0.5",
        "model.nmf = {l1_coefficients = 0.01, l2_coefficients = 0.02, l1_components = 0.1, l2_components = 0.2}",
        "model.nmf = {solver = \"mu\", start = \"random\"}",
        "model.nmf.fill_zeros = 1.0",
    ] {
        let text = format!("train.epochs = 5\ntrain.stop.tolerance = 0.0\n{text}");
        let (plain, tensors) = (
            train(&text, &values),
            train(&format!("train.kernels = \"reference\"\n{text}"), &values),
        );
        for (a, b) in losses(&plain).iter().zip(losses(&tensors)) {
            assert!(
                (a.0 - b.0).abs() <= 2e-3 * a.0
                    && (a.1.unwrap() - b.1.unwrap()).abs() <= 2e-3 * a.0,
                "{text}: {a:?} {b:?}"
            );
        }
    }
}

#[test]
fn going_on_gives_the_same_numbers_wherever_it_stopped() {
    let values = made(ROWS, 0.3);
    for text in [
        "",
        "train.batch_size = 32\nmodel.nmf.forget = 0.7",
        "train.batch_size = 32\ntrain.shuffle = true\ntrain.kernels = \"reference\"",
    ] {
        let text = format!("train.epochs = 4\ntrain.stop.tolerance = 0.0\n{text}");
        let through = train(&text, &values);
        for every in 1..9 {
            let pieces = train_in_pieces(&text, &values, every);
            assert!(
                pieces.weights == through.weights && losses(&pieces) == losses(&through),
                "{text} every {every}"
            );
        }
    }
}

#[test]
fn rows_count_by_their_weight() {
    let values = made(ROWS, 0.3);
    let weights: Vec<f32> = (0..ROWS).map(|row| (row % 3) as f32).collect();
    let repeated: Vec<f32> = values
        .chunks_exact(BINS)
        .zip(&weights)
        .flat_map(|(row, weight)| row.repeat(*weight as usize))
        .collect();
    let experiment = experiment("train.epochs = 5\nmodel.nmf.start = \"random\"");
    let architecture = Architecture::new(BINS, &experiment.model);
    let start = architecture.draw(experiment.model.init, 1, 0);
    let run = |train: Rows<'_>| {
        let job = Job {
            experiment: &experiment,
            architecture: &architecture,
            start: &start,
            seed: 1,
            train,
            valid: None,
        };
        fit(&[job], &cpu(), vec![State::start(&job)], vec![|_: &Epoch| Ok(())])
            .unwrap()
            .unwrap()
            .remove(0)
            .unwrap()
    };
    let (weighted, repeated) =
        (run(Rows::new(&values, BINS).weighted(Some(&weights))), run(Rows::new(&repeated, BINS)));
    let (a, b) = (weighted.history[4].train_loss, repeated.history[4].train_loss);
    assert!((a - b).abs() < 1e-3 * a, "{a} {b}");
}
