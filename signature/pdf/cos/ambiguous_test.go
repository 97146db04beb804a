package cos

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

// body is a small file without its cross-references: object 4 is there twice.
// It gives where each begins.
func body(header string) (text string, at [5]int, evil int) {
	var b strings.Builder
	b.WriteString(header)
	for n := 1; n <= 4; n++ {
		at[n] = b.Len()
		fmt.Fprintf(&b, "%d 0 obj\n%s\nendobj\n", n, [...]string{1: "<</Type/Catalog/Pages 2 0 R>>", "<</Type/Pages/Kids[3 0 R]/Count 1>>", "<</Type/Page/Contents 4 0 R>>", "(good)"}[n])
	}
	evil = b.Len()
	b.WriteString("4 0 obj\n(evil)\nendobj\n")
	return b.String(), at, evil
}

// Files that two readers can read as two documents are refused.
func TestAmbiguous(t *testing.T) {
	row := func(offset int) string { return fmt.Sprintf("%010d 00000 n \n", offset) }
	table := func(header, more string, extra string) []byte {
		text, at, _ := body(header)
		b := bytes.NewBufferString(text)
		start := b.Len()
		fmt.Fprintf(b, "xref\n0 5\n0000000000 65535 f \n%s%s%s%s%strailer\n<</Size 9/Root 1 0 R%s>>\nstartxref\n%d\n%%%%EOF\n", row(at[1]), row(at[2]), row(at[3]), row(at[4]), more, extra, start)
		return b.Bytes()
	}
	const header = "%PDF-1.7\n"
	text, at, evil := body(header)
	// A hybrid section: the stream beside the table says that object 4 is elsewhere.
	hybrid := func(offset int) []byte {
		rows := []byte{1, byte(offset >> 8), byte(offset), 0}
		stream := len(text)
		b := bytes.NewBufferString(text)
		fmt.Fprintf(b, "8 0 obj\n<</Type/XRef/Size 9/Root 1 0 R/W[1 2 1]/Index[4 1]/Length 4>>\nstream\n%s\nendstream\nendobj\n", rows)
		start := b.Len()
		fmt.Fprintf(b, "xref\n0 5\n0000000000 65535 f \n%s%s%s%strailer\n<</Size 9/Root 1 0 R/XRefStm %d>>\nstartxref\n%d\n%%%%EOF\n", row(at[1]), row(at[2]), row(at[3]), row(at[4]), stream, start)
		return b.Bytes()
	}
	// An object stream that holds object 4 twice.
	pack := func(second int) []byte {
		const objects = "(good)(evil)"
		head := fmt.Sprintf("4 0 %d 6 ", second)
		b := bytes.NewBufferString(text)
		packed := b.Len()
		fmt.Fprintf(b, "7 0 obj\n<</Type/ObjStm/N 2/First %d/Length %d>>\nstream\n%s%s\nendstream\nendobj\n", len(head), len(head)+len(objects), head, objects)
		start := b.Len()
		var rows []byte
		for _, o := range []int{at[1], at[2], at[3]} {
			rows = append(rows, 1, byte(o>>8), byte(o), 0)
		}
		rows = append(rows, 2, 0, 7, 0, 1, byte(packed>>8), byte(packed), 0)
		fmt.Fprintf(b, "8 0 obj\n<</Type/XRef/Size 9/Root 1 0 R/W[1 2 1]/Index[1 4 7 1]/Length %d>>\nstream\n%s\nendstream\nendobj\nstartxref\n%d\n%%%%EOF\n", len(rows), rows, start)
		return b.Bytes()
	}
	for name, c := range map[string]struct {
		pdf  []byte
		want error
	}{
		"sound":                            {table(header, "", ""), nil},
		"a subsection twice":               {table(header, "4 1\n"+row(evil), ""), ErrBroken},
		"a subsection twice, the same":     {table(header, "4 1\n"+row(at[4]), ""), ErrBroken},
		"subsections that overlap":         {table(header, "3 2\n"+row(at[3])+row(evil), ""), ErrBroken},
		"bytes before the header":          {table("x"+header, "", ""), ErrBroken},
		"a line before the header":         {table("\n"+header, "", ""), ErrBroken},
		"hybrid, both agree":               {hybrid(at[4]), nil},
		"hybrid, two places":               {hybrid(evil), ErrBroken},
		"object stream":                    {pack(5), nil},
		"object stream, a number twice":    {pack(4), ErrBroken},
		"Prev that leads to itself":        {table(header, "", fmt.Sprintf("/Prev %d", len(text))), ErrBroken},
		"Prev beyond the end":              {table(header, "", "/Prev 99999"), ErrBroken},
		"Prev before the beginning":        {table(header, "", "/Prev -1"), ErrBroken},
		"XRefStm that is the table itself": {table(header, "", fmt.Sprintf("/XRefStm %d", len(text))), ErrBroken},
		"XRefStm that is no stream":        {table(header, "", fmt.Sprintf("/XRefStm %d", at[1])), ErrBroken},
	} {
		if err := readAll(c.pdf); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

// A reference with another generation finds nothing, whatever was read before.
func TestGeneration(t *testing.T) {
	for _, name := range []string{"table.pdf", "packed.pdf"} {
		f, err := Open(sample(t, name))
		if err != nil {
			t.Fatal(err)
		}
		root := f.Root()
		for _, gen := range []int{7, 0, 7} {
			o, err := f.Get(Ref{root.Num, gen})
			if err != nil || (o != nil) != (gen == root.Gen) {
				t.Errorf("%s, generation %d: %v, %v", name, gen, o, err)
			}
		}
	}
}

// FuzzText: text strings and dates of strangers become something that can be
// printed, and what is a date is written and read as the same moment.
func FuzzText(f *testing.F) {
	for _, s := range []string{"plain", "\xfe\xff\x00Z\x00o\x00\xeb", "\xfe\xff\xd8\x00", "\xef\xbb\xbfZo\xc3\xab", "caf\xe9\x8a", "D:20261123094500+05'30'", "D:2026", "D:20261323", "D:00000101", "20261123041500Z00'00'"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		text := String(s).UTF8()
		if !utf8.ValidString(text) {
			t.Errorf("%q is read as %q", s, text)
		}
		if again := Text(text).UTF8(); again != text {
			t.Errorf("%q comes back as %q", text, again)
		}
		if at, err := ParseDate(String(s)); err == nil && at.Year() > 0 {
			if again, err := ParseDate(Date(at)); err != nil || !again.Equal(at) {
				t.Errorf("%q is %s, and written again %s, %v", s, at, again, err)
			}
		}
	})
}
