// The two DER structures that the page writes: a request for a certificate, and
// the attributes that a signature signs.

import { Bytes, concat } from "./bytes";

/** tlv is one element: tag, length, contents (X.690). */
function tlv(tag: number, ...parts: Uint8Array[]): Bytes {
  const body = concat(...parts), n = body.length;
  const length = n < 0x80 ? [n] : n < 0x100 ? [0x81, n] : [0x82, n >> 8, n & 255];
  return concat(new Uint8Array([tag, ...length]), body);
}
const sequence = (...parts: Uint8Array[]): Bytes => tlv(0x30, ...parts);
const oid = (digits: string): Bytes => tlv(6, Uint8Array.from(digits.match(/../g)!, (x) => parseInt(x, 16)));

const ecdsaWithSHA256 = oid("2a8648ce3d040302");
const data = oid("2a864886f70d010701");
const contentType = oid("2a864886f70d010903");
const messageDigest = oid("2a864886f70d010904");
const signingTime = oid("2a864886f70d010905");
const mimeType = oid("04008d450201");
const signingCertificateV2 = oid("2a864886f70d010910022f");

/** integer is unsigned, without leading zeros but for a sign bit. */
function integer(b: Uint8Array): Bytes {
  let i = 0;
  while (i < b.length - 1 && b[i] === 0) i++;
  const rest = b.subarray(i);
  return tlv(2, rest[0] & 0x80 ? concat(new Uint8Array(1), rest) : rest);
}

/**
 * request is a PKCS #10 request for a key: sign gives r‖s over what it is
 * given. It names nobody, because the authority takes names from the directory.
 */
export async function request(spki: Uint8Array, sign: (b: Bytes) => Promise<Bytes>): Promise<Bytes> {
  const info = sequence(integer(new Uint8Array(1)), sequence(), spki, tlv(0xa0));
  const rs = await sign(info), half = rs.length / 2;
  const value = sequence(integer(rs.subarray(0, half)), integer(rs.subarray(half)));
  return sequence(info, sequence(ecdsaWithSHA256), tlv(3, new Uint8Array(1), value));
}

const attribute = (name: Bytes, value: Bytes): Bytes => sequence(name, tlv(0x31, value));
const order = (a: Bytes, b: Bytes): number => {
  const i = a.findIndex((x, n) => x !== b[n]);
  return i < 0 ? 0 : a[i] - b[i];
};

/**
 * attributes are what a PAdES signature signs (ETSI EN 319 142-1, 6.3): the type
 * of the content, its digest, and the digest of the signatory's certificate
 * (RFC 5035), in DER's order.
 */
export function attributes(digest: Bytes, certificate: Bytes, ...more: Bytes[]): Bytes {
  return tlv(0x31, ...[
    ...more,
    attribute(contentType, data),
    attribute(messageDigest, tlv(4, digest)),
    attribute(signingCertificateV2, sequence(sequence(sequence(tlv(4, certificate))))),
  ].sort(order));
}

/**
 * claims are what a CAdES signature signs besides (EN 319 122-1, 6.3): the claimed
 * time, which is UTCTime as it stands in the server's attributes, and the media
 * type. undefined if those have no such time.
 */
export function claims(theirs: Bytes, mime: string): Bytes[] | undefined {
  const all = new TextDecoder("latin1").decode(theirs), at = all.indexOf(new TextDecoder("latin1").decode(signingTime));
  const time = /^1\x0f\x17\r(\d{12}Z)/.exec(all.slice(at + signingTime.length, at + signingTime.length + 20));
  if (at < 0 || !time) return undefined;
  const text = (tag: number, s: string): Bytes => tlv(tag, new TextEncoder().encode(s));
  return [attribute(signingTime, text(23, time[1])), attribute(mimeType, text(12, mime))];
}
