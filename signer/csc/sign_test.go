package csc

import (
	"bytes"
	"context"
	"net/url"
	"os"
	"testing"
	"time"

	"milterd/signature/cms"
	"milterd/signature/pades"
	"milterd/signer/csc/csctest"
)

// Every way from a person's credentials to verified signature values, against a
// stand-in that refuses what the interface does not have.
func TestSignHash(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		with func(*csctest.Config, *Provider)
		cred csctest.Credential
		alg  cms.Algorithm
		n    int
	}{
		"RSA, PIN and OTP":  {nil, csctest.Credential{Key: rsa2048(), PIN: true, OTP: true, Multisign: 3}, cms.RS256, 3},
		"exact names":       {nil, csctest.Credential{Key: rsa3072(), Exact: true, PIN: true}, cms.RS256, 1},
		"PSS by OAuth2":     {nil, csctest.Credential{Key: rsa3072(), PSS: true, OAuth2: true, Multisign: 2}, cms.PS256, 2},
		"P-256 by OAuth2":   {nil, csctest.Credential{Type: csctest.P256, OAuth2: true}, cms.ES256, 1},
		"P-384, exact, PIN": {nil, csctest.Credential{Type: csctest.P384, Exact: true, PIN: true}, cms.ES384, 1},
		"nothing is asked":  {nil, csctest.Credential{Type: csctest.P256, Qualifier: "eu_eidas_qeseal"}, cms.ES256, 1},
		"on a phone":        {nil, csctest.Credential{Type: csctest.P256, PIN: true, App: true}, cms.ES256, 1},
		"SCAL 1":            {nil, csctest.Credential{Type: csctest.P256, OAuth2: true, SCAL1: true}, cms.ES256, 1},
		"TLS, r‖s":          {func(c *csctest.Config, _ *Provider) { c.TLS, c.RawECDSA = true, true }, csctest.Credential{Type: csctest.P384, OTP: true}, cms.ES384, 1},
		"secret in header":  {func(c *csctest.Config, p *Provider) { c.BasicAuth, p.BasicAuth = true, true }, csctest.Credential{Type: csctest.P256, OAuth2: true}, cms.ES256, 1},
		"rich requests":     {func(c *csctest.Config, p *Provider) { c.RichRequests, p.RichRequests = true, true }, csctest.Credential{Type: csctest.P256, OAuth2: true, Multisign: 2}, cms.ES256, 2},
		"URL-safe, unpadded": {func(c *csctest.Config, p *Provider) {
			c.HashURLSafe, c.HashUnpadded, p.HashURLSafe, p.HashUnpadded = true, true, true, true
		}, csctest.Credential{Type: csctest.P256, PIN: true, Multisign: 9}, cms.ES256, 9},
		"unpadded, OAuth2": {func(c *csctest.Config, p *Provider) { c.HashUnpadded, p.HashUnpadded = true, true }, csctest.Credential{Type: csctest.P256, OAuth2: true}, cms.ES256, 1},
		"v1, PIN and OTP":  {func(c *csctest.Config, _ *Provider) { c.Version = 1 }, csctest.Credential{Key: rsa2048(), PIN: true, OTP: true}, cms.RS256, 1},
		"v1, OAuth2":       {func(c *csctest.Config, _ *Provider) { c.Version = 1 }, csctest.Credential{Key: rsa2048(), PSS: true, OAuth2: true}, cms.PS256, 1},
		"v1, implicit":     {func(c *csctest.Config, _ *Provider) { c.Version = 1 }, csctest.Credential{Type: csctest.P256}, cms.ES256, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := context.Background()
			c.cred.ID = "GX0112348"
			s := start(t, c.with, c.cred)
			cred := s.one(t)
			if cred.Algorithms[0] != c.alg || cred.Qualifier != c.cred.Qualifier || cred.SCAL2 == c.cred.SCAL1 || len(cred.Chain) != 2 || !bytes.Equal(cred.Leaf().Raw, s.Leaf(cred.ID)) {
				t.Fatalf("credential %+v", cred)
			}
			r := request(t, cred, c.n)
			a := s.authorised(t, nil, r)
			values, err := s.SignHash(ctx, a)
			if err != nil {
				t.Fatal(err)
			}
			verified(t, cred, r, values)
			s.refusedNothing(t)

			// Once only, and the second time nothing is asked.
			before := s.calls("signatures/signHash")
			_, err = s.SignHash(ctx, a)
			wants(t, err, Expired)
			if n := s.calls("signatures/signHash"); n != before || n != 1 {
				t.Errorf("%d calls of signHash", n)
			}
		})
	}
}

// authorised does what the person does, whichever way the credential wants it.
func (s *site) authorised(t testing.TB, user *Token, r Request) *Activation {
	t.Helper()
	ctx := context.Background()
	if r.Credential.Mode == OAuth2Code {
		way, err := s.Begin(r, "de-AT")
		if err != nil {
			t.Fatal(err)
		}
		a, err := s.Complete(ctx, user, way, s.browse(t, way.URL, john, pin, "yes"))
		if err != nil {
			t.Fatalf("%v; refused: %q", err, s.Refused())
		}
		return a
	}
	answers := map[string]Secret{}
	for _, f := range r.Credential.Factors {
		if f.Sent() {
			if _, err := s.Challenge(ctx, user, r.Credential, f.ID); err != nil {
				t.Fatal(err)
			}
			answers[f.ID] = Secret(s.OTP(john))
		} else if f.Typed() {
			answers[f.ID] = pin
		}
	}
	a, err := s.Authorize(ctx, user, r, answers)
	if err != nil {
		t.Fatalf("%v; refused: %q", err, s.Refused())
	}
	if a.Pending() {
		if err := s.Check(ctx, a); err != nil || !a.Pending() {
			t.Fatalf("nobody has agreed: pending %t, %v", a.Pending(), err)
		}
		if _, err := s.SignHash(ctx, a); err == nil {
			t.Fatal("signed before anybody agreed")
		}
		s.Agree(r.Credential.ID)
		if err := s.Check(ctx, a); err != nil || a.Pending() {
			t.Fatalf("agreed: pending %t, %v", a.Pending(), err)
		}
	}
	return a
}

// A person's own token: the provider shows credentials to that person only.
func TestSignIn(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for _, version := range []int{1, 2} {
		s := start(t, func(c *csctest.Config, p *Provider) {
			c.Version, c.ClientCredentials, p.ClientCredentials = version, false, false
		}, csctest.Credential{ID: "A", Type: csctest.P256, OAuth2: true}, csctest.Credential{ID: "B", User: "jane-0815", Type: csctest.P256, OAuth2: true})
		_, _, err := s.Credentials(ctx, nil, john)
		wants(t, err, Expired)
		way, err := s.SignIn("")
		if err != nil {
			t.Fatal(err)
		}
		user, err := s.SignedIn(ctx, way, s.browse(t, way.URL, john, pin, "yes"))
		if err != nil {
			t.Fatal(err)
		}
		list, _, err := s.Credentials(ctx, user, "")
		if err != nil || len(list) != 1 || list[0].ID != "A" {
			t.Fatalf("%v: %v", list, err)
		}
		r := request(t, list[0], 1)
		values, err := s.SignHash(ctx, s.authorised(t, user, r))
		if err != nil {
			t.Fatal(err)
		}
		verified(t, list[0], r, values)
		_, err = s.Credential(ctx, user, "B")
		wants(t, err, NoSuchCredential)
		s.clock.pass(2 * time.Hour)
		before := len(s.Requests())
		_, _, err = s.Credentials(ctx, user, "")
		wants(t, err, Expired)
		if len(s.Requests()) != before {
			t.Error("an outlived token was sent")
		}
	}
}

// Values and whole messages of the provider make a PAdES signature.
func TestIntoPDF(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	head, err := os.ReadFile("../../testdata/pdf/contract.pdf")
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, nil, csctest.Credential{ID: "A", Key: rsa2048(), PSS: true, PIN: true})
	cred := s.one(t)
	prepare := func() *pades.Preparation {
		p, err := pades.Prepare(head, pades.Params{Certificate: cred.Leaf(), Chain: cred.Chain[1:], Algorithm: cred.Algorithms[0], Time: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	p := prepare()
	a := s.authorised(t, nil, Request{Credential: cred, Algorithm: p.Algorithm, Digests: [][]byte{sum(p.Algorithm, p.Attributes)}})
	values, err := s.SignHash(ctx, a)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Finish(ctx, values[0], nil); err != nil {
		t.Errorf("signature value: %v", err)
	}
	p = prepare()
	a = s.authorised(t, nil, Request{Credential: cred, Algorithm: p.Algorithm, Digests: [][]byte{p.Digest}})
	messages, err := s.SignDoc(ctx, a)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.FinishCMS(ctx, messages[0], nil); err != nil {
		t.Errorf("complete CMS: %v", err)
	}
	s.refusedNothing(t)
}

// A certificate that is made at the authorisation cannot be named in attributes
// before it: SignHash refuses without asking, SignDoc serves.
func TestOneShot(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for _, oauth2 := range []bool{true, false} {
		s := start(t, nil, csctest.Credential{ID: "A", OneShot: true, OAuth2: oauth2, PIN: !oauth2})
		cred := s.one(t)
		if !cred.OneShot() || cred.Leaf() != nil {
			t.Fatal("a certificate before its time")
		}
		r := request(t, cred, 1)
		_, err := s.SignHash(ctx, s.authorised(t, nil, r))
		wants(t, err, OneShot)
		if s.calls("signatures/signHash") != 0 {
			t.Error("signHash was called")
		}
		a := s.authorised(t, nil, r)
		messages, err := s.SignDoc(ctx, a)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := cms.Provided(messages[0], r.Algorithm, r.Digests[0], a.Credential.Leaf()); err != nil {
			t.Error(err)
		}
		s.refusedNothing(t)
		s.Behave(csctest.NoCertificate, "credentials/info")
		if oauth2 {
			way, err := s.Begin(r, "")
			if err != nil {
				t.Fatal(err)
			}
			_, err = s.Complete(ctx, nil, way, s.browse(t, way.URL, john, pin, "yes"))
			wants(t, err, WrongAnswer)
		} else {
			_, err := s.Authorize(ctx, nil, r, map[string]Secret{"PIN": pin})
			wants(t, err, WrongAnswer)
		}
	}
}

// The leaf that was prepared for is not the one that signs.
func TestChanged(t *testing.T) {
	t.Parallel()
	s := start(t, nil, csctest.Credential{ID: "A", Type: csctest.P256, OAuth2: true}, csctest.Credential{ID: "B", Type: csctest.P256, User: "jane-0815", PIN: true})
	r := request(t, s.one(t), 1)
	way, err := s.Begin(r, "")
	if err != nil {
		t.Fatal(err)
	}
	s.Behave(csctest.NewCertificate, "credentials/info")
	_, err = s.Complete(context.Background(), nil, way, s.browse(t, way.URL, john, pin, "yes"))
	wants(t, err, Changed)
	janes, _, err := s.Credentials(context.Background(), nil, "jane-0815")
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Authorize(context.Background(), nil, request(t, janes[0], 1), map[string]Secret{"PIN": "314159"})
	wants(t, err, Changed)
	if s.calls("signatures/signHash") != 0 {
		t.Error("signHash was called")
	}
}

// Whatever signature comes back that is not the one over these digests with this
// certificate is not handed on.
func TestWrongSignatures(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := start(t, nil, csctest.Credential{ID: "A", Type: csctest.P256, PIN: true, Multisign: 2})
	cred := s.one(t)
	r := request(t, cred, 2)
	for _, c := range []struct {
		b      csctest.Behaviour
		reason Reason
	}{
		{csctest.WrongHash, WrongSignature},
		{csctest.OtherKey, WrongSignature},
		{csctest.Swapped, WrongSignature},
		{csctest.Fewer, WrongAnswer},
		{csctest.Lines, WrongAnswer},
		{csctest.UsedUp, Expired},
		{csctest.Half, WrongAnswer},
		{csctest.Page, WrongAnswer},
		{csctest.Text, WrongAnswer},
		{csctest.Huge, WrongAnswer},
	} {
		s.Behave(c.b, "signatures/signHash", "signatures/signDoc")
		if values, err := s.SignHash(ctx, s.authorised(t, nil, r)); err == nil || values != nil {
			t.Errorf("%s: signHash gave %d values, %v", c.b, len(values), err)
		} else {
			wants(t, err, c.reason)
		}
		if messages, err := s.SignDoc(ctx, s.authorised(t, nil, r)); err == nil || messages != nil {
			t.Errorf("%s: signDoc gave %d messages, %v", c.b, len(messages), err)
		} else {
			wants(t, err, c.reason)
		}
	}
}

// What a credential cannot sign is refused before anything leaves.
func TestImpossibleRequests(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := start(t, nil, csctest.Credential{ID: "A", Type: csctest.P256, PIN: true}, csctest.Credential{ID: "B", User: "jane-0815", Type: csctest.P256, OAuth2: true})
	cred := s.one(t)
	good := request(t, cred, 1)
	answers := map[string]Secret{"PIN": pin}
	before := len(s.Requests())
	for name, c := range map[string]struct {
		change  func(*Request)
		answers map[string]Secret
		reason  Reason
	}{
		"too many":          {func(r *Request) { r.Digests = append(r.Digests, r.Digests[0]) }, answers, NotOffered},
		"none":              {func(r *Request) { r.Digests = nil }, answers, NotOffered},
		"other algorithm":   {func(r *Request) { r.Algorithm = cms.RS256 }, answers, NotOffered},
		"short digest":      {func(r *Request) { r.Digests = [][]byte{make([]byte, 20)} }, answers, HashRefused},
		"no PIN":            {nil, nil, InvalidFactor},
		"empty PIN":         {nil, map[string]Secret{"PIN": ""}, InvalidFactor},
		"answer for nobody": {nil, map[string]Secret{"PIN": pin, "OTP": "1"}, InvalidFactor},
	} {
		r := good
		if c.change != nil {
			c.change(&r)
		}
		_, err := s.Authorize(ctx, nil, r, c.answers)
		if err == nil {
			t.Errorf("%s: authorised", name)
			continue
		}
		wants(t, err, c.reason)
	}
	_, err := s.Begin(good, "")
	wants(t, err, NotOffered)
	_, err = s.Challenge(ctx, nil, cred, "OTP")
	wants(t, err, NotOffered)
	if n := len(s.Requests()); n != before {
		t.Errorf("%d requests", n-before)
	}
}

// The way through the browser.
func TestRedirect(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := start(t, nil, csctest.Credential{ID: "A", Type: csctest.P256, OAuth2: true})
	r := request(t, s.one(t), 1)
	begin := func() *Redirect {
		way, err := s.Begin(r, "")
		if err != nil {
			t.Fatal(err)
		}
		return way
	}
	way := begin()
	_, err := s.Complete(ctx, nil, way, s.browse(t, way.URL, john, pin, "no"))
	wants(t, err, Denied)

	// Somebody else's return, with a good code: no code is spent on it.
	way, other := begin(), begin()
	back := s.browse(t, other.URL, john, pin, "yes")
	before := s.calls("oauth2/token")
	_, err = s.Complete(ctx, nil, way, back)
	wants(t, err, OtherState)
	forged := url.Values{"error": {"access_denied"}, "state": {"guessed"}}
	_, err = s.Complete(ctx, nil, way, forged)
	wants(t, err, OtherState)
	_, err = s.Complete(ctx, nil, way, url.Values{"code": {"x", "y"}, "state": {way.State}})
	wants(t, err, OtherState)
	_, err = s.SignedIn(ctx, way, back)
	wants(t, err, OtherState)
	if s.calls("oauth2/token") != before {
		t.Error("the token endpoint was asked")
	}
	if _, err := s.Complete(ctx, nil, other, back); err != nil {
		t.Error(err)
	}
	// The same return a second time.
	_, err = s.Complete(ctx, nil, other, back)
	wants(t, err, Expired)

	// Another verifier, as somebody would have who saw the code only.
	way = begin()
	back = s.browse(t, way.URL, john, pin, "yes")
	way.Verifier = random()
	_, err = s.Complete(ctx, nil, way, back)
	wants(t, err, Expired)

	// The page let the person choose another credential.
	way = begin()
	back = s.browse(t, way.URL, john, pin, "yes")
	s.Behave(csctest.Another, "oauth2/token")
	_, err = s.Complete(ctx, nil, way, back)
	wants(t, err, WrongAnswer)
	s.Behave(csctest.Honest)

	// Too late.
	way = begin()
	back = s.browse(t, way.URL, john, pin, "yes")
	s.clock.pass(redirectLife + time.Second)
	_, err = s.Complete(ctx, nil, way, back)
	wants(t, err, Expired)

	// A new one for each.
	if a, b := begin(), begin(); a.State == b.State || a.Verifier == b.Verifier || len(a.State) < 43 || len(a.Verifier) < 43 {
		t.Error("state and verifier are not fresh")
	}
}
