package intake

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"milterd/milter"
	"milterd/workflow"
)

// answerer keeps what is to be answered.
type answerer struct {
	answered []workflow.Verification
	keys     [][32]byte
	judged   int
	signs    map[string]string // name of a detached signature → of what it signs
	err      error             // of the Verifier
}

func (a *answerer) Verify(_ context.Context, f workflow.NamedFile, others []workflow.NamedFile, given bool) (workflow.VerifiedFile, error) {
	a.judged++
	out := workflow.VerifiedFile{Name: f.Name, Size: int64(len(f.Content)), Verdict: workflow.VerdictValid}
	if a.signs != nil && a.signs[f.Name] == "" && !strings.HasSuffix(f.Name, ".pdf") {
		out.Verdict = workflow.VerdictUnreadable
	}
	for _, o := range others {
		if given || o.Name == f.Name {
			panic("files that only came along, and not itself")
		}
		if a.signs[f.Name] == o.Name {
			out.Signs = append(out.Signs, o.Name)
		}
	}
	return out, a.err
}

// A signature in a file of its own is judged with what came along, which is then told
// of with it; what has signatures of its own, and what none is for, has its verdict.
func TestVerifyDetached(t *testing.T) {
	in, _ := desk()
	in.Config.Documents = 9
	a := &answerer{signs: map[string]string{"offer.txt.p7s": "offer.txt", "signed.pdf.p7s": "signed.pdf"}}
	in.Verify = &Verify{Verifier: a, Desk: a}
	e := envelope
	e.Recipients = []string{"verify@sign.corp.test"}
	raw := with("are these right?", file("text/plain", "offer.txt", "x"), file("application/pkcs7-signature", "offer.txt.p7s", "0"),
		file("application/pdf", "signed.pdf", "%PDF-"), file("application/pkcs7-signature", "signed.pdf.p7s", "0"), file("text/plain", "other.txt", "y"))
	if err := in.Message(t.Context(), e, raw); err != nil || len(a.answered) != 1 {
		t.Fatalf("%v, %d answers", err, len(a.answered))
	}
	var got []string
	for _, f := range a.answered[0].Files {
		got = append(got, f.Name+" "+string(f.Verdict)+" "+strings.Join(f.Signs, ","))
	}
	want := []string{"offer.txt.p7s valid offer.txt", "signed.pdf valid ", "signed.pdf.p7s valid signed.pdf", "other.txt unreadable "}
	if !slices.Equal(got, want) {
		t.Errorf("answered %q, want %q", got, want)
	}
}

func (a *answerer) Verified(_ context.Context, v workflow.Verification, key [32]byte) (bool, error) {
	if slices.Contains(a.keys, key) {
		return false, nil
	}
	a.answered, a.keys = append(a.answered, v), append(a.keys, key)
	return true, nil
}

func TestVerify(t *testing.T) {
	to := func(rcpts ...string) milter.Envelope {
		e := envelope
		e.Recipients = rcpts
		return e
	}
	ask := to("verify@sign.corp.test")
	stranger, trusted := ask, ask
	stranger.Login = ""
	trusted.Login, trusted.Client = "", netip.MustParseAddr("192.0.2.1")
	for name, c := range map[string]struct {
		e      milter.Envelope
		raw    []byte
		change func(*Intake, *answerer)
		want   string // refusal
		left   bool   // taken without an answer
	}{
		"a file":                  {e: ask, raw: withPDFs(1, "")},
		"two files":               {e: ask, raw: withPDFs(2, "")},
		"with a tag, upper case":  {e: to("Verify+x@sign.corp.test"), raw: withPDFs(1, "")},
		"in a thread of ours":     {e: ask, raw: withPDFs(1, "In-Reply-To: <milterd.abc.def@sign.corp.test>\r\n")},
		"an answer without files": {e: ask, raw: withPDFs(0, "In-Reply-To: <milterd.abc.def@sign.corp.test>\r\n"), left: true},
		"nothing attached":        {e: ask, raw: withPDFs(0, ""), want: "554 5.6.2 no-attachment"},
		"too many files":          {e: ask, raw: withPDFs(3, ""), want: "554 5.5.3 too-many-documents"},
		"with a signatory":        {e: to("verify@sign.corp.test", "john@sign.corp.test"), raw: withPDFs(1, ""), want: "550 5.5.3 verify-alone"},
		"a stranger":              {e: stranger, raw: withPDFs(1, ""), want: "550 5.7.1 unproven-sender"},
		"a stranger, confirmable": {e: stranger, raw: withPDFs(1, ""), want: "550 5.7.1 unproven-sender",
			change: func(in *Intake, _ *answerer) { in.Confirm = &Confirm{} }}, // nothing is held: it would panic
		"blocked":                 {e: ask, raw: withPDFs(1, ""), want: "550 5.7.1 blocked-sender", change: func(in *Intake, _ *answerer) { in.Config.Blocked = []string{"jane@corp.test"} }},
		"somebody else's From":    {e: ask, raw: []byte(strings.Replace(string(withPDFs(1, "")), "jane@corp", "bob@corp", 1)), want: "550 5.7.1 from-not-yours"},
		"written by a machine":    {e: trusted, raw: withPDFs(1, "Auto-Submitted: auto-generated\r\n"), left: true},
		"no room for a child":     {e: ask, raw: withPDFs(1, ""), want: "451 4.3.0 inspection-away", change: func(_ *Intake, a *answerer) { a.err = errors.New("fork: out of memory") }},
		"where nobody judges":     {e: ask, raw: withPDFs(1, ""), want: "550 5.2.1 verify-address", change: func(in *Intake, _ *answerer) { in.Verify = nil }},
		"by way of a client's IP": {e: trusted, raw: withPDFs(1, "")},
	} {
		in, o := desk()
		a := &answerer{}
		in.Verify = &Verify{Verifier: a, Desk: a}
		var counted []string
		in.Count = func(s string) { counted = append(counted, s) }
		if c.change != nil {
			c.change(in, a)
		}
		err := in.Message(t.Context(), c.e, c.raw)
		switch {
		case len(o.opened) > 0:
			t.Errorf("%s: it opens a session", name)
		case c.want != "" && reason(err) != c.want, c.want == "" && err != nil:
			t.Errorf("%s: got %s, want %q", name, reason(err), c.want)
		case (c.want == "" && !c.left) != (len(a.answered) == 1):
			t.Errorf("%s: %d answers", name, len(a.answered))
		case (c.want != "" && a.err == nil || c.left) && a.judged > 0:
			t.Errorf("%s: its files were looked at", name)
		}
		if len(a.answered) != 1 {
			continue
		}
		if v := a.answered[0]; v.Person.Mail != "jane@corp.test" || v.Thread.MessageID != "<1@corp.test>" || v.Files[0].Name != "scan.bin.pdf" || v.Files[0].Size != 10 {
			t.Errorf("%s: answered %+v", name, v)
		}
		if err := in.Message(t.Context(), c.e, c.raw); err != nil || len(a.answered) != 1 || !slices.Equal(counted, []string{"verified", "repeated"}) {
			t.Errorf("%s: the same mail again: %v, %d answers, counted %v", name, err, len(a.answered), counted)
		}
	}
}

// Whether verify@ is taken does not depend on the directory, and nobody is asked to.
func TestVerifyRecipient(t *testing.T) {
	in, _ := desk()
	a := &answerer{}
	in.Verify = &Verify{Verifier: a, Desk: a}
	if v, err := in.Recipient(t.Context(), envelope, "verify@sign.corp.test"); err != nil || v != milter.Take {
		t.Errorf("proven: %v %v", v, err)
	}
	e := envelope
	e.Login = ""
	if _, err := in.Recipient(t.Context(), e, "verify@sign.corp.test"); reason(err) != "550 5.7.1 unproven-sender" {
		t.Errorf("stranger: %v", err)
	}
	e.From = ""
	if _, err := in.Recipient(t.Context(), e, "verify@sign.corp.test"); reason(err) != "550 5.7.1 null-sender" {
		t.Errorf("null sender: %v", err)
	}
}
