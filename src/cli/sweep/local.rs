//! The workers of a sweep on this machine: separate processes, so that a crash affects only one.

use super::{command, deadline, show::Progress};
use crate::{
    cli::{stop::Stop, ui::Ui},
    config::DeviceChoice,
    error::{Error, Result},
    sweep::trials::{Board, SWEEP},
};
use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

/// Folder of the workers' logs in the sweep's folder.
const WORKERS: &str = "workers";

struct Worker {
    child: Child,
    log: PathBuf,
    /// Index of the worker.
    at: usize,
}

/// The failure of a worker: its exit code, and its message.
type End = (Option<i32>, String);

/// Runs workers until all trials are settled or a pause is requested.
pub fn run(board: &Board, workers: Option<usize>, ui: &Ui) -> Result<()> {
    let devices: Vec<&str> =
        board.experiment().device.written().split(',').map(str::trim).collect();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let on_cpu = board.experiment().device.iter().all(|device| *device == DeviceChoice::Cpu);
    let count =
        workers.unwrap_or(if on_cpu { cores } else { devices.len() }).min(board.len()).max(1);
    let threads = (cores / count).max(1);
    let logs = board.path().join(WORKERS);
    fs::create_dir_all(&logs).map_err(|error| Error::writing(&logs, error))?;
    let program =
        std::env::current_exe().map_err(|error| Error::failed(format!("this program: {error}")))?;
    let start = |at: usize| -> Result<Worker> {
        let log = logs.join(format!("{}-{}.log", std::process::id(), at + 1));
        let file = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .map_err(|error| Error::writing(&log, error))?;
        let mut command = Command::new(&program);
        command.arg("sweep").arg(board.path().join(SWEEP)).arg("--out").arg(board.path()).args([
            "--worker",
            "--until-input-ends",
            "--color",
            "never",
        ]);
        command.arg("--device").arg(devices[at % devices.len()]);
        command
            .env("RAYON_NUM_THREADS", threads.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(file);
        let child = command.spawn().map_err(|error| {
            Error::failed(format!("{}: cannot be started: {error}", program.display()))
        })?;
        Ok(Worker { child, log, at })
    };

    // Signals are handled before any work begins.
    let stop = Stop::new(deadline(board))?;
    let mut running = (0..count).map(start).collect::<Result<Vec<_>>>()?;
    let mut progress = Progress::new(board, ui)?;
    let mut ends: Vec<End> = vec![];
    // If workers die one after the other without completing a trial, they would die forever.
    let (mut deaths, mut settled) = (0, progress.settled());
    loop {
        let mut still = vec![];
        for mut worker in running {
            let status = worker
                .child
                .try_wait()
                .map_err(|error| Error::failed(format!("a worker: {error}")))?;
            match status {
                None => still.push(worker),
                Some(status) if status.success() => {}
                Some(status) => {
                    let said = fs::read_to_string(&worker.log).unwrap_or_default();
                    let last = said.rfind("error: ").map(|at| said[at + 7..].trim().to_owned());
                    let died = status.code().is_none();
                    deaths += usize::from(died);
                    if died && !stop.wanted() && deaths <= 10 * count {
                        ui.warn(&format!(
                            "worker {} died ({status}) and is replaced",
                            worker.at + 1
                        ));
                        still.push(start(worker.at)?);
                    } else {
                        ends.push((
                            status.code(),
                            last.unwrap_or_else(|| {
                                format!("worker {} ended with {status}", worker.at + 1)
                            }),
                        ));
                    }
                }
            }
        }
        running = still;
        progress.look(board)?;
        if progress.settled() > settled {
            (deaths, settled) = (0, progress.settled());
        }
        if running.is_empty() {
            break;
        }
        if stop.wanted() {
            // Closing their input requests a pause; they write checkpoints.
            running.iter_mut().for_each(|worker| drop(worker.child.stdin.take()));
        }
        let pause = Instant::now();
        while pause.elapsed() < progress.interval() && !stop.wanted() {
            sleep(Duration::from_millis(20));
        }
        if stop.wanted() {
            sleep(Duration::from_millis(50));
        }
    }
    drop(progress);
    let done = format!("{settled} of {} trainings", board.len());
    if stop.wanted() {
        return Err(stop.paused(&done, &command(board)));
    }
    match ends.iter().find(|(code, _)| *code == Some(2)).or(ends.first()) {
        _ if settled == board.len() => Ok(()),
        Some((Some(2), said)) => Err(Error::input(said.clone())),
        Some((_, said)) => {
            Err(Error::failed(format!("{said}\n  after {done}; continue with: {}", command(board))))
        }
        None => Ok(()),
    }
}
