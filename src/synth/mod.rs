//! Made data with known anomalies, to try the program on and to test it with.

pub mod certification;
pub mod cms2010b;
pub mod events;
mod hdf5;
pub mod occupancy;

use crate::{
    data::side_table::SideTable,
    error::{Error, Result},
    random,
};
use rand_distr::{Distribution, Poisson};
use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{self, BufWriter, Write as _},
    path::Path,
};

/// The files of METSig-like runs.
pub const METSIG: [&str; 4] = ["good.csv", "bad1.csv", "bad2.csv", "truth.csv"];
const BINS: usize = 53;

/// An anomaly put into a run.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Anomaly {
    first_ls: u32,
    last_ls: u32,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// The peak moves by so many bins.
    Shift(f64),
    /// The high end fills up, by a share of the peak.
    Tail(f64),
    /// A share of the events remains.
    Drop(f64),
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Shift(_) => "shift",
            Self::Tail(_) => "tail",
            Self::Drop(_) => "drop",
        }
    }
}

struct Plan {
    name: &'static str,
    first_ls: u32,
    empty: std::ops::Range<u32>,
    lumisections: u32,
    peak: f64,
    lifetime: f64,
    anomalies: Vec<Anomaly>,
}

/// What was made.
#[derive(Clone, Debug, PartialEq)]
pub struct Made {
    /// Files with their number of rows, ready to be written.
    pub files: Vec<(String, usize, String)>,
}

/// METSig-like runs of the ML-INFN notebook's kind: one good run and two with known anomalies,
/// luminosity falling through each. `size` scales the lengths (1 gives 1520, 980 and 1210 LSs).
/// Rows stand in any order, as in real files.
pub fn metsig(seed: u64, size: f64) -> Result<Made> {
    if !(0.1..=1000.0).contains(&size) {
        return Err(Error::input(format!("--size {size}: expected a number from 0.1 to 1000")));
    }
    let scaled = |n: u32| ((f64::from(n) * size).round() as u32).max(1);
    let anomaly = |first: u32, length: u32, kind: Kind| Anomaly {
        first_ls: scaled(first),
        last_ls: scaled(first) + length - 1,
        kind,
    };
    let plans = [
        Plan {
            name: "good",
            first_ls: 1,
            empty: 1..18,
            lumisections: scaled(1520),
            peak: 520.0,
            lifetime: 1400.0 * size,
            anomalies: vec![],
        },
        Plan {
            name: "bad1",
            first_ls: 1,
            empty: 1..6,
            lumisections: scaled(980),
            peak: 480.0,
            lifetime: 1100.0 * size,
            anomalies: vec![anomaly(301, 4, Kind::Tail(0.35)), anomaly(611, 3, Kind::Shift(7.0))],
        },
        Plan {
            name: "bad2",
            first_ls: 24,
            empty: 0..0,
            lumisections: scaled(1210),
            peak: 510.0,
            lifetime: 1600.0 * size,
            anomalies: vec![
                anomaly(174, 2, Kind::Drop(0.25)),
                anomaly(724, 12, Kind::Shift(4.0)),
                anomaly(1124, 3, Kind::Tail(0.2)),
            ],
        },
    ];
    let mut truth = String::from("file,first_ls,last_ls,anomaly\n");
    let mut files = vec![];
    for plan in &plans {
        for anomaly in &plan.anomalies {
            let _ = writeln!(
                truth,
                "{}.csv,{},{},{}",
                plan.name,
                anomaly.first_ls,
                anomaly.last_ls,
                anomaly.kind.name()
            );
        }
        files.push((format!("{}.csv", plan.name), plan.lumisections as usize, run(plan, seed)?));
    }
    files.push(("truth.csv".into(), truth.lines().count() - 1, truth));
    Ok(Made { files })
}

fn run(plan: &Plan, seed: u64) -> Result<String> {
    let mut chance = random::generator(seed, plan.name, 0);
    let mut rows: Vec<(u32, String)> = vec![];
    for i in 0..plan.lumisections {
        let ls = plan.first_ls + i;
        let mut counts = vec![0_u64; BINS];
        if !plan.empty.contains(&ls) {
            for (bin, rate) in rates(plan, ls).into_iter().enumerate() {
                let poisson = Poisson::new(rate)
                    .map_err(|error| Error::failed(format!("synth: rate {rate}: {error}")))?;
                counts[bin] = poisson.sample(&mut chance) as u64;
            }
        }
        let bins: Vec<String> = counts.iter().map(u64::to_string).collect();
        rows.push((ls, format!("{ls};[{}]\n", bins.join(","))));
    }
    rand::seq::SliceRandom::shuffle(&mut rows[..], &mut chance);
    Ok(std::iter::once("fromlumi;histo\n")
        .chain(rows.iter().map(|(_, row)| row.as_str()))
        .collect())
}

/// Expected counts per bin: a peak that moves a little and shrinks with the luminosity, above a
/// falling floor.
fn rates(plan: &Plan, ls: u32) -> Vec<f64> {
    let luminosity = plan.peak * (-f64::from(ls - plan.first_ls) / plan.lifetime).exp();
    let here = |anomaly: &&Anomaly| (anomaly.first_ls..=anomaly.last_ls).contains(&ls);
    let kind = plan.anomalies.iter().find(here).map(|anomaly| anomaly.kind);
    let shift = if let Some(Kind::Shift(shift)) = kind { shift } else { 0.0 };
    let peak = 20.0 + 1.5 * luminosity / plan.peak + shift;
    let rate = |bin: usize| {
        let x = bin as f64;
        let usual =
            luminosity * ((-0.5 * ((x - peak) / 5.5).powi(2)).exp() + 0.02 * (-x / 12.0).exp());
        match kind {
            Some(Kind::Tail(share)) if bin > 34 => usual + share * luminosity,
            Some(Kind::Drop(share)) => usual * share,
            _ => usual,
        }
    };
    (0..BINS).map(|bin| rate(bin).max(1e-9)).collect()
}

/// Writes beside the target, then renames: a reader never sees a part of a file.
fn beside(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> Result<()> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let part = path.with_file_name(format!(".{name}.{}.part", std::process::id()));
    let written = File::create(&part).map(BufWriter::new).and_then(|mut file| {
        write(&mut file)?;
        file.flush()?;
        file.get_ref().sync_all()?;
        fs::rename(&part, path)
    });
    written.map_err(|error| {
        let _ = fs::remove_file(&part);
        Error::writing(path, &error)
    })
}

/// The rows of a truth file: (file or run, first LS, last LS, kind).
pub fn read_truth(path: &Path) -> Result<Vec<(String, u32, u32, String)>> {
    const EXPECTED: &str = "file (or run),first_ls,last_ls,anomaly";
    let sheet = SideTable::open(path)?;
    if sheet.header().iter().skip(1).take(2).any(|name| name.parse::<f64>().is_ok()) {
        return Err(Error::input(format!(
            "{}: found {} as the first row; expected a header: {EXPECTED}",
            path.display(),
            sheet.header().join(",")
        )));
    }
    let mut truth = vec![];
    sheet.all(|place, fields| {
        let number = |at: usize| fields.get(at).and_then(|field| field.parse::<u32>().ok());
        match (fields.first(), number(1), number(2), fields.get(3)) {
            (Some(file), Some(first), Some(last), Some(kind)) if first <= last => {
                truth.push((file.to_string(), first, last, kind.to_string()))
            }
            _ => {
                return Err(
                    place.wrong(format!("found \"{}\"; expected {EXPECTED}", fields.join(",")))
                );
            }
        }
        Ok(())
    })?;
    Ok(truth)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_bytes() {
        assert_eq!(metsig(7, 0.2).unwrap(), metsig(7, 0.2).unwrap());
        assert_ne!(metsig(7, 0.2).unwrap(), metsig(8, 0.2).unwrap());
    }

    #[test]
    fn anomalies_are_where_the_truth_says() {
        let made = metsig(1, 1.0).unwrap();
        let truth = &made.files[3].2;
        assert!(truth.contains("bad1.csv,611,613,shift"), "{truth}");
        let mean_bin = |ls: u32| {
            let line =
                made.files[1].2.lines().find(|line| line.starts_with(&format!("{ls};"))).unwrap();
            let mut bins = vec![];
            crate::data::read::values::parse_list(
                line.split(';').nth(1).unwrap().as_bytes(),
                &mut bins,
            )
            .unwrap();
            bins.iter().enumerate().map(|(i, n)| i as f32 * n).sum::<f32>()
                / bins.iter().sum::<f32>()
        };
        assert!(mean_bin(612) > mean_bin(609) + 5.0);
    }
}
