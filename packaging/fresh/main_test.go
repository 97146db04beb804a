package main

import (
	"os"
	"strings"
	"testing"

	"milterd/signature/pdf"
)

func TestMain(m *testing.M) {
	if pdf.ChildMain() {
		return
	}
	os.Exit(m.Run())
}

// README has the two blocks that the trial runs, and nothing else for
// administrators that it would not run.
func TestReadmeBlocks(t *testing.T) {
	b, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := codeBlocks(string(b), "## Put it beside a Postfix")
	if len(blocks) != 2 || len(blocks[0]) < 6 || len(blocks[1]) < 3 {
		t.Fatalf("blocks: %q", blocks)
	}
	if !strings.HasPrefix(blocks[0][0], "apt install ./milterd.deb") || !strings.HasPrefix(blocks[0][len(blocks[0])-1], "milterd postfix apply") {
		t.Errorf("install: %q", blocks[0])
	}
	if got := codeBlocks("## A\n    x\n\n    y\nz\n## B\n    w\n", "## A"); len(got) != 2 || got[0][0] != "x" || got[1][0] != "y" {
		t.Errorf("blocks of a text: %q", got)
	}
	if got := codeBlocks("## B\n    w\n", "## A"); got != nil {
		t.Errorf("no such section: %q", got)
	}
}

// What each file of the package is made from is there.
func TestPackageNamesFiles(t *testing.T) {
	for _, path := range []string{"../milterd.service", "../milterd.socket", "../users.toml", "../monitoring/alerts.yml", "../monitoring/grafana.json",
		"../../config/milterd.toml.sample", "../../docs/man/milterd.8", "../../docs/man/milterd.toml.5"} {
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
	// The sockets' folder is the same in the unit, in tmpfiles.d and in the sample.
	const folder = "/var/spool/postfix/milterd"
	for _, path := range []string{"../milterd.service", "../debian/milterd.tmpfiles", "../../config/milterd.toml.sample"} {
		if b, err := os.ReadFile(path); err != nil || !strings.Contains(string(b), folder) {
			t.Errorf("%s does not name %s (%v)", path, folder, err)
		}
	}
}
