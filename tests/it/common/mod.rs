//! What the tests share.

pub mod cluster;

use lumisift::{
    report::figures::Report,
    score::{row::ScoredRow, scores::Scores},
};
use std::{
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_lumisift");

/// The program, with nothing of the tester's environment in its output.
pub fn lumisift() -> Command {
    let mut command = Command::new(PROGRAM);
    // Builds for GPUs are tested on software Vulkan, which is reached only by name.
    command.env("NO_COLOR", "1").env("CUBECL_WGPU_DEFAULT_DEVICE", "Cpu");
    command
}

/// Runs the program in a folder and returns (exit code, standard output, standard error).
pub fn run(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output = lumisift().current_dir(folder).args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

/// Runs the program and expects success; returns standard output.
pub fn succeed(folder: &Path, arguments: &[&str]) -> String {
    let (code, out, err) = run(folder, arguments);
    assert_eq!(code, 0, "lumisift {}\n{out}\n{err}", arguments.join(" "));
    out
}

/// Says that a test is skipped, and why; `scripts/test` collects it in the file that
/// LUMISIFT_SKIPPED names.
pub fn skipped(why: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    eprintln!("skipped: {why}");
    if let Some(path) = std::env::var_os("LUMISIFT_SKIPPED") {
        let line = format!("{test}: {}\n", why.replace('\n', " "));
        let _ = std::fs::File::options()
            .create(true)
            .append(true)
            .open(path)
            .and_then(|mut file| file.write_all(line.as_bytes()));
    }
}

/// The repository.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A shipped config.
pub fn config(name: &str) -> String {
    root().join("configs").join(name).display().to_string()
}

/// A file or folder of the reference data beside the repository; says so and returns nothing where
/// they are absent.
pub fn shared(path: &str) -> Option<PathBuf> {
    let path = root().join("../shared").join(path);
    if path.exists() {
        return Some(path);
    }
    skipped(&format!("{} is not there", path.display()));
    None
}

/// A folder with small METSig-like runs.
pub fn metsig(size: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    succeed(folder.path(), &["synth", "metsig", ".", "--size", size, "-q"]);
    folder
}

/// Whether there is a software GPU; says so where not.
pub fn software_gpu() -> bool {
    let listed: serde_json::Value =
        serde_json::from_str(&succeed(Path::new("."), &["devices", "--format", "json"])).unwrap();
    let there = listed
        .as_array()
        .unwrap()
        .iter()
        .any(|device| device["name"] == "wgpu" && device["available"] == true);
    if !there {
        skipped("no software Vulkan here (Debian: mesa-vulkan-drivers)");
    }
    there
}

/// A Python that has these modules, as `scripts/test` makes one; says so where none is named.
pub fn python(modules: &str) -> Option<String> {
    let python = std::env::var("LUMISIFT_PYTHON").ok();
    if python.is_none() {
        skipped(&format!(
            "LUMISIFT_PYTHON does not name a Python with {modules} (scripts/test sets it)"
        ));
    }
    python
}

/// The report of an experiment folder.
pub fn report(folder: &Path) -> Report {
    serde_json::from_str(&std::fs::read_to_string(folder.join("report.json")).unwrap()).unwrap()
}

/// What the channel that judges says of each row.
pub fn judged(folder: &Path) -> Vec<(ScoredRow, Option<f64>)> {
    let scores = scores(folder);
    let main = scores.main().unwrap().scores.clone();
    scores.rows.into_iter().zip(main).collect()
}

/// The scores of an experiment folder.
pub fn scores(folder: &Path) -> Scores {
    Scores::read(&folder.join("scores.parquet")).unwrap()
}

/// What must be the same bytes, and the history without its times.
pub fn results(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut results = vec![];
    let mut names: Vec<PathBuf> = std::fs::read_dir(folder.join("model"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    names.sort();
    names.extend(
        [
            "scores.parquet",
            "scaler.json",
            "thresholds.json",
            "channels.json",
            "roc.parquet",
            "projections.parquet",
        ]
        .map(|name| folder.join(name)),
    );
    for path in names {
        results.push((
            path.file_name().unwrap().to_string_lossy().into_owned(),
            std::fs::read(&path).unwrap(),
        ));
    }
    let history = std::fs::read_to_string(folder.join("history.csv")).unwrap();
    let without: String =
        history.lines().map(|line| format!("{}\n", line.rsplit_once(',').unwrap().0)).collect();
    results.push(("history.csv".into(), without.into_bytes()));
    results
}

/// Holds two experiment folders to each other.
pub fn same(a: &Path, b: &Path) {
    let shown = b.display();
    for ((name, a), (_, b)) in results(a).iter().zip(&results(b)) {
        let lines = |bytes: &[u8]| {
            String::from_utf8_lossy(bytes).lines().map(str::to_owned).collect::<Vec<_>>()
        };
        let told = || match name.ends_with(".csv") {
            true => {
                let (a, b) = (lines(a), lines(b));
                format!(
                    ": {} and {} lines, {:?}",
                    a.len(),
                    b.len(),
                    a.iter().zip(&b).find(|(a, b)| a != b)
                )
            }
            false => format!(": {} and {} bytes", a.len(), b.len()),
        };
        assert!(a == b, "{name} differs in {shown}{}", told());
    }
}
