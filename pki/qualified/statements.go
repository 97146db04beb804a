package qualified

import (
	"crypto/x509"
	"errors"
)

// Statements is what the qcStatements extension says (RFC 3739, clause 3.2.6; ETSI EN
// 319 412-5).
type Statements struct {
	Compliance bool     // QcCompliance: it is issued as an EU qualified certificate (clause 4.2.1)
	SSCD       bool     // QcSSCD: the key is in a QSCD (clause 4.2.2)
	Types      []Type   // QcType (clause 4.2.3)
	Countries  []string // QcCClegislation: qualified under the law of these, not of the EU (clause 4.2.4)
}

// Type is a value of QcType.
type Type string

// The types.
const (
	ESign Type = "esign"
	ESeal Type = "eseal"
	Web   Type = "web"
)

// ParseStatements reads a certificate's statements. A certificate without any has
// the zero value. Statements that are not known are passed over.
func ParseStatements(c *x509.Certificate) (Statements, error) {
	return Statements{}, errors.New("not built yet")
}
