package web

import (
	"context"
	"net/http"
	"time"

	"milterd/signature/cms"
	"milterd/workflow"
)

// What signatures by cards, providers and phones have in common: somebody else than the page
// makes them, with certificates of other authorities.

// remoteTime is how long providers may take, all of their calls for one of ours.
const remoteTime = 100 * time.Second

// othersCall is for proven devices, where others sign at the session's level. What they
// were asked to sign is carried through, even if its person leaves the page.
func (s *site) othersCall(do func(context.Context, *call) error, at func(workflow.Level) error) func(context.Context, *call) error {
	return s.proven(func(ctx context.Context, c *call) error {
		if err := at(c.visit.Session.Level); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), remoteTime)
		defer cancel()
		_ = http.NewResponseController(c.ResponseWriter).SetWriteDeadline(time.Now().Add(remoteTime + 10*time.Second))
		return do(ctx, c)
	})
}

// prepareOffer answers with what the page must check before others sign it.
func (s *site) prepareOffer(ctx context.Context, c *call, shown []workflow.Shown, a workflow.Appearance, offer workflow.Offer) error {
	p, err := s.Desk.PrepareOffer(ctx, c.visit, shown, a, offer, c.client)
	if err != nil {
		return err
	}
	out := struct {
		lookPreparation
		Certificate []byte `json:"certificate"` // empty if it comes with the signature
		Hash        string `json:"hash"`        // as WebCrypto and Web eID name it
	}{s.preparation(p), nil, algorithms[cms.Algorithm(offer.Algorithm)].Hash}
	if len(offer.Chain) > 0 {
		out.Certificate = offer.Chain[0]
	}
	return c.answer(out)
}

func (s *site) finishOffer(ctx context.Context, c *call, id string, values [][]byte) error {
	if err := s.Desk.FinishOffer(ctx, c.visit, id, values, c.client); err != nil {
		return err
	}
	return s.lookAgain(ctx, c)
}
