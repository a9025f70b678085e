// The occlusion explorer. The numbers come from Python; here they are averaged into the map and drawn.

// first patch positions along one side: every `stride` pixels, the last one moved to end at the border
const positions = (side, window, stride) => [...range(Math.ceil((side - window) / stride)).map((i) => i * stride), side - window];

// mean drop over the patches that hide a pixel (the first `count` patches of the sweep); NaN where none does
const assemble = (drop, ys, xs, window, height, width, count = Infinity) => {
  const across = width + 1, sum = new Float64Array((height + 1) * across), cover = new Int32Array(sum.length);
  for (let r = 0, k = 0; r < ys.length; r++) {
    for (let c = 0; c < xs.length && k < count; c++, k++) {
      const value = drop(r, c), top = ys[r] * across + xs[c], below = top + window * across;
      sum[top] += value; sum[top + window] -= value; sum[below] -= value; sum[below + window] += value;
      cover[top] += 1; cover[top + window] -= 1; cover[below] -= 1; cover[below + window] += 1;
    }
  }
  const map = new Float32Array(height * width);
  for (let y = 0; y < height; y++) {
    for (let x = 0, rowSum = 0, rowCover = 0; x < width; x++) {
      const i = y * across + x;
      rowSum += sum[i]; rowCover += cover[i];
      sum[i] = rowSum + (y ? sum[i - across] : 0); cover[i] = rowCover + (y ? cover[i - across] : 0);
      map[y * width + x] = cover[i] ? sum[i] / cover[i] : NaN;
    }
  }
  return map;
};

const fillName = (fill) => (typeof fill === "string" ? fill : `grey ${fill}`);
const fillColour = (fill, photo) => {
  if (fill === "mean") return (photo.mean ??= `rgb(${range(3).map((k) => Math.round((3 * photo.rgb.reduce((sum, v, i) => (i % 3 === k ? sum + v : sum), 0)) / photo.rgb.length)).join(" ")})`);
  const level = 100 * ({ black: 0, grey: 0.5, white: 1 }[fill] ?? fill);
  return `rgb(${level}% ${level}% ${level}%)`;
};

class Occlusion extends View {
  static kind = "occlusion"; static cell = 13; static traits = ["window", "stride", "fill", "patch", "hold_scale", "over_picture"]; static asks = ["kind", "window", "stride", "fill", "columns"];
  static keys = [["\u2190 \u2191 \u2192 \u2193", "move the patch"], ["+ \u2212", "its size"], ["Enter", "pin it"], ["Escape", "let it go"], ["space", "slide it over the picture"]];

  build() {
    const { ui, el, model } = this, sides = { window: model.get("windows"), stride: model.get("strides"), fill: model.get("fills") };
    Object.assign(this, { sides, ghost: null, playing: null, timer: null, tops: new Map() });
    ui.picture = panel(this, "Picture", "picture").follow()
      .focusable("Picture. Arrows move the patch, plus and minus change its size, Enter pins it, Escape clears it, space plays.");
    ui.map = panel(this, "Map", "map", { legend: true }).follow();
    ui.patches = [ui.picture, ui.map].map(({ stage }) => { const patch = h("div", { class: "lk-patch" }); stage.append(patch); return patch; });
    ui.map.node.querySelector("figcaption b").textContent = model.get("own_method") ? "Map of your function" : "Mean drop where hidden";
    const line = (name) => { const value = h("span", { class: "lk-value" }); return [h("div", { class: "lk-line" }, name, value), value]; };
    const lines = ["whole picture", "patch hidden", "drop (logits)"].map(line);
    [ui.whole, ui.hidden, ui.drop] = lines.map(([, value]) => value);
    const scores = h("section", { class: "lk-sum", "aria-label": "Score" }, h("div", { class: "lk-caption" }, h("b", {}, "Score"), ui.class = h("span")), ...lines.map(([node]) => node));
    const slider = (name, key, describe) => stopSlider(name, (i) => describe(sides[key][i]), guarded(el, (i) => { this.stop(); this.set({ [key]: sides[key][i] }); }));
    ui.sliders = { window: slider("Patch size", "window", (px) => `${px} px`), stride: slider("Stride", "stride", (px) => `${px} px`), fill: slider("Fill", "fill", fillName) };
    ui.play = h("button", { class: "lk-button lk-play", onclick: guarded(el, () => { this.play(); this.draw(); }) });
    return { main: [ui.picture.node, ui.map.node], aside: [scores], right: true, pickerAside: true, controls: [...Object.values(ui.sliders).map((s) => s.node),
      h("div", { class: "lk-buttons" }, ui.play, toggle(this, "One scale", "hold_scale", "Hold the colour scale while the patch size changes"),
        toggle(this, "Overlay", "over_picture", "Show the picture below the map"), ...this.truthToggle)] };
  }

  // ---- what is known: grids of drops of all classes, or maps of the student's own function
  unpack(answer) { return { ...answer, values: floats(answer), winner: answer.winner && new Uint16Array(bytes(answer.winner).slice().buffer) }; }
  about(answer) { return answer.columns ?? [answer.target]; }
  choices() { return { ...super.choices(), ...this.sides }; }
  get kind() { return this.model.get("own_method") ? "map" : "drops"; }
  wish(changes = {}) {
    const { picture, window, stride, fill, target } = { ...this.state, ...changes };
    return { picture, window, fill, stride: Math.min(stride, window), target: this.classOf({ picture, target }) };
  }
  list(kind, want) {
    return [...this.answers.values()].filter((a) => a.kind === kind && a.picture === want.picture && (kind === "map" ? a.target === want.target : a.columns.includes(want.target)));
  }
  find(changes = {}, kind = this.kind) {
    const want = this.wish(changes);
    return this.list(kind, want).find((a) => a.window === want.window && a.fill === want.fill && (kind === "map" ? a.stride === want.stride : want.stride % a.stride === 0));
  }
  // shown, without numbers, until the exact answer arrives
  nearest(want) {
    const far = (a) => (a.fill !== want.fill) * 1e6 + Math.abs(a.window - want.window) * 1e3 + Math.abs(a.stride - want.stride);
    return this.list(this.kind, want).sort((a, b) => far(a) - far(b))[0];
  }
  // the grid of patches of a setting, read from a finer grid where that is what has arrived
  grid(answer, stride) {
    const { height, width } = this, w = answer.window, step = stride % answer.stride === 0 ? stride : answer.stride;
    const ys = positions(height, w, step), xs = positions(width, w, step), fineY = positions(height, w, answer.stride), fineX = positions(width, w, answer.stride);
    const row = ys.map((y) => fineY.indexOf(y)), col = xs.map((x) => fineX.indexOf(x)), across = answer.columns.length + 1;
    const place = (r, c) => row[r] * answer.cols + col[c];
    return { ys, xs, place, read: (k) => (r, c) => answer.values[place(r, c) * across + k] };
  }
  map(answer, wish, count) {
    if (answer.kind === "map") return answer.values;
    const grid = this.grid(answer, wish.stride);
    return assemble(grid.read(answer.columns.indexOf(wish.target)), grid.ys, grid.xs, answer.window, this.height, this.width, count);
  }
  // the value of the last colour: of this map, or, while the scale is held, of the maps of all patch sizes
  top(map, wish) {
    const largest = (values) => values.reduce((t, v) => Math.max(t, Math.abs(v)), 0);
    if (!this.state.hold_scale) return largest(map);
    const key = [wish.picture, wish.target, wish.fill, wish.stride, this.version].join();
    if (!this.tops.has(key)) {
      const others = this.sides.window.map((window) => [this.find({ window }), this.wish({ window })]).filter(([answer]) => answer);
      this.tops = new Map([[key, Math.max(largest(map), ...others.map(([answer, want]) => largest(this.map(answer, want))))]]);
    }
    return this.tops.get(key);
  }
  // the patch on view: the sweep's, the pointer's, or the pinned one, moved to the nearest place of the grid;
  // its numbers are of this very setting, or it is not there
  patch(wish) {
    const answer = this.find({}, "drops"), wanted = this.ghost || (this.state.patch.length ? this.state.patch : null);
    if (!answer || (this.playing === null && !wanted)) return null;
    const grid = this.grid(answer, wish.stride), { ys, xs } = grid;
    const [r, c] = this.playing !== null ? [Math.floor(this.playing / xs.length) % ys.length, this.playing % xs.length] : [nearestIndex(ys, wanted[1]), nearestIndex(xs, wanted[0])];
    return this.patchAt(answer, grid, r, c);
  }
  patchAt(answer, grid, r, c) {
    const { photo } = this, at = grid.place(r, c), across = answer.columns.length + 1, total = photo.total - answer.values[at * across + answer.columns.length];
    const drop = (k) => answer.values[at * across + answer.columns.indexOf(k)], logit = (k) => photo.logits[k] - drop(k);
    return { x: grid.xs[c], y: grid.ys[r], window: answer.window, winner: answer.winner[at], drop, logit, p: (k) => (answer.columns.includes(k) ? Math.exp(logit(k) - total) : NaN) };
  }

  // ---- the hand
  hover(x, y) { this.playing = null; const w = this.state.window; this.ghost = [x - w / 2, y - w / 2]; this.draw(); }
  leave() { this.ghost = null; this.draw(); }
  pin() { const p = this.patch(this.wish()); if (p) { this.ghost = null; this.set({ patch: [p.x, p.y] }); } }
  move(dx, dy) {
    this.stop();
    const { height, width } = this, w = this.state.window, step = this.wish().stride, at = this.patch(this.wish());
    const x = at ? at.x + dx * step : (width - w) / 2, y = at ? at.y + dy * step : (height - w) / 2;
    this.ghost = [clamp(x, 0, width - w), clamp(y, 0, height - w)];
    this.draw();
  }
  resize(by) {
    const stops = this.sides.window.filter((window) => this.known({ window })), window = stops[clamp(stops.indexOf(this.state.window) + by, 0, stops.length - 1)];
    if (window && window !== this.state.window) this.set({ window });
  }
  show(picture) { this.stop(); this.ghost = null; this.state.patch = []; this.send({ patch: [] }); super.show(picture); }
  stop() { if (this.timer) cancelAnimationFrame(this.timer); this.timer = null; if (this.playing !== null) { this.playing = null; this.draw(); } }
  close() { this.stop(); super.close(); }
  play() {
    if (this.timer) { this.stop(); return; }
    this.ghost = null;
    const began = performance.now(), tick = guarded(this.el, () => {
      const answer = this.find({}, "drops");
      if (!answer || !this.ui.root.isConnected) { this.stop(); return; }
      const grid = this.grid(answer, this.wish().stride), count = grid.ys.length * grid.xs.length;
      const k = Math.floor(((performance.now() - began) / 1000) * clamp(count / 9, 6, 90));
      if (k >= count) { this.stop(); return; }
      if (k !== this.playing) { this.playing = k; this.draw(); }
      this.timer = requestAnimationFrame(tick);
    });
    this.timer = requestAnimationFrame(tick);
  }
  press(event) {
    const arrow = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key], onStage = event.target === this.ui.picture.stage;
    if (arrow && onStage) this.move(...arrow);
    else if (event.key === "+" || event.key === "=") this.resize(1);
    else if (event.key === "-" || event.key === "_") this.resize(-1);
    else if (event.key === "Escape") { this.stop(); this.ghost = null; this.set({ patch: [] }); }
    else if (event.key === "Enter" && onStage) this.pin();
    else if (event.key === " " && onStage) { this.play(); this.draw(); } else return false;
    return true;
  }

  // ---- what is drawn: the map only where its setting changed, the patch and the scores every time
  question() { return ["Which part of the picture carries ", "?"]; }
  answerText(photo) {
    const wish = this.wish(), name = this.className(wish.target), at = this.patch(wish) ?? this.costliest(wish);
    if (!at) return this.live ? "" : "Point at the picture: a patch hides it there.";
    const drop = number(at.drop(wish.target)), says = `the network ${at.winner === photo.top[0] ? "still" : "now"} says ${this.className(at.winner)}`;
    return this.patch(wish) ? `This patch costs ${name} ${drop} logits: ${says}.` : `Hiding x ${at.x}, y ${at.y} costs ${name} most, ${drop} logits: ${says}.`;
  }
  costliest(wish) {
    const answer = this.find({}, "drops");
    if (!answer) return null;
    const key = [JSON.stringify(wish), this.version].join();
    if (this.costly?.key !== key) {
      const grid = this.grid(answer, wish.stride), read = grid.read(answer.columns.indexOf(wish.target)), places = grid.ys.flatMap((_, r) => grid.xs.map((_, c) => [r, c]));
      this.costly = { key, at: this.patchAt(answer, grid, ...places.reduce((best, p) => (read(...p) > read(...best) ? p : best))) };
    }
    return this.costly.at;
  }
  paint(photo) {
    const { ui, state, sides, height, width } = this, wish = this.wish();
    this.exact = this.find();
    this.answer = this.exact || (this.live ? this.nearest(wish) : undefined);
    const playing = this.playing !== null && this.kind === "drops";
    const key = [JSON.stringify(wish), this.version, playing && this.playing, state.hold_scale, state.over_picture].join();
    if (this.answer && key !== this.drawn) {
      this.values = this.map(this.answer, wish);
      this.topValue = this.top(this.values, wish);
      paintMap(ui.map.canvas, playing ? this.map(this.answer, wish, this.playing + 1) : this.values, width, height, this.topValue, true, state.over_picture ? photo.grey : null);
      ui.map.canvas.setAttribute("aria-label", mapInWords(`Occlusion map for ${this.className(wish.target)}`, this.values, width, photo.mask));
      ui.map.legend.set(this.topValue);
      this.drawn = key;
    }
    ui.map.set(this.answer ? "" : this.waitWord);
    if (this.answer) ui.map.marks(this.edge);
    ui.map.legend.node.style.visibility = this.exact ? "" : "hidden";
    setText(ui.map.aside, this.answer && !this.exact ? "coarse \u2026" : "");
    for (const [name, slider] of Object.entries(ui.sliders)) {
      slider.set(sides[name].length, sides[name].indexOf(state[name]), (i) => this.known({ [name]: sides[name][i] }), (i) => Boolean(this.find({ [name]: sides[name][i] })));
    }
    setText(ui.play, this.timer ? "\u25A0 Stop" : "\u25B6 Slide it");
    this.paintPatch(wish, photo);
  }
  paintPatch(wish, photo) {
    const { ui, state, height, width } = this, patch = this.patch(wish), pinned = Boolean(patch && !this.ghost && this.playing === null), name = this.className(wish.target);
    ui.patches.forEach((node, i) => {
      node.style.visibility = patch ? "inherit" : "hidden";
      node.classList.toggle("pinned", pinned);
      if (!patch) return;
      Object.assign(node.style, { left: `${(100 * patch.x) / width}%`, top: `${(100 * patch.y) / height}%`, width: `${(100 * patch.window) / width}%`, height: `${(100 * patch.window) / height}%` });
      if (i) return;
      node.style.backdropFilter = state.fill === "blur" ? `blur(${node.parentElement.clientWidth / 22}px)` : "";
      node.style.background = state.fill === "blur" ? "none" : fillColour(state.fill, photo);
    });
    setText(ui.picture.foot, patch ? `patch ${patch.window} px at x ${patch.x}, y ${patch.y}${pinned ? ", pinned" : ""}` : "point at it, or use arrows");
    setText(ui.class, name);
    setText(ui.whole, number(photo.logits[wish.target]));
    setText(ui.hidden, patch ? number(patch.logit(wish.target)) : NONE);
    setText(ui.drop, patch ? number(patch.drop(wish.target), true) : NONE);
    ui.drop.dataset.sign = patch && patch.drop(wish.target) < 0 ? "negative" : patch && patch.drop(wish.target) > 0 ? "positive" : "";
    ui.map.legend.point(patch ? patch.drop(wish.target) : NaN, this.topValue || 0);
    ui.picker.refresh(photo, wish.target, patch ? patch.p : undefined);
  }
}

export default explorer(Occlusion);
