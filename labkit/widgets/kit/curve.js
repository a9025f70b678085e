// A curve over stops: drag or arrow along it. Lines differ by their marks as well as by their colours.

// the mark of a line, as it stands beside the line's name
const lineKey = (i) => {
  const { color, mark } = LINES[i % LINES.length], node = h("span", { class: "lk-key", "aria-hidden": "true" });
  node.innerHTML = `<svg viewBox="0 0 24 12"><path class="line" style="stroke:${color}" d="M0 6H24"/><path class="mark" style="fill:${color};stroke:${color}" d="${mark(12, 6, 4)}"/></svg>`;
  return node;
};

// `choose(i)` hears which stop is meant
const curve = (view, label, choose) => {
  const node = h("div", { class: "lk-curve", tabindex: 0, role: "slider", "aria-label": label });
  let places = [], at = 0, box = { w: 320, h: 190, em: 13 }, drawn = "", data = null;
  const edges = () => ({ left: 2.6 * box.em, right: 0.8 * box.em, top: 0.8 * box.em, low: 1.9 * box.em });
  const pick = (event) => {
    const bounds = node.getBoundingClientRect(), { left, right } = edges();
    if (places.length) choose(nearestIndex(places, (event.clientX - bounds.left - left) / (bounds.width - left - right)));
  };
  node.addEventListener("pointerdown", guarded(view.el, (event) => { if (!places.length) return; node.setPointerCapture(event.pointerId); pick(event); }));
  node.addEventListener("pointermove", guarded(view.el, (event) => { if (event.buttons) pick(event); }));
  node.addEventListener("keydown", guarded(view.el, (event) => {
    const by = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 }[event.key];
    const to = by ? clamp(at + by, 0, places.length - 1) : { Home: 0, End: places.length - 1 }[event.key];
    if (to === undefined || !places.length) return;
    choose(to); event.preventDefault(); event.stopPropagation();
  }));

  // what does not move with the hand: axes and lines
  const still = () => {
    const { shares, labels, lines, span, ticks, level } = data, { left, right, top, low } = edges();
    const x = (share) => left + share * (box.w - left - right), y = (v) => box.h - low - ((clamp(v, ...span) - span[0]) / (span[1] - span[0])) * (box.h - low - top);
    const parts = ticks.map((v) => `<line class="grid" x1="${left}" x2="${box.w - right}" y1="${y(v)}" y2="${y(v)}"/>`
      + `<text x="${left - 0.4 * box.em}" y="${y(v) + 0.35 * box.em}" text-anchor="end">${String(v).replace("-", MINUS)}</text>`);
    if (level !== null) parts.push(`<line class="level" x1="${left}" x2="${box.w - right}" y1="${y(level)}" y2="${y(level)}"/>`);
    for (const { line, values, strong } of lines) {
      const { color, mark } = LINES[line % LINES.length], known = values.map((v, i) => [shares[i], v]).filter(([, v]) => v !== null && Number.isFinite(v));
      if (!known.length) continue;
      const size = box.em * (strong ? 0.34 : 0.24);
      parts.push(`<path class="line ${strong ? "strong" : ""}" style="stroke:${color}" d="M${known.map(([s, v]) => `${x(s).toFixed(1)} ${y(v).toFixed(1)}`).join("L")}"/>`);
      parts.push(`<path class="mark" style="fill:${color};stroke:${color}" d="${known.map(([s, v]) => mark(x(s), y(v), size)).join("")}"/>`);
    }
    // words under the axis where there is room, the first and the last before the others
    const taken = [], last = labels.length - 1;
    for (const i of [0, last, ...range(last)]) {
      const half = labels[i].length * 0.36 * box.em, at = shares[i] === 0 && labels[i].length > 3 ? x(0) + half : shares[i] === 1 ? x(1) - half : x(shares[i]);
      if (!labels[i] || taken.some(([place, room]) => Math.abs(at - place) < half + room)) continue;
      taken.push([at, half + 0.2 * box.em]);
      parts.push(`<text x="${at}" y="${box.h - 0.5 * box.em}" text-anchor="middle">${labels[i]}</text>`);
    }
    parts.push(`<line class="here" y1="${top}" y2="${box.h - low}"/>`);
    node.innerHTML = `<svg viewBox="0 0 ${box.w} ${box.h}" aria-hidden="true">${parts.join("")}</svg>`;
  };
  const draw = (given) => {
    data = { level: null, ticks: [given.span[0], (given.span[0] + given.span[1]) / 2, given.span[1]], ...given };
    const { shares, chosen, text, ...rest } = data, key = JSON.stringify([shares, rest, box]);
    places = shares; at = chosen;
    if (key !== drawn) { still(); drawn = key; }
    const { left, right } = edges(), here = node.querySelector(".here"), place = left + shares[chosen] * (box.w - left - right);
    here.setAttribute("x1", place); here.setAttribute("x2", place);
    for (const [name, value] of [["min", 0], ["max", shares.length - 1], ["now", chosen], ["text", text]]) node.setAttribute(`aria-value${name}`, value);
  };
  // lines: { line (its number), values (null: not known), strong }; `labels` stand under the stops
  return { node, draw, resize() {
    if (!node.clientWidth) return; // not on any page yet
    box = { w: Math.max(80, node.clientWidth), h: Math.max(60, node.clientHeight), em: parseFloat(getComputedStyle(node).fontSize) };
    if (data) draw(data);
  } };
};
