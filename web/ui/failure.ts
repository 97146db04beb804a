import { Refused } from "./api";
import { has, t } from "./words";

/** failure says in the visitor's language what went wrong and what to do. */
export function failure(e: unknown): string {
  if (!(e instanceof Refused)) {
    console.error(e);
    return t("error.internal");
  }
  const key = "error." + e.reason, tries = e.text.match(/\d+/);
  if (tries && has(key + "-tries.other")) return t(key + "-tries", { n: Number(tries[0]) });
  if (e.reason === "check-failed") return t(key, { what: t("check." + e.text) });
  return has(key) ? t(key) : e.text || t("error.internal");
}
