package doctor

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"milterd/config"
)

// breakage is one thing out of order, and what the doctor must say of it.
type breakage struct {
	name  string
	do    func(*testing.T, *site, *Doctor) (back func())
	want  string // every finding that is not pass: "fail clock, skip crl"
	says  string // in a finding's text
	fix   string // in its fix
	alone string // the check that says so, where want names several
}

func nothing() {}

// told breaks what the doctor was told to look for.
func told(change func(*Doctor)) func(*testing.T, *site, *Doctor) func() {
	return func(_ *testing.T, _ *site, d *Doctor) func() {
		change(d)
		return nothing
	}
}

func postconf(settings ...string) func(*testing.T, *site, *Doctor) func() {
	return func(_ *testing.T, s *site, _ *Doctor) func() { return s.edit(settings...) }
}

func master(option string, entries ...string) func(*testing.T, *site, *Doctor) func() {
	return func(_ *testing.T, s *site, _ *Doctor) func() { return s.master(option, entries...) }
}

func dns(key string, values ...string) func(*testing.T, *site, *Doctor) func() {
	return func(_ *testing.T, s *site, _ *Doctor) func() { return s.dns.set(key, values...) }
}

var breakages = []breakage{
	{"main.cf without aliases", postconf("virtual_alias_maps ="), "warn settings", "virtual_alias_maps is empty", "milterd postfix apply", ""},
	{"main.cf without the transport", postconf("transport_maps ="), "fail settings", "transport_maps is empty, and must become “inline:{ {sign.corp.test = lmtp:unix:milterd/lmtp.sock} }”", "milterd postfix apply", ""},
	{"milter for programs missing", postconf("non_smtpd_milters ="), "fail settings", "non_smtpd_milters is empty", "milterd postfix apply", ""},
	{"strangers let in", postconf("smtpd_recipient_restrictions ="), "fail settings", "smtpd_recipient_restrictions is empty", "milterd postfix apply", ""},
	{"sign domain as a destination", postconf("mydestination = mx.corp.test, sign.corp.test"), "warn settings", "mydestination holds the sign domain", "take sign.corp.test out of mydestination", ""},
	{"a milter behind", func(_ *testing.T, s *site, _ *Doctor) func() {
		return s.edit("smtpd_milters = unix:dkim.sock, " + s.setting("smtpd_milters") + ", { inet:127.0.0.1:9, default_action=accept, connect_timeout=1s }")
	}, "fail last-milter", "behind milterd stands inet:127.0.0.1:9", "puts it last", ""},
	{"milter socket closed to Postfix", func(t *testing.T, s *site, _ *Doctor) func() {
		return mode(t, filepath.Join(s.spool(), "milterd/milter.sock"), 0o600)
	}, "fail milter-socket", "Postfix's user postfix may not use", "-g postfix -m 2710", ""},
	{"folder of the sockets closed to Postfix", func(t *testing.T, s *site, d *Doctor) func() {
		d.returnTime = 2 * time.Second
		return mode(t, filepath.Join(s.spool(), "milterd"), 0o700)
	}, "fail lmtp-socket, fail milter-socket, fail own-mail/return", "Postfix's user postfix may not use", "systemctl restart milterd", ""},
	{"milter outside the chroot", func(t *testing.T, s *site, d *Doctor) func() {
		outside := filepath.Join(s.dir, "mta", "milter.sock") // the same socket, by another name
		if err := os.Link(filepath.Join(s.spool(), "milterd/milter.sock"), outside); err != nil {
			t.Fatal(err)
		}
		d.Config.Milter.Listen = "unix:" + outside
		d.Site.Milter = d.Config.Milter.Listen
		return func() { os.Remove(outside) }
	}, "fail milter-socket, skip last-milter", "smtpd runs in a chroot at ", "milter.listen = \"unix:", "milter-socket"},
	{"LMTP socket gone", func(t *testing.T, s *site, _ *Doctor) func() {
		socket := filepath.Join(s.spool(), "milterd/lmtp.sock")
		return rename(t, socket, socket+".away")
	}, "fail lmtp-socket", "there is no ", "systemctl restart milterd", ""},
	{"smuggling", postconf("smtpd_forbid_bare_newline = no"), "fail smuggling", "CVE-2023-51764", "milterd postfix apply", ""},
	{"smuggling from the office", postconf("smtpd_forbid_bare_newline_exclusions = $mynetworks"), "fail smuggling", "(127.0.0.0/8) smuggle", "milterd postfix apply", ""},
	{"Received lines taken away", postconf("header_checks = regexp:{ {/^Received:.*ESMTPSA/ IGNORE} }"), "fail received", "can forge a login", "take the rule out of regexp:{", ""},
	{"strangers' Received lines taken away", postconf("header_checks = regexp:{ {/^Received:.*with ESMTP id/ IGNORE} }"), "fail received", "can forge a login", "take the rule out of regexp:{", ""},
	{"Received lines dropped", postconf("message_drop_headers = bcc, Received"), "fail received", "message_drop_headers takes away", "take received out of message_drop_headers", ""},
	{"Received lines taken away in master.cf", master("-P", "cleanup/unix/header_checks=$own_checks"),
		"fail received", "header_checks of the service cleanup in master.cf (regexp:{", "take the rule out of regexp:{", ""},
	{"Received lines taken away by another cleanup", master("-M", "own/unix=own unix n - y - 0 cleanup -o header_checks=$own_checks"),
		"fail received", "header_checks of the service own in master.cf (regexp:{", "take the rule out of regexp:{", ""},
	{"Received lines taken away by lmtp", master("-P", "lmtp/unix/lmtp_header_checks=$own_checks"),
		"fail received", "lmtp_header_checks of the service lmtp in master.cf (regexp:{", "take the rule out of regexp:{", ""},
	{"another owner of the queue", told(func(d *Doctor) { d.Config.LMTP.MailOwner = "nobody" }), "warn received", "proves nobody after postsuper -r", `set lmtp.mail_owner = "postfix"`, ""},
	{"an alias of local(8)", postconf("alias_maps = inline:{ {postmaster = root}, {desk = jane@corp.test, Jane.Roe@SIGN.corp.test} }"),
		"warn aliases", "leads to Jane.Roe@SIGN.corp.test", "move desk from inline:{", ""},
	{"no login offered", postconf("smtpd_sasl_auth_enable = no"), "fail proof", "nobody can ask for a signature", "smtpd_sasl_auth_enable = yes", ""},
	{"logins behind TLS that there is not", postconf("smtpd_tls_auth_only = yes"), "fail proof", "nobody can ask for a signature", "smtpd_tls_auth_only hides it", ""},
	{"no login offered to this machine", postconf("smtpd_sasl_exceptions_networks = 127.0.0.0/8"), "warn proof", "is not seen from here", "log in from elsewhere", ""},
	{"other host name in master.cf", master("-P", "*/inet/myhostname=mail.corp.test"), "warn received", "writes its myhostname of the service", `set lmtp.received_by = "mail.corp.test"`, ""},
	{"other host name", told(func(d *Doctor) { d.Config.LMTP.ReceivedBy = "mail.corp.test" }), "warn received", "lmtp.received_by is mail.corp.test, but", `set lmtp.received_by = "mx.corp.test"`, ""},
	{"nobody in the directory", told(func(d *Doctor) { d.NoDirectory = errors.New("users.toml: gone") }), "fail directory, warn spoofing", "users.toml: gone", "mend [directory]", "directory"},
	{"a group that is not there", told(func(d *Doctor) { d.Config.Policy.Sign.Standard = []string{"nobody"} }), "fail directory", "no such group: nobody", "name an existing group", ""},
	{"no MX", dns("sign.corp.test MX"), "warn mx", "has no MX record", "publish: sign.corp.test. MX 10 mx.corp.test.", ""},
	{"null MX", dns("sign.corp.test MX", "."), "fail mx", "takes no mail (RFC 7505)", "publish: sign.corp.test. MX 10", ""},
	{"MX without an address", dns("sign.corp.test MX", "gone.corp.test."), "fail mx", "gone.corp.test, which has no address", "publish an address for gone.corp.test", ""},
	{"MX of others", func(_ *testing.T, s *site, _ *Doctor) func() {
		s.dns.set("other.test A", "198.51.100.7")
		return s.dns.set("sign.corp.test MX", "other.test.")
	}, "warn mx", "is not this Postfix", "let other.test pass mail", ""},
	{"relay away", told(func(d *Doctor) { d.Config.SMTP.Relay = "127.0.0.1:9" }), "fail relay, skip own-mail/return", "127.0.0.1:9 cannot be reached", "mend smtp.relay", "relay"},
	{"relay without TLS", told(func(d *Doctor) { d.Config.SMTP.TLS = "required" }), "fail relay, skip own-mail/return", "STARTTLS", "mend smtp.relay, smtp.tls", "relay"},
	{"relay with little room", postconf("message_size_limit = 1000000"), "warn relay", "takes mails of 1000000 bytes", "limits.mail = \"1000000\"", ""},
	{"SPF disowns us", dns("sign.corp.test TXT", "v=spf1 ip4:198.51.100.1 -all"), "fail own-mail/spf", "disowns mail from 192.0.2.25", `publish: sign.corp.test. TXT "v=spf1 ip4:192.0.2.25 -all"`, ""},
	{"no SPF", dns("sign.corp.test TXT"), "warn own-mail/spf", "has no record", "publish: sign.corp.test. TXT", ""},
	{"SPF broken", dns("sign.corp.test TXT", "v=spf1 ipv4:192.0.2.25 -all"), "fail own-mail/spf", "is broken", "mend the record of sign.corp.test", ""},
	{"DKIM key gone", dns("s1._domainkey.sign.corp.test TXT"), "fail own-mail/dkim", "does not hold", "publish the key that the signer uses", ""},
	{"not signed", func(_ *testing.T, s *site, _ *Doctor) func() {
		return s.edit("smtpd_milters = " + s.setting("smtpd_milters"))
	}, "warn own-mail/dkim", "is not signed", "sign mail from sign.corp.test", ""},
	{"no DMARC", dns("_dmarc.corp.test TXT"), "warn own-mail/dmarc", "neither sign.corp.test nor the domain above it", "publish: _dmarc.sign.corp.test. TXT", ""},
	{"DMARC rejects us", func(_ *testing.T, s *site, _ *Doctor) func() {
		a, b := s.dns.set("sign.corp.test TXT"), s.dns.set("s1._domainkey.sign.corp.test TXT")
		return func() { a(); b() }
	}, "fail own-mail/dkim, fail own-mail/dmarc, warn own-mail/spf", "asks others not to take it (p=reject)", "sign with DKIM, or mend SPF", "own-mail/dmarc"},
	{"own mail refused", func(_ *testing.T, s *site, _ *Doctor) func() {
		return s.edit("smtpd_sender_restrictions = check_sender_access regexp:{ {/^check/ REJECT} }")
	}, "fail own-mail/return", "own check address was refused", "Postfix's log", ""},
	{"clock adrift", told(func(d *Doctor) {
		d.Config.Timestamps.Unsynchronised = false
		d.synchronised = func() error { return errors.New("no time server steers the clock") }
	}), "fail clock", "the embedded timestamp authority stays silent", "apt install chrony", ""},
	{"certificate runs out", func(t *testing.T, s *site, _ *Doctor) func() { return s.extraCertificate(t, 30*24*time.Hour) }, "warn certificates", "the extra certificate expires on", "docs/pki.md", ""},
	{"certificate has run out", func(t *testing.T, s *site, _ *Doctor) func() { return s.extraCertificate(t, -time.Hour) }, "fail certificates", "the extra certificate has expired on", "docs/pki.md", ""},
	{"certificate of the pages", func(t *testing.T, s *site, d *Doctor) func() {
		d.Config.HTTP.Certificate, d.Config.HTTP.Key = filepath.Join(s.dir, "tls.crt"), filepath.Join(s.dir, "tls.key")
		certificate(t, d.Config.HTTP.Certificate, d.Config.HTTP.Key, 7*24*time.Hour)
		return nothing
	}, "fail pages", "the TLS certificate of the pages expires on", "systemctl reload milterd", ""},
	{"stale revocation lists", told(func(d *Doctor) { d.Now = func() time.Time { return time.Now().AddDate(0, 0, 7) } }), "fail crl", "is stale", "let no cache stand before /pki/", ""},
	{"database spoilt", func(t *testing.T, s *site, d *Doctor) func() {
		file := filepath.Join(s.dir, "spoilt.db")
		if err := os.WriteFile(file, []byte(strings.Repeat("this is no database ", 100)), 0o600); err != nil {
			t.Fatal(err)
		}
		d.Config.Database.URL = "sqlite:" + file
		return nothing
	}, "fail database", "cannot be read", "backup", ""},
}

// setting is what milterd postfix print says for a parameter.
func (s *site) setting(name string) string {
	for _, v := range s.doctor().Settings {
		if v.Name == name {
			return v.Value
		}
	}
	return ""
}

func mode(t *testing.T, path string, m os.FileMode) func() {
	t.Helper()
	info, err := os.Stat(path)
	if err == nil {
		err = os.Chmod(path, m)
	}
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Chmod(path, info.Mode()); err != nil {
			t.Error(err)
		}
	}
}

func rename(t *testing.T, from, to string) func() {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Rename(to, from); err != nil {
			t.Error(err)
		}
	}
}

// extraCertificate puts one more certificate among the organisation's.
func (s *site) extraCertificate(t *testing.T, left time.Duration) (back func()) {
	t.Helper()
	file := filepath.Join(s.config.Data, "keys", "extra.crt")
	certificate(t, file, "", left)
	return func() {
		if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Error(err)
		}
	}
}

// certificate writes one for localhost, and its key.
func certificate(t *testing.T, file, keyFile string, left time.Duration) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(left)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644); err != nil {
		t.Fatal(err)
	}
	if keyFile == "" {
		return
	}
	if der, err = x509.MarshalPKCS8PrivateKey(k); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A healthy site passes everything; each breakage is found by its own check,
// with the way to mend it, and mended, all is well again.
func TestDoctor(t *testing.T) {
	s := newSite(t)
	r := s.doctor().Examine(t.Context())
	if bad := outcome(r); len(bad) > 0 || r.Exit() != 0 {
		t.Fatalf("a healthy site: %v, exit %d\n%s", bad, r.Exit(), text(r))
	}
	for _, b := range breakages {
		t.Run(b.name, func(t *testing.T) {
			d := s.doctor()
			back := b.do(t, s, d)
			r := d.Examine(t.Context())
			back()
			if got := strings.Join(outcome(r), ", "); got != b.want {
				t.Errorf("found %q, want %q\n%s", got, b.want, text(r))
			}
			name := b.alone
			if name == "" {
				_, name, _ = strings.Cut(strings.Split(b.want, ", ")[0], " ")
			}
			if !slices.ContainsFunc(r.Findings, func(f Finding) bool {
				return f.Check == name && strings.Contains(f.Text, b.says) && strings.Contains(f.Fix, b.fix)
			}) {
				t.Errorf("%s does not say %q, fix %q\n%s", name, b.says, b.fix, text(r))
			}
			want := 1
			if strings.Contains(b.want, "fail") {
				want = 2
			}
			if r.Exit() != want {
				t.Errorf("exit status %d", r.Exit())
			}
		})
	}

	t.Run("logins behind TLS", func(t *testing.T) { behindTLS(t, s) })
	t.Run("an old trust still at work", func(t *testing.T) { trusting(t, s) })
	t.Run("strangers reach milterd", func(t *testing.T) { strangers(t, s) })
	t.Run("Postfix stopped", func(t *testing.T) {
		if err := s.mta.Stop(); err != nil {
			t.Fatal(err)
		}
		r := s.doctor().Examine(t.Context())
		if got := strings.Join(outcome(r), ", "); got != "fail postfix, fail relay, skip own-mail/return, skip proof, warn spoofing" {
			t.Errorf("found %q\n%s", got, text(r))
		}
	})
	t.Run("milterd stopped", func(t *testing.T) {
		s.stop()
		r := s.doctor().Examine(t.Context())
		if got := strings.Join(outcome(r), ", "); got != "fail milterd, fail postfix, fail relay, skip crl, skip lmtp-socket, skip milter-socket, skip own-mail/return, skip proof, skip spoofing" {
			t.Errorf("found %q\n%s", got, text(r))
		}
	})
}

// Each check has a breakage that it finds, here or in a test of its own.
func TestEveryCheckFinds(t *testing.T) {
	seen := []string{"milterd", "postfix", "spoofing", "timestamps", "disk"} // TestDoctor's last ones, TestTimestamps, TestDisk
	for _, b := range breakages {
		name := b.alone
		if name == "" {
			_, name, _ = strings.Cut(strings.Split(b.want, ", ")[0], " ")
		}
		name, _, _ = strings.Cut(name, "/")
		seen = append(seen, name)
	}
	for _, c := range checks {
		if !slices.Contains(seen, c.name) {
			t.Errorf("no breakage is found by %s", c.name)
		}
	}
}

// behindTLS offers a login after STARTTLS only, and then on a port that speaks
// TLS from the first byte on only.
func behindTLS(t *testing.T, s *site) {
	cert, key := filepath.Join(s.dir, "smtpd.crt"), filepath.Join(s.dir, "smtpd.key")
	certificate(t, cert, key, 365*24*time.Hour)
	back := s.edit("smtpd_tls_security_level = may", "smtpd_tls_auth_only = yes", "smtpd_tls_cert_file = "+cert, "smtpd_tls_key_file = "+key)
	defer func() { back() }()
	if r := s.doctor().Examine(t.Context()); !strings.Contains(text(r), "people can log in at Postfix") {
		t.Errorf("after STARTTLS:\n%s", text(r))
	}
	port := strings.TrimPrefix(freeAddr(t), "127.0.0.1:")
	plain := s.master("-P", "*/inet/smtpd_sasl_auth_enable=no")
	defer func() { plain() }()
	if r := s.doctor().Examine(t.Context()); !slices.Contains(outcome(r), "fail proof") {
		t.Errorf("without any login:\n%s", text(r))
	}
	wrapped := s.master("-M", port+"/inet=127.0.0.1:"+port+" inet n - y - - smtpd -o smtpd_tls_wrappermode=yes")
	defer func() { wrapped() }()
	if r := s.doctor().Examine(t.Context()); !strings.Contains(text(r), "people can log in at Postfix (127.0.0.1:"+port+")") {
		t.Errorf("with TLS from the first byte on:\n%s", text(r))
	}
}

// trusting runs a milterd that still believes an address which is no longer in the
// configuration, behind a Postfix that lets it in.
func trusting(t *testing.T, s *site) {
	s.stop()
	c := *s.config
	c.Milter.TrustedClients = []string{"127.0.0.1", "203.0.113.0/24"}
	s.serve(&c)
	back := s.edit("milterd_senders = permit")
	r := s.doctor().Examine(t.Context())
	if got := strings.Join(outcome(r), ", "); got != "fail settings, fail spoofing" {
		t.Errorf("found %q\n%s", got, text(r))
	}
	for _, want := range []string{"127.0.0.1 was believed to be jane.roe@corp.test without a login", "milterd believed 203.0.113.77 to be jane.roe@corp.test"} {
		if !strings.Contains(text(r), want) {
			t.Errorf("the doctor does not say %q\n%s", want, text(r))
		}
	}
	back()
	// Where the configuration says so, it is no hole, but told.
	s.stop()
	old := s.config
	s.config = &c
	c.Milter.TrustedClients = []string{"127.0.0.1", "198.51.100.7"}
	s.serve(&c)
	s.apply()
	r = s.doctor().Examine(t.Context())
	if got := strings.Join(outcome(r), ", "); got != "warn spoofing" {
		t.Errorf("found %q\n%s", got, text(r))
	}
	for _, want := range []string{"every program on this machine (127.0.0.1) can ask in anybody's name", "198.51.100.7 can ask in anybody's name without a login, as"} {
		if !strings.Contains(text(r), want) {
			t.Errorf("the doctor does not say %q\n%s", want, text(r))
		}
	}
	s.stop()
	s.config = old
	s.serve(old)
	s.apply()
}

// strangers runs a site where unproven mail reaches milterd, which looks for
// DKIM or asks: the doctor's attempt goes as far as the end of the mail.
func strangers(t *testing.T, s *site) {
	old := s.config
	with := func(change func(*config.Config)) string {
		s.stop()
		c := *old
		change(&c)
		s.config = &c
		s.serve(&c)
		s.apply()
		r := s.doctor().Examine(t.Context())
		if bad := outcome(r); len(bad) > 0 {
			t.Errorf("found %v\n%s", bad, text(r))
		}
		return text(r)
	}
	with(func(c *config.Config) { c.Senders.DKIM = []string{"corp.test"} })
	if log := s.mta.Log(); !strings.Contains(log, "milter-reject: END-OF-MESSAGE from unknown[127.0.0.1]: 5.7.1") {
		t.Error("the attempt did not come to the end of its mail")
	}
	s.config = old
	with(func(*config.Config) {})
	s.config = old
}

func TestReport(t *testing.T) {
	r := Report{Findings: []Finding{{"a", Pass, "good", ""}, {"b", Skip, "later", ""}}, Took: 1500 * time.Millisecond}
	if r.Exit() != 0 || r.Summary() != "milterd: pass: 1 pass, 0 warn, 0 fail, 1 skipped, in 1.5 s" {
		t.Errorf("%d, %s", r.Exit(), r.Summary())
	}
	r.Findings = append(r.Findings, Finding{"c", Warn, "so so", "mend c"})
	if r.Exit() != 1 {
		t.Errorf("exit %d", r.Exit())
	}
	r.Findings = append(r.Findings, Finding{"d", Fail, "bad", "mend d"})
	if want := "milterd: fail (d): 1 pass, 1 warn, 1 fail, 1 skipped, in 1.5 s\n\npass  a  good\nskip  b  later\nwarn  c  so so\n         fix: mend c\nFAIL  d  bad\n         fix: mend d\n"; r.Exit() != 2 || text(r) != want {
		t.Errorf("exit %d\n%s", r.Exit(), text(r))
	}
	var b strings.Builder
	if err := r.JSON(&b); err != nil {
		t.Fatal(err)
	}
	var back struct {
		Status   string
		Summary  string
		Seconds  float64
		Findings []struct{ Check, Status, Text, Fix string }
	}
	if err := json.Unmarshal([]byte(b.String()), &back); err != nil || back.Status != "fail" || back.Seconds != 1.5 || len(back.Findings) != 4 || back.Findings[3].Fix != "mend d" {
		t.Errorf("%v\n%s", err, b.String())
	}
}

// A check that does not come back is told, and holds up nobody.
func TestTimeout(t *testing.T) {
	e := &exam{Doctor: &Doctor{}}
	begin := time.Now()
	found := e.make(t.Context(), check{"stuck", 50 * time.Millisecond, func(*exam, context.Context) []Finding { select {} }})
	if len(found) != 1 || found[0].Check != "stuck" || found[0].Status != Fail || time.Since(begin) > 20*time.Second {
		t.Errorf("after %s: %+v", time.Since(begin), found)
	}
}
