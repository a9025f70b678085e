// The view of every explorer: what is asked and known, the page around the panels, theme, keys, address.

const SCHEMES = { auto: "projector", light: "projector-light", dark: "projector-dark", projector: "auto", "projector-light": "light", "projector-dark": "dark" };

// JupyterLab opens a side channel to the kernel for widgets a moment after the first one is shown. What is sent
// before waits behind the cells that run, and all later messages behind it: so be silent at first.
const GREETING = 1000;
const PAGE_KEEPS = 400; // answers
const KEYS = [["p", "projector: large type, the whole screen"], ["f", "full screen"], ["n", "next picture"], ["d", "dark or light"], ["?", "these keys"]];

// a JavaScript error must be seen: every runner of notebooks passes a blank output
const showError = (el, error) => {
  console.error(error);
  el.append(h("pre", { class: "lk-fault", role: "alert" }, `This widget met an error of its own.\n${error && error.stack ? error.stack : error}`));
};
const guarded = (el, f) => (...args) => {
  try { return f(...args); } catch (error) { showError(el, error); return undefined; }
};

// An explorer names its `traits`, and in `asks` those that tell its answers apart beside picture and class. It
// builds its parts once (`build`), says its question and the answer to it, and paints what is on view (`paint`).
class View {
  static kind = ""; static traits = []; static asks = []; static keys = []; static cell = 9;

  constructor(model, el) {
    Object.assign(this, { model, el, photos: new Map(), answers: new Map(), state: {}, toggles: [], curves: [], cut: false, complaint: "", version: 0 });
    [this.height, this.width] = model.get("size");
    this.page = !model.get("live");
    for (const key of ["picture", "target", "truth", ...this.constructor.traits]) {
      this.state[key] = model.get(key);
      model.on(`change:${key}`, guarded(el, () => { if (this.state[key] !== model.get(key)) { this.state[key] = model.get(key); this.draw(); } }));
    }
    this.ui = {};
    buildFrame(this, this.build());
    (model.get("saved") || []).forEach((answer) => this.take(answer));
    for (const key of ["photo", "delivery"]) {
      this.take(model.get(key));
      model.on(`change:${key}`, guarded(el, () => { this.take(model.get(key)); this.draw(); }));
    }
    for (const key of ["status", "error", "refused", "progress", "captions", "theme"]) model.on(`change:${key}`, guarded(el, () => this.draw()));
    // JupyterLab says so of every widget when its kernel is restarted; what is there stays alive
    model.on("comm_live_update", guarded(el, () => { this.cut = true; this.draw(); }));
    if (this.page) this.openPage();
    this.unwatch = watchLayout(this);
    this.draw();
    layout(this);
    if (!this.page) this.greet = setTimeout(guarded(el, () => { this.greeted = true; this.send({ watched: model.get("watched") + 1 }); }), GREETING);
  }
  close() {
    clearTimeout(this.greet);
    this.unwatch();
    if (this.greeted && !this.cut) this.send({ left: this.model.get("left") + 1 });
  }

  // ---- what the hand asks for
  send(changes) { for (const [key, value] of Object.entries(changes)) this.model.set(key, value); this.model.save_changes(); }
  set(changes) { this.forgive(); Object.assign(this.state, changes); this.draw(); this.send(changes); this.note(); }
  show(picture) { this.set({ picture, target: this.targetOf(picture) ?? -1 }); }
  placeOf(picture) { return picture; } // the one of the strip that stands for it
  offers(picture) { return this.targetOf(picture) !== undefined && this.placeOf(picture) === picture; }
  next() {
    const count = this.model.get("captions").length, there = range(count).filter((i) => this.offers(i));
    this.show(there[(there.indexOf(this.placeOf(this.state.picture)) + 1) % there.length]);
  }

  // ---- drawing: an explorer's `paint` is called where there is a picture
  draw() { refreshFrame(this); if (this.photo) this.paint(this.photo); }
  question() { return ["What speaks for ", "?"]; }
  subject() { return this.className(this.target); } // what the question is about
  answerText() { return ""; }
  press() { return false; }
  own() { return ownPhotograph(this); } // how pictures of one's own come in
  // the outline of the truth, where it is asked for
  get edge() { const photo = this.photo; return this.state.truth && photo?.mask ? (photo.edge ??= outline(photo.mask, this.width, this.height)) : ""; }
  get truthToggle() { return this.model.get("measured") ? [toggle(this, "Truth", "truth", "Outline the true region")] : []; }
  // the word in a panel whose answer is not there
  get waitWord() { return !this.live ? "not computed" : this.model.get("status") === "stopped" ? "stopped" : "computing \u2026"; }

  // ---- what is known
  get live() { return !this.page && !this.cut; }
  get photo() { return this.photos.get(this.state.picture); }
  get target() { return this.classOf(this.state); }
  classOf({ picture, target }) { return target >= 0 ? target : this.photos.get(picture)?.top[0] ?? -1; }
  className(index) { return this.model.get("classes")[index] ?? `class ${index}`; }
  take(answer) {
    if (!answer || !answer.kind) return;
    this.version += 1;
    if (answer.kind !== "photo") { this.keep(this.unpack(answer)); return; }
    const rgb = bytes(answer.data), mask = bytes(answer.mask), p = answer.logits.map((logit) => Math.exp(logit - answer.total));
    this.photos.set(answer.picture, { ...answer, rgb, p, grey: greys(rgb), mask: mask.length ? mask : null });
  }
  unpack(answer) { return answer; }
  keep(answer) {
    const key = this.keyOf(answer);
    this.answers.delete(key); this.answers.set(key, answer);
    if (this.live && this.answers.size > PAGE_KEEPS) this.answers.delete(this.answers.keys().next().value);
  }
  keyOf(setting) { return ["picture", "target", ...this.constructor.asks].map((name) => setting[name]).join("|"); }
  // the answer to the setting on view, or to it with changes
  find(changes = {}) { const setting = { ...this.state, ...changes }; return this.answers.get(this.keyOf({ ...setting, target: this.classOf(setting) })); }
  // what is not known is offered only where a kernel can compute it
  known(changes) { return this.live || Boolean(this.find(changes)); }
  // the classes that a saved answer is about
  about(answer) { return [answer.target]; }
  // the class to start with at a picture: -1, the one that is named, or one that was saved; undefined: not offered
  targetOf(picture) {
    if (this.live) return -1;
    if (!this.photos.has(picture)) return undefined;
    return [-1, ...new Set([...this.answers.values()].flatMap((a) => this.about(a)))].find((target) => this.known({ picture, target }));
  }

  // ---- a saved page: begin where something is known, and keep the setting in the address
  openPage() {
    this.settle();
    this.first = { ...this.state, theme: this.model.get("theme") };
    this.recall();
    addEventListener("hashchange", this.recalled = guarded(this.el, () => { this.recall(); this.draw(); }));
  }
  settle() {
    const names = ["picture", "target", ...this.constructor.asks];
    for (const answer of [{}, ...this.answers.values()]) {
      const changes = Object.fromEntries(names.filter((n) => n in answer && n in this.state).map((n) => [n, answer[n]]));
      if (this.known(changes)) { Object.assign(this.state, changes); return; }
    }
  }
  // legal values of a setting, a list of numbers among them being a place in the picture
  choices() { return { picture: range(this.model.get("captions").length), target: [-1, ...range(this.model.get("classes").length)] }; }
  legal(key, value) {
    const own = this.choices()[key], now = this.first[key];
    if (own) return [value].flat().every((item) => own.includes(item));
    if (Array.isArray(now)) return value.length === 0 || (value.length === 2 && value.every((v, i) => Number.isInteger(v) && v >= 0 && v < [this.width, this.height][i]));
    return typeof value === typeof now;
  }
  recall() {
    const said = new URLSearchParams(location.hash.slice(1)), plain = (word) => (word !== "" && Number.isFinite(Number(word)) ? Number(word) : word);
    const wanted = {};
    for (const [key, now] of Object.entries(this.first)) {
      if (key === "theme") continue;
      const text = said.get(key), value = text === null ? now : Array.isArray(now) ? (text ? text.split(",").map(plain) : []) : typeof now === "boolean" ? text === "true" : this.choices()[key]?.includes(text) ? text : plain(text);
      if (text === null || this.legal(key, value)) wanted[key] = value;
    }
    if (this.known(wanted)) Object.assign(this.state, wanted);
    else for (const [key, value] of Object.entries(wanted)) if (this.known({ [key]: value })) this.state[key] = value;
    const theme = said.get("theme") ?? this.first.theme;
    if (theme in SCHEMES && theme !== this.model.get("theme")) this.model.set("theme", theme);
    for (const [key, value] of Object.entries(this.state)) this.model.set(key, value);
  }
  note() {
    if (!this.page) return;
    clearTimeout(this.noting); // browsers refuse to be told at every step of a drag
    this.noting = setTimeout(() => {
      const now = { ...this.state, theme: this.model.get("theme") };
      const said = Object.keys(now).filter((key) => String(now[key]) !== String(this.first[key])).map((key) => `${key}=${encodeURIComponent(now[key]).replaceAll("%2C", ",")}`);
      try { history.replaceState(null, "", said.length ? `#${said.join("&")}` : location.pathname + location.search); } catch { /* a page inside a page may have no address */ }
    }, 120);
  }

  // what the hand did in vain is said until its next act, whatever is computed and drawn meanwhile
  complain(text) { this.complaint = text; this.draw(); }
  forgive() { this.complaint = ""; if (this.model.get("refused")) this.send({ refused: "" }); }
}

const explorer = (Kind) => ({
  render({ model, el }) {
    let view = null;
    guarded(el, () => { view = new Kind(model, el); el.explorer = view; view.ui.root.explorer = view; })();
    return () => { if (view) guarded(el, () => view.close())(); };
  },
});
