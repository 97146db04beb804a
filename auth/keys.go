package auth

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Keys derives tokens, codes and the keys that hash what is stored, all from
// one master key. It implements workflow.Secrets.
type Keys struct {
	token, tokenHash, code, device, form []byte
	enrolment, user, totp                []byte
}

// NewKeys takes a master key of at least 32 bytes.
func NewKeys(master []byte) (*Keys, error) {
	if len(master) < 32 {
		return nil, errors.New("master key: want at least 32 bytes")
	}
	k := &Keys{}
	for label, dst := range map[string]*[]byte{
		"token": &k.token, "token hash": &k.tokenHash, "code": &k.code, "device": &k.device, "form": &k.form,
		"enrolment": &k.enrolment, "user": &k.user, "totp": &k.totp,
	} {
		b, err := hkdf.Key(sha256.New, master, nil, "milterd "+label, 32)
		if err != nil {
			return nil, fmt.Errorf("deriving the %s key: %w", label, err)
		}
		*dst = b
	}
	return k, nil
}

// Token gives a participant's link: 16 bytes as base64url, 22 characters.
func (k *Keys) Token(session string, person int) string {
	return base64.RawURLEncoding.EncodeToString(mac(k.token, session, fmt.Sprint(person))[:16])
}

// HeldToken gives the link that confirms a held mail, in the form of Token. No
// participant has the number that it stands for.
func (k *Keys) HeldToken(id string) string { return k.Token(id, -1) }

// TokenHash is what the store keeps of a token.
func (k *Keys) TokenHash(token string) []byte { return mac(k.tokenHash, token) }

// Code gives six decimal digits.
func (k *Keys) Code(session string, person int, challenge string) string {
	// 64 bits modulo 10^6: the bias is below 2^-44.
	n := binary.BigEndian.Uint64(mac(k.code, session, fmt.Sprint(person), challenge))
	return fmt.Sprintf("%06d", n%1_000_000)
}

// DeviceHash is what the store keeps of a device cookie.
func (k *Keys) DeviceHash(cookie string) []byte { return mac(k.device, cookie) }

// FormKey is the key under which the pages protect their forms.
func (k *Keys) FormKey() []byte { return k.form }

// mac is HMAC-SHA256 over the parts, each ended by a zero byte.
func mac(key []byte, parts ...string) []byte {
	h := hmac.New(sha256.New, key)
	io.WriteString(h, strings.Join(parts, "\x00")+"\x00")
	return h.Sum(nil)
}
