package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Packages of the fresh Debian beyond its essential ones: it boots. The offered
// ones are downloaded with it and not installed, so that apt finds them although
// the machine has no network.
const (
	present = "systemd-sysv,ca-certificates,openssl"
	offered = "postfix dovecot-core chrony softhsm2"
	office  = "libreoffice-writer-nogui" // offered without what it recommends, as docs/admin.md says
)

// tools are what this program runs, with the packages that have them.
var tools = map[string]string{
	"mmdebstrap": "mmdebstrap", "systemd-nspawn": "systemd-container", "nsenter": "util-linux",
	"promtool": "prometheus", "dpkg-deb": "dpkg", "man": "man-db",
}

// needs says what is missing on this machine.
func needs() error {
	if os.Geteuid() != 0 {
		return errors.New("booting a Debian of its own needs root: sudo make deb-test")
	}
	missing := map[string]bool{}
	for tool, pkg := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			missing[pkg] = true
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("missing: apt-get install -y %s", strings.Join(slices.Sorted(maps.Keys(missing)), " "))
	}
	return nil
}

// debian gives a folder with a fresh Debian of this machine's release, from
// this machine's own package sources. It is kept below the user's cache folder
// and made again when its packages change.
func debian(ctx context.Context) (string, error) {
	codename, err := output(ctx, "sh", "-c", `. /etc/os-release && echo "$ID $VERSION_CODENAME"`)
	if err != nil {
		return "", err
	}
	id, release, _ := strings.Cut(strings.TrimSpace(codename), " ")
	if id != "debian" {
		return "", fmt.Errorf("this machine runs %s; a fresh Debian is made from a Debian's package sources", id)
	}
	sources, err := output(ctx, "apt-get", "indextargets", "--format", "deb $(REPO_URI) $(CODENAME) $(COMPONENT)",
		"Created-By: Packages", "Origin: Debian")
	if err != nil {
		return "", err
	}
	if sources == "" {
		return "", errors.New("apt knows no Debian sources here: apt-get update")
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	args := []string{"--quiet", "--mode=root", "--variant=apt", "--include=" + present, "--skip=cleanup/apt",
		"--customize-hook=chroot \"$1\" apt-get install -y -qq --install-recommends --download-only " + offered + " && chroot \"$1\" apt-get install -y -qq --no-install-recommends --download-only " + office, release}
	recipe := sha256.Sum256([]byte(sources + strings.Join(args, " ")))
	dir := filepath.Join(cache, "milterd", fmt.Sprintf("%s-%x", release, recipe[:4]))
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", err
	}
	made, err := os.MkdirTemp(filepath.Dir(dir), ".new-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(made)
	if err := os.Chmod(made, 0o755); err != nil { // user _apt looks in
		return "", err
	}
	root := filepath.Join(made, "root")
	c := exec.CommandContext(ctx, "mmdebstrap", append(args, root, "-")...)
	c.Stdin = strings.NewReader(sources)
	var log bytes.Buffer
	c.Stdout, c.Stderr = &log, &log
	if err := c.Run(); err != nil {
		return "", fmt.Errorf("mmdebstrap: %w\n%s", err, log.String())
	}
	return dir, os.Rename(root, dir)
}

// output is what a command prints; its complaints are in the error.
func output(ctx context.Context, name string, args ...string) (string, error) {
	c := exec.CommandContext(ctx, name, args...)
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Run(); err != nil {
		return out.String(), fmt.Errorf("%s: %w: %s", name, err, bytes.TrimSpace(errs.Bytes()))
	}
	return out.String(), nil
}
