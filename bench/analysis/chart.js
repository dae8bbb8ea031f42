// How lines are named, coloured and drawn; page.js calls drawChart.

// Lines

function linesOf(shown, except, told = series) {
  const keys = varying([...told, ...grid].filter((key) => !except.includes(key)), shown);
  const groups = new Map();
  for (const row of [...shown].sort((a, b) => keys.reduce((so, key) => so || order(a[key], b[key]), 0))) {
    const name = keys.filter((key) => known(row[key])).map((key) => say(key, row[key])).join(" · ");
    groups.set(name, [...(groups.get(name) ?? []), row]);
  }
  const names = [...groups.keys()], ordered = keys.length === 1 && about[keys[0]].numeric;
  const places = placesOf(names.map((name) => (keys.includes("framework") ? groups.get(name)[0].framework : null)));
  const ramp = (i) => (names.length > 1 ? Math.round((i * 5) / (names.length - 1)) : 5);
  return names.map((name, i) => ({
    name, rows: groups.get(name), color: ordered ? `var(--o${ramp(i)})` : `var(--c${places[i] % page.colors})`,
    shape: ordered ? 0 : places[i] % 4, dash: ordered ? 0 : Math.floor(places[i] / page.colors) % 3,
  }));
}

// A framework looks as it does in the pictures, whoever else is there.
function placesOf(frameworks) {
  const first = (values) => values.map((value, i) => (values.indexOf(value) === i ? value : undefined));
  const own = first(first(frameworks).map((framework) => page.places[framework]));
  let free = -1;
  return own.map((place) => {
    if (place === undefined) do free++; while (own.includes(free));
    return place ?? free;
  });
}

// Charts

const log = (low, high, from, to) => (v) => from + (Math.log(v / low) / Math.log(high / low)) * (to - from);

function range(values, headroom) {
  const low = Math.min(...values), high = Math.max(...values), decades = Math.max(Math.log10(high / low), 0.25);
  return [low / 10 ** (0.07 * decades), high * 10 ** (headroom * decades)];
}

function ticks(key, low, high) {
  const [fine, coarse] = page.ladders[about[key].kind];
  const inside = (Math.log10(high / low) < 2.2 ? fine : coarse).filter((v) => v >= low && v <= high);
  if (inside.length >= 2) return inside.filter((_, i) => i % Math.ceil(inside.length / 9) === 0);
  const rough = (high - low) / 4, unit = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((m) => m * unit >= rough) * unit, found = [];
  for (let v = Math.ceil(low / step); v * step <= high; v++) found.push(Number((v * step).toPrecision(6)));
  return found;
}

function spread(values, gap) {
  const places = values.map((_, i) => i).sort((a, b) => values[a] - values[b]), placed = places.map((i) => values[i]);
  for (let pass = 0; pass < 50; pass++) for (let i = 1; i < placed.length; i++) {
    const short = gap - (placed[i] - placed[i - 1]);
    if (short > 0) { placed[i - 1] -= short / 2; placed[i] += short / 2; }
  }
  return values.map((_, i) => placed[places.indexOf(i)]);
}

const SHAPES = [
  (r) => `m${-r} 0a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0z`,
  (r) => `m${-r * 0.9} ${-r * 0.9}h${r * 1.8}v${r * 1.8}h${-r * 1.8}z`,
  (r) => `m0 ${-r * 1.25}l${r * 1.25} ${r * 1.25}l${-r * 1.25} ${r * 1.25}l${-r * 1.25} ${-r * 1.25}z`,
  (r) => `m0 ${-r * 1.2}l${r * 1.2} ${r * 2.2}h${-r * 2.4}z`,
];
const DASHES = ["none", "10 3", "10 3 2 3", "5 4"];
const nothing = "Nothing was measured for this choice.";
const hollow = " Hollow and dashed: published by somebody else, not measured here.";

// spec: box, x, y, along (what orders a line), measured (x is a result, else what was set).
function drawChart(spec, shown) {
  const { x: xKey, y: yKey, along, measured } = spec;
  const ok = shown.filter((r) => r.ok), lost = shown.filter((r) => r.missing);
  const lines = shown.length ? linesOf(shown, [along]) : [];
  const theirs = published.filter((r) => keeps(r, published));
  const lane = measured || !lost.length ? 0 : 10 + 9 * Math.min(lines.length, 12), top = 30 + lane, bottom = 384 + lane;
  const what = `${about[yKey].caption} against ${about[xKey].caption}`;
  const label = `${what}. Arrow keys walk through the points; the table holds the numbers.`;
  const svg = make("svg", { viewBox: `0 0 ${W} ${bottom + 46}`, role: "img", tabindex: 0, "aria-label": label });
  $(spec.box).replaceChildren(svg);
  watch(svg);
  if (!ok.length) return void make("text", { x: LEFT, y: 60 }, svg, nothing);
  const all = [...ok, ...theirs];
  const whiskers = (key) => all.flatMap((r) => [r[key], r[`${key}_low`], r[`${key}_high`]].filter(known));
  const tested = distinct(xKey, measured ? all : [...shown, ...theirs]);
  const pad = Math.max((tested.at(-1) / tested[0]) ** 0.03, 1.05);
  const [x0, x1] = measured ? range(whiskers(xKey), 0.05) : [tested[0] / pad, tested.at(-1) * pad];
  const [y0, y1] = range(whiskers(yKey), 0.1);
  const x = log(x0, x1, LEFT, RIGHT), y = log(y0, y1, bottom, top), at = (r) => [x(r[xKey]), y(r[yKey])];
  const apart = (v, i) => i === 0 || i === tested.length - 1 || x(v) - x(tested[i - 1]) > 34;
  const chart = { svg, spec, x, y, at, top, bottom, x0, x1 };
  if (measured) drawLimit(chart);
  drawAxes(chart, measured ? ticks(xKey, x0, x1) : tested.filter(apart), ticks(yKey, y0, y1));
  if (measured) drawFront(chart, ok);
  if (lane) drawLane(chart, lines, lane);
  const drawn = [...lines, ...publishedLines(spec, theirs, lines)];
  const ends = drawn.map((line) => ({ line, end: drawLine(chart, line) }));
  nameLines(chart, ends.filter(({ line, end }) => end && line.name));
  if (measured && lines.length <= 3) namePoints(chart, ok);
  $(`${spec.box}-note`).textContent = note(spec, lines, ok, lost, theirs);
}

function note({ measured }, lines, ok, lost, theirs) {
  const said = measured
    ? `Each line runs along the batch sizes${lines.length <= 3 ? ", which stand beside the left-most points" : ""}; ` +
      "up and to the left is better. Dashed: the best of everything shown, nothing gives more tokens per second " +
      `at a lower latency. Bars: ${page.interval}.`
    : `Median, with a band: ${page.interval}.`;
  const told = measured ? ` ${lost.length} settings ran out of memory.` : " Crosses above: out of memory.";
  const gone = lost.length ? told : "";
  const noisy = ok.some((r) => r.noise) ? " Dotted rings: noisy." : "";
  return said + (theirs.length ? hollow : "") + gone + noisy + page.sampled;
}

function drawAxes({ svg, spec, x, y, top, bottom }, xTicks, yTicks) {
  const caption = (key, isLog) => about[key].caption + (isLog ? ", log scale" : "");
  for (const v of yTicks) {
    make("line", { x1: LEFT, x2: RIGHT, y1: y(v), y2: y(v), class: "grid" }, svg);
    make("text", { x: LEFT - 8, y: y(v) + 4, "text-anchor": "end" }, svg, tick(show(spec.y, v)));
  }
  make("line", { x1: LEFT, x2: RIGHT, y1: bottom, y2: bottom, class: "axis" }, svg);
  for (const v of xTicks) {
    make("line", { x1: x(v), x2: x(v), y1: bottom, y2: bottom + 4, class: "axis" }, svg);
    make("text", { x: x(v), y: bottom + 18, "text-anchor": "middle" }, svg, tick(show(spec.x, v)));
  }
  make("text", { x: (LEFT + RIGHT) / 2, y: bottom + 36, "text-anchor": "middle" }, svg, caption(spec.x, spec.measured));
  make("text", { x: LEFT + 6, y: top - 8 }, svg, caption(spec.y, true));
}

function drawLimit({ svg, x, x0, x1, top, bottom }) {
  if (!state.limit || state.limit >= x1) return;
  const at = x(Math.max(state.limit, x0));
  make("rect", { x: at, y: top, width: RIGHT - at, height: bottom - top, class: "beyond" }, svg);
  make("line", { x1: at, x2: at, y1: top, y2: bottom, class: "limit" }, svg);
  make("text", { x: at + 5, y: bottom - 8 }, svg, "over the limit");
}

function drawFront({ svg, x, y, spec }, ok) {
  const kept = [];
  for (const row of byKey(ok, spec.x)) if (!kept.length || row[spec.y] > kept.at(-1)[spec.y]) kept.push(row);
  const step = (r, i) => (i ? `${x(r[spec.x])} ${y(kept[i - 1][spec.y])}L` : "") + `${x(r[spec.x])} ${y(r[spec.y])}`;
  make("path", { d: `M${kept.map(step).join("L")}`, class: "front" }, svg);
}

function drawLane({ svg, x, spec }, lines, height) {
  make("rect", { x: LEFT, y: 4, width: RIGHT - LEFT, height, class: "lane" }, svg);
  make("text", { x: LEFT - 8, y: 8 + height / 2, "text-anchor": "end" }, svg, "OOM");
  lines.forEach((line, i) => line.rows.filter((r) => r.missing).forEach((row) => {
    const cx = x(row[spec.x]), cy = 12 + 9 * (i % 12);
    make("path", { d: `M${cx - 3.5} ${cy - 3.5}l7 7m0-7l-7 7`, class: "cross", color: line.color }, svg);
    points.push({ svg, x: cx, y: cy, row });
  }));
}

function drawLine({ svg, spec, x, y, at }, { rows: some, color, shape, dash, name, hollow }) {
  const g = make("g", { class: hollow ? "series published" : "series", color }, svg);
  const drawn = byKey(some.filter((r) => r.ok), spec.along), spread = drawn.filter((r) => known(r.latency_s_low));
  g.name = name;
  if (spec.measured) {
    for (const r of spread) {
      const [low, high] = [x(r[`${spec.x}_low`]), x(r[`${spec.x}_high`])];
      make("line", { x1: low, x2: high, y1: y(r[spec.y]), y2: y(r[spec.y]), class: "bar" }, g);
    }
  } else if (spread.length > 1) {
    const edge = (end) => spread.map((r) => `${x(r[spec.x])} ${y(r[`${spec.y}_${end}`])}`);
    make("path", { d: `M${[...edge("high"), ...edge("low").reverse()].join("L")}Z`, class: "band" }, g);
  }
  const stroke = { d: `M${drawn.map(at).join("L")}`, class: "line", "stroke-dasharray": DASHES[dash] };
  if (drawn.length > 1) make("path", stroke, g);
  for (const row of drawn) {
    const [cx, cy] = at(row), look = hollow || row.source === "sampled" ? "point hollow" : "point";
    make("path", { d: `M${cx} ${cy}${SHAPES[shape](4.4)}`, class: look }, g);
    if (row.noise) make("circle", { cx, cy, r: 9, class: "noisy" }, g);
    points.push({ svg, x: cx, y: cy, row });
  }
  return drawn.length ? at(drawn.at(-1)) : null;
}

// Hollow and dashed, in the colour of the measured line of the same name.
function publishedLines(spec, some, lines) {
  const curves = some.length ? linesOf(some, [spec.along], ["model", "framework", "hardware"]) : [];
  return curves.map((curve) => {
    const same = lines.find((line) => line.name === curve.name), name = same ? "" : curve.name || "published";
    return { ...curve, name, color: same?.color ?? "var(--muted)", shape: 2, dash: 3, hollow: true };
  });
}

// At the ends while they fit there; of more lines in a key below, whose names point out their line.
function nameLines({ svg, spec }, named) {
  if (named.length <= MOST_NAMES) {
    const heights = spread(named.map(({ end }) => end[1]), 15);
    named.forEach(({ line, end }, i) => {
      const place = { x: Math.min(end[0] + 11, RIGHT + 6), y: heights[i] + 4 };
      make("text", { ...place, class: "name", color: line.color }, svg, line.name);
    });
    return;
  }
  const key = make("div", { class: "key" }, $(spec.box)), drawn = [...svg.querySelectorAll(".series")];
  for (const { line } of named) {
    const button = make("button", { type: "button", color: line.color }, key);
    const mark = make("svg", { viewBox: "0 0 30 12" }, button);
    make("path", { d: "M1 6h28", class: "line", "stroke-dasharray": DASHES[line.dash], color: line.color }, mark);
    make("path", { d: `M15 6${SHAPES[line.shape](4.4)}`, class: "point", color: line.color }, mark);
    make("span", {}, button, line.name);
    const fade = (on) => () => drawn.forEach((g) => g.classList.toggle("faint", on && g.name !== line.name));
    button.onpointerenter = button.onfocus = fade(true);
    button.onpointerleave = button.onblur = fade(false);
  }
}

function namePoints({ svg, spec, at }, ok) {
  const leftmost = new Map(byKey(ok, spec.x).reverse().map((r) => [r[spec.along], r]));
  for (const r of leftmost.values()) {
    const [px, py] = at(r);
    make("text", { x: px - 7, y: py - 7, "text-anchor": "end" }, svg, show(spec.along, r[spec.along]));
  }
}
