// Command ca measures the certificate authority: certificates issued in a second
// beside the key operations that this machine can do (Go's own, and those of
// `openssl speed`), and OCSP answers in a second beside the same.
//
// "Checked and signed" is Draft and Issue alone: a request's proof of possession,
// the certificate, and its verification. "In the register" adds what the desk
// does on SQLite around it: two transactions that reach the disk, with the log.
package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ocsp"
	"golang.org/x/sync/errgroup"

	"milterd/pki"
	"milterd/store"
	"milterd/workflow"
)

const (
	rounds  = 5
	took    = 400 * time.Millisecond // one side of a round
	clients = 2
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench/ca:", err)
		os.Exit(1)
	}
}

func run() error {
	for _, k := range []struct {
		kind  pki.KeyType
		speed string
	}{{pki.RSA3072, "rsa3072"}, {pki.P256, "ecdsap256"}} {
		if err := measure(k.kind, k.speed); err != nil {
			return err
		}
	}
	return nil
}

// measure prints the rows of one kind of key.
func measure(kind pki.KeyType, speed string) error {
	dir, err := os.MkdirTemp("", "milterd-ca-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	keys := filepath.Join(dir, "keys")
	if err := pki.Init(keys, pki.Options{Organisation: "Bench", Country: "LU", URL: "https://sign.corp.test", Key: kind}); err != nil {
		return err
	}
	ctx := context.Background()
	db, err := store.Open(ctx, store.Config{URL: "sqlite:" + filepath.Join(dir, "milterd.db")})
	if err != nil {
		return err
	}
	defer db.Close()
	alone, err := pki.Load(keys)
	if err != nil {
		return err
	}
	whole, err := pki.Open(pki.Config{Dir: keys, Register: db})
	if err != nil {
		return err
	}
	csr, err := request()
	if err != nil {
		return err
	}
	limit, err := openssl(speed)
	if err != nil {
		return err
	}
	fmt.Printf("%-58s %9.0f/s\n", "key operations, openssl speed, "+string(kind), limit)
	digest := sha256.Sum256(nil)
	b := beside{kind: kind, key: func() error {
		_, err := alone.Seal().Key.Sign(rand.Reader, digest[:], crypto.SHA256)
		return err
	}}
	john := workflow.Person{Mail: "john.doe@corp.test", Name: "John Doe"}
	if err := b.row("certificates, checked and signed", 1, func() error {
		c, err := alone.Draft(john, csr, time.Now())
		if err == nil {
			err = alone.Issue(ctx, c)
		}
		return err
	}); err != nil {
		return err
	}
	var last *workflow.Certificate
	if err := b.row("certificates, in the register", 1, func() (err error) {
		last, err = issue(ctx, db, whole, john, csr)
		return err
	}); err != nil {
		return err
	}
	return answers(whole, last, b)
}

// issue is what the desk does, without its limits for one person.
func issue(ctx context.Context, db *store.Store, a *pki.Authority, p workflow.Person, csr []byte) (*workflow.Certificate, error) {
	c, err := a.Draft(p, csr, time.Now())
	if err != nil {
		return nil, err
	}
	write := func(kind workflow.EventKind) error {
		return db.Do(ctx, func(tx workflow.Tx) error {
			if err := tx.SaveCertificate(c); err != nil {
				return err
			}
			return tx.AppendLog(workflow.Event{Time: time.Now(), Kind: kind, Actor: "milterd", Detail: map[string]string{"serial": c.Serial}})
		})
	}
	if err := write(workflow.EventIssuing); err != nil {
		return nil, err
	}
	if err := a.Issue(ctx, c); err != nil {
		return nil, err
	}
	return c, write(workflow.EventIssued)
}

// answers prints OCSP answers in a second: the responder alone, and over HTTP.
func answers(a *pki.Authority, c *workflow.Certificate, b beside) error {
	cert, err := x509.ParseCertificate(c.DER)
	if err != nil {
		return err
	}
	issuer, err := x509.ParseCertificate(a.Issuers()[0])
	if err != nil {
		return err
	}
	der, err := ocsp.CreateRequest(cert, issuer, nil)
	if err != nil {
		return err
	}
	handler := a.Handler()
	if err := b.row("OCSP answers, no network", 1, func() error {
		rec := httptest.NewRecorder()
		r := httptest.NewRequest("POST", "/pki/ocsp", bytes.NewReader(der))
		r.Header.Set("Content-Type", "application/ocsp-request")
		handler.ServeHTTP(rec, r)
		if rec.Body.Len() < 500 {
			return fmt.Errorf("OCSP: no answer: %x", rec.Body.Bytes())
		}
		return nil
	}); err != nil {
		return err
	}
	srv := httptest.NewServer(handler)
	defer srv.Close()
	return b.row(fmt.Sprintf("OCSP answers, HTTP, %d clients that verify", clients), clients, func() error {
		resp, err := http.Post(srv.URL+"/pki/ocsp", "application/ocsp-request", bytes.NewReader(der))
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		var b bytes.Buffer
		if _, err := b.ReadFrom(resp.Body); err != nil {
			return err
		}
		_, err = ocsp.ParseResponseForCert(b.Bytes(), cert, issuer)
		return err
	})
}

// beside measures work in turns with key operations.
type beside struct {
	kind pki.KeyType
	key  func() error
}

// row prints medians of the rounds, and the lowest and highest ratio.
func (b beside) row(what string, n int, f func() error) error {
	if err := f(); err != nil { // warm
		return err
	}
	var rates, keys, ratios []float64
	for range rounds {
		key, err := perSecond(1, b.key)
		if err != nil {
			return err
		}
		rate, err := perSecond(n, f)
		if err != nil {
			return err
		}
		rates, keys, ratios = append(rates, rate), append(keys, key), append(ratios, rate/key)
	}
	slices.Sort(rates)
	slices.Sort(keys)
	slices.Sort(ratios)
	mid := rounds / 2
	fmt.Printf("%-58s %9.0f/s  %6.3f [%.3f … %.3f] of %.0f key operations/s\n", what+", "+string(b.kind),
		rates[mid], ratios[mid], ratios[0], ratios[rounds-1], keys[mid])
	return nil
}

// perSecond runs f for a while, n at once.
func perSecond(n int, f func() error) (float64, error) {
	var done atomic.Int64
	var g errgroup.Group
	begin := time.Now()
	for range n {
		g.Go(func() error {
			for time.Since(begin) < took {
				if err := f(); err != nil {
					return err
				}
				done.Add(1)
			}
			return nil
		})
	}
	err := g.Wait()
	return float64(done.Load()) / time.Since(begin).Seconds(), err
}

func request() ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
}

// openssl asks how many signatures OpenSSL makes in a second: a line such as
// +F2:2:3072:235.3:18380.5 (RSA) or +F4:3:256:17100.0:6753.3 (ECDSA).
func openssl(algorithm string) (float64, error) {
	out, err := exec.Command("openssl", "speed", "-mr", "-seconds", "1", algorithm).Output()
	if err != nil {
		return 0, fmt.Errorf("openssl speed: %w", err)
	}
	for line := range strings.Lines(string(out)) {
		if !strings.HasPrefix(line, "+F2:") && !strings.HasPrefix(line, "+F4:") {
			continue
		}
		var signatures float64
		if f := strings.Split(line, ":"); len(f) >= 4 {
			if _, err := fmt.Sscan(f[3], &signatures); err == nil && signatures > 0 {
				return signatures, nil
			}
		}
	}
	return 0, fmt.Errorf("openssl speed: cannot be read: %s", out)
}
