package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"milterd/signature/pdf/font"
	"milterd/workflow"
)

// Limits of what a page may send, beside those of workflow.
const (
	maxSignBody = 1 << 20 // workflow.MaxPoints points, and room
	maxShown    = 100     // documents
)

// decodeStrict reads one JSON value, without unknown fields or a tail.
func decodeStrict(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the request")
	}
	return nil
}

// visit says who asks for what.
func (s *site) visit(ctx context.Context, c *call) error {
	var in struct {
		Token string `json:"token"`
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	return s.show(ctx, c, c.visit, c.proven)
}

// code mails a code to the visitor's own address.
func (s *site) code(ctx context.Context, c *call) error {
	var in struct {
		Token string `json:"token"`
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	expires, err := s.Mailbox.RequestCode(ctx, c.visit, c.client)
	if err != nil {
		return err
	}
	// Seconds, because the clock of the visitor's device may be wrong.
	return c.answer(map[string]int{"seconds": int(expires.Sub(s.now()).Seconds())})
}

// open proves the mailbox and remembers the device.
func (s *site) open(ctx context.Context, c *call) error {
	var in struct {
		Token string `json:"token"`
		Code  string `json:"code"`
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	if err := s.guess(c, in.Code); err != nil {
		return err
	}
	cookie, expires, err := s.Mailbox.Open(ctx, c.visit, in.Code, c.client, browser(c.UserAgent()))
	if err != nil {
		return err
	}
	s.remember(ctx, c, cookie, expires)
	return s.show(ctx, c, c.visit, true)
}

// guess counts a code that is tried, and refuses what cannot be one.
func (s *site) guess(c *call, code string) error {
	if !s.guesses.allow(c.token, s.now()) {
		return refusal("too-fast", "Too many tries; wait a moment.", nil)
	}
	if len(code) != 6 || strings.Trim(code, "0123456789") != "" {
		return refusal("bad-code", "The code is six digits.", nil)
	}
	return nil
}

// document gives the newest revision to a proven device.
func (s *site) document(ctx context.Context, c *call) error {
	var in struct {
		Token    string `json:"token"`
		Document int    `json:"document"`
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	if in.Document < 0 || in.Document >= len(c.visit.Session.Documents) {
		return refusal("bad-request", "There is no such document.", nil)
	}
	b, rev, err := s.Desk.View(ctx, c.visit, in.Document, c.client)
	if err != nil {
		return err
	}
	h := c.ResponseWriter.Header()
	h.Set("Milterd-Revision", strconv.Itoa(rev.Number))
	h.Set("Milterd-SHA256", rev.SHA256.String())
	c.pdf(b)
	return nil
}

// pdf answers with a document, as bytes that nobody opens as a page of ours.
func (c *call) pdf(b []byte) {
	// A phone on a slow line gets 20 kB/s.
	patience := time.Minute + time.Duration(len(b)/20_000)*time.Second
	_ = http.NewResponseController(c.ResponseWriter).SetWriteDeadline(time.Now().Add(patience))
	h := c.ResponseWriter.Header()
	h.Set("Content-Type", "application/pdf")
	h.Set("Content-Disposition", "attachment")
	h.Set("Content-Length", strconv.Itoa(len(b)))
	_, _ = c.ResponseWriter.Write(b) // a visitor who left needs no document
}

// ready says whether a signature could be completed now. The desk keeps the
// answer for everyone, so a visitor who leaves must not make it a bad one.
func (s *site) ready(ctx context.Context, c *call) error {
	var in struct {
		Token string `json:"token"`
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	err := s.Desk.Ready(context.WithoutCancel(ctx))
	if err != nil {
		s.Log.Warn("web: signatures would have to wait", "err", err)
	}
	return c.answer(map[string]bool{"ready": err == nil})
}

// sign takes the act of a signatory.
func (s *site) sign(ctx context.Context, c *call) error {
	in, err := parseSign(c.body)
	if err != nil {
		return err
	}
	if c.visit.Session.Level != workflow.Standard {
		return refusal("wrong-level", "This session is signed with a key of your own.", nil)
	}
	consume, err := s.forSigning(ctx, c, in.given)
	if err != nil {
		return err
	}
	if err := s.Desk.Sign(ctx, c.visit, in.Shown, in.Appearance, c.client, consume); err != nil {
		return err
	}
	return s.lookAgain(ctx, c)
}

// decline ends the session; a remembered device suffices, since nothing is signed.
func (s *site) decline(ctx context.Context, c *call) error {
	var in struct {
		Token   string `json:"token"`
		Comment string `json:"comment"`
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	if err := s.Desk.Decline(ctx, c.visit, in.Comment, c.client); err != nil {
		return err
	}
	return s.lookAgain(ctx, c)
}

// lookAgain answers with the session as it is after a change.
func (s *site) lookAgain(ctx context.Context, c *call) error {
	v, err := s.Desk.Visit(ctx, c.token)
	if err != nil {
		return err
	}
	return s.show(ctx, c, v, true)
}

// proven is for calls that only a device may make that has proven the mailbox.
func (s *site) proven(do func(context.Context, *call) error) func(context.Context, *call) error {
	return func(ctx context.Context, c *call) error {
		if err := c.needProof(); err != nil {
			return err
		}
		return do(ctx, c)
	}
}

func (c *call) needProof() error {
	if !c.proven {
		return refusal("not-proven", "Prove first that you read this mailbox.", nil)
	}
	return nil
}

// signRequest is the body of POST /api/sign.
type signRequest struct {
	Token      string              `json:"token"`
	Shown      []workflow.Shown    `json:"shown"`
	Appearance workflow.Appearance `json:"appearance"`
	given
}

// parseSign reads and bounds the act: counts, sizes, and points that lie on
// the pad. What the documents and digests must be is the desk's to check.
func parseSign(b []byte) (signRequest, error) {
	var in signRequest
	if err := decodeStrict(b, &in); err != nil {
		return in, refusal("bad-request", "This request cannot be read.", err)
	}
	return in, checkAct(in.Shown, &in.Appearance)
}

func checkAct(shown []workflow.Shown, a *workflow.Appearance) error {
	if len(shown) == 0 || len(shown) > maxShown {
		return refusal("bad-request", "This request names no documents.", nil)
	}
	if err := checkAppearance(a); err != nil {
		return &workflow.Refusal{Code: 554, Enhanced: "5.6.0", Reason: "bad-appearance",
			Text: "This signature cannot be read; draw it again or type your name.", Err: err}
	}
	if !font.Shows(a.Typed) {
		return refusal("unprintable-name", "This name has characters that cannot be printed into the document. Please draw your signature.", nil)
	}
	return nil
}

// checkAppearance wants either a name or strokes that stay on their pad, so
// that nothing is drawn outside the signature's field. The desk checks the rest.
func checkAppearance(a *workflow.Appearance) error {
	a.Typed = strings.Join(strings.Fields(a.Typed), " ")
	switch {
	case (a.Typed == "") == (len(a.Strokes) == 0):
		return errors.New("want either a typed name or strokes")
	case a.Typed != "" && (a.Width != 0 || a.Height != 0):
		return errors.New("a typed name has no pad")
	case len(a.Strokes) > workflow.MaxStrokes:
		return fmt.Errorf("%d strokes", len(a.Strokes))
	}
	points := 0
	for _, s := range a.Strokes {
		if points += len(s); len(s) == 0 || points > workflow.MaxPoints {
			return fmt.Errorf("an empty stroke, or more than %d points", workflow.MaxPoints)
		}
		for _, p := range s {
			// Written so that NaN is outside, too.
			if !(p.X >= 0 && p.Y >= 0 && p.X <= a.Width && p.Y <= a.Height) {
				return fmt.Errorf("point %g, %g is outside the pad", p.X, p.Y)
			}
		}
	}
	return nil
}
