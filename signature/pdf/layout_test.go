package pdf

import (
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"milterd/signature/pdf/cos"
	"milterd/workflow"
)

func sample(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("../../testdata/pdf", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var plan = Plan{
	Organisation: "Corp S.A.", VAT: "LU12345678", Session: "k3v7qf2nxw5ahd4r", Document: "contract.pdf", Level: workflow.Standard,
	Sender: "Jane Smith <jane.smith@corp.test>", Created: time.Date(2026, 11, 23, 9, 30, 0, 0, time.UTC),
	Signatories: []Signatory{
		{Person: 0, Name: "Jane Smith", Mail: "jane.smith@corp.test"},
		{Person: 1, Name: "Zoë Müller-Łukasiewicz", Mail: "zoe.mueller@corp.test"},
		{Person: 2, Name: "Александр Иванов", Mail: "alexander@corp.test"},
	},
}

func TestX(t *testing.T) {
	for _, name := range []string{"contract.pdf", "rotated.pdf", "form.pdf", "packed.pdf", "hybrid.pdf", "pdfa.pdf", "linearized.pdf", "linearized-table.pdf", "table.pdf", "v13.pdf", "v20.pdf", "noeol.pdf", "trailing.pdf", "rights.pdf"} {
		data := sample(t, name)
		suffix, err := Layout(data, plan)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		out := append(data[:len(data):len(data)], suffix...)
		os.WriteFile("/tmp/pdfout/laid-"+name, out, 0o644)
		at := time.Date(2026, 11, 23, 10, 15, 7, 0, time.FixedZone("", 3600))
		looks := []*Look{
			SignatoryLook(workflow.Appearance{Typed: "Jane Smith"}, "Jane Smith", workflow.Standard, "Corp S.A.", at),
			SignatoryLook(scribble(), "Zoë Müller-Łukasiewicz", workflow.Standard, "Corp S.A.", at, "Location: Luxembourg"),
			SignatoryLook(workflow.Appearance{Typed: "А. Иванов 日本"}, "Александр Иванов", workflow.Standard, "Corp S.A.", at),
		}
		for i, l := range looks {
			p, err := Place(out, Signing{Field: FieldName(plan.Session, i), Paraphs: ParaphName(plan.Session, i), Look: l, Reserve: 100, Entries: cos.Dict{"Type": cos.Name("Sig"), "Filter": cos.Name("Adobe.PPKLite"), "SubFilter": cos.Name("ETSI.CAdES.detached")}})
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			out = append(out[:len(out):len(out)], p.Suffix...)
		}
		p, err := Place(out, Signing{Field: SealName(plan.Session), Look: SealLook("Corp S.A.", "LU12345678", at), Reserve: 100, Entries: cos.Dict{"Type": cos.Name("Sig")}})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		out = append(out[:len(out):len(out)], p.Suffix...)
		os.WriteFile("/tmp/pdfout/full-"+name, out, 0o644)
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
