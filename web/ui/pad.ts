// How a signature looks: drawn, or the typed name. Both count the same.

import SignaturePad, { Group } from "./vendor/signature_pad.min.js";
import { Appearance } from "./api";
import { h, icon, id } from "./dom";
import { t } from "./words";

/** A Hand takes the signature's appearance. */
export class Hand {
  readonly el: HTMLElement;
  private readonly canvas = h("canvas", { class: "ink", role: "img", "aria-label": t("pad.label") });
  private readonly pad: SignaturePad;
  private readonly typed: HTMLInputElement;
  private readonly draw: HTMLInputElement;
  private readonly type: HTMLInputElement;
  private width = 0;
  private drawing = false;
  private readonly watch: ResizeObserver;

  /** changed is called when something is drawn or typed. Where there is a finger or pen, drawing comes first; where there is a mouse, typing. */
  constructor(name: string, changed: () => void, draws = matchMedia("(pointer: coarse)").matches) {
    const how = id(), field = id();
    this.draw = h("input", { type: "radio", name: how, value: "draw", checked: draws, onchange: () => this.choose() });
    this.type = h("input", { type: "radio", name: how, value: "type", checked: !draws, onchange: () => this.choose() });
    const preview = h("p", { class: "typed-preview", "aria-hidden": "true" });
    this.typed = h("input", {
      id: field, type: "text", autocomplete: "name", maxlength: 100, spellcheck: "false", placeholder: name,
      oninput: () => { preview.textContent = this.typed.value; changed(); },
    });
    const clear = h("button", { type: "button", class: "link", onclick: () => { this.pad.clear(); } }, t("pad.clear"));
    this.el = h("div", { class: "hand" },
      h("fieldset", { class: "choice" }, h("legend", { class: "unseen" }, t("pad.how")),
        h("label", {}, this.draw, h("span", {}, icon("pen"), t("pad.draw"))),
        h("label", {}, this.type, h("span", {}, h("span", { class: "aa", "aria-hidden": "true" }, "Aa"), t("pad.type")))),
      h("div", { class: "drawing" }, h("div", { class: "paper" }, this.canvas, h("span", { class: "line", "aria-hidden": "true" })),
        h("div", { class: "under" }, h("span", { class: "quiet" }, t("pad.hint")), clear)),
      h("div", { class: "typing" }, h("label", { for: field }, t("pad.name")), this.typed, preview));
    this.pad = new SignaturePad(this.canvas, { penColor: "#14224d", minWidth: 0.9, maxWidth: 2.6, minDistance: 3 });
    this.pad.addEventListener("beginStroke", () => { this.drawing = true; changed(); });
    this.pad.addEventListener("endStroke", () => { this.drawing = false; this.size(); });
    this.watch = new ResizeObserver(() => this.size());
    this.watch.observe(this.canvas);
    this.choose();
  }

  close(): void {
    this.watch.disconnect();
    this.pad.off();
  }

  focus(): void {
    this.size(); // now that it has a place on the screen
    (this.draw.checked ? this.draw : this.typed).focus();
  }

  /** toDraw turns to the pad. */
  toDraw(): void {
    this.draw.checked = true;
    this.choose();
    this.focus();
  }

  private choose(): void {
    this.el.classList.toggle("types", this.type.checked);
    this.size();
  }

  /** size follows the pad's place on the screen; what was drawn grows or shrinks with it. */
  private size(): void {
    const { clientWidth: w, clientHeight: hgt } = this.canvas;
    // Clearing the pad under a stroke would leave it deaf: the stroke's end comes back here.
    if (!w || w === this.width || this.drawing) return;
    const data = this.pad.toData(), by = this.width ? w / this.width : 1;
    const density = Math.max(1, window.devicePixelRatio || 1);
    this.canvas.width = w * density;
    this.canvas.height = hgt * density;
    this.canvas.getContext("2d")!.scale(density, density);
    this.width = w;
    this.pad.clear();
    this.pad.fromData(data.map((g: Group) => ({ ...g, points: g.points.map((p) => ({ ...p, x: p.x * by, y: p.y * by })) })));
  }

  /** appearance is what was drawn or typed; null if there is nothing yet. No timing leaves the device. */
  appearance(): Appearance | null {
    if (this.type.checked) {
      const typed = this.typed.value.trim();
      return typed ? { typed } : null;
    }
    if (this.pad.isEmpty()) return null;
    const width = this.canvas.clientWidth, height = this.canvas.clientHeight;
    const within = (n: number, max: number): number => Math.round(Math.max(0, Math.min(max, n)) * 10) / 10;
    const strokes = this.pad.toData().map((g) => g.points.map((p) => ({ x: within(p.x, width), y: within(p.y, height) })));
    return { strokes: strokes.filter((s) => s.length), width, height };
  }
}
