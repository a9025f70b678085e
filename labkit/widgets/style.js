// The style explorer: one picture's content in another's style, sought live; and every blend of a network's styles.

const STYLE_MODES = { search: ["Search", "A picture is sought, step by step"], blend: ["Blend", "One pass of a network gives each blend"] };
const STYLE_SWITCHES = [["keep_colors", "Its own colours", "The style is given the picture's colours first"], ["noise", "From noise", "The search begins at noise, not at the picture"]];

class Style extends SearchView {
  static kind = "styles"; static cell = 16;
  static asks = ["mode", "style", "style_weight", "content_weight", "keep_colors", "noise"];
  static traits = [...Style.asks, "frame"];
  static keys = [...SearchView.keys, ["[ ]", "the style before, the style after"], ["m", "search or blend"]];

  build() {
    const { ui, el, model } = this, go = guarded(el, (changes) => this.go(changes));
    ui.picture = panel(this, "Content", "picture");
    ui.stylePanel = panel(this, "Style", "style");
    this.buildSearch({ chart: "Gram distance" });
    const button = (attributes, changes, text, title) => h("button", { role: "radio", class: "lk-button", title, ...attributes, onclick: () => go(changes) }, text);
    ui.modes = Object.entries(STYLE_MODES).map(([mode, [text, title]]) => button({ "data-mode": mode }, { mode }, text, title));
    ui.mode = radios("How it is made", ...ui.modes);
    ui.mode.className = "lk-buttons";
    const weight = (name, key, stops) => stopSlider(name, (i) => String(stops[i]), (i) => go({ [key]: stops[i] }));
    ui.styleWeight = weight("Style weight", "style_weight", model.get("weights").style);
    ui.contentWeight = weight("Content weight", "content_weight", model.get("weights").content);
    ui.switches = h("div", { class: "lk-buttons", role: "group", "aria-label": "Start and colours" }, ...STYLE_SWITCHES.map(([key, text, title]) => this.switchFor(key, text, title)));
    ui.strip2 = radios("Styles");
    ui.strip2.className = "lk-strip";
    model.on("change:styles", guarded(el, () => { this.openStyles(); this.draw(); }));
    this.openStyles();
    return { aside: [h("div", { class: "lk-both" }, ui.picture.node, ui.stylePanel.node), ui.chart], main: [ui.made.node],
      controls: [ui.frames.node, ui.styleWeight.node, ui.contentWeight.node, ui.mode, ui.strip2, ui.switches, ui.runs] };
  }
  own() { return h("div", { class: "lk-buttons" }, ownPhotograph(this), ownPhotograph(this, { upload: "style_upload", path: "style_path", what: "style", box: "lk-ownstyle" })); }
  // the style pictures, each unpacked once and painted on its thumb
  openStyles() {
    const { ui, model } = this;
    this.pictures ??= [];
    for (const [i, entry] of model.get("styles").entries()) {
      if (this.pictures[i]) continue;
      const canvas = h("canvas"), [frame] = framesOf(entry, 3 * entry.width * entry.height, guarded(this.el, () => { paintFrame(canvas, frame, entry.width, entry.height); this.drawnStyle = null; this.draw(); }));
      if (!(frame instanceof Image)) paintFrame(canvas, frame, entry.width, entry.height);
      this.pictures[i] = { ...entry, frame };
      ui.strip2.append(h("button", { role: "radio", class: "lk-stylethumb", "aria-label": entry.name, title: entry.name, onclick: guarded(this.el, () => this.go({ style: i })) }, canvas));
    }
  }
  switchFor(key, text, title) {
    const node = h("button", { class: "lk-button", title, "aria-pressed": "false", "data-switch": key, onclick: guarded(this.el, () => this.go({ [key]: !this.state[key] })) }, text);
    this.toggles.push(() => { node.setAttribute("aria-pressed", String(this.state[key])); node.hidden = !this.landing({ [key]: !this.state[key] }); });
    return node;
  }
  go(changes) { const to = this.landing(changes); if (to) this.set(to); }
  press(event) {
    const by = { "[": -1, "]": 1 }[event.key], modes = this.modesThere;
    if (by && !this.blends) this.go({ style: clamp(this.state.style + by, 0, this.pictures.length - 1) });
    else if (event.key === "m") this.go({ mode: modes[(modes.indexOf(this.state.mode) + 1) % modes.length] });
    else return super.press(event);
    return true;
  }
  get modesThere() { return Object.keys(STYLE_MODES).filter((mode) => (mode === "search" || this.model.get("blended")) && this.landing({ mode })); }

  // ---- one answer has all blends of a picture
  keyOf({ picture, mode, style, style_weight, content_weight, keep_colors, noise }) {
    return (mode === "blend" ? [picture, mode] : [picture, mode, style, style_weight, content_weight, keep_colors, noise]).join("|");
  }
  landing(changes) {
    const to = super.landing(changes), blend = to && (to.mode ?? this.state.mode) === "blend";
    if (!to || !("style" in to) || !blend || this.live) return to;
    return { picture: to.picture, target: to.target, mode: to.mode, frame: to.frame };
  }
  about() { return []; }
  choices() {
    const { model } = this, { style, content } = model.get("weights");
    return { ...super.choices(), mode: Object.keys(STYLE_MODES), style: range(model.get("styles").length), style_weight: style, content_weight: content,
      keep_colors: [true, false], noise: [true, false], frame: range(999).map((i) => i - 1) };
  }
  get blends() { return this.state.mode === "blend"; }
  get runs() { return this.live && !this.blends; }
  // a blend begins at the first style, not at its last
  get at() { const { frame } = this.state; return this.blends && frame < 0 ? 0 : super.at; }
  scrub(frame) { this.set({ frame: frame === (this.blends ? 0 : this.count - 1) ? -1 : frame }); }

  // ---- words
  styleName(i) { return this.pictures[i]?.name ?? `style ${i + 1}`; }
  // the two styles of a stop and the share of the second
  mixAt(stop) {
    const between = this.model.get("between"), count = this.model.get("blended"), first = Math.floor(stop / between);
    return [first % count, (first + 1) % count, (stop % between) / between];
  }
  mixWord(stop) {
    const [a, b, share] = this.mixAt(stop);
    return share === 0 ? this.styleName(a) : `${percent(1 - share)} ${this.styleName(a)}, ${percent(share)} ${this.styleName(b)}`;
  }
  frameWord(i) { const at = this.answer?.at[i] ?? 0; return this.blends ? this.mixWord(at) : String(at); }
  stopLabel(step, end) { return this.blends ? (step % this.model.get("between") === 0 ? this.styleName(this.mixAt(step)[0]) : "") : super.stopLabel(step, end); }
  question() { return this.blends ? ["How does the network paint in ", "?"] : ["How does the picture look in ", "?"]; }
  subject() { return this.blends ? (this.answer ? this.mixWord(this.answer.at[this.at]) : "a blend") : this.styleName(this.state.style); }
  wordsAt(answer, i) {
    const v = (k) => answer.lines.at(k)[i], ends = this.blends && this.mixAt(answer.at[i])[2] === 0;
    if (this.blends) return `Gram distance ${precise(v(-3))}${ends ? "" : `; cross-fade ${precise(v(-2))}`}; the picture ${precise(v(-1))}`;
    return `correlation with the picture ${hundredths(v(3))}` + (v(4) === null ? "" : `; with others ${hundredths(v(4))}`);
  }
  answerText() {
    const { answer } = this;
    if (!answer) return this.live ? "The search begins \u2026" : "";
    const v = (k, i) => answer.lines.at(k)[i];
    if (this.blends) {
      const i = this.at, ends = this.mixAt(answer.at[i])[2] === 0;
      return ends ? `Its Gram distance from the style, by another network, is ${precise(v(-3, i))}; the picture itself was at ${precise(v(-1, i))}.`
        : `The blend\u2019s Gram distance from both styles, in their shares, is ${precise(v(-3, i))}; a cross-fade\u2019s is ${precise(v(-2, i))}.`;
    }
    const last = answer.at.length - 1;
    return `In ${answer.at[last]} of ${answer.steps} steps its Gram distance from the style, by another network, is ${precise(v(0, last))}; the picture was at ${precise(v(1, last))}, with the style\u2019s colours alone ${precise(v(2, last))}.`;
  }

  // the style, or both of a blend beside each other in their shares
  paintStyles([a, b, share]) {
    const { ui, blends } = this, { width, height } = this.pictures[a] ?? {}, drawn = [a, b, share].join();
    const names = [a, ...(share ? [b] : [])].map((k) => this.styleName(k)), frames = [a, b].map((k) => this.pictures[k]?.frame);
    setText(ui.stylePanel.aside, blends ? "" : names[0]);
    setText(ui.stylePanel.foot, blends ? names.join(" | ") : "");
    ui.stylePanel.canvas.setAttribute("aria-label", `Style: ${names.join(" and ")}`);
    if (!width || this.drawnStyle === drawn || frames.some((frame) => frame instanceof Image && !frame.complete)) return;
    const edge = Math.round((1 - share) * width), pen = sized(ui.stylePanel.canvas, width, height);
    [[a, 0, edge], [b, edge, width]].forEach(([k, from, to]) => {
      if (from === to || !this.pictures[k]) return;
      const own = h("canvas"), { frame, width: wide, height: high } = this.pictures[k];
      paintFrame(own, frame, wide, high);
      pen.drawImage(own, (from / width) * wide, 0, ((to - from) / width) * wide, high, from, 0, to - from, height);
    });
    this.drawnStyle = drawn;
  }

  paint() {
    const { ui, state, model, answer, blends } = this, i = Math.max(0, this.at), there = (changes) => Boolean(this.landing(changes)), { style, content } = model.get("weights");
    ui.picker.node.hidden = true;
    check(ui.modes, (node) => node.dataset.mode === state.mode, (node) => this.modesThere.includes(node.dataset.mode));
    ui.mode.hidden = ui.modes.filter((node) => !node.hidden).length < 2;
    const thumbs = [...ui.strip2.children], place = (node) => thumbs.indexOf(node);
    check(thumbs, (node) => place(node) === state.style, (node) => there({ style: place(node) }));
    ui.strip2.hidden = blends || thumbs.filter((node) => !node.hidden).length < 2;
    for (const [slider, key, stops] of [[ui.styleWeight, "style_weight", style], [ui.contentWeight, "content_weight", content]]) {
      slider.node.hidden = blends;
      slider.set(stops.length, Math.max(0, stops.indexOf(state[key])), (k) => there({ [key]: stops[k] }), (k) => Boolean(this.find({ [key]: stops[k] })));
    }
    ui.switches.hidden = blends || ![...ui.switches.children].some((node) => !node.hidden);
    this.paintStyles(blends ? this.mixAt(answer?.at[i] ?? 0) : [state.style, 0, 0]);
    const said = answer ? this.wordsAt(answer, i) : "", count = model.get("blended");
    const names = blends ? range(count).map((k) => this.styleName(k)) : ["made", "the picture", "colours alone"];
    const lines = names.map((name, k) => ({ name, strong: !blends && k === 0, values: answer?.lines[k] ?? [null] }));
    setText(ui.frames.node.querySelector(".lk-slider-name"), blends ? "Blend" : "Steps");
    this.paintSearch({ answer, i, label: answer ? `Made in ${this.subject()}, ${blends ? "one pass" : `after ${answer.at[i]} steps`}: ${said}` : "" });
    this.drawLines(answer, i, lines, answer ? `${this.frameWord(i)}: ${said}` : "not known yet");
    setText(ui.made.aside, answer ? (blends ? "one pass" : `after ${answer.at[i]} steps`) : "");
    setText(ui.made.foot, said);
  }
}

export default explorer(Style);
