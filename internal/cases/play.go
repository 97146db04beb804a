package cases

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// play is one run of a case.
type play struct {
	c     *Case
	s     Stage
	conn  *client
	id    string         // replaces @CASE@
	boxes map[string]int // mails before the run, by address
	count map[string]int // outcomes before the run
	sign  string         // domain that signs, or ""
	want  []string
}

// Play runs the case. The error names line, what was expected and what came.
func (c *Case) Play(ctx context.Context, s Stage) error {
	p := &play{c: c, s: s, id: strings.ToLower(c.Name + "." + rand.Text()[:12]), boxes: map[string]int{}, count: map[string]int{}}
	p.s.Settle = cmp.Or(p.s.Settle, 10*time.Second)
	before, err := s.Opened(ctx)
	if err != nil {
		return err
	}
	for _, st := range c.steps {
		switch st.verb {
		case "> outcome":
			if s.Outcomes == nil {
				return fmt.Errorf("%s.txt:%d: this stage counts nothing", c.Name, st.line)
			}
			p.count[st.arg] = s.Outcomes(st.arg)
		case "> delivered", "> nothing", "> mailed":
			addr, _, _ := strings.Cut(st.arg, " ")
			mails, err := s.Mailbox(ctx, addr)
			if err != nil {
				return err
			}
			p.boxes[addr] = len(mails)
		}
	}
	defer func() {
		if p.conn != nil {
			p.conn.quit()
		}
	}()
	for _, st := range c.steps {
		if err := p.step(ctx, st); err != nil {
			return fmt.Errorf("%s.txt:%d: %s %s: %w", c.Name, st.line, st.verb, st.arg, err)
		}
	}
	return p.opened(ctx, len(before))
}

// opened compares the sessions that the case opened.
func (p *play) opened(ctx context.Context, before int) error {
	var got []string
	err := p.wait(ctx, func() (bool, error) {
		after, err := p.s.Opened(ctx)
		if err != nil {
			return false, err
		}
		got = nil
		for _, o := range after[before:] {
			got = append(got, o.String())
		}
		return len(got) >= len(p.want), nil
	})
	if err != nil {
		return err
	}
	if !slices.Equal(got, p.want) {
		return fmt.Errorf("%s.txt: sessions opened:\n  %s\nexpected:\n  %s", p.c.Name,
			strings.Join(got, "\n  "), strings.Join(p.want, "\n  "))
	}
	return nil
}

func (p *play) step(ctx context.Context, st step) error {
	switch st.verb {
	case "setup":
		name, value, _ := strings.Cut(st.arg, " ")
		if p.s.Set == nil {
			return fmt.Errorf("this stage has nothing to set up")
		}
		return p.s.Set(name, value)
	case "> opened":
		p.want = append(p.want, st.arg)
		return nil
	case "> delivered":
		addr, file, _ := strings.Cut(st.arg, " ")
		return p.delivered(ctx, addr, file)
	case "> nothing":
		return p.nothing(ctx, st.arg)
	case "> mailed":
		addr, words, _ := strings.Cut(st.arg, " ")
		got, err := p.next(ctx, addr)
		if err == nil && !strings.Contains(strings.Join(strings.Fields(string(got)), " "), words) {
			err = fmt.Errorf("other words:\n%s", clip(got))
		}
		return err
	case "> outcome":
		p.count[st.arg]++
		n := 0
		err := p.wait(ctx, func() (bool, error) { n = p.s.Outcomes(st.arg); return n >= p.count[st.arg], nil })
		if err == nil && n != p.count[st.arg] {
			err = fmt.Errorf("%d in all, expected %d", n, p.count[st.arg])
		}
		return err
	case "sign":
		if p.s.Sign == nil {
			return fmt.Errorf("this stage signs nothing")
		}
		if p.sign = st.arg; p.sign == "none" {
			p.sign = ""
		}
		return nil
	}
	got, err := p.speak(ctx, st)
	if err != nil {
		return err
	}
	return check(got, st.reply)
}

// check compares a reply: word for word, or only its code where the case
// gives no more.
func check(got, want string) error {
	switch {
	case want == "" && (got[0] == '2' || got[0] == '3'):
		return nil
	case want == "":
		return fmt.Errorf("refused: %s", got)
	case len(want) == 3 && strings.HasPrefix(got, want), got == want:
		return nil
	}
	return fmt.Errorf("reply\n  %s\nexpected\n  %s", got, want)
}

// speak carries out an SMTP step and gives the reply.
func (p *play) speak(ctx context.Context, st step) (string, error) {
	var err error
	if p.conn == nil || st.verb == "connect" || st.verb == "login" || st.verb == "helo" {
		if p.conn != nil {
			p.conn.quit()
		}
		name := "client.corp.test"
		if st.verb == "helo" {
			name = st.arg
		}
		if p.conn, err = dial(ctx, p.s.Addr, name); err != nil {
			return "", err
		}
	}
	switch st.verb {
	case "connect", "helo":
		return "220", nil
	case "login":
		return p.conn.auth(st.arg, p.s.Password(st.arg))
	case "client":
		return p.conn.cmd("XCLIENT ADDR=%s NAME=[UNAVAILABLE]", st.arg)
	case "mail":
		return p.conn.cmd("MAIL FROM:<%s>", strings.Trim(st.arg, "<>"))
	case "rcpt":
		return p.conn.cmd("RCPT TO:<%s>", st.arg)
	case "rset":
		return p.conn.cmd("RSET")
	case "data":
		b, err := p.mail(st.arg)
		if err != nil {
			return "", err
		}
		if p.sign != "" {
			b = p.s.Sign(p.sign, b)
		}
		return p.conn.data(b)
	}
	return "", fmt.Errorf("unknown verb")
}

// mail gives a mail with CRLF line ends.
func (p *play) mail(arg string) ([]byte, error) {
	what, n, _ := strings.Cut(arg, " ")
	var b []byte
	if n != "" {
		count, err := strconv.Atoi(n)
		if err != nil {
			return nil, err
		}
		if b, err = generate(what, count); err != nil {
			return nil, err
		}
	} else {
		var err error
		if b, err = os.ReadFile(filepath.Join(p.s.Files, filepath.Base(what))); err != nil {
			return nil, err
		}
	}
	b = bytes.ReplaceAll(b, []byte("@CASE@"), []byte(p.id))
	return bytes.ReplaceAll(bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n")), nil
}

// delivered waits for the next mail of a mailbox and compares it.
func (p *play) delivered(ctx context.Context, addr, file string) error {
	want, err := p.mail(file)
	if err != nil {
		return err
	}
	mail, err := p.next(ctx, addr)
	if err != nil {
		return err
	}
	got := withoutTrace(mail)
	if want := bytes.ReplaceAll(want, []byte("\r\n"), []byte("\n")); !bytes.Equal(got, want) {
		return fmt.Errorf("the mail was changed on its way:\n%s\nsent:\n%s", clip(got), clip(want))
	}
	return nil
}

// next waits for the next mail of a mailbox.
func (p *play) next(ctx context.Context, addr string) ([]byte, error) {
	var mails [][]byte
	err := p.wait(ctx, func() (ok bool, err error) {
		mails, err = p.s.Mailbox(ctx, addr)
		return len(mails) > p.boxes[addr], err
	})
	if err != nil {
		return nil, err
	}
	if len(mails) <= p.boxes[addr] {
		return nil, fmt.Errorf("nothing arrived within %s", p.s.Settle)
	}
	p.boxes[addr]++
	return mails[p.boxes[addr]-1], nil
}

// wait gives something on its way time to come: until it is there, or the time
// is over.
func (p *play) wait(ctx context.Context, there func() (bool, error)) error {
	deadline := time.Now().Add(p.s.Settle)
	for {
		if ok, err := there(); ok || err != nil || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// nothing gives a mail that must not come a moment to come.
func (p *play) nothing(ctx context.Context, addr string) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(min(300*time.Millisecond, p.s.Settle)):
	}
	mails, err := p.s.Mailbox(ctx, addr)
	if err != nil {
		return err
	}
	if len(mails) != p.boxes[addr] {
		return fmt.Errorf("a mail arrived:\n%s", clip(mails[p.boxes[addr]]))
	}
	return nil
}

// withoutTrace takes off what delivery puts on top (RFC 5321, 4.4) and brings
// line ends to LF.
func withoutTrace(b []byte) []byte {
	b = bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n"))
	trace := []string{"return-path:", "received:", "delivered-to:", "x-original-to:"}
	for {
		line, rest, ok := bytes.Cut(b, []byte("\n"))
		if !ok || !slices.ContainsFunc(trace, func(t string) bool { return strings.HasPrefix(strings.ToLower(string(line)), t) }) {
			return b
		}
		for len(rest) > 0 && (rest[0] == ' ' || rest[0] == '\t') {
			if _, rest, ok = bytes.Cut(rest, []byte("\n")); !ok {
				return nil
			}
		}
		b = rest
	}
}

func clip(b []byte) string {
	if len(b) > 2000 {
		return string(b[:2000]) + "…"
	}
	return string(b)
}
