// A device becomes one of its person's: a second proof, then a passkey (or an
// authenticator app where the browser has none), and a key of its own. Or, by the
// same proofs, the certificate of an identity card is registered as its person's.

import {
  Enrolled, Enrolment, Refused, Visit, approveEnrolment, beginCard, beginEnrolment, beginTOTP, enrolmentOptions, enrolmentState, finishEnrolment,
  finishTOTP, giveCard, givePassword, registerCertificate,
} from "./api";
import { hex, sha256 } from "./bytes";
import { AppField } from "./code";
import { Kid, busy, h, icon, id, say } from "./dom";
import { failure } from "./failure";
import { begunEnrolment, keepEnrolment, keepKey, makeKey } from "./keys";
import { confirm, create } from "./passkey";
import { foreignFailure } from "./others";
import { dialog, outdated } from "./sheet";
import { enrols } from "./ways";
import { cardAuthenticate, cardCertificate, cardHere } from "./webeid";
import { lang, t } from "./words";

/** approvalOf is what an approving passkey's challenge is made of. */
export const approvalOf = async (enrolment: string): Promise<string> => hex(await sha256(new TextEncoder().encode(enrolment)));

/** A Enrolling is the sheet while a device is being enrolled. */
class Enrolling {
  private readonly body = h("div", { class: "hand" });
  private readonly error = h("p", { class: "error", role: "alert" });
  private readonly d: HTMLDialogElement;
  private readonly mail: string;
  private e!: Enrolment;
  private timer = 0;
  private key = makeKey(); // while a password is typed

  constructor(private readonly v: Visit, private readonly done: (v: Visit | null) => void, private readonly card = false) {
    this.mail = v.who.mail;
    this.d = dialog(t(card ? "register.title" : "enrol.title"), h("p", {}, t(card ? "register.why" : "enrol.why")), this.body);
    this.d.addEventListener("close", () => clearTimeout(this.timer));
    this.show(h("div", { class: "step" }, h("span", { class: "spin", "aria-hidden": "true" }), t("enrol.begin")));
    void this.work(async () => {
      this.e = await this.resume();
      this.draw();
    });
  }

  /** resume goes on with what was begun here, perhaps days ago; else it begins. */
  private async resume(): Promise<Enrolment> {
    const old = await begunEnrolment(this.mail);
    if (old) {
      try {
        return await enrolmentState({ id: old });
      } catch (e) {
        if (!(e instanceof Refused) || e.reason !== "enrolment-gone") throw e;
      }
    }
    const e = await beginEnrolment({});
    await keepEnrolment(this.mail, e.id);
    return e;
  }

  private show(...kids: Kid[]): void {
    this.body.replaceChildren(...kids.filter((k): k is Node => !!k), this.error,
      h("div", { class: "acts" }, h("button", { type: "button", class: "button", onclick: () => this.d.close() }, t("back"))));
  }

  /** work does something, and says in words why it failed. */
  private async work(what: () => Promise<void>, button?: HTMLButtonElement): Promise<void> {
    this.error.textContent = "";
    try {
      await (button ? busy(button, what) : what());
    } catch (e) {
      if (!this.d.open) return;
      const why = e instanceof Refused ? e.reason : "";
      if (outdated.includes(why)) {
        this.d.close();
        return this.done(null);
      }
      if (why === "enrolment-gone") await keepEnrolment(this.mail);
      this.error.textContent = foreignFailure(e, "qualified");
    }
  }

  private draw(): void {
    clearTimeout(this.timer);
    if (this.e.approved) return this.drawLast();
    // Phones have no reader for cards.
    const ways = (this.e.ways ?? []).filter((w) => w in this.parts && (w !== "card" || !matchMedia("(pointer: coarse)").matches));
    if (!ways.length) this.error.textContent = t("enrol.no-way");
    const parts = ways.map((w, i) => {
      const name = id();
      const part = h("details", { class: "way", name: "way" }, h("summary", {}, icon({ password: "lock", device: "device", card: "key", administrator: "seal" }[w]!), t("way." + w)),
        ...this.parts[w as keyof Enrolling["parts"]](name));
      part.toggleAttribute("open", i === 0);
      return part;
    });
    this.show(h("h3", {}, t("enrol.prove")), ...parts);
    this.poll();
    (this.body.querySelector<HTMLElement>("details[open] input") ?? this.body.querySelector("summary"))?.focus();
  }

  private readonly number = (): HTMLElement => h("p", { class: "number" }, h("span", { class: "unseen" }, t("enrol.number")), this.e.number);

  private readonly parts = {
    password: (name: string): Kid[] => {
      const field = h("input", { id: name, type: "password", autocomplete: "current-password", required: true });
      const go = h("button", { type: "submit", class: "button primary" }, t("way.password.do"));
      return [h("form", { novalidate: true, onsubmit: (e: Event) => {
        e.preventDefault();
        if (!field.value) return field.focus();
        go.before(this.error); // where a phone's keyboard leaves it in sight
        void this.work(async () => {
          try {
            this.e = await givePassword({ id: this.e.id, password: field.value });
          } finally {
            field.value = "";
          }
          this.draw();
          if (!this.card && enrols(this.v) === "passkey") await this.register(); // the tap still counts
        }, go);
      } }, h("label", { for: name }, t("way.password.label", { mail: this.mail })), field, go)];
    },
    device: (): Kid[] => {
      const here = h("button", { type: "button", class: "link", onclick: () => void this.work(async () => {
        const passkey = await confirm("approve", [await approvalOf(this.e.enrolment)]);
        await approveEnrolment({ enrolment: this.e.enrolment, passkey });
        await this.look();
      }, here) }, t("way.device.here"));
      return [h("p", {}, t("way.device.how")), this.number(), here];
    },
    card: (): Kid[] => {
      const go = h("button", { type: "button", class: "button primary", onclick: () => void this.work(async () => {
        if (!(await cardHere())) throw new Refused("card-extension", "");
        const { ceremony, nonce } = await beginCard({ id: this.e.id });
        this.e = await giveCard({ id: this.e.id, ceremony, card: await cardAuthenticate(nonce, lang) });
        say(t("enrol.approved"));
        this.draw();
      }, go) }, icon("key"), h("span", { class: "fit" }, t("way.card.do")));
      return [h("p", {}, t("way.card.how")), go];
    },
    administrator: (): Kid[] => [h("p", {}, t("way.administrator.how")), this.number()],
  };

  /** poll waits for somebody's yes. */
  private poll(): void {
    const since = performance.now();
    const again = (): void => {
      this.timer = window.setTimeout(async () => {
        if (!document.hidden) await this.look().catch(() => undefined);
        if (this.d.open && !this.e.approved) again();
      }, performance.now() - since < 120_000 ? 2500 : 15_000);
    };
    again();
  }

  private async look(): Promise<void> {
    const e = await enrolmentState({ id: this.e.id });
    if (!e.approved || this.e.approved) return;
    this.e = e;
    say(t("enrol.approved"));
    this.draw();
  }

  private name!: HTMLInputElement;

  /** drawLast is after the second proof: the passkey, or the app; or the card's certificate. */
  private drawLast(): void {
    if (this.card) {
      const go = h("button", { type: "button", class: "button primary", onclick: () => void this.work(() => this.registerCard(), go) },
        icon("key"), h("span", { class: "fit" }, t("register.do")));
      this.show(h("p", { class: "have" }, icon("check"), h("span", {}, t("enrol.approved"))), h("p", { class: "quiet" }, t("register.how")), go);
      return go.focus();
    }
    const field = id();
    this.name = h("input", { id: field, type: "text", maxlength: 60, value: this.e.device, autocomplete: "off" });
    const head = [h("p", { class: "have" }, icon("check"), h("span", {}, t("enrol.approved"))),
      h("div", { class: "named-field" }, h("label", { for: field }, t("enrol.name")), this.name)];
    if (enrols(this.v) === "passkey") {
      const go = h("button", { type: "button", class: "button primary", onclick: () => void this.work(() => this.register(), go) }, icon("key"), h("span", {}, t("enrol.passkey")));
      this.show(...head, h("p", { class: "quiet" }, t("enrol.passkey.how")), go);
      go.focus();
    } else void this.work(() => this.drawApp(head));
  }

  private async registerCard(): Promise<void> {
    if (!(await cardHere())) throw new Refused("card-extension", "");
    const { certificate } = await cardCertificate(lang);
    await registerCertificate({ id: this.e.id, certificate });
    await keepEnrolment(this.mail);
    this.d.close();
    this.done(null);
    say(t("register.done"));
  }

  private async register(): Promise<void> {
    const key = await this.key;
    const passkey = await create(await enrolmentOptions({ id: this.e.id, key: key.spki }));
    await this.finished(await finishEnrolment({ id: this.e.id, passkey, name: this.name.value, csr: key.csr }));
  }

  private async drawApp(head: HTMLElement[]): Promise<void> {
    const { ceremony, uri, qr } = await beginTOTP({ id: this.e.id });
    const go = h("button", { type: "submit", class: "button primary" }, t("enrol.app.do"));
    const field = new AppField(go);
    this.show(...head, h("p", {}, t("enrol.app.how")), h("img", { class: "qr", src: "data:image/png;base64," + qr, alt: t("enrol.app.qr") }),
      h("a", { href: uri }, t("enrol.app.link")),
      h("form", { novalidate: true, onsubmit: (e: Event) => {
        e.preventDefault();
        void this.work(async () => {
          if (field.value.length !== 6) return field.fail(t("error.bad-code"));
          const key = await this.key;
          try {
            await this.finished(await finishTOTP({ id: this.e.id, ceremony, totp: field.value, name: this.name.value, csr: key.csr }));
          } catch (e) {
            if (!(e instanceof Refused) || e.reason !== "wrong-totp") throw e;
            field.fail(failure(e));
          }
        }, go);
      } }, field.el));
  }

  private async finished({ device, certificate, look }: Enrolled): Promise<void> {
    if (certificate) await keepKey(this.mail, await this.key, certificate, device);
    await keepEnrolment(this.mail);
    this.d.close();
    this.done(look);
    say(t("enrol.done"));
  }
}

/** enrol opens the sheet; done gets the session as it is then, or null to look again. */
export const enrol = (v: Visit, done: (v: Visit | null) => void): void => void new Enrolling(v, done);

/** register opens the sheet for the certificate of a card; done is called at its end. */
export const register = (v: Visit, done: () => void): void => void new Enrolling(v, done, true);
