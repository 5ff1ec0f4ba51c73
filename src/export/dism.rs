//! A package for DISM, the manager of the inference service of CMS' DIALS: the input of
//! `dismcli build`, and a script that processes histograms like the service.
//!
//! The template is that of the `dism-core` package (format 2025-03-31), for ONNX models served by
//! NVIDIA's Triton. Column names of bad lumisections are those of DIALS' table.

use super::{metadata, scoring, text, trained_on};
use crate::{
    data::shape::Shape,
    error::{Error, Result},
    experiment::trained::TrainedModel,
    files::folder::{Folder, names},
    report::figures::Report,
};
use serde_json::{Value, json};

/// The script that runs the graph.
const SCRIPT: &str = include_str!("infer.py");
/// The longest name of a service.
const LONGEST_NAME: usize = 36;

/// The names of the files of a package.
pub const FILES: [&str; 5] = ["model.onnx", "model.json", "infer.py", "README.md", "template.yaml"];

/// The files of a package: names and contents, the template last.
pub fn package(
    folder: &Folder,
    model: &TrainedModel,
    me: Option<&str>,
    workspace: &str,
) -> Result<Vec<(&'static str, Vec<u8>)>> {
    let data = folder.read_json::<Report>(names::REPORT)?.data;
    let refused = if data.features {
        "its inputs are features; DIALS provides the bins of monitoring elements"
    } else if data.flow_bins {
        "it was trained on underflow and overflow bins, which histograms in DIALS lack; train with data.flow_bins = \"strip\""
    } else if model.experiment.data.rebin.is_some() || !model.experiment.data.cut_cross.is_empty() {
        "it was trained on bins that data.rebin adds up or data.cut_cross leaves out; DIALS provides all bins"
    } else if model.networks.len() > 1 && model.is_layered() {
        "it was trained on several monitoring elements, of which DIALS provides one; --channel exports one layer"
    } else if model.scaler.added.is_some() || model.experiment.scale.divide_by.is_some() {
        "data.add_inputs and scale.divide_by need quantities of each lumisection in addition to its histogram"
    } else {
        ""
    };
    if !refused.is_empty() {
        return Err(Error::input(format!(
            "{}: cannot be exported to DIALS: {refused}",
            folder.path().display()
        )));
    }
    let element = match (model.element(), me) {
        (Some(known), Some(given)) if known != given => {
            return Err(Error::input(format!("--me {given}: the model was trained on {known}")));
        }
        (Some(known), _) => known.as_str(),
        (None, Some(given)) => given,
        (None, None) => {
            return Err(Error::input(
                "--me: the data do not say which monitoring element they hold; name it as DIALS does, as in JetMET/MET/pfMETT1/Cleaned/METSig",
            ));
        }
    };
    let all = if model.is_layered() {
        model.networks[0].channel.shape.unwrap_or(data.shape)
    } else {
        data.shape
    };
    let shape = Some(all).filter(|shape| shape.y > 1);
    let graph = scoring::graph(model, shape)?;
    let name = service_name(&model.experiment.name);
    let description = format!("{}: autoencoder on {element}", model.experiment.name);
    let file = graph.to_file("lumisift", &description, &metadata(folder, model, &graph)?);

    let provenance: Value = folder.read_json(names::PROVENANCE)?;
    let dims = |lengths: &[usize]| {
        std::iter::once(-1).chain(lengths.iter().map(|length| *length as i64)).collect::<Vec<_>>()
    };
    let facts = json!({
        "name": name,
        "description": description,
        "lumisift": provenance["version"],
        "fingerprint": provenance["fingerprint"],
        "trained_on": trained_on(&provenance),
        "inputs": [{"name": "input_0", "monitoring_element": element, "dims": dims(&graph.inputs()[0].lengths)}],
        "outputs": graph.outputs().iter().map(|port| json!({"name": port.name, "dims": dims(&port.lengths), "is": port.description})).collect::<Vec<_>>(),
        "score": model.experiment.score.kind.name(),
        "threshold": model.thresholds[0].brief(),
        "not_applied": model.experiment.select,
    });
    let facts = serde_json::to_string_pretty(&facts)
        .map_err(|error| Error::failed(format!("export: {error}")))?
        + "\n";
    let template = template(&name, &description, workspace, element, &graph)?;
    let readme = readme(model, &name, element, all);
    let contents =
        [file, facts.into_bytes(), SCRIPT.into(), readme.into_bytes(), template.into_bytes()];
    Ok(FILES.into_iter().zip(contents).collect())
}

/// A valid name for Kubernetes: lower-case letters, digits and hyphens between them.
fn service_name(name: &str) -> String {
    let plain: String = name
        .chars()
        .map(
            |letter| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '-' },
        )
        .collect();
    let parts: Vec<&str> = plain.split('-').filter(|part| !part.is_empty()).collect();
    let short: String = parts.join("-").chars().take(LONGEST_NAME).collect();
    let short = short.trim_matches('-');
    if short.is_empty() { "lumisift".into() } else { short.into() }
}

/// `template.yaml`. A JSON string is a valid YAML string.
fn template(
    name: &str,
    description: &str,
    workspace: &str,
    element: &str,
    graph: &super::onnx::Graph,
) -> Result<String> {
    let signature = |port: &super::onnx::Port, element: Option<&str>| -> Result<String> {
        let kind = if port.kind == super::onnx::Kind::Bool { "TYPE_BOOL" } else { "TYPE_FP32" };
        let element = element
            .map(|element| Ok(format!("          MonitoringElement: {}\n", text(element)?)))
            .transpose()?
            .unwrap_or_default();
        let dims: String =
            port.lengths.iter().map(|length| format!("            - {length}\n")).collect();
        Ok(format!(
            "        - Name: {}\n{element}          DataType: {kind}\n          Dims:\n            - -1\n{dims}",
            port.name
        ))
    };
    let inputs = graph
        .inputs()
        .iter()
        .map(|port| signature(port, Some(element)))
        .collect::<Result<String>>()?;
    let outputs =
        graph.outputs().iter().map(|port| signature(port, None)).collect::<Result<String>>()?;
    Ok(format!(
        "TemplateFormatVersion: \"2025-03-31\"
Description: {description}
Resources:
  {name}:
    Type: InferenceService::Tritonserver::ONNX
    Workspace: {workspace}
    Properties:
      Name: {name}
      Description: {description}
      ModelUri: model.onnx
      # The first dimension of every input and output is the batch, of any size.
      MaxBatchSize: 0
      BuiltinThreshold: true
      FlaggingKey: flag
      MetricKey: error
      InputSignature:
{inputs}      OutputSignature:
{outputs}",
        description = text(description)?,
        workspace = text(workspace)?,
        name = text(name)?,
    ))
}

fn readme(model: &TrainedModel, name: &str, element: &str, shape: Shape) -> String {
    let threshold = &model.thresholds[0];
    let (value, described, rows, runs) =
        (threshold.value.unwrap_or(f64::NAN), threshold.describe(), threshold.rows, threshold.runs);
    let dims = if shape.y > 1 {
        format!("{} x {} bins (y, x)", shape.y, shape.x)
    } else {
        format!("{} bins", shape.x)
    };
    format!(
        "# {name}

An autoencoder that Lumisift trained on `{element}` ({dims}), for the inference service of DIALS.

| file | what it is |
|---|---|
| `model.onnx` | raw bins in, `reconstruction`, `error` and `flag` out; scaling and threshold are inside |
| `template.yaml` | what `dismcli` reads |
| `model.json` | the same for people and scripts: monitoring element, threshold, training files, selection |
| `infer.py` | does to a Parquet file of histograms what the service does |

The flag is `error > {value:.6e}`: {described}, found on {rows} rows of {runs} runs.

## Try it here

```
pip install numpy onnxruntime pandas pyarrow
python infer.py --data histograms.parquet --out bad.csv
```

`histograms.parquet` has the columns of DIALS: `run_number`, `ls_number`, `data`, and where they are known `me`, `dataset_id`, `file_id`,
`me_id`. `bad.csv` has a row for each flagged lumisection, as DIALS' own table of bad lumisections: `model_id, dataset_id, file_id,
run_number, ls_number, me_id, mse`. DIALS calls the column `mse` whatever the metric is; here it is `error`.

## Hand it in

```
pip install \"cmsdism[docker,podman]\"
dismcli build -f template.yaml
dismcli start-api -r {name}
dismcli package
```

`build` asks DIALS whether it knows the monitoring element and whether its shape is the template's. The packaged template is what
a request for registration at DIALS is made with.

## What the service does not do

- Rows that Lumisift would not evaluate are scored too: see `not_applied` in `model.json`. The output `evaluated` is false for
  an empty histogram and for one with numbers that are not finite; `infer.py` leaves it out and counts it. The service itself looks at `flag` alone.
- What is not flagged counts as good in DIALS, also where nothing was known about it.
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_services_are_small_letters_digits_and_hyphens() {
        assert_eq!(service_name("METSig, corrected (v2)"), "metsig-corrected-v2");
        assert_eq!(service_name("--"), "lumisift");
        let long = service_name("a name that is much longer than a service in Kubernetes may have");
        assert!(long.len() <= LONGEST_NAME && !long.ends_with('-'), "{long}");
    }
}
