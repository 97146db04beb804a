package postfix

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
	"time"
)

// dovecot is a private Dovecot that does nothing but check logins for Postfix,
// so that {auth_authen} is real.
type dovecot struct {
	socket string
	cmd    *exec.Cmd
	done   chan error
}

// dovecotConf has one place for each %s: the folder (six times).
const dovecotConf = `base_dir = %[1]s/run
state_dir = %[1]s/run
log_path = %[1]s/dovecot.log
protocols =
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain login
passdb {
  driver = passwd-file
  args = scheme=PLAIN username_format=%%u %[1]s/passwd
}
userdb {
  driver = static
  args = uid=nobody gid=nogroup home=/nonexistent
}
service auth {
  unix_listener %[1]s/socket {
    mode = 0666
  }
}
service stats {
  chroot =
}
`

func startDovecot(ctx context.Context, dir string, users map[string]string) (*dovecot, error) {
	if _, err := exec.LookPath("dovecot"); err != nil {
		return nil, errors.New("dovecot is not installed: apt-get install -y dovecot-core")
	}
	if err := os.MkdirAll(filepath.Join(dir, "run"), 0o755); err != nil {
		return nil, fmt.Errorf("configuring the private Dovecot: %w", err)
	}
	if err := searchable(dir); err != nil {
		return nil, fmt.Errorf("configuring the private Dovecot: %w", err)
	}
	var passwd []string
	for login, password := range users {
		passwd = append(passwd, login+":{PLAIN}"+password+"\n")
	}
	sort.Strings(passwd)
	for name, text := range map[string]string{
		"passwd":       strings.Join(passwd, ""),
		"dovecot.conf": fmt.Sprintf(dovecotConf, dir),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return nil, fmt.Errorf("configuring the private Dovecot: %w", err)
		}
	}
	d := &dovecot{socket: filepath.Join(dir, "socket"), done: make(chan error, 1)}
	d.cmd = exec.Command("dovecot", "-F", "-c", filepath.Join(dir, "dovecot.conf"))
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var out strings.Builder
	d.cmd.Stdout, d.cmd.Stderr = &out, &out
	if err := d.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the private Dovecot: %w", err)
	}
	go func() { d.done <- d.cmd.Wait() }()
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		if c, err := net.Dial("unix", d.socket); err == nil {
			c.Close()
			return d, nil
		}
		select {
		case err := <-d.done:
			log, _ := os.ReadFile(filepath.Join(dir, "dovecot.log"))
			return nil, fmt.Errorf("the private Dovecot ended: %v\n%s%s", err, out.String(), log)
		case <-ctx.Done():
			d.stop()
			return nil, fmt.Errorf("waiting for the private Dovecot: %w", ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// stop kills Dovecot and its processes: it takes a second to end, and has
// nothing to lose.
func (d *dovecot) stop() error {
	if err := syscall.Kill(-d.cmd.Process.Pid, syscall.SIGKILL); err != nil {
		return fmt.Errorf("stopping the private Dovecot: %w", err)
	}
	<-d.done
	return nil
}
