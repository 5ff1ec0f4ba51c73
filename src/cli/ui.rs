//! Terminal output: results on standard output, progress, warnings and errors on standard error.

use super::global::{Format, Global, When};
use crate::{
    clock::utc,
    data::{self, Rejected, Samples, table},
    error::{Error, Result},
    experiment::observer::Size,
    files::lock,
    report::terminal,
    train::Epoch,
};
use console::style;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use std::{
    fs::File,
    io::{ErrorKind, IsTerminal, Write},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

/// Prints a line on standard error; failures are ignored.
pub fn to_stderr(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Settings of terminal output.
pub struct Ui {
    quiet: bool,
    verbose: bool,
    pub json: bool,
    start: Instant,
    /// `log.txt` of an experiment, if open.
    log: Mutex<Option<(PathBuf, File)>>,
}

impl Ui {
    pub fn new(global: &Global) -> Self {
        match global.color {
            When::Auto => {}
            When::Always => {
                console::set_colors_enabled(true);
                console::set_colors_enabled_stderr(true);
            }
            When::Never => {
                console::set_colors_enabled(false);
                console::set_colors_enabled_stderr(false);
            }
        }
        Self {
            quiet: global.quiet,
            verbose: global.verbose,
            json: global.format == Format::Json,
            start: Instant::now(),
            log: Mutex::new(None),
        }
    }

    /// No terminal output, for one of many trainings, which has a log.
    pub fn silent() -> Self {
        Self {
            quiet: true,
            verbose: false,
            json: false,
            start: Instant::now(),
            log: Mutex::new(None),
        }
    }

    /// Width of the terminal, or a default without one.
    pub fn width(&self) -> u16 {
        console::Term::stdout().size_checked().map_or(110, |(_, width)| width.clamp(60, 200))
    }

    /// Prints a result on standard output. A closed pipe (`| head`) is not an error.
    pub fn print(&self, text: &str) -> Result<()> {
        let mut out = std::io::stdout().lock();
        match out
            .write_all(text.as_bytes())
            .and_then(|()| if text.ends_with('\n') { Ok(()) } else { out.write_all(b"\n") })
            .and_then(|()| out.flush())
        {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                Err(Error::failed(format!("standard output: {error}")))
            }
            _ => Ok(()),
        }
    }

    /// Prints a result as JSON.
    pub fn print_json(&self, value: &impl Serialize) -> Result<()> {
        self.print(
            &serde_json::to_string_pretty(value)
                .map_err(|error| Error::failed(format!("JSON: {error}")))?,
        )
    }

    /// Prints commands to run next; not for JSON.
    pub fn next(&self, lines: &[String]) -> Result<()> {
        if self.json || self.quiet || lines.is_empty() {
            return Ok(());
        }
        self.print(&format!("\n{}\n  {}", style("next").bold(), lines.join("\n  ")))
    }

    /// From now on, also writes every line to this file, with its time, whether it is shown or not.
    pub fn log_to(&self, path: &Path) -> Result<()> {
        let file = File::options()
            .create(true)
            .append(true)
            .open(path)
            .map_err(|error| Error::writing(path, error))?;
        *self.log.lock().unwrap_or_else(PoisonError::into_inner) = Some((path.to_path_buf(), file));
        let command: Vec<String> = std::env::args().collect();
        self.log(&format!("lumisift {}: {}", env!("CARGO_PKG_VERSION"), command.join(" ")));
        Ok(())
    }

    /// Writes a line only to the log.
    pub fn log(&self, text: &str) {
        // Errors are ignored, also if another process has taken over the folder.
        if let Some((path, file)) = self.log.lock().unwrap_or_else(PoisonError::into_inner).as_mut()
            && lock::check(path).is_ok()
        {
            let _ = writeln!(file, "{} {}", utc(SystemTime::now()), terminal::printable(text));
        }
    }

    /// Prints a line about progress, unless quiet.
    pub fn say(&self, text: &str) {
        self.log(text);
        if !self.quiet {
            to_stderr(text);
        }
    }

    /// Prints a line if verbose.
    pub fn detail(&self, text: &str) {
        self.log(text);
        if self.verbose {
            to_stderr(&format!("[{:8.3} s] {text}", self.start.elapsed().as_secs_f64()));
        }
    }

    pub fn warn(&self, text: &str) {
        self.log(&format!("warning: {text}"));
        if !self.quiet {
            to_stderr(&format!(
                "{} {}",
                style("warning:").for_stderr().yellow().bold(),
                terminal::printable(text)
            ));
        }
    }

    /// Opens a page in the browser, if there is one.
    pub fn open(&self, page: &Path) {
        if let Err(error) = open::that_detached(page) {
            self.warn(&format!("nothing opens {}: {error}", page.display()));
        }
    }

    /// Warns about rows that could not be read; the first ones with their lines.
    pub fn warn_unreadable(&self, samples: &Samples) {
        const MOST: usize = 10;
        let unreadable: Vec<&Rejected> =
            samples.rejected.iter().filter(|rejected| rejected.unreadable).collect();
        for rejected in unreadable.iter().take(MOST) {
            let place = table::place_in(
                &samples.sources[rejected.source as usize].path,
                rejected.line,
                rejected.index,
            );
            self.warn(&format!("{place}: left out: {}", rejected.reason));
        }
        if unreadable.len() > MOST {
            self.warn(&format!("… and {} more rows that cannot be read", unreadable.len() - MOST));
        }
    }

    pub fn error(&self, error: &Error) {
        self.log(&format!("ends with exit code {}: {error}", error.exit_code()));
        if matches!(error, Error::Paused { .. }) {
            return to_stderr(&terminal::printable(&error.to_string()));
        }
        to_stderr(&format!(
            "{} {}",
            style("error:").for_stderr().red().bold(),
            terminal::printable(&error.to_string())
        ));
    }

    /// A progress bar over files being read; hidden if reading is short.
    pub fn reading(&self, patterns: &[&[PathBuf]]) -> Reading<'_> {
        let files: Vec<PathBuf> = patterns
            .iter()
            .filter_map(|patterns| data::paths::expand(patterns).ok())
            .flatten()
            .collect();
        let bytes = |path: &Path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
        let bar = self.bar(
            files.iter().map(|file| bytes(file)).sum(),
            "reading  {wide_bar:.cyan/dim} {bytes}/{total_bytes} {eta}",
        );
        Reading { bar, ui: self }
    }

    /// A progress bar over the epochs of all models with losses, rate and remaining time; without a
    /// terminal, occasional lines.
    pub fn training(&self, size: Size) -> Training<'_> {
        let Size { models, channels, epochs, done } = size;
        let bar = self.bar(
            models as u64 * u64::from(epochs),
            "training {wide_bar:.green/dim} {pos}/{len} {msg} {eta}",
        );
        bar.inc(done as u64);
        Training { bar, models, channels, epochs, last_line: Instant::now(), ui: self }
    }

    /// A progress bar; hidden without a terminal.
    pub fn bar(&self, length: u64, template: &str) -> ProgressBar {
        let target = if self.quiet || !std::io::stderr().is_terminal() {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr()
        };
        let bar = ProgressBar::with_draw_target(Some(length), target);
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("━╸─"));
        }
        bar
    }
}

/// Progress of reading files.
pub struct Reading<'a> {
    bar: ProgressBar,
    ui: &'a Ui,
}

impl Reading<'_> {
    /// Counts a file that has been read.
    pub fn read(&self, path: &Path) {
        self.bar.inc(std::fs::metadata(path).map_or(0, |metadata| metadata.len()));
        self.ui.detail(&format!("read {}", path.display()));
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Progress of a training.
pub struct Training<'a> {
    bar: ProgressBar,
    models: usize,
    channels: usize,
    epochs: u32,
    last_line: Instant,
    ui: &'a Ui,
}

impl Training<'_> {
    /// Counts a trained epoch of a channel's member.
    pub fn epoch(&mut self, channel: &str, member: usize, epoch: &Epoch) {
        let valid =
            epoch.valid_loss.map(|loss| format!(", validation {loss:.6}")).unwrap_or_default();
        let of = if self.channels > 1 { format!("{channel}: ") } else { String::new() };
        let of =
            if self.models > self.channels { format!("{of}member {}: ", member + 1) } else { of };
        // A factorisation has no learning rate.
        let rate = if epoch.learning_rate > 0.0 {
            format!(", rate {:.2e}", epoch.learning_rate)
        } else {
            String::new()
        };
        let text = format!("{of}loss {:.6}{valid}{rate}", epoch.train_loss);
        self.bar.set_message(text.clone());
        self.bar.inc(1);
        if self.bar.is_hidden()
            && (epoch.epoch == 1
                || epoch.epoch == self.epochs
                || self.last_line.elapsed() > Duration::from_secs(10))
        {
            self.last_line = Instant::now();
            self.ui.say(&format!("epoch {}/{}: {text}", epoch.epoch, self.epochs));
        }
    }
}

impl Drop for Training<'_> {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
