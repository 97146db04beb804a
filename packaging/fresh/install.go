package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// password is everybody's.
const password = "correct horse"

// editor stands in for the administrator's: it makes the changes that README's
// comments name, in the files as the package brought them.
const editor = `#!/bin/sh
set -e
case "$1" in
*/milterd.toml)
	sed -i \
		-e '/^\[http\]/,/^\[/ { s|^#certificate = |certificate = |; s|^#key = |key = |; }' \
		-e 's|^#received_by = .*|received_by = "mx.corp.com"|' \
		-e 's|^#unsynchronised = .*|unsynchronised = true|' \
		-e 's|^name = .*|name = "Fresh Corp"|' "$1" ;;
*/users.toml)
	printf '[[user]]\nmail = "jane@corp.com"\nname = "Jane Roe"\n\n[[user]]\nmail = "john@corp.com"\nname = "John Doe"\n' >> "$1" ;;
*)
	exit 1 ;;
esac
`

// prepare makes what a real site has before milterd comes: people with
// mailboxes, a mail domain, a certificate for the signing pages.
func (t *trial) prepare(ctx context.Context) error {
	if err := t.copy(t.deb, "/root/milterd.deb"); err != nil {
		return err
	}
	if err := t.write("/usr/local/bin/editor", editor, 0o755); err != nil {
		return err
	}
	// Nobody is there to answer apt's questions.
	if err := t.write("/etc/apt/apt.conf.d/99yes", "APT::Get::Assume-Yes \"true\";\n", 0o644); err != nil {
		return err
	}
	return t.all(ctx,
		"hostname mx.corp.com && hostname > /etc/hostname && echo 127.0.0.1 mx.corp.com mx sign.corp.com >> /etc/hosts",
		"useradd --create-home jane && useradd --create-home john",
		"printf 'jane:"+password+"\\njohn:"+password+"\\n' | chpasswd",
		"printf 'postfix postfix/main_mailer_type select Internet Site\\npostfix postfix/mailname string corp.com\\n' | debconf-set-selections",
		"mkdir -p /etc/letsencrypt/live/sign.corp.com && cd /etc/letsencrypt/live/sign.corp.com && openssl req -x509 -newkey rsa:2048 -nodes "+
			"-subj /CN=sign.corp.com -addext subjectAltName=DNS:sign.corp.com -days 90 -keyout privkey.pem -out fullchain.pem",
		"cp /etc/letsencrypt/live/sign.corp.com/fullchain.pem /usr/local/share/ca-certificates/pages.crt && update-ca-certificates")
}

// follow runs README's first block, and looks at what is not said there: that
// nothing runs before it knows its domain.
func (t *trial) follow(ctx context.Context) error {
	for _, line := range t.install {
		if strings.HasPrefix(line, "milterd postfix apply") {
			line = "script -qec '" + line + "' /dev/null" // it asks at a terminal
		}
		out, err := t.machine.run(ctx, "yes\n", line)
		if err != nil {
			return err
		}
		if !strings.HasPrefix(line, "apt install") {
			continue
		}
		if !strings.Contains(out, "milterd is installed and not started") {
			return fmt.Errorf("the package does not say what to do next:\n%s", out)
		}
		for _, unit := range []string{"milterd.service", "milterd.socket"} {
			if err := t.refused(ctx, "systemctl is-enabled "+unit, "enabled before it is configured"); err != nil {
				return err
			}
			if err := t.refused(ctx, "systemctl is-active "+unit, "runs before it is configured"); err != nil {
				return err
			}
		}
		if _, err := t.say(ctx, "stat -c '%U:%G %a' /var/lib/milterd /var/spool/postfix/milterd",
			"milterd:milterd 700\nmilterd:postfix 2710\n"); err != nil {
			return err
		}
	}
	_, err := t.say(ctx, "systemctl is-active milterd && stat -c '%U:%G %a' /var/spool/postfix/milterd/milter.sock", "milterd:postfix 660")
	return err
}

func (t *trial) followLogin(ctx context.Context) error {
	if err := t.all(ctx, t.login...); err != nil {
		return err
	}
	// Nothing of Debian's chroots was changed.
	for _, service := range []string{"smtp/inet", "cleanup/unix", "lmtp/unix"} {
		if _, err := t.say(ctx, "postconf -F "+service+"/chroot", "= y"); err != nil {
			return err
		}
	}
	return nil
}

// sandbox asks systemd what it thinks of the unit as it runs.
func (t *trial) sandbox(ctx context.Context) error {
	out, err := t.machine.run(ctx, "", "systemd-analyze security --threshold=15 milterd")
	if err != nil {
		return err
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	fmt.Println("             " + lines[len(lines)-1])
	// Without these no clock would be asked and no child limited: the filter
	// would answer, or kill.
	if _, err := t.say(ctx, "systemctl show -p SystemCallFilter milterd | tr ' =' '\\n'", "\nadjtimex\n", "\nprlimit64\n"); err != nil {
		return err
	}
	// The man pages are there and readable.
	for _, page := range []string{"man8/milterd.8.gz", "man5/milterd.toml.5.gz"} {
		file := t.path("/usr/share/man/" + page)
		out, err := exec.CommandContext(ctx, "man", "--warnings=w", "--local-file", file).CombinedOutput()
		if err != nil {
			return fmt.Errorf("man %s: %w\n%s", page, err, out)
		}
		if !bytes.Contains(out, []byte("NAME")) || bytes.Contains(out, []byte("warning:")) {
			return fmt.Errorf("man %s:\n%s", page, out)
		}
	}
	return nil
}

// next makes a later version of the package, whose sample configuration has
// changed as well.
func (t *trial) next(ctx context.Context) (string, error) {
	dir, err := os.MkdirTemp("", "milterd-next-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	tree := filepath.Join(dir, "tree")
	if _, err := output(ctx, "dpkg-deb", "--raw-extract", t.deb, tree); err != nil {
		return "", err
	}
	control := filepath.Join(tree, "DEBIAN", "control")
	b, err := os.ReadFile(control)
	if err != nil {
		return "", err
	}
	now := field(string(b), "Version")
	later := now + "+next"
	if err := os.WriteFile(control, []byte(strings.Replace(string(b), "Version: "+now, "Version: "+later, 1)), 0o644); err != nil {
		return "", err
	}
	sample, err := os.OpenFile(filepath.Join(tree, "etc", "milterd", "milterd.toml"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return "", err
	}
	fmt.Fprintln(sample, "# A later sample says more.")
	if err := sample.Close(); err != nil {
		return "", err
	}
	deb := filepath.Join(dir, "next.deb")
	if _, err := output(ctx, "dpkg-deb", "--root-owner-group", "-Znone", "--build", tree, deb); err != nil {
		return "", err
	}
	return later, t.copy(deb, "/root/next.deb")
}

func field(control, name string) string {
	for line := range strings.Lines(control) {
		if v, ok := strings.CutPrefix(line, name+": "); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

func (t *trial) upgrade(ctx context.Context) error {
	later, err := t.next(ctx)
	if err != nil {
		return err
	}
	edited, err := t.say(ctx, "cat /etc/milterd/milterd.toml /etc/milterd/users.toml")
	if err != nil {
		return err
	}
	before, err := t.say(ctx, "systemctl show -p MainPID milterd")
	if err != nil {
		return err
	}
	if _, err := t.machine.run(ctx, "", "apt install -o Dpkg::Options::=--force-confold ./next.deb"); err != nil {
		return err
	}
	if _, err := t.say(ctx, "dpkg-query -W milterd", later); err != nil {
		return err
	}
	if now, err := t.say(ctx, "cat /etc/milterd/milterd.toml /etc/milterd/users.toml"); err != nil {
		return err
	} else if now != edited {
		return fmt.Errorf("the upgrade changed the configuration:\n%s", now)
	}
	if now, err := t.say(ctx, "systemctl is-active milterd && systemctl show -p MainPID milterd"); err != nil {
		return err
	} else if strings.HasSuffix(now, before) {
		return fmt.Errorf("the upgrade did not restart: still %s", before)
	}
	if _, err := t.say(ctx, "milterd session list", "done"); err != nil {
		return err
	}
	resp, err := http.Get("https://sign.corp.com/") // in the machine, see trustPages
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the pages after the upgrade: %s", resp.Status)
	}
	return nil
}

func (t *trial) remove(ctx context.Context) error {
	if _, err := t.say(ctx, "apt remove milterd", "main.cf still names milterd"); err != nil {
		return err
	}
	if err := t.refused(ctx, "systemctl is-active milterd.service || systemctl is-active milterd.socket", "runs although it was removed"); err != nil {
		return err
	}
	_, err := t.say(ctx, "ls /etc/milterd /var/lib/milterd", "milterd.toml", "users.toml", "master.key", "keys", "milterd.db")
	return err
}

func (t *trial) purge(ctx context.Context) error {
	if _, err := t.say(ctx, "apt purge milterd", "/var/lib/milterd was kept"); err != nil {
		return err
	}
	if _, err := t.say(ctx, "stat -c %U /var/lib/milterd/master.key /var/lib/milterd/keys /var/lib/milterd/milterd.db", "milterd\nmilterd\nmilterd\n"); err != nil {
		return err
	}
	if err := t.refused(ctx, "ls /etc/milterd/milterd.toml || ls -d /var/spool/postfix/milterd", "purge leaves files"); err != nil {
		return err
	}
	// And back again, with the same keys.
	if err := t.all(ctx, t.install[:3]...); err != nil {
		return err
	}
	_, err := t.say(ctx, "milterd init && milterd session list", "nothing was changed", "done")
	return err
}
