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
	"sync"

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
	r, h, err := header(head, l)
	if err != nil {
		return nil, err
	}
	w := &walk{limits: l, in: &gate{r: bytes.NewReader(body)}, names: map[string]bool{}, boundaries: map[string]bool{}}
	w.coded.Grow(min(len(body), 1<<20)) // room for most attachments at once
	var beside sync.WaitGroup           // either takes a third of a millisecond for 100 KB
	beside.Go(func() { r.BodyHash = bodyHash(body) })
	err = w.entity(h, w.in, 0, within{})
	beside.Wait()
	if err != nil {
		return nil, err
	}
	r.Documents = w.documents
	r.Body = w.bodyDocument(r.Subject)
	r.Text = ownWords(w.text())
	return r, nil
}

// Header reads only the header of a mail: a Request without documents, text
// and BodyHash. It reads as much as Parse, and refuses what Parse refuses.
func Header(raw []byte, l Limits) (*Request, error) {
	head, _ := split(raw)
	r, _, err := header(head, l.withDefaults())
	return r, err
}

func header(head []byte, l Limits) (*Request, textproto.Header, error) {
	if int64(len(head)) > l.Header {
		return nil, textproto.Header{}, errHeaderTooLarge(l.Header)
	}
	if err := checkLines(head); err != nil {
		return nil, textproto.Header{}, err
	}
	h, err := textproto.ReadHeader(bufio.NewReader(bytes.NewReader(head)))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, h, errMIME(err)
	}
	r := &Request{}
	return r, h, r.readHeader(h)
}

// checkLines refuses a header that other programs could read as another one:
// with NUL, with a CR that ends no line, with a blank before a field's colon.
func checkLines(head []byte) error {
	if bytes.IndexByte(head, 0) >= 0 {
		return errHeader("it holds a NUL character")
	}
	for line := range bytes.Lines(head) {
		line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
		if bytes.IndexByte(line, '\r') >= 0 {
			return errHeader("a line of it ends in the middle")
		}
		name, _, ok := bytes.Cut(line, []byte(":"))
		if ok && len(name) > 0 && name[0] != ' ' && name[0] != '\t' && bytes.ContainsAny(name, " \t") {
			return errHeader("a blank stands in the name of a field")
		}
	}
	return nil
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

// bodyHash is over the body as RFC 6376, 3.4.4 relaxes it: runs of blanks are
// one blank, those at the end of a line and empty lines at the end are none.
// What a relaxed DKIM signature lets somebody change must not make another mail
// of a mail; and the two doors may count the last empty lines differently.
func bodyHash(body []byte) (sum [32]byte) {
	h := sha256.New()
	out := make([]byte, 0, 32<<10)
	ends := 0 // line ends that only count if something follows
	for len(body) > 0 {
		line := body
		if i := bytes.IndexByte(body, '\n'); i >= 0 {
			line = body[:i]
		}
		body = body[min(len(line)+1, len(body)):]
		for len(line) > 0 && line[len(line)-1] == '\r' {
			line = line[:len(line)-1]
		}
		if !isPlain(line) { // nearly all of an attachment is
			line = relaxed(line)
		}
		if len(line) > 0 {
			for ; ends > 0; ends-- {
				out = append(out, "\r\n"...)
				if len(out) > 16<<10 {
					h.Write(out)
					out = out[:0]
				}
			}
			out = append(out, line...)
		}
		ends++
	}
	h.Write(out)
	h.Sum(sum[:0])
	return sum
}

// isPlain reports whether nothing in a line needs relaxing.
func isPlain(line []byte) bool {
	if len(line) < 16 { // where calls would cost more than they save
		for _, c := range line {
			if c == ' ' || c == '\t' || c == '\r' {
				return false
			}
		}
		return true
	}
	return bytes.IndexByte(line, ' ') < 0 && bytes.IndexByte(line, '\t') < 0 && bytes.IndexByte(line, '\r') < 0
}

// relaxed gives a line with its runs of blanks as one, and none at its end.
func relaxed(line []byte) []byte {
	out := make([]byte, 0, len(line))
	blank := false
	for _, c := range line {
		if c == ' ' || c == '\t' {
			blank = true
			continue
		}
		if blank && c != '\r' {
			out = append(out, ' ')
		}
		blank = false
		out = append(out, c)
	}
	return out
}

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
	if group(h.Get("From")) {
		return errFrom("The From of this mail names a group; write with one sender address", nil)
	}
	from, err := addressParser.ParseList(h.Get("From"))
	if err != nil {
		return errFrom("The From of this mail cannot be read; write with one sender address", err)
	}
	if len(from) != 1 {
		return errFrom("The From of this mail names several people; write with one sender address", nil)
	}
	if r.From = clean(*from[0]); r.From.Address != from[0].Address {
		// Another program takes them for another address than ours.
		return errFrom("The From of this mail has blanks or invisible characters in its address; write with your plain address", nil)
	}
	r.To, r.Cc = addresses(h.Values("To")), addresses(h.Values("Cc"))
	r.Subject = decodeWords(h.Get("Subject"))
	if r.Level, err = SubjectLevel(r.Subject); err != nil {
		return err
	}
	if r.Form, err = SubjectForm(r.Subject); err != nil {
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
	r.Hops = len(h.Values("Received"))
	r.Date, _ = mail.ParseDate(h.Get("Date"))
	return nil
}

// group finds the syntax of RFC 5322, 3.4 and RFC 6854 that names a group: a
// colon or semicolon outside of quotes, comments and brackets.
func group(s string) bool {
	quoted, depth, angle := false, 0, false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && (quoted || depth > 0):
			i++
		case c == '"' && depth == 0:
			quoted = !quoted
		case quoted:
		case c == '(':
			depth++
		case c == ')' && depth > 0:
			depth--
		case depth > 0:
		case c == '<' || c == '[':
			angle = true
		case c == '>' || c == ']':
			angle = false
		case (c == ':' || c == ';') && !angle:
			return true
		}
	}
	return false
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
