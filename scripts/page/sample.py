#!/usr/bin/env python3
"""Makes report pages of made-up experiments, for looking at the page and testing it.

Usage: sample.py FOLDER [NAME…]      (needs numpy)
"""

import base64
import json
import pathlib
import re
import sys
import zlib

import numpy as np

PAGE = pathlib.Path(__file__).resolve().parents[2] / "src/report/page"
TYPES = {"f32": "<f4", "u8": "u1", "u16": "<u2", "u32": "<u4"}
UNLABELLED = 255
EVIL = "<img src=x onerror=alert(1)></script><script>alert(2)</script>"


def packed(kind, values):
    raw = np.ascontiguousarray(values).astype(TYPES[kind]).tobytes()
    deflate = zlib.compressobj(6, zlib.DEFLATED, -15)
    return {"t": kind, "d": base64.b64encode(deflate.compress(raw) + deflate.flush()).decode()}


def page(data, title):
    """The skeleton, filled in a single pass: nothing that is put in is looked at again."""
    scripts = "\n".join((PAGE / name).read_text() for name in ["base.js", "viewer.js", "sweep.js", "sensitivity.js", "page.js"])
    text = json.dumps(without_nan(data)).replace("<", "\\u003c")
    parts = {
        "TITLE": title.replace("&", "&amp;").replace("<", "&lt;"),
        "STYLE": (PAGE / "page.css").read_text(),
        "LIBRARY": (PAGE / "assets/echarts.min.js").read_text(),
        "SCRIPT": scripts,
        "DATA": text,
    }
    return re.sub(r"\{\{([A-Z]+)\}\}", lambda match: parts[match[1]], (PAGE / "page.html").read_text())


def without_nan(value):
    """JSON knows no NaN: serde writes null."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [without_nan(item) for item in value]
    if isinstance(value, (np.floating, np.integer, np.bool_)):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value


def quantised(low, high, values):
    span = np.where(high > low, high - low, 1)
    return np.round(255 * np.sqrt(np.clip((values - low[:, None]) / span[:, None], 0, 1)))


def view(channel, runs, at, inputs, outputs, **more):
    """Frames of a channel: inputs and outputs of shape [frames, k]."""
    low = np.minimum(inputs.min(1), outputs.min(1))
    high = np.maximum(inputs.max(1), outputs.max(1))
    errors = (inputs - outputs) ** 2 / np.maximum(high, 1e-9)[:, None] ** 2
    made = {
        "channel": channel, "names": None, "element": None, "shape": [1, inputs.shape[1]], "edges": None, "unit": "as read",
        "error": "squared error of scaled inputs", "run": packed("u16", runs), "at": packed("u32", at), "low": packed("f32", low),
        "high": packed("f32", high), "input": packed("u8", quantised(low, high, inputs)), "output": packed("u8", quantised(low, high, outputs)),
        "error_high": packed("f32", errors.max(1)), "errors": packed("u8", quantised(np.zeros(len(errors)), errors.max(1), errors)),
        "features": None, "k": inputs.shape[1], "note": "",
    }
    return made | more


def histograms(quantity, groups, bins=50):
    values = np.concatenate([values for _, values in groups])
    low, high = float(values.min()), float(values.max())
    shares = [np.histogram(values, bins, (low, high))[0] / max(1, len(values)) for _, values in groups]
    named = [{"name": name, "rows": len(values), "shares": list(share)} for (name, values), share in zip(groups, shares)]
    return {"quantity": quantity, "low": low, "high": high, "groups": named}


def history(channel, member, epochs, seed, valid=True):
    random = np.random.default_rng(seed)
    epoch = np.arange(1, epochs + 1)
    train = 0.01 + 0.4 * np.exp(-epoch / 9) + random.normal(0, 2e-4, epochs)
    held = train * 1.1 + 1e-4 * np.maximum(0, epoch - 60)
    kept = int(np.argmin(held)) + 1
    return {"channel": channel, "member": member, "epoch": list(epoch), "train": list(train), "valid": list(held) if valid else [None] * epochs,
            "rate": [1e-3] * epochs, "kept": kept if valid else epochs, "stopped": "the validation loss no longer fell" if valid else "all epochs done"}


def roc(good, bad):
    cuts = np.unique(np.concatenate([good, bad]))[::-1]
    if len(cuts) > 300:
        cuts = cuts[np.linspace(0, len(cuts) - 1, 300).astype(int)]
    return [0.0] + [float((good >= cut).mean()) for cut in cuts], [0.0] + [float((bad >= cut).mean()) for cut in cuts]


def auc(channel, labels, good, bad, note=None, origin="column good"):
    if not len(good) or not len(bad):
        return {"channel": channel, "labels": labels, "origin": origin, "split": "test", "weighted": False, "good": len(good), "bad": len(bad),
                "auc": None, "average_precision": None, "interval": None, "note": note or "no row is bad"}
    value = float((bad[:, None] > good[None, :]).mean())
    cut = [(share, float(np.quantile(good, 1 - share))) for share in (0.001, 0.01, 0.1)]
    efficiencies = [{"background": share, "threshold": at, "efficiency": float((bad > at).mean()), "interval": [max(0, float((bad > at).mean()) - 0.04),
                     min(1, float((bad > at).mean()) + 0.03)], "bad": len(bad)} for share, at in cut]
    return {"channel": channel, "labels": labels, "origin": origin, "split": "test", "weighted": False, "good": len(good), "bad": len(bad), "auc": value,
            "average_precision": value * 0.8, "interval": [max(0, value - 0.03), min(1, value + 0.02)], "note": "95 % interval from 1000 resamplings of 3 runs",
            "efficiencies": efficiencies}


def channel_figures(name, features, score, good, cut):
    ratios = np.log(score / np.median(score))
    groups = [("good", ratios[good]), ("bad", ratios[~good])]
    errors = histograms("ln(score / mean-field error), test rows, unweighted", [group for group in groups if len(group[1])] or [("all", ratios)])
    training = {"loss": "mse: mean over bins and rows, without L2 terms", "members": 1, "epochs": 80, "kept_epoch": 61, "stopped": "the validation loss no longer fell",
                "train_loss": 0.0102, "valid_loss": 0.0114, "best_valid_loss": 0.0113, "seconds": 12.3}
    return {"name": name, "features": features, "shape": f"{features}-64-8-64-{features}", "parameters": 7997, "training": training,
            "errors": "mean over the training rows; the squared error of scaled inputs", "mean_field_error": {"sum": 1.83, "mean": 0.0346 * features / 50},
            "ae_error": {"sum": 0.55, "mean": 0.0103}, "log_cut": float(np.log(cut / np.median(score))), "bad": {"well_reconstructed": 4, "badly_reconstructed": 30},
            "log_ratios": errors, "svm": None}


def calibrated(channel, value):
    return {"channel": channel, "kind": "percentile", "percentile": 99.5, "smooth": 1, "log": False, "on": "valid", "value": value, "rows": 382, "runs": 3, "files": ["good.csv"]}


def experiment(name="made-up", runs=3, rows=800, bins=53, channels=("all",), labelled=True, bad_share=0.02, absent=True, shape=None, names=None,
               keep=None, flag=None, nan=False, beside=True, evil="", every=1, good_scores=True, seed=1):
    """An experiment on `runs` runs of `rows` LSs with anomalies of known place. `flag` flags all ("all") or none ("none")."""
    random = np.random.default_rng(seed)
    several = len(channels) > 1
    scored = [*channels, "combined"] if several else list(channels)
    cut = 0.038
    data_runs, figures, frames = [], [], []
    all_scores, all_bad = [[] for _ in scored], []
    x = np.linspace(-1, 1, bins)
    for index in range(runs):
        first = 13 if absent else 1
        ls = np.arange(first, first + rows)
        if absent and rows > 100:
            ls = np.delete(ls, slice(rows // 3, rows // 3 + rows // 30))
        bad = random.random(len(ls)) < bad_share / 2
        for _ in range(3):
            start = random.integers(0, max(1, len(ls) - 12))
            bad[start : start + max(1, int(bad_share * 200))] |= bad_share > 0
        kind = random.integers(0, len(channels), len(ls))
        scores = []
        for at, _ in enumerate(channels):
            score = 0.012 * np.exp(random.normal(0, 0.25, len(ls))) * (1 + 0.3 * np.sin(ls / 90))
            hit = bad & (kind == at)
            score[hit] *= np.exp(random.uniform(0.6, 6, hit.sum())) if good_scores else 0.7
            scores.append(score)
        if several:
            scores.append(np.max(scores, axis=0))
        threshold = {"all": 1e-6, "none": 1e6}.get(flag, cut)
        if nan:
            for score in scores:
                score[random.random(len(score)) < 0.05] = np.nan
        flagged = [(np.nan_to_num(score) > threshold) for score in scores]
        classes = np.where(bad, 1, 0) if labelled else np.full(len(ls), UNLABELLED)
        number = 297050 + 7 * index
        runname = f"{evil}{number}" if evil else str(number)
        unevaluated = [{"from": 1, "to": first - 1, "reason": f"empty (leading) {evil}".strip()}] if absent else []
        if absent and rows > 100:
            unevaluated.append({"from": int(ls[-1]) + 1, "to": int(ls[-1]) + rows // 6, "reason": "detector off"})
        lumi = {"name": f"recorded_lumi_per_lumisection{evil}", "values": packed("f32", np.where(ls < first + 3, np.nan, 0.3 * np.exp(-ls / (2.5 * rows)) + random.normal(0, 0.002, len(ls))))}
        data_runs.append({"name": runname, "run": None if evil else number, "rows": len(ls), "ls": packed("u32", ls), "split": packed("u8", np.full(len(ls), 2)), "class": packed("u8", classes),
                          "score": [packed("f32", score) for score in scores], "threshold": [threshold] * len(scored), "flagged": [packed("u8", one) for one in flagged],
                          "unevaluated": unevaluated, "beside": [lumi] if beside else [], "thinned": None})
        peak = np.exp(-(x**2) / 0.08) * 800 + 40
        inputs = random.poisson(np.maximum(1, np.tile(peak, (len(ls), 1)))).astype(float)
        inputs[bad] = random.poisson(np.maximum(1, np.tile(np.roll(peak, bins // 5) * 0.8, (bad.sum(), 1))))
        if shape:
            rows2, columns2 = shape
            y, z = np.mgrid[-1 : 1 : rows2 * 1j, -1 : 1 : columns2 * 1j]
            peak = (np.exp(-(y**2 + z**2) / 0.4) * 300 + 5).ravel()
            inputs = random.poisson(np.tile(peak, (len(ls), 1))).astype(float)
            dead = (np.abs(y - 0.4) < 0.2).ravel() & (np.abs(z) < 0.3).ravel()
            inputs[np.ix_(bad, dead)] = 0
        outputs = np.tile(peak, (len(ls), 1)) * (1 + random.normal(0, 0.01, (len(ls), 1)))
        shown = np.flatnonzero((np.arange(len(ls)) % every == 0) | flagged[-1])
        frames.append((np.full(len(shown), index), shown, inputs[shown], outputs[shown]))
        total, kept = inputs.sum(0), inputs[~flagged[-1]].sum(0)
        evaluated = int(np.isfinite(scores[-1]).sum())
        figures.append({"name": runname, "run": None if evil else number, "ls": [int(ls[0]), int(ls[-1])], "evaluated": evaluated, "not_evaluated": len(ls) - evaluated + sum(one["to"] - one["from"] + 1 for one in unevaluated),
                        "gaps": 0 if not absent or rows <= 100 else rows // 30, "flagged": [{"threshold": "99.5th percentile of the score", "value": threshold, "ls": list(ls[flagged[-1]]), "sum_without": None if names else list(kept)}],
                        "sum": None if names else list(total)})
        for at, score in enumerate(scores):
            all_scores[at].append(score)
        all_bad.append(bad)
    scores = [np.nan_to_num(np.concatenate(score), nan=0.01) for score in all_scores]
    bad = np.concatenate(all_bad)
    frame_runs, at, inputs, outputs = (np.concatenate([frame[part] for frame in frames]) for part in range(4))
    viewers = []
    for index, channel in enumerate(channels):
        more = {"element": None if names else f"METSig{evil}", "edges": [0, 50, None, None] if not shape and not names else None}
        if shape:
            more = {"shape": list(shape), "edges": [-2.5, 2.5, -3.14, 3.14], "element": "digi occupancy"}
        if names:
            more |= {"names": list(names), "unit": "as scaled"}
            noise = random.normal(0, 1, (len(at), len(names)))
            rebuilt = noise * 0.8 + random.normal(0, 0.1, noise.shape)
            hurt = bad[np.searchsorted(np.arange(len(bad)), at)] if runs == 1 else np.zeros(len(at), bool)
            noise[hurt, index * 7 : index * 7 + 5] += 4
            errors = (noise - rebuilt) ** 2
            if keep:
                worst = np.sort(np.argsort(-errors, axis=1)[:, :keep], axis=1)
                noise, rebuilt = np.take_along_axis(noise, worst, 1), np.take_along_axis(rebuilt, worst, 1)
                more["features"] = packed("u16", worst)
            viewers.append(view(channel, frame_runs, at, noise, rebuilt, **more))
        else:
            viewers.append(view(channel, frame_runs, at, inputs, outputs, **more, note=f"every {every}th of the unflagged" if every > 1 else ""))
    areas, curves = [], []
    if labelled:
        for at_channel, channel in enumerate(scored):
            good_score, bad_score = scores[at_channel][~bad], scores[at_channel][bad]
            areas.append(auc(channel, "good", good_score, bad_score))
            if len(bad_score):
                fpr, tpr = roc(good_score, bad_score)
                curves.append({"channel": channel, "labels": "good", "fpr": fpr, "tpr": tpr})
            if several:
                areas.append(auc(channel, "Tracker", good_score, bad_score[: len(bad_score) // 2]))
                areas.append(auc(channel, "RPC", good_score, -bad_score))
                areas.append(auc(channel, "DT", good_score, np.array([]), "all rows are good"))
    latent = random.normal(0, 1, (2, len(at))) + np.where(np.isin(np.arange(len(at)), np.flatnonzero(bad[: len(at)])), 3, 0)
    flags = np.nan_to_num(scores[-1][: len(at)]) > cut
    first = frame_runs == 0
    projections = [{"channel": channels[0], "method": method, "axes": axes, "x": packed("f32", latent[0][first] * scale), "y": packed("f32", latent[1][first]), "class": packed("u8", bad[: first.sum()] if labelled else np.full(first.sum(), 255)),
                    "score": packed("f32", scores[0][at[first]]), "flagged": packed("u8", flags[: first.sum()]), "run": packed("u16", frame_runs[first]), "at": packed("u32", at[first]), "note": "fitted on all rows shown"}
                   for method, axes, scale in [("PCA", ["PC 1 (63 %)", "PC 2 (12 %)"], 1), ("t-SNE", ["t-SNE 1", "t-SNE 2"], 20)]]
    features = list(names) if names else [f"bin_{at}{evil}" for at in range(bins)]
    share = [{"name": features[at % len(features)], "share": 0.3 * 0.8**at, "usual_share": 0.02 * (1 + at % 3), "times_usual": 1500.0 / (at + 1)} for at in range(min(10, len(features)))]
    worst = [{"file": f"{evil}data.csv", "run": figures[run]["run"], "ls": int(one), "channel": channels[0], "score": 3.2, "threshold": cut, "levels": [{"level": "quantity", "shares": share[:3]}] if names else [], "features": share}
             for run in range(runs) for one in figures[run]["flagged"][0]["ls"][:3]]
    good_rows, false = int((~bad).sum()), int((scores[-1][~bad] > cut).sum())
    channels_figures = [channel_figures(channel, len(features) // len(channels), scores[at], ~bad if labelled else np.ones(len(bad), bool), cut) for at, channel in enumerate(channels)]
    if several:
        groups = [{"name": group, "rows": rows, "outside": rows // 20, "outside_share": 0.05} for group, rows in [("good", 900), ("well reconstructed bad", 12), ("badly reconstructed bad", 40)]]
        for one in channels_figures:
            one["svm"] = {"gamma": 0.02, "support": 51, "groups": groups, "decision": histograms("decision value of the one-class SVM, test rows, weighted", [("good", random.normal(4, 1, 900)), ("well reconstructed bad", random.normal(2, 1, 12)), ("badly reconstructed bad", random.normal(-1, 1.5, 40))])}
    report = {
        "name": f"{name}{evil}", "version": "0.1.0", "device": "cpu", "seed": seed,
        "data": {"element": None if names else f"METSig{evil}", "bins": len(features), "shape": {"y": shape[0] if shape else 1, "x": shape[1] if shape else len(features)}, "features": bool(names), "events": False, "flow_bins": False,
                 "train": 1121, "valid": 382, "test": len(bad), "unused": 0, "not_evaluated": [["empty (leading)", 22], [f"weight 0{evil}", 3]]},
        "score": f"mse: mean over the {len(features)} scaled inputs of one lumisection", "on": "test", "channels": channels_figures,
        "thresholds": [calibrated(channel, cut) for channel in channels],
        "false_alarms": {"sample": "test rows labelled good", "flagged": false, "rows": good_rows, "rate": false / max(1, good_rows), "interval": [max(0, false / max(1, good_rows) - 0.001), false / max(1, good_rows) + 0.002]} if labelled else None,
        "agreement": {"members": 5, "flagged": 31, "by_all": 27, "disputed": 9, "relative_spread": 0.083} if several else None,
        "auc": areas, "worst": worst, "runs": figures,
        "warnings": [f"no labels (labels.good): every row of data.train is taken for good {evil}".strip()] if not labelled or evil else [],
    }
    if labelled and not several:
        report["classes"] = {"column": "good", "on": "test", "values": [{"value": "1", "class": "good", "rows": int((~bad).sum())}, {"value": "0", "class": "bad", "rows": int(bad.sum())}],
                             "classes": [{"name": "good", "good": True, "rows": int((~bad).sum()), "flagged": false, "efficiency": false / max(1, good_rows), "interval": [0.0, 0.004], "purity": 0.1, "purity_interval": [0.04, 0.2]},
                                         {"name": f"bad{evil}", "good": False, "rows": int(bad.sum()), "flagged": 40, "efficiency": 0.87, "interval": [0.8, 0.93], "purity": 0.9, "purity_interval": [0.8, 0.96]}]}
    return {
        "kind": "experiment", "report": report,
        "provenance": {"version": "0.1.0", "device": "cpu", "precision": "f32", "seed": seed, "files": [{"name": f"{evil}good.csv", "path": "/data/good.csv", "role": "train", "format": "ls-bins", "bytes": 241283, "sha256": "1c7136bd5db9e9de" * 4, "rows": 1520}], "rows": {"evaluated": 3688, "not_evaluated": []}},
        "config": f'name = "{name}"\nseed = 1\n\n[data]\ntrain = ["good.csv"]  # {evil}\n\n[scale]\nkind = "range"\nfit_on = "train"\n', "command": f"lumisift train {name}/experiment.toml --out NEW", "unit": "LS",
        "classes": ["good", f"bad{evil}"] if labelled else [], "class_good": [True, False] if labelled else [], "channels": scored,
        "history": [history(channel, member, 80, 7 * member) for channel in channels for member in range(1, 4 if several else 2)], "runs": data_runs, "viewer": viewers, "curves": curves, "projections": projections,
        "distributions": [histograms(f"{feature}, test rows, unweighted", [("good", random.normal(at, 1, 500)), (f"bad{evil}", random.normal(at + 1, 1.4, 80))]) for at, feature in enumerate(features[:12])] if labelled and not shape else [],
    }


def events(seed=3):
    """A table of events with three classes."""
    data = experiment(name="events", runs=1, rows=3000, names=[f"feature {at}" for at in range(19)], absent=False, beside=False, seed=seed)
    random = np.random.default_rng(seed)
    classes = random.choice(3, 3000, p=[0.93, 0.05, 0.02])
    score = np.exp(random.normal(-4.3, 0.4, 3000)) * np.array([1, 2.5, 6])[classes]
    run = data["runs"][0]
    flagged = score > 0.038
    run |= {"name": "test.csv", "run": None, "ls": packed("u32", np.arange(3000)), "class": packed("u8", classes), "score": [packed("f32", score)], "flagged": [packed("u8", flagged)], "unevaluated": []}
    report = data["report"]
    report["runs"] = [report["runs"][0] | {"name": "test.csv", "run": None, "ls": [0, 2999], "evaluated": 3000, "not_evaluated": 0, "gaps": 0, "flagged": [{"threshold": "99th percentile of the score", "value": 0.038, "ls": list(np.flatnonzero(flagged)), "sum_without": None}]}]
    report["data"]["events"] = True
    share = lambda chosen: {"rows": int(chosen.sum()), "flagged": int((chosen & flagged).sum()), "efficiency": float(flagged[chosen].mean()), "interval": [float(flagged[chosen].mean()) * 0.8, min(1, float(flagged[chosen].mean()) * 1.15)],
                            "purity": float((chosen & flagged).sum() / flagged.sum()), "purity_interval": [0.1, 0.5]}
    names = ["QCD", "Higgs", "graviton"]
    report["classes"] = {"column": "Dataset_ID", "on": "test", "values": [{"value": str(at + 1), "class": name, "rows": int((classes == at).sum())} for at, name in enumerate(names)],
                         "classes": [{"name": name, "good": at == 0} | share(classes == at) for at, name in enumerate(names)]}
    data |= {"unit": "event", "classes": names, "class_good": [True, False, False]}
    report["auc"] = [auc("all", "good", score[classes == 0], score[classes > 0], origin="column Dataset_ID")]
    fpr, tpr = roc(score[classes == 0], score[classes > 0])
    data["curves"] = [{"channel": "all", "labels": "good", "fpr": fpr, "tpr": tpr}]
    return data


def bare():
    """Little more than the kind: everything may be missing."""
    return {"kind": "experiment", "report": {"name": "bare", "version": "0.1.0", "warnings": []}, "unit": "LS", "channels": ["all"], "runs": [], "viewer": []}


def comparison(evil=""):
    made = [experiment(name=name, runs=2, rows=400, seed=seed, good_scores=good) for name, seed, good in [("dense", 1, True), ("convolution", 2, True), (f"PCA{evil}", 3, False)]]
    entries = [{"name": one["report"]["name"], "folder": f"/work/{one['report']['name']}", "report": one["report"], "history": one["history"], "curves": one["curves"]} for one in made]
    return {"kind": "comparison", "experiments": entries, "overlap": {"names": [entry["name"] for entry in entries], "common": [[28, 21, 3], [21, 33, 2], [3, 2, 9]], "note": "Rows that all experiments scored: 1,210."},
            "warnings": [f"dense and convolution were trained on different rows{evil}"]}


def sweep(trials=60, repeats=1, settled=None, pruned=0.0, failed=0.0, more=0, evil="", figures=True, conditional=False, seed=5):
    """A search over a rate (log), a width (whole), a choice, and `more` numbers; `settled` trials of it are."""
    random = np.random.default_rng(seed)
    settled = trials if settled is None else settled
    hidden = ["[16]", f"[64, 32]{evil}", "[103]"]
    parameters = [{"name": "train.optimizer.learning_rate", "low": 1e-5, "high": 1e-1, "log": True}, {"name": "model.latent", "low": 1, "high": 32, "log": False, "whole": True}, {"name": f"model.hidden{evil}", "choices": hidden},
                  *({"name": f"loss.quantity{at}.weight", "low": 0.0, "high": 1.0 if at else 0.0, "log": False} for at in range(more))]
    made, curves = [], []
    for number in range(1, settled + 1):
        values = [float(f"{10 ** random.uniform(-5, -1):.3e}"), int(random.integers(1, 33)), int(random.integers(0, 3)), *(at and random.uniform(0, 1) for at in range(more))]
        level = 0.01 * (1 + (np.log10(values[0]) + 3) ** 2 + (values[1] - 12) ** 2 / 100 + values[2] * 0.3) * np.exp(random.normal(0, 0.05))
        if conditional and values[2] == 1:
            values[1] = None
        state = random.choice(["pruned", "failed", "done"], p=[pruned, failed, 1 - pruned - failed])
        trainings = list(level * np.exp(random.normal(0, 0.1, repeats))) if state == "done" else []
        epochs = 100 if state == "done" else int(random.choice([3, 9, 27]))
        folder = f"{number:04}" + (f"-{1 + int(np.argmin(trainings))}" if repeats > 1 and trainings else "")
        made.append({"trial": number, "state": state, "folder": f"trials/{folder}", "objective": float(np.mean(trainings)) if trainings else None, "spread": float(np.std(trainings, ddof=1)) if len(trainings) > 1 else None, "trainings": trainings,
                     "values": values, "figures": [float(level), float(random.integers(0, 60))], "epochs": epochs, "seconds": epochs * 0.031, "message": f"training diverged{evil}: the loss of epoch 2 is inf" if state == "failed" else None})
        if len(curves) < 60 and state != "failed":
            at = np.arange(1, epochs + 1)
            curves.append({"name": folder, "state": state, "epoch": at, "loss": level + np.exp(-at * random.uniform(0.02, 0.2))})
    ranked = sorted((one for one in made if one["objective"] is not None), key=lambda one: one["objective"])
    best = ranked[0] if ranked else None
    for curve in curves:
        curve["best"] = bool(best) and best["folder"].endswith(curve["name"])
    states = {state: repeats * sum(one["state"] == state for one in made) for state in ["done", "pruned", "failed"]} | {"planned": repeats * (trials - settled)}
    text = lambda parameter, value: parameter["choices"][value] if "choices" in parameter else str(value)
    return {"kind": "sweep", "name": f"made-up{evil}", "version": "0.1.0", "objective": f"channels.all.training.best_valid_loss{evil}", "goal": "min", "strategy": "random", "pruner": "asha" if pruned else "none", "repeats": repeats, "points": trials,
            "states": {state: rows for state, rows in states.items() if rows}, "parameters": parameters, "figures": ["best_valid_loss", "flagged"], "trials": made, "ranking": [one["trial"] for one in ranked],
            "best": best and {"trial": best["trial"], "folder": best["folder"], "mean": best["objective"], "spread": best["spread"], "trainings": len(best["trainings"]), "parameters": [[parameter["name"], text(parameter, value)] for parameter, value in zip(parameters, best["values"]) if value is not None],
                              "again": f"lumisift train s/sweep.toml \\\n  --set 'model.hidden=[64, 32]{evil}' \\\n  --set train.optimizer.learning_rate=0.0031 \\\n  --out s-again", "score": "lumisift score s/best --data FILE… --out scores.parquet"},
            "importance": [[parameter["name"], 0.5 * 0.6**at] for at, parameter in enumerate(parameters)] if len(ranked) >= 4 else [], "curves": curves}


WIDE = [f"{dataset}_{quantity}__q{quantile}_{statistic}" for dataset in ["muons", "photons", "minibias"] for quantity in ["pt", "eta", "phi", "mass"] for quantile in range(1, 6) for statistic in ["mean", "std", "p1", "p50", "p99"]]

SAMPLES = {
    "histograms": lambda: experiment(),
    "maps": lambda: experiment(name="maps", runs=2, rows=120, shape=(24, 40), bins=960),
    "wide": lambda: experiment(name="wide", runs=2, rows=300, names=WIDE, keep=40, channels=("muons", "photons", "minibias")),
    "wide-all": lambda: experiment(name="wide-all", runs=1, rows=150, names=WIDE, beside=False),
    "events": events,
    "none": lambda: experiment(name="none", runs=2, rows=200, flag="none"),
    "all": lambda: experiment(name="all", runs=1, rows=200, flag="all"),
    "one": lambda: experiment(name="one", runs=1, rows=1, bad_share=0, absent=False, labelled=False),
    "nan": lambda: experiment(name="nan", runs=2, rows=300, nan=True),
    "unlabelled": lambda: experiment(name="unlabelled", labelled=False, beside=False),
    "reversed": lambda: experiment(name="reversed", good_scores=False, runs=1, rows=400),
    "names": lambda: experiment(name="names", runs=2, rows=150, evil=EVIL),
    "large": lambda: experiment(name="large", runs=1, rows=20_000, bins=100),
    "bare": bare,
    "comparison": lambda: comparison(),
    "comparison-names": lambda: comparison(EVIL),
    "sweep": lambda: sweep(pruned=0.3, failed=0.05),
    "sweep-begun": lambda: sweep(settled=0),
    "sweep-one": lambda: sweep(trials=1),
    "sweep-failed": lambda: sweep(trials=5, failed=1.0),
    "sweep-large": lambda: sweep(trials=2000, pruned=0.4, more=5),
    "sweep-repeats": lambda: sweep(trials=12, settled=9, repeats=3),
    "sweep-conditional": lambda: sweep(conditional=True),
    "sweep-names": lambda: sweep(trials=8, failed=0.3, evil=EVIL, conditional=True, more=9),
}


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[2:] or SAMPLES:
        made = page(SAMPLES[name](), name)
        (folder / f"{name}.html").write_text(made)
        print(f"{folder / name}.html: {len(made) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
