// The occlusion explorer. The numbers come from Python; here they are averaged into the map and drawn.

// first patch positions along one side: every `stride` pixels, the last one moved to end at the border
const positions = (side, window, stride) => {
  const last = side - window, all = [];
  for (let at = 0; at < last; at += stride) all.push(at);
  return all.concat(last);
};

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
    let rowSum = 0, rowCover = 0;
    for (let x = 0; x < width; x++) {
      const i = y * across + x;
      rowSum += sum[i]; rowCover += cover[i];
      sum[i] = rowSum + (y ? sum[i - across] : 0); cover[i] = rowCover + (y ? cover[i - across] : 0);
      map[y * width + x] = cover[i] ? sum[i] / cover[i] : NaN;
    }
  }
  return map;
};

// what has arrived: photographs, grids of drops of all classes, maps of the student's own function
class Answers {
  constructor() { this.photos = new Map(); this.list = []; this.version = 0; }
  take(answer) {
    if (!answer || !answer.kind) return;
    this.version += 1;
    if (answer.kind === "photo") { this.photos.set(answer.picture, { ...answer, rgb: bytes(answer.data) }); return; }
    const values = floats(answer);
    const winner = answer.winner ? new Uint16Array(bytes(answer.winner).slice().buffer) : null;
    const same = (a) => ["kind", "picture", "window", "stride", "fill", "target"].every((k) => a[k] === answer[k]);
    this.list = this.list.filter((a) => !same(a)).concat({ ...answer, values, winner });
  }
  // an answer that holds the setting exactly
  exact(kind, want) {
    return this.list.find((a) => a.kind === kind && a.picture === want.picture && a.window === want.window
      && a.fill === want.fill && (kind === "map" ? a.stride === want.stride && a.target === want.target
        : want.stride % a.stride === 0 && a.columns.includes(want.target)));
  }
  // otherwise the nearest one, shown until the exact one arrives
  nearest(kind, want) {
    const far = (a) => (a.fill !== want.fill) * 1e6 + Math.abs(a.window - want.window) * 1e3 + Math.abs(a.stride - want.stride);
    return this.list.filter((a) => a.kind === kind && a.picture === want.picture
      && (kind === "map" ? a.target === want.target : a.columns.includes(want.target)))
      .sort((a, b) => far(a) - far(b))[0];
  }
}

class OcclusionView {
  constructor(model, el) {
    this.model = model; this.el = el;
    this.answers = new Answers();
    this.ghost = null; // the patch under the pointer, [x, y]
    this.playing = null; // index of the patch of the sweep
    this.tops = new Map();
    this.state = {};
    for (const key of ["picture", "target", "window", "stride", "fill", "patch", "hold_scale", "over_picture"]) {
      this.state[key] = model.get(key);
      model.on(`change:${key}`, guarded(el, () => { this.state[key] = model.get(key); this.draw(); }));
    }
    buildOcclusion(this);
    (model.get("saved") || []).forEach((a) => this.answers.take(a));
    for (const key of ["photo", "delivery"]) {
      this.answers.take(model.get(key));
      model.on(`change:${key}`, guarded(el, () => { this.answers.take(model.get(key)); this.draw(); }));
    }
    for (const key of ["status", "error", "progress", "captions", "theme"]) {
      model.on(`change:${key}`, guarded(el, () => this.draw()));
    }
    this.draw();
    if (model.get("live")) this.greet = setTimeout(guarded(el, () => this.send({ watched: model.get("watched") + 1 })), GREETING);
  }

  send(changes) { for (const [key, value] of Object.entries(changes)) this.model.set(key, value); this.model.save_changes(); }
  set(changes) { Object.assign(this.state, changes); this.draw(); this.send(changes); }

  // ---- what is to be shown
  get photo() { return this.answers.photos.get(this.state.picture); }
  get target() { return this.state.target >= 0 ? this.state.target : this.photo ? this.photo.top[0] : -1; }
  get wish() {
    const { picture, window, fill } = this.state;
    return { picture, window, fill, stride: Math.min(this.state.stride, window), target: this.target };
  }
  className(index) { return this.model.get("classes")[index] ?? `class ${index}`; }

  // the grid of patches of a setting, read from a finer grid where that is what has arrived
  grid(answer, stride) {
    const [height, width] = this.model.get("size"), w = answer.window;
    const step = stride % answer.stride === 0 ? stride : answer.stride;
    const ys = positions(height, w, step), xs = positions(width, w, step);
    const fineY = positions(height, w, answer.stride), fineX = positions(width, w, answer.stride);
    const row = ys.map((y) => fineY.indexOf(y)), col = xs.map((x) => fineX.indexOf(x));
    const across = answer.columns.length + 1;
    const place = (r, c) => row[r] * answer.cols + col[c];
    return { ys, xs, step, window: w, place, read: (k) => (r, c) => answer.values[place(r, c) * across + k] };
  }

  map(answer, wish, count) {
    if (answer.kind === "map") return answer.values;
    const [height, width] = this.model.get("size"), grid = this.grid(answer, wish.stride);
    return assemble(grid.read(answer.columns.indexOf(wish.target)), grid.ys, grid.xs, answer.window, height, width, count);
  }

  // the value of the last colour: of this map, or, while the scale is held, of the maps of all patch sizes
  top(map, wish) {
    const largest = (values) => values.reduce((t, v) => (Math.abs(v) > t ? Math.abs(v) : t), 0);
    if (!this.state.hold_scale) return largest(map);
    const key = [wish.picture, wish.target, wish.fill, wish.stride, this.answers.version].join();
    if (!this.tops.has(key)) {
      const kind = this.kind;
      const maps = this.model.get("windows").map((window) => ({ ...wish, window, stride: Math.min(wish.stride, window) }))
        .map((w) => [this.answers.exact(kind, w), w]).filter(([a]) => a).map(([a, w]) => largest(this.map(a, w)));
      this.tops.clear(); this.tops.set(key, Math.max(largest(map), ...maps));
    }
    return this.tops.get(key);
  }
  get kind() { return this.model.get("own_method") ? "map" : "drops"; }

  // ---- drawing: the map only where its setting changed, the patch and the scores every time
  draw() {
    const wish = this.wish, photo = this.photo;
    this.exact = this.answers.exact(this.kind, wish);
    this.answer = this.exact || this.answers.nearest(this.kind, wish);
    const playing = this.playing !== null && this.kind === "drops";
    const key = [JSON.stringify(wish), this.answers.version, playing && this.playing, this.state.hold_scale, this.state.over_picture].join();
    if (photo && this.answer && key !== this.drawn) {
      const [height, width] = this.model.get("size");
      const full = this.map(this.answer, wish);
      this.values = full;
      this.topValue = this.top(full, wish);
      const seen = playing ? this.map(this.answer, wish, this.playing + 1) : full;
      paintMap(this.ui.map, seen, width, height, this.topValue, true, this.state.over_picture ? photo.grey ||= greys(photo.rgb) : null);
      this.drawn = key;
    }
    if (photo && this.photoDrawn !== photo) {
      const [height, width] = this.model.get("size");
      paintRGB(this.ui.picture, photo.rgb, width, height); this.photoDrawn = photo;
    }
    drawOcclusion(this, wish, photo);
  }

  // the patch on view: the sweep's, the pointer's, or the pinned one, moved to the nearest place of the grid
  patch(wish) {
    const answer = this.answers.exact("drops", wish) || (this.kind === "drops" ? this.answer : null);
    if (!answer) return null;
    const grid = this.grid(answer, wish.stride);
    const wanted = this.ghost || (this.state.patch.length ? this.state.patch : null);
    let r, c;
    if (this.playing !== null) { r = Math.floor(this.playing / grid.xs.length) % grid.ys.length; c = this.playing % grid.xs.length; }
    else if (wanted) { c = nearestIndex(grid.xs, wanted[0]); r = nearestIndex(grid.ys, wanted[1]); }
    else return null;
    const at = grid.place(r, c), across = answer.columns.length + 1;
    const total = this.photo.total - answer.values[at * across + answer.columns.length];
    const score = (k) => {
      const j = this.photo.columns.indexOf(k), i = answer.columns.indexOf(k);
      const logit = this.photo.logits[j] - answer.values[at * across + i];
      return { drop: answer.values[at * across + i], logit, p: Math.exp(logit - total) };
    };
    return { x: grid.xs[c], y: grid.ys[r], r, c, grid, window: answer.window, winner: answer.winner[at], score };
  }

  // ---- the hand
  hover(x, y) { this.playing = null; const w = this.state.window; this.ghost = [x - w / 2, y - w / 2]; this.draw(); }
  leave() { this.ghost = null; this.draw(); }
  pin() { const p = this.patch(this.wish); if (p) { this.ghost = null; this.set({ patch: [p.x, p.y] }); } }
  clear() { this.stop(); this.ghost = null; this.set({ patch: [] }); }
  move(dx, dy) {
    this.stop();
    const [height, width] = this.model.get("size"), w = this.state.window, step = this.wish.stride;
    const at = this.patch(this.wish);
    const x = at ? at.x + dx * step : (width - w) / 2, y = at ? at.y + dy * step : (height - w) / 2;
    this.ghost = [clamp(x, 0, width - w), clamp(y, 0, height - w)];
    this.draw();
  }
  resize(by) {
    const stops = this.model.get("windows"), i = clamp(stops.indexOf(this.state.window) + by, 0, stops.length - 1);
    if (stops[i] !== this.state.window) this.set({ window: stops[i] });
  }
  show(picture) { this.stop(); this.ghost = null; this.set({ picture, target: -1, patch: [] }); }
  stop() { if (this.timer) cancelAnimationFrame(this.timer); this.timer = null; if (this.playing !== null) { this.playing = null; this.draw(); } }
  play() {
    if (this.timer) { this.stop(); return; }
    this.ghost = null;
    const began = performance.now();
    const tick = guarded(this.el, () => {
      const answer = this.answers.exact("drops", this.wish) || this.answer;
      if (!answer || answer.kind !== "drops" || !this.ui.root.isConnected) { this.stop(); return; }
      const grid = this.grid(answer, this.wish.stride), count = grid.ys.length * grid.xs.length;
      const rate = clamp(count / 9, 6, 90), k = Math.floor(((performance.now() - began) / 1000) * rate);
      if (k >= count) { this.stop(); return; }
      if (k !== this.playing) { this.playing = k; this.draw(); }
      this.timer = requestAnimationFrame(tick);
    });
    this.timer = requestAnimationFrame(tick);
  }
}

export default {
  render({ model, el }) {
    let view = null;
    guarded(el, () => { view = new OcclusionView(model, el); el.explorer = view; })();
    return () => { if (view) { clearTimeout(view.greet); view.stop(); } };
  },
};
