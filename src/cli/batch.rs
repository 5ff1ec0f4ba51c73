//! Shared parts of the commands that send work to a batch system.

use super::ui::Ui;
use crate::text::count;
use crate::{
    config::{Batch, DeviceChoice, Experiment},
    error::{Error, Result},
    sweep::engine::{self, Engine, State, Submission},
};
use clap::{Args, ValueEnum};
use std::path::Path;

/// The place of the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Where {
    /// On this machine, by this program
    Local,
    /// On a cluster, sent with sbatch
    Slurm,
    /// On a cluster, sent with condor_submit
    Htcondor,
}

/// Options of the commands that send work to a batch system.
#[derive(Clone, Copy, Debug, Args)]
pub struct Engines {
    /// Where to run: this machine, or a batch system as configured in [batch]
    #[arg(long, value_name = "ENGINE", default_value = "local")]
    engine: Where,
    /// Print what would be done (for a batch system: what would be sent) without writing or sending
    /// anything
    #[arg(long)]
    dry_run: bool,
}

impl Engines {
    /// The batch system; `None` for this machine.
    pub fn batch(self) -> Option<Engine> {
        match self.engine {
            Where::Local => None,
            Where::Slurm => Some(Engine::Slurm),
            Where::Htcondor => Some(Engine::HtCondor),
        }
    }

    /// Whether nothing is sent or written.
    pub fn is_dry(self) -> bool {
        self.dry_run
    }
}

/// Converts a name to one that every batch system accepts.
pub fn job_name(name: &str) -> String {
    let plain = |letter: char| {
        if letter.is_ascii_alphanumeric() || "._-".contains(letter) { letter } else { '-' }
    };
    format!("lumisift-{}", name.chars().take(60).map(plain).collect::<String>())
}

/// Fails for devices for which a task would get no GPU, or that its program does not support.
pub fn check_devices(engine: Engine, experiment: &Experiment) -> Result<()> {
    let (device, batch) = (experiment.device.written(), &experiment.batch);
    let on_gpus =
        |device: &DeviceChoice| matches!(device, DeviceChoice::Auto | DeviceChoice::Wgpu(_));
    if experiment.device.iter().any(on_gpus) && batch.gpus.is_unset() {
        return Err(Error::input(format!(
            "batch.gpus: not set, and device = \"{device}\" does not say how many GPUs {engine} is to reserve for a task; \
             expected batch.gpus = 0 or more, or device = \"cpu\" or \"cuda\""
        )));
    }
    // Another program may have been built with more devices.
    let lacks = |device: &DeviceChoice| match device {
        _ if batch.program.is_some() => None,
        DeviceChoice::Cuda(_) => (!cfg!(feature = "cuda")).then_some("CUDA"),
        DeviceChoice::Wgpu(_) => (!cfg!(feature = "wgpu")).then_some("WGPU"),
        DeviceChoice::Auto => (*batch.gpus > 0 && !cfg!(any(feature = "cuda", feature = "wgpu")))
            .then_some("CUDA and WGPU"),
        DeviceChoice::Cpu => None,
    };
    match experiment.device.iter().find_map(lacks) {
        None => Ok(()),
        Some(what) => Err(Error::input(format!(
            "device: found \"{device}\", but this program, which the tasks would run, was built without {what}; \
             expected batch.program = the path of one built with it (docs/install.md), or device = \"cpu\""
        ))),
    }
}

/// Fails if a batch system still has tasks of the folder.
pub fn refuse_twice(folder: &Path) -> Result<()> {
    let submissions = engine::submissions(folder)?;
    let states = engine::states(&submissions)?;
    match states.values().find(|task| task.state != State::Ended) {
        None => Ok(()),
        Some(task) => {
            let message = format!(
                "{} is in the queue for it ({}); wait for it, or remove it from the queue first",
                task.id, task.why
            );
            Err(Error::input(format!("{}: {message}", folder.display())))
        }
    }
}

/// Prints what was sent, and the commands to follow it.
pub fn tell(submissions: &[Submission], batch: &Batch, ui: &Ui) -> Result<()> {
    if ui.json {
        return ui.print_json(&submissions);
    }
    let mut next = vec![];
    for submission in submissions {
        let Some(first) = submission.tasks.first() else { continue };
        let gpus = if *batch.gpus > 0 {
            format!(", {}", count(*batch.gpus as usize, "GPU"))
        } else {
            String::new()
        };
        ui.print(&format!(
            "sent       {} to {} as job {}: {}, {} MiB{gpus} each",
            count(submission.tasks.len(), "task"),
            submission.engine,
            submission.id(),
            count(batch.cpus as usize, "core"),
            *batch.memory,
        ))?;
        let log = submission.log(*first);
        let one = submission.tasks.len() == 1;
        ui.print(&format!(
            "logs       {}",
            if one {
                log.display().to_string()
            } else {
                format!("{}/*.log", submission.folder.display())
            }
        ))?;
        next.push(submission.follow());
        next.push(format!("tail -F {}", log.display()));
    }
    ui.next(&next)
}
