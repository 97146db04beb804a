package asic

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"milterd/signature/cms"
)

func manifestSeeds(t testing.TB) (out [][]byte) {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.asice")
	if err != nil || len(paths) < 3 {
		t.Fatalf("%d seeds, %v", len(paths), err)
	}
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		c, err := Open(b)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range c.Entries {
			if isManifest(e.Name) {
				out = append(out, e.Content)
			}
		}
	}
	return out
}

// Two readers of one manifest must see the same, and nothing that is not understood
// passes.
func TestManifestRefused(t *testing.T) {
	good := string(manifestSeeds(t)[0])
	if _, err := parseManifest([]byte(good)); err != nil {
		t.Fatal(err)
	}
	change := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("no %q in the manifest", old)
		}
		return strings.Replace(good, old, new, 1)
	}
	reference := good[strings.Index(good, "<asic:DataObjectReference"):]
	reference = reference[:strings.Index(reference, "\n")+1]
	many := strings.Builder{}
	for i := range maxEntries {
		many.WriteString(strings.Replace(reference, `URI="`, fmt.Sprintf(`URI="%d`, i), 1))
	}
	for name, c := range map[string]struct {
		text string
		want error
	}{
		"nothing":               {"", ErrFormat},
		"no XML":                {"PK", ErrFormat},
		"a document type":       {change("<asic:ASiCManifest", "<!DOCTYPE x [<!ENTITY e \"y\">]><asic:ASiCManifest"), ErrFormat},
		"an unknown entity":     {change(`URI="META-INF`, `URI="&e;META-INF`), ErrFormat},
		"another encoding":      {change("UTF-8", "UTF-16"), ErrFormat},
		"an instruction":        {change("<asic:SigReference", "<?php ?><asic:SigReference"), ErrFormat},
		"two roots":             {good + good[strings.Index(good, "<asic:ASiC"):], ErrFormat},
		"another root":          {strings.ReplaceAll(good, "ASiCManifest", "Manifest"), ErrFormat},
		"another name space":    {change(nsASiC, "http://uri.etsi.org/2918/v1.1.1#"), ErrFormat},
		"an attribute twice":    {change(`URI="META-INF`, `URI="x" URI="META-INF`), ErrFormat},
		"an unknown element":    {change("<asic:SigReference", "<asic:More/><asic:SigReference"), ErrFormat},
		"no signature":          {change("<asic:SigReference", "<asic:DataObjectReference"), ErrFormat},
		"a signature upwards":   {change(`URI="META-INF`, `URI="../META-INF`), ErrFormat},
		"a file twice":          {change(reference, reference+reference), ErrFormat},
		"a digest cut off":      {change("</ds:DigestValue>", "=</ds:DigestValue>"), ErrFormat},
		"another hash's digest": {change("xmlenc#sha256", "xmlenc#sha512"), ErrFormat},
		"SHA-1":                 {change("http://www.w3.org/2001/04/xmlenc#sha256", "http://www.w3.org/2000/09/xmldsig#sha1"), cms.ErrAlgorithm},
		"a critical extension":  {change("</asic:ASiCManifest>", `<asic:ASiCManifestExtensions><asic:Extension Critical="true"/></asic:ASiCManifestExtensions></asic:ASiCManifest>`), ErrFormat},
		"nested":                {change("<asic:SigReference", strings.Repeat("<a>", 100)+"<asic:SigReference"), ErrLimit},
		"too many":              {change(reference, many.String()+reference), ErrLimit},
		"too much text":         {change("<asic:SigReference", strings.Repeat(" <!---->", 300<<10)+"<asic:SigReference"), ErrLimit},
	} {
		if _, err := parseManifest([]byte(c.text)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

// What is read says the same when we write it.
func FuzzManifest(f *testing.F) {
	for _, b := range manifestSeeds(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseManifest(b)
		if err != nil {
			if !errors.Is(err, ErrFormat) && !errors.Is(err, ErrLimit) && !errors.Is(err, cms.ErrAlgorithm) {
				t.Fatalf("an error of no kind: %v", err)
			}
			return
		}
		for _, r := range m.References {
			if r.Hash != hashURIs[sha256URI] || len(m.References) > 9 {
				return // marshal writes SHA-256 only
			}
		}
		again, err := parseManifest(m.marshal(mimeSignature))
		if err != nil || !reflect.DeepEqual(again, m) {
			t.Fatalf("%+v became %+v (%v)", m, again, err)
		}
	})
}
