package csc

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode"

	"milterd/signer/csc/csctest"
)

// Of what is sent, every word is accounted for: names of the interface, the user id,
// digests, the credential's id, secrets of the authorisation. Nothing of a document or
// a person is among it.
func TestOnlyDigestsLeave(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for _, rich := range []bool{false, true} {
		s := start(t, func(c *csctest.Config, p *Provider) { c.RichRequests, p.RichRequests = rich, rich },
			csctest.Credential{ID: "A", Key: rsa2048(), PSS: true, PIN: true, OTP: true}, csctest.Credential{ID: "B", User: "jane-0815", Type: csctest.P256, OAuth2: true})
		cred := s.one(t)
		r := request(t, cred, 1)
		if _, err := s.SignHash(ctx, s.authorised(t, nil, r)); err != nil {
			t.Fatal(err)
		}
		if _, err := s.SignDoc(ctx, s.authorised(t, nil, r)); err != nil {
			t.Fatal(err)
		}
		janes, _, err := s.Credentials(ctx, nil, "jane-0815")
		if err != nil {
			t.Fatal(err)
		}
		r2 := request(t, janes[0], 1)
		way, err := s.Begin(r2, "de")
		if err != nil {
			t.Fatal(err)
		}
		back := s.browse(t, way.URL, "jane-0815", "314159", "yes")
		a, err := s.Complete(ctx, nil, way, back)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.SignHash(ctx, a); err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse(way.URL)
		if err != nil {
			t.Fatal(err)
		}
		known := map[string]bool{}
		for _, v := range []string{
			john, "jane-0815", "A", "B", pin, "PIN", "OTP", "APP", "chain", "1", "true", "P", "Revision", "de", "code", "credential", "service", "S256",
			clientID, secret, returnTo, "client_credentials", "authorization_code", way.State, way.Verifier, back.Get("code"), u.Query().Get("code_challenge"),
			base64.StdEncoding.EncodeToString(r.Digests[0]), base64.StdEncoding.EncodeToString(r2.Digests[0]), base64.URLEncoding.EncodeToString(r2.Digests[0]),
			r.Algorithm.HashOID().String(), r.Algorithm.OID().String(), "1.2.840.10045.2.1", base64.StdEncoding.EncodeToString(r.Algorithm.Parameters()),
		} {
			known[v] = true
		}
		words := 0
		var walk func(call string, x any)
		walk = func(call string, x any) {
			switch x := x.(type) {
			case map[string]any:
				for name, v := range x {
					// Opaque values of the stand-in's own, and what the phone said.
					if name == "SAD" || name == "value" {
						continue
					}
					walk(call, v)
				}
			case []any:
				for _, v := range x {
					walk(call, v)
				}
			default:
				words++
				if !known[fmt.Sprint(x)] {
					t.Errorf("%s sent %v", call, x)
				}
			}
		}
		for _, q := range s.Requests() {
			if q.Method == http.MethodPost && q.Call == "oauth2/authorize" {
				continue // the person's own browser
			}
			address, err := url.Parse(q.URL)
			if err != nil {
				t.Fatal(err)
			}
			form := address.Query()
			var parsed any
			if json.Unmarshal([]byte(q.Body), &parsed) == nil {
				walk(q.Call, parsed)
			} else if body, err := url.ParseQuery(q.Body); err != nil {
				t.Errorf("%s sent %q", q.Call, q.Body)
			} else {
				for name, v := range body {
					form[name] = v
				}
			}
			for name, v := range form {
				var details any
				if name == "authorization_details" && json.Unmarshal([]byte(v[0]), &details) == nil {
					walk(q.Call, details)
					continue
				}
				for _, one := range v {
					walk(q.Call, one)
				}
			}
		}
		if words < 60 {
			t.Errorf("only %d words were looked at", words)
		}
	}
}

// A provider that repeats what it was sent, with control characters: no secret gets
// into an error, and nothing that would forge a log line or turn its direction.
func TestSecretsNeverShow(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := start(t, nil, csctest.Credential{ID: "A", Type: csctest.P256, PIN: true, OTP: true}, csctest.Credential{ID: "B", User: "jane-0815", Type: csctest.P256, OAuth2: true})
	cred := s.one(t)
	r := request(t, cred, 1)
	janes, _, err := s.Credentials(ctx, nil, "jane-0815")
	if err != nil {
		t.Fatal(err)
	}
	way, err := s.Begin(request(t, janes[0], 1), "")
	if err != nil {
		t.Fatal(err)
	}
	back := s.browse(t, way.URL, "jane-0815", "314159", "yes")
	a := s.authorised(t, nil, r)
	bearer := <-s.service
	s.service <- bearer
	otp := Secret("918273")
	key := &Key{c: s.Client, cred: cred, answers: map[string]Secret{"PIN": pin}}
	secrets := []string{secret, url.QueryEscape(secret), pin, string(otp), string(a.sad), string(bearer.value), way.State, way.Verifier, back.Get("code")}
	look := func(what, text string) {
		t.Helper()
		for _, x := range secrets {
			if strings.Contains(text, x) {
				t.Errorf("%s shows %q: %s", what, x, text)
			}
		}
		if strings.ContainsFunc(text, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }) {
			t.Errorf("%s: %q", what, text)
		}
	}
	s.Behave(csctest.Echo)
	errs := map[string]error{}
	_, errs["authorize"] = s.Authorize(ctx, nil, r, map[string]Secret{"PIN": pin, "OTP": otp})
	_, errs["signHash"] = s.SignHash(ctx, a)
	_, errs["info"] = s.Client.Credential(ctx, nil, "A")
	_, errs["complete"] = s.Complete(ctx, nil, way, back)
	s.clock.pass(2 * time.Hour)
	_, errs["token"] = s.Client.Credential(ctx, nil, "A")
	for call, err := range errs {
		var e *Error
		if !errors.As(err, &e) {
			t.Fatalf("%s: %v", call, err)
		}
		if e.Said == "" || !strings.Contains(e.Said, "nope") || len([]rune(e.Said)) > maxSaid {
			t.Errorf("%s: it said %q", call, e.Said)
		}
		look(call, err.Error())
		if len(err.Error()) > 1000 {
			t.Errorf("%s: %d bytes of error", call, len(err.Error()))
		}
		look(call, fmt.Sprintf("%+v", *e))
		if strings.Contains(e.Sentence(), "nope") || !strings.Contains(e.Sentence(), "Example Trust") {
			t.Errorf("%s: sentence %q", call, e.Sentence())
		}
	}
	for _, x := range []any{s.Client, *s.Client, s.p, &s.p, a, *a, bearer, *bearer, way, *way, key, *key, Secret(pin), map[string]Secret{"PIN": pin}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			look(fmt.Sprintf("%s of %T", verb, x), fmt.Sprintf(verb, x))
		}
		var log bytes.Buffer
		slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "x", x)
		slog.New(slog.NewTextHandler(&log, nil)).Info("x", "x", x)
		look(fmt.Sprintf("slog of %T", x), log.String())
	}
	// Kept as JSON on purpose, a redirect comes back whole.
	b, err := json.Marshal(way)
	var again Redirect
	if err != nil || json.Unmarshal(b, &again) != nil || again.Verifier != way.Verifier || !bytes.Equal(again.Leaf, way.Leaf) {
		t.Errorf("redirect: %s, %v", b, err)
	}
}
