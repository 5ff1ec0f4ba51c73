//! Requests to pause: signals from users and batch systems, and time limits.

use crate::error::{Error, Result};
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Instant,
};

/// The exit code of a pause (`EX_TEMPFAIL`: try again later). Batch systems can requeue on it.
const LATER: u8 = 75;

/// Requests to pause a training.
pub struct Stop {
    signal: Arc<AtomicUsize>,
    deadline: Option<Instant>,
}

impl Stop {
    /// Handles SIGINT, SIGTERM and SIGUSR1 from now on; a second SIGINT ends the program
    /// immediately.
    pub fn new(deadline: Option<Instant>) -> Result<Self> {
        let failed = |error: std::io::Error| Error::failed(format!("signals: {error}"));
        let signal = Arc::new(AtomicUsize::new(0));
        let interrupted = Arc::new(AtomicBool::new(false));
        // In this order: the flag is unset at the first interrupt and set at the second.
        signal_hook::flag::register_conditional_shutdown(SIGINT, 130, interrupted.clone())
            .map_err(failed)?;
        signal_hook::flag::register(SIGINT, interrupted).map_err(failed)?;
        for number in [SIGINT, SIGTERM, SIGUSR1] {
            signal_hook::flag::register_usize(number, signal.clone(), number as usize)
                .map_err(failed)?;
        }
        Ok(Self { signal, deadline })
    }

    /// Requests a pause when standard input ends: the parent process closed it or ended.
    pub fn when_input_ends(&self) {
        let signal = self.signal.clone();
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            let _ =
                signal.compare_exchange(0, SIGTERM as usize, Ordering::Relaxed, Ordering::Relaxed);
        });
    }

    /// Whether a signal requested a pause.
    pub fn is_signalled(&self) -> bool {
        self.signal.load(Ordering::Relaxed) != 0
    }

    /// Whether a signal or the time limit requests a pause.
    pub fn wanted(&self) -> bool {
        self.is_signalled() || self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// The final message, with the command that continues.
    pub fn paused(&self, done: &str, command: &str) -> Error {
        let (why, code) = match self.signal.load(Ordering::Relaxed) as i32 {
            SIGINT => ("interrupted", 130),
            SIGTERM => ("asked to end (SIGTERM)", LATER),
            SIGUSR1 => ("asked to end (SIGUSR1)", LATER),
            _ => ("train.time_limit reached", LATER),
        };
        Error::Paused { message: format!("{why} after {done}; continue with: {command}"), code }
    }
}
