package demo

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/emersion/go-smtp"

	"milterd/workflow"
)

// patience is how long a step may take.
const patience = time.Minute

// run is one unattended run: it prints each step with its time and counts what
// is off.
type run struct {
	*house
	out    io.Writer
	dir    string
	began  time.Time
	signed int
	failed int
}

// step does one thing, prints it with the time that it took, and counts it if
// it is off. It reports whether the case can go on.
func (r *run) step(name string, do func() (note string, err error)) bool {
	begin := time.Now()
	note, err := do()
	took := time.Since(begin).Seconds()
	if err != nil {
		r.failed++
		fmt.Fprintf(r.out, "  FAILED %7.3fs  %s: %v\n", took, name, err)
		return false
	}
	if note != "" {
		note = ": " + note
	}
	fmt.Fprintf(r.out, "  ok     %7.3fs  %s%s\n", took, name, note)
	return true
}

// once does both cases, leaves mails and signed documents in folders, and
// reports whether everything was as it should be.
func (h *house) once(ctx context.Context, o Options) (bool, error) {
	r := &run{house: h, out: o.Out, dir: o.Dir, began: time.Now()}
	if err := clear(o.Dir); err != nil {
		return false, err
	}
	switch o.Level {
	case workflow.Advanced:
		r.advanced(ctx)
	case workflow.Qualified:
		r.qualified(ctx)
		// Who checks needs the authority, too, that no trusted list but ours knows.
		r.keep("signed", "qtsp.pem", certificates(r.provider.authority.CA))
	default:
		for _, c := range append(scenarios(h.people), files(h.people)...) {
			fmt.Fprintf(r.out, "%s\n", c.title)
			r.sign(ctx, c)
		}
	}
	fmt.Fprintf(r.out, "Refusals\n")
	r.refusals()
	fmt.Fprintf(r.out, "Afterwards\n")
	sessions := r.afterwards(ctx)
	// For judges who know nothing of us (make conformance).
	r.keep("signed", "root.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: h.root.Raw}))
	letters := h.boxes.In("")
	for _, l := range letters {
		r.keep("mail", fmt.Sprintf("%02d-%s.eml", l.ID, l.Box), l.Raw)
	}
	fmt.Fprintf(r.out, "%.1fs in all\ndemo: sessions=%d signed=%d mails=%d failed=%d\n",
		time.Since(r.began).Seconds(), sessions, r.signed, len(letters), r.failed)
	return r.failed == 0, nil
}

// clear makes the folders of a run. Files of an earlier run would be taken for
// this one's, so they go; whatever else is there stays.
func clear(dir string) error {
	for folder, kinds := range map[string][]string{"mail": {"[0-9][0-9]*-*@*.eml"}, "signed": {"*-signed.pdf", "*-signed.xml", "*.asice", "*-" + workflow.ReportName, "root.pem", "qtsp.pem"}} {
		if err := os.MkdirAll(filepath.Join(dir, folder), 0o755); err != nil {
			return err
		}
		for _, kind := range kinds {
			old, err := filepath.Glob(filepath.Join(dir, folder, kind))
			if err != nil {
				return err
			}
			for _, f := range old {
				if err := os.Remove(f); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// scenario is a mail that asks for one signature.
type scenario struct {
	title      string
	name       string // of its files
	draft      Draft
	signatory  Person
	informed   []Person // who gets the result
	ordinary   []string // recipients that get the mail itself, untouched
	appearance workflow.Appearance
}

func scenarios(people []Person) []scenario {
	jane, john, marie, lena := people[0], people[1], people[2], people[3]
	file := Sample()
	return []scenario{{
		title: "Jane signs herself", name: "self", signatory: jane, informed: []Person{jane},
		draft:      Draft{From: jane, To: []string{"self@" + SignDomain}, Subject: "[Standard] Framework agreement", Text: "For my files.", File: file},
		appearance: workflow.Appearance{Typed: jane.Name},
	}, {
		title: "Jane asks John, with Marie in Cc and an ordinary copy to Lena", name: "colleague", signatory: john,
		informed: []Person{jane, john, marie}, ordinary: []string{lena.Mail},
		draft: Draft{From: jane, To: []string{"john.doe@" + SignDomain, lena.Mail}, Cc: []string{marie.Mail},
			Subject: "Framework agreement: standard", Text: "Dear John,\nplease sign by Friday.", File: file},
		appearance: workflow.Appearance{Width: 600, Height: 200, Strokes: []workflow.Stroke{
			{{X: 40, Y: 150}, {X: 90, Y: 40}, {X: 130, Y: 60}, {X: 110, Y: 150}, {X: 170, Y: 120}},
			{{X: 200, Y: 60}, {X: 260, Y: 140}, {X: 330, Y: 90}, {X: 420, Y: 130}, {X: 560, Y: 70}}}},
	}}
}

// files are mails with what is no PDF: XML, a text, and none at all, whose own words
// are signed.
func files(people []Person) []scenario {
	jane, john := people[0], people[1]
	invoice := "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<invoice>\n  <number>2026-117</number>\n  <total currency=\"EUR\">1190.00</total>\n</invoice>\n"
	self := func(title, name string, d Draft) scenario {
		d.From, d.To = jane, []string{"self@" + SignDomain}
		return scenario{title: title, name: name, draft: d, signatory: jane, informed: []Person{jane}, appearance: workflow.Appearance{Typed: jane.Name}}
	}
	transaction := self("Jane asks John for his word: a mail without attachments", "transaction",
		Draft{Subject: "Delivery on Friday", Text: "We take 200 chairs at 45 EUR each, delivered on Friday."})
	transaction.draft.To, transaction.signatory, transaction.informed = []string{"john.doe@" + SignDomain}, john, []Person{jane, john}
	return []scenario{
		self("Jane signs an XML document", "xml", Draft{Subject: "Invoice", Text: "For the books.", File: Part{"invoice.xml", "application/xml", []byte(invoice)}}),
		self("Jane signs a text file", "text", Draft{Subject: "[asic] House rules", Text: "As agreed.", File: Part{"house-rules.txt", "text/plain", []byte("1. No smoking.\n2. Dogs welcome.\n")}}),
		transaction,
	}
}

// mailed is what its signatory must be shown, or its beginning.
func (c *scenario) mailed() []byte {
	if len(c.draft.File.Content) > 0 {
		return c.draft.File.Content
	}
	return []byte(c.draft.Text + "\n")
}

// visitor is a signatory at the page.
type visitor struct {
	scenario
	before  int    // letters that were there already
	sent    []byte // the sender's mail
	link    string // of the invitation
	b       *Browser
	code    string // the mailed one
	shown   []workflow.Shown
	content []byte // what was shown; later the result
	answer  Answer // of the passkey, at level Advanced

	certificate []byte // at level Qualified
}

// sign takes a case from the mail to the signed document.
func (r *run) sign(ctx context.Context, c scenario) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	v := &visitor{scenario: c}
	_ = r.invite(ctx, v) && r.openByCode(ctx, v) && r.step("signature taken", func() (string, error) {
		_, _, err := v.b.Post(ctx, "sign", map[string]any{"code": v.code, "shown": v.shown, "appearance": c.appearance}, nil)
		return "", err
	}) && r.result(ctx, v, nil)
}

// invite sends the mail and follows the invitation's link.
func (r *run) invite(ctx context.Context, v *visitor) bool {
	v.before = len(r.boxes.In(""))
	who := v.signatory.Mail
	return r.step("mail to "+strings.Join(v.draft.To, ", ")+" taken", func() (string, error) {
		var err error
		if v.sent, err = v.draft.Compose(); err != nil {
			return "", err
		}
		to := append(append([]string(nil), v.draft.To...), v.draft.Cc...)
		return "", Submit(r.mail.Address(), v.draft.From.Mail, password, v.draft.From.Mail, to, v.sent)
	}) && r.step("invitation for "+who, func() (string, error) {
		m, err := r.next(ctx, who, v.before, func(m *Message) bool { return m.Link() != "" && m.Code() == "" })
		if err == nil {
			v.link = m.Link()
		}
		return "", err
	}) && r.step("link opens the page", func() (string, error) {
		var err error
		if v.b, err = Follow(v.link); err != nil {
			return "", err
		}
		_, _, err = v.b.Post(ctx, "visit", nil, nil)
		return "", err
	}) && r.step("documents stay closed without a proof", func() (string, error) {
		if _, _, err := v.b.Document(ctx, 0); err == nil {
			return "", errors.New("the document opened without a code")
		}
		return "", nil
	})
}

// openByCode proves the mailbox and reads the document.
func (r *run) openByCode(ctx context.Context, v *visitor) bool {
	return r.step("code by mail", func() (string, error) {
		if _, _, err := v.b.Post(ctx, "code", nil, nil); err != nil {
			return "", err
		}
		m, err := r.next(ctx, v.signatory.Mail, v.before, func(m *Message) bool { return m.Code() != "" })
		if err == nil {
			v.code = m.Code()
		}
		return "", err
	}) && r.step("code opens the document", func() (string, error) {
		if _, _, err := v.b.Post(ctx, "open", map[string]any{"code": v.code}, nil); err != nil {
			return "", err
		}
		return v.read(ctx)
	})
}

// read loads the document as the page does.
func (v *visitor) read(ctx context.Context) (note string, err error) {
	s, content, err := v.b.Document(ctx, 0)
	if err != nil {
		return "", err
	}
	if !bytes.HasPrefix(content, v.mailed()) {
		return "", errors.New("the document does not begin with the bytes that were mailed")
	}
	v.shown, v.content = []workflow.Shown{s}, content
	return fmt.Sprintf("revision %d, digest %.16s… equal to the page's", s.Revision, s.SHA256), nil
}

// result waits for the result in every mailbox concerned and judges it; own judges
// a contract that its signatory signed with a key of their own, nil for one that the
// organisation has sealed.
func (r *run) result(ctx context.Context, v *visitor, own func(content []byte) (string, error)) bool {
	var result *Message
	for _, p := range v.informed {
		if !r.step("result for "+p.Mail, func() (string, error) {
			m, err := r.next(ctx, p.Mail, v.before, func(m *Message) bool { return len(m.Attachments) > 1 })
			if err != nil {
				return "", err
			}
			result = m
			return fmt.Sprintf("%d files", len(m.Attachments)), nil
		}) {
			return false
		}
	}
	for _, a := range result.Attachments {
		r.keep("signed", v.name+"-"+a.Name, a.Content)
		signed := a.Name != workflow.ReportName
		if !r.step(a.Name+" verified", func() (string, error) {
			if signed && own != nil {
				return own(a.Content)
			}
			return r.judge(a.Content)
		}) {
			continue
		}
		if signed {
			r.signed++
			v.content = a.Content
		}
	}
	for _, box := range v.ordinary {
		r.step("ordinary copy for "+box+" is untouched", func() (string, error) {
			l, err := r.boxes.Wait(ctx, box, func(l *Letter) bool { return l.ID > v.before })
			if err != nil {
				return "", err
			}
			if !bytes.HasSuffix(bytes.ReplaceAll(l.Raw, []byte("\r\n"), []byte("\n")), bytes.ReplaceAll(v.sent, []byte("\r\n"), []byte("\n"))) {
				return "", errors.New("the mail was changed on its way")
			}
			return "", nil
		})
	}
	return true
}

// next waits for a mail in a box, newer than those that were there before.
func (r *run) next(ctx context.Context, box string, before int, fits func(*Message) bool) (*Message, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var found *Message
	_, err := r.boxes.Wait(ctx, box, func(l *Letter) bool {
		if l.ID <= before || !strings.Contains(l.From, "@"+SignDomain) {
			return false
		}
		m, err := l.Open()
		if err != nil || !fits(m) {
			return false
		}
		found = m
		return true
	})
	if err != nil {
		return nil, fmt.Errorf("no such mail came within %s", patience)
	}
	return found, nil
}

// refusals sends what must be refused while the sender is on the line.
func (r *run) refusals() {
	jane, john := r.people[0], r.people[1]
	file := Sample()
	for _, c := range []struct {
		name, login, want string
		draft             Draft
	}{
		{"unknown signatory", jane.Mail, "550 5.1.1", Draft{From: jane, To: []string{"nobody@" + SignDomain}, Subject: "x", Text: "x", File: file}},
		{"somebody else's From", john.Mail, "550 5.7.1", Draft{From: jane, To: []string{"self@" + SignDomain}, Subject: "x", Text: "x", File: file}},
		{"no login", "", "550 5.7.1", Draft{From: jane, To: []string{"self@" + SignDomain}, Subject: "x", Text: "x", File: file}},
		{"no document", jane.Mail, "5", Draft{From: jane, To: []string{"self@" + SignDomain}, Subject: "x"}},
	} {
		r.step(c.name+" refused", func() (string, error) {
			raw, err := c.draft.Compose()
			if err != nil {
				return "", err
			}
			err = Submit(r.mail.Address(), c.login, password, c.draft.From.Mail, c.draft.To, raw)
			reply := (*smtp.SMTPError)(nil)
			switch {
			case err == nil:
				return "", errors.New("it was taken")
			case !errors.As(err, &reply) || !strings.HasPrefix(refusal(err), c.want):
				return "", fmt.Errorf("want %s, got %w", c.want, err)
			}
			return refusal(err), nil
		})
	}
}

// afterwards looks into the store: every session done, its chain whole, no job
// given up.
func (r *run) afterwards(ctx context.Context) (sessions int) {
	list, err := r.program.Store.List(ctx, workflow.Filter{})
	if err != nil {
		r.failed++
		fmt.Fprintf(r.out, "  FAILED listing sessions: %v\n", err)
	}
	for _, s := range list {
		r.step("session "+s.ID+" is done and its audit trail whole", func() (string, error) {
			if s.State != workflow.Done {
				return "", fmt.Errorf("it is %s", s.State)
			}
			events, err := r.program.Store.Events(ctx, s.ID)
			if err == nil {
				err = workflow.CheckChain(s.ID, events)
			}
			return fmt.Sprintf("%d entries", len(events)), err
		})
	}
	r.step("no job was given up", func() (string, error) {
		jobs, err := r.program.Store.Jobs(ctx, "")
		if err == nil && len(jobs) > 0 {
			err = fmt.Errorf("%d jobs, the first: %s", len(jobs), jobs[0].Error)
		}
		return "", err
	})
	return len(list)
}

// keep writes a file of the run.
func (r *run) keep(folder, name string, content []byte) {
	if err := os.WriteFile(filepath.Join(r.dir, folder, filepath.Base(name)), content, 0o644); err != nil {
		r.failed++
		fmt.Fprintf(r.out, "  FAILED keeping %s: %v\n", name, err)
	}
}
