//! Weights as safetensors in the layout of PyTorch's `Linear`: `encoder.0.weight` is `[out, in]`.
//! Batch norm has the layout of `BatchNorm1d`: `encoder.0.norm.weight`, `.bias`, `.running_mean`
//! and `.running_var`; the slope of PReLU that of `PReLU`: `encoder.0.prelu.weight` `[1]`. A
//! variational autoencoder has two latent layers, `latent_mean` and `latent_log_variance`. A
//! non-negative matrix factorisation is one tensor, `components` `[components, inputs]`.

use super::architecture::{Architecture, LayerPlace};
use crate::error::{Error, Result};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use std::{collections::HashMap, path::Path};

/// Tensor name of the components of a non-negative matrix factorisation.
const COMPONENTS: &str = "components";

/// File name without extension for a member (counted from 0) of a channel's ensemble. The name of
/// the first member does not depend on the number of members.
pub fn stem(channel: &str, member: usize) -> String {
    let channel = channel.replace('/', "_");
    if member == 0 { channel } else { format!("{channel}.member-{}", member + 1) }
}

/// The name of the file with a member's weights.
pub fn file_name(channel: &str, member: usize) -> String {
    format!("{}.safetensors", stem(channel, member))
}

/// The file's bytes for the flat weights of one member.
pub fn to_bytes(architecture: &Architecture, flat: &[f32]) -> Result<Vec<u8>> {
    of_channels(&[(String::new(), architecture, flat)], HashMap::new())
}

/// The bytes of one file for several channels, with text metadata. If there are several channels,
/// tensor names begin with the name of the channel.
pub fn of_channels(
    channels: &[(String, &Architecture, &[f32])],
    mut metadata: HashMap<String, String>,
) -> Result<Vec<u8>> {
    let shapes: Vec<String> =
        channels.iter().map(|(_, architecture, _)| architecture.describe()).collect();
    metadata.insert("architecture".into(), shapes.join(", "));
    let mut tensors: Vec<Stored> = vec![];
    for (name, architecture, flat) in channels {
        let prefix = if channels.len() > 1 { format!("{name}.") } else { String::new() };
        store(&prefix, architecture, flat, &mut tensors);
    }
    let failed = |error: safetensors::SafeTensorError| Error::failed(format!("weights: {error}"));
    let views = tensors
        .iter()
        .map(|(name, shape, bytes)| {
            Ok((name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).map_err(failed)?))
        })
        .collect::<Result<Vec<_>>>()?;
    safetensors::serialize(views, Some(metadata)).map_err(failed)
}

/// Name, shape and bytes of a tensor.
type Stored = (String, Vec<usize>, Vec<u8>);

fn store(prefix: &str, architecture: &Architecture, flat: &[f32], tensors: &mut Vec<Stored>) {
    if architecture.nmf.is_some() {
        let shape = vec![architecture.latent(), architecture.widths[0]];
        tensors.push((
            format!("{prefix}{COMPONENTS}"),
            shape,
            flat.iter().flat_map(|value| value.to_le_bytes()).collect(),
        ));
        return;
    }
    let (parameters, statistics) = flat.split_at(architecture.parameters());
    let layers =
        LayerPlace::all(architecture).into_iter().chain(LayerPlace::log_variance(architecture));
    for (layer, LayerPlace { inputs, outputs, weight, bias, norm, slope }) in layers.enumerate() {
        let name = format!("{prefix}{}", architecture.layer_name(layer));
        let weight = &parameters[weight];
        let transposed =
            (0..outputs).flat_map(|o| (0..inputs).map(move |i| weight[i * outputs + o]));
        tensors.push((
            format!("{name}.weight"),
            vec![outputs, inputs],
            transposed.flat_map(f32::to_le_bytes).collect(),
        ));
        let mut vector = |part: &str, values: &[f32]| {
            tensors.push((
                format!("{name}.{part}"),
                vec![values.len()],
                values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            ));
        };
        vector("bias", &parameters[bias]);
        if let Some(norm) = norm {
            vector("norm.weight", &parameters[norm.scale]);
            vector("norm.bias", &parameters[norm.shift]);
            vector("norm.running_mean", &statistics[norm.mean]);
            vector("norm.running_var", &statistics[norm.variance]);
        }
        if let Some(slope) = slope {
            vector("prelu.weight", &parameters[slope..=slope]);
        }
    }
}

/// Reads flat weights for an architecture; names and shapes must match. PyTorch's batch counter
/// (`num_batches_tracked`) is ignored.
pub fn read(path: &Path, architecture: &Architecture) -> Result<Vec<f32>> {
    crate::files::regular(path)?;
    let bytes = std::fs::read(path).map_err(|error| Error::reading(path, error))?;
    let path = path.display();
    let file = SafeTensors::deserialize(&bytes)
        .map_err(|error| Error::input(format!("{path}: not a whole safetensors file: {error}")))?;
    let mut flat = vec![];
    let (mut statistics, mut expected): (Vec<f32>, Vec<String>) = (vec![], vec![]);
    let take = |name: &str, shape: &[usize]| {
        let tensor = file.tensor(name).map_err(|_| {
            let mut names = file.names();
            names.sort_unstable();
            Error::input(format!(
                "{path}: no tensor {name} {shape:?} for {}; it holds {}",
                architecture.describe(),
                names.join(", ")
            ))
        })?;
        if tensor.shape() != shape {
            return Err(Error::input(format!(
                "{path}: {name} is {:?}; expected {shape:?} for {}",
                tensor.shape(),
                architecture.describe()
            )));
        }
        numbers(&tensor).ok_or_else(|| {
            Error::input(format!(
                "{path}: {name} is of type {:?} or not finite; expected finite F32 or F64",
                tensor.dtype()
            ))
        })
    };
    if architecture.nmf.is_some() {
        let components = take(COMPONENTS, &[architecture.latent(), architecture.widths[0]])?;
        if components.iter().any(|value| *value < 0.0) {
            return Err(Error::input(format!(
                "{path}: {COMPONENTS} has a negative entry; expected none"
            )));
        }
        return Ok(components);
    }
    for (layer, (inputs, outputs)) in
        architecture.shapes().chain(architecture.log_variance()).enumerate()
    {
        let name = architecture.layer_name(layer);
        let mut take = |part: &str, shape: &[usize]| {
            expected.push(format!("{name}.{part}"));
            take(&format!("{name}.{part}"), shape)
        };
        let weight = take("weight", &[outputs, inputs])?;
        flat.extend(
            (0..inputs)
                .flat_map(|i| (0..outputs).map(move |o| (i, o)))
                .map(|(i, o)| weight[o * inputs + i]),
        );
        flat.extend(take("bias", &[outputs])?);
        if layer == architecture.layers() {
            break;
        }
        if architecture.is_normalised(layer) {
            flat.extend(take("norm.weight", &[outputs])?);
            flat.extend(take("norm.bias", &[outputs])?);
            statistics.extend(take("norm.running_mean", &[outputs])?);
            let variance = take("norm.running_var", &[outputs])?;
            if variance.iter().any(|variance| *variance < 0.0) {
                return Err(Error::input(format!(
                    "{path}: {name}.norm.running_var has a negative entry; expected variances"
                )));
            }
            statistics.extend(variance);
        }
        if architecture.is_sloped(layer) {
            flat.extend(take("prelu.weight", &[1])?);
        }
    }
    flat.extend(statistics);
    let counts =
        |name: &str| architecture.batch_norm && name.ends_with(".norm.num_batches_tracked");
    if let Some(extra) = file
        .names()
        .into_iter()
        .find(|name| !expected.iter().any(|expected| expected == name) && !counts(name))
    {
        return Err(Error::input(format!(
            "{path}: holds {extra}, which {} does not have",
            architecture.describe()
        )));
    }
    Ok(flat)
}

fn numbers(tensor: &TensorView<'_>) -> Option<Vec<f32>> {
    let numbers: Vec<f32> = match tensor.dtype() {
        Dtype::F32 => tensor
            .data()
            .as_chunks::<4>()
            .0
            .iter()
            .map(|bytes| f32::from_le_bytes(*bytes))
            .collect(),
        Dtype::F64 => tensor
            .data()
            .as_chunks::<8>()
            .0
            .iter()
            .map(|bytes| f64::from_le_bytes(*bytes) as f32)
            .collect(),
        _ => return None,
    };
    numbers.iter().all(|number| number.is_finite()).then_some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::{Activation, Init, Model};
    use proptest::prelude::*;

    fn architecture(inputs: usize, hidden: u32, latent: u32) -> Architecture {
        Architecture::new(inputs, &Model { hidden: vec![hidden], latent, ..Model::default() })
    }

    fn normalised(inputs: usize, hidden: u32, latent: u32) -> Architecture {
        Architecture { batch_norm: true, ..architecture(inputs, hidden, latent) }
    }

    fn written(bytes: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        file
    }

    #[test]
    fn another_shape_is_refused_by_name() {
        let small = architecture(4, 3, 2);
        let file = written(&to_bytes(&small, &small.draw(Init::HeNormal, 1, 0)).unwrap());
        let message = read(file.path(), &architecture(5, 3, 2)).unwrap_err().to_string();
        assert!(
            message.contains("encoder.0.weight is [3, 4]; expected [3, 5] for 5-3-2-3-5"),
            "{message}"
        );
        let deeper =
            Architecture::new(4, &Model { hidden: vec![3, 2], latent: 2, ..Model::default() });
        assert!(read(file.path(), &deeper).is_err());
    }

    #[test]
    fn batch_norm_is_named_as_torch_names_it_and_must_be_there() {
        let (plain, normalised) = (architecture(4, 3, 2), normalised(4, 3, 2));
        let weights: Vec<f32> =
            (0..normalised.parameters() + normalised.statistics()).map(|i| i as f32).collect();
        let bytes = to_bytes(&normalised, &weights).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let of = |name: &str| numbers(&file.tensor(name).unwrap()).unwrap();
        // 4-3-2-3-4: the first layer has 12 weights and 3 biases, the latent one 6 and 2, the third
        // 6 and 3.
        assert_eq!(
            (of("encoder.0.norm.weight"), of("encoder.0.norm.bias")),
            (vec![15.0, 16.0, 17.0], vec![18.0, 19.0, 20.0])
        );
        assert_eq!(
            (of("decoder.0.norm.weight"), of("decoder.0.norm.bias")),
            (vec![38.0, 39.0, 40.0], vec![41.0, 42.0, 43.0])
        );
        assert_eq!(
            (of("encoder.0.norm.running_mean"), of("decoder.0.norm.running_var")),
            (vec![60.0, 61.0, 62.0], vec![69.0, 70.0, 71.0])
        );
        assert_eq!(file.names().len(), 8 + 8);
        let unlike = written(&bytes);
        let message = read(unlike.path(), &plain).unwrap_err().to_string();
        assert!(
            message.contains("norm") && message.contains("which 4-3-2-3-4 does not have"),
            "{message}"
        );
        let without = written(&to_bytes(&plain, &plain.draw(Init::HeNormal, 1, 0)).unwrap());
        let message = read(without.path(), &normalised).unwrap_err().to_string();
        assert!(message.contains("no tensor encoder.0.norm.weight [3] for 4-3-2-3-4 with batch norm; it holds decoder.0.bias"), "{message}");
        let negative: Vec<f32> = weights.iter().map(|weight| -weight).collect();
        let message = read(written(&to_bytes(&normalised, &negative).unwrap()).path(), &normalised)
            .unwrap_err()
            .to_string();
        assert!(message.contains("encoder.0.norm.running_var has a negative entry"), "{message}");
    }

    #[test]
    fn heads_and_slopes_have_names_of_their_own() {
        let model = Model {
            hidden: vec![3],
            latent: 2,
            activation: Activation::Prelu,
            latent_activation: Some(Activation::Linear),
            variational: true,
            ..Model::default()
        };
        let architecture = Architecture::new(4, &model);
        // 12 + 3 + 1, 6 + 2, 6 + 3 + 1, 12 + 4, then 6 + 2 of the logarithms of variances.
        let weights: Vec<f32> = (0..architecture.parameters()).map(|i| i as f32).collect();
        assert_eq!(weights.len(), 58);
        let bytes = to_bytes(&architecture, &weights).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let of = |name: &str| numbers(&file.tensor(name).unwrap()).unwrap();
        assert_eq!(
            (of("encoder.0.prelu.weight"), of("decoder.0.prelu.weight")),
            (vec![15.0], vec![33.0])
        );
        assert_eq!(
            (of("latent_mean.bias"), of("latent_log_variance.bias")),
            (vec![22.0, 23.0], vec![56.0, 57.0])
        );
        assert_eq!(of("latent_log_variance.weight"), [50.0, 52.0, 54.0, 51.0, 53.0, 55.0]);
        assert_eq!(file.names().len(), 8 + 2 + 2);
        let message = read(written(&bytes).path(), &architecture.plain()).unwrap_err().to_string();
        assert!(message.contains("no tensor encoder.1.weight [2, 3] for 4-3-2-3-4 with PReLU; it holds decoder.0.bias"), "{message}");
    }

    #[test]
    fn a_torn_file_is_refused() {
        let small = architecture(4, 3, 2);
        let bytes = to_bytes(&small, &small.draw(Init::HeNormal, 1, 0)).unwrap();
        for length in [0, 5, bytes.len() / 2, bytes.len() - 1] {
            let error = read(written(&bytes[..length]).path(), &small).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{error}");
        }
    }

    proptest! {
        #[test]
        fn weights_survive_their_file(
            inputs in 1_usize..9, hidden in 1_u32..9, latent in 1_u32..9, norm: bool, variational: bool, prelu: bool, seed in 0_u64..99
        ) {
            let mut architecture = if norm { normalised(inputs, hidden, latent) } else { architecture(inputs, hidden, latent) };
            architecture.variational = variational;
            if prelu {
                architecture.activations[0] = Activation::Prelu;
            }
            let flat = architecture.draw(Init::Torch, seed, 0);
            let file = written(&to_bytes(&architecture, &flat).unwrap());
            prop_assert_eq!(read(file.path(), &architecture).unwrap(), flat);
        }
    }
}
