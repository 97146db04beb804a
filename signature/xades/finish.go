package xades

import (
	"bytes"
	"context"
	"crypto"
	"encoding/base64"
	"errors"
	"fmt"

	"milterd/signature/cms"
	"milterd/signature/xades/dom"
)

// Finish verifies a signature value over p.SignedInfo, asks ts for its time (nil
// for none: B-B) and gives the ds:Signature element: the whole file of a detached
// signature, or what Put takes. ECDSA values may be r‖s or DER. The Preparation
// is not changed: after an error it can be tried again. Errors wrap
// cms.ErrSignature for a wrong value, cms.ErrExpired, or what ts said.
func (p *Preparation) Finish(ctx context.Context, value []byte, ts cms.Timestamper) ([]byte, error) {
	element, err := p.finish(ctx, value, ts)
	if err != nil {
		return nil, fmt.Errorf("finishing a signature: %w", err)
	}
	return element, nil
}

func (p *Preparation) finish(ctx context.Context, value []byte, ts cms.Timestamper) ([]byte, error) {
	certs, err := cms.Kept(p.Certificates)
	if err != nil {
		return nil, err
	}
	cert := certs[0]
	if value, err = cms.VerifyValue(cert, p.Algorithm, p.SignedInfo, value); err != nil {
		return nil, err
	}
	if value, err = cms.JoinedValue(cert.PublicKey, value); err != nil {
		return nil, err
	}
	hole := []byte(`-v"></ds:SignatureValue>`)
	at := bytes.Index(p.Element, hole)
	if at < 0 {
		return nil, errors.New("preparation without a place for the value")
	}
	at += len(`-v">`)
	element := insert(p.Element, at, []byte(base64.StdEncoding.EncodeToString(value)))
	d, err := Read(element)
	if err != nil {
		return nil, err
	}
	s, err := d.find(p.ID)
	if err != nil {
		return nil, err
	}
	// What is handed out is what was signed, whoever kept the preparation meanwhile.
	if err := errors.Join(s.CheckProperties(), s.CheckSignature(cert)); err != nil {
		return nil, err
	}
	if ts == nil {
		return element, nil
	}
	stamp := &Stamp{form: dom.Form{Exclusive: true}}
	var over bytes.Buffer
	if err := stamp.form.WriteElement(&over, s.value, nil); err != nil {
		return nil, err
	}
	if stamp.Token, err = cms.Stamp(ctx, ts, over.Bytes(), cert); err != nil {
		return nil, err
	}
	return s.add(stamped("xades:SignatureTimeStamp", xades132Space, stamp.Token))
}

// Put gives a document with a signature that was prepared for it. That others
// have signed it meanwhile does no harm; another document is cms.ErrDigest.
func Put(doc, element []byte) ([]byte, error) {
	out, err := put(doc, element)
	if err != nil {
		return nil, fmt.Errorf("putting a signature into its document: %w", err)
	}
	return out, nil
}

func put(doc, element []byte) ([]byte, error) {
	d, err := Read(doc)
	if err != nil {
		return nil, err
	}
	if err := d.takes(); err != nil {
		return nil, err
	}
	of, err := Read(element)
	if err != nil {
		return nil, err
	}
	if of.tree.Root.Space != dsSpace || len(of.Signatures) != 1 || len(of.tree.Top) != 1 {
		return nil, malformed("what was to be put in is no signature")
	}
	root := d.tree.Root
	var out []byte
	if root.Close > 0 {
		out = insert(doc, root.Close, element)
	} else { // one empty tag
		name := root.Local
		if root.Prefix != "" {
			name = root.Prefix + ":" + name
		}
		out = append(bytes.TrimRight(bytes.TrimSuffix(bytes.Clone(doc[:root.End]), []byte("/>")), " \t\r\n"), '>')
		out = append(append(append(out, element...), "</"+name+">"...), doc[root.End:]...)
	}
	is, err := Read(out)
	if err != nil {
		return nil, err
	}
	s, err := is.find(of.Signatures[0].ID)
	if err != nil {
		return nil, err
	}
	if len(s.References) != 1 || !s.References[0].Whole() {
		return nil, malformed("what was to be put in is no signature of the whole document")
	}
	return out, s.Check(s.References[0], nil)
}

func insert(b []byte, at int, more []byte) []byte {
	out := make([]byte, 0, len(b)+len(more))
	return append(append(append(out, b[:at]...), more...), b[at:]...)
}

// SignWith gives the value that a key makes over SignedInfo.
func (p *Preparation) SignWith(key crypto.Signer) ([]byte, error) {
	return p.Algorithm.SignWith(key, p.SignedInfo)
}
