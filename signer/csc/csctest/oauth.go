package csctest

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// token is a bearer token.
type token struct {
	user    string         // whose; empty: the client's own
	grant   *authorisation // scope credential; nil: scope service
	expires time.Time
}

// authorisation is what a SAD, or a token with scope credential, stands for.
type authorisation struct {
	credential *credential
	digests    []string // that may be signed, each once; nil: any (SCAL 1)
	hash       string   // object identifier, if it was named
	left       int      // signatures
	expires    time.Time
}

// code is an authorization code.
type code struct {
	challenge, details string
	token              *token // that it becomes
	expires            time.Time
}

// visit is what the browser asks for at oauth2/authorize.
type visit struct {
	challenge, state, details string
	grant                     *authorisation // nil: scope service
	Credential                string
	Digests                   []string
	Number                    int
	Wrong                     string
}

// pageParameters are those of CSC 8.4.2 that the stand-in knows.
var pageParameters = []string{"response_type", "client_id", "redirect_uri", "scope", "authorization_details", "code_challenge",
	"code_challenge_method", "state", "lang", "credentialID", "numSignatures", "hashes", "hash", "hashAlgorithmOID"}

// readVisit checks the browser's query (CSC 8.4.2, RFC 6749, 4.1.1).
func (s *Server) readVisit(q url.Values) (*visit, error) {
	for name, values := range q {
		if !slices.Contains(pageParameters, name) || len(values) != 1 || values[0] == "" {
			return nil, invalid("parameter %s is unknown, empty or repeated", name)
		}
	}
	challenge, err := base64.RawURLEncoding.Strict().DecodeString(q.Get("code_challenge"))
	switch {
	case q.Get("response_type") != "code":
		return nil, refuse(400, "unsupported_response_type", "response_type")
	case err != nil || len(challenge) != sha256.Size || q.Get("code_challenge_method") != "S256":
		return nil, invalid("code_challenge is no S256 value")
	case len(q.Get("state")) < 16:
		return nil, invalid("state is missing, or can be guessed")
	}
	v := &visit{challenge: q.Get("code_challenge"), state: q.Get("state"), details: q.Get("authorization_details")}
	switch {
	case v.details != "":
		if !s.c.RichRequests || q.Has("scope") || q.Has("credentialID") || q.Has("hashes") || q.Has("hash") || q.Has("numSignatures") || q.Has("hashAlgorithmOID") {
			return nil, invalid("authorization_details, and something that it takes the place of")
		}
		v.grant, err = s.readDetails(v.details)
	case q.Get("scope") == "service":
		if q.Has("credentialID") || q.Has("hashes") || q.Has("hash") || q.Has("numSignatures") || q.Has("hashAlgorithmOID") {
			return nil, invalid("scope service, and parameters of scope credential")
		}
		return v, nil
	case q.Get("scope") == "credential" && !s.c.RichRequests:
		v.grant, err = s.readGrant(q)
	default:
		return nil, refuse(400, "invalid_scope", "scope")
	}
	if err != nil {
		return nil, err
	}
	v.Credential, v.Number = v.grant.credential.ID, v.grant.left
	for _, d := range v.grant.digests {
		v.Digests = append(v.Digests, base64.StdEncoding.EncodeToString([]byte(d)))
	}
	return v, nil
}

// readGrant reads what is to be authorised, as parameters.
func (s *Server) readGrant(q url.Values) (*authorisation, error) {
	n, err := strconv.Atoi(q.Get("numSignatures"))
	if err != nil {
		return nil, invalid("Missing (or invalid type) integer parameter numSignatures")
	}
	hashes, hash := q.Get("hashes"), q.Get("hashAlgorithmOID")
	if s.c.Version == 1 {
		hashes = q.Get("hash")
		if q.Has("hashes") || q.Has("hashAlgorithmOID") {
			return nil, invalid("parameters of version 2")
		}
	} else if q.Has("hash") || hashes != "" && hash == "" {
		return nil, invalid("Missing (or invalid type) string parameter hashAlgorithmOID")
	}
	var encoded []string
	if hashes != "" {
		encoded = strings.Split(hashes, ",")
	}
	list, err := digests(encoded, true, s.c.HashUnpadded, hash)
	if err != nil {
		return nil, err
	}
	return s.grant(q.Get("credentialID"), n, list, hash, true)
}

// readDetails reads what is to be authorised, as authorization_details (RFC 9396).
func (s *Server) readDetails(details string) (*authorisation, error) {
	var list []json.RawMessage
	if json.Unmarshal([]byte(details), &list) != nil || len(list) != 1 {
		return nil, invalid("authorization_details is no array of one")
	}
	f, err := readFields(list[0], "type", "credentialID", "documentDigests", "hashAlgorithmOID")
	if err != nil {
		return nil, err
	}
	kind, err := f.str("type")
	if err != nil || kind != "credential" {
		return nil, invalid("authorization_details of type %q", kind)
	}
	id, err := f.str("credentialID")
	if err != nil {
		return nil, err
	}
	hash, err := f.str("hashAlgorithmOID")
	if err != nil {
		return nil, err
	}
	var documents []json.RawMessage
	if json.Unmarshal(f["documentDigests"], &documents) != nil || len(documents) == 0 {
		return nil, invalid("no documentDigests")
	}
	var encoded []string
	for _, d := range documents {
		f, err := readFields(d, "hash", "label")
		if err != nil {
			return nil, err
		}
		if _, err := f.str("label"); err != nil {
			return nil, err
		}
		h, err := f.str("hash")
		if err != nil {
			return nil, err
		}
		encoded = append(encoded, h)
	}
	sums, err := digests(encoded, s.c.HashURLSafe, s.c.HashUnpadded, hash)
	if err != nil {
		return nil, err
	}
	return s.grant(id, len(sums), sums, hash, true)
}

// grant checks an authorisation against its credential (CSC 11.6).
func (s *Server) grant(id string, n int, digests []string, hash string, oauth2 bool) (*authorisation, error) {
	c := s.credentials[id]
	switch {
	case c == nil:
		return nil, invalid("Invalid parameter credentialID")
	case c.OAuth2 != oauth2:
		return nil, invalid("the credential is authorised in another way")
	case c.Disabled:
		return nil, invalid("The credential identified by credentialID is disabled")
	case n < 1:
		return nil, invalid("Invalid value for parameter numSignatures")
	case n > c.Multisign:
		return nil, invalid("Numbers of signatures is too high")
	case len(digests) == 0 && !c.SCAL1:
		return nil, invalid("SCAL 2 wants the digests")
	case len(digests) > 0 && len(digests) != n:
		return nil, invalid("%d digests for %d signatures", len(digests), n)
	}
	if c.SCAL1 {
		digests = nil
	}
	return &authorisation{credential: c, digests: digests, hash: hash, left: n, expires: s.in(s.c.Life)}, nil
}

var form = template.Must(template.New("").Parse(`<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Stand-in QTSP</title>
<h1>Stand-in QTSP</h1>
<p>This page plays a trust service provider for trials. Nothing that it signs is qualified.</p>
{{with .Credential}}<p>Authorise {{$.Number}} signature(s) with <b id="credential">{{.}}</b>.</p>
<ul>{{range $.Digests}}<li><code>{{.}}</code>{{end}}</ul>{{else}}<p>Sign in.</p>{{end}}
{{with .Wrong}}<p id="wrong" role="alert">{{.}}</p>{{end}}
<form method="post">
<p><label>User <input id="user" name="user" autocomplete="off"></label>
<p><label>PIN <input id="pin" name="pin" type="password" autocomplete="off"></label>
<p><button id="authorise" name="decision" value="yes">Authorise</button>
<button id="decline" name="decision" value="no">Decline</button>
</form>
`))

// page is oauth2/authorize, for people. A GET changes nothing; the form's POST goes
// to the same address.
func (s *Server) page(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := r.URL.Query()
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Referrer-Policy", "no-referrer")
	no := func(err error) {
		s.refused = keep(s.refused, "oauth2/authorize: "+err.Error())
	}
	// An address that is not the client's gets nothing, not even an error (RFC 6749, 4.1.2.1).
	if q.Get("client_id") != s.c.ClientID || q.Get("redirect_uri") != s.c.RedirectURI {
		no(invalid("client_id or redirect_uri does not match"))
		http.Error(w, "stand-in QTSP: unknown client_id or redirect_uri", http.StatusBadRequest)
		return
	}
	back := func(name, value string, more ...string) {
		out := url.Values{name: {value}}
		if state := q.Get("state"); state != "" {
			out.Set("state", state)
		}
		for _, text := range more {
			out.Set("error_description", text)
		}
		w.Header().Set("Location", s.c.RedirectURI+"?"+out.Encode())
		w.WriteHeader(http.StatusFound)
	}
	v, err := s.readVisit(q)
	if err != nil {
		no(err)
		word := "invalid_request"
		if r, is := err.(*refusal); is {
			word = r.code
		}
		back("error", word, err.Error())
		return
	}
	switch r.Method {
	case http.MethodGet:
	case http.MethodPost:
		if r.ParseForm() != nil {
			http.Error(w, "stand-in QTSP: no form", http.StatusBadRequest)
			return
		}
		if r.PostForm.Get("decision") != "yes" {
			back("error", "access_denied", "The user declined")
			return
		}
		t, wrong := s.login(v, r.PostForm.Get("user"), r.PostForm.Get("pin"))
		if wrong == "" {
			id := random()
			s.codes[id] = &code{challenge: v.challenge, details: v.details, token: t, expires: s.in(time.Minute)}
			back("code", id)
			return
		}
		no(refuse(403, "access_denied", wrong))
		v.Wrong = wrong
		w.WriteHeader(http.StatusForbidden)
	default:
		http.Error(w, "stand-in QTSP: GET or POST", http.StatusMethodNotAllowed)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	form.Execute(w, v)
}

// login is the person's part of a visit; wrong says what was.
func (s *Server) login(v *visit, user, pin string) (t *token, wrong string) {
	u := s.users[user]
	switch {
	case u == nil:
		return nil, "Unknown user."
	case u.wrong >= maxWrong:
		return nil, "Locked."
	case subtle.ConstantTimeCompare([]byte(u.PIN), []byte(pin)) != 1:
		u.wrong++
		return nil, "Wrong PIN."
	}
	u.wrong = 0
	if v.grant == nil {
		return &token{user: user, expires: s.in(time.Hour)}, ""
	}
	if v.grant.credential.User != user {
		return nil, "This certificate belongs to somebody else."
	}
	if err := s.activated(v.grant.credential); err != nil {
		return nil, "The certificate could not be made."
	}
	return &token{user: user, grant: v.grant, expires: s.in(s.c.Life)}, ""
}

// token is oauth2/token (CSC 8.4.4).
func (s *Server) token(r *http.Request, _ []byte) (int, any, error) {
	body, err := readBody(r, "application/x-www-form-urlencoded")
	if err != nil {
		return 0, nil, err
	}
	f, err := url.ParseQuery(string(body))
	if err != nil {
		return 0, nil, invalid("malformed form")
	}
	known := []string{"grant_type", "client_id", "client_secret", "scope"}
	if f.Get("grant_type") == "authorization_code" {
		known = []string{"grant_type", "client_id", "client_secret", "code", "redirect_uri", "code_verifier", "authorization_details"}
	}
	for name, values := range f {
		if !slices.Contains(known, name) || len(values) != 1 || values[0] == "" {
			return 0, nil, invalid("parameter %s is unknown, empty or repeated", name)
		}
	}
	if err := s.client(r, f); err != nil {
		return 0, nil, err
	}
	var t *token
	switch f.Get("grant_type") {
	case "client_credentials":
		if !s.c.ClientCredentials || s.c.Secret == "" {
			return 0, nil, refuse(400, "unauthorized_client", "client credentials are not for this client")
		}
		if f.Get("scope") != "service" {
			return 0, nil, refuse(400, "invalid_scope", "scope")
		}
		t = &token{expires: s.in(time.Hour)}
	case "authorization_code":
		if t, err = s.redeem(f); err != nil {
			return 0, nil, err
		}
	default:
		return 0, nil, invalid("Invalid parameter grant_type")
	}
	id, kind := random(), "Bearer"
	s.tokens[id] = t
	if t.grant != nil && s.c.Version == 1 {
		kind = "SAD"
	}
	out := map[string]any{"access_token": id, "token_type": kind, "expires_in": s.seconds(t.expires)}
	if t.grant != nil && s.behaves("oauth2/token") == Another {
		out["credentialID"] = "another"
	}
	return http.StatusOK, out, nil
}

// client authenticates the client in the one way that is configured.
func (s *Server) client(r *http.Request, f url.Values) error {
	id, secret, basic := r.BasicAuth()
	if f.Get("client_id") != s.c.ClientID {
		return invalid("Invalid parameter client_id")
	}
	switch {
	case s.c.Secret == "":
		if basic || f.Has("client_secret") {
			return invalid("a public client has no secret")
		}
		return nil
	case s.c.BasicAuth:
		id, err1 := url.QueryUnescape(id)
		secret, err2 := url.QueryUnescape(secret)
		if !basic || f.Has("client_secret") || err1 != nil || err2 != nil || id != s.c.ClientID || secret != s.c.Secret {
			return refuse(http.StatusUnauthorized, "invalid_client", "Client authorization required")
		}
	default:
		if basic || subtle.ConstantTimeCompare([]byte(f.Get("client_secret")), []byte(s.c.Secret)) != 1 {
			return invalid("Invalid parameter client_secret")
		}
	}
	return nil
}

// redeem turns a code into its token, once.
func (s *Server) redeem(f url.Values) (*token, error) {
	c := s.codes[f.Get("code")]
	delete(s.codes, f.Get("code")) // spent, whatever is wrong with it
	sum := sha256.Sum256([]byte(f.Get("code_verifier")))
	switch {
	case c == nil || !s.c.Now().Before(c.expires):
		return nil, refuse(400, "invalid_grant", "Authorization code is invalid or expired")
	case f.Get("redirect_uri") != s.c.RedirectURI:
		return nil, refuse(400, "invalid_grant", "redirect_uri parameter does not match")
	case len(f.Get("code_verifier")) < 43 || base64.RawURLEncoding.EncodeToString(sum[:]) != c.challenge:
		return nil, refuse(400, "invalid_grant", "code_verifier does not match")
	case f.Get("authorization_details") != c.details:
		return nil, invalid("authorization_details are not those of the authorization request")
	}
	return c.token, nil
}

// seconds is how long it is until a time.
func (s *Server) seconds(until time.Time) int {
	return int(until.Sub(s.c.Now()).Round(time.Second).Seconds())
}
