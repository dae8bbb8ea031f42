// The table in the page is the data: read it once, then draw, filter, sort and search over it. What things are
// called, how they are shown and which colour they have comes from Python, so that page and pictures say the same.
const $ = (id) => document.getElementById(id);
const table = $("results"), page = JSON.parse(table.dataset.page);
const { series, grid } = page;
const heads = [...table.tHead.rows[0].cells];
const columns = heads.map((th) => page.columns.find((column) => column.key === th.dataset.k));
const about = Object.fromEntries(page.columns.map((column) => [column.key, column]));
const rows = [...table.tBodies[0].rows].map(read), rowOf = new Map(rows.map((row) => [row.tr, row]));
const published = page.published.map((row) => ({ ...row, ok: true, tr: document.createElement("tr") }));
const state = { filters: {}, limit: null, x: "batch_size", sort: null, up: true, pinned: null };
const MOST_NAMES = 16, W = 1112, LEFT = 70, RIGHT = W - 190;
let points = []; // every drawn point: where, and which row

function read(tr) {
  const row = { tr, ...page.fixed };
  columns.forEach((column, i) => {
    const text = tr.cells[i].textContent.trim();
    row[column.key] = !column.numeric ? text : text === "" ? null : Number(text);
  });
  row.ok = row.status === "ok";
  row.missing = row.status === "oom" || row.status === "pruned";
  return row;
}

// Numbers as people read them: the rules of bench/units.py

function three(v) {
  if (Number.isInteger(v) && Math.abs(v) < 1000) return String(v);
  const rounded = Number(v.toPrecision(3));
  return rounded.toFixed(Math.max(0, 2 - Math.floor(Math.log10(Math.abs(rounded)))));
}

function scaled(v, { steps, space }) {
  const [, divisor, unit] = steps.find(([limit]) => limit === null || v < limit * 0.9995);
  return three(v / divisor) + space + unit;
}

const seconds = (v) => (v === 0 ? "0 s" : scaled(v, page.units.seconds));
const count = (v) => scaled(v, page.units.count);
const whole = (v) => v.toLocaleString("en");
const SHOW = { seconds, count, whole };
const known = (v) => v !== null && v !== "" && v !== undefined;
const show = (key, v) => (known(v) ? (SHOW[about[key].kind] ?? String)(v) : "–");
const tick = (text) => text.replace(/(\.\d*?)0+(?=\D|$)/, "$1").replace(/\.(?=\D|$)/, "");

function say(key, v) {
  const { phrase } = about[key], said = phrase.replace("{}", show(key, v));
  return v === 1 && phrase.startsWith("{} ") ? said.replace(/s$/, "") : said;
}

const order = (a, b) => (a > b) - (a < b);
const distinct = (key, from = rows) => [...new Set(from.map((r) => r[key]))].sort(order);
const varying = (keys, from) => keys.filter((key) => distinct(key, from).length > 1);
const byKey = (some, key) => [...some].sort((a, b) => a[key] - b[key]);
const has = (among, key, v) => among.some((row) => String(row[key]) === v);
// A chart along an axis shows all of it. What nobody published (a framework of today, say) does not take the published
// curves away.
const keeps = (row, among) => Object.entries(state.filters)
  .every(([key, v]) => v === "" || key === state.x || String(row[key]) === v || !has(among, key, v));

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

// Filters: every one that acts has its control

// Curves of different lengths differ by what was asked, so the page opens on one pair of lengths: the longest that
// most settings reached.
function startState() {
  const axes = varying(grid, rows);
  for (const key of ["input_tokens", "output_tokens"]) {
    const sizes = distinct(key).map((value) => [rows.filter((r) => r.ok && r[key] === value).length, value]);
    const enough = Math.max(...sizes.map(([size]) => size)) / 2;
    if (sizes.length > 1) state.filters[key] = String(sizes.findLast(([size]) => size >= enough)[1]);
  }
  if (!axes.includes(state.x)) state.x = axes[0] ?? "batch_size";
  for (const [key, value] of new URLSearchParams(location.hash.slice(1))) {
    if (key === "limit") state.limit = Number(value) > 0 ? Number(value) : null;
    else if (key === "x") state.x = axes.includes(value) ? value : state.x;
    else if (about[key] && (value === "" || has(rows, key, value))) state.filters[key] = value;
  }
}

function makeControls() {
  const keys = new Set([...varying([...series, "input_tokens", "output_tokens"], rows), ...Object.keys(state.filters)]);
  for (const key of keys) {
    const label = make("label", {}, $("controls"), `${about[key].word} `);
    const select = make("select", { name: key }, label);
    make("option", { value: "" }, select, "all");
    for (const value of distinct(key)) make("option", { value: String(value) }, select, show(key, value));
    select.onchange = () => { state.filters[key] = select.value; draw(); };
  }
  $("controls").onsubmit = (event) => event.preventDefault();
  const axes = varying(grid, rows);
  for (const key of axes.length ? axes : [state.x]) make("option", { value: key }, $("against"), about[key].word);
  $("against").value = state.x;
  $("against").onchange = () => { state.x = $("against").value; draw(); };
}

function remember() {
  for (const select of $("controls").querySelectorAll("select")) {
    select.disabled = select.name === state.x;
    select.value = select.disabled ? "" : state.filters[select.name] ?? "";
  }
  const pairs = new URLSearchParams({ ...state.filters, x: state.x });
  if (state.limit) pairs.set("limit", state.limit);
  try { history.replaceState(null, "", `#${pairs}`); } catch { /* some viewers forbid it; nothing depends on it */ }
}

// The best setting under a latency limit

function findBest(shown) {
  const within = (r) => r.ok && state.limit && r.latency_s <= state.limit;
  const best = linesOf(shown, ["batch_size"])
    .map(({ name, rows: some }) => ({ name, row: byKey(some.filter(within), "output_tok_s").at(-1) }))
    .filter(({ row }) => row).sort((a, b) => b.row.output_tok_s - a.row.output_tok_s);
  $("best").hidden = !best.length;
  $("answer").textContent = answer(best[0], byKey(shown.filter((r) => r.ok), "latency_s")[0]);
  const told = [...$("best").tHead.querySelectorAll("[data-best]")].map((th) => th.dataset.best);
  $("best").tBodies[0].replaceChildren(...best.slice(0, 50).map(({ name, row }) => {
    const tr = make("tr", {});
    make("td", {}, tr, name || "this setting");
    for (const key of told) make("td", { class: "number" }, tr, show(key, row[key]));
    return tr;
  }));
}

function answer(best, fastest) {
  if (!state.limit) return "Type a limit to see the highest throughput that keeps it, and its batch size.";
  if (!fastest) return nothing;
  if (!best) return `Nothing shown is that fast: the fastest takes ${seconds(fastest.latency_s)}.`;
  const { name, row } = best, rate = `${count(row.output_tok_s)} output tokens per second at ${seconds(row.latency_s)}`;
  return `Best: ${name ? `${name}, ` : ""}batch ${row.batch_size}, ${rate}.`;
}

// The table

function makeTable() {
  heads.forEach((th, i) => {
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
  columns.forEach(({ key, numeric }, i) => { if (numeric) row.tr.cells[i].textContent = show(key, row[key]); });
  if (!row.ok) row.tr.classList.add("bad");
  row.written = true;
}

function sortTable() {
  const { key } = columns[state.sort], sign = state.up ? 1 : -1;
  const sorted = [...rows].sort((a, b) => known(b[key]) - known(a[key]) || sign * order(a[key], b[key]));
  table.tBodies[0].append(...sorted.map((r) => r.tr));
  heads.forEach((th, i) => {
    th.setAttribute("aria-sort", i === state.sort ? (state.up ? "ascending" : "descending") : "none");
    th.firstChild.textContent = columns[i].head + (i === state.sort ? (state.up ? " ▲" : " ▼") : "");
  });
}

function saveCsv() {
  const keys = [...Object.keys(page.fixed), ...columns.map((c) => c.key)];
  // A cell that begins like a formula would run in a spreadsheet.
  const safe = (v) => (typeof v === "string" && /^[=+\-@\t]/.test(v) ? `'${v}` : String(v ?? ""));
  const line = (r) => keys.map((key) => `"${safe(r[key]).replaceAll('"', '""')}"`).join(",");
  const text = [keys.join(","), ...rows.filter((r) => keeps(r, rows)).map(line)].join("\r\n");
  const href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  const link = make("a", { href, download: "results.csv" });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

// Pointing at things

function highlight(row, scroll) {
  for (const ring of document.querySelectorAll("svg .ring")) ring.remove();
  for (const tr of table.querySelectorAll("tr.on")) tr.classList.remove("on");
  if (!row) return;
  for (const { x, y, svg } of points.filter((p) => p.row === row)) {
    make("circle", { cx: x, cy: y, r: 9, class: "ring" }, svg);
  }
  row.tr.classList.add("on");
  const box = table.parentElement;
  if (scroll && row.tr.isConnected) box.scrollTop = row.tr.offsetTop - box.clientHeight / 2;
}

function tell(row, clientX, clientY) {
  const tip = $("tip"), list = make("dl", {});
  for (const { key, head } of columns) if (known(row[key])) {
    make("dt", {}, list, head);
    make("dd", {}, list, show(key, row[key]));
  }
  const headline = row.ok ? seconds(row.latency_s) : row.missing ? "out of memory" : row.status;
  tip.replaceChildren(make("b", {}, null, headline), list);
  tip.hidden = false;
  tip.style.left = `${Math.max(8, Math.min(clientX + 16, innerWidth - tip.offsetWidth - 8))}px`;
  tip.style.top = `${Math.max(8, Math.min(clientY - tip.offsetHeight - 12, innerHeight - tip.offsetHeight - 8))}px`;
}

function leave() { $("tip").hidden = true; highlight(state.pinned, false); }

function watch(svg) {
  let walked = -1;
  const mine = () => points.filter((p) => p.svg === svg);
  const nearest = (event) => {
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    const near = mine().map((p) => [Math.hypot(p.x - at.x, p.y - at.y), p]).sort((a, b) => a[0] - b[0])[0];
    return near && near[0] < 28 ? near[1] : null;
  };
  svg.onpointermove = (event) => {
    const p = nearest(event);
    if (!p) return leave();
    tell(p.row, event.clientX, event.clientY);
    highlight(p.row, false);
  };
  svg.onpointerleave = leave;
  svg.onclick = (event) => { state.pinned = nearest(event)?.row ?? null; highlight(state.pinned, true); };
  svg.onkeydown = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key], all = mine();
    if (event.key === "Escape") leave();
    if (!step || !all.length) return;
    event.preventDefault();
    walked = (walked + step + all.length) % all.length;
    const p = all[walked], at = new DOMPoint(p.x, p.y).matrixTransform(svg.getScreenCTM());
    tell(p.row, at.x, at.y);
    highlight(p.row, true);
  };
}

function draw() {
  points = [];
  const shown = rows.filter((r) => keeps(r, rows)), kept = new Set(shown);
  drawChart({ box: "throughput", x: "latency_s", y: "output_tok_s", along: "batch_size", measured: true }, shown);
  drawChart({ box: "latency", x: state.x, y: "latency_s", along: state.x, measured: false }, shown);
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
$("limit").oninput = $("unit").onchange = () => {
  const limit = Number($("limit").value) * Number($("unit").value);
  state.limit = limit > 0 ? limit : null;
  draw();
};
draw();
