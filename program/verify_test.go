package program

import (
	"bytes"
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"milterd/signature/asic"
	"milterd/signature/cades"
	"milterd/signature/cms/cmstest"
	"milterd/validate"
	"milterd/workflow"
)

// sealed is a document signed on behalf of Jane and sealed.
func sealed(t *testing.T, p *Program, plain []byte) []byte {
	t.Helper()
	ctx := context.Background()
	s := &workflow.Session{ID: "abcdefghijklmnop", Level: workflow.Standard, State: workflow.Open, Created: time.Now(),
		Documents: []workflow.Document{{Name: "contract.pdf", Kind: workflow.Mailed, Pages: 1}},
		People: []workflow.Participant{{Person: workflow.Person{Mail: "jane.roe@corp.test", Name: "Jane Roe", Language: "en"}, Sender: true, Signatory: true,
			State: workflow.Signing, Act: &workflow.Act{Appearance: workflow.Appearance{Typed: "Jane Roe"}, At: time.Now()}}}}
	layout, err := p.Signer.Layout(ctx, s, 0, plain)
	if err != nil {
		t.Fatal(err)
	}
	signed := slices.Concat(plain, layout)
	for _, step := range []func() ([]workflow.Increment, error){
		func() ([]workflow.Increment, error) { return p.Signer.Sign(ctx, s, 0, 0, signed) },
		func() ([]workflow.Increment, error) { return p.Signer.Seal(ctx, s, 0, signed) },
	} {
		made, err := step()
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range made {
			signed = slices.Concat(signed, i.Suffix)
		}
	}
	return signed
}

// Whoever asks verify@ hears what became of a file that we signed, of one that
// was changed, and of files that are something else.
func TestVerifier(t *testing.T) {
	c := configured(t)
	p, _ := serve(t, c)
	ctx := context.Background()
	plain := cmstest.Document(1000)
	signed := sealed(t, p, plain)
	changed := bytes.Replace(signed, []byte("Contract"), []byte("contract"), 1)
	if bytes.Equal(changed, signed) {
		t.Fatal("nothing was changed: nothing is tested")
	}
	bomb, err := os.ReadFile("../testdata/pdf/bomb-objstm.pdf")
	if err != nil {
		t.Fatal(err)
	}
	seal := p.Authority.Seal()
	letter := []asic.File{{Name: "letter.txt", Content: []byte("Dear John"), MIME: "text/plain"}}
	one, err := asic.Sign(ctx, asic.Extended, letter, 1, cades.Params{Certificate: seal.Leaf(), Chain: seal.Chain[1:], Time: time.Now()}, seal.Key, nil)
	if err != nil {
		t.Fatal(err)
	}
	container, err := asic.Build(asic.Extended, letter, []asic.Signature{*one})
	if err != nil {
		t.Fatal(err)
	}
	v := verifier{p.anchors}
	for name, one := range map[string]struct {
		content []byte
		want    workflow.Verdict
		report  string
	}{
		"signed and sealed":                   {signed, workflow.VerdictValid, "TOTAL-PASSED"},
		"changed":                             {changed, workflow.VerdictChanged, "HASH_FAILURE"},
		"not signed":                          {plain, workflow.VerdictUnsigned, "holds no signature"},
		"not a PDF":                           {[]byte("PK\x03\x04 letter"), workflow.VerdictUnreadable, "cannot be judged"},
		"a bomb":                              {bomb, workflow.VerdictUnreadable, "cannot be judged"},
		"a container without revocation data": {container, workflow.VerdictOpen, "CAdES-BASELINE-B"},
		"a container cut off":                 {container[:len(container)-1], workflow.VerdictUnreadable, "cannot be judged"},
		"nothing":                             {nil, workflow.VerdictUnreadable, "cannot be judged"},
	} {
		f, err := v.Verify(ctx, workflow.NamedFile{Name: name, Content: one.content}, nil, false)
		if err != nil || f.Verdict != one.want || !strings.Contains(f.Report, one.report) {
			t.Errorf("%s: %v, %s, want %s; report: %s", name, err, f.Verdict, one.want, f.Report)
		}
		if one.want != workflow.VerdictValid {
			continue
		}
		var said []string
		for _, s := range f.Signatures {
			said = append(said, s.By+" "+string(s.Verdict))
			if s.At.IsZero() {
				t.Errorf("%s has no time", s.By)
			}
		}
		if len(said) != 3 || !f.Signatures[2].Stamp || slices.ContainsFunc(said, func(s string) bool { return !strings.HasSuffix(s, " valid") }) {
			t.Errorf("signatures: %q", said)
		}
	}
}

// Detached signatures are held against what is given with them, or what came along.
func TestVerifierDetached(t *testing.T) {
	p, _ := serve(t, configured(t))
	seal := p.Authority.Seal()
	offer := []byte("We offer.\n")
	params := cades.Params{Certificate: seal.Leaf(), Chain: seal.Chain[1:], Time: time.Now()}
	der, err := cades.Sign(t.Context(), offer, params, seal.Key, nil)
	if err != nil {
		t.Fatal(err)
	}
	attached, err := cades.Attach(der, offer)
	if err != nil {
		t.Fatal(err)
	}
	file := func(name, content string) workflow.NamedFile {
		return workflow.NamedFile{Name: name, Content: []byte(content)}
	}
	right, wrong, more := file("offer.txt", string(offer)), file("offer.txt", "We offer more.\n"), file("more.txt", "more")
	for name, c := range map[string]struct {
		file   []byte
		others []workflow.NamedFile
		given  bool
		want   workflow.Verdict // open, as nobody has put revocation data into the signature
		signs  string
		report string
	}{
		"given":                    {der, []workflow.NamedFile{right}, true, workflow.VerdictOpen, "offer.txt", "TRY_LATER"},
		"given, changed":           {der, []workflow.NamedFile{wrong}, true, workflow.VerdictChanged, "offer.txt", "HASH_FAILURE"},
		"given, one too many":      {der, []workflow.NamedFile{right, more}, true, workflow.VerdictUnreadable, "", "signs one file"},
		"given to an attached one": {attached, []workflow.NamedFile{wrong}, true, workflow.VerdictChanged, "", "HASH_FAILURE"},
		"given to a PDF":           {cmstest.Document(10), []workflow.NamedFile{right}, true, workflow.VerdictUnreadable, "", "no detached signature"},
		"came along":               {der, []workflow.NamedFile{more, right}, false, workflow.VerdictOpen, "offer.txt", "TRY_LATER"},
		"alone came along":         {der, []workflow.NamedFile{wrong}, false, workflow.VerdictChanged, "offer.txt", "HASH_FAILURE"},
		"none fits":                {der, []workflow.NamedFile{more, wrong}, false, workflow.VerdictOpen, "", "SIGNED_DATA_NOT_FOUND"},
		"nothing came along":       {der, nil, false, workflow.VerdictOpen, "", "SIGNED_DATA_NOT_FOUND"},
		"attached, beside others":  {attached, []workflow.NamedFile{wrong}, false, workflow.VerdictOpen, "", "TRY_LATER"},
		"a PDF beside others":      {cmstest.Document(10), []workflow.NamedFile{right}, false, workflow.VerdictUnsigned, "", "holds no signature"},
	} {
		f, err := verifier{p.anchors}.Verify(t.Context(), workflow.NamedFile{Name: "offer.p7s", Content: c.file}, c.others, c.given)
		if err != nil || f.Verdict != c.want || strings.Join(f.Signs, ",") != c.signs || !strings.Contains(f.Report, c.report) || f.Name != "offer.p7s" || f.Size != int64(len(c.file)) {
			t.Errorf("%s: %v, %s, want %s for %q; signs %q; report: %s", name, err, f.Verdict, c.want, c.signs, f.Signs, f.Report)
		}
	}
}

// Through a real Postfix: the answer comes to who asked, once, with the report;
// also when the mail that asks passes on a result of ours.
func TestVerifyByMail(t *testing.T) {
	s := startSite(t, nil)
	good := sealed(t, s.Program, cmstest.Document(1000))
	first := letter("v1", "In-Reply-To: <milterd.abcdefghijklmnop.aaaaaaaaaaaaaaaaaaaaaaaaaa@sign.corp.test>\n", good)
	for range 2 {
		if err := s.send(t, "jane.roe", "jane.roe@corp.test", first, "verify@sign.corp.test"); err != nil {
			t.Fatal(err)
		}
	}
	changed := letter("v2", "", bytes.Replace(good, []byte("Contract"), []byte("contract"), 1))
	if err := s.send(t, "jane.roe", "jane.roe@corp.test", changed, "verify@sign.corp.test"); err != nil {
		t.Fatal(err)
	}
	if err := s.send(t, "", "jane.roe@corp.test", letter("v3", "", good), "verify@sign.corp.test"); err == nil {
		t.Error("a stranger's question is taken")
	}
	seal := s.Program.Authority.Seal()
	detached, err := cades.Sign(t.Context(), []byte("We offer.\n"), cades.Params{Certificate: seal.Leaf(), Chain: seal.Chain[1:], Time: time.Now()}, seal.Key, nil)
	if err != nil {
		t.Fatal(err)
	}
	beside := strings.Replace(letter("v4", "", detached), "application/pdf; name=lease.pdf", "application/pkcs7-signature; name=offer.txt.p7s\nContent-Disposition: attachment; filename=offer.txt.p7s", 1)
	beside = strings.TrimSuffix(beside, "--b--\n") + "--b\nContent-Type: text/plain; name=offer.txt\nContent-Disposition: attachment\nContent-Transfer-Encoding: base64\n\nV2Ugb2ZmZXIuCg==\n--b--\n"
	if err := s.send(t, "jane.roe", "jane.roe@corp.test", beside, "verify@sign.corp.test"); err != nil {
		t.Fatal(err)
	}
	got := s.mails(t, "jane.roe@corp.test", "Verified: Lease", 3)
	time.Sleep(time.Second) // for one that must not come
	if all := s.mails(t, "jane.roe@corp.test", "Verified: Lease", 3); len(all) != 3 {
		t.Errorf("%d answers, want 3", len(all))
	}
	for id, words := range map[string][]string{
		"v1": {"Every signature in this file is valid", "Example Corp: valid, proven for", "In-Reply-To: <v1@corp.test>", "Auto-Submitted: auto-replied", "verification.txt"},
		"v2": {"This file was CHANGED after it was signed", "NOT valid", "In-Reply-To: <v2@corp.test>"},
		"v4": {"What we found in your file", "* offer.txt.p7s", "Signs: offer.txt", "cannot be decided here", "In-Reply-To: <v4@corp.test>"},
	} {
		i := slices.IndexFunc(got, func(m string) bool { return strings.Contains(m, "<"+id+"@corp.test>") })
		if i < 0 {
			t.Errorf("%s is not answered", id)
			continue
		}
		text := strings.Join(strings.Fields(got[i]), " ")
		for _, w := range words {
			if !strings.Contains(text, w) {
				t.Errorf("%s: the answer does not say %q:\n%s", id, w, got[i])
			}
		}
	}
	if list, err := s.Store.List(t.Context(), workflow.Filter{}); err != nil || len(list) != 0 {
		t.Errorf("%d sessions, %v", len(list), err)
	}
}

// A signer's name is a stranger's word: it plays no tricks where people read it.
func TestSignedBy(t *testing.T) {
	for subject, want := range map[string]string{"CN=Jane": "CN=Jane", "Jane\u202eeoR\x00\n": "Jane\ufffdeoR\ufffd\ufffd"} {
		if got := signedBy(validate.Signature{Subject: subject}); got != want {
			t.Errorf("%q is shown as %q, want %q", subject, got, want)
		}
	}
}
