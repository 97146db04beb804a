package program

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"errors"
	"math/big"
	"time"

	"milterd/intake"
	"milterd/signature/pdf"
	"milterd/signature/xades"
	"milterd/signature/xades/dom"
	"milterd/workflow"
)

// inspector looks at documents in a child process (design.md, decision 15).
type inspector struct{}

// maxXML leaves room for signatures below what is read.
const maxXML = dom.MaxSize - 8<<20

// taskXML is what a child is asked to do with an XML document.
const taskXML = "xml"

func init() {
	pdf.AddTask(taskXML, func(_ json.RawMessage, data []byte) (any, error) { return rehearseXML(data) })
}

// inspectXML looks at an XML document in a child process, too.
func inspectXML(ctx context.Context, content []byte) (f intake.Finding, err error) {
	err = pdf.RunInChild(ctx, taskXML, nil, content, &f)
	return f, err
}

// rehearseXML does to a document what signing will do: a signature is put into it,
// with a key that nobody keeps.
func rehearseXML(data []byte) (intake.Finding, error) {
	if len(data) > maxXML {
		return intake.Finding{}, refuseXML(dom.ErrLimit)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return intake.Finding{}, err
	}
	now := time.Now()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour), KeyUsage: x509.KeyUsageContentCommitment}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return intake.Finding{}, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return intake.Finding{}, err
	}
	before, err := xades.Read(data)
	if err != nil {
		return intake.Finding{}, refuseXML(err)
	}
	prep, err := xades.Envelope(data, xades.Params{Certificate: cert, Time: now})
	if err != nil {
		return intake.Finding{}, refuseXML(err)
	}
	value, err := prep.SignWith(key)
	if err != nil {
		return intake.Finding{}, err
	}
	element, err := prep.Finish(context.Background(), value, nil)
	if err == nil {
		_, err = xades.Put(data, element)
	}
	if err != nil {
		return intake.Finding{}, refuseXML(err)
	}
	f := intake.Finding{Signed: len(before.Signatures) > 0}
	if prep.Comments > 0 {
		f.Notes = append(f.Notes, "comments")
	}
	return f, nil
}

func refuseXML(err error) error {
	r := &workflow.Refusal{Code: 554, Enhanced: "5.6.3", Reason: "broken-xml", Err: err,
		Text: "This is no XML that can take a signature: it is damaged, or has a document type declaration. Please leave [xades] out of the subject, and it is signed in a container."}
	switch {
	case errors.Is(err, xades.ErrForbidden):
		r.Reason, r.Text = "signature-forbidden", "A signature in this XML document forbids any further one. Please leave [xades] out of the subject, and it is signed in a container."
	case errors.Is(err, xades.ErrSplit):
		r.Reason, r.Text = "split-xml", "In this XML document a comment or CDATA section cuts a text in two, so that two readers may read it in two ways. Please leave [xades] out of the subject, and it is signed in a container."
	}
	return r
}

// Inspect implements intake.Inspector.
func (inspector) Inspect(ctx context.Context, content []byte) (intake.Finding, error) {
	info, err := pdf.InspectInChild(ctx, content)
	if err != nil {
		return intake.Finding{}, err
	}
	return intake.Finding{Pages: info.Pages, Signed: info.Signed, Notes: info.Notes}, nil
}
