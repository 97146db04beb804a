package auth_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"milterd/auth"
	"milterd/auth/authtest"
	"milterd/workflow"
)

func TestPasskeyOpens(t *testing.T) {
	d := newDesk(t)
	_, _, err := d.Passkeys.Begin(t.Context(), d.john, auth.LabelOpen, nil)
	want(t, "without a device", reason(err), "no-passkey")
	c := d.enrol(t, d.john, d.device)
	ceremony, answer := d.ask(t, d.john, d.device, auth.LabelOpen)
	cookie, _, err := d.Open(t.Context(), d.john, ceremony, answer, client, agent)
	want(t, "open", reason(err), "")
	box := &auth.Mailbox{Store: d.Store, Keys: d.Keys, Now: d.Now}
	if !knows(t, box, d.john, cookie) || knows(t, box, d.jane, cookie) {
		t.Error("the device is not remembered, or for somebody else")
	}
	e := d.events(t, workflow.EventProven)
	if len(e) != 1 || e[0].Detail["proof"] != "passkey" || e[0].Detail["device"] != c.Name {
		t.Errorf("on record: %+v", e)
	}
	_, _, err = d.Open(t.Context(), d.john, ceremony, answer, client, agent)
	want(t, "the same answer again", reason(err), "ceremony-gone")
	d.recorded(t, "ceremony-gone")
}

// Whoever found a phone cannot read on with it once it is removed.
func TestRemovedDeviceIsForgotten(t *testing.T) {
	d := newDesk(t)
	n := d.begin(t, d.john)
	want(t, "approve", reason(d.Approve(t.Context(), n.ID, "administrator")), "")
	c, enrolled, r := d.register(t, d.john, n.Handle, d.device)
	want(t, "register", r, "")
	other := d.enrol(t, d.john, authtest.New(origin))
	ceremony, answer := d.ask(t, d.john, d.device, auth.LabelOpen)
	opened, _, err := d.Open(t.Context(), d.john, ceremony, answer, client, agent)
	want(t, "open", reason(err), "")
	box := &auth.Mailbox{Store: d.Store, Keys: d.Keys, Now: d.Now}
	remembered := func(want bool) {
		t.Helper()
		for name, cookie := range map[string]string{"enrolling": enrolled, "opening": opened} {
			if knows(t, box, d.john, cookie) != want {
				t.Errorf("the cookie of %s is remembered: %v", name, !want)
			}
		}
	}
	d.revoke(t, other.ID)
	remembered(true)
	d.revoke(t, c.ID)
	remembered(false)
}

// The evidence that stays of a signature checks by itself.
func TestPasskeySigns(t *testing.T) {
	d := newDesk(t)
	c := d.enrol(t, d.john, d.device)
	ceremony, answer := d.ask(t, d.john, d.device, auth.LabelSign, key("one"), key("two"))
	proof, r := d.sign(d.john, ceremony, answer, key("one"), key("two"))
	want(t, "sign", r, "")
	if proof.Method != "passkey" || proof.Device != c.Name || proof.Challenge != ceremony || proof.Client != client || proof.Assertion == nil {
		t.Fatalf("proof: %+v", proof)
	}
	if err := auth.CheckAssertion(proof.Assertion); err != nil {
		t.Error(err)
	}
	all, err := d.Store.Credentials(t.Context(), d.john.Who().Mail)
	if err != nil || len(all) != 1 || !all[0].Used.Equal(d.clock) {
		t.Errorf("the credential was not used: %+v, %v", all, err)
	}
}

func TestPasskeyRefuses(t *testing.T) {
	low := uint32(1)
	for name, c := range map[string]struct {
		mischief authtest.Mischief
		reason   string
	}{
		"wrong origin":           {authtest.Mischief{FromOrigin: "https://sign.corp.test.evil.test"}, "passkey-refused"},
		"same host, http":        {authtest.Mischief{FromOrigin: "http://sign.corp.test"}, "passkey-refused"},
		"other port":             {authtest.Mischief{FromOrigin: "https://sign.corp.test:8443"}, "passkey-refused"},
		"in a frame elsewhere":   {authtest.Mischief{CrossOrigin: true}, "passkey-refused"},
		"other relying party":    {authtest.Mischief{RelyingParty: "corp.test"}, "passkey-refused"},
		"nobody verified":        {authtest.Mischief{Unverified: true}, "passkey-refused"},
		"nobody there":           {authtest.Mischief{Absent: true}, "passkey-refused"},
		"other challenge":        {authtest.Mischief{Challenge: make([]byte, 32)}, "passkey-refused"},
		"a registration instead": {authtest.Mischief{Type: "webauthn.create"}, "passkey-refused"},
		"a copy of the passkey":  {authtest.Mischief{Count: &low}, "passkey-cloned"},
		"other person's key":     {authtest.Mischief{Key: stranger(t)}, "passkey-refused"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			d.enrol(t, d.john, d.device)
			d.device.Mischief = c.mischief
			ceremony, answer := d.ask(t, d.john, d.device, auth.LabelSign, key("one"))
			_, r := d.sign(d.john, ceremony, answer, key("one"))
			want(t, "sign", r, c.reason)
			d.recorded(t, c.reason)
			// It has used up the ceremony.
			_, r = d.sign(d.john, ceremony, answer, key("one"))
			want(t, "again", r, "ceremony-gone")
		})
	}
}

func stranger(t *testing.T) *authtest.Authenticator {
	a := authtest.New(origin)
	d := newDesk(t)
	d.enrol(t, d.jane, a)
	return a
}

// What Jane's passkey says is nothing that John said, and the other way round.
func TestPasskeyOfAnotherPerson(t *testing.T) {
	d := newDesk(t)
	janes := authtest.New(origin)
	d.enrol(t, d.john, d.device)
	d.enrol(t, d.jane, janes)
	ceremony, answer := d.ask(t, d.jane, janes, auth.LabelSign, key("one"))
	_, r := d.sign(d.john, ceremony, answer, key("one"))
	want(t, "Jane's ceremony at John's link", r, "ceremony-gone")

	johns, _ := d.ask(t, d.john, d.device, auth.LabelSign, key("one"))
	_, r = d.sign(d.john, johns, answer, key("one"))
	want(t, "Jane's answer to John's ceremony", r, "passkey-unknown")
	_, r = d.sign(d.jane, ceremony, answer, key("one"))
	want(t, "Jane herself", r, "")

	// The same person in another session: another challenge.
	other, _ := d.session(t, "bbbbbbbbbbbbbbbb")
	ceremony, answer = d.ask(t, d.john, d.device, auth.LabelSign, key("one"))
	_, r = d.sign(other, ceremony, answer, key("one"))
	want(t, "in another session", r, "ceremony-gone")
}

// The digests are made anew of what is about to be signed.
func TestPasskeySwappedDigests(t *testing.T) {
	for name, digests := range map[string][]workflow.Digest{
		"another document": {key("evil"), key("two")},
		"another order":    {key("two"), key("one")},
		"one more":         {key("one"), key("two"), key("evil")},
		"one less":         {key("one")},
		"none":             nil,
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			d.enrol(t, d.john, d.device)
			ceremony, answer := d.ask(t, d.john, d.device, auth.LabelSign, key("one"), key("two"))
			_, r := d.sign(d.john, ceremony, answer, digests...)
			want(t, "sign", r, "digest-mismatch")
		})
	}
}

func TestPasskeyForAnotherPurpose(t *testing.T) {
	d := newDesk(t)
	d.enrol(t, d.john, d.device)
	ceremony, answer := d.ask(t, d.john, d.device, auth.LabelOpen)
	_, r := d.sign(d.john, ceremony, answer)
	want(t, "an answer that opens, to sign", r, "ceremony-gone")
	ceremony, answer = d.ask(t, d.john, d.device, auth.LabelSign, key("one"))
	_, err := d.ForKey(t.Context(), d.john, ceremony, answer, key("one"), client)
	want(t, "an answer that signs, for a key", reason(err), "ceremony-gone")
}

func TestPasskeyForKey(t *testing.T) {
	d := newDesk(t)
	enrolled := d.enrol(t, d.john, d.device)
	ceremony, answer := d.ask(t, d.john, d.device, auth.LabelKey, key("new"))
	c, err := d.ForKey(t.Context(), d.john, ceremony, answer, key("new"), client)
	want(t, "key", reason(err), "")
	if c == nil || c.ID != enrolled.ID {
		t.Errorf("credential %+v", c)
	}
	_, err = d.ForKey(t.Context(), d.john, ceremony, answer, key("new"), client)
	want(t, "again", reason(err), "ceremony-gone")
	ceremony, answer = d.ask(t, d.john, d.device, auth.LabelKey, key("new"))
	_, err = d.ForKey(t.Context(), d.john, ceremony, answer, key("evil"), client)
	want(t, "another key", reason(err), "passkey-refused")
}

// What was begun as one thing is nothing else: each answer says that it is gone,
// and the database is not blamed.
func TestCeremoniesAreNotExchanged(t *testing.T) {
	d := newDesk(t)
	d.enrol(t, d.john, d.device)
	n := d.begin(t, d.john)
	want(t, "approve", reason(d.Approve(t.Context(), n.ID, "administrator")), "")
	opening, answer := d.ask(t, d.john, d.device, auth.LabelOpen)
	_, _, _, err := d.totp.Finish(t.Context(), d.john, n.Handle, opening, "123456", "app", client, agent)
	want(t, "a passkey's ceremony for a secret", reason(err), "ceremony-gone")
	_, _, _, err = d.Finish(t.Context(), d.john, n.Handle, opening, answer, "phone", key("device key"), client, agent)
	want(t, "one to open for a registration", reason(err), "ceremony-gone")
	_, _, secret, err := d.totp.Begin(t.Context(), d.john, n.Handle)
	want(t, "secret", reason(err), "")
	_, _, err = d.Open(t.Context(), d.john, secret, answer, client, agent)
	want(t, "a secret's ceremony to open", reason(err), "ceremony-gone")
	_, _, err = d.Open(t.Context(), d.john, n.ID, answer, client, agent)
	want(t, "an enrolment to open", reason(err), "ceremony-gone")
	// Of somebody who has the same place, or the same address, in the session.
	opening, answer = d.ask(t, d.john, d.device, auth.LabelOpen)
	renamed, moved := *d.john.Session, *d.john.Session
	renamed.People = slices.Clone(renamed.People)
	renamed.People[0].Mail = "jane@corp.test"
	_, _, err = d.Open(t.Context(), workflow.Visit{Session: &renamed}, opening, answer, client, agent)
	want(t, "another address", reason(err), "ceremony-gone")
	moved.People = []workflow.Participant{moved.People[1], moved.People[0]}
	_, _, err = d.Open(t.Context(), workflow.Visit{Session: &moved, Person: 1}, opening, answer, client, agent)
	want(t, "another place", reason(err), "ceremony-gone")
	_, _, err = d.Open(t.Context(), d.john, opening, answer, client, agent)
	want(t, "its own", reason(err), "")
}

func TestPasskeyTooLate(t *testing.T) {
	d := newDesk(t)
	d.enrol(t, d.john, d.device)
	ceremony, answer := d.ask(t, d.john, d.device, auth.LabelSign, key("one"))
	d.clock = d.clock.Add(auth.CeremonyLifetime)
	_, r := d.sign(d.john, ceremony, answer, key("one"))
	want(t, "sign", r, "ceremony-gone")
}

func TestPasskeyRevoked(t *testing.T) {
	d := newDesk(t)
	c := d.enrol(t, d.john, d.device)
	ceremony, answer := d.ask(t, d.john, d.device, auth.LabelSign, key("one"))
	consume, err := d.ForSigning(t.Context(), d.john, ceremony, answer, client)
	want(t, "before", reason(err), "")
	d.revoke(t, c.ID)
	_, r := d.consume(consume, nil, []workflow.Digest{key("one")})
	want(t, "revoked between check and use", r, "passkey-revoked")
	_, r = d.sign(d.john, ceremony, answer, key("one"))
	want(t, "revoked before the answer", r, "passkey-revoked")
	d.recorded(t, "passkey-revoked")
	_, _, err = d.Passkeys.Begin(t.Context(), d.john, auth.LabelOpen, nil)
	want(t, "begin", reason(err), "no-passkey")
}

// Two tabs hand in the same answer: one signs.
func TestPasskeyAnswerTwiceAtOnce(t *testing.T) {
	d := newDesk(t)
	d.enrol(t, d.john, d.device)
	ceremony, answer := d.ask(t, d.john, d.device, auth.LabelSign, key("one"))
	var mu sync.Mutex
	count := map[string]int{}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			_, r := d.sign(d.john, ceremony, answer, key("one"))
			mu.Lock()
			defer mu.Unlock()
			count[r]++
		})
	}
	wg.Wait()
	if count[""] != 1 || count["ceremony-gone"] != 7 {
		t.Errorf("eight at once: %v", count)
	}
}

// A holder of the link cannot fill the audit trail.
func TestPasskeyRefusalsAreRationed(t *testing.T) {
	d := newDesk(t)
	d.enrol(t, d.john, d.device)
	for range 25 {
		ceremony, _ := d.ask(t, d.john, d.device, auth.LabelOpen)
		_, _, err := d.Open(t.Context(), d.john, ceremony, []byte("{}"), client, agent)
		want(t, "nonsense", reason(err), "passkey-refused")
		_, _, err = d.Open(t.Context(), d.john, "never begun", []byte("{}"), client, agent)
		want(t, "nonsense to nothing", reason(err), "ceremony-gone")
	}
	if n := len(d.events(t, workflow.EventPasskeyRefused)); n != 20 {
		t.Errorf("%d entries", n)
	}
}

// Whatever a page says instead of a ceremony: nobody looks for it, and the trail
// does not quote it. (PostgreSQL would refuse the zero byte, as if it were away.)
func TestPasskeyStrangeCeremonies(t *testing.T) {
	d := newDesk(t)
	for _, id := range []string{"", "\x00", "x\x00y", "<script>alert(1)</script>", strings.Repeat("a", 1000), "AAAAAAAAAAAAAAAA"} {
		_, _, err := d.Open(t.Context(), d.john, id, []byte("{}"), client, agent)
		want(t, id, reason(err), "ceremony-gone")
		want(t, "approve "+id, reason(d.Approve(t.Context(), id, "administrator")), "enrolment-gone")
	}
	for _, e := range d.events(t, workflow.EventPasskeyRefused) {
		if e.Detail["challenge"] != "" {
			t.Errorf("on record: %q", e.Detail["challenge"])
		}
	}
}

// A passkey with a counter that stays at zero, as synchronised ones do, is no copy.
func TestPasskeyWithoutCounter(t *testing.T) {
	d := newDesk(t)
	zero := uint32(0)
	d.device.Count = &zero
	d.enrol(t, d.john, d.device)
	for i := range 2 {
		ceremony, answer := d.ask(t, d.john, d.device, auth.LabelSign, key("one"))
		_, r := d.sign(d.john, ceremony, answer, key("one"))
		want(t, fmt.Sprint("time ", i), r, "")
	}
}

func TestPasskeysBySiteAddress(t *testing.T) {
	d := newDesk(t)
	for url, r := range map[string]string{
		"https://sign.corp.test": "no-passkey", "https://SIGN.corp.test:443": "no-passkey", "http://localhost:8470": "no-passkey",
		"http://127.0.0.1:8470": "no-passkeys-here", "https://[::1]": "no-passkeys-here",
	} {
		s := d.Site
		s.URL = url
		p, err := auth.NewPasskeys(s)
		if err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		_, _, err = p.Begin(t.Context(), d.john, auth.LabelOpen, nil)
		want(t, url, reason(err), r)
	}
	s := d.Site
	s.URL = "sign.corp.test"
	if _, err := auth.NewPasskeys(s); err == nil || !strings.Contains(err.Error(), "https://HOST") {
		t.Errorf("no URL: %v", err)
	}
}
