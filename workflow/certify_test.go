package workflow_test

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"milterd/workflow"
)

// rs gives a signature value as WebCrypto does.
func rs(t *testing.T, key *ecdsa.PrivateKey, over []byte) []byte {
	t.Helper()
	digest := sha256.Sum256(over)
	r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
}

// log gives the kinds of the authority's log.
func (d *desk) log(t *testing.T) string {
	t.Helper()
	events, err := d.store.Log(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, e := range events {
		kinds = append(kinds, string(e.Kind))
	}
	return strings.Join(kinds, " ")
}

func (d *desk) certificate(t *testing.T, serial string) *workflow.Certificate {
	t.Helper()
	c, err := d.store.Certificate(t.Context(), serial)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCertify(t *testing.T) {
	d, a := ownDesk(t)
	s := open(t, d, advanced("m1", john))
	v := d.visit(t, s, john)
	// Before the authority signs, the register knows what, and the log why.
	a.issuing = func() {
		all, err := d.store.Certificates(t.Context(), workflow.CertificateFilter{Mail: john.Mail})
		if err != nil || len(all) != 1 || len(all[0].DER) != 0 || all[0].By != "enrolment" || all[0].Credential != "credential of phone" {
			t.Errorf("register: %+v, %v", all, err)
		}
		want(t, "log before it is signed", d.log(t), "issuing")
	}
	dev := d.enrol(t, v, "phone")
	a.issuing = nil
	c := d.certificate(t, dev.serial)
	cert, err := x509.ParseCertificate(c.DER)
	if err != nil {
		t.Fatal(err)
	}
	want(t, "subject", cert.Subject.CommonName, "John Doe") // whoever the request says it is
	want(t, "log", d.log(t), "issuing issued")
	events, _ := d.store.Events(t.Context(), s.ID)
	if e := events[len(events)-1]; e.Kind != workflow.EventCertified || e.Detail["certificate"] != dev.serial || e.Client != "127.0.0.1" {
		t.Errorf("trail ends with %+v", e)
	}
	log, _ := d.store.Log(t.Context())
	for _, k := range []string{"serial", "to", "name", "key sha-256", "credential", "by", "session", "not before", "not after"} {
		if log[0].Detail[k] == "" {
			t.Errorf("the log does not tell %s", k)
		}
	}
	if log[1].Detail["sha-256"] != workflow.Digest(sha256.Sum256(c.DER)).String() {
		t.Errorf("the log tells of %v", log[1].Detail)
	}
}

func TestCertifyRefuses(t *testing.T) {
	d, a := ownDesk(t)
	s := open(t, d, advanced("m1", john, emma))
	vj, ve := d.visit(t, s, john), d.visit(t, s, emma)
	dj, de := d.enrol(t, vj, "phone"), d.enrol(t, ve, "laptop")
	certify := func(v workflow.Visit, csr []byte, credential string) string {
		_, _, err := d.Certify(t.Context(), v, csr, credential, "passkey", "192.0.2.7")
		return reason(err)
	}
	issued, log := a.issued.Load(), d.log(t)
	want(t, "no request", certify(vj, []byte("no"), dj.credential), "bad-csr")
	want(t, "no credential", certify(vj, request(t, newKey(t)), "nobody's"), "credential-revoked")
	want(t, "a colleague's credential", certify(vj, request(t, newKey(t)), de.credential), "credential-revoked")
	want(t, "a colleague's key", certify(vj, request(t, de.key), dj.credential), "key-taken")
	want(t, "signed", a.issued.Load(), issued)
	want(t, "log", d.log(t), log)
	want(t, "trail", d.keyRefusals(t, s.ID), "bad-csr 192.0.2.7, credential-revoked 192.0.2.7, credential-revoked 192.0.2.7, key-taken 192.0.2.7")
	want(t, "the same key once more", certify(vj, request(t, dj.key), dj.credential), "<nil>")
	if err := d.RevokeDevice(t.Context(), dj.credential, "administrator"); err != nil {
		t.Fatal(err)
	}
	want(t, "a revoked device", certify(vj, request(t, newKey(t)), dj.credential), "credential-revoked")
	again := d.enrol(t, vj, "phone again")
	want(t, "a revoked key", certify(vj, request(t, dj.key), again.credential), "key-taken")

	n := 0
	for ; certify(ve, request(t, newKey(t)), de.credential) == "<nil>"; n++ {
	}
	want(t, "certificates of one person in a day", n+1, workflow.CertificatesPerDay)
	want(t, "one more", certify(ve, request(t, newKey(t)), de.credential), "too-many-certificates")
	d.tick(25 * time.Hour)
	want(t, "tomorrow", certify(ve, request(t, newKey(t)), de.credential), "<nil>")
}

// The link of a session whose retention is over makes no certificate: its name is
// that of years ago, perhaps, and the address somebody else's by now.
func TestCertifyAfterRetention(t *testing.T) {
	d, a := ownDesk(t)
	s := open(t, d, advanced("m1", john))
	v := d.visit(t, s, john)
	dev := d.enrol(t, v, "phone")
	if err := d.Cancel(t.Context(), s.ID, ""); err != nil {
		t.Fatal(err)
	}
	if _, _, err := d.Certify(t.Context(), d.visit(t, s, john), request(t, newKey(t)), dev.credential, "passkey", ""); err != nil {
		t.Errorf("before it is over: %v", err)
	}
	if err := d.run(t, s.ID, workflow.JobRetain); err != nil {
		t.Fatal(err)
	}
	v = d.visit(t, s, john)
	issued, log := a.issued.Load(), d.log(t)
	csr := request(t, newKey(t))
	_, _, err := d.Certify(t.Context(), v, csr, dev.credential, "passkey", "")
	want(t, "by passkey", reason(err), "gone")
	_, _, err = d.Renew(t.Context(), v, csr, dev.serial, rs(t, dev.key, csr), "")
	want(t, "by the key before", reason(err), "gone")
	want(t, "signed", a.issued.Load(), issued)
	want(t, "log", d.log(t), log)
	want(t, "removing the device", d.RemoveDevice(t.Context(), v, dev.credential, ""), nil)
}

// A device that is removed while its certificate is being signed gets none.
func TestRevokedWhileIssuing(t *testing.T) {
	d, a := ownDesk(t)
	s := open(t, d, advanced("m1", john))
	v := d.visit(t, s, john)
	dev := d.enrol(t, v, "phone")
	a.issuing = func() {
		if err := d.RevokeDevice(t.Context(), dev.credential, john.Mail); err != nil {
			t.Error(err)
		}
	}
	_, _, err := d.Certify(t.Context(), v, request(t, newKey(t)), dev.credential, "passkey", "")
	want(t, "certify", reason(err), "credential-revoked")
	all, err := d.store.Certificates(t.Context(), workflow.CertificateFilter{Credential: dev.credential, Revoked: true})
	if err != nil || len(all) != 2 {
		t.Errorf("%d revoked, %v; want both", len(all), err)
	}
}

func TestRenew(t *testing.T) {
	d, _ := ownDesk(t)
	s := open(t, d, advanced("m1", john, emma))
	v := d.visit(t, s, john)
	dev := d.enrol(t, v, "phone")
	laptop := d.enrol(t, d.visit(t, s, emma), "laptop")
	next := newKey(t)
	csr := request(t, next)
	renew := func(serial string, proof []byte) string {
		_, serial, err := d.Renew(t.Context(), v, csr, serial, proof, "127.0.0.1")
		if err == nil {
			c := d.certificate(t, serial)
			want(t, "renewed", []string{c.By, c.Credential, c.Name}, []string{"device key " + dev.serial, dev.credential, "John Doe"})
		}
		return reason(err)
	}
	good := rs(t, dev.key, csr)
	digest := sha256.Sum256(csr)
	der, _ := ecdsa.SignASN1(rand.Reader, dev.key, digest[:])
	order := dev.key.Params().N
	high, _ := asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(good[:32]), new(big.Int).Sub(order, new(big.Int).SetBytes(good[32:]))})

	d.tick(60 * 24 * time.Hour) // it ran out while its owner was on holiday
	want(t, "r‖s", renew(dev.serial, good), "<nil>")
	want(t, "DER", renew(dev.serial, der), "<nil>")
	want(t, "the other s", renew(dev.serial, high), "<nil>")
	for name, proof := range map[string][]byte{
		"nothing":           nil,
		"zeros":             make([]byte, 64),
		"too short":         good[:63],
		"too long":          append(slices.Clone(good), 0),
		"out of range":      append(order.FillBytes(make([]byte, 32)), good[32:]...),
		"r only":            append(slices.Clone(good[:32]), make([]byte, 32)...),
		"by the new key":    rs(t, next, csr),
		"over another":      rs(t, dev.key, request(t, next)),
		"trailing after it": append(slices.Clone(der), 0),
	} {
		want(t, name, renew(dev.serial, proof), "bad-proof")
	}
	want(t, "a colleague's certificate", renew(laptop.serial, rs(t, laptop.key, csr)), "no-certificate")
	want(t, "no certificate", renew("ffff", good), "no-certificate")
	d.tick(workflow.RenewUntil)
	want(t, "after more than a year", renew(dev.serial, good), "certificate-expired")
	want(t, "trail", d.keyRefusals(t, s.ID), strings.Repeat("bad-proof 127.0.0.1, ", 9)+"no-certificate 127.0.0.1, no-certificate 127.0.0.1, certificate-expired 127.0.0.1")
	for range 20 {
		renew(dev.serial, nil)
	}
	want(t, "bounded", strings.Count(d.keyRefusals(t, s.ID), ",")+1, 20)
}

// keyRefusals is what a session's trail tells of keys that got no certificate.
func (d *desk) keyRefusals(t *testing.T, id string) string {
	t.Helper()
	events, err := d.store.Events(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range events {
		if e.Kind == workflow.EventKeyRefused {
			all = append(all, e.Detail["reason"]+" "+e.Client)
		}
	}
	return strings.Join(all, ", ")
}

func TestRenewAfterRevocation(t *testing.T) {
	d, _ := ownDesk(t)
	s := open(t, d, advanced("m1", john))
	v := d.visit(t, s, john)
	dev := d.enrol(t, v, "phone")
	csr := request(t, newKey(t))
	renew := func() string {
		_, _, err := d.Renew(t.Context(), v, csr, dev.serial, rs(t, dev.key, csr), "")
		return reason(err)
	}
	if err := d.RevokeCertificate(t.Context(), dev.serial, 6, "administrator"); err != nil {
		t.Fatal(err)
	}
	want(t, "on hold", renew(), "certificate-revoked")
	if err := d.UnrevokeCertificate(t.Context(), dev.serial, "administrator"); err != nil {
		t.Fatal(err)
	}
	want(t, "off hold", renew(), "<nil>")
	if err := d.RevokeDevice(t.Context(), dev.credential, "administrator"); err != nil {
		t.Fatal(err)
	}
	want(t, "removed", renew(), "certificate-revoked")
}

func TestRevokeCertificate(t *testing.T) {
	d, _ := ownDesk(t)
	s := open(t, d, advanced("m1", john))
	dev := d.enrol(t, d.visit(t, s, john), "phone")
	revoke := func(serial string, reason_ int) string {
		return reason(d.RevokeCertificate(t.Context(), serial, reason_, "administrator"))
	}
	if err := d.RevokeCertificate(t.Context(), "ffff", 1, "administrator"); !errors.Is(err, workflow.ErrNotFound) {
		t.Errorf("one that is not there: %v", err)
	}
	if err := d.UnrevokeCertificate(t.Context(), "ffff", "administrator"); !errors.Is(err, workflow.ErrNotFound) {
		t.Errorf("one that is not there: %v", err)
	}
	for _, n := range []int{-1, 2, 7, 8, 10, 11} {
		want(t, "a reason of no end entity", revoke(dev.serial, n), "bad-reason")
	}
	want(t, "not on hold", reason(d.UnrevokeCertificate(t.Context(), dev.serial, "administrator")), "not-on-hold")
	want(t, "hold", revoke(dev.serial, 6), "<nil>")
	held := d.Now()
	d.tick(time.Hour)
	want(t, "hold twice", revoke(dev.serial, 6), "already-revoked")
	want(t, "for good", revoke(dev.serial, 1), "<nil>")
	if c := d.certificate(t, dev.serial); !c.Revoked.Equal(held) || c.Reason != 1 {
		t.Errorf("revoked %s for %d, was held at %s", c.Revoked, c.Reason, held)
	}
	want(t, "twice", revoke(dev.serial, 4), "already-revoked")
	want(t, "take back what is for good", reason(d.UnrevokeCertificate(t.Context(), dev.serial, "administrator")), "not-on-hold")
	want(t, "log", d.log(t), "issuing issued revoked revoked")
}

func TestRemoveDevice(t *testing.T) {
	d, _ := ownDesk(t)
	s := open(t, d, advanced("m1", john, emma))
	vj, ve := d.visit(t, s, john), d.visit(t, s, emma)
	dj := d.enrol(t, vj, "phone")
	want(t, "by a colleague", reason(d.RemoveDevice(t.Context(), ve, dj.credential, "")), "no-device")
	want(t, "one that is not there", reason(d.RemoveDevice(t.Context(), vj, "nothing", "")), "no-device")
	for range 2 {
		want(t, "by its owner", d.RemoveDevice(t.Context(), vj, dj.credential, "127.0.0.1"), nil)
	}
	creds, err := d.store.Credentials(t.Context(), john.Mail)
	if err != nil || len(creds) != 1 || creds[0].RevokedBy != john.Mail || creds[0].Revoked.IsZero() {
		t.Errorf("%+v, %v", creds, err)
	}
	if c := d.certificate(t, dj.serial); c.Revoked.IsZero() || c.Reason != 5 {
		t.Errorf("certificate %+v", c)
	}
	want(t, "log", d.log(t), "issuing issued revoked device-revoked")
	want(t, "trail", d.trail(t, s.ID), "opened prepared device-revoked")
	if err := d.RevokeDevice(t.Context(), "nothing", "administrator"); !errors.Is(err, workflow.ErrNotFound) {
		t.Errorf("one that is not there: %v", err)
	}
}

// A certificate on hold when its device is removed comes back never more.
func TestRemoveDeviceOnHold(t *testing.T) {
	d, _ := ownDesk(t)
	s := open(t, d, advanced("m1", john))
	v := d.visit(t, s, john)
	dev := d.enrol(t, v, "phone")
	want(t, "hold", d.RevokeCertificate(t.Context(), dev.serial, 6, "administrator"), nil)
	want(t, "remove", d.RemoveDevice(t.Context(), v, dev.credential, ""), nil)
	want(t, "reason", d.certificate(t, dev.serial).Reason, 5)
	want(t, "take back", reason(d.UnrevokeCertificate(t.Context(), dev.serial, "administrator")), "not-on-hold")
}

func TestEnrolledMail(t *testing.T) {
	d, _ := ownDesk(t)
	s := open(t, d, advanced("m1", john))
	v := d.visit(t, s, john)
	dev := d.enrol(t, v, "phone")
	for _, id := range []string{dev.credential, d.enrol(t, v, "tablet").credential} {
		if err := d.store.Do(t.Context(), func(tx workflow.Tx) error {
			return tx.Enqueue(workflow.Job{Kind: workflow.JobMail, Session: s.ID, Person: v.Person, Mail: workflow.MailEnrolled, Credential: id})
		}); err != nil {
			t.Fatal(err)
		}
	}
	// Whoever enrolled in John's name may try to end the session before John hears of it.
	if err := d.Cancel(t.Context(), s.ID, ""); err != nil {
		t.Fatal(err)
	}
	jobs, err := d.store.Jobs(t.Context(), s.ID)
	if err != nil {
		t.Fatal(err)
	}
	for _, j := range jobs {
		if j.Job.Mail == workflow.MailEnrolled && j.State == "cancelled" {
			t.Error("the mail was taken back")
		}
	}
	for range 2 { // a job that runs twice sends once
		d.run(t, s.ID, workflow.JobMail)
	}
	var names []string
	for _, n := range d.sent {
		if n.Kind == workflow.MailEnrolled {
			names = append(names, n.Credential.Name)
			if !strings.HasPrefix(n.Link, "https://sign.corp.test/s#") || n.Recipient().Mail != john.Mail {
				t.Errorf("%+v", n)
			}
		}
	}
	want(t, "told of", names, []string{"phone", "tablet"})
}

// Nor does one whose entry an administrator revokes in that moment.
func TestEntryRevokedWhileIssuing(t *testing.T) {
	d, a := ownDesk(t)
	s := open(t, d, advanced("m1", john))
	v := d.visit(t, s, john)
	dev := d.enrol(t, v, "phone")
	a.issuing = func() {
		all, err := d.store.Certificates(t.Context(), workflow.CertificateFilter{Mail: john.Mail})
		if err != nil || len(all) != 2 {
			t.Fatalf("%d, %v", len(all), err)
		}
		for _, c := range all {
			if c.Serial != dev.serial {
				if err := d.RevokeCertificate(t.Context(), c.Serial, 9, "administrator"); err != nil {
					t.Error(err)
				}
			}
		}
	}
	_, _, err := d.Certify(t.Context(), v, request(t, newKey(t)), dev.credential, "passkey", "")
	want(t, "certify", reason(err), "certificate-revoked")
	if all, err := d.store.Certificates(t.Context(), workflow.CertificateFilter{Revoked: true}); err != nil || len(all) != 1 || len(all[0].DER) != 0 {
		t.Errorf("register: %+v, %v", all, err)
	}
}
