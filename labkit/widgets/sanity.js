// The sanity explorer: a slider makes the network forget from the top; each method's map before and now, and the curve.

const LINES = ["#2d78c0", "#c62f3b", "#2e9d5b", "#b7791f", "#7a4fc9", "#0f8b8d", "#b83280", "#6b7280"];

class Sanity extends AnswerView {
  constructor(model, el) {
    super(model, el, ["picture", "target", "depth", "absolute"]);
    const ui = (this.ui = {}), methods = model.get("methods");
    this.layers = model.get("layers");
    ui.picture = plainPanel(this, "Picture", "picture");
    ui.rows = methods.map((m, i) => {
      const before = plainPanel(this, m.title, `${m.name}-before`), now = plainPanel(this, "now", `${m.name}-now`);
      before.node.style.setProperty("--lk-line-color", LINES[i % LINES.length]);
      before.canvas.classList.add("lk-map"); now.canvas.classList.add("lk-map");
      before.node.classList.add("lk-method");
      const fault = h("pre", { class: "lk-error", hidden: true, tabindex: 0 });
      return { name: m.name, title: m.title, color: LINES[i % LINES.length], before, now, fault, node: h("div", { class: "lk-pair", "data-method": m.name }, before.node, now.node, fault) };
    });
    ui.curve = curve("Layers that are random", guarded(el, (depth) => this.set({ depth })));
    ui.says = h("div", { class: "lk-says", "aria-live": "polite" });
    ui.measure = h("button", { class: "lk-button", type: "button", title: "Compare the sizes of the values, or the values with their signs", onclick: guarded(el, () => this.set({ absolute: !this.state.absolute })) }, "Sizes");
    ui.heading = h("b", {}, "Likeness to the trained map");
    ui.chart = h("figure", { class: "lk-panel lk-compared lk-chart", "data-panel": "curve" }, h("figcaption", {}, ui.heading), ui.curve.node, ui.says);
    ui.depth = stopSlider("Random layers, from the top", (i) => (i ? `${i} of ${this.layers.length}: down to ${this.layers[i - 1]}` : "none: the trained network"), guarded(el, (depth) => this.set({ depth })));
    frame(this, "lk-sanity",
      h("section", { class: "lk-bench lk-first", "aria-label": "Depth" }, h("div", { class: "lk-area lk-wide" }, ui.depth.node), h("div", { class: "lk-buttons" }, ui.measure)),
      h("div", { class: "lk-sanity-grid" }, h("div", { class: "lk-panels lk-two" }, ui.picture.node, ui.chart), h("div", { class: "lk-pairs" }, ...ui.rows.map((row) => row.node))));
    this.open();
  }

  keep(answer) {
    const maps = {};
    for (const [name, map] of Object.entries(answer.maps)) maps[name] = map.data ? { ...map, values: floats(map) } : map;
    this.answers.set([answer.picture, answer.target, answer.depth].join(), { ...answer, maps });
  }
  at(depth) { return this.answers.get([this.state.picture, this.target, depth].join()); }
  // in a saved page: is anything of this class there for the picture on view?
  known(target) {
    return this.model.get("live") || [...this.answers.values()].some((a) => a.picture === this.state.picture && a.target === target);
  }

  draw() {
    const { ui, state, layers, width, height } = this, answer = this.at(state.depth), whole = this.at(0), photo = this.photo;
    refreshFrame(this, ["Does the map for ", " notice that the network forgets?"], Boolean(answer));
    ui.depth.set(layers.length + 1, state.depth, (i) => Boolean(this.at(i)));
    setText(ui.measure, state.absolute ? "Compare sizes" : "Compare signed values");
    if (!photo) return;
    if (this.photoDrawn !== photo) { paintRGB(ui.picture.canvas, photo.rgb, width, height); this.photoDrawn = photo; }
    const caption = this.model.get("captions")[state.picture] || {}, name = this.className(this.target);
    setText(ui.picture.aside, [caption.name, caption.truth && caption.truth !== caption.name ? caption.truth : ""].filter(Boolean).join(" \u00B7 "));
    setText(ui.picture.foot, !answer ? "" : answer.best === this.target ? `${name} ${percent(answer.p)}` : `named ${this.className(answer.best)} ${percent(answer.best_p)}`);
    const kind = state.absolute ? "rank" : "rank_signed", live = this.model.get("live");
    const likeness = (row, depth) => (depth === 0 ? 1 : this.at(depth)?.maps[row.name]?.[kind] ?? null);
    const shares = Array.from({ length: layers.length + 1 }, (_, i) => i / layers.length);
    ui.curve.draw({
      shares, span: [-0.5, 1], ticks: [-0.5, 0, 0.5, 1], level: 0, chosen: state.depth,
      labels: shares.map((_, i) => (i === 0 ? "trained" : i === layers.length ? "all random" : "")),
      lines: ui.rows.map((row) => ({ name: row.name, color: row.color, strong: true, values: shares.map((_, i) => likeness(row, i)) })),
      text: `${state.depth} of ${layers.length} layers random`,
    });
    for (const row of ui.rows) {
      const now = answer?.maps[row.name], before = whole?.maps[row.name], text = now?.text ?? before?.text ?? "";
      row.fault.hidden = !text;
      setText(row.fault, text);
      this.paint(row.before, before, before);
      this.paint(row.now, now, before);
      setText(row.now.wait, now || text ? "" : !live ? "not in this saved page" : this.model.get("status") === "stopped" ? "stopped" : "waiting \u2026");
      const value = likeness(row, state.depth);
      setText(row.now.aside, state.depth && value !== null ? `rank ${value.toFixed(2).replace("-", NEGATIVE_SIGN)}` : "");
      setText(row.now.foot, state.depth && now && now.ssim !== undefined && now.ssim !== null ? `SSIM ${now.ssim.toFixed(2).replace("-", NEGATIVE_SIGN)}` : "");
    }
    const kept = ui.rows.filter((row) => { const v = likeness(row, state.depth); return state.depth && v !== null && v > 0.5; }).map((row) => row.title);
    setText(ui.says, !state.depth ? "Drag the slider: one more layer is random at each step." : !answer ? ""
      : kept.length ? `Hardly noticed by: ${kept.join(", ")}.` : "Every map has noticed.");
  }

  // colours up to the map's own top: what is asked is whether its pattern stays
  paint(panel, map) {
    panel.canvas.style.visibility = map && map.values ? "visible" : "hidden";
    if (!map || !map.values || panel.drawn === map) return;
    paintMap(panel.canvas, map.values, this.width, this.height, map.top, map.signed, null);
    panel.drawn = map;
  }
}

export default {
  render({ model, el }) {
    let view = null;
    guarded(el, () => { view = new Sanity(model, el); el.explorer = view; })();
    return () => { if (view) clearTimeout(view.greet); };
  },
};
