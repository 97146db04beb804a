package demo

import (
	"context"
	"log/slog"
	"os"
	"slices"
	"testing"

	"milterd/internal/cases"
	"milterd/workflow"
)

// notHere are cases about what Postfix alone does: rewriting of addresses, an
// alias for postmaster.
var notHere = []string{"address-forms", "address-routes", "postmaster"}

// The integration cases against the demo's mail server and the whole of
// milterd. Those that need more than SMTP (XCLIENT, a store that goes away)
// are played by package postfix alone, as are those of notHere.
func TestCases(t *testing.T) {
	users, err := os.ReadFile("../testdata/cases/users.toml")
	if err != nil {
		t.Fatal(err)
	}
	c, err := parseCast(users)
	if err != nil {
		t.Fatal(err)
	}
	for _, login := range []string{"jane", "john", "robot"} {
		c.logins[login] = password
	}
	h, err := start(t.Context(), Options{}, c, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer h.close()
	stage := cases.Stage{
		Addr: h.mail.Address(), Files: "../testdata/mail",
		Password: func(string) string { return password },
		Opened:   h.opened,
		Mailbox: func(_ context.Context, addr string) ([][]byte, error) {
			var out [][]byte
			for _, l := range h.boxes.In(addr) {
				if l.From == "" || !slices.Contains([]byte(l.From), '+') { // milterd's own mails are not part of a case
					out = append(out, l.Raw)
				}
			}
			return out, nil
		},
	}
	all, err := cases.Load("../testdata/cases")
	if err != nil {
		t.Fatal(err)
	}
	played := 0
	for _, c := range all {
		if len(c.Needs()) > 0 || slices.Contains(notHere, c.Name) {
			continue
		}
		played++
		t.Run(c.Name, func(t *testing.T) {
			if err := c.Play(t.Context(), stage); err != nil {
				t.Error(err)
			}
		})
	}
	if played < 20 {
		t.Errorf("only %d cases were played", played)
	}
}

// opened lists the sessions as cases compare them, oldest first.
func (h *house) opened(ctx context.Context) ([]cases.Opened, error) {
	list, err := h.program.Store.List(ctx, workflow.Filter{Limit: 1000})
	if err != nil {
		return nil, err
	}
	slices.Reverse(list)
	var out []cases.Opened
	for _, s := range list {
		o := cases.Opened{Level: s.Level.String(), Sender: s.Sender().Mail}
		for _, p := range s.People {
			if p.Signatory {
				o.Signatories = append(o.Signatories, p.Mail)
			}
			if p.Copy {
				o.Copies = append(o.Copies, p.Mail)
			}
		}
		for _, i := range s.Mailed() {
			o.Documents = append(o.Documents, s.Documents[i].Name)
		}
		out = append(out, o)
	}
	return out, nil
}
