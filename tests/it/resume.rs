//! Nothing is lost: trainings that are killed, asked to stop or run out of time go on to the same
//! bytes, and what is torn is never taken for whole.

use crate::common::{config, lumisift, metsig, results, run, same, succeed};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

/// How many trainings are killed in each test.
fn kills() -> u64 {
    std::env::var("LUMISIFT_KILLS").map_or(6, |kills| kills.parse().unwrap())
}

struct Job {
    place: tempfile::TempDir,
    arguments: Vec<String>,
}

impl Job {
    /// A training of about a second, kept after every epoch.
    fn new(more: &[&str]) -> Self {
        let place = metsig("0.5");
        let sets = [
            "data.train=[\"good.csv\"]",
            "data.test=[\"bad1.csv\"]",
            "train.epochs=40",
            "train.checkpoint.epochs=1",
            "model.hidden=[200, 100]",
            "model.dropout=0.1",
        ];
        let mut arguments = vec![config("metsig.toml")];
        sets.iter()
            .chain(more)
            .for_each(|set| arguments.extend(["--set".to_owned(), (*set).to_owned()]));
        Self { place, arguments }
    }

    fn path(&self, out: &str) -> PathBuf {
        self.place.path().join(out)
    }

    fn arguments<'a>(&'a self, out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        ["train", "--out", out, "-q"]
            .into_iter()
            .chain(self.arguments.iter().map(String::as_str))
            .chain(more.iter().copied())
            .collect()
    }

    fn start(&self, out: &str) -> Child {
        let mut command = lumisift();
        command.current_dir(self.place.path()).args(self.arguments(out, &["--resume"]));
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    fn run(&self, out: &str, more: &[&str]) -> (i32, String, String) {
        run(self.place.path(), &self.arguments(out, more))
    }
}

/// Kills a training again and again, each time somewhat later, and goes on until it is done.
fn kill_and_go_on(job: &Job, kill: impl Fn(&mut Child)) {
    let clock = Instant::now();
    assert_eq!(job.run("through", &[]).0, 0);
    let whole = clock.elapsed();
    for round in 0..kills() {
        let out = format!("killed-{round}");
        let mut times = 0;
        for attempt in 1.. {
            let mut child = job.start(&out);
            // Anywhere from reading to reporting; later each time, so that it comes to an end.
            sleep(whole.mul_f64(
                ((round * 37 + attempt * 29) % 100) as f64 / 100.0 * (1.0 + attempt as f64 / 4.0),
            ));
            if child.try_wait().unwrap().is_none() {
                kill(&mut child);
                times += 1;
            }
            if child.wait().unwrap().success() {
                break;
            }
            assert!(attempt < 60, "it never ends: {:?}", job.run(&out, &["--resume"]));
        }
        assert!(times > 0 || round > 0);
        same(&job.path("through"), &job.path(&out));
    }
}

#[test]
fn killed_trainings_go_on_to_the_same_bytes() {
    let sets = [
        "train.stop.patience=30",
        "train.ensemble=2",
        "model.batch_norm=true",
        "model.noise=0.05",
        "model.masking=0.1",
    ];
    kill_and_go_on(&Job::new(&sets), |child| child.kill().unwrap());
}

#[test]
fn trainings_that_are_asked_to_end_go_on_to_the_same_bytes() {
    let term = |child: &mut Child| {
        std::process::Command::new("kill")
            .args(["-TERM", &child.id().to_string()])
            .status()
            .unwrap();
        let clock = Instant::now();
        let code = child.wait().unwrap().code();
        assert!(clock.elapsed() < Duration::from_secs(300));
        // Where the signal comes before it is listened for, it ends the program as ever; after
        // training there is nothing to pause.
        assert!([None, Some(75), Some(0)].contains(&code), "{code:?}");
    };
    kill_and_go_on(&Job::new(&["train.optimizer.kind=\"adadelta\""]), term);
}

#[test]
fn channels_go_on_each_from_where_it_stood() {
    let place = tempfile::tempdir().unwrap();
    succeed(place.path(), &["synth", "cms2010b", ".", "--rows", "800", "-q"]);
    let sets = [
        "data.train=[\"features.parquet\"]",
        "labels.good=\"labels.npy\"",
        "labels.subsystems.folder=\"Quality2010\"",
        "train.epochs=20",
        "train.checkpoint.epochs=1",
        "train.time_limit=\"0.12s\"",
    ];
    let train = |out: &str, more: &[&str]| {
        let config = config("cms2010b-notebook.toml");
        let mut arguments = vec!["train", &config, "--out", out, "-q"];
        sets.iter().for_each(|set| arguments.extend(["--set", set]));
        run(place.path(), &[&arguments, more].concat())
    };
    assert_eq!(train("through", &["--set", "train.time_limit=\"1h\""]).0, 0);
    let mut pauses = 0;
    loop {
        let (code, _, err) = train("paused", &["--resume"]);
        match code {
            0 => break,
            75 => assert!(
                err.contains("train.time_limit reached after") && err.contains("--resume"),
                "{err}"
            ),
            _ => panic!("{code}: {err}"),
        }
        pauses += 1;
        assert!(pauses < 200, "it never ends");
    }
    assert!(pauses > 0, "the limit was never reached");
    same(&place.path().join("through"), &place.path().join("paused"));
    let (code, _, err) = train("paused", &["--resume"]);
    assert_eq!((code, err.as_str()), (0, ""), "what is complete is left alone");
}

/// A training that was stopped half way.
fn half_way(job: &Job) -> PathBuf {
    let (code, _, err) = job.run("half", &["--set", "train.time_limit=\"0.4s\"", "--resume"]);
    assert_eq!(code, 75, "{err}");
    let checkpoints = job.path("half/checkpoints/all");
    assert!(fs::read_dir(&checkpoints).unwrap().count() <= 2, "the last two stay");
    checkpoints
}

fn newest(checkpoints: &Path) -> PathBuf {
    fs::read_dir(checkpoints).unwrap().map(|entry| entry.unwrap().path()).max().unwrap()
}

#[test]
fn damaged_checkpoints_are_named_and_the_one_before_is_taken() {
    let job = Job::new(&["train.epochs=200", "train.time_limit=\"0.4s\""]);
    assert_eq!(job.run("through", &["--set", "train.time_limit=\"1h\""]).0, 0);
    let damaged = newest(&half_way(&job));
    let mut bytes = fs::read(&damaged).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&damaged, bytes).unwrap();
    // A kill in the middle of a line.
    let history = job.path("half/history.csv");
    let text = fs::read_to_string(&history).unwrap();
    fs::write(&history, &text[..text.len() - 9]).unwrap();
    let mut told = false;
    loop {
        let arguments: Vec<&str> = job
            .arguments("half", &["--resume"])
            .into_iter()
            .filter(|argument| *argument != "-q")
            .collect();
        let (code, _, err) = run(job.place.path(), &arguments);
        told |= err.contains("not a whole checkpoint")
            && err.contains("the previous checkpoint is used");
        match code {
            0 => break,
            75 => {}
            _ => panic!("{code}: {err}"),
        }
    }
    assert!(told);
    same(&job.path("through"), &job.path("half"));
}

#[test]
fn what_does_not_belong_together_does_not_go_on() {
    let job = Job::new(&["train.epochs=200", "train.time_limit=\"0.4s\""]);
    half_way(&job);
    let (code, _, err) = job.run("half", &[]);
    assert!(code == 2 && err.contains("not complete; --resume continues it"), "{err}");
    let (code, _, err) =
        job.run("half", &["--resume", "--set", "train.batch_size=17", "--set", "seed=5"]);
    assert!(
        code == 2
            && err.contains(
                "was begun with another config: seed was 1, is 5, train.batch_size was 42, is 17"
            ),
        "{err}"
    );
    let (code, _, err) = job.run(
        "half",
        &["--resume", "--set", "train.time_limit=\"0.01s\"", "--set", "train.checkpoint.keep=5"],
    );
    assert_eq!(
        code, 75,
        "how long to train and what to keep is no part of what an experiment is: {err}"
    );
    let data = job.path("good.csv");
    let text = fs::read_to_string(&data).unwrap();
    fs::write(&data, format!("{text}99999;[{}]\n", ["1"; 53].join(","))).unwrap();
    let (code, _, err) = job.run("half", &["--resume"]);
    assert!(code == 2 && err.contains("of another config, other data or another version"), "{err}");
}

#[test]
fn two_on_one_folder_one_wins_and_the_other_is_told_who() {
    let job = Job::new(&["train.epochs=100000", "train.stop.patience=100000"]);
    let mut first = job.start("shared");
    let clock = Instant::now();
    while !job.path("shared/history.csv").exists() {
        assert!(clock.elapsed() < Duration::from_secs(300));
        sleep(Duration::from_millis(20));
    }
    for more in [["--resume"], ["--force"]] {
        let (code, _, err) = job.run("shared", &more);
        assert!(code == 2 && err.contains(&format!("process {} on", first.id())), "{err}");
    }
    first.kill().unwrap();
    first.wait().unwrap();
    let (code, _, err) = job.run("shared", &["--resume", "--set", "train.time_limit=\"0.1s\""]);
    assert!(code == 75, "the lock of a killed process does not hold: {err}");
}

/// The bytes of all files below a folder.
fn bytes(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    glob(folder).into_iter().map(|path| (path.clone(), fs::read(&path).unwrap())).collect()
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
}

/// Stops a process, all of whose threads then stand still: one may be in the middle of a write.
fn stop(child: &Child) {
    signal(child, "-STOP");
    let tasks = PathBuf::from(format!("/proc/{}/task", child.id()));
    let stands = |task: &PathBuf| {
        fs::read_to_string(task.join("stat"))
            .map_or(true, |stat| stat.rsplit_once(") ").unwrap().1.starts_with('T'))
    };
    let all =
        || fs::read_dir(&tasks).into_iter().flatten().all(|task| stands(&task.unwrap().path()));
    while !all() {
        sleep(Duration::from_millis(5));
    }
}

/// Lets a training run for some epochs, and stops it as a suspended machine does.
fn asleep(job: &Job, out: &str) -> Child {
    let arguments: Vec<&str> = job.arguments(out, &[]);
    let child = lumisift()
        .current_dir(job.place.path())
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    until_epochs(&job.path(out), 3);
    stop(&child);
    child
}

fn until_epochs(out: &Path, epochs: usize) {
    let clock = Instant::now();
    while !fs::read_to_string(out.join("history.csv"))
        .is_ok_and(|text| text.lines().count() > epochs)
    {
        assert!(clock.elapsed() < Duration::from_secs(300));
        sleep(Duration::from_millis(10));
    }
}

/// Wakes a training that was taken over; returns what it says. It must end with exit code 1, and
/// leave everything as it was.
fn wakes(sleeper: Child, out: &Path) -> String {
    let before = bytes(out);
    signal(&sleeper, "-CONT");
    let output = sleeper.wait_with_output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{err}");
    let after = bytes(out);
    let changed: Vec<&PathBuf> = before
        .keys()
        .chain(after.keys())
        .filter(|path| before.get(*path) != after.get(*path))
        .collect();
    assert!(changed.is_empty(), "{changed:?}: {err}");
    err
}

#[test]
fn a_complete_folder_under_an_older_history_is_made_whole_again() {
    let job = Job::new(&["train.ensemble=2"]);
    assert_eq!((job.run("through", &[]).0, job.run("out", &[]).0), (0, 0));
    let history = job.path("out/history.csv");
    let text = fs::read_to_string(&history).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    // A whole line and half a line too few; one epoch of one member.
    for older in [
        lines[..9].join("\n"),
        text[..text.len() - 20].to_owned(),
        format!("{}\n", lines[..lines.len() - 1].join("\n")),
    ] {
        fs::write(&history, older).unwrap();
        assert_eq!(job.run("out", &["--resume"]).0, 0);
        same(&job.path("through"), &job.path("out"));
    }
    let before = bytes(&job.path("out"));
    assert_eq!(job.run("out", &["--resume"]).0, 0);
    assert!(bytes(&job.path("out")) == before, "what is complete is left alone");
}

#[test]
fn who_slept_while_another_took_over_stops_and_writes_nothing() {
    let job =
        Job::new(&["train.epochs=100000", "train.stop.patience=100000", "report.tensorboard=true"]);
    // As if it were gone: the number of a process that began at another time.
    let forget = |out: &str| {
        let lock = job.path(out).join("lock-000001.json");
        let text = fs::read_to_string(&lock).unwrap();
        let began = text.split_once("\"began\":\"").unwrap().1.split_once('"').unwrap().0;
        fs::write(&lock, text.replace(&format!("\"began\":\"{began}\""), "\"began\":\"1\""))
            .unwrap();
    };
    for (out, more) in [("resumed", "--resume"), ("replaced", "--force")] {
        let sleeper = asleep(&job, out);
        forget(out);
        // One that has stopped meanwhile.
        let (code, _, err) = job.run(out, &[more, "--set", "train.time_limit=\"1s\""]);
        assert_eq!(code, 75, "{err}");
        let err = wakes(sleeper, &job.path(out));
        assert!(err.contains("the lock of this process was removed"), "{err}");

        // One that goes on.
        let sleeper = asleep(&job, &format!("{out}-on"));
        let out = format!("{out}-on");
        forget(&out);
        fs::remove_file(job.path(&out).join("history.csv")).unwrap();
        let arguments = job.arguments(&out, &[more]);
        let mut other = lumisift()
            .current_dir(job.place.path())
            .args(arguments)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        until_epochs(&job.path(&out), 3);
        stop(&other);
        let err = wakes(sleeper, &job.path(&out));
        other.kill().unwrap();
        other.wait().unwrap();
        assert!(
            err.contains(&format!("process {} on ", other.id()))
                && err.contains("has taken over this folder (since 2"),
            "{err}"
        );
    }
}

#[test]
fn a_machine_that_slept_loses_its_folder_to_another() {
    let elsewhere = |program: &Path, arguments: &[&str]| {
        let mut command = Command::new("unshare");
        command
            .args(["--uts", "sh", "-c", "hostname elsewhere && exec \"$0\" \"$@\""])
            .arg(program)
            .args(arguments);
        command
    };
    if !elsewhere(Path::new("true"), &[]).output().is_ok_and(|output| output.status.success()) {
        return crate::common::skipped("the name of the host cannot be changed for a process here");
    }
    let job = Job::new(&["train.epochs=100000", "train.stop.patience=100000"]);
    let sleeper = asleep(&job, "out");
    // After a minute without a beat, and a beat more.
    let clock = Instant::now();
    let arguments = job.arguments("out", &["--resume", "--set", "train.time_limit=\"68s\""]);
    let other = elsewhere(Path::new(crate::common::PROGRAM), &arguments)
        .current_dir(job.place.path())
        .output()
        .unwrap();
    let err = String::from_utf8_lossy(&other.stderr);
    assert!(
        other.status.code() == Some(75) && clock.elapsed() > Duration::from_secs(60),
        "{:?} after {:?}: {err}",
        other.status,
        clock.elapsed()
    );
    wakes(sleeper, &job.path("out"));
}

#[test]
fn a_channel_that_diverges_does_not_stop_the_others() {
    let place = tempfile::tempdir().unwrap();
    // Gradients of values so large make steps ever larger.
    let row = |ls: u32| {
        format!(
            "1,{ls},{},{},{},{}\n",
            ls % 7,
            ls % 5,
            1e9 * f64::from(ls % 7),
            1e9 * f64::from(ls % 5)
        )
    };
    let rows: String = (1..=200).map(row).collect();
    fs::write(place.path().join("data.csv"), format!("run,ls,a_x,a_y,b_x,b_y\n{rows}")).unwrap();
    let text = "data.train = [\"data.csv\"]\nsplit.by = \"block\"\nsplit.block = 10\nscale.kind = \"none\"\nmodel = {hidden = [4], latent = 1}\ntrain = {epochs = 5, checkpoint = {epochs = 1}, optimizer = {kind = \"sgd\", learning_rate = 0.001}}\n[channels]\nlevels = [\"part\", \"quantity\"]\nrules = [{ pattern = '(?<part>[a-z]+)_(?<quantity>[a-z])' }]\n";
    fs::write(place.path().join("own.toml"), text).unwrap();
    let (code, _, err) = run(place.path(), &["train", "own.toml", "--out", "out", "-q"]);
    assert!(
        code == 1
            && err.contains(
                "channel b: training diverged: the loss of epoch 1 is not finite in batch "
            )
            && err.contains(" (learning rate 0.001; no epoch was completed)")
            && err.contains("(the other models, 1, continued)"),
        "{err}"
    );
    let history = fs::read_to_string(place.path().join("out/history.csv")).unwrap();
    assert!(history.contains("\n5,a,"), "{history}");
}

#[test]
fn a_full_disk_is_told_and_nothing_torn_is_left() {
    let place = tempfile::tempdir().unwrap();
    let disk = place.path().join("disk");
    fs::create_dir(&disk).unwrap();
    let mount = |size: &str| {
        let options = format!("size={size},remount");
        let options = if size == "500k" { options.trim_end_matches(",remount") } else { &options };
        std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(&disk)
            .output()
            .is_ok_and(|output| output.status.success())
    };
    if !mount("500k") {
        crate::common::skipped("a small tmpfs cannot be mounted here");
        return;
    }
    let job = Job::new(&[]);
    let out = disk.join("out").display().to_string();
    assert_eq!(job.run("through", &[]).0, 0);
    let (code, _, err) = job.run(&out, &[]);
    let torn: Vec<PathBuf> = glob(&disk.join("out"))
        .into_iter()
        .filter(|path| path.to_string_lossy().ends_with(".part"))
        .collect();
    let larger = mount("50m");
    let again = job.run(&out, &["--resume"]);
    let is_same = again.0 == 0 && results(&disk.join("out")) == results(&job.path("through"));
    std::process::Command::new("umount").arg(&disk).status().unwrap();
    assert!(
        code == 1 && err.contains("cannot be written: No space left on device"),
        "{code} {err}"
    );
    assert!(torn.is_empty(), "{torn:?}");
    assert!(larger && is_same, "{again:?}");
}

#[test]
fn a_folder_that_goes_away_or_cannot_be_written_ends_the_training_with_a_word() {
    let job = Job::new(&[
        "train.epochs=100000",
        "train.stop.patience=100000",
        "train.checkpoint.epochs=2000",
    ]);
    let child = lumisift()
        .current_dir(job.place.path())
        .args(job.arguments("gone", &[]))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let clock = Instant::now();
    while !fs::read_to_string(job.path("gone/history.csv"))
        .is_ok_and(|text| text.lines().count() > 3)
    {
        assert!(clock.elapsed() < Duration::from_secs(300));
        sleep(Duration::from_millis(10));
    }
    // Files go one by one, and a new one may come meanwhile.
    while job.path("gone").exists() {
        let _ = fs::remove_dir_all(job.path("gone"));
    }
    let output = child.wait_with_output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    let is_named = ["gone: the folder is gone", "gone: the lock of this process was removed"]
        .iter()
        .any(|words| err.contains(words));
    assert!(output.status.code() == Some(1) && is_named, "{err}");
    assert!(!job.path("gone").exists(), "nothing comes back that looks like an experiment");

    fs::write(job.path("file"), "").unwrap();
    let (code, _, err) = job.run("file/out", &[]);
    assert!(code == 2 && err.contains("file/out: is in file, which is a file"), "{code} {err}");
    let (code, _, err) = job.run("/proc/lumisift", &[]);
    assert!(code == 1 && err.contains("/proc/lumisift: cannot be written"), "{code} {err}");
}

/// All files below a folder.
fn glob(folder: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { glob(&path) } else { vec![path] }).collect()
}

#[test]
fn a_training_that_was_killed_while_it_wrote_its_first_file_can_begin() {
    let job = Job::new(&["train.epochs=1"]);
    let out = job.path("out");
    fs::create_dir(&out).unwrap();
    fs::write(out.join(".experiment.toml.123.part"), "half a config").unwrap();
    fs::write(out.join("lock-000001.json"), "").unwrap();
    let (code, _, err) = job.run("out", &["--resume"]);
    assert_eq!(code, 0, "{err}");
    assert!(!out.join(".experiment.toml.123.part").exists() && out.join("report.json").exists());
}
