// The two acts, each in a dialog of its own: sign and decline.

import { Doc, Refused, Shown, Visit, decline, dropCode, freshCode, sign } from "./api";
import { CodeField } from "./code";
import { Kid, busy, h, icon, id } from "./dom";
import { failure } from "./failure";
import { Hand } from "./pad";
import { list, t } from "./words";

/** what names the documents that are signed: the one by its name, more by their number. */
export const what = (docs: Doc[]): string => (docs.length === 1 ? docs[0].name : t("documents", { n: docs.length }));

/** dialog shows a sheet from below on phones, in the middle elsewhere, and returns it open. */
function dialog(title: string, ...kids: Kid[]): HTMLDialogElement {
  const name = id();
  const d = h("dialog", { class: "sheet", "aria-labelledby": name }, h("h2", { id: name, tabindex: "-1" }, title), ...kids);
  d.addEventListener("close", () => d.remove());
  document.body.append(d);
  d.showModal();
  return d;
}

/** outdated are refusals that mean: the session has moved on, look again. */
const outdated = ["ended", "already-decided", "gone", "not-proven", "preparing", "not-signatory", "unknown-link"];

/** askToSign takes signature and proof; done gets the session as it is then, or null to look again. */
export function askToSign(v: Visit, docs: Doc[], shown: Shown[], away: boolean, done: (v: Visit | null) => void): void {
  const error = h("p", { class: "error", role: "alert" });
  const hand = new Hand(v.who.name, () => error.classList.add("past"));
  let code: CodeField | undefined;
  const proof = h("div", { class: "proof" });
  const ask = (): void => {
    code = new CodeField(v.who.mail, t("sign.code"), false);
    proof.replaceChildren(code.el);
  };
  if (freshCode()) proof.append(h("p", { class: "have" }, icon("check"), h("span", {}, t("sign.have-code"))));
  else ask();

  const press = h("button", { type: "submit", class: "button primary grow" }, icon("pen"), h("span", { class: "fit" }, t("sign.do", { what: what(docs) })));
  const submit = async (e: Event): Promise<void> => {
    e.preventDefault();
    error.textContent = "";
    error.classList.remove("past");
    const look = hand.appearance();
    if (!look) {
      error.textContent = t("sign.empty");
      hand.focus();
      return;
    }
    const digits = code ? code.value : freshCode();
    if (!digits && !code) ask(); // its ten minutes ended while the sheet was open
    if (digits.length !== 6) {
      code!.fail(t(digits ? "error.bad-code" : "sign.need-code"));
      return;
    }
    try {
      const next = await busy(press, () => sign(shown, look, digits));
      dropCode();
      d.close();
      done(next);
    } catch (e) {
      const reason = e instanceof Refused ? e.reason : "";
      if (outdated.includes(reason)) {
        d.close();
        done(null);
      } else if (["code-expired", "wrong-code", "bad-code"].includes(reason)) {
        dropCode();
        if (!code || reason === "code-expired") ask();
        code!.fail(failure(e));
      } else error.textContent = failure(e);
    }
  };
  const cancel = h("button", { type: "button", class: "button", onclick: () => d.close() }, t("back"));
  const d = dialog(t("sign.title", { what: what(docs) }),
    h("form", { novalidate: true, onsubmit: submit },
      docs.length > 1 && h("p", { class: "quiet" }, list(docs.map((x) => x.name))),
      away && h("p", { class: "notice" }, icon("clock"), h("span", {}, t("tsa.away"))),
      hand.el, error, proof,
      h("p", { class: "quiet small" }, t(`level.${v.level}.sign`, { organisation: v.organisation, name: v.who.name })),
      h("div", { class: "acts" }, cancel, press)));
  d.addEventListener("close", () => hand.close());
  hand.focus();
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
