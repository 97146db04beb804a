package openotp

import (
	"fmt"
	"strings"
	"unicode"
)

// Reason is a stable word for what went wrong.
type Reason string

// The reasons.
const (
	Away          Reason = "openotp-away"
	WrongAnswer   Reason = "openotp-answer"
	Denied        Reason = "openotp-denied"  // the person said no; see Error.Comment
	Expired       Reason = "openotp-expired" // cancelled, run out, or forgotten by the server
	NoUser        Reason = "openotp-user"    // unknown, or without a phone
	BadOrder      Reason = "openotp-order"   // what was asked for cannot be
	Misconfigured Reason = "openotp-client"
	Refused       Reason = "openotp-refused"
)

// Error is every error of a Client's calls.
type Error struct {
	Reason  Reason
	Server  string // its Name
	Call    string // "openotpCheckSign"
	Code    string // the server's word: "NoSession"; one line
	Said    string // its message for the log: one line, bounded
	Comment string // the person's own words, one line; may be empty
	Err     error  // inner cause
}

// Error is for the log; it holds the server's words in quotes.
func (e *Error) Error() string {
	s := fmt.Sprintf("OpenOTP %q: %s: %s", e.Server, e.Call, e.Reason)
	if e.Code != "" || e.Said != "" {
		s += fmt.Sprintf(": %q, it says %q", e.Code, e.Said)
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap gives the inner cause.
func (e *Error) Unwrap() error { return e.Err }

// Temporary reports whether the same call can succeed later as it is.
func (e *Error) Temporary() bool { return e.Reason == Away }

// Sentence is one sentence in English for a person, without the server's words.
func (e *Error) Sentence() string {
	form, known := sentences[e.Reason]
	if !known {
		form = sentences[Refused]
	}
	return fmt.Sprintf(form, e.Server)
}

// sentences take the server's Name.
var sentences = map[Reason]string{
	Away:          "%s does not answer at the moment; please try again in a few minutes.",
	WrongAnswer:   "%s gave an answer that cannot be used; please tell your administrator.",
	Denied:        "The signature was declined on the phone; %s has signed nothing.",
	Expired:       "The request at %s has run out or was cancelled; please start again.",
	NoUser:        "%s does not know this person, or knows no phone of theirs; please tell your administrator.",
	BadOrder:      "%s cannot sign this document in the way that was asked for.",
	Misconfigured: "%s does not accept this service as its client; please tell your administrator.",
	Refused:       "%s refused the request; please tell your administrator.",
}

func (c *Client) fail(method string, reason Reason, err error) *Error {
	return &Error{Reason: reason, Server: c.s.Name, Call: method, Err: err}
}

// Lengths, in characters, of what is kept of others' words.
const (
	maxCode = 60
	maxSaid = 200
)

// judge makes an error of an answer with code 0.
func (c *Client) judge(method string, a answer) *Error {
	e := c.fail(method, Refused, nil)
	hide := func(s string) string {
		if k := string(c.s.APIKey); k != "" {
			s = strings.ReplaceAll(s, k, c.s.APIKey.String())
		}
		return s
	}
	e.Code, e.Said, e.Comment = clean(hide(a["error"]), maxCode), clean(hide(a["message"]), maxSaid), clean(a["comment"], maxSaid)
	checking := strings.HasPrefix(method, "openotpCheck")
	switch {
	case e.Code == "NoSession":
		e.Reason = Expired
	case e.Code == "AuthFailed" && checking, e.Comment != "":
		e.Reason = Denied
	case e.Code == "AuthFailed":
		e.Reason = NoUser
	case e.Code == "BadRequest":
		e.Reason = BadOrder
	case e.Code == "ServerError":
		e.Reason = Away
	}
	return e
}

// clean makes one bounded line of a stranger's words.
func clean(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			return ' '
		}
		return r
	}, s)
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > limit {
		return strings.TrimRight(string(r[:limit-1]), " ") + "…"
	}
	return s
}
