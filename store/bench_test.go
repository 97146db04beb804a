package store

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"milterd/workflow"
)

// BenchmarkOpen is what a request by mail costs the store before Postfix hears
// 250: a mail of 100 KB with a document of 73 KB, one signatory.
// On PostgreSQL the tests' server does not wait for the disk.
func BenchmarkOpen(b *testing.B) {
	for _, engine := range engines {
		b.Run(engine, func(b *testing.B) {
			s := open(b, empty(b, engine))
			mail, original := make([]byte, 100_000), make([]byte, 73_000)
			rand.Read(mail)
			rand.Read(original)
			for i := 0; b.Loop(); i++ {
				v, _, _ := session(fmt.Sprintf("s%d", i))
				v.Documents = v.Documents[:1]
				v.Documents[0].Revisions[0].Size = int64(len(original))
				v.Documents[0].Revisions[0].SHA256 = sha256.Sum256(original)
				key := sha256.Sum256([]byte(v.ID))
				do(b, s, func(tx workflow.Tx) error {
					if _, ok, err := tx.Seen(key, now()); ok || err != nil {
						return fmt.Errorf("seen: %t, %w", ok, err)
					}
					return errors.Join(
						tx.Create(v, mail, [][]byte{original}),
						tx.AddToken(key[:], v.ID, 1),
						tx.Append(v.ID, workflow.Event{Time: now(), Kind: workflow.EventOpened, Actor: "jane@corp.test"}),
						tx.Remember(key, v.ID, now().Add(time.Hour)),
						tx.Enqueue(workflow.Job{Kind: workflow.JobPrepare, Session: v.ID}),
						tx.Enqueue(workflow.Job{Kind: workflow.JobExpire, Session: v.ID, At: v.Deadline}))
				})
			}
		})
	}
}

// BenchmarkFsync is the floor of BenchmarkOpen/sqlite: the same bytes written
// to a file and flushed once.
func BenchmarkFsync(b *testing.B) {
	f, err := os.Create(filepath.Join(b.TempDir(), "file"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	data := make([]byte, 173_000)
	rand.Read(data)
	for b.Loop() {
		if _, err := f.Write(data); err != nil {
			b.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkContent reads and checks a document of 10 MB with four increments.
func BenchmarkContent(b *testing.B) {
	for _, engine := range engines {
		b.Run(engine, func(b *testing.B) {
			s := open(b, empty(b, engine))
			v, mail, originals := session("aaaa")
			originals[0] = bytes.Repeat([]byte("0123456789abcdef"), 10<<20/16)
			v.Documents[0].Revisions[0].Size = int64(len(originals[0]))
			v.Documents[0].Revisions[0].SHA256 = sha256.Sum256(originals[0])
			do(b, s, func(tx workflow.Tx) error { return tx.Create(v, mail, originals) })
			head := originals[0]
			for range 4 {
				do(b, s, func(tx workflow.Tx) (err error) {
					head, err = grow(tx, "aaaa", 0, workflow.Signature, head, make([]byte, 40_000))
					return err
				})
			}
			b.SetBytes(int64(len(head)))
			for b.Loop() {
				if _, err := s.Content(bg, "aaaa", 0, 4); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
