package evidence

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"milterd/auth"
	"milterd/auth/authtest"
	"milterd/pki"
	"milterd/report"
	"milterd/signature/pdf"
	"milterd/signer"
	"milterd/store"
	"milterd/workflow"
)

func TestMain(m *testing.M) {
	if pdf.ChildMain() {
		return
	}
	status := m.Run()
	for _, fn := range atEnd {
		fn()
	}
	os.Exit(status)
}

const origin = "https://sign.corp.test"

// house is a desk with everything that signs, as the program puts it together.
type house struct {
	t         testing.TB
	dir       string
	store     *store.Store
	keys      *auth.Keys
	authority *pki.Authority
	clock     pki.Timestamper
	desk      *workflow.Desk
	enrol     *auth.Enrolments
}

func newHouse(t testing.TB, dir string) *house {
	ctx := context.Background()
	h := &house{t: t, dir: dir}
	var err error
	h.store, err = store.Open(ctx, store.Config{URL: "sqlite:" + filepath.Join(dir, "milterd.db")})
	h.must(err)
	h.keys, err = auth.NewKeys(bytes.Repeat([]byte{1}, 32))
	h.must(err)
	at := filepath.Join(dir, "keys")
	h.must(pki.Init(at, pki.Options{Organisation: "Corp S.A.", Country: "LU", URL: origin, Key: pki.P256}))
	h.authority, err = pki.Open(pki.Config{Dir: at, Register: h.store})
	h.must(err)
	h.desk = &workflow.Desk{Store: h.store, Secrets: h.keys, Log: slog.New(slog.DiscardHandler), Now: time.Now,
		Reporter: report.New(report.Config{Organisation: "Corp S.A."}),
		Policy: workflow.Policy{URL: origin, Deadline: time.Hour, Retention: time.Hour, MailLimit: 10 << 20, Repeat: time.Hour,
			MailSize: func(...int64) int64 { return 0 }}}
	h.furnish()
	p, err := auth.NewPasskeys(auth.Site{Store: h.store, Keys: h.keys, URL: origin, Organisation: "Corp S.A.", Now: time.Now,
		Log: slog.New(slog.DiscardHandler)})
	h.must(err)
	h.enrol = &auth.Enrolments{Passkeys: p, Ways: []string{auth.WayAdministrator}}
	return h
}

// furnish gives the desk what works with the authority's keys.
func (h *house) furnish() {
	h.clock = h.authority.OwnClock(pki.ClockPolicy{AllowUnsynchronised: true})
	h.desk.Certifier = h.authority
	h.desk.Signer = signer.New(signer.Config{Seal: h.authority.Seal(), Organisation: "Corp S.A.", Time: h.clock,
		Evidence: &pki.Gatherer{Own: h.authority}})
}

func (h *house) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// person is a signatory with a device.
type person struct {
	workflow.Person
	device *authtest.Authenticator
	key    *ecdsa.PrivateKey
	serial string
	id     string // of the credential
}

var john, zoe = workflow.Person{Mail: "john.doe@corp.test", Name: "John Doe", Language: "en"}, workflow.Person{Mail: "zoe@corp.test", Name: "Zoë Müller", Language: "fr"}

func document(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "testdata", "pdf", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// open takes a request of John's to himself and Zoë for two documents.
func (h *house) open(level workflow.Level, subject string) *workflow.Session {
	h.t.Helper()
	ctx := context.Background()
	s, _, err := h.desk.Open(ctx, workflow.Opening{Level: level, Sender: john, ProvenBy: "sasl john", Signatories: []workflow.Person{john, zoe},
		Thread:    workflow.Thread{MessageID: "<" + subject + "@corp.test>", Subject: subject},
		Documents: []workflow.NewDocument{{Name: "contract.pdf", Content: document(h.t, "contract.pdf"), Pages: 2}, {Name: "annex.pdf", Content: document(h.t, "packed.pdf"), Pages: 1}},
		Mail:      []byte("mail"), BodyHash: sha256.Sum256([]byte(subject))})
	h.must(err)
	h.must(h.desk.Run(ctx, workflow.Job{Kind: workflow.JobPrepare, Session: s.ID}))
	return s
}

func (h *house) visit(id string, i int) workflow.Visit {
	h.t.Helper()
	v, err := h.desk.Visit(context.Background(), h.keys.Token(id, i))
	h.must(err)
	return v
}

// enrolled gives a person a passkey and a certified key.
func (h *house) enrolled(v workflow.Visit) *person {
	h.t.Helper()
	ctx := context.Background()
	p := &person{Person: v.Who().Person, device: authtest.New(origin)}
	var err error
	p.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	h.must(err)
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, p.key)
	h.must(err)
	key, err := auth.KeyOf(csr)
	h.must(err)
	n, err := h.enrol.Begin(ctx, v, "192.0.2.1", "Firefox on Linux")
	h.must(err)
	h.must(h.enrol.Approve(ctx, n.ID, "administrator"))
	options, ceremony, err := h.enrol.Options(ctx, v, n.Handle, key)
	h.must(err)
	answer, err := p.device.Create(options)
	h.must(err)
	c, _, _, err := h.enrol.Finish(ctx, v, n.Handle, ceremony, answer, "Phone of "+p.Name, key, "192.0.2.1", "Firefox on Linux")
	h.must(err)
	p.id = c.ID
	_, p.serial, err = h.desk.Certify(ctx, v, csr, c.ID, "enrolment", "192.0.2.1")
	h.must(err)
	return p
}

// shown looks at every document.
func (h *house) shown(v workflow.Visit) (out []workflow.Shown) {
	h.t.Helper()
	for _, i := range v.Session.Mailed() {
		_, r, err := h.desk.View(context.Background(), v, i, "192.0.2.1")
		h.must(err)
		out = append(out, workflow.Shown{Document: i, Revision: r.Number, SHA256: r.SHA256})
	}
	return out
}

// approve has a passkey approve digests.
func (h *house) approve(v workflow.Visit, p *person, digests []workflow.Digest) workflow.Consume {
	h.t.Helper()
	ctx := context.Background()
	options, ceremony, err := h.enrol.Passkeys.Begin(ctx, v, auth.LabelSign, digests)
	h.must(err)
	answer, err := p.device.Get(options)
	h.must(err)
	consume, err := h.enrol.ForSigning(ctx, v, ceremony, answer, "192.0.2.1")
	h.must(err)
	return consume
}

// sign does what the page does at level Advanced.
func (h *house) sign(id string, i int, p *person) {
	h.t.Helper()
	ctx := context.Background()
	v := h.visit(id, i)
	prepare := func() *workflow.Preparation {
		prep, err := h.desk.Prepare(ctx, v, h.shown(v), workflow.Appearance{Typed: p.Name}, p.serial, "192.0.2.1")
		h.must(err)
		return prep
	}
	h.must(h.desk.Abandon(ctx, v, prepare().ID, "byte-range", "192.0.2.1"))
	prep := prepare()
	var digests []workflow.Digest
	var values [][]byte
	for _, d := range prep.Documents {
		digests = append(digests, digest(d.Attributes))
		sum := sha256.Sum256(d.Attributes)
		r, s, err := ecdsa.Sign(rand.Reader, p.key, sum[:])
		h.must(err)
		values = append(values, append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...))
	}
	h.must(h.desk.Finish(ctx, v, prep.ID, values, "192.0.2.1", h.approve(v, p, digests)))
	h.must(h.desk.Run(ctx, workflow.Job{Kind: workflow.JobSign, Session: id, Person: i, Preparation: prep.ID}))
}

func (h *house) seal(id string) {
	h.t.Helper()
	h.must(h.desk.Run(context.Background(), workflow.Job{Kind: workflow.JobSeal, Session: id}))
}

// file is the evidence file of a session.
func (h *house) file(id string) []byte {
	h.t.Helper()
	e, err := h.desk.Evidence(context.Background(), id)
	h.must(err)
	return h.write(e)
}

func (h *house) write(e *workflow.Evidence) []byte {
	h.t.Helper()
	b, err := Write(context.Background(), e, h.authority.Seal(), h.clock)
	h.must(err)
	return b
}

// pdfs are the documents of a session as they stand.
func (h *house) pdfs(id string) (out []PDF) {
	h.t.Helper()
	ctx := context.Background()
	s, err := h.store.Session(ctx, id)
	h.must(err)
	for i, d := range s.Documents {
		b, err := h.store.Content(ctx, id, i, d.Head().Number)
		h.must(err)
		out = append(out, PDF{d.Name, b})
	}
	return out
}

// sessions is what most tests look at, made once: two Advanced ones and a
// Standard one, all signed by both and sealed.
type sessions struct {
	h                           *house
	advanced, another, standard string
	file                        []byte // of advanced
	pdfs                        []PDF
	john, zoe                   *person
}

var made struct {
	sync.Once
	s *sessions
}

func finished(t *testing.T) *sessions {
	t.Helper()
	made.Do(func() {
		dir, err := os.MkdirTemp("", "evidence-test-")
		if err != nil {
			t.Fatal(err)
		}
		atEnd = append(atEnd, func() { os.RemoveAll(dir) })
		h := newHouse(t, dir)
		s := &sessions{h: h, advanced: h.open(workflow.Advanced, "one").ID, another: h.open(workflow.Advanced, "two").ID,
			standard: h.open(workflow.Standard, "three").ID}
		s.john, s.zoe = h.enrolled(h.visit(s.advanced, 0)), h.enrolled(h.visit(s.advanced, 1))
		for _, id := range []string{s.advanced, s.another} {
			h.sign(id, 0, s.john)
			h.sign(id, 1, s.zoe)
			h.seal(id)
		}
		ctx := context.Background()
		for i, p := range []*person{s.john, s.zoe} {
			v := h.visit(s.standard, i)
			shown := h.shown(v)
			var digests []workflow.Digest
			for _, sh := range shown {
				digests = append(digests, sh.SHA256)
			}
			h.must(h.desk.Sign(ctx, v, shown, workflow.Appearance{Typed: p.Name}, "192.0.2.1", h.approve(v, p, digests)))
			h.must(h.desk.Run(ctx, workflow.Job{Kind: workflow.JobSign, Session: s.standard, Person: i}))
		}
		h.seal(s.standard)
		s.file, s.pdfs = h.file(s.advanced), h.pdfs(s.advanced)
		made.s = s
	})
	if made.s == nil {
		t.Fatal("the sessions could not be made")
	}
	made.s.h.t = t // the test that asks, not the one that asked first
	return made.s
}

var atEnd []func()

func (s *sessions) options(pdfs ...PDF) Options {
	return Options{Anchors: s.h.authority.Roots(), PDFs: pdfs}
}

// clone copies evidence, so that a test can change it.
func clone(t testing.TB, file []byte) *workflow.Evidence {
	t.Helper()
	body, _, err := split(file)
	if err != nil {
		t.Fatal(err)
	}
	e := &workflow.Evidence{}
	if err := json.Unmarshal(body, e); err != nil {
		t.Fatal(err)
	}
	return e
}

// answer has the device answer anew, over the digests of an older answer.
func (p *person) answer(t *testing.T, old *workflow.Assertion, label, session, mail string, unverified bool) *workflow.Assertion {
	t.Helper()
	a := *old
	a.Label, a.Session, a.Mail = label, session, mail
	challenge := auth.Challenge(label, session, mail, a.Digests, a.Nonce)
	options, err := json.Marshal(map[string]any{"publicKey": map[string]any{
		"challenge": base64.RawURLEncoding.EncodeToString(challenge[:]), "rpId": a.RelyingParty,
		"allowCredentials": []map[string]string{{"type": "public-key", "id": a.Credential}}}})
	if err != nil {
		t.Fatal(err)
	}
	p.device.Unverified = unverified
	defer func() { p.device.Unverified = false }()
	b, err := p.device.Get(options)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Response struct{ AuthenticatorData, ClientDataJSON, Signature string }
	}
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	for text, to := range map[string]*[]byte{got.Response.AuthenticatorData: &a.AuthenticatorData, got.Response.ClientDataJSON: &a.ClientData,
		got.Response.Signature: &a.Signature} {
		if *to, err = base64.RawURLEncoding.DecodeString(text); err != nil {
			t.Fatal(err)
		}
	}
	return &a
}
