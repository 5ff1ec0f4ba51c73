// Scores lumisection by lumisection, and the viewer: input, reconstruction and error of one lumisection after the other.

const FRAME_MS = 50;
const UNLABELLED = 255;
const SPLITS = ["train", "validation", "test", "unused"];
const MAX_NAMED = 50;
const MAX_LAYERS = 6;
const MAX_REGIONS = 12;

/** What is known of row `at` of a run in one channel. */
function describeRow(data, run, at, channel) {
  const score = run.score?.[channel]?.[at];
  const threshold = run.threshold?.[channel];
  const evaluated = known(score);
  const flagged = evaluated && run.flagged?.[channel]?.[at] === 1;
  const verdict = !evaluated ? "not evaluated" : flagged ? "flagged" : run.threshold?.some(known) ? "good" : "no threshold";
  return { ls: run.ls[at], score, threshold, flagged, evaluated, verdict, class: className(data, run.class?.[at]), split: SPLITS[run.split?.[at]] };
}

const className = (data, index) => (index == null || index === UNLABELLED ? "unlabelled" : (data.classes?.[index] ?? `class ${index}`));
const classLook = (data, index) => (index === UNLABELLED ? { symbol: "circle", color: colours.soft, item: { color: colours.soft } } : groupLook(className(data, index), index));
const unitName = (data) => (data.unit === "event" ? "event" : "LS");
const runName = (run) => (known(run.run) ? `run ${run.run}` : run.name);
const isBad = (data, run, at) => data.class_good?.[run.class?.[at]] === false;

const TEST = 2;
const isTest = (run) => !run.split || run.split.includes(TEST);
const onAll = (data) => data.report?.on === "all";
const flaggedIn = (data, run) => run.flagged?.[data.channels.length - 1]?.reduce((sum, flag) => sum + flag, 0) || 0;

/** A run among others, in words. */
function runOption(data, run) {
  const facts = [isTest(run) || onAll(data) ? "" : "not test", flaggedIn(data, run) ? `${count(flaggedIn(data, run))} flagged` : ""].filter(Boolean);
  return `${runName(run)}${facts.length ? ` (${facts.join(", ")})` : ""}`;
}

/** The run to begin with: the one with most flags, of test runs where figures are taken on those. */
function firstRun(data) {
  const rank = (run) => flaggedIn(data, run) + (isTest(run) && !onAll(data) ? 1e9 : 0);
  return data.runs.reduce((best, run, at) => (rank(run) > rank(data.runs[best]) ? at : best), 0);
}

// ---- score against LS ----

/** All channels together: their score is a logarithm, or a count, and has a name and a unit of its own. */
const isCombined = (data, channel) => data.channels.length > 1 && channel === data.channels.length - 1;
const scoreName = (data, channel) => (isCombined(data, channel) ? data.report?.combined?.axis || "combined score" : "score");
const scoreWords = (data, channel) => (isCombined(data, channel) ? data.report?.combined?.what : data.report?.score);

/** The score chart of one run and channel at a time; a click calls `choose(run, at, channel)`. */
function scoreSection(parent, data, choose) {
  const main = data.channels.length - 1;
  // `log` is unknown until somebody chooses.
  const state = { run: firstRun(data), channel: main, log: null, cursor: null };
  const run = () => data.runs[state.run];
  const scores = () => Array.from(run().score[state.channel] || []).filter(known);
  const canLog = () => !isCombined(data, state.channel) && scores().some((score) => score > 0);
  const wantsLog = () => lowest(scores()) > 0 && highest(scores()) > 20 * lowest(scores());
  const isLog = () => canLog() && (state.log ?? wantsLog());
  const drawn = () => ({ ...state, log: isLog() });
  const controls = [];
  let runChoice;
  if (data.runs.length > 1) {
    runChoice = choice("run", data.runs.map((run, at) => [at, runOption(data, run)]), state.run, (value) => update({ run: Number(value) }));
    controls.push(runChoice);
  }
  if (data.channels.length > 1) controls.push(choice("channel", data.channels.map((name, at) => [at, at === main ? `${name} (judges)` : name]), main, (value) => update({ channel: Number(value) })));
  const logTick = tick("log score", isLog(), (log) => update({ log }));
  logTick.hidden = !canLog();
  controls.push(logTick);
  const cursor = element("div", { class: "cursor", hidden: true });
  const record = plot(parent, {
    id: "score-chart",
    title: data.unit === "event" ? "Score of each event" : "Score against lumisection",
    caption: () => scoreCaption(data, run(), drawn()),
    height: () => 340 + (data.unit === "event" ? 0 : 110 * panelsBelow(data, run(), state.channel).length),
    controls,
    build: (width) => (data.unit === "event" ? eventOption(data, run(), drawn()) : lumisectionOption(data, run(), drawn(), width)),
    started: ({ chart, box }) => {
      box.append(cursor);
      chart.getZr().on("click", ({ offsetX, offsetY }) => clicked(offsetX, offsetY));
      chart.on("datazoom", () => placeCursor());
    },
  });
  const absent = element("p", { class: "small" });
  record.figure.append(absent);
  record.after = () => placeCursor();
  describeAbsent();

  function update(change) {
    if (change.run !== undefined && change.run !== state.run) record.choose(state, change);
    else {
      Object.assign(state, change);
      record.describe();
      record.redraw();
    }
    if (runChoice) runChoice.querySelector("select").value = state.run;
    logTick.hidden = !canLog();
    logTick.querySelector("input").checked = isLog();
    describeAbsent();
  }
  function describeAbsent() {
    const parts = (run().unevaluated || []).map(({ from, to, reason }) => `${range([from, to])} ${reason}`);
    absent.textContent = parts.length ? `Not evaluated, so neither good nor bad: ${parts.slice(0, 40).join("; ")}${parts.length > 40 ? `; and ${parts.length - 40} more` : ""}.` : "";
  }
  function pixel(at) {
    const { ls, score } = { ls: run().ls[at], score: run().score[state.channel][at] };
    return known(score) ? record.chart.convertToPixel({ xAxisIndex: 0, yAxisIndex: 0 }, [ls, score]) : null;
  }
  function clicked(x, y) {
    if (!record.chart.containPixel("grid", [x, y])) return;
    const flags = run().flagged?.[state.channel];
    let best = null;
    const reach = (at, size) => {
      const [px, py] = pixel(at) || [Infinity, Infinity];
      const distance = Math.hypot(px - x, data.unit === "event" || size < 100 ? py - y : 0);
      if (distance < (best?.distance ?? size)) best = { at, distance };
    };
    for (let at = 0; at < run().ls.length; at++) if (flags?.[at]) reach(at, 14);
    if (!best) for (let at = 0; at < run().ls.length; at++) reach(at, data.unit === "event" ? 30 : 1e9);
    if (best) choose(state.run, best.at, state.channel);
  }
  function placeCursor() {
    const at = state.cursor?.run === state.run ? state.cursor.at : null;
    const x = at === null || !record.drawn ? null : record.chart.convertToPixel({ xAxisIndex: 0 }, run().ls[at]);
    cursor.hidden = !known(x) || !record.chart.containPixel({ gridIndex: 0 }, [x, 60]);
    if (!cursor.hidden) cursor.style.transform = `translateX(${x}px)`;
  }
  return {
    record,
    /** Marks the row that the viewer shows. */
    mark(runIndex, at, follow) {
      state.cursor = { run: runIndex, at };
      if (follow && runIndex !== state.run) update({ run: runIndex });
      placeCursor();
    },
    /** Where a row's point is in the window: for tests. */
    locate(runIndex, at) {
      if (state.run !== runIndex) update({ run: runIndex });
      drawOnce(record);
      const point = pixel(at);
      if (!point) return null;
      const box = record.box.getBoundingClientRect();
      return { x: box.left + point[0], y: box.top + point[1] };
    },
  };
}

function scoreCaption(data, run, { channel, log }) {
  const words = scoreWords(data, channel);
  const score = words ? ` ${isCombined(data, channel) ? "Combined score" : "Score"}: ${words}.` : "";
  const lost = log ? Array.from(run.score[channel] || []).filter((score) => known(score) && score <= 0).length : 0;
  const left = lost ? ` ${plural(lost, "row")} with a score of 0 or less ${lost === 1 ? "is" : "are"} not on the log axis.` : "";
  const threshold = known(run.threshold?.[channel]) ? ` Threshold ${number(run.threshold[channel])}.` : " No threshold.";
  return `${runName(run)}, ${data.channels.length > 1 ? `channel ${data.channels[channel]}, ` : ""}all ${plural(run.rows ?? run.ls.length, "row")} whatever the split.${score}${threshold}${left}${thinnedWords(data, run)}${data.viewer.length ? " Click a point to see it below." : ""}`;
}

/** Which rows are shown, where not all are. */
function thinnedWords(data, { thinned, thinned_others: others }) {
  const some = (step) => (step === 0 ? "none" : step > 1 ? `one in ${count(step)}` : "all");
  if (!known(thinned) && !known(others)) return "";
  const rest = known(others) ? `${data.report?.on === "all" ? "" : " test rows"} and ${some(others)} of the others` : "";
  return ` Shown are all that are flagged, and of the unflagged ${some(thinned)}${rest}.`;
}

const MAX_BESIDE = 3;
const MAX_LATENTS = 4;

/** What is drawn below the scores, panel by panel, each with a line or several: what is known beside, and of maps the errors and latents. */
function panelsBelow(data, run, channel) {
  const beside = (run.beside || []).filter((beside) => beside.values.some(known)).slice(0, MAX_BESIDE).map(({ name, values }) => ({ name, lines: [{ name, values, color: look(2).color }] }));
  const main = channel === data.channels.length - 1;
  const shown = (run.latents || []).filter((latents) => main || latents.channel === data.channels[channel]);
  const errors = shown.map(({ channel, error }, at) => ({ name: channel, values: error, color: look(at).color })).filter(({ values }) => values.some(known)).slice(0, 8);
  const panel = (latents) => ({ name: `${latents.components ? "coefficients of components" : "latents"}${data.viewer.length > 1 ? ` of ${latents.channel}` : ""}`, lines: latentLines(latents) });
  return [...beside, ...(errors.length ? [{ name: "error / mean-field error", lines: errors }] : []), ...shown.slice(0, MAX_LATENTS).map(panel)];
}

/** The latents of a run, a line each. */
function latentLines(latents) {
  const rows = latents.codes.length / (latents.names.length || 1);
  const value = (code, at) => latents.low[at] + ((latents.high[at] - latents.low[at]) * code) / 255;
  latents.values ??= latents.names.map((_, at) => Float32Array.from(latents.codes.subarray(at * rows, (at + 1) * rows), (code) => value(code, at)));
  return latents.names.map((name, at) => ({ name: String(name), values: latents.values[at], color: look(at).color }));
}

function rowTooltip(data, run, channel, at) {
  const row = describeRow(data, run, at, channel);
  const told = ({ name, lines }) => `${name}: ${lines.map(({ name, values }) => `${lines.length > 1 ? `${name}: ` : ""}${number(values[at])}`).join(", ")}`;
  const beside = panelsBelow(data, run, channel).map(told);
  return [`${unitName(data)} ${row.ls}: ${row.verdict}`, `score ${number(row.score)}${known(row.threshold) ? `, threshold ${number(row.threshold)}` : ""}`, `class ${row.class}, ${row.split || "split unknown"}`, ...beside];
}

const zoomBars = (axes) => [
  { type: "slider", xAxisIndex: axes, height: 18, bottom: 6, borderColor: colours.line, textStyle: { color: colours.soft }, labelFormatter: (value) => String(Math.round(value)), filterMode: "none", showDataShadow: false },
  { type: "inside", xAxisIndex: axes, zoomOnMouseWheel: "ctrl", moveOnMouseMove: "shift", moveOnMouseWheel: false, preventDefaultMouseMove: false, filterMode: "none" },
];

function lumisectionOption(data, run, { channel, log }, width) {
  const beside = panelsBelow(data, run, channel);
  const scores = run.score[channel] || [];
  const visible = (at) => known(scores[at]) && (!log || scores[at] > 0);
  const breaks = (run.unevaluated || []).map(({ from }) => from);
  const joined = joinedRows(run.ls, visible, stepShown(run), breaks);
  const point = (at) => [run.ls[at], scores[at]];
  const rows = Array.from(run.ls.keys());
  const flagged = rows.filter((at) => visible(at) && run.flagged?.[channel]?.[at]);
  const bad = rows.filter((at) => visible(at) && isBad(data, run, at));
  const span = extent(run);
  const threshold = run.threshold?.[channel];
  const series = [
    { type: "line", name: "score", data: joined.line.map((at) => (at === null ? [null, null] : point(at))), symbol: "none", lineStyle: { color: colours.good, width: 1.2 }, itemStyle: { color: colours.good }, connectNulls: false, markArea: absentAreas(run, span) },
    { type: "scatter", name: "score", data: joined.alone.map(point), symbolSize: rows.length < 200 ? 6 : 3.5, silent: true, ...atOnce(joined.alone.length, { color: colours.good }, colours.good) },
  ];
  if (bad.length) series.push({ type: "scatter", name: "labelled bad", data: bad.map(point), symbol: "circle", symbolSize: 13, progressive: 0, itemStyle: hollow(colours.bad), silent: true });
  series.push({ type: "scatter", name: "flagged", data: flagged.map(point), symbol: "diamond", symbolSize: 10, cursor: "pointer", ...atOnce(flagged.length, { color: colours.flagged, borderColor: colours.paper, borderWidth: 0.8 }, colours.flagged) });
  const hasLine = known(threshold) && (!log || threshold > 0);
  if (hasLine) series.push({ type: "line", name: "threshold", data: [[span[0], threshold], [span[1], threshold]], symbol: "none", lineStyle: { color: colours.threshold, type: "dashed", width: 1.2 }, itemStyle: { color: colours.threshold }, silent: true, tooltip: { show: false } });
  const below = ({ name, values, color }, panel) => {
    const line = joinedRows(run.ls, (at) => known(values[at]), stepShown(run), []).line;
    series.push({ type: "line", name, xAxisIndex: panel + 1, yAxisIndex: panel + 1, data: line.map((at) => (at === null ? [null, null] : [run.ls[at], values[at]])), symbol: "none", lineStyle: { color, width: 1.2 }, itemStyle: { color } });
  };
  beside.forEach(({ lines }, panel) => lines.forEach((line) => below(line, panel)));
  const grids = [{ left: 68, right: 18, top: 34, height: 230 }, ...beside.map((_, panel) => ({ left: 68, right: 18, top: 290 + 110 * panel, height: 78 }))];
  const last = grids.length - 1;
  const xAxis = grids.map((_, at) => valueAxis(at === last ? unitName(data) : "", { gridIndex: at, min: span[0], max: span[1], nameGap: 24, axisLabel: { show: at === last, formatter: String }, splitLine: { show: false }, minInterval: 1 }));
  const yAxis = [upAxis(scoreName(data, channel), log), ...beside.map((_, panel) => upAxis("", false, { gridIndex: panel + 1, splitNumber: 2 }))];
  const byLs = new Map(rows.map((at) => [run.ls[at], at]));
  const titles = beside.map(({ name, lines }, panel) => {
    const rich = Object.fromEntries(lines.map(({ color }, at) => [`line${at}`, { color, fontSize: 12 }]));
    const text = lines.length > 1 ? `${name}:  ${lines.map(({ name }, at) => `{line${at}|━ ${name}}`).join("  ")}` : name;
    return { text, left: 68, top: 272 + 110 * panel, textStyle: { color: colours.soft, fontSize: 12, fontWeight: "normal", width: width - 90, overflow: "truncate", ...(lines.length > 1 && { rich }) } };
  });
  return {
    grid: grids,
    title: titles,
    legend: legend({ data: ["score", ...(flagged.length ? ["flagged"] : []), ...(bad.length ? ["labelled bad"] : []), ...(hasLine ? ["threshold"] : [])] }),
    xAxis,
    yAxis,
    axisPointer: { link: [{ xAxisIndex: "all" }] },
    tooltip: tooltip({
      trigger: "axis",
      formatter: (params) => {
        const at = byLs.get([params].flat().map((item) => item.value?.[0]).find((ls) => byLs.has(ls)));
        return at === undefined ? [] : rowTooltip(data, run, channel, at);
      },
    }),
    dataZoom: zoomBars(grids.map((_, at) => at)),
    series,
  };
}

/** How far apart neighbours among the rows shown may be. */
const stepShown = (run) => Math.max(1, run.thinned || 1, run.thinned_others || 1);

/** Positions to draw a line through, `null` where it breaks, and positions that have no neighbour to be joined to. */
function joinedRows(ls, visible, step, breaks) {
  const [line, alone] = [[], []];
  let next = 0;
  let last = null;
  let length = 0;
  const end = () => {
    if (length === 1) alone.push(last);
    if (length) line.push(null);
    length = 0;
  };
  for (let at = 0; at < ls.length; at++) {
    while (next < breaks.length && breaks[next] < (last === null ? ls[at] : ls[last])) next++;
    const broken = next < breaks.length && breaks[next] < ls[at];
    if (!visible(at)) {
      end();
      continue;
    }
    if (length && (broken || ls[at] - ls[last] > step)) end();
    line.push(at);
    last = at;
    length++;
  }
  end();
  return { line, alone };
}

/** The first and last LS of a run, evaluated or not. */
function extent(run) {
  const ends = [lowest(run.ls), highest(run.ls), ...(run.unevaluated || []).flatMap(({ from, to }) => [from, to])].filter(known);
  const [low, high] = [lowest(ends), highest(ends)];
  return low === high ? [low - 1, high + 1] : [low, high];
}

function absentAreas(run, [low, high]) {
  const wide = ({ from, to }) => to - from > 0.08 * (high - low);
  const area = (absent) => [{ xAxis: absent.from - 0.5, label: { show: wide(absent), formatter: () => absent.reason, color: colours.soft, position: "insideTop" } }, { xAxis: absent.to + 0.5 }];
  return { silent: true, itemStyle: { color: colours.absent, opacity: 0.28 }, data: (run.unevaluated || []).map(area) };
}

function eventOption(data, run, { channel, log }) {
  const scores = run.score[channel] || [];
  const threshold = run.threshold?.[channel];
  const groups = new Map();
  scores.forEach((score, at) => {
    if (!known(score) || (log && !(score > 0))) return;
    const index = run.class?.[at] ?? UNLABELLED;
    if (!groups.has(index)) groups.set(index, []);
    groups.get(index).push([run.ls[at], score, at]);
  });
  const series = [...groups.keys()].sort((a, b) => a - b).map((index, at) => {
    const [style, points] = [classLook(data, index), groups.get(index)];
    return { type: "scatter", name: className(data, index), data: points, symbol: style.symbol, symbolSize: points.length > MANY ? 3.5 : 6, z: 2 + at, ...atOnce(points.length, { ...style.item, opacity: 0.75 }, style.color) };
  });
  const span = extent(run);
  if (known(threshold) && (!log || threshold > 0)) series.push({ type: "line", name: "threshold", data: [[span[0], threshold], [span[1], threshold]], symbol: "none", silent: true, lineStyle: { color: colours.threshold, type: "dashed", width: 1.4 }, itemStyle: { color: colours.threshold }, z: 10 });
  return sheet({
    grid: { left: 68, right: 18, top: 34, height: 230 },
    xAxis: valueAxis("event", { min: span[0], max: span[1], nameGap: 24, splitLine: { show: false }, axisLabel: { formatter: String } }),
    yAxis: upAxis(scoreName(data, channel), log),
    tooltip: tooltip({ trigger: "item", formatter: (item) => (known(item.value?.[2]) ? rowTooltip(data, run, channel, item.value[2]) : [item.seriesName]) }),
    dataZoom: zoomBars([0]),
    series,
  });
}

// ---- the viewer ----

/** One viewer for all channels. `moved(run, at)` hears which row is shown. */
function viewerSection(parent, data, moved) {
  const unit = unitName(data);
  const views = data.viewer;
  // Maps of several layers of one LS belong below each other, where there is room.
  const together = views.length > 1 && views.length <= MAX_LAYERS && views.every((one) => isMap(one) && one.run.length === views[0].run.length);
  const state = { view: 0, all: together && innerWidth >= NARROW, frame: 0, log: false, fixed: false, raw: false, playing: false };
  const view = () => views[state.view];
  const shownViews = () => (state.all ? views : [view()]);
  const channelOf = (view) => Math.max(0, data.channels.indexOf(view.channel));
  const first = firstFrame(data, view());
  state.view = Math.max(0, worstView(data, view().run[first], view().at[first]));
  let drawn = "";
  let timer = 0;

  const verdict = element("p", { class: "verdict", "aria-live": "polite" });
  const slider = element("input", { type: "range", min: 0, step: 1, "aria-label": `position among the ${unit}s`, input: () => go(Number(slider.value)) });
  const play = button("▶ play", `play through the ${unit}s, one every ${FRAME_MS} milliseconds`, () => (state.playing ? pause() : start()));
  const jump = element("input", { type: "text", size: 12, placeholder: data.runs.length > 1 ? `run/${unit}` : unit, "aria-label": `jump to run and ${unit}`, change: () => jumpTo(jump.value) });
  const said = element("span", { class: "small", role: "status" });
  const channelChoice = views.length > 1 && choice("channel", [...(together ? [["all", "all below each other"]] : []), ...views.map((view, at) => [at, view.channel])], state.all ? "all" : state.view, (value) => setView(value === "all" ? state.view : Number(value), value === "all"));
  const runs = data.runs.length > 1 && choice("run", data.runs.map((run, at) => [at, runName(run)]), 0, (value) => goToRow(Number(value), 0));
  const bar = element(
    "div",
    { class: "controls" },
    channelChoice,
    runs,
    element("span", { class: "buttons" },
      button("◆ ‹", `previous flagged ${unit}`, () => nextFlagged(-1)),
      button("‹", `previous ${unit}`, () => go(state.frame - 1)),
      play,
      button("›", `next ${unit}`, () => go(state.frame + 1)),
      button("› ◆", `next flagged ${unit}`, () => nextFlagged(1))),
    element("label", { class: "control" }, element("span", {}, "jump to"), jump),
    tick("log scale", false, (log) => set({ log })),
    tick("same scale for all", false, (fixed) => set({ fixed })),
    views.some((view) => view.raw) && tick("map as read", false, (raw) => set({ raw })),
  );
  const holder = element("div", { class: "viewer", tabindex: 0, role: "group", "aria-label": `${unit} viewer: arrow keys step, space plays` }, verdict, bar, slider, said);
  parent.append(holder);
  const record = plot(holder, {
    id: "viewer-chart",
    title: "Input, reconstruction and error",
    caption: () => viewerCaption(data, view(), state.all),
    height: (width) => (isMap(view()) ? mapsHeight(shownViews(), 3, width) : viewerHeight(view())),
    build: (width) => {
      drawn = key();
      return isMap(view()) ? mapsOption(mapRows(), width, state) : viewerOption(view(), readFrame(view(), state.frame), state, width);
    },
  });
  const readout = element("p", { class: "small readout", "aria-hidden": "true" });
  const scale = colourScale();
  const foundRegions = element("p", { class: "small" });
  record.figure.append(scale, regionLegend(views), foundRegions, readout);
  holder.addEventListener("keydown", onKey);
  document.addEventListener("keydown", (event) => event.target === document.body && event.key.startsWith("Arrow") && onKey(event));

  function onKey(event) {
    if (event.target.matches("input, select") || (event.target.matches("button") && event.key === " ")) return;
    const act = { ArrowLeft: () => go(state.frame - 1), ArrowRight: () => go(state.frame + 1), " ": () => (state.playing ? pause() : start()), Escape: pause }[event.key];
    if (!act || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    act();
  }
  const key = () => [state.view, state.all, state.frame, state.log, state.fixed, state.raw].join();
  const mapRows = () => shownViews().map((one) => mapRow(one, state.frame, state.raw, state.all));
  function set(change) {
    Object.assign(state, change);
    record.redraw();
  }
  function setView(index, all = false) {
    const { run, at } = row();
    record.choose(state, { view: index, all, frame: nearestFrame(views[index], run, at) });
    if (channelChoice) channelChoice.querySelector("select").value = all ? "all" : index;
    slider.max = view().run.length - 1;
    tell();
  }
  const row = () => ({ run: view().run[state.frame], at: view().at[state.frame] });
  function go(frame) {
    said.textContent = "";
    state.frame = Math.min(Math.max(frame, 0), view().run.length - 1);
    tell();
    show();
  }
  /** Draws the frame, if it is not the one that is drawn. */
  function show() {
    if (!record.drawn || drawn === key()) return;
    const began = performance.now();
    if (isMap(view())) {
      const { series, title } = mapsOption(mapRows(), record.box.clientWidth, state);
      record.chart.setOption({ series, title });
    } else drawFrame(record, view(), readFrame(view(), state.frame), state);
    drawn = key();
    lumisift.frameMs = performance.now() - began;
  }
  function tell() {
    const { run, at } = row();
    const main = data.channels.length - 1;
    const found = describeRow(data, data.runs[run], at, state.all ? main : channelOf(view()));
    const judged = describeRow(data, data.runs[run], at, main);
    const sign = { flagged: "◆ flagged", good: "● good", "not evaluated": "○ not evaluated", "no threshold": "no threshold" };
    verdict.replaceChildren(
      element("strong", {}, `${runName(data.runs[run])} · ${unit} ${found.ls}`),
      element("span", { class: `badge ${judged.verdict.replace(" ", "-")}` }, sign[judged.verdict]),
      element("span", {}, `score ${number(found.score)}${known(found.threshold) ? `, threshold ${number(found.threshold)}` : ""}${data.channels.length > 1 ? `${state.all ? "" : ` in ${view().channel}`}; ${aboveIn(data, data.runs[run], at)}` : ""} · ${found.class === "unlabelled" ? found.class : `labelled ${found.class}`} · ${found.split || "split unknown"}`),
    );
    const regions = shownViews().flatMap((one) => regionsOf(one, state.frame).map((region) => `${views.length > 1 ? `${one.channel} ` : ""}${regionWords(region)}`));
    foundRegions.textContent = regions.length ? `${plural(regions.length, "region")}: ${regions.slice(0, MAX_REGIONS).join("; ")}${regions.length > MAX_REGIONS ? `; and ${regions.length - MAX_REGIONS} more` : ""}.` : "";
    slider.value = state.frame;
    slider.setAttribute("aria-valuetext", `${unit} ${found.ls}`);
    if (runs) runs.querySelector("select").value = run;
    lumisift.frame = { index: state.frame, frames: view().run.length, channel: view().channel, run: data.runs[run].name, runIndex: run, at, ls: found.ls, verdict: judged.verdict, playing: state.playing };
    moved(run, at, !state.playing);
  }
  function start() {
    if (state.frame >= view().run.length - 1) state.frame = 0;
    state.playing = true;
    verdict.setAttribute("aria-live", "off");
    play.textContent = "❚❚ pause";
    let due = performance.now();
    const next = () => {
      if (!state.playing) return;
      if (state.frame >= view().run.length - 1) return pause();
      go(state.frame + 1);
      due = Math.max(due + FRAME_MS, performance.now());
      timer = setTimeout(next, due - performance.now());
    };
    next();
  }
  function pause() {
    clearTimeout(timer);
    state.playing = false;
    verdict.setAttribute("aria-live", "polite");
    play.textContent = "▶ play";
    tell();
  }
  function nextFlagged(direction) {
    const main = data.channels.length - 1;
    const flagged = (frame) => data.runs[view().run[frame]].flagged?.[main]?.[view().at[frame]] === 1;
    for (let frame = state.frame + direction; frame >= 0 && frame < view().run.length; frame += direction) if (flagged(frame)) return go(frame);
    said.textContent = `no flagged ${unit} ${direction > 0 ? "after" : "before"} this one`;
  }
  function goToRow(run, at) {
    const frame = nearestFrame(view(), run, at);
    go(frame);
    if (view().run[frame] !== run) said.textContent = `${runName(data.runs[run])} is not kept in this page; the nearest is shown`;
    else if (view().at[frame] !== at && at > 0) said.textContent = `${unit} ${data.runs[run].ls[at]} is not kept in this page; the nearest is shown`;
  }
  function jumpTo(text) {
    const parts = text.trim().split(/[\s/:,]+(?=\d+$)/);
    const ls = Number(parts.pop());
    const name = parts.join("").replace(/^run\s*/i, "");
    const run = name ? data.runs.findIndex((run) => String(run.run) === name || run.name === name) : row().run;
    if (run < 0 || !Number.isInteger(ls)) return void (said.textContent = `no such run or ${unit}: ${text}`);
    const at = data.runs[run].ls.indexOf(ls);
    const absent = data.runs[run].unevaluated?.find(({ from, to }) => from <= ls && ls <= to);
    if (at < 0) return void (said.textContent = `${unit} ${ls} of ${runName(data.runs[run])} ${absent ? `was not evaluated: ${absent.reason}` : "was not in the data, or is not kept in this page"}`);
    goToRow(run, at);
  }
  function hover(x, y) {
    if (isMap(view())) readout.textContent = mapReadout(record.chart, mapRows(), x, y);
  }
  record.after = () => {
    scale.hidden = !isMap(view());
    if (hover.on !== record.chart) record.chart.getZr().on("mousemove", ({ offsetX, offsetY }) => hover(offsetX, offsetY));
    hover.on = record.chart;
  };
  slider.max = view().run.length - 1;
  go(firstFrame(data, view()));
  return {
    record,
    /** Shows a row, in the channel asked for; `combined` stands for the channel that is furthest above its threshold. */
    show(run, at, channel, scroll = true) {
      pause();
      const wanted = data.channels[channel];
      let index = views.findIndex((view) => view.channel === wanted);
      if (index < 0 && channel !== undefined) index = worstView(data, run, at);
      if (index >= 0 && index !== state.view && !state.all) setView(index);
      goToRow(run, at);
      if (scroll) holder.scrollIntoView({ behavior: "instant", block: "nearest" });
    },
    go,
    start,
    pause,
  };
}

/** In which channels a row is above the threshold. */
function aboveIn(data, run, at) {
  const above = data.channels.filter((name, channel) => channel < data.channels.length - 1 && run.flagged?.[channel]?.[at] === 1);
  return above.length ? `above threshold in ${above.join(", ")}` : "above threshold in no channel";
}

/** The frame to begin with: the first test row that is flagged in the run to begin with, else the first row that is. */
function firstFrame(data, view) {
  const run = firstRun(data);
  const { flagged, split } = data.runs[run];
  const frames = Array.from(view.run.keys()).filter((frame) => view.run[frame] === run && flagged?.[data.channels.length - 1]?.[view.at[frame]] === 1);
  return frames.find((frame) => split?.[view.at[frame]] === TEST) ?? frames[0] ?? nearestFrame(view, run, 0);
}

/** The view whose channel has the largest score for its threshold. */
function worstView(data, run, at) {
  let best = { ratio: -Infinity, index: -1 };
  data.viewer.forEach((view, index) => {
    const channel = data.channels.indexOf(view.channel);
    const ratio = data.runs[run].score[channel]?.[at] / (data.runs[run].threshold?.[channel] ?? 1);
    if (ratio > best.ratio) best = { ratio, index };
  });
  return best.index;
}

/** The frame of a row, or the one nearest to it. */
function nearestFrame(view, run, at) {
  let [low, high] = [0, view.run.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (view.run[middle] < run || (view.run[middle] === run && view.at[middle] < at)) low = middle + 1;
    else high = middle;
  }
  const after = Math.min(low, view.run.length - 1);
  const before = Math.max(after - 1, 0);
  const far = (frame) => (view.run[frame] === run ? Math.abs(view.at[frame] - at) : Infinity);
  return far(before) < far(after) ? before : after;
}

/** Values of one frame; see the page's data for how they are packed. */
function readFrame(view, frame) {
  const from = frame * view.k;
  const [low, high, most] = [view.low[frame], view.high[frame], view.error_high[frame]];
  // Inputs beside the bins of a map come after them.
  const length = isMap(view) ? view.shape[0] * view.shape[1] : view.k;
  const decoded = (packed, low, high) => Float64Array.from({ length }, (_, at) => low + (high - low) * (packed[from + at] / 255) ** 2);
  const values = (packed) => decoded(packed, low, high);
  const error = decoded(view.errors, 0, most);
  const raw = view.raw && decoded(view.raw.codes, view.raw.low[frame], view.raw.high[frame]);
  const features = view.features && view.features.subarray(from, from + view.k);
  const input = values(view.input);
  // What is missing is not drawn.
  view.missing?.forEach((at) => at >= from && at < from + length && (input[at - from] = NaN));
  return { input, output: values(view.output), error, raw, features };
}

/** The maps of a frame beside each other; the map as read has a colour scale of its own. */
function mapRow(view, frame, asRead, named) {
  const { input, output, error, raw } = readFrame(view, frame);
  const seen = asRead && raw ? ["as read", raw, true] : ["input", input];
  return { view, name: named ? view.channel : "", maps: [seen, ["reconstruction", output], ["error", error, true]], regions: regionsOf(view, frame) };
}

const isNamed = (view) => Boolean(view.names) && (Boolean(view.features) || view.k <= MAX_NAMED);

const viewerHeight = (view) => (isNamed(view) ? 90 + 22 * view.k : 400);

function viewerCaption(data, view, all) {
  const what = all ? "maps of all layers" : view.element || (view.names ? "features" : isMap(view) ? "map" : "histogram");
  const kept = view.features ? ` The ${view.k} features with the largest errors of each ${unitName(data)}.` : "";
  return `${what}${data.viewer.length > 1 && !all ? `, channel ${view.channel}` : ""}; values ${view.unit || "as read"}; error: ${view.error || "squared error"}. Values are kept to about 0.4 % of the range.${kept}${view.note ? ` Kept here: ${view.note}.` : ""}`;
}

const viewerOption = (view, frame, state, width) => (isNamed(view) ? namedOption(view, frame, state, width) : binsOption(view, frame, state));

/** Draws another frame: only the data change. */
function drawFrame(record, view, frame, state) {
  const series = (isNamed(view) ? namedSeries : binsSeries)(view, frame, state);
  const option = { series: series.map(({ data }) => ({ data })) };
  if (isNamed(view)) option.yAxis = [0, 1].map(() => ({ data: namedLabels(view, frame) }));
  record.chart.setOption(option);
}

const highest = (values) => values.reduce((a, b) => Math.max(a, b), -Infinity);
const lowest = (values) => values.reduce((a, b) => Math.min(a, b), Infinity);

const hasUnits = (view) => Boolean(view.edges) && known(view.edges[0]) && known(view.edges[1]);

/** The ends of the horizontal axis. Bins and features count from 0, as in their names: bin_10 lies around 10. */
const horizontal = (view) => (hasUnits(view) ? view.edges.slice(0, 2) : [-0.5, view.k - 0.5]);

/** What the horizontal axis of a histogram shows. */
const binLabel = (view) => (hasUnits(view) ? view.element || "axis of the histogram" : view.element ? `bin of ${view.element}` : "bin");

function binsSeries(view, frame, { log }) {
  const [low, high] = horizontal(view);
  const edges = even(low, high, view.k);
  const line = (values, log) => (view.names ? Array.from(values, (value, at) => [at, log && !(value > 0) ? null : value]) : steps(edges, values, log));
  return [{ data: line(frame.input, log) }, { data: line(frame.output, log) }, { data: line(frame.error, false) }];
}

function binsOption(view, frame, state) {
  const [low, high] = horizontal(view);
  const values = binsSeries(view, frame, state);
  const style = (name, color, more) => ({ type: "line", name, step: "end", symbol: "none", lineStyle: { color, width: 1.8 }, itemStyle: { color }, ...more });
  const points = [
    { type: "scatter", name: "input", symbolSize: 5, itemStyle: { color: colours.input } },
    { type: "scatter", name: "reconstruction", symbol: "diamond", symbolSize: 7, itemStyle: { ...hollow(colours.output), borderWidth: 1.2 } },
    { type: "bar", name: "error", xAxisIndex: 1, yAxisIndex: 1, itemStyle: { color: colours.error }, barMaxWidth: 6 },
  ];
  const lines = [
    style("input", colours.input, { areaStyle: state.log ? undefined : { color: colours.input, opacity: 0.1, origin: "start" } }),
    style("reconstruction", colours.output, { lineStyle: { color: colours.output, width: 1.8, type: [5, 2] } }),
    style("error", colours.error, { xAxisIndex: 1, yAxisIndex: 1, areaStyle: { color: colours.error, opacity: 0.25, origin: "start" } }),
  ];
  const label = view.names ? "feature" : binLabel(view);
  const x = (more) => valueAxis("", { min: low, max: high, splitLine: { show: false }, ...more });
  const fixed = state.fixed ? { min: state.log ? undefined : Math.min(0, lowest(view.low)), max: highest(view.high) } : state.log ? {} : { scale: false };
  return sheet({
    grid: [{ left: 68, right: 18, top: 34, height: 220 }, { left: 68, right: 18, top: 284, height: 84 }],
    xAxis: [x({ axisLabel: { show: false } }), x({ gridIndex: 1, name: label, axisLabel: { showMinLabel: hasUnits(view), showMaxLabel: hasUnits(view) } })],
    yAxis: [upAxis(view.unit || "value", state.log, fixed), upAxis("error", false, { gridIndex: 1, splitNumber: 2, scale: false, min: 0, max: state.fixed ? highest(view.error_high) : undefined })],
    axisPointer: { link: [{ xAxisIndex: "all" }] },
    tooltip: tooltip({
      trigger: "axis",
      formatter: (params) => [binName(view, params[0].value[2] ?? params[0].value[0]), ...params.map((item) => `${item.seriesName} ${number(item.value[1])}`)],
    }),
    series: (view.names ? points : lines).map((style, at) => ({ ...style, ...values[at] })),
  });
}

/** The name of the bin that begins at x, and where it lies. */
function binName(view, x) {
  if (view.names) return view.names[Math.round(x)] ?? "";
  const [low, high] = horizontal(view);
  const bin = Math.min(Math.round(((x - low) / (high - low)) * view.k), view.k - 1);
  const edge = (at) => number(even(low, high, view.k)(at));
  return hasUnits(view) ? `bin_${bin} (${edge(bin)} to ${edge(bin + 1)})` : `bin_${bin}`;
}

/** Columns of a frame from the top down: by error where only the worst are kept, else as in the file. */
function namedOrder(view, frame) {
  const order = Array.from({ length: view.k }, (_, at) => at);
  return view.features ? order.sort((a, b) => frame.error[b] - frame.error[a]) : order;
}

const namedLabels = (view, frame) => namedOrder(view, frame).map((at) => view.names[frame.features ? frame.features[at] : at] ?? "");

function namedSeries(view, frame, { log }) {
  const order = namedOrder(view, frame);
  const points = (values, log) => order.map((at, place) => [log && !(values[at] > 0) ? null : values[at], place]);
  return [{ data: points(frame.input, log) }, { data: points(frame.output, log) }, { data: order.map((at) => frame.error[at]) }];
}

function namedOption(view, frame, state, width) {
  const longest = (view.features ? view.names : namedLabels(view, frame)).reduce((most, name) => Math.max(most, name.length), 0);
  const names = Math.min(20 + 7.2 * longest, width < 560 ? 110 : width * 0.4);
  const values = namedSeries(view, frame, state);
  const labels = namedLabels(view, frame);
  const y = (gridIndex, show) => ({ type: "category", gridIndex, inverse: true, data: labels, axisLabel: { show, ...nameLabels(names - 12) }, axisTick: { show: false }, axisLine: { lineStyle: { color: colours.line } }, splitLine: { show: true, lineStyle: { color: colours.line } } });
  const split = names + (width - names) * 0.6;
  const x = (gridIndex, name, log, more) => valueAxis(name, { gridIndex, type: log ? "log" : "value", splitNumber: 3, ...more });
  return sheet({
    grid: [{ left: names, right: width - split + 24, top: 34, bottom: 48 }, { left: split + 4, right: 22, top: 34, bottom: 48 }],
    xAxis: [x(0, view.unit || "value", state.log, state.fixed && !state.log ? { min: lowest(view.low), max: highest(view.high) } : {}), x(1, "error", false, { scale: false, min: 0, splitNumber: 2, max: state.fixed ? highest(view.error_high) : undefined })],
    yAxis: [y(0, true), y(1, false)],
    tooltip: tooltip({ trigger: "axis", axisPointer: { type: "shadow" }, formatter: (params) => [params[0].axisValueLabel ?? params[0].name, ...params.map((item) => `${item.seriesName} ${number(item.seriesName === "error" ? item.value : item.value[0])}`)] }),
    series: [
      { type: "scatter", name: "input", symbolSize: 10, itemStyle: { color: colours.input }, ...values[0] },
      { type: "scatter", name: "reconstruction", symbol: "diamond", symbolSize: 12, itemStyle: { ...hollow(colours.output), borderWidth: 2 }, ...values[1] },
      { type: "bar", name: "error", xAxisIndex: 1, yAxisIndex: 1, itemStyle: { color: colours.error }, barMaxWidth: 12, ...values[2] },
    ],
  });
}
