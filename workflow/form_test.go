package workflow_test

import (
	"context"
	"strings"
	"testing"

	"milterd/workflow"
)

// boxer signs what is no PDF as a container would: each time it is written anew.
type boxer struct{ *recorder }

func (b boxer) Layout(context.Context, *workflow.Session, int, []byte) ([]byte, error) {
	return nil, nil
}

func (b boxer) Sign(_ context.Context, s *workflow.Session, doc, person int, head []byte) ([]workflow.Increment, error) {
	return []workflow.Increment{box(head, s.People[person].Mail)}, nil
}

func (b boxer) Seal(_ context.Context, s *workflow.Session, doc int, head []byte) ([]workflow.Increment, error) {
	inc := box(head, "the organisation")
	inc.Kind = workflow.Archive
	return []workflow.Increment{inc}, nil
}

// box is PK(content;signatures).
func box(head []byte, by string) workflow.Increment {
	if inside, ok := strings.CutPrefix(string(head), "PK("); ok {
		return workflow.Increment{Kind: workflow.Signature, Cut: 1, Suffix: []byte(";" + by + inside[len(inside)-1:])}
	}
	return workflow.Increment{Kind: workflow.Signature, Cut: int64(len(head)), Suffix: []byte("PK(" + string(head) + ";" + by + ")")}
}

// Of what is no PDF, signatories see the file that was mailed, whoever has signed
// before them; everybody gets the container.
func TestWhatIsNoPDF(t *testing.T) {
	d := newDesk(t)
	d.Signer = boxer{d.signer}
	o := opening("m1", john, emma)
	o.Documents = []workflow.NewDocument{
		{Name: "offer.docx", Content: []byte("offer"), Form: workflow.ASiC, Type: "application/msword", Sight: workflow.AsFile}}
	s := open(t, d, o)
	want(t, "revisions after preparing", len(s.Documents[0].Revisions), 1)

	if err := d.signAs(t, s, john); err != nil {
		t.Fatal(err)
	}
	if err := d.run(t, s.ID, workflow.JobSign); err != nil {
		t.Fatal(err)
	}
	s = d.session(t, s.ID)
	v := d.visit(t, s, emma)
	b, r, err := d.View(t.Context(), v, 0, "127.0.0.1")
	if err != nil || string(b) != "offer" || r.Number != 0 {
		t.Errorf("emma is shown %q, revision %d, %v", b, r.Number, err)
	}
	head := s.Documents[0].Head()
	err = d.Sign(t.Context(), v, []workflow.Shown{{Document: 0, Revision: head.Number, SHA256: head.SHA256}},
		workflow.Appearance{Typed: "Emma"}, "127.0.0.1", consume)
	want(t, "a container that no page has shown", reason(err), "digest-mismatch")
	if err := d.signAs(t, s, emma); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []workflow.JobKind{workflow.JobSign, workflow.JobSeal} {
		if err := d.run(t, s.ID, kind); err != nil {
			t.Fatal(err)
		}
	}
	s = d.session(t, s.ID)
	want(t, "state", s.State, workflow.Done)
	b, r, err = d.View(t.Context(), d.visit(t, s, emma), 0, "127.0.0.1")
	if err != nil || string(b) != "PK(offer;john.doe@corp.test;emma@corp.test;the organisation)" || r.Kind != workflow.Archive {
		t.Errorf("the result is %q, %s, %v", b, r.Kind, err)
	}
	if b, err = d.store.Content(t.Context(), s.ID, 0, 0); err != nil || string(b) != "offer" {
		t.Errorf("the original is %q, %v", b, err)
	}
	d.sent = nil
	d.run(t, s.ID, workflow.JobMail)
	for _, n := range d.sent {
		if n.Kind != workflow.MailResult {
			continue
		}
		a := n.Attachments[0]
		want(t, "attachment", a.Name+" "+a.ContentType, "offer.docx.asice application/vnd.etsi.asic-e+zip")
	}
}

func TestResultNames(t *testing.T) {
	for _, c := range []struct {
		d    workflow.Document
		want string
	}{
		{workflow.Document{Name: "a.pdf", Kind: workflow.Mailed}, "a-signed.pdf application/pdf"},
		{workflow.Document{Name: "a.pdf", Kind: workflow.Mailed, Form: workflow.PAdES}, "a-signed.pdf application/pdf"},
		{workflow.Document{Name: "a.pdf", Kind: workflow.Mailed, Form: workflow.ASiC}, "a.pdf.asice application/vnd.etsi.asic-e+zip"},
		{workflow.Document{Name: "a.xml", Kind: workflow.Mailed, Form: workflow.XAdES}, "a-signed.xml application/xml"},
		{workflow.Document{Name: "a.txt", Kind: workflow.Mailed, Form: workflow.CAdES}, "a.txt.p7m application/pkcs7-mime"},
		{workflow.Document{Name: workflow.ReportName, Kind: workflow.Report}, "certificate-of-completion.pdf application/pdf"},
	} {
		want(t, c.d.Name, c.d.ResultName()+" "+c.d.ResultType(), c.want)
	}
}
