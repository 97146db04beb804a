package pdf

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"milterd/signature/cms/cmstest"
	"milterd/signature/pdf/cos"
	"milterd/signature/pdf/shadow"
	"milterd/workflow"
)

// A document that is prepared to show another face after signing is refused, or
// its signatory is told, or nothing can be seen yet; then the change is seen when
// it comes (validate.TestPreparedShadows).
func TestShadows(t *testing.T) {
	refused, noted := 0, 0
	for _, a := range shadow.All() {
		info, err := Inspect(a.PDF)
		if a.Refused {
			var r *workflow.Refusal
			if refused++; !errors.As(err, &r) || r.Reason != "broken-pdf" {
				t.Errorf("%s: want a refusal, got %v", a.Name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", a.Name, err)
		} else if !slices.Equal(info.Notes, a.Notes) {
			t.Errorf("%s: notes %v, want %v", a.Name, info.Notes, a.Notes)
		}
		if len(a.Notes) > 0 {
			noted++
		}
	}
	if refused < 10 || noted < 8 {
		t.Errorf("%d are refused, %d noted", refused, noted)
	}
}

// Earlier signatures that do not hold are for the signatory to know.
func TestEarlierSignatures(t *testing.T) {
	signed := sample(t, "signed.pdf")
	extended := func(change func(f *cos.File, u *cos.Update)) []byte {
		f, err := cos.Open(signed)
		if err != nil {
			t.Fatal(err)
		}
		u := f.NewUpdate()
		change(f, u)
		b, err := u.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		return slices.Concat(signed, b)
	}
	page := func(f *cos.File) (cos.Ref, cos.Dict) {
		pages, err := Pages(f, 1)
		if err != nil {
			t.Fatal(err)
		}
		return pages[0].Ref, pages[0].Dict.Clone()
	}
	flipped := bytes.Clone(signed)
	at := bytes.Index(flipped, []byte("/MediaBox")) // 595 points become 515
	copy(flipped[at:], bytes.Replace(flipped[at:at+40], []byte("595"), []byte("515"), 1))
	if bytes.Equal(flipped, signed) {
		t.Fatal("nothing was changed")
	}
	for name, c := range map[string]struct {
		pdf  []byte
		note bool
	}{
		"sound":           {signed, false},
		"a byte changed":  {flipped, true},
		"bytes after it":  {append(bytes.Clone(signed), "4 0 obj null endobj\n"...), true},
		"metadata after":  {extended(func(f *cos.File, u *cos.Update) { u.Add(cos.Dict{}) }), false},
		"content changed": {extended(func(f *cos.File, u *cos.Update) { r, d := page(f); d["Rotate"] = 90; u.Set(r, d) }), true},
		"annotation added": {extended(func(f *cos.File, u *cos.Update) {
			r, d := page(f)
			list, err := f.Array(d["Annots"])
			if err != nil {
				t.Fatal(err)
			}
			d["Annots"] = append(slices.Clone(list), u.Add(cos.Dict{"Subtype": cos.Name("FreeText"), "Rect": cos.Array{0, 0, 500, 500}}))
			u.Set(r, d)
		}), true},
	} {
		info, err := Inspect(c.pdf)
		if err != nil {
			if !c.note { // refused is told as well
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if got := slices.Contains(info.Notes, "signature"); got != c.note || !info.Signed {
			t.Errorf("%s: %v", name, info.Notes)
		}
	}
}

// Forms as programs write them are not told of: a look that is wrapped, has an
// own font, or is written by a script.
func TestFieldsThatShowTheirValue(t *testing.T) {
	for name, c := range map[string]struct {
		field, content, resources string
		note                      bool
	}{
		"the same":        {"/V(Jane Doe)", "BT (Jane Doe) Tj ET", "", false},
		"in pieces":       {"/V(Jane Doe)", "BT (Ja) Tj [(ne)-20(Do)] TJ (e) ' ET", "", false},
		"something else":  {"/V(Jane Doe)", "BT (John Doe) Tj ET", "", true},
		"nothing":         {"/V(Jane Doe)", "/Tx BMC EMC", "", false},
		"by a script":     {"/V(1234)/AA<</F<</S/JavaScript/JS(f)>>>>", "BT (EUR 1,234) Tj ET", "", false},
		"a password":      {"/V(secret)/Ff 8192", "BT (aaaaaa) Tj ET", "", false},
		"letters":         {"/V<FEFF00E9>", "BT (x) Tj ET", "", false},
		"its own font":    {"/V(abc)", "BT (xyz) Tj ET", "/Resources<</Font<</F<</Type/Font/Subtype/Type0>>>>>>", false},
		"a standard font": {"/V(abc)", "BT (xyz) Tj ET", "/Resources<</Font<</F<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>>>", true},
	} {
		doc := cmstest.Build("<</Type/Catalog/Pages 2 0 R/AcroForm<</Fields[4 0 R]>>>>", "<</Type/Pages/Kids[3 0 R]/Count 1>>",
			"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Annots[4 0 R]>>",
			"<</Type/Annot/Subtype/Widget/FT/Tx/T(f)/F 4/Rect[9 9 99 99]/P 3 0 R/AP<</N 5 0 R>>"+c.field+">>",
			string(cos.Append(nil, &cos.Stream{Dict: cos.Dict{"Subtype": cos.Name("Form"), "BBox": cos.Array{0, 0, 90, 90}, "X": cos.Verbatim("0" + c.resources)}, Raw: []byte(c.content)})))
		info, err := Inspect(doc)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := slices.Contains(info.Notes, "field"); got != c.note {
			t.Errorf("%s: %v", name, info.Notes)
		}
	}
}
