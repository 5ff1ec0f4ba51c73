//! The state of a training as a safetensors file with a fingerprint of the training and a checksum.

use super::{state::State, trainer::OptimizerState};
use crate::{
    error::{Error, Result},
    files::{
        atomic::{cannot_write, write_atomically},
        folder::{Folder, names},
        lock,
    },
    model::weights,
};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use sha2::{Digest, Sha256};
use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

/// Version of the file layout.
const LAYOUT: &str = "1";
const STATE: &str = "state";
const FINGERPRINT: &str = "fingerprint";
const SUM: &str = "sha256";
/// The arrays in the order of the checksum, without `steps`; the last two are optional.
const NAMES: [&str; 5] = ["parameters", "first", "second", "best", "statistics"];

/// The bytes of a checkpoint: a state and the fingerprint of its training.
pub fn to_bytes(state: &State, fingerprint: &str) -> std::result::Result<Vec<u8>, String> {
    let text = serde_json::to_string(state).map_err(|error| error.to_string())?;
    let OptimizerState { steps, parameters, statistics, first, second } = &state.optimizer_state;
    let mut arrays: Vec<(&str, Vec<u8>)> = vec![("steps", steps.to_le_bytes().to_vec())];
    let statistics = Some(statistics).filter(|statistics| !statistics.is_empty());
    let named =
        [Some(parameters), Some(first), Some(second), state.best_weights.as_ref(), statistics];
    let named = NAMES.into_iter().zip(named);
    arrays.extend(named.filter_map(|(name, values)| {
        Some((name, values?.iter().flat_map(|value| value.to_le_bytes()).collect()))
    }));
    let views = arrays
        .iter()
        .map(|(name, bytes)| {
            let (kind, length) =
                if *name == "steps" { (Dtype::I32, 1) } else { (Dtype::F32, bytes.len() / 4) };
            TensorView::new(kind, vec![length], bytes)
                .map(|view| (*name, view))
                .map_err(|error| error.to_string())
        })
        .collect::<std::result::Result<Vec<_>, String>>()?;
    let sum = sum(&text, fingerprint, arrays.iter().map(|(name, bytes)| (*name, bytes.as_slice())));
    let metadata = [
        ("layout", LAYOUT.to_owned()),
        (STATE, text),
        (FINGERPRINT, fingerprint.to_owned()),
        (SUM, sum),
    ];
    let metadata: HashMap<String, String> =
        metadata.into_iter().map(|(key, text)| (key.to_owned(), text)).collect();
    safetensors::serialize(views, Some(metadata)).map_err(|error| error.to_string())
}

/// The state in a file and the fingerprint of its training. The error describes the damage of the
/// file.
pub fn from_bytes(bytes: &[u8]) -> std::result::Result<(State, String), String> {
    let torn = |error: &dyn std::fmt::Display| format!("not a whole checkpoint: {error}");
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| torn(&error))?;
    let metadata = header.metadata().as_ref().ok_or_else(|| torn(&"it has no metadata"))?;
    let told =
        |key: &str| metadata.get(key).cloned().ok_or_else(|| torn(&format!("it has no {key}")));
    let (text, fingerprint) = (told(STATE)?, told(FINGERPRINT)?);
    let file = SafeTensors::deserialize(bytes).map_err(|error| torn(&error))?;
    let mut arrays: Vec<(String, TensorView<'_>)> = file.tensors();
    // The order of the checksum: `steps` first.
    arrays.sort_by_key(|(name, _)| NAMES.iter().position(|known| known == name));
    if told("layout")? != LAYOUT
        || told(SUM)?
            != sum(
                &text,
                &fingerprint,
                arrays.iter().map(|(name, view)| (name.as_str(), view.data())),
            )
    {
        return Err(torn(&"its layout or checksum does not match"));
    }
    let mut state: State = serde_json::from_str(&text).map_err(|error| torn(&error))?;
    let numbers = |name: &str| -> Option<Vec<f32>> {
        let view = &arrays.iter().find(|(other, _)| other == name)?.1;
        Some(
            view.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
        )
    };
    let all = |name: &str| numbers(name).ok_or_else(|| torn(&format!("it has no {name}")));
    let steps = arrays
        .iter()
        .find(|(name, _)| name == "steps")
        .and_then(|(_, view)| view.data().first_chunk::<4>().copied());
    state.optimizer_state = OptimizerState {
        steps: i32::from_le_bytes(steps.ok_or_else(|| torn(&"it has no steps"))?),
        parameters: all("parameters")?,
        statistics: numbers("statistics").unwrap_or_default(),
        first: all("first")?,
        second: all("second")?,
    };
    state.best_weights = numbers("best");
    Ok((state, fingerprint))
}

/// SHA-256 over the contents of a checkpoint.
fn sum<'a>(
    text: &str,
    fingerprint: &str,
    arrays: impl Iterator<Item = (&'a str, &'a [u8])>,
) -> String {
    let mut hash = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    part(text.as_bytes());
    part(fingerprint.as_bytes());
    for (name, bytes) in arrays {
        part(name.as_bytes());
        part(bytes);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Folder {
    fn checkpoints(&self, channel: &str, member: usize) -> PathBuf {
        self.file(names::CHECKPOINTS).join(weights::stem(channel, member))
    }

    /// Writes the state of the training of a channel's member, and removes all but the last `keep`
    /// states.
    pub fn write_checkpoint(
        &self,
        (channel, member): (&str, usize),
        state: &State,
        fingerprint: &str,
        keep: usize,
    ) -> Result<()> {
        let place = self.checkpoints(channel, member);
        self.make(&place)?;
        let path = place.join(format!("{:07}-{:07}.safetensors", state.epoch(), state.batch));
        let bytes = to_bytes(state, fingerprint)
            .map_err(|error| Error::failed(format!("{}: {error}", path.display())))?;
        write_atomically(&path, &bytes)?;
        let kept = checkpoint_files(&place)?;
        for old in kept.iter().rev().skip(keep.max(1)) {
            lock::check(old)?;
            fs::remove_file(old).map_err(|error| cannot_write(old, error))?;
        }
        Ok(())
    }

    /// The newest readable state of a channel's member, and the faults of newer ones.
    pub fn read_checkpoint(
        &self,
        channel: &str,
        member: usize,
        fingerprint: &str,
    ) -> Result<(Option<State>, Vec<String>)> {
        let mut notes = vec![];
        for path in checkpoint_files(&self.checkpoints(channel, member))?.iter().rev() {
            let shown = path.display();
            let bytes = fs::read(path).map_err(|error| Error::reading(path, error))?;
            match from_bytes(&bytes) {
                Ok((state, of)) if of == fingerprint => return Ok((Some(state), notes)),
                Ok(_) => {
                    return Err(Error::input(format!(
                        "{shown}: of another config, other data or another version of lumisift; --force starts over"
                    )));
                }
                Err(error) => {
                    notes.push(format!("{shown}: {error}; the previous checkpoint is used"))
                }
            }
        }
        Ok((None, notes))
    }
}

/// The checkpoints in a folder, oldest first; empty if the folder does not exist.
fn checkpoint_files(place: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(place) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(vec![]),
        Err(error) => return Err(Error::reading(place, error)),
    };
    let mut files = vec![];
    for entry in entries {
        let path = entry.map_err(|error| Error::reading(place, error))?.path();
        if path.extension().is_some_and(|extension| extension == "safetensors") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::state::Epoch;

    fn state() -> State {
        let (parameters, statistics) = (vec![1.0, -2.5, 3.0], vec![0.5, 2.0]);
        let moments = OptimizerState {
            steps: 7,
            parameters,
            statistics,
            first: vec![0.1, 0.2, 0.3],
            second: vec![0.0; 3],
        };
        let epoch = Epoch {
            epoch: 1,
            train_loss: 0.1 + 0.2,
            valid_loss: Some(1e-300),
            learning_rate: 1e-3,
            seconds: 0.5,
            penalty: Some(0.1 + 0.7),
        };
        State {
            stopped: None,
            batch: 3,
            rows: 96,
            loss_sum: 12.345_678_901_234_567,
            penalty_sum: 0.1 + 0.7,
            seconds: 0.1,
            history: vec![epoch],
            weightless_batches: 1,
            schedule: Default::default(),
            best: Some((0, 1e-300)),
            optimizer_state: moments,
            best_weights: Some(vec![9.0, 8.0, 7.0]),
        }
    }

    #[test]
    fn a_state_survives_its_file() {
        let bytes = to_bytes(&state(), "abc").unwrap();
        assert_eq!(from_bytes(&bytes), Ok((state(), "abc".to_owned())));
        let moments = OptimizerState { statistics: vec![], ..state().optimizer_state };
        let plain = State { best_weights: None, optimizer_state: moments, ..state() };
        assert_eq!(from_bytes(&to_bytes(&plain, "").unwrap()).unwrap().0, plain);
    }

    #[test]
    fn every_torn_or_altered_byte_is_noticed() {
        let bytes = to_bytes(&state(), "abc").unwrap();
        for length in 0..bytes.len() {
            assert!(from_bytes(&bytes[..length]).is_err(), "cut to {length}");
        }
        for at in 0..bytes.len() {
            for flip in [1, 0x80] {
                let mut altered = bytes.clone();
                altered[at] ^= flip;
                match from_bytes(&altered) {
                    // White space at the end of the header and the order of its keys do not
                    // matter.
                    Ok(read) => assert_eq!(read, (state(), "abc".to_owned()), "byte {at}"),
                    Err(error) => assert!(error.starts_with("not a whole checkpoint"), "{error}"),
                }
            }
        }
    }
}
