package trustlist

import (
	"crypto/x509"
	"fmt"
	"time"
)

// Qualifiers of a service (TS 119 612, clause 5.5.9.2.3), as Entry has them: without their
// common address.
const (
	QCWithSSCD               = "QCWithSSCD"
	QCNoSSCD                 = "QCNoSSCD"
	QCSSCDStatusAsInCert     = "QCSSCDStatusAsInCert"
	QCWithQSCD               = "QCWithQSCD"
	QCNoQSCD                 = "QCNoQSCD"
	QCQSCDStatusAsInCert     = "QCQSCDStatusAsInCert"
	QCQSCDManagedOnBehalf    = "QCQSCDManagedOnBehalf"
	QCForLegalPerson         = "QCForLegalPerson"
	QCForESig                = "QCForESig"
	QCForESeal               = "QCForESeal"
	QCForWSA                 = "QCForWSA"
	QCStatement              = "QCStatement"
	NotQualified             = "NotQualified"
	ForESignatures           = "ForeSignatures" // additional service information (clause 5.5.9.4)
	ForESeals                = "ForeSeals"
	ForWebSiteAuthentication = "ForWebSiteAuthentication"
	RootCAQC                 = "RootCA-QC"
)

// Statuses of a service (TS 119 612, clause 5.5.4), without their common address. Those
// after Withdrawn are of the time before 1 July 2016.
const (
	Granted                = "granted"
	Withdrawn              = "withdrawn"
	UnderSupervision       = "undersupervision"
	SupervisionInCessation = "supervisionincessation"
	Accredited             = "accredited"
)

// Entry is the service that vouches for a certificate, as its list had it at the
// time that was asked about.
type Entry struct {
	Anchor     *x509.Certificate `json:"-"`                    // of the service: trust ends here
	Own        bool              `json:"own,omitempty"`        // no list: the organisation's own choice (Anchors)
	Territory  string            `json:"territory,omitempty"`  // "EE"
	Provider   string            `json:"provider,omitempty"`   // the TSP's name, in English where the list has it
	Service    string            `json:"service"`              // the service's name
	Status     string            `json:"status,omitempty"`     // Granted, or one of the older ones
	Since      time.Time         `json:"since,omitzero"`       // of that status
	Sequence   int64             `json:"sequence,omitempty"`   // of the list
	Issued     time.Time         `json:"issued,omitzero"`      // of the list
	NextUpdate time.Time         `json:"nextUpdate,omitzero"`  // of the list: it counts until then
	List       string            `json:"list,omitempty"`       // SHA-256 of the list's bytes, hex
	Purposes   []string          `json:"purposes,omitempty"`   // ForESignatures …, of all services with that key that are granted
	Qualifiers []string          `json:"qualifiers,omitempty"` // those whose criteria the certificate meets
}

// Reason is a stable word for why nobody vouches.
type Reason string

// The reasons.
const (
	Untrusted       Reason = "untrusted-service"  // no service of type CA/QC has issued it
	NotGranted      Reason = "withdrawn-service"  // one has, without the status at that time
	Unreadable      Reason = "unreadable-service" // one has, and something in its entry is critical and not understood
	ListExpired     Reason = "list-expired"       // NextUpdate has passed
	ListTampered    Reason = "list-tampered"      // signature not good, or not by who is pinned
	ListMalformed   Reason = "list-malformed"     // no trusted list that is read here
	ListRolledBack  Reason = "list-rolled-back"   // older than one that was seen
	ListFromFuture  Reason = "list-from-future"   // issue date ahead
	ListMissing     Reason = "list-missing"       // never loaded
	ListUnreachable Reason = "list-unreachable"   // Refresh only: the download failed
)

// Error says why a list or a service does not count.
type Error struct {
	Reason    Reason
	Territory string // of the list; "EU" for the list of the lists, "" for none
	Err       error
}

func (e *Error) Error() string {
	if e.Territory == "" {
		return fmt.Sprintf("%s: %v", e.Reason, e.Err)
	}
	return fmt.Sprintf("trusted list %s: %s: %v", e.Territory, e.Reason, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }
