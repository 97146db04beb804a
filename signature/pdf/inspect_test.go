package pdf

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"milterd/workflow"
)

var update = flag.Bool("update", false, "write the expected files anew")

// expect compares a text with a file of testdata.
func expect(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got == string(want) {
		return
	}
	g, w := strings.Split(got, "\n"), strings.Split(string(want), "\n")
	for i := range max(len(g), len(w)) {
		a, b := "", ""
		if i < len(g) {
			a = g[i]
		}
		if i < len(w) {
			b = w[i]
		}
		if a != b {
			t.Fatalf("%s, line %d:\n got %s\nwant %s", name, i+1, a, b)
		}
	}
}

const samples = "../../testdata/pdf"

func sample(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(samples, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func sampleNames(t testing.TB) []string {
	t.Helper()
	names, err := filepath.Glob(samples + "/*.pdf")
	if err != nil || len(names) < 30 {
		t.Fatalf("only %d samples, %v", len(names), err)
	}
	for i, n := range names {
		names[i] = filepath.Base(n)
	}
	return names
}

// TestInspect says of every sample what Inspect finds, or why it is refused;
// a child must say the same.
func TestInspect(t *testing.T) {
	var b strings.Builder
	for _, name := range sampleNames(t) {
		data := sample(t, name)
		info, err := Inspect(data)
		said := verdict(t, info, err)
		if c := verdictOf(InspectInChild(context.Background(), data))(t); c != said {
			t.Errorf("%s: a child says\n%s\nnot\n%s", name, c, said)
		}
		fmt.Fprintf(&b, "%s: %s\n", name, said)
	}
	expect(t, "inspect.txt", b.String())
}

func verdictOf(info *Info, err error) func(*testing.T) string {
	return func(t *testing.T) string { return verdict(t, info, err) }
}

func verdict(t *testing.T, info *Info, err error) string {
	t.Helper()
	var r *workflow.Refusal
	if errors.As(err, &r) {
		if r.Err == nil || r.Text == "" {
			t.Errorf("a refusal without cause or words: %+v", r)
		}
		return r.Reason + "\n\t" + r.Error()
	}
	if err != nil {
		t.Fatal(err)
	}
	line, err := json.Marshal(info)
	if err != nil {
		t.Fatal(err)
	}
	return "ok\n\t" + string(line)
}

func TestInspectTooLarge(t *testing.T) {
	_, err := InspectInChild(context.Background(), make([]byte, MaxBytes+1))
	var r *workflow.Refusal
	if !errors.As(err, &r) || r.Code != 552 || r.Reason != "pdf-too-large" {
		t.Errorf("got %v", err)
	}
}

// FuzzInspect: whatever comes in, inspecting ends without a panic; and what may
// be signed can be laid out, signed, and read again with its pages.
func FuzzInspect(f *testing.F) {
	for _, name := range sampleNames(f) {
		if name != "bomb-flate.pdf" { // slow, and a case of TestInspect
			f.Add(sample(f, name))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		info, err := inspect(data)
		if err != nil {
			return
		}
		suffix, err := Layout(context.Background(), data, plan)
		if err != nil {
			t.Fatalf("laying out what was inspected: %v", err)
		}
		if (suffix == nil) != info.Signed {
			t.Fatalf("signed is %v, and the layout has %d bytes", info.Signed, len(suffix))
		}
		out := append(data[:len(data):len(data)], suffix...)
		p, err := Place(out, Signing{Field: FieldName(plan.Session, 0), Reserve: 100, Look: looks()[0], Row: 2, Paraphs: ParaphName(plan.Session, 0)})
		if err != nil {
			t.Fatalf("signing what was laid out: %v", err)
		}
		at, reserve := p.Contents()
		if err := Embed(p.Suffix, at, reserve, append([]byte{0x30, 98}, make([]byte, 98)...)); err != nil {
			t.Fatal(err)
		}
		after, err := inspect(append(out, p.Suffix...))
		if err != nil {
			t.Fatalf("after signing: %v", err)
		}
		if len(after.Signatures) != len(info.Signatures)+1 || after.Pages <= info.Pages && !info.Signed {
			t.Fatalf("%d signatures on %d pages, before %d on %d", len(after.Signatures), after.Pages, len(info.Signatures), info.Pages)
		}
	})
}
