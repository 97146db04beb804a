//go:build cgo

package demo

import (
	"cmp"
	"context"
	"crypto/x509"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"milterd/internal/chromium"
	"milterd/pki/qualified/qualifiedtest"
	"milterd/signer/csc/csctest"
	"milterd/workflow"
)

// Mails by real Postfix are signed in Chromium with certificates that the provider, a
// stand-in, makes for each signature: two documents by one PIN, and one at the
// provider's page. What it makes wrongly is told on the page, stands on record, and
// nothing of it is kept.
func TestOneShotInChromium(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	people, err := everybody()
	if err != nil {
		t.Fatal(err)
	}
	h, err := start(ctx, Options{Postfix: true, provider: true}, people, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer h.close()
	jane, john := h.people[0], h.people[1]
	for _, c := range []csctest.Credential{{ID: "once-pin", User: jane.Mail, PIN: true}, {ID: "once-late", User: jane.Mail, PIN: true}, {ID: "once-page", User: john.Mail, OAuth2: true}} {
		c.OneShot, c.Multisign, c.Qualifier = true, 10, "eu_eidas_qes"
		if err := h.provider.AddCredential(c); err != nil {
			t.Fatal(err)
		}
	}
	b := chromium.Blank(t, chromium.Launch(t), chromium.Phone)
	defer b.Close()
	b.Expect = []string{"400", "503", "favicon.ico"}

	x := &browsing{t: t, house: h, run: &run{house: h, out: t.Output(), dir: t.TempDir()}, b: b}
	ask := func(who Person, local, key string, more ...Part) next {
		t.Helper()
		n := x.ask(who, local, more...)
		b.Press("Sign with " + StandIn)
		b.Sees("A new certificate, made for this signature")
		b.Do(chromedp.SetValue("dialog select", key))
		b.Press("Continue")
		b.Sees("makes a certificate for this signature only")
		return n
	}

	t.Log("what must not be taken")
	second := Sample()
	second.Name, second.Content = "contract-annex.pdf", slices.Concat(second.Content, []byte("\n% annex\n"))
	got := ask(jane, "self", "once-pin", second)
	b.Shot("oneshot-pin")
	sign := func() {
		t.Helper()
		b.Fill("dialog input[type=password]", standInPIN)
		chromium.Eval[bool](b, `document.querySelector("dialog form button[type=submit]").click(), true`)
	}
	for _, c := range []struct {
		b     csctest.Behaviour
		spoil func(*qualifiedtest.Request)
		says  string
		why   string
	}{
		{csctest.WrongHash, nil, "The provider has signed something else", "qtsp-signature"},
		{csctest.TwoSigners, nil, "The provider has signed something else", "qtsp-signature"},
		{csctest.Attached, nil, "The provider has signed something else", "qtsp-signature"},
		{csctest.Claims, nil, "is not one over this document as it was asked for", "foreign-signature"},
		{csctest.TooLarge, nil, "does not fit into its place", "signature-too-large"},
		{csctest.UsedUp, nil, "That took too long", "authorisation-expired"},
		{csctest.Honest, func(q *qualifiedtest.Request) { q.NoQSCD = true }, "is not in a qualified device", "no-qscd"},
		{csctest.Honest, func(q *qualifiedtest.Request) { q.Surname = "Mallory" }, "belongs to somebody else", "wrong-person"},
	} {
		h.provider.Behave(csctest.Honest)
		h.provider.Behave(c.b, "signatures/signDoc")
		h.provider.next = c.spoil
		sign()
		b.Sees(c.says)
		s := x.session()
		if e := x.last(); e.Kind != workflow.EventRefused || e.Detail["reason"] != c.why || e.Actor != jane.Mail {
			t.Errorf("%s: on record as %s: %v", c.why, e.Kind, e.Detail)
		}
		if p := s.People[0]; p.State != workflow.Waiting || p.Act != nil || len(s.Documents[0].Revisions) != 2 {
			t.Errorf("%s: something is kept: %+v", c.why, p)
		}
		chromium.Eval[bool](b, `document.querySelector("dialog [role=alert]").textContent = "", true`)
	}
	h.provider.Behave(csctest.Honest)

	t.Log("two documents by one PIN")
	calls := len(h.provider.Requests())
	sign()
	b.Until("signed", `document.querySelector(".outcome")`)
	x.judge(jane, got, 2)
	asked := 0
	for _, q := range h.provider.Requests()[calls:] {
		if q.Call == "credentials/authorize" || q.Call == "signatures/signDoc" {
			asked++
		}
	}
	if asked != 2 {
		t.Errorf("%d calls for both documents, want one authorisation and one signDoc", asked)
	}
	first := x.session().People[0].Act.Accepted

	t.Log("the provider's page")
	got = ask(john, "john.doe", "once-page")
	b.Shot("oneshot-go")
	b.Press("Go on to " + StandIn)
	b.Until("the provider's page", `document.querySelector("#pin")`)
	b.Fill("#user", john.Mail)
	b.Fill("#pin", standInPIN)
	b.Click("#authorise")
	x.judge(john, got, 1)
	b.Sees("Download")

	s := x.session()
	q := s.People[s.Signatories()[0]].Act.Accepted
	if q.Serial == first.Serial || !strings.HasPrefix(q.Vouched, "trusted list of ") || q.By != StandIn || len(q.Checks) == 0 {
		t.Errorf("the evidence says %+v", q)
	}
	if leaf, err := x509.ParseCertificate(q.Chain[0]); err != nil || leaf.NotBefore.After(s.People[s.Signatories()[0]].Act.At) {
		t.Errorf("made after its use: %v", err)
	}
	t.Log("a certificate that has expired when it is made")
	ask(jane, "self", "once-late")
	h.provider.next = func(q *qualifiedtest.Request) { q.Expired = true }
	sign()
	b.Sees("it is disabled, has ended")
	if e := x.last(); e.Kind != workflow.EventRefused || e.Detail["reason"] != "credential-unusable" {
		t.Errorf("on record as %s: %v", e.Kind, e.Detail)
	}

	for _, call := range h.provider.Requests() {
		if call.Call == "signatures/signHash" {
			t.Error("signHash was called for a certificate that nobody knew")
		}
	}
}

// next waits for somebody's next mail of a kind.
type next func(func(*Message) bool) *Message

// browsing is a browser at the pages of a house.
type browsing struct {
	t *testing.T
	*house
	run   *run
	b     *chromium.Tab
	level workflow.Level // of requests; "" means Qualified
}

// ask mails a request of jane's, opens it for its signatory, and presses Sign.
func (x *browsing) ask(who Person, local string, more ...Part) next {
	x.t.Helper()
	n := x.open(x.mailed([]string{local}, more...), who)
	chromium.Eval[bool](x.b, `document.querySelector(".bar .primary").click(), true`)
	return n
}

// mailed mails a request of jane's, and says how many mails there were before.
func (x *browsing) mailed(locals []string, more ...Part) (before int) {
	x.t.Helper()
	jane, before := x.people[0], len(x.boxes.In(""))
	var to []string
	for _, local := range locals {
		to = append(to, local+"@"+SignDomain)
	}
	raw, err := Draft{From: jane, To: to, Subject: "[" + cmp.Or(x.level, workflow.Qualified).String() + "] contract", Text: "Please sign.", File: Sample(), More: more}.Compose()
	if err != nil {
		x.t.Fatal(err)
	}
	if err := Submit(x.mail.Address(), jane.Mail, password, jane.Mail, to, raw); err != nil {
		x.t.Fatal(err)
	}
	return before
}

// open opens the newest invitation of somebody, up to the button that signs.
func (x *browsing) open(before int, who Person) next {
	x.t.Helper()
	b := x.b
	n := func(fits func(*Message) bool) *Message {
		x.t.Helper()
		m, err := x.run.next(x.t.Context(), who.Mail, before, fits)
		if err != nil {
			x.t.Fatal(err)
		}
		return m
	}
	invitation := n(func(m *Message) bool { return m.Link() != "" && m.Code() == "" })
	b.Do(chromedp.Navigate("about:blank"), chromedp.Navigate(invitation.Link()))
	b.Until("the page", `document.querySelector("h1")`)
	if chromium.Eval[bool](b, `document.body.innerText.includes("Send me a code")`) {
		b.Press("Send me a code")
		code := n(func(m *Message) bool { return m.Code() != "" }).Code()
		b.Fill(".digits", code)
		b.Press("Open the documents")
	}
	b.Until("the button", `document.querySelector(".bar .primary") && !document.querySelector(".bar .primary").disabled`)
	return n
}

// judge waits for so many signed documents, and has everybody look at them.
func (x *browsing) judge(who Person, n next, want int) {
	x.t.Helper()
	result := n(func(m *Message) bool { return len(m.Attachments) > want })
	seen := 0
	for _, a := range result.Attachments {
		if strings.HasPrefix(a.Name, "contract") {
			seen++
			judgeQualified(x.t, x.house, who, a.Content)
			judgeEvidence(x.t, x.house, a)
		}
	}
	if seen != want {
		x.t.Errorf("%d signed documents, want %d", seen, want)
	}
}

// session is the newest.
func (x *browsing) session() *workflow.Session {
	x.t.Helper()
	all, err := x.program.Store.List(x.t.Context(), workflow.Filter{Limit: 1})
	if err != nil || len(all) != 1 {
		x.t.Fatalf("%d sessions, %v", len(all), err)
	}
	return all[0]
}

// last is the newest entry of its trail.
func (x *browsing) last() workflow.Event {
	x.t.Helper()
	events, err := x.program.Store.Events(x.t.Context(), x.session().ID)
	if err != nil {
		x.t.Fatal(err)
	}
	return events[len(events)-1]
}
