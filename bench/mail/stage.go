package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"milterd/postfix"
)

// stage is four Postfixes: without a milter, with milterd, with a milter that does
// nothing, with opendkim. This process is the mail client; milterd and opendkim have
// processes of their own.
type stage struct {
	dir  string
	mtas map[string]*postfix.Private
	desk *exec.Cmd
	ask  io.WriteCloser // to the desk
	says *bufio.Reader
	dkim *exec.Cmd
}

func (s *stage) addr(side string) string { return s.mtas[side].SMTPAddr }

func build(ctx context.Context, dir string) (_ *stage, err error) {
	s := &stage{dir: dir, mtas: map[string]*postfix.Private{}}
	defer func() {
		if err != nil {
			s.stop()
		}
	}()
	if err := s.startDesk(dir); err != nil {
		return nil, err
	}
	if err := s.startDKIM(dir); err != nil {
		return nil, err
	}
	for side, socket := range map[string]string{"none": "", "milterd": "milter.sock", "idle": "idle.sock", "opendkim": "dkim.sock"} {
		o := postfix.Options{Dir: filepath.Join(dir, side), Domain: "corp.test", Users: map[string]string{"jane": password},
			Mailboxes: []string{nobody, colleague}, Settings: []string{"transport_maps = inline:{{" + nobody + " = discard:bench}}"}}
		if socket != "" {
			o.Milter = "unix:" + filepath.Join(dir, socket)
		}
		if side == "milterd" {
			o.SignDomain = "sign.corp.test"
		} else {
			// Its settings for the sign domain count for both sides.
			o.Settings = append(o.Settings, "smtpd_forbid_bare_newline = normalize", "smtpd_forbid_bare_newline_exclusions =")
		}
		if err := os.MkdirAll(o.Dir, 0o755); err != nil {
			return nil, err
		}
		if s.mtas[side], err = postfix.StartPrivate(ctx, o); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// startDesk runs this program again as the desk behind milterd's door.
func (s *stage) startDesk(dir string) (err error) {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	s.desk = exec.Command(self)
	s.desk.Env = append(os.Environ(), deskMark+"="+dir)
	s.desk.Stderr = os.Stderr
	if s.ask, err = s.desk.StdinPipe(); err != nil {
		return err
	}
	out, err := s.desk.StdoutPipe()
	if err != nil {
		return err
	}
	s.says = bufio.NewReader(out)
	if err := s.desk.Start(); err != nil {
		return err
	}
	_, err = s.says.ReadString('\n')
	return err
}

// parts says what the parts of intercepted mails took since it was last asked.
func (s *stage) parts() (string, error) {
	if _, err := s.ask.Write([]byte("\n")); err != nil {
		return "", err
	}
	line, err := s.says.ReadString('\n')
	return strings.TrimSpace(line), err
}

// startDKIM runs opendkim as a verifier, as most sites do.
func (s *stage) startDKIM(dir string) error {
	if _, err := exec.LookPath("opendkim"); err != nil {
		return errors.New("opendkim is not installed: apt-get install -y opendkim")
	}
	socket, conf, hosts := filepath.Join(dir, "dkim.sock"), filepath.Join(dir, "opendkim.conf"), filepath.Join(dir, "internal")
	if err := os.WriteFile(hosts, []byte("192.0.2.1\n"), 0o644); err != nil {
		return err
	}
	text := fmt.Sprintf("Mode v\nSocket local:%s\nUMask 000\nInternalHosts %s\nPidFile %s.pid\nSyslog no\n", socket, hosts, conf)
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		return err
	}
	s.dkim = exec.Command("opendkim", "-f", "-x", conf)
	s.dkim.Stderr = os.Stderr
	if err := s.dkim.Start(); err != nil {
		return err
	}
	for range 200 {
		if c, err := net.Dial("unix", socket); err == nil {
			return c.Close()
		}
		time.Sleep(20 * time.Millisecond)
	}
	return errors.New("opendkim does not answer")
}

func (s *stage) stop() {
	for _, p := range s.mtas {
		if p != nil {
			p.Stop()
		}
	}
	if s.dkim != nil && s.dkim.Process != nil {
		s.dkim.Process.Kill()
		s.dkim.Wait()
	}
	if s.desk != nil && s.desk.Process != nil {
		s.ask.Close()
		s.desk.Wait()
	}
}
