package auth_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"milterd/auth"
	"milterd/workflow"
)

// cards is a room that takes every certificate, until it is told not to; program's tests
// have the one that looks.
type cards struct {
	err   error
	asked []string // of whom
}

func (c *cards) Login(_ context.Context, p workflow.Person, cert *x509.Certificate) (string, error) {
	c.asked = append(c.asked, p.Mail)
	return cert.Subject.String(), c.err
}

func (c *cards) Registrable(_ context.Context, p workflow.Person, chain [][]byte) (*workflow.Acceptance, error) {
	c.asked = append(c.asked, p.Mail)
	return &workflow.Acceptance{Chain: chain}, c.err
}

// idCard is a stand-in for an identity card in a reader and for Web eID's program: a software key.
type idCard struct {
	key  *ecdsa.PrivateKey
	cert []byte
}

func newIDCard(t *testing.T) *idCard {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "JOHN DOE", SerialNumber: "PNOEE-1"}, NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &idCard{key, der}
}

// token is the answer to a nonce at a site, in the fields of the format.
func (c *idCard) token(t *testing.T, origin, nonce string) map[string]string {
	t.Helper()
	sum := func(b []byte) []byte { d := sha512.Sum384(b); return d[:] }
	r, s, err := ecdsa.Sign(rand.Reader, c.key, sum(append(sum([]byte(origin)), sum([]byte(nonce))...)))
	if err != nil {
		t.Fatal(err)
	}
	value := append(r.FillBytes(make([]byte, 48)), s.FillBytes(make([]byte, 48))...)
	return map[string]string{"unverifiedCertificate": base64.StdEncoding.EncodeToString(c.cert), "algorithm": "ES384",
		"signature": base64.StdEncoding.EncodeToString(value), "format": "web-eid:1.0", "appVersion": "stand-in"}
}

func asJSON(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func cardDesk(t *testing.T) (*desk, *cards, *idCard) {
	d, c := newDesk(t), &cards{}
	d.Ways, d.Cards, d.Readers = append(d.Ways, auth.WayCard), c, true
	return d, c, newIDCard(t)
}

// An identity card is the second proof of an enrolment, and stands on record as that.
func TestCard(t *testing.T) {
	d, c, card := cardDesk(t)
	n := d.begin(t, d.john)
	want(t, "ways", strings.Join(n.Ways, " "), "password administrator card")
	nonce, ceremony, err := d.BeginCard(t.Context(), d.john, n.Handle)
	if raw, e := base64.StdEncoding.DecodeString(nonce); err != nil || e != nil || len(raw) != 32 {
		t.Fatalf("nonce %q, %v", nonce, err)
	}
	n, err = d.Card(t.Context(), d.john, n.Handle, ceremony, asJSON(t, card.token(t, origin, nonce)), client)
	if err != nil || n.ApprovedBy != "identity card" || !slices.Equal(c.asked, []string{"john.doe@corp.test"}) {
		t.Fatalf("%+v, %v, asked %v", n, err, c.asked)
	}
	cred, _, r := d.register(t, d.john, n.Handle, d.device)
	want(t, "register", r, "")
	want(t, "approved by", cred.ApprovedBy, "identity card")
	e := d.events(t, workflow.EventApproved, workflow.EventCardRefused)
	if len(e) != 1 || e[0].Detail["by"] != "identity card" || !strings.Contains(e[0].Detail["subject"], "JOHN DOE") || e[0].Client != client {
		t.Errorf("on record: %+v", e)
	}
}

// What is not the card's answer to this question, of this site, now, for this enrolment: each
// has its word, stands on record, approves nothing, and has used up the question.
func TestCardRefused(t *testing.T) {
	d, c, card := cardDesk(t)
	refusal := func(reason string) *workflow.Refusal {
		return &workflow.Refusal{Code: 550, Reason: reason, Text: "Not this one."}
	}
	for _, k := range []struct {
		name  string
		token func(nonce string) any // nil for none
		login error
		want  string
	}{
		{"another site", func(nonce string) any { return card.token(t, "https://evil.test", nonce) }, nil, "card-answer"},
		{"the site without its scheme", func(nonce string) any { return card.token(t, "sign.corp.test", nonce) }, nil, "card-answer"},
		{"another question", func(string) any { return card.token(t, origin, base64.StdEncoding.EncodeToString(make([]byte, 32))) }, nil, "card-answer"},
		{"another card's certificate", func(nonce string) any {
			x := card.token(t, origin, nonce)
			x["unverifiedCertificate"] = base64.StdEncoding.EncodeToString(newIDCard(t).cert)
			return x
		}, nil, "card-answer"},
		{"r‖s too short", func(nonce string) any {
			x := card.token(t, origin, nonce)
			b, _ := base64.StdEncoding.DecodeString(x["signature"])
			x["signature"] = base64.StdEncoding.EncodeToString(b[:64])
			return x
		}, nil, "card-answer"},
		{"another algorithm", func(nonce string) any { x := card.token(t, origin, nonce); x["algorithm"] = "ES256"; return x }, nil, "weak-algorithm"},
		{"version 2", func(nonce string) any { x := card.token(t, origin, nonce); x["format"] = "web-eid:2.0"; return x }, nil, "card-token"},
		{"no token", func(string) any { return nil }, nil, "card-token"},
		{"the certificate for signatures", nil, refusal("signing-certificate"), "signing-certificate"},
		{"expired", nil, refusal("certificate-expired"), "certificate-expired"},
		{"revoked", nil, refusal("certificate-revoked"), "certificate-revoked"},
		{"somebody else", nil, refusal("wrong-person"), "wrong-person"},
		{"a namesake", nil, refusal("name-alone"), "name-alone"},
	} {
		n := d.begin(t, d.john)
		nonce, ceremony, err := d.BeginCard(t.Context(), d.john, n.Handle)
		if err != nil {
			t.Fatal(err)
		}
		var token any = card.token(t, origin, nonce)
		if k.token != nil {
			token = k.token(nonce)
		}
		c.err = k.login
		_, err = d.Card(t.Context(), d.john, n.Handle, ceremony, asJSON(t, token), client)
		want(t, k.name, reason(err), k.want)
		e := d.events(t, workflow.EventCardRefused)
		if len(e) == 0 || e[len(e)-1].Detail["reason"] != k.want || e[len(e)-1].Detail["for"] != "approve" || e[len(e)-1].Client != client {
			t.Errorf("%s: on record %+v", k.name, e)
		}
		c.err = nil
		_, err = d.Card(t.Context(), d.john, n.Handle, ceremony, asJSON(t, card.token(t, origin, nonce)), client)
		want(t, k.name+", then the right answer", reason(err), "ceremony-gone")
		if n, err := d.State(t.Context(), d.john, n.Handle); err != nil || n.ApprovedBy != "" {
			t.Errorf("%s: %+v, %v", k.name, n, err)
		}
		_, _, err = d.Options(t.Context(), d.john, n.Handle, key("device key"))
		want(t, k.name+", enrolling all the same", reason(err), "not-approved")
		d.clock = d.clock.Add(25 * time.Hour) // a day has only so many enrolments
	}
}

// A question is good once, for five minutes, for its enrolment and its person.
func TestCardQuestion(t *testing.T) {
	d, _, card := cardDesk(t)
	n, other, janes := d.begin(t, d.john), d.begin(t, d.john), d.begin(t, d.jane)
	begin := func() (string, string) {
		t.Helper()
		nonce, ceremony, err := d.BeginCard(t.Context(), d.john, n.Handle)
		if err != nil {
			t.Fatal(err)
		}
		return nonce, ceremony
	}
	for name, k := range map[string]struct {
		visit  workflow.Visit
		handle string
		want   string
	}{
		"another enrolment of his":      {d.john, other.Handle, "ceremony-gone"},
		"another person":                {d.jane, janes.Handle, "ceremony-gone"},
		"his enrolment, by another one": {d.jane, n.Handle, "enrolment-gone"},
		"by its id, without the handle": {d.john, n.ID, "enrolment-gone"},
	} {
		nonce, ceremony := begin()
		_, err := d.Card(t.Context(), k.visit, k.handle, ceremony, asJSON(t, card.token(t, origin, nonce)), client)
		want(t, name, reason(err), k.want)
		_, _, err = d.BeginCard(t.Context(), k.visit, "x"+k.handle)
		want(t, name+", a question", reason(err), "enrolment-gone")
	}
	nonce, ceremony := begin()
	d.clock = d.clock.Add(auth.CeremonyLifetime)
	_, err := d.Card(t.Context(), d.john, n.Handle, ceremony, asJSON(t, card.token(t, origin, nonce)), client)
	want(t, "too late", reason(err), "ceremony-gone")
	_, err = d.Card(t.Context(), d.john, n.Handle, "nothing", asJSON(t, card.token(t, origin, nonce)), client)
	want(t, "nothing", reason(err), "ceremony-gone")

	nonce, ceremony = begin()
	if _, err := d.Card(t.Context(), d.john, n.Handle, ceremony, asJSON(t, card.token(t, origin, nonce)), client); err != nil {
		t.Fatal(err)
	}
	_, err = d.Card(t.Context(), d.john, n.Handle, ceremony, asJSON(t, card.token(t, origin, nonce)), client)
	want(t, "again", reason(err), "ceremony-gone")
	// An authority that is away is nobody's fault.
	d2, c2, _ := cardDesk(t)
	c2.err = &workflow.Refusal{Code: 451, Reason: "revocation-unknown", Text: "Later.", Err: errors.New("away")}
	n2 := d2.begin(t, d2.john)
	nonce, ceremony, err = d2.BeginCard(t.Context(), d2.john, n2.Handle)
	if err != nil {
		t.Fatal(err)
	}
	_, err = d2.Card(t.Context(), d2.john, n2.Handle, ceremony, asJSON(t, card.token(t, origin, nonce)), client)
	want(t, "away", reason(err), "revocation-unknown")
	if e := d2.events(t, workflow.EventCardRefused); len(e) != 0 {
		t.Errorf("on record: %+v", e)
	}
}

// Where cards are no way, none is asked for.
func TestCardNotAccepted(t *testing.T) {
	for name, spoil := range map[string]func(*desk){
		"not configured": func(d *desk) { d.Ways = []string{auth.WayPassword} },
		"no readers":     func(d *desk) { d.Readers = false },
		"no room":        func(d *desk) { d.Cards = nil },
	} {
		d, _, card := cardDesk(t)
		n := d.begin(t, d.john)
		nonce, ceremony, err := d.BeginCard(t.Context(), d.john, n.Handle)
		if err != nil {
			t.Fatal(err)
		}
		spoil(d)
		_, _, err = d.BeginCard(t.Context(), d.john, n.Handle)
		want(t, name, reason(err), "way-not-accepted")
		_, err = d.Card(t.Context(), d.john, n.Handle, ceremony, asJSON(t, card.token(t, origin, nonce)), client)
		want(t, name, reason(err), "way-not-accepted")
	}
}

// A certificate is registered by the same second proofs as a device, and never by a mailbox alone.
func TestRegisterCertificate(t *testing.T) {
	d, c, card := cardDesk(t)
	n := d.begin(t, d.john)
	chain := [][]byte{card.cert}
	want(t, "without a second proof", reason(d.Certificate(t.Context(), d.john, n.Handle, chain, client)), "not-approved")
	want(t, "nobody was asked about it", strings.Join(c.asked, " "), "")
	want(t, "approve", reason(d.Approve(t.Context(), n.ID, "administrator")), "")
	want(t, "by another person", reason(d.Certificate(t.Context(), d.jane, n.Handle, chain, client)), "enrolment-gone")
	want(t, "by the enrolment's id", reason(d.Certificate(t.Context(), d.john, n.ID, chain, client)), "enrolment-gone")
	c.err = &workflow.Refusal{Code: 550, Reason: "no-qscd", Text: "Not this one."}
	want(t, "not a good one", reason(d.Certificate(t.Context(), d.john, n.Handle, chain, client)), "no-qscd")
	if e := d.events(t, workflow.EventCardRefused); len(e) != 1 || e[0].Detail["reason"] != "no-qscd" || e[0].Detail["for"] != "register" {
		t.Errorf("on record: %+v", e)
	}
	c.err = nil
	want(t, "register", reason(d.Certificate(t.Context(), d.john, n.Handle, chain, client)), "")
	want(t, "the enrolment is used up", reason(d.Certificate(t.Context(), d.john, n.Handle, chain, client)), "enrolment-gone")
	all, err := d.Store.Credentials(t.Context(), "john.doe@corp.test")
	if err != nil || len(all) != 1 || all[0].Kind != workflow.QualifiedCertificate || all[0].ApprovedBy != "administrator" || all[0].Certificate() == nil {
		t.Fatalf("registered: %+v, %v", all, err)
	}
	if e := d.events(t, workflow.EventRegistered); len(e) != 1 || e[0].Detail["enrolment"] != n.ID || e[0].Actor != "john.doe@corp.test" {
		t.Errorf("on record: %+v", e)
	}
	if !d.mailed(t, all[0].ID) {
		t.Error("nobody is told")
	}
	again := d.begin(t, d.john)
	want(t, "approve", reason(d.Approve(t.Context(), again.ID, "administrator")), "")
	want(t, "again", reason(d.Certificate(t.Context(), d.john, again.Handle, chain, client)), "certificate-known")
	d.Cards = nil
	want(t, "where none are taken", reason(d.Certificate(t.Context(), d.john, again.Handle, chain, client)), "no-card")
}

// A registered certificate is no passkey: it approves nothing and opens nothing.
func TestCertificateIsNoDevice(t *testing.T) {
	d, _, card := cardDesk(t)
	n := d.begin(t, d.john)
	want(t, "approve", reason(d.Approve(t.Context(), n.ID, "administrator")), "")
	want(t, "register", reason(d.Certificate(t.Context(), d.john, n.Handle, [][]byte{card.cert}, client)), "")
	next := d.begin(t, d.john)
	if slices.Contains(next.Ways, auth.WayDevice) {
		t.Errorf("ways: %v", next.Ways)
	}
	_, _, err := d.Passkeys.Begin(t.Context(), d.john, auth.LabelOpen, nil)
	want(t, "open", reason(err), "no-passkey")
}
