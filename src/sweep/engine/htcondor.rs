//! HTCondor: a submit description that queues the tasks from a file.
//!
//! With a shared file system a task works in the job's folder, and a paused task (exit code 75)
//! returns to the queue. With file transfer it works in a copy of its own folder. A pause must then
//! be a checkpoint for HTCondor: if its files were transferred back as output, an older copy from
//! an eviction would replace them at the next start. In both cases a task whose time is up is held,
//! which ends it like an eviction, and released immediately.

use super::{Group, Job, Known, State, Submission, ask, script};
use crate::{
    config::Batch,
    data,
    error::{Error, Result},
};
use serde_json::Value as Json;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

/// All tasks in one group: HTCondor's `max_materialize` limits how many run at the same time.
pub(super) fn group(job: &Job) -> Result<Group> {
    if !job.after.is_empty() {
        return Err(Error::input(format!(
            "HTCondor cannot wait for job {} to end before it begins another",
            job.after.join(", ")
        )));
    }
    Ok(Group { tasks: job.tasks.keys().copied().collect(), offset: 0 })
}

/// Quotes a text as a value of a submit description.
fn value(text: &str) -> String {
    text.replace('$', "$(DOLLAR)")
}

/// Formats a path as an item of a list.
fn item(path: &Path) -> Result<String> {
    let text = path.to_string_lossy();
    match text.contains([',', '\n']) || text.trim() != text {
        false => Ok(value(&text)),
        true => Err(Error::input(format!(
            "{text}: HTCondor cannot transfer a file with a comma in its path, or a blank at its end"
        ))),
    }
}

/// The data files to transfer.
fn inputs(batch: &Batch) -> Result<Vec<PathBuf>> {
    let patterns: Vec<PathBuf> = batch.htcondor.inputs.iter().map(PathBuf::from).collect();
    let mut inputs: Vec<PathBuf> = vec![];
    for pattern in patterns {
        inputs.extend(if pattern.is_dir() {
            vec![pattern]
        } else {
            data::paths::expand(&[pattern])?
        });
    }
    let mut names = BTreeSet::new();
    match inputs.iter().find(|input| !names.insert(input.file_name())) {
        None => Ok(inputs),
        Some(twice) => {
            let name = twice.file_name().unwrap_or_default().display();
            Err(Error::input(format!(
                "batch.htcondor.inputs: two files are named {name}; expected unique names, since they are sent to one folder"
            )))
        }
    }
}

/// The file transfer of a task in the submit description.
struct Carried {
    lines: Vec<String>,
    /// Path of the job's folder for the task.
    folder: String,
    program: PathBuf,
    /// The beginning of the script.
    begin: String,
}

fn in_place(batch: &Batch, job: &Job, place: &Path) -> Result<Carried> {
    let log = script::quoted(&place.to_string_lossy());
    Ok(Carried {
        // Only the script is sent, so that the names of the file systems on both machines do not
        // matter.
        lines: [
            "should_transfer_files = YES",
            "when_to_transfer_output = ON_EXIT",
            "transfer_output_files = \"\"",
            "log = job.log",
            "# Not empty only if the log of the task cannot be opened there.",
            "error = $(task).err",
        ]
        .map(str::to_owned)
        .to_vec(),
        folder: job.folder.to_string_lossy().into_owned(),
        program: script::program(batch)?,
        begin: format!("exec >>{log}/\"$task\".log 2>&1\n"),
    })
}

fn transferred(batch: &Batch, job: &Job, place: &Path) -> Result<Carried> {
    let none = || {
        Error::input(format!("{}: has no folder above it to transfer from", job.folder.display()))
    };
    let (home, name) = job.folder.parent().zip(job.folder.file_name()).ok_or_else(none)?;
    let name = Path::new(name);
    let logs = name.join(place.strip_prefix(&job.folder).unwrap_or(place));
    let mut brought = vec!["$(own)".to_owned()];
    for path in job.shared.iter().map(|path| name.join(path)).chain(inputs(batch)?) {
        brought.push(item(&path)?);
    }
    let program = script::program(batch)?;
    let program = match batch.program {
        Some(_) => program,
        // The machine does not have the program: it is sent.
        None => {
            brought.push(item(&program)?);
            Path::new(".").join(program.file_name().unwrap_or_default())
        }
    };
    let quoted = script::quoted(&name.to_string_lossy());
    let logs = item(&logs)?;
    Ok(Carried {
        lines: vec![
            format!("initialdir = {}", value(&home.to_string_lossy())),
            "should_transfer_files = YES".into(),
            "when_to_transfer_output = ON_EXIT_OR_EVICT".into(),
            "preserve_relative_paths = true".into(),
            format!("transfer_input_files = {}", brought.join(", ")),
            "transfer_output_files = $(own)".into(),
            "transfer_checkpoint_files = $(own)".into(),
            "checkpoint_exit_code = 75".into(),
            format!("log = {logs}/job.log"),
            format!("output = {logs}/$(task).log"),
        ],
        folder: name.to_string_lossy().into_owned(),
        program,
        // The records of submissions change at home meanwhile, so the task's copy must not be
        // transferred back.
        begin: format!("exec 2>&1\nrm -rf {quoted}/batch\nexport LUMISIFT_INPUTS=$PWD\n"),
    })
}

/// The submit description, the tasks and the script.
pub(super) fn files(
    batch: &Batch,
    job: &Job,
    group: &Group,
    place: &Path,
) -> Result<Vec<(&'static str, String)>> {
    let carried = if batch.htcondor.transfer {
        transferred(batch, job, place)?
    } else {
        in_place(batch, job, place)?
    };
    let name = Path::new(job.folder.file_name().unwrap_or_default());
    let mut tasks = String::new();
    for task in &group.tasks {
        // Without a trailing slash, which would mean the contents of the folder.
        let own: PathBuf = name.join(&job.tasks[task]).components().collect();
        // HTCondor ends a name at a blank in the list of a checkpoint's files.
        if batch.htcondor.transfer && own.to_string_lossy().contains(char::is_whitespace) {
            return Err(Error::input(format!(
                "{}: HTCondor cannot transfer a folder with a blank in its name",
                own.display()
            )));
        }
        let own =
            if batch.htcondor.transfer { format!(", {}", item(&own)?) } else { String::new() };
        tasks.push_str(&format!("{task}{own}\n"));
    }
    let mut lines = vec![
        "executable = job.sh".to_owned(),
        "arguments = $(task)".into(),
        format!("+JobBatchName = \"{}\"", job.name),
        format!("request_cpus = {}", batch.cpus),
        format!("request_memory = {}", *batch.memory),
    ];
    if *batch.gpus > 0 {
        lines.push(format!("request_gpus = {}", batch.gpus));
    }
    if let Some(image) = &batch.image {
        lines
            .extend(["universe = container".into(), format!("container_image = {}", value(image))]);
        if !batch.htcondor.transfer && !image.contains("://") {
            lines.push("transfer_container = false".into());
        }
    }
    match (batch.htcondor.flavour, *batch.time) {
        (Some(flavour), _) => lines.push(format!("+JobFlavour = \"{flavour}\"")),
        (None, Some(time)) => lines.push(format!("+MaxRuntime = {}", time.as_secs())),
        (None, None) => {}
    }
    if let Some(time) = *batch.time {
        let seconds = time.saturating_sub(*batch.lead).as_secs();
        lines.extend([
            "# Its time is nearly up: it pauses, and continues when it is scheduled again.".into(),
            format!("periodic_hold = JobStatus == 2 && time() - JobCurrentStartDate > {seconds}"),
            "periodic_hold_reason = \"paused: its time is up\"".into(),
            format!("periodic_hold_subcode = {PAUSED}"),
            format!("periodic_release = HoldReasonCode == 3 && HoldReasonSubCode == {PAUSED}"),
        ]);
    }
    lines.push(format!("job_max_vacate_time = {}", batch.lead.as_secs()));
    lines
        .push("# It is done, or its config is wrong, or it failed for good; 75 is a pause.".into());
    lines.push(format!("on_exit_remove = ExitCode =?= 0 || ExitCode =?= 2 || (ExitCode =!= {PAUSED} && NumJobStarts > {})", batch.retries));
    lines.extend(carried.lines);
    lines.extend(batch.at_once.map(|at_once| format!("max_materialize = {at_once}")));
    lines.extend(batch.htcondor.extra.iter().cloned());
    let body = script::body(batch, job, "", &carried.program, &carried.folder);
    let version = env!("CARGO_PKG_VERSION");
    let own = if batch.htcondor.transfer { ", own" } else { "" };
    Ok(vec![
        (
            "job.sub",
            format!(
                "# Written by lumisift {version}.\n{}\nqueue task{own} from tasks.txt\n",
                lines.join("\n")
            ),
        ),
        ("tasks.txt", tasks),
        (
            "job.sh",
            format!(
                "#!/bin/bash\n# Written by lumisift {version}: what runs for a task, whose number is given.\ntask=$1\n{}{body}\nexit \"$code\"\n",
                carried.begin
            ),
        ),
    ])
}

/// The exit code of a pause.
const PAUSED: i64 = 75;

/// The cluster's number in the answer of `condor_submit -terse`: `12.0 - 12.99`.
pub(super) fn id(answer: &str) -> Option<String> {
    let id = answer.lines().last()?.split('.').next()?.trim();
    (!id.is_empty() && id.bytes().all(|letter| letter.is_ascii_digit())).then(|| id.to_owned())
}

/// The states of tasks by `cluster.process`: those in the queue, in HTCondor's history, and those
/// not in the queue yet.
pub(super) fn states(submissions: &[&Submission]) -> Result<Known> {
    let list = |program: &str| -> Result<Vec<Json>> {
        let attributes = "ClusterId,ProcId,JobStatus,HoldReason,HoldReasonCode,HoldReasonSubCode,ExitCode,ExitBySignal,ExitSignal,RemoveReason";
        let command = [program]
            .into_iter()
            .chain(submissions.iter().map(|submission| submission.id()))
            .chain(["-json", "-attributes", attributes]);
        let answer = ask(None, &command.map(str::to_owned).collect::<Vec<_>>())?;
        if answer.trim().is_empty() {
            return Ok(vec![]);
        }
        serde_json::from_str(&answer).map_err(|error| {
            Error::failed(format!("{program} -json: its answer is not JSON: {error}"))
        })
    };
    let queued = list("condor_q")?;
    let missing =
        submissions.iter().map(|submission| submission.tasks.len()).sum::<usize>() > queued.len();
    let ended = if missing { list("condor_history")? } else { vec![] };
    let mut known: Known = ended.iter().chain(&queued).filter_map(state).collect();
    // With max_materialize, processes enter the queue in order when earlier ones leave it.
    let number = |ad: &Json, key: &str| ad[key].as_u64();
    let mut last: BTreeMap<String, u64> = BTreeMap::new();
    for ad in ended.iter().chain(&queued) {
        if let (Some(cluster), Some(process)) = (number(ad, "ClusterId"), number(ad, "ProcId")) {
            let last = last.entry(cluster.to_string()).or_default();
            *last = (*last).max(process);
        }
    }
    for submission in submissions {
        let lives = queued.iter().any(|ad| {
            number(ad, "ClusterId").is_some_and(|cluster| cluster.to_string() == submission.id())
        });
        let next = last.get(submission.id()).map_or(0, |last| *last as usize + 1);
        for position in (next..submission.tasks.len()).filter(|_| lives) {
            known.insert(
                submission.task_id(position),
                (State::Pending, "not in the queue yet".into()),
            );
        }
    }
    Ok(known)
}

/// The state of a job from its description.
fn state(ad: &Json) -> Option<(String, (State, String))> {
    let id = format!("{}.{}", ad["ClusterId"].as_u64()?, ad["ProcId"].as_u64()?);
    let reason = |key: &str, word: &str| {
        ad[key].as_str().map_or_else(|| word.to_owned(), |reason| format!("{word} ({reason})"))
    };
    let paused = ad["HoldReasonCode"] == 3 && ad["HoldReasonSubCode"] == PAUSED;
    let state = match ad["JobStatus"].as_u64()? {
        1 => (State::Pending, "idle".into()),
        2 => (State::Running, "running".into()),
        3 => (State::Ended, reason("RemoveReason", "removed")),
        4 if ad["ExitBySignal"] == true => {
            (State::Ended, format!("killed (signal {})", ad["ExitSignal"]))
        }
        4 => (State::Ended, format!("completed (exit code {})", ad["ExitCode"])),
        5 if paused => (State::Pending, reason("HoldReason", "held")),
        5 => (State::Held, reason("HoldReason", "held")),
        6 => (State::Running, "transferring output".into()),
        7 => (State::Held, "suspended".into()),
        other => (State::Unknown, format!("job status {other}")),
    };
    Some((id, state))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn answers_are_read() {
        assert_eq!(
            (id("12.0 - 12.99\n"), id("12.0 - 12.0")),
            (Some("12".into()), Some("12".into()))
        );
        assert_eq!((id("ERROR: no"), id("")), (None, None));
        let read = |ad: Json| state(&ad).unwrap();
        assert_eq!(
            read(json!({"ClusterId": 3, "ProcId": 1, "JobStatus": 4, "ExitCode": 2})),
            ("3.1".into(), (State::Ended, "completed (exit code 2)".into()))
        );
        let held = json!({"ClusterId": 3, "ProcId": 1, "JobStatus": 5, "HoldReasonCode": 1, "HoldReason": "by user"});
        assert_eq!(read(held).1, (State::Held, "held (by user)".into()));
        let paused = json!({"ClusterId": 3, "ProcId": 1, "JobStatus": 5, "HoldReasonCode": 3, "HoldReasonSubCode": 75});
        assert_eq!(read(paused).1.0, State::Pending);
        assert_eq!(state(&json!({"ClusterId": 3})), None);
    }

    #[test]
    fn paths_that_a_list_cannot_hold_are_refused() {
        assert_eq!(item(Path::new("a b/c$d")).unwrap(), "a b/c$(DOLLAR)d");
        assert!(item(Path::new("a,b")).unwrap_err().to_string().contains("comma"));
    }
}
