// The page of a sweep: the best trial, how trials came out one after the other, what mattered, all of them.

/** A cross. It is drawn by its outline. */
const CROSS = "path://M-5,-5L5,5M-5,5L5,-5";
const CROSSED = (color) => ({ color: "transparent", borderColor: color, borderWidth: 2 });

/** The shortest ends of dotted keys that tell them apart. */
function shortNames(names) {
  const end = (name, parts) => name.split(".").slice(-parts).join(".");
  return names.map((name) => {
    let parts = 1;
    while (end(name, parts) !== name && names.some((other) => other !== name && end(other, parts) === end(name, parts))) parts++;
    return end(name, parts);
  });
}

/** Keys are long: a line may end within them, after a dot or an underscore. */
const breakable = (text) => text.split(/(?<=[._])/).flatMap((part) => [part, element("wbr")]);

const valueText = (parameter, value) => (value == null ? "–" : parameter.choices ? parameter.choices[value] : parameter.whole ? String(value) : number(value));

const figureText = (trial) => `${number(trial.objective, 5)}${known(trial.spread) ? ` ± ${number(trial.spread, 2)}` : ""}`;

/** What a tooltip says of a trial. */
const trialLines = (data, trial) => [`trial ${trial.trial}: ${trial.state === "done" ? figureText(trial) : trial.state}`, ...data.parameters.map((parameter, at) => [parameter, trial.values[at]]).filter(([, value]) => value != null).map(([parameter, value]) => `${parameter.short}: ${valueText(parameter, value)}`)];

/** Whether figures lie so far apart that their ratios tell more than their differences. */
const farApart = (values) => values.length > 1 && lowest(values) > 0 && highest(values) > 10 * lowest(values);

/** The ends of the axis of a parameter, which may have but one value. */
const ends = ({ low, high }) => (low < high ? { min: low, max: high } : {});

/** The ends of a logarithmic axis, which would otherwise lie at powers of ten. */
const logEnds = (values) => {
  const positive = values.filter((value) => value > 0);
  return positive.length ? { min: Number((0.9 * lowest(positive)).toPrecision(2)), max: Number((1.1 * highest(positive)).toPrecision(2)) } : {};
};

const sweepGoal = (data) => (data.goal === "max" ? "highest" : "lowest");

function sweepPage(data) {
  const names = shortNames(data.parameters.map((parameter) => parameter.name));
  data.parameters.forEach((parameter, at) => (parameter.short = names[at]));
  const byNumber = new Map(data.trials.map((trial) => [trial.trial, trial]));
  data.ranked = data.ranking.map((trial) => byNumber.get(trial)).filter(Boolean);
  data.positive = data.ranked.every((trial) => trial.objective > 0);
  data.log = farApart(data.ranked.map((trial) => trial.objective));
  header(data.name || "sweep", [`${sweepGoal(data)} ${data.objective}`, `${data.strategy} search`, data.pruner !== "none" && `pruner ${data.pruner}`, `Lumisift ${data.version}`]);
  section("answer", "Answer", (parent) => sweepAnswer(parent, data));
  section("trials", "Trials", (parent) => objectiveChart(parent, data));
  section("parameters", "Parameters", (parent) => {
    if (!data.ranked.length) return;
    importanceChart(parent, data);
    parallelChart(parent, data);
    part(parent, "One by one", (body) => slices(body, data));
  });
  section("curves", "Training", (parent) => trialCurves(parent, data));
  section("leaderboard", "Leaderboard", (parent) => leaderboard(parent, data));
  section("failed", "Failed", (parent) => failedTrials(parent, data));
}

// ---- the answer ----

function sweepAnswer(parent, data) {
  const { best, states } = data;
  const left = (states.planned || 0) + (states.claimed || 0) + (states.running || 0);
  const all = Object.values(states).reduce((sum, one) => sum + one, 0);
  parent.append(element("p", { class: "answer" }, breakable(sweepSentence(data, left))));
  const figure = (kind, sign, value, name, note) => element("div", { class: `big ${kind}` }, element("span", { class: "value" }, count(value)), element("span", { class: "name" }, `${sign} ${name}`), element("span", { class: "small" }, note));
  const running = (states.claimed || 0) + (states.running || 0);
  const figures = [
    ["good", "●", states.done || 0, "done", `of ${plural(all, data.repeats > 1 ? "training" : "trial")}`],
    states.pruned && ["absent", "△", states.pruned, "pruned", "ended early"],
    states.failed && ["flagged", "×", states.failed, "failed", "without a figure"],
    left && ["absent", "○", left, "to do", running ? `${count(running)} running` : "planned"],
  ].filter(Boolean);
  const shares = figures.filter(([, , value]) => value > 0).map(([kind, , value]) => element("span", { class: kind, style: `flex-grow: ${value}` }));
  parent.append(element("div", { class: "bigs" }, figures.map((one) => figure(...one))), element("div", { class: "shares", "aria-hidden": "true" }, shares));
  if (!best) return;
  const facts = [...best.parameters, [data.objective, figureText({ objective: best.mean, spread: best.spread })]];
  parent.append(
    element("h3", {}, "The best ", element("a", { href: `${best.folder}/report.html` }, `trial ${best.trial}`)),
    element("dl", {}, facts.flatMap(([name, value]) => [element("dt", {}, breakable(name)), element("dd", {}, value)])),
  );
  const code = (title, command) => element("div", { class: "code" }, element("h3", {}, title), element("pre", { tabindex: 0 }, element("code", {}, command)), copyButton(command, "copy the command"));
  parent.append(code("Use it", best.score), code("Train it again", best.again));
}

function sweepSentence(data, left) {
  const { best, states } = data;
  const settled = (states.pruned || 0) + (states.failed || 0);
  if (!best && left) return settled || states.done ? "No trial has a figure yet." : "No trial is done yet.";
  if (!best) return `No trial came to a figure: ${[states.failed && `${count(states.failed)} failed`, states.pruned && `${count(states.pruned)} pruned`].filter(Boolean).join(", ")}.`;
  const mean = best.trainings > 1 ? `, the mean of ${best.trainings} trainings` : "";
  const of = data.points === 1 ? "The only trial" : `Trial ${best.trial}${left ? " is the best of those done so far" : ` is the best of ${count(data.points)}`}`;
  return `${of}: ${data.points === 1 ? "" : `${sweepGoal(data)} `}${data.objective} ${figureText({ objective: best.mean, spread: best.spread })}${mean}.`;
}

// ---- one after the other ----

function objectiveChart(parent, data) {
  const done = data.trials.filter((trial) => trial.state === "done");
  if (!done.length) return;
  const state = { log: data.log };
  const controls = data.positive ? [tick("log y", state.log, (log) => record.choose(state, { log }))] : [];
  const better = (a, b) => (data.goal === "max" ? Math.max(a, b) : Math.min(a, b));
  const words = { pruned: "△ pruned", failed: "× failed" };
  const rim = Object.keys(words).filter((kind) => data.trials.some((trial) => trial.state === kind));
  const repeats = data.repeats > 1;
  const caption = `${data.objective} of each trial, and the ${sweepGoal(data)} so far.${repeats ? " Means of trainings with one standard deviation to either side; dots are the trainings." : ""}${rim.length ? ` At the upper rim: ${rim.map((kind) => words[kind]).join(", ")}.` : ""}`;
  const build = () => {
    const shown = (value) => !state.log || value > 0;
    const best = [];
    done.forEach((trial) => best.push([trial.trial, best.length ? better(best[best.length - 1][1], trial.objective) : trial.objective]));
    const last = data.trials[data.trials.length - 1].trial;
    if (best[best.length - 1][0] < last) best.push([last, best[best.length - 1][1]]);
    const point = { type: "scatter", symbolSize: done.length > 300 ? 5 : 8 };
    const series = [];
    if (repeats) {
      const floor = lowest(done.flatMap((trial) => trial.trainings));
      const spreads = done.filter((trial) => known(trial.spread)).flatMap((trial) => [[trial.trial, state.log ? Math.max(trial.objective - trial.spread, floor) : trial.objective - trial.spread], [trial.trial, trial.objective + trial.spread], [trial.trial, null]]);
      series.push({ type: "line", name: "± spread", data: spreads, symbol: "none", silent: true, lineStyle: { color: colours.good, width: 2, opacity: 0.5 }, itemStyle: { color: colours.good } });
      series.push({ ...point, name: "trainings", symbolSize: 4, silent: true, data: done.flatMap((trial) => trial.trainings.filter(shown).map((value) => [trial.trial, value])), itemStyle: { color: colours.soft } });
    }
    series.push({ ...point, name: "trial", data: done.filter((trial) => shown(trial.objective)).map((trial) => ({ value: [trial.trial, trial.objective], trial })), itemStyle: { color: colours.good, opacity: 0.85 } });
    series.push({ type: "line", name: `${sweepGoal(data)} so far`, step: "end", data: best, symbol: "none", silent: true, lineStyle: { color: colours.output, width: 2 }, itemStyle: { color: colours.output }, z: 1 });
    const marks = { pruned: ["triangle", hollow(colours.soft)], failed: [CROSS, CROSSED(colours.flagged)] };
    rim.forEach((kind) => series.push({ ...point, name: kind, yAxisIndex: 1, symbol: marks[kind][0], itemStyle: marks[kind][1], data: data.trials.filter((trial) => trial.state === kind).map((trial) => ({ value: [trial.trial, 1], trial })) }));
    return sheet({
      grid: { left: 68, right: 18, top: 46, bottom: 48 },
      xAxis: valueAxis("trial", { minInterval: 1, splitLine: { show: false }, min: 0, max: last + 1, axisLabel: { formatter: (value) => (value >= 1 && value <= last ? String(value) : "") } }),
      yAxis: [upAxis(data.objective, state.log, { nameTruncate: { maxWidth: 270 }, ...(state.log ? logEnds(done.flatMap((trial) => [trial.objective, ...trial.trainings])) : {}) }), { type: "value", min: 0, max: 1, show: false }],
      tooltip: tooltip({ trigger: "item", formatter: ({ data: point }) => (point.trial ? trialLines(data, point.trial) : []) }),
      series,
    });
  };
  const record = plot(parent, { id: "objective-chart", title: "Objective", caption, controls, build, height: 360 });
}

// ---- parameters ----

function importanceChart(parent, data) {
  const shares = (data.importance || []).filter(([, share]) => known(share));
  if (!shares.length) return;
  const build = (width) => {
    const left = Math.min(width * 0.45, 260);
    return sheet({
      grid: { left, right: 24, top: 8, bottom: 48 },
      legend: undefined,
      xAxis: valueAxis("share of the variance", { min: 0, axisLabel: { formatter: percent } }),
      yAxis: { type: "category", inverse: true, data: shares.map(([name]) => name), axisLabel: nameLabels(left - 14), axisTick: { show: false }, axisLine: { lineStyle: { color: colours.line } } },
      tooltip: tooltip({ trigger: "axis", axisPointer: { type: "shadow" }, formatter: (params) => [shares[params[0].dataIndex][0], percent(shares[params[0].dataIndex][1])] }),
      series: [{ type: "bar", name: "share", data: shares.map(([, share]) => share), itemStyle: { color: colours.good }, barMaxWidth: 16 }],
    });
  };
  plot(parent, { id: "importance-chart", title: "What mattered", caption: `Share of the variance of ${data.objective} that each parameter explains by itself (functional ANOVA); the rest is how they act together, and chance.`, height: () => 70 + 26 * shares.length, build });
}

/** Below this width an axis of its own has no place beside its neighbours: then they lie one below the other. */
const AXIS_WIDTH = 105;

function parallelChart(parent, data) {
  const pruned = data.trials.filter((trial) => trial.state !== "done");
  if (!data.parameters.length) return;
  const axes = data.parameters.length + 1;
  const isUpright = (width) => (width - 90) / (axes - 1) >= AXIS_WIDTH;
  const log = data.log;
  const build = (width) => {
    const upright = isUpright(width);
    const gap = (width - 90) / Math.max(1, axes - 1);
    const room = upright ? gap - 8 : width - 40;
    // What is written must be read over hundreds of lines.
    const halo = { color: colours.ink, textBorderColor: colours.paper, textBorderWidth: 4 };
    const axis = (dim, name, parameter) => {
      const type = parameter.choices ? "category" : parameter.log ? "log" : "value";
      const formatter = parameter.choices ? undefined : parameter.log ? decade : (value) => number(value, 3);
      const narrow = parameter.choices ? { width: upright ? gap - 20 : Math.max(40, (width - 60) / parameter.choices.length - 8), overflow: "truncate" } : {};
      const range = parameter.choices ? { data: parameter.choices } : { ...ends(parameter), scale: true, minInterval: parameter.whole ? 1 : undefined };
      return { dim, name, type, z: 10, ...range, nameTruncate: { maxWidth: room }, axisLabel: { ...halo, ...narrow, hideOverlap: true, formatter } };
    };
    const outer = log ? Object.fromEntries(Object.entries(logEnds(data.ranked.map((trial) => trial.objective))).map(([end, value]) => [end === "min" ? "low" : "high", value])) : {};
    const order = data.ranked.length;
    // Of hundreds the best twentieth stands out from the others.
    const opacity = (place) => (place === 0 ? 1 : order <= 200 || place < order / 20 ? 0.7 : 0.08);
    const line = (trial, place) => ({
      value: [...trial.values, trial.objective],
      trial,
      lineStyle: place == null ? { color: colours.absent, opacity: order <= 200 ? 0.25 : 0.06, width: 1 } : { color: lineShade(place, order), width: place === 0 ? 4 : 1.5, opacity: opacity(place) },
    });
    // The best are drawn last, over the others.
    const lines = [...pruned.map((trial) => line(trial, null)), ...data.ranked.map((trial, place) => line(trial, place)).reverse()];
    return {
      parallel: { layout: upright ? "horizontal" : "vertical", left: upright ? 46 : 14, right: upright ? 46 : 26, top: 34, bottom: upright ? 18 : 30, parallelAxisDefault: {
        nameLocation: upright ? "end" : "start", nameGap: upright ? 14 : 0, nameTextStyle: { ...halo, align: upright ? "center" : "left", verticalAlign: "bottom", padding: upright ? 0 : [0, 0, 8, 0] },
        axisLine: { lineStyle: { color: colours.soft } }, axisTick: { lineStyle: { color: colours.soft } }, areaSelectStyle: { color: colours.output, borderColor: colours.output, opacity: 0.2, width: 16 },
      } },
      parallelAxis: [...data.parameters.map((parameter, at) => axis(at, parameter.short, parameter)), axis(axes - 1, data.objective.split(".").pop(), { log, ...outer })],
      tooltip: tooltip({ trigger: "item", formatter: ({ data: line }) => trialLines(data, line.trial) }),
      series: [{ type: "parallel", name: "trials", data: lines, smooth: false, progressive: 0, inactiveOpacity: 0.03, activeOpacity: 0.9 }],
    };
  };
  plot(parent, { id: "parallel-chart", title: "Together", caption: () => `A line a trial; the ${colours.dark ? "brighter" : "darker"} the better, the thick one is the best${pruned.length ? ", those without a figure are grey" : ""}. Drag along axes to choose lines.`, height: (width) => (isUpright(width) ? 380 : 70 + 62 * axes), build });
}

/** The colour of the so-manieth of all: the best stand out from the page, the worst are next to it. */
function lineShade(place, all) {
  const share = all > 1 ? place / (all - 1) : 0;
  return `rgb(${shade(colours.dark ? 1 - 0.7 * share : 0.9 * share)})`;
}

const FIRST_SLICES = 9;

function slices(parent, data) {
  let log = data.log;
  const made = [];
  const grid = element("div", { class: "grid" });
  const shares = new Map(data.importance || []);
  const order = data.parameters.map((parameter, at) => ({ parameter, at })).sort((a, b) => (shares.get(b.parameter.name) ?? 0) - (shares.get(a.parameter.name) ?? 0));
  const add = ({ parameter, at }) => made.push(plot(grid, { id: `slice-${at}`, title: parameter.name, height: 240, build: (width) => sliceOption(data, parameter, at, log, width) }));
  if (data.positive) parent.append(element("div", { class: "controls" }, tick("log y", log, (on) => {
    log = on;
    made.forEach((record) => record.choose({}, {}));
  })));
  parent.append(sentence(`${data.objective} against each parameter, whatever the others were; ◆ the best trial.`), grid);
  order.slice(0, FIRST_SLICES).forEach(add);
  if (order.length > FIRST_SLICES) {
    const more = button(`show all ${order.length}`, `show all ${order.length} parameters`, () => {
      more.remove();
      order.slice(FIRST_SLICES).forEach(add);
    });
    parent.append(more);
  }
}

function sliceOption(data, parameter, at, log, width) {
  const choices = parameter.choices;
  // Trials with the same choice stand side by side, each always in the same place.
  const beside = (trial) => (((trial.trial * 0.618034) % 1) - 0.5) * 0.5;
  const points = data.ranked.map((trial, place) => ({ trial, place, value: [trial.values[at] == null ? null : trial.values[at] + (choices ? beside(trial) : 0), trial.objective] })).filter(({ value: [x, y] }) => x != null && (!log || y > 0));
  const ordinary = points.filter((point) => point.place > 0);
  const label = { width: Math.max(30, (width - 90) / (choices?.length || 1) - 6), overflow: "truncate", showMinLabel: true, showMaxLabel: true, formatter: (value) => choices[value] ?? "" };
  const across = choices ? { min: -0.5, max: choices.length - 0.5, interval: 1, axisTick: { show: false }, splitLine: { show: false }, axisLabel: { ...label, customValues: choices.map((_, place) => place) } } : { type: parameter.log ? "log" : "value", ...ends(parameter), minInterval: parameter.whole && !parameter.log ? 1 : undefined, axisLabel: parameter.log ? {} : { formatter: (value) => number(value, 3) } };
  return sheet({
    grid: { left: 60, right: 18, top: 12, bottom: 40 },
    legend: undefined,
    xAxis: valueAxis("", across),
    yAxis: upAxis("", log, log ? logEnds(points.map((point) => point.value[1])) : { axisLabel: { formatter: (value) => number(value, 3) } }),
    tooltip: tooltip({ trigger: "item", formatter: ({ data: point }) => trialLines(data, point.trial) }),
    series: [
      { type: "scatter", name: "trial", symbolSize: ordinary.length > 300 ? 4 : 7, data: ordinary, itemStyle: { color: colours.good, opacity: ordinary.length > 300 ? 0.5 : 0.75 } },
      { type: "scatter", name: "best", symbol: "diamond", symbolSize: 14, data: points.filter((point) => point.place === 0), itemStyle: { color: colours.output, borderColor: colours.paper, borderWidth: 1.5 }, z: 3 },
    ],
  });
}

// ---- training ----

const CURVES_TOLD = 8;

function trialCurves(parent, data) {
  const curves = (data.curves || []).filter((curve) => curve.epoch.length);
  if (!curves.length) return;
  const positive = curves.every((curve) => lowest(curve.loss) > 0);
  const state = { log: positive };
  const controls = positive ? [tick("log y", state.log, (log) => record.choose(state, { log }))] : [];
  const kind = (curve) => (curve.best ? "the best" : ["done", "pruned", "failed"].includes(curve.state) ? curve.state : "not done yet");
  const kinds = ["failed", "pruned", "not done yet", "done", "the best"].filter((one) => curves.some((curve) => kind(curve) === one));
  const last = highest(curves.flatMap((curve) => curve.epoch));
  const begun = Object.entries(data.states).reduce((sum, [state, trials]) => sum + (state === "planned" ? 0 : trials), 0);
  const build = () => {
    const looks = {
      failed: { color: colours.flagged, type: [2, 2], width: 1.2, opacity: 0.7 },
      pruned: { color: colours.soft, type: [5, 3], width: 1.2, opacity: 0.7 },
      "not done yet": { color: colours.series[2], type: [8, 3, 2, 3], width: 1.4, opacity: 0.8 },
      done: { color: colours.good, type: "solid", width: 1.2, opacity: 0.45 },
      "the best": { color: colours.output, type: "solid", width: 3, opacity: 1 },
    };
    const ordered = [...curves].sort((a, b) => kinds.indexOf(kind(a)) - kinds.indexOf(kind(b)));
    const series = ordered.map((curve) => ({ type: "line", name: kind(curve), data: curve.epoch.map((epoch, at) => ({ value: [epoch, curve.loss[at]], curve })), symbol: "none", showSymbol: false, connectNulls: false, lineStyle: looks[kind(curve)], itemStyle: { color: looks[kind(curve)].color }, emphasis: { disabled: true } }));
    const told = (params) => {
      const lines = [...params].sort((a, b) => Number(b.data.curve.best) - Number(a.data.curve.best) || a.value[1] - b.value[1]);
      const rest = lines.length - CURVES_TOLD;
      return [`epoch ${lines[0].value[0]}`, ...lines.slice(0, CURVES_TOLD).map(({ data: { curve }, value }) => `trial ${curve.name}, ${kind(curve)}: ${number(value[1])}`), rest > 0 && `and ${plural(rest, "other")}`].filter(Boolean);
    };
    return sheet({
      xAxis: valueAxis("epoch", { minInterval: 1, splitLine: { show: false }, max: last > 1 ? last : undefined }),
      yAxis: upAxis("lowest validation loss so far", state.log, state.log ? logEnds(curves.flatMap((curve) => curve.loss)) : {}),
      tooltip: tooltip({ trigger: "axis", formatter: told }),
      series,
    });
  };
  const record = plot(parent, { id: "curve-chart", title: "Validation losses", caption: `The lowest validation loss up to each epoch, a mean over a trial's models, of ${plural(curves.length, "training")}${curves.length < begun ? ": the best, and of the others some from first to last" : ""}.`, controls, build, height: 380 });
}

// ---- all of them ----

const FIRST_TRIALS = 20;
/** A text of at most so many letters stays on one line. */
const SHORT = 24;

function valueCell(parameter, value) {
  const text = valueText(parameter, value);
  return { text, class: parameter.choices ? text.length <= SHORT && "whole" : "right" };
}

const parameterHeads = (data) => data.parameters.map((parameter) => ({ text: parameter.short, title: parameter.name, class: !parameter.choices && "right" }));

function leaderboard(parent, data) {
  if (!data.ranked.length) return;
  // What is the objective itself needs no column more.
  const figures = data.figures.map((name, at) => [name, at]).filter(([, at]) => data.ranked.some((trial) => known(trial.figures[at])) && data.ranked.some((trial) => trial.figures[at] !== trial.objective));
  const numeric = (name, more) => ({ text: name, class: "right", ...more });
  const heads = [numeric("rank"), "trial", numeric(data.objective.split(".").pop(), { title: data.objective }), ...parameterHeads(data), ...figures.map(([name]) => numeric(name.replaceAll("_", " "))), numeric("epochs"), numeric("time")];
  const row = (trial, place) => [
    right(count(place + 1)),
    element("a", { href: `${trial.folder}/report.html` }, String(trial.trial)),
    right(figureText(trial)),
    ...data.parameters.map((parameter, at) => valueCell(parameter, trial.values[at])),
    ...figures.map(([, at]) => right(number(trial.figures[at]))),
    right(count(trial.epochs)),
    right(known(trial.seconds) ? `${number(trial.seconds, 3)} s` : "–"),
  ];
  const caption = `Trials by ${data.objective}, the ${sweepGoal(data)} first.${data.repeats > 1 ? " Mean ± standard deviation over trainings; the link leads to the best of them, other figures are its own." : ""} Numbers of trials lead to their pages.`;
  const fill = (trials) => table(heads, trials.map(row), caption);
  const shown = fill(data.ranked.slice(0, FIRST_TRIALS));
  parent.append(shown);
  if (data.ranked.length > FIRST_TRIALS) {
    const more = button(`show all ${count(data.ranked.length)}`, `show all ${count(data.ranked.length)} trials`, () => {
      more.remove();
      shown.replaceWith(fill(data.ranked));
    });
    parent.append(more);
  }
}

function failedTrials(parent, data) {
  const failed = data.trials.filter((trial) => trial.state === "failed");
  if (!failed.length) return;
  const some = failed.slice(0, FIRST_TRIALS);
  parent.append(table(["trial", "why", ...parameterHeads(data)], some.map((trial) => [String(trial.trial), trial.message || "no message", ...data.parameters.map((parameter, at) => valueCell(parameter, trial.values[at]))]), some.length < failed.length ? `The first ${some.length} of ${count(failed.length)} trials that failed` : "Trials that failed"));
}
