package remote

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"milterd/auth"
	"milterd/signer/openotp"
	"milterd/signer/openotp/openotptest"
	"milterd/workflow"
)

// booth is a stand-in OpenOTP server with John's phone, and milterd's side of it.
type booth struct {
	*Phones
	server *openotptest.Server
	back   func(file []byte) []byte // what comes back; nil: file and a signature
	log    *bytes.Buffer
}

const apiKey = "the k3y of the desk"

func newBooth(t *testing.T) *booth {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "John"}, NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	b := &booth{log: &bytes.Buffer{}}
	b.server, err = openotptest.New(openotptest.Config{APIKey: apiKey, Client: "milterd", Users: []string{john.Mail},
		Sign: func(file []byte, user, mode, scope string) ([]byte, []byte, error) {
			if b.back != nil {
				return b.back(file), der, nil
			}
			return fmt.Appendf(bytes.Clone(file), " signed by %s, %s, %s", user, mode, scope), der, nil
		}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.server.Close() })
	client, err := openotp.New(openotp.Server{Name: "Corp Phones", URL: b.server.URL, APIKey: apiKey, Client: "milterd", Timeout: 500 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	keys, err := auth.NewKeys(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	b.Phones = &Phones{Client: client, Scopes: map[workflow.Level]openotp.Scope{workflow.Qualified: openotp.EIDAS}, Seal: keys.Seal, Unseal: keys.Unseal, Log: slog.New(slog.NewTextHandler(b.log, nil)), agree: 150 * time.Millisecond, every: 20 * time.Millisecond}
	t.Cleanup(func() {
		if strings.Contains(b.log.String(), apiKey) {
			t.Errorf("the key is in the log: %s", b.log)
		}
	})
	return b
}

// pdfs are the files that are given away.
var pdfs = [][]byte{[]byte("%PDF-1.7 the contract"), []byte("%PDF-1.7 the annex")}

func (b *booth) order(t *testing.T) (kept []byte) {
	t.Helper()
	kept, err := b.Order(t.Context(), Order{Preparation: preparation, Level: workflow.Qualified, Mail: john.Mail, Texts: []string{"contract.pdf", "annex.pdf"}, Files: pdfs, Until: time.Now().Add(10 * time.Minute)})
	if err != nil {
		t.Fatalf("%v; refused %q", err, b.server.Refused())
	}
	return kept
}

// pending are the server's orders that wait.
func (b *booth) pending(t *testing.T) (ids []string) {
	t.Helper()
	raw, err := b.Client.List(t.Context())
	if err == nil {
		err = json.Unmarshal(raw, &ids)
	}
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

func (b *booth) check(t *testing.T, kept []byte) ([][]byte, []byte, error) {
	return b.Check(t.Context(), preparation, john.Mail, pdfs, kept)
}

// An answer that is under way when a check has waited long enough is not lost: the
// server tells a result once.
func TestPhonesSlowAnswer(t *testing.T) {
	t.Parallel()
	b := newBooth(t)
	kept := b.order(t)
	for _, id := range b.pending(t) {
		if err := b.server.Agree(id); err != nil {
			t.Fatal(err)
		}
	}
	b.server.Behave(openotptest.Slow, "openotpCheckSign")
	var made [][]byte
	for range 4 {
		var err error
		if made, kept, err = b.check(t, kept); err != nil {
			t.Fatal(err)
		}
		if made != nil {
			return
		}
	}
	t.Error("nothing came")
}

// Two documents, agreed to one after the other: what the first signature adds waits with
// the browser, where nobody can read or change it.
func TestPhones(t *testing.T) {
	t.Parallel()
	b := newBooth(t)
	kept := b.order(t)
	made, kept, err := b.check(t, kept)
	if made != nil || kept == nil || err != nil {
		t.Fatalf("before anybody agrees: %q, %v", made, err)
	}
	image, err := b.Touch(t.Context(), preparation, john.Mail, kept, true)
	if err != nil || !bytes.HasPrefix(image, []byte("\x89PNG")) {
		t.Errorf("code to scan: %x, %v", image, err)
	}
	ids := b.pending(t)
	shown := map[string]bool{}
	touched := 0
	for _, id := range ids {
		text, n := b.server.Shown(id)
		shown[text] = true
		touched += n
	}
	if len(ids) != 2 || !shown["contract.pdf"] || !shown["annex.pdf"] || touched != 1 {
		t.Fatalf("pending: %v, %d pushes", shown, touched)
	}
	if err := b.server.Agree(ids[0]); err != nil {
		t.Fatal(err)
	}
	made, kept, err = b.check(t, kept)
	if made != nil || kept == nil || err != nil || bytes.Contains(kept, []byte("signed by")) {
		t.Fatalf("after the first: %q, %v", made, err)
	}
	b.server.Behave(openotptest.Down, "openotpCheckSign")
	if made, kept, err = b.check(t, kept); made != nil || kept == nil || err != nil {
		t.Fatalf("while it is away: %q, %v", made, err)
	}
	b.server.Behave(openotptest.Honest, "openotpCheckSign")
	if err := b.server.Agree(ids[1]); err != nil {
		t.Fatal(err)
	}
	made, _, err = b.check(t, kept)
	if want := " signed by " + john.Mail + ", pades, eIDAS"; err != nil || len(made) != 2 || string(made[0]) != want || string(made[1]) != want {
		t.Fatalf("%q, %v", made, err)
	}
	if odd := b.server.Refused(); len(odd) > 0 {
		t.Errorf("the stand-in refused %q", odd)
	}
}

// A no, another document, too much of it: a reason each, and nothing stays pending.
func TestPhonesRefuse(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		do     func(b *booth, ids []string)
		reason string
	}{
		"declined": {func(b *booth, ids []string) { b.server.Decline(ids[0], "not\u202e me") }, "openotp-denied"},
		"another document": {func(b *booth, ids []string) {
			b.back = func([]byte) []byte { return []byte("%PDF-1.7 another, signed") }
			b.server.Agree(ids[0])
		}, "foreign-document"},
		"a byte of it": {func(b *booth, ids []string) {
			b.back = func(f []byte) []byte { f = bytes.Clone(f); f[9] ^= 1; return append(f, "signed"...) }
			b.server.Agree(ids[1])
		}, "foreign-document"},
		"cut short": {func(b *booth, ids []string) {
			b.back = func(f []byte) []byte { return f[:len(f)-1] }
			b.server.Agree(ids[0])
		}, "foreign-document"},
		"far too much": {func(b *booth, ids []string) {
			b.back = func(f []byte) []byte { return append(bytes.Clone(f), make([]byte, maxMade+1)...) }
			b.server.Agree(ids[0])
		}, "signature-too-large"},
		"no file": {func(b *booth, ids []string) {
			b.server.Behave(openotptest.NoFile, "openotpCheckSign")
			b.server.Agree(ids[0])
		}, "openotp-answer"},
		"half an answer":      {func(b *booth, ids []string) { b.server.Behave(openotptest.Half, "openotpCheckSign") }, "openotp-answer"},
		"cancelled elsewhere": {func(b *booth, ids []string) { b.Client.Cancel(t.Context(), &openotp.Session{ID: ids[0]}) }, "openotp-expired"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBooth(t)
			kept := b.order(t)
			c.do(b, b.pending(t))
			made, again, err := b.check(t, kept)
			if again != nil {
				t.Error("something is kept")
			}
			p := place{}
			p.refused(t, name, made, err, c.reason, map[bool]int{true: 450, false: 550}[c.reason == "openotp-answer"])
			b.server.Behave(openotptest.Honest, "openotpCheckSign")
			for _, id := range b.pending(t) {
				t.Errorf("%s is still pending", id)
			}
		})
	}
	b := newBooth(t)
	b.server.Behave(openotptest.Down, "openotpNormalSign")
	_, err := b.Order(t.Context(), Order{Preparation: preparation, Level: workflow.Qualified, Mail: john.Mail, Texts: []string{"contract.pdf"}, Files: pdfs[:1], Until: time.Now()})
	p := place{}
	p.refused(t, "away", nil, err, "openotp-away", 450)
	b.server.Behave(openotptest.Honest, "openotpNormalSign")
	_, err = b.Order(t.Context(), Order{Preparation: preparation, Level: workflow.Qualified, Mail: "nobody@corp.test", Texts: []string{"contract.pdf"}, Files: pdfs[:1], Until: time.Now()})
	p.refused(t, "unknown there", nil, err, "openotp-user", 550)
}

// What the browser keeps is for its preparation and its person, and for nobody to change.
func TestPhonesKept(t *testing.T) {
	t.Parallel()
	b := newBooth(t)
	kept := b.order(t)
	changed := bytes.Clone(kept)
	changed[len(changed)/2] ^= 1
	p := place{}
	for name, c := range map[string]struct {
		id, mail string
		kept     []byte
		files    [][]byte
	}{
		"another preparation": {"preparation2", john.Mail, kept, pdfs},
		"somebody else":       {preparation, "jane@corp.test", kept, pdfs},
		"changed":             {preparation, john.Mail, changed, pdfs},
		"nothing":             {preparation, john.Mail, nil, pdfs},
		"fewer documents":     {preparation, john.Mail, kept, pdfs[:1]},
	} {
		made, _, err := b.Check(t.Context(), c.id, c.mail, c.files, c.kept)
		p.refused(t, name, made, err, "preparation-gone", 550)
		if len(c.files) == 2 {
			_, err = b.Touch(t.Context(), c.id, c.mail, c.kept, true)
			p.refused(t, name+", reminded", nil, err, "preparation-gone", 550)
			err = b.Cancel(t.Context(), c.id, c.mail, c.kept)
			p.refused(t, name+", cancelled", nil, err, "preparation-gone", 550)
		}
	}
	if len(b.pending(t)) != 2 || slices.Contains(b.server.Calls(), "openotpCancelSign") {
		t.Error("somebody else's order was touched")
	}
	if err := b.Cancel(t.Context(), preparation, john.Mail, kept); err != nil || len(b.pending(t)) != 0 {
		t.Errorf("taken back: %v", err)
	}
}

// Each level has its scope, and a level without one reaches no server.
func TestPhonesScopes(t *testing.T) {
	t.Parallel()
	b := newBooth(t)
	b.Scopes = map[workflow.Level]openotp.Scope{workflow.Advanced: openotp.Local, workflow.Qualified: openotp.EIDAS}
	for level, scope := range b.Scopes {
		kept, err := b.Order(t.Context(), Order{Preparation: preparation, Level: level, Mail: john.Mail, Texts: []string{"contract.pdf"}, Files: pdfs[:1], Until: time.Now().Add(10 * time.Minute)})
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range b.pending(t) {
			if err := b.server.Agree(id); err != nil {
				t.Fatal(err)
			}
		}
		made, _, err := b.Check(t.Context(), preparation, john.Mail, pdfs[:1], kept)
		if err != nil || len(made) != 1 || !strings.HasSuffix(string(made[0]), ", pades, "+string(scope)) {
			t.Errorf("%s: %q, %v", level, made, err)
		}
	}
	delete(b.Scopes, workflow.Qualified)
	for level, offered := range map[workflow.Level]bool{workflow.Standard: false, workflow.Advanced: true, workflow.Qualified: false, "": false} {
		if b.Offers(level) != offered {
			t.Errorf("%s: offers %v", level, b.Offers(level))
		}
		if offered {
			continue
		}
		_, err := b.Order(t.Context(), Order{Preparation: preparation, Level: level, Mail: john.Mail, Texts: []string{"contract.pdf"}, Files: pdfs[:1], Until: time.Now().Add(10 * time.Minute)})
		var r *workflow.Refusal
		if !errors.As(err, &r) || r.Reason != "level-unavailable" || len(b.pending(t)) > 0 {
			t.Errorf("%s: %v, pending %q", level, err, b.pending(t))
		}
	}
}
