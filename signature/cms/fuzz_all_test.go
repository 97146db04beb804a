package cms_test

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"os"
	"testing"

	"milterd/signature/cms"
)

// Whatever ParseAll reads, it reads again after each edit, with the same signers,
// values and attributes, and with what was added.
func FuzzParseAll(f *testing.F) {
	for _, name := range []string{"openssl-cades.der", "milterd-bt.der", "token.der", "two-lta.der", "attached-lta.der"} {
		b, err := os.ReadFile("testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		if _, err := cms.ParseAll(b); err != nil {
			f.Fatalf("seed %s: %v", name, err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		all, err := cms.ParseAll(b)
		if err != nil {
			return
		}
		for i, m := range all {
			digest := func(h crypto.Hash) []byte { w := h.New(); w.Write(m.Content); return w.Sum(nil) }
			for _, der := range m.Archives {
				if token, err := cms.ParseToken(der); err == nil {
					if x, err := m.CheckArchive(token, digest); err == nil {
						x.Covered(m)
					}
				}
			}
			imprint, index := m.ArchiveImprint(digest(crypto.SHA256))
			if len(imprint) != sha256.Size || len(index) == 0 {
				t.Fatal("no imprint")
			}
			der, err := m.WithEvidence(nil, [][]byte{{0x30, 2, 0x30, 0}}, [][]byte{{0x30, 0}}) // a list begins with two SEQUENCEs
			if err != nil {
				continue
			}
			if stamped, err := m.WithTimestamp([]byte{0x30, 0}); err == nil {
				after, err := cms.ParseAll(stamped)
				if err != nil || len(after[i].Timestamps) != len(m.Timestamps)+1 {
					t.Fatalf("after a timestamp: %v", err)
				}
			}
			after, err := cms.ParseAll(der)
			if err != nil {
				t.Fatalf("after evidence: %v", err)
			}
			n := after[i]
			if len(after) != len(all) || !bytes.Equal(n.Attributes, m.Attributes) || !bytes.Equal(n.Value, m.Value) || !bytes.Equal(n.Content, m.Content) ||
				len(n.Certificates) != len(m.Certificates) || len(n.OCSPs) == 0 {
				t.Fatal("an edit changed what it should not")
			}
			again, err := n.WithEvidence(nil, nil, nil)
			if err != nil || !bytes.Equal(again, der) {
				t.Fatalf("nothing added, and it is another message: %v", err)
			}
		}
	})
}
