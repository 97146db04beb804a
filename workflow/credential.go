package workflow

import (
	"context"
	"crypto/x509"
	"time"
)

// CredentialKind says what a person is recognised by, beside a mailed code.
type CredentialKind string

// The kinds of credential.
const (
	Passkey CredentialKind = "passkey" // WebAuthn, user verification required
	TOTP    CredentialKind = "totp"    // RFC 6238, for devices without WebAuthn
	// QualifiedCertificate is one of another authority that is registered as
	// its person's: by it signatures with other authorities' certificates are recognised, and nothing else.
	QualifiedCertificate CredentialKind = "certificate"
)

// Credential is what a person has enrolled at a device. It becomes one by a
// mailed code and a second proof: a mailbox alone never does (decision 7).
type Credential struct {
	ID         string         `json:"id"`   // passkey: its WebAuthn id, base64url; TOTP: random
	Mail       string         `json:"mail"` // whose: the primary address
	Kind       CredentialKind `json:"kind"`
	Name       string         `json:"name"` // of the device, as its person knows it: "Safari on iPhone"
	Data       []byte         `json:"data"` // auth's own: a WebAuthn credential, or an encrypted secret; of a certificate its DER
	Enrolled   time.Time      `json:"enrolled"`
	ApprovedBy string         `json:"approved_by"` // the second proof: "directory password", "device Safari on iPhone", "identity card", "administrator"; of a certificate also "first signature"
	Used       time.Time      `json:"used,omitzero"`
	Revoked    time.Time      `json:"revoked,omitzero"`
	RevokedBy  string         `json:"revoked_by,omitempty"` // mail address or "administrator"
}

// Ceremony is what was begun at a page and ends there at most once: an enrolment, a
// passkey's challenge, a preparation.
type Ceremony struct {
	ID      string    `json:"id"` // random, 16 base32 digits or more
	Kind    string    `json:"kind"`
	Session string    `json:"session"`
	Person  int       `json:"person"`
	Mail    string    `json:"mail"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"`
	Data    []byte    `json:"data"` // JSON of whoever began it
}

// Certificate is an entry of the authority's register: it stands there before
// the certificate is signed (check, persist, audit, sign).
type Certificate struct {
	Serial     string    `json:"serial"`               // lower-case hex, without leading zeros
	Mail       string    `json:"mail,omitempty"`       // whose; empty for one of the authority's own
	Name       string    `json:"name"`                 // commonName, from the directory
	Credential string    `json:"credential,omitempty"` // the device's
	By         string    `json:"by"`                   // what allowed it: "enrolment", "passkey", "device key SERIAL"
	Key        Digest    `json:"key"`                  // SHA-256 of the SubjectPublicKeyInfo
	PublicKey  []byte    `json:"public_key"`           // SubjectPublicKeyInfo, DER
	DER        []byte    `json:"der,omitempty"`        // empty: never signed
	NotBefore  time.Time `json:"not_before"`
	NotAfter   time.Time `json:"not_after"`
	Revoked    time.Time `json:"revoked,omitzero"`
	Reason     int       `json:"reason,omitempty"` // RFC 5280, 5.3.1
}

// CertificateFilter chooses certificates; zero fields choose all.
type CertificateFilter struct {
	Mail       string
	Credential string
	Key        Digest
	Revoked    bool      // only revoked ones
	ValidAfter time.Time // only those whose NotAfter is later
	Limit      int       // 0 means no limit
}

// Certifier is the authority that certifies people's own keys. Its errors are
// a *Refusal where the request is at fault.
type Certifier interface {
	// Draft checks a certificate signing request (PKCS #10) for its form, its
	// key and that whoever made it has the key, and draws up the entry for
	// the register. Nothing but the key is taken from the request: the subject is p.
	// Reasons: "bad-csr", "weak-key".
	Draft(p Person, csr []byte, now time.Time) (*Certificate, error)
	// Issue signs what Draft drew up and fills its DER.
	Issue(ctx context.Context, c *Certificate) error
	// Issuers is the chain above such certificates, DER, the issuing CA first.
	Issuers() [][]byte
	// Above is the chain above one that was issued before, perhaps under
	// another name of the authority; nothing for a foreign one.
	Above(c *x509.Certificate) []*x509.Certificate
}

// Assertion is the evidence of a passkey's proof. With it anybody can compute again, from these
// fields alone, that the person's passkey approved exactly these digests:
// the challenge in ClientData is Challenge(…), and Signature verifies over
// AuthenticatorData ‖ SHA-256(ClientData) under PublicKey (W3C WebAuthn, 7.2).
type Assertion struct {
	Label             string   `json:"label"` // what for: "sign"
	Session           string   `json:"session"`
	Mail              string   `json:"mail"`
	Digests           []Digest `json:"digests"`
	Nonce             []byte   `json:"nonce"` // 32 random bytes
	RelyingParty      string   `json:"relying_party"`
	Origin            string   `json:"origin"`
	Credential        string   `json:"credential"`
	PublicKey         []byte   `json:"public_key"` // COSE_Key
	AuthenticatorData []byte   `json:"authenticator_data"`
	ClientData        []byte   `json:"client_data"`
	Signature         []byte   `json:"signature"`
}

// Prepared is one document's revision that waits for its signatory's own value
// (decision 10). It is plain data: what JSON keeps of it suffices to complete it.
type Prepared struct {
	Document   int    `json:"document"`
	Revision   int    `json:"revision"`   // number of the head that Suffix follows
	Head       Digest `json:"head"`       // of that head
	SHA256     Digest `json:"sha256"`     // of head and Suffix: the revision that the page loads
	Size       int64  `json:"size"`       // of the same
	Suffix     []byte `json:"suffix"`     // with Contents all zero; of what is no PDF, the manifest, which follows nothing
	Attributes []byte `json:"attributes"` // DER of the signed attributes: this is what the device signs; empty before Take
	Signer     []byte `json:"signer"`     // the Signer's own
	Value      []byte `json:"value,omitempty"`

	// Where the certificate is known only with the signature, which is made elsewhere:
	Digest []byte `json:"digest,omitempty"` // of all but the place for the signature: this is what is signed for
	Made   []byte `json:"made,omitempty"`   // the complete signature, as Take found it good
}

// SignedBy is what stays of a signatory's own signature as evidence.
type SignedBy struct {
	Document    int    `json:"document"`
	Attributes  []byte `json:"attributes"` // DER, as they were signed
	Value       []byte `json:"value"`
	Certificate string `json:"certificate"` // serial
}
