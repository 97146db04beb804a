package workflow_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"milterd/workflow"
)

// Prepare leaves a place for the value in a line that names the document's
// digest and the certificate; the attributes are a digest of all that.
func (r *recorder) Prepare(_ context.Context, s *workflow.Session, doc, person int, look workflow.Appearance, at time.Time, key workflow.Key, head []byte) (*workflow.Prepared, error) {
	r.mu.Lock()
	fail, wait := r.prepare, r.preparing
	r.mu.Unlock()
	if wait != nil {
		wait()
	}
	if fail != nil {
		return nil, fail
	}
	if key.Whole {
		return &workflow.Prepared{SHA256: sha256.Sum256(head), Size: int64(len(head))}, nil
	}
	p := &workflow.Prepared{Suffix: fmt.Appendf(nil, "own %s %s ?\n", s.People[person].Mail, look.Typed)}
	p.SHA256 = sha256.Sum256(slices.Concat(head, p.Suffix))
	p.Size = int64(len(head) + len(p.Suffix))
	if len(key.Chain) == 0 {
		p.Digest = p.SHA256[:]
		return p, nil
	}
	p.Attributes = fmt.Appendf(nil, "attributes of %x by %x", p.SHA256, sha256.Sum256(key.Chain[0]))
	p.Signer, _ = json.Marshal(key.Chain)
	return p, nil
}

// made is what somebody else makes in the place of a CMS.
type made struct {
	Chain                     [][]byte
	Digest, Attributes, Value []byte
}

func (r *recorder) Take(_ context.Context, p *workflow.Prepared, head, b []byte) (workflow.Key, error) {
	var m made
	if sha256.Sum256(head) != p.Head || json.Unmarshal(b, &m) != nil || string(m.Digest) != string(p.Digest) || len(m.Chain) == 0 {
		return workflow.Key{}, &workflow.Refusal{Code: 550, Reason: "foreign-signature", Text: "Wrong."}
	}
	taken := *p
	taken.Signer, _ = json.Marshal(m.Chain)
	taken.Attributes, taken.Value, taken.Made = m.Attributes, m.Value, b
	if err := r.CheckValue(&taken, m.Value); err != nil {
		return workflow.Key{}, &workflow.Refusal{Code: 550, Reason: "foreign-signature", Text: "Wrong.", Err: err}
	}
	if taken.Suffix == nil { // given away whole
		taken.Suffix = fmt.Appendf(nil, "signed elsewhere by %x ?\n", sha256.Sum256(m.Chain[0]))
	}
	*p = taken
	return workflow.Key{Chain: m.Chain, Algorithm: "ES256"}, nil
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

// authority is a Certifier without extensions; it counts what it signed.
type authority struct {
	key     *ecdsa.PrivateKey
	cert    []byte
	valid   time.Duration
	issued  atomic.Int64
	serials atomic.Int64
	issuing func() // called before it signs
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{key: newKey(t), valid: 30 * 24 * time.Hour}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Corp CA"},
		NotAfter: time.Date(2040, 1, 1, 0, 0, 0, 0, time.UTC), IsCA: true, BasicConstraintsValid: true}
	var err error
	if a.cert, err = x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *authority) Draft(p workflow.Person, csr []byte, now time.Time) (*workflow.Certificate, error) {
	r, err := x509.ParseCertificateRequest(csr)
	if err != nil || r.CheckSignature() != nil {
		return nil, &workflow.Refusal{Code: 554, Reason: "bad-csr", Text: "Bad."}
	}
	n := a.serials.Add(1)
	return &workflow.Certificate{Serial: fmt.Sprintf("%x", 0xa000+n), Mail: p.Mail, Name: p.Name,
		Key: sha256.Sum256(r.RawSubjectPublicKeyInfo), PublicKey: r.RawSubjectPublicKeyInfo,
		NotBefore: now.Add(-time.Minute), NotAfter: now.Add(a.valid)}, nil
}

func (a *authority) Issue(_ context.Context, c *workflow.Certificate) error {
	if a.issuing != nil {
		a.issuing()
	}
	pub, err := x509.ParsePKIXPublicKey(c.PublicKey)
	if err != nil {
		return err
	}
	ca, _ := x509.ParseCertificate(a.cert)
	serial, _ := new(big.Int).SetString(c.Serial, 16)
	c.DER, err = x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: c.Name},
		NotBefore: c.NotBefore, NotAfter: c.NotAfter}, ca, pub, a.key)
	a.issued.Add(1)
	return err
}

func (a *authority) Issuers() [][]byte { return [][]byte{a.cert} }

func (a *authority) Above(*x509.Certificate) []*x509.Certificate {
	ca, _ := x509.ParseCertificate(a.cert)
	return []*x509.Certificate{ca}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// request is a CSR that claims to be somebody else.
func request(t *testing.T, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "The Boss"}}, key)
	if err != nil {
		t.Fatal(err)
	}
	return csr
}

// device is an enrolled one with its own certified key.
type device struct {
	key        *ecdsa.PrivateKey
	credential string
	serial     string
}

// ownDesk is a desk with an authority.
func ownDesk(t *testing.T) (*desk, *authority) {
	d, a := newDesk(t), newAuthority(t)
	d.Certifier = a
	return d, a
}

func advanced(id string, signatories ...workflow.Person) workflow.Opening {
	o := opening(id, signatories...)
	o.Level = workflow.Advanced
	return o
}

// enrol gives a person a device.
func (d *desk) enrol(t *testing.T, v workflow.Visit, name string) *device {
	t.Helper()
	dev := &device{key: newKey(t), credential: "credential of " + name}
	c := &workflow.Credential{ID: dev.credential, Mail: v.Who().Mail, Kind: workflow.Passkey, Name: name, Enrolled: d.Now(), ApprovedBy: "directory password"}
	if err := d.store.Do(t.Context(), func(tx workflow.Tx) error { return tx.SaveCredential(c) }); err != nil {
		t.Fatal(err)
	}
	chain, serial, err := d.Certify(t.Context(), v, request(t, dev.key), dev.credential, "enrolment", "127.0.0.1")
	if err != nil || len(chain) != 2 {
		t.Fatalf("certify: %d certificates, %v", len(chain), err)
	}
	dev.serial = serial
	return dev
}

func (d *desk) prepareAs(t *testing.T, v workflow.Visit, dev *device) (*workflow.Preparation, error) {
	t.Helper()
	return d.Prepare(t.Context(), v, d.shown(t, v), workflow.Appearance{Typed: v.Who().Name}, dev.serial, "127.0.0.1")
}

// mustPrepare also checks, as a page does, that it was given what it will sign.
func (d *desk) mustPrepare(t *testing.T, v workflow.Visit, dev *device) *workflow.Preparation {
	t.Helper()
	p, err := d.prepareAs(t, v, dev)
	if err != nil {
		t.Fatal(err)
	}
	for _, doc := range p.Documents {
		b, err := d.PreparedContent(t.Context(), v, p.ID, doc.Document)
		if err != nil || sha256.Sum256(b) != doc.SHA256 || int64(len(b)) != doc.Size {
			t.Fatalf("prepared document %d: %q, %v", doc.Document, b, err)
		}
		if doc.Suffix != nil || doc.Signer != nil {
			t.Error("the page gets what is not its own")
		}
	}
	return p
}

func (dev *device) values(t *testing.T, p *workflow.Preparation) [][]byte {
	t.Helper()
	var out [][]byte
	for _, doc := range p.Documents {
		digest := sha256.Sum256(doc.Attributes)
		value, err := ecdsa.SignASN1(rand.Reader, dev.key, digest[:])
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, value)
	}
	return out
}

// proving is a passkey that approves what a preparation's page showed, and
// nothing else; it counts how often somebody had to.
func proving(p *workflow.Preparation, n *int) workflow.Consume {
	var approved []workflow.Digest
	for _, doc := range p.Documents {
		approved = append(approved, sha256.Sum256(doc.Attributes))
	}
	*n++
	return func(_ workflow.Tx, digests []workflow.Digest) (workflow.Proof, error) {
		if !slices.Equal(approved, digests) {
			return workflow.Proof{}, &workflow.Refusal{Code: 550, Reason: "wrong-passkey", Text: "It approved something else."}
		}
		return workflow.Proof{Method: "passkey", Challenge: "c", Device: "phone", Client: "127.0.0.1"}, nil
	}
}

func (d *desk) finishAs(t *testing.T, v workflow.Visit, dev *device, p *workflow.Preparation) error {
	t.Helper()
	var n int
	return d.Finish(t.Context(), v, p.ID, dev.values(t, p), "127.0.0.1", proving(p, &n))
}

// signOwn goes through the whole of it, up to the job.
func (d *desk) signOwn(t *testing.T, v workflow.Visit, dev *device) {
	t.Helper()
	if err := d.finishAs(t, v, dev, d.mustPrepare(t, v, dev)); err != nil {
		t.Fatal(err)
	}
}

// trail gives the kinds of a session's events, without mails.
func (d *desk) trail(t *testing.T, id string) string {
	t.Helper()
	events, err := d.store.Events(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, e := range events {
		switch e.Kind {
		case workflow.EventMailed, workflow.EventCertified, workflow.EventViewed:
			continue
		case workflow.EventRefused:
			kinds = append(kinds, "refused:"+e.Detail["reason"])
		default:
			kinds = append(kinds, string(e.Kind))
		}
	}
	return strings.Join(kinds, " ")
}

func (d *desk) content(t *testing.T, id string, doc int) string {
	t.Helper()
	b, err := d.store.Content(t.Context(), id, doc, d.session(t, id).Documents[doc].Head().Number)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestOwnKeySession(t *testing.T) {
	d, _ := ownDesk(t)
	s := open(t, d, advanced("m1", john, emma))
	for _, p := range []workflow.Person{john, emma} {
		v := d.visit(t, s, p)
		d.signOwn(t, v, d.enrol(t, v, p.Name))
		if err := d.run(t, s.ID, workflow.JobSign); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.run(t, s.ID, workflow.JobSeal); err != nil {
		t.Fatal(err)
	}
	s = d.session(t, s.ID)
	want(t, "state", s.State, workflow.Done)
	want(t, "contract", d.content(t, s.ID, 0), "contract\nlayout\nown john.doe@corp.test John Doe value\ndss\n"+
		"own emma@corp.test Emma Curie value\ndss\nseal\narchive\n")
	want(t, "annex, signed by others before", d.content(t, s.ID, 1), "annex\nown john.doe@corp.test John Doe value\ndss\n"+
		"own emma@corp.test Emma Curie value\ndss\nseal\narchive\n")
	want(t, "trail", d.trail(t, s.ID), "opened prepared prepared-own signed signed-own prepared-own signed signed-own sealed done")
	for _, i := range s.Signatories() {
		act := s.People[i].Act
		if len(act.Own) != 2 || len(act.Shown) != 2 || act.Proof.Method != "passkey" {
			t.Errorf("evidence of %s: %+v", s.People[i].Name, act)
		}
		if _, err := d.store.Ceremony(t.Context(), act.Preparation, d.Now()); !errors.Is(err, workflow.ErrNotFound) {
			t.Errorf("a preparation that is completed is kept: %v", err)
		}
	}
}

// Two press Sign in the same minute: one waits before anything is asked of
// her, both signatures stand, and each has proven once.
func TestColleagueWaits(t *testing.T) {
	d, _ := ownDesk(t)
	s := open(t, d, advanced("m1", john, emma))
	vj, ve := d.visit(t, s, john), d.visit(t, s, emma)
	dj, de := d.enrol(t, vj, "phone"), d.enrol(t, ve, "laptop")
	proofs := 0
	prepared := d.mustPrepare(t, vj, dj)
	emmaIs := func(when, expect string) {
		t.Helper()
		_, err := d.prepareAs(t, ve, de)
		want(t, "emma "+when, reason(err), expect)
	}
	emmaIs("while John's page is open", "busy")
	d.signer.fail = errors.New("TSA away") // just now
	if err := d.Finish(t.Context(), vj, prepared.ID, dj.values(t, prepared), "", proving(prepared, &proofs)); err != nil {
		t.Fatal(err)
	}
	if err := d.run(t, s.ID, workflow.JobSign); err == nil {
		t.Fatal("the signer did not fail")
	}
	d.tick(time.Hour)
	d.signer.fail = nil
	emmaIs("while John's value waits for its time", "busy")
	if err := d.run(t, s.ID, workflow.JobSign); err != nil {
		t.Fatal(err)
	}
	p := d.mustPrepare(t, ve, de)
	if err := d.Finish(t.Context(), ve, p.ID, de.values(t, p), "", proving(p, &proofs)); err != nil {
		t.Fatal(err)
	}
	if err := d.run(t, s.ID, workflow.JobSign); err != nil {
		t.Fatal(err)
	}
	want(t, "state", d.session(t, s.ID).State, workflow.Sealing)
	want(t, "proofs", proofs, 2)
	want(t, "contract", d.content(t, s.ID, 0), "contract\nlayout\nown john.doe@corp.test John Doe value\ndss\nown emma@corp.test Emma Curie value\ndss\n")
}

// Many press in the same moment, on both sides of a prepare: one gets the head.
func TestOnePreparesAtATime(t *testing.T) {
	d, _ := ownDesk(t)
	s := open(t, d, advanced("m1", john, emma))
	people := []workflow.Person{john, emma}
	type answer struct {
		who int
		err error
	}
	answers := make(chan answer)
	for i, p := range people {
		v := d.visit(t, s, p)
		dev, shown := d.enrol(t, v, p.Name), d.shown(t, v)
		go func() {
			_, err := d.Prepare(t.Context(), v, shown, workflow.Appearance{Typed: p.Name}, dev.serial, "")
			answers <- answer{i, err}
		}()
	}
	got := []string{reason((<-answers).err), reason((<-answers).err)}
	slices.Sort(got)
	want(t, "answers", got, []string{"<nil>", "busy"})
}
