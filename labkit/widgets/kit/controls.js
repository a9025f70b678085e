// Elements that explorers are built of: sliders, choices, panels, legend, curve.

// JupyterLab keeps its shortcuts from elements with this mark; on the root alone it does not shield what has the
// focus inside it, because selectors such as ".jp-Notebook :focus" match there first
const SHIELD = "data-lm-suppress-shortcuts";
const h = (tag, attributes = {}, ...children) => {
  const node = document.createElement(tag);
  if (["button", "input", "dialog"].includes(tag) || "tabindex" in attributes) node.setAttribute(SHIELD, "true");
  if (tag === "button") node.type = "button";
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (value === true) node.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(key, value);
  }
  node.append(...children);
  return node;
};
const setText = (node, text) => { if (node.textContent !== text) node.textContent = text; };

// ---- a slider over a list of stops. Those that are not offered are left out; `known` fills the tick of a stop
// whose answer is there; where one is left, nothing is to be dragged
const stopSlider = (name, describe, choose) => {
  const value = h("output", { class: "lk-slider-value" });
  const input = h("input", { type: "range", min: 0, step: 1, "aria-label": name });
  const ticks = h("span", { class: "lk-ticks", "aria-hidden": "true" });
  const track = h("span", { class: "lk-slider-track" }, input, ticks);
  const node = h("label", { class: "lk-slider" }, h("span", { class: "lk-slider-name" }, name), value, track);
  let stops = [];
  input.addEventListener("input", () => choose(stops[Number(input.value)]));
  return {
    node, input,
    set(count, index, offered, known = offered) {
      stops = range(count).filter((i) => i === index || offered(i));
      const at = stops.indexOf(index), text = describe(index);
      input.max = stops.length - 1;
      if (Number(input.value) !== at) input.value = at;
      track.hidden = stops.length < 2;
      setText(value, text); input.setAttribute("aria-valuetext", text);
      while (ticks.childElementCount < stops.length) ticks.append(h("i"));
      while (ticks.childElementCount > stops.length) ticks.lastChild.remove();
      input.style.setProperty("--lk-part", stops.length > 1 ? at / (stops.length - 1) : 0);
      stops.forEach((stop, i) => ticks.children[i].classList.toggle("on", known(stop)));
    },
  };
};

// ---- one of several: arrows choose, Tab enters once
const radios = (label, ...nodes) => h("div", { role: "radiogroup", "aria-label": label, onkeydown: (event) => {
  const by = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key];
  const there = [...event.currentTarget.querySelectorAll("[role=radio]")].filter((n) => !n.hidden), at = there.indexOf(event.target);
  if (!by || at < 0) return;
  const next = there[(at + by + there.length) % there.length];
  next.focus(); next.click();
  event.preventDefault(); event.stopPropagation();
} }, ...nodes);
const check = (nodes, chosen, offered) => {
  const shown = nodes.filter((node) => { node.hidden = !chosen(node) && !offered(node); return !node.hidden; });
  const first = shown.find(chosen) ?? shown[0];
  for (const node of nodes) { node.setAttribute("aria-checked", String(chosen(node))); node.tabIndex = node === first ? 0 : -1; }
};
const radio = (view, attributes, changes, ...children) =>
  h("button", { role: "radio", ...attributes, onclick: guarded(view.el, () => view.set(changes())) }, ...children);
// a button for a trait that is `on` or not; the view refreshes it
const toggle = (view, text, key, title, on = true) => {
  const node = h("button", { class: "lk-button", title, "aria-pressed": "false", onclick: guarded(view.el, () => view.set({ [key]: !view.state[key] })) }, text);
  view.toggles.push(() => node.setAttribute("aria-pressed", String(view.state[key] === on)));
  return node;
};

const pictureStrip = (view) => {
  const node = radios("Pictures");
  node.className = "lk-strip";
  return { node, refresh() {
    const captions = view.model.get("captions");
    while (node.childElementCount < captions.length) {
      const i = node.childElementCount, { name, truth, thumb, label: said } = captions[i], canvas = h("canvas");
      const label = said || [name, truth].filter(Boolean).join(", ") || `picture ${i + 1}`;
      paintRGB(canvas, bytes(thumb), 56, 56);
      node.append(h("button", { role: "radio", class: "lk-thumb", "aria-label": label, title: label, onclick: guarded(view.el, () => view.show(i)) }, canvas));
    }
    const all = [...node.children], place = (thumb) => all.indexOf(thumb);
    check(all, (thumb) => place(thumb) === view.placeOf(view.state.picture), (thumb) => view.offers(place(thumb)));
    node.hidden = all.filter((thumb) => !thumb.hidden).length < 2;
  } };
};

// ---- a box to find a class in: type a part of its name, arrows and Enter or a click choose it, Escape closes
const classSearch = (classes, known, choose) => {
  let found = [], at = 0;
  const list = h("ul", { class: "lk-found", role: "listbox", "aria-label": "Classes found", id: `lk-found-${Math.random().toString(36).slice(2)}` });
  const input = h("input", { class: "lk-search", type: "text", role: "combobox", placeholder: "find a class",
    "aria-label": "Find a class", "aria-expanded": "false", "aria-controls": list.id, "aria-autocomplete": "list", spellcheck: "false", autocomplete: "off" });
  const close = () => { list.hidden = true; input.setAttribute("aria-expanded", "false"); input.removeAttribute("aria-activedescendant"); };
  const mark = () => [...list.children].forEach((item, i) => {
    item.setAttribute("aria-selected", String(i === at));
    if (i === at) { input.setAttribute("aria-activedescendant", item.id); item.scrollIntoView({ block: "nearest" }); }
  });
  const take = (i) => { if (found[i] === undefined) return; const index = found[i]; input.value = ""; close(); choose(index); };
  const same = (name) => classes.indexOf(name) !== classes.lastIndexOf(name);
  const open = () => {
    const words = input.value.trim().toLowerCase();
    const rank = (i) => { const place = classes[i].toLowerCase().indexOf(words); return place < 0 ? Infinity : place; };
    found = range(classes.length).filter((i) => known(i) && rank(i) < Infinity)
      .sort((a, b) => rank(a) - rank(b) || classes[a].localeCompare(classes[b]) || a - b);
    at = 0;
    list.replaceChildren(...found.map((index, i) => h("li", { role: "option", id: `${list.id}-${i}`,
      onpointerdown: (event) => { event.preventDefault(); take(i); } }, same(classes[index]) ? `${classes[index]} (${index})` : classes[index])));
    if (!found.length) list.replaceChildren(h("li", { class: "lk-none", role: "option", "aria-disabled": "true" }, "no class of that name"));
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
  return h("div", { class: "lk-combo" }, input, list);
};

// ---- the class to explain: the likeliest five with their probabilities, all others by a part of their name
const classPicker = (view) => {
  const classes = view.model.get("classes"), known = (target) => view.known({ target });
  const rows = range(Math.min(5, classes.length) + 1).map(() => {
    const name = h("span", { class: "lk-class" }), value = h("span", { class: "lk-p" }), bar = h("i", { class: "lk-bar" }), before = h("i", { class: "lk-bar lk-before" });
    const node = radio(view, { class: "lk-pick" }, () => ({ target: node.index }), name, h("span", { class: "lk-bars" }, before, bar), value);
    return Object.assign(node, { parts: { name, value, bar, before } });
  });
  const group = radios("Class to explain", ...rows), search = classSearch(classes, known, guarded(view.el, (target) => view.set({ target })));
  group.className = "lk-picks";
  const picker = {
    node: h("section", { class: "lk-choose", "aria-label": "Class" }, group, search),
    // `now`: the probability of a class where something is hidden
    refresh(photo, target, now = (index) => photo.p[index]) {
      const shown = [...photo.top, ...(photo.top.includes(target) ? [] : [target])];
      rows.forEach((row, i) => {
        row.index = shown[i] ?? -1;
        if (shown[i] === undefined) return;
        setText(row.parts.name, view.className(row.index)); setText(row.parts.value, percent(now(row.index)));
        row.parts.bar.style.width = `${100 * clamp(now(row.index), 0, 1)}%`;
        row.parts.before.style.width = `${100 * photo.p[row.index]}%`;
      });
      check(rows, (row) => row.index === target && target >= 0, (row) => row.index >= 0 && known(row.index));
      search.hidden = !view.live && !range(classes.length).some((i) => known(i) && !shown.includes(i));
      picker.node.hidden = rows.filter((row) => !row.hidden).length < 2 && search.hidden; // nothing to choose
    },
  };
  return picker;
};

// ---- the button and the path that bring a photograph of one's own, cropped and scaled here so that only pixels travel
const readPhotograph = async (file, height, width) => {
  const image = await createImageBitmap(file), scale = Math.min(image.width / width, image.height / height);
  const canvas = h("canvas", { width, height }), context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(image, (image.width - width * scale) / 2, (image.height - height * scale) / 2, width * scale, height * scale, 0, 0, width, height);
  const rgba = context.getImageData(0, 0, width, height).data, rgb = new Uint8Array(3 * width * height);
  for (let i = 0, o = 0; o < rgb.length; i += 4, o += 3) { rgb[o] = rgba[i]; rgb[o + 1] = rgba[i + 1]; rgb[o + 2] = rgba[i + 2]; }
  const cropped = Math.max(image.width / width, image.height / height) - scale >= scale / Math.max(width, height);
  return { name: file.name.replace(/\.[^.]+$/, "").replaceAll("_", " "), width, height, cropped, data: new DataView(rgb.buffer) };
};
// `upload` and `path`: the traits that hear of it
const ownPhotograph = (view, { upload = "upload", path = "path", what = "photograph", box = "lk-own" } = {}) => {
  const file = h("input", { type: "file", accept: "image/*", class: "lk-hidden", tabindex: -1, "aria-hidden": "true", "aria-label": `A ${what}`, onchange: async () => {
    view.forgive();
    try { if (file.files[0]) view.send({ [upload]: await readPhotograph(file.files[0], view.height, view.width) }); }
    catch (error) { view.complain(`${file.files[0].name} cannot be read as a picture: ${error.message}`); }
    file.value = "";
  } });
  const place = h("input", { class: "lk-path", type: "text", placeholder: "or its path, then Enter", "aria-label": `Path of a ${what}`, spellcheck: "false",
    onkeydown: (event) => { if (event.key === "Enter") { view.forgive(); view.draw(); view.send({ [path]: "" }); view.send({ [path]: place.value.trim() }); } } });
  return h("div", { class: box }, h("button", { class: "lk-button", onclick: () => file.click() }, `Your ${what} \u2026`), place, file);
};

// ---- a titled picture or map: lines over it, a word to wait by, an error in its place, a line below
const panel = (view, title, kind, { legend = false } = {}) => {
  const { width, height } = view, svg = "http://www.w3.org/2000/svg", edge = document.createElementNS(svg, "svg");
  edge.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const paths = ["lk-edge-under", "lk-edge-over"].map((name) => {
    const path = document.createElementNS(svg, "path");
    path.setAttribute("class", name); edge.append(path);
    return path;
  });
  const canvas = h("canvas", { role: "img", "aria-label": title, "data-kind": kind, class: legend ? "lk-map" : "" });
  const wait = h("div", { class: "lk-wait" }), fault = h("pre", { class: "lk-error lk-panelfault", hidden: true, tabindex: 0, role: "group", "aria-label": `Why ${title} gives no map` });
  const stage = h("div", { class: "lk-stage" }, canvas, h("div", { class: "lk-marks", "aria-hidden": "true" }, edge), wait, fault);
  const aside = h("span", { class: "lk-aside-text" }), foot = h("div", { class: "lk-foot" }), bar = legend ? mapLegend(title) : null;
  const made = {
    canvas, stage, aside, foot, wait, fault, legend: bar, title,
    node: h("figure", { class: "lk-panel", "data-panel": kind }, h("figcaption", {}, h("b", {}, title), aside), stage, ...(bar ? [bar.node] : []), foot),
    marks(d) { if (made.drawn !== d) paths.forEach((path) => path.setAttribute("d", d)); made.drawn = d; },
    // a word to wait by hides what was drawn, so that no answer to another question stands there
    set(word, text = "") {
      setText(wait, word); fault.hidden = !text;
      if (text) setText(fault, text);
      for (const part of [canvas, aside, foot, ...(bar ? [bar.node] : [])]) part.style.visibility = word || text ? "hidden" : "";
      if (word || text) made.marks("");
    },
    // the pointer over the panel, in pixels of the picture
    follow() {
      const at = (event) => { const box = stage.getBoundingClientRect(); return [((event.clientX - box.left) / box.width) * width, ((event.clientY - box.top) / box.height) * height]; };
      stage.classList.add("lk-pointed");
      stage.addEventListener("pointermove", guarded(view.el, (event) => view.hover(...at(event))));
      stage.addEventListener("pointerleave", guarded(view.el, () => view.leave()));
      stage.addEventListener("click", guarded(view.el, (event) => {
        if (fault.contains(event.target)) return; // its text is to be selected
        view.hover(...at(event)); view.pin(); view.ui.picture.stage.focus({ preventScroll: true });
      }));
      return made;
    },
    // keys: the stage that takes the focus
    focusable(label) {
      stage.tabIndex = 0;
      for (const [key, value] of [[SHIELD, "true"], ["role", "application"], ["aria-label", label]]) stage.setAttribute(key, value);
      return made;
    },
  };
  return made;
};

// the colour bar of a map between its two numbers, the zero marked; `beyond` says that values lie past its ends
const mapLegend = (title) => {
  const low = h("span"), high = h("span"), mark = h("i", { class: "lk-legend-mark" }), bar = h("div", { class: "lk-legend-bar" }, h("b", { class: "lk-legend-zero" }), mark);
  const node = h("div", { class: "lk-legend", role: "img" }, low, bar, high);
  let sign = true;
  const legend = { node,
    set(top, signed = true, beyond = false) {
      sign = signed;
      const kind = signed ? "signed" : "positive";
      if (node.dataset.kind !== kind) { node.dataset.kind = kind; bar.style.background = gradient(signed ? DIVERGING : SEQUENTIAL); }
      setText(low, signed ? (beyond ? "\u2264 " : "") + precise(-top) : "0");
      setText(high, (beyond ? "\u2265 " : "") + precise(top, signed));
      node.setAttribute("aria-label", `Colours of ${title}: from ${low.textContent} ${signed ? "through 0 " : ""}to ${high.textContent}`);
    },
    point(value, top) {
      const seen = Number.isFinite(value) && top > 0;
      mark.style.visibility = seen ? "inherit" : "hidden";
      if (seen) mark.style.left = `${sign ? 50 + 50 * clamp(value / top, -1, 1) : 100 * clamp(value / top, 0, 1)}%`;
    },
  };
  legend.set(1);
  return legend;
};
