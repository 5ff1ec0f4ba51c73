//! Slurm: a job array whose tasks requeue themselves after a pause.

use super::{Group, Job, Known, State, Submission, ask, script};
use crate::{
    config::Batch,
    error::{Error, Result},
};
use std::fmt::Write;

/// Slurm's default limit if the configured one is unknown: indices are smaller.
const USUAL_ARRAY: usize = 1001;
/// Longest list of indices in a script.
const LONGEST_LIST: usize = 16_000;

/// Formats ascending numbers as ranges: "0-3,7".
fn ranges(numbers: &[usize]) -> String {
    let mut text = String::new();
    let mut rest = numbers;
    while let Some(&first) = rest.first() {
        let length =
            rest.iter().enumerate().take_while(|(i, number)| **number == first + i).count();
        let separator = if text.is_empty() { "" } else { "," };
        let last = rest[length - 1];
        let _ = if length == 1 {
            write!(text, "{separator}{first}")
        } else {
            write!(text, "{separator}{first}-{last}")
        };
        rest = &rest[length..];
    }
    text
}

/// Groups tasks into arrays of indices below `limit`.
fn arrays(tasks: impl Iterator<Item = usize>, limit: usize) -> Vec<Group> {
    let mut arrays: Vec<Group> = vec![];
    let mut length = 0;
    for task in tasks {
        let offset = task / limit * limit;
        // The length of a number and a comma; ranges are shorter.
        let own = (task - offset).to_string().len() + 1;
        match arrays
            .last_mut()
            .filter(|before| before.offset == offset && length + own <= LONGEST_LIST)
        {
            Some(group) => {
                group.tasks.push(task);
                length += own;
            }
            None => {
                arrays.push(Group { tasks: vec![task], offset });
                length = own;
            }
        }
    }
    arrays
}

/// The maximum number of indices of an array.
fn array_limit() -> usize {
    let config = ask(None, &["scontrol", "show", "config"].map(str::to_owned)).unwrap_or_default();
    let limit = config
        .lines()
        .filter_map(|line| line.split_once('='))
        .find(|(key, _)| key.trim() == "MaxArraySize");
    limit
        .and_then(|(_, limit)| limit.trim().parse().ok())
        .filter(|limit| *limit > 0)
        .unwrap_or(USUAL_ARRAY)
}

pub(super) fn groups(job: &Job) -> Result<Vec<Group>> {
    let folder = job.folder.to_string_lossy();
    if folder.contains(['%', '\\', '\n']) {
        return Err(Error::input(format!(
            "{folder}: Slurm treats % and \\ in the path of a log as patterns; choose another folder"
        )));
    }
    Ok(arrays(job.tasks.keys().copied(), array_limit()))
}

/// The job script.
pub(super) fn files(
    batch: &Batch,
    job: &Job,
    group: &Group,
) -> Result<Vec<(&'static str, String)>> {
    let offset = group.offset;
    let indices: Vec<usize> = group.tasks.iter().map(|task| task - offset).collect();
    let throttle = batch.at_once.map(|at_once| format!("%{at_once}")).unwrap_or_default();
    let mut options = vec![
        format!("--job-name={}", job.name),
        format!("--array={}{throttle}", ranges(&indices)),
        "--ntasks=1".into(),
        format!("--cpus-per-task={}", batch.cpus),
        format!("--mem={}M", *batch.memory),
    ];
    if *batch.gpus > 0 {
        options.push(format!("--gres=gpu:{}", batch.gpus));
    }
    if let Some(time) = *batch.time {
        let seconds = time.as_secs();
        options.push(format!(
            "--time={}:{:02}:{:02}",
            seconds / 3600,
            seconds / 60 % 60,
            seconds % 60
        ));
    }
    // Slurm does not support a longer time.
    options.push(format!("--signal=B:USR1@{}", batch.lead.as_secs().clamp(1, 65_535)));
    let words = [
        ("partition", &batch.slurm.partition),
        ("account", &batch.slurm.account),
        ("qos", &batch.slurm.qos),
        ("constraint", &batch.slurm.constraint),
    ];
    options.extend(
        words
            .into_iter()
            .filter_map(|(key, word)| word.as_ref().map(|word| format!("--{key}={word}"))),
    );
    options.extend(["--requeue", "--open-mode=append", "--output=%a.log"].map(str::to_owned));
    options.extend(batch.slurm.extra.iter().cloned());
    let options: String = options.iter().map(|option| format!("#SBATCH {option}\n")).collect();
    let number = if offset == 0 {
        "$SLURM_ARRAY_TASK_ID".to_owned()
    } else {
        format!("$((SLURM_ARRAY_TASK_ID + {offset}))")
    };
    let wrapper = match &batch.image {
        Some(image) => format!(
            "apptainer exec{} {} ",
            if *batch.gpus > 0 { " --nv" } else { "" },
            script::quoted(image)
        ),
        None => String::new(),
    };
    let body =
        script::body(batch, job, &wrapper, &script::program(batch)?, &job.folder.to_string_lossy());
    let text = format!(
        r#"#!/bin/bash
{options}
# Written by lumisift {version}; sbatch runs it in this folder.
task={number}
# Not $SLURM_JOB_ID: for one of the tasks that is the number of the whole array.
id=${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID
{body}
# It paused, or failed and is to be tried again: back into the queue, unless somebody cancelled it. At the end of its time, and where
# preemption cancels jobs (PreemptMode=CANCEL), Slurm would not take it back by itself.
back=
goes_back() {{ [ "$code" = 75 ] || {{ [ "$code" != 0 ] && [ "$code" != 2 ] && [ "${{SLURM_RESTART_COUNT:-0}}" -lt {retries} ]; }}; }}
if goes_back; then
    case $(squeue -h -j "$id" -o '%T|%r') in
    RUNNING* | *TimeLimit) back=yes ;;
    COMPLETING* | PREEMPTED*) scontrol show job "$id" | grep -q 'PreemptTime=[0-9]' && back=yes ;;
    esac
fi
if [ "$back" ]; then
    trap '' TERM
    scontrol requeue "$id"
fi
exit "$code"
"#,
        version = env!("CARGO_PKG_VERSION"),
        retries = batch.retries,
    );
    Ok(vec![("job.sh", text)])
}

/// The job's number in the answer of `sbatch --parsable`, which may be followed by the cluster.
pub(super) fn id(answer: &str) -> Option<String> {
    let id = answer.lines().last()?.split(';').next()?.trim();
    (!id.is_empty() && id.bytes().all(|letter| letter.is_ascii_digit())).then(|| id.to_owned())
}

/// The states of tasks that Slurm still knows, by `job_index`.
pub(super) fn states(submissions: &[&Submission]) -> Result<Known> {
    let jobs: Vec<&str> = submissions.iter().map(|submission| submission.id()).collect();
    let jobs = jobs.join(",");
    let squeue =
        ["squeue", "-h", "-r", "-t", "all", "-o", "%i|%T|%r", "-j", &jobs].map(str::to_owned);
    let listed = match ask(None, &squeue) {
        Ok(listed) => listed,
        // Slurm no longer knows any of them.
        Err(error) if error.to_string().contains("Invalid job id") => String::new(),
        Err(error) => return Err(error),
    };
    // Accounting, if enabled, keeps tasks longer.
    let sacct =
        ["sacct", "-n", "-X", "-P", "-o", "JobID,State,ExitCode", "-j", &jobs].map(str::to_owned);
    let remembered = ask(None, &sacct).unwrap_or_default();
    Ok(remembered.lines().filter_map(line).chain(listed.lines().filter_map(line)).collect())
}

/// Parses a line `123_4|STATE|reason`.
fn line(line: &str) -> Option<(String, (State, String))> {
    let mut fields = line.split('|');
    let (id, word, reason) =
        (fields.next()?.trim(), fields.next()?.trim(), fields.next().unwrap_or_default().trim());
    let held = reason.contains("Held") || reason.contains("NeverSatisfied");
    let state = match word.split(' ').next().unwrap_or_default() {
        "PENDING" if held => State::Held,
        "PENDING" | "REQUEUED" => State::Pending,
        "REQUEUE_HOLD" | "SPECIAL_EXIT" | "SUSPENDED" | "STOPPED" | "RESV_DEL_HOLD" => State::Held,
        "RUNNING" | "COMPLETING" | "CONFIGURING" | "STAGE_OUT" | "SIGNALING" | "RESIZING" => {
            State::Running
        }
        _ => State::Ended,
    };
    let why = if ["", "None", "0:0"].contains(&reason) {
        word.to_owned()
    } else {
        format!("{word} ({reason})")
    };
    Some((id.to_owned(), (state, why)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_indices_are_short() {
        assert_eq!(ranges(&[3, 7, 8, 9, 11, 12]), "3,7-9,11-12");
        assert_eq!((ranges(&[0]), ranges(&[])), ("0".into(), String::new()));
    }

    #[test]
    fn indices_stay_below_the_limit_and_lists_short() {
        let groups = arrays([0, 9, 10, 25, 29].into_iter(), 10);
        assert_eq!(
            groups.iter().map(|group| (group.offset, group.tasks.clone())).collect::<Vec<_>>(),
            [(0, vec![0, 9]), (10, vec![10]), (20, vec![25, 29])]
        );
        let sparse: Vec<usize> = (0..20_000).map(|task| task * 2).collect();
        let groups = arrays(sparse.iter().copied(), 4_000_001);
        assert!(
            groups.len() > 1
                && groups.iter().all(|group| ranges(&group.tasks).len() <= LONGEST_LIST)
        );
        assert_eq!(groups.into_iter().flat_map(|group| group.tasks).collect::<Vec<_>>(), sparse);
    }

    #[test]
    fn answers_are_read() {
        assert_eq!(
            (id("123\n"), id("123;cluster\n"), id("sbatch: warning\n77\n")),
            (Some("123".into()), Some("123".into()), Some("77".into()))
        );
        assert_eq!((id("queued"), id("")), (None, None));
        let state = |text: &str| line(text).map(|(_, (state, why))| (state, why)).unwrap();
        assert_eq!(state("1_4|RUNNING|None"), (State::Running, "RUNNING".into()));
        assert_eq!(state("1_4|PENDING|JobHeldUser"), (State::Held, "PENDING (JobHeldUser)".into()));
        assert_eq!(state("1_4|PENDING|BeginTime").0, State::Pending);
        assert_eq!(state("1_4|CANCELLED by 0|0:0"), (State::Ended, "CANCELLED by 0".into()));
        assert_eq!(state("1_4|PREEMPTED|None"), (State::Ended, "PREEMPTED".into()));
        assert_eq!(state("1_4|FAILED|2:0"), (State::Ended, "FAILED (2:0)".into()));
        assert_eq!(line(""), None);
    }
}
