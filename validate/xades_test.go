package validate_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"time"

	"milterd/signature/cms"
	"milterd/signature/cms/cmstest"
	"milterd/signature/xades"
	"milterd/signature/xades/dom"
	"milterd/validate"
)

const order = "<order xmlns='urn:order' n=\"1\n2\"><item>beer</item><sum>100</sum></order>"

// xml signs a document by somebody; ts may be nil.
func (f *fixture) xml(doc []byte, who *cmstest.Identity, ts cms.Timestamper) ([]byte, string) {
	f.t.Helper()
	prep, err := xades.Envelope(doc, xades.Params{Certificate: who.Cert, Chain: []*x509.Certificate{f.ca.Cert}, Time: f.clock})
	if err != nil {
		f.t.Fatal(err)
	}
	out, err := xades.Put(doc, f.element(prep, who, ts))
	if err != nil {
		f.t.Fatal(err)
	}
	return out, prep.ID
}

func (f *fixture) element(prep *xades.Preparation, who *cmstest.Identity, ts cms.Timestamper) []byte {
	f.t.Helper()
	value, err := prep.SignWith(who.Key)
	if err != nil {
		f.t.Fatal(err)
	}
	element, err := prep.Finish(context.Background(), value, ts)
	if err != nil {
		f.t.Fatal(err)
	}
	return element
}

func (f *fixture) xmlFiles(files []xades.File, ts cms.Timestamper) ([]byte, string) {
	f.t.Helper()
	prep, err := xades.Detach(files, xades.Params{Certificate: f.seal.Cert, Chain: []*x509.Certificate{f.ca.Cert}, Time: f.clock})
	if err != nil {
		f.t.Fatal(err)
	}
	return f.element(prep, f.seal, ts), prep.ID
}

// xmlEvidence adds revocation data issued a second later.
func (f *fixture) xmlEvidence(doc []byte, id string, revoked map[*x509.Certificate]time.Time) []byte {
	f.t.Helper()
	f.clock = f.clock.Add(time.Second)
	out, err := xades.AddEvidence(doc, id, xades.Evidence{
		Certs: []*x509.Certificate{f.seal.Cert, f.ca.Cert, f.root.Cert, f.tsa.Cert},
		CRLs:  [][]byte{f.root.CRL(f.t, f.clock, nil), f.ca.CRL(f.t, f.clock, revoked)},
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return out
}

func (f *fixture) xmlArchive(doc []byte, id string, files ...xades.File) []byte {
	f.t.Helper()
	out, err := xades.Archive(context.Background(), doc, id, files, f.tsa)
	if err != nil {
		f.t.Fatal(err)
	}
	return out
}

func (f *fixture) validateXML(doc []byte, files ...xades.File) *validate.Result {
	f.t.Helper()
	o := f.options()
	o.Files = files
	r, err := validate.ValidateXAdES(doc, o)
	if err != nil {
		f.t.Fatal(err)
	}
	return r
}

func TestXAdESLevels(t *testing.T) {
	files := []xades.File{{Name: "a b.txt", MIME: "text/plain", Content: []byte("text")}, {Name: "c.bin", Content: []byte{0}}}
	for _, detached := range []bool{false, true} {
		f := newFixture(t)
		make := func(ts cms.Timestamper) ([]byte, string) {
			if detached {
				return f.xmlFiles(files, ts)
			}
			return f.xml([]byte(order), f.seal, ts)
		}
		given := files
		if !detached {
			given = nil
		}
		check := func(doc []byte, want validate.Level, indication validate.Indication, sub validate.Sub) {
			t.Helper()
			r := f.validateXML(doc, given...)
			s := r.Signatures[0]
			if s.Level != want || s.Indication != indication || s.Sub != sub || r.Format != validate.XAdES || s.Subject != "CN=Test Seal, O=Test" {
				t.Errorf("detached %v: %s %s %s %s, want %s %s", detached, s.Indication, s.Sub, s.Level, s.Problem, want, indication)
			}
			for _, ref := range s.References {
				if !ref.Holds {
					t.Errorf("%+v", ref)
				}
			}
		}
		bare, id := make(nil)
		check(bare, validate.XAdESLevelB, validate.Indeterminate, validate.TryLater)
		f.clock = f.clock.Add(time.Second)
		check(f.xmlEvidence(bare, id, nil), validate.XAdESLevelB, validate.Passed, "")
		stamped, id := make(f.tsa)
		check(stamped, validate.XAdESLevelB, validate.Indeterminate, validate.TryLater)
		lt := f.xmlEvidence(stamped, id, nil)
		check(lt, validate.XAdESLevelLT, validate.Passed, "")
		lta := f.xmlArchive(lt, id, given...)
		check(lta, validate.XAdESLevelLTA, validate.Passed, "")
		renewed := f.xmlArchive(f.xmlEvidence(lta, id, nil), id, given...)
		check(renewed, validate.XAdESLevelLTA, validate.Passed, "")
		r := f.validateXML(renewed, given...)
		if len(r.Signatures) != 3 || !r.Passed() || r.Signatures[2].Kind != validate.KindArchive || r.Signatures[0].Proven.IsZero() {
			t.Errorf("%s", r.Text())
		}
		// A revocation before the signature's time, and one after it.
		revoked := f.xmlEvidence(stamped, id, map[*x509.Certificate]time.Time{f.seal.Cert: now.Add(-time.Hour)})
		check(revoked, validate.XAdESLevelT, validate.Indeterminate, validate.RevokedNoPOE)
		later := f.xmlEvidence(stamped, id, map[*x509.Certificate]time.Time{f.seal.Cert: f.clock.Add(-time.Millisecond)})
		check(later, validate.XAdESLevelLT, validate.Passed, "")
		if text := f.validateXML(lta, given...).Text(); detached && !strings.Contains(text, `covers     file "a b.txt"`) ||
			!detached && !strings.Contains(text, "covers     the document, all of it but signatures and comments") || !strings.Contains(text, "Nothing was changed") {
			t.Error(text)
		}
	}
}

// The certificates end, the archive timestamp still proves that all was in time.
func TestXAdESOutlivesCertificates(t *testing.T) {
	f := newFixture(t)
	f.seal = f.ca.Signer(t, now, cmstest.P256, func(c *x509.Certificate) { c.NotBefore, c.NotAfter = now.AddDate(0, -1, 0), now.AddDate(0, 1, 0) })
	stamped, id := f.xml([]byte(order), f.seal, f.tsa)
	bare, _ := f.xml([]byte(order), f.seal, nil)
	doc := f.xmlArchive(f.xmlEvidence(stamped, id, nil), id)
	f.clock = now.AddDate(1, 0, 0)
	if r := f.validateXML(doc); !r.Passed() || r.Signatures[0].Level != validate.XAdESLevelLTA {
		t.Error(r.Text())
	}
	if r := f.validateXML(bare); r.Sub != validate.OutOfBoundsNoPOE {
		t.Error(r.Text())
	}
}

func TestXAdESSeveral(t *testing.T) {
	f := newFixture(t)
	one, first := f.xml([]byte(order), f.seal, f.tsa)
	two, second := f.xml(one, f.ca.Signer(t, now, cmstest.RSA, func(c *x509.Certificate) { c.Subject.CommonName = "Second" }), f.tsa)
	done := f.xmlArchive(f.xmlEvidence(f.xmlEvidence(two, first, nil), second, nil), first)
	r := f.validateXML(done)
	if len(r.Signatures) != 3 || !r.Passed() || r.Signatures[0].Level != validate.XAdESLevelLTA || r.Signatures[2].Level != validate.XAdESLevelLT ||
		r.Signatures[2].Subject != "CN=Second, O=Test" {
		t.Error(r.Text())
	}
}

func TestXAdESDetachedFiles(t *testing.T) {
	f := newFixture(t)
	file := xades.File{Name: "a.txt", Content: []byte("text")}
	doc, id := f.xmlFiles([]xades.File{file}, f.tsa)
	doc = f.xmlEvidence(doc, id, nil)
	other := xades.File{Name: "b.txt", Content: []byte("text")}
	for name, c := range map[string]struct {
		files      []xades.File
		indication validate.Indication
		sub        validate.Sub
	}{
		"all":           {[]xades.File{file}, validate.Passed, ""},
		"none":          {nil, validate.Indeterminate, validate.SignedDataNotFound},
		"another name":  {[]xades.File{other}, validate.Indeterminate, validate.SignedDataNotFound},
		"changed":       {[]xades.File{{Name: "a.txt", Content: []byte("Text")}}, validate.Failed, validate.HashFailure},
		"one not named": {[]xades.File{file, other}, validate.Indeterminate, validate.SigConstraintsFailure},
	} {
		r := f.validateXML(doc, c.files...)
		if r.Indication != c.indication || r.Sub != c.sub {
			t.Errorf("%s: %s", name, r.Text())
		}
		if name == "one not named" && !strings.Contains(r.Text(), "But a file was given that no signature covers.") {
			t.Error(r.Text())
		}
	}
}

func TestXAdESUnreadable(t *testing.T) {
	for in, want := range map[string]error{
		"text": dom.ErrMalformed, "": dom.ErrMalformed, "<a>": dom.ErrMalformed,
		"<!DOCTYPE a [<!ENTITY e 'x'>]><a>&e;</a>": dom.ErrForbidden,
	} {
		if _, err := validate.ValidateXAdES([]byte(in), validate.Options{}); !errors.Is(err, want) {
			t.Errorf("%q: %v", in, err)
		}
	}
	r, err := validate.ValidateXAdES([]byte("<a/>"), validate.Options{})
	if err != nil || r.Passed() || len(r.Signatures) != 0 {
		t.Errorf("%+v %v", r, err)
	}
}

// No change of a byte of a B-LTA file, of the document or the signature, passes
// as what was there before, unless the file says the same as before.
func TestXAdESEveryByte(t *testing.T) {
	f := newFixture(t)
	doc, id := f.xml([]byte(order), f.seal, f.tsa)
	doc = f.xmlArchive(f.xmlEvidence(doc, id, nil), id)
	end := bytes.LastIndex(doc, []byte("<xades:EncapsulatedTimeStamp>")) // in the last token only what it signs counts
	form := canonical(t, doc)
	for i := 0; i < end; i += 7 {
		bad := bytes.Clone(doc)
		bad[i] ^= 1
		r, err := validate.ValidateXAdES(bad, f.options())
		if err != nil || !r.Passed() || len(r.Signatures) < 2 || r.Signatures[0].Level != validate.XAdESLevelLTA {
			continue
		}
		if !bytes.Equal(canonical(t, bad), form) && !unsignedPlaces(doc, i) {
			t.Errorf("byte %d passes: %q", i, bad[max(0, i-30):i+30])
		}
	}
}

// unsignedPlaces are where nothing signs: names of the wrapping elements.
func unsignedPlaces(doc []byte, i int) bool {
	at := bytes.LastIndexByte(doc[:i+1], '<')
	return bytes.HasPrefix(doc[at:], []byte("<ds:Signature ")) || bytes.HasPrefix(doc[at:], []byte("<xades141:ArchiveTimeStamp")) ||
		bytes.HasPrefix(doc[at:], []byte("<xades:UnsignedSignatureProperties")) || bytes.HasPrefix(doc[at:], []byte("<xades:UnsignedProperties"))
}

func canonical(t *testing.T, doc []byte) []byte {
	t.Helper()
	d, err := dom.Parse(doc)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := (dom.Form{Exclusive: true}).WriteDocument(&b, d, nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
