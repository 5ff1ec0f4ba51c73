//! Every kind of file, read value by value as pandas, pyarrow, h5py and NumPy read it.

use crate::common::{root, shared};
use lumisift::{
    config::data::Data,
    data::{
        read::{Detail, ReadOptions, read_file},
        table::{Column, Table},
    },
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
    let Some(python) = crate::common::python("pandas, pyarrow, h5py and tables") else { return };
    let place = tempfile::tempdir().unwrap();
    let mut command = Command::new(python);
    command.arg(root().join("scripts/reference/make_tables.py")).arg(place.path());
    if let Some(data) = shared("data") {
        command.arg("--shared").arg(data);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let cases: Vec<Case> =
        serde_json::from_slice(&std::fs::read(place.path().join("cases.json")).unwrap()).unwrap();
    assert!(cases.len() > 300, "only {} cases were made", cases.len());
    let wrong: Vec<String> = cases
        .iter()
        .filter_map(|case| {
            differs(place.path(), case).err().map(|what| format!("{}: {what}", case.name))
        })
        .collect();
    assert!(
        wrong.is_empty(),
        "{} of {} cases differ\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
    cases
        .iter()
        .filter(|case| !Path::new(&case.file).is_absolute())
        .for_each(|case| torn(place.path(), case));
}

/// A file that is cut short or has a few bytes changed is read or refused; neither panics.
fn torn(folder: &Path, case: &Case) {
    let whole = std::fs::read(folder.join(&case.file)).unwrap();
    let mut chance =
        case.name.bytes().fold(7_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    let mut draw = |below: usize| {
        chance =
            chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
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
        for wanted in [
            ReadOptions::default(),
            ReadOptions { detail: Detail::Summaries, ..ReadOptions::default() },
        ] {
            if let Err(error) = read_file(&path, &wanted) {
                assert!(
                    error.exit_code() == 2 && error.to_string().contains("torn-"),
                    "{}: {error}",
                    case.name
                );
            }
        }
    }
    std::fs::remove_file(path).unwrap();
}

fn differs(folder: &Path, case: &Case) -> Result<(), String> {
    let data: Data = toml::from_str(&case.data).map_err(|error| error.to_string())?;
    let mut wanted =
        ReadOptions::new(&data).with_columns(case.extra.keys().cloned().collect(), vec![]);
    if case.name.contains("dials") && case.ls.is_none() {
        // Old pages name lumisections by a number that other pages resolve; any will do here.
        wanted.dials = Arc::new((0..1000).map(|number| (number, (1, number as u32))).collect());
    }
    let table = match read_file(&folder.join(&case.file), &wanted) {
        Err(error) if case.optional && error.exit_code() == 2 => return Ok(()),
        result => result.map_err(|error| error.to_string())?,
    };
    let same = |what: &str, ours: String, theirs: String| {
        if ours == theirs { Ok(()) } else { Err(format!("{what} {ours}, expected {theirs}")) }
    };
    let shape =
        if table.shape.y == 1 { vec![table.shape.x] } else { vec![table.shape.y, table.shape.x] };
    same("format", table.format.to_string(), case.format.clone())?;
    same("rows", table.rows.len().to_string(), case.rows.to_string())?;
    same("faults", format!("{:?}", table.faults.first()), "None".into())?;
    if case.rows > 0 {
        same("shape", format!("{shape:?}"), format!("{:?}", case.shape))?;
    }
    same("flow bins", table.flow_bins.to_string(), case.flow_bins.to_string())?;
    same("y fastest", table.y_fastest.to_string(), case.y_fastest.to_string())?;
    same(
        "features",
        format!("{:?}", table.features.as_deref()),
        format!("{:?}", case.features.as_deref()),
    )?;
    identities(&table, case)?;
    for (name, expected) in &case.extra {
        let column = &table.columns[name];
        for (i, value) in expected.iter().enumerate() {
            let fits = match (column, value) {
                (Column::Numbers(numbers), serde_json::Value::Null) => numbers[i].is_nan(),
                (Column::Numbers(numbers), serde_json::Value::String(text)) => {
                    f64::from(u8::from(text == "True")) == numbers[i]
                }
                (Column::Numbers(numbers), value) => value.as_f64() == Some(numbers[i]),
                (Column::Texts(texts), value) => value.as_str() == Some(texts[i].as_str()),
            };
            same(
                &format!("column {name}, row {i}:"),
                if fits { value.to_string() } else { column.text(i) },
                value.to_string(),
            )?;
        }
    }
    let bytes = std::fs::read(folder.join(&case.values)).unwrap();
    let expected: Vec<f32> =
        bytes.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect();
    same("number of values", table.values.len().to_string(), expected.len().to_string())?;
    match table
        .values
        .iter()
        .zip(&expected)
        .position(|(ours, theirs)| ours.to_bits() != theirs.to_bits())
    {
        Some(at) => {
            Err(format!("value {at} is {:?}, expected {:?}", table.values[at], expected[at]))
        }
        None => Ok(()),
    }
}

fn identities(table: &Table, case: &Case) -> Result<(), String> {
    for (i, row) in table.rows.iter().enumerate() {
        let run = case.runs.as_ref().map(|runs| runs[i]);
        let ls = case.ls.as_ref().map(|ls| ls[i]);
        if run.is_some() && row.run != run || ls.is_some_and(|ls| row.ls != ls || table.events) {
            return Err(format!(
                "row {i} is run {:?} LS {}, expected {run:?} {ls:?}",
                row.run, row.ls
            ));
        }
        if ls.is_none() && !case.name.contains("dials") && !table.events {
            return Err(format!("row {i} has LS {}, but rows are events", row.ls));
        }
    }
    Ok(())
}

/// Runs Python in a folder, which makes files there; `run`, `ls`, `H` (60 × 3 numbers) and the
/// libraries are there.
fn python_makes(script: &str) -> Option<tempfile::TempDir> {
    let python = crate::common::python("pandas, pyarrow, h5py and tables")?;
    let place = tempfile::tempdir().unwrap();
    let head = "import os, h5py, numpy as np, pandas as pd, pyarrow as pa, pyarrow.feather as feather, pyarrow.parquet as pq\n\
                n = 60; run = np.full(n, 297050); ls = np.arange(1, n + 1); H = np.arange(3 * n).reshape(n, 3) / 4\n";
    let output = Command::new(python)
        .current_dir(place.path())
        .args(["-W", "ignore", "-c", &format!("{head}{script}")])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(place)
}

/// What a file holds: its features, with "events" where rows have no lumisection, and its notes.
fn contents(path: &Path) -> Result<(Vec<String>, String), String> {
    let table = read_file(path, &ReadOptions::default()).map_err(|error| error.to_string())?;
    assert!(table.faults.is_empty(), "{:?}", table.faults[0]);
    let mut features = table.features.as_deref().unwrap_or_default().to_vec();
    for (at, name) in
        features.iter().enumerate().filter(|(_, name)| ["a", "b", "c"].contains(&name.as_str()))
    {
        let column = ["a", "b", "c"].iter().position(|known| known == name).unwrap();
        (0..60).for_each(|row| {
            assert_eq!(
                table.row(row)[at],
                (row * 3 + column) as f32 / 4.0,
                "{name}, row {row} of {}",
                path.display()
            )
        });
    }
    if table.events {
        features.push("events".into());
    } else {
        assert_eq!((table.rows[59].run, table.rows[59].ls), (Some(297_050), 60));
    }
    Ok((features, table.notes.join("\n")))
}

#[test]
fn what_hdf5_keeps_in_unusual_ways_is_read_or_named() {
    let Some(place) = python_makes(
        r#"
def w(name, fill, ids=True, **k):
    with h5py.File(name + ".h5", "w", **k) as f:
        if ids: f["run"], f["ls"] = run, ls
        f["a"], f["b"] = H[:, 0], H[:, 1]
        fill(f)
def put(name, value): return lambda f: f.__setitem__(name, value)
with h5py.File("other.h5", "w") as f: f["d"], f["ls"] = H[:, 2], ls
w("narrow", put("c", H[:, 2:3]))
w("block", put("c", H[:, 2]), userblock_size=8192)
w("enum", lambda f: f.create_dataset("kind", data=np.zeros(n, "i1"), dtype=h5py.enum_dtype({"RED": 0, "BLUE": 1}, "i1")))
w("far", put("c", h5py.ExternalLink("other.h5", "/d")))
w("far_dense", lambda f: [f.create_group(f"g{i}") for i in range(40)] + [f.__setitem__("c", h5py.ExternalLink("other.h5", "/d"))], libver="latest")
w("soft", lambda f: (f.create_group("g").__setitem__("x", H[:, 2]), f.__setitem__("c", h5py.SoftLink("/g/x"))))
w("dangling", put("c", h5py.SoftLink("/nowhere")))
w("virtual", lambda f: f.create_virtual_dataset("c", h5py.VirtualLayout((n,), "f4")))
w("complex", put("c", H[:, 2].astype("c8")))
w("null", put("c", h5py.Empty("f4")))
w("scalar", put("c", 3.5))
w("far_ls", put("ls", h5py.ExternalLink("other.h5", "/ls")), ids=False)
w("far_run", lambda f: (f.__setitem__("ls", ls), f.__setitem__("run", h5py.ExternalLink("other.h5", "/run"))), ids=False)
w("short_ls", put("ls", ls[:-1]), ids=False)
w("one_run", lambda f: (f.__setitem__("ls", ls), f.__setitem__("run", 297050)), ids=False)
def matlab(f):
    for name, values in dict(run=run, ls=ls, a=H[:, 0], b=H[:, 1], c=H[:, 2]).items():
        if name in f: del f[name]
        f[name] = values.reshape(1, -1); f[name].attrs["MATLAB_class"] = np.bytes_("double")
w("matlab", matlab, userblock_size=512)
frame = pd.DataFrame(dict(run=run, ls=ls, a=H[:, 0], b=H[:, 1], c=pd.Categorical(["x", "y"] * 30)))
frame.to_hdf("category.h5", key="df", format="table")
frame.to_hdf("category_columns.h5", key="df", format="table", data_columns=True)
frame.assign(c=["x", "y"] * 30).to_hdf("pickled.h5", key="df", format="fixed")
"#,
    ) else {
        return;
    };
    let of = |name: &str| contents(&place.path().join(format!("{name}.h5")));
    for (name, features, note) in [
        ("narrow", "a, b, c", ""),
        ("block", "a, b, c", ""),
        ("matlab", "a, b, c", ""),
        ("soft", "a, b, c, g/x", ""),
        ("one_run", "a, b", ""),
        ("enum", "a, b, kind", "numbers of enumerations are inputs: kind"),
        ("far", "a, b", "c (an external link to other.h5:/d"),
        ("far_dense", "a, b", "c (an external link to other.h5:/d"),
        ("dangling", "a, b", "c (a soft link to /nowhere"),
        ("virtual", "a, b", "c (a virtual dataset"),
        ("complex", "a, b", "c ((60) of complex)"),
        ("null", "a, b", "c (a single value of float32)"),
        ("scalar", "a, b", "c (a single value of float64)"),
        ("category", "a, b", "\"c\" (category)"),
        ("category_columns", "a, b", "\"c\" (category)"),
        ("pickled", "a, b", "c (pickled Python objects"),
    ] {
        let (found, notes) = of(name).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(
            found.join(", ") == features
                && notes.contains(note)
                && notes.is_empty() == note.is_empty(),
            "{name}: {found:?}\n{notes}"
        );
    }
    for (name, part) in [
        (
            "far_ls",
            "\"ls\" should be the lumisection of each row and cannot be read: an external link to other.h5:/ls",
        ),
        ("far_run", "\"run\" should be the run of each row and cannot be read: an external link"),
        (
            "short_ls",
            "\"ls\" should be the lumisection of each row and cannot be read: it is of shape (59), but there are 60 rows",
        ),
    ] {
        let error = of(name).unwrap_err();
        assert!(error.contains(part), "{name}: {error}");
    }
    let wanted = ReadOptions::default().with_columns(vec!["c".into()], vec![]);
    let table = read_file(&place.path().join("category.h5"), &wanted).unwrap();
    assert!(matches!(&table.columns["c"], Column::Texts(texts) if texts[..2] == ["x", "y"]));
    let error = read_file(&place.path().join("far.h5"), &wanted).unwrap_err().to_string();
    assert!(error.contains("\"c\" cannot be read: an external link to other.h5:/d"), "{error}");
}

#[test]
fn what_arrow_and_parquet_hold_in_unusual_types_is_read_or_named() {
    let Some(place) = python_makes(
        r#"
base = dict(run=run, ls=ls, a=H[:, 0], b=H[:, 1])
def w(name, **columns):
    table = pa.table(base | columns)
    with pa.OSFile(name + ".arrow", "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer: writer.write_table(table)
    try: pq.write_table(table, name + ".parquet")
    except pa.ArrowNotImplementedError:
        if os.path.exists(name + ".parquet"): os.remove(name + ".parquet")
c = pa.array(H[:, 2])
w("decimal", c=c.cast(pa.decimal128(9, 2)))
w("half", c=c.cast(pa.float16()))
w("dictionary", c=c.dictionary_encode())
w("runs", c=pa.RunEndEncodedArray.from_arrays(pa.array(np.arange(1, n + 1, dtype="i4")), c))
w("text_run", c=c, run=[str(r) for r in run], ls=[f" {l} " for l in ls])
w("float_run", c=c, run=run.astype(float), ls=ls.astype("f4"))
w("half_run", c=c, run=run + 0.5)
w("odd_text_run", c=c, run=["297050a"] * n)
w("negative_run", c=c, run=-run)
w("large_run", c=c, run=(run.astype("u8") + 2**40))
w("missing", c=pa.nulls(n))
w("struct", c=pa.array([{"x": 1}] * n))
w("time", c=pa.array(ls * 1000, pa.timestamp("ms")))
w("flag", c=ls % 2 == 0)
w("binary", c=[b"x"] * n)
w("list_view", data=pa.ListViewArray.from_arrays(np.arange(n, dtype="i4") * 3, np.full(n, 3, "i4"), pa.array(H.ravel())))
w("large_list", data=pa.array(H.tolist(), pa.large_list(pa.float64())))
w("list_of_flags", data=(H > 10).tolist())
"#,
    ) else {
        return;
    };
    for ending in ["arrow", "parquet"] {
        let file = |name: &str| place.path().join(format!("{name}.{ending}"));
        for (name, features, note) in [
            ("decimal", "a, b, c", ""),
            ("half", "a, b, c", ""),
            ("dictionary", "a, b, c", ""),
            ("runs", "a, b, c", ""),
            ("text_run", "a, b, c", ""),
            ("float_run", "a, b, c", ""),
            ("missing", "a, b", "\"c\" ("),
            ("struct", "a, b", "\"c\" (struct"),
            ("time", "a, b", "\"c\" (timestamp"),
            ("flag", "a, b", "\"c\" (bool"),
            ("binary", "a, b", "\"c\" (binary"),
        ] {
            if !file(name).is_file() {
                continue;
            }
            let (found, notes) =
                contents(&file(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
            let is_missing = name == "missing" && ending == "parquet";
            assert!(
                found.join(", ") == features || is_missing,
                "{name}.{ending}: {found:?}\n{notes}"
            );
            assert!(
                notes.contains(note) && notes.is_empty() == note.is_empty() || is_missing,
                "{name}.{ending}: {found:?}\n{notes}"
            );
        }
        for (name, part) in [
            ("half_run", "the run number is 297050.5, not a whole number"),
            ("odd_text_run", "the run number is \"297050a\", not a whole number"),
            ("negative_run", "the run number is -297050, not a whole number"),
            ("large_run", "the run number is 1099511924826, not a whole number"),
        ] {
            let table = read_file(&file(name), &ReadOptions::default()).unwrap();
            assert!(
                table.rows.is_empty() && table.faults.len() == 60 && table.faults[0].reason == part,
                "{name}: {:?}",
                table.faults.first()
            );
        }
        for name in ["list_view", "large_list", "list_of_flags"] {
            if file(name).is_file() {
                let table = read_file(&file(name), &ReadOptions::default()).unwrap();
                let expected = if name == "list_of_flags" { 1.0 } else { 44.75 };
                assert_eq!(
                    (table.shape.x, table.rows.len(), table.values[179]),
                    (3, 60, expected),
                    "{name}.{ending}"
                );
            }
        }
        let wanted = ReadOptions::default().with_columns(vec!["c".into()], vec![]);
        let table = read_file(&file("time"), &wanted).unwrap();
        assert!(
            matches!(&table.columns["c"], Column::Numbers(seconds) if seconds[..2] == [1.0, 2.0])
        );
        let error = read_file(&file("struct"), &wanted).unwrap_err().to_string();
        assert!(error.contains("column \"c\" holds struct"), "{error}");
    }
}

#[test]
fn the_run_of_a_partitioned_file_is_in_its_folder() {
    let Some(place) = python_makes(
        r#"
for r in (297050, 297056):
    os.makedirs(f"set/run={r}/ls=all")
    pq.write_table(pa.table(dict(ls=ls, a=H[:, 0] + r)), f"set/run={r}/part-0.parquet")
pq.write_table(pa.table(dict(run=run, ls=ls, a=H[:, 0])), "set/run=297056/other.parquet")
"#,
    ) else {
        return;
    };
    let table =
        read_file(&place.path().join("set/run=297056/part-0.parquet"), &ReadOptions::default())
            .unwrap();
    assert!(table.rows.iter().all(|row| row.run == Some(297_056)));
    let table =
        read_file(&place.path().join("set/run=297056/other.parquet"), &ReadOptions::default())
            .unwrap();
    assert!(
        table.rows.is_empty()
            && table.faults[0].reason.contains("the run is 297050, but the folder is run=297056"),
        "{:?}",
        table.faults.first()
    );
    std::fs::remove_file(place.path().join("set/run=297056/other.parquet")).unwrap();
    let files = lumisift::data::paths::expand(&[place.path().join("set")]).unwrap();
    let names: Vec<String> = files
        .iter()
        .map(|file| file.strip_prefix(place.path()).unwrap().display().to_string())
        .collect();
    assert_eq!(names, ["set/run=297050/part-0.parquet", "set/run=297056/part-0.parquet"]);
    std::fs::create_dir_all(place.path().join("outer/inner")).unwrap();
    let error =
        lumisift::data::paths::expand(&[place.path().join("outer")]).unwrap_err().to_string();
    assert!(error.contains("holds no files, only folders"), "{error}");
}
