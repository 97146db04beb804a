package validate_test

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/x509"
	"io"
	"slices"
	"strings"
	"testing"

	"milterd/signature/asic"
	"milterd/signature/cms"
	"milterd/signature/cms/cmstest"
	"milterd/validate"
)

var documents = []asic.File{
	{Name: "Vertrag über Öl.txt", MIME: "text/plain", Content: letter},
	{Name: "plans/house 100%.svg", MIME: "image/svg+xml", Content: []byte("<svg/>")},
}

// people are the seal and another signatory.
func (f *fixture) people() []*cmstest.Identity {
	return []*cmstest.Identity{f.seal, f.ca.Signer(f.t, now, cmstest.P384, func(c *x509.Certificate) { c.Subject.CommonName = "Jane Roe" })}
}

// containers gives B-B, B-T, B-LT, B-LTA of a container that people sign without
// seeing each other.
func (f *fixture) containers(kind asic.Kind, files []asic.File, people []*cmstest.Identity) (out [4][]byte) {
	f.t.Helper()
	ctx := context.Background()
	var bare, stamped []asic.Signature
	for i, p := range people {
		b, err := asic.Sign(ctx, kind, files, i+1, f.cadesParams(p), p.Key, nil)
		if err != nil {
			f.t.Fatal(err)
		}
		s, err := asic.Sign(ctx, kind, files, i+1, f.cadesParams(p), p.Key, f.tsa)
		if err != nil {
			f.t.Fatal(err)
		}
		bare, stamped = append(bare, *b), append(stamped, *s)
	}
	slices.Reverse(stamped) // the order does not matter
	out[0] = f.ok(asic.Build(kind, files, bare))
	out[1] = f.ok(asic.Build(kind, files, stamped))
	e := f.proof(nil)
	for _, p := range people {
		e.Certs = append(e.Certs, p.Cert)
	}
	out[2] = f.ok(asic.AddEvidence(out[1], e))
	out[3] = f.ok(asic.Archive(ctx, out[2], f.tsa))
	return out
}

// Every level, both kinds, one signatory and two.
func TestASiCLevels(t *testing.T) {
	for _, kind := range []asic.Kind{asic.Simple, asic.Extended} {
		for n := 1; n <= 2; n++ {
			f := newFixture(t)
			files := documents
			if kind == asic.Simple {
				files = documents[:1]
			}
			for i, data := range f.containers(kind, files, f.people()[:n]) {
				o := f.options()
				if i < 2 {
					o.CRLs = f.proof(nil).CRLs
					o.Now = f.clock
				}
				r, err := validate.File(data, o)
				if err != nil {
					t.Fatal(err)
				}
				signatures, files := 0, 0
				for _, s := range r.Signatures {
					if s.Kind == validate.KindSignature {
						signatures++
						files = len(s.Files)
						if s.Level != cadesLevels[i] {
							t.Errorf("%s, %d, %s: %q", kind, n, cadesLevels[i], s.Level)
						}
					}
				}
				if !r.Passed() || signatures != n || string(r.Format) != string(kind) || files == 0 || kind == asic.Extended && files != 2 {
					t.Errorf("%s, %d, %s:\n%s", kind, n, cadesLevels[i], r.Text())
				}
			}
		}
	}
}

// An archive that is renewed in time holds after all certificates but the root's
// have ended.
func TestASiCRenewed(t *testing.T) {
	for _, kind := range []asic.Kind{asic.Simple, asic.Extended} {
		f := longFixture(t)
		single := f.containers(kind, documents[:1], f.people()[:1])[3]
		newer, tsa := f.jump(4)
		renewed := f.ok(asic.Archive(context.Background(), f.ok(asic.AddEvidence(single, f.proof(nil))), tsa))
		f.clock = now.AddDate(6, 0, 0)
		o := f.options()
		o.CRLs = [][]byte{f.root.CRL(t, f.clock, nil), newer.CRL(t, f.clock, nil)}
		r, err := validate.File(single, o)
		if err != nil || r.Passed() {
			t.Errorf("%s: not renewed, it passes after the end: %v", kind, err)
		}
		if r, err = validate.File(renewed, o); err != nil {
			t.Fatal(err)
		}
		if s := r.Signatures[0]; !r.Passed() || s.Level != validate.CAdESLevelLTA || s.Proven.Year() != now.Year() {
			t.Errorf("%s: %s", kind, r.Text())
		}
	}
}

// rezip writes a container again after change has had its entries.
func rezip(t testing.TB, data []byte, change func(names []string, files map[string][]byte) []string) []byte {
	t.Helper()
	r, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	files := map[string][]byte{}
	for _, f := range r.File {
		in, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		if files[f.Name], err = io.ReadAll(in); err != nil {
			t.Fatal(err)
		}
		names = append(names, f.Name)
	}
	names = change(names, files)
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for i, name := range names {
		h := &zip.FileHeader{Name: name, Method: zip.Deflate}
		if i == 0 {
			h.Method = zip.Store
		}
		part, err := w.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := part.Write(files[name]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// What somebody does with the files of a container, at every level.
func TestASiCAttacks(t *testing.T) {
	f := newFixture(t)
	all := f.containers(asic.Extended, documents, f.people())
	strangers := f.containers(asic.Extended, []asic.File{{Name: documents[0].Name, Content: []byte("another")}, documents[1]}, f.people()[:1])
	first, manifest, signature := documents[0].Name, "META-INF/ASiCManifest001.xml", "META-INF/signature001.p7s"
	attacks := map[string]struct {
		change func(t testing.TB, names []string, files map[string][]byte) []string
		sub    validate.Sub
		none   bool // nothing wrong: a control
	}{
		"nothing": {none: true, change: func(_ testing.TB, names []string, _ map[string][]byte) []string { return names }},
		"a file changed": {sub: validate.HashFailure, change: func(_ testing.TB, names []string, files map[string][]byte) []string {
			files[first] = []byte("We disagree.")
			return names
		}},
		"a file added": {sub: validate.SigConstraintsFailure, change: func(_ testing.TB, names []string, files map[string][]byte) []string {
			files["annex.txt"] = []byte("And a million.")
			return append(names, "annex.txt")
		}},
		"a file added to META-INF": {sub: validate.SigConstraintsFailure, change: func(_ testing.TB, names []string, files map[string][]byte) []string {
			files["META-INF/annex.txt"] = []byte("And a million.")
			return append(names, "META-INF/annex.txt")
		}},
		"a file renamed": {sub: validate.FormatFailure, change: func(_ testing.TB, names []string, files map[string][]byte) []string {
			files["Vertrag.txt"] = files[first]
			names[1] = "Vertrag.txt"
			return names
		}},
		"a file taken out": {sub: validate.FormatFailure, change: func(_ testing.TB, names []string, _ map[string][]byte) []string {
			return slices.Delete(names, 1, 2)
		}},
		"a manifest that leaves a file out": {sub: validate.HashFailure, change: func(t testing.TB, names []string, files map[string][]byte) []string {
			at := bytes.Index(files[manifest], []byte("<asic:DataObjectReference"))
			end := at + bytes.Index(files[manifest][at:], []byte("\n")) + 1
			files[manifest] = slices.Concat(files[manifest][:at], files[manifest][end:])
			return names
		}},
		"a manifest that leads to another signature": {sub: validate.FormatFailure, change: func(t testing.TB, names []string, files map[string][]byte) []string {
			files[manifest] = bytes.Replace(files[manifest], []byte("signature001"), []byte("signature009"), 1)
			return names
		}},
		"a manifest with a new digest": {sub: validate.HashFailure, change: func(t testing.TB, names []string, files map[string][]byte) []string {
			s := string(files[manifest])
			i := strings.Index(s, "DigestValue>") + 12
			files[manifest] = []byte(s[:i] + strings.Repeat("A", 43) + s[i+43:])
			return names
		}},
		"signatures of two people swapped": {sub: validate.HashFailure, change: func(t testing.TB, names []string, files map[string][]byte) []string {
			files[signature], files["META-INF/signature002.p7s"] = files["META-INF/signature002.p7s"], files[signature]
			return names
		}},
		"a byte of a signature": {sub: validate.SigCryptoFailure, change: func(t testing.TB, names []string, files map[string][]byte) []string {
			all, err := cms.ParseAll(files[signature])
			if err != nil {
				t.Fatal(err)
			}
			value := bytes.Clone(all[0].Value)
			value[len(value)-1] ^= 1
			files[signature] = bytes.Replace(files[signature], all[0].Value, value, 1)
			return names
		}},
		"a stranger's container around it": {sub: validate.HashFailure, change: func(t testing.TB, names []string, files map[string][]byte) []string {
			rezip(t, strangers[1], func(_ []string, theirs map[string][]byte) []string {
				files[manifest], files[signature] = theirs[manifest], theirs[signature]
				return []string{"mimetype"}
			})
			return names
		}},
	}
	for i, data := range all {
		o := f.options()
		if i < 2 {
			o.CRLs = f.proof(nil).CRLs
			o.Now = f.clock
		}
		for name, a := range attacks {
			r, err := validate.File(rezip(t, data, func(names []string, files map[string][]byte) []string { return a.change(t, names, files) }), o)
			if err != nil {
				t.Errorf("%s, %s: %v", cadesLevels[i], name, err)
				continue
			}
			if a.none != r.Passed() {
				t.Errorf("%s, %s:\n%s", cadesLevels[i], name, r.Text())
			}
			if !a.none && !slices.ContainsFunc(r.Signatures, func(s validate.Signature) bool { return s.Sub == a.sub }) {
				t.Errorf("%s, %s: no %s in\n%s", cadesLevels[i], name, a.sub, r.Text())
			}
		}
	}
	// The archive manifest's own games.
	lta := all[3]
	for name, change := range map[string]func(names []string, files map[string][]byte) []string{
		"its timestamp from elsewhere": func(names []string, files map[string][]byte) []string {
			files["META-INF/timestamp001.tst"] = f.ok(f.tsa.Timestamp(context.Background(), sum([]byte("x"))))
			return names
		},
		"a reference less": func(names []string, files map[string][]byte) []string {
			m := files["META-INF/ASiCArchiveManifest.xml"]
			at := bytes.Index(m, []byte("<asic:DataObjectReference"))
			files["META-INF/ASiCArchiveManifest.xml"] = slices.Concat(m[:at], m[at+bytes.Index(m[at:], []byte("\n"))+1:])
			return names
		},
	} {
		r := f.file(rezip(t, lta, change), nil)
		if r.Passed() || r.Signatures[len(r.Signatures)-1].Sub != validate.HashFailure || r.Signatures[0].Level != validate.CAdESLevelLT {
			t.Errorf("%s:\n%s", name, r.Text())
		}
	}
	// Without its archive manifest it is what it was before: B-LT.
	r := f.file(rezip(t, lta, func(names []string, _ map[string][]byte) []string { return names[:len(names)-2] }), nil)
	if !r.Passed() || r.Signatures[0].Level != validate.CAdESLevelLT {
		t.Errorf("without the archive manifest:\n%s", r.Text())
	}
}

// An archive timestamp over a signature but not over a document proves nothing of
// the signature: whoever archives must have had the documents.
func TestASiCPartialArchive(t *testing.T) {
	f := newFixture(t)
	lt := f.containers(asic.Extended, documents, f.people()[:1])[2]
	// The archive of a container without the documents, put beside them.
	less := f.ok(asic.Archive(context.Background(), rezip(t, lt, func(names []string, _ map[string][]byte) []string {
		return slices.DeleteFunc(names, func(n string) bool { return n == documents[0].Name })
	}), f.tsa))
	var theirs map[string][]byte
	rezip(t, less, func(names []string, files map[string][]byte) []string { theirs = files; return names[:1] })
	r := f.file(rezip(t, lt, func(names []string, files map[string][]byte) []string {
		for _, n := range []string{"META-INF/ASiCArchiveManifest.xml", "META-INF/timestamp001.tst"} {
			files[n], names = theirs[n], append(names, n)
		}
		return names
	}), nil)
	if s := r.Signatures[0]; !r.Passed() || s.Level != validate.CAdESLevelLT {
		t.Errorf("%s", r.Text())
	}
}
