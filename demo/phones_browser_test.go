//go:build cgo

package demo

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"milterd/internal/chromium"
	"milterd/pki/qualified/qualifiedtest"
	"milterd/signature/pades"
	"milterd/signature/pdf"
	"milterd/signature/pdf/cos"
	"milterd/signer/openotp"
	"milterd/signer/openotp/openotptest"
	"milterd/workflow"
)

// phones is a stand-in for an OpenOTP server whose people sign with certificates of the
// authority that a scope names.
type phones struct {
	*openotptest.Server
	house  *house
	scopes map[string]*authority        // but for eIDAS, where it is the house's provider
	swap   map[string]string            // scopes that it takes for others
	spoil  func(file []byte) []byte     // before it signs
	next   func(*qualifiedtest.Request) // changes the next certificate of a scope
	last   *x509.Certificate            // that was issued so
	twice  bool
	room   int // for a time
	keys   map[string]*qualifiedtest.Identity
}

// authority is one whose certificates phones sign with, and where its revocation data is.
type authority struct {
	*qualifiedtest.Provider
	http *http.Server
}

func startAuthority(t *testing.T, name string) *authority {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{}
	if a.Provider, err = qualifiedtest.Named(name, time.Now, "http://"+ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	a.http = &http.Server{Handler: a.Provider, ReadHeaderTimeout: 10 * time.Second}
	go a.http.Serve(ln)
	t.Cleanup(func() { a.http.Close() })
	return a
}

// folder holds its certificate.
func (a *authority) folder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "ca.pem"), certificates(a.CA), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// issued is a person's key, with a certificate that names them by their mail address.
func (p *phones) issued(user, scope string) (*ecdsa.PrivateKey, *x509.Certificate, []*x509.Certificate, error) {
	a := p.scopes[scope]
	if a == nil {
		return nil, nil, nil, fmt.Errorf("no authority for scope %s", scope)
	}
	if id := p.keys[scope+user]; id != nil && p.next == nil {
		return id.Key.(*ecdsa.PrivateKey), id.Cert, []*x509.Certificate{a.CA}, nil
	}
	first, last := user, ""
	for _, q := range p.house.people {
		if q.Mail == user {
			first, last, _ = strings.Cut(q.Name, " ")
		}
	}
	r := qualifiedtest.Request{GivenName: first, Surname: last, NoStatements: true, Change: func(c *x509.Certificate) {
		c.KeyUsage, c.EmailAddresses, c.NotAfter = x509.KeyUsageDigitalSignature, []string{user}, time.Now().AddDate(0, 1, 0)
	}}
	if p.next != nil {
		p.next(&r)
		p.next = nil
	}
	id, err := a.Issue(r)
	if err != nil {
		return nil, nil, nil, err
	}
	p.keys[scope+user], p.last = id, id.Cert
	return id.Key.(*ecdsa.PrivateKey), id.Cert, []*x509.Certificate{a.CA}, nil
}

// key is a person's, with the certificate that is the next to be issued, or was the last.
func (p *phones) key(user string) (*ecdsa.PrivateKey, *x509.Certificate, error) {
	if id := p.keys[user]; id != nil && p.house.provider.next == nil {
		return id.Key.(*ecdsa.PrivateKey), id.Cert, nil
	}
	name := ""
	for _, q := range p.house.people {
		if q.Mail == user {
			name = q.Name
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	der, _, err := p.house.provider.issue(key.Public(), name)
	if err != nil {
		return nil, nil, err
	}
	cert, err := x509.ParseCertificate(der)
	p.keys[user] = &qualifiedtest.Identity{Cert: cert, Key: key}
	return key, cert, err
}

// sign is the phone's.
func (p *phones) sign(file []byte, user, mode, scope string) (signed, certificate []byte, err error) {
	if mode != "pades" {
		return nil, nil, fmt.Errorf("asked for %s", mode)
	}
	if other := p.swap[scope]; other != "" {
		scope = other
	}
	if p.spoil != nil {
		file = p.spoil(file)
	}
	var key *ecdsa.PrivateKey
	var leaf *x509.Certificate
	var above []*x509.Certificate
	if scope == "eIDAS" {
		above = []*x509.Certificate{p.house.provider.authority.CA}
		key, leaf, err = p.key(user)
	} else {
		key, leaf, above, err = p.issued(user, scope)
	}
	if err != nil {
		return nil, nil, err
	}
	for range map[bool]int{false: 1, true: 2}[p.twice] {
		suffix, err := pades.Sign(context.Background(), file, pades.Params{Certificate: leaf, Chain: above, Time: time.Now(),
			Name: leaf.Subject.CommonName, TokenSize: p.room}, key, nil)
		if err != nil {
			return nil, nil, err
		}
		file = slices.Concat(file, suffix)
	}
	return file, leaf.Raw, nil
}

// pending are the orders that wait.
func (p *phones) pending(t *testing.T) (ids []string) {
	t.Helper()
	c, err := openotp.New(openotp.Server{Name: "stand-in", URL: p.URL, Client: "milterd"})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := c.List(t.Context())
	if err == nil {
		err = json.Unmarshal(raw, &ids)
	}
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

// Mails by real Postfix are signed on phones, by a stand-in for an OpenOTP server that gets
// the documents: two by one person, after a no and a reminder. What comes back and is
// not what was sent and one signature, or is by a certificate that must not be taken, is
// told on the page, stands on record, and nothing of it is kept.
func TestPhonesInChromium(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	people, err := everybody()
	if err != nil {
		t.Fatal(err)
	}
	p := &phones{room: 6000, keys: map[string]*qualifiedtest.Identity{}}
	mails := []string{}
	for _, q := range people.people {
		mails = append(mails, q.Mail)
	}
	if p.Server, err = openotptest.New(openotptest.Config{Sign: p.sign, Client: "milterd", Users: mails}); err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	const name = "Stand-in phones"
	h, err := start(ctx, Options{Postfix: true, provider: true, phones: fmt.Sprintf("[openotp]\nname = %q\nurl = %q\nclient = \"milterd\"\nqualified = true\n", name, p.URL)},
		people, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer h.close()
	p.house = h
	jane, john := h.people[0], h.people[1]
	b := chromium.Blank(t, chromium.Launch(t), chromium.Phone)
	defer b.Close()
	b.Expect = []string{"400", "503"}
	x := &browsing{t: t, house: h, run: &run{house: h, out: t.Output(), dir: t.TempDir()}, b: b}

	second := Sample()
	second.Name, second.Content = "contract-annex.pdf", slices.Concat(second.Content, []byte("\n% annex\n"))
	who := john
	ask := func(signatory Person, local string) next {
		t.Helper()
		who = signatory
		got := x.ask(who, local, second)
		b.Press("Sign on my phone, by " + name)
		b.Sees(name + " gets the documents themselves")
		return got
	}
	send := func() (ids []string) {
		t.Helper()
		b.Press("Send to " + name)
		b.Sees("Or scan this with the app")
		b.Until("a picture to scan", `document.querySelector("dialog img.qr")?.naturalWidth >= 100`)
		if ids = p.pending(t); len(ids) != 2 {
			t.Fatalf("%d orders for two documents", len(ids))
		}
		return ids
	}
	agree := func(ids []string) {
		t.Helper()
		for _, id := range ids {
			if err := p.Agree(id); err != nil {
				t.Fatal(err)
			}
		}
	}
	refused := func(says, why string) {
		t.Helper()
		b.Sees(says)
		if e := x.last(); e.Kind != workflow.EventRefused || e.Detail["reason"] != why || e.Actor != who.Mail {
			t.Errorf("%s: on record as %s: %v", why, e.Kind, e.Detail)
		}
		s := x.session()
		if q := s.People[s.Signatories()[0]]; s.State != workflow.Open || q.State != workflow.Waiting || q.Act != nil || len(s.Documents[0].Revisions) != 2 {
			t.Errorf("%s: something is kept, session %s: %+v", why, s.State, q)
		}
		if left := p.pending(t); len(left) > 0 {
			t.Errorf("%s: still pending: %q", why, left)
		}
		chromium.Eval[bool](b, `document.querySelector("dialog [role=alert]").textContent = "", true`)
	}

	t.Log("a no on the phone, and what must not be taken")
	ask(john, "john.doe")
	ids := send()
	b.Shot("phones-waiting")
	p.Decline(ids[0], "not today")
	refused("You said no on your phone", "openotp-denied")
	p.spoil = func(file []byte) []byte { return redrawn(t, file) }
	agree(send())
	refused("is not the one that was sent", "foreign-document")
	p.spoil, p.twice = nil, true
	agree(send())
	refused("is not the one that was sent", "foreign-document")
	p.twice = false

	got := ask(jane, "self")
	p.room = 0
	agree(send())
	refused("does not fit into its place", "signature-too-large")
	p.room, p.keys = 6000, map[string]*qualifiedtest.Identity{}
	h.provider.next = func(q *qualifiedtest.Request) { q.NoQSCD = true }
	agree(send())
	refused("is not in a qualified device", "no-qscd")
	p.keys = map[string]*qualifiedtest.Identity{}

	t.Log("two documents, one after the other")
	ids = send()
	agree(ids[:1])
	time.Sleep(3 * time.Second) // asked in between
	agree(ids[1:])
	x.judge(jane, got, 2)
	b.Sees("Download")
	s := x.session()
	if q := s.People[s.Signatories()[0]].Act.Accepted; q.By != name || q.Algorithm != "ES256" || !strings.HasPrefix(q.Vouched, "trusted list of ") {
		t.Errorf("the evidence says %+v", q)
	}
	if odd := p.Refused(); len(odd) > 0 {
		t.Errorf("the stand-in refused %q", odd)
	}
}

// redrawn is a document whose first page shows something else.
func redrawn(t *testing.T, file []byte) []byte {
	t.Helper()
	f, err := cos.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	pages, err := pdf.Pages(f, 10)
	if err != nil {
		t.Fatal(err)
	}
	u := f.NewUpdate()
	page, err := u.Dict(pages[0].Ref)
	if err != nil {
		t.Fatal(err)
	}
	page["Contents"] = u.Add(&cos.Stream{Dict: cos.Dict{}, Raw: []byte("BT ET")})
	u.Set(pages[0].Ref, page)
	suffix, err := u.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return slices.Concat(file, suffix)
}
