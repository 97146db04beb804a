package cms

import (
	"bytes"
	"fmt"
)

// Limits of ParseAll.
const (
	MaxAttached = 256 << 20 // bytes of a message with its content
	maxSigners  = 64
	maxMany     = 1024 // certificates, and CRLs with OCSP responses, of many signers
)

// ParseAll is Parse for CAdES: content may stand in the message, and several
// signers beside each other. It gives a Message for each, which share
// certificates and revocation data.
func ParseAll(der []byte) ([]*Message, error) {
	if len(der) > MaxAttached {
		return nil, fmt.Errorf("%w: %d bytes, limit %d", ErrFormat, len(der), MaxAttached)
	}
	m, signers, err := parse(der, maxMany, maxMany)
	if err != nil {
		return nil, err
	}
	if n := len(der) - len(m.Content); n > MaxSize {
		return nil, fmt.Errorf("%w: %d bytes beside the content, limit %d", ErrFormat, n, MaxSize)
	}
	if len(signers) == 0 || len(signers) > maxSigners {
		return nil, malformed(fmt.Sprintf("%d SignerInfos", len(signers)))
	}
	out := make([]*Message, len(signers))
	for i, si := range signers {
		one := *m
		one.index = i
		if err := one.readSigner(si); err != nil {
			return nil, err
		}
		out[i] = &one
	}
	return out, nil
}

// ParseBER is ParseAll for a message that may be BER, as other programs write it.
func ParseBER(b []byte) ([]*Message, error) {
	all, err := ParseAll(b)
	if err == nil {
		return all, nil
	}
	der, berErr := FromBER(b)
	if berErr != nil || bytes.Equal(der, b) {
		return nil, err
	}
	return ParseAll(der)
}
