package pdf

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"milterd/signature/pdf/cos"
	"milterd/workflow"
)

// laid gives a sample with its layout.
func laid(t testing.TB, name string) []byte {
	t.Helper()
	data := sample(t, name)
	suffix, err := Layout(context.Background(), data, plan)
	if err != nil {
		t.Fatal(err)
	}
	return append(data, suffix...)
}

// TestPlace checks what a signature's increment promises: the ByteRange leaves
// out exactly the Contents string, and what is hashed is the rest.
func TestPlace(t *testing.T) {
	for _, c := range []struct{ name, field string }{
		{"contract.pdf", FieldName(plan.Session, 0)}, {"table.pdf", SealName(plan.Session)}, {"hybrid.pdf", TimeName(plan.Session)},
		{"form.pdf", "board.chair"}, {"form.pdf", "Witness"}, {"packed.pdf", "a field of mine"},
	} {
		head := laid(t, c.name)
		p, err := Place(head, Signing{Field: c.field, Reserve: 300, Entries: cos.Dict{"Type": cos.Name("Sig")}, Look: SealLook("Corp", "", signedAt)})
		if err != nil {
			t.Errorf("%s, %s: %v", c.name, c.field, err)
			continue
		}
		at, reserve := p.Contents()
		if err := Embed(p.Suffix, at, reserve, []byte("the value")); err != nil {
			t.Error(err)
		}
		whole := append(bytes.Clone(head), p.Suffix...)
		r := p.ByteRange
		gap := whole[r[0]+r[1] : r[2]]
		if r[0] != 0 || r[2]+r[3] != int64(len(whole)) || string(gap) != fmt.Sprintf("<%x%s>", "the value", strings.Repeat("0", 2*(300-9))) {
			t.Errorf("%s, %s: ByteRange %v of %d bytes leaves out %.40s", c.name, c.field, r, len(whole), gap)
		}
		h, want := sha256.New(), sha256.New()
		if n, err := p.WriteTo(h); err != nil || n != r[1]+r[3] {
			t.Errorf("%d bytes hashed, %v", n, err)
		}
		want.Write(whole[:r[1]])
		want.Write(whole[r[2]:])
		if !bytes.Equal(h.Sum(nil), want.Sum(nil)) {
			t.Errorf("%s, %s: another digest", c.name, c.field)
		}
		f, err := cos.Open(whole)
		if err != nil {
			t.Fatal(err)
		}
		all, err := Signatures(f)
		if err != nil || len(all) != 1 || all[0].Field.Name != c.field || fmt.Sprint(all[0].ByteRange) != fmt.Sprint(r) || !bytes.HasPrefix(all[0].Contents, []byte("the value\x00")) {
			t.Errorf("%s, %s: found %+v, %v", c.name, c.field, all, err)
		}
		if _, err := Place(whole, Signing{Field: c.field, Reserve: 1}); err == nil || !strings.Contains(err.Error(), "signed already") {
			t.Errorf("%s, %s: signed twice: %v", c.name, c.field, err)
		}
	}
}

// A new appearance names all that the one before named, fonts too: EU DSS warns of
// an "undefined object modification" where a signature takes something away.
func TestAppearanceTakesNothingAway(t *testing.T) {
	names := func(data []byte) map[cos.Ref][]string {
		f, err := cos.Open(data)
		if err != nil {
			t.Fatal(err)
		}
		numbers, err := f.Numbers()
		if err != nil {
			t.Fatal(err)
		}
		out := map[cos.Ref][]string{}
		for _, n := range numbers {
			ref, err := f.RefOf(n)
			if err != nil {
				continue
			}
			o, err := f.Get(ref)
			widget, ok := o.(cos.Dict)
			if err != nil || !ok || widget.Name("Subtype") != "Widget" {
				continue
			}
			ap, _ := f.Dict(widget["AP"])
			form, _ := f.Dict(ap["N"])
			res, _ := f.Dict(form["Resources"])
			fonts, _ := f.Dict(res["Font"])
			for _, d := range []cos.Dict{form, fonts} {
				for k := range d {
					out[ref] = append(out[ref], string(k))
				}
			}
		}
		return out
	}
	head := laid(t, "contract.pdf")
	drawn := workflow.Appearance{Width: 300, Height: 120, Strokes: []workflow.Stroke{{{X: 10, Y: 90}, {X: 280, Y: 60}}}}
	p, err := Place(head, Signing{Field: FieldName(plan.Session, 0), Paraphs: ParaphName(plan.Session, 0), Reserve: 300, Entries: cos.Dict{"Type": cos.Name("Sig")},
		Look: SignatoryLook(drawn, "Jane Roe", "jane@corp.test", workflow.Standard, "Corp", signedAt)})
	if err != nil {
		t.Fatal(err)
	}
	before, after := names(head), names(append(bytes.Clone(head), p.Suffix...))
	if len(before) < 4 {
		t.Fatalf("%d widgets", len(before))
	}
	for ref, all := range before {
		for _, name := range all {
			if !slices.Contains(after[ref], name) {
				t.Errorf("widget %v: %s is gone", ref, name)
			}
		}
	}
}

func TestPlaceErrors(t *testing.T) {
	head := laid(t, "form.pdf")
	for want, s := range map[string]Signing{
		`a field of type "Tx"`: {Field: "name", Reserve: 10},
		"room for 0 bytes":     {Field: "x"},
		"no points":            {Field: FieldName(plan.Session, 0), Reserve: 10, Look: &Look{Appearance: workflow.Appearance{Strokes: []workflow.Stroke{{}}}}},
	} {
		if _, err := Place(head, s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if _, err := Place([]byte("%PDF-1.4"), Signing{}); err == nil {
		t.Error("signed what is no file")
	}
	for _, c := range []struct{ at, reserve, size int }{{1, 2, 3}, {0, 2, 1}, {2, 2, 1}, {1, 9, 1}, {-5, 2, 1}} {
		if err := Embed([]byte("<0000>"), c.at, c.reserve, make([]byte, c.size)); err == nil {
			t.Errorf("embedded %+v", c)
		}
	}
}

// TestPlaceLazy: a signature reads and copies next to nothing of a large file,
// and no more when there are signatures on it.
func TestPlaceLazy(t *testing.T) {
	head := padded(t, 25<<20)
	spent := func() uint64 {
		var a, b runtime.MemStats
		runtime.ReadMemStats(&a)
		if _, err := Place(head, Signing{Field: FieldName(plan.Session, 0), Reserve: 8 << 10, Look: looks()[0], Paraphs: ParaphName(plan.Session, 0)}); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&b)
		return b.TotalAlloc - a.TotalAlloc
	}
	spent() // parses the fonts
	if n := spent(); n > 300<<10 {
		t.Errorf("a signature on 25 MB allocates %d bytes", n)
	}
	for i := range 9 {
		p, err := Place(head, Signing{Field: fmt.Sprint("more ", i), Reserve: 8 << 10})
		if err != nil {
			t.Fatal(err)
		}
		head = append(head, p.Suffix...)
	}
	if n := spent(); n > 400<<10 {
		t.Errorf("the tenth signature allocates %d bytes", n)
	}
}

// TestFonts: a signature uses the layout's fonts where they suffice, and brings
// its own where they do not.
func TestFonts(t *testing.T) {
	head := laid(t, "table.pdf")
	for _, c := range []struct {
		typed string
		fonts int
	}{{"Jane Smith", 0}, {"Müller-Łukasiewicz", 0}, {"Ǽfric Þorn", 1}} {
		p, err := Place(head, Signing{Field: FieldName(plan.Session, 0), Reserve: 10, Look: SignatoryLook(workflow.Appearance{Typed: c.typed}, "Jane Smith", "jane.smith@corp.test", workflow.Standard, "Corp S.A.", signedAt)})
		if err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(p.Suffix, []byte("/FontFile2")); n != c.fonts {
			t.Errorf("%s: %d fonts, want %d", c.typed, n, c.fonts)
		}
	}
}

func TestInitials(t *testing.T) {
	for name, want := range map[string]string{
		"Jane Smith": "JS", "Anne-Marie van der Berg Lund": "AMVD", "zoë": "Z", "  ": "  ", "": "", "–": "–", "3M Corp": "3C", "(Otto) Ö.": "OÖ",
	} {
		if got := initials(name); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}

func TestWrap(t *testing.T) {
	for text, want := range map[string]string{
		"short": "short", "": "",
		"Sealed by Corp S.A. on behalf of Jane": "Sealed by Corp|S.A. on behalf of|Jane",
		"Donaudampfschifffahrtsgesellschaft AG": "Donaudampfschif|ffahrtsgesellschaf|t AG",
	} {
		lines := wrap(regular, 10, 80, text)
		for _, l := range lines {
			if w := regular.face().Width(l, 10); w > 80.01 {
				t.Errorf("%q is %v wide", l, w)
			}
		}
		if got := strings.Join(lines, "|"); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// FuzzLook: any signature can be drawn, or is refused, and what is drawn is a
// content stream that leaves nothing open.
func FuzzLook(f *testing.F) {
	f.Add("Jane Smith", "Corp\tS.A.", 1.0, 2.0, 300.0, 100.0, 200.0, 60.0)
	f.Add("", "日本\u202e", 0.0, 0.0, 0.0, 0.0, 8.0, 300.0)
	f.Add(strings.Repeat("W", 300), strings.Repeat("long ", 200), -1e9, 5.0, 1e-9, 1e9, 1000.0, 9.0)
	f.Fuzz(func(t *testing.T, typed, line string, x, y, pw, ph, w, h float64) {
		if !(w >= 8 && w < 3000 && h >= 8 && h < 3000) {
			return
		}
		for _, a := range []workflow.Appearance{{Typed: typed}, {Width: pw, Height: ph, Strokes: []workflow.Stroke{{{X: x, Y: y}, {X: y, Y: x}, {X: pw, Y: ph}}, {{X: 1, Y: 1}}}}} {
			l := &Look{Appearance: a, Name: typed, Lines: []string{line, typed}}
			c := newCanvas()
			if err := l.draw(c, w, h); err != nil {
				continue
			}
			if err := l.paraph(c, w, h); err != nil {
				t.Fatalf("drawn, but no paraph: %v", err)
			}
			if missing, open := cos.StateBalance(c.b); missing != 0 || open != 0 || bytes.Contains(c.b, []byte("NaN")) || bytes.Contains(c.b, []byte("Inf")) {
				t.Fatalf("bad content: %s", c.b)
			}
		}
	})
}
