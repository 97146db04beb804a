package origin

import (
	"errors"
	"strings"
)

// vouched reports whether this site's filter has verified a signature: its
// Authentication-Results stand above the Received line that this site's Postfix
// wrote, where no client can write.
func (c *Checker) vouched(fields []field, s signature) bool {
	r, ok := c.reception(fields)
	if c.Authserv == "" || !ok || !c.wrote(r) {
		return false
	}
	passed := false
	for _, f := range fields[:r.at] {
		if f.name != "authentication-results" {
			continue
		}
		id, results, err := parseResults(f.value())
		if !strings.EqualFold(id, c.Authserv) {
			continue
		}
		if err != nil {
			return false
		}
		for _, res := range results {
			if res.method != "dkim" || !res.about(s) {
				continue
			}
			if res.value != "pass" || !res.single(fields) {
				return false // two words about one signature, or one about two
			}
			passed = true
		}
	}
	return passed
}

// result is one finding: dkim=pass header.d=corp.com header.b=a1b2c3d4.
type result struct {
	method, value string            // in lower case
	props         map[string]string // names in lower case
}

// about reports whether a finding is about a signature. RFC 6008 tells
// signatures of one domain apart by at least eight characters of b=.
func (r result) about(s signature) bool {
	b := strings.Join(strings.Fields(s.tags["b"]), "")
	mark := r.props["header.b"]
	return strings.EqualFold(r.props["header.d"], s.domain()) && len(mark) >= 8 && strings.HasPrefix(b, mark)
}

// single reports whether no two signatures of the mail, of whatever domain, fit
// the mark of a finding. The filter may have looked at another one than ours:
// at one that leaves fields out, and whose first characters a stranger copied
// into one that he made up.
func (r result) single(fields []field) bool {
	n := 0
	for _, f := range fields {
		if f.name != "dkim-signature" {
			continue
		}
		for part := range strings.SplitSeq(f.value(), ";") {
			name, value, _ := strings.Cut(part, "=")
			if strings.TrimSpace(name) == "b" && strings.HasPrefix(strings.Join(strings.Fields(value), ""), r.props["header.b"]) {
				n++
			}
		}
	}
	return n == 1
}

var errResults = errors.New("malformed Authentication-Results")

// parseResults reads an Authentication-Results field (RFC 8601, 2.2). Filters
// repeat in it what strangers wrote, so one doubtful place spoils all of it.
// The id is given even then.
func parseResults(v string) (id string, results []result, err error) {
	sections, err := words(v)
	if len(sections) == 0 || len(sections[0]) == 0 {
		return "", nil, errResults
	}
	id = sections[0][0]
	if err != nil || len(sections[0]) > 2 || len(sections[0]) == 2 && sections[0][1] != "1" {
		return id, nil, errResults
	}
	for _, s := range sections[1:] {
		if len(s) == 0 || len(s) == 1 && strings.EqualFold(s[0], "none") {
			continue
		}
		method, value, ok := strings.Cut(s[0], "=")
		method, _, _ = strings.Cut(strings.ToLower(method), "/")
		r := result{method, strings.ToLower(value), map[string]string{}}
		if !ok || method == "" {
			return id, nil, errResults
		}
		for _, p := range s[1:] {
			name, value, ok := strings.Cut(p, "=")
			name = strings.ToLower(name)
			if _, twice := r.props[name]; !ok || twice || name == "" {
				return id, nil, errResults
			}
			r.props[name] = value
		}
		results = append(results, r)
	}
	return id, results, nil
}

// words takes a field apart at semicolons and blanks, without comments and
// quotes. On an error it gives the sections so far.
func words(v string) (sections [][]string, err error) {
	var section []string
	var word strings.Builder
	in, quoted, depth := false, false, 0
	end := func() {
		if in {
			section, in = append(section, word.String()), false
			word.Reset()
		}
	}
	v = strings.ReplaceAll(v, "\r\n", "")
	for i := 0; i < len(v); i++ {
		c := v[i]
		switch {
		case c == '\\' && (quoted || depth > 0):
			if i++; i == len(v) {
				return append(sections, section), errResults
			}
			if quoted {
				word.WriteByte(v[i])
			}
		case c < ' ' && c != '\t':
			return append(sections, section), errResults
		case quoted && c == '"':
			quoted = false
		case quoted:
			word.WriteByte(c)
		case c == '(':
			if depth++; depth == 1 {
				end()
			}
		case c == ')':
			if depth--; depth < 0 {
				return append(sections, section), errResults
			}
		case depth > 0:
		case c == '"':
			quoted, in = true, true
		case c == ';':
			end()
			sections, section = append(sections, section), nil
		case c == ' ' || c == '\t':
			end()
		default:
			in = true
			word.WriteByte(c)
		}
	}
	end()
	sections = append(sections, section)
	if quoted || depth > 0 {
		return sections, errResults
	}
	return sections, nil
}
