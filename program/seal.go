package program

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"milterd/pki"
	"milterd/pki/qualified"
	"milterd/signer/csc"
)

// seal is the organisation's: its own authority's, or one that another authority has
// issued, with its key in the token or at a provider.
func (p *Program) seal() (pki.Identity, error) {
	own, k := p.Authority.Seal(), p.Config.Keys
	if k.SealCertificate == "" {
		return own, nil
	}
	chain, err := readCertificates(k.SealCertificate)
	if err != nil {
		return own, fmt.Errorf("keys.seal_certificate: %w", err)
	}
	if len(chain) < 2 {
		return own, fmt.Errorf("keys.seal_certificate: %s holds one certificate, want those above it, too", k.SealCertificate)
	}
	for i, c := range chain[:len(chain)-1] {
		if err := c.CheckSignatureFrom(chain[i+1]); err != nil {
			return own, fmt.Errorf("keys.seal_certificate: certificate %d of %s is not issued by the one that follows: %w", i+1, k.SealCertificate, err)
		}
	}
	out := pki.Identity{Key: own.Key, Chain: chain}
	if k.SealProvider != "" {
		if out.Key, err = p.remoteSeal(chain[0].PublicKey); err != nil {
			return own, err
		}
	}
	if public, ok := out.Key.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !public.Equal(chain[0].PublicKey) {
		return own, fmt.Errorf("keys.seal_certificate: %s is not the certificate of the seal's key", k.SealCertificate)
	}
	what := "the seal is a qualified one"
	if len(p.trust) == 0 {
		what = "the seal is issued by another authority; no trusted list says that it is a qualified one"
	} else if _, err := (qualified.Policy{Trust: p.trust, Purpose: qualified.ForSeal}).Path(chain[0], chain[1:], time.Now()); err != nil {
		what = "the seal is issued by another authority, and not a qualified one: " + err.Error()
	}
	p.log.Info(what, "subject", chain[0].Subject.String(), "until", chain[0].NotAfter)
	return out, nil
}

// remoteSeal is the seal's key at a provider. Nobody is asked before it signs:
// milterd starts while the provider is away, and jobs wait for it.
type remoteSeal struct {
	public     crypto.PublicKey
	client     *csc.Client
	credential string
	answers    map[string]csc.Secret
}

func (p *Program) remoteSeal(public crypto.PublicKey) (*remoteSeal, error) {
	k := p.Config.Keys
	s := &remoteSeal{public: public, credential: k.SealCredential, answers: map[string]csc.Secret{}}
	for _, c := range p.remote.Clients {
		if c.Name() == k.SealProvider {
			s.client = c
		}
	}
	if s.client == nil {
		return nil, fmt.Errorf("keys.seal_provider: %q is no [[qualified.provider]]", k.SealProvider)
	}
	if k.SealPINFile != "" {
		pin, err := os.ReadFile(k.SealPINFile)
		if err != nil {
			return nil, fmt.Errorf("keys.seal_pin_file: %w", err)
		}
		s.answers["PIN"] = csc.Secret(strings.TrimRight(string(pin), "\r\n"))
	}
	return s, nil
}

// Public implements crypto.Signer.
func (s *remoteSeal) Public() crypto.PublicKey { return s.public }

// Sign implements crypto.Signer. The key must still be that of the certificate.
func (s *remoteSeal) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	key, err := s.client.Key(ctx, s.credential, s.answers)
	if err != nil {
		return nil, fmt.Errorf("the seal's key: %w", err)
	}
	if public, ok := s.public.(interface{ Equal(crypto.PublicKey) bool }); !ok || !public.Equal(key.Public()) {
		return nil, errors.New("the seal's key: the provider has another one than that of keys.seal_certificate")
	}
	return key.Sign(rand, digest, opts)
}
