//! The outputs of a command, compared with its inputs and with existing files. No file of the user
//! is replaced by accident.

use super::ui::Ui;
use crate::{
    config::Experiment,
    data::{self, paths::fingerprint},
    error::{Error, Result},
    files::{self, Identity, atomic::write_json, folder::names, lock},
    sweep::{
        results::{BEST, TABLE},
        trials::{SWEEP, TRIALS},
    },
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// The outputs and inputs of one command.
#[derive(Debug)]
pub struct Outputs {
    /// The verb, with its kind if several kinds write the same names: "score", "synth metsig".
    verb: &'static str,
    force: bool,
    files: Vec<Output>,
    inputs: Vec<Input>,
    /// Folders of experiments that are inputs.
    experiments: Vec<PathBuf>,
}

/// An output file.
#[derive(Debug)]
struct Output {
    path: PathBuf,
    /// The option and its value, for messages: `--out golden.json`.
    asked: String,
    /// The hidden record that lists it, and its name there.
    record: PathBuf,
    name: String,
    /// Whether the existing content is merged into the output.
    merged: bool,
}

#[derive(Debug)]
struct Input {
    /// The option that names it, or "the experiment".
    what: &'static str,
    path: PathBuf,
    identity: Identity,
}

/// The record of a command's outputs: a hidden file next to them. A listed file may be replaced by
/// the same verb if its content is unchanged.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Record {
    verb: String,
    /// SHA-256 by file name.
    files: BTreeMap<String, String>,
}

impl Record {
    /// Reads the record of an earlier command with the same verb; empty if missing or damaged.
    fn read(path: &Path, verb: &str) -> Self {
        let bytes = if path.is_file() { fs::read(path).ok() } else { None };
        let record = bytes.and_then(|bytes| serde_json::from_slice::<Self>(&bytes).ok());
        record
            .filter(|record| record.verb == verb)
            .unwrap_or_else(|| Self { verb: verb.into(), files: BTreeMap::new() })
    }
}

impl Outputs {
    /// For a verb; with `force` existing files are replaced, but never inputs.
    pub fn new(verb: &'static str, force: bool) -> Self {
        Self { verb, force, files: vec![], inputs: vec![], experiments: vec![] }
    }

    /// Adds an output file of an option, and further files next to it.
    pub fn file(mut self, option: &str, main: &Path, beside: &[PathBuf]) -> Self {
        let name =
            |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for path in std::iter::once(main).chain(beside.iter().map(PathBuf::as_path)) {
            self.files.push(Output {
                path: path.to_path_buf(),
                asked: format!("{option} {}", main.display()),
                record: main.with_file_name(format!(".{}.lumisift", name(main))),
                name: name(path),
                merged: false,
            });
        }
        self
    }

    /// Adds output files in a folder of an option ("" for an argument).
    pub fn folder<'a>(
        mut self,
        option: &str,
        folder: &Path,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        for name in names {
            self.files.push(Output {
                path: folder.join(name),
                asked: format!("{option} {}", folder.display()).trim_start().to_owned(),
                record: folder.join(format!(".{}.lumisift", self.verb.replace(' ', "-"))),
                name: name.to_owned(),
                merged: false,
            });
        }
        self
    }

    /// Marks an output whose content is kept, so that it may be an input.
    pub fn merged(mut self, path: &Path) -> Self {
        self.files
            .iter_mut()
            .filter(|output| output.path == path)
            .for_each(|output| output.merged = true);
        self
    }

    /// Adds input files, folders and patterns.
    pub fn reads(mut self, what: &'static str, patterns: &[PathBuf]) -> Self {
        for pattern in patterns {
            // Missing files are reported when they are read.
            for path in data::paths::expand(std::slice::from_ref(pattern)).unwrap_or_default() {
                let identity = Identity::new(&path);
                self.inputs.push(Input { what, path, identity });
            }
        }
        self
    }

    /// Adds an experiment as input: its folder, and the files of its config.
    pub fn reads_experiment(mut self, path: &Path, experiment: &Experiment) -> Self {
        self.experiments.push(Identity::new(path).path().to_path_buf());
        let own: Vec<PathBuf> =
            names::ALL.iter().map(|name| path.join(name)).filter(|file| file.exists()).collect();
        self.reads("the experiment", &own).reads("the experiment's config", &experiment.inputs())
    }

    /// Fails if an output is an input, is a file of an experiment, cannot be a file, or would
    /// replace a file that this command did not write.
    pub fn check(&self) -> Result<()> {
        let identities: Vec<Identity> =
            self.files.iter().map(|output| Identity::new(&output.path)).collect();
        for (at, (output, identity)) in self.files.iter().zip(&identities).enumerate() {
            let Output { path, asked, merged, .. } = output;
            let refused = |reason: String| Err(Error::input(format!("{asked}: {reason}")));
            // The message names the file unless the option does.
            let file = if asked.ends_with(&format!(" {}", path.display())) {
                String::new()
            } else {
                format!("{} ", path.display())
            };
            if let Some(reason) = files::no_file(path) {
                return refused(format!("{file}{reason}"));
            }
            // Outputs are renamed into place, so hard links among them do not matter.
            if let Some(other) = (0..at).find(|&other| identities[other].path() == identity.path())
            {
                return refused(format!(
                    "{} also writes {}; choose another name",
                    self.files[other].asked,
                    path.display()
                ));
            }
            if let Some(experiment) = self.experiment_of(identity.path()) {
                return refused(format!(
                    "{file}is a file of the experiment or sweep in {}; choose another name",
                    experiment.display()
                ));
            }
            let reads = |input: &&Input| {
                input.identity.is(identity) && !(*merged && input.what == "--decisions")
            };
            if let Some(Input { what, path: input, .. }) = self.inputs.iter().find(reads) {
                let would = if file.is_empty() {
                    "is".to_owned()
                } else {
                    format!("would write {}, which is", path.display())
                };
                return refused(format!(
                    "{would} an input ({what}: {}); choose another name",
                    input.display()
                ));
            }
        }
        if self.force { Ok(()) } else { self.check_foreign() }
    }

    /// Fails if an output would replace a file that this command did not write.
    fn check_foreign(&self) -> Result<()> {
        let mut records = BTreeMap::new();
        let mut foreign: Vec<(&Output, String)> = vec![];
        for output in self.files.iter().filter(|output| !output.merged && output.path.exists()) {
            let record = records
                .entry(&output.record)
                .or_insert_with(|| Record::read(&output.record, self.verb));
            let reason = match record.files.get(&output.name) {
                None => format!("was not written by `lumisift {}`", self.verb),
                Some(written)
                    if fingerprint(&output.path).is_ok_and(|(_, now)| now == *written) =>
                {
                    continue;
                }
                Some(_) => format!("was changed since `lumisift {}` wrote it", self.verb),
            };
            foreign.push((output, reason));
        }
        let Some((first, _)) = foreign.first() else { return Ok(()) };
        let told: Vec<String> = foreign
            .iter()
            .map(|(output, reason)| format!("{} {reason}", output.path.display()))
            .collect();
        let them = if told.len() == 1 { "it" } else { "them" };
        Err(Error::input(format!(
            "{}: {}; choose another name, or --force to replace {them}",
            first.asked,
            told.join(", ")
        )))
    }

    /// The experiment or sweep that a file belongs to, whether it exists or not.
    fn experiment_of(&self, path: &Path) -> Option<PathBuf> {
        let belongs = |folder: &&Path| {
            let Ok(rest) = path.strip_prefix(folder) else { return false };
            let name = rest.iter().next().unwrap_or_default().to_string_lossy().into_owned();
            let is = |other: &&str| other.eq_ignore_ascii_case(&name);
            // A config of the user may have the name experiment.toml.
            let is_experiment = self.experiments.iter().any(|experiment| experiment == folder)
                || (folder.join(names::EXPERIMENT).is_file()
                    && folder.join(names::PROVENANCE).is_file());
            (is_experiment && (names::ALL.iter().any(&is) || lock::is_lock(&name)))
                || (rest.iter().count() == 1
                    && folder.join(SWEEP).is_file()
                    && [SWEEP, TRIALS, TABLE, BEST, names::PAGE].iter().any(is))
        };
        path.ancestors().skip(1).find(belongs).map(Path::to_path_buf)
    }

    /// Checks again for new files, and creates the folders of the outputs. Must be called right
    /// before writing.
    pub fn open(&self) -> Result<()> {
        self.check()?;
        for folder in self
            .files
            .iter()
            .filter_map(|output| output.path.parent())
            .filter(|folder| !folder.as_os_str().is_empty())
        {
            fs::create_dir_all(folder).map_err(|error| Error::writing(folder, error))?;
        }
        Ok(())
    }

    /// Records the written files, so that the same verb may replace them. Warns if the record
    /// cannot be written.
    pub fn close(&self, ui: &Ui) {
        let mut records: BTreeMap<&Path, Record> = BTreeMap::new();
        for output in &self.files {
            let record = records
                .entry(&output.record)
                .or_insert_with(|| Record::read(&output.record, self.verb));
            match fingerprint(&output.path) {
                Ok((_, hash)) => record.files.insert(output.name.clone(), hash),
                // Not every output is written every time.
                Err(_) => record.files.remove(&output.name),
            };
        }
        for (path, record) in records {
            if let Err(error) = write_json(path, &record) {
                ui.warn(&format!(
                    "{error}: without this record, replacing the output needs --force"
                ));
            }
        }
    }
}

/// Fails if an input is among the files of an experiment that is about to be replaced.
pub fn check_room(folder: &Path, what: &str, inputs: &[PathBuf]) -> Result<()> {
    let own = Identity::new(folder);
    for input in inputs
        .iter()
        .flat_map(|pattern| data::paths::expand(std::slice::from_ref(pattern)).unwrap_or_default())
    {
        let identity = Identity::new(&input);
        let name =
            identity.path().strip_prefix(own.path()).ok().and_then(|rest| rest.iter().next());
        if name.is_some_and(|name| names::ALL.iter().any(|own| name.eq_ignore_ascii_case(own))) {
            let (folder, input) = (folder.display(), input.display());
            return Err(Error::input(format!(
                "{folder}: {input} would be replaced, which is an input ({what}); choose another folder"
            )));
        }
    }
    Ok(())
}
