package intake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"milterd/directory"
	"milterd/milter"
	"milterd/workflow"
)

// The whole conversation is tested with a real Postfix in package postfix
// (testdata/cases); here is what those cases cannot bring about.

type people struct{ away bool }

func (d people) find(key string) (workflow.Person, error) {
	if d.away {
		return workflow.Person{}, errors.New("connection refused")
	}
	for _, name := range []string{"jane", "john", "bob", "with+plus"} {
		if key == name || key == name+"@corp.test" {
			return workflow.Person{Mail: name + "@corp.test", Name: name, Language: "en"}, nil
		}
	}
	return workflow.Person{}, directory.ErrNotFound
}
func (d people) ByAddress(_ context.Context, a string) (workflow.Person, error)   { return d.find(a) }
func (d people) ByLocalPart(_ context.Context, l string) (workflow.Person, error) { return d.find(l) }
func (d people) ByLogin(_ context.Context, l string) (workflow.Person, error)     { return d.find(l) }
func (d people) Group(context.Context, string) ([]workflow.Person, error) {
	return nil, directory.ErrNotFound
}
func (d people) Groups(context.Context, string) ([]string, error) { return nil, nil }

type inspector struct {
	f   Finding
	err error
}

func (i inspector) Inspect(context.Context, []byte) (Finding, error) { return i.f, i.err }

type opener struct {
	opened []workflow.Opening
	err    error
}

func (o *opener) Open(_ context.Context, op workflow.Opening) (*workflow.Session, bool, error) {
	if o.err != nil {
		return nil, false, o.err
	}
	o.opened = append(o.opened, op)
	return &workflow.Session{ID: "s"}, true, nil
}

func desk() (*Intake, *opener) {
	o := &opener{}
	return &Intake{
		Config: Config{Domain: "sign.corp.test", Level: workflow.Standard, Documents: 2, Signatories: 2, Pages: 10,
			Trusted: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/28"), netip.MustParsePrefix("2001:db8::1/128")}},
		Directory: people{}, Inspector: inspector{f: Finding{Pages: 3, Signed: true, Notes: []string{"note"}}}, Desk: o,
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}, o
}

var envelope = milter.Envelope{Client: netip.MustParseAddr("198.51.100.7"), Login: "jane", From: "jane@corp.test",
	Recipients: []string{"john@sign.corp.test"}}

// withPDFs is a mail with n attachments.
func withPDFs(n int, header string) []byte {
	return []byte("From: jane@corp.test\r\nSubject: x\r\nMessage-ID: <1@corp.test>\r\n" + header + "Content-Type: multipart/mixed; boundary=b\r\n\r\n" +
		strings.Repeat("--b\r\nContent-Type: application/pdf; name=scan.bin\r\n\r\n%PDF-1.7 x\r\n", n) + "--b--\r\n")
}

func reason(err error) string {
	var r *workflow.Refusal
	if !errors.As(err, &r) {
		return fmt.Sprint(err)
	}
	return fmt.Sprintf("%d %s %s", r.Code, r.Enhanced, r.Reason)
}

func TestOpening(t *testing.T) {
	in, o := desk()
	var counted []string
	in.Count = func(s string) { counted = append(counted, s) }
	raw := withPDFs(1, "")
	if err := in.Message(t.Context(), envelope, raw); err != nil {
		t.Fatal(err)
	}
	got := o.opened[0]
	if got.ProvenBy != "sasl jane" || string(got.Mail) != string(raw) || got.Thread.MessageID != "<1@corp.test>" || got.BodyHash == [32]byte{} {
		t.Errorf("opening %+v", got)
	}
	d := got.Documents[0]
	if d.Name != "scan.bin.pdf" || d.Pages != 3 || !d.Signed || fmt.Sprint(d.Notes) != "[note]" {
		t.Errorf("document %+v", d)
	}
	e := envelope
	e.Login, e.From, e.Client = "", "scanner@corp.test", netip.MustParseAddr("192.0.2.15")
	if err := in.Message(t.Context(), e, raw); err != nil || o.opened[1].ProvenBy != "client 192.0.2.15" {
		t.Errorf("trusted client: %v, %+v", err, o.opened)
	}
	if fmt.Sprint(counted) != "[opened opened]" {
		t.Errorf("counted %v", counted)
	}
}

func TestMessageRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Intake, *milter.Envelope)
		raw    []byte
		want   string
	}{
		"directory away":  {func(in *Intake, _ *milter.Envelope) { in.Directory = people{away: true} }, withPDFs(1, ""), "451 4.4.3 directory-away"},
		"inspection away": {func(in *Intake, _ *milter.Envelope) { in.Inspector = inspector{err: errors.New("no memory")} }, withPDFs(1, ""), "451 4.3.0 inspection-away"},
		"store away":      {func(in *Intake, _ *milter.Envelope) { in.Desk = &opener{err: errors.New("disk full")} }, withPDFs(1, ""), "451 4.3.0 store-away"},
		"desk refuses": {func(in *Intake, _ *milter.Envelope) {
			in.Desk = &opener{err: &workflow.Refusal{Code: 550, Enhanced: "5.0.0", Reason: "own"}}
		}, withPDFs(1, ""), "550 5.0.0 own"},
		"too many documents": {nil, withPDFs(3, ""), "554 5.5.3 too-many-documents"},
		"too many pages":     {func(in *Intake, _ *milter.Envelope) { in.Inspector = inspector{f: Finding{Pages: 11}} }, withPDFs(1, ""), "554 5.3.4 too-many-pages"},
		"too many signatories": {func(_ *Intake, e *milter.Envelope) {
			e.Recipients = []string{"self@sign.corp.test", "john@sign.corp.test", "bob@sign.corp.test"}
		}, withPDFs(1, ""), "550 5.5.3 too-many-signatories"},
		"default level":  {func(in *Intake, _ *milter.Envelope) { in.Config.Level = workflow.Qualified }, withPDFs(1, ""), "554 5.7.4 level-unavailable"},
		"unproven":       {func(_ *Intake, e *milter.Envelope) { e.Login = "" }, withPDFs(1, ""), "550 5.7.1 unproven-sender"},
		"client unknown": {func(_ *Intake, e *milter.Envelope) { e.Login, e.Client = "", netip.Addr{} }, withPDFs(1, ""), "550 5.7.1 unproven-sender"},
	} {
		in, _ := desk()
		e := envelope
		if c.change != nil {
			c.change(in, &e)
		}
		if got := reason(in.Message(t.Context(), e, c.raw)); got != c.want {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
	}
}

func TestRefusalNamesDocument(t *testing.T) {
	in, _ := desk()
	inner := &workflow.Refusal{Code: 554, Enhanced: "5.7.5", Reason: "encrypted-pdf", Text: "the PDF is encrypted"}
	in.Inspector = inspector{err: inner}
	var r *workflow.Refusal
	if err := in.Message(t.Context(), envelope, withPDFs(1, "")); !errors.As(err, &r) || r.Text != "scan.bin.pdf: the PDF is encrypted" || inner.Text != "the PDF is encrypted" {
		t.Errorf("got %v", err)
	}
}

func TestRecipient(t *testing.T) {
	for rcpt, want := range map[string]string{
		"self":               "take",
		"SELF":               "take",
		"self+standard":      "take",
		"self+":              "550 5.1.3 unknown-level",
		"self+x":             "550 5.1.3 unknown-level",
		"self+qualified":     "554 5.7.4 level-unavailable",
		"john":               "take",
		"john+Standard":      "take",
		"john+advanced":      "take",
		"self+Advanced":      "take",
		"john+qualified":     "554 5.7.4 level-unavailable",
		"john+":              "550 5.1.3 unknown-level",
		"with+plus":          "take",
		"with+plus+standard": "550 5.1.3 unknown-level",
		"nobody":             "550 5.1.1 unknown-signatory",
		"":                   "550 5.1.1 unknown-signatory",
		"postmaster":         "pass",
		"Abuse":              "pass",
		"postmaster+x":       "550 5.1.3 unknown-level",
		"Abuse+":             "550 5.1.3 unknown-level",
		"bounce":             "take",
		"bounce+a.1.b":       "take",
		"reply":              "550 5.2.1 answer-address",
		"reply+x":            "550 5.2.1 answer-address",
		"verify":             "550 5.2.1 verify-address",
	} {
		in, _ := desk()
		v, err := in.Recipient(t.Context(), envelope, rcpt+"@sign.corp.test")
		got := map[milter.Verdict]string{milter.Take: "take", milter.Pass: "pass"}[v]
		if err != nil {
			got = reason(err)
		}
		if got != want {
			t.Errorf("%s: got %s, want %s", rcpt, got, want)
		}
	}
	in, _ := desk()
	in.Directory = people{away: true}
	if _, err := in.Recipient(t.Context(), envelope, "john@sign.corp.test"); reason(err) != "451 4.4.3 directory-away" {
		t.Errorf("directory away: %v", err)
	}
}
