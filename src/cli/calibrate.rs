//! `lumisift calibrate`: recomputes the thresholds on other good data.

use super::{Sets, device_argument, only_keys, outputs, score, ui::Ui};
use crate::{
    config::threshold::CalibrateOn,
    device,
    error::{Error, Result},
    experiment::rows,
    files::{
        folder::{Folder, names},
        lock::Lock,
    },
    prepare::split::Split,
    score::{calibrate, row::ScoredRow, scores::Scores, threshold::Calibrated},
    text::count,
};
use clap::Args;
use std::path::PathBuf;

/// Recompute the thresholds of a trained experiment on other good data
#[derive(Debug, Args)]
pub struct Arguments {
    /// The experiment's folder
    experiment: PathBuf,
    /// Files of good data
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    data: Vec<PathBuf>,
    /// Where to compute: auto, cpu, cuda[:N], wgpu[:N]
    #[arg(long, default_value = "cpu")]
    device: String,
    #[command(flatten)]
    sets: Sets,
}

pub fn run(arguments: &Arguments, ui: &Ui) -> Result<()> {
    only_keys(&arguments.sets.sets, &[score::SETTABLE, &["threshold"]].concat(), "calibrate")?;
    let folder = Folder::open(&arguments.experiment)?;
    let mut sets = arguments.sets.sets.clone();
    if !sets.iter().any(|set| set.starts_with("threshold.on")) {
        sets.push("threshold.on=\"valid\"".into());
    }
    let model = folder.read_model(&sets)?;
    let experiment = &model.experiment;
    if experiment.threshold.on != CalibrateOn::Valid {
        return Err(Error::input(
            "--set threshold.on: `lumisift calibrate` computes the threshold on the given good data; expected \"valid\"",
        ));
    }
    outputs::check_room(&arguments.experiment, "--data", &arguments.data)?;
    let device = device::open(device_argument(&arguments.device)?)?;
    let (prepared, scored, _) = {
        let reading = ui.reading(&[&arguments.data]);
        rows::score_files(&model, &arguments.data, None, &device, &|path| reading.read(path))?
    };
    // Rows labelled bad do not belong to a sample of good data.
    let main = scored.labels.iter().position(|name| name == "good");
    let bad = |row: &ScoredRow| main.is_some_and(|i| row.labels[i] == Some(false));
    let good = scored
        .pick(&(0..scored.rows.len()).filter(|&at| !bad(&scored.rows[at])).collect::<Vec<_>>());
    let mut thresholds =
        calibrate::calibrate(&experiment.threshold, CalibrateOn::Valid, &good, Split::Test)?;
    // These files may have the same names as those of the training.
    for file in thresholds.iter_mut().flat_map(|threshold| &mut threshold.files) {
        if let Some(source) = prepared.samples.sources.iter().find(|source| source.name == *file) {
            *file = source.path.display().to_string();
        }
    }

    let _lock = Lock::take(&arguments.experiment)?;
    let mut scores = Scores::read(&folder.file(names::SCORES))?;
    scores.flag(&thresholds)?;
    folder.write(names::EXPERIMENT, experiment.to_toml()?.as_bytes())?;
    folder.write_json(names::THRESHOLDS, &thresholds)?;
    scores.write(&folder.file(names::SCORES))?;
    if ui.json {
        return ui.print_json(&thresholds.iter().map(Calibrated::brief).collect::<Vec<_>>());
    }
    for (new, old) in
        thresholds.iter().zip(model.thresholds.iter().map(Some).chain(std::iter::repeat(None)))
    {
        let before = old
            .and_then(|old| old.value)
            .map(|value| format!(" (was {value:.6})"))
            .unwrap_or_default();
        let value = new.value.unwrap_or(f64::NAN);
        let of =
            if model.networks.len() > 1 { format!("{}, ", new.channel) } else { String::new() };
        ui.print(&format!(
            "threshold  {of}{}: {value:.6}{before}, from {} {} of {}",
            new.describe(),
            new.rows,
            new.sample(),
            count(new.runs, "run")
        ))?;
        new.warning().iter().for_each(|warning| ui.warn(warning));
    }
    let out = arguments.experiment.display();
    ui.print(&format!(
        "wrote      {out}/{} and updated the flags in {out}/{}",
        names::THRESHOLDS,
        names::SCORES
    ))?;
    ui.next(&[format!("lumisift report {out}")])
}
