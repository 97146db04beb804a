package doctor

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"milterd/pki"
	"milterd/signature/cms"
)

// directory asks every server, and whether the groups of the policy are there.
func (e *exam) directory(ctx context.Context) []Finding {
	if e.NoDirectory != nil {
		return one(fail("mend [directory] in milterd.toml", "%v", e.NoDirectory))
	}
	all := e.Directory.Check(ctx)
	var found []Finding
	away := 0
	for _, s := range all {
		if s.Err != nil {
			away++
			found = append(found, warn("mend the server, or take it out of directory.ldap.servers", "%s: %v", s.Source, s.Err))
		} else {
			found = append(found, pass("%s answers in %d ms", s.Source, s.Took.Milliseconds()))
		}
	}
	if away > 0 && away == len(all) {
		for i := range found {
			found[i].Status, found[i].Fix = Fail, "mend the server; until then mail to the sign domain is put off (451)"
		}
		return found
	}
	groups := e.Config.Policy.Names()
	if len(groups) == 0 {
		return found
	}
	missing, err := e.Directory.Missing(ctx, groups)
	if err != nil {
		return append(found, warn("run the check again", "groups of the policy: %v", err))
	}
	if len(missing) > 0 {
		return append(found, fail("name an existing group in [policy]", "no such group: %s. Nobody can be in it", strings.Join(missing, ", ")))
	}
	return append(found, pass("the %d groups of the policy exist", len(groups)))
}

// Ages of certificates at which something is to be done.
const (
	soon   = 60 * 24 * time.Hour
	urgent = 14 * 24 * time.Hour
)

// age judges how long a certificate lasts.
func (e *exam) age(c *x509.Certificate, what, fix string) Finding {
	left, day := c.NotAfter.Sub(e.Now()), c.NotAfter.Format(time.DateOnly)
	switch {
	case left <= 0:
		return fail(fix, "%s has expired on %s", what, day)
	case left < urgent:
		return fail(fix, "%s expires on %s, in %d days", what, day, int(left.Hours()/24))
	case left < soon:
		return warn(fix, "%s expires on %s, in %d days", what, day, int(left.Hours()/24))
	}
	return pass("%s lasts until %s", what, day)
}

// timestamps asks each authority for a token and looks at its certificate.
func (e *exam) timestamps(ctx context.Context) []Finding {
	c := e.Config.Timestamps
	if len(c.URLs) == 0 {
		return one(pass("the time is the organisation's own (see clock), no independent witness"))
	}
	remote := pki.Remote{}
	for arc := range strings.SplitSeq(c.Policy, ".") {
		if n, err := strconv.Atoi(arc); err == nil {
			remote.Policy = append(remote.Policy, n)
		}
	}
	if c.Roots != "" {
		text, err := os.ReadFile(c.Roots)
		remote.Roots = x509.NewCertPool()
		if err != nil || !remote.Roots.AppendCertsFromPEM(text) {
			return one(fail("put the authorities' root certificates there, PEM", "timestamps.roots: %s holds no certificate (%v)", c.Roots, err))
		}
	}
	var found []Finding
	answering := 0
	for _, u := range c.URLs {
		one := remote
		one.URLs = []string{u}
		f := e.token(ctx, &one, u)
		if f.Status != Fail {
			answering++
		}
		found = append(found, f)
	}
	if answering > 0 {
		for i := range found {
			found[i].Status = min(found[i].Status, Warn) // another steps in
		}
	}
	return found
}

func (e *exam) token(ctx context.Context, remote *pki.Remote, u string) Finding {
	digest := sha256.Sum256([]byte(rand.Text()))
	begin := time.Now()
	der, err := remote.Timestamp(ctx, digest[:])
	if err != nil {
		return fail("mend timestamps.urls, the way there, or the authority", "%v", err)
	}
	took := time.Since(begin)
	t, err := cms.ParseToken(der)
	if err != nil {
		return fail("ask the authority", "%s: %v", u, err)
	}
	f := pass("%s gives timestamps, in %d ms", u, took.Milliseconds())
	for _, c := range t.Certificates {
		if a := e.age(c, fmt.Sprintf("the certificate %q of %s", c.Subject.CommonName, u), "the authority must renew it"); a.Status > f.Status {
			f = a
		}
	}
	return f
}

// clock asks the kernel whether this machine knows what time it is.
func (e *exam) clock(ctx context.Context) []Finding {
	ask := e.synchronised
	if ask == nil {
		ask = kernelClock
	}
	err := ask()
	fix := "apt install chrony (or timedatectl set-ntp true)"
	switch {
	case err == nil:
		return one(pass("a time server steers the clock"))
	case len(e.Config.Timestamps.URLs) > 0:
		return one(warn(fix, "%v: deadlines and codes depend on it", err))
	case e.Config.Timestamps.Unsynchronised:
		return one(pass("%v; timestamps.unsynchronised vouches for the clock by other means", err))
	}
	return one(fail(fix, "%v: the embedded timestamp authority stays silent, and signatures wait", err))
}

// certificates looks at the organisation's own.
func (e *exam) certificates(context.Context) []Finding {
	dir := filepath.Join(e.Config.Data, "keys")
	files, err := filepath.Glob(filepath.Join(dir, "*.crt"))
	if _, serr := os.ReadDir(dir); errors.Is(serr, fs.ErrPermission) {
		return one(skip("only root and milterd's user can read %s", dir))
	}
	if err != nil || len(files) == 0 {
		return one(fail("milterd init", "there are no certificates in %s", dir))
	}
	var found []Finding
	for _, file := range files {
		c, err := readCertificate(file)
		if err != nil {
			found = append(found, fail("put "+file+" back from the backup", "%v", err))
			continue
		}
		what := fmt.Sprintf("the %s certificate", strings.TrimSuffix(filepath.Base(file), ".crt"))
		found = append(found, e.age(c, what, "renew it: docs/pki.md"))
	}
	return found
}

func readCertificate(file string) (*x509.Certificate, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s holds no PEM", file)
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return c, nil
}

// pages looks at the TLS certificate of the signing pages, in the file or, where
// a proxy has it, on the wire.
func (e *exam) pages(ctx context.Context) []Finding {
	u, err := url.Parse(e.Config.URL)
	if err != nil {
		return one(fail("mend url", "%v", err))
	}
	h := e.Config.HTTP
	if h.Certificate != "" {
		pair, err := tls.LoadX509KeyPair(h.Certificate, h.Key)
		if errors.Is(err, fs.ErrPermission) {
			return one(skip("only root and milterd's user can read %s", h.Key))
		}
		if err != nil {
			return one(fail("mend http.certificate and http.key", "%v", err))
		}
		if err := pair.Leaf.VerifyHostname(u.Hostname()); err != nil {
			return one(fail("get a certificate for "+u.Hostname(), "the certificate of the pages: %v", err))
		}
		return one(e.age(pair.Leaf, "the TLS certificate of the pages", "renew it, then systemctl reload milterd"))
	}
	if u.Scheme != "https" {
		return one(pass("the pages are plain HTTP at %s", u.Host))
	}
	port := u.Port()
	if port == "" {
		port = "443"
	}
	d := tls.Dialer{NetDialer: &net.Dialer{Timeout: patience, Resolver: e.Resolver}, Config: &tls.Config{ServerName: u.Hostname()}}
	conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	var bad *tls.CertificateVerificationError
	if errors.As(err, &bad) {
		return one(fail("mend the proxy's certificate", "%s: %v", u.Host, err))
	}
	if err != nil {
		return one(warn("see whether people reach "+e.Config.URL, "the pages cannot be reached from this machine: %v", err))
	}
	defer conn.Close()
	leaf := conn.(*tls.Conn).ConnectionState().PeerCertificates[0]
	return one(e.age(leaf, "the TLS certificate of "+u.Host, "renew it at the proxy"))
}

// crl fetches the revocation lists from where the certificates say.
func (e *exam) crl(ctx context.Context) []Finding {
	if e.notServing != nil {
		return one(skip("milterd is not running"))
	}
	keys := filepath.Join(e.Config.Data, "keys")
	if _, err := os.ReadDir(keys); errors.Is(err, fs.ErrPermission) {
		return one(skip("only root and milterd's user can read %s", keys))
	}
	var found []Finding
	for _, pair := range [][2]string{{"issuing", "root"}, {"seal", "issuing"}} {
		subject, err := readCertificate(filepath.Join(keys, pair[0]+".crt"))
		if err == nil {
			var issuer *x509.Certificate
			if issuer, err = readCertificate(filepath.Join(keys, pair[1]+".crt")); err == nil {
				found = append(found, e.list(ctx, subject, issuer))
				continue
			}
		}
		found = append(found, fail("put it back from the backup", "%v", err))
	}
	return found
}

const maxCRL = 1 << 20

func (e *exam) list(ctx context.Context, subject, issuer *x509.Certificate) Finding {
	if len(subject.CRLDistributionPoints) == 0 {
		return fail("milterd init makes certificates that do", "the certificate of %s names no revocation list", subject.Subject.CommonName)
	}
	at := subject.CRLDistributionPoints[0]
	client := http.Client{Transport: &http.Transport{DialContext: (&net.Dialer{Timeout: patience, Resolver: e.Resolver}).DialContext}}
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return fail("mend url", "%v", err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return warn("see whether people reach "+at, "the revocation list cannot be fetched from this machine: %v", err)
	}
	defer resp.Body.Close()
	der, err := io.ReadAll(io.LimitReader(resp.Body, maxCRL))
	if err != nil || resp.StatusCode != http.StatusOK {
		return fail("let the proxy pass /pki/ on", "%s answers %s (%v)", at, resp.Status, err)
	}
	l, err := x509.ParseRevocationList(der)
	if err == nil {
		err = l.CheckSignatureFrom(issuer)
	}
	if err != nil {
		return fail("let the proxy pass /pki/ on; is it another milterd's?", "%s is no list of %s: %v", at, issuer.Subject.CommonName, err)
	}
	for _, r := range l.RevokedCertificateEntries {
		if r.SerialNumber.Cmp(subject.SerialNumber) == 0 {
			return fail("renew it: docs/pki.md", "%s says that the certificate of %s is revoked", at, subject.Subject.CommonName)
		}
	}
	if left := l.NextUpdate.Sub(e.Now()); left < 24*time.Hour {
		return fail("let no cache stand before /pki/", "%s is stale: it was due at %s", at, l.NextUpdate.Format(time.RFC3339))
	}
	return pass("%s is fresh, of %s", at, l.ThisUpdate.Format(time.RFC3339))
}
