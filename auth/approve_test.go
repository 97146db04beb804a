package auth_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"milterd/auth"
	"milterd/auth/authtest"
	"milterd/workflow"
)

func (d *desk) password(v workflow.Visit, handle, password string) (*auth.Enrolment, string) {
	n, err := d.Password(context.Background(), v, handle, password, client)
	return n, reason(err)
}

func TestApprovalByPassword(t *testing.T) {
	d := newDesk(t)
	n := d.begin(t, d.john)
	for i := range auth.DefaultPasswordTries - 1 {
		_, err := d.Password(t.Context(), d.john, n.Handle, "wrong", client)
		want(t, "wrong", reason(err), "wrong-password")
		if left := fmt.Sprintf(": %d.", 2-i); !strings.HasSuffix(err.(*workflow.Refusal).Text, left) {
			t.Errorf("says %v, want %s", err, left)
		}
	}
	_, r := d.password(d.john, n.Handle, "")
	want(t, "empty", r, "wrong-password")
	approved, r := d.password(d.john, n.Handle, "right")
	want(t, "right", r, "")
	if approved.ApprovedBy != "directory password" {
		t.Errorf("%+v", approved)
	}
	_, r = d.password(d.john, n.Handle, "wrong")
	want(t, "approved already", r, "")
	c, _, r := d.register(t, d.john, n.Handle, d.device)
	want(t, "register", r, "")
	want(t, "approved by", c.ApprovedBy, "directory password")
	if len(d.passwords.tried) != 3 || d.passwords.tried[0] != "john.doe@corp.test wrong" {
		t.Errorf("the directory was asked %q", d.passwords.tried)
	}
	if n := len(d.events(t, workflow.EventPasswordWrong)); n != 2 {
		t.Errorf("%d wrong ones on record", n)
	}
	for _, e := range d.events(t, workflow.EventPasswordWrong, workflow.EventApproved) {
		if said := fmt.Sprint(e.Detail); strings.Contains(said, "wrong") || strings.Contains(said, "right") {
			t.Errorf("a password is on record: %+v", e)
		}
	}
}

// Wrong passwords of a person are few in an hour, in however many sessions and
// enrolments: the directory must never lock the account because of us.
func TestPasswordsAreRationed(t *testing.T) {
	d := newDesk(t)
	other, _ := d.session(t, "bbbbbbbbbbbbbbbb")
	visits := []workflow.Visit{d.john, other, d.john}
	for _, v := range visits {
		_, r := d.password(v, d.begin(t, v).Handle, "wrong")
		want(t, "wrong", r, "wrong-password")
	}
	n := d.begin(t, other)
	_, r := d.password(other, n.Handle, "right")
	want(t, "right, after the last try", r, "too-many-passwords")
	if len(d.passwords.tried) != 3 {
		t.Errorf("the directory was asked %d times", len(d.passwords.tried))
	}
	_, r = d.password(d.jane, d.begin(t, d.jane).Handle, "right")
	want(t, "somebody else", r, "")

	d.clock = d.clock.Add(time.Hour + time.Second)
	n = d.begin(t, other)
	_, r = d.password(other, n.Handle, "right")
	want(t, "an hour later", r, "")

	// And few in a day, whatever the hours let through.
	for range 2 {
		n = d.begin(t, d.john)
		for range auth.DefaultPasswordTries {
			_, r = d.password(d.john, n.Handle, "wrong")
			want(t, "in a later hour", r, "wrong-password")
		}
		d.clock = d.clock.Add(time.Hour + time.Second)
	}
	n = d.begin(t, d.john)
	_, r = d.password(d.john, n.Handle, "right")
	want(t, "right, on a day with nine wrong ones", r, "no-more-passwords")
	d.clock = d.clock.Add(21 * time.Hour)
	n = d.begin(t, d.john)
	_, r = d.password(d.john, n.Handle, "right")
	want(t, "a day after the first", r, "")
}

// slow is a directory that thinks until every guess has had its chance.
type slow struct {
	*passwords
	mu    sync.Mutex
	asked int
}

func (s *slow) CheckPassword(context.Context, string, string) (right, asked bool, err error) {
	s.mu.Lock()
	s.asked++
	s.mu.Unlock()
	time.Sleep(50 * time.Millisecond)
	return false, true, nil
}

func TestParallelPasswordsAreCounted(t *testing.T) {
	d := newDesk(t)
	directory := &slow{}
	d.Passwords = directory
	n := d.begin(t, d.john)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() { d.password(d.john, n.Handle, "guess") })
	}
	wg.Wait()
	if directory.asked != auth.DefaultPasswordTries {
		t.Errorf("20 guesses at once: the directory was asked %d times", directory.asked)
	}
}

// nobody is a directory that does not know the person any more.
type nobody struct{}

func (nobody) CheckPassword(context.Context, string, string) (right, asked bool, err error) {
	return false, false, nil
}

// What no directory was asked costs no lock-out, but an entry of the trail.
func TestPasswordsOfNobodyAreRationed(t *testing.T) {
	d := newDesk(t)
	d.Passwords = nobody{}
	n := d.begin(t, d.john)
	for range auth.DefaultPasswordTries {
		_, r := d.password(d.john, n.Handle, "guess")
		want(t, "guess", r, "wrong-password")
	}
	for range 20 {
		_, r := d.password(d.john, n.Handle, "guess")
		want(t, "one more", r, "too-many-passwords")
	}
	if n := len(d.events(t, workflow.EventPasswordWrong)); n != auth.DefaultPasswordTries {
		t.Errorf("%d wrong ones on record", n)
	}
}

// A directory that is away refuses nobody for good.
func TestPasswordWhileDirectoryIsAway(t *testing.T) {
	d := newDesk(t)
	d.passwords.away = errGone
	n := d.begin(t, d.john)
	for range auth.DefaultPasswordTries + 2 {
		_, err := d.Password(t.Context(), d.john, n.Handle, "right", client)
		want(t, "away", reason(err), "directory-away")
		if r := err.(*workflow.Refusal); r.Code != 451 || !strings.Contains(r.Text, "directory does not answer") {
			t.Errorf("says %+v", r)
		}
	}
	// Somebody who leaves the page takes no try with him.
	left, cancel := context.WithCancel(t.Context())
	d.Passwords = leaving{cancel}
	if _, err := d.Password(left, d.john, n.Handle, "right", client); reason(err) != "directory-away" {
		t.Errorf("left: %v", err)
	}
	d.Passwords = d.passwords

	// One that got the password and did not answer may have counted it: so do we.
	d.passwords.asked = true
	for range auth.DefaultPasswordTries {
		_, r := d.password(d.john, n.Handle, "right")
		want(t, "no answer", r, "directory-away")
	}
	_, r := d.password(d.john, n.Handle, "right")
	want(t, "no answer, once more", r, "too-many-passwords")
}

// leaving is a directory whose visitor leaves while it is asked.
type leaving struct{ cancel context.CancelFunc }

func (l leaving) CheckPassword(context.Context, string, string) (right, asked bool, err error) {
	l.cancel()
	return false, false, context.Canceled
}

// With a file as its directory, a site has no passwords.
func TestNoPasswords(t *testing.T) {
	d := newDesk(t)
	d.Passwords = nil
	n := d.begin(t, d.john)
	want(t, "ways", strings.Join(n.Ways, " "), "administrator")
	_, r := d.password(d.john, n.Handle, "right")
	want(t, "password", r, "way-not-accepted")
}

// The first second proof counts: a later one neither replaces nor prolongs it.
func TestApprovedTwice(t *testing.T) {
	d := newDesk(t)
	n := d.begin(t, d.john)
	_, r := d.password(d.john, n.Handle, "right")
	want(t, "password", r, "")
	want(t, "administrator", reason(d.Approve(t.Context(), n.ID, "administrator")), "")
	c, _, r := d.register(t, d.john, n.Handle, authtest.New(origin))
	want(t, "register", r, "")
	want(t, "approved by", c.ApprovedBy, "directory password")
	if n := len(d.events(t, workflow.EventApproved)); n != 1 {
		t.Errorf("%d approvals on record", n)
	}
}
