package qualifiedtest

import (
	"io"
	"net/http"

	"crypto/x509"

	"golang.org/x/crypto/ocsp"
)

// ServeHTTP answers as the provider's address does: OCSP, the CRL, and the issuing
// authority's certificate. Put it below Provider.URL.
func (p *Provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var raw []byte
	var err error
	switch r.URL.Path {
	case "/ca":
		raw = p.CA.Raw
	case "/crl":
		raw, err = p.CRL()
	case "/ocsp":
		body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<16))
		req, bad := ocsp.ParseRequest(body)
		if bad != nil {
			http.Error(w, bad.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/ocsp-response")
		raw, err = p.OCSP(&x509.Certificate{SerialNumber: req.SerialNumber})
	default:
		http.NotFound(w, r)
		return
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Write(raw)
}
