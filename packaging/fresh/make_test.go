package main

import (
	"os/exec"
	"strings"
	"testing"
)

// make deb deb-test in one call installs what each of them needs: make runs a
// target once, whoever needs it.
func TestMakeNeedsPackages(t *testing.T) {
	out, err := exec.Command("make", "-n", "-C", "../..", "deb", "deb-test").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, p := range []string{"debhelper", "mmdebstrap", "systemd-container", "prometheus", "man-db"} {
		if !strings.Contains(string(out), p) {
			t.Errorf("%s is not installed:\n%s", p, out)
		}
	}
}
