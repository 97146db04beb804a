package evidence

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"milterd/pki/qualified/qualifiedtest"
	"milterd/validate"
	"milterd/workflow"
)

// taking is an Acceptor that takes everything; program's tests have the real one.
type taking struct {
	level   workflow.Level
	vouched string
}

func (a taking) Accept(_ context.Context, _ workflow.Person, chain [][]byte) (*workflow.Acceptance, error) {
	leaf, err := x509.ParseCertificate(chain[0])
	if err != nil {
		return nil, err
	}
	return &workflow.Acceptance{Level: a.level, Chain: chain, Subject: leaf.Subject.String(), Issuer: leaf.Issuer.String(), Serial: leaf.SerialNumber.Text(16),
		NotAfter: leaf.NotAfter, Vouched: a.vouched, At: time.Now().UTC()}, nil
}

// signQualified does what page and provider do at level Qualified.
func (h *house) signQualified(id string, i int, ca *qualifiedtest.Provider) {
	h.t.Helper()
	ctx := context.Background()
	v := h.visit(id, i)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	h.must(err)
	first, last, _ := strings.Cut(v.Who().Name, " ")
	cert, err := ca.Issue(qualifiedtest.Request{GivenName: first, Surname: last, Key: key.Public()})
	h.must(err)
	prep, err := h.desk.PrepareOffer(ctx, v, h.shown(v), workflow.Appearance{Typed: v.Who().Name},
		workflow.Offer{By: "Example Trust", Credential: "key", Algorithm: "ES256", Chain: [][]byte{cert.Cert.Raw, ca.CA.Raw}}, "192.0.2.1")
	h.must(err)
	var values [][]byte
	for _, d := range prep.Documents {
		sum := sha256.Sum256(d.Attributes)
		value, err := ecdsa.SignASN1(rand.Reader, key, sum[:])
		h.must(err)
		values = append(values, value)
	}
	h.must(h.desk.FinishOffer(ctx, v, prep.ID, values, "192.0.2.1"))
	h.must(h.desk.Run(ctx, workflow.Job{Kind: workflow.JobSign, Session: id, Person: i, Preparation: prep.ID}))
}

// The evidence of a Qualified session holds; changed in any part, even under the
// organisation's own seal, it does not.
func TestQualifiedEvidence(t *testing.T) {
	h := newHouse(t, t.TempDir())
	t.Cleanup(func() { h.store.Close() })
	h.desk.Acceptors = map[workflow.Level]workflow.Acceptor{workflow.Qualified: taking{workflow.Qualified, "trusted list of EE, number 1"}}
	srv := httptest.NewServer(nil)
	defer srv.Close()
	ca, err := qualifiedtest.New(time.Now, srv.URL)
	h.must(err)
	srv.Config.Handler = ca
	other, err := qualifiedtest.New(time.Now, srv.URL) // of the same name
	h.must(err)
	id := h.open(workflow.Qualified, "four").ID
	h.signQualified(id, 0, ca)
	h.signQualified(id, 1, ca)
	h.seal(id)
	file, pdfs := h.file(id), h.pdfs(id)
	anchors := h.authority.Roots()
	anchors.AddCert(ca.CA)
	if r := Check(file, Options{Anchors: anchors, PDFs: pdfs}); !r.Passed() || !strings.Contains(r.Text(), "qualified: trusted list of EE, number 1") {
		t.Fatal(r.Text())
	}
	if r := Check(file, Options{Anchors: anchors}); !r.Passed() {
		t.Errorf("the file alone:\n%s", r.Text())
	}
	later := Options{Anchors: anchors, Now: time.Now().AddDate(30, 0, 0)}
	if r := Check(file, later); !r.Passed() {
		t.Errorf("30 years later:\n%s", r.Text())
	}
	if r := Check(file, Options{Anchors: h.authority.Roots(), PDFs: pdfs}); r.Indication != validate.Indeterminate || !strings.Contains(r.Text(), "trust its certificate (--trust-signers)") {
		t.Errorf("without the provider's authority:\n%s", r.Text())
	}
	stranger, err := other.Issue(qualifiedtest.Request{GivenName: "John", Surname: "Doe"})
	h.must(err)
	namesake, err := ca.Issue(qualifiedtest.Request{GivenName: "John", Surname: "Doe"})
	h.must(err)
	taken := func(a *workflow.Act, cert *x509.Certificate, above ...*x509.Certificate) {
		q := a.Accepted
		q.Chain = [][]byte{cert.Raw}
		for _, c := range above {
			q.Chain = append(q.Chain, c.Raw)
		}
		q.Subject, q.Issuer, q.Serial, q.NotAfter = cert.Subject.String(), cert.Issuer.String(), cert.SerialNumber.Text(16), cert.NotAfter
		for i := range a.Own {
			a.Own[i].Certificate = q.Serial
		}
	}
	for name, change := range map[string]func(e *workflow.Evidence, a *workflow.Act){
		"another subject":             func(_ *workflow.Evidence, a *workflow.Act) { a.Accepted.Subject = "CN=Mallory" },
		"another issuer":              func(_ *workflow.Evidence, a *workflow.Act) { a.Accepted.Issuer = "CN=Mallory" },
		"another number":              func(_ *workflow.Evidence, a *workflow.Act) { a.Accepted.Serial = "1" },
		"another number of the value": func(_ *workflow.Evidence, a *workflow.Act) { a.Own[0].Certificate = "1" },
		"another end": func(_ *workflow.Evidence, a *workflow.Act) {
			a.Accepted.NotAfter = a.Accepted.NotAfter.Add(time.Second)
		},
		"another provider":              func(_ *workflow.Evidence, a *workflow.Act) { a.Accepted.By = workflow.ByCard },
		"another list":                  func(_ *workflow.Evidence, a *workflow.Act) { a.Accepted.Vouched = "the organisation itself" },
		"another algorithm":             func(_ *workflow.Evidence, a *workflow.Act) { a.Accepted.Algorithm = "ES384" },
		"an algorithm that is none":     func(_ *workflow.Evidence, a *workflow.Act) { a.Accepted.Algorithm = "none" },
		"the chain upside down":         func(_ *workflow.Evidence, a *workflow.Act) { slices.Reverse(a.Accepted.Chain) },
		"no chain":                      func(_ *workflow.Evidence, a *workflow.Act) { a.Accepted.Chain = a.Accepted.Chain[:1] },
		"nothing of it":                 func(_ *workflow.Evidence, a *workflow.Act) { a.Accepted.Chain = nil },
		"garbage above it":              func(_ *workflow.Evidence, a *workflow.Act) { a.Accepted.Chain[1] = []byte("garbage") },
		"an authority of the same name": func(_ *workflow.Evidence, a *workflow.Act) { a.Accepted.Chain[1] = other.CA.Raw },
		"no qualification":              func(_ *workflow.Evidence, a *workflow.Act) { a.Accepted = nil },
		"another level":                 func(e *workflow.Evidence, _ *workflow.Act) { e.Session.Level = workflow.Advanced },
		"taken for another level":       func(_ *workflow.Evidence, a *workflow.Act) { a.Accepted.Level = workflow.Advanced },
		"taken for Advanced, and asked so": func(e *workflow.Evidence, a *workflow.Act) {
			e.Session.Level, a.Accepted.Level = workflow.Advanced, workflow.Advanced // the colleague's is still one for Qualified
		},
		"another certificate of that name":   func(_ *workflow.Evidence, a *workflow.Act) { taken(a, namesake.Cert, ca.CA) },
		"a certificate of another authority": func(_ *workflow.Evidence, a *workflow.Act) { taken(a, stranger.Cert, other.CA) },
		"a colleague's certificate": func(e *workflow.Evidence, a *workflow.Act) {
			q := *e.Session.People[1].Act.Accepted
			a.Accepted = &q
		},
		"a colleague's values": func(e *workflow.Evidence, a *workflow.Act) { a.Own = e.Session.People[1].Act.Own },
		"values exchanged": func(_ *workflow.Evidence, a *workflow.Act) {
			a.Own[0].Value, a.Own[1].Value = a.Own[1].Value, a.Own[0].Value
		},
		"a bit of a value":     func(_ *workflow.Evidence, a *workflow.Act) { a.Own[0].Value[12] ^= 1 },
		"a value too few":      func(_ *workflow.Evidence, a *workflow.Act) { a.Own = a.Own[:1] },
		"other attributes":     func(_ *workflow.Evidence, a *workflow.Act) { a.Own[0].Attributes[20] ^= 1 },
		"another time":         func(_ *workflow.Evidence, a *workflow.Act) { a.At = a.At.Add(time.Minute) },
		"before it was issued": func(_ *workflow.Evidence, a *workflow.Act) { a.At = a.At.AddDate(-1, 0, 0) },
		"another proof":        func(_ *workflow.Evidence, a *workflow.Act) { a.Proof.Method = "passkey" },
		"another preparation":  func(_ *workflow.Evidence, a *workflow.Act) { a.Proof.Challenge = "x" },
	} {
		e := clone(t, file)
		change(e, e.Session.People[0].Act)
		if r := Check(h.write(e), Options{Anchors: anchors}); r.Indication != validate.Failed {
			t.Errorf("%s: %s\n%s", name, r.Indication, r.Text())
		}
	}
}
