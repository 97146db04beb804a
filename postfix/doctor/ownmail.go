package doctor

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-msgauth/dkim"
	"golang.org/x/net/publicsuffix"

	"milterd/postfix/returned"
)

// usualReturn is how long the check mail may be under way.
const usualReturn = 40 * time.Second

// ownMail sends a mail as milterd does, to the sign domain's own check address,
// and reads what its way has made of it.
func (e *exam) ownMail(ctx context.Context) []Finding {
	named := func(name string, f Finding) Finding { f.Check = name; return f }
	spf, spfGood := e.spf(ctx)
	found := []Finding{named("spf", spf)}
	raw, back := e.roundTrip(ctx)
	dkimGood := false
	found = append(found, named("return", back))
	if raw != nil {
		var f Finding
		f, dkimGood = e.dkim(ctx, raw)
		found = append(found, named("dkim", f))
	}
	if raw == nil && !spfGood {
		return append(found, named("dmarc", skip("no mail came back, so it is not known whether DKIM would do")))
	}
	return append(found, named("dmarc", e.dmarc(ctx, spfGood, dkimGood)))
}

// roundTrip gives the mail as it came back.
func (e *exam) roundTrip(ctx context.Context) ([]byte, Finding) {
	if e.notServing != nil {
		return nil, skip("milterd is not running, so no mail can come back")
	}
	master, err := os.ReadFile(filepath.Join(e.Config.Data, "master.key"))
	if errors.Is(err, fs.ErrPermission) {
		return nil, skip("only root and milterd's user can ask a mail to come back")
	}
	if err != nil {
		return nil, fail("milterd init", "%v", err)
	}
	box, err := returned.New(e.Config.Data, master)
	if err != nil {
		return nil, fail("milterd init", "%v", err)
	}
	tag := box.Tag()
	address := returned.LocalPart + "+" + tag + "@" + e.Config.Domain
	begin := time.Now()
	c, _, err := e.dialRelay(ctx)
	if err != nil {
		return nil, skip("no mail can be sent (see relay)")
	}
	defer c.Close()
	if err := c.SendMail(address, []string{address}, bytes.NewReader(e.checkMail(address, tag))); err != nil {
		return nil, fail("see the reply, and Postfix's log", "a mail of milterd to its own check address was refused: %v", err)
	}
	c.Quit()
	limit := cmp.Or(e.returnTime, usualReturn)
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		raw, err := box.Take(tag)
		switch {
		case err == nil && bytes.Contains(raw, []byte("multipart/report")):
			return nil, fail("see Postfix's log", "a mail of milterd to its own check address bounced")
		case err == nil:
			return raw, pass("a mail of milterd came back after %.1f s", time.Since(begin).Seconds())
		case !errors.Is(err, fs.ErrNotExist):
			return nil, warn("run this as root", "%v", err)
		}
		select {
		case <-ctx.Done():
			return nil, fail("mailq, and Postfix's log", "a mail of milterd to its own check address did not come back within %s", limit)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// checkMail is a mail like milterd's own: same sender, same parts.
func (e *exam) checkMail(address, tag string) []byte {
	return fmt.Appendf(nil, "From: reply@%[1]s\r\nTo: %s\r\nSubject: milterd postfix check\r\nDate: %s\r\nMessage-ID: <check.%s@%[1]s>\r\n"+
		"Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nThis mail looks whether milterd's mail arrives, and how.\r\n",
		e.Config.Domain, address, e.Now().Format(time.RFC1123Z), tag)
}

// dkim judges the signatures on the mail that came back.
func (e *exam) dkim(ctx context.Context, raw []byte) (Finding, bool) {
	domain := e.Config.Domain
	all, err := dkim.VerifyWithOptions(bytes.NewReader(raw), &dkim.VerifyOptions{MaxVerifications: 10,
		LookupTXT: func(name string) ([]string, error) {
			return e.Resolver.LookupTXT(ctx, strings.TrimSuffix(name, ".")+".")
		}})
	if err != nil && len(all) == 0 {
		return warn("sign mail from "+domain+" (opendkim, rspamd)", "DKIM: the signature of milterd's mail cannot be read: %v", err), false
	}
	var problem Finding
	for _, v := range all {
		if v.Err == nil && aligned(v.Domain, domain) {
			return e.covers(v), true
		}
		switch {
		case v.Err != nil && dkim.IsTempFail(v.Err):
			problem = warn("look at the resolver of this machine, or name one with --dns", "DKIM: the key of %s cannot be fetched: %v", v.Domain, v.Err)
		case v.Err != nil:
			problem = fail("publish the key that the signer uses, and let nothing change mail after it signed", "DKIM: the signature of %s on milterd's mail does not hold: %v", v.Domain, v.Err)
		case problem.Text == "":
			problem = warn("sign mail from "+domain+" with a key of its own", "DKIM: milterd's mail is signed by %s, which does not speak for %s", v.Domain, domain)
		}
	}
	if problem.Text == "" {
		problem = warn("sign mail from "+domain+" (opendkim, rspamd)", "DKIM: milterd's mail is not signed")
	}
	return problem, false
}

// aligned is DMARC's relaxed alignment.
func aligned(a, b string) bool {
	org := func(d string) string {
		d = strings.ToLower(d)
		if o, err := publicsuffix.EffectiveTLDPlusOne(d); err == nil {
			return o
		}
		return d
	}
	return org(a) == org(b)
}

// proving are the fields that a signature must cover to prove a sender to
// milterd ([senders] dkim).
var proving = []string{"From", "To", "Subject", "Date", "Message-ID", "Content-Type"}

// covers praises a signature, unless the same signer signs too little of
// people's mail for it to prove them here.
func (e *exam) covers(v *dkim.Verification) Finding {
	var missing []string
	for _, name := range proving {
		if !slices.ContainsFunc(v.HeaderKeys, func(k string) bool { return strings.EqualFold(k, name) }) {
			missing = append(missing, name)
		}
	}
	own := slices.ContainsFunc(e.Config.Senders.DKIM, func(d string) bool { return aligned(d, v.Domain) })
	if len(missing) > 0 && own {
		return warn("opendkim: SignHeaders From,To,Cc,Subject,Date,Message-ID,MIME-Version,Content-Type,Content-Transfer-Encoding",
			"DKIM: the signature of %s holds, but leaves out %s: with senders.dkim, such a signature proves nobody", v.Domain, strings.Join(missing, ", "))
	}
	return pass("DKIM: the signature of %s holds", v.Domain)
}
