package program

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"milterd/config"
	"milterd/directory"
	"milterd/pki/qualified"
	"milterd/pki/qualified/qualifiedtest"
	"milterd/pki/trustlist"
	"milterd/signer/openotp"
	"milterd/workflow"
)

// phoneDesk is an authority that certifies phones, and what accepts its certificates;
// the same chambers' qualifier knows it from no list and no folder.
type phoneDesk struct {
	*chambers
	acceptor *advancedAcceptor
	folder   string
}

func newPhoneDesk(t *testing.T) *phoneDesk {
	t.Helper()
	d := &phoneDesk{chambers: newChambers(t), folder: t.TempDir()}
	if err := os.WriteFile(filepath.Join(d.folder, "ca.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: d.CA.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	anchors, err := trustlist.OpenAnchors(d.folder)
	if err != nil {
		t.Fatal(err)
	}
	d.acceptor = &advancedAcceptor{qualifier: *d.chambers.qualifier, scope: openotp.Local, folder: d.folder}
	d.acceptor.policy = qualified.Policy{Trust: anchors, Purpose: qualified.ForAdvanced}
	d.who.id.Serial = ""
	return d
}

// phone is a certificate for Jane's phone; change may be nil.
func (d *phoneDesk) phone(t *testing.T, change func(*x509.Certificate)) []byte {
	t.Helper()
	return d.issue(t, func(r *qualifiedtest.Request) {
		r.NoStatements, r.Change = true, func(c *x509.Certificate) {
			c.KeyUsage, c.EmailAddresses = x509.KeyUsageDigitalSignature, []string{"jane.roe@corp.test"}
			if change != nil {
				change(c)
			}
		}
	}).Raw
}

func (d *phoneDesk) accept(t *testing.T, chain ...[]byte) (*workflow.Acceptance, string, string) {
	t.Helper()
	q, err := d.acceptor.Accept(t.Context(), workflow.Person{Mail: "jane.roe@corp.test", Name: "Jane Roe"}, chain)
	var r *workflow.Refusal
	switch {
	case err == nil:
		return q, "", ""
	case q != nil || !errors.As(err, &r) || r.Text == "":
		t.Fatalf("%+v, %v", q, err)
	}
	return nil, fmt.Sprintf("%d %s", r.Code, r.Reason), r.Text
}

// What vouches, and what was asked, is told; nothing of it says qualified.
func TestAdvancedAcceptor(t *testing.T) {
	t.Parallel()
	d := newPhoneDesk(t)
	leaf := d.phone(t, nil)
	a, why, _ := d.accept(t, leaf)
	if why != "" || a.Level != workflow.Advanced || len(a.Chain) != 2 || a.Vouched != "the organisation's authorities for Advanced signatures, SignScope Local, "+d.folder+": "+d.CA.Subject.String() ||
		a.Issuer != d.CA.Subject.String() || a.Register != workflow.RegisterNever || len(a.Checks) != 7 || a.Serial == "" || a.NotAfter.IsZero() {
		t.Fatalf("%q, %+v", why, a)
	}
	if all := fmt.Sprintf("%+v", a); strings.Contains(strings.ReplaceAll(strings.ToLower(all), strings.ToLower(d.folder), ""), "qualif") || strings.Contains(all, "Qc") {
		t.Errorf("it says something about being qualified: %s", all)
	}
	if d.asked.Load() == 0 {
		t.Error("nobody was asked whether it is revoked")
	}
	if _, why := d.qualify(t, leaf); !strings.HasPrefix(why, "550 ") {
		t.Errorf("at level Qualified: %q", why)
	}
}

func TestAdvancedAcceptorRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		chain func(t *testing.T, d *phoneDesk) [][]byte
		want  string
		says  string
	}{
		"by a foreign authority": {func(t *testing.T, d *phoneDesk) [][]byte {
			o := newPhoneDesk(t)
			return [][]byte{o.phone(t, nil), o.CA.Raw}
		}, "550 untrusted-service", "on your phone"},
		"a qualified one by an authority of the trusted lists": {func(t *testing.T, d *phoneDesk) [][]byte {
			o := newChambers(t)
			return [][]byte{o.issue(t, nil).Raw, o.CA.Raw}
		}, "550 untrusted-service", "Advanced"},
		"a colleague's": {func(t *testing.T, d *phoneDesk) [][]byte {
			return [][]byte{d.phone(t, func(c *x509.Certificate) { c.EmailAddresses = []string{"john@corp.test"} })}
		}, "550 wrong-person", "somebody else"},
		"expired": {func(t *testing.T, d *phoneDesk) [][]byte {
			return [][]byte{d.phone(t, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Hour) })}
		}, "550 certificate-expired", "on your phone"},
		"revoked": {func(t *testing.T, d *phoneDesk) [][]byte {
			leaf := d.phone(t, nil)
			c, err := x509.ParseCertificate(leaf)
			if err != nil {
				t.Fatal(err)
			}
			d.Revoke(c, time.Now().Add(-time.Minute))
			return [][]byte{leaf}
		}, "550 certificate-revoked", "on your phone"},
		"its authority is away": {func(t *testing.T, d *phoneDesk) [][]byte {
			leaf := d.phone(t, nil)
			d.away.Store(true)
			return [][]byte{leaf}
		}, "451 revocation-unknown", "try again later"},
		"it names nobody who would know": {func(t *testing.T, d *phoneDesk) [][]byte {
			return [][]byte{d.phone(t, func(c *x509.Certificate) { c.OCSPServer, c.CRLDistributionPoints = nil, nil })}
		}, "451 revocation-unknown", "try again later"},
		"its authority does not know it": {func(t *testing.T, d *phoneDesk) [][]byte {
			leaf := d.phone(t, func(c *x509.Certificate) { c.CRLDistributionPoints = nil })
			c, err := x509.ParseCertificate(leaf)
			if err != nil {
				t.Fatal(err)
			}
			d.Forget(c)
			return [][]byte{leaf}
		}, "451 revocation-unknown", "try again later"},
		"for logging in": {func(t *testing.T, d *phoneDesk) [][]byte {
			return [][]byte{d.phone(t, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })}
		}, "550 authentication-certificate", "on your phone"},
		"not in the directory": {func(t *testing.T, d *phoneDesk) [][]byte {
			d.who.err = directory.ErrNotFound
			return [][]byte{d.phone(t, nil)}
		}, "550 person-unknown", "directory"},
		"the directory is away": {func(t *testing.T, d *phoneDesk) [][]byte {
			d.who.err = errors.New("connection refused")
			return [][]byte{d.phone(t, nil)}
		}, "451 directory-away", "directory"},
		"garbage":  {func(*testing.T, *phoneDesk) [][]byte { return [][]byte{garbage} }, "550 malformed-certificate", "cannot be read"},
		"nothing":  {func(*testing.T, *phoneDesk) [][]byte { return nil }, "550 malformed-certificate", "no certificate"},
		"its CA's": {func(t *testing.T, d *phoneDesk) [][]byte { return [][]byte{d.CA.Raw} }, "550 wrong-key-usage", "on your phone"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newPhoneDesk(t)
			chain := c.chain(t, d)
			if a, why, says := d.accept(t, chain...); why != c.want || !strings.Contains(says, c.says) || strings.Contains(says, "card") {
				t.Errorf("%q, %q, %+v", why, says, a)
			}
		})
	}
}

// What the configuration offers is what is built: a level without the server's word has no acceptor.
func TestBuildOpenOTP(t *testing.T) {
	c := configured(t)
	d := newPhoneDesk(t)
	c.Organisation.VAT = "DE123456789"
	c.OpenOTP = config.OpenOTP{Name: "Phones", URL: "https://127.0.0.1:1/", Client: "milterd", Advanced: "global", AdvancedAnchors: d.folder}
	for scope, organisation := range map[string]string{"global": "VATDE-123456789", "local": ""} {
		c.OpenOTP.Advanced = scope
		p, err := Build(t.Context(), c, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		a, ok := p.Desk.Acceptors[workflow.Advanced].(*advancedAcceptor)
		if !ok || len(p.Desk.Acceptors) != 1 || a.policy.Organisation != organisation || a.folder != d.folder || !strings.EqualFold(string(a.scope), scope) {
			t.Errorf("%s: %+v", scope, p.Desk.Acceptors)
		}
		if !p.phones.Offers(workflow.Advanced) || p.phones.Offers(workflow.Qualified) || p.phones.Offers(workflow.Standard) {
			t.Errorf("%s: it offers %v", scope, p.phones.Scopes)
		}
		if known := p.anchors(); !slices.ContainsFunc(known, d.CA.Equal) || len(p.trust) > 0 {
			t.Errorf("%s: verified with %d authorities, for Qualified %d", scope, len(known), len(p.trust))
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
