// Package ldaptest starts a real slapd (OpenLDAP) for tests and measurements:
// in a folder of its own, on loopback ports that the kernel picks, with TLS,
// StartTLS and a certificate authority made for it. It can be stopped, killed,
// frozen and started again on the same ports with the same entries.
//
// Limits: one database, Debian's schema files, nothing of it ships.
// Reference: slapd.conf(5), slapd-mdb(5), slapd.access(5); RFC 2849 (LDIF).
package ldaptest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"milterd/internal/ports"
)

// What stands in every server before the entries of the caller.
const (
	Base     = "dc=corp,dc=test"
	People   = "ou=people," + Base
	Groups   = "ou=groups," + Base
	BindDN   = "cn=milterd,ou=services," + Base // may read everything but passwords; anonymous may read nothing
	Password = "a word for milterd"
	adminDN  = "cn=admin," + Base
)

// Options describe a server.
type Options struct {
	Dir    string   // an empty folder
	LDIF   string   // entries below People and Groups: see Person and Group
	Names  []string // in its certificate; default localhost and 127.0.0.1
	Config string   // further lines of slapd.conf, behind those of the database
}

// Server is a running slapd that belongs to nobody else.
type Server struct {
	URL    string // ldap://127.0.0.1:PORT, takes StartTLS
	TLSURL string // ldaps://127.0.0.1:PORT
	CA     string // PEM file of its certificate's authority

	// What Base, BindDN and Password say, for those who hold only a Server.
	Base, BindDN, Password string
	PasswordFile           string // holds Password

	dir     string
	process *exec.Cmd
	ended   chan struct{}
	log     bytes.Buffer
}

// Start starts a server for a test, with entries in LDIF, and ends it with the test.
func Start(t testing.TB, ldif string) *Server {
	t.Helper()
	return StartWith(t, Options{LDIF: ldif})
}

// StartWith starts a server for a test as its options say; Dir may be empty.
func StartWith(t testing.TB, o Options) *Server {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	s, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Stop() })
	return s
}

// Run starts a server. The caller ends it with Stop.
func Run(ctx context.Context, o Options) (*Server, error) {
	if o.Names == nil {
		o.Names = []string{"localhost", "127.0.0.1"}
	}
	s := &Server{dir: o.Dir, Base: Base, BindDN: BindDN, Password: Password,
		CA: filepath.Join(o.Dir, "ca.pem"), PasswordFile: filepath.Join(o.Dir, "password")}
	first, err := ports.Free(2)
	if err != nil {
		return nil, err
	}
	s.URL, s.TLSURL = fmt.Sprintf("ldap://127.0.0.1:%d", first), fmt.Sprintf("ldaps://127.0.0.1:%d", first+1)
	if err := s.write(o); err != nil {
		return nil, fmt.Errorf("configuring slapd: %w", err)
	}
	add := exec.CommandContext(ctx, slap("slapadd"), "-q", "-f", s.path("slapd.conf"), "-l", s.path("entries.ldif"))
	if out, err := add.CombinedOutput(); err != nil {
		return nil, missing(fmt.Errorf("slapadd: %w: %s", err, out))
	}
	return s, s.Restart(ctx)
}

// Restart starts the server again on its ports; it must be stopped.
func (s *Server) Restart(ctx context.Context) error {
	s.log.Reset()
	s.process = exec.Command(slap("slapd"), "-d", "0", "-f", s.path("slapd.conf"), "-h", s.URL+"/ "+s.TLSURL+"/")
	s.process.Stdout, s.process.Stderr = &s.log, &s.log
	if err := s.process.Start(); err != nil {
		return missing(err)
	}
	ended := make(chan struct{})
	s.ended = ended
	go func(p *exec.Cmd) {
		p.Wait()
		close(ended)
	}(s.process)
	deadline := time.After(30 * time.Second)
	for {
		if c, err := s.dial(); err == nil {
			return c.Close()
		}
		select {
		case <-ended:
			return fmt.Errorf("slapd ended: %s", s.log.String())
		case <-deadline:
			s.Kill()
			return errors.New("slapd does not answer after 30 s")
		case <-ctx.Done():
			s.Kill()
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Stop ends it and waits for its end. A server that has ended is fine.
func (s *Server) Stop() { s.end(syscall.SIGTERM) }

// Kill ends it as a power cut would.
func (s *Server) Kill() { s.end(syscall.SIGKILL) }

func (s *Server) end(how syscall.Signal) {
	select {
	case <-s.ended:
		return
	default:
	}
	s.process.Process.Signal(how)
	s.process.Process.Signal(syscall.SIGCONT) // a frozen one ends too
	select {
	case <-s.ended:
	case <-time.After(10 * time.Second):
		s.process.Process.Kill()
		<-s.ended
	}
}

// Freeze makes it a server that takes connections and never answers. It returns
// when every thread has stopped.
func (s *Server) Freeze() error {
	if err := s.process.Process.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	for range 500 {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", s.process.Process.Pid))
		if err != nil {
			return err
		}
		if len(threads) > 0 && !slices.ContainsFunc(threads, running) {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return errors.New("slapd does not freeze")
}

// running reads proc_pid_stat(5): the state stands behind the name in parentheses.
func running(stat string) bool {
	b, err := os.ReadFile(stat)
	i := bytes.LastIndexByte(b, ')')
	return err == nil && i >= 0 && !bytes.HasPrefix(b[i:], []byte(") T"))
}

// Thaw wakes a frozen one.
func (s *Server) Thaw() error { return s.process.Process.Signal(syscall.SIGCONT) }

// Change lets its administrator change entries.
func (s *Server) Change(f func(*ldap.Conn) error) error {
	c, err := s.dial()
	if err != nil {
		return err
	}
	defer c.Close()
	return f(c)
}

// dial logs in as the administrator.
func (s *Server) dial() (*ldap.Conn, error) {
	c, err := ldap.DialURL(s.URL, ldap.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}))
	if err != nil {
		return nil, err
	}
	c.SetTimeout(5 * time.Second)
	if err := c.Bind(adminDN, Password); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// Person is the LDIF of somebody below People; attributes are further lines,
// "preferredLanguage: de". An empty mail leaves it out.
func Person(uid, name, mail string, attributes ...string) string {
	last := name[strings.LastIndexByte(name, ' ')+1:]
	lines := []string{"dn: " + DN(uid), "objectClass: inetOrgPerson", "objectClass: extensibleObject",
		"uid: " + uid, "cn: " + name, "sn: " + last}
	if mail != "" {
		lines = append(lines, "mail: "+mail)
	}
	return strings.Join(append(lines, attributes...), "\n") + "\n\n"
}

// DN is the distinguished name of a Person.
func DN(uid string) string { return "uid=" + uid + "," + People }

// Group is the LDIF of a groupOfNames below Groups; members are distinguished
// names. An empty mail leaves it out.
func Group(name, mail string, members ...string) string {
	lines := []string{"dn: " + GroupDN(name), "objectClass: groupOfNames", "objectClass: extensibleObject", "cn: " + name}
	if mail != "" {
		lines = append(lines, "mail: "+mail)
	}
	for _, m := range members {
		lines = append(lines, "member: "+m)
	}
	return strings.Join(lines, "\n") + "\n\n"
}

// GroupDN is the distinguished name of a Group.
func GroupDN(name string) string { return "cn=" + name + "," + Groups }

// slap finds a program of Debian's slapd, which stands outside users' PATH.
func slap(name string) string {
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	return "/usr/sbin/" + name
}

// missing says how to get what is not installed.
func missing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("slapd is not installed: apt-get install -y slapd: %w", err)
	}
	return err
}

func (s *Server) path(name string) string { return filepath.Join(s.dir, name) }
