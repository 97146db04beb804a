// The page behind the link of a mail that asks: was it you? It shows what that
// mail wants before anything can be pressed, and says whose words these are.

import { Held, Refused, confirmHeld, denyHeld, getHeld } from "./api";
import { Kid, busy, h, icon } from "./dom";
import { failure } from "./failure";
import { choose, left, size, t, when } from "./words";

type Show = (title: string, narrow: boolean, ...kids: Kid[]) => void;

/** heldPage draws the page, and again whenever the visitor chooses another language. */
export class HeldPage {
  private held: Held | null = null;
  private state: "waiting" | "confirmed" | "denied" | "refused" = "waiting";
  private problem: Refused | null = null;
  private changed: Refused | null = null; // why the visitor looks again

  constructor(private readonly show: Show, private readonly failed: (p: Refused) => void) {}

  get organisation(): string | undefined { return this.held?.organisation; }

  async load(): Promise<void> {
    try {
      this.held = await getHeld();
      this.problem = null;
      await choose(this.held.who.language);
    } catch (e) {
      this.problem = e instanceof Refused ? e : new Refused("internal", "");
    }
    this.draw();
  }

  draw(): void {
    if (this.state !== "waiting") this.drawOutcome();
    else if (this.held && !this.problem) this.drawAsk(this.held);
    else this.failed(this.problem!);
  }

  private drawAsk(m: Held): void {
    const documents = m.documents ?? [], asks = m.asks ?? [];
    const error = h("p", { class: "error", role: "alert" });
    const act = async (button: HTMLButtonElement, work: () => Promise<void>, then: "confirmed" | "denied"): Promise<void> => {
      error.textContent = "";
      yes.disabled = no.disabled = true;
      try {
        await busy(button, work);
        this.state = then;
        this.draw();
      } catch (e) {
        yes.disabled = no.disabled = false;
        const r = e instanceof Refused ? e : new Refused("internal", "");
        if (r.reason === "held-changed") {
          this.changed = r;
          await this.load();
        } else if (["denied", "expired", "unknown-link", "confirmed"].includes(r.reason)) {
          this.problem = r;
          this.draw();
        } else if (["internal", "offline", "slow", "too-fast", "store-away", "directory-away", "inspection-away", "too-many-requests"].includes(r.reason)) {
          error.textContent = failure(r);
        } else {
          this.problem = r;
          this.state = "refused";
          this.draw();
        }
      }
    };
    const yes = h("button", { type: "button", class: "button primary grow", onclick: () => act(yes, () => confirmHeld(m.recipients), "confirmed") },
      icon("check"), h("span", {}, t("held.yes")));
    const no = h("button", { type: "button", class: "button", onclick: () => act(no, denyHeld, "denied") }, t("held.no"));
    this.show(t("held.title"), true, h("div", { class: "card" },
      h("div", { class: "pad" },
        h("p", { class: "eyebrow" }, h("span", {}, t("held.until", { left: left(m.until) }))),
        h("h1", { tabindex: "-1" }, t("held.title")),
        this.changed && h("p", { class: "notice bad", role: "alert" }, icon("alert"), h("span", {}, failure(this.changed))),
        h("p", {}, t("held.intro", { when: when(m.received), mail: m.who.mail })),
        h("p", { class: "notice" }, icon("alert"), h("span", {}, t("held.beware")))),
      h("div", { class: "pad band" },
        h("h2", {}, t("held.subject")), h("blockquote", {}, m.subject || t("no-subject")),
        h("h2", {}, t("held.documents", { n: documents.length })),
        h("ul", { class: "files" }, ...documents.map((d) => h("li", {}, icon("file"), h("span", {}, d.name, h("span", { class: "quiet" }, " ", size(d.size)))))),
        h("h2", {}, t("held.asks", { n: asks.length })),
        h("ul", { class: "people" }, ...asks.map((p) => h("li", {}, icon("pen"), h("span", {}, h("strong", {}, p.name), h("span", { class: "quiet" }, p.mail))))),
        h("p", { class: "quiet" }, t("level." + m.level))),
      h("div", { class: "pad" },
        h("p", {}, t("held.means")), error,
        h("div", { class: "acts" }, no, yes),
        h("details", { class: "more" }, h("summary", {}, t("detail.title")),
          h("dl", {}, ...documents.flatMap((d) => [h("dt", {}, t("detail.digest")), h("dd", {}, d.name, h("code", { class: "block" }, d.sha256))]))))));
  }

  private drawOutcome(): void {
    const [ico, mood] = { confirmed: ["check", "good"], denied: ["cross", "still"], refused: ["alert", "still"], waiting: ["clock", "still"] }[this.state];
    const title = t(`held.${this.state}.title`);
    this.show(title, true, h("div", { class: "card pad centre" }, h("div", { class: "outcome " + mood }, icon(ico)),
      h("h1", { tabindex: "-1" }, title),
      h("p", { class: "lead" }, this.state === "refused" ? failure(this.problem) : t("held." + this.state)),
      this.state === "refused" && h("p", {}, t("held.refused"))));
  }
}
