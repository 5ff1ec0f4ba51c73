//! Trainings on a real Slurm.

use crate::common::{
    cluster::{Slurm, epochs, small, until},
    lumisift, same,
};
use lumisift::{
    config::{Document, Experiment},
    sweep::engine::{self, Engine, Job, State, Submission},
};
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

/// Runs lumisift with that Slurm; returns exit code, standard output, standard error.
fn run(slurm: &Slurm, folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output =
        slurm.command(crate::common::PROGRAM).current_dir(folder).args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

/// Sends a training of `job.toml`; returns the job's number.
fn send(slurm: &Slurm, place: &Path, out: &str, more: &[&str]) -> String {
    let arguments =
        [&["train", "job.toml", "--out", out, "--engine", "slurm", "--format", "json"], more]
            .concat();
    let (code, text, err) = run(slurm, place, &arguments);
    assert_eq!(code, 0, "{err}");
    let sent: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&sent[0]["engine"], &sent[0]["tasks"]), (&"slurm".into(), &serde_json::json!([0])));
    sent[0]["job"].as_str().unwrap().to_owned()
}

#[test]
fn what_would_be_sent_is_told_and_nothing_is_written() {
    let section = "[batch]\nsetup = [\"module load 'cuda'\", \"source /cvmfs/a b\"]\nimage = \"/images/my env.sif\"\nprogram = \"/opt/lumi sift\"\ncpus = 3\n\
        memory = \"2 GB\"\ngpus = 2\ntime = \"7h 30m\"\nlead = \"5m\"\nat_once = 6\nretries = 4\n[batch.slurm]\npartition = \"gpu\"\naccount = \"cms\"\n\
        qos = \"low\"\nconstraint = \"a100|h100\"\nextra = [\"--exclusive\", \"--comment='two words'\"]\n";
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    small(place, 3, section);
    let (code, out, err) = crate::common::run(
        place,
        &["train", "job.toml", "--out", "it's here", "--engine", "slurm", "--dry-run"],
    );
    assert_eq!((code, err.as_str()), (0, ""));
    let folder = place.join("it's here").display().to_string();
    let quoted = folder.replace('\'', r"'\''");
    for line in [
        &format!("# {folder}/experiment.toml"),
        "epochs = 3",
        &format!("# {folder}/batch/1/job.sh"),
        "#SBATCH --job-name=lumisift-metsig",
        "#SBATCH --array=0%6",
        "#SBATCH --cpus-per-task=3",
        "#SBATCH --mem=2048M",
        "#SBATCH --gres=gpu:2",
        "#SBATCH --time=7:30:00",
        "#SBATCH --signal=B:USR1@300",
        "#SBATCH --partition=gpu",
        "#SBATCH --account=cms",
        "#SBATCH --qos=low",
        "#SBATCH --constraint=a100|h100",
        "#SBATCH --requeue",
        "#SBATCH --open-mode=append",
        "#SBATCH --output=%a.log",
        "#SBATCH --exclusive",
        "#SBATCH --comment='two words'",
        "export RAYON_NUM_THREADS=3",
        "module load 'cuda'",
        "source /cvmfs/a b",
        &format!(
            "apptainer exec --nv '/images/my env.sif' '/opt/lumi sift' train '{quoted}/experiment.toml' --out '{quoted}' --resume &"
        ),
        "cd '",
    ] {
        assert!(
            out.lines()
                .any(|found| found == line || (line.ends_with('\'') && found.starts_with(line))),
            "{line} in\n{out}"
        );
    }
    assert!(
        out.contains("-lt 4 ]") && out.trim_end().ends_with("sbatch --parsable job.sh"),
        "{out}"
    );
    assert!(!place.join("it's here").exists());
    let (code, _, err) =
        crate::common::run(place, &["train", "job.toml", "--out", "b", "--dry-run"]);
    assert!(code == 2 && err.contains("--dry-run: needs --engine"), "{err}");
}

#[test]
fn a_batch_system_that_is_not_there_is_told_before_anything_is_written() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    small(place, 3, "");
    let output = lumisift()
        .env("PATH", "/nowhere")
        .current_dir(place)
        .args(["train", "job.toml", "--out", "a", "--engine", "slurm"])
        .output();
    let output = output.unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.code() == Some(2)
            && err.contains("Slurm: there is no sbatch on this machine's PATH"),
        "{err}"
    );
    assert!(!place.join("a").exists());
}

#[test]
fn trainings_come_to_the_same_bytes_wherever_they_are_paused() {
    let Some(slurm) = Slurm::start(1001) else { return };
    // Each requeue costs seconds: all at the same time.
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    small(place, 400, "[batch]\ncpus = 1\nmemory = \"200 MB\"\n");
    let done = |out: &str| place.join(out).join("report.json").exists();
    crate::common::succeed(place, &["train", "job.toml", "--out", "here", "-q"]);
    let through = send(&slurm, place, "a b'c", &[]);
    let paused = send(&slurm, place, "paused", &[]);
    let limited = send(&slurm, place, "limited", &["--set", "train.time_limit=2s"]);
    let cancelled = send(&slurm, place, "cancelled", &[]);
    let lost = send(&slurm, place, "lost", &["--set", "batch.slurm.partition=other"]);
    let (code, _, err) = run(
        &slurm,
        place,
        &["train", "job.toml", "--out", "paused", "--engine", "slurm", "--resume"],
    );
    assert!(code == 2 && err.contains(&format!("{paused}_0 is in the queue for it")), "{err}");

    slurm.until("some epochs", || {
        ["paused", "cancelled", "lost"].iter().all(|out| epochs(&place.join(out)) >= 3)
    });
    slurm.ask(&format!("scancel --signal=USR1 --batch {paused}_0"));
    slurm.ask(&format!("scancel {cancelled}"));
    slurm.ask("scontrol update NodeName=n2 State=DOWN Reason=test");
    slurm.until("cancelled", || slurm.state(&format!("{cancelled}_0")) == "CANCELLED");
    assert!(!done("cancelled") && epochs(&place.join("cancelled")) < 400);
    // It may have come back by itself.
    let _ = slurm.command("scontrol").args(["update", "NodeName=n2", "State=RESUME"]).output();
    // What was cancelled does not come back by itself, and goes on when it is sent again.
    let again = send(&slurm, place, "cancelled", &["--resume"]);
    assert!(place.join("cancelled/batch/2/job.sh").exists());

    let outs = ["a b'c", "paused", "limited", "cancelled", "lost"];
    slurm.until("all done", || outs.iter().all(|out| done(out)));
    for (job, out) in [through, paused, limited, again, lost].iter().zip(outs) {
        slurm.until("completed", || slurm.state(&format!("{job}_0")) == "COMPLETED");
        same(&place.join("here"), &place.join(out));
    }
    let log = |out: &str| fs::read_to_string(place.join(out).join("batch/1/0.log")).unwrap();
    for (out, why) in [
        ("paused", "asked to end (SIGUSR1) after"),
        ("limited", "train.time_limit reached after"),
        ("cancelled", "SIGTERM"),
    ] {
        assert!(log(out).contains(why), "{out}:\n{}", log(out));
    }
    assert!(
        ["paused", "limited"].iter().all(|out| log(out).contains("continuing after")),
        "{}",
        log("paused")
    );
    let (code, _, err) = run(
        &slurm,
        place,
        &["train", "job.toml", "--out", "lost", "--engine", "slurm", "--resume"],
    );
    assert!(code == 0 && err.contains("complete, there is nothing to resume"), "{err}");
}

#[test]
fn a_task_that_preemption_cancels_comes_back() {
    let Some(slurm) = Slurm::start(1001) else { return };
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    small(place, 800, "[batch]\ncpus = 4\nmemory = \"200 MB\"\nslurm.partition = \"scavenge\"\n");
    crate::common::succeed(place, &["train", "job.toml", "--out", "here", "-q"]);
    let job = send(&slurm, place, "there", &[]);
    let there = place.join("there");
    slurm.until("some epochs", || epochs(&there) >= 3);
    let urgent = slurm.ask("sbatch --parsable --partition=urgent --cpus-per-task=4 --mem=100M --output=/dev/null --wrap=true");
    slurm.until("the urgent job is done", || slurm.state(urgent.trim()) == "COMPLETED");
    slurm.until("it is done", || there.join("report.json").exists());
    slurm.until("completed", || slurm.state(&format!("{job}_0")) == "COMPLETED");
    same(&place.join("here"), &there);
    let log = fs::read_to_string(there.join("batch/1/0.log")).unwrap();
    assert!(log.contains("DUE TO PREEMPTION") && log.contains("continuing after"), "{log}");
}

#[test]
fn options_of_the_command_line_count_like_keys_of_the_config() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    small(
        place,
        3,
        "[sweep]\nobjective = \"channels.training.best_valid_loss\"\ngoal = \"min\"\ntrials = 2\nspace = {model.latent = {int = [2, 6]}}\n",
    );
    let dry = |verb: &str, engine: &str, more: &[&str]| {
        let (code, out, err) = crate::common::run(
            place,
            &[&[verb, "job.toml", "--out", "out", "--engine", engine, "--dry-run"], more].concat(),
        );
        assert!(!place.join("out").exists());
        (code, out + &err)
    };
    let program = ["--set", "batch.program=/opt/lumisift"];
    for verb in ["train", "sweep"] {
        for (engine, one, two) in [
            ("slurm", "--gres=gpu:1\n", "--gres=gpu:2\n"),
            ("htcondor", "request_gpus = 1\n", "request_gpus = 2\n"),
        ] {
            let (code, text) = dry(verb, engine, &[&program[..], &["--device", "cuda"]].concat());
            assert!(code == 0 && text.contains(one), "{text}");
            let (code, text) =
                dry(verb, engine, &[&program[..], &["--device", "cuda:0,cuda:1"]].concat());
            assert!(code == 0 && text.contains(two), "{text}");
            let (code, text) = dry(verb, engine, &["--device", "cpu", "--set", "device=cuda"]);
            assert!(
                code == 0 && !text.contains("gpu:") && !text.contains("request_gpus"),
                "the option wins: {text}"
            );
            let (code, text) = dry(verb, engine, &["--device", "auto"]);
            assert!(
                code == 2
                    && text.contains(
                        "batch.gpus: not set, and device = \"auto\" does not say how many GPUs"
                    ),
                "{text}"
            );
            assert_eq!(dry(verb, engine, &["--device", "auto", "--set", "batch.gpus=0"]).0, 0);
            let (code, text) = dry(verb, engine, &["--device", "gpu"]);
            assert!(code == 2 && text.contains("--device gpu: device: found \"gpu\""), "{text}");
            // The tasks would run this program.
            let (code, text) = dry(verb, engine, &["--device", "cuda"]);
            let refused = code == 2
                && text.contains("device: found \"cuda\", but this program")
                && text.contains("batch.program");
            assert!(if cfg!(feature = "cuda") { code == 0 } else { refused }, "{text}");
        }
    }
}

#[test]
fn what_slurm_refuses_is_told_in_its_words_and_leaves_nothing() {
    let Some(slurm) = Slurm::start(1001) else { return };
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    small(place, 3, "[batch.slurm]\npartition = \"nowhere\"\n");
    let (code, out, err) =
        run(&slurm, place, &["train", "job.toml", "--out", "a", "--engine", "slurm"]);
    assert!(
        code == 1
            && out.is_empty()
            && err.contains("sbatch --parsable job.sh")
            && err.contains("invalid partition"),
        "{err}"
    );
    assert!(!place.join("a").exists());
    let (code, _, err) =
        run(&slurm, place, &["train", "job.toml", "--out", "100%", "--engine", "slurm"]);
    assert!(code == 2 && err.contains("treats % and"), "{err}");
    assert!(!place.join("100%").exists());
    fs::write(place.join("file"), "").unwrap();
    let (code, _, err) =
        run(&slurm, place, &["train", "job.toml", "--out", "file", "--engine", "slurm"]);
    assert!(code == 2 && err.contains("is a file"), "{err}");
}

/// A stand-in for the program: does as the name of a file says, once, and then well.
fn stand_in(folder: &Path) -> PathBuf {
    let path = folder.join("program");
    // As the first lines of the file tell one after the other: an exit code to end with, or a time
    // to sleep.
    let text = "#!/bin/bash\ncd \"$1\" || exit 9\necho \"$2\" >>started-$2\nword=$(head -n 1 todo-$2 2>/dev/null)\nsed -i 1d todo-$2 2>/dev/null\n\
        case $word in sleep) sleep 300 & wait ;; '') touch done-$2; exit 0 ;; *) exit $word ;; esac\n";
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn tasks_of_an_array_end_each_in_its_own_way() {
    let Some(slurm) = Slurm::start(11) else { return };
    slurm.run_inner("slurm::inner_array");
}

#[test]
#[ignore = "run by the one above, which starts a Slurm for it"]
fn inner_array() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    fs::create_dir(folder.join("bin")).unwrap();
    let apptainer = folder.join("bin/apptainer");
    fs::write(&apptainer, "#!/bin/bash\necho \"in $2 with $RAYON_NUM_THREADS\"\nexec \"${@:3}\"\n")
        .unwrap();
    fs::set_permissions(&apptainer, fs::Permissions::from_mode(0o755)).unwrap();
    let text = format!(
        "data.train = [\"a.csv\"]\n[batch]\nprogram = \"{}\"\nimage = \"my.sif\"\ncpus = 1\nmemory = \"100 MB\"\nretries = 1\nat_once = 3\nsetup = [\"PATH={}:$PATH\"]\n",
        stand_in(folder).display(),
        folder.join("bin").display()
    );
    let experiment =
        Experiment::check(&Document::parse(&text, &folder.join("a.toml")).unwrap(), "a").unwrap();
    let job = |tasks: &[usize], after: &[Submission]| Job {
        name: "lumisift-a".into(),
        folder: folder.to_path_buf(),
        arguments: ["{folder}", "{task}", "x{task}y z"].map(str::to_owned).to_vec(),
        tasks: tasks.iter().map(|task| (*task, PathBuf::new())).collect(),
        shared: vec![],
        after: after.iter().map(|submission| submission.id().to_owned()).collect(),
    };
    // 3 pauses twice, 4 fails and is tried again, 5 fails for good, 7 is wrong, 9 hangs, 23 is
    // killed by its machine.
    for (task, words) in
        [(3, "75\n75\n"), (4, "1\n"), (5, "1\n1\n1\n"), (7, "2\n2\n"), (9, "sleep\n")]
    {
        fs::write(folder.join(format!("todo-{task}")), words).unwrap();
    }
    let told = engine::describe(Engine::Slurm, &experiment.batch, &job(&[3, 4, 5, 7, 9, 23], &[]))
        .unwrap();
    assert!(
        told.contains("--array=3-5,7,9%3")
            && told.contains("--array=1%3")
            && told.contains("$((SLURM_ARRAY_TASK_ID + 22))"),
        "{told}"
    );
    assert!(!folder.join("batch").exists());

    let sent =
        engine::submit(Engine::Slurm, &experiment.batch, &job(&[3, 4, 5, 7, 9, 23], &[])).unwrap();
    assert_eq!(
        sent.iter().map(|sent| (sent.offset, sent.tasks.clone())).collect::<Vec<_>>(),
        [(0, vec![3, 4, 5, 7, 9]), (22, vec![23])]
    );
    let last = engine::submit(Engine::Slurm, &experiment.batch, &job(&[30], &sent[1..])).unwrap();
    assert_eq!(engine::submissions(folder).unwrap(), [&sent[..], &last[..]].concat());
    let states = || engine::states(&engine::submissions(folder).unwrap()).unwrap();
    let state = |task: usize| states()[&task].state;
    let starts = |task: usize| {
        fs::read_to_string(folder.join(format!("started-{task}")))
            .map_or(0, |text| text.lines().count())
    };
    let ask = |line: &str| crate::common::cluster::output(Command::new("sh").args(["-c", line]));
    assert!(ask(&format!("scontrol show job {}", sent[0].id())).contains("ArrayTaskThrottle=3"));
    assert_eq!((state(23), state(30)), (State::Pending, State::Pending));
    until("it waits for those before", || states()[&23].why.contains("Dependency"));
    until("all but what hangs", || [3, 4, 5, 7].iter().all(|task| state(*task) == State::Ended));
    assert_eq!([3, 4, 5, 7].map(starts), [3, 2, 2, 1]);
    // Slurm says that a task runs before its program has begun.
    until("what hangs has read its word", || {
        state(9) == State::Running
            && fs::read_to_string(folder.join("todo-9")).is_ok_and(|text| text.is_empty())
    });
    assert!(states()[&7].why.starts_with("FAILED"), "{:?}", states()[&7]);
    let log = fs::read_to_string(sent[0].log(3)).unwrap();
    assert_eq!(
        log.matches(&format!("in {} with 1", folder.join("my.sif").display())).count(),
        3,
        "{log}"
    );

    ask(&format!("scontrol hold {}", last[0].id()));
    until("held", || state(30) == State::Held);
    ask(&format!("scontrol release {}", last[0].id()));
    // The signal comes while it hangs: it is told to stop before it listens, and goes on later.
    ask(&format!("scancel --signal=USR1 --batch {}_9", sent[0].id()));
    until("the rest", || {
        [9, 23, 30].iter().all(|task| folder.join(format!("done-{task}")).exists())
    });
    until("all ended", || states().values().all(|task| task.state == State::Ended));
    assert_eq!(
        [3, 4, 5, 7, 9, 23, 30].map(starts),
        [3, 2, 2, 1, 2, 1, 1],
        "who goes back goes alone"
    );

    // Sent again, the last submission counts; what was taken out is told.
    fs::write(folder.join("todo-5"), "sleep\n").unwrap();
    let again = engine::submit(Engine::Slurm, &experiment.batch, &job(&[5], &[])).unwrap();
    until("running again", || state(5) == State::Running && starts(5) == 3);
    again[0].cancel().unwrap();
    until("cancelled", || states()[&5].why.starts_with("CANCELLED"));
    // Half a submission: it was never told what became of it.
    let half: BTreeMap<String, serde_json::Value> =
        serde_json::from_str(&fs::read_to_string(again[0].folder.join("submission.json")).unwrap())
            .unwrap();
    fs::create_dir(folder.join("batch/9")).unwrap();
    let half = BTreeMap::from_iter(half.into_iter().map(|(key, value)| {
        if key == "job" { (key, serde_json::Value::Null) } else { (key, value) }
    }));
    fs::write(folder.join("batch/9/submission.json"), serde_json::to_string(&half).unwrap())
        .unwrap();
    assert_eq!((state(5), states()[&5].why.contains("lumisift-a")), (State::Unknown, true));
    // What Slurm never had or has forgotten.
    fs::write(
        folder.join("batch/9/submission.json"),
        serde_json::to_string(&half).unwrap().replace("null", "\"987654\""),
    )
    .unwrap();
    assert_eq!((state(5), states()[&5].why.as_str()), (State::Ended, ""));
    assert_eq!(
        engine::states(&engine::submissions(folder).unwrap()[4..]).unwrap()[&5].state,
        State::Ended,
        "alone, too"
    );
}
