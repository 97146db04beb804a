package notify

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"strconv"
	"strings"

	"milterd/workflow"
)

// Everything derived is written in lower-case base32, because local parts and
// Message-IDs meet software that folds case.
var base32Lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// derive gives 26 base32 digits: 128 bits of HMAC-SHA256 over the parts.
func derive(key []byte, parts ...string) string {
	h := hmac.New(sha256.New, key)
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return base32Lower.EncodeToString(h.Sum(nil)[:16])
}

// messageID is <milterd.SESSION.DIGITS@DOMAIN>, the same for the same notice.
func (n *Notifier) messageID(s *workflow.Session, to int, kind workflow.MailKind, key string) string {
	return fmt.Sprintf("<milterd.%s.%s@%s>", s.ID, derive(n.idKey, "mail", s.ID, string(kind), strconv.Itoa(to), key), n.c.Domain)
}

// Own reports whether a Message-ID, with or without angle brackets, is one of
// ours, and of which session. It looks at the form alone: a stranger can write
// such a Message-ID, but gains by it only that their mail opens nothing.
func Own(messageID, domain string) (session string, ok bool) {
	id := strings.TrimSuffix(strings.TrimPrefix(messageID, "<"), ">")
	local, host, _ := strings.Cut(id, "@")
	if !strings.EqualFold(host, domain) {
		return "", false
	}
	parts := strings.Split(strings.ToLower(local), ".")
	if len(parts) != 3 || parts[0] != "milterd" || parts[1] == "" || len(parts[2]) != 26 {
		return "", false
	}
	return parts[1], true
}

// Bounce is the envelope sender of the mails to one person of a session:
// bounce+SESSION.PERSON.DIGITS@DOMAIN, where the digits cannot be guessed.
func (n *Notifier) Bounce(session string, person int) string {
	p := strconv.Itoa(person)
	return "bounce+" + session + "." + p + "." + derive(n.bounces, session, p) + "@" + n.c.Domain
}

// ParseBounce takes an address, or its local part, that Bounce has made, in
// any case, and tells whose mail came back. Anything else, and anything that
// was tampered with, is not ok.
func (n *Notifier) ParseBounce(address string) (session string, person int, ok bool) {
	local, host, found := strings.Cut(strings.ToLower(address), "@")
	if found && !strings.EqualFold(host, n.c.Domain) {
		return "", 0, false
	}
	rest, found := strings.CutPrefix(local, "bounce+")
	parts := strings.Split(rest, ".")
	if !found || len(parts) != 3 {
		return "", 0, false
	}
	person, err := strconv.Atoi(parts[1])
	if err != nil || person < 0 {
		return "", 0, false
	}
	want, _, _ := strings.Cut(n.Bounce(parts[0], person), "@")
	if !hmac.Equal([]byte(local), []byte(want)) {
		return "", 0, false
	}
	return parts[0], person, true
}
