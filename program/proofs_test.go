package program

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"log/slog"
	"slices"
	"testing"
	"time"

	"milterd/auth"
	"milterd/config"
	"milterd/workflow"
)

// What the configuration says of proofs, enrolments and certificates reaches
// the rooms that must heed it.
func TestProofsAndEnrolments(t *testing.T) {
	c := configured(t)
	c.Proofs = config.Proofs{Standard: []string{"passkey"}, Advanced: []string{"totp", "passkey"}}
	c.Enrolment = config.Enrolment{Ways: []string{"password", "administrator"}, PasswordTries: 2}
	c.Certificates.Lifetime = config.Days(7)
	p, err := Build(t.Context(), c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if p.Enrolments.Passwords != nil || p.Enrolments.PasswordTries != 2 || !slices.Equal(p.Enrolments.Ways, c.Enrolment.Ways) {
		t.Errorf("enrolments: %+v", p.Enrolments)
	}
	if got := p.proofs(); got.Check(workflow.Standard, auth.ProofCode) == nil || got.Check(workflow.Standard, auth.ProofPasskey) != nil ||
		got.Check(workflow.Advanced, auth.ProofTOTP) != nil || got.Check(workflow.Qualified, auth.ProofPasskey) == nil {
		t.Errorf("proofs: %v", got)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	d, err := p.Desk.Certifier.Draft(workflow.Person{Mail: "jane@corp.test", Name: "Jane Roe"}, csr, now)
	if err != nil || d.NotAfter.Sub(now).Round(time.Hour) != 7*24*time.Hour {
		t.Errorf("a certificate until %v, %v", d, err)
	}
}

// LDAP knows passwords; nothing asks it for one before somebody enrols.
func TestPasswordsAreLDAPs(t *testing.T) {
	c := configured(t)
	c.Directory.LDAP.Servers, c.Directory.LDAP.Base = []string{"ldaps://ldap.corp.test"}, "dc=corp,dc=test"
	p, err := Build(t.Context(), c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if p.Enrolments.Passwords == nil {
		t.Error("the directory's passwords are not asked for")
	}
}
