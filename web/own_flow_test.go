package web

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"milterd/auth"
	"milterd/directory"
	"milterd/directory/ldaptest"
	"milterd/internal/chromium"
	"milterd/validate"
	"milterd/workflow"
)

// TestTheWholeHouseAdvanced has Jane and Max sign with keys of their own, on the real
// rooms: Jane enrols by her password in LDAP, Max by the administrator. The result is valid,
// says so with their names, and the evidence stands for itself. Afterwards a removed
// device signs nothing more, and what was sent cannot be sent again.
func TestTheWholeHouseAdvanced(t *testing.T) {
	h := newHouse(t)
	contract, annex := sample(t, "contract.pdf"), sample(t, "annex.pdf")
	people := session(t, "x").People
	ask := func(id string) *workflow.Session {
		t.Helper()
		s, created, err := h.desk.Open(t.Context(), workflow.Opening{
			Level: workflow.Advanced, Sender: people[0].Person, ProvenBy: "sasl ada",
			Signatories: []workflow.Person{people[1].Person, people[2].Person},
			Thread:      workflow.Thread{MessageID: "<" + id + "@corp.test>", Subject: "Lease agreement for the workshop " + id},
			Documents:   []workflow.NewDocument{{Name: "lease.pdf", Content: contract, Pages: 3}, {Name: "annex.pdf", Content: annex, Pages: 2}},
			Mail:        []byte("mail"), BodyHash: sha256.Sum256([]byte(id)),
		})
		if err != nil || !created {
			t.Fatal(created, err)
		}
		return s
	}
	ses := ask("1")
	chrome := chromium.Launch(t)

	jane := people[1].Mail
	ldap := ldaptest.Start(t, ldaptest.Person("jane", "Jane Doe", jane, "userPassword: "+fakePassword)+
		ldaptest.Person("max", "Max Weber", people[2].Mail, "userPassword: of Max"))
	directory, err := directory.OpenLDAP(directory.LDAPConfig{Servers: []string{ldap.TLSURL}, CA: ldap.CA, BindDN: ldap.BindDN, PasswordFile: ldap.PasswordFile,
		Base: ldaptest.People, Filter: "(objectClass=person)", Addresses: []string{"mail"}, Logins: []string{"uid"}, Name: "cn",
		Language: "preferredLanguage", Certificate: "userCertificate;binary", GroupFilter: "(objectClass=groupOfNames)",
		GroupAddresses: []string{"mail"}, Member: "member"})
	if err != nil {
		t.Fatal(err)
	}
	h.enrol.Passwords = directory
	link := h.post.wait(t, workflow.MailInvitation, jane).Link
	b := blank(t, chrome, chromium.Phone)
	b.Authenticator()
	b.Do(chromedp.Navigate(link))
	b.Press("Send me a code")
	b.enter(".digits", h.post.wait(t, workflow.MailCode, jane).Code)
	b.Press("Open the documents")
	b.painted()
	b.Press("Set up this device")
	b.Expect = []string{"403"}
	b.enter("input[type=password]", "of Max") // right, but not hers
	b.Press("Continue")
	b.Sees("You have 2 more tries within this hour")
	b.enter("input[type=password]", fakePassword)
	b.Press("Continue")
	b.Sees("You sign as Jane Doe")
	h.post.wait(t, workflow.MailEnrolled, jane)
	var sent []string // what the page sends to finish
	eval[bool](b, `(f => { window.fetch = (u, o) => { if (u.endsWith("/finish")) window.sent = o.body; return f(u, o); }; return true; })(window.fetch)`)
	b.Press("Sign 2 documents")
	b.Sees("You have signed")
	b.Shot("1-signed")
	sent = append(sent, eval[string](b, "window.sent"))

	max := people[2].Mail
	m := blank(t, chrome, chromium.Desktop)
	m.Authenticator()
	m.Do(chromedp.Navigate(h.post.wait(t, workflow.MailInvitation, max).Link))
	m.Press("Code zusenden")
	m.enter(".digits", h.post.wait(t, workflow.MailCode, max).Code+"\r")
	m.painted()
	m.Press("Dieses Gerät einrichten")
	m.Press("Ihre Administration")
	waiting, err := h.enrol.Pending(t.Context(), max)
	if err != nil || len(waiting) != 1 {
		t.Fatal(waiting, err)
	}
	m.Sees(waiting[0].Number)
	if err := h.enrol.Approve(t.Context(), waiting[0].ID, "administrator"); err != nil {
		t.Fatal(err)
	}
	m.Press("Passkey anlegen")
	m.Sees("Sie unterschreiben als Max Weber")
	m.Press("2 Dokumente unterschreiben")
	m.Sees("Alles ist unterschrieben")
	m.Shot("2-done")

	m.Press("lease.pdf herunterladen")
	out := m.downloaded("lease.pdf")
	r, err := validate.Validate(out, validate.Options{Anchors: h.ca.Roots()})
	if err != nil || !r.Passed() || !bytes.HasPrefix(out, contract) {
		t.Fatalf("the result: %v\n%s", err, r.Text())
	}
	for _, name := range []string{"Jane Doe", "Max Weber", "Example GmbH"} {
		if !strings.Contains(r.Text(), name) {
			t.Errorf("%s has not signed:\n%s", name, r.Text())
		}
	}
	ev, err := h.desk.Evidence(t.Context(), ses.ID)
	if err != nil {
		t.Fatal(err)
	}
	proofs := 0
	for i := range ev.Session.People {
		if act := ev.Session.People[i].Act; act != nil && act.Proof.Assertion != nil {
			if err := auth.CheckAssertion(act.Proof.Assertion); err != nil {
				t.Errorf("%s: %v", ev.Session.People[i].Name, err)
			}
			proofs++
		}
	}
	if by := ev.Session.People[1].Act.Proof.Approved; by != "directory password" {
		t.Errorf("Jane's device was approved by %q", by)
	}
	var trail []string
	for _, e := range ev.Events {
		if e.Actor == jane && (e.Kind == workflow.EventPasswordWrong || e.Kind == workflow.EventApproved) {
			trail = append(trail, string(e.Kind)+" "+e.Detail["by"])
		}
	}
	if !slices.Equal(trail, []string{"password-wrong ", "approved directory password"}) {
		t.Errorf("on record: %q", trail)
	}
	if proofs != 2 {
		t.Errorf("%d assertions are kept", proofs)
	}

	// What Jane sent, once more.
	var cookie string
	for _, c := range b.Cookies() {
		cookie = c
	}
	if res, body := h.replay(t, "/api/finish", sent[0], cookie); res.StatusCode < 400 || res.StatusCode >= 500 {
		t.Errorf("a replay: %s %s", res.Status, body)
	}

	// The next request: the same device opens and signs at once; removed, it does neither.
	ask("2")
	next := h.post.wait(t, workflow.MailInvitation, jane).Link
	for next == link {
		next = h.post.wait(t, workflow.MailInvitation, jane).Link
	}
	b.Do(chromedp.Navigate(next))
	b.painted()
	devices, err := h.store.Credentials(t.Context(), jane)
	if err != nil || len(devices) != 1 {
		t.Fatal(devices, err)
	}
	b.Sees("You sign as Jane Doe")
	if err := h.desk.RevokeDevice(t.Context(), devices[0].ID, "administrator"); err != nil {
		t.Fatal(err)
	}
	b.Expect = append(b.Expect, "40", "50")
	b.Press("Sign 2 documents")
	b.Until("a refusal in words", `document.querySelector("dialog .error")?.innerText || document.body.innerText.includes("Send me a code")`)
	b.Shot("3-removed")
	events, err := h.store.Events(t.Context(), ses.ID)
	if err != nil {
		t.Fatal(err)
	}
	text, _ := json.Marshal(events)
	for _, kind := range []workflow.EventKind{workflow.EventEnrolled, workflow.EventCertified, workflow.EventPrepared} {
		if !strings.Contains(string(text), fmt.Sprintf("%q", kind)) {
			t.Errorf("no event %s", kind)
		}
	}
}
