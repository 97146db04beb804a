package evidence

import (
	"bytes"
	"context"
	"crypto/sha256"
	"strings"
	"testing"

	"milterd/validate"
	"milterd/workflow"
)

// Evidence of what is no PDF is held against containers, messages and XML
// documents as it is against PDFs.
func TestForms(t *testing.T) {
	h := newHouse(t, t.TempDir())
	ctx := context.Background()
	text, invoice := []byte("We agree.\n"), []byte("<invoice><total>10</total></invoice>\n")
	file := func(form workflow.Form, name string, content []byte) workflow.NewDocument {
		return workflow.NewDocument{Name: name, Content: content, Form: form, Type: "text/plain", Sight: workflow.AsText}
	}
	open := func(level workflow.Level, subject string, documents ...workflow.NewDocument) string {
		s, _, err := h.desk.Open(ctx, workflow.Opening{Level: level, Sender: john, ProvenBy: "sasl john", Signatories: []workflow.Person{john},
			Thread: workflow.Thread{MessageID: "<" + subject + "@corp.test>", Subject: subject}, Documents: documents,
			Mail: []byte("mail"), BodyHash: sha256.Sum256([]byte(subject))})
		h.must(err)
		h.must(h.desk.Run(ctx, workflow.Job{Kind: workflow.JobPrepare, Session: s.ID}))
		return s.ID
	}
	var p *person
	own := func(subject string) string {
		id := open(workflow.Advanced, subject, file(workflow.ASiC, "terms.txt", text), file(workflow.CAdES, "more.txt", text),
			workflow.NewDocument{Name: "contract.pdf", Content: document(t, "contract.pdf"), Pages: 2})
		if p == nil {
			p = h.enrolled(h.visit(id, 0))
		}
		h.sign(id, 0, p)
		h.seal(id)
		return id
	}
	first, second := own("one"), own("two")
	standard := open(workflow.Standard, "three", file(workflow.XAdES, "invoice.xml", invoice))
	v := h.visit(standard, 0)
	shown := h.shown(v)
	h.must(h.desk.Sign(ctx, v, shown, workflow.Appearance{Typed: "John Doe"}, "192.0.2.1", h.approve(v, p, []workflow.Digest{shown[0].SHA256})))
	h.must(h.desk.Run(ctx, workflow.Job{Kind: workflow.JobSign, Session: standard}))
	h.seal(standard)

	check := func(id string, files ...PDF) *Result {
		return Check(h.file(id), Options{Anchors: h.authority.Roots(), PDFs: files})
	}
	for _, id := range []string{first, standard} {
		files := h.pdfs(id)
		r := check(id, files...)
		if !r.Passed() {
			t.Errorf("%s", r.Text())
		}
		if id == first && strings.Count(r.Text(), "is the one that the evidence tells of") != 3 {
			t.Errorf("not every own signature was found in its document:\n%s", r.Text())
		}
		for _, f := range files {
			spoilt := bytes.Clone(f.Content)
			spoilt[len(spoilt)/2] ^= 1
			if r := check(id, PDF{f.Name, spoilt}); r.Indication != validate.Failed {
				t.Errorf("%s, one bit: %s", f.Name, r.Text())
			}
		}
	}
	// A file of another session is none of this one's, and has others' signatures.
	for i, f := range h.pdfs(second)[:2] {
		if r := check(first, f); r.Indication != validate.Failed {
			t.Errorf("%s of another session:\n%s", f.Name, r.Text())
		}
		c := &checking{o: Options{Anchors: h.authority.Roots(), Now: h.desk.Now()}, r: &Result{Indication: validate.Passed}}
		var err error
		c.e, err = h.desk.Evidence(ctx, first)
		h.must(err)
		if c.inside(f, i); c.r.Indication != validate.Failed {
			t.Errorf("%s of another session has this one's signature:\n%s", f.Name, c.r.Text())
		}
	}
}
