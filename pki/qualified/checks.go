package qualified

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	"milterd/signature/cms"
	"milterd/validate"
)

const (
	minRSA  = 2048
	goodRSA = 3072 // the usual length above the 3,000 bits that ETSI TS 119 312 recommends
	// recent is how old an OCSP answer without nextUpdate may be: it is one made
	// for the question (RFC 6960, 4.2.2.1).
	recent = 10 * time.Minute
)

// checkAlgorithm wants a key and a signature of today (ETSI TS 119 312).
func checkAlgorithm(c *x509.Certificate) (Outcome, string, *Refusal) {
	if r := checkHash(c); r != nil {
		return "", "", r
	}
	switch key := c.PublicKey.(type) {
	case *rsa.PublicKey:
		n := key.N.BitLen()
		switch {
		case n < minRSA:
			return "", "", refuse(WeakAlgorithm, fmt.Errorf("RSA of %d bits, want %d", n, minRSA))
		case n < goodRSA:
			return Noted, fmt.Sprintf("RSA of %d bits; %d are recommended.", n, goodRSA), nil
		}
		return Passed, fmt.Sprintf("RSA of %d bits.", n), nil
	case *ecdsa.PublicKey:
		if !slices.Contains([]elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()}, key.Curve) {
			return "", "", refuse(WeakAlgorithm, fmt.Errorf("curve %s", key.Curve.Params().Name))
		}
		return Passed, "ECDSA with " + key.Curve.Params().Name + ".", nil
	}
	return "", "", refuse(WeakAlgorithm, fmt.Errorf("a key of type %T", c.PublicKey))
}

// checkHash refuses certificates under hashes that can be forged. Go does not verify those
// either, but would say that the chain is broken.
func checkHash(c *x509.Certificate) *Refusal {
	switch c.SignatureAlgorithm {
	case x509.MD2WithRSA, x509.MD5WithRSA, x509.SHA1WithRSA, x509.DSAWithSHA1, x509.ECDSAWithSHA1:
		return refuse(DowngradedHash, fmt.Errorf("%q is signed with %v", c.Subject, c.SignatureAlgorithm))
	case x509.UnknownSignatureAlgorithm, x509.DSAWithSHA256:
		return refuse(WeakAlgorithm, fmt.Errorf("%q is signed with %v", c.Subject, c.SignatureAlgorithm))
	}
	return nil
}

// checkKeyUsage wants contentCommitment (EN 319 412-2, clause 4.3.2: types A, B and
// others for commitment to content). A seal may have digitalSignature instead.
func checkKeyUsage(c *x509.Certificate, p Purpose) (Outcome, string, *Refusal) {
	commits := c.KeyUsage&x509.KeyUsageContentCommitment != 0
	signs := c.KeyUsage&x509.KeyUsageDigitalSignature != 0
	login := slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageClientAuth)
	switch {
	case c.IsCA || c.KeyUsage&(x509.KeyUsageCertSign|x509.KeyUsageCRLSign) != 0:
		return "", "", refuse(WrongKeyUsage, fmt.Errorf("it is an authority's"))
	case !commits && login:
		return "", "", refuse(AuthenticationOnly, nil)
	case !commits && signs && p == ForSeal:
		return Noted, "digitalSignature without contentCommitment.", nil
	case !commits:
		return "", "", refuse(WrongKeyUsage, fmt.Errorf("no contentCommitment"))
	case login || signs:
		return Noted, "contentCommitment, with other usages beside it.", nil
	}
	return Passed, "contentCommitment.", nil
}

// checkValidity is EN 319 102-1, clause 5.2.6, for the leaf's own lifetime.
func checkValidity(c *x509.Certificate, at time.Time) (Outcome, string, *Refusal) {
	switch {
	case at.Before(c.NotBefore):
		return "", "", refuse(NotYetValid, fmt.Errorf("valid from %s", c.NotBefore.Format(time.RFC3339)))
	case at.After(c.NotAfter):
		return "", "", refuse(Expired, fmt.Errorf("valid until %s", c.NotAfter.Format(time.RFC3339)))
	}
	return Passed, fmt.Sprintf("Valid from %s until %s.", c.NotBefore.Format(time.DateOnly), c.NotAfter.Format(time.DateOnly)), nil
}

// checkChain is RFC 5280, clause 6.1, from the leaf to the service's certificate,
// which is trusted by its list and not by its own signature.
func checkChain(leaf, anchor *x509.Certificate, issuers []*x509.Certificate, at time.Time) ([]*x509.Certificate, *Refusal) {
	pool := x509.NewCertPool()
	pool.AddCert(anchor)
	path, err := cms.Chain(leaf, issuers, pool, at)
	if err != nil {
		return nil, refuse(BrokenChain, err)
	}
	for _, c := range path[1 : len(path)-1] {
		if _, _, r := checkAlgorithm(c); r != nil {
			return nil, r
		}
	}
	return path, nil
}

// checkRevocation wants every certificate below the service's own to be good at
// the time (RFC 5280, clause 6.3; RFC 6960; EN 319 102-1, clause 5.2.5).
func checkRevocation(path []*x509.Certificate, crls, ocsps [][]byte, at time.Time) (Outcome, string, *Refusal) {
	outcome, detail := Passed, "Not revoked."
	for i, c := range path[:len(path)-1] {
		r := validate.RevocationOf(c, path[i+1], crls, ocsps)
		switch {
		case r.Revoked && (i > 0 || !r.Since.After(at)):
			return "", "", refuse(Revoked, fmt.Errorf("%q was revoked on %s: %s", c.Subject, r.Since.UTC().Format(time.RFC3339), r.Reason))
		case r.Revoked:
			outcome, detail = Noted, fmt.Sprintf("Not revoked then; it was on %s: %s.", r.Since.UTC().Format(time.RFC3339), r.Reason)
		case r.Never:
			outcome, detail = Noted, "The issuer says that there is no revocation data for this certificate."
		case !r.Good:
			return "", "", refuse(RevocationUnknown, fmt.Errorf("nothing speaks for %q", c.Subject))
		case r.Issued.Before(at.Add(-recent)) && (r.Next.IsZero() || r.Next.Before(at)):
			return "", "", refuse(RevocationUnknown, fmt.Errorf("what speaks for %q is of %s", c.Subject, r.Issued.UTC().Format(time.RFC3339)))
		case i == 0 && detail == "Not revoked.":
			detail = fmt.Sprintf("Not revoked, as of %s.", r.Issued.UTC().Format(time.RFC3339))
		}
	}
	return outcome, detail, nil
}
