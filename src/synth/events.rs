//! Made collision events of the kind of searches with three leptons: four channels (eee, eeμ, eμμ,
//! μμμ; A to D), of which an event fills one, a Z boson from two of the leptons, a W boson from the
//! third and missing transverse momentum (MET).
//!
//! Two backgrounds: jets taken for leptons (1) and pairs of bosons (2). Two signals: resonances of
//! 0.6 (3) and 1 TeV (4) that decay into WZ, so that the Z is fast, its leptons are close to each
//! other and MET is hard. A few background events are anomalous in ways of the detector: their MET
//! is far too large, or a second channel is filled with noise.

use super::{
    files::beside,
    hdf5::{CHUNK, Writer},
    normal::normal,
};
use crate::{
    error::{Error, Result},
    random,
};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Exp1};
use std::{
    f64::consts::PI,
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::Path,
};

/// Columns of the smallest file: what autoencoders are trained on, the class and the numbers of
/// leptons.
pub const FEWEST: usize = 12;
/// Columns of the widest file.
pub const MOST: usize = 4 * OF_CHANNEL.len() + OF_EVENT.len();
const CHANNELS: [&str; 4] = ["A", "B", "C", "D"];
/// Quantities of a channel: of the Z boson, the W boson, the three leptons and all together.
const OF_CHANNEL: [&str; 16] = [
    "Zmass",
    "Dr_Z",
    "Zpt",
    "Wmt",
    "Lep1_pt",
    "Lep1_eta",
    "Lep1_phi",
    "Lep2_pt",
    "Lep2_eta",
    "Lep2_phi",
    "Lep3_pt",
    "Lep3_eta",
    "Lep3_phi",
    "Sum_pt",
    "Sum_mass",
    "Dphi_Z_MET",
];
const OF_EVENT: [&str; 16] = [
    "MET_pt",
    "Dataset_ID",
    "nElectron",
    "nMuon",
    "MET_phi",
    "MET_significance",
    "nJet",
    "nBJet",
    "HT",
    "Jet1_pt",
    "Jet1_eta",
    "Jet1_phi",
    "nPV",
    "rho",
    "nTrueInt",
    "weight",
];
const Z_MASS: f64 = 91.2;

/// How events of a class are distributed; momenta and masses in GeV.
struct Class {
    share: f64,
    /// Share of events in the peak of the Z boson, and its width.
    peak: (f64, f64),
    /// Momentum of the Z boson: half the mass of what decays into it, if anything, and a scale of
    /// what comes by chance.
    z_pt: (f64, f64),
    /// MET: how many decays it is a sum of, and their scale.
    met: (usize, f64),
    /// Scale of the jets.
    jets: f64,
}

/// By `Dataset_ID`, from 1.
const CLASSES: [Class; 4] = [
    Class { share: 0.36, peak: (0.45, 5.5), z_pt: (0.0, 15.0), met: (2, 11.0), jets: 26.0 },
    Class { share: 0.62, peak: (0.92, 2.9), z_pt: (0.0, 27.0), met: (2, 19.0), jets: 18.0 },
    Class { share: 0.015, peak: (1.0, 2.7), z_pt: (260.0, 12.0), met: (4, 45.0), jets: 30.0 },
    Class { share: 0.005, peak: (1.0, 2.7), z_pt: (450.0, 12.0), met: (4, 75.0), jets: 35.0 },
];
const BACKGROUNDS: usize = 2;

/// What the detector did to an event.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Anomaly {
    /// MET is mis-measured: far too large.
    Met,
    /// A second channel is filled, with noise.
    Noise,
}

/// Shares of background events.
const ANOMALIES: [(Anomaly, f64); 2] = [(Anomaly::Met, 0.001), (Anomaly::Noise, 0.001)];

impl Anomaly {
    fn name(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::Noise => "noisy channel",
        }
    }
}

/// The files that are written.
pub const FILES: [&str; 2] = ["events.h5", "truth.csv"];

/// Writes events.h5 and truth.csv (`event,class,anomaly`, counted from 0, of events that are no
/// usual background); returns their names and rows. More `columns` are further ones: events and the
/// first columns stay the same.
pub fn write(
    folder: &Path,
    events: usize,
    columns: usize,
    seed: u64,
) -> Result<Vec<(String, usize)>> {
    if !(100..=1_000_000_000).contains(&events) {
        return Err(Error::input(format!("--events {events}: expected from 100 to 1000000000")));
    }
    if !(FEWEST..=MOST).contains(&columns) {
        return Err(Error::input(format!("--columns {columns}: expected from {FEWEST} to {MOST}")));
    }
    fs::create_dir_all(folder).map_err(|error| Error::writing(folder, error))?;
    beside(&folder.join("events.h5"), |file| write_events(file, events, columns, seed))?;
    let mut anomalous = 0;
    beside(&folder.join("truth.csv"), |file| {
        anomalous = write_truth(file, events, seed)?;
        Ok(())
    })?;
    Ok(vec![("events.h5".into(), events), ("truth.csv".into(), anomalous)])
}

fn write_events(
    file: &mut BufWriter<File>,
    events: usize,
    columns: usize,
    seed: u64,
) -> io::Result<()> {
    let places: Vec<EventColumn> = places().take(columns).collect();
    let mut writer = Writer::new(file, places.iter().map(EventColumn::name))?;
    for first in (0..events).step_by(CHUNK) {
        let mut values = vec![Vec::with_capacity(CHUNK); columns];
        let mut chance = random::generator(seed, "events", first as u64);
        for (class, anomaly) in kinds(seed, first, events) {
            let event = Event::new(class, anomaly, &mut chance);
            places
                .iter()
                .zip(&mut values)
                .for_each(|(place, values)| values.push(event.at(place) as f32));
        }
        writer.append(&values)?;
    }
    writer.finish()?;
    Ok(())
}

fn write_truth(file: &mut impl Write, events: usize, seed: u64) -> io::Result<usize> {
    let mut rows = 0;
    writeln!(file, "event,class,anomaly")?;
    for first in (0..events).step_by(CHUNK) {
        for (at, (class, anomaly)) in kinds(seed, first, events).enumerate() {
            let name =
                if class >= BACKGROUNDS { Some("signal") } else { anomaly.map(Anomaly::name) };
            if let Some(name) = name {
                writeln!(file, "{},{},{name}", first + at, class + 1)?;
                rows += 1;
            }
        }
    }
    Ok(rows)
}

/// Class and anomaly of each event of a chunk.
fn kinds(seed: u64, first: usize, events: usize) -> impl Iterator<Item = (usize, Option<Anomaly>)> {
    let mut chance = random::generator(seed, "kinds of events", first as u64);
    (first..events.min(first + CHUNK)).map(move |_| {
        let class =
            pick(&CLASSES.map(|class| class.share), chance.random()).unwrap_or(BACKGROUNDS - 1);
        let anomaly =
            pick(&ANOMALIES.map(|(_, share)| share), chance.random()).map(|at| ANOMALIES[at].0);
        (class, anomaly.filter(|_| class < BACKGROUNDS))
    })
}

/// Which share a number from 0 to 1 falls into.
fn pick(shares: &[f64], mut number: f64) -> Option<usize> {
    shares.iter().position(|share| {
        number -= share;
        number < 0.0
    })
}

/// Where a column comes from.
enum EventColumn {
    /// Channel, and quantity of it.
    Channel(usize, usize),
    Event(usize),
}

/// All columns: the smallest file's first.
fn places() -> impl Iterator<Item = EventColumn> {
    let of_channels = |quantities: std::ops::Range<usize>| {
        quantities.flat_map(|quantity| {
            (0..CHANNELS.len()).map(move |at| EventColumn::Channel(at, quantity))
        })
    };
    of_channels(0..2)
        .chain((0..OF_EVENT.len()).map(EventColumn::Event))
        .chain(of_channels(2..OF_CHANNEL.len()))
}

impl EventColumn {
    fn name(&self) -> String {
        match *self {
            Self::Channel(channel, quantity) => {
                format!("{}_{}", CHANNELS[channel], OF_CHANNEL[quantity])
            }
            Self::Event(quantity) => OF_EVENT[quantity].to_owned(),
        }
    }
}

/// An event: its quantities, and those of its channels.
struct Event {
    own: [f64; OF_EVENT.len()],
    channels: [[f64; OF_CHANNEL.len()]; CHANNELS.len()],
}

impl Event {
    /// Draws an event of a class, from 0.
    fn new(class: usize, anomaly: Option<Anomaly>, chance: &mut ChaCha8Rng) -> Self {
        let (id, class) = (class + 1, &CLASSES[class]);
        let channel = chance.random_range(0..CHANNELS.len());
        let mut channels = [[0.0; OF_CHANNEL.len()]; CHANNELS.len()];
        let mass = z_mass(class, chance);
        let z_pt =
            class.z_pt.0 * (1.0 + 0.15 * normal(chance)).abs() + class.z_pt.1 * decays(2, chance);
        let mut met = class.met.1 * decays(class.met.0, chance);
        if anomaly == Some(Anomaly::Met) {
            met += 250.0 + 150.0 * decays(1, chance);
        }
        let (z_phi, met_phi) = (angle(chance), angle(chance));
        channels[channel] = of_channel(mass, z_pt, z_phi, met, met_phi, chance);
        if anomaly == Some(Anomaly::Noise) {
            let other = (channel + chance.random_range(1..CHANNELS.len())) % CHANNELS.len();
            let (mass, pt) = (chance.random_range(1.0..400.0), 200.0 * decays(1, chance));
            channels[other] = of_channel(mass, pt, angle(chance), met, met_phi, chance);
        }
        let pile_up = (24.0 + 7.0 * normal(chance)).max(1.0);
        let jets: Vec<f64> = (0..decays(1, chance).min(8.0) as usize
            + usize::from(class.jets > 25.0))
            .map(|_| 25.0 + class.jets * decays(1, chance))
            .collect();
        let (ht, hardest) = (jets.iter().sum::<f64>(), jets.iter().copied().fold(0.0, f64::max));
        let extra = usize::from(chance.random_bool(0.03));
        let tagged = jets.iter().filter(|_| chance.random_bool(0.08)).count();
        let of_jet = |value: f64| if jets.is_empty() { 0.0 } else { value };
        let own = [
            met,
            id as f64,
            (3 - channel) as f64,
            (channel + extra) as f64,
            met_phi,
            met / (9.0 + 0.02 * ht + 0.25 * pile_up),
            jets.len() as f64,
            tagged as f64,
            ht,
            hardest,
            of_jet(1.6 * normal(chance)),
            of_jet(angle(chance)),
            (0.7 * pile_up).round(),
            (0.55 * pile_up + 1.5 * normal(chance)).max(0.0),
            pile_up.round(),
            0.8 + 0.1 * decays(2, chance),
        ];
        Self { own, channels }
    }

    fn at(&self, place: &EventColumn) -> f64 {
        match *place {
            EventColumn::Channel(channel, quantity) => self.channels[channel][quantity],
            EventColumn::Event(quantity) => self.own[quantity],
        }
    }
}

/// In the peak, with a tail where a photon is radiated, or anywhere above the threshold of the
/// leptons.
fn z_mass(class: &Class, chance: &mut ChaCha8Rng) -> f64 {
    if !chance.random_bool(class.peak.0) {
        return 15.0 + 32.0 * decays(2, chance);
    }
    let radiated = if chance.random_bool(0.12) { 9.0 * decays(1, chance) } else { 0.0 };
    (Z_MASS + class.peak.1 * normal(chance) - radiated).max(10.0)
}

/// The quantities of a channel, in the order of [`OF_CHANNEL`].
fn of_channel(
    mass: f64,
    z_pt: f64,
    z_phi: f64,
    met: f64,
    met_phi: f64,
    chance: &mut ChaCha8Rng,
) -> [f64; OF_CHANNEL.len()] {
    // The faster the Z boson, the closer its leptons.
    let opening = 2.0 * (mass / z_pt.max(1e-3)).atan();
    let dr = (opening * (1.0 + 0.12 * normal(chance))).abs() + 0.1 * decays(1, chance);
    let eta = 1.1 * normal(chance);
    let share = chance.random_range(0.2..0.8);
    let energy = (z_pt.powi(2) + mass.powi(2)).sqrt();
    let lepton = |share: f64, side: f64| {
        (share * energy, (eta + side * 0.3 * dr).clamp(-2.5, 2.5), turned(z_phi + side * 0.4 * dr))
    };
    let (mut first, mut second) = (lepton(share, 1.0), lepton(1.0 - share, -1.0));
    if first.0 < second.0 {
        std::mem::swap(&mut first, &mut second);
    }
    let third = (
        10.0 + 0.5 * met + 14.0 * decays(1, chance),
        (1.1 * normal(chance)).clamp(-2.5, 2.5),
        angle(chance),
    );
    let w_mass = (2.0 * third.0 * met * (1.0 - (third.2 - met_phi).cos())).sqrt();
    let sum = first.0 + second.0 + third.0;
    let whole =
        (mass.powi(2) + w_mass.powi(2) + 2.0 * z_pt * third.0 * (1.0 - (third.2 - z_phi).cos()))
            .sqrt();
    [
        mass,
        dr,
        z_pt,
        w_mass,
        first.0,
        first.1,
        first.2,
        second.0,
        second.1,
        second.2,
        third.0,
        third.1,
        third.2,
        sum,
        whole,
        turned(z_phi - met_phi).abs(),
    ]
}

/// A sum of exponentially distributed numbers, each 1 on average.
fn decays(count: usize, chance: &mut ChaCha8Rng) -> f64 {
    (0..count).map(|_| -> f64 { Exp1.sample(chance) }).sum()
}

fn angle(chance: &mut ChaCha8Rng) -> f64 {
    chance.random_range(-PI..PI)
}

/// The same angle from −π to π.
fn turned(angle: f64) -> f64 {
    angle - 2.0 * PI * (angle / (2.0 * PI)).round()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{
        read::{ReadOptions, read_file},
        table::Table,
    };

    fn made(events: usize, columns: usize, seed: u64) -> (tempfile::TempDir, Table) {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), events, columns, seed).unwrap();
        let table = read_file(&folder.path().join("events.h5"), &ReadOptions::default()).unwrap();
        (folder, table)
    }

    fn column(table: &Table, name: &str) -> Vec<f32> {
        let at =
            table.features.as_ref().unwrap().iter().position(|feature| feature == name).unwrap();
        (0..table.rows.len()).map(|row| table.row(row)[at]).collect()
    }

    /// (event, class, anomaly)
    fn truth(folder: &Path) -> Vec<(usize, f32, String)> {
        let text = fs::read_to_string(folder.join("truth.csv")).unwrap();
        let row = |line: &str| {
            let fields: Vec<&str> = line.split(',').collect();
            (fields[0].parse().unwrap(), fields[1].parse().unwrap(), fields[2].to_owned())
        };
        text.lines().skip(1).map(row).collect()
    }

    fn median(mut values: Vec<f32>) -> f32 {
        values.sort_by(f32::total_cmp);
        values[values.len() / 2]
    }

    #[test]
    fn the_same_seed_makes_the_same_bytes_and_more_columns_the_same_events() {
        let bytes = |folder: &Path| {
            ["events.h5", "truth.csv"].map(|name| fs::read(folder.join(name)).unwrap())
        };
        let (one, table) = made(20_000, 12, 7);
        let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let again = alone.install(|| made(20_000, 12, 7));
        assert!(bytes(one.path()) == bytes(again.0.path()));
        assert!(
            bytes(one.path())
                .iter()
                .zip(bytes(made(20_000, 12, 8).0.path()))
                .all(|(one, other)| *one != other)
        );
        let (wide, all) = made(20_000, MOST, 7);
        assert_eq!(all.features.as_ref().unwrap().len(), 80);
        for name in table.features.as_ref().unwrap().iter() {
            assert!(column(&table, name) == column(&all, name), "{name}");
        }
        assert!(bytes(one.path())[1] == bytes(wide.path())[1]);
        assert!(all.values.iter().all(|value| value.is_finite()));
    }

    #[test]
    fn one_channel_is_filled_unless_the_truth_says_noise() {
        let (folder, table) = made(40_000, 12, 1);
        let truth = truth(folder.path());
        let noisy: Vec<usize> =
            truth.iter().filter(|row| row.2 == "noisy channel").map(|row| row.0).collect();
        assert!((10..100).contains(&noisy.len()), "{}", noisy.len());
        for quantity in ["Zmass", "Dr_Z"] {
            let channels = CHANNELS.map(|channel| column(&table, &format!("{channel}_{quantity}")));
            for event in 0..40_000 {
                let filled = channels.iter().filter(|channel| channel[event] > 0.0).count();
                assert_eq!(filled, if noisy.contains(&event) { 2 } else { 1 }, "{event}");
            }
        }
    }

    #[test]
    fn classes_are_what_their_names_say() {
        let (folder, table) = made(200_000, 12, 2);
        let (ids, met) = (column(&table, "Dataset_ID"), column(&table, "MET_pt"));
        let of = |id: f32, values: &[f32]| -> Vec<f32> {
            ids.iter().zip(values).filter(|(i, _)| **i == id).map(|(_, value)| *value).collect()
        };
        let filled = |quantity: &str| -> Vec<f32> {
            let channels = CHANNELS.map(|channel| column(&table, &format!("{channel}_{quantity}")));
            (0..ids.len())
                .map(|event| channels.iter().map(|channel| channel[event]).fold(0.0, f32::max))
                .collect()
        };
        let (mass, dr) = (filled("Zmass"), filled("Dr_Z"));
        let off_peak = |id: f32| {
            let mass = of(id, &mass);
            mass.iter().filter(|mass| (**mass - 91.2).abs() > 15.0).count() as f64
                / mass.len() as f64
        };
        for (id, class) in (1_u8..).zip(&CLASSES).map(|(id, class)| (f32::from(id), class)) {
            let share = of(id, &met).len() as f64 / ids.len() as f64;
            assert!((share / class.share - 1.0).abs() < 0.15, "{id}: {share}");
        }
        assert!(off_peak(1.0) > 3.0 * off_peak(2.0) && off_peak(2.0) > 2.0 * off_peak(3.0));
        assert!(median(of(1.0, &met)) < 0.8 * median(of(2.0, &met)));
        for signal in [3.0, 4.0] {
            assert!(median(of(signal, &met)) > 3.0 * median(of(2.0, &met)));
            assert!(median(of(signal, &dr)) < 0.5 * median(of(2.0, &dr)));
        }
        let truth = truth(folder.path());
        let signals = truth.iter().filter(|row| row.2 == "signal").count();
        assert_eq!(signals, ids.iter().filter(|id| **id > 2.0).count());
        assert!(
            truth.iter().all(|row| ids[row.0] == row.1 && (row.2 == "signal") == (row.1 > 2.0))
        );
        assert!(truth.iter().filter(|row| row.2 == "met").all(|row| met[row.0] > 250.0));
    }

    #[test]
    fn sizes_out_of_range_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        for (events, columns) in [(99, 12), (2_000_000_000, 12), (100, 11), (100, 81)] {
            assert_eq!(write(folder.path(), events, columns, 1).unwrap_err().exit_code(), 2);
        }
        assert!(fs::read_dir(folder.path()).unwrap().next().is_none());
    }
}
