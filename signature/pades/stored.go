package pades

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"
)

// MarshalBinary gives what must be kept of a preparation beside its Suffix and
// Attributes: a line of JSON, then the DER of its certificates one after the
// other. (Within the JSON they would take as long as a signature's verification.)
func (p *Preparation) MarshalBinary() ([]byte, error) {
	out, err := json.Marshal(p)
	return append(append(out, '\n'), bytes.Join(p.Certificates, nil)...), err
}

// UnmarshalBinary reads what MarshalBinary gave. Suffix and Attributes are left
// as they are.
func (p *Preparation) UnmarshalBinary(b []byte) error {
	line, certs, _ := bytes.Cut(b, []byte("\n"))
	if err := json.Unmarshal(line, p); err != nil {
		return fmt.Errorf("a kept preparation: %w", err)
	}
	p.certs, p.Certificates, p.hashed = nil, nil, nil
	for in := cryptobyte.String(certs); !in.Empty(); {
		var der cryptobyte.String
		if !in.ReadASN1Element(&der, tag.SEQUENCE) {
			return errors.New("a kept preparation: its certificates are broken")
		}
		p.Certificates = append(p.Certificates, der)
	}
	return nil
}
