// What is no PDF, as far as a page can show it: a text, a picture, or the words
// that it cannot.

import { Doc } from "./api";
import { Bytes } from "./bytes";
import { h, icon } from "./dom";
import { size, t } from "./words";

/** plain shows a file whole, or says that its signatory needs a program of their own. */
export async function plain(d: Doc, bytes: Bytes): Promise<HTMLElement> {
  try {
    if (d.sight === "text") return text(bytes);
    if (d.sight === "picture") return await picture(d, bytes);
  } catch { d.sight = "file"; /* it is not what it calls itself */ }
  return h("div", { class: "nosight" }, icon("file"), h("div", {},
    h("p", {}, h("strong", {}, d.name), h("span", { class: "quiet" }, " ", size(d.size))),
    h("p", {}, h("code", { class: "block" }, "SHA-256 ", d.sha256)),
    h("p", {}, t("plain.file"))));
}

/** text is escaped by being text; characters that nobody would see are named. */
function text(bytes: Bytes): HTMLElement {
  const all = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes).replace(/\r\n?|\f/g, "\n");
  const pre = h("pre", { class: "plain" });
  let at = 0;
  for (const m of all.matchAll(/[\p{Cf}\p{Zl}\p{Zp}]/gu)) {
    pre.append(all.slice(at, m.index), h("mark", { title: t("plain.invisible") }, "U+" + m[0].codePointAt(0)!.toString(16).toUpperCase().padStart(4, "0")));
    at = m.index + m[0].length;
  }
  pre.append(all.slice(at));
  return pre;
}

async function picture(d: Doc, bytes: Bytes): Promise<HTMLElement> {
  const url = URL.createObjectURL(new Blob([bytes], { type: d.type }));
  const img = h("img", { class: "picture", alt: t("plain.picture", { name: d.name }), src: url });
  try {
    await img.decode();
  } catch (e) {
    URL.revokeObjectURL(url);
    throw e;
  }
  return img;
}
