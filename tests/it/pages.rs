//! Report pages as a browser draws them, and what they say where an experiment is not an ordinary
//! one.

use crate::common::{PROGRAM, config, metsig, report, root, run, shared, succeed};
use base64::{Engine, prelude::BASE64_STANDARD};
use flate2::read::DeflateDecoder;
use lumisift::report::answer;
use serde_json::Value;
use std::{
    fmt::Write,
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::Command,
};

/// A Python with playwright, where there is a Chromium for it; says so where not.
fn python() -> Option<PathBuf> {
    let python = std::env::var_os("LUMISIFT_PYTHON")
        .map_or_else(|| root().join(".venv/test/bin/python"), PathBuf::from);
    let output =
        Command::new(&python).arg(root().join("scripts/page/check.py")).arg("--available").output();
    match output {
        Ok(output) if output.status.success() => return Some(python),
        Ok(output) => crate::common::skipped(String::from_utf8_lossy(&output.stderr).trim()),
        Err(error) => crate::common::skipped(&format!("{}: {error}", python.display())),
    }
    None
}

/// Trains in `place/name`, and puts the page beside it as `pages/name.html`.
fn page(place: &Path, name: &str, file: &str, sets: &[&str]) -> PathBuf {
    let config = config(file);
    let mut arguments = vec!["train", &config, "--out", name, "-q", "--device", "cpu"];
    sets.iter().for_each(|set| arguments.extend(["--set", set]));
    succeed(place, &arguments);
    let pages = place.join("pages");
    fs::create_dir_all(&pages).unwrap();
    let page = pages.join(name).with_extension("html");
    fs::copy(place.join(name).join("report.html"), &page).unwrap();
    page
}

/// Opens the pages in one browser, expects nothing to be wrong, and returns the words of each in
/// lower case.
fn opened(python: &Path, pages: &[PathBuf], more: &[&str]) -> Vec<String> {
    let texts = pages[0].with_file_name("texts");
    let check = root().join("scripts/page/check.py");
    let output = Command::new(python)
        .arg(check)
        .args(more)
        .arg("--texts")
        .arg(&texts)
        .args(pages)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(
        told.lines().filter(|line| line.contains(".html: ok")).count(),
        pages.len(),
        "{told}"
    );
    eprint!("{told}");
    let words = |page: &PathBuf| {
        fs::read_to_string(texts.join(page.with_extension("txt").file_name().unwrap())).unwrap()
    };
    pages
        .iter()
        .map(words)
        .map(|text| text.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" "))
        .collect()
}

/// What a page draws.
fn payload(page: &Path) -> Value {
    let text = fs::read_to_string(page).unwrap();
    let from = text.find("id=\"data\">").unwrap() + 10;
    serde_json::from_str(&text[from..from + text[from..].find("</script>").unwrap()]).unwrap()
}

/// The bytes of a packed array.
fn unpacked(array: &Value) -> Vec<u8> {
    if let Some(plain) = array["plain"].as_str() {
        return BASE64_STANDARD.decode(plain).unwrap();
    }
    let mut bytes = vec![];
    DeflateDecoder::new(&BASE64_STANDARD.decode(array["d"].as_str().unwrap()).unwrap()[..])
        .read_to_end(&mut bytes)
        .unwrap();
    bytes
}

fn numbers(array: &Value) -> Vec<u32> {
    assert_eq!(array["t"], "u32");
    unpacked(array)
        .chunks_exact(4)
        .map(|bytes| u32::from_le_bytes(bytes.try_into().unwrap()))
        .collect()
}

fn shown<'a>(data: &'a Value, name: &str) -> &'a Value {
    data["runs"].as_array().unwrap().iter().find(|run| run["name"] == name).unwrap()
}

const METSIG: &[&str] =
    &["data.train=[\"good.csv\"]", "data.test=[\"bad1.csv\"]", "train.epochs=3"];

#[test]
fn pages_of_each_kind_of_experiment_are_drawn_and_answer() {
    let Some(python) = python() else { return };
    let place = metsig("0.3");
    let folder = place.path();
    succeed(folder, &["synth", "cms2010b", "2010", "--rows", "1500", "-q"]);
    succeed(folder, &["synth", "events", "collisions", "--events", "5000", "-q"]);
    let of_2010 = [
        "data.train=[\"2010/features.parquet\"]",
        "labels.good=\"2010/labels.npy\"",
        "labels.subsystems.folder=\"2010/Quality2010\"",
    ];
    let of_events = [
        "data.train=[\"collisions/events.h5\"]",
        "train.epochs=4",
        "report.projections=[\"pca\",\"t-sne\"]",
    ];
    let mut pages = vec![
        page(folder, "metsig", "metsig.toml", METSIG),
        page(
            folder,
            "cms2010b",
            "cms2010b.toml",
            &[&of_2010[..], &["train.epochs=3", "train.ensemble=1"]].concat(),
        ),
        page(folder, "events", "events.toml", &of_events),
    ];
    if shared("data/hcal_occupancy_2017").is_some() {
        pages.push(page(folder, "hcal2017", "hcal2017.toml", &["train.epochs=3"]));
    }
    let words = opened(&python, &pages, &[]);
    for (page, words) in pages.iter().zip(&words) {
        let report = report(&folder.join(page.file_stem().unwrap()));
        let flagged: usize = report.runs.iter().map(|run| run.flagged[0].ls.len()).sum();
        let answer = if report.runs.is_empty() {
            "there are no test rows: nothing is judged".into()
        } else {
            format!("{flagged} ◆ flagged")
        };
        assert!(words.contains(&answer), "{}: {answer}", page.display());
    }
    assert!(words[0].contains("there are no labels to hold scores against"));
    assert!(
        payload(&pages[0])["classes"].as_array().unwrap().is_empty(),
        "nobody said which lumisections are good"
    );
    assert!(
        words[1].contains("muons") && words[1].contains("bad rows found where the threshold flags")
    );
    assert_eq!(payload(&pages[2])["projections"].as_array().unwrap().len(), 2);
    assert!(words[2].contains("signal") && words[2].contains("purity"));
}

/// Twenty features of noise where rows are good, and next to nothing where they are bad: what an
/// autoencoder finds easy.
fn reversed(bad: bool) -> String {
    let mut text = String::from("run,ls,good,<img src=x onerror=alert(1)>");
    (1..20).for_each(|at| write!(text, ",f{at}").unwrap());
    for row in 0..600_u64 {
        let is_bad = bad && row % 4 == 0;
        write!(text, "\n{},{},{}", 1 + row / 100, row % 100 + 1, u8::from(!is_bad)).unwrap();
        for at in 0..20 {
            let noise = ((row * 20 + at + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as f64
                / f64::from(1 << 24);
            write!(text, ",{}", if is_bad { 0.5 } else { noise }).unwrap();
        }
    }
    text
}

#[test]
fn pages_say_what_is_so_where_little_is_known() {
    let Some(python) = python() else { return };
    let place = metsig("0.1");
    let folder = place.path();
    let bad1 = fs::read_to_string(folder.join("bad1.csv")).unwrap();
    let lines: Vec<&str> = bad1
        .lines()
        .filter(|line| !line.contains("[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0"))
        .collect();
    fs::write(folder.join("one.csv"), lines[..2].join("\n")).unwrap();
    let (ls, counts) = lines[10].split_once(';').unwrap();
    let bins = counts.matches(',').count() + 1;
    let empty = format!("{ls};[{}]", vec!["0"; bins].join(","));
    let with_empty = [&lines[..10], &[empty.as_str()], &lines[11..20]].concat();
    fs::write(folder.join("empty.csv"), with_empty.join("\n")).unwrap();
    fs::write(folder.join("reversed.csv"), reversed(true)).unwrap();
    fs::write(folder.join("one-class.csv"), reversed(false)).unwrap();
    let of_metsig =
        |name: &str, sets: &[&str]| page(folder, name, "metsig.toml", &[METSIG, sets].concat());
    let of_features = |name: &str| {
        let train = format!("data.train=[\"{name}.csv\"]");
        let sets = [
            &train,
            "data.test=[]",
            "labels.good=\"good\"",
            "split.by=\"random\"",
            "split.test=0.3",
            "train.epochs=3",
        ];
        page(folder, name, "metsig.toml", &sets)
    };
    let fixed = |value: &str| {
        of_metsig(
            &format!("fixed-{value}"),
            &["threshold={kind=\"fixed\", value=VALUE}".replace("VALUE", value).as_str()],
        )
    };
    let pages = [
        of_metsig("one", &["data.test=[\"one.csv\"]"]),
        of_metsig("empty", &["data.test=[\"empty.csv\"]"]),
        fixed("1e-30"),
        fixed("1e30"),
        of_features("reversed"),
        of_features("one-class"),
    ];
    let words = opened(&python, &pages, &["--brief"]);
    let reports: Vec<_> =
        pages.iter().map(|page| report(&folder.join(page.file_stem().unwrap()))).collect();
    let data: Vec<_> = pages.iter().map(|page| payload(page)).collect();

    assert_eq!(reports[0].runs[0].evaluated, 1);
    assert!(words[0].contains("the one evaluated lumisection is"), "{}", &words[0][..400]);

    let run = shown(&data[1], "empty.csv");
    assert_eq!((reports[1].runs[0].evaluated, reports[1].runs[0].not_evaluated), (19 - 1, 1));
    assert_eq!(
        (&run["unevaluated"][0]["from"], run["unevaluated"].as_array().unwrap().len()),
        (&ls.parse::<u32>().unwrap().into(), 1)
    );
    assert!(!numbers(&run["ls"]).contains(&ls.parse().unwrap()), "it has no score, so no point");
    assert!(
        words[1].contains("1 ○ not evaluated")
            && words[1].contains(&format!("neither good nor bad: {ls} empty"))
    );

    let flags = |data: &Value| unpacked(&shown(data, "bad1.csv")["flagged"][0]);
    assert!(flags(&data[2]).iter().all(|flag| *flag == 1));
    succeed(folder, &["score", "fixed-1e-30", "--data", "bad1.csv", "--out", "again.csv", "-q"]);
    let evaluated = reports[2].runs[0].evaluated;
    assert!(
        words[2].contains(&format!("all {evaluated} evaluated lumisections are flagged"))
            && words[2].contains("0 ● judged good")
    );
    assert!(flags(&data[3]).iter().all(|flag| *flag == 0));
    assert!(
        words[3].contains(&format!("none of the {evaluated} evaluated lumisections is flagged"))
    );

    let auc = &reports[4].auc[0];
    assert!(auc.auc.unwrap() < 0.1, "{auc:?}");
    assert!(
        auc.note.contains("below 0.5")
            || reports[4].warnings.iter().any(|warning| warning.contains("below 0.5")),
        "{auc:?}"
    );
    assert!(
        words[4].contains("below 0.5: scores rank bad below good")
            && words[4].contains(&format!("{:.3}", auc.auc.unwrap()))
    );
    let name = "<img src=x onerror=alert(1)>";
    assert!(words[4].contains(name) && data[4]["viewer"][0]["names"][0] == name);
    assert!(!fs::read_to_string(&pages[4]).unwrap().contains(name), "nothing of it is HTML");

    assert_eq!(reports[5].auc[0].auc, None);
    assert!(
        words[5].contains("auc none") && words[5].contains("0 bad test rows"),
        "{}",
        &words[5][..900]
    );
}

#[test]
fn a_page_of_many_lumisections_is_small() {
    let place = metsig("13");
    let sets = [
        "train.epochs=1",
        "train.ensemble=1",
        "data.train=[\"good.csv\"]",
        "data.test=[\"bad1.csv\"]",
    ];
    let page = page(place.path(), "long", "metsig.toml", &sets);
    let data = payload(&page);
    let rows: u64 =
        data["runs"].as_array().unwrap().iter().map(|run| run["rows"].as_u64().unwrap()).sum();
    assert!(rows > 20_000, "{rows}");
    let size = fs::metadata(&page).unwrap().len();
    assert!(size < 10_000_000, "{size} bytes");
}

/// A search on METSig over a rate, a choice, and what matters for one choice only; names hold what
/// would be HTML.
fn search(folder: &Path, name: &str, more: &str, sets: &[&str]) -> PathBuf {
    let text = format!(
        "name = \"search <b>\"\ndata.train = [\"good.csv\"]\ndata.test = [\"bad1.csv\"]\nselect.drop_empty = \"all\"\n[split]\nby = \"block\"\nblock = 10\nvalid = 0.25\n\
         [train]\nepochs = 12\nbatch_size = 16\n[sweep]\nobjective = \"channels.training.best_valid_loss\"\ngoal = \"min\"\n{more}\n[sweep.space]\n\
         train.optimizer.learning_rate = {{ log_uniform = [1e-4, 1e-1] }}\ntrain.optimizer.kind = {{ choice = [\"sgd\", \"adam\"] }}\n\
         train.optimizer.momentum = {{ uniform = [0.0, 0.9], when = {{ \"train.optimizer.kind\" = \"sgd\" }} }}\n\
         \"<img src=x onerror=alert(1)>\" = {{ together = [{{ model.hidden = [8], model.latent = 2 }}, {{ model.hidden = [24, 12], model.latent = 3 }}] }}\n"
    );
    fs::write(folder.join("sweep.toml"), text).unwrap();
    let mut arguments = vec!["sweep", "sweep.toml", "--out", name, "--workers", "1"];
    sets.iter().for_each(|set| arguments.extend(["--set", set]));
    let (code, _, told) = run(folder, &arguments);
    assert!(folder.join(name).join("report.html").exists(), "{code} {told}");
    collected(folder, name)
}

/// The page of a sweep, put with the others.
fn collected(folder: &Path, name: &str) -> PathBuf {
    succeed(folder, &["sweep", "collect", name]);
    let page = folder.join("pages").join(name).with_extension("html");
    fs::create_dir_all(page.parent().unwrap()).unwrap();
    fs::copy(folder.join(name).join("report.html"), &page).unwrap();
    page
}

/// Sets that point the study's config to made maps.
const MAPS: &[&str] = &[
    "data.train=[\"maps/train/PXLayer_*.parquet\"]",
    "data.test=[\"maps/test/PXLayer_*.parquet\"]",
    "data.oms=[\"maps/oms.json\"]",
    "data.hlt=[\"maps/hlt.json\"]",
    "patterns.automasks=[\"maps/automasks.csv\"]",
    "train.epochs=40",
];

#[test]
fn pages_of_maps_show_each_region_where_it_is_largest() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    succeed(
        folder,
        &[
            "synth",
            "occupancy",
            "maps",
            "--lumisections",
            "300",
            "--test-lumisections",
            "240",
            "--layers",
            "2",
            "--seed",
            "5",
            "-q",
        ],
    );
    let page = page(folder, "pixel", "pixel-nmf.toml", MAPS);
    let data = payload(&page);
    let (views, tracks) = (
        data["viewer"].as_array().unwrap(),
        data["report"]["patterns"]["tracks"].as_array().unwrap(),
    );
    let runs = data["runs"].as_array().unwrap();
    assert!(views.len() == 2 && tracks.len() > 8, "{} views, {} tracks", views.len(), tracks.len());
    let u16s = |array: &Value| {
        unpacked(array)
            .chunks_exact(2)
            .map(|bytes| u16::from_le_bytes([bytes[0], bytes[1]]))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        unpacked(&views[0]["at"]),
        unpacked(&views[1]["at"]),
        "layers keep the same lumisections"
    );
    for track in tracks {
        let view = views.iter().find(|view| view["channel"] == track["channel"]).unwrap();
        let (run, at, regions) = (u16s(&view["run"]), numbers(&view["at"]), &view["regions"]);
        let (frames, areas, bins, flags) = (
            numbers(&regions["frame"]),
            numbers(&regions["areas"]),
            numbers(&regions["bins"]),
            unpacked(&regions["flags"]),
        );
        let own = runs.iter().position(|run| run["name"] == track["run"]).unwrap();
        let ls = numbers(&runs[own]["ls"]);
        let ends = |name: &str| {
            (track[name][0].as_u64().unwrap() as u32, track[name][1].as_u64().unwrap() as u32)
        };
        let (from, to) = ends("ls");
        let (x, y) = (ends("x"), ends("y"));
        let holds = |region: usize| {
            let [x0, x1, y0, y1] = areas[4 * region..][..4] else { unreachable!() };
            (x.0 <= x0 && x1 <= x.1 && y.0 <= y0 && y1 <= y.1)
                && flags[region] & 1 == u8::from(track["side"] == "hot")
        };
        let shown = (0..run.len()).filter(|&frame| {
            usize::from(run[frame]) == own && (from..=to).contains(&ls[at[frame] as usize])
        });
        let most = shown.map(|frame| {
            (0..frames.len())
                .filter(|&region| frames[region] as usize == frame && holds(region))
                .map(|region| bins[region])
                .sum::<u32>()
        });
        assert_eq!(most.max().map(u64::from), track["bins"].as_u64(), "{track}");
    }
    for view in views {
        let (frames, bins) = (numbers(&view["at"]).len(), view["k"].as_u64().unwrap() as usize);
        let coded = [&view["input"], &view["output"], &view["errors"], &view["raw"]["codes"]]
            .map(|codes| unpacked(codes).len());
        assert_eq!(coded, [frames * bins; 4]);
        assert!(!numbers(&view["masked"]).is_empty());
    }
    for components in data["components"].as_array().unwrap() {
        let shares: f64 = components["share"]
            .as_array()
            .unwrap()
            .iter()
            .map(|share| share.as_f64().unwrap())
            .sum();
        assert!(
            (shares - 1.0).abs() < 1e-6 && components["number"].as_array().unwrap().len() == 5,
            "{shares}"
        );
    }
    for run in runs {
        let rows = numbers(&run["ls"]).len();
        let latents = run["latents"].as_array().unwrap();
        assert!(
            latents.len() == 2
                && latents.iter().all(|channel| unpacked(&channel["codes"]).len() == 5 * rows)
        );
    }

    succeed(folder, &["report", "pixel", "--png", "png", "-q"]);
    let pictures: Vec<String> = fs::read_dir(folder.join("png"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    for wanted in ["components.png", "maps-", "regions-"] {
        assert!(pictures.iter().any(|name| name.starts_with(wanted)), "{wanted}: {pictures:?}");
    }
    let Some(python) = python() else { return };
    let words = &opened(&python, &[page], &[])[0];
    assert!(
        words.contains("regions over lumisections")
            && words.contains("component 0: ")
            && words.contains("all below each other")
    );
}

#[test]
fn the_page_of_a_search_says_which_trial_is_the_best_and_how_to_have_it_again() {
    let place = metsig("0.2");
    let folder = place.path();
    let page = search(folder, "s", "trials = 6\nrepeats = 2", &[]);
    let before = fs::read(&page).unwrap();
    assert!(
        before == fs::read(collected(folder, "s")).unwrap(),
        "the same trials give the same page"
    );
    let data = payload(&page);
    let (best, trials) = (&data["best"], data["trials"].as_array().unwrap());
    let lowest =
        trials.iter().filter_map(|trial| trial["objective"].as_f64()).fold(f64::MAX, f64::min);
    assert_eq!((trials.len(), best["mean"].as_f64().unwrap()), (6, lowest));
    assert!(trials.iter().all(|trial| {
        folder.join("s").join(trial["folder"].as_str().unwrap()).join("report.html").exists()
    }));
    assert_eq!(fs::read_link(folder.join("s/best")).unwrap().to_str(), best["folder"].as_str());
    // What it says to do leads to the same network.
    let again = best["again"].as_str().unwrap();
    let output = Command::new("/bin/sh")
        .arg("-c")
        .arg(again)
        .current_dir(folder)
        .env("PATH", Path::new(PROGRAM).parent().unwrap())
        .output()
        .unwrap();
    assert!(output.status.success(), "{again}\n{}", String::from_utf8_lossy(&output.stderr));
    let network = |place: &str| fs::read(folder.join(place).join("model/all.safetensors")).unwrap();
    assert!(network("s/best") == network("s-again"), "{again}");
}

#[test]
fn pages_of_searches_are_drawn_however_far_they_are() {
    let Some(python) = python() else { return };
    let place = metsig("0.2");
    let folder = place.path();
    let mut pages = vec![
        search(folder, "pruned", "trials = 12\npruner = \"asha\"\nwarm_up = 2\nreduction = 2", &[]),
        search(folder, "repeats", "trials = 5\nrepeats = 2", &[]),
        search(folder, "one", "trials = 1", &[]),
        search(
            folder,
            "failed",
            "trials = 3",
            &["sweep.space.train.optimizer.learning_rate={ log_uniform = [1e30, 1e36] }"],
        ),
    ];
    // A sweep that was begun, and no more.
    let begun = folder.join("begun");
    fs::create_dir_all(begun.join("trials")).unwrap();
    fs::copy(folder.join("pruned/sweep.toml"), begun.join("sweep.toml")).unwrap();
    pages.push(collected(folder, "begun"));
    let words = opened(&python, &pages, &[]);
    let state = |at: usize, name: &str| payload(&pages[at])["states"][name].as_u64().unwrap_or(0);
    assert!(
        state(0, "pruned") > 0 && words[0].contains(&format!("{} △ pruned", state(0, "pruned"))),
        "{}",
        &words[0][..400]
    );
    assert!(
        words[0].contains("is the best of 12: lowest channels.training.best_valid_loss")
            && words[0].contains("<img src=x onerror=alert(1)>")
    );
    assert!(words[1].contains("the mean of 2 trainings") && words[1].contains("±"));
    assert!(words[2].contains("the only trial: channels.training.best_valid_loss"));
    assert!(
        words[3].contains("no trial came to a figure: 3 failed.")
            && words[3].contains("training diverged"),
        "{}",
        words[3]
    );
    assert!(
        words[4].contains("no trial is done yet") && words[4].contains("12 ○ to do"),
        "{}",
        words[4]
    );
}

#[test]
fn page_terminal_and_report_have_the_same_counts_and_name_their_rows() {
    let place = metsig("0.3");
    let folder = place.path();
    succeed(folder, &["synth", "cms2010b", "2010", "--rows", "1500", "-q"]);
    let of_2010 = [
        "data.train=[\"2010/features.parquet\"]",
        "labels.good=\"2010/labels.npy\"",
        "labels.subsystems.folder=\"2010/Quality2010\"",
        "train.epochs=2",
    ];
    let sound = [&of_2010[..], &["train.ensemble=1"]].concat();
    let notebook = ["data.train=[\"good.csv\"]", "data.test=[\"bad1.csv\"]", "train.epochs=2"];
    let pages = [
        page(folder, "metsig", "metsig.toml", METSIG),
        page(folder, "metsig-notebook", "metsig-notebook.toml", &notebook),
        page(folder, "cms2010b", "cms2010b.toml", &sound),
        page(folder, "cms2010b-notebook", "cms2010b-notebook.toml", &of_2010),
    ];
    let mut told = vec![];
    for page in &pages {
        let name = page.file_stem().unwrap().to_str().unwrap();
        let (report, terminal) = (report(&folder.join(name)), succeed(folder, &["report", name]));
        let absent: usize = report.data.not_evaluated.iter().map(|(_, rows)| rows).sum();
        let (counts, data) = (report.counts(), payload(page));
        assert_eq!(
            (counts.not_evaluated_of_all, &data["answer"]["counts"]["not_evaluated_of_all"]),
            (absent, &absent.into()),
            "{name}"
        );
        assert!(
            absent == 0 || terminal.contains(&format!("not evaluated: {}", report.absent())),
            "{name}: {terminal}"
        );
        // Of the files that are judged all rows count, those of runs without any evaluated row too.
        let scores = crate::common::scores(&folder.join(name));
        let of_test = name.starts_with("metsig");
        let rejected = scores
            .rows
            .iter()
            .filter(|row| row.rejected.is_some() && (!of_test || &*row.file != "good.csv"));
        assert_eq!(
            (counts.not_evaluated, report.judged_files()),
            (rejected.count(), if of_test { "the test files" } else { "all files" }),
            "{name}"
        );
        assert!(of_test || counts.not_evaluated == absent, "{name}");
        let listed: usize = report
            .runs
            .iter()
            .map(|run| run.not_evaluated)
            .chain(report.runs_not_evaluated.iter().map(|run| run.rows))
            .sum();
        assert_eq!(listed + counts.elsewhere, counts.not_evaluated, "{name}");
        assert!(report.on == "test" || counts.elsewhere == 0, "{name}");
        // The same answer, and the same warnings in the same order, each once.
        let answer = report.answer();
        assert!(
            terminal.contains(&answer) && data["answer"]["text"] == answer.as_str(),
            "{name}: {answer}\n{terminal}"
        );
        let warnings: Vec<&str> =
            terminal.lines().filter_map(|line| line.strip_prefix("warning: ")).collect();
        assert_eq!(warnings, report.warnings, "{name}");
        // Rows are good only where labels say so.
        let labelled = name.starts_with("cms2010b");
        assert!(labelled || !terminal.contains("good rows"), "{name}: {terminal}");
        for threshold in &report.thresholds {
            let taken = if labelled { "labelled good" } else { "taken for good (no labels)" };
            assert!(
                threshold.rows == 0 || threshold.rows_are.ends_with(taken),
                "{name}: {}",
                threshold.rows_are
            );
        }
        told.push((report, terminal, data));
    }
    let [(metsig, ..), (each_its_own, ..), (sound, ..), (in_sample, ..)] = &told[..] else {
        unreachable!()
    };
    let files = &metsig.thresholds[0].files;
    assert!(
        files.len() == 1 && files[0].ends_with("good.csv"),
        "no calibration row is from bad1.csv: {files:?}"
    );
    assert!(each_its_own.thresholds.iter().all(|threshold| threshold.files.is_empty()));
    assert!(
        each_its_own.false_alarms.is_none()
            && each_its_own
                .warnings
                .iter()
                .any(|warning| warning.contains("false-alarm rate is not known"))
    );
    for report in [sound, in_sample] {
        assert!(
            report.false_alarms.is_none()
                || report
                    .warnings
                    .iter()
                    .all(|warning| !warning.contains("false-alarm rate is not known"))
        );
        assert!(report.combined.as_ref().unwrap().what.contains("ln(score / mean-field error)"));
        assert!(
            report.channels[0].training.loss.contains("mean over features and rows")
                || report.channels[0].training.loss.contains("sum over features")
        );
    }
    assert!(
        in_sample.beside.iter().all(|beside| beside.sample == "rows labelled good"),
        "{:?}",
        in_sample.beside
    );
    let Some(python) = python() else { return };
    for ((report, _, _), words) in told.iter().zip(opened(&python, &pages, &["--brief"])) {
        let counts = report.counts();
        assert!(
            counts.not_evaluated_of_all == 0
                || words.contains(&format!("rows not evaluated: {}", report.absent())),
            "{}",
            report.absent()
        );
        assert!(
            words.contains(&format!(
                "{} ○ not evaluated of {}",
                answer::thousands(counts.not_evaluated),
                report.judged_files()
            )),
            "{counts:?}"
        );
        assert!(words.contains(&report.answer().to_lowercase()), "{}", report.answer());
        let of_test = if report.on == "test" { "test run" } else { "the " };
        assert!(
            report.on == "test" || !words.contains("test runs, most flagged"),
            "figures are on all rows"
        );
        assert!(report.runs.is_empty() || words.contains(of_test), "{of_test}");
        let known = words.contains("false-alarm rate not known");
        assert_eq!(known, report.false_alarms.is_none());
    }
}

#[test]
fn what_makes_results_worthless_comes_first() {
    let place = metsig("0.1");
    let folder = place.path();
    fs::write(folder.join("reversed.csv"), reversed(true)).unwrap();
    let train = |name: &str, sets: &[&str]| {
        page(folder, name, "metsig.toml", &[METSIG, sets].concat());
        (report(&folder.join(name)), succeed(folder, &["report", name]))
    };
    let of_features = [
        "data.train=[\"reversed.csv\"]",
        "data.test=[]",
        "labels.good=\"good\"",
        "split.by=\"random\"",
        "split.test=0.3",
        "train.epochs=15",
    ];
    for (name, sets, first) in [
        (
            "unlearnt",
            &["train.optimizer.learning_rate=1e-12"][..],
            "The network has learnt nothing.",
        ),
        (
            "collapsed",
            &[
                "model.latent_activation=\"relu\"",
                "model.hidden=[]",
                "model.latent=1",
                "train.optimizer.kind=\"sgd\"",
                "train.optimizer.learning_rate=3.0",
            ],
            "The network has ",
        ),
        ("reversed", &of_features, "Bad rows score lower than good ones"),
    ] {
        let (report, terminal) = train(name, sets);
        let answer = report.answer();
        assert!(answer.starts_with(first), "{name}: {answer}");
        let same = first.trim_end_matches('.').to_lowercase();
        let warning = &report.warnings[0];
        assert!(
            warning.starts_with(&same) || (name == "reversed" && warning.contains("below 0.5")),
            "{name}: {warning}"
        );
        assert!(
            terminal.lines().find(|line| line.starts_with("answer ")).unwrap().contains(first),
            "{terminal}"
        );
        assert!(
            terminal.contains(&format!("warning: {warning}"))
                && terminal.matches(warning.as_str()).count() == 1,
            "{terminal}"
        );
    }
    for (value, first) in [("1e-30", "all "), ("1e30", "none of the ")] {
        let (report, _) = train(
            &format!("fixed-{value}"),
            &[&format!("threshold={{kind=\"fixed\", value={value}}}"), "train.epochs=20"],
        );
        assert!(
            report.findings.is_empty() && report.warnings[0].starts_with(first),
            "{:?} {:?}",
            report.findings,
            report.warnings
        );
        assert!(report.answer().to_lowercase().starts_with(first), "{}", report.answer());
    }
    let (report, _) = train("fine", &["train.epochs=40"]);
    assert!(report.findings.is_empty(), "{:?}", report.findings);
}

#[test]
fn bins_have_the_same_names_everywhere() {
    let place = metsig("0.2");
    let folder = place.path();
    page(folder, "m", "metsig.toml", METSIG);
    let report = report(&folder.join("m"));
    let worst = &report.worst[0];
    let terminal = succeed(folder, &["report", "m", "--png", "png"]);
    let top = &worst.features[0];
    assert!(
        top.name.starts_with("bin_")
            && terminal.contains(&format!(
                "{} {:.0} % ({})",
                top.place(),
                100.0 * top.share,
                top.times()
            )),
        "{terminal}"
    );
    let run = worst.file.as_str();
    let why = succeed(
        folder,
        &["score", "m", "--data", run, "--out", "s.csv", "--why", &worst.ls.to_string()],
    );
    assert!(why.contains(&top.place()) && why.contains(&top.times()), "{why}");
}
