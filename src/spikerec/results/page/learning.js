"use strict";

/*
 * Quality against training: one line a method, each with validations of its own.
 * `learningChart` is given the page's own means of making elements and the looks of rows.
 */
globalThis.learningChart = ({ svg, fixed, ticks, light, look }) => {
  const MARGIN = { left: 46, right: 16, top: 24, bottom: 46 };
  const UNITS = [[172800, 86400, "days"], [7200, 3600, "hours"], [300, 60, "minutes"], [0, 1, "seconds"]];

  /** The axes that some of a group's curves have: key → title. */
  function axesOf(group) {
    const of = group.clock === "processor" ? "Processor time" : "Time";
    const timed = group.curves.some((curve) => curve.seconds);
    return [...(timed ? [["seconds", `${of} of training`]] : []), ["samples", "Samples seen"]];
  }

  /** The unit of an axis that ends at a value: its length and its name. */
  function unitOf(axis, most) {
    if (axis === "samples") return { length: 1, name: "samples" };
    const [, length, name] = UNITS.find(([from]) => most >= from);
    return { length, name };
  }

  /** The chart of a group; `axis` is `seconds` or `samples`, `drawn` the rows to draw. */
  function chart(group, axis, title, { drawn, size, rows }) {
    const shown = group.curves.filter((curve) => drawn.has(curve.row) && curve[axis]);
    const width = size.width - MARGIN.left - MARGIN.right;
    const height = size.height - MARGIN.top - MARGIN.bottom;
    const most = Math.max(1e-9, ...shown.flatMap((curve) => curve[axis]), axis === "seconds" ? group.budget ?? 0 : 0);
    const scores = shown.flatMap((curve) => curve.psnr);
    const [low, high] = scores.length ? [Math.min(...scores), Math.max(...scores)] : [0, 1];
    const slack = (high - low || Math.abs(high) || 1) * 0.05;
    const range = [low - slack, high + slack];
    const unit = unitOf(axis, most);
    const x = (v) => MARGIN.left + (v / most) * width;
    const y = (v) => MARGIN.top + (1 - (v - range[0]) / (range[1] - range[0])) * height;
    const bottom = MARGIN.top + height;
    const grid = svg("g", { class: "axis" });
    for (const tick of ticks(...range)) {
      grid.append(
        svg("line", { class: "grid", x1: MARGIN.left, x2: MARGIN.left + width, y1: y(tick.at), y2: y(tick.at) }),
        svg("text", { x: MARGIN.left - 6, y: y(tick.at) + 4, "text-anchor": "end" }, tick.text));
    }
    for (const tick of ticks(0, most / unit.length)) {
      grid.append(svg("text", { x: x(tick.at * unit.length), y: bottom + 18, "text-anchor": "middle" }, tick.text));
    }
    if (axis === "seconds" && group.budget) {
      grid.append(svg("line", { class: "middle", x1: x(group.budget), x2: x(group.budget), y1: MARGIN.top, y2: bottom }));
    }
    grid.append(svg("text", { class: "title", x: MARGIN.left + width, y: size.height - 8, "text-anchor": "end" }, `${axis === "samples" ? title : `${title} (${unit.name})`} →`));
    return svg("svg", {
      viewBox: `0 0 ${size.width} ${size.height}`, role: "group", "aria-label": `Validation PSNR against ${title}`,
    }, grid, svg("text", { class: "heading", x: 0, y: 12 }, "Validation PSNR"),
    shown.map((curve) => series(curve, axis, { x, y, unit, rows })));
  }

  function series(curve, axis, { x, y, unit, rows }) {
    const { colour, dash } = look(curve.row);
    const points = curve.psnr.map((score, i) => ({ score, at: curve[axis][i] }));
    const line = points.map(({ at, score }) => `${x(at)},${y(score)}`).join(" ");
    return svg("g", {
      class: "series", "data-row": curve.row, style: `color: ${colour}`,
      onpointerenter: () => light(curve.row), onpointerleave: () => light(null),
    }, svg("polyline", { class: "line", points: line, "stroke-dasharray": dash }),
    points.map(({ at, score }) => svg("g", { class: "score" },
      svg("title", {}, `${rows[curve.row].label}, ${fixed(at / unit.length, unit.length > 1 ? 1 : 0)} ${unit.name}: PSNR ${fixed(score, 2)}`),
      svg("circle", { class: "reach", cx: x(at), cy: y(score), r: 9 }),
      svg("circle", { cx: x(at), cy: y(score), r: 2.5 }))));
  }

  return { axesOf, chart };
};
