package pdf

import (
	"fmt"
	"testing"

	"milterd/signature/pdf/cos"
)

// TestRules: what earlier signatures let others sign, and show.
func TestRules(t *testing.T) {
	docMDP := func(p string) string {
		return "/Reference[<</TransformMethod/DocMDP/TransformParams<<" + p + ">>>>]"
	}
	fieldMDP := func(s string) string {
		return "/Reference[<</TransformMethod/FieldMDP/TransformParams<<" + s + ">>>>]"
	}
	for _, c := range []struct {
		name, perms, sig, field string
		a, b, show              bool // may sign a.x, may sign b, may show b
	}{
		{"approval", "", "", "", true, true, true},
		{"P 1", "", docMDP("/P 1"), "", false, false, false},
		{"P 2", "", docMDP("/P 2"), "", true, true, false},
		{"P left out", "", docMDP(""), "", true, true, false},
		{"P 3", "", docMDP("/P 3"), "", true, true, false},
		{"certification in no field", "/Perms<</DocMDP 5 0 R>>", "", "", false, false, false},
		{"lock one", "", "", "/Lock<</Action/Include/Fields[(a)]>>", false, true, true},
		{"lock others", "", "", "/Lock<</Action/Exclude/Fields[(a)]>>", true, false, false},
		{"lock all", "", "", "/Lock<</Action/All>>", false, false, false},
		{"lock with P 1", "", "", "/Lock<</Action/Include/Fields[(c)]/P 1>>", false, false, false},
		{"lock with P 3", "", "", "/Lock<</Action/Include/Fields[(c)]/P 3>>", true, true, false},
		{"FieldMDP", "", fieldMDP("/Action/Include/Fields[(b)]"), "", true, false, false},
		{"FieldMDP and another lock", "", fieldMDP("/Action/Include/Fields[(b)]"), "/Lock<</Action/Include/Fields[(a)]>>", false, false, false},
		{"FieldMDP with P 1", "", fieldMDP("/Action/Include/Fields[(c)]/P 1"), "", false, false, false},
		{"FieldMDP with P 2", "", fieldMDP("/Action/Include/Fields[(c)]/P 2"), "", true, true, false},
		{"names alike", "", "", "/Lock<</Action/Include/Fields[(a.)(bb)(a.xx)]>>", true, true, true},
	} {
		f, err := cos.Open(build("<</Type/Catalog/Pages 2 0 R/AcroForm<</Fields[4 0 R]>>"+c.perms+">>", "<</Type/Pages/Kids[3 0 R]/Count 1>>",
			"<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]>>", fmt.Sprintf("<</FT/Sig/T(s)/V<</Type/Sig%s>>%s>>", c.sig, c.field), "<<"+docMDP("/P 1")+">>"))
		if err != nil {
			t.Fatal(err)
		}
		r, err := ReadRules(f)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if a, b := r.Forbid("a.x"), r.Forbid("b"); (a == "") != c.a || (b == "") != c.b || r.Visible("b") != c.show {
			t.Errorf("%s: a.x %q, b %q, shown %v", c.name, a, b, r.Visible("b"))
		}
	}
}
