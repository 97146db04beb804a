package origin

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
)

// minRSA is the smallest RSA key that counts, in bits. RFC 8301 lets verifiers
// take 1,024; but these are the organisation's own keys, which it can exchange,
// and 1,024 bits are within reach of those who would forge a contract.
const minRSA = 2048

// keyring asks the DNS for the key of one signature and looks at what the
// library does not.
type keyring struct {
	ctx      context.Context
	resolver Resolver
	s        signature

	why  string // the key does not count
	away error  // the DNS gave no answer
}

// lookup is what the library calls.
func (k *keyring) lookup(name string) ([]string, error) {
	// With the dot at the end, no search list of this machine is tried.
	records, err := k.resolver.LookupTXT(k.ctx, strings.TrimSuffix(name, ".")+".")
	var d *net.DNSError
	switch {
	case errors.As(err, &d) && d.IsNotFound, err == nil && len(records) == 0:
		k.why = fmt.Sprintf("the DNS has no key %s for its DKIM signature", name)
		return nil, errors.New(k.why)
	case err != nil:
		k.away = err
		return nil, err
	case len(records) > 1:
		k.why = fmt.Sprintf("the DNS has several keys %s for its DKIM signature", name)
		return nil, errors.New(k.why)
	}
	if k.why = k.s.unfitKey(records[0]); k.why != "" {
		return nil, errors.New(k.why)
	}
	return records, nil
}

// unfitKey says why a key record (RFC 6376, 3.6.1) does not count; "" if it does.
func (s signature) unfitKey(record string) string {
	tags, ok := parseTags(record)
	if !ok {
		return "the key of its DKIM signature cannot be read"
	}
	flags := strings.Split(strings.ReplaceAll(tags["t"], " ", ""), ":")
	if slices.Contains(flags, "y") {
		return "the key of its DKIM signature is for tests only (t=y)"
	}
	if i, has := s.tags["i"]; has && slices.Contains(flags, "s") && domainOf(i) != s.domain() {
		return "the key of its DKIM signature is for no subdomains (t=s)"
	}
	if strings.HasPrefix(s.tags["a"], "rsa-") {
		if bits := rsaBits(tags["p"]); bits < minRSA {
			return fmt.Sprintf("the key of its DKIM signature has %d bits, and %d are the least", bits, minRSA)
		}
	}
	return ""
}

// rsaBits is the size of a key in either of its forms (RFC 6376, erratum 3017);
// 0 if it is none.
func rsaBits(p string) int {
	der, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(p), ""))
	if err != nil {
		return 0
	}
	if k, err := x509.ParsePKIXPublicKey(der); err == nil {
		if r, ok := k.(*rsa.PublicKey); ok {
			return r.N.BitLen()
		}
		return 0
	}
	if r, err := x509.ParsePKCS1PublicKey(der); err == nil {
		return r.N.BitLen()
	}
	return 0
}
