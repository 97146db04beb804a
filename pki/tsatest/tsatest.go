// Package tsatest is an external timestamp authority for tests and for conformance:
// an HTTP server on loopback whose answers come from OpenSSL (`openssl ts -reply`),
// below a CA of its own with CRLs and an OCSP responder. It can be told to misbehave.
package tsatest

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/digitorus/timestamp"
	"golang.org/x/crypto/ocsp"
)

// Behaviour says how the server answers.
type Behaviour string

// The behaviours. All but Honest are wrong in the way of their name.
const (
	Honest       Behaviour = ""
	WrongNonce   Behaviour = "wrong nonce"
	NoNonce      Behaviour = "no nonce"
	WrongImprint Behaviour = "wrong imprint"
	Late         Behaviour = "late" // does not answer until the client gives up
	Error500     Behaviour = "500"
	Error404     Behaviour = "404"
	Huge         Behaviour = "huge"
	Garbage      Behaviour = "garbage"
	Page         Behaviour = "page" // HTML with status 200, as captive portals do
	Moved        Behaviour = "moved"
	Rejecting    Behaviour = "rejecting"
	Replay       Behaviour = "replay"   // its first answer, again and again
	Tampered     Behaviour = "tampered" // one bit of the signature flipped
	NoCerts      Behaviour = "no certificates"
	WrongPurpose Behaviour = "wrong purpose" // signed by a certificate that is not for timestamps
	OnceDown     Behaviour = "down once"     // 503 to the first request, then honest
)

// Policy is the one that OpenSSL's answers name.
var Policy = asn1.ObjectIdentifier{1, 2, 3, 4, 1}

// TB is what is needed of a testing.TB.
type TB interface {
	Helper()
	TempDir() string
	Cleanup(func())
	Error(args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Server is a running authority.
type Server struct {
	URL  string // of the timestamp service
	Root *x509.Certificate

	// NoOCSP makes the responder answer 500, so that clients take the CRL.
	NoOCSP atomic.Bool
	// Revoked makes OCSP and CRL say that the timestamp certificate is revoked.
	Revoked  atomic.Bool
	Requests atomic.Int64 // for timestamps

	t         TB
	dir       string
	behaviour atomic.Value
	caKey     crypto.Signer
	rootKey   crypto.Signer
	ca, tsa   *x509.Certificate
	mu        sync.Mutex
	first     []byte
}

// New starts an authority; the test's end stops it.
func New(t TB) *Server {
	t.Helper()
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Fatalf("%v: apt-get install -y openssl", err)
	}
	s := &Server{t: t, dir: t.TempDir()}
	s.Behave(Honest)
	srv := httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(srv.Close)
	s.URL = srv.URL + "/tsa"
	s.certificates(srv.URL)
	return s
}

// Behave changes how the server answers from now on.
func (s *Server) Behave(b Behaviour) { s.behaviour.Store(b); s.Requests.Store(0) }

// Roots is a pool with the server's root alone.
func (s *Server) Roots() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(s.Root)
	return p
}

func (s *Server) certificates(base string) {
	make := func(name string, serial int64, t, by *x509.Certificate, key crypto.Signer) (*x509.Certificate, crypto.Signer) {
		own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		s.check(err)
		t.SerialNumber, t.Subject = big.NewInt(serial), pkix.Name{Organization: []string{"Foreign Trust"}, CommonName: name}
		t.NotBefore, t.NotAfter, t.BasicConstraintsValid = time.Now().Add(-time.Hour), time.Now().AddDate(1, 0, 0), true
		if by == nil {
			by, key = t, own
		}
		der, err := x509.CreateCertificate(rand.Reader, t, by, own.Public(), key)
		s.check(err)
		c, err := x509.ParseCertificate(der)
		s.check(err)
		return c, own
	}
	ca := func() *x509.Certificate {
		return &x509.Certificate{IsCA: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature}
	}
	s.Root, s.rootKey = make("Foreign Root", 1, ca(), nil, nil)
	t := ca()
	t.CRLDistributionPoints = []string{base + "/root.crl"}
	s.ca, s.caKey = make("Foreign CA", 2, t, s.Root, s.rootKey)

	eku, err := asn1.Marshal([]asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 8}})
	s.check(err)
	t = &x509.Certificate{KeyUsage: x509.KeyUsageDigitalSignature, OCSPServer: []string{base + "/ocsp"}, CRLDistributionPoints: []string{base + "/ca.crl"},
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: true, Value: eku}}}
	var key, wrongKey crypto.Signer
	s.tsa, key = make("Foreign Timestamps", 3, t, s.ca, s.caKey)
	s.file("tsa", s.tsa, key)
	wrong, wrongKey := make("Foreign Server", 4, &x509.Certificate{KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, s.ca, s.caKey)
	s.file("wrong", wrong, wrongKey)
	s.write("chain.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.ca.Raw}))
	s.write("ts.cnf", []byte(`[tsa]
default_tsa = t
[t]
serial = `+filepath.Join(s.dir, "serial")+`
default_policy = 1.2.3.4.1
other_policies = 1.2.3.4.5
digests = sha256
signer_digest = sha256
accuracy = secs:1
ess_cert_id_chain = no
ess_cert_id_alg = sha256
`))
}

func (s *Server) file(name string, c *x509.Certificate, key crypto.Signer) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	s.check(err)
	s.write(name+".key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	s.write(name+".crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
}

func (s *Server) write(name string, b []byte) {
	s.check(os.WriteFile(filepath.Join(s.dir, name), b, 0o600))
}

func (s *Server) check(err error) {
	if err != nil {
		s.t.Error(err)
		panic(err)
	}
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	switch r.URL.Path {
	case "/tsa":
		s.stamp(w, r, body)
	case "/root.crl":
		w.Write(s.crl(s.Root, s.rootKey))
	case "/ca.crl":
		w.Write(s.crl(s.ca, s.caKey))
	case "/ocsp":
		s.ocsp(w, body)
	default:
		http.NotFound(w, r)
	}
}

func (s *Server) crl(by *x509.Certificate, key crypto.Signer) []byte {
	t := &x509.RevocationList{Number: big.NewInt(time.Now().UnixNano()), ThisUpdate: time.Now(), NextUpdate: time.Now().Add(24 * time.Hour)}
	if s.Revoked.Load() {
		t.RevokedCertificateEntries = []x509.RevocationListEntry{{SerialNumber: s.tsa.SerialNumber, RevocationTime: time.Now()}}
	}
	der, err := x509.CreateRevocationList(rand.Reader, t, by, key)
	s.check(err)
	return der
}

func (s *Server) ocsp(w http.ResponseWriter, body []byte) {
	req, err := ocsp.ParseRequest(body)
	if err != nil || s.NoOCSP.Load() {
		http.Error(w, "not now", http.StatusInternalServerError)
		return
	}
	t := ocsp.Response{SerialNumber: req.SerialNumber, Status: ocsp.Good, ThisUpdate: time.Now(), NextUpdate: time.Now().Add(time.Hour)}
	if s.Revoked.Load() {
		t.Status, t.RevokedAt = ocsp.Revoked, time.Now()
	}
	der, err := ocsp.CreateResponse(s.ca, s.ca, t, s.caKey)
	s.check(err)
	w.Write(der)
}

func (s *Server) stamp(w http.ResponseWriter, r *http.Request, query []byte) {
	n := s.Requests.Add(1)
	how := s.behaviour.Load().(Behaviour)
	switch how {
	case Late:
		<-r.Context().Done()
		return
	case Error404:
		http.NotFound(w, r)
		return
	case Moved:
		http.Redirect(w, r, "/tsa", http.StatusTemporaryRedirect)
		return
	case Page:
		w.Header().Set("Content-Type", "text/html")
		io.WriteString(w, "<p>Welcome to the hotel")
		return
	}
	if how == Error500 || how == OnceDown && n == 1 {
		http.Error(w, "overload", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/timestamp-reply")
	switch how {
	case Huge:
		w.Write(bytes.Repeat([]byte{0x30}, 1<<20))
	case Garbage:
		io.WriteString(w, "0\x82\x01\x00nothing of the kind")
	case Rejecting:
		der, err := timestamp.CreateErrorResponse(timestamp.Rejection, timestamp.TimeNotAvailable)
		s.check(err)
		w.Write(der)
	default:
		w.Write(s.reply(how, query))
	}
}

// reply lets OpenSSL answer the query, which is changed first where the
// behaviour is to answer another question than was asked.
func (s *Server) reply(how Behaviour, query []byte) []byte {
	s.mu.Lock() // OpenSSL's serial file
	defer s.mu.Unlock()
	if how == Replay && s.first != nil {
		return s.first
	}
	req, err := timestamp.ParseRequest(query)
	s.check(err)
	switch how {
	case WrongNonce:
		req.Nonce = new(big.Int).Add(req.Nonce, big.NewInt(1))
	case NoNonce:
		req.Nonce = nil
	case WrongImprint:
		req.HashedMessage = bytes.Repeat([]byte{7}, len(req.HashedMessage))
	case NoCerts:
		req.Certificates = false
	}
	if how == WrongPurpose {
		// OpenSSL refuses to sign with such a certificate.
		return s.ownReply(req)
	}
	query, err = req.Marshal()
	s.check(err)
	s.write("query", query)
	path := func(name string) string { return filepath.Join(s.dir, name) }
	cmd := exec.Command("openssl", "ts", "-reply", "-config", path("ts.cnf"), "-section", "t", "-queryfile", path("query"),
		"-inkey", path("tsa.key"), "-signer", path("tsa.crt"), "-chain", path("chain.pem"), "-out", path("reply"))
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Errorf("openssl ts -reply: %v\n%s", err, out)
	}
	der, err := os.ReadFile(path("reply"))
	s.check(err)
	if how == Tampered {
		der[len(der)-1] ^= 1
	}
	if s.first == nil {
		s.first = der
	}
	return der
}

// ownReply signs with the certificate that is not for timestamps.
func (s *Server) ownReply(req *timestamp.Request) []byte {
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join(s.dir, name))
		s.check(err)
		block, _ := pem.Decode(b)
		return block.Bytes
	}
	cert, err := x509.ParseCertificate(read("wrong.crt"))
	s.check(err)
	key, err := x509.ParsePKCS8PrivateKey(read("wrong.key"))
	s.check(err)
	t := timestamp.Timestamp{HashAlgorithm: req.HashAlgorithm, HashedMessage: req.HashedMessage, Time: time.Now(), Nonce: req.Nonce, Policy: Policy,
		AddTSACertificate: true, Certificates: []*x509.Certificate{s.ca}}
	der, err := t.CreateResponseWithOpts(cert, key.(crypto.Signer), crypto.SHA256)
	s.check(err)
	return der
}
