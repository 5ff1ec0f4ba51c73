//! Searches on a real Slurm and a real HTCondor: a task a trial.

use crate::common::cluster::{HtCondor, Slurm, small};
use std::{
    fs,
    path::Path,
    process::{Command, Output},
    thread::sleep,
    time::Duration,
};

const TRIALS: usize = 8;

/// A search whose trials take some seconds each.
fn sweep(folder: &Path, more: &str) {
    small(folder, 400, &format!("[batch]\ncpus = 1\nmemory = \"200 MB\"\n{more}"));
    let text = format!(
        "extends = \"job.toml\"\n[sweep]\nobjective = \"channels.training.best_valid_loss\"\ngoal = \"min\"\ntrials = {TRIALS}\n\
         [sweep.space]\ntrain.optimizer.learning_rate = {{ log_uniform = [1e-4, 1e-2] }}\nmodel.latent = {{ int = [2, 6] }}\n"
    );
    fs::write(folder.join("sweep.toml"), text).unwrap();
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn told(output: Output) -> String {
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// What state each begun trial is in, by its folder.
fn states(sweep: &Path) -> Vec<(String, String)> {
    let mut states = vec![];
    for entry in fs::read_dir(sweep.join("trials")).into_iter().flatten().flatten() {
        let Ok(bytes) = fs::read(entry.path().join("state.json")) else { continue };
        let Ok(state) = serde_json::from_slice::<serde_json::Value>(&bytes) else { continue };
        states.push((
            entry.file_name().to_string_lossy().into_owned(),
            state["state"].as_str().unwrap().to_owned(),
        ));
    }
    states.sort();
    states
}

fn count(sweep: &Path, state: &str) -> usize {
    states(sweep).iter().filter(|(_, found)| found == state).count()
}

/// Both sweeps came to the same.
fn same_results(one: &Path, other: &Path) {
    for trial in 1..=TRIALS {
        let of = |sweep: &Path| sweep.join(format!("trials/{trial:04}"));
        crate::common::same(&of(one), &of(other));
    }
    assert_eq!(
        fs::read_link(one.join("best")).unwrap(),
        fs::read_link(other.join("best")).unwrap()
    );
}

#[test]
fn an_array_of_trials_goes_on_after_cancelled_tasks_and_a_lost_node() {
    let Some(slurm) = Slurm::start(1001) else { return };
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    sweep(place, "at_once = 2\n");
    crate::common::succeed(place, &["sweep", "sweep.toml", "--out", "here", "-q"]);
    let lumisift = |arguments: &[&str]| {
        slurm.command(crate::common::PROGRAM).current_dir(place).args(arguments).output().unwrap()
    };
    let plan = told(lumisift(&[
        "sweep",
        "sweep.toml",
        "--out",
        "there",
        "--engine",
        "slurm",
        "--dry-run",
    ]));
    assert!(
        plan.contains("#SBATCH --array=1-8%2")
            && plan.contains("--worker --trial ")
            && !place.join("there").exists(),
        "{plan}"
    );

    let sent: serde_json::Value = serde_json::from_str(&told(lumisift(&[
        "sweep",
        "sweep.toml",
        "--out",
        "there",
        "--engine",
        "slurm",
        "--format",
        "json",
    ])))
    .unwrap();
    let job = sent[0]["job"].as_str().unwrap();
    let there = place.join("there");
    slurm.until("two trials run", || count(&there, "running") == 2);
    let status = told(lumisift(&["sweep", "status", "there"]));
    assert!(
        status.contains("in the queue: ") && status.contains(&format!("slurm {job}_1")),
        "{status}"
    );
    // One that runs and three that wait are cancelled; the node of another goes down for a while.
    slurm.ask(&format!("scancel {job}_2 {job}_5 {job}_6 {job}_7"));
    slurm.until("one is done", || count(&there, "done") >= 1);
    slurm.until("others run", || count(&there, "running") >= 1);
    slurm.ask("scontrol update NodeName=n1 State=DOWN Reason=test");
    sleep(Duration::from_secs(2));
    // It may have come back by itself.
    let _ = slurm.command("scontrol").args(["update", "NodeName=n1", "State=RESUME"]).output();
    let running = || slurm.ask("squeue -h -r -o %T").lines().count();
    slurm.until("the array ends", || {
        assert!(
            slurm.ask("squeue -h -r -t running -o %i").lines().count() <= 2,
            "more at once than the throttle lets"
        );
        running() == 0
    });
    assert_eq!(count(&there, "done"), TRIALS - 4, "{:?}", states(&there));
    let status = told(lumisift(&["sweep", "status", "there"]));
    // Of those that never began Slurm keeps nothing.
    assert!(
        status.contains("1 left the queue before the end: CANCELLED")
            && status.contains("3 left the queue before the end: "),
        "{status}"
    );
    // What was cancelled is sent again, and nothing else.
    let again = told(lumisift(&[
        "sweep",
        "sweep.toml",
        "--out",
        "there",
        "--engine",
        "slurm",
        "--resume",
        "--format",
        "json",
    ]));
    let again: serde_json::Value = serde_json::from_str(&again).unwrap();
    assert_eq!(again[0]["tasks"], serde_json::json!([2, 5, 6, 7]));
    slurm.until("all done", || count(&there, "done") == TRIALS);
    let all = told(lumisift(&["sweep", "collect", "there"]));
    assert!(all.contains("8 done"), "{all}");
    same_results(&place.join("here"), &there);
    let none =
        lumisift(&["sweep", "sweep.toml", "--out", "there", "--engine", "slurm", "--resume"]);
    assert!(
        none.status.success() && text(&none.stderr).contains("every trial is done or in the queue"),
        "{}",
        text(&none.stderr)
    );
}

#[test]
fn rounds_of_the_estimator_wait_for_each_other_in_the_queue() {
    let Some(slurm) = Slurm::start(1001) else { return };
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    sweep(place, "");
    let sets = [
        "--set",
        "sweep.strategy=\"tpe\"",
        "--set",
        "sweep.trials=14",
        "--set",
        "sweep.round=4",
        "--set",
        "train.epochs=3",
    ];
    crate::common::succeed(
        place,
        &[&["sweep", "sweep.toml", "--out", "here", "-q"], &sets[..]].concat(),
    );
    let mut command = slurm.command(crate::common::PROGRAM);
    let plan = told(
        command
            .current_dir(place)
            .args(["sweep", "sweep.toml", "--out", "plan", "--engine", "slurm", "--dry-run"])
            .args(sets)
            .output()
            .unwrap(),
    );
    // The first ten points are drawn, those after them learnt.
    assert_eq!(plan.matches("--dependency=afterany:<previous round>").count(), 2, "{plan}");
    let mut command = slurm.command(crate::common::PROGRAM);
    told(
        command
            .current_dir(place)
            .args(["sweep", "sweep.toml", "--out", "there", "--engine", "slurm"])
            .args(sets)
            .output()
            .unwrap(),
    );
    slurm.until("all done", || count(&place.join("there"), "done") == 14);
    crate::common::succeed(place, &["sweep", "collect", "there", "-q"]);
    for trial in 1..=14 {
        let point = |sweep: &str| {
            fs::read(place.join(sweep).join(format!("trials/{trial:04}/trial.toml"))).unwrap()
        };
        assert!(point("here") == point("there"), "trial {trial}");
    }
}

#[test]
fn trials_in_a_pool_are_held_removed_and_put_off_and_come_to_the_same() {
    let Some(condor) = HtCondor::start() else { return };
    let place = condor.shared.path().to_path_buf();
    sweep(&place, &format!("program = \"{}\"\n", place.join("lumisift").display()));
    crate::common::succeed(&place, &["sweep", "sweep.toml", "--out", "here", "-q"]);
    condor.hand_over();
    let lumisift = |arguments: &[&str]| {
        condor.command(&place, place.join("lumisift")).args(arguments).output().unwrap()
    };
    let refused = lumisift(&[
        "sweep",
        "sweep.toml",
        "--out",
        "tpe",
        "--engine",
        "htcondor",
        "--set",
        "sweep.strategy=\"tpe\"",
    ]);
    assert!(
        refused.status.code() == Some(2)
            && text(&refused.stderr).contains("the rounds of sweep.strategy"),
        "{}",
        text(&refused.stderr)
    );
    let sent: serde_json::Value = serde_json::from_str(&told(lumisift(&[
        "sweep",
        "sweep.toml",
        "--out",
        "there",
        "--engine",
        "htcondor",
        "--format",
        "json",
    ])))
    .unwrap();
    let job = sent[0]["job"].as_str().unwrap().to_owned();
    let there = place.join("there");
    condor.until("trials run", || count(&there, "running") >= 1);
    // Jobs of a pool are numbered from 0 in the order of the tasks.
    condor.ask(&format!("condor_hold {job}.0"));
    condor.ask(&format!("condor_rm {job}.6 {job}.7"));
    let status = told(lumisift(&["sweep", "status", "there"]));
    assert!(status.contains("in the queue: "), "{status}");
    let _ =
        condor.command(&place, "condor_vacate_job").arg("-fast").arg(format!("{job}.1")).output();
    condor.ask(&format!("condor_release {job}.0"));
    condor.until("all but the removed are done", || count(&there, "done") >= TRIALS - 2);
    let again = told(lumisift(&[
        "sweep",
        "sweep.toml",
        "--out",
        "there",
        "--engine",
        "htcondor",
        "--resume",
        "--format",
        "json",
    ]));
    let again: serde_json::Value = serde_json::from_str(&again).unwrap();
    let tasks = again[0]["tasks"].as_array().map_or(0, Vec::len);
    condor.until("all done", || count(&there, "done") == TRIALS);
    assert!(tasks <= 2, "{again}");
    told(lumisift(&["sweep", "collect", "there"]));
    same_results(&place.join("here"), &there);
}

/// The sandbox of a task holds its own trial alone.
#[test]
fn a_trial_that_is_sent_with_its_files_comes_home_settled() {
    let Some(condor) = HtCondor::start() else { return };
    let place = condor.shared.path().to_path_buf();
    sweep(&place, "[batch.htcondor]\ntransfer = true\ninputs = [\"good.csv\", \"bad1.csv\"]\n");
    condor.hand_over();
    let lumisift = |arguments: &[&str]| {
        condor.command(&place, place.join("lumisift")).args(arguments).output().unwrap()
    };
    let sets = ["--set", "sweep.trials=3", "--set", "train.epochs=5"];
    told(lumisift(
        &[&["sweep", "sweep.toml", "--out", "there", "--engine", "htcondor"], &sets[..]].concat(),
    ));
    let there = place.join("there");
    condor.until("all done", || count(&there, "done") == 3);
    let all = told(lumisift(&["sweep", "collect", "there"]));
    assert!(all.contains("3 done"), "{all}");
    assert!(
        Command::new("test")
            .arg("-e")
            .arg(there.join("best/report.json"))
            .status()
            .unwrap()
            .success()
    );
}
