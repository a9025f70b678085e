// The comparer: maps of several methods, panels of one size, one crosshair through all of them.

class Comparison extends View {
  static kind = "comparer"; static traits = ["chosen", "pixel", "one_scale", "over_picture"]; static asks = ["method"]; static cell = 12.5;
  static keys = [["\u2190 \u2191 \u2192 \u2193", "move the crosshair, with Shift by eight"], ["Enter", "pin it"], ["Escape", "let it go"]];

  build() {
    const { ui, el, model } = this;
    this.ghost = null; // the pixel under the pointer, [x, y]
    ui.picture = this.compared("Picture", "")
      .focusable("Picture. Arrows move the crosshair, with Shift eight pixels, Enter pins it, Escape clears it.");
    ui.maps = new Map(model.get("methods").map((m) => [m.name, this.compared(m.title, m.name)]));
    ui.ticks = model.get("methods").map((m) => h("button", { class: "lk-button lk-tick", title: m.note, "data-tick": m.name, onclick: guarded(el, () => this.choose(m.name)) }, m.title));
    return { main: [ui.picture.node], controls: [h("div", { class: "lk-ticks-row", role: "group", "aria-label": "Methods shown" }, ...ui.ticks), h("div", { class: "lk-buttons" },
      toggle(this, "One scale", "one_scale", "One colour scale for all panels; only maps of one unit may be compared so"),
      toggle(this, "Overlay", "over_picture", "Show the picture below the maps"), ...this.truthToggle)] };
  }

  // the panel of the picture, or of a method
  compared(title, name) {
    const made = panel(this, title, name ? `map-${name}` : "picture", { legend: Boolean(name) }).follow();
    made.cross = h("div", { class: "lk-cross", hidden: true, "aria-hidden": "true" }, h("i"), h("i"), h("b"));
    made.stage.append(made.cross);
    if (!name) return made;
    made.name = name;
    made.node.dataset.method = name;
    made.here = h("span", { class: "lk-here" }); made.share = h("i"); made.flat = h("b"); made.inside = h("span"); made.word = h("span", { class: "lk-word" });
    made.bar = h("div", { class: "lk-inside", title: "share of the map's positive part inside the true region; the mark is a flat map's share" }, made.share, made.flat);
    made.hit = h("span", { title: "whether the map's largest value lies in the true region or 15/224 of a side from it (pointing game)" });
    made.foot.append(made.here, made.bar, made.inside, made.word, made.hit);
    return made;
  }

  // ---- what is known: every chosen method has its answer
  answer(method, changes = {}) { return super.find({ ...changes, method }); }
  find(changes = {}) {
    const chosen = changes.chosen ?? this.state.chosen;
    return chosen.every((name) => this.answer(name, changes)) ? this.answer(chosen[0], changes) ?? {} : undefined;
  }
  settle() {
    if (this.known({})) return;
    const { picture, method, target } = this.answers.values().next().value ?? {};
    if (method === undefined) return;
    const here = { picture, target: this.classOf({ picture, target: -1 }) === target ? -1 : target };
    Object.assign(this.state, here, { chosen: this.state.chosen.filter((name) => this.answer(name, here)) });
  }
  choices() { return { ...super.choices(), chosen: this.model.get("methods").map((m) => m.name) }; }
  unpack(answer) {
    if (answer.kind !== "map") return answer;
    const values = floats(answer);
    return { ...answer, values, most: values.reduce((t, v) => Math.max(t, Math.abs(v)), 0) };
  }
  get maps() { return this.state.chosen.map((name) => this.answer(name)).filter((a) => a?.kind === "map"); }
  // the scale of a panel: its own, or one for all maps on view, signed if any of them is
  scale(answer) {
    if (!this.state.one_scale) return answer;
    const top = this.maps.reduce((t, a) => Math.max(t, a.top), 0);
    return { top, signed: this.maps.some((a) => a.signed), beyond: this.maps.some((a) => a.most > 1.001 * top) };
  }

  // ---- the hand
  get place() { return this.ghost || (this.state.pixel.length ? this.state.pixel : null); }
  hover(x, y) { this.ghost = [clamp(Math.floor(x), 0, this.width - 1), clamp(Math.floor(y), 0, this.height - 1)]; this.point(); }
  leave() { this.ghost = null; this.point(); }
  pin() { if (this.place) { const pixel = this.place; this.ghost = null; this.set({ pixel }); } }
  show(picture) { this.ghost = null; this.state.pixel = []; this.send({ pixel: [] }); super.show(picture); }
  choose(name) { this.set({ chosen: this.choices().chosen.filter((n) => (n === name) !== this.state.chosen.includes(n)) }); }
  press(event) {
    const arrow = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key], far = event.shiftKey ? 8 : 1;
    const onStage = event.target === this.ui.picture.stage, at = this.place;
    if (arrow && onStage) this.hover(...(at ? [at[0] + far * arrow[0], at[1] + far * arrow[1]] : [this.width / 2, this.height / 2]));
    else if (event.key === "Enter" && onStage) this.pin();
    else if (event.key === "Escape") { this.ghost = null; this.set({ pixel: [] }); }
    else return false;
    return true;
  }

  // ---- what is drawn
  question() { return ["What in the picture speaks for ", "?"]; }
  answerText() {
    const told = this.maps.filter((a) => a.area !== null), best = told.filter((a) => a.energy !== null).sort((a, b) => b.energy - a.energy)[0];
    if (!told.length) return "Point at a pixel: every map says its value there.";
    const hits = told.filter((a) => a.hit).length, title = best && this.ui.maps.get(best.method).title;
    return `${hits} of ${told.length} maps peak in the truth${best ? `; most inside: ${title}, ${percent(best.energy)} (a flat map ${percent(best.area)})` : ""}.`;
  }
  paint(photo) {
    const { ui, state } = this, panels = [ui.picture, ...state.chosen.map((name) => ui.maps.get(name)).filter(Boolean)];
    ui.picker.refresh(photo, this.target);
    if (panels.map((p) => p.node).some((n, i) => ui.main.children[i] !== n) || panels.length !== ui.main.childElementCount) {
      ui.main.replaceChildren(...panels.map((p) => p.node));
      layout(this);
    }
    this.panels = panels;
    for (const tick of ui.ticks) {
      const name = tick.dataset.tick, on = state.chosen.includes(name);
      tick.setAttribute("aria-pressed", String(on));
      tick.hidden = !on && !this.live && !this.answer(name);
    }
    for (const shown of panels.slice(1)) this.paintPanel(shown, photo);
    this.point();
  }
  paintPanel(shown, photo) {
    const { state, width, height } = this, answer = this.answer(shown.name), map = answer?.kind === "map" ? answer : null;
    shown.set(answer ? "" : this.waitWord, answer?.text);
    setText(shown.aside, map ? duration(map.seconds) : "");
    const told = map && map.area !== null;
    setText(shown.inside, !map ? "" : !told ? (this.model.get("measured") ? "no truth" : "") : map.energy === null ? "none positive" : percent(map.energy));
    setText(shown.word, told && map.energy !== null ? "inside" : "");
    setText(shown.hit, told ? (map.hit ? "hit" : "miss") : "");
    shown.hit.dataset.hit = told ? map.hit : "";
    shown.bar.style.visibility = told ? "" : "hidden";
    shown.share.style.width = `${100 * (map?.energy ?? 0)}%`;
    shown.flat.style.left = `${100 * (map?.area ?? 0)}%`;
    if (!map) { shown.map = null; return; }
    const scale = this.scale(map), drawn = [state.one_scale, scale.top, scale.signed, state.over_picture].join();
    shown.marks(this.edge + (state.truth && map.peak.length ? ring(map.peak[0] + 0.5, map.peak[1] + 0.5, Math.max(width, height) / 32) : ""));
    shown.legend.set(scale.top, scale.signed, scale.beyond);
    if (shown.map === map && shown.drawnAs === drawn) return;
    paintMap(shown.canvas, map.values, width, height, scale.top, scale.signed, state.over_picture ? photo.grey : null);
    shown.canvas.setAttribute("aria-label", mapInWords(`Map of ${shown.title} for ${this.className(this.target)}`, map.values, width, photo.mask));
    shown.map = map; shown.drawnAs = drawn;
  }
  // the crosshair in all panels, and the value of every method there
  point() {
    const at = this.place, pinned = Boolean(at && !this.ghost);
    for (const { cross, map, here, bar, legend } of this.panels ?? []) {
      cross.hidden = !at;
      cross.classList.toggle("pinned", pinned);
      if (at) { cross.style.setProperty("--x", `${(100 * (at[0] + 0.5)) / this.width}%`); cross.style.setProperty("--y", `${(100 * (at[1] + 0.5)) / this.height}%`); }
      if (!here) continue;
      const value = at && map ? map.values[at[1] * this.width + at[0]] : NaN;
      setText(here, at && map ? precise(value, map.signed, map.top) : "");
      here.dataset.sign = value < 0 ? "negative" : map?.signed && value > 0 ? "positive" : "";
      bar.hidden = Boolean(at && map);
      legend.point(value, map ? this.scale(map).top : 0);
    }
    const named = this.photo ? `${this.className(this.target)} ${percent(this.photo.p[this.target])}` : "";
    setText(this.ui.picture.foot, at ? `x ${at[0]}, y ${at[1]}${pinned ? ", pinned" : ""}` : named);
  }
}

export default explorer(Comparison);
