package csc

import (
	"encoding/base64"
	"errors"
	"strings"
)

// encode is a digest as it stands in JSON (CSC 11.6: base64), by the provider's switches.
func (c *Client) encode(digest []byte) string {
	e := base64.StdEncoding
	if c.p.HashURLSafe {
		e = base64.URLEncoding
	}
	if c.p.HashUnpadded {
		e = e.WithPadding(base64.NoPadding)
	}
	return e.EncodeToString(digest)
}

func (c *Client) encodeAll(digests [][]byte) []string {
	out := make([]string, len(digests))
	for i, d := range digests {
		out[i] = c.encode(d)
	}
	return out
}

// queryDigests is how digests stand in an address: base64url, with commas (CSC 8.4.2).
func (c *Client) queryDigests(digests [][]byte) string {
	e := base64.URLEncoding
	if c.p.HashUnpadded {
		e = e.WithPadding(base64.NoPadding)
	}
	out := make([]string, len(digests))
	for i, d := range digests {
		out[i] = e.EncodeToString(d)
	}
	return strings.Join(out, ",")
}

// strict is base64 without line breaks, which Go would pass over, and without bits that
// nobody reads.
func strict(s string) ([]byte, error) {
	if s == "" || strings.ContainsAny(s, "\r\n") {
		return nil, errors.New("empty, or base64 on several lines")
	}
	return base64.StdEncoding.Strict().DecodeString(s)
}

// value is a signature value of an answer. A provider that wants digests in
// another form of base64 may answer in it.
func (c *Client) value(s string) ([]byte, error) {
	if c.p.HashURLSafe {
		s = strings.NewReplacer("-", "+", "_", "/").Replace(s)
	}
	if c.p.HashUnpadded && !strings.HasSuffix(s, "=") {
		s += strings.Repeat("=", -len(s)&3)
	}
	return strict(s)
}
