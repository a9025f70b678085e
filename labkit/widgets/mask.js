// The mask explorer: an area to drag, the mask, what it leaves of the picture, and the probability over the area.

const MODE_LINES = { preserve: 0, delete: 1 };
// a mask does what is asked where the probability passes this share of the whole picture's: kept, or lost
const BAR = 0.5;
const DARK = 0.82; // how much darker what the mask leaves out is drawn

class Masks extends View {
  static kind = "masks"; static traits = ["mode", "stop"]; static asks = ["mode"];
  static keys = [["\u2190 \u2192", "the area, on the slider and on the curve"]];

  build() {
    const { ui, el, model } = this, keyed = (mode) => h("span", {}, lineKey(MODE_LINES[mode]), mode);
    this.areas = model.get("areas");
    ui.picture = panel(this, "Picture", "picture");
    ui.mask = panel(this, "Mask", "mask");
    ui.left = panel(this, "What it sees", "left");
    ui.curve = curve(this, "Area of the mask", guarded(el, (stop) => this.set({ stop })));
    this.curves.push(ui.curve);
    const chart = h("figure", { class: "lk-panel lk-chart", "data-panel": "curve" },
      h("figcaption", {}, h("b", {}, "Probability"), keyed("preserve"), keyed("delete")), ui.curve.node);
    ui.area = stopSlider("Area", (i) => percent(this.areas[i]), guarded(el, (stop) => this.set({ stop })));
    ui.modes = [["preserve", "Preserve", "Only the mask is left: which part suffices?"], ["delete", "Delete", "The mask is taken away: which part is needed?"]]
      .map(([mode, text, title]) => radio(this, { class: "lk-button", title, "data-mode": mode }, () => ({ mode }), text));
    const modes = radios("What the mask does", ...ui.modes);
    modes.className = "lk-buttons";
    return { aside: [ui.picture.node, chart], main: [ui.mask.node, ui.left.node], controls: [ui.area.node, h("div", { class: "lk-buttons" }, modes, ...this.truthToggle)] };
  }

  choices() { return { ...super.choices(), mode: ["preserve", "delete"], stop: range(this.areas.length) }; }
  unpack(answer) { return { ...answer, masks: bytes(answer.data), shown: bytes(answer.shown) }; }
  take(answer) { if (!(this.page && answer?.coarse)) super.take(answer); }
  get answer() { return this.find(); }
  // where in the answer the stop on view stands; -1: not yet, for a coarse answer is of some areas only
  get place() { return this.answer?.stops.indexOf(this.state.stop) ?? -1; }
  bar(photo) { return BAR * photo.p[this.target]; }
  get keeps() { return this.state.mode === "preserve"; }

  question() { return this.keeps ? ["Which part of the picture suffices for ", "?"] : ["Which part of the picture is needed for ", "?"]; }
  // the smallest area whose point on the curve lies beyond the dashed line
  answerText(photo) {
    const answer = this.answer, name = this.className(this.target), bar = this.bar(photo), half = `half of the whole picture's ${percent(photo.p[this.target])}`;
    if (!answer) return this.live ? "Searching for masks \u2026" : "";
    const enough = answer.p.findIndex((p) => (p >= bar) === this.keeps), area = percent(this.areas[answer.stops[enough]]), p = percent(answer.p[enough]);
    const said = enough < 0 ? (this.keeps ? `No area here keeps ${half}.` : `No area here takes more than ${half}.`)
      : this.keeps ? `${area} of the picture suffices for ${name}: ${p}, at least ${half}.` : `Without ${area} of the picture ${name} is lost: ${p}, less than ${half}.`;
    return answer.coarse ? `Coarse: ${said}` : said;
  }

  paint(photo) {
    const { ui, state, width, height, areas } = this, answer = this.answer, i = this.place, name = this.className(this.target);
    ui.picker.refresh(photo, this.target);
    ui.area.set(areas.length, i, () => this.known({}), (stop) => Boolean(answer?.stops.includes(stop)));
    check(ui.modes, (button) => button.dataset.mode === state.mode, (button) => this.known({ mode: button.dataset.mode }));
    setText(ui.picture.foot, `${name} ${percent(photo.p[this.target])}`);
    for (const shown of [ui.mask, ui.left]) shown.set(i >= 0 ? "" : this.waitWord);
    this.drawCurve(answer, photo);
    if (i < 0) { this.drawn = null; return; }
    for (const shown of [ui.mask, ui.left]) shown.marks(this.edge);
    const drawn = [photo.picture, this.version, this.keyOf({ ...state, target: this.target }), i].join();
    if (this.drawn !== drawn) { this.drawMask(photo, answer, i); this.drawn = drawn; }
    const iou = answer.iou.length ? `IoU with the truth ${answer.iou[i].toFixed(2)}` : "";
    setText(ui.mask.aside, `${answer.coarse ? "coarse, " : ""}area ${percent(answer.achieved[i])}`);
    setText(ui.mask.foot, iou || (this.model.get("measured") ? "no truth for this picture" : this.keeps ? "bright is left" : "bright is taken away"));
    ui.mask.canvas.setAttribute("aria-label", `Mask of ${percent(answer.achieved[i])} of the picture${iou ? `, ${iou}` : ""}`);
    const named = answer.best[i] === this.target ? "" : `named ${this.className(answer.best[i])}`;
    setText(ui.left.aside, named);
    setText(ui.left.foot, `${name} ${percent(answer.p[i])}`);
    ui.left.canvas.setAttribute("aria-label", `What the network is shown: ${name} ${percent(answer.p[i])} ${named}`.trim());
  }

  // the picture, dark and grey where the mask is not; beside it the very picture that was optimized
  drawMask(photo, answer, i) {
    const { ui, width, height } = this, size = width * height, mask = answer.masks.subarray(i * size, (i + 1) * size), rgb = new Uint8Array(3 * size);
    for (let k = 0; k < size; k++) {
      const kept = mask[k] / 255, bright = 1 - DARK * (1 - kept), grey = (1 - kept) * 255 * photo.grey[k];
      for (let c = 3 * k; c < 3 * k + 3; c++) rgb[c] = bright * (kept * photo.rgb[c] + grey);
    }
    paintRGB(ui.mask.canvas, rgb, width, height);
    paintRGB(ui.left.canvas, answer.shown.subarray(3 * i * size, 3 * (i + 1) * size), width, height);
  }

  drawCurve(answer, photo) {
    const { areas, state, place } = this, most = areas[areas.length - 1], shares = areas.map((a) => Math.sqrt(a / most));
    const line = (mode) => ({ line: MODE_LINES[mode], strong: mode === state.mode, values: areas.map((_, i) => { const found = this.find({ mode }); return found?.p[found.stops.indexOf(i)] ?? null; }) });
    const p = place >= 0 ? percent(answer.p[place]) : "not known yet";
    this.ui.curve.draw({ shares, labels: areas.map((a) => `${Math.round(100 * a)}%`), span: [0, 1], level: this.bar(photo), chosen: state.stop,
      lines: [this.keeps ? "delete" : "preserve", state.mode].map(line), text: `area ${percent(areas[state.stop])}, probability ${p}` });
  }
}

export default explorer(Masks);
