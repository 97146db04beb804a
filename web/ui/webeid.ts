// Web eID: identity cards by the extension and program of the same name. The
// protocol is messages of the window to itself: the extension's script hears a
// request, says that it has, and answers.

import { Refused } from "./api";

export interface CardAlgorithm { cryptoAlgorithm: string; hashFunction: string; paddingScheme: string }

/** The extension says within a second that it has heard; the person then has two minutes. */
const heard = 1000, answered = 120_000;

/** failures are the extension's words that mean something to a person. */
const failures: Record<string, string> = {
  ERR_WEBEID_USER_CANCELLED: "card-cancelled", ERR_WEBEID_USER_TIMEOUT: "card-cancelled",
  ERR_WEBEID_NATIVE_UNAVAILABLE: "card-program", ERR_WEBEID_VERSION_MISMATCH: "card-program", ERR_WEBEID_VERSION_INVALID: "card-program",
};

function ask(action: string, params: object): Promise<any> {
  return new Promise((resolve, reject) => {
    const name = "web-eid:" + action;
    const done = (then: () => void): void => {
      clearTimeout(timer);
      removeEventListener("message", hear);
      then();
    };
    const late = (why: string) => (): void => done(() => reject(new Refused(why, "")));
    let timer = setTimeout(late("card-extension"), heard);
    const hear = (e: MessageEvent): void => {
      if (e.source !== window || e.origin !== location.origin || typeof e.data?.action !== "string") return;
      switch (e.data.action) {
        case name + "-ack":
          clearTimeout(timer);
          timer = setTimeout(late("card-cancelled"), answered);
          break;
        case name + "-success":
          return done(() => resolve(e.data));
        case name + "-failure":
          return done(() => reject(new Refused(failures[e.data.error?.code] ?? "card-failed", "")));
      }
    };
    addEventListener("message", hear);
    postMessage({ action: name, ...params }, location.origin);
  });
}

/** cardHere says whether the extension is. */
export const cardHere = (): Promise<boolean> => ask("status", { libraryVersion: "2.0.0" }).then(() => true, () => false);

/** CardAnswer is Web eID's authentication token, format web-eid:1. */
export interface CardAnswer { unverifiedCertificate: string; algorithm: string; signature: string; format: string; appVersion: string }

/** cardAuthenticate has the card say whose it is, over this page's origin and a nonce of the server; the card asks for its PIN. */
export async function cardAuthenticate(challengeNonce: string, lang: string): Promise<CardAnswer> {
  const r = await ask("authenticate", { libraryVersion: "2.0.0", challengeNonce, options: { lang } });
  const fields = ["unverifiedCertificate", "algorithm", "signature", "format", "appVersion"];
  if (fields.some((f) => typeof r[f] !== "string")) throw new Refused("card-failed", "");
  return Object.fromEntries(fields.map((f) => [f, r[f]])) as unknown as CardAnswer; // what else it says is not signed
}

/** cardCertificate asks for the card's certificate for signatures, and what its key can do. */
export async function cardCertificate(lang: string): Promise<{ certificate: string; algorithms: CardAlgorithm[] }> {
  const r = await ask("get-signing-certificate", { libraryVersion: "2.0.0", options: { lang } });
  if (typeof r.certificate !== "string" || !Array.isArray(r.supportedSignatureAlgorithms)) throw new Refused("card-failed", "");
  return { certificate: r.certificate, algorithms: r.supportedSignatureAlgorithms.map((a: CardAlgorithm) =>
    ({ cryptoAlgorithm: String(a.cryptoAlgorithm), hashFunction: String(a.hashFunction), paddingScheme: String(a.paddingScheme) })) };
}

/** cardSign has the card sign a digest, base64 both ways; the card asks for its PIN. */
export async function cardSign(certificate: string, hash: string, hashFunction: string, lang: string): Promise<string> {
  const r = await ask("sign", { libraryVersion: "2.0.0", certificate, hash, hashFunction, options: { lang } });
  if (typeof r.signature !== "string") throw new Refused("card-failed", "");
  return r.signature;
}
