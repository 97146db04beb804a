// The device signs what it showed: before it does, it looks for itself at the
// revision that the server has prepared.

import { Prepared, Refused } from "./api";
import { Bytes, concat, digest as digestOf, equal, hex, sha256, unb64 } from "./bytes";
import { attributes } from "./der";

/** refuse names the check that failed: those that the desk knows, and words have been made for. */
export const refuse = (what: string): never => { throw new Refused("check-failed", what); };

/**
 * check looks at a prepared revision: that it is what the server said and goes
 * on from the shown bytes, that its ByteRange leaves out one hex string of
 * zeros behind those and nothing else, and that the attributes are exactly those
 * of a signature over the rest with this certificate, whose key signs by hash. It returns the attributes
 * as the page itself has written them: those are signed.
 */
export async function check(bytes: Bytes, shown: number, p: Prepared, certificate: Bytes, hash: string): Promise<Bytes> {
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
  const named = await sha256(certificate), own = attributes(digest, named), theirs = unb64(p.attributes ?? "");
  if (!equal(own, theirs)) {
    const has = (b: Bytes): boolean => hex(theirs).includes(hex(b));
    refuse(!theirs.length || has(digest) && has(named) ? "attributes" : has(digest) ? "certificate" : "message-digest");
  }
  return own;
}
