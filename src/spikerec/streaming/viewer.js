"use strict";

(() => {
  const get = (id) => document.getElementById(id);
  const stage = globalThis.pictureStage(get("stage"));
  const shown = { left: null, right: null }; // method and picture of each side
  let facts, busy = false, stale = false, playing = false;

  /** A picture that is decoded: it can be shown without a blank moment. */
  async function decoded(blob) {
    const image = new Image();
    image.src = URL.createObjectURL(blob);
    await image.decode();
    return image.src;
  }

  async function show() {
    if (busy) { stale = true; return; }
    busy = true;
    const gain = 2 ** get("gain").value, gamma = get("gamma").value, readout = get("readout").value;
    get("gain-value").value = `× ${gain.toFixed(2)}`;
    get("gamma-value").value = gamma;
    get("time").value = facts.rate_hz ? `${readout} · ${(1000 * readout / facts.rate_hz).toFixed(2)} ms` : readout;
    for (const side of ["left", "right"]) {
      const method = get(`${side}-method`).value;
      const answer = await fetch(`/frame?method=${encodeURIComponent(method)}&key_readout=${readout}&gain=${gain}&gamma=${gamma}`);
      if (!answer.ok) { get("error").textContent = await answer.text(); continue; }
      get("error").textContent = "";
      const old = shown[side];
      shown[side] = { name: method, src: await decoded(await answer.blob()) };
      if (shown.left && shown.right) stage.show("slider", [shown.left, shown.right], facts.name);
      if (old) URL.revokeObjectURL(old.src);
    }
    busy = false;
    document.body.dataset.shown = readout;
    if (stale) { stale = false; show(); }
    else if (playing) step(Number(get("stride").value));
  }
  function step(by) {
    const readout = Number(get("readout").value) + by;
    if (readout > facts.last) get("readout").value = facts.first;
    else get("readout").value = readout < facts.first ? facts.last : readout;
    show();
  }

  get("play").addEventListener("click", () => {
    playing = !playing;
    get("play").textContent = playing ? "stop" : "play";
    if (playing) step(Number(get("stride").value));
  });
  for (const id of ["readout", "gain", "gamma", "left-method", "right-method"]) get(id).addEventListener("input", show);
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.target.matches("input, select")) return;
    if (event.key === "ArrowRight") step(Number(get("stride").value));
    if (event.key === "ArrowLeft") step(-Number(get("stride").value));
  });

  fetch("/facts").then((answer) => answer.json()).then((found) => {
    facts = found;
    get("concerns").textContent = facts.concerns.join("\n");
    get("title").textContent = `${facts.name} · ${facts.height} × ${facts.width}`;
    Object.assign(get("readout"), { min: facts.first, max: facts.last, value: facts.first });
    for (const side of ["left", "right"])
      for (const name of facts.methods) get(`${side}-method`).add(new Option(name));
    get("right-method").selectedIndex = Math.min(1, facts.methods.length - 1);
    show();
  });
})();
