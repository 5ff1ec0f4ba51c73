//! Damaged files: whatever is read, no verb may panic, abort, hang, or end in another way than with
//! exit code 0, 1 or 2.
//!
//! A case is a number: from it and the seed come the whole file that is taken, what is broken in
//! it, and the verb that reads it. Cases run inside this process, by the program's own entry point;
//! the number of the one in progress is on disk before it starts, so that even an abort names its
//! case. `scripts/fuzz/run` starts many such processes under a limit of memory; here some run as a
//! test.

mod mutate;

use mutate::{Chance, mutate};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

/// Longer cases count as failures.
const LONGEST: Duration = Duration::from_secs(20);
/// An address space of this many kB is all that a worker has.
const MEMORY: u32 = 3_000_000;
/// Cases that run as a test.
const FEW: u64 = 400;

/// Whether a panic was seen that nothing caught.
static PANICKED: AtomicBool = AtomicBool::new(false);

/// What is damaged.
#[derive(Clone, Copy, PartialEq)]
enum Target {
    /// A data file: features, or histograms.
    Data(&'static str),
    /// Something known beside the data, and the verb and key that read it.
    Beside,
    /// A config.
    Config,
    /// A file of an experiment folder.
    Folder,
}

/// Keys of the config that read files beside the data.
const BESIDE: &[(&str, &[&str])] = &[
    ("golden.json", &["labels.good=\"{}\"", "select.golden=\"{}\"", "labels.sets.other=\"{}\""]),
    ("list.txt", &["labels.sets.hot={file=\"{}\",lists=\"bad\"}"]),
    ("labels.npy", &["labels.good=\"{}\""]),
    ("oms.json", &["data.oms=[\"{}\"]"]),
    ("hlt.json", &["data.hlt=[\"{}\"]"]),
    ("brilcalc.csv", &["data.brilcalc=[\"{}\"]"]),
    ("dials.json", &["data.lumisections=[\"{}\"]"]),
    ("side.parquet", &["data.train=[\"{}\"]"]),
];

/// The folders that a worker works with.
struct Place {
    seeds: PathBuf,
    /// Where the files of a case lie.
    case: PathBuf,
}

/// A case: files that are written, and the command that reads them.
struct Case {
    name: String,
    arguments: Vec<String>,
}

impl Place {
    /// Writes the files of a case.
    fn prepare(&self, seed: u64, number: u64) -> Case {
        let mut chance = Chance::new(seed, number);
        let _ = fs::remove_dir_all(&self.case);
        fs::create_dir_all(&self.case).unwrap();
        let target = match chance.below(100) {
            0..45 => Target::Data("features"),
            45..65 => Target::Data("histograms"),
            65..75 => Target::Beside,
            75..82 => Target::Config,
            _ => Target::Folder,
        };
        match target {
            Target::Data(kind) => self.data(kind, &mut chance),
            Target::Beside => self.beside(&mut chance),
            Target::Config => self.config(&mut chance),
            Target::Folder => self.folder(&mut chance),
        }
    }

    fn path(&self, name: &str) -> String {
        self.case.join(name).display().to_string()
    }

    /// Writes a damaged copy of a file; returns its path.
    fn damaged(&self, from: &Path, chance: &mut Chance) -> String {
        let name = from.file_name().unwrap().to_string_lossy().into_owned();
        let bytes = mutate(&name, &fs::read(from).unwrap(), chance);
        fs::write(self.case.join(&name), bytes).unwrap();
        self.path(&name)
    }

    /// Copies an experiment, which some verbs write to; returns the files in it, too.
    fn experiment(&self, kind: &str) -> (PathBuf, Vec<String>) {
        let (from, to) =
            (self.seeds.join(format!("experiment-{kind}")), self.case.join("experiment"));
        let mut files = all_files(&from);
        // No verb reads the page or the log.
        files.retain(|file| !["html", "txt"].iter().any(|ending| file.ends_with(ending)));
        for file in &files {
            fs::create_dir_all(to.join(file).parent().unwrap()).unwrap();
            fs::copy(from.join(file), to.join(file)).unwrap();
        }
        (to, files)
    }

    fn data(&self, kind: &str, chance: &mut Chance) -> Case {
        let files = files_in(&self.seeds.join(kind));
        let from = chance.pick(&files);
        let file = self.damaged(from, chance);
        let experiment = self.seeds.join(format!("experiment-{kind}")).display().to_string();
        let config = self.seeds.join(format!("{kind}.toml")).display().to_string();
        let out = self.path("out.parquet");
        let (verb, arguments) = match chance.below(20) {
            0..7 => ("inspect", vec!["inspect".to_owned(), file]),
            7..11 => (
                "check",
                vec!["check".into(), config, "--set".into(), format!("data.train=[\"{file}\"]")],
            ),
            11..15 => (
                "score",
                vec!["score".into(), experiment, "--data".into(), file, "--out".into(), out],
            ),
            15..17 => (
                "encode",
                vec!["encode".into(), experiment, "--data".into(), file, "--out".into(), out],
            ),
            17..19 => (
                "certify",
                vec![
                    "certify".into(),
                    self.experiment(kind).0.display().to_string(),
                    "--data".into(),
                    file,
                    "--out".into(),
                    self.path("golden-out.json"),
                ],
            ),
            _ => {
                let trained = self.path("trained");
                (
                    "train",
                    vec![
                        "train".into(),
                        config,
                        "--set".into(),
                        format!("data.train=[\"{file}\"]"),
                        "--out".into(),
                        trained,
                    ],
                )
            }
        };
        let ending = Path::new(from).extension().unwrap_or_default().to_string_lossy().into_owned();
        Case { name: format!("{verb} {ending}"), arguments }
    }

    fn beside(&self, chance: &mut Chance) -> Case {
        let config = self.seeds.join("features.toml").display().to_string();
        if chance.below(4) == 0 {
            let experiment = self.experiment("features").0.display().to_string();
            let (name, option) = *chance.pick(&[
                ("decisions.csv", "--decisions"),
                ("golden.json", "--against"),
                ("golden.json", "--runs"),
            ]);
            let file = self.damaged(&self.seeds.join("beside").join(name), chance);
            let data = self.seeds.join("features/comma.csv").display().to_string();
            let out = self.path("golden-out.json");
            let arguments = vec![
                "certify".into(),
                experiment,
                "--data".into(),
                data,
                option.into(),
                file,
                "--out".into(),
                out,
            ];
            return Case { name: format!("certify {option}"), arguments };
        }
        let (name, keys) = chance.pick(BESIDE);
        let from = if *name == "dials.json" {
            self.seeds.join("histograms")
        } else {
            self.seeds.join("beside")
        }
        .join(name);
        let file = self.damaged(&from, chance);
        let set = chance.pick(keys).replace("{}", &file);
        let mut arguments = vec!["check".to_owned(), config, "--set".into(), set];
        // What is known of lumisections is read where something asks for it.
        if let Some(quantity) =
            [("oms", "pileup"), ("brilcalc", "avgpu"), ("hlt", "`HLT_ZeroBias_v*`")]
                .iter()
                .find(|(file, _)| name.starts_with(file))
        {
            arguments.extend(["--set".into(), format!("select.where=[\"{} > 1\"]", quantity.1)]);
        }
        Case { name: format!("check {name}"), arguments }
    }

    fn config(&self, chance: &mut Chance) -> Case {
        let kind = *chance.pick(&["features", "histograms"]);
        let from = if chance.below(2) == 0 {
            self.seeds.join(format!("{kind}.toml"))
        } else {
            // All keys, with their values.
            self.seeds.join(format!("experiment-{kind}/experiment.toml"))
        };
        let text = fs::read_to_string(&from)
            .unwrap()
            .replace("features/", &format!("{}/features/", self.seeds.display()));
        let text = text.replace("histograms/", &format!("{}/histograms/", self.seeds.display()));
        let name = "config.toml";
        fs::write(self.case.join(name), mutate(name, text.as_bytes(), chance)).unwrap();
        let config = self.path(name);
        if chance.below(8) == 0 {
            let arguments = vec![
                "train".into(),
                config,
                "--out".into(),
                self.path("trained"),
                "--set".into(),
                "train.epochs=1".into(),
            ];
            return Case { name: "train config".into(), arguments };
        }
        Case { name: "check config".into(), arguments: vec!["check".into(), config] }
    }

    fn folder(&self, chance: &mut Chance) -> Case {
        let kind = *chance.pick(&["features", "histograms"]);
        let (experiment, files) = self.experiment(kind);
        let file = chance.pick(&files);
        let bytes = fs::read(experiment.join(file)).unwrap();
        fs::write(experiment.join(file), mutate(file, &bytes, chance)).unwrap();
        let experiment = experiment.display().to_string();
        let data = self
            .seeds
            .join(if kind == "features" { "features/comma.csv" } else { "histograms/bins.csv" })
            .display()
            .to_string();
        let out = self.path("out.parquet");
        let arguments: Vec<&str> = match chance.below(12) {
            0..3 => vec!["score", &experiment, "--data", &data, "--out", &out],
            3..6 => vec!["certify", &experiment, "--data", &data, "--out", "golden-out.json"],
            6 => vec!["encode", &experiment, "--data", &data, "--out", &out],
            7 => vec!["export", &experiment, "onnx", "--out", "model.onnx"],
            8 => vec!["export", &experiment, "safetensors", "--out", "model.safetensors"],
            9 => vec!["calibrate", &experiment, "--data", &data],
            10 => vec!["report", &experiment],
            _ => vec!["compare", &experiment, &experiment, "--out", "compared.html"],
        };
        let verb = arguments[0].to_owned();
        let inside = |text: &&str| {
            if text.starts_with("golden-out")
                || text.starts_with("model.")
                || text.starts_with("compared")
            {
                self.path(text)
            } else {
                (*text).to_owned()
            }
        };
        let ending = Path::new(file).extension().unwrap_or_default().to_string_lossy().into_owned();
        Case {
            name: format!("{verb} folder {ending}"),
            arguments: arguments.iter().map(inside).collect(),
        }
    }
}

fn files_in(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    files
}

/// All files below a folder, by their path in it.
fn all_files(folder: &Path) -> Vec<String> {
    fn add(folder: &Path, prefix: &str, into: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            if entry.path().is_dir() {
                add(&entry.path(), &format!("{name}/"), into)
            } else {
                into.push(name)
            }
        }
    }
    let mut files = vec![];
    add(folder, "", &mut files);
    files.sort();
    files
}

/// Makes the whole files that cases are made of; Python makes data, the program itself the
/// experiments.
fn make_seeds(seeds: &Path, python: &str) {
    let made = Command::new(python)
        .arg("-W")
        .arg("ignore")
        .arg(crate::common::root().join("scripts/fuzz/make_seeds.py"))
        .arg(seeds)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    for (kind, data, train, labels) in [
        ("features", "features/comma.csv", "", "\n[labels]\ngood = \"label\"\n"),
        ("histograms", "histograms/bins.csv", "ensemble = 2\n", ""),
    ] {
        let model = "[model]\nhidden = [4]\nlatent = 2\n";
        let text = format!(
            "[data]\ntrain = [\"{data}\"]\n\n{model}\n[train]\nepochs = 2\nbatch_size = 16\n{train}{labels}"
        );
        fs::write(seeds.join(format!("{kind}.toml")), text).unwrap();
        crate::common::succeed(
            seeds,
            &["train", &format!("{kind}.toml"), "--out", &format!("experiment-{kind}"), "-q"],
        );
    }
}

/// Runs cases one after the other in this process; what fails is a line of `failures`.
fn work(place: &Path, seed: u64, numbers: std::ops::Range<u64>, until: Option<Instant>) {
    let worker = std::process::id();
    let folder = Place { seeds: place.join("seeds"), case: place.join(format!("case-{worker}")) };
    std::panic::set_hook(Box::new(|info| {
        PANICKED.store(true, Ordering::SeqCst);
        eprintln!("{info}");
    }));
    let progress = place.join(format!("progress-{worker}"));
    let mut counts = std::collections::BTreeMap::<(String, u8), u64>::new();
    let mut failed = vec![];
    for number in numbers {
        if until.is_some_and(|until| Instant::now() > until) {
            break;
        }
        let case = folder.prepare(seed, number);
        fs::write(&progress, number.to_string()).unwrap();
        PANICKED.store(false, Ordering::SeqCst);
        let start = Instant::now();
        let code = lumisift::cli::run(
            std::iter::once("lumisift".to_owned())
                .chain(case.arguments.iter().cloned())
                .chain(["-q".into()]),
        );
        let took = start.elapsed();
        *counts.entry((case.name.clone(), code)).or_default() += 1;
        let panicked = PANICKED.load(Ordering::SeqCst);
        if code > 2 || panicked || took > LONGEST {
            let why = if panicked { "panic".to_owned() } else { format!("exit code {code}") };
            failed.push(format!(
                "{number}: {}: {why} after {:.1} s: {}",
                case.name,
                took.as_secs_f64(),
                case.arguments.join(" ")
            ));
            fs::write(place.join(format!("failures-{worker}")), failed.join("\n") + "\n").unwrap();
        }
    }
    let lines: Vec<String> =
        counts.iter().map(|((name, code), count)| format!("{name}\t{code}\t{count}")).collect();
    fs::write(place.join(format!("counts-{worker}")), lines.join("\n") + "\n").unwrap();
    fs::remove_file(progress).unwrap();
    let _ = fs::remove_dir_all(&folder.case);
}

/// A worker, started by `scripts/fuzz/run` or the test below: LUMISIFT_FUZZ is `FOLDER SEED FIRST
/// END [SECONDS]`.
#[test]
#[ignore = "started by others"]
fn worker() {
    let Ok(job) = std::env::var("LUMISIFT_FUZZ") else { return };
    let job: Vec<&str> = job.split_whitespace().collect();
    let number = |at: usize| job[at].parse::<u64>().unwrap();
    let until = job.get(4).map(|_| Instant::now() + Duration::from_secs(number(4)));
    work(Path::new(job[0]), number(1), number(2)..number(3), until);
}

/// Makes seeds for `scripts/fuzz/run`: LUMISIFT_FUZZ is the folder.
#[test]
#[ignore = "started by others"]
fn seeds() {
    let (Ok(place), Some(python)) =
        (std::env::var("LUMISIFT_FUZZ"), crate::common::python("pandas, pyarrow, h5py and tables"))
    else {
        return;
    };
    let seeds = Path::new(&place).join("seeds");
    fs::create_dir_all(&seeds).unwrap();
    make_seeds(&seeds, &python);
}

/// Writes the files of one case and prints its command: LUMISIFT_FUZZ is `FOLDER SEED NUMBER`.
#[test]
#[ignore = "started by others"]
fn show() {
    let Ok(job) = std::env::var("LUMISIFT_FUZZ") else { return };
    let job: Vec<&str> = job.split_whitespace().collect();
    let place = Path::new(job[0]);
    let folder = Place { seeds: place.join("seeds"), case: place.join(format!("case-{}", job[2])) };
    let case = folder.prepare(job[1].parse().unwrap(), job[2].parse().unwrap());
    println!(
        "COMMAND {}",
        case.arguments.iter().map(|text| format!("'{text}'")).collect::<Vec<_>>().join(" ")
    );
}

#[test]
fn no_damaged_file_ends_the_program() {
    let Some(python) = crate::common::python("pandas, pyarrow, h5py and tables") else { return };
    let place = tempfile::tempdir().unwrap();
    let seeds = place.path().join("seeds");
    fs::create_dir(&seeds).unwrap();
    make_seeds(&seeds, &python);
    let this = std::env::current_exe().unwrap();
    let command = format!("ulimit -v {MEMORY}; exec \"$0\" --ignored --exact fuzz::worker");
    let job = format!("{} 1 0 {FEW}", place.path().display());
    let child = Command::new("bash")
        .args(["-c", &command])
        .arg(&this)
        .env("LUMISIFT_FUZZ", job)
        .stdout(Stdio::null())
        .output()
        .unwrap();
    let of = |start: &str| {
        let mut files = files_in(place.path());
        files.retain(|path| path.file_name().unwrap().to_string_lossy().starts_with(start));
        files.iter().map(|path| fs::read_to_string(path).unwrap()).collect::<Vec<_>>()
    };
    let in_progress = of("progress-");
    assert!(
        child.status.success(),
        "case {in_progress:?} ended the program: {}",
        String::from_utf8_lossy(&child.stderr)
    );
    let failures = of("failures-");
    assert!(failures.is_empty(), "{}", failures.join(""));
    let counts = of("counts-");
    // Some are read all the same, most are not; were all alike, nothing would have been tried.
    assert!(["\t0\t", "\t2\t"].iter().all(|code| counts[0].contains(code)), "{counts:?}");
}
