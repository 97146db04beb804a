package validate_test

import (
	"bytes"
	"crypto"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"math/big"
	"slices"
	"strings"
	"testing"

	tag "golang.org/x/crypto/cryptobyte/asn1"

	"milterd/signature/cms/cmstest"
	"milterd/signature/pades"
	"milterd/validate"
)

// embed puts a message into the sample that make forms from the digest of what
// ByteRange covers.
func (f *fixture) embed(make func(digest []byte) []byte) []byte {
	f.t.Helper()
	doc := cmstest.Document(0)
	prep, err := pades.Prepare(doc, pades.Params{Certificate: f.seal.Cert, Chain: []*x509.Certificate{f.ca.Cert}, Field: "A", Time: f.clock, TokenSize: tokenSize})
	if err != nil {
		f.t.Fatal(err)
	}
	end := prep.Offset + 2*prep.Room
	digest := sha256.Sum256(slices.Concat(doc, prep.Suffix[:prep.Offset-1], prep.Suffix[end+1:]))
	hexed := []byte(hex.EncodeToString(make(digest[:])))
	if len(hexed) > end-prep.Offset {
		f.t.Fatal("the message does not fit")
	}
	out := slices.Concat(doc, prep.Suffix)
	copy(out[len(doc)+prep.Offset:], hexed)
	return out
}

// known are the options with revocation data for everybody, so that nothing but
// the attack keeps a signature from passing.
func (f *fixture) known() validate.Options {
	o := f.options()
	o.Certs = []*x509.Certificate{f.ca.Cert}
	o.CRLs = [][]byte{f.root.CRL(f.t, o.Now, nil), f.ca.CRL(f.t, o.Now, nil)}
	return o
}

// Attacks on the CMS message: what it is made of, what is signed of it, and by whom.
func TestMessageAttacks(t *testing.T) {
	const passed, open, failed = validate.Passed, validate.Indeterminate, validate.Failed
	algorithm := func(oid asn1.ObjectIdentifier, params ...any) []byte {
		return cmstest.DER(tag.SEQUENCE, append([]any{oid}, params...)...)
	}
	context := func(n uint8) tag.Tag { return tag.Tag(n).ContextSpecific().Constructed() }
	pss := algorithm(cmstest.RSAPSS, cmstest.DER(tag.SEQUENCE,
		cmstest.DER(context(0), algorithm(cmstest.SHA256)), cmstest.DER(context(1), algorithm(cmstest.MGF1, algorithm(cmstest.SHA256))), cmstest.DER(context(2), 32)))
	attribute := func(oid asn1.ObjectIdentifier, values ...[]byte) func(*cmstest.Message) {
		return func(m *cmstest.Message) {
			for i, a := range m.Attributes {
				if bytes.Contains(a[:16], cmstest.DER(tag.SEQUENCE, oid)[2:]) {
					m.Attributes[i] = cmstest.Attribute(oid, values...)
				}
			}
		}
	}
	without := func(n int) func(*cmstest.Message) {
		return func(m *cmstest.Message) { m.Attributes = slices.Delete(slices.Clone(m.Attributes), n, n+1) }
	}
	order := elliptic.P256().Params().N
	ecdsa := func(change func(r, s *big.Int) (*big.Int, *big.Int)) func(*cmstest.Message) {
		return func(m *cmstest.Message) {
			m.Change = func(value []byte) []byte {
				var v struct{ R, S *big.Int }
				if _, err := asn1.Unmarshal(value, &v); err != nil {
					t.Fatal(err)
				}
				v.R, v.S = change(v.R, v.S)
				out, err := asn1.Marshal(v)
				if err != nil {
					t.Fatal(err)
				}
				return out
			}
		}
	}
	other := [32]byte{1}
	for name, c := range map[string]struct {
		kind   cmstest.Kind
		change func(*cmstest.Message)
		want   validate.Indication
		sub    validate.Sub
	}{
		"sound":      {"", func(*cmstest.Message) {}, passed, ""},
		"sound, RSA": {cmstest.RSA, func(*cmstest.Message) {}, passed, ""},
		"sound, PSS": {cmstest.RSA, func(m *cmstest.Message) {
			m.Algorithm, m.Options = pss, &rsa.PSSOptions{SaltLength: 32, Hash: crypto.SHA256}
		}, passed, ""},

		// Algorithms.
		"digest SHA-1": {"", func(m *cmstest.Message) {
			m.Hash, m.Digest, m.Algorithm = crypto.SHA1, algorithm(cmstest.SHA1), algorithm(cmstest.ECDSASHA1)
		}, open, validate.CryptoConstraints},
		"digest MD5":                      {"", func(m *cmstest.Message) { m.Digest = algorithm(cmstest.MD5) }, open, validate.CryptoConstraints},
		"digest SHA-512, signed SHA-256":  {"", func(m *cmstest.Message) { m.Digest = algorithm(cmstest.SHA512) }, open, validate.CryptoConstraints},
		"signature SHA-1, digest SHA-256": {"", func(m *cmstest.Message) { m.Algorithm = algorithm(cmstest.ECDSASHA1) }, open, validate.CryptoConstraints},
		"signature of an unknown kind":    {"", func(m *cmstest.Message) { m.Algorithm = algorithm(cmstest.MD5) }, open, validate.CryptoConstraints},
		"ECDSA named, RSA key":            {cmstest.RSA, func(m *cmstest.Message) { m.Algorithm = algorithm(cmstest.ECDSASHA256) }, open, validate.CryptoConstraints},
		"PSS named, PKCS #1 signed":       {cmstest.RSA, func(m *cmstest.Message) { m.Algorithm = pss }, failed, validate.SigCryptoFailure},
		"PKCS #1 named, PSS signed": {cmstest.RSA, func(m *cmstest.Message) {
			m.Options = &rsa.PSSOptions{SaltLength: 32, Hash: crypto.SHA256}
		}, failed, validate.SigCryptoFailure},
		"PSS without parameters (SHA-1)": {cmstest.RSA, func(m *cmstest.Message) {
			m.Algorithm = algorithm(cmstest.RSAPSS, cmstest.DER(tag.SEQUENCE))
		}, open, validate.CryptoConstraints},
		"PSS by SHA-256, digest SHA-512": {cmstest.RSA, func(m *cmstest.Message) {
			m.Algorithm, m.Options, m.Digest = pss, &rsa.PSSOptions{SaltLength: 32, Hash: crypto.SHA256}, algorithm(cmstest.SHA512)
		}, open, validate.CryptoConstraints},
		"PSS with another hash for the mask": {cmstest.RSA, func(m *cmstest.Message) {
			m.Algorithm = bytes.Replace(pss, cmstest.DER(context(1), algorithm(cmstest.MGF1, algorithm(cmstest.SHA256))), cmstest.DER(context(1), algorithm(cmstest.MGF1, algorithm(cmstest.SHA512))), 1)
		}, open, validate.CryptoConstraints},

		// Signed attributes.
		"no signed attributes":           {"", func(m *cmstest.Message) { m.Attributes = nil; m.Signed = []byte("x") }, failed, validate.FormatFailure},
		"empty signed attributes":        {"", func(m *cmstest.Message) { m.Attributes = [][]byte{} }, failed, validate.FormatFailure},
		"no contentType":                 {"", without(0), failed, validate.FormatFailure},
		"no messageDigest":               {"", without(1), failed, validate.FormatFailure},
		"no signing certificate":         {"", without(2), failed, validate.FormatFailure},
		"another contentType":            {"", attribute(cmstest.ContentType, cmstest.DER(tag.SEQUENCE, cmstest.SHA256)[2:]), failed, validate.FormatFailure},
		"another messageDigest":          {"", attribute(cmstest.MessageDigest, cmstest.Octets(other[:])), failed, validate.HashFailure},
		"messageDigest with two values":  {"", func(m *cmstest.Message) { twoDigests(m, false) }, failed, validate.FormatFailure},
		"messageDigest twice":            {"", func(m *cmstest.Message) { twoDigests(m, true) }, failed, validate.FormatFailure},
		"messageDigest without a value":  {"", attribute(cmstest.MessageDigest), failed, validate.FormatFailure},
		"an attribute, the same, twice":  {"", func(m *cmstest.Message) { m.Attributes = append(m.Attributes, m.Attributes[0]) }, failed, validate.FormatFailure},
		"unsorted, and signed like this": {"", func(m *cmstest.Message) { slices.Reverse(m.Attributes); m.Unsorted = true }, failed, validate.FormatFailure},
		"attributes as [0], not as SET":  {"", func(m *cmstest.Message) { m.Signed = retag(m, 0xa0) }, failed, validate.SigCryptoFailure},

		// Content and attributes taken for each other.
		"attributes as attached content": {"", func(m *cmstest.Message) { m.Content = retag(m, 0x31); m.Attributes = nil }, failed, validate.FormatFailure},
		"attached content":               {"", func(m *cmstest.Message) { m.Content = []byte("something else") }, failed, validate.FormatFailure},
		"the document's digest signed":   {"", func(m *cmstest.Message) { m.Signed = other[:] }, failed, validate.SigCryptoFailure},

		// Signers and certificates.
		"two SignerInfos":       {"", func(m *cmstest.Message) { m.Signers = 2 }, failed, validate.FormatFailure},
		"no certificate":        {"", func(m *cmstest.Message) { m.Certs, m.Named = nil, cmstest.Root(t, now).Cert }, open, validate.NoSigningCertificate},
		"a foreign certificate": {"", func(m *cmstest.Message) { id := cmstest.Root(t, now); m.Certs, m.Named = id.Chain(), id.Cert }, open, validate.NoSigningCertificate},
		"s beyond the order":    {"", ecdsa(func(r, s *big.Int) (*big.Int, *big.Int) { return r, s.Add(s, order) }), failed, validate.SigCryptoFailure},
		"r and s zero":          {"", ecdsa(func(r, s *big.Int) (*big.Int, *big.Int) { return new(big.Int), new(big.Int) }), failed, validate.SigCryptoFailure},
		"r and s the order":     {"", ecdsa(func(r, s *big.Int) (*big.Int, *big.Int) { return order, order }), failed, validate.SigCryptoFailure},
		"negative s":            {"", ecdsa(func(r, s *big.Int) (*big.Int, *big.Int) { return r, s.Sub(s, order) }), failed, validate.SigCryptoFailure},
		"r and s exchanged":     {"", ecdsa(func(r, s *big.Int) (*big.Int, *big.Int) { return s, r }), failed, validate.SigCryptoFailure},
		"a value with a tail":   {"", func(m *cmstest.Message) { m.Change = func(v []byte) []byte { return append(v, 0) } }, failed, validate.SigCryptoFailure},
		"an empty value":        {"", func(m *cmstest.Message) { m.Change = func([]byte) []byte { return []byte{} } }, failed, validate.SigCryptoFailure},
		"an RSA value of zeros": {cmstest.RSA, func(m *cmstest.Message) { m.Change = func(v []byte) []byte { return make([]byte, len(v)) } }, failed, validate.SigCryptoFailure},
		"an RSA value of one": {cmstest.RSA, func(m *cmstest.Message) {
			m.Change = func(v []byte) []byte { b := make([]byte, len(v)); b[len(v)-1] = 1; return b }
		}, failed, validate.SigCryptoFailure},
		"s mirrored (the same statement in other bytes)": {"", ecdsa(func(r, s *big.Int) (*big.Int, *big.Int) { return r, s.Sub(order, s) }), passed, ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			if c.kind != "" {
				f.seal = f.ca.Signer(t, now, c.kind, nil)
			}
			pdf := f.embed(func(digest []byte) []byte {
				m := cmstest.NewMessage(f.seal, digest)
				c.change(m)
				return m.Marshal(t)
			})
			f.judge(pdf, c.want, c.sub)
		})
	}
}

// judge wants a verdict on the only signature, with all revocation data known.
func (f *fixture) judge(pdf []byte, want validate.Indication, sub validate.Sub) {
	f.t.Helper()
	r, err := validate.Validate(pdf, f.known())
	if err != nil {
		f.t.Fatal(err)
	}
	if s := r.Signatures[0]; s.Indication != want || s.Sub != sub || r.Passed() != (want == validate.Passed) {
		f.t.Errorf("%s / %s, want %s / %s: %s", s.Indication, s.Sub, want, sub, s.Problem)
	} else if want != validate.Passed && (s.Problem == "" || !strings.Contains(r.Text(), s.Problem)) {
		f.t.Error("nobody is told why")
	}
}

// twoDigests signs the right digest beside another one.
func twoDigests(m *cmstest.Message, apart bool) {
	i := slices.IndexFunc(m.Attributes, func(a []byte) bool { return bytes.Contains(a, cmstest.DER(tag.SEQUENCE, cmstest.MessageDigest)[2:]) })
	right, wrong := m.Attributes[i][len(m.Attributes[i])-34:], cmstest.Octets(make([]byte, 32))
	if apart {
		m.Attributes = append(m.Attributes, cmstest.Attribute(cmstest.MessageDigest, wrong))
		return
	}
	m.Attributes[i] = cmstest.Attribute(cmstest.MessageDigest, wrong, right)
}

// retag gives the attributes as one element with a tag.
func retag(m *cmstest.Message, t byte) []byte {
	all := slices.Clone(m.Attributes)
	slices.SortFunc(all, bytes.Compare)
	out := cmstest.DER(tag.SET, bytes.Join(all, nil))
	out[0] = t
	return out
}

// A certificate is exchanged for one with the same issuer and serial, or for one
// with the same key; the identifier of the signer names another.
func TestCertificateSubstitution(t *testing.T) {
	f := newFixture(t)
	twin := f.ca.Signer(t, now, cmstest.P256, func(c *x509.Certificate) { c.Subject.CommonName = "Somebody Else" })
	build := func(change func(m *cmstest.Message)) []byte {
		return f.embed(func(digest []byte) []byte {
			m := cmstest.NewMessage(f.seal, digest)
			change(m)
			return m.Marshal(t)
		})
	}
	sameKey := &cmstest.Identity{Cert: f.reissue(f.seal, func(c *x509.Certificate) { c.Subject.CommonName = "Somebody Else" }), Key: f.seal.Key, Issuer: f.ca}
	sameSerial := &cmstest.Identity{Cert: f.reissue(twin, func(c *x509.Certificate) { c.SerialNumber = f.seal.Cert.SerialNumber }), Key: twin.Key, Issuer: f.ca}
	for name, c := range map[string]struct {
		change func(m *cmstest.Message)
		want   validate.Indication
		sub    validate.Sub
	}{
		"the same serial, another key": {func(m *cmstest.Message) { m.Certs = []*x509.Certificate{sameSerial.Cert} }, validate.Indeterminate, validate.NoSigningCertificate},
		"the same serial, signed by it": {func(m *cmstest.Message) {
			m.Certs, m.Key = []*x509.Certificate{sameSerial.Cert}, sameSerial.Key
		}, validate.Indeterminate, validate.NoSigningCertificate},
		"the same key, another name": {func(m *cmstest.Message) {
			m.Certs, m.Named = []*x509.Certificate{sameKey.Cert}, sameKey.Cert
		}, validate.Indeterminate, validate.NoSigningCertificate},
		"named is another":    {func(m *cmstest.Message) { m.Certs, m.Named = []*x509.Certificate{twin.Cert, f.seal.Cert}, twin.Cert }, validate.Indeterminate, validate.NoSigningCertificate},
		"another comes first": {func(m *cmstest.Message) { m.Certs = []*x509.Certificate{twin.Cert, f.seal.Cert} }, validate.Passed, ""},
		"attribute of another": {func(m *cmstest.Message) {
			m.Attributes[2] = cmstest.Attribute(cmstest.SigningCertV2, cmstest.SigningCertificate(twin.Cert))
		}, validate.Indeterminate, validate.NoSigningCertificate},
		"attribute by MD5": {func(m *cmstest.Message) {
			id := cmstest.DER(tag.SEQUENCE, cmstest.DER(tag.SEQUENCE, cmstest.MD5), cmstest.Octets(make([]byte, 16)))
			m.Attributes[2] = cmstest.Attribute(cmstest.SigningCertV2, cmstest.DER(tag.SEQUENCE, cmstest.DER(tag.SEQUENCE, id)))
		}, validate.Indeterminate, validate.CryptoConstraints},
	} {
		t.Run(name, func(t *testing.T) { f.t = t; f.judge(build(c.change), c.want, c.sub) })
	}
}

// reissue gives a certificate of the same key by the same authority.
func (f *fixture) reissue(id *cmstest.Identity, change func(*x509.Certificate)) *x509.Certificate {
	f.t.Helper()
	c := *id.Cert
	c.ExtraExtensions, c.SubjectKeyId = nil, nil
	c.SerialNumber = new(big.Int).Add(c.SerialNumber, big.NewInt(1))
	c.RawSubject = nil
	change(&c)
	der, err := x509.CreateCertificate(rand.Reader, &c, f.ca.Cert, id.Key.Public(), f.ca.Key)
	if err != nil {
		f.t.Fatal(err)
	}
	out, err := x509.ParseCertificate(der)
	if err != nil {
		f.t.Fatal(err)
	}
	return out
}

// Keys that may not sign documents.
func TestWrongKeyUsage(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*x509.Certificate)
		want   validate.Indication
	}{
		"authority": {func(c *x509.Certificate) {
			c.KeyUsage, c.IsCA, c.BasicConstraintsValid = x509.KeyUsageCertSign|x509.KeyUsageCRLSign, true, true
		}, validate.Indeterminate},
		"key agreement": {func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyAgreement }, validate.Indeterminate},
		"web server": {func(c *x509.Certificate) {
			c.UnknownExtKeyUsage, c.ExtKeyUsage = nil, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		}, validate.Indeterminate},
		"OCSP responder": {func(c *x509.Certificate) {
			c.UnknownExtKeyUsage, c.ExtKeyUsage = nil, []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}
		}, validate.Indeterminate},
		"timestamp authority": {func(c *x509.Certificate) {
			c.UnknownExtKeyUsage, c.ExtKeyUsage = nil, []x509.ExtKeyUsage{x509.ExtKeyUsageTimeStamping}
		}, validate.Indeterminate},
		"mail and client": {func(c *x509.Certificate) {
			c.UnknownExtKeyUsage, c.ExtKeyUsage = nil, []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection, x509.ExtKeyUsageClientAuth}
		}, validate.Passed},
		"no word about it": {func(c *x509.Certificate) { c.UnknownExtKeyUsage, c.KeyUsage = nil, 0 }, validate.Passed},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.seal = f.ca.Signer(t, now, cmstest.P256, c.change)
			pdf := f.embed(func(digest []byte) []byte { return cmstest.NewMessage(f.seal, digest).Marshal(t) })
			sub := validate.Sub("")
			if c.want != validate.Passed {
				sub = validate.SigConstraintsFailure
			}
			f.judge(pdf, c.want, sub)
		})
	}
}

// BER that is no DER, and more than one message.
func TestMessageEncodings(t *testing.T) {
	f := newFixture(t)
	for name, change := range map[string]func(der []byte) []byte{
		"indefinite length": func(der []byte) []byte {
			return slices.Concat([]byte{0x30, 0x80}, der[4:], []byte{0, 0})
		},
		"indefinite length within": func(der []byte) []byte { // ContentInfo's [0]
			at := bytes.Index(der, []byte{0xa0, 0x82})
			n := len(der) - at - 4
			in := slices.Concat(der[4:at], []byte{0xa0, 0x80}, der[at+4:at+4+n], []byte{0, 0})
			return cmstest.DER(tag.SEQUENCE, in)
		},
		"a length longer than need be": func(der []byte) []byte { return slices.Concat([]byte{0x30, 0x83, 0}, der[2:]) },
		"a message after it":           func(der []byte) []byte { return slices.Concat(der, der[:16]) },
		"within an OCTET STRING":       func(der []byte) []byte { return cmstest.Octets(der) },
		"nothing":                      func([]byte) []byte { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			f.t = t
			pdf := f.embed(func(digest []byte) []byte { return change(cmstest.NewMessage(f.seal, digest).Marshal(t)) })
			f.judge(pdf, validate.Failed, validate.FormatFailure)
		})
	}
}
