package pades_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"slices"
	"testing"

	"milterd/signature/cms"
	"milterd/signature/cms/cmstest"
	"milterd/signature/pades"
)

// The certificate comes with the signature: what a provider gives is taken only when
// it is exactly what was asked for.
func TestTake(t *testing.T) {
	ctx := context.Background()
	f := newFixture(t, cmstest.P256)
	head := cmstest.Document(0)
	params := f.params("A")
	params.Certificate, params.Chain, params.Algorithm, params.Reserve = nil, nil, cms.ES256, 6000
	prep, err := pades.Prepare(head, params)
	if err != nil {
		t.Fatal(err)
	}
	kept, err := prep.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	again := func() *pades.Preparation {
		p := &pades.Preparation{}
		if err := p.UnmarshalBinary(kept); err != nil {
			t.Fatal(err)
		}
		p.Suffix = prep.Suffix
		return p
	}
	message := func(change func(*cmstest.Message)) []byte {
		m := cmstest.NewMessage(f.seal, prep.Digest)
		m.Certs = []*x509.Certificate{f.seal.Cert, f.ca.Cert}
		if change != nil {
			change(m)
		}
		return m.Marshal(t)
	}
	more := func(a ...byte) func(*cmstest.Message) {
		return func(m *cmstest.Message) { m.Attributes = append(m.Attributes, a) }
	}
	protection := func(hash, signature []byte) func(*cmstest.Message) {
		signature = append([]byte{0xa1}, signature[1:]...)
		return more(cmstest.Attribute([]int{1, 2, 840, 113549, 1, 9, 52}, cmstest.DER(0x30, hash, signature))...)
	}
	sha256, ecdsa := cmstest.DER(0x30, cmstest.SHA256), cmstest.DER(0x30, cmstest.ECDSASHA256)
	for name, der := range map[string][]byte{
		"as asked for":               message(nil),
		"algorithms named once more": message(protection(sha256, ecdsa)),
	} {
		p := again()
		m, chain, err := p.Take(der, f.tokenSize)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if len(chain) != 2 || !bytes.Equal(chain[0], f.seal.Cert.Raw) || !bytes.Equal(p.Attributes, m.Attributes) || !p.Covers(head) {
			t.Errorf("%s: %d certificates", name, len(chain))
		}
		if _, _, err := p.Take(der, 0); err == nil {
			t.Errorf("%s: taken twice", name)
		}
		judge(t, f, slices.Concat(head, must(t)(p.FinishCMS(ctx, der, f.tsa))), 1, 0)
		if _, err := p.FinishCMS(ctx, message(func(m *cmstest.Message) {
			m.Attributes[1] = cmstest.Attribute(cmstest.MessageDigest, cmstest.Octets(make([]byte, 32)))
		}), f.tsa); err == nil {
			t.Errorf("%s: finished with another one", name)
		}
	}
	stamped := func() []byte {
		m, err := cms.Parse(message(nil))
		if err != nil {
			t.Fatal(err)
		}
		der, err := m.Stamped(ctx, f.tsa, f.seal.Cert)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	when := cmstest.Attribute([]int{1, 2, 840, 113549, 1, 9, 5}, cmstest.DER(0x17, []byte(now.Format("060102150405Z"))))
	other := f.ca.Signer(t, now, cmstest.P256, nil)
	for name, c := range map[string]struct {
		der  []byte
		want error
	}{
		"nothing":        {nil, cms.ErrFormat},
		"garbage":        {[]byte("a signature, believe me"), cms.ErrFormat},
		"other bytes":    {message(func(m *cmstest.Message) { m.Attributes = cmstest.NewMessage(f.seal, make([]byte, 32)).Attributes }), cms.ErrDigest},
		"two signers":    {message(func(m *cmstest.Message) { m.Signers = 2 }), cms.ErrFormat},
		"content inside": {message(func(m *cmstest.Message) { m.Content = []byte("something else") }), cms.ErrFormat},
		"another key":    {message(func(m *cmstest.Message) { m.Key = other.Key }), cms.ErrSignature},
		"attributes name another": {message(func(m *cmstest.Message) {
			m.Attributes[2] = cmstest.Attribute(cmstest.SigningCertV2, cmstest.SigningCertificate(other.Cert))
		}), cms.ErrCertificate},
		"no certificate in it":      {message(func(m *cmstest.Message) { m.Certs = []*x509.Certificate{f.ca.Cert} }), cms.ErrCertificate},
		"no signingCertificateV2":   {message(func(m *cmstest.Message) { m.Attributes = m.Attributes[:2] }), cms.ErrFormat},
		"no attributes":             {message(func(m *cmstest.Message) { m.Attributes = nil }), cms.ErrFormat},
		"a claimed time":            {message(more(when...)), cms.ErrFormat},
		"an unknown signed claim":   {message(more(cmstest.Attribute([]int{1, 2, 3, 4}, cmstest.Octets(nil))...)), cms.ErrFormat},
		"a time of its own":         {stamped(), cms.ErrFormat},
		"other algorithms, it says": {message(protection(sha256, cmstest.DER(0x30, cmstest.RSASHA256))), cms.ErrAlgorithm},
		"another hash, it says":     {message(protection(cmstest.DER(0x30, cmstest.SHA512), ecdsa)), cms.ErrAlgorithm},
		"one byte too many":         {append(message(nil), 0), cms.ErrFormat},
		"too large for its place": {message(func(m *cmstest.Message) {
			m.Certs = append(m.Certs, slices.Repeat([]*x509.Certificate{other.Cert}, 30)...)
		}), pades.ErrTooLarge},
		"too large for time as well": {append(message(nil), make([]byte, prep.Room-f.tokenSize-len(message(nil))+8)...), pades.ErrTooLarge},
	} {
		p := again()
		if m, chain, err := p.Take(c.der, f.tokenSize); !errors.Is(err, c.want) || m != nil || chain != nil || len(p.Certificates) > 0 || p.Attributes != nil {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	for name, change := range map[string]func(*pades.Params){
		"no algorithm": func(p *pades.Params) { p.Algorithm = "" },
		"no room":      func(p *pades.Params) { p.Reserve = 0 },
		"without end":  func(p *pades.Params) { p.Reserve = 2 << 20 },
	} {
		q := params
		change(&q)
		if _, err := pades.Prepare(head, q); err == nil {
			t.Errorf("%s: prepared", name)
		}
	}
	if _, err := prep.Finish(ctx, []byte("value"), nil); err == nil {
		t.Error("finished by a value, without a certificate")
	}
	p := f.params("A")
	if prep, err = pades.Prepare(head, p); err != nil {
		t.Fatal(err)
	}
	if _, _, err := prep.Take(message(nil), 0); err == nil {
		t.Error("another certificate than the one prepared for")
	}
}
