// The two acts, each in a dialog of its own: sign and decline.

import { Appearance, Doc, Refused, Visit, decline, dropCode, freshCode } from "./api";
import { Ceremony, Prove, Step, begin, byPasskey } from "./ceremony";
import { AppField, CodeField, Digits } from "./code";
import { busy, h, icon, id } from "./dom";
import { failure } from "./failure";
import { ownKey } from "./keys";
import { Hand } from "./pad";
import { dialog, outdated } from "./sheet";
import { Viewer } from "./viewer";
import { Way, enrols, ways } from "./ways";
import { list, printable, t } from "./words";

/** what names the documents that are signed: the one by its name, more by their number. */
export const what = (docs: Doc[]): string => (docs.length === 1 ? docs[0].name : t("documents", { n: docs.length }));

/** withoutTime says what an authority that is away means: on behalf of somebody, a signature waits for it; with an own key, its owner does. */
export const withoutTime = (v: Visit): string => t(v.level === "standard" ? "tsa.away" : "tsa.away.own");

/** Act is what a sheet to sign needs: whose, which documents, and whom to tell. */
export interface Act {
  visit: Visit; docs: Doc[]; view: Viewer; away: boolean;
  /** done gets the session as it is then, or null to look again. */
  done(v: Visit | null): void;
  /** enrol leads to the device's enrolment. */
  enrol(): void;
}

/** bare reports whether no signature is drawn into any of the documents. */
export const bare = (docs: Doc[]): boolean => docs.every((d) => d.form);

/** unseen names the documents that the page could not show, and what is signed of them. */
function unseen(docs: Doc[]): HTMLElement | false {
  const names = docs.filter((d) => d.sight === "file").map((d) => d.name);
  return names.length > 0 && h("p", { class: "notice" }, icon("alert"), h("span", {}, t("plain.file.sign", { names: list(names) })));
}

/** confirmToSign is the short way: a passkey's prompt, and words while it works. */
export function confirmToSign(a: Act, look: Appearance): void {
  const status = h("p", { role: "status" });
  const line = h("div", { class: "step" }, h("span", { class: "spin", "aria-hidden": "true" }), status);
  const error = h("p", { class: "error", role: "alert" });
  const again = h("button", { type: "button", class: "button primary grow", onclick: () => run() });
  const cancel = h("button", { type: "button", class: "button", onclick: () => d.close() }, t("back"));
  const others = h("div", { class: "others" });
  const step = (s: Step): void => { status.textContent = t("step." + s); };
  const ceremony: Ceremony = begin(a.visit, a.view, look, byPasskey, step);
  let signed = false;

  const run = async (): Promise<void> => {
    line.hidden = false;
    again.hidden = true;
    error.textContent = "";
    others.replaceChildren();
    try {
      const v = await ceremony.run();
      signed = true;
      d.close();
      a.done(v);
    } catch (e) {
      if (!d.open) return; // given up meanwhile
      const why = e instanceof Refused ? e.reason : "";
      if (outdated.includes(why)) {
        d.close();
        return a.done(null);
      }
      line.hidden = true;
      error.textContent = failure(e);
      if (why === "check-failed") return; // nobody should try until it passes
      again.hidden = false;
      again.replaceChildren(icon("key"), h("span", {}, t(why === "passkey-cancelled" ? "confirm.again" : "try-again")));
      await offer(why);
      again.focus();
    }
  };

  /** offer names other ways, where the passkey is what failed; a device with a key of its own is not new. */
  const offer = async (why: string): Promise<void> => {
    if (!/passkey/.test(why)) return;
    const known = await ownKey(a.visit.who.mail);
    const go = (label: string, then: () => void): HTMLElement =>
      h("button", { type: "button", class: "link", onclick: () => { d.close(); then(); } }, label);
    if (enrols(a.visit) && !known) others.append(go(t("enrol.other"), a.enrol));
    const rest = ways(a.visit).filter((w) => w !== "passkey");
    if (rest.length) others.append(go(t("proof." + rest[0]), () => askToSign(a, rest[0])));
  };

  const d = dialog(t("sign.title", { what: what(a.docs) }),
    h("div", { class: "hand" },
      a.docs.length > 1 && h("p", { class: "quiet" }, list(a.docs.map((x) => x.name))),
      unseen(a.docs), line, error, others,
      h("p", { class: "quiet small" }, t(`level.${a.visit.level}.sign`, { organisation: a.visit.organisation, name: a.visit.who.name })),
      h("div", { class: "acts" }, cancel, again)));
  d.addEventListener("close", () => { if (!signed) ceremony.stop(); });
  void run();
}

/** askToSign takes the signature's look, and a proof that is typed. */
export function askToSign(a: Act, way: Way): void {
  const v = a.visit;
  const error = h("p", { class: "error", role: "alert" });
  const name = bare(a.docs) && printable(v.who.name) ? v.who.name : "";
  const hand = name ? null : new Hand(v.who.name, () => error.classList.add("past"), way === "passkey" || undefined);
  const proof = h("div", { class: "proof" });
  let field: Digits | undefined;
  const ask = (): void => {
    field = way === "totp" ? new AppField() : new CodeField(v.who.mail, t("sign.code"), false);
    proof.replaceChildren(field.el);
  };
  if (way === "code" && freshCode()) proof.append(h("p", { class: "have" }, icon("check"), h("span", {}, t("sign.have-code"))));
  else if (way !== "passkey") ask();

  const typed: Prove = async () => {
    const digits = field ? field.value : freshCode();
    if (!digits && !field) ask(); // its ten minutes ended while the sheet was open
    if (digits.length !== 6) throw new Refused(digits ? "bad-code" : "need-code", "");
    return way === "totp" ? { totp: digits } : { code: digits };
  };
  const press = h("button", { type: "submit", class: "button primary grow" }, icon("pen"), h("span", { class: "fit" }, t("sign.do", { what: what(a.docs) })));
  let ceremony: Ceremony | undefined, made = "", signed = false;
  const submit = async (e: Event): Promise<void> => {
    e.preventDefault();
    error.textContent = "";
    error.classList.remove("past");
    const look = hand ? hand.appearance() : { typed: name };
    if (!look) {
      error.textContent = t("sign.empty");
      hand!.focus();
      return;
    }
    if (look.typed && !printable(look.typed)) {
      error.textContent = t("error.unprintable-name");
      return hand!.toDraw();
    }
    if (way === "passkey") {
      d.close();
      return confirmToSign(a, look);
    }
    try {
      await typed("sign", [], new AbortController().signal); // before anything is prepared
      if (made !== JSON.stringify(look)) { // what was prepared shows another look
        ceremony?.stop();
        ceremony = begin(v, a.view, look, typed, () => undefined);
        made = JSON.stringify(look);
      }
      const next = await busy(press, () => ceremony!.run());
      dropCode();
      signed = true;
      d.close();
      a.done(next);
    } catch (e) {
      if (!d.open) return;
      const why = e instanceof Refused ? e.reason : "";
      if (outdated.includes(why)) {
        d.close();
        a.done(null);
      } else if (["code-expired", "wrong-code", "bad-code", "need-code", "wrong-totp"].includes(why)) {
        if (why !== "need-code") dropCode();
        if (!field || why === "code-expired") ask();
        field!.fail(why === "need-code" ? t("sign.need-" + way) : failure(e));
      } else error.textContent = failure(e);
    }
  };
  const cancel = h("button", { type: "button", class: "button", onclick: () => d.close() }, t("back"));
  const d = dialog(t("sign.title", { what: what(a.docs) }),
    h("form", { novalidate: true, onsubmit: submit },
      a.docs.length > 1 && h("p", { class: "quiet" }, list(a.docs.map((x) => x.name))),
      a.away && h("p", { class: "notice" }, icon("clock"), h("span", {}, withoutTime(v))),
      unseen(a.docs), hand?.el, error, proof,
      h("p", { class: "quiet small" }, t(`level.${v.level}.sign`, { organisation: v.organisation, name: v.who.name })),
      h("div", { class: "acts" }, cancel, press)));
  d.addEventListener("close", () => {
    hand?.close();
    if (!signed) ceremony?.stop();
  });
  hand?.focus();
}

/** askToDecline takes an optional comment. */
export function askToDecline(v: Visit, done: (v: Visit | null) => void): void {
  const field = id();
  const error = h("p", { class: "error", role: "alert" });
  const comment = h("textarea", { id: field, rows: 4, maxlength: 2000 });
  const press = h("button", { type: "submit", class: "button danger grow" }, t("decline.do"));
  const submit = async (e: Event): Promise<void> => {
    e.preventDefault();
    try {
      const next = await busy(press, () => decline(comment.value));
      d.close();
      done(next);
    } catch (e) {
      if (e instanceof Refused && outdated.includes(e.reason)) {
        d.close();
        done(null);
      } else error.textContent = failure(e);
    }
  };
  const d = dialog(t("decline.title"), h("form", { onsubmit: submit },
    h("p", {}, t("decline.text", { name: v.sender.name })),
    h("label", { for: field }, t("decline.comment")), comment, error,
    h("div", { class: "acts" }, h("button", { type: "button", class: "button", onclick: () => d.close() }, t("back")), press)));
  comment.focus();
}
