//! The fingerprint of an experiment, for resuming it.

use crate::{
    config::{Experiment, affects_results, resolved::flat},
    data::{self, Source},
    error::Result,
};
use sha2::{Digest, Sha256};

/// SHA-256 of everything that determines the results of an experiment: its config, its data, the
/// version of this program.
pub fn fingerprint(experiment: &Experiment, sources: &[Source]) -> Result<String> {
    let mut hash = Sha256::new();
    let config = flat(&experiment.to_toml()?);
    for (key, value) in config.iter().filter(|(key, _)| affects_results(key)) {
        hash.update(format!("{key} = {value}\n"));
    }
    hash.update(env!("CARGO_PKG_VERSION"));
    sources.iter().for_each(|source| hash.update(&source.sha256));
    if let Some(reference) = experiment.scale.reference.as_ref() {
        hash.update(data::paths::fingerprint(reference)?.1);
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
