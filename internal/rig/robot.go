package rig

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"strings"
	"sync"
	"time"

	"milterd/demo"
	"milterd/workflow"
)

// signatory is a person who signs one document after the other.
type signatory struct {
	mu    sync.Mutex // one page at a time
	codes chan string
}

// Answer reads every mail that arrives, hands codes to who waits for them, and
// has each invitation answered, until ctx ends.
func (s *Site) Answer(ctx context.Context) {
	people := map[string]*signatory{}
	for _, p := range s.People {
		people[p.Mail] = &signatory{codes: make(chan string, 20)}
	}
	links := map[string]bool{}
	var pages sync.WaitGroup
	defer pages.Wait()
	for next := 1; ctx.Err() == nil; {
		l := s.Boxes.Letter(next)
		if l == nil {
			time.Sleep(20 * time.Millisecond)
			continue
		}
		next++
		m, err := l.Open()
		if err != nil {
			continue
		}
		who := people[l.Box]
		switch code, link := m.Code(), m.Link(); {
		case code != "":
			select {
			case who.codes <- code:
			default: // nobody waits for twenty codes
			}
		case link != "" && !links[link]:
			links[link] = true
			pages.Go(func() { who.sign(ctx, l.Box, link) })
		}
	}
}

var errNothingToDo = errors.New("nothing to sign here")

// sign follows a link to the signature, through every broken connection.
func (w *signatory) sign(ctx context.Context, mail, link string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	b, err := demo.Follow(link)
	if err != nil {
		return
	}
	h := fnv.New32a()
	h.Write([]byte(mail)) // an address of their own, for the limits of the pages
	b.Client = fmt.Sprintf("198.18.%d.%d", h.Sum32()>>8&0xff, h.Sum32()&0xff)
	code := ""
	for ctx.Err() == nil {
		if err := w.visit(ctx, b, &code); err == nil || errors.Is(err, errNothingToDo) {
			return
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// visit is one try: it ends without error when the signature is taken. code is
// kept for the next try, "" when a new one is called for.
func (w *signatory) visit(ctx context.Context, b *demo.Browser, code *string) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	_, answer, err := b.Post(ctx, "visit", nil, nil)
	if err != nil {
		return err
	}
	var look struct {
		State workflow.State
		Who   struct {
			Signatory bool
			State     workflow.SignatoryState
		}
		Documents []struct{ Index int }
	}
	if err := json.Unmarshal(answer, &look); err != nil {
		return err
	}
	switch {
	case look.State == workflow.Preparing:
		return errors.New("not yet")
	case look.State != workflow.Open, !look.Who.Signatory, look.Who.State != workflow.Waiting:
		return errNothingToDo
	}
	if *code == "" {
		if _, _, err := b.Post(ctx, "code", nil, nil); err != nil {
			return err
		}
		select {
		case *code = <-w.codes:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if _, _, err := b.Post(ctx, "open", map[string]any{"code": *code}, nil); err != nil {
		if strings.Contains(err.Error(), "code") { // wrong, expired or used up
			*code = ""
		}
		return err
	}
	var shown []workflow.Shown
	for _, d := range look.Documents {
		one, _, err := b.Document(ctx, d.Index)
		if err != nil {
			return err
		}
		shown = append(shown, one)
	}
	_, _, err = b.Post(ctx, "sign", map[string]any{"code": *code, "shown": shown, "appearance": workflow.Appearance{Typed: "Robot"}}, nil)
	if err != nil && strings.Contains(err.Error(), "code") {
		*code = ""
	}
	return err
}
