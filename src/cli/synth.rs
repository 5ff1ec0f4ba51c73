//! `lumisift synth`: made data with known anomalies.

use super::ui::Ui;
use crate::{
    data::synth,
    error::{Error, Result},
    report::folder::write_atomically,
};
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// Make realistic data with known anomalies, to try things on
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    kind: Kind,
}

#[derive(Debug, Subcommand)]
enum Kind {
    /// Runs of METSig-like histograms, one a lumisection: good.csv, bad1.csv, bad2.csv, truth.csv
    Metsig {
        /// The folder to write to
        out: PathBuf,
        /// Another seed makes other data
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Lengths of the runs: 1 is 1520, 980 and 1210 lumisections
        #[arg(long, default_value_t = 1.0)]
        size: f64,
    },
}

pub fn run(arguments: &Arguments, ui: &Ui) -> Result<()> {
    let Kind::Metsig { out, seed, size } = &arguments.kind;
    let made = synth::metsig(*seed, *size)?;
    std::fs::create_dir_all(out).map_err(|error| Error::writing(out, &error))?;
    for (name, rows, text) in &made.files {
        let path = out.join(name);
        write_atomically(&path, text.as_bytes())?;
        ui.say(&format!("{}: {rows} rows", path.display()));
    }
    let file = |name: &str| out.join(name).display().to_string();
    ui.next(&[
        format!("lumisift inspect {}", file("good.csv")),
        format!(
            "lumisift train configs/metsig.toml --set 'data.train=[\"{}\"]' --set 'data.test=[\"{}\", \"{}\"]' --out experiment",
            file("good.csv"),
            file("bad1.csv"),
            file("bad2.csv")
        ),
    ])
}
