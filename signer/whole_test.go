package signer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"milterd/pki"
	"milterd/signature/pades"
	"milterd/signature/pdf"
	"milterd/signature/pdf/cos"
	"milterd/validate"
	"milterd/workflow"
)

// given is a document of two signatories that is given away for the
// first one's signature.
func given(t testing.TB, s *Signer, level workflow.Level) (*workflow.Session, []byte, *workflow.Prepared) {
	t.Helper()
	sess := session(2)
	sess.Level = level
	head := laidOut(t, s, sess, document(t, "contract.pdf"))
	act := sess.People[0].Act
	p, err := s.Prepare(context.Background(), sess, 0, 0, act.Appearance, act.At, workflow.Key{Whole: true}, head)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Suffix) > 0 || p.Size != int64(len(head)) || len(p.Attributes) > 0 {
		t.Fatalf("something was written: %+v", p)
	}
	return sess, head, stored(t, p)
}

// put is a server that signs a whole document, in a field, with so much room for a time.
func (d *device) put(t testing.TB, head []byte, field string, room int, ts pades.Timestamper) []byte {
	t.Helper()
	certs, err := parse(d.chain)
	if err != nil {
		t.Fatal(err)
	}
	suffix, err := pades.Sign(context.Background(), head, pades.Params{Certificate: certs[0], Chain: certs[1:], Field: field, Time: time.Now(), TokenSize: room}, d.key, ts)
	if err != nil {
		t.Fatal(err)
	}
	return append(bytes.Clone(head), suffix...)
}

// change is an increment of somebody else's.
func change(t testing.TB, head []byte, fn func(u *cos.Update, f *cos.File)) []byte {
	t.Helper()
	f, err := cos.Open(head)
	if err != nil {
		t.Fatal(err)
	}
	u := f.NewUpdate()
	fn(u, f)
	suffix, err := u.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return append(bytes.Clone(head), suffix...)
}

// A document comes back signed, in the signatory's field or in one out of sight: it gets
// its time and its revocation data, and is as good as any other.
func TestSignedElsewhere(t *testing.T) {
	t.Parallel()
	own := func(s *workflow.Session) string { return pdf.FieldName(s.ID, 0) }
	hidden := func(*workflow.Session) string { return "Theirs" }
	for name, c := range map[string]struct {
		level workflow.Level
		field func(*workflow.Session) string
	}{
		"own field":              {workflow.Qualified, own},
		"out of sight":           {workflow.Qualified, hidden},
		"own field, Advanced":    {workflow.Advanced, own},
		"out of sight, Advanced": {workflow.Advanced, hidden},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := registered(t, pki.P256)
			s := ownClock(a.Authority)
			sess, head, p := given(t, s, c.level)
			d := a.device(t, sess.People[0].Person, time.Hour)
			signed := d.put(t, head, c.field(sess), 6000, nil)
			key, err := s.Take(context.Background(), p, head, signed[len(head):])
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(key.Chain[0], d.chain[0]) || key.Algorithm != "ES256" || p.Size != int64(len(signed)) || len(p.Attributes) == 0 || len(p.Value) == 0 {
				t.Fatalf("taken as %+v", key)
			}
			p = stored(t, p)
			sess.People[0].Act.Accepted = &workflow.Acceptance{Level: c.level, Chain: d.chain}
			incs, err := s.Complete(context.Background(), sess, 0, 0, head, p)
			if err != nil {
				t.Fatal(err)
			}
			out := bytes.Clone(head)
			for _, inc := range incs {
				out = append(out, inc.Suffix...)
			}
			if len(incs) != 2 || len(out) < len(signed) {
				t.Errorf("%d increments", len(incs))
			}
			if r := results(t, a.Authority, out); !r.Passed() || r.Signatures[0].Level != validate.LevelLT {
				t.Fatal(r.Text())
			}
			sealed, err := s.Seal(context.Background(), sess, 0, out)
			if err != nil {
				t.Fatal(err)
			}
			for _, inc := range sealed {
				out = append(out, inc.Suffix...)
			}
			judge(t, s, out, 2)
			outsiders(t, out, a.dir, 2)
			if _, err := s.Complete(context.Background(), sess, 0, 0, append(bytes.Clone(head), ' '), p); !errors.Is(err, workflow.ErrConflict) {
				t.Errorf("to another head: %v", err)
			}
		})
	}
}

// What comes back is something else, or more: a refusal with its reason, and nothing is kept.
func TestWholeRefuses(t *testing.T) {
	t.Parallel()
	a := registered(t, pki.P256)
	s := ownClock(a.Authority)
	sess, head, p := given(t, s, workflow.Qualified)
	d := a.device(t, sess.People[0].Person, time.Hour)
	own := pdf.FieldName(sess.ID, 0)
	good := d.put(t, head, own, 6000, nil)
	text := func(u *cos.Update, f *cos.File) {
		pages, err := pdf.Pages(f, 10)
		if err != nil {
			t.Fatal(err)
		}
		page, err := f.Dict(pages[0].Ref)
		if err != nil {
			t.Fatal(err)
		}
		page["Contents"] = u.Add(&cos.Stream{Dict: cos.Dict{}, Raw: []byte("BT ET")})
		u.Set(pages[0].Ref, page)
	}
	flipped := bytes.Clone(good)
	flipped[strings.LastIndex(string(good), "/ByteRange")-3]++
	before, _ := json.Marshal(p)
	for name, c := range map[string]struct {
		file []byte
		want string
	}{
		"as it was sent":          {head, "foreign-document"},
		"not signed":              {change(t, head, func(u *cos.Update, _ *cos.File) { u.Add(cos.Dict{}) }), "foreign-document"},
		"another text":            {d.put(t, change(t, head, text), own, 6000, nil), "foreign-document"},
		"another text afterwards": {change(t, good, text), "foreign-document"},
		"two signatures":          {d.put(t, good, "Another", 6000, nil), "foreign-document"},
		"in a colleague's field":  {d.put(t, head, pdf.FieldName(sess.ID, 1), 6000, nil), "foreign-document"},
		"in the seal's field":     {d.put(t, head, pdf.SealName(sess.ID), 6000, nil), "foreign-document"},
		"a byte of what is new":   {flipped, "foreign-document foreign-signature"},
		"a time of its own":       {d.put(t, head, own, 6000, s.c.Time), "foreign-signature"},
		"no room for a time":      {d.put(t, head, own, 0, nil), "signature-too-large"},
		"rubbish behind":          {append(bytes.Clone(good), "rubbish"...), "foreign-document"},
	} {
		key, err := s.Take(context.Background(), p, head, c.file[len(head):])
		var r *workflow.Refusal
		if !errors.As(err, &r) || !strings.Contains(c.want, r.Reason) || r.Text == "" || key.Chain != nil {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
		if after, _ := json.Marshal(p); !bytes.Equal(before, after) {
			t.Errorf("%s: something of it is kept", name)
		}
	}
	if _, err := s.Take(context.Background(), p, head[:len(head)-1], good[len(head):]); !errors.Is(err, workflow.ErrConflict) {
		t.Errorf("to another head: %v", err)
	}
	if _, err := s.Take(context.Background(), p, head, good[len(head):]); err != nil {
		t.Errorf("the good one: %v", err)
	}
}
