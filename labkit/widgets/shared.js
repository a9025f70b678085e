// Helpers of every explorer. Put before each explorer's own file by Python: no build step, no imports.
const COLORS = Uint8Array.from(atob(DIVERGING_TABLE), (c) => c.charCodeAt(0)); // 255 x RGB, the middle one is zero
const NEGATIVE_SIGN = "\u2212";

// JupyterLab keeps its shortcuts from elements with this mark; on the root alone it does not shield what has the
// focus inside it, because selectors such as ".jp-Notebook :focus" match there first
const SHIELD = "data-lm-suppress-shortcuts";

const h = (tag, attributes = {}, ...children) => {
  const node = document.createElement(tag);
  if (["button", "input", "select"].includes(tag) || "tabindex" in attributes) node.setAttribute(SHIELD, "true");
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (value === true) node.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(key, value);
  }
  node.append(...children);
  return node;
};

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const nearestIndex = (list, value) =>
  list.reduce((best, item, i) => (Math.abs(item - value) < Math.abs(list[best] - value) ? i : best), 0);
const setText = (node, text) => { if (node.textContent !== text) node.textContent = text; };

// three significant digits, a true minus, never "-0"
const number = (value, plus = false) => {
  if (!Number.isFinite(value)) return "\u2013";
  const size = Math.abs(value);
  const text = size === 0 ? "0" : size >= 100 ? size.toFixed(0) : size >= 10 ? size.toFixed(1) : size.toFixed(2);
  if (Number(text) === 0) return text;
  return (value < 0 ? NEGATIVE_SIGN : plus ? "+" : "") + text;
};
const percent = (p) => (p >= 0.9995 ? "100%" : p < 0.0005 ? "0%" : (100 * p).toFixed(p >= 0.0995 ? 0 : 1) + "%");

const bytes = (view) => new Uint8Array(view.buffer, view.byteOffset, view.byteLength);

const fromHalf = (bits) => {
  const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
};

// the numbers behind a binary trait value: float32 from a kernel, float16 in an exported page
const floats = (view, dtype) => {
  const copy = bytes(view).slice().buffer;
  return dtype === "f2" ? Float32Array.from(new Uint16Array(copy), fromHalf) : new Float32Array(copy);
};

// signed values in the diverging map; `top` is the value of the last colour, NaN stays transparent;
// `under` (grey levels 0 to 1, or null) darkens the colours where a picture lies below
const paintSigned = (canvas, values, width, height, top, under = null) => {
  const context = canvas.getContext("2d");
  if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
  const image = context.createImageData(width, height), out = image.data;
  const scale = top > 0 ? 127 / top : 0;
  for (let i = 0, o = 0; i < values.length; i++, o += 4) {
    const value = values[i];
    if (value !== value) continue;
    const c = 3 * (127 + clamp(Math.round(value * scale), -127, 127));
    const shade = under ? 0.3 + 0.7 * under[i] : 1;
    out[o] = COLORS[c] * shade; out[o + 1] = COLORS[c + 1] * shade; out[o + 2] = COLORS[c + 2] * shade;
    out[o + 3] = 255;
  }
  context.putImageData(image, 0, 0);
};

const paintRGB = (canvas, rgb, width, height) => {
  if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
  const context = canvas.getContext("2d"), image = context.createImageData(width, height);
  for (let i = 0, o = 0; o < image.data.length; i += 3, o += 4) {
    image.data[o] = rgb[i]; image.data[o + 1] = rgb[i + 1]; image.data[o + 2] = rgb[i + 2]; image.data[o + 3] = 255;
  }
  context.putImageData(image, 0, 0);
};

// the colour bar of a signed map: -top, 0 and +top in numbers, the zero marked
const signedLegend = (label) => {
  const stops = Array.from({ length: 17 }, (_, i) => {
    const c = 3 * Math.round((254 * i) / 16);
    return `rgb(${COLORS[c]},${COLORS[c + 1]},${COLORS[c + 2]})`;
  });
  const low = h("span"), high = h("span"), mark = h("i", { class: "lk-legend-mark" });
  const node = h("div", { class: "lk-legend", role: "img" },
    h("div", { class: "lk-legend-bar", style: `background:linear-gradient(90deg,${stops.join(",")})` },
      h("b", { class: "lk-legend-zero" }), mark),
    h("div", { class: "lk-legend-numbers" }, low, h("span", {}, "0"), high),
    h("div", { class: "lk-legend-label" }, label));
  return {
    node,
    set(top) {
      setText(low, number(-top)); setText(high, number(top, true));
      node.setAttribute("aria-label", `${label}: colours from ${number(-top)} through 0 to ${number(top, true)}`);
    },
    point(value, top) {
      mark.style.visibility = Number.isFinite(value) && top > 0 ? "visible" : "hidden";
      if (top > 0) mark.style.left = `${50 + 50 * clamp(value / top, -1, 1) || 50}%`;
    },
  };
};

// a slider over a list of stops; `known(i)` fills the tick of a stop whose answer is already there
const stopSlider = (name, describe, onInput) => {
  const value = h("output", { class: "lk-slider-value" });
  const input = h("input", { type: "range", min: 0, step: 1, "aria-label": name });
  const ticks = h("div", { class: "lk-ticks", "aria-hidden": "true" });
  const node = h("label", { class: "lk-slider" },
    h("span", { class: "lk-slider-name" }, name), value, h("span", { class: "lk-slider-track" }, input, ticks));
  input.addEventListener("input", () => onInput(Number(input.value)));
  return {
    node, input,
    set(count, index, known) {
      input.max = count - 1;
      if (Number(input.value) !== index) input.value = index;
      const text = describe(index);
      setText(value, text); input.setAttribute("aria-valuetext", text);
      while (ticks.childElementCount < count) ticks.append(h("i"));
      while (ticks.childElementCount > count) ticks.lastChild.remove();
      input.style.setProperty("--lk-part", count > 1 ? index / (count - 1) : 0);
      [...ticks.children].forEach((tick, i) => tick.classList.toggle("on", known(i)));
    },
  };
};

// a JavaScript error must be seen: every runner of notebooks passes a blank output
const showError = (el, error) => {
  console.error(error);
  const box = h("pre", { class: "lk-fault", role: "alert" },
    `This widget met an error of its own.\n${error && error.stack ? error.stack : error}`);
  el.append(box);
};
const guarded = (el, f) => (...args) => {
  try { return f(...args); } catch (error) { showError(el, error); return undefined; }
};
