"use strict";
// Whatever a stranger wrote reaches the page as text only: through `textContent`, or escaped for plotly's own markup.
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8A6FD1", "#A0522D"];
const ON_DARK = ["#4FA8E8", "#FF8A42", "#2FC79A", "#E39AC2", "#F0B429", "#A5D8F5", "#B3A0EE", "#D08A5C"];
const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "x", "star"];
const DRAWN = 15;
const NARROW = 4; // columns that a phone has room for
const state = { board: null, columns: [], budget: "", axis: "params", hidden: new Set(), sort: "value", down: false, open: new Set(), words: "" };

function el(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== null && value !== false) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

const has = (value) => typeof value === "number" && Number.isFinite(value);
const superscript = (power) => String(power).replace(/[-0-9]/g, (c) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(c)]);
function count(value) {
  if (!has(value)) return "–";
  if (value < 1e4) return String(Math.round(value));
  const power = Math.floor(Math.log10(value) + 1e-9);
  const factor = (value / 10 ** power).toFixed(1).replace(/\.0$/, "");
  return (factor === "1" ? "" : factor + "×") + "10" + superscript(power);
}
const number = (value, digits) => (has(value) ? Number(value.toPrecision(digits)).toLocaleString("en-US", { maximumFractionDigits: 6 }) : "–");
const loss = (value) => (has(value) ? (state.board.data === "tokens" && value < 100 ? value.toFixed(4) : number(value, 3)) : "–");
const escaped = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
const unit = (metric) => metric.replace(/^(val|test)\//, "").replace(/_/g, " ").replace("mev", "meV").replace("per angstrom", "/ Å").replace("mae", "MAE");

// -- numbers of a row -----------------------------------------------------------------------------------------------

const reached = (row) => row.reached[state.budget];
function cost(row, column) {
  const best = reached(row);
  if (!best || !row.points.length) return NaN;
  const [, , , , size] = best;
  const values = row.points.filter((p) => String(p[1]) === state.budget && p[0] === size).map((p) => p[column]).filter(has);
  return values.length ? values.reduce((a, b) => a + b, 0) / values.length : NaN;
}
const COLUMNS = [
  { id: "value", title: "rank", head: () => "#", value: (r) => r.rank[state.budget], show: (r) => r.rank[state.budget] ?? "–", number: true },
  { id: "name", head: () => "model", value: (r) => (r.model + " " + r.submitter).toLowerCase() },
  { id: "loss", head: () => unit(state.board.metric), value: (r) => reached(r)?.[0], number: true, show: (r) => interval(loss(reached(r)?.[0]), reached(r)?.[1], reached(r)?.[2], loss) },
  { id: "level", head: () => "level", value: (r) => r.level, show: (r) => el("span", { class: "level " + r.level, title: r.why || null }, r.level) },
  { id: "seeds", head: () => "seeds", value: (r) => (reached(r) && r.points.length ? reached(r)[3] : NaN), number: true },
  { id: "size", head: () => "best size", value: (r) => reached(r)?.[4], number: true, show: (r) => count(reached(r)?.[4]) },
  { id: "differs", head: () => "p, next rank", value: (r) => r.differs[state.budget], number: true, show: (r) => number(r.differs[state.budget], 2) },
  { id: "exponent", head: () => "exponent, size", value: (r) => r.params_exponent[0], number: true, show: (r) => estimate(r.params_exponent) },
  { id: "data", head: () => "exponent, data", value: (r) => r.data_exponent[0], number: true, show: (r) => estimate(r.data_exponent) },
  { id: "predicted", head: () => "predicted at " + count(state.board.flops) + " FLOPs", value: (r) => (r.predicted[3] ? NaN : r.predicted[0]), there: (r) => r.predicted[0], number: true, show: (r) => estimate(r.predicted, loss) },
  { id: "flops", head: () => "FLOPs", value: (r) => cost(r, 3), number: true, show: (r) => count(cost(r, 3)) },
  { id: "hours", head: () => "device-hours", value: (r) => cost(r, 5) / 3600, number: true, show: (r) => number(cost(r, 5) / 3600, 2) },
  { id: "energy", head: () => "energy, kJ", value: (r) => cost(r, 4), number: true, show: (r) => number(cost(r, 4), 3) },
  { id: "device", head: () => "device", value: (r) => r.device },
];
function interval(text, low, high, format) {
  const cell = el("span", {}, text);
  if (has(low)) cell.append(" ", el("span", { class: "interval" }, "[" + format(low) + ", " + (has(high) ? format(high) : "no upper bound") + "]"));
  return cell;
}
function estimate([value, low, high, reason], format = (v) => v.toFixed(3)) {
  if (!has(value)) return el("span", { title: reason || null }, "–");
  const cell = interval(format(value), low, high, format);
  if (reason) cell.append(el("span", { class: "far", title: reason }, "far beyond its runs"));
  return cell;
}

// -- the table ------------------------------------------------------------------------------------------------------

function shownRows() {
  const column = COLUMNS.find((c) => c.id === state.sort);
  const words = state.words.toLowerCase().split(/\s+/).filter(Boolean);
  const rows = state.board.rows.filter((row) => words.every((word) => row.text.includes(word)));
  const missing = (value) => value === undefined || value === null || value === "" || Number.isNaN(value);
  const sign = state.down ? -1 : 1;
  return rows.sort((a, b) => {
    const [x, y] = [column.value(a), column.value(b)];
    const byRank = (a.rank[state.budget] ?? 1e9) - (b.rank[state.budget] ?? 1e9);
    if (missing(x) || missing(y)) return missing(x) - missing(y) || byRank;
    return sign * (x < y ? -1 : x > y ? 1 : 0) || byRank;
  });
}
function drawTable() {
  // A column that is empty for every study only pushes the others out of sight.
  state.columns = COLUMNS.filter((column) => !column.number || state.board.rows.some((row) => has((column.there ?? column.value)(row))));
  const head = el("tr");
  for (const column of state.columns) {
    const sorted = state.sort === column.id ? (state.down ? "descending" : "ascending") : null;
    const sort = () => {
      state.down = state.sort === column.id ? !state.down : false;
      state.sort = column.id;
      drawTable();
      byId("board").querySelector(`[data-column="${column.id}"] button`).focus();
    };
    const kind = column.id === "name" ? "name" : column.number ? "number" : null;
    head.append(el("th", { scope: "col", class: kind, "aria-sort": sorted, "data-column": column.id }, el("button", { type: "button", onclick: sort }, column.head())));
  }
  byId("board").tHead.replaceChildren(head);
  const rows = shownRows();
  byId("board").tBodies[0].replaceChildren(...rows.flatMap((row) => (state.open.has(row) ? [studyRow(row), moreRow(row)] : [studyRow(row)])));
  const best = state.board.rows.filter((row) => has(row.rank[state.budget])).length;
  byId("about").textContent =
    `${best} of ${state.board.rows.length} studies ${best === 1 ? "has" : "have"} a result at ${Number(state.budget).toLocaleString("en-US")} ${state.board.data}` +
    (state.board.data === "tokens" ? " of training." : " in the training set.") +
    " Each stands with its best size there, the mean over its seeds. " + state.board.note;
  if (!state.board.rows.some((row) => row.points.length))
    byId("about").textContent = `Nobody has measured this yet${best ? "; what stands here is published" : ""}. Be the first: chemscale study --task ${state.board.task.replace("@", state.board.data === "tokens" ? " --data " : " --molecule ")} --hours 2, then chemscale submit.`;
  byId("legend").textContent =
    `Brackets are ${Math.round(100 * state.board.level)} % intervals: of the mean by Student's t over the seeds of all sizes within a decade, of laws by bootstrap. ` +
    "p: chance of so large a difference to the next rank without a true one (Welch's t-test). " +
    "Exponents are those of pure power laws, where the other resource is largest. The predicted loss is that of the best size and data for this compute, by the law of the study; one that is marked lies far beyond its runs and is not ranked; no upper bound: its runs tell none, since the interval reaches beyond the worst of them. Cost is that of one run of the best size; device-hours count every GPU, or the processor. A dash stands for what cannot be told; the pointer over it, or the details, say why.";
  return rows;
}
function studyRow(row) {
  const open = state.open.has(row);
  const toggle = () => {
    open ? state.open.delete(row) : state.open.add(row);
    drawTable();
    byId("board").querySelector(`[data-row="${row.index}"] button`).focus();
  };
  const line = el("tr", { class: "study", "data-row": row.index });
  for (const column of state.columns) {
    if (column.id === "name") {
      const button = el("button", { type: "button", "aria-expanded": String(open), onclick: toggle }, row.model);
      line.append(el("th", { scope: "row", class: "name" }, button, el("span", { class: "by" }, row.submitter)));
    } else {
      line.append(el("td", { class: column.number ? "number" : null, "data-head": column.head() }, column.show ? column.show(row) : shownValue(column.value(row))));
    }
  }
  return line;
}
const shownValue = (value) => (value === undefined || value === "" || Number.isNaN(value) ? "–" : String(value));
function link(address) {
  return address.startsWith("https://") ? el("a", { href: address, rel: "noopener nofollow" }, address) : address;
}
function moreRow(row) {
  const list = el("dl");
  const add = (name, value) => value && list.append(el("dt", {}, name), el("dd", {}, value));
  add("what", { entry: "entry ", experiment: "your experiment ", published: "" }[row.kind] + row.name);
  add("date", row.date);
  add("note", row.note);
  add("more", row.link && link(row.link));
  add("level", row.level + (row.why ? `; not further: ${row.why}` : ""));
  for (const [name, what] of [["exponent, size", row.params_exponent], ["exponent, data", row.data_exponent], ["prediction", row.predicted]])
    if (row.points.length) add(name, what[3]);
  add("forecast", row.foretold);
  add("software", row.software);
  add("settings", row.settings);
  const inside = el("div", { class: "inside" }, list);
  if (row.runs.length) {
    const head = ["run", "parameters", "seed", state.board.data + " seen", "seconds", "MFU", "kJ", "GPUs", "arithmetic", "code"];
    const body = row.runs.map(([run, size, seed, units, seconds, mfu, energy, gpus, arithmetic, code]) =>
      [run.slice(0, 10), count(size), seed, count(units), number(seconds, 4), has(mfu) ? (100 * mfu).toFixed(1) + " %" : "–", number(energy, 4), gpus, arithmetic, code]);
    inside.append(plainTable(head, body));
  }
  return el("tr", { class: "more" }, el("td", { colspan: state.columns.length }, inside));
}
function plainTable(head, body) {
  const numeric = head.map((_, i) => body.some((cells) => typeof cells[i] === "number"));
  const line = (cells, tag) => el("tr", {}, ...cells.map((cell, i) => el(tag, { class: numeric[i] ? "number" : null, "data-head": tag === "td" ? head[i] : null }, cell === null ? "–" : String(cell))));
  return el("table", { class: head.length > NARROW ? "wide" : null }, el("thead", {}, line(head, "th")), el("tbody", {}, ...body.map((cells) => line(cells, "td"))));
}

// -- the figure -----------------------------------------------------------------------------------------------------

const AXES = {
  params: ["parameters", "non-embedding parameters"],
  data: ["data", ""],
  flops: ["compute", "training FLOPs"],
  energy: ["energy", "energy of training (kJ)"],
};
function series(row, axis = state.axis) {
  if (axis === "data") {
    const budgets = Object.keys(row.reached).sort((a, b) => a - b);
    return budgets.map((budget) => [Number(budget), row.reached[budget][0]]);
  }
  const column = { params: 0, flops: 3, energy: 4 }[axis];
  const chosen = row.points.filter((p) => axis !== "params" || String(p[1]) === state.budget);
  const means = new Map();
  for (const p of chosen.filter((p) => has(p[column]))) {
    const key = p[0] + " " + p[1];
    means.set(key, [...(means.get(key) ?? []), p]);
  }
  const mean = (list, i) => list.reduce((sum, p) => sum + p[i], 0) / list.length;
  return [...means.values()].map((list) => [mean(list, column), mean(list, 2)]).sort((a, b) => a[0] - b[0]);
}
function wide(values) {
  // In decades. Values that hardly differ are not to look as if they lay far apart.
  const found = values.filter((value) => value > 0).map(Math.log10);
  if (!found.length) return undefined;
  const [low, high] = [Math.min(...found), Math.max(...found)];
  const room = Math.max(0.06 * (high - low), (1 - (high - low)) / 2);
  return [low - room, high + room];
}
function bestAxis() {
  // The axis that was chosen, if some study has three points along it; or else the first one with so many.
  const most = (axis) => Math.max(0, ...state.board.rows.map((row) => series(row, axis).length));
  return [state.axis, ...Object.keys(AXES)].find((axis) => most(axis) >= 3) ?? state.axis;
}
function drawFigure() {
  // Megabytes of plotly are read only once the table is there to be used.
  if (!window.Plotly) document.head.append(Object.assign(document.createElement("script"), { textContent: byId("plotly").textContent }));
  const rows = shownRows().filter((row) => !state.hidden.has(row.model));
  const withPoints = rows.map((row) => [row, series(row)]).filter(([, points]) => points.length);
  const models = [...new Set(state.board.rows.map((row) => row.model))].sort();
  const colours = matchMedia("(prefers-color-scheme: dark)").matches ? ON_DARK : COLOURS;
  const traces = [];
  withPoints.slice(0, DRAWN).forEach(([row, points], i) => {
    const colour = colours[models.indexOf(row.model) % colours.length];
    const name = escaped(row.model + ", " + row.submitter);
    const lines = state.axis === "data" && points.length > 1;
    traces.push({
      x: points.map((p) => p[0]), y: points.map((p) => p[1]), name, legendgroup: String(i), mode: lines ? "lines+markers" : "markers",
      marker: { color: colour, symbol: SYMBOLS[i % SYMBOLS.length] + (row.kind === "published" ? "-open" : ""), size: 9 }, line: { color: colour, width: 1.5 },
    });
    if (state.axis === "params" && row.line.length && row.line_budget === Number(state.budget))
      traces.push({ x: row.line.map((p) => p[0]), y: row.line.map((p) => p[1]), mode: "lines", legendgroup: String(i), showlegend: false, hoverinfo: "skip", line: { color: colour, width: 1.5, dash: "dash" } });
  });
  const papers = state.axis === "data" ? [] : rows.filter((row) => row.kind === "published" && reached(row)).slice(0, 8);
  const style = getComputedStyle(document.documentElement);
  const [text, line, back] = ["--text", "--line", "--back"].map((name) => style.getPropertyValue(name).trim());
  const axis = { gridcolor: line, linecolor: line, zeroline: false, exponentformat: "power", automargin: true };
  const title = state.axis === "data" ? (state.board.data === "tokens" ? "training tokens" : "training frames") : AXES[state.axis][1];
  const narrow = window.innerWidth < 640;
  const range = wide(withPoints.flatMap(([, points]) => points.map((p) => p[0])));
  const layout = {
    paper_bgcolor: back, plot_bgcolor: back, font: { color: text, family: "system-ui, sans-serif", size: narrow ? 11 : 13 }, margin: { t: 30, r: 10, b: 50, l: 55 }, height: narrow ? 480 : 460,
    xaxis: { ...axis, type: "log", title: { text: title }, range, dtick: narrow && range && range[1] - range[0] > 1.5 ? 1 : undefined }, yaxis: { ...axis, type: "log", title: { text: escaped(unit(state.board.metric)) } },
    legend: narrow ? { orientation: "h", y: -0.25 } : { x: 1.02, y: 1 }, showlegend: true, hovermode: "closest",
    shapes: papers.map((row) => ({ type: "line", xref: "paper", x0: 0, x1: 1, y0: reached(row)[0], y1: reached(row)[0], line: { color: colours[models.indexOf(row.model) % colours.length], width: 1, dash: "dot" } })),
    annotations: papers.map((row) => ({ xref: "paper", x: 1, xanchor: "right", y: Math.log10(reached(row)[0]), yanchor: "bottom", showarrow: false, text: escaped(row.model) + " (published)", font: { size: 10, color: text } })),
  };
  byId("figure").style.minHeight = layout.height + "px"; // or else it would cover the note
  Plotly.react("figure", traces, layout, { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["lasso2d", "select2d"] });
  const left = withPoints.length - Math.min(withPoints.length, DRAWN);
  byId("figure-note").textContent =
    (withPoints.length + papers.length ? "" : "Nothing to draw along this axis yet. ") +
    (left ? `Drawn are the first ${DRAWN} studies of the table above; sort or filter it to see the other ${left}. ` : "") +
    { params: "Points at the chosen budget, each the mean over seeds; dashed: the power law.", data: "Each study's best size at every budget.", flops: "Every size and budget, each the mean over seeds.", energy: "Every size and budget with an energy counter, each the mean over seeds." }[state.axis];
}

// -- controls -------------------------------------------------------------------------------------------------------

function choose(select, values, names, chosen) {
  select.replaceChildren(...values.map((value, i) => el("option", { value, selected: value === chosen ? "" : null }, names[i])));
  select.value = chosen;
}
function chooseBoard(index) {
  state.board = data.boards[index];
  state.open.clear();
  state.hidden.clear();
  state.sort = "value";
  state.down = false;
  const at = (budget) => state.board.rows.filter((row) => row.reached[budget]).length;
  const budgets = state.board.budgets.map(String);
  // The largest budget that most studies have.
  state.budget = budgets.reduce((best, budget) => (at(budget) >= at(best) ? budget : best), budgets[0] ?? "");
  choose(byId("budget"), budgets, budgets.map((b) => Number(b).toLocaleString("en-US") + " " + state.board.data), state.budget);
  byId("board-title").textContent = state.board.title;
  byId("board-title").title = state.board.task_digest ? "task digest " + state.board.task_digest : "";
  const models = [...new Set(state.board.rows.map((row) => row.model))].sort();
  const boxes = models.map((model) => {
    const box = el("input", { type: "checkbox", checked: "", onchange: () => { box.checked ? state.hidden.delete(model) : state.hidden.add(model); drawFigure(); } });
    return el("label", {}, box, model);
  });
  byId("models").replaceChildren(el("legend", {}, "Models"), ...boxes);
  state.axis = bestAxis();
  byId("axis").querySelector(`input[value=${state.axis}]`).checked = true;
  draw();
  drawMolecules();
  drawFeatures();
  drawMotion();
}
function draw() {
  drawTable();
  // The table is there to be read before the figure is drawn.
  requestAnimationFrame(() => setTimeout(drawFigure));
}
function start() {
  data.boards.forEach((board) => board.rows.forEach((row, i) => {
    row.index = i;
    row.text = [row.model, row.submitter, row.device, row.level, row.name].join(" ").toLowerCase();
  }));
  const names = data.boards.map((board) => board.title + (data.boards.filter((b) => b.task === board.task).length > 1 ? " " + board.task_digest.slice(0, 6) : ""));
  choose(byId("task"), data.boards.map((_, i) => String(i)), names, String(data.first));
  byId("task").addEventListener("change", (event) => chooseBoard(Number(event.target.value)));
  byId("budget").addEventListener("change", (event) => { state.budget = event.target.value; draw(); });
  byId("filter").addEventListener("input", (event) => { state.words = event.target.value; draw(); });
  for (const [id, [name]] of Object.entries(AXES)) {
    const radio = el("input", { type: "radio", name: "axis", value: id, checked: id === state.axis ? "" : null, onchange: () => { state.axis = id; drawFigure(); } });
    byId("axis").append(el("label", {}, radio, name));
  }
  for (const table of data.tables)
    byId("elsewhere").append(el("h3", {}, "Published reference: " + table.title), el("div", { class: "scroll" }, plainTable(table.columns, table.rows)), el("p", { class: "quiet" }, table.note + ". " + table.source + ", ", link(table.link)));
  byId("elsewhere").hidden = !data.tables.length;
  byId("refused").hidden = !data.refused.length;
  byId("refused").querySelector("ul").append(...data.refused.map(([name, reason]) => el("li", {}, el("code", {}, name), ": " + reason)));
  byId("made").textContent = data.made;
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { drawFigure(); drawMolecules(); });
  if (data.boards.length) chooseBoard(data.first);
  else byId("about").textContent = "There are no entries yet.";
}
start();
