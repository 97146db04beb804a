package signer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"milterd/pki"
	"milterd/pki/tsatest"
	"milterd/signature/pdf"
	"milterd/signature/pdf/cos"
	"milterd/validate"
	"milterd/workflow"
)

// Every CMS in the file satisfies OpenSSL, with the bytes that it covers.
func TestOpenSSLVerifiesEverySignature(t *testing.T) {
	t.Parallel()
	a, dir := authority(t, pki.RSA3072)
	out, _ := finish(t, ownClock(a), session(2), document(t, "contract.pdf"))
	f, err := cos.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	sigs, err := pdf.Signatures(f)
	if err != nil {
		t.Fatal(err)
	}
	if len(sigs) != 4 {
		t.Fatalf("%d signatures, want 4", len(sigs))
	}
	tmp := t.TempDir()
	put := func(name string, b []byte) string {
		path := filepath.Join(tmp, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, s := range sigs {
		r := s.ByteRange
		content := put("content", append(bytes.Clone(out[:r[1]]), out[r[2]:r[2]+r[3]]...))
		value := put("value", s.Contents)
		if s.Dict["Type"] == cos.Name("DocTimeStamp") {
			run(t, "openssl", "ts", "-verify", "-token_in", "-in", value, "-data", content, "-CAfile", dir+"/root.crt")
			continue
		}
		run(t, "openssl", "cms", "-verify", "-cades", "-purpose", "any", "-binary", "-inform", "DER", "-in", value, "-content", content,
			"-CAfile", dir+"/root.crt", "-out", os.DevNull)
	}
}

// With an external authority, everything about its chain is in the file.
func TestExternalTimestamps(t *testing.T) {
	t.Parallel()
	a, _ := authority(t, pki.P256)
	first, second := tsatest.New(t), tsatest.New(t)
	roots := first.Roots()
	roots.AddCert(second.Root)
	s := New(Config{Seal: a.Seal(), Organisation: org, Time: &pki.Remote{URLs: []string{first.URL, second.URL}, Roots: roots},
		Evidence: &pki.Gatherer{Own: a, Roots: roots}})
	ctx := context.Background()
	if err := s.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	out, _ := finish(t, s, session(1), document(t, "contract.pdf"))
	judge(t, s, out, 2)

	// Another authority steps in between signature and document timestamp:
	// the evidence about it must come too.
	sess := session(1)
	flaky := &switching{Timestamper: s.c.Time, after: 1, do: func() { first.Behave(tsatest.Rejecting) }}
	s.c.Time = flaky
	incs, err := s.Seal(ctx, sess, 0, document(t, "contract.pdf"))
	if err != nil {
		t.Fatal(err)
	}
	out = document(t, "contract.pdf")
	for _, inc := range incs {
		out = append(out, inc.Suffix...)
	}
	if incs[len(incs)-1].Kind != workflow.Archive {
		t.Errorf("last increment is %s", incs[len(incs)-1].Kind)
	}
	if r := judge(t, s, out, 1); second.Requests.Load() != 1 {
		t.Errorf("the second authority was asked %d times:\n%s", second.Requests.Load(), r.Text())
	}

	// All away: which ones, and no token from anywhere else.
	second.Behave(tsatest.Error404)
	_, err = s.Sign(ctx, sess, 0, 0, document(t, "contract.pdf"))
	var tsa *pki.TSAError
	var refused *workflow.Refusal
	if !errors.As(err, &tsa) || errors.As(err, &refused) || !strings.Contains(err.Error(), first.URL) || !strings.Contains(err.Error(), second.URL) {
		t.Errorf("authorities away: %v", err)
	}
	if err := s.Ready(ctx); !errors.As(err, &tsa) {
		t.Errorf("ready: %v", err)
	}
	// The authority's certificate is revoked: the signature must wait.
	first.Behave(tsatest.Honest)
	first.Revoked.Store(true)
	var revoked *pki.RevokedError
	if _, err = s.Sign(ctx, sess, 0, 0, document(t, "contract.pdf")); !errors.As(err, &revoked) {
		t.Errorf("revoked: %v", err)
	}
}

// switching does something after some tokens.
type switching struct {
	pki.Timestamper
	after int
	do    func()
}

func (s *switching) Timestamp(ctx context.Context, digest []byte) ([]byte, error) {
	token, err := s.Timestamper.Timestamp(ctx, digest)
	if s.after--; s.after == 0 {
		s.do()
	}
	return token, err
}

// A token that outgrew its place makes the signature again, not impossible.
func TestTokenOutgrowsItsPlace(t *testing.T) {
	t.Parallel()
	a, _ := authority(t, pki.RSA3072)
	s := ownClock(a)
	s.tokenSize = 100
	out, _ := finish(t, s, session(1), document(t, "contract.pdf"))
	judge(t, s, out, 2)
	if s.tokenSize < 2000 {
		t.Errorf("token size %d", s.tokenSize)
	}
}

// The certificate of completion has no fields; its seal is invisible.
func TestReportIsSealed(t *testing.T) {
	t.Parallel()
	a, _ := authority(t, pki.P256)
	s, sess := ownClock(a), session(1)
	sess.Documents = append(sess.Documents, workflow.Document{Name: workflow.ReportName, Kind: workflow.Report})
	out := document(t, "contract.pdf")
	incs, err := s.Seal(context.Background(), sess, 1, out)
	if err != nil {
		t.Fatal(err)
	}
	for _, inc := range incs {
		out = append(out, inc.Suffix...)
	}
	if r := judge(t, s, out, 1); r.Signatures[0].Level != validate.LevelLTA {
		t.Error(r.Text())
	}
}

// Documents that others have signed keep their signatures and get no new page:
// two people and the seal sign visibly in a row at the foot of the last page, or
// invisibly where that would break a certification. A lone empty field is taken
// by the one signatory.
func TestSignedInput(t *testing.T) {
	t.Parallel()
	a, _ := authority(t, pki.P256)
	s := ownClock(a)
	for name, c := range map[string]struct {
		people, visible int    // of ours
		field           string // of the first signatory, where it is not one of ours
		reason          string
	}{
		"signed.pdf":        {2, 3, "", ""},
		"signed-packed.pdf": {1, 2, "", ""},
		"signed-form.pdf":   {1, 1, "board.chair", ""},
		"locked-some.pdf":   {2, 3, "", ""},
		"certified-2.pdf":   {2, 0, "", ""},
		"certified-3.pdf":   {1, 0, "", ""},
		"locked-2.pdf":      {1, 0, "", ""},
		"certified-1.pdf":   {1, 0, "", "signature-forbidden"},
		"locked-1.pdf":      {1, 0, "", "signature-forbidden"},
		"locked.pdf":        {1, 0, "", "signature-forbidden"},
		"locked-rest.pdf":   {2, 0, "", "signature-forbidden"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			original := document(t, name)
			sess := session(c.people)
			sess.Documents[0].Signed = true
			if c.reason != "" {
				_, err := s.Sign(context.Background(), sess, 0, 0, original)
				var refused *workflow.Refusal
				if !errors.As(err, &refused) || refused.Reason != c.reason || refused.Code != 554 {
					t.Fatalf("got %v, want a refusal %q", err, c.reason)
				}
				return
			}
			out, kinds := finish(t, s, sess, original)
			if kinds[0] != workflow.Signature {
				t.Errorf("first increment is %s", kinds[0])
			}
			before, after := results(t, a, original), results(t, a, out)
			if len(after.Signatures) != len(before.Signatures)+c.people+2 {
				t.Fatal(after.Text())
			}
			for i, sig := range after.Signatures {
				if i < len(before.Signatures) {
					if sig.Indication != before.Signatures[i].Indication || len(denied(sig.Changes)) > 0 {
						t.Errorf("earlier signature: %s\n%s", before.Text(), after.Text())
					}
				} else if sig.Indication != validate.Passed {
					t.Errorf("own signature: %s", after.Text())
				}
			}
			if c.field != "" && find(after.Signatures, c.field) == nil {
				t.Errorf("the field %q was not taken: %s", c.field, after.Text())
			}
			if n := visible(t, out, sess.ID); n != c.visible {
				t.Errorf("%d visible fields, want %d", n, c.visible)
			}
			path := filepath.Join(t.TempDir(), "out.pdf")
			if err := os.WriteFile(path, out, 0o600); err != nil {
				t.Fatal(err)
			}
			run(t, "qpdf", "--check", path)
			want := len(before.Signatures) + c.people + 1
			if sigs := run(t, "pdfsig", "-nocert", path); strings.Count(sigs, "Signature is Valid") < want {
				t.Errorf("pdfsig, want %d valid:\n%s", want, sigs)
			}
		})
	}
}

func results(t *testing.T, a *pki.Authority, data []byte) *validate.Result {
	t.Helper()
	r, err := validate.Validate(data, validate.Options{Anchors: a.Roots()})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// visible counts the signed fields of a session that show something.
func visible(t *testing.T, data []byte, session string) (n int) {
	t.Helper()
	f, err := cos.Open(data)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := pdf.Signatures(f)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range signed {
		if !strings.HasSuffix(s.Field.Name, session) {
			continue
		}
		if s.Field.Dict["AP"] == nil {
			t.Errorf("%s has no appearance", s.Field.Name) // PDF/A-1 wants one, also of what does not show
		}
		rect, err := f.Array(s.Field.Dict["Rect"])
		if err != nil || len(rect) != 4 {
			t.Fatal(err)
		}
		if w, _ := cos.Number(rect[2]); w > 0 {
			n++
		}
	}
	return n
}

func TestSignRefuses(t *testing.T) {
	t.Parallel()
	a, _ := authority(t, pki.P256)
	s := ownClock(a)
	ctx := context.Background()
	var refused *workflow.Refusal
	for _, level := range []workflow.Level{workflow.Advanced, workflow.Qualified} {
		sess := session(1)
		sess.Level = level
		if _, err := s.Sign(ctx, sess, 0, 0, document(t, "contract.pdf")); !errors.As(err, &refused) || refused.Reason != "level-unavailable" {
			t.Errorf("%s: %v", level, err)
		}
	}
	for _, name := range []string{"not.pdf", "encrypted.pdf"} {
		if _, err := s.Sign(ctx, session(1), 0, 0, document(t, name)); !errors.As(err, &refused) || refused.Reason != "broken-pdf" {
			t.Errorf("%s: %v", name, err)
		}
	}
	sess := session(1)
	sess.People[0].Act = nil
	if _, err := s.Sign(ctx, sess, 0, 0, document(t, "contract.pdf")); err == nil || errors.As(err, &refused) && refused.Reason == "" {
		t.Errorf("without an act: %v", err)
	}
	// Twice the same signature: the field is filled.
	sess = session(1)
	out, _ := finish(t, s, sess, document(t, "contract.pdf"))
	if _, err := s.Sign(ctx, sess, 0, 0, out); !errors.As(err, &refused) || refused.Reason != "no-field" {
		t.Errorf("twice: %v", err)
	}
}

// What was changed behind our back is noticed before anything is handed out.
func TestResultsAreChecked(t *testing.T) {
	t.Parallel()
	a, _ := authority(t, pki.P256)
	other, _ := authority(t, pki.P256)
	s := ownClock(a)
	s.c.Seal.Key = other.Seal().Key
	if _, err := s.Sign(context.Background(), session(1), 0, 0, document(t, "contract.pdf")); err == nil {
		t.Error("a key that does not belong to the certificate signed")
	}
	s = ownClock(a)
	sess := session(2)
	incs, err := s.Sign(context.Background(), sess, 0, 0, document(t, "contract.pdf"))
	if err != nil {
		t.Fatal(err)
	}
	head := document(t, "contract.pdf")
	for _, inc := range incs {
		head = append(head, inc.Suffix...)
	}
	at := bytes.Index(head, []byte("obj"))
	head[at+5] ^= 1 // white space or a digit of the original
	if _, err := s.Sign(context.Background(), sess, 0, 1, head); err == nil {
		t.Error("signed over a broken signature")
	} else {
		t.Log(fmt.Sprint(err))
	}
}
