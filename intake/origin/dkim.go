package origin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-msgauth/dkim"
	"golang.org/x/net/idna"
	"golang.org/x/net/publicsuffix"

	"milterd/mailparse"
)

const (
	maxSignatures = 5               // of own domains, that are looked at
	lookupTime    = 5 * time.Second // for all questions to the DNS about one mail
)

// Resolver answers from the DNS; *net.Resolver is one.
type Resolver interface {
	LookupTXT(ctx context.Context, name string) ([]string, error)
}

// Checker knows what is believed at this site. Its fields are set once; it is
// safe for concurrent use.
type Checker struct {
	Domains    []string // whose signatures count, with their subdomains, in lower case
	Authserv   string   // authserv-id of this site's own filter, "" for none
	ReceivedBy string   // host name in the Received lines of this site's own Postfix, "" if they are not believed
	Requeued   string   // number of Postfix's own user (mail_owner), "" if a line with it does not count
	Resolver   Resolver
	Now        func() time.Time
}

// Unproven says why nothing in a mail proves its sender.
type Unproven struct {
	Why string // continues "… cannot tell who you are: "
}

func (u *Unproven) Error() string { return "unproven: " + u.Why }

// Signed checks whether a DKIM signature proves that the mail's author had the
// mail sent, as it is, to the asked addresses: by whom, for the audit trail.
//
// It counts if it verifies; if its domain is aligned with the From, and both
// belong to Domains; if it covers, each field once, all that says who asks whom
// for what; if it is fresh; and if each asked address stands in To or Cc, so
// that whoever got the mail cannot send it on to somebody else. r is the mail's
// header as mailparse reads it. delivered says that Postfix delivers the mail,
// so that its own Received stands on top: above it, its filter's word counts
// like a check of our own.
//
// The error is an *Unproven, or temporary: the DNS is away.
func (c *Checker) Signed(ctx context.Context, raw []byte, r *mailparse.Request, asked []string, delivered bool) (by string, err error) {
	fields, body, ok := split(raw)
	if !ok {
		return "", &Unproven{"the header of the mail is damaged"}
	}
	author := domainOf(r.From.Address)
	if !c.own(author) {
		return "", &Unproven{"the From is in none of the domains whose signature counts"}
	}
	ours := c.signatures(fields, author)
	if len(ours) == 0 {
		return "", &Unproven{"the mail has no DKIM signature of " + author}
	}
	if why := unfit(fields, r, asked); why != "" {
		return "", &Unproven{why}
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	var reasons []string
	var away error
	for _, s := range ours {
		if why := s.weak(fields, r.Date, c.Now()); why != "" {
			reasons = append(reasons, why)
			continue
		}
		if delivered && c.vouched(fields, s) {
			return "dkim " + s.domain() + " checked by " + c.Authserv, nil
		}
		err := c.verify(ctx, fields, body, s)
		var u *Unproven
		switch {
		case err == nil:
			return "dkim " + s.domain(), nil
		case errors.As(err, &u):
			reasons = append(reasons, u.Why)
		default:
			away = err
		}
	}
	if away != nil {
		return "", away
	}
	return "", &Unproven{reasons[0]}
}

// unfit says why no signature could help this mail.
func unfit(fields []field, r *mailparse.Request, asked []string) string {
	if why := single(fields); why != "" {
		return why
	}
	if r.MessageID == "" {
		return "it has no Message-ID"
	}
	for _, a := range asked {
		listed := false
		for _, to := range slices.Concat(r.To, r.Cc) {
			listed = listed || strings.EqualFold(to.Address, a)
		}
		if !listed {
			return a + " is not among its To and Cc"
		}
	}
	return ""
}

// signatures are the first signatures of own domains that are aligned with the author's.
func (c *Checker) signatures(fields []field, author string) []signature {
	var out []signature
	for i, f := range fields {
		if f.name != "dkim-signature" || len(out) == maxSignatures {
			continue
		}
		if s, ok := parseSignature(i, f); ok && c.own(s.domain()) && aligned(s.domain(), author) {
			out = append(out, s)
		}
	}
	return out
}

// own reports whether a domain is one of Domains or below one.
func (c *Checker) own(domain string) bool {
	return slices.ContainsFunc(c.Domains, func(d string) bool { return domain == d || strings.HasSuffix(domain, "."+d) })
}

// aligned is relaxed alignment (RFC 7489, 3.1.1): the same organisational domain.
func aligned(a, b string) bool {
	x, err := publicsuffix.EffectiveTLDPlusOne(a)
	y, errY := publicsuffix.EffectiveTLDPlusOne(b)
	return err == nil && errY == nil && x == y
}

// domainOf gives the domain of an address in lower case and ASCII.
func domainOf(address string) string {
	d := strings.ToLower(address[strings.LastIndexByte(address, '@')+1:])
	if a, err := idna.Lookup.ToASCII(d); err == nil {
		return a
	}
	return d
}

// verify asks for the key and verifies one signature, as if there were no other.
func (c *Checker) verify(ctx context.Context, fields []field, body []byte, s signature) error {
	var head bytes.Buffer
	for i, f := range fields {
		if f.name != "dkim-signature" || i == s.at {
			head.Write(f.raw)
		}
	}
	head.WriteString("\r\n")
	key := &keyring{ctx: ctx, resolver: c.Resolver, s: s}
	// The body goes in as one piece: in small ones, the library takes time that
	// grows with the square of a run of line ends.
	vs, err := dkim.VerifyWithOptions(io.MultiReader(&head, bytes.NewReader(body)), &dkim.VerifyOptions{LookupTXT: key.lookup})
	switch {
	case key.away != nil:
		return fmt.Errorf("asking the DNS for the DKIM key of %s: %w", s.domain(), key.away)
	case key.why != "":
		return &Unproven{key.why}
	case err != nil:
		return &Unproven{"its DKIM signature cannot be read"}
	case len(vs) != 1 || vs[0].Err != nil:
		return &Unproven{"its DKIM signature does not verify"}
	}
	return nil
}
