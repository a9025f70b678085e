// The dream explorer: what a layer adds to a picture, keeps of it, or takes for its texture; each frame beside its controls.

const MODE_WORDS = { dream: ["Dream", "More of what the network sees in the picture"], inversion: ["Inversion", "A picture with the same features"], texture: ["Texture", "A picture with the same Gram matrices"] };
const GOAL_WORDS = { layer: "Layer", channel: "Channel", class: "Class" };

class Dream extends SearchView {
  static kind = "dream"; static cell = 16;
  static traits = ["mode", "layer", "goal", "channel", "frame"];
  static asks = ["mode", "layer", "goal", "channel"];
  static keys = [...SearchView.keys, ["[ ]", "the layer before, the layer after"], ["m", "dream, inversion, texture"]];

  build() {
    const { ui, el, model } = this, go = guarded(el, (changes) => this.go(changes));
    ui.picture = panel(this, "Picture", "picture");
    this.buildSearch({ chart: "" });
    const button = (attributes, changes, text, title) => h("button", { role: "radio", class: "lk-button", title, ...attributes, onclick: () => go(changes) }, text);
    ui.modes = Object.entries(MODE_WORDS).map(([mode, [text, title]]) => button({ "data-mode": mode }, { mode }, text, title));
    ui.mode = radios("What is made", ...ui.modes);
    ui.goals = model.get("goals").map((goal) => button({ "data-goal": goal }, { goal }, GOAL_WORDS[goal] ?? goal, ""));
    ui.goal = radios("What is amplified", ...ui.goals);
    for (const group of [ui.mode, ui.goal]) group.className = "lk-buttons";
    ui.layer = stopSlider("Layer", (i) => this.names[i] ?? "", (i) => go({ layer: this.names[i] }));
    ui.channel = stopSlider("Channel", String, (channel) => go({ channel }));
    return { aside: [ui.picture.node, ui.chart], main: [ui.made.node], controls: [ui.frames.node, ui.layer.node, ui.channel.node, ui.mode, ui.goal, ui.runs] };
  }
  go(changes) { const to = this.landing(changes); if (to) this.set(to); }
  press(event) {
    const by = { "[": -1, "]": 1 }[event.key], modes = Object.keys(MODE_WORDS);
    if (by && this.layered) this.go({ layer: this.names[clamp(this.names.indexOf(this.state.layer) + by, 0, this.names.length - 1)] });
    else if (event.key === "m") { const there = modes.filter((mode) => this.landing({ mode })); this.go({ mode: there[(there.indexOf(this.state.mode) + 1) % there.length] }); }
    else return super.press(event);
    return true;
  }

  // ---- what tells answers apart: what a search does not depend on is left out
  keyOf({ picture, target, mode, layer, goal, channel }) {
    const dreams = mode === "dream", by = dreams ? goal : "layer";
    return [picture, by === "class" ? target : -1, mode, ["layer", "channel"].includes(by) ? layer : "", by, by === "channel" ? channel : 0].join("|");
  }
  landing(changes) {
    const to = super.landing(changes);
    if (to && !to.layer) delete to.layer; // an answer about a class has none
    return to;
  }
  stays(answer, changes) { return super.stays(answer, changes) && (["mode", "goal", "picture"].some((name) => name in changes) || answer.goal === this.state.goal); }
  fitting(setting, changes) {
    const count = this.channelsOf(setting.layer);
    return setting.channel < count ? changes : { ...changes, channel: 0 };
  }
  about(answer) { return answer.target < 0 ? [] : [answer.target]; }
  choices() {
    const { model } = this, most = Math.max(...model.get("layers").map((one) => one.channels));
    return { ...super.choices(), mode: Object.keys(MODE_WORDS), layer: ["", ...this.names], goal: model.get("goals"), channel: range(most), frame: range(999).map((i) => i - 1) };
  }
  get names() { return this.model.get("layers").map((one) => one.name); }
  channelsOf(layer) { return this.model.get("layers").find((one) => one.name === layer)?.channels ?? 1; }
  get layered() { return this.state.mode !== "dream" || ["layer", "channel"].includes(this.state.goal); }

  // ---- words
  get what() {
    const { mode, goal, layer, channel } = this.state;
    if (mode !== "dream" || goal === "layer") return layer;
    return goal === "channel" ? `channel ${channel} of ${layer}` : goal === "class" ? this.className(this.target) : goal;
  }
  question() {
    const { mode } = this.state;
    return mode === "dream" ? ["What does ", " see in the picture?"] : mode === "inversion" ? ["What does ", " keep of the picture?"] : ["What is texture to the layers up to ", "?"];
  }
  subject() { return this.what; }
  // the lines of the curve: names, and the unit of their numbers
  get lineNames() {
    const { mode } = this.state;
    return mode === "dream" ? ["dream", "noise of equal size"] : mode === "inversion" ? ["the picture", "other pictures"] : ["made", "its pixels shuffled", "another piece of it"];
  }
  // a layer's squared length in the picture's own
  linesOf(answer) {
    const { mode, goal } = this.state, own = mode === "dream" && goal === "layer" ? answer?.lines[0][0] || 1 : 1;
    return (answer?.lines ?? [[null]]).map((values, k) => ({ name: this.lineNames[k], strong: k === 0, values: values.map((v) => (v === null ? null : v / own)) })).filter((line) => line.values.some((v) => v !== null));
  }
  chartName() { const { mode, goal } = this.state; return mode === "dream" ? (goal === "layer" ? "Squared length of the layer" : "Activation") : mode === "inversion" ? "Correlation with" : "Gram distance"; }
  wordsAt(answer, i) {
    const { mode, goal } = this.state, value = (k) => this.linesOf(answer)[k]?.values[i], has = (name) => this.linesOf(answer).find((line) => line.name === name)?.values[i];
    if (mode === "dream") return goal === "layer" ? `${number(value(0))} times the picture's own; noise of equal size ${number(value(1))}` : `activation ${number(value(0))}; noise of equal size ${number(value(1))}`;
    if (mode === "inversion") return `correlation ${hundredths(value(0))}` + (value(1) === undefined ? "" : `; with other pictures ${hundredths(value(1))}`);
    const crop = has("another piece of it");
    return `Gram distance ${precise(value(0))}; its pixels shuffled ${precise(value(1))}` + (crop === undefined ? "" : `; another piece ${precise(crop)}`);
  }
  answerText() {
    const { answer } = this, { mode, goal } = this.state;
    if (!answer) return this.live ? "The search begins \u2026" : "";
    const last = answer.at.length - 1, lines = this.linesOf(answer), v = (k, i = last) => lines[k]?.values[i], steps = `In ${answer.at[last]} of ${answer.steps} steps`;
    if (mode === "dream") {
      return goal === "layer" ? `${steps} the layer\u2019s squared length has become ${number(v(0))} times the picture\u2019s own; noise of equal size makes it ${number(v(1))} times.`
        : `${steps} the activation went from ${number(v(0, 0))} to ${number(v(0))}; with noise of equal size it is ${number(v(1))}.`;
    }
    if (mode === "inversion") return `${steps} it correlates with the picture by ${hundredths(v(0))}` + (v(1) === undefined ? "; a second picture would say what chance gives." : `, with other pictures by ${hundredths(v(1))}.`);
    const crop = lines.find((line) => line.name === "another piece of it")?.values[last];
    return `${steps} its Gram distance from the sample, by another network, is ${precise(v(0))}` + (crop === undefined ? "" : `, that of another piece ${precise(crop)}`) + `; its own pixels shuffled: ${precise(v(1))}.`;
  }

  paint(photo) {
    const { ui, state, answer } = this, i = Math.max(0, this.at), dreams = state.mode === "dream";
    ui.picker.refresh(photo, this.target);
    if (!dreams || state.goal !== "class") ui.picker.node.hidden = true;
    check(ui.modes, (node) => node.dataset.mode === state.mode, (node) => Boolean(this.landing({ mode: node.dataset.mode })));
    check(ui.goals, (node) => node.dataset.goal === state.goal, (node) => Boolean(this.landing({ mode: "dream", goal: node.dataset.goal })));
    ui.mode.hidden = ui.modes.filter((node) => !node.hidden).length < 2;
    ui.goal.hidden = !dreams || ui.goals.filter((node) => !node.hidden).length < 2;
    const at = this.names.indexOf(state.layer), there = (changes) => Boolean(this.landing(changes));
    ui.layer.node.hidden = !this.layered || at < 0;
    ui.layer.set(this.names.length, Math.max(0, at), (k) => there({ layer: this.names[k] }), (k) => Boolean(this.find({ layer: this.names[k] })));
    ui.channel.node.hidden = !dreams || state.goal !== "channel";
    ui.channel.set(this.channelsOf(state.layer), state.channel, (channel) => this.known({ channel }), (channel) => Boolean(this.find({ channel })));
    setText(ui.picture.foot, `named ${this.className(photo.top[0])} ${percent(photo.p[photo.top[0]])}`);
    const said = answer ? this.wordsAt(answer, i) : "", lines = this.linesOf(answer);
    setText(ui.chart.querySelector("b"), this.chartName());
    this.paintSearch({ answer, i, label: answer ? `Made by ${this.what}, after ${answer.at[i]} steps: ${said}` : "" });
    this.drawLines(answer, i, lines, answer ? `after ${answer.at[i]} steps: ${said}` : "not known yet");
    setText(ui.made.aside, answer ? `after ${answer.at[i]} steps` : "");
    setText(ui.made.foot, said);
  }
}

export default explorer(Dream);
