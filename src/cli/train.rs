//! `lumisift train`: trains an experiment into a folder.

use super::{
    Sets,
    batch::{self, Engines},
    load, outputs,
    progress::Progress,
    stop::Stop,
    ui::Ui,
};
use crate::{
    config::Experiment,
    device::{self, Device},
    error::{Error, Result},
    experiment::run::{Ended, Plan},
    files::{
        folder::{Folder, names},
        lock::Lock,
    },
    prepare::{Prepared, training::prepare},
    report::{figures::Report, terminal},
    score::scores::Scores,
    sweep::engine::{self, Engine, Job},
    text::count,
};
use clap::Args;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Instant,
};

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
    /// Continue the experiment in the folder from its last checkpoint; begin it if there is none
    #[arg(long, conflicts_with = "force")]
    resume: bool,
    /// Where to compute: auto, cpu, cuda[:N], wgpu[:N], or several separated by commas; overrides
    /// the config
    #[arg(long)]
    device: Option<String>,
    #[command(flatten)]
    engines: Engines,
    #[command(flatten)]
    sets: Sets,
}

fn complete(ui: &Ui, arguments: &Arguments) -> Result<()> {
    ui.say(&format!("{}: complete, there is nothing to resume", arguments.out.display()));
    Ok(())
}

/// Writes the config for the task. Fails if another process is training there.
fn begin(out: &Path, force: bool, begun: Option<Folder>, experiment: &Experiment) -> Result<()> {
    std::fs::create_dir_all(out).map_err(|error| Error::writing(out, error))?;
    let _lock = Lock::take(out)?;
    // When resuming, device, time limit and checkpoints may differ now.
    let folder = begun.map_or_else(|| Folder::create(out, force), Ok)?;
    folder.write(names::EXPERIMENT, experiment.to_toml()?.as_bytes())
}

/// Sends the training to a batch system; the task resumes the folder that is begun here.
fn send(
    arguments: &Arguments,
    engine: Engine,
    experiment: &Experiment,
    begun: Option<Folder>,
    ui: &Ui,
) -> Result<()> {
    batch::check_devices(engine, experiment)?;
    let is_new = begun.is_none();
    let out = std::path::absolute(&arguments.out)
        .map_err(|error| Error::writing(&arguments.out, error))?;
    let job = Job {
        name: batch::job_name(&experiment.name),
        folder: out.clone(),
        arguments: ["train", "{folder}/experiment.toml", "--out", "{folder}", "--resume"]
            .map(str::to_owned)
            .to_vec(),
        tasks: BTreeMap::from([(0, PathBuf::new())]),
        shared: vec![],
        after: vec![],
    };
    if arguments.engines.is_dry() {
        let config =
            format!("# {}\n{}\n", out.join(names::EXPERIMENT).display(), experiment.to_toml()?);
        return ui
            .print(&format!("{config}{}", engine::describe(engine, &experiment.batch, &job)?));
    }
    engine::check_installed(engine)?;
    batch::refuse_twice(&out)?;
    begin(&out, arguments.force, begun, experiment)?;
    let sent = engine::submit(engine, &experiment.batch, &job).inspect_err(|_| {
        if is_new {
            // Restores the state before the attempt.
            let _ = std::fs::remove_file(out.join(names::EXPERIMENT));
            let _ = std::fs::remove_dir(&out);
        }
    })?;
    batch::tell(&sent, &experiment.batch, ui)
}

/// A training on this machine.
pub struct Local<'a> {
    /// Its folder.
    pub out: &'a Path,
    /// Whether it may replace an experiment there.
    pub force: bool,
    /// The experiment to resume.
    pub begun: Option<Folder>,
    /// The time at which it pauses.
    pub deadline: Option<Instant>,
    /// The command shown to users for resuming it.
    pub command: String,
    /// Whether the prepared inputs are not needed afterwards.
    pub last: bool,
}

impl Local<'_> {
    /// Trains and writes everything; `None` if another process has done so meanwhile.
    pub fn train(
        self,
        experiment: &Experiment,
        prepared: &mut Prepared,
        devices: &[Device],
        ui: &Ui,
    ) -> Result<Option<(Report, Scores)>> {
        let plan = Plan::new(experiment, prepared)?;
        ui.say(&plan.describe(prepared, devices));
        std::fs::create_dir_all(self.out).map_err(|error| Error::writing(self.out, error))?;
        let _lock = Lock::take(self.out)?;
        // Another process may have finished it before this one got the lock.
        if self.begun.as_ref().is_some_and(Folder::is_complete) {
            return Ok(None);
        }
        let is_begun = self.begun.is_some();
        let folder = match self.begun {
            Some(folder) => folder,
            None => Folder::create(self.out, self.force)?,
        };
        // From here on, a pause must write a checkpoint.
        let stop = Stop::new(self.deadline)?;
        let progress = Progress::new(ui, &stop, None);
        let training = plan.open(folder, is_begun, prepared, devices, &progress)?;
        match training.run(prepared, self.last, devices)? {
            Ended::Complete(done) => Ok(Some(*done)),
            Ended::Paused { epochs } => {
                let done = epochs.map_or("training".into(), |epochs| count(epochs, "epoch"));
                Err(stop.paused(&done, &self.command))
            }
        }
    }
}

pub fn run(arguments: &Arguments, ui: &Ui) -> Result<()> {
    let mut experiment = load(&arguments.config, &arguments.sets, arguments.device.as_deref())?;
    // A search does not belong to a training.
    experiment.sweep = None;
    let begun = if arguments.resume { Folder::begun(&arguments.out, &experiment)? } else { None };
    match &begun {
        Some(folder) if folder.is_complete() => {
            return complete(ui, arguments);
        }
        Some(_) => {}
        None => Folder::check_free(&arguments.out, arguments.force)?,
    }
    outputs::check_room(&arguments.out, "the config", &experiment.inputs())?;
    if arguments.engines.batch().is_none() && arguments.engines.is_dry() {
        return Err(Error::input(
            "--dry-run: needs --engine slurm or htcondor; use `lumisift check` to check a config",
        ));
    }
    if let Some(engine) = arguments.engines.batch() {
        return send(arguments, engine, &experiment, begun, ui);
    }
    let deadline = experiment.train.time_limit.and_then(|limit| Instant::now().checked_add(limit));
    let devices = device::open_all(&experiment.device)?;
    let mut prepared = {
        let reading = ui.reading(&[&experiment.data.train, &experiment.data.test]);
        prepare(&experiment, &|path| reading.read(path))?
    };
    ui.warn_unreadable(&prepared.samples);
    let local = Local {
        out: &arguments.out,
        force: arguments.force,
        begun,
        deadline,
        command: format!(
            "lumisift train {0}/{1} --out {0} --resume",
            arguments.out.display(),
            names::EXPERIMENT
        ),
        last: true,
    };
    let Some((report, scored)) = local.train(&experiment, &mut prepared, &devices, ui)? else {
        return complete(ui, arguments);
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
