package doctor

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// milterSocket connects as Postfix's processes do, and asks who is there.
func (e *exam) milterSocket(ctx context.Context) []Finding {
	return e.socket(ctx, "milter.listen", e.Site.Milter, e.Config.Milter.Listen, "smtpd", sayMilter)
}

// lmtpSocket does the same for the second door.
func (e *exam) lmtpSocket(ctx context.Context) []Finding {
	if e.Config.LMTP.Listen == "" {
		return one(skip("lmtp.listen is empty"))
	}
	return e.socket(ctx, "lmtp.listen", e.Site.LMTP, e.Config.LMTP.Listen, "lmtp", sayLMTP)
}

// patience is how long a door may take to answer.
const patience = 5 * time.Second

func (e *exam) socket(ctx context.Context, field, seen, listen, program string, say func(net.Conn) error) []Finding {
	switch {
	case e.notServing != nil:
		return one(skip("milterd is not running"))
	case e.noPostfix != nil:
		return e.withoutPostfix()
	}
	path, unix := strings.CutPrefix(seen, "unix:")
	if !unix {
		conn, err := (&net.Dialer{Timeout: patience}).DialContext(ctx, "tcp", strings.TrimPrefix(seen, "inet:"))
		if err == nil {
			err = talk(conn, say)
		}
		if err != nil {
			return one(fail("journalctl -u milterd", "%s: %v", seen, err))
		}
		return one(pass("milterd answers at %s", seen))
	}
	owner, err := e.owner()
	if err != nil {
		return one(fail("postfix check", "%v", err))
	}
	queue := e.value["queue_directory"]
	for _, chroot := range e.chroots(program) {
		as := *owner
		as.folder = queue
		if chroot {
			as.root = queue
		}
		conn, err := as.connect(path)
		if err == nil {
			err = talk(conn, say)
		}
		if err != nil {
			return one(e.unreachable(err, field, seen, listen, program, as))
		}
	}
	how := "as user " + owner.name
	if !owner.able {
		how = "as this user; run as root to look as Postfix does"
	}
	return one(pass("milterd answers at %s, asked %s", seen, how))
}

// unreachable says why Postfix cannot come to a socket.
func (e *exam) unreachable(err error, field, seen, listen, program string, as identity) Finding {
	queue := e.value["queue_directory"]
	path := strings.TrimPrefix(listen, "unix:")
	below := filepath.Join(queue, "milterd", filepath.Base(path))
	switch {
	case errors.Is(err, fs.ErrNotExist) && as.root != "" && filepath.IsAbs(strings.TrimPrefix(seen, "unix:")):
		return fail(fmt.Sprintf("%s = %q, then milterd postfix apply", field, "unix:"+below),
			"%s runs in a chroot at %s, from where it cannot see %s", program, queue, path)
	case errors.Is(err, fs.ErrNotExist):
		return fail("systemctl restart milterd", "there is no %s, although milterd is running", path)
	case errors.Is(err, fs.ErrPermission):
		return fail(fmt.Sprintf("install -d -o milterd -g %s -m 2710 %s, then systemctl restart milterd", as.group, filepath.Dir(path)),
			"Postfix's user %s may not use %s", as.name, path)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fail("systemctl restart milterd", "nobody listens at %s", path)
	}
	return fail("journalctl -u milterd", "%s: %v", seen, err)
}

// chroots are the ways in which services run this program: chrooted or not.
// Mail by sendmail passes cleanup, which asks milters too.
func (e *exam) chroots(program string) []bool {
	var yes, no bool
	for _, s := range e.services {
		if s.Program == program || program == "smtpd" && s.Program == "cleanup" {
			yes, no = yes || s.Chroot, no || !s.Chroot
		}
	}
	var out []bool
	if yes {
		out = append(out, true)
	}
	if no || !yes {
		out = append(out, false)
	}
	return out
}

// identity is whom to connect as.
type identity struct {
	name, group  string
	uid, gid     int
	groups       []int
	root, folder string // chroot, or none; working directory
	able         bool   // whether we may be somebody else
}

func (e *exam) owner() (*identity, error) {
	name := e.value["mail_owner"]
	u, err := user.Lookup(name)
	if err != nil {
		return nil, fmt.Errorf("Postfix's user: %w", err)
	}
	id := &identity{name: name, able: os.Geteuid() == 0}
	if id.uid, err = strconv.Atoi(u.Uid); err == nil {
		id.gid, err = strconv.Atoi(u.Gid)
	}
	if err != nil {
		return nil, fmt.Errorf("Postfix's user %s: %w", name, err)
	}
	if g, err := user.LookupGroupId(u.Gid); err == nil {
		id.group = g.Name
	}
	ids, err := u.GroupIds()
	if err != nil {
		return nil, fmt.Errorf("groups of Postfix's user %s: %w", name, err)
	}
	for _, s := range ids {
		n, err := strconv.Atoi(s)
		if err != nil {
			return nil, fmt.Errorf("groups of Postfix's user %s: %w", name, err)
		}
		id.groups = append(id.groups, n)
	}
	return id, nil
}

// dial connects as ourselves, to where the path leads from Postfix's folder.
func (id identity) dial(path string) (net.Conn, error) {
	if !filepath.IsAbs(path) {
		path = filepath.Join(id.folder, path)
	}
	return (&net.Dialer{Timeout: patience}).Dial("unix", path)
}

func talk(conn net.Conn, say func(net.Conn) error) error {
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	return say(conn)
}

// sayMilter negotiates options, as Postfix does first (SMFIC_OPTNEG, protocol
// version 6), and hangs up.
func sayMilter(conn net.Conn) error {
	hello := make([]byte, 17)
	binary.BigEndian.PutUint32(hello, 13)
	hello[4] = 'O'
	binary.BigEndian.PutUint32(hello[5:], 6)
	binary.BigEndian.PutUint32(hello[9:], 0x1ff)     // what the filter may do
	binary.BigEndian.PutUint32(hello[13:], 0x1fffff) // what it may leave out
	if _, err := conn.Write(hello); err != nil {
		return err
	}
	answer := make([]byte, 5)
	if _, err := io.ReadFull(conn, answer); err != nil {
		return fmt.Errorf("no answer in the milter protocol: %w", err)
	}
	if answer[4] != 'O' {
		return errors.New("whoever listens there speaks no milter protocol")
	}
	return nil
}

// sayLMTP waits for the greeting and says hello.
func sayLMTP(conn net.Conn) error {
	r := bufio.NewReader(conn)
	for _, say := range []string{"", "LHLO localhost\r\n"} {
		if _, err := io.WriteString(conn, say); err != nil {
			return err
		}
		for more := true; more; {
			line, err := r.ReadString('\n')
			if err != nil {
				return fmt.Errorf("no answer in LMTP: %w", err)
			}
			if len(line) < 4 || line[0] != '2' {
				return fmt.Errorf("it answers %q", strings.TrimSpace(line))
			}
			more = line[3] == '-'
		}
	}
	return nil
}
