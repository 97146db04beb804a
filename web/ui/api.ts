// The interface of the server. The link's token lives here and in the URL's
// fragment, and leaves only in the bodies of POSTs.

export interface Person {
  name: string; mail: string; language?: string; you?: boolean; sender?: boolean; signatory?: boolean;
  state?: "waiting" | "signing" | "signed" | "declined"; unreached?: boolean; decided?: string; comment?: string;
}
export interface Doc {
  index: number; name: string; kind: "mailed" | "report"; pages: number; size: number; sha256: string;
  revision: number; head: string; head_size: number; signed?: boolean; notes?: string[];
}
export interface Visit {
  organisation: string; session: string; level: "standard" | "advanced" | "qualified";
  state: "preparing" | "open" | "sealing" | "done" | "declined" | "expired" | "cancelled";
  subject: string; message?: string; created: string; deadline: string; ended?: string; reason?: string; purged?: boolean;
  download?: boolean; proven: boolean; sender: { name: string; mail: string }; who: Person; people?: Person[];
  signatures: [number, number]; documents?: Doc[];
}
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

/** takeToken reads the link; false if it holds none. */
export function takeToken(): boolean {
  token = location.hash.slice(1);
  return /^[\w-]{22}$/.test(token);
}

async function send(path: string, body: object): Promise<Response> {
  let r: Response;
  try {
    r = await fetch("/api/" + path, {
      method: "POST", credentials: "same-origin", cache: "no-store", redirect: "error",
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
export const sign = async (shown: Shown[], appearance: Appearance, code: string): Promise<Visit> =>
  (await send("sign", { shown, appearance, code })).json();

export const getHeld = async (): Promise<Held> => (await send("held", {})).json();
export const confirmHeld = async (recipients: number): Promise<void> => void (await send("confirm", { recipients }));
export const denyHeld = async (): Promise<void> => void (await send("deny", {}));

export interface Loaded { bytes: Uint8Array<ArrayBuffer>; shown: Shown; genuine: boolean }

const hex = async (b: BufferSource): Promise<string> =>
  Array.from(new Uint8Array(await crypto.subtle.digest("SHA-256", b)), (x) => x.toString(16).padStart(2, "0")).join("");

/**
 * load fetches a document and looks for itself: what the bytes' own digest is,
 * and whether they begin with the original whose digest the mail named.
 */
export async function load(d: Doc): Promise<Loaded> {
  let r: Response, buffer: ArrayBuffer;
  r = await send("document", { document: d.index });
  try {
    buffer = await r.arrayBuffer();
  } catch {
    throw new Refused("offline", "");
  }
  const bytes = new Uint8Array(buffer);
  const whole = await hex(bytes);
  const original = await hex(bytes.subarray(0, d.size));
  const told = r.headers.get("Milterd-SHA256");
  return {
    bytes,
    shown: { document: d.index, revision: Number(r.headers.get("Milterd-Revision")), sha256: whole },
    genuine: whole === told && original === d.sha256,
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
