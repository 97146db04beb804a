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
func (n *Notifier) messageID(m workflow.Mailing, key string) string {
	return fmt.Sprintf("<milterd.%s.%s@%s>", m.Session, derive(n.idKey, "mail", m.Session, string(m.Mail), strconv.Itoa(m.Person), key), n.c.Domain)
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

// letters stand for the kinds of mail in bounce addresses, whose local part
// has room for 64 characters.
var letters = map[workflow.MailKind]byte{
	workflow.MailInvitation: 'i', workflow.MailReceipt: 'r', workflow.MailCode: 'c', workflow.MailResult: 's',
	workflow.MailDeclined: 'd', workflow.MailExpired: 'x', workflow.MailCancelled: 'z', workflow.MailReturned: 'u',
	workflow.MailConfirm: 'q', workflow.MailEnrolled: 'e', workflow.MailAgain: 'a',
	workflow.MailVerified: 'v',
}

// Bounce is the envelope sender of a mail to one person of a session:
// bounce+SESSION.PERSON.MAIL.DIGITS@DOMAIN, where MAIL is the letter of its
// kind with the round, and the digits cannot be guessed.
func (n *Notifier) Bounce(m workflow.Mailing) string {
	p, k := strconv.Itoa(m.Person), string(letters[m.Mail])+strconv.Itoa(m.Round)
	return "bounce+" + m.Session + "." + p + "." + k + "." + derive(n.bounces, m.Session, p, k) + "@" + n.c.Domain
}

// ParseBounce takes an address, or its local part, that Bounce has made, in
// any case, and tells which mail came back. Anything else, and anything that
// was tampered with, is not ok.
func (n *Notifier) ParseBounce(address string) (m workflow.Mailing, ok bool) {
	local, host, found := strings.Cut(strings.ToLower(address), "@")
	if found && !strings.EqualFold(host, n.c.Domain) {
		return m, false
	}
	rest, found := strings.CutPrefix(local, "bounce+")
	parts := strings.Split(rest, ".")
	if !found || len(local) > 64 || len(parts) != 4 || parts[2] == "" {
		return m, false
	}
	for kind, letter := range letters {
		if letter == parts[2][0] {
			m.Mail = kind
		}
	}
	var err1, err2 error
	m.Session = parts[0]
	m.Person, err1 = strconv.Atoi(parts[1])
	m.Round, err2 = strconv.Atoi(parts[2][1:])
	if err1 != nil || err2 != nil || m.Mail == "" {
		return workflow.Mailing{}, false
	}
	want, _, _ := strings.Cut(n.Bounce(m), "@")
	if !hmac.Equal([]byte(local), []byte(want)) {
		return workflow.Mailing{}, false
	}
	return m, true
}
