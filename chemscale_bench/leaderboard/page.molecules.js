"use strict";
// What the models of a task draw: a table beside published ones, and a figure over loss and over parameters. And what
// their features are worth; of force fields, how they move their molecule.
const fixed = (digits) => (value) => (has(value) ? value.toFixed(digits) : "–");
const SHARE = fixed(4);
const TRAINED = [["parameters", (r) => r.params, count], ["tokens", (r) => r.budget, count], ["loss", (r) => r.loss, SHARE]];
const MOLECULES = [
  ...TRAINED,
  ["molecules", (r) => r.metrics.molecules, (n) => (has(n) ? n.toLocaleString("en-US") : "–")],
  ...[
    ["FCD, test", "fcd_test"], ["FCD, scaffolds", "fcd_test_scaffolds"], ["valid", "valid"], ["raw valid", "raw_valid"], ["unique@1k", "unique_at_1k"], ["unique@10k", "unique_at_10k"], ["novelty", "novelty"],
    ["IntDiv", "internal_diversity_1"], ["filters", "filters"],
    ["SNN, test", "snn_test"], ["SNN, scaffolds", "snn_test_scaffolds"], ["fragments, test", "fragments_test"], ["fragments, scaffolds", "fragments_test_scaffolds"],
    ["scaffolds, test", "scaffolds_test"], ["scaffolds, scaffolds", "scaffolds_test_scaffolds"],
  ].map(([head, name]) => [head, (r) => r.metrics[name], name.startsWith("fcd") ? fixed(3) : SHARE]),
];
const PROPERTIES = [["ESOL", "RMSE"], ["FreeSolv", "RMSE"], ["Lipophilicity", "RMSE"], ["BBBP", "ROC-AUC"], ["BACE", "ROC-AUC"]];
const FEATURES = [
  ...TRAINED,
  ...PROPERTIES.flatMap(([name, score]) =>
    [[score, "linear"], ["untrained", "linear_untrained"], ["5 neighbours", "neighbours"], ["ROGI-XD", "rogi_xd"]].map(([head, what]) => [`${name}, ${head}`, (r) => r.metrics[`${name.toLowerCase()}_${what}`], fixed(3)])),
];
const PANELS = [["fcd_test", "Fréchet ChemNet distance", "log"], ["novelty", "novelty", "linear"], ["unique_at_10k", "unique@10k", "linear"]];
const OVER = [["loss", "validation loss, nats per token", "linear"], ["params", "non-embedding parameters", "log"]];

function drawMolecules() {
  const distance = (row) => row.metrics.fcd_test ?? Infinity;
  const rows = [...state.board.drawn].sort((a, b) => (distance(a) === distance(b) ? (a.loss ?? Infinity) - (b.loss ?? Infinity) : distance(a) - distance(b)));
  byId("molecules").hidden = !rows.length;
  modelsTable("molecules-table", rows, MOLECULES);
  requestAnimationFrame(() => setTimeout(() => drawMoleculesFigure(rows)));
}
function drawFeatures() {
  const rows = [...state.board.probed].sort((a, b) => a.loss - b.loss);
  byId("features").hidden = !rows.length;
  modelsTable("features-table", rows, FEATURES);
}
function drawMotion() {
  const rows = [...state.board.moved].sort((a, b) => a.loss - b.loss);
  byId("motion").hidden = !rows.length;
  const kelvins = [...new Set(rows.flatMap((row) => row.kelvins))].sort((a, b) => a - b);
  const uncertain = (place) => (value, row) => (has(value) ? `${value.toFixed(1)} ± ${row.metrics[place + "/drift_error_mev_per_atom_ns"].toFixed(1)}` : "–");
  modelsTable("motion-table", rows, [
    ["parameters", (r) => r.params, count], ["frames", (r) => r.budget, count], [unit(state.board.metric), (r) => r.loss, fixed(1)],
    ["loosest H, eV", (r) => r.metrics["check/bond_break_ev"], fixed(2)],
    ...kelvins.flatMap((kelvin) => [
      [`held, ${kelvin} K`, (r) => r.metrics[`langevin_${kelvin}K/stability_ps`], fixed(2)],
      [`NVE, ${kelvin} K`, (r) => r.metrics[`nve_${kelvin}K/stability_ps`], fixed(2)],
      [`h(r), ${kelvin} K`, (r) => r.metrics[`langevin_${kelvin}K/hr_mae`], fixed(3)],
      [`drift, ${kelvin} K`, (r) => r.metrics[`nve_${kelvin}K/drift_mev_per_atom_ns`], uncertain(`nve_${kelvin}K`)],
    ]),
  ]);
}
function modelsTable(id, rows, all) {
  const columns = all.filter(([, value]) => rows.some((row) => has(value(row))));
  const head = el("tr", {}, el("th", { class: "name", scope: "col" }, "model"), el("th", { scope: "col" }, "level"), ...columns.map(([name]) => el("th", { class: "number", scope: "col" }, name)));
  const by = (row) => (row.link.startsWith("https://") ? el("a", { href: row.link, rel: "noopener nofollow" }, row.by) : row.by);
  const body = rows.map((row) =>
    el("tr", {}, el("th", { class: "name", scope: "row" }, row.model, el("span", { class: "by" }, by(row), row.drawing || row.moving ? "; " + (row.drawing || row.moving) : "")),
      el("td", { "data-head": "level" }, el("span", { class: "level " + row.level }, row.level)),
      ...columns.map(([name, value, show]) => el("td", { class: "number", "data-head": name }, show(value(row), row)))));
  byId(id).replaceChildren(el("thead", {}, head), el("tbody", {}, ...body));
}
function drawMoleculesFigure(rows) {
  const own = rows.filter((row) => has(row.loss));
  byId("molecules-figure").hidden = !own.length;
  if (!own.length) return;
  const colours = matchMedia("(prefers-color-scheme: dark)").matches ? ON_DARK : COLOURS;
  const style = getComputedStyle(document.documentElement);
  const [text, line, back, quiet] = ["--text", "--line", "--back", "--quiet"].map((name) => style.getPropertyValue(name).trim());
  const narrow = window.innerWidth < 640;
  const studies = [...new Set(own.map((row) => row.model + ", " + row.by))];
  const panels = PANELS.filter(([metric]) => own.some((row) => has(row.metrics[metric])));
  const layout = {
    paper_bgcolor: back, plot_bgcolor: back, font: { color: text, family: "system-ui, sans-serif", size: narrow ? 11 : 12 }, margin: { t: 20, r: 10, b: 50, l: 60 },
    grid: { rows: narrow ? 2 * panels.length : 2, columns: narrow ? 1 : panels.length, pattern: "independent", ygap: 0.25, xgap: 0.16 }, height: narrow ? 560 * panels.length : 760,
    hovermode: "closest", showlegend: true, legend: { orientation: "h", y: narrow ? -0.05 : -0.1 },
  };
  const traces = [];
  OVER.forEach(([over, title, scale], i) => panels.forEach(([metric, called, kind], j) => {
    const id = i * panels.length + j ? String(i * panels.length + j + 1) : "";
    const at = { xaxis: "x" + id, yaxis: "y" + id, legendgroup: "", showlegend: !id };
    const axis = { gridcolor: line, linecolor: line, zeroline: false, exponentformat: "power", automargin: true };
    layout["xaxis" + id] = { ...axis, type: scale, title: { text: title } };
    layout["yaxis" + id] = { ...axis, type: kind, title: { text: called } };
    const places = own.map((row) => row[over]);
    const ends = [Math.min(...places), Math.max(...places)];
    const steps = Array.from({ length: 21 }, (_, k) => (scale === "log" ? ends[0] * (ends[1] / ends[0]) ** (k / 20) : ends[0] + ((ends[1] - ends[0]) * k) / 20));
    rows.filter((row) => !has(row.loss) && has(row.metrics[metric])).forEach((row, k) =>
      traces.push({ ...at, x: steps, y: steps.map(() => row.metrics[metric]), mode: "lines", name: "published", legendgroup: "published", showlegend: !id && !k, line: { color: quiet, width: 1, dash: "dot" }, hovertext: escaped(row.model), hoverinfo: "text+y" }));
    studies.forEach((study, k) => {
      const points = own.filter((row) => row.model + ", " + row.by === study && has(row.metrics[metric]));
      traces.push({
        ...at, x: points.map((row) => row[over]), y: points.map((row) => row.metrics[metric]), mode: "markers", name: escaped(study), legendgroup: String(k),
        hovertext: points.map((row) => `${count(row.params)} parameters, ${count(row.budget)} tokens`), hoverinfo: "text+x+y",
        marker: { color: colours[k % colours.length], symbol: SYMBOLS[k % SYMBOLS.length], size: 9 },
      });
    });
  }));
  byId("molecules-figure").style.minHeight = layout.height + "px";
  Plotly.react("molecules-figure", traces, layout, { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["lasso2d", "select2d"] });
}
