//! A GPU gives the CPU's numbers, as closely as equal trainers can. Tested on software Vulkan,
//! where there is one.
use crate::common::{config, metsig, run, shared, software_gpu, succeed};
use lumisift::{files::folder::Folder, score::scores::Scores};
use std::{fs, path::Path};

fn train(place: &Path, device: &str, out: &str, more: &[&str]) -> (i32, String) {
    let config = config("metsig.toml");
    let sets = ["data.train=[\"good.csv\"]", "data.test=[\"bad1.csv\"]", "train.epochs=5"];
    let mut arguments = vec!["train", &config, "--device", device, "--out", out, "-q"];
    let (flags, sets_more): (Vec<&str>, Vec<&str>) =
        more.iter().partition(|text| text.starts_with("--"));
    sets.iter().chain(&sets_more).for_each(|set| arguments.extend(["--set", set]));
    arguments.extend(flags);
    let (code, _, err) = run(place, &arguments);
    (code, err)
}

fn losses(folder: &Path) -> Vec<(usize, f64, Option<f64>)> {
    let lines = Folder::open(folder).unwrap().read_history().unwrap();
    lines
        .into_iter()
        .map(|line| (line.member, line.epoch.train_loss, line.epoch.valid_loss))
        .collect()
}

fn near(a: &[(usize, f64, Option<f64>)], b: &[(usize, f64, Option<f64>)], tolerance: f64) {
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter().zip(b) {
        let close = |a: f64, b: f64| (a / b - 1.0).abs() < tolerance;
        assert!(
            a.0 == b.0 && close(a.1, b.1) && a.2.zip(b.2).is_none_or(|(a, b)| close(a, b)),
            "{a:?} {b:?}"
        );
    }
}

#[test]
fn an_ensemble_on_a_gpu_is_that_on_the_cpu() {
    if !software_gpu() {
        return;
    }
    let place = metsig("0.2");
    for device in ["cpu", "wgpu", "cpu,wgpu"] {
        let (code, err) = train(place.path(), device, device, &["train.ensemble=3"]);
        assert_eq!(code, 0, "{err}");
    }
    let path = |name: &str| place.path().join(name);
    let scores = |name: &str| {
        Scores::read(&path(name).join("scores.parquet")).unwrap().channels[0].scores.clone()
    };
    for device in ["wgpu", "cpu,wgpu"] {
        near(&losses(&path("cpu")), &losses(&path(device)), 1e-4);
        for (a, b) in scores("cpu").into_iter().zip(scores(device)) {
            assert!(a.zip(b).is_none_or(|(a, b)| (a / b - 1.0).abs() < 1e-3), "{a:?} {b:?}");
        }
    }
    let provenance = fs::read_to_string(path("cpu,wgpu/provenance.json")).unwrap();
    assert!(
        provenance.contains("\"device\": \"cpu, wgpu\"")
            && provenance.contains("\"precision\": \"f32\""),
        "{provenance}"
    );
    let (code, err) = train(place.path(), "cuda", "no", &[]);
    assert!(code == 2 && err.contains("device cuda:0: "), "{err}");
}

#[test]
fn what_kernels_do_not_know_is_left_to_the_framework() {
    if !software_gpu() {
        return;
    }
    let place = metsig("0.1");
    let sets = ["train.epochs=1", "model.dropout=0.1", "model.hidden=[8]", "model.latent=4"];
    for device in ["cpu", "wgpu"] {
        let (code, err) = train(place.path(), device, device, &sets);
        assert_eq!(code, 0, "{err}");
    }
    near(&losses(&place.path().join("cpu")), &losses(&place.path().join("wgpu")), 1e-4);
    let (code, err) =
        train(place.path(), "wgpu", "fused", &[&sets[..], &["train.kernels=\"fused\""]].concat());
    assert!(
        code == 2 && err.contains("\"fused\" on wgpu does not support GELU, PReLU, dropout"),
        "{err}"
    );
}

#[test]
fn a_training_on_a_gpu_goes_on_from_where_it_was() {
    if !software_gpu() {
        return;
    }
    let place = metsig("0.2");
    let sets = [
        "train.epochs=8",
        "train.checkpoint.epochs=1",
        "train.ensemble=2",
        "train.stop.patience=6",
    ];
    assert_eq!(train(place.path(), "wgpu", "through", &sets).0, 0);
    // Each pauses after its first batch, in the middle of the first epoch.
    for _ in 0..3 {
        let (code, err) = train(
            place.path(),
            "wgpu",
            "paused",
            &[&sets[..], &["train.time_limit=\"0.01s\"", "--resume"]].concat(),
        );
        assert_eq!(code, 75, "{err}");
    }
    assert_eq!(train(place.path(), "wgpu", "paused", &[&sets[..], &["--resume"]].concat()).0, 0);
    near(&losses(&place.path().join("through")), &losses(&place.path().join("paused")), 1e-5);
}

#[test]
fn the_references_are_followed_on_a_gpu() {
    let Some(reference) = shared("parity/metsig").filter(|_| software_gpu()) else { return };
    let reference = reference.canonicalize().unwrap();
    let expected: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(reference.join("expected.json")).unwrap())
            .unwrap();
    let place = tempfile::tempdir().unwrap();
    let sets = [
        format!("data.train=[\"{}\"]", reference.join("good.csv").display()),
        format!("data.test=[\"{}\"]", reference.join("bad1.csv").display()),
        format!("train.init=\"{}\"", reference.join("init.safetensors").display()),
        "train.epochs=4".to_owned(),
    ];
    let config = config("metsig-notebook.toml");
    let mut arguments = vec!["train", &config, "--device", "wgpu", "--out", "out", "-q"];
    sets.iter().for_each(|set| arguments.extend(["--set", set]));
    succeed(place.path(), &arguments);
    let until = expected["replicas"]["equal_until_epoch"].as_u64().unwrap() as usize;
    for (epoch, (_, loss, _)) in
        losses(&place.path().join("out")).into_iter().enumerate().take(until - 1)
    {
        let wanted = expected["mse"][epoch].as_f64().unwrap();
        assert!(
            (loss / wanted - 1.0).abs() < if epoch == 0 { 2e-5 } else { 2e-3 },
            "epoch {}: {loss} is not {wanted}",
            epoch + 1
        );
    }
}

#[test]
fn trials_that_differ_in_numbers_are_trained_on_a_gpu_as_one_and_come_to_the_same() {
    if !crate::common::software_gpu() {
        return;
    }
    let place = crate::common::metsig("0.2");
    let place = place.path();
    let text = "data.train = [\"good.csv\"]\nselect.drop_empty = \"all\"\n[split]\nby = \"block\"\nblock = 10\nvalid = 0.25\n[model]\nhidden = [16]\nlatent = 4\n\
                [train]\nepochs = 6\n[sweep]\nobjective = \"channels.training.best_valid_loss\"\ngoal = \"min\"\ntrials = 8\n[sweep.space]\n\
                train.optimizer.learning_rate = { log_uniform = [1e-4, 1e-2] }\nloss.l2 = { log_uniform = [1e-6, 1e-3] }\ntrain.epochs = { int = [3, 6] }\n";
    std::fs::write(place.join("s.toml"), text).unwrap();
    let ranked = |device: &str| -> Vec<(u64, f64)> {
        crate::common::succeed(place, &["sweep", "s.toml", "--out", device, "--device", device]);
        let told: serde_json::Value = serde_json::from_str(&crate::common::succeed(
            place,
            &["sweep", "collect", device, "--format", "json"],
        ))
        .unwrap();
        assert_eq!(told["states"]["done"], 8);
        told["ranked"]
            .as_array()
            .unwrap()
            .iter()
            .map(|point| (point["trial"].as_u64().unwrap(), point["mean"].as_f64().unwrap()))
            .collect()
    };
    for (cpu, gpu) in ranked("cpu").iter().zip(&ranked("wgpu")) {
        assert!(cpu.0 == gpu.0 && (cpu.1 - gpu.1).abs() <= 1e-5 * cpu.1, "{cpu:?} {gpu:?}");
    }
    // All of them began before the first of them ended.
    let log = |trial: usize| {
        std::fs::read_to_string(place.join(format!("wgpu/trials/{trial:04}/log.txt"))).unwrap()
    };
    let time = |line: &str| line.split(' ').next().unwrap().to_owned();
    let begun: Vec<String> =
        (1..=8).map(|trial| time(log(trial).lines().next().unwrap())).collect();
    let ended: Vec<String> = (1..=8)
        .map(|trial| time(log(trial).lines().find(|line| line.ends_with(" complete")).unwrap()))
        .collect();
    assert!(begun.iter().max() <= ended.iter().min(), "{begun:?} {ended:?}");
}

#[test]
fn a_factorisation_on_a_gpu_is_that_on_the_cpu() {
    if !software_gpu() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    succeed(
        place.path(),
        &[
            "synth",
            "occupancy",
            "data",
            "--lumisections",
            "200",
            "--test-lumisections",
            "200",
            "--layers",
            "2",
            "-q",
        ],
    );
    let nmf = config("pixel-nmf.toml");
    let sets = [
        "data.train=[\"data/train/*.parquet\"]",
        "data.test=[]",
        "data.oms=[\"data/oms.json\"]",
        "data.hlt=[\"data/hlt.json\"]",
        "data.layers=[\"*_PXLayer_1\"]",
        "data.rebin=[8, 4]",
        "patterns.automasks=[]",
        "patterns.layers=1",
        "patterns.windows=[{x = 2, y = 1}]",
        "report.projections=[]",
        "train.epochs=2",
    ];
    let train = |out: &str, device: &str, more: &[&str]| {
        let mut arguments = vec!["train", &nmf, "--device", device, "--out", out, "-q"];
        sets.iter().chain(more).for_each(|set| arguments.extend(["--set", set]));
        run(place.path(), &arguments)
    };
    // Of members that start by chance the first losses: what comes after depends on how far
    // solutions are followed, as long as components are hardly told apart.
    let chance = ["model.nmf.start=\"random\"", "train.ensemble=2", "train.epochs=1"];
    for (name, more) in [("alone", &[][..]), ("ensemble", &chance[..])] {
        for device in ["cpu", "wgpu"] {
            let (code, _, err) = train(&format!("{name}-{device}"), device, more);
            assert_eq!(code, 0, "{err}");
        }
        let of = |device: &str| losses(&place.path().join(format!("{name}-{device}")));
        match name {
            "alone" => near(&of("cpu"), &of("wgpu"), 5e-3),
            _ => assert!(
                of("cpu")
                    .iter()
                    .zip(of("wgpu"))
                    .all(|(a, b)| a.0 == b.0 && (a.1 / b.1 - 1.0).abs() < 1e-4),
                "{:?} {:?}",
                of("cpu"),
                of("wgpu")
            ),
        }
    }
    let (code, _, err) = train("fused", "wgpu", &["train.kernels=\"fused\""]);
    assert!(code == 2 && err.contains("supports model.kind = \"nmf\" on the CPU only"), "{err}");
}
