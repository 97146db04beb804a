package qualified

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
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
	Serial     string   // serialNumber of the subject, "PNOEE-38001085718" (EN 319 412-1, clause 5.1.3)
	GivenName  string   // as the directory has it
	Surname    string   // as the directory has it
	Registered []string // SHA-256 of certificates registered before, hex: Report.Fingerprint
}

// Fingerprint names a certificate: SHA-256 of its DER, in hex.
func Fingerprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:])
}

// checkPerson compares the subject with who is to sign (EN 319 412-2, clause 4.2.4: a
// qualified certificate for signatures names a natural person).
func checkPerson(leaf *x509.Certificate, who Person, registeredOnly bool) (Outcome, string, *Refusal) {
	registered := slices.ContainsFunc(who.Registered, func(f string) bool { return strings.EqualFold(f, Fingerprint(leaf)) })
	serial, named := strings.TrimSpace(who.Serial), who.GivenName != "" && who.Surname != ""
	switch {
	case serial != "" && !sameSerial(serial, leaf.Subject.SerialNumber):
		return "", "", refuse(WrongPerson, fmt.Errorf("the subject's serialNumber is not the expected one"))
	case registeredOnly && !registered:
		return "", "", refuse(NotRegistered, nil)
	case serial != "":
		return Passed, "The subject's serialNumber is the signatory's.", nil
	case registered:
		return Passed, "The certificate is registered for the signatory.", nil
	case named && sameName(who.GivenName, attribute(leaf, "2.5.4.42")) && sameName(who.Surname, attribute(leaf, "2.5.4.4")):
		return Noted, "Given name and surname are the signatory's; no identifier was configured to compare with.", nil
	case !named && len(who.Registered) == 0:
		return "", "", refuse(PersonUnknown, nil)
	}
	return "", "", refuse(WrongPerson, fmt.Errorf("neither the name nor a registered certificate matches"))
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
