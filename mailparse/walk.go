package mailparse

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime/quotedprintable"
	"strings"
	"unicode/utf8"

	"github.com/emersion/go-message/textproto"
)

// walk goes through the MIME tree once.
type walk struct {
	limits     Limits
	in         *gate
	parts      int
	boundaries map[string]bool
	names      map[string]bool
	lines      int          // of quoted-printable documents
	coded      bytes.Buffer // base64 of the document under way
	documents  []Document
	plain      string // the first body text of each kind
	html       string
	hasPlain   bool
	hasHTML    bool
	texts      int  // plain ones, in all
	cut        bool // the first plain one could not be read exactly, or to its end
}

// within is what a part inherits.
type within struct {
	related bool // inside multipart/related, where pictures belong to the text
	signed  bool // inside multipart/signed, where one part is the signature
	parts   bool // inside any multipart: not the mail itself
}

// gate counts what is read of the body, so that a part's header has a limit
// although the multipart reader has none.
type gate struct {
	r     io.Reader
	left  int64 // of the header under way
	armed bool
}

// slack is what the multipart readers read ahead, for each level.
const slack = 8 << 10

var errGate = errors.New("header too large")

func (g *gate) Read(p []byte) (int, error) {
	if g.armed {
		if g.left <= 0 {
			return 0, errGate
		}
		p = p[:min(int64(len(p)), g.left)]
	}
	n, err := g.r.Read(p)
	g.left -= int64(n)
	return n, err
}

// entity reads one part, or the mail itself.
func (w *walk) entity(h textproto.Header, body io.Reader, depth int, c within) error {
	if w.parts++; w.parts > w.limits.Parts {
		return errParts(w.limits.Parts)
	}
	for f := h.Fields(); f.Next(); {
		raw, err := f.Raw()
		if err != nil {
			return errMIME(err)
		}
		if err := checkLines(raw); err != nil {
			return err
		}
	}
	if err := checkOnce(h); err != nil {
		return err
	}
	for _, name := range []string{"Content-Type", "Content-Disposition"} {
		if len(h.Get(name)) > maxField {
			return errHeaderTooLarge(maxField)
		}
	}
	ct, err := parseField(h.Get("Content-Type"))
	if err != nil {
		return errDuplicate("a parameter of Content-Type")
	}
	if !strings.Contains(ct.value, "/") {
		ct.value = "text/plain" // RFC 2045, 5.2
	}
	cd, err := parseField(h.Get("Content-Disposition"))
	if err != nil {
		return errDuplicate("a parameter of Content-Disposition")
	}
	switch {
	case ct.value == "multipart/encrypted":
		return errEncryptedMail()
	case strings.Contains(ct.value, "multipart/"):
		switch transfer(h.Get("Content-Transfer-Encoding")) {
		case "", "7bit", "8bit", "binary": // RFC 2045, 6.4
			return w.multipart(ct, body, depth, c)
		}
		return errEncodedMultipart()
	}
	return w.leaf(h, ct, cd, body, c)
}

// maxField bounds what is read of a part's name, for each part anew: text in
// many small encoded words of a rare charset takes a second for each MB. A file
// name of 255 characters takes 4 KB in the longest way to write it.
const maxField = 16 << 10

func (w *walk) multipart(ct field, body io.Reader, depth int, c within) error {
	if depth >= w.limits.Depth {
		return errDepth(w.limits.Depth)
	}
	b, err := ct.boundary()
	if err != nil {
		return errMIME(err)
	}
	if w.boundaries[b] {
		return errMIME(fmt.Errorf("boundary %q used twice", b))
	}
	w.boundaries[b] = true
	c.related = c.related || ct.value == "multipart/related"
	c.signed, c.parts = ct.value == "multipart/signed", true
	r := textproto.NewMultipartReader(body, b)
	for {
		w.in.left, w.in.armed = w.limits.Header+slack*int64(depth+1), true
		p, err := r.NextPart()
		w.in.armed = false
		if errors.Is(err, io.EOF) {
			// What follows the last boundary is read here, outside the gate.
			_, err = io.Copy(io.Discard, body)
			if err != nil {
				return errMIME(err)
			}
			return nil
		}
		if err != nil {
			if w.in.left <= 0 {
				return errHeaderTooLarge(w.limits.Header)
			}
			return errMIME(err)
		}
		if err := w.entity(p.Header, p, depth+1, c); err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, p); err != nil {
			return errMIME(err)
		}
	}
}

// leaf sorts a part: a signature, a nested mail, a picture of the text, the
// text itself, or a document.
func (w *walk) leaf(h textproto.Header, ct, cd field, body io.Reader, c within) error {
	name := cd.params["filename"]
	if name == "" {
		name = ct.params["name"]
	}
	own := c.parts && !c.signed && ownMessage(cd.value, name)
	switch ct.value {
	case "application/pkcs7-signature", "application/x-pkcs7-signature", "application/pgp-signature":
		if !own {
			return nil
		}
	case "application/pkcs7-mime", "application/x-pkcs7-mime":
		if own {
			break
		}
		if strings.EqualFold(ct.params["smime-type"], "signed-data") {
			return errOpaqueMail()
		}
		return errEncryptedMail()
	case "message/rfc822", "message/global", "message/delivery-status", "message/disposition-notification",
		"message/partial", "message/external-body", "text/rfc822-headers":
		return nil
	}
	picture := strings.HasPrefix(ct.value, "image/") && cd.value != "attachment" &&
		(cd.value == "inline" || c.related || h.Has("Content-Id"))
	if picture {
		return nil
	}
	text := strings.HasPrefix(ct.value, "text/") && cd.value != "attachment" && name == ""
	if text {
		return w.body(h, ct, body)
	}
	content, err := w.decode(h, body, what(name))
	if err != nil {
		return err
	}
	kind := ct.value
	if LooksPDF(content) {
		kind = "application/pdf" // scanners and old clients say octet-stream
	}
	w.documents = append(w.documents, Document{
		Name: unique(safeName(name, kind), w.names), Type: ct.value, Content: content})
	return nil
}

// ownMessage reports whether what has a media type of S/MIME is a file that
// somebody has attached: a CAdES signature. Mail clients call what is theirs smime.p7s
// and smime.p7m (RFC 8551, 3.2.1).
func ownMessage(disposition, name string) bool {
	name = strings.ToLower(name)
	return disposition == "attachment" && !strings.HasPrefix(name, "smime.") && (strings.HasSuffix(name, ".p7s") || strings.HasSuffix(name, ".p7m"))
}

// LooksPDF reports whether a file says of itself that it is a PDF; readers
// take up to 1,024 bytes before its header (ISO 32000-1, annex H, note 13).
func LooksPDF(content []byte) bool {
	return bytes.Contains(content[:min(len(content), 1024)], []byte("%PDF-"))
}

// what names a part in a refusal.
func what(name string) string {
	if name == "" {
		return "An attachment"
	}
	return safeName(name, "")
}

// maxText is how much of a body text is looked at for the invitation.
const maxText = 64 << 10

// body keeps the first plain and the first HTML text. A text that cannot be
// read costs the invitation its words, and nobody a signature.
func (w *walk) body(h textproto.Header, ct field, body io.Reader) error {
	plain, html := ct.value == "text/plain", ct.value == "text/html"
	if plain {
		w.texts++
	}
	if plain && w.hasPlain || html && w.hasHTML || !plain && !html {
		return nil
	}
	limited := &io.LimitedReader{R: body, N: 4 * maxText}
	r, err := decoder(h.Get("Content-Transfer-Encoding"), limited)
	if err != nil {
		w.cut = w.cut || plain
		return nil
	}
	b, err := io.ReadAll(io.LimitReader(r, maxText+1))
	cut := err != nil || len(b) > maxText || limited.N <= 0
	s := toUTF8(ct.params["charset"], b[:min(len(b), maxText)])
	if plain {
		w.plain, w.hasPlain = s, true
		w.cut = cut || strings.ContainsRune(s, utf8.RuneError)
	} else {
		w.html, w.hasHTML = s, true
	}
	return nil
}

// bodyDocument is the mail's text as something that can be signed: all of it, with
// LF line ends and one at its end.
func (w *walk) bodyDocument(subject string) *Document {
	s := strings.TrimRight(strings.ReplaceAll(w.plain, "\r\n", "\n"), " \t\n")
	if w.texts != 1 || w.cut || strings.TrimSpace(s) == "" {
		return nil
	}
	name := subjectName(subject)
	if name == "" {
		name = "message"
	}
	return &Document{Name: safeName(name+".txt", "text/plain"), Type: "text/plain", Content: []byte(s + "\n")}
}

// text prefers plain text.
func (w *walk) text() string {
	if strings.TrimSpace(w.plain) != "" {
		return w.plain
	}
	return htmlText(w.html)
}

// decode undoes the transfer encoding of a document, exactly or not at all.
func (w *walk) decode(h textproto.Header, body io.Reader, what string) ([]byte, error) {
	enc := h.Get("Content-Transfer-Encoding")
	src := &source{r: body, lines: &w.lines}
	r, err := decoder(enc, src)
	if err != nil {
		return nil, errUnknownEncoding(what, oneLine(enc))
	}
	if _, ok := r.(*quotedprintable.Reader); !ok {
		src.lines = new(int) // lines cost only there
	}
	var content []byte
	if transfer(enc) == "base64" { // in one piece, which takes half of the time
		w.coded.Reset()
		if _, err = w.coded.ReadFrom(noSpace{src}); err == nil {
			content, err = base64.StdEncoding.AppendDecode(nil, w.coded.Bytes())
		}
	} else {
		var b bytes.Buffer
		_, err = b.ReadFrom(r)
		content = b.Bytes()
	}
	if err != nil {
		switch {
		case errors.Is(src.err, errLines):
			return nil, errManyLines(what, maxLines)
		case src.err != nil:
			return nil, errMIME(src.err) // the part ended without its boundary
		}
		return nil, errEncoding(what, err)
	}
	return content, nil
}

// maxLines bounds the lines of all quoted-printable documents of a mail: each
// costs as much to decode as 100 bytes do, whatever it holds. 25 MB in the
// longest lines that RFC 2045, 6.7 allows are 345,000.
const maxLines = 1_000_000

var errLines = errors.New("too many lines")

// source tells whether an error came from what the decoder reads, and counts
// its lines.
type source struct {
	r     io.Reader
	err   error
	lines *int
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if *s.lines += bytes.Count(p[:n], []byte("\n")); *s.lines > maxLines {
		err = errLines
	}
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// transfer is the name of a transfer encoding as it is compared.
func transfer(enc string) string { return strings.ToLower(strings.TrimSpace(enc)) }

// decoder knows the five encodings of RFC 2045, 6.1.
func decoder(enc string, r io.Reader) (io.Reader, error) {
	switch transfer(enc) {
	case "", "7bit", "8bit", "binary":
		return r, nil
	case "base64":
		return base64.NewDecoder(base64.StdEncoding, noSpace{r}), nil
	case "quoted-printable":
		return quotedprintable.NewReader(r), nil
	}
	return nil, fmt.Errorf("unknown transfer encoding %q", enc)
}

// noSpace leaves out line ends, which mean nothing in base64, and blanks: some
// clients indent.
type noSpace struct{ r io.Reader }

func (s noSpace) Read(p []byte) (n int, err error) {
	for n == 0 && err == nil && len(p) > 0 {
		n, err = s.r.Read(p)
		n = compact(p[:n])
	}
	return n, err
}

// compact moves b together over its white space, and says how much is left.
func compact(b []byte) int {
	n := 0
	for rest := b; len(rest) > 0; {
		line := rest
		if i := bytes.IndexByte(rest, '\n'); i >= 0 {
			line = rest[:i]
		}
		rest = rest[min(len(line)+1, len(rest)):]
		line = bytes.TrimSuffix(line, []byte("\r"))
		if isPlain(line) { // nearly all are
			n += copy(b[n:], line)
			continue
		}
		for _, c := range line {
			if c != ' ' && c != '\t' && c != '\r' {
				b[n] = c
				n++
			}
		}
	}
	return n
}
