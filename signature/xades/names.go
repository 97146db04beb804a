package xades

import (
	"crypto"
	"fmt"

	"milterd/signature/cms"
)

// Namespaces.
const (
	dsSpace       = "http://www.w3.org/2000/09/xmldsig#"
	ds11Space     = "http://www.w3.org/2009/xmldsig11#"
	xades132Space = "http://uri.etsi.org/01903/v1.3.2#"
	xades141Space = "http://uri.etsi.org/01903/v1.4.1#"
	excSpace      = "http://www.w3.org/2001/10/xml-exc-c14n#"
	filterSpace   = "http://www.w3.org/2002/06/xmldsig-filter2"
	asicSpace     = "http://uri.etsi.org/02918/v1.2.1#"
)

// Identifiers of transforms and of types of references.
const (
	envelopedURI = dsSpace + "enveloped-signature"
	base64URI    = dsSpace + "base64"
	xpathURI     = "http://www.w3.org/TR/1999/REC-xpath-19991116"
	manifestType = dsSpace + "Manifest"
	signedType   = "http://uri.etsi.org/01903#SignedProperties"
)

// digests are the hashes that are made and accepted (RFC 9231).
var digests = map[string]crypto.Hash{
	"http://www.w3.org/2001/04/xmlenc#sha256":       crypto.SHA256,
	"http://www.w3.org/2001/04/xmldsig-more#sha384": crypto.SHA384,
	"http://www.w3.org/2001/04/xmlenc#sha512":       crypto.SHA512,
}

const sha1URI = dsSpace + "sha1" // only to find a certificate by an older SigningCertificate

// methods are the signature algorithms that are made and accepted (RFC 9231). The
// salt of PSS is as long as the hash, MGF1 uses the same one.
var methods = map[string]cms.Algorithm{
	"http://www.w3.org/2001/04/xmldsig-more#rsa-sha256":      cms.RS256,
	"http://www.w3.org/2001/04/xmldsig-more#rsa-sha384":      cms.RS384,
	"http://www.w3.org/2001/04/xmldsig-more#rsa-sha512":      cms.RS512,
	"http://www.w3.org/2007/05/xmldsig-more#sha256-rsa-MGF1": cms.PS256,
	"http://www.w3.org/2007/05/xmldsig-more#sha384-rsa-MGF1": cms.PS384,
	"http://www.w3.org/2007/05/xmldsig-more#sha512-rsa-MGF1": cms.PS512,
	"http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256":    cms.ES256,
	"http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384":    cms.ES384,
	"http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha512":    cms.ES512,
}

func digestURI(h crypto.Hash) string {
	for uri, x := range digests {
		if x == h {
			return uri
		}
	}
	return ""
}

func methodURI(a cms.Algorithm) string {
	for uri, x := range methods {
		if x == a {
			return uri
		}
	}
	return ""
}

// hashOf reads the Algorithm of a DigestMethod.
func hashOf(uri string) (crypto.Hash, error) {
	if h, ok := digests[uri]; ok {
		return h, nil
	}
	return 0, fmt.Errorf("%w: digest %q", cms.ErrAlgorithm, uri)
}

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", cms.ErrFormat, fmt.Sprintf(format, args...))
}
