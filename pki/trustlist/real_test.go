package trustlist_test

import (
	"bytes"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"
	"time"

	"milterd/pki/trustlist"
)

// Lists that others made and signed (testdata/real), at the time when they counted.
func TestReal(t *testing.T) {
	const from = "testdata/real"
	der, err := os.ReadFile(filepath.Join(from, "signer.cer"))
	must(t, der, err)
	signer, err := x509.ParseCertificate(der)
	must(t, signer, err)
	folder := t.TempDir()
	for _, f := range []string{"EU.xml", "IS.xml", "CY.xml", "pivot-226.xml"} {
		raw, err := os.ReadFile(filepath.Join(from, f))
		must(t, 0, os.WriteFile(filepath.Join(folder, f), must(t, raw, err), 0o644))
	}
	at := time.Date(2019, 9, 10, 0, 0, 0, 0, time.UTC)
	open := func() map[string]trustlist.Status {
		l, err := trustlist.Open(trustlist.Config{Folder: folder, Signers: []*x509.Certificate{signer}, Now: func() time.Time { return at }})
		out := map[string]trustlist.Status{}
		for _, s := range must(t, l, err).Status() {
			out[s.Territory] = s
		}
		return out
	}
	all := open()
	for territory, want := range map[string]trustlist.Status{
		"EU": {Sequence: 248}, "IS": {Sequence: 13, Services: 1}, "CY": {Sequence: 31, Services: 2}, "DE": {Reason: trustlist.ListMissing},
	} {
		if s := all[territory]; s.Sequence != want.Sequence || s.Services != want.Services || s.Reason != want.Reason {
			t.Errorf("%s: %+v", territory, s)
		}
	}
	if len(all) != 32 {
		t.Errorf("%d lists, want that of the lists and 31", len(all))
	}
	raw, err := os.ReadFile(filepath.Join(folder, "IS.xml"))
	must(t, raw, err)
	must(t, 0, os.WriteFile(filepath.Join(folder, "IS.xml"), bytes.Replace(raw, []byte("Svcstatus/"), []byte("Svcstatus/x"), 1), 0o644))
	if s := open()["IS"]; s.Reason != trustlist.ListTampered {
		t.Errorf("changed: %+v", s)
	}
	must(t, 0, os.Remove(filepath.Join(folder, "pivot-226.xml")))
	if s := open()["EU"]; s.Reason != trustlist.ListTampered {
		t.Errorf("without the pivot: %+v", s)
	}
	raw, err = os.ReadFile(filepath.Join(from, "pivot-226.xml"))
	must(t, 0, os.WriteFile(filepath.Join(folder, "pivot-226.xml"), must(t, raw, err), 0o644))
	at = time.Date(2026, 11, 29, 0, 0, 0, 0, time.UTC)
	if s := open()["EU"]; s.Reason != trustlist.ListExpired {
		t.Errorf("today: %+v", s)
	}
}
