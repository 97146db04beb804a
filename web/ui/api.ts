// The interface of the server. The link's token lives here and in the URL's
// fragment, and leaves only in the bodies of POSTs.

import { Bytes, hex, sha256 } from "./bytes";

export interface Person {
  name: string; mail: string; language?: string; you?: boolean; sender?: boolean; signatory?: boolean;
  state?: "waiting" | "signing" | "signed" | "declined"; unreached?: boolean; decided?: string; comment?: string;
  /** of another authority's certificate that signed: who issued it, and by whose word it was taken. */
  issuer?: string; vouched?: string;
}
export interface Doc {
  index: number; name: string; kind: "mailed" | "report"; pages: number; size: number; sha256: string;
  revision: number; head: string; head_size: number; signed?: boolean; notes?: string[]; source?: string; maker?: string;
  /** of what is no PDF, or not signed in it: the form of its signatures, its media type, and what a page can show of it. */
  form?: "xades" | "cades" | "asic"; type?: string; sight?: "text" | "picture" | "file";
  /** the name of the signed file that is here in the document's place. */
  result?: string;
}
export interface Visit {
  organisation: string; session: string; level: "standard" | "advanced" | "qualified";
  state: "preparing" | "open" | "sealing" | "done" | "declined" | "expired" | "cancelled";
  subject: string; message?: string; created: string; deadline: string; ended?: string; reason?: string; purged?: boolean;
  download?: boolean; proven: boolean; sender: { name: string; mail: string }; who: Person; people?: Person[];
  signatures: [number, number]; documents?: Doc[];
  opens: string[]; proofs?: string[]; passkeys?: number; totps?: number; enrol?: boolean; providers?: string[]; phones?: string; card?: boolean;
}
/** Passkey is the answer to a ceremony; Begun is what asks for it. */
export interface Passkey { ceremony: string; response: object }
export interface Begun { ceremony: string; options: { publicKey: any } }
/** Proof is one of the three. */
export interface Proof { code?: string; totp?: string; passkey?: Passkey }
export interface Certificate { serial: string; chain: string[]; until: string; seconds: number }
export interface Prepared { document: number; revision: number; head: string; sha256: string; size: number; attributes: string; digest?: string }
export interface Preparation { id: string; seconds: number; documents?: Prepared[] }
/** Factor is what a person types, or does elsewhere, to agree at a provider. */
export interface Factor { id: string; label?: string; typed: boolean; sent?: boolean; numeric?: boolean; hidden?: boolean }
/** Key is a person's at a trust service provider. */
export interface Key { id: string; subject: string; until: string; once?: boolean; page: boolean; factors?: Factor[] }
/** Qualifying is a preparation for a certificate of another authority. */
export interface Qualifying extends Preparation { certificate: string; hash: string }
export interface Enrolment { id: string; enrolment: string; number: string; device: string; ways?: string[]; approved: boolean; by?: string; seconds: number }
export interface Enrolled { device: string; certificate?: Certificate; look: Visit }
export interface Device { id: string; kind: "passkey" | "totp" | "certificate"; name: string; enrolled: string; approved_by: string; used?: string; revoked?: string; until?: string }
export interface Pending { enrolment: string; number: string; device: string; begun: string }
export interface Devices { devices: Device[]; pending: Pending[]; card?: boolean }
/** Held is a mail that waits for its supposed sender. */
export interface Held {
  organisation: string; who: Person; received: string; until: string; subject: string;
  level: "standard" | "advanced" | "qualified"; asks?: { name: string; mail: string }[]; documents?: { name: string; size: number; sha256: string }[];
  recipients: number;
}
export interface Shown { document: number; revision: number; sha256: string }
export interface Appearance { typed?: string; strokes?: { x: number; y: number }[][]; width?: number; height?: number }

/** Refused is an answer that is not the one wished for. */
export class Refused extends Error {
  constructor(readonly reason: string, readonly text: string) { super(reason); }
}

let token = "";

/** theToken is what the browser must take along to another site and back. */
export const theToken = (): string => token;
/** bringToken is what it has brought. */
export function bringToken(t: string): void { token = t; }

/** takeToken reads the link; false if it holds none. */
export function takeToken(): boolean {
  token = location.hash.slice(1);
  return /^[\w-]{22}$/.test(token);
}

async function send(path: string, body: object, keepalive = false): Promise<Response> {
  let r: Response;
  try {
    r = await fetch("/api/" + path, {
      method: "POST", credentials: "same-origin", cache: "no-store", redirect: "error", keepalive,
      headers: { "Content-Type": "application/json", "Milterd-Request": "1" },
      body: JSON.stringify({ token, ...body }),
    });
  } catch {
    throw new Refused("offline", "");
  }
  if (r.ok) return r;
  const e = await r.json().catch(() => ({}));
  throw new Refused(e.reason || "internal", e.text || "");
}

export const getVisit = async (): Promise<Visit> => (await send("visit", {})).json();
export const askCode = async (): Promise<{ seconds: number }> => (await send("code", {})).json();
export const openWith = async (code: string): Promise<Visit> => (await send("open", { code })).json();
export const isReady = async (): Promise<boolean> => (await (await send("ready", {})).json()).ready;
export const decline = async (comment: string): Promise<Visit> => (await send("decline", { comment })).json();
export const sign = async (shown: Shown[], appearance: Appearance, proof: Proof): Promise<Visit> =>
  (await send("sign", { shown, appearance, ...proof })).json();

const ask = <T>(path: string) => async (body: object): Promise<T> => (await send(path, body)).json();
const begin = ask<Begun>("passkey/begin");
export const beginPasskey = (purpose: string, digests: string[]): Promise<Begun> => begin({ purpose, digests });
export const openWithPasskey = ask<Visit>("passkey/open");
export const beginEnrolment = ask<Enrolment>("enrol/begin");
export const enrolmentState = ask<Enrolment>("enrol/state");
export const givePassword = ask<Enrolment>("enrol/password");
export const approveEnrolment = ask<object>("enrol/approve");
export const enrolmentOptions = ask<Begun>("enrol/options");
export const finishEnrolment = ask<Enrolled>("enrol/finish");
export const beginCard = ask<{ ceremony: string; nonce: string }>("enrol/card/begin");
export const giveCard = ask<Enrolment>("enrol/card");
export const registerCertificate = ask<Devices>("enrol/certificate");
export const beginTOTP = ask<{ ceremony: string; uri: string; qr: string }>("totp/begin");
export const finishTOTP = ask<Enrolled>("totp/finish");
const issue = ask<Certificate>("key/issue"), renew = ask<Certificate>("key/renew");
export const issueKey = (csr: string, proof: object): Promise<Certificate> => issue({ csr, ...proof });
export const renewKey = (csr: string, serial: string, proof: string): Promise<Certificate> => renew({ csr, serial, proof });
export const prepare = ask<Preparation>("prepare");
export const keep = ask<{ seconds: number }>("keep");
export const finish = ask<Visit>("finish");
export const getDevices = ask<Devices>("devices");
export const revokeDevice = ask<Devices>("devices/revoke");
export const providerKeys = ask<{ keys?: Key[] }>("qualified/keys");
export const prepareQualified = ask<Qualifying>("qualified/prepare");
export const challengeProvider = ask<{ question: string }>("qualified/challenge");
export const authorizeProvider = ask<Visit>("qualified/authorize");
export const leaveForProvider = ask<{ address: string; kept: string }>("qualified/leave");
export const returnFromProvider = ask<Visit>("qualified/return");
export const finishQualified = ask<Visit>("qualified/finish");
export const preparePhone = ask<Qualifying>("phone/prepare");
export const orderPhone = ask<{ kept: string; image?: string }>("phone/order");
export const checkPhone = ask<Visit & { pending?: boolean; kept?: string }>("phone/check");
export const touchPhone = ask<{ image: string }>("phone/touch");
export const cancelPhone = ask<object>("phone/cancel");
/** abandon lets a preparation go, also while the page is being left; failed is the check that it did not pass. */
export const abandon = (id: string, failed = ""): void => void send("abandon", { id, failed }, true).catch(() => undefined);

/** loadPrepared gives what a prepared revision adds to the bytes that the page has. */
export async function loadPrepared(id: string, document: number, from: number): Promise<Bytes> {
  return body(await send("prepared", { id, document, from }));
}

async function body(r: Response): Promise<Bytes> {
  try {
    return new Uint8Array(await r.arrayBuffer());
  } catch {
    throw new Refused("offline", "");
  }
}

export const getHeld = async (): Promise<Held> => (await send("held", {})).json();
export const confirmHeld = async (recipients: number): Promise<void> => void (await send("confirm", { recipients }));
export const denyHeld = async (): Promise<void> => void (await send("deny", {}));

export interface Loaded { bytes: Bytes; shown: Shown; genuine: boolean }

/**
 * load fetches a document and looks for itself: what the bytes' own digest is,
 * and whether they begin with the original whose digest the mail named. A signed
 * file that holds the original in another way is what the server says, or not.
 */
export async function load(d: Doc): Promise<Loaded> {
  const r = await send("document", { document: d.index });
  const bytes = await body(r);
  const whole = hex(await sha256(bytes));
  const original = hex(await sha256(bytes.subarray(0, d.size)));
  const told = r.headers.get("Milterd-SHA256");
  return {
    bytes,
    shown: { document: d.index, revision: Number(r.headers.get("Milterd-Revision")), sha256: whole },
    genuine: whole === told && (!!d.result || original === d.sha256),
  };
}

// The code that was given, for as long as it lives and only in memory: it may
// serve once more, for the signature.
let fresh: { code: string; until: number } | null = null;
let asked = 0;

export function codeAsked(seconds: number): void { asked = performance.now() + seconds * 1000; }
export function keepCode(code: string): void { if (asked) fresh = { code, until: asked - 20_000 }; }
export function freshCode(): string { return fresh && performance.now() < fresh.until ? fresh.code : ""; }
export function dropCode(): void { fresh = null; asked = 0; }
