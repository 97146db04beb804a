package web

import (
	"context"
	"fmt"
	"net/http"

	"milterd/signer/remote"
	"milterd/workflow"
)

// Phones is what the pages need of remote.Phones: a server that gets the documents, and
// has their signatories sign on their phones.
type Phones interface {
	Name() string
	Offers(l workflow.Level) bool
	Order(ctx context.Context, o remote.Order) (kept []byte, err error)
	Check(ctx context.Context, preparation, mail string, files [][]byte, kept []byte) (made [][]byte, again []byte, err error)
	Touch(ctx context.Context, preparation, mail string, kept []byte, push bool) (image []byte, err error)
	Cancel(ctx context.Context, preparation, mail string, kept []byte) error
}

// maxPhoneBody bounds what a page brings along: sealed, with what signatures add, which
// in base64 of base64 is up to 456 KiB for each document.
const maxPhoneBody = 8 << 20

func (s *site) phoneRoutes(mux *http.ServeMux) {
	if s.Phones == nil {
		return
	}
	mux.Handle("POST /api/phone/prepare", s.api(maxSignBody, s.phoneCall(s.phonePrepare)))
	mux.Handle("POST /api/phone/order", s.api(4<<10, s.phoneCall(s.phoneOrder)))
	mux.Handle("POST /api/phone/check", s.api(maxPhoneBody, s.phoneCall(s.phoneCheck)))
	mux.Handle("POST /api/phone/touch", s.api(maxPhoneBody, s.phoneCall(s.phoneTouch)))
	mux.Handle("POST /api/phone/cancel", s.api(maxPhoneBody, s.phoneCall(s.phoneCancel)))
}

// phoneCall is for proven devices and sessions of a level at which phones sign.
func (s *site) phoneCall(do func(context.Context, *call) error) func(context.Context, *call) error {
	return s.othersCall(do, func(l workflow.Level) error {
		if !s.Phones.Offers(l) {
			return refusal("wrong-level", "At this level nobody signs with "+s.Phones.Name()+".", nil)
		}
		return nil
	})
}

// phonePrepare takes the documents for their person, as they stand: the signatory's
// certificate comes with the signature, and what the phone shows is the server's.
func (s *site) phonePrepare(ctx context.Context, c *call) error {
	var in struct {
		Token      string              `json:"token"`
		Shown      []workflow.Shown    `json:"shown"`
		Appearance workflow.Appearance `json:"appearance"`
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	if err := checkAct(in.Shown, &in.Appearance); err != nil {
		return err
	}
	return s.prepareOffer(ctx, c, in.Shown, in.Appearance, workflow.Offer{By: s.Phones.Name(), Whole: true})
}

// phoneRequest is the body of all of these calls.
type phoneRequest struct {
	Token string `json:"token"`
	ID    string `json:"id"`
	Kept  []byte `json:"kept"`
	Push  bool   `json:"push"` // touch: remind the person, too
}

// phonePrepared gives the documents that a visitor's preparation gives away.
func (s *site) phonePrepared(ctx context.Context, c *call, id string) (files [][]byte, texts []string, err error) {
	p, q, err := s.Desk.Prepared(ctx, c.visit, id)
	if err != nil {
		return nil, nil, err
	}
	if q == nil || q.By != s.Phones.Name() {
		return nil, nil, refusal("preparation-gone", "What was prepared for your signature is out of date. Please sign again.", nil)
	}
	by := ""
	if from := c.visit.Session.Sender(); from != nil {
		by = from.Name
	}
	for _, d := range p.Documents {
		file, err := s.Desk.PreparedContent(ctx, c.visit, id, d.Document)
		if err != nil {
			return nil, nil, err
		}
		files, texts = append(files, file), append(texts, fmt.Sprintf("%s: %s (%s)", s.Organisation, c.visit.Session.Documents[d.Document].Name, by))
	}
	return files, texts, nil
}

// phoneOrder sends the documents away. They stay their person's until the preparation ends.
func (s *site) phoneOrder(ctx context.Context, c *call) error {
	var in phoneRequest
	if err := c.decode(&in); err != nil {
		return err
	}
	if !s.sends.allow(c.visit.Who().Mail, s.now()) {
		return refusal("too-fast", "Your phone was asked too often; wait a minute.", nil)
	}
	files, texts, err := s.phonePrepared(ctx, c, in.ID)
	if err != nil {
		return err
	}
	until, err := s.Desk.Leave(ctx, c.visit, in.ID)
	if err != nil {
		return err
	}
	mail := c.visit.Who().Mail
	kept, err := s.Phones.Order(ctx, remote.Order{Preparation: in.ID, Level: c.visit.Session.Level, Mail: mail, Texts: texts, Files: files, Until: until})
	if err != nil {
		return s.Desk.Refused(ctx, c.visit, in.ID, c.client, err)
	}
	image, err := s.Phones.Touch(ctx, in.ID, mail, kept, false)
	if err != nil { // the push has gone out all the same
		s.Log.Info("no code to scan", "err", err)
	}
	return c.answer(struct {
		Kept  []byte `json:"kept"`
		Image []byte `json:"image"`
	}{kept, image})
}

// phoneCheck waits a while for the phone, and signs when it has.
func (s *site) phoneCheck(ctx context.Context, c *call) error {
	var in phoneRequest
	if err := c.decode(&in); err != nil {
		return err
	}
	files, _, err := s.phonePrepared(ctx, c, in.ID)
	if err != nil {
		return err
	}
	made, again, err := s.Phones.Check(ctx, in.ID, c.visit.Who().Mail, files, in.Kept)
	if err != nil {
		return s.Desk.Refused(ctx, c.visit, in.ID, c.client, err)
	}
	if made == nil {
		return c.answer(struct {
			Pending bool   `json:"pending"`
			Kept    []byte `json:"kept"`
		}{true, again})
	}
	return s.finishOffer(ctx, c, in.ID, made)
}

// phoneTouch gives a code to scan, and reminds the person if asked to.
func (s *site) phoneTouch(ctx context.Context, c *call) error {
	var in phoneRequest
	if err := c.decode(&in); err != nil {
		return err
	}
	if !s.sends.allow(c.visit.Who().Mail, s.now()) {
		return refusal("too-fast", "Your phone was asked too often; wait a minute.", nil)
	}
	image, err := s.Phones.Touch(ctx, in.ID, c.visit.Who().Mail, in.Kept, in.Push)
	if err != nil {
		return err
	}
	return c.answer(map[string][]byte{"image": image})
}

// phoneCancel takes back what is pending.
func (s *site) phoneCancel(ctx context.Context, c *call) error {
	var in phoneRequest
	if err := c.decode(&in); err != nil {
		return err
	}
	if err := s.Phones.Cancel(ctx, in.ID, c.visit.Who().Mail, in.Kept); err != nil {
		return err
	}
	return c.answer(struct{}{})
}
