// The overlay explorer: the place under the pointer, and its cosine with every place of every picture on view.

// Bytes of a layer's features, a row a place, as numbers of length 1: their products are the cosines.
const unitRows = ({ data, height, width, count }) => {
  const raw = new Int8Array(bytes(data).slice().buffer), rows = new Float32Array(raw.length);
  for (let p = 0; p < height * width; p++) {
    let square = 0;
    for (let k = p * count; k < (p + 1) * count; k++) square += raw[k] * raw[k];
    const factor = square > 0 ? 1 / Math.sqrt(square) : 0; // a zero vector stays zero, and so do its cosines
    for (let k = p * count; k < (p + 1) * count; k++) rows[k] = raw[k] * factor;
  }
  return rows;
};
// the cosines of `row` with all rows, into `out`
const cosines = (rows, row, out) => {
  const count = row.length, whole = count - (count % 4);
  for (let p = 0, at = 0; p < out.length; p++) {
    let a = 0, b = 0, c = 0, d = 0, k = 0;
    for (; k < whole; k += 4, at += 4) { a += row[k] * rows[at]; b += row[k + 1] * rows[at + 1]; c += row[k + 2] * rows[at + 2]; d += row[k + 3] * rows[at + 3]; }
    for (; k < count; k++, at++) a += row[k] * rows[at];
    out[p] = a + b + c + d;
  }
};

const DRAWN = 24, ALIKE = 0.9; // places for the level of chance; mean cosine from which everything looks alike
const THIN = 0.35, THICK = 0.85; // how opaque the colours of cosine 0 and 1 are over a picture

class Overlay extends View {
  static kind = "overlay"; static cell = 9; static traits = ["layer", "place", "both", "over_picture", "smooth", "stretch"]; static asks = ["layer"];
  static keys = [["\u2190 \u2191 \u2192 \u2193", "the next place, with Shift four on"], ["Enter", "pin the place"], ["l", "the next layer, with Shift the one before"], ["b", "one network, or both"], ["Esc", "let go of the place"]];

  build() {
    const { ui, el, model } = this;
    Object.assign(this, { ghost: null, last: -1, cells: [], chances: new Map(), layers: model.get("layers"), titles: model.get("titles"), most: model.get("most") });
    this.byName = new Map(this.layers.map((one) => [one.name, one]));
    ui.picture = panel(this, "Picture", "asked"); // the frame paints it; here every picture has a panel of its own
    ui.layer = stopSlider("Layer", (i) => this.layers[i].name, guarded(el, (i) => this.set({ layer: this.layers[i].name })));
    ui.scale = mapLegend("the overlays");
    ui.scale.node.classList.add("lk-scale");
    ui.exact = h("span", { class: "lk-exact" });
    ui.both = this.titles.length > 1 ? [toggle(this, "Both networks", "both", "Show the second network, too (b)")] : [];
    return { main: [ui.picture.node], controls: [ui.layer.node, h("div", { class: "lk-legendbox" }, h("span", { class: "lk-slider-name" }, "Cosine"), ui.scale.node, ui.exact),
      h("div", { class: "lk-buttons" }, ...ui.both, toggle(this, "Overlay", "over_picture", "Show the picture below the colours"), toggle(this, "Smooth", "smooth", "Blend the places, or show them as they are"), toggle(this, "Stretch", "stretch", "Colours up to the largest cosine in another picture, not up to 1"), ...this.truthToggle)] };
  }

  // ---- what is known: the features of a picture, for a layer of a network
  keyOf({ picture, layer, network = 0 }) { return `${picture}|${layer}|${network}`; }
  of(picture, network, layer = this.state.layer) { return this.answers.get(this.keyOf({ picture, layer, network })); }
  find(changes = {}) {
    const { picture, layer, both } = { ...this.state, ...changes }, found = this.of(picture, 0, layer);
    return both && this.titles.length > 1 && !this.of(picture, 1, layer) ? undefined : found;
  }
  about() { return []; }
  targetOf(picture) { return this.live || (this.photos.has(picture) && this.find({ picture })) ? -1 : undefined; }
  choices() { return { ...super.choices(), layer: this.layers.map((one) => one.name) }; }
  unpack(answer) { return { ...answer, rows: null, map: new Float32Array(answer.height * answer.width) }; }
  rows(answer) { return (answer.rows ??= unitRows(answer)); }
  classOf({ target }) { return target; }
  subject() { return "this place"; }
  get networks() { return this.state.both ? this.titles.length : 1; }
  // the first pictures, or one beyond them in the place of the last
  onView() {
    const there = range(this.model.get("captions").length).filter((i) => this.targetOf(i) !== undefined), first = there.slice(0, this.most);
    if (!first.includes(this.state.picture)) this.last = this.state.picture;
    return this.last < 0 || first.includes(this.last) || !there.includes(this.last) ? first : [...first.slice(0, this.most - 1), this.last];
  }

  // ---- a panel for each picture and network
  arrange() {
    const shown = this.onView(), { ui } = this, wanted = `${shown.join()}|${this.networks}`;
    if (this.arranged === wanted) return;
    this.arranged = wanted;
    this.cells = range(this.networks).flatMap((network) => shown.map((picture) => this.cell(picture, network)));
    ui.main.replaceChildren(...this.cells.map((one) => one.made.node));
    layout(this);
  }
  cell(picture, network) {
    const { name, truth } = this.model.get("captions")[picture], title = name || truth || `picture ${picture + 1}`;
    const made = panel(this, title, `picture-${network}-${picture}`).focusable(`${title}. Arrow keys move the place, Enter pins it, Escape lets it go.`), { el } = this;
    const heat = h("canvas", { class: "lk-heat lk-map", role: "img", "aria-label": "No place is pointed at", "data-kind": `heat-${network}-${picture}` });
    const cross = h("div", { class: "lk-cross", hidden: true, "aria-hidden": "true" }, h("i"), h("i"), h("b")), best = h("div", { class: "lk-best", hidden: true, "aria-hidden": "true" });
    made.canvas.after(heat);
    made.stage.append(cross, best);
    made.stage.classList.add("lk-pointed");
    made.node.dataset.panel = `overlay-${network}-${picture}`;
    setText(made.aside, this.networks > 1 ? this.titles[network] : truth && truth !== title ? truth : "");
    const at = (event) => { const box = made.stage.getBoundingClientRect(); return [((event.clientX - box.left) / box.width) * this.width, ((event.clientY - box.top) / box.height) * this.height]; };
    for (const kind of ["pointerdown", "pointermove"]) made.stage.addEventListener(kind, guarded(el, (event) => this.hover(picture, ...at(event))));
    made.stage.addEventListener("pointerleave", guarded(el, () => this.leave()));
    made.stage.addEventListener("click", guarded(el, (event) => { this.hover(picture, ...at(event)); this.pin(); made.stage.focus({ preventScroll: true }); }));
    return { picture, network, made, heat, cross, best, pixels: null, painted: null, title };
  }

  // ---- the hand
  get at() { return this.ghost ?? (this.state.place.length ? { picture: this.state.picture, x: this.state.place[0], y: this.state.place[1] } : null); }
  hover(picture, x, y) { this.ghost = { picture, x: clamp(Math.floor(x), 0, this.width - 1), y: clamp(Math.floor(y), 0, this.height - 1) }; this.soon(); }
  leave() { this.ghost = null; this.soon(); }
  pin() { const { at } = this; if (!at) return; this.ghost = null; this.set({ picture: at.picture, place: [at.x, at.y] }); }
  show(picture) { this.ghost = null; super.show(picture); }
  soon() { this.asked ||= requestAnimationFrame(guarded(this.el, () => { this.asked = 0; if (this.photo) this.point(); })); }
  // the pixel in the middle of the next place that way
  step([dx, dy], far, picture) {
    const { at } = this, answer = this.of(picture, 0), [gh, gw] = answer ? [answer.height, answer.width] : [this.height, this.width];
    if (!at || at.picture !== picture) { this.hover(picture, this.width / 2, this.height / 2); return; }
    const row = clamp(Math.floor((at.y * gh) / this.height) + far * dy, 0, gh - 1), column = clamp(Math.floor((at.x * gw) / this.width) + far * dx, 0, gw - 1);
    this.hover(picture, ((column + 0.5) * this.width) / gw, ((row + 0.5) * this.height) / gh);
  }
  press(event) {
    const { key } = event, way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[key], on = this.cells.find((one) => one.made.stage === event.target);
    if (way && on) this.step(way, event.shiftKey ? 4 : 1, on.picture);
    else if (key === "Enter" && on) this.pin();
    else if (key === "Escape") { this.ghost = null; this.set({ place: [] }); }
    else if (key === "l" || key === "L") this.turn(key === "l" ? 1 : -1);
    else if (key === "b" && this.titles.length > 1) { if (this.known({ both: !this.state.both })) this.set({ both: !this.state.both }); }
    else return false;
    return true;
  }
  turn(by) {
    const names = this.layers.map((one) => one.name), i = names.indexOf(this.state.layer);
    const next = names.map((_, k) => names[(i + by * (k + 1) + names.length * names.length) % names.length]).find((layer) => this.known({ layer }));
    if (next) this.set({ layer: next });
  }

  // ---- what is drawn
  question() { return ["Where else does the network see what it sees at ", "?"]; }
  answerText() {
    const { at } = this;
    if (!at) return "Point at a place of any picture, or press Enter on it.";
    const others = this.cells.filter((one) => one.network === 0 && one.picture !== at.picture && one.top !== undefined), best = others.reduce((a, b) => (a && a.top >= b.top ? a : b), null);
    if (!this.of(at.picture, 0)) return this.live ? "Asking the network \u2026" : "";
    if (this.cells.some((one) => one.network === 0 && one.dead)) return "The layer gives nothing here: a zero vector is like nothing, cosine 0.";
    if (!best) return "One picture only: bring another to compare.";
    const chance = this.chance(0), beside = this.networks > 1 ? this.chance(1) : null;
    const level = chance ? `; a random place's best is ${precise(chance.best)}` : "";
    const other = beside ? ` ${this.titles[1]}: ${precise(beside.mean)} between any two places${beside.mean >= ALIKE ? ": it sees everything alike, and tells nothing" : ""}.` : "";
    return `Most alike in another picture: ${best.title}, cosine ${precise(best.top)}${level}.${other.replace(/^ ./, (word) => word.toUpperCase())}`;
  }
  // what places drawn by lot give in the other pictures on view: the mean of their best cosines, and of all
  chance(network) {
    const shown = this.onView().map((picture) => this.of(picture, network)).filter(Boolean), key = [network, this.state.layer, ...shown.map((one) => one.picture)].join("|");
    if (shown.length < 2) return null;
    if (this.chances.has(key)) return this.chances.get(key);
    let best = 0, mean = 0;
    for (const k of range(DRAWN)) {
      const asked = shown[k % shown.length], { count } = asked, rows = this.rows(asked), place = (7919 * k + 101) % (rows.length / count), row = rows.subarray(place * count, (place + 1) * count);
      let top = -1, sum = 0, places = 0;
      for (const other of shown) {
        if (other === asked) continue;
        const map = new Float32Array(other.map.length);
        cosines(this.rows(other), row, map);
        for (const v of map) { top = Math.max(top, v); sum += v; }
        places += map.length;
      }
      best += top / DRAWN; mean += sum / places / DRAWN;
    }
    this.chances.set(key, { best, mean });
    return this.chances.get(key);
  }
  paint() {
    const { ui, state, layers } = this, i = layers.findIndex((one) => one.name === state.layer);
    ui.picker.node.hidden = true;
    this.arrange();
    ui.layer.set(layers.length, i, (k) => this.known({ layer: layers[k].name }), (k) => Boolean(this.find({ layer: layers[k].name })));
    const shown = this.cells.map((one) => this.of(one.picture, one.network)), known = shown.filter(Boolean);
    this.signed = known.some((answer) => answer.signed);
    const error = Math.max(0, ...known.map((answer) => answer.error)), short = known.find((answer) => answer.count < answer.of);
    setText(ui.exact, known.length ? `\u00B1 ${error < 0.0005 ? "0.0005" : error.toFixed(error < 0.1 ? 3 : 2)}` : "");
    ui.exact.title = `The largest error of a cosine on this page, measured${short ? `; ${short.count} of ${short.of} dimensions were sent` : ""}`;
    this.cells.forEach((one, k) => this.base(one, this.photos.get(one.picture), shown[k]));
    this.point();
  }
  base(one, photo, answer) {
    const { made, heat } = one;
    made.set(photo && answer ? "" : this.waitWord);
    heat.style.visibility = photo && answer ? "" : "hidden";
    if (photo && one.painted !== photo) { paintRGB(made.canvas, photo.rgb, this.width, this.height); one.painted = photo; }
    if (photo) made.canvas.setAttribute("aria-label", `Picture ${one.picture + 1}: ${one.title}`);
    if (photo && answer) made.marks(this.state.truth && photo.mask ? (photo.edge ??= outline(photo.mask, this.width, this.height)) : "");
    heat.classList.toggle("lk-smooth", this.state.smooth);
    made.stage.classList.toggle("lk-over", this.state.over_picture);
  }
  // the whole of a hover: the cosines of all pictures with the place, in colours, and what they say
  point() {
    const { at } = this;
    for (const one of this.cells) this.heat(one, at);
    const others = this.cells.filter((one) => one.picture !== at?.picture && one.top > 0).map((one) => one.top);
    this.top = this.state.stretch && others.length ? Math.max(...others) : 1;
    for (const one of this.cells) if (one.map) this.colour(one, one.map);
    this.ui.scale.set(this.top, this.signed, this.top < 1);
    setText(this.ui.answer, this.answerText());
  }
  heat(one, at) {
    const { picture, network, made, heat, cross, best } = one, answer = this.of(picture, network), asked = at && this.of(at.picture, network), here = at?.picture === picture;
    const on = Boolean(answer && asked && this.photos.has(picture));
    made.stage.classList.toggle("lk-hot", on);
    cross.hidden = !(here && on); best.hidden = true; one.top = undefined; one.dead = false; one.map = null;
    if (here) { cross.classList.toggle("pinned", !this.ghost); cross.style.setProperty("--x", `${(100 * (at.x + 0.5)) / this.width}%`); cross.style.setProperty("--y", `${(100 * (at.y + 0.5)) / this.height}%`); }
    if (!on) { setText(made.foot, answer && this.photos.has(picture) ? "point at a place" : ""); heat.setAttribute("aria-label", "No place is pointed at"); return; }
    const { height, width, map } = answer, rows = this.rows(asked), { count } = asked;
    const place = Math.floor((at.y * asked.height) / this.height) * asked.width + Math.floor((at.x * asked.width) / this.width), row = rows.subarray(place * count, (place + 1) * count);
    cosines(this.rows(answer), row, map);
    one.map = { map, width, height };
    let peak = 0;
    for (let p = 1; p < map.length; p++) if (map[p] > map[peak]) peak = p;
    one.top = map[peak]; one.dead = here && map[place] < 0.5;
    const y = Math.floor(peak / width), x = peak % width;
    if (!here && map[peak] > 0) {
      best.hidden = false;
      best.style.left = `${(100 * (x + 0.5)) / width}%`; best.style.top = `${(100 * (y + 0.5)) / height}%`;
    }
    setText(made.foot, here ? (one.dead ? "nothing here" : this.ghost ? "this place" : "this place, pinned") : `at most ${precise(map[peak])}`);
    heat.setAttribute("aria-label", here ? `${one.title}: the place asked about, row ${Math.floor(place / width)}, column ${place % width} of ${height} by ${width}` : `${one.title}: cosine largest at row ${y}, column ${x} of ${height} by ${width}, ${precise(map[peak])}`);
  }
  colour(one, { map, width, height }) {
    const context = sized(one.heat, width, height);
    if (!one.pixels || one.pixels.width !== width || one.pixels.height !== height) { one.pixels = context.createImageData(width, height); one.words = new Uint32Array(one.pixels.data.buffer); }
    const { words } = one, table = this.signed ? DIVERGING_PIXELS : SEQUENTIAL_PIXELS, zero = this.signed ? 127 : 0, steps = this.signed ? 127 : 255, low = this.signed ? -127 : 0, factor = steps / this.top;
    for (let p = 0; p < map.length; p++) words[p] = table[zero + clamp(Math.round(map[p] * factor), low, steps)];
    // over a picture what is unlike lets it through
    if (this.state.over_picture) for (let p = 0, { data } = one.pixels; p < map.length; p++) data[4 * p + 3] = 255 * (THIN + (THICK - THIN) * Math.min(1, Math.abs(map[p]) / this.top));
    context.putImageData(one.pixels, 0, 0);
  }
}

export default explorer(Overlay);
