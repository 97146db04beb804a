package qualified

import (
	"errors"

	"milterd/pki/trustlist"
)

// Reason is a stable word for a refusal: for metrics, pages and translations.
type Reason string

// The reasons.
const (
	NotQualified       Reason = "not-qualified"              // no QcCompliance, or the list says so
	NotForSignature    Reason = "not-for-signature"          // QcType is another one
	NotForSeal         Reason = "not-for-seal"               // wanted for a seal
	NoQSCD             Reason = "no-qscd"                    // the key is not in a qualified device
	AuthenticationOnly Reason = "authentication-certificate" // the card's other certificate
	SigningOnly        Reason = "signing-certificate"        // the card's other certificate, where one for logging in is wanted
	NotForLogin        Reason = "not-for-login"              // no clientAuth, or not a card's
	NameAlone          Reason = "name-alone"                 // nothing but the name says whose it is
	WrongKeyUsage      Reason = "wrong-key-usage"            // no contentCommitment
	Malformed          Reason = "malformed-certificate"      // statements that cannot be read
	Contradictory      Reason = "contradictory-list"         // the list says a thing and its opposite
	Expired            Reason = "certificate-expired"
	NotYetValid        Reason = "certificate-not-yet-valid"
	Revoked            Reason = "certificate-revoked" // it, or an issuer
	RevocationUnknown  Reason = "revocation-unknown"  // nobody says that it is good
	BrokenChain        Reason = "broken-chain"        // it does not chain to the service
	WeakAlgorithm      Reason = "weak-algorithm"      // key too short, or a curve or key of another kind
	DowngradedHash     Reason = "downgraded-hash"     // SHA-1 or MD5
	WrongPerson        Reason = "wrong-person"        // it is somebody else's
	PersonUnknown      Reason = "person-unknown"      // nothing configured to compare with
	WrongOrganisation  Reason = "wrong-organisation"  // its person's organisation is another one
	NotRegistered      Reason = "certificate-not-registered"
	Removed            Reason = "certificate-removed"       // by its person, or by an administrator
	UntrustedService   Reason = Reason(trustlist.Untrusted) // and the other words of package trustlist
	WithdrawnService   Reason = Reason(trustlist.NotGranted)
	UnreadableService  Reason = Reason(trustlist.Unreadable)
	ListExpired        Reason = Reason(trustlist.ListExpired)
	ListTampered       Reason = Reason(trustlist.ListTampered)
	ListMalformed      Reason = Reason(trustlist.ListMalformed)
	ListRolledBack     Reason = Reason(trustlist.ListRolledBack)
	ListFromFuture     Reason = Reason(trustlist.ListFromFuture)
	ListMissing        Reason = Reason(trustlist.ListMissing)
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

const administrator = " Please tell your administrator."

// texts are the sentences. One that the person can do nothing about says who can.
var texts = map[Reason]string{
	NotQualified:       "This certificate is not a qualified one, so it cannot make a Qualified signature.",
	NotForSignature:    "This certificate is not for signatures of a person: please choose the signing certificate of your card.",
	NotForSeal:         "This certificate is not for electronic seals.",
	NoQSCD:             "The key of this certificate is not in a qualified signature device, such as an eID card, so it cannot make a Qualified signature.",
	AuthenticationOnly: "This is the certificate for logging in: please choose the signing certificate of your card.",
	SigningOnly:        "This is the certificate for signatures: please choose the card's certificate for logging in.",
	NotForLogin:        "This certificate is not one by which a card says who its holder is.",
	NameAlone:          "The card bears your name, but two people can have one name: nothing here says that it is you. Please prove it in another way, or have your administrator register your certificate.",
	WrongKeyUsage:      "This certificate is not meant for signing documents: please choose the signing certificate of your card.",
	Malformed:          "What this certificate says about itself cannot be read.",
	Contradictory:      "The trusted list contradicts itself about this certificate." + administrator,
	Expired:            "This certificate has expired: please use your new card or certificate.",
	NotYetValid:        "This certificate is not valid yet.",
	Revoked:            "This certificate has been revoked: please use your new card or certificate.",
	RevocationUnknown:  "Whether this certificate has been revoked could not be found out: please try again later.",
	BrokenChain:        "This certificate does not lead to the provider that is said to have issued it.",
	WeakAlgorithm:      "The key of this certificate is not of a kind and length that is accepted.",
	DowngradedHash:     "This certificate, or one above it, was made with a hash that is broken (SHA-1 or MD5).",
	WrongPerson:        "This certificate belongs to somebody else: only the person who was asked can sign.",
	WrongOrganisation:  "This certificate was issued for people of another organisation." + administrator,
	PersonUnknown:      "Nothing is known by which this certificate could be recognised as yours." + administrator,
	NotRegistered:      "This certificate is not registered for you: please register it under Devices, or ask your administrator.",
	Removed:            "This certificate was removed from your devices: please register it there again, or ask your administrator.",
	UntrustedService:   "The provider of this certificate is in no trusted list as an issuer of qualified certificates.",
	WithdrawnService:   "The provider of this certificate did not have the status of a qualified one, by its trusted list.",
	UnreadableService:  "The trusted list says something about the provider of this certificate that is not understood here." + administrator,
	ListExpired:        "The trusted list that would vouch for this certificate is out of date." + administrator,
	ListTampered:       "The trusted list that would vouch for this certificate is not signed as it must be." + administrator,
	ListMalformed:      "The trusted list that would vouch for this certificate cannot be read." + administrator,
	ListRolledBack:     "The trusted list that would vouch for this certificate is older than one seen before." + administrator,
	ListFromFuture:     "The trusted list that would vouch for this certificate is dated in the future." + administrator,
	ListMissing:        "The trusted list that would vouch for this certificate has not been loaded." + administrator,
}

func refuse(reason Reason, err error) *Refusal {
	return &Refusal{Reason: reason, Text: texts[reason], Err: err}
}

// distrusted makes a refusal of what a Trust says.
func distrusted(err error) *Refusal {
	reason := UntrustedService
	if e := (*trustlist.Error)(nil); errors.As(err, &e) {
		if _, ok := texts[Reason(e.Reason)]; ok {
			reason = Reason(e.Reason)
		}
	}
	return refuse(reason, err)
}
