//! `lumisift sensitivity`: measures which defects an experiment finds.

use super::{
    Sets, load, only_keys,
    outputs::{self, Outputs},
    stop::Stop,
    train::Local,
    ui::Ui,
};
use crate::{
    config::Experiment,
    device::{self, Device},
    error::{Error, Result},
    files::folder::{Folder, names},
    prepare::{Prepared, training},
    report::{figures::Report, terminal},
    score::{scored_rows, scores::Scores},
    sensitivity::{
        self, FILES, Plan,
        outcome::{Outcome, Share},
    },
    text::count,
};
use clap::Args;
use std::{
    path::{Path, PathBuf},
    time::Instant,
};

/// Inject defects of given sizes and strengths into good held-out lumisections, and count how many
/// are flagged
#[derive(Debug, Args)]
pub struct Arguments {
    /// An experiment's TOML file, which is trained first, or the folder of a trained experiment
    config: PathBuf,
    /// The folder to write to
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Replace the contents of the folder
    #[arg(long)]
    force: bool,
    /// Where to compute: auto, cpu, cuda[:N], wgpu[:N]; overrides the config
    #[arg(long)]
    device: Option<String>,
    #[command(flatten)]
    sets: Sets,
}

/// Name of the subfolder in which the experiment of a config is trained.
const EXPERIMENT: &str = "experiment";

/// A trained experiment with its rows.
struct Trained {
    folder: Folder,
    /// The name of the folder in outputs.
    place: String,
    prepared: Prepared,
    plan: Plan,
    device: Device,
}

pub fn run(arguments: &Arguments, ui: &Ui) -> Result<()> {
    sensitivity::check_free(&arguments.out, arguments.force)?;
    let is_trained = arguments.config.is_dir();
    if is_trained {
        only_keys(&arguments.sets.sets, &["sensitivity"], "sensitivity")?;
    }
    let Trained { folder, place, prepared, plan, device } =
        if is_trained { open(arguments, ui)? } else { train(arguments, ui)? };
    let model = folder.read_model(&[])?;
    let score = folder.read_json::<Report>(names::REPORT)?.score;
    let stop = Stop::new(None)?;
    let bar = ui.bar(plan.points() as u64, "injecting {wide_bar:.green/dim} {pos}/{len} {eta}");
    let points = plan.points();
    ui.say(&format!(
        "{}: {} sizes and strengths on {}",
        model.experiment.name, points, device.name
    ));
    let again = format!(
        "lumisift sensitivity {} --out {}",
        arguments.config.display(),
        arguments.out.display()
    );
    let done = || {
        bar.inc(1);
        if stop.is_signalled() {
            Err(stop.paused(&format!("{} of {points} sizes and strengths", bar.position()), &again))
        } else {
            Ok(())
        }
    };
    let outcome = plan.run(&model, prepared, (place, score), &device, &done);
    bar.finish_and_clear();
    let outcome = outcome?;
    sensitivity::write(&arguments.out, &outcome)?;
    if ui.json {
        return ui.print_json(&outcome);
    }
    ui.print(&render(&outcome, ui.width()))?;
    let out = arguments.out.display();
    outcome.notes.iter().for_each(|note| ui.warn(note));
    ui.print(&format!("wrote      {out}/ ({})", FILES.join(", ")))?;
    let mut next = vec![format!("open {out}/{} in a browser", FILES[2])];
    if !is_trained {
        let size = "'sensitivity.sizes=[{x=8,y=3}]'";
        let size = if outcome.unit == "bins" { "'sensitivity.sizes=[{x=3}]'" } else { size };
        next.push(format!("lumisift sensitivity {out}/{EXPERIMENT} --set {size} --out {out}-more"));
    }
    ui.next(&next)
}

/// The output files in the folder; existing ones may be replaced.
fn own(arguments: &Arguments) -> Outputs {
    Outputs::new("sensitivity", true).folder("--out", &arguments.out, FILES)
}

/// A trained experiment, with its rows prepared again.
fn open(arguments: &Arguments, ui: &Ui) -> Result<Trained> {
    let folder = Folder::open(&arguments.config)?;
    if !folder.is_complete() {
        let path = arguments.config.display();
        return Err(Error::input(format!(
            "{path}: the experiment is not complete; lumisift train {path}/{} --out {path} --resume",
            names::EXPERIMENT
        )));
    }
    let experiment = load(
        &folder.file(names::EXPERIMENT),
        &arguments.sets,
        Some(arguments.device.as_deref().unwrap_or("cpu")),
    )?;
    own(arguments).reads_experiment(&arguments.config, &experiment).check()?;
    let device = device::open(experiment.device[0])?;
    let prepared = again(&folder, &experiment, ui)?;
    let plan = Plan::new(&experiment, &prepared)?;
    Ok(Trained { folder, place: arguments.config.display().to_string(), prepared, plan, device })
}

/// The rows of a trained experiment.
fn again(folder: &Folder, experiment: &Experiment, ui: &Ui) -> Result<Prepared> {
    let scores = Scores::read(&folder.file(names::SCORES))?;
    let reading = ui.reading(&[&experiment.data.train, &experiment.data.test]);
    scored_rows::prepare_scored(experiment, &folder.read_model(&[])?.networks, &scores, &|path| {
        reading.read(path)
    })
}

/// Trains the experiment of a config in the output folder, unless it is complete.
fn train(arguments: &Arguments, ui: &Ui) -> Result<Trained> {
    let mut wanted = load(&arguments.config, &arguments.sets, arguments.device.as_deref())?;
    wanted.sweep = None;
    // Injected defects do not affect the training: other sizes do not need another one.
    let mut experiment = wanted.clone();
    experiment.sensitivity = Default::default();
    let path = arguments.out.join(EXPERIMENT);
    own(arguments).reads("the config", &experiment.inputs()).check()?;
    outputs::check_room(&path, "the config", &experiment.inputs())?;
    let begun = begun(&path, &experiment, arguments.force)?;
    let deadline = experiment.train.time_limit.and_then(|limit| Instant::now().checked_add(limit));
    let mut devices = device::open_all(&experiment.device)?;
    let of = |folder, prepared, plan, devices: &mut Vec<Device>| Trained {
        folder,
        place: EXPERIMENT.into(),
        prepared,
        plan,
        device: devices.swap_remove(0),
    };
    if let Some(folder) = begun.as_ref().filter(|folder| folder.is_complete()) {
        ui.say(&format!("{}: trained already", path.display()));
        let prepared = again(folder, &experiment, ui)?;
        let plan = Plan::new(&wanted, &prepared)?;
        return Ok(of(folder.clone(), prepared, plan, &mut devices));
    }
    let mut prepared = {
        let reading = ui.reading(&[&experiment.data.train, &experiment.data.test]);
        training::prepare(&experiment, &|path| reading.read(path))?
    };
    ui.warn_unreadable(&prepared.samples);
    // Errors in the plan are reported before anything is trained.
    let plan = Plan::new(&wanted, &prepared)?;
    let command = format!(
        "lumisift sensitivity {} --out {}",
        arguments.config.display(),
        arguments.out.display()
    );
    let local = Local { out: &path, force: arguments.force, begun, deadline, command, last: false };
    local.train(&experiment, &mut prepared, &devices, ui)?;
    Ok(of(Folder::open(&path)?, prepared, plan, &mut devices))
}

/// The experiment trained or begun before. With `force` an experiment of another config is
/// replaced.
fn begun(path: &Path, experiment: &Experiment, force: bool) -> Result<Option<Folder>> {
    match Folder::begun(path, experiment) {
        Err(error) if force && error.exit_code() == 2 => Ok(None),
        Err(error) => Err(error.map(|message| {
            let told = message.strip_prefix("--resume: ").unwrap_or(&message);
            format!("--out: {told}; choose another folder, or --force to train again")
        })),
        Ok(None) => Folder::check_free(path, force).map(|()| None),
        Ok(begun) => Ok(begun),
    }
}

/// The table of sizes by strengths.
fn render(outcome: &Outcome, width: u16) -> String {
    let settings = &outcome.settings;
    let mut strengths = settings.strengths.clone();
    strengths.sort_by(f64::total_cmp);
    let header: Vec<String> = std::iter::once(outcome.unit.clone())
        .chain(strengths.iter().map(|strength| format!("×{strength}")))
        .collect();
    let mut table = terminal::table(&header.iter().map(String::as_str).collect::<Vec<_>>(), width);
    for size in &settings.sizes {
        let mut row = vec![size.to_string()];
        for strength in &strengths {
            let point = outcome
                .points
                .iter()
                .find(|point| point.size == *size && point.strength == *strength);
            row.push(point.map_or_else(|| "–".into(), |point| percent(&point.efficiency)));
        }
        table.add_row(row);
    }
    let (overlap, mean) = outcome
        .points
        .iter()
        .filter(|point| point.efficiency.flagged > 0)
        .filter_map(|point| point.iou)
        .fold((0, 0.0), |(n, sum), iou| (n + 1, sum + iou));
    let mut text = format!("{table}\n");
    let channels = if outcome.false_alarms.len() > 1 {
        format!(" in {} at the same place", count(settings.channels, "channel"))
    } else {
        String::new()
    };
    text.push_str(&format!(
        "efficiency share of {} flagged with a defect{channels}, by size and factor of the contents\n",
        count(outcome.rows, "row")
    ));
    if overlap > 0 {
        text.push_str(&format!(
            "overlap    {:.2} on average between injected and found areas, if any is found\n",
            mean / overlap as f64
        ));
    }
    if let Some(alarms) = outcome.false_alarm() {
        let Share { flagged, rows, interval, .. } = alarms;
        let interval = interval.map_or_else(String::new, |(low, high)| {
            format!(" ({:.2} % to {:.2} %)", 100.0 * low, 100.0 * high)
        });
        text.push_str(&format!(
            "no defect  {flagged} of {rows} {} flagged: {}{interval}",
            outcome.sample,
            percent(alarms)
        ));
    }
    text
}

/// A share in percent.
fn percent(share: &Share) -> String {
    share.share.map_or_else(|| "–".into(), |share| format!("{:.1} %", 100.0 * share))
}
