package mailparse

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"net/mail"
	"regexp"
	"strings"

	"github.com/emersion/go-message/textproto"
)

// Parse reads a mail, header and body with CRLF or LF line ends. Its error is
// a *workflow.Refusal. Equal bytes give equal requests.
func Parse(raw []byte, l Limits) (*Request, error) {
	l = l.withDefaults()
	if int64(len(raw)) > l.Size {
		return nil, errTooLarge(l.Size)
	}
	head, body := split(raw)
	if int64(len(head)) > l.Header {
		return nil, errHeaderTooLarge(l.Header)
	}
	h, err := textproto.ReadHeader(bufio.NewReader(bytes.NewReader(head)))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, errMIME(err)
	}
	r := &Request{BodyHash: bodyHash(body)}
	if err := r.readHeader(h); err != nil {
		return nil, err
	}
	w := &walk{limits: l, in: &gate{r: bytes.NewReader(body)}, names: map[string]bool{}, boundaries: map[string]bool{}}
	if err := w.entity(h, w.in, 0, within{}); err != nil {
		return nil, err
	}
	r.Documents = w.documents
	r.Text = ownWords(w.text())
	return r, nil
}

// split finds the empty line between header and body; head keeps it.
func split(raw []byte) (head, body []byte) {
	at := 0
	for at < len(raw) {
		n := bytes.IndexByte(raw[at:], '\n')
		if n < 0 {
			break
		}
		line := raw[at : at+n+1]
		at += n + 1
		if len(line) == 1 || len(line) == 2 && line[0] == '\r' {
			return raw[:at], raw[at:]
		}
	}
	return raw, nil
}

// bodyHash leaves out trailing empty lines, which the two doors may count differently.
func bodyHash(body []byte) [32]byte { return sha256.Sum256(bytes.TrimRight(body, "\r\n")) }

// once are the fields that RFC 5322, 3.6 and RFC 2045 allow once, and on which
// something hangs here.
var once = []string{"From", "Sender", "Subject", "Date", "Message-Id", "In-Reply-To", "References",
	"Mime-Version", "Content-Type", "Content-Transfer-Encoding", "Content-Disposition"}

func checkOnce(h textproto.Header) error {
	for _, name := range once {
		if len(h.Values(name)) > 1 {
			return errDuplicate(name)
		}
	}
	return nil
}

func (r *Request) readHeader(h textproto.Header) error {
	if err := checkOnce(h); err != nil {
		return err
	}
	from, err := addressParser.ParseList(h.Get("From"))
	if err != nil {
		return errFrom("The From of this mail cannot be read; write with one sender address", err)
	}
	if len(from) != 1 {
		return errFrom("The From of this mail names several people; write with one sender address", nil)
	}
	r.From = clean(*from[0])
	r.To, r.Cc = addresses(h.Values("To")), addresses(h.Values("Cc"))
	r.Subject = decodeWords(h.Get("Subject"))
	if r.Level, err = SubjectLevel(r.Subject); err != nil {
		return err
	}
	if ids := messageIDs(h.Get("Message-Id")); len(ids) == 1 {
		r.MessageID = ids[0]
	}
	r.InReplyTo = messageIDs(h.Get("In-Reply-To"))
	r.References = messageIDs(h.Get("References"))
	if a, _ := cut(h.Get("Auto-Submitted")); !strings.EqualFold(strings.TrimSpace(a), "no") {
		r.AutoSubmitted = strings.ToLower(oneLine(a))
	}
	switch strings.ToLower(strings.TrimSpace(h.Get("Precedence"))) {
	case "bulk", "list", "junk":
		r.List = true
	}
	r.List = r.List || h.Has("List-Id") || h.Has("List-Unsubscribe")
	return nil
}

var addressParser = mail.AddressParser{WordDecoder: &words}

// addresses reads what is readable: one field that is not takes no other with it.
func addresses(fields []string) []mail.Address {
	var out []mail.Address
	for _, f := range fields {
		list, err := addressParser.ParseList(f)
		if err != nil {
			continue
		}
		for _, a := range list {
			out = append(out, clean(*a))
		}
	}
	return out
}

func clean(a mail.Address) mail.Address {
	return mail.Address{Name: oneLine(a.Name), Address: oneLine(a.Address)}
}

// maxIDs bounds a thread; References of long threads are cut in the middle
// anyway (RFC 5537, 3.4.4).
const maxIDs = 50

var messageID = regexp.MustCompile(`<[^<>\s\x00-\x20\x7f-\xff]{1,250}>`)

// messageIDs keeps the first and the newest identifiers.
func messageIDs(s string) []string {
	ids := messageID.FindAllString(s, -1)
	if len(ids) > maxIDs {
		ids = append(ids[:1:1], ids[len(ids)-maxIDs+1:]...)
	}
	return ids
}
