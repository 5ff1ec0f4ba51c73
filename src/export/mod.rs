//! Trained models for other programs: as an ONNX graph from raw bins to flags ([`scoring`], written
//! by [`onnx`]), and as a package for the inference service of CMS' DIALS ([`dism`]).

pub mod dism;
pub mod onnx;
pub mod scoring;

use crate::{
    error::{Error, Result},
    experiment::trained::TrainedModel,
    files::folder::{Folder, names},
    score::threshold::Calibrated,
};
use onnx::Graph;
use serde::Serialize;
use serde_json::{Value, json};

/// Metadata of a model.
pub fn metadata(
    folder: &Folder,
    model: &TrainedModel,
    graph: &Graph,
) -> Result<Vec<(String, String)>> {
    let experiment = &model.experiment;
    let provenance: Value = folder.read_json(names::PROVENANCE)?;
    let told = |key: &str| provenance[key].as_str().map(str::to_owned);
    let mut metadata = vec![
        ("name".to_owned(), experiment.name.clone()),
        (
            "lumisift".to_owned(),
            told("version").unwrap_or_else(|| env!("CARGO_PKG_VERSION").into()),
        ),
        ("inputs".to_owned(), text(graph.inputs())?),
        ("outputs".to_owned(), text(graph.outputs())?),
        (
            "thresholds".to_owned(),
            text(&model.thresholds.iter().map(Calibrated::brief).collect::<Vec<_>>())?,
        ),
        ("experiment".to_owned(), experiment.to_toml()?),
        ("trained_on".to_owned(), text(&trained_on(&provenance))?),
    ];
    let all: Vec<String> = model
        .read_names()
        .into_iter()
        .chain(model.scaler.added.iter().flat_map(|added| added.names.clone()))
        .collect();
    let blind: Vec<&String> =
        model.scaler.blind_inputs().into_iter().filter_map(|at| all.get(at)).collect();
    if !blind.is_empty() {
        metadata.push(("blind_inputs".to_owned(), text(&blind)?));
    }
    // Folders of earlier versions lack these.
    metadata.extend(told("fingerprint").map(|fingerprint| ("fingerprint".to_owned(), fingerprint)));
    metadata
        .extend(model.element().map(|element| ("monitoring_element".to_owned(), element.clone())));
    Ok(metadata)
}

/// The files that a model was trained on, with their size and hash.
fn trained_on(provenance: &Value) -> Vec<Value> {
    let files = provenance["files"].as_array().map_or(&[][..], Vec::as_slice);
    let of = |file: &Value| json!({"name": file["name"], "rows": file["rows"], "bytes": file["bytes"], "sha256": file["sha256"]});
    files.iter().filter(|file| file["role"] == "train").map(of).collect()
}

fn text(value: &(impl Serialize + ?Sized)) -> Result<String> {
    serde_json::to_string(value).map_err(|error| Error::failed(format!("export: {error}")))
}
