//! `lumisift synth`: makes data with known anomalies.

use super::{outputs::Outputs, ui::Ui};
use crate::{
    error::{Error, Result},
    files::atomic::write_atomically,
    synth,
};
use clap::{Args, Subcommand};
use std::path::{Path, PathBuf};

/// Make realistic data with known anomalies, for tests
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    kind: Kind,
    /// Replace files that another command wrote or that were changed since
    #[arg(long, global = true)]
    force: bool,
}

#[derive(Debug, Subcommand)]
enum Kind {
    /// Runs of METSig-like histograms, one per lumisection: good.csv, bad1.csv, bad2.csv, truth.csv
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
    /// The CMS 2010B study: features.parquet (2,699 columns), labels.npy, Quality2010/ with a JSON
    /// per subsystem, truth.csv
    Cms2010b {
        /// The folder to write to
        out: PathBuf,
        /// Another seed makes other data
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Number of lumisections; the study has 40,800
        #[arg(long, default_value_t = 4_000)]
        rows: usize,
    },
    /// Physics objects of four primary datasets, each quantity summarised by seven numbers:
    /// features.parquet (161 features), golden.json, dcs.json, truth.csv
    Certification {
        /// The folder to write to
        out: PathBuf,
        /// Number of lumisections
        #[arg(long, default_value_t = 20_000)]
        lumisections: usize,
        /// Another seed makes other data
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Collision events of four channels: events.h5 (HDF5, one dataset per column) and truth.csv
    Events {
        /// The folder to write to
        out: PathBuf,
        /// Number of events
        #[arg(long, default_value_t = 100_000)]
        events: usize,
        /// Number of columns, from 12 to 80
        #[arg(long, default_value_t = synth::events::FEWEST)]
        columns: usize,
        /// Another seed makes other data
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Occupancy maps of the layers of a pixel detector, one per lumisection and layer: train/ and
    /// test/ with one Parquet file per layer, oms.json, hlt.json, automasks.csv, truth.csv
    Occupancy {
        /// The folder to write to
        out: PathBuf,
        /// Number of lumisections in the training part, all good
        #[arg(long, default_value_t = 1_500)]
        lumisections: usize,
        /// Number of lumisections in the test part, in which regions of the maps are dead or hot
        #[arg(long, default_value_t = 600)]
        test_lumisections: usize,
        /// Number of layers, from 2 to 4
        #[arg(long, default_value_t = 4)]
        layers: usize,
        /// Maps of 26, 58, 90 and 130 rows, as in the real layers, instead of 26 for all
        #[arg(long)]
        true_shapes: bool,
        /// Another seed makes other data
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
}

impl Kind {
    /// The verb with the kind, the folder and its output files.
    fn writes(&self) -> (&'static str, &Path, Vec<String>) {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        match self {
            Self::Metsig { out, .. } => ("synth metsig", out, owned(&synth::METSIG)),
            Self::Cms2010b { out, .. } => ("synth cms2010b", out, synth::cms2010b::files()),
            Self::Certification { out, .. } => {
                ("synth certification", out, owned(&synth::certification::FILES))
            }
            Self::Events { out, .. } => ("synth events", out, owned(&synth::events::FILES)),
            Self::Occupancy { out, layers, .. } => {
                ("synth occupancy", out, synth::occupancy::files(*layers))
            }
        }
    }
}

pub fn run(arguments: &Arguments, ui: &Ui) -> Result<()> {
    let (verb, out, files) = arguments.kind.writes();
    let outputs =
        Outputs::new(verb, arguments.force).folder("", out, files.iter().map(String::as_str));
    outputs.check()?;
    match &arguments.kind {
        Kind::Metsig { out, seed, size } => metsig(out, *seed, *size, ui),
        Kind::Cms2010b { out, seed, rows } => cms2010b(out, *seed, *rows, ui),
        Kind::Certification { out, lumisections, seed } => {
            certification(out, *lumisections, *seed, ui)
        }
        Kind::Events { out, events: number, columns, seed } => {
            events(out, *number, *columns, *seed, ui)
        }
        Kind::Occupancy { out, lumisections, test_lumisections, layers, true_shapes, seed } => {
            let (lumisections, test_lumisections, layers, true_shapes) =
                (*lumisections, *test_lumisections, *layers, *true_shapes);
            occupancy(
                out,
                synth::occupancy::Size { lumisections, test_lumisections, layers, true_shapes },
                *seed,
                ui,
            )
        }
    }?;
    outputs.close(ui);
    Ok(())
}

fn occupancy(out: &Path, size: synth::occupancy::Size, seed: u64, ui: &Ui) -> Result<()> {
    for (name, rows) in synth::occupancy::write(out, size, seed)? {
        ui.say(&format!("{}: {rows} rows", out.join(name).display()));
    }
    let file = |name: &str| out.join(name).display().to_string();
    ui.say(&format!(
        "{}: OMS quantities of each lumisection; {}: rates of triggers",
        file("oms.json"),
        file("hlt.json")
    ));
    let sets = [
        ("data.train", "train/PXLayer_*.parquet"),
        ("data.test", "test/PXLayer_*.parquet"),
        ("data.oms", "oms.json"),
        ("data.hlt", "hlt.json"),
        ("patterns.automasks", "automasks.csv"),
    ];
    let sets: Vec<String> =
        sets.iter().map(|(key, name)| format!("--set '{key}=[\"{}\"]'", file(name))).collect();
    ui.next(&[
        format!("lumisift inspect {}", file("test/PXLayer_1.parquet")),
        format!("lumisift train configs/pixel-nmf.toml {} --out pixel", sets.join(" ")),
    ])
}

fn events(out: &Path, number: usize, columns: usize, seed: u64, ui: &Ui) -> Result<()> {
    for (name, rows) in synth::events::write(out, number, columns, seed)? {
        ui.say(&format!("{}: {rows} rows", out.join(name).display()));
    }
    let file = out.join("events.h5").display().to_string();
    let set = format!("--set 'data.train=[\"{file}\"]'");
    ui.next(&[
        format!("lumisift inspect {file}"),
        format!("lumisift check configs/events.toml {set}"),
        format!("lumisift train configs/events.toml {set} --out events"),
    ])
}

fn certification(out: &Path, lumisections: usize, seed: u64, ui: &Ui) -> Result<()> {
    for (name, rows) in synth::certification::write(out, lumisections, seed)? {
        ui.say(&format!("{}: {rows} rows", out.join(name).display()));
    }
    let file = |name: &str| out.join(name).display().to_string();
    ui.say(&format!(
        "{}: good lumisections; {}: those with the tracker on",
        file("golden.json"),
        file("dcs.json")
    ));
    let sets = format!(
        "--set 'data.train=[\"{}\"]' --set 'labels.good=\"{}\"'",
        file("features.parquet"),
        file("golden.json")
    );
    ui.next(&[
        format!("lumisift check configs/certification-vanilla.toml {sets}"),
        format!("lumisift train configs/certification-vanilla.toml {sets} --out vanilla"),
    ])
}

fn cms2010b(out: &Path, seed: u64, rows: usize, ui: &Ui) -> Result<()> {
    for (name, rows) in synth::cms2010b::write(out, rows, seed)? {
        ui.say(&format!("{}: {rows} rows", out.join(name).display()));
    }
    ui.say(&format!("{}: good lumisections by subsystem", out.join("Quality2010").display()));
    let file = |name: &str| out.join(name).display().to_string();
    let sets = format!(
        "--set 'data.train=[\"{}\"]' --set 'labels.good=\"{}\"' --set 'labels.subsystems.folder=\"{}\"'",
        file("features.parquet"),
        file("labels.npy"),
        file("Quality2010")
    );
    ui.next(&[
        format!("lumisift check configs/cms2010b.toml {sets}"),
        format!("lumisift train configs/cms2010b.toml {sets} --out cms2010b"),
    ])
}

fn metsig(out: &Path, seed: u64, size: f64, ui: &Ui) -> Result<()> {
    let made = synth::metsig(seed, size)?;
    std::fs::create_dir_all(out).map_err(|error| Error::writing(out, error))?;
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
