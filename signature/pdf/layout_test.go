package pdf

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"milterd/signature/pdf/cos"
	"milterd/workflow"
)

var plan = Plan{
	Organisation: "Corp S.A.", VAT: "LU12345678", Session: "k3v7qf2nxw5ahd4r", Document: "contract.pdf", Level: workflow.Standard,
	Sender: "Jane Smith <jane.smith@corp.test>", Created: time.Date(2026, 11, 23, 9, 30, 0, 0, time.UTC),
	Signatories: []Signatory{
		{Person: 0, Name: "Jane Smith", Mail: "jane.smith@corp.test"},
		{Person: 1, Name: "Zoë Müller-Łukasiewicz", Mail: "zoe.mueller@corp.test"},
		{Person: 3, Name: "Александр Иванов", Mail: "alexander@corp.test"},
	},
}

var signedAt = time.Date(2026, 11, 23, 10, 15, 7, 0, time.FixedZone("", 3600))

// looks are one for each signatory of the plan.
func looks() []*Look {
	return []*Look{
		SignatoryLook(workflow.Appearance{Typed: "Jane Smith"}, "Jane Smith", "jane.smith@corp.test", workflow.Standard, "Corp S.A.", signedAt),
		SignatoryLook(scribble(), "Zoë Müller-Łukasiewicz", "zoe@corp.test", workflow.Standard, "Corp S.A.", signedAt, "Location: Luxembourg"),
		SignatoryLook(workflow.Appearance{Typed: "А. Иванов"}, "Александр Иванов", "ivanov@corp.test", workflow.Standard, "Corp S.A.", signedAt),
	}
}

func scribble() workflow.Appearance {
	var s workflow.Stroke
	for i := range 90 {
		x := float64(i) * 3
		s = append(s, workflow.Point{X: 20 + x, Y: 70 - 30*math.Sin(x/14) - 12*math.Sin(x/5)})
	}
	return workflow.Appearance{Strokes: []workflow.Stroke{s, {{X: 150, Y: 20}}, {{X: 60, Y: 110}, {X: 160, Y: 100}, {X: 290, Y: 112}}}, Width: 340, Height: 150}
}

// complete lays a sample out and puts every signature into it, without values.
func complete(t testing.TB, name string) []byte {
	t.Helper()
	out := sample(t, name)
	suffix, err := Layout(context.Background(), out, plan)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	out = append(out, suffix...)
	put := func(s Signing) {
		s.Reserve, s.Entries = 100, cos.Dict{"Type": cos.Name("Sig"), "Filter": cos.Name("Adobe.PPKLite"), "SubFilter": cos.Name("ETSI.CAdES.detached")}
		p, err := Place(out, s)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		out = append(out, p.Suffix...)
	}
	for i, l := range looks() {
		person := plan.Signatories[i].Person
		put(Signing{Field: FieldName(plan.Session, person), Paraphs: ParaphName(plan.Session, person), Look: l})
	}
	put(Signing{Field: SealName(plan.Session), Look: SealLook(plan.Organisation, plan.VAT, signedAt)})
	put(Signing{Field: TimeName(plan.Session)})
	return out
}

// run calls a program that must be there.
func run(t *testing.T, install string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(args[0]); err != nil {
		t.Fatalf("%s is needed: apt-get install -y %s", args[0], install)
	}
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		t.Errorf("%s: %v\n%.600s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// laidOut are the samples that get a layout.
var laidOut = []string{"active.pdf", "contract.pdf", "form.pdf", "hybrid.pdf", "linearized-table.pdf", "linearized.pdf", "noeol.pdf", "packed.pdf", "pdfa.pdf",
	"rights.pdf", "rotated.pdf", "table.pdf", "trailing.pdf", "v13.pdf", "v20.pdf"}

// TestLayoutReaders lets other programs judge complete documents: their
// structure, their words on every page, and that every font is embedded.
func TestLayoutReaders(t *testing.T) {
	dir := t.TempDir()
	for _, name := range laidOut {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, complete(t, name), 0o600); err != nil {
			t.Fatal(err)
		}
		if out := run(t, "qpdf", "qpdf", "--check", path); strings.Contains(out, "WARNING") {
			t.Errorf("%s: qpdf: %s", name, out)
		}
		out := run(t, "mupdf-tools", "mutool", "draw", "-q", "-F", "txt", "-o", os.DevNull, path)
		if out = strings.ReplaceAll(out, "warning: ICC support is not available\n", ""); out != "" { // Debian builds it so
			t.Errorf("%s: mutool: %s", name, out)
		}
		text := run(t, "poppler-utils", "pdftotext", path, "-")
		pages := strings.Split(strings.TrimSuffix(text, "\f"), "\f")
		for i, page := range pages[:len(pages)-1] {
			if name == "rotated.pdf" && i == 5 {
				continue // too small for anything
			}
			if !strings.Contains(page, "Corp S.A. · VAT LU12345678 · Session k3v7qf2nxw5ahd4r") || !strings.Contains(page, "JS") {
				t.Errorf("%s, page %d: no watermark or paraph: %q", name, i+1, page)
			}
		}
		for _, want := range []string{"Signatures", "zoe.mueller@corp.test", "Sealed by Corp S.A. on behalf of Jane Smith", "2026-11-23 10:15:07 +01:00", "А. Иванов", "Seal over the whole document"} {
			if !strings.Contains(pages[len(pages)-1], want) {
				t.Errorf("%s: the signature page does not say %q", name, want)
			}
		}
		for _, line := range strings.Split(run(t, "poppler-utils", "pdffonts", path), "\n")[2:] {
			if strings.Contains(line, "Go-") && !strings.Contains(line, "yes yes yes") {
				t.Errorf("%s: %s", name, line)
			}
		}
	}
}

// TestUnprintableName: a name that our fonts lack is nowhere printed as marks, from
// the empty field to the signature; the mail address stands in its place.
func TestUnprintableName(t *testing.T) {
	taro := plan
	taro.Signatories = []Signatory{{Name: "山田 太郎", Mail: "taro@corp.test"}}
	out := sample(t, "contract.pdf")
	suffix, err := Layout(t.Context(), out, taro)
	if err != nil {
		t.Fatal(err)
	}
	out = append(out, suffix...)
	path := filepath.Join(t.TempDir(), "x.pdf")
	words := func(lines int) {
		t.Helper()
		if err := os.WriteFile(path, out, 0o600); err != nil {
			t.Fatal(err)
		}
		text := run(t, "poppler-utils", "pdftotext", path, "-")
		if strings.ContainsRune(text, '\uFFFD') || strings.Count(text, "taro@corp.test") < lines {
			t.Errorf("%d lines with the address wanted, and no mark: %q", lines, text)
		}
	}
	words(3) // name, address, empty field
	p, err := Place(out, Signing{Field: FieldName(plan.Session, 0), Paraphs: ParaphName(plan.Session, 0), Reserve: 100,
		Entries: cos.Dict{"Type": cos.Name("Sig"), "Filter": cos.Name("Adobe.PPKLite"), "SubFilter": cos.Name("ETSI.CAdES.detached")},
		Look:    SignatoryLook(workflow.Appearance{Typed: "山田"}, "山田 太郎", "taro@corp.test", workflow.Standard, "Corp S.A.", signedAt)})
	if err != nil {
		t.Fatal(err)
	}
	out = append(out, p.Suffix...)
	words(5) // typed, name, on behalf of
}

// TestLayoutTurned: on pages of every rotation the watermark stands upright at
// the top as a reader sees it, and the paraphs at the bottom right.
func TestLayoutTurned(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.pdf")
	data := complete(t, "rotated.pdf")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := cos.Open(data)
	if err != nil {
		t.Fatal(err)
	}
	sizes, err := Pages(f, 0)
	if err != nil {
		t.Fatal(err)
	}
	boxes := run(t, "poppler-utils", "pdftotext", "-cropbox", "-bbox", path, "-")
	pages := strings.Split(boxes, "<page ")[1:]
	word := regexp.MustCompile(`xMin="([\d.]+)" yMin="([\d.]+)" xMax="([\d.]+)" yMax="([\d.]+)">([^<]*)`)
	number := func(s string) float64 {
		v, err := strconv.ParseFloat(s, 64)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for i, p := range pages {
		if i == 5 || i == len(pages)-1 {
			continue // the tiny page, and the signature page
		}
		w, h := sizes[i].Size()
		seen := 0
		for _, m := range word.FindAllStringSubmatch(p, -1) {
			x0, y0, x1, y1 := number(m[1]), number(m[2]), number(m[3]), number(m[4])
			switch m[5] {
			case "Organisation:":
				seen++
				if y1 > watermarkBand || x0 < w/4 || x1 > w/2 || y1-y0 > x1-x0 {
					t.Errorf("page %d of %v x %v: the watermark begins at %v %v", i+1, w, h, x0, y0)
				}
			case "JS":
				seen++
				if y0 < h-paraphBottom-paraphHeight-2 || x0 < w/2 || y1 > h {
					t.Errorf("page %d of %v x %v: a paraph at %v %v", i+1, w, h, x0, y0)
				}
			}
		}
		if seen != 2 {
			t.Errorf("page %d: %d of 2 words found", i+1, seen)
		}
	}
}

// TestLayoutText compares everything that a layout and the signatures after it
// add to a small document with an expected file.
func TestLayoutText(t *testing.T) {
	for _, name := range []string{"form.pdf", "packed.pdf"} {
		data := complete(t, name)
		f, err := cos.Open(data)
		if err != nil {
			t.Fatal(err)
		}
		original, err := cos.Open(sample(t, name))
		if err != nil {
			t.Fatal(err)
		}
		before, err := original.Numbers()
		if err != nil {
			t.Fatal(err)
		}
		numbers, err := f.Numbers()
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(numbers)
		var b bytes.Buffer
		for _, n := range numbers {
			r, _ := f.RefOf(n)
			o, err := f.Get(r)
			if err != nil {
				t.Fatal(err)
			}
			if slices.Contains(before, n) {
				if old, _ := original.Get(r); string(cos.Append(nil, old)) == string(cos.Append(nil, o)) {
					continue
				}
			}
			st, ok := o.(*cos.Stream)
			if !ok {
				fmt.Fprintf(&b, "%d: %s\n", n, cos.Append(nil, o))
				continue
			}
			content, err := f.Decode(st)
			if err != nil {
				t.Fatal(err)
			}
			d := st.Dict.Clone()
			delete(d, "Length") // differs between versions of the compressor
			fmt.Fprintf(&b, "%d: %s stream of %d bytes\n", n, cos.Append(nil, d), len(content))
			if d["Length1"] == nil && d.Name("Type") != "XRef" && !bytes.ContainsRune(content, 0) {
				b.Write(content)
				b.WriteByte('\n')
			}
		}
		expect(t, strings.TrimSuffix(name, ".pdf")+".txt", b.String())
	}
}

func TestLayoutSame(t *testing.T) {
	a, err := Layout(context.Background(), sample(t, "contract.pdf"), plan)
	if err != nil {
		t.Fatal(err)
	}
	b, err := Layout(context.Background(), sample(t, "contract.pdf"), plan)
	if err != nil || !bytes.Equal(a, b) {
		t.Errorf("two layouts differ, %v", err)
	}
}

// TestLayoutSigned: what others have signed gets no layout.
func TestLayoutSigned(t *testing.T) {
	for _, name := range []string{"signed.pdf", "signed-form.pdf", "signed-packed.pdf", "certified-2.pdf"} {
		if suffix, err := Layout(context.Background(), sample(t, name), plan); err != nil || suffix != nil {
			t.Errorf("%s: %d bytes, %v", name, len(suffix), err)
		}
	}
}

// TestLayoutForm: a form keeps its fields, their values and its defaults.
func TestLayoutForm(t *testing.T) {
	f, err := cos.Open(complete(t, "form.pdf"))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"name": "(Jane)", "agree": "null", "board.chair": "null", "Witness": "null"} {
		fd, err := FindField(f, name)
		if err != nil || fd == nil {
			t.Errorf("%s: %v, %v", name, fd, err)
			continue
		}
		if got := string(cos.Append(nil, fd.Dict["V"])); got != want {
			t.Errorf("%s has the value %s", name, got)
		}
	}
	cat, _ := f.Catalog()
	form, _ := f.Dict(cat["AcroForm"])
	dr, _ := f.Dict(form["DR"])
	fonts, _ := f.Dict(dr["Font"])
	if fonts["Helv"] == nil || fonts["MilterdI"] == nil || form["DA"] != cos.String("/Helv 0 Tf 0 g") || form["SigFlags"] != int64(3) {
		t.Errorf("the form is now %s", cos.Append(nil, form))
	}
}

// TestLayoutMany: a hundred signatories fill several pages, and beyond the
// limits of paraphs a document does without.
func TestLayoutMany(t *testing.T) {
	many := plan
	many.Signatories = nil
	for i := range MaxSignatories {
		many.Signatories = append(many.Signatories, Signatory{Person: i, Name: fmt.Sprint("Person ", i+1), Mail: fmt.Sprintf("p%d@corp.test", i+1)})
	}
	data := sample(t, "table.pdf")
	suffix, err := Layout(context.Background(), data, many)
	if err != nil {
		t.Fatal(err)
	}
	info, err := Inspect(append(data, suffix...))
	if err != nil {
		t.Fatal(err)
	}
	if info.Pages != 1+15 || len(info.EmptyFields) != MaxSignatories+2 || info.Fields != MaxSignatories+2 {
		t.Errorf("%d pages, %d empty fields, %d fields", info.Pages, len(info.EmptyFields), info.Fields)
	}
	many.Signatories = append(many.Signatories, Signatory{})
	if _, err := Layout(context.Background(), data, many); err == nil {
		t.Error("more signatories than there can be")
	}
}

// What the document is to blame for is a refusal, so that its session ends;
// what is not is tried again.
func TestLayoutErrors(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	var r *workflow.Refusal
	if _, err := Layout(ctx, sample(t, "broken-cut.pdf"), plan); !errors.As(err, &r) || r.Reason != "broken-pdf" {
		t.Errorf("broken: %v", err)
	}
	if _, err := Layout(ctx, sample(t, "table.pdf"), Plan{}); err == nil || errors.As(err, &r) {
		t.Errorf("nobody to sign: %v", err)
	}
	cancel()
	if _, err := Layout(ctx, sample(t, "table.pdf"), plan); !errors.Is(err, context.Canceled) || errors.As(err, &r) {
		t.Errorf("a context that has ended: %v", err)
	}
	defer func(old time.Duration) { layoutTime = old }(layoutTime)
	layoutTime = 0
	if _, err := Layout(context.Background(), sample(t, "table.pdf"), plan); !errors.As(err, &r) || r.Reason != "pdf-too-complex" {
		t.Errorf("too slow: %v", err)
	}
}
