package csctest

import (
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
)

// bearer finds the token of a request (RFC 6750).
func (s *Server) bearer(r *http.Request) (*token, error) {
	value, is := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !is {
		return nil, refuse(http.StatusBadRequest, "invalid_request", "Malformed authorization header")
	}
	t := s.tokens[value]
	switch {
	case t == nil:
		return nil, refuse(http.StatusUnauthorized, "invalid_token", "The token is not valid")
	case !s.c.Now().Before(t.expires):
		return nil, refuse(http.StatusUnauthorized, "expired_token", "The token is expired")
	}
	return t, nil
}

// read checks token, media type and fields of a method that needs scope service, or the
// credential's own scope where alsoCredential says so.
func (s *Server) read(r *http.Request, alsoCredential bool, known ...string) (*token, fields, error) {
	t, err := s.bearer(r)
	if err != nil {
		return nil, nil, err
	}
	if t.grant != nil && (!alsoCredential || s.c.Version == 1) {
		return nil, nil, refuse(http.StatusForbidden, "insufficient_scope", "scope service is needed")
	}
	b, err := readBody(r, "application/json")
	if err != nil {
		return nil, nil, err
	}
	f, err := readFields(b, known...)
	return t, f, err
}

// own finds the credential that a request names and the token may use.
func (s *Server) own(t *token, f fields) (*credential, error) {
	id, err := f.str("credentialID")
	if err != nil {
		return nil, err
	}
	c := s.credentials[id]
	if c == nil || t.user != "" && t.user != c.User || t.grant != nil && t.grant.credential != c {
		return nil, invalid("Invalid parameter credentialID")
	}
	return c, nil
}

// info is CSC 11.1.
func (s *Server) info(r *http.Request, _ []byte) (int, any, error) {
	b, err := readBody(r, "application/json")
	if err != nil {
		return 0, nil, err
	}
	if _, err := readFields(b, "lang"); err != nil {
		return 0, nil, err
	}
	offered := []string{"oauth2/authorize", "oauth2/token"}
	for m := range methods(s.c.Version) {
		offered = append(offered, m)
	}
	slices.Sort(offered)
	auth := []string{"oauth2code"}
	if s.c.ClientCredentials {
		auth = append(auth, "oauth2client")
	}
	return http.StatusOK, map[string]any{
		"specs": map[int]string{1: "1.0.4.0", 2: "2.0.0.2"}[s.c.Version], "name": "Stand-in QTSP", "logo": s.URL + "/logo.png", "region": "LU", "lang": "en-US",
		"description": "A stand-in for trials; nothing that it signs is qualified", "authType": auth,
		"oauth2": strings.TrimSuffix(s.TokenURL, "oauth2/token"), "methods": offered,
	}, nil
}

// list is CSC 11.4.
func (s *Server) list(r *http.Request, _ []byte) (int, any, error) {
	known := []string{"userID", "credentialInfo", "certificates", "certInfo", "authInfo", "onlyValid", "lang", "clientData"}
	if s.c.Version == 1 {
		known = []string{"userID", "maxResults", "pageToken", "clientData"}
	}
	t, f, err := s.read(r, false, known...)
	if err != nil {
		return 0, nil, err
	}
	user := t.user
	switch {
	case user != "" && f.has("userID"):
		return 0, nil, invalid("userID parameter MUST be null")
	case user == "":
		if user, err = f.str("userID"); err != nil {
			return 0, nil, err
		}
		if s.users[user] == nil {
			return 0, nil, invalid("Invalid parameter userID")
		}
	}
	onlyValid, err := f.flag("onlyValid")
	if err != nil {
		return 0, nil, err
	}
	withInfo, err := f.flag("credentialInfo")
	if err != nil {
		return 0, nil, err
	}
	ids, infos := []string{}, []any{}
	for _, c := range s.credentials {
		if c.User == user && !(onlyValid && c.Disabled) {
			ids = append(ids, c.ID)
		}
	}
	slices.Sort(ids)
	if s.c.Version == 1 {
		return http.StatusOK, map[string]any{"credentialIDs": ids}, nil
	}
	out := map[string]any{"credentialIDs": ids, "onlyValid": onlyValid}
	if withInfo {
		for _, id := range ids {
			one, err := s.describe(s.credentials[id], f, "credentials/list")
			if err != nil {
				return 0, nil, err
			}
			one["credentialID"] = id
			infos = append(infos, one)
		}
		out["credentialInfos"] = infos
	}
	return http.StatusOK, out, nil
}

// credentialInfo is CSC 11.5.
func (s *Server) credentialInfo(r *http.Request, _ []byte) (int, any, error) {
	t, f, err := s.read(r, true, "credentialID", "certificates", "certInfo", "authInfo", "lang", "clientData")
	if err != nil {
		return 0, nil, err
	}
	c, err := s.own(t, f)
	if err != nil {
		return 0, nil, err
	}
	out, err := s.describe(c, f, "credentials/info")
	return http.StatusOK, out, err
}

// getChallenge is CSC 11.8, and sendOTP of version 1.
func (s *Server) getChallenge(r *http.Request, _ []byte) (int, any, error) {
	known := []string{"credentialID", "clientData"}
	if s.c.Version != 1 {
		known = append(known, "authObjectID")
	}
	t, f, err := s.read(r, false, known...)
	if err != nil {
		return 0, nil, err
	}
	c, err := s.own(t, f)
	if err != nil {
		return 0, nil, err
	}
	if s.c.Version != 1 {
		if id, err := f.str("authObjectID"); err != nil || id != "OTP" {
			return 0, nil, invalid("Invalid parameter authObjectID")
		}
	}
	if !c.OTP {
		return 0, nil, invalid("the credential has no one-time password")
	}
	s.sendOTP(s.users[c.User])
	return http.StatusNoContent, nil, nil
}

// authorize is CSC 11.6.
func (s *Server) authorize(r *http.Request, _ []byte) (int, any, error) {
	known := []string{"credentialID", "numSignatures", "hashes", "hashAlgorithmOID", "authData", "description", "clientData"}
	if s.c.Version == 1 {
		known = []string{"credentialID", "numSignatures", "hash", "PIN", "OTP", "description", "clientData"}
	}
	t, f, err := s.read(r, false, known...)
	if err != nil {
		return 0, nil, err
	}
	c, err := s.own(t, f)
	if err != nil {
		return 0, nil, err
	}
	n, err := f.integer("numSignatures")
	if err != nil {
		return 0, nil, err
	}
	a, err := s.readAuthorize(c, n, f)
	if err != nil {
		return 0, nil, err
	}
	app, err := s.authenticate(c, f)
	if err != nil {
		return 0, nil, err
	}
	if app {
		c.agreed, c.decline = false, false
		id := random()
		s.handles[id] = a
		return http.StatusAccepted, map[string]any{"handle": id}, nil
	}
	return s.give(a)
}

func (s *Server) readAuthorize(c *credential, n int, f fields) (*authorisation, error) {
	name, hash := "hashes", ""
	var err error
	if s.c.Version == 1 {
		name = "hash"
	} else if f.has("hashes") {
		if hash, err = f.str("hashAlgorithmOID"); err != nil {
			return nil, err
		}
	}
	var sums []string
	if f.has(name) {
		encoded, err := f.list(name)
		if err != nil {
			return nil, err
		}
		if sums, err = digests(encoded, s.c.HashURLSafe, s.c.HashUnpadded, hash); err != nil {
			return nil, err
		}
	}
	return s.grant(c.ID, n, sums, hash, false)
}

// authenticate checks PIN and one-time password, all that the credential asks for and no
// more. app says that the phone must agree.
func (s *Server) authenticate(c *credential, f fields) (app bool, err error) {
	given := map[string]string{}
	if s.c.Version == 1 {
		for _, id := range []string{"PIN", "OTP"} {
			if f.has(id) {
				if given[id], err = f.str(id); err != nil {
					return false, err
				}
			}
		}
	} else {
		var list []json.RawMessage
		if !f.has("authData") || json.Unmarshal(f["authData"], &list) != nil || list == nil {
			return false, invalid("Missing (or invalid type) array parameter authData")
		}
		for _, raw := range list {
			o, err := readFields(raw, "id", "value")
			if err != nil {
				return false, err
			}
			id, err := o.str("id")
			if err != nil {
				return false, err
			}
			if _, twice := given[id]; twice || o.has("value") == (id == "APP") {
				return false, invalid("authData names %s twice, or with or without a value where it must not", id)
			}
			value := ""
			if o.has("value") {
				if value, err = o.str("value"); err != nil {
					return false, err
				}
			}
			given[id] = value
		}
	}
	want := map[string]bool{"PIN": c.PIN, "OTP": c.OTP, "APP": c.App && s.c.Version != 1}
	for id := range given {
		if !want[id] {
			return false, invalid("authData: %s is not asked for", id)
		}
	}
	u := s.users[c.User]
	if u.wrong >= maxWrong {
		return false, refuse(http.StatusBadRequest, "invalid_request", map[int]string{1: "PIN locked", 2: "Credential locked"}[s.c.Version])
	}
	otp := u.otp != "" && s.c.Now().Before(u.otpEnds) && same(u.otp, given["OTP"])
	if c.PIN && !same(u.PIN, given["PIN"]) {
		u.wrong++
		return false, s.wrongFactor("invalid_pin", "The PIN is invalid")
	}
	if c.OTP {
		if !otp {
			u.wrong++
			return false, s.wrongFactor("invalid_otp", "The OTP is invalid")
		}
		u.otp = "" // once
	}
	u.wrong = 0
	return want["APP"], nil
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// wrongFactor is what version 1 says in so many words, and version 2 does not.
func (s *Server) wrongFactor(code, text string) error {
	if s.c.Version == 1 || s.c.NamesFactor {
		return refuse(http.StatusBadRequest, code, text)
	}
	return refuse(http.StatusBadRequest, "invalid_authentication_data", "The authentication data is invalid")
}

// authorizeCheck is CSC 11.7.
func (s *Server) authorizeCheck(r *http.Request, _ []byte) (int, any, error) {
	t, f, err := s.read(r, false, "handle")
	if err != nil {
		return 0, nil, err
	}
	id, err := f.str("handle")
	if err != nil {
		return 0, nil, err
	}
	a := s.handles[id]
	switch {
	case a == nil || t.user != "" && t.user != a.credential.User:
		return 0, nil, invalid("Invalid parameter handle")
	case a.credential.decline:
		delete(s.handles, id)
		return 0, nil, refuse(http.StatusBadRequest, "access_denied", "The user declined")
	case !a.credential.agreed:
		return http.StatusAccepted, map[string]any{"handle": id}, nil
	}
	delete(s.handles, id)
	return s.give(a)
}

// give makes the SAD of an authorisation.
func (s *Server) give(a *authorisation) (int, any, error) {
	if err := s.activated(a.credential); err != nil {
		return 0, nil, err
	}
	id := random()
	s.sads[id] = a
	return http.StatusOK, map[string]any{"SAD": id, "expiresIn": s.seconds(a.expires)}, nil
}

// activated makes what a OneShot credential has only now.
func (s *Server) activated(c *credential) error {
	if !c.OneShot {
		return nil
	}
	c.Type, c.Key = P256, nil
	return s.equip(c)
}
