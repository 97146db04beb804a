package validate

import (
	"crypto/x509"
	"time"
)

// Revocation is what revocation data says of a certificate.
type Revocation struct {
	Good    bool      // somebody who may says that it is not revoked
	Revoked bool      // somebody who may says that it is; both can be, at different times
	Never   bool      // the issuer says that there is no data (RFC 9608; EN 319 412-1, clause 5.2)
	Issued  time.Time // of the newest good answer
	Next    time.Time // its nextUpdate; zero for none
	Since   time.Time // of the revocation
	Reason  string    // of it, in words
}

// RevocationOf asks lists and answers, in DER, about a certificate. Those that cannot be
// read, that speak of another one, or that neither the issuer nor its
// responder signed, count for nothing. How fresh they must be, the caller knows.
func RevocationOf(cert, issuer *x509.Certificate, crls, ocsps [][]byte) Revocation {
	e := &evidence{ocsps: ocsps}
	for _, der := range crls {
		e.addCRL(der)
	}
	st := e.status(cert, issuer)
	r := Revocation{Good: st.good, Revoked: st.revoked, Issued: st.issued, Next: st.next, Since: st.since}
	if st.revoked {
		r.Reason = reason(st.reason)
	}
	// A responder's exemption (RFC 6960, 4.2.2.2.1) is nothing for who signs documents.
	r.Never = declares(cert, oidNoRevAvail) || declares(cert, oidShortTerm)
	return r
}
