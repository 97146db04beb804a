package qualified

import (
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"
)

// Limits of a qcStatements extension. Those seen have below 300 bytes.
const (
	maxStatements = 64
	maxStatement  = 16 << 10 // bytes of the extension
	maxValues     = 64       // of one statement
)

// Object identifiers of EN 319 412-5 and RFC 3739, clause 3.2.6.
var (
	oidStatements  = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 3}
	oidCompliance  = asn1.ObjectIdentifier{0, 4, 0, 1862, 1, 1}
	oidSSCD        = asn1.ObjectIdentifier{0, 4, 0, 1862, 1, 4}
	oidType        = asn1.ObjectIdentifier{0, 4, 0, 1862, 1, 6}
	oidLegislation = asn1.ObjectIdentifier{0, 4, 0, 1862, 1, 7}
)

// Statements is what the qcStatements extension says (RFC 3739, clause 3.2.6; ETSI EN
// 319 412-5).
type Statements struct {
	Compliance bool     // QcCompliance: it is issued as a qualified certificate (clause 4.2.1)
	SSCD       bool     // QcSSCD: the key is in a QSCD (clause 4.2.2)
	Types      []Type   // QcType (clause 4.2.3)
	Countries  []string // QcCClegislation: qualified under the law of these, not of the EU (clause 4.2.4)
}

// Type is a value of QcType.
type Type string

// The types. Others stand as their OID.
const (
	ESign Type = "esign"
	ESeal Type = "eseal"
	Web   Type = "web"
)

var types = map[string]Type{"0.4.0.1862.1.6.1": ESign, "0.4.0.1862.1.6.2": ESeal, "0.4.0.1862.1.6.3": Web}

// ParseStatements reads a certificate's statements. A certificate without any has
// the zero value. Statements that are not known are passed over. The error is for
// an extension that is no DER of its kind, that says a thing twice, or is beyond the limits.
func ParseStatements(c *x509.Certificate) (Statements, error) {
	for _, x := range c.Extensions {
		if x.Id.Equal(oidStatements) {
			s, err := parseStatements(x.Value)
			if err != nil {
				return Statements{}, fmt.Errorf("reading qcStatements: %w", err)
			}
			return s, nil
		}
	}
	return Statements{}, nil
}

func parseStatements(der []byte) (s Statements, err error) {
	in := cryptobyte.String(der)
	var list cryptobyte.String
	if len(der) > maxStatement || !in.ReadASN1(&list, tag.SEQUENCE) || !in.Empty() {
		return s, errors.New("no SEQUENCE of statements")
	}
	seen := map[string]bool{}
	for n := 0; !list.Empty(); n++ {
		var one cryptobyte.String
		var id asn1.ObjectIdentifier
		if n == maxStatements || !list.ReadASN1(&one, tag.SEQUENCE) || !one.ReadASN1ObjectIdentifier(&id) {
			return s, errors.New("no statement")
		}
		if seen[id.String()] {
			return s, fmt.Errorf("statement %v twice", id)
		}
		seen[id.String()] = true
		if err := s.read(id, one); err != nil {
			return s, fmt.Errorf("statement %v: %w", id, err)
		}
	}
	return s, nil
}

// read takes a statement by its identifier, with what follows that.
func (s *Statements) read(id asn1.ObjectIdentifier, info cryptobyte.String) error {
	switch {
	case id.Equal(oidCompliance):
		s.Compliance = true
		return nothing(info)
	case id.Equal(oidSSCD):
		s.SSCD = true
		return nothing(info)
	case id.Equal(oidType):
		return each(info, func(list *cryptobyte.String) bool {
			var oid asn1.ObjectIdentifier
			if !list.ReadASN1ObjectIdentifier(&oid) {
				return false
			}
			t, ok := types[oid.String()]
			if !ok {
				t = Type(oid.String())
			}
			s.Types = append(s.Types, t)
			return true
		})
	case id.Equal(oidLegislation):
		return each(info, func(list *cryptobyte.String) bool {
			var country cryptobyte.String
			if !list.ReadASN1(&country, tag.PrintableString) || len(country) != 2 {
				return false
			}
			s.Countries = append(s.Countries, string(country))
			return true
		})
	}
	return nil
}

func nothing(info cryptobyte.String) error {
	if !info.Empty() {
		return errors.New("it has information, and must have none")
	}
	return nil
}

// each reads a SEQUENCE of one value at least.
func each(info cryptobyte.String, read func(*cryptobyte.String) bool) error {
	var list cryptobyte.String
	if !info.ReadASN1(&list, tag.SEQUENCE) || !info.Empty() || list.Empty() {
		return errors.New("no SEQUENCE of values")
	}
	for n := 0; !list.Empty(); n++ {
		if n == maxValues || !read(&list) {
			return errors.New("a value of another kind, or too many")
		}
	}
	return nil
}
