package program

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"milterd/signature/pdf"
	"milterd/signature/xades"
	"milterd/validate"
	"milterd/workflow"
)

// verifier judges files that come to verify@, with the organisation's own roots,
// the authorities of trusted lists and those that certify phones, in a child process: strangers may have
// made them (design.md, decision 15).
type verifier struct{ anchors func() []*x509.Certificate }

// anchors are whom files of strangers are judged by.
func (p *Program) anchors() []*x509.Certificate {
	out := p.Authority.RootCertificates()
	if p.Config.Keys.SealCertificate != "" {
		out = append(out, p.sealed.Chain[len(p.sealed.Chain)-1])
	}
	for _, t := range slices.Concat(p.trust, p.advanced) {
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

// question is what it is asked: the data are the file and those beside it, one after
// the other.
type question struct {
	Roots  [][]byte // DER
	Size   int      // of the file
	Beside []beside
	Given  bool // for that file's signatures; else they only came along
}

type beside struct {
	Name string
	Size int
}

// split gives the file, and what its signatures may be for.
func (q question) split(data []byte) (file []byte, o validate.Options, err error) {
	o.Anchors = x509.NewCertPool()
	for _, der := range q.Roots {
		root, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, o, fmt.Errorf("roots: %w", err)
		}
		o.Anchors.AddCert(root)
	}
	next := func(n int) (b []byte) {
		b, data = data[:n:n], data[n:]
		return b
	}
	file = next(q.Size)
	for _, f := range q.Beside {
		o.Files = append(o.Files, xades.File{Name: f.Name, Content: next(f.Size)})
	}
	if !q.Given {
		o.Files = validate.Beside(file, o.Files)
	}
	return file, o, nil
}

func init() {
	pdf.AddTask(taskValidate, func(options json.RawMessage, data []byte) (any, error) {
		var q question
		if err := json.Unmarshal(options, &q); err != nil {
			return nil, fmt.Errorf("the question: %w", err)
		}
		file, o, err := q.split(data)
		if err != nil {
			return nil, err
		}
		r, err := validate.File(file, o)
		if err != nil {
			return judgement{Unreadable: err.Error()}, nil
		}
		return judgement{Result: r}, nil
	})
}

// Verify implements intake.Verifier.
func (v verifier) Verify(ctx context.Context, file workflow.NamedFile, others []workflow.NamedFile, given bool) (workflow.VerifiedFile, error) {
	q, data := question{Size: len(file.Content), Given: given}, file.Content
	for _, c := range v.anchors() {
		q.Roots = append(q.Roots, c.Raw)
	}
	if given || validate.MayBeDetached(file.Content) {
		data = slices.Clone(data)
		for _, f := range others {
			q.Beside = append(q.Beside, beside{f.Name, len(f.Content)})
			data = append(data, f.Content...)
		}
	}
	var j judgement
	err := pdf.RunInChild(ctx, taskValidate, q, data, &j)
	var refusal *workflow.Refusal
	if errors.As(err, &refusal) {
		j.Unreadable, err = refusal.Text, nil
	}
	if err != nil {
		return workflow.VerifiedFile{}, err
	}
	out := workflow.VerifiedFile{Name: file.Name, Size: int64(len(file.Content)), SHA256: sha256.Sum256(file.Content)}
	if j.Unreadable != "" {
		out.Verdict, out.Report = workflow.VerdictUnreadable, "This file cannot be judged: "+j.Unreadable+"\n"
		return out, nil
	}
	r := j.Result
	if r == nil {
		return workflow.VerifiedFile{}, errors.New("validating: an empty answer")
	}
	out.Verdict, out.Report = verdict(r.Indication), r.Text()
	for _, b := range q.Beside {
		if r.Signs(b.Name) {
			out.Signs = append(out.Signs, b.Name)
		}
	}
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
