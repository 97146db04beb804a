package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// What root makes in the data folder of another user belongs to that user, and
// what that user cannot read a check does not call good.
func TestRootActsAsOwner(t *testing.T) {
	dir, err := os.MkdirTemp("", "milterd-owner-") // not t.TempDir, which others may not enter
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	owner := os.Geteuid()
	if owner == 0 {
		owner = 65534
	}
	file, data, users := filepath.Join(dir, "milterd.toml"), filepath.Join(dir, "data"), filepath.Join(dir, "users.toml")
	text := fmt.Sprintf("domain = \"sign.corp.test\"\nurl = \"https://sign.corp.test\"\ndata = %q\norganisation = { name = \"Example Corp\", country = \"LU\" }\n"+
		"directory = { users = %q }\n", data, users)
	for path, content := range map[string]string{file: text, users: "[[user]]\nmail = \"jane.roe@corp.test\"\nname = \"Jane Roe\"\n"} {
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, data} {
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(data, owner, owner); err != nil && os.Geteuid() == 0 {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"init", "--key", "p-256"}, {"check-config"}, {"session", "list"}} {
		if out, errs, status := milterd(t, append(args, "-c", file)...); status != 0 {
			t.Fatalf("%s: %s%s", args[0], out, errs)
		}
	}
	files := 0
	err = filepath.WalkDir(data, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		if uid := info.Sys().(*syscall.Stat_t).Uid; int(uid) != owner {
			t.Errorf("%s belongs to user %d, want %d", path, uid, owner)
		}
		files++
		return nil
	})
	if err != nil || files < 5 {
		t.Errorf("%d files: %v", files, err)
	}

	// The sandbox for LibreOffice is made by that user, too.
	if err := os.WriteFile(file, []byte(text+"documents = { convert = [\"doc\"] }\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, errs, status := milterd(t, "check-config", "-c", file); status != 0 {
		t.Errorf("with conversion: %s%s", out, errs)
	}

	if os.Geteuid() != 0 {
		return // nobody's file is closed to oneself in the way that root's are
	}
	if err := os.Chmod(users, 0o600); err != nil { // root's
		t.Fatal(err)
	}
	if out, errs, status := milterd(t, "check-config", "-c", file); status == 0 || !strings.Contains(errs, "users.toml: permission denied") {
		t.Errorf("a file that serve cannot read: status %d\n%s%s", status, out, errs)
	}
}
