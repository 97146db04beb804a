package report

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
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

var reporter = New(Config{Organisation: "Corp Test S.à r.l."})

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

func TestReport(t *testing.T) {
	for _, lang := range []string{"en", "de", "fr"} {
		s, events := session(t, lang)
		pdf, err := reporter.Report(t.Context(), s, events)
		if err != nil {
			t.Fatal(err)
		}
		got, file := text(t, pdf), filepath.Join("testdata", lang+".txt")
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
			if strings.Count(w[key], "%") != strings.Count(languages()["en"][key], "%") {
				t.Errorf("%s: %q has other values than in English", lang, key)
			}
		}
	}
}
