// The page of injected defects: what is found of which size and strength, as lines and as a map.

const sizeText = ({ x, y }) => (y === 1 ? String(x) : `${x} × ${y}`);
const binsText = (size) => (size.x * size.y === 1 ? "1 bin" : `${sizeText(size)} bins`);
const strengthText = (strength) => `×${number(strength, 3)}`;

function sensitivityPage({ outcome, thresholds }) {
  const { settings } = outcome;
  const strengths = [...settings.strengths].sort((a, b) => a - b);
  const point = (size, strength) => outcome.points.find((one) => one.x === size.x && one.y === size.y && one.strength === strength);
  const data = { outcome, strengths, point, several: outcome.false_alarms.length > 1 };
  header(`${outcome.name}: sensitivity`, ["efficiency against injected defects", `${plural(outcome.rows, "row")} a point`, `Lumisift ${outcome.version}`]);
  section("answer", "Answer", (parent) => sensitivityAnswer(parent, data));
  section("strengths", "By strength", (parent) => strengthChart(parent, data));
  section("sizes", "By size and strength", (parent) => sensitivityMap(parent, data));
  section("channels", "Channel by channel", (parent) => sensitivityChannels(parent, data));
  section("done", "What was done", (parent) => sensitivityDone(parent, data, thresholds));
}

function sensitivityAnswer(parent, { outcome }) {
  const tried = outcome.points.filter((point) => known(point.efficiency.share));
  const sure = tried.filter((point) => point.efficiency.share >= 0.95);
  const alarms = outcome.false_alarms.at(-1);
  const where = outcome.settings.channels > 1 ? `, in ${outcome.settings.channels} channels at the same place` : "";
  parent.append(element("p", { class: "answer" }, `${count(sure.length)} of ${plural(tried.length, "kind")} of defects ${sure.length === 1 ? "is" : "are"} found in at least 95 % of rows${where}.`));
  const notes = [`${count(alarms.flagged)} of ${count(alarms.rows)} ${outcome.sample}`, alarms.interval && `95 % interval ${between(alarms.interval, percent)}, as if rows were independent`];
  const best = [...tried].sort((a, b) => b.efficiency.share - a.efficiency.share);
  const kind = (point) => `${binsText(point)} at ${strengthText(point.strength)}`;
  const cards = [card("Flagged as they are", percent(alarms.share), notes)];
  if (best.length) cards.push(card("Found most", percent(best[0].efficiency.share), [kind(best[0])]), card("Found least", percent(best.at(-1).efficiency.share), [kind(best.at(-1))]));
  parent.append(element("div", { class: "cards" }, cards));
  if (outcome.notes.length) parent.append(element("div", { class: "notice", role: "note" }, element("strong", {}, plural(outcome.notes.length, "note")), element("ul", {}, outcome.notes.map((note) => element("li", {}, note)))));
}

function strengthChart(parent, { outcome, strengths, point }) {
  // Between factors below 1 and those above stands that at which nothing changes: no line goes across it.
  const places = [...strengths, 1].sort((a, b) => a - b);
  const alarms = outcome.false_alarms.at(-1);
  const build = () => {
    const series = outcome.settings.sizes.flatMap((size, at) => {
      const { color, dash, symbol, item } = look(at);
      const found = places.map((strength) => point(size, strength)?.efficiency);
      const shared = { type: "line", stack: `interval ${at}`, stackStrategy: "all", symbol: "none", silent: true, lineStyle: { opacity: 0 }, itemStyle: { color }, emphasis: { disabled: true } };
      return [
        { ...shared, data: found.map((one) => one?.interval?.[0] ?? null) },
        { ...shared, data: found.map((one) => (one?.interval ? one.interval[1] - one.interval[0] : null)), areaStyle: { color, opacity: 0.14 } },
        { type: "line", name: binsText(size), data: found.map((one) => one?.share ?? null), connectNulls: false, symbol, symbolSize: 8, lineStyle: { color, type: dash, width: 2.2 }, itemStyle: item, emphasis: { disabled: true }, z: 3 },
      ];
    });
    if (known(alarms.share)) series[2].markLine = { silent: true, symbol: "none", data: [{ yAxis: alarms.share }], lineStyle: { color: colours.ink, type: "dashed" }, label: { position: "insideEndTop", formatter: () => `as they are ${percent(alarms.share)}`, color: colours.ink } };
    const told = (params) => {
      const strength = places[params[0].dataIndex];
      if (strength === 1) return ["×1: rows as they are"];
      const line = (size) => {
        const { share, interval } = point(size, strength)?.efficiency ?? {};
        return `${binsText(size)}: ${percent(share)}${interval ? ` (${between(interval, percent)})` : ""}`;
      };
      return [`contents ${strengthText(strength)}`, ...outcome.settings.sizes.map(line)];
    };
    return sheet({
      grid: { left: 68, right: 18, top: 46, bottom: 48 },
      legend: legend({ data: outcome.settings.sizes.map(binsText) }),
      xAxis: valueAxis("contents multiplied by", { type: "category", data: places.map(strengthText), boundaryGap: true, scale: undefined, axisLabel: { formatter: undefined } }),
      yAxis: upAxis("efficiency", false, { min: 0, max: 1, axisLabel: { formatter: percent } }),
      tooltip: tooltip({ trigger: "axis", formatter: told }),
      series,
    });
  };
  plot(parent, { id: "strength-chart", title: "Efficiency", caption: `Share of rows that are flagged with a defect of a size in ${outcome.unit}, with 95 % intervals (Wilson). At ×1 rows are as they are, and none of those that were taken is flagged.`, height: 420, build });
}

/** Sizes by strengths, the bluer the more is found. */
function sensitivityMap(parent, { outcome, strengths, point }) {
  const heat = (get, note, caption, unknown) => {
    const cell = (size, strength) => {
      const one = point(size, strength);
      const value = one && get(one);
      return known(value) ? heatCell(value, unknown ? number(value, 2) : percent(value), note(one)) : { text: "–", class: "heat" };
    };
    const rows = outcome.settings.sizes.map((size) => [{ text: sizeText(size), class: "name" }, ...strengths.map((strength) => cell(size, strength))]);
    const made = table([`${outcome.unit} ↓ contents →`, ...strengths.map(strengthText)], rows, caption);
    made.classList.add("heats");
    parent.append(made);
  };
  heat((one) => one.efficiency.share, (one) => (one.efficiency.interval || []).map((end) => `${Math.round(100 * end)}`).join(" – "), "Efficiency, with its 95 % interval in percent");
  if (outcome.points.some((one) => known(one.iou))) heat((one) => one.iou, () => "", "Mean overlap of what was injected with the region that matches it best: bins that both have as a share of those that either has; 0 where nothing was found", true);
}

function sensitivityChannels(parent, { outcome, several }) {
  if (!several) return;
  const channels = outcome.false_alarms.map((share) => share.channel);
  const main = channels.at(-1);
  const cell = (share) => right(share && known(share.share) ? percent(share.share) : "–");
  const row = (point) => [right(sizeText(point)), right(strengthText(point.strength)), ...channels.map((channel) => cell(channel === main ? point.efficiency : point.by_channel.find((one) => one.channel === channel)))];
  const rows = [[right("–"), right("×1"), ...outcome.false_alarms.map(cell)], ...outcome.points.map(row)];
  const heads = ["size", "contents", ...channels].map((text) => ({ text, class: "right" }));
  parent.append(table(heads, rows, `Share of rows flagged in each channel, of those with the defect in it; ${main} of all rows. ×1: good rows as they are.`));
}

function sensitivityDone(parent, { outcome }, thresholds) {
  const { settings } = outcome;
  const facts = [
    ["score", outcome.score],
    ...thresholds.map(([channel, value, words]) => [`threshold of ${channel}`, `${known(value) ? number(value) : "of each run"} (${words})`]),
    ["rows", `${plural(outcome.rows, "row")}, none of them flagged as it is, of ${count(outcome.false_alarms.at(-1).rows)} ${outcome.sample}`],
    ["defects", `at places drawn anew for each row and size, the same for all strengths; in ${plural(settings.channels, "channel")}`],
    ["contents", settings.poisson ? "drawn from a Poisson distribution around what they are multiplied to" : "multiplied"],
    ["seed", String(outcome.seed)],
    ["experiment", outcome.experiment],
  ];
  parent.append(element("dl", {}, facts.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)])));
}
