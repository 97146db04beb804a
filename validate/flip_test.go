package validate_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"milterd/signature/asic"
	"milterd/signature/cms"
	"milterd/validate"
)

// One changed bit of a message: what still passes has the same signature over the
// same attributes, and no better level. In an archived message most bytes are
// covered; those of the archive timestamp's own copies of certificates are not.
func TestEveryByteOfCAdES(t *testing.T) {
	f := newFixture(t)
	lta := f.ladder(letter)[3]
	good, err := cms.ParseAll(lta)
	if err != nil {
		t.Fatal(err)
	}
	o := f.options()
	o.Files = beside(letter)
	passed := 0
	for i := 0; i < len(lta); i += 7 {
		data := bytes.Clone(lta)
		data[i] ^= 1 << (i % 8)
		r, err := validate.File(data, o)
		if err != nil || !r.Passed() {
			continue
		}
		passed++
		all, err := cms.ParseBER(data)
		if err != nil || len(all) != 1 || !bytes.Equal(all[0].Attributes, good[0].Attributes) || !bytes.Equal(all[0].Value, good[0].Value) {
			t.Errorf("byte %d: another signature passes: %v\n%s", i, err, r.Text())
		}
	}
	if tried := (len(lta) + 6) / 7; passed > tried/4 {
		t.Errorf("%d of %d changes pass", passed, tried)
	}
}

// The same of a container: what still passes holds the same files. Bytes of ZIP
// that say when and on what system a file was packed may change, and the archive
// timestamp's copies of certificates.
func TestEveryByteOfASiC(t *testing.T) {
	f := newFixture(t)
	lta := f.containers(asic.Extended, documents, f.people()[:1])[3]
	good, err := asic.Open(lta)
	if err != nil {
		t.Fatal(err)
	}
	o := f.options()
	for i := 0; i < len(lta); i += 7 {
		data := bytes.Clone(lta)
		data[i] ^= 1 << (i % 8)
		r, err := validate.File(data, o)
		if err != nil || !r.Passed() {
			continue
		}
		c, err := asic.Open(data)
		if err != nil || len(c.Entries) != len(good.Entries) {
			t.Fatalf("byte %d: %v", i, err)
		}
		for n, e := range c.Entries {
			same := bytes.Equal(e.Content, good.Entries[n].Content) || strings.HasSuffix(e.Name, ".tst")
			if e.Name != good.Entries[n].Name || !same {
				t.Errorf("byte %d: another %q passes", i, e.Name)
			}
		}
	}
}

// Whatever File reads, it judges without an anchor as not passed, and says so.
func FuzzFile(f *testing.F) {
	paths, err := filepath.Glob("../signature/*/testdata/*.*")
	if err != nil || len(paths) < 12 {
		f.Fatalf("%d seeds, %v", len(paths), err)
	}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		o := validate.Options{Now: now}
		if len(b) > 0 && b[0] == 0x30 {
			o.Files = beside(letter)
		}
		r, err := validate.File(b, o)
		if err != nil {
			return
		}
		if r.Passed() || len(r.Text()) == 0 {
			t.Fatalf("passes without an anchor: %s", r.Text())
		}
	})
}
