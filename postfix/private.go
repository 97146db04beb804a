package postfix

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"milterd/internal/ports"
)

// Options describe a private Postfix.
type Options struct {
	Dir        string            // an empty folder; its parents are made searchable for Postfix
	Milter     string            // as smtpd_milters wants it: unix:/path, inet:127.0.0.1:port; "" for none
	LMTP       string            // as a transport wants it: unix:/path; default unix: and Dir/lmtp.sock
	SignDomain string            // sign.corp.test; "" for a Postfix that knows of none
	Strangers  bool              // as in Site
	Trusted    []netip.Prefix    // as in Site
	Domain     string            // of the maildirs: corp.test
	Users      map[string]string // SASL logins and their passwords; none means no AUTH
	Mailboxes  []string          // addresses of Domain that get a maildir
	Postmaster string            // of the sign domain, one of Mailboxes
	SizeLimit  int64             // message_size_limit; default 50 MB
	Settings   []string          // further lines of main.cf; they override what stands there
	Chroot     bool              // daemons run chrooted, as Debian ships them
	Start      time.Duration     // how long starting may take; default 20 s
}

// Private is a running Postfix (and Dovecot, for logins) that belongs to
// nobody else. It listens on loopback and delivers to maildirs in its folder.
type Private struct {
	SMTPAddr string // 127.0.0.1:port

	dir     string
	users   *dovecot
	started bool
}

// services of master.cf: the stock ones that a mail passes through. Those with
// ? in the fifth column are chrooted as Debian ships them.
const services = `
pickup    unix n - ? 60  1 pickup
cleanup   unix n - ? -   0 cleanup
qmgr      unix n - n 300 1 qmgr
tlsmgr    unix - - ? 1000? 1 tlsmgr
rewrite   unix - - ? -   - trivial-rewrite
bounce    unix - - ? -   0 bounce
defer     unix - - ? -   0 bounce
trace     unix - - ? -   0 bounce
verify    unix - - ? -   1 verify
flush     unix n - ? 1000? 0 flush
proxymap  unix - - n -   - proxymap
smtp      unix - - ? -   - smtp
relay     unix - - ? -   - smtp
showq     unix n - ? -   - showq
error     unix - - ? -   - error
retry     unix - - ? -   - error
discard   unix - - ? -   - discard
virtual   unix - n n -   - virtual
local     unix - n n -   - local
lmtp      unix - - ? -   - lmtp
anvil     unix - - ? -   1 anvil
scache    unix - - ? -   1 scache
postlog   unix-dgram n - n - 1 postlogd
`

func masterCF(port string, chroot bool) string {
	jail := " n "
	if chroot {
		jail = " y "
	}
	return strings.ReplaceAll("127.0.0.1:"+port+" inet n - ? - - smtpd"+services, " ? ", jail)
}

// StartPrivate starts a Postfix of Debian or its kin. It needs root, as
// Postfix does. The caller ends it with Stop.
func StartPrivate(ctx context.Context, o Options) (_ *Private, err error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("a private Postfix must be started by root")
	}
	if _, err := exec.LookPath("postfix"); err != nil {
		return nil, errors.New("postfix is not installed: apt-get install -y postfix")
	}
	free, err := ports.Free(1)
	if err != nil {
		return nil, err
	}
	port := strconv.Itoa(free)
	p := &Private{SMTPAddr: "127.0.0.1:" + port, dir: o.Dir}
	defer func() {
		if err != nil {
			p.Stop()
		}
	}()
	if len(o.Users) > 0 {
		if p.users, err = startDovecot(ctx, filepath.Join(o.Dir, "spool/auth"), o.Users); err != nil {
			return nil, err
		}
	}
	if err := p.write(o, port); err != nil {
		return nil, fmt.Errorf("configuring the private Postfix: %w", err)
	}
	if err := p.command(ctx, "start"); err != nil {
		return nil, err
	}
	p.started = true
	if err := waitFor(ctx, p.SMTPAddr, cmp.Or(o.Start, 20*time.Second)); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, p.Log())
	}
	return p, nil
}

// write lays out the folders and both configuration files.
func (p *Private) write(o Options, port string) error {
	if err := searchable(p.dir); err != nil {
		return err
	}
	for _, d := range []string{"conf", "spool", "data", "mail"} {
		if err := os.MkdirAll(filepath.Join(p.dir, d), 0o755); err != nil {
			return err
		}
	}
	owner, err := user.Lookup("postfix")
	if err != nil {
		return err
	}
	uid, gid, err := ids(owner)
	if err != nil {
		return err
	}
	if err := os.Chown(filepath.Join(p.dir, "data"), uid, gid); err != nil {
		return err
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		return err
	}
	uid, gid, err = ids(nobody)
	if err != nil {
		return err
	}
	if err := os.Chown(filepath.Join(p.dir, "mail"), uid, gid); err != nil {
		return err
	}
	var boxes strings.Builder
	for _, m := range o.Mailboxes {
		fmt.Fprintf(&boxes, "%s %s/\n", m, box(m))
	}
	files := map[string]string{
		"conf/mailboxes": boxes.String(),
		"conf/main.cf":   p.mainCF(o, uid, gid),
		"conf/master.cf": masterCF(port, o.Chroot),
	}
	// Every program of Postfix waits until its files are two seconds old, lest
	// somebody is still writing them.
	old := time.Now().Add(-time.Minute)
	for name, text := range files {
		path := filepath.Join(p.dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
		if err := os.Chtimes(path, old, old); err != nil {
			return err
		}
	}
	return nil
}

// mainCF is the smallest Postfix that keeps to itself, plus the settings that
// an administrator is told to add.
func (p *Private) mainCF(o Options, uid, gid int) string {
	settings := []Setting{
		{Name: "compatibility_level", Value: "3.6"},
		{Name: "queue_directory", Value: filepath.Join(p.dir, "spool")},
		{Name: "data_directory", Value: filepath.Join(p.dir, "data")},
		{Name: "maillog_file", Value: filepath.Join(p.dir, "mail.log")},
		{Name: "maillog_file_prefixes", Value: p.dir},
		{Name: "inet_interfaces", Value: "127.0.0.1"},
		{Name: "inet_protocols", Value: "ipv4"},
		{Name: "myhostname", Value: "mx." + o.Domain},
		{Name: "myorigin", Value: o.Domain},
		{Name: "mydestination", Value: "mx." + o.Domain}, {Name: "local_recipient_maps"}, {Name: "alias_maps"}, {Name: "alias_database"},
		{Name: "mynetworks", Value: "127.0.0.0/8"},
		{Name: "smtp_dns_support_level", Value: "disabled"},
		{Name: "smtp_host_lookup", Value: "native"},
		{Name: "default_transport", Value: "error:nothing leaves this private Postfix"},
		{Name: "message_size_limit", Value: strconv.FormatInt(cmp.Or(o.SizeLimit, 50<<20), 10)},
		{Name: "virtual_mailbox_limit", Value: "0"},
		{Name: "virtual_mailbox_domains", Value: o.Domain},
		{Name: "virtual_mailbox_base", Value: filepath.Join(p.dir, "mail")},
		{Name: "virtual_mailbox_maps", Value: "texthash:" + filepath.Join(p.dir, "conf/mailboxes")},
		{Name: "virtual_minimum_uid", Value: "100"},
		{Name: "virtual_uid_maps", Value: fmt.Sprintf("static:%d", uid)},
		{Name: "virtual_gid_maps", Value: fmt.Sprintf("static:%d", gid)},
	}
	if p.users != nil {
		settings = append(settings,
			Setting{Name: "smtpd_sasl_auth_enable", Value: "yes"},
			Setting{Name: "smtpd_sasl_type", Value: "dovecot"},
			Setting{Name: "smtpd_sasl_path", Value: "auth/socket"}, // below queue_directory, as a chrooted smtpd sees it
			Setting{Name: "smtpd_sasl_security_options", Value: "noanonymous"})
	}
	if o.SignDomain != "" {
		settings = append(settings, Settings(Site{SignDomain: o.SignDomain, Milter: o.Milter,
			LMTP: cmp.Or(o.LMTP, "unix:"+filepath.Join(p.dir, "lmtp.sock")), ReceivedBy: "mx." + o.Domain,
			Postmaster: cmp.Or(o.Postmaster, "postmaster@"+o.Domain), Strangers: o.Strangers, Trusted: o.Trusted})...)
	}
	if o.SignDomain == "" && o.Milter != "" {
		settings = append(settings, Setting{Name: "smtpd_milters", Value: o.Milter})
	}
	var b strings.Builder
	overridden := map[string]bool{} // a parameter that is set twice is a warning in the log
	for _, l := range o.Settings {
		name, _, _ := strings.Cut(l, "=")
		overridden[strings.TrimSpace(name)] = true
		b.WriteString(l + "\n")
	}
	for _, s := range settings {
		if !overridden[s.Name] {
			fmt.Fprintf(&b, "%s = %s\n", s.Name, s.Value)
		}
	}
	return b.String()
}

// command runs the postfix command.
func (p *Private) command(ctx context.Context, args ...string) error {
	out, err := exec.CommandContext(ctx, "postfix", append([]string{"-c", filepath.Join(p.dir, "conf")}, args...)...).CombinedOutput()
	if err != nil {
		log, _ := os.ReadFile(filepath.Join(p.dir, "mail.log"))
		return fmt.Errorf("postfix %s: %w\n%s%s", strings.Join(args, " "), err, out, log)
	}
	return nil
}

// Maildir is the folder with the mail of one of Options.Mailboxes.
func (p *Private) Maildir(addr string) string { return filepath.Join(p.dir, "mail", box(addr)) }

// box is the folder name of an address.
func box(addr string) string { return strings.ReplaceAll(strings.ToLower(addr), "/", "_") }

// Mails gives what was delivered to an address, in order of arrival, with LF
// line ends as they stand in a maildir.
func (p *Private) Mails(addr string) ([][]byte, error) {
	type mail struct {
		at   time.Time
		name string
	}
	var found []mail
	for _, sub := range []string{"new", "cur"} {
		entries, err := os.ReadDir(filepath.Join(p.Maildir(addr), sub))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("reading the mailbox of %s: %w", addr, err)
		}
		for _, e := range entries {
			fi, err := e.Info()
			if err != nil {
				return nil, fmt.Errorf("reading the mailbox of %s: %w", addr, err)
			}
			found = append(found, mail{fi.ModTime(), filepath.Join(p.Maildir(addr), sub, e.Name())})
		}
	}
	slices.SortFunc(found, func(a, b mail) int { return cmp.Or(a.at.Compare(b.at), strings.Compare(a.name, b.name)) })
	var out [][]byte
	for _, m := range found {
		b, err := os.ReadFile(m.name)
		if err != nil {
			return nil, fmt.Errorf("reading the mailbox of %s: %w", addr, err)
		}
		out = append(out, b)
	}
	return out, nil
}

// Submit hands a mail to Postfix as a program on the same machine does, through
// sendmail. raw has any line ends.
func (p *Private) Submit(ctx context.Context, from string, to []string, raw []byte) error {
	c := exec.CommandContext(ctx, "sendmail", append([]string{"-C", filepath.Join(p.dir, "conf"), "-i", "-f", from, "--"}, to...)...)
	c.Stdin = bytes.NewReader(raw)
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("sendmail: %w\n%s", err, out)
	}
	return nil
}

// Flush makes Postfix try its deferred mail now.
func (p *Private) Flush(ctx context.Context) error { return p.command(ctx, "flush") }

// Queue gives the ids of the mails in the queue.
func (p *Private) Queue(ctx context.Context) ([]string, error) {
	out, err := exec.CommandContext(ctx, "postqueue", "-c", filepath.Join(p.dir, "conf"), "-j").Output()
	if err != nil {
		return nil, fmt.Errorf("postqueue: %w", err)
	}
	var idsOf []string
	for _, l := range strings.Split(string(out), "\n") {
		if _, rest, ok := strings.Cut(l, `"queue_id": "`); ok {
			id, _, _ := strings.Cut(rest, `"`)
			idsOf = append(idsOf, id)
		}
	}
	return idsOf, nil
}

// Log is Postfix's log so far.
func (p *Private) Log() string {
	b, _ := os.ReadFile(filepath.Join(p.dir, "mail.log"))
	return string(b)
}

// Stop ends Postfix and Dovecot. The folder stays.
func (p *Private) Stop() error {
	var errs []error
	if p.started {
		p.started = false
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		errs = append(errs, p.command(ctx, "stop"))
	}
	if p.users != nil {
		errs = append(errs, p.users.stop())
		p.users = nil
	}
	return errors.Join(errs...)
}

// searchable lets Postfix, which drops its rights, reach the folder.
func searchable(dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	for d := dir; d != "/"; d = filepath.Dir(d) {
		fi, err := os.Stat(d)
		if err != nil {
			return err
		}
		if fi.Mode().Perm()&0o055 != 0o055 {
			if err := os.Chmod(d, fi.Mode().Perm()|0o055); err != nil {
				return err
			}
		}
	}
	return nil
}

func ids(u *user.User) (uid, gid int, err error) {
	if uid, err = strconv.Atoi(u.Uid); err != nil {
		return 0, 0, err
	}
	gid, err = strconv.Atoi(u.Gid)
	return uid, gid, err
}

// waitFor waits until somebody greets on addr.
func waitFor(ctx context.Context, addr string, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err == nil {
			c.SetReadDeadline(time.Now().Add(limit))
			_, err = c.Read(make([]byte, 3))
			c.Close()
			if err == nil {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for the private Postfix on %s: %w", addr, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
