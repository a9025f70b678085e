// Parts that several explorers show: the class to ask about, a panel with a picture, a curve to drag along.

// a view with what all of them need: `state` follows the traits named, answers are taken as they come
class AnswerView {
  constructor(model, el, traits) {
    this.model = model; this.el = el;
    this.photos = new Map(); this.answers = new Map(); this.state = {};
    for (const key of traits) {
      this.state[key] = model.get(key);
      model.on(`change:${key}`, guarded(el, () => { this.state[key] = model.get(key); this.draw(); }));
    }
    [this.height, this.width] = model.get("size");
  }
  // after the subclass has built its page
  open() {
    const { model, el } = this;
    (model.get("saved") || []).forEach((a) => this.take(a));
    for (const key of ["photo", "delivery"]) {
      this.take(model.get(key));
      model.on(`change:${key}`, guarded(el, () => { this.take(model.get(key)); this.draw(); }));
    }
    for (const key of ["status", "error", "progress", "captions", "theme"]) model.on(`change:${key}`, guarded(el, () => this.draw()));
    this.draw();
    if (model.get("live")) this.greet = setTimeout(guarded(el, () => this.send({ watched: model.get("watched") + 1 })), GREETING);
  }
  send(changes) { for (const [key, value] of Object.entries(changes)) this.model.set(key, value); this.model.save_changes(); }
  set(changes) { Object.assign(this.state, changes); this.draw(); this.send(changes); }
  take(answer) {
    if (!answer || !answer.kind) return;
    if (answer.kind !== "photo") { this.keep(answer); return; }
    const rgb = bytes(answer.data), mask = bytes(answer.mask);
    this.photos.set(answer.picture, { ...answer, rgb, grey: greys(rgb), mask: mask.length ? mask : null });
  }
  get photo() { return this.photos.get(this.state.picture); }
  get target() { return this.state.target >= 0 ? this.state.target : this.photo ? this.photo.top[0] : -1; }
  className(index) { return this.model.get("classes")[index] ?? `class ${index}`; }
  show(picture) { this.set({ picture, target: -1 }); }
}

// the class to explain: the likeliest five, all others by a part of their name
const classPicker = (view) => {
  const { model, el } = view, classes = model.get("classes");
  const rows = Array.from({ length: Math.min(5, classes.length) }, () => {
    const name = h("span", { class: "lk-class" }), p = h("span", { class: "lk-p" }), bar = h("i", { class: "lk-bar" });
    const node = h("button", { class: "lk-pick", type: "button", role: "radio", onclick: guarded(el, () => view.set({ target: node.index })) }, bar, name, p);
    return Object.assign(node, { parts: { name, p, bar } });
  });
  const other = h("span", { class: "lk-pick lk-picked" });
  const search = classSearch(classes, (i) => view.known(i), guarded(el, (target) => view.set({ target })));
  return {
    node: h("section", { class: "lk-choose", "aria-label": "Class" },
      h("div", { class: "lk-picks", role: "radiogroup", "aria-label": "Class to explain", onkeydown: (event) => radioKeys(event) }, ...rows, other), search.node),
    refresh(photo, target) {
      rows.forEach((row, i) => {
        const index = photo.top[i], p = photo.p[index];
        row.index = index;
        setText(row.parts.name, view.className(index)); setText(row.parts.p, percent(p));
        row.parts.bar.style.width = `${100 * p}%`;
        row.setAttribute("aria-checked", String(index === target));
        row.disabled = !view.known(index);
      });
      other.hidden = photo.top.includes(target);
      if (!other.hidden) setText(other, `${view.className(target)} ${percent(photo.p[target])}`);
    },
  };
};

// the border of a mask as lines between pixels
const outline = (mask, width, height) => {
  const lines = [], inside = (x, y) => x >= 0 && y >= 0 && x < width && y < height && mask[y * width + x];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (!inside(x, y)) continue;
      if (!inside(x - 1, y)) lines.push(`M${x} ${y}v1`);
      if (!inside(x + 1, y)) lines.push(`M${x + 1} ${y}v1`);
      if (!inside(x, y - 1)) lines.push(`M${x} ${y}h1`);
      if (!inside(x, y + 1)) lines.push(`M${x} ${y + 1}h1`);
    }
  }
  return lines.join("");
};

// lines over a panel, light on dark so that they read on every colour
const lineLayer = (width, height) => {
  const node = h("div", { class: "lk-marks", "aria-hidden": "true" });
  node.innerHTML = `<svg viewBox="0 0 ${width} ${height}"><path class="lk-edge-under"/><path class="lk-edge-over"/></svg>`;
  const paths = node.querySelectorAll("path");
  let shown = "";
  return { node, set(d) { if (d !== shown) paths.forEach((path) => path.setAttribute("d", d)); shown = d; } };
};

// a titled canvas with lines over it and a word to wait by
const plainPanel = (view, title, kind) => {
  const canvas = h("canvas", { role: "img", "aria-label": title, "data-kind": kind }), aside = h("span"), foot = h("div", { class: "lk-foot" });
  const marks = lineLayer(view.width, view.height), wait = h("div", { class: "lk-wait" }), name = h("b", {}, title);
  const stage = h("div", { class: "lk-stage lk-still", style: `aspect-ratio:${view.width}/${view.height}` }, canvas, marks.node, wait);
  return { canvas, aside, foot, marks, wait, name, stage, node: h("figure", { class: "lk-panel lk-compared", "data-panel": kind }, h("figcaption", {}, name, aside), stage, foot) };
};

// curves over stops from 0 to 1: drag or arrow along them; `choose(i)` hears which stop is meant
const curve = (label, choose) => {
  const W = 320, H = 190, left = 34, right = 10, top = 10, low = 26;
  const x = (share) => left + share * (W - left - right), y = (value, span) => H - low - ((value - span[0]) / (span[1] - span[0])) * (H - low - top);
  const node = h("div", { class: "lk-curve", tabindex: 0, role: "slider", "aria-label": label });
  let places = [], at = 0;
  const pick = (event) => {
    const box = node.getBoundingClientRect(), share = (((event.clientX - box.left) / box.width) * W - left) / (W - left - right);
    if (places.length) choose(nearestIndex(places, share));
  };
  node.addEventListener("pointerdown", (event) => { if (!places.length) return; node.setPointerCapture(event.pointerId); pick(event); });
  node.addEventListener("pointermove", (event) => { if (event.buttons) pick(event); });
  node.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 }[event.key];
    const to = by ? clamp(at + by, 0, places.length - 1) : { Home: 0, End: places.length - 1 }[event.key];
    if (to === undefined || !places.length) return;
    choose(to); event.preventDefault(); event.stopPropagation();
  });
  return {
    node,
    // lines: { name, color, values (null: not known), strong }; `labels` stand under the stops
    draw({ shares, labels, lines, span, ticks = [span[0], (span[0] + span[1]) / 2, span[1]], level = null, chosen, text }) {
      places = shares; at = chosen;
      const parts = [], [from, to] = span;
      for (const value of ticks) {
        parts.push(`<line class="grid" x1="${left}" x2="${W - right}" y1="${y(value, span)}" y2="${y(value, span)}"/>`);
        parts.push(`<text x="${left - 5}" y="${y(value, span) + 4}" text-anchor="end">${String(value).replace("-", NEGATIVE_SIGN)}</text>`);
      }
      if (level !== null) parts.push(`<line class="level" x1="${left}" x2="${W - right}" y1="${y(level, span)}" y2="${y(level, span)}"/>`);
      parts.push(`<line class="here" x1="${x(shares[chosen])}" x2="${x(shares[chosen])}" y1="${top}" y2="${H - low}"/>`);
      for (const line of lines) {
        const known = line.values.map((v, i) => [shares[i], v]).filter(([, v]) => v !== null && Number.isFinite(v));
        if (!known.length) continue;
        parts.push(`<path class="${line.strong ? "strong" : "weak"}" style="stroke:${line.color}" d="M${known.map(([s, v]) => `${x(s).toFixed(1)} ${y(clamp(v, from, to), span).toFixed(1)}`).join("L")}"/>`);
        for (const [s, v] of known) parts.push(`<circle style="fill:${line.color}" cx="${x(s).toFixed(1)}" cy="${y(clamp(v, from, to), span).toFixed(1)}" r="${s === shares[chosen] ? 4.5 : line.strong ? 2.5 : 1.8}"/>`);
      }
      labels.forEach((word, i) => { if (word) parts.push(`<text x="${x(shares[i])}" y="${H - 9}" text-anchor="${i && i === labels.length - 1 ? "end" : "middle"}">${word}</text>`); });
      node.innerHTML = `<svg viewBox="0 0 ${W} ${H}" aria-hidden="true">${parts.join("")}</svg>`;
      node.setAttribute("aria-valuemin", 0); node.setAttribute("aria-valuemax", shares.length - 1);
      node.setAttribute("aria-valuenow", chosen); node.setAttribute("aria-valuetext", text);
    },
  };
};

// what stands at the top and at the bottom of an explorer, with the errors between
const frame = (view, kind, ...middle) => {
  const { model, el } = view, live = model.get("live"), ui = (view.ui = view.ui || {});
  ui.error = h("pre", { class: "lk-error", role: "alert", hidden: true });
  ui.strip = pictureStrip(model, guarded(el, (i) => view.show(i)), (i) => view.photos.has(i));
  ui.chip = h("span", { class: "lk-chip", "aria-live": "polite" });
  ui.cancel = h("button", { class: "lk-button lk-cancel", type: "button", onclick: guarded(el, () => view.send({ cancel: true })) }, "Stop");
  ui.question = h("div", { class: "lk-question" });
  ui.projector = h("button", { class: "lk-button", type: "button", title: "Larger type and stronger lines", "aria-pressed": "false",
    onclick: guarded(el, () => view.send({ theme: model.get("theme") === "projector" ? "auto" : "projector" })) }, "Projector");
  ui.picker = classPicker(view);
  ui.root = h("div", { class: `lk lk-comparer ${kind}`, [SHIELD]: "true" },
    h("header", { class: "lk-head" }, ui.question, ui.chip, live ? ui.cancel : "", ui.projector),
    ui.picker.node, ui.error, ...middle,
    h("footer", { class: "lk-pictures" }, ui.strip.node, live ? ownPhotograph(model, ui.error) : ""));
  el.append(ui.root);
};

const refreshFrame = (view, question, there) => {
  const { model, ui, state } = view, live = model.get("live"), status = model.get("status"), busy = status === "computing";
  ui.root.dataset.theme = model.get("theme");
  ui.projector.setAttribute("aria-pressed", String(model.get("theme") === "projector"));
  ui.strip.refresh(state.picture);
  ui.error.hidden = !model.get("error");
  setText(ui.error, model.get("error"));
  setText(ui.chip, !live ? (there ? "saved page" : "not in this saved page") : busy ? `computing ${Math.round(100 * model.get("progress"))}%` : status);
  ui.chip.dataset.state = status === "error" ? "error" : busy ? "busy" : there ? "ready" : "coarse";
  ui.cancel.style.visibility = live && busy ? "visible" : "hidden";
  if (!view.photo) return;
  ui.picker.refresh(view.photo, view.target);
  const name = view.className(view.target), key = question.join("|") + name;
  if (ui.question.dataset.key !== key) {
    ui.question.replaceChildren(question[0], h("em", {}, name), question[1]);
    ui.question.dataset.key = key;
  }
};
