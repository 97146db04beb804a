// Bytes as the interface, DER and WebAuthn write them.

export type Bytes = Uint8Array<ArrayBuffer>;

export const b64 = (b: Uint8Array | ArrayBuffer): string => btoa(Array.from(new Uint8Array(b), (x) => String.fromCharCode(x)).join(""));
export const url64 = (b: Uint8Array | ArrayBuffer): string => b64(b).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
/** unb64 reads both alphabets, with padding or without. */
export const unb64 = (s: string): Bytes => Uint8Array.from(atob(s.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
export const hex = (b: Uint8Array): string => Array.from(b, (x) => x.toString(16).padStart(2, "0")).join("");
export const digest = async (hash: string, b: BufferSource): Promise<Bytes> => new Uint8Array(await crypto.subtle.digest(hash, b));
export const sha256 = (b: BufferSource): Promise<Bytes> => digest("SHA-256", b);

export function concat(...parts: Uint8Array[]): Bytes {
  const out = new Uint8Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const p of parts) {
    out.set(p, at);
    at += p.length;
  }
  return out;
}

export const equal = (a: Uint8Array, b: Uint8Array): boolean => a.length === b.length && a.every((x, i) => x === b[i]);
