//! Sparse, contractive and variational autoencoders as users train them, and as PyTorch does.

use crate::common::{report, root, run, succeed};
use lumisift::{
    config::{Experiment, model::Init},
    files::folder::Folder,
    model::{Architecture, weights},
    random,
    synth::read_truth,
};
use rand_distr::{Distribution, StandardNormal};
use std::{fmt::Write as _, path::Path, process::Command};

const WIDTH: usize = 6;
const ROWS: usize = 24;

/// Features between 0 and 1, and a config that takes a step an epoch.
fn place() -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    let mut text =
        format!("run,ls,{}\n", (0..WIDTH).map(|at| format!("f{at}")).collect::<Vec<_>>().join(","));
    for row in 0..ROWS {
        let values: Vec<String> = (0..WIDTH)
            .map(|at| format!("{:.6}", 0.5 + 0.45 * (0.9 * row as f64 + 1.7 * at as f64).sin()))
            .collect();
        let _ = writeln!(text, "1,{},{}", row + 1, values.join(","));
    }
    std::fs::write(place.path().join("rows.csv"), text).unwrap();
    let config = "data.train = [\"rows.csv\"]\nscale.kind = \"none\"\n\
                  split = {by = \"order\", valid = 0.0}\nthreshold = {on = \"train\", percentile = 90.0}\nreport.projections = []\n\
                  [model]\nhidden = [8, 5]\nlatent = 3\nactivation = \"prelu\"\noutput_activation = \"sigmoid\"\ninit = \"torch\"\n\
                  [train]\nepochs = 20\nbatch_size = 24\nshuffle = false\noptimizer = {learning_rate = 0.01, beta1 = 0.7, beta2 = 0.9}\n";
    std::fs::write(place.path().join("config.toml"), config).unwrap();
    place
}

const FAMILY: [(&str, &[&str]); 6] = [
    ("vanilla", &[]),
    ("sparse-l1", &["loss.sparsity={weight = 0.05}"]),
    (
        "sparse-kl",
        &[
            "loss.sparsity={kind = \"kl\", weight = 0.1, target = 0.1}",
            "model.latent_activation=\"sigmoid\"",
        ],
    ),
    ("contractive", &["loss.contractive=0.1"]),
    (
        "contractive-sigmoid",
        &[
            "loss.contractive=0.5",
            "model.activation=\"sigmoid\"",
            "model.latent_activation=\"tanh\"",
        ],
    ),
    ("variational", &["model.variational=true", "loss.kl=0.05", "loss.kl_warmup=6"]),
];

fn train(place: &Path, out: &str, sets: &[&str], more: &[&str]) -> (i32, String, String) {
    let mut arguments = vec!["train", "config.toml", "--out", out, "-q"];
    sets.iter().for_each(|set| arguments.extend(["--set", set]));
    arguments.extend(more);
    run(place, &arguments)
}

#[test]
fn twenty_steps_are_those_of_torch() {
    let Some(python) = crate::common::python("torch and safetensors") else { return };
    if !Command::new(&python)
        .args(["-c", "import torch, safetensors"])
        .output()
        .unwrap()
        .status
        .success()
    {
        return crate::common::skipped(&format!("{python} has no torch or no safetensors"));
    }
    let place = place();
    for (name, sets) in FAMILY {
        // The weights of no epochs are the initial ones.
        for (out, more) in
            [(format!("{name}-init"), vec!["train.epochs=0"]), (name.to_owned(), vec![])]
        {
            let (code, _, err) = train(place.path(), &out, &[sets, &more].concat(), &[]);
            assert_eq!(code, 0, "{name}: {err}");
        }
    }
    let noise: Vec<Vec<f32>> = (0..20_u64)
        .map(|epoch| {
            Distribution::<f32>::sample_iter(
                StandardNormal,
                random::generator(1, "latents", epoch << 32),
            )
            .take(3 * ROWS)
            .collect()
        })
        .collect();
    std::fs::write(place.path().join("noise.json"), serde_json::to_string(&noise).unwrap())
        .unwrap();
    let output = Command::new(&python)
        .current_dir(place.path())
        .arg(root().join("scripts/reference/penalties.py"))
        .args(["rows.csv", "noise.json"])
        .args(FAMILY.map(|(name, _)| name))
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(told.matches("20 steps").count(), FAMILY.len(), "{told}");
    println!("{told}");
}

#[test]
fn what_the_logged_loss_leaves_out_is_told() {
    let place = place();
    for (name, sets) in FAMILY {
        let (code, _, err) = train(place.path(), name, sets, &[]);
        assert_eq!(code, 0, "{name}: {err}");
        let (folder, figures) =
            (Folder::open(&place.path().join(name)).unwrap(), report(&place.path().join(name)));
        let history = folder.read_history().unwrap();
        let header = std::fs::read_to_string(place.path().join(name).join("history.csv"))
            .unwrap()
            .lines()
            .next()
            .unwrap()
            .to_owned();
        let training = &figures.channels[0].training;
        if name == "vanilla" {
            assert_eq!(header, "epoch,channel,train_loss,valid_loss,learning_rate,seconds");
            assert!(
                training.penalty.is_none() && training.loss.ends_with("without L2 terms"),
                "{}",
                training.loss
            );
            continue;
        }
        assert_eq!(header, "epoch,channel,train_loss,valid_loss,learning_rate,seconds,penalty");
        assert!(training.loss.contains("without L2 terms and the penalty"), "{}", training.loss);
        let penalty = training.penalty.as_ref().unwrap();
        assert_eq!(penalty.train, history[19].epoch.penalty);
        assert!(
            history.iter().all(|line| line.epoch.penalty.is_some_and(|penalty| penalty > 0.0)),
            "{name}"
        );
        let parts = match name {
            "sparse-l1" => "0.05 × sum of |latent|",
            "sparse-kl" => "0.1 × KL divergence of mean latents from 0.1",
            "variational" => "0.05 × KL divergence of latents from normal (rising over 6 epochs)",
            _ => "× squared norm of d latent / d input",
        };
        assert!(penalty.of.ends_with(parts), "{}", penalty.of);
    }
    let shape = report(&place.path().join("variational")).channels[0].shape.clone();
    assert_eq!(shape, "variational 6-8-5-3-5-8-6 with PReLU");
}

/// Latents are means, rows decoded from them are those that are scored, and `score.kl` adds what
/// the definition says.
#[test]
fn a_variational_autoencoder_answers_with_means() {
    let place = place();
    let sets = FAMILY[5].1;
    assert_eq!(train(place.path(), "plain", sets, &[]).0, 0);
    assert_eq!(train(place.path(), "bound", &[sets, &["score.kl=0.3"]].concat(), &[]).0, 0);
    succeed(place.path(), &["encode", "plain", "--data", "rows.csv", "--out", "latents.csv", "-q"]);
    succeed(
        place.path(),
        &["decode", "plain", "--data", "latents.csv", "--out", "decoded.csv", "-q"],
    );
    let numbers = |file: &str, names: &str| -> Vec<Vec<f64>> {
        let text = std::fs::read_to_string(place.path().join(file)).unwrap();
        let header: Vec<&str> = text.lines().next().unwrap().split(',').collect();
        let numbered = |name: &str| {
            name.strip_prefix(names).is_some_and(|number| number.parse::<usize>().is_ok())
        };
        let columns: Vec<usize> = (0..header.len()).filter(|&at| numbered(header[at])).collect();
        assert!(!columns.is_empty(), "{header:?}");
        text.lines()
            .skip(1)
            .map(|line| {
                columns
                    .iter()
                    .map(|&at| line.split(',').nth(at).unwrap().parse().unwrap())
                    .collect()
            })
            .collect()
    };
    let (rows, decoded, latents) =
        (numbers("rows.csv", "f"), numbers("decoded.csv", "f"), numbers("latents.csv", "latent_"));
    let scores = |out: &str| {
        crate::common::judged(&place.path().join(out))
            .into_iter()
            .map(|(_, score)| score.unwrap())
            .collect::<Vec<f64>>()
    };
    let experiment = Experiment::load(&place.path().join("plain/experiment.toml"), &[]).unwrap();
    let architecture = Architecture::new(WIDTH, &experiment.model);
    let flat =
        weights::read(&place.path().join("plain/model/all.safetensors"), &architecture).unwrap();
    assert_eq!(flat.len(), architecture.parameters());
    assert_eq!(architecture.draw(Init::Torch, 1, 0).len(), flat.len());
    let device = lumisift::device::open(lumisift::config::DeviceChoice::Cpu).unwrap();
    let inputs: Vec<f32> = rows.iter().flatten().map(|value| *value as f32).collect();
    let divergences = lumisift::score::inference::divergences(
        &architecture,
        &flat,
        lumisift::prepare::Rows::new(&inputs, WIDTH),
        &device,
    )
    .unwrap();
    for (row, (plain, bound)) in scores("plain").iter().zip(scores("bound")).enumerate() {
        let error = rows[row]
            .iter()
            .zip(&decoded[row])
            .map(|(input, output)| (input - output).powi(2))
            .sum::<f64>()
            / WIDTH as f64;
        assert!((plain / error - 1.0).abs() < 1e-3, "{row}: {plain} {error}");
        assert!((bound - plain - 0.3 * divergences[row]).abs() < 1e-9, "{row}");
        // What the means alone cost is a part of it.
        assert!(
            divergences[row]
                > 0.5 * latents[row].iter().map(|mean| mean * mean).sum::<f64>() - 1e-6,
            "{row}"
        );
    }
    assert!(report(&place.path().join("bound")).score.contains("mse + 0.3 × KL"));
}

#[test]
fn members_draw_for_themselves_and_trainings_go_on_to_the_same_bytes() {
    let place = place();
    for (name, sets) in FAMILY {
        let sets = [
            sets,
            &[
                "train.ensemble=2",
                "train.batch_size=5",
                "train.shuffle=true",
                "train.epochs=60",
                "train.checkpoint.epochs=1",
            ],
        ]
        .concat();
        assert_eq!(train(place.path(), &format!("{name}-through"), &sets, &[]).0, 0);
        let paused = format!("{name}-paused");
        for round in 0.. {
            let limit = format!("train.time_limit=\"{}s\"", 0.004 * f64::from(1 + round));
            let (code, _, err) = train(
                place.path(),
                &paused,
                &[&sets[..], &[&limit]].concat(),
                if round == 0 { &[] } else { &["--resume"] },
            );
            assert!([0, 75].contains(&code), "{name}: {err}");
            if code == 0 {
                break;
            }
        }
        let bytes = |out: &str, file: &str| {
            std::fs::read(place.path().join(format!("{name}-{out}")).join(file)).unwrap()
        };
        for file in [
            "model/all.safetensors",
            "model/all.member-2.safetensors",
            "scores.parquet",
            "thresholds.json",
        ] {
            assert!(bytes("through", file) == bytes("paused", file), "{name}: {file}");
        }
        assert!(
            bytes("through", "model/all.safetensors")
                != bytes("through", "model/all.member-2.safetensors"),
            "{name}"
        );
    }
}

/// A histogram in seven numbers: trained on and scored as the features that they are.
#[test]
fn histograms_are_summarised_for_training_and_for_new_files() {
    let place = crate::common::metsig("0.3");
    let sets = [
        "--set",
        "data.summary=true",
        "--set",
        "data.train=[\"good.csv\"]",
        "--set",
        "data.test=[\"bad1.csv\"]",
        "--set",
        "train.epochs=3",
    ];
    let path = crate::common::config("metsig.toml");
    let rejected = |out: &str, more: &[&str]| {
        succeed(place.path(), &[&["train", &path, "--out", out, "-q"], &sets[..], more].concat());
        report(&place.path().join(out)).data.not_evaluated
    };
    // What a histogram held is known after it is summarised: whether anything, and how much.
    let empty: usize = rejected("out", &[])
        .iter()
        .filter(|(reason, _)| reason.starts_with("empty"))
        .map(|(_, rows)| rows)
        .sum();
    assert!(empty > 0);
    let few = rejected(
        "few",
        &["--set", "select.drop_empty=\"none\"", "--set", "select.where=[\"entries > 0\"]"],
    );
    assert_eq!(few, [("fails entries > 0".to_owned(), empty)]);
    let channels = std::fs::read_to_string(place.path().join("out/channels.json")).unwrap();
    let channels: serde_json::Value = serde_json::from_str(&channels).unwrap();
    assert_eq!(
        channels[0]["features"],
        serde_json::json!(["q10", "q30", "q50", "q70", "q90", "mean", "rms"])
    );
    succeed(place.path(), &["score", "out", "--data", "bad1.csv", "--out", "new.parquet", "-q"]);
    let (new, old) = (
        lumisift::score::scores::Scores::read(&place.path().join("new.parquet")).unwrap(),
        crate::common::scores(&place.path().join("out")),
    );
    let of = |scores: &lumisift::score::scores::Scores| -> Vec<(Option<u32>, Option<f64>)> {
        let main = scores.main().unwrap();
        (0..scores.rows.len())
            .filter(|&row| scores.rows[row].file.ends_with("bad1.csv"))
            .map(|row| (scores.rows[row].ls, main.scores[row]))
            .collect()
    };
    assert!(of(&new).len() > 200 && of(&new) == of(&old));
}

#[test]
fn features_are_no_histograms() {
    let place = place();
    let (code, _, err) = run(place.path(), &["check", "config.toml", "--set", "data.summary=true"]);
    assert!(
        code == 2 && err.contains("data.summary: the rows hold features; expected histograms"),
        "{err}"
    );
}

/// What goes wrong in made data is found, whatever the kind of autoencoder.
#[test]
fn the_family_is_compared_on_made_certification_data() {
    let place = tempfile::tempdir().unwrap();
    succeed(place.path(), &["synth", "certification", "data", "--lumisections", "3000", "-q"]);
    assert!(read_truth(&place.path().join("data/truth.csv")).unwrap().len() > 10);
    let kinds = ["vanilla", "sparse", "contractive", "variational"];
    for kind in kinds {
        let config = crate::common::config(&format!("certification-{kind}.toml"));
        let sets = [
            "--set",
            "data.train=[\"data/features.parquet\"]",
            "--set",
            "labels.good=\"data/golden.json\"",
            "--set",
            "report.projections=[]",
        ];
        let short = [
            "--set",
            "train.epochs=8",
            "--set",
            "train.batch_size=128",
            "--set",
            "train.optimizer.learning_rate=1e-3",
        ];
        succeed(
            place.path(),
            &[&["train", &config, "--out", kind, "-q"], &sets[..], &short[..]].concat(),
        );
        let figures = report(&place.path().join(kind));
        let auc = figures.auc.iter().find(|auc| auc.labels == "good").unwrap();
        assert!(auc.auc.unwrap() > 0.7, "{kind}: {:?}", auc.auc);
    }
    let table = succeed(place.path(), &[&["compare"], &kinds[..]].concat());
    assert!(kinds.iter().all(|kind| table.contains(kind)), "{table}");
}
