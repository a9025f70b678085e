// Helpers of every explorer. Put before each explorer's own file by Python: no build step, no imports.
const unpack = (table) => Uint8Array.from(atob(table), (c) => c.charCodeAt(0));
const DIVERGING = unpack(DIVERGING_TABLE); // 255 x RGB, the middle one is zero
const SEQUENTIAL = unpack(SEQUENTIAL_TABLE); // 256 x RGB, the first one is zero
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
// a value of a map in three digits of the map's own scale: maps may be tiny
const precise = (value, plus = false, top = Math.abs(value)) => {
  if (!Number.isFinite(value) || value === 0) return value === 0 ? "0" : "\u2013";
  const digits = clamp(2 - Math.floor(Math.log10(top)), 0, 6), size = Math.abs(value);
  const text = top < 1e-3 ? size.toExponential(1).replace("-", NEGATIVE_SIGN) : size.toFixed(digits);
  return (Number(text) === 0 ? "" : value < 0 ? NEGATIVE_SIGN : plus ? "+" : "") + text;
};
const duration = (seconds) => (seconds < 0.9995 ? `${Math.max(1, Math.round(1000 * seconds))} ms` : `${seconds.toFixed(1)} s`);
const percent = (p) => (p >= 0.9995 ? "100%" : p < 0.0005 ? "0%" : (100 * p).toFixed(p >= 0.0995 ? 0 : 1) + "%");

const bytes = (view) => new Uint8Array(view.buffer, view.byteOffset, view.byteLength);

const fromHalf = (bits) => {
  const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
};

// the numbers of an answer: float32 from a kernel, float16 times a scale in an exported page
const floats = ({ data, dtype, scale = 1 }) => {
  const copy = bytes(data).slice().buffer;
  return dtype === "f2" ? Float32Array.from(new Uint16Array(copy), (bits) => scale * fromHalf(bits)) : new Float32Array(copy);
};

// the place of a value's colour in its table, three numbers a colour
const colorOf = (value, top, signed) => {
  const share = top > 0 ? value / top : 0;
  return 3 * (signed ? 127 + clamp(Math.round(127 * share), -127, 127) : clamp(Math.round(255 * share), 0, 255));
};

// a map in colours: diverging about zero where `signed`, else from zero up; `top` is the value of the last colour,
// NaN stays transparent; `under` (grey levels 0 to 1, or null) is the picture below: signed colours, white at zero,
// are darkened by it; the others, dark at zero, are mixed with it
const paintMap = (canvas, values, width, height, top, signed, under = null) => {
  const context = canvas.getContext("2d"), table = signed ? DIVERGING : SEQUENTIAL;
  if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
  const image = context.createImageData(width, height), out = image.data;
  for (let i = 0, o = 0; i < values.length; i++, o += 4) {
    if (values[i] !== values[i]) continue;
    const c = colorOf(values[i], top, signed);
    const keep = !under ? 1 : signed ? 0.3 + 0.7 * under[i] : 0.6, add = under && !signed ? 102 * under[i] : 0;
    for (let k = 0; k < 3; k++) out[o + k] = table[c + k] * keep + add;
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

// the colour bar of a map in numbers, the zero marked; `beyond` says that values lie past its ends
const mapLegend = (label) => {
  const gradient = (table, last) => "linear-gradient(90deg," + Array.from({ length: 17 }, (_, i) => {
    const c = 3 * Math.round((last * i) / 16);
    return `rgb(${table[c]},${table[c + 1]},${table[c + 2]})`;
  }).join(",") + ")";
  const low = h("span"), middle = h("span"), high = h("span"), mark = h("i", { class: "lk-legend-mark" });
  const bar = h("div", { class: "lk-legend-bar" }, h("b", { class: "lk-legend-zero" }), mark);
  const node = h("div", { class: "lk-legend", role: "img" }, bar,
    h("div", { class: "lk-legend-numbers" }, low, middle, high), h("div", { class: "lk-legend-label" }, label));
  let sign = true;
  const legend = {
    node,
    set(top, signed = true, beyond = false) {
      sign = signed;
      const kind = signed ? "signed" : "positive";
      if (node.dataset.kind !== kind) {
        node.dataset.kind = kind;
        bar.style.background = signed ? gradient(DIVERGING, 254) : gradient(SEQUENTIAL, 255);
      }
      setText(low, signed ? (beyond ? "\u2264 " : "") + precise(-top) : "0");
      setText(middle, signed ? "0" : "");
      setText(high, (beyond ? "\u2265 " : "") + precise(top, signed));
      node.setAttribute("aria-label", `${label || "colours"}: from ${low.textContent} ${signed ? "through 0 " : ""}to ${high.textContent}`);
    },
    point(value, top) {
      const seen = Number.isFinite(value) && top > 0;
      mark.style.visibility = seen ? "visible" : "hidden";
      if (seen) mark.style.left = `${sign ? 50 + 50 * clamp(value / top, -1, 1) : 100 * clamp(value / top, 0, 1)}%`;
    },
  };
  legend.set(1);
  return legend;
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

const greys = (rgb) => Float32Array.from({ length: rgb.length / 3 }, (_, i) =>
  (0.299 * rgb[3 * i] + 0.587 * rgb[3 * i + 1] + 0.114 * rgb[3 * i + 2]) / 255);

// a photograph from the student's disk, cropped and scaled here so that only its pixels travel
const readPhotograph = async (file, height, width) => {
  const image = await createImageBitmap(file);
  const scale = Math.min(image.width / width, image.height / height);
  const canvas = h("canvas", { width, height }), context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(image, (image.width - width * scale) / 2, (image.height - height * scale) / 2,
    width * scale, height * scale, 0, 0, width, height);
  const rgba = context.getImageData(0, 0, width, height).data, rgb = new Uint8Array(3 * width * height);
  for (let i = 0, o = 0; o < rgb.length; i += 4, o += 3) { rgb[o] = rgba[i]; rgb[o + 1] = rgba[i + 1]; rgb[o + 2] = rgba[i + 2]; }
  return { name: file.name.replace(/\.[^.]+$/, "").replaceAll("_", " "), width, height, data: new DataView(rgb.buffer) };
};

// the button and the path that bring a photograph of one's own; `box` is where its errors are shown
const ownPhotograph = (model, box) => {
  const [height, width] = model.get("size");
  const send = (key, value) => { model.set(key, value); model.save_changes(); };
  const file = h("input", { type: "file", accept: "image/*", class: "lk-hidden", tabindex: -1, "aria-hidden": "true", onchange: async () => {
    try { if (file.files[0]) send("upload", await readPhotograph(file.files[0], height, width)); }
    catch (error) { box.textContent = `${file.files[0].name} cannot be read as a picture: ${error.message}`; box.hidden = false; }
    file.value = "";
  } });
  const path = h("input", { class: "lk-path", type: "text", placeholder: "or its path, then Enter", "aria-label": "Path of a photograph", spellcheck: "false",
    onkeydown: (event) => { if (event.key === "Enter") { send("path", ""); send("path", path.value.trim()); } } });
  return h("div", { class: "lk-own" }, h("button", { class: "lk-button", type: "button", onclick: () => file.click() }, "Your photograph \u2026"), path, file);
};

// arrows in a group of radio buttons choose the next one
const radioKeys = (event) => {
  const by = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key];
  const nodes = [...event.currentTarget.querySelectorAll("[role=radio]:not(:disabled)")], at = nodes.indexOf(event.target);
  if (!by || at < 0) return;
  const next = nodes[(at + by + nodes.length) % nodes.length];
  next.focus(); next.click();
  event.preventDefault(); event.stopPropagation();
};

// the pictures to choose from; in a saved page, those that `known(i)` says are there
const pictureStrip = (model, choose, known) => {
  const node = h("div", { class: "lk-strip", role: "radiogroup", "aria-label": "Pictures" });
  return {
    node,
    refresh(chosen) {
      const captions = model.get("captions");
      while (node.childElementCount < captions.length) {
        const i = node.childElementCount, { name, truth, thumb } = captions[i];
        const canvas = h("canvas"), label = [name, truth].filter(Boolean).join(", ") || `picture ${i + 1}`;
        paintRGB(canvas, bytes(thumb), 56, 56);
        node.append(h("button", { class: "lk-thumb", type: "button", role: "radio", "aria-label": label, title: label, onclick: () => choose(i) }, canvas));
      }
      [...node.children].forEach((thumb, i) => {
        thumb.setAttribute("aria-checked", String(i === chosen));
        if (!model.get("live")) thumb.disabled = !known(i);
      });
    },
  };
};

// a box to find a class in: type a part of its name, arrows and Enter or a click choose it, Escape closes
const classSearch = (classes, known, choose) => {
  let found = [], at = 0;
  const list = h("ul", { class: "lk-found", role: "listbox", "aria-label": "Classes found", id: `lk-found-${Math.random().toString(36).slice(2)}` });
  const input = h("input", { class: "lk-search", type: "text", role: "combobox", placeholder: `find one of ${classes.length} classes`,
    "aria-label": "Find a class", "aria-expanded": "false", "aria-controls": list.id, "aria-autocomplete": "list", spellcheck: "false", autocomplete: "off" });
  const close = () => { list.hidden = true; input.setAttribute("aria-expanded", "false"); input.removeAttribute("aria-activedescendant"); };
  const mark = () => [...list.children].forEach((item, i) => {
    item.setAttribute("aria-selected", String(i === at));
    if (i === at) { input.setAttribute("aria-activedescendant", item.id); item.scrollIntoView({ block: "nearest" }); }
  });
  const take = (i) => { if (found[i] === undefined) return; const index = found[i]; input.value = ""; close(); choose(index); };
  const open = () => {
    const words = input.value.trim().toLowerCase();
    const rank = (i) => { const place = classes[i].toLowerCase().indexOf(words); return place < 0 ? Infinity : place; };
    found = classes.map((_, i) => i).filter((i) => known(i) && rank(i) < Infinity)
      .sort((a, b) => rank(a) - rank(b) || classes[a].localeCompare(classes[b]) || a - b);
    at = 0;
    const same = (name) => classes.indexOf(name) !== classes.lastIndexOf(name);
    list.replaceChildren(...found.map((index, i) => h("li", { role: "option", id: `${list.id}-${i}`,
      onpointerdown: (event) => { event.preventDefault(); take(i); } }, same(classes[index]) ? `${classes[index]} (${index})` : classes[index])));
    if (!found.length) list.replaceChildren(h("li", { class: "lk-none" }, "no class of that name"));
    list.hidden = false; input.setAttribute("aria-expanded", "true");
    mark();
  };
  input.addEventListener("input", open);
  input.addEventListener("focus", open);
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (event) => {
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (by && list.hidden) open();
    else if (by && found.length) { at = (at + by + found.length) % found.length; mark(); }
    else if (event.key === "Enter" && !list.hidden) take(at);
    else if (event.key === "Escape") { input.value = ""; close(); }
    else return;
    event.preventDefault(); event.stopPropagation();
  });
  list.hidden = true;
  return { node: h("div", { class: "lk-combo" }, input, list), input };
};

// JupyterLab opens a side channel to the kernel for widgets a moment after the first one is shown. What is sent
// before waits behind the cells that run, and all later messages behind it: so be silent at first.
const GREETING = 1000;

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
