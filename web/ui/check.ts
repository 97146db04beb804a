// The device signs what it showed: before it does, it looks for itself at the
// revision that the server has prepared.

import { Doc, Prepared, Refused } from "./api";
import { Bytes, b64, concat, digest as digestOf, equal, hex, sha256, unb64 } from "./bytes";
import { attributes, claims } from "./der";

/** refuse names the check that failed: those that the desk knows, and words have been made for. */
export const refuse = (what: string): never => { throw new Refused("check-failed", what); };

/**
 * check looks at a prepared revision: that it is what the server said and goes
 * on from the shown bytes, that its ByteRange leaves out one hex string of
 * zeros behind those and nothing else, and that the attributes are exactly those
 * of a signature over the rest with this certificate, whose key signs by hash. It returns the attributes
 * as the page itself has written them: those are signed. Where the certificate comes with the
 * signature (null), there are no attributes yet: the digest that is signed for must be that of the rest.
 */
export async function check(bytes: Bytes, shown: number, p: Prepared, certificate: Bytes | null, hash: string): Promise<Bytes> {
  if (bytes.length !== p.size || hex(await sha256(bytes)) !== p.sha256) refuse("digest");
  const tail = new TextDecoder("latin1").decode(bytes.subarray(shown)); // one character a byte
  const place = tail.lastIndexOf("/ByteRange");
  const found = /^\/ByteRange\s*\[\s*0\s+(\d+)\s+(\d+)\s+(\d+)\s*\]/.exec(tail.slice(place, place + 80));
  if (place < 0 || !found) return refuse("byte-range");
  const [gap, after, rest] = found.slice(1).map(Number);
  if (gap <= shown || after - gap < 4 || (after - gap) % 2 || after + rest !== bytes.length) refuse("byte-range");
  const before = tail.slice(0, gap - shown).trimEnd();
  if (!before.endsWith("/Contents") || !/^<0+>$/.test(tail.slice(gap - shown, after - shown))) refuse("contents");
  const digest = await digestOf(hash, concat(bytes.subarray(0, gap), bytes.subarray(after)));
  if (!certificate) {
    if (p.attributes) refuse("attributes");
    if (!equal(digest, unb64(p.digest ?? ""))) refuse("message-digest");
    return new Uint8Array();
  }
  const named = await sha256(certificate);
  return same(attributes(digest, named), unb64(p.attributes ?? ""), digest, named);
}

/** unchanged wants exactly what the page has shown: it is given away as it stands. */
export async function unchanged(bytes: Bytes, shown: number, p: Prepared): Promise<Bytes> {
  if (bytes.length !== shown || p.size !== shown || hex(await sha256(bytes)) !== p.sha256) refuse("digest");
  if (p.attributes || p.digest) refuse("attributes");
  return new Uint8Array();
}

/** same wants the server's attributes to be the page's own, and says what in them is not. */
function same(own: Bytes, theirs: Bytes, digest: Bytes, named: Bytes): Bytes {
  if (!equal(own, theirs)) {
    const has = (b: Bytes): boolean => hex(theirs).includes(hex(b));
    refuse(!theirs.length || has(digest) && has(named) ? "attributes" : has(digest) ? "certificate" : "message-digest");
  }
  return own;
}

// A manifest as it is written for one document (EN 319 162-1, annex A.4).
const manifestOf = /^<\?xml version="1\.0" encoding="UTF-8"\?>\n<asic:ASiCManifest xmlns:asic="http:\/\/uri\.etsi\.org\/02918\/v1\.2\.1#" xmlns:ds="http:\/\/www\.w3\.org\/2000\/09\/xmldsig#">\n<asic:SigReference URI="META-INF\/signature\d{3}\.p7s" MimeType="application\/pkcs7-signature"\/>\n<asic:DataObjectReference URI="([^"<>]+)" MimeType="([^"<>]+)"><ds:DigestMethod Algorithm="http:\/\/www\.w3\.org\/2001\/04\/xmlenc#sha256"\/><ds:DigestValue>([A-Za-z0-9+/]{43}=)<\/ds:DigestValue><\/asic:DataObjectReference>\n<\/asic:ASiCManifest>\n$/;
const plainText = (s: string): string => s.replace(/&(amp|#39|#34);/g, (_, e) => ({ amp: "&", "#39": "'", "#34": '"' })[e as string]!);

/**
 * checkFile does the same for what is no PDF. In a container, the attributes name a
 * manifest that names the shown file by its digest and nothing else; around a file
 * in a message, they name that digest themselves.
 */
export async function checkFile(d: Doc, shown: Bytes, manifest: Bytes, p: Prepared, certificate: Bytes | null, hash: string): Promise<Bytes> {
  if (!certificate) return refuse("certificate");
  let over = shown, mime = d.type ?? "";
  if (manifest.length !== p.size || hex(await sha256(manifest)) !== p.sha256) refuse("digest");
  if (d.form === "asic") {
    const found = manifestOf.exec(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(manifest));
    let name = "";
    try { name = decodeURIComponent(plainText(found?.[1] ?? "")); } catch { /* it names nothing */ }
    if (!found || name !== d.name || plainText(found[2]) !== mime || found[3] !== b64(await sha256(shown))) return refuse("manifest");
    over = manifest;
    mime = "application/xml";
  }
  const theirs = unb64(p.attributes ?? ""), more = claims(theirs, mime), digest = await digestOf(hash, over), named = await sha256(certificate);
  if (!more) return refuse("attributes");
  return same(attributes(digest, named, ...more), theirs, digest, named);
}
