// How somebody can prove here who they are: what the level accepts, what they
// have enrolled, what this browser can do.

import { Visit } from "./api";
import { hasPasskeys } from "./passkey";

export type Way = "passkey" | "totp" | "code";

/** ways are the proofs that can be given for a signature, the best first. */
export function ways(v: Visit): Way[] {
  const able: Record<Way, boolean> = { passkey: hasPasskeys() && !!v.passkeys, totp: !!v.totps, code: true };
  return (Object.keys(able) as Way[]).filter((w) => able[w] && v.proofs?.includes(w));
}

/** enrolls is what this device can become; empty if nothing. */
export function enrols(v: Visit): "passkey" | "totp" | "" {
  if (!v.enrol) return "";
  if (hasPasskeys()) return "passkey";
  return v.proofs?.includes("totp") ? "totp" : "";
}
