package evidence

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"milterd/pki"
	"milterd/signature/cms"
	"milterd/signature/pades"
	"milterd/workflow"
)

// The file is one JSON object of three members, always in this form: the
// evidence, the seal over its bytes (a detached CMS with a timestamp), and a
// SHA-256 over all that stands before it, which tells a damaged file from a
// forged one.
const (
	head  = "{\n\"evidence\": "
	seal  = ",\n\"seal\": \""
	check = "\",\n\"sha256\": \""
	tail  = "\"\n}\n"
)

// MaxFile bounds a file in bytes.
const MaxFile = 64 << 20

// ErrDamaged: the file is not as it was written.
var ErrDamaged = errors.New("the evidence file is damaged or was changed")

// Write gives the evidence file, sealed and timestamped.
func Write(ctx context.Context, e *workflow.Evidence, by pki.Identity, ts pades.Timestamper) ([]byte, error) {
	body, err := json.MarshalIndent(e, "", " ")
	if err != nil {
		return nil, fmt.Errorf("writing evidence: %w", err)
	}
	der, err := sealOver(ctx, body, by, ts)
	if err != nil {
		return nil, fmt.Errorf("sealing evidence: %w", err)
	}
	return assemble(body, der), nil
}

func assemble(body, der []byte) []byte {
	out := slices.Concat([]byte(head), body, []byte(seal), []byte(base64.StdEncoding.EncodeToString(der)))
	sum := sha256.Sum256(out)
	return slices.Concat(out, []byte(check), []byte(hex.EncodeToString(sum[:])), []byte(tail))
}

// sealOver makes the same signature as in a PDF: no signing-time, the time is in the token.
func sealOver(ctx context.Context, body []byte, by pki.Identity, ts pades.Timestamper) ([]byte, error) {
	leaf := by.Leaf()
	alg, err := cms.AlgorithmFor(leaf.PublicKey)
	if err != nil {
		return nil, err
	}
	attributes, err := cms.SignedAttributes(alg, hashed(alg, body), leaf)
	if err != nil {
		return nil, err
	}
	value, err := alg.SignWith(by.Key, attributes)
	if err != nil {
		return nil, err
	}
	// The root is left out: whoever checks has it, or does not trust it.
	certs := by.Chain[:max(1, len(by.Chain)-1)]
	return cms.SignedData{Algorithm: alg, Certificates: certs, Attributes: attributes}.Finish(ctx, value, ts)
}

func hashed(alg cms.Algorithm, b []byte) []byte {
	h := alg.Hash().New()
	h.Write(b)
	return h.Sum(nil)
}

// split takes a file apart. Whatever is not exactly as Write has it is ErrDamaged.
func split(file []byte) (body, der []byte, err error) {
	if len(file) > MaxFile {
		return nil, nil, fmt.Errorf("the evidence file is larger than %d MB", MaxFile>>20)
	}
	// From the end, because the evidence itself may say anything.
	rest, ok := bytes.CutPrefix(file, []byte(head))
	at := bytes.LastIndex(rest, []byte(seal))
	if !ok || at < 0 {
		return nil, nil, ErrDamaged
	}
	body, rest = rest[:at], rest[at+len(seal):]
	text, _, ok := bytes.Cut(rest, []byte(check))
	if !ok {
		return nil, nil, ErrDamaged
	}
	if der, err = base64.StdEncoding.Strict().DecodeString(string(text)); err != nil {
		return nil, nil, ErrDamaged
	}
	if !bytes.Equal(assemble(body, der), file) {
		return nil, nil, ErrDamaged
	}
	return body, der, nil
}

// sealed is who vouches for the file, and since when.
type sealed struct {
	by   *x509.Certificate
	time time.Time
}

// checkSeal verifies the seal over body. An error that wraps errUnknown is about
// trust, not about what was signed.
func checkSeal(body, der []byte, anchors *x509.CertPool, now time.Time) (sealed, error) {
	m, err := cms.Parse(der)
	if err != nil {
		return sealed{}, err
	}
	h := m.Hash().New()
	h.Write(body)
	by, err := m.Verify(h.Sum(nil))
	if err != nil {
		return sealed{}, err
	}
	if len(m.Timestamps) != 1 {
		return sealed{}, fmt.Errorf("%d timestamps over the seal, want one", len(m.Timestamps))
	}
	token, err := cms.ParseToken(m.Timestamps[0])
	if err != nil {
		return sealed{}, err
	}
	d := token.ImprintHash.New()
	d.Write(m.Value)
	if err := token.CheckImprint(token.ImprintHash, d.Sum(nil)); err != nil {
		return sealed{}, err
	}
	clock, err := token.CheckSigner()
	if err != nil {
		return sealed{}, err
	}
	switch {
	case token.Time.After(now.Add(time.Minute)):
		return sealed{}, fmt.Errorf("the seal's timestamp is of %s, which is in the future", token.Time.Format(time.RFC3339))
	case by.KeyUsage&(x509.KeyUsageDigitalSignature|x509.KeyUsageContentCommitment) == 0:
		return sealed{}, errors.New("the seal's certificate is not for signatures")
	case !pki.IsSeal(by): // signatories have certificates below the same root
		return sealed{}, fmt.Errorf("the seal is not an organisation's: its certificate is that of %s", by.Subject.CommonName)
	}
	for _, c := range []struct {
		leaf *x509.Certificate
		more []*x509.Certificate
	}{{by, m.Certificates}, {clock, token.Certificates}} {
		if _, err := cms.Chain(c.leaf, c.more, anchors, token.Time); err != nil {
			return sealed{}, fmt.Errorf("%w: %w", errUnknown, err)
		}
	}
	return sealed{by, token.Time}, nil
}

// errUnknown: it cannot be decided here.
var errUnknown = errors.New("not known here")
