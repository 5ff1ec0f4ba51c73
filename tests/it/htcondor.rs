//! Trainings on a real HTCondor.

use crate::common::{
    cluster::{HtCondor, epochs, output, small, until},
    same,
};
use lumisift::{
    config::{Document, Experiment},
    sweep::engine::{self, Engine, Job, State},
};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

#[test]
fn what_would_be_sent_is_told_and_nothing_is_written() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    let section = "[batch]\nsetup = [\"source /cvmfs/a b\"]\nimage = \"/cvmfs/images/my env\"\nprogram = \"/opt/lumi sift\"\ncpus = 3\n\
        memory = \"2 GB\"\ngpus = 2\ntime = \"7h 30m\"\nlead = \"5m\"\nat_once = 6\nretries = 4\n[batch.htcondor]\nextra = [\"+AccountingGroup = \\\"cms\\\"\"]\n";
    small(place, 3, section);
    let dry = |out: &str, more: &[&str]| {
        let arguments =
            [&["train", "job.toml", "--out", out, "--engine", "htcondor", "--dry-run"], more]
                .concat();
        let (code, text, err) = crate::common::run(place, &arguments);
        assert_eq!((code, err.as_str()), (0, ""));
        assert!(
            !place.join(out).exists() && text.trim_end().ends_with("condor_submit -terse job.sub"),
            "{text}"
        );
        text
    };
    let holds = |out: &str, lines: &[&str]| {
        for line in lines {
            assert!(out.lines().any(|found| found == *line), "{line} in\n{out}");
        }
    };
    let out = dry("a $b", &[]);
    let shown = place.display();
    holds(
        &out,
        &[
            &format!("# {shown}/a $b/experiment.toml"),
            &format!("# {shown}/a $b/batch/1/job.sub"),
            "executable = job.sh",
            "arguments = $(task)",
            "+JobBatchName = \"lumisift-metsig\"",
            "request_cpus = 3",
            "request_memory = 2048",
            "request_gpus = 2",
            "container_image = /cvmfs/images/my env",
            "transfer_container = false",
            "+MaxRuntime = 27000",
            "periodic_hold = JobStatus == 2 && time() - JobCurrentStartDate > 26700",
            "job_max_vacate_time = 300",
            "on_exit_remove = ExitCode =?= 0 || ExitCode =?= 2 || (ExitCode =!= 75 && NumJobStarts > 4)",
            "transfer_output_files = \"\"",
            "log = job.log",
            "error = $(task).err",
            "max_materialize = 6",
            "+AccountingGroup = \"cms\"",
            "queue task from tasks.txt",
            "export RAYON_NUM_THREADS=3",
            "source /cvmfs/a b",
            &format!("exec >>'{shown}/a $b/batch/1'/\"$task\".log 2>&1"),
            &format!(
                "'/opt/lumi sift' train '{shown}/a $b/experiment.toml' --out '{shown}/a $b' --resume &"
            ),
        ],
    );
    let sets = [
        "--set",
        "batch.htcondor.transfer=true",
        "--set",
        "batch.htcondor.inputs=[\"*.csv\"]",
        "--set",
        "batch.gpus=0",
    ];
    let out = dry("a$b", &[&sets[..], &["--set", "batch.time=30m"]].concat());
    let files = ["bad1.csv", "bad2.csv", "good.csv", "truth.csv"]
        .map(|name| format!("{shown}/{name}"))
        .join(", ");
    holds(
        &out,
        &[
            &format!("initialdir = {shown}"),
            &format!("transfer_input_files = $(own), {files}"),
            "transfer_output_files = $(own)",
            "transfer_checkpoint_files = $(own)",
            "checkpoint_exit_code = 75",
            "queue task, own from tasks.txt",
            "0, a$(DOLLAR)b",
            "log = a$(DOLLAR)b/batch/1/job.log",
            "output = a$(DOLLAR)b/batch/1/$(task).log",
            "export LUMISIFT_INPUTS=$PWD",
            "'/opt/lumi sift' train 'a$b/experiment.toml' --out 'a$b' --resume &",
        ],
    );
    assert!(!out.contains("request_gpus") && !out.contains("transfer_container"), "{out}");
    let arguments =
        [&["train", "job.toml", "--out", "a b", "--engine", "htcondor", "--dry-run"], &sets[..]]
            .concat();
    let (code, _, err) = crate::common::run(place, &arguments);
    assert!(
        code == 2 && err.contains("a b: HTCondor cannot transfer a folder with a blank"),
        "{err}"
    );
    fs::write(place.join("short.toml"), "extends = \"metsig.toml\"\ndata.train = [\"good.csv\"]\n[batch.htcondor]\nflavour = \"longlunch\"\n")
        .unwrap();
    let (_, out, _) = crate::common::run(
        place,
        &["train", "short.toml", "--out", "a", "--engine", "htcondor", "--dry-run"],
    );
    holds(
        &out,
        &[
            "+JobFlavour = \"longlunch\"",
            "periodic_hold = JobStatus == 2 && time() - JobCurrentStartDate > 7080",
        ],
    );
    let (code, _, err) =
        crate::common::run(place, &["train", "job.toml", "--out", "a", "--engine", "htcondor"]);
    assert!(
        Command::new("condor_submit").arg("-version").output().is_ok()
            || code == 2 && err.contains("there is no condor_submit"),
        "{err}"
    );
}

/// Sends a training; returns the cluster's number.
fn send(condor: &HtCondor, place: &Path, out: &str, more: &[&str]) -> String {
    let mut command = condor.command(place, condor.shared.path().join("lumisift"));
    let done = command
        .args(["train", "job.toml", "--out", out, "--engine", "htcondor", "--format", "json"])
        .args(more)
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let sent: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    sent[0]["job"].as_str().unwrap().to_owned()
}

#[test]
fn trainings_and_tasks_on_a_real_htcondor() {
    let Some(condor) = HtCondor::start() else { return };
    // One installation, one test at a time; its parts go on side by side.
    std::thread::scope(|scope| {
        scope.spawn(|| trainings(&condor));
        scope.spawn(|| {
            let program = condor.shared.path().join("inner");
            fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
            let place = condor.shared.path().join("tasks");
            fs::create_dir(&place).unwrap();
            condor.hand_over();
            condor.run_inner(&place, &program, "htcondor::inner_tasks");
        });
    });
}

fn trainings(condor: &HtCondor) {
    let place = &condor.shared.path().join("trainings");
    fs::create_dir(place).unwrap();
    // Long enough that none of them ends before it was paused.
    small(place, 1500, "[batch]\ncpus = 1\nmemory = \"200 MB\"\n");
    crate::common::succeed(place, &["train", "job.toml", "--out", "here", "-q"]);
    condor.hand_over();
    let done = |out: &str| place.join(out).join("report.json").exists();
    let transfer =
        ["--set", "batch.htcondor.transfer=true", "--set", "batch.htcondor.inputs=[\"*.csv\"]"];
    // Time is up after 3 seconds.
    let short = ["--set", "batch.time=1m", "--set", "batch.lead=57s"];
    let carried = send(condor, place, "carried", &transfer);
    let evicted = send(condor, place, "evi cted", &[]);
    let removed = send(condor, place, "removed", &[]);
    let jobs = [
        ("evi cted", evicted.clone()),
        ("limited", send(condor, place, "limited", &["--set", "train.time_limit=2s"])),
        ("held", send(condor, place, "held", &short)),
        ("carried", carried.clone()),
        (
            "carried-limited",
            send(
                condor,
                place,
                "carried-limited",
                &[&transfer[..], &["--set", "train.time_limit=2s"]].concat(),
            ),
        ),
        ("carried-held", send(condor, place, "carried-held", &[&transfer[..], &short].concat())),
    ];
    // HTCondor says that a task runs before its program has begun: what counts are epochs.
    condor.until("some epochs", || {
        condor.carried_epochs("carried") >= 3
            && ["evi cted", "removed"].iter().all(|out| epochs(&place.join(out)) >= 3)
    });
    let before = condor.carried_epochs("carried");
    condor.ask(&format!("condor_rm {removed}"));
    condor.ask(&format!("condor_vacate_job {evicted} {carried}"));
    let starts = || {
        condor
            .ask(&format!("condor_q {carried} -af NumJobStarts"))
            .trim()
            .parse::<usize>()
            .unwrap_or(0)
    };
    condor.until("it starts again", || starts() >= 2);
    condor.until("it trains again", || condor.carried_epochs("carried") > before);
    condor.ask(&format!("condor_hold {carried}"));
    condor.until("it is held", || {
        condor.ask(&format!("condor_q {carried} -af JobStatus")).trim() == "5"
    });
    condor.ask(&format!("condor_release {carried}"));
    for (out, _) in &jobs {
        condor.until(&format!("{out} is done"), || done(out));
    }
    condor.until("the queue is empty", || {
        condor
            .ask("condor_q -af ClusterId -constraint JobBatchName==\"lumisift-metsig\"")
            .trim()
            .is_empty()
    });
    for (out, job) in &jobs {
        assert_eq!(
            condor.ask(&format!("condor_history {job} -af JobStatus ExitCode")).trim(),
            "4 0",
            "{out}"
        );
        same(&place.join("here"), &place.join(out));
        let log = fs::read_to_string(place.join(out).join("batch/1/0.log")).unwrap();
        assert!(log.contains("continuing after"), "{out}: {log}");
    }
    assert!(
        !done("removed")
            && condor.ask(&format!("condor_history {removed} -af JobStatus")).trim() == "3"
    );
    let provenance = fs::read_to_string(place.join("carried/provenance.json")).unwrap();
    assert!(
        fs::read_to_string(place.join("carried/experiment.toml"))
            .unwrap()
            .contains(&place.join("good.csv").display().to_string())
    );
    assert!(provenance.contains("good.csv"), "{provenance}");
}

#[test]
#[ignore = "run by the one above, within its HTCondor"]
fn inner_tasks() {
    let folder = &std::env::current_dir().unwrap();
    let program = folder.join("program");
    // Each task reads what to do from its own folder: an exit code to end with, or a time to sleep.
    // The last line is to be done. What sleeps says so beside the program, which all machines see.
    let text = "#!/bin/bash\ncd \"$1/trials/$2\" || exit 9\ncat ../../common.txt || exit 9\necho >>started\nword=$(head -n 1 todo)\nsed -i 1d todo\n\
        [ \"$word\" != sleep ] || touch \"${0%/*}/${1##*/}-sleeps-$2\"\n\
        case $word in sleep) sleep 300 & wait ;; '') touch done; exit 0 ;; *) exit $word ;; esac\n";
    fs::write(&program, text).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    for transfer in [false, true] {
        let sweep = folder.join(format!("sweep{}{transfer}", if transfer { "-" } else { " " }));
        fs::create_dir_all(&sweep).unwrap();
        fs::write(sweep.join("common.txt"), "for all\n").unwrap();
        let text = format!(
            "data.train = [\"a.csv\"]\n[batch]\nprogram = \"{}\"\ncpus = 1\nmemory = \"100 MB\"\nretries = 1\nat_once = 2\nhtcondor.transfer = {transfer}\n",
            program.display()
        );
        let experiment =
            Experiment::check(&Document::parse(&text, &folder.join("a.toml")).unwrap(), "a")
                .unwrap();
        let job = |tasks: &[usize]| Job {
            name: format!("lumisift-{transfer}"),
            folder: sweep.clone(),
            arguments: ["{folder}", "{task}"].map(str::to_owned).to_vec(),
            tasks: tasks
                .iter()
                .map(|task| (*task, PathBuf::from(format!("trials/{task}"))))
                .collect(),
            shared: vec!["common.txt".into()],
            after: vec![],
        };
        for (task, words) in
            [(3, "75\n75\n"), (4, "1\n"), (5, "1\n1\n1\n"), (7, "2\n2\n"), (9, "sleep\n"), (11, "")]
        {
            let own = sweep.join(format!("trials/{task}"));
            fs::create_dir_all(&own).unwrap();
            fs::write(own.join("todo"), words).unwrap();
        }
        let sent = engine::submit(Engine::HtCondor, &experiment.batch, &job(&[3, 4, 5, 7, 9, 11]))
            .unwrap();
        assert_eq!(sent.len(), 1);
        let states = || engine::states(&engine::submissions(&sweep).unwrap()).unwrap();
        let state = |task: usize| states()[&task].state;
        let first = states();
        assert!(
            first.values().filter(|task| task.why == "not in the queue yet").count() >= 3,
            "{first:?}"
        );
        let starts = |task: usize| {
            fs::read_to_string(sweep.join(format!("trials/{task}/started")))
                .map_or(0, |text| text.lines().count())
        };
        let sleeps = |task: usize| {
            folder.join(format!("{}-sleeps-{task}", sweep.file_name().unwrap().display())).exists()
        };
        // HTCondor says that a task runs before its program has begun.
        until("all but what hangs", || {
            [3, 4, 5, 7].iter().all(|task| state(*task) == State::Ended)
                && state(9) == State::Running
                && sleeps(9)
        });
        assert_eq!([3, 4, 5, 7].map(starts), [3, 2, 2, 1], "{:?}", states());
        assert_eq!(states()[&5].why, "completed (exit code 1)");
        let ask = |words: &[&str]| output(Command::new(words[0]).args(&words[1..]));
        let nine = states()[&9].id.clone();
        ask(&["condor_hold", &nine]);
        until("held", || state(9) == State::Held);
        ask(&["condor_release", &nine]);
        until("the rest", || {
            [9, 11].iter().all(|task| sweep.join(format!("trials/{task}/done")).exists())
        });
        until("all ended", || states().values().all(|task| task.state == State::Ended));
        let log = fs::read_to_string(sent[0].log(3)).unwrap();
        assert_eq!(log.matches("for all").count(), 3, "{log}");

        fs::write(sweep.join("trials/5/todo"), "sleep\n").unwrap();
        let again = engine::submit(Engine::HtCondor, &experiment.batch, &job(&[5])).unwrap();
        until("running again", || state(5) == State::Running && sleeps(5));
        again[0].cancel().unwrap();
        until("removed", || states()[&5].why.starts_with("removed"));
        let wrong = Experiment::check(
            &Document::parse(&format!("{text}extra = 1"), &folder.join("a.toml")).unwrap(),
            "a",
        );
        assert!(wrong.is_err());
        let wrong = Experiment::check(
            &Document::parse(
                &format!("{text}htcondor.extra = [\"universe = moon\"]"),
                &folder.join("a.toml"),
            )
            .unwrap(),
            "a",
        );
        let refused =
            engine::submit(Engine::HtCondor, &wrong.unwrap().batch, &job(&[7])).unwrap_err();
        assert!(refused.exit_code() == 1 && refused.to_string().contains("moon"), "{refused}");
        assert_eq!(engine::submissions(&sweep).unwrap().len(), 2);
        let waits = Job { after: vec!["1".into()], ..job(&[7]) };
        assert!(
            engine::submit(Engine::HtCondor, &experiment.batch, &waits)
                .unwrap_err()
                .to_string()
                .contains("cannot wait")
        );
    }
}
