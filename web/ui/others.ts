// What others sign: an identity card, a key at a trust service provider, a phone that a server asks.

import { Appearance, Doc, Factor, Key, Qualifying, Refused, Visit, abandon, authorizeProvider, bringToken, cancelPhone, challengeProvider, checkPhone, finishQualified,
  leaveForProvider, orderPhone, preparePhone, prepareQualified, providerKeys, returnFromProvider, theToken, touchPhone } from "./api";
import { b64, digest, unb64 } from "./bytes";
import { Kept } from "./ceremony";
import { busy, h, icon, id } from "./dom";
import { failure } from "./failure";
import { Hand } from "./pad";
import { dialog, outdated } from "./sheet";
import { Act, what, withoutTime } from "./sheets";
import { cardCertificate, cardHere, cardSign } from "./webeid";
import { day, has, lang, list, printable, t } from "./words";

const pause = (ms: number): Promise<void> => new Promise((go) => setTimeout(go, ms));

/** foreignFailure is failure for a certificate that is not this device's: a card's, a provider's, or at level Advanced a phone's. */
export function foreignFailure(e: unknown, level: Visit["level"]): string {
  const own = e instanceof Refused && level + "-" + e.reason;
  return failure(own && has("error." + own) ? new Refused(own, "") : e);
}

/** byPhone reports whether a phone can sign these documents: it signs PDFs only. */
export const byPhone = (v: Visit, docs: Doc[]): boolean => !!v.phones && docs.every((d) => !d.form);

/** askOthers takes the signature's look, then leads through what the card, the provider or the phone's server asks. */
export function askOthers(a: Act): void {
  const v = a.visit;
  const told = (e: unknown): string => foreignFailure(e, v.level);
  const error = h("p", { class: "error", role: "alert" });
  const status = h("p", { role: "status" });
  const line = h("div", { class: "step" }, h("span", { class: "spin", "aria-hidden": "true" }), status);
  line.hidden = true;
  const hand = new Hand(v.who.name, () => undefined);
  const kept = new Kept(a.view);
  const body = h("div", { class: "hand" });
  let signed = false, working = false, drawing = !printable(v.who.name);
  let takeBack = (): void => undefined; // what a phone was asked
  const step = (key: string): void => { line.hidden = !key; status.textContent = key && t("step." + key); };
  const finish = (next: Visit): void => {
    signed = true;
    kept.close();
    d.close();
    a.done(next);
  };

  /** attempt runs a part of it, and says what went wrong. */
  const attempt = async (press: HTMLButtonElement, work: () => Promise<void>): Promise<void> => {
    if (working) return;
    working = true;
    error.textContent = "";
    try {
      await busy(press, work);
    } catch (e) {
      if (!d.open) return;
      const why = e instanceof Refused ? e.reason : "";
      if (outdated.includes(why)) {
        d.close();
        return a.done(null);
      }
      error.textContent = told(e);
      if (why === "check-failed") press.disabled = true; // nobody should try until it passes
      if (why === "preparation-gone") choose();
    } finally {
      working = false;
      step("");
    }
  };

  const look = (): Appearance => {
    if (!drawing) return { typed: v.who.name };
    const l = hand.appearance();
    if (!l) throw new Refused("empty-hand", "");
    if (l.typed && !printable(l.typed)) {
      hand.toDraw();
      throw new Refused("unprintable-name", "");
    }
    return l;
  };

  /** prepare waits for a colleague who is signing, and checks what it gets. */
  const prepare = async (appearance: Appearance, more: object, comes: "" | "once" | "whole" = ""): Promise<Qualifying> => {
    for (;;) {
      step("preparing");
      try {
        const p = await (comes === "whole" ? preparePhone : prepareQualified)({ shown: a.view.shown, appearance, ...more });
        step("checking");
        await kept.check(p, comes === "whole" ? comes : comes ? null : unb64(p.certificate ?? ""), p.hash);
        return p;
      } catch (e) {
        if (!(e instanceof Refused) || e.reason !== "busy" || !d.open) throw e;
        step("waiting");
        await pause(2000);
      }
    }
  };

  const byCard = async (): Promise<void> => {
    const appearance = look();
    if (!(await cardHere())) throw new Refused("card-extension", "");
    step("card");
    const card = await cardCertificate(lang);
    const p = await prepare(appearance, { certificate: card.certificate, algorithms: card.algorithms });
    const values: string[] = [];
    for (const attributes of kept.prepared!.attributes) {
      step("card");
      values.push(await cardSign(card.certificate, b64(await digest(p.hash, attributes)), p.hash, lang));
    }
    step("finishing");
    finish(await finishQualified({ id: p.id, values }));
  };

  const byProvider = async (provider: string): Promise<void> => {
    const appearance = look();
    step("provider");
    const { keys } = await providerKeys({ provider });
    if (keys!.length > 1) return chooseKey(provider, keys!, appearance);
    await withKey(provider, keys![0], appearance);
  };

  const withKey = async (provider: string, key: Key, appearance: Appearance): Promise<void> => {
    const p = await prepare(appearance, { provider, key: key.id }, key.once ? "once" : "");
    step("");
    const note = key.once ? [h("p", { class: "quiet small" }, t("qualified.once", { provider }))] : [];
    if (key.page) goTo(provider, p.id, note);
    else askFactors(provider, key.factors ?? [], p.id, note);
  };

  const withPhone = async (server: string): Promise<void> => {
    const p = await prepare(look(), {}, "whole");
    askPhone(server, p.id);
  };

  const acts = (press: HTMLButtonElement): HTMLElement =>
    h("div", { class: "acts" }, h("button", { type: "button", class: "button", onclick: () => d.close() }, t("back")), press);

  /** choose is the first sheet: how it shall look, and who signs. */
  const choose = (): void => {
    kept.letGo();
    const ways: [string, string, () => Promise<void>][] = (v.providers ?? []).map((p) => [t("qualified.provider", { provider: p }), "key", () => byProvider(p)]);
    // Where it is the only way, its refusal says why.
    if (v.phones && (byPhone(v, a.docs) || !(ways.length || v.card))) ways.push([t("phone.open", { server: v.phones }), "device", () => withPhone(v.phones!)]);
    // Phones have no reader; where there is nothing else, the card is still named.
    if (v.card && (!ways.length || !matchMedia("(pointer: coarse)").matches)) ways.push([t("qualified.card"), "device", byCard]);
    body.replaceChildren(...(a.docs.length > 1 ? [h("p", { class: "quiet" }, list(a.docs.map((x) => x.name)))] : []),
      ...(a.away ? [h("p", { class: "notice" }, icon("clock"), h("span", {}, withoutTime(v)))] : []),
      drawing ? hand.el : h("p", { class: "as" }, h("span", {}, t("sign.as"), " ", h("strong", {}, v.who.name)),
        h("button", { type: "button", class: "link", onclick: () => { drawing = true; choose(); hand.focus(); } }, t("sign.draw"))),
      h("p", { class: "quiet small" }, t(`level.${v.level}.sign`)),
      h("div", { class: "ways" }, ...ways.map(([label, picture, work]) => {
        const press: HTMLButtonElement = h("button", { type: "button", class: "button primary grow", onclick: () => attempt(press, work) }, icon(picture), h("span", { class: "fit" }, label));
        return press;
      })),
      h("div", { class: "acts" }, h("button", { type: "button", class: "button", onclick: () => d.close() }, t("back"))));
  };

  const chooseKey = (provider: string, keys: Key[], appearance: Appearance): void => {
    const name = id();
    const pick = h("select", { id: name }, ...keys.map((k) => h("option", { value: k.id }, k.once ? t("qualified.new") : t("qualified.key", { subject: k.subject, until: day(k.until) }))));
    const press: HTMLButtonElement = h("button", { type: "button", class: "button primary grow",
      onclick: () => attempt(press, () => withKey(provider, keys.find((k) => k.id === pick.value)!, appearance)) }, t("continue"));
    body.replaceChildren(h("label", { for: name }, t("qualified.which")), pick, acts(press));
    pick.focus();
  };

  /** askFactors takes what the provider wants to hear. */
  const askFactors = (provider: string, factors: Factor[], preparation: string, note: HTMLElement[]): void => {
    const fields = factors.filter((f) => f.typed).map((f) => {
      const name = id();
      const input = h("input", { id: name, type: f.hidden ? "password" : "text", autocomplete: f.sent ? "one-time-code" : "off",
        inputmode: f.numeric ? "numeric" : "text", maxlength: 64, required: true });
      const note = h("p", { class: "quiet", role: "status" });
      const send: HTMLButtonElement | undefined = f.sent && h("button", { type: "button", class: "button", onclick: () => attempt(send!, async () => {
        const { question } = await challengeProvider({ id: preparation, factor: f.id });
        note.textContent = question ? t("qualified.question", { provider, question }) : t("qualified.sent", { provider });
        input.focus();
      }) }, icon("mail"), t("qualified.send")) || undefined;
      const label = f.label || t(f.sent ? "qualified.code" : f.hidden ? "qualified.pin" : "qualified.factor");
      return { id: f.id, input, send, el: h("div", { class: "code" }, send, note, h("label", { for: name }, label), input) };
    });
    const press = h("button", { type: "submit", class: "button primary grow" }, icon("pen"), h("span", { class: "fit" }, t("sign.do", { what: what(a.docs) })));
    const form = h("form", { novalidate: true, onsubmit: (e: Event) => {
      e.preventDefault();
      void attempt(press, async () => {
        const empty = fields.find((f) => !f.input.value.trim());
        if (empty) {
          empty.input.focus();
          throw new Refused("empty-factor", "");
        }
        step(factors.some((f) => !f.typed) ? "elsewhere" : "finishing");
        const answers = Object.fromEntries(fields.map((f) => [f.id, f.input.value.trim()]));
        fields.forEach((f) => { f.input.value = ""; });
        finish(await authorizeProvider({ id: preparation, answers }));
      });
    } }, h("p", {}, t("qualified.agree", { provider })), ...note, ...fields.map((f) => f.el), acts(press));
    body.replaceChildren(form);
    (fields[0]?.send ?? fields[0]?.input ?? press).focus();
  };

  /** askPhone gives the documents to a server, which asks its person's phone, and waits for it. */
  const askPhone = (server: string, preparation: string): void => {
    const code = h("div", {});
    const show = (image?: string): void => code.replaceChildren(...(image ? [h("p", {}, t("phone.scan")), h("img", { class: "qr", src: "data:image/png;base64," + image, alt: t("phone.qr") })] : []));
    const remind: HTMLButtonElement = h("button", { type: "button", class: "link", onclick: () => void busy(remind, async () => {
      error.textContent = "";
      try { show((await touchPhone({ id: preparation, kept: order, push: true })).image); } catch (e) { error.textContent = told(e); }
    }) }, t("phone.remind"));
    remind.hidden = true;
    let order = "";
    takeBack = () => { if (order) void cancelPhone({ id: preparation, kept: order }).catch(() => undefined); };
    const press: HTMLButtonElement = h("button", { type: "button", class: "button primary grow", onclick: () => attempt(press, async () => {
      if (!order) {
        step("sending");
        const o = await orderPhone({ id: preparation });
        order = o.kept;
        show(o.image);
      }
      remind.hidden = false;
      press.hidden = true; // the line below says that it goes on
      try {
        for (;;) {
          step("elsewhere");
          const r = await checkPhone({ id: preparation, kept: order });
          if (!d.open) return;
          if (!r.pending) { order = ""; return finish(r); }
          order = r.kept!;
        }
      } catch (e) {
        // Without an answer it may still be under way: the same can be asked again.
        if (!(e instanceof Refused) || e.reason !== "offline") { order = ""; show(); remind.hidden = true; }
        throw e;
      } finally {
        press.hidden = false;
      }
    }) }, icon("device"), h("span", { class: "fit" }, t("phone.send", { server })));
    body.replaceChildren(h("p", {}, t("phone.how", { server })), h("p", { class: "notice" }, icon("lock"), h("span", {}, t("phone.gets", { server }))), code, remind, acts(press));
    press.focus();
  };

  /** goTo is the way to the provider's own page; what this page must know when it is back waits in the tab. */
  const goTo = (provider: string, preparation: string, note: HTMLElement[]): void => {
    const press: HTMLButtonElement = h("button", { type: "button", class: "button primary grow", onclick: () => attempt(press, async () => {
      const { address, kept: sealed } = await leaveForProvider({ id: preparation, lang });
      sessionStorage.setItem(away, JSON.stringify({ token: theToken(), id: preparation, kept: sealed }));
      kept.close();
      signed = true; // not given up: it goes on over there
      location.assign(address);
    }) }, icon("key"), h("span", { class: "fit" }, t("qualified.go", { provider })));
    body.replaceChildren(h("p", {}, t("qualified.page", { provider })), ...note, acts(press));
    press.focus();
  };

  const d = dialog(t("sign.title", { what: what(a.docs) }), body, h("div", { class: "below" }, line, error));
  d.addEventListener("close", () => {
    hand.close();
    if (signed) return;
    takeBack();
    kept.drop();
  });
  choose();
  // At level Advanced the bar has named the phone already, and nothing else signs from here.
  if (v.level === "advanced" && !drawing) body.querySelector<HTMLButtonElement>(".ways .primary")?.click();
}

const away = "milterd.away";

/** isBack takes up what the browser has brought back from a provider's page; null if it knows of nothing. */
export function isBack(): (() => Promise<Visit>) | null {
  const query = location.search.slice(1), stored = sessionStorage.getItem(away);
  sessionStorage.removeItem(away);
  let s: { token?: string; id?: string; kept?: string } = {};
  try { s = JSON.parse(stored ?? "{}"); } catch { /* as if there were nothing */ }
  // The code is for one use, and still has no place in the address bar.
  history.replaceState(null, "", "/s" + (s.token ? "#" + s.token : ""));
  if (!s.token || !s.id || !s.kept) return null;
  bringToken(s.token);
  return () => returnFromProvider({ id: s.id, kept: s.kept, query }).catch((e) => {
    // Nobody can go on with it: a colleague need not wait. Without an answer it may still be signed.
    if (e instanceof Refused && e.reason !== "offline") abandon(s.id!);
    throw e;
  });
}
