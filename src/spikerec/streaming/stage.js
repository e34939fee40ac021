"use strict";

/*
 * Pictures of one scene: two under a border that moves ("slider"), or several side by side ("grid").
 * They pan and magnify together. Names enter the page as text nodes, never as HTML.
 *
 *   const stage = pictureStage(node, changed);
 *   stage.show("slider", [left, right], "Pictures of car");   // each: { src, name, note, alt }
 *   stage.reveal(0.5);                                        // the border, as a share of the width
 *   stage.zoom(1.5);
 *
 * `changed({ share, scale, most, ratio })` is called when the border, the magnification (1 … most)
 * or the pictures' width over their height has changed.
 */
globalThis.pictureStage = (stage, changed = () => {}) => {
  const MOST_SCALE = 16;
  const view = { mode: "slider", share: 0.5, scale: 1, x: 0, y: 0, ratio: 0, pointers: new Map() };

  function make(kind, className, ...children) {
    const node = document.createElement(kind);
    node.className = className;
    node.append(...children);
    return node;
  }

  /** Show layers; pictures are exchanged in place where as many are shown in the same way. */
  function show(mode, layers, label) {
    const isSame = mode === view.mode && stage.querySelectorAll("img").length === layers.length;
    if (!isSame) {
      view.mode = mode;
      stage.className = `stage ${mode}`;
      stage.replaceChildren(...(mode === "slider" ? [sliderFrame()] : layers.map(() => frameOf(pane(""), tag("left")))));
    }
    const images = [...stage.querySelectorAll("img")], names = [...stage.querySelectorAll(".name")];
    layers.forEach(({ src, name, note = "", alt = name }, i) => {
      if (images[i].src !== src) images[i].src = src;
      images[i].alt = alt;
      names[i].replaceChildren(name, ...(note ? [make("small", "", note)] : []));
    });
    for (const frame of stage.children) {
      frame.setAttribute("aria-label", `${label}: arrow keys pan, + and − magnify, 0 resets`);
    }
    transform();
  }

  function sliderFrame() {
    // in the document's order, left comes first; it lies above the right picture
    return frameOf(pane("over"), pane(""), make("div", "border"), tag("left"), tag("right"));
  }

  function pane(className) {
    const image = make("img", "");
    image.draggable = false;
    image.addEventListener("load", () => shape(image));
    return make("div", `pane ${className}`, image);
  }

  const tag = (side) => make("div", `name ${side}`);

  function frameOf(...children) {
    const frame = make("div", "view", ...children);
    frame.tabIndex = 0;
    frame.setAttribute("role", "group");
    const on = { pointerdown: press, pointermove: drag, pointerup: release, pointercancel: release, keydown: steer };
    for (const [type, listener] of Object.entries(on)) frame.addEventListener(type, listener);
    frame.addEventListener("wheel", wheel, { passive: false });
    if (view.ratio) frame.style.aspectRatio = view.ratio;
    return frame;
  }

  /** Give the frames the shape of their pictures. */
  function shape(image) {
    view.ratio = image.naturalWidth / image.naturalHeight;
    stage.style.setProperty("--ratio", view.ratio);
    for (const frame of stage.children) frame.style.aspectRatio = view.ratio;
    tell();
  }

  function tell() {
    changed({ share: view.share, scale: view.scale, most: MOST_SCALE, ratio: view.ratio });
  }

  function transform() {
    const most = 1 - view.scale;
    view.x = Math.min(0, Math.max(most, view.x));
    view.y = Math.min(0, Math.max(most, view.y));
    for (const frame of stage.children) {
      frame.classList.toggle("zoomed", view.scale > 1);
      frame.classList.toggle("sharp", view.scale >= 3);
      for (const image of frame.querySelectorAll("img")) {
        image.style.transform = `translate(${view.x * 100}%, ${view.y * 100}%) scale(${view.scale})`;
      }
    }
    reveal(view.share);
  }

  /** Magnify about a point of the frame, given in [0, 1]². */
  function zoom(factor, atX = 0.5, atY = 0.5) {
    const scale = Math.min(MOST_SCALE, Math.max(1, view.scale * factor));
    view.x = atX - ((atX - view.x) / view.scale) * scale;
    view.y = atY - ((atY - view.y) / view.scale) * scale;
    view.scale = scale;
    transform();
  }

  function reveal(share) {
    view.share = Math.min(1, Math.max(0, share));
    const [over, border] = [stage.querySelector(".over"), stage.querySelector(".border")];
    if (over) over.style.clipPath = `inset(0 ${100 * (1 - view.share)}% 0 0)`;
    if (border) border.style.left = `${100 * view.share}%`;
    tell();
  }

  function at(event) {
    const bounds = event.currentTarget.getBoundingClientRect();
    return { x: (event.clientX - bounds.left) / bounds.width, y: (event.clientY - bounds.top) / bounds.height };
  }

  function press(event) {
    event.currentTarget.setPointerCapture(event.pointerId);
    view.pointers.set(event.pointerId, at(event));
    if (view.mode === "slider" && view.scale === 1 && view.pointers.size === 1) reveal(at(event).x);
  }

  function drag(event) {
    const before = view.pointers.get(event.pointerId);
    if (!before) return;
    const now = at(event);
    if (view.pointers.size === 2) {
      const [, other] = [...view.pointers].find(([id]) => id !== event.pointerId);
      const apart = (p) => Math.hypot(p.x - other.x, p.y - other.y) || 1e-3;
      zoom(apart(now) / apart(before), (now.x + other.x) / 2, (now.y + other.y) / 2);
    } else if (view.scale > 1) {
      view.x += now.x - before.x;
      view.y += now.y - before.y;
      transform();
    } else if (view.mode === "slider") {
      reveal(now.x);
    }
    view.pointers.set(event.pointerId, now);
  }

  function release(event) {
    const wasClick = view.mode === "grid" && view.scale === 1 && view.pointers.size === 1 && event.type === "pointerup";
    view.pointers.delete(event.pointerId);
    if (wasClick) zoom(3, at(event).x, at(event).y);
  }

  function wheel(event) {
    if (!event.ctrlKey && !event.metaKey) return; // a plain wheel scrolls the page
    event.preventDefault();
    zoom(Math.exp(-event.deltaY / 200), at(event).x, at(event).y);
  }

  function steer(event) {
    const pan = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (event.key === "+" || event.key === "=") zoom(1.5);
    else if (event.key === "-") zoom(1 / 1.5);
    else if (event.key === "0") zoom(1e-9);
    else if (pan && view.scale > 1) {
      view.x += pan[0] * 0.1;
      view.y += pan[1] * 0.1;
      transform();
    } else return;
    event.preventDefault();
  }

  return { show, zoom, reveal };
};
