//! Quantities of particles, and the columns that their statistics have.

use super::{
    channels::{PARTICLES, PF, PHOTONS, STATISTICS, STREAMS},
    distribution::Form,
};
use std::f64::consts::PI;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Quantity {
    Eta,
    Phi,
    Pt,
    Fx,
    Fy,
    Fz,
    Mass,
    Px,
    Py,
    Pz,
}

use Quantity::{Eta, Fx, Fy, Fz, Mass, Phi, Pt, Px, Py, Pz};

impl Quantity {
    pub fn name(self) -> &'static str {
        match self {
            Eta => "eta",
            Phi => "phi",
            Pt => "pt",
            Fx => "fX",
            Fy => "fY",
            Fz => "fZ",
            Mass => "mass",
            Px => "Px",
            Py => "Py",
            Pz => "Pz",
        }
    }

    pub fn form(self) -> Form {
        match self {
            Eta => Form::Broad,
            Phi => Form::Flat,
            Pt | Mass => Form::Positive,
            Fx | Fy | Fz => Form::Peak,
            Px | Py | Pz => Form::Heavy,
        }
    }
}

pub fn quantities(particle: usize) -> &'static [Quantity] {
    match particle {
        PHOTONS => &[Eta, Phi, Pt, Fx, Fy, Fz],
        PF => &[Eta, Phi, Pt],
        _ => &[Eta, Phi, Pt, Fx, Fy, Fz, Mass],
    }
}

/// Location and width of a distribution in usual conditions; `q` is 0 for the sums over all
/// particles.
pub fn usual(particle: usize, quantity: Quantity, q: usize) -> (f64, f64) {
    const PT: [[f64; 5]; 4] = [
        [4.0, 5.0, 6.5, 9.0, 15.0],
        [1.5, 2.4, 4.0, 8.0, 21.0],
        [0.4, 0.6, 0.9, 1.6, 4.2],
        [0.8, 1.2, 2.0, 4.0, 14.0],
    ];
    const MASS: [[f64; 5]; 4] =
        [[0.3, 0.4, 0.6, 0.9, 1.6], [0.0; 5], [0.0; 5], [0.1, 0.2, 0.4, 0.9, 3.0]];
    const ETA: [f64; 4] = [2.4, 3.0, 5.0, 5.0];
    let rank = q.saturating_sub(1);
    match quantity {
        Eta => (0.0, ETA[particle] * (1.0 - 0.04 * rank as f64)),
        Phi => (0.0, PI),
        Pt => (0.6 * PT[particle][rank], 0.5 * PT[particle][rank]),
        Mass => (0.4 * MASS[particle][rank], 0.6 * MASS[particle][rank]),
        Fx => (0.09, [0.03, 1.2, 0.1, 0.8][particle]),
        Fy => (0.02, [0.03, 1.2, 0.1, 0.8][particle]),
        Fz => (0.4, [5.0, 9.0, 5.0, 7.0][particle]),
        Px | Py => (0.0, 3.0 * PT[particle][3]),
        Pz => (0.0, 9.0 * PT[particle][3]),
    }
}

/// All column names, sorted.
pub fn names() -> Vec<String> {
    let mut names = vec!["_luminosityBlock".to_owned(), "_run".to_owned()];
    for stream in STREAMS {
        names.push(format!("_instantLumi_{stream}"));
        names.push(format!("{stream}_nEvents"));
        names.push(format!("{stream}_nonZeroWeights"));
        for statistic in STATISTICS {
            names.push(format!("{stream}_instantLumi__{statistic}"));
            for (p, particle) in PARTICLES.iter().enumerate() {
                for quantity in quantities(p) {
                    names.extend((1..=5).map(|q| {
                        format!("{stream}_{particle}_{}__q{q}_{statistic}", quantity.name())
                    }));
                }
                names.extend(
                    [Px, Py, Pz]
                        .map(|sum| format!("{stream}_{particle}_{}_{statistic}", sum.name())),
                );
            }
        }
    }
    names.sort_unstable();
    names
}
