package program

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"

	"milterd/signature/pdf"
	"milterd/validate"
	"milterd/workflow"
)

// verifier judges files that come to verify@, with the organisation's own roots
// and the authorities of trusted lists, in a child process: strangers may have
// made them (design.md, decision 15).
type verifier struct{ anchors func() []*x509.Certificate }

// anchors are whom files of strangers are judged by.
func (p *Program) anchors() []*x509.Certificate {
	out := p.Authority.RootCertificates()
	if p.Config.Keys.SealCertificate != "" {
		out = append(out, p.sealed.Chain[len(p.sealed.Chain)-1])
	}
	for _, t := range p.trust {
		out = append(out, t.Authorities()...)
	}
	return out
}

// taskValidate is what a child is asked to do.
const taskValidate = "validate"

// judgement is what it answers: a Result, or why the file cannot be read.
type judgement struct {
	Result     *validate.Result
	Unreadable string
}

func init() {
	pdf.AddTask(taskValidate, func(options json.RawMessage, data []byte) (any, error) {
		var roots [][]byte // DER
		if err := json.Unmarshal(options, &roots); err != nil {
			return nil, fmt.Errorf("roots: %w", err)
		}
		anchors := x509.NewCertPool()
		for _, der := range roots {
			root, err := x509.ParseCertificate(der)
			if err != nil {
				return nil, fmt.Errorf("roots: %w", err)
			}
			anchors.AddCert(root)
		}
		r, err := validate.File(data, validate.Options{Anchors: anchors})
		if err != nil {
			return judgement{Unreadable: err.Error()}, nil
		}
		return judgement{Result: r}, nil
	})
}

// Verify implements intake.Verifier.
func (v verifier) Verify(ctx context.Context, content []byte) (workflow.VerifiedFile, error) {
	var roots [][]byte
	for _, c := range v.anchors() {
		roots = append(roots, c.Raw)
	}
	var j judgement
	err := pdf.RunInChild(ctx, taskValidate, roots, content, &j)
	var refusal *workflow.Refusal
	if errors.As(err, &refusal) {
		j.Unreadable, err = refusal.Text, nil
	}
	if err != nil {
		return workflow.VerifiedFile{}, err
	}
	if j.Unreadable != "" {
		return workflow.VerifiedFile{Verdict: workflow.VerdictUnreadable, Report: "This file cannot be judged: " + j.Unreadable + "\n"}, nil
	}
	r := j.Result
	if r == nil {
		return workflow.VerifiedFile{}, errors.New("validating: an empty answer")
	}
	out := workflow.VerifiedFile{Verdict: verdict(r.Indication), Report: r.Text()}
	switch {
	case len(r.Signatures) == 0:
		out.Verdict = workflow.VerdictUnsigned
	case r.Changed():
		out.Verdict = workflow.VerdictChanged
	}
	for _, s := range r.Signatures {
		out.Signatures = append(out.Signatures, workflow.VerifiedSignature{By: signedBy(s), Stamp: s.Kind == validate.KindTimestamp,
			Verdict: verdict(s.Indication), At: s.Proven})
	}
	return out, nil
}

func verdict(i validate.Indication) workflow.Verdict {
	switch i {
	case validate.Passed:
		return workflow.VerdictValid
	case validate.Failed:
		return workflow.VerdictInvalid
	}
	return workflow.VerdictOpen
}

// signedBy is how people call the owner of a certificate.
func signedBy(s validate.Signature) string {
	name := s.Subject
	if c, err := x509.ParseCertificate(s.Certificate); err == nil {
		name = cmp.Or(c.Subject.CommonName, s.Subject)
		if o := c.Subject.Organization; len(o) > 0 && o[0] != name {
			name += " (" + o[0] + ")"
		}
	}
	return validate.Plain(name)
}
