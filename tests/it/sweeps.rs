//! Searches, as users run them: shared among workers, killed, gone on with, grown.

use crate::common::{PROGRAM, lumisift, metsig, run, succeed};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

/// A small search on METSig; `more` is the rest of `[sweep]`.
fn sweep(folder: &Path, more: &str) -> PathBuf {
    let path = folder.join("sweep.toml");
    let text = format!(
        "data.train = [\"good.csv\"]\ndata.test = [\"bad1.csv\"]\nselect.drop_empty = \"all\"\n[split]\nby = \"block\"\nblock = 10\nvalid = 0.25\n[model]\nhidden = [16]\nlatent = 4\n\
         [train]\nepochs = 12\nbatch_size = 16\n[sweep]\nobjective = \"channels.training.best_valid_loss\"\ngoal = \"min\"\n{more}"
    );
    fs::write(&path, text).unwrap();
    path
}

const SPACE: &str = "[sweep.space]\nmodel.latent = { int = [2, 8] }\ntrain.optimizer.learning_rate = { log_uniform = [1e-4, 1e-1] }\n";

/// `trials.parquet` as texts by trial, without what no two runs have in common.
fn table(folder: &Path) -> BTreeMap<String, Vec<String>> {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    let reader =
        SerializedFileReader::new(fs::File::open(folder.join("trials.parquet")).unwrap()).unwrap();
    let mut rows = BTreeMap::new();
    for row in reader.get_row_iter(None).unwrap() {
        let row = row.unwrap();
        let fields: BTreeMap<&String, String> =
            row.get_column_iter().map(|(name, value)| (name, value.to_string())).collect();
        let name = fields.iter().find(|(name, _)| **name == "folder").unwrap().1.clone();
        rows.insert(
            name,
            fields
                .iter()
                .filter(|(name, _)| **name != "seconds")
                .map(|(name, value)| format!("{name}={value}"))
                .collect(),
        );
    }
    rows
}

fn of_state(rows: &BTreeMap<String, Vec<String>>, state: &str) -> usize {
    rows.values().filter(|row| row.contains(&format!("state=\"{state}\""))).count()
}

fn same_bytes(one: &Path, other: &Path, name: &str) {
    assert!(
        fs::read(one.join(name)).unwrap() == fs::read(other.join(name)).unwrap(),
        "{} and {}: {name}",
        one.display(),
        other.display()
    );
}

#[test]
fn trials_are_what_they_would_be_alone_and_the_best_is_ready_for_use() {
    let folder = metsig("0.2");
    let folder = folder.path();
    sweep(folder, &format!("trials = 7\n{SPACE}"));
    let told = succeed(folder, &["sweep", "sweep.toml", "--out", "s", "--workers", "2"]);
    assert!(told.contains("trials     7 done") && told.contains("lumisift score s/best"), "{told}");
    let rows = table(&folder.join("s"));
    assert_eq!((rows.len(), of_state(&rows, "done")), (7, 7));
    for name in ["0001", "0005"] {
        let trial = folder.join("s/trials").join(name);
        let alone = folder.join(name);
        succeed(
            folder,
            &[
                "train",
                trial.join("experiment.toml").to_str().unwrap(),
                "--out",
                alone.to_str().unwrap(),
                "-q",
            ],
        );
        ["model/all.safetensors", "scores.parquet", "thresholds.json", "scaler.json"]
            .iter()
            .for_each(|name| same_bytes(&trial, &alone, name));
    }
    succeed(folder, &["score", "s/best", "--data", "bad1.csv", "--out", "scores.csv"]);
    // Telling and collecting change nothing.
    let before = fs::read(folder.join("s/trials.parquet")).unwrap();
    let status: serde_json::Value =
        serde_json::from_str(&succeed(folder, &["sweep", "status", "s", "--format", "json"]))
            .unwrap();
    succeed(folder, &["sweep", "collect", "s"]);
    assert!(before == fs::read(folder.join("s/trials.parquet")).unwrap());
    // The best is the lowest of all.
    let figure = |row: &Vec<String>| {
        row.iter().find_map(|field| field.strip_prefix("objective=")?.parse::<f64>().ok()).unwrap()
    };
    let lowest = rows.values().map(figure).fold(f64::MAX, f64::min);
    assert_eq!(status["best"]["mean"].as_f64(), Some(lowest));
    assert_eq!(status["states"]["done"], 7);
}

#[test]
fn the_estimators_trials_do_not_depend_on_the_number_of_workers() {
    let folder = metsig("0.2");
    let folder = folder.path();
    sweep(folder, &format!("strategy = \"tpe\"\ntrials = 15\nround = 3\n{SPACE}"));
    succeed(folder, &["sweep", "sweep.toml", "--out", "one", "--workers", "1"]);
    succeed(folder, &["sweep", "sweep.toml", "--out", "three", "--workers", "3"]);
    assert_eq!(table(&folder.join("one")), table(&folder.join("three")));
}

#[test]
fn repeats_have_seeds_of_their_own_and_count_by_their_mean() {
    let folder = metsig("0.2");
    let folder = folder.path();
    sweep(
        folder,
        "strategy = \"grid\"\nrepeats = 3\n[sweep.space]\nmodel.latent = { choice = [2, 6] }\n",
    );
    succeed(folder, &["sweep", "sweep.toml", "--out", "s"]);
    let rows = table(&folder.join("s"));
    assert_eq!(
        rows.keys().map(|name| name.trim_matches('"')).collect::<Vec<_>>(),
        ["0001-1", "0001-2", "0001-3", "0002-1", "0002-2", "0002-3"]
    );
    let ranked: serde_json::Value =
        serde_json::from_str(&succeed(folder, &["sweep", "collect", "s", "--format", "json"]))
            .unwrap();
    let figure = |name: &str| {
        let state: serde_json::Value = serde_json::from_slice(
            &fs::read(folder.join("s/trials").join(name).join("state.json")).unwrap(),
        )
        .unwrap();
        state["objective"].as_f64().unwrap()
    };
    for point in ranked["ranked"].as_array().unwrap() {
        let figures: Vec<f64> = (1..=3)
            .map(|repeat| figure(&format!("{:04}-{repeat}", point["trial"].as_u64().unwrap())))
            .collect();
        let mean = figures.iter().sum::<f64>() / 3.0;
        let spread =
            (figures.iter().map(|figure| (figure - mean).powi(2)).sum::<f64>() / 2.0).sqrt();
        assert!(
            (point["mean"].as_f64().unwrap() - mean).abs() < 1e-12
                && (point["spread"].as_f64().unwrap() - spread).abs() < 1e-12
        );
        assert!(spread > 0.0, "seeds differ");
    }
}

#[test]
fn weak_trials_are_ended_early_and_say_after_how_many_epochs() {
    let folder = metsig("0.2");
    let folder = folder.path();
    sweep(folder, &format!("trials = 12\npruner = \"asha\"\nwarm_up = 2\nreduction = 2\n{SPACE}"));
    let (code, _, told) = run(folder, &["sweep", "sweep.toml", "--out", "s", "--workers", "1"]);
    assert_eq!(code, 0, "{told}");
    let rows = table(&folder.join("s"));
    let (done, pruned) = (of_state(&rows, "done"), of_state(&rows, "pruned"));
    assert!(pruned >= 3 && done >= 1 && done + pruned == 12, "{done} done, {pruned} pruned");
    assert!(told.contains("pruned after 2 epochs"), "{told}");
    for row in rows.values().filter(|row| row.contains(&"state=\"pruned\"".to_owned())) {
        let epochs: u32 =
            row.iter().find_map(|field| field.strip_prefix("epochs=")?.parse().ok()).unwrap();
        assert!([2, 4, 8].contains(&epochs), "{row:?}");
    }
}

/// Processes whose parent is this one.
fn children(parent: u32) -> Vec<u32> {
    let mut found = vec![];
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(process) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        let after = stat.rsplit_once(')').map(|(_, after)| {
            after.split_whitespace().nth(1).and_then(|parent| parent.parse::<u32>().ok())
        });
        if after.flatten() == Some(parent) {
            found.push(process);
        }
    }
    found
}

fn kill(process: u32, signal: &str) {
    let _ =
        Command::new("kill").args([signal, &process.to_string()]).stderr(Stdio::null()).status();
}

fn start(folder: &Path, out: &str) -> Child {
    lumisift()
        .current_dir(folder)
        .args(["sweep", "sweep.toml", "--out", out, "--workers", "2", "--resume"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// The bytes of all files below a folder.
fn bytes(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        match path.is_dir() {
            true => found.extend(bytes(&path)),
            false => drop(found.insert(path.clone(), fs::read(&path).unwrap())),
        }
    }
    found
}

#[test]
fn a_worker_that_slept_while_another_took_its_trial_stops_and_writes_nothing() {
    let folder = metsig("0.2");
    let folder = folder.path();
    sweep(folder, &format!("trials = 2\n{SPACE}"));
    let sets = ["--set", "train.epochs=3000", "--set", "train.checkpoint.epochs=1"];
    let arguments =
        [&["sweep", "sweep.toml", "--out", "s", "--workers", "1", "--resume"], &sets[..]].concat();
    let mut sweeping = lumisift()
        .current_dir(folder)
        .args(&arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let trial = folder.join("s/trials/0001");
    let clock = Instant::now();
    while !fs::read_to_string(trial.join("history.csv")).is_ok_and(|text| text.lines().count() > 3)
    {
        assert!(clock.elapsed() < Duration::from_secs(300));
        sleep(Duration::from_millis(5));
    }
    let lock = trial.join("lock-000001.json");
    let text = fs::read_to_string(&lock).unwrap();
    let field = |name: &str| {
        text.split_once(&format!("\"{name}\":"))
            .unwrap()
            .1
            .split([',', '}'])
            .next()
            .unwrap()
            .trim_matches('"')
            .to_owned()
    };
    let worker = field("process");
    kill(worker.parse().unwrap(), "-STOP");
    // As if it were gone: the number of a process that began at another time.
    fs::write(&lock, text.replace(&format!("\"began\":\"{}\"", field("began")), "\"began\":\"1\""))
        .unwrap();
    succeed(folder, &arguments);
    let before = bytes(&folder.join("s/trials"));
    kill(worker.parse().unwrap(), "-CONT");
    // All trials are settled: the sweep itself has nothing to complain of.
    assert!(sweeping.wait().unwrap().success());
    assert!(bytes(&folder.join("s/trials")) == before);
    let logs = bytes(&folder.join("s/workers"));
    let said = logs
        .iter()
        .find(|(path, _)| path.to_string_lossy().contains(&format!("/{}-", sweeping.id())))
        .unwrap()
        .1;
    let said = String::from_utf8_lossy(said);
    assert!(said.contains("0001: the lock of this process was removed"), "{said}");
}

#[test]
fn a_sweep_whose_workers_are_killed_comes_to_the_same_end() {
    if !Path::new("/proc/self/stat").exists() {
        return crate::common::skipped("no /proc here to find workers by");
    }
    let trials: u32 =
        std::env::var("LUMISIFT_SWEEP_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(16);
    let folder = metsig("0.2");
    let folder = folder.path();
    sweep(folder, &format!("trials = {trials}\n{SPACE}"));
    succeed(folder, &["sweep", "sweep.toml", "--out", "calm"]);
    let (mut kills, mut wait, begun) = (0, 50, Instant::now());
    let mut sweeping = start(folder, "torn");
    loop {
        sleep(Duration::from_millis(wait));
        wait = 30 + (wait * 37 + 91) % 150;
        match sweeping.try_wait().unwrap() {
            Some(status) if status.success() => break,
            Some(_) => sweeping = start(folder, "torn"),
            None if kills < trials => {
                let workers = children(sweeping.id());
                // The one that keeps the workers too, now and then.
                if kills % 5 == 4 {
                    kill(sweeping.id(), "-KILL");
                    let _ = sweeping.wait();
                    sweeping = start(folder, "torn");
                } else if let Some(worker) = workers.get(kills as usize % workers.len().max(1)) {
                    kill(*worker, "-KILL");
                }
                kills += 1;
            }
            None => {}
        }
        assert!(begun.elapsed() < Duration::from_secs(600), "does not come to an end");
    }
    assert!(kills > 2, "{kills} kills");
    let calm = table(&folder.join("calm"));
    assert_eq!(of_state(&calm, "done"), trials as usize);
    assert_eq!(calm, table(&folder.join("torn")));
    for name in calm.keys().map(|name| name.trim_matches('"')) {
        let of = |sweep: &str| folder.join(sweep).join("trials").join(name);
        ["model/all.safetensors", "scores.parquet"]
            .iter()
            .for_each(|file| same_bytes(&of("calm"), &of("torn"), file));
        let log = fs::read_to_string(of("torn").join("log.txt")).unwrap();
        // None where the worker was killed between the report and this line.
        assert!(
            log.lines().filter(|line| line.ends_with(" complete")).count() <= 1,
            "trial {name} came to its end more than once\n{log}"
        );
    }
}

#[test]
fn an_interrupted_sweep_says_how_to_go_on_and_can_grow() {
    let folder = metsig("0.2");
    let folder = folder.path();
    sweep(folder, &format!("trials = 40\n{SPACE}"));
    let mut sweeping = Command::new(PROGRAM);
    let sweeping = sweeping
        .current_dir(folder)
        .args(["sweep", "sweep.toml", "--out", "s"])
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    while !folder.join("s/trials/0002/state.json").exists() {
        sleep(Duration::from_millis(20));
    }
    kill(sweeping.id(), "-INT");
    let output = sweeping.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(130), "{told}");
    assert!(told.contains("continue with: lumisift sweep s/sweep.toml --out s --resume"), "{told}");
    let begun = fs::read_dir(folder.join("s/trials")).unwrap().count();
    assert!((1..40).contains(&begun), "{begun}");
    // Fewer now, then more than ever planned; two processes share them.
    let (code, _, told) =
        run(folder, &["sweep", "sweep.toml", "--out", "s", "--set", "sweep.trials=4"]);
    assert!(code == 2 && told.contains("holds a sweep; --resume goes on with it"), "{told}");
    let (code, _, told) =
        run(folder, &["sweep", "sweep.toml", "--out", "s", "--resume", "--set", "train.epochs=3"]);
    assert!(code == 2 && told.contains("train.epochs was 12, is 3"), "{told}");
    let both: Vec<Child> = (0..2)
        .map(|_| {
            let mut command = lumisift();
            command.current_dir(folder).args([
                "sweep",
                "sweep.toml",
                "--out",
                "s",
                "--resume",
                "--set",
                "sweep.trials=45",
                "--workers",
                "1",
            ]);
            command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
        })
        .collect();
    both.into_iter().for_each(|mut sweeping| assert!(sweeping.wait().unwrap().success()));
    let rows = table(&folder.join("s"));
    assert_eq!((rows.len(), of_state(&rows, "done")), (45, 45));
    for name in rows.keys().map(|name| name.trim_matches('"')) {
        let log = fs::read_to_string(folder.join("s/trials").join(name).join("log.txt")).unwrap();
        assert_eq!(
            log.lines().filter(|line| line.ends_with(" complete")).count(),
            1,
            "trial {name}"
        );
    }
}

#[test]
fn a_failed_trial_is_recorded_and_the_others_go_on() {
    let folder = metsig("0.2");
    let folder = folder.path();
    let space = "strategy = \"grid\"\n[sweep.space]\ntrain.optimizer.learning_rate = { choice = [1e-3, 1e30] }\ntrain.optimizer.kind = { choice = [\"sgd\"] }\nmodel.output_activation = { choice = [\"linear\"] }\n";
    sweep(folder, space);
    let (code, told, warned) = run(folder, &["sweep", "sweep.toml", "--out", "s"]);
    assert_eq!(code, 0, "{warned}");
    assert!(
        told.contains("1 failed, 1 done") && warned.contains("training diverged"),
        "{told}\n{warned}"
    );
    let status = succeed(folder, &["sweep", "status", "s"]);
    assert!(status.contains("trial 0002 failed: training diverged"), "{status}");
    // Too many of them end it.
    let (code, _, told) = run(
        folder,
        &["sweep", "sweep.toml", "--out", "t", "--set", "sweep.max_failures=0", "--workers", "1"],
    );
    assert!(
        code == 0 || (code == 1 && told.contains("more than sweep.max_failures")),
        "{code} {told}"
    );
}

#[test]
fn what_is_wrong_with_a_search_is_told_before_anything_is_trained() {
    let folder = metsig("0.2");
    let folder = folder.path();
    let told = |more: &str| {
        sweep(folder, more);
        let (code, _, told) = run(folder, &["sweep", "sweep.toml", "--out", "s"]);
        assert!(!folder.join("s/trials/0001").exists(), "{told}");
        let _ = fs::remove_dir_all(folder.join("s"));
        (code, told)
    };
    let (code, unknown) = told("[sweep.space]\nmodel.latnet = { choice = [2] }\n");
    assert!(
        code == 2
            && unknown.contains("model.latnet")
            && unknown.contains("did you mean \"latent\"?"),
        "{unknown}"
    );
    let (code, wrong) =
        told("[sweep.space]\nmodel.activation = { choice = [\"relu\", \"rellu\"] }\n");
    assert!(
        code == 2 && wrong.contains("rellu") && wrong.contains("did you mean \"relu\"?"),
        "{wrong}"
    );
    let (code, empty) = told("[sweep.space]\nmodel.latent = { choice = [] }\n");
    assert!(code == 2 && empty.contains("sweep.space.model.latent.choice: found []"), "{empty}");
    let (code, none) = told("");
    assert!(code == 2 && none.contains("sweep.space: missing"), "{none}");
    let (code, gone) = told(&format!("{SPACE}\n[data]\n"));
    assert!(code == 2 && gone.contains("duplicate key"), "{gone}");
    let (code, _, none) =
        run(folder, &["sweep", &crate::common::config("metsig.toml"), "--out", "s"]);
    assert!(code == 2 && none.contains("has no [sweep]"), "{none}");
    let (code, _, none) = run(folder, &["sweep", "status", "nowhere"]);
    assert!(code == 2 && none.contains("does not exist"), "{none}");
}

#[test]
fn an_objective_that_no_trial_has_is_told_with_the_nearest_and_can_be_mended() {
    let folder = metsig("0.2");
    let folder = folder.path();
    sweep(folder, &format!("trials = 3\n{SPACE}"));
    let wrong = "sweep.objective=\"channels.training.best_valid_los\"";
    let (code, _, told) = run(folder, &["sweep", "sweep.toml", "--out", "s", "--set", wrong]);
    assert!(
        code == 2 && told.contains("did you mean \"channels.training.best_valid_loss\"?"),
        "{told}"
    );
    // What was trained counts.
    let model = folder.join("s/trials/0001/model/all.safetensors");
    let before = fs::metadata(&model).unwrap().modified().unwrap();
    succeed(folder, &["sweep", "sweep.toml", "--out", "s", "--resume"]);
    assert_eq!(fs::metadata(&model).unwrap().modified().unwrap(), before);
    assert_eq!(of_state(&table(&folder.join("s")), "done"), 3);
}

#[test]
fn ten_thousand_trials_are_planned_and_told_without_a_folder_each() {
    let folder = metsig("0.2");
    let folder = folder.path();
    sweep(folder, &format!("trials = 10000\n{SPACE}"));
    let told = succeed(folder, &["sweep", "sweep.toml", "--out", "s", "--dry-run"]);
    assert!(
        told.contains("10000 trainings of 10000 points") && !folder.join("s").exists(),
        "{told}"
    );
    let mut sweeping = start(folder, "s");
    while !folder.join("s/trials/0001/state.json").exists() {
        sleep(Duration::from_millis(20));
    }
    kill(sweeping.id(), "-TERM");
    assert_eq!(sweeping.wait().unwrap().code(), Some(75));
    let status = succeed(folder, &["sweep", "status", "s"]);
    assert!(status.contains(" planned"), "{status}");
    succeed(folder, &["sweep", "collect", "s"]);
    let rows = table(&folder.join("s"));
    assert_eq!(rows.len(), 10_000);
    assert!(rows.values().all(|row| {
        row.iter().any(|field| field.starts_with("model.latent=") && !field.ends_with("null"))
    }));
}

#[test]
fn parameters_that_depend_on_others_have_values_only_where_they_apply() {
    let folder = metsig("0.2");
    let folder = folder.path();
    sweep(
        folder,
        "strategy = \"grid\"\n[sweep.space]\ntrain.optimizer.kind = { choice = [\"sgd\", \"adam\"] }\n\
         train.optimizer.momentum = { choice = [0.0, 0.9], when = { \"train.optimizer.kind\" = \"sgd\" } }\n\
         size = { together = [{ model.hidden = [8], model.latent = 2 }, { model.hidden = [24, 12], model.latent = 3 }] }\n",
    );
    succeed(folder, &["sweep", "sweep.toml", "--out", "s"]);
    let rows = table(&folder.join("s"));
    assert_eq!((rows.len(), of_state(&rows, "done")), (6, 6));
    assert_eq!(
        rows.values()
            .filter(|row| row.contains(&"train.optimizer.momentum=null".to_owned()))
            .count(),
        2
    );
    let wide = rows.keys().filter(|name| {
        let text = fs::read_to_string(
            folder.join("s/trials").join(name.trim_matches('"')).join("experiment.toml"),
        )
        .unwrap();
        text.contains("hidden = [24, 12]") && text.contains("latent = 3")
    });
    assert_eq!(wide.count(), 3);
}

#[test]
fn a_full_disk_ends_a_sweep_with_a_word_and_loses_nothing() {
    let folder = metsig("0.2");
    let (folder, disk) = (folder.path(), folder.path().join("disk"));
    fs::create_dir(&disk).unwrap();
    let mount = |size: &str| {
        let options = format!("{}size={size}", if size == "1m" { "" } else { "remount," });
        let output = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(&disk)
            .output();
        output.is_ok_and(|output| output.status.success())
    };
    if !mount("1m") {
        return crate::common::skipped("a small tmpfs cannot be mounted here");
    }
    sweep(folder, &format!("trials = 6\n{SPACE}"));
    let (code, _, told) = run(folder, &["sweep", "sweep.toml", "--out", "disk/s"]);
    let larger = mount("100m");
    let (again, _, _) = run(folder, &["sweep", "sweep.toml", "--out", "disk/s", "--resume"]);
    let rows = if again == 0 { table(&disk.join("s")) } else { BTreeMap::new() };
    Command::new("umount").arg(&disk).status().unwrap();
    assert!(code == 1 && told.contains("No space left on device"), "{code} {told}");
    assert!(larger && again == 0 && of_state(&rows, "done") == 6, "{again} {rows:?}");
}
