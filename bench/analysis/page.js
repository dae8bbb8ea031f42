// The table in the page is the data: read it once, then draw, filter, sort and search over it. How anything is called
// and written, and its colour, comes from Python, so that page and pictures say the same.
const $ = (id) => document.getElementById(id);
const table = $("results"), page = JSON.parse(table.dataset.page), about = page.columns;
const heads = [...table.tHead.rows[0].cells], columns = heads.map((th) => th.dataset.k);
const words = {}; // words[column].get(value): as it is written, and said in a sentence
for (const key in about) words[key] = new Map((page.words[key] ?? []).map(([v, ...words]) => [v, words]));
const rows = [...table.tBodies[0].rows].map(read);
const published = page.published.map((row) => ({ ...row, ok: true }));
const LENGTHS = ["input_tokens", "output_tokens"];
const controls = $("controls"), filters = () => [...controls.querySelectorAll("select")];
const limit = () => Math.max($("limit").value * $("unit").value, 0); // in seconds; 0: none
const state = { sort: null, up: true, pinned: null };

function read(tr, i) {
  const row = { tr, ...page.fixed };
  columns.forEach((key, j) => {
    const text = tr.cells[j].textContent.trim();
    row[key] = key in page.values ? page.values[key][i] : text;
    if (!words[key].has(row[key])) words[key].set(row[key], [text, text]);
  });
  tr.row = row;
  return Object.assign(row, { ok: row.status === "ok", missing: ["oom", "pruned"].includes(row.status) });
}

const known = (v) => v !== null && v !== "" && v !== undefined;
const show = (key, v) => words[key].get(v)[0];
const say = (key, v) => words[key].get(v)[1];
const order = (a, b) => (a > b) - (a < b);
const distinct = (key, from = rows) => [...new Set(from.map((r) => r[key]))].sort(order);
const varying = (keys, from = rows) => keys.filter((key) => distinct(key, from).length > 1);
const byKey = (some, key) => [...some].sort((a, b) => a[key] - b[key]);
const has = (among, key, v) => among.some((row) => String(row[key]) === v);

// What nobody published (a framework of today) takes no published curve away.
function chosen(among) {
  const acting = filters().filter(({ name, value }) => value && has(among, name, value));
  return among.filter((row) => acting.every(({ name, value }) => String(row[name]) === value));
}

function make(name, attributes, parent, text) {
  const svg = ["svg", "g", "path", "line", "rect", "circle", "text"].includes(name);
  const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "color") element.style.setProperty("--c", value);
    else element.setAttribute(key, value);
  }
  if (text !== undefined) element.textContent = text;
  parent?.append(element);
  return element;
}

// The form is what was chosen: every filter that acts has its control there, and the address remembers it

function makeControls() {
  const asked = [...new URLSearchParams(location.hash.slice(1))], axes = varying(page.grid);
  const acting = asked.filter(([key, value]) => Object.hasOwn(about, key) && has(rows, key, value));
  for (const key of new Set([...varying([...page.series, ...LENGTHS]), ...acting.map(([key]) => key)])) {
    const select = make("select", { name: key }, make("label", {}, controls, `${about[key].word} `));
    make("option", { value: "" }, select, "all");
    for (const value of distinct(key)) make("option", { value }, select, show(key, value));
    if (LENGTHS.includes(key)) select.value = longest(key);
  }
  for (const key of axes.length ? axes : ["batch_size"]) make("option", { value: key }, $("against"), about[key].word);
  if (axes.includes("batch_size")) $("against").value = "batch_size";
  for (const [key, value] of asked) {
    const field = controls.elements.namedItem(key), options = field?.options;
    if (options ? [...options].some((option) => option.value === value) : field) field.value = value;
  }
  document.oninput = draw;
  controls.onsubmit = (event) => event.preventDefault();
}

// Curves of different lengths differ by what was asked, so the page opens on one pair of lengths: the longest that
// most settings reached.
function longest(key) {
  const sizes = distinct(key).map((value) => [rows.filter((r) => r.ok && r[key] === value).length, value]);
  const enough = Math.max(...sizes.map(([size]) => size)) / 2;
  return sizes.findLast(([size]) => size >= enough)[1];
}

// A chart along an axis shows all of it: until another is chosen, its filter waits.
function remember() {
  for (const select of filters()) {
    const waits = select.name === $("against").value;
    if (waits && !select.disabled) select.dataset.kept = select.value;
    if (waits !== select.disabled) select.value = waits ? "" : select.dataset.kept;
    select.disabled = waits;
  }
  const pairs = new URLSearchParams(new FormData(controls));
  for (const { name, disabled, dataset } of filters()) if (disabled) pairs.set(name, dataset.kept);
  try { history.replaceState(null, "", `#${pairs}`); } catch { /* some viewers forbid it; nothing depends on it */ }
}

// The best setting under a latency limit

function findBest(shown) {
  const within = (r) => r.ok && r.latency_s <= limit();
  const best = linesOf(shown, "batch_size")
    .map(({ name, rows: some }) => ({ name, row: byKey(some.filter(within), "output_tok_s").at(-1) }))
    .filter(({ row }) => row).sort((a, b) => b.row.output_tok_s - a.row.output_tok_s);
  $("best").hidden = !best.length;
  $("answer").textContent = answer(best[0], byKey(shown.filter((r) => r.ok), "latency_s")[0]);
  const told = [...$("best").querySelectorAll("[data-k]")].map((th) => th.dataset.k);
  $("best").tBodies[0].replaceChildren(...best.slice(0, 50).map(({ name, row }) => {
    const tr = make("tr", {});
    make("td", {}, tr, name || "this setting");
    for (const key of told) make("td", { class: "number" }, tr, show(key, row[key]));
    return tr;
  }));
}

function answer(best, fastest) {
  if (!limit()) return "Type a limit to see the highest throughput that keeps it, and its batch size.";
  if (!fastest) return "Nothing was measured for this choice.";
  if (!best) return `Nothing shown is that fast: the fastest takes ${show("latency_s", fastest.latency_s)}.`;
  const { name, row } = best, told = (key) => show(key, row[key]);
  const rate = `${told("output_tok_s")} output tokens per second at ${told("latency_s")}`;
  return `Best: ${name ? `${name}, ` : ""}batch ${told("batch_size")}, ${rate}.`;
}

// The table

function makeTable() {
  heads.forEach((th, i) => {
    const button = make("button", { type: "button" }, null, th.textContent);
    th.replaceChildren(button);
    button.onclick = () => { state.up = state.sort === i ? !state.up : true; state.sort = i; sortTable(); };
  });
  table.tBodies[0].onpointerover = (event) => highlight(event.target.closest("tr").row, false);
  table.onpointerleave = () => highlight(state.pinned, false);
  $("csv").onclick = saveCsv;
}

function sortTable() {
  const key = columns[state.sort], sign = state.up ? 1 : -1;
  const sorted = [...rows].sort((a, b) => known(b[key]) - known(a[key]) || sign * order(a[key], b[key]));
  table.tBodies[0].append(...sorted.map((r) => r.tr));
  for (const th of heads) th.ariaSort = "none";
  heads[state.sort].ariaSort = state.up ? "ascending" : "descending";
}

function saveCsv() {
  const keys = [...Object.keys(page.fixed), ...columns];
  // A cell that begins like a formula would run in a spreadsheet.
  const safe = (v) => (typeof v === "string" && /^[=+\-@\t]/.test(v) ? `'${v}` : String(v ?? ""));
  const line = (r) => keys.map((key) => `"${safe(r[key]).replaceAll('"', '""')}"`).join(",");
  const text = [keys.join(","), ...chosen(rows).map(line)].join("\r\n");
  const href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  make("a", { href, download: "results.csv" }).click();
  setTimeout(() => URL.revokeObjectURL(href), 1000);
}

// Pointing at things

function highlight(row, scroll) {
  table.querySelector(".on")?.classList.remove("on");
  row?.tr?.classList.add("on");
  for (const { marks, ring } of Object.values(charts)) {
    ring.setAttribute("d", marks.filter((mark) => mark.row === row).map(({ at }) => `M${at}${RING}`).join(""));
  }
  const box = table.parentElement;
  if (scroll && row?.tr) box.scrollTop = row.tr.offsetTop - box.clientHeight / 2;
}

function tell(row, clientX, clientY) {
  const tip = $("tip"), list = make("dl", {});
  columns.filter((key) => known(row[key])).forEach((key) => {
    make("dt", {}, list, about[key].head);
    make("dd", {}, list, show(key, row[key]));
  });
  const headline = row.ok ? show("latency_s", row.latency_s) : row.missing ? "out of memory" : row.status;
  tip.replaceChildren(make("b", {}, null, headline), list);
  tip.hidden = false;
  tip.style.left = `${Math.max(8, Math.min(clientX + 16, innerWidth - tip.offsetWidth - 8))}px`;
  tip.style.top = `${Math.max(8, Math.min(clientY - tip.offsetHeight - 12, innerHeight - tip.offsetHeight - 8))}px`;
}

function leave() { $("tip").hidden = true; highlight(state.pinned, false); }

function watch(svg, marks) {
  let walked = -1;
  const nearest = ({ clientX, clientY }) => {
    const { x, y } = new DOMPoint(clientX, clientY).matrixTransform(svg.getScreenCTM().inverse());
    const near = byKey(marks.map(({ row, at }) => ({ row, far: Math.hypot(at[0] - x, at[1] - y) })), "far")[0];
    return near?.far < 28 ? near.row : null;
  };
  svg.onpointermove = (event) => {
    const row = nearest(event);
    if (!row) return leave();
    tell(row, event.clientX, event.clientY);
    highlight(row, false);
  };
  svg.onpointerleave = leave;
  svg.onclick = (event) => { state.pinned = nearest(event); highlight(state.pinned, true); };
  svg.onkeydown = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (event.key === "Escape") leave();
    if (!step || !marks.length) return;
    event.preventDefault();
    walked = (walked + step + marks.length) % marks.length;
    const { row, at } = marks[walked], { x, y } = new DOMPoint(...at).matrixTransform(svg.getScreenCTM());
    tell(row, x, y);
    highlight(row, true);
  };
}

function draw() {
  remember();
  const shown = chosen(rows), kept = new Set(shown), lost = shown.filter((r) => r.missing).length;
  drawCharts($("throughput").clientWidth || 1112);
  findBest(shown);
  for (const row of rows) row.tr.hidden = !kept.has(row);
  $("count").textContent = `${shown.length} of ${rows.length} settings shown.`;
  $("lost").textContent = lost ? `${lost} settings ran out of memory.` : "";
}

function drawCharts(width) {
  const shown = chosen(rows), theirs = chosen(published);
  drawChart({ box: "throughput", x: "latency_s", y: "output_tok_s", along: "batch_size" }, shown, theirs, width);
  drawChart({ box: "latency", x: $("against").value, y: "latency_s", along: $("against").value }, shown, theirs, width);
}

for (const element of document.querySelectorAll(".scripted")) element.hidden = false;
makeControls();
makeTable();
onresize = onafterprint = draw;
onbeforeprint = () => drawCharts(820); // so that letters keep their size on paper
draw();
document.documentElement.classList.remove("waiting");
