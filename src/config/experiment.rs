//! The checked experiment: what a config means once every fault is ruled out.

use super::{
    Batch, Document, check,
    expression::Expression,
    raw::{BadValues, Best, Config, EpsilonPlacement, Lists, Scalar, ScaleKind},
    sweep::Space,
};
use crate::error::{Error, Result, suggestion};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

/// A config that can be run.
#[derive(Clone, Debug, PartialEq)]
pub struct Experiment {
    /// The config with every default filled in and every path absolute, as `experiment.toml` keeps
    /// it.
    pub config: Config,
    /// Where to compute.
    pub devices: Vec<DeviceChoice>,
    /// Paths or globs to train on.
    pub train_files: Vec<PathBuf>,
    /// Paths or globs that are only scored.
    pub test_files: Vec<PathBuf>,
    /// Where more is known about lumisections than the data files say.
    pub facts: FactFiles,
    /// How many neighbouring bins are added up: in x, and in y where that differs.
    pub rebin: (usize, Option<usize>),
    /// Which monitoring elements are layers; none where there is one element.
    pub layers: Vec<glob::Pattern>,
    /// How many columns and rows are cut out of the middle of a map: in x, in y.
    pub cut: (usize, usize),
    /// Which part of the runs is read.
    pub part: Option<Part>,
    /// Quantities that are inputs beside the bins.
    pub added: Vec<Expression>,
    /// What is drawn beside the scores.
    pub beside: Vec<Expression>,
    /// Label sets, that of `labels.good` first.
    pub labels: Vec<LabelSpec>,
    /// A folder with one label file per subsystem, and the names of those files.
    pub subsystems: Option<(PathBuf, String)>,
    /// How much a row counts.
    pub weight: Option<Expression>,
    /// Which rows are evaluated.
    pub select: Select,
    /// What every bin of a row is divided by.
    pub divide_by: Option<Expression>,
    /// The file of the numbers that the step "reference" divides by.
    pub reference: Option<PathBuf>,
    /// Weights to start from.
    pub init: Option<PathBuf>,
    /// Steps of scaling, in order.
    pub scale: Vec<ScaleKind>,
    /// What training makes small.
    pub loss: Loss,
    /// What training makes small beside it.
    pub penalties: Penalties,
    /// Tables of what was masked when: paths or globs.
    pub automasks: Vec<PathBuf>,
    /// Where chips are.
    pub chips: Option<PathBuf>,
    /// How gradients become steps.
    pub optimizer: Optimizer,
    /// The full learning rate.
    pub learning_rate: f64,
    /// How long training may take before it stops for now.
    pub time_limit: Option<Duration>,
    /// How the learning rate changes.
    pub schedule: Schedule,
    /// The thresholds to report, the one that flags first.
    pub thresholds: Vec<Threshold>,
    /// What a search varies, where one is meant.
    pub space: Option<Space>,
    /// How it is sent to a batch system.
    pub batch: Batch,
    /// How scores become verdicts.
    pub certify: Certify,
}

/// The cuts between good, grey and bad; none where the default is to be taken.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Certify {
    /// Above it a lumisection is at least grey.
    pub grey: Option<Cut>,
    /// Above it a lumisection is bad.
    pub bad: Option<Cut>,
    /// Up to which score a run is good, and above which it is bad.
    pub run_scores: Option<(f64, f64)>,
}

/// Where a cut lies.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cut {
    /// At most this share of the good lies above it.
    FalseAlarmRate(f64),
    /// Of all above it at most this share is expected to be good.
    FalseDiscoveryRate(f64),
    /// At least this share of the bad lies above it.
    Efficiency(f64),
    /// At least this share of what lies above it is bad.
    Purity(f64),
    /// A figure is largest there.
    Best(Best),
    /// This score.
    Score(f64),
}

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Four digits of it.
        let percent = |share: f64| {
            let scale = 10_f64.powi(1 - share.log10().floor() as i32);
            format!("{} %", (100.0 * share * scale).round() / scale)
        };
        match self {
            Self::FalseAlarmRate(rate) => write!(f, "{} false alarms", percent(*rate)),
            Self::FalseDiscoveryRate(rate) => write!(f, "{} false discoveries", percent(*rate)),
            Self::Efficiency(share) => write!(f, "{} efficiency", percent(*share)),
            Self::Purity(share) => write!(f, "{} purity", percent(*share)),
            Self::Best(Best::F1) => f.write_str("the best F1"),
            Self::Best(Best::Youden) => f.write_str("the best Youden index"),
            Self::Score(score) => write!(f, "score {score}"),
        }
    }
}

/// One of several parts, told as "2 of 8".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Which, from 1.
    pub number: u32,
    /// How many there are.
    pub of: u32,
}

impl Part {
    /// Reads "2 of 8".
    pub fn parse(text: &str) -> std::result::Result<Self, String> {
        let numbers = text
            .split_once(" of ")
            .and_then(|(number, of)| Some((number.trim().parse().ok()?, of.trim().parse().ok()?)));
        match numbers {
            Some((number, of)) if (1..=of).contains(&number) => Ok(Self { number, of }),
            _ => Err(format!(
                "found \"{text}\"; expected a part such as \"2 of 8\", from \"1 of 8\" to \"8 of 8\""
            )),
        }
    }
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {}", self.number, self.of)
    }
}

/// Files that are joined to the data by (run, LS). Paths or globs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FactFiles {
    /// OMS quantities per lumisection.
    pub oms: Vec<PathBuf>,
    /// Rates of trigger paths.
    pub hlt: Vec<PathBuf>,
    /// Luminosities as brilcalc writes them.
    pub brilcalc: Vec<PathBuf>,
    /// DIALS pages of lumisections.
    pub lumisections: Vec<PathBuf>,
}

/// One set of labels.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelSpec {
    /// "good" for `labels.good`, else the name in `labels.sets`.
    pub name: String,
    /// Where it comes from.
    pub origin: LabelOrigin,
}

/// Which values of a column or .npy mean good, and which bad.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LabelValues {
    /// Those that mean good; 1 and true where empty.
    pub good: Vec<Scalar>,
    /// Those that mean bad; none where the config does not say.
    pub bad: Option<BadValues>,
}

/// Where labels come from.
#[derive(Clone, Debug, PartialEq)]
pub enum LabelOrigin {
    /// A column of the data.
    Column {
        /// Its name.
        name: String,
        /// What its values mean.
        values: LabelValues,
    },
    /// A file.
    File {
        /// Where it lies.
        path: PathBuf,
        /// What the values of a .npy mean.
        values: LabelValues,
        /// What the lumisections are that a JSON or list names.
        lists: Lists,
        /// Whether it names all of them.
        complete: bool,
    },
}

impl LabelOrigin {
    /// The column, where it is one.
    pub fn column(&self) -> Option<&str> {
        match self {
            Self::Column { name, .. } => Some(name),
            Self::File { .. } => None,
        }
    }

    /// Takes a value for bad where the config does not say which values are.
    pub fn settle(&mut self, bad: Option<&Scalar>) {
        let (Self::Column { values, .. } | Self::File { values, .. }) = self;
        if values.bad.is_none()
            && let Some(bad) =
                bad.filter(|bad| !values.good.is_empty() && !values.good.contains(bad))
        {
            values.bad = Some(BadValues::These(vec![bad.clone()]));
        }
    }
}

impl std::fmt::Display for LabelOrigin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Column { name, .. } => write!(f, "column \"{name}\""),
            Self::File { path, .. } => {
                write!(f, "{}", path.file_name().unwrap_or_default().to_string_lossy())
            }
        }
    }
}

/// Which rows are evaluated, beside `select.drop_empty` and what the config says as it stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Select {
    /// Ranges of runs, inclusive; all where empty.
    pub runs: Vec<(u32, u32)>,
    /// Ranges of LSs for some runs, inclusive.
    pub lumisections: BTreeMap<u32, Vec<(u32, u32)>>,
    /// A file that names the lumisections to take.
    pub golden: Option<PathBuf>,
    /// What must hold.
    pub conditions: Vec<Expression>,
}

/// A device by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The best there is: CUDA, else a GPU through WGPU, else the CPU.
    Auto,
    /// The CPU.
    Cpu,
    /// An NVIDIA GPU by its index.
    Cuda(usize),
    /// A GPU through Vulkan, Metal or DX12 by its index; the default one where none is given.
    Wgpu(Option<usize>),
}

/// A distance of input and output, averaged over features (or summed, where it says so) and rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Loss {
    /// Mean squared error.
    Mse,
    /// Sum of squared errors over the features.
    Sse,
    /// Mean absolute error.
    Mae,
    /// d² / 2β below β, d − β/2 above (PyTorch's `SmoothL1Loss`).
    SmoothL1 {
        /// Where the square turns into a line.
        beta: f64,
    },
}

impl Loss {
    /// What the sum over so many features is divided by.
    pub fn divisor(self, features: usize) -> f64 {
        if self == Self::Sse { 1.0 } else { features as f64 }
    }
}

/// What the latents cost in training beside the distance of input and output; each is a mean over
/// rows by their weights.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Penalties {
    /// Latents that are not silent.
    pub sparsity: Option<Sparsity>,
    /// Factor of the squared Frobenius norm of the latents' derivative by the inputs; 0 without.
    pub contractive: f64,
    /// Of a variational autoencoder, what its latents cost that are not standard normal.
    pub kl: Option<Divergence>,
}

/// A cost of latents that are not silent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sparsity {
    /// Their absolute values, summed over latents.
    L1 {
        /// Its factor.
        weight: f64,
    },
    /// The divergence of each latent's mean over a batch from a target, summed over latents.
    Kl {
        /// Its factor.
        weight: f64,
        /// The wanted mean, between 0 and 1.
        target: f64,
    },
}

/// The divergence of drawn latents from standard normal ones.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Divergence {
    /// Its full factor.
    pub weight: f64,
    /// Epochs over which it rises linearly to that.
    pub warmup: u32,
}

impl Divergence {
    /// The factor in an epoch, counted from 0.
    pub fn factor(self, epoch: u32) -> f64 {
        if epoch < self.warmup {
            self.weight * f64::from(epoch + 1) / f64::from(self.warmup + 1)
        } else {
            self.weight
        }
    }
}

impl Penalties {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.sparsity.is_none() && self.contractive == 0.0 && self.kl.is_none()
    }
}

/// What is added to the distance, with its factors: nothing where there is none.
impl std::fmt::Display for Penalties {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut parts = vec![];
        match self.sparsity {
            Some(Sparsity::L1 { weight }) => parts.push(format!("{weight} × sum of |latent|")),
            Some(Sparsity::Kl { weight, target }) => {
                parts.push(format!("{weight} × KL divergence of mean latents from {target}"))
            }
            None => {}
        }
        if self.contractive > 0.0 {
            parts.push(format!("{} × squared norm of d latent / d input", self.contractive));
        }
        match self.kl {
            Some(Divergence { weight, warmup: 0 }) => {
                parts.push(format!("{weight} × KL divergence of latents from normal"))
            }
            Some(Divergence { weight, warmup }) => {
                parts.push(format!(
                    "{weight} × KL divergence of latents from normal (rising over {warmup} epochs)"
                ));
            }
            None => {}
        }
        f.write_str(&parts.join(" + "))
    }
}

/// How gradients become steps. The learning rate at a step comes from the [`Schedule`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Optimizer {
    /// Adam (Kingma and Ba), with PyTorch's or Keras' epsilon.
    Adam {
        /// Decay of the mean gradient.
        beta1: f64,
        /// Decay of the mean squared gradient.
        beta2: f64,
        /// The small number in the denominator.
        epsilon: f64,
        /// Where it stands.
        placement: EpsilonPlacement,
        /// Decoupled weight decay (AdamW); 0 for Adam.
        weight_decay: f64,
    },
    /// Gradient descent with momentum.
    Sgd {
        /// How much of the last step is kept.
        momentum: f64,
    },
    /// Adadelta (Zeiler 2012; epsilon inside both roots).
    Adadelta {
        /// Decay of the mean squared gradient and of the mean squared step.
        rho: f64,
        /// The small number beside both means.
        epsilon: f64,
    },
    /// RMSprop (PyTorch's: epsilon outside the root).
    RmsProp {
        /// Decay of the mean squared gradient.
        rho: f64,
        /// The small number in the denominator.
        epsilon: f64,
    },
}

/// How the learning rate changes from epoch to epoch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Schedule {
    /// Always the same.
    Constant,
    /// Times `factor` every `every` epochs.
    Step {
        /// Epochs between falls.
        every: u32,
        /// What the rate is multiplied by.
        factor: f64,
    },
    /// Times `factor` each epoch.
    Exponential {
        /// What the rate is multiplied by.
        factor: f64,
    },
    /// Half a cosine from the full rate to `min_rate`.
    Cosine {
        /// The last rate.
        min_rate: f64,
    },
    /// Times `factor` after `patience` epochs without a better validation loss.
    Plateau {
        /// Epochs to wait.
        patience: u32,
        /// What the rate is multiplied by.
        factor: f64,
        /// The lowest rate.
        min_rate: f64,
    },
}

/// How a threshold is found from calibration scores.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Threshold {
    /// A linearly interpolated percentile of the moving average over `smooth` LSs.
    Percentile {
        /// 0 to 100.
        percentile: f64,
        /// Window of the moving average; 1 takes the scores themselves.
        smooth: u32,
    },
    /// A given number.
    Fixed {
        /// The threshold. (`value` is what was found, beside it in the same object.)
        #[serde(rename = "at")]
        value: f64,
    },
    /// Mean plus k standard deviations.
    MeanStd {
        /// How many.
        k: f64,
        /// The standard deviation divides by n − ddof.
        ddof: u32,
    },
}

impl std::fmt::Display for Threshold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Percentile { percentile, smooth: 1 } => {
                write!(f, "{percentile}th percentile of the score")
            }
            Self::Percentile { percentile, smooth } => write!(
                f,
                "{percentile}th percentile of the score's moving average over {smooth} LSs"
            ),
            Self::Fixed { value } => write!(f, "fixed at {value}"),
            Self::MeanStd { k, ddof } => write!(f, "mean + {k} standard deviations (ddof {ddof})"),
        }
    }
}

impl DeviceChoice {
    /// Reads one device, or several with commas between them.
    pub fn parse_all(text: &str) -> std::result::Result<Vec<Self>, String> {
        text.split(',').map(|name| Self::parse(name.trim())).collect()
    }

    /// Reads "auto", "cpu", "cuda", "cuda:1", "wgpu" or "wgpu:1".
    pub fn parse(text: &str) -> std::result::Result<Self, String> {
        let (kind, index) = match text.split_once(':') {
            Some((kind, index)) => (
                kind,
                Some(index.parse().map_err(|_| {
                    format!("found \"{text}\"; expected a device number after the colon")
                })?),
            ),
            None => (text, None),
        };
        match (kind, index) {
            ("auto", None) => Ok(Self::Auto),
            ("cpu", None) => Ok(Self::Cpu),
            ("cuda", index) => Ok(Self::Cuda(index.unwrap_or(0))),
            ("wgpu", index) => Ok(Self::Wgpu(index)),
            _ => {
                let near = suggestion(text, ["auto", "cpu", "cuda", "wgpu"]);
                Err(format!(
                    "found \"{text}\"{near}; expected auto, cpu, cuda, cuda:N, wgpu or wgpu:N"
                ))
            }
        }
    }
}

impl Experiment {
    /// Reads and checks an experiment file with `--set` arguments over it; tells every fault at
    /// once.
    pub fn load(path: &Path, sets: &[String]) -> Result<Self> {
        Self::load_with(path, sets, &[])
    }

    /// The same with other options of the command line laid over both: each with the key that it
    /// stands for, and its text.
    pub fn load_with(path: &Path, sets: &[String], options: &[(&str, &str, &str)]) -> Result<Self> {
        let stem =
            path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let mut document = Document::load(path, sets)?;
        options.iter().for_each(|(option, key, text)| document.add_option(option, key, text));
        Self::check(&document, &stem)
    }

    /// Checks a merged document; `name` is used where the config has none.
    pub fn check(document: &Document, name: &str) -> Result<Self> {
        check::check(document, name)
    }

    /// The files, folders and patterns that it names.
    pub fn inputs(&self) -> Vec<PathBuf> {
        let FactFiles { oms, hlt, brilcalc, lumisections } = &self.facts;
        let many = [
            &self.train_files,
            &self.test_files,
            oms,
            hlt,
            brilcalc,
            lumisections,
            &self.automasks,
        ];
        let labels = self.labels.iter().filter_map(|spec| match &spec.origin {
            LabelOrigin::File { path, .. } => Some(path),
            LabelOrigin::Column { .. } => None,
        });
        let single =
            [&self.reference, &self.init, &self.chips, &self.select.golden].into_iter().flatten();
        let folder = self.subsystems.iter().map(|(folder, _)| folder);
        many.into_iter().flatten().chain(labels).chain(single).chain(folder).cloned().collect()
    }

    /// The resolved config as TOML: training on it repeats the experiment.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(&self.config)
            .map_err(|error| Error::failed(format!("experiment.toml: {error}")))
    }
}
