// What all parts of the page share: elements, numbers in words, packed arrays, colours, and charts that are drawn when they are seen.

/** What tests may ask: whether everything is set up, what went wrong, which charts there are, which frame the viewer shows. */
const lumisift = { ready: false, errors: [], charts: [], firstPlot: null, frame: null };
window.lumisift = lumisift;
window.addEventListener("error", (event) => lumisift.errors.push(String(event.message)));
window.addEventListener("unhandledrejection", (event) => lumisift.errors.push(String(event.reason)));

// ---- elements: text only ever enters as text ----

/** An element with attributes (functions become listeners) and children (strings become text). */
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value != null) made.setAttribute(name, value);
  }
  made.append(...children.flat().filter((child) => child != null && child !== false));
  return made;
}

function button(text, label, act) {
  return element("button", { type: "button", "aria-label": label, title: label, click: act }, text);
}

/** A labelled drop-down of [value, text] pairs. */
function choice(label, options, chosen, change) {
  const options_ = options.map(([value, text]) => element("option", { value, selected: String(value) === String(chosen) }, text));
  const select = element("select", { change: () => change(select.value) }, options_);
  return element("label", { class: "control" }, element("span", {}, label), select);
}

function tick(label, on, change) {
  const box = element("input", { type: "checkbox", checked: on, change: () => change(box.checked) });
  return element("label", { class: "control tick" }, box, element("span", {}, label));
}

/** A table from heads and rows of cells; a cell is a text, an element, or {text, …attributes}. */
function table(heads, rows, caption) {
  const cell = (tag) => (content) => {
    if (content == null || typeof content !== "object" || content instanceof Node) return element(tag, {}, content ?? "–");
    const { text, ...attributes } = content;
    return element(tag, attributes, text ?? "–");
  };
  const head = element("tr", {}, heads.map((content) => cell("th")(typeof content === "string" ? { text: content, scope: "col" } : content)));
  const body = rows.map((row) => element("tr", {}, row.map(cell("td"))));
  const made = element("table", { "aria-label": caption }, element("thead", {}, head), element("tbody", {}, body));
  return element("div", { class: "table" }, caption && element("p", { class: "small" }, caption), element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": caption || "table" }, made));
}

// ---- numbers ----

const SUPERSCRIPTS = { "-": "⁻", 0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴", 5: "⁵", 6: "⁶", 7: "⁷", 8: "⁸", 9: "⁹" };
const known = (value) => typeof value === "number" && Number.isFinite(value);
const count = (value) => (known(value) ? value.toLocaleString("en-US") : "–");
const plural = (number, word) => `${count(number)} ${word}${number === 1 ? "" : "s"}`;
const power = (exponent) => "10" + [...String(exponent)].map((digit) => SUPERSCRIPTS[digit]).join("");

/** A number with so many digits that count. */
function number(value, digits = 4) {
  if (!known(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-3) {
    const [mantissa, exponent] = value.toExponential(Math.max(0, digits - 2)).split("e");
    return `${mantissa.replace("-", "−")} × ${power(Number(exponent))}`;
  }
  if (size >= 10 ** digits) return Math.round(value).toLocaleString("en-US");
  return String(Number(value.toPrecision(digits))).replace("-", "−");
}

/** A share in percent; the digits follow from how small it is. */
function percent(share) {
  if (!known(share)) return "–";
  // What rounding has left of 0 is 0.
  const value = Math.abs(share) < 1e-12 ? 0 : 100 * share;
  const digits = value > 99.5 ? 5 : value >= 10 ? 3 : 2;
  return `${Number(value.toPrecision(digits))} %`;
}

const between = (interval, form = number) => (interval && known(interval[0]) ? `${form(interval[0])} to ${form(interval[1])}` : "");
const area = (value) => (known(value) ? value.toFixed(3) : "–");

/** Labels of a logarithmic axis. */
function decade(value) {
  const exponent = Math.log10(value);
  if (exponent >= -2 && exponent <= 3) return String(Number(value.toPrecision(3)));
  return Math.abs(exponent - Math.round(exponent)) < 1e-9 ? power(Math.round(exponent)) : number(value, 2);
}

function bytes(size) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let at = 0;
  for (; size >= 1000 && at < units.length - 1; at++) size /= 1000;
  return `${at ? size.toPrecision(3) : size} ${units[at]}`;
}

/** Sorted numbers as ranges: [[from, to], …]. */
function ranges(numbers) {
  const found = [];
  for (const value of numbers) {
    const last = found[found.length - 1];
    if (last && value <= last[1] + 1) last[1] = value;
    else found.push([value, value]);
  }
  return found;
}
const range = ([from, to]) => (from === to ? String(from) : `${from}–${to}`);

// ---- packed arrays ----

const ARRAYS = { f32: Float32Array, u8: Uint8Array, u16: Uint16Array, u32: Uint32Array };

const fromBase64 = (text) => (Uint8Array.fromBase64 ? Uint8Array.fromBase64(text) : Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)));

/** `plain` is the array itself, `d` is deflated. */
async function unpack(packed) {
  if (packed.plain !== undefined) return new ARRAYS[packed.t](fromBase64(packed.plain).buffer);
  const raw = fromBase64(packed.d);
  const stream = new Blob([raw]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return new ARRAYS[packed.t](await new Response(stream).arrayBuffer());
}

/** Whether the browser can. */
function canUnpack() {
  try {
    return Boolean(new DecompressionStream("deflate-raw"));
  } catch {
    return false;
  }
}

/** Replaces every packed array below a value by what it holds. */
async function unpackAll(value) {
  if (value == null || typeof value !== "object" || ArrayBuffer.isView(value)) return value;
  if (value.t in ARRAYS && typeof (value.d ?? value.plain) === "string") return unpack(value);
  await Promise.all(Object.keys(value).map(async (key) => (value[key] = await unpackAll(value[key]))));
  return value;
}

// ---- colours: those of palette.rs, of the light or the dark page ----

const SYMBOLS = ["circle", "rect", "triangle", "diamond"];
const DASHES = ["solid", [6, 3], [2, 2], [8, 3, 2, 3], [12, 4], [4, 4, 1, 4], [1, 3], [10, 2, 2, 2, 2, 2]];
let colours = null;

function readColours() {
  const style = getComputedStyle(document.documentElement);
  const get = (name) => style.getPropertyValue(`--${name}`).trim();
  const names = ["ink", "soft", "faint", "line", "paper", "good", "bad", "flagged", "threshold", "absent", "train", "valid", "input", "output", "error", "dead", "hot"];
  colours = Object.fromEntries(names.map((name) => [name, get(name)]));
  colours.dark = style.colorScheme === "dark";
  colours.font = getComputedStyle(document.body).fontFamily;
  colours.series = [1, 2, 3, 4, 5, 6, 7, 8].map((at) => get(`series-${at}`));
}

/** How the n-th series looks: its colour and dash as a line, its symbol and filled or hollow style as points. */
function look(at) {
  const color = colours.series[at % 8];
  return { color, dash: DASHES[((at % 8) + Math.floor(at / 8)) % 8], symbol: SYMBOLS[at % 4], item: at % 8 < 4 ? { color } : hollow(color) };
}

/** How a group of rows looks: good and bad rows have colours of their own, other groups those of series. */
function groupLook(name, at) {
  const style = look(at);
  const color = { good: colours.good, bad: colours.bad }[name];
  return color ? { ...style, color, item: { color } } : style;
}

const MANY = 3000;

/** How a series of so many points is drawn: all in one frame, and many of them as one shape, which can only be filled. */
const atOnce = (count, item, color) => ({ progressive: 0, large: count > MANY, largeThreshold: MANY, itemStyle: count > MANY ? { ...item, color, borderWidth: 0 } : item });

const hollow = (color) => ({ color: "transparent", borderColor: color, borderWidth: 1.6 });

const CIVIDIS = [[0, 34, 78], [33, 59, 110], [76, 85, 108], [108, 110, 114], [142, 137, 120], [178, 165, 112], [217, 197, 92], [254, 232, 56]];

/** A colour of the scale from 0 to 1, as [r, g, b]. */
function shade(share) {
  const position = Math.min(Math.max(share, 0), 1) * (CIVIDIS.length - 1);
  const below = Math.min(Math.floor(position), CIVIDIS.length - 2);
  return CIVIDIS[below].map((from, channel) => Math.round(from + (position - below) * (CIVIDIS[below + 1][channel] - from)));
}
const SHADES = CIVIDIS.map((rgb) => `rgb(${rgb})`);

// ---- charts ----

/** Puts a figure into the page. `build(width)` gives ECharts options, with the data as they are now; it is called when the figure is first near
 *  the window, and again when colours, width or choices change. The caption is a text, or a function where it depends on choices. */
function plot(parent, { id, title, caption = "", height = 320, controls = [], build, started }) {
  const box = element("div", { class: "chart", role: "img" });
  const text = element("span");
  const figure = element(
    "figure",
    { id },
    element("figcaption", {}, element("strong", {}, title), " ", text),
    controls.length > 0 && element("div", { class: "controls" }, controls),
    box,
  );
  parent.append(figure);
  const size = () => (typeof height === "function" ? height(box.clientWidth) : height);
  box.style.height = `${size()}px`;
  const record = { id, title, drawn: false, chart: null, box, figure };
  record.describe = () => {
    text.textContent = typeof caption === "function" ? caption() : caption;
    box.setAttribute("aria-label", `${title}. ${text.textContent}`);
  };
  record.describe();
  record.draw = () => {
    if (box.clientWidth === 0) return;
    const first = !record.chart;
    box.style.height = `${size()}px`;
    if (first) record.chart = echarts.init(box, null, { renderer: "canvas" });
    else record.chart.resize();
    const zoom = first ? null : record.chart.getOption().dataZoom;
    const option = build(box.clientWidth);
    if (zoom?.length && option.dataZoom) option.dataZoom.forEach((part, at) => Object.assign(part, { start: zoom[at]?.start, end: zoom[at]?.end }));
    record.chart.setOption({ animation: false, textStyle: { color: colours.ink, fontFamily: colours.font }, ...option, legend: namedLegend(option) }, { notMerge: true });
    record.drawn = true;
    lumisift.firstPlot ??= performance.now();
    if (first) started?.(record);
    record.after?.();
  };
  /** Draws again if it has been drawn; otherwise it will be when it is seen. */
  record.redraw = () => record.drawn && record.draw();
  /** Takes other choices into the state, and starts from nothing. */
  record.choose = (state, change) => {
    Object.assign(state, change);
    record.describe();
    if (record.drawn) record.chart.clear();
    record.redraw();
  };
  lumisift.charts.push(record);
  watch(record);
  return record;
}

const seen = new IntersectionObserver(
  (entries) => entries.filter((entry) => entry.isIntersecting).forEach((entry) => drawOnce(lumisift.charts.find((record) => record.box === entry.target))),
  { rootMargin: "400px" },
);
const resized = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    const record = lumisift.charts.find((record) => record.box === target);
    if (record?.drawn && Math.abs(record.chart.getWidth() - target.clientWidth) > 1) record.draw();
  }
});

function watch(record) {
  seen.observe(record.box);
  resized.observe(record.box);
}

function drawOnce(record) {
  if (!record || record.drawn) return;
  attempt(record.title, record.figure, record.draw);
  if (record.drawn) seen.unobserve(record.box);
}

lumisift.drawAll = () => lumisift.charts.forEach(drawOnce);

/** Does something; what fails is told in the page, and the rest goes on. */
function attempt(what, where, act) {
  try {
    return act();
  } catch (error) {
    lumisift.errors.push(`${what}: ${error.message}`);
    console.error(what, error);
    where.append(element("p", { class: "notice" }, `${what} cannot be shown: ${error.message}`));
  }
}

function valueAxis(name, more = {}) {
  return {
    type: "value",
    name,
    nameLocation: "middle",
    nameGap: 30,
    nameTextStyle: { color: colours.soft },
    nameTruncate: { maxWidth: 200 },
    axisLine: { show: true, onZero: false, lineStyle: { color: colours.soft } },
    axisTick: { show: true },
    splitLine: { lineStyle: { color: colours.line } },
    scale: true,
    ...more,
    axisLabel: { color: colours.soft, hideOverlap: true, formatter: more.type === "log" ? decade : (value) => number(value), ...more.axisLabel },
  };
}

/** A vertical axis: logarithmic or not. */
const upAxis = (name, log, more = {}) => valueAxis(name, { nameGap: 50, nameRotate: 90, type: log ? "log" : "value", ...more });

/** Options that most charts share. */
function sheet(options) {
  return {
    grid: { left: 68, right: 18, top: 34, bottom: 48 },
    legend: legend(),
    tooltip: tooltip({ trigger: "item" }),
    ...options,
  };
}

const legend = (more = {}) => ({ type: "scroll", top: 0, itemWidth: 24, itemHeight: 12, textStyle: { color: colours.ink }, pageTextStyle: { color: colours.ink }, pageIconColor: colours.ink, pageIconInactiveColor: colours.line, ...more });

// As paths, symbols keep their shape in a legend.
const ICONS = { rect: "path://M-4,-4H4V4H-4Z", triangle: "path://M0,-5L5,4H-5Z", diamond: "path://M0,-6L6,0L0,6L-6,0Z" };

/** The legend names each series once; lines stand without a symbol. */
function namedLegend({ legend, series }) {
  if (!legend) return undefined;
  const names = legend.data ?? [...new Set(series.map((one) => one.name))].filter(Boolean);
  const item = (name) => {
    const one = series.find((one) => one.name === name);
    return one?.type === "line" ? { name, itemStyle: { opacity: 0 } } : { name, icon: ICONS[one?.type === "bar" ? "rect" : one?.symbol] };
  };
  return { ...legend, data: names.map(item) };
}

/** A tooltip: `formatter` gives lines, which enter the page as text. */
function tooltip({ formatter, ...more }) {
  const lines = formatter || ((params) => [params].flat().map((item) => `${item.seriesName}: ${[item.value].flat().map((part) => (typeof part === "number" ? number(part) : part)).join(", ")}`));
  return {
    confine: true,
    backgroundColor: colours.paper,
    borderColor: colours.soft,
    textStyle: { color: colours.ink, fontSize: 13 },
    formatter: (params) => element("div", {}, lines(params).map((line) => element("div", {}, line))),
    ...more,
  };
}

/** A line that steps from bin to bin: values of n bins between n + 1 edges, as [where, value, left edge of the bin]. */
function steps(edges, values, log) {
  const points = [];
  const shown = (at) => at < values.length && (!log || values[at] > 0);
  for (let at = 0; at < values.length; at++) {
    points.push([edges(at), shown(at) ? values[at] : null, edges(at)]);
    // Without its right end a bin beside an empty one would have no width.
    if (shown(at) && !shown(at + 1)) points.push([edges(at + 1), values[at], edges(at)]);
  }
  return points;
}

const even = (low, high, bins) => (at) => low + ((high - low) * at) / bins;

/** Histograms of groups of rows with the same bins; a small one leaves it to what stands above to name the groups. */
function histogramOption(histograms, { log = false, cut = null, cutName = "threshold", small = false } = {}) {
  const edges = even(histograms.low, histograms.high, histograms.groups[0]?.shares.length || 1);
  const line = (group, at) => ({
    type: "line",
    name: group.name,
    step: "end",
    symbol: "none",
    data: steps(edges, group.shares, log),
    lineStyle: { width: 1.8, color: groupLook(group.name, at).color, type: look(at).dash },
    itemStyle: { color: groupLook(group.name, at).color },
    areaStyle: at === 0 ? { opacity: 0.14, origin: "start" } : undefined,
  });
  const series = histograms.groups.map(line).filter((_, at) => histograms.groups[at].rows > 0);
  if (known(cut) && series.length) series[0].markLine = upright(cut, `${cutName} ${number(cut, 3)}`, cut > (histograms.low + histograms.high) / 2);
  const rows = new Map(histograms.groups.map((group) => [group.name, group.rows]));
  let [low, high] = [histograms.low, histograms.high];
  const room = 0.06 * (Math.max(high, cut ?? high) - Math.min(low, cut ?? low));
  if (known(cut)) [low, high] = [Math.min(low, cut - room), Math.max(high, cut + room)];
  // What lies in the first bin or the last one, often most of all, must not hide behind the frame.
  else [low, high] = [low - 0.02 * (high - low), high + 0.02 * (high - low)];
  return sheet({
    grid: { left: small ? 56 : 68, right: 18, top: small ? 12 : 46, bottom: 48 },
    legend: small ? undefined : legend({ formatter: (name) => `${name} (${plural(rows.get(name), "row")})` }),
    xAxis: valueAxis(histograms.quantity.split(",")[0], { min: low, max: low < high ? high : undefined, axisLabel: { showMinLabel: false, showMaxLabel: false, formatter: (value) => number(value, 3) } }),
    yAxis: upAxis(small ? "" : "share of the group", log),
    tooltip: tooltip({
      trigger: "axis",
      formatter: (params) => [`from ${number(params[0].value[2])}`, ...params.map((item) => `${item.seriesName}: ${percent(item.value[1])}`)],
    }),
    series,
  });
}

/** What the lines of small histograms stand for. */
function legendOfGroups(groups) {
  const svg = (tag, attributes, ...children) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    Object.entries(attributes).forEach(([name, value]) => made.setAttribute(name, value));
    made.append(...children);
    return made;
  };
  const swatch = (name, at) => {
    const { dash } = look(at);
    const color = ["good", "bad"].includes(name) ? name : `series-${(at % 8) + 1}`;
    const line = svg("line", { x1: 0, y1: 6, x2: 28, y2: 6, "stroke-width": 2.5, style: `stroke: var(--${color})`, "stroke-dasharray": dash === "solid" ? "none" : dash.join(" ") });
    return svg("svg", { width: 28, height: 12, "aria-hidden": "true" }, line);
  };
  return element("p", { class: "legend" }, groups.map((group, at) => element("span", {}, swatch(group.name, at), ` ${group.name} (${plural(group.rows, "row")})`)));
}

/** Labels of an axis of names: what does not fit is left out in the middle, since names differ at their ends. */
function nameLabels(width) {
  const most = Math.max(6, Math.floor(width / 7));
  const shorten = (name) => (name.length > most ? `${name.slice(0, Math.floor(most / 3))}…${name.slice(1 - Math.ceil((2 * most) / 3))}` : name);
  return { width, overflow: "truncate", color: colours.ink, interval: 0, formatter: shorten };
}

/** A marked position on the horizontal axis, its text to the left or to the right. */
const upright = (at, text, left) => ({ silent: true, symbol: "none", data: [{ xAxis: at }], lineStyle: { color: colours.threshold, type: "dashed" }, label: { align: left ? "right" : "left", formatter: () => text, color: colours.ink } });

// ---- light and dark, print ----

function redrawAll() {
  readColours();
  lumisift.charts.forEach((record) => {
    record.describe();
    record.redraw();
  });
}

function themeButton() {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const now = () => document.documentElement.dataset.theme || (dark.matches ? "dark" : "light");
  const made = button("", "switch between light and dark", () => {
    document.documentElement.dataset.theme = now() === "dark" ? "light" : "dark";
    show();
  });
  const show = () => {
    made.textContent = now() === "dark" ? "☀ light" : "☾ dark";
    redrawAll();
  };
  dark.addEventListener("change", show);
  made.className = "theme";
  made.textContent = now() === "dark" ? "☀ light" : "☾ dark";
  return made;
}

/** Print is light, and shows all charts. */
function preparePrint() {
  let [before, closed] = [null, []];
  window.addEventListener("beforeprint", () => {
    before = document.documentElement.dataset.theme;
    document.documentElement.dataset.theme = "light";
    closed = [...document.querySelectorAll("details:not([open])")];
    closed.forEach((details) => (details.open = true));
    redrawAll();
    lumisift.drawAll();
  });
  window.addEventListener("afterprint", () => {
    closed.forEach((details) => (details.open = false));
    if (before) document.documentElement.dataset.theme = before;
    else delete document.documentElement.dataset.theme;
    redrawAll();
  });
}
