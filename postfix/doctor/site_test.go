package doctor

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"milterd/config"
	"milterd/internal/ports"
	"milterd/pki"
	"milterd/postfix"
	"milterd/program"
	"milterd/signature/pdf"
	"milterd/store/pgtest"
)

func TestMain(m *testing.M) {
	if pdf.ChildMain() {
		return
	}
	os.Exit(pgtest.Main(m))
}

// site is a whole site on loopback: a real Postfix, chrooted as Debian ships it
// and told about milterd by apply; a real opendkim that signs; a DNS server; and
// milterd.
type site struct {
	t       *testing.T
	dir     string
	config  *config.Config
	mta     *postfix.Private
	dns     *zone
	stop    func()
	options postfix.Options
}

// key is opendkim's; its public half stands in the zone.
var key = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

func txt(t *testing.T) string {
	t.Helper()
	k, err := key()
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&k.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(der)
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir()}
	s.dns = startDNS(t, map[string][]string{
		"sign.corp.test MX":                {"mx.corp.test."},
		"sign.corp.test TXT":               {"v=spf1 ip4:192.0.2.25 -all"},
		"mx.corp.test A":                   {"127.0.0.1"},
		"s1._domainkey.sign.corp.test TXT": {txt(t)},
		"_dmarc.corp.test TXT":             {"v=DMARC1; p=reject"},
	})
	s.startDKIM()
	mta := filepath.Join(s.dir, "mta")
	if err := os.MkdirAll(mta, 0o755); err != nil {
		t.Fatal(err)
	}
	var err error
	if s.mta, err = postfix.StartPrivate(t.Context(), postfix.Options{Dir: mta, Domain: "corp.test", Mailboxes: []string{"jane.roe@corp.test", "it@corp.test"}, Chroot: true,
		Users: map[string]string{"jane": "secret"},
		Settings: []string{"smtp_bind_address = 192.0.2.25", "smtpd_peername_lookup = no", "smtpd_milters = unix:dkim.sock",
			"own_checks = regexp:{ {/^Received:.*ESMTPSA/ IGNORE} }"}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.mta.Stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(s.mta.Log())
		}
	})
	s.configure()
	s.apply()
	s.serve(s.config)
	return s
}

// spool is Postfix's queue directory.
func (s *site) spool() string { return filepath.Join(s.dir, "mta", "spool") }

func (s *site) instance() postfix.Instance {
	return postfix.Instance{Dir: filepath.Join(s.dir, "mta", "conf")}
}

// startDKIM signs what passes, at a socket in Postfix's chroot.
func (s *site) startDKIM() {
	s.t.Helper()
	if _, err := exec.LookPath("opendkim"); err != nil {
		s.t.Fatal("opendkim is not installed: apt-get install -y opendkim")
	}
	k, err := key()
	if err != nil {
		s.t.Fatal(err)
	}
	file := filepath.Join(s.dir, "dkim.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(k)})
	if err := os.WriteFile(file, text, 0o600); err != nil {
		s.t.Fatal(err)
	}
	if err := os.MkdirAll(s.spool(), 0o755); err != nil {
		s.t.Fatal(err)
	}
	socket, conf := filepath.Join(s.spool(), "dkim.sock"), filepath.Join(s.dir, "dkim.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, "Mode s\nDomain sign.corp.test\nSelector s1\nKeyFile %s\nSocket local:%s\nUMask 000\nSyslog no\nRequireSafeKeys no\n"+
		"SignHeaders From,To,Cc,Subject,Date,Message-ID,MIME-Version,Content-Type,Content-Transfer-Encoding\n", file, socket), 0o644); err != nil {
		s.t.Fatal(err)
	}
	c := exec.Command("opendkim", "-f", "-x", conf)
	c.Stderr = s.t.Output()
	if err := c.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		c.Process.Signal(syscall.SIGTERM)
		c.Wait()
	})
	for range 500 {
		if conn, err := net.Dial("unix", socket); err == nil {
			conn.Close()
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	s.t.Fatal("opendkim does not answer")
}

// configure makes milterd's configuration, its keys and its folder for sockets.
func (s *site) configure() {
	s.t.Helper()
	c := config.Default()
	c.Domain, c.Data = "sign.corp.test", filepath.Join(s.dir, "data")
	c.Organisation = config.Organisation{Name: "Example Corp", Country: "LU"}
	c.HTTP.Listen, c.Monitor.Listen = freeAddr(s.t), freeAddr(s.t)
	c.URL = "http://localhost:" + c.HTTP.Listen[strings.LastIndex(c.HTTP.Listen, ":")+1:]
	sockets := filepath.Join(s.spool(), "milterd")
	c.Milter.Listen, c.LMTP.Listen = "unix:"+sockets+"/milter.sock", "unix:"+sockets+"/lmtp.sock"
	c.LMTP.ReceivedBy = "mx.corp.test"
	c.SMTP.Relay = s.mta.SMTPAddr
	c.Timestamps.Unsynchronised = true
	c.Directory.Users = filepath.Join(s.dir, "users.toml")
	c.Limits.Mail = 20 << 20
	if err := os.WriteFile(c.Directory.Users, []byte("[[user]]\nmail = \"jane.roe@corp.test\"\nname = \"Jane Roe\"\n"), 0o600); err != nil {
		s.t.Fatal(err)
	}
	if _, err := program.Init(c, pki.P256); err != nil {
		s.t.Fatal(err)
	}
	// As the package makes it: sockets in it get Postfix's group.
	owner, err := user.LookupGroup("postfix")
	if err != nil {
		s.t.Fatal(err)
	}
	gid, _ := strconv.Atoi(owner.Gid)
	if err := os.Mkdir(sockets, 0o710); err == nil {
		err = os.Chown(sockets, 0, gid)
	}
	if err == nil {
		err = os.Chmod(sockets, 0o710|os.ModeSetgid)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.config = c
}

func freeAddr(t *testing.T) string {
	t.Helper()
	port, err := ports.Free(1)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", port)
}

func (s *site) facts() postfix.Site {
	c := s.config
	return postfix.Site{SignDomain: c.Domain, Milter: postfix.Seen(c.Milter.Listen, s.spool()), LMTP: postfix.Seen(c.LMTP.Listen, s.spool()),
		ReceivedBy: c.LMTP.ReceivedBy, Postmaster: "it@corp.test", Trusted: c.Milter.Clients(),
		Strangers: len(c.Senders.DKIM) > 0 || c.Senders.Confirm}
}

// apply tells Postfix about milterd.
func (s *site) apply() {
	s.t.Helper()
	i := s.instance()
	plan, err := postfix.MakePlan(s.t.Context(), i, s.facts(), postfix.Settings(s.facts()))
	if err == nil {
		_, err = i.Apply(s.t.Context(), plan, time.Now())
	}
	if err == nil {
		err = i.Reload(s.t.Context())
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// serve runs milterd until stop.
func (s *site) serve(c *config.Config) {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p, err := program.Build(ctx, c, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		s.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			s.t.Error(err)
		}
		p.Close()
	})
	s.stop = stop
	s.t.Cleanup(stop)
	for range 1000 {
		if resp, err := http.Get("http://" + c.Monitor.Listen + "/healthz"); err == nil {
			resp.Body.Close()
			if resp.StatusCode == 200 {
				return
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	s.t.Fatal("milterd is not healthy")
}

// edit sets parameters of main.cf; back puts main.cf back.
func (s *site) edit(settings ...string) (back func()) {
	s.t.Helper()
	return s.change("main.cf", "-e", settings...)
}

// master changes master.cf as postconf does it with the given option; back puts
// it back.
func (s *site) master(option string, entries ...string) (back func()) {
	s.t.Helper()
	return s.change("master.cf", option, entries...)
}

// change lets postconf change a file of Postfix's configuration and reloads. A
// file takes its place whole, as with postconf itself: any smtpd may be reading
// it just then, and one that met half of it, and so the system's queue, waited
// there in vain and kept the others from answering.
func (s *site) change(name, option string, what ...string) (back func()) {
	s.t.Helper()
	file := filepath.Join(s.instance().Dir, name)
	old, err := os.ReadFile(file)
	if err != nil {
		s.t.Fatal(err)
	}
	if out, err := exec.Command("postconf", append([]string{"-c", s.instance().Dir, option}, what...)...).CombinedOutput(); err != nil {
		s.t.Fatalf("%v: %s", err, out)
	}
	reload := func() {
		if err := s.instance().Reload(context.Background()); err != nil {
			s.t.Error(err)
		}
	}
	reload()
	return func() {
		if err := os.WriteFile(file+".old", old, 0o644); err != nil {
			s.t.Error(err)
		}
		if err := os.Rename(file+".old", file); err != nil {
			s.t.Error(err)
		}
		reload()
	}
}

func (s *site) doctor() *Doctor {
	c := *s.config
	people, err := program.OpenDirectory(s.t.Context(), &c, slog.New(slog.DiscardHandler))
	return &Doctor{Config: &c, Postfix: s.instance(), Site: s.facts(), Settings: postfix.Settings(s.facts()), Directory: people, NoDirectory: err,
		Resolver: Resolver(s.dns.addr), Now: time.Now}
}

// outcome is every finding that is not pass, as "status check".
func outcome(r Report) []string {
	all := map[string]bool{}
	for _, f := range r.Findings {
		if f.Status != Pass {
			all[f.Status.String()+" "+f.Check] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

func text(r Report) string {
	var b strings.Builder
	r.WriteTo(&b)
	return b.String()
}
