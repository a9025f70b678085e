// The activation explorer: all channels of a layer, one of them large, its patches, and the values under the pointer.

const CHOSEN = "#ffb000", BAR = "#3f8fd2";
const PER_ROW = 3; // patches

class Activation extends View {
  static kind = "activation"; static cell = 10; static traits = ["layer", "channel", "place", "each", "over_picture"]; static asks = ["layer", "channel"];
  static keys = [["\u2190 \u2191 \u2192 \u2193", "move the place, with Shift by eight"], ["+ \u2212", "the next channel, the one before"], ["l", "the next layer"], ["Enter", "pin the place: a picture is made for its values"], ["Escape", "let it go"]];

  build() {
    const { ui, el, model } = this;
    this.ghost = null; this.layers = model.get("layers"); this.byName = new Map(this.layers.map((one) => [one.name, one]));
    ui.picture = this.pointed("Picture", "picture").focusable("Picture. Arrows move the place, with Shift eight pixels, Enter pins it, Escape clears it.");
    ui.map = this.pointed("Map", "map", true);
    ui.grid = panel(this, "Channels", "grid");
    ui.patches = panel(this, "Patches", "patches");
    ui.guided = panel(this, "Guided", "guided");
    ui.synth = model.get("synthesizes") ? panel(this, "Synthesized", "synth") : null;
    ui.made = model.get("synthesizes") ? panel(this, "Synthesized here", "here") : null;
    for (const part of [ui.grid, ui.patches, ui.guided]) part.canvas.classList.add("lk-map", "lk-whole");
    ui.grid.stage.addEventListener("click", guarded(el, (event) => this.chooseTile(event)));
    ui.vector = h("canvas", { role: "img", "aria-label": "Values of all channels" });
    ui.here = h("div", { class: "lk-foot" });
    const bars = h("div", { class: "lk-vector" }, ui.vector);
    bars.addEventListener("click", guarded(el, (event) => { const box = bars.getBoundingClientRect(); this.choose(Math.floor((event.clientX - box.left) / box.width * this.entry.channels)); }));
    const chart = h("figure", { class: "lk-panel lk-chart", "data-panel": "vector" }, h("figcaption", {}, h("b", {}, "All channels here")), bars, ui.here);
    ui.layer = stopSlider("Layer", (i) => this.layers[i].name, guarded(el, (i) => this.turn(this.layers[i].name)));
    ui.channel = stopSlider("Channel", (i) => `${i} of ${this.entry.channels}`, guarded(el, (channel) => this.set({ channel })));
    return { aside: [ui.picture.node, chart], main: [ui.grid, ui.map, ui.patches, ui.guided, ui.synth, ui.made].filter(Boolean).map((p) => p.node), controls: [ui.layer.node, ui.channel.node, h("div", { class: "lk-buttons" },
      toggle(this, "Own scales", "each", "Every channel up to its own largest value"), toggle(this, "Overlay", "over_picture", "Show the picture below the map"), ...this.truthToggle)] };
  }
  pointed(title, kind, legend = false) {
    const made = panel(this, title, kind, { legend }).follow();
    made.cross = h("div", { class: "lk-cross", hidden: true, "aria-hidden": "true" }, h("i"), h("i"), h("b"));
    made.stage.append(made.cross);
    return made;
  }

  // ---- what is known: a grid for the picture and layer, patches for the layer and channel
  get entry() { return this.byName.get(this.state.layer) ?? this.layers.at(-1); }
  keyOf({ kind, picture, layer, channel, unit }) { return kind === "here" ? `here|${picture}|${layer}|${unit}` : kind === "grid" ? `grid|${picture}|${layer}` : kind === "synth" ? `synth|${layer}|${channel}` : `patches|${layer}|${channel}`; }
  keep(answer) { // a coarse picture never takes a finer one's place
    if ((answer.kind === "synth" || answer.kind === "here") && (this.answers.get(this.keyOf(answer))?.steps ?? 0) > answer.steps) return;
    super.keep(answer);
  }
  of(kind, changes = {}) { return this.answers.get(this.keyOf({ ...this.state, ...changes, kind })); }
  find(changes = {}) {
    const grid = this.of("grid", changes);
    return grid && this.of("patches", changes) ? grid : undefined;
  }
  about() { return []; }
  targetOf(picture) { return this.live || (this.photos.has(picture) && this.of("grid", { picture })) ? -1 : undefined; }
  choices() { return { ...super.choices(), layer: this.layers.map((one) => one.name), channel: range(Math.max(...this.layers.map((one) => one.channels))) }; }
  unpack(answer) { return answer.kind === "grid" ? { ...answer, values: floats(answer) } : answer.kind === "patches" ? { ...answer, rgb: bytes(answer.data), inner: bytes(answer.guided) } : { ...answer, rgb: bytes(answer.data) }; }
  subject() { return `channel ${this.state.channel} of ${this.state.layer}`; }

  // ---- the hand
  choose(channel) {
    if (!(channel >= 0 && channel < this.entry.channels)) return;
    if (this.known({ channel })) this.set({ channel });
    else setText(this.ui.grid.foot, `channel ${channel}: not in this page`);
  }
  turn(layer) { const channel = this.firstOf(layer); if (channel !== undefined) this.set({ layer, channel }); }
  // the channel to begin with at a layer: the one on view if it is there, else one that is known, else the first
  firstOf(layer) {
    const count = this.byName.get(layer).channels, first = [this.state.channel, ...range(count)].find((channel) => channel < count && this.find({ layer, channel }));
    return first ?? (this.live ? Math.min(this.state.channel, count - 1) : undefined);
  }
  step(by) {
    const count = this.entry.channels, { channel } = this.state, next = range(count - 1).map((i) => (((channel + by * (i + 1)) % count) + count) % count).find((c) => this.known({ channel: c }));
    if (next !== undefined) this.set({ channel: next });
  }
  get at() { return this.ghost || (this.state.place.length ? this.state.place : null); }
  hover(x, y) { this.ghost = [clamp(Math.floor(x), 0, this.width - 1), clamp(Math.floor(y), 0, this.height - 1)]; this.point(); }
  leave() { this.ghost = null; this.point(); }
  pin() { if (this.at) { const place = this.at; this.ghost = null; this.set({ place }); } }
  show(picture) { this.ghost = null; super.show(picture); }
  press(event) {
    const { key } = event, arrow = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[key], far = event.shiftKey ? 8 : 1;
    const onStage = event.target === this.ui.picture.stage, now = this.at;
    if (arrow && onStage) this.hover(...(now ? [now[0] + far * arrow[0], now[1] + far * arrow[1]] : [this.width / 2, this.height / 2]));
    else if (key === "Enter" && onStage) this.pin();
    else if (key === "Escape") { this.ghost = null; this.set({ place: [] }); }
    else if (key === "+" || key === "=") this.step(1);
    else if (key === "-" || key === "\u2212") this.step(-1);
    else if (key === "l") { const names = this.layers.map((one) => one.name), i = names.indexOf(this.state.layer); const next = names.map((_, k) => names[(i + k + 1) % names.length]).find((name) => this.firstOf(name) !== undefined); if (next) this.turn(next); }
    else return false;
    return true;
  }
  chooseTile(event) {
    const { canvas, stage } = this.ui.grid, box = stage.getBoundingClientRect(), { columns, height, width } = this.tiles ?? {};
    if (!columns) return;
    const scale = Math.min(box.width / canvas.width, box.height / canvas.height);
    const x = (event.clientX - box.left - (box.width - scale * canvas.width) / 2) / scale, y = (event.clientY - box.top - (box.height - scale * canvas.height) / 2) / scale;
    if (x >= 0 && y >= 0 && x < canvas.width) this.choose(Math.floor(y / height) * columns + Math.floor(x / width));
  }

  // ---- what is drawn
  question() { return ["What does ", " look for?"]; }
  answerText() {
    const patches = this.of("patches");
    if (!patches) return this.live ? "Looking at all pictures once, for every channel of the layer \u2026" : "";
    if (!patches.fired) return `Channel ${this.state.channel} never fires in ${patches.seen} pictures.`;
    return `Channel ${this.state.channel} fires in ${patches.fired} of ${patches.seen} pictures, at most ${precise(patches.values[0])}; a unit sees ${this.entry.whole ? "the whole picture" : `${this.entry.sees[0]} \u00D7 ${this.entry.sees[1]} pixels`}.${this.holds(patches)}`;
  }
  // the concepts under its strongest activations: share, and that of all places
  holds({ holds }) {
    if (!holds) return "";
    const said = holds.map(([name, share, chance]) => `${name} ${share.toFixed(2)} (anywhere ${chance.toFixed(2)})`);
    return said.length ? ` Its strongest places show ${listed(said)}.` : " Its strongest places show no one thing.";
  }
  paint(photo) {
    const { ui, state, entry } = this, grid = this.of("grid"), patches = this.of("patches"), i = this.layers.indexOf(entry);
    ui.picker.node.hidden = true;
    ui.layer.set(this.layers.length, i, (k) => this.firstOf(this.layers[k].name) !== undefined, (k) => Boolean(this.of("grid", { layer: this.layers[k].name })));
    ui.channel.set(entry.channels, state.channel, (channel) => this.known({ channel }), (channel) => Boolean(this.of("patches", { channel })));
    ui.channel.node.querySelector(".lk-ticks").style.display = ui.channel.input.max > 60 ? "none" : "";
    this.paintGrid(grid);
    this.paintMap(grid, photo);
    this.paintPatches(ui.patches, patches, patches?.rgb, "");
    this.paintPatches(ui.guided, patches, patches?.inner, patches?.refusal);
    setText(ui.patches.foot, patches ? this.numbers(patches) : "");
    setText(ui.guided.foot, patches && !patches.refusal ? "grey is 0" : "");
    if (ui.synth) this.paintSynth(this.of("synth"));
    this.point();
  }
  numbers({ pictures, values, beyond }) {
    const there = pictures.filter((n) => n >= 0).length, out = beyond.filter((share, k) => pictures[k] >= 0 && share > 0).length;
    if (!there) return "no patch";
    return `${precise(values[0])} to ${precise(values[there - 1])}${out ? `; ${out} cut` : ""}`;
  }
  top(grid, channel) {
    if (!this.state.each) return grid.top;
    const { height, width } = this.entry, size = height * width;
    return grid.values.subarray(channel * size, (channel + 1) * size).reduce((t, v) => Math.max(t, Math.abs(v)), 0);
  }
  paintGrid(grid) {
    const { ui, entry, state } = this, { channels, height, width } = entry;
    ui.grid.set(grid ? "" : this.waitWord);
    if (!grid) { this.gridDrawn = null; return; }
    setText(ui.grid.aside, `${channels}`);
    ui.grid.stage.title = `${channels} channels of ${height} \u00D7 ${width}${entry.step > 1 ? `, each the largest of ${entry.step} \u00D7 ${entry.step} places` : ""}; click one`;
    setText(ui.grid.foot, grid.quiet ? `${grid.quiet} silent here` : "none silent");
    const drawn = [grid.picture, grid.layer, state.each, state.channel].join();
    if (this.gridDrawn === drawn) return;
    const columns = Math.max(1, Math.min(channels, Math.round(Math.sqrt((channels * (height + 1) * this.width) / ((width + 1) * this.height))))), rows = Math.ceil(channels / columns);
    const across = columns * (width + 1) - 1, down = rows * (height + 1) - 1, sheet = new Float32Array(across * down).fill(NaN);
    for (let k = 0; k < channels; k++) {
      const top = this.top(grid, k), factor = state.each && top > 0 ? 1 / top : 1, y0 = Math.floor(k / columns) * (height + 1), x0 = (k % columns) * (width + 1);
      for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) sheet[(y0 + y) * across + x0 + x] = factor * grid.values[(k * height + y) * width + x];
    }
    paintMap(ui.grid.canvas, sheet, across, down, state.each ? 1 : grid.top, grid.signed);
    const context = ui.grid.canvas.getContext("2d"), y = Math.floor(state.channel / columns) * (height + 1), x = (state.channel % columns) * (width + 1);
    context.strokeStyle = CHOSEN; context.lineWidth = Math.max(1, Math.round(across / 160));
    context.strokeRect(x - 0.5, y - 0.5, width + 1, height + 1);
    this.tiles = { columns, height: height + 1, width: width + 1 };
    ui.grid.canvas.setAttribute("aria-label", `All ${channels} channels of ${state.layer}, channel ${state.channel} marked; ${grid.quiet} silent`);
    this.gridDrawn = drawn;
  }
  // the unit that looks at a pixel: the one whose field's middle lies nearest
  lookers() {
    const { entry } = this;
    if (this.lookersOf !== entry) {
      this.lookersOf = entry;
      this.looking = [range(this.height).map((y) => nearestIndex(entry.rows, y + 0.5)), range(this.width).map((x) => nearestIndex(entry.columns, x + 0.5))];
    }
    return this.looking;
  }
  paintMap(grid, photo) {
    const { ui, state, entry, width, height } = this;
    ui.map.set(grid ? "" : this.waitWord);
    if (!grid) { this.map = null; return; }
    const [rows, columns] = this.lookers(), top = this.top(grid, state.channel), start = state.channel * entry.height * entry.width;
    const drawn = [grid.picture, grid.layer, state.each, state.channel, state.over_picture].join();
    ui.map.marks(super.edge);
    setText(ui.map.aside, `channel ${state.channel}`);
    ui.map.legend.set(top, grid.signed);
    if (this.map?.drawn === drawn) return;
    const values = new Float32Array(width * height);
    for (let y = 0, i = 0; y < height; y++) for (let x = 0; x < width; x++, i++) values[i] = grid.values[start + rows[y] * entry.width + columns[x]];
    paintMap(ui.map.canvas, values, width, height, top, grid.signed, state.over_picture ? photo.grey : null);
    ui.map.canvas.setAttribute("aria-label", mapInWords(`Map of channel ${state.channel} of ${state.layer}`, values, width, photo.mask));
    this.map = { drawn, values };
  }
  paintPatches(part, answer, rgb, refusal) {
    part.set(answer ? "" : this.waitWord, refusal);
    if (!answer || refusal) { part.drawn = null; return; }
    if (part.drawn === answer) return;
    const { side, pictures } = answer, rows = Math.ceil(pictures.length / PER_ROW), across = PER_ROW * (side + 1) - 1, down = rows * (side + 1) - 1, sheet = new Uint8Array(3 * across * down).fill(255);
    pictures.forEach((_, k) => {
      const y0 = Math.floor(k / PER_ROW) * (side + 1), x0 = (k % PER_ROW) * (side + 1);
      for (let y = 0; y < side; y++) sheet.set(rgb.subarray(3 * (k * side + y) * side, 3 * (k * side + y + 1) * side), 3 * ((y0 + y) * across + x0));
    });
    paintRGB(part.canvas, sheet, across, down);
    part.canvas.setAttribute("aria-label", `${part.title}: ${pictures.filter((n) => n >= 0).length} patches of channel ${answer.channel}, from pictures ${listed(pictures.filter((n) => n >= 0).map(String))}; ${this.numbers(answer)}, where cut ones reach beyond the border`);
    part.drawn = answer;
  }
  paintSynth(answer) {
    const { synth } = this.ui;
    synth.set(answer ? "" : this.waitWord);
    if (!answer || synth.drawn === answer) return;
    paintRGB(synth.canvas, answer.rgb, this.width, this.height);
    setText(synth.foot, `${answer.steps} steps`);
    synth.canvas.setAttribute("aria-label", `A picture made to drive channel ${answer.channel}`);
    synth.drawn = answer;
  }

  // what is made for the values of all channels at a place
  paintHere(unit, vector, pinned) {
    const { made } = this.ui, silent = vector && !vector.some((v) => v), known = unit && this.of("here", { unit });
    if (!made) return;
    const word = !vector ? "point at a place" : silent ? "all silent here" : !pinned && this.live ? "pin the place" : this.live ? "" : "not in this page";
    made.set(known || word ? "" : this.waitWord);
    made.canvas.style.visibility = known ? "" : "hidden";
    setText(made.foot, known ? `${known.steps} steps, for unit ${unit.join(", ")}` : word);
    if (!known) { made.drawn = null; return; }
    if (made.drawn === known) return;
    paintRGB(made.canvas, known.rgb, this.width, this.height);
    made.canvas.setAttribute("aria-label", `A picture made for the values of all channels at unit ${unit.join(", ")}`);
    made.drawn = known;
  }

  // ---- the pointer: the box that the unit sees, and what all channels say there
  get edge() { return super.edge + (this.box ?? ""); }
  point() {
    const { ui, entry, width, height } = this, at = this.at, pinned = Boolean(at && !this.ghost), grid = this.of("grid");
    const [rows, columns] = this.lookers(), unit = at ? [rows[at[1]], columns[at[0]]] : null;
    this.box = "";
    if (unit && !entry.whole) {
      const [tall, wide] = entry.sees, y = entry.rows[unit[0]] - tall / 2, x = entry.columns[unit[1]] - wide / 2;
      this.box = `M${x} ${y}h${wide}v${tall}h${-wide}z`;
    }
    for (const { cross } of [ui.picture, ui.map]) {
      cross.hidden = !at; cross.classList.toggle("pinned", pinned);
      if (at) { cross.style.setProperty("--x", `${(100 * (at[0] + 0.5)) / width}%`); cross.style.setProperty("--y", `${(100 * (at[1] + 0.5)) / height}%`); }
    }
    if (this.photo) ui.picture.marks(this.edge);
    const size = entry.height * entry.width, offset = unit ? unit[0] * entry.width + unit[1] : 0;
    const vector = grid && unit ? range(entry.channels).map((k) => grid.values[k * size + offset]) : null;
    this.drawVector(vector, grid);
    this.paintHere(unit, vector, pinned);
    const value = vector?.[this.state.channel];
    ui.map.legend.point(vector ? value : NaN, grid ? this.top(grid, this.state.channel) : 0);
    setText(ui.map.foot, vector ? `${precise(value, grid.signed, grid.top)} at ${unit[0]}, ${unit[1]}` : grid ? "point at a place" : "");
    setText(ui.picture.foot, at ? `x ${at[0]}, y ${at[1]}${pinned ? ", pinned" : ""}` : "point at a place");
    const order = vector ? range(vector.length).sort((a, b) => vector[b] - vector[a]).slice(0, 3).filter((k) => vector[k] > 0) : [];
    setText(ui.here, vector ? (order.length ? `loudest: ${listed(order.map(String))}` : "all silent here") : grid ? "point at the picture" : "");
    ui.vector.setAttribute("aria-label", vector ? `Values of all ${vector.length} channels at x ${at[0]}, y ${at[1]}: ${ui.here.textContent}` : "Values of all channels, at the place pointed at");
  }
  drawVector(vector, grid) {
    const { vector: canvas } = this.ui, wide = 480, high = 120, context = sized(canvas, wide, high);
    context.clearRect(0, 0, wide, high);
    if (!vector) return;
    const step = wide / vector.length, zero = grid.signed ? high / 2 : high - 1, tall = grid.signed ? high / 2 - 1 : high - 2;
    vector.forEach((v, k) => {
      const size = grid.top > 0 ? (tall * v) / grid.top : 0;
      context.fillStyle = k === this.state.channel ? CHOSEN : BAR;
      context.fillRect(k * step, Math.min(zero, zero - size), Math.max(1, step - (step > 3 ? 1 : 0)), Math.max(1, Math.abs(size)));
    });
  }
}

export default explorer(Activation);
