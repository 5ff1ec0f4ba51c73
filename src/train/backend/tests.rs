//! The backends compute the same.

use crate::{
    config::model::Init,
    device::Device,
    model::Architecture,
    prepare::Rows,
    train::{
        fit::fit,
        state::{Epoch, Fitted, State},
        test_support::{SMALL, cpu, data, experiment, run, run_pack},
        trainer::Job,
    },
};

/// Members that differ in numbers; one stops early, one diverges, and one skips batches.
#[test]
fn members_of_a_pack_train_as_alone() {
    let (values, held_out) = (data(90, 6), data(30, 6));
    let weights: Vec<f32> =
        (0..90).map(|i| if i % 10 == 0 { 0.5 + (i % 3) as f32 } else { 0.0 }).collect();
    let common = "model.hidden = [7]\nmodel.latent = 2\ntrain.epochs = 8\ntrain.batch_size = 8\ntrain.stop.patience = 2";
    let normalised = "model.batch_norm = true\nmodel.noise = 0.01";
    let drawn = "model.variational = true\nmodel.activation = \"prelu\"\nloss.kl = 0.01";
    let silent =
        "model.latent_activation = \"sigmoid\"\nloss.sparsity = {kind = \"kl\", weight = 0.01}";
    let contracted = "loss.contractive = 0.01\nloss.sparsity = {weight = 0.01}";
    for (optimizer, more) in [
        ("adam", ""),
        ("adadelta", ""),
        ("sgd", ""),
        ("rmsprop", ""),
        ("adam", normalised),
        ("adam", drawn),
        ("adam", silent),
        ("adam", contracted),
    ] {
        let member = |rate: f64, l2: f64, kernels: &str| {
            experiment(&format!(
                "train.kernels = \"{kernels}\"\ntrain.optimizer.kind = \"{optimizer}\"\ntrain.optimizer.learning_rate = {rate}\nloss.l2 = {l2}\n{common}\n{more}"
            ))
        };
        for kernels in ["reference", "fused"] {
            let mut experiments = vec![
                member(0.01, 0.0, kernels),
                member(0.03, 1e-3, kernels),
                member(1e-9, 0.0, kernels),
            ];
            if optimizer == "sgd" {
                experiments.push(member(1e12, 0.0, kernels));
            }
            let architecture = Architecture::new(6, &experiments[0].model);
            let starts: Vec<Vec<f32>> =
                (0..4).map(|at| architecture.draw(Init::GlorotUniform, at, 0)).collect();
            let (train, valid) =
                (Rows::new(&values, 6).weighted(Some(&weights)), Some(Rows::new(&held_out, 6)));
            let jobs: Vec<Job<'_>> = (0_u64..)
                .zip(experiments.iter().zip(&starts))
                .map(|(seed, (experiment, start))| Job {
                    experiment,
                    architecture: &architecture,
                    start,
                    seed,
                    train,
                    valid,
                })
                .collect();
            let mut unlike = false;
            for (together, alone) in run_pack(&jobs).iter().zip(jobs.iter().map(run)) {
                match (together, &alone) {
                    (Ok(together), Ok(alone)) => {
                        let far = together
                            .weights
                            .iter()
                            .zip(&alone.weights)
                            .map(|(a, b)| (a - b).abs())
                            .fold(0.0, f32::max);
                        assert!(far < 1e-5, "{optimizer} {kernels}: weights differ by {far}");
                        let told = |fitted: &Fitted| {
                            (
                                fitted.history.len(),
                                fitted.kept_epoch,
                                fitted.stopped,
                                fitted.weightless_batches,
                            )
                        };
                        assert_eq!(told(together), told(alone), "{optimizer} {kernels}");
                        unlike |= together.weightless_batches > 0;
                    }
                    (Err(together), Err(alone)) => {
                        assert_eq!(together.to_string(), alone.to_string())
                    }
                    _ => panic!("{optimizer} {kernels}: {together:?} {alone:?}"),
                }
            }
            assert!(unlike, "no batch was left out, so the test says less than it seems to");
        }
    }
}

/// With missing cells; their fill value differs by column.
#[test]
fn the_fused_step_leaves_out_what_the_reference_step_does() {
    let holes = |mut values: Vec<f32>| {
        values
            .iter_mut()
            .enumerate()
            .filter(|(i, _)| i * 7919 % 11 < 3 || (i % 6 == 2 && i / 6 < 40))
            .for_each(|(_, value)| *value = f32::NAN);
        values
    };
    let (values, held_out) = (holes(data(150, 6)), holes(data(40, 6)));
    let weights: Vec<f32> = (0..150).map(|i| 0.5 + (i % 4) as f32).collect();
    let fill = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6];
    for variant in [
        "",
        "loss = {kind = \"mae\"}",
        "loss = {kind = \"sse\", l2 = 1e-2}",
        "loss = {kind = \"smooth_l1\", beta = 0.3, activity_l2 = 1e-2}",
        "model.batch_norm = true\nmodel.dropout = 0.2\nmodel.masking = 0.1\nmodel.noise = 0.1",
        "model.latent_activation = \"sigmoid\"\nloss = {sparsity = {kind = \"kl\"}, contractive = 0.1}",
        "model.variational = true\nloss = {kind = \"sse\", kl = 0.2}",
    ] {
        for weights in [None, Some(weights.as_slice())] {
            let run = |kernels: &str| {
                let experiment = experiment(&format!(
                    "train.kernels = \"{kernels}\"\nmodel.hidden = [9, 7]\nmodel.latent = 3\ntrain.epochs = 3\ntrain.batch_size = 32\n{variant}"
                ));
                let architecture = Architecture::new(6, &experiment.model);
                let start = architecture.draw(experiment.model.init, 1, 0);
                let train = Rows::new(&values, 6).weighted(weights).filled(Some(&fill));
                let valid = Some(Rows::new(&held_out, 6).filled(Some(&fill)));
                run(&Job {
                    experiment: &experiment,
                    architecture: &architecture,
                    start: &start,
                    seed: 1,
                    train,
                    valid,
                })
                .unwrap()
            };
            let (fused, reference) = (run("fused"), run("reference"));
            for (a, b) in fused.history.iter().zip(&reference.history) {
                let near = |a: f64, b: f64| (a / b - 1.0).abs() < 2e-5;
                assert!(
                    near(a.train_loss, b.train_loss)
                        && near(a.valid_loss.unwrap(), b.valid_loss.unwrap()),
                    "{variant}: {a:?} {b:?}"
                );
            }
            let far = fused
                .weights
                .iter()
                .zip(&reference.weights)
                .map(|(a, b)| (a - b).abs())
                .fold(0.0, f32::max);
            assert!(far < 1e-4, "{variant}: weights differ by {far}");
        }
    }
}

#[test]
fn what_may_be_missing_but_is_not_changes_nothing() {
    let (values, fill) = (data(60, 6), [0.5; 6]);
    let experiment = experiment(&format!("{SMALL}train = {{epochs = 2, batch_size = 16}}"));
    let architecture = Architecture::new(6, &experiment.model);
    let start = architecture.draw(Init::GlorotUniform, 1, 0);
    let train = |rows: Rows<'_>| {
        let job = Job {
            experiment: &experiment,
            architecture: &architecture,
            start: &start,
            seed: 1,
            train: rows,
            valid: Some(rows),
        };
        run(&job).unwrap().weights
    };
    let (plain, filled) = (Rows::new(&values, 6), Rows::new(&values, 6).filled(Some(&fill)));
    assert_eq!(train(plain), train(filled));
    assert!(!filled.whole_where_possible().is_masked());
}

/// Both backends from the same start on weighted rows; they may differ by rounding only.
#[test]
fn the_fused_step_is_the_reference_step() {
    same_as_the_fused_step(&cpu(), "reference", |_| true);
}

#[cfg(feature = "wgpu")]
#[test]
fn the_kernels_step_is_the_fused_step() {
    let Some(device) = crate::device::tests::software() else { return };
    same_as_the_fused_step(&device, "fused", |variant| {
        ![
            "gelu",
            "prelu",
            "dropout",
            "gradient_clip",
            "batch_norm",
            "noise",
            "masking",
            "sparsity",
            "contractive",
            "variational",
        ]
        .iter()
        .any(|unknown| variant.contains(unknown))
    });
}

#[cfg(feature = "wgpu")]
#[test]
fn kernels_share_the_work_of_wide_layers() {
    let Some(device) = crate::device::tests::software() else { return };
    let values = data(900, 53);
    let weights: Vec<f32> = (0..900).map(|i| 1.0 + (i % 3) as f32).collect();
    for weighted in [false, true] {
        let experiment = experiment(
            "model = {hidden = [103], latent = 82}\ntrain = {epochs = 1, batch_size = 42}",
        );
        let architecture = Architecture::new(53, &experiment.model);
        let start = architecture.draw(Init::GlorotUniform, 1, 0);
        let rows = Rows::new(&values, 53).weighted(weighted.then_some(&weights));
        let job = Job {
            experiment: &experiment,
            architecture: &architecture,
            start: &start,
            seed: 1,
            train: rows,
            valid: Some(rows),
        };
        let history = |device: &Device| -> Vec<(f64, f64)> {
            let fitted = fit(&[job], device, vec![State::start(&job)], vec![|_: &Epoch| Ok(())])
                .unwrap()
                .unwrap()
                .remove(0)
                .unwrap();
            fitted
                .history
                .iter()
                .map(|epoch| (epoch.train_loss, epoch.valid_loss.unwrap()))
                .collect()
        };
        for (a, b) in history(&cpu()).iter().zip(history(&device)) {
            assert!(
                (a.0 / b.0 - 1.0).abs() < 1e-5 && (a.1 / b.1 - 1.0).abs() < 1e-5,
                "weighted {weighted}: {a:?} {b:?}"
            );
        }
    }
}

fn same_as_the_fused_step(device: &Device, kernels: &str, can: impl Fn(&str) -> bool) {
    let variants = [
        "",
        "loss = {kind = \"mae\"}",
        "loss = {kind = \"sse\", l2 = 1e-2}",
        "train.optimizer = {kind = \"adadelta\"}",
        "train.optimizer = {kind = \"adadelta\", rho = 0.8, epsilon = 1e-3, learning_rate = 0.5}",
        "loss = {kind = \"smooth_l1\", beta = 0.3, l2 = 1e-3, activity_l2 = 1e-2}",
        "train.optimizer = {kind = \"adam\", epsilon_placement = \"keras\", epsilon = 1e-3}",
        "train.optimizer = {kind = \"adamw\", weight_decay = 0.1}",
        "train.optimizer = {kind = \"sgd\", momentum = 0.9, learning_rate = 0.05}",
        "train.optimizer = {kind = \"rmsprop\", rho = 0.8, epsilon = 1e-3}",
        "train.gradient_clip = 0.01",
        "model.dropout = 0.3",
        "model.noise = 0.2",
        "model.masking = 0.3\nmodel.noise = 0.1\nmodel.dropout = 0.1",
        "model.batch_norm = true",
        "model.batch_norm = true\nmodel.dropout = 0.2\nmodel.masking = 0.1\nloss.l2 = 1e-2\ntrain.gradient_clip = 0.1",
        "model.batch_norm = true\nmodel.activation = \"gelu\"\ntrain.optimizer = {kind = \"adamw\", weight_decay = 0.1}\nloss.activity_l2 = 1e-2",
        "model.batch_norm = true\nmodel.activation = \"tanh\"\nmodel.init = \"torch\"\ntrain.batch_size = 149",
        "model.activation = \"sigmoid\"\nmodel.output_activation = \"tanh\"",
        "model.activation = \"gelu\"\nmodel.output_activation = \"sigmoid\"",
        "model.activation = \"selu\"\nmodel.latent_activation = \"linear\"",
        "model.activation = \"elu\"\nmodel.latent_activation = \"leaky_relu\"\nmodel.dropout = 0.1\nloss.activity_l2 = 1e-2",
        "model.activation = \"prelu\"\nmodel.output_activation = \"prelu\"",
        "model.activation = \"prelu\"\nmodel.batch_norm = true\nmodel.dropout = 0.2\nloss.sparsity = {weight = 0.1}\nloss.l2 = 1e-2",
        "model.latent_activation = \"sigmoid\"\nloss.sparsity = {kind = \"kl\", weight = 0.3, target = 0.1}",
        "model.latent_activation = \"linear\"\nloss.sparsity = {weight = 0.2}\nloss.activity_l2 = 1e-2",
        "model.activation = \"prelu\"\nloss.contractive = 0.3\nmodel.noise = 0.1\nloss.l2 = 1e-2",
        "model.activation = \"gelu\"\nmodel.latent_activation = \"sigmoid\"\nloss = {contractive = 0.3, sparsity = {kind = \"kl\"}}",
        "model.activation = \"prelu\"\nmodel.variational = true\nloss = {kind = \"sse\", kl = 0.2, kl_warmup = 2, l2 = 1e-2}",
        "model.variational = true\nmodel.batch_norm = true\nmodel.dropout = 0.1\nmodel.masking = 0.1\ntrain.gradient_clip = 0.1",
    ];
    let (values, held_out) = (data(150, 6), data(40, 6));
    let weights: Vec<f32> = (0..150).map(|i| 0.5 + (i % 4) as f32).collect();
    let held_out_weights: Vec<f32> = (0..40).map(|i| 1.0 + (i % 2) as f32).collect();
    for variant in variants.into_iter().filter(|variant| can(variant)) {
        let run = |device: &Device, kernels: &str| {
            // Of 150 rows, the last batch has 22, or with a batch size of 149 a single one.
            let batch_size =
                if variant.contains("batch_size") { "" } else { "train.batch_size = 32" };
            let experiment = experiment(&format!(
                "train.kernels = \"{kernels}\"\nmodel.hidden = [9, 7]\nmodel.latent = 3\ntrain.epochs = 3\n{batch_size}\n{variant}"
            ));
            let architecture = Architecture::new(6, &experiment.model);
            let start = architecture.draw(experiment.model.init, 1, 0);
            let train = Rows::new(&values, 6).weighted(Some(&weights));
            let valid = Some(Rows::new(&held_out, 6).weighted(Some(&held_out_weights)));
            let job = Job {
                experiment: &experiment,
                architecture: &architecture,
                start: &start,
                seed: 1,
                train,
                valid,
            };
            let fitted = fit(&[job], device, vec![State::start(&job)], vec![|_: &Epoch| Ok(())]);
            fitted.unwrap().unwrap().remove(0).unwrap()
        };
        let (fused, reference) = (run(&cpu(), "fused"), run(device, kernels));
        for (a, b) in fused.history.iter().zip(&reference.history) {
            let near = |a: f64, b: f64| (a / b - 1.0).abs() < 2e-5;
            assert!(
                near(a.train_loss, b.train_loss)
                    && near(a.valid_loss.unwrap(), b.valid_loss.unwrap()),
                "{variant}: {a:?} {b:?}"
            );
            assert!(
                a.penalty.zip(b.penalty).is_none_or(|(a, b)| a > 0.0 && near(a, b)),
                "{variant}: {a:?} {b:?}"
            );
            assert_eq!(
                (a.penalty.is_some(), b.penalty.is_some()),
                [["sparsity", "contractive", "variational"]
                    .iter()
                    .any(|penalty| variant.contains(penalty)); 2]
                    .into(),
                "{variant}"
            );
        }
        let far = fused
            .weights
            .iter()
            .zip(&reference.weights)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f32::max);
        assert!(far < 1e-4, "{variant}: weights differ by {far}");
    }
}
