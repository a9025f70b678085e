// The patch explorer: a patch that the hand lays over a scene, and what the network and a judge say of it there.

const ROWS = 3, NUDGE = 4, BIG = 16, LIVE_TURNS = range(25).map((i) => 15 * (i - 12)), LIVE_SIDES = range(10).map((i) => 10 + 5 * i);

class Patch extends View {
  static kind = "laying"; static cell = 24; static traits = ["piece", "place", "angle", "side"]; static asks = ["piece"];
  static keys = [["\u2190 \u2191 \u2192 \u2193", "move the patch, with Shift far"], [", .", "turn it left, right"], ["+ \u2212", "larger, smaller"], ["c", "the next piece: the patch or a control"]];

  build() {
    const { ui, el, model } = this;
    Object.assign(this, { grids: new Map(), singles: new Map(), tallies: new Map(), titles: model.get("titles"), grid: model.get("grid"), pieces: model.get("pieces"), canvases: {} });
    for (const { name, side, data } of this.pieces) { this.canvases[name] = h("canvas"); paintRGB(this.canvases[name], bytes(data), side, side); }
    ui.picture = panel(this, "Scene", "picture").focusable("The scene with the patch. Drag it or use the arrow keys; comma and full stop turn it, plus and minus scale it.");
    ui.over = h("canvas", { class: "lk-over-picture", "aria-hidden": "true", "data-kind": "patch" });
    ui.ring = h("div", { class: "lk-patchring", hidden: true, "aria-hidden": "true" });
    ui.picture.canvas.after(ui.over);
    ui.picture.stage.append(ui.ring);
    ui.picture.stage.classList.add("lk-pointed");
    this.grab(ui.picture.stage);
    ui.says = this.titles.map((title) => this.says(title));
    ui.pieces = this.pieces.map(({ name, title }) => this.pieceRow(name, title));
    ui.piece = radios("What is laid over the scene", ...ui.pieces);
    ui.piece.className = "lk-pieces";
    ui.tallied = h("b", {});
    ui.heads = this.titles.map((title) => h("span", {}, title));
    const answers = h("div", { class: "lk-saysrow" }, ...ui.says.map((one) => one.node));
    const table = h("figure", { class: "lk-panel", "data-panel": "pieces" }, h("div", { class: "lk-piecehead" }, ui.tallied, ...ui.heads), ui.piece);
    for (const node of [answers, table]) node.style.setProperty("--lk-nets", this.titles.length);
    ui.turn = stopSlider("Turn", (i) => `${String(this.turns[i]).replace("-", MINUS)}\u00B0`, guarded(el, (i) => this.set({ angle: this.turns[i] })));
    ui.side = stopSlider("Size", (i) => `${this.sides[i]}% of the side`, guarded(el, (i) => this.set({ side: this.sides[i] })));
    return { main: [ui.picture.node], aside: [answers, table], right: true, controls: [ui.turn.node, ui.side.node, h("div", { class: "lk-buttons" }, ...this.truthToggle)] };
  }
  says(title) {
    const list = range(ROWS).map(() => { const row = { name: h("b"), value: h("span"), now: h("i", { class: "lk-bar" }) }; row.node = h("div", { class: "lk-ebar" }, row.now, row.name, row.value); return row; });
    const aim = h("span", { class: "lk-aimed" });
    return { list, aim, node: h("figure", { class: "lk-panel lk-says" }, h("figcaption", {}, h("b", {}, title)), ...list.map((one) => one.node), aim) };
  }
  pieceRow(name, title) {
    const counts = this.titles.map(() => h("span", { class: "lk-tally" })), icon = h("canvas");
    const { side, data } = this.pieces.find((one) => one.name === name);
    paintRGB(icon, bytes(data), side, side);
    const node = radio(this, { class: "lk-piece", "data-piece": name }, () => ({ piece: name }), icon, h("b", {}, title), ...counts);
    return Object.assign(node, { counts });
  }

  // ---- stops: all with a kernel, those of the grid in a page
  stops(own, more, now) { return this.page ? own : [...new Set([...more, now])].sort((a, b) => a - b); }
  get turns() { return this.stops(this.grid.angle, LIVE_TURNS, this.state.angle); }
  get sides() { return this.stops(this.grid.side, LIVE_SIDES, this.state.side); }
  choices() { return { ...super.choices(), piece: this.pieces.map((one) => one.name), angle: this.turns, side: this.sides }; }

  // ---- what is known: all places of a page, or the latest place that the kernel has answered
  keyOf({ picture, piece }) { return `${picture}|${piece}`; }
  find(changes = {}) { const key = this.keyOf({ ...this.state, ...changes }); return (this.page ? null : this.singles.get(key)) ?? this.grids.get(key); }
  classOf() { return this.model.get("aim"); }
  about() { return []; }
  targetOf(picture) { return this.live || (this.photos.has(picture) && this.find({ picture })) ? -1 : undefined; }
  take(answer) {
    if (answer?.kind === "tally") { this.version += 1; this.tallies.set(answer.piece, answer); return; }
    if (answer?.kind !== "laid") { super.take(answer); return; }
    this.version += 1;
    const { axes } = answer, unpacked = { ...answer, named: new Int16Array(bytes(answer.named).slice().buffer), p: floats(answer.p), aim: floats(answer.aim), places: axes.x.length * axes.y.length * axes.angle.length * axes.side.length };
    unpacked.kept = unpacked.named.length / unpacked.places / this.titles.length;
    (answer.whole ? this.grids : this.singles).set(this.keyOf(answer), unpacked);
  }
  settle() {
    if (!this.find()) { const first = this.grids.values().next().value; if (first) Object.assign(this.state, { picture: first.picture, piece: first.piece }); }
    Object.assign(this.state, this.snapped(this.state));
  }
  // the place, turn and size nearest to a setting that an answer knows, and its number
  nearest(answer, { place: [x, y], angle, side }) {
    const { axes } = answer, i = nearestIndex(axes.x, x), j = nearestIndex(axes.y, y), a = nearestIndex(axes.angle, angle), s = nearestIndex(axes.side, side);
    return { place: [axes.x[i], axes.y[j]], angle: axes.angle[a], side: axes.side[s], number: ((s * axes.angle.length + a) * axes.y.length + j) * axes.x.length + i };
  }
  snapped(setting) { const { x, y, angle, side } = this.grid; return { place: [x[nearestIndex(x, setting.place[0])], y[nearestIndex(y, setting.place[1])]], angle: angle[nearestIndex(angle, setting.angle)], side: side[nearestIndex(side, setting.side)] }; }
  // the likeliest classes of a network where the answer has been asked
  said(answer, number, network) {
    const at = network * answer.places + number, { kept } = answer;
    return { classes: range(kept).map((k) => [answer.named[at * kept + k], answer.p[at * kept + k]]), aim: answer.aim[at] };
  }

  // ---- the hand: what it does last counts, once a frame
  grab(stage) {
    const { el } = this, at = (event) => { const box = stage.getBoundingClientRect(); return [((event.clientX - box.left) / box.width) * this.width, ((event.clientY - box.top) / box.height) * this.height]; };
    stage.addEventListener("pointerdown", guarded(el, (event) => { stage.setPointerCapture(event.pointerId); this.lay(...at(event)); stage.focus({ preventScroll: true }); }));
    stage.addEventListener("pointermove", guarded(el, (event) => { if (event.buttons) this.lay(...at(event)); }));
    stage.addEventListener("wheel", guarded(el, (event) => { event.preventDefault(); if (event.shiftKey) this.scale(event.deltaY < 0 ? 1 : -1); else this.turn(event.deltaY < 0 ? 1 : -1); }), { passive: false });
  }
  lay(x, y) {
    this.wish = [clamp(Math.round(x), 0, this.width - 1), clamp(Math.round(y), 0, this.height - 1)];
    this.asked ||= requestAnimationFrame(guarded(this.el, () => {
      this.asked = 0;
      const place = this.page ? this.snapped({ ...this.state, place: this.wish }).place : this.wish;
      if (String(place) !== String(this.state.place)) this.set({ place });
    }));
  }
  to(list, now, by, key) { const next = list[clamp(nearestIndex(list, now) + by, 0, list.length - 1)]; if (next !== now) this.set({ [key]: next }); }
  turn(by) { this.to(this.turns, this.state.angle, by, "angle"); }
  scale(by) { this.to(this.sides, this.state.side, by, "side"); }
  press(event) {
    const { key } = event, way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[key], { place } = this.state;
    if (way && event.target === this.ui.picture.stage) {
      const far = event.shiftKey ? BIG : NUDGE, { x, y } = this.grid, next = (list, now, by) => list[clamp(nearestIndex(list, now) + by * (event.shiftKey ? 2 : 1), 0, list.length - 1)];
      this.set({ place: this.page ? [next(x, place[0], way[0]), next(y, place[1], way[1])] : [clamp(place[0] + far * way[0], 0, this.width - 1), clamp(place[1] + far * way[1], 0, this.height - 1)] });
    } else if (key === "," || key === ".") this.turn(key === "," ? 1 : -1);
    else if (key === "+" || key === "=" || key === "-") this.scale(key === "-" ? -1 : 1);
    else if (key === "c") {
      const there = this.pieces.map((one) => one.name).filter((piece) => this.known({ piece }));
      this.set({ piece: there[(there.indexOf(this.state.piece) + 1) % there.length] });
    } else return false;
    return true;
  }

  // ---- words
  get aimed() { return this.className(this.model.get("aim")); }
  question() { return ["Does a patch make the network say ", ", wherever it lies?"]; }
  subject() { return this.aimed; }
  answerText() {
    const answer = this.find();
    if (!answer) return this.live ? "Asking the network \u2026" : "";
    const { number } = this.nearest(answer, this.state), said = this.titles.map((title, n) => [title, ...this.said(answer, number, n).classes[0]]);
    const { photo } = this, before = `Without it ${this.className(photo.top[0])} ${percent(photo.p[photo.top[0]])}`;
    return `${before}; with it here ${said.map(([title, index, p], n) => `${title} ${n ? "" : "says "}${this.className(index)} ${percent(p)}`).join(", ")}.`;
  }

  paint(photo) {
    const { ui, state, page } = this, answer = this.find();
    ui.picker.node.hidden = true;
    check(ui.pieces, (node) => node.dataset.piece === state.piece, (node) => this.known({ piece: node.dataset.piece }));
    ui.turn.set(this.turns.length, this.turns.indexOf(state.angle), () => true, () => Boolean(answer));
    ui.side.set(this.sides.length, this.sides.indexOf(state.side), () => true, () => Boolean(answer));
    const tally = [...this.tallies.values()][0];
    setText(ui.tallied, tally?.of ? `Named ${this.aimed} at ${tally.of} places by lot` : `Named ${this.aimed}, by lot`);
    for (const node of ui.pieces) {
      const found = this.tallies.get(node.dataset.piece);
      node.counts.forEach((count, n) => setText(count, found?.of ? percent(found.hits[n] / found.of) : NONE));
    }
    ui.picture.set(answer ? "" : this.waitWord);
    ui.over.style.visibility = answer ? "" : "hidden";
    const aim = this.model.get("aim");
    ui.says.forEach((one, n) => {
      const found = answer && this.said(answer, this.nearest(answer, state).number, n);
      one.list.forEach((row, k) => {
        const of = found?.classes[k];
        row.node.style.visibility = of ? "" : "hidden";
        setText(row.name, of ? this.className(of[0]) : ""); setText(row.value, of ? percent(of[1]) : "");
        row.now.style.width = `${100 * (of?.[1] ?? 0)}%`;
        row.node.dataset.own = String(Boolean(of) && of[0] === aim);
      });
      setText(one.aim, found ? `${this.aimed} ${percent(found.aim)}` : "");
    });
    if (!answer) { ui.ring.hidden = true; return; }
    const where = this.nearest(answer, state), title = this.pieces.find((one) => one.name === state.piece).title;
    this.overlay(where);
    // the ring is where the hand is, until the answer has come
    const late = !page && ["place", "angle", "side"].some((key) => String(where[key]) !== String(state[key]));
    ui.ring.hidden = !late;
    if (late) this.place(ui.ring, state);
    const { x, angle, side } = this.grid;
    setText(ui.picture.foot, page ? `snaps to ${x.length} \u00D7 ${x.length} places, ${angle.length} turns, ${side.length} sizes` : `x ${where.place[0]}, y ${where.place[1]}`);
    ui.picture.canvas.setAttribute("aria-label", `Picture ${state.picture + 1}. ${title} at x ${where.place[0]}, y ${where.place[1]}, turned by ${where.angle} degrees, ${where.side} per cent of the side. ${this.answerText()}`);
  }
  place(node, { place: [x, y], side }) {
    const short = Math.min(this.width, this.height), wide = (side * short) / this.width, high = (side * short) / this.height;
    Object.assign(node.style, { left: `${(100 * (x + 0.5)) / this.width - wide / 2}%`, top: `${(100 * (y + 0.5)) / this.height - high / 2}%`, width: `${wide}%`, height: `${high}%`, borderRadius: this.model.get("shape") === "disc" ? "50%" : "0" });
  }
  // the piece as it is laid: its middle at the place, turned against the clock
  overlay({ place: [x, y], angle, side }) {
    const { ui, state, width, height } = this, drawn = [x, y, angle, side, state.piece].join();
    if (this.laid === drawn) return;
    this.laid = drawn;
    const pen = sized(ui.over, width, height), wide = (side / 100) * Math.min(width, height);
    pen.clearRect(0, 0, width, height);
    pen.save();
    pen.translate(x, y);
    pen.rotate((-angle * Math.PI) / 180);
    pen.imageSmoothingQuality = "high";
    pen.beginPath();
    if (this.model.get("shape") === "disc") pen.arc(0, 0, wide / 2, 0, 2 * Math.PI); else pen.rect(-wide / 2, -wide / 2, wide, wide);
    pen.clip();
    pen.drawImage(this.canvases[state.piece], -wide / 2, -wide / 2, wide, wide);
    pen.restore();
  }
}

export default explorer(Patch);
