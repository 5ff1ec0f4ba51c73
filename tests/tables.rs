//! Every kind of file, read value by value as pandas, pyarrow, h5py and NumPy read it.

mod common;

use common::{root, shared};
use lumisift::{
    config::raw::Data,
    data::table::{Bring, Column, Table, Wanted, read},
};
use serde::Deserialize;
use std::{collections::BTreeMap, path::Path, process::Command, sync::Arc};

/// One entry of the `cases.json` that scripts/reference/make_tables.py writes.
#[derive(Deserialize)]
struct Case {
    name: String,
    file: String,
    data: String,
    format: String,
    rows: usize,
    shape: Vec<usize>,
    flow_bins: bool,
    features: Option<Vec<String>>,
    runs: Option<Vec<u32>>,
    ls: Option<Vec<u32>>,
    #[serde(default)]
    extra: BTreeMap<String, Vec<serde_json::Value>>,
    values: String,
    #[serde(default)]
    y_fastest: bool,
    /// Need not be read, but then with a clear error.
    #[serde(default)]
    optional: bool,
}

#[test]
fn values_are_those_of_independent_readers() {
    let Some(python) = common::python("pandas, pyarrow, h5py and tables") else { return };
    let place = tempfile::tempdir().unwrap();
    let mut command = Command::new(python);
    command.arg(root().join("scripts/reference/make_tables.py")).arg(place.path());
    if let Some(data) = shared("data") {
        command.arg("--shared").arg(data);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let cases: Vec<Case> = serde_json::from_slice(&std::fs::read(place.path().join("cases.json")).unwrap()).unwrap();
    assert!(cases.len() > 300, "only {} cases were made", cases.len());
    let wrong: Vec<String> = cases.iter().filter_map(|case| differs(place.path(), case).err().map(|what| format!("{}: {what}", case.name))).collect();
    assert!(wrong.is_empty(), "{} of {} cases differ\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    cases.iter().filter(|case| !Path::new(&case.file).is_absolute()).for_each(|case| torn(place.path(), case));
}

/// A file that is cut short or has a few bytes changed is read or refused; neither panics.
fn torn(folder: &Path, case: &Case) {
    let whole = std::fs::read(folder.join(&case.file)).unwrap();
    let mut chance = case.name.bytes().fold(7_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    let mut draw = |below: usize| {
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (chance >> 33) as usize % below.max(1)
    };
    let path = folder.join(format!("torn-{}", case.file));
    for round in 0..6 {
        let mut bytes = whole.clone();
        if round % 2 == 0 {
            bytes.truncate(draw(bytes.len()));
        } else {
            (0..1 + draw(8)).for_each(|_| {
                let at = draw(bytes.len());
                bytes[at] ^= 1 << draw(8);
            });
        }
        std::fs::write(&path, bytes).unwrap();
        for wanted in [Wanted::default(), Wanted { bring: Bring::Summaries, ..Wanted::default() }] {
            if let Err(error) = read(&path, &wanted) {
                assert!(error.exit_code() == 2 && error.to_string().contains("torn-"), "{}: {error}", case.name);
            }
        }
    }
    std::fs::remove_file(path).unwrap();
}

fn differs(folder: &Path, case: &Case) -> Result<(), String> {
    let data: Data = toml::from_str(&case.data).map_err(|error| error.to_string())?;
    let mut wanted = Wanted::new(&data).with_columns(case.extra.keys().cloned().collect(), vec![]);
    if case.name.contains("dials") && case.ls.is_none() {
        // Old pages name lumisections by a number that other pages resolve; any will do here.
        wanted.dials = Arc::new((0..1000).map(|number| (number, (1, number as u32))).collect());
    }
    let table = match read(&folder.join(&case.file), &wanted) {
        Err(error) if case.optional && error.exit_code() == 2 => return Ok(()),
        result => result.map_err(|error| error.to_string())?,
    };
    let same = |what: &str, ours: String, theirs: String| if ours == theirs { Ok(()) } else { Err(format!("{what} {ours}, expected {theirs}")) };
    let shape = if table.shape.y == 1 { vec![table.shape.x] } else { vec![table.shape.y, table.shape.x] };
    same("format", table.format.to_string(), case.format.clone())?;
    same("rows", table.rows.len().to_string(), case.rows.to_string())?;
    same("faults", format!("{:?}", table.faults.first()), "None".into())?;
    if case.rows > 0 {
        same("shape", format!("{shape:?}"), format!("{:?}", case.shape))?;
    }
    same("flow bins", table.flow_bins.to_string(), case.flow_bins.to_string())?;
    same("y fastest", table.y_fastest.to_string(), case.y_fastest.to_string())?;
    same("features", format!("{:?}", table.features.as_deref()), format!("{:?}", case.features.as_deref()))?;
    identities(&table, case)?;
    for (name, expected) in &case.extra {
        let column = &table.columns[name];
        for (i, value) in expected.iter().enumerate() {
            let fits = match (column, value) {
                (Column::Numbers(numbers), serde_json::Value::Null) => numbers[i].is_nan(),
                (Column::Numbers(numbers), serde_json::Value::String(text)) => f64::from(u8::from(text == "True")) == numbers[i],
                (Column::Numbers(numbers), value) => value.as_f64() == Some(numbers[i]),
                (Column::Texts(texts), value) => value.as_str() == Some(texts[i].as_str()),
            };
            same(&format!("column {name}, row {i}:"), if fits { value.to_string() } else { column.text(i) }, value.to_string())?;
        }
    }
    let bytes = std::fs::read(folder.join(&case.values)).unwrap();
    let expected: Vec<f32> = bytes.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect();
    same("number of values", table.values.len().to_string(), expected.len().to_string())?;
    match table.values.iter().zip(&expected).position(|(ours, theirs)| ours.to_bits() != theirs.to_bits()) {
        Some(at) => Err(format!("value {at} is {:?}, expected {:?}", table.values[at], expected[at])),
        None => Ok(()),
    }
}

fn identities(table: &Table, case: &Case) -> Result<(), String> {
    for (i, row) in table.rows.iter().enumerate() {
        let run = case.runs.as_ref().map(|runs| runs[i]);
        let ls = case.ls.as_ref().map(|ls| ls[i]);
        if run.is_some() && row.run != run || ls.is_some_and(|ls| row.ls != ls || table.events) {
            return Err(format!("row {i} is run {:?} LS {}, expected {run:?} {ls:?}", row.run, row.ls));
        }
        if ls.is_none() && !case.name.contains("dials") && !table.events {
            return Err(format!("row {i} has LS {}, but rows are events", row.ls));
        }
    }
    Ok(())
}
