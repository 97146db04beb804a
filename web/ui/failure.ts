import { Refused } from "./api";
import { has, t } from "./words";

/** failure says in the visitor's language what went wrong and what to do. */
export function failure(e: unknown): string {
  if (!(e instanceof Refused)) {
    console.error(e);
    return t("error.internal");
  }
  const tries = e.text.match(/\d+/);
  if (e.reason === "wrong-code" && tries) return t("error.wrong-code-tries", { n: Number(tries[0]) });
  const key = "error." + e.reason;
  return has(key) ? t(key) : e.text || t("error.internal");
}
