// The page around the panels: heading and answer, class, controls, pictures; how it fills a screen; its keys.

// parts: `main` panels, an `aside` (its picture first) to the left or, with `right`, to the right of them, `controls`
const buildFrame = (view, { main, aside = [], right = false, pickerAside = false, controls }) => {
  const { model, el, ui } = view, { kind, keys } = view.constructor;
  ui.question = h(view.page ? "h1" : "div", { class: "lk-question", ...(view.page ? {} : { role: "heading", "aria-level": 2 }) });
  ui.answer = h("p", { class: "lk-answer", role: "status" });
  ui.note = h("p", { class: "lk-note", role: "note", hidden: true });
  ui.error = h("pre", { class: "lk-error", role: "alert", hidden: true });
  ui.chip = h("span", { class: "lk-chip", role: "status" });
  ui.cancel = h("button", { class: "lk-button lk-cancel", onclick: guarded(el, () => view.send({ cancel: true })) }, "Stop");
  ui.projector = h("button", { class: "lk-button lk-project", title: "Large type on the whole screen (p)", onclick: guarded(el, () => pressKey(view, "p")) }, "Projector");
  ui.help = h("button", { class: "lk-button lk-help", "aria-label": "Keys", title: "Keys (?)", onclick: guarded(el, () => pressKey(view, "?")) }, "?");
  ui.picker = classPicker(view);
  ui.strip = pictureStrip(view);
  ui.own = view.page ? "" : view.own();
  ui.keys = h("dialog", { class: "lk-keys", "aria-label": "Keys" }, h("dl", {}, ...[...keys, ...KEYS].flatMap(([key, does]) => [h("dt", {}, key), h("dd", {}, does)])),
    h("button", { class: "lk-button", onclick: () => ui.keys.close() }, "Close"));
  ui.main = h("div", { class: "lk-main" }, ...main);
  ui.aside = h("div", { class: "lk-aside", "data-at": right ? "right" : "left", hidden: !aside.length }, ...aside, ...(pickerAside ? [ui.picker.node] : []));
  ui.root = h("div", { class: `lk lk-${kind}`, [SHIELD]: "true" },
    h("header", { class: "lk-head" }, ui.question, ui.chip, view.page ? "" : ui.cancel, ui.projector, ui.help), ui.answer, ui.note, ui.error,
    pickerAside ? "" : ui.picker.node, h("div", { class: "lk-stagerow" }, ...(right ? [ui.main, ui.aside] : [ui.aside, ui.main])),
    h("div", { class: "lk-below" }, h("section", { class: "lk-bench", "aria-label": "Settings" }, ...controls),
      h("div", { class: "lk-pictures" }, ui.strip.node, ui.own)), ui.keys);
  el.append(ui.root);
};

const refreshFrame = (view) => {
  const { model, ui, photo, live } = view, status = model.get("status"), error = model.get("error"), there = Boolean(view.find());
  const busy = live && (status === "computing" || model.get("progress") < 1), done = Math.round(100 * model.get("progress"));
  if (ui.root.dataset.theme !== model.get("theme")) { ui.root.dataset.theme = model.get("theme"); layout(view); }
  ui.projector.setAttribute("aria-pressed", String(projected(view)));
  ui.strip.refresh();
  view.toggles.forEach((refresh) => refresh());
  const cut = "The kernel was restarted, and this widget no longer hears it. Run its cell again; until then it shows what it has.";
  const faults = [view.cut ? cut : error, model.get("refused"), view.complaint].filter(Boolean).join("\n");
  setText(ui.error, faults); ui.error.hidden = !faults;
  if (ui.own) ui.own.hidden = !live;
  const left = view.page ? model.get("left_out") : 0;
  ui.chip.hidden = view.page && !left;
  if (left) setText(ui.chip, `${left} answers did not fit into this page`);
  else setText(ui.chip, view.cut ? "no kernel" : status === "computing" ? `computing ${done}%` : busy ? `looking ahead ${done}%` : status);
  ui.chip.dataset.state = view.cut || status === "error" ? "error" : busy ? "busy" : there ? "ready" : "coarse";
  ui.cancel.style.visibility = busy ? "visible" : "hidden";
  ui.root.dataset.waiting = !photo; // nothing of another picture is shown
  if (!photo) return;
  const caption = model.get("captions")[view.state.picture] || {}, { name, truth, note } = caption;
  const title = model.get("heading"), [before, after] = view.question(), words = title ? ["", title, ""] : [before, view.subject(), after];
  if (ui.question.dataset.words !== words.join()) {
    ui.question.replaceChildren(words[0], h("em", {}, words[1]), words[2]);
    ui.question.dataset.words = words.join();
  }
  setText(ui.answer, view.answerText(photo));
  setText(ui.note, note ?? ""); ui.note.hidden = !note;
  if (view.drawnPhoto !== photo) { paintRGB(ui.picture.canvas, photo.rgb, view.width, view.height); view.drawnPhoto = photo; }
  setText(ui.picture.aside, [name, truth && truth !== name ? truth : ""].filter(Boolean).join(" \u00B7 "));
  ui.picture.canvas.setAttribute("aria-label", `Picture ${view.state.picture + 1}: ${name || ""} ${truth || ""}`.trim());
  ui.picture.marks(view.edge);
};

// ---- filling the screen
const projected = (view) => view.model.get("theme").startsWith("projector");

// In a page and on a full screen all of it is used, and the panels are as large as what stands around them allows;
// a notebook gives the width and, to a projector, a height of nine sixteenths of it. Type follows the height.
const layout = (view) => {
  const { ui, el } = view, full = document.fullscreenElement === ui.root, whole = view.page || full;
  const across = full ? innerWidth : el.clientWidth, high = whole ? innerHeight : projected(view) ? Math.round((9 / 16) * across) : 0;
  const fit = across >= 900 && high >= 480, unit = Math.min(high / 100, across / 175);
  const size = projected(view) ? (fit ? Math.max(13, 3 * unit) : 17) : fit ? clamp(1.9 * unit, 13, 24) : view.page ? 15 : 13;
  ui.root.dataset.fit = fit;
  ui.root.style.setProperty("--lk-size", `${size}px`);
  ui.root.style.setProperty("--lk-ratio", view.width / view.height);
  ui.root.style.height = fit ? `${high}px` : "";
  if (fit) fill(view);
  else ui.root.style.removeProperty("--lk-aside-width");
  view.curves.forEach((c) => c.resize());
};

// Columns as many as make the panels largest, each wide enough for its words (`cell` letters of the explorer's);
// an aside gets what they leave. What stands around a panel is measured twice: its words may break otherwise.
const ASIDE = [15, 0.24, 0.45]; // least width in letters and as a share of the row, most as a share
const fill = (view) => {
  const { ui } = view, ratio = view.width / view.height, row = ui.main.parentElement, set = (name, value) => ui.root.style.setProperty(name, value);
  const style = getComputedStyle(ui.main), gap = parseFloat(style.columnGap), above = parseFloat(style.rowGap), em = parseFloat(style.fontSize);
  const cells = [...ui.main.children], count = cells.length, beside = cells[0].querySelectorAll(".lk-stage").length, { clientWidth: all, clientHeight: tall } = row;
  const chrome = (cell) => cell.offsetHeight - cell.querySelector(".lk-stage").offsetHeight;
  const least = ui.aside.hidden ? 0 : Math.max(ASIDE[0] * em, ASIDE[1] * all), wide = all - (least && least + gap);
  const most = clamp(Math.floor((wide + gap) / (view.constructor.cell * em + gap)), 1, count);
  for (let pass = 0; pass < 2; pass++) {
    const extra = Math.max(...cells.map(chrome)), side = (columns) => {
      const rows = Math.ceil(count / columns), cell = (wide - (columns - 1) * gap) / columns;
      return Math.floor(Math.min((cell - (beside - 1) * 0.5 * gap) / beside / ratio, (tall - (rows - 1) * above) / rows - extra));
    };
    const columns = range(most).map((i) => i + 1).reduce((best, k) => (side(k) > side(best) ? k : best)), high = Math.max(48, side(columns));
    const needed = columns * Math.max(beside * high * ratio + (beside - 1) * 0.5 * gap, view.constructor.cell * em) + (columns - 1) * gap;
    set("--lk-columns", columns);
    set("--lk-stage-height", `${high}px`);
    if (least) set("--lk-aside-width", `${clamp(all - gap - needed, least, ASIDE[2] * all)}px`);
  }
  const first = ui.aside.querySelector(".lk-stage");
  if (first) set("--lk-aside-height", `${Math.floor(Math.min(ui.aside.clientWidth / ratio, 0.5 * tall - chrome(first.parentElement)))}px`);
};

const watchLayout = (view) => {
  const { ui, el } = view, again = guarded(el, () => layout(view));
  const seen = new ResizeObserver(again), where = view.page ? document : ui.root;
  for (const node of [el, ui.main.parentElement, ui.aside]) seen.observe(node);
  const pressed = guarded(el, (event) => {
    const { target: node, key } = event, typing = node.tagName === "INPUT" && node.type !== "range";
    if (event.defaultPrevented || typing || ui.keys.open || event.ctrlKey || event.metaKey || event.altKey) return;
    if (view.press(event) || pressKey(view, key)) { event.preventDefault(); event.stopPropagation(); }
  });
  where.addEventListener("keydown", pressed);
  document.addEventListener("fullscreenchange", again);
  addEventListener("resize", again);
  return () => {
    seen.disconnect(); where.removeEventListener("keydown", pressed);
    document.removeEventListener("fullscreenchange", again); removeEventListener("resize", again);
    if (view.recalled) removeEventListener("hashchange", view.recalled);
  };
};

// ---- the keys of every page; true where one was meant
const pressKey = (view, key) => {
  const { model, ui } = view, theme = model.get("theme");
  if (key === "p") setTheme(view, SCHEMES[theme]);
  else if (key === "d") {
    const [r, g, b] = getComputedStyle(ui.root).backgroundColor.match(/[\d.]+/g).map(Number), scheme = r + g + b > 384 ? "dark" : "light";
    setTheme(view, projected(view) ? SCHEMES[scheme] : scheme);
  } else if (key === "f") {
    if (document.fullscreenElement) document.exitFullscreen();
    else ui.root.requestFullscreen?.().catch(() => view.complain("This browser gives no full screen here."));
  } else if (key === "n") view.next();
  else if (key === "?") ui.keys.showModal();
  else return false;
  return true;
};
const setTheme = (view, theme) => { view.send({ theme }); view.note(); };
