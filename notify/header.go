package notify

import (
	"fmt"
	"mime"
	"net/mail"
	"strings"

	"github.com/emersion/go-message"
	"golang.org/x/net/idna"
)

// field is a header field whose value is made of words between which a line
// may be folded.
type field struct {
	name  string
	words []string
}

// header folds the fields, in order, at 76 columns where their words allow it.
// No word may hold white space, which would be where an attack puts a new line.
func header(fields []field) (message.Header, error) {
	var h message.Header
	for i := len(fields) - 1; i >= 0; i-- { // go-message adds at the top
		raw, col := fields[i].name+":", len(fields[i].name)+1
		for j, w := range fields[i].words {
			if w == "" || strings.ContainsFunc(w, func(r rune) bool { return r <= ' ' || r == 0x7f }) || len(w) > 900 {
				return h, fmt.Errorf("header field %s: bad word %q", fields[i].name, w)
			}
			if j > 0 && col+1+len(w) > 76 {
				raw, col = raw+"\r\n", 0
			}
			raw, col = raw+" "+w, col+1+len(w)
		}
		h.AddRaw([]byte(raw + "\r\n"))
	}
	return h, nil
}

// unstructured gives the words of a text for a field such as Subject: as they
// are if they are short ASCII words that nobody could take for encoded ones,
// else as encoded words (RFC 2047).
func unstructured(s string) []string {
	words := strings.Split(s, " ")
	for _, w := range words {
		if !isASCII(w) || len(w) > 60 || w == "" || strings.Contains(w, "=?") {
			return encodedWords(s)
		}
	}
	return words
}

// maxWord keeps lines with encoded words within 76 characters (RFC 2047, 2),
// the name of the field included.
const maxWord = 60

// encodedWords writes any text as encoded words of at most maxWord characters in Q
// encoding. It escapes all but letters and digits, so that the result may stand
// in a phrase as well, and splits only between characters.
func encodedWords(s string) []string {
	const start, end = "=?utf-8?q?", "?="
	var out []string
	word := ""
	for _, r := range s {
		e := ""
		switch {
		case r == ' ':
			e = "_"
		case r >= '0' && r <= '9', r >= 'A' && r <= 'Z', r >= 'a' && r <= 'z':
			e = string(r)
		default:
			for _, c := range []byte(string(r)) {
				e += fmt.Sprintf("=%02X", c)
			}
		}
		if len(start)+len(word)+len(e)+len(end) > maxWord {
			out, word = append(out, start+word+end), ""
		}
		word += e
	}
	return append(out, start+word+end)
}

// address gives the words of a mailbox: a display name, if there is one, and
// <addr>.
func address(display, addr string) []string {
	display = shorten(clean(display), maxName)
	if display == "" {
		return []string{"<" + addr + ">"}
	}
	var words []string
	if isASCII(display) && !strings.Contains(display, "=?") {
		// A quoted string may not be folded here: header wants words without spaces.
		for _, w := range strings.Split(display, " ") {
			if strings.Trim(w, atext) != "" {
				words = nil
				break
			}
			words = append(words, w)
		}
	}
	if words == nil {
		words = encodedWords(display)
	}
	return append(words, "<"+addr+">")
}

// atext are the characters of an atom that need no quotes (RFC 5322, 3.2.3),
// without those that some parsers misread in names.
const atext = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_'&+"

// canonical checks an address from outside and gives it as SMTP and header
// want it: quoted where it must be, the domain in ASCII.
func canonical(addr string) (string, error) {
	a, err := mail.ParseAddress("<" + addr + ">")
	if err != nil || clean(addr) != addr {
		return "", fmt.Errorf("%q is not a mail address", addr)
	}
	at := strings.LastIndexByte(a.Address, '@')
	domain, err := idna.Lookup.ToASCII(a.Address[at+1:])
	if err != nil || strings.ContainsRune(a.Address[:at], ' ') || len(a.Address) > 254 {
		return "", fmt.Errorf("%q is not a mail address that can be written to", addr)
	}
	a.Address = a.Address[:at+1] + domain
	return strings.Trim(a.String(), "<>"), nil
}

// fileName makes a name that came from outside fit for an attachment: no path,
// nothing that a shell or a mail client might take for more than a name.
func fileName(s string) string {
	s = strings.Map(func(r rune) rune {
		if strings.ContainsRune(`/\:*?"<>|`, r) {
			return '_'
		}
		return r
	}, clean(s))
	s = strings.Trim(s, ". ")
	if r := []rune(s); len(r) > maxFile { // keep the end: it says what the file is
		s = string(r[:maxFile-11]) + "…" + string(r[len(r)-10:])
	}
	if s == "" {
		return "document"
	}
	return s
}

// fileParams are the words that give a part its file name: RFC 2231 in
// Content-Disposition (key "filename"), and for readers that know only the
// older habit an RFC 2047 word in Content-Type (key "name").
func contentType(mediaType, file string) []string {
	if t, _, err := mime.ParseMediaType(mediaType); err != nil || strings.Count(t, "/") != 1 ||
		strings.HasPrefix(t, "multipart/") || strings.HasPrefix(t, "message/") {
		mediaType = "application/octet-stream"
	} else {
		mediaType = t
	}
	if plainName(file) {
		return []string{mediaType + ";", `name="` + file + `"`}
	}
	words := encodedWords(file)
	words[0] = `name="` + words[0]
	words[len(words)-1] += `"`
	return append([]string{mediaType + ";"}, words...)
}

func disposition(kind, file string) []string {
	if plainName(file) {
		return []string{kind + ";", `filename="` + file + `"`}
	}
	out := []string{kind + ";"}
	value := "utf-8''"
	for _, r := range file {
		e := ""
		for _, c := range []byte(string(r)) {
			if strings.IndexByte("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.", c) >= 0 {
				e += string(rune(c))
			} else {
				e += fmt.Sprintf("%%%02X", c)
			}
		}
		if len(value)+len(e) > 55 {
			out = append(out, fmt.Sprintf("filename*%d*=%s;", len(out)-1, value))
			value = ""
		}
		value += e
	}
	if len(out) == 1 {
		return append(out, "filename*="+value)
	}
	return append(out, fmt.Sprintf("filename*%d*=%s", len(out)-1, value))
}

// plainName reports whether a file name can stand as it is in a short quoted
// string of a header.
func plainName(s string) bool {
	return len(s) <= 60 && strings.Trim(s, atext+".()[],@=~") == "" && !strings.Contains(s, "=?")
}
