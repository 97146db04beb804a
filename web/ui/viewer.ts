// The documents, as pdf.js draws them: every page when it comes into sight,
// with a text layer for search, copying and screen readers.

import { Doc, Loaded, Prepared, Refused, Shown, load } from "./api";
import { Bytes } from "./bytes";
import { h, icon, say } from "./dom";
import { assets, size, t } from "./words";
import { failure } from "./failure";
import { plain } from "./plain";

// The parts of pdf.js that are used here.
interface Viewport { width: number; height: number; scale: number }
interface PdfPage {
  getViewport(o: { scale: number }): Viewport;
  render(o: object): { promise: Promise<void>; cancel(): void };
  streamTextContent(): ReadableStream;
}
interface Pdf { numPages: number; getPage(n: number): Promise<PdfPage> }
interface PdfJs {
  GlobalWorkerOptions: { workerPort: Worker };
  getDocument(o: object): { promise: Promise<Pdf> };
  TextLayer: new (o: object) => { render(): Promise<void>; cancel(): void };
}

let library: Promise<PdfJs> | undefined;

function pdfjs(): Promise<PdfJs> {
  return (library ??= (async () => {
    const lib: PdfJs = await import(assets + "/pdfjs/pdf.min.mjs");
    // Trusted Types: the one script address that this page makes.
    const address = assets + "/pdfjs/pdf.worker.min.mjs";
    const policy = (window as any).trustedTypes?.createPolicy("milterd", { createScriptURL: () => address });
    lib.GlobalWorkerOptions.workerPort = new Worker(policy ? policy.createScriptURL("") : address, { type: "module" });
    return lib;
  })());
}

interface Opened extends Loaded { pages: PdfPage[] }

/** parse has pdf.js read a file. */
async function parse(bytes: Bytes): Promise<PdfPage[]> {
  const lib = await pdfjs(), base = location.origin + assets + "/pdfjs/";
  let pdf: Pdf;
  try {
    pdf = await lib.getDocument({
      data: bytes.slice(), // pdf.js keeps what it gets, and we keep what was hashed
      cMapUrl: base + "cmaps/", cMapPacked: true, standardFontDataUrl: base + "standard_fonts/",
      wasmUrl: base + "wasm/", iccUrl: base + "iccs/", useWorkerFetch: true, isEvalSupported: false,
      enableXfa: false, stopAtErrors: false,
    }).promise;
  } catch {
    throw new Refused("unreadable", "");
  }
  const pages: PdfPage[] = [];
  for (let n = 1; n <= pdf.numPages; n++) pages.push(await pdf.getPage(n));
  return pages;
}

// Documents outlive a redrawing of the page: another language loads nothing anew.
const cache = new Map<number, Promise<Opened>>();

function open(d: Doc): Promise<Opened> {
  let p = cache.get(d.index);
  if (!p) {
    p = (async () => {
      const [, file] = await Promise.all([d.sight ? null : pdfjs(), load(d)]);
      return { ...file, pages: d.sight ? [] : await parse(file.bytes) };
    })();
    p.catch(() => cache.delete(d.index));
    cache.set(d.index, p);
  }
  return p;
}

/** forget drops what was loaded, after it has changed. */
export const forget = (): void => cache.clear();

/** save hands a document to the browser's downloads. */
export function save(d: Doc, bytes: Uint8Array<ArrayBuffer>): void {
  const url = URL.createObjectURL(new Blob([bytes], { type: d.form ? "application/octet-stream" : "application/pdf" }));
  const a = h("a", { href: url, download: d.result ?? d.name });
  document.body.append(a);
  a.click();
  a.remove();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

const zooms = [1, 1.25, 1.5, 2, 3];

/** A Sheet is one page of a document in the column. */
class Sheet {
  readonly el = h("div", { class: "page" });
  private task?: { cancel(): void };
  private drawn = 0;

  constructor(private readonly page: PdfPage, private readonly lib: PdfJs, label: string) {
    this.el.setAttribute("role", "group");
    this.el.setAttribute("aria-label", label);
  }

  /** fit gives the page its place before anything is drawn, so that nothing jumps. */
  fit(width: number): void {
    const scale = width / this.page.getViewport({ scale: 1 }).width;
    const v = this.page.getViewport({ scale });
    this.el.style.width = v.width + "px";
    this.el.style.height = v.height + "px";
    this.el.style.setProperty("--total-scale-factor", String(scale));
    this.el.dataset.scale = String(scale);
  }

  async draw(): Promise<void> {
    const scale = Number(this.el.dataset.scale);
    if (this.drawn === scale) return;
    this.clear();
    this.drawn = scale;
    const v = this.page.getViewport({ scale });
    // A phone's memory bounds the canvas: at most 12 million pixels.
    const density = Math.min(window.devicePixelRatio || 1, Math.sqrt(12e6 / (v.width * v.height)));
    const canvas = h("canvas", { "aria-hidden": "true" });
    canvas.width = Math.floor(v.width * density);
    canvas.height = Math.floor(v.height * density);
    const text = h("div", { class: "textLayer" });
    const render = this.page.render({ canvas, viewport: v, transform: density === 1 ? null : [density, 0, 0, density, 0, 0] });
    const layer = new this.lib.TextLayer({ textContentSource: this.page.streamTextContent(), container: text, viewport: v });
    this.task = { cancel: () => { render.cancel(); layer.cancel(); } };
    this.el.append(canvas, text);
    try {
      await Promise.all([render.promise, layer.render()]);
      if (this.drawn === scale) this.el.classList.add("drawn");
    } catch { /* cancelled: it left the sight again */ }
  }

  clear(): void {
    this.task?.cancel();
    this.task = undefined;
    const canvas = this.el.querySelector("canvas");
    if (canvas) canvas.width = canvas.height = 0; // gives the memory back at once
    this.el.replaceChildren();
    this.el.classList.remove("drawn");
    this.drawn = 0;
  }
}

/** A Viewer shows documents below each other. */
export class Viewer {
  readonly el = h("div", { class: "viewer" });
  readonly shown: Shown[] = [];
  /** ready resolves when every document was loaded, checked and laid out; false if one must not be signed. */
  readonly ready: Promise<boolean>;
  private zoom = 0;
  private closed = false;
  private readonly sheets = new Map<Element, Sheet>();
  private readonly columns: { document: Doc; host: HTMLElement; file: Opened; sheets: Sheet[]; state: HTMLElement }[] = [];
  private readonly place = h("span", { class: "place" });
  private readonly sight: IntersectionObserver;
  private readonly resize: ResizeObserver;
  private readonly smaller = h("button", { type: "button", class: "tool", "aria-label": t("zoom.out"), onclick: () => this.step(-1) }, icon("minus"));
  private readonly larger = h("button", { type: "button", class: "tool", "aria-label": t("zoom.in"), onclick: () => this.step(1) }, icon("plus"));
  private width = 0;

  constructor(docs: Doc[]) {
    this.sight = new IntersectionObserver((seen) => {
      for (const e of seen) {
        const s = this.sheets.get(e.target)!;
        if (e.isIntersecting) void s.draw();
        else s.clear();
      }
    }, { rootMargin: "900px 0px" });
    this.resize = new ResizeObserver(() => {
      if (Math.abs(this.el.clientWidth - this.width) > 1) this.layout();
    });
    // Only pages have a number and a size.
    if (docs.some((d) => !d.sight)) this.el.append(h("div", { class: "toolbar", role: "toolbar", "aria-label": t("zoom") }, this.place, this.smaller, this.larger));
    this.smaller.disabled = true;
    const parts = docs.map((d) => this.section(d));
    this.ready = (async () => {
      let good = true;
      for (const p of parts) good = (await p()) && good; // one after the other: the first is wanted first
      return good;
    })();
    this.resize.observe(this.el);
    addEventListener("scroll", this.track, { passive: true });
  }

  close(): void {
    this.closed = true;
    this.sight.disconnect();
    this.resize.disconnect();
    removeEventListener("scroll", this.track);
    for (const s of this.sheets.values()) s.clear();
  }

  /** section adds a document's head and place, and returns what loads it. */
  private section(d: Doc): () => Promise<boolean> {
    const title = "doc" + d.index;
    const state = h("div", { class: "check" }, h("span", { class: "spin", "aria-hidden": "true" }), t("doc.loading"));
    // The mailed document's pages; signature pages count once they are seen.
    const facts = h("p", { class: "quiet" }, [d.pages > 0 && t("pages", { n: d.pages }), size(d.head_size)].filter(Boolean).join(" · "));
    const column = h("div", { class: "pages", tabindex: "0", role: "group", "aria-label": t("doc.pages-of", { name: d.name }) });
    column.append(h("div", { class: "page waiting" }));
    const download = h("button", { type: "button", class: "tool named", disabled: true }, icon("down"), t("download"));
    this.el.append(h("section", { class: "doc", "aria-labelledby": title },
      h("div", { class: "doc-head" },
        h("div", { class: "doc-name" }, h("h2", { id: title }, d.name),
          facts),
        download),
      state, ...notes(d), column));
    return async () => {
      try {
        const file = await open(d);
        this.shown.push(file.shown);
        const c = { document: d, host: column, file, sheets: [], state };
        this.say(c, digests(d, file));
        facts.textContent = [d.sight ? d.type : t("pages", { n: file.pages.length }), size(d.head_size)].filter(Boolean).join(" · ");
        download.disabled = false;
        download.addEventListener("click", () => save(d, file.bytes));
        this.columns.push(c);
        if (d.sight) column.replaceChildren(await plain(d, file.bytes));
        else await this.fill(c, file.pages);
        this.track();
        if (!file.genuine) say(t("doc.wrong"));
        return file.genuine;
      } catch (e) {
        column.remove();
        state.replaceWith(h("p", { class: "notice bad", role: "alert" }, icon("alert"), h("span", {}, failure(e))));
        return false;
      }
    };
  }

  /** fill puts the pages of a file into a document's column. */
  private async fill(c: Viewer["columns"][number], pages: PdfPage[]): Promise<void> {
    const lib = await pdfjs();
    for (const s of c.sheets) {
      this.sight.unobserve(s.el);
      this.sheets.delete(s.el);
      s.clear();
    }
    c.sheets = pages.map((p, i) => new Sheet(p, lib, t("page", { i: i + 1, of: pages.length })));
    c.host.replaceChildren(...c.sheets.map((s) => s.el));
    this.layout();
    for (const s of c.sheets) {
      this.sheets.set(s.el, s);
      this.sight.observe(s.el);
    }
  }

  /** say puts what is shown of a document into words above it. */
  private say(c: Viewer["columns"][number], words: HTMLElement): void {
    c.state.replaceWith(words);
    c.state = words;
  }

  document(index: number): Doc | undefined { return this.columns.find((c) => c.document.index === index)?.document; }

  /** bytes are those of a document as it was shown. */
  bytes(document: number): Bytes | undefined { return this.columns.find((c) => c.document.index === document)?.file.bytes; }

  /** preview shows a document's next revision in the place of the loaded one, and says so. */
  async preview(p: Prepared, bytes: Bytes): Promise<void> {
    const c = this.columns.find((c) => c.document.index === p.document)!;
    await this.fill(c, await parse(bytes));
    this.say(c, prepared(c.document, p));
  }

  /** restore shows all documents as they were loaded. */
  async restore(): Promise<void> {
    for (const c of this.closed ? [] : this.columns) {
      if (!c.document.sight) await this.fill(c, c.file.pages);
      this.say(c, digests(c.document, c.file));
    }
  }

  private layout(): void {
    this.width = this.el.clientWidth;
    for (const c of this.columns) {
      const room = Math.min(c.host.clientWidth, 920) * zooms[this.zoom];
      for (const s of c.sheets) {
        s.fit(Math.floor(room));
        if (s.el.classList.contains("drawn")) void s.draw();
      }
    }
  }

  private step(by: number): void {
    const at = scrollY / document.documentElement.scrollHeight;
    this.zoom = Math.max(0, Math.min(zooms.length - 1, this.zoom + by));
    this.smaller.disabled = this.zoom === 0;
    this.larger.disabled = this.zoom === zooms.length - 1;
    this.layout();
    scrollTo({ top: at * document.documentElement.scrollHeight, behavior: "instant" });
    say(t("zoom.now", { percent: zooms[this.zoom] * 100 }));
  }

  /** track says which page is in the middle of the window. */
  private readonly track = (): void => {
    const middle = innerHeight / 2;
    for (const c of this.columns) {
      for (let i = c.sheets.length - 1; i >= 0; i--) {
        const r = c.sheets[i].el.getBoundingClientRect();
        if (r.top <= middle && r.bottom > 0) {
          this.place.textContent = t("page", { i: i + 1, of: c.sheets.length });
          if (r.bottom > middle) return;
          break;
        }
      }
    }
    const first = this.columns.find((c) => c.sheets.length);
    if (!this.place.textContent && first) this.place.textContent = t("page", { i: 1, of: first.sheets.length });
  };
}

/** notes are what the signatory must know before signing: active content and the like. */
export function notes(d: Doc): HTMLElement[] {
  const all = [...(d.source ? [t("doc.converted", { name: d.source, maker: d.maker ?? "" })] : []), ...(d.signed ? [t("doc.signed-before")] : []), ...(d.notes ?? []).map((n) => t("note." + n) === "note." + n ? n : t("note." + n))];
  return all.map((n) => h("p", { class: "notice" }, icon("alert"), h("span", {}, n)));
}

const short = (digest: string): string => digest.slice(0, 8) + " … " + digest.slice(-8);

/** genuine names what a document that passed the check is. */
function genuine(d: Doc): string {
  if (d.kind === "report" || d.result) return "report";
  return d.head === "original" ? "genuine" : "genuine-inside";
}

/** prepared says of a revision that waits for a signature what it is. */
function prepared(d: Doc, p: Prepared): HTMLElement {
  return h("details", { class: "check good" },
    h("summary", {}, icon("pen"), h("span", { class: "lines" }, h("span", {}, t("doc.prepared")), h("code", {}, short(p.sha256)))),
    h("dl", { class: "digests" },
      h("dt", {}, t("digest.original")), h("dd", {}, h("code", {}, d.sha256)),
      h("dt", {}, t("digest.prepared", { revision: p.revision + 1 })), h("dd", {}, h("code", {}, p.sha256))),
    h("p", { class: "quiet" }, t("digest.prepared.why")));
}

/** digests says what the page itself has computed, and what that means. */
export function digests(d: Doc, f: Loaded): HTMLElement {
  if (!f.genuine) return h("p", { class: "notice bad", role: "alert" }, icon("alert"), h("span", {}, t("doc.wrong")));
  return h("details", { class: "check good" },
    h("summary", {}, icon("check"), h("span", { class: "lines" }, h("span", {}, t("doc." + genuine(d))), h("code", {}, short(genuine(d) === "report" ? f.shown.sha256 : d.sha256)))),
    h("dl", { class: "digests" },
      ...(d.kind === "report" ? [] : [h("dt", {}, t("digest.original")), h("dd", {}, h("code", {}, d.sha256))]),
      h("dt", {}, t("digest.shown", { revision: f.shown.revision })), h("dd", {}, h("code", {}, f.shown.sha256))),
    d.kind !== "report" && h("p", { class: "quiet" }, t("digest.why")));
}
