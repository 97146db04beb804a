package validate_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/digitorus/timestamp"
	tag "golang.org/x/crypto/cryptobyte/asn1"
	"golang.org/x/crypto/ocsp"

	"milterd/signature/cms"
	"milterd/signature/cms/cmstest"
	"milterd/signature/pades"
	"milterd/signature/pdf/cos"
	"milterd/validate"
)

// stamped signs the sample and puts a token beside the value, whatever it is.
func (f *fixture) stamped(token func(value []byte) []byte) []byte {
	f.t.Helper()
	return f.embed(func(digest []byte) []byte {
		attributes, err := cms.SignedAttributes(cms.ES256, digest, f.seal.Cert)
		if err != nil {
			f.t.Fatal(err)
		}
		d := sha256.Sum256(attributes)
		value, err := f.seal.Key.Sign(rand.Reader, d[:], crypto.SHA256)
		if err != nil {
			f.t.Fatal(err)
		}
		sd := cms.SignedData{Algorithm: cms.ES256, Certificates: f.seal.Chain()[:1], Attributes: attributes, Value: value, Timestamp: token(value)}
		der, err := sd.Marshal()
		if err != nil {
			f.t.Fatal(err)
		}
		return der
	})
}

// token stamps data by an authority, whose manners change may spoil.
func (f *fixture) token(data []byte, change func(*cmstest.TSA)) []byte {
	f.t.Helper()
	a := *f.tsa
	if change != nil {
		change(&a)
	}
	d := sha256.Sum256(data)
	der, err := a.Timestamp(context.Background(), d[:])
	if err != nil {
		f.t.Fatal(err)
	}
	return der
}

// A signature's timestamp is exchanged: it proves nothing then.
func TestTimestampSwaps(t *testing.T) {
	usage := func(critical bool, oids ...asn1.ObjectIdentifier) func(*fixture) *cmstest.Identity {
		return func(f *fixture) *cmstest.Identity {
			var list []any
			for _, oid := range oids {
				list = append(list, oid)
			}
			return f.ca.Signer(f.t, now, cmstest.P256, func(c *x509.Certificate) {
				c.UnknownExtKeyUsage = nil
				c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: critical, Value: cmstest.DER(tag.SEQUENCE, list...)}}
			})
		}
	}
	stamping, mail := asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 8}, asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 4}
	by := func(id func(*fixture) *cmstest.Identity) func(*fixture, []byte) []byte {
		return func(f *fixture, value []byte) []byte {
			return f.token(value, func(a *cmstest.TSA) { a.Identity = id(f) })
		}
	}
	for name, c := range map[string]struct {
		token func(f *fixture, value []byte) []byte
		want  validate.Indication
		sub   validate.Sub
	}{
		"sound":                        {func(f *fixture, value []byte) []byte { return f.token(value, nil) }, validate.Passed, ""},
		"of another signature":         {func(f *fixture, value []byte) []byte { return f.token([]byte("another value"), nil) }, validate.Failed, validate.HashFailure},
		"over the attributes' digest":  {func(f *fixture, value []byte) []byte { d := sha256.Sum256(value); return f.token(d[:], nil) }, validate.Failed, validate.HashFailure},
		"by the signer himself":        {by(func(f *fixture) *cmstest.Identity { return f.seal }), validate.Indeterminate, validate.NoSigningCertificate},
		"by a certificate for more":    {by(usage(true, stamping, mail)), validate.Indeterminate, validate.NoSigningCertificate},
		"by one that is not critical":  {by(usage(false, stamping)), validate.Indeterminate, validate.NoSigningCertificate},
		"by one that is":               {by(usage(true, stamping)), validate.Passed, ""},
		"by an authority of elsewhere": {by(func(f *fixture) *cmstest.Identity { return cmstest.Root(f.t, now).TSA(f.t, f.tsa.Now).Identity }), validate.Indeterminate, validate.NoChain},
		"imprint of another length": {func(f *fixture, value []byte) []byte {
			return f.token(value, func(a *cmstest.TSA) {
				a.Spoil = func(ts *timestamp.Timestamp) { ts.HashedMessage = ts.HashedMessage[:20] }
			})
		}, validate.Failed, validate.FormatFailure},
		"its time changed": {func(f *fixture, value []byte) []byte {
			return bytes.Replace(f.token(value, nil), []byte("20261123"), []byte("20251123"), 1)
		}, validate.Failed, validate.HashFailure},
		"a signature instead of a token": {func(f *fixture, value []byte) []byte {
			d := sha256.Sum256(value)
			return cmstest.NewMessage(f.tsa.Identity, d[:]).Marshal(f.t)
		}, validate.Failed, validate.FormatFailure},
		"before its certificate": {func(f *fixture, value []byte) []byte {
			return f.token(value, func(a *cmstest.TSA) {
				a.Spoil = func(ts *timestamp.Timestamp) { ts.Time = now.AddDate(-6, 0, 0) }
			})
		}, validate.Failed, validate.NotYetValid},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			pdf := f.stamped(func(value []byte) []byte { return c.token(f, value) })
			f.judge(pdf, c.want, c.sub)
			if r, _ := validate.Validate(pdf, f.known()); (c.want == validate.Passed) != !r.Signatures[0].Proven.IsZero() {
				t.Errorf("proven at %v", r.Signatures[0].Proven)
			}
		})
	}
}

// swapped exchanges the value of the last signature in a file.
func (f *fixture) swapped(pdf, der []byte) []byte {
	f.t.Helper()
	all := byteRange.FindAllSubmatch(pdf, -1)
	last := all[len(all)-1]
	from, _ := strconv.Atoi(string(last[1]))
	to, _ := strconv.Atoi(string(last[2]))
	hexed := hex.EncodeToString(der)
	if len(hexed) > to-from-2 {
		f.t.Fatal("does not fit")
	}
	return slices.Concat(pdf[:from+1], []byte(hexed), bytes.Repeat([]byte("0"), to-from-2-len(hexed)), pdf[to-1:])
}

// A document timestamp is exchanged, or covers something else: it fails, and the
// signature falls back to what the rest proves.
func TestDocumentTimestampSwaps(t *testing.T) {
	f := newFixture(t)
	doc := cmstest.Document(0)
	lt := f.dss(f.sign(doc, "A", false), nil)
	lta := f.stamp(lt)
	m := byteRange.FindAllSubmatchIndex(lta, -1)
	last := m[len(m)-1]
	shorter := bytes.Clone(lta)
	copy(shorter[last[6]:last[7]], strconv.Itoa(len(lt)/2)) // the third number; as long
	other := f.token([]byte("another document"), nil)
	whole := sha256.New()
	n1, _ := strconv.Atoi(string(lta[last[2]:last[3]]))
	n2, _ := strconv.Atoi(string(lta[last[4]:last[5]]))
	whole.Write(lta[:n1])
	whole.Write(lta[n2:])
	seal := *f.tsa
	seal.Identity = f.seal
	bySeal, err := seal.Timestamp(context.Background(), whole.Sum(nil))
	if err != nil {
		t.Fatal(err)
	}
	stranger := cmstest.Root(t, now).TSA(t, f.tsa.Now)
	byStranger, err := stranger.Timestamp(context.Background(), whole.Sum(nil))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		pdf   []byte
		stamp validate.Sub // of the document timestamp
		sig   validate.Level
	}{
		"sound":                        {lta, "", validate.LevelLTA},
		"of another document":          {f.swapped(lta, other), validate.HashFailure, validate.LevelLT},
		"another ByteRange":            {shorter, validate.FormatFailure, validate.LevelLT},
		"by the signer":                {f.swapped(lta, bySeal), validate.NoSigningCertificate, validate.LevelLT},
		"by a stranger":                {f.swapped(lta, byStranger), validate.NoChain, validate.LevelLT},
		"a signature instead":          {f.swapped(lta, cmstest.NewMessage(f.tsa.Identity, whole.Sum(nil)).Marshal(t)), validate.FormatFailure, validate.LevelLT},
		"calls itself a signature":     {bytes.Replace(lta, []byte("/ETSI.RFC3161"), []byte("/ETSI.CAdES.d"), 1), validate.CryptoConstraints, validate.LevelLT},
		"the signature's own, over it": {f.swapped(lta, f.token([]byte("x"), func(a *cmstest.TSA) { a.Identity = f.seal })), validate.HashFailure, validate.LevelLT},
	} {
		r := f.validate(c.pdf)
		var sig, stamp validate.Signature
		for _, s := range r.Signatures {
			if s.Field == "A" {
				sig = s
			} else {
				stamp = s
			}
		}
		if stamp.Sub != c.stamp || sig.Level != c.sig || r.Passed() != (c.stamp == "") {
			t.Errorf("%s: timestamp %s / %s, signature %s", name, stamp.Indication, stamp.Sub, sig.Level)
		}
	}
	if s := f.validate(lt).Signatures[0]; s.Level != validate.LevelLT || s.Indication != validate.Passed {
		t.Errorf("cut off before the timestamp: %s, %s", s.Indication, s.Level)
	}
}

// Revocation data is exchanged for what does not speak for the certificate.
func TestRevocationSwaps(t *testing.T) {
	here, there := "http://ca.test/1.crl", "http://ca.test/2.crl"
	point := func(urls ...string) []byte { // DistributionPointName with fullName, [0]
		var names []any
		for _, u := range urls {
			names = append(names, cmstest.DER(tag.Tag(6).ContextSpecific(), []byte(u)))
		}
		return cmstest.DER(tag.Tag(0).ContextSpecific().Constructed(), cmstest.DER(tag.Tag(0).ContextSpecific().Constructed(), names...))
	}
	issuing := func(parts ...any) pkix.Extension {
		return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 28}, Critical: true, Value: cmstest.DER(tag.SEQUENCE, parts...)}
	}
	flag := func(n uint8) []byte { return cmstest.DER(tag.Tag(n).ContextSpecific(), []byte{0xff}) }
	list := func(f *fixture, at, next time.Time, ext ...pkix.Extension) []byte {
		der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: at, NextUpdate: next, ExtraExtensions: ext}, f.ca.Cert, f.ca.Key)
		if err != nil {
			f.t.Fatal(err)
		}
		return der
	}
	crl := func(ext ...pkix.Extension) func(f *fixture) ([][]byte, [][]byte) {
		return func(f *fixture) ([][]byte, [][]byte) {
			return [][]byte{list(f, f.clock, f.clock.AddDate(0, 0, 7), ext...)}, nil
		}
	}
	answer := func(r ocsp.Response, by func(f *fixture) *cmstest.Identity) func(f *fixture) ([][]byte, [][]byte) {
		return func(f *fixture) ([][]byte, [][]byte) {
			if r.SerialNumber == nil {
				r.SerialNumber = f.seal.Cert.SerialNumber
			}
			r.ThisUpdate, r.NextUpdate, r.RevokedAt = f.clock, f.clock.AddDate(0, 0, 7), f.clock.Add(-time.Hour)
			id := by(f)
			if id != f.ca {
				r.Certificate = id.Cert
			}
			der, err := ocsp.CreateResponse(f.ca.Cert, id.Cert, r, id.Key)
			if err != nil {
				f.t.Fatal(err)
			}
			return nil, [][]byte{der}
		}
	}
	ca := func(f *fixture) *cmstest.Identity { return f.ca }
	both := func(a, b func(f *fixture) ([][]byte, [][]byte)) func(f *fixture) ([][]byte, [][]byte) {
		return func(f *fixture) ([][]byte, [][]byte) {
			c1, o1 := a(f)
			c2, o2 := b(f)
			return append(c1, c2...), append(o1, o2...)
		}
	}
	good, revoked := ocsp.Response{Status: ocsp.Good}, ocsp.Response{Status: ocsp.Revoked}
	for name, c := range map[string]struct {
		data func(f *fixture) (crls, ocsps [][]byte)
		sub  validate.Sub
	}{
		"a list":                           {crl(), ""},
		"a list of its part":               {crl(issuing(point(there, here))), ""},
		"a list of end users":              {crl(issuing(flag(1))), ""},
		"a list of another part":           {crl(issuing(point(there))), validate.TryLater},
		"a list of another part, relative": {crl(issuing(cmstest.DER(tag.Tag(0).ContextSpecific().Constructed(), cmstest.DER(tag.Tag(1).ContextSpecific().Constructed())))), validate.TryLater},
		"a list of authorities":            {crl(issuing(flag(2))), validate.TryLater},
		"a list of some reasons":           {crl(issuing(cmstest.DER(tag.Tag(3).ContextSpecific(), []byte{1, 2}))), validate.TryLater},
		"an indirect list":                 {crl(issuing(flag(4))), validate.TryLater},
		"a delta list":                     {crl(pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 27}, Critical: true, Value: []byte{2, 1, 1}}), validate.TryLater},
		"a list with an unknown demand":    {crl(pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}}), validate.TryLater},
		"a list of a namesake's": {func(f *fixture) ([][]byte, [][]byte) {
			return [][]byte{f.root.CA(f.t, now).CRL(f.t, f.clock, nil)}, nil
		}, validate.TryLater},
		"an old list used again": {func(f *fixture) ([][]byte, [][]byte) {
			return [][]byte{list(f, now.AddDate(0, 0, -1), f.clock.AddDate(0, 0, 7))}, nil
		}, validate.TryLater},
		"an answer":                      {answer(good, ca), ""},
		"an answer about another":        {answer(ocsp.Response{Status: ocsp.Good, SerialNumber: big.NewInt(7)}, ca), validate.TryLater},
		"an answer that knows nothing":   {answer(ocsp.Response{Status: ocsp.Unknown}, ca), validate.TryLater},
		"an answer by another authority": {answer(good, func(f *fixture) *cmstest.Identity { return f.root.CA(f.t, now) }), validate.TryLater},
		"an answer by the signer":        {answer(good, func(f *fixture) *cmstest.Identity { return f.seal }), validate.TryLater},
		"an answer by a mandated responder": {answer(good, func(f *fixture) *cmstest.Identity {
			return f.ca.Signer(f.t, now, cmstest.P256, func(c *x509.Certificate) {
				c.UnknownExtKeyUsage, c.ExtKeyUsage = nil, []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}
			})
		}), ""},
		"revoked":                       {answer(revoked, ca), validate.RevokedNoPOE},
		"revoked, and a list as if not": {both(answer(revoked, ca), crl()), validate.RevokedNoPOE},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.seal = f.ca.Signer(t, now, cmstest.P256, func(c *x509.Certificate) { c.CRLDistributionPoints = []string{here} })
			head := f.sign(cmstest.Document(0), "A", false)
			f.clock = f.clock.Add(time.Second)
			crls, ocsps := c.data(f)
			// The timestamp authority's own evidence is always there.
			ocsps = append(ocsps, f.ca.OCSP(t, f.tsa.Cert, f.clock, time.Time{}))
			s, err := pades.AddDSS(head, pades.DSSData{Certs: []*x509.Certificate{f.ca.Cert, f.root.Cert, f.tsa.Cert, f.seal.Cert},
				CRLs: append(crls, f.root.CRL(t, f.clock, nil)), OCSPs: ocsps})
			head = f.with(head, s, err)
			r := f.validate(head)
			if s := r.Signatures[0]; s.Sub != c.sub || r.Passed() != (c.sub == "") {
				t.Errorf("%s / %s, want %s: %s", s.Indication, s.Sub, c.sub, s.Problem)
			}
		})
	}
}

// A later revision takes the answer out that says "revoked", and puts a list in
// that does not: a document timestamp keeps the answer, and it counts.
func TestRevocationRemoved(t *testing.T) {
	f := newFixture(t)
	head := f.sign(cmstest.Document(0), "A", false)
	f.clock = f.clock.Add(time.Second)
	s, err := pades.AddDSS(head, pades.DSSData{Certs: []*x509.Certificate{f.ca.Cert, f.root.Cert, f.tsa.Cert, f.seal.Cert},
		CRLs:  [][]byte{f.root.CRL(t, f.clock, nil)},
		OCSPs: [][]byte{f.ca.OCSP(t, f.seal.Cert, f.clock, f.clock.Add(-time.Hour)), f.ca.OCSP(t, f.tsa.Cert, f.clock, time.Time{})}})
	head = f.stamp(f.with(head, s, err))
	for name, change := range map[string]func(u *cos.Update, file *cos.File){
		"another store": func(u *cos.Update, file *cos.File) {
			stream := func(b []byte) cos.Object { return u.Add(&cos.Stream{Dict: cos.Dict{}, Raw: b}) }
			var certs cos.Array
			for _, c := range []*x509.Certificate{f.ca.Cert, f.root.Cert, f.tsa.Cert, f.seal.Cert} {
				certs = append(certs, stream(c.Raw))
			}
			f.set(u, 1, "DSS", cos.Dict{"Certs": certs, "CRLs": cos.Array{stream(f.ca.CRL(t, f.clock, nil)), stream(f.root.CRL(t, f.clock, nil))}})
		},
		"no store": func(u *cos.Update, file *cos.File) { f.set(u, 1, "DSS", nil) },
	} {
		r := f.validate(f.update(head, change))
		s := r.Signatures[0]
		if s.Sub != validate.RevokedNoPOE {
			t.Errorf("%s: %s / %s: %s", name, s.Indication, s.Sub, s.Problem)
		}
		if !strings.Contains(r.Text(), "revocation data was removed") {
			t.Errorf("%s: nobody is told:\n%s", name, r.Text())
		}
	}
}

// A store only grows: one that a later revision takes away fails the file, even
// where nothing was revoked and the evidence counts all the same.
func TestStoreRemoved(t *testing.T) {
	f := newFixture(t)
	head := f.sign(cmstest.Document(0), "A", false)
	f.clock = f.clock.Add(time.Second)
	head = f.stamp(f.dss(head, nil))
	if r := f.validate(head); r.Signatures[0].Indication != validate.Passed {
		t.Fatalf("before: %s", r.Text())
	}
	r := f.validate(f.update(head, func(u *cos.Update, file *cos.File) { f.set(u, 1, "DSS", nil) }))
	if r.Passed() {
		t.Errorf("passed:\n%s", r.Text())
	}
	if s := r.Signatures[1]; s.Indication != validate.Indeterminate || s.Sub != validate.SigConstraintsFailure { // the one that covers the store
		t.Errorf("%s: %s / %s: %s", s.Field, s.Indication, s.Sub, s.Problem)
	}
}
