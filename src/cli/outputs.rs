//! What a command writes, compared with what it reads and with what is there already. No file of
//! the user is replaced by accident.

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
    /// The verb, and what distinguishes it from others that write the same names: "score", "synth
    /// metsig".
    verb: &'static str,
    force: bool,
    files: Vec<Output>,
    inputs: Vec<Input>,
    /// Folders of experiments that are read.
    experiments: Vec<PathBuf>,
}

/// A file that is to be written.
#[derive(Debug)]
struct Output {
    path: PathBuf,
    /// The option and its value, for messages: `--out golden.json`.
    asked: String,
    /// The hidden record that names it, and its name there.
    record: PathBuf,
    name: String,
    /// Whether what is there is merged into what is written.
    merged: bool,
}

#[derive(Debug)]
struct Input {
    /// What reads it: `--data`, "the experiment".
    what: &'static str,
    path: PathBuf,
    identity: Identity,
}

/// What a command wrote: a hidden file beside its output. A file that it names with the same verb
/// and the same content may be replaced.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Record {
    verb: String,
    /// SHA-256 by name.
    files: BTreeMap<String, String>,
}

impl Record {
    /// That of an earlier command with the same verb; an empty one where it is missing or damaged.
    fn read(path: &Path, verb: &str) -> Self {
        let bytes = if path.is_file() { fs::read(path).ok() } else { None };
        let record = bytes.and_then(|bytes| serde_json::from_slice::<Self>(&bytes).ok());
        record
            .filter(|record| record.verb == verb)
            .unwrap_or_else(|| Self { verb: verb.into(), files: BTreeMap::new() })
    }
}

impl Outputs {
    /// Those of a verb; with `force` whatever is there is replaced, but never an input.
    pub fn new(verb: &'static str, force: bool) -> Self {
        Self { verb, force, files: vec![], inputs: vec![], experiments: vec![] }
    }

    /// A file that an option names, and those that are written beside it.
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

    /// Files in a folder that an option (or an argument, then "") names.
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

    /// What is in this output stays in it, so that it may be an input.
    pub fn merged(mut self, path: &Path) -> Self {
        self.files
            .iter_mut()
            .filter(|output| output.path == path)
            .for_each(|output| output.merged = true);
        self
    }

    /// Files, folders and patterns that are read.
    pub fn reads(mut self, what: &'static str, patterns: &[PathBuf]) -> Self {
        for pattern in patterns {
            // What cannot be found is reported by what reads it.
            for path in data::paths::expand(std::slice::from_ref(pattern)).unwrap_or_default() {
                let identity = Identity::new(&path);
                self.inputs.push(Input { what, path, identity });
            }
        }
        self
    }

    /// An experiment that is read: its folder, and the files that its config names.
    pub fn reads_experiment(mut self, path: &Path, experiment: &Experiment) -> Self {
        self.experiments.push(Identity::new(path).path().to_path_buf());
        let own: Vec<PathBuf> =
            names::ALL.iter().map(|name| path.join(name)).filter(|file| file.exists()).collect();
        self.reads("the experiment", &own).reads("the experiment's config", &experiment.inputs())
    }

    /// Refuses outputs that are inputs, that are files of an experiment, that cannot be files, or
    /// that would replace what this command did not write.
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
            // Outputs are renamed into place, so that hard links do not matter among them.
            if let Some(other) = (0..at).find(|&other| identities[other].path() == identity.path())
            {
                return refused(format!(
                    "{} writes {}, too; choose another name",
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

    /// Refuses to replace what this command did not write.
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

    /// The experiment or sweep that a file belongs to, whether it is there yet or not.
    fn experiment_of(&self, path: &Path) -> Option<PathBuf> {
        let belongs = |folder: &&Path| {
            let Ok(rest) = path.strip_prefix(folder) else { return false };
            let name = rest.iter().next().unwrap_or_default().to_string_lossy().into_owned();
            let is = |other: &&str| other.eq_ignore_ascii_case(&name);
            // A config of the user may be called experiment.toml.
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

    /// Checks once more, for what came since, and makes the folders of the outputs. To be called
    /// when there is something to write.
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

    /// Records what was written, so that the same verb may replace it. A record that cannot be
    /// written costs a warning.
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
                    "{error}: without this record, replacing the output takes --force"
                ));
            }
        }
    }
}

/// Refuses inputs that are among the files of an experiment which is about to be written anew.
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
