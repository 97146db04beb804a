package mailparse

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/emersion/go-message"
	_ "github.com/emersion/go-message/charset" // every charset that mail clients write
)

// words decodes RFC 2047 encoded words.
var words = mime.WordDecoder{CharsetReader: message.CharsetReader}

// decodeWords gives unstructured text as one line of valid UTF-8. What cannot
// be decoded stays as it is.
func decodeWords(s string) string {
	if d, err := words.DecodeHeader(s); err == nil {
		s = d
	}
	return oneLine(s)
}

// oneLine makes controls and invalid bytes harmless, and drops what turns text
// around or hides it (format characters; a joiner holds emoji together).
func oneLine(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == 0x2028 || r == 0x2029 {
			return ' '
		}
		if unicode.Is(unicode.Cf, r) && r != '\u200d' {
			return -1
		}
		return r
	}, s))
}

// field is a structured header field: "attachment; filename=a.pdf".
type field struct {
	value  string // lower case
	params map[string]string
	bounds []string // the boundary parameters as they are written
}

var errTwice = errors.New("parameter given twice")

// maxBoundary is more than the 70 characters of RFC 2046, 5.1.1, which not
// every program heeds.
const maxBoundary = 200

// multipart is the only form of a media type that all programs read alike.
var multipart = regexp.MustCompile(`^multipart/[a-z0-9.+_-]+$`)

// boundary gives the boundary of a multipart. All programs must find the same
// parts, so it may be written in one plain way only: no RFC 2231, no encoded
// words, no comments, nothing behind the closing quote.
func (f field) boundary() (string, error) {
	if !multipart.MatchString(f.value) {
		return "", fmt.Errorf("media type %q", f.value)
	}
	if len(f.bounds) != 1 {
		return "", fmt.Errorf("multipart with %d boundaries", len(f.bounds))
	}
	b, bad := f.bounds[0], `()<>,;"\ `
	if strings.HasPrefix(b, `"`) {
		if len(b) < 2 || b[len(b)-1] != '"' {
			return "", fmt.Errorf("boundary %s", b)
		}
		b, bad = b[1:len(b)-1], `"\`
	}
	if b == "" || len(b) > maxBoundary || b[len(b)-1] == ' ' || strings.ContainsAny(b, bad) ||
		strings.ContainsFunc(b, func(r rune) bool { return r < ' ' || r > '~' }) {
		return "", fmt.Errorf("boundary %q", b)
	}
	return b, nil
}

// parseField reads a MIME header field with its parameters. The standard
// library refuses what mail clients do write (blanks in bare values, charsets
// other than UTF-8 in RFC 2231 values); ambiguity is refused here too.
func parseField(s string) (field, error) {
	f := field{params: map[string]string{}}
	head, rest := cut(s)
	f.value = strings.ToLower(strings.TrimSpace(head))
	pieces := map[string][]piece{}
	for rest != "" {
		var p string
		p, rest = cut(rest)
		name, value, ok := strings.Cut(p, "=")
		name = strings.ToLower(strings.TrimSpace(name))
		if !ok || name == "" {
			continue
		}
		value = strings.TrimSpace(value)
		if name == "boundary" || strings.HasPrefix(name, "boundary*") {
			if name != "boundary" {
				value = "" // RFC 2231
			}
			f.bounds = append(f.bounds, value)
		}
		value = unquoteParam(value)
		// RFC 2231: name*0*=, name*1=, name*=
		base, section, extended := name, -1, false
		if strings.HasSuffix(base, "*") {
			base, extended = strings.TrimSuffix(base, "*"), true
		}
		if i := strings.IndexByte(base, '*'); i >= 0 {
			n, err := strconv.Atoi(base[i+1:])
			if err != nil || n < 0 || n > 999 {
				continue
			}
			base, section = base[:i], n
		}
		for _, q := range pieces[base] {
			if q.section == section && q.extended == extended {
				return f, fmt.Errorf("%w: %s", errTwice, name)
			}
		}
		pieces[base] = append(pieces[base], piece{section, extended, value})
	}
	for name, ps := range pieces {
		f.params[name] = join(ps)
	}
	return f, nil
}

// piece is one section of a parameter (RFC 2231, 3): section -1 is the whole.
type piece struct {
	section  int
	extended bool
	value    string
}

// join puts a parameter together. An extended value wins over sections, and
// those over a plain one (RFC 6266, 4.3 and practice).
func join(ps []piece) string {
	sort.Slice(ps, func(i, j int) bool {
		a, b := ps[i], ps[j]
		if a.section != b.section {
			return a.section < b.section
		}
		return a.extended && !b.extended
	})
	if ps[0].section == -1 && (ps[0].extended || len(ps) == 1 || ps[len(ps)-1].section == -1) {
		if ps[0].extended {
			charset, text := charsetOf(ps[0].value)
			return oneLine(toUTF8(charset, percent(text)))
		}
		return decodeWords(ps[0].value)
	}
	var all []byte
	charset, next := "", 0
	for _, p := range ps {
		if p.section != next {
			continue
		}
		v := p.value
		if p.extended {
			if next == 0 {
				charset, v = charsetOf(v)
			}
			all = append(all, percent(v)...)
		} else {
			all = append(all, v...)
		}
		next++
	}
	if charset == "" {
		return decodeWords(string(all))
	}
	return oneLine(toUTF8(charset, all))
}

// charsetOf splits charset'language'text.
func charsetOf(v string) (charset, text string) {
	parts := strings.SplitN(v, "'", 3)
	if len(parts) != 3 {
		return "utf-8", v
	}
	if parts[0] == "" {
		return "utf-8", parts[2]
	}
	return parts[0], parts[2]
}

func percent(s string) []byte {
	var out []byte
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				out = append(out, byte(n))
				i += 2
				continue
			}
		}
		out = append(out, s[i])
	}
	return out
}

// toUTF8 converts; bytes of an unknown charset that are no UTF-8 become U+FFFD.
func toUTF8(charset string, b []byte) string {
	if utf8.Valid(b) && !strings.Contains(strings.ToLower(charset), "2022") && !strings.EqualFold(charset, "utf-7") {
		return string(b)
	}
	r, err := message.CharsetReader(charset, bytes.NewReader(b))
	if err != nil {
		return strings.ToValidUTF8(string(b), "\uFFFD")
	}
	out, err := io.ReadAll(r)
	if err != nil {
		return strings.ToValidUTF8(string(b), "\uFFFD")
	}
	return string(out)
}

// cut splits at the first semicolon outside quotes and comments.
func cut(s string) (head, rest string) {
	quoted, depth := false, 0
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '\\' && (quoted || depth > 0) && i+1 < len(s):
			if depth == 0 {
				b.WriteByte(c)
				b.WriteByte(s[i+1])
			}
			i++
			continue
		case c == '"' && depth == 0:
			quoted = !quoted
		case c == '(' && !quoted && (depth > 0 || !strings.Contains(b.String(), "=")):
			// A comment; behind the = it belongs to a bare file name.
			depth++
			continue
		case c == ')' && depth > 0:
			depth--
			continue
		case c == ';' && !quoted && depth == 0:
			return b.String(), s[i+1:]
		}
		if depth == 0 {
			b.WriteByte(c)
		}
	}
	return b.String(), ""
}

func unquoteParam(v string) string {
	if len(v) < 2 || v[0] != '"' {
		return v
	}
	var b strings.Builder
	for i := 1; i < len(v); i++ {
		switch {
		case v[i] == '"':
			return b.String()
		case v[i] == '\\' && i+1 < len(v) && (v[i+1] == '"' || v[i+1] == '\\'):
			i++
		}
		b.WriteByte(v[i])
	}
	return b.String()
}
