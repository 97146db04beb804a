package postfix_test

import (
	"bytes"
	"context"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"milterd/postfix"
)

var applySite = postfix.Site{SignDomain: "sign.corp.test", Milter: "unix:milterd/milter.sock", LMTP: "unix:milterd/lmtp.sock",
	ReceivedBy: "mx.corp.test", Postmaster: "it@corp.test", Trusted: []netip.Prefix{netip.MustParsePrefix("192.0.2.10/32")}}

// admins is a Postfix whose administrator had plans of their own.
func admins(t *testing.T, settings ...string) (postfix.Instance, *postfix.Private) {
	t.Helper()
	dir := t.TempDir()
	p, err := postfix.StartPrivate(t.Context(), postfix.Options{Dir: dir, Domain: "corp.test", Settings: settings})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
	})
	return postfix.Instance{Dir: filepath.Join(dir, "conf")}, p
}

// paper is a configuration that nobody runs.
func paper(t *testing.T) postfix.Instance {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"main.cf":   "compatibility_level = 3.6\nqueue_directory = " + dir + "\nvirtual_mailbox_domains = corp.test\n",
		"master.cf": "smtp inet n - y - - smtpd\nlmtp unix - - y - - lmtp\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return postfix.Instance{Dir: dir}
}

func plan(t *testing.T, i postfix.Instance) *postfix.Plan {
	t.Helper()
	p, err := postfix.MakePlan(t.Context(), i, applySite, postfix.Settings(applySite))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func value(t *testing.T, i postfix.Instance, name string) string {
	t.Helper()
	v, err := i.Value(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func shown(p *postfix.Plan) string {
	var b bytes.Buffer
	p.WriteTo(&b)
	return b.String()
}

func setting(name string) string {
	all := postfix.Settings(applySite)
	return all[slices.IndexFunc(all, func(s postfix.Setting) bool { return s.Name == name })].Value
}

func TestApply(t *testing.T) {
	i, p := admins(t,
		"# filters", "smtpd_milters =", "# the signer", "    inet:127.0.0.1:8891,", "    unix:/run/clamav.sock",
		"non_smtpd_milters = $smtpd_milters",
		"relay_domains = corp.org $mydestination",
		"transport_maps = texthash:$config_directory/transport",
		"smtpd_recipient_restrictions = permit_mynetworks, reject_unauth_destination",
		"smtpd_forbid_bare_newline = no")
	if err := os.WriteFile(filepath.Join(i.Dir, "transport"), []byte("corp.org smtp:[192.0.2.1]\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	before, master := read(t, i.Dir+"/main.cf"), read(t, i.Dir+"/master.cf")
	todo := plan(t, i)
	text := shown(todo)
	for _, want := range []string{
		"smtpd_milters\n  - inet:127.0.0.1:8891, unix:/run/clamav.sock\n  + inet:127.0.0.1:8891, unix:/run/clamav.sock, { unix:milterd/milter.sock,",
		"relay_domains\n  - corp.org $mydestination\n  + corp.org $mydestination, regexp:{ {/^sign\\.corp\\.test$$/ sign} }\n    ",
		"smtpd_forbid_bare_newline\n  - no\n  + normalize\n    ",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the difference does not say %q:\n%s", want, text)
		}
	}
	if len(todo.Warnings) != 0 {
		t.Errorf("warns: %v", todo.Warnings)
	}
	if read(t, i.Dir+"/main.cf") != before {
		t.Error("looking has changed main.cf")
	}
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.Local)
	backup, err := i.Apply(t.Context(), todo, now)
	if err != nil {
		t.Fatal(err)
	}
	if backup != i.Dir+"/main.cf.milterd-20261123-120000" || read(t, backup) != before || read(t, i.Dir+"/master.cf.milterd-20261123-120000") != master {
		t.Errorf("backup %s does not hold what was there", backup)
	}
	if read(t, i.Dir+"/master.cf") != master || !strings.Contains(read(t, i.Dir+"/main.cf"), "# the signer\n") {
		t.Error("master.cf or a comment was changed")
	}
	for _, name := range []string{"smtpd_milters", "non_smtpd_milters"} {
		if v := value(t, i, name); !strings.HasPrefix(v, "inet:127.0.0.1:8891, unix:/run/clamav.sock, { unix:milterd/milter.sock,") {
			t.Errorf("%s = %s", name, v)
		}
	}
	if v := value(t, i, "transport_maps"); v != "texthash:"+i.Dir+"/transport, "+setting("transport_maps") {
		t.Errorf("transport_maps = %s", v)
	}
	if v := value(t, i, "smtpd_recipient_restrictions"); !strings.HasSuffix(v, "permit_mynetworks, reject_unauth_destination") {
		t.Errorf("smtpd_recipient_restrictions = %s", v)
	}
	if again := plan(t, i); len(again.Changes) != 0 || len(again.Warnings) != 0 {
		t.Errorf("a second time there is something to do:\n%s", shown(again))
	}
	if err := i.Reload(t.Context()); err != nil {
		t.Errorf("reload: %v", err)
	}
	if strings.Contains(p.Log(), "fatal:") {
		t.Errorf("Postfix does not like it:\n%s", p.Log())
	}

	// A milter put behind milterd later is put before it again.
	set(t, i, "smtpd_milters", value(t, i, "smtpd_milters")+", inet:127.0.0.1:9999")
	again := plan(t, i)
	if len(again.Changes) == 0 || !strings.HasSuffix(again.Changes[0].After, setting("smtpd_milters")) || !strings.Contains(again.Changes[0].After, ":9999, {") {
		t.Errorf("a milter behind milterd: %s", shown(again))
	}
	if _, err := i.Apply(t.Context(), again, now); err != nil { // in the same second
		t.Fatal(err)
	}

	for n := range 2 {
		u, err := i.Undoing(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 && (len(u.Changes) != 1 || u.Changes[0].Name != "smtpd_milters" || !strings.HasSuffix(u.Changes[0].After, ":9999")) {
			t.Errorf("undoing the last: %+v", u.Changes)
		}
		if _, err := i.Undo(t.Context(), u, now); err != nil {
			t.Fatal(err)
		}
	}
	if read(t, i.Dir+"/main.cf") != before {
		t.Error("undone, main.cf is not what it was")
	}
	if _, err := i.Undoing(t.Context()); err == nil || !strings.Contains(err.Error(), "there is no ") {
		t.Errorf("nothing left to undo: %v", err)
	}
}

// Where unproven mail must reach milterd, Postfix stops refusing it, and
// nothing else changes.
func TestApplyStrangers(t *testing.T) {
	i := paper(t)
	set(t, i, "smtpd_recipient_restrictions", "permit_mynetworks, check_recipient_access hash:/etc/postfix/access, reject")
	before := value(t, i, "smtpd_recipient_restrictions")
	i = wrap(t, i, "postfix", "")
	if _, err := i.Apply(t.Context(), plan(t, i), time.Now()); err != nil {
		t.Fatal(err)
	}
	if v := value(t, i, "smtpd_recipient_restrictions"); !strings.HasPrefix(v, "check_recipient_access regexp:{ {") || !strings.HasSuffix(v, ", "+before) {
		t.Errorf("refusing strangers: %s", v)
	}
	site := applySite
	site.Strangers = true
	p, err := postfix.MakePlan(t.Context(), i, site, postfix.Settings(site))
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Changes) != 3 {
		t.Errorf("to let strangers in:\n%s", shown(p))
	}
	if _, err := i.Apply(t.Context(), p, time.Now()); err != nil {
		t.Fatal(err)
	}
	if v := value(t, i, "smtpd_recipient_restrictions"); v != before {
		t.Errorf("smtpd_recipient_restrictions = %s, want %s", v, before)
	}
	if v := value(t, i, "smtpd_restriction_classes"); v != "" || strings.Contains(read(t, i.Dir+"/main.cf"), "milterd_senders") {
		t.Errorf("smtpd_restriction_classes = %s", v)
	}
	if p, err = postfix.MakePlan(t.Context(), i, site, postfix.Settings(site)); err != nil || len(p.Changes) != 0 {
		t.Errorf("a second time: %v, %+v", err, p)
	}
}

func set(t *testing.T, i postfix.Instance, name, v string) {
	t.Helper()
	if out, err := exec.Command("postconf", "-c", i.Dir, "-e", name+" = "+v).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// What stands in main.cf and cannot work with milterd is told, with its remedy.
func TestApplyWarns(t *testing.T) {
	i := paper(t)
	for name, c := range map[string]struct {
		name, value string
		master      string // a parameter that smtp/inet sets beside main.cf
		text, fix   string
	}{
		"own destination": {name: "mydestination", value: "localhost, SIGN.corp.test", text: "mydestination holds the sign domain", fix: "take sign.corp.test out of mydestination"},
		"own mailboxes":   {name: "virtual_mailbox_domains", value: "corp.test sign.corp.test", text: "virtual_mailbox_domains holds", fix: "take sign.corp.test out of virtual_mailbox_domains"},
		"other transport": {name: "transport_maps", value: "inline:{ {sign.corp.test = smtp:[192.0.2.1]} {corp.test = virtual:} }", text: `says "smtp:[192.0.2.1]" for sign.corp.test`, fix: "take sign.corp.test out of inline:"},
		"master.cf":       {name: "smtpd_milters", master: "inet:127.0.0.1:8891", text: "a smtpd_milters of its own (inet:127.0.0.1:8891)", fix: "postconf -PX "},
		"in a reference":  {name: "smtpd_milters", value: "$mua_client_restrictions inet:127.0.0.1:1", text: "refers to another parameter", fix: "postconf smtpd_milters"},
	} {
		t.Run(name, func(t *testing.T) {
			main, master := read(t, i.Dir+"/main.cf"), read(t, i.Dir+"/master.cf")
			t.Cleanup(func() {
				os.WriteFile(i.Dir+"/main.cf", []byte(main), 0o644)
				os.WriteFile(i.Dir+"/master.cf", []byte(master), 0o644)
			})
			if c.master != "" {
				if err := os.WriteFile(i.Dir+"/master.cf", []byte(strings.Replace(master, " smtpd\n", " smtpd -o "+c.name+"="+c.master+"\n", 1)), 0o644); err != nil {
					t.Fatal(err)
				}
			} else {
				text := main + c.name + " = " + c.value + "\n"
				if name == "in a reference" {
					text += "mua_client_restrictions = " + setting("smtpd_milters") + "\n"
				}
				if err := os.WriteFile(i.Dir+"/main.cf", []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			p := plan(t, i)
			if len(p.Warnings) != 1 || !strings.Contains(p.Warnings[0].Text, c.text) || !strings.Contains(p.Warnings[0].Fix, c.fix) {
				t.Errorf("want %q and %q:\n%s", c.text, c.fix, shown(p))
			}
		})
	}
}

// wrap puts a script in the place of one of Postfix's commands. In it, $real
// is the real one.
func wrap(t *testing.T, i postfix.Instance, name, script string) postfix.Instance {
	t.Helper()
	i.Bin = t.TempDir()
	for _, n := range []string{"postconf", "postmap", "postfix"} {
		text := "real=/usr/sbin/" + n + "\nexec $real \"$@\"\n"
		if n == name {
			text = "real=/usr/sbin/" + n + "\n" + script
		}
		if err := os.WriteFile(filepath.Join(i.Bin, n), []byte("#!/bin/sh\n"+text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return i
}

// A Postfix that knows less gets what it knows, and a warning about the rest.
func TestApplyToOldPostfix(t *testing.T) {
	i := paper(t)
	old := wrap(t, i, "postconf", `case "$3" in
-d) $real "$@" 2>/dev/null | grep -v forbid_bare | sed "s/^mail_version.*/mail_version = 3.4.23/" ;;
*) exec $real "$@" ;;
esac
`)
	p := plan(t, old)
	var names []string
	for _, c := range p.Changes {
		names = append(names, c.Name)
	}
	if got := strings.Join(names, " "); got != "smtpd_milters non_smtpd_milters transport_maps virtual_alias_maps smtpd_restriction_classes smtpd_sasl_authenticated_header" {
		t.Errorf("changes %s", got)
	}
	text := strings.Join(strings.Fields(shown(p)), " ")
	for _, want := range []string{"(3.4.23) does not know smtpd_forbid_bare_newline, so it is left out", "too old to read the value of relay_domains", "fix: update Postfix to 3.7 or newer"} {
		if !strings.Contains(text, want) {
			t.Errorf("no warning %q:\n%s", want, text)
		}
	}
}

// When postfix check complains, main.cf is again what it was.
func TestApplyTakenBack(t *testing.T) {
	i := paper(t)
	before := read(t, i.Dir+"/main.cf")
	bad := wrap(t, i, "postfix", `case "$*" in *check*) echo "postfix: fatal: no, thank you" >&2; exit 1;; esac`)
	_, err := bad.Apply(t.Context(), plan(t, i), time.Now())
	if err == nil || !strings.Contains(err.Error(), "no, thank you") {
		t.Errorf("error %v", err)
	}
	if read(t, i.Dir+"/main.cf") != before {
		t.Error("main.cf stays changed")
	}
	if copies, _ := filepath.Glob(i.Dir + "/main.cf.*"); len(copies) != 0 {
		t.Errorf("left behind: %v", copies)
	}
}

func TestApplyWithoutPostfix(t *testing.T) {
	i := postfix.Instance{Bin: t.TempDir()}
	_, err := postfix.MakePlan(context.Background(), i, applySite, postfix.Settings(applySite))
	if err == nil || !strings.Contains(err.Error(), "is Postfix installed on this machine?") {
		t.Errorf("error %v", err)
	}
}
