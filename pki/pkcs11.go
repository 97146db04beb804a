package pki

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// tokenScheme begins the address of a key in a PKCS#11 token.
const tokenScheme = "pkcs11:"

// tokenURI is what is used of an address by RFC 7512:
//
//	pkcs11:token=milterd;object=milterd-seal?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/etc/milterd/pin
type tokenURI struct {
	module, token, serial string
	object, id            string
	pinSource             string
}

// parseTokenURI refuses what it does not know: a key that is found by half of its
// address may be the wrong one.
func parseTokenURI(s string) (*tokenURI, error) {
	rest, ok := strings.CutPrefix(s, tokenScheme)
	if !ok || strings.ContainsAny(s, " \r\n\t") {
		return nil, fmt.Errorf("%.40q is no PKCS#11 address (RFC 7512)", s)
	}
	path, query, _ := strings.Cut(rest, "?")
	u := &tokenURI{}
	fields := map[string]*string{"token": &u.token, "serial": &u.serial, "object": &u.object, "id": &u.id, "type": new(string)}
	if err := attributes(path, ";", fields); err != nil {
		return nil, err
	}
	if err := attributes(query, "&", map[string]*string{"module-path": &u.module, "pin-source": &u.pinSource}); err != nil {
		return nil, err
	}
	switch {
	case !filepath.IsAbs(u.module):
		return nil, errors.New("PKCS#11 address: module-path must be the whole path of the token's library")
	case (u.token == "") == (u.serial == ""):
		return nil, errors.New("PKCS#11 address: want token=LABEL or serial=NUMBER")
	}
	return u, nil
}

func attributes(s, separator string, into map[string]*string) error {
	if s == "" {
		return nil
	}
	for part := range strings.SplitSeq(s, separator) {
		name, value, _ := strings.Cut(part, "=")
		to, ok := into[name]
		if !ok {
			if name == "pin-value" {
				return errors.New("PKCS#11 address: pin-value is not read: name a file in pin-source, or give the credential \"pin\"")
			}
			return fmt.Errorf("PKCS#11 address: %q is not used here", name)
		}
		v, err := url.PathUnescape(value)
		if err != nil || v == "" || *to != "" {
			return fmt.Errorf("PKCS#11 address: %s is empty, twice or badly written", name)
		}
		*to = v
	}
	return nil
}

// String writes the address.
func (u *tokenURI) String() string {
	var path, query []string
	add := func(to *[]string, name, value string) {
		if value != "" {
			*to = append(*to, name+"="+strings.ReplaceAll(url.QueryEscape(value), "+", "%20"))
		}
	}
	add(&path, "token", u.token)
	add(&path, "serial", u.serial)
	add(&path, "object", u.object)
	add(&path, "id", u.id)
	add(&query, "module-path", u.module)
	add(&query, "pin-source", u.pinSource)
	return tokenScheme + strings.Join(path, ";") + "?" + strings.ReplaceAll(strings.Join(query, "&"), "%2F", "/")
}

// pin reads the PIN from the file that the address names, else from the credential.
func (u *tokenURI) pin() (string, error) {
	if u.pinSource == "" {
		b, err := credential(pinCredential)
		return string(b), err
	}
	path := strings.TrimPrefix(strings.TrimPrefix(u.pinSource, "file:"), "//")
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission) {
		return "", fmt.Errorf("%w: PIN: %w", errLocked, err)
	}
	if err != nil {
		return "", fmt.Errorf("PIN: %w", err)
	}
	if info.Mode().Perm()&0o007 != 0 {
		return "", fmt.Errorf("PIN: others can read %s (mode %04o): chmod 0600 %s", path, info.Mode().Perm(), path)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("PIN: %w", err)
	}
	return string(bytes.TrimRight(b, "\r\n")), nil
}

// findTokenKey finds the key that an address names. An address that names none, or
// several, is an error.
func findTokenKey(address string) (crypto.Signer, error) {
	u, err := parseTokenURI(address)
	if err != nil {
		return nil, err
	}
	if u.object == "" && u.id == "" {
		return nil, errors.New("PKCS#11 address: want object=LABEL or id=… of the key")
	}
	keys, err := u.find()
	switch {
	case err != nil:
		return nil, fmt.Errorf("token %s: %w", u.name(), err)
	case len(keys) == 0:
		return nil, fmt.Errorf("token %s: it holds no key %s", u.name(), u.key())
	case len(keys) > 1:
		return nil, fmt.Errorf("token %s: it holds %d keys %s", u.name(), len(keys), u.key())
	}
	return keys[0], nil
}

func (u *tokenURI) name() string {
	if u.token != "" {
		return fmt.Sprintf("%q", u.token)
	}
	return "with serial number " + u.serial
}

func (u *tokenURI) key() string {
	if u.object != "" {
		return fmt.Sprintf("named %q", u.object)
	}
	return fmt.Sprintf("with id %x", u.id)
}
