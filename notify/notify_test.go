package notify

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"flag"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"milterd/workflow"
)

var update = flag.Bool("update", false, "write the expected mails in testdata anew")

var testNow = time.Date(2026, 11, 23, 10, 35, 12, 0, time.UTC)

func testNotifier(t testing.TB, relay Relay) *Notifier {
	t.Helper()
	if relay.Address == "" {
		relay.Address = "127.0.0.1:25"
	}
	n, err := New(Config{
		Domain: "sign.corp.test", Organisation: "Example Corp", Master: bytes.Repeat([]byte{7}, 32),
		Relay: relay, Root: "https://sign.corp.test/pki/root.cer", Now: func() time.Time { return testNow },
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

const (
	testLink = "https://sign.corp.test/s#q83vEjRWeJCrze8SNFZ4kA"
	sender   = 0
	john     = 1
	zoe      = 2
	copied   = 3
	heldID   = "nbswy3dpo5xxe3de"
)

// testSession is a request by Jane for two signatures under two documents, as
// somebody reads it in lang.
func testSession(lang string) *workflow.Session {
	document := func(name string, pages int, size int64) workflow.Document {
		return workflow.Document{Name: name, Kind: workflow.Mailed, Pages: pages, Revisions: []workflow.Revision{
			{Number: 0, Kind: workflow.Original, Size: size, SHA256: sha256.Sum256([]byte(name)), Person: -1, Created: testNow},
		}}
	}
	return &workflow.Session{
		ID: "mfrggzdfmztwq2lk", State: workflow.Open, Level: workflow.Standard,
		People: []workflow.Participant{
			{Person: workflow.Person{Mail: "jane.roe@corp.test", Name: "Jane Roe", Language: lang}, Sender: true},
			{Person: workflow.Person{Mail: "john.doe@corp.test", Name: "John Doe", Language: lang}, Signatory: true, State: workflow.Waiting},
			{Person: workflow.Person{Mail: "zoe@corp.test", Name: "Zoë Müller-Lüdenscheidt", Language: lang}, Signatory: true, State: workflow.Waiting},
			{Person: workflow.Person{Mail: "legal@corp.test", Name: "Legal, Department", Language: lang}, Copy: true},
		},
		Documents: []workflow.Document{
			document("Lease agreement.pdf", 12, 1_234_567),
			document("Übergabeprotokoll Büroräume – Anlage 3.pdf", 1, 48_211),
		},
		Thread: workflow.Thread{
			MessageID: "<20261123.1030@mx.corp.test>", References: []string{"<20261120.0900@mx.corp.test>"},
			Subject: "[Standard] Lease for the Müllerstraße office",
		},
		Message: "Hi John, hi Zoë,\n\nplease have a look at § 4 before you sign: the notice period is now six months.\n\nThanks a lot\nJane",
		Created: testNow, Deadline: testNow.Add(14 * 24 * time.Hour), Delivery: workflow.Attached, ProvenBy: "sasl jane",
	}
}

func signed(s *workflow.Session) *workflow.Session {
	s.State, s.Ended = workflow.Done, testNow
	for i, p := range s.Signatories() {
		s.People[p].State, s.People[p].Decided = workflow.Signed, testNow.Add(time.Duration(i-3)*time.Hour)
	}
	for i := range s.Documents {
		d := &s.Documents[i]
		d.Revisions = append(d.Revisions, workflow.Revision{
			Number: 1, Kind: workflow.Archive, Size: d.Original().Size + 90_000, SHA256: sha256.Sum256([]byte("signed " + d.Name)), Created: testNow,
		})
	}
	report := workflow.Document{Name: "Certificate of completion.pdf", Kind: workflow.Report, Pages: 2}
	for _, a := range files(s)[2:] {
		report.Revisions = []workflow.Revision{{Size: int64(len(a.Content)), SHA256: sha256.Sum256(a.Content), Created: testNow}}
	}
	s.Documents = append(s.Documents, report)
	return s
}

func files(s *workflow.Session) []workflow.Attachment {
	var out []workflow.Attachment
	for i := range s.Documents[:2] {
		d := &s.Documents[i]
		out = append(out, workflow.Attachment{Name: d.ResultName(), ContentType: "application/pdf", Content: []byte("%PDF-1.7 stand-in for " + d.Name)})
	}
	return append(out, workflow.Attachment{Name: "Certificate of completion.pdf", ContentType: "application/pdf", Content: []byte("%PDF-1.7 stand-in for the report")})
}

// cases are all mails that have an expected file for each language.
func cases(lang string) map[string]workflow.Notice {
	notice := func(kind workflow.MailKind, s *workflow.Session, to int) workflow.Notice {
		return workflow.Notice{Kind: kind, Session: s, To: to, By: -1, Key: s.MailKey(to, kind, 0, "")}
	}
	out := map[string]workflow.Notice{}

	n := notice(workflow.MailInvitation, testSession(lang), john)
	n.Link = testLink
	out["invitation"] = n

	s := testSession(lang)
	s.People = []workflow.Participant{s.People[sender]}
	s.People[sender].Signatory, s.People[sender].State = true, workflow.Waiting
	s.Documents, s.Message, s.Level = s.Documents[:1], "", workflow.Advanced
	n = notice(workflow.MailInvitation, s, sender)
	n.Link = testLink
	out["invitation-self"] = n

	s = testSession(lang)
	s.Delivery = workflow.Download
	out["receipt"] = notice(workflow.MailReceipt, s, sender)

	s = testSession(lang)
	s.Documents = s.Documents[:1]
	n = notice(workflow.MailCode, s, zoe)
	n.Code, n.CodeExpires = "048213", testNow.Add(10*time.Minute)
	out["code"] = n

	s = signed(testSession(lang))
	n = notice(workflow.MailResult, s, john)
	n.Link, n.Attachments, n.Until = testLink, files(s), testNow.Add(90*24*time.Hour)
	out["result"] = n

	s = signed(testSession(lang))
	s.Level, s.Delivery = workflow.Qualified, workflow.Download
	n = notice(workflow.MailResult, s, sender)
	n.Link, n.Until = testLink, testNow.Add(90*24*time.Hour)
	out["result-download"] = n

	s = testSession(lang)
	s.State, s.Ended = workflow.Declined, testNow
	s.People[john].State, s.People[john].Decided = workflow.Refused, testNow
	s.People[john].Comment = "The notice period in § 4 is too long.\nThree months would be fine."
	n = notice(workflow.MailDeclined, s, sender)
	n.By = john
	out["declined"] = n

	s = testSession(lang)
	s.State, s.Ended = workflow.Expired, testNow.Add(14*24*time.Hour)
	s.People[zoe].State, s.People[zoe].Decided = workflow.Signed, testNow
	out["expired"] = notice(workflow.MailExpired, s, copied)

	s = testSession(lang)
	s.State, s.Ended, s.Reason = workflow.Cancelled, testNow, "Sent to the wrong John."
	out["cancelled"] = notice(workflow.MailCancelled, s, john)

	back := func(s *workflow.Session, r workflow.Returned) workflow.Notice {
		r.At = testNow
		s.Returned = []workflow.Returned{r}
		n := notice(workflow.MailReturned, s, sender)
		n.By, n.Returned, n.Key = r.Person, &s.Returned[0], s.MailKey(sender, n.Kind, 0, "returned 1")
		return n
	}
	out["returned"] = back(testSession(lang), workflow.Returned{Person: zoe, Mail: workflow.MailInvitation, Failure: workflow.Failure{
		Status: "5.1.1", Diagnostic: "550 5.1.1 <zoe@corp.test>: Recipient address rejected: User unknown; see https://evil.test/login for help"}})
	out["returned-code"] = back(testSession(lang), workflow.Returned{Person: john, Mail: workflow.MailCode, Failure: workflow.Failure{Unclear: true}})
	n = back(signed(testSession(lang)), workflow.Returned{Person: copied, Mail: workflow.MailResult, Failure: workflow.Failure{
		Recipient: "legal@elsewhere.test", Status: "5.2.2"}})
	n.Link, n.Until = testLink, testNow.Add(90*24*time.Hour)
	out["returned-result"] = n

	s = testSession(lang)
	s.Level = workflow.Advanced
	n = notice(workflow.MailInvitation, s, zoe)
	n.Link = testLink
	out["invitation-advanced"] = n

	out["invitation-phones"] = n

	s = signed(testSession(lang))
	s.Level = workflow.Advanced
	s.People[zoe].Act = &workflow.Act{Accepted: &workflow.Acceptance{Level: workflow.Advanced, Chain: [][]byte{{1}}, Issuer: "CN=Corp Phones CA,O=see https://evil.test",
		Vouched: "the organisation's authorities for Advanced signatures, SignScope Local, /etc/milterd/phones: CN=Corp Phones CA"}}
	n = notice(workflow.MailResult, s, john)
	n.Link, n.Attachments, n.Until = testLink, files(s), testNow.Add(90*24*time.Hour)
	out["result-phones"] = n

	for file, c := range map[string]workflow.Credential{
		"enrolled":       {Kind: workflow.Passkey, Name: "Safari on iPhone", ApprovedBy: "directory password"},
		"enrolled-other": {Kind: workflow.TOTP, Name: "see https://evil.test/login at once", ApprovedBy: "device Firefox on Linux"},
	} {
		s = testSession(lang)
		s.Level, s.Documents = workflow.Advanced, s.Documents[:1]
		c.Enrolled = testNow.Add(-time.Minute)
		n = notice(workflow.MailEnrolled, s, john)
		n.Link, n.Credential = testLink, &c
		out[file] = n
	}

	s = testSession(lang)
	s.Level, s.Documents = workflow.Qualified, s.Documents[:1]
	n = notice(workflow.MailEnrolled, s, john)
	n.Link, n.Credential = testLink, &workflow.Credential{Kind: workflow.QualifiedCertificate, Name: "JOHN DOE, Test CA", Data: testCertificate(),
		Enrolled: testNow.Add(-time.Minute), ApprovedBy: "first signature"}
	out["registered"] = n

	s = testSession(lang)
	s.Level = workflow.Advanced
	n = notice(workflow.MailAgain, s, zoe)
	n.Link, n.Again = testLink, "certificate-revoked"
	out["again"] = n

	jane := testSession(lang).People[sender].Person
	out["confirm"] = workflow.Notice{Kind: workflow.MailConfirm, Key: heldID, Link: "https://sign.corp.test/c#q83vEjRWeJCrze8SNFZ4kA",
		Until: testNow.Add(workflow.HeldFor), By: -1, Held: &workflow.Held{ID: heldID, Person: jane, Received: testNow,
			Subject: "Forged subject", From: "jane.roe@corp.test", Recipients: []string{"john.doe@sign.corp.test"}, QueueID: "forged",
			Asks: []workflow.Person{{Mail: "forged@corp.test", Name: "Forged Name"}}, Documents: []workflow.HeldDocument{{Name: "Forged.pdf"}}}}

	file := func(name string, verdict workflow.Verdict, signatures ...workflow.VerifiedSignature) workflow.VerifiedFile {
		return workflow.VerifiedFile{Name: name, Size: 123_456, SHA256: sha256.Sum256([]byte(name)), Verdict: verdict, Signatures: signatures, Report: "the report"}
	}
	jane1 := workflow.VerifiedSignature{By: "CN=Jane Roe,O=Example Corp,C=LU", Verdict: workflow.VerdictValid, At: testNow}
	seal := workflow.VerifiedSignature{By: "CN=Example Corp,O=Example Corp,C=LU", Verdict: workflow.VerdictValid, At: testNow, Stamp: true}
	bad, unknown := workflow.VerifiedSignature{By: "CN=Mallory https://evil.test/", Verdict: workflow.VerdictInvalid, At: testNow}, workflow.VerifiedSignature{Verdict: workflow.VerdictOpen}
	report := func(name string) workflow.Attachment {
		return workflow.Attachment{Name: name, ContentType: "text/plain; charset=utf-8", Content: []byte("1. signature in field \"A\"\n")}
	}
	out["verified"] = workflow.Notice{Kind: workflow.MailVerified, Key: heldID, By: -1, Attachments: []workflow.Attachment{report("verification.txt")},
		Verification: &workflow.Verification{ID: heldID, Person: jane, Thread: testSession(lang).Thread,
			Files: []workflow.VerifiedFile{file("Lease-signed.pdf", workflow.VerdictValid, jane1, seal)}}}
	detached := file("offer.docx.p7s", workflow.VerdictValid, jane1)
	detached.Signs = []string{"offer.docx"}
	other := file("plan.odt.p7s", workflow.VerdictChanged, bad)
	other.Signs = []string{"plan.odt"}
	out["verified-detached"] = workflow.Notice{Kind: workflow.MailVerified, Key: heldID, By: -1,
		Attachments:  []workflow.Attachment{report("verification-1.txt"), report("verification-2.txt")},
		Verification: &workflow.Verification{ID: heldID, Person: jane, Thread: workflow.Thread{Subject: "Are these right?"}, Files: []workflow.VerifiedFile{detached, other}}}
	out["verified-several"] = workflow.Notice{Kind: workflow.MailVerified, Key: heldID, By: -1,
		Attachments: []workflow.Attachment{report("verification-1.txt"), report("verification-2.txt"), report("verification-3.txt"), report("verification-4.txt"), report("verification-5.txt")},
		Verification: &workflow.Verification{ID: heldID, Person: jane, Thread: workflow.Thread{Subject: "Are these right?"},
			Files: []workflow.VerifiedFile{file("Offer.pdf", workflow.VerdictInvalid, bad, jane1), file("Übergabe.pdf", workflow.VerdictOpen, unknown),
				file("Changed.pdf", workflow.VerdictChanged, slices.Repeat([]workflow.VerifiedSignature{jane1}, 23)...),
				file("Plain.pdf", workflow.VerdictUnsigned), file("letter.docx", workflow.VerdictUnreadable)}}}
	return out
}

// each runs a test for every case in every language.
func each(t *testing.T, f func(t *testing.T, name string, n workflow.Notice)) {
	for _, lang := range []string{"en", "de", "fr"} {
		for name, n := range cases(lang) {
			t.Run(name+"."+lang, func(t *testing.T) { f(t, name+"."+lang, n) })
		}
	}
}

func TestExpectedMails(t *testing.T) {
	all := testNotifier(t, Relay{})
	phones := *all
	phones.c.Phones = "Corp Phones"
	each(t, func(t *testing.T, name string, notice workflow.Notice) {
		n := all
		if strings.HasPrefix(name, "invitation-phones") {
			n = &phones
		}
		got, err := n.Compose(notice)
		if err != nil {
			t.Fatal(err)
		}
		again, err := n.Compose(notice)
		if err != nil || !bytes.Equal(got, again) {
			t.Fatalf("the same notice gave another mail (%v)", err)
		}
		file := filepath.Join("testdata", name+".eml")
		if *update {
			if err := os.WriteFile(file, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s differs; see the difference with git after go test ./notify -update\n%s", file, firstDifference(got, want))
		}
	})
}

func firstDifference(got, want []byte) string {
	g, w := strings.Split(string(got), "\n"), strings.Split(string(want), "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return fmt.Sprintf("line %d\n got %q\nwant %q", i+1, g[i], w[i])
		}
	}
	return fmt.Sprintf("got %d lines, want %d", len(g), len(w))
}

// Whatever the reason is, there are words for it, and for the mail's return.
func TestAgainForEveryReason(t *testing.T) {
	n := testNotifier(t, Relay{})
	for _, lang := range []string{"en", "de", "fr"} {
		seen := map[string]bool{}
		for _, why := range workflow.AgainReasons {
			x := cases(lang)["again"]
			x.Again = why
			raw, err := n.Compose(x)
			if err != nil {
				t.Fatal(err)
			}
			if m := parse(t, raw); seen[m.text] {
				t.Errorf("%s in %s reads like another reason", why, lang)
			} else {
				seen[m.text] = true
			}
		}
		x := cases(lang)["again"]
		x.Again = "something else"
		if _, err := n.Compose(x); err == nil {
			t.Error("a reason without words makes a mail")
		}
		x = cases(lang)["returned"]
		x.Returned.Mail = workflow.MailAgain
		if _, err := n.Compose(x); err != nil {
			t.Error(err)
		}
	}
}

// testCertificate is one whose authority has written into its name what a mail must not make a link.
func testCertificate() []byte {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "JOHN DOE"}, NotBefore: testNow, NotAfter: testNow.AddDate(2, 0, 0)}
	ca := &x509.Certificate{Subject: pkix.Name{CommonName: "Test CA, see https://evil.test/login"}}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), key)
	if err != nil {
		panic(err)
	}
	return der
}
