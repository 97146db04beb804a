// Package doctor looks at a site as it runs: Postfix and what it was told, the
// sockets as Postfix's processes see them, whether an unproven sender gets
// anywhere, DNS, the directory, the way out, time, certificates, the database.
// Each check says pass, warn or fail, and how to mend it.
//
// Limits: it changes nothing. It sends one mail to the sign domain's own check
// address, which opens no session, and mails without a document that try to
// get past the proof of the sender. It looks from where it runs: what
// strangers on the internet see, it can only conclude.
//
// Reference: Monitoring Plugins Development Guidelines (exit status);
// RFC 5321, 7208 (SPF), 6376 (DKIM), 7489 (DMARC), 5280; docs/check.md.
package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"milterd/config"
	"milterd/directory"
	"milterd/postfix"
)

// Status is what a check comes to.
type Status int

// The statuses; the higher is the worse. Skip says that something else must be
// mended first, and why.
const (
	Pass Status = iota
	Skip
	Warn
	Fail
)

func (s Status) String() string { return [...]string{"pass", "skip", "warn", "fail"}[s] }

// MarshalText is the word in JSON.
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Finding is one thing that a check found.
type Finding struct {
	Check  string `json:"check"`
	Status Status `json:"status"`
	Text   string `json:"text"`
	Fix    string `json:"fix,omitempty"` // what to do, for warn and fail
}

// Report is what a doctor found, in the order of a mail's way.
type Report struct {
	Findings []Finding     `json:"findings"`
	Took     time.Duration `json:"-"`
}

// Worst is the worst status; Skip counts as Pass.
func (r Report) Worst() Status {
	worst := Pass
	for _, f := range r.Findings {
		if f.Status > Skip {
			worst = max(worst, f.Status)
		}
	}
	return worst
}

// Exit is the exit status for monitoring: 0 pass, 1 warn, 2 fail.
func (r Report) Exit() int { return max(0, int(r.Worst()-Skip)) }

// Summary is the line that a monitoring system shows.
func (r Report) Summary() string {
	var n [4]int
	for _, f := range r.Findings {
		n[f.Status]++
	}
	var bad []string
	for _, f := range r.Findings {
		if f.Status == r.Worst() && f.Status > Skip && !slices.Contains(bad, f.Check) {
			bad = append(bad, f.Check)
		}
	}
	about := ""
	if len(bad) > 0 {
		about = " (" + strings.Join(bad, ", ") + ")"
	}
	return fmt.Sprintf("milterd: %s%s: %d pass, %d warn, %d fail, %d skipped, in %.1f s", r.Worst(), about, n[Pass], n[Warn], n[Fail], n[Skip], r.Took.Seconds())
}

// WriteTo writes the report for people: the summary first.
func (r Report) WriteTo(w io.Writer) (int64, error) {
	var b strings.Builder
	b.WriteString(r.Summary() + "\n\n")
	width := 0
	for _, f := range r.Findings {
		width = max(width, len(f.Check))
	}
	for _, f := range r.Findings {
		word := f.Status.String()
		if f.Status == Fail {
			word = "FAIL"
		}
		fmt.Fprintf(&b, "%s  %-*s  %s\n", word, width, f.Check, f.Text)
		if f.Fix != "" {
			fmt.Fprintf(&b, "      %-*s  fix: %s\n", width, "", f.Fix)
		}
	}
	n, err := io.WriteString(w, b.String())
	return int64(n), err
}

// JSON writes the report for programs.
func (r Report) JSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(struct {
		Status  Status  `json:"status"`
		Summary string  `json:"summary"`
		Seconds float64 `json:"seconds"`
		Report
	}{r.Worst(), r.Summary(), r.Took.Seconds(), r})
}

// Doctor knows where to look.
type Doctor struct {
	Config      *config.Config
	Postfix     postfix.Instance
	Site        postfix.Site
	Settings    []postfix.Setting // what postfix print says for Site
	Directory   directory.Backend
	NoDirectory error // why there is none; nil if there is
	Resolver    *net.Resolver
	As          string // an internal address to pretend to be; empty for one of the directory's
	Now         func() time.Time

	// For tests: the kernel's word about the clock, and how long the check mail
	// may be under way; the real ones where they are not set.
	synchronised func() error
	returnTime   time.Duration
}

// check is one look at one thing.
type check struct {
	name    string
	timeout time.Duration
	look    func(*exam, context.Context) []Finding
}

// checks, in the order in which they are told.
var checks = []check{
	{"milterd", 10 * time.Second, (*exam).milterd},
	{"postfix", 30 * time.Second, (*exam).running},
	{"settings", 30 * time.Second, (*exam).settings},
	{"last-milter", 10 * time.Second, (*exam).lastMilter},
	{"milter-socket", 15 * time.Second, (*exam).milterSocket},
	{"lmtp-socket", 15 * time.Second, (*exam).lmtpSocket},
	{"smuggling", 10 * time.Second, (*exam).smuggling},
	{"received", 20 * time.Second, (*exam).received},
	{"aliases", 20 * time.Second, (*exam).aliases},
	{"proof", 30 * time.Second, (*exam).proof},
	{"spoofing", 60 * time.Second, (*exam).spoofing},
	{"directory", 30 * time.Second, (*exam).directory},
	{"mx", 20 * time.Second, (*exam).mx},
	{"relay", 30 * time.Second, (*exam).relay},
	{"own-mail", 60 * time.Second, (*exam).ownMail},
	{"timestamps", 60 * time.Second, (*exam).timestamps},
	{"clock", 10 * time.Second, (*exam).clock},
	{"certificates", 10 * time.Second, (*exam).certificates},
	{"pages", 20 * time.Second, (*exam).pages},
	{"crl", 20 * time.Second, (*exam).crl},
	{"database", 20 * time.Second, (*exam).database},
	{"disk", 10 * time.Second, (*exam).disk},
}

// together is how many checks run at the same time.
const together = 6

// Examine makes every check, each within its own time.
func (d *Doctor) Examine(ctx context.Context) Report {
	begin := time.Now()
	e := &exam{Doctor: d}
	e.gather(ctx)
	found := make([][]Finding, len(checks))
	turns := make(chan struct{}, together)
	var all sync.WaitGroup
	for i, c := range checks {
		all.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			found[i] = e.make(ctx, c)
		})
	}
	all.Wait()
	r := Report{Took: time.Since(begin)}
	for _, f := range found {
		r.Findings = append(r.Findings, f...)
	}
	return r
}

// make runs one check, and says so if it does not come back.
func (e *exam) make(ctx context.Context, c check) []Finding {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	done := make(chan []Finding, 1)
	go func() { done <- c.look(e, ctx) }()
	var found []Finding
	select {
	case found = <-done:
	case <-ctx.Done():
		select {
		case found = <-done:
		case <-time.After(time.Second): // it had the chance to say why
			found = []Finding{fail("look at what it waits for, then run the check again", "no result after %s", c.timeout)}
		}
	}
	for i := range found {
		if found[i].Check == "" {
			found[i].Check = c.name
		} else {
			found[i].Check = c.name + "/" + found[i].Check
		}
	}
	return found
}

func pass(format string, args ...any) Finding {
	return Finding{Status: Pass, Text: fmt.Sprintf(format, args...)}
}

func skip(format string, args ...any) Finding {
	return Finding{Status: Skip, Text: fmt.Sprintf(format, args...)}
}

func warn(fix, format string, args ...any) Finding {
	return Finding{Status: Warn, Text: fmt.Sprintf(format, args...), Fix: fix}
}

func fail(fix, format string, args ...any) Finding {
	return Finding{Status: Fail, Text: fmt.Sprintf(format, args...), Fix: fix}
}

func one(f Finding) []Finding { return []Finding{f} }
