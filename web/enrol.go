package web

import (
	"context"
	"encoding/json"
	"time"

	"milterd/auth"
	"milterd/workflow"
)

// Enrolments is what the pages need of auth.Enrolments. A page names the
// enrolment that it began by its handle, and somebody else's by its id.
type Enrolments interface {
	Begin(ctx context.Context, v workflow.Visit, client, agent string) (*auth.Enrolment, error)
	State(ctx context.Context, v workflow.Visit, handle string) (*auth.Enrolment, error)
	Password(ctx context.Context, v workflow.Visit, handle, password, client string) (*auth.Enrolment, error)
	ApproveWithPasskey(ctx context.Context, v workflow.Visit, id, ceremony string, response []byte, client string) error
	BeginCard(ctx context.Context, v workflow.Visit, handle string) (nonce, ceremony string, err error)
	Card(ctx context.Context, v workflow.Visit, handle, ceremony string, token []byte, client string) (*auth.Enrolment, error)
	Certificate(ctx context.Context, v workflow.Visit, handle string, chain [][]byte, client string) error
	Pending(ctx context.Context, mail string) ([]*auth.Enrolment, error)
	Options(ctx context.Context, v workflow.Visit, handle string, key workflow.Digest) (options json.RawMessage, ceremony string, err error)
	Finish(ctx context.Context, v workflow.Visit, handle, ceremony string, response []byte, name string, key workflow.Digest, client, agent string) (c *workflow.Credential, cookie string, expires time.Time, err error)
}

// maxCSR bounds a request for a P-256 certificate, which has some 300 bytes.
const maxCSR = 4 << 10

// lookEnrolment is what the enrolling page learns of its enrolment.
type lookEnrolment struct {
	ID        string   `json:"id"` // the handle: who has it can finish
	Enrolment string   `json:"enrolment"`
	Number    string   `json:"number"`
	Device    string   `json:"device"`
	Ways      []string `json:"ways"`
	Approved  bool     `json:"approved"`
	By        string   `json:"by,omitempty"`
	Seconds   int      `json:"seconds"`
}

func (s *site) answerEnrolment(c *call, e *auth.Enrolment, err error) error {
	if err != nil {
		return err
	}
	return c.answer(lookEnrolment{e.Handle, e.ID, e.Number, e.Agent, e.Ways, e.ApprovedBy != "", e.ApprovedBy, s.seconds(e.Expires)})
}

// seconds are told instead of a time, because the clock of the visitor's
// device may be wrong.
func (s *site) seconds(until time.Time) int { return max(0, int(until.Sub(s.now()).Seconds())) }

func (s *site) enrolBegin(ctx context.Context, c *call) error {
	var in struct {
		Token string `json:"token"`
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	e, err := s.Enrolments.Begin(ctx, c.visit, c.client, browser(c.UserAgent()))
	return s.answerEnrolment(c, e, err)
}

func (s *site) enrolState(ctx context.Context, c *call) error {
	var in struct {
		Token string `json:"token"`
		ID    string `json:"id"`
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	e, err := s.Enrolments.State(ctx, c.visit, in.ID)
	return s.answerEnrolment(c, e, err)
}

// enrolPassword takes the directory's password as the second proof.
func (s *site) enrolPassword(ctx context.Context, c *call) error {
	var in struct {
		Token    string `json:"token"`
		ID       string `json:"id"`
		Password string `json:"password"`
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	if !s.guesses.allow(c.token, s.now()) {
		return refusal("too-fast", "Too many tries; wait a moment.", nil)
	}
	e, err := s.Enrolments.Password(ctx, c.visit, in.ID, in.Password, c.client)
	return s.answerEnrolment(c, e, err)
}

// enrolApprove is an enrolled device's yes to another one.
func (s *site) enrolApprove(ctx context.Context, c *call) error {
	var in struct {
		Token     string  `json:"token"`
		Enrolment string  `json:"enrolment"`
		Passkey   passkey `json:"passkey"`
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	if err := s.Enrolments.ApproveWithPasskey(ctx, c.visit, in.Enrolment, in.Passkey.Ceremony, in.Passkey.Response, c.client); err != nil {
		return err
	}
	return c.answer(struct{}{})
}

func (s *site) enrolOptions(ctx context.Context, c *call) error {
	var in struct {
		Token string          `json:"token"`
		ID    string          `json:"id"`
		Key   workflow.Digest `json:"key"`
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	options, ceremony, err := s.Enrolments.Options(ctx, c.visit, in.ID, in.Key)
	if err != nil {
		return err
	}
	return c.answer(begun{ceremony, options})
}

// enrolled is the answer to a device that has become one of its person's.
type enrolled struct {
	Device      string           `json:"device"`
	Certificate *lookCertificate `json:"certificate,omitempty"`
	Look        look             `json:"look"`
}

// enrolFinish registers the passkey and certifies the device's key with it.
func (s *site) enrolFinish(ctx context.Context, c *call) error {
	var in struct {
		Token   string  `json:"token"`
		ID      string  `json:"id"`
		Passkey passkey `json:"passkey"`
		Name    string  `json:"name"`
		CSR     []byte  `json:"csr"`
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	key, err := keyOf(in.CSR)
	if err != nil {
		return err
	}
	agent := browser(c.UserAgent())
	cred, cookie, expires, err := s.Enrolments.Finish(ctx, c.visit, in.ID, in.Passkey.Ceremony, in.Passkey.Response,
		in.Name, key, c.client, agent)
	if err != nil {
		return err
	}
	s.remember(ctx, c, cookie, expires)
	return s.answerEnrolled(ctx, c, cred, in.CSR)
}

func (s *site) answerEnrolled(ctx context.Context, c *call, cred *workflow.Credential, csr []byte) error {
	out := enrolled{Device: cred.ID}
	if len(csr) > 0 {
		// The device is enrolled whatever comes now; a key can be certified
		// by the new passkey later.
		var err error
		if out.Certificate, err = s.certify(ctx, c, csr, cred.ID, "enrolment"); err != nil {
			s.Log.Warn("web: no certificate for a device that was enrolled", "session", sessionID(c.visit), "err", err)
		}
	}
	v, err := s.Desk.Visit(ctx, c.token)
	if err != nil {
		return err
	}
	if out.Look, err = s.look(ctx, v, true); err != nil {
		return err
	}
	return c.answer(out)
}

func (s *site) totpBegin(ctx context.Context, c *call) error {
	var in struct {
		Token string `json:"token"`
		ID    string `json:"id"`
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	uri, png, ceremony, err := s.TOTP.Begin(ctx, c.visit, in.ID)
	if err != nil {
		return err
	}
	return c.answer(struct {
		Ceremony string `json:"ceremony"`
		URI      string `json:"uri"`
		QR       []byte `json:"qr"`
	}{ceremony, uri, png})
}

func (s *site) totpFinish(ctx context.Context, c *call) error {
	var in struct {
		Token    string `json:"token"`
		ID       string `json:"id"`
		Ceremony string `json:"ceremony"`
		TOTP     string `json:"totp"`
		Name     string `json:"name"`
		CSR      []byte `json:"csr"`
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	if err := s.guess(c, in.TOTP); err != nil {
		return err
	}
	if len(in.CSR) > 0 {
		if _, err := keyOf(in.CSR); err != nil {
			return err
		}
	}
	agent := browser(c.UserAgent())
	cred, cookie, expires, err := s.TOTP.Finish(ctx, c.visit, in.ID, in.Ceremony, in.TOTP, in.Name, c.client, agent)
	if err != nil {
		return err
	}
	s.remember(ctx, c, cookie, expires)
	if s.certifiesByTOTP() != nil {
		in.CSR = nil
	}
	return s.answerEnrolled(ctx, c, cred, in.CSR)
}

// keyOf is the digest of a request's key. Whether the request is good is the
// authority's to say.
func keyOf(csr []byte) (workflow.Digest, error) {
	if len(csr) > maxCSR {
		return workflow.Digest{}, refusal("bad-csr", "This request for a certificate is too large.", nil)
	}
	return auth.KeyOf(csr)
}
