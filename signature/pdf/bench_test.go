package pdf

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"milterd/signature/pdf/cos"
	"milterd/workflow"
)

// padded gives a one-page document of about size bytes, laid out.
func padded(b testing.TB, size int) []byte {
	data := sample(b, "table.pdf")
	f, err := cos.Open(data)
	if err != nil {
		b.Fatal(err)
	}
	u := f.NewUpdate()
	for n := size; n > 0; n -= 64 << 10 {
		u.Add(&cos.Stream{Raw: bytes.Repeat([]byte{'x'}, min(n, 64<<10))})
	}
	more, err := u.Bytes()
	if err != nil {
		b.Fatal(err)
	}
	data = append(data, more...)
	suffix, err := Layout(context.Background(), data, plan)
	if err != nil {
		b.Fatal(err)
	}
	return append(data, suffix...)
}

// BenchmarkPlace is what a signature costs besides hash and key: it must not
// grow with the document, nor with the signatures on it.
func BenchmarkPlace(b *testing.B) {
	at := time.Date(2026, 11, 23, 10, 15, 7, 0, time.UTC)
	typed := SignatoryLook(workflow.Appearance{Typed: "Jane Smith"}, "Jane Smith", "jane.smith@corp.test", workflow.Standard, "Corp S.A.", at)
	drawn := SignatoryLook(scribble(), "Jane Smith", "jane.smith@corp.test", workflow.Standard, "Corp S.A.", at)
	entries := cos.Dict{"Type": cos.Name("Sig"), "Filter": cos.Name("Adobe.PPKLite"), "SubFilter": cos.Name("ETSI.CAdES.detached"), "M": cos.Date(at)}
	for _, size := range []int{50 << 10, 10 << 20, 25 << 20} {
		head := padded(b, size)
		for name, look := range map[string]*Look{"none": nil, "typed": typed, "drawn": drawn} {
			b.Run(fmt.Sprintf("%dKB/%s", size>>10, name), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					s := Signing{Field: FieldName(plan.Session, 0), Entries: entries, Reserve: 8 << 10, Look: look}
					if look != nil {
						s.Paraphs = ParaphName(plan.Session, 0)
					}
					if _, err := Place(head, s); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
	head := padded(b, 50<<10)
	for i := range 9 {
		p, err := Place(head, Signing{Field: fmt.Sprint("more ", i), Entries: entries, Reserve: 8 << 10})
		if err != nil {
			b.Fatal(err)
		}
		head = append(head, p.Suffix...)
	}
	b.Run("tenth/typed", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := Place(head, Signing{Field: FieldName(plan.Session, 0), Entries: entries, Reserve: 8 << 10, Look: typed, Paraphs: ParaphName(plan.Session, 0)}); err != nil {
				b.Fatal(err)
			}
		}
	})
}
