package store

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"testing"

	"milterd/workflow"
)

// A revision that cuts something off the one before: a container is written anew,
// a signature is put into the middle of a document.
func TestCut(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		create(t, s, "aaaa")
		_, _, originals := session("aaaa")
		whole := originals[0]
		revisions := [][]byte{whole}
		for _, c := range []struct {
			cut    int
			suffix string
		}{{len(whole), "PK container, longer than what was mailed"}, {9, " and another"}, {0, ""}, {30, ""}} {
			next := append(bytes.Clone(whole[:len(whole)-c.cut]), c.suffix...)
			do(t, s, func(tx workflow.Tx) error {
				v, err := tx.Session("aaaa")
				if err != nil {
					return err
				}
				d := &v.Documents[0]
				n := len(d.Revisions)
				d.Revisions = append(d.Revisions, workflow.Revision{Number: n, Kind: workflow.Signature, Size: int64(len(next)),
					SHA256: sha256.Sum256(next), Cut: int64(c.cut), Created: now()})
				return errors.Join(tx.AddSuffix("aaaa", 0, n, []byte(c.suffix)), tx.Save(v))
			})
			whole = next
			revisions = append(revisions, next)
		}
		for i, want := range revisions {
			if got, err := s.Content(bg, "aaaa", 0, i); err != nil || !bytes.Equal(got, want) {
				t.Errorf("revision %d: %q, %v; want %q", i, got, err, want)
			}
		}
		for _, cut := range []int64{-1, 1 << 40} {
			do(t, s, func(tx workflow.Tx) error {
				v, err := tx.Session("aaaa")
				if err != nil {
					return err
				}
				v.Documents[0].Revisions[2].Cut = cut
				return tx.Save(v)
			})
			if got, err := s.Content(bg, "aaaa", 0, 3); err == nil || errors.Is(err, workflow.ErrNotFound) {
				t.Errorf("a cut of %d bytes: %q, %v", cut, got, err)
			}
		}
	})
}
