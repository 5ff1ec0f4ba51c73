//! Submits tasks to a batch system and queries their states.
//!
//! A [`Job`] is a command that runs for each of its numbered tasks. [`submit`] sends it in as few
//! submissions as the batch system allows, [`describe`] shows what would be sent, [`states`]
//! queries the states of the tasks of [`submissions`].
//!
//! A submission is a folder `batch/1`, `batch/2`, … in the folder of the job, which only one
//! process can create:
//!
//! | file | what it is |
//! |---|---|
//! | `job.sh` | the script of a task |
//! | `job.sub`, `tasks.txt` | HTCondor: the submit description and its tasks |
//! | `<index>.log`, `<task>.log` | the output of a task, by its index in Slurm's array or its number |
//! | `job.log`, `<task>.err` | HTCondor: events of the tasks; the reason if a task could not open its log |
//! | `submission.json` | the [`Submission`]: written before it is sent, and again with the number from the batch system |
//!
//! The exit code of the command determines the state of its task: 0 is done, 75 paused (continues
//! later), 2 invalid, others failed. A process that is stopped (SIGTERM, SIGUSR1) before it handles
//! signals has paused too.
//!
//! With HTCondor's file transfer tasks share nothing while they run: each has a copy of its own
//! folder and of the shared files at `{folder}`, and its own folder is transferred back at the end.

mod htcondor;
mod script;
mod slurm;

use crate::{
    config::Batch,
    error::{Error, Result},
    files::atomic::write_atomically,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

/// A batch system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// Slurm, 22 and later.
    Slurm,
    /// HTCondor, 10 and later.
    HtCondor,
}

impl std::fmt::Display for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Slurm => "Slurm",
            Self::HtCondor => "HTCondor",
        })
    }
}

/// A command with its tasks.
#[derive(Clone, Debug)]
pub struct Job {
    /// Its name in the queue.
    pub name: String,
    /// The folder that its tasks write to, absolute; submissions are in `batch/` there.
    pub folder: PathBuf,
    /// The arguments of the program; `{task}` is replaced by the number of a task, `{folder}` by
    /// the folder.
    pub arguments: Vec<String>,
    /// The tasks by number, each with its own folder, relative to that of the job (empty for the
    /// whole folder). It must exist.
    pub tasks: BTreeMap<usize, PathBuf>,
    /// Files in the folder that every task reads, relative to it.
    pub shared: Vec<PathBuf>,
    /// Submissions that must have ended in any state before this one begins. Only Slurm supports
    /// this.
    pub after: Vec<String>,
}

/// Tasks that were sent together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Submission {
    /// The batch system.
    pub engine: Engine,
    /// The number from the batch system; `None` if it is unknown.
    pub job: Option<String>,
    /// Its name in the queue.
    pub name: String,
    /// The numbers of its tasks, ascending.
    pub tasks: Vec<usize>,
    /// Slurm: difference between the number of a task and its index in the array.
    pub offset: usize,
    /// Time of submission in seconds since 1970 (UTC).
    pub time: u64,
    /// Its own folder.
    #[serde(skip)]
    pub folder: PathBuf,
}

/// The state of a task in the batch system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It waits in the queue.
    Pending,
    /// It runs.
    Running,
    /// It waits for a manual release.
    Held,
    /// It is no longer in the queue.
    Ended,
    /// Its submission was interrupted: the batch system may have it or not.
    Unknown,
}

/// The state of a task with details.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TaskState {
    /// The state.
    pub state: State,
    /// The state and reason from the batch system; empty if it no longer knows the task.
    pub why: String,
    /// Its identifier in the batch system: `123_4`, `123.4`.
    pub id: String,
}

/// The tasks of one submission.
#[derive(Debug, PartialEq)]
struct Group {
    tasks: Vec<usize>,
    offset: usize,
}

fn groups(engine: Engine, job: &Job) -> Result<Vec<Group>> {
    match engine {
        Engine::Slurm => slurm::groups(job),
        Engine::HtCondor => htcondor::group(job).map(|group| vec![group]),
    }
}

/// The files of a submission in the folder `place`, and the command that sends it from there.
fn files(
    engine: Engine,
    batch: &Batch,
    job: &Job,
    group: &Group,
    place: &Path,
) -> Result<Vec<(&'static str, String)>> {
    match engine {
        Engine::Slurm => slurm::files(batch, job, group),
        Engine::HtCondor => htcondor::files(batch, job, group, place),
    }
}

/// The command that sends a submission; runs in its folder.
fn command(engine: Engine, after: &[String]) -> Vec<String> {
    let mut command = match engine {
        Engine::Slurm => vec!["sbatch", "--parsable", "job.sh"],
        Engine::HtCondor => vec!["condor_submit", "-terse", "job.sub"],
    };
    let dependency = format!("--dependency=afterany:{}", after.join(":"));
    if !after.is_empty() {
        command.insert(1, &dependency);
    }
    command.into_iter().map(str::to_owned).collect()
}

/// Describes what [`submit`] would do: the files with their contents, and the commands.
pub fn describe(engine: Engine, batch: &Batch, job: &Job) -> Result<String> {
    let mut text = String::new();
    let first = next_number(&job.folder)?;
    for (i, group) in groups(engine, job)?.iter().enumerate() {
        let place = place(&job.folder, first + i);
        for (name, content) in &files(engine, batch, job, group, &place)? {
            text.push_str(&format!("# {}\n{content}\n", place.join(name).display()));
        }
        let after = if i > 0 && batch.at_once.is_some() {
            vec!["<previous job>".to_owned()]
        } else {
            job.after.clone()
        };
        text.push_str(&format!(
            "# then\ncd {} && {}\n",
            script::quoted(&place.to_string_lossy()),
            command(engine, &after).join(" ")
        ));
    }
    Ok(text)
}

/// Submits a job. A refused submission leaves no files; an accepted one is on disk before this
/// returns.
pub fn submit(engine: Engine, batch: &Batch, job: &Job) -> Result<Vec<Submission>> {
    check_installed(engine)?;
    let mut sent: Vec<Submission> = vec![];
    for group in groups(engine, job)? {
        // Each submission waits for the previous one, so that the limit of running tasks holds.
        let after = match sent.last().filter(|_| batch.at_once.is_some()) {
            Some(before) => before.job.iter().cloned().collect(),
            None => job.after.clone(),
        };
        match send(engine, batch, job, group, &after) {
            Ok(submission) => sent.push(submission),
            Err(error) if sent.is_empty() => return Err(error),
            Err(error) => {
                let jobs: Vec<&str> = sent.iter().map(Submission::id).collect();
                return Err(error.map(|message| {
                    format!("{message}\n  before that, the tasks of {} were sent", jobs.join(", "))
                }));
            }
        }
    }
    Ok(sent)
}

/// Sends one submission.
fn send(
    engine: Engine,
    batch: &Batch,
    job: &Job,
    group: Group,
    after: &[String],
) -> Result<Submission> {
    let folder = make_place(&job.folder)?;
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let files = files(engine, batch, job, &group, &folder);
    let mut submission = Submission {
        engine,
        job: None,
        name: job.name.clone(),
        tasks: group.tasks,
        offset: group.offset,
        time,
        folder,
    };
    let command = command(engine, after);
    let asked = (|| {
        for (name, content) in &files? {
            write_atomically(&submission.folder.join(name), content.as_bytes())?;
        }
        submission.write()?;
        ask(Some(&submission.folder), &command)
    })();
    let answer = asked.inspect_err(|_| {
        // It was refused: remove its files.
        let _ = fs::remove_dir_all(&submission.folder);
        let _ = submission.folder.parent().map(fs::remove_dir);
    })?;
    submission.job = match engine {
        Engine::Slurm => slurm::id(&answer),
        Engine::HtCondor => htcondor::id(&answer),
    };
    if submission.job.is_none() {
        return Err(Error::failed(format!(
            "{}: its answer holds no job number: {}",
            command.join(" "),
            answer.trim()
        )));
    }
    submission.write().map_err(|error| {
        let cancelled = submission.cancel();
        error.map(|message| match cancelled {
            Ok(()) => format!("{message}; job {} was cancelled", submission.id()),
            Err(_) => format!(
                "{message}; job {} could not be cancelled and is still in the queue",
                submission.id()
            ),
        })
    })?;
    Ok(submission)
}

impl Submission {
    /// The number from the batch system; empty if it is unknown.
    pub fn id(&self) -> &str {
        self.job.as_deref().unwrap_or_default()
    }

    /// The identifier in the batch system of the task at a position of the list.
    fn task_id(&self, position: usize) -> String {
        match self.engine {
            Engine::Slurm => {
                format!("{}_{}", self.id(), self.tasks[position].saturating_sub(self.offset))
            }
            Engine::HtCondor => format!("{}.{position}", self.id()),
        }
    }

    /// The log file of a task.
    pub fn log(&self, task: usize) -> PathBuf {
        self.folder.join(format!("{}.log", task.saturating_sub(self.offset)))
    }

    /// The command that shows its state.
    pub fn follow(&self) -> String {
        match self.engine {
            Engine::Slurm => format!("squeue -r -j {}", self.id()),
            Engine::HtCondor => format!("condor_q -nobatch {}", self.id()),
        }
    }

    /// Removes it from the queue.
    pub fn cancel(&self) -> Result<()> {
        let command = match self.engine {
            Engine::Slurm => "scancel",
            Engine::HtCondor => "condor_rm",
        };
        ask(None, &[command.to_owned(), self.id().to_owned()]).map(drop)
    }

    fn write(&self) -> Result<()> {
        let path = self.folder.join(SUBMISSION);
        let text = serde_json::to_string(self)
            .map_err(|error| Error::failed(format!("{}: {error}", path.display())))?;
        write_atomically(&path, format!("{text}\n").as_bytes())
    }
}

/// Name of the file of a [`Submission`].
const SUBMISSION: &str = "submission.json";

fn place(folder: &Path, number: usize) -> PathBuf {
    folder.join("batch").join(number.to_string())
}

/// The numbers of the submissions of a folder, ascending.
fn numbers(folder: &Path) -> Result<Vec<usize>> {
    let place = folder.join("batch");
    let entries = match fs::read_dir(&place) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(vec![]),
        Err(error) => return Err(Error::reading(&place, error)),
    };
    let mut numbers: Vec<usize> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_string_lossy().parse().ok())
        .collect();
    numbers.sort_unstable();
    Ok(numbers)
}

fn next_number(folder: &Path) -> Result<usize> {
    Ok(numbers(folder)?.last().map_or(1, |last| last + 1))
}

/// Creates a folder for a submission.
fn make_place(folder: &Path) -> Result<PathBuf> {
    let above = folder.join("batch");
    fs::create_dir_all(&above).map_err(|error| Error::writing(&above, error))?;
    loop {
        let place = place(folder, next_number(folder)?);
        match fs::create_dir(&place) {
            Ok(()) => return Ok(place),
            // Another process was faster.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(Error::writing(&place, error)),
        }
    }
}

/// The submissions from a folder, oldest first.
pub fn submissions(folder: &Path) -> Result<Vec<Submission>> {
    let mut submissions = vec![];
    for number in numbers(folder)? {
        let path = place(folder, number).join(SUBMISSION);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            // Its writer was killed before it sent anything.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(Error::reading(&path, error)),
        };
        let submission: Submission = serde_json::from_str(&text).map_err(|error| {
            Error::input(format!("{}: not what lumisift writes: {error}", path.display()))
        })?;
        submissions.push(Submission { folder: place(folder, number), ..submission });
    }
    Ok(submissions)
}

/// States of tasks by their identifiers in the batch system.
type Known = BTreeMap<String, (State, String)>;

/// States of tasks by number. If a task was sent several times, the last submission counts.
pub fn states(submissions: &[Submission]) -> Result<BTreeMap<usize, TaskState>> {
    let mut known = Known::new();
    for engine in [Engine::Slurm, Engine::HtCondor] {
        let sent: Vec<&Submission> = submissions
            .iter()
            .filter(|submission| submission.engine == engine && submission.job.is_some())
            .collect();
        if !sent.is_empty() {
            known.extend(match engine {
                Engine::Slurm => slurm::states(&sent)?,
                Engine::HtCondor => htcondor::states(&sent)?,
            });
        }
    }
    let mut states = BTreeMap::new();
    for submission in submissions {
        for (position, task) in submission.tasks.iter().enumerate() {
            let id = submission.task_id(position);
            let (state, why) = match &submission.job {
                Some(_) => known.get(&id).cloned().unwrap_or((State::Ended, String::new())),
                None => (
                    State::Unknown,
                    format!(
                        "sending it was interrupted: look in the queue for {}",
                        submission.name
                    ),
                ),
            };
            states.insert(*task, TaskState { state, why, id });
        }
    }
    Ok(states)
}

/// Fails if the programs of a batch system are not installed.
pub fn check_installed(engine: Engine) -> Result<()> {
    let programs = match engine {
        Engine::Slurm => ["sbatch", "squeue", "scancel"],
        Engine::HtCondor => ["condor_submit", "condor_q", "condor_rm"],
    };
    let folders: Vec<PathBuf> = std::env::var_os("PATH")
        .map(|path| std::env::split_paths(&path).collect())
        .unwrap_or_default();
    match programs
        .iter()
        .find(|program| !folders.iter().any(|folder| folder.join(program).is_file()))
    {
        None => Ok(()),
        Some(program) => {
            let told = "submit from a machine that has it, or work on this one with --engine local";
            Err(Error::input(format!(
                "{engine}: there is no {program} on this machine's PATH; {told}"
            )))
        }
    }
}

/// Runs a command of the batch system; returns its output, or fails with its error message.
fn ask(folder: Option<&Path>, command: &[String]) -> Result<String> {
    let shown = command.join(" ");
    let mut process = Command::new(&command[0]);
    process.args(&command[1..]);
    if let Some(folder) = folder {
        process.current_dir(folder);
    }
    let output = process.output().map_err(|error| Error::failed(format!("{shown}: {error}")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let words = [&output.stderr, &output.stdout]
        .map(|bytes| String::from_utf8_lossy(bytes).trim().replace('\n', "\n  "));
    let words: Vec<String> = words.into_iter().filter(|words| !words.is_empty()).collect();
    Err(Error::failed(format!("{shown} ({}):\n  {}", output.status, words.join("\n  "))))
}
