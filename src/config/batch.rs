//! `[batch]`: resources requested from a batch system.

use super::{
    check::{Checker, duration},
    keys::{Key, choice, section},
};
use std::time::Duration;

/// Keys that do not affect results: the whole section.
pub(super) const CIRCUMSTANCES: &[&str] = &["batch."];

section! {
    /// How `--engine slurm` and `--engine htcondor` send trainings to a batch system.
    Batch {
        /// Shell lines to run before the program: modules, environments, CVMFS.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        setup: Vec<String> = vec![],
        /// A container image to run the program in: a file, a folder on CVMFS, or "docker://…".
        /// Slurm starts it with `apptainer exec`, HTCondor by itself.
        #[serde(skip_serializing_if = "Option::is_none")]
        image: Option<String> = None,
        /// The program on the machines of the batch system: a path, or a name that is found there.
        /// Default: the path of the one that submits.
        #[serde(skip_serializing_if = "Option::is_none")]
        program: Option<String> = None,
        /// Processor cores of a task, and its threads.
        #[schemars(range(min = 1, max = 4096))]
        cpus: u32 = 4,
        /// Memory of a task: "8 GB", "500 MB".
        memory: Key<String, u64> = Key::of("4 GB".into(), 4096),
        /// GPUs of a task. Default: as many CUDA devices as `device` names; must be set where that
        /// is "auto" or "wgpu".
        #[serde(skip_serializing_if = "Key::is_unset")]
        #[schemars(range(max = 64))]
        gpus: Key<Option<u32>, u32> = Key::default(),
        /// How long a task may run before it is stopped and put back into the queue: "45m", "8h".
        /// Default: what the batch system has set.
        #[serde(skip_serializing_if = "Key::is_unset")]
        time: Key<Option<String>, Option<Duration>> = Key::default(),
        /// How long before the end of its time a task is warned, so that it keeps where it stands.
        lead: Key<String, Duration> = Key::of("2m".into(), Duration::from_secs(120)),
        /// At most so many tasks run at once. Default: as many as the batch system lets.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 1))]
        at_once: Option<u32> = None,
        /// A task that failed (not by a mistake in its config or data) goes back into the queue
        /// unless it was started more often than this before. Pauses are no failures.
        #[schemars(range(max = 1000))]
        retries: u32 = 0,
        slurm: Slurm = Slurm::default(),
        htcondor: HtCondor = HtCondor::default(),
    }
}

impl Batch {
    /// Whether the section is empty.
    pub fn is_empty(&self) -> bool {
        // The number of GPUs derived from `device` is not written.
        Self { gpus: Key::of(self.gpus.written, 0), ..self.clone() } == Self::default()
    }
}

section! {
    /// What only Slurm knows.
    Slurm {
        #[serde(skip_serializing_if = "Option::is_none")]
        partition: Option<String> = None,
        #[serde(skip_serializing_if = "Option::is_none")]
        account: Option<String> = None,
        /// Quality of service.
        #[serde(skip_serializing_if = "Option::is_none")]
        qos: Option<String> = None,
        /// Features that the node must have.
        #[serde(skip_serializing_if = "Option::is_none")]
        constraint: Option<String> = None,
        /// Further options of sbatch: ["--exclusive", "--gres=gpu:h200:1"].
        #[serde(skip_serializing_if = "Vec::is_empty")]
        extra: Vec<String> = vec![],
    }
}

section! {
    /// What only HTCondor knows.
    HtCondor {
        /// CERN's classes of running time. Takes the place of batch.time.
        #[serde(skip_serializing_if = "Option::is_none")]
        flavour: Option<Flavour> = None,
        /// Send the folder and what is in `inputs` to the machine and results back, where there is
        /// no shared file system.
        transfer: bool = false,
        /// Data files to send along, by path or glob; they are found by the config's own paths.
        /// Data that a task can read where they are (EOS, AFS, CVMFS) need not be sent.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        inputs: Vec<String> = vec![],
        /// Further lines of the submit description: ["+AccountingGroup =
        /// \"group_u_CMS.u_zh.users\""].
        #[serde(skip_serializing_if = "Vec::is_empty")]
        extra: Vec<String> = vec![],
    }
}

choice! {
    /// How long a job may run at CERN.
    Flavour {
        /// 20 minutes.
        Espresso = "espresso",
        /// 1 hour.
        Microcentury = "microcentury",
        /// 2 hours.
        Longlunch = "longlunch",
        /// 8 hours.
        Workday = "workday",
        /// 1 day.
        Tomorrow = "tomorrow",
        /// 3 days.
        Testmatch = "testmatch",
        /// 1 week.
        Nextweek = "nextweek",
    }
}

impl Flavour {
    /// The time limit of such a job.
    pub fn time(self) -> Duration {
        let hour = Duration::from_secs(3600);
        match self {
            Self::Espresso => hour / 3,
            Self::Microcentury => hour,
            Self::Longlunch => hour * 2,
            Self::Workday => hour * 8,
            Self::Tomorrow => hour * 24,
            Self::Testmatch => hour * 72,
            Self::Nextweek => hour * 168,
        }
    }
}

/// Parses an amount such as "8 GB", in MiB.
fn mebibytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let unit = text.find(|letter: char| letter.is_ascii_alphabetic())?;
    let number: f64 = text[..unit].trim().parse().ok()?;
    let factor = match text[unit..].to_ascii_uppercase().as_str() {
        "M" | "MB" | "MIB" => 1.0,
        "G" | "GB" | "GIB" => 1024.0,
        "T" | "TB" | "TIB" => 1024.0 * 1024.0,
        _ => return None,
    };
    let amount = (number * factor).ceil();
    (1.0..=1e9).contains(&amount).then_some(amount as u64)
}

/// Parses a time limit for a batch system.
fn time(checker: &mut Checker, key: &str, text: &str) -> Option<Duration> {
    let time = duration(text).filter(|time| time.as_secs() > 0 && time.as_secs() < 1 << 31);
    if time.is_none() {
        checker.fault(
            key,
            format!("found \"{text}\"; expected a time such as \"90s\", \"45m\" or \"7h 30m\""),
        );
    }
    time
}

impl Batch {
    pub(super) fn check(&mut self, checker: &mut Checker) {
        // A name without a path is looked up on the machine of the task.
        if let Some(program) = self.program.as_mut().filter(|program| program.contains('/')) {
            checker.absolute("batch.program", program);
        }
        if let Some(image) = self.image.as_mut().filter(|image| !image.contains("://")) {
            checker.absolute("batch.image", image);
        }
        self.check_times(checker);
        self.memory.meaning = mebibytes(&self.memory.written).unwrap_or_else(|| {
            checker.fault(
                "batch.memory",
                format!(
                    "found \"{}\"; expected an amount such as \"8 GB\" or \"500 MB\"",
                    self.memory.written
                ),
            );
            1
        });
        self.slurm.check(checker);
        self.htcondor.check(checker);
        for (key, text) in [("image", &self.image), ("program", &self.program)] {
            if text.as_ref().is_some_and(|text| text.is_empty() || text.contains('\n')) {
                checker.fault(&format!("batch.{key}"), "expected a path or a name");
            }
        }
    }

    fn check_times(&mut self, checker: &mut Checker) {
        self.lead.meaning = time(checker, "batch.lead", &self.lead.written).unwrap_or_default();
        let (given, flavour) = (self.time.written.as_ref(), self.htcondor.flavour);
        let limit =
            given.and_then(|text| time(checker, "batch.time", text)).or(flavour.map(Flavour::time));
        if let (Some(_), Some(flavour)) = (given, flavour) {
            checker.fault(
                "batch.htcondor.flavour",
                format!(
                    "batch.time is set as well; expected one of them (\"{flavour}\" is {} h)",
                    flavour.time().as_secs() as f64 / 3600.0
                ),
            );
        }
        if limit.is_some_and(|limit| *self.lead >= limit) {
            checker.fault(
                "batch.lead",
                format!(
                    "found \"{}\"; expected less than the time that a task may run",
                    self.lead.written
                ),
            );
        }
        self.time.meaning = limit;
    }
}

impl Slurm {
    fn check(&self, checker: &mut Checker) {
        let words = [
            ("partition", &self.partition),
            ("account", &self.account),
            ("qos", &self.qos),
            ("constraint", &self.constraint),
        ];
        let is_word = |word: &str| {
            let is_odd = |letter: char| letter.is_whitespace() || "\"'\\".contains(letter);
            !word.is_empty() && !word.contains(is_odd)
        };
        for (key, word) in words {
            if let Some(word) = word.as_ref().filter(|word| !is_word(word)) {
                checker.fault(
                    &format!("batch.slurm.{key}"),
                    format!("found {word:?}; expected a name without blanks and quotes"),
                );
            }
        }
        for (i, option) in self.extra.iter().enumerate() {
            if !option.starts_with('-') || option.contains('\n') {
                checker.fault(
                    &format!("batch.slurm.extra[{i}]"),
                    format!(
                        "found {option:?}; expected one option of sbatch, such as \"--exclusive\""
                    ),
                );
            }
        }
    }
}

impl HtCondor {
    fn check(&mut self, checker: &mut Checker) {
        for (i, text) in self.inputs.iter_mut().enumerate() {
            checker.absolute(&format!("batch.htcondor.inputs[{i}]"), text);
        }
        for (i, line) in self.extra.iter().enumerate() {
            if !line.contains('=') || line.contains('\n') {
                checker.fault(
                    &format!("batch.htcondor.extra[{i}]"),
                    format!(
                        "found {line:?}; expected a line \"name = value\" of a submit description"
                    ),
                );
            }
        }
        if !self.inputs.is_empty() && !self.transfer {
            checker.fault(
                "batch.htcondor.inputs",
                "are sent only with batch.htcondor.transfer = true",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Document, Experiment};
    use std::path::Path;

    fn checked(text: &str) -> crate::Result<Experiment> {
        Experiment::check(
            &Document::parse(
                &format!("data.train = [\"a.csv\"]\n{text}"),
                Path::new("/folder/a.toml"),
            )
            .unwrap(),
            "a",
        )
    }

    #[test]
    fn nothing_need_be_said() {
        let batch = checked("").unwrap().batch;
        assert_eq!(
            (*batch.memory, *batch.gpus, *batch.time, *batch.lead),
            (4096, 0, None, Duration::from_secs(120))
        );
        let cuda = checked("device = \"cuda\"").unwrap();
        assert_eq!(*cuda.batch.gpus, 1);
        assert!(!cuda.to_toml().unwrap().contains("[batch"), "derived values are not written");
        assert!(
            !checked("").unwrap().to_toml().unwrap().contains("[batch"),
            "nor is anything written"
        );
    }

    #[test]
    fn amounts_times_and_paths_are_read() {
        let text = "device = \"cuda:0,cuda:1\"\n[batch]\nmemory = \"1.5 GB\"\ntime = \"1h 30m\"\nlead = \"90s\"\nprogram = \"bin/lumisift\"\nimage = \"my.sif\"";
        let batch = checked(text).unwrap().batch;
        assert_eq!(
            (*batch.memory, *batch.gpus, *batch.time),
            (1536, 2, Some(Duration::from_secs(5400)))
        );
        assert_eq!(
            (batch.program.as_deref(), batch.image.as_deref()),
            (Some("/folder/bin/lumisift"), Some("/folder/my.sif"))
        );
        let names =
            checked("[batch]\nprogram = \"lumisift\"\nimage = \"docker://debian\"").unwrap().batch;
        assert_eq!(
            (names.program.as_deref(), names.image.as_deref()),
            (Some("lumisift"), Some("docker://debian"))
        );
        assert_eq!(
            *checked("[batch.htcondor]\nflavour = \"workday\"").unwrap().batch.time,
            Some(Duration::from_secs(28_800))
        );
        assert_eq!(["12", "x GB", "-1 GB", "1 kB", "nan GB", "0 MB"].map(mebibytes), [None; 6]);
    }

    #[test]
    fn the_resolved_section_means_the_same() {
        let text = "[batch]\ncpus = 2\nsetup = [\"module load x\"]\nprogram = \"./lumisift\"\n[batch.htcondor]\ntransfer = true\ninputs = [\"*.csv\"]";
        let experiment = checked(text).unwrap();
        assert_eq!(experiment.batch.htcondor.inputs, ["/folder/*.csv"]);
        let again = Document::parse(&experiment.to_toml().unwrap(), Path::new("/elsewhere/b.toml"))
            .unwrap();
        assert_eq!(Experiment::check(&again, "a").unwrap().batch, experiment.batch);
    }

    #[test]
    fn faults_are_told_by_key() {
        let text = "[batch]\ntime = \"1m\"\nmemory = \"lots\"\nimage = \"\"\n[batch.slurm]\npartition = \"a b\"\nextra = [\"exclusive\"]\n[batch.htcondor]\nflavour = \"workday\"\ninputs = [\"a\"]\nextra = [\"queue 5\"]";
        let error = checked(text).unwrap_err().to_string();
        for part in [
            "batch.lead: found \"2m\"; expected less than the time",
            "batch.memory: found \"lots\"",
            "batch.slurm.partition: found \"a b\"",
            "batch.slurm.extra",
            "batch.htcondor.flavour: batch.time is set as well",
            "batch.htcondor.inputs: are sent only",
            "batch.htcondor.extra",
        ] {
            assert!(error.contains(part), "{part} in\n{error}");
        }
        assert!(
            checked("[batch]\ntime = \"soon\"")
                .unwrap_err()
                .to_string()
                .contains("a.toml:3: batch.time: found \"soon\"; expected a time")
        );
        assert!(
            checked("[batch.htcondor]\nflavour = \"tommorow\"")
                .unwrap_err()
                .to_string()
                .contains("did you mean \"tomorrow\"")
        );
    }
}
