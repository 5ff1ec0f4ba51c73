//! The command line: one file per command. Only this module and [`crate::report::terminal`] print.

mod batch;
mod calibrate;
mod certify;
mod check;
mod compare;
mod completions;
mod decode;
mod devices;
mod encode;
mod export;
mod global;
mod inspect;
mod outputs;
mod progress;
mod report;
mod schema;
mod score;
mod sensitivity;
mod stop;
mod sweep;
mod synth;
mod train;
mod ui;

use crate::{
    cli::global::Global,
    config::{DeviceChoice, Experiment, Part},
    error::{Error, Result},
};
use clap::{Args, Parser, Subcommand};
use std::{ffi::OsString, path::Path, process::ExitCode};
use ui::Ui;

/// Sift good lumisections from bad.
///
/// Trains autoencoders on detector data-quality data from one TOML file, and finds anomalous
/// lumisections.
#[derive(Debug, Parser)]
#[command(name = "lumisift", version, propagate_version = true, max_term_width = 110)]
#[command(
    after_help = "Start with:\n  lumisift synth metsig data\n  lumisift inspect data/good.csv\n  lumisift train configs/metsig.toml --out experiment"
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    verb: Verb,
}

/// Options of the verbs that read a config.
#[derive(Clone, Debug, Args)]
struct Sets {
    /// Set a key of the config: --set train.epochs=20 (repeatable; the value is TOML)
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Synth(synth::Arguments),
    Inspect(inspect::Arguments),
    Check(check::Arguments),
    Train(train::Arguments),
    Score(score::Arguments),
    Calibrate(calibrate::Arguments),
    Certify(certify::Arguments),
    Sensitivity(sensitivity::Arguments),
    Report(report::Arguments),
    Compare(compare::Arguments),
    Encode(encode::Arguments),
    Decode(decode::Arguments),
    Export(export::Arguments),
    Sweep(sweep::Arguments),
    Devices(devices::Arguments),
    Schema(schema::Arguments),
    Completions(completions::Arguments),
}

/// Parses the command line, runs the command, prints the error if there is one.
pub fn main() -> ExitCode {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map_or_else(|| "an unknown place".into(), ToString::to_string);
        let cause = info.payload_as_str().unwrap_or("no message");
        let told = "please report it with the command and the config; checkpoints are intact, and --resume continues from them";
        ui::to_stderr(&format!(
            "error: this is a bug in lumisift {} at {place}: {cause}\n  {told}",
            env!("CARGO_PKG_VERSION")
        ));
    }));
    ExitCode::from(run(std::env::args_os()))
}

/// Runs the command of a command line, whose first argument is the program; returns the exit code.
pub fn run(arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> u8 {
    crate::guard::hide_fenced_panics();
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are printed by clap and are not errors.
            let _ = error.print();
            return if error.use_stderr() { 2 } else { 0 };
        }
    };
    let ui = Ui::new(&cli.global);
    // The panic hook has reported it; a panic is a failure like any other.
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run_verb(cli.verb, &ui))) {
        Ok(Ok(())) => 0,
        Ok(Err(error)) => {
            ui.error(&error);
            error.exit_code()
        }
        Err(_) => 1,
    }
}

fn run_verb(verb: Verb, ui: &Ui) -> Result<()> {
    match verb {
        Verb::Synth(arguments) => synth::run(&arguments, ui),
        Verb::Inspect(arguments) => inspect::run(&arguments, ui),
        Verb::Check(arguments) => check::run(&arguments, ui),
        Verb::Train(arguments) => train::run(&arguments, ui),
        Verb::Score(arguments) => score::run(&arguments, ui),
        Verb::Calibrate(arguments) => calibrate::run(&arguments, ui),
        Verb::Certify(arguments) => certify::run(&arguments, ui),
        Verb::Sensitivity(arguments) => sensitivity::run(&arguments, ui),
        Verb::Report(arguments) => report::run(&arguments, ui),
        Verb::Compare(arguments) => compare::run(&arguments, ui),
        Verb::Encode(arguments) => encode::run(&arguments, ui),
        Verb::Decode(arguments) => decode::run(&arguments, ui),
        Verb::Export(arguments) => export::run(&arguments, ui),
        Verb::Sweep(arguments) => sweep::run(&arguments, ui),
        Verb::Devices(arguments) => devices::run(&arguments, ui),
        Verb::Schema(arguments) => schema::run(&arguments, ui),
        Verb::Completions(arguments) => completions::run(&arguments, ui),
    }
}

/// The device of a `--device` argument.
fn device_argument(text: &str) -> Result<DeviceChoice> {
    DeviceChoice::parse(text).map_err(|message| Error::input(format!("--device: {message}")))
}

/// The devices of a `--device` argument that may name several.
fn devices_argument(text: &str) -> Result<Vec<DeviceChoice>> {
    DeviceChoice::parse_all(text).map_err(|message| Error::input(format!("--device: {message}")))
}

/// The part of a `--part` argument.
fn part_argument(text: Option<&str>) -> Result<Option<Part>> {
    text.map(|text| Part::parse(text).map_err(|message| Error::input(format!("--part: {message}"))))
        .transpose()
}

/// Reads and checks an experiment file with `--set` arguments and `--device` applied.
fn load(path: &Path, sets: &Sets, device: Option<&str>) -> Result<Experiment> {
    let options: Vec<(&str, &str, &str)> =
        device.map(|device| ("--device", "device", device)).into_iter().collect();
    Experiment::load_with(path, &sets.sets, &options)
}

/// Fails for `--set` keys that cannot change after training.
fn only_keys(sets: &[String], allowed: &[&str], verb: &str) -> Result<()> {
    for set in sets {
        let key = set.split('=').next().unwrap_or_default().trim();
        if !allowed.iter().any(|allowed| {
            key == *allowed || key.strip_prefix(allowed).is_some_and(|rest| rest.starts_with('.'))
        }) {
            return Err(Error::input(format!(
                "--set {set}: {key} is fixed by the training of the experiment; `lumisift {verb}` accepts {}",
                allowed.join(", ")
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
