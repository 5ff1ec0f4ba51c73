//! Physics objects of four primary datasets, and how their quantities are distributed.

use std::f64::consts::PI;

pub const DATASETS: [&str; 4] = ["ZeroBias", "SingleMuon", "EGamma", "JetHT"];

/// Objects of a dataset, how many of them a lumisection has at a usual pile-up, and what is known
/// of each.
pub struct Object {
    pub dataset: usize,
    pub name: &'static str,
    pub entries: f64,
    pub quantities: &'static [(&'static str, Spectrum)],
}

/// How a quantity is distributed.
#[derive(Clone, Copy)]
pub enum Spectrum {
    /// Falling from the lowest, with this scale: momenta, energies.
    Falling { from: f64, scale: f64 },
    /// Normal with this width, as far as the detector reaches.
    Eta { width: f64 },
    /// All around.
    Phi,
    /// Normal; the mean moves by this share of it for each further collision.
    Bell { mean: f64, width: f64, by_pile_up: f64 },
    /// Whole numbers, this many on average at a usual pile-up, of which this share goes with it.
    Count { mean: f64, by_pile_up: f64 },
    /// Just below 1.
    Share { below: f64 },
}

impl Spectrum {
    /// How far apart values usually are.
    pub fn spread(self) -> f64 {
        match self {
            Self::Falling { scale, .. } => scale,
            Self::Eta { width } | Self::Bell { width, .. } => width,
            Self::Phi => PI,
            Self::Count { mean, .. } => mean.sqrt(),
            Self::Share { below } => below,
        }
    }
}

pub const USUAL: f64 = 35.0;
pub const REACH: f64 = 2.5;
pub const CHI2: (&str, Spectrum) =
    ("chi2", Spectrum::Bell { mean: 1.1, width: 0.3, by_pile_up: 0.003 });
pub const PHI: (&str, Spectrum) = ("phi", Spectrum::Phi);
pub const OBJECTS: [Object; 6] = [
    Object {
        dataset: 0,
        name: "track",
        entries: 500.0,
        quantities: &[
            ("pt", Spectrum::Falling { from: 0.5, scale: 0.9 }),
            ("eta", Spectrum::Eta { width: 1.5 }),
            PHI,
            CHI2,
            ("hits", Spectrum::Bell { mean: 15.0, width: 3.5, by_pile_up: -0.001 }),
        ],
    },
    Object {
        dataset: 0,
        name: "vertex",
        entries: 250.0,
        quantities: &[
            ("n", Spectrum::Count { mean: 25.0, by_pile_up: 1.0 }),
            ("z", Spectrum::Bell { mean: 0.8, width: 4.2, by_pile_up: 0.0 }),
        ],
    },
    Object {
        dataset: 1,
        name: "muon",
        entries: 220.0,
        quantities: &[
            ("pt", Spectrum::Falling { from: 24.0, scale: 16.0 }),
            ("eta", Spectrum::Eta { width: 1.2 }),
            PHI,
            CHI2,
            ("n", Spectrum::Count { mean: 1.4, by_pile_up: 0.05 }),
        ],
    },
    Object {
        dataset: 2,
        name: "photon",
        entries: 220.0,
        quantities: &[
            ("pt", Spectrum::Falling { from: 30.0, scale: 20.0 }),
            ("eta", Spectrum::Eta { width: 1.3 }),
            PHI,
            ("r9", Spectrum::Share { below: 0.08 }),
            ("hadronic", Spectrum::Falling { from: 0.0, scale: 0.02 }),
        ],
    },
    Object {
        dataset: 3,
        name: "jet",
        entries: 300.0,
        quantities: &[
            ("pt", Spectrum::Falling { from: 30.0, scale: 45.0 }),
            ("eta", Spectrum::Eta { width: 1.7 }),
            PHI,
            ("n", Spectrum::Count { mean: 5.0, by_pile_up: 0.3 }),
        ],
    },
    Object {
        dataset: 3,
        name: "met",
        entries: 150.0,
        quantities: &[("pt", Spectrum::Falling { from: 0.0, scale: 32.0 }), PHI],
    },
];

pub fn column(object: &Object, quantity: &str) -> String {
    format!("{}_{}_{quantity}", DATASETS[object.dataset], object.name)
}
