package faults

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"milterd/demo"
	"milterd/internal/rig"
	"milterd/store/pgtest"
	"milterd/workflow"
)

// The answer to a mail is lost after milterd has stored it: the same mail comes
// again, and opens nothing twice.
func TestLostReply(t *testing.T) {
	g := gate(t, "")
	s := configure(t, rig.Options{Setup: rig.Setup{TCP: true}, Milter: "inet:" + g.Address})
	if _, err := s.Place.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	g.Open(strings.TrimPrefix(s.Place.Milter, "inet:"))
	answer(t, s)
	from, to, raw, err := s.Draft()
	if err != nil {
		t.Fatal(err)
	}
	g.CutAt([]byte{0, 0, 0, 1, 'a'}) // SMFIR_ACCEPT
	if err := s.Submit(from, to, raw); err == nil {
		t.Fatal("taken, although milterd's answer did not get through")
	}
	db, err := s.Store(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if list, err := db.List(t.Context(), workflow.Filter{}); err != nil || len(list) != 1 {
		t.Fatalf("%d sessions after the lost answer (%v), want 1: nothing is tested", len(list), err)
	}
	g.CutAt(nil)
	if err := s.Submit(from, to, raw); err != nil {
		t.Fatal(err)
	}
	judge(t, s, time.Minute, demo.MessageID(raw))
}

// Two milterds work on one PostgreSQL; one is killed in the middle of its work,
// and the other finishes it.
func TestOtherOneFinishes(t *testing.T) {
	milter, pages := gate(t, ""), gate(t, "")
	url := "http://localhost:" + pages.Address[strings.LastIndexByte(pages.Address, ':')+1:]
	one := rig.Setup{TCP: true, URL: url, Database: pgtest.Database(t)}
	s := configure(t, rig.Options{Setup: one, Unrecorded: true, Milter: "inet:" + milter.Address})
	other := one
	other.Binary, other.Dir, other.Data, other.Log = binary, t.TempDir(), s.Place.Data, s.Log
	second, err := rig.At(other)
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Configure(t.Context(), s.Mail.Address(), s.Users); err != nil {
		t.Fatal(err)
	}
	turn := func(p *rig.Place) {
		milter.Open(strings.TrimPrefix(p.Milter, "inet:"))
		pages.Open(strings.TrimPrefix(p.Pages, "http://"))
	}
	for _, p := range []*rig.Place{s.Place, second} {
		if _, err := p.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(second.Kill)
	turn(s.Place)
	answer(t, s)
	var mu sync.Mutex
	var taken []string
	var sending sync.WaitGroup
	for i := range 10 {
		sending.Go(func() {
			_, id, err := s.Send(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			taken = append(taken, id)
		})
		time.Sleep(200 * time.Millisecond)
		if i == 5 {
			s.Place.Kill()
			turn(second)
		}
	}
	sending.Wait()
	if len(taken) != 10 {
		t.Fatal(fmt.Errorf("%d of 10 mails taken", len(taken)))
	}
	judge(t, s, 3*time.Minute, taken...)
}
