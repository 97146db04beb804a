package doctor

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-msgauth/dkim"

	"milterd/config"
	"milterd/directory/ldaptest"
	"milterd/pki/tsatest"
	"milterd/program"
	"milterd/store"
	"milterd/store/pgtest"
)

// alone examines with one check.
func alone(d *Doctor) *exam {
	if d.Now == nil {
		d.Now = time.Now
	}
	return &exam{Doctor: d}
}

// expect compares the statuses of findings, and what they say.
func expect(t *testing.T, found []Finding, want string, says ...string) {
	t.Helper()
	var got []string
	all := ""
	for _, f := range found {
		got = append(got, f.Status.String())
		all += f.Text + " fix: " + f.Fix + "\n"
		if (f.Status == Warn || f.Status == Fail) != (f.Fix != "") {
			t.Errorf("%s, fix %q", f.Status, f.Fix)
		}
	}
	if strings.Join(got, " ") != want {
		t.Errorf("found %v, want %s", got, want)
	}
	for _, s := range says {
		if !strings.Contains(all, s) {
			t.Errorf("nothing says %q:\n%s", s, all)
		}
	}
}

func TestTimestamps(t *testing.T) {
	tsa, second := tsatest.New(t), tsatest.New(t)
	roots := filepath.Join(t.TempDir(), "roots.pem")
	text := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: tsa.Root.Raw}), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: second.Root.Raw})...)
	if err := os.WriteFile(roots, text, 0o644); err != nil {
		t.Fatal(err)
	}
	d := &Doctor{Config: config.Default()}
	d.Config.Timestamps = config.Timestamps{URLs: []string{tsa.URL, second.URL}, Roots: roots}
	expect(t, alone(d).timestamps(t.Context()), "pass pass", "gives timestamps")
	tsa.Behave(tsatest.Error500)
	expect(t, alone(d).timestamps(t.Context()), "warn pass", tsa.URL, "mend timestamps.urls")
	second.Behave(tsatest.Tampered)
	expect(t, alone(d).timestamps(t.Context()), "fail fail", second.URL)
	tsa.Behave(tsatest.Honest)
	second.Behave(tsatest.Honest)
	d.Config.Timestamps.Roots = ""
	expect(t, alone(d).timestamps(t.Context()), "fail fail", "mend timestamps.urls")
	d.Config.Timestamps.Roots = filepath.Join(t.TempDir(), "none.pem")
	expect(t, alone(d).timestamps(t.Context()), "fail", "timestamps.roots")
	d.Config.Timestamps = config.Timestamps{}
	expect(t, alone(d).timestamps(t.Context()), "pass", "no independent witness")
}

func TestDirectory(t *testing.T) {
	ldif := ldaptest.Person("jroe", "Jane Roe", "jane.roe@corp.test") + ldaptest.Group("staff", "", ldaptest.DN("jroe"))
	one, two := ldaptest.Start(t, ldif), ldaptest.Start(t, ldif)
	cas := filepath.Join(t.TempDir(), "ca.pem")
	var text []byte
	for _, f := range []string{one.CA, two.CA} {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, b...)
	}
	if err := os.WriteFile(cas, text, 0o644); err != nil {
		t.Fatal(err)
	}
	c := config.Default()
	l := &c.Directory.LDAP
	l.Servers, l.CA, l.BindDN, l.PasswordFile = []string{one.URL, two.URL}, cas, one.BindDN, one.PasswordFile
	l.Base, l.GroupBase = ldaptest.People, ldaptest.Groups
	c.Policy.Sign.Standard = []string{ldaptest.GroupDN("staff")}
	d := &Doctor{Config: c}
	open := func() *exam {
		if d.Directory, d.NoDirectory = program.OpenDirectory(t.Context(), c, slog.New(slog.DiscardHandler)); d.NoDirectory != nil {
			t.Fatal(d.NoDirectory)
		}
		return alone(d)
	}
	expect(t, open().directory(t.Context()), "pass pass pass", one.URL, two.URL, "the 1 groups of the policy exist")
	if who, err := open().person(t.Context()); err != nil || who != "jane.roe@corp.test" {
		t.Errorf("to pretend to be: %s, %v", who, err)
	}
	c.Policy.Sign.Standard = []string{ldaptest.GroupDN("board")}
	expect(t, open().directory(t.Context()), "pass pass fail", "no such group: cn=board", "name an existing group")
	two.Stop()
	c.Policy.Sign.Standard = nil
	expect(t, open().directory(t.Context()), "pass warn", two.URL, "take it out of directory.ldap.servers")
	one.Kill()
	expect(t, open().directory(t.Context()), "fail fail", one.URL, "put off (451)")
}

func TestPostgres(t *testing.T) {
	d := &Doctor{Config: config.Default()}
	url := pgtest.Database(t)
	d.Config.Database.URL = url
	expect(t, alone(d).database(t.Context()), "pass", "PostgreSQL 1", "opens and can be written")
	join := "?"
	if strings.Contains(url, "?") {
		join = "&"
	}
	d.Config.Database.URL = url + join + "default_transaction_read_only=on"
	expect(t, alone(d).database(t.Context()), "fail", "can only be read", "let database.url name the primary")
	d.Config.Database.URL = "postgres://nobody:secret@127.0.0.1:9/none?sslmode=disable"
	found := alone(d).database(t.Context())
	expect(t, found, "fail", "PostgreSQL: ", "mend database.url")
	if strings.Contains(found[0].Text, "secret") {
		t.Errorf("the password is shown: %s", found[0].Text)
	}
}

func TestDisk(t *testing.T) {
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=300m", "tmpfs", dir).CombinedOutput(); err != nil {
		t.Fatalf("mount: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	d := &Doctor{Config: config.Default()}
	d.Config.Data = dir
	expect(t, alone(d).disk(t.Context()), "warn", "the database ("+dir+") has 300 MiB of 300 MiB free", "make room")
	if err := os.WriteFile(filepath.Join(dir, "full"), make([]byte, 120<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	expect(t, alone(d).disk(t.Context()), "fail", "has 180 MiB of 300 MiB free", "put off (451)")
	d.Config.Data = filepath.Join(dir, "none")
	expect(t, alone(d).disk(t.Context()), "fail", "no such file or directory", "look at ")
}

// Where a proxy has the certificate, it is looked at on the wire.
func TestPages(t *testing.T) {
	proxy := httptest.NewTLSServer(http.NotFoundHandler())
	defer proxy.Close()
	d := &Doctor{Config: config.Default()}
	d.Config.URL = proxy.URL
	expect(t, alone(d).pages(t.Context()), "fail", "mend the proxy's certificate")
	proxy.Close()
	expect(t, alone(d).pages(t.Context()), "warn", "the pages cannot be reached from this machine", "see whether people reach")
	d.Config.URL = "https://sign.corp.test"
	d.Config.HTTP.Certificate, d.Config.HTTP.Key = filepath.Join(t.TempDir(), "tls.crt"), filepath.Join(t.TempDir(), "tls.key")
	certificate(t, d.Config.HTTP.Certificate, d.Config.HTTP.Key, 365*24*time.Hour)
	expect(t, alone(d).pages(t.Context()), "fail", "not sign.corp.test", "get a certificate for sign.corp.test")
	d.Config.URL = "https://localhost"
	expect(t, alone(d).pages(t.Context()), "pass", "the TLS certificate of the pages lasts until")
}

// A signature that others accept can still be too narrow to prove a sender here.
func TestCovers(t *testing.T) {
	d := &Doctor{Config: config.Default()}
	v := &dkim.Verification{Domain: "sign.corp.test", HeaderKeys: []string{"from", "to", "subject", "date"}}
	expect(t, one(alone(d).covers(v)), "pass")
	d.Config.Senders.DKIM = []string{"corp.test"}
	expect(t, one(alone(d).covers(v)), "warn", "leaves out Message-ID, Content-Type", "opendkim: SignHeaders From,To,Cc")
	v.HeaderKeys = proving
	expect(t, one(alone(d).covers(v)), "pass")
}

// Root looks at milterd's database and leaves nothing of its own behind.
func TestDatabaseKeepsItsOwner(t *testing.T) {
	d := &Doctor{Config: config.Default()}
	d.Config.Data = t.TempDir()
	path := d.Config.SQLite()
	expect(t, alone(d).database(t.Context()), "warn", "there is no "+path+" yet", "milterd serve makes it")
	s, err := store.Open(t.Context(), store.Config{URL: "sqlite:" + path})
	if err == nil {
		err = s.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	const nobody = 65534
	if err := os.Chown(path, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	expect(t, alone(d).database(t.Context()), "pass", "opens and can be written")
	entries, err := os.ReadDir(d.Config.Data)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		if owner := info.Sys().(*syscall.Stat_t).Uid; owner != nobody && !strings.HasSuffix(e.Name(), "-worker") {
			t.Errorf("%s belongs to user %d", e.Name(), owner)
		}
	}
}

func TestRevocationList(t *testing.T) {
	issue := func(template, parent *x509.Certificate, public any, by *ecdsa.PrivateKey) *x509.Certificate {
		t.Helper()
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
		der, err := x509.CreateCertificate(rand.Reader, template, parent, public, by)
		if err != nil {
			t.Fatal(err)
		}
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	authority := func(name string) (*x509.Certificate, *ecdsa.PrivateKey) {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
			KeyUsage: x509.KeyUsageCRLSign | x509.KeyUsageCertSign, SubjectKeyId: []byte(name)}
		return issue(ca, ca, k.Public(), k), k
	}
	ours, k := authority("ours")
	others, _ := authority("others")
	var list []byte
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/pki/x.crl" {
			http.NotFound(w, r)
			return
		}
		w.Write(list)
	}))
	defer server.Close()
	seal := func(at string) *x509.Certificate {
		return issue(&x509.Certificate{SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "seal"}, CRLDistributionPoints: []string{server.URL + at}}, ours, k.Public(), k)
	}
	revoke := func(entries ...x509.RevocationListEntry) {
		var err error
		if list, err = x509.CreateRevocationList(rand.Reader, &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now(), NextUpdate: time.Now().AddDate(0, 0, 7),
			RevokedCertificateEntries: entries}, ours, k); err != nil {
			t.Fatal(err)
		}
	}
	e := alone(&Doctor{Config: config.Default()})
	revoke()
	expect(t, one(e.list(t.Context(), seal("/pki/x.crl"), ours)), "pass", "is fresh")
	expect(t, one(e.list(t.Context(), seal("/pki/x.crl"), others)), "fail", "is no list of others")
	expect(t, one(e.list(t.Context(), seal("/elsewhere"), ours)), "fail", "404", "let the proxy pass /pki/ on")
	revoke(x509.RevocationListEntry{SerialNumber: big.NewInt(7), RevocationTime: time.Now()})
	expect(t, one(e.list(t.Context(), seal("/pki/x.crl"), ours)), "fail", "the certificate of seal is revoked")
	server.Close()
	expect(t, one(e.list(t.Context(), seal("/pki/x.crl"), ours)), "warn", "cannot be fetched from this machine")
}
