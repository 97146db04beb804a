package evidence

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/asn1"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"milterd/pki"
	"milterd/pki/qualified/qualifiedtest"
	"milterd/signature/pades"
	"milterd/validate"
	"milterd/workflow"
)

const phonesVouch = "the organisation's authorities for Advanced signatures, SignScope Local, /etc/milterd/phones: CN=Corp Phones"

// corporate makes a certificate of an organisation's authority a phone's.
func corporate(mail string) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.KeyUsage, c.EmailAddresses = x509.KeyUsageDigitalSignature, []string{mail}
	}
}

// signOnPhone does what page and server do at level Advanced: the documents are given
// away, and come back signed.
func (h *house) signOnPhone(id string, i int, ca *qualifiedtest.Provider) {
	h.t.Helper()
	ctx := context.Background()
	v := h.visit(id, i)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	h.must(err)
	leaf, err := ca.Issue(qualifiedtest.Request{GivenName: "Z.", Surname: "M.", Key: key.Public(), NoStatements: true, Change: corporate(v.Who().Mail)})
	h.must(err)
	prep, err := h.desk.PrepareOffer(ctx, v, h.shown(v), workflow.Appearance{Typed: v.Who().Name}, workflow.Offer{By: "Corp Phones", Whole: true}, "192.0.2.1")
	h.must(err)
	var made [][]byte
	for _, d := range prep.Documents {
		file, err := h.desk.PreparedContent(ctx, v, prep.ID, d.Document)
		h.must(err)
		suffix, err := pades.Sign(ctx, file, pades.Params{Certificate: leaf.Cert, Chain: []*x509.Certificate{ca.CA}, Time: time.Now(), TokenSize: 6000}, key, nil)
		h.must(err)
		made = append(made, suffix)
	}
	h.must(h.desk.FinishOffer(ctx, v, prep.ID, made, "192.0.2.1"))
	h.must(h.desk.Run(ctx, workflow.Job{Kind: workflow.JobSign, Session: id, Person: i, Preparation: prep.ID}))
}

// One signs with a device of his, the other on her phone: the evidence of both holds in one
// file, which says Advanced and who vouched; changed in any part it does not.
func TestPhoneEvidence(t *testing.T) {
	h := newHouse(t, t.TempDir())
	t.Cleanup(func() { h.store.Close() })
	h.desk.Acceptors = map[workflow.Level]workflow.Acceptor{workflow.Advanced: taking{workflow.Advanced, phonesVouch}}
	srv := httptest.NewServer(nil)
	defer srv.Close()
	ca, err := qualifiedtest.New(time.Now, srv.URL)
	h.must(err)
	srv.Config.Handler = ca
	id := h.open(workflow.Advanced, "five").ID
	h.sign(id, 0, h.enrolled(h.visit(id, 0)))
	h.signOnPhone(id, 1, ca)
	h.seal(id)
	file, pdfs := h.file(id), h.pdfs(id)
	anchors, authority := h.authority.Roots(), []*x509.Certificate{ca.CA}
	r := Check(file, Options{Anchors: anchors, Signers: authority, PDFs: pdfs})
	if !r.Passed() {
		t.Fatal(r.Text())
	}
	for _, says := range []string{"level Advanced", "zoe@corp.test: proof", "Corp Phones makes it for its person alone", "issued by Test QTSP Signing CA (stand-in)", "; advanced: " + phonesVouch} {
		if !strings.Contains(r.Text(), says) {
			t.Errorf("it does not say %q:\n%s", says, r.Text())
		}
	}
	if strings.Contains(strings.ToLower(r.Text()), "qualified") || strings.Contains(string(file), `"qualified`) {
		t.Errorf("it speaks of being qualified:\n%s", r.Text())
	}
	for _, p := range pdfs {
		if v, err := validate.File(p.Content, validate.Options{Anchors: Options{Anchors: anchors, Signers: authority}.signers()}); err != nil || !v.Passed() || v.Signatures[0].Level != validate.LevelLTA && !strings.Contains(v.Text(), "B-LTA") {
			t.Errorf("%s: %v\n%s", p.Name, err, v.Text())
		}
	}
	if r := Check(file, Options{Anchors: anchors, Signers: authority, Now: time.Now().AddDate(30, 0, 0)}); !r.Passed() {
		t.Errorf("30 years later:\n%s", r.Text())
	}
	if r := Check(file, Options{Anchors: h.authority.Roots()}); r.Indication != validate.Indeterminate || !strings.Contains(r.Text(), "trust its certificate (--trust-signers)") {
		t.Errorf("without the phones' authority:\n%s", r.Text())
	}
	login, err := ca.Issue(qualifiedtest.Request{GivenName: "Z.", Surname: "M.", NoStatements: true, Change: func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyAgreement }})
	h.must(err)
	for name, change := range map[string]func(e *workflow.Evidence, a *workflow.Act){
		"taken for Qualified": func(_ *workflow.Evidence, a *workflow.Act) { a.Accepted.Level = workflow.Qualified },
		"a Qualified session": func(e *workflow.Evidence, a *workflow.Act) { e.Session.Level = workflow.Qualified },
		"both": func(e *workflow.Evidence, a *workflow.Act) {
			e.Session.Level, a.Accepted.Level = workflow.Qualified, workflow.Qualified
		},
		"a Standard session": func(e *workflow.Evidence, a *workflow.Act) {
			e.Session.Level, a.Accepted.Level = workflow.Standard, workflow.Standard
		},
		"nothing of it":           func(_ *workflow.Evidence, a *workflow.Act) { a.Accepted = nil },
		"another folder":          func(_ *workflow.Evidence, a *workflow.Act) { a.Accepted.Vouched = "trusted list of EE" },
		"another server":          func(_ *workflow.Evidence, a *workflow.Act) { a.Accepted.By = "Other Phones" },
		"a colleague's signature": func(e *workflow.Evidence, a *workflow.Act) { a.Own = e.Session.People[0].Act.Own },
		"a certificate for encryption": func(_ *workflow.Evidence, a *workflow.Act) {
			a.Accepted.Chain[0] = login.Cert.Raw
		},
		"no chain":            func(_ *workflow.Evidence, a *workflow.Act) { a.Accepted.Chain = a.Accepted.Chain[:1] },
		"a bit of a value":    func(_ *workflow.Evidence, a *workflow.Act) { a.Own[0].Value[12] ^= 1 },
		"another proof":       func(_ *workflow.Evidence, a *workflow.Act) { a.Proof.Method = "qualified signature" },
		"before its issue":    func(_ *workflow.Evidence, a *workflow.Act) { a.At = a.At.AddDate(-1, 0, 0) },
		"his acceptance, too": func(e *workflow.Evidence, a *workflow.Act) { e.Session.People[0].Act.Accepted = a.Accepted },
	} {
		e := clone(t, file)
		change(e, e.Session.People[1].Act)
		if r := Check(h.write(e), Options{Anchors: anchors, Signers: authority}); r.Indication != validate.Failed {
			t.Errorf("%s: %s\n%s", name, r.Indication, r.Text())
		}
	}

	// Whoever has a certificate for documents from the phones' authority seals no evidence.
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	h.must(err)
	forger, err := ca.Issue(qualifiedtest.Request{GivenName: "Corp", Surname: "S.A.", Key: key.Public(), NoStatements: true, Change: func(c *x509.Certificate) {
		c.KeyUsage, c.UnknownExtKeyUsage = x509.KeyUsageDigitalSignature, []asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 36}}
	}})
	h.must(err)
	e := clone(t, file)
	e.Session.People[1].Act.Appearance.Typed = "Mallory"
	forged, err := Write(t.Context(), e, pki.Identity{Key: key, Chain: []*x509.Certificate{forger.Cert, ca.CA}}, h.clock)
	h.must(err)
	if r := Check(forged, Options{Anchors: anchors, Signers: authority}); r.Passed() || !strings.Contains(r.Text(), "unknown  seal over the file") {
		t.Errorf("sealed with a phone's certificate: %s\n%s", r.Indication, r.Text())
	}
}
