package csc

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"os"
	"testing"
	"time"

	"milterd/signature/pades"
	"milterd/signer/csc/csctest"
)

// The organisation's seal at a provider signs as any crypto.Signer does: Go makes a
// request for a certificate with it, package pades a PDF.
func TestKey(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	head, err := os.ReadFile("../../testdata/pdf/contract.pdf")
	if err != nil {
		t.Fatal(err)
	}
	for name, cred := range map[string]csctest.Credential{
		"RSA, PIN":   {Key: rsa2048(), PIN: true, Qualifier: "eu_eidas_qeseal"},
		"PSS":        {Key: rsa3072(), PSS: true},
		"P-384":      {Type: csctest.P384, Exact: true},
		"P-256, PIN": {Type: csctest.P256, PIN: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cred.ID = "seal"
			s := start(t, func(c *csctest.Config, _ *Provider) { c.RawECDSA = true }, cred)
			answers := map[string]Secret{}
			if cred.PIN {
				answers["PIN"] = pin
			}
			k, err := s.Key(ctx, "seal", answers)
			if err != nil {
				t.Fatal(err)
			}
			var signer crypto.Signer = k
			sig := x509.UnknownSignatureAlgorithm
			if cred.PSS {
				sig = x509.SHA256WithRSAPSS
			}
			der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "seal"}, SignatureAlgorithm: sig}, signer)
			if err != nil {
				t.Fatal(err)
			}
			req, err := x509.ParseCertificateRequest(der)
			if err != nil {
				t.Fatal(err)
			}
			if err := req.CheckSignature(); err != nil {
				t.Error(err)
			}
			out, err := pades.Sign(ctx, head, pades.Params{Certificate: k.Chain()[0], Chain: k.Chain()[1:], Algorithm: k.cred.Algorithms[0], Time: time.Now()}, k, nil)
			if err != nil || !bytes.Contains(out, []byte("ETSI.CAdES.detached")) {
				t.Error(err)
			}
			s.refusedNothing(t)
		})
	}
}

// What an unattended key cannot be.
func TestNoKey(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := start(t, nil,
		csctest.Credential{ID: "page", Type: csctest.P256, OAuth2: true},
		csctest.Credential{ID: "sms", Type: csctest.P256, OTP: true},
		csctest.Credential{ID: "phone", Type: csctest.P256, App: true},
		csctest.Credential{ID: "once", OneShot: true},
		csctest.Credential{ID: "off", Type: csctest.P256, Disabled: true},
		csctest.Credential{ID: "pin", Type: csctest.P256, PIN: true},
		csctest.Credential{ID: "rsa", Key: rsa2048(), PIN: true})
	for id, answers := range map[string]map[string]Secret{
		"page": nil, "sms": {"OTP": "123456"}, "phone": nil, "once": nil, "off": nil, "pin": nil,
	} {
		_, err := s.Key(ctx, id, answers)
		if err == nil {
			t.Errorf("%s: a key", id)
			continue
		}
		if e := wants(t, err, Unusable); e.Temporary() {
			t.Errorf("%s: %v", id, err)
		}
	}
	k, err := s.Key(ctx, "rsa", map[string]Secret{"PIN": pin})
	if err != nil {
		t.Fatal(err)
	}
	before := len(s.Requests())
	digest := make([]byte, 32)
	for _, opts := range []crypto.SignerOpts{crypto.SHA1, crypto.MD5, &rsa.PSSOptions{SaltLength: 20, Hash: crypto.SHA256}, &rsa.PSSOptions{SaltLength: 32, Hash: crypto.SHA256}} {
		if _, err := k.Sign(nil, digest, opts); err == nil {
			t.Errorf("%v: signed", opts)
		}
	}
	if _, err := k.Sign(nil, digest[:20], crypto.SHA256); err == nil {
		t.Error("a short digest: signed")
	}
	if len(s.Requests()) != before {
		t.Error("the provider was asked")
	}
	// Its PIN was changed there: one try each, so that it is not locked out by us.
	wrong, err := s.Key(ctx, "pin", map[string]Secret{"PIN": "999999"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = wrong.Sign(nil, digest, crypto.SHA256)
	wants(t, err, InvalidFactor)
	if n := s.calls("credentials/authorize"); n != 1 {
		t.Errorf("%d tries", n)
	}
	if _, is := k.Public().(*rsa.PublicKey); !is {
		t.Errorf("%T", k.Public())
	}
	if _, is := wrong.Public().(*ecdsa.PublicKey); !is {
		t.Errorf("%T", wrong.Public())
	}
}
