package pki

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"math/big"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/digitorus/timestamp"
)

// TSAError is a timestamp authority that is away or answers wrongly.
type TSAError struct {
	URL string
	Err error
}

func (e *TSAError) Error() string { return fmt.Sprintf("timestamp authority %s: %v", e.URL, e.Err) }
func (e *TSAError) Unwrap() error { return e.Err }

// Remote asks external timestamp authorities over HTTP (RFC 3161, 3.4), in the
// order in which they are configured. If all are away it says so: OwnClock
// never takes their place.
type Remote struct {
	URLs    []string
	Roots   *x509.CertPool        // nil means the system's
	Policy  asn1.ObjectIdentifier // asked for and demanded; nil takes any
	Timeout time.Duration         // of one try; 0 means 10 s
	Tries   int                   // at each address; 0 means 2
	Client  *http.Client          // nil means one that follows no redirects
	Now     func() time.Time      // nil means time.Now
}

// How far a token's time may lie from our clock. It bounds a machine whose clock
// is wrong as much as an authority's.
const maxSkew = 5 * time.Minute

// Timestamp gives a token over a SHA-256 digest, checked against everything
// that was asked: status, nonce, imprint, policy, time, signature, chain and
// key purpose. The error holds a *TSAError for each address.
func (r *Remote) Timestamp(ctx context.Context, digest []byte) ([]byte, error) {
	if len(digest) != crypto.SHA256.Size() {
		return nil, fmt.Errorf("timestamp: digest of %d bytes, want SHA-256", len(digest))
	}
	if len(r.URLs) == 0 {
		return nil, errors.New("timestamp: no authority is configured")
	}
	var errs []error
	for _, u := range r.URLs {
		token, err := r.ask(ctx, u, digest)
		if err == nil {
			return token, nil
		}
		errs = append(errs, &TSAError{URL: u, Err: err})
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(errs...)
}

// Probe asks for a token over a random digest and throws it away.
func (r *Remote) Probe(ctx context.Context) error {
	var digest [32]byte
	if _, err := rand.Read(digest[:]); err != nil {
		return err
	}
	_, err := r.Timestamp(ctx, digest[:])
	return err
}

// Clock names whose time it is.
func (r *Remote) Clock() string {
	return "the timestamp authority at " + strings.Join(r.URLs, " or ")
}

// temporary marks an error after which another try at the same address makes sense.
type temporary struct{ error }

func (t temporary) Unwrap() error { return t.error }

// ask tries one address.
func (r *Remote) ask(ctx context.Context, url string, digest []byte) ([]byte, error) {
	tries := r.Tries
	if tries == 0 {
		tries = 2
	}
	for try := 1; ; try++ {
		token, err := r.once(ctx, url, digest)
		if again := (temporary{}); err == nil || !errors.As(err, &again) || try >= tries {
			return token, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Duration(try) * 200 * time.Millisecond):
		}
	}
}

// once makes one request and checks the answer.
func (r *Remote) once(ctx context.Context, url string, digest []byte) ([]byte, error) {
	nonce, err := randomSerial()
	if err != nil {
		return nil, err
	}
	der, err := r.query(digest, nonce)
	if err != nil {
		return nil, err
	}
	timeout := r.Timeout
	if timeout == 0 {
		timeout = 10 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	body, err := r.post(ctx, url, der)
	if err != nil {
		return nil, err
	}
	return r.check(body, digest, nonce)
}

// query is the TimeStampReq (RFC 3161, 2.4.1).
func (r *Remote) query(digest []byte, nonce *big.Int) ([]byte, error) {
	req := timestamp.Request{HashAlgorithm: crypto.SHA256, HashedMessage: digest, Certificates: true, TSAPolicyOID: r.Policy, Nonce: nonce}
	return req.Marshal()
}

func (r *Remote) post(ctx context.Context, url string, der []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(der))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/timestamp-query")
	client := r.Client
	if client == nil {
		client = defaultClient
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, temporary{err}
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		err := fmt.Errorf("HTTP status %s", resp.Status)
		if resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests {
			return nil, temporary{err}
		}
		return nil, err
	}
	if kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); kind != "application/timestamp-reply" {
		return nil, fmt.Errorf("answers with %q, want application/timestamp-reply", kind)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxToken+1))
	if err != nil {
		return nil, temporary{err}
	}
	if len(body) > maxToken {
		return nil, fmt.Errorf("answer of more than %d bytes", maxToken)
	}
	return body, nil
}

// check compares the answer with what was asked (RFC 3161, 2.2) and gives the token.
func (r *Remote) check(body, digest []byte, nonce *big.Int) ([]byte, error) {
	t, signer, err := parseResponse(body, digest)
	if err != nil {
		return nil, err
	}
	if err := t.CheckNonce(nonce); err != nil {
		return nil, err
	}
	if r.Policy != nil && !t.Policy.Equal(r.Policy) {
		return nil, fmt.Errorf("policy %v, want %v", t.Policy, r.Policy)
	}
	now := time.Now
	if r.Now != nil {
		now = r.Now
	}
	if off := t.Time.Sub(now()); off.Abs() > maxSkew {
		return nil, fmt.Errorf("its time %s is %s away from our clock", t.Time.Format(time.RFC3339), off.Round(time.Second))
	}
	if err := trust(t, signer, r.Roots); err != nil {
		return nil, err
	}
	return t.Raw, nil
}

// defaultClient follows no redirects: an address that moved is for the
// administrator to know.
var defaultClient = &http.Client{
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}
