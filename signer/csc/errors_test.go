package csc

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"milterd/signer/csc/csctest"
)

// Every way of staying away, for every call: its reason, and how often it was asked.
func TestAway(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := start(t, func(_ *csctest.Config, p *Provider) { p.Timeout = time.Minute },
		csctest.Credential{ID: "A", Type: csctest.P256, PIN: true, OTP: true}, csctest.Credential{ID: "B", User: "jane-0815", Type: csctest.P256, OAuth2: true})
	cred := s.one(t)
	r := request(t, cred, 1)
	janes, _, err := s.Credentials(ctx, nil, "jane-0815")
	if err != nil {
		t.Fatal(err)
	}
	calls := []struct {
		name    string
		reading bool
		do      func(now func()) error // now is just before the call itself
	}{
		{"info", true, func(now func()) error { now(); _, err := s.Info(ctx); return err }},
		{"credentials/list", true, func(now func()) error { now(); _, _, err := s.Credentials(ctx, nil, john); return err }},
		{"credentials/info", true, func(now func()) error { now(); _, err := s.Credential(ctx, nil, "A"); return err }},
		{"credentials/getChallenge", false, func(now func()) error { now(); _, err := s.Challenge(ctx, nil, cred, "OTP"); return err }},
		{"credentials/authorize", false, func(now func()) error {
			if _, err := s.Challenge(ctx, nil, cred, "OTP"); err != nil {
				return err
			}
			now()
			_, err := s.Authorize(ctx, nil, r, map[string]Secret{"PIN": pin, "OTP": Secret(s.OTP(john))})
			return err
		}},
		{"signatures/signHash", false, func(now func()) error {
			a := s.authorised(t, nil, r)
			now()
			_, err := s.SignHash(ctx, a)
			return err
		}},
		{"signatures/signDoc", false, func(now func()) error {
			a := s.authorised(t, nil, r)
			now()
			_, err := s.SignDoc(ctx, a)
			return err
		}},
		{"oauth2/token", false, func(now func()) error {
			way, err := s.Begin(request(t, janes[0], 1), "")
			if err != nil {
				return err
			}
			back := s.browse(t, way.URL, "jane-0815", "314159", "yes")
			now()
			_, err = s.Complete(ctx, nil, way, back)
			return err
		}},
	}
	for _, c := range calls {
		for _, m := range []struct {
			b         csctest.Behaviour
			reason    Reason
			temporary bool
		}{
			{csctest.Down, Away, true},
			{csctest.Silent, Away, true},
			{csctest.Hangup, Away, true},
			{csctest.Cut, Away, true},
			{csctest.TooMany, Busy, true},
			{csctest.Half, WrongAnswer, false},
			{csctest.Page, WrongAnswer, false},
			{csctest.Text, WrongAnswer, false},
			{csctest.Huge, WrongAnswer, false},
			{csctest.Moved, WrongAnswer, false},
		} {
			if c.name == "credentials/getChallenge" && (m.b == csctest.Cut || m.b == csctest.Half || m.b == csctest.Text) {
				continue // it answers without content
			}
			s.Behave(csctest.Honest)
			s.Behave(m.b, c.name)
			before, elsewhere := s.calls(c.name), s.calls("elsewhere")
			err := c.do(func() {
				if m.b == csctest.Silent {
					s.p.Timeout = 200 * time.Millisecond
				}
			})
			s.p.Timeout = time.Minute
			e := wants(t, err, m.reason)
			want := 1
			if c.reading && m.reason == Away {
				want = 2
			}
			if n := s.calls(c.name) - before; n != want {
				t.Errorf("%s, %s: asked %d times, want %d", c.name, m.b, n, want)
			}
			if s.calls("elsewhere") != elsewhere {
				t.Errorf("%s: the redirect was followed", c.name)
			}
			if e.Temporary() != m.temporary {
				t.Errorf("%s, %s: temporary is %t", c.name, m.b, e.Temporary())
			}
			if m.b == csctest.TooMany && (e.RetryAfter != 7*time.Second || e.Status != 429) {
				t.Errorf("%s: %+v", c.name, *e)
			}
		}
	}
	// A short trouble is not noticed where asking twice does no harm.
	s.Behave(csctest.Honest)
	s.Behave(csctest.OnceDown, "credentials/info")
	if _, err := s.Client.Credential(ctx, nil, "A"); err != nil {
		t.Error(err)
	}
	// Nobody there at all.
	s.Close()
	wants(t, calls[0].do(func() {}), Away)
}

// The person's mistakes, in the words of both versions.
func TestWrongFactors(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for name, c := range map[string]struct {
		with     func(*csctest.Config, *Provider)
		pin, otp Reason
	}{
		"version 1":          {func(c *csctest.Config, _ *Provider) { c.Version = 1 }, InvalidPIN, InvalidOTP},
		"version 2":          {nil, InvalidFactor, InvalidFactor},
		"version 2, in full": {func(c *csctest.Config, _ *Provider) { c.NamesFactor = true }, InvalidPIN, InvalidOTP},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, c.with, csctest.Credential{ID: "A", Type: csctest.P256, PIN: true, OTP: true})
			cred := s.one(t)
			r := request(t, cred, 1)
			try := func(pin, otp Secret) error {
				_, err := s.Authorize(ctx, nil, r, map[string]Secret{"PIN": pin, "OTP": otp})
				return err
			}
			if _, err := s.Challenge(ctx, nil, cred, "OTP"); err != nil {
				t.Fatal(err)
			}
			otp := Secret(s.OTP(john))
			if e := wants(t, try("000000", otp), c.pin); !e.Again() || e.Temporary() {
				t.Errorf("again %t, temporary %t", e.Again(), e.Temporary())
			}
			wants(t, try(pin, "x"+otp), c.otp)
			if err := try(pin, otp); err != nil {
				t.Fatal(err)
			}
			wants(t, try(pin, otp), c.otp) // spent
			wants(t, try("1", otp), c.pin)
			wants(t, try("2", otp), c.pin)
			if e := wants(t, try(pin, otp), Locked); e.Again() {
				t.Error("a locked credential can be tried again")
			}
			if n := s.calls("credentials/authorize"); n != 7 {
				t.Errorf("%d calls", n)
			}
		})
	}
	s := start(t, nil, csctest.Credential{ID: "A", Type: csctest.P256, App: true})
	a, err := s.Authorize(ctx, nil, request(t, s.one(t), 1), nil)
	if err != nil {
		t.Fatal(err)
	}
	s.Decline("A")
	wants(t, s.Check(ctx, a), Denied)
}

// A SAD and a token that run out, here and there.
func TestExpired(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for _, oauth2 := range []bool{true, false} {
		s := start(t, func(c *csctest.Config, _ *Provider) { c.Life = time.Minute }, csctest.Credential{ID: "A", Type: csctest.P256, OAuth2: oauth2})
		a := s.authorised(t, nil, request(t, s.one(t), 1))
		if left := a.Expires.Sub(s.clock.now()); left < 50*time.Second || left > time.Minute {
			t.Errorf("expires in %s", left)
		}
		s.clock.pass(61 * time.Second)
		_, err := s.SignHash(ctx, a)
		wants(t, err, Expired)
		if s.calls("signatures/signHash") != 0 {
			t.Error("an outlived authorisation was sent")
		}
		// The provider's clock is ahead.
		a = s.authorised(t, nil, request(t, s.one(t), 1))
		a.Expires = a.Expires.Add(time.Hour)
		if a.bearer != nil {
			a.bearer.Expires = a.Expires
		}
		s.clock.pass(61 * time.Second)
		_, err = s.SignHash(ctx, a)
		wants(t, err, Expired)
	}
}

// The service's token is fetched once, anew before its end, and anew once when the
// provider has forgotten it; an authorisation is not asked for twice even then.
func TestToken(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := start(t, nil, csctest.Credential{ID: "A", Type: csctest.P256, PIN: true})
	cred := s.one(t)
	fetched := func(want int) {
		t.Helper()
		if n := s.calls("oauth2/token"); n != want {
			t.Fatalf("token fetched %d times, want %d", n, want)
		}
	}
	s.one(t)
	fetched(1)
	s.clock.pass(time.Hour - margin + time.Second)
	s.one(t)
	fetched(2)
	s.ForgetTokens()
	s.one(t)
	fetched(3)
	s.ForgetTokens()
	_, err := s.Authorize(ctx, nil, request(t, cred, 1), map[string]Secret{"PIN": pin})
	wants(t, err, Expired)
	if n := s.calls("credentials/authorize"); n != 1 {
		t.Errorf("authorize was called %d times", n)
	}
	if _, err := s.Authorize(ctx, nil, request(t, cred, 1), map[string]Secret{"PIN": pin}); err != nil {
		t.Error(err)
	}
	fetched(4)
	// It refuses every token: twice, not for ever.
	s.Behave(csctest.Unknown, "credentials/info")
	before := s.calls("credentials/info")
	_, err = s.Client.Credential(ctx, nil, "A")
	wants(t, err, Expired)
	if n := s.calls("credentials/info") - before; n != 2 {
		t.Errorf("%d calls", n)
	}
	fetched(5)
	// Many at once fetch one.
	s = start(t, nil, csctest.Credential{ID: "A", Type: csctest.P256})
	done := make(chan error)
	for range 8 {
		go func() { _, _, err := s.Credentials(ctx, nil, john); done <- err }()
	}
	for range 8 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if n := s.calls("oauth2/token"); n != 1 {
		t.Errorf("token fetched %d times", n)
	}
}

// A client that the provider does not know.
func TestUnknownClient(t *testing.T) {
	t.Parallel()
	for _, basic := range []bool{true, false} {
		s := start(t, func(c *csctest.Config, p *Provider) { c.BasicAuth, p.BasicAuth, p.Secret = basic, basic, "old" }, csctest.Credential{ID: "A", Type: csctest.P256})
		_, _, err := s.Credentials(context.Background(), nil, john)
		wants(t, err, Misconfigured)
		s = start(t, func(c *csctest.Config, p *Provider) { p.BasicAuth = basic; c.BasicAuth = !basic }, csctest.Credential{ID: "A", Type: csctest.P256})
		_, _, err = s.Credentials(context.Background(), nil, john)
		wants(t, err, Misconfigured)
	}
	s := start(t, nil)
	_, err := s.Client.Credential(context.Background(), nil, "nobody's")
	wants(t, err, NoSuchCredential)
}

// What cannot sign is left out of the list, with the reason for the log.
func TestSkipped(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for _, version := range []int{1, 2} {
		s := start(t, func(c *csctest.Config, _ *Provider) { c.Version = version },
			csctest.Credential{ID: "A", Type: csctest.P256}, csctest.Credential{ID: "B", Type: csctest.P256, Disabled: true})
		list, skipped, err := s.Credentials(ctx, nil, john)
		if err != nil || len(list) != 1 || list[0].ID != "A" || version == 1 && len(skipped) != 1 {
			t.Fatalf("version %d: %v, %v, %v", version, list, skipped, err)
		}
		_, err = s.Client.Credential(ctx, nil, "B")
		wants(t, err, Unusable)
		s.Behave(csctest.WrongLength, "credentials/list", "credentials/info")
		list, skipped, err = s.Credentials(ctx, nil, john)
		if err != nil || len(list) != 0 || !strings.Contains(fmt.Sprint(skipped), "1280 bits") {
			t.Fatalf("version %d: %v, %v, %v", version, list, skipped, err)
		}
		s.Behave(csctest.Honest)
		s.clock.pass(2 * time.Hour) // beyond the certificates
		list, skipped, err = s.Credentials(ctx, nil, john)
		if err != nil || len(list) != 0 || len(skipped) == 0 {
			t.Fatalf("version %d: %v, %v, %v", version, list, skipped, err)
		}
	}
}

// Every reason has its sentence, and each is one.
func TestSentences(t *testing.T) {
	for _, r := range []Reason{Away, Busy, WrongAnswer, WrongSignature, InvalidOTP, InvalidPIN, InvalidFactor, Locked, Denied, Expired, OtherState, Changed, OneShot,
		Unusable, NoSuchCredential, HashRefused, NotOffered, Misconfigured, Refused} {
		s := (&Error{Reason: r, Provider: "Example Trust"}).Sentence()
		if _, own := sentences[r]; !own || strings.Count(s, "Example Trust") != 1 || !strings.HasSuffix(s, ".") || strings.Contains(s, "%!") {
			t.Errorf("%s: %q", r, s)
		}
	}
}

// What the tables of the specification say is told apart.
func TestReasons(t *testing.T) {
	for _, c := range []struct {
		status     int
		code, said string
		want       Reason
	}{
		{400, "invalid_request", "SAD expired", Expired},
		{400, "invalid_request", "Invalid parameter SAD", Expired},
		{400, "invalid_request", "Hash is not authorized by the SAD", HashRefused},
		{403, "invalid_hash", "", HashRefused},
		{400, "invalid_request", "The credential identified by credentialID is disabled", Unusable},
		{400, "invalid_request", "Signing certificate is expired", Unusable},
		{400, "invalid_request", "Invalid parameter credentialID", NoSuchCredential},
		{400, "invalid_request", "Invalid parameter userID", NoSuchCredential},
		{400, "invalid_request", "PIN locked.", Locked},
		{400, "invalid_request", "Missing (or invalid type) string parameter signAlgo", Refused},
		{400, "invalid_otp", "", InvalidOTP},
		{400, "INVALID_PIN", "", InvalidPIN},
		{401, "", "", Expired},
		{403, "", "", Denied},
		{404, "", "", NotOffered},
		{501, "not_implemented_method", "", NotOffered},
		{503, "invalid_request", "", Away},
		{429, "invalid_otp", "", Busy},
		{418, "teapot", "", Refused},
	} {
		if got := reasonFor(c.status, c.code, c.said); got != c.want {
			t.Errorf("%d %s %q: %s, want %s", c.status, c.code, c.said, got, c.want)
		}
	}
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, "-1": 0, "99999999999": 0, "86400": time.Hour, "soon": 0,
		"Fri, 02 Jan 2026 03:04:35 GMT": 30 * time.Second, "Fri, 02 Jan 2026 03:04:00 GMT": 0,
	} {
		if got := retryAfter(value, now); got != want && value != "99999999999" {
			t.Errorf("Retry-After %q: %s, want %s", value, got, want)
		}
	}
}
