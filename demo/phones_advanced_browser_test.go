//go:build cgo

package demo

import (
	"bytes"
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"milterd/evidence"
	"milterd/internal/chromium"
	"milterd/pki/qualified/qualifiedtest"
	"milterd/signer/openotp/openotptest"
	"milterd/validate"
	"milterd/workflow"
)

const phonesName = "Stand-in phones"

// phoneHouse is a house whose people can sign on their phones at levels Advanced, by one
// scope, and Qualified; each scope has an authority of its own.
type phoneHouse struct {
	*browsing
	phones *phones
	scope  string
	folder string // of the scope's authority
}

func startPhones(t *testing.T, ctx context.Context, scope string) *phoneHouse {
	t.Helper()
	people, err := everybody()
	if err != nil {
		t.Fatal(err)
	}
	// All read English here; each person's phone can be asked three times a minute.
	for _, lang := range []string{"fr", "de"} {
		people.users = bytes.ReplaceAll(people.users, []byte(`language = "`+lang+`"`), []byte(`language = "en"`))
	}
	p := &phones{room: 6000, keys: map[string]*qualifiedtest.Identity{}, swap: map[string]string{}, scopes: map[string]*authority{
		"Local": startAuthority(t, "Example Corp Phones"), "Global": startAuthority(t, "Phone Vendor"), "foreign": startAuthority(t, "Somebody")}}
	mails := []string{}
	for _, q := range people.people {
		mails = append(mails, q.Mail)
	}
	if p.Server, err = openotptest.New(openotptest.Config{Sign: p.sign, Client: "milterd", Users: mails}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	folder := p.scopes[scope].folder(t)
	h, err := start(ctx, Options{Postfix: true, provider: true, phones: fmt.Sprintf("[openotp]\nname = %q\nurl = %q\nclient = \"milterd\"\nqualified = true\nadvanced = %q\nadvanced_anchors = %q\n",
		phonesName, p.URL, strings.ToLower(scope), folder)}, people, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.close() })
	p.house = h
	b := chromium.Blank(t, chromium.Launch(t), chromium.Phone)
	b.Authenticator()
	b.Expect = []string{"400", "409", "503"}
	return &phoneHouse{browsing: &browsing{t: t, house: h, run: &run{house: h, out: t.Output(), dir: t.TempDir()}, b: b, level: workflow.Advanced}, phones: p, scope: scope, folder: folder}
}

// send gives the documents away, and agrees to them on the phone unless told not to.
func (x *phoneHouse) send(agree bool) (ids []string) {
	x.t.Helper()
	x.b.Press("Send to " + phonesName)
	x.b.Sees("Or scan this with the app")
	ids = x.phones.pending(x.t)
	for _, id := range ids {
		if agree {
			if err := x.phones.Agree(id); err != nil {
				x.t.Fatal(err)
			}
		}
	}
	return ids
}

// refused wants a sentence on the page, its reason on record, and nothing kept.
func (x *phoneHouse) refused(who Person, says, why string) {
	x.t.Helper()
	x.b.Sees(says)
	x.b.Shot("refused-" + why)
	if e := x.last(); e.Kind != workflow.EventRefused || e.Detail["reason"] != why || e.Actor != who.Mail {
		x.t.Errorf("%s: on record as %s: %v", why, e.Kind, e.Detail)
	}
	s := x.session()
	if q := s.People[s.Signatories()[0]]; s.State != workflow.Open || q.State != workflow.Waiting || q.Act != nil || len(s.Documents[0].Revisions) != 2 {
		x.t.Errorf("%s: something is kept, session %s: %+v", why, s.State, q)
	}
	if left := x.phones.pending(x.t); len(left) > 0 {
		x.t.Errorf("%s: still pending: %q", why, left)
	}
	chromium.Eval[bool](x.b, `document.querySelector("dialog [role=alert]").textContent = "", true`)
}

// judgePhones has our own and other judges look at a result, and at the evidence and the
// certificate of completion that belong to it.
func (x *phoneHouse) judgePhones(result *Message, onPhone Person, signers ...string) {
	t := x.t
	t.Helper()
	ca := x.phones.scopes[x.scope]
	anchors := x.anchors()
	anchors.AddCert(ca.CA)
	session := x.session()
	file, err := x.program.Evidence(t.Context(), session.ID)
	if err != nil {
		t.Fatal(err)
	}
	vouched := "the organisation's authorities for Advanced signatures, SignScope " + x.scope + ", " + x.folder + ": " + ca.CA.Subject.String()
	seen := 0
	for _, a := range result.Attachments {
		switch {
		case strings.HasPrefix(a.Name, "contract"):
			seen++
			r, err := validate.File(a.Content, validate.Options{Anchors: anchors})
			if err != nil {
				t.Fatal(err)
			}
			if _, level := summary(r); !r.Passed() || level != validate.LevelLTA {
				t.Error(r.Text())
			}
			if !strings.Contains(r.Text(), "issued by  CN="+ca.CA.Subject.CommonName) {
				t.Errorf("verify does not name the issuer:\n%s", r.Text())
			}
			path, root := filepath.Join(t.TempDir(), "contract.pdf"), filepath.Join(t.TempDir(), "root.pem")
			for path, b := range map[string][]byte{path: a.Content, root: certificates(x.root, ca.Root)} {
				if err := os.WriteFile(path, b, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if got := judgeAll(t, path, root); !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(signers))) {
				t.Errorf("signed by %q, want %q", got, signers)
			}
			without := x509.NewCertPool()
			without.AddCert(x.root)
			ev := evidence.Check(file, evidence.Options{Anchors: without, Signers: []*x509.Certificate{ca.CA}, PDFs: []evidence.PDF{{Name: a.Name, Content: a.Content}}})
			if text := ev.Text(); !ev.Passed() || !strings.Contains(text, "level Advanced") || !strings.Contains(text, "; advanced: "+vouched) || strings.Contains(text, "ualified") {
				t.Errorf("evidence:\n%s", text)
			}
			if ev := evidence.Check(file, evidence.Options{Anchors: without}); ev.Indication != validate.Indeterminate {
				t.Errorf("evidence without the phones' authority: %s", ev.Indication)
			}
		case strings.HasSuffix(a.Name, workflow.ReportName):
			cmd := exec.CommandContext(t.Context(), "pdftotext", "-layout", "-", "-")
			cmd.Stdin = strings.NewReader(string(a.Content))
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("pdftotext: %v (apt-get install -y poppler-utils)", err)
			}
			text := strings.Join(strings.Fields(string(out)), " ")
			for _, says := range []string{"Level Advanced", "a key on their phone, certificate number", "Issued by " + ca.CA.Subject.String(), "SignScope " + x.scope, "made on their phone by " + phonesName, "no qualified ones"} {
				if !strings.Contains(text, says) {
					t.Errorf("the certificate of completion does not say %q:\n%s", says, out)
				}
			}
		}
	}
	if seen != 1 {
		t.Errorf("%d signed documents", seen)
	}
	text := strings.Join(strings.Fields(result.Text), " ")
	if !strings.Contains(text, "Advanced: ") || !strings.Contains(text, "certificate issued by "+ca.CA.Subject.String()) || !strings.Contains(text, "SignScope "+x.scope) {
		t.Errorf("the mail says\n%s", result.Text)
	}
	i := slices.IndexFunc(session.People, func(p workflow.Participant) bool { return p.Signatory && p.Mail == onPhone.Mail })
	act := session.People[i].Act
	if a := act.Accepted; a == nil || a.Level != workflow.Advanced || a.By != phonesName || a.Vouched != vouched || act.Proof.Method != "advanced signature" || act.Proof.Assertion != nil {
		t.Errorf("kept as %+v", act)
	}
}

// Mails by real Postfix are signed at level Advanced: John on a device of his, Jane, who never
// enrolled one, on her phone, by a stand-in for an OpenOTP server and certificates of the
// organisation's own authority. What must not be taken is told, on record, and not kept;
// no scope's certificate serves at the other's level.
func TestAdvancedPhonesInChromium(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 7*time.Minute)
	defer cancel()
	x := startPhones(t, ctx, "Local")
	defer x.b.Close()
	b, p := x.b, x.phones
	jane, john, marie, lena := x.people[0], x.people[1], x.people[2], x.people[3]

	t.Log("a no on the phone, another document, and certificates that must not be taken")
	x.ask(john, "john.doe")
	b.Sees(phonesName + " gets the documents themselves")
	p.Decline(x.send(false)[0], "not today")
	x.refused(john, "You said no on your phone", "openotp-denied")
	p.spoil = func(file []byte) []byte { return redrawn(t, file) }
	x.send(true)
	x.refused(john, "is not the one that was sent", "foreign-document")
	p.spoil, p.swap["Local"] = nil, "foreign"
	x.send(true)
	x.refused(john, "comes from no authority that is taken here for Advanced signatures", "untrusted-service")

	x.ask(jane, "self")
	p.swap["Local"] = "eIDAS"
	x.send(true)
	x.refused(jane, "comes from no authority that is taken here", "untrusted-service")
	delete(p.swap, "Local")
	p.next = func(q *qualifiedtest.Request) {
		q.Change = func(c *x509.Certificate) {
			c.KeyUsage, c.EmailAddresses = x509.KeyUsageDigitalSignature, []string{john.Mail}
		}
	}
	x.send(true)
	x.refused(jane, "belongs to somebody else", "wrong-person")

	t.Log("a revoked certificate; an Advanced one at level Qualified")
	x.ask(marie, "marie.petit")
	if _, _, _, err := p.issued(marie.Mail, "Local"); err != nil {
		t.Fatal(err)
	}
	p.scopes["Local"].Revoke(p.last, time.Now().Add(-time.Minute))
	x.send(true)
	x.refused(marie, "The certificate on your phone was revoked", "certificate-revoked")
	x.level = workflow.Qualified
	x.ask(lena, "lena.vogel")
	b.Press("Sign on my phone, by " + phonesName)
	p.swap["eIDAS"] = "Local"
	x.send(true)
	x.refused(lena, "not meant for signing documents", "wrong-key-usage")
	delete(p.swap, "eIDAS")
	x.level = workflow.Advanced

	t.Log("both in one session: a device, and a phone")
	p.keys = map[string]*qualifiedtest.Identity{}
	before := x.mailed([]string{"self", "john.doe"})
	next := x.open(before, john)
	b.Shot("phones-advanced-bar")
	b.Press("Or set up this device, and sign with it")
	waiting, err := x.program.Enrolments.Pending(ctx, john.Mail)
	for err == nil && len(waiting) == 0 && ctx.Err() == nil {
		time.Sleep(100 * time.Millisecond)
		waiting, err = x.program.Enrolments.Pending(ctx, john.Mail)
	}
	if err != nil || len(waiting) != 1 {
		t.Fatalf("%d wait, %v", len(waiting), err)
	}
	if err := x.program.Enrolments.Approve(ctx, waiting[0].ID, "administrator"); err != nil {
		t.Fatal(err)
	}
	b.Press("Create the passkey")
	b.Until("the bar that signs", `!document.querySelector("dialog") && document.querySelector(".bar .as") && !document.querySelector(".bar .primary").disabled`)
	b.Shot("phones-advanced-beside-device")
	b.Press("Sign on my phone, by " + phonesName) // and back: the device signs after all
	b.Sees(phonesName + " gets the documents themselves")
	b.Press("Back")
	b.Press("Sign contract.pdf")
	b.Sees("You have signed")
	x.open(before, jane)
	b.Press("Sign on my phone, by " + phonesName)
	b.Sees(phonesName + " gets the documents themselves")
	b.Shot("phones-advanced-gets")
	x.send(false)
	b.Shot("phones-advanced-waiting")
	for _, id := range p.pending(t) {
		if err := p.Agree(id); err != nil {
			t.Fatal(err)
		}
	}
	b.Sees("Everything is signed")
	b.Sees("Certificate issued by " + p.scopes["Local"].CA.Subject.String())
	b.Sees("SignScope Local, " + x.folder)
	b.Shot("phones-advanced-done")
	result := next(func(m *Message) bool { return len(m.Attachments) > 1 })
	x.judgePhones(result, jane, jane.Name, john.Name, "Example Corp")
	if all, err := x.program.Store.Certificates(ctx, workflow.CertificateFilter{Mail: jane.Mail}); err != nil || len(all) > 0 {
		t.Errorf("milterd has certified %d keys of hers, %v", len(all), err)
	}
	if odd := p.Refused(); len(odd) > 0 {
		t.Errorf("the stand-in refused %q", odd)
	}
}

// With scope Global the vendor's authority certifies phones, of many organisations.
func TestGlobalPhonesInChromium(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	x := startPhones(t, ctx, "Global")
	defer x.b.Close()
	jane := x.people[0]
	of := func(vat string) func(*qualifiedtest.Request) {
		return func(q *qualifiedtest.Request) {
			good := q.Change
			q.Change = func(c *x509.Certificate) {
				good(c)
				c.Subject.ExtraNames = append(c.Subject.ExtraNames, pkix.AttributeTypeAndValue{Type: asn1.ObjectIdentifier{2, 5, 4, 97}, Value: vat})
			}
		}
	}
	next := x.ask(jane, "self")
	x.phones.next = of("VATLU-87654321")
	x.send(true)
	x.refused(jane, "another organisation", "wrong-organisation")
	x.phones.next, x.phones.swap["Global"] = nil, "Local"
	x.send(true)
	x.refused(jane, "comes from no authority that is taken here", "untrusted-service")
	delete(x.phones.swap, "Global")
	x.phones.next = of("VATLU-12345678")
	x.send(true)
	x.b.Sees("Everything is signed")
	x.judgePhones(next(func(m *Message) bool { return len(m.Attachments) > 1 }), jane, jane.Name, "Example Corp")
}
