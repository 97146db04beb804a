package xades_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"milterd/signature/cms"
	"milterd/signature/cms/cmstest"
	"milterd/signature/xades"
	"milterd/signature/xades/dom"
)

var now = time.Date(2026, 11, 23, 9, 45, 0, 0, time.UTC)

const invoice = "<?xml version=\"1.0\"?>\r\n<?style it?>\n<!-- an invoice -->\n<i:invoice xmlns:i=\"urn:invoice\" xmlns:xsi=\"urn:x\" xml:lang=\"de\"\n  xsi:schemaLocation=\"urn:invoice\n     invoice.xsd\" id='1'>\n" +
	"  <i:line id=\"1\">Zoë &amp; &#13;<![CDATA[]]></i:line><sum xmlns=\"urn:sum\">100</sum>\n  <empty/>\n</i:invoice>\n<?end?>\n"

// fixture is an authority whose clock a test decides.
type fixture struct {
	t        testing.TB
	root, ca *cmstest.Identity
	tsa      *cmstest.TSA
	clock    time.Time
}

func newFixture(t testing.TB) *fixture {
	return at(t, now)
}

func at(t testing.TB, when time.Time) *fixture {
	f := &fixture{t: t, clock: when}
	f.root = cmstest.Root(t, when)
	f.ca = f.root.CA(t, when)
	f.tsa = f.ca.TSA(t, func() time.Time { f.clock = f.clock.Add(time.Second); return f.clock })
	return f
}

func (f *fixture) params(who *cmstest.Identity, alg cms.Algorithm) xades.Params {
	return xades.Params{Certificate: who.Cert, Chain: []*x509.Certificate{f.ca.Cert}, Time: f.clock, Algorithm: alg}
}

// finish is the second phase, by way of JSON.
func (f *fixture) finish(prep *xades.Preparation, who *cmstest.Identity, ts cms.Timestamper) []byte {
	f.t.Helper()
	value, err := prep.SignWith(who.Key)
	if err != nil {
		f.t.Fatal(err)
	}
	b, err := json.Marshal(prep)
	if err != nil {
		f.t.Fatal(err)
	}
	var again xades.Preparation
	if err := json.Unmarshal(b, &again); err != nil {
		f.t.Fatal(err)
	}
	element, err := again.Finish(context.Background(), value, ts)
	if err != nil {
		f.t.Fatal(err)
	}
	return element
}

// envelope signs a document; it gives the signature's identifier, too.
func (f *fixture) envelope(doc []byte, who *cmstest.Identity, alg cms.Algorithm, ts cms.Timestamper) ([]byte, string) {
	f.t.Helper()
	prep, err := xades.Envelope(doc, f.params(who, alg))
	if err != nil {
		f.t.Fatal(err)
	}
	out, err := xades.Put(doc, f.finish(prep, who, ts))
	if err != nil {
		f.t.Fatal(err)
	}
	return out, prep.ID
}

func (f *fixture) evidence(who *cmstest.Identity) xades.Evidence {
	f.clock = f.clock.Add(time.Second)
	return xades.Evidence{Certs: []*x509.Certificate{who.Cert, f.ca.Cert, f.root.Cert, f.tsa.Cert},
		CRLs: [][]byte{f.root.CRL(f.t, f.clock, nil), f.ca.CRL(f.t, f.clock, nil)}}
}

// archive takes a signature up to B-LTA.
func (f *fixture) archive(doc []byte, id string, who *cmstest.Identity, files ...xades.File) []byte {
	f.t.Helper()
	doc, err := xades.AddEvidence(doc, id, f.evidence(who))
	if err != nil {
		f.t.Fatal(err)
	}
	if doc, err = xades.Archive(context.Background(), doc, id, files, f.tsa); err != nil {
		f.t.Fatal(err)
	}
	return doc
}

// verified is every check of this package.
func verified(doc []byte, files ...xades.File) error {
	d, err := xades.Read(doc)
	if err != nil {
		return err
	}
	for _, s := range d.Signatures {
		if s.Problem != nil {
			return s.Problem
		}
		cert, err := s.SignerCertificate()
		if err != nil {
			return err
		}
		for _, r := range s.References {
			if err := s.Check(r, files); err != nil {
				return err
			}
		}
		if err := errors.Join(s.CheckProperties(), s.CheckSignature(cert)); err != nil {
			return err
		}
		if s.Stray != "" {
			return errors.New("stray " + s.Stray)
		}
		if !s.Baseline(cert) {
			return errors.New("no baseline signature")
		}
		for _, list := range [][]*xades.Stamp{s.Stamps, s.Archives} {
			for i, x := range list {
				t, err := cms.ParseToken(x.Token)
				if err != nil {
					return err
				}
				digest, err := s.StampDigest(x, t.ImprintHash)
				if i < len(s.Archives) && s.Archives[i] == x {
					digest, err = s.ArchiveDigest(x, t.ImprintHash, files)
				}
				if err := errors.Join(err, t.CheckImprint(t.ImprintHash, digest)); err != nil {
					return err
				}
			}
		}
	}
	if len(d.Signatures) == 0 {
		return errors.New("no signature")
	}
	return nil
}

// xmlsec has xmlsec1 verify a file; it knows no PSS.
func (f *fixture) xmlsec(doc []byte, files ...xades.File) error {
	f.t.Helper()
	if _, err := exec.LookPath("xmlsec1"); err != nil {
		f.t.Fatal("these tests need Debian's xmlsec1")
	}
	dir := f.t.TempDir()
	write := func(name string, b []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			f.t.Fatal(err)
		}
	}
	for _, x := range files {
		write(x.Name, x.Content)
	}
	write("signed.xml", doc)
	write("root.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.root.Cert.Raw}))
	d, err := xades.Read(doc)
	if err != nil {
		f.t.Fatal(err)
	}
	for _, s := range d.Signatures {
		cmd := exec.Command("xmlsec1", "--verify", "--trusted-pem", "root.pem", "--verification-time", f.clock.Format("2006-01-02 15:04:05"),
			"--id-attr:Id", "http://uri.etsi.org/01903/v1.3.2#:SignedProperties", "--id-attr:Id", "http://www.w3.org/2000/09/xmldsig#:Signature", "--node-id", s.ID, "signed.xml")
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			return errors.New(string(out))
		}
	}
	return nil
}

func TestEnveloped(t *testing.T) {
	for _, alg := range []cms.Algorithm{cms.RS256, cms.RS384, cms.RS512, cms.PS256, cms.PS384, cms.PS512, cms.ES256, cms.ES384, cms.ES512} {
		t.Run(string(alg), func(t *testing.T) {
			f := newFixture(t)
			kind := map[cms.Algorithm]cmstest.Kind{cms.ES256: cmstest.P256, cms.ES384: cmstest.P384, cms.ES512: cmstest.P521}[alg]
			if kind == "" {
				kind = cmstest.RSA
			}
			who, other := f.ca.Signer(t, now, kind, nil), f.ca.Signer(t, now, cmstest.P256, nil)
			one, id := f.envelope([]byte(invoice), who, alg, f.tsa)
			if !bytes.HasPrefix(one, []byte(invoice[:strings.Index(invoice, "</i:invoice>")])) || !bytes.HasSuffix(one, []byte("</i:invoice>\n<?end?>\n")) {
				t.Error("the document's own bytes are not what they were")
			}
			two, _ := f.envelope(one, other, "", nil) // beside the first, which stays valid
			archived := f.archive(two, id, who)
			for level, doc := range map[string][]byte{"T": one, "two": two, "LTA": archived} {
				if err := verified(doc); err != nil {
					t.Errorf("%s: %v", level, err)
				}
				if err := f.xmlsec(doc); err != nil && alg[0] != 'P' {
					t.Errorf("%s: %v\n%s", level, err, doc)
				}
			}
		})
	}
}

func TestDetached(t *testing.T) {
	f := newFixture(t)
	files := []xades.File{{Name: "a file, 100% ä.txt", MIME: "text/plain", Content: []byte("text\r\n")}, {Name: "b:c.bin", Content: []byte{0, 1, 2}}}
	for _, kind := range []cmstest.Kind{cmstest.RSA, cmstest.P256} {
		who := f.ca.Signer(t, now, kind, nil)
		prep, err := xades.Detach(files, f.params(who, ""))
		if err != nil {
			t.Fatal(err)
		}
		doc := f.finish(prep, who, f.tsa)
		if err := f.xmlsec(doc, files...); err != nil {
			t.Error(err)
		}
		doc = f.archive(doc, prep.ID, who, files...)
		if err := verified(doc, files...); err != nil {
			t.Error(err)
		}
		if err := f.xmlsec(doc, files...); err != nil {
			t.Error(err)
		}
		if err := verified(doc, files[0]); !errors.Is(err, xades.ErrMissing) {
			t.Error(err)
		}
		if err := verified(doc, files[0], xades.File{Name: files[1].Name, Content: []byte{0, 1, 3}}); !errors.Is(err, cms.ErrDigest) {
			t.Error(err)
		}
		if _, err := xades.Archive(context.Background(), doc, prep.ID, files[:1], f.tsa); !errors.Is(err, xades.ErrMissing) {
			t.Error(err)
		}
	}
	for _, names := range [][]string{{}, {""}, {"a", "a"}, {"/etc/passwd"}, {"../a"}, {"a/../b"}, {"a\\b"}, {"a\x00b"}, {"\xff"}} {
		var files []xades.File
		for _, n := range names {
			files = append(files, xades.File{Name: n})
		}
		if _, err := xades.Detach(files, f.params(f.ca.Signer(t, now, cmstest.P256, nil), "")); err == nil {
			t.Errorf("%q was prepared", names)
		}
	}
}

// Every byte of a signature that is changed shows, but where nothing is signed:
// in KeyInfo, timestamps, evidence, and identifiers beside them. Those of the document always do.
func TestEveryByteOfTheDocument(t *testing.T) {
	f := newFixture(t)
	doc, _ := f.envelope([]byte(`<a b="c"><d>1</d></a>`), f.ca.Signer(t, now, cmstest.P256, nil), "", nil)
	end := bytes.Index(doc, []byte("<ds:KeyInfo"))
	id := bytes.Index(doc, []byte("<ds:SignatureValue")) + len("<ds:SignatureValue") // which nothing signs
	for i := range end {
		if i >= id && i < bytes.Index(doc, []byte(`-v">`))+3 {
			continue
		}
		for _, bit := range []byte{1, 2, 32} {
			bad := bytes.Clone(doc)
			bad[i] ^= bit
			if err := verified(bad); err == nil && !sameForm(doc, bad) {
				t.Fatalf("byte %d: %q", i, bad[max(0, i-10):i+10])
			}
		}
	}
}

// sameForm reports whether two files have the same canonical form: quotes and
// blanks within tags say nothing.
func sameForm(a, b []byte) bool {
	form := func(x []byte) string {
		var w bytes.Buffer
		d, err := dom.Parse(x)
		if err != nil || (dom.Form{}).WriteDocument(&w, d, nil) != nil {
			return ""
		}
		return w.String()
	}
	return form(a) != "" && form(a) == form(b)
}

func TestNotSigned(t *testing.T) {
	f := newFixture(t)
	who := f.ca.Signer(t, now, cmstest.P256, nil)
	for in, want := range map[string]error{
		"text":                              dom.ErrMalformed,
		"<!DOCTYPE a><a/>":                  dom.ErrForbidden,
		"<a>1<!-- -->00</a>":                xades.ErrSplit,
		"<a><b>1<!-- --><!-- -->00</b></a>": xades.ErrSplit,
		"<a>1<![CDATA[00]]></a>":            xades.ErrSplit,
		"<a><Signature xmlns='http://www.w3.org/2000/09/xmldsig#'/></a>": xades.ErrForbidden,
		"<Signature xmlns='http://www.w3.org/2000/09/xmldsig#'/>":        xades.ErrForbidden,
	} {
		if _, err := xades.Envelope([]byte(in), f.params(who, "")); !errors.Is(err, want) {
			t.Errorf("%s: %v", in, err)
		}
	}
	for _, good := range []string{"<a/>", "<p:a xmlns:p='urn:p' b='c' />", "<a>text</a>", "<a>1<b/>2<!-- c --></a>", "<a><![CDATA[<all>]]></a>"} {
		doc, _ := f.envelope([]byte(good), who, "", nil)
		if err := errors.Join(verified(doc), f.xmlsec(doc)); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	p := f.params(who, "")
	p.Time = who.Cert.NotAfter.Add(time.Hour)
	if _, err := xades.Envelope([]byte("<a/>"), p); !errors.Is(err, cms.ErrExpired) {
		t.Error(err)
	}
	if _, err := xades.Envelope([]byte("<a/>"), f.params(who, cms.RS256)); !errors.Is(err, cms.ErrAlgorithm) {
		t.Error(err)
	}
}

func TestFinishVerifies(t *testing.T) {
	f := newFixture(t)
	who, other := f.ca.Signer(t, now, cmstest.P256, nil), f.ca.Signer(t, now, cmstest.P256, nil)
	prep, err := xades.Envelope([]byte(invoice), f.params(who, ""))
	if err != nil {
		t.Fatal(err)
	}
	value, err := prep.SignWith(who.Key)
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := prep.SignWith(other.Key)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	if _, err := prep.Finish(ctx, foreign, nil); !errors.Is(err, cms.ErrSignature) {
		t.Error(err)
	}
	changed := *prep
	changed.Element = bytes.Replace(changed.Element, []byte("application/xml"), []byte("application/zip"), 1)
	if _, err := changed.Finish(ctx, value, nil); !errors.Is(err, cms.ErrDigest) {
		t.Error(err)
	}
	f.tsa.Away = true
	if _, err := prep.Finish(ctx, value, f.tsa); err == nil {
		t.Error("finished without the time")
	}
	f.tsa.Away = false
	element, err := prep.Finish(ctx, value, f.tsa)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := xades.Put([]byte("<a/>"), element); !errors.Is(err, cms.ErrDigest) {
		t.Errorf("put into another document: %v", err)
	}
	for _, bad := range []string{"<a/>", "<ds:Signature xmlns:ds='http://www.w3.org/2000/09/xmldsig#'/>", string(element) + "<!-- c -->", ""} {
		if _, err := xades.Put([]byte(invoice), []byte(bad)); err == nil {
			t.Errorf("put in: %q", bad)
		}
	}
	content, err := xades.Content([]byte(invoice))
	if err != nil {
		t.Fatal(err)
	}
	h := crypto.SHA256.New()
	h.Write(content)
	if !bytes.Equal(h.Sum(nil), prep.Signed[0].Digest) || prep.Comments != 1 {
		t.Errorf("%+v", prep.Signed)
	}
}

func TestEvidence(t *testing.T) {
	f := newFixture(t)
	who := f.ca.Signer(t, now, cmstest.P256, nil)
	doc, id := f.envelope([]byte(invoice), who, "", f.tsa)
	e := f.evidence(who)
	e.OCSPs = [][]byte{f.ca.OCSP(t, who.Cert, f.clock, time.Time{}), f.ca.OCSP(t, f.tsa.Cert, f.clock, time.Time{})}
	once, err := xades.AddEvidence(doc, id, e)
	if err != nil {
		t.Fatal(err)
	}
	twice, err := xades.AddEvidence(once, id, e)
	if err != nil || !bytes.Equal(once, twice) {
		t.Errorf("the same evidence is stored twice (%v)", err)
	}
	more, err := xades.AddEvidence(once, id, f.evidence(who))
	if err != nil || bytes.Count(more, []byte("TimeStampValidationData>")) != 2 || bytes.Count(more, []byte("<xades:CertificateValues")) != 2 {
		t.Errorf("%v %s", err, more)
	}
	d, err := xades.Read(more)
	if err != nil {
		t.Fatal(err)
	}
	s := d.Signatures[0].Stored(nil)
	if len(s.CRLs) != 4 || len(s.OCSPs) != 2 || !slices.ContainsFunc(s.Certs, f.tsa.Cert.Equal) || !slices.ContainsFunc(s.Certs, f.root.Cert.Equal) {
		t.Errorf("%d lists, %d answers, %d certificates", len(s.CRLs), len(s.OCSPs), len(s.Certs))
	}
	if _, err := xades.AddEvidence(doc, "another", e); !errors.Is(err, cms.ErrFormat) {
		t.Error(err)
	}
	again, err := xades.Archive(context.Background(), more, id, nil, f.tsa)
	if err == nil {
		again, err = xades.Archive(context.Background(), again, id, nil, f.tsa)
	}
	if err := errors.Join(err, verified(again), f.xmlsec(again)); err != nil {
		t.Error(err)
	}
}
