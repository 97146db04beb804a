// Command own measures what signatures by people's own keys cost: the server's
// part of one (prepare, check, finish) beside a whole B-B signature of the same
// run, both without a timestamp; how long the end of a document takes (seal,
// revocation data, document timestamp: B-LTA); and what the page weighs and
// when it is ready, in headless Chromium.
//
//	go run ./bench/own bin/milterd
//
// Sides take their turns; each figure is a median with the lowest and the
// highest. What the device does (key and passkey) is not the server's and not
// counted. It fails if a figure is over its bound.
package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"milterd/bench/internal/probe"
	"milterd/pki"
	"milterd/signature/cms/cmstest"
	"milterd/signature/pades"
	"milterd/signature/pdf"
	"milterd/signer"
	"milterd/workflow"
)

const (
	pairs = 11
	each  = 20 // signatures in a round
	ends  = 15 // documents that are closed
	bound = 2  // of prepare and finish to B-B
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: own BINARY")
		os.Exit(2)
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := measure(ctx, os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "bench/own:", err)
		os.Exit(1)
	}
}

func measure(ctx context.Context, binary string) error {
	dir, err := os.MkdirTemp("", "milterd-own-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	d, err := open(ctx, dir)
	if err != nil {
		return err
	}
	return errors.Join(d.phases(ctx), d.ends(ctx), page(ctx, binary, filepath.Join(dir, "site")))
}

// desk is a signer with a signatory who has a certified key.
type desk struct {
	*signer.Signer
	key     *ecdsa.PrivateKey
	chain   [][]byte
	session *workflow.Session
	head    []byte // laid out
}

func open(ctx context.Context, dir string) (*desk, error) {
	keys := filepath.Join(dir, "keys")
	err := pki.Init(keys, pki.Options{Organisation: "Example Corp", Country: "LU", URL: "https://sign.corp.test", Key: pki.P256})
	if err != nil {
		return nil, err
	}
	a, err := pki.Load(keys)
	if err != nil {
		return nil, err
	}
	jane := workflow.Person{Mail: "jane.roe@corp.test", Name: "Jane Roe", Language: "en"}
	d := &desk{Signer: signer.New(signer.Config{Seal: a.Seal(), Organisation: "Example Corp",
		Time: a.OwnClock(pki.ClockPolicy{AllowUnsynchronised: true}), Evidence: &pki.Gatherer{Own: a}})}
	d.session = &workflow.Session{ID: "abcdefghijklmnop", Level: workflow.Advanced, State: workflow.Open, Created: time.Now(),
		Documents: []workflow.Document{{Name: "contract.pdf", Kind: workflow.Mailed, Pages: 1}},
		People:    []workflow.Participant{{Person: jane, Sender: true, Signatory: true, State: workflow.Waiting}}}
	if d.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, err
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, d.key)
	if err != nil {
		return nil, err
	}
	entry, err := a.Draft(jane, csr, time.Now())
	if err != nil {
		return nil, err
	}
	if err := a.Issue(ctx, entry); err != nil {
		return nil, err
	}
	d.chain = append([][]byte{entry.DER}, a.Issuers()...)
	original := cmstest.Document(100 << 10)
	layout, err := d.Layout(ctx, d.session, 0, original)
	d.head = append(original, layout...)
	return d, err
}

func (d *desk) prepare(ctx context.Context) (*workflow.Prepared, error) {
	return d.Prepare(ctx, d.session, 0, 0, workflow.Appearance{Typed: "Jane Roe"}, time.Now(), workflow.Key{Chain: d.chain}, d.head)
}

func (d *desk) sign(p *workflow.Prepared) error {
	digest := sha256.Sum256(p.Attributes)
	var err error
	p.Value, err = ecdsa.SignASN1(rand.Reader, d.key, digest[:])
	return err
}

// finish is the second phase: it reads back what was prepared, verifies the
// value and embeds it, without a timestamp.
func (d *desk) finish(ctx context.Context, p *workflow.Prepared) error {
	var prep pades.Preparation
	if err := prep.UnmarshalBinary(p.Signer); err != nil {
		return err
	}
	prep.Suffix, prep.Attributes = p.Suffix, p.Attributes
	suffix, err := prep.Finish(ctx, p.Value, nil)
	if err == nil && len(suffix) == 0 {
		err = errors.New("no signature")
	}
	return err
}

// phases compares the two phases with B-B signatures by a key of the server's: a
// bare one, which is the figure of bench/pades, and one with the same look in
// the same document.
func (d *desk) phases(ctx context.Context) error {
	certs := make([]*x509.Certificate, len(d.chain))
	for i, der := range d.chain {
		var err error
		if certs[i], err = x509.ParseCertificate(der); err != nil {
			return err
		}
	}
	p, err := d.prepare(ctx)
	if err != nil {
		return err
	}
	var made pades.Preparation
	if err := made.UnmarshalBinary(p.Signer); err != nil {
		return err
	}
	now := time.Now()
	bare := pades.Params{Certificate: certs[0], Field: "Signatory 1", Time: now, Name: "Jane Roe", Reason: "Standard"}
	same := pades.Params{Certificate: certs[0], Chain: certs[1:], Field: made.Field, Time: now, Name: "Jane Roe", Reserve: made.Room,
		Reason: signer.OwnReason(workflow.Advanced, "Jane Roe"), Paraphs: pdf.ParaphName(d.session.ID, 0),
		Look: pdf.SignatoryLook(workflow.Appearance{Typed: "Jane Roe"}, "Jane Roe", "jane.roe@corp.test", workflow.Advanced, "Example Corp", now)}
	plain := cmstest.Document(100<<10, bare.Field)
	var phases, checks, bares, sames []float64
	for round := -1; round < pairs; round++ { // the first is not counted
		two, check, err := d.both(ctx)
		if err != nil {
			return err
		}
		one, err := timed(func() error { _, err := pades.Sign(ctx, plain, bare, d.key, nil); return err })
		if err != nil {
			return err
		}
		alike, err := timed(func() error { _, err := pades.Sign(ctx, d.head, same, d.key, nil); return err })
		if err != nil {
			return err
		}
		if round >= 0 {
			checks = append(checks, probe.Ms(two+check))
			phases, bares, sames = append(phases, probe.Ms(two)), append(bares, probe.Ms(one)), append(sames, probe.Ms(alike))
		}
	}
	ratios := probe.Ratios(checks, bares)
	fmt.Printf("own: prepare and finish, 100 KB: %s ms of processor time; to B-B with P-256 %s  (bound %d); to B-B with the same look and chain %s\n",
		probe.Spread(checks, 2), probe.Spread(ratios, 2), bound, probe.Spread(probe.Ratios(checks, sames), 2))
	fmt.Printf("own: without the check by which a page hears at once of a wrong value: %s ms; to B-B %s; to B-B with the same look and chain %s\n",
		probe.Spread(phases, 2), probe.Spread(probe.Ratios(phases, bares), 2), probe.Spread(probe.Ratios(phases, sames), 2))
	if probe.Percentile(ratios, 0.5) > bound {
		return errors.New("prepare and finish are over their bound")
	}
	return nil
}

// both is the server's time for the two phases, without the device's, and for
// the check of the value that comes between them, when the page hands it in.
func (d *desk) both(ctx context.Context) (phases, check time.Duration, err error) {
	var made []*workflow.Prepared
	prepared, err := timed(func() error {
		p, err := d.prepare(ctx)
		made = append(made, p)
		return err
	})
	if err != nil {
		return 0, 0, err
	}
	for _, p := range made {
		if err := d.sign(p); err != nil {
			return 0, 0, err
		}
	}
	checking := slices.Clone(made)
	check, err = timed(func() error {
		p := checking[0]
		checking = checking[1:]
		return d.CheckValue(p, p.Value)
	})
	if err != nil {
		return 0, 0, err
	}
	finished, err := timed(func() error {
		p := made[0]
		made = made[1:]
		return d.finish(ctx, p)
	})
	return prepared + finished, check, err
}

// ends closes documents that are signed: B-LT becomes B-LTA.
func (d *desk) ends(ctx context.Context) error {
	p, err := d.prepare(ctx)
	if err != nil {
		return err
	}
	if err := d.sign(p); err != nil {
		return err
	}
	begin := time.Now()
	p.Head = sha256.Sum256(d.head)
	made, err := d.Complete(ctx, d.session, 0, 0, d.head, p)
	if err != nil {
		return err
	}
	completed := time.Since(begin)
	head := bytes.Clone(d.head)
	for _, i := range made {
		head = append(head, i.Suffix...)
	}
	var wall, processor []float64
	for range ends {
		before, err := used()
		if err != nil {
			return err
		}
		begin := time.Now()
		if _, err := d.Seal(ctx, d.session, 0, head); err != nil {
			return err
		}
		took := time.Since(begin)
		after, err := used()
		if err != nil {
			return err
		}
		wall, processor = append(wall, probe.Ms(took)), append(processor, probe.Ms(after-before))
	}
	fmt.Printf("own: signature with time and revocation data (B-LT) %.0f ms; seal, revocation data, document timestamp (B-LTA): %s ms, processor time %s ms\n",
		probe.Ms(completed), probe.Spread(wall, 0), probe.Spread(processor, 0))
	return nil
}

// timed gives the processor time of one of each calls: on a machine that does
// other things, too, the clock on the wall would measure those.
func timed(do func() error) (time.Duration, error) {
	before, err := used()
	if err != nil {
		return 0, err
	}
	for range each {
		if err := do(); err != nil {
			return 0, err
		}
	}
	after, err := used()
	return (after - before) / each, err
}

// used is the processor time of this process.
func used() (time.Duration, error) {
	var u syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), err
}
