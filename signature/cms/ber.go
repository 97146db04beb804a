package cms

import (
	"fmt"

	tag "golang.org/x/crypto/cryptobyte/asn1"
)

// maxBERDepth bounds the nesting that FromBER follows.
const maxBERDepth = 40

// FromBER writes a BER element in DER's lengths, with strings in one piece: many
// programs write CMS with indefinite lengths and content in chunks (X.690, 8.1.3.6
// and 8.7.3). What is DER already comes back byte for byte. Order in SETs is not
// changed, so signed attributes must have been in DER's, as RFC 5652, 5.4, wants
// them signed. The error wraps ErrFormat.
func FromBER(b []byte) ([]byte, error) {
	if len(b) > MaxAttached {
		return nil, fmt.Errorf("%w: %d bytes, limit %d", ErrFormat, len(b), MaxAttached)
	}
	out, rest, err := fromBER(b, 0)
	if err == nil && len(rest) > 0 {
		err = malformed("bytes behind the message")
	}
	return out, err
}

// fromBER reads one element and gives what follows it.
func fromBER(b []byte, depth int) (der, rest []byte, err error) {
	if depth > maxBERDepth || len(b) < 2 || b[0]&0x1f == 0x1f || b[0] == 0 {
		return nil, nil, malformed("BER element")
	}
	t := b[0]
	length, head, err := berLength(b)
	if err != nil {
		return nil, nil, err
	}
	constructed := t&0x20 != 0
	if length < 0 && !constructed || length > len(b)-head {
		return nil, nil, malformed("BER length")
	}
	if !constructed {
		return tlv(tag.Tag(t), b[head:head+length]), b[head+length:], nil
	}
	body, after := b[head:], []byte(nil)
	if length >= 0 {
		body, after = b[head:head+length], b[head+length:]
	}
	chunked := t == 0x24 // OCTET STRING in pieces
	var content []byte
	for {
		if length < 0 && len(body) >= 2 && body[0] == 0 && body[1] == 0 {
			after = body[2:]
			break
		}
		if len(body) == 0 {
			if length < 0 {
				return nil, nil, malformed("BER element without its end")
			}
			break
		}
		var el []byte
		if el, body, err = fromBER(body, depth+1); err != nil {
			return nil, nil, err
		}
		if chunked {
			if el[0] != 0x04 {
				return nil, nil, malformed("BER string of something else")
			}
			_, head, err := berLength(el)
			if err != nil {
				return nil, nil, err
			}
			el = el[head:]
		}
		content = append(content, el...)
	}
	switch {
	case chunked:
		t = 0x04
	case t&0xc0 == 0 && t != 0x30 && t != 0x31: // another universal type in pieces
		return nil, nil, malformed(fmt.Sprintf("BER of type %#02x in pieces", t))
	}
	return tlv(tag.Tag(t), content), after, nil
}

// berLength gives the length of an element's content, -1 for an indefinite one,
// and the size of tag and length.
func berLength(b []byte) (length, head int, err error) {
	n := int(b[1])
	switch {
	case n < 0x80:
		return n, 2, nil
	case n == 0x80:
		return -1, 2, nil
	}
	n &= 0x7f
	if n > 8 || len(b) < 2+n {
		return 0, 0, malformed("BER length")
	}
	for _, d := range b[2 : 2+n] {
		if length = length<<8 | int(d); length > MaxAttached {
			return 0, 0, malformed("BER length")
		}
	}
	return length, 2 + n, nil
}
