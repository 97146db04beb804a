package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

var (
	namedTest = regexp.MustCompile("`([a-z]+)\\.((?:Test|Fuzz)\\w+)`")
	mdLink    = regexp.MustCompile(`\]\(([^)#:]+)\)`)
)

// docs/security.md names tests; each must exist.
func TestNamedTestsExist(t *testing.T) {
	b, err := os.ReadFile("../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("go", "list", "-f", "{{.Name}} {{.Dir}} {{.TestGoFiles}} {{.XTestGoFiles}}", "milterd/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	sources := map[string]string{} // package name to its tests
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(strings.NewReplacer("[", " ", "]", " ").Replace(line))
		for _, file := range words[2:] {
			source, err := os.ReadFile(filepath.Join(words[1], file))
			if err != nil {
				t.Fatal(err)
			}
			sources[words[0]] += string(source)
		}
	}
	named := namedTest.FindAllStringSubmatch(string(b), -1)
	if len(named) < 30 {
		t.Errorf("only %d tests are named", len(named))
	}
	for _, m := range named {
		if !strings.Contains(sources[m[1]], "func "+m[2]+"(") {
			t.Errorf("there is no %s in package %s", m[2], m[1])
		}
	}
}

// What the documents link to must be there.
func TestLinksLead(t *testing.T) {
	files, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range append(files, "../../README.md") {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range mdLink.FindAllStringSubmatch(string(b), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(f), m[1])); err != nil {
				t.Errorf("%s: %v", f, err)
			}
		}
	}
	if _, err := os.Stat("../../docs/img/signing-phone.png"); err != nil {
		t.Errorf("README's picture: %v", err)
	}
}

var (
	commandLine = regexp.MustCompile(`(?m)^    (?:.*-- )?milterd ([^#\n]*)`)
	word        = regexp.MustCompile(`"[^"]*"|\S+`)
)

// Commands that the documents tell to run exist, with these words and flags.
func TestCommandsExist(t *testing.T) {
	lines := map[string]string{}
	for _, file := range []string{"../../README.md", "../../docs/admin.md"} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range commandLine.FindAllStringSubmatch(string(b), -1) {
			lines[m[1]] = filepath.Base(file)
		}
	}
	if len(lines) < 7 {
		t.Errorf("only %d commands found", len(lines))
	}
	t.Chdir(t.TempDir())
	for _, name := range []string{"FILE.pdf", "CERT.pem"} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for line, file := range lines {
		var args []string
		for _, w := range word.FindAllString(line, -1) {
			args = append(args, strings.Trim(w, `"`))
		}
		if _, err := kong.Must(&cli{}, options()...).Parse(args); err != nil {
			t.Errorf("%s: milterd %s: %v", file, line, err)
		}
	}
}

// docs/admin.md explains every alarm that the alert rules can raise.
func TestAlarmsExplained(t *testing.T) {
	admin, err := os.ReadFile("../../docs/admin.md")
	if err != nil {
		t.Fatal(err)
	}
	rules, err := os.ReadFile("../../packaging/monitoring/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	alarms := regexp.MustCompile(`- alert: (\w+)`).FindAllStringSubmatch(string(rules), -1)
	for _, m := range alarms {
		if !strings.Contains(string(admin), m[1]) {
			t.Errorf("docs/admin.md does not explain %s", m[1])
		}
	}
	if len(alarms) < 11 {
		t.Errorf("only %d alarms found", len(alarms))
	}
}
