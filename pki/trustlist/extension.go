package trustlist

import (
	"crypto/x509"
	"fmt"
	"slices"
	"strings"

	"milterd/signature/xades/dom"
)

// rule is a QualificationElement (TS 119 612, clause 5.5.9.2): qualifiers for the certificates that meet
// criteria.
type rule struct {
	qualifiers []string
	meets      criterion
}

// criterion is something that a certificate meets or does not.
type criterion func(*x509.Certificate) bool

// readExtension reads an extension of a service (clause 5.5.9). What cannot be
// read of a Qualifications extension makes the service unreadable, critical or
// not: it may be what says NotQualified.
func (t *state) readExtension(x *dom.Node) {
	critical := x.Attr("Critical") != "false" && x.Attr("Critical") != "0"
	known := false
	for _, k := range x.Elements() {
		switch {
		case k.Is(sieSpace, "Qualifications"):
			known = true
			rules, err := readRules(k)
			if err != nil {
				t.unreadable = fmt.Sprintf("qualifications: %v", err)
			}
			t.rules = append(t.rules, rules...)
		case k.Is(tslSpace, "AdditionalServiceInformation"):
			uri, err := one(k, "URI")
			if known = err == nil; known {
				t.purposes = append(t.purposes, strings.TrimPrefix(text(uri), infoPrefix))
			}
		case k.Is(tslSpace, "ExpiredCertsRevocationInfo"), k.Is(tslxSpace, "TakenOverBy"):
			known = true // nothing that is asked here depends on them
		}
	}
	if critical && !known && t.unreadable == "" {
		t.unreadable = "an extension that is critical and not known"
	}
}

func readRules(n *dom.Node) ([]rule, error) {
	var out []rule
	for _, k := range n.Elements() {
		if !k.Is(sieSpace, "QualificationElement") {
			return nil, fmt.Errorf("element %q", k.Local)
		}
		if len(out) == maxElements {
			return nil, fmt.Errorf("more than %d elements", maxElements)
		}
		qualifiers, lists := k.Find(sieSpace, "Qualifiers"), k.Find(sieSpace, "CriteriaList")
		if len(qualifiers) != 1 || len(lists) != 1 || len(k.Elements()) != 2 {
			return nil, fmt.Errorf("an element is not Qualifiers, CriteriaList")
		}
		r := rule{}
		for _, q := range qualifiers[0].Elements() {
			uri, ok := strings.CutPrefix(q.Attr("uri"), infoPrefix)
			i := slices.Index(qualifierNames, uri)
			if !ok || !q.Is(sieSpace, "Qualifier") || i < 0 {
				return nil, fmt.Errorf("qualifier %q", q.Attr("uri"))
			}
			r.qualifiers = append(r.qualifiers, qualifierNames[i]) // uri would keep the whole list in memory
		}
		budget := maxCriteria
		var err error
		if r.meets, err = readCriteria(lists[0], 0, &budget); err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

var qualifierNames = []string{
	QCWithSSCD, QCNoSSCD, QCSSCDStatusAsInCert, QCWithQSCD, QCNoQSCD, QCQSCDStatusAsInCert, QCQSCDManagedOnBehalf,
	QCForLegalPerson, QCForESig, QCForESeal, QCForWSA, QCStatement, NotQualified,
}

// readCriteria reads a CriteriaList (clause 5.5.9.2.2). An assertion or a
// criterion that is not known is an error.
func readCriteria(n *dom.Node, depth int, budget *int) (criterion, error) {
	if depth > maxNested {
		return nil, fmt.Errorf("criteria more than %d deep", maxNested)
	}
	var all []criterion
	for _, k := range n.Elements() {
		if *budget--; *budget < 0 {
			return nil, fmt.Errorf("more than %d criteria", maxCriteria)
		}
		var c criterion
		var err error
		switch {
		case k.Is(sieSpace, "KeyUsage"):
			c, err = keyUsage(k)
		case k.Is(sieSpace, "PolicySet"):
			c, err = policySet(k)
		case k.Is(sieSpace, "CriteriaList"):
			c, err = readCriteria(k, depth+1, budget)
		case k.Is(sieSpace, "otherCriteriaList"):
			c, err = others(k)
		case k.Is(sieSpace, "Description"):
			continue
		default:
			err = fmt.Errorf("criterion %q", k.Local)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("no criteria")
	}
	switch n.Attr("assert") {
	case "all":
		return every(all), nil
	case "atLeastOne":
		return some(all), nil
	case "none":
		return func(c *x509.Certificate) bool { return !some(all)(c) }, nil
	}
	return nil, fmt.Errorf("criteria assert %q", n.Attr("assert"))
}

func every(all []criterion) criterion {
	return func(c *x509.Certificate) bool {
		return !slices.ContainsFunc(all, func(meets criterion) bool { return !meets(c) })
	}
}

func some(all []criterion) criterion {
	return func(c *x509.Certificate) bool {
		return slices.ContainsFunc(all, func(meets criterion) bool { return meets(c) })
	}
}

var usageBits = map[string]x509.KeyUsage{
	"digitalSignature": x509.KeyUsageDigitalSignature, "nonRepudiation": x509.KeyUsageContentCommitment,
	"keyEncipherment": x509.KeyUsageKeyEncipherment, "dataEncipherment": x509.KeyUsageDataEncipherment,
	"keyAgreement": x509.KeyUsageKeyAgreement, "keyCertSign": x509.KeyUsageCertSign, "crlSign": x509.KeyUsageCRLSign,
	"encipherOnly": x509.KeyUsageEncipherOnly, "decipherOnly": x509.KeyUsageDecipherOnly,
}

// keyUsage is met when each bit that is named has the value that is named with it.
func keyUsage(n *dom.Node) (criterion, error) {
	var mask, want x509.KeyUsage
	for _, k := range n.Elements() {
		bit, ok := usageBits[k.Attr("name")]
		if !ok || !k.Is(sieSpace, "KeyUsageBit") {
			return nil, fmt.Errorf("key usage %q", k.Attr("name"))
		}
		mask |= bit
		switch text(k) {
		case "true", "1":
			want |= bit
		case "false", "0":
		default:
			return nil, fmt.Errorf("key usage %q is %q", k.Attr("name"), text(k))
		}
	}
	if mask == 0 {
		return nil, fmt.Errorf("key usage without bits")
	}
	return func(c *x509.Certificate) bool { return c.KeyUsage&mask == want }, nil
}

// policySet is met by certificates with every policy that is named.
func policySet(n *dom.Node) (criterion, error) {
	var all []criterion
	for _, k := range n.Elements() {
		if !k.Is(sieSpace, "PolicyIdentifier") {
			return nil, fmt.Errorf("policy %q", k.Local)
		}
		oid, err := identifier(k)
		if err != nil {
			return nil, err
		}
		all = append(all, func(c *x509.Certificate) bool {
			return slices.ContainsFunc(c.Policies, func(p x509.OID) bool { return p.String() == oid })
		})
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("policy set without policies")
	}
	return every(all), nil
}

// others reads the two criteria that annex C adds: extended key usages and
// attributes of the subject, all of which must be there.
func others(n *dom.Node) (criterion, error) {
	var all []criterion
	for _, k := range n.Elements() {
		for _, v := range k.Elements() {
			oid, err := identifier(v)
			switch {
			case err != nil:
				return nil, err
			case k.Is(tslxSpace, "ExtendedKeyUsage") && v.Is(tslxSpace, "KeyPurposeId"):
				all = append(all, func(c *x509.Certificate) bool { return slices.Contains(extendedUsages(c), oid) })
			case k.Is(tslxSpace, "CertSubjectDNAttribute") && v.Is(tslxSpace, "AttributeOID"):
				all = append(all, func(c *x509.Certificate) bool { return hasAttribute(c, oid) })
			default:
				return nil, fmt.Errorf("criterion %q", k.Local)
			}
		}
		if len(k.Elements()) == 0 {
			return nil, fmt.Errorf("criterion %q", k.Local)
		}
	}
	if len(all) == 0 || len(all) > maxCriteria {
		return nil, fmt.Errorf("%d other criteria", len(all))
	}
	return every(all), nil
}

// identifier reads the xades:Identifier of a policy or another object: an OID, as it is or as
// a URN.
func identifier(n *dom.Node) (string, error) {
	ids := n.Find(xadesSpace, "Identifier")
	if len(ids) != 1 {
		return "", fmt.Errorf("%s without one identifier", n.Local)
	}
	oid := strings.TrimPrefix(strings.ToLower(text(ids[0])), "urn:oid:")
	if _, err := x509.ParseOID(oid); err != nil {
		return "", fmt.Errorf("identifier %q", oid)
	}
	return oid, nil
}

func hasAttribute(c *x509.Certificate, oid string) bool {
	for _, a := range c.Subject.Names {
		if a.Type.String() == oid {
			return true
		}
	}
	return false
}

// extendedUsages gives the OIDs of a certificate's extended key usages, as they
// stand there: Go gives names to some and leaves OIDs to the others.
func extendedUsages(c *x509.Certificate) []string {
	for _, x := range c.Extensions {
		if x.Id.String() == "2.5.29.37" {
			return readOIDs(x.Value)
		}
	}
	return nil
}

// qualifiersOf are those of the rules that a certificate meets.
func (t *state) qualifiersOf(c *x509.Certificate) (out []string) {
	for _, r := range t.rules {
		if r.meets(c) {
			out = append(out, r.qualifiers...)
		}
	}
	return out
}
