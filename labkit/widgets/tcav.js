// The TCAV explorer: a row a concept, its score among those of random concepts, and the logit where it is drawn anew.

const ALPHA = 0.05;
// whether drawing anew moves the logit: its interval leaves out 0; the headline and the colours ask this alone
const moves = (row) => Boolean(row?.moved) && row.moved[1] * row.moved[2] > 0;

class Tcav extends View {
  static kind = "tcav"; static cell = 62; static traits = ["layer"]; static asks = ["layer"];
  static keys = [["\u2191 \u2193", "the concept above, below"], ["\u2190 \u2192", "class and layer, on their sliders"]];

  build() {
    const { ui, el, model } = this;
    Object.assign(this, { ghost: -1, stand: {}, sheet: null });
    this.drawnPhoto = this.stand; // the picture panel is painted here
    ui.picture = panel(this, "Its pictures", "picture");
    ui.pair = h("canvas", { class: "lk-near", role: "img", "aria-label": "The same scene without it and with it" });
    ui.pairWord = h("figcaption", {}, h("b", {}, "Drawn anew"), h("span", {}, "without, with"));
    ui.pairs = h("figure", { class: "lk-panel", "data-panel": "pair" }, ui.pairWord, ui.pair);
    ui.bars = panel(this, "Concepts", "bars");
    ui.bars.canvas.remove();
    const head = (title, text) => h("div", { class: "lk-chead" }, h("b", {}, title), h("span", {}, text));
    ui.rows = h("div", { class: "lk-crows" });
    ui.chart = h("div", { class: "lk-concepts" },
      h("div", { class: "lk-crow" }, h("span"), head("TCAV score", "grey: random concepts"), head("Change of the logit", "bar: drawn anew, ring: by vector")), ui.rows);
    ui.bars.stage.append(ui.chart);
    ui.bars.stage.classList.add("lk-chartstage");
    ui.bars.node.querySelector("figcaption").remove();
    const choices = () => model.get("asked");
    ui.target = stopSlider("Class", (i) => this.className(choices()[i]), guarded(el, (i) => this.set({ target: choices()[i] })));
    ui.layer = stopSlider("Layer", (i) => model.get("layers")[i], guarded(el, (layer) => this.set({ layer })));
    for (const key of ["shown", "captions"]) model.on(`change:${key}`, guarded(el, () => { this.open(); this.draw(); }));
    this.open();
    return { aside: [ui.picture.node, ui.pairs], main: [ui.bars.node], controls: [ui.target.node, ui.layer.node] };
  }

  // ---- the pictures of the concepts, in one sheet
  open() {
    const { side, columns, count, jpeg, data, places, pairs } = this.model.get("shown"), rows = Math.ceil(count / columns);
    Object.assign(this, { side, columns, places, pairs, seen: "" });
    const canvas = h("canvas");
    if (!jpeg) { paintRGB(canvas, bytes(data), columns * side, rows * side); this.sheet = canvas; }
    else createImageBitmap(new Blob([bytes(data)], { type: "image/jpeg" })).then(guarded(this.el, (sheet) => { this.sheet = sheet; this.seen = ""; this.draw(); }));
  }
  cell(i) { return [(i % this.columns) * this.side, Math.floor(i / this.columns) * this.side, this.side, this.side]; }

  // ---- what is known: an answer has a row for each concept that was tested
  keyOf({ target, layer }) { return [target, layer].join("|"); }
  find(changes = {}) {
    const setting = { ...this.state, ...changes }, answer = this.answers.get(this.keyOf(setting));
    return answer?.rows[setting.picture] ? answer : undefined;
  }
  classOf({ target }) { return target; }
  take(answer) { if (answer?.kind === "test") { this.version += 1; this.top = null; this.keep(answer); } }
  get photo() { return this.live ? (this.few || [...this.answers.values()].some((a) => a.rows[this.state.picture]) ? this.stand : undefined) : [...this.answers.values()].some((a) => a.rows[this.state.picture]) ? this.stand : undefined; }
  get few() { return (this.model.get("captions")[this.state.picture]?.count ?? 2) < 2; }
  get waitWord() { return this.few ? "a second picture is needed" : super.waitWord; }
  targetOf(picture) {
    if (this.known({ picture })) return this.state.target;
    return this.model.get("asked").find((target) => this.known({ picture, target }));
  }
  choices() { return { ...super.choices(), target: this.model.get("asked"), layer: range(this.model.get("layers").length) }; }
  get top2() { // the largest change of a logit that any answer shows: one scale for all
    return this.top ??= Math.max(0.5, ...[...this.answers.values()].flatMap((a) => a.rows.flatMap((row) => (row ? [row.effect, ...(row.moved ?? [])] : [0]))).map((v) => Math.abs(v ?? 0)));
  }

  // ---- words
  question() { return ["Which concepts does the network use for ", "?"]; }
  answerText() {
    const answer = this.find(), names = this.model.get("captions").map((c) => c.name);
    if (!answer) return this.few ? "A concept needs at least two pictures." : "";
    const those = (test) => { const found = names.filter((_, i) => answer.rows[i] && test(answer.rows[i])); return found.length ? listed(found) : "none"; };
    const drawn = answer.rows.some((row) => row?.moved) ? ` Drawn anew, moves the logit (95% interval without 0): ${those(moves)}.` : "";
    if (answer.constant) return `One gradient for all pictures here: each draw gives 0 or 1, by algebra; shown is the mean of ${answer.draws} draws.${drawn}`;
    const tested = answer.rows.filter(Boolean), low = tested.filter((row) => row.p <= ALPHA).length;
    return `Significant among random concepts: ${those((row) => row.p <= ALPHA)} (p \u2264 .05 in ${low} of ${tested.length}; by chance in ${hundredths(ALPHA * tested.length)}).${drawn}`;
  }

  // ---- the hand
  press({ key }) {
    const by = { ArrowUp: -1, ArrowDown: 1 }[key];
    if (!by) return false;
    const there = range(this.model.get("captions").length).filter((i) => this.targetOf(i) !== undefined), at = there.indexOf(this.state.picture);
    this.show(there[(at + by + there.length) % there.length]);
    return true;
  }
  look(i) { if (this.ghost !== i) { this.ghost = i; this.pictures(); } }

  paint() {
    const { ui, state, model } = this, answer = this.find(), asked = model.get("asked"), captions = model.get("captions");
    ui.picker.node.hidden = true;
    ui.target.set(asked.length, asked.indexOf(state.target), (i) => this.known({ target: asked[i] }), (i) => Boolean(this.find({ target: asked[i] })));
    ui.layer.set(model.get("layers").length, state.layer, (layer) => this.known({ layer }), (layer) => Boolean(this.find({ layer })));
    ui.bars.set(answer ? "" : this.waitWord);
    ui.chart.style.visibility = answer ? "" : "hidden";
    if (!answer) ui.rows.replaceChildren();
    else this.chart(answer, captions);
    this.pictures();
  }

  chart(answer, captions) {
    const { ui, state } = this;
    while (ui.rows.childElementCount < captions.length) ui.rows.append(this.rowOf(ui.rows.childElementCount));
    while (ui.rows.childElementCount > captions.length) ui.rows.lastChild.remove();
    captions.forEach(({ name }, i) => {
      const node = ui.rows.children[i], { parts } = node, row = answer.rows[i];
      node.hidden = !row;
      node.classList.toggle("on", i === state.picture);
      setText(parts.name, name);
      if (!row) return;
      const right = row.p <= ALPHA && !answer.constant;
      parts.cloud.setAttribute("d", row.null.map((v) => `M${(2.6 + 94 * v).toFixed(2)} 2h0.8v16h-0.8Z`).join(""));
      parts.mark.style.left = `${3 + 94 * row.score}%`;
      parts.mark.dataset.hit = String(right);
      setText(parts.score, hundredths(row.score));
      setText(parts.p, answer.constant ? "no test" : `p ${row.p < 0.0095 ? "< .01" : hundredths(row.p).replace("0.", ".")}`);
      const at = (v) => `${50 + 48 * clamp(v / this.top2, -1, 1)}%`, wide = (v) => `${48 * Math.min(1, Math.abs(v) / this.top2)}%`, { moved, effect } = row;
      for (const part of [parts.bar, parts.span, parts.ring]) part.hidden = !moved;
      setText(parts.moved, moved ? number(moved[0], true) : NONE); // no pairs of it were drawn
      setText(parts.effect, moved ? `ring ${number(effect, true)}` : "");
      const sign = !moves(row) ? "" : moved[0] > 0 ? "positive" : "negative";
      parts.moved.dataset.sign = sign;
      if (moved) {
        Object.assign(parts.bar.style, { left: moved[0] > 0 ? "50%" : at(moved[0]), width: wide(moved[0]) });
        parts.bar.dataset.sign = sign;
        Object.assign(parts.span.style, { left: at(moved[1]), width: `${48 * Math.abs(clamp(moved[2] / this.top2, -1, 1) - clamp(moved[1] / this.top2, -1, 1))}%` });
        parts.ring.style.left = at(effect);
      }
      const pair = moved ? `; drawn anew ${number(moved[0], true)} logits, by its vector ${number(effect, true)}` : "";
      node.setAttribute("aria-label", `${name}: score ${hundredths(row.score)}, chance ${hundredths(row.chance)}, p ${hundredths(row.p)}${pair}`);
    });
  }
  rowOf(i) {
    const { el } = this, svg = "http://www.w3.org/2000/svg", cloud = document.createElementNS(svg, "path"), frame = document.createElementNS(svg, "svg");
    frame.setAttribute("viewBox", "0 0 100 20"); frame.setAttribute("preserveAspectRatio", "none"); frame.append(cloud);
    const parts = { cloud, name: h("b"), mark: h("i", { class: "lk-cmark" }), score: h("span", { class: "lk-cvalue" }), p: h("small"), bar: h("i", { class: "lk-cbar" }), span: h("i", { class: "lk-cspan" }), ring: h("i", { class: "lk-cring" }), moved: h("span", { class: "lk-cvalue" }), effect: h("small") };
    const node = h("div", { class: "lk-crow", role: "group", onclick: guarded(el, () => { if (this.targetOf(i) !== undefined) this.show(i); }), onpointerenter: guarded(el, () => this.look(i)), onpointerleave: guarded(el, () => this.look(-1)) },
      parts.name, h("div", { class: "lk-ctrack" }, frame, parts.mark), h("span", { class: "lk-cword" }, parts.score, parts.p),
      h("div", { class: "lk-ctrack lk-czero" }, parts.bar, parts.span, parts.ring), h("span", { class: "lk-cword" }, parts.moved, parts.effect));
    return Object.assign(node, { parts });
  }

  // pictures of the concept pointed at, or chosen, and one scene of the class without it and with it
  pictures() {
    const { ui, state, side } = this, i = this.ghost >= 0 && this.places[this.ghost] ? this.ghost : state.picture, key = [i, state.target, Boolean(this.sheet), Boolean(this.find())].join();
    setText(ui.picture.aside, ""); // the frame has written into it
    if (this.seen === key) return;
    this.seen = key;
    const { name } = this.model.get("captions")[i] ?? {}, [first, count] = this.places[i] ?? [0, 0], from = this.pairs[`${i}|${state.target}`];
    setText(ui.picture.node.querySelector("b"), name ?? "");
    const across = Math.max(1, Math.floor(Math.sqrt(count))), pen = sized(ui.picture.canvas, across * side, across * side), near = sized(ui.pair, 2 * side, side);
    pen.clearRect(0, 0, across * side, across * side); near.clearRect(0, 0, 2 * side, side);
    ui.picture.canvas.setAttribute("aria-label", `Pictures of the concept ${name}`);
    ui.pairs.style.visibility = from === undefined ? "hidden" : "";
    if (!this.sheet) return;
    for (const n of range(Math.min(count, across * across))) pen.drawImage(this.sheet, ...this.cell(first + n), (n % across) * side, Math.floor(n / across) * side, side, side);
    if (from === undefined) return;
    near.drawImage(this.sheet, ...this.cell(from + 1), 0, 0, side, side);
    near.drawImage(this.sheet, ...this.cell(from), side, 0, side, side);
  }
}

export default explorer(Tcav);
