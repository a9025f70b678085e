// The dissection explorer: all units of a layer by their IoU, the pictures of one with its masks, counts by kind.

const KIND_HUES = ["#4c8bd6", "#d07030", "#3f9b5f", "#a05fc0", "#b08d2a", "#1f9ea3", "#c0475a", "#7a7f87"];
const HERE = "#ffd23f", DARK = 0.22;
const CHART = [800, 800], PLAIN = "#7a7f87";

class Dissection extends View {
  static kind = "dissection"; static cell = 20; static traits = ["power", "quantile", "level", "unit"]; static asks = ["power"];
  static keys = [["\u2190 \u2192", "the next unit, the one before"], ["Enter", "pin the unit"], ["Escape", "let it go"], ["e", "the next snapshot of the training, where there are some"]];

  build() {
    const { ui, el, model } = this, stops = () => model.get("stops");
    Object.assign(this, { ghost: -1, stand: {}, sheet: null, labels: model.get("labels") });
    this.kinds = [...new Set(this.labels.map(([kind]) => kind))];
    ui.picture = panel(this, this.kinds.length ? "Labels with a detector" : "Units", "kinds");
    this.drawnPhoto = this.stand; // that panel is painted here
    ui.units = panel(this, "Units, the best first", "units");
    ui.units.focusable("The units, the best first. Left and right go to the next one, Enter pins it.");
    ui.units.stage.classList.add("lk-pointed");
    ui.top = panel(this, "Its pictures", "top");
    this.listen(ui.units.stage);
    const share = (value) => `${String(+(100 * value).toFixed(2))} %`;
    ui.quantile = stopSlider("Threshold leaves", (i) => share(stops().quantile[i]), guarded(el, (quantile) => this.set({ quantile })));
    ui.level = stopSlider("Detector: IoU above", (i) => hundredths(stops().level[i]), guarded(el, (level) => this.set({ level })));
    ui.power = stopSlider("Turned", (i) => (stops().power[i] ? `${Math.round(100 * stops().power[i])} %` : "not"), guarded(el, (power) => this.set({ power })));
    ui.epochs = stopSlider("Epochs of training", (i) => String(this.series[i]?.epochs ?? ""), guarded(el, (i) => this.go(this.series[i].picture)));
    ui.legend = h("div", { class: "lk-hues", role: "group", "aria-label": "Kinds of labels" }, ...this.kinds.map((kind, k) => {
      const swatch = h("i", { "aria-hidden": "true" });
      swatch.style.background = KIND_HUES[k % KIND_HUES.length];
      return h("span", { class: "lk-hue" }, swatch, kind);
    }));
    model.on("change:shown", guarded(el, () => { this.open(); this.draw(); }));
    this.open();
    return { aside: [ui.picture.node, ui.legend], main: [ui.units.node, ui.top.node], controls: [ui.quantile.node, ui.level.node, ui.power.node, ui.epochs.node] };
  }
  own() { return h("div", { class: "lk-own" }); }
  open() {
    const shown = this.model.get("shown");
    Object.assign(this, { pixels: new Map(), reader: undefined });
    if (!shown || !shown.count) { this.sheet = null; return; }
    Object.assign(this, { side: shown.side, columns: shown.columns });
    createImageBitmap(new Blob([bytes(shown.data)], { type: "image/jpeg" })).then(guarded(this.el, (sheet) => { Object.assign(this, { sheet, pixels: new Map(), drawnTop: "" }); this.draw(); }));
  }

  // ---- what is known: a network's layer, turned so far, at all quantiles
  get photo() { return [...this.answers.values()].some((a) => a.picture === this.state.picture) ? this.stand : undefined; }
  classOf({ target }) { return target; }
  take(answer) { if (answer?.kind === "units") { this.version += 1; this.keep({ ...answer, maps: bytes(answer.data) }); } }
  targetOf(picture) { return this.live || [...this.answers.values()].some((a) => a.picture === picture) ? -1 : undefined; }
  // snapshots of one training, at one layer: one of the strip stands for all, a slider goes through them
  seriesOf(picture) {
    const captions = this.model.get("captions");
    if (this.runs?.captions !== captions) {
      const all = captions.map((c, i) => ({ ...c, picture: i })), like = (here) => all.filter((c) => c.of === here.of && c.layer === here.layer).sort((a, b) => a.epochs - b.epochs);
      this.runs = { captions, list: all.map((here) => (here.of ? like(here) : [])) };
    }
    return this.runs.list[picture] ?? [];
  }
  get series() { return this.seriesOf(this.state.picture); }
  placeOf(picture) {
    const known = this.seriesOf(picture).map((c) => c.picture).filter((i) => this.targetOf(i) !== undefined);
    return known.length ? Math.min(...known) : picture;
  }
  // as long trained as what is on view, where that is known
  show(picture) {
    const { epochs } = this.model.get("captions")[this.state.picture] ?? {};
    this.go(this.seriesOf(picture).find((c) => c.epochs === epochs && this.targetOf(c.picture) !== undefined)?.picture ?? picture, -1);
  }
  go(picture, unit = this.state.unit) {
    const kept = this.state.power, power = this.known({ picture, power: kept, target: -1 }) ? kept : range(this.model.get("stops").power.length).find((p) => this.known({ picture, power: p, target: -1 })) ?? kept;
    this.ghost = -1;
    this.set({ picture, target: this.targetOf(picture) ?? -1, power, unit });
  }
  choices() {
    const stops = this.model.get("stops"), most = Math.max(1, ...[...this.answers.values()].map((a) => a.units));
    return { ...super.choices(), power: range(stops.power.length), quantile: range(stops.quantile.length), level: range(stops.level.length), unit: [-1, ...range(most)] };
  }
  subject() { return this.model.get("captions")[this.state.picture]?.name ?? ""; }

  // ---- numbers at the setting on view
  get level() { return this.model.get("stops").level[this.state.level]; }
  // the units that detect, the labels they detect, how many could be, and the same with labels of other pictures
  counts(answer) {
    const table = answer.tables[this.state.quantile], { level } = this, has = (labels, iou) => labels.filter((_, k) => iou[k] > level);
    const own = has(table.label, table.iou);
    return { units: own.length, found: new Set(own), other: new Set(has(table.other, table.other_iou)), cap: table.top.filter((t) => t >= 1.5 * level).length };
  }
  order(answer) {
    const key = [answer.picture, answer.power, this.state.quantile, this.version].join();
    if (this.sorted?.key !== key) {
      const table = answer.tables[this.state.quantile], by = this.labels.length ? table.iou : answer.peaks;
      this.sorted = { key, list: range(answer.units).sort((a, b) => by[b] - by[a] || a - b) };
    }
    return this.sorted.list;
  }
  focus(answer) { return this.ghost >= 0 ? this.ghost : this.state.unit >= 0 && this.state.unit < answer.units ? this.state.unit : this.order(answer)[0]; }
  hue(label) { return this.labels.length ? KIND_HUES[this.kinds.indexOf(this.labels[label][0]) % KIND_HUES.length] : PLAIN; }
  said(label) { const [kind, name] = this.labels[label]; return `${name} (${kind})`; }

  // ---- the hand
  listen(stage) {
    const { el } = this, unitAt = (event) => {
      const answer = this.find(), box = stage.getBoundingClientRect();
      if (!answer) return -1;
      const list = this.order(answer), at = Math.floor(((event.clientX - box.left) / box.width * CHART[0] - this.edges.left) / this.edges.wide * list.length);
      return list[at] ?? -1;
    };
    stage.addEventListener("pointermove", guarded(el, (event) => this.point(unitAt(event))));
    stage.addEventListener("pointerleave", guarded(el, () => this.point(-1)));
    stage.addEventListener("click", guarded(el, (event) => { const unit = unitAt(event); if (unit >= 0) this.set({ unit: unit === this.state.unit ? -1 : unit }); stage.focus({ preventScroll: true }); }));
  }
  get edges() { const left = 78; return { left, wide: CHART[0] - left - 14, top: 20, low: CHART[1] - 34 }; }
  point(unit) { if (unit !== this.ghost) { this.ghost = unit; this.soon(); } }
  soon() { if (!this.asked) this.asked = requestAnimationFrame(guarded(this.el, () => { this.asked = 0; if (this.photo) this.redraw(); })); }
  press(event) {
    const answer = this.find(), by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (event.key === "e") {
      const there = this.series.filter((c) => this.targetOf(c.picture) !== undefined), at = there.findIndex((c) => c.picture === this.state.picture);
      if (there.length > 1) this.go(there[(at + 1) % there.length].picture);
      return there.length > 1;
    }
    if (event.key === "Escape") { this.ghost = -1; this.set({ unit: -1 }); return true; }
    if (!answer || event.target !== this.ui.units.stage) return false;
    if (by) { const list = this.order(answer); this.point(list[clamp(list.indexOf(this.focus(answer)) + by, 0, list.length - 1)]); }
    else if (event.key === "Enter") this.set({ unit: this.focus(answer) });
    else return false;
    return true;
  }

  // ---- what is drawn
  question() { return ["What do the units of ", " detect?"]; }
  answerText() {
    const answer = this.find();
    if (!answer) return "";
    if (!this.labels.length) return "No labels: the pictures at which each unit fires most.";
    const { units, found, other, cap } = this.counts(answer);
    return `${units} of ${answer.units} units detect ${found.size} labels of ${cap} that could be; with the labels of other pictures ${other.size}.`;
  }
  paint() {
    const { ui, state } = this, stops = this.model.get("stops"), answer = this.find();
    ui.picker.node.hidden = true;
    const { series } = this, at = series.findIndex((c) => c.picture === state.picture);
    ui.epochs.set(series.length, at, (i) => this.targetOf(series[i].picture) !== undefined, (i) => Boolean(this.find({ picture: series[i].picture })));
    ui.epochs.node.hidden = series.length < 2;
    ui.quantile.set(stops.quantile.length, state.quantile, () => true);
    ui.level.set(stops.level.length, state.level, () => true);
    ui.level.node.hidden = !this.labels.length;
    ui.power.set(stops.power.length, state.power, (power) => this.known({ power }), (power) => Boolean(this.find({ power })));
    ui.power.node.hidden = stops.power.length < 2;
    setText(ui.picture.aside, "");
    for (const part of [ui.picture, ui.units, ui.top]) part.set(answer ? "" : this.waitWord);
    this.redraw();
  }
  redraw() {
    const answer = this.find();
    if (!answer) return;
    this.paintUnits(answer); this.paintTop(answer); this.paintKinds(answer);
  }
  ink() { return getComputedStyle(this.ui.root).color; }
  font(size) { return `${size}px ${getComputedStyle(this.ui.root).fontFamily}`; }
  // a bar a unit: its IoU, a line at its ceiling, a dot where labels of other pictures bring it
  paintUnits(answer) {
    const { ui } = this, pen = sized(ui.units.canvas, ...CHART), table = answer.tables[this.state.quantile], list = this.order(answer), labelled = this.labels.length > 0;
    const values = labelled ? table.iou : answer.peaks, tops = labelled ? table.ceiling : [], focus = this.focus(answer), { left, wide, top, low } = this.edges;
    const most = labelled ? clamp(Math.ceil(10 * Math.max(this.level, ...values, ...list.slice(0, 12).map((k) => tops[k]))) / 10, 0.2, 1) : Math.max(...values, 1e-9);
    const y = (v) => low - (low - top) * Math.min(1, v / most), step = wide / list.length, ink = this.ink();
    pen.clearRect(0, 0, ...CHART);
    pen.font = this.font(26); pen.fillStyle = ink; pen.textAlign = "right"; pen.textBaseline = "middle";
    for (const v of labelled ? range(Math.round(most * 10) + 1).filter((i) => most <= 0.5 || i % 2 === 0).map((i) => i / 10) : [0, most]) {
      pen.globalAlpha = 0.25; pen.fillRect(left, y(v), wide, 1); pen.globalAlpha = 1;
      pen.fillText(labelled ? hundredths(v) : precise(v), left - 8, y(v));
    }
    list.forEach((k, i) => {
      const x = left + i * step, room = Math.max(1, step - (step > 4 ? 1 : 0));
      pen.globalAlpha = !labelled || values[k] > this.level ? 1 : 0.35;
      pen.fillStyle = labelled ? this.hue(table.label[k]) : PLAIN;
      pen.fillRect(x, y(values[k]), room, low - y(values[k]));
      pen.globalAlpha = 1; pen.fillStyle = ink;
      if (labelled) {
        if (tops[k] <= most) { pen.globalAlpha = 0.6; pen.fillRect(x, y(tops[k]) - 1, room, 2); }
        pen.globalAlpha = 1; pen.fillRect(x + room / 2 - 2, y(table.other_iou[k]) - 2, 4, 4);
      }
      if (k === focus) { pen.strokeStyle = HERE; pen.lineWidth = 4; pen.strokeRect(x - 2, top, room + 4, low - top); }
    });
    if (labelled) {
      pen.strokeStyle = ink; pen.lineWidth = 2; pen.setLineDash([8, 6]); pen.beginPath(); pen.moveTo(left, y(this.level)); pen.lineTo(left + wide, y(this.level)); pen.stroke(); pen.setLineDash([]);
    }
    pen.fillStyle = ink; pen.textAlign = "left"; pen.textBaseline = "bottom"; pen.font = this.font(24);
    pen.fillText(labelled ? "bar IoU \u00B7 line its ceiling \u00B7 dot other pictures' labels" : "largest activation", left, CHART[1] - 2);
    setText(ui.units.aside, `${answer.units}`);
    const words = labelled ? `unit ${focus}: ${this.said(table.label[focus])}, IoU ${hundredths(values[focus])} of at most ${hundredths(tops[focus])}; by chance ${hundredths(table.other_iou[focus])}` : `unit ${focus}: up to ${precise(answer.peaks[focus])}`;
    setText(ui.units.foot, words);
    ui.units.canvas.setAttribute("aria-label", `All ${answer.units} units of ${this.subject()} by ${labelled ? "IoU" : "their largest activation"}; ${words}`);
  }
  // the pictures of the unit, dark where it is below its threshold
  paintTop(answer) {
    const { ui } = this, unit = this.focus(answer), table = answer.tables[this.state.quantile], key = [answer.picture, answer.power, this.state.quantile, unit, Boolean(this.sheet), this.version].join();
    if (this.drawnTop === key || !this.sheet) return;
    this.drawnTop = key;
    const columns = Math.min(3, answer.per_unit), rows = Math.ceil(answer.per_unit / columns), { side } = this, gap = 4;
    const width = columns * (side + gap) - gap, pen = sized(ui.top.canvas, width, rows * (side + gap) - gap), image = pen.createImageData(width, ui.top.canvas.height);
    const out = new Uint32Array(image.data.buffer), cut = table.cut[unit];
    ui.top.canvas.classList.add("lk-whole");
    let shown = 0, lit = 0;
    answer.pictures.slice(unit * answer.per_unit, (unit + 1) * answer.per_unit).forEach((picture, n) => {
      if (picture < 0 || cut < 0) return;
      const corner = (n % columns) * (side + gap) + Math.floor(n / columns) * (side + gap) * width, [light, dark] = this.pixelsOf(picture);
      const mask = this.enlarged(answer, unit * answer.per_unit + n, side, cut);
      for (let i = 0, k = 0; i < side; i++) for (let j = 0, o = corner + i * width; j < side; j++, k++, o++) { out[o] = mask[k] ? light[k] : dark[k]; lit += mask[k]; }
      shown++;
    });
    pen.putImageData(image, 0, 0);
    setText(ui.top.aside, `unit ${unit}`);
    setText(ui.top.foot, shown ? `lit where it is above its threshold, ${percent(lit / (shown * side * side))} of these` : "a dead unit: nothing to show");
    ui.top.canvas.setAttribute("aria-label", shown ? `The ${shown} pictures at which unit ${unit} fires most, lit where it is above its threshold` : `Unit ${unit} is dead`);
  }
  // a picture of the sheet as it is and darkened, read once: reading a canvas back costs more than all the rest
  pixelsOf(picture) {
    if (!this.pixels.has(picture)) {
      const { side } = this, pen = this.reader ??= h("canvas", { width: side, height: side }).getContext("2d", { willReadFrequently: true });
      pen.drawImage(this.sheet, (picture % this.columns) * side, Math.floor(picture / this.columns) * side, side, side, 0, 0, side, side);
      const { data } = pen.getImageData(0, 0, side, side), dark = data.map((value, i) => (i % 4 === 3 ? 255 : value * DARK));
      this.pixels.set(picture, [data, dark].map((values) => new Uint32Array(values.buffer)));
    }
    return this.pixels.get(picture);
  }
  // a map enlarged bilinearly, down and then across, and cut: 1 for each pixel that is above
  enlarged({ maps, height, width }, row, side, cut) {
    const start = row * height * width, mask = new Uint8Array(side * side), low = new Uint16Array(side), next = new Uint16Array(side), part = new Float64Array(side), blend = new Float64Array(width);
    const place = (i, count) => clamp(((i + 0.5) * count) / side - 0.5, 0, count - 1);
    for (let j = 0; j < side; j++) { const at = place(j, width); low[j] = at; next[j] = Math.min(low[j] + 1, width - 1); part[j] = at - low[j]; }
    for (let i = 0; i < side; i++) {
      const at = place(i, height), upper = Math.floor(at), share = at - upper, above = start + upper * width, below = start + Math.min(upper + 1, height - 1) * width;
      for (let c = 0; c < width; c++) blend[c] = (1 - share) * maps[above + c] + share * maps[below + c];
      for (let j = 0, o = i * side; j < side; j++, o++) mask[o] = (1 - part[j]) * blend[low[j]] + part[j] * blend[next[j]] > cut ? 1 : 0;
    }
    return mask;
  }
  // how many labels of each kind have a detector, a group of bars a network and layer
  paintKinds() {
    const { ui } = this, pen = sized(ui.picture.canvas, ...CHART), ink = this.ink();
    pen.clearRect(0, 0, ...CHART);
    ui.legend.hidden = !this.kinds.length;
    if (!this.kinds.length) { setText(ui.picture.foot, ""); return; }
    const captions = this.model.get("captions"), { series } = this, same = captions[this.state.picture]?.layer;
    // of a training that is watched: its snapshots in their order, then other networks at this layer
    const asked = series.length > 1 ? [...series.map((c) => c.picture), ...range(captions.length).filter((i) => !captions[i].of && captions[i].layer === same)] : range(captions.length);
    const views = asked.map((picture) => this.find({ picture })).filter(Boolean);
    const rows = views.map((answer) => { const { found } = this.counts(answer); return this.kinds.map((kind) => [...found].filter((label) => this.labels[label][0] === kind).length); });
    const most = Math.max(4, ...rows.flat()), left = 54, low = CHART[1] - 72, group = (CHART[0] - left) / views.length, room = Math.min(60, group / (this.kinds.length + 1)), y = (v) => low - (low - 20) * (v / most);
    pen.font = this.font(30); pen.fillStyle = ink; pen.textBaseline = "middle";
    for (const v of [0, Math.ceil(most / 2), most]) { pen.globalAlpha = 0.25; pen.fillRect(left, y(v), CHART[0] - left, 1); pen.globalAlpha = 1; pen.textAlign = "right"; pen.fillText(String(v), left - 8, y(v)); }
    views.forEach((answer, g) => {
      const x = left + g * group + (group - room * this.kinds.length) / 2, here = answer.picture === this.state.picture;
      rows[g].forEach((count, k) => { pen.globalAlpha = here ? 1 : 0.45; pen.fillStyle = KIND_HUES[k % KIND_HUES.length]; pen.fillRect(x + k * room, y(count), room - 3, Math.max(2, low - y(count))); });
      pen.globalAlpha = 1; pen.fillStyle = ink; pen.textAlign = "center"; pen.font = this.font(views.length > 4 && series.length < 2 ? 20 : 28);
      // "network, layer" in two rows, none wider than its group
      const { name, of, epochs } = captions[answer.picture], words = of && series.length > 1 ? [String(epochs), epochs === 1 ? "epoch" : "epochs"] : name.replace("features.", "layer ").split(", ");
      words.forEach((word, row) => pen.fillText(word, left + (g + 0.5) * group, CHART[1] - 18 - 30 * (words.length - 1 - row), group - 10));
    });
    ui.picture.canvas.setAttribute("aria-label", `Labels with a detector by kind: ${views.map((answer, g) => `${captions[answer.picture].name}: ${listed(this.kinds.map((kind, k) => `${kind} ${rows[g][k]}`))}`).join("; ")}`);
    setText(ui.picture.foot, series.length > 1 ? "by kind, for each snapshot that is known" : "by kind, for each layer that is known");
  }
}

export default explorer(Dissection);
