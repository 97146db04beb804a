package evidence

import (
	"crypto/x509"
	"strings"
	"testing"

	"milterd/pki"
	"milterd/validate"
)

// A signatory has a certificate below the same root, and may know an authority
// that gives the time to anybody: what that key seals is no evidence.
func TestSealIsTheOrganisations(t *testing.T) {
	s := finished(t)
	e := clone(t, s.file)
	e.Session.Thread.Subject = "something else"
	entry, err := s.h.store.Certificate(t.Context(), s.john.serial)
	s.h.must(err)
	by := pki.Identity{Key: s.john.key, Chain: parsed(t, append([][]byte{entry.DER}, s.h.authority.Issuers()...))}
	forged, err := Write(t.Context(), e, by, s.h.clock)
	s.h.must(err)
	if r := Check(forged, s.options()); r.Indication != validate.Failed || !strings.Contains(r.Text(), "not an organisation's") {
		t.Errorf("sealed by a signatory:\n%s", r.Text())
	}
}

func parsed(t *testing.T, chain [][]byte) (out []*x509.Certificate) {
	t.Helper()
	for _, der := range chain {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, c)
	}
	return out
}
