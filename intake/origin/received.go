package origin

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

// Lines of a Received field as Postfix's smtpd writes it. What the client
// chooses stands in lines of its own or between characters that it cannot
// write: smtpd replaces blanks and any of <>()\";@ in a HELO, and control
// characters and unpaired parentheses in a certificate's or login's name. Where
// a delivery agent has to cut a long line, the next begins with a space, never
// with a tab.
var (
	fromLine  = regexp.MustCompile(`^Received: from [^\s()<>;"@\\]+ \([^\s()<>;"@\\]+ \[([0-9A-Za-z.:]+)\]\)$`)
	tlsLine   = regexp.MustCompile(`^\t(\(using |\(Client |\(No client certificate requested\)$| key-exchange | server-signature | client-signature )`)
	loginLine = regexp.MustCompile(`^\t\(Authenticated sender: ([^?()]+)\)$`)
	idLine    = regexp.MustCompile(`^\tid ([0-9A-Za-z]+);`)
	localLine = regexp.MustCompile(`^Received: by ([A-Za-z0-9._-]+) \([^()]*, from userid ([0-9]+)\)$`)
	againLine = regexp.MustCompile(`^Received: by ([A-Za-z0-9._-]+) \([^(),]*\)$`)
	byLine    = regexp.MustCompile(`^\tby ([A-Za-z0-9._-]+) \([^()]*\) with ([A-Z0-9]+) id ([0-9A-Za-z]+);?$`)
)

// withAuth are the protocol names that say AUTH (RFC 3848, RFC 6531).
var withAuth = map[string]bool{"ESMTPA": true, "ESMTPSA": true, "UTF8SMTPA": true, "UTF8SMTPSA": true}

// received is what the topmost Received field says, if it has Postfix's form.
type received struct {
	at     int    // its place among the fields
	by     string // host that wrote it
	id     string // under which that host had the mail in its queue
	login  string // "" without
	client netip.Addr
	user   string // number of the user whose file in maildrop the mail was; "" if it was none
}

// topmost reads the first Received field of a mail. In one that Postfix
// delivers, Postfix has written it itself.
func topmost(fields []field) (received, bool) {
	for i, f := range fields {
		if f.name != "received" {
			continue
		}
		r := received{at: i}
		lines := f.lines()
		if m := localLine.FindStringSubmatch(lines[0]); m != nil {
			// A program on this machine called sendmail.
			r.by, r.user, r.client = m[1], m[2], netip.AddrFrom4([4]byte{127, 0, 0, 1})
			if len(lines) > 1 {
				if m := idLine.FindStringSubmatch(lines[1]); m != nil {
					r.id = m[1]
				}
			}
			return r, true
		}
		m := fromLine.FindStringSubmatch(lines[0])
		if m == nil {
			return r, false
		}
		r.client, _ = netip.ParseAddr(strings.TrimPrefix(m[1], "IPv6:"))
		lines = lines[1:]
		for len(lines) > 0 && tlsLine.MatchString(lines[0]) {
			lines = lines[1:]
		}
		if len(lines) > 0 {
			if m := loginLine.FindStringSubmatch(lines[0]); m != nil {
				r.login, lines = m[1], lines[1:]
			}
		}
		if len(lines) == 0 {
			return r, false
		}
		if m = byLine.FindStringSubmatch(lines[0]); m == nil || r.login != "" && !withAuth[m[2]] {
			return r, false
		}
		r.by, r.id = m[1], m[3]
		return r, true
	}
	return received{}, false
}

// reception reads the line that this site's Postfix wrote when the mail came:
// the topmost Received field, or the first below those of postsuper -r.
//
// A mail that postsuper -r queues again passes maildrop, as one of sendmail's
// does, and gets a further line on top, "from userid N". In maildrop a file
// belongs to whoever made it: sendmail's to its user, who wrote all that stands
// below that line; one that is queued again to Postfix's own user. So below a
// line with that user's number, and no other, stands the queue file of a mail
// that this Postfix had taken before, its own line first. A mail that was
// delivered in between has the fields of a delivery there, and is no such file.
func (c *Checker) reception(fields []field) (received, bool) {
	r, ok := topmost(fields)
	id := r.id // by which the mail is known now
	for ok && r.user != "" && r.user == c.Requeued && c.wrote(r) {
		below := r.at + 1
		r, ok = topmost(fields[below:])
		r.at += below
		r.id = id
		if ok && slices.ContainsFunc(fields[below:r.at], field.ofDelivery) {
			return r, false
		}
	}
	return r, ok
}

// ofDelivery reports that a delivery agent wrote a field (virtual, local, pipe).
func (f field) ofDelivery() bool {
	return f.name == "delivered-to" || f.name == "x-original-to" || f.name == "return-path"
}

// Delivery is what this site's Postfix writes into its own Received line about
// the client that brought a mail. All of it is zero where that line does not
// stand on top.
type Delivery struct {
	Login   string     // smtpd_sasl_authenticated_header = yes
	Client  netip.Addr // not valid if Postfix does not know
	QueueID string     // for the log
}

// Delivered reads the Received line of a mail that Postfix now delivers.
func (c *Checker) Delivered(raw []byte) Delivery {
	fields, _, ok := split(raw)
	if !ok {
		return Delivery{}
	}
	r, ok := c.reception(fields)
	if !ok || !c.wrote(r) {
		return Delivery{}
	}
	return Delivery{Login: r.login, Client: r.client.Unmap(), QueueID: r.id}
}

// Again reports that local(8) sent a mail on, by an alias of alias_maps or a
// .forward: this Postfix wrote its Received line anew, and the fields of a
// delivery stand below. What stands below those proves nobody: a user's .forward
// may hand a mail to a program, and bring another one into the queue.
func (c *Checker) Again(raw []byte) bool {
	fields, _, ok := split(raw)
	if !ok {
		return false
	}
	i := slices.IndexFunc(fields, func(f field) bool { return f.name == "received" })
	if i < 0 || i+1 == len(fields) || !fields[i+1].ofDelivery() {
		return false
	}
	m := againLine.FindStringSubmatch(fields[i].lines()[0])
	return m != nil && c.wrote(received{by: m[1]})
}

// wrote reports whether this site's Postfix names itself in a Received line.
func (c *Checker) wrote(r received) bool {
	return c.ReceivedBy != "" && strings.EqualFold(r.by, c.ReceivedBy)
}
