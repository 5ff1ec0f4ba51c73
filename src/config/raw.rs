//! The sections as they are written, under one path.

pub use super::{
    batch::{Batch, Flavour, HtCondor, Slurm},
    certify::{Best, Certify, CertifyOn, CutRule},
    channels::{ChannelRule, Channels, Unmatched},
    data::{BadRows, Columns, Data, Fill, FlowBins, Format},
    file::Config,
    keys::{OneOrMany, Scalar},
    labels::{
        BadValues, ClassNames, LabelSource, Labels, Lists, Others, Subsystems, ToldLabels, TrainOn,
    },
    loss::{Loss, LossKind, Sparsity, SparsityKind},
    model::{Activation, Init, Model, ModelKind, Nmf, NmfSolver, NmfStart},
    optimizer::{EpsilonPlacement, Optimizer, OptimizerKind},
    patterns::{Patterns, Sides, Window},
    report::{Projection, Report, ReportOn},
    scale::{Constant, FitOn, Scale, ScaleKind},
    schedule::{Schedule, ScheduleKind},
    score::{Combine, OneClassSvm, Score, ScoreKind},
    select::{DropEmpty, Select, UnknownRows},
    sensitivity::Sensitivity,
    split::{Split, SplitBy},
    sweep::{Goal, PrunerKind, Strategy, Sweep},
    threshold::{CalibrateOn, Percentile, Threshold, ThresholdKind},
    train::{Checkpoint, Kernels, LastBatch, Order, Stop, Train, ValidateOn},
    weights::Weights,
};
