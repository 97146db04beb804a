package csctest

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
)

// algorithms are the object identifiers that key/algo lists.
func (c *credential) algorithms() []string {
	if c.Key == nil { // OneShot, before its time
		return []string{"1.2.840.10045.4.3.2"}
	}
	switch k := c.Key.Public().(type) {
	case *rsa.PublicKey:
		switch {
		case c.PSS:
			return []string{"1.2.840.113549.1.1.10"}
		case c.Exact:
			return []string{"1.2.840.113549.1.1.11", "1.2.840.113549.1.1.12", "1.2.840.113549.1.1.13"}
		}
		return []string{"1.2.840.113549.1.1.1"}
	case *ecdsa.PublicKey:
		switch {
		case !c.Exact && !c.OneShot:
			return []string{"1.2.840.10045.2.1"}
		case k.Curve.Params().BitSize == 384:
			return []string{"1.2.840.10045.4.3.3"}
		}
	}
	return []string{"1.2.840.10045.4.3.2"}
}

// length is key/len and key/curve.
func (c *credential) length() (bits int, curve string) {
	if c.Key != nil {
		switch k := c.Key.Public().(type) {
		case *rsa.PublicKey:
			return k.N.BitLen(), ""
		case *ecdsa.PublicKey:
			if k.Curve.Params().BitSize == 384 {
				return 384, "1.3.132.0.34"
			}
		}
	}
	return 256, "1.2.840.10045.3.1.7"
}

// describe is the CredentialInfo object (CSC 11.4).
func (s *Server) describe(c *credential, f fields, call string) (map[string]any, error) {
	certificates := "single"
	if f.has("certificates") {
		var err error
		if certificates, err = f.str("certificates"); err != nil || !slices.Contains([]string{"none", "single", "chain"}, certificates) {
			return nil, invalid("Invalid parameter certificates")
		}
	}
	certInfo, err := f.flag("certInfo")
	if err != nil {
		return nil, err
	}
	authInfo, err := f.flag("authInfo")
	if err != nil {
		return nil, err
	}
	b := s.behaves(call)
	if b == NewCertificate && len(c.chain) > 0 {
		if err := s.equip(c); err != nil {
			return nil, err
		}
	}
	bits, curve := c.length()
	if b == WrongLength {
		bits += 1024
	}
	status := "enabled"
	if c.Disabled {
		status = "disabled"
	}
	key := map[string]any{"status": status, "algo": c.algorithms(), "len": bits}
	if curve != "" {
		key["curve"] = curve
	}
	cert := map[string]any{}
	if len(c.chain) > 0 && b != NoCertificate {
		cert["status"] = "valid"
		list := []string{}
		for i, der := range c.chain {
			if certificates == "chain" || certificates == "single" && i == 0 {
				list = append(list, base64.StdEncoding.EncodeToString(der))
			}
		}
		cert["certificates"] = list
		if certInfo {
			leaf, err := c.leaf()
			if err != nil {
				return nil, err
			}
			const form = "20060102150405Z"
			cert["issuerDN"], cert["subjectDN"] = leaf.Issuer.String(), leaf.Subject.String()
			cert["serialNumber"] = fmt.Sprintf("%X", leaf.SerialNumber)
			cert["validFrom"], cert["validTo"] = leaf.NotBefore.UTC().Format(form), leaf.NotAfter.UTC().Format(form)
		}
	}
	scal := "2"
	if c.SCAL1 {
		scal = "1"
	}
	out := map[string]any{"key": key, "cert": cert, "SCAL": scal, "multisign": c.Multisign, "lang": "en-US"}
	if c.Qualifier != "" && s.c.Version != 1 {
		out["signatureQualifier"] = c.Qualifier
	}
	s.describeAuth(c, authInfo, out)
	return out, nil
}

// describeAuth says how a credential is authorised, in the words of the version.
func (s *Server) describeAuth(c *credential, authInfo bool, out map[string]any) {
	mode := "explicit"
	if c.OAuth2 {
		mode = "oauth2code"
	}
	if s.c.Version == 1 {
		if !c.OAuth2 && !c.PIN && !c.OTP {
			mode = "implicit"
		}
		presence := func(b bool) string { return fmt.Sprint(b) }
		out["authMode"] = mode
		out["PIN"] = map[string]any{"presence": presence(c.PIN), "format": "N", "label": "PIN"}
		out["OTP"] = map[string]any{"presence": presence(c.OTP), "type": "online", "format": "N", "label": "Code sent to your phone", "ID": "sms"}
		return
	}
	auth := map[string]any{"mode": mode}
	if !c.OAuth2 && authInfo {
		objects, names := []any{}, []string{}
		for _, o := range []struct {
			is   bool
			of   map[string]any
			name string
		}{
			{c.PIN, map[string]any{"type": "Password", "id": "PIN", "format": "N", "label": "PIN"}, "PIN"},
			{c.OTP, map[string]any{"type": "ChallengeResponse", "id": "OTP", "format": "N", "label": "Code sent to your phone"}, "OTP"},
			{c.App, map[string]any{"type": "ChallengeResponseOOB", "id": "APP", "label": "Phone"}, "APP"},
		} {
			if o.is {
				objects, names = append(objects, o.of), append(names, o.name)
			}
		}
		auth["objects"] = objects
		if len(names) > 0 {
			auth["expression"] = strings.Join(names, " AND ")
		}
	}
	out["auth"] = auth
}
