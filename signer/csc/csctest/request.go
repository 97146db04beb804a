package csctest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
)

// refusal is an error of the interface: CSC 10.2.
type refusal struct {
	status     int
	code, text string
}

func (r *refusal) Error() string { return fmt.Sprintf("%d %s: %s", r.status, r.code, r.text) }

func invalid(format string, args ...any) error {
	return &refusal{http.StatusBadRequest, "invalid_request", fmt.Sprintf(format, args...)}
}

func refuse(status int, code, text string) error { return &refusal{status, code, text} }

const maxBody = 1 << 20

// readBody takes a body of a media type.
func readBody(r *http.Request, media string) ([]byte, error) {
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	charset, has := params["charset"]
	if err != nil || kind != media || len(params) > 1 || len(params) == 1 && (!has || !strings.EqualFold(charset, "utf-8")) {
		return nil, refuse(http.StatusUnsupportedMediaType, "invalid_request", fmt.Sprintf("Content-Type %q, want %s", r.Header.Get("Content-Type"), media))
	}
	b, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil || len(b) > maxBody {
		return nil, invalid("body cannot be read, or is too large")
	}
	return b, nil
}

// fields are the parameters of a JSON object, each there once, spelt exactly, and
// known.
type fields map[string]json.RawMessage

func readFields(b []byte, known ...string) (fields, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, invalid("the body is no JSON object")
	}
	f := fields{}
	for d.More() {
		t, err := d.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return nil, invalid("malformed JSON")
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, invalid("malformed JSON")
		}
		if _, twice := f[name]; twice {
			return nil, invalid("Parameter %s is repeated", name)
		}
		if !slices.Contains(known, name) {
			return nil, invalid("Unknown parameter %s", name)
		}
		f[name] = value
	}
	if _, err := d.Token(); err != nil {
		return nil, invalid("malformed JSON")
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, invalid("something follows the JSON object")
	}
	return f, nil
}

func (f fields) has(name string) bool { _, has := f[name]; return has }

// str is a string that must be there and not be empty.
func (f fields) str(name string) (string, error) {
	var s *string
	if !f.has(name) || json.Unmarshal(f[name], &s) != nil || s == nil || *s == "" {
		return "", invalid("Missing (or invalid type) string parameter %s", name)
	}
	return *s, nil
}

// integer is a whole number of 1 or more that must be there.
func (f fields) integer(name string) (int, error) {
	var n *int
	if !f.has(name) || json.Unmarshal(f[name], &n) != nil || n == nil {
		return 0, invalid("Missing (or invalid type) integer parameter %s", name)
	}
	if *n < 1 {
		return 0, invalid("Invalid value for parameter %s", name)
	}
	return *n, nil
}

// flag is a truth value that may be missing.
func (f fields) flag(name string) (bool, error) {
	var b *bool
	if !f.has(name) {
		return false, nil
	}
	if json.Unmarshal(f[name], &b) != nil || b == nil {
		return false, invalid("Invalid parameter %s", name)
	}
	return *b, nil
}

// list is an array of strings that must be there and not be empty.
func (f fields) list(name string) ([]string, error) {
	var l []string
	if !f.has(name) || json.Unmarshal(f[name], &l) != nil || l == nil {
		return nil, invalid("Missing (or invalid type) array parameter %s", name)
	}
	if len(l) == 0 {
		return nil, invalid("Empty hash array")
	}
	return l, nil
}

// Object identifiers of hashes, and how long their values are.
var hashLengths = map[string]int{
	"2.16.840.1.101.3.4.2.1": 32,
	"2.16.840.1.101.3.4.2.2": 48,
	"2.16.840.1.101.3.4.2.3": 64,
}

// digests decodes digests in one exact form of base64, each of the hash's length
// (any of the three if the hash is not named).
func digests(encoded []string, urlSafe, unpadded bool, hash string) ([]string, error) {
	e := base64.StdEncoding
	if urlSafe {
		e = base64.URLEncoding
	}
	if unpadded {
		e = e.WithPadding(base64.NoPadding)
	}
	var out []string
	for _, s := range encoded {
		b, err := e.Strict().DecodeString(s)
		if err != nil || e.EncodeToString(b) != s {
			return nil, invalid("Invalid Base64 hash string parameter")
		}
		length, known := hashLengths[hash]
		if hash != "" && !known {
			return nil, invalid("Invalid parameter hashAlgorithmOID")
		}
		if hash != "" && len(b) != length || len(b) != 32 && len(b) != 48 && len(b) != 64 {
			return nil, invalid("Invalid digest value length")
		}
		out = append(out, string(b))
	}
	return out, nil
}
