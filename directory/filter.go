package directory

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/go-ldap/ldap/v3"
)

// maxKey bounds what is looked up: an address has at most 254 bytes (RFC 5321,
// 4.5.3.1.3), and no login is longer.
const maxKey = 256

// askable reports whether a key that a stranger wrote can be anybody's.
func askable(key string) bool {
	return strings.TrimSpace(key) != "" && len(key) <= maxKey &&
		!strings.ContainsRune(key, utf8.RuneError) && // no UTF-8, or folded from none
		!strings.ContainsFunc(key, unicode.IsControl)
}

// addressFilter finds an address among attributes, plain or as Active
// Directory writes it. Each term is an equality, which every index serves.
func addressFilter(attributes []string, addr string) string {
	return "(|" + equal(attributes, addr) + equal(attributes, "smtp:"+addr) + ")"
}

// localPartFilter finds an address by what stands before its @, whatever mail
// domain stands behind it. Each term is an initial substring: OpenLDAP serves
// it with an index "sub", Active Directory with the index that it has.
func localPartFilter(attributes []string, local string) string {
	var b strings.Builder
	for _, a := range attributes {
		for _, prefix := range []string{"", "smtp:"} {
			b.WriteString("(" + a + "=" + prefix + ldap.EscapeFilter(local) + "@*)")
		}
	}
	return "(|" + b.String() + ")"
}

// equal is one equality for each attribute; they go into a (|…).
func equal(attributes []string, value string) string {
	var b strings.Builder
	for _, a := range attributes {
		b.WriteString("(" + a + "=" + ldap.EscapeFilter(value) + ")")
	}
	return b.String()
}
