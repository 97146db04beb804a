package web

import (
	"context"
	"time"

	"milterd/workflow"
)

// Held is where mails wait for the confirmation of those in whose names they
// came. Refusals are for the page.
type Held interface {
	Waiting(ctx context.Context, token string) (*workflow.Held, error)
	// Confirmed opens the session; seen is how many recipients the page showed.
	// Reason "held-changed" if there are more now.
	Confirmed(ctx context.Context, token string, seen int, client string) error
	// Denied drops the mail.
	Denied(ctx context.Context, token string) error
}

// heldLook is what the page shows of a held mail, so that nobody confirms what
// they have not seen. Names and addresses of people are the directory's; the
// subject and the file names are words of whoever sent it, and the page says so.
type heldLook struct {
	Organisation string                  `json:"organisation"`
	Who          lookPerson              `json:"who"`
	Received     time.Time               `json:"received"`
	Until        time.Time               `json:"until"`
	Subject      string                  `json:"subject"`
	Level        workflow.Level          `json:"level"`
	Asks         []lookSender            `json:"asks"`
	Documents    []workflow.HeldDocument `json:"documents"`
	Recipients   int                     `json:"recipients"` // sent back with the confirmation
}

// heldAPI guards a call with the link of a held mail.
func (s *site) heldAPI(do func(context.Context, *call) error) func(context.Context, *call) error {
	return func(ctx context.Context, c *call) error {
		if s.Held == nil {
			return refusal("unknown-link", "This link is not known here.", nil)
		}
		return do(ctx, c)
	}
}

func (s *site) held(ctx context.Context, c *call) error {
	var in struct {
		Token string `json:"token"`
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	h, err := s.Config.Held.Waiting(ctx, c.token)
	if err != nil {
		return err
	}
	out := heldLook{Organisation: s.Organisation, Who: lookPerson{Name: h.Person.Name, Mail: h.Person.Mail, Language: h.Person.Language},
		Received: h.Received, Until: h.Until(), Subject: h.Subject, Level: h.Level, Documents: h.Documents, Recipients: len(h.Recipients)}
	for _, p := range h.Asks {
		out.Asks = append(out.Asks, lookSender{p.Name, p.Mail})
	}
	return c.answer(out)
}

func (s *site) confirm(ctx context.Context, c *call) error {
	var in struct {
		Token      string `json:"token"`
		Recipients int    `json:"recipients"`
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	if err := s.Config.Held.Confirmed(ctx, c.token, in.Recipients, c.client); err != nil {
		return err
	}
	return c.answer(struct{}{})
}

func (s *site) deny(ctx context.Context, c *call) error {
	var in struct {
		Token string `json:"token"`
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	if err := s.Config.Held.Denied(ctx, c.token); err != nil {
		return err
	}
	return c.answer(struct{}{})
}
