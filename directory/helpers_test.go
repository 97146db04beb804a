package directory

import (
	"encoding/pem"
	"testing"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
)

// flatten gives the terms of a compiled filter in their order: "equal ATTRIBUTE
// VALUE" or "initial ATTRIBUTE VALUE".
func flatten(p *ber.Packet) []string {
	switch p.Tag {
	case ldap.FilterAnd, ldap.FilterOr:
		var all []string
		for _, c := range p.Children {
			all = append(all, flatten(c)...)
		}
		return all
	case ldap.FilterEqualityMatch:
		return []string{"equal " + p.Children[0].Data.String() + " " + p.Children[1].Data.String()}
	case ldap.FilterSubstrings:
		parts := p.Children[1].Children
		if len(parts) == 1 && parts[0].Tag == ldap.FilterSubstringsInitial {
			return []string{"initial " + p.Children[0].Data.String() + " " + parts[0].Data.String()}
		}
	}
	return []string{"something else: " + ldap.FilterMap[uint64(p.Tag)]}
}

func pemBytes(t *testing.T, b []byte) []byte {
	t.Helper()
	block, _ := pem.Decode(b)
	if block == nil {
		t.Fatal("no PEM")
	}
	return block.Bytes
}
