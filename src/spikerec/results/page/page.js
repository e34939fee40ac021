"use strict";

/*
 * The leaderboard's behaviour. All text from records enters the page as text nodes, never as HTML.
 * Sections: elements · state · table · provenance · curves · plot · learning · comparison · pictures · the rest.
 */
(() => {
  const data = JSON.parse(document.getElementById("data").textContent, bare);
  const $ = (id) => document.getElementById(id);

  /** An object without inherited names: a metric may be called `constructor`. */
  function bare(_, value) {
    const isObject = value !== null && typeof value === "object" && !Array.isArray(value);
    return isObject ? Object.setPrototypeOf(value, null) : value;
  }

  // ---------------------------------------------------------------------------- elements

  /** An element: attributes by name, `on…` as listeners, children as nodes or text. */
  function element(name, attributes = {}, ...children) {
    return fill(document.createElement(name), attributes, children);
  }

  function svg(name, attributes = {}, ...children) {
    return fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
  }

  function fill(node, attributes, children) {
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value);
    }
    node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
    return node;
  }

  function options(select, choices, chosen) {
    select.replaceChildren(...choices.map(([value, text]) => element("option", { value }, text)));
    if (choices.some(([value]) => String(value) === String(chosen))) select.value = chosen;
  }

  const fixed = (value, digits) => value.toFixed(digits).replace("-", "−");
  const signed = (value, digits) => (value > 0 ? "+" : "") + fixed(value, digits);
  const short = (digest) => (digest ? digest.slice(0, 12) : "none");
  /** The text, cut where a line of so many pixels ends (7 a letter, with room for an arrow). */
  const clipped = (text, width) => (text.length * 7 > width - 130 ? text.slice(0, Math.floor((width - 130) / 7) - 1) + "…" : text);
  const isNumber = (value) => typeof value === "number";
  const day = (time) => time.slice(0, 16).replace("T", " ") + " UTC";

  function probability(p) {
    return p < 0.001 ? "p < 0.001" : `p = ${p.toPrecision(2)}`;
  }

  // ------------------------------------------------------------------------------- state

  const state = { board: null, sort: null, ascending: false, view: "slider", drawn: null, learning: null };
  const stage = pictureStage($("stage"), showBorder);
  const curves = curveCharts({ element, svg, fixed, ticks, isNumber, showPoint });
  const trainings = learningChart({ svg, fixed, ticks, light: curves.light, look: curves.look });
  const player = videoPlayer($("videos-section"), data.images, { element, svg, options, fixed, isNumber });

  const EFFICIENCY = [
    { key: "params", title: "Params (M)", digits: 2 },
    { key: "memory_bytes", title: "Memory (GB)", digits: 2 },
    { key: "macs", title: "FLOPs (T)", digits: 2 },
  ];

  /** The columns of the board: quality first, then what each method costs. */
  function columns(board) {
    const quality = board.metrics.map((metric) => ({ ...metric, hint: metric.definition, kind: "quality" }));
    const cost = EFFICIENCY.filter(({ key }) =>
      board.rows.some((row) => isNumber(row.efficiency[key].mean) || isNumber(row.efficiency[key].reported)),
    ).map((column) => ({ ...column, kind: "efficiency", higher: false }));
    const places = latencyPlaces(board).slice(0, 1).map((place) => ({
      key: place, title: `ms, ${place.split(" on ")[0]}`, hint: place, digits: 1, kind: "latency", higher: false,
    }));
    const trained = { key: "trained", title: "Trained on", hint: "data · samples seen · time · where the weights come from", kind: "text" };
    // Beside the method where there is room; at the end on a phone, where quality comes first.
    return innerWidth >= 900 ? [trained, ...quality, ...cost, ...places] : [...quality, ...cost, ...places, trained];
  }

  /** Size and device of the measured latencies, the most common first. */
  function latencyPlaces(board) {
    const counts = new Map();
    for (const row of board.rows) {
      for (const place of Object.keys(row.latency)) counts.set(place, (counts.get(place) ?? 0) + 1);
    }
    return [...counts.keys()].sort((a, b) => counts.get(b) - counts.get(a) || a.localeCompare(b));
  }

  function valueOf(row, column) {
    if (column.kind === "quality") return row.figures[column.key].mean;
    if (column.kind === "efficiency") return row.efficiency[column.key].mean;
    if (column.kind === "text") return null;
    return latencyOf(row, column.key)?.ms ?? null;
  }

  const sizeOf = (place) => place.split(" on ")[0];

  /** A row's time at a place; where it was measured elsewhere, that time and the other device. */
  function latencyOf(row, place) {
    if (place in row.latency) return { ms: row.latency[place], device: null };
    const other = Object.keys(row.latency).find((p) => sizeOf(p) === sizeOf(place));
    return other === undefined ? null : { ms: row.latency[other], device: other.slice(sizeOf(other).length + 4) };
  }

  function chooseBoard() {
    state.board = data.boards.find((board) => board.name === $("dataset").value);
    state.sort = state.board.metrics[0]?.key ?? "label";
    state.ascending = !(state.board.metrics[0]?.higher ?? false);
    drawTable();
    setUpCurves();
    setUpPlot();
    setUpLearning();
    setUpComparison();
    player.show(state.board);
  }

  // ------------------------------------------------------------------------------- table

  function drawTable() {
    const board = state.board;
    $("table-title").textContent = board.name;
    const light = isNumber(board.lightScale) ? ` · light scale ${board.lightScale}` : "";
    $("table-facts").textContent =
      `${board.samples} samples of ${board.scenes} scenes${light} · data ${short(board.dataDigest)}`;
    $("floor").hidden = !board.tooFew;
    $("floor").textContent = board.tooFew;
    $("notes").replaceChildren(...board.notes.map((note) => element("p", { class: "muted small" }, note)));
    $("reference-source").textContent = board.reference
      ? `As reported: ${board.reference.source}` : "";
    $("board").replaceChildren(tableHead(board), tableBody(board));
  }

  function tableHead(board) {
    const cells = [["label", "Method", ""], ...columns(board).map((c) => [c.key, c.title, c.hint ?? ""])];
    const header = cells.map(([key, title, hint]) => {
      const sorted = state.sort === key;
      const direction = sorted ? (state.ascending ? "ascending" : "descending") : "none";
      const sign = sorted ? (state.ascending ? "▲" : "▼") : "";
      const metric = board.metrics.find((m) => m.key === key);
      const arrow = metric ? (metric.higher ? " ↑" : " ↓") : "";
      return element("th", { scope: "col", "aria-sort": direction },
        element("button", { type: "button", "data-key": key, title: hint || null, onclick: () => sortBy(key) },
          title + arrow, element("span", { class: "sort", "aria-hidden": "true" }, sign)));
    });
    return element("thead", {}, element("tr", {}, header));
  }

  function sortBy(key) {
    const metric = state.board.metrics.find((m) => m.key === key);
    state.ascending = state.sort === key ? !state.ascending : !(metric?.higher ?? false);
    state.sort = key;
    drawTable();
    $("board").querySelector(`[data-key="${CSS.escape(key)}"]`).focus();
  }

  function shownRows(board) {
    const words = $("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
    const rows = board.rows.filter((row) => {
      const text = `${row.label} ${row.record.method}`.toLowerCase();
      return words.every((word) => text.includes(word));
    });
    const column = columns(board).find((c) => c.key === state.sort);
    const direction = state.ascending ? 1 : -1;
    return rows.sort((a, b) => {
      if (column?.kind === "text") return direction * a.trained.localeCompare(b.trained, undefined, { numeric: true });
      if (!column) return direction * a.label.localeCompare(b.label, undefined, { numeric: true });
      const [x, y] = [valueOf(a, column), valueOf(b, column)];
      if (!isNumber(x) || !isNumber(y)) return isNumber(y) - isNumber(x); // what is missing goes last
      return direction * (x - y);
    });
  }

  function tableBody(board) {
    const shown = columns(board);
    const rows = shownRows(board).map((row) => element("tr", {},
      element("th", { scope: "row", title: row.label }, row.label,
        element("span", { class: "runs" }, rowFacts(row))),
      shown.map((column) => tableCell(board, row, column, shown))));
    if (!rows.length) {
      rows.push(element("tr", {}, element("td", { class: "plain muted", colspan: shown.length + 1 },
        "No method has this in its name.")));
    }
    return element("tbody", {}, rows);
  }

  /** The rank in the metric that the table is sorted by, and how many records there are. */
  function rowFacts(row) {
    const rank = row.figures[state.sort]?.rank;
    const parts = [rank ? `rank ${rank}` : "", row.runCount > 1 ? `newest of ${row.runCount}` : ""];
    if (Object.values(row.figures).some((figure) => figure.disagrees)) parts.push("≠ evaluations disagree");
    return parts.filter(Boolean).join(" · ");
  }

  function tableCell(board, row, column, shown) {
    const first = shown.find((c) => c.kind === "efficiency" || c.kind === "latency");
    const attributes = { class: column === first ? "divide" : null };
    if (column.kind === "text") return element("td", { class: "plain trained" }, row.trained);
    const figure = column.kind === "quality" ? row.figures[column.key]
      : column.kind === "efficiency" ? row.efficiency[column.key] : latencyFigure(row, column.key);
    const reported = $("reported").checked && isNumber(figure.reported)
      ? element("span", { class: "sub" }, `reported ${fixed(figure.reported, column.digits)}`) : null;
    if (!isNumber(figure.mean) && !figure.note) {
      return element("td", attributes, element("span", { class: "plain muted" }, "–"), reported);
    }
    const spread = $("spread").checked && isNumber(figure.low)
      ? element("span", { class: "sub" }, `${fixed(figure.low, column.digits)} … ${fixed(figure.high, column.digits)}`) : null;
    const text = isNumber(figure.mean) ? fixed(figure.mean, column.digits) : "n/a";
    return element("td", attributes,
      element("button", {
        type: "button", class: "cell", title: figure.note || null, "data-metric": column.key,
        "aria-label": `${row.label}, ${column.title}: ${text}. Show where it comes from.`,
        onclick: () => showProvenance(board, row, column, figure),
      },
      element("span", { class: figure.mark || null }, text),
      figure.level ? element("span", { class: "level" }, " ≈") : null,
      figure.disagrees ? element("span", { class: "level" }, " ≠") : null,
      figure.elsewhere ? element("span", { class: "level" }, " *") : null, spread, reported));
  }

  function latencyFigure(row, place) {
    const found = latencyOf(row, place);
    if (!found) return { mean: null };
    return found.device === null ? { mean: found.ms }
      : { mean: found.ms, elsewhere: true, note: `* measured elsewhere: ${found.device}` };
  }

  // -------------------------------------------------------------------------- provenance

  function showProvenance(board, row, column, figure) {
    const dialog = $("provenance");
    const value = isNumber(figure.mean) ? fixed(figure.mean, column.digits) : "n/a";
    const close = element("button", { type: "button", autofocus: "", onclick: () => dialog.close() }, "Close");
    dialog.replaceChildren(
      element("header", {},
        element("h2", { id: "provenance-title" }, `${row.label} · ${column.title}`,
          element("div", { class: "muted small" }, board.name)), close),
      element("div", {},
        element("p", {}, element("span", { class: "large" }, value), " ", describeFigure(board, column, figure)),
        figure.note ? element("p", { class: "warning" }, figure.note) : null,
        facts(board, row, column, figure),
        column.kind === "quality" ? againstOthers(board, row, column) : null,
        history(row, column),
        ...["efficiency", "training", "environment", "config"].map((part) => details(part, row.record[part])),
        details("protocol", figure.description)));
    dialog.showModal();
    dialog.scrollTop = 0;
  }

  function describeFigure(board, column, figure) {
    const parts = [];
    if (isNumber(figure.low)) {
      parts.push(`95 % interval ${fixed(figure.low, column.digits)} … ${fixed(figure.high, column.digits)}`);
    }
    if (figure.samples !== undefined) parts.push(`mean of ${figure.samples} of ${board.samples} samples`);
    if (figure.rank !== undefined) parts.push(`rank ${figure.rank}`);
    if (isNumber(figure.reported)) {
      const gap = isNumber(figure.mean) ? `, ${signed(figure.mean - figure.reported, column.digits)} here` : "";
      parts.push(`reported ${fixed(figure.reported, column.digits)}${gap}`);
    }
    return element("span", { class: "muted" }, parts.join(" · "));
  }

  function facts(board, row, column, figure) {
    const { record } = row;
    const code = record.code;
    const dirty = code.dirty ? " with uncommitted changes" : "";
    const folds = Object.entries(record.folds);
    const entries = [
      ...(folds.length ? folds.map(([fold, one]) => [
        `Record of ${fold}`, element("code", {}, one.file), element("div", {}, weightsOf(one.weights))])
        : [["Record", element("code", {}, figure.file ?? record.file)]]),
      ["Made", day(record.created)],
      ...(folds.length ? [] : [["Weights", weightsOf(record.weights)]]),
      ["Trained on", row.trained],
      ["Data", `${board.name} · ${short(board.dataDigest)}`],
      ["Defined by", column.definition ? `${figure.protocol} · ${column.definition}` : "–"],
      ["Code", `spikerec ${code.version ?? "?"} · ${code.revision ? code.revision.slice(0, 12) : "no revision"}${dirty}`],
      ["Unavailable", Object.entries(record.unavailable).map(([k, v]) => `${k}: ${v}`).join(" ") || "nothing"],
    ];
    return element("dl", {}, entries.map(([term, ...text]) => [element("dt", {}, term), element("dd", {}, ...text)]));
  }

  function weightsOf(weights) {
    return weights.digest ? `${weights.name} (${weights.source}) · ${short(weights.digest)}` : "no parameters";
  }

  function againstOthers(board, row, column) {
    const self = board.rows.indexOf(row);
    const pairs = (board.pairs[column.key] ?? []).filter((pair) => pair[0] === self || pair[1] === self);
    if (!pairs.length) return null;
    const rows = pairs.map((pair) => {
      const c = comparison(pair, self);
      return element("tr", {},
        element("th", { scope: "row" }, board.rows[c.other].label),
        element("td", {}, signed(c.difference, column.digits)),
        element("td", {}, isNumber(c.low) ? `${signed(c.low, column.digits)} … ${signed(c.high, column.digits)}` : "–"),
        element("td", {}, probability(c.corrected), c.corrected < 0.05 || !column.canTell ? "" : element("span", { class: "level" }, " ≈")));
    });
    return element("details", { open: "" }, element("summary", {}, "Against the others"),
      element("div", { class: "scroll" }, element("table", {}, element("thead", {}, element("tr", {},
        ["Method", "Difference", "95 % interval", "Corrected test"].map((t) => element("th", { scope: "col" }, t)))),
      element("tbody", {}, rows))));
  }

  /** A stored pair, seen from one of its two methods. */
  function comparison([first, second, samples, scenes, mean, low, high, p, corrected], self) {
    const turned = self === second;
    const flip = (v) => (isNumber(v) ? -v : v);
    return {
      other: turned ? first : second, samples, scenes, p, corrected,
      difference: turned ? -mean : mean,
      low: turned ? flip(high) : low,
      high: turned ? flip(low) : high,
    };
  }

  function history(row, column) {
    if (row.runCount < 2) return null;
    const values = row.history.map((run) => run.means[column.key]);
    const lines = row.history.map((run, i) => element("tr", {},
      element("th", { scope: "row" }, day(run.created)), element("td", {}, element("code", {}, run.file)),
      column.kind === "quality" ? element("td", {}, isNumber(values[i]) ? fixed(values[i], column.digits) : "n/a") : null)).reverse();
    return element("details", {}, element("summary", {}, `All ${row.runCount} records of these weights`),
      element("p", { class: "small muted" }, "The table shows the newest.",
        row.runCount > row.history.length ? ` The ${row.history.length} newest are listed.` : ""),
      element("div", { class: "scroll" }, element("table", {}, element("tbody", {}, lines))));
  }

  function details(title, content) {
    if (!content || !Object.keys(content).length) return null;
    return element("details", {}, element("summary", {}, title[0].toUpperCase() + title.slice(1)),
      element("pre", { tabindex: "0" }, JSON.stringify(content, null, 2)));
  }

  // ------------------------------------------------------------------------------ curves

  function setUpCurves() {
    const { board } = state;
    const drawable = (axes) => board.metrics
      .filter(({ key }) => axes.some((axis) => axis.curves[key])).map((m) => [m.key, m.title]);
    state.drawn = curves.firstDrawn(board.rows.keys());
    $("factors-section").hidden = !board.factors.length;
    $("covariate-section").hidden = !board.covariates.length;
    options($("factors-metric"), drawable(board.factors), $("factors-metric").value);
    options($("covariate-y"), drawable(board.covariates), $("covariate-y").value);
    options($("covariate-x"), board.covariates.map((axis) => [axis.name, axis.title]), $("covariate-x").value);
    $("breakdown").replaceChildren(...(board.breakdown ? breakdownTable(board) : []));
    drawCurves();
  }

  function drawCurves() {
    drawFactors();
    drawCovariate();
  }

  const chosenMetric = (id) => state.board.metrics.find((m) => m.key === $(id).value);

  /** A panel for each factor, all on one scale. */
  function drawFactors() {
    const { board, drawn } = state;
    const metric = chosenMetric("factors-metric");
    if (!metric) return;
    curves.drawKey($("factors-key"), board.rows, drawn, drawCurves);
    const hasShades = $("spread").checked;
    const range = curves.rangeOf(board.factors, metric, drawn, hasShades);
    const whole = $("factors").clientWidth || 700;
    const across = Math.max(1, Math.floor(whole / 300));
    const size = { width: Math.floor((whole - 16 * (across - 1)) / across), height: 230 };
    $("factors").style.setProperty("--across", across);
    $("factors").replaceChildren(...board.factors.map((axis) =>
      curves.chart(axis, metric, { drawn, range, size, hasShades, rows: board.rows })));
  }

  function drawCovariate() {
    const { board, drawn } = state;
    const metric = chosenMetric("covariate-y");
    const axis = board.covariates.find(({ name }) => name === $("covariate-x").value);
    if (!metric || !axis) return;
    curves.drawKey($("covariate-key"), board.rows, drawn, drawCurves);
    const hasShades = $("spread").checked;
    const range = curves.rangeOf([axis], metric, drawn, hasShades);
    const width = $("covariate").clientWidth || 700;
    const size = { width, height: Math.round(Math.min(380, Math.max(260, width * 0.45))) };
    $("covariate").replaceChildren(curves.chart(axis, metric, { drawn, range, size, hasShades, rows: board.rows }));
    const bins = axis.points.some((point) => point.low < point.high);
    $("covariate-note").textContent =
      `${metric.title}${metric.higher ? "" : " (axis reversed)"}: mean of the samples ${bins ? "in each of " + axis.points.length + " bins of about equally many" : "of each value"}` +
      ", with its 95 % interval over scenes. Samples that differ in this may differ in other things too.";
  }

  /** Where the figure of one point comes from. */
  function showPoint(row, metric, axis, place, [mean, low, high, samples]) {
    const { board } = state;
    const { file, protocol, description } = board.rows[row].figures[metric.key];
    const note = `Of the samples with ${axis.title} ${axis.points[place].text}.`;
    showProvenance(board, board.rows[row], metric, { mean, low, high, samples, note, file, protocol, description });
  }

  /** The first level of each factor at which a method breaks down, and the rule. */
  function breakdownTable(board) {
    const { factors, rows, rule } = board.breakdown;
    const titles = factors.map((name) => board.factors.find((axis) => axis.name === name).title);
    const head = element("tr", {}, ["Breaks down at", ...titles].map((title) => element("th", { scope: "col", class: "plain" }, title)));
    const body = rows.map((cells, i) => element("tr", {},
      element("th", { scope: "row" }, board.rows[i].label),
      cells.map((cell) => element("td", { class: `plain ${cell === "none" ? "muted" : ""}` }, cell ?? "–"))));
    return [
      element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Where methods break down" },
        element("table", { class: "breakdown" }, element("thead", {}, head), element("tbody", {}, body))),
      element("p", { class: "muted small" }, rule),
    ];
  }

  // -------------------------------------------------------------------------------- plot

  function setUpPlot() {
    const board = state.board;
    const xs = [
      ...latencyPlaces(board).map((place) => [`latency:${place}`, latencyTitle(board, place)]),
      ...columns(board).filter((c) => c.kind === "efficiency").map((c) => [c.key, c.title]),
    ];
    options($("plot-y"), board.metrics.filter(({ key }) => board.pairs[key]).map((m) => [m.key, m.title]), $("plot-y").value);
    options($("plot-x"), xs, $("plot-x").value);
    $("plot-section").hidden = !xs.length || !board.metrics.length;
    drawPlot();
  }

  /** `ms, 250×400`; with the device where several were used, whose name may be long. */
  function latencyTitle(board, place) {
    const alike = latencyPlaces(board).filter((other) => sizeOf(other) === sizeOf(place));
    return `ms, ${alike.length > 1 ? place : sizeOf(place)}`;
  }

  /** Measured methods with both coordinates; the source's own figures where they are for the same. */
  function plotPoints(board, metric, x) {
    const cost = (row) => (x.startsWith("latency:") ? latencyOf(row, x.slice(8)) : { ms: row.efficiency[x].mean, device: null });
    const measured = board.rows.map((row) => ({
      label: row.label, row, x: cost(row)?.ms, y: row.figures[metric].mean, device: cost(row)?.device ?? null,
      low: row.figures[metric].low, high: row.figures[metric].high,
    }));
    return measured.filter((p) => isNumber(p.x) && isNumber(p.y));
  }

  /** What the plot's note says of rows that were timed on another device, and of those never timed. */
  function timingNotes(board, measured, metric, x) {
    const notes = new Map();
    for (const p of measured.filter(({ device }) => device)) {
      notes.set(p.device, [...(notes.get(p.device) ?? []), p.label]);
    }
    const said = [...notes].map(([device, labels]) => ` Square: measured on ${device}, not to be compared in time: ${labels.join(", ")}.`);
    if (x.startsWith("latency:")) said.push(` Times: on ${x.slice(x.indexOf(" on ") + 4)}.`);
    const missing = board.rows.filter((row) => isNumber(row.figures[metric.key].mean) && !measured.some((p) => p.row === row));
    if (missing.length) said.push(` Not measured: ${missing.map((row) => row.label).join(", ")}.`);
    return said.join("");
  }

  /** The points that are in the plot without their names, because other names cover the place. */
  function namelessNote(measured) {
    const labels = measured.filter((p) => !p.isNamed).map((p) => p.label);
    return labels.length ? ` Without room for its name: ${labels.join(", ")}.` : "";
  }

  function reportedPoints(board, metric, x) {
    if (!board.reference || !$("reported").checked) return [];
    const name = { params: "params", macs: "macs", memory_bytes: "memory" }[x] ?? "latency";
    const atPaperSize = board.reference.size[0] === 720;
    if (["macs", "memory"].includes(name) && !atPaperSize) return [];
    if (name === "latency" && !x.includes("250×400")) return [];
    return board.reference.points
      .map((p) => ({ label: p.label, x: p[name], y: p.figures[metric], reported: true }))
      .filter((p) => isNumber(p.x) && isNumber(p.y));
  }

  function paretoFront(points, higher) {
    const better = (a, b) => (higher ? a > b : a < b);
    const sorted = [...points].sort((a, b) => a.x - b.x || (higher ? b.y - a.y : a.y - b.y));
    const front = [];
    for (const point of sorted) {
      if (!front.length || better(point.y, front.at(-1).y)) front.push(point);
    }
    return front;
  }

  function drawPlot() {
    const board = state.board;
    const metric = board.metrics.find((m) => m.key === $("plot-y").value);
    const x = $("plot-x").value;
    if (!metric || !x) return;
    const measured = plotPoints(board, metric.key, x);
    const reported = reportedPoints(board, metric.key, x);
    const all = [...measured, ...reported];
    if (!all.length) {
      $("plot").replaceChildren(element("p", { class: "muted" }, "No method has both figures."));
      $("plot-note").textContent = "";
      return;
    }
    const front = paretoFront(measured.filter((p) => p.device === null), metric.higher);
    const frame = plotFrame(all, metric);
    const view = svg("svg", {
      viewBox: `0 0 ${frame.width} ${frame.height}`, role: "group", "aria-label": `${metric.title} against ${x}`,
    });
    view.append(plotAxes(frame, metric, $("plot-x").selectedOptions[0].textContent));
    const line = front.map((p, i) => `${i ? "L" : "M"}${frame.x(p.x)},${frame.y(p.y)}`).join("");
    view.append(svg("path", { class: "path", d: line }));
    const taken = all.map((p) => box(frame.x(p.x) - 6, frame.y(p.y) - 6, 12, 12));
    for (const p of reported) view.append(gapLine(p, measured, frame));
    // Names are placed in the order of importance, and drawn in reverse so that the first lie on top.
    const marks = [
      ...front.map((p) => plotMark(p, frame, metric, taken, "front")),
      ...measured.filter((p) => !front.includes(p)).map((p) => plotMark(p, frame, metric, taken, "")),
      ...reported.map((p) => plotMark(p, frame, metric, taken, "reported")),
    ];
    view.append(...marks.reverse());
    $("plot").replaceChildren(view);
    $("plot-note").textContent =
      `Up and left is better. On the front: ${front.map((p) => p.label).join(", ") || "none"}. ` +
      "Whiskers are 95 % intervals." + timingNotes(board, measured, metric, x) + namelessNote(measured) +
      (reported.length ? ` Hollow: as reported (${board.reference.title}), on other hardware where it is time.` : "");
  }

  /** Scales and margins. A cost of 0 has no logarithm: it stands at the left, apart from the axis. */
  function plotFrame(points, metric) {
    const width = Math.max(300, $("plot").clientWidth || 700);
    const height = Math.round(Math.min(460, Math.max(360, width * 0.5)));
    const margin = { left: 52, right: 16, top: 30, bottom: 46 };
    const costs = points.map((p) => p.x).filter((v) => v > 0);
    const hasZero = points.some((p) => p.x <= 0);
    const [least, most] = costs.length ? [Math.min(...costs), Math.max(...costs)] : [1, 10];
    const pad = Math.max(0.12, Math.log10(most / least) * 0.08);
    const logs = [Math.log10(least) - pad, Math.log10(most) + pad * 2.5];
    const values = points.flatMap((p) => [p.y, p.low, p.high].filter(isNumber));
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const slack = (high - low || Math.abs(high) || 1) * 0.08;
    const begin = margin.left + (hasZero ? 46 : 0);
    const across = (v) => begin + ((Math.log10(v) - logs[0]) / (logs[1] - logs[0])) * (width - margin.right - begin);
    const up = (v) => (v - (low - slack)) / (high - low + 2 * slack);
    return {
      width, height, margin, hasZero, start: begin, logs, range: [low - slack, high + slack],
      x: (v) => (v > 0 ? across(v) : margin.left + 18),
      y: (v) => margin.top + (metric.higher ? 1 - up(v) : up(v)) * (height - margin.top - margin.bottom),
    };
  }

  function plotAxes(frame, metric, title) {
    const { width, height, margin } = frame;
    const bottom = height - margin.bottom;
    const group = svg("g", { class: "axis" });
    for (const value of ticks(...frame.range)) {
      const y = frame.y(value.at);
      group.append(svg("line", { class: "grid", x1: margin.left, x2: width - margin.right, y1: y, y2: y }),
        svg("text", { x: margin.left - 8, y: y + 4, "text-anchor": "end" }, value.text));
    }
    for (const value of logTicks(...frame.logs)) {
      const x = frame.x(value);
      group.append(svg("line", { class: "grid", x1: x, x2: x, y1: margin.top, y2: bottom }),
        svg("text", { x, y: bottom + 18, "text-anchor": "middle" }, String(Number(value.toPrecision(3)))));
    }
    if (frame.hasZero) {
      group.append(svg("text", { x: frame.x(0), y: bottom + 18, "text-anchor": "middle" }, "0"),
        svg("line", { class: "zero", x1: frame.start - 12, x2: frame.start - 12, y1: margin.top, y2: bottom, "stroke-dasharray": "2 4" }));
    }
    group.append(
      svg("text", { class: "title", x: width - margin.right, y: height - 8, "text-anchor": "end" }, `${clipped(title, width)} →`),
      svg("text", { class: "title", x: 0, y: 14 }, `↑ ${clipped(metric.title, width)}${metric.higher ? "" : " (axis reversed)"}`));
    return group;
  }

  function ticks(low, high) {
    const rough = (high - low) / 5;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough);
    const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
    const found = [];
    for (let k = Math.ceil(low / step); k * step <= high; k++) found.push({ at: k * step, text: tickText(k * step, digits) });
    return found;
  }

  /** A number that fits beside an axis: 1.5e15 from a million on. */
  const tickText = (value, digits) => (Math.abs(value) < 1e6 ? fixed(value, digits)
    : value.toExponential(3).replace(/\.?0*e\+?/, "e"));

  function logTicks(low, high) {
    const steps = high - low > 2.5 ? [1] : high - low > 1 ? [1, 3] : [1, 2, 5];
    const found = [];
    for (let power = Math.floor(low); power <= high; power++) {
      for (const step of steps) {
        const value = step * 10 ** power;
        if (Math.log10(value) >= low && Math.log10(value) <= high) found.push(value);
      }
    }
    return found;
  }

  const box = (x, y, w, h) => ({ x, y, w, h });
  const meet = (a, b) => a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h;

  /** Where a point's name covers nothing; null if it would. */
  function placeName(text, x, y, frame, taken) {
    const width = text.length * 6.7 + 4;
    const spots = [[9, 4, "start"], [0, -10, "middle"], [0, 20, "middle"], [-9, 4, "end"], [9, -8, "start"], [9, 17, "start"], [-9, -8, "end"], [-9, 17, "end"]];
    for (const [dx, dy, anchor] of spots) {
      const left = x + dx - (anchor === "end" ? width : anchor === "middle" ? width / 2 : 0);
      const place = box(left, y + dy - 10, width, 13);
      const inside = left > frame.margin.left - 4 && left + width < frame.width && place.y > 0;
      const own = box(x - 6, y - 6, 12, 12);
      const free = taken.every((t) => (t.x === own.x && t.y === own.y) || !meet(place, t));
      if (inside && free) {
        taken.push(place);
        return { x: x + dx, y: y + dy, anchor };
      }
    }
    return null;
  }

  /** From what is reported of a method to what was measured of it: the reproduction gap. */
  function gapLine(reported, measured, frame) {
    const own = measured.find((p) => state.board.reference.names[p.label] === reported.label);
    reported.isNamed = !own;
    if (!own) return "";
    return svg("line", { class: "gap", x1: frame.x(reported.x), y1: frame.y(reported.y), x2: frame.x(own.x), y2: frame.y(own.y) });
  }

  function plotMark(point, frame, metric, taken, kind) {
    const [x, y] = [frame.x(point.x), frame.y(point.y)];
    const where = point.reported ? " (reported)" : point.device ? ` (on ${point.device})` : "";
    const words = `${point.label}${where}: ${metric.title} ${fixed(point.y, metric.digits)} at ${Number(point.x.toPrecision(3))}`;
    const show = () => showProvenance(state.board, point.row, metric, point.row.figures[metric.key]);
    const active = point.reported ? {} : {
      tabindex: "0", role: "button", "aria-label": `${words}. Show where it comes from.`, onclick: show,
      onkeydown: (event) => { if (["Enter", " "].includes(event.key)) { event.preventDefault(); show(); } },
    };
    const mark = svg("g", { class: `mark ${kind}`, ...active }, svg("title", {}, words));
    if (isNumber(point.low)) {
      mark.append(svg("line", { class: "whisker", x1: x, x2: x, y1: frame.y(point.low), y2: frame.y(point.high) }));
    }
    mark.append(point.device
      ? svg("rect", { class: "point elsewhere", x: x - 5, y: y - 5, width: 10, height: 10 })
      : svg("circle", { class: point.reported ? null : "point", cx: x, cy: y, r: point.reported ? 4.5 : 5.5 }));
    const place = point.isNamed === false ? null : placeName(point.label, x, y, frame, taken);
    point.isNamed ??= Boolean(place);
    if (place) mark.append(svg("text", { x: place.x, y: place.y, "text-anchor": place.anchor }, point.label));
    return mark;
  }

  // ---------------------------------------------------------------------------- learning

  function setUpLearning() {
    const groups = state.board.learning;
    $("learning-section").hidden = !groups.length;
    options($("learning-group"), groups.map(({ name }, i) => [i, `${i + 1}. ${name}`]), 0);
    if (groups.length) chooseTrainings();
  }

  const chosenTrainings = () => state.board.learning[$("learning-group").value];

  function chooseTrainings() {
    const group = chosenTrainings();
    state.learning = curves.firstDrawn(group.curves.map(({ row }) => row));
    $("learning-what").textContent = group.title;
    options($("learning-x"), trainings.axesOf(group), $("learning-x").value);
    $("learning-table").replaceChildren(...learningTable(group.table));
    drawLearning();
  }

  function drawLearning() {
    const group = chosenTrainings();
    if (!group) return;
    const { rows } = state.board;
    curves.drawKey($("learning-key"), rows, state.learning, drawLearning, group.curves.map(({ row }) => row));
    const width = $("learning").clientWidth || 700;
    const size = { width, height: Math.round(Math.min(380, Math.max(260, width * 0.45))) };
    const [x, title] = [$("learning-x").value, $("learning-x").selectedOptions[0].textContent];
    $("learning").replaceChildren(trainings.chart(group, x, title, { drawn: state.learning, size, rows }));
  }

  /** The scores at parts of each training, and what is to be known of them. */
  function learningTable({ columns: titles, rows, notes }) {
    const head = element("tr", {}, ["Method", ...titles].map((title) => element("th", { scope: "col", class: "plain" }, title)));
    const body = rows.map(([label, ...cells]) => element("tr", {},
      element("th", { scope: "row" }, label), cells.map((cell) => element("td", { class: "plain" }, cell))));
    return [
      element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Quality against training" },
        element("table", {}, element("thead", {}, head), element("tbody", {}, body))),
      ...[...notes, state.board.withoutCurve].filter(Boolean).map((note) => element("p", { class: "muted small" }, note)),
    ];
  }

  // -------------------------------------------------------------------------- comparison

  function setUpComparison() {
    const board = state.board;
    const labels = board.rows.map((row, i) => [i, row.label]);
    options($("first"), labels, 0);
    options($("second"), labels, Math.min(1, labels.length - 1));
    options($("compare-metric"), board.metrics.filter(({ key }) => board.pairs[key]).map((m) => [m.key, m.title]), $("compare-metric").value);
    $("compare-section").hidden = !board.keys.length;
    setUpPictures();
    drawComparison();
  }

  function drawComparison() {
    const board = state.board;
    const [a, b] = [Number($("first").value), Number($("second").value)];
    const metric = board.metrics.find((m) => m.key === $("compare-metric").value);
    $("differences").replaceChildren();
    if (!metric || a === b) {
      $("verdict").textContent = "Choose two different methods.";
      return;
    }
    const pair = (board.pairs[metric.key] ?? []).find((p) => (p[0] === a && p[1] === b) || (p[0] === b && p[1] === a));
    if (!pair) {
      $("verdict").textContent = `${metric.title} is not available for both methods.`;
      return;
    }
    const result = comparison(pair, a);
    const differences = board.keys
      .map((key, i) => ({ key, value: difference(board, a, b, metric.key, i) }))
      .filter((d) => d.value !== null);
    drawVerdict(board, a, b, metric, result, differences);
    $("differences").append(differenceChart(differences, metric, result));
  }

  function difference(board, a, b, metric, i) {
    const [x, y] = [board.rows[a].values[metric]?.[i], board.rows[b].values[metric]?.[i]];
    return isNumber(x) && isNumber(y) ? x - y : null;
  }

  function drawVerdict(board, a, b, metric, result, differences) {
    const wins = differences.filter((d) => (metric.higher ? d.value > 0 : d.value < 0)).length;
    const ahead = (result.difference > 0) === metric.higher ? a : b;
    const leader = board.rows[ahead].label;
    const claim = result.corrected < 0.05
      ? element("b", {}, `${leader} leads.`)
      : element("b", { class: "level" }, metric.canTell ? "≈ No significant lead." : "Too few scenes to tell.");
    const interval = isNumber(result.low)
      ? ` (95 % interval ${signed(result.low, metric.digits)} … ${signed(result.high, metric.digits)})` : "";
    $("verdict").replaceChildren(claim,
      ` ${board.rows[a].label} − ${board.rows[b].label}: ${signed(result.difference, metric.digits)} ${metric.title}${interval}, ` +
      `${probability(result.corrected)} corrected (${probability(result.p)} alone); ` +
      `${board.rows[a].label} is better on ${wins} of ${result.samples} samples, ${result.scenes} ${result.scenes === 1 ? "scene" : "scenes"}.`);
  }

  /** One bar a sample, sorted: above the line the first method is better. Bars with pictures choose. */
  function differenceChart(differences, metric, result) {
    const width = Math.max(280, $("differences").clientWidth || 700);
    const [height, left, right] = [150, 54, 8];
    const good = (d) => (metric.higher ? d.value : -d.value);
    const sorted = [...differences].sort((p, q) => good(q) - good(p));
    const values = sorted.map(good);
    const sign = metric.higher ? 1 : -1;
    const marks = [result.low, result.high, result.difference].filter(isNumber).map((v) => v * sign);
    const [low, high] = [Math.min(0, ...values, ...marks), Math.max(0, ...values, ...marks)];
    const y = (v) => 10 + (1 - (v - low) / (high - low || 1)) * (height - 20);
    const step = (width - left - right) / Math.max(1, sorted.length);
    const view = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": "Difference of each sample, sorted" });
    for (const tick of ticks(low, high || 1)) {
      view.append(svg("g", { class: "axis" },
        svg("line", { class: "grid", x1: left, x2: width - right, y1: y(tick.at), y2: y(tick.at) }),
        svg("text", { x: left - 6, y: y(tick.at) + 4, "text-anchor": "end" }, signed(tick.at * sign, metric.digits > 2 ? 3 : 2))));
    }
    if (marks.length === 3) {
      view.append(svg("rect", { class: "band", x: left, width: width - left - right, y: Math.min(y(marks[0]), y(marks[1])), height: Math.abs(y(marks[1]) - y(marks[0])) }));
    }
    sorted.forEach((d, i) => view.append(differenceBar(d, left + i * step, step, y, values[i], metric)));
    view.append(
      svg("line", { class: "zero", x1: left, x2: width - right, y1: y(0), y2: y(0) }),
      svg("line", { class: "mean", x1: left, x2: width - right, y1: y(result.difference * sign), y2: y(result.difference * sign) }));
    return view;
  }

  function differenceBar(difference_, x, step, y, value, metric) {
    const hasPicture = state.board.images.some((sample) => sample.key === difference_.key);
    const choose = () => { $("sample").value = difference_.key; drawPictures(); markBar(); };
    const words = `${difference_.key}: ${signed(difference_.value, metric.digits)} ${metric.title}`;
    const gap = step > 3 ? 1 : 0;
    return svg("rect", {
      class: `bar ${value >= 0 ? "better" : "worse"}`, "data-key": difference_.key,
      x: x + gap / 2, width: Math.max(0.5, step - gap), y: Math.min(y(0), y(value)), height: Math.max(1, Math.abs(y(value) - y(0))),
      ...(hasPicture ? {
        role: "button", tabindex: "0", "aria-label": `${words}. Show this sample.`, onclick: choose,
        onkeydown: (event) => { if (["Enter", " "].includes(event.key)) { event.preventDefault(); choose(); } },
      } : {}),
    }, svg("title", {}, words));
  }

  function markBar() {
    for (const bar of document.querySelectorAll("#differences .bar")) {
      bar.classList.toggle("chosen", bar.dataset.key === $("sample").value && !$("pictures").hidden);
    }
  }

  // ---------------------------------------------------------------------------- pictures

  function setUpPictures() {
    const samples = state.board.images;
    $("pictures").hidden = !samples.length;
    $("no-pictures").hidden = Boolean(samples.length || state.board.videos.length);
    $("no-pictures").textContent = data.imagesLeftOut
      ? "The pictures of this board could not be embedded: they are missing, or over the size limit (images.megabytes)."
      : "No pictures were saved for this board (spikerec evaluate … save_images=4).";
    options($("sample"), samples.map(({ key }) => [key, key]), $("sample").value);
    drawPictures();
  }

  const currentSample = () => state.board.images.find((sample) => sample.key === $("sample").value);

  function drawPictures() {
    const sample = currentSample();
    if (!sample) return;
    const names = Object.keys(sample.layers).map((name) => [name, name]);
    const wanted = [$("first"), $("second")].map((select) => select.selectedOptions[0]?.textContent);
    options($("left-layer"), names, wanted[0]);
    options($("right-layer"), names, wanted[1]);
    if ($("left-layer").value === $("right-layer").value) {
      $("right-layer").value = names.map(([name]) => name).findLast((name) => name !== $("left-layer").value);
    }
    drawStage();
  }

  function drawStage() {
    const sample = currentSample();
    if (!sample) return;
    const slides = state.view === "slider";
    $("reveal-label").hidden = !slides;
    for (const id of ["left-layer", "right-layer"]) $(id).parentElement.hidden = !slides;
    const names = slides ? [$("left-layer").value, $("right-layer").value] : Object.keys(sample.layers);
    stage.show(state.view, names.map((name) => ({
      src: data.images[sample.layers[name]], name, note: noteOf(sample, name), alt: `${name}, sample ${sample.key}`,
    })), `Pictures of ${sample.key}`);
    markBar();
  }

  /** A layer's figure for one sample, in the metric of the comparison. */
  function noteOf(sample, name) {
    const row = state.board.rows.find((r) => r.label === name);
    const metric = state.board.metrics.find((m) => m.key === $("compare-metric").value);
    const value = metric && row?.values[metric.key]?.[state.board.keys.indexOf(sample.key)];
    return isNumber(value) ? `${metric.title} ${fixed(value, metric.digits)}` : "";
  }

  function showBorder({ share, scale, most, ratio }) {
    $("reveal").value = Math.round(100 * share);
    $("reveal").setAttribute("aria-valuetext", `${Math.round(100 * share)} % ${$("left-layer").value}`);
    $("zoom").textContent = `${Number(scale.toFixed(1))}×`;
    $("zoom-out").disabled = scale <= 1;
    $("zoom-in").disabled = scale >= most;
    if (ratio) $("pictures").style.setProperty("--ratio", ratio);
  }

  function setMode(mode) {
    state.view = mode;
    $("view-slider").setAttribute("aria-pressed", String(mode === "slider"));
    $("view-grid").setAttribute("aria-pressed", String(mode === "grid"));
    drawStage();
  }

  // ---------------------------------------------------------------------------- the rest

  function drawReferences() {
    $("reported-section").hidden = !data.references.length;
    $("references").replaceChildren(...data.references.flatMap((table) => {
      const title = table.title.replace("As reported: ", "");
      const groups = new Set(table.columns.map((c) => c.group).filter(Boolean)).size > 1;
      const head = table.columns.map((c) =>
        element("th", { scope: "col", class: "plain" }, `${c.title} ${c.arrow}`, groups && c.group ? element("span", { class: "sub" }, c.group) : null));
      const body = table.rows.map((row) => element("tr", {}, element("th", { scope: "row" }, row.label),
        table.columns.map((c) => {
          const figure = row.figures[c.key];
          const text = figure && isNumber(figure.mean) ? fixed(figure.mean, c.digits) : "–";
          return element("td", { class: "plain" }, element("span", { class: figure?.mark || null }, text));
        })));
      return [element("h3", {}, title),
        element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": title },
          element("table", {}, element("thead", {}, element("tr", {}, element("th", { scope: "col", class: "plain" }, "Method"), head)), element("tbody", {}, body))),
        ...table.notes.map((note) => element("p", { class: "muted small" }, note))];
    }));
  }

  function drawProblems() {
    $("problems").hidden = !data.problems.length;
    const more = data.problemCount - data.problems.length;
    $("problems").querySelector("ul").replaceChildren(
      ...data.problems.map((reason) => element("li", {}, reason)),
      ...(more > 0 ? [element("li", {}, `… and ${more} more.`)] : []));
  }

  function setTheme(theme) {
    document.documentElement.dataset.theme = theme;
    $("theme").textContent = theme === "dark" ? "☀ Light" : "☾ Dark";
  }

  function start() {
    const system = matchMedia("(prefers-color-scheme: dark)");
    setTheme(system.matches ? "dark" : "light");
    system.addEventListener("change", () => setTheme(system.matches ? "dark" : "light"));
    $("theme").addEventListener("click", () =>
      setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));

    const datasets = data.boards.map((board) => board.name);
    const methods = new Set(data.boards.flatMap((board) => board.rows.map((row) => row.label)));
    $("summary").textContent =
      `Spike-camera image reconstruction: ${methods.size} methods on ${datasets.length} data ${datasets.length === 1 ? "set" : "sets"}`;
    $("footer").textContent = `Made by spikerec ${data.version} on ${day(data.generated)}.`;
    options($("dataset"), datasets.map((name) => [name, name]));

    const on = (id, type, action) => $(id).addEventListener(type, action);
    on("controls", "submit", (event) => event.preventDefault());
    on("dataset", "change", chooseBoard);
    on("filter", "input", drawTable);
    on("spread", "change", () => { drawTable(); drawCurves(); });
    on("factors-metric", "change", drawFactors);
    for (const id of ["covariate-x", "covariate-y"]) on(id, "change", drawCovariate);
    on("learning-group", "change", chooseTrainings);
    on("learning-x", "change", drawLearning);
    on("reported", "change", () => { drawTable(); drawPlot(); });
    on("plot-x", "change", drawPlot);
    on("plot-y", "change", drawPlot);
    for (const id of ["first", "second"]) on(id, "change", () => { drawComparison(); drawPictures(); });
    on("compare-metric", "change", () => { drawComparison(); drawStage(); });
    on("sample", "change", drawPictures);
    on("left-layer", "change", drawStage);
    on("right-layer", "change", drawStage);
    on("reveal", "input", () => stage.reveal($("reveal").value / 100));
    on("zoom-in", "click", () => stage.zoom(1.5));
    on("zoom-out", "click", () => stage.zoom(1 / 1.5));
    on("view-slider", "click", () => setMode("slider"));
    on("view-grid", "click", () => setMode("grid"));
    on("provenance", "click", (event) => { if (event.target === $("provenance")) $("provenance").close(); });

    chooseBoard();
    drawReferences();
    drawProblems();
    let width = innerWidth;
    addEventListener("resize", () => {
      if (innerWidth === width) return;
      width = innerWidth;
      drawTable();
      drawCurves();
      drawPlot();
      drawLearning();
      drawComparison();
      markBar();
    });
  }

  start();
})();
