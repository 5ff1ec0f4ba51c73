use super::*;
use crate::{
    config::{model::Init, train::Kernels},
    model::Architecture,
    prepare::Rows,
    train::{
        observer::Pausing,
        test_support::{SMALL, cpu, data, experiment, run},
    },
};

fn train(text: &str) -> Result<Fitted> {
    let experiment = experiment(text);
    let architecture = Architecture::new(6, &experiment.model);
    let start = architecture.draw(Init::GlorotUniform, experiment.seed, 0);
    let (values, held_out) = (data(200, 6), data(50, 6));
    let (train, valid) = (Rows::new(&values, 6), Some(Rows::new(&held_out, 6)));
    run(&Job {
        experiment: &experiment,
        architecture: &architecture,
        start: &start,
        seed: experiment.seed,
        train,
        valid,
    })
}

#[test]
fn the_loss_falls_with_every_rule_and_loss() {
    for optimizer in [
        "{kind = \"adam\", learning_rate = 0.01}",
        "{kind = \"adamw\", learning_rate = 0.01}",
        "{kind = \"sgd\", momentum = 0.9, learning_rate = 0.1}",
        "{kind = \"rmsprop\", learning_rate = 0.01}",
        "{kind = \"adadelta\", epsilon = 1e-4}",
    ] {
        for loss in ["mse", "sse", "mae", "smooth_l1"] {
            let fitted = train(&format!("{SMALL}loss = {{kind = \"{loss}\", l2 = 1e-5, activity_l2 = 1e-5}}\ntrain = {{epochs = 20, batch_size = 32, optimizer = {optimizer}}}")).unwrap();
            let (first, last) = (&fitted.history[0], &fitted.history[19]);
            assert!(
                last.train_loss < 0.7 * first.train_loss,
                "{optimizer} {loss}: {} to {}",
                first.train_loss,
                last.train_loss
            );
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_dropout_is_drawn_from_it() {
    let text = |seed: u32| {
        format!("seed = {seed}\n{SMALL}model.dropout = 0.2\ntrain.epochs = 3").replace(
            "model = {hidden = [8], latent = 3}\n",
            "model.hidden = [8]\nmodel.latent = 3\n",
        )
    };
    assert_eq!(train(&text(1)).unwrap().weights, train(&text(1)).unwrap().weights);
    assert_ne!(train(&text(1)).unwrap().weights, train(&text(2)).unwrap().weights);
}

#[test]
fn the_output_is_held_to_clean_inputs() {
    let values = data(40, 6);
    let rows = Rows::new(&values, 6);
    // A network of zeros outputs 0: its loss is the mean square of its targets.
    let square =
        values.iter().map(|value| f64::from(value * value)).sum::<f64>() / values.len() as f64;
    for kernels in ["fused", "reference"] {
        let experiment = experiment(&format!(
            "train = {{epochs = 1, batch_size = 40, kernels = \"{kernels}\"}}\nmodel = {{hidden = [3], latent = 2, noise = 5.0, masking = 0.5}}"
        ));
        let architecture = Architecture::new(6, &experiment.model);
        let start = vec![0.0; architecture.parameters()];
        let job = Job {
            experiment: &experiment,
            architecture: &architecture,
            start: &start,
            seed: 1,
            train: rows,
            valid: None,
        };
        let loss = run(&job).unwrap().history[0].train_loss;
        assert!((loss / square - 1.0).abs() < 1e-6, "{kernels}: {loss} {square}");
    }
}

/// Compared with the output of `scripts/reference/batch_norm.py`.
#[test]
fn batch_norm_is_that_of_torch() {
    let rows: Vec<f32> = (0..64)
        .map(|at| (0.7 * f64::from(at / 4) + 1.3 * f64::from(at % 4)).sin() as f32)
        .collect();
    let (train, valid) = (Rows::new(&rows[..40], 4), Some(Rows::new(&rows[40..], 4)));
    for kernels in ["fused", "reference"] {
        let experiment = experiment(&format!(
            "train = {{epochs = 3, batch_size = 4, shuffle = false, kernels = \"{kernels}\", \
             optimizer = {{kind = \"sgd\", momentum = 0.9, learning_rate = 0.1}}, stop = {{restore_best = false}}}}\n\
             model = {{hidden = [3], latent = 2, activation = \"tanh\", latent_activation = \"linear\", batch_norm = true}}"
        ));
        let architecture = Architecture::new(4, &experiment.model);
        let sines = (0..architecture.parameters()).map(|at| 0.5 * (1.0 + at as f64).sin());
        let mut start: Vec<f32> = sines.map(|sine| sine as f32).collect();
        // The scales of the two layers are around 1.
        [15..18, 38..41]
            .into_iter()
            .for_each(|scales| start[scales].iter_mut().for_each(|scale| *scale += 1.0));
        start.extend([0.0, 0.0, 0.0, 1.0, 1.0, 1.0].repeat(2));
        let job = Job {
            experiment: &experiment,
            architecture: &architecture,
            start: &start,
            seed: 1,
            train,
            valid,
        };
        let fitted = run(&job).unwrap();
        let near = |a: f64, b: f64| assert!((a - b).abs() < 2e-6, "{kernels}: {a} {b}");
        for (epoch, (train_loss, valid_loss)) in fitted.history.iter().zip([
            (0.478_813_6, 0.496_454_1),
            (0.403_020_6, 0.467_745_2),
            (0.318_165_4, 0.377_527_3),
        ]) {
            near(epoch.train_loss, train_loss);
            near(epoch.valid_loss.unwrap(), valid_loss);
        }
        let statistics = [
            [0.117_296_2, 0.366_607_6, 0.233_833_6],
            [0.403_153_6, 0.410_450_5, 0.397_804_6],
            [-0.387_782_2, -0.253_731_9, 0.146_732_1],
            [0.406_775_6, 0.416_850_5, 0.400_626_8],
        ];
        let found = &fitted.weights[architecture.parameters()..];
        found.iter().zip(statistics.iter().flatten()).for_each(|(a, b)| near(f64::from(*a), *b));
        assert_eq!(found.len(), 12);
    }
}

#[test]
fn a_batch_of_one_row_leaves_running_statistics_alone() {
    let values = data(1, 6);
    for kernels in ["fused", "reference"] {
        let experiment = experiment(&format!(
            "train = {{epochs = 3, kernels = \"{kernels}\"}}\nmodel = {{hidden = [4], latent = 2, batch_norm = true}}"
        ));
        let architecture = Architecture::new(6, &experiment.model);
        let start = architecture.draw(Init::GlorotUniform, 1, 0);
        let train = Rows::new(&values, 6);
        let fitted = run(&Job {
            experiment: &experiment,
            architecture: &architecture,
            start: &start,
            seed: 1,
            train,
            valid: None,
        })
        .unwrap();
        let (parameters, statistics) = fitted.weights.split_at(architecture.parameters());
        assert_eq!(statistics, &start[architecture.parameters()..], "{kernels}");
        // Batch norm of a single row outputs only the shift, so only parameters after the first
        // normalised layer are trained.
        assert_eq!(parameters[..6 * 4], start[..6 * 4], "{kernels}");
        assert!(
            parameters.iter().all(|parameter| parameter.is_finite())
                && parameters[..] != start[..parameters.len()]
        );
    }
}

#[test]
fn the_best_epoch_is_restored() {
    let fitted = train(&format!("{SMALL}train = {{epochs = 60, optimizer = {{learning_rate = 0.05}}, stop = {{patience = 4}}}}")).unwrap();
    let losses: Vec<f64> = fitted.history.iter().filter_map(|epoch| epoch.valid_loss).collect();
    let best = losses.iter().copied().fold(f64::INFINITY, f64::min);
    assert_eq!(losses[fitted.kept_epoch as usize - 1], best);
}

#[test]
fn a_diverging_training_says_so() {
    let error = train(&format!(
        "{SMALL}train = {{epochs = 50, optimizer = {{kind = \"sgd\", learning_rate = 1e6}}}}"
    ))
    .unwrap_err();
    assert!(
        error.to_string().contains("training diverged: the loss of epoch")
            && error.to_string().contains("is not finite in batch")
            && error.exit_code() == 1,
        "{error}"
    );
}

#[test]
fn no_epochs_leave_the_weights_alone() {
    let fitted = train(&format!("{SMALL}train.epochs = 0")).unwrap();
    let architecture = Architecture::new(6, &experiment(SMALL).model);
    assert_eq!(
        (fitted.weights, fitted.kept_epoch),
        (architecture.draw(Init::GlorotUniform, 1, 0), 0)
    );
}

#[test]
fn a_weight_counts_like_so_many_rows() {
    let experiment = experiment(&format!(
        "{SMALL}train = {{epochs = 3, batch_size = 400, shuffle = false, optimizer = {{kind = \"sgd\"}}}}"
    ));
    let architecture = Architecture::new(6, &experiment.model);
    let start = architecture.draw(Init::GlorotUniform, 1, 0);
    let values = data(20, 6);
    let weights: Vec<f32> = (0..20).map(|i| (i % 3) as f32).collect();
    let repeated: Vec<f32> =
        (0..20).flat_map(|i| values[i * 6..(i + 1) * 6].repeat(i % 3)).collect();
    let job = |train| Job {
        experiment: &experiment,
        architecture: &architecture,
        start: &start,
        seed: 1,
        train,
        valid: None,
    };
    let weighted = run(&job(Rows::new(&values, 6).weighted(Some(&weights)))).unwrap();
    let plain = run(&job(Rows::new(&repeated, 6))).unwrap();
    for (a, b) in weighted.weights.iter().zip(&plain.weights) {
        assert!((a - b).abs() < 1e-5, "{a} {b}");
    }
}

#[test]
fn going_on_gives_the_same_numbers_wherever_it_stopped() {
    let variants = [
        "train.optimizer.kind = \"adam\"\nmodel.dropout = 0.2\ntrain.stop = {patience = 2}",
        "train.optimizer = {kind = \"adadelta\"}\nloss = {kind = \"sse\", l2 = 1e-3}",
        "train.optimizer = {kind = \"sgd\", momentum = 0.9, learning_rate = 0.05}\ntrain.schedule = {kind = \"plateau\", patience = 0}",
        "train.optimizer.kind = \"adamw\"\nmodel.batch_norm = true\nmodel.noise = 0.1\nmodel.masking = 0.2\ntrain.stop = {patience = 2}",
        "loss.sparsity = {kind = \"kl\", weight = 0.1}\nmodel.latent_activation = \"sigmoid\"\nmodel.activation = \"prelu\"",
        "loss.contractive = 0.1\nmodel.activation = \"prelu\"",
        "model.variational = true\nmodel.batch_norm = true\nloss = {kl = 0.1, kl_warmup = 3}",
    ];
    let (values, held_out) = (data(100, 6), data(40, 6));
    for (variant, kernels) in
        variants.iter().flat_map(|variant| [(variant, "fused"), (variant, "reference")])
    {
        let experiment = experiment(&format!(
            "train.kernels = \"{kernels}\"\nmodel.hidden = [8]\nmodel.latent = 3\ntrain.epochs = 6\ntrain.batch_size = 32\n{variant}"
        ));
        let architecture = Architecture::new(6, &experiment.model);
        let start = architecture.draw(Init::GlorotUniform, 1, 0);
        let (train, valid) = (Rows::new(&values, 6), Some(Rows::new(&held_out, 6)));
        let job = Job {
            experiment: &experiment,
            architecture: &architecture,
            start: &start,
            seed: 1,
            train,
            valid,
        };
        let through = run(&job).unwrap();
        for left in 1..24 {
            let mut state = State::start(&job);
            let fitted = loop {
                let mut pausing = Pausing { left, kept: None };
                match fit(&[job], &cpu(), vec![state], vec![&mut pausing]).unwrap() {
                    Some(mut fitted) => break fitted.remove(0).unwrap(),
                    None => state = pausing.kept.unwrap(),
                }
            };
            assert_eq!(fitted.weights, through.weights, "{variant} {kernels} every {left}");
            let losses = |fitted: &Fitted| {
                fitted
                    .history
                    .iter()
                    .map(|epoch| (epoch.train_loss, epoch.valid_loss, epoch.penalty))
                    .collect::<Vec<_>>()
            };
            assert_eq!(
                (losses(&fitted), fitted.kept_epoch, fitted.stopped),
                (losses(&through), through.kept_epoch, through.stopped)
            );
        }
    }
}

#[test]
fn chosen_rows_and_columns_are_the_same_as_copied_ones() {
    let experiment = experiment(&format!("{SMALL}train = {{epochs = 2, batch_size = 16}}"));
    let architecture = Architecture::new(6, &experiment.model);
    let start = architecture.draw(Init::GlorotUniform, 1, 0);
    let values = data(60, 9);
    let weights: Vec<f32> = (0..60).map(|i| 1.0 + (i % 3) as f32).collect();
    let index: Vec<u32> = (0..60).filter(|i| i % 3 != 1).collect();
    let columns = [5..9, 1..3];
    let of_row = |&i: &u32| {
        columns
            .iter()
            .flat_map(move |range| range.clone().map(move |column| i as usize * 9 + column))
    };
    let copied: Vec<f32> = index.iter().flat_map(of_row).map(|at| values[at]).collect();
    let copied_weights: Vec<f32> = index.iter().map(|&i| weights[i as usize]).collect();
    for kernels in [Kernels::Fused, Kernels::Reference] {
        let mut experiment = experiment.clone();
        experiment.train.kernels = kernels;
        let job = |train| Job {
            experiment: &experiment,
            architecture: &architecture,
            start: &start,
            seed: 1,
            train,
            valid: Some(train),
        };
        let chosen =
            run(&job(Rows::new(&values, 9).columns(&columns).weighted(Some(&weights)).at(&index)))
                .unwrap();
        let plain = run(&job(Rows::new(&copied, 6).weighted(Some(&copied_weights)))).unwrap();
        assert_eq!(chosen.weights, plain.weights);
        assert_eq!(chosen.history[1].valid_loss, plain.history[1].valid_loss);
    }
}

#[test]
fn the_loss_of_an_epoch_is_the_mean_over_its_batches() {
    let experiment = experiment(&format!(
        "{SMALL}train = {{epochs = 1, batch_size = 2, shuffle = false, optimizer = {{kind = \"sgd\", learning_rate = 1e-30}}}}"
    ));
    let architecture = Architecture::new(6, &experiment.model);
    let start = architecture.draw(Init::GlorotUniform, 1, 0);
    let (values, weights) = (data(4, 6), [1.0, 3.0, 10.0, 0.0]);
    let loss = |range: std::ops::Range<usize>| {
        let train =
            Rows::new(&values[range.start * 6..range.end * 6], 6).weighted(Some(&weights[range]));
        let job = Job {
            experiment: &experiment,
            architecture: &architecture,
            start: &start,
            seed: 1,
            train,
            valid: None,
        };
        run(&job).unwrap().history[0].train_loss
    };
    assert!((loss(0..4) - (loss(0..2) + loss(2..4)) / 2.0).abs() < 1e-7);
}
