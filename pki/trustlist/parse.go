package trustlist

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"milterd/signature/xades/dom"
)

// Namespaces of TS 119 612, annex C.
const (
	tslSpace   = "http://uri.etsi.org/02231/v2#"
	tslxSpace  = "http://uri.etsi.org/02231/v2/additionaltypes#"
	sieSpace   = "http://uri.etsi.org/TrstSvc/SvcInfoExt/eSigDir-1999-93-EC-TrustedList/#"
	xadesSpace = "http://uri.etsi.org/01903/v1.3.2#"
)

// Identifiers of TS 119 612, clause 5 and annex D.
const (
	typeLOTL     = "http://uri.etsi.org/TrstSvc/TrustedList/TSLType/EUlistofthelists"
	typeNational = "http://uri.etsi.org/TrstSvc/TrustedList/TSLType/EUgeneric"
	typeCAQC     = "http://uri.etsi.org/TrstSvc/Svctype/CA/QC"
	statusPrefix = "http://uri.etsi.org/TrstSvc/TrustedList/Svcstatus/"
	infoPrefix   = "http://uri.etsi.org/TrstSvc/TrustedList/SvcInfoExt/"
	mimeList     = "application/vnd.etsi.tsl+xml"
)

// Limits beyond those of package dom. The largest list of 2025 has about 10 MB
// and 500 services.
const (
	maxList       = 24 << 20 // bytes
	maxPointers   = 256
	maxProviders  = 4096
	maxServices   = 16384 // of a list
	maxStates     = 128   // of a service
	maxIdentities = 64    // of a service or a pointer
	maxElements   = 64    // qualification elements of a service's state
	maxCriteria   = 256   // of a qualification element
	maxNested     = 6     // criteria lists within each other
)

// list is what is kept of a trusted list.
type list struct {
	kind      string
	territory string
	sequence  int64
	issued    time.Time
	next      time.Time // zero: the list is closed (clause 5.3.15)
	sum       string
	pointers  []pointer
	services  []*service
}

// pointer leads to another list (clause 5.3.13).
type pointer struct {
	territory, location, kind, mime string
	signers                         []*x509.Certificate
}

// service is a trust service that is or was of type CA/QC, with its states, the
// newest first.
type service struct {
	provider, name string
	certs          []*x509.Certificate
	skis           [][]byte // of keys, where the list gives nothing more
	states         []state
	of             *list
}

// state is a time in a service's life (clauses 5.5.4 to 5.5.9, 5.6).
type state struct {
	qualified  bool // of type CA/QC then
	status     string
	since      time.Time
	purposes   []string
	rules      []rule
	unreadable string // what is critical and not understood; "" for nothing
}

// parseList reads a verified list. The error is for one that is no list of the version and
// kind that is read here.
func parseList(root *dom.Node, raw []byte) (*list, error) {
	sum := sha256.Sum256(raw)
	l := &list{sum: hex.EncodeToString(sum[:])}
	if !root.Is(tslSpace, "TrustServiceStatusList") {
		return nil, fmt.Errorf("the root is %q, no trusted list", root.Local)
	}
	info, err := one(root, "SchemeInformation")
	if err != nil {
		return nil, err
	}
	if err := l.readScheme(info); err != nil {
		return nil, err
	}
	providers, err := optional(root, "TrustServiceProviderList")
	if err != nil || providers == nil {
		return l, err
	}
	all := providers.Find(tslSpace, "TrustServiceProvider")
	if len(all) > maxProviders {
		return nil, fmt.Errorf("more than %d providers", maxProviders)
	}
	for _, n := range all {
		if err := l.readProvider(n); err != nil {
			return nil, err
		}
	}
	return l, nil
}

func (l *list) readScheme(info *dom.Node) error {
	texts := map[string]string{}
	for _, name := range []string{"TSLVersionIdentifier", "TSLSequenceNumber", "TSLType", "SchemeTerritory", "ListIssueDateTime"} {
		n, err := one(info, name)
		if err != nil {
			return err
		}
		texts[name] = text(n)
	}
	// 5 is version 2.1 to 2.2 of TS 119 612, 6 is 2.3 and later (clause 5.3.1).
	if v := texts["TSLVersionIdentifier"]; v != "5" && v != "6" {
		return fmt.Errorf("version %q of trusted lists", v)
	}
	var err error
	if l.sequence, err = strconv.ParseInt(texts["TSLSequenceNumber"], 10, 64); err != nil || l.sequence < 1 {
		return fmt.Errorf("sequence number %q", texts["TSLSequenceNumber"])
	}
	if l.kind = texts["TSLType"]; l.kind != typeLOTL && l.kind != typeNational {
		return fmt.Errorf("list of type %q", l.kind)
	}
	if l.territory = texts["SchemeTerritory"]; !isTerritory(l.territory) {
		return fmt.Errorf("territory %q", l.territory)
	}
	if l.issued, err = instant(texts["ListIssueDateTime"]); err != nil {
		return fmt.Errorf("issue date: %w", err)
	}
	next, err := one(info, "NextUpdate")
	if err != nil {
		return err
	}
	when, err := optional(next, "dateTime")
	if err != nil {
		return err
	}
	if when != nil {
		if l.next, err = instant(text(when)); err != nil {
			return fmt.Errorf("next update: %w", err)
		}
	}
	pointers, err := optional(info, "PointersToOtherTSL")
	if err != nil || pointers == nil {
		return err
	}
	all := pointers.Find(tslSpace, "OtherTSLPointer")
	if len(all) > maxPointers {
		return fmt.Errorf("more than %d pointers", maxPointers)
	}
	for _, n := range all {
		p, err := readPointer(n)
		if err != nil {
			return fmt.Errorf("pointer: %w", err)
		}
		l.pointers = append(l.pointers, p)
	}
	return nil
}

func readPointer(n *dom.Node) (p pointer, err error) {
	if ids, err := optional(n, "ServiceDigitalIdentities"); err != nil {
		return p, err
	} else if ids != nil {
		for _, id := range ids.Find(tslSpace, "ServiceDigitalIdentity") {
			certs, _, err := readIdentity(id)
			if err != nil {
				return p, err
			}
			if p.signers = append(p.signers, certs...); len(p.signers) > maxIdentities {
				return p, fmt.Errorf("more than %d certificates", maxIdentities)
			}
		}
	}
	location, err := one(n, "TSLLocation")
	if err != nil {
		return p, err
	}
	p.location = text(location)
	more, err := optional(n, "AdditionalInformation")
	if err != nil || more == nil {
		return p, err
	}
	for _, other := range more.Find(tslSpace, "OtherInformation") {
		for _, k := range other.Elements() {
			switch {
			case k.Is(tslSpace, "TSLType"):
				p.kind = text(k)
			case k.Is(tslSpace, "SchemeTerritory"):
				p.territory = text(k)
			case k.Is(tslxSpace, "MimeType"):
				p.mime = text(k)
			}
		}
	}
	return p, nil
}

func (l *list) readProvider(n *dom.Node) error {
	info, err := one(n, "TSPInformation")
	if err != nil {
		return err
	}
	provider, err := name(info, "TSPName")
	if err != nil {
		return err
	}
	services, err := optional(n, "TSPServices")
	if err != nil || services == nil {
		return err
	}
	for _, k := range services.Find(tslSpace, "TSPService") {
		s, err := readService(k)
		if err != nil {
			return fmt.Errorf("a service of %q: %w", provider, err)
		}
		if !slices.ContainsFunc(s.states, func(s state) bool { return s.qualified }) {
			continue
		}
		s.provider, s.of = provider, l
		if l.services = append(l.services, s); len(l.services) > maxServices {
			return fmt.Errorf("more than %d services", maxServices)
		}
	}
	return nil
}

func readService(n *dom.Node) (*service, error) {
	s := &service{}
	info, err := one(n, "ServiceInformation")
	if err != nil {
		return nil, err
	}
	if s.name, err = name(info, "ServiceName"); err != nil {
		return nil, err
	}
	all := []*dom.Node{info}
	history, err := optional(n, "ServiceHistory")
	if err != nil {
		return nil, err
	}
	if history != nil {
		all = append(all, history.Find(tslSpace, "ServiceHistoryInstance")...)
	}
	if len(all) > maxStates {
		return nil, fmt.Errorf("more than %d entries of history", maxStates)
	}
	for _, k := range all {
		t, err := readState(k)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", s.name, err)
		}
		s.states = append(s.states, t)
	}
	// The newest first; of two with one date, the one that stands first.
	slices.SortStableFunc(s.states, func(a, b state) int { return b.since.Compare(a.since) })
	if id, err := optional(info, "ServiceDigitalIdentity"); err != nil {
		return nil, err
	} else if id != nil && slices.ContainsFunc(s.states, func(s state) bool { return s.qualified }) {
		if s.certs, s.skis, err = readIdentity(id); err != nil {
			return nil, fmt.Errorf("%q: %w", s.name, err)
		}
	}
	return s, nil
}

func readState(n *dom.Node) (state, error) {
	t := state{}
	kind, err := one(n, "ServiceTypeIdentifier")
	if err != nil {
		return t, err
	}
	status, err := one(n, "ServiceStatus")
	if err != nil {
		return t, err
	}
	start, err := one(n, "StatusStartingTime")
	if err != nil {
		return t, err
	}
	if t.since, err = instant(text(start)); err != nil {
		return t, fmt.Errorf("status starting time: %w", err)
	}
	t.qualified, t.status = text(kind) == typeCAQC, strings.TrimPrefix(text(status), statusPrefix)
	if !t.qualified {
		return t, nil
	}
	extensions, err := optional(n, "ServiceInformationExtensions")
	if err != nil || extensions == nil {
		return t, err
	}
	for _, x := range extensions.Find(tslSpace, "Extension") {
		t.readExtension(x)
	}
	return t, nil
}

// readIdentity reads a service's digital identity (clause 5.5.3). Certificates that Go does
// not read are passed over: nothing can chain to them here. Subject names alone
// are no identity.
func readIdentity(n *dom.Node) (certs []*x509.Certificate, skis [][]byte, err error) {
	for _, id := range n.Find(tslSpace, "DigitalId") {
		for _, k := range id.Elements() {
			if len(certs)+len(skis) >= maxIdentities {
				return nil, nil, fmt.Errorf("more than %d identities", maxIdentities)
			}
			switch {
			case k.Is(tslSpace, "X509Certificate"):
				der, err := base64.StdEncoding.DecodeString(blanks.Replace(k.Text()))
				if err != nil {
					return nil, nil, fmt.Errorf("a certificate is no base64")
				}
				if c, err := x509.ParseCertificate(der); err == nil {
					certs = append(certs, c)
				}
			case k.Is(tslSpace, "X509SKI"):
				ski, err := base64.StdEncoding.DecodeString(blanks.Replace(k.Text()))
				if err != nil {
					return nil, nil, fmt.Errorf("a key identifier is no base64")
				}
				skis = append(skis, ski)
			}
		}
	}
	return certs, skis, nil
}

var blanks = strings.NewReplacer(" ", "", "\t", "", "\n", "", "\r", "")

// optional gives the only child of a name, or nil. Two of one name are an error:
// readers differ in which they take.
func optional(n *dom.Node, local string) (*dom.Node, error) {
	var found *dom.Node
	for _, c := range n.Children {
		if !c.Is(tslSpace, local) {
			continue
		}
		if found != nil {
			return nil, fmt.Errorf("two elements %s in %s", local, n.Local)
		}
		found = c
	}
	return found, nil
}

func one(n *dom.Node, local string) (*dom.Node, error) {
	found, err := optional(n, local)
	if err == nil && found == nil {
		err = fmt.Errorf("%s without %s", n.Local, local)
	}
	return found, err
}

// name gives the English Name of an element, or its first.
func name(n *dom.Node, local string) (string, error) {
	of, err := one(n, local)
	if err != nil {
		return "", err
	}
	first := ""
	for i, k := range of.Find(tslSpace, "Name") {
		if i == 0 {
			first = text(k)
		}
		if slices.ContainsFunc(k.Attrs, func(a dom.Attr) bool { return a.Local == "lang" && strings.EqualFold(a.Value, "en") }) {
			return text(k), nil
		}
	}
	return first, nil
}

func text(n *dom.Node) string { return strings.TrimSpace(n.Text()) }

// instant reads a dateTime, which lists give in UTC.
func instant(s string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, s)
	return t.UTC(), err
}

var territories = regexp.MustCompile(`^[A-Z]{2}$`)

// isTerritory wants two letters: the territory is also a file's name.
func isTerritory(s string) bool { return territories.MatchString(s) }
