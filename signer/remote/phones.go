package remote

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"milterd/signer/openotp"
	"milterd/workflow"
)

// Phones has signatories sign on their phones, by an OpenOTP server. Unlike a trust
// service provider, that server gets the documents, and gives them back signed; a
// person is known there by their mail address. It may be used by many at once.
type Phones struct {
	Client *openotp.Client
	Scopes map[workflow.Level]openotp.Scope                     // whose certificates phones sign with; none: not at this level
	Seal   func(id, mail string, secret []byte) ([]byte, error) // encrypts what the browser keeps meanwhile
	Unseal func(id, mail string, sealed []byte) ([]byte, error)
	Log    *slog.Logger

	agree, every time.Duration // 0: the constants
}

// phoneTime is how long one Check waits; a browser asks again.
const phoneTime = 20 * time.Second

// maxMade is how much a signature may add to a document, in bytes: it travels with what
// the browser keeps.
const maxMade = 256 << 10

// Order is what a person is asked for: one signature on each file.
type Order struct {
	Preparation string
	Level       workflow.Level
	Mail        string
	Texts       []string // what the phone shows, one for each file
	Files       [][]byte
	Until       time.Time
}

// ordered is what the browser keeps, sealed.
type ordered struct {
	Sessions []*openotp.Session `json:"sessions"` // by document; nil when it is signed
	Made     [][]byte           `json:"made"`     // what the signature adds to each document
}

// Name is the server's, for people.
func (p *Phones) Name() string { return p.Client.Name() }

// Offers reports whether phones sign at a level.
func (p *Phones) Offers(l workflow.Level) bool { return p.Scopes[l] != "" }

// Order has the phone asked. kept is what the browser must bring along, which only the
// other methods can read. The error is a *workflow.Refusal, its Reason one of package openotp.
func (p *Phones) Order(ctx context.Context, o Order) (kept []byte, err error) {
	scope := p.Scopes[o.Level]
	if scope == "" {
		return nil, refuse("level-unavailable", fmt.Sprintf("%s does not sign at level %s.", p.Name(), o.Level), nil)
	}
	out := &ordered{Made: make([][]byte, len(o.Files))}
	for i, file := range o.Files {
		s, err := p.Client.Sign(ctx, openotp.Order{User: o.Mail, Text: o.Texts[i], File: file, Mode: openotp.PAdES, Scope: scope,
			Life: max(time.Until(o.Until), time.Minute)})
		if err != nil {
			p.takeBack(ctx, out)
			return nil, p.refusal(err)
		}
		out.Sessions = append(out.Sessions, s)
	}
	return p.seal(o.Preparation, o.Mail, out)
}

// Check asks for a while whether the phone has signed. made is what each signature adds
// to its file, and nil as long as one is missing: kept is what to bring along
// the next time. After an error the rest is taken back. Whether it is a
// signature, and whose, nobody has looked at.
func (p *Phones) Check(ctx context.Context, preparation, mail string, files [][]byte, kept []byte) (made [][]byte, again []byte, err error) {
	o, err := p.open(preparation, mail, kept)
	if err != nil {
		return nil, nil, err
	}
	if len(o.Sessions) != len(files) || len(o.Made) != len(files) {
		return nil, nil, outOfDate(errors.New("the order was for other documents"))
	}
	wait := cmp.Or(p.agree, phoneTime)
	for end := time.Now().Add(wait); ; {
		if err := p.poll(ctx, o, files, end, wait); err != nil {
			p.takeBack(context.WithoutCancel(ctx), o)
			return nil, nil, err
		}
		if !slices.ContainsFunc(o.Sessions, func(s *openotp.Session) bool { return s != nil }) {
			return o.Made, nil, nil
		}
		if ctx.Err() != nil || time.Until(end) < cmp.Or(p.every, every) {
			again, err := p.seal(preparation, mail, o)
			return nil, again, err
		}
		select {
		case <-ctx.Done():
		case <-time.After(cmp.Or(p.every, every)):
		}
	}
}

// poll asks once about each document, until end. A call that is under way then may take its own
// time: the server tells a result once. One that is away is asked again later.
func (p *Phones) poll(ctx context.Context, o *ordered, files [][]byte, end time.Time, limit time.Duration) error {
	for i, s := range o.Sessions {
		if s == nil || time.Now().After(end) {
			continue
		}
		call, cancel := context.WithTimeout(ctx, limit)
		r, err := p.Client.Check(call, s)
		cancel()
		var e *openotp.Error
		switch {
		case errors.As(err, &e) && e.Temporary() && time.Now().Before(s.Expires):
			continue
		case err != nil:
			return p.refusal(err)
		case !r.Done:
			continue
		}
		more, ok := bytes.CutPrefix(r.File, files[i])
		switch {
		case !ok:
			p.Log.Warn("an OpenOTP server gave back another document", "server", p.Name(), "document", i+1)
			return refuse("foreign-document", "The document that came back is not the one that was sent, with one signature and nothing else. Nothing was taken; please tell your administrator.", nil)
		case len(more) > maxMade:
			return refuse("signature-too-large", fmt.Sprintf("The signature by %s is too large. Nothing was taken; please tell your administrator.", p.Name()), nil)
		}
		o.Sessions[i], o.Made[i] = nil, more
	}
	return nil
}

// Touch gives a code (PNG) to scan for the first document that waits, after another
// push to the phone if push is true.
func (p *Phones) Touch(ctx context.Context, preparation, mail string, kept []byte, push bool) (image []byte, err error) {
	o, err := p.open(preparation, mail, kept)
	if err != nil {
		return nil, err
	}
	for _, s := range o.Sessions {
		if s != nil {
			image, err := p.Client.Touch(ctx, s, push)
			return image, p.refusal(err)
		}
	}
	return nil, outOfDate(errors.New("nothing is pending"))
}

// Cancel takes back what the phone has not signed yet.
func (p *Phones) Cancel(ctx context.Context, preparation, mail string, kept []byte) error {
	o, err := p.open(preparation, mail, kept)
	if err == nil {
		p.takeBack(ctx, o)
	}
	return err
}

// takeBack is for what nobody waits for any more; what it cannot reach ends by itself.
func (p *Phones) takeBack(ctx context.Context, o *ordered) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for _, s := range o.Sessions {
		if s == nil {
			continue
		}
		var e *openotp.Error
		if err := p.Client.Cancel(ctx, s); err != nil && !(errors.As(err, &e) && e.Reason == openotp.Expired) {
			p.Log.Warn("an order is not taken back, and ends by itself", "err", err)
		}
	}
}

func (p *Phones) seal(preparation, mail string, o *ordered) ([]byte, error) {
	plain, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	return p.Seal(preparation, mail, plain)
}

func (p *Phones) open(preparation, mail string, kept []byte) (*ordered, error) {
	plain, err := p.Unseal(preparation, mail, kept)
	if err != nil {
		return nil, outOfDate(err)
	}
	o := new(ordered)
	if err := json.Unmarshal(plain, o); err != nil {
		return nil, fmt.Errorf("a kept order: %w", err)
	}
	return o, nil
}

func outOfDate(err error) error {
	return refuse("preparation-gone", "What was prepared for your signature is out of date. Please sign again.", err)
}

// refusal gives the server's error as words for the person; the log has the whole.
func (p *Phones) refusal(err error) error {
	var e *openotp.Error
	if !errors.As(err, &e) {
		return err
	}
	r := refuse(string(e.Reason), e.Sentence(), e)
	if slices.Contains([]openotp.Reason{openotp.Away, openotp.WrongAnswer, openotp.Misconfigured, openotp.Refused}, e.Reason) {
		r.Code, r.Enhanced = 450, "4.7.0"
	}
	p.Log.Warn("nobody has signed on a phone", "err", e)
	return r
}
