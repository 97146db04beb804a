// The six digits: asked for, typed, checked.

import { askCode, codeAsked } from "./api";
import { busy, h, icon, id, say } from "./dom";
import { failure } from "./failure";
import { t } from "./words";

/** digits is the input for six of them. */
function digitsInput(name: string, hint: string, changed: () => void): HTMLInputElement {
  const input = h("input", {
    id: name, class: "digits", inputmode: "numeric", autocomplete: "one-time-code", pattern: "[0-9 ]*", maxlength: 7, required: true,
    "aria-describedby": hint, oninput: () => { input.removeAttribute("aria-invalid"); changed(); },
  });
  return input;
}

/** Digits is what asks for six digits and says what is wrong with them. */
export interface Digits { readonly el: HTMLElement; readonly value: string; fail(text: string): void }

/** An AppField takes the six digits of an authenticator app. */
export class AppField implements Digits {
  readonly el: HTMLElement;
  private readonly error = h("p", { class: "error", role: "alert" });
  private readonly input: HTMLInputElement;

  constructor(...after: HTMLElement[]) {
    const name = id(), hint = id();
    this.input = digitsInput(name, hint, () => { this.error.textContent = ""; });
    this.el = h("div", { class: "code" }, h("label", { for: name }, t("totp.label")), this.input,
      h("p", { class: "quiet", id: hint }, t("totp.hint")), this.error, ...after);
  }

  get value(): string { return this.input.value.replace(/\D/g, ""); }

  fail(text: string): void {
    this.error.textContent = text;
    this.input.setAttribute("aria-invalid", "true");
    this.input.value = "";
    this.input.focus();
  }
}

/** A CodeField offers "Send me a code", then the input for it. */
export class CodeField implements Digits {
  readonly el = h("div", { class: "code" });
  readonly error = h("p", { class: "error", role: "alert" });
  private input?: HTMLInputElement;
  private readonly ask: HTMLButtonElement;

  /** mail is where the code goes; label is the button's; go appears when there is a code to give. */
  constructor(private readonly mail: string, label: string, primary: boolean, private readonly go?: HTMLButtonElement) {
    this.ask = h("button", { type: "button", class: "button " + (primary ? "primary" : ""), onclick: () => this.send() }, icon("mail"), label);
    this.el.append(h("p", { class: "quiet" }, t("code.where", { mail })), this.ask, this.error);
  }

  /** value is the code typed so far, digits only; empty before one was sent. */
  get value(): string { return (this.input?.value ?? "").replace(/\D/g, ""); }

  fail(text: string): void {
    this.error.textContent = text;
    this.input?.setAttribute("aria-invalid", "true");
    if (this.input) this.input.value = "";
    (this.input ?? this.ask).focus();
  }

  private async send(): Promise<void> {
    this.error.textContent = "";
    try {
      const { seconds } = await busy(this.ask, askCode);
      codeAsked(seconds);
      this.show(Math.round(seconds / 60));
    } catch (e) {
      this.error.textContent = failure(e);
    }
  }

  private show(minutes: number): void {
    const name = id(), hint = id();
    say(t("code.sent", { mail: this.mail, minutes }));
    const again = !!this.input;
    this.input = digitsInput(name, hint, () => { this.error.textContent = ""; });
    this.ask.className = "link";
    this.ask.replaceChildren(t("code.again"));
    this.el.replaceChildren(
      h("label", { for: name }, t("code.label")), this.input,
      h("p", { class: "quiet", id: hint }, t(again ? "code.sent-again" : "code.sent", { mail: this.mail, minutes })), this.error, ...(this.go ? [this.go] : []), this.ask);
    this.input.focus();
  }
}
