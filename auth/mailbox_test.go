package auth_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"milterd/auth"
	"milterd/store"
	"milterd/workflow"
)

type box struct {
	*auth.Mailbox
	clock time.Time
	visit workflow.Visit
}

func newBox(t *testing.T) *box {
	t.Helper()
	st, err := store.Open(t.Context(), store.Config{URL: "sqlite:" + filepath.Join(t.TempDir(), "milterd.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	keys, err := auth.NewKeys(bytes.Repeat([]byte{1}, 32))
	if err != nil {
		t.Fatal(err)
	}
	b := &box{clock: time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)}
	b.Mailbox = &auth.Mailbox{Store: st, Keys: keys, Now: func() time.Time { return b.clock }}
	b.visit = b.session(t, "aaaaaaaaaaaaaaaa")
	return b
}

func (b *box) session(t *testing.T, id string) workflow.Visit {
	t.Helper()
	s := &workflow.Session{ID: id, State: workflow.Open, Level: workflow.Standard, Created: b.clock,
		Deadline: b.clock.Add(time.Hour), People: []workflow.Participant{
			{Person: workflow.Person{Mail: "john.doe@corp.test"}, Signatory: true, State: workflow.Waiting},
			{Person: workflow.Person{Mail: "jane@corp.test"}, Sender: true},
		}}
	if err := b.Store.Do(t.Context(), func(tx workflow.Tx) error { return tx.Create(s, []byte("mail"), nil) }); err != nil {
		t.Fatal(err)
	}
	return workflow.Visit{Session: s}
}

// code asks for a code and gives it as its mail would.
func (b *box) code(t *testing.T, v workflow.Visit) string {
	t.Helper()
	if _, err := b.RequestCode(t.Context(), v, "127.0.0.1"); err != nil {
		t.Fatal(err)
	}
	return b.current(t, v)
}

func (b *box) current(t *testing.T, v workflow.Visit) (code string) {
	t.Helper()
	err := b.Store.Do(t.Context(), func(tx workflow.Tx) error {
		c, err := tx.Challenge(v.Session.ID, v.Person)
		if err == nil {
			code = b.Keys.Code(v.Session.ID, v.Person, c.ID)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return code
}

// other is a well-formed code that is not this one.
func other(code string) string { return fmt.Sprintf("%c%s", '0'+(code[0]-'0'+1)%10, code[1:]) }

func (b *box) open(v workflow.Visit, code string) (string, string) {
	cookie, _, err := b.Open(context.Background(), v, code, "127.0.0.1", "Firefox on Android")
	return cookie, reason(err)
}

func (b *box) sign(v workflow.Visit, code string) string {
	consume, err := b.ForSigning(context.Background(), v, code, "127.0.0.1")
	if err == nil {
		err = b.Store.Do(context.Background(), func(tx workflow.Tx) error { _, err := consume(tx, nil); return err })
	}
	return reason(err)
}

func reason(err error) string {
	var r *workflow.Refusal
	switch {
	case err == nil:
		return ""
	case errors.As(err, &r):
		return r.Reason
	}
	return err.Error()
}

func want(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func TestOneCodeOpensAndSignsOnce(t *testing.T) {
	b := newBox(t)
	code := b.code(t, b.visit)
	cookie, r := b.open(b.visit, code[:3]+" "+code[3:]) // as people type it
	want(t, "open", r, "")
	if !knows(t, b.Mailbox, b.visit, cookie) {
		t.Error("device not remembered")
	}
	_, r = b.open(b.visit, code)
	want(t, "open again, another device", r, "code-expired")
	want(t, "sign", b.sign(b.visit, code), "")
	want(t, "sign again", b.sign(b.visit, code), "code-expired")
}

func TestCodeLimits(t *testing.T) {
	b := newBox(t)
	_, r := b.open(b.visit, "000000")
	want(t, "none asked", r, "code-expired")
	code := b.code(t, b.visit)
	for i := range auth.CodeTries - 1 {
		_, r = b.open(b.visit, other(code))
		want(t, fmt.Sprint("wrong ", i+1), r, "wrong-code")
	}
	_, r = b.open(b.visit, other(code))
	want(t, "last try", r, "code-expired")
	_, r = b.open(b.visit, code)
	want(t, "right, after the last try", r, "code-expired")

	code = b.code(t, b.visit)
	b.clock = b.clock.Add(workflow.CodeLifetime)
	_, r = b.open(b.visit, code)
	want(t, "right, too late", r, "code-expired")
}

func TestParallelGuessesAreCounted(t *testing.T) {
	b := newBox(t)
	code := b.code(t, b.visit)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() { b.open(b.visit, other(code)) })
	}
	wg.Wait()
	if _, r := b.open(b.visit, code); r != "code-expired" {
		t.Errorf("after 20 guesses at once: %q", r)
	}
}

func TestCodesAreRationed(t *testing.T) {
	b := newBox(t)
	ask := func(v workflow.Visit) string {
		_, err := b.RequestCode(t.Context(), v, "")
		b.clock = b.clock.Add(auth.CodePause)
		return reason(err)
	}
	for range auth.CodesPerHour {
		want(t, "of one link", ask(b.visit), "")
	}
	want(t, "one too many", ask(b.visit), "too-many-codes")
	b.clock = b.clock.Add(time.Hour)
	for range auth.CodesPerDay - auth.CodesPerHour {
		want(t, "an hour later", ask(b.visit), "")
	}
	want(t, "the day's share of the link", ask(b.visit), "too-many-codes")
	for i := range auth.CodesOfAddress - auth.CodesPerDay {
		want(t, "by other links of the same mailbox", ask(b.session(t, fmt.Sprintf("aaaaaaaaaaaaa%03d", i+2))), "")
	}
	want(t, "the day's share of the mailbox", ask(b.session(t, "bbbbbbbbbbbbbbbb")), "too-many-codes")
	b.clock = b.clock.Add(24 * time.Hour)
	want(t, "a day later", ask(b.visit), "")
}

// Whoever signs much needs many codes: what was answered rightly does not count.
func TestManySessionsOfOnePerson(t *testing.T) {
	b := newBox(t)
	for i := range 2 * auth.CodesOfAddress {
		v := b.session(t, fmt.Sprintf("aaaaaaaaaaaaa%03d", i+2))
		code := b.code(t, v)
		if _, r := b.open(v, code); r != "" {
			t.Fatalf("session %d: %s", i, r)
		}
		want(t, "sign", b.sign(v, code), "")
	}
}

func TestImpatientTapSendsOneCode(t *testing.T) {
	b := newBox(t)
	first := b.code(t, b.visit)
	b.clock = b.clock.Add(5 * time.Second)
	want(t, "second tap", b.code(t, b.visit), first)
	b.clock = b.clock.Add(time.Minute)
	if b.code(t, b.visit) == first {
		t.Error("a minute later: the same code")
	}
	if _, r := b.open(b.visit, first); r == "" {
		t.Error("the older code still opens")
	}
}

func TestCodeOfAnotherPersonOrSession(t *testing.T) {
	b := newBox(t)
	code := b.code(t, b.visit)
	jane := workflow.Visit{Session: b.visit.Session, Person: 1}
	b.code(t, jane)
	elsewhere := b.session(t, "bbbbbbbbbbbbbbbb")
	b.code(t, elsewhere)
	for name, v := range map[string]workflow.Visit{"other person": jane, "other session": elsewhere} {
		if b.current(t, v) == code {
			continue // one in a million
		}
		if _, r := b.open(v, code); r == "" {
			t.Errorf("%s: opened with John's code", name)
		}
	}
}

func TestDeviceIsOnePersons(t *testing.T) {
	b := newBox(t)
	cookie, r := b.open(b.visit, b.code(t, b.visit))
	want(t, "open", r, "")
	jane := workflow.Visit{Session: b.visit.Session, Person: 1}
	if knows(t, b.Mailbox, jane, cookie) {
		t.Error("John's device opens for Jane")
	}
	if knows(t, b.Mailbox, b.visit, cookie[:len(cookie)-1]+"A") && !strings.HasSuffix(cookie, "A") {
		t.Error("another cookie opens")
	}
	if !knows(t, b.Mailbox, b.session(t, "cccccccccccccccc"), cookie) {
		t.Error("John's device is not known in John's next session")
	}
	b.clock = b.clock.Add(auth.DeviceLifetime)
	if knows(t, b.Mailbox, b.visit, cookie) {
		t.Error("remembered for ever")
	}
}

func TestKeys(t *testing.T) {
	if _, err := auth.NewKeys(make([]byte, 31)); err == nil {
		t.Error("short master key accepted")
	}
	k, err := auth.NewKeys(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	if tok := k.Token("s", 1); !regexp.MustCompile(`^[A-Za-z0-9_-]{22}$`).MatchString(tok) {
		t.Errorf("token %q", tok)
	}
	if k.Token("s", 1) == k.Token("s", 2) || k.Token("s", 11) == k.Token("s1", 1) {
		t.Error("two participants share a token")
	}
	if code := k.Code("s", 1, "c"); !regexp.MustCompile(`^[0-9]{6}$`).MatchString(code) {
		t.Errorf("code %q", code)
	}
}

// knows asks for a cookie's device alone.
func knows(t *testing.T, m *auth.Mailbox, v workflow.Visit, cookie string) bool {
	t.Helper()
	_, ok := m.Remembered(t.Context(), v, cookie)
	return ok
}
