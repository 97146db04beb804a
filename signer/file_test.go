package signer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"milterd/pki"
	"milterd/pki/tsatest"
	"milterd/signature/asic"
	"milterd/signature/cms"
	"milterd/signature/xades"
	"milterd/validate"
	"milterd/workflow"
)

// filed asks n people to sign a file in a form.
func filed(n int, form workflow.Form, name string, content []byte) *workflow.Session {
	s := session(n)
	s.Documents = []workflow.Document{{Name: name, Kind: workflow.Mailed, Form: form, Type: "text/plain",
		Revisions: []workflow.Revision{{Kind: workflow.Original, Size: int64(len(content))}}}}
	return s
}

// finishFile has everybody sign and the organisation seal; each revision is put
// together as the store does it.
func finishFile(t *testing.T, s *Signer, sess *workflow.Session, now []byte) []byte {
	t.Helper()
	ctx := context.Background()
	if layout, err := s.Layout(ctx, sess, 0, now); err != nil || layout != nil {
		t.Fatalf("a layout of %d bytes, %v", len(layout), err)
	}
	step := func(kind workflow.RevisionKind, incs []workflow.Increment, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if len(incs) != 1 || incs[0].Kind != kind || incs[0].Until.IsZero() != (kind == workflow.Signature) {
			t.Fatalf("increments %+v, want one of kind %s", incs, kind)
		}
		now = append(bytes.Clone(now[:int64(len(now))-incs[0].Cut]), incs[0].Suffix...)
		d := &sess.Documents[0]
		d.Revisions = append(d.Revisions, workflow.Revision{Number: len(d.Revisions), Kind: kind, Size: int64(len(now))})
	}
	for _, i := range sess.Signatories() {
		incs, err := s.Sign(ctx, sess, 0, i, now)
		step(workflow.Signature, incs, err)
	}
	incs, err := s.Seal(ctx, sess, 0, now)
	step(workflow.Archive, incs, err)
	return now
}

var invoice = []byte("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Invoice xmlns=\"urn:test\">\n  <Total>10</Total>\n</Invoice>\n")

func TestFilesReachTheirLevels(t *testing.T) {
	t.Parallel()
	text := []byte("We agree.\n")
	for _, c := range []struct {
		form    workflow.Form
		name    string
		content []byte
		people  int
		format  validate.Format
		level   validate.Level
	}{
		{workflow.ASiC, "offer.txt", text, 1, validate.ASiCE, validate.CAdESLevelLTA},
		{workflow.ASiC, "Größe & mehr.txt", text, 3, validate.ASiCE, validate.CAdESLevelLTA},
		{workflow.ASiC, "zeros.bin", make([]byte, 3<<20), 1, validate.ASiCE, validate.CAdESLevelLTA},
		{workflow.CAdES, "offer.txt", text, 1, validate.CAdES, validate.CAdESLevelLTA},
		{workflow.CAdES, "offer.txt", text, 3, validate.CAdES, validate.CAdESLevelLTA},
		{workflow.XAdES, "invoice.xml", invoice, 1, validate.XAdES, validate.XAdESLevelLTA},
		{workflow.XAdES, "invoice.xml", invoice, 3, validate.XAdES, validate.XAdESLevelLTA},
	} {
		t.Run(fmt.Sprintf("%s, %s, %d", c.form, c.name, c.people), func(t *testing.T) {
			t.Parallel()
			a, dir := authority(t, pki.P256)
			s := ownClock(a)
			sess := filed(c.people, c.form, c.name, c.content)
			out := finishFile(t, s, sess, c.content)
			r, err := validate.File(out, validate.Options{Anchors: a.Roots()})
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for _, sig := range r.Signatures {
				if sig.Kind == validate.KindSignature {
					if n++; sig.Level != c.level {
						t.Errorf("%s has level %q", sig.Field, sig.Level)
					}
				}
			}
			if !r.Passed() || r.Format != c.format || n != c.people+1 || len(r.Later) > 0 {
				t.Fatalf("%s, %d signatures\n%s", r.Format, n, r.Text())
			}
			roles := map[string]bool{"sealed by " + org: true}
			for _, p := range sess.People {
				roles["Standard: sealed by "+org+" on behalf of "+p.Name] = true
			}
			for _, sig := range signatures(r) {
				if !roles[sig.Role] {
					t.Errorf("%s claims to be %q", sig.Field, sig.Role)
				}
				delete(roles, sig.Role)
			}
			if got := inside(t, c.form, out); !bytes.Equal(got, c.content) {
				t.Errorf("what was mailed is not what is inside: %d bytes", len(got))
			}
			if c.form == workflow.XAdES && !bytes.HasPrefix(out, c.content[:bytes.LastIndex(c.content, []byte("</Invoice>"))]) {
				t.Error("the XML document was changed before its signatures")
			}
			if keep := os.Getenv("SIGNER_KEEP"); keep != "" {
				name := fmt.Sprintf("%s-%d-", c.form, c.people)
				os.WriteFile(filepath.Join(keep, name+sess.Documents[0].ResultName()), out, 0o644)
				b, _ := os.ReadFile(dir + "/root.crt")
				os.WriteFile(filepath.Join(keep, name+sess.Documents[0].ResultName()+".root"), b, 0o644)
			}
			// Grown by what was expected when the mail was taken, at the most.
			if grown := len(out) - len(c.content); grown > (192<<10+c.people*(128<<10))*4/3 {
				t.Errorf("grown by %d bytes", grown)
			}
		})
	}
}

// inside is the file that a result holds.
func inside(t *testing.T, form workflow.Form, out []byte) []byte {
	t.Helper()
	switch form {
	case workflow.ASiC:
		c, err := asic.Open(out)
		if err != nil || len(c.Data()) != 1 {
			t.Fatal(err)
		}
		return c.Data()[0].Content
	case workflow.CAdES:
		all, err := cms.ParseAll(out)
		if err != nil {
			t.Fatal(err)
		}
		return all[0].Content
	}
	at, end := bytes.Index(out, []byte("<ds:Signature ")), bytes.LastIndex(out, []byte("</ds:Signature>"))
	return append(bytes.Clone(out[:at]), out[end+len("</ds:Signature>"):]...)
}

// XML that others have signed takes another signature where theirs allow it, and
// keeps them as they are.
func TestSignedXML(t *testing.T) {
	t.Parallel()
	a, _ := authority(t, pki.P256)
	other, _ := authority(t, pki.P256)
	theirs := filed(1, workflow.XAdES, "invoice.xml", invoice)
	signed := finishFile(t, ownClock(other), theirs, invoice)
	sess := filed(2, workflow.XAdES, "invoice.xml", signed)
	sess.Documents[0].Signed = true
	s := ownClock(a)
	out := finishFile(t, s, sess, signed)
	r, err := validate.File(out, validate.Options{Anchors: a.Roots()})
	if err != nil {
		t.Fatal(err)
	}
	passed := 0
	for _, sig := range signatures(r) {
		if sig.Indication == validate.Passed {
			passed++
		} else if sig.Indication != validate.Indeterminate || sig.Sub != validate.NoChain {
			t.Errorf("another's signature: %s\n%s", sig.Indication, r.Text())
		}
	}
	if passed != 3 {
		t.Errorf("%d signatures pass, want 3\n%s", passed, r.Text())
	}
	// One that covers whatever comes is not harmed.
	plain := bytes.Replace(signed, []byte("http://www.w3.org/TR/1999/REC-xpath-19991116"), []byte("http://www.w3.org/2000/09/xmldsig#enveloped-signature"), 1)
	sess = filed(1, workflow.XAdES, "invoice.xml", plain)
	sess.Documents[0].Signed = true
	var refused *workflow.Refusal
	if _, err := s.Sign(context.Background(), sess, 0, 0, plain); !errors.As(err, &refused) || refused.Code != 554 {
		t.Errorf("got %v, want a refusal", err)
	}
}

// With an external authority, and another one that steps in, everything about
// their chains is in the file.
func TestFilesWithExternalTimestamps(t *testing.T) {
	t.Parallel()
	a, _ := authority(t, pki.P256)
	first, second := tsatest.New(t), tsatest.New(t)
	roots := first.Roots()
	roots.AddCert(second.Root)
	for form, content := range map[workflow.Form][]byte{workflow.ASiC: []byte("text"), workflow.CAdES: []byte("text"), workflow.XAdES: invoice} {
		first.Behave(tsatest.Honest)
		s := New(Config{Seal: a.Seal(), Organisation: org, Time: &pki.Remote{URLs: []string{first.URL, second.URL}, Roots: roots},
			Evidence: &pki.Gatherer{Own: a, Roots: roots}})
		flaky := &switching{Timestamper: s.c.Time, after: 2, do: func() { first.Behave(tsatest.Rejecting) }}
		s.c.Time = flaky
		out := finishFile(t, s, filed(1, form, "a.xml", content), content)
		r, err := validate.File(out, validate.Options{Anchors: s.c.Evidence.Anchors()})
		if err != nil {
			t.Fatal(err)
		}
		if !r.Passed() {
			t.Errorf("%s:\n%s", form, r.Text())
		}
	}
}

// An archive timestamp that ages gets a younger one, of whatever form.
func TestRenewFiles(t *testing.T) {
	t.Parallel()
	a, _ := authority(t, pki.P256)
	s := ownClock(a)
	ctx, far := context.Background(), time.Now().AddDate(100, 0, 0)
	for form, content := range map[workflow.Form][]byte{workflow.ASiC: []byte("text"), workflow.CAdES: []byte("text"), workflow.XAdES: invoice} {
		now := finishFile(t, s, filed(2, form, "a.xml", content), content)
		if r, err := s.Renew(ctx, now, time.Now()); err != nil || len(r.Increments) != 0 || r.Until.IsZero() {
			t.Errorf("%s, young: %+v, %v", form, r, err)
		}
		for range 2 {
			r, err := s.Renew(ctx, now, far)
			if err != nil || len(r.Increments) != 1 || r.Until.IsZero() {
				t.Fatalf("%s: %d increments, %v", form, len(r.Increments), err)
			}
			now = append(bytes.Clone(now[:int64(len(now))-r.Increments[0].Cut]), r.Increments[0].Suffix...)
			if v, err := validate.File(now, validate.Options{Anchors: a.Roots()}); err != nil || !v.Passed() {
				t.Errorf("%s: %v\n%s", form, err, v.Text())
			}
		}
		spoilt := bytes.Replace(now, []byte("<Total>10<"), []byte("<Total>99<"), 1)
		if form == workflow.CAdES {
			spoilt = bytes.Replace(now, []byte("text"), []byte("tent"), 1)
		}
		if form == workflow.ASiC {
			continue // it is compressed, or has a checksum: nobody opens it
		}
		var refused *workflow.Refusal
		if _, err := s.Renew(ctx, spoilt, far); !errors.As(err, &refused) || refused.Reason != "signature-broken" {
			t.Errorf("%s, changed: %v", form, err)
		}
	}
	var refused *workflow.Refusal
	if _, err := s.Renew(ctx, invoice, far); !errors.As(err, &refused) || refused.Reason != "no-archive" {
		t.Errorf("unsigned: %v", err)
	}
}

func TestFilesRefused(t *testing.T) {
	t.Parallel()
	a, _ := authority(t, pki.P256)
	s := ownClock(a)
	ctx := context.Background()
	for name, c := range map[string]struct {
		form    workflow.Form
		name    string
		content string
		reason  string
	}{
		"a document type": {workflow.XAdES, "a.xml", "<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>", "broken-xml"},
		"two roots":       {workflow.XAdES, "a.xml", "<a/><b/>", "broken-xml"},
		"a cut text":      {workflow.XAdES, "a.xml", "<a>1<!-- -->000</a>", "broken-xml"},
		"its own name":    {workflow.ASiC, "mimetype", "x", "no-container"},
		"elsewhere":       {workflow.ASiC, "../x", "x", "no-container"},
	} {
		sess := filed(1, c.form, c.name, []byte(c.content))
		var refused *workflow.Refusal
		if _, err := s.Sign(ctx, sess, 0, 0, []byte(c.content)); !errors.As(err, &refused) || refused.Reason != c.reason || refused.Code != 554 {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A container that holds another file than the session's.
	sess := filed(2, workflow.ASiC, "a.txt", []byte("a"))
	out := finishFile(t, s, filed(1, workflow.ASiC, "b.txt", []byte("b")), []byte("b"))
	sess.Documents[0].Revisions = append(sess.Documents[0].Revisions, workflow.Revision{Number: 1, Kind: workflow.Signature})
	if _, err := s.Sign(ctx, sess, 0, 0, out); err == nil {
		t.Error("signed what is in another's container")
	}
	if _, err := xades.Read([]byte("<a/><b/>")); err == nil {
		t.Error("two roots were read")
	}
}
