package web

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"

	"milterd/auth"
	"milterd/signature/asic"
	"milterd/signature/cades"
	"milterd/signature/cms"
	"milterd/signature/pades"
	"milterd/workflow"
)

// own is what the fake keeps for passkeys, devices and keys of people's own.
// The documents are prepared by the real signature/pades.
type own struct {
	credentials  []*workflow.Credential
	ceremonies   map[string]fakeCeremony
	enrolments   map[string]*auth.Enrolment // by handle
	certificates map[string]*x509.Certificate
	preparation  *fakePreparation
	values       [][]byte // of the finished signature
	proof        workflow.Proof

	// What the tests turn.
	busy    int               // so many times, a colleague is signing
	refuse  map[string]string // call to reason, once
	lasting time.Duration     // of certificates
	swap    func(p *workflow.Prepared, content []byte, own *x509.Certificate) []byte
	log     []string // calls that changed something
	refused []string // what was put on record
	whole   bool     // what is prepared now is given away as it stands
}

const (
	fakePassword = "correct horse"
	fakeTOTPCode = "135790"
)

type fakeCeremony struct {
	label   string
	mail    string
	digests []workflow.Digest
	nonce   []byte
}

type fakePreparation struct {
	*workflow.Preparation
	person      int
	certificate *x509.Certificate
	contents    map[int][]byte
	qualified   *workflow.Acceptance
}

func newOwn() own {
	return own{ceremonies: map[string]fakeCeremony{}, enrolments: map[string]*auth.Enrolment{}, certificates: map[string]*x509.Certificate{},
		refuse: map[string]string{}, lasting: 30 * 24 * time.Hour}
}

// once says whether a call is to be refused now, and notes that it was made.
func (f *fake) once(call string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.changes++
	f.log = append(f.log, call)
	if r := f.refuse[call]; r != "" {
		delete(f.refuse, call)
		return refusal(r, "As the test wishes.", nil)
	}
	return nil
}

func (f *fake) calls() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(f.log, " ")
}

func (f *fake) Credentials(_ context.Context, mail string) (out []*workflow.Credential, _ error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.credentials {
		if c.Mail == mail {
			k := *c
			out = append(out, &k)
		}
	}
	return out, nil
}

func (f *fake) Certify(_ context.Context, v workflow.Visit, csr []byte, credential, by, _ string) ([][]byte, string, error) {
	if err := f.once("certify by " + by); err != nil {
		return nil, "", err
	}
	r, err := x509.ParseCertificateRequest(csr)
	if err != nil || r.CheckSignature() != nil {
		return nil, "", refusal("bad-csr", "Not good.", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, "", err
	}
	now := time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	c := &x509.Certificate{SerialNumber: big.NewInt(int64(len(f.certificates) + 100)), Subject: pkix.Name{CommonName: v.Who().Name},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(f.lasting), KeyUsage: x509.KeyUsageContentCommitment}
	der, err := x509.CreateCertificate(rand.Reader, c, c, r.PublicKey, key)
	if err != nil {
		return nil, "", err
	}
	serial := c.SerialNumber.Text(16)
	if f.certificates[serial], err = x509.ParseCertificate(der); err != nil {
		return nil, "", err
	}
	return [][]byte{der}, serial, nil
}

func (f *fake) Renew(ctx context.Context, v workflow.Visit, csr []byte, serial string, proof []byte, client string) ([][]byte, string, error) {
	if err := f.once("renew"); err != nil {
		return nil, "", err
	}
	old := f.certificates[serial]
	if old == nil || !verifies(old, csr, proof) {
		return nil, "", refusal("bad-value", "Not of the old key.", nil)
	}
	return f.Certify(ctx, v, csr, "", "device key "+serial, client)
}

// verifies checks r‖s.
func verifies(c *x509.Certificate, message, value []byte) bool {
	h := sha256.Sum256(message)
	return len(value) == 64 && ecdsa.Verify(c.PublicKey.(*ecdsa.PublicKey), h[:], new(big.Int).SetBytes(value[:32]), new(big.Int).SetBytes(value[32:]))
}

func (f *fake) Prepare(_ context.Context, v workflow.Visit, shown []workflow.Shown, a workflow.Appearance, certificate, _ string) (*workflow.Preparation, error) {
	f.mu.Lock()
	busy := f.busy > 0
	f.busy--
	f.mu.Unlock()
	if busy {
		return nil, refusal("busy", "A colleague is signing.", nil)
	}
	if err := f.once("prepare"); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	cert := f.certificates[certificate]
	if cert == nil {
		return nil, refusal("no-certificate", "None.", nil)
	}
	f.whole = false
	return f.write(v, shown, a, cert, nil)
}

// write makes the newest preparation; f.mu is held.
func (f *fake) write(v workflow.Visit, shown []workflow.Shown, a workflow.Appearance, cert *x509.Certificate, q *workflow.Acceptance) (*workflow.Preparation, error) {
	f.shown = shown
	f.signed = append(f.signed, a)
	p := &fakePreparation{&workflow.Preparation{ID: fmt.Sprintf("preparation%d", len(f.log)), Expires: time.Now().Add(time.Minute)}, v.Person, cert, map[int][]byte{}, q}
	for _, sh := range shown {
		d := v.Session.Documents[sh.Document]
		head := f.content[d.Name]
		if !d.Grows() {
			out, manifest, err := prepareFile(&d, v.Person, head, cert)
			if err != nil {
				return nil, err
			}
			out.Document, out.Revision, out.Head = sh.Document, sh.Revision, sh.SHA256
			if f.swap != nil {
				manifest = f.swap(out, manifest, cert)
			}
			out.SHA256, out.Size = sha256.Sum256(manifest), int64(len(manifest))
			p.contents[sh.Document] = append([]byte{}, manifest...)
			p.Documents = append(p.Documents, *out)
			continue
		}
		if f.whole {
			out, whole := workflow.Prepared{Document: sh.Document, Revision: sh.Revision, Head: sh.SHA256}, slices.Clone(head)
			if f.swap != nil {
				whole = f.swap(&out, whole, cert)
			}
			out.SHA256, out.Size = sha256.Sum256(whole), int64(len(whole))
			p.contents[sh.Document] = whole
			p.Documents = append(p.Documents, out)
			continue
		}
		params := pades.Params{Certificate: cert, Time: time.Now(), TokenSize: 0, Name: v.Who().Name}
		if cert == nil {
			params.Algorithm, params.Reserve = cms.ES256, 8<<10
		}
		prep, err := pades.Prepare(head, params)
		if err != nil {
			return nil, err
		}
		whole := append(slices.Clone(head), prep.Suffix...)
		out := workflow.Prepared{Document: sh.Document, Revision: sh.Revision, Head: sh.SHA256, Attributes: prep.Attributes}
		if cert == nil {
			out.Digest = prep.Digest
		}
		if f.swap != nil {
			whole = f.swap(&out, whole, cert)
		}
		out.SHA256, out.Size = sha256.Sum256(whole), int64(len(whole))
		p.contents[sh.Document] = whole
		p.Documents = append(p.Documents, out)
	}
	f.preparation = p
	return p.Preparation, nil
}

// prepareFile prepares what is no PDF with the real packages.
func prepareFile(d *workflow.Document, person int, content []byte, cert *x509.Certificate) (*workflow.Prepared, []byte, error) {
	params := cades.Params{Certificate: cert, Time: time.Now(), MIME: d.Type}
	if d.Form == workflow.CAdES {
		prep, err := cades.Prepare(content, params)
		if err != nil {
			return nil, nil, err
		}
		return &workflow.Prepared{Attributes: prep.Attributes}, nil, nil
	}
	prep, err := asic.Prepare(asic.Extended, []asic.File{{Name: d.Name, MIME: d.Type, Content: content}}, person+1, params)
	if err != nil {
		return nil, nil, err
	}
	return &workflow.Prepared{Attributes: prep.Signature.Attributes}, prep.Manifest, nil
}

// held gives the newest preparation, if it is that of the visitor.
func (f *fake) held(v workflow.Visit, id string) (*fakePreparation, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p := f.preparation; p != nil && p.ID == id && p.person == v.Person {
		return p, nil
	}
	return nil, refusal("preparation-gone", "Gone.", nil)
}

func (f *fake) PreparedContent(_ context.Context, v workflow.Visit, id string, document int) ([]byte, error) {
	p, err := f.held(v, id)
	if err != nil {
		return nil, err
	}
	if p.contents[document] == nil {
		return nil, refusal("no-document", "None.", nil)
	}
	return p.contents[document], nil
}

func (f *fake) Keep(_ context.Context, v workflow.Visit, id string) (time.Time, error) {
	if err := f.once("keep"); err != nil {
		return time.Time{}, err
	}
	_, err := f.held(v, id)
	return time.Now().Add(time.Minute), err
}

func (f *fake) Abandon(_ context.Context, v workflow.Visit, id, failed, _ string) error {
	if err := f.once(strings.TrimSpace("abandon " + failed)); err != nil {
		return err
	}
	if _, err := f.held(v, id); err != nil {
		return nil // what is gone need not go: a page that is left may say so late
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.preparation = nil
	return nil
}

func (f *fake) Finish(_ context.Context, v workflow.Visit, id string, values [][]byte, _ string, consume workflow.Consume) error {
	if err := f.once("finish"); err != nil {
		return err
	}
	p, err := f.held(v, id)
	if err != nil {
		return err
	}
	var digests []workflow.Digest
	for i, d := range p.Documents {
		if len(values) != len(p.Documents) || !verifies(p.certificate, d.Attributes, values[i]) {
			return refusal("bad-value", "Wrong.", nil)
		}
		digests = append(digests, sha256.Sum256(d.Attributes))
	}
	proof, err := consume(nil, digests)
	if err != nil {
		return err
	}
	f.change(v, func(_ *workflow.Session, p *workflow.Participant) { p.State, p.Decided = workflow.Signing, time.Now() })
	f.mu.Lock()
	defer f.mu.Unlock()
	f.values, f.proof, f.preparation = values, proof, nil
	return nil
}

func (f *fake) RemoveDevice(_ context.Context, v workflow.Visit, id, _ string) error {
	if err := f.once("remove"); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.credentials {
		if c.ID == id && c.Mail == v.Who().Mail {
			c.Revoked, c.RevokedBy = time.Now(), c.Mail
			return nil
		}
	}
	return refusal("no-device", "None.", nil)
}
