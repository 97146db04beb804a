package web

import (
	"context"
	"encoding/json"
)

// maxCertificate bounds the certificate of a card, which has some 1,500 bytes.
const maxCertificate = 8 << 10

// enrolCardBegin gives the nonce that an identity card is to sign as a second proof.
func (s *site) enrolCardBegin(ctx context.Context, c *call) error {
	var in struct {
		Token string `json:"token"`
		ID    string `json:"id"`
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	nonce, ceremony, err := s.Enrolments.BeginCard(ctx, c.visit, in.ID)
	if err != nil {
		return err
	}
	return c.answer(struct {
		Ceremony string `json:"ceremony"`
		Nonce    string `json:"nonce"`
	}{ceremony, nonce})
}

// enrolCard takes Web eID's authentication token as the second proof.
func (s *site) enrolCard(ctx context.Context, c *call) error {
	var in struct {
		Token    string          `json:"token"`
		ID       string          `json:"id"`
		Ceremony string          `json:"ceremony"`
		Card     json.RawMessage `json:"card"`
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	if !s.guesses.allow(c.token, s.now()) { // each may ask an authority elsewhere
		return refusal("too-fast", "Too many tries; wait a moment.", nil)
	}
	e, err := s.Enrolments.Card(ctx, c.visit, in.ID, in.Ceremony, in.Card, c.client)
	return s.answerEnrolment(c, e, err)
}

// enrolCertificate ends an approved enrolment with a card's certificate for signatures.
func (s *site) enrolCertificate(ctx context.Context, c *call) error {
	var in struct {
		Token       string `json:"token"`
		ID          string `json:"id"`
		Certificate []byte `json:"certificate"` // DER
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	if len(in.Certificate) > maxCertificate {
		return refusal("malformed-certificate", "The certificate of this card cannot be read.", nil)
	}
	if !s.guesses.allow(c.token, s.now()) {
		return refusal("too-fast", "Too many tries; wait a moment.", nil)
	}
	if err := s.Enrolments.Certificate(ctx, c.visit, in.ID, [][]byte{in.Certificate}, c.client); err != nil {
		return err
	}
	return s.answerDevices(ctx, c)
}
