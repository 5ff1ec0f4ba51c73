// Maps: a colour for each bin, with the bins that are left out, the regions that were found, and what all maps are made of.

const colourScale = () => element("div", { class: "scale" }, "low ", element("span", { style: `background: linear-gradient(to right, ${SHADES})` }), " high");

const isMap = (view) => view.shape[0] > 1 && !view.features;
const SIDES = ["dead", "hot"];
const bins = ([first, last]) => range([first, last]);
const areaWords = ([x0, x1, y0, y1]) => `x ${bins([x0, x1])}, y ${bins([y0, y1])}`;

/** The ends of a map's axes, x then y; bins count from 0 where nothing else is known. */
const mapEnds = ({ edges, shape: [rows, columns] }) => (edges && edges.length >= 4 && edges.slice(0, 4).every(known) ? edges : [-0.5, columns - 0.5, -0.5, rows - 0.5]);

/** Which bins of a view are left out: 1 for those. */
function maskOf(view) {
  if (!view.mask && view.masked) {
    view.mask = new Uint8Array(view.shape[0] * view.shape[1]);
    view.masked.forEach((bin) => (view.mask[bin] = 1));
  }
  return view.mask;
}

/** The regions of a frame. */
function regionsOf(view, frame) {
  const { regions } = view;
  if (!regions) return [];
  regions.byFrame ??= Array.from(regions.frame.keys()).reduce((map, at) => map.set(regions.frame[at], [...(map.get(regions.frame[at]) || []), at]), new Map());
  const region = (at) => ({ area: regions.areas.slice(4 * at, 4 * at + 4), bins: regions.bins[at], side: SIDES[regions.flags[at] & 1], coincident: Boolean(regions.flags[at] & 2), known: Boolean(regions.flags[at] & 4) });
  return (regions.byFrame.get(frame) || []).map(region);
}

const regionWords = (region) => `${region.side} ${areaWords(region.area)} (${plural(region.bins, "bin")}${region.coincident ? ", also in other layers" : ""}${region.known ? ", known to be masked" : ""})`;

/** What outlines and grey bins stand for. */
function regionLegend(views) {
  const item = (kind, text) => element("span", {}, element("i", { class: `swatch ${kind}` }), ` ${text}`);
  const has = (value, mask) => views.some((view) => view.regions?.flags.some((flags) => (flags & mask) === value));
  return element("p", { class: "legend" }, [[0, 1, "dead", "region that is dead"], [1, 1, "hot", "region that is too hot"], [4, 4, "known", "known to be masked"], [2, 2, "coincident", "thick: at the same place in several layers"]].filter(([value, mask]) => has(value, mask)).map(([, , kind, text]) => item(kind, text)), views.some((view) => view.masked?.length) && item("masked", "mostly 0 in training: never judged"));
}

// ---- maps beside each other ----

const NARROW = 640;

/** How high a map is drawn that is one of so many columns, with a row for each view. */
function mapHeight(views, columns, width) {
  if (width < NARROW) return 166;
  const steepest = Math.max(...views.map(({ shape }) => shape[0] / shape[1]));
  return views.length === 1 ? 240 : Math.min(190, Math.max(84, ((width - 20) / columns - 58) * steepest));
}

const mapsHeight = (views, columns, width) => (width < NARROW ? 236 * views.length * columns + 12 : views.length === 1 ? 320 : views.length * (mapHeight(views, columns, width) + 58) + 24);

/** Rows of maps, each of a view: beside each other, or one below the other where it is narrow. Those of a row share a scale, but for those
 *  that are said to have their own. */
function mapsOption(rows, width, { log, fixed }) {
  const narrow = width < NARROW;
  const option = { grid: [], xAxis: [], yAxis: [], series: [], title: [] };
  rows.forEach(({ view, name: rowName = "", maps, regions = [] }, row) => {
    const mask = maskOf(view);
    const judged = (values) => (mask ? values.filter((_, at) => !mask[at]) : values);
    const [x0, x1, y0, y1] = mapEnds(view);
    const shared = maps.filter(([, , own]) => !own).map(([, values]) => judged(values));
    const common = fixed && view.low ? [lowest(view.low), highest(view.high)] : sharedRange(view, shared);
    const floor = (maps) => Math.min(...maps.map((values) => values.reduce((a, b) => (b > 0 ? Math.min(a, b) : a), Infinity)));
    const part = narrow ? 0 : (width - 20) / maps.length;
    const height = mapHeight(rows.map(({ view }) => view), maps.length, width);
    maps.forEach(([name, values, own], column) => {
      const at = row * maps.length + column;
      const [low, high, largest = high] = own ? [name === "error" ? 0 : lowestKnown(judged(values)), fixed && name === "error" && view.error_high ? highest(view.error_high) : highestKnown(judged(values))] : common;
      const top = narrow ? 30 + 236 * at : 34 + row * (height + 58);
      const place = narrow ? { left: 52, right: 12, top, height } : { left: 46 + part * column, width: part - 58, top, height };
      option.grid.push(place);
      option.title.push({ text: `${rowName && (column === 0 || narrow) ? `${rowName}: ` : ""}${name}  ${number(low, 3)} … ${number(high, 3)}${largest > high ? ` (to ${number(largest, 3)})` : ""}`, left: place.left, top: top - 26, textStyle: { color: colours.ink, fontSize: 13, fontWeight: "normal", width: narrow ? width - 70 : part - 12, overflow: "truncate" } });
      const axis = (name, min, max, more) => valueAxis(name, { gridIndex: at, min, max, splitLine: { show: false }, nameGap: 26, ...more });
      const axisLabel = { showMinLabel: Boolean(view.edges), showMaxLabel: Boolean(view.edges) };
      option.xAxis.push(axis(rows.length > 1 ? "" : "x", x0, x1, { axisLabel }));
      option.yAxis.push(axis("", y0, y1, { axisLabel, splitNumber: height < 140 ? 2 : 5 }));
      const image = picture(values, view.shape, log ? floor(own ? [judged(values)] : shared) : low, high, { log, mask });
      option.series.push({
        type: "custom",
        name: rows.length > 1 ? `${rowName} ${name}` : name,
        silent: true,
        xAxisIndex: at,
        yAxisIndex: at,
        data: [[x0, y0, x1, y1]],
        encode: { x: [0, 2], y: [1, 3] },
        renderItem: (_, api) => {
          const [left, top] = api.coord([x0, y1]);
          const [right, bottom] = api.coord([x1, y0]);
          const shown = { type: "image", style: { image, x: left, y: top, width: right - left, height: bottom - top } };
          return { type: "group", children: [shown, ...regions.flatMap((region) => outline(region, view, { left, top, right, bottom }))] };
        },
      });
    });
  });
  return option;
}

/** From the lowest value to the highest. What is far too hot would leave no colours for the rest: where regions are looked for, the scale
 *  reaches twice as far as nearly all bins do, and the largest value comes third. */
function sharedRange(view, shared) {
  const [low, high] = [Math.min(...shared.map(lowestKnown)), Math.max(...shared.map(highestKnown))];
  if (!view.regions) return [low, high];
  const sorted = Float64Array.from(shared.flatMap((values) => Array.from(values).filter(known))).sort();
  const most = low + 2 * (sorted[Math.floor(0.95 * sorted.length)] - low);
  return most > low && most < high ? [low, most, high] : [low, high];
}

/** A region's rectangle: its colour within a dark line, so that it is seen on any ground. */
function outline({ area: [x0, x1, y0, y1], side, coincident, known }, { shape: [rows, columns] }, { left, top, right, bottom }) {
  const [wide, high] = [(right - left) / columns, (bottom - top) / rows];
  const shape = { x: left + x0 * wide - 1, y: bottom - (y1 + 1) * high - 1, width: (x1 - x0 + 1) * wide + 2, height: (y1 - y0 + 1) * high + 2 };
  const width = coincident ? 2.5 : 1.5;
  const line = (style) => ({ type: "rect", shape, style: { fill: "none", ...style } });
  return [line({ stroke: "#000", lineWidth: width + 2 }), line({ stroke: colours[side], lineWidth: width, lineDash: known ? [5, 4] : null })];
}

const lowestKnown = (values) => values.reduce((a, b) => (known(b) ? Math.min(a, b) : a), Infinity);
const highestKnown = (values) => values.reduce((a, b) => (known(b) ? Math.max(a, b) : a), -Infinity);

const GREY = [205, 205, 205];

/** A map as an image, shaded from low to high (in logarithms if `log`), y upwards, each bin several pixels wide so that it stays sharp; what
 *  is masked is grey, with a stroke through it. */
function picture(values, [rows, columns], low, high, { log = false, mask = null } = {}) {
  const small = Object.assign(document.createElement("canvas"), { width: columns, height: rows });
  const pixels = new ImageData(columns, rows);
  const share = (value) => (log ? (value > 0 ? Math.log(value / low) / (Math.log(high / low) || 1) : 0) : (value - low) / (high - low || 1));
  for (let at = 0; at < rows * columns; at++) {
    const [red, green, blue] = mask?.[at] ? GREY : shade(share(values[at]));
    const row = rows - 1 - Math.floor(at / columns);
    pixels.data.set([red, green, blue, known(values[at]) ? 255 : 0], 4 * (row * columns + (at % columns)));
  }
  small.getContext("2d").putImageData(pixels, 0, 0);
  const zoom = Math.max(1, Math.ceil(480 / columns));
  const large = Object.assign(document.createElement("canvas"), { width: columns * zoom, height: rows * zoom });
  const context = large.getContext("2d");
  context.imageSmoothingEnabled = false;
  context.drawImage(small, 0, 0, large.width, large.height);
  if (mask && zoom > 3) {
    context.strokeStyle = "rgb(120, 120, 120)";
    context.beginPath();
    mask.forEach((masked, at) => {
      const [x, y] = [(at % columns) * zoom, (rows - 1 - Math.floor(at / columns)) * zoom];
      if (masked) (context.moveTo(x, y + zoom), context.lineTo(x + zoom, y));
    });
    context.stroke();
  }
  return large;
}

/** What is at a place of a chart of maps, in words. */
function mapReadout(chart, rows, x, y) {
  const panels = rows.flatMap((row) => row.maps.map(() => row));
  const panel = panels.findIndex((_, gridIndex) => chart.containPixel({ gridIndex }, [x, y]));
  if (panel < 0) return "";
  const { view, name, maps, regions = [] } = panels[panel];
  const [height, width] = view.shape;
  const [x0, x1, y0, y1] = mapEnds(view);
  const [px, py] = chart.convertFromPixel({ gridIndex: panel }, [x, y]);
  const [column, row] = [Math.floor(((px - x0) / (x1 - x0)) * width), Math.floor(((py - y0) / (y1 - y0)) * height)];
  if (column < 0 || row < 0 || column >= width || row >= height) return "";
  const at = row * width + column;
  const around = regions.filter(({ area }) => area[0] <= column && column <= area[1] && area[2] <= row && row <= area[3]);
  const physical = view.edges ? ` (${number(px, 3)}, ${number(py, 3)})` : "";
  return [`${name ? `${name}: ` : ""}x ${column}, y ${row}${physical}: ${maps.map(([name, values]) => `${name} ${number(values[at])}`).join(", ")}`, maskOf(view)?.[at] && "mostly 0 in training, never judged", ...around.map(regionWords)].filter(Boolean).join("; ");
}

// ---- components ----

/** What each map is a sum of: small maps, the largest share first. */
function componentMaps(parent, data) {
  const all = data.components || [];
  if (!all.length) return;
  const most = all.some(({ of, number }) => of > number.length) ? `; shown are the ${all[0].number.length} largest of ${all[0].of}` : "";
  parent.append(sentence(`Each map is a sum of these, times coefficients that are never negative; its reconstructions hold the shares that are told. x to the right, y upwards, each component with a colour scale of its own; numbers are those of the latents${most}. How much of each there is in an LS: below the scores.`));
  for (const one of all) {
    const [rows, columns] = one.shape;
    const size = rows * columns;
    const view = data.viewer.find((view) => view.channel === one.channel);
    const mask = view && maskOf(view);
    const map = (component, at) => {
      const values = Float64Array.from(one.codes.subarray(at * size, (at + 1) * size), (code) => one.high[at] * (code / 255) ** 2);
      const words = `component ${component}: ${percent(one.share[at])}`;
      const image = picture(values, one.shape, 0, one.high[at], { mask });
      Object.entries({ role: "img", "aria-label": `${one.channel}, ${words}` }).forEach(([name, value]) => image.setAttribute(name, value));
      return element("div", { class: "map" }, element("p", { class: "small" }, words), image);
    };
    parent.append(element("div", { class: "part" }, all.length > 1 && element("h3", {}, one.channel), element("div", { class: "maps" }, one.number.map(map))));
  }
  parent.append(colourScale());
}

// ---- regions over lumisections ----

const LANES = 60;

/** The regions of a run, a lane each, from their first LS to the last. */
function regionTimeline(parent, data, show) {
  const found = data.report.patterns;
  if (!found) return;
  const runs = data.runs.map((run, at) => ({ at, tracks: found.tracks.filter((track) => track.run === run.name) })).filter(({ tracks }) => tracks.length);
  if (!runs.length) return void parent.append(sentence(`None was found. What counts: ${found.what}.`));
  const first = firstRun(data);
  const state = { run: runs.find(({ at, tracks }) => at === first && tracks.some((track) => !track.known)) || runs.find(({ tracks }) => tracks.some((track) => track.coincident && !track.known)) || runs[0] };
  const run = () => data.runs[state.run.at];
  const size = (track) => track.bins * track.seen;
  const lanes = () => [...state.run.tracks].sort((a, b) => size(b) - size(a)).slice(0, LANES).sort((a, b) => data.channels.indexOf(a.channel) - data.channels.indexOf(b.channel) || a.ls[0] - b.ls[0]);
  const caption = () => {
    const all = state.run.tracks.length;
    const marks = [lanes().some((track) => track.coincident) && "◆: at the same place in several layers", lanes().some((track) => track.known) && "dashed: known to be masked"].filter(Boolean);
    const left = [all > LANES && `shown are the ${LANES} largest of ${count(all)} in this run`, found.left_out && `${count(found.left_out)} small ones are left out of this page`].filter(Boolean).join("; ");
    return `${runName(run())}: from the first LS of each to the last.${marks.length ? ` ${marks.join("; ")}.` : ""}${left ? ` ${left}.` : ""} Score: ${found.what}.${show ? " Click one to see it above." : ""}`;
  };
  const controls = [];
  if (runs.length > 1) {
    const option = ({ at, tracks }) => `${runName(data.runs[at])} (${plural(tracks.length, "region")})`;
    controls.push(choice("run", runs.map((one, at) => [at, option(one)]), runs.indexOf(state.run), (at) => record.choose(state, { run: runs[Number(at)] })));
  }
  const started = ({ chart }) =>
    chart.on("click", ({ value, event }) => {
      if (!known(value?.[3]) || !show) return;
      const { channel, ls } = lanes()[value[3]];
      const clicked = chart.convertFromPixel({ gridIndex: 0 }, [event.offsetX, event.offsetY])[0];
      // Of the LSs that the viewer has, one with the region.
      const view = data.viewer.find((view) => view.channel === channel);
      const kept = Array.from(view?.at || []).filter((at, frame) => view.run[frame] === state.run.at && ls[0] <= run().ls[at] && run().ls[at] <= ls[1]);
      const rows = kept.length ? kept : Array.from(run().ls.keys());
      const far = (at) => Math.abs(run().ls[at] - clicked);
      show(state.run.at, rows.reduce((best, at) => (far(at) < far(best) ? at : best)), data.channels.indexOf(channel));
    });
  const record = plot(parent, { id: "region-chart", title: "Regions over lumisections", caption, controls, started, height: () => 120 + 24 * lanes().length, build: (width) => timelineOption(lanes(), extent(run()), width) });
}

function timelineOption(lanes, span, width) {
  const words = ({ channel, x, y }) => `${channel} ${areaWords([...x, ...y])}`;
  const names = Math.min(width * 0.4, 20 + 7 * Math.max(...lanes.map((track) => words(track).length)));
  const bar = (side) => (_, api) => {
    const track = lanes[api.value(3)];
    const [left, middle] = api.coord([track.ls[0] - 0.5, api.value(3)]);
    const [right] = api.coord([track.ls[1] + 0.5, api.value(3)]);
    const [high, wide] = [12, Math.max(right - left, 4)];
    const shape = { x: left, y: middle - high / 2, width: wide, height: high };
    const style = track.known ? { fill: colours.paper, stroke: colours[side], lineWidth: 1.5, lineDash: [4, 3] } : { fill: colours[side] };
    const children = [{ type: "rect", shape, style }];
    if (track.coincident) children.push({ type: "polygon", shape: { points: [[left, middle - 7], [left + 7, middle], [left, middle + 7], [left - 7, middle]] }, style: { fill: colours.ink, stroke: colours.paper, lineWidth: 1 } });
    return { type: "group", children };
  };
  const series = (side) => ({ type: "custom", name: side, itemStyle: { color: colours[side] }, cursor: "pointer", encode: { x: [0, 1], y: 2 }, renderItem: bar(side), data: lanes.map((track, lane) => [track.ls[0], track.ls[1], lane, lane]).filter((_, lane) => lanes[lane].side === side) });
  return sheet({
    grid: { left: names, right: 18, top: 34, bottom: 74 },
    xAxis: valueAxis("LS", { min: span[0] - 0.5, max: span[1] + 0.5, nameGap: 24, minInterval: 1, axisLabel: { formatter: (ls) => String(Math.round(ls)) } }),
    yAxis: { type: "category", inverse: true, data: lanes.map(words), axisLabel: nameLabels(names - 12), axisTick: { show: false }, axisLine: { lineStyle: { color: colours.line } }, splitLine: { show: true, lineStyle: { color: colours.line } } },
    tooltip: tooltip({
      trigger: "item",
      formatter: ({ value }) => {
        const track = lanes[value[3]];
        return [words(track), `${track.side}, up to ${plural(track.bins, "bin")}`, `LS ${range(track.ls)}, seen in ${count(track.seen)}`, track.coincident && "at the same place in several layers", track.known && "known to be masked"].filter(Boolean);
      },
    }),
    dataZoom: zoomBars([0]),
    series: SIDES.map(series).filter((one) => one.data.length),
  });
}
