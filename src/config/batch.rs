//! What a batch system is asked for.

use super::{
    DeviceChoice,
    check::duration,
    raw::{self, Flavour},
};
use std::time::Duration;

/// The checked `[batch]` section.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// The section as written, its paths absolute: what needs no checking is taken from here.
    pub config: raw::Batch,
    /// Memory of a task, in MiB.
    pub memory: u64,
    /// GPUs of a task.
    pub gpus: u32,
    /// How long a task may run; as long as the batch system lets where it is absent.
    pub time: Option<Duration>,
    /// How long before that it is warned.
    pub lead: Duration,
}

impl Flavour {
    /// How long such a job may run.
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

/// "8 GB" in MiB.
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

/// The section's meaning, and its faults by key within it.
pub(super) fn check(
    config: &raw::Batch,
    devices: &[DeviceChoice],
) -> (Batch, Vec<(String, String)>) {
    let mut faults = vec![];
    let mut fault = |key: &str, message: String| faults.push((key.to_owned(), message));
    let expected = "expected a time such as \"90s\", \"45m\" or \"7h 30m\"";
    let mut time = |key: &str, text: &str| {
        let time = duration(text).filter(|time| time.as_secs() > 0 && time.as_secs() < 1 << 31);
        if time.is_none() {
            fault(key, format!("found \"{text}\"; {expected}"));
        }
        time
    };
    let lead = time("lead", &config.lead).unwrap_or_default();
    let limit = config
        .time
        .as_ref()
        .and_then(|text| time("time", text))
        .or(config.htcondor.flavour.map(Flavour::time));
    if let (Some(_), Some(flavour)) = (&config.time, config.htcondor.flavour) {
        fault(
            "htcondor.flavour",
            format!(
                "batch.time is set as well; expected one of them (\"{flavour}\" is {} h)",
                flavour.time().as_secs() as f64 / 3600.0
            ),
        );
    }
    if limit.is_some_and(|limit| lead >= limit) {
        fault(
            "lead",
            format!("found \"{}\"; expected less than the time that a task may run", config.lead),
        );
    }
    let memory = mebibytes(&config.memory).unwrap_or_else(|| {
        fault(
            "memory",
            format!(
                "found \"{}\"; expected an amount such as \"8 GB\" or \"500 MB\"",
                config.memory
            ),
        );
        1
    });
    let words = [
        ("partition", &config.slurm.partition),
        ("account", &config.slurm.account),
        ("qos", &config.slurm.qos),
    ];
    for (key, word) in words.into_iter().chain([("constraint", &config.slurm.constraint)]) {
        if let Some(word) = word.as_ref().filter(|word| {
            word.is_empty()
                || word.contains(|letter: char| letter.is_whitespace() || "\"'\\".contains(letter))
        }) {
            fault(
                &format!("slurm.{key}"),
                format!("found {word:?}; expected a name without blanks and quotes"),
            );
        }
    }
    for (i, option) in config.slurm.extra.iter().enumerate() {
        if !option.starts_with('-') || option.contains('\n') {
            fault(
                &format!("slurm.extra[{i}]"),
                format!("found {option:?}; expected one option of sbatch, such as \"--exclusive\""),
            );
        }
    }
    for (i, line) in config.htcondor.extra.iter().enumerate() {
        if !line.contains('=') || line.contains('\n') {
            fault(
                &format!("htcondor.extra[{i}]"),
                format!("found {line:?}; expected a line \"name = value\" of a submit description"),
            );
        }
    }
    if !config.htcondor.inputs.is_empty() && !config.htcondor.transfer {
        fault("htcondor.inputs", "are sent only with batch.htcondor.transfer = true".into());
    }
    for (key, text) in [("image", &config.image), ("program", &config.program)] {
        if text.as_ref().is_some_and(|text| text.is_empty() || text.contains('\n')) {
            fault(key, "expected a path or a name".into());
        }
    }
    let cuda =
        devices.iter().filter(|device| matches!(device, DeviceChoice::Cuda(_))).count() as u32;
    (
        Batch {
            config: config.clone(),
            memory,
            gpus: config.gpus.unwrap_or(cuda),
            time: limit,
            lead,
        },
        faults,
    )
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
            (batch.memory, batch.gpus, batch.time, batch.lead),
            (4096, 0, None, Duration::from_secs(120))
        );
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
            (batch.memory, batch.gpus, batch.time),
            (1536, 2, Some(Duration::from_secs(5400)))
        );
        assert_eq!(
            (batch.config.program.as_deref(), batch.config.image.as_deref()),
            (Some("/folder/bin/lumisift"), Some("/folder/my.sif"))
        );
        let names = checked("[batch]\nprogram = \"lumisift\"\nimage = \"docker://debian\"")
            .unwrap()
            .batch
            .config;
        assert_eq!(
            (names.program.as_deref(), names.image.as_deref()),
            (Some("lumisift"), Some("docker://debian"))
        );
        assert_eq!(
            checked("[batch.htcondor]\nflavour = \"workday\"").unwrap().batch.time,
            Some(Duration::from_secs(28_800))
        );
        assert_eq!(["12", "x GB", "-1 GB", "1 kB", "nan GB", "0 MB"].map(mebibytes), [None; 6]);
    }

    #[test]
    fn the_resolved_section_means_the_same() {
        let text = "[batch]\ncpus = 2\nsetup = [\"module load x\"]\nprogram = \"./lumisift\"\n[batch.htcondor]\ntransfer = true\ninputs = [\"*.csv\"]";
        let experiment = checked(text).unwrap();
        assert_eq!(experiment.batch.config.htcondor.inputs, ["/folder/*.csv"]);
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
