package workflow_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"milterd/workflow"
)

// Prepare leaves a place for the value in a line that names the document's
// digest and the certificate; the attributes are a digest of all that.
func (r *recorder) Prepare(_ context.Context, s *workflow.Session, doc, person int, look workflow.Appearance, at time.Time, chain [][]byte, head []byte) (*workflow.Prepared, error) {
	r.mu.Lock()
	fail, wait := r.prepare, r.preparing
	r.mu.Unlock()
	if wait != nil {
		wait()
	}
	if fail != nil {
		return nil, fail
	}
	p := &workflow.Prepared{Suffix: fmt.Appendf(nil, "own %s %s ?\n", s.People[person].Mail, look.Typed)}
	p.SHA256 = sha256.Sum256(slices.Concat(head, p.Suffix))
	p.Size = int64(len(head) + len(p.Suffix))
	p.Attributes = fmt.Appendf(nil, "attributes of %x by %x", p.SHA256, sha256.Sum256(chain[0]))
	p.Signer, _ = json.Marshal(chain)
	return p, nil
}

func (r *recorder) CheckValue(p *workflow.Prepared, value []byte) error {
	var chain [][]byte
	if err := json.Unmarshal(p.Signer, &chain); err != nil {
		return err
	}
	cert, err := x509.ParseCertificate(chain[0])
	if err != nil {
		return err
	}
	digest := sha256.Sum256(p.Attributes)
	if !ecdsa.VerifyASN1(cert.PublicKey.(*ecdsa.PublicKey), digest[:], value) {
		return &workflow.Refusal{Code: 550, Reason: "bad-value", Text: "Wrong."}
	}
	return nil
}

func (r *recorder) Complete(_ context.Context, s *workflow.Session, doc, person int, head []byte, p *workflow.Prepared) ([]workflow.Increment, error) {
	r.mu.Lock()
	fail, wait := r.fail, r.wait
	r.mu.Unlock()
	if wait != nil {
		wait()
	}
	if err := r.CheckValue(p, p.Value); err != nil {
		return nil, err
	}
	if sha256.Sum256(head) != p.Head {
		return nil, errors.New("prepared for another head")
	}
	if fail != nil {
		return nil, fail
	}
	return []workflow.Increment{
		{Kind: workflow.Signature, Suffix: []byte(strings.Replace(string(p.Suffix), "?", "value", 1))},
		{Kind: workflow.DSS, Suffix: []byte("dss\n")},
	}, nil
}
