package notify

import (
	"bytes"
	"encoding/base64"
	"io"
	"mime"
	mimeparts "mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"regexp"
	"strings"

	"milterd/workflow"
)

// Outcome says what a mail to one of our bounce addresses is.
type Outcome string

// The outcomes. Only Failed and Unclear say that our mail did not arrive.
const (
	Failed  Outcome = "failed"  // a report of a permanent failure
	Unclear Outcome = "unclear" // our mail came back without a report that can be read
	Pending Outcome = "pending" // a report of a delay, a delivery or a hand-over
	Foreign Outcome = "foreign" // no bounce: an automatic answer, a receipt, junk
)

// Limits of what is read of a bounce.
const (
	maxReturned = 1 << 20   // bytes of the mail; Postfix returns 50 kB of ours
	maxReports  = 10        // parts of the outermost multipart
	maxStatus   = 128 << 10 // bytes of the delivery status
	maxField    = 4 << 10   // bytes of a field before its next folded line
)

// ReadReturned reads a mail that came to a bounce address: a delivery status
// notification (RFC 3464), or the plain text of an old mail server that quotes
// our Message-ID. In a report the Action counts: "failed" means that the
// server has given up, also for a status of class 4, which then names what it
// waited for in vain (RFC 3464, 2.3.3). Whoever got our mail can write such a
// report, so its words prove nothing.
func (n *Notifier) ReadReturned(raw []byte) (workflow.Failure, Outcome) {
	raw = raw[:min(len(raw), maxReturned)]
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return n.plainReturn(raw)
	}
	mediaType, params, _ := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if !strings.HasPrefix(mediaType, "multipart/") || params["boundary"] == "" {
		return n.plainReturn(raw)
	}
	parts := mimeparts.NewReader(m.Body, params["boundary"])
	for range maxReports {
		p, err := parts.NextRawPart()
		if err != nil {
			break
		}
		switch t, _, _ := mime.ParseMediaType(p.Header.Get("Content-Type")); t {
		case "message/delivery-status", "message/global-delivery-status": // RFC 3464; RFC 6533
			return readStatus(decoded(p))
		case "message/disposition-notification": // RFC 8098: somebody has read it
			return workflow.Failure{}, Foreign
		}
	}
	return n.plainReturn(raw)
}

// decoded undoes the transfer encoding of a part, which RFC 3464 forbids and
// some servers use.
func decoded(p *mimeparts.Part) []byte {
	var r io.Reader = p
	switch strings.ToLower(strings.TrimSpace(p.Header.Get("Content-Transfer-Encoding"))) {
	case "base64":
		r = base64.NewDecoder(base64.StdEncoding, p)
	case "quoted-printable":
		r = quotedprintable.NewReader(p)
	}
	b, _ := io.ReadAll(io.LimitReader(r, maxStatus)) // what can be read is read
	return b
}

// readStatus finds the first recipient whose delivery has failed. Our mails
// have one recipient; more come of aliases and lists further on.
func readStatus(b []byte) (workflow.Failure, Outcome) {
	outcome := Unclear
	for _, group := range statusGroups(b) {
		action, _, _ := strings.Cut(strings.ToLower(group["action"]), " ")
		status := statusForm.FindString(group["status"])
		switch {
		case action == "failed" && !strings.HasPrefix(status, "2"):
			return workflow.Failure{Status: status, Recipient: typed(group["final-recipient"]),
				Diagnostic: typed(group["diagnostic-code"])}, Failed
		case action != "":
			outcome = Pending
		}
	}
	return workflow.Failure{Unclear: outcome == Unclear}, outcome
}

// statusForm is an RFC 3463 status; a comment may follow it.
var statusForm = regexp.MustCompile(`^[245]\.[0-9]{1,3}\.[0-9]{1,3}`)

// typed drops the type from "rfc822; jane@corp.com" and "smtp; 550 5.1.1 …".
func typed(v string) string {
	if kind, rest, ok := strings.Cut(v, ";"); ok && !strings.ContainsAny(kind, " @") {
		v = rest
	}
	return strings.TrimSpace(v)
}

// statusGroups reads the groups of fields between empty lines, names in lower
// case, lines unfolded, the first of equal fields. A line that is no field is
// skipped.
func statusGroups(b []byte) []map[string]string {
	var out []map[string]string
	var group map[string]string
	name := ""
	for l := range strings.SplitSeq(string(b), "\n") {
		l = strings.TrimSuffix(l, "\r")
		folded := l != "" && (l[0] == ' ' || l[0] == '\t')
		switch key, value, ok := strings.Cut(l, ":"); {
		case strings.TrimSpace(l) == "":
			group, name = nil, ""
		case folded && name != "" && len(group[name]) < maxField:
			group[name] += " " + strings.TrimSpace(l)
		case folded:
		case ok:
			if group == nil {
				group = map[string]string{}
				out = append(out, group)
			}
			if name = strings.ToLower(strings.TrimSpace(key)); group[name] != "" {
				name = "" // and so are its folded lines
			} else {
				group[name] = strings.TrimSpace(value)
			}
		default:
			name = ""
		}
	}
	return out
}

// plainReturn looks for the header of our mail in a text: servers without
// reports return it, automatic answers name its Message-ID in their own header
// at most.
func (n *Notifier) plainReturn(raw []byte) (workflow.Failure, Outcome) {
	_, body, ok := bytes.Cut(raw, []byte("\r\n\r\n"))
	if !ok {
		return workflow.Failure{}, Foreign
	}
	for _, m := range returnedID.FindAllSubmatch(body, maxReports) {
		if _, ok := Own(string(m[1]), n.c.Domain); ok {
			return workflow.Failure{Unclear: true}, Unclear
		}
	}
	return workflow.Failure{}, Foreign
}

// returnedID is the line of a returned header, which may be quoted.
var returnedID = regexp.MustCompile(`(?im)^[> \t|]*message-id:[ \t]*(?:\r?\n[> \t|]+)?(<[^<>\r\n]{1,250}>)`)
