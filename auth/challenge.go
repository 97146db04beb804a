package auth

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"

	"github.com/go-webauthn/webauthn/protocol"

	"milterd/workflow"
)

// What a passkey is asked for. The label is part of the challenge, so that an
// answer given for one purpose serves no other.
const (
	LabelOpen    = "open"    // to open the documents; no digests
	LabelEnrol   = "enrol"   // to register the passkey itself: the digest of the device key
	LabelKey     = "key"     // to have a new device key certified: its digest
	LabelApprove = "approve" // to approve an enrolment: see ApprovalOf
	LabelSign    = "sign"    // Standard: digests of the documents; Advanced: of their signed attributes
)

// nonceSize is the length of a challenge's random part.
const nonceSize = 32

// Challenge is what a passkey signs: SHA-256 over "milterd/" and the label, the
// session's id and the person's mail address, each ended by a zero byte; then
// the number of digests (four bytes, the highest first), the digests in their
// order, and the nonce of 32 bytes.
func Challenge(label, session, mail string, digests []workflow.Digest, nonce []byte) workflow.Digest {
	h := sha256.New()
	io.WriteString(h, "milterd/"+strings.Join([]string{label, session, mail}, "\x00")+"\x00")
	h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(digests))))
	for _, d := range digests {
		h.Write(d[:])
	}
	h.Write(nonce)
	var d workflow.Digest
	h.Sum(d[:0])
	return d
}

// ApprovalOf is the digest that stands for an enrolment where a passkey approves it.
func ApprovalOf(enrolment string) workflow.Digest { return sha256.Sum256([]byte(enrolment)) }

// KeyOf gives the digest of the key in a certificate signing request (PKCS #10,
// DER): SHA-256 of its SubjectPublicKeyInfo. Whether the request is a good one
// the Certifier decides.
func KeyOf(csr []byte) (workflow.Digest, error) {
	r, err := x509.ParseCertificateRequest(csr)
	if err != nil {
		return workflow.Digest{}, refuseBy("bad-csr", "The request for a certificate cannot be read. Please load the page again.", err)
	}
	return sha256.Sum256(r.RawSubjectPublicKeyInfo), nil
}

// CheckAssertion tells from the fields of an assertion alone whether a passkey
// approved what it says (W3C WebAuthn, 7.2): the challenge is made of label,
// session, mail, digests and nonce, the answer was given at the origin for its
// host, the person was verified, and the signature holds under the public key.
// That the key was the person's, the evidence around it must say.
func CheckAssertion(a *workflow.Assertion) error {
	if len(a.Nonce) != nonceSize {
		return errors.New("assertion: the passkey's nonce does not have 32 bytes")
	}
	if origin, err := url.Parse(a.Origin); err != nil || origin.Hostname() != a.RelyingParty {
		return errors.New("assertion: the passkey's origin is not its relying party's")
	}
	id, err := base64.RawURLEncoding.DecodeString(a.Credential)
	if err != nil || len(id) == 0 {
		return fmt.Errorf("assertion: the passkey's id cannot be read: %w", err)
	}
	raw := protocol.CredentialAssertionResponse{
		PublicKeyCredential: protocol.PublicKeyCredential{
			Credential: protocol.Credential{ID: a.Credential, Type: string(protocol.PublicKeyCredentialType)}, RawID: id},
		AssertionResponse: protocol.AuthenticatorAssertionResponse{
			AuthenticatorResponse: protocol.AuthenticatorResponse{ClientDataJSON: a.ClientData},
			AuthenticatorData:     a.AuthenticatorData, Signature: a.Signature},
	}
	parsed, err := raw.Parse()
	if err != nil {
		return fmt.Errorf("assertion: the passkey's answer cannot be read: %w", err)
	}
	c := Challenge(a.Label, a.Session, a.Mail, a.Digests, a.Nonce)
	err = parsed.Verify(encode(c[:]), a.RelyingParty, "", []string{a.Origin}, nil, nil, protocol.TopOriginExplicitVerificationMode,
		false, true, true, a.PublicKey, protocol.SignaturePolicy{})
	if err != nil {
		return fmt.Errorf("assertion: the passkey did not approve this: %w", err)
	}
	return nil
}

// encode is base64url without padding, as WebAuthn writes bytes.
func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// Proofs says which proofs a level accepts for signing: "code", "passkey", "totp".
type Proofs map[workflow.Level][]string

// The names of proofs.
const (
	ProofCode    = "code"    // mailed
	ProofPasskey = "passkey" // bound to what is signed
	ProofTOTP    = "totp"    // of a device without WebAuthn
)

// DefaultProofs is what holds where nothing is configured. An Advanced
// signature needs a proof that is bound to the document.
func DefaultProofs() Proofs {
	return Proofs{workflow.Standard: {ProofCode, ProofPasskey, ProofTOTP}, workflow.Advanced: {ProofPasskey}}
}

// Check is a *Refusal "proof-not-accepted" unless a level accepts a proof.
func (p Proofs) Check(l workflow.Level, proof string) error {
	if slices.Contains(p[l], proof) {
		return nil
	}
	return refuse("proof-not-accepted", "This way to prove who you are does not suffice for this level of signature.")
}
