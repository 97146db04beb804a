package origin

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Fresh is how old a signature may be: the time that a mail can wait in queues
// on its way. The desk must remember mails for longer, so that a replayed one
// finds the session that it has opened.
const Fresh = 7 * 24 * time.Hour

// ahead is how far another server's clock may be ahead of ours.
const ahead = 5 * time.Minute

// Fields that say who asks whom for what, and how the body reads. The first
// must be in the mail; each may stand in it once, and must be signed.
var (
	needed   = []string{"from", "to", "subject", "date", "message-id", "content-type"}
	optional = []string{"cc", "mime-version", "content-transfer-encoding"}
	// naming tells the name of the document where the mail is nothing but one.
	naming  = "content-disposition"
	display = map[string]string{"from": "From", "to": "To", "cc": "Cc", "subject": "Subject", "date": "Date", "message-id": "Message-ID",
		"content-type": "Content-Type", "mime-version": "MIME-Version", "content-transfer-encoding": "Content-Transfer-Encoding",
		naming: "Content-Disposition"}
)

// signature is a DKIM-Signature, read but not verified.
type signature struct {
	at     int               // its place among the fields
	tags   map[string]string // without folds and outer blanks
	signed map[string]bool   // names in h=, in lower case
}

var (
	tagName  = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]*$`)
	dnsName  = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*$`)
	valueOfB = regexp.MustCompile(`b\s*=`)
)

// parseTags reads a tag list (RFC 6376, 3.2). A tag that stands twice spoils it.
func parseTags(s string) (map[string]string, bool) {
	tags := map[string]string{}
	for part := range strings.SplitSeq(s, ";") {
		if strings.TrimSpace(part) == "" {
			continue
		}
		name, value, ok := strings.Cut(part, "=")
		name = strings.TrimSpace(name)
		if _, twice := tags[name]; !ok || twice || !tagName.MatchString(name) {
			return nil, false
		}
		tags[name] = strings.TrimSpace(strings.ReplaceAll(value, "\r\n", ""))
	}
	return tags, true
}

// parseSignature reads a DKIM-Signature; ok is false for one that is nobody's.
func parseSignature(at int, f field) (signature, bool) {
	s := signature{at: at, signed: map[string]bool{}}
	var ok bool
	// The verifier leaves out what stands behind every "b=", wherever it is,
	// when it computes what was signed; so there must be one.
	if s.tags, ok = parseTags(f.value()); !ok || len(valueOfB.FindAllString(f.value(), -1)) != 1 {
		return s, false
	}
	names := strings.Split(s.tags["h"], ":")
	for _, name := range names {
		s.signed[strings.ToLower(strings.TrimSpace(name))] = true
	}
	return s, len(names) <= maxSigned && len(s.domain()) < 254 && dnsName.MatchString(s.domain()) && dnsName.MatchString(s.tags["s"])
}

func (s signature) domain() string { return strings.ToLower(s.tags["d"]) }

// algorithms that are strong enough (RFC 8301, RFC 8463).
var algorithms = map[string]bool{"rsa-sha256": true, "ed25519-sha256": true}

// weak says why a signature could not count even if it verifies; "" if it could.
func (s signature) weak(fields []field, date, now time.Time) string {
	switch {
	case s.tags["v"] != "1" || !algorithms[s.tags["a"]]:
		return fmt.Sprintf("its DKIM signature has the algorithm %q", s.tags["a"])
	case s.has("l"):
		return "its DKIM signature covers only a part of the body (l=)"
	case s.signed["dkim-signature"]:
		// Others are left out when this one is verified.
		return "its DKIM signature covers other DKIM signatures"
	}
	for _, name := range s.mustSign(fields) {
		if !s.signed[name] {
			return "its DKIM signature leaves out " + display[name]
		}
	}
	return s.stale(date, now)
}

// mustSign are the fields that this mail's signature must cover.
func (s signature) mustSign(fields []field) []string {
	names := append([]string(nil), needed...)
	multipart := false
	for _, f := range fields {
		multipart = multipart || f.name == "content-type" && strings.HasPrefix(strings.ToLower(strings.TrimSpace(f.value())), "multipart/")
	}
	for _, name := range optional {
		if count(fields, name) > 0 {
			names = append(names, name)
		}
	}
	if !multipart && count(fields, naming) > 0 {
		names = append(names, naming)
	}
	return names
}

// stale says why a signature's time does not fit. The Date of the mail, which is
// signed, stands for a t= that is missing.
func (s signature) stale(date, now time.Time) string {
	made := date
	if s.has("t") {
		var ok bool
		if made, ok = seconds(s.tags["t"]); !ok {
			return "its DKIM signature has no readable time"
		}
	}
	if s.has("x") {
		until, ok := seconds(s.tags["x"])
		if !ok || s.has("t") && until.Before(made) {
			return "its DKIM signature has no readable time"
		}
		if !now.Before(until) {
			return "its DKIM signature has expired"
		}
	}
	switch {
	case made.IsZero():
		return "its DKIM signature has no time, and the mail no Date"
	case made.After(now.Add(ahead)):
		return "its DKIM signature comes from the future"
	case made.Before(now.Add(-Fresh)):
		return fmt.Sprintf("its DKIM signature is older than %d days", Fresh/(24*time.Hour))
	}
	return ""
}

func (s signature) has(tag string) bool { _, ok := s.tags[tag]; return ok }

// seconds reads a time since 1970; RFC 6376, 3.5 allows twelve digits.
func seconds(s string) (time.Time, bool) {
	n, err := strconv.ParseUint(s, 10, 64)
	return time.Unix(int64(n), 0), err == nil && len(s) <= 12
}

// single says which field stands in the mail more than once, or is missing; ""
// if none. A second one could be the one that is shown, or read.
func single(fields []field) string {
	for _, name := range slices.Concat(needed, optional, []string{naming}) {
		if n := count(fields, name); n > 1 {
			return "it has " + strconv.Itoa(n) + " fields " + display[name]
		}
	}
	for _, name := range needed {
		if count(fields, name) == 0 {
			return "it has no " + display[name]
		}
	}
	return ""
}
