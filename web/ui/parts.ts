// Pieces that several scenes share.

import { Doc, Visit, load } from "./api";
import { busy, h, icon } from "./dom";
import { failure } from "./failure";
import { Viewer, digests, save } from "./viewer";
import { day, size, t, when } from "./words";

interface Outcome { icon: string; mood: string; title: string; text: string; comment?: string }

/** outcome says in one line and one sentence how things stand for this visitor. */
export function outcome(v: Visit, away: boolean): Outcome {
  const [made, asked] = v.signatures;
  const say = (key: string, ico: string, mood: string, values = {}): Outcome =>
    ({ icon: ico, mood, title: t(`state.${key}.title`, values), text: t(`state.${key}`, values) });
  if (v.purged) return say("purged", "file", "still");
  switch (v.state) {
    case "done": return say(v.download ? "done-download" : "done", "seal", "good");
    case "sealing": return say("sealing", "seal", "work");
    case "preparing": return say("preparing", "clock", "work");
    case "expired": return say("expired", "clock", "still", { day: day(v.deadline) });
    case "cancelled": return { ...say("cancelled", "cross", "still"), comment: v.reason };
    case "declined": {
      const by = v.people?.find((p) => p.state === "declined");
      const o = by?.you ? say("declined-you", "cross", "still") : say("declined", "cross", "still", { name: by?.name ?? t("somebody") });
      return { ...o, comment: by?.comment };
    }
  }
  if (v.who.state === "signing") return say(away ? "signing-away" : "signing", away ? "clock" : "pen", "work");
  if (v.who.state === "signed") return say("signed", "check", "good", { n: asked - made });
  return say("waiting", "clock", "still", { n: asked - made });
}

/** facts are the documents by name, with what one wants to know of a file. */
export function facts(v: Visit): HTMLElement {
  return h("ul", { class: "files" }, ...(v.documents ?? []).filter((d) => d.kind === "mailed").map((d) =>
    h("li", {}, icon("file"), h("span", {}, d.name, h("span", { class: "quiet" }, " ", d.pages > 0 ? t("pages", { n: d.pages }) + " · " : "", size(d.size))))));
}

/** details is everything that a careful reader asks for. */
export function details(v: Visit, ...more: HTMLElement[]): HTMLElement {
  const row = (key: string, ...value: (string | HTMLElement)[]): HTMLElement[] => [h("dt", {}, t("detail." + key)), h("dd", {}, ...value)];
  return h("details", { class: "more" }, h("summary", {}, t("detail.title")),
    ...more,
    h("dl", {},
      ...row("sender", `${v.sender.name} (${v.sender.mail})`),
      ...row("you", `${v.who.name} (${v.who.mail})`),
      ...row("level", h("strong", {}, t("level." + v.level)), " – " + t(`level.${v.level}.means`, { organisation: v.organisation })),
      ...row("asked", when(v.created)),
      ...row("deadline", when(v.deadline)),
      ...(v.documents ?? []).filter((d) => d.kind === "mailed").flatMap((d) => row("digest", d.name, h("code", { class: "block" }, d.sha256))),
      ...row("session", h("code", {}, v.session))));
}

/** people is who was asked and what they answered. */
export function people(v: Visit): HTMLElement {
  const marks: Record<string, string> = { signed: "check", signing: "pen", declined: "cross", waiting: "clock" };
  return h("ul", { class: "people", "aria-label": t("people.title") }, ...(v.people ?? []).filter((p) => p.signatory).map((p) =>
    h("li", { class: p.state }, icon(marks[p.state ?? "waiting"] ?? "clock"),
      h("span", {}, h("strong", {}, p.name + (p.you ? " " + t("people.you") : "")),
        h("span", { class: "quiet" }, t("people." + (p.state ?? "waiting"), { time: p.decided ? when(p.decided) : "" })),
        p.issuer && h("span", { class: "quiet small" }, t("people.accepted", { issuer: p.issuer, vouched: p.vouched ?? "" })),
        p.unreached && h("span", { class: "error" }, t("people.unreached"))))));
}

/** results are the documents to look at and to take home. */
export function results(v: Visit): HTMLElement {
  const docs = v.documents ?? [];
  return h("div", { class: "pad band results" },
    h("h2", {}, t(v.state === "done" ? "results.title" : "documents.title")),
    ...docs.map((d) => result(d, v.state === "done")),
    v.state === "done" && h("p", { class: "quiet" }, t("results.hint")));
}

function result(d: Doc, done: boolean): HTMLElement {
  const below = h("div", { class: "below" });
  let view: Viewer | undefined;
  const look = h("button", { type: "button", class: "button", "aria-expanded": "false", "aria-label": t("look-at", { name: d.name }), onclick: () => {
    if (view) {
      view.close();
      view = undefined;
      below.replaceChildren();
    } else below.replaceChildren((view = new Viewer([d])).el);
    look.setAttribute("aria-expanded", String(!!view));
  } }, t("look"));
  const take = h("button", { type: "button", class: done ? "button primary" : "button", "aria-label": t("download-of", { name: d.name }), onclick: async () => {
    try {
      const file = await busy(take, () => load(d));
      save(d, file.bytes);
      if (!view) below.replaceChildren(digests(d, file));
    } catch (e) {
      below.replaceChildren(h("p", { class: "error", role: "alert" }, failure(e)));
    }
  } }, icon("down"), t("download"));
  return h("div", { class: "result" },
    h("div", { class: "result-head" }, icon(d.kind === "report" ? "seal" : "file"),
      h("span", {}, h("strong", {}, d.kind === "report" ? t("results.report") : d.result ?? d.name), h("span", { class: "quiet" }, size(d.head_size), d.kind === "unconverted" && " · " + t("results.unconverted"))),
      h("span", { class: "buttons" }, !d.result && look, take)),
    below);
}
