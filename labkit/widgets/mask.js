// The mask explorer: an area to drag, the mask, what it leaves of the picture, and the score over the area.

class Masks extends AnswerView {
  constructor(model, el) {
    super(model, el, ["picture", "target", "mode", "stop", "truth"]);
    this.areas = model.get("areas");
    const ui = (this.ui = {});
    ui.picture = plainPanel(this, "Picture", "picture");
    ui.mask = plainPanel(this, "Mask", "mask");
    ui.left = plainPanel(this, "What it sees", "left");
    ui.curve = curve("Area of the mask", guarded(el, (stop) => this.set({ stop })));
    ui.says = h("div", { class: "lk-says", "aria-live": "polite" });
    const chart = h("figure", { class: "lk-panel lk-compared lk-chart", "data-panel": "curve" },
      h("figcaption", {}, h("b", {}, "Score"),
        h("span", {}, h("i", { class: "lk-key lk-key-preserve" }, "preserve"), h("i", { class: "lk-key lk-key-delete" }, "delete"))), ui.curve.node, ui.says);
    ui.area = stopSlider("Area", (i) => percent(this.areas[i]), guarded(el, (stop) => this.set({ stop })));
    ui.modes = ["preserve", "delete"].map((mode) => h("button", { class: "lk-button", type: "button", role: "radio", "data-mode": mode,
      title: mode === "preserve" ? "Only the mask is left: which part suffices?" : "The mask is taken away: which part is needed?",
      onclick: guarded(el, () => this.set({ mode })) }, mode === "preserve" ? "Preserve" : "Delete"));
    ui.truth = h("button", { class: "lk-button", type: "button", "aria-pressed": "false", title: "Outline the true region", onclick: guarded(el, () => this.set({ truth: !this.state.truth })) }, "Truth");
    frame(this, "lk-masks", h("div", { class: "lk-panels lk-four" }, ui.picture.node, ui.mask.node, ui.left.node, chart),
      h("section", { class: "lk-bench", "aria-label": "Mask" }, h("div", { class: "lk-area" }, ui.area.node),
        h("div", { class: "lk-buttons" }, h("div", { class: "lk-modes", role: "radiogroup", "aria-label": "What the mask does", onkeydown: (event) => radioKeys(event) }, ...ui.modes),
          model.get("measured") ? ui.truth : "")));
    this.open();
  }

  keep(answer) {
    const masks = bytes(answer.data), shown = bytes(answer.shown);
    this.answers.set([answer.picture, answer.target, answer.mode].join(), { ...answer, masks, shown });
  }
  get answer() { return this.answers.get([this.state.picture, this.target, this.state.mode].join()); }
  other(mode) { return this.answers.get([this.state.picture, this.target, mode].join()); }
  // in a saved page: is any mask of this class there for the picture on view?
  known(target) {
    return this.model.get("live") || [...this.answers.values()].some((a) => a.picture === this.state.picture && a.target === target);
  }

  draw() {
    const { ui, state, width, height, areas } = this, answer = this.answer, photo = this.photo, live = this.model.get("live");
    const keeps = state.mode === "preserve";
    refreshFrame(this, keeps ? ["Which part of the picture suffices for ", "?"] : ["Which part of the picture is needed for ", "?"], Boolean(answer));
    ui.area.set(areas.length, state.stop, () => Boolean(answer));
    ui.modes.forEach((button) => {
      button.setAttribute("aria-checked", String(button.dataset.mode === state.mode));
      button.setAttribute("aria-pressed", String(button.dataset.mode === state.mode));
      button.disabled = !live && !this.other(button.dataset.mode);
    });
    ui.truth.setAttribute("aria-pressed", String(state.truth));
    if (!photo) return;
    if (this.photoDrawn !== photo) { paintRGB(ui.picture.canvas, photo.rgb, width, height); this.photoDrawn = photo; }
    const caption = this.model.get("captions")[state.picture] || {};
    setText(ui.picture.aside, [caption.name, caption.truth && caption.truth !== caption.name ? caption.truth : ""].filter(Boolean).join(" \u00B7 "));
    const chance = photo.p[this.target], name = this.className(this.target);
    setText(ui.picture.foot, `${name} ${percent(chance)}`);
    const edge = state.truth && photo.mask ? (photo.edge ??= outline(photo.mask, width, height)) : "";
    for (const panel of [ui.picture, ui.mask, ui.left]) panel.marks.set(edge);
    const word = answer ? "" : !live ? "not in this saved page" : this.model.get("status") === "stopped" ? "stopped" : "searching \u2026";
    for (const panel of [ui.mask, ui.left]) { setText(panel.wait, word); panel.canvas.style.visibility = answer ? "visible" : "hidden"; }
    this.drawCurve(answer, chance);
    if (!answer) { for (const panel of [ui.mask, ui.left]) { setText(panel.aside, ""); setText(panel.foot, ""); } setText(ui.says, ""); return; }
    const i = state.stop, size = width * height, mask = answer.masks.subarray(i * size, (i + 1) * size);
    if (this.maskDrawn !== answer || this.stopDrawn !== i || this.modeDrawn !== photo) {
      const rgb = new Uint8Array(3 * size);
      for (let k = 0; k < size; k++) {
        const kept = mask[k] / 255, bright = 1 - 0.82 * (1 - kept); // dark where the mask is not
        for (let c = 0; c < 3; c++) rgb[3 * k + c] = bright * (kept * photo.rgb[3 * k + c] + (1 - kept) * 255 * photo.grey[k]);
      }
      paintRGB(ui.mask.canvas, rgb, width, height);
      paintRGB(ui.left.canvas, answer.shown.subarray(3 * i * size, 3 * (i + 1) * size), width, height);
      this.maskDrawn = answer; this.stopDrawn = i; this.modeDrawn = photo;
    }
    setText(ui.mask.aside, `area ${percent(answer.achieved[i])}`);
    setText(ui.mask.foot, answer.iou.length ? `IoU with the truth ${answer.iou[i].toFixed(2)}` : "no truth for this picture");
    if (!this.model.get("measured")) setText(ui.mask.foot, keeps ? "bright is left" : "bright is taken away");
    setText(ui.left.foot, `${name} ${percent(answer.p[i])}`);
    setText(ui.left.aside, answer.best[i] === this.target ? "" : `named ${this.className(answer.best[i])}`);
    const enough = answer.best.findIndex((best) => (best === this.target) === keeps);
    setText(ui.says, enough < 0 ? (keeps ? `No area here suffices for ${name}.` : `No area here destroys ${name}.`)
      : keeps ? `${percent(areas[enough])} of the picture suffices for ${name}.` : `Without ${percent(areas[enough])} of the picture it is no ${name}.`);
  }

  drawCurve(answer, chance) {
    const areas = this.areas, most = areas[areas.length - 1], shares = areas.map((a) => Math.sqrt(a / most));
    let free = -1; // up to where the axis is taken
    const labels = areas.map((a, i) => (shares[i] < free ? "" : ((free = shares[i] + 0.11), `${Math.round(100 * a)}%`)));
    const line = (mode) => ({ name: mode, color: mode === "preserve" ? "var(--lk-accent)" : "var(--lk-positive)", strong: mode === this.state.mode, values: this.other(mode)?.p ?? [] });
    const p = answer ? percent(answer.p[this.state.stop]) : "not known yet";
    this.ui.curve.draw({ shares, labels, span: [0, 1], level: chance, chosen: this.state.stop,
      lines: [this.state.mode === "preserve" ? "delete" : "preserve", this.state.mode].map(line), text: `area ${percent(areas[this.state.stop])}, probability ${p}` });
  }
}

export default {
  render({ model, el }) {
    let view = null;
    guarded(el, () => { view = new Masks(model, el); el.explorer = view; })();
    return () => { if (view) clearTimeout(view.greet); };
  },
};
