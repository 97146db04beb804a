// The page behind a link: it looks at the session, draws the scene that fits,
// and looks again while something is still to come.

import { Doc, Refused, Visit, getVisit, isReady, keepCode, openWith, openWithPasskey, takeToken } from "./api";
import { CodeField } from "./code";
import { Kid, busy, h, icon, say } from "./dom";
import { showDevices } from "./devices";
import { enrol } from "./enrol";
import { HeldPage } from "./held";
import { confirm, hasPasskeys } from "./passkey";
import { details, facts, outcome, people, results } from "./parts";
import { failure } from "./failure";
import { dialog } from "./sheet";
import { askOthers, byPhone, foreignFailure, isBack } from "./others";
import { Act, askToDecline, askToSign, bare, confirmToSign, what, withoutTime } from "./sheets";
import { Viewer, forget } from "./viewer";
import { enrols, ways } from "./ways";
import { assets, choose, has, lang, languages, left, prefer, printable, t } from "./words";

const app = document.getElementById("app")!;
let visit: Visit | null = null;
let problem: Refused | null = null;
let viewer: Viewer | null = null;
let away = false; // the timestamp authority
let drawn = ""; // what the scene was drawn from
let shown = false; // whether there was a scene before
let held: HeldPage | null = null; // on the page that confirms a mail
let timer = 0;
let pause = 0;

/** show puts a scene on the page and the focus on its heading, except at the start. */
function show(title: string, narrow: boolean, ...kids: Kid[]): void {
  const first = !shown;
  shown = true;
  viewer?.close();
  viewer = null;
  document.querySelectorAll("dialog").forEach((d) => d.close());
  const pick = h("select", { "aria-label": t("language"), onchange: async () => {
    prefer(pick.value);
    await choose();
    held ? held.draw() : draw(true);
    document.querySelector("select")?.focus();
  } }, ...Object.entries(languages).map(([k, v]) => h("option", { value: k, selected: k === lang }, v)));
  const organisation = visit?.organisation ?? held?.organisation ?? document.documentElement.dataset.organisation!;
  app.replaceChildren(
    h("header", { class: "top" },
      h("span", { class: "brand" }, h("img", { class: "mark", src: assets + "/icon.svg", alt: "", width: 30, height: 30 }), h("span", {}, organisation)),
      h("span", { class: "tools" }, visit?.enrol && !problem && h("button", { type: "button", class: "tool named", "aria-label": t("devices.open"), onclick: devices }, icon("device"), h("span", {}, t("devices.open"))), pick)),
    h("main", { id: "main", class: narrow ? "narrow" : "spread" }, ...kids));
  document.title = `${title} · ${organisation}`;
  if (!first) app.querySelector<HTMLElement>("h1")?.focus();
  if (!first) scrollTo({ top: 0, behavior: "instant" });
}

const heading = (text: string): HTMLElement => h("h1", { tabindex: "-1" }, text);

/** draw chooses the scene. Nothing is drawn anew that has not changed. */
function draw(force = false): void {
  const now = problem ? "!" + problem.reason : JSON.stringify(visit);
  if (now === drawn && !force) return;
  if (problem) drawProblem(problem);
  else if (visit!.purged) drawStatus(visit!);
  else if (!visit!.proven) drawLocked(visit!);
  else if (visit!.state === "open" && visit!.who.state === "waiting") {
    // A colleague's signature must not take the pen out of this visitor's hand.
    if (viewer && !force) { drawn = now; return; }
    drawReview(visit!);
  } else drawStatus(visit!);
  drawn = now;
}

function drawProblem(p: Refused): void {
  const title = t(has(`problem.${p.reason}.title`) ? `problem.${p.reason}.title` : "problem.title");
  const temporary = !["unknown-link", "gone", "no-token", "insecure", "confirmed", "denied", "expired"].includes(p.reason);
  show(title, true, h("div", { class: "card pad centre" }, outcomeIcon(p.reason === "gone" ? "file" : "alert", "still"),
    heading(title), h("p", { class: "lead" }, has(`problem.${p.reason}`) ? t(`problem.${p.reason}`) : failure(p)),
    temporary && h("button", { type: "button", class: "button primary", onclick: () => (held ? held.load() : refresh()) }, t("try-again"))));
}

/** eyebrow is the level, and until when there is time. */
const eyebrow = (v: Visit, ends: boolean): Kid[] =>
  [h("span", {}, t("level." + v.level)), ...(ends ? [" · ", h("span", {}, t("deadline", { left: left(v.deadline) }))] : [])];

const outcomeIcon = (name: string, mood: string): HTMLElement => h("div", { class: "outcome " + mood }, icon(name));

/** drawLocked is for a device that has not proven the mailbox: who asks and for what. */
function drawLocked(v: Visit): void {
  const ended = ["done", "declined", "expired", "cancelled"].includes(v.state);
  const asks = v.who.signatory && v.who.state === "waiting" && !ended;
  const title = asks ? t(v.who.sender ? "locked.self" : "locked.asks", { name: v.sender.name }) : t("locked.title." + v.state);
  const open = h("button", { type: "submit", class: "button primary grow" }, icon("lock"), t("locked.open"));
  const byPasskey = hasPasskeys() && v.opens.includes("passkey");
  const code = new CodeField(v.who.mail, t("code.send"), !byPasskey, open);
  const opened = async (next: Visit): Promise<void> => {
    visit = next;
    await choose(visit.who.language);
    draw();
    again(true);
  };
  const submit = async (e: Event): Promise<void> => {
    e.preventDefault();
    if (code.value.length !== 6) return code.fail(t("error.bad-code"));
    const given = code.value;
    try {
      const next = await busy(open, () => openWith(given));
      keepCode(given);
      await opened(next);
    } catch (e) {
      code.fail(failure(e));
    }
  };
  const error = h("p", { class: "error", role: "alert" });
  const key = h("button", { type: "button", class: "button primary", onclick: async () => {
    error.textContent = "";
    try {
      await opened(await busy(key, async () => openWithPasskey({ passkey: await confirm("open", []) })));
    } catch (e) {
      error.textContent = failure(e);
    }
  } }, icon("key"), h("span", {}, t("locked.passkey")));
  show(title, true, h("div", { class: "card" },
    h("div", { class: "pad" }, h("p", { class: "eyebrow" }, ...eyebrow(v, !!asks)),
      heading(title), h("p", { class: "subject" }, v.subject || t("no-subject")),
      v.message && h("blockquote", {}, v.message)),
    h("form", { class: "pad band", novalidate: true, onsubmit: submit },
      h("p", {}, h("strong", {}, t(asks ? "locked.why" : "locked.why-result"))), ...(byPasskey ? [key, error, h("p", { class: "quiet" }, t("locked.or"))] : []), code.el),
    h("div", { class: "pad" }, facts(v), details(v))));
}

/** drawReview shows the documents, and asks. */
function drawReview(v: Visit): void {
  const docs = (v.documents ?? []).filter((d) => d.kind === "mailed");
  const title = t(v.who.sender ? "locked.self" : "locked.asks", { name: v.sender.name });
  const view = new Viewer(docs);
  const notice = h("p", { class: "notice" }, icon("clock"), h("span", {}, withoutTime(v)));
  notice.hidden = true;
  // The document first: on a phone, the mail's words wait behind "Details".
  const more = details(v, ...(v.message ? [h("blockquote", {}, v.message)] : []), people(v));
  more.toggleAttribute("open", matchMedia("(min-width: 1000px)").matches);
  show(title, false,
    h("aside", { class: "card side" }, h("div", { class: "pad" },
      h("p", { class: "eyebrow" }, ...eyebrow(v, true)),
      heading(title), h("p", { class: "subject" }, v.subject || t("no-subject")),
      notice,
      docs.length > 1 && h("nav", { "aria-label": t("documents.title") }, h("ul", { class: "files" },
        ...docs.map((d) => h("li", {}, icon("file"), h("a", { href: "#doc" + d.index, onclick: (e: Event) => {
          e.preventDefault(); // the fragment is the link's token
          document.getElementById("doc" + d.index)!.scrollIntoView();
        } }, d.name))))),
      more)),
    h("div", { class: "desk" }, view.el));
  viewer = view;
  app.append(bar(v, docs, view));
  void isReady().then((r) => { away = !r; notice.hidden = r; if (!r) say(withoutTime(v)); }).catch(() => undefined);
}

/** bar holds the two choices; with a passkey, one tap on it signs. */
function bar(v: Visit, docs: Doc[], view: Viewer): HTMLElement {
  const act = (): Act => ({ visit: v, docs, view, away, done: after, enrol: setUp });
  const qualified = v.level === "qualified";
  const way = ways(v)[0], able = !qualified && enrols(v);
  // A phone signs instead of this device, also for somebody who has never enrolled one.
  const phone = !qualified && byPhone(v, docs), phoneFirst = phone && !way;
  const open = qualified ? !!(v.providers?.length || v.phones || v.card) : !!way || phone;
  const hint = h("p", { class: "hint quiet", role: "status" }, t("review.loading"));
  const name = v.who.name;
  const press = h("button", { type: "button", class: "button primary grow", disabled: true, onclick: () => {
    if (qualified || phoneFirst) askOthers(act());
    else if (way === "passkey" && printable(name)) confirmToSign(act(), { typed: name });
    else if (way) askToSign(act(), way);
    else setUp();
  } }, icon(phoneFirst ? "device" : open ? "pen" : "key"), h("span", { class: "fit" }, phoneFirst ? t("phone.open", { server: v.phones! }) : open || !able ? t("sign.open", { what: what(docs) }) : t("enrol.open")));
  const draws = h("button", { type: "button", class: "link", disabled: true, onclick: () => askToSign(act(), "passkey") }, t("sign.draw"));
  const other = phoneFirst ? able && h("button", { type: "button", class: "link", disabled: true, onclick: setUp }, t("phone.device"))
    : phone && h("button", { type: "button", class: "link", disabled: true, onclick: () => askOthers(act()) }, t("phone.open", { server: v.phones! }));
  const no = h("button", { type: "button", class: "button", onclick: () => askToDecline(v, after) }, t("decline.open"));
  void view.ready.then((good) => {
    const can = good && !!(open || able);
    press.disabled = draws.disabled = !can;
    if (other) other.disabled = !can;
    hint.textContent = t(!good ? "review.bad" : open ? "review.hint" : able ? "review.enrol" : qualified ? "review.unqualified" : "review.cannot");
    hint.classList.toggle("always", good && !open);
  });
  return h("section", { class: "bar", "aria-label": t("sign.title", { what: what(docs) }) }, h("div", { class: "inner" },
    way === "passkey" ? h("p", { class: "as" }, h("span", {}, t("sign.as"), " ", h("strong", {}, name)), printable(name) && !bare(docs) && draws) : null, hint, other && h("p", { class: "else" }, other), h("div", { class: "acts" }, no, press)));
}

/** setUp enrols this device; the documents stay where they are. */
function setUp(): void {
  enrol(visit!, (v) => {
    if (!v) return void refresh();
    visit = v;
    if (viewer && v.state === "open" && v.who.state === "waiting") {
      drawn = JSON.stringify(v);
      const docs = (v.documents ?? []).filter((d) => d.kind === "mailed");
      document.querySelector(".bar")!.replaceWith(bar(v, docs, viewer));
      viewer.ready.then(() => document.querySelector<HTMLElement>(".bar .primary")?.focus({ preventScroll: true }));
    } else draw();
  });
}

const devices = (): void => showDevices(visit!, setUp, () => void refresh());

/** after is called when the visitor has decided; without a session, it is looked up again. */
function after(v: Visit | null): void {
  forget();
  if (!v) return void refresh();
  visit = v;
  draw();
  say(document.querySelector("h1")?.textContent ?? "");
  again(true);
}

/** drawStatus says how things stand, and offers what there is to take home. */
function drawStatus(v: Visit): void {
  const o = outcome(v, away);
  const files = v.proven && !v.purged && v.state !== "preparing" && results(v);
  show(o.title, true, h("div", { class: "card" },
    h("div", { class: "pad centre" }, outcomeIcon(o.icon, o.mood), heading(o.title), h("p", { class: "lead" }, o.text),
      o.comment && h("blockquote", {}, o.comment)),
    v.state === "done" && files,
    h("div", { class: "pad" }, v.proven ? people(v) : facts(v), details(v)),
    v.state !== "done" && files));
}

/** again plans the next look: soon after an act, then ever more seldom. */
function again(soon = false): void {
  clearTimeout(timer);
  if (problem || !visit || ["done", "declined", "expired", "cancelled"].includes(visit.state)) return;
  const working = ["preparing", "sealing"].includes(visit.state) || visit.who.state === "signing";
  pause = soon ? 1200 : Math.min(pause * 1.4 || 1200, working ? 10_000 : 30_000);
  timer = window.setTimeout(() => void refresh(true), working ? pause : 30_000);
}

/** refresh looks at the session; quietly means that a failure of the network is not worth a scene. */
async function refresh(quietly = false): Promise<void> {
  if (quietly && document.hidden) return again();
  try {
    const next = await getVisit();
    if (next.who.state === "signing") away = !(await isReady().catch(() => !away));
    const known = visit;
    visit = next;
    problem = null;
    await choose(next.who.language);
    // "signing" shows its waiting in words, so the authority's return is a change too.
    draw(!!known && next.who.state === "signing" && drawn === JSON.stringify(next));
  } catch (e) {
    const r = e instanceof Refused ? e : new Refused("internal", "");
    if (!quietly || ["gone", "unknown-link"].includes(r.reason)) {
      problem = r;
      draw();
    }
  }
  again();
}

async function start(): Promise<void> {
  await choose();
  if (location.pathname === "/r") return comeBack();
  if (!takeToken()) problem = new Refused("no-token", "");
  else if (!window.isSecureContext) problem = new Refused("insecure", "");
  if (problem) return draw();
  if (location.pathname !== "/c") return refresh();
  held = new HeldPage(show, drawProblem);
  await held.load();
}

/** comeBack goes on with a signature after its person was at a provider's page. */
async function comeBack(): Promise<void> {
  const go = isBack();
  if (!go) {
    problem = new Refused("away-lost", "");
    return draw();
  }
  show(t("qualified.back"), true, h("div", { class: "card pad centre" }, outcomeIcon("clock", "still"), heading(t("qualified.back")),
    h("div", { class: "step" }, h("span", { class: "spin", "aria-hidden": "true" }), h("p", { role: "status" }, t("step.finishing")))));
  try {
    after(await go());
  } catch (e) {
    await refresh();
    const d = dialog(t("qualified.failed"), h("p", { class: "error", role: "alert" }, foreignFailure(e, "qualified")),
      h("div", { class: "acts" }, h("button", { type: "button", class: "button primary grow", onclick: () => d.close() }, t("back"))));
  }
}

addEventListener("hashchange", () => location.reload());
document.addEventListener("visibilitychange", () => { if (!document.hidden && visit) void refresh(true); });
void start();
