package demo

import (
	"bytes"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
)

// What a device looks for in the attributes that it is to sign (RFC 5652, 11.1
// and 11.2; RFC 5035, 3).
var (
	oidContentType        = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 3}
	oidData               = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
	oidMessageDigest      = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 4}
	oidSigningCertificate = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 47}
)

var rangePattern = regexp.MustCompile(`/ByteRange\s*\[\s*(\d+)\s+(\d+)\s+(\d+)\s+(\d+)\s*\]`)

// check is what a device does before it signs, with nothing of the server's
// code: the prepared revision begins with what was shown, its last ByteRange
// leaves out a hex string and nothing else, the digest of the rest is the one in
// the attributes, and those name the device's own certificate (design.md, decision 8).
func check(whole, shown, attributes, certificate []byte) error {
	if len(shown) == 0 || !bytes.HasPrefix(whole, shown) {
		return errors.New("it does not begin with what was shown")
	}
	all := rangePattern.FindAllSubmatch(whole[len(shown):], -1)
	if len(all) != 1 {
		return fmt.Errorf("what was added has %d ByteRanges, want one", len(all))
	}
	var at [4]int
	for i, digits := range all[0][1:] {
		n, err := strconv.Atoi(string(digits))
		if err != nil || n > len(whole) {
			return fmt.Errorf("ByteRange: %s", digits)
		}
		at[i] = n
	}
	gap, end := at[1], at[2]
	if at[0] != 0 || gap < len(shown) || end <= gap+2 || end+at[3] != len(whole) {
		return fmt.Errorf("ByteRange %v does not cover the whole of %d bytes", at, len(whole))
	}
	hole := whole[gap:end]
	if hole[0] != '<' || hole[len(hole)-1] != '>' || len(bytes.Trim(hole[1:len(hole)-1], "0")) > 0 {
		return errors.New("ByteRange leaves out something else than the place of the signature")
	}
	digest := sha256.Sum256(slices.Concat(whole[:gap], whole[end:]))
	return checkAttributes(attributes, digest[:], certificate)
}

// manifest is that of a container, as far as a device looks at it.
type manifest struct {
	XMLName    xml.Name `xml:"http://uri.etsi.org/02918/v1.2.1# ASiCManifest"`
	References []struct {
		URI    string `xml:",attr"`
		Method struct {
			Algorithm string `xml:",attr"`
		} `xml:"http://www.w3.org/2000/09/xmldsig# DigestMethod"`
		Value []byte `xml:"http://www.w3.org/2000/09/xmldsig# DigestValue"`
	} `xml:"http://uri.etsi.org/02918/v1.2.1# DataObjectReference"`
}

// checkFile is check for a file in a container: the manifest names it, by the
// digest of what was shown, and nothing else, and the attributes name the manifest.
func checkFile(whole []byte, name string, shown, attributes, certificate []byte) error {
	var m manifest
	if err := xml.Unmarshal(whole, &m); err != nil {
		return fmt.Errorf("the manifest cannot be read: %w", err)
	}
	digest := sha256.Sum256(shown)
	if len(m.References) != 1 {
		return fmt.Errorf("the manifest names %d files", len(m.References))
	}
	r := m.References[0]
	uri, err := url.PathUnescape(r.URI)
	switch {
	case err != nil || uri != name:
		return fmt.Errorf("the manifest names %q", r.URI)
	case r.Method.Algorithm != "http://www.w3.org/2001/04/xmlenc#sha256" || string(r.Value) != base64.StdEncoding.EncodeToString(digest[:]):
		return errors.New("the manifest names the digest of something else")
	}
	over := sha256.Sum256(whole)
	return checkAttributes(attributes, over[:], certificate)
}

func checkAttributes(der, digest, certificate []byte) error {
	var all []struct {
		Type   asn1.ObjectIdentifier
		Values asn1.RawValue `asn1:"set"`
	}
	rest, err := asn1.UnmarshalWithParams(der, &all, "set")
	if err != nil || len(rest) > 0 {
		return fmt.Errorf("attributes cannot be read: %v, %d bytes too many", err, len(rest))
	}
	var kind asn1.ObjectIdentifier
	var found []byte
	var signing struct {
		Certs []struct{ Hash []byte } // SHA-256 is the default, which DER leaves out
	}
	for _, a := range all {
		switch {
		case a.Type.Equal(oidContentType):
			_, err = asn1.Unmarshal(a.Values.Bytes, &kind)
		case a.Type.Equal(oidMessageDigest):
			_, err = asn1.Unmarshal(a.Values.Bytes, &found)
		case a.Type.Equal(oidSigningCertificate):
			_, err = asn1.Unmarshal(a.Values.Bytes, &signing)
		}
		if err != nil {
			return fmt.Errorf("attribute %s: %w", a.Type, err)
		}
	}
	own := sha256.Sum256(certificate)
	switch {
	case !kind.Equal(oidData):
		return errors.New("the attributes are not about data")
	case !bytes.Equal(found, digest):
		return errors.New("the attributes name the digest of something else")
	case len(signing.Certs) != 1 || !bytes.Equal(signing.Certs[0].Hash, own[:]):
		return errors.New("the attributes name another certificate")
	}
	return nil
}
