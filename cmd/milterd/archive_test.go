package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"milterd/config"
	"milterd/program"
	"milterd/workflow"
)

// sealed makes a sealed document in a house, as a finished session leaves it.
func sealed(t *testing.T, file string) []byte {
	t.Helper()
	cfg, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	p, err := program.Build(t.Context(), cfg, program.Logger(cfg, t.Output()))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	doc, err := os.ReadFile("../../testdata/pdf/contract.pdf")
	if err != nil {
		t.Fatal(err)
	}
	s := &workflow.Session{ID: "abcdefghijklmnop", Level: workflow.Standard, State: workflow.Sealing, Created: time.Now(),
		People:    []workflow.Participant{{Person: workflow.Person{Mail: "jane.roe@corp.test", Name: "Jane Roe"}, Signatory: true}},
		Documents: []workflow.Document{{Name: "contract.pdf", Kind: workflow.Mailed, Pages: 2}}}
	layout, err := p.Signer.Layout(t.Context(), s, 0, doc)
	if err != nil {
		t.Fatal(err)
	}
	doc = slices.Concat(doc, layout)
	incs, err := p.Signer.Seal(t.Context(), s, 0, doc)
	if err != nil {
		t.Fatal(err)
	}
	for _, inc := range incs {
		doc = slices.Concat(doc, inc.Suffix)
	}
	return doc
}

// TestArchiveRenew: a file that somebody got years ago.
func TestArchiveRenew(t *testing.T) {
	file := house(t)
	old := sealed(t, file)
	path := filepath.Join(t.TempDir(), "contract.pdf")
	if err := os.WriteFile(path, old, 0o640); err != nil {
		t.Fatal(err)
	}
	out, errs, status := milterd(t, "archive", "renew", path, "-c", file)
	if status != 0 || !strings.HasPrefix(out, path+": renewed, good until ") {
		t.Fatalf("status %d, %s%s", status, out, errs)
	}
	renewed, err := os.ReadFile(path)
	if err != nil || !bytes.HasPrefix(renewed, old) || len(renewed) == len(old) {
		t.Errorf("%d bytes, were %d: %v", len(renewed), len(old), err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if out, errs, status := milterd(t, "verify", path, "-c", file); status != 0 || strings.Count(out, "document timestamp") < 2 {
		t.Errorf("verify: status %d\n%s%s", status, out, errs)
	}
	if out, errs, status := milterd(t, "archive", "renew", "-c", file); status != 0 || out != "0 of 0 sessions renewed\n" {
		t.Errorf("all: status %d, %s%s", status, out, errs)
	}
	plain := "../../testdata/pdf/contract.pdf"
	before, _ := os.ReadFile(plain)
	for what, want := range map[string]string{"nosession": "neither a session nor a file", plain: "has no archive timestamp"} {
		if _, errs, status := milterd(t, "archive", "renew", what, "-c", file); status != exitFailed || !strings.Contains(errs, want) {
			t.Errorf("%s: status %d, %s", what, status, errs)
		}
	}
	if after, _ := os.ReadFile(plain); !bytes.Equal(before, after) {
		t.Error("a file that could not be renewed was changed")
	}
}
