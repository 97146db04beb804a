// The list of a person's devices: what is enrolled, what asks to be, Remove.

import { Device, Devices, Pending, Refused, Visit, approveEnrolment, getDevices, revokeDevice } from "./api";
import { busy, h, icon, say } from "./dom";
import { approvalOf, register } from "./enrol";
import { failure } from "./failure";
import { ownKey } from "./keys";
import { confirm } from "./passkey";
import { dialog, outdated } from "./sheet";
import { enrols } from "./ways";
import { day, t, when } from "./words";

/** showDevices opens the list; look is called when the session should be looked up again. */
export function showDevices(v: Visit, enrol: () => void, look: () => void): void {
  const body = h("div", { class: "hand" });
  const error = h("p", { class: "error", role: "alert" });
  const d = dialog(t("devices.title"), body);
  let here = "";

  const work = async (button: HTMLButtonElement | null, what: () => Promise<Devices>): Promise<void> => {
    error.textContent = "";
    try {
      draw(await (button ? busy(button, what) : what()));
    } catch (e) {
      if (!d.open) return;
      if (e instanceof Refused && outdated.includes(e.reason)) {
        d.close();
        look();
      } else error.textContent = failure(e);
    }
  };

  const draw = (all: Devices): void => {
    const devices = all.devices.filter((x) => !x.revoked);
    const gone = all.devices.filter((x) => x.revoked);
    const add = enrols(v) && !devices.some((x) => x.id === here) &&
      h("button", { type: "button", class: "button", onclick: () => { d.close(); enrol(); } }, icon("plus"), h("span", {}, t("enrol.open")));
    const card = all.card && !matchMedia("(pointer: coarse)").matches && // phones have no reader
      h("button", { type: "button", class: "button", onclick: () => { d.close(); register(v, () => showDevices(v, enrol, look)); } }, icon("key"), h("span", { class: "fit" }, t("register.open")));
    body.replaceChildren(...all.pending.map(ask), h("ul", { class: "devices" }, ...devices.map(row)),
      ...(devices.length ? [] : [h("p", {}, t("devices.none"))]), error, ...(add ? [add] : []), ...(card ? [card] : []),
      ...(gone.length ? [h("details", { class: "more" }, h("summary", {}, t("devices.removed", { n: gone.length })), h("ul", { class: "devices" }, ...gone.map(row)))] : []),
      h("div", { class: "acts" }, h("button", { type: "button", class: "button grow", onclick: () => d.close() }, t("close"))));
  };

  /** ask is a device that wants to be added. */
  const ask = (p: Pending): HTMLElement => {
    const yes = h("button", { type: "button", class: "button primary", "aria-label": t("devices.approve-of", { device: p.device, number: p.number }), onclick: () => void work(yes, async () => {
      await approveEnrolment({ enrolment: p.enrolment, passkey: await confirm("approve", [await approvalOf(p.enrolment)]) });
      say(t("devices.approved"));
      return getDevices({});
    }) }, icon("check"), h("span", {}, t("devices.approve")));
    return h("div", { class: "ask" }, h("p", {}, t("devices.asks", { device: p.device, time: when(p.begun) })), h("p", { class: "number" }, p.number),
      h("p", { class: "quiet" }, t("devices.compare")), ...(v.passkeys ? [yes] : []));
  };

  const row = (x: Device): HTMLElement => {
    let sure = false;
    const remove = h("button", { type: "button", class: "button", "aria-label": t("devices.remove-of", { name: x.name }), onclick: () => {
      if (sure) return void work(remove, async () => {
        const all = await revokeDevice({ id: x.id });
        say(t("devices.gone", { name: x.name }));
        look();
        return all;
      });
      sure = true;
      remove.className = "button danger";
      remove.textContent = t("devices.sure");
      remove.setAttribute("aria-label", t("devices.sure-of", { name: x.name }));
    } }, t("devices.remove"));
    const certificate = x.kind === "certificate";
    return h("li", {}, icon(certificate ? "seal" : x.kind === "totp" ? "clock" : "device"),
      h("span", {}, h("strong", {}, x.name), x.id === here && h("span", { class: "here" }, t("devices.here")),
        h("span", { class: "quiet" }, t(certificate ? "devices.registered" : "devices.enrolled", { time: when(x.enrolled), by: by(x.approved_by) })),
        h("span", { class: "quiet" }, x.until && !x.revoked ? t("devices.until", { day: day(x.until) }) : x.revoked ? t("devices.revoked", { time: when(x.revoked) }) : x.used ? t("devices.used", { time: when(x.used) }) : t("devices.unused"))),
      !x.revoked && remove);
  };

  void (async () => {
    here = (await ownKey(v.who.mail))?.device ?? "";
    await work(null, () => getDevices({}));
    if (!body.childElementCount) body.append(error, h("button", { type: "button", class: "button", onclick: () => d.close() }, t("close")));
  })();
}

/** by says in the visitor's language what approved a device. */
function by(what: string): string {
  if (what.startsWith("device ")) return t("by.device", { name: what.slice(7) });
  const words: Record<string, string> = { "directory password": "password", "identity card": "card", "first signature": "signature" };
  return t("by." + (words[what] ?? "administrator"));
}
