// The table in the page is the data: read it once, then draw, filter, sort and search over it.
"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const table = $("results");
  const columns = [...table.tHead.rows[0].cells].map((th) => ({ key: th.dataset.k, kind: th.dataset.t, head: th.dataset.h }));
  const series = JSON.parse(table.dataset.series);
  const fixed = JSON.parse(table.dataset.fixed);
  const rows = [...table.tBodies[0].rows].map(read), rowOf = new Map(rows.map((row) => [row.tr, row]));
  const GRID = ["input_tokens", "output_tokens", "batch_size"];
  const LENGTHS = { input_tokens: "prompt length", output_tokens: "output length", batch_size: "batch size" };
  const HEAD = { ...fixed.heads, ...Object.fromEntries(columns.map((c) => [c.key, c.head])) };
  const state = { filters: {}, limit: null, x: "batch_size", sort: null, up: true, pinned: null };
  const published = JSON.parse(table.dataset.published).map((row) => ({ ...row, status: "published", tr: document.createElement("tr") }));
  let points = []; // every drawn point: where, and which row

  function read(tr) {
    const row = { tr, ...fixed.values };
    columns.forEach((column, i) => {
      const text = tr.cells[i].textContent.trim();
      row[column.key] = column.kind === "text" ? text : text === "" ? null : Number(text);
    });
    row.ok = row.status === "ok";
    row.missing = row.status === "oom" || row.status === "pruned";
    return row;
  }

  // Numbers as people read them; the same rules as bench/units.py.
  const three = (v) => (v === 0 ? "0" : v < 1000 && Number.isInteger(v) ? String(v) : v.toFixed(Math.max(0, 2 - Math.floor(Math.log10(Math.abs(v))))));
  const scaled = (v, steps) => { const [, by, unit] = steps.find(([limit]) => v < limit * 0.9995); return three(v / by) + unit; };
  const seconds = (v) => scaled(v, [[1e-3, 1e-6, " µs"], [1, 1e-3, " ms"], [120, 1, " s"], [7200, 60, " min"], [Infinity, 3600, " h"]]);
  const count = (v) => scaled(v, [[1e3, 1, ""], [1e6, 1e3, "k"], [1e9, 1e6, "M"], [Infinity, 1e9, "B"]]);
  const whole = (v) => v.toLocaleString("en");
  const SHOW = { seconds, count, whole, text: (v) => v };
  const show = (kind, v) => (v === null || v === "" || v === undefined ? "–" : SHOW[kind](v));
  const kindOf = Object.fromEntries(columns.map((c) => [c.key, c.kind]));
  const say = (key, v) => (typeof v === "number" ? `${HEAD[key]} ${whole(v)}` : v);

  const distinct = (key, from = rows) => [...new Set(from.map((r) => r[key]))].sort((a, b) => (a > b) - (a < b));
  const keeps = (r, among) => Object.entries(state.filters).every(([key, v]) => v === "" || String(r[key]) === v || !among.some((a) => String(a[key]) === v));
  const visible = () => rows.filter((r) => keeps(r, rows));
  const varying = (keys, from) => keys.filter((key) => distinct(key, from).length > 1);

  function make(name, attributes, parent, text) {
    const svg = ["svg", "g", "path", "line", "rect", "circle", "text"].includes(name);
    const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (key === "color") element.style.setProperty("--c", value);
      else element.setAttribute(key, value);
    }
    if (text !== undefined) element.textContent = text;
    if (parent) parent.append(element);
    return element;
  }

  // Filters

  function makeControls() {
    const keys = [...new Set([...series, "input_tokens", "output_tokens"])].filter((key) => distinct(key).length > 1);
    for (const key of keys) {
      const label = make("label", {}, $("controls"), `${LENGTHS[key] ?? HEAD[key]} `);
      const select = make("select", { name: key }, label);
      make("option", { value: "" }, select, "all");
      for (const value of distinct(key)) make("option", { value: String(value) }, select, typeof value === "number" ? whole(value) : value);
      select.value = state.filters[key] ?? "";
      select.onchange = () => { state.filters[key] = select.value; draw(); };
    }
    $("controls").onsubmit = (event) => event.preventDefault();
    const axes = GRID.filter((key) => distinct(key).length > 1);
    for (const key of axes.length ? axes : ["batch_size"]) make("option", { value: key }, $("against"), LENGTHS[key]);
    if (!axes.includes(state.x)) state.x = axes[0] ?? "batch_size";
    $("against").value = state.x;
    $("against").onchange = () => { state.x = $("against").value; draw(); };
  }

  // Curves of different lengths differ by what was asked, so the page opens on one pair of lengths: the longest that most settings reached.
  function startState() {
    const asked = new URLSearchParams(location.hash.slice(1));
    for (const key of ["input_tokens", "output_tokens"]) {
      const sizes = distinct(key).map((value) => [rows.filter((r) => r.ok && r[key] === value).length, value]);
      const enough = Math.max(...sizes.map(([size]) => size)) / 2;
      if (sizes.length > 1) state.filters[key] = String(sizes.findLast(([size]) => size >= enough)[1]);
    }
    for (const [key, value] of asked) {
      if (key === "limit") state.limit = Number(value) > 0 ? Number(value) : null;
      else if (key === "x" && GRID.includes(value)) state.x = value;
      else if (rows.some((r) => String(r[key]) === value) || value === "") state.filters[key] = value;
    }
  }

  function remember() {
    const pairs = new URLSearchParams({ ...state.filters, x: state.x });
    if (state.limit) pairs.set("limit", state.limit);
    try { history.replaceState(null, "", `#${pairs}`); } catch { /* some viewers forbid it; nothing depends on it */ }
  }

  // Charts

  const log = (low, high, from, to) => (v) => from + (Math.log(v / low) / Math.log(high / low)) * (to - from);

  function roundTicks(low, high) {
    const steps = Math.log10(high / low) < 2.2 ? [1, 2, 5] : [1];
    const found = [];
    for (let e = Math.floor(Math.log10(low)); e <= Math.ceil(Math.log10(high)); e++) for (const m of steps) found.push(m * 10 ** e);
    const inside = found.filter((v) => v >= low && v <= high);
    return inside.length < 2 ? evenTicks(low, high) : inside.filter((_, i) => i % Math.ceil(inside.length / 9) === 0);
  }

  function evenTicks(low, high) {
    const rough = (high - low) / 4, unit = 10 ** Math.floor(Math.log10(rough)), step = [1, 2, 5, 10].find((m) => m * unit >= rough) * unit;
    const found = [];
    for (let v = Math.ceil(low / step); v * step <= high; v++) found.push(Number((v * step).toPrecision(6)));
    return found;
  }

  function range(values, headroom) {
    const low = Math.min(...values), high = Math.max(...values), decades = Math.max(Math.log10(high / low), 0.25);
    return [low / 10 ** (0.07 * decades), high * 10 ** (headroom * decades)];
  }

  function spread(values, gap) {
    const order = values.map((_, i) => i).sort((a, b) => values[a] - values[b]);
    const placed = order.map((i) => values[i]);
    for (let pass = 0; pass < 50; pass++) for (let i = 1; i < placed.length; i++) {
      const short = gap - (placed[i] - placed[i - 1]);
      if (short > 0) { placed[i - 1] -= short / 2; placed[i] += short / 2; }
    }
    const result = [];
    order.forEach((i, k) => { result[i] = placed[k]; });
    return result;
  }

  function mark(parent, shape, x, y, color) {
    const r = 4.4;
    if (shape === 1) return make("rect", { x: x - r * 0.9, y: y - r * 0.9, width: r * 1.8, height: r * 1.8, class: "point", color }, parent);
    if (shape === 2) return make("path", { d: `M${x} ${y - r * 1.25}l${r * 1.25} ${r * 1.25}l${-r * 1.25} ${r * 1.25}l${-r * 1.25} ${-r * 1.25}z`, class: "point", color }, parent);
    if (shape === 3) return make("path", { d: `M${x} ${y - r * 1.2}l${r * 1.2} ${r * 2.2}h${-r * 2.4}z`, class: "point", color }, parent);
    return make("circle", { cx: x, cy: y, r, class: "point", color }, parent);
  }

  function linesOf(shown, except, told = series) {
    const keys = varying([...told, ...GRID].filter((key) => !except.includes(key)), shown);
    const groups = new Map();
    for (const row of shown) {
      const name = keys.map((key) => say(key, row[key])).join(" · ");
      if (!groups.has(name)) groups.set(name, []);
      groups.get(name).push(row);
    }
    const names = [...groups.keys()];
    const ordered = keys.length === 1 && typeof shown[0][keys[0]] === "number";
    const places = placesOf(names);
    const color = (i) => (ordered ? `var(--o${Math.round((i * 5) / Math.max(1, names.length - 1))})` : `var(--c${places[i] % 7})`);
    return names.map((name, i) => ({ name, rows: groups.get(name), color: color(i), shape: ordered ? 0 : places[i] % 4 }));
  }

  // A framework looks as it does in the charts, whoever else is there.
  function placesOf(names) {
    const own = ["hf", "deepspeed_tp", "pace"].map((framework) => names.findIndex((name) => name.split(" · ")[0] === framework));
    let free = -1;
    return names.map((_, i) => {
      if (own.includes(i)) return own.indexOf(i);
      do free++; while (own[free] >= 0);
      return free;
    });
  }

  function frame(box, label, W, H) {
    box.replaceChildren();
    const svg = make("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", tabindex: 0, "aria-label": label }, box);
    watch(svg);
    return svg;
  }

  function axes(svg, { x, y, xTicks, yTicks, xShow, yShow, left, right, top, bottom, caption, xCaption }) {
    for (const v of yTicks) {
      make("line", { x1: left, x2: right, y1: y(v), y2: y(v), class: "grid" }, svg);
      make("text", { x: left - 8, y: y(v) + 4, "text-anchor": "end" }, svg, yShow(v));
    }
    make("line", { x1: left, x2: right, y1: bottom, y2: bottom, class: "axis" }, svg);
    for (const v of xTicks) {
      make("line", { x1: x(v), x2: x(v), y1: bottom, y2: bottom + 4, class: "axis" }, svg);
      make("text", { x: x(v), y: bottom + 18, "text-anchor": "middle" }, svg, xShow(v));
    }
    make("text", { x: (left + right) / 2, y: bottom + 36, "text-anchor": "middle" }, svg, xCaption);
    make("text", { x: left + 6, y: top - 6 }, svg, caption);
  }

  function drawLine(svg, line, x, y, xKey, yKey) {
    const drawn = line.rows.filter((r) => r.ok);
    const at = drawn.map((r) => [x(r[xKey]), y(r[yKey])]);
    if (xKey === "latency_s") {
      for (const r of drawn) make("line", { x1: x(r.latency_s_low), x2: x(r.latency_s_high), y1: y(r[yKey]), y2: y(r[yKey]), class: "bar", color: line.color }, svg);
    } else if (drawn.length > 1) {
      const up = drawn.map((r) => `${x(r[xKey])} ${y(r.latency_s_high)}`), down = drawn.map((r) => `${x(r[xKey])} ${y(r.latency_s_low)}`).reverse();
      make("path", { d: `M${[...up, ...down].join("L")}Z`, class: "band", color: line.color }, svg);
    }
    if (at.length > 1) make("path", { d: `M${at.join("L")}`, class: "line", color: line.color }, svg);
    drawn.forEach((row, i) => {
      mark(svg, line.shape, ...at[i], line.color).classList.toggle("sampled", row.source === "sampled");
      if (row.noise) make("circle", { cx: at[i][0], cy: at[i][1], r: 9, class: "noisy" }, svg);
      points.push({ svg, x: at[i][0], y: at[i][1], row });
    });
    return at.at(-1);
  }

  // Published curves, hollow and dashed, in the colour of the measured line of the same name.
  function drawPublished(svg, some, lines, x, y, xKey, yKey, along, right) {
    if (!some.length) return;
    const curves = linesOf(some, [along], ["model", "framework", "hardware"]).map((curve) => ({ ...curve, rows: byKey(curve.rows, along) }));
    for (const curve of curves) curve.color = lines.find((line) => line.name === curve.name)?.color ?? "var(--muted)";
    const ends = curves.map(({ rows: along, color }) => {
      const at = along.map((r) => [x(r[xKey]), y(r[yKey])]);
      make("path", { d: `M${at.join("L")}`, class: "published", color }, svg);
      at.forEach(([cx, cy], i) => {
        make("path", { d: `M${cx} ${cy - 5.5}l5.5 5.5l-5.5 5.5l-5.5 -5.5z`, class: "published", color }, svg);
        points.push({ svg, x: cx, y: cy, row: along[i] });
      });
      return at.at(-1);
    });
    const own = curves.map((curve) => ({ ...curve, name: curve.name === "" ? "published" : lines.some((line) => line.name === curve.name) ? "" : curve.name }));
    nameLines(svg, own, ends, right);
  }

  function nameLines(svg, lines, ends, right) {
    const named = lines.map((line, i) => ({ line, end: ends[i] })).filter(({ line, end }) => end && line.name);
    if (!named.length || named.length > 16) return;
    const heights = spread(named.map(({ end }) => end[1]), 15);
    named.forEach(({ line, end }, i) => make("text", { x: Math.min(end[0] + 11, right), y: heights[i] + 4, class: "name", color: line.color }, svg, line.name));
  }

  function drawThroughput(shown) {
    const ok = shown.filter((r) => r.ok), W = 1112, H = 430, left = 70, right = W - 190, top = 24, bottom = H - 46;
    const svg = frame($("throughput"), "Latency of the whole batch against output tokens per second. Arrow keys walk through the points; the table below holds the same numbers.", W, H);
    if (!ok.length) return void make("text", { x: left, y: 60 }, svg, "Nothing was measured for this choice.");
    const theirs = published.filter((r) => keeps(r, published)), all = [...ok, ...theirs];
    const [x0, x1] = range(all.flatMap(whiskers), 0.05), [y0, y1] = range(all.map((r) => r.output_tok_s), 0.1);
    const x = log(x0, x1, left, right), y = log(y0, y1, bottom, top);
    if (state.limit && state.limit < x1) {
      const at = Math.max(left, x(Math.max(state.limit, x0)));
      make("rect", { x: at, y: top, width: right - at, height: bottom - top, class: "beyond" }, svg);
      make("line", { x1: at, x2: at, y1: top, y2: bottom, class: "limit" }, svg);
      const narrow = right - at < 100;
      make("text", { x: narrow ? at - 5 : at + 5, y: bottom - 8, "text-anchor": narrow ? "end" : "start" }, svg, narrow ? "within the limit" : "over the limit");
    }
    axes(svg, { x, y, xTicks: roundTicks(x0, x1), yTicks: roundTicks(y0, y1), xShow: seconds, yShow: count, left, right, top, bottom, caption: "Output tokens per second, log scale", xCaption: "Latency of the whole batch, log scale" });
    const best = front(ok);
    make("path", { d: `M${best.map((r, i) => (i ? `${x(r.latency_s)} ${y(best[i - 1].output_tok_s)}L` : "") + `${x(r.latency_s)} ${y(r.output_tok_s)}`).join("L")}`, class: "front" }, svg);
    const lines = linesOf(shown, ["batch_size"]);
    drawPublished(svg, theirs, lines, x, y, "latency_s", "output_tok_s", "batch_size", right + 6);
    nameLines(svg, lines, lines.map((line) => drawLine(svg, { ...line, rows: byKey(line.rows, "batch_size") }, x, y, "latency_s", "output_tok_s")), right + 6);
    const leftmost = new Map(byKey(ok, "latency_s").reverse().map((r) => [r.batch_size, r]));
    if (lines.length <= 3) for (const r of leftmost.values()) make("text", { x: x(r.latency_s) - 7, y: y(r.output_tok_s) - 7, "text-anchor": "end" }, svg, whole(r.batch_size));
    const lost = shown.filter((r) => r.missing).length;
    $("throughput-note").textContent = "Each line runs along the batch sizes" + (lines.length <= 3 ? ", which stand beside the left-most points" : "") + "; up and to the left is better. Dashed: the best of everything shown, nothing gives more tokens per second at a lower latency." + bars + (theirs.length ? HOLLOW : "") + (lost ? ` ${lost} settings ran out of memory.` : "");
  }

  function drawLatency(shown) {
    const ok = shown.filter((r) => r.ok), key = state.x, W = 1112, left = 70, right = W - 190;
    const lines = shown.length ? linesOf(shown, [key]) : [], lost = shown.filter((r) => r.missing);
    const lane = lost.length ? 10 + 9 * Math.min(lines.length, 12) : 0, top = 30 + lane, H = 400 + lane, bottom = H - 46;
    const theirs = published.filter((r) => keeps(r, published)), all = [...ok, ...theirs];
    const svg = frame($("latency"), `Latency of the whole batch against ${$("against").selectedOptions[0].text}. Arrow keys walk through the points; the table below holds the same numbers.`, W, H);
    if (!ok.length) return void make("text", { x: left, y: 60 }, svg, "Nothing was measured for this choice.");
    const tested = distinct(key, [...shown, ...theirs]), pad = Math.max((tested.at(-1) / tested[0]) ** 0.03, 1.05);
    const [y0, y1] = range(all.flatMap(whiskers), 0.1);
    const x = log(tested[0] / pad, tested.at(-1) * pad, left, right), y = log(y0, y1, bottom, top);
    const ticks = tested.filter((v, i) => i === 0 || i === tested.length - 1 || x(v) - x(tested[i - 1]) > 34);
    axes(svg, { x, y, xTicks: ticks, yTicks: roundTicks(y0, y1), xShow: whole, yShow: seconds, left, right, top, bottom, caption: "Latency of the whole batch, log scale", xCaption: key === "batch_size" ? "Batch size (sequences)" : `${LENGTHS[key][0].toUpperCase()}${LENGTHS[key].slice(1)} (tokens)` });
    if (lane) {
      make("rect", { x: left, y: 4, width: right - left, height: lane, class: "lane" }, svg);
      make("text", { x: left - 8, y: 8 + lane / 2, "text-anchor": "end" }, svg, "OOM");
    }
    drawPublished(svg, theirs, lines, x, y, key, "latency_s", key, right + 6);
    nameLines(svg, lines, lines.map((line, i) => {
      for (const row of line.rows.filter((r) => r.missing)) {
        const cx = x(row[key]), cy = 12 + 9 * (i % 12);
        make("path", { d: `M${cx - 3.5} ${cy - 3.5}l7 7m0-7l-7 7`, class: "cross", color: line.color }, svg);
        points.push({ svg, x: cx, y: cy, row });
      }
      return drawLine(svg, { ...line, rows: byKey(line.rows, key) }, x, y, key, "latency_s");
    }), right + 6);
    $("latency-note").textContent = `Median, with a band: ${interval}.` + (theirs.length ? HOLLOW : "") + (lost.length ? " Crosses above: out of memory." : "") + (ok.some((r) => r.noise) ? " Dotted rings: noisy." : "") + SAMPLED;
  }

  const interval = JSON.parse(table.dataset.interval), SAMPLED = JSON.parse(table.dataset.sampled), bars = ` Bars: ${interval}.`, HOLLOW = " Hollow and dashed: published by somebody else, not measured here.";
  const whiskers = (r) => (r.ok ? [r.latency_s_low, r.latency_s_high] : [r.latency_s]);
  const byKey = (some, key) => [...some].sort((a, b) => a[key] - b[key]);

  function front(ok) {
    const kept = [];
    for (const row of byKey(ok, "latency_s")) if (!kept.length || row.output_tok_s > kept.at(-1).output_tok_s) kept.push(row);
    return kept;
  }

  // The best setting under a latency limit

  function findBest(shown) {
    const ok = shown.filter((r) => r.ok), within = ok.filter((r) => state.limit && r.latency_s <= state.limit);
    $("best").hidden = !within.length;
    if (!state.limit) { $("answer").textContent = "Type a limit to see the highest throughput that keeps it, and its batch size."; return; }
    if (!within.length) { $("answer").textContent = ok.length ? `Nothing shown is that fast: the fastest takes ${seconds(Math.min(...ok.map((r) => r.latency_s)))}.` : "Nothing was measured for this choice."; return; }
    const keys = [...series, "input_tokens", "output_tokens"].filter((key) => distinct(key, shown).length > 1);
    const groups = new Map();
    for (const row of within) {
      const name = keys.map((key) => say(key, row[key])).join(" · ");
      if (!groups.has(name) || groups.get(name).output_tok_s < row.output_tok_s) groups.set(name, row);
    }
    const ranked = [...groups].sort((a, b) => b[1].output_tok_s - a[1].output_tok_s);
    const [name, best] = ranked[0];
    $("answer").textContent = `Best: ${name ? `${name}, ` : ""}batch ${best.batch_size}, ${count(best.output_tok_s)} output tokens per second at ${seconds(best.latency_s)}.`;
    const head = $("best").tHead, body = $("best").tBodies[0];
    head.replaceChildren(); body.replaceChildren();
    const top = make("tr", {}, head);
    for (const [text, number] of [["setting"], ["batch", 1], ["tok/s", 1], ["latency", 1]]) make("th", { scope: "col", class: number ? "number" : "" }, top, text);
    for (const [label, row] of ranked.slice(0, 50)) {
      const tr = make("tr", {}, body);
      make("td", {}, tr, label || "this setting");
      for (const text of [whole(row.batch_size), count(row.output_tok_s), seconds(row.latency_s)]) make("td", { class: "number" }, tr, text);
    }
  }

  // The table

  function makeTable() {
    [...table.tHead.rows[0].cells].forEach((th, i) => {
      const button = make("button", { type: "button" }, null, columns[i].head);
      th.replaceChildren(button);
      button.onclick = () => { state.up = state.sort === i ? !state.up : true; state.sort = i; sortTable(); };
    });
    table.tBodies[0].onpointerover = (event) => highlight(rowOf.get(event.target.closest("tr")), false);
    table.onpointerleave = () => highlight(state.pinned, false);
    $("csv").onclick = saveCsv;
  }

  // Only when it is first shown: of a large page most rows wait behind a filter.
  function write(row) {
    columns.forEach((column, i) => { if (column.kind !== "text") row.tr.cells[i].textContent = show(column.kind, row[column.key]); });
    if (!row.ok) row.tr.classList.add("bad");
    row.written = true;
  }

  function sortTable() {
    const { key } = columns[state.sort], sign = state.up ? 1 : -1, none = (v) => v === null || v === "";
    const sorted = [...rows].sort((a, b) => none(a[key]) - none(b[key]) || sign * ((a[key] > b[key]) - (a[key] < b[key])));
    table.tBodies[0].append(...sorted.map((r) => r.tr));
    [...table.tHead.rows[0].cells].forEach((th, i) => {
      th.setAttribute("aria-sort", i === state.sort ? (state.up ? "ascending" : "descending") : "none");
      th.firstChild.textContent = columns[i].head + (i === state.sort ? (state.up ? " ▲" : " ▼") : "");
    });
  }

  function saveCsv() {
    const keys = [...Object.keys(fixed.values), ...columns.map((c) => c.key)];
    // A cell that begins like a formula would run in a spreadsheet.
    const cell = (v) => { const t = String(v ?? ""); return `"${(typeof v === "string" && /^[=+\-@\t]/.test(t) ? `'${t}` : t).replaceAll('"', '""')}"`; };
    const text = [keys.join(","), ...visible().map((r) => keys.map((key) => cell(r[key])).join(","))].join("\r\n");
    const link = make("a", { href: URL.createObjectURL(new Blob([text], { type: "text/csv" })), download: "results.csv" });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  // Pointing at things

  function highlight(row, scroll) {
    for (const ring of document.querySelectorAll("svg .ring")) ring.remove();
    for (const tr of table.querySelectorAll("tr.on")) tr.classList.remove("on");
    if (!row) return;
    for (const point of points) if (point.row === row) make("circle", { cx: point.x, cy: point.y, r: 9, class: "ring" }, point.svg);
    row.tr.classList.add("on");
    if (scroll && row.tr.isConnected) { const box = table.parentElement; box.scrollTop = row.tr.offsetTop - box.clientHeight / 2; }
  }

  function tell(row, clientX, clientY) {
    const tip = $("tip"), list = make("dl", {});
    const facts = columns.filter((c) => row[c.key] !== undefined && row[c.key] !== null && row[c.key] !== "").map((c) => [c.head, show(c.kind, row[c.key])]);
    for (const [name, value] of facts) { make("dt", {}, list, name); make("dd", {}, list, value); }
    tip.replaceChildren(make("b", {}, null, row.ok || row.status === "published" ? seconds(row.latency_s) : row.missing ? "out of memory" : row.status), list);
    tip.hidden = false;
    tip.style.left = `${Math.max(8, Math.min(clientX + 16, innerWidth - tip.offsetWidth - 8))}px`;
    tip.style.top = `${Math.max(8, Math.min(clientY - tip.offsetHeight - 12, innerHeight - tip.offsetHeight - 8))}px`;
  }

  function leave() { $("tip").hidden = true; highlight(state.pinned, false); }

  function watch(svg) {
    let walked = -1;
    const nearest = (event) => {
      const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
      const near = points.filter((p) => p.svg === svg).map((p) => [Math.hypot(p.x - at.x, p.y - at.y), p]).sort((a, b) => a[0] - b[0])[0];
      return near && near[0] < 28 ? near[1] : null;
    };
    svg.onpointermove = (event) => { const p = nearest(event); if (p) { tell(p.row, event.clientX, event.clientY); highlight(p.row, false); } else leave(); };
    svg.onpointerleave = leave;
    svg.onclick = (event) => { const p = nearest(event); state.pinned = p ? p.row : null; highlight(state.pinned, true); };
    svg.onkeydown = (event) => {
      const mine = points.filter((p) => p.svg === svg), step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (event.key === "Escape") leave();
      if (!step || !mine.length) return;
      event.preventDefault();
      walked = (walked + step + mine.length) % mine.length;
      const p = mine[walked], at = new DOMPoint(p.x, p.y).matrixTransform(svg.getScreenCTM());
      tell(p.row, at.x, at.y);
      highlight(p.row, true);
    };
  }

  function draw() {
    points = [];
    const shown = visible(), kept = new Set(shown);
    drawThroughput(shown);
    drawLatency(shown);
    findBest(shown);
    for (const row of rows) {
      if (kept.has(row) && !row.written) write(row);
      row.tr.hidden = !kept.has(row);
    }
    $("count").textContent = `${shown.length} of ${rows.length} settings shown.`;
    remember();
  }

  for (const element of document.querySelectorAll(".scripted")) element.hidden = false;
  startState();
  makeControls();
  makeTable();
  if (state.limit) $("limit").value = state.limit;
  document.documentElement.classList.remove("waiting");
  $("limit").oninput = $("unit").onchange = () => { const v = Number($("limit").value) * Number($("unit").value); state.limit = v > 0 ? v : null; draw(); };
  draw();
})();
