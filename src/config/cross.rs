//! Checks across sections, and defaults that depend on another section.

use super::{
    check::{Checker, section},
    data::Fill,
    device::DeviceChoice,
    experiment::Experiment,
    loss::{Loss, LossKind, SparsityKind},
    model::{Activation, Model, ModelKind, Nmf, NmfStart},
    optimizer::Optimizer,
    scale::FitOn,
    schedule::{Schedule, ScheduleKind},
    split::SplitBy,
    sweep::PrunerKind,
    threshold::{CalibrateOn, ThresholdKind},
    train::{MOST_ROWS, ValidateOn},
};
use toml::{Table, Value};

/// Refuses keys that a kind of model does not have.
pub(super) fn model_kind(checker: &mut Checker, table: &mut Table) {
    let kind = section(table, "model").and_then(|model| model.get("kind")?.as_str());
    if kind != Some(ModelKind::Nmf.name()) {
        if let Some(own) = section(table, "model.nmf") {
            let kind = ("model.kind", "model.kind", ModelKind::Dense.name());
            checker.refuse::<Nmf>(own, "model.nmf", kind, |_| false);
        }
        return;
    }
    let kind = ("model.kind", "model.kind", ModelKind::Nmf.name());
    if let Some(own) = section(table, "model") {
        // An activation from a lower layer stays as that of the latents.
        let usual = match own.get("variational") {
            Some(Value::Boolean(true)) => Some(Activation::Linear.name().into()),
            _ => own.get("activation").cloned(),
        };
        if let Some(usual) = usual {
            own.entry("latent_activation").or_insert(usual);
        }
        let has = ["kind", "latent", "latent_activation", "nmf"];
        checker.refuse::<Model>(own, "model", kind, |key| has.contains(&key));
    }
    if let Some(own) = section(table, "loss") {
        checker.refuse::<Loss>(own, "loss", kind, |key| key == "kind");
    }
    if let Some(own) = section(table, "train.optimizer") {
        checker.refuse::<Optimizer>(own, "train.optimizer", kind, |_| false);
    }
    if let Some(own) = section(table, "train.schedule") {
        checker.refuse::<Schedule>(own, "train.schedule", kind, |_| false);
    }
}

/// Patterns have no percentile: with them the threshold is fixed at 0 by default.
pub(super) fn threshold_kind(checker: &Checker, table: &mut Table) {
    if table.contains_key("patterns") && !checker.document.says("threshold.kind") {
        let threshold = table.entry("threshold").or_insert_with(|| Table::new().into());
        if let Some(threshold) = threshold.as_table_mut() {
            threshold.insert("kind".into(), ThresholdKind::Fixed.name().into());
            threshold.entry("value").or_insert(Value::Float(0.0));
        }
    }
}

/// All checks across sections.
pub(super) fn check(config: &mut Experiment, checker: &mut Checker) {
    rows(config, checker);
    scale(config, checker);
    model(config, checker);
    penalties(config, checker);
    patterns(config, checker);
    validation(config, checker);
    sweep(config, checker);
    let is_cuda = |device: &&DeviceChoice| matches!(device, DeviceChoice::Cuda(_));
    let cuda = config.device.iter().filter(is_cuda).count() as u32;
    config.batch.gpus.meaning = config.batch.gpus.written.unwrap_or(cuda);
}

/// Layers, missing cells, conditions and parts that depend on other sections.
fn rows(config: &Experiment, checker: &mut Checker) {
    let Experiment { data, channels, weights, select, split, labels, model, .. } = config;
    if !data.layers.is_empty() && !channels.is_empty() {
        checker.fault(
            "channels",
            "channels are made of features by their names; data.layers makes its own",
        );
    }
    if data.fill == Fill::Mask && model.kind == ModelKind::Nmf {
        checker.fault(
            "data.fill",
            "\"mask\" excludes cells, but model.kind = \"nmf\" needs whole rows; expected \"zero\" or \"median\"",
        );
    }
    if select.nonzero_weight && weights.column.is_none() && weights.from.is_unset() {
        checker.fault(
            "select.nonzero_weight",
            "there are no weights; set weights.column or weights.from",
        );
    }
    if split.stratify && (split.by != SplitBy::Random || labels.good.is_none()) {
        checker.fault("split.stratify", "needs by = \"random\" and labels.good");
    }
}

fn scale(config: &Experiment, checker: &mut Checker) {
    let Experiment { data, scale, channels, .. } = config;
    if scale.fit_on == FitOn::Read && (!data.add_inputs.is_empty() || scale.divide_by.is_some()) {
        checker.fault("scale.fit_on", "\"read\" uses rows before data.add_inputs and scale.divide_by are known; expected \"train\" or \"all\"");
    }
    if let Some(step) =
        scale.steps().iter().find(|step| step.by_row()).filter(|_| !channels.is_empty())
    {
        checker.fault("scale.kind", format!("\"{step}\" uses the whole row, so with [channels] features of other channels would count"));
    }
}

/// Requirements of the kind of model and its batches on other sections.
fn model(config: &mut Experiment, checker: &mut Checker) {
    let Experiment { model, loss, train, score, .. } = config;
    if train.ensemble > 1 && score.one_class_svm.is_some() {
        checker.fault("train.ensemble", "models of an ensemble have different latents, which score.one_class_svm cannot combine");
    }
    if model.batch_norm && train.batch_size == 1 {
        checker.fault(
            "model.batch_norm",
            "a batch of one row is all 0 once normalised; expected train.batch_size of 2 or more",
        );
    }
    if model.kind != ModelKind::Nmf {
        train.optimizer.fill();
        return;
    }
    // A factorisation has no gradients.
    for (key, set) in
        [("train.gradient_clip", train.gradient_clip.is_some()), ("score.kl", score.kl != 0.0)]
    {
        if set {
            checker.fault(key, "has no meaning with model.kind = \"nmf\"");
        }
    }
    if !matches!(loss.kind, LossKind::Mse | LossKind::Sse) {
        checker.fault(
            "loss.kind",
            format!("found \"{}\"; model.kind = \"nmf\" minimises squared errors: expected \"mse\" or \"sse\"", loss.kind),
        );
    }
    if train.ensemble > 1 && model.nmf.start == NmfStart::Nndsvd && train.init.is_none() {
        checker.fault("train.ensemble", "members that start from singular vectors are identical; expected model.nmf.start = \"random\"");
    }
    if !checker.document.says("train.batch_size") {
        // All rows at once.
        train.batch_size = MOST_ROWS;
    }
    train.shuffle &= checker.document.says("train.shuffle");
    train.stop.tolerance.get_or_insert(1e-5);
}

/// Checks that penalties on latents fit the kind of latents.
fn penalties(config: &mut Experiment, checker: &mut Checker) {
    let Experiment { model, loss, score, .. } = config;
    let latent = model.latent_activation.unwrap_or(model.activation);
    let is_kl = loss.sparsity.as_ref().is_some_and(|own| own.kind == SparsityKind::Kl);
    if is_kl && latent != Activation::Sigmoid {
        checker.fault("loss.sparsity.kind", format!("\"kl\" treats latents as probabilities, but their activation is {latent}; set model.latent_activation = \"sigmoid\", or use \"l1\""));
    }
    if model.variational {
        if latent != Activation::Linear {
            checker.fault(
                "model.latent_activation",
                format!("found \"{latent}\"; with model.variational the latent layer gives means, expected \"linear\""),
            );
        }
        if loss.sparsity.is_some() {
            checker.fault(
                "loss.sparsity",
                "with model.variational latents are sampled and cannot be sparse; use one of the two",
            );
        }
        if loss.contractive > 0.0 {
            checker.fault("loss.contractive", "with model.variational latents are sampled and have no derivative; use one of the two");
        }
        loss.kl.get_or_insert(1e-3);
        loss.kl_warmup.get_or_insert(0);
    } else {
        for (key, is_set) in [
            ("loss.kl", loss.kl.is_some()),
            ("loss.kl_warmup", loss.kl_warmup.is_some()),
            ("score.kl", score.kl > 0.0),
        ] {
            if is_set {
                checker.fault(key, "has no meaning without model.variational = true");
            }
        }
    }
    if loss.contractive > 0.0 && model.batch_norm {
        checker.fault(
            "loss.contractive",
            "with model.batch_norm a row's latents depend on other rows and have no derivative by its inputs alone",
        );
    }
    if loss.contractive > 0.0 && model.dropout > 0.0 {
        checker.fault("loss.contractive", "is computed on the whole encoder, of which model.dropout disables a part; use one of the two, or model.noise");
    }
}

/// Checks that patterns have maps to search.
fn patterns(config: &Experiment, checker: &mut Checker) {
    if config.patterns.is_none() {
        return;
    }
    let what = match () {
        () if !config.channels.is_empty() => {
            "[channels] are made of features, which have no place in a map"
        }
        () if config.data.summary => "data.summary replaces the bins of histograms",
        () if !config.data.add_inputs.written.is_empty() => {
            "data.add_inputs have no place in a map"
        }
        () if config.score.kl != 0.0 => "score.kl is not an error of bins",
        () => return,
    };
    checker.fault("patterns", what);
}

/// Checks that keys which use the validation loss have validation rows.
fn validation(config: &mut Experiment, checker: &mut Checker) {
    let Experiment { split, train, threshold, .. } = config;
    let held_out = split.validates();
    let watched = held_out || train.validate_on == ValidateOn::Train;
    let advice = "needs validation rows; set split.valid above 0";
    if train.stop.patience.is_some() && !watched {
        checker.fault("train.stop.patience", advice);
    }
    if train.stop.restore_best == Some(true) && !watched {
        checker.fault("train.stop.restore_best", advice);
    }
    train.stop.restore_best.get_or_insert(train.stop.patience.is_some());
    if train.schedule.kind == ScheduleKind::Plateau && !watched {
        checker.fault("train.schedule.kind", format!("\"plateau\" {advice}"));
    }
    if threshold.kind != ThresholdKind::Fixed && threshold.on == CalibrateOn::Valid && !held_out {
        checker.fault("threshold.on", "\"valid\" needs validation rows; set split.valid above 0, or take \"train\" or \"scored\"");
    }
}

fn sweep(config: &mut Experiment, checker: &mut Checker) {
    let Experiment { split, train, sweep, .. } = config;
    let Some(sweep) = sweep.as_mut().filter(|sweep| sweep.pruner != PrunerKind::None) else {
        return;
    };
    sweep.warm_up.get_or_insert((train.epochs / 10).max(1));
    let validated =
        split.valid > 0.0 || train.validate_on == ValidateOn::Train || split.column.is_some();
    if !validated {
        checker.fault(
            "sweep.pruner",
            "uses the validation loss, but no rows are held out for it (split.valid)",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{
        loss::Divergence,
        tests::{DATA, check},
    };

    #[test]
    fn batch_norm_wants_more_than_a_row_at_once() {
        let error = check("data.train = [\"a\"]\nmodel.batch_norm = true\ntrain.batch_size = 1")
            .unwrap_err()
            .to_string();
        assert!(error.contains("model.batch_norm: a batch of one row is all 0 once normalised; expected train.batch_size of 2 or more"), "{error}");
        let error = check("data.train = [\"a\"]\nmodel.masking = 1.0\nmodel.noise = -0.1")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("model.masking: found 1.0; expected")
                && error.contains("model.noise: found -0.1; expected"),
            "{error}"
        );
    }

    #[test]
    fn penalties_that_contradict_each_other_are_told() {
        let errors =
            |text: &str| check(&format!("data.train = [\"a\"]\n{text}")).unwrap_err().to_string();
        for (text, told) in [
            ("loss.kl = 0.1", "loss.kl: has no meaning without model.variational"),
            ("score.kl = 0.1", "score.kl: has no meaning without model.variational"),
            (
                "model = {variational = true, latent_activation = \"relu\"}",
                "model.latent_activation: found \"relu\"; with model.variational",
            ),
            (
                "model.variational = true\nloss.sparsity = {}",
                "loss.sparsity: with model.variational latents are sampled",
            ),
            (
                "model.variational = true\nloss.contractive = 0.1",
                "loss.contractive: with model.variational latents are sampled",
            ),
            (
                "model.batch_norm = true\nloss.contractive = 0.1",
                "loss.contractive: with model.batch_norm a row's latents depend",
            ),
            (
                "model.dropout = 0.1\nloss.contractive = 0.1",
                "loss.contractive: is computed on the whole encoder",
            ),
            (
                "loss.sparsity = {kind = \"kl\"}",
                "loss.sparsity.kind: \"kl\" treats latents as probabilities, but their activation is relu",
            ),
            (
                "loss.sparsity = {target = 0.1}",
                "loss.sparsity.target: has no meaning with kind = \"l1\"",
            ),
            ("loss.sparsity = {weight = 0.0}", "loss.sparsity.weight: found 0.0; expected"),
        ] {
            assert!(errors(text).contains(told), "{text}: {}", errors(text));
        }
        let variational =
            check(&format!("{DATA}[model]\nvariational = true\n[loss]\nkl_warmup = 3")).unwrap();
        assert_eq!(variational.loss.penalties().kl, Some(Divergence { weight: 1e-3, warmup: 3 }));
        assert_eq!(variational.model.latent_activation, Some(Activation::Linear));
        assert_eq!(
            [0, 2, 3].map(|epoch| Divergence { weight: 1.0, warmup: 3 }.factor(epoch)),
            [0.25, 0.75, 1.0]
        );
        assert_eq!(check(&variational.to_toml().unwrap()).unwrap(), variational);
        let text = format!(
            "{DATA}[model]\nlatent_activation = \"sigmoid\"\n[loss]\nsparsity = {{kind = \"kl\"}}\ncontractive = 0.1"
        );
        let sparse = check(&text).unwrap();
        assert_eq!(
            sparse.loss.penalties().to_string(),
            "0.001 × KL divergence of mean latents from 0.05 + 0.1 × squared norm of d latent / d input"
        );
        assert_eq!(check(&sparse.to_toml().unwrap()).unwrap(), sparse);
    }

    #[test]
    fn what_watches_validation_needs_it() {
        let text = format!(
            "{DATA}[split]\nvalid = 0.0\n[train.stop]\npatience = 3\n[train.schedule]\nkind = \"plateau\""
        );
        let error = check(&text).unwrap_err().to_string();
        for key in ["train.stop.patience", "train.schedule.kind", "threshold.on"] {
            assert!(error.contains(key), "{key} in\n{error}");
        }
    }
}
