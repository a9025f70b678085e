// The ascent explorer: a picture made for a class or a unit, its frames to scrub, its activation as a curve.

const SWITCH_WORDS = [
  ["decay", "Decay", "Every value falls back towards grey after each step"], ["blur", "Blur", "A blur after every second step"],
  ["clip", "Clipping", "Pixels that are small, or do little, become grey"], ["jitter", "Turns", "A random move, turn and scale before each step"],
  ["fourier", "Fourier", "Climb on waves with decorrelated colours instead of pixels"],
];

class Ascent extends View {
  static kind = "ascent"; static cell = 16;
  static traits = ["layer", "channel", ...SWITCH_WORDS.map(([key]) => key), "frame"];
  static asks = ["layer", "channel", ...SWITCH_WORDS.map(([key]) => key)];
  static keys = [["\u2190 \u2192", "the frames, on the slider and on the curve"], ["s", "stop or resume"]];

  build() {
    const { ui, el, model } = this, scrub = guarded(el, (frame) => this.set({ frame: frame === this.count - 1 ? -1 : frame }));
    ui.picture = panel(this, "Start", "picture");
    ui.made = panel(this, "Made", "made");
    ui.curve = curve(this, "Steps", scrub);
    this.curves.push(ui.curve);
    const chart = h("figure", { class: "lk-panel lk-chart", "data-panel": "curve" }, h("figcaption", {}, h("b", {}, "Activation")), ui.curve.node);
    ui.frames = stopSlider("Steps", (i) => String(this.answer?.at[i] ?? 0), scrub);
    const switches = h("div", { class: "lk-buttons", role: "group", "aria-label": "Regularizers" }, ...SWITCH_WORDS.map(([key, text, title]) => this.switchFor(key, text, title)));
    ui.layers = ["", ...model.get("layers").map(({ name }) => name)].map((layer) =>
      radio(this, { class: "lk-button", "data-layer": layer }, () => ({ layer, channel: this.firstChannel(layer), frame: -1 }), layer || "Class"));
    ui.layer = radios("What is to be excited", ...ui.layers);
    ui.layer.className = "lk-buttons";
    ui.channel = stopSlider("Channel", String, guarded(el, (channel) => this.set({ channel, frame: -1 })));
    ui.again = h("button", { class: "lk-button", onclick: guarded(el, () => this.resume()) }, "Resume");
    ui.anew = h("button", { class: "lk-button", onclick: guarded(el, () => this.beginAnew()) }, "Begin anew");
    ui.runs = h("div", { class: "lk-buttons" }, ui.again, ui.anew);
    return { aside: [ui.picture.node, chart], main: [ui.made.node], controls: [ui.frames.node, ui.channel.node, ui.layer, switches, ui.runs] };
  }
  // a switch is offered only where the ascent with it is known or can be climbed
  switchFor(key, text, title) {
    const node = h("button", { class: "lk-button", title, "aria-pressed": "false", "data-switch": key, onclick: guarded(this.el, () => this.set({ [key]: !this.state[key], frame: -1 })) }, text);
    this.toggles.push(() => { node.setAttribute("aria-pressed", String(this.state[key])); node.hidden = !this.known({ [key]: !this.state[key] }); });
    return node;
  }

  choices() {
    const flags = Object.fromEntries(SWITCH_WORDS.map(([key]) => [key, [true, false]])), layers = this.model.get("layers");
    const most = Math.max(1, ...layers.map((one) => one.channels));
    return { ...super.choices(), layer: ["", ...layers.map((one) => one.name)], channel: range(most), frame: range(999).map((i) => i - 1), ...flags };
  }
  unpack(answer) { return { ...answer, frames: bytes(answer.data) }; }
  get answer() { return this.find(); }
  get count() { return this.answer?.at.length ?? 0; }
  get at() { const { frame } = this.state; return frame < 0 || frame >= this.count ? this.count - 1 : frame; }
  channelsOf(layer) { return this.model.get("layers").find((one) => one.name === layer)?.channels ?? 1; }
  firstChannel(layer) {
    const own = range(this.channelsOf(layer)), kept = own.includes(this.state.channel) ? this.state.channel : 0;
    return [kept, ...own].find((channel) => this.known({ layer, channel })) ?? kept;
  }
  get goal() { return this.state.layer ? `channel ${this.state.channel} of ${this.state.layer}` : this.className(this.target); }

  resume() { this.send({ resume: this.model.get("resume") + 1 }); }
  beginAnew() { this.set({ frame: -1 }); this.send({ anew: this.model.get("anew") + 1 }); }
  press({ key }) {
    if (key !== "s" || !this.live) return false;
    if (this.model.get("status") === "computing") this.send({ cancel: true }); else this.resume();
    return true;
  }

  question() { return ["What excites ", "?"]; }
  subject() { return this.goal; }
  answerText() {
    const { answer } = this, all = this.model.get("steps");
    if (!answer) return this.live ? "The ascent begins \u2026" : "";
    const first = answer.scores[0], last = answer.scores[answer.scores.length - 1], steps = answer.at[answer.at.length - 1];
    if (!answer.fired) return `It has not fired in ${steps} steps: the picture says nothing about it.`;
    const late = answer.redirected ? ` It did not fire for ${answer.redirected} steps, and its gradient was redirected.` : "";
    return `In ${steps} of ${all} steps its activation went from ${number(first)} to ${number(last)}.${late}`;
  }

  paint(photo) {
    const { ui, state, width, height, answer } = this, size = 3 * width * height, i = Math.max(0, this.at);
    ui.picker.refresh(photo, this.target);
    if (state.layer) ui.picker.node.hidden = true;
    check(ui.layers, (node) => node.dataset.layer === state.layer, (node) => this.live || this.known({ layer: node.dataset.layer, channel: this.firstChannel(node.dataset.layer) }));
    ui.layer.hidden = ui.layers.filter((node) => !node.hidden).length < 2;
    ui.channel.node.hidden = !state.layer;
    ui.channel.set(this.channelsOf(state.layer), state.channel, (channel) => this.known({ channel }), (channel) => Boolean(this.find({ channel })));
    setText(ui.picture.foot, `named ${this.className(photo.top[0])} ${percent(photo.p[photo.top[0]])}`);
    ui.runs.hidden = !this.live;
    if (this.live) ui.again.disabled = !answer || answer.complete || this.model.get("status") === "computing";
    if (this.live) ui.anew.disabled = !answer;
    ui.made.set(answer ? "" : this.waitWord);
    this.drawCurve(answer, i);
    ui.frames.set(Math.max(1, this.count), i, () => Boolean(answer));
    if (!answer) { this.drawn = null; return; }
    ui.made.marks(this.edge);
    const drawn = [this.version, this.keyOf({ ...state, target: this.target }), i].join();
    if (this.drawn !== drawn) { paintRGB(ui.made.canvas, answer.frames.subarray(i * size, (i + 1) * size), width, height); this.drawn = drawn; }
    setText(ui.made.aside, `after ${answer.at[i]} steps`);
    setText(ui.made.foot, `activation ${number(answer.scores[i])}`);
    ui.made.canvas.setAttribute("aria-label", `Made for ${this.goal}, after ${answer.at[i]} steps: activation ${number(answer.scores[i])}`);
  }

  drawCurve(answer, i) {
    const { at, scores } = answer ?? { at: [0], scores: [null] }, all = this.model.get("steps"), known = scores.filter((v) => v !== null);
    const least = Math.min(0, ...known), most = Math.max(least + 1e-3, ...known), wide = most - least > 4;
    const low = wide ? Math.floor(least) : least, high = wide ? Math.ceil(most) : most, round = (v) => Number(wide ? v.toFixed(0) : v.toPrecision(2));
    this.ui.curve.draw({ shares: at.map((step) => step / all), labels: at.map((step, k) => (k === 0 || k === at.length - 1 ? String(step) : "")),
      span: [low, high], ticks: [low, (low + high) / 2, high].map(round), chosen: i, lines: [{ line: 0, strong: true, values: scores }],
      text: answer ? `after ${at[i]} steps, activation ${number(scores[i])}` : "not known yet" });
  }
}

export default explorer(Ascent);
