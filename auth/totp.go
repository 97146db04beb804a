package auth

import (
	"cmp"
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/pquerna/otp/totp"
	"github.com/skip2/go-qrcode"

	"milterd/workflow"
)

// Limits of one-time passwords: six digits, of which three are right at any
// time, because clocks of phones are wrong by some seconds.
const (
	TOTPTriesPerHour = 5 // wrong ones of one person
	TOTPTriesPerDay  = 20
)

const (
	kindTOTP    = "totp"     // Ceremony: a secret that is being enrolled
	kindTOTPTry = "totp-try" // Ceremony: a wrong password that counts
	methodTOTP  = "one-time password"
	totpStep    = 30 // seconds
	totpSkew    = 1  // steps before and after
	qrSize      = 246
)

// TOTP proves who is at the page by one-time passwords of an app (RFC 6238),
// for devices without WebAuthn. What it proves is not bound to any document.
// Its methods are safe for concurrent use.
type TOTP struct {
	*Enrolments
}

// secret is the Data of a TOTP credential, and of the ceremony that enrols it.
type secret struct {
	Sealed []byte `json:"sealed"` // see Keys.seal
	Last   int64  `json:"last"`   // the step of the last password that was accepted: no older one counts
	Wrong  int    `json:"wrong,omitempty"`
}

// Begin makes a secret for an approved enrolment: uri is for a link on the same
// phone, png the same as a QR code. Reasons: "enrolment-gone", "not-approved",
// "passkey-revoked".
func (t *TOTP) Begin(ctx context.Context, v workflow.Visit, handle string) (uri string, png []byte, ceremony string, err error) {
	key, err := totp.Generate(totp.GenerateOpts{Issuer: cmp.Or(t.Organisation, t.relyingParty), AccountName: v.Who().Mail})
	if err != nil {
		return "", nil, "", fmt.Errorf("making a secret: %w", err)
	}
	ceremony = random()
	err = t.do(ctx, func(tx workflow.Tx) error {
		if _, _, err := t.approved(tx, v, handle); err != nil {
			return err
		}
		sealed, err := t.Keys.seal(ceremony, v.Who().Mail, key.Secret())
		if err != nil {
			return err
		}
		return t.save(tx, v, ceremony, kindTOTP, ProofLifetime, secret{Sealed: sealed})
	})
	if err != nil {
		return "", nil, "", err
	}
	if png, err = qrcode.Encode(key.String(), qrcode.Medium, qrSize); err != nil {
		return "", nil, "", fmt.Errorf("drawing the secret: %w", err)
	}
	return key.String(), png, ceremony, nil
}

// Finish enrols the device whose app shows the right password. Reasons: those of
// Begin, "ceremony-gone" (also: five wrong ones), "wrong-totp".
func (t *TOTP) Finish(ctx context.Context, v workflow.Visit, handle, ceremony, code, name, client, agent string) (c *workflow.Credential, cookie string, expires time.Time, err error) {
	var answer error
	err = t.do(ctx, func(tx workflow.Tx) error {
		answer = nil
		var s secret
		q, err := t.load(tx, v, ceremony, kindTOTP, &s)
		if err != nil {
			return err
		}
		step, err := t.step(ceremony, v.Who().Mail, &s, code)
		if err != nil {
			return err
		}
		if step == 0 {
			answer = wrongTOTP()
			return t.wrongAtEnrolment(tx, q, &s)
		}
		data, err := json.Marshal(secret{Sealed: s.Sealed, Last: step})
		if err != nil {
			return fmt.Errorf("keeping a secret: %w", err)
		}
		if err := tx.EndCeremony(ceremony); err != nil {
			return err
		}
		c = &workflow.Credential{ID: ceremony, Kind: workflow.TOTP, Name: name, Data: data}
		cookie, expires, err = t.enrol(tx, v, handle, c, client, agent, nil)
		return err
	})
	if err == nil {
		err = answer
	}
	return c, cookie, expires, err
}

// wrongAtEnrolment counts a wrong password; the fifth one ends it.
func (t *TOTP) wrongAtEnrolment(tx workflow.Tx, q *workflow.Ceremony, s *secret) error {
	if s.Wrong++; s.Wrong >= TOTPTriesPerHour {
		return tx.EndCeremony(q.ID)
	}
	var err error
	if q.Data, err = json.Marshal(s); err != nil {
		return fmt.Errorf("keeping a secret: %w", err)
	}
	return tx.SaveCeremony(q)
}

// ForSigning checks a one-time password, counts a wrong one, and returns what
// uses it up inside the transaction that stores the act. Reasons: "no-totp" (the
// visitor has enrolled none), "wrong-totp" (also: it was used already),
// "too-many-totp".
func (t *TOTP) ForSigning(ctx context.Context, v workflow.Visit, code, client string) (consume func(workflow.Tx, []workflow.Digest) (workflow.Proof, error), err error) {
	c, err := t.try(ctx, v, code, client, func(workflow.Tx, *workflow.Credential) error { return nil })
	if err != nil {
		return nil, err
	}
	return func(tx workflow.Tx, _ []workflow.Digest) (workflow.Proof, error) {
		// Again, with the lock: of two that come at once, one finds its step taken.
		c, step, err := t.accept(tx, v.Who().Mail, c.ID, code)
		if err != nil {
			return workflow.Proof{}, err
		}
		return workflow.Proof{Method: methodTOTP, Challenge: strconv.FormatInt(step, 10), At: c.Used, Client: client, Device: c.Name,
				Enrolled: c.Enrolled, Approved: c.ApprovedBy},
			tx.SaveCredential(c)
	}, nil
}

// ForKey uses up a one-time password for a new device key, and gives the
// credential that the key's certificate belongs to. Reasons as for ForSigning.
func (t *TOTP) ForKey(ctx context.Context, v workflow.Visit, code, client string) (*workflow.Credential, error) {
	return t.try(ctx, v, code, client, workflow.Tx.SaveCredential)
}

// try runs fn with the credential whose app shows a password. A wrong one is
// counted and on record although the call fails.
func (t *TOTP) try(ctx context.Context, v workflow.Visit, code, client string, fn func(workflow.Tx, *workflow.Credential) error) (c *workflow.Credential, err error) {
	mail := v.Who().Mail
	all, err := t.Store.Credentials(ctx, mail)
	if err != nil {
		return nil, forPage(err)
	}
	all = slices.DeleteFunc(all, func(c *workflow.Credential) bool { return c.Kind != workflow.TOTP || !c.Revoked.IsZero() })
	if len(all) == 0 {
		return nil, refuse("no-totp", "No app of yours is enrolled here.")
	}
	var answer *workflow.Refusal
	err = t.do(ctx, func(tx workflow.Tx) error {
		answer = nil
		if err := t.checkShare(tx, mail); err != nil {
			return err
		}
		for _, one := range all {
			c, _, err = t.accept(tx, mail, one.ID, code)
			if err == nil {
				return fn(tx, c)
			}
			if !errors.As(err, &answer) {
				return err
			}
		}
		if err := t.save(tx, v, random(), kindTOTPTry, 24*time.Hour, struct{}{}); err != nil {
			return err
		}
		return tx.Append(v.Session.ID, workflow.Event{Time: t.now(), Kind: workflow.EventTOTPWrong, Actor: mail, Client: client})
	})
	switch {
	case err != nil:
		return nil, err
	case answer != nil && c == nil:
		return nil, answer
	}
	return c, nil
}

// accept looks whether a password is right for a credential and was not used;
// the credential then holds its step and is to be saved.
func (t *TOTP) accept(tx workflow.Tx, mail, id, code string) (*workflow.Credential, int64, error) {
	c, err := tx.Credential(id)
	if err != nil {
		return nil, 0, err
	}
	var s secret
	if err := json.Unmarshal(c.Data, &s); err != nil {
		return nil, 0, fmt.Errorf("reading the credential %s: %w", id, err)
	}
	step, err := t.step(id, mail, &s, code)
	if err != nil {
		return nil, 0, err
	}
	if step == 0 || !c.Revoked.IsZero() {
		return nil, 0, wrongTOTP()
	}
	s.Last, c.Used = step, t.now()
	if c.Data, err = json.Marshal(s); err != nil {
		return nil, 0, fmt.Errorf("keeping the credential %s: %w", id, err)
	}
	return c, step, nil
}

// step gives the step whose password the code is, later than the last one that
// was accepted; 0 if there is none.
func (t *TOTP) step(id, mail string, s *secret, code string) (int64, error) {
	key, err := t.Keys.unseal(id, mail, s.Sealed)
	if err != nil {
		return 0, err
	}
	now := t.now().Unix() / totpStep
	for step := max(now-totpSkew, s.Last+1); step <= now+totpSkew; step++ {
		want, err := totp.GenerateCode(key, time.Unix(step*totpStep, 0))
		if err != nil {
			return 0, fmt.Errorf("one-time password: %w", err)
		}
		if subtle.ConstantTimeCompare([]byte(want), []byte(digits(code))) == 1 {
			return step, nil
		}
	}
	return 0, nil
}

func (t *TOTP) checkShare(tx workflow.Tx, mail string) error {
	for _, share := range []struct {
		limit int
		span  time.Duration
		word  string
	}{{TOTPTriesPerHour, time.Hour, "in an hour"}, {TOTPTriesPerDay, 24 * time.Hour, "tomorrow"}} {
		n, err := tx.CeremoniesSince(mail, kindTOTPTry, t.now().Add(-share.span))
		if err != nil {
			return err
		}
		if n >= share.limit {
			return refuse("too-many-totp", "Too many wrong one-time passwords. Please try again "+share.word+".")
		}
	}
	return nil
}

func wrongTOTP() *workflow.Refusal {
	return refuse("wrong-totp", "This is not what the app shows now, or it was used already. Please wait for the next one.")
}
