// The embedding explorer: a sheet of small pictures drawn where their points lie; zoom, lasso, neighbours, colours.

const HUES = ["#4c8bd6", "#d07030", "#3f9b5f", "#a05fc0", "#c0475a", "#7a7f87", "#1f9ea3", "#b08d2a", "#7fb2f0", "#e39ac0", "#8a6a4a", "#2f5f9e"];
const SIDES = [0, 10, 16, 24, 34, 48, 68]; // of the pictures in the plane, in pixels; 0: marks
const NEAR = "#ffd23f";
const WIDE = 600, FINE = 2; // the plane is drawn on a square of this side, whatever the screen, so finely
const FEW = 400; // pictures that are drawn anew at every step of a drag
const HINT = "Drag to move, roll to zoom, Shift and drag for a lasso; the arrow keys go from picture to picture.";

class Embedding extends View {
  static kind = "embedding"; static cell = 16; static traits = ["perplexity", "colour", "zoom", "point"]; static asks = ["perplexity"];
  static keys = [["arrows", "to the next picture that way, in the plane"], ["Enter", "pin the picture"], ["+ \u2212 0", "zoom in, out, all"], ["Esc", "let go of pin and lasso"]];

  build() {
    const { ui, el } = this;
    Object.assign(this, { at: { scale: 1, x: 0, y: 0 }, ghost: -1, lasso: null, stand: {}, chosen: new Set(this.model.get("chosen")), sheet: null, points: null, frames: 0 });
    ui.picture = panel(this, "Picture", "picture");
    ui.near = h("canvas", { class: "lk-near", role: "img", "aria-label": "Nearest neighbours" });
    ui.nearWord = h("figcaption", {}, h("b", {}, "Nearest neighbours"));
    const near = h("figure", { class: "lk-panel", "data-panel": "near" }, ui.nearWord, ui.near);
    ui.legend = h("div", { class: "lk-hues", role: "group", "aria-label": "Colours" });
    ui.plane = panel(this, "Plane", "plane");
    ui.plane.focusable("The plane of pictures. Arrow keys go to the next picture, Enter pins it.");
    ui.plane.stage.classList.add("lk-pointed");
    this.drawnPhoto = this.stand; // the picture panel is painted here
    this.listen(ui.plane.stage);
    const perplexities = this.model.get("stops");
    ui.perplexity = stopSlider("Perplexity", (i) => number(this.model.get("stops")[i] ?? perplexities[0]).replace(/\.0+$/, ""), guarded(el, (perplexity) => this.set({ perplexity })));
    ui.zoom = stopSlider("Picture size", (i) => (SIDES[i] ? `${SIDES[i]} px` : "marks"), guarded(el, (zoom) => this.set({ zoom })));
    ui.colours = h("div", { class: "lk-buttons", role: "group", "aria-label": "Colour by" });
    const all = h("button", { class: "lk-button", title: "Zoom out to all (0)", onclick: guarded(el, () => this.home()) }, "All");
    const tool = h("button", { class: "lk-button", "aria-pressed": "false", title: "Dragging draws a lasso (or hold Shift)", onclick: guarded(el, () => { this.drawing = !this.drawing; tool.setAttribute("aria-pressed", String(this.drawing)); }) }, "Lasso");
    ui.again = h("button", { class: "lk-button lk-play", onclick: guarded(el, () => this.send({ again: this.model.get("again") + 1 })) }, "Go on");
    this.model.on("change:shown", guarded(el, () => { this.open(); this.draw(); }));
    this.model.on("change:stops", guarded(el, () => this.draw()));
    this.model.on("change:chosen", guarded(el, () => { this.pick(new Set(this.model.get("chosen"))); }));
    this.open();
    return { aside: [ui.picture.node, near, ui.legend], main: [ui.plane.node], controls: [ui.perplexity.node, ui.zoom.node, ui.colours, h("div", { class: "lk-buttons" }, all, tool, ...(this.page ? [] : [ui.again]))] };
  }
  own() {
    const path = h("input", { class: "lk-path", type: "text", placeholder: "a folder of pictures, then Enter", "aria-label": "Path of a folder of pictures", spellcheck: "false",
      onkeydown: (event) => { if (event.key === "Enter") { this.send({ path: "" }); this.send({ path: path.value.trim() }); } } });
    return h("div", { class: "lk-own" }, path);
  }

  // ---- the pictures, their groups and neighbours
  open() {
    const shown = this.model.get("shown");
    if (!shown || !shown.count) { this.sheet = null; this.count = 0; return; }
    const { side, columns, count, jpeg, data, near, k } = shown, rows = Math.ceil(count / columns);
    Object.assign(this, { side, columns, count, k, near: new Uint16Array(bytes(near).slice().buffer), names: shown.names, purity: shown.purity });
    this.groups = Object.fromEntries(Object.entries(shown.groups).map(([title, { names, values }]) => [title, { names, values: bytes(values) }]));
    const canvas = h("canvas");
    if (!jpeg) { paintRGB(canvas, bytes(data), columns * side, rows * side); this.sheet = canvas; }
    else createImageBitmap(new Blob([bytes(data)], { type: "image/jpeg" })).then(guarded(this.el, (sheet) => { this.sheet = sheet; this.draw(); }));
    this.ui.colours.replaceChildren(...Object.keys(this.groups).reverse().map((title) =>
      h("button", { class: "lk-button lk-tick", "data-colour": title, "aria-pressed": "false", onclick: guarded(this.el, () => this.set({ colour: title })) }, `by ${title}`)));
  }
  get group() { return this.groups?.[this.state.colour] ?? Object.values(this.groups ?? {})[0]; }
  cell(i) { return [(i % this.columns) * this.side, Math.floor(i / this.columns) * this.side, this.side, this.side]; }
  nearOf(i) { return Array.from(this.near.subarray(i * this.k, (i + 1) * this.k)); }

  // ---- what is known: PCA and DeepMDS have no perplexity
  keyOf(setting) { return [setting.picture, setting.target, setting.picture === 0 ? setting.perplexity : 0].join("|"); }
  get photo() { return this.count && [...this.answers.values()].some((a) => a.picture === this.state.picture) ? this.stand : undefined; }
  classOf({ target }) { return target; }
  className(index) { return index < 0 ? this.state.colour : super.className(index); }
  take(answer) { if (answer?.kind === "points") { this.version += 1; this.keep(this.unpack(answer)); } }
  unpack(answer) { return { ...answer, xy: floats(answer) }; }
  targetOf(picture) { return this.live || [...this.answers.values()].some((a) => a.picture === picture) ? -1 : undefined; }
  choices() { return { ...super.choices(), perplexity: range(this.model.get("stops").length), zoom: range(SIDES.length), colour: Object.keys(this.groups ?? {}), point: [-1, ...range(this.count ?? 0)] }; }
  show(picture) {
    const kept = this.state.perplexity, known = range(this.model.get("stops").length).find((perplexity) => this.known({ picture, perplexity, target: -1 }));
    this.set({ picture, target: this.targetOf(picture) ?? -1, perplexity: this.known({ picture, target: -1 }) ? kept : known ?? kept });
  }

  // ---- the hand
  listen(stage) {
    const { el } = this, place = (event) => { const box = stage.getBoundingClientRect(); return [((event.clientX - box.left) / box.width) * WIDE, ((event.clientY - box.top) / box.height) * WIDE]; };
    let down = null;
    stage.addEventListener("pointerdown", guarded(el, (event) => {
      down = { from: place(event), at: { ...this.at }, moved: false, lasso: event.shiftKey || this.drawing };
      stage.setPointerCapture(event.pointerId);
      if (down.lasso) this.lasso = [down.from];
    }));
    stage.addEventListener("pointermove", guarded(el, (event) => {
      const [x, y] = place(event);
      if (!down) { this.point(this.closest(x, y, 24)); return; }
      down.moved ||= Math.hypot(x - down.from[0], y - down.from[1]) > 4;
      if (down.lasso) this.lasso.push([x, y]);
      else if (down.moved) { this.at.x = down.at.x + x - down.from[0]; this.at.y = down.at.y + y - down.from[1]; }
      this.move();
    }));
    stage.addEventListener("pointerup", guarded(el, (event) => {
      if (!down) return;
      const { lasso, moved } = down, [x, y] = place(event);
      down = null;
      if (lasso && moved) this.choose();
      else if (!moved) { const i = this.closest(x, y, 24); this.set({ point: i === this.state.point ? -1 : i }); }
      this.lasso = null;
      stage.focus({ preventScroll: true });
      this.soon();
    }));
    stage.addEventListener("pointerleave", guarded(el, () => { if (!down) this.point(-1); }));
    stage.addEventListener("dblclick", guarded(el, () => this.home()));
    stage.addEventListener("wheel", guarded(el, (event) => { event.preventDefault(); this.closer(Math.exp(-event.deltaY / 400), ...place(event)); }), { passive: false });
  }
  home() { this.at = { scale: 1, x: 0, y: 0 }; this.soon(); }
  closer(by, x = WIDE / 2, y = WIDE / 2) {
    const scale = clamp(this.at.scale * by, 0.5, 60), factor = scale / this.at.scale;
    this.at = { scale, x: x - factor * (x - this.at.x), y: y - factor * (y - this.at.y) };
    this.move();
  }
  // where a point lies on the plane
  spot(i) {
    const half = WIDE / 2, room = 0.94 * half;
    return [this.at.x + this.at.scale * (half + room * this.points[2 * i]), this.at.y + this.at.scale * (half - room * this.points[2 * i + 1])];
  }
  closest(x, y, within) {
    let best = -1, least = within * within;
    for (let i = 0; this.points && i < this.count; i++) {
      const [a, b] = this.spot(i), away = (a - x) ** 2 + (b - y) ** 2;
      if (away < least) { least = away; best = i; }
    }
    return best;
  }
  choose() {
    const path = new Path2D(), pen = this.ui.plane.canvas.getContext("2d");
    this.lasso.forEach(([x, y], i) => (i ? path.lineTo(x, y) : path.moveTo(x, y)));
    this.pick(new Set(range(this.count).filter((i) => { pen.save(); pen.resetTransform(); const inside = pen.isPointInPath(path, ...this.spot(i)); pen.restore(); return inside; })));
    this.send({ chosen: [...this.chosen] });
  }
  pick(chosen) { this.chosen = chosen; this.version += 1; this.draw(); }
  point(i) { if (i !== this.ghost) { this.ghost = i; this.soon(); } }
  get focus() { return this.ghost >= 0 ? this.ghost : this.state.point; }
  press(event) {
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (event.key === "Escape") { this.ghost = -1; this.pick(new Set()); this.send({ chosen: [] }); this.set({ point: -1 }); return true; }
    if (!this.points || event.target !== this.ui.plane.stage) return false;
    if (way) this.point(this.toward(way));
    else if (event.key === "Enter") this.set({ point: this.focus });
    else if (event.key === "+" || event.key === "=") this.closer(1.5);
    else if (event.key === "-") this.closer(1 / 1.5);
    else if (event.key === "0") this.home();
    else return false;
    return true;
  }
  // the point that lies nearest in a direction: sideways counts double
  toward([dx, dy]) {
    const from = this.focus;
    if (from < 0) return this.closest(WIDE / 2, WIDE / 2, Infinity);
    const [x, y] = this.spot(from);
    let best = from, least = Infinity;
    for (let i = 0; i < this.count; i++) {
      const [a, b] = this.spot(i), along = (a - x) * dx + (b - y) * dy, across = Math.abs((a - x) * dy) + Math.abs((b - y) * dx);
      if (i !== from && along > 0 && along + 2 * across < least) { least = along + 2 * across; best = i; }
    }
    return best;
  }

  // ---- what is drawn
  question() { return ["Do pictures of one ", " lie together?"]; }
  answerText() {
    const { colour } = this.state, answer = this.find(), whole = this.purity?.[colour];
    if (answer && !answer.whole) return `Step ${answer.step} of ${answer.of}: the points are still moving.`;
    if (!answer || whole === undefined) return "";
    return `Of the five nearest points here ${percent(answer.purity[colour])} share the ${colour}; in the space of features ${percent(whole)}.`;
  }
  draw() { super.draw(); if (this.ui.again) this.ui.again.hidden = this.model.get("status") !== "stopped" || !this.live; }
  soon() { if (!this.asked) this.asked = requestAnimationFrame(guarded(this.el, () => { this.asked = 0; if (this.photo) this.redraw(); })); }
  paint() {
    const { ui, state } = this, stops = this.model.get("stops"), answer = this.find();
    ui.picker.node.hidden = true;
    ui.perplexity.node.style.visibility = state.picture === 0 ? "" : "hidden"; // its room stays
    ui.perplexity.set(stops.length, Math.min(state.perplexity, stops.length - 1), (perplexity) => this.known({ perplexity }), (perplexity) => Boolean(this.find({ perplexity })));
    ui.zoom.set(SIDES.length, state.zoom, () => true);
    for (const tick of ui.colours.children) tick.setAttribute("aria-pressed", String(tick.dataset.colour === state.colour));
    ui.plane.set(answer ? "" : this.waitWord);
    this.points = answer?.xy ?? null;
    const names = this.model.get("captions").map((c) => c.name), title = names[state.picture];
    setText(ui.plane.aside, !answer ? "" : answer.whole ? title : `${title}, step ${answer.step} of ${answer.of}`);
    setText(ui.picture.aside, "");
    this.inspected = ""; // the frame has written over it
    this.legend();
    this.redraw();
  }
  // a name a group: a press chooses its pictures
  legend() {
    const { names, values } = this.group, { legend } = this.ui, key = names.join() + this.count;
    if (legend.dataset.key === key) return;
    legend.dataset.key = key;
    legend.replaceChildren(...names.map((name, g) => {
      const swatch = h("canvas", { width: 24, height: 24, "aria-hidden": "true" }), pen = swatch.getContext("2d");
      pen.translate(12, 12); pen.scale(1.7, 1.7); this.mark(pen, g, 0, 0, 5);
      return h("button", { class: "lk-hue", title: `Choose all of ${name}`, onclick: guarded(this.el, () => {
        this.pick(new Set(range(this.count).filter((i) => values[i] === g))); this.send({ chosen: [...this.chosen] });
      }) }, swatch, name);
    }));
  }
  mark(pen, group, x, y, r) {
    pen.fillStyle = HUES[group % HUES.length];
    pen.fill(new Path2D(SHAPES[group % SHAPES.length](x, y, r)));
  }
  // All points are drawn on a sheet of their own, which is drawn again when they change. While the hand moves the
  // plane of many, that sheet is moved instead; what the pointer rings comes on top.
  redraw() {
    const pen = sized(this.ui.plane.canvas, WIDE * FINE, WIDE * FINE), { at, focus } = this;
    this.frames += 1;
    pen.setTransform(FINE, 0, 0, FINE, 0, 0);
    pen.clearRect(0, 0, WIDE, WIDE);
    if (!this.points || !this.sheet) { this.inspect(-1); return; }
    const same = this.base?.key === this.lookKey(), there = same && ["scale", "x", "y"].every((k) => at[k] === this.base.at[k]);
    if (!there && !(same && this.moving && this.count > FEW)) this.paintBase();
    const factor = at.scale / this.base.at.scale;
    pen.drawImage(this.base.canvas, at.x - factor * this.base.at.x, at.y - factor * this.base.at.y, factor * WIDE, factor * WIDE);
    if (focus >= 0) this.ring(pen, focus, Math.max(this.spriteSide, 12));
    if (this.lasso) { pen.beginPath(); this.lasso.forEach(([x, y], i) => (i ? pen.lineTo(x, y) : pen.moveTo(x, y))); pen.closePath(); pen.strokeStyle = NEAR; pen.lineWidth = 2; pen.stroke(); pen.fillStyle = "rgb(255 210 63 / 0.15)"; pen.fill(); }
    this.inspect(focus);
  }
  get spriteSide() { return SIDES[this.state.zoom] * clamp(this.at.scale ** 0.5, 0.8, 3); }
  lookKey() { return [this.version, this.state.picture, this.state.perplexity, this.state.zoom, this.state.colour, this.count].join(); }
  paintBase() {
    const canvas = this.base?.canvas ?? h("canvas"), pen = sized(canvas, WIDE * FINE, WIDE * FINE), side = this.spriteSide, { values } = this.group, some = this.chosen.size > 0;
    pen.setTransform(FINE, 0, 0, FINE, 0, 0);
    pen.clearRect(0, 0, WIDE, WIDE);
    for (let i = 0; i < this.count; i++) {
      const [x, y] = this.spot(i);
      if (x < -side || y < -side || x > WIDE + side || y > WIDE + side) continue;
      pen.globalAlpha = some && !this.chosen.has(i) ? 0.13 : 1;
      if (side) this.sprite(pen, i, x, y, side, HUES[values[i] % HUES.length]);
      else this.mark(pen, values[i], x, y, 4.5);
    }
    pen.globalAlpha = 1;
    this.base = { canvas, key: this.lookKey(), at: { ...this.at } };
  }
  // the plane was moved: draw it well once the hand rests
  move() {
    this.moving = true;
    clearTimeout(this.resting);
    this.resting = setTimeout(guarded(this.el, () => { this.moving = false; this.soon(); }), 90);
    this.soon();
  }
  sprite(pen, i, x, y, side, hue) {
    const edge = side > 20 ? 2.5 : 1.5, left = x - side / 2, top = y - side / 2;
    pen.fillStyle = hue; pen.fillRect(left - edge, top - edge, side + 2 * edge, side + 2 * edge);
    pen.drawImage(this.sheet, ...this.cell(i), left, top, side, side);
  }
  // lines to the neighbours, which are drawn again over all
  ring(pen, i, side) {
    const [x, y] = this.spot(i), { values } = this.group;
    pen.strokeStyle = NEAR; pen.lineWidth = 1.5;
    for (const j of this.nearOf(i)) { const [a, b] = this.spot(j); pen.beginPath(); pen.moveTo(x, y); pen.lineTo(a, b); pen.stroke(); }
    for (const j of [...this.nearOf(i), i]) { const [a, b] = this.spot(j), s = j === i ? 1.6 * side : side; this.sprite(pen, j, a, b, s, j === i ? NEAR : HUES[values[j] % HUES.length]); }
  }
  // the picture pointed at with its neighbours, or what the lasso holds
  inspect(i) {
    const { ui } = this, key = [i, this.state.colour, [...this.chosen].length, [...this.chosen][0], Boolean(this.sheet)].join();
    if (this.inspected === key) return;
    this.inspected = key;
    const pen = sized(ui.picture.canvas, 192, 192), wide = 4 * 64, near = sized(ui.near, wide, 128);
    pen.clearRect(0, 0, 192, 192); near.clearRect(0, 0, wide, 128);
    const { names, values } = this.group ?? {}, of = (j) => names[values[j]];
    const rest = i < 0 || !this.sheet;
    setText(ui.nearWord.firstChild, rest ? "Nearest neighbours" : `${this.nearOf(i).filter((j) => values[j] === values[i]).length} of ${this.k} share the ${this.state.colour}`);
    if (this.chosen.size && rest) {
      const counts = names.map((name, g) => [name, [...this.chosen].filter((j) => values[j] === g).length]).filter(([, n]) => n).sort((a, b) => b[1] - a[1]);
      setText(ui.picture.foot, `${this.chosen.size} chosen: ${counts.slice(0, 3).map(([name, n]) => `${name} ${n}`).join(", ")}`);
    } else setText(ui.picture.foot, rest ? "point at a picture" : `${this.names[i]} \u00B7 ${of(i)}`);
    ui.picture.canvas.setAttribute("aria-label", rest ? "No picture is pointed at" : `${this.names[i]}, ${of(i)}`);
    ui.near.setAttribute("aria-label", rest ? "Nearest neighbours" : `Nearest neighbours: ${listed(this.nearOf(i).map((j) => `${this.names[j]}, ${of(j)}`))}`);
    if (rest) return;
    pen.drawImage(this.sheet, ...this.cell(i), 0, 0, 192, 192);
    this.nearOf(i).slice(0, 8).forEach((j, n) => this.sprite(near, j, 32 + 64 * (n % 4), 32 + 64 * Math.floor(n / 4), 56, HUES[values[j] % HUES.length]));
  }
}

const SHAPES = [
  ring, shape([[-0.9, -0.9], [0.9, -0.9], [0.9, 0.9], [-0.9, 0.9]]), shape([[0, -1.2], [1.1, 0.9], [-1.1, 0.9]]),
  shape([[0, -1.3], [1.3, 0], [0, 1.3], [-1.3, 0]]), shape([[0, 1.2], [1.1, -0.9], [-1.1, -0.9]]),
];

export default explorer(Embedding);
