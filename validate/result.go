package validate

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"milterd/signature/cms"
	"milterd/signature/xades"
)

// Indication is the outcome of a validation (EN 319 102-1, clause 5.1.3).
type Indication string

// The three outcomes.
const (
	Passed        Indication = "TOTAL-PASSED"
	Indeterminate Indication = "INDETERMINATE"
	Failed        Indication = "TOTAL-FAILED"
)

// Sub says why an outcome is not TOTAL-PASSED (EN 319 102-1, table 6).
type Sub string

// The reasons that are given here.
const (
	FormatFailure         Sub = "FORMAT_FAILURE"
	HashFailure           Sub = "HASH_FAILURE"
	SigCryptoFailure      Sub = "SIG_CRYPTO_FAILURE"
	NotYetValid           Sub = "NOT_YET_VALID"
	SigConstraintsFailure Sub = "SIG_CONSTRAINTS_FAILURE"
	CryptoConstraints     Sub = "CRYPTO_CONSTRAINTS_FAILURE_NO_POE"
	NoSigningCertificate  Sub = "NO_SIGNING_CERTIFICATE_FOUND"
	NoChain               Sub = "NO_CERTIFICATE_CHAIN_FOUND"
	RevokedNoPOE          Sub = "REVOKED_NO_POE"
	RevokedCANoPOE        Sub = "REVOKED_CA_NO_POE"
	OutOfBoundsNoPOE      Sub = "OUT_OF_BOUNDS_NO_POE"
	SignedDataNotFound    Sub = "SIGNED_DATA_NOT_FOUND"
	TimestampOrder        Sub = "TIMESTAMP_ORDER_FAILURE"
	TryLater              Sub = "TRY_LATER"
)

// finding is an error that carries an outcome.
type finding struct {
	indication Indication
	sub        Sub
	err        error
}

func (f *finding) Error() string { return f.err.Error() }
func (f *finding) Unwrap() error { return f.err }

func fail(sub Sub, format string, args ...any) error {
	return &finding{Failed, sub, fmt.Errorf(format, args...)}
}

func undecided(sub Sub, format string, args ...any) error {
	return &finding{Indeterminate, sub, fmt.Errorf(format, args...)}
}

// outcome gives the indication of an error; errors of package cms have theirs.
func outcome(err error) (Indication, Sub) {
	var f *finding
	switch {
	case err == nil:
		return Passed, ""
	case errors.As(err, &f):
		return f.indication, f.sub
	case errors.Is(err, cms.ErrAlgorithm):
		return Indeterminate, CryptoConstraints
	case errors.Is(err, cms.ErrDigest):
		return Failed, HashFailure
	case errors.Is(err, cms.ErrSignature):
		return Failed, SigCryptoFailure
	case errors.Is(err, cms.ErrCertificate):
		return Indeterminate, NoSigningCertificate
	}
	return Failed, FormatFailure
}

// Level is the PAdES baseline level that a signature reaches.
type Level string

// The levels of ETSI EN 319 142-1, clause 6. NoLevel is a PDF signature that is
// no PAdES baseline signature.
const (
	NoLevel  Level = ""
	LevelB   Level = "PAdES-BASELINE-B"
	LevelT   Level = "PAdES-BASELINE-T"
	LevelLT  Level = "PAdES-BASELINE-LT"
	LevelLTA Level = "PAdES-BASELINE-LTA"
)

// The same of ETSI EN 319 122-1, clause 6. In a container they are those of its
// signatures (EN 319 162-1, clause 5).
const (
	CAdESLevelB   Level = "CAdES-BASELINE-B"
	CAdESLevelT   Level = "CAdES-BASELINE-T"
	CAdESLevelLT  Level = "CAdES-BASELINE-LT"
	CAdESLevelLTA Level = "CAdES-BASELINE-LTA"
)

// The same of ETSI EN 319 132-1, clause 6.
const (
	XAdESLevelB   Level = "XAdES-BASELINE-B"
	XAdESLevelT   Level = "XAdES-BASELINE-T"
	XAdESLevelLT  Level = "XAdES-BASELINE-LT"
	XAdESLevelLTA Level = "XAdES-BASELINE-LTA"
)

// Result is what Validate found.
type Result struct {
	Format     Format      `json:"format"`
	Indication Indication  `json:"indication"` // the worst of all signatures; INDETERMINATE if there are none
	Sub        Sub         `json:"sub,omitempty"`
	Time       time.Time   `json:"time"` // of validation
	Size       int         `json:"size"` // bytes
	Signatures []Signature `json:"signatures"`
	Later      []Change    `json:"later,omitempty"` // changes after the last signature or timestamp
}

// Format is the form of a file with signatures.
type Format string

// The formats.
const (
	PDF   Format = "PDF"
	CAdES Format = "CAdES"
	XAdES Format = "XAdES"
	ASiCS Format = "ASiC-S"
	ASiCE Format = "ASiC-E"
)

// Kind tells signatures from document timestamps.
type Kind string

// The two kinds.
const (
	KindSignature Kind = "signature"
	KindTimestamp Kind = "document timestamp" // in a container: over an archive manifest
	KindArchive   Kind = "archive timestamp"  // of a CAdES or XAdES signature
)

// Signature is one signature or document timestamp, in the order of revisions.
type Signature struct {
	Field      string     `json:"field"` // of the form; else the file's name in the container, and which signer where there are several
	Kind       Kind       `json:"kind"`
	SubFilter  string     `json:"sub_filter,omitempty"` // of PDF
	Indication Indication `json:"indication"`
	Sub        Sub        `json:"sub,omitempty"`
	Problem    string     `json:"problem,omitempty"` // what is wrong, in words
	Notes      []string   `json:"notes,omitempty"`   // what a careful reader should know
	Level      Level      `json:"level,omitempty"`   // of signatures
	Files      []string   `json:"files,omitempty"`   // that it signs, in a container or beside a CAdES signature

	References []Reference `json:"references,omitempty"` // of XAdES: what it covers

	Subject     string    `json:"subject,omitempty"` // of the signing certificate
	Issuer      string    `json:"issuer,omitempty"`
	Serial      string    `json:"serial,omitempty"`      // hex
	Certificate []byte    `json:"certificate,omitempty"` // DER
	Algorithm   string    `json:"algorithm,omitempty"`
	Claimed     time.Time `json:"claimed,omitzero"`    // by the signer, or by the document timestamp's authority
	Proven      time.Time `json:"proven,omitzero"`     // existed at this time, by a timestamp that holds
	ProvenBy    string    `json:"proven_by,omitempty"` // subject of that timestamp's authority
	Revoked     time.Time `json:"revoked,omitzero"`    // the certificate, but after that time: the signature stands

	Name     string `json:"name,omitempty"` // as the signature dictionary has it: anybody could write it
	Reason   string `json:"reason,omitempty"`
	Role     string `json:"role,omitempty"` // of CAdES and XAdES: what the signer claims to be, signed
	Location string `json:"location,omitempty"`

	Covers  int      `json:"covers"`            // bytes from the start, up to the end of its revision
	Whole   bool     `json:"whole"`             // that is the whole file
	Changes []Change `json:"changes,omitempty"` // between its revision and the file as it is
}

// Change is something that a later revision did.
type Change struct {
	What    string `json:"what"`
	Allowed bool   `json:"allowed"` // by ISO 32000-2, 12.8 and the locks of earlier signatures
}

// Signs reports whether a signature is for the file with this name: one of the
// container, or one that was given beside it. Whether it holds is another question.
func (r *Result) Signs(name string) bool {
	return slices.ContainsFunc(r.Signatures, func(s Signature) bool {
		return slices.Contains(s.Files, name) ||
			slices.ContainsFunc(s.References, func(r Reference) bool { return r.Covers == xades.CoversFile && r.Name == name })
	})
}

// Passed reports whether every signature is TOTAL-PASSED and nothing was
// changed that may not be.
func (r *Result) Passed() bool { return r.Indication == Passed }

// Changed reports whether what was signed is known to have been changed: its
// bytes are not those that were signed, or something was added that may not be.
func (r *Result) Changed() bool {
	return slices.ContainsFunc(r.Signatures, func(s Signature) bool {
		return s.Sub == HashFailure || slices.ContainsFunc(s.Changes, func(c Change) bool { return !c.Allowed })
	})
}
