// The comparer: maps of several methods, panels of one size, one crosshair through all of them.

const PAGE_KEEPS = 400; // maps

class Comparison {
  constructor(model, el) {
    this.model = model; this.el = el;
    this.photos = new Map(); this.answers = new Map();
    this.ghost = null; // the pixel under the pointer, [x, y]
    this.state = {};
    for (const key of ["picture", "target", "chosen", "pixel", "one_scale", "over_picture", "truth"]) {
      this.state[key] = model.get(key);
      model.on(`change:${key}`, guarded(el, () => { this.state[key] = model.get(key); this.draw(); }));
    }
    [this.height, this.width] = model.get("size");
    buildComparison(this);
    (model.get("saved") || []).forEach((a) => this.take(a));
    for (const key of ["photo", "delivery"]) {
      this.take(model.get(key));
      model.on(`change:${key}`, guarded(el, () => { this.take(model.get(key)); this.draw(); }));
    }
    for (const key of ["status", "error", "progress", "captions", "theme"]) model.on(`change:${key}`, guarded(el, () => this.draw()));
    this.draw();
    if (model.get("live")) this.greet = setTimeout(guarded(el, () => this.send({ watched: model.get("watched") + 1 })), GREETING);
  }

  send(changes) { for (const [key, value] of Object.entries(changes)) this.model.set(key, value); this.model.save_changes(); }
  set(changes) { Object.assign(this.state, changes); this.draw(); this.send(changes); }

  take(answer) {
    if (!answer || !answer.kind) return;
    if (answer.kind === "photo") {
      const rgb = bytes(answer.data), mask = bytes(answer.mask);
      this.photos.set(answer.picture, { ...answer, rgb, grey: greys(rgb), mask: mask.length ? mask : null });
      return;
    }
    const key = [answer.picture, answer.method, answer.target].join();
    this.answers.delete(key);
    if (answer.kind === "map") {
      const values = floats(answer), most = values.reduce((t, v) => Math.max(t, Math.abs(v)), 0);
      this.answers.set(key, { ...answer, values, most });
    } else this.answers.set(key, answer);
    if (this.answers.size > PAGE_KEEPS) this.answers.delete(this.answers.keys().next().value);
  }

  get photo() { return this.photos.get(this.state.picture); }
  get target() { return this.state.target >= 0 ? this.state.target : this.photo ? this.photo.top[0] : -1; }
  get place() { return this.ghost || (this.state.pixel.length ? this.state.pixel : null); }
  className(index) { return this.model.get("classes")[index] ?? `class ${index}`; }
  answer(method) { return this.answers.get([this.state.picture, method, this.target].join()); }
  // in a saved page: is any map of this class there for the picture on view?
  known(target) {
    return this.model.get("live") || [...this.answers.values()].some((a) => a.picture === this.state.picture && a.target === target);
  }

  // the scale of a panel: its own, or one for all maps on view, signed if any of them is
  scale(answer) {
    if (!this.state.one_scale) return answer;
    const shown = this.state.chosen.map((name) => this.answer(name)).filter((a) => a && a.kind === "map");
    const top = shown.reduce((t, a) => Math.max(t, a.top), 0);
    return { top, signed: shown.some((a) => a.signed), beyond: shown.some((a) => a.most > 1.001 * top) };
  }

  draw() {
    const photo = this.photo;
    if (photo && this.photoDrawn !== photo) { paintRGB(this.ui.picture.canvas, photo.rgb, this.width, this.height); this.photoDrawn = photo; }
    drawComparison(this, photo);
    this.point();
  }

  // ---- the hand
  hover(x, y) {
    this.ghost = [clamp(Math.floor(x), 0, this.width - 1), clamp(Math.floor(y), 0, this.height - 1)];
    this.point();
  }
  leave() { this.ghost = null; this.point(); }
  pin() { if (this.place) { const pixel = this.place; this.ghost = null; this.set({ pixel }); } }
  clear() { this.ghost = null; this.set({ pixel: [] }); }
  move(dx, dy) {
    const at = this.place || [Math.floor(this.width / 2) - dx, Math.floor(this.height / 2) - dy];
    this.hover(at[0] + dx, at[1] + dy);
  }
  show(picture) { this.ghost = null; this.set({ picture, target: -1, pixel: [] }); }
  toggle(name) {
    const chosen = this.model.get("methods").map((m) => m.name).filter((n) => (n === name) !== this.state.chosen.includes(n));
    this.set({ chosen });
  }

  // the crosshair in all panels, and the value of every method there
  point() {
    const at = this.place, pinned = at && !this.ghost;
    for (const panel of this.ui.panels()) {
      panel.cross.hidden = !at;
      panel.cross.classList.toggle("pinned", Boolean(pinned));
      if (at) {
        panel.cross.style.setProperty("--x", `${(100 * (at[0] + 0.5)) / this.width}%`);
        panel.cross.style.setProperty("--y", `${(100 * (at[1] + 0.5)) / this.height}%`);
      }
      if (!panel.name) continue;
      const answer = this.answer(panel.name), value = at && answer && answer.values ? answer.values[at[1] * this.width + at[0]] : NaN;
      setText(panel.here, at && answer && answer.values ? "here" : "");
      setText(panel.value, at && answer && answer.values ? precise(value, answer.signed, answer.top) : "");
      panel.value.dataset.sign = value < 0 ? "negative" : answer && answer.signed && value > 0 ? "positive" : "";
      panel.legend.point(value, answer && answer.values ? this.scale(answer).top : 0);
    }
    setText(this.ui.picture.foot, at ? `x ${at[0]}, y ${at[1]}${pinned ? ", pinned" : ""}` : `${this.width} \u00D7 ${this.height} px`);
    setText(this.ui.picture.hint, at ? (pinned ? "Escape lets go" : "click or Enter pins") : "point at a pixel or use arrows");
  }
}

const ring = (x, y, r) => `M${x - r} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0`;

// one panel: the picture's, or a method's
const comparisonPanel = (view, title, name) => {
  const { el, width, height } = view;
  const canvas = h("canvas", { role: "img", class: name ? "lk-map" : "" });
  const cross = h("div", { class: "lk-cross", hidden: true, "aria-hidden": "true" }, h("i"), h("i"), h("b"));
  const marks = lineLayer(width, height);
  const wait = h("div", { class: "lk-wait" }), fault = h("pre", { class: "lk-error lk-panelfault", role: "alert", hidden: true });
  if (name) { fault.tabIndex = 0; fault.setAttribute(SHIELD, "true"); fault.setAttribute("aria-label", `Why ${title} gives no map`); }
  const stage = h("div", { class: "lk-stage", style: `aspect-ratio:${width}/${height}` }, canvas, marks.node, cross, wait, fault);
  const at = (event) => {
    const box = stage.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * width, ((event.clientY - box.top) / box.height) * height];
  };
  stage.addEventListener("pointermove", guarded(el, (event) => view.hover(...at(event))));
  stage.addEventListener("pointerleave", guarded(el, () => view.leave()));
  stage.addEventListener("click", guarded(el, (event) => {
    if (fault.contains(event.target)) return; // its text is to be selected
    view.hover(...at(event)); view.pin();
    view.ui.picture.stage.focus({ preventScroll: true });
  }));
  const aside = h("span"), panel = { name, canvas, marks, cross, wait, fault, stage, aside };
  const caption = h("figcaption", {}, h("b", { title }, title), aside);
  if (!name) {
    panel.foot = h("div", { class: "lk-foot" }); panel.hint = h("div", { class: "lk-hint" });
    panel.node = h("figure", { class: "lk-panel lk-compared" }, caption, stage, panel.foot, panel.hint);
    return panel;
  }
  panel.legend = mapLegend("");
  panel.here = h("span"); panel.value = h("span", { class: "lk-here" });
  panel.inside = h("span", { title: "share of the map's positive part that lies inside the true region" });
  panel.area = h("span", { title: "the true region's share of the picture: what a flat map has inside" });
  panel.hit = h("span", { title: "whether the map's largest value lies in the true region or 15/224 of a side from it (pointing game)" });
  panel.scores = h("div", { class: "lk-measures" }, panel.inside, panel.area, panel.hit);
  panel.node = h("figure", { class: "lk-panel lk-compared", "data-method": name }, caption, stage, panel.legend.node,
    view.model.get("measured") ? panel.scores : "", h("div", { class: "lk-read" }, panel.here, panel.value));
  return panel;
};

const buildComparison = (view) => {
  const { model, el } = view, ui = (view.ui = {}), live = model.get("live"), classes = model.get("classes");
  ui.picture = comparisonPanel(view, "Picture", "");
  const stage = ui.picture.stage;
  stage.tabIndex = 0;
  stage.setAttribute(SHIELD, "true");
  stage.setAttribute("role", "application");
  stage.setAttribute("aria-label", "Picture. Arrows move the crosshair, with Shift eight pixels, Enter pins it, Escape clears it.");
  ui.maps = new Map(model.get("methods").map((m) => [m.name, comparisonPanel(view, m.title, m.name)]));
  ui.panels = () => [ui.picture, ...view.state.chosen.map((name) => ui.maps.get(name)).filter(Boolean)];
  ui.grid = h("div", { class: "lk-panels" });

  // the class to explain: the likeliest five, all others by a part of their name
  ui.rows = Array.from({ length: Math.min(5, classes.length) }, () => {
    const name = h("span", { class: "lk-class" }), p = h("span", { class: "lk-p" }), bar = h("i", { class: "lk-bar" });
    const node = h("button", { class: "lk-pick", type: "button", role: "radio", onclick: guarded(el, () => view.set({ target: node.index })) }, bar, name, p);
    return Object.assign(node, { parts: { name, p, bar } });
  });
  ui.other = h("span", { class: "lk-pick lk-picked" });
  const search = classSearch(classes, (i) => view.known(i), guarded(el, (target) => view.set({ target })));
  const picks = h("div", { class: "lk-picks", role: "radiogroup", "aria-label": "Class to explain", onkeydown: (event) => radioKeys(event) }, ...ui.rows, ui.other);

  // the methods, and how they are drawn
  ui.boxes = model.get("methods").map((m) => {
    const box = h("input", { type: "checkbox", onchange: guarded(el, () => view.toggle(m.name)) });
    return Object.assign(h("label", { class: "lk-tick", title: m.note }, box, m.title), { box, method: m.name });
  });
  const toggle = (text, key, title) => h("button", { class: "lk-button", type: "button", title, "aria-pressed": "false", "data-key": key,
    onclick: guarded(el, () => view.set({ [key]: !view.state[key] })) }, text);
  ui.toggles = [
    toggle("One scale", "one_scale", "One colour scale for all panels; only maps of one unit may be compared so"),
    toggle("Over picture", "over_picture", "Show the picture below the maps"),
    ...(model.get("measured") ? [toggle("Truth", "truth", "Outline the true region, and ring each map's largest value")] : []),
  ];
  ui.projector = h("button", { class: "lk-button", type: "button", title: "Larger type and stronger lines", "aria-pressed": "false",
    onclick: guarded(el, () => view.send({ theme: model.get("theme") === "projector" ? "auto" : "projector" })) }, "Projector");

  ui.error = h("pre", { class: "lk-error", role: "alert", hidden: true });
  ui.strip = pictureStrip(model, guarded(el, (i) => view.show(i)), (i) => view.photos.has(i));
  ui.chip = h("span", { class: "lk-chip", "aria-live": "polite" });
  ui.cancel = h("button", { class: "lk-button lk-cancel", type: "button", onclick: guarded(el, () => view.send({ cancel: true })) }, "Stop");
  ui.question = h("div", { class: "lk-question" });
  ui.root = h("div", { class: "lk lk-comparer", [SHIELD]: "true" },
    h("header", { class: "lk-head" }, ui.question, ui.chip, live ? ui.cancel : ""),
    h("section", { class: "lk-choose", "aria-label": "Class" }, picks, search.node),
    ui.error, ui.grid,
    h("section", { class: "lk-bench", "aria-label": "Methods and drawing" },
      h("div", { class: "lk-methods", role: "group", "aria-label": "Methods shown" }, ...ui.boxes),
      h("div", { class: "lk-buttons" }, ...ui.toggles, ui.projector)),
    h("footer", { class: "lk-pictures" }, ui.strip.node, live ? ownPhotograph(model, ui.error) : ""));
  ui.root.addEventListener("keydown", guarded(el, (event) => comparisonKeys(view, event)));
  el.append(ui.root);
};

const comparisonKeys = (view, event) => {
  if (event.target.tagName === "INPUT" && event.target.type === "text") return;
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const arrow = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  const onStage = event.target === view.ui.picture.stage, far = event.shiftKey ? 8 : 1;
  if (arrow && onStage) view.move(far * arrow[0], far * arrow[1]);
  else if (event.key === "Escape") view.clear();
  else if (event.key === "Enter" && onStage) view.pin();
  else return;
  event.preventDefault(); event.stopPropagation();
};

const drawComparison = (view, photo) => {
  const { model, ui, state } = view, live = model.get("live"), status = model.get("status"), theme = model.get("theme");
  ui.root.dataset.theme = theme;
  ui.strip.refresh(state.picture);
  const panels = ui.panels(), nodes = panels.map((p) => p.node);
  if (nodes.length !== ui.grid.childElementCount || nodes.some((n, i) => ui.grid.children[i] !== n)) ui.grid.replaceChildren(...nodes);
  ui.boxes.forEach((label) => {
    label.box.checked = state.chosen.includes(label.method);
    label.box.disabled = !live && !label.box.checked && ![...view.answers.values()].some((a) => a.method === label.method);
  });
  ui.toggles.forEach((button) => button.setAttribute("aria-pressed", String(state[button.dataset.key])));
  ui.projector.setAttribute("aria-pressed", String(theme === "projector"));
  ui.error.hidden = !model.get("error");
  setText(ui.error, model.get("error"));

  const missing = state.chosen.filter((name) => !view.answer(name)), busy = status === "computing";
  const done = Math.round(100 * model.get("progress"));
  setText(ui.chip, !live ? (missing.length ? "not in this saved page" : "saved page") : busy ? `computing ${done}%` : status);
  ui.chip.dataset.state = status === "error" ? "error" : busy ? "busy" : missing.length ? "coarse" : "ready";
  ui.cancel.style.visibility = live && busy ? "visible" : "hidden";
  if (!photo) return;

  const target = view.target, name = view.className(target), caption = model.get("captions")[state.picture] || {};
  if (ui.question.dataset.name !== name) {
    ui.question.replaceChildren("What in the picture speaks for ", h("em", {}, name), "?");
    ui.question.dataset.name = name;
  }
  setText(ui.picture.aside, [caption.name, caption.truth && caption.truth !== caption.name ? caption.truth : ""].filter(Boolean).join(" \u00B7 "));
  ui.picture.canvas.setAttribute("aria-label", `Picture ${state.picture + 1}: ${caption.name || ""} ${caption.truth || ""}`);
  ui.rows.forEach((row, i) => {
    const index = photo.top[i], p = photo.p[index];
    row.index = index;
    setText(row.parts.name, view.className(index)); setText(row.parts.p, percent(p));
    row.parts.bar.style.width = `${100 * p}%`;
    row.setAttribute("aria-checked", String(index === target));
    row.disabled = !view.known(index);
  });
  const other = !photo.top.includes(target);
  ui.other.hidden = !other;
  if (other) setText(ui.other, `${name} ${percent(photo.p[target])}`);
  const edge = state.truth && photo.mask ? photo.edge ??= outline(photo.mask, view.width, view.height) : "";
  panels.forEach((panel) => drawComparedPanel(view, panel, photo, edge, name));
};

const drawComparedPanel = (view, panel, photo, edge, className) => {
  const { state, width, height } = view, status = view.model.get("status");
  if (!panel.name) { panel.marks.set(edge); return; }
  const answer = view.answer(panel.name), map = answer && answer.kind === "map" ? answer : null;
  panel.fault.hidden = !answer || answer.kind !== "fault";
  if (!panel.fault.hidden) setText(panel.fault, answer.text);
  panel.canvas.style.visibility = map ? "visible" : "hidden";
  setText(panel.wait, answer ? "" : !view.model.get("live") ? "not in this saved page" : status === "stopped" ? "stopped" : "waiting \u2026");
  panel.legend.node.style.visibility = map ? "visible" : "hidden";
  setText(panel.aside, map ? duration(map.seconds) : "");
  const peak = map && state.truth && map.peak.length ? ring(map.peak[0] + 0.5, map.peak[1] + 0.5, Math.max(width, height) / 32) : "";
  panel.marks.set(map ? edge + peak : "");
  const measured = map && map.area !== null;
  setText(panel.inside, !map ? "" : !measured ? "no truth for this picture" : map.energy === null ? "none positive" : `${percent(map.energy)} inside`);
  setText(panel.area, measured ? `${percent(map.area)} area` : "");
  setText(panel.hit, map && map.hit !== null ? (map.hit ? "hit" : "miss") : "");
  panel.hit.dataset.hit = map ? map.hit : "";
  if (!map) return;
  const scale = view.scale(map), drawn = [state.one_scale, scale.top, scale.signed, state.over_picture].join();
  panel.legend.set(scale.top, scale.signed, scale.beyond);
  if (panel.map !== map || panel.drawn !== drawn) {
    paintMap(panel.canvas, map.values, width, height, scale.top, scale.signed, state.over_picture ? photo.grey : null);
    panel.canvas.setAttribute("aria-label", `Map of ${panel.name} for ${className}, colours up to ${precise(scale.top)}`);
    panel.map = map; panel.drawn = drawn;
  }
};

export default {
  render({ model, el }) {
    let view = null;
    guarded(el, () => { view = new Comparison(model, el); el.explorer = view; })();
    return () => { if (view) clearTimeout(view.greet); };
  },
};
