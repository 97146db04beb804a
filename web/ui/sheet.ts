// What every sheet is made of.

import { Kid, h, id } from "./dom";

/** dialog shows a sheet from below on phones, in the middle elsewhere, and returns it open. */
export function dialog(title: string, ...kids: Kid[]): HTMLDialogElement {
  const name = id();
  const d = h("dialog", { class: "sheet", "aria-labelledby": name }, h("h2", { id: name, tabindex: "-1" }, title), ...kids);
  d.addEventListener("close", () => d.remove());
  document.body.append(d);
  d.showModal();
  return d;
}

/** outdated are refusals that mean: the session has moved on, look again. */
export const outdated = ["ended", "already-decided", "gone", "not-proven", "preparing", "not-signatory", "unknown-link"];
