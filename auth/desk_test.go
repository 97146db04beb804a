package auth_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"milterd/auth"
	"milterd/auth/authtest"
	"milterd/store"
	"milterd/workflow"
)

const (
	origin = "https://sign.corp.test"
	client = "127.0.0.1"
	agent  = "Firefox on Android"
)

// desk has John (0, a signatory), and Jane (1), in a session, and the ceremonies
// of a site.
type desk struct {
	*auth.Enrolments
	totp      *auth.TOTP
	clock     time.Time
	john      workflow.Visit
	jane      workflow.Visit
	passwords *passwords
	device    *authtest.Authenticator // John's
}

// passwords is a directory with one password.
type passwords struct {
	right string
	away  error // does not answer
	asked bool  // but got the password
	tried []string
}

func (p *passwords) CheckPassword(_ context.Context, mail, password string) (right, asked bool, err error) {
	if p.away != nil {
		return false, p.asked, p.away
	}
	p.tried = append(p.tried, mail+" "+password)
	return password == p.right, true, nil
}

func newDesk(t *testing.T) *desk {
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
	d := &desk{clock: time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC), passwords: &passwords{right: "right"}, device: authtest.New(origin)}
	p, err := auth.NewPasskeys(auth.Site{Store: st, Keys: keys, URL: origin, Organisation: "Corp",
		Now: func() time.Time { return d.clock }, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	d.Enrolments = &auth.Enrolments{Passkeys: p, Passwords: d.passwords, PasswordTries: auth.DefaultPasswordTries,
		Ways: []string{auth.WayPassword, auth.WayDevice, auth.WayAdministrator}}
	d.totp = &auth.TOTP{Enrolments: d.Enrolments}
	d.john, d.jane = d.session(t, "aaaaaaaaaaaaaaaa")
	return d
}

func (d *desk) session(t *testing.T, id string) (john, jane workflow.Visit) {
	t.Helper()
	s := &workflow.Session{ID: id, State: workflow.Open, Level: workflow.Advanced, Created: d.clock,
		Deadline: d.clock.Add(time.Hour), People: []workflow.Participant{
			{Person: workflow.Person{Mail: "john.doe@corp.test", Name: "John Doe"}, Signatory: true, State: workflow.Waiting},
			{Person: workflow.Person{Mail: "jane@corp.test", Name: "Jane Roe"}, Signatory: true, State: workflow.Waiting},
		}}
	if err := d.Store.Do(t.Context(), func(tx workflow.Tx) error { return tx.Create(s, []byte("mail"), nil) }); err != nil {
		t.Fatal(err)
	}
	return workflow.Visit{Session: s}, workflow.Visit{Session: s, Person: 1}
}

// key is the digest of some device key.
func key(name string) workflow.Digest { return sha256.Sum256([]byte(name)) }

// begin starts an enrolment.
func (d *desk) begin(t *testing.T, v workflow.Visit) *auth.Enrolment {
	t.Helper()
	n, err := d.Enrolments.Begin(t.Context(), v, client, agent)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// enrol takes a device in, with the administrator's approval.
func (d *desk) enrol(t *testing.T, v workflow.Visit, device *authtest.Authenticator) *workflow.Credential {
	t.Helper()
	n := d.begin(t, v)
	if err := d.Approve(t.Context(), n.ID, "administrator"); err != nil {
		t.Fatal(err)
	}
	c, _, r := d.register(t, v, n.Handle, device)
	want(t, "enrolling", r, "")
	return c
}

// register makes the passkey of an enrolment.
func (d *desk) register(t *testing.T, v workflow.Visit, handle string, device *authtest.Authenticator) (*workflow.Credential, string, string) {
	t.Helper()
	options, ceremony, err := d.Options(t.Context(), v, handle, key("device key"))
	if err != nil {
		return nil, "", reason(err)
	}
	answer, err := device.Create(options)
	if err != nil {
		t.Fatal(err)
	}
	c, cookie, _, err := d.Finish(t.Context(), v, handle, ceremony, answer, "John's phone", key("device key"), client, agent)
	return c, cookie, reason(err)
}

// ask starts a ceremony and has a device answer it.
func (d *desk) ask(t *testing.T, v workflow.Visit, device *authtest.Authenticator, label string, digests ...workflow.Digest) (ceremony string, answer []byte) {
	t.Helper()
	options, ceremony, err := d.Passkeys.Begin(t.Context(), v, label, digests)
	if err != nil {
		t.Fatal(err)
	}
	if answer, err = device.Get(options); err != nil {
		t.Fatal(err)
	}
	return ceremony, answer
}

// sign finishes a ceremony as the page's interface and the workflow do.
func (d *desk) sign(v workflow.Visit, ceremony string, answer []byte, digests ...workflow.Digest) (proof workflow.Proof, r string) {
	consume, err := d.ForSigning(context.Background(), v, ceremony, answer, client)
	return d.consume(consume, err, digests)
}

func (d *desk) consume(consume func(workflow.Tx, []workflow.Digest) (workflow.Proof, error), err error, digests []workflow.Digest) (proof workflow.Proof, r string) {
	if err == nil {
		err = d.Store.Do(context.Background(), func(tx workflow.Tx) (err error) {
			proof, err = consume(tx, digests)
			return err
		})
	}
	return proof, reason(err)
}

// revoke takes a credential out, as workflow.Desk.RevokeDevice does.
func (d *desk) revoke(t *testing.T, id string) {
	t.Helper()
	err := d.Store.Do(t.Context(), func(tx workflow.Tx) error {
		c, err := tx.Credential(id)
		if err != nil {
			return err
		}
		c.Revoked, c.RevokedBy = d.clock, "administrator"
		return tx.SaveCredential(c)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// events gives what of the kinds is on record.
func (d *desk) events(t *testing.T, kinds ...workflow.EventKind) (out []workflow.Event) {
	t.Helper()
	all, err := d.Store.Events(t.Context(), d.john.Session.ID)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		if slices.Contains(kinds, e.Kind) {
			out = append(out, e)
		}
	}
	return out
}

// recorded wants refused answers on record with these reasons, and no others.
func (d *desk) recorded(t *testing.T, reasons ...string) {
	t.Helper()
	var got []string
	for _, e := range d.events(t, workflow.EventPasskeyRefused) {
		got = append(got, e.Detail["reason"])
	}
	if !slices.Equal(got, reasons) {
		t.Errorf("refused answers on record: %v, want %v", got, reasons)
	}
}

var errGone = errors.New("gone")
