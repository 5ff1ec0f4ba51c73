// The page from top to bottom: the answer, scores, viewer, run sums, evidence, provenance; or a comparison of experiments.

/** A section with a heading and its place in the contents. `fill` puts something in; a section that stays empty is left out. */
function section(id, title, fill) {
  const body = element("section", { id, "aria-labelledby": `${id}-title` }, element("h2", { id: `${id}-title` }, title));
  document.getElementById("page").append(body);
  const result = attempt(title, body, () => fill(body));
  if (body.children.length < 2) body.remove();
  else document.getElementById("contents").append(element("a", { href: `#${id}` }, title));
  return result;
}

/** A part of a section, left out if it stays empty. */
function part(parent, title, fill) {
  const body = element("div", { class: "part" }, element("h3", {}, title));
  parent.append(body);
  attempt(title, body, () => fill(body));
  if (body.children.length < 2) body.remove();
}

const sentence = (text) => element("p", { class: "small" }, text);

// ---- the answer ----

/** Runs as figures, each with its place among those that are drawn. */
function runFigures(data) {
  return (data.report?.runs || []).map((run) => {
    const first = run.flagged?.[0];
    const index = data.runs?.findIndex((other) => other.name === run.name && (other.run ?? null) === (run.run ?? null)) ?? -1;
    return { ...run, index, ls_flagged: first?.ls || [], judged: Boolean(first), ls_range: run.ls };
  });
}

function answer(parent, data, show) {
  const { report } = data;
  const runs = runFigures(data);
  const { text, counts, files } = data.answer || {};
  const unit = data.unit === "event" ? "event" : "lumisection";
  const rows = onAll(data) ? "all rows, those trained on among them," : "test rows";
  if (text) parent.append(element("p", { class: "answer" }, text));
  if (runs.length && counts) {
    parent.append(bigFigures(counts, files));
    const above = runs[0].flagged?.[0] ? ` Flagged rows lie strictly above the threshold${data.channels?.length > 1 ? " of the combined score" : ""} (${runs[0].flagged[0].threshold}).` : "";
    const absent = counts.not_evaluated ? ` Not evaluated are rows of ${files}${counts.elsewhere ? `, ${count(counts.elsewhere)} of them in none of the runs below` : ""}.` : "";
    parent.append(sentence(`Evaluated and flagged are counted on ${rows} of ${plural(runs.length, data.unit === "event" ? "file" : "run")}.${above}${absent}`));
  }
  parent.append(element("div", { class: "cards" }, falseAlarmCard(report, unit), aucCard(report, data), agreementCard(report)));
  const warnings = report.warnings || [];
  if (warnings.length) parent.append(element("div", { class: "notice", role: "note" }, element("strong", {}, plural(warnings.length, "warning")), element("ul", {}, warnings.map((warning) => element("li", {}, warning)))));
  if (runs.length) runTable(parent, data, runs, show);
}

function bigFigures({ evaluated, not_evaluated: absent, flagged, gaps }, files) {
  const figure = (kind, sign, value, name, note) => element("div", { class: `big ${kind}` }, element("span", { class: "value" }, count(value)), element("span", { class: "name" }, `${sign} ${name}`), element("span", { class: "small" }, note));
  const share = (value) => `${percent(value / (evaluated || 1))} of the evaluated`;
  const shares = element("div", { class: "shares", "aria-hidden": "true" }, [["good", evaluated - flagged], ["flagged", flagged], ["absent", absent]].filter(([, value]) => value > 0).map(([kind, value]) => element("span", { class: kind, style: `flex-grow: ${value}` })));
  return element(
    "div",
    {},
    element(
      "div",
      { class: "bigs" },
      figure("good", "●", evaluated - flagged, "judged good", share(evaluated - flagged)),
      figure("flagged", "◆", flagged, "flagged", share(flagged)),
      figure("absent", "○", absent, "not evaluated", `of ${files}${gaps ? `; ${plural(gaps, "LS number")} missing` : ""}`),
    ),
    shares,
  );
}

function card(title, value, notes, warning) {
  return element("div", { class: "card" }, element("h3", {}, title), element("p", { class: "value" }, value), notes.filter(Boolean).map((note) => element("p", { class: "small" }, note)), warning && element("p", { class: "alarm" }, `⚠ ${warning}`));
}

function falseAlarmCard(report, unit) {
  const rate = report.false_alarms;
  if (!rate) {
    const last = (report.thresholds || []).at(-1);
    const on = last?.kind === "fixed" ? "config" : last?.on;
    const why = on === "scored" ? "and each run's threshold is found on itself" : on === "valid" ? `and the threshold was found on the validation rows` : "and no validation rows";
    return card("False-alarm rate", "not known", [`There are no test ${unit}s labelled good, ${why}.`]);
  }
  return card("False-alarm rate", percent(rate.rate), [`${count(rate.flagged)} of ${count(rate.rows)} ${rate.sample} flagged`, `95 % interval ${between(rate.interval, percent)}, as if rows were independent`]);
}

/** The area that stands for the experiment: of the channel that judges, on the labels called good where there are such. */
function mainAuc(report, main) {
  const areas = (report.auc || []).filter((auc) => auc.channel === main);
  return areas.find((auc) => auc.labels === "good") || areas.find((auc) => known(auc.auc)) || areas[0];
}

const weighted = (auc) => (auc.weighted ? "weighted" : "unweighted");
const splitName = (split) => (split === "all" ? "all rows" : `${split} rows`);
const LOW = "below 0.5: scores rank bad below good";

function aucCard(report, data) {
  const auc = mainAuc(report, data.channels?.[data.channels.length - 1]);
  if (!auc) return card("AUC", "not known", ["There are no labels to hold scores against."]);
  if (!known(auc.auc)) return card("AUC", "none", [auc.note, `${count(auc.good)} good, ${count(auc.bad)} bad ${splitName(auc.split)}`]);
  const notes = [
    auc.interval ? `${between(auc.interval, area)}: ${auc.note || "95 % interval"}` : auc.note,
    `${count(auc.bad)} bad against ${count(auc.good)} good, ${splitName(auc.split)}, ${weighted(auc)}; labels “${auc.labels}”${auc.origin ? ` from ${auc.origin}` : ""}`,
    known(auc.average_precision) && `average precision ${area(auc.average_precision)}`,
  ];
  return card("AUC", area(auc.auc), notes, auc.auc < 0.5 && `${LOW}${auc.interval?.[1] >= 0.5 ? " (the interval includes 0.5)" : ""}`);
}

function agreementCard({ agreement }) {
  if (!agreement) return null;
  const notes = [`${count(agreement.by_all)} of the ${count(agreement.flagged)} flagged by the mean score are flagged by every one of ${agreement.members} models`, `${count(agreement.disputed)} rows are flagged by some models and not by others`, known(agreement.relative_spread) && `median spread of the score ${percent(agreement.relative_spread)} of its mean`];
  return card("Ensemble", agreement.flagged ? `${percent(agreement.by_all / agreement.flagged)} agreed` : "none flagged", notes);
}

const RANGES_SHOWN = 12;

function runTable(parent, data, runs, show) {
  const link = (run) => ([from, to]) => {
    const rows = run.index >= 0 ? data.runs[run.index] : null;
    const at = rows ? rows.ls.indexOf(from) : -1;
    return at >= 0 && show ? button(range([from, to]), `show ${unitName(data)} ${from} of ${runName(rows)}`, () => show(run.index, at)) : element("span", {}, range([from, to]));
  };
  const list = (run) => {
    const all = ranges(run.ls_flagged);
    if (!run.judged) return "no threshold";
    if (!all.length) return "none";
    const more = all.length > RANGES_SHOWN && element("details", {}, element("summary", {}, `${count(all.length - RANGES_SHOWN)} more`), element("div", { class: "ranges" }, all.slice(RANGES_SHOWN, 500).map(link(run)), all.length > 500 && "…"));
    return element("div", { class: "ranges" }, all.slice(0, RANGES_SHOWN).map(link(run)), more);
  };
  const number = (value) => ({ text: count(value), class: "right" });
  const events = data.unit === "event";
  const row = (run) => [{ text: known(run.run) ? String(run.run) : run.name, class: "name" }, { ...number(run.ls_flagged.length), class: run.ls_flagged.length ? "right flagged" : "right" }, list(run), number(run.not_evaluated), ...(events ? [] : [number(run.gaps)]), number(run.evaluated), { text: range(run.ls_range || ["–", "–"]), class: "right" }];
  const unit = unitName(data);
  const sorted = [...runs].sort((a, b) => b.ls_flagged.length - a.ls_flagged.length);
  const heads = [runs.some((run) => known(run.run)) ? "run" : "file", "flagged", `flagged ${unit}s`, ...["not evaluated", ...(events ? [] : ["missing"]), "evaluated", `${unit}s`].map((text) => ({ text, class: "right", scope: "col" }))];
  const what = `${onAll(data) ? "" : "test "}${events ? "file" : "run"}`;
  const title = sorted.length === 1 ? `The ${what}` : `The ${count(sorted.length)} ${what}s, most flagged first`;
  parent.append(table(heads, sorted.slice(0, 30).map(row), title));
  const more = (rows, title) => parent.append(element("details", {}, element("summary", {}, title), table(heads, rows, title)));
  if (sorted.length > 30) more(sorted.slice(30).map(row), plural(sorted.length - 30, `more ${what}`));
  const without = data.report.runs_not_evaluated || [];
  const blank = right("–");
  const unevaluated = (run) => [{ text: run.name, class: "name" }, blank, "nothing is evaluated", right(count(run.rows)), ...(events ? [] : [blank]), right(count(0)), { text: range(run.ls), class: "right" }];
  if (without.length) more(without.map(unevaluated), `${plural(without.length, events ? "file" : "run")} of ${data.answer?.files} with no evaluated ${unit}`);
}

// ---- run sums ----

function runSums(parent, data) {
  const { report } = data;
  const runs = (report.runs || []).filter((run) => run.sum?.length);
  if (!runs.length) return;
  const state = { run: Math.max(0, runs.findIndex((run) => run.flagged.some((flagged) => flagged.ls.length))), threshold: 0, log: true };
  const { shape, ends, element: name } = report.data;
  const map = shape.y > 1;
  const axes = { shape: [shape.y, shape.x], edges: ends, element: name, k: runs[0].sum.length };
  const flagged = () => runs[state.run].flagged?.[state.threshold];
  const caption = () => `${runName(runs[state.run])}, bins summed over ${plural(runs[state.run].evaluated, "evaluated LS")}, unweighted${flagged() ? `; without the ${plural(flagged().ls.length, "LS")} above ${number(flagged().value)} (${flagged().threshold})` : "; no threshold"}.${map || !flagged()?.sum_without ? "" : " Below: the ratio after / before; dashed: the share of LSs that stay."}`;
  const controls = [];
  const update = (change) => record.choose(state, change);
  if (runs.length > 1) controls.push(choice("run", runs.map((run, at) => [at, runName(run)]), state.run, (value) => update({ run: Number(value), threshold: 0 })));
  const thresholds = Math.max(...runs.map((run) => run.flagged.length));
  if (thresholds > 1) controls.push(choice("threshold", runs[state.run].flagged.map((flagged, at) => [at, flagged.threshold]), 0, (value) => update({ threshold: Number(value) })));
  controls.push(tick("log scale", true, (log) => update({ log })));
  const build = (width) => {
    const run = runs[state.run];
    const without = flagged()?.sum_without;
    if (!map) return sumOption(axes, run, without, flagged(), state.log);
    const maps = [["all", Float64Array.from(run.sum)]];
    if (without) maps.push(["without flagged", Float64Array.from(without)]);
    return mapsOption([{ view: axes, maps }], width, { log: state.log });
  };
  const record = plot(parent, { id: "sum-chart", title: "The run's sum with and without flagged LSs", caption, height: (width) => (map ? (width < NARROW ? 490 : 340) : 400), controls, build });
  if (map) record.figure.append(colourScale());
}

function sumOption(axes, run, without, flagged, log) {
  const [low, high] = horizontal(axes);
  const edges = even(low, high, axes.k);
  const line = (name, values, color, more = {}) => ({ type: "line", step: "end", symbol: "none", name, data: steps(edges, values, more.yAxisIndex ? false : log), lineStyle: { color, width: 1.8 }, itemStyle: { color }, ...more });
  const series = [line("all evaluated", run.sum, colours.input)];
  const ends = { showMinLabel: hasUnits(axes), showMaxLabel: hasUnits(axes) };
  const x = (more) => valueAxis("", { min: low, max: high, splitLine: { show: false }, axisLabel: ends, ...more });
  const name = binLabel(axes);
  const told = tooltip({ trigger: "axis", formatter: (params) => [binName(axes, params[0].value[2]), ...params.map((item) => `${item.seriesName} ${number(item.value[1])}`)] });
  if (!without) return sheet({ tooltip: told, grid: { left: 68, right: 18, top: 34, bottom: 48 }, xAxis: x({ name }), yAxis: upAxis("entries", log), series });
  const ratio = run.sum.map((value, at) => (value > 0 ? without[at] / value : null));
  const kept = run.evaluated ? 1 - flagged.ls.length / run.evaluated : 1;
  series.push(line("without flagged", without, colours.output, { lineStyle: { color: colours.output, width: 1.8, type: [5, 2] } }));
  series.push(line("ratio", ratio, colours.output, { xAxisIndex: 1, yAxisIndex: 1, markLine: { silent: true, symbol: "none", data: [{ yAxis: kept }], lineStyle: { color: colours.ink, type: "dashed" }, label: { show: false } } }));
  return sheet({
    grid: [{ left: 68, right: 18, top: 34, height: 220 }, { left: 68, right: 18, top: 284, height: 84 }],
    legend: legend({ data: ["all evaluated", "without flagged"] }),
    xAxis: [x({ axisLabel: { show: false } }), x({ gridIndex: 1, name })],
    yAxis: [upAxis("entries", log), upAxis("ratio", false, { gridIndex: 1, splitNumber: 3, max: (value) => Math.max(value.max, kept) + 0.002, min: (value) => Math.min(value.min, kept) - 0.002, axisLabel: { formatter: (value) => number(value, 3), showMinLabel: false, showMaxLabel: false } })],
    axisPointer: { link: [{ xAxisIndex: "all" }] },
    tooltip: told,
    series,
  });
}

// ---- evidence ----

function losses(parent, data) {
  const history = (data.history || []).filter((curve) => curve.epoch?.length);
  if (!history.length) return;
  const channels = [...new Set(history.map((curve) => curve.channel))];
  const state = { channel: channels[0], log: true };
  const figures = () => data.report.channels?.find((channel) => channel.name === state.channel);
  const caption = () => {
    const training = figures()?.training;
    const mine = history.filter((curve) => curve.channel === state.channel);
    const kept = mine.map((curve) => curve.kept).filter(known).join(", ");
    const watched = mine.some((curve) => curve.valid?.some(known));
    const of = figures() ? `${channels.length > 1 ? ` of channel ${state.channel}` : ""}; layers ${figures().shape}, ${plural(figures().parameters, "parameter")}` : "";
    const why = mine[0]?.stopped || training?.stopped;
    return `${training?.loss ? `${training.loss}. ` : ""}Training ${watched ? "and validation " : ""}rows${of}.${kept ? ` ◆: the weights of epoch ${kept} are kept.` : ""}${why ? ` Training ended: ${why}.` : ""}`;
  };
  const update = (change) => record.choose(state, change);
  const controls = [];
  if (channels.length > 1) controls.push(choice("channel", channels.map((name) => [name, name]), state.channel, (channel) => update({ channel })));
  controls.push(tick("log y", true, (log) => update({ log })));
  const build = () => lossOption(history.filter((curve) => curve.channel === state.channel), state.log);
  const record = plot(parent, { id: "loss-chart", title: "Loss", caption, controls, build });
}

/** Loss curves; several are told apart by colour, training and validation by dash, the kept epoch is a diamond. */
function lossOption(curves, log, name = (curve) => (curves.length > 1 ? `member ${curve.member}, ` : "")) {
  const series = [];
  curves.forEach((curve, at) => {
    const colour = curves.length > 1 ? look(curve.place ?? at).color : null;
    const add = (kind, values, color, type) => {
      if (!values?.some(known)) return;
      const kept = known(curve.kept) ? curve.epoch.indexOf(curve.kept) : -1;
      const mark = kind === "validation" || !curve.valid?.some(known) ? kept : -1;
      const data = curve.epoch.map((epoch, row) => (known(values[row]) && (!log || values[row] > 0) ? { value: [epoch, values[row]], symbol: row === mark ? "diamond" : "none", symbolSize: row === mark ? 13 : 0 } : { value: [epoch, null] }));
      series.push({ type: "line", name: name(curve) + kind, data, showSymbol: true, showAllSymbol: true, symbol: "none", lineStyle: { color, type, width: 1.6 }, itemStyle: { color } });
    };
    add("training", curve.train, colour || colours.train, "solid");
    add("validation", curve.valid, colour || colours.valid, [5, 3]);
  });
  return sheet({ xAxis: valueAxis("epoch", { minInterval: 1, splitLine: { show: false } }), yAxis: upAxis("loss", log), tooltip: tooltip({ trigger: "axis", formatter: (params) => [`epoch ${params[0].value[0]}`, ...params.slice(0, 12).map((item) => `${item.seriesName} ${number(item.value[1])}`)] }), series });
}

const filled = (histograms) => histograms?.groups?.some((group) => group.rows > 0 && group.shares.length > 0);

/** One chart of histograms at a time, chosen among several by name. */
function histogramChoice(parent, { id, title, items, words }) {
  if (!items.length) return;
  const state = { item: items[0], log: false };
  const caption = () => `${state.item.histograms.quantity}${items.length > 1 ? `; channel ${state.item.name}` : ""}.${words(state.item)}`;
  const update = (change) => record.choose(state, change);
  const controls = [];
  if (items.length > 1) controls.push(choice("channel", items.map((item, at) => [at, item.name]), 0, (at) => update({ item: items[at] })));
  controls.push(tick("log y", false, (log) => update({ log })));
  const record = plot(parent, { id, title, caption, controls, build: () => histogramOption(state.item.histograms, { log: state.log, cut: state.item.cut, cutName: state.item.cutName }) });
}

function errorHistograms(parent, data) {
  const items = (data.report.channels || []).map((channel) => ({ name: channel.name, cut: channel.log_cut, histograms: filled(channel.errors_by_class) ? channel.errors_by_class : channel.log_ratios })).filter((item) => filled(item.histograms));
  const own = (data.report.thresholds || []).some((one) => one.on === "scored");
  const several = items.some((item) => item.histograms.groups.filter((group) => group.rows > 0).length > 1);
  histogramChoice(parent, { id: "error-chart", title: several ? "Errors by class" : "Errors", items, words: ({ cut }) => (known(cut) ? " Dashed: the threshold." : own ? " Each run has its own threshold, so none is drawn." : "") });
}

function svmHistograms(parent, data) {
  const channels = (data.report.channels || []).filter((channel) => channel.svm);
  const items = channels.filter((channel) => filled(channel.svm.decision)).map((channel) => ({ name: channel.name, cut: 0, cutName: "outside below", histograms: channel.svm.decision }));
  histogramChoice(parent, { id: "svm-chart", title: "One-class SVM on the latents", items, words: () => " Negative values lie outside of what the SVM was fitted on." });
  const rows = channels.flatMap((channel) => channel.svm.groups.map((group) => [channel.name, group.name, right(count(group.rows)), right(group.rows ? count(group.outside) : "–"), right(group.rows ? percent(group.outside_share) : "–")]));
  if (rows.length) parent.append(table(["channel", "rows", { text: "number", class: "right" }, { text: "outside", class: "right" }, { text: "share of weight", class: "right" }], rows, "Rows whose latents lie outside, by group"));
}

const right = (text) => ({ text, class: "right" });

function classTables(parent, data) {
  const classes = data.report.classes;
  if (!classes) return;
  const goodness = (good) => (good === true ? "good" : good === false ? "bad" : "–");
  const share = (value, interval) => right(known(value) ? `${percent(value)}${interval ? ` (${between(interval, percent)})` : ""}` : "–");
  const rows = (classes.classes || []).map((row) => [row.name, goodness(row.good), right(count(row.rows)), right(count(row.flagged)), share(row.efficiency, row.interval), share(row.purity, row.purity_interval)]);
  const heads = ["class", "taken as", ...["rows", "above threshold", "efficiency (95 %)", "purity (95 %)"].map(right)];
  if (rows.length) parent.append(table(heads, rows, `Classes from column ${classes.column}, ${splitName(classes.on)}: efficiency is the share of the class above the threshold, purity the share of the class in what is above`));
  const values = (classes.values || []).map((row) => [row.value, row.class, right(count(row.rows))]);
  if (values.length) parent.append(element("details", {}, element("summary", {}, `Rows per value of ${classes.column}`), table(["value", "class", right("rows")], values, `Values of ${classes.column}`)));
}

const MOST_CURVES = 8;

function rocCurves(parent, data) {
  const curves = (data.curves || []).filter((curve) => curve.fpr?.length > 1);
  if (curves.length) {
    const labels = [...new Set(curves.map((curve) => curve.labels))];
    const channels = [...new Set(curves.map((curve) => curve.channel))];
    const state = { labels: labels[0], channel: channels.length > MOST_CURVES ? channels[channels.length - 1] : "", log: false };
    const caption = () => {
      const auc = data.report.auc?.find((auc) => auc.labels === state.labels && known(auc.auc));
      return `Share of bad rows found against share of good rows flagged, as the threshold falls; labels “${state.labels}”${auc ? `, ${splitName(auc.split)}, ${weighted(auc)}` : ""}. Dotted: chance.${chosen().some((curve) => belowHalf(data, curve)) ? ` Some areas are ${LOW}.` : ""}`;
    };
    const update = (change) => record.choose(state, change);
    const controls = [];
    if (labels.length > 1) controls.push(choice("labels", labels.map((name) => [name, name]), state.labels, (labels) => update({ labels })));
    if (channels.length > 1) controls.push(choice("channel", [...(channels.length <= MOST_CURVES ? [["", "all"]] : []), ...channels.map((name) => [name, name])], state.channel, (channel) => update({ channel })));
    controls.push(tick("log x", false, (log) => update({ log })));
    const chosen = () => curves.filter((curve) => curve.labels === state.labels && (!state.channel || curve.channel === state.channel));
    const name = (curve) => {
      const auc = data.report.auc?.find((auc) => auc.channel === curve.channel && auc.labels === curve.labels);
      return `${curve.channel}${known(auc?.auc) ? ` ${area(auc.auc)}` : ""}`;
    };
    const record = plot(parent, { id: "roc-chart", title: "ROC", caption, height: (width) => Math.min(460, Math.max(330, width * 0.6)), controls, build: () => rocOption(chosen().map((curve) => ({ ...curve, place: data.channels.indexOf(curve.channel), together: isCombined(data, data.channels.indexOf(curve.channel)) })), name, state.log) });
  }
  efficiencies(parent, (data.report.auc || []).filter((auc) => auc.efficiencies?.length));
}

const FEW = 6;

/** The share of bad rows found for each share of good rows flagged, set of labels by set of labels, the first one open. */
function efficiencies(parent, areas) {
  const labels = [...new Set(areas.map((auc) => auc.labels))];
  if (!labels.length) return;
  const made = (name) => efficiencyTable(areas.filter((auc) => auc.labels === name), name);
  parent.append(made(labels[0]));
  if (labels.length > 1) parent.append(element("details", {}, element("summary", {}, `The same for ${plural(labels.length - 1, "other set")} of labels`), labels.slice(1).map(made)));
}

/** Rates go down the table where there is place for all channels beside each other. */
function efficiencyTable(areas, labels) {
  const rates = [...new Set(areas.flatMap((auc) => auc.efficiencies.map((row) => row.background)))].sort((a, b) => a - b);
  const cell = (auc, rate) => {
    const row = auc.efficiencies.find((row) => row.background === rate);
    return row ? { text: element("span", {}, percent(row.efficiency), element("small", { class: "interval" }, between(row.interval, percent))), class: "right", title: `above a score of ${number(row.threshold)}` } : right("–");
  };
  const words = `Labels “${labels}”: share of ${plural(areas[0].bad, "bad row")} found where the threshold flags a given share of the good ones, ${splitName(areas[0].split)}, ${weighted(areas[0])}, with 95 % intervals`;
  const made = areas.length <= FEW
    ? table(["good rows flagged", ...areas.map((auc) => right(areas.length > 1 ? auc.channel : "bad rows found"))], rates.map((rate) => [percent(rate), ...areas.map((auc) => cell(auc, rate))]), words)
    : table(["channel", ...rates.map((rate) => right(`at ${percent(rate)}`))], areas.map((auc) => [auc.channel, ...rates.map((rate) => cell(auc, rate))]), words);
  made.classList.add("narrow");
  return made;
}

const belowHalf = (data, curve) => data.report.auc?.some((auc) => auc.channel === curve.channel && auc.labels === curve.labels && auc.auc < 0.5);

function rocOption(curves, name, log) {
  const series = curves.map((curve, at) => {
    const { color: own, dash } = look(curve.place ?? at);
    const color = curve.together ? colours.ink : own;
    const points = Array.from(curve.fpr, (fpr, row) => [fpr, curve.tpr[row]]).filter(([fpr]) => !log || fpr > 0);
    return { type: "line", name: name(curve), data: points, symbol: "none", lineStyle: { color, type: dash, width: 2 }, itemStyle: { color } };
  });
  const chance = log ? Array.from({ length: 61 }, (_, at) => 10 ** (-3 + at / 20)).map((x) => [x, x]) : [[0, 0], [1, 1]];
  series.push({ type: "line", name: "chance", data: chance, symbol: "none", silent: true, lineStyle: { color: colours.soft, type: "dotted", width: 1.2 }, itemStyle: { color: colours.soft } });
  return sheet({
    legend: legend({ data: series.slice(0, -1).map((one) => one.name) }),
    xAxis: valueAxis("share of good rows flagged", { type: log ? "log" : "value", min: log ? 1e-3 : 0, max: 1 }),
    yAxis: upAxis("share of bad rows found", false, { min: 0, max: 1 }),
    tooltip: tooltip({ trigger: "axis", formatter: (params) => params.filter((item) => item.seriesName !== "chance").map((item) => `${item.seriesName}: ${percent(item.value[1])} of bad at ${percent(item.value[0])} of good`) }),
    series,
  });
}

/** A cell of a table as a heat map: from `low` (orange) over nothing to `high` (blue). */
function heatCell(share, text, note) {
  const strength = Math.min(1, Math.abs(share));
  return { text: element("span", {}, element("strong", {}, text), note && element("small", {}, note)), class: `heat ${share < 0 ? "below" : "above"}`, style: `--strength: ${Math.round(75 * strength)}%` };
}

function aucMatrix(parent, data) {
  const areas = data.report.auc || [];
  if (areas.length < 2) return;
  const [channels, labels] = [[...new Set(areas.map((auc) => auc.channel))], [...new Set(areas.map((auc) => auc.labels))]];
  const cell = (label, channel) => {
    const auc = areas.find((auc) => auc.labels === label && auc.channel === channel);
    if (!auc) return { text: "–", class: "heat" };
    if (!known(auc.auc)) return { text: element("small", {}, auc.note || "only one class"), class: "heat empty" };
    return { ...heatCell(2 * (auc.auc - 0.5), `${auc.auc < 0.5 ? "▾ " : ""}${area(auc.auc)}`, auc.interval ? `${area(auc.interval[0])}–${area(auc.interval[1])}` : ""), title: `${channel}, ${label}: ${count(auc.bad)} bad, ${count(auc.good)} good; ${auc.note}` };
  };
  const rows = labels.map((label) => [{ text: label, class: "name" }, ...channels.map((channel) => cell(label, channel))]);
  const low = areas.some((auc) => auc.auc < 0.5) ? ` ▾ and orange: ${LOW}.` : "";
  const made = table(["labels ↓ channel →", ...channels], rows, `AUC of each channel for each set of labels, ${splitName(areas[0].split)}, ${weighted(areas[0])}, with 95 % intervals.${low}`);
  made.classList.add("heats");
  parent.append(made);
}

function meanFieldChart(parent, data) {
  const channels = (data.report.channels || []).filter((channel) => channel.mean_field_error?.mean > 0 && channel.ae_error?.mean > 0);
  if (!channels.length) return;
  const points = (get) => channels.map((channel, at) => [get(channel).mean, at]);
  const build = (width) => {
    const left = Math.min(width * 0.34, 16 + 7.2 * Math.max(...channels.map((channel) => channel.name.length)));
    return sheet({
      grid: { left, right: 18, top: 34, bottom: 48 },
      xAxis: valueAxis("error per input", { type: "log" }),
      yAxis: { type: "category", inverse: true, data: channels.map((channel) => channel.name), axisLabel: nameLabels(left - 14), axisLine: { lineStyle: { color: colours.line } }, splitLine: { show: true, lineStyle: { color: colours.line } } },
      tooltip: tooltip({ trigger: "axis", axisPointer: { type: "shadow" }, formatter: (params) => [params[0].axisValueLabel ?? "", ...params.map((item) => `${item.seriesName} ${number(item.value[0])}`)] }),
      series: [
        { type: "scatter", name: "model", data: points((channel) => channel.ae_error), symbol: "diamond", symbolSize: 13, itemStyle: { color: colours.output } },
        { type: "scatter", name: "mean field", data: points((channel) => channel.mean_field_error), symbol: "circle", symbolSize: 11, itemStyle: { color: colours.input } },
      ],
    });
  };
  plot(parent, { id: "mean-field-chart", title: "Model against mean field", caption: `Error per input: ${channels[0].errors}. Mean field: always answering with the mean of the training rows; a model that is no better has learnt nothing.`, height: 110 + 26 * channels.length, build });
}

function latents(parent, data, show) {
  const projections = (data.projections || []).filter((projection) => projection.x?.length);
  if (!projections.length) return;
  const state = { at: 0, by: projections.some((one) => one.class?.some((index) => index !== UNLABELLED)) ? "class" : "score" };
  const one = () => projections[state.at];
  const caption = () => `${one().method} of the latents${data.channels.length > 1 ? ` of channel ${one().channel}` : ""}, ${plural(one().x.length, "row")}${one().note ? `; ${one().note}` : ""}. Click a point to see its ${unitName(data)}.`;
  const update = (change) => record.choose(state, change);
  const controls = [];
  if (projections.length > 1) controls.push(choice("projection", projections.map((one, at) => [at, data.channels.length > 1 ? `${one.channel}: ${one.method}` : one.method]), 0, (at) => update({ at: Number(at) })));
  controls.push(choice("colour by", [["class", "class"], ["score", "score"], ["flag", "flag"]], state.by, (by) => update({ by })));
  const started = ({ chart }) =>
    chart.on("click", ({ value }) => {
      const row = value?.[3];
      if (known(row) && show) show(one().run[row], one().at[row], data.channels.indexOf(one().channel));
    });
  const record = plot(parent, { id: "latent-chart", title: "Latents", caption, height: (width) => Math.min(520, Math.max(360, width * 0.7)), controls, started, build: () => latentOption(data, one(), state.by) });
}

function latentOption(data, projection, by) {
  const point = (row) => [projection.x[row], projection.y[row], Math.log10(Math.max(projection.score?.[row] ?? NaN, 1e-30)), row];
  const rows = Array.from(projection.x.keys()).filter((row) => known(projection.x[row]) && known(projection.y[row]));
  const size = rows.length > 4000 ? 4 : 7;
  const group = (name, chosen, style, more = {}) => ({ type: "scatter", name, data: chosen.map(point), symbol: style.symbol, symbolSize: size, cursor: "pointer", ...atOnce(by === "score" ? 0 : chosen.length, { ...style.item, opacity: 0.8 }, style.color), ...more });
  let series;
  let visualMap;
  if (by === "class") {
    const classes = [...new Set(rows.map((row) => projection.class?.[row] ?? UNLABELLED))].sort((a, b) => a - b);
    series = classes.map((index) => group(className(data, index), rows.filter((row) => (projection.class?.[row] ?? UNLABELLED) === index), classLook(data, index)));
  } else {
    const flagged = (row) => projection.flagged?.[row] === 1;
    const style = (color, symbol) => ({ color, symbol, item: { color: by === "score" ? colours.soft : color } });
    series = [group("not flagged", rows.filter((row) => !flagged(row)), style(colours.good, "circle")), group("flagged", rows.filter(flagged), style(colours.flagged, "diamond"), { symbolSize: size + 4 })].filter((one) => one.data.length);
    if (by === "score") {
      const logs = rows.map((row) => point(row)[2]).filter((value) => known(value) && value > -29);
      visualMap = { type: "continuous", dimension: 2, min: lowest(logs), max: highest(logs), inRange: { color: colours.dark ? SHADES.slice(2) : SHADES }, orient: "horizontal", right: 12, bottom: 0, itemHeight: 90, itemWidth: 12, text: ["high score", "low"], formatter: (value) => number(10 ** value, 2), textStyle: { color: colours.soft }, calculable: false };
    }
  }
  return sheet({
    grid: { left: 60, right: 18, top: 34, bottom: visualMap ? 72 : 48 },
    xAxis: valueAxis(projection.axes?.[0] || "first axis"),
    yAxis: upAxis(projection.axes?.[1] || "second axis", false),
    visualMap,
    tooltip: tooltip({
      trigger: "item",
      formatter: ({ value }) => {
        const run = data.runs?.[projection.run?.[value[3]]];
        const at = projection.at?.[value[3]];
        return run ? [runName(run), ...rowTooltip(data, run, Math.max(0, data.channels.indexOf(projection.channel)), at)] : [`score ${number(projection.score?.[value[3]])}`];
      },
    }),
    series,
  });
}

const FIRST_DISTRIBUTIONS = 9;

function distributions(parent, data) {
  const all = (data.distributions || []).filter(filled);
  if (!all.length) return;
  // Most of what features tell is in their tails, and many are 0 wherever something is absent.
  let log = true;
  const made = [];
  const grid = element("div", { class: "grid" });
  const add = (histograms, at) => {
    const [name] = histograms.quantity.split(",");
    made.push(plot(grid, { id: `distribution-${at}`, title: name, height: 220, build: () => histogramOption(histograms, { log, small: true }) }));
  };
  const toggle = tick("log y", log, (on) => {
    log = on;
    made.forEach((record) => record.choose({}, {}));
  });
  parent.append(element("div", { class: "controls" }, toggle, legendOfGroups(all[0].groups)), sentence(`Shares of each group, ${all[0].quantity.split(",").slice(1).join(",").trim()}, over the range of all.`), grid);
  all.slice(0, FIRST_DISTRIBUTIONS).forEach(add);
  if (all.length > FIRST_DISTRIBUTIONS) {
    const more = button(`show all ${all.length}`, `show all ${all.length} distributions`, () => {
      more.remove();
      all.slice(FIRST_DISTRIBUTIONS).forEach((one, at) => add(one, FIRST_DISTRIBUTIONS + at));
    });
    parent.append(more);
  }
}

function contributions(parent, data, show) {
  const worst = (data.report.worst || []).filter((one) => one.features?.length);
  if (!worst.length) return;
  const state = { at: 0, level: "" };
  const one = () => worst[state.at];
  const shares = () => one().levels?.find((level) => level.level === state.level)?.shares || one().features;
  const sample = (one) => `${known(one.run) ? `run ${one.run}` : one.file} ${unitName(data)} ${one.ls}${data.channels.length > 1 ? `, ${one.channel}` : ""}`;
  const caption = () => `${sample(one())}: score ${number(one().score)}${known(one().threshold) ? ` (threshold ${number(one().threshold)})` : ""}. Bars: share of the sample's error. Numbers: how many × its mean error in the training rows each ${state.level || "input"} has.`;
  const update = (change) => record.choose(state, change);
  const levels = [...new Set(worst.flatMap((one) => (one.levels || []).map((level) => level.level)))];
  const controls = [choice("flagged sample", worst.map((one, at) => [at, sample(one)]), 0, (at) => update({ at: Number(at) }))];
  if (levels.length) controls.push(choice("by", [["", "input"], ...levels.map((level) => [level, level])], "", (level) => update({ level })));
  if (show) {
    const view = () => {
      const run = data.runs.findIndex((run) => (known(one().run) ? run.run === one().run : run.name === one().file));
      const at = run >= 0 ? data.runs[run].ls.indexOf(one().ls) : -1;
      if (at >= 0) show(run, at, data.channels.indexOf(one().channel));
    };
    controls.push(button("show in the viewer", "show this sample in the viewer", view));
  }
  const build = (width) => {
    const left = Math.min(width * 0.45, 260);
    const list = shares();
    const place = (share) => (share.axis ? `${share.name} (${share.axis})` : share.name);
    const times = (share) => (known(share.times_usual) ? `${number(share.times_usual, 3)} ×` : "no error in training");
    return sheet({
      grid: { left, right: 84, top: 8, bottom: 48 },
      legend: undefined,
      xAxis: valueAxis("share of the error", { min: 0, axisLabel: { formatter: percent } }),
      yAxis: { type: "category", inverse: true, data: list.map(place), axisLabel: nameLabels(left - 14), axisTick: { show: false }, axisLine: { lineStyle: { color: colours.line } } },
      tooltip: tooltip({ trigger: "axis", axisPointer: { type: "shadow" }, formatter: (params) => {
        const share = list[params[0].dataIndex];
        return [place(share), `${percent(share.share)} of the error`, known(share.times_usual) ? `${times(share)} its mean error in the training rows` : times(share)];
      } }),
      series: [
        { type: "bar", name: "share of the error", data: list.map((share) => share.share), itemStyle: { color: colours.error }, barMaxWidth: 14, label: { show: true, position: "right", color: colours.ink, formatter: ({ dataIndex }) => times(list[dataIndex]) } },
      ],
    });
  };
  const record = plot(parent, { id: "worst-chart", title: "What made the score high", caption, height: () => 110 + 24 * shares().length, controls, build });
}

// ---- provenance ----

function thresholdWords(threshold) {
  const of = threshold.log ? "ln(score)" : "the score";
  if (threshold.kind === "percentile") return `${threshold.percentile}th percentile of ${of}${threshold.smooth > 1 ? `'s moving average over ${threshold.smooth} LSs` : ""}`;
  if (threshold.kind === "mean-std") return `mean + ${threshold.k} standard deviations (ddof ${threshold.ddof})${threshold.log ? " of ln(score)" : ""}`;
  return threshold.kind === "fixed" ? `fixed at ${number(threshold.value)}` : String(threshold.kind ?? "");
}

/** The rows that a threshold was found on. */
function foundOn(threshold) {
  if (threshold.kind === "fixed") return "the config";
  return threshold.rows_are || { valid: "validation rows", train: "training rows", scored: "each scored run itself" }[threshold.on] || "–";
}

/** A value of the config's text: enough for one line of one table. */
function configValue(text, table, key) {
  const lines = (text || "").split(/\n\[/).find((part) => part.startsWith(`${table}]`)) || "";
  return lines.match(new RegExp(`^${key}\\s*=\\s*"?([^"\\n]*)"?`, "m"))?.[1];
}

function copyButton(text, label) {
  const made = button("copy", label, async () => {
    try {
      await navigator.clipboard.writeText(text);
      made.textContent = "copied";
    } catch {
      made.textContent = "select and copy by hand";
    }
  });
  return made;
}

function provenance(parent, data) {
  const { report, provenance: origin = {} } = data;
  const fact = (name, value) => value != null && value !== "" && [element("dt", {}, name), element("dd", {}, value)];
  const figures = report.data || {};
  const rows = [["train", "trained on"], ["valid", "validation"], ["test", "test"], ["unused", "unused"]].filter(([key]) => known(figures[key])).map(([key, name]) => `${name} ${count(figures[key])}`).join(", ");
  const fitted = { all: "all rows", train: "training rows", read: "all rows that were read", "each-file": "the rows of each file" };
  const scale = configValue(data.config, "scale", "fit_on");
  parent.append(element("dl", {}, [
    fact("Lumisift", report.version),
    fact("device", `${report.device ?? origin.device ?? "–"}${origin.precision ? `, ${origin.precision}` : ""}`),
    fact("seed", known(report.seed) ? String(report.seed) : null),
    fact("rows", rows),
    fact("scaler fitted on", fitted[scale] ?? scale),
    ...Object.entries(origin).filter(([name, value]) => ["string", "number"].includes(typeof value) && !["version", "device", "precision", "seed"].includes(name)).map(([name, value]) => fact(name.replaceAll("_", " "), String(value))),
  ].flat()));
  if (data.command) parent.append(element("div", { class: "code" }, element("h3", {}, "Repeat it"), element("pre", {}, element("code", {}, data.command)), copyButton(data.command, "copy the command")));
  const thresholds = (report.thresholds || []).map((one) => [one.channel, thresholdWords(one), right(known(one.value) ? number(one.value) : "each run's own"), foundOn(one), right(one.rows ? count(one.rows) : "–"), right(one.rows ? count(one.runs) : "–"), (one.files || []).join(", ") || "–"]);
  if (thresholds.length) parent.append(table(["channel", "threshold", right("value"), "found on", right("rows"), right("runs"), "files"], thresholds, "Thresholds, and the rows that they were found on"));
  const files = (origin.files || []).map((file) => [file.name, file.role, file.format, right(count(file.rows)), right(known(file.bytes) ? bytes(file.bytes) : "–"), { text: file.sha256, class: "hash" }]);
  if (files.length) parent.append(table(["file", "role", "format", right("rows"), right("size"), "SHA-256"], files, "Data files"));
  const rejected = figures.not_evaluated || origin.rows?.not_evaluated || [];
  if (rejected.length) parent.append(table(["reason", right("rows")], rejected.map(([reason, rows]) => [reason, right(count(rows))]), `Rows not evaluated: ${data.answer?.absent ?? ""}`));
  const missing = (figures.missing || []).map((cells) => [{ text: cells.name, class: "name" }, right(count(cells.rows)), right(percent(cells.share)), right(percent(cells.training))]);
  if (missing.length) parent.append(table(["input", right("rows"), right("share"), right("in training")], missing, `Missing inputs of evaluated rows, with data.fill = "${figures.fill}"`));
  if (data.config) parent.append(element("details", { class: "code" }, element("summary", {}, "The whole config"), copyButton(data.config, "copy the config"), element("pre", { tabindex: 0 }, element("code", {}, data.config))));
}

// ---- pages ----

function header(title, facts) {
  document.getElementById("head").append(element("div", {}, element("h1", {}, title), element("p", { class: "small" }, facts.filter(Boolean).join(" · "))), themeButton());
}

async function experimentPage(data) {
  const { report } = data;
  data.channels ??= [];
  data.runs ??= [];
  data.viewer ??= [];
  if (!canUnpack()) {
    Object.assign(data, { runs: [], viewer: [], components: [], projections: [] });
    document.getElementById("page").append(element("p", { class: "notice" }, "This browser cannot unpack the scores and lumisections in this page (it lacks DecompressionStream), so only the figures are shown. Chrome and Edge can from version 103, Firefox from 113, Safari from 16.4."));
  }
  await unpackAll(data.runs);
  const scored = data.runs.some((run) => run.score?.some((scores) => scores.some(known)));
  header(report.name || "experiment", [report.data?.element, report.data?.bins && plural(report.data.bins, report.data.features ? "feature" : "bin"), `Lumisift ${report.version}`, report.device]);
  let [scores, viewer] = [null, null];
  const show = data.viewer.length ? (run, at, channel) => viewer?.show(run, at, channel) : null;
  section("answer", "Answer", (parent) => answer(parent, data, show));
  section("scores", "Scores", (parent) => {
    if (scored) scores = scoreSection(parent, data, (run, at, channel) => show?.(run, at, channel));
  });
  // The first chart is seen before the rest, which is most of the data, is unpacked.
  if (scores) drawOnce(scores.record);
  await new Promise((done) => setTimeout(done));
  await Promise.all([unpackAll(data.viewer), unpackAll(data.components), unpackAll(data.projections)]);
  data.viewer = data.viewer.filter((view) => view.run?.length > 0 && view.k > 0);
  section("viewer", data.unit === "event" ? "Events" : "Lumisections", (parent) => {
    if (data.viewer.length) viewer = viewerSection(parent, data, (run, at, follow) => scores?.mark(run, at, follow));
  });
  section("regions", "Regions", (parent) => regionTimeline(parent, data, show));
  section("components", "Components", (parent) => componentMaps(parent, data));
  section("sums", "Run sums", (parent) => runSums(parent, data));
  section("evidence", "Evidence", (parent) => {
    const parts = [["Classes", classTables], ["Errors", errorHistograms], ["Found and missed", (body) => (rocCurves(body, data), aucMatrix(body, data))], ["Contributions", contributions], ["Training", (body) => (losses(body, data), meanFieldChart(body, data))], ["Latent space", (body) => (latents(body, data, show), svmHistograms(body, data))], ["Features by class", distributions]];
    parts.forEach(([title, fill]) => part(parent, title, (body) => fill(body, data, show)));
  });
  section("provenance", "Provenance", (parent) => provenance(parent, data));
  Object.assign(lumisift, { viewer, scores, locate: (run, at) => scores?.locate(run, at) });
}

function comparisonPage(data) {
  const experiments = data.experiments || [];
  header("Comparison", [plural(experiments.length, "experiment")]);
  const warnings = data.warnings || [];
  section("table", "Figures", (parent) => {
    if (warnings.length) parent.append(element("div", { class: "notice", role: "note" }, element("ul", {}, warnings.map((warning) => element("li", {}, warning)))));
    if (experiments.length) parent.append(comparisonTable(experiments, data.ranks));
  });
  section("losses", "Training", (parent) => comparisonLosses(parent, experiments));
  section("roc", "Found and missed", (parent) => comparisonRoc(parent, experiments));
  section("overlap", "Flagged by both", (parent) => overlap(parent, data.overlap));
}

function mainChannel(experiment) {
  const channels = experiment.report.channels || [];
  return channels.length === 1 ? channels[0].name : "combined";
}

/** Experiments are columns: there are few of them, and many figures. */
function comparisonTable(experiments, ranks) {
  const rank = (one) => ranks?.ranks?.[experiments.indexOf(one)];
  const behind = ({ behind }) => (behind ? `, behind the first by ${area(behind[0])}${behind[1] ? ` (${between(behind[1], area)})` : ""}` : "");
  const counts = ({ answer }) => answer?.counts || {};
  const over = (get) => ({ report }) => {
    const values = (report.channels || []).map(get).filter(known);
    if (!values.length) return "–";
    return lowest(values) < highest(values) ? `${number(lowest(values))} to ${number(highest(values))}` : number(values[0]);
  };
  const each = (get) => ({ report }) => [...new Set((report.channels || []).map(get))].join(", ");
  const threshold = ({ report }) => (report.thresholds || []).filter((one) => one.channel === mainChannel({ report }))[0];
  const auc = (experiment) => mainAuc(experiment.report, mainChannel(experiment));
  const epochs = ({ report }) => (report.channels || []).map(({ training }) => `${training.epochs} (kept ${training.kept_epoch})`).join(", ");
  const rows = [
    ["folder", (one) => one.folder],
    ["network", (one) => (one.report.channels || []).map((channel) => channel.shape).join(", ")],
    ["parameters", (one) => count((one.report.channels || []).reduce((sum, channel) => sum + channel.parameters, 0))],
    ["epochs", epochs],
    ["training loss of the last epoch", over(({ training }) => training.train_loss)],
    ["lowest validation loss", over(({ training }) => training.best_valid_loss)],
    ["loss is", each(({ training }) => training.loss)],
    ["penalty", each(({ training }) => (training.penalty ? `${number(training.penalty.train)}: ${training.penalty.of}` : "none"))],
    ["score is", ({ report }) => report.combined?.what || report.score],
    ["threshold", (one) => threshold(one) && `${thresholdWords(threshold(one))}, found on ${foundOn(threshold(one))}`],
    ["rows judged", ({ report }) => splitName(report.on)],
    ["evaluated", (one) => count(counts(one).evaluated)],
    ["flagged", (one) => `${count(counts(one).flagged)} (${percent(counts(one).flagged / (counts(one).evaluated || 1))} of the evaluated)`],
    ["not evaluated", (one) => one.answer?.absent],
    ["first warning", ({ report }) => report.warnings?.[0] || "none"],
    ["false alarms", ({ report: { false_alarms: rate } }) => (rate ? `${percent(rate.rate)} (${between(rate.interval, percent)}) of ${count(rate.rows)} ${rate.sample}` : "not known")],
    ["AUC", (one) => (known(auc(one)?.auc) ? `${area(auc(one).auc)}${auc(one).interval ? ` (${between(auc(one).interval, area)})` : ""}${auc(one).auc < 0.5 ? ` ⚠ ${LOW}` : ""}` : auc(one)?.note || "no labels")],
    ["AUC on", (one) => (auc(one) ? `labels “${auc(one).labels}”, ${count(auc(one).bad)} bad, ${count(auc(one).good)} good ${splitName(auc(one).split)}, ${weighted(auc(one))}` : "–")],
    ...(ranks ? [[`rank by AUC on the ${count(ranks.bad)} bad and ${count(ranks.good)} good rows (“${ranks.labels}”) that all scored`, (one) => `${rank(one).place}: ${area(rank(one).area)} (${between(rank(one).interval, area)})${behind(rank(one))}`]] : []),
    ["time of training", (one) => `${number((one.report.channels || []).reduce((sum, channel) => sum + channel.training.seconds, 0), 3)} s on ${one.report.device}`],
  ];
  return table(["", ...experiments.map((one) => one.name)], rows.map(([name, get]) => [{ text: name, class: "name" }, ...experiments.map((one) => get(one) || "–")]), "One column for each experiment; losses of several channels from the lowest to the highest. Losses and scores of different inputs, scalings or networks are not on one scale." + (ranks ? ` Ranks: ${ranks.note}.` : ""));
}

function comparisonLosses(parent, experiments) {
  const all = experiments.flatMap((one, place) => (one.history || []).filter((curve) => curve.epoch?.length && (curve.member ?? 1) === 1).map((curve) => ({ ...curve, place, experiment: one.name })));
  if (!all.length) return;
  const channels = [...new Set(all.map((curve) => curve.channel))];
  const state = { channel: channels[0], log: true };
  const update = (change) => record.choose(state, change);
  const controls = [];
  if (channels.length > 1) controls.push(choice("channel", channels.map((name) => [name, name]), state.channel, (channel) => update({ channel })));
  controls.push(tick("log y", true, (log) => update({ log })));
  const build = () => lossOption(all.filter((curve) => curve.channel === state.channel), state.log, (curve) => `${curve.experiment}, `);
  const record = plot(parent, { id: "loss-chart", title: "Loss", caption: "Training (solid) and validation (dashed) of the first member of each experiment; ◆ the epoch that was kept. Losses of different kinds or scalings are not comparable.", controls, build, height: 380 });
}

function comparisonRoc(parent, experiments) {
  const curves = experiments.flatMap((one, place) => (one.curves || []).filter((curve) => curve.fpr?.length > 1).map((curve) => ({ ...curve, place, experiment: one })));
  if (!curves.length) return;
  const labels = [...new Set(curves.map((curve) => curve.labels))];
  const state = { labels: labels[0], log: false };
  const update = (change) => record.choose(state, change);
  const controls = [];
  if (labels.length > 1) controls.push(choice("labels", labels.map((name) => [name, name]), state.labels, (labels) => update({ labels })));
  controls.push(tick("log x", false, (log) => update({ log })));
  const name = ({ experiment, channel, labels }) => `${experiment.name} ${area(experiment.report.auc?.find((auc) => auc.channel === channel && auc.labels === labels)?.auc)}`;
  const record = plot(parent, { id: "roc-chart", title: "ROC", caption: "Share of bad rows found against share of good rows flagged, main channel of each experiment, each on its own rows; the number is the area. Dotted: chance.", controls, height: (width) => Math.min(460, Math.max(330, width * 0.6)), build: () => rocOption(curves.filter((curve) => curve.labels === state.labels), name, state.log) });
}

function overlap(parent, found) {
  if (!found?.names?.length) return;
  const cell = (value, row, column) => {
    const either = found.common[row][row] + found.common[column][column] - value;
    const share = either > 0 ? value / either : 0;
    return heatCell(row === column ? 0 : share, count(value), row === column ? "flagged" : either > 0 ? `${percent(share)} of either` : "");
  };
  const made = table(["", ...found.names], found.names.map((name, row) => [{ text: name, class: "name" }, ...found.names.map((_, column) => cell(found.common[row][column], row, column))]), `Rows flagged by both, among rows that both scored; in the diagonal, all that one flags. ${found.note || ""}`);
  made.classList.add("heats");
  parent.append(made);
}

async function start() {
  const page = document.getElementById("page");
  page.replaceChildren();
  readColours();
  preparePrint();
  try {
    const data = JSON.parse(document.getElementById("data").textContent);
    if (data.kind === "comparison") comparisonPage(data);
    else if (data.kind === "sweep") sweepPage(data);
    else if (data.kind === "sensitivity") sensitivityPage(data);
    else await experimentPage(data);
    document.getElementById("foot").append(element("p", { class: "small" }, "Made by Lumisift. This page holds all that it shows and asks no network for anything. Charts: Apache ECharts."));
  } catch (error) {
    lumisift.errors.push(error.message);
    console.error(error);
    page.append(element("p", { class: "notice" }, `This page cannot be shown: ${error.message}`));
  }
  lumisift.ready = true;
}

start();
