// The sanity explorer: a slider makes the network forget from the top; each method's map before and now, and the curve.

const ALIKE = 0.5; // a map has hardly noticed where its rank correlation and its SSIM are both above it

class Sanity extends View {
  static kind = "sanity"; static cell = 19; static traits = ["depth", "absolute"]; static asks = ["depth"];
  static keys = [["\u2190 \u2192", "the layers, on the slider and on the curve"]];

  build() {
    const { ui, el, model } = this, forget = guarded(el, (depth) => this.set({ depth }));
    this.layers = model.get("layers");
    ui.picture = panel(this, "Picture", "picture");
    ui.rows = model.get("methods").map(({ name, title }, i) => {
      const [before, now] = ["before", "now"].map((when) => panel(this, title, `${name}-${when}`)), rank = h("span", { class: "lk-rank" }), ssim = h("span", { class: "lk-ssim" });
      for (const part of [before, now]) { part.canvas.classList.add("lk-map"); part.node.querySelector("figcaption").remove(); }
      const node = h("div", { class: "lk-pair", "data-method": name }, h("div", { class: "lk-caption" }, lineKey(i), h("b", {}, title), rank, ssim), before.node, now.node);
      return { name, title, before, now, rank, ssim, line: i, node };
    });
    ui.curve = curve(this, "Layers that are random", forget);
    this.curves.push(ui.curve);
    const chart = h("figure", { class: "lk-panel lk-chart", "data-panel": "curve" }, h("figcaption", {}, h("b", {}, "Rank correlation with the trained map")), ui.curve.node);
    const last = (i) => (i ? `${i} of ${this.layers.length}, down to ${this.layers[i - 1]}` : "none");
    ui.depth = stopSlider("Random layers", last, forget);
    const signs = toggle(this, "Signs count", "absolute", "Compare the values with their signs, not their sizes alone", false);
    return { aside: [ui.picture.node, chart], main: ui.rows.map((row) => row.node), controls: [ui.depth.node, h("div", { class: "lk-buttons" }, signs, ...this.truthToggle)] };
  }

  choices() { return { ...super.choices(), depth: range(this.layers.length + 1) }; }
  unpack(answer) {
    const maps = Object.entries(answer.maps).map(([name, map]) => [name, map.data ? { ...map, values: floats(map) } : map]);
    return { ...answer, maps: Object.fromEntries(maps) };
  }
  at(depth) { return this.find({ depth }); }
  likeness({ name }, depth) { return depth === 0 ? 1 : this.at(depth)?.maps[name]?.[this.state.absolute ? "rank" : "rank_signed"] ?? null; }

  question() { return ["Does the map for ", " notice that the network forgets?"]; }
  answerText() {
    const { depth } = this.state;
    if (!depth) return "Drag the slider: one more layer is random at each step.";
    if (!this.at(depth)) return "";
    const maps = this.at(depth).maps, there = this.ui.rows.filter(({ name }) => maps[name]?.values);
    const kept = there.filter((row) => this.likeness(row, depth) > ALIKE && maps[row.name].ssim > ALIKE).map((row) => row.title);
    if (!there.length) return "No map is there.";
    return kept.length ? `Hardly noticed, rank and SSIM both above ${ALIKE}: ${listed(kept)}.` : `Every map has noticed: rank or SSIM is at most ${ALIKE}.`;
  }

  paint(photo) {
    const { ui, state, layers } = this, answer = this.at(state.depth), whole = this.at(0), name = this.className(this.target);
    ui.picker.refresh(photo, this.target);
    ui.depth.set(layers.length + 1, state.depth, (depth) => this.known({ depth }), (depth) => Boolean(this.at(depth)));
    setText(ui.picture.foot, !answer ? "" : answer.best === this.target ? `${name} ${percent(answer.p)}` : `named ${this.className(answer.best)} ${percent(answer.best_p)}`);
    const shares = range(layers.length + 1).map((i) => i / layers.length);
    ui.curve.draw({
      shares, span: [-0.5, 1], ticks: [-0.5, 0, 0.5, 1], level: ALIKE, chosen: state.depth,
      labels: shares.map((s) => (s === 0 ? "trained" : s === 1 ? "all random" : "")),
      lines: ui.rows.map((row) => ({ line: row.line, strong: true, values: shares.map((_, i) => this.likeness(row, i)) })),
      text: `${state.depth} of ${layers.length} layers random`,
    });
    for (const row of ui.rows) this.paintRow(row, answer?.maps[row.name], whole?.maps[row.name], photo);
  }

  paintRow(row, now, before, photo) {
    this.paintPanel(row.before, before, photo, `${row.title}, trained`, "trained");
    this.paintPanel(row.now, now, photo, `${row.title}, now`, "now");
    const value = this.likeness(row, this.state.depth), known = this.state.depth && now?.values;
    setText(row.rank, known && value !== null ? `rank ${hundredths(value)}` : "");
    setText(row.ssim, known && now.ssim != null ? `SSIM ${hundredths(now.ssim)}` : "");
  }

  // colours up to the map's own top: what is asked is whether its pattern stays
  paintPanel(part, map, photo, title, when) {
    part.set(map ? "" : this.waitWord, map?.text);
    if (!map?.values) { part.map = null; return; }
    part.marks(this.edge);
    if (part.map === map) return;
    paintMap(part.canvas, map.values, this.width, this.height, map.top, map.signed);
    setText(part.foot, `${when} ${map.signed ? "\u00B1" : "\u2264 "}${precise(map.top)}`);
    part.canvas.setAttribute("aria-label", mapInWords(title, map.values, this.width, photo.mask));
    part.map = map;
  }
}

export default explorer(Sanity);
