package demo

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"
)

// Letter is a mail in a mailbox.
type Letter struct {
	ID       int // from 1, over all mailboxes
	Box      string
	From     string // envelope sender
	Received time.Time
	Raw      []byte
}

// Mailboxes keeps mail in memory.
type Mailboxes struct {
	mu      sync.Mutex
	boxes   map[string]bool
	letters []*Letter
	arrived chan struct{} // closed at every arrival, then made anew
}

// NewMailboxes makes empty mailboxes for these addresses.
func NewMailboxes(addresses ...string) *Mailboxes {
	m := &Mailboxes{boxes: map[string]bool{}, arrived: make(chan struct{})}
	for _, a := range addresses {
		m.boxes[strings.ToLower(a)] = true
	}
	return m
}

func (m *Mailboxes) has(address string) bool { return m.boxes[address] }

func (m *Mailboxes) deliver(to, from string, raw []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.letters = append(m.letters, &Letter{ID: len(m.letters) + 1, Box: strings.ToLower(to), From: from, Received: time.Now(), Raw: raw})
	close(m.arrived)
	m.arrived = make(chan struct{})
}

// In gives the letters of a mailbox, oldest first; of all with "".
func (m *Mailboxes) In(box string) []*Letter {
	m.mu.Lock()
	defer m.mu.Unlock()
	if box == "" {
		return slices.Clone(m.letters)
	}
	var out []*Letter
	for _, l := range m.letters {
		if strings.EqualFold(l.Box, box) {
			out = append(out, l)
		}
	}
	return out
}

// Letter gives one letter, or nil.
func (m *Mailboxes) Letter(id int) *Letter {
	m.mu.Lock()
	defer m.mu.Unlock()
	if id < 1 || id > len(m.letters) {
		return nil
	}
	return m.letters[id-1]
}

// Wait gives the first letter in a mailbox that fits, as soon as there is one.
func (m *Mailboxes) Wait(ctx context.Context, box string, fits func(*Letter) bool) (*Letter, error) {
	for {
		m.mu.Lock()
		arrived := m.arrived
		m.mu.Unlock()
		for _, l := range m.In(box) {
			if fits(l) {
				return l, nil
			}
		}
		select {
		case <-arrived:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
