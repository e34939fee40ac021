"use strict";

/*
 * Curves of quality against conditions: one line a method, with its interval as a shade.
 * `curveCharts` is given the page's own means of making elements, and what a point shows.
 */
globalThis.curveCharts = ({ element, svg, fixed, ticks, isNumber, showPoint }) => {
  const MOST_DRAWN = 8; // methods that are drawn until others are chosen
  const COLOURS = ["#0b72d0", "#d1541b", "#12855c", "#b03a8c", "#8a6d00", "#5b57c9", "#0f8fa3", "#c23b4e", "#6b7684", "#7a4a21"];
  const DASHES = [null, "6 3", "2 3"];
  const MARGIN = { left: 46, right: 12, top: 24, bottom: 40 };

  /** The look of a row's line: ten colours, then the same dashed. */
  function look(row) {
    return { colour: COLOURS[row % COLOURS.length], dash: DASHES[Math.floor(row / COLOURS.length) % DASHES.length] };
  }

  /** The numbers of rows that are drawn at first: those of the best ones. */
  const firstDrawn = (numbers) => new Set([...numbers].slice(0, MOST_DRAWN));

  /** A button for each row, or for those of some numbers, which shows or hides its line. */
  function drawKey(node, rows, drawn, onChange, numbers = rows.keys()) {
    node.replaceChildren(...[...numbers].map((i) => {
      const { colour, dash } = look(i);
      const sample = svg("svg", { width: 22, height: 10, "aria-hidden": "true" },
        svg("line", { x1: 1, x2: 21, y1: 5, y2: 5, stroke: colour, "stroke-width": 3, "stroke-dasharray": dash }));
      return element("button", {
        type: "button", "aria-pressed": String(drawn.has(i)),
        onclick: () => { if (!drawn.delete(i)) drawn.add(i); onChange(); },
        onpointerenter: () => light(i), onpointerleave: () => light(null),
      }, sample, rows[i].label);
    }));
  }

  /** Fades all lines of the page but one row's; null: none. */
  function light(row) {
    for (const line of document.querySelectorAll(".series")) {
      line.classList.toggle("faded", row !== null && Number(line.dataset.row) !== row);
    }
  }

  const values = (curve) => curve.flatMap((one) => (one ? one.slice(0, 3).filter(isNumber) : []));

  /** Least and largest value of the lines drawn on some axes, so that their charts share a scale. */
  function rangeOf(axes, metric, drawn, hasShades) {
    const all = axes.flatMap((axis) => (axis.curves[metric.key] ?? [])
      .filter((curve, row) => curve && drawn.has(row))
      .flatMap((curve) => (hasShades ? values(curve) : curve.filter(Boolean).map(([mean]) => mean))));
    if (!all.length) return [0, 1];
    const [low, high] = [Math.min(...all), Math.max(...all)];
    const slack = (high - low || Math.abs(high) || 1) * 0.05;
    return [low - slack, high + slack];
  }

  /** Where each point is, left to right in [0, 1]: bins by value, levels and labels evenly. */
  function places(axis) {
    const centres = axis.points.map((point) => (point.low + point.high) / 2);
    const [least, most] = [axis.points[0].low, axis.points.at(-1).high];
    const areBins = axis.points.some((point) => point.low < point.high);
    if (areBins) return centres.map((centre) => (centre - least) / (most - least));
    return axis.points.map((_, i) => (axis.points.length > 1 ? i / (axis.points.length - 1) : 0.5));
  }

  /** Ticks under a chart: values of a scale for bins, else the levels, in two lines where they are long. */
  function acrossTicks(axis, at, width) {
    const [least, most] = [axis.points[0].low, axis.points.at(-1).high];
    if (axis.points.some((point) => point.low < point.high)) {
      return ticks(least, most).map((tick) => ({ text: tick.text, place: (tick.at - least) / (most - least), line: 0 }));
    }
    const ends = [-Infinity, -Infinity]; // of the texts so far, in either line
    return axis.points.map((point, i) => {
      const half = point.text.length * 3.4 + 3;
      const centre = Math.min(Math.max(at[i] * width, half - MARGIN.left), width + MARGIN.right - half);
      const line = centre - half < ends[0] ? 1 : 0;
      ends[line] = centre + half;
      return { text: point.text, place: centre / width, line };
    });
  }

  /**
   * One chart.
   * `size` is {width, height}; `range` the least and largest value; `hasShades` draws intervals.
   */
  function chart(axis, metric, { drawn, range, size, hasShades, rows }) {
    const width = size.width - MARGIN.left - MARGIN.right;
    const height = size.height - MARGIN.top - MARGIN.bottom;
    const at = places(axis);
    const x = (i) => MARGIN.left + at[i] * width;
    const up = (v) => (v - range[0]) / (range[1] - range[0]);
    const y = (v) => MARGIN.top + (metric.higher ? 1 - up(v) : up(v)) * height;
    const view = svg("svg", {
      viewBox: `0 0 ${size.width} ${size.height}`, role: "group", "aria-label": `${metric.title} against ${axis.title}`,
    });
    const grid = svg("g", { class: "axis" });
    for (const tick of ticks(...range)) {
      grid.append(
        svg("line", { class: "grid", x1: MARGIN.left, x2: MARGIN.left + width, y1: y(tick.at), y2: y(tick.at) }),
        svg("text", { x: MARGIN.left - 6, y: y(tick.at) + 4, "text-anchor": "end" }, tick.text));
    }
    for (const tick of acrossTicks(axis, at, width)) {
      grid.append(svg("text", { x: MARGIN.left + tick.place * width, y: MARGIN.top + height + 18 + 14 * tick.line, "text-anchor": "middle" }, tick.text));
    }
    if (isNumber(axis.middle)) {
      grid.append(svg("line", { class: "middle", x1: x(axis.middle), x2: x(axis.middle), y1: MARGIN.top, y2: MARGIN.top + height }));
    }
    view.append(grid, svg("text", { class: "heading", x: 0, y: 12 }, axis.title));
    (axis.curves[metric.key] ?? []).forEach((curve, row) => {
      if (curve && drawn.has(row)) view.append(series(curve, row, { x, y, axis, metric, hasShades, rows }));
    });
    return view;
  }

  function series(curve, row, { x, y, axis, metric, hasShades, rows }) {
    const { colour, dash } = look(row);
    const group = svg("g", {
      class: "series", "data-row": row, style: `color: ${colour}`,
      onpointerenter: () => light(row), onpointerleave: () => light(null),
    });
    const known = curve.map((one, i) => ({ one, i })).filter(({ one }) => one);
    const bounded = known.filter(({ one }) => isNumber(one[1]));
    if (hasShades && bounded.length > 1) {
      const shade = [
        ...bounded.map(({ one, i }) => `${x(i)},${y(one[2])}`),
        ...bounded.reverse().map(({ one, i }) => `${x(i)},${y(one[1])}`),
      ];
      group.append(svg("polygon", { class: "shade", points: shade.join(" ") }));
    }
    group.append(svg("polyline", { class: "line", points: known.map(({ one, i }) => `${x(i)},${y(one[0])}`).join(" "), "stroke-dasharray": dash }));
    for (const { one, i } of known) {
      const words = `${rows[row].label}, ${axis.title} ${axis.points[i].text}: ${metric.title} ${fixed(one[0], metric.digits)}`;
      group.append(svg("g", { class: "dot", onclick: () => showPoint(row, metric, axis, i, one) },
        svg("title", {}, words),
        svg("circle", { class: "reach", cx: x(i), cy: y(one[0]), r: 9 }),
        svg("circle", { cx: x(i), cy: y(one[0]), r: 3 })));
    }
    return group;
  }

  return { chart, drawKey, firstDrawn, light, look, rangeOf };
};
