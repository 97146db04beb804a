package csctest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// User is a person, or an organisation, at the provider.
type User struct {
	ID  string
	PIN string // for the page, and for credentials that want it

	otp     string
	otpEnds time.Time
	wrong   int // PINs and codes, in a row
}

// maxWrong is how many wrong PINs and codes lock a user's credentials.
const maxWrong = 3

// KeyType is a kind of key.
type KeyType string

// The kinds.
const (
	RSA2048 KeyType = "RSA-2048"
	RSA3072 KeyType = "RSA-3072"
	P256    KeyType = "P-256"
	P384    KeyType = "P-384"
)

// Credential says what a user is to have.
type Credential struct {
	ID        string
	User      string
	Type      KeyType
	Key       crypto.Signer // nil: a new one of Type
	PSS       bool          // RSA-PSS only; else PKCS #1 v1.5 only
	Exact     bool          // names whole algorithms (sha256WithRSAEncryption); else the key's (rsaEncryption)
	OAuth2    bool          // authorised on the page; else by the factors that follow
	PIN       bool
	OTP       bool // a one-time password that is sent
	App       bool // agreed to on a phone: Agree
	Qualifier string
	SCAL1     bool // not bound to digests
	Multisign int  // 0 means 1
	OneShot   bool // key and certificate are made at each authorisation, P-256
	Disabled  bool
}

// credential is one that is there.
type credential struct {
	Credential
	chain   [][]byte // the leaf first; nil before a OneShot authorisation, and after its use
	agreed  bool
	decline bool
}

// AddUser adds a person.
func (s *Server) AddUser(u User) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users[u.ID] = &u
}

// AddCredential makes key and certificate for a user.
func (s *Server) AddCredential(c Credential) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users[c.User] == nil || c.ID == "" || s.credentials[c.ID] != nil {
		return errors.New("stand-in QTSP: a credential needs a user who is there, and an ID that is not")
	}
	if c.Multisign == 0 {
		c.Multisign = 1
	}
	out := &credential{Credential: c}
	if !c.OneShot {
		if err := s.equip(out); err != nil {
			return err
		}
	}
	s.credentials[c.ID] = out
	return nil
}

// equip gives a credential its key, if it has none, and a certificate.
func (s *Server) equip(c *credential) error {
	if c.Key == nil || c.OneShot {
		key, err := generate(c.Type)
		if err != nil {
			return err
		}
		c.Key = key
	}
	leaf, issuers, err := s.c.Issue(c.Key.Public(), c.User)
	if err != nil {
		return err
	}
	c.chain = append([][]byte{leaf}, issuers...)
	return nil
}

func generate(t KeyType) (crypto.Signer, error) {
	switch t {
	case RSA2048:
		return rsa.GenerateKey(rand.Reader, 2048)
	case RSA3072:
		return rsa.GenerateKey(rand.Reader, 3072)
	case P256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case P384:
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	}
	return nil, fmt.Errorf("stand-in QTSP: key of type %q", t)
}

// leaf is the certificate of a credential that has one.
func (c *credential) leaf() (*x509.Certificate, error) { return x509.ParseCertificate(c.chain[0]) }

// OTP is the one-time password that was last sent to a user, as if it were read
// from the phone; empty if none is waiting.
func (s *Server) OTP(user string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u := s.users[user]; u != nil {
		return u.otp
	}
	return ""
}

// sendOTP makes a new one-time password; an older one is worth nothing then.
func (s *Server) sendOTP(u *User) {
	n, err := rand.Int(rand.Reader, big.NewInt(1e6))
	if err != nil {
		panic(err) // never fails (crypto/rand)
	}
	u.otp, u.otpEnds = fmt.Sprintf("%06d", n), s.c.Now().Add(5*time.Minute)
}

// Agree is the user's yes, on the phone, to the credential's use that waits for it.
func (s *Server) Agree(credentialID string) { s.onPhone(credentialID, true) }

// Decline is the no.
func (s *Server) Decline(credentialID string) { s.onPhone(credentialID, false) }

func (s *Server) onPhone(id string, yes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.credentials[id]; c != nil {
		c.agreed, c.decline = yes, !yes
	}
}

// spent forgets what a OneShot credential had for one authorisation.
func (c *credential) spent() {
	if c.OneShot {
		c.Key, c.chain = nil, nil
	}
}

// Leaf is the certificate of a credential, DER; nil before a OneShot authorisation,
// and after its use.
func (s *Server) Leaf(credentialID string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.credentials[credentialID]; c != nil && len(c.chain) > 0 {
		return c.chain[0]
	}
	return nil
}
