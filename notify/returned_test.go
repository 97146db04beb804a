package notify

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"milterd/workflow"
)

// What Postfix 3.7 made of an invitation, as it came to a bounce address.
func TestReportsOfPostfix(t *testing.T) {
	n := testNotifier(t, Relay{})
	const unknown = "550-<%>: Recipient address rejected: 550-User unknown in virtual mailbox table 550 5.1.1 See https://mx.else.test/help?u=1"
	want := map[string]struct {
		outcome Outcome
		f       workflow.Failure
	}{
		"postfix-unknown": {Failed, workflow.Failure{Recipient: "nobody@else.test", Status: "5.1.1", Diagnostic: strings.Replace(unknown, "%", "nobody@else.test", 1)}},
		"postfix-utf8":    {Failed, workflow.Failure{Recipient: "nobodyü@else.test", Status: "5.1.1", Diagnostic: strings.Replace(unknown, "%", "nobodyü@else.test", 1)}},
		"postfix-content": {Failed, workflow.Failure{Recipient: "content@else.test", Status: "5.7.1", Diagnostic: "554 5.7.1 Message content rejected"}},
		// The mailbox was full until Postfix gave up: the status is of class 4.
		"postfix-expired":   {Failed, workflow.Failure{Recipient: "full@else.test", Status: "4.2.2", Diagnostic: "452 4.2.2 Mailbox full"}},
		"postfix-no-status": {Failed, workflow.Failure{Recipient: "old@else.test", Status: "5.0.0", Diagnostic: "553 sorry, no such mailbox"}},
		"postfix-no-route": {Failed, workflow.Failure{Recipient: "x@nowhere.test", Status: "5.4.4",
			Diagnostic: "unable to look up host nowhere.test: Name or service not known"}},
		"postfix-delayed": {outcome: Pending},
		"postfix-relayed": {outcome: Pending},
	}
	files, err := filepath.Glob("testdata/returned/*.eml")
	if err != nil || len(files) != len(want) {
		t.Fatalf("%d samples, want %d (%v)", len(files), len(want), err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(file), ".eml")
		if f, o := n.ReadReturned(raw); o != want[name].outcome || f != want[name].f {
			t.Errorf("%s: %s %+v\nwant %s %+v", name, o, f, want[name].outcome, want[name].f)
		}
	}
}

const returnedHeader = "From: Jane <reply@sign.corp.test>\nMessage-ID: <milterd.mfrggzdfmztwq2lk.hyffkkxxhxmfpjxvtt4m55z32a@sign.corp.test>\nSubject: Please sign\n"

// report is a notification with this delivery status.
func report(status string) string {
	return "Subject: Undeliverable\nContent-Type: Multipart/REPORT; Report-Type=delivery-status; boundary=b\n\n--b\n\nSorry.\n" +
		"--b\nContent-Type: Message/Delivery-Status\n\n" + status + "\n--b\nContent-Type: text/rfc822-headers\n\n" + returnedHeader + "\n--b--\n"
}

// others are bounces and what is none, of other servers and of forgers.
var others = map[string]struct {
	raw     string
	outcome Outcome
	status  string
}{
	"Exchange": {report("Reporting-MTA: dns;EX1.corp.test\nReceived-From-MTA: dns;x\n\nOriginal-Recipient: rfc822;john@corp.test\n" +
		"Final-recipient: RFC822;john@corp.test\nAction: failed\nStatus: 5.1.10\nDiagnostic-code: smtp;550 5.1.10 RESOLVER.ADR.RecipientNotFound\n"), Failed, "5.1.10"},
	"no group for the message": {report("Final-Recipient: rfc822; a@b.test\nAction: failed\nStatus: 5.2.1 (mailbox disabled)\n"), Failed, "5.2.1"},
	"no status":                {report("Reporting-MTA: dns; x\n\nFinal-Recipient: rfc822; a@b.test\nAction: FAILED (gone)\n"), Failed, ""},
	"one of two failed":        {report("R: x\n\nAction: delivered\nStatus: 2.0.0\n\nAction: failed\nStatus: 5.0.0\n"), Failed, "5.0.0"},
	"failed with success":      {report("R: x\n\nAction: failed\nStatus: 2.1.5\n"), Pending, ""},
	"delivered":                {report("R: x\n\nAction: delivered\nStatus: 2.1.5\n"), Pending, ""},
	"expanded":                 {report("R: x\n\nAction: expanded\nStatus: 2.1.5\n"), Pending, ""},
	"action of the message":    {report("R: x\n\nStatus: 5.0.0\n"), Unclear, ""},
	"two actions":              {report("R: x\n\nAction: delayed\nStatus: 4.0.0\nAction: failed\n"), Pending, ""},
	"empty status":             {report(""), Unclear, ""},
	"status in base64": {strings.Replace(report("QWN0aW9uOiBmYWlsZWQKU3RhdHVzOiA1LjEuMQo="), "Message/Delivery-Status\n",
		"message/delivery-status\nContent-Transfer-Encoding: base64\n", 1), Failed, "5.1.1"},
	"qmail": {"From: MAILER-DAEMON@mx.test\nSubject: failure notice\n\nHi. This is the qmail-send program at mx.test.\n\n<john@corp.test>:\n" +
		"Sorry, no mailbox here by that name.\n\n--- Below this line is a copy of the message.\n\n" + returnedHeader, Unclear, ""},
	"old Exim, quoted":     {"Subject: Mail delivery failed\nX-Failed-Recipients: john@corp.test\n\nfailed:\n\n> From: x\n> Message-Id:\n>  <milterd.mfrggzdfmztwq2lk.hyffkkxxhxmfpjxvtt4m55z32a@sign.corp.test>\n", Unclear, ""},
	"somebody else's mail": {"Subject: failure notice\n\nMessage-ID: <x.y.z@corp.test>\n", Foreign, ""},
	"vacation": {"From: John <john@corp.test>\nSubject: I am away\nAuto-Submitted: auto-replied (vacation)\nIn-Reply-To: <milterd.mfrggzdfmztwq2lk.hyffkkxxhxmfpjxvtt4m55z32a@sign.corp.test>\n" +
		"References: <milterd.mfrggzdfmztwq2lk.hyffkkxxhxmfpjxvtt4m55z32a@sign.corp.test>\n\nBack on Monday.\n", Foreign, ""},
	"read receipt": {"Subject: Read: x\nContent-Type: multipart/report; report-type=disposition-notification; boundary=b\n\n--b\n\nread\n" +
		"--b\nContent-Type: message/disposition-notification\n\nOriginal-Message-ID: <milterd.mfrggzdfmztwq2lk.hyffkkxxhxmfpjxvtt4m55z32a@sign.corp.test>\nDisposition: manual-action/MDN-sent-manually; displayed\n\n--b--\n", Foreign, ""},
	"no boundary": {"Content-Type: multipart/report\n\n--b\nContent-Type: message/delivery-status\n\nAction: failed\n", Foreign, ""},
	"empty":       {"", Foreign, ""},
	"no header":   {"just words", Foreign, ""},
}

func TestOtherReturns(t *testing.T) {
	n := testNotifier(t, Relay{})
	for name, c := range others {
		f, o := n.ReadReturned([]byte(strings.ReplaceAll(c.raw, "\n", "\r\n")))
		if o != c.outcome || f.Status != c.status || f.Unclear != (o == Unclear) {
			t.Errorf("%s: %s %+v, want %s %q", name, o, f, c.outcome, c.status)
		}
	}
}

// A report may be as large and as odd as a mail: reading it stays cheap.
func TestReturnedCost(t *testing.T) {
	n := testNotifier(t, Relay{})
	for name, raw := range map[string]string{
		"folded lines":  report("R: x\n\nAction:" + strings.Repeat("\n x", 1<<20)),
		"groups":        report(strings.Repeat("Action: delayed\n\n", 1<<18)),
		"fields":        report("R: x\n\n" + strings.Repeat("A: b\n", 1<<20)),
		"parts":         "Content-Type: multipart/report; boundary=b\n\n" + strings.Repeat("--b\n\n\n", 1<<20),
		"header":        strings.Repeat("A: b\n", 1<<20) + "\n",
		"ids":           "A: b\n\n" + strings.Repeat("Message-ID: <x@y>\n", 1<<18),
		"quoted blanks": "A: b\n\n" + strings.Repeat("> > > ", 1<<20),
	} {
		b := []byte(strings.ReplaceAll(raw, "\n", "\r\n"))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := time.Now()
		n.ReadReturned(b)
		took := time.Since(start)
		runtime.ReadMemStats(&after)
		if mb := (after.TotalAlloc - before.TotalAlloc) >> 20; took > 2*time.Second || mb > 64 {
			t.Errorf("%s: %s and %d MB for %d bytes", name, took, mb, len(b))
		}
	}
}

// FuzzReturned: whatever comes back, only a report that says "failed" counts as
// one, and its words are no longer than what was read.
func FuzzReturned(f *testing.F) {
	for _, c := range others {
		f.Add([]byte(strings.ReplaceAll(c.raw, "\n", "\r\n")))
	}
	files, err := filepath.Glob("testdata/returned/*.eml")
	if err != nil || len(files) == 0 {
		f.Fatalf("no samples (%v)", err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	n := testNotifier(f, Relay{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, o := n.ReadReturned(raw)
		switch o {
		case Failed:
			if got.Unclear || got.Status != "" && statusForm.FindString(got.Status) != got.Status || strings.HasPrefix(got.Status, "2") {
				t.Errorf("failed with %+v", got)
			}
		case Unclear:
			if got != (workflow.Failure{Unclear: true}) {
				t.Errorf("unclear with %+v", got)
			}
		case Pending, Foreign:
			if got != (workflow.Failure{}) {
				t.Errorf("%s with %+v", o, got)
			}
		default:
			t.Errorf("outcome %q", o)
		}
		if len(got.Diagnostic)+len(got.Recipient) > len(raw) {
			t.Errorf("more words than were read: %+v", got)
		}
	})
}
