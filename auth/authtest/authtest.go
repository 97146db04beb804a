// Package authtest is a software authenticator: what a browser and a passkey's
// hardware do, without either. Tests, measurements and `milterd demo` use it to
// answer a site's ceremonies unattended, and it can be told to misbehave.
//
// Limits: its keys live in memory, nobody is asked for a finger or a PIN although
// it says so (it sets the flag of user verification), and it attests nothing.
// What it enrols must be named as a software authenticator's. Never a
// replacement for a person's device.
//
// Reference: W3C Web Authentication Level 3, 5.1 (toJSON), 6.1 (authenticator
// data), 6.5 (attestation "none"); RFC 9052 (COSE_Key).
package authtest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/protocol/webauthncbor"
	"github.com/go-webauthn/webauthn/protocol/webauthncose"
)

// Authenticator answers for the passkeys that it made. Its methods are safe for
// concurrent use.
type Authenticator struct {
	Origin string // of the page that asks, https://sign.corp.com
	Mischief

	mu       sync.Mutex
	passkeys []*passkey
	last     []byte // id
	count    uint32
}

// Mischief is what an authenticator does wrong; zero fields do right.
type Mischief struct {
	FromOrigin   string         // says that this origin asked
	RelyingParty string         // answers for this one
	CrossOrigin  bool           // says that a frame of another site asked
	Challenge    []byte         // answers this challenge
	Unverified   bool           // nobody has proven to be the person
	Absent       bool           // nobody touched it
	Type         string         // of the client data
	Count        *uint32        // signature counter
	Key          *Authenticator // signs with this one's first key, under its own id
	Again        bool           // gives a new passkey the id of the one before
}

type passkey struct {
	id, user []byte
	key      *ecdsa.PrivateKey
}

// New gives an authenticator in a browser that has a page of an origin open.
func New(origin string) *Authenticator { return &Authenticator{Origin: origin} }

// Forget drops its passkeys, as somebody does who resets a device.
func (a *Authenticator) Forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.passkeys = nil
}

// response is the JSON of PublicKeyCredential.toJSON.
type response struct {
	ID         string         `json:"id"`
	RawID      string         `json:"rawId"`
	Type       string         `json:"type"`
	Attachment string         `json:"authenticatorAttachment"`
	Response   map[string]any `json:"response"`
	Extensions struct{}       `json:"clientExtensionResults"`
}

// Create makes a passkey as navigator.credentials.create does: options is
// {"publicKey": …} in JSON, the answer what toJSON gives.
func (a *Authenticator) Create(options []byte) ([]byte, error) {
	var o protocol.CredentialCreation
	if err := json.Unmarshal(options, &o); err != nil {
		return nil, fmt.Errorf("software authenticator: reading options: %w", err)
	}
	user, err := handle(o.Response.User.ID)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, x := range o.Response.CredentialExcludeList {
		if a.find(x.CredentialID) != nil {
			return nil, errors.New("software authenticator: InvalidStateError: it has a passkey for this already")
		}
	}
	p := &passkey{id: make([]byte, 16), user: user}
	rand.Read(p.id)
	if a.Again {
		p.id = a.last
	}
	a.last = p.id
	if p.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, fmt.Errorf("software authenticator: %w", err)
	}
	cose, err := publicKey(p.key)
	if err != nil {
		return nil, err
	}
	attested := make([]byte, 16, 18+len(p.id)+len(cose)) // no AAGUID
	attested = binary.BigEndian.AppendUint16(attested, uint16(len(p.id)))
	attested = append(append(attested, p.id...), cose...)
	data := a.data(o.Response.RelyingParty.ID, attested)
	object, err := webauthncbor.Marshal(map[string]any{"fmt": "none", "attStmt": map[string]any{}, "authData": data})
	if err != nil {
		return nil, fmt.Errorf("software authenticator: %w", err)
	}
	client, err := a.client("webauthn.create", o.Response.Challenge)
	if err != nil {
		return nil, err
	}
	a.passkeys = append(a.passkeys, p)
	return answer(p, map[string]any{"clientDataJSON": encode(client), "attestationObject": encode(object),
		"transports": []string{"internal"}})
}

// Get answers with a passkey as navigator.credentials.get does: options is
// {"publicKey": …} in JSON, the answer what toJSON gives.
func (a *Authenticator) Get(options []byte) ([]byte, error) {
	var o protocol.CredentialAssertion
	if err := json.Unmarshal(options, &o); err != nil {
		return nil, fmt.Errorf("software authenticator: reading options: %w", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	var p *passkey
	for _, x := range o.Response.AllowedCredentials {
		if p = a.find(x.CredentialID); p != nil {
			break
		}
	}
	if p == nil && (a.Key == nil || len(o.Response.AllowedCredentials) == 0) {
		return nil, errors.New("software authenticator: NotAllowedError: it has none of these passkeys")
	}
	if p == nil {
		p = &passkey{id: o.Response.AllowedCredentials[0].CredentialID}
	}
	key := p.key
	if a.Key != nil {
		key = a.Key.passkeys[0].key
	}
	client, err := a.client("webauthn.get", o.Response.Challenge)
	if err != nil {
		return nil, err
	}
	data := a.data(o.Response.RelyingPartyID, nil)
	hash := sha256.Sum256(client)
	digest := sha256.Sum256(append(bytes.Clone(data), hash[:]...))
	signature, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
	if err != nil {
		return nil, fmt.Errorf("software authenticator: %w", err)
	}
	return answer(p, map[string]any{"clientDataJSON": encode(client), "authenticatorData": encode(data),
		"signature": encode(signature), "userHandle": encode(p.user)})
}

func (a *Authenticator) find(id []byte) *passkey {
	for _, p := range a.passkeys {
		if bytes.Equal(p.id, id) {
			return p
		}
	}
	return nil
}

// client is the client data that a browser makes (5.8.1).
func (a *Authenticator) client(kind string, challenge []byte) ([]byte, error) {
	c := protocol.CollectedClientData{Type: protocol.CeremonyType(kind), Challenge: encode(challenge), Origin: a.Origin, CrossOrigin: a.CrossOrigin}
	if a.Type != "" {
		c.Type = protocol.CeremonyType(a.Type)
	}
	if a.Mischief.Challenge != nil {
		c.Challenge = encode(a.Mischief.Challenge)
	}
	if a.FromOrigin != "" {
		c.Origin = a.FromOrigin
	}
	return json.Marshal(c)
}

// data is the authenticator data (6.1), with the attested credential or without.
func (a *Authenticator) data(relyingParty string, attested []byte) []byte {
	if a.RelyingParty != "" {
		relyingParty = a.RelyingParty
	}
	flags := protocol.FlagUserPresent | protocol.FlagUserVerified
	if a.Unverified {
		flags &^= protocol.FlagUserVerified
	}
	if a.Absent {
		flags &^= protocol.FlagUserPresent
	}
	if attested != nil {
		flags |= protocol.FlagAttestedCredentialData
	}
	a.count++
	count := a.count
	if a.Count != nil {
		count = *a.Count
	}
	hash := sha256.Sum256([]byte(relyingParty))
	out := append(hash[:], byte(flags))
	out = binary.BigEndian.AppendUint32(out, count)
	return append(out, attested...)
}

// handle reads the user's id, which JSON holds as base64url.
func handle(id any) ([]byte, error) {
	s, ok := id.(string)
	if !ok {
		return nil, errors.New("software authenticator: the options name no user")
	}
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return nil, fmt.Errorf("software authenticator: the user's id: %w", err)
	}
	return b, nil
}

// publicKey is the COSE_Key of an ES256 key.
func publicKey(key *ecdsa.PrivateKey) ([]byte, error) {
	point, err := key.PublicKey.Bytes() // 4, X, Y
	if err != nil {
		return nil, fmt.Errorf("software authenticator: %w", err)
	}
	return webauthncbor.Marshal(webauthncose.EC2PublicKeyData{
		PublicKeyData: webauthncose.PublicKeyData{KeyType: int64(webauthncose.EllipticKey), Algorithm: int64(webauthncose.AlgES256)},
		Curve:         int64(webauthncose.P256), XCoord: point[1:33], YCoord: point[33:]})
}

func answer(p *passkey, r map[string]any) ([]byte, error) {
	return json.Marshal(response{ID: encode(p.id), RawID: encode(p.id), Type: "public-key", Attachment: "platform", Response: r})
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
