// Command fresh does what README.md tells an administrator, on a fresh Debian:
// installs the package there with apt, runs README's lines as they stand,
// mails a document through Debian's own chrooted Postfix, signs it on the page,
// then upgrades, removes and purges the package.
//
//	go run ./packaging/fresh -deb bin/milterd.deb
//
// The Debian is booted with systemd-nspawn, so the unit runs under a real
// systemd with its whole sandbox, on a network that has nothing but loopback.
// It needs root, and Debian's package sources once (root.go).
//
// Limits: one release, this machine's own. Editing is done by a stand-in for
// the administrator's editor; the certificate of the pages is self-signed.
// Reference: README.md, docs/admin.md; Debian Policy, chapter 6.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"milterd/demo"
	"milterd/signature/pdf"
)

func main() {
	if pdf.ChildMain() {
		return
	}
	deb := flag.String("deb", "bin/milterd.deb", "the package")
	readme := flag.String("readme", "README.md", "what the administrator reads")
	monitoring := flag.String("monitoring", "packaging/monitoring", "alert rules and dashboard")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	t := &trial{deb: *deb, monitoring: *monitoring}
	err := t.run(ctx, *readme)
	if err != nil {
		fmt.Fprintln(os.Stderr, "fresh:", err)
		fmt.Printf("deb-test: steps=%d failed=1\n", t.steps)
		stop()
		os.Exit(1)
	}
	fmt.Printf("deb-test: steps=%d failed=0\n", t.steps)
}

// trial is one way through the life of an installation.
type trial struct {
	*machine
	deb, monitoring string
	steps           int
	install, login  []string // README's lines
}

// step says what is done and how long it took.
func (t *trial) step(name string, do func() error) error {
	begin := time.Now()
	if err := do(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	t.steps++
	fmt.Printf("  ok %6.1fs  %s\n", time.Since(begin).Seconds(), name)
	return nil
}

func (t *trial) run(ctx context.Context, readme string) error {
	if err := needs(); err != nil {
		return err
	}
	b, err := os.ReadFile(readme)
	if err != nil {
		return err
	}
	blocks := codeBlocks(string(b), "## Put it beside a Postfix")
	if len(blocks) != 2 {
		return fmt.Errorf("%s has %d blocks of commands for administrators, want 2: install, login", readme, len(blocks))
	}
	t.install, t.login = blocks[0], blocks[1]
	var dir string
	if err := t.step("a fresh Debian", func() (err error) { dir, err = debian(ctx); return err }); err != nil {
		return err
	}
	if err := t.step("boots", func() (err error) { t.machine, err = boot(ctx, dir); return err }); err != nil {
		return err
	}
	defer t.stop()
	for _, s := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"people, certificate and an editor are there", t.prepare},
		{"README's first block", t.follow},
		{"README's second block", t.followLogin},
		{"the unit's sandbox", t.sandbox},
		{"a mail becomes a signed document", func(ctx context.Context) error { return t.sign(ctx, "Framework agreement", demo.Sample()) }},
		{"the same with the seal's key in a PKCS#11 token", t.token},
		{"an Office file is signed as a PDF, with convert.conf", t.office},
		{"milterd postfix check misses nothing but a DNS", t.doctor},
		{"metrics, alert rules and dashboard fit", t.metrics},
		{"mail waits while milterd is away, and is handed over by LMTP", t.away},
		{"upgrade keeps what was edited and restarts", t.upgrade},
		{"remove keeps configuration and data", t.remove},
		{"purge keeps keys and evidence", t.purge},
	} {
		if err := t.step(s.name, func() error { return s.do(ctx) }); err != nil {
			if log, _ := t.machine.run(ctx, "", "journalctl --no-pager -n 40"); log != "" {
				err = fmt.Errorf("%w\n--- journal\n%s", err, log)
			}
			return err
		}
	}
	return nil
}

// codeBlocks gives the lines of the indented blocks of a section.
func codeBlocks(text, heading string) (blocks [][]string) {
	_, section, ok := strings.Cut(text, heading+"\n")
	if !ok {
		return nil
	}
	inside := false
	for line := range strings.Lines(section) {
		if strings.HasPrefix(line, "## ") {
			break
		}
		command, indented := strings.CutPrefix(line, "    ")
		if indented && !inside {
			blocks = append(blocks, nil)
		}
		if inside = indented; inside {
			blocks[len(blocks)-1] = append(blocks[len(blocks)-1], strings.TrimSpace(command))
		}
	}
	return blocks
}

// say runs a line in the machine, and wants words in what it says.
func (t *trial) say(ctx context.Context, line string, want ...string) (string, error) {
	out, err := t.machine.run(ctx, "", line)
	if err != nil {
		return out, err
	}
	for _, w := range want {
		if !strings.Contains(out, w) {
			return out, fmt.Errorf("%s: does not say %q but:\n%s", line, w, out)
		}
	}
	return out, nil
}

// all runs lines one after another.
func (t *trial) all(ctx context.Context, lines ...string) error {
	for _, l := range lines {
		if _, err := t.machine.run(ctx, "", l); err != nil {
			return err
		}
	}
	return nil
}

// refused wants a line to fail.
func (t *trial) refused(ctx context.Context, line, why string) error {
	if out, err := t.machine.run(ctx, "", line); err == nil {
		return errors.New(why + ": " + line + "\n" + out)
	}
	return nil
}
