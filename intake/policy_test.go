package intake

import (
	"fmt"
	"strings"
	"testing"

	"milterd/milter"
	"milterd/workflow"
)

func TestGroupAddresses(t *testing.T) {
	for rcpts, want := range map[string]string{
		"all":               "opened jane@corp.test for [jane@corp.test john@corp.test bob@corp.test] by sasl jane",
		"ALL+standard":      "opened jane@corp.test for [jane@corp.test john@corp.test bob@corp.test] by sasl jane",
		"john all self bob": "opened jane@corp.test for [john@corp.test jane@corp.test bob@corp.test] by sasl jane",
		"john":              "opened jane@corp.test for [john@corp.test] by sasl jane",
		"all with+plus":     "550 5.5.3 too-many-signatories",
		"nobodies":          "550 5.1.1 empty-group",
		"crowd":             "550 5.5.3 too-many-signatories",
		"twins":             "550 5.1.4 ambiguous-signatory",
		"nobody":            "550 5.1.1 unknown-signatory",
		"away":              "451 4.4.3 directory-away",
		"all+advanced":      "opened jane@corp.test for [jane@corp.test john@corp.test bob@corp.test] by sasl jane",
		"all+qualified":     "554 5.7.4 level-unavailable",
	} {
		in, o, _, _, counted := strict()
		in.Config.Signatories = 3
		e := envelope
		e.Recipients = nil
		for r := range strings.FieldsSeq(rcpts) {
			e.Recipients = append(e.Recipients, r+"@sign.corp.test")
		}
		if got := outcome(in.Message(t.Context(), e, withPDFs(1, "")), o, *counted); got != want {
			t.Errorf("%s: got %s, want %s", rcpts, got, want)
		}
		// What can be said at RCPT is said there.
		if _, err := in.Recipient(t.Context(), e, e.Recipients[0]); len(e.Recipients) == 1 && (err != nil) != !strings.HasPrefix(want, "opened") {
			t.Errorf("%s at RCPT: %v", rcpts, err)
		}
	}
}

func TestPolicy(t *testing.T) {
	all := map[workflow.Level][]string{workflow.Standard: {"Staff"}}
	board := map[workflow.Level][]string{workflow.Standard: {"management", "CN=Board, DC=corp"}}
	none := map[workflow.Level][]string{workflow.Standard: {"management"}}
	for name, c := range map[string]struct {
		request, sign Groups
		blocked       []string
		rcpt, want    string
	}{
		"nothing":              {want: "opened jane@corp.test for [john@corp.test] by sasl jane"},
		"of another level":     {request: Groups{workflow.Qualified: {"management"}}, want: "opened jane@corp.test for [john@corp.test] by sasl jane"},
		"may request":          {request: all, want: "opened jane@corp.test for [john@corp.test] by sasl jane"},
		"by another name":      {request: board, want: "opened jane@corp.test for [john@corp.test] by sasl jane"},
		"may not request":      {request: none, want: "550 5.7.1 may-not-request"},
		"may not sign":         {sign: all, want: "550 5.7.1 may-not-sign"},
		"may sign":             {sign: all, rcpt: "self@sign.corp.test", want: "opened jane@corp.test for [jane@corp.test] by sasl jane"},
		"one of all may not":   {sign: all, rcpt: "all@sign.corp.test", want: "550 5.7.1 may-not-sign"},
		"at another level":     {request: none, sign: none, rcpt: "john+advanced@sign.corp.test", want: "opened jane@corp.test for [john@corp.test] by sasl jane"},
		"advanced, requested":  {request: Groups{workflow.Advanced: {"management"}}, rcpt: "john+advanced@sign.corp.test", want: "550 5.7.1 may-not-request"},
		"advanced, signed":     {sign: Groups{workflow.Advanced: {"Staff"}}, rcpt: "john+advanced@sign.corp.test", want: "550 5.7.1 may-not-sign"},
		"advanced, by a group": {sign: Groups{workflow.Advanced: {"Staff"}}, rcpt: "self+advanced@sign.corp.test", want: "opened jane@corp.test for [jane@corp.test] by sasl jane"},
		"groups are too many":  {sign: all, rcpt: "with+plus@sign.corp.test", want: "550 5.7.1 may-not-sign"},
		"groups are away":      {sign: all, rcpt: "bob@sign.corp.test", want: "451 4.4.3 directory-away"},
		"blocked":              {blocked: []string{"x@corp.test", "JANE@corp.test"}, want: "550 5.7.1 blocked-sender"},
		"by another address":   {blocked: []string{"jane"}, want: "550 5.7.1 blocked-sender"},
		"somebody else is not": {blocked: []string{"john@corp.test"}, want: "opened jane@corp.test for [john@corp.test] by sasl jane"},
	} {
		in, o, _, _, counted := strict()
		in.Config.Request, in.Config.Sign, in.Config.Blocked, in.Config.Signatories = c.request, c.sign, c.blocked, 5
		e := envelope
		if c.rcpt != "" {
			e.Recipients = []string{c.rcpt}
		}
		if got := outcome(in.Message(t.Context(), e, withPDFs(1, "")), o, *counted); got != c.want {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
		_, err := in.Recipient(t.Context(), e, e.Recipients[0])
		if blocked := reason(err) == "550 5.7.1 blocked-sender"; blocked != strings.Contains(c.want, "blocked") {
			t.Errorf("%s at RCPT: %v", name, err)
		}
	}
}

// box is a Returned.
type box struct{ kept []string }

func (b *box) Known(tag string) bool { return tag == "ours" }
func (b *box) Keep(tag string, raw []byte) error {
	b.kept = append(b.kept, tag+" "+string(raw))
	return nil
}

func TestTrials(t *testing.T) {
	in, o, _, _, counted := strict()
	b := &box{}
	in.Returned = b
	for _, relayed := range []bool{false, true} {
		e := stranger
		e.Relayed, e.From = relayed, "check+ours@sign.corp.test"
		e.Recipients = []string{"check+ours@sign.corp.test"}
		if v, err := in.Recipient(t.Context(), e, "Check+ours@sign.corp.test"); v != milter.Take || err != nil {
			t.Errorf("at RCPT: %v, %v", v, err)
		}
		if err := in.Message(t.Context(), e, []byte("Auto-Submitted: auto-generated\r\n\r\n")); err != nil {
			t.Error(err)
		}
	}
	if len(b.kept) != 2 || len(o.opened) != 0 || fmt.Sprint(*counted) != "[check check]" {
		t.Errorf("kept %q, counted %v", b.kept, *counted)
	}
	in.Origin.Domains = nil
	if _, err := in.Recipient(t.Context(), stranger, "check+theirs@sign.corp.test"); reason(err) != "550 5.7.1 unproven-sender" {
		t.Errorf("a strange tag: %v", err)
	}
}
