package trustlist_test

import (
	"crypto/x509"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"milterd/pki/trustlist"
	"milterd/pki/trustlist/trustlisttest"
)

// turned is a publisher whose list of the lists changed its signer twice since the
// certificates were configured: number 4 is signed by the third of signers.
func turned(t *testing.T) (d *desk, signers [3]*trustlisttest.Signer) {
	t.Helper()
	_, d = newPublisher(t)
	signers[0] = d.union.Signers["EU"]
	for i := 1; i < 3; i++ {
		s, err := trustlisttest.NewSigner("Signer of the list EU", now)
		signers[i] = must(t, s, err)
	}
	d.union.Signers["EU"] = signers[2]
	d.union.LOTL.Sequence = 4
	d.union.LOTL.URIs = []string{"https://other.test/notice.html", d.union.Base + "turn2.xml", d.union.Base + "turn1.xml", d.union.Base + "gone.xml"}
	must(t, 0, d.union.Sign(now))
	d.union.Files["turn1.xml"] = pivot(t, 2, signers[0], signers[1])
	d.union.Files["turn2.xml"] = pivot(t, 3, signers[1], signers[2])
	return d, signers
}

// pivot is a list of the lists, signed by one and naming another for itself.
func pivot(t *testing.T, number int, by, to *trustlisttest.Signer) []byte {
	t.Helper()
	l := trustlisttest.List{Territory: "EU", Sequence: number, Pointers: []trustlisttest.Pointer{{Territory: "EU", Location: "https://lists.test/EU.xml", Signers: []*x509.Certificate{to.Cert}}}}
	raw, err := by.Sign(l.XML(now), now)
	return must(t, raw, err)
}

func TestPivots(t *testing.T) {
	d, signers := turned(t)
	l := d.open(t)
	must(t, 0, l.Refresh(t.Context()))
	if _, err := l.Vouch(d.leaf, nil, now); err != nil {
		t.Fatal(err)
	}
	kept, err := filepath.Glob(filepath.Join(d.folder, "pivot-*.xml"))
	if must(t, kept, err); len(kept) != 2 {
		t.Fatalf("kept %v", kept)
	}
	must(t, 0, l.Refresh(t.Context())) // from the folder
	d.config.LOTL = ""
	if _, err := d.open(t).Vouch(d.leaf, nil, now); err != nil {
		t.Errorf("from the folder alone: %v", err)
	}
	// A pivot by who signed before leads nobody away.
	stranger, err := trustlisttest.NewSigner("Signer of the list EU", now)
	must(t, 0, err)
	must(t, 0, os.WriteFile(filepath.Join(d.folder, "pivot-0.xml"), pivot(t, 9, signers[0], stranger), 0o644))
	if _, err := d.open(t).Vouch(d.leaf, nil, now); err != nil {
		t.Errorf("led away: %v", err)
	}
	// Who signed before signs no more, whatever the number.
	d.union.Signers["EU"], d.union.LOTL.Sequence = signers[0], 5
	must(t, 0, d.union.Sign(now))
	must(t, 0, d.union.Write(d.folder))
	if _, err := d.open(t).Vouch(d.leaf, nil, now); reason(err) != trustlist.ListTampered {
		t.Errorf("by a signer of before: %v", err)
	}
}

// Pivots that lead nowhere.
func TestPivotsThatDoNotCount(t *testing.T) {
	for name, spoil := range map[string]func(*testing.T, *desk, [3]*trustlisttest.Signer){
		"missing": func(t *testing.T, d *desk, _ [3]*trustlisttest.Signer) { delete(d.union.Files, "turn1.xml") },
		"on another host": func(t *testing.T, d *desk, _ [3]*trustlisttest.Signer) {
			other := httptest.NewTLSServer(d.union)
			t.Cleanup(other.Close)
			d.union.LOTL.URIs = []string{other.URL + "/turn2.xml", other.URL + "/turn1.xml"}
			turns := map[string][]byte{"turn1.xml": d.union.Files["turn1.xml"], "turn2.xml": d.union.Files["turn2.xml"]}
			must(t, 0, d.union.Sign(now))
			for k, v := range turns {
				d.union.Files[k] = v
			}
		},
		"changed": func(t *testing.T, d *desk, _ [3]*trustlisttest.Signer) {
			d.union.Files["turn1.xml"] = []byte(strings.Replace(string(d.union.Files["turn1.xml"]), ">Test<", ">Tost<", 1))
		},
		"by a stranger": func(t *testing.T, d *desk, s [3]*trustlisttest.Signer) {
			d.union.Files["turn1.xml"] = pivot(t, 2, s[2], s[2])
			d.union.Files["turn2.xml"] = pivot(t, 3, s[2], s[2])
		},
		"backwards": func(t *testing.T, d *desk, s [3]*trustlisttest.Signer) {
			d.union.Files["turn2.xml"] = pivot(t, 1, s[1], s[2])
		},
		"from the future": func(t *testing.T, d *desk, s [3]*trustlisttest.Signer) {
			l := trustlisttest.List{Territory: "EU", Sequence: 2, Age: -time.Hour, Pointers: []trustlisttest.Pointer{{Territory: "EU", Location: "https://lists.test/", Signers: []*x509.Certificate{s[1].Cert}}}}
			raw, err := s[0].Sign(l.XML(now), now)
			d.union.Files["turn1.xml"] = must(t, raw, err)
		},
		"no list of the lists": func(t *testing.T, d *desk, s [3]*trustlisttest.Signer) {
			l := trustlisttest.List{Territory: "LU", Pointers: []trustlisttest.Pointer{{Territory: "EU", Location: "https://lists.test/", Signers: []*x509.Certificate{s[2].Cert}}}}
			raw, err := s[0].Sign(l.XML(now), now)
			d.union.Files["turn1.xml"] = must(t, raw, err)
		},
		"without a certificate of its own": func(t *testing.T, d *desk, s [3]*trustlisttest.Signer) {
			l := trustlisttest.List{Territory: "EU", Sequence: 2, Pointers: []trustlisttest.Pointer{{Territory: "LU", Location: "https://lists.test/", Signers: []*x509.Certificate{s[1].Cert}}}}
			raw, err := s[0].Sign(l.XML(now), now)
			d.union.Files["turn1.xml"] = must(t, raw, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			d, signers := turned(t)
			spoil(t, d, signers)
			l := d.open(t)
			if err := l.Refresh(t.Context()); reason(err) != trustlist.ListTampered {
				t.Errorf("got %v", err)
			}
			if _, err := l.Vouch(d.leaf, nil, now); reason(err) != trustlist.ListMissing {
				t.Errorf("somebody vouches: %v", err)
			}
			if _, err := os.Stat(filepath.Join(d.folder, "EU.xml")); err == nil {
				t.Error("the list was kept")
			}
		})
	}
}
