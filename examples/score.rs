//! Scores rows in memory with a trained experiment: `cargo run --release --example score FOLDER`.
//! Each line of standard input is a row: its bins or features, with commas between them.

use lumisift::{Error, TrainedModel, config::DeviceChoice, device, experiment::rows};
use std::{io::BufRead, path::Path};

fn main() -> lumisift::Result<()> {
    let folder =
        std::env::args().nth(1).ok_or_else(|| Error::input("expected an experiment folder"))?;
    let model = TrainedModel::open(Path::new(&folder))?;
    let mut values: Vec<f32> = vec![];
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(|error| Error::failed(format!("standard input: {error}")))?;
        for field in line.split(',') {
            values.push(field.trim().parse().unwrap_or(f32::NAN));
        }
    }
    let scores = rows::score_rows(&model, &values, &device::open(DeviceChoice::Cpu)?)?;
    let main = scores.main().ok_or_else(|| Error::failed("no channel was scored"))?;
    for (at, row) in scores.rows.iter().enumerate() {
        let index = row.ls.unwrap_or(0);
        match (main.scores[at], &row.rejected) {
            (Some(score), _) => println!("{index},{score},{}", main.verdict(at).name()),
            (None, reason) => println!("{index},,{}", reason.as_deref().unwrap_or("no score")),
        }
    }
    Ok(())
}
