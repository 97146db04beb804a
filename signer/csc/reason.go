package csc

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// codes are the words of RFC 6749 (5.2 and 4.1.2.1), RFC 6750 (3.1) and CSC (10.2
// and the tables of each method).
var codes = map[string]Reason{
	"invalid_otp":                 InvalidOTP,
	"invalid_pin":                 InvalidPIN,
	"invalid_authentication_data": InvalidFactor,
	"authentication_error":        InvalidFactor,
	"access_denied":               Denied,
	"invalid_grant":               Expired,
	"expired_token":               Expired,
	"invalid_token":               Expired,
	"invalid_hash":                HashRefused,
	"invalid_client":              Misconfigured,
	"unauthorized_client":         Misconfigured,
	"invalid_scope":               Misconfigured,
	"insufficient_scope":          Misconfigured,
	"unsupported_response_type":   Misconfigured,
	"unsupported_grant_type":      Misconfigured,
	"not_implemented_method":      NotOffered,
	"server_error":                Away,
	"temporarily_unavailable":     Away,
}

// descriptions tell apart what CSC calls invalid_request, by words of the
// sentences that its tables prescribe; the first that fits counts.
var descriptions = []struct {
	words  string // all of them, in lower case
	reason Reason
}{
	{"locked", Locked},
	{"sad expired", Expired},
	{"hash not authorized", HashRefused},
	{"not authorized by sad", HashRefused},
	{"credential disabled", Unusable},
	{"certificate expired", Unusable},
	{"invalid parameter sad", Expired},
	{"invalid parameter credentialid", NoSuchCredential},
	{"invalid parameter userid", NoSuchCredential}, // whom it does not know has none
	{"client_id", Misconfigured},
	{"client_secret", Misconfigured},
	{"client authorization", Misconfigured},
}

// reasonFor finds the reason of an answer that says no.
func reasonFor(status int, code, description string) Reason {
	switch {
	case status == http.StatusTooManyRequests:
		return Busy
	case status == http.StatusNotImplemented:
		return NotOffered
	case status >= 500:
		return Away
	}
	if r, known := codes[strings.ToLower(code)]; known {
		return r
	}
	words := strings.Fields(strings.ToLower(description))
	for _, d := range descriptions {
		if all(strings.Fields(d.words), words) {
			return d.reason
		}
	}
	switch status {
	case http.StatusUnauthorized:
		return Expired
	case http.StatusForbidden:
		return Denied
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		return NotOffered
	}
	return Refused
}

// all reports whether every word stands among words, whatever follows it in
// punctuation.
func all(want, words []string) bool {
	for _, w := range want {
		found := false
		for _, x := range words {
			found = found || strings.Trim(x, `.,:;"'()`) == w
		}
		if !found {
			return false
		}
	}
	return true
}

// Lengths, in characters, of what is kept of a provider's words.
const (
	maxCode  = 60
	maxSaid  = 200
	maxLabel = 80
)

// errorAnswer reads CSC's error object (10.2); what is none gives empty words.
func errorAnswer(body []byte, secrets []Secret) (code, said string) {
	var a struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	if json.Unmarshal(body, &a) != nil {
		return "", ""
	}
	return clean(hide(a.Error, secrets), maxCode), clean(hide(a.Description, secrets), maxSaid)
}

// hide takes secrets out of a provider's words, which may repeat what it was sent, as
// it was sent: in a form, in JSON.
func hide(s string, secrets []Secret) string {
	for _, x := range secrets {
		if x == "" {
			continue
		}
		quoted, err := json.Marshal(string(x))
		if err != nil {
			panic(err) // a string
		}
		for _, form := range []string{string(x), url.QueryEscape(string(x)), strings.Trim(string(quoted), `"`)} {
			s = strings.ReplaceAll(s, form, x.String())
		}
	}
	return s
}

// clean makes one bounded line of a stranger's words: nothing that cannot be seen,
// breaks the line, or turns the reading direction.
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

// retryAfter reads RFC 9110, 10.2.3: seconds or a date, at most an hour.
func retryAfter(value string, now time.Time) time.Duration {
	d := time.Duration(0)
	if n, err := strconv.Atoi(value); err == nil && n >= 0 {
		d = time.Duration(min(n, 3600)) * time.Second
	} else if at, err := http.ParseTime(value); err == nil {
		d = at.Sub(now).Round(time.Second)
	}
	return min(max(d, 0), time.Hour)
}
