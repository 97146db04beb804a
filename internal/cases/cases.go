// Package cases plays integration cases that are written as text: who sends
// what to whom, which replies come back word for word, which sessions open,
// who gets which mail. The cases stand in testdata/cases, the mails that they
// send in testdata/mail.
//
// A case speaks SMTP to a Stage, so the same text runs against a real Postfix
// and against the demo's own mail server. Its lines, in the order of the flow:
//
//	# what this case is about
//	setup store away            the Stage's Set("store", "away")
//	client 192.0.2.10           XCLIENT: who the client is from here on
//	login jane                  AUTH PLAIN, on a connection of its own
//	connect                     a new connection, without login
//	helo x(y                    a new connection that calls itself x(y
//	mail jane@corp.test         MAIL FROM:<jane@corp.test>; <> for the null sender
//	rcpt john.doe@sign.corp.test
//	data contract.eml           a file of testdata/mail, @CASE@ in it is unique to this run
//	data parts 10000            a generated mail, see generate.go
//	sign corp.test              what follows is DKIM-signed by corp.test; "none" ends that
//	rset
//	< 550 5.1.1 No such         the reply to the line above; only digits: just its code
//	> opened level=Standard sender=… signatories=a,b copies= documents=contract.pdf
//	> delivered bob@corp.test contract.eml      unchanged but for trace fields
//	> nothing bob@corp.test
//	> mailed jane@corp.test 5.1.1               the next mail there has these words, however folded
//	> outcome dropped                           milterd counts a mail as that
//
// A step without "<" must succeed. The sessions that open during a case are
// those of its "> opened" lines and no others.
//
// Limits: one mail at a time; no TLS. Reference: RFC 5321, RFC 4954.
package cases

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Stage is where a case is played: sign domain sign.corp.test, mail domain
// corp.test, directory testdata/cases/users.toml.
type Stage struct {
	Addr     string                                                   // SMTP, host:port
	Files    string                                                   // folder of the mails: testdata/mail
	Password func(login string) string                                // SASL PLAIN
	Opened   func(ctx context.Context) ([]Opened, error)              // every session so far, oldest first
	Mailbox  func(ctx context.Context, addr string) ([][]byte, error) // every mail so far, oldest first
	Set      func(name, value string) error                           // setup lines; nil if the stage has none
	Sign     func(domain string, mail []byte) []byte                  // sign lines; nil if the stage has none
	Outcomes func(outcome string) int                                 // mails so far that became that; nil if the stage has none
	Settle   time.Duration                                            // how long a mail may take on its way; default 10 s
}

// Opened is a session as a case expects it.
type Opened struct {
	Level       string // Standard
	Sender      string // mail address
	Signatories []string
	Copies      []string
	Documents   []string // file names
}

func (o Opened) String() string {
	return fmt.Sprintf("level=%s sender=%s signatories=%s copies=%s documents=%s", o.Level, o.Sender,
		strings.Join(o.Signatories, ","), strings.Join(o.Copies, ","), strings.Join(o.Documents, ","))
}

// Case is one text.
type Case struct {
	Name  string // of its file, without .txt
	steps []step
}

// step is a line of a case with the reply that it expects.
type step struct {
	line  int
	verb  string
	arg   string
	reply string // "" for success
}

// verbs and whether they need an argument.
var verbs = map[string]bool{"setup": true, "client": true, "login": true, "connect": false, "mail": true, "rcpt": true,
	"data": true, "rset": false, "helo": true, "sign": true, "> opened": true, "> delivered": true, "> nothing": true, "> mailed": true, "> outcome": true}

// Load reads every case of a folder, by name.
func Load(dir string) ([]*Case, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil {
		return nil, fmt.Errorf("loading cases: %w", err)
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("loading cases: none in %s", dir)
	}
	var out []*Case
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			return nil, fmt.Errorf("loading cases: %w", err)
		}
		c, err := Parse(strings.TrimSuffix(filepath.Base(f), ".txt"), string(b))
		if err != nil {
			return nil, fmt.Errorf("%s:%w", f, err)
		}
		out = append(out, c)
	}
	return out, nil
}

// Parse reads one case. The error begins with its line.
func Parse(name, text string) (*Case, error) {
	c := &Case{Name: name}
	for i, l := range strings.Split(text, "\n") {
		l = strings.TrimSpace(l)
		if l == "" || strings.HasPrefix(l, "#") {
			continue
		}
		if reply, ok := strings.CutPrefix(l, "< "); ok {
			if len(c.steps) == 0 || c.steps[len(c.steps)-1].reply != "" {
				return nil, fmt.Errorf("%d: a reply without its step", i+1)
			}
			c.steps[len(c.steps)-1].reply = reply
			continue
		}
		verb, arg, _ := strings.Cut(l, " ")
		if verb == ">" {
			verb, arg, _ = strings.Cut(arg, " ")
			verb = "> " + verb
		}
		needs, ok := verbs[verb]
		if !ok || needs != (arg != "") {
			return nil, fmt.Errorf("%d: %q is no step", i+1, l)
		}
		c.steps = append(c.steps, step{line: i + 1, verb: verb, arg: strings.TrimSpace(arg)})
	}
	if len(c.steps) == 0 {
		return nil, errors.New("1: an empty case")
	}
	return c, nil
}

// Needs names what a case asks of its Stage beyond SMTP: "setup" for Set,
// "client" for XCLIENT, "sign" for Sign, "> outcome" for Outcomes.
func (c *Case) Needs() []string {
	var out []string
	for _, s := range c.steps {
		switch s.verb {
		case "setup", "client", "sign", "> outcome":
			if !slices.Contains(out, s.verb) {
				out = append(out, s.verb)
			}
		}
	}
	return out
}
