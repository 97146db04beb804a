//go:build !cgo

package pki

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestWithoutC: a binary that was built without C says so where a token is named.
func TestWithoutC(t *testing.T) {
	const want = "built without PKCS#11: build it with CGO_ENABLED=1"
	token := Keys{Token: []string{"seal"}, Module: "/usr/lib/softhsm/libsofthsm2.so", Label: "milterd", PINFile: "/nowhere"}
	o := options()
	o.Keys = token
	if err := Init(filepath.Join(t.TempDir(), "keys"), o); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("init: %v", err)
	}
	_, dir := authority(t)
	if _, err := Open(Config{Dir: dir, Keys: token}); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("open: %v", err)
	}
}
