package web

import (
	"context"

	"milterd/workflow"
)

// lookPrepared is what a page needs to check and sign a document's revision.
type lookPrepared struct {
	Document   int             `json:"document"`
	Revision   int             `json:"revision"` // the one that it follows
	Head       workflow.Digest `json:"head"`     // of that one
	SHA256     workflow.Digest `json:"sha256"`
	Size       int64           `json:"size"`
	Attributes []byte          `json:"attributes"`
	Digest     []byte          `json:"digest,omitempty"` // of the ByteRange, where the certificate comes with the signature
}

// prepare has the revisions written that the device's key will sign.
func (s *site) prepare(ctx context.Context, c *call) error {
	var in struct {
		Token       string              `json:"token"`
		Shown       []workflow.Shown    `json:"shown"`
		Appearance  workflow.Appearance `json:"appearance"`
		Certificate string              `json:"certificate"`
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	if err := checkAct(in.Shown, &in.Appearance); err != nil {
		return err
	}
	if err := c.needOwn(); err != nil {
		return err
	}
	p, err := s.Desk.Prepare(ctx, c.visit, in.Shown, in.Appearance, in.Certificate, c.client)
	if err != nil {
		return err
	}
	return c.answer(s.preparation(p))
}

// lookPreparation is what a page must check and sign, and how long it has.
type lookPreparation struct {
	ID        string         `json:"id"`
	Seconds   int            `json:"seconds"`
	Documents []lookPrepared `json:"documents"`
}

func (s *site) preparation(p *workflow.Preparation) lookPreparation {
	out := lookPreparation{ID: p.ID, Seconds: s.seconds(p.Expires)}
	for _, d := range p.Documents {
		out.Documents = append(out.Documents, lookPrepared{d.Document, d.Revision, d.Head, d.SHA256, d.Size, d.Attributes, d.Digest})
	}
	return out
}

// prepared gives a document's prepared revision, whole.
func (s *site) prepared(ctx context.Context, c *call) error {
	var in struct {
		Token    string `json:"token"`
		ID       string `json:"id"`
		Document int    `json:"document"`
		From     int    `json:"from"` // bytes that the page has: it showed them
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	b, err := s.Desk.PreparedContent(ctx, c.visit, in.ID, in.Document)
	if err != nil {
		return err
	}
	if in.From < 0 || in.From > len(b) {
		return refusal("bad-request", "The document is shorter than that.", nil)
	}
	c.pdf(b[in.From:])
	return nil
}

// keep prolongs a preparation while its page waits for a finger.
func (s *site) keep(ctx context.Context, c *call) error {
	var in struct {
		Token string `json:"token"`
		ID    string `json:"id"`
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	until, err := s.Desk.Keep(ctx, c.visit, in.ID)
	if err != nil {
		return err
	}
	return c.answer(map[string]int{"seconds": s.seconds(until)})
}

// abandon lets the documents go: for a colleague who waits, or because the page
// has found something else in them than it had shown.
func (s *site) abandon(ctx context.Context, c *call) error {
	var in struct {
		Token  string `json:"token"`
		ID     string `json:"id"`
		Failed string `json:"failed"` // one of workflow.CheckFailures
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	if err := s.Desk.Abandon(ctx, c.visit, in.ID, in.Failed, c.client); err != nil {
		return err
	}
	return c.answer(struct{}{})
}

// finish takes the device's signatures and the proof for all of them.
func (s *site) finish(ctx context.Context, c *call) error {
	var in struct {
		Token  string   `json:"token"`
		ID     string   `json:"id"`
		Values [][]byte `json:"values"`
		given
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	if err := c.needOwn(); err != nil {
		return err
	}
	consume, err := s.forSigning(ctx, c, in.given)
	if err != nil {
		return err
	}
	if err := s.Desk.Finish(ctx, c.visit, in.ID, in.Values, c.client, consume); err != nil {
		return err
	}
	return s.lookAgain(ctx, c)
}
