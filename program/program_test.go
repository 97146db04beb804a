package program

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"milterd/config"
	"milterd/intake"
	"milterd/intake/origin"
	"milterd/internal/ports"
	"milterd/pki"
)

// configured gives a configuration on temporary folders and free ports, with
// its keys made.
func configured(t *testing.T) *config.Config {
	t.Helper()
	dir := t.TempDir()
	c := config.Default()
	c.Domain, c.Data = "sign.corp.test", filepath.Join(dir, "data")
	c.Organisation = config.Organisation{Name: "Example Corp", Country: "LU"}
	c.HTTP.Listen, c.Monitor.Listen = free(t), free(t)
	c.URL = "http://localhost:" + c.HTTP.Listen[strings.LastIndex(c.HTTP.Listen, ":")+1:]
	c.Milter.Listen, c.LMTP.Listen = "unix:"+filepath.Join(dir, "m.sock"), "unix:"+filepath.Join(dir, "l.sock")
	c.SMTP.Relay = "127.0.0.1:9" // nobody listens to discard
	c.Timestamps.Unsynchronised = true
	c.Directory.Users = filepath.Join(dir, "users.toml")
	if err := os.WriteFile(c.Directory.Users, []byte("[[user]]\nmail = \"jane.roe@corp.test\"\nname = \"Jane Roe\"\nlanguage = \"en\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Init(c, pki.P256); err != nil {
		t.Fatal(err)
	}
	return c
}

func free(t *testing.T) string {
	t.Helper()
	port, err := ports.Free(1)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", port)
}

// serve runs a program until the test ends or stop is called; stop gives what
// Run returned.
func serve(t *testing.T, c *config.Config) (p *Program, stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p, err := Build(ctx, c, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	stop = sync.OnceValue(func() error {
		cancel()
		err := <-ended
		p.Close()
		return err
	})
	t.Cleanup(func() { stop() })
	for range 500 {
		if resp, err := http.Get("http://" + c.Monitor.Listen + "/healthz"); err == nil {
			resp.Body.Close()
			if resp.StatusCode == 200 {
				return p, stop
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("not healthy after 5 s")
	return nil, nil
}

func TestInitNeverOverwrites(t *testing.T) {
	c := configured(t)
	before := snapshot(t, c.Data)
	made, err := Init(c, pki.P256)
	if err != nil || len(made) != 0 {
		t.Errorf("the second time made %q, %v", made, err)
	}
	if after := snapshot(t, c.Data); after != before {
		t.Errorf("data folder changed from\n%s\nto\n%s", before, after)
	}
	for path, want := range map[string]os.FileMode{masterFile(c): 0o600, c.Data: 0o700 | os.ModeDir, keysDir(c): 0o700 | os.ModeDir} {
		if info, err := os.Stat(path); err != nil || info.Mode() != want {
			t.Errorf("%s has mode %v, want %v (%v)", path, info.Mode(), want, err)
		}
	}
	if err := os.Remove(masterFile(c)); err != nil {
		t.Fatal(err)
	}
	if made, err := Init(c, pki.P256); err != nil || len(made) != 1 || made[0] != masterFile(c) {
		t.Errorf("without a master key made %q, %v", made, err)
	}
}

// snapshot names every file of a folder with its content.
func snapshot(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		fmt.Fprintf(&b, "%s %x\n", path, content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Each thing that is not there or not private stops Build with its name.
func TestBuildRefuses(t *testing.T) {
	for _, c := range []struct {
		name, want string
		spoil      func(c *config.Config)
	}{
		{"no master key", "milterd init makes it", func(c *config.Config) { os.Remove(masterFile(c)) }},
		{"open master key", "want: chmod 600", func(c *config.Config) { os.Chmod(masterFile(c), 0o644) }},
		{"short master key", "has 3 bytes, want 32", func(c *config.Config) { os.WriteFile(masterFile(c), []byte("abc"), 0o600) }},
		{"no keys", "milterd init makes them", func(c *config.Config) { os.RemoveAll(keysDir(c)) }},
		{"no users", "users.toml", func(c *config.Config) { os.Remove(c.Directory.Users) }},
		{"no password", "smtp.password_file", func(c *config.Config) { c.SMTP.User, c.SMTP.PasswordFile = "x", "/nonexistent" }},
		{"no certificate", "certificate of the signing pages", func(c *config.Config) { c.HTTP.Certificate, c.HTTP.Key = "/nonexistent", "/nonexistent" }},
		{"no database", "", func(c *config.Config) { c.Database.URL = "postgres://127.0.0.1:1/none?connect_timeout=2" }},
		{"no key of OpenOTP", "openotp.api_key_file", func(c *config.Config) {
			c.OpenOTP = config.OpenOTP{Name: "Phones", URL: "https://127.0.0.1:1/", Client: "milterd", APIKeyFile: "/nonexistent"}
		}},
		{"no authority of OpenOTP", "openotp.ca", func(c *config.Config) {
			c.OpenOTP = config.OpenOTP{Name: "Phones", URL: "https://127.0.0.1:1/", Client: "milterd", CA: c.Directory.Users}
		}},
		{"OpenOTP without TLS", "want https", func(c *config.Config) {
			c.OpenOTP = config.OpenOTP{Name: "Phones", URL: "http://phones.corp.test/", Client: "milterd"}
		}},
		{"no authorities of phones", "openotp.advanced_anchors: reading anchors", func(c *config.Config) {
			c.OpenOTP = config.OpenOTP{Name: "Phones", URL: "https://127.0.0.1:1/", Client: "milterd", Advanced: "local", AdvancedAnchors: filepath.Dir(c.Directory.Users)}
		}},
		{"no roots", "timestamps.roots", func(c *config.Config) {
			c.Timestamps.URLs, c.Timestamps.Roots = []string{"http://127.0.0.1:1"}, "/nonexistent"
		}},
		{"roots of another kind", "holds no PEM certificate", func(c *config.Config) {
			c.Timestamps.URLs, c.Timestamps.Roots = []string{"http://127.0.0.1:1"}, c.Directory.Users
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := configured(t)
			c.spoil(cfg)
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			defer cancel()
			p, err := Build(ctx, cfg, slog.New(slog.DiscardHandler))
			if err == nil {
				p.Close()
				t.Fatal("built")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %q, want something with %q", err, c.want)
			}
		})
	}
}

func TestHealthAndMetrics(t *testing.T) {
	c := configured(t)
	p, stop := serve(t, c)
	var parts map[string]string
	resp, err := http.Get("http://" + c.Monitor.Listen + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.NewDecoder(resp.Body).Decode(&parts); err != nil || len(parts) != 4 || parts["database"] != "ok" || parts["milter"] != "ok" || parts["lmtp"] != "ok" || parts["jobs"] != "ok" {
		t.Errorf("health is %v, %v", parts, err)
	}
	if resp, err = http.Get(c.URL + "/"); err != nil || resp.StatusCode != 200 {
		t.Fatalf("start page: %v, %v", resp, err)
	}
	if resp, err = http.Get(c.URL + "/metrics"); err != nil || resp.StatusCode != 404 {
		t.Errorf("the world sees /metrics: %v, %v", resp, err)
	}
	resp, err = http.Get("http://" + c.Monitor.Listen + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	for _, want := range []string{`milterd_sessions{state="open"} 0`, "milterd_jobs_discarded 0", `milterd_http_seconds_count{code="200",method="get"} 1`, "milterd_milter_connections 0",
		`milterd_timestamp_seconds_count{result="failed"} 0`, `milterd_certificate_expiry_timestamp_seconds{certificate="seal"} `, `milterd_certificate_expiry_timestamp_seconds{certificate="tsa"} `} {
		if !strings.Contains(string(body), want) {
			t.Errorf("/metrics lacks %q", want)
		}
	}
	source, err := os.ReadFile("../workflow/ports.go")
	if err != nil {
		t.Fatal(err)
	}
	kinds := regexp.MustCompile(`Job[A-Z][a-z]+ +JobKind = "([a-z]+)"`).FindAllStringSubmatch(string(source), -1)
	if len(kinds) < 9 {
		t.Fatalf("%d kinds of job", len(kinds))
	}
	for _, k := range kinds {
		for _, outcome := range []string{"completed", "failed"} {
			if want := fmt.Sprintf(`milterd_job_seconds_count{kind="%s",outcome="%s"} `, k[1], outcome); !strings.Contains(string(body), want) {
				t.Errorf("/metrics lacks %q", want)
			}
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	// Store and doors are closed now, and monitoring says so.
	w := httptest.NewRecorder()
	p.monitor().ServeHTTP(w, httptest.NewRequest("GET", "/healthz", nil))
	if err := json.NewDecoder(w.Body).Decode(&parts); err != nil || w.Code != http.StatusServiceUnavailable || parts["database"] != "away" ||
		parts["milter"] != "not serving" || parts["lmtp"] != "not serving" || parts["jobs"] != "not running" {
		t.Errorf("health after the end is %d, %v, %v", w.Code, parts, err)
	}
	w = httptest.NewRecorder()
	p.monitor().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if body := w.Body.String(); w.Code != 200 || !strings.Contains(body, "milterd_http_seconds") || strings.Contains(body, "milterd_sessions{") {
		t.Errorf("metrics without a database: %d, %s", w.Code, body)
	}
}

func TestRunStopsCleanly(t *testing.T) {
	c := configured(t)
	_, stop := serve(t, c)
	// A second one on the same doors must not come up.
	p, err := Build(context.Background(), c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Run(context.Background()); err == nil {
		t.Error("two run on the same doors")
	}
	p.Close()
	if err := stop(); err != nil {
		t.Errorf("a clean stop gives %v", err)
	}
	if _, err := net.Dial("tcp", c.HTTP.Listen); err == nil {
		t.Error("the pages are still served")
	}
}

func TestSystemd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "200000")
	t.Setenv("WATCHDOG_PID", fmt.Sprint(os.Getpid()))
	_, stop := serve(t, configured(t))
	hear := func() string {
		b := make([]byte, 100)
		socket.SetReadDeadline(time.Now().Add(5 * time.Second))
		n, err := socket.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
	if got := hear(); got != "READY=1" {
		t.Errorf("first word is %q", got)
	}
	if got := hear(); got != "WATCHDOG=1" {
		t.Errorf("then %q", got)
	}
	go stop()
	for got := ""; got != "STOPPING=1"; {
		if got = hear(); got != "STOPPING=1" && got != "WATCHDOG=1" {
			t.Fatalf("at the end %q", got)
		}
	}
	stop()

	t.Setenv("WATCHDOG_PID", "1")
	if d := watchdogInterval(); d != 0 {
		t.Errorf("another process's watchdog is fed every %v", d)
	}
}

func TestCertificateIsReadAgain(t *testing.T) {
	c := configured(t)
	dir := t.TempDir()
	c.HTTP.Certificate, c.HTTP.Key = filepath.Join(dir, "crt"), filepath.Join(dir, "key")
	c.URL = "https://localhost"
	makeCertificate(t, c, "one")
	p, stop := serve(t, c)
	defer stop()
	if got := served(t, c.HTTP.Listen); got != "one" {
		t.Errorf("certificate is %q", got)
	}
	makeCertificate(t, c, "two")
	p.Reload()
	if got := served(t, c.HTTP.Listen); got != "two" {
		t.Errorf("after the reload the certificate is %q", got)
	}
	if err := os.WriteFile(c.HTTP.Key, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.Reload()
	if got := served(t, c.HTTP.Listen); got != "two" {
		t.Errorf("after a broken reload the certificate is %q", got)
	}
}

func served(t *testing.T, address string) string {
	t.Helper()
	conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].Subject.CommonName
}

func makeCertificate(t *testing.T, c *config.Config, name string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(
		os.WriteFile(c.HTTP.Certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600),
		os.WriteFile(c.HTTP.Key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
	if err != nil {
		t.Fatal(err)
	}
}

// A replayed mail opens nothing as long as its signature counts as fresh: what
// the built program remembers lasts longer than that.
func TestReplayWindow(t *testing.T) {
	p, err := Build(t.Context(), configured(t), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	// A signature may be dated a little ahead, and wait while it is checked.
	if got, fresh := p.Desk.Policy.Repeat, origin.Fresh; got < fresh+time.Hour {
		t.Errorf("a mail is remembered for %s, and its signature is fresh for %s", got, fresh)
	}
}

// Only Postfix's own user makes a line that leads to the next; a user who is
// none is told.
func TestMailOwner(t *testing.T) {
	postfix, err := user.Lookup("postfix")
	if err != nil {
		t.Fatal(err)
	}
	for owner, want := range map[string]string{"postfix": postfix.Uid, "": "", "nobody-of-that-name": "", "root": ""} {
		c := configured(t)
		c.LMTP.ReceivedBy, c.LMTP.MailOwner = "mx.corp.test", owner
		var log bytes.Buffer
		p, err := Build(t.Context(), c, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { p.Close() })
		if got := p.door.Intake.(*intake.Intake).Origin.Requeued; got != want {
			t.Errorf("%q: %q counts, want %q", owner, got, want)
		}
		if told := strings.Contains(log.String(), "lmtp.mail_owner"); told != (want == "" && owner != "") {
			t.Errorf("%q: told %v: %s", owner, told, log.String())
		}
	}
}

// Keys are made for an organisation once; a configuration that names another
// one later, or none yet, is told.
// Under an address browsers allow no passkeys: who configures it hears so.
func TestPasskeysUnderAnAddress(t *testing.T) {
	for url, want := range map[string][]string{
		"https://sign.corp.test": nil, "http://localhost:8481": nil,
		"https://192.0.2.7": {`proofs.advanced accepts passkeys, but url is "https://192.0.2.7"`, "nobody can sign at this level. Give",
			"proofs.standard accepts passkeys", "nobody can sign at this level by passkey"},
		"https://[2001:db8::7]:8443": {"proofs.advanced accepts passkeys", `url is "https://[2001:db8::7]:8443"`},
	} {
		c := config.Default()
		c.URL = url
		got := noPasskeys(c)
		if len(got) != min(2, len(want)) {
			t.Errorf("%s: %q", url, got)
		}
		for _, w := range want {
			if !strings.Contains(strings.Join(got, "\n"), w) {
				t.Errorf("%s: %q is not told in %q", url, w, got)
			}
		}
	}
	c := config.Default()
	c.URL, c.Proofs = "https://192.0.2.7", config.Proofs{Standard: []string{"code"}, Advanced: []string{"totp"}}
	if got := noPasskeys(c); got != nil {
		t.Errorf("without passkeys: %q", got)
	}
}

func TestDrift(t *testing.T) {
	c := config.Default()
	c.Domain, c.URL, c.Data = "sign.corp.com", "https://sign.corp.com", t.TempDir()
	c.Organisation = config.Organisation{Name: "Corp GmbH", Country: "DE"}
	if made, err := Init(c, pki.P256); !errors.Is(err, ErrSample) || len(made) > 0 {
		t.Errorf("the sample as it is: %v, %v", made, err)
	}

	c = configured(t)
	p, err := Build(t.Context(), c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	if w := p.drift(); len(w) > 0 {
		t.Errorf("nothing was changed: %q", w)
	}
	c.Organisation = config.Organisation{Name: "Other Corp", Country: "DE", VAT: "DE123456789"}
	c.URL = "https://sign.other.test"
	got := strings.Join(p.drift(), "\n")
	for _, want := range []string{`organisation.name is "Other Corp"`, `organisation.country is "DE"`, `organisation.vat is "DE123456789"`, `url is "https://sign.other.test"`} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not told in:\n%s", want, got)
		}
	}
}

// TestAgeing: one is told while there is time, and what to do.
func TestAgeing(t *testing.T) {
	c := configured(t)
	p, err := Build(t.Context(), c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	for _, at := range []struct {
		years, months int
		want          []string
	}{
		{0, 0, nil},
		{2, 10, nil},
		{2, 11, []string{"the certificate of seal ends at ", "milterd ca renew seal"}},
		{5, 6, []string{"milterd ca renew seal", "the certificate of tsa ends at ", "milterd ca renew tsa"}},
		{9, 10, []string{"renew seal", "renew tsa"}},
	} {
		got := strings.Join(p.Ageing(time.Now().AddDate(at.years, at.months, 3)), "\n")
		if (got == "") != (at.want == nil) {
			t.Errorf("after %d years and %d months: %q", at.years, at.months, got)
		}
		for _, w := range at.want {
			if !strings.Contains(got, w) {
				t.Errorf("want %q in %q", w, got)
			}
		}
	}
	// What the issuing CA's end bounds, it is told to renew first.
	now := p.Authority
	later := func() (a *pki.Authority) {
		a, err := pki.Open(pki.Config{Dir: keysDir(c), Register: p.Store, Now: func() time.Time { return time.Now().AddDate(7, 0, 0) }})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	if _, err := later().Renew(t.Context(), "tsa", false); err != nil {
		t.Fatal(err)
	}
	p.Authority = later()
	if got := strings.Join(p.Ageing(time.Now().AddDate(9, 6, 0)), "\n"); !strings.Contains(got, "tsa ends at") || !strings.Contains(got, "first milterd ca renew issuing") {
		t.Errorf("got %q", got)
	}
	p.Authority = now
	// Where another authority tells the time, nobody waits for the own clock's.
	c.Timestamps.URLs = []string{"http://tsa.corp.test"}
	if got := p.Ageing(time.Now().AddDate(5, 5, 3)); len(got) != 1 {
		t.Errorf("got %q", got)
	}
}
