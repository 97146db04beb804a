package validate_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"milterd/signature/cades"
	"milterd/signature/cms"
	"milterd/signature/cms/cmstest"
	"milterd/validate"
)

var letter = []byte("We, the undersigned, agree.\r\n")

func (f *fixture) cadesParams(by *cmstest.Identity) cades.Params {
	return cades.Params{Certificate: by.Cert, Chain: []*x509.Certificate{f.ca.Cert}, Time: f.clock}
}

// ok gives what was made.
func (f *fixture) ok(b []byte, err error) []byte {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
	return b
}

// cades signs content with the seal; with its time unless bare.
func (f *fixture) cades(content []byte, bare bool) []byte {
	f.t.Helper()
	var ts cms.Timestamper = f.tsa
	if bare {
		ts = nil
	}
	return f.ok(cades.Sign(context.Background(), content, f.cadesParams(f.seal), f.seal.Key, ts))
}

// evidence is revocation data issued a second later.
func (f *fixture) proof(revoked map[*x509.Certificate]time.Time) cades.Evidence {
	f.clock = f.clock.Add(time.Second)
	return cades.Evidence{
		Certs: []*x509.Certificate{f.seal.Cert, f.ca.Cert, f.root.Cert, f.tsa.Cert},
		CRLs:  [][]byte{f.root.CRL(f.t, f.clock, nil), f.ca.CRL(f.t, f.clock, revoked)},
	}
}

// ladder gives B-B, B-T, B-LT and B-LTA of content, detached.
func (f *fixture) ladder(content []byte) (out [4][]byte) {
	f.t.Helper()
	out[0] = f.cades(content, true)
	out[1] = f.cades(content, false)
	out[2] = f.ok(cades.AddEvidence(out[1], f.proof(nil)))
	out[3] = f.ok(cades.Archive(context.Background(), out[2], content, f.tsa))
	return out
}

func (f *fixture) file(data, content []byte) *validate.Result {
	f.t.Helper()
	o := f.options()
	o.Files = beside(content)
	r, err := validate.File(data, o)
	if err != nil {
		f.t.Fatal(err)
	}
	return r
}

// expect compares the first signature.
func (f *fixture) expect(what string, r *validate.Result, indication validate.Indication, sub validate.Sub, level validate.Level) {
	f.t.Helper()
	s := r.Signatures[0]
	if s.Indication != indication || s.Sub != sub || s.Level != level || r.Indication != indication {
		f.t.Errorf("%s: %s %s %q (%s), the file %s; want %s %s %q", what, s.Indication, s.Sub, s.Level, s.Problem, r.Indication, indication, sub, level)
	}
}

var cadesLevels = []validate.Level{validate.CAdESLevelB, validate.CAdESLevelT, validate.CAdESLevelLT, validate.CAdESLevelLTA}

// Every level, detached, attached and in PEM: without revocation data nothing is
// decided, with it all holds.
func TestCAdESLevels(t *testing.T) {
	f := newFixture(t)
	for i, der := range f.ladder(letter) {
		o := f.options()
		if i < 2 {
			f.expect("alone", f.file(der, letter), validate.Indeterminate, validate.TryLater, validate.CAdESLevelB)
			e := f.proof(nil)
			o = f.options()
			o.CRLs = e.CRLs
		}
		attached := f.ok(cades.Attach(der, letter))
		for name, data := range map[string][]byte{"detached": der, "attached": attached} {
			o.Files = nil
			if name == "detached" {
				o.Files = beside(letter)
			}
			r, err := validate.File(data, o)
			if err != nil {
				t.Fatal(err)
			}
			f.expect(name, r, validate.Passed, "", cadesLevels[i])
			if s := r.Signatures[0]; i > 0 && s.Proven.IsZero() || !s.Claimed.Equal(now.Add(time.Second)) && i == 0 {
				t.Errorf("%s: claimed %s, proven %s", name, s.Claimed, s.Proven)
			}
			if i == 3 && (len(r.Signatures) != 2 || r.Signatures[1].Kind != validate.KindArchive || r.Signatures[1].Indication != validate.Passed) {
				t.Errorf("%s: %+v", name, r.Signatures[1:])
			}
			if text := r.Text(); !strings.Contains(text, string(cadesLevels[i])) || strings.Contains(text, "PAdES") {
				t.Error(text)
			}
		}
	}
}

// Two signers in one message, each with its own level; and a renewed archive.
func TestCAdESSigners(t *testing.T) {
	f := newFixture(t)
	ctx := context.Background()
	second := f.ca.Signer(t, now, cmstest.RSA, func(c *x509.Certificate) { c.Subject.CommonName = "Jane Roe" })
	other := f.ok(cades.Sign(ctx, letter, f.cadesParams(second), second.Key, f.tsa))
	both := f.ok(cades.Join(f.cades(letter, false), other))
	e := f.proof(nil)
	e.Certs = append(e.Certs, second.Cert)
	both = f.ok(cades.Archive(ctx, f.ok(cades.AddEvidence(both, e)), letter, f.tsa))
	r := f.file(both, letter)
	if len(r.Signatures) != 4 || !r.Passed() || r.Signatures[0].Level != validate.CAdESLevelLTA || r.Signatures[2].Level != validate.CAdESLevelLTA ||
		r.Signatures[0].Subject == r.Signatures[2].Subject {
		t.Fatalf("%s", r.Text())
	}
}

// Six years later all certificates but the root's have ended: what was archived
// again in time holds, what was not does not.
func TestCAdESRenewed(t *testing.T) {
	f := longFixture(t)
	single := f.ladder(letter)[3]
	newer, tsa := f.jump(4)
	renewed := f.ok(cades.Archive(context.Background(), f.ok(cades.AddEvidence(single, f.proof(nil))), letter, tsa))
	f.clock = now.AddDate(6, 0, 0)
	o := f.options()
	o.Files, o.CRLs = beside(letter), [][]byte{f.root.CRL(t, f.clock, nil), newer.CRL(t, f.clock, nil)}
	r, err := validate.File(single, o)
	if err != nil || r.Passed() {
		t.Errorf("not renewed, it passes after the end: %v", err)
	}
	if r, err = validate.File(renewed, o); err != nil {
		t.Fatal(err)
	}
	if s := r.Signatures[0]; !r.Passed() || s.Level != validate.CAdESLevelLTA || s.Proven.Year() != now.Year() {
		t.Errorf("renewed: %s", r.Text())
	}
}

// longFixture is a fixture whose root lives four years longer than the rest.
func longFixture(t testing.TB) *fixture {
	f := &fixture{t: t, clock: now}
	f.root = cmstest.Root(t, now.AddDate(4, 0, 0))
	f.ca = f.root.CA(t, now)
	f.seal = f.ca.Signer(t, now, cmstest.P256, nil)
	f.tsa = f.ca.TSA(t, func() time.Time { f.clock = f.clock.Add(time.Second); return f.clock })
	return f
}

// jump goes some years on, to when there is a newer timestamp authority.
func (f *fixture) jump(years int) (*cmstest.Identity, *cmstest.TSA) {
	f.clock = now.AddDate(years, 0, 0)
	ca := f.root.CA(f.t, f.clock)
	return ca, ca.TSA(f.t, func() time.Time { f.clock = f.clock.Add(time.Second); return f.clock })
}

// What was signed is something else, or nobody says what.
func TestCAdESContent(t *testing.T) {
	f := newFixture(t)
	lta := f.ladder(letter)[3]
	f.expect("swapped", f.file(lta, []byte("We disagree.")), validate.Failed, validate.HashFailure, validate.NoLevel)
	f.expect("none", f.file(lta, nil), validate.Indeterminate, validate.SignedDataNotFound, validate.NoLevel)
	attached := f.ok(cades.Attach(lta, letter))
	f.expect("another beside", f.file(attached, []byte("We disagree.")), validate.Failed, validate.HashFailure, validate.NoLevel)
	f.expect("swapped inside", f.file(bytes.Replace(attached, letter, []byte("We, the undersigned, refuse\r\n"), 1), nil), validate.Failed, validate.HashFailure, validate.NoLevel)
	// The archive timestamp alone would notice, too.
	r := f.file(lta, []byte("We disagree."))
	if s := r.Signatures[1]; s.Indication != validate.Failed || s.Sub != validate.HashFailure {
		t.Errorf("archive timestamp: %s %s", s.Indication, s.Sub)
	}
	// A PDF takes no content; and what cannot be read is an error.
	if _, err := validate.File(cmstest.Document(0), validate.Options{Files: beside(letter)}); err == nil {
		t.Error("content beside a PDF")
	}
	if _, err := validate.File(append(slices.Clone(lta), 0), f.options()); err == nil {
		t.Error("a byte behind the message")
	}
	// Others write BER: here an outer length that is indefinite.
	body := cryptobyte.String(attached)
	if !body.ReadASN1(&body, asn1.SEQUENCE) {
		t.Fatal("no SEQUENCE")
	}
	ber := slices.Concat([]byte{0x30, 0x80}, body, []byte{0, 0})
	f.expect("BER", f.file(ber, nil), validate.Passed, "", validate.CAdESLevelLTA)
}

// A message put together wrongly; each signs the letter with the seal's key.
func TestCAdESAttacks(t *testing.T) {
	f := newFixture(t)
	digest := sha256.Sum256(letter)
	when := cmstest.Attribute([]int{1, 2, 840, 113549, 1, 9, 5}, []byte("\x17\x0d261123094500Z"))
	message := func(change func(*cmstest.Message)) []byte {
		m := cmstest.NewMessage(f.seal, digest[:])
		m.Certs = append(m.Certs, f.ca.Cert)
		m.Attributes = append(m.Attributes, when)
		change(m)
		return m.Marshal(t)
	}
	e := f.proof(nil)
	o := f.options()
	o.Files, o.CRLs = beside(letter), e.CRLs
	good, err := validate.File(message(func(*cmstest.Message) {}), o)
	if err != nil {
		t.Fatal(err)
	}
	f.expect("as it should be", good, validate.Passed, "", validate.CAdESLevelB)
	attrs, err := cms.Parse(message(func(*cmstest.Message) {}))
	if err != nil {
		t.Fatal(err)
	}
	foreign := f.ca.Signer(t, now, cmstest.P256, nil)
	for name, c := range map[string]struct {
		change func(*cmstest.Message)
		sub    validate.Sub // "": cannot be read at all
		level  validate.Level
		passes bool
	}{
		"no signed attributes":            {change: func(m *cmstest.Message) { m.Attributes = nil; m.Signed = letter }},
		"an attribute removed":            {change: func(m *cmstest.Message) { m.Signed = attrs.Attributes; m.Attributes = m.Attributes[:3] }, sub: validate.SigCryptoFailure},
		"an attribute added":              {change: func(m *cmstest.Message) { m.Signed = cmstest.DER(0x31, bytes.Join(m.Attributes[:3], nil)) }, sub: validate.SigCryptoFailure},
		"two message digests":             {change: func(m *cmstest.Message) { m.Attributes = append(m.Attributes, m.Attributes[1]) }},
		"attributes out of order":         {change: func(m *cmstest.Message) { slices.Reverse(m.Attributes); m.Unsorted = true }},
		"SHA-1":                           {change: func(m *cmstest.Message) { m.Digest = cmstest.DER(0x30, cmstest.SHA1) }},
		"MD5":                             {change: func(m *cmstest.Message) { m.Digest = cmstest.DER(0x30, cmstest.MD5) }},
		"another hash than signed with":   {change: func(m *cmstest.Message) { m.Digest = cmstest.DER(0x30, cmstest.SHA512) }},
		"another's certificate named":     {change: func(m *cmstest.Message) { m.Named = foreign.Cert; m.Certs = append(m.Certs, foreign.Cert) }, sub: validate.NoSigningCertificate},
		"no signing-certificate":          {change: func(m *cmstest.Message) { m.Attributes = slices.Delete(m.Attributes, 2, 3) }, passes: true},
		"no signing-time":                 {change: func(m *cmstest.Message) { m.Attributes = m.Attributes[:3] }, passes: true},
		"no content type":                 {change: func(m *cmstest.Message) { m.Attributes = m.Attributes[1:] }, sub: validate.FormatFailure},
		"attributes of it as the content": {change: func(m *cmstest.Message) { m.Content = attrs.Attributes }, sub: validate.HashFailure},
	} {
		o := o
		r, err := validate.File(message(c.change), o)
		switch {
		case err != nil && (c.sub != "" || c.passes):
			t.Errorf("%s: %v", name, err)
		case err != nil:
		case c.passes && (!r.Passed() || r.Signatures[0].Level != c.level):
			t.Errorf("%s: %s %q (%s)", name, r.Indication, r.Signatures[0].Level, r.Signatures[0].Problem)
		case !c.passes && (r.Passed() || r.Signatures[0].Sub != c.sub):
			t.Errorf("%s: %s %s (%s), want %s", name, r.Indication, r.Signatures[0].Sub, r.Signatures[0].Problem, c.sub)
		}
	}
	// Content that is DER of signed attributes: the value over it, taken as one
	// without attributes, is the seal's value over those attributes (RFC 8933).
	stolen := &cmstest.Message{Content: attrs.Attributes, Certs: []*x509.Certificate{f.seal.Cert}, Named: f.seal.Cert, Hash: crypto.SHA256,
		Digest: cmstest.DER(0x30, cmstest.SHA256), Algorithm: cmstest.DER(0x30, cmstest.ECDSASHA256), Key: f.seal.Key,
		Signed: attrs.Attributes, Change: func([]byte) []byte { return attrs.Value }}
	o.Files = nil
	if r, err := validate.File(stolen.Marshal(t), o); err == nil {
		t.Errorf("a signature over attributes passes as one over content: %s", r.Text())
	}
	// A timestamp token is a SignedData as well, but no signature on a file.
	token := f.ok(f.tsa.Timestamp(context.Background(), digest[:]))
	r, err := validate.File(token, o)
	if err != nil {
		t.Fatal(err)
	}
	f.expect("a token as a signature", r, validate.Failed, validate.FormatFailure, validate.NoLevel)
}

// Timestamps that belong to something else, and things taken from under an
// archive timestamp.
func TestCAdESTimestampSwaps(t *testing.T) {
	f := newFixture(t)
	ctx := context.Background()
	parse := func(der []byte) *cms.Message {
		m, err := cms.ParseAll(der)
		if err != nil {
			t.Fatal(err)
		}
		return m[0]
	}
	bare, stamped := f.cades(letter, true), f.cades(letter, false)
	swapped := f.ok(parse(bare).WithTimestamp(parse(stamped).Timestamps[0]))
	f.expect("another signature's timestamp", f.file(swapped, letter), validate.Failed, validate.HashFailure, validate.CAdESLevelB)
	lt := f.ok(cades.AddEvidence(stamped, f.proof(nil)))
	lta := f.ok(cades.Archive(ctx, lt, letter, f.tsa))
	archive := func(der []byte) []byte { return parse(der).Archives[0] }
	broken := func(what string, der []byte) {
		t.Helper()
		r := f.file(der, letter)
		if s := r.Signatures[len(r.Signatures)-1]; r.Passed() || s.Kind != validate.KindArchive || s.Indication != validate.Failed || s.Sub != validate.HashFailure {
			t.Errorf("%s: %s", what, r.Text())
		}
	}
	// The token of an archive timestamp of one message in another.
	var other []byte
	for other == nil || len(archive(other)) != len(archive(lta)) { // ECDSA values vary in length
		other = f.ok(cades.Archive(ctx, f.ok(cades.AddEvidence(f.cades(letter, false), f.proof(nil))), letter, f.tsa))
	}
	broken("another message's", bytes.Replace(lta, archive(lta), archive(other), 1))
	// A list that it covers is gone: the last byte of the CRL's signature is another.
	crl := parse(lta).CRLs[1]
	changed := bytes.Clone(crl)
	changed[len(changed)-1] ^= 1
	broken("a CRL changed", bytes.Replace(lta, crl, changed, 1))
	// A revocation that comes later is no concern of a proven time; before it, it is.
	for when, want := range map[time.Time]validate.Indication{f.clock.Add(time.Second): validate.Passed, now.Add(-time.Hour): validate.Indeterminate} {
		o := f.options()
		o.Files, o.CRLs = beside(letter), f.proof(map[*x509.Certificate]time.Time{f.seal.Cert: when}).CRLs
		r, err := validate.File(lta, o)
		if err != nil || r.Signatures[0].Indication != want {
			t.Errorf("revoked at %s: %v %s", when, err, r.Text())
		}
	}
	// What is not read is said.
	noted := bytes.Replace(f.ok(parse(bare).WithTimestamp([]byte{0x30, 0})), []byte("\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x02\x0e"), []byte("\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x02\x30"), 1)
	if r := f.file(noted, letter); !strings.Contains(r.Text(), "archive-time-stamp of version 2") {
		t.Errorf("an attribute that nobody reads: %s", r.Text())
	}
	// A timestamp that came after the archive is not covered by it.
	late := f.ok(parse(lta).WithTimestamp(f.ok(f.tsa.Timestamp(ctx, sum(parse(lta).Value)))))
	if r := f.file(late, letter); !r.Passed() || !r.Signatures[0].Proven.Before(r.Signatures[1].Proven) {
		t.Errorf("with a later timestamp: %s", r.Text())
	}
}

func sum(b []byte) []byte { s := sha256.Sum256(b); return s[:] }

// What OpenSSL signs: CAdES and plain CMS, attached in BER with its content in
// chunks, and detached.
func TestCAdESOfOpenSSL(t *testing.T) {
	f := newFixture(t)
	dir := t.TempDir()
	put := func(name string, b []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	key, err := x509.MarshalPKCS8PrivateKey(f.seal.Key)
	if err != nil {
		t.Fatal(err)
	}
	content := bytes.Repeat(letter, 2000)
	put("key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))
	put("cert", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.seal.Cert.Raw}))
	put("content", content)
	f.clock = time.Now() // openssl's signing-time is the present
	o := f.options()
	o.Certs = []*x509.Certificate{f.ca.Cert}
	o.CRLs = [][]byte{f.root.CRL(t, f.clock, nil), f.ca.CRL(t, f.clock, nil)}
	for name, c := range map[string]struct {
		args    []string
		content []byte
		level   validate.Level
	}{
		"attached, in chunks": {[]string{"-cades", "-nodetach", "-stream", "-outform", "DER"}, nil, validate.CAdESLevelB},
		"detached, in PEM":    {[]string{"-cades", "-outform", "PEM"}, content, validate.CAdESLevelB},
		"plain CMS":           {[]string{"-outform", "DER"}, content, validate.NoLevel},
	} {
		cmd := exec.Command("openssl", append([]string{"cms", "-sign", "-binary", "-md", "sha256", "-signer", "cert", "-inkey", "key", "-in", "content", "-out", "out"}, c.args...)...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		data, err := os.ReadFile(filepath.Join(dir, "out"))
		if err != nil {
			t.Fatal(err)
		}
		o.Files = beside(c.content)
		r, err := validate.File(data, o)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		f.expect(name, r, validate.Passed, "", c.level)
	}
}
