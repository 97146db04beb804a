package validate_test

import (
	"slices"
	"strings"
	"testing"

	"milterd/signature/pdf/shadow"
	"milterd/validate"
)

// Every prepared document, signed by somebody who does not look (ours refuses
// some, see pdf.TestShadows), is sound as it was signed; and when the attack is
// sprung, the signature is named as changed, by the words that belong to it.
func TestPreparedShadows(t *testing.T) {
	f := newFixture(t)
	for _, a := range shadow.All() {
		t.Run(a.Name, func(t *testing.T) {
			signed := f.blindly(a.PDF)
			if signed == nil { // not even our own signing reads it; validation must not either
				if _, err := validate.Validate(a.PDF, f.options()); err == nil || a.Says != "" {
					t.Errorf("cannot be signed, and validation says %v", err)
				}
				return
			}
			o := f.options()
			o.CRLs = [][]byte{f.root.CRL(t, o.Now, nil), f.ca.CRL(t, o.Now, nil)}
			if r, err := validate.Validate(signed, o); err == nil && !r.Passed() || err != nil && a.Says != "" {
				t.Fatalf("before: %v\n%s", err, r.Text())
			}
			sprung, err := a.Spring(signed)
			if err != nil {
				t.Fatal(err)
			}
			r, err := validate.Validate(sprung, o)
			if err != nil {
				if a.Says != "" {
					t.Errorf("want %q, got %v", a.Says, err)
				}
				return
			}
			s := r.Signatures[0]
			if s.Indication != validate.Indeterminate || s.Sub != validate.SigConstraintsFailure || !strings.Contains(r.Text(), "CHANGED afterwards") {
				t.Errorf("%s / %s: %s", s.Indication, s.Sub, s.Problem)
			}
			if !slices.Contains(s.Changes, validate.Change{What: a.Says}) {
				t.Errorf("want %q, got %v", a.Says, s.Changes)
			}
		})
	}
}
