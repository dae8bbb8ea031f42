// How lines are named, coloured and drawn; page.js calls drawChart.

const LEFT = 60, HEIGHT = 354, LANE = 9, MOST_LANES = 12, FURTHEST = 30, MOST_SPREADS = 6, NARROW = 640;
const DASHES = ["none", "10 3", "10 3 2 3", "5 4"];
const SHAPES = [
  (r) => `m${-r} 0a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0z`,
  (r) => `m${-r * 0.9} ${-r * 0.9}h${r * 1.8}v${r * 1.8}h${-r * 1.8}z`,
  (r) => `m0 ${-r * 1.25}l${r * 1.25} ${r * 1.25}l${-r * 1.25} ${r * 1.25}l${-r * 1.25} ${-r * 1.25}z`,
  (r) => `m0 ${-r * 1.2}l${r * 1.2} ${r * 2.2}h${-r * 2.4}z`,
];
const RING = SHAPES[0](9), CROSS = "m-3.5 -3.5l7 7m0 -7l-7 7";
const charts = {}; // by the box that they are in

// Lines

function linesOf(shown, along, told = page.series) {
  const keys = varying([...told, ...page.grid].filter((key) => key !== along), shown);
  const sorted = [...shown].sort((a, b) => keys.reduce((so, key) => so || order(a[key], b[key]), 0));
  const name = (row) => keys.filter((key) => known(row[key])).map((key) => say(key, row[key])).join(" · ");
  const groups = Map.groupBy(sorted, name);
  const looks = keys.length === 1 && keys[0] in page.values ? orderedLooks(groups.size)
    : unorderedLooks([...groups.values()].map(([row]) => (keys.includes("framework") ? row.framework : null)));
  return [...groups].map(([name, some], i) => ({ name, rows: byKey(some, along), ...looks[i] }));
}

function orderedLooks(count) {
  const darkest = page.ordered.length - 1, at = (i) => (count > 1 ? Math.round((i * darkest) / (count - 1)) : darkest);
  return Array.from({ length: count }, (_, i) => ({ color: page.ordered[at(i)], shape: 0, dash: 0 }));
}

// A framework looks as it does in the pictures, whoever else is there; of several lines of one, the first does.
function unorderedLooks(frameworks) {
  const taken = new Set(), n = page.colors.length;
  const own = frameworks.map((framework, i) => {
    const place = page.places[framework];
    if (place === undefined || taken.has(place) || frameworks.indexOf(framework) < i) return null;
    taken.add(place);
    return place;
  });
  const free = [...Array(n + frameworks.length).keys()].filter((place) => !taken.has(place));
  const look = (i) => ({ color: page.colors[i % n], shape: i % SHAPES.length, dash: Math.floor(i / n) % 3 });
  return own.map((place) => look(place ?? free.shift()));
}

// Hollow and dashed, in the colour of the measured line of the same name.
function publishedLines(some, along, lines) {
  return linesOf(some, along, ["model", "framework", "hardware"]).map((curve) => {
    const same = lines.find((line) => line.name === curve.name);
    const name = same ? "" : curve.name || "published", color = same?.color ?? "var(--muted)";
    return { ...curve, name, color, shape: 2, dash: 3, hollow: true };
  });
}

// Axes

// At least a factor of two: a smaller difference is not blown up.
function logAxis(values, from, to, headroom) {
  const low = Math.min(...values), high = Math.max(...values), decades = Math.max(Math.log10(high / low), 0.3);
  const bare = (decades - Math.log10(high / low)) / 2;
  return axis(low / 10 ** (0.07 * decades + bare), high * 10 ** (headroom * decades + bare), from, to);
}

function axis(low, high, from, to) {
  const place = (v) => from + (Math.log(v / low) / Math.log(high / low)) * (to - from);
  return Object.assign(place, { low, high });
}

// The finest round values that leave room for each other's labels.
function ticks(key, { low, high }, most) {
  const inside = page.ticks[key].filter(([v]) => v >= low && v <= high);
  const steps = [2, 1, 0].map((finest) => inside.filter(([, , roundness]) => roundness <= finest));
  return steps.find((some) => some.length <= most) ?? steps.at(-1);
}

function testedTicks(key, tested, x) {
  const apart = tested.reduceRight((kept, v) => (kept.length && x(kept[0]) - x(v) < 34 ? kept : [v, ...kept]), []);
  return apart.map((v) => [v, show(key, v)]);
}

// Charts

// spec: box, x, y, along: what orders a line's points; where x is something else, it is measured.
function drawChart({ box, x: xKey, y: yKey, along }, shown, theirs, width) {
  const measured = xKey !== along, ok = shown.filter((r) => r.ok), lost = shown.filter((r) => r.missing && !measured);
  const lines = linesOf(shown, along), all = [...lines, ...publishedLines(theirs, along, lines)];
  const top = lost.length ? 40 + LANE * Math.min(lines.length, MOST_LANES) : 30;
  const bottom = top + (ok.length ? HEIGHT : 0);
  const what = `${about[yKey].caption} against ${about[xKey].caption}`;
  const label = `${what}. Arrow keys walk through the points; the table holds the numbers.`;
  const svg = make("svg", { viewBox: `0 0 ${width} ${bottom + 46}`, role: "img", tabindex: 0, "aria-label": label });
  svg.classList.toggle("many", all.length > MOST_SPREADS);
  $(box).replaceChildren(svg);
  const marks = []; // where each row is drawn
  watch(svg, marks);
  if (!ok.length) return void make("text", { x: LEFT, y: 40 }, svg, "Nothing was measured for this choice.");
  const everything = [...ok, ...theirs];
  const ends = (key) => everything.flatMap((r) => [r[key], r[`${key}_low`], r[`${key}_high`]].filter(known));
  const y = logAxis(ends(yKey), bottom, top, 0.1);
  const named = all.filter(({ name, rows: some }) => name && some.some((r) => r.ok));
  const inPlace = named.map((line) => y(line.rows.findLast((r) => r.ok)[yKey])), heights = spread(inPlace, 15);
  const inKey = width < NARROW || heights.some((height, i) => Math.abs(height - inPlace[i]) > FURTHEST);
  const longest = Math.max(0, ...named.map(({ name }) => name.length));
  const right = width - (inKey ? 12 : Math.min(24 + 7.2 * longest, width / 3));
  const tested = distinct(xKey, [...shown, ...theirs]), pad = Math.max((tested.at(-1) / tested[0]) ** 0.03, 1.05);
  const x = measured ? logAxis(ends(xKey), LEFT, right, 0.05) : axis(tested[0] / pad, tested.at(-1) * pad, LEFT, right);
  const at = (r) => [x(r[xKey]), y(r[yKey])];
  const chart = { svg, box, marks, xKey, yKey, measured, x, y, at, right, top, bottom };
  if (measured) drawLimit(chart);
  drawAxes(chart, measured ? ticks(xKey, x, (right - LEFT) / 60) : testedTicks(xKey, tested, x), ticks(yKey, y, 9));
  if (measured) drawFront(chart, ok);
  if (lost.length) drawLane(chart, lines);
  for (const line of all) drawLine(chart, line);
  if (inKey) nameInKey(chart, named);
  else nameAtEnds(chart, named, heights, all.map(({ end }) => end));
  if (measured && lines.length <= 3) namePoints(chart, ok, along);
  charts[box] = { marks, ring: make("path", { class: "ring" }, svg) };
}

function drawAxes({ svg, xKey, yKey, measured, x, y, right, top, bottom }, xTicks, yTicks) {
  const caption = (key, isLog) => about[key].caption + (isLog ? ", log scale" : "");
  for (const [v, text] of yTicks) {
    make("line", { x1: LEFT, x2: right, y1: y(v), y2: y(v), class: "grid" }, svg);
    make("text", { x: LEFT - 8, y: y(v) + 4, "text-anchor": "end" }, svg, text);
  }
  make("line", { x1: LEFT, x2: right, y1: bottom, y2: bottom, class: "axis" }, svg);
  for (const [v, text] of xTicks) {
    make("line", { x1: x(v), x2: x(v), y1: bottom, y2: bottom + 4, class: "axis" }, svg);
    make("text", { x: x(v), y: bottom + 18, "text-anchor": "middle" }, svg, text);
  }
  make("text", { x: (LEFT + right) / 2, y: bottom + 36, "text-anchor": "middle" }, svg, caption(xKey, measured));
  make("text", { x: LEFT, y: top - 8 }, svg, caption(yKey, true));
}

function drawLimit({ svg, x, right, top, bottom }) {
  if (!limit() || limit() >= x.high) return;
  const at = x(Math.max(limit(), x.low));
  make("rect", { x: at, y: top, width: right - at, height: bottom - top, class: "beyond" }, svg);
  make("line", { x1: at, x2: at, y1: top, y2: bottom, class: "limit" }, svg);
  make("text", { x: at + 5, y: bottom - 8 }, svg, "over the limit");
}

function drawFront({ svg, xKey, yKey, at }, ok) {
  const kept = [];
  for (const row of byKey(ok, xKey)) if (!kept.length || row[yKey] > kept.at(-1)[yKey]) kept.push(row);
  const steps = kept.map(at).map(([px, py], i) => (i ? `H${px}V${py}` : `M${px} ${py}`));
  make("path", { d: steps.join(""), class: "front" }, svg);
}

function drawLane({ svg, marks, xKey, x, right, top }, lines) {
  const height = top - 30;
  make("rect", { x: LEFT, y: 4, width: right - LEFT, height, class: "lane" }, svg);
  make("text", { x: LEFT - 8, y: 8 + height / 2, "text-anchor": "end" }, svg, "OOM");
  lines.forEach((line, i) => {
    const lost = line.rows.filter((r) => r.missing), cy = 12 + LANE * (i % MOST_LANES);
    const crosses = lost.map((row) => ({ row, at: [x(row[xKey]), cy] }));
    drawAll("cross", crosses, CROSS, make("g", { color: line.color }, svg));
    marks.push(...crosses);
  });
}

function drawLine({ svg, marks, xKey, yKey, measured, x, y, at }, line) {
  const g = make("g", { class: line.hollow ? "series published" : "series", color: line.color }, svg);
  const drawn = line.rows.filter((r) => r.ok), spread = drawn.filter((r) => known(r.latency_s_low));
  const points = drawn.map((row) => ({ row, at: at(row) })), path = points.map((point) => point.at).join("L");
  Object.assign(line, { g, end: at(drawn.at(-1) ?? {}) });
  if (measured) {
    const bar = (r) => `M${x(r[`${xKey}_low`])} ${y(r[yKey])}H${x(r[`${xKey}_high`])}`;
    make("path", { d: spread.map(bar).join(""), class: "bar" }, g);
  } else if (spread.length > 1) {
    const edge = (end) => spread.map((r) => [x(r[xKey]), y(r[`${yKey}_${end}`])]);
    make("path", { d: `M${[...edge("high"), ...edge("low").reverse()].join("L")}Z`, class: "band" }, g);
  }
  if (drawn.length > 1) make("path", { d: `M${path}`, class: "line", "stroke-dasharray": DASHES[line.dash] }, g);
  const isHollow = ({ row }) => line.hollow || row.source === "sampled", shape = SHAPES[line.shape](4.4);
  drawAll("point", points.filter((point) => !isHollow(point)), shape, g);
  drawAll("point hollow", points.filter(isHollow), shape, g);
  drawAll("noisy", points.filter(({ row }) => row.noise), RING, g);
  marks.push(...points);
}

// One path for all of them: with an element for each, a page would take far longer to open.
function drawAll(look, marks, shape, parent) {
  if (marks.length) make("path", { class: look, d: marks.map(({ at }) => `M${at}${shape}`).join("") }, parent);
}

// Names: at the ends of their lines if each fits near its own, else in a key below. Pointing at one fades the others.

// Right of whatever ends close by on the same height.
function nameAtEnds({ svg }, named, heights, ends) {
  named.forEach((line, i) => {
    const [x] = line.end, isNear = (end) => Math.abs(end[1] - heights[i]) < 12 && end[0] >= x && end[0] < x + 90;
    const place = { x: Math.max(x, ...ends.filter(isNear).map((end) => end[0])) + 11, y: heights[i] + 4 };
    pointOut(make("text", { ...place, class: "name", color: line.color }, svg, line.name), line, svg);
  });
}

function spread(values, gap) {
  const places = values.map((_, i) => i).sort((a, b) => values[a] - values[b]), placed = places.map((i) => values[i]);
  for (let pass = 0; pass < 50; pass++) for (let i = 1; i < placed.length; i++) {
    const short = gap - (placed[i] - placed[i - 1]);
    if (short > 0) { placed[i - 1] -= short / 2; placed[i] += short / 2; }
  }
  return values.map((_, i) => placed[places.indexOf(i)]);
}

function nameInKey({ svg, box }, named) {
  const key = make("div", { class: "key" }, $(box));
  for (const line of named) {
    const button = make("button", { type: "button", color: line.color }, key);
    const mark = make("svg", { viewBox: "0 0 30 12" }, button);
    make("path", { d: "M1 6h28", class: "line", "stroke-dasharray": DASHES[line.dash] }, mark);
    make("path", { d: `M15 6${SHAPES[line.shape](4.4)}`, class: "point" }, mark);
    make("span", {}, button, line.name);
    pointOut(button, line, svg);
  }
}

function pointOut(name, { g }, svg) {
  const fade = (on) => () => {
    for (const other of svg.querySelectorAll(".series")) other.classList.toggle("faint", on && other !== g);
  };
  name.onpointerenter = name.onfocus = fade(true);
  name.onpointerleave = name.onblur = fade(false);
}

function namePoints({ svg, xKey, at }, ok, along) {
  const leftmost = new Map(byKey(ok, xKey).reverse().map((r) => [r[along], r]));
  for (const [v, r] of leftmost) {
    const [px, py] = at(r);
    make("text", { x: px - 7, y: py - 7, "text-anchor": "end" }, svg, show(along, v));
  }
}
