//! `lumisift train`: from a config to an experiment folder.

use super::{
    Sets,
    batch::{self, Engines},
    set_device,
    stop::Stop,
    training::{self, Plan},
    ui::Ui,
};
use crate::{
    config::Experiment,
    device,
    error::{Error, Result},
    pipeline,
    report::{
        folder::{Folder, names},
        lock::Lock,
        terminal,
    },
    sweep::engine::{self, Engine, Job},
};
use clap::Args;
use std::{collections::BTreeMap, path::PathBuf, time::Instant};

/// Train an autoencoder for each channel, score its data, write everything to a folder
#[derive(Debug, Args)]
pub struct Arguments {
    /// The experiment's TOML file
    config: PathBuf,
    /// The folder to write to
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Replace the experiment in the folder
    #[arg(long)]
    force: bool,
    /// Go on with the experiment in the folder from its last checkpoint; begin it where there is none
    #[arg(long, conflicts_with = "force")]
    resume: bool,
    /// Where to compute: auto, cpu, cuda[:N], wgpu[:N], or several with commas between them; wins over the config
    #[arg(long)]
    device: Option<String>,
    #[command(flatten)]
    engines: Engines,
    #[command(flatten)]
    sets: Sets,
}

fn complete(ui: &Ui, arguments: &Arguments) -> Result<()> {
    ui.say(&format!("{}: complete, there is nothing to go on with", arguments.out.display()));
    Ok(())
}

/// Leaves the training to a batch system: it goes on, as with `--resume`, with the folder that is begun here.
fn send(arguments: &Arguments, engine: Engine, experiment: &Experiment, begun: bool, ui: &Ui) -> Result<()> {
    let out = std::path::absolute(&arguments.out).map_err(|error| Error::writing(&arguments.out, &error))?;
    let job = Job {
        name: batch::job_name(&experiment.config.name),
        folder: out.clone(),
        arguments: ["train", "{folder}/experiment.toml", "--out", "{folder}", "--resume"].map(str::to_owned).to_vec(),
        tasks: BTreeMap::from([(0, PathBuf::new())]),
        shared: vec![],
        after: vec![],
    };
    if arguments.engines.is_dry() {
        let config = format!("# {}\n{}\n", out.join(names::EXPERIMENT).display(), experiment.to_toml()?);
        return ui.print(&format!("{config}{}", engine::describe(engine, &experiment.batch, &job)?));
    }
    engine::check_installed(engine)?;
    batch::refuse_twice(&out)?;
    if !begun {
        let folder = Folder::create(&out, arguments.force)?;
        folder.write(names::EXPERIMENT, experiment.to_toml()?.as_bytes())?;
    }
    let sent = engine::submit(engine, &experiment.batch, &job).inspect_err(|_| {
        if !begun {
            // As if it had never been tried.
            let _ = std::fs::remove_file(out.join(names::EXPERIMENT));
            let _ = std::fs::remove_dir(&out);
        }
    })?;
    batch::tell(&sent, &experiment.batch, ui)
}

pub fn run(arguments: &Arguments, ui: &Ui) -> Result<()> {
    let mut experiment = Experiment::load(&arguments.config, &arguments.sets.sets)?;
    if let Some(device) = &arguments.device {
        set_device(&mut experiment, device)?;
    }
    // A search is no part of a training.
    (experiment.config.sweep, experiment.space) = (None, None);
    let begun = if arguments.resume { Folder::begun(&arguments.out, &experiment)? } else { None };
    match &begun {
        Some(folder) if folder.is_complete() => {
            return complete(ui, arguments);
        }
        Some(_) => {}
        None => Folder::check_free(&arguments.out, arguments.force)?,
    }
    if arguments.engines.batch().is_none() && arguments.engines.is_dry() {
        return Err(Error::input("--dry-run: goes with --engine slurm or htcondor; `lumisift check` looks at a config"));
    }
    if let Some(engine) = arguments.engines.batch() {
        return send(arguments, engine, &experiment, begun.is_some(), ui);
    }
    let deadline = experiment.time_limit.and_then(|limit| Instant::now().checked_add(limit));
    let devices = device::open_all(&experiment.devices)?;
    let mut prepared = {
        let reading = ui.reading(&[&experiment.train_files, &experiment.test_files]);
        pipeline::prepare(&experiment, &|path| reading.read(path))?
    };
    ui.warn_unreadable(&prepared.samples);
    let plan = Plan::new(&experiment, &prepared)?;
    ui.say(&plan.describe(&prepared, &devices));

    std::fs::create_dir_all(&arguments.out).map_err(|error| Error::writing(&arguments.out, &error))?;
    let _lock = Lock::take(&arguments.out)?;
    let training = match begun {
        None => plan.open(Folder::create(&arguments.out, arguments.force)?, false, &prepared, &devices, ui)?,
        // Another may have finished it before the lock was ours.
        Some(folder) if folder.is_complete() => return complete(ui, arguments),
        Some(folder) => plan.open(folder, true, &prepared, &devices, ui)?,
    };
    // From here on there is something to keep.
    let stop = Stop::new(deadline)?;
    let command = format!("lumisift train {0}/{1} --out {0} --resume", arguments.out.display(), names::EXPERIMENT);
    let trainings = [training];
    let fitted = training::fit(&trainings, &prepared, &devices, &stop)?.remove(0)?;
    let [training] = trainings;
    let Some(fitted) = fitted else {
        return Err(stop.paused(&terminal::count(training.epochs()?, "epoch"), &command));
    };
    let Some((report, scored)) = training.finish(&fitted, &mut prepared, true, &devices, &stop)? else {
        return Err(stop.paused("training", &command));
    };

    if ui.json {
        return ui.print_json(&report);
    }
    ui.print(&terminal::render(&report, Some(&scored), ui.width()))?;
    let out = arguments.out.display();
    ui.print(&format!(
        "wrote      {out}/ (weights in {}/, scores in {}, figures in {} and {})",
        names::MODEL,
        names::SCORES,
        names::PAGE,
        names::REPORT
    ))?;
    ui.next(&[
        format!("open {out}/{} in a browser", names::PAGE),
        format!("lumisift score {out} --data FILE… --out scores.parquet"),
        format!("lumisift report {out}"),
    ])
}
