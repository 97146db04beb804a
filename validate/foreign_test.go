package validate_test

import (
	"crypto/x509"
	"os"
	"slices"
	"testing"
	"time"

	"milterd/validate"
)

func read(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A file that another program signed twice.
func TestForeign(t *testing.T) {
	root, err := x509.ParseCertificate(read(t, "testdata/foreign/root.cer"))
	if err != nil {
		t.Fatal(err)
	}
	anchors := x509.NewCertPool()
	anchors.AddCert(root)
	pdf := read(t, "testdata/foreign/two.pdf")
	o := validate.Options{Anchors: anchors, Now: time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC), CRLs: [][]byte{read(t, "testdata/foreign/root.crl")}}
	r, err := validate.Validate(pdf, o)
	if err != nil {
		t.Fatal(err)
	}
	if !r.Passed() || len(r.Signatures) != 2 {
		t.Fatal(r.Text())
	}
	a, b := r.Signatures[0], r.Signatures[1]
	if a.Level != validate.LevelB || a.Subject != "C=FR, O=Elsewhere, CN=Jane Foreign" || a.Reason != "Approved" || a.Claimed.IsZero() || !a.Proven.IsZero() {
		t.Errorf("%+v", a)
	}
	if want := []validate.Change{{What: `field "B" was signed`, Allowed: true}, {What: "document information was updated", Allowed: true}}; !slices.Equal(a.Changes, want) {
		t.Errorf("changes: %v", a.Changes)
	}
	if b.Level != validate.NoLevel || b.SubFilter != "adbe.pkcs7.detached" || !b.Whole {
		t.Errorf("%+v", b)
	}
	o.CRLs = nil
	if r, err = validate.Validate(pdf, o); err != nil || r.Passed() || r.Sub != validate.TryLater {
		t.Errorf("without revocation data: %v %v", r.Sub, err)
	}
}

// Our signatures on a file that others have signed leave theirs as they were.
func TestSignAfterOthers(t *testing.T) {
	f := newFixture(t)
	root, err := x509.ParseCertificate(read(t, "testdata/foreign/root.cer"))
	if err != nil {
		t.Fatal(err)
	}
	f.clock = time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	pdf := f.stamp(f.dss(f.sign(f.sign(read(t, "testdata/foreign/two.pdf"), "Seal", false), "", false), nil))
	o := f.options()
	o.Anchors.AddCert(root)
	o.CRLs = [][]byte{read(t, "testdata/foreign/root.crl")}
	r, err := validate.Validate(pdf, o)
	if err != nil {
		t.Fatal(err)
	}
	// The document timestamp proves the time of the foreign ones, for which their
	// list is too old.
	for i, want := range []validate.Sub{validate.TryLater, validate.TryLater, "", "", ""} {
		s := r.Signatures[i]
		if s.Sub != want {
			t.Errorf("%s: %s / %s: %s", s.Field, s.Indication, s.Sub, s.Problem)
		}
		for _, c := range s.Changes {
			if !c.Allowed {
				t.Errorf("%s: %s", s.Field, c.What)
			}
		}
	}
}
