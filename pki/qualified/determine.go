package qualified

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"milterd/pki/trustlist"
)

// applied is when Regulation (EU) 910/2014 came to apply.
var applied = time.Date(2016, 6, 30, 22, 0, 0, 0, time.UTC) // 1 July in Brussels

// claim is a certificate's statements with what the trusted list says of it.
type claim struct {
	Statements
	entry  *trustlist.Entry
	issued time.Time // the certificate
}

func (c claim) has(qualifiers ...string) bool {
	return slices.ContainsFunc(qualifiers, func(q string) bool { return slices.Contains(c.entry.Qualifiers, q) })
}

// checkQcCompliance determines whether a certificate is qualified (TS 119 615, clause 4.4; EN
// 319 412-5, clause 4.2.1): the list's word before the certificate's.
func (c claim) checkQcCompliance() (Outcome, string, *Refusal) {
	not, is := c.has(trustlist.NotQualified), c.has(trustlist.QCStatement)
	switch {
	case not && is:
		return "", "", refuse(Contradictory, fmt.Errorf("NotQualified and QCStatement"))
	case not:
		return "", "", refuse(NotQualified, fmt.Errorf("the list says NotQualified"))
	case is:
		return Passed, "The trusted list says that the certificate is qualified.", nil
	case !c.Compliance:
		return "", "", refuse(NotQualified, fmt.Errorf("the certificate has no QcCompliance"))
	case len(c.Countries) > 0 && c.entry.Own:
		return Noted, "The certificate says that it is qualified under the law of " + strings.Join(c.Countries, ", ") + " (QcCClegislation).", nil
	case len(c.Countries) > 0:
		return "", "", refuse(NotQualified, fmt.Errorf("QcCClegislation: qualified under the law of %s, not of the EU", strings.Join(c.Countries, ", ")))
	}
	return Passed, "The certificate says that it is qualified.", nil
}

// uses are what a purpose is called in lists and certificates.
var uses = map[Purpose]struct {
	qualifier, service string
	statement          Type
	reason             Reason
}{
	ForSignature: {trustlist.QCForESig, trustlist.ForESignatures, ESign, NotForSignature},
	ForSeal:      {trustlist.QCForESeal, trustlist.ForESeals, ESeal, NotForSeal},
}

// checkQcType determines what a qualified certificate is for (TS 119 615, clause 4.4; EN
// 319 412-5, clause 4.2.3). A certificate without QcType is for signatures.
func (c claim) checkQcType(p Purpose) (Outcome, string, *Refusal) {
	use := uses[p]
	var said []string
	for _, q := range []string{trustlist.QCForESig, trustlist.QCForESeal, trustlist.QCForWSA} {
		if c.has(q) {
			said = append(said, q)
		}
	}
	switch {
	case len(said) > 1 || c.has(trustlist.QCForESig) && c.has(trustlist.QCForLegalPerson):
		return "", "", refuse(Contradictory, fmt.Errorf("qualifiers %v", c.entry.Qualifiers))
	case len(said) == 1 && said[0] != use.qualifier:
		return "", "", refuse(use.reason, fmt.Errorf("the list says %s", said[0]))
	case p == ForSignature && c.has(trustlist.QCForLegalPerson):
		return "", "", refuse(use.reason, fmt.Errorf("the list says QCForLegalPerson"))
	case len(said) == 0 && len(c.Types) == 0 && use.statement != ESign,
		len(said) == 0 && len(c.Types) > 0 && !slices.Contains(c.Types, use.statement):
		return "", "", refuse(use.reason, fmt.Errorf("QcType %v", c.Types))
	case !c.entry.Own && !c.issued.Before(applied) && !slices.Contains(c.entry.Purposes, use.service):
		return "", "", refuse(use.reason, fmt.Errorf("the service is for %v, not %s", c.entry.Purposes, use.service))
	case len(said) == 1:
		return Passed, "The trusted list says " + said[0] + ".", nil
	case len(c.Types) > 1:
		return Noted, fmt.Sprintf("The certificate has several types: %v.", c.Types), nil
	case len(c.Types) == 0:
		return Noted, "The certificate has no QcType, so it is for signatures.", nil
	}
	return Passed, fmt.Sprintf("The certificate says %s.", c.Types[0]), nil
}

// checkQcSSCD determines whether the key is in a qualified device (TS 119 615, clause 4.5; EN
// 319 412-5, clause 4.2.2). SSCD is what a QSCD was called before the Regulation;
// those devices count for certificates of that time (article 51(1)), so the old
// qualifier counts for them only.
func (c claim) checkQcSSCD() (Outcome, string, *Refusal) {
	with := c.has(trustlist.QCWithQSCD, trustlist.QCQSCDManagedOnBehalf) || c.has(trustlist.QCWithSSCD) && c.issued.Before(applied)
	without := c.has(trustlist.QCNoQSCD, trustlist.QCNoSSCD)
	asInCert := c.has(trustlist.QCQSCDStatusAsInCert, trustlist.QCSSCDStatusAsInCert)
	switch {
	case without && with:
		return "", "", refuse(Contradictory, fmt.Errorf("qualifiers %v", c.entry.Qualifiers))
	case without:
		return "", "", refuse(NoQSCD, fmt.Errorf("the list says that there is no QSCD"))
	case with && !asInCert:
		return Passed, "The trusted list says that the key is in a qualified device.", nil
	case !c.SSCD:
		return "", "", refuse(NoQSCD, fmt.Errorf("the certificate has no QcSSCD"))
	}
	return Passed, "The certificate says that the key is in a qualified device.", nil
}
