package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

var update = flag.Bool("update", false, "write docs/man/milterd.8")

// The man page milterd(8) is made from the command line's own grammar.
func TestManual(t *testing.T) {
	const path = "../../docs/man/milterd.8"
	want := manual(kong.Must(&cli{}, options()...).Model)
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil || string(got) != want {
		t.Errorf("%s is not what the command line says (%v): run go generate ./cmd/milterd", path, err)
	}
}

func manual(app *kong.Application) string {
	var b strings.Builder
	fmt.Fprintf(&b, ".TH MILTERD 8 \"\" milterd\n.SH NAME\nmilterd \\- e\\-mail as a signature desk\n.SH SYNOPSIS\n.B milterd\n[\\-c FILE] COMMAND\n.SH DESCRIPTION\n%s\n.SH COMMANDS\n", roff(app.Help))
	for _, leaf := range app.Leaves(true) {
		words := leaf.Path()
		words = strings.TrimPrefix(words, "milterd ")
		for _, a := range leaf.Positional {
			words += " " + strings.ToUpper(a.Name)
		}
		fmt.Fprintf(&b, ".TP\n.B %s\n%s\n", roff(words), roff(leaf.Help))
		if leaf.Detail != "" {
			fmt.Fprintf(&b, "%s\n", roff(leaf.Detail))
		}
		if len(leaf.Flags) > 0 {
			b.WriteString(".RS\n")
			for _, f := range leaf.Flags {
				flagLine(&b, f)
			}
			b.WriteString(".RE\n")
		}
	}
	b.WriteString(".SH OPTIONS\n")
	for _, f := range app.Flags {
		flagLine(&b, f)
	}
	fmt.Fprintf(&b, ".SH EXIT STATUS\n0 done, or for verify: every signature holds; %d failed; %d (verify) cannot be decided here; %d wrong usage. postfix check: 0 pass, 1 warn, 2 fail, 3 could not begin.\n", exitFailed, exitIndeterminate, exitUsage)
	b.WriteString(".SH SIGNALS\nserve: SIGTERM and SIGINT finish what has begun and end; SIGHUP reads the people, the password for LDAP and the TLS certificate again.\n")
	b.WriteString(".SH FILES\n")
	for _, f := range [][2]string{
		{"/etc/milterd/milterd.toml", "The configuration."},
		{"/etc/milterd/users.toml", "Who may ask and who may sign, without LDAP."},
		{"/var/lib/milterd", "Keys, master key and SQLite database: what must be backed up. Commands that touch it go on as its owner where root calls them."},
		{"/var/spool/postfix/milterd", "The sockets, below Postfix's queue directory because its smtpd may be chrooted there."},
		{"/usr/share/milterd/monitoring", "Alert rules for Prometheus and a dashboard for Grafana."},
	} {
		fmt.Fprintf(&b, ".TP\n.I %s\n%s\n", roff(f[0]), roff(f[1]))
	}
	b.WriteString(".SH SEE ALSO\n.BR milterd.toml (5),\n.BR postconf (5)\n")
	return b.String()
}

func flagLine(b *strings.Builder, f *kong.Flag) {
	name := "--" + f.Name
	if f.Short != 0 {
		name = "-" + string(f.Short) + ", " + name
	}
	if !f.IsBool() {
		name += "=" + f.FormatPlaceHolder()
	}
	fmt.Fprintf(b, ".TP\n.B %s\n%s\n", roff(name), roff(f.Help))
}

// roff escapes what troff would read as its own.
func roff(s string) string {
	s = strings.ReplaceAll(strings.ReplaceAll(s, `\`, `\e`), "-", `\-`)
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		s = `\&` + s
	}
	return s
}
