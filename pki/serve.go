package pki

import (
	"fmt"
	"net/http"
	"time"
)

// Handler publishes what the certificates point at, below /pki/: root.crl and
// issuing.crl (kept, and made anew every hour and after a revocation), root.cer
// and issuing.cer, all in DER, and the OCSP responder. It needs no login.
func (a *Authority) Handler() http.Handler {
	mux := http.NewServeMux()
	for _, i := range []struct {
		name string
		id   *Identity
	}{{rootName, &a.root}, {issuingName, &a.issuing}} {
		mux.HandleFunc("GET /pki/"+i.name+".cer", func(w http.ResponseWriter, r *http.Request) {
			publish(w, "application/pkix-cert", 24*time.Hour, i.id.Leaf().Raw)
		})
		mux.HandleFunc("GET /pki/"+i.name+".crl", func(w http.ResponseWriter, r *http.Request) {
			c, err := a.crl(r.Context(), i.id, CRLDelay, func(c *crl) bool { return a.now().Sub(c.this) < crlRefresh })
			if err != nil {
				http.Error(w, "the revocation list cannot be made", http.StatusServiceUnavailable)
				return
			}
			w.Header().Set("Last-Modified", c.this.Format(http.TimeFormat))
			publish(w, "application/pkix-crl", crlRefresh/2, c.der) // RFC 5280, 4.2.1.13
		})
	}
	ocsp := &responder{a: a}
	mux.Handle(ocspPath, ocsp)
	mux.Handle(ocspPath+"/", ocsp)
	return mux
}

func publish(w http.ResponseWriter, kind string, fresh time.Duration, der []byte) {
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Cache-Control", fmt.Sprintf("public, max-age=%d", int(fresh.Seconds())))
	w.Write(der)
}

// ocspPath is where the OCSP responder listens, below the base of the web pages.
const ocspPath = "/pki/ocsp"
