// What the occlusion explorer looks like: its elements, built once, and their refresh.

const fillName = (fill) => (typeof fill === "string" ? fill : `grey ${fill}`);
const fillLevel = (fill) => 100 * ({ black: 0, grey: 0.5, white: 1 }[fill] ?? fill);

const averageColour = (rgb) => {
  const sum = [0, 0, 0];
  for (let i = 0; i < rgb.length; i++) sum[i % 3] += rgb[i];
  return `rgb(${sum.map((s) => Math.round((3 * s) / rgb.length)).join(" ")})`;
};

const buildOcclusion = (view) => {
  const { model, el } = view, ui = (view.ui = {}), live = model.get("live");
  const [height, width] = model.get("size");

  // the two pictures, each with its patch
  const panel = (title, canvas, foot, extra) => {
    const patch = h("div", { class: "lk-patch" });
    const stage = h("div", { class: "lk-stage", style: `aspect-ratio:${width}/${height}` }, canvas, patch);
    const at = (event) => {
      const box = stage.getBoundingClientRect();
      return [((event.clientX - box.left) / box.width) * width, ((event.clientY - box.top) / box.height) * height];
    };
    stage.addEventListener("pointermove", guarded(el, (event) => view.hover(...at(event))));
    stage.addEventListener("pointerleave", guarded(el, () => view.leave()));
    stage.addEventListener("click", guarded(el, (event) => { view.hover(...at(event)); view.pin(); }));
    return [h("figure", { class: "lk-panel" }, h("figcaption", {}, h("b", {}, title), extra), stage, foot), patch, stage];
  };
  ui.picture = h("canvas", { role: "img" });
  ui.map = h("canvas", { class: "lk-map", role: "img" });
  ui.pictureName = h("span"); ui.mapName = h("span");
  ui.place = h("div", { class: "lk-foot" });
  ui.legend = mapLegend("drop of the score (logits)");
  const [left, patchLeft, stage] = panel("Picture", ui.picture, ui.place, ui.pictureName);
  const [right, patchRight] = panel("Map", ui.map, ui.legend.node, ui.mapName);
  ui.patches = [patchLeft, patchRight];
  stage.tabIndex = 0;
  stage.setAttribute(SHIELD, "true");
  stage.setAttribute("role", "application");
  stage.setAttribute("aria-label", "Picture. Arrows move the patch, plus and minus change its size, Enter pins it, Escape clears it, space plays.");

  // the scores
  const line = (name) => { const value = h("span", { class: "lk-value" }); return [h("div", { class: "lk-line" }, name, value), value]; };
  const [whole, wholeValue] = line("whole picture"), [hidden, hiddenValue] = line("patch hidden"), [drop, dropValue] = line("drop");
  Object.assign(ui, { wholeValue, hiddenValue, dropValue });
  ui.rows = Array.from({ length: 5 }, () => {
    const name = h("span", { class: "lk-class" }), bar = h("i", { class: "lk-bar" }), before = h("i", { class: "lk-bar-before" });
    const value = h("span", { class: "lk-p" });
    const node = h("button", { class: "lk-row", type: "button", role: "radio", onclick: guarded(el, () => view.set({ target: node.index })) },
      name, h("span", { class: "lk-bars" }, before, bar), value);
    return Object.assign(node, { parts: { name, bar, before, value } });
  });
  const classes = model.get("classes");
  ui.other = h("select", { class: "lk-other", "aria-label": "Another class", onchange: guarded(el, () => {
    if (ui.other.value !== "") view.set({ target: Number(ui.other.value) });
  }) }, h("option", { value: "" }, "another class \u2026"),
  ...classes.map((name, i) => [i, name]).sort((a, b) => a[1].localeCompare(b[1])).map(([i, name]) => h("option", { value: i }, name)));
  ui.says = h("div", { class: "lk-says", "aria-live": "polite" });
  const scores = h("section", { class: "lk-panel lk-scores", "aria-label": "Scores" },
    h("div", { class: "lk-caption" }, h("b", {}, "Score"), ui.className = h("span")),
    h("div", { class: "lk-sum" }, whole, hidden, drop),
    h("div", { class: "lk-caption" }, h("b", {}, "Top five"), h("span", {}, "probability")),
    h("div", { class: "lk-rows", role: "radiogroup", "aria-label": "Class to explain" }, ...ui.rows),
    h("div", { class: "lk-under" }, ui.other, ui.says));

  // the controls
  const { windows, strides, fills } = { windows: model.get("windows"), strides: model.get("strides"), fills: model.get("fills") };
  ui.size = stopSlider("Patch size", (i) => `${windows[i]} px`, guarded(el, (i) => { view.stop(); view.set({ window: windows[i] }); }));
  ui.stride = stopSlider("Stride", (i) => `${strides[i]} px`, guarded(el, (i) => { view.stop(); view.set({ stride: strides[i] }); }));
  ui.fill = stopSlider("Fill", (i) => fillName(fills[i]), guarded(el, (i) => { view.stop(); view.set({ fill: fills[i] }); }));
  ui.play = h("button", { class: "lk-button lk-play", type: "button", onclick: guarded(el, () => { view.play(); view.draw(); }) });
  const toggle = (text, key, title) => h("button", { class: "lk-button", type: "button", title, "aria-pressed": "false",
    onclick: guarded(el, () => view.set({ [key]: !view.state[key] })) }, text);
  ui.hold = toggle("One scale", "hold_scale", "Hold the colour scale while the patch size changes");
  ui.over = toggle("Over picture", "over_picture", "Show the picture below the map");
  ui.projector = h("button", { class: "lk-button", type: "button", title: "Larger type and stronger lines", "aria-pressed": "false",
    onclick: guarded(el, () => view.send({ theme: model.get("theme") === "projector" ? "auto" : "projector" })) }, "Projector");
  const controls = h("section", { class: "lk-controls", "aria-label": "Settings" }, ui.size.node, ui.stride.node, ui.fill.node,
    h("div", { class: "lk-buttons" }, ui.play, ui.hold, ui.over, ui.projector));

  // the pictures to choose from
  ui.strip = pictureStrip(model, guarded(el, (i) => view.show(i)), (i) => view.answers.photos.has(i));
  ui.chip = h("span", { class: "lk-chip" });
  ui.cancel = h("button", { class: "lk-button lk-cancel", type: "button", onclick: guarded(el, () => view.send({ cancel: true })) }, "Stop");
  ui.question = h("div", { class: "lk-question" });
  ui.error = h("pre", { class: "lk-error", role: "alert" });
  ui.root = h("div", { class: "lk lk-occlusion", [SHIELD]: "true" },
    h("header", { class: "lk-head" }, ui.question, ui.chip, live ? ui.cancel : ""),
    h("div", { class: "lk-stagerow" }, left, right, scores, ui.error), controls,
    h("footer", { class: "lk-pictures" }, ui.strip.node, live ? ownPhotograph(model, ui.error) : ""));
  ui.root.addEventListener("keydown", guarded(el, (event) => occlusionKeys(view, event, stage)));
  el.append(ui.root);
};

const occlusionKeys = (view, event, stage) => {
  const tag = event.target.tagName, typing = tag === "SELECT" || (tag === "INPUT" && event.target.type !== "range");
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  const arrow = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  const onStage = event.target === stage;
  if (arrow && tag !== "INPUT") view.move(...arrow);
  else if (event.key === "+" || event.key === "=") view.resize(1);
  else if (event.key === "-" || event.key === "_") view.resize(-1);
  else if (event.key === "Escape") view.clear();
  else if (event.key === "Enter" && onStage) view.pin();
  else if (event.key === " " && onStage) { view.play(); view.draw(); }
  else return;
  event.preventDefault(); event.stopPropagation();
};

const drawOcclusion = (view, wish, photo) => {
  const { model, ui, state } = view, windows = model.get("windows"), strides = model.get("strides"), fills = model.get("fills");
  const status = model.get("status"), error = model.get("error"), theme = model.get("theme");
  ui.root.dataset.theme = theme;
  const caption = model.get("captions")[state.picture] || {};
  ui.strip.refresh(state.picture);

  const known = (setting) => Boolean(view.answers.exact(view.kind, { ...wish, ...setting }));
  ui.size.set(windows.length, windows.indexOf(state.window), (i) => known({ window: windows[i], stride: Math.min(state.stride, windows[i]) }));
  ui.stride.set(strides.length, strides.indexOf(state.stride), (i) => known({ stride: Math.min(strides[i], state.window) }));
  ui.fill.set(fills.length, fills.indexOf(state.fill), (i) => known({ fill: fills[i] }));
  ui.hold.setAttribute("aria-pressed", String(state.hold_scale));
  ui.over.setAttribute("aria-pressed", String(state.over_picture));
  ui.projector.setAttribute("aria-pressed", String(theme === "projector"));
  setText(ui.play, view.timer ? "\u25A0  Stop" : "\u25B6  Slide it");

  // what is going on
  const waiting = !view.exact, progress = model.get("progress");
  const busy = status === "computing" || progress < 1;
  setText(ui.chip, !model.get("live") ? (waiting ? "not in this saved page" : "saved page")
    : status === "error" ? "error" : status === "stopped" ? "stopped"
    : status === "computing" ? (view.answer ? "coarse \u2026" : "computing \u2026") : progress < 1 ? `looking ahead ${Math.round(100 * progress)}%` : "ready");
  ui.chip.dataset.state = status === "error" ? "error" : waiting ? "coarse" : busy ? "busy" : "ready";
  ui.cancel.style.visibility = model.get("live") && busy ? "visible" : "hidden";
  ui.error.hidden = !error;
  setText(ui.error, error);
  if (!photo) return;

  const target = wish.target, name = view.className(target);
  if (ui.question.dataset.name !== name) {
    ui.question.replaceChildren("Which part of the picture carries ", h("em", {}, name), "?");
    ui.question.dataset.name = name;
  }
  setText(ui.pictureName, [caption.name, caption.truth && caption.truth !== caption.name ? caption.truth : ""].filter(Boolean).join(" \u00B7 "));
  ui.picture.setAttribute("aria-label", `Picture ${state.picture + 1}: ${caption.name || ""} ${caption.truth || ""}`);
  const shown = view.answer;
  setText(ui.mapName, !shown ? "" : view.exact ? (model.get("own_method") ? "your function" : "mean drop where hidden") : `for now: ${shown.window} px, stride ${shown.stride} px`);
  if (shown) {
    ui.map.setAttribute("aria-label", `Occlusion map of ${name}: drops from ${number(view.values.reduce((a, b) => Math.min(a, b), 0))} to ${number(view.topValue, true)}`);
    ui.legend.set(view.topValue);
  }
  drawPatch(view, wish, photo);
};

const drawPatch = (view, wish, photo) => {
  const { ui, state, model } = view, [height, width] = model.get("size");
  const patch = view.patch(wish), pinned = patch && !view.ghost && view.playing === null;
  ui.patches.forEach((node, i) => {
    node.style.visibility = patch ? "visible" : "hidden";
    node.classList.toggle("pinned", Boolean(pinned));
    if (!patch) return;
    Object.assign(node.style, { left: `${(100 * patch.x) / width}%`, top: `${(100 * patch.y) / height}%`,
      width: `${(100 * patch.window) / width}%`, height: `${(100 * patch.window) / height}%` });
    if (i) return;
    const fill = state.fill;
    node.style.backdropFilter = fill === "blur" ? `blur(${node.parentElement.clientWidth / 22}px)` : "";
    node.style.background = fill === "blur" ? "none" : fill === "mean" ? photo.mean ||= averageColour(photo.rgb)
      : `rgb(${fillLevel(fill)}% ${fillLevel(fill)}% ${fillLevel(fill)}%)`;
  });
  setText(ui.place, patch ? `patch ${patch.window} px at x ${patch.x}, y ${patch.y}${pinned ? ", pinned" : ""}`
    : `${width} \u00D7 ${height} px \u00B7 point at it, or use the arrow keys`);
  const at = patch && patch.score(wish.target);
  const logit = photo.logits[photo.columns.indexOf(wish.target)];
  setText(ui.className, view.className(wish.target));
  setText(ui.wholeValue, number(logit));
  setText(ui.hiddenValue, at ? number(at.logit) : "\u2013");
  setText(ui.dropValue, at ? number(at.drop, true) : "\u2013");
  ui.dropValue.dataset.sign = at && at.drop < 0 ? "negative" : at && at.drop > 0 ? "positive" : "";
  ui.legend.point(at ? at.drop : NaN, view.topValue || 0);
  photo.top.forEach((k, i) => {
    const row = ui.rows[i], before = Math.exp(photo.logits[photo.columns.indexOf(k)] - photo.total), now = patch ? patch.score(k).p : before;
    row.index = k;
    setText(row.parts.name, view.className(k));
    row.parts.bar.style.width = `${100 * clamp(now, 0, 1)}%`;
    row.parts.before.style.width = `${100 * before}%`;
    setText(row.parts.value, percent(now));
    row.setAttribute("aria-checked", String(k === wish.target));
  });
  ui.rows.slice(photo.top.length).forEach((row) => { row.hidden = true; });
  ui.other.value = photo.top.includes(wish.target) ? "" : String(wish.target);
  const changed = patch && patch.winner !== photo.top[0];
  setText(ui.says, patch ? (changed ? `now says ${view.className(patch.winner)}` : `still says ${view.className(patch.winner)}`) : "");
  ui.says.classList.toggle("changed", Boolean(changed));
};
