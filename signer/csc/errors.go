package csc

import (
	"fmt"
	"time"
)

// Reason is a stable word for what went wrong.
type Reason string

// The reasons.
const (
	Away             Reason = "qtsp-away"              // no connection, no answer in time, 5xx
	Busy             Reason = "qtsp-busy"              // 429; see Error.RetryAfter
	WrongAnswer      Reason = "qtsp-answer"            // half, too large, no JSON, fields missing or against each other
	WrongSignature   Reason = "qtsp-signature"         // a value that does not verify over the digest with the leaf
	InvalidOTP       Reason = "invalid-otp"            // try again
	InvalidPIN       Reason = "invalid-pin"            // try again
	InvalidFactor    Reason = "invalid-authentication" // PIN or code, the provider does not say which
	Locked           Reason = "credential-locked"      // after too many wrong tries; the provider must unlock it
	Denied           Reason = "authorisation-denied"   // the person, or the provider, said no
	Expired          Reason = "authorisation-expired"  // SAD, code or token outlived; authorise again
	OtherState       Reason = "authorisation-mismatch" // the browser came back from another request
	Changed          Reason = "certificate-changed"    // the leaf is not the one that was prepared for
	OneShot          Reason = "one-shot-certificate"   // the leaf is made at authorisation; only SignDoc can serve
	Unusable         Reason = "credential-unusable"    // disabled, expired, revoked, or a key that is not accepted
	NoSuchCredential Reason = "no-credential"          // unknown to the provider
	HashRefused      Reason = "hash-refused"           // the provider says the digest is not the authorised one
	NotOffered       Reason = "not-offered"            // the provider lacks the method
	Misconfigured    Reason = "qtsp-client"            // the provider does not accept our client
	Refused          Reason = "qtsp-refused"           // anything else it says no to
)

// Error is every error of a Client's calls.
type Error struct {
	Reason     Reason
	Provider   string        // its Name
	Call       string        // "signatures/signHash"
	Status     int           // HTTP; 0 if none was had
	Code       string        // the provider's word for it: "invalid_request"; one line, may be empty
	Said       string        // the provider's error_description for the log: one line, bounded, no secret of ours in it
	RetryAfter time.Duration // how long the provider wants to be left alone; 0 if it does not say
	Err        error         // inner cause
}

// Error is for the log; it holds the provider's words in quotes.
func (e *Error) Error() string {
	s := fmt.Sprintf("QTSP %q: %s: %s", e.Provider, e.Call, e.Reason)
	if e.Status != 0 {
		s += fmt.Sprintf(": HTTP status %d", e.Status)
	}
	if e.Code != "" {
		s += fmt.Sprintf(", error %q", e.Code)
	}
	if e.Said != "" {
		s += fmt.Sprintf(", it says %q", e.Said)
	}
	if e.RetryAfter > 0 {
		s += fmt.Sprintf(", again in %s", e.RetryAfter)
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap gives the inner cause.
func (e *Error) Unwrap() error { return e.Err }

// Sentence is one sentence in English for the person who signs; no word of it is
// the provider's.
func (e *Error) Sentence() string {
	form, known := sentences[e.Reason]
	if !known {
		form = sentences[Refused]
	}
	return fmt.Sprintf(form, e.Provider)
}

// sentences take the provider's Name.
var sentences = map[Reason]string{
	Away:             "%s does not answer at the moment; please try again in a few minutes.",
	Busy:             "%s has too much to do at the moment; please try again in a few minutes.",
	WrongAnswer:      "%s gave an answer that cannot be used; please tell your administrator.",
	WrongSignature:   "%s gave a signature that does not fit this document, and it was thrown away; please tell your administrator.",
	InvalidOTP:       "%s did not accept the one-time code; please have a new one sent and try again.",
	InvalidPIN:       "%s did not accept the PIN; please try again.",
	InvalidFactor:    "%s did not accept the PIN or the code; please try again.",
	Locked:           "%s has locked this certificate after wrong entries; please have it unlocked there.",
	Denied:           "The signature was not authorised at %s; nothing has been signed.",
	Expired:          "The authorisation at %s has run out; please authorise the signature again.",
	OtherState:       "The answer from %s belongs to another request; please start again from this document.",
	Changed:          "The certificate at %s has changed in the meantime; please start again with the new one.",
	OneShot:          "%s makes a certificate for each signature, which cannot be used for this document.",
	Unusable:         "The certificate at %s cannot sign: it is disabled, expired, revoked or of a kind that is not accepted.",
	NoSuchCredential: "%s does not know this certificate any more; please choose another.",
	HashRefused:      "%s refused to sign this document under the given authorisation; please authorise the signature again.",
	NotOffered:       "%s does not offer what this signature needs; please tell your administrator.",
	Misconfigured:    "%s does not accept this service as its client; please tell your administrator.",
	Refused:          "%s refused the signature; please tell your administrator.",
}

// Temporary reports whether the same call can succeed later as it is. After SignHash
// and SignDoc a new authorisation may be needed all the same.
func (e *Error) Temporary() bool { return e.Reason == Away || e.Reason == Busy }

// Again reports whether the person can put it right by another authorisation.
func (e *Error) Again() bool {
	switch e.Reason {
	case InvalidOTP, InvalidPIN, InvalidFactor, Expired, OtherState, Denied:
		return true
	}
	return false
}
