package pki

import (
	"context"
	"crypto"
	"crypto/x509"
	"fmt"

	"github.com/digitorus/timestamp"

	"milterd/signature/cms"
)

// Timestamper gives RFC 3161 tokens over SHA-256 digests. OwnClock and Remote
// are the two kinds; one never stands in for the other.
type Timestamper interface {
	// Timestamp gives a verified token (DER, a CMS ContentInfo).
	Timestamp(ctx context.Context, digest []byte) ([]byte, error)
	// Probe says whether Timestamp would work now; an error names who is away.
	Probe(ctx context.Context) error
	// Clock says for people whose time the tokens tell.
	Clock() string
}

// maxToken bounds the answer of a timestamp authority. Real ones have 2 to 8 KB,
// and room for one is reserved in every signature.
const maxToken = 64 << 10

// parseResponse reads a TimeStampResp (RFC 3161, 2.4.2): granted, with a token
// over this SHA-256 digest that its signer was allowed to sign and has signed.
func parseResponse(der, digest []byte) (*cms.Token, *x509.Certificate, error) {
	resp, err := timestamp.ParseResponse(der)
	if err != nil {
		return nil, nil, err
	}
	t, err := cms.ParseToken(resp.RawToken)
	if err != nil {
		return nil, nil, err
	}
	if err := t.CheckImprint(crypto.SHA256, digest); err != nil {
		return nil, nil, err
	}
	signer, err := t.CheckSigner()
	if err != nil {
		return nil, nil, err
	}
	return t, signer, nil
}

// trust builds the signer's chain to one of the roots at the token's own time.
func trust(t *cms.Token, signer *x509.Certificate, roots *x509.CertPool) error {
	between := x509.NewCertPool()
	for _, c := range t.Certificates {
		between.AddCert(c)
	}
	_, err := signer.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, CurrentTime: t.Time,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageTimeStamping},
	})
	if err != nil {
		return fmt.Errorf("its certificate %q: %w", signer.Subject.CommonName, err)
	}
	return nil
}
