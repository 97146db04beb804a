package qualified

// Reason is a stable word for a refusal: for metrics, pages and translations.
type Reason string

// The reasons.
const (
	NotQualified       Reason = "not-qualified"              // no QcCompliance, or the list says so
	NotForSignature    Reason = "not-for-signature"          // QcType is another one
	NotForSeal         Reason = "not-for-seal"               // wanted for a seal
	NoQSCD             Reason = "no-qscd"                    // the key is not in a qualified device
	AuthenticationOnly Reason = "authentication-certificate" // the card's other certificate
	WrongKeyUsage      Reason = "wrong-key-usage"            // no contentCommitment
	Malformed          Reason = "malformed-certificate"      // statements that cannot be read, or contradict
	Expired            Reason = "certificate-expired"        //
	NotYetValid        Reason = "certificate-not-yet-valid"  //
	Revoked            Reason = "certificate-revoked"        // it, or an issuer
	RevocationUnknown  Reason = "revocation-unknown"         // nobody says that it is good
	BrokenChain        Reason = "broken-chain"               // it does not chain to the service
	WeakAlgorithm      Reason = "weak-algorithm"             // key too short, or a curve or key of another kind
	DowngradedHash     Reason = "downgraded-hash"            // SHA-1 or MD5
	WrongPerson        Reason = "wrong-person"               // it is somebody else's
	PersonUnknown      Reason = "person-unknown"             // nothing configured to compare with
	NotRegistered      Reason = "certificate-not-registered" // Policy.RequireRegistered
	UntrustedService   Reason = "untrusted-service"          // those of package trustlist, by the same words
	WithdrawnService   Reason = "withdrawn-service"
	UnreadableService  Reason = "unreadable-service"
	ListExpired        Reason = "list-expired"
	ListTampered       Reason = "list-tampered"
	ListMalformed      Reason = "list-malformed"
	ListRolledBack     Reason = "list-rolled-back"
	ListFromFuture     Reason = "list-from-future"
	ListMissing        Reason = "list-missing"
)

// Refusal says why a certificate is not taken.
type Refusal struct {
	Reason Reason
	Text   string // one sentence in English for the person
	Err    error  // inner cause, for the log
}

func (r *Refusal) Error() string {
	s := string(r.Reason) + ": " + r.Text
	if r.Err != nil {
		s += " (" + r.Err.Error() + ")"
	}
	return s
}

func (r *Refusal) Unwrap() error { return r.Err }
