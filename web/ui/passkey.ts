// WebAuthn: what the server asks for, in the browser's own form and back.
// (PublicKeyCredential.toJSON is younger than browsers that people have.)

import { Begun, Passkey, Refused, beginPasskey } from "./api";
import { unb64, url64 } from "./bytes";

export const hasPasskeys = (): boolean => !!window.PublicKeyCredential && !!navigator.credentials;

const ids = (list?: { id: string }[]): any[] => (list ?? []).map((c) => ({ ...c, id: unb64(c.id) }));

/** ask runs a ceremony, and says in our words why it failed. */
async function ask(what: () => Promise<Credential | null>): Promise<PublicKeyCredential> {
  try {
    const c = await what();
    if (c) return c as PublicKeyCredential;
  } catch (e) {
    const name = e instanceof DOMException ? e.name : "";
    if (name === "InvalidStateError") throw new Refused("passkey-exists", "");
    if (["SecurityError", "NotSupportedError", "ConstraintError"].includes(name)) throw new Refused("passkey-unsupported", "");
    if (!["NotAllowedError", "AbortError"].includes(name)) console.error(e);
  }
  throw new Refused("passkey-cancelled", "");
}

function answer(ceremony: string, c: PublicKeyCredential): Passkey {
  const from = c.response as any;
  const response: Record<string, unknown> = {};
  for (const field of ["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"])
    if (from[field]) response[field] = url64(from[field]);
  if (from.getTransports) response.transports = from.getTransports();
  return { ceremony, response: { id: c.id, rawId: url64(c.rawId), type: c.type,
    authenticatorAttachment: c.authenticatorAttachment ?? undefined, clientExtensionResults: c.getClientExtensionResults(), response } };
}

/** confirm has a passkey approve digests, for one purpose. */
export async function confirm(purpose: string, digests: string[], signal?: AbortSignal): Promise<Passkey> {
  const { ceremony, options: { publicKey: o } } = await beginPasskey(purpose, digests);
  const publicKey = { ...o, challenge: unb64(o.challenge), allowCredentials: ids(o.allowCredentials) };
  return answer(ceremony, await ask(() => navigator.credentials.get({ publicKey, signal })));
}

/** create makes a passkey. */
export async function create({ ceremony, options: { publicKey: o } }: Begun): Promise<Passkey> {
  const publicKey = { ...o, challenge: unb64(o.challenge), user: { ...o.user, id: unb64(o.user.id) }, excludeCredentials: ids(o.excludeCredentials) };
  return answer(ceremony, await ask(() => navigator.credentials.create({ publicKey })));
}
