package intake_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"milterd/workflow"
)

// smtp speaks to the private Postfix, in the tests' own words.
type smtp struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

func (h *house) dial(t *testing.T, helo string) *smtp {
	t.Helper()
	c, err := net.Dial("tcp", h.SMTPAddr)
	if err != nil {
		t.Fatal(err)
	}
	s := &smtp{t, c, bufio.NewReader(c)}
	s.reply()
	s.say("EHLO " + helo)
	return s
}

func (s *smtp) say(line string) string {
	if _, err := s.Write([]byte(line + "\r\n")); err != nil {
		s.t.Fatal(err)
	}
	return s.reply()
}

func (s *smtp) reply() string {
	s.SetDeadline(time.Now().Add(time.Minute))
	for {
		l, err := s.r.ReadString('\n')
		if err != nil {
			s.t.Fatalf("no reply: %v", err)
		}
		if len(l) < 4 || l[3] != '-' {
			return strings.TrimSpace(l)
		}
	}
}

// send gives the reply to the mail, or the refusal before it.
func (s *smtp) send(from, to, mail string) string {
	for _, l := range []string{"MAIL FROM:<" + from + ">", "RCPT TO:<" + to + ">", "DATA"} {
		if r := s.say(l); r[0] != '2' && r[0] != '3' {
			s.say("RSET")
			return r
		}
	}
	return s.say(mail + ".")
}

func plain(login string) string {
	return "AUTH PLAIN " + base64.StdEncoding.EncodeToString([]byte("\x00"+login+"\x00any"))
}

// note is a mail with one PDF.
func note(id string) string {
	return "From: Jane Doe <jane@corp.test>\r\nTo: john.doe@sign.corp.test\r\nSubject: Please sign\r\nDate: " + time.Now().Format(time.RFC1123Z) +
		"\r\nMessage-ID: <" + id + "@corp.test>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" +
		"--b\r\nContent-Type: application/pdf; name=a.pdf\r\n\r\n%PDF-1.7 x\r\n--b--\r\n"
}

// until waits for something that Postfix does later.
func until(t *testing.T, what string, there func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !there(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// TestReceivedLines has a real Postfix write its Received line about clients
// that choose every name they can choose as an attacker would. The line may
// name the login that there was, or none; and never a host or address of the
// client's choice.
func TestReceivedLines(t *testing.T) {
	cert, key := certificate(t, "mx.corp.test")
	dir := t.TempDir()
	for name, b := range map[string][]byte{"cert.pem": cert, "key.pem": key} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	h := open(t, "smtpd_tls_security_level = may", "smtpd_tls_cert_file = "+filepath.Join(dir, "cert.pem"), "smtpd_tls_key_file = "+filepath.Join(dir, "key.pem"),
		"smtpd_tls_received_header = yes", "smtpd_tls_ask_ccert = yes", "smtpd_sasl_auth_enable = yes", "smtpd_hard_error_limit = 1000", "smtpd_soft_error_limit = 1000")
	c := h.intake.Origin
	long := strings.Repeat("x", 990)
	names := []string{"client.corp.test", "x(Authenticated", "[127.0.0.1]", "[IPv6:::1]", "a)\t(Authenticated sender: jane)", "x\"y\\z;", long, long + "(Authenticated sender: jane)",
		"x\xc3\xa9", "by mx.corp.test (Postfix) with ESMTPA id 1"}
	logins := []string{"", "jane", "jane@corp.test", "jane) (Authenticated sender: bob", "jane)\tby mx.corp.test (Postfix) with ESMTPSA id 4F2", "ja(ne)", "((((", "jane\\", "jan\xc3\xa9", "jane?",
		"bob (Authenticated sender: jane)", long + " (Authenticated sender: jane", "jane " + long}
	type try struct{ helo, login, cn string }
	var tries []try
	for _, n := range names {
		tries = append(tries, try{helo: n})
	}
	for _, l := range logins {
		tries = append(tries, try{"client.corp.test", l, ""})
	}
	for _, cn := range []string{"client", "(Authenticated sender: jane)", "x\", Issuer \"y\" (not verified))", strings.Repeat("(Authenticated sender: jane) ", 2), "x\n\t(Authenticated sender: jane)"} {
		tries = append(tries, try{"client.corp.test", "", cn}, try{"client.corp.test", "jane", cn})
	}
	understood := 0
	for i, y := range tries {
		h.last(nil)
		s := h.dial(t, y.helo)
		if y.cn != "" {
			if r := s.say("STARTTLS"); r[0] != '2' {
				t.Fatal(r)
			}
			cert, key := certificate(t, y.cn)
			pair, err := tls.X509KeyPair(cert, key)
			if err != nil {
				t.Fatal(err)
			}
			over := tls.Client(s.Conn, &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{pair}})
			s.Conn, s.r = over, bufio.NewReader(over)
			s.say("EHLO " + y.helo)
		}
		if y.login != "" {
			if r := s.say(plain(y.login)); r[0] != '2' {
				t.Logf("login %.60q: %s", y.login, r)
				s.Close()
				continue
			}
		}
		if r := s.send("jane@corp.test", "contracts@corp.test", note(fmt.Sprint("lines", i))); r[0] != '2' {
			t.Errorf("%.60q: %s", y, r)
		}
		s.Close()
		var raw []byte
		until(t, "the LMTP door", func() bool { raw = h.last(raw); return raw != nil })
		d := c.Delivered(raw)
		line, _, _ := bytes.Cut(raw, []byte("\r\nFrom:"))
		if d.Login != "" && d.Login != y.login || d.Client.IsValid() && d.Client.String() != "127.0.0.1" {
			t.Errorf("%.80q was taken for %+v:\n%s", y, d, line)
		}
		if d.QueueID != "" {
			understood++
		}
		if y.helo == "client.corp.test" && y.cn == "client" && d.Login != y.login {
			t.Errorf("a plain line was not understood:\n%s", line)
		}
		// What smtpd keeps as it is, is found again.
		if slices.Contains([]string{"jane", "jane@corp.test"}, y.login) && y.cn == "" && d.Login != y.login {
			t.Errorf("login %q was not found:\n%s", y.login, line)
		}
	}
	if understood < len(tries)/2 {
		t.Errorf("only %d lines were understood", understood)
	}
}

// certificate makes one that nobody vouches for, and its key, as PEM.
func certificate(t *testing.T, name string) (cert, key []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

// TestOpendkim runs a real opendkim before milterd. Its word about a signature
// counts where it stands above Postfix's own Received line, and nobody else's
// does; and what it signs is believed.
func TestOpendkim(t *testing.T) {
	if _, err := exec.LookPath("opendkim"); err != nil {
		t.Fatal("opendkim is not installed: apt-get install -y opendkim")
	}
	dir := t.TempDir()
	socket := filepath.Join(dir, "opendkim.sock")
	pkcs8, err := x509.MarshalPKCS8PrivateKey(ownKey.Signer)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"keys":     "sel._domainkey.corp.test " + ownKey.Record("") + "\n",
		"key.pem":  string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})),
		"internal": "192.0.2.77\n",
		"opendkim.conf": "Syslog no\nMode sv\nDomain corp.test\nSelector sel\nKeyFile " + dir + "/key.pem\nTestPublicKeys " + dir + "/keys\nRequireSafeKeys no\n" +
			"AuthservID mx.corp.test\nInternalHosts " + dir + "/internal\nSocket local:" + socket + "\nUMask 000\nAlwaysAddARHeader yes\n" +
			"Canonicalization relaxed/relaxed\nSignHeaders From,To,Cc,Subject,Date,Message-ID,MIME-Version,Content-Type,Content-Transfer-Encoding\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("opendkim", "-f", "-x", filepath.Join(dir, "opendkim.conf"))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	until(t, "opendkim", func() bool { _, err := os.Stat(socket); return err == nil })
	for d := dir; d != "/"; d = filepath.Dir(d) { // Postfix's users pass
		if err := os.Chmod(d, 0o755); err != nil && d == dir {
			t.Fatal(err)
		}
	}
	h := open(t, "smtpd_milters = { unix:"+socket+", default_action=accept }, unix:@DIR@/milter.sock")
	s := h.dial(t, "client.corp.test")
	sessions := func() int {
		list, err := h.store.List(t.Context(), workflow.Filter{Limit: 1000})
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	// milterd's own look into the DNS fails from here on.
	if err := h.set("dns", "away"); err != nil {
		t.Fatal(err)
	}
	signed := func(id string) string {
		return string(ownKey.Sign([]byte(note(id)), "corp.test", "sel", time.Now().Unix()))
	}
	forged := func(id string) string {
		m := string(otherKey.Sign([]byte(note(id)), "corp.test", "sel", time.Now().Unix()))
		_, b, _ := strings.Cut(m, " b=")
		return "Authentication-Results: mx.corp.test; dkim=pass header.d=corp.test header.s=sel header.b=\"" + b[:8] + "\"\r\n" +
			"Received: from x (y [192.0.2.1])\r\n\tby mx.corp.test (Postfix) with ESMTP id 4F2;\r\n\tMon, 23 Nov 2026 10:00:00 +0000 (UTC)\r\n" + m
	}
	t.Run("its word at the LMTP door", func(t *testing.T) {
		s.send("jane@corp.test", "contracts@corp.test", signed("word"))
		until(t, "a session", func() bool { return sessions() == 1 })
		list, _ := h.store.List(t.Context(), workflow.Filter{})
		if list[0].ProvenBy != "dkim corp.test checked by mx.corp.test" {
			t.Errorf("proven by %q", list[0].ProvenBy)
		}
	})
	t.Run("no word at the milter", func(t *testing.T) {
		if r := s.send("jane@corp.test", "john.doe@sign.corp.test", signed("milter")); !strings.HasPrefix(r, "451 4.4.3") {
			t.Errorf("got %s", r)
		}
		if r := s.send("jane@corp.test", "john.doe@sign.corp.test", forged("milter2")); !strings.HasPrefix(r, "451 4.4.3") {
			t.Errorf("forged: got %s", r)
		}
	})
	h.set("dns", "back")
	t.Run("forged words", func(t *testing.T) {
		if r := s.send("jane@corp.test", "john.doe@sign.corp.test", forged("forged")); !strings.HasPrefix(r, "550 5.7.1") {
			t.Errorf("at the milter: %s", r)
		}
		s.send("jane@corp.test", "contracts@corp.test", forged("forged"))
		until(t, "the LMTP door", func() bool { return h.outcomes("dropped") == 1 })
		// A client whose mail opendkim signs instead of checking it: a forged line stays in it.
		s.say("XCLIENT ADDR=192.0.2.77 NAME=[UNAVAILABLE]")
		s.say("EHLO client")
		s.send("jane@corp.test", "contracts@corp.test", strings.Replace(forged("kept"), "From: Jane Doe <jane@corp.test>", "From: x@elsewhere.test", 1))
		until(t, "the LMTP door", func() bool { return h.outcomes("dropped") == 2 })
	})
	t.Run("what it signs", func(t *testing.T) {
		if r := s.send("jane@corp.test", "john.doe@sign.corp.test", note("signed")); r[0] != '2' {
			t.Errorf("at the milter: %s", r)
		}
		list, _ := h.store.List(t.Context(), workflow.Filter{})
		if sessions() != 2 || list[0].ProvenBy != "dkim corp.test" {
			t.Errorf("%d sessions, %+v", sessions(), list[0])
		}
		s.send("jane@corp.test", "contracts@corp.test", note("signed2"))
		until(t, "a session", func() bool { return sessions() == 3 })
	})
	t.Run("forged words without it", func(t *testing.T) {
		cmd.Process.Kill() // and the forged lines stay
		if r := s.send("jane@corp.test", "john.doe@sign.corp.test", forged("alone")); !strings.HasPrefix(r, "550 5.7.1") {
			t.Errorf("at the milter: %s", r)
		}
		dropped := h.outcomes("dropped")
		s.send("jane@corp.test", "contracts@corp.test", forged("alone"))
		until(t, "the LMTP door", func() bool { return h.outcomes("dropped") == dropped+1 })
		if sessions() != 3 {
			t.Errorf("%d sessions", sessions())
		}
	})
	if t.Failed() {
		t.Log(out.String())
	}
}

// TestThousandForgedSenders sends a thousand mails in others' names through a
// real Postfix, past the milter and by it: nothing opens, and nobody gets a mail.
func TestThousandForgedSenders(t *testing.T) {
	h := open(t, "smtpd_soft_error_limit = 10000", "smtpd_hard_error_limit = 10000", "smtpd_client_connection_rate_limit = 0")
	const lines, each = 4, 250
	var wg sync.WaitGroup
	taken := make([]int, lines)
	for n := range lines {
		wg.Go(func() {
			s := h.dial(t, "client.elsewhere.test")
			defer s.Close()
			for i := range each {
				id := fmt.Sprintf("forged%d-%d", n, i)
				from := []string{"jane@corp.test", "bob@corp.test", id + "@victim.test", ""}[i%4]
				to := []string{"john.doe@sign.corp.test", "contracts@corp.test", "nobody@sign.corp.test", "lost@corp.test", "answers@corp.test"}[i%5]
				m := note(id)
				switch i % 3 {
				case 1:
					m = string(otherKey.Sign([]byte(m), "corp.test", "sel", time.Now().Unix()))
				case 2:
					m = "Received: from x (y [192.0.2.10])\r\n\t(Authenticated sender: jane)\r\n\tby mx.corp.test (Postfix) with ESMTPA id 4F2;\r\n\tMon, 23 Nov 2026 10:00:00 +0000 (UTC)\r\n" + m
				}
				if r := s.send(from, to, m); r[0] == '2' {
					taken[n]++
				} else if r[0] != '5' {
					t.Errorf("%s to %s: %s", from, to, r)
				}
			}
		})
	}
	wg.Wait()
	all := 0
	for _, n := range taken {
		all += n
	}
	// To the aliases Postfix says 250; those mails end at the LMTP door.
	if all != 600 {
		t.Errorf("Postfix took %d mails, expected 600", all)
	}
	until(t, "the LMTP door", func() bool { return h.outcomes("dropped") == all })
	until(t, "an empty queue", func() bool { q, err := h.Queue(context.Background()); return err == nil && len(q) == 0 })
	if list, err := h.store.List(t.Context(), workflow.Filter{}); err != nil || len(list) != 0 {
		t.Errorf("%d sessions, %v", len(list), err)
	}
	for _, b := range boxes {
		if mails, err := h.Mails(b); err != nil || len(mails) != 0 {
			t.Errorf("%d mails to %s, %v", len(mails), b, err)
		}
	}
	for _, word := range []string{"status=bounced", "status=deferred", "sender non-delivery notification"} {
		if strings.Contains(h.Log(), word) {
			t.Errorf("Postfix logged %q", word)
		}
	}
}
