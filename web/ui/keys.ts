// The device's own keys: P-256, made by the browser, readable by nobody (not
// extractable), kept in IndexedDB. Browsers may forget them; then a passkey
// makes a new one.

import { Certificate, Refused, issueKey, renewKey } from "./api";
import { Bytes, b64, hex, sha256, unb64 } from "./bytes";
import { request } from "./der";

/** Key is new; spki is the digest of its public half, in hex. */
export interface Key { pair: CryptoKeyPair; csr: string; spki: string }
/** Own is a certified key of one person at this browser. */
export interface Own { pair: CryptoKeyPair; serial: string; certificate: Bytes; since: number; until: number; device: string }

type Table = "keys" | "enrolments";
// What the browser will not keep (private windows) lives as long as the page.
const memory = new Map<string, unknown>();

const wait = <T>(r: IDBRequest<T>): Promise<T> =>
  new Promise((yes, no) => { r.onsuccess = () => yes(r.result); r.onerror = () => no(r.error); });

let database: Promise<IDBDatabase> | undefined;

async function table(name: Table, mode: IDBTransactionMode): Promise<IDBObjectStore> {
  database ??= (() => {
    const r = indexedDB.open("milterd", 1);
    r.onupgradeneeded = () => { for (const t of ["keys", "enrolments"]) r.result.createObjectStore(t); };
    return wait(r);
  })();
  return (await database).transaction(name, mode).objectStore(name);
}

async function read<T>(name: Table, mail: string): Promise<T | undefined> {
  const kept = memory.get(name + mail) as T | undefined;
  try {
    return kept ?? (await wait((await table(name, "readonly")).get(mail)));
  } catch {
    return kept;
  }
}

async function write(name: Table, mail: string, value?: unknown): Promise<void> {
  memory.delete(name + mail);
  try {
    const t = await table(name, "readwrite");
    await wait((value === undefined ? t.delete(mail) : t.put(value, mail)) as IDBRequest<unknown>);
  } catch {
    if (value !== undefined) memory.set(name + mail, value);
  }
}

export const ownKey = (mail: string): Promise<Own | undefined> => read("keys", mail);
export const forgetKey = (mail: string): Promise<void> => write("keys", mail);
/** An enrolment's id, while it waits for its second proof: a reload goes on with it. */
export const begunEnrolment = (mail: string): Promise<string | undefined> => read("enrolments", mail);
export const keepEnrolment = (mail: string, id?: string): Promise<void> => write("enrolments", mail, id);

const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };

/** signWith gives r‖s. */
export const signWith = async (pair: CryptoKeyPair, b: Bytes): Promise<Bytes> =>
  new Uint8Array(await crypto.subtle.sign(algorithm, pair.privateKey, b));

/** makeKey makes a key that cannot leave this browser, and the request for its certificate. */
export async function makeKey(): Promise<Key> {
  const pair = await crypto.subtle.generateKey(algorithm, false, ["sign", "verify"]);
  const spki = new Uint8Array(await crypto.subtle.exportKey("spki", pair.publicKey));
  return { pair, csr: b64(await request(spki, (b) => signWith(pair, b))), spki: hex(await sha256(spki)) };
}

/** keepKey remembers a key with its certificate. */
export async function keepKey(mail: string, k: Key, c: Certificate, device: string): Promise<Own> {
  // By this device's own clock, be it right or wrong.
  const since = Date.now(), until = since + c.seconds * 1000;
  const own: Own = { pair: k.pair, serial: c.serial, certificate: unb64(c.chain[0]), since, until, device };
  await write("keys", mail, own);
  void navigator.storage?.persist?.().catch(() => undefined); // a wish
  return own;
}

/** ageing is a key whose certificate is in its last third. */
const ageing = (k: Own): boolean => Date.now() > k.until - (k.until - k.since) / 3;

/** passing are failures that say nothing about the key. */
const passing = ["offline", "slow", "too-fast", "internal", "store-away"];

/**
 * ensureKey gives a certified key: the one that is there, renewed by its own
 * word when it is old or unfit; else a new one, by the proof that prove gets.
 */
export async function ensureKey(mail: string, unfit: boolean, prove: (spki: string) => Promise<object>): Promise<Own> {
  const k = await ownKey(mail);
  if (k && !unfit && !ageing(k)) return k;
  const fresh = await makeKey();
  if (k) {
    try {
      const proof = b64(await signWith(k.pair, unb64(fresh.csr)));
      return await keepKey(mail, fresh, await renewKey(fresh.csr, k.serial, proof), k.device);
    } catch (e) {
      if (e instanceof Refused && passing.includes(e.reason)) {
        if (unfit) throw e;
        return k; // it still serves
      }
      await forgetKey(mail);
    }
  }
  return keepKey(mail, fresh, await issueKey(fresh.csr, await prove(fresh.spki)), k?.device ?? "");
}
