package pki

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"milterd/workflow"
)

// Times of the responder.
const (
	// responderLife is how long a responder's key works. Nobody can revoke its
	// certificate (ocsp-nocheck), so it is short (RFC 6960, 4.2.2.2.1).
	responderLife = 7 * 24 * time.Hour
	// answerLife is how long an answer may be kept. A revocation shows after
	// that at the latest; who wants to know now sends a nonce.
	answerLife = 5 * time.Minute
)

// OCSPResponseStatus, RFC 6960, 4.2.1.
const (
	ocspMalformed    = 1
	ocspInternal     = 2
	ocspUnauthorized = 6
)

// responder answers for the issuing CA with a key of its own, which lives in
// memory only: the CA's key signs one certificate a few days long instead of
// every answer.
type responder struct {
	a *Authority

	mu   sync.Mutex
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	id   asn1.RawValue // ResponderID byKey
}

// ServeHTTP answers POST and GET (RFC 6960, A.1).
func (r *responder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	var der []byte
	var err error
	switch req.Method {
	case http.MethodPost:
		if kind, _, _ := mime.ParseMediaType(req.Header.Get("Content-Type")); kind != "application/ocsp-request" {
			http.Error(w, "want application/ocsp-request", http.StatusUnsupportedMediaType)
			return
		}
		der, err = io.ReadAll(io.LimitReader(req.Body, maxOCSPRequest+1))
	case http.MethodGet, http.MethodHead:
		der, err = fromPath(req.URL)
	default:
		w.Header().Set("Allow", "GET, HEAD, POST")
		http.Error(w, "want GET or POST", http.StatusMethodNotAllowed)
		return
	}
	if err != nil {
		r.error(w, ocspMalformed)
		return
	}
	asked, err := parseOCSPRequest(der)
	if err != nil {
		r.error(w, ocspMalformed)
		return
	}
	for i := range asked.asked {
		if !asked.asked[i].names(r.a.issuing.Leaf()) {
			r.error(w, ocspUnauthorized) // RFC 6960, 2.3: not ours to say
			return
		}
	}
	now := r.a.now().UTC().Truncate(time.Second)
	answer, err := r.answer(req.Context(), asked, now)
	if err != nil {
		r.error(w, ocspInternal)
		return
	}
	w.Header().Set("Content-Type", "application/ocsp-response")
	if req.Method == http.MethodPost || asked.nonce != nil {
		w.Header().Set("Cache-Control", "no-store")
	} else { // RFC 5019, 6.2
		w.Header().Set("Cache-Control", fmt.Sprintf("public, no-transform, must-revalidate, max-age=%d", int(answerLife.Seconds())))
		w.Header().Set("Last-Modified", now.Format(http.TimeFormat))
		w.Header().Set("Expires", now.Add(answerLife).Format(http.TimeFormat))
		w.Header().Set("ETag", fmt.Sprintf(`"%x"`, sha256.Sum256(answer)))
	}
	w.Write(answer)
}

// fromPath takes the request out of GET /pki/ocsp/BASE64.
func fromPath(u *url.URL) ([]byte, error) {
	_, text, ok := strings.Cut(u.Path, ocspPath+"/")
	if !ok || len(text) > base64.StdEncoding.EncodedLen(maxOCSPRequest) {
		return nil, errors.New("no request, or too long")
	}
	return base64.StdEncoding.DecodeString(text)
}

// error is an answer without content. It is never kept.
func (r *responder) error(w http.ResponseWriter, status asn1.Enumerated) {
	der, err := asn1.Marshal(struct{ Status asn1.Enumerated }{status})
	if err != nil {
		panic(err) // a constant
	}
	w.Header().Set("Content-Type", "application/ocsp-response")
	w.Header().Set("Cache-Control", "no-store")
	w.Write(der)
}

// The wire form of an answer (RFC 6960, 4.2.1).
type (
	wireResponse struct {
		Status asn1.Enumerated
		Bytes  wireResponseBytes `asn1:"explicit,tag:0"`
	}
	wireResponseBytes struct {
		Type     asn1.ObjectIdentifier
		Response []byte
	}
	wireBasic struct {
		Data         asn1.RawValue
		Algorithm    pkix.AlgorithmIdentifier
		Signature    asn1.BitString
		Certificates []asn1.RawValue `asn1:"explicit,tag:0"`
	}
	wireData struct {
		Responder  asn1.RawValue
		Produced   time.Time `asn1:"generalized"`
		Responses  []wireSingle
		Extensions []pkix.Extension `asn1:"explicit,tag:1,optional,omitempty"`
	}
	wireSingle struct {
		ID     asn1.RawValue
		Status asn1.RawValue
		This   time.Time `asn1:"generalized"`
		Next   time.Time `asn1:"explicit,tag:0,generalized"`
	}
	wireRevoked struct {
		At     time.Time       `asn1:"generalized"`
		Reason asn1.Enumerated `asn1:"explicit,tag:0,optional"` // left out for unspecified (RFC 5280, 5.3.1)
	}
)

var ecdsaWithSHA256 = pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}}

// answer signs what the register says now.
func (r *responder) answer(ctx context.Context, req *ocspRequest, now time.Time) ([]byte, error) {
	key, cert, id, err := r.identity(ctx, now)
	if err != nil {
		return nil, err
	}
	data := wireData{Responder: id, Produced: now}
	for _, c := range req.asked {
		status, err := r.status(ctx, &c)
		if err != nil {
			return nil, err
		}
		data.Responses = append(data.Responses, wireSingle{ID: asn1.RawValue{FullBytes: c.Raw}, Status: status, This: now, Next: now.Add(answerLife)})
	}
	if req.nonce != nil {
		data.Extensions = []pkix.Extension{*req.nonce}
	}
	tbs, err := asn1.Marshal(data)
	if err != nil {
		return nil, err
	}
	digest := sha256.Sum256(tbs)
	signature, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
	if err != nil {
		return nil, err
	}
	basic, err := asn1.Marshal(wireBasic{
		Data: asn1.RawValue{FullBytes: tbs}, Algorithm: ecdsaWithSHA256,
		Signature:    asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)},
		Certificates: []asn1.RawValue{{FullBytes: cert.Raw}},
	})
	if err != nil {
		return nil, err
	}
	return asn1.Marshal(wireResponse{Bytes: wireResponseBytes{Type: oidOCSPBasic, Response: basic}})
}

// status is a CertStatus: good only for what the register has and the authority
// has signed.
func (r *responder) status(ctx context.Context, id *certID) (asn1.RawValue, error) {
	unknown := asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 2}
	if r.a.register == nil || id.Serial.Sign() <= 0 {
		return unknown, nil
	}
	c, err := r.a.register.Certificate(ctx, serialText(id.Serial))
	switch {
	case errors.Is(err, workflow.ErrNotFound):
		return unknown, nil
	case err != nil:
		return unknown, err
	case !r.a.signedBy(c, &r.a.issuing):
		return unknown, nil // the root's, under the same number
	case !c.Revoked.IsZero():
		der, err := asn1.MarshalWithParams(wireRevoked{At: c.Revoked.UTC().Truncate(time.Second), Reason: asn1.Enumerated(c.Reason)}, "tag:1")
		return asn1.RawValue{FullBytes: der}, err
	case len(c.DER) == 0:
		return unknown, nil
	}
	return asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0}, nil // good
}

// identity gives the responder's key and certificate, new ones when the old
// ones have little time left. They are entered in the register as all are.
func (r *responder) identity(ctx context.Context, now time.Time) (*ecdsa.PrivateKey, *x509.Certificate, asn1.RawValue, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cert != nil && now.Before(r.cert.NotAfter.Add(-responderLife/2)) {
		return r.key, r.cert, r.id, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, asn1.RawValue{}, err
	}
	cert, err := issue(r.a.responderTemplate(now), key.Public(), r.a.issuing.Leaf(), r.a.issuing.Key)
	if err != nil {
		return nil, nil, asn1.RawValue{}, fmt.Errorf("certificate of the OCSP responder: %w", err)
	}
	if r.a.register != nil {
		if err := r.a.enter(ctx, cert, "OCSP responder"); err != nil {
			return nil, nil, asn1.RawValue{}, err
		}
	}
	bits, err := publicKeyBits(cert)
	if err != nil {
		return nil, nil, asn1.RawValue{}, err
	}
	sum := sha1.Sum(bits) // KeyHash, RFC 6960, 4.2.1
	octets, err := asn1.Marshal(sum[:])
	if err != nil {
		return nil, nil, asn1.RawValue{}, err
	}
	r.key, r.cert = key, cert
	r.id = asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 2, IsCompound: true, Bytes: octets}
	return r.key, r.cert, r.id, nil
}

// responderTemplate is the profile of RFC 6960, 4.2.2.2.
func (a *Authority) responderTemplate(now time.Time) *x509.Certificate {
	seal := a.seal.Leaf().Subject
	until := now.Add(responderLife)
	if ca := a.issuing.Leaf().NotAfter; until.After(ca) {
		until = ca
	}
	return &x509.Certificate{
		Subject:               pkix.Name{Country: seal.Country, Organization: seal.Organization, CommonName: cut(seal.Organization[0], maxName-15) + " OCSP responder"},
		NotBefore:             now.Add(-maxSkew),
		NotAfter:              until,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning},
		ExtraExtensions:       []pkix.Extension{{Id: oidNoCheck, Value: []byte{asn1.TagNull, 0}}},
	}
}
