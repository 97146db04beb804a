package demo

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"milterd/pki/qualified/qualifiedtest"
	"milterd/signer/csc/csctest"
	"milterd/validate"
)

// qualified does the cases of level Qualified: one signatory types the PIN on milterd's
// page, the other agrees on the provider's; before them, certificates that must be
// refused.
func (r *run) qualified(ctx context.Context) {
	fmt.Fprintf(r.out, "Provider: a %s holds everybody's key, and trusted lists of its own vouch for it.\nNothing that it signs is qualified; milterd speaks to it as to a real one.\n", StandIn)
	for i, c := range append(scenarios(r.people), files(r.people)[1]) {
		c.title += ", at level Qualified"
		c.draft.Subject = strings.NewReplacer("[Standard]", "[Qualified]", ": standard", ": qualified", "[asic]", "[asic] [Qualified]").Replace(c.draft.Subject)
		fmt.Fprintf(r.out, "%s\n", c.title)
		ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
		v := &visitor{scenario: c}
		_ = r.invite(ctx, v) && r.openByCode(ctx, v) && (i > 0 || r.unqualified(ctx, v)) && r.signRemotely(ctx, v) && r.resultQualified(ctx, v)
		cancel()
	}
}

// remoteKey is a person's key at the provider, as the page sees it.
type remoteKey struct {
	ID   string `json:"id"`
	Page bool   `json:"page"`
}

func (v *visitor) keys(ctx context.Context) ([]remoteKey, error) {
	var out struct {
		Keys []remoteKey `json:"keys"`
	}
	_, _, err := v.b.Post(ctx, "qualified/keys", map[string]any{"provider": StandIn}, &out)
	if err == nil && len(out.Keys) == 0 {
		err = errors.New("no key")
	}
	return out.Keys, err
}

// prepareQualified has the revisions prepared and checks them as the page does.
func (v *visitor) prepareQualified(ctx context.Context, key string) (p Preparation, certificate []byte, err error) {
	var out struct {
		Preparation
		Certificate []byte `json:"certificate"`
		Hash        string `json:"hash"`
	}
	_, _, err = v.b.Post(ctx, "qualified/prepare", map[string]any{"shown": v.shown, "appearance": v.appearance, "provider": StandIn, "key": key}, &out)
	if err != nil {
		return p, nil, err
	}
	if out.Hash != "SHA-256" {
		return p, nil, fmt.Errorf("the key signs by %q", out.Hash)
	}
	return out.Preparation, out.Certificate, v.b.checkPrepared(ctx, out.Preparation, map[int][]byte{0: v.content}, v.files(), out.Certificate)
}

// unqualified tries keys whose certificates must be refused, each for its reason.
func (r *run) unqualified(ctx context.Context, v *visitor) bool {
	for i, c := range []struct {
		what, want string
		spoil      func(*qualifiedtest.Request)
	}{
		{"certificate without a qualified device", "no-qscd", func(q *qualifiedtest.Request) { q.NoQSCD = true }},
		{"certificate that is not qualified", "not-qualified", func(q *qualifiedtest.Request) { q.NoCompliance = true }},
		{"somebody else's certificate", "wrong-person", func(q *qualifiedtest.Request) { q.GivenName = "Mallory" }},
	} {
		ok := r.step(c.what+" refused", func() (string, error) {
			id := fmt.Sprintf("spoilt-%d", i+1)
			r.provider.next = c.spoil
			if err := r.provider.AddCredential(csctest.Credential{ID: id, User: v.signatory.Mail, Type: csctest.P256, PIN: true, Multisign: 10}); err != nil {
				return "", err
			}
			_, _, err := v.prepareQualified(ctx, id)
			return refusedFor(err, c.want)
		})
		if !ok {
			return false
		}
	}
	return true
}

// signRemotely has the provider sign.
func (r *run) signRemotely(ctx context.Context, v *visitor) bool {
	var key remoteKey
	var p Preparation
	return r.step("provider knows the certificate", func() (string, error) {
		all, err := v.keys(ctx)
		if err == nil {
			key = all[0]
		}
		return key.ID, err
	}) && r.step("certificate accepted, revision prepared and checked", func() (note string, err error) {
		p, v.certificate, err = v.prepareQualified(ctx, key.ID)
		return "", err
	}) && (key.Page || r.step("wrong PIN refused", func() (string, error) {
		return refusedFor(v.authorize(ctx, p, "0000"), "invalid-authentication")
	})) && r.step("signed by the provider", func() (string, error) {
		if key.Page {
			return "agreed on the provider's page", v.agree(ctx, p)
		}
		return "PIN typed on milterd's page", v.authorize(ctx, p, standInPIN)
	})
}

func (v *visitor) authorize(ctx context.Context, p Preparation, pin string) error {
	_, _, err := v.b.Post(ctx, "qualified/authorize", map[string]any{"id": p.ID, "answers": map[string]string{"PIN": pin}}, nil)
	return err
}

// agree goes the way of a browser: to the provider's page, and back.
func (v *visitor) agree(ctx context.Context, p Preparation) error {
	var out struct {
		Address string `json:"address"`
		Kept    []byte `json:"kept"`
	}
	if _, _, err := v.b.Post(ctx, "qualified/leave", map[string]any{"id": p.ID, "lang": "en"}, &out); err != nil {
		return err
	}
	form := url.Values{"user": {v.signatory.Mail}, "pin": {standInPIN}, "decision": {"yes"}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, out.Address, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	client := &http.Client{Timeout: patience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	back, err := resp.Location()
	if err != nil {
		return fmt.Errorf("the provider's page answered %s: %w", resp.Status, err)
	}
	_, _, err = v.b.Post(ctx, "qualified/return", map[string]any{"id": p.ID, "kept": out.Kept, "query": back.RawQuery}, nil)
	return err
}

// resultQualified waits for the result and judges it.
func (r *run) resultQualified(ctx context.Context, v *visitor) bool {
	return r.result(ctx, v, func(content []byte) (string, error) {
		res, err := validate.File(content, validate.Options{Anchors: r.anchors()})
		if err != nil {
			return "", err
		}
		signatures, level := summary(res)
		if !res.Passed() || !strings.HasSuffix(string(level), "-BASELINE-LTA") || signatures != 2 {
			return "", errors.New(res.Text())
		}
		s := res.Signatures[0]
		cert, err := x509.ParseCertificate(s.Certificate)
		switch {
		case err != nil:
			return "", err
		case string(s.Certificate) != string(v.certificate):
			return "", fmt.Errorf("signed with the certificate of %s, not the one that was prepared for", s.Subject)
		case res.Format == validate.PDF && !strings.HasPrefix(s.Reason, "Qualified: ") || cert.Subject.CommonName != v.signatory.Name:
			return "", fmt.Errorf("signed by %s, its reason is %q", s.Subject, s.Reason)
		}
		return fmt.Sprintf("%s, %s, signer %s, %q", res.Indication, level, s.Subject, s.Reason), nil
	})
}
