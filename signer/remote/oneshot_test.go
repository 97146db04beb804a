package remote

import (
	"crypto/sha256"
	"crypto/x509"
	"testing"
	"time"

	"milterd/signature/cms"
	"milterd/signer/csc/csctest"
	"milterd/workflow"
)

// ranges are digests of the ByteRanges of two documents.
var ranges = func() (out [][]byte) {
	for _, d := range []string{"the contract", "the annex"} {
		sum := sha256.Sum256([]byte(d))
		out = append(out, sum[:])
	}
	return out
}()

// once is what a preparation keeps of John's only key, whose certificate nobody knows yet.
func (p *place) once(t *testing.T) *workflow.Acceptance {
	t.Helper()
	q := p.found(t)
	if len(q.Chain) != 0 || q.Algorithm != "ES256" {
		t.Fatalf("a certificate before its time: %+v", q)
	}
	return q
}

// made checks complete messages, and gives the certificate that signed both.
func made(t *testing.T, messages [][]byte, err error) (signer *x509.Certificate) {
	t.Helper()
	if err != nil || len(messages) != len(ranges) {
		t.Fatalf("%d messages: %v", len(messages), err)
	}
	for i, der := range messages {
		m, err := cms.Parse(der)
		if err != nil {
			t.Fatal(err)
		}
		by, err := m.Verify(ranges[i])
		if err != nil {
			t.Fatal(err)
		}
		if signer != nil && !signer.Equal(by) {
			t.Error("two certificates in one authorisation")
		}
		signer = by
	}
	return signer
}

// A certificate for each signature: by what is typed, on a phone, and on the provider's
// page; two documents by one authorisation, and another certificate the next time.
func TestOneShot(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]csctest.Credential{"PIN": {PIN: true}, "PIN and code": {PIN: true, OTP: true}, "phone": {App: true}, "page": {OAuth2: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.ID, c.OneShot, c.Multisign = "A", true, 2
			p := start(t, c)
			p.every, p.agree = 20*time.Millisecond, 10*time.Second
			var before *x509.Certificate
			for range 2 {
				q := p.once(t)
				var messages [][]byte
				var err error
				switch {
				case c.OAuth2:
					address, kept, e := p.Leave(t.Context(), q, preparation, john.Mail, ranges, "en")
					if e != nil {
						t.Fatal(e)
					}
					messages, err = p.Return(t.Context(), q, preparation, john.Mail, ranges, kept, p.browse(t, address, "yes"))
				case c.App:
					n := p.calls("credentials/authorizeCheck")
					go func() {
						for p.calls("credentials/authorizeCheck") == n {
							time.Sleep(5 * time.Millisecond)
						}
						p.Agree("A")
					}()
					messages, err = p.Sign(t.Context(), q, ranges, nil)
				default:
					answers := map[string]string{"PIN": pin}
					if c.OTP {
						if _, err := p.Challenge(t.Context(), q, "OTP"); err != nil {
							t.Fatal(err)
						}
						answers["OTP"] = p.OTP(john.Mail)
					}
					messages, err = p.Sign(t.Context(), q, ranges, answers)
				}
				signer := made(t, messages, err)
				if signer.Equal(before) {
					t.Error("the same certificate twice")
				}
				before = signer
			}
			if p.calls("signatures/signDoc") != 2 || p.calls("signatures/signHash") != 0 {
				t.Error("not by signDoc, or not by one authorisation each")
			}
			if odd := p.Refused(); len(odd) > 0 {
				t.Errorf("the stand-in refused %q", odd)
			}
		})
	}
}

// What a provider makes is verified before it is handed on; what it cannot judge, such as
// attributes beside those asked for, the Signer does (signer.TestTakeRefuses).
func TestOneShotMisbehaves(t *testing.T) {
	t.Parallel()
	p := start(t, csctest.Credential{ID: "A", OneShot: true, PIN: true, Multisign: 2})
	sign := func() ([][]byte, error) { return p.Sign(t.Context(), p.once(t), ranges, map[string]string{"PIN": pin}) }
	for _, c := range []struct {
		call   string
		b      csctest.Behaviour
		reason string
		code   int
	}{
		{"signatures/signDoc", csctest.WrongHash, "qtsp-signature", 450},
		{"signatures/signDoc", csctest.OtherKey, "qtsp-signature", 450},
		{"signatures/signDoc", csctest.Swapped, "qtsp-signature", 450},
		{"signatures/signDoc", csctest.TwoSigners, "qtsp-signature", 450},
		{"signatures/signDoc", csctest.Attached, "qtsp-signature", 450},
		{"signatures/signDoc", csctest.OwnTime, "qtsp-signature", 450},
		{"signatures/signDoc", csctest.Fewer, "qtsp-answer", 450},
		{"signatures/signDoc", csctest.UsedUp, "authorisation-expired", 550},
		{"signatures/signDoc", csctest.Down, "qtsp-away", 450},
		{"signatures/signDoc", csctest.Silent, "qtsp-away", 450},
		{"signatures/signDoc", csctest.Half, "qtsp-answer", 450},
		{"signatures/signDoc", csctest.Huge, "qtsp-answer", 450},
		{"signatures/signDoc", csctest.Echo, "qtsp-refused", 450},
		{"credentials/authorize", csctest.Down, "qtsp-away", 450},
	} {
		p.Behave(csctest.Honest)
		if messages, err := sign(); err != nil { // spends what was left over
			t.Fatalf("%d messages: %v", len(messages), err)
		}
		p.Behave(c.b, c.call)
		messages, err := sign()
		p.refused(t, c.call+" "+string(c.b), messages, err, c.reason, c.code)
		p.Behave(csctest.Honest)
		if p.Leaf("A") != nil { // what failed before its use leaves a certificate behind: its time is over soon
			if _, err := p.Sign(t.Context(), &workflow.Acceptance{By: provider, Credential: "A", Algorithm: "ES256"}, ranges, map[string]string{"PIN": pin}); err != nil {
				t.Errorf("after %s %s: %v", c.call, c.b, err)
			}
		}
	}
	p.Behave(csctest.NoCertificate, "credentials/info")
	messages, err := sign()
	p.refused(t, "no certificate even then", messages, err, "qtsp-answer", 450)
}

// What the browser keeps is for a certificate to come, and for these digests.
func TestOneShotReturn(t *testing.T) {
	t.Parallel()
	p := start(t, csctest.Credential{ID: "A", OneShot: true, OAuth2: true, Multisign: 2})
	q := p.once(t)
	address, kept, err := p.Leave(t.Context(), q, preparation, john.Mail, ranges, "en")
	if err != nil {
		t.Fatal(err)
	}
	query := p.browse(t, address, "yes")
	messages, err := p.Return(t.Context(), q, preparation, john.Mail, [][]byte{ranges[1], ranges[0]}, kept, query)
	p.refused(t, "in another order", messages, err, "preparation-gone", 550)
	messages, err = p.Return(t.Context(), q, preparation, john.Mail, attributes, kept, query)
	p.refused(t, "for other documents", messages, err, "preparation-gone", 550)
	known := *q
	known.Chain = [][]byte{p.Leaf("A")}
	messages, err = p.Return(t.Context(), &known, preparation, john.Mail, ranges, kept, query)
	p.refused(t, "for a certificate that was known", messages, err, "preparation-gone", 550)
	messages, err = p.Return(t.Context(), q, preparation, john.Mail, ranges, kept, query)
	made(t, messages, err)
}
