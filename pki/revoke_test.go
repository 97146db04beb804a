package pki

import (
	"context"
	"crypto/x509"
	"errors"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"milterd/workflow"
)

// revoke does in the register what another process would do.
func revoke(t testing.TB, a *Authority, c *workflow.Certificate, reason int) {
	t.Helper()
	d := *c
	d.Revoked, d.Reason = time.Now(), reason
	enter(t, a, &d)
}

func lists(t testing.TB, a *Authority) (root, issuing *x509.RevocationList) {
	t.Helper()
	crls, err := a.CRLs(t.Context(), time.Now().Add(-time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	root, err = x509.ParseRevocationList(crls[0])
	if err == nil {
		issuing, err = x509.ParseRevocationList(crls[1])
	}
	if err != nil {
		t.Fatal(err)
	}
	return root, issuing
}

func TestRevokedCertificatesAreListed(t *testing.T) {
	a, dir := authority(t)
	c, made := certified(t, a, john)
	other, _ := certified(t, a, john)
	if _, list := lists(t, a); len(list.RevokedCertificateEntries) != 0 {
		t.Fatalf("listed: %v", list.RevokedCertificateEntries)
	}
	revoke(t, a, c, 1)
	root, list := lists(t, a)
	if len(list.RevokedCertificateEntries) != 1 || len(root.RevokedCertificateEntries) != 0 {
		t.Fatalf("listed: %v and %v", root.RevokedCertificateEntries, list.RevokedCertificateEntries)
	}
	if e := list.RevokedCertificateEntries[0]; e.SerialNumber.Cmp(made.SerialNumber) != 0 || e.ReasonCode != 1 || time.Since(e.RevocationTime) > time.Minute {
		t.Errorf("entry: %+v", e)
	}
	crls, err := a.CRLs(t.Context(), time.Now().Add(-time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	crl := write(t, "crl", crls[1])
	out := run(t, "openssl", "crl", "-inform", "DER", "-in", crl, "-noout", "-text", "-CAfile", dir+"/issuing.crt")
	if !strings.Contains(out, "verify OK") || !strings.Contains(out, "Key Compromise") {
		t.Error(out)
	}
	// Taken back, as a hold can be: the next list does not have it.
	enter(t, a, c)
	if _, list := lists(t, a); len(list.RevokedCertificateEntries) != 0 {
		t.Error("still listed")
	}
	// Long expired: the lists that documents hold suffice.
	c.NotAfter = time.Now().Add(-crlLifetime - time.Minute)
	revoke(t, a, c, 1)
	revoke(t, a, other, 0)
	if _, list := lists(t, a); len(list.RevokedCertificateEntries) != 1 || serialText(list.RevokedCertificateEntries[0].SerialNumber) != other.Serial {
		t.Errorf("listed: %v", list.RevokedCertificateEntries)
	}
}

// A certificate of the root's stands on the root's list.
func TestRevokedAuthorityIsOnTheRootsList(t *testing.T) {
	a, _ := authority(t)
	if err := a.Enter(t.Context()); err != nil {
		t.Fatal(err)
	}
	c, err := a.register.Certificate(t.Context(), serialText(a.issuing.Leaf().SerialNumber))
	if err != nil {
		t.Fatal(err)
	}
	revoke(t, a, c, 2)
	root, issuing := lists(t, a)
	if len(root.RevokedCertificateEntries) != 1 || len(issuing.RevokedCertificateEntries) != 0 {
		t.Errorf("listed: %v and %v", root.RevokedCertificateEntries, issuing.RevokedCertificateEntries)
	}
}

// What another process revokes is on the published list within seconds, and no
// register means no list.
func TestPublishedListFollowsTheRegister(t *testing.T) {
	a, _ := authority(t)
	now := time.Now()
	a.now = func() time.Time { return now }
	get := func() (int, *x509.RevocationList) {
		w := httptest.NewRecorder()
		a.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/pki/issuing.crl", nil))
		list, _ := x509.ParseRevocationList(w.Body.Bytes())
		return w.Code, list
	}
	c, _ := certified(t, a, john)
	if code, list := get(); code != 200 || len(list.RevokedCertificateEntries) != 0 {
		t.Fatal(code, list)
	}
	revoke(t, a, c, 0)
	now = now.Add(CRLDelay)
	if code, list := get(); code != 200 || len(list.RevokedCertificateEntries) != 1 {
		t.Fatal(code, list)
	}
	a.register.(*memory).err = errors.New("away")
	now = now.Add(CRLDelay)
	if code, _ := get(); code != 503 {
		t.Errorf("register away: %d", code)
	}
	if _, err := a.CRLs(t.Context(), now.Add(-time.Minute)); err == nil || !strings.Contains(err.Error(), "away") {
		t.Errorf("register away: %v", err)
	}
}

func TestGatherRefusesOwnRevoked(t *testing.T) {
	a, _ := authority(t)
	if err := a.Enter(t.Context()); err != nil {
		t.Fatal(err)
	}
	g := &Gatherer{Own: a}
	c, made := certified(t, a, john)
	gather := func() (Evidence, error) {
		return g.Gather(context.Background(), time.Now(), []*x509.Certificate{made}, nil)
	}
	e, err := gather()
	if err != nil || len(e.Certificates) != 3 || len(e.CRLs) != 2 {
		t.Fatalf("%d certificates, %d lists: %v", len(e.Certificates), len(e.CRLs), err)
	}
	for name, serial := range map[string]string{"John Doe": c.Serial, a.issuing.Leaf().Subject.CommonName: serialText(a.issuing.Leaf().SerialNumber)} {
		entry, err := a.register.Certificate(t.Context(), serial)
		if err != nil {
			t.Fatal(err)
		}
		for _, reason := range []int{1, 6} {
			revoke(t, a, entry, reason)
			var revoked *RevokedError
			if _, err := gather(); !errors.As(err, &revoked) || revoked.Name != name {
				t.Errorf("%s, reason %d: %v", name, reason, err)
			}
		}
		enter(t, a, entry)
	}
	if _, err := gather(); err != nil {
		t.Error(err)
	}
}

// What init made is entered once, so that it can be listed and revoked.
func TestEnter(t *testing.T) {
	a, dir := authority(t)
	for range 2 {
		if err := a.Enter(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	m := a.register.(*memory)
	if len(m.certs) != 3 || len(m.log) != 3 {
		t.Fatalf("%d entries, %d events", len(m.certs), len(m.log))
	}
	for i, id := range []Identity{a.issuing, a.seal, a.tsa} {
		if c := m.certs[i]; string(c.DER) != string(id.Leaf().Raw) || c.Mail != "" || c.Name == "" {
			t.Errorf("%+v", c)
		}
	}
	// A revocation is not undone by the next start.
	revoke(t, a, m.certs[1], 1)
	b, err := Open(Config{Dir: dir, Register: m})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Enter(t.Context()); err != nil || m.certs[1].Revoked.IsZero() {
		t.Errorf("revocation undone: %v", err)
	}
	if _, err := Load(filepath.Join(dir, "none")); err == nil {
		t.Error("loaded")
	}
}
