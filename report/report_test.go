package report

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"milterd/workflow"
)

var update = flag.Bool("update", false, "write the expected texts anew")

// session is one that has every kind of text, some of it hostile.
func session(t *testing.T, lang string) (*workflow.Session, []workflow.Event) {
	t.Helper()
	at := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	digest := func(b byte) (d workflow.Digest) {
		for i := range d {
			d[i] = b
		}
		return d
	}
	s := &workflow.Session{
		ID: "k3j5x7a2b4c6d8e9", State: workflow.Sealing, Level: workflow.Standard, ProvenBy: "sasl jane",
		Thread:  workflow.Thread{MessageID: "<1@corp.test>", Subject: "Contract [Standard] with Łukasz \u202egnp.exe"},
		Created: at, Deadline: at.Add(14 * 24 * time.Hour),
		People: []workflow.Participant{
			{Person: workflow.Person{Mail: "jane@corp.test", Name: "Jane Roe", Language: lang}, Sender: true},
			{Person: workflow.Person{Mail: "lukasz@corp.test", Name: "Łukasz Żółć 山田 😀"}, Signatory: true, State: workflow.Signed,
				Opened: at.Add(time.Hour), Decided: at.Add(2 * time.Hour), Act: &workflow.Act{
					Shown:      []workflow.Shown{{Revision: 1, SHA256: digest(0xcc)}},
					Appearance: workflow.Appearance{Typed: "Łukasz"},
					Proof:      workflow.Proof{Method: "mailed code", Challenge: "c", Client: "192.0.2.7"}}},
		},
		Documents: []workflow.Document{{Name: "a contract with a very long name that goes on and on and on and on and on and on and on until it wraps.pdf",
			Kind: workflow.Mailed, Pages: 2, Signed: true, Revisions: []workflow.Revision{
				{SHA256: digest(0xaa)}, {Number: 1, Kind: workflow.Archive, SHA256: digest(0xbb)}}}},
	}
	var events []workflow.Event
	for i, e := range []workflow.Event{
		{Kind: workflow.EventOpened, Actor: "jane@corp.test", Detail: map[string]string{"message-id": "<1@corp.test>"}},
		{Kind: workflow.EventPrepared, Actor: "milterd"},
		{Kind: workflow.EventMailed, Actor: "milterd", Detail: map[string]string{"mail": "invitation", "to": "lukasz@corp.test"}},
		{Kind: workflow.EventProven, Actor: "lukasz@corp.test", Client: "192.0.2.7", Detail: map[string]string{"proof": "mailed code", "device": "Firefox on Android"}},
		{Kind: workflow.EventSigned, Actor: "lukasz@corp.test", Client: "192.0.2.7", Detail: map[string]string{"proof": "mailed code"}},
		{Kind: workflow.EventSealedFor, Actor: "milterd", Detail: map[string]string{"on behalf of": "lukasz@corp.test"}},
		{Kind: workflow.EventSealed, Actor: "milterd"},
	} {
		e.Time = at.Add(time.Duration(i) * time.Minute)
		var prev *workflow.Event
		if i > 0 {
			prev = &events[i-1]
		}
		e, err := e.Chain(s.ID, prev)
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, e)
	}
	return s, events
}

var reporter = New(Config{Organisation: "Corp Test S.à r.l.", Root: "https://sign.corp.test/pki/root.cer"})

// text is what pdftotext reads, without its page breaks.
func text(t *testing.T, pdf []byte) string {
	t.Helper()
	cmd := exec.Command("pdftotext", "-layout", "-", "-")
	cmd.Stdin = bytes.NewReader(pdf)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("pdftotext: %v (apt-get install -y poppler-utils)", err)
	}
	return string(out)
}

// advanced is one that was signed with an own key, after some trouble.
func advanced(t *testing.T, lang string) (*workflow.Session, []workflow.Event) {
	t.Helper()
	s, events := session(t, lang)
	s.Level, s.Thread.Subject = workflow.Advanced, "Contract [Advanced]"
	const serial = "5b1f0c7e22d94a6f8c1e03aa94d7b610"
	at := s.Created
	s.People[1].Act = &workflow.Act{Shown: s.People[1].Act.Shown, Appearance: workflow.Appearance{Width: 300, Strokes: []workflow.Stroke{{}}},
		Proof: workflow.Proof{Method: "passkey", Challenge: "c", Client: "192.0.2.7", Device: "Safari on iPhone \u202eevil", Enrolled: at.Add(-time.Hour),
			Approved: "directory password", Assertion: &workflow.Assertion{}},
		Own: []workflow.SignedBy{{Certificate: serial}}}
	other := s.People[1]
	other.Person = workflow.Person{Mail: "zoe@corp.test", Name: "Zoë Šťastná"}
	other.Act = &workflow.Act{Appearance: workflow.Appearance{Typed: "Zoë"}, Proof: workflow.Proof{Method: "one-time password", Device: "Old phone",
		Enrolled: at, Approved: "device Firefox on Linux"}, Own: []workflow.SignedBy{{Certificate: "77"}}}
	s.People = append(s.People, other)
	for _, e := range []workflow.Event{
		{Kind: workflow.EventEnrolling, Detail: map[string]string{"device": "Safari on iPhone", "enrolment": "x"}},
		{Kind: workflow.EventApproved, Detail: map[string]string{"by": "directory password", "device": "Safari on iPhone"}},
		{Kind: workflow.EventEnrolled, Detail: map[string]string{"device": "Safari on iPhone", "approved by": "directory password"}},
		{Kind: workflow.EventCertified, Detail: map[string]string{"certificate": serial, "by": "enrolment", "name": "Łukasz"}},
		{Kind: workflow.EventCertified, Detail: map[string]string{"certificate": serial, "by": "device key 77", "name": "Łukasz"}},
		{Kind: workflow.EventProven, Detail: map[string]string{"proof": "passkey", "device": "Safari on iPhone"}},
		{Kind: workflow.EventOwnPrepared, Detail: map[string]string{"certificate": serial, "document 1": "x.pdf"}},
		{Kind: workflow.EventAbandoned, Detail: map[string]string{"preparation": "x", "reason": "check-byte-range"}},
		{Kind: workflow.EventRefused, Detail: map[string]string{"reason": "bad-value"}},
		{Kind: workflow.EventSigned, Detail: map[string]string{"proof": "passkey", "device": "Safari on iPhone", "certificate": serial}},
		{Kind: workflow.EventAgain, Detail: map[string]string{"signatory": "lukasz@corp.test", "reason": "certificate-revoked"}},
		{Kind: workflow.EventMailed, Detail: map[string]string{"mail": "again", "to": "lukasz@corp.test"}},
		{Kind: workflow.EventSignedOwn, Detail: map[string]string{"signatory": "lukasz@corp.test", "certificate": serial}},
	} {
		last := &events[len(events)-1]
		e.Time, e.Actor, e.Client = last.Time.Add(time.Second), "lukasz@corp.test", "192.0.2.7"
		e, err := e.Chain(s.ID, last)
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, e)
	}
	return s, events
}

// onPhone is one whose second signatory has signed on a phone, by a server.
func onPhone(t *testing.T, lang string) (*workflow.Session, []workflow.Event) {
	t.Helper()
	s, events := advanced(t, lang)
	zoe := &s.People[len(s.People)-1]
	q := &workflow.Acceptance{Level: workflow.Advanced, By: "Corp Phones", Serial: "4c1d", Issuer: "CN=Corp Phones CA,O=Corp Test",
		Vouched: "the organisation's authorities for Advanced signatures, SignScope Local, /etc/milterd/phones: CN=Corp Phones CA,O=Corp Test"}
	zoe.Act = &workflow.Act{Appearance: workflow.Appearance{Typed: "Zoë"}, Own: []workflow.SignedBy{{Certificate: q.Serial}}, Accepted: q,
		Proof: workflow.Proof{Method: "advanced signature", Challenge: "p", Client: "192.0.2.8", Device: q.By}}
	for _, e := range []workflow.Event{
		{Kind: workflow.EventOwnPrepared, Detail: map[string]string{"certificate": "comes with the signature", "signed with": q.By}},
		{Kind: workflow.EventRefused, Detail: map[string]string{"reason": "wrong-person", "preparation": "p"}},
		{Kind: workflow.EventSigned, Detail: map[string]string{"proof": "advanced signature", "device": q.By, "certificate": q.Serial, "signed with": q.By, "issuer": q.Issuer}},
	} {
		last := &events[len(events)-1]
		e.Time, e.Actor, e.Client = last.Time.Add(time.Second), zoe.Mail, "192.0.2.8"
		e, err := e.Chain(s.ID, last)
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, e)
	}
	return s, events
}

func TestReport(t *testing.T) {
	for _, lang := range []string{"en", "de", "fr"} {
		s, events := session(t, lang)
		expect(t, lang+".txt", s, events)
		s, events = advanced(t, lang)
		expect(t, "advanced."+lang+".txt", s, events)
		s, events = onPhone(t, lang)
		expect(t, "phone."+lang+".txt", s, events)
	}
}

// expect compares what a report reads like with a file.
func expect(t *testing.T, name string, s *workflow.Session, events []workflow.Event) {
	t.Helper()
	pdf, err := reporter.Report(t.Context(), s, events)
	if err != nil {
		t.Fatal(err)
	}
	if keep := os.Getenv("REPORT_KEEP"); keep != "" {
		os.WriteFile(filepath.Join(keep, name+".pdf"), pdf, 0o644)
	}
	got, file := text(t, pdf), filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s reads\n%s\nwant\n%s", file, got, want)
	}
}

// However a sender was recognised, it reads as words.
func TestSender(t *testing.T) {
	for by, want := range map[string]string{
		"sasl jane":                   "their login to the mail server as jane",
		"client 10.0.0.5":             "mail from the trusted machine 10.0.0.5",
		"dkim corp.com":               "the DKIM signature of corp.com",
		"dkim corp.com checked by mx": "the DKIM signature of corp.com, checked by mx",
		"confirmed by mailbox":        "a confirmation from their own mailbox",
		"otherwise":                   "otherwise",
	} {
		if got := speak("en").sender(by); got != want {
			t.Errorf("%q reads %q, want %q", by, got, want)
		}
	}
}

// Each signatory's digests stand there as the page showed them, with the names of
// several documents.
func TestShown(t *testing.T) {
	s, events := session(t, "en")
	s.Documents = append(s.Documents, workflow.Document{Name: "annex.pdf", Kind: workflow.Mailed, Pages: 1, Revisions: s.Documents[0].Revisions})
	a := s.People[1].Act
	a.Shown = append(a.Shown, workflow.Shown{Document: 1, SHA256: workflow.Digest{0xdd}})
	pdf, err := reporter.Report(t.Context(), s, events)
	if err != nil {
		t.Fatal(err)
	}
	_, got, _ := strings.Cut(text(t, pdf), "Signatories")
	for _, want := range []string{a.Shown[0].SHA256.String(), a.Shown[1].SHA256.String(), "annex.pdf"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing:\n%s", want, got)
		}
	}
}

func TestManyEventsPaginate(t *testing.T) {
	s, events := session(t, "en")
	for len(events) < 400 {
		e, err := workflow.Event{Time: s.Created, Kind: workflow.EventCodeAsked, Actor: strings.Repeat("x", 300)}.Chain(s.ID, &events[len(events)-1])
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, e)
	}
	pdf, err := reporter.Report(t.Context(), s, events)
	if err != nil {
		t.Fatal(err)
	}
	if got := text(t, pdf); !strings.Contains(got, events[399].Hash.String()) || !strings.Contains(got, "400") {
		t.Error("the last entry or its hash is missing")
	}
}

func TestNothingToReport(t *testing.T) {
	if _, err := reporter.Report(t.Context(), &workflow.Session{ID: "x"}, nil); err == nil {
		t.Error("a session without a trail has a report")
	}
}

func TestCataloguesAreComplete(t *testing.T) {
	for lang, w := range languages() {
		for key := range languages()["en"] {
			if w[key] == "" {
				t.Errorf("%s has no words for %q", lang, key)
			}
			if lang == "fr" && (strings.Contains(w[key], " de %") || strings.Contains(w[key], "’%")) {
				t.Errorf("fr %q would have to be elided before some names", key)
			}
			if strings.Count(w[key], "%") != strings.Count(languages()["en"][key], "%") {
				t.Errorf("%s: %q has other values than in English", lang, key)
			}
		}
	}
}

// Whatever the workflow can put on record or mail, the report has words for it.
func TestEverythingHasWords(t *testing.T) {
	w := languages()["en"]
	kinds := func(file, of, prefix string, not ...string) {
		b, err := os.ReadFile(filepath.Join("..", "workflow", file))
		if err != nil {
			t.Fatal(err)
		}
		found := regexp.MustCompile(of+` += "([a-z-]+)"`).FindAllStringSubmatch(string(b), -1)
		if len(found) < 8 {
			t.Fatalf("%s has %d of the kind %s", file, len(found), of)
		}
		for _, m := range found {
			if w[prefix+m[1]] == "" && !slices.Contains(not, m[1]) {
				t.Errorf("no words for %s%s", prefix, m[1])
			}
		}
	}
	// The authority's log is not a session's; a held mail and a verification have no session.
	kinds("audit.go", "EventKind", "e.", "issuing", "issued", "revoked", "unrevoked", "entered", "installed")
	kinds("ports.go", "MailKind", "m.", "confirm", "verified")
	reasons := slices.Clone(workflow.AgainReasons)
	for check := range workflow.CheckFailures {
		reasons = append(reasons, workflow.CheckFailed+check)
	}
	for _, reason := range reasons {
		if w["r."+reason] == "" {
			t.Errorf("no words for the reason %s", reason)
		}
	}
}
