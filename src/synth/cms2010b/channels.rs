//! Streams, particles, statistics and subsystems of the study.

pub const STREAMS: [&str; 3] = ["minibias", "muons", "photons"];
pub const PARTICLES: [&str; 4] = ["muons", "photons", "PF", "calo"];
pub const STATISTICS: [&str; 7] = ["mean", "std", "p1", "p25", "p50", "p75", "p99"];
pub const MUONS: usize = 0;
pub const PHOTONS: usize = 1;
pub const PF: usize = 2;
pub const CALO: usize = 3;
pub const SUBSYSTEMS: [&str; 16] = [
    "Muon", "L1tcalo", "Hlt", "Ecal", "Track", "Lumi", "Csc", "Pix", "Rpc", "L1tmu", "Strip",
    "Hcal", "Egamma", "Jetmet", "Dt", "Es",
];

/// Columns that stay 0: most events have no such particle.
pub const CONSTANT: [&str; 4] = [
    "photons_photons_pt__q5_p1",
    "minibias_muons_mass__q1_p1",
    "minibias_muons_pt__q1_p1",
    "photons_muons_mass__q1_p1",
];

/// Conditions that move everything.
pub const LATENT: usize = 12;
