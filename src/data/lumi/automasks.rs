//! Masked parts of the detector over time. A known dead part is not an anomaly.
//!
//! A table (CSV or Parquet) has the columns `run`, `ls` or `time`, `layer`, and either `x_first`,
//! `x_last`, `y_first`, `y_last` (bins of the layer's map in the file) or `chip`, which a second
//! table maps to those. All rows of one LS together are the complete mask of that LS; a row with a
//! blank layer means that nothing was masked.

use crate::{
    data::{
        areas::{Area, Frame},
        paths::expand,
        side_table::{Place, SideTable},
    },
    error::{Error, Result, listed, suggestion},
};
use regex::Regex;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::LazyLock,
};

const RANGES: [&str; 4] = ["x_first", "x_last", "y_first", "y_last"];
const TABLE: &str = "run, ls or time, layer, and x_first, x_last, y_first, y_last or chip";
const CHIPS: &str = "chip, layer, x_first, x_last, y_first, y_last";

/// Masked areas by run, LS and layer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Automasks {
    /// Layers in the tables that are not scored.
    pub others: BTreeSet<String>,
    /// Runs with entries by time whose LSs have unknown start times; their entries are ignored.
    pub untimed: BTreeSet<u32>,
    /// Entries by run, in the order of time.
    runs: BTreeMap<u32, Vec<Masked>>,
}

/// The LS of an entry and its masked areas, layer by layer.
type Masked = (u32, Vec<Vec<Area>>);

/// The time from which an entry applies: LS, and time within it (µs; 0 if only the LS is known).
type Moment = (u32, i64);

/// An entry under construction.
struct Entry {
    /// Whether a row states that nothing was masked.
    nothing: bool,
    /// Whether a row masks something in any layer.
    something: bool,
    areas: Vec<Vec<Area>>,
}

impl Automasks {
    /// Reads tables (paths or globs) and the table of chips for layers with these frames; areas are
    /// converted to bins of the scored maps. `starts` returns the LSs of a run in order with their
    /// start times in seconds since 1970; it is called only if a table has times. An entry with a
    /// time applies to the LS at that time; of several times in one LS, the last applies.
    pub fn read(
        paths: &[PathBuf],
        chips: Option<&Path>,
        frames: &[Frame],
        starts: &dyn Fn(u32) -> Option<Vec<(u32, f64)>>,
    ) -> Result<Self> {
        let chips =
            chips.map(|path| Ok::<_, Error>((path, read_chips(path, frames)?))).transpose()?;
        let mut reading = Reading {
            frames,
            chips,
            starts,
            known: BTreeMap::new(),
            entries: BTreeMap::new(),
            masks: Self::default(),
            used: false,
        };
        let paths = expand(paths)?;
        paths.iter().try_for_each(|path| reading.table(path))?;
        let Reading { entries, mut masks, used, .. } = reading;
        if let (false, Some(found)) = (used, masks.others.first()) {
            let names = || frames.iter().map(|frame| frame.layer.as_str());
            let (near, others) =
                (suggestion(found, names()), listed(masks.others.iter().map(String::as_str)));
            let files: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
            let files = listed(files.iter().map(String::as_str));
            return Err(Error::input(format!(
                "{files}: the layers {others} are not among those that are scored: {}{near}",
                listed(names())
            )));
        }
        for ((run, (ls, _)), entry) in entries {
            masks.runs.entry(run).or_default().push((ls, entry.areas));
        }
        Ok(masks)
    }

    /// The masked areas of a layer (by its position): from the entry of the LS, else of the
    /// previous LS of the run that has one, else of the next. `None` if the run has no entry, which
    /// differs from an entry that masks nothing.
    pub fn masked(&self, run: u32, ls: u32, layer: usize) -> Option<&[Area]> {
        let entries = self.runs.get(&run)?;
        let after = entries.partition_point(|(entry, _)| *entry <= ls);
        entries.get(after.saturating_sub(1))?.1.get(layer).map(Vec::as_slice)
    }

    /// The runs that have entries.
    pub fn runs(&self) -> impl Iterator<Item = u32> {
        self.runs.keys().copied()
    }
}

/// By chip: its layers, and its areas there in bins of the file.
type Chips = BTreeMap<String, Vec<(String, Area)>>;

/// State while tables are read.
struct Reading<'a> {
    frames: &'a [Frame],
    chips: Option<(&'a Path, Chips)>,
    starts: &'a dyn Fn(u32) -> Option<Vec<(u32, f64)>>,
    /// Results of `starts`.
    known: BTreeMap<u32, Option<Vec<(u32, f64)>>>,
    entries: BTreeMap<(u32, Moment), Entry>,
    masks: Automasks,
    /// Whether a layer with a frame was named.
    used: bool,
}

impl Reading<'_> {
    fn table(&mut self, path: &Path) -> Result<()> {
        let sheet = SideTable::open(path)?;
        let (ls, time) = (sheet.find("ls"), sheet.find("time"));
        if time.is_none() {
            sheet.require("ls", TABLE)?;
        }
        let what: Vec<usize> = match sheet.find("chip") {
            Some(chip) if RANGES.iter().any(|name| sheet.find(name).is_none()) => {
                if self.chips.is_none() {
                    let reason = "names chips; a second table is needed for their positions";
                    return Err(Error::input(format!(
                        "{}: {reason}, with the columns {CHIPS}",
                        path.display()
                    )));
                }
                vec![chip]
            }
            _ => RANGES.iter().map(|name| sheet.require(name, TABLE)).collect::<Result<_>>()?,
        };
        let (run, layer) = (sheet.require("run", TABLE)?, sheet.require("layer", TABLE)?);
        let columns: Vec<Option<usize>> = [Some(run), ls, time, Some(layer)]
            .into_iter()
            .chain(what.into_iter().map(Some))
            .collect();
        sheet.rows(&columns, |place, fields| {
            let &[run, ls, time, layer, ref what @ ..] = fields else { return Ok(()) };
            let run = whole(run).ok_or_else(|| {
                place.wrong(format!("column run: found \"{run}\"; expected a run number"))
            })?;
            let Some(moment) = self.moment(&place, run, ls, time)? else { return Ok(()) };
            self.row(&place, (run, moment), layer, what)
        })
    }

    /// The time from which a row applies; `None` if it has a time and the start times of the run's
    /// LSs are unknown.
    fn moment(&mut self, place: &Place, run: u32, ls: &str, time: &str) -> Result<Option<Moment>> {
        if !ls.is_empty() {
            let ls = whole(ls).ok_or_else(|| {
                place.wrong(format!("column ls: found \"{ls}\"; expected a lumisection number"))
            })?;
            return Ok(Some((ls, 0)));
        }
        if time.is_empty() {
            return Err(place.wrong("neither ls nor time is given; expected one of them"));
        }
        let Some(at) = seconds(time) else {
            let expected = "seconds since 1970 or a time like 2023-05-17T08:30:00Z";
            return Err(place.wrong(format!("column time: found \"{time}\"; expected {expected}")));
        };
        let starts = self.known.entry(run).or_insert_with(|| (self.starts)(run));
        let Some(starts) = starts.as_ref().filter(|starts| !starts.is_empty()) else {
            self.masks.untimed.insert(run);
            return Ok(None);
        };
        // Times before the first LS sort before all LSs.
        let begun = starts.partition_point(|(_, start)| *start <= at);
        Ok(Some((begun.checked_sub(1).map_or(0, |last| starts[last].0), (at * 1e6) as i64)))
    }

    /// Adds the area that a row masks: a chip, or the ends of ranges.
    fn row(&mut self, place: &Place, at: (u32, Moment), layer: &str, what: &[&str]) -> Result<()> {
        let none =
            || Entry { nothing: false, something: false, areas: vec![vec![]; self.frames.len()] };
        let entry = self.entries.entry(at).or_insert_with(none);
        entry.nothing |= layer.is_empty();
        entry.something |= !layer.is_empty();
        if entry.nothing && entry.something {
            let (run, (ls, _)) = at;
            return Err(
                place.wrong(format!("run {run} LS {ls}: one row states that nothing was masked (its layer is blank), another that something was"))
            );
        }
        if layer.is_empty() {
            return Ok(());
        }
        let Some(position) = self.frames.iter().position(|frame| frame.layer == layer) else {
            self.masks.others.insert(layer.to_owned());
            return Ok(());
        };
        self.used = true;
        let frame = &self.frames[position];
        let areas = &mut entry.areas[position];
        match (&self.chips, what) {
            (Some((path, chips)), [chip]) => {
                let Some(known) = chips.get(*chip) else {
                    let near = suggestion(chip, chips.keys().map(String::as_str));
                    return Err(place.wrong(format!(
                        "column chip: found \"{chip}\", which {} does not have{near}",
                        path.display()
                    )));
                };
                let here: Vec<Area> = known
                    .iter()
                    .filter(|(other, _)| other == layer)
                    .map(|(_, area)| *area)
                    .collect();
                if here.is_empty() {
                    let there = listed(known.iter().map(|(layer, _)| layer.as_str()));
                    return Err(place.wrong(format!("column layer: found \"{layer}\" for the chip {chip}, which {} has in {there}", path.display())));
                }
                areas.extend(here.into_iter().filter_map(|area| frame.area(area)));
            }
            (_, ends) => areas.extend(frame.area(area(place, ends, Some(frame))?)),
        }
        Ok(())
    }
}

/// Reads the table of chips.
fn read_chips(path: &Path, frames: &[Frame]) -> Result<Chips> {
    let sheet = SideTable::open(path)?;
    let columns: Vec<Option<usize>> = ["chip", "layer"]
        .iter()
        .chain(&RANGES)
        .map(|name| sheet.require(name, CHIPS).map(Some))
        .collect::<Result<_>>()?;
    let mut chips = Chips::new();
    sheet.rows(&columns, |place, fields| {
        let [chip, layer, ends @ ..] = fields else { return Ok(()) };
        if let Some((name, _)) =
            [("chip", chip), ("layer", layer)].into_iter().find(|(_, found)| found.is_empty())
        {
            return Err(place.wrong(format!("column {name} is blank; expected a name")));
        }
        let area = area(&place, ends, frames.iter().find(|frame| frame.layer == *layer))?;
        chips.entry((*chip).to_owned()).or_default().push(((*layer).to_owned(), area));
        Ok(())
    })?;
    Ok(chips)
}

/// An area from the ends of its ranges, which must be in the layer's map if that is known.
fn area(place: &Place, ends: &[&str], frame: Option<&Frame>) -> Result<Area> {
    let mut bins = [0; 4];
    for ((bin, name), found) in bins.iter_mut().zip(RANGES).zip(ends) {
        *bin = whole(found).ok_or_else(|| {
            place.wrong(format!("column {name}: found \"{found}\"; expected a bin, from 0"))
        })? as usize;
    }
    let [x_first, x_last, y_first, y_last] = bins;
    for (axis, first, last, most) in [
        ("x", x_first, x_last, frame.map(|frame| frame.filed.x)),
        ("y", y_first, y_last, frame.map(|frame| frame.filed.y)),
    ] {
        if first > last {
            return Err(place.wrong(format!(
                "{axis}_first is {first} and {axis}_last {last}; expected the lower first"
            )));
        }
        if let (Some(most), Some(frame)) = (most.filter(|most| last >= *most), frame) {
            let layer = &frame.layer;
            return Err(place.wrong(format!("column {axis}_last: found {last}; the maps of {layer} have {most} bins in {axis}, counted from 0")));
        }
    }
    Ok(Area { x: (x_first, x_last), y: (y_first, y_last) })
}

/// Parses 17, or 17.0 as pandas writes it after a join.
fn whole(text: &str) -> Option<u32> {
    text.parse().ok().or_else(|| text.strip_suffix(".0")?.parse().ok())
}

/// Parses a time as seconds since 1970: a number, or ISO 8601 (`2023-05-17T08:30:00Z`; a blank for
/// the T, fractions of seconds, and an offset such as +02:00 are allowed; UTC without an offset).
pub fn seconds(text: &str) -> Option<f64> {
    static PATTERN: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(r"^(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d)(?::(\d\d(?:\.\d+)?))?\s*(?:Z|UTC|([+-])(\d\d):?(\d\d))?$").ok()
    });
    // The year 5138; larger numbers are in other units.
    const LATEST: f64 = 1e11;
    if let Ok(seconds) = text.parse::<f64>() {
        return Some(seconds).filter(|seconds| (0.0..LATEST).contains(seconds));
    }
    let found = PATTERN.as_ref()?.captures(text)?;
    let number =
        |at: usize| found.get(at).map_or(Some(0), |part| part.as_str().parse::<i64>().ok());
    let (year, month, day, hour, minute) =
        (number(1)?, number(2)?, number(3)?, number(4)?, number(5)?);
    let second: f64 = found.get(6).map_or(Some(0.0), |part| part.as_str().parse().ok())?;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let lengths = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let length = *lengths.get(usize::try_from(month - 1).ok()?)?;
    if !(1..=length).contains(&day) || hour > 23 || minute > 59 || second >= 61.0 {
        return None;
    }
    let leap_days = |years: i64| years / 4 - years / 100 + years / 400;
    let years = (year - 1970) * 365 + leap_days(year - 1) - leap_days(1969);
    let days = years + lengths.iter().take(month as usize - 1).sum::<i64>() + day - 1;
    let offset = if found.get(7).is_some_and(|sign| sign.as_str() == "-") { -1 } else { 1 }
        * (number(8)? * 60 + number(9)?);
    Some((days * 86_400 + hour * 3600 + (minute - offset) * 60) as f64 + second)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::shape::Shape;
    use proptest::prelude::*;

    fn frames() -> Vec<Frame> {
        ["PXLayer_1", "PXLayer_2"]
            .map(|layer| Frame {
                layer: layer.into(),
                filed: Shape { y: 26, x: 72 },
                cut: (8, 2),
                rebin: (1, 1),
            })
            .into_iter()
            .collect()
    }

    fn read_with(
        table: &str,
        chips: Option<&str>,
        starts: &dyn Fn(u32) -> Option<Vec<(u32, f64)>>,
    ) -> Result<Automasks> {
        let folder = tempfile::tempdir().unwrap();
        let (file, chip_file) = (folder.path().join("masks.csv"), folder.path().join("chips.csv"));
        std::fs::write(&file, table).unwrap();
        std::fs::write(&chip_file, chips.unwrap_or_default()).unwrap();
        Automasks::read(&[file], chips.map(|_| chip_file.as_path()), &frames(), starts)
    }

    fn read(table: &str, chips: Option<&str>) -> Result<Automasks> {
        read_with(table, chips, &|_| None)
    }

    fn area(x: (usize, usize), y: (usize, usize)) -> Area {
        Area { x, y }
    }

    #[test]
    fn all_rows_of_an_ls_are_what_was_masked_then_and_hold_until_the_next() {
        let table = "run,ls,layer,x_first,x_last,y_first,y_last\n\
                     7,10,PXLayer_1,0,7,0,1\n7,20,,,,,\n7,10,PXLayer_1,40,47,12,14\n7.0,10,PXLayer_2,33,35,0,0\n7,30,PXDisk_1,1,2,3,4\n";
        let masks = read(table, None).unwrap();
        // The second area is shifted by the cut, the one in the other layer is entirely inside it.
        let first = [area((0, 7), (0, 1)), area((32, 39), (12, 12))];
        for ls in [1, 9, 10, 19] {
            assert_eq!(
                (masks.masked(7, ls, 0), masks.masked(7, ls, 1)),
                (Some(first.as_slice()), Some([].as_slice())),
                "{ls}"
            );
        }
        assert_eq!(
            (masks.masked(7, 20, 0), masks.masked(7, 99, 0)),
            (Some([].as_slice()), Some([].as_slice()))
        );
        assert_eq!((masks.masked(8, 10, 0), masks.masked(7, 10, 2)), (None, None));
        assert_eq!(masks.others.iter().collect::<Vec<_>>(), ["PXDisk_1"]);
        assert_eq!(masks.runs().collect::<Vec<_>>(), [7]);
    }

    const CHIP_TABLE: &str = "chip,layer,x_first,x_last,y_first,y_last\nBmI_LYR1_ROC0,PXLayer_1,0,7,0,0\nBmI_LYR1_ROC1,PXLayer_1,8,15,0,0\n\
                              BmI_LYR1_ROC1,PXLayer_1,8,15,3,3\nBmI_LYR2_ROC0,PXLayer_2,0,0,0,0\nD1_ROC0,PXDisk_1,0,999,0,0\n";

    #[test]
    fn chips_are_all_their_areas() {
        let masks = read(
            "run,ls,layer,chip\n7,1,PXLayer_1,BmI_LYR1_ROC1\n7,1,PXLayer_2,BmI_LYR2_ROC0\n",
            Some(CHIP_TABLE),
        )
        .unwrap();
        assert_eq!(
            masks.masked(7, 1, 0),
            Some([area((8, 15), (0, 0)), area((8, 15), (2 + 1, 3))].as_slice())
        );
        assert_eq!(masks.masked(7, 1, 1), Some([area((0, 0), (0, 0))].as_slice()));
    }

    #[test]
    fn a_time_belongs_to_the_ls_that_was_running_and_the_last_of_an_ls_holds() {
        let table = "run,time,layer,x_first,x_last,y_first,y_last\n\
                     7,1970-01-01 00:01:45,PXLayer_1,2,2,0,0\n7,130.0,,,,,\n7,146.6,PXLayer_1,3,3,0,0\n7,110,PXLayer_1,1,1,0,0\n\
                     7,5,PXLayer_1,0,0,0,0\n8,5,PXLayer_1,0,0,0,0\n";
        let masks = read_with(table, None, &|run| {
            (run == 7).then(|| (0..3).map(|ls| (ls + 1, 100.0 + 23.3 * f64::from(ls))).collect())
        })
        .unwrap();
        let masked =
            |ls| masks.masked(7, ls, 0).unwrap().iter().map(|area| area.x.0).collect::<Vec<_>>();
        assert_eq!([0, 1, 2, 3, 4].map(masked), [vec![0], vec![1], vec![], vec![3], vec![3]]);
        assert_eq!(
            (masks.masked(8, 1, 0), masks.untimed.iter().copied().collect::<Vec<_>>()),
            (None, vec![8])
        );
    }

    #[test]
    fn what_is_wrong_is_told_with_line_column_and_what_was_expected() {
        let by_bins = |row: &str| {
            format!("run,ls,layer,x_first,x_last,y_first,y_last\n7,1,PXLayer_1,0,0,0,0\n{row}\n")
        };
        let by_chip = |row: &str| format!("run,ls,layer,chip\n{row}\n");
        for (table, parts) in [
            (by_bins("7,1,PXLayer_1,5,4,0,0"), ["masks.csv:3: x_first is 5 and x_last 4", ""]),
            (
                by_bins("7,1,PXLayer_1,5,72,0,0"),
                [":3: column x_last: found 72; the maps of PXLayer_1 have 72 bins in x", ""],
            ),
            (by_bins("7,1,PXLayer_1,5,6,0,26"), [":3: column y_last: found 26", "26 bins in y"]),
            (
                by_bins("7,1,PXLayer_1,5,6,-1,2"),
                [":3: column y_first: found \"-1\"; expected a bin", ""],
            ),
            (by_bins("7,1,PXLayer_1,5,6,1,"), [":3: column y_last: found \"\"", ""]),
            (by_bins("x,1,PXLayer_1,5,6,1,1"), [":3: column run: found \"x\"", ""]),
            (by_bins("7,1.5,PXLayer_1,5,6,1,1"), [":3: column ls: found \"1.5\"", ""]),
            (by_bins("7,,PXLayer_1,5,6,1,1"), [":3: neither ls nor time", ""]),
            (by_bins("7,1,,,,,"), [":3: run 7 LS 1: one row states that nothing was masked", ""]),
            (by_bins("7,1,PXLayer_1"), [":3: 3 fields where the header has 7", ""]),
            (
                by_bins("").replace("r_1", "r-1"),
                ["the layers PXLayer-1 are not among those", "(did you mean \"PXLayer_1\"?)"],
            ),
            (
                by_bins("").replace("ls", "lum"),
                ["no column \"ls\"", "its columns are run, lum, layer"],
            ),
            (
                by_bins("").replace("ls", "time").replace("7,1", "7,May"),
                [":2: column time: found \"May\"", "2023-05-17T08:30:00Z"],
            ),
            (by_bins("").replace("y_last", "y_end"), ["no column \"y_last\"", ""]),
            (
                by_chip("7,1,PXLayer_1,BmI_LYR1_ROC2"),
                [":2: column chip: found \"BmI_LYR1_ROC2\"", "did you mean \"BmI_LYR1_ROC"],
            ),
            (
                by_chip("7,1,PXLayer_2,BmI_LYR1_ROC1"),
                [
                    ":2: column layer: found \"PXLayer_2\" for the chip BmI_LYR1_ROC1",
                    "has in PXLayer_1",
                ],
            ),
        ] {
            let message = read(&table, Some(CHIP_TABLE)).unwrap_err().to_string();
            assert!(parts.iter().all(|part| message.contains(part)), "{table}: {message}");
        }
        let message = read(&by_chip("7,1,PXLayer_1,BmI_LYR1_ROC1"), None).unwrap_err().to_string();
        assert!(message.contains("a second table is needed"), "{message}");
        let message = read(
            &by_chip(""),
            Some("chip,layer,x_first,x_last,y_first,y_last\n,PXLayer_1,0,0,0,0\n"),
        )
        .unwrap_err()
        .to_string();
        assert!(message.contains("chips.csv:2: column chip is blank"), "{message}");
    }

    #[test]
    fn times_are_seconds_or_iso_8601() {
        for (text, expected) in [
            ("0", Some(0.0)),
            ("1684312200.25", Some(1_684_312_200.25)),
            ("1970-01-01", None),
            ("1970-01-01T00:00Z", Some(0.0)),
            ("1969-12-31 23:59:59", Some(-1.0)),
            ("2023-05-17T08:30:00.25Z", Some(1_684_312_200.25)),
            ("2023-05-17 10:30:00+02:00", Some(1_684_312_200.0)),
            ("2023-05-17 04:00:00-0430", Some(1_684_312_200.0)),
            ("2000-02-29T12:00:00 UTC", Some(951_825_600.0)),
            ("2100-02-29T12:00:00", None),
            ("2023-13-01T00:00:00", None),
            ("2023-04-31T00:00:00", None),
            ("2023-04-30T24:00:00", None),
            ("1684312200250", None),
            ("-5", None),
            ("nan", None),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_entry_of_the_ls_holds_else_the_previous_else_the_next(
            entries in prop::collection::btree_map((0_u32..3, 1_u32..12), prop::option::of(0_usize..20), 1..12), shuffle in any::<prop::sample::Index>(),
        ) {
            let mut lines: Vec<String> = entries
                .iter()
                .map(|((run, ls), bin)| match bin {
                    Some(bin) => format!("{run},{ls},PXLayer_2,{bin},{bin},1,1\n"),
                    None => format!("{run},{ls},,,,,\n"),
                })
                .collect();
            let turn = shuffle.index(lines.len());
            lines.rotate_left(turn);
            let masks = read(&format!("run,ls,layer,x_first,x_last,y_first,y_last\n{}", lines.concat()), None).unwrap();
            for run in 0..3 {
                for ls in 0..14 {
                    let of_run = || entries.iter().filter(|((other, _), _)| *other == run).map(|((_, ls), bin)| (*ls, *bin));
                    let same = of_run().find(|(other, _)| *other == ls);
                    let previous = of_run().filter(|(other, _)| *other < ls).max_by_key(|(other, _)| *other);
                    let next = of_run().filter(|(other, _)| *other > ls).min_by_key(|(other, _)| *other);
                    let expected = same.or(previous).or(next).map(|(_, bin)| bin.map(|bin| area((bin, bin), (1, 1))).into_iter().collect::<Vec<_>>());
                    prop_assert_eq!(masks.masked(run, ls, 1), expected.as_deref());
                    prop_assert_eq!(masks.masked(run, ls, 0).map(<[Area]>::len), expected.map(|_| 0));
                }
            }
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "(run,ls,time,layer,x_first,x_last,y_first,y_last\n)?([0-9,.T:;#\"-]|PXLayer_1|\n){0,60}") {
            let _ = read_with(&text, None, &|_| Some(vec![(1, 5.0)]));
        }
    }
}
