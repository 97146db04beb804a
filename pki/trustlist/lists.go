package trustlist

import (
	"context"
	"crypto/x509"
	"errors"
	"net/http"
	"time"
)

// Config is where lists come from and whom they must be signed by.
type Config struct {
	Folder      string              // the lists as files: lotl.xml, EE.xml …, and state.json
	LOTL        string              // address of the list of the lists; "" fetches nothing: the administrator fills the folder
	Signers     []*x509.Certificate // of the list of the lists
	Territories []string            // lists to load, "EE"; none for all
	Client      *http.Client        // nil means one of its own
	Timeout     time.Duration       // of one download; 0 means 30 s
	Now         func() time.Time    // nil means time.Now
}

// Lists is the trusted lists that count. It may be used by many at once.
type Lists struct {
	c Config
}

// Open reads the folder and verifies every list in it. Lists that do not count
// are no error here: Vouch and Status tell. The error is for a folder that cannot
// be read, or a configuration without signers.
func Open(c Config) (*Lists, error) { return nil, errors.New("not built yet") }

// Refresh downloads the list of the lists and those that it points to, verifies
// them, and keeps those that are newer. A download that fails leaves the old list
// in place, which counts until its NextUpdate. The error joins an *Error for each list
// that could not be refreshed; nil without an address of the list of the lists
// (the folder is then read again).
func (l *Lists) Refresh(ctx context.Context) error { return errors.New("not built yet") }

// Status is how one list stands.
type Status struct {
	Territory  string    `json:"territory"` // "EU" for the list of the lists
	Sequence   int64     `json:"sequence,omitempty"`
	Issued     time.Time `json:"issued,omitzero"`
	NextUpdate time.Time `json:"nextUpdate,omitzero"`
	SHA256     string    `json:"sha256,omitempty"`
	Services   int       `json:"services"`         // CA/QC
	Reason     Reason    `json:"reason,omitempty"` // it does not count; "" it does
	Why        string    `json:"why,omitempty"`
}

// Status tells how the lists stand now, the list of the lists first.
func (l *Lists) Status() []Status { return nil }

// Vouch finds the CA/QC service that issued a certificate, and says what its list
// says of it at a time. Issuers are certificates that came with the leaf, in any
// order; they may be missing where the list has the issuer's own. An authority above
// the issuer counts only if its list says that it is a RootCA-QC. The error is an
// *Error.
func (l *Lists) Vouch(leaf *x509.Certificate, issuers []*x509.Certificate, at time.Time) (*Entry, error) {
	return nil, &Error{Reason: Untrusted, Err: errors.New("not built yet")}
}
