package qualified

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// Person is who is expected to sign. What is filled in decides: one of Serial, the
// name and Registered must match, and a Serial that is filled in must (two
// people can have one name).
type Person struct {
	Serial     string              // serialNumber of the subject, "PNOEE-38001085718" (EN 319 412-1, clause 5.1.3)
	GivenName  string              // as the directory has it
	Surname    string              // as the directory has it
	Registered []*x509.Certificate // registered for them: in the directory, or here
	Mail       string              // address; looked at by AcceptAdvanced only
	Removed    []*x509.Certificate // were registered here, and were taken away: not taken, whatever the directory has
}

// Registration says how much registered certificates count.
type Registration string

// The choices.
const (
	NotNeeded Registration = "no"        // they are recognised like a name, and none is needed
	FirstUse  Registration = "first-use" // a certificate is registered when it is first used; from then on a name alone is nobody
	Required  Registration = "required"  // no other ones are taken
)

// Match says by what a certificate was recognised as its person's.
type Match string

// The matches.
const (
	BySerial     Match = "serial"     // the identifier that the directory has
	ByRegister   Match = "registered" // this very certificate is registered
	ByIdentifier Match = "identifier" // its subject's identifier is that of a registered one: a new card of the same person
	ByName       Match = "name"       // given name and surname, and nothing else
	ByMail       Match = "mail"       // the mail address in it; at level Advanced only
)

// Fingerprint names a certificate: SHA-256 of its DER, in hex.
func Fingerprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:])
}

// checkPerson compares the subject with who is to sign (EN 319 412-2, clause 4.2.4: a
// qualified certificate for signatures names a natural person).
func checkPerson(leaf *x509.Certificate, who Person, policy Registration) (Match, Outcome, string, *Refusal) {
	match, r := recognise(leaf, who)
	switch {
	case r != nil:
		return "", "", "", r
	case policy == Required && !slices.ContainsFunc(who.Registered, leaf.Equal):
		return "", "", "", refuse(NotRegistered, nil)
	case match == ByName && policy == FirstUse && len(who.Registered)+len(who.Removed) > 0:
		return "", "", "", refuse(NotRegistered, fmt.Errorf("the name matches, but other certificates are registered"))
	}
	outcome, detail := told(match)
	return match, outcome, detail, nil
}

// told says a match in words.
func told(match Match) (Outcome, string) {
	switch match {
	case BySerial:
		return Passed, "The subject's serialNumber is the signatory's."
	case ByRegister:
		return Passed, "The certificate is registered for the signatory."
	case ByIdentifier:
		return Passed, "The subject's serialNumber is that of a certificate which is registered for the signatory."
	}
	return Noted, "Given name and surname are the signatory's; no identifier was configured to compare with."
}

// recognise says by what a certificate is its person's, the strongest first.
func recognise(leaf *x509.Certificate, who Person) (Match, *Refusal) {
	serial, named := strings.TrimSpace(who.Serial), who.GivenName != "" && who.Surname != ""
	registered := slices.ContainsFunc(who.Registered, leaf.Equal)
	switch {
	case serial != "" && !sameSerial(serial, leaf.Subject.SerialNumber):
		return "", refuse(WrongPerson, fmt.Errorf("the subject's serialNumber is not the expected one"))
	case slices.ContainsFunc(who.Removed, leaf.Equal):
		return "", refuse(Removed, nil)
	case serial != "":
		return BySerial, nil
	case registered:
		return ByRegister, nil
	case slices.ContainsFunc(who.Registered, func(c *x509.Certificate) bool { return sameIdentifier(leaf, c) }):
		return ByIdentifier, nil
	case named && sameName(who.GivenName, attribute(leaf, "2.5.4.42")) && sameName(who.Surname, attribute(leaf, "2.5.4.4")):
		return ByName, nil
	case !named && len(who.Registered) == 0:
		return "", refuse(PersonUnknown, nil)
	}
	return "", refuse(WrongPerson, fmt.Errorf("neither the name nor a registered certificate matches"))
}

// naturalPerson is the form of identifiers that mean the same whoever issued the
// certificate (EN 319 412-1, clause 5.1.3): passport, identity card, national and tax numbers.
var naturalPerson = regexp.MustCompile(`^(?i:PAS|IDC|PNO|TAX|TIN)[A-Za-z]{2}-.`)

// sameIdentifier says whether two certificates name one person by an identifier. One of another
// form is unique only among the certificates of its issuer (EN 319 412-2, clause 4.2.4).
func sameIdentifier(a, b *x509.Certificate) bool {
	serial := strings.TrimSpace(a.Subject.SerialNumber)
	return serial != "" && sameSerial(serial, b.Subject.SerialNumber) &&
		(naturalPerson.MatchString(serial) || bytes.Equal(a.RawIssuer, b.RawIssuer))
}

// sameSerial compares identifiers; their letters mean the same in either case.
func sameSerial(want, have string) bool {
	return strings.EqualFold(want, strings.TrimSpace(have))
}

// sameName compares names as sets of words. Cases, composition of accents, hyphens,
// apostrophes, order and blanks differ between a directory and an authority
// ("Anna-Maria" is "ANNA MARIA" on a card), and are passed over. Words are not: a name more or
// less, another accent or a transcription is another name, because who reads
// past those takes one person for another. Where the two spellings differ, the
// identifier or a registered certificate is what to configure.
func sameName(want, have string) bool {
	a, b := words(want), words(have)
	return len(a) > 0 && slices.Equal(a, b)
}

func words(name string) []string {
	out := strings.FieldsFunc(cases.Fold().String(norm.NFC.String(name)), func(r rune) bool {
		return unicode.IsSpace(r) || unicode.Is(unicode.Pd, r) || strings.ContainsRune("'\u2019\u02bc", r)
	})
	for i := range out {
		out[i] = norm.NFC.String(out[i]) // folding can take composition apart
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// attribute gives a subject's values of a type, joined.
func attribute(c *x509.Certificate, oid string) string {
	var all []string
	for _, a := range c.Subject.Names {
		if s, ok := a.Value.(string); ok && a.Type.String() == oid {
			all = append(all, s)
		}
	}
	return strings.Join(all, " ")
}
