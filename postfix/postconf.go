package postfix

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// commandTimeout bounds each command of Postfix. They read a few files.
const commandTimeout = 20 * time.Second

// Instance is an installed Postfix, seen through its own commands.
type Instance struct {
	Dir string // configuration directory, as postfix -c; empty for the default instance
	Bin string // folder of postconf, postmap and postfix; empty for those in PATH
}

// run gives a command's standard output. Its error carries what the command said.
func (i Instance) run(ctx context.Context, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	if i.Dir != "" {
		args = append([]string{"-c", i.Dir}, args...)
	}
	program, err := exec.LookPath(filepath.Join(i.Bin, name))
	for _, dir := range []string{"/usr/sbin", "/usr/local/sbin"} { // not in everybody's PATH
		if err == nil || i.Bin != "" {
			break
		}
		program, err = exec.LookPath(filepath.Join(dir, name))
	}
	if err != nil {
		return "", fmt.Errorf("%s is not here: is Postfix installed on this machine?", name)
	}
	cmd := exec.CommandContext(ctx, program, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return out.String(), &commandError{name + " " + strings.Join(args, " "), strings.TrimSpace(errs.String() + out.String()), err}
	}
	return out.String(), nil
}

// commandError is a command of Postfix that failed.
type commandError struct {
	command, said string
	err           error
}

func (e *commandError) Error() string {
	return strings.TrimSuffix(fmt.Sprintf("%s: %v: %s", e.command, e.err, e.said), ": ")
}
func (e *commandError) Unwrap() error { return e.err }

// pairs reads "name = value" lines.
func pairs(out string) map[string]string {
	m := map[string]string{}
	for line := range strings.Lines(out) {
		if name, value, ok := strings.Cut(strings.TrimRight(line, "\n"), " ="); ok {
			m[name] = strings.TrimSpace(value)
		}
	}
	return m
}

// Value is what holds for a parameter, with every $name in it replaced.
func (i Instance) Value(ctx context.Context, name string) (string, error) {
	out, err := i.run(ctx, "postconf", "-xh", name)
	return strings.TrimSpace(out), err
}

// Values is Value for several parameters at once. One that this Postfix does
// not know is missing.
func (i Instance) Values(ctx context.Context, names ...string) (map[string]string, error) {
	out, err := i.run(ctx, "postconf", append([]string{"-x"}, names...)...)
	return pairs(out), err
}

// Config is where main.cf and master.cf are.
func (i Instance) Config(ctx context.Context) (string, error) {
	if i.Dir != "" {
		return i.Dir, nil
	}
	return i.Value(ctx, "config_directory")
}

// Service is one line of master.cf.
type Service struct {
	Name, Type string            // smtp, inet
	Chroot     bool              // in queue_directory
	Program    string            // smtpd
	Options    map[string]string // set by -o, beside main.cf
}

// Services are the lines of master.cf, in their order. The overrides are raw:
// $name stands in them as it is written.
func (i Instance) Services(ctx context.Context) ([]Service, error) {
	out, err := i.run(ctx, "postconf", "-M")
	if err != nil {
		return nil, err
	}
	over, err := i.run(ctx, "postconf", "-P")
	if err != nil {
		return nil, err
	}
	var all []Service
	lines := bufio.NewScanner(strings.NewReader(out))
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 8 {
			continue
		}
		chroot := f[4] == "y"
		if f[4] == "-" { // the default: y before Postfix 3.0, and at compatibility level 0 still
			level, err := i.Value(ctx, "compatibility_level")
			if err != nil {
				return nil, err
			}
			chroot = level == "0"
		}
		all = append(all, Service{Name: f[0], Type: f[1], Chroot: chroot, Program: f[7], Options: map[string]string{}})
	}
	for key, value := range pairs(over) {
		words := strings.Split(key, "/") // service/type/parameter
		if len(words) < 3 {
			continue
		}
		for _, s := range all {
			if s.Name == strings.Join(words[:len(words)-2], "/") && s.Type == words[len(words)-2] {
				s.Options[words[len(words)-1]] = value
			}
		}
	}
	return all, lines.Err()
}

// Receiving are the services that take mail by SMTP.
func Receiving(all []Service) []Service {
	return slices.DeleteFunc(slices.Clone(all), func(s Service) bool { return s.Program != "smtpd" })
}

// ErrNone tells an answer from a failure.
var ErrNone = errors.New("no such entry")

// Lookup asks one table, as postmap -q does. ErrNone: it has no such key.
func (i Instance) Lookup(ctx context.Context, table, key string) (string, error) {
	out, err := i.run(ctx, "postmap", "-q", key, table)
	var failed *commandError
	if errors.As(err, &failed) && failed.said == "" {
		return "", ErrNone // exit status 1 without a word
	}
	return strings.TrimSpace(out), err
}

// Aliases are the entries of one table of alias_maps, as postalias -s lists
// them. Not every kind of table can be listed.
func (i Instance) Aliases(ctx context.Context, table string) (map[string]string, error) {
	out, err := i.run(ctx, "postalias", "-s", table)
	if err != nil {
		return nil, err
	}
	m := map[string]string{}
	for line := range strings.Lines(out) {
		if name, value, ok := strings.Cut(strings.TrimRight(line, "\n"), ":\t"); ok {
			m[name] = value
		}
	}
	return m, nil
}

// Expand is what a value comes to that a service of master.cf has instead of
// main.cf's.
func (i Instance) Expand(ctx context.Context, name, raw string) (string, error) {
	if !strings.Contains(raw, "$") {
		return raw, nil
	}
	out, err := i.run(ctx, "postconf", "-xh", "-o", name+"="+raw, name)
	return strings.TrimSpace(out), err
}

// Running asks the master process whether it is there. It needs root.
func (i Instance) Running(ctx context.Context) error {
	_, err := i.run(ctx, "postfix", "status")
	return err
}

// Seen is a socket of milterd in Postfix's words. A path below Postfix's queue
// directory becomes relative: Postfix's processes stand in that directory,
// chrooted there (Debian's default) or not.
func Seen(listen, queueDirectory string) string {
	path, ok := strings.CutPrefix(listen, "unix:")
	if !ok {
		return listen
	}
	if rel, err := filepath.Rel(queueDirectory, path); err == nil && filepath.IsLocal(rel) {
		return "unix:" + rel
	}
	return listen
}
