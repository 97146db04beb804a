package evidence

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"milterd/validate"
	"milterd/workflow"
)

// A page may name its documents in any order; the passkey approves them in theirs.
func TestStandardInAnotherOrder(t *testing.T) {
	s := finished(t)
	ctx := context.Background()
	id := s.h.open(workflow.Standard, "in another order").ID
	v := s.h.visit(id, 0)
	shown := s.h.shown(v)
	var approved []workflow.Digest
	for _, sh := range shown {
		approved = append(approved, sh.SHA256)
	}
	slices.Reverse(shown)
	s.h.must(s.h.desk.Sign(ctx, v, shown, workflow.Appearance{Typed: "John Doe"}, "192.0.2.1", s.h.approve(v, s.john, approved)))
	if r := Check(s.h.file(id), s.options()); !r.Passed() {
		t.Errorf("signed, but its evidence does not hold:\n%s", r.Text())
	}
}

// A file that is made to crash its reader is a file that does not hold.
func TestHollowEvidence(t *testing.T) {
	s := finished(t)
	for name, change := range map[string]func(map[string]any){
		"no certificate":   func(e map[string]any) { e["certificates"] = []any{nil} },
		"no credential":    func(e map[string]any) { e["credentials"] = []any{nil} },
		"no revisions":     func(e map[string]any) { first(e, "documents")["revisions"] = nil },
		"no documents":     func(e map[string]any) { e["session"].(map[string]any)["documents"] = nil },
		"no document":      func(e map[string]any) { e["session"].(map[string]any)["documents"] = []any{nil} },
		"no events":        func(e map[string]any) { e["events"] = []any{nil} },
		"no people":        func(e map[string]any) { e["session"].(map[string]any)["people"] = []any{nil} },
		"no issuers":       func(e map[string]any) { e["issuers"] = []any{nil} },
		"no own signature": func(e map[string]any) { first(e, "people")["act"].(map[string]any)["own"] = []any{nil, nil} },
		"nothing shown":    func(e map[string]any) { first(e, "people")["act"].(map[string]any)["shown"] = []any{nil} },
		"an empty proof":   func(e map[string]any) { first(e, "people")["act"].(map[string]any)["proof"] = nil },
		"an empty answer": func(e map[string]any) {
			first(e, "people")["act"].(map[string]any)["proof"].(map[string]any)["assertion"] = map[string]any{}
		},
	} {
		t.Run(name, func(t *testing.T) {
			body, der, err := split(s.file)
			s.h.must(err)
			var e map[string]any
			s.h.must(json.Unmarshal(body, &e))
			change(e)
			changed, err := json.MarshalIndent(e, "", " ")
			s.h.must(err)
			if r := Check(assemble(changed, der), s.options(s.pdfs...)); r.Indication != validate.Failed {
				t.Error(r.Text())
			}
		})
	}
}

func first(e map[string]any, list string) map[string]any {
	return e["session"].(map[string]any)[list].([]any)[0].(map[string]any)
}

// Each wants its answer in no time: nesting, numbers, and much of nothing.
func TestEvidenceMadeToCost(t *testing.T) {
	for name, body := range map[string]string{
		"nested":       `{"format":"milterd evidence 1","session":` + strings.Repeat(`[`, 5<<20),
		"many members": `{"format":"milterd evidence 1","session":{"people":[` + strings.Repeat(`{},`, 1<<20) + `{}]}}`,
		"many unknown": `{"format":"milterd evidence 1","x":[` + strings.Repeat(`0,`, 4<<20) + `0],"session":{}}`,
	} {
		begun := time.Now()
		if r := Check(assemble([]byte(body), []byte{0x30, 0}), Options{}); r.Indication != validate.Failed {
			t.Errorf("%s: %s", name, r.Indication)
		}
		if took := time.Since(begun); took > 10*time.Second {
			t.Errorf("%s: %s", name, took)
		}
	}
}
