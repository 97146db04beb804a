package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"milterd/postfix"
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

// README's lines for Postfix are those that the program prints.
func TestReadmeWiresPostfix(t *testing.T) {
	b, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	printed := postfix.MainCF(postfix.Settings(postfix.Site{SignDomain: "sign.corp.com", Milter: "unix:/run/milterd/milter.sock"}))
	lines := 0
	for line := range strings.Lines(string(b)) {
		if name, _, ok := strings.Cut(strings.TrimSpace(line), " ="); ok && strings.HasPrefix(line, "    ") && !strings.Contains(name, " ") {
			lines++
			if !strings.Contains(printed, strings.TrimSpace(line)+"\n") {
				t.Errorf("milterd postfix print does not say %q", strings.TrimSpace(line))
			}
		}
	}
	if lines != 5 {
		t.Errorf("README has %d lines for main.cf, want 5", lines)
	}
}
