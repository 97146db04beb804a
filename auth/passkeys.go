package auth

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"milterd/workflow"
)

// CeremonyLifetime is how long a passkey may take to answer: somebody looks for
// their phone, or for their key.
const CeremonyLifetime = 5 * time.Minute

// Site is what all ceremonies of a site have in common.
type Site struct {
	Store        workflow.Store
	Keys         *Keys
	URL          string // of the signing pages: its host is the relying party, it is the only origin
	Organisation string // as browsers and apps show it
	Now          func() time.Time
	Log          *slog.Logger
}

func (s *Site) now() time.Time { return s.Now().UTC().Truncate(time.Microsecond) }

func (s *Site) do(ctx context.Context, fn func(workflow.Tx) error) error {
	return forPage(s.Store.Do(ctx, fn))
}

// Passkeys asks for WebAuthn assertions and checks them: the right origin, user
// verification, a passkey of the visitor's own that is not revoked, a challenge
// that is made of what is at stake, each answer once. Its methods are safe for
// concurrent use.
type Passkeys struct {
	Site
	web          *webauthn.WebAuthn // nil where browsers allow no passkeys
	relyingParty string
	origin       string
}

// NewPasskeys reads the relying party and the origin out of the URL. Under an
// address instead of a name, browsers allow no passkeys: then each ceremony is
// refused ("no-passkeys-here"), and everything else works.
func NewPasskeys(s Site) (*Passkeys, error) {
	u, err := url.Parse(s.URL)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, fmt.Errorf("passkeys: %q is no base address: want https://HOST", s.URL)
	}
	u.Host = strings.ToLower(u.Host)
	if u.Scheme+u.Port() == "https443" || u.Scheme+u.Port() == "http80" {
		u.Host = u.Hostname() // browsers leave the default port out of an origin
	}
	p := &Passkeys{Site: s, relyingParty: u.Hostname(), origin: u.Scheme + "://" + u.Host}
	if net.ParseIP(p.relyingParty) != nil {
		return p, nil
	}
	p.web, err = webauthn.New(&webauthn.Config{RPID: p.relyingParty, RPDisplayName: cmp.Or(s.Organisation, p.relyingParty),
		RPOrigins: []string{p.origin}, AttestationPreference: protocol.PreferNoAttestation,
		AuthenticatorSelection: protocol.AuthenticatorSelection{
			ResidentKey: protocol.ResidentKeyRequirementPreferred, UserVerification: protocol.VerificationRequired}})
	if err != nil {
		return nil, fmt.Errorf("passkeys: %w", err)
	}
	return p, nil
}

// kindPasskey is the Ceremony of a passkey's challenge, kindFailed what stays of
// one that was answered wrongly.
const (
	kindPasskey = "passkey"
	kindFailed  = "passkey-failed"
)

// asked is the Data of a Ceremony of kindPasskey.
type asked struct {
	Label   string            `json:"label"`
	Digests []workflow.Digest `json:"digests"`
	Nonce   []byte            `json:"nonce"`
}

// Begin starts a ceremony for one of the visitor's passkeys. options is
// {"publicKey": …}, in JSON, for navigator.credentials.get; ceremony is what the
// answer (its toJSON) is handed in with. Reasons: "no-passkey" (the visitor has none),
// "no-passkeys-here".
func (p *Passkeys) Begin(ctx context.Context, v workflow.Visit, label string, digests []workflow.Digest) (options json.RawMessage, ceremony string, err error) {
	all, err := p.Store.Credentials(ctx, v.Who().Mail)
	if err != nil {
		return nil, "", forPage(err)
	}
	u, err := p.user(v, all...)
	if err != nil {
		return nil, "", err
	}
	if len(u.credentials) == 0 {
		return nil, "", refuse("no-passkey", "No device of yours is enrolled here. Please enrol this one.")
	}
	ceremony, challenge, err := p.ask(ctx, v, label, digests)
	if err != nil {
		return nil, "", err
	}
	assertion, _, err := p.web.BeginLogin(u, webauthn.WithChallenge(challenge[:]))
	if err != nil {
		return nil, "", fmt.Errorf("asking for a passkey: %w", err)
	}
	options, err = json.Marshal(assertion)
	return options, ceremony, err
}

// ask keeps a new ceremony and gives its challenge.
func (p *Passkeys) ask(ctx context.Context, v workflow.Visit, label string, digests []workflow.Digest) (id string, challenge workflow.Digest, err error) {
	a := asked{Label: label, Digests: digests, Nonce: make([]byte, nonceSize)}
	rand.Read(a.Nonce)
	id = random()
	err = p.do(ctx, func(tx workflow.Tx) error {
		return p.save(tx, v, id, kindPasskey, CeremonyLifetime, a)
	})
	return id, Challenge(label, v.Session.ID, v.Who().Mail, digests, a.Nonce), err
}

// save keeps a ceremony of a visit with its data.
func (s *Site) save(tx workflow.Tx, v workflow.Visit, id, kind string, lifetime time.Duration, data any) error {
	b, err := json.Marshal(data)
	if err != nil {
		return fmt.Errorf("keeping a ceremony: %w", err)
	}
	now := s.now()
	return tx.SaveCeremony(&workflow.Ceremony{ID: id, Kind: kind, Session: v.Session.ID, Person: v.Person,
		Mail: v.Who().Mail, Created: now, Expires: now.Add(lifetime), Data: b})
}

// ceremonyForm is what random makes. Whatever else a page sends is not looked
// for, and not put on record.
var ceremonyForm = regexp.MustCompile(`^[a-z2-7]{16}$`)

// load finds a ceremony of a visit, if it is of the kind.
func (s *Site) load(tx workflow.Tx, v workflow.Visit, id, kind string, data any) (*workflow.Ceremony, error) {
	if !ceremonyForm.MatchString(id) {
		return nil, ceremonyGone()
	}
	c, err := tx.Ceremony(id, s.now())
	if err != nil && !errors.Is(err, workflow.ErrNotFound) {
		return nil, err
	}
	if err != nil || c.Kind != kind || c.Session != v.Session.ID || c.Person != v.Person || !strings.EqualFold(c.Mail, v.Who().Mail) {
		return nil, ceremonyGone()
	}
	if err := json.Unmarshal(c.Data, data); err != nil {
		return nil, fmt.Errorf("reading a ceremony: %w", err)
	}
	return c, nil
}

// Open lets a passkey stand for a mailed code: it proves the mailbox's owner
// and remembers the device as Mailbox.Open does. Reasons: "ceremony-gone",
// "passkey-unknown", "passkey-revoked", "passkey-cloned", "passkey-refused".
func (p *Passkeys) Open(ctx context.Context, v workflow.Visit, ceremony string, response []byte, client, agent string) (cookie string, expires time.Time, err error) {
	err = p.attempt(ctx, v, ceremony, client, func(tx workflow.Tx) error {
		c, _, err := p.use(tx, v, ceremony, LabelOpen, nil, response)
		if err != nil {
			return err
		}
		now := p.now()
		expires = now.Add(DeviceLifetime)
		if cookie, err = p.Keys.remember(tx, v.Who().Mail, c.ID, agent, now, expires); err != nil {
			return err
		}
		return tx.Append(v.Session.ID, workflow.Event{Time: now, Kind: workflow.EventProven, Actor: v.Who().Mail, Client: client,
			Detail: map[string]string{"proof": methodPasskey, "challenge": ceremony, "device": c.Name}})
	})
	return cookie, expires, err
}

// methodPasskey is how reports name the proof.
const methodPasskey = "passkey"

// ForSigning checks a passkey's answer, and returns what uses it up inside the
// transaction that stores the act. There the challenge is made again from the
// digests of what is about to be signed: if it is not what the passkey
// approved, the *Refusal's Reason is "digest-mismatch". Others as for Open.
func (p *Passkeys) ForSigning(ctx context.Context, v workflow.Visit, ceremony string, response []byte, client string) (consume func(workflow.Tx, []workflow.Digest) (workflow.Proof, error), err error) {
	var begun []workflow.Digest
	err = p.attempt(ctx, v, ceremony, client, func(tx workflow.Tx) error {
		var a asked
		if _, err := p.load(tx, v, ceremony, kindPasskey, &a); err != nil {
			return err
		}
		begun = a.Digests
		_, _, err := p.check(tx, v, ceremony, LabelSign, a.Digests, response)
		return err
	})
	if err != nil {
		return nil, err
	}
	return func(tx workflow.Tx, digests []workflow.Digest) (workflow.Proof, error) {
		c, a, err := p.use(tx, v, ceremony, LabelSign, digests, response)
		if err != nil {
			if Challenge(LabelSign, "", "", digests, nil) != Challenge(LabelSign, "", "", begun, nil) {
				err = refuseBy("digest-mismatch", "What the passkey approved is not what would be signed. Please load the page again.", err)
			}
			return workflow.Proof{}, err
		}
		return workflow.Proof{Method: methodPasskey, Challenge: ceremony, At: c.Used, Client: client, Device: c.Name,
			Enrolled: c.Enrolled, Approved: c.ApprovedBy, Assertion: a}, nil
	}, nil
}

// ForKey uses up a passkey's answer for a new device key, and gives the
// credential that the key's certificate belongs to. Reasons as for Open.
func (p *Passkeys) ForKey(ctx context.Context, v workflow.Visit, ceremony string, response []byte, key workflow.Digest, client string) (c *workflow.Credential, err error) {
	err = p.attempt(ctx, v, ceremony, client, func(tx workflow.Tx) error {
		c, _, err = p.use(tx, v, ceremony, LabelKey, []workflow.Digest{key}, response)
		return err
	})
	return c, err
}

// user is a visitor with the passkeys that may answer.
type user struct {
	id          []byte
	person      workflow.Person
	credentials []webauthn.Credential
}

func (u *user) WebAuthnID() []byte                         { return u.id }
func (u *user) WebAuthnName() string                       { return u.person.Mail }
func (u *user) WebAuthnDisplayName() string                { return u.person.Name }
func (u *user) WebAuthnCredentials() []webauthn.Credential { return u.credentials }

// user takes the passkeys that are not revoked. Its id says nothing about the
// person to whoever reads it on an authenticator (WebAuthn, 14.6.1).
func (p *Passkeys) user(v workflow.Visit, all ...*workflow.Credential) (*user, error) {
	if p.web == nil {
		return nil, refuse("no-passkeys-here", "Browsers allow no passkeys here, because this site is opened by an address and not by a name. Please tell your administrator.")
	}
	u := &user{id: mac(p.Keys.user, strings.ToLower(v.Who().Mail)), person: v.Who().Person}
	for _, c := range all {
		if c.Kind != workflow.Passkey || !c.Revoked.IsZero() {
			continue
		}
		var w webauthn.Credential
		if err := json.Unmarshal(c.Data, &w); err != nil {
			return nil, fmt.Errorf("reading the passkey %s: %w", c.ID, err)
		}
		u.credentials = append(u.credentials, w)
	}
	return u, nil
}

func ceremonyGone() *workflow.Refusal {
	return refuse("ceremony-gone", "This took too long, or was answered already. Please try again.")
}
