// The view of a search: its frames on a slider and along a curve, stopped, gone on with, begun anew; one step of undo after another.

// a frame is RGB bytes, or an image that the browser unpacks
const framesOf = (answer, size, ready) => answer.jpegs
  ? answer.jpegs.map((data) => { const image = new Image(); image.onload = ready; image.src = URL.createObjectURL(new Blob([bytes(data)], { type: "image/jpeg" })); return image; })
  : range(bytes(answer.data).length / size).map((i) => bytes(answer.data).subarray(i * size, (i + 1) * size));
const paintFrame = (canvas, frame, width, height) => {
  if (!(frame instanceof Image)) paintRGB(canvas, frame, width, height);
  else sized(canvas, width, height).drawImage(frame, 0, 0, width, height);
};

// An explorer names its `traits` and `asks` as every view does; its answers have `at` (after how many steps each
// frame was kept), `data` or `jpegs`, `complete` and `steps`.
class SearchView extends View {
  static keys = [["\u2190 \u2192", "the frames, on the slider and on the curve"], ["s", "stop or resume"], ["u", "undo the last setting"]];

  // ---- the parts that every search has: what is made, its curve, its frames, its buttons
  buildSearch({ made = "Made", chart, frames = "Steps" }) {
    const { ui, el } = this, scrub = guarded(el, (frame) => this.scrub(frame));
    this.past = [];
    ui.made = panel(this, made, "made");
    ui.curve = curve(this, frames, scrub);
    this.curves.push(ui.curve);
    ui.lines = h("span", { class: "lk-lines" });
    ui.chart = h("figure", { class: "lk-panel lk-chart", "data-panel": "curve" }, h("figcaption", {}, h("b", {}, chart), ui.lines), ui.curve.node);
    ui.frames = stopSlider(frames, (i) => this.frameWord(i), scrub);
    ui.again = h("button", { class: "lk-button", onclick: guarded(el, () => this.resume()) }, "Resume");
    ui.anew = h("button", { class: "lk-button", onclick: guarded(el, () => this.beginAnew()) }, "Begin anew");
    ui.runs = h("div", { class: "lk-buttons" }, ui.again, ui.anew);
  }
  scrub(frame) { this.set({ frame: frame === this.count - 1 ? -1 : frame }); }
  frameWord(i) { return String(this.answer?.at[i] ?? 0); }

  unpack(answer) { return { ...answer, frames: framesOf(answer, 3 * this.width * this.height, guarded(this.el, () => { this.drawn = null; this.draw(); })) }; }
  get answer() { return this.find(); }
  get count() { return this.answer?.at.length ?? 0; }
  get at() { const { frame } = this.state; return frame < 0 || frame >= this.count ? this.count - 1 : frame; }

  resume() { this.send({ resume: this.model.get("resume") + 1 }); }
  beginAnew() { this.set({ frame: -1 }); this.send({ anew: this.model.get("anew") + 1 }); }
  press({ key }) {
    if (key === "u") { this.undo(); return true; }
    if (key !== "s" || !this.live) return false;
    if (this.model.get("status") === "computing") this.send({ cancel: true }); else this.resume();
    return true;
  }

  // ---- undo: what a setting was before, the place on the slider left alone
  set(changes) {
    const names = Object.keys(changes).filter((name) => name !== "frame" && changes[name] !== this.state[name]);
    if (names.length) this.past.push({ ...this.state });
    super.set(changes);
  }
  undo() { const before = this.past.pop(); if (before) super.set(before); }

  // where a change of a setting leads: with a kernel there, in a saved page to the known answer that is most alike
  landing(changes) {
    const wanted = { frame: -1, ...this.fitting({ ...this.state, ...changes }, changes) };
    if (this.known(wanted)) return wanted;
    const names = this.constructor.asks, setting = { ...this.state, ...changes };
    let best, most = -1;
    for (const answer of this.answers.values()) {
      if (answer.picture !== setting.picture || !this.stays(answer, changes) || Object.keys(changes).some((name) => answer[name] !== changes[name])) continue;
      const alike = names.filter((name) => answer[name] === setting[name]).length;
      if (alike > most) [best, most] = [answer, alike];
    }
    return best && { ...Object.fromEntries(["picture", "target", ...names].map((name) => [name, best[name]])), frame: -1 };
  }
  // whether an answer is about what was not to change
  stays(answer, changes) { return !("mode" in answer) || "mode" in changes || "picture" in changes || answer.mode === this.state.mode; }
  // a picture is offered where anything is known of it
  targetOf(picture) { return super.targetOf(picture) ?? this.landing({ picture })?.target; }
  show(picture) { if (super.targetOf(picture) !== undefined) super.show(picture); else this.set(this.landing({ picture })); }
  // the changes with what they make impossible put right
  fitting(setting, changes) { return changes; }

  // ---- drawing
  get runs() { return this.live; } // whether there is something to stop and resume
  paintSearch({ answer, i, label, values }) {
    const { ui, width, height } = this;
    ui.runs.hidden = !this.runs;
    if (this.live) ui.again.disabled = !answer || answer.complete || this.model.get("status") === "computing";
    if (this.live) ui.anew.disabled = !answer;
    ui.made.set(answer ? "" : this.waitWord);
    ui.frames.set(Math.max(1, this.count), Math.max(0, i), () => Boolean(answer));
    if (!answer) { this.drawn = null; return; }
    ui.made.marks(this.edge);
    const drawn = [this.version, this.keyOf({ ...this.state, target: this.target }), i].join();
    if (this.drawn !== drawn) { paintFrame(ui.made.canvas, answer.frames[i], width, height); this.drawn = drawn; }
    ui.made.canvas.setAttribute("aria-label", label);
  }
  // lines over the frames: { name, values, strong }, their names beside their marks
  drawLines(answer, i, lines, text) {
    const { ui } = this, at = answer?.at ?? [0], known = lines.flatMap((line) => line.values).filter((v) => Number.isFinite(v));
    const least = Math.min(0, ...known), most = Math.max(least + 1e-3, ...known), wide = most - least > 4;
    const low = wide ? Math.floor(least) : least, high = wide ? Math.ceil(most) : most, round = (v) => Number(Math.abs(v) >= 10 ? v.toFixed(0) : v.toPrecision(2));
    const names = lines.length > 1 ? lines.map((line) => line.name) : [];
    if (ui.lines.dataset.names !== names.join()) {
      ui.lines.replaceChildren(...names.map((name, k) => h("span", {}, lineKey(k), name)));
      ui.lines.dataset.names = names.join();
    }
    ui.curve.draw({ shares: at.map((step) => step / this.all), labels: at.map((step, k) => this.stopLabel(step, k === 0 || k === at.length - 1)),
      span: [low, high], ticks: [low, (low + high) / 2, high].map(round), chosen: Math.max(0, i),
      lines: lines.map(({ values, strong = false }, line) => ({ line, strong, values })), text });
  }
  stopLabel(step, end) { return end ? String(step) : ""; }
  get all() { return this.answer?.steps ?? this.model.get("steps") ?? 1; }
}
