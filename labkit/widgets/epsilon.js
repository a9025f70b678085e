// The epsilon explorer: a picture attacked by a step of epsilon, the step, ten times it, and what the networks say.

// on a button, what it is, in a sentence
const WAY_WORDS = {
  fgsm: ["FGSM", "One step along the sign of the gradient", "FGSM"], pgd: ["PGD", "Many small steps inside the ball of epsilon", "PGD"],
  targeted: ["To a class", "PGD towards a class that is wanted", "targeted PGD"], sign: ["Random sign", "Control: a step of the same size, its signs by lot", "a random sign"],
  other: ["Another's sign", "Control: the sign of another picture's gradient", "another's sign"], lent: ["PGD on first", "PGD's pictures for the first network, shown to each", "PGD on the first"],
};
const CONTROL_WAYS = ["sign", "other"], TEN = 10, BARS = 4;
const epsilonWord = (e) => (Math.abs(255 * e - Math.round(255 * e)) < 1e-4 ? `${Math.round(255 * e)}/255` : e.toFixed(3));

class Epsilon extends View {
  static kind = "epsilon"; static cell = 36; static traits = ["way", "network", "stop", "controls"]; static asks = ["way", "network"];
  static keys = [["\u2190 \u2192", "epsilon, on the slider and on the curve"], ["w", "the next way to change the picture"], ["b", "the next network below"], ["c", "the controls' pictures, or the steps"]];

  build() {
    const { ui, el, model } = this, choose = guarded(el, (stop) => this.set({ stop }));
    Object.assign(this, { counts: new Map(), epsilons: model.get("epsilons"), names: model.get("networks"), ways: model.get("ways") });
    ui.picture = panel(this, "Picture", "picture");
    ui.rows = range(Math.min(2, this.names.length)).map((i) => this.row(i));
    ui.curve = curve(this, "Epsilon on the curve", choose);
    this.curves.push(ui.curve);
    ui.counted = h("b", {});
    ui.lines = range(3).map((k) => this.line(k));
    ui.table = h("div", { class: "lk-etable" }, h("span"), ...(ui.heads = ui.rows.map(() => h("b"))), ...ui.lines.flatMap(({ name, cells }) => [name, ...cells.map((cell) => cell.node)]),
      h("span", { title: "For so many of the pictures the gradient is exactly zero: the attack does not know where to go" }, "Gradient is 0"), ...(ui.dead = ui.rows.map(() => h("span"))));
    ui.table.style.setProperty("--lk-nets", ui.rows.length);
    const chart = h("figure", { class: "lk-panel lk-chart", "data-panel": "curve" }, h("figcaption", {}, ui.counted), ui.table, ui.curve.node);
    ui.epsilon = stopSlider("Epsilon", (i) => epsilonWord(this.epsilons[i]), choose);
    ui.ways = this.ways.map((way) => radio(this, { class: "lk-button", "data-way": way, title: WAY_WORDS[way][1] }, () => ({ way }), WAY_WORDS[way][0]));
    ui.way = radios("How the picture is changed", ...ui.ways);
    ui.nets = this.names.slice(1).map((name, i) => radio(this, { class: "lk-button", "data-network": i + 1 }, () => ({ network: i + 1 }), name));
    ui.net = radios("The network below", ...ui.nets);
    for (const group of [ui.way, ui.net]) group.className = "lk-buttons";
    ui.swap = toggle(this, "Controls", "controls", "The controls' pictures in the place of the steps (c)");
    return { aside: [ui.picture.node, chart], main: ui.rows.map((row) => row.node), controls: [ui.epsilon.node, ui.way, ui.net, h("div", { class: "lk-buttons" }, ui.swap)] };
  }
  // a network's row: the picture changed, two panels of steps or controls, bars
  row(i) {
    const parts = ["changed", "one", "ten"].map((kind) => panel(this, "", `${kind}-${i}`)), bars = panel(this, "It says", `bars-${i}`);
    bars.canvas.remove();
    bars.stage.classList.add("lk-ebars");
    const list = range(BARS).map(() => { const row = { name: h("b"), value: h("span"), now: h("i", { class: "lk-bar" }), before: h("i", { class: "lk-bar lk-before" }) }; row.node = h("div", { class: "lk-ebar" }, row.before, row.now, row.name, row.value); return row; });
    bars.stage.append(...list.map((one) => one.node));
    const node = h("div", { class: "lk-erow" }, ...[...parts, bars].map((part) => part.node));
    return { node, parts, bars, list };
  }
  line(k) {
    const cells = this.ui.rows.map((_, i) => { const value = h("span"); return { value, node: h("span", { class: "lk-ecell" }, lineKey(2 * k + i), value) }; });
    return { name: h("span"), cells };
  }

  // ---- what is known
  get networkOf() { return [0, this.state.network]; }
  aim({ picture, way, target }) { return way === "targeted" ? (target >= 0 ? target : this.model.get("wanted")[picture]) : -1; }
  keyOf(setting) { return [setting.picture, setting.way, setting.network ?? 0, setting.kind ? setting.target : this.aim(setting)].join("|"); }
  classOf({ picture, target }) { return target >= 0 ? target : this.model.get("wanted")[picture] ?? -1; }
  of(changes, network) { return this.answers.get(this.keyOf({ ...this.state, ...changes, network })); }
  find(changes = {}) {
    const setting = { ...this.state, ...changes }, ways = [setting.way, ...(setting.controls ? CONTROL_WAYS : [])];
    const found = ways.flatMap((way) => (this.names.length > 1 ? [0, setting.network] : [0]).map((n) => this.of({ ...changes, way }, n)));
    return found.every(Boolean) ? found[0] : undefined;
  }
  about() { return []; }
  take(answer) {
    if (answer?.kind === "count") { this.version += 1; this.counts.set(`${answer.way}|${answer.network}|${answer.target}`, answer); }
    else super.take(answer);
  }
  count(way, network) { return this.counts.get(`${way}|${network}|${way === "targeted" ? this.state.target : -1}`); }
  unpack(answer) { return { ...answer, p: floats(answer.p), nibbles: bytes(answer.data), drawn: null }; }
  targetOf(picture) { return this.live ? -1 : !this.photos.has(picture) ? undefined : [-1, this.state.target].find((target) => this.known({ picture, target })); }
  choices() { return { ...super.choices(), way: this.ways, network: range(this.names.length), stop: range(this.epsilons.length), controls: [true, false] }; }
  settle() {
    for (const { picture, way, target } of this.answers.values())
      for (const network of [this.state.network, ...range(this.names.length)])
        for (const changes of [{ network }, { picture, way, network, target: way === "targeted" && target !== this.model.get("wanted")[picture] ? target : -1 }])
          if (this.known(changes)) { Object.assign(this.state, changes); return; }
  }

  // ---- the picture at an epsilon, as Python has it to a level of 255; its step in picture values
  changed(answer, stop) {
    const { photo, width, height, epsilons } = this, size = 3 * width * height, epsilon = epsilons[stop];
    if (answer.drawn?.stop === stop && answer.drawn.photo === photo) return answer.drawn;
    const source = answer.nibbles.length ? answer : this.of({ way: answer.way, target: answer.target }, 0);
    const rgb = new Uint8Array(size), step = new Float32Array(size), row = Math.ceil(size / 2), at = answer.single ? 0 : (stop - 1) * row;
    if (stop > 0 && source) {
      for (let i = 0; i < size; i++) {
        const byte = source.nibbles[at + (i >> 1)], value = photo.rgb[i] / 255, level = ((i & 1 ? byte & 15 : byte >> 4) - 8) / 7;
        const next = clamp(value + epsilon * level, 0, 1);
        step[i] = next - value; rgb[i] = Math.round(255 * next);
      }
    } else rgb.set(photo.rgb);
    return (answer.drawn = { stop, photo, rgb, step });
  }
  paintStep(canvas, step, times) {
    const grey = new Uint8Array(step.length);
    for (let i = 0; i < step.length; i++) grey[i] = clamp(Math.round(127.5 + 255 * times * step[i]), 0, 255);
    paintRGB(canvas, grey, this.width, this.height);
  }

  // ---- the hand
  press({ key }) {
    const on = (list, now, changes) => { const there = list.filter((item) => this.known(changes(item))); this.set(changes(there[(there.indexOf(now) + 1) % there.length])); };
    if (key === "w") on(this.ways, this.state.way, (way) => ({ way }));
    else if (key === "b" && this.names.length > 2) on(range(this.names.length).slice(1), this.state.network, (network) => ({ network }));
    else if (key === "c") { if (this.known({ controls: !this.state.controls })) this.set({ controls: !this.state.controls }); }
    else return false;
    return true;
  }

  // ---- words
  question() { return ["How small a change makes a network misread ", "?"]; }
  subject() { const { truth } = this.model.get("captions")[this.state.picture]; return `this ${truth || "picture"}`; }
  answerText() {
    const { way, stop } = this.state, counts = [way, ...CONTROL_WAYS.filter((other) => other !== way)].map((one) => this.count(one, 0)), word = epsilonWord(this.epsilons[stop]);
    if (!counts[0]) return this.live ? `Asking all pictures \u2026` : this.find() ? "How many pictures are fooled was not counted." : "";
    const { right, fooled } = counts[0], others = counts.slice(1).filter(Boolean).map((one) => `${WAY_WORDS[one.way][2]} ${one.fooled[stop]}`);
    return `At ${word} ${WAY_WORDS[way][2]} ${way === "targeted" ? "succeeds on" : "fools"} ${this.names[0]} in ${fooled[stop]} of ${right}${others.length ? `; ${others.join(", ")}` : ""}.`;
  }

  paint(photo) {
    const { ui, state } = this, answer = this.find(), { way, stop } = state;
    ui.picker.refresh(photo, this.target, (index) => photo.p[index]);
    if (way !== "targeted" || this.page) ui.picker.node.hidden = true;
    check(ui.ways, (node) => node.dataset.way === way, (node) => this.known({ way: node.dataset.way }));
    check(ui.nets, (node) => Number(node.dataset.network) === state.network, (node) => this.known({ network: Number(node.dataset.network) }));
    ui.net.hidden = this.names.length < 3;
    ui.swap.hidden = !this.known({ controls: !state.controls });
    ui.epsilon.set(this.epsilons.length, stop, () => true, () => Boolean(answer));
    setText(ui.picture.foot, `${this.names[0]}: ${this.className(photo.top[0])} ${percent(photo.p[photo.top[0]])}`);
    ui.rows.forEach((row, i) => this.paintRow(row, this.networkOf[i], photo));
    this.chart();
  }
  paintRow(row, network, photo) {
    const { state, edge } = this, { way, stop } = state, [changed, one, ten] = row.parts, answer = this.find() && this.of({}, network), word = WAY_WORDS[way][0];
    const shown = state.controls ? CONTROL_WAYS : [null, null], titles = [this.names[network], ...(state.controls ? CONTROL_WAYS.map((w) => WAY_WORDS[w][0]) : ["Its step", `${TEN} times it`])];
    row.parts.forEach((part, k) => { part.node.querySelector("b").textContent = titles[k]; part.set(answer ? "" : this.waitWord); });
    row.bars.set(answer ? "" : this.waitWord);
    for (const bar of row.list) bar.node.hidden = !answer;
    if (!answer) { row.drawn = ""; return; }
    const controls = shown.map((w) => w && this.of({ way: w, target: -1 }, network)), drawn = [this.version, this.keyOf({ ...state, network }), stop, state.controls].join();
    this.says(row, answer, photo, network);
    if (row.drawn === drawn) return;
    row.drawn = drawn;
    const now = this.changed(answer, stop), size = epsilonWord(this.epsilons[stop]), most = Number((255 * answer.most[stop]).toFixed(1));
    this.picture(changed, answer, now, network);
    if (state.controls) [one, ten].forEach((part, k) => this.picture(part, controls[k], this.changed(controls[k], stop), network));
    else {
      this.paintStep(one.canvas, now.step, 1);
      this.paintStep(ten.canvas, now.step, TEN);
      setText(one.foot, stop === 0 ? "no step" : answer.most[stop] === 0 ? "nothing moves" : `at most ${most}/255`);
      setText(ten.foot, answer.still[stop] === 1 ? "gradient 0" : way === "targeted" ? `wanted: ${this.className(answer.target)}` : "grey: as it was");
      one.canvas.setAttribute("aria-label", `The step of ${word} on ${this.names[network]} at ${size}: at most ${most}/255`);
      ten.canvas.setAttribute("aria-label", `${TEN} times the step of ${word} on ${this.names[network]} at ${size}`);
    }
  }
  picture(part, answer, now, network) {
    const { stop } = this.state, named = answer.named[stop], chance = answer.p[stop * this.classes + named], words = `${this.className(named)} ${percent(chance)}`;
    paintRGB(part.canvas, now.rgb, this.width, this.height);
    part.marks(this.edge);
    setText(part.foot, words);
    part.foot.dataset.fooled = String(named !== this.model.get("own")[this.state.picture]);
    part.canvas.setAttribute("aria-label", `${WAY_WORDS[answer.way][0]} at ${epsilonWord(this.epsilons[stop])}: ${this.names[network]} says ${words}`);
  }
  get classes() { return this.model.get("classes").length; }
  // the classes that matter over all epsilons, in an order that stays while the hand moves
  says(row, answer, photo, network) {
    const { classes } = this, { stop, picture, way } = this.state, own = this.model.get("own")[picture], { p } = answer;
    if (!answer.first) {
      const top = Float32Array.from({ length: classes }, (_, k) => Math.max(...range(this.epsilons.length).map((e) => p[e * classes + k])));
      const forced = [own, ...(way === "targeted" ? [answer.target] : [])];
      answer.first = [...new Set([...forced, ...range(classes).sort((a, b) => top[b] - top[a] || a - b)])].slice(0, BARS);
    }
    row.list.forEach((bar, k) => {
      const index = answer.first[k];
      bar.node.hidden = index === undefined;
      if (index === undefined) return;
      const now = p[stop * classes + index];
      setText(bar.name, this.className(index)); setText(bar.value, percent(now));
      bar.now.style.width = `${100 * now}%`; bar.before.style.width = `${100 * p[index]}%`;
      bar.node.dataset.own = String(index === own);
    });
    setText(row.bars.foot, "line: before it");
    row.bars.stage.setAttribute("role", "img");
    row.bars.stage.setAttribute("aria-label", `${this.names[network]}: ${answer.first.map((k) => `${this.className(k)} ${percent(p[stop * classes + k])}`).join(", ")}`);
  }

  // ---- how many pictures are fooled: the way chosen and the controls, a line for each network
  chart() {
    const { ui, state, epsilons, version } = this, { way, stop } = state, last = epsilons.length - 1, ways = [way, ...CONTROL_WAYS.filter((w) => w !== way)];
    const counted = this.count(way, 0);
    setText(ui.counted, counted ? `Fooled at ${epsilonWord(epsilons[stop])}` : "Fooled: not counted yet");
    ui.heads.forEach((node, i) => setText(node, this.names[this.networkOf[i]]));
    ui.dead.forEach((node, i) => { const found = this.count(way, this.networkOf[i]); setText(node, found ? `${found.dead[stop]}/${found.right}` : NONE); });
    const lines = [];
    ui.lines.forEach(({ name, cells }, k) => {
      const one = ways[k];
      setText(name, one ? WAY_WORDS[one][0] : "");
      cells.forEach((cell, i) => {
        const found = one && this.count(one, this.networkOf[i]);
        cell.node.hidden = !one;
        setText(cell.value, found ? `${found.fooled[stop]}/${found.right}` : NONE);
        if (found) lines.push({ line: 2 * k + i, strong: k === 0, values: found.fooled.map((n) => (found.right ? n / found.right : null)) });
      });
    });
    if (!lines.length) lines.push({ line: 0, strong: true, values: epsilons.map(() => null) });
    ui.curve.draw({ shares: epsilons.map((_, i) => i / last), labels: epsilons.map((e) => (e === 0 ? "0" : epsilonWord(e).replace("/255", ""))), span: [0, 1], ticks: [0, 1], chosen: stop, lines,
      text: `${epsilonWord(epsilons[stop])}${counted ? `, ${counted.fooled[stop]} of ${counted.right} fooled` : ""}` });
  }
}

export default explorer(Epsilon);
