package workflow_test

import (
	"crypto/sha256"
	"errors"
	"testing"
	"time"

	"milterd/workflow"
)

// TestSourceGoesAlong: of a file of which a PDF was made, nobody asks a signature, a
// seal or a younger timestamp; it is kept with the session, mailed with the result,
// and goes with it.
func TestSourceGoesAlong(t *testing.T) {
	d := newDesk(t)
	d.Policy.Retention = 5 * 365 * 24 * time.Hour
	a := &archivist{ends: d.Now().Add(3 * 365 * 24 * time.Hour)}
	d.Archivist = a
	d.Signer = aged{d.signer, d.Now().Add(365 * 24 * time.Hour)}
	o := opening("m1", john)
	word := []byte("PK a contract")
	o.Documents[1].Source = &workflow.Source{Name: "annex.docx", Type: "application/msword", Content: word, Maker: "LibreOffice 7.4"}
	s := open(t, d, o)
	want(t, "documents", len(s.Documents), 3)
	from := s.SourceOf(&s.Documents[1])
	if from == nil || from.Name != "annex.docx" || from.Kind != workflow.Unconverted || from.Original().SHA256 != sha256.Sum256(word) || s.SourceOf(&s.Documents[0]) != nil || s.SourceOf(from) != nil {
		t.Fatalf("it was made of %+v", from)
	}
	want(t, "name of it in the result", from.ResultName()+" "+from.ResultType(), "annex.docx application/msword")
	v := d.visit(t, s, john)
	b, _, err := d.View(t.Context(), v, 2, "192.0.2.1")
	want(t, "what the page gives", string(b), string(word))
	if err != nil {
		t.Fatal(err)
	}
	want(t, "documents to sign", len(d.shown(t, v)), 2)
	if err := d.signAs(t, s, john); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []workflow.JobKind{workflow.JobSign, workflow.JobSeal} {
		if err := d.run(t, s.ID, kind); err != nil {
			t.Fatal(err)
		}
	}
	s = d.session(t, s.ID)
	want(t, "state", s.State, workflow.Done)
	want(t, "documents with the report", len(s.Documents), 4)
	if j := d.booked(t, s.ID, workflow.JobRenew); j == nil || !j.Next.Equal(d.Now().Add(365*24*time.Hour-workflow.RenewBefore)) {
		t.Errorf("renewal is booked for %+v", j)
	}
	n, _, err := d.RenewArchive(t.Context(), s.ID, d.Now().AddDate(100, 0, 0), true)
	want(t, "renewed", n, 3)
	if s = d.session(t, s.ID); err != nil || len(s.Documents[2].Revisions) != 1 {
		t.Errorf("the file has %d revisions, %v", len(s.Documents[2].Revisions), err)
	}
	d.tick(6 * 365 * 24 * time.Hour)
	if err := d.run(t, s.ID, workflow.JobRetain); err != nil {
		t.Fatal(err)
	}
	if _, err := d.store.Content(t.Context(), s.ID, 2, 0); !errors.Is(err, workflow.ErrGone) {
		t.Errorf("after retention the file is still there: %v", err)
	}
}
