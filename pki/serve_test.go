package pki

import (
	"crypto/x509"
	"net/http/httptest"
	"testing"
	"time"
)

func TestHandlerPublishes(t *testing.T) {
	a, _ := authority(t)
	now := time.Now()
	a.now = func() time.Time { return now }
	get := func(path string, status int, kind string) []byte {
		t.Helper()
		w := httptest.NewRecorder()
		a.Handler().ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if w.Code != status || w.Header().Get("Content-Type") != kind {
			t.Fatalf("%s: %d %s", path, w.Code, w.Header())
		}
		return w.Body.Bytes()
	}
	for name, id := range map[string]Identity{"root": a.root, "issuing": a.issuing} {
		if c, err := x509.ParseCertificate(get("/pki/"+name+".cer", 200, "application/pkix-cert")); err != nil || !c.Equal(id.Leaf()) {
			t.Errorf("%s.cer: %v", name, err)
		}
		first := get("/pki/"+name+".crl", 200, "application/pkix-crl")
		list, err := x509.ParseRevocationList(first)
		if err != nil || list.CheckSignatureFrom(id.Leaf()) != nil {
			t.Fatalf("%s.crl: %v", name, err)
		}
		if string(get("/pki/"+name+".crl", 200, "application/pkix-crl")) != string(first) {
			t.Errorf("%s.crl is made for every request", name)
		}
	}
	before := get("/pki/issuing.crl", 200, "application/pkix-crl")
	now = now.Add(crlRefresh)
	if string(get("/pki/issuing.crl", 200, "application/pkix-crl")) == string(before) {
		t.Error("issuing.crl is not made anew")
	}
	get("/pki/issuing.key", 404, "text/plain; charset=utf-8")
	w := httptest.NewRecorder()
	a.Handler().ServeHTTP(w, httptest.NewRequest("POST", "/pki/issuing.crl", nil))
	if w.Code != 405 {
		t.Errorf("POST: %d", w.Code)
	}
}
