package csc

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"

	"milterd/signature/cms"
)

// Limits on what a provider lists.
const (
	maxCredentials = 20
	maxChain       = 10
	maxFactors     = 10
	maxMultisign   = 1000
	maxID          = 1024 // characters of a credential's or factor's id
)

// listJSON is the answer of credentials/list (CSC 11.4).
type listJSON struct {
	IDs   []string         `json:"credentialIDs"`
	Infos []credentialJSON `json:"credentialInfos"`
}

// credentialJSON is the answer of credentials/info (CSC 11.5), of both versions.
type credentialJSON struct {
	ID          string `json:"credentialID"` // in a list
	Description string `json:"description"`
	Qualifier   string `json:"signatureQualifier"`
	Key         struct {
		Status string   `json:"status"`
		Algo   []string `json:"algo"`
		Len    int      `json:"len"`
		Curve  string   `json:"curve"`
	} `json:"key"`
	Cert struct {
		Status       string   `json:"status"`
		Certificates []string `json:"certificates"`
	} `json:"cert"`
	Auth struct {
		Mode       string       `json:"mode"`
		Expression string       `json:"expression"`
		Objects    []factorJSON `json:"objects"`
	} `json:"auth"`
	SCAL      string `json:"SCAL"`
	Multisign int    `json:"multisign"`

	// Version 1.
	AuthMode string     `json:"authMode"`
	PIN      factorJSON `json:"PIN"`
	OTP      factorJSON `json:"OTP"`
}

// factorJSON is an authentication object type (CSC 8.3), or PIN and OTP of version 1.
type factorJSON struct {
	Type      string `json:"type"`
	ID        string `json:"id"`
	Format    string `json:"format"`
	Label     string `json:"label"`
	Generator string `json:"generator"`
	Presence  string `json:"presence"` // version 1: "true", "false", "optional"
}

// readInfo reads the answer of info (CSC 11.1).
func (c *Client) readInfo(a *answer) (*Info, error) {
	var out struct {
		Specs   string   `json:"specs"`
		Name    string   `json:"name"`
		Methods []string `json:"methods"`
		OAuth2  string   `json:"oauth2"`
		Issuer  string   `json:"oauth2Issuer"`
	}
	if err := c.decode("info", a, &out); err != nil {
		return nil, err
	}
	if len(out.Methods) == 0 || len(out.Methods) > 100 {
		return nil, c.fail("info", WrongAnswer, fmt.Errorf("%d methods", len(out.Methods)))
	}
	i := &Info{Specs: clean(out.Specs, maxCode), Name: clean(out.Name, maxLabel), OAuth2: clean(out.OAuth2+out.Issuer, maxSaid)}
	for _, m := range out.Methods {
		i.Methods = append(i.Methods, clean(m, maxCode))
	}
	return i, nil
}

// readList checks a list and gives the infos in it by their id.
func (c *Client) readList(l *listJSON) (map[string]*credentialJSON, error) {
	const name = "credentials/list"
	if len(l.IDs) > maxCredentials {
		return nil, c.fail(name, WrongAnswer, fmt.Errorf("%d credentials, limit %d", len(l.IDs), maxCredentials))
	}
	seen := map[string]bool{}
	for _, id := range l.IDs {
		if !soundID(id) || seen[id] {
			return nil, c.fail(name, WrongAnswer, errors.New("a credentialID that is empty, too long, or there twice"))
		}
		seen[id] = true
	}
	infos := map[string]*credentialJSON{}
	for i := range l.Infos {
		id := l.Infos[i].ID
		if !seen[id] || infos[id] != nil {
			return nil, c.fail(name, WrongAnswer, errors.New("credentialInfos and credentialIDs name other credentials"))
		}
		infos[id] = &l.Infos[i]
	}
	return infos, nil
}

func soundID(id string) bool { return id != "" && len(id) <= maxID }

// readCredential checks what a provider says of a credential, against itself and
// against the certificate.
func (c *Client) readCredential(name, id string, j *credentialJSON) (*Credential, error) {
	wrong := func(format string, args ...any) error { return c.fail(name, WrongAnswer, fmt.Errorf(format, args...)) }
	out := &Credential{ID: id, Description: clean(j.Description, maxSaid), Qualifier: clean(j.Qualifier, maxCode), SCAL2: j.SCAL == "2", Multisign: j.Multisign}
	if !soundID(id) || j.ID != "" && j.ID != id {
		return nil, wrong("another credentialID than the one asked for")
	}
	if j.Multisign < 1 {
		return nil, wrong("multisign is %d", j.Multisign)
	}
	out.Multisign = min(j.Multisign, maxMultisign)
	if j.SCAL != "" && j.SCAL != "1" && j.SCAL != "2" {
		return nil, wrong("SCAL is %q", clean(j.SCAL, maxCode))
	}
	if err := out.readAuth(j, c.p.Version); err != nil {
		return nil, c.fail(name, WrongAnswer, err)
	}
	if err := out.readChain(j.Cert.Certificates); err != nil {
		return nil, c.fail(name, WrongAnswer, err)
	}
	if err := out.readKey(j); err != nil {
		return nil, c.fail(name, WrongAnswer, err)
	}
	if err := c.checkUsable(out, j); err != nil {
		return nil, c.fail(name, Unusable, err)
	}
	return out, nil
}

// readChain parses the certificates, the leaf's first.
func (out *Credential) readChain(encoded []string) error {
	if len(encoded) > maxChain {
		return fmt.Errorf("%d certificates, limit %d", len(encoded), maxChain)
	}
	for i, s := range encoded {
		der, err := strict(s)
		if err != nil {
			return fmt.Errorf("certificate %d: no base64", i+1)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return fmt.Errorf("certificate %d: %w", i+1, err)
		}
		out.Chain = append(out.Chain, cert)
	}
	return nil
}

// Object identifiers of keys, which leave the signature algorithm open (CSC 5 and 11.10).
const (
	oidRSAKey = "1.2.840.113549.1.1.1"
	oidECKey  = "1.2.840.10045.2.1"
)

// curves are the object identifiers of RFC 5480, 2.1.1.1.
var curves = map[string]int{"1.2.840.10045.3.1.7": 256, "1.3.132.0.34": 384, "1.3.132.0.35": 521}

// readKey compares the provider's word on the key with the leaf's, and finds the
// algorithms. Without a leaf the provider's word is all there is.
func (out *Credential) readKey(j *credentialJSON) error {
	rsaLike, ecLike := false, false
	out.oids = map[cms.Algorithm]string{}
	for _, a := range cms.Algorithms() {
		bare := oidRSAKey
		if a[0] == 'E' {
			bare = oidECKey
		}
		switch exact := a.OID().String(); {
		case slices.Contains(j.Key.Algo, exact):
			out.oids[a] = exact
		case slices.Contains(j.Key.Algo, bare) && (a[0] != 'P'):
			// The hash is told by hashAlgorithmOID then.
			out.oids[a] = bare
		default:
			continue
		}
		if a[0] == 'E' {
			ecLike = true
		} else {
			rsaLike = true
		}
	}
	if bits, known := curves[j.Key.Curve]; j.Key.Curve != "" && known && bits != j.Key.Len {
		return fmt.Errorf("key of %d bits on a curve of %d", j.Key.Len, bits)
	}
	leaf := out.Leaf()
	if leaf == nil {
		out.sort(nil)
		return nil
	}
	switch k := leaf.PublicKey.(type) {
	case *rsa.PublicKey:
		if !rsaLike && ecLike || k.N.BitLen() != j.Key.Len || j.Key.Curve != "" {
			return fmt.Errorf("the certificate has an RSA key of %d bits, the provider says %d bits, %s", k.N.BitLen(), j.Key.Len, clean(strings.Join(j.Key.Algo, " "), maxSaid))
		}
	case *ecdsa.PublicKey:
		bits := k.Curve.Params().BitSize
		if !ecLike && rsaLike || bits != j.Key.Len || j.Key.Curve != "" && curves[j.Key.Curve] != bits {
			return fmt.Errorf("the certificate has an ECDSA key of %d bits, the provider says %d bits, %s", bits, j.Key.Len, clean(strings.Join(j.Key.Algo, " "), maxSaid))
		}
	}
	out.sort(leaf.PublicKey)
	return nil
}

// sort lists the algorithms that fit a key, its usual one first.
func (out *Credential) sort(key crypto.PublicKey) {
	usual, _ := cms.AlgorithmFor(key)
	for _, a := range cms.Algorithms() {
		switch {
		case out.oids[a] == "", key != nil && a.Fits(key) != nil:
		case a == usual:
			out.Algorithms = slices.Insert(out.Algorithms, 0, a)
		default:
			out.Algorithms = append(out.Algorithms, a)
		}
	}
}

// readAuth reads how the credential is authorised.
func (out *Credential) readAuth(j *credentialJSON, version int) error {
	mode, objects := j.Auth.Mode, j.Auth.Objects
	// (PIN AND OTP) XOR APP: no factor is needed for certain.
	either := slices.ContainsFunc(strings.FieldsFunc(j.Auth.Expression, func(r rune) bool { return strings.ContainsRune(" ()", r) }),
		func(word string) bool { return word == "OR" || word == "XOR" })
	if version == 1 {
		if mode = j.AuthMode; mode == "implicit" { // by the provider itself, without our doing
			mode = string(Explicit)
		}
		objects = nil
		for _, f := range []struct {
			id, kind string
			factorJSON
		}{{"PIN", "Password", j.PIN}, {"OTP", "Password", j.OTP}} {
			if f.Presence != "true" && f.Presence != "optional" {
				continue
			}
			if f.id == "OTP" && f.Type == "online" {
				f.kind = "ChallengeResponse" // sendOTP has it sent
			}
			f.factorJSON.ID, f.factorJSON.Type = f.id, f.kind
			objects = append(objects, f.factorJSON)
		}
	}
	switch out.Mode = Mode(mode); out.Mode {
	case OAuth2Code:
		return nil
	case Explicit:
	default:
		return fmt.Errorf("authorisation mode %q", clean(mode, maxCode))
	}
	if len(objects) > maxFactors {
		return fmt.Errorf("%d factors, limit %d", len(objects), maxFactors)
	}
	for _, f := range objects {
		if !soundID(f.ID) || slices.ContainsFunc(out.Factors, func(o Factor) bool { return o.ID == f.ID }) {
			return errors.New("a factor's id is empty, too long, or there twice")
		}
		switch f.Type {
		case "Password", "PasswordOOB", "ChallengeResponse", "ChallengeResponseOOB":
		default:
			return fmt.Errorf("factor of type %q", clean(f.Type, maxCode))
		}
		out.Factors = append(out.Factors, Factor{
			ID: f.ID, Type: f.Type, Numeric: f.Format == "N", Optional: either || f.Presence == "optional",
			Label: clean(f.Label, maxLabel), Generator: clean(f.Generator, maxCode),
		})
	}
	return nil
}

// checkUsable reports why a credential that is described soundly cannot sign now.
func (c *Client) checkUsable(out *Credential, j *credentialJSON) error {
	now, leaf := c.now(), out.Leaf()
	switch {
	case j.Key.Status != "enabled":
		return fmt.Errorf("the key is %q", clean(j.Key.Status, maxCode))
	case j.Cert.Status != "" && j.Cert.Status != "valid":
		return fmt.Errorf("the certificate is %q", clean(j.Cert.Status, maxCode))
	case leaf != nil && now.Before(leaf.NotBefore), leaf != nil && now.After(leaf.NotAfter):
		return errors.New("the certificate is not in its time")
	case len(out.Algorithms) == 0:
		return fmt.Errorf("no algorithm that is accepted among %s", clean(strings.Join(j.Key.Algo, " "), maxSaid))
	}
	return nil
}
