package cos

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

const samples = "../../../testdata/pdf"

func sample(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(samples, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// all gives the PDFs of testdata; fuzz tests start from them.
func all(t testing.TB) map[string][]byte {
	t.Helper()
	names, err := filepath.Glob(samples + "/*.pdf")
	if err != nil || len(names) < 30 {
		t.Fatalf("only %d samples, %v", len(names), err)
	}
	out := map[string][]byte{}
	for _, n := range names {
		out[filepath.Base(n)] = sample(t, filepath.Base(n))
	}
	return out
}

func TestObjects(t *testing.T) {
	for src, want := range map[string]Object{
		"null": nil, "true": true, "-17": int64(-17), "+3": int64(3), "4.5": 4.5, "-.002": -0.002,
		"99999999999999999999":                  1e20,
		"/A#20b#2Fc":                            Name("A b/c"),
		"/":                                     Name(""),
		"(a(b)c\\)\\101\\\r\nd\\n\r\n)":         String("a(b)c)Ad\n\n"),
		"<48 65 6C6c 6F7>":                      String("Hellop"),
		"[1 2 R 3 0 R 4 5]":                     Array{Ref{1, 2}, Ref{3, 0}, int64(4), int64(5)},
		"[1 0 R 3 4 0 R]":                       Array{Ref{1, 0}, int64(3), Ref{4, 0}},
		"<</A 1/B[/C(d)]% no\n/E<</F 1 0 R>>>>": Dict{"A": int64(1), "B": Array{Name("C"), String("d")}, "E": Dict{"F": Ref{1, 0}}},
	} {
		p := parser{b: []byte(src)}
		got, err := p.object()
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %#v, %v; want %#v", src, got, err, want)
			continue
		}
		p = parser{b: Append(nil, got)}
		if again, err := p.object(); err != nil || !reflect.DeepEqual(again, want) {
			t.Errorf("%s: written %s, read again %#v, %v", src, p.b, again, err)
		}
	}
	for _, src := range []string{"", "[", "<</A 1", "<</A 1 /A 2>>", "<</A>>", "(never", "<4x>", ")", "--1", "<<1 2>>", "obj", "99999999 0 R", strings.Repeat("[", 100) + strings.Repeat("]", 100)} {
		p := parser{b: []byte(src)}
		if o, err := p.object(); err == nil {
			t.Errorf("%q is read as %#v", src, o)
		}
	}
}

func TestAppend(t *testing.T) {
	hole := &Hole{Text: []byte("[0 0]")}
	got := string(Append([]byte("x"), Dict{
		"Type": Name("T"), "B": Array{1, 2.5, -0.000001, Ref{3, 0}}, "A": String("(\\)"), "C": hole, "D": String("\x00ÿ"), "E": Verbatim("[true]"), "F": nil,
	}))
	want := `x<</Type/T/A(\(\\\))/B[1 2.5 -0.000001 3 0 R]/C [0 0]/D<00C3BF>/E [true]/F null>>`
	if got != want {
		t.Errorf("got\n%s, want\n%s", got, want)
	}
	if hole.At != strings.Index(want, "[0 0]") {
		t.Errorf("the hole is said to be at %d", hole.At)
	}
}

func TestText(t *testing.T) {
	for _, s := range []string{"plain (ASCII)", "Zoë 日本 😀", "", "tab\there"} {
		if got := Text(s).UTF8(); got != s {
			t.Errorf("%q comes back as %q", s, got)
		}
	}
	for in, want := range map[String]string{"\xEF\xBB\xBFZo\xC3\xAB": "Zoë", "caf\xE9": "café", "\x8A": "\uFFFD"} {
		if got := in.UTF8(); got != want {
			t.Errorf("%q reads as %q, want %q", in, got, want)
		}
	}
}

func TestDate(t *testing.T) {
	at := time.Date(2026, 11, 23, 9, 45, 0, 0, time.FixedZone("", 5*3600+1800))
	if got := Date(at); got != "D:20261123094500+05'30'" {
		t.Errorf("got %s", got)
	}
	if got := Date(at.UTC()); got != "D:20261123041500Z" {
		t.Errorf("got %s", got)
	}
	for s, want := range map[String]string{
		"D:20261123094500+05'30'": "2026-11-23T09:45:00+05:30", "D:20261123041500Z": "2026-11-23T04:15:00Z", "20261123": "2026-11-23T00:00:00Z",
		"D:2026": "2026-01-01T00:00:00Z", "D:20261123094500-01'": "2026-11-23T09:45:00-01:00", "D:20261123041500Z00'00'": "2026-11-23T04:15:00Z",
		"D:20261323": "", "yesterday": "", "D:20261123094500+5": "2026-11-23T09:45:00+00:05", "D:202": "", "D:20261123094500+0575": "", "D:20261123094500+70": "",
	} {
		got, err := ParseDate(s)
		if (err != nil) != (want == "") || err == nil && got.Format(time.RFC3339) != want {
			t.Errorf("%s: %v, %v; want %s", s, got, err, want)
		}
	}
}

// TestOpen reads every object of every sample, or finds what is wrong with it.
func TestOpen(t *testing.T) {
	broken := map[string]error{
		"broken-cut.pdf": ErrBroken, "broken-offset.pdf": ErrBroken, "broken-shifted.pdf": ErrBroken, "broken-size.pdf": ErrBroken,
		"broken-loop.pdf": ErrBroken, "broken-length.pdf": errSyntax, "broken-twice.pdf": errSyntax,
		"bomb-size.pdf": ErrLimit, "bomb-nested.pdf": ErrLimit, "bomb-flate.pdf": ErrLimit, "bomb-objstm.pdf": ErrBroken,
		"encrypted.pdf": ErrEncrypted, "encrypted-128.pdf": ErrEncrypted, "not.pdf": ErrNotPDF,
	}
	for name, data := range all(t) {
		err := readAll(data)
		if want := broken[name]; !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
}

func readAll(data []byte) error {
	f, err := Open(data)
	if err != nil {
		return err
	}
	numbers, err := f.Numbers()
	if err != nil {
		return err
	}
	if _, err := f.Catalog(); err != nil {
		return err
	}
	for _, n := range numbers {
		r, err := f.RefOf(n)
		if err != nil {
			return err
		}
		if _, err := f.Get(r); err != nil {
			return err
		}
	}
	return nil
}

// TestUpdate adds to every readable sample and reads it all again.
func TestUpdate(t *testing.T) {
	for name, data := range all(t) {
		if readAll(data) != nil {
			continue
		}
		out := data
		for round := range 3 {
			f, err := Open(out)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			u := f.NewUpdate()
			added := u.Add(Dict{"Round": round})
			st := u.Add(Compressed(nil, bytes.Repeat([]byte("all work and no play "), 100)))
			cat, err := u.Dict(f.Root())
			if err != nil {
				t.Fatal(err)
			}
			cat["Milterd"] = added
			u.Set(f.Root(), cat)
			suffix, err := u.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			out = append(out[:len(out):len(out)], suffix...)
			if err := readAll(out); err != nil {
				t.Fatalf("%s, round %d: %v", name, round, err)
			}
			g, err := Open(out)
			if err != nil {
				t.Fatal(err)
			}
			c, _ := g.Catalog()
			d, err := g.Dict(c["Milterd"])
			if err != nil || d["Round"] != int64(round) {
				t.Errorf("%s, round %d: %v, %v", name, round, d, err)
			}
			s, _ := g.Stream(st)
			b, err := g.Decode(s)
			if err != nil || len(b) != 2100 {
				t.Errorf("%s: %d bytes, %v", name, len(b), err)
			}
			if f.sections[0].stream != g.sections[0].stream {
				t.Errorf("%s: the form of the cross-references has changed", name)
			}
			idA, _ := f.Array(f.Trailer()["ID"])
			idB, _ := g.Array(g.Trailer()["ID"])
			if len(idA) != len(idB) || len(idA) == 2 && (idA[0] != idB[0] || idA[1] == idB[1]) {
				t.Errorf("%s: ID %q became %q", name, idA, idB)
			}
		}
	}
}

func TestPredictors(t *testing.T) {
	f := &File{}
	for _, c := range []struct {
		predictor  int64
		in, want   string
		colors     int64
		columns    int64
		wantFailed bool
	}{
		{1, "abc", "abc", 1, 3, false},
		{2, "\x01\x01\x01\x05\x01\x01", "\x01\x02\x03\x05\x06\x07", 1, 3, false},
		{12, "\x00\x01\x02\x03\x02\x01\x01\x01", "\x01\x02\x03\x02\x03\x04", 1, 3, false},
		{15, "\x01\x01\x01\x01\x03\x02\x02\x02\x04\x01\x01\x01", "\x01\x02\x03\x02\x04\x05\x03\x05\x06", 1, 3, false},
		{15, "\x05abc", "", 1, 3, true},
		{15, "\x00ab", "", 1, 3, true},
		{15, "\x00ab", "", 40, 3, true},
	} {
		got, err := f.unpredict([]byte(c.in), Dict{"Predictor": c.predictor, "Colors": c.colors, "Columns": c.columns})
		if (err != nil) != c.wantFailed || string(got) != c.want {
			t.Errorf("predictor %d of %q: %q, %v; want %q", c.predictor, c.in, got, err, c.want)
		}
	}
}

func TestStateBalance(t *testing.T) {
	for content, want := range map[string][2]int{
		"": {0, 0}, "q 1 0 0 1 0 0 cm Q": {0, 0}, "Q Q q": {2, 1}, "q (Q Q) Tj q": {0, 2},
		"q BI /W 1 ID \x00 Q Q EIQ EI Q": {0, 0}, "q <</bad": {0, 0},
		"1q q1 sQ /q Q/Q(q)q<71>q Q": {1, 1}, "q % Q\nq%\rQ": {0, 1},
	} {
		missing, open := StateBalance([]byte(content))
		if [2]int{missing, open} != want {
			t.Errorf("%q: %d, %d; want %v", content, missing, open, want)
		}
	}
}

// FuzzObject: what is written is read again as the same.
func FuzzObject(f *testing.F) {
	for _, data := range all(f) {
		f.Add(data[:min(len(data), 4096)])
		if i := bytes.Index(data, []byte("obj\n<<")); i > 0 {
			f.Add(data[i+4 : min(len(data), i+2000)])
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p := parser{b: data}
		o, err := p.object()
		if err != nil {
			return
		}
		text := Append(nil, o)
		p = parser{b: text}
		again, err := p.object()
		if err != nil || !bytes.Equal(text, Append(nil, again)) {
			t.Fatalf("%q is written as %q and read as %q, %v", data, text, Append(nil, again), err)
		}
	})
}

// FuzzFile: any file can be read without panic or endless work, and one that
// can be read wholly can be extended and read again.
func FuzzFile(f *testing.F) {
	for name, data := range all(f) {
		if !strings.HasPrefix(name, "bomb-flate") {
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if readAll(data) != nil {
			return
		}
		file, err := Open(data)
		if err != nil {
			t.Fatal(err)
		}
		u := file.NewUpdate()
		want := u.Add(Dict{"A": 1})
		suffix, err := u.Bytes()
		if err != nil {
			return // the file has used up the object numbers
		}
		longer, err := Open(append(data[:len(data):len(data)], suffix...))
		if err != nil {
			t.Fatalf("cannot be read again: %v\n%q", err, suffix)
		}
		if d, err := longer.Dict(want); err != nil || d["A"] != int64(1) {
			t.Fatalf("the new object is %v, %v\n%q", d, err, suffix)
		}
		if longer.Root() != file.Root() {
			t.Fatalf("another catalog: %v", longer.Root())
		}
	})
}
