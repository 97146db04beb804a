package demo

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"milterd/auth/authtest"
	"milterd/workflow"
)

// SoftwareDevice is how an unattended device is named, wherever its person reads of it.
const SoftwareDevice = "software authenticator (no person, no hardware)"

// Device is what a signatory's own device holds in an unattended run: a
// software authenticator instead of a passkey's hardware, and a P-256 key in
// the memory of this process instead of a browser's. It does what the page's
// script does, through the page's own interface, and nothing that a server could do for it.
type Device struct {
	Passkey     *authtest.Authenticator
	Certificate Certified

	key *ecdsa.PrivateKey
}

// Certified is a certificate as the page gets it.
type Certified struct {
	Serial string    `json:"serial"`
	Chain  [][]byte  `json:"chain"` // DER, the person's own first
	Until  time.Time `json:"until"`
}

// NewDevice gives a device whose browser has the pages at base open.
func NewDevice(base string) *Device { return &Device{Passkey: authtest.New(base)} }

// request makes a new key and asks for its certificate (PKCS #10).
func (d *Device) request() (csr []byte, key workflow.Digest, err error) {
	if d.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, key, err
	}
	spki, err := x509.MarshalPKIXPublicKey(&d.key.PublicKey)
	if err != nil {
		return nil, key, err
	}
	csr, err = x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, d.key)
	return csr, sha256.Sum256(spki), err
}

// Sign gives the key's signature over what it is shown, as r‖s: WebCrypto's form.
func (d *Device) Sign(message []byte) ([]byte, error) {
	digest := sha256.Sum256(message)
	r, s, err := ecdsa.Sign(rand.Reader, d.key, digest[:])
	if err != nil {
		return nil, err
	}
	return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...), nil
}

// Answer is a passkey's answer to a ceremony, in the interface's form.
type Answer struct {
	Ceremony string          `json:"ceremony"`
	Response json.RawMessage `json:"response"`
}

// ceremony is one that has begun.
type ceremony struct {
	Ceremony string          `json:"ceremony"`
	Options  json.RawMessage `json:"options"`
}

// Ask has the device's passkey answer for a purpose and digests.
func (b *Browser) Ask(ctx context.Context, d *Device, purpose string, digests ...workflow.Digest) (Answer, error) {
	in := map[string]any{"purpose": purpose}
	if len(digests) > 0 {
		in["digests"] = digests
	}
	var c ceremony
	if _, _, err := b.Post(ctx, "passkey/begin", in, &c); err != nil {
		return Answer{}, err
	}
	response, err := d.Passkey.Get(c.Options)
	return Answer{c.Ceremony, response}, err
}

// Open opens the documents by the device's passkey, without a mailed code.
func (b *Browser) Open(ctx context.Context, d *Device) error {
	answer, err := b.Ask(ctx, d, "open")
	if err != nil {
		return err
	}
	_, _, err = b.Post(ctx, "passkey/open", map[string]any{"passkey": answer}, nil)
	return err
}

// Enrolling is an enrolment as its own page sees it.
type Enrolling struct {
	ID        string   `json:"id"`
	Enrolment string   `json:"enrolment"`
	Number    string   `json:"number"`
	Ways      []string `json:"ways"`
	Approved  bool     `json:"approved"`
	By        string   `json:"by"`
}

// BeginEnrolment begins one on a device whose mailbox is proven.
func (b *Browser) BeginEnrolment(ctx context.Context) (e Enrolling, err error) {
	_, _, err = b.Post(ctx, "enrol/begin", nil, &e)
	return e, err
}

// Register ends an approved enrolment: the device's passkey is registered and
// its key certified.
func (b *Browser) Register(ctx context.Context, d *Device, e Enrolling) error {
	csr, key, err := d.request()
	if err != nil {
		return err
	}
	var c ceremony
	if _, _, err := b.Post(ctx, "enrol/options", map[string]any{"id": e.ID, "key": key}, &c); err != nil {
		return err
	}
	response, err := d.Passkey.Create(c.Options)
	if err != nil {
		return err
	}
	var out struct {
		Certificate *Certified `json:"certificate"`
	}
	_, _, err = b.Post(ctx, "enrol/finish", map[string]any{"id": e.ID, "passkey": Answer{c.Ceremony, response},
		"name": SoftwareDevice, "csr": csr}, &out)
	if err != nil {
		return err
	}
	if out.Certificate == nil {
		return fmt.Errorf("the device was enrolled, but its key not certified")
	}
	d.Certificate = *out.Certificate
	return nil
}

// NewKey makes a new key for an enrolled device, by one tap of its passkey.
func (b *Browser) NewKey(ctx context.Context, d *Device) error {
	csr, key, err := d.request()
	if err != nil {
		return err
	}
	answer, err := b.Ask(ctx, d, "key", key)
	if err != nil {
		return err
	}
	var made Certified
	if _, _, err := b.Post(ctx, "key/issue", map[string]any{"csr": csr, "passkey": answer}, &made); err != nil {
		return err
	}
	d.Certificate = made
	return nil
}

// Preparation is what a device signs.
type Preparation struct {
	ID        string             `json:"id"`
	Seconds   int                `json:"seconds"`
	Documents []PreparedDocument `json:"documents"`
}

// PreparedDocument is one of its documents.
type PreparedDocument struct {
	Document   int             `json:"document"`
	Revision   int             `json:"revision"`
	Head       workflow.Digest `json:"head"`
	SHA256     workflow.Digest `json:"sha256"`
	Size       int             `json:"size"`
	Attributes []byte          `json:"attributes"`
}

// Prepare has the revisions written that the device is to sign, loads each and
// checks it against what was shown (content[i] is that of document i; files[i] the
// name of one that goes into a container).
func (b *Browser) Prepare(ctx context.Context, d *Device, shown []workflow.Shown, content map[int][]byte, files map[int]string, a workflow.Appearance) (Preparation, error) {
	var p Preparation
	_, _, err := b.Post(ctx, "prepare", map[string]any{"shown": shown, "appearance": a, "certificate": d.Certificate.Serial}, &p)
	if err != nil {
		return p, err
	}
	return p, b.checkPrepared(ctx, p, content, files, d.Certificate.Chain[0])
}

// checkPrepared loads what was prepared for a certificate and checks it against
// what was shown.
func (b *Browser) checkPrepared(ctx context.Context, p Preparation, content map[int][]byte, files map[int]string, certificate []byte) error {
	for _, one := range p.Documents {
		_, whole, err := b.Post(ctx, "prepared", map[string]any{"id": p.ID, "document": one.Document}, nil)
		if err != nil {
			return err
		}
		if sum := sha256.Sum256(whole); sum != one.SHA256 || len(whole) != one.Size {
			return fmt.Errorf("document %d: what came has the digest %s, announced was %s", one.Document, hex.EncodeToString(sum[:]), one.SHA256)
		}
		if name := files[one.Document]; name != "" {
			err = checkFile(whole, name, content[one.Document], one.Attributes, certificate)
		} else {
			err = check(whole, content[one.Document], one.Attributes, certificate)
		}
		if err != nil {
			return fmt.Errorf("document %d: %w", one.Document, err)
		}
	}
	return nil
}

// Digests are what a passkey approves: those of the attributes.
func (p *Preparation) Digests() []workflow.Digest {
	var out []workflow.Digest
	for _, d := range p.Documents {
		out = append(out, sha256.Sum256(d.Attributes))
	}
	return out
}

// Values are the device's signatures over a preparation.
func (d *Device) Values(p Preparation) (out [][]byte, err error) {
	for _, one := range p.Documents {
		v, err := d.Sign(one.Attributes)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

// Finish hands in the values with the passkey's answer.
func (b *Browser) Finish(ctx context.Context, p Preparation, values [][]byte, answer Answer) error {
	_, _, err := b.Post(ctx, "finish", map[string]any{"id": p.ID, "values": values, "passkey": answer}, nil)
	return err
}
