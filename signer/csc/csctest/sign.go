package csctest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"slices"
	"strings"

	"milterd/signature/cms"
)

// method is how to sign.
type method struct {
	hash     crypto.Hash
	hashName string
	opts     crypto.SignerOpts
	cms      cms.Algorithm
}

var hashes = map[string]crypto.Hash{
	"2.16.840.1.101.3.4.2.1": crypto.SHA256,
	"2.16.840.1.101.3.4.2.2": crypto.SHA384,
	"2.16.840.1.101.3.4.2.3": crypto.SHA512,
}

// exact are the signature algorithms that name their hash.
var exact = map[string]crypto.Hash{
	"1.2.840.113549.1.1.11": crypto.SHA256,
	"1.2.840.113549.1.1.12": crypto.SHA384,
	"1.2.840.113549.1.1.13": crypto.SHA512,
	"1.2.840.10045.4.3.2":   crypto.SHA256,
	"1.2.840.10045.4.3.3":   crypto.SHA384,
	"1.2.840.10045.4.3.4":   crypto.SHA512,
}

// readMethod reads signAlgo, signAlgoParams and hashAlgorithmOID (CSC 11.10).
func (s *Server) readMethod(c *credential, f fields, hashField string) (*method, error) {
	algo, err := f.str("signAlgo")
	if err != nil {
		return nil, err
	}
	if !slices.Contains(c.algorithms(), algo) {
		return nil, invalid("Invalid parameter signAlgo")
	}
	named := crypto.Hash(0)
	if f.has(hashField) {
		oid, err := f.str(hashField)
		if err != nil {
			return nil, err
		}
		if named = hashes[oid]; named == 0 {
			return nil, invalid("Invalid parameter %s", hashField)
		}
	}
	hash := named
	if c.PSS {
		if hash, err = readPSS(f); err != nil {
			return nil, err
		}
	} else if f.has("signAlgoParams") {
		return nil, invalid("Invalid parameter signAlgoParams")
	} else if exact[algo] != 0 {
		hash = exact[algo]
	}
	if hash == 0 {
		return nil, invalid("Missing (or invalid type) string parameter %s", hashField)
	}
	if named != 0 && named != hash {
		return nil, invalid("String parameter %s contradicts with signAlgo parameter", hashField)
	}
	m := &method{hash: hash, opts: hash}
	letter := "R"
	switch c.Key.Public().(type) {
	case *ecdsa.PublicKey:
		letter = "E"
	default:
		if c.PSS {
			letter, m.opts = "P", &rsa.PSSOptions{SaltLength: hash.Size(), Hash: hash}
		}
	}
	m.cms = cms.Algorithm(letter + "S" + strings.TrimPrefix(hash.String(), "SHA-"))
	for oid, h := range hashes {
		if h == hash {
			m.hashName = oid
		}
	}
	return m, nil
}

// readPSS takes RSASSA-PSS-params with one hash for all, and a salt as long as it
// (RFC 4055, 3.1).
func readPSS(f fields) (crypto.Hash, error) {
	encoded, err := f.str("signAlgoParams")
	if err != nil {
		return 0, err
	}
	var p struct {
		Hash    pkix.AlgorithmIdentifier `asn1:"explicit,tag:0"`
		MGF     pkix.AlgorithmIdentifier `asn1:"explicit,tag:1"`
		Salt    int                      `asn1:"explicit,tag:2"`
		Trailer int                      `asn1:"optional,explicit,tag:3,default:1"`
	}
	der, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil {
		return 0, invalid("Invalid parameter signAlgoParams")
	}
	rest, err := asn1.Unmarshal(der, &p)
	if err != nil || len(rest) > 0 || p.Trailer != 1 || p.MGF.Algorithm.String() != "1.2.840.113549.1.1.8" {
		return 0, invalid("Invalid parameter signAlgoParams")
	}
	var inner pkix.AlgorithmIdentifier
	if rest, err := asn1.Unmarshal(p.MGF.Parameters.FullBytes, &inner); err != nil || len(rest) > 0 || !inner.Algorithm.Equal(p.Hash.Algorithm) {
		return 0, invalid("Invalid parameter signAlgoParams")
	}
	hash := hashes[p.Hash.Algorithm.String()]
	if hash == 0 || p.Salt != hash.Size() {
		return 0, invalid("Invalid parameter signAlgoParams")
	}
	return hash, nil
}

// activation finds what authorises a signature: the token, or a SAD (CSC 11.10).
func (s *Server) activation(t *token, f fields, c *credential) (*authorisation, error) {
	if t.grant != nil {
		if f.has("SAD") {
			return nil, invalid("SAD beside a token with scope credential")
		}
		return t.grant, nil
	}
	sad, err := f.str("SAD")
	if err != nil {
		return nil, err
	}
	a := s.sads[sad]
	if g := s.tokens[sad]; a == nil && g != nil && g.grant != nil {
		a = g.grant
	}
	if a == nil || a.credential != c {
		return nil, invalid("Invalid parameter SAD")
	}
	return a, nil
}

// spend takes digests off an authorisation.
func (s *Server) spend(a *authorisation, sums []string, m *method, call string) error {
	if b := s.behaves(call); b == UsedUp || !s.c.Now().Before(a.expires) || a.left < len(sums) {
		return invalid("SAD expired")
	}
	if a.hash != "" && a.hash != m.hashName {
		return invalid("Hash is not authorized by the SAD")
	}
	if a.digests != nil {
		rest := slices.Clone(a.digests)
		for _, d := range sums {
			i := slices.Index(rest, d)
			if i < 0 {
				return invalid("Hash is not authorized by the SAD")
			}
			rest = slices.Delete(rest, i, i+1)
		}
		a.digests = rest
	}
	a.left -= len(sums)
	return nil
}

// signHash is CSC 11.10.
func (s *Server) signHash(r *http.Request, _ []byte) (int, any, error) {
	const call = "signatures/signHash"
	hashField, listField := "hashAlgorithmOID", "hashes"
	known := []string{"credentialID", "SAD", "hashes", "hashAlgorithmOID", "signAlgo", "signAlgoParams", "operationMode", "clientData"}
	if s.c.Version == 1 {
		hashField, listField = "hashAlgo", "hash"
		known = []string{"credentialID", "SAD", "hash", "hashAlgo", "signAlgo", "signAlgoParams", "clientData"}
	}
	t, f, err := s.read(r, true, known...)
	if err != nil {
		return 0, nil, err
	}
	c, err := s.own(t, f)
	if err != nil {
		return 0, nil, err
	}
	if c.Key == nil {
		return 0, nil, invalid("Invalid parameter credentialID")
	}
	m, err := s.readMethod(c, f, hashField)
	if err != nil {
		return 0, nil, err
	}
	encoded, err := f.list(listField)
	if err != nil {
		return 0, nil, err
	}
	sums, err := digests(encoded, s.c.HashURLSafe, s.c.HashUnpadded, m.hashName)
	if err != nil {
		return 0, nil, err
	}
	a, err := s.activation(t, f, c)
	if err != nil {
		return 0, nil, err
	}
	if err := s.spend(a, sums, m, call); err != nil {
		return 0, nil, err
	}
	out := []string{}
	for _, d := range sums {
		value, err := s.sign(c, m, []byte(d), s.behaves(call))
		if err != nil {
			return 0, nil, err
		}
		out = append(out, base64.StdEncoding.EncodeToString(value))
	}
	return http.StatusOK, map[string]any{"signatures": bend(out, s.behaves(call))}, nil
}

// bend spoils a list of signatures.
func bend(l []string, b Behaviour) []string {
	switch b {
	case Fewer:
		return l[:len(l)-1]
	case Swapped:
		slices.Reverse(l)
	case Lines:
		for i := range l {
			l[i] = l[i][:40] + "\r\n" + l[i][40:]
		}
	}
	return l
}

// sign makes one value.
func (s *Server) sign(c *credential, m *method, digest []byte, b Behaviour) ([]byte, error) {
	key := c.Key
	switch b {
	case WrongHash:
		digest = slices.Clone(digest)
		digest[0] ^= 1
	case OtherKey:
		var err error
		if key, err = like(c.Key); err != nil {
			return nil, err
		}
	}
	value, err := key.Sign(rand.Reader, digest, m.opts)
	if err != nil {
		return nil, err
	}
	ec, is := key.Public().(*ecdsa.PublicKey)
	if !is || !s.c.RawECDSA {
		return value, nil
	}
	var rs struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(value, &rs); err != nil {
		return nil, err
	}
	n := (ec.Curve.Params().BitSize + 7) / 8
	return append(rs.R.FillBytes(make([]byte, n)), rs.S.FillBytes(make([]byte, n))...), nil
}

// like is another key of the same kind.
func like(key crypto.Signer) (crypto.Signer, error) {
	switch k := key.Public().(type) {
	case *rsa.PublicKey:
		return rsa.GenerateKey(rand.Reader, k.N.BitLen())
	case *ecdsa.PublicKey:
		return ecdsa.GenerateKey(k.Curve, rand.Reader)
	}
	return nil, invalid("no such key")
}

// signDoc is CSC 11.11, for digests and PAdES.
func (s *Server) signDoc(r *http.Request, _ []byte) (int, any, error) {
	const call = "signatures/signDoc"
	t, f, err := s.read(r, true, "credentialID", "SAD", "documentDigests", "operationMode", "clientData", "returnValidationInfo")
	if err != nil {
		return 0, nil, err
	}
	c, err := s.own(t, f)
	if err != nil {
		return 0, nil, err
	}
	if c.Key == nil {
		return 0, nil, invalid("Invalid parameter credentialID")
	}
	var list []json.RawMessage
	if !f.has("documentDigests") || json.Unmarshal(f["documentDigests"], &list) != nil || len(list) != 1 {
		return 0, nil, invalid("Invalid object parameter documentDigests")
	}
	d, err := readFields(list[0], "hashes", "hashAlgorithmOID", "signature_format", "conformance_level", "signAlgo", "signAlgoParams", "signed_envelope_property")
	if err != nil {
		return 0, nil, err
	}
	if format, err := d.str("signature_format"); err != nil || format != "P" {
		return 0, nil, invalid("Invalid parameter signature_format")
	}
	if level, err := d.str("conformance_level"); d.has("conformance_level") && (err != nil || level != "Ades-B-B") {
		return 0, nil, invalid("Invalid parameter conformance_level")
	}
	if p, err := d.str("signed_envelope_property"); d.has("signed_envelope_property") && (err != nil || p != "Certification" && p != "Revision") {
		return 0, nil, invalid("Invalid parameter signed_envelope_property")
	}
	m, err := s.readMethod(c, d, "hashAlgorithmOID")
	if err != nil {
		return 0, nil, err
	}
	encoded, err := d.list("hashes")
	if err != nil {
		return 0, nil, err
	}
	sums, err := digests(encoded, s.c.HashURLSafe, s.c.HashUnpadded, m.hashName)
	if err != nil {
		return 0, nil, err
	}
	a, err := s.activation(t, f, c)
	if err != nil {
		return 0, nil, err
	}
	defer c.spent()
	if err := s.spend(a, sums, m, call); err != nil {
		return 0, nil, err
	}
	out := []string{}
	for _, d := range sums {
		der, err := s.message(c, m, []byte(d), s.behaves(call))
		if err != nil {
			return 0, nil, err
		}
		out = append(out, base64.StdEncoding.EncodeToString(der))
	}
	return http.StatusOK, map[string]any{"SignatureObject": bend(out, s.behaves(call))}, nil
}

// message is a detached CMS over a digest.
func (s *Server) message(c *credential, m *method, digest []byte, b Behaviour) ([]byte, error) {
	leaf, err := c.leaf()
	if err != nil {
		return nil, err
	}
	if b == WrongHash {
		digest = slices.Clone(digest)
		digest[0] ^= 1
	}
	if b == OtherKey { // its own certificate comes with it: sound in itself
		other := &credential{Credential: Credential{ID: "other", User: c.User, Key: c.Key, PSS: c.PSS}}
		if other.Key, err = like(c.Key); err != nil {
			return nil, err
		}
		if err := s.equip(other); err != nil {
			return nil, err
		}
		c = other
		if leaf, err = c.leaf(); err != nil {
			return nil, err
		}
	}
	attributes, err := cms.SignedAttributes(m.cms, digest, leaf)
	if b == Claims {
		attributes, err = cms.CAdESAttributes(m.cms, digest, leaf, s.c.Now(), "", "")
	}
	if err != nil {
		return nil, err
	}
	value, err := m.cms.SignWith(c.Key, attributes)
	if err != nil {
		return nil, err
	}
	signed := cms.SignedData{Algorithm: m.cms, Certificates: []*x509.Certificate{leaf}, Attributes: attributes, Value: value}
	signed.Certificates = append(signed.Certificates, cms.Issuers(c.chain[1:])...)
	if b == TooLarge {
		signed.Certificates = append(signed.Certificates, cms.Issuers([][]byte{append([]byte{0x30, 0x83, 1, 0, 5, 4, 0x83, 1, 0, 0}, make([]byte, 64<<10)...)})...)
	}
	der, err := signed.Marshal()
	if err != nil {
		return nil, err
	}
	return spoil(der, b)
}
