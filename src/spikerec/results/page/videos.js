"use strict";

/*
 * Plays the videos of a board side by side, in step with their curves. A video is a filmstrip: one
 * picture of all images, row by row, of which a canvas shows one. Nothing is fetched.
 */

const IMAGES_A_SECOND = 8;
const FIRST_SHOWN = 4; // methods that are shown at first, the best ones
const COLOURS = ["#3b82d6", "#e07b1f", "#2fa36b", "#c4474f", "#8b62c9", "#a3702c", "#d25aa5", "#6b7684", "#9a9a1c", "#1fa3b8"];
const PLOT = { height: 220, left: 52, right: 14, top: 12, bottom: 34 };

/**
 * The player in a section of the page.
 *
 * `show(board)` shows the videos of a board, and hides the section where it has none. `tools` are
 * the page's own functions.
 */
globalThis.videoPlayer = (section, images, { element, svg, options, fixed, isNumber }) => {
  const state = { board: null, clip: null, place: 0, timer: null, shown: new Set() };
  const clipChoice = element("select", { id: "video-clip", onchange: chooseClip });
  const metricChoice = element("select", { id: "video-metric", onchange: draw });
  const play = element("button", { type: "button", id: "video-play", onclick: toggle });
  const seek = element("input", {
    type: "range", id: "video-seek", min: 0, step: 1, value: 0, "aria-label": "Image",
    oninput: () => { stop(); go(Number(seek.value)); },
  });
  const where = element("output", { id: "video-where", for: "video-seek" });
  const chips = element("div", { class: "video-chips", role: "group", "aria-label": "Methods that are shown" });
  const grid = element("div", { class: "video-grid" });
  const plot = element("div", { id: "video-plot" });
  const note = element("p", { class: "muted small" });
  section.append(
    element("div", { class: "head" }, element("h2", { id: "videos-title" }, "Videos and their curves"),
      element("div", { class: "pickers" },
        element("label", {}, "Clip ", clipChoice), element("label", {}, "Curve ", metricChoice))),
    chips, grid,
    element("div", { class: "video-bar" }, play, seek, where), plot, note);

  function show(board) {
    stop();
    section.hidden = !board.videos.length;
    if (section.hidden) return;
    state.board = board;
    const drawn = board.metrics.filter(({ key }) => board.videos.some((clip) => clip.curves[key]));
    options(clipChoice, board.videos.map(({ key }, i) => [i, key]), 0);
    options(metricChoice, drawn.map(({ key, title }) => [key, title]), metricChoice.value);
    state.shown = new Set(board.rows.slice(0, FIRST_SHOWN).map(({ label }) => label));
    chooseClip();
  }

  function chooseClip() {
    stop();
    const clip = state.board.videos[Number(clipChoice.value)];
    state.clip = clip;
    state.place = 0;
    seek.max = clip.readouts.length - 1;
    note.textContent = (Object.keys(clip.strips).length ? "" : "No videos of this clip were saved (save_images of spikerec evaluate). ")
      + (clip.images > clip.readouts.length ? `The first ${clip.readouts.length} of ${clip.images} images. ` : "")
      + "A metric of pairs compares each image with the one before. Choose a place in the plot to go there.";
    draw();
  }

  const colour = (label) => COLOURS[state.board.rows.findIndex((row) => row.label === label) % COLOURS.length];

  function draw() {
    drawChips();
    drawGrid();
    go(state.place);
  }

  function drawChips() {
    chips.replaceChildren(...state.board.rows.map(({ label }) => element("button", {
      type: "button", "aria-pressed": String(state.shown.has(label)), style: `--colour: ${colour(label)}`,
      onclick: () => {
        if (!state.shown.delete(label)) state.shown.add(label);
        draw();
        [...chips.children].find((chip) => chip.textContent === label).focus();
      },
    }, label)));
  }

  /** One canvas for the truth, and one for each method that is shown. */
  function drawGrid() {
    const { strips } = state.clip;
    const methods = state.board.rows.map(({ label }) => label);
    const others = Object.keys(strips).filter((name) => !methods.includes(name));
    const names = [...others, ...methods.filter((label) => state.shown.has(label) && strips[label])];
    grid.replaceChildren(...names.map((name) => {
      const strip = strips[name];
      const canvas = element("canvas", {
        width: strip.width, height: strip.height, role: "img", "aria-label": `${name}, clip ${state.clip.key}`,
      });
      const picture = new Image();
      const value = element("span", { class: "muted" });
      const figure = element("figure", methods.includes(name) ? { style: `--colour: ${colour(name)}` } : {}, canvas,
        element("figcaption", {}, element("b", {}, name), " ", value));
      figure.paint = () => {
        if (!picture.complete) return;
        const place = Math.min(state.place, strip.frames - 1);
        const [x, y] = [(place % strip.columns) * strip.width, Math.floor(place / strip.columns) * strip.height];
        canvas.getContext("2d").drawImage(picture, x, y, strip.width, strip.height, 0, 0, strip.width, strip.height);
        const found = state.clip.curves[metricChoice.value]?.[name]?.[state.place];
        value.textContent = isNumber(found) ? fixed(found, metric().digits) : "";
      };
      picture.onload = () => figure.paint();
      picture.src = images[strip.image];
      return figure;
    }));
  }

  const metric = () => state.board.metrics.find(({ key }) => key === metricChoice.value);

  /** Show an image of all videos, and its place on the curves. */
  function go(place) {
    state.place = place;
    seek.value = place;
    const count = state.clip.readouts.length;
    where.textContent = `image ${place + 1} of ${count} · readout ${state.clip.readouts[place]}`;
    seek.setAttribute("aria-valuetext", where.textContent);
    play.textContent = state.timer === null ? "Play" : "Pause";
    for (const figure of grid.children) figure.paint();
    drawPlot();
  }

  function toggle() {
    if (state.timer !== null) {
      stop();
      return;
    }
    state.timer = setInterval(() => go((state.place + 1) % state.clip.readouts.length), 1000 / IMAGES_A_SECOND);
    play.textContent = "Pause";
  }

  function stop() {
    clearInterval(state.timer);
    state.timer = null;
    play.textContent = "Play";
  }

  function drawPlot() {
    const curves = Object.entries(state.clip.curves[metricChoice.value] ?? {}).filter(([label]) => state.shown.has(label));
    const values = curves.flatMap(([, curve]) => curve).filter(isNumber);
    if (!values.length) {
      plot.replaceChildren(element("p", { class: "muted" }, "The methods that are shown have no values by this metric."));
      return;
    }
    const { readouts } = state.clip;
    const width = Math.max(280, plot.clientWidth || 700);
    const [first, last] = [readouts[0], readouts.at(-1)];
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const margin = 0.05 * (high - low) || 1;
    const x = (readout) => PLOT.left + ((readout - first) / (last - first || 1)) * (width - PLOT.left - PLOT.right);
    const y = (value) => PLOT.height - PLOT.bottom
      - ((value - low + margin) / (high - low + 2 * margin)) * (PLOT.height - PLOT.top - PLOT.bottom);
    const view = svg("svg", {
      viewBox: `0 0 ${width} ${PLOT.height}`, role: "img",
      "aria-label": `${metric().title} by image: ${curves.map(([label]) => label).join(", ")}`,
      onpointerdown: (event) => seekTo(event, view, x),
      onpointermove: (event) => { if (event.buttons) seekTo(event, view, x); },
    });
    for (const tick of [low, (low + high) / 2, high]) {
      view.append(
        svg("line", { class: "video-rule", x1: PLOT.left, x2: width - PLOT.right, y1: y(tick), y2: y(tick) }),
        svg("text", { class: "video-tick", x: PLOT.left - 6, y: y(tick) + 4, "text-anchor": "end" }, fixed(tick, Math.min(metric().digits, 3))));
    }
    for (const [readout, anchor] of [[first, "start"], [last, "end"]]) {
      view.append(svg("text", { class: "video-tick", x: x(readout), y: PLOT.height - PLOT.bottom + 16, "text-anchor": anchor }, String(readout)));
    }
    view.append(svg("text", { class: "video-tick", x: (PLOT.left + width) / 2, y: PLOT.height - 4, "text-anchor": "middle" }, "key readout"));
    for (const [label, curve] of curves) {
      view.append(svg("path", { class: "video-curve", stroke: colour(label), d: path(curve, readouts, x, y) }, svg("title", {}, label)));
    }
    const now = x(readouts[state.place]);
    view.append(svg("line", { class: "video-now", x1: now, x2: now, y1: PLOT.top, y2: PLOT.height - PLOT.bottom }));
    for (const [label, curve] of curves) {
      const value = curve[state.place];
      if (isNumber(value)) view.append(svg("circle", { cx: now, cy: y(value), r: 4, fill: colour(label) }));
    }
    plot.replaceChildren(view);
  }

  /** A line through the values, broken where there is none. */
  function path(curve, readouts, x, y) {
    let isBroken = true;
    return curve.map((value, i) => {
      if (!isNumber(value)) {
        isBroken = true;
        return "";
      }
      const step = `${isBroken ? "M" : "L"}${x(readouts[i]).toFixed(1)},${y(value).toFixed(1)}`;
      isBroken = false;
      return step;
    }).join("");
  }

  /** Go to the image that is nearest to a place in the plot. */
  function seekTo(event, view, x) {
    stop();
    const box = view.getBoundingClientRect();
    const at = ((event.clientX - box.left) / box.width) * view.viewBox.baseVal.width;
    const distances = state.clip.readouts.map((readout) => Math.abs(x(readout) - at));
    go(distances.indexOf(Math.min(...distances)));
  }

  addEventListener("resize", () => { if (!section.hidden) drawPlot(); });
  return { show };
};
