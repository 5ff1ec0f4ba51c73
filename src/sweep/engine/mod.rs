//! Sends tasks to a batch system and asks it how they do.
//!
//! A [`Job`] is a command that is run for each of its tasks, which have numbers. [`submit`] sends
//! it in as few submissions as the batch system takes, [`describe`] tells what would be sent,
//! [`states`] asks where the tasks of [`submissions`] stand.
//!
//! A submission is a folder, `batch/1`, `batch/2`, … in the folder of the job, which one alone can
//! create:
//!
//! | file | what it is |
//! |---|---|
//! | `job.sh` | what runs for a task |
//! | `job.sub`, `tasks.txt` | HTCondor: the submit description and its tasks |
//! | `<index>.log`, `<task>.log` | what a task printed, by its index in Slurm's array or its number |
//! | `job.log`, `<task>.err` | HTCondor: what happened to the tasks; why a task could not even open its log |
//! | `submission.json` | the [`Submission`]: written before it is sent, and again with the number that the batch system gave it |
//!
//! The command says by its exit code what is to become of its task: 0 is done, 75 paused and goes
//! on later, 2 is wrong, everything else failed. Whoever was told to stop (SIGTERM, SIGUSR1) before
//! listening for it has paused, too.
//!
//! With HTCondor's file transfer tasks share nothing while they run: each finds a copy of its own
//! folder and of the files that all read, where `{folder}` says, and what it wrote to its own
//! folder comes home when it has ended.

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

/// What is to be run.
#[derive(Clone, Debug)]
pub struct Job {
    /// What it is called in the queue.
    pub name: String,
    /// The folder that its tasks write to; submissions are kept in `batch/` there. Absolute.
    pub folder: PathBuf,
    /// The arguments of the program, in which `{task}` is the number of a task and `{folder}` the
    /// folder.
    pub arguments: Vec<String>,
    /// The tasks by their numbers, each with the folder that it alone writes to, relative to that
    /// of the job (empty for all of it). It must be there.
    pub tasks: BTreeMap<usize, PathBuf>,
    /// Files in the folder that every task reads, relative to it.
    pub shared: Vec<PathBuf>,
    /// Submissions that must have ended, well or not, before this one begins. Only Slurm can wait
    /// for them.
    pub after: Vec<String>,
}

/// Tasks that were sent together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Submission {
    /// To whom.
    pub engine: Engine,
    /// The number that the batch system gave it; nothing where it was never told.
    pub job: Option<String>,
    /// What it is called in the queue.
    pub name: String,
    /// The numbers of its tasks, ascending.
    pub tasks: Vec<usize>,
    /// Slurm: what is added to an index of the array to get the number of the task.
    pub offset: usize,
    /// When, in seconds since 1970 (UTC).
    pub time: u64,
    /// Its own folder.
    #[serde(skip)]
    pub folder: PathBuf,
}

/// What the batch system does with a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It waits.
    Pending,
    /// It runs.
    Running,
    /// It waits for somebody to let it go on.
    Held,
    /// It is not in the queue any more.
    Ended,
    /// Sending it was interrupted: the batch system may have it or not.
    Unknown,
}

/// Where a task stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TaskState {
    /// In short.
    pub state: State,
    /// In the batch system's words, with its reason; empty where it has forgotten the task.
    pub why: String,
    /// What the batch system calls it: `123_4`, `123.4`.
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

/// The command that sends a submission, in its folder.
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

/// What [`submit`] would do: the files with their texts, and the commands.
pub fn describe(engine: Engine, batch: &Batch, job: &Job) -> Result<String> {
    let mut text = String::new();
    let first = next_number(&job.folder)?;
    for (i, group) in groups(engine, job)?.iter().enumerate() {
        let place = place(&job.folder, first + i);
        for (name, content) in &files(engine, batch, job, group, &place)? {
            text.push_str(&format!("# {}\n{content}\n", place.join(name).display()));
        }
        let after = if i > 0 && batch.at_once.is_some() {
            vec!["<the job before>".to_owned()]
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

/// Sends a job. What the batch system refuses leaves nothing behind; what it took is on disk before
/// this returns.
pub fn submit(engine: Engine, batch: &Batch, job: &Job) -> Result<Vec<Submission>> {
    check_installed(engine)?;
    let mut sent: Vec<Submission> = vec![];
    for group in groups(engine, job)? {
        // So that no more run at once than wanted, each waits for the one before.
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
        // It was not taken. Only what was written for it goes.
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
                "{message}; job {} could not be cancelled and is on its own",
                submission.id()
            ),
        })
    })?;
    Ok(submission)
}

impl Submission {
    /// The number that the batch system gave it; empty where it was never told.
    pub fn id(&self) -> &str {
        self.job.as_deref().unwrap_or_default()
    }

    /// What the batch system calls the task at a position of the list.
    fn task_id(&self, position: usize) -> String {
        match self.engine {
            Engine::Slurm => {
                format!("{}_{}", self.id(), self.tasks[position].saturating_sub(self.offset))
            }
            Engine::HtCondor => format!("{}.{position}", self.id()),
        }
    }

    /// The file that a task prints to.
    pub fn log(&self, task: usize) -> PathBuf {
        self.folder.join(format!("{}.log", task.saturating_sub(self.offset)))
    }

    /// The command that shows how it does.
    pub fn follow(&self) -> String {
        match self.engine {
            Engine::Slurm => format!("squeue -r -j {}", self.id()),
            Engine::HtCondor => format!("condor_q -nobatch {}", self.id()),
        }
    }

    /// Takes it out of the queue.
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

/// A new folder for a submission.
fn make_place(folder: &Path) -> Result<PathBuf> {
    let above = folder.join("batch");
    fs::create_dir_all(&above).map_err(|error| Error::writing(&above, error))?;
    loop {
        let place = place(folder, next_number(folder)?);
        match fs::create_dir(&place) {
            Ok(()) => return Ok(place),
            // Another was faster.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(Error::writing(&place, error)),
        }
    }
}

/// What was sent from a folder, oldest first.
pub fn submissions(folder: &Path) -> Result<Vec<Submission>> {
    let mut submissions = vec![];
    for number in numbers(folder)? {
        let path = place(folder, number).join(SUBMISSION);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            // Its writer was killed before it could send anything.
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

/// What a batch system says of tasks, by what it calls them.
type Known = BTreeMap<String, (State, String)>;

/// Where tasks stand, by their numbers. Of a task that was sent several times the last counts.
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

/// Refuses a batch system that is not there.
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

/// Runs a command of the batch system; returns what it prints, or fails with its words.
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
