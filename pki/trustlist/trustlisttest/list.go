package trustlisttest

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"strings"
	"time"
)

const prefix = "http://uri.etsi.org/TrstSvc/TrustedList/"

// List is a trusted list. Zero values are filled with what a good one has.
type List struct {
	Territory string
	Version   int           // 0 means 6
	Sequence  int           // 0 means 1
	Age       time.Duration // since its issue; 0 means an hour
	Life      time.Duration // from its issue to the next update; 0 means 90 days
	Closed    bool          // no next update
	URIs      []string      // SchemeInformationURI: addresses of pivots
	Pointers  []Pointer     // makes it a list of the lists, as does the territory "EU"
	Services  []Service
	Extra     string // XML at the end of the root
}

// Pointer leads to another list.
type Pointer struct {
	Territory, Location string
	Signers             []*x509.Certificate
}

// Service is a trust service.
type Service struct {
	Provider string // "" means "Test TSP"
	Name     string // "" means the authority's common name
	CA       *x509.Certificate
	SKI      []byte // beside or instead of CA
	State           // now
	History  []State
}

// State is a service's type and status since some time.
type State struct {
	Type       string        // "" means "CA/QC"
	Status     string        // "" means "granted"
	Age        time.Duration // of the status; 0 means 4 years
	Purposes   []string      // nil means ForeSignatures and ForeSeals
	Extensions string        // XML of further Extension elements: Qualify makes one
}

// Qualify makes a Qualifications extension: qualifiers ("QCWithQSCD") for the certificates that meet the
// criteria, which are XML within a CriteriaList.
func Qualify(assert, criteria string, qualifiers ...string) string {
	var b strings.Builder
	b.WriteString(`<Extension Critical="true"><sie:Qualifications><sie:QualificationElement><sie:Qualifiers>`)
	for _, q := range qualifiers {
		b.WriteString(`<sie:Qualifier uri="` + prefix + `SvcInfoExt/` + q + `"/>`)
	}
	b.WriteString(`</sie:Qualifiers><sie:CriteriaList assert="` + assert + `">` + criteria + `</sie:CriteriaList></sie:QualificationElement></sie:Qualifications></Extension>`)
	return b.String()
}

// Commitment is the criterion that contentCommitment is set.
const Commitment = `<sie:KeyUsage><sie:KeyUsageBit name="nonRepudiation">true</sie:KeyUsageBit></sie:KeyUsage>`

func (l List) issued(now time.Time) time.Time {
	if l.Age == 0 {
		l.Age = time.Hour
	}
	return now.Add(-l.Age)
}

// XML writes the list, without a signature (TS 119 612, clause 5).
func (l List) XML(now time.Time) []byte {
	if l.Sequence == 0 {
		l.Sequence = 1
	}
	if l.Version == 0 {
		l.Version = 6
	}
	if l.Life == 0 {
		l.Life = 90 * 24 * time.Hour
	}
	kind := "EUgeneric"
	if l.Territory == "EU" || l.Pointers != nil {
		kind = "EUlistofthelists"
	}
	b := &bytes.Buffer{}
	b.WriteString(`<?xml version="1.0" encoding="UTF-8"?>
<TrustServiceStatusList xmlns="http://uri.etsi.org/02231/v2#" xmlns:tslx="http://uri.etsi.org/02231/v2/additionaltypes#" xmlns:xades="http://uri.etsi.org/01903/v1.3.2#"` +
		` xmlns:sie="http://uri.etsi.org/TrstSvc/SvcInfoExt/eSigDir-1999-93-EC-TrustedList/#" TSLTag="http://uri.etsi.org/19612/TSLTag" Id="list"><SchemeInformation>`)
	fmt.Fprintf(b, `<TSLVersionIdentifier>%d</TSLVersionIdentifier><TSLSequenceNumber>%d</TSLSequenceNumber><TSLType>%sTSLType/%s</TSLType>`, l.Version, l.Sequence, prefix, kind)
	fmt.Fprintf(b, `<SchemeOperatorName><Name xml:lang="en">Test</Name></SchemeOperatorName>`)
	if l.URIs != nil {
		b.WriteString(`<SchemeInformationURI>`)
		for _, u := range l.URIs {
			fmt.Fprintf(b, `<URI xml:lang="en">%s</URI>`, escape(u))
		}
		b.WriteString(`</SchemeInformationURI>`)
	}
	fmt.Fprintf(b, `<SchemeTerritory>%s</SchemeTerritory>`, l.Territory)
	if l.Pointers != nil {
		b.WriteString(`<PointersToOtherTSL>`)
		for _, p := range l.Pointers {
			p.write(b)
		}
		b.WriteString(`</PointersToOtherTSL>`)
	}
	fmt.Fprintf(b, `<ListIssueDateTime>%s</ListIssueDateTime><NextUpdate>`, instant(l.issued(now)))
	if !l.Closed {
		fmt.Fprintf(b, `<dateTime>%s</dateTime>`, instant(l.issued(now).Add(l.Life)))
	}
	b.WriteString(`</NextUpdate></SchemeInformation>`)
	if l.Services != nil {
		b.WriteString(`<TrustServiceProviderList>`)
		for _, s := range l.Services {
			s.write(b, now)
		}
		b.WriteString(`</TrustServiceProviderList>`)
	}
	b.WriteString(l.Extra + "</TrustServiceStatusList>\n")
	return b.Bytes()
}

func (p Pointer) write(b *bytes.Buffer) {
	b.WriteString(`<OtherTSLPointer><ServiceDigitalIdentities><ServiceDigitalIdentity>`)
	for _, c := range p.Signers {
		certificate(b, c)
	}
	fmt.Fprintf(b, `</ServiceDigitalIdentity></ServiceDigitalIdentities><TSLLocation>%s</TSLLocation><AdditionalInformation>`, p.Location)
	kind := "EUgeneric"
	if p.Territory == "EU" {
		kind = "EUlistofthelists"
	}
	fmt.Fprintf(b, `<OtherInformation><TSLType>%sTSLType/%s</TSLType></OtherInformation>`, prefix, kind)
	fmt.Fprintf(b, `<OtherInformation><SchemeTerritory>%s</SchemeTerritory></OtherInformation>`, p.Territory)
	b.WriteString(`<OtherInformation><tslx:MimeType>application/vnd.etsi.tsl+xml</tslx:MimeType></OtherInformation></AdditionalInformation></OtherTSLPointer>`)
}

func (s Service) write(b *bytes.Buffer, now time.Time) {
	if s.Provider == "" {
		s.Provider = "Test TSP"
	}
	if s.Name == "" && s.CA != nil {
		s.Name = s.CA.Subject.CommonName
	}
	fmt.Fprintf(b, `<TrustServiceProvider><TSPInformation><TSPName><Name xml:lang="xx">?</Name><Name xml:lang="en">%s</Name></TSPName></TSPInformation>`, escape(s.Provider))
	b.WriteString(`<TSPServices><TSPService><ServiceInformation>`)
	s.writeState(b, s.State, now)
	b.WriteString(`</ServiceInformation>`)
	if s.History != nil {
		b.WriteString(`<ServiceHistory>`)
		for _, t := range s.History {
			b.WriteString(`<ServiceHistoryInstance>`)
			s.writeState(b, t, now)
			b.WriteString(`</ServiceHistoryInstance>`)
		}
		b.WriteString(`</ServiceHistory>`)
	}
	b.WriteString(`</TSPService></TSPServices></TrustServiceProvider>`)
}

func (s Service) writeState(b *bytes.Buffer, t State, now time.Time) {
	if t.Type == "" {
		t.Type = "CA/QC"
	}
	if t.Status == "" {
		t.Status = "granted"
	}
	if t.Age == 0 {
		t.Age = 4 * 365 * 24 * time.Hour
	}
	if t.Purposes == nil {
		t.Purposes = []string{"ForeSignatures", "ForeSeals"}
	}
	fmt.Fprintf(b, `<ServiceTypeIdentifier>http://uri.etsi.org/TrstSvc/Svctype/%s</ServiceTypeIdentifier>`, t.Type)
	fmt.Fprintf(b, `<ServiceName><Name xml:lang="en">%s</Name></ServiceName><ServiceDigitalIdentity>`, escape(s.Name))
	if s.CA != nil {
		certificate(b, s.CA)
	}
	if s.SKI != nil {
		fmt.Fprintf(b, `<DigitalId><X509SKI>%s</X509SKI></DigitalId>`, base64.StdEncoding.EncodeToString(s.SKI))
	}
	fmt.Fprintf(b, `</ServiceDigitalIdentity><ServiceStatus>%sSvcstatus/%s</ServiceStatus><StatusStartingTime>%s</StatusStartingTime>`, prefix, t.Status, instant(now.Add(-t.Age)))
	b.WriteString(`<ServiceInformationExtensions>`)
	for _, p := range t.Purposes {
		fmt.Fprintf(b, `<Extension Critical="true"><AdditionalServiceInformation><URI xml:lang="en">%sSvcInfoExt/%s</URI></AdditionalServiceInformation></Extension>`, prefix, p)
	}
	b.WriteString(t.Extensions + `</ServiceInformationExtensions>`)
}

func certificate(b *bytes.Buffer, c *x509.Certificate) {
	fmt.Fprintf(b, `<DigitalId><X509Certificate>%s</X509Certificate></DigitalId>`, base64.StdEncoding.EncodeToString(c.Raw))
}

func instant(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

var escape = strings.NewReplacer("&", "&amp;", "<", "&lt;", `"`, "&quot;").Replace
