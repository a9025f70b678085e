// The ascent explorer: a picture made for a class or a unit, its frames to scrub, its activation as a curve.

const SWITCH_WORDS = [
  ["decay", "Decay", "Every value falls back towards grey after each step"], ["blur", "Blur", "A blur after every second step"],
  ["clip", "Clipping", "Pixels that are small, or do little, become grey"], ["jitter", "Turns", "A random move, turn and scale before each step"],
  ["fourier", "Fourier", "Climb on waves with decorrelated colours instead of pixels"],
];

class Ascent extends SearchView {
  static kind = "ascent"; static cell = 16;
  static traits = ["layer", "channel", ...SWITCH_WORDS.map(([key]) => key), "frame"];
  static asks = ["layer", "channel", ...SWITCH_WORDS.map(([key]) => key)];

  build() {
    const { ui, el, model } = this;
    ui.picture = panel(this, "Start", "picture");
    this.buildSearch({ chart: "Activation" });
    const switches = h("div", { class: "lk-buttons", role: "group", "aria-label": "Regularizers" }, ...SWITCH_WORDS.map(([key, text, title]) => this.switchFor(key, text, title)));
    ui.layers = ["", ...model.get("layers").map(({ name }) => name)].map((layer) =>
      radio(this, { class: "lk-button", "data-layer": layer }, () => ({ layer, channel: this.firstChannel(layer), frame: -1 }), layer || "Class"));
    ui.layer = radios("What is to be excited", ...ui.layers);
    ui.layer.className = "lk-buttons";
    ui.channel = stopSlider("Channel", String, guarded(el, (channel) => this.set({ channel, frame: -1 })));
    const held = this.page ? [h("span", { class: "lk-held" }, "Other combinations are not in this page.")] : [];
    return { aside: [ui.picture.node, ui.chart], main: [ui.made.node], controls: [ui.frames.node, ui.channel.node, ui.layer, switches, ...held, ui.runs] };
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
  channelsOf(layer) { return this.model.get("layers").find((one) => one.name === layer)?.channels ?? 1; }
  firstChannel(layer) {
    const own = range(this.channelsOf(layer)), kept = own.includes(this.state.channel) ? this.state.channel : 0;
    return [kept, ...own].find((channel) => this.known({ layer, channel })) ?? kept;
  }
  // in a page: the classes that were climbed for, likely at the start or not
  get climbed() { return [...new Set([...this.answers.values()].filter((one) => !one.layer).map((one) => one.target))].slice(0, 5); }
  get goal() { return this.state.layer ? `channel ${this.state.channel} of ${this.state.layer}` : this.className(this.target); }

  question() { return ["What excites ", "?"]; }
  subject() { return this.goal; }
  answerText() {
    const { answer } = this, all = this.model.get("steps");
    if (!answer) return this.live ? "The ascent begins \u2026" : "";
    const i = Math.max(0, this.at), first = number(answer.scores[0]), done = answer.at[answer.at.length - 1];
    if (!answer.fired) return `It has not fired in ${done} steps: the picture says nothing about it.`;
    if (!i) return `At the start, after 0 of ${all} steps, its activation is ${first}.`;
    const late = answer.redirected ? ` It did not fire for ${answer.redirected} steps, and its gradient was redirected.` : "";
    return `In ${answer.at[i]} of ${all} steps its activation went from ${first} to ${number(answer.scores[i])}.${late}`;
  }

  paint(photo) {
    const { ui, state, answer } = this, i = Math.max(0, this.at);
    ui.picker.refresh(this.page ? { ...photo, top: this.climbed } : photo, this.target);
    if (state.layer) ui.picker.node.hidden = true;
    check(ui.layers, (node) => node.dataset.layer === state.layer, (node) => this.live || this.known({ layer: node.dataset.layer, channel: this.firstChannel(node.dataset.layer) }));
    ui.layer.hidden = ui.layers.filter((node) => !node.hidden).length < 2;
    ui.channel.node.hidden = !state.layer;
    ui.channel.set(this.channelsOf(state.layer), state.channel, (channel) => this.known({ channel }), (channel) => Boolean(this.find({ channel })));
    setText(ui.picture.foot, `named ${this.className(photo.top[0])} ${percent(photo.p[photo.top[0]])}`);
    const said = answer ? `activation ${number(answer.scores[i])}` : "";
    this.paintSearch({ answer, i, label: answer ? `Made for ${this.goal}, after ${answer.at[i]} steps: ${said}` : "" });
    this.drawLines(answer, i, [{ name: "activation", strong: true, values: answer?.scores ?? [null] }], answer ? `after ${answer.at[i]} steps, ${said}` : "not known yet");
    setText(ui.made.aside, answer ? `after ${answer.at[i]} steps` : "");
    setText(ui.made.foot, answer ? `${said}; named ${this.className(answer.named[i])} ${percent(answer.sure[i])}` : "");
  }
}

export default explorer(Ascent);
