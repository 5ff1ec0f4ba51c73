//! METSig-like runs of the ML-INFN notebook's kind.

use crate::{
    error::{Error, Result},
    random,
};
use rand_distr::{Distribution, Poisson};
use std::fmt::Write as _;

/// The files of METSig-like runs.
pub const METSIG: [&str; 4] = ["good.csv", "bad1.csv", "bad2.csv", "truth.csv"];
const BINS: usize = 53;

/// An anomaly put into a run.
#[derive(Clone, Copy, Debug, PartialEq)]
struct PeakAnomaly {
    first_ls: u32,
    last_ls: u32,
    kind: PeakChange,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum PeakChange {
    /// The peak moves by so many bins.
    Shift(f64),
    /// The high end fills up, by a share of the peak.
    Tail(f64),
    /// A share of the events remains.
    Drop(f64),
}

impl PeakChange {
    fn name(self) -> &'static str {
        match self {
            Self::Shift(_) => "shift",
            Self::Tail(_) => "tail",
            Self::Drop(_) => "drop",
        }
    }
}

struct MetsigRun {
    name: &'static str,
    first_ls: u32,
    empty: std::ops::Range<u32>,
    lumisections: u32,
    peak: f64,
    lifetime: f64,
    anomalies: Vec<PeakAnomaly>,
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
    let anomaly = |first: u32, length: u32, kind: PeakChange| PeakAnomaly {
        first_ls: scaled(first),
        last_ls: scaled(first) + length - 1,
        kind,
    };
    let runs = [
        MetsigRun {
            name: "good",
            first_ls: 1,
            empty: 1..18,
            lumisections: scaled(1520),
            peak: 520.0,
            lifetime: 1400.0 * size,
            anomalies: vec![],
        },
        MetsigRun {
            name: "bad1",
            first_ls: 1,
            empty: 1..6,
            lumisections: scaled(980),
            peak: 480.0,
            lifetime: 1100.0 * size,
            anomalies: vec![
                anomaly(301, 4, PeakChange::Tail(0.35)),
                anomaly(611, 3, PeakChange::Shift(7.0)),
            ],
        },
        MetsigRun {
            name: "bad2",
            first_ls: 24,
            empty: 0..0,
            lumisections: scaled(1210),
            peak: 510.0,
            lifetime: 1600.0 * size,
            anomalies: vec![
                anomaly(174, 2, PeakChange::Drop(0.25)),
                anomaly(724, 12, PeakChange::Shift(4.0)),
                anomaly(1124, 3, PeakChange::Tail(0.2)),
            ],
        },
    ];
    let mut truth = String::from("file,first_ls,last_ls,anomaly\n");
    let mut files = vec![];
    for run in &runs {
        for anomaly in &run.anomalies {
            let _ = writeln!(
                truth,
                "{}.csv,{},{},{}",
                run.name,
                anomaly.first_ls,
                anomaly.last_ls,
                anomaly.kind.name()
            );
        }
        files.push((format!("{}.csv", run.name), run.lumisections as usize, rows(run, seed)?));
    }
    files.push(("truth.csv".into(), truth.lines().count() - 1, truth));
    Ok(Made { files })
}

fn rows(run: &MetsigRun, seed: u64) -> Result<String> {
    let mut chance = random::generator(seed, run.name, 0);
    let mut rows: Vec<(u32, String)> = vec![];
    for i in 0..run.lumisections {
        let ls = run.first_ls + i;
        let mut counts = vec![0_u64; BINS];
        if !run.empty.contains(&ls) {
            for (bin, rate) in rates(run, ls).into_iter().enumerate() {
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
fn rates(run: &MetsigRun, ls: u32) -> Vec<f64> {
    let luminosity = run.peak * (-f64::from(ls - run.first_ls) / run.lifetime).exp();
    let here = |anomaly: &&PeakAnomaly| (anomaly.first_ls..=anomaly.last_ls).contains(&ls);
    let kind = run.anomalies.iter().find(here).map(|anomaly| anomaly.kind);
    let shift = if let Some(PeakChange::Shift(shift)) = kind { shift } else { 0.0 };
    let peak = 20.0 + 1.5 * luminosity / run.peak + shift;
    let rate = |bin: usize| {
        let x = bin as f64;
        let usual =
            luminosity * ((-0.5 * ((x - peak) / 5.5).powi(2)).exp() + 0.02 * (-x / 12.0).exp());
        match kind {
            Some(PeakChange::Tail(share)) if bin > 34 => usual + share * luminosity,
            Some(PeakChange::Drop(share)) => usual * share,
            _ => usual,
        }
    };
    (0..BINS).map(|bin| rate(bin).max(1e-9)).collect()
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
