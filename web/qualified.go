package web

import (
	"context"
	"crypto/x509"
	"net/http"
	"net/url"
	"slices"
	"time"

	"milterd/signature/cms"
	"milterd/signer/remote"
	"milterd/workflow"
)

// Remote is what the pages need of remote.Providers: keys of signatories at trust
// service providers.
type Remote interface {
	Names() []string
	Find(ctx context.Context, provider string, who workflow.Person, documents int) ([]remote.Credential, error)
	Challenge(ctx context.Context, q *workflow.Acceptance, factor string) (question string, err error)
	Sign(ctx context.Context, q *workflow.Acceptance, signed [][]byte, answers map[string]string) ([][]byte, error)
	Leave(ctx context.Context, q *workflow.Acceptance, preparation, mail string, signed [][]byte, lang string) (address string, kept []byte, err error)
	Return(ctx context.Context, q *workflow.Acceptance, preparation, mail string, signed [][]byte, kept []byte, query url.Values) ([][]byte, error)
}

// qualifiedRoutes are the calls for signatures with qualified certificates.
func (s *site) qualifiedRoutes(mux *http.ServeMux) {
	if s.Remote == nil && !s.Card {
		return
	}
	mux.HandleFunc("GET /r", s.signPage)
	mux.Handle("POST /api/qualified/keys", s.api(4<<10, s.qualifiedCall(s.qualifiedKeys)))
	mux.Handle("POST /api/qualified/prepare", s.api(maxSignBody, s.qualifiedCall(s.qualifiedPrepare)))
	mux.Handle("POST /api/qualified/challenge", s.api(4<<10, s.qualifiedCall(s.qualifiedChallenge)))
	mux.Handle("POST /api/qualified/authorize", s.api(8<<10, s.qualifiedCall(s.qualifiedAuthorize)))
	mux.Handle("POST /api/qualified/leave", s.api(4<<10, s.qualifiedCall(s.qualifiedLeave)))
	mux.Handle("POST /api/qualified/return", s.api(64<<10, s.qualifiedCall(s.qualifiedReturn)))
	mux.Handle("POST /api/qualified/finish", s.api(64<<10, s.qualifiedCall(s.qualifiedFinish)))
}

// qualifiedCall is for proven devices and sessions of level Qualified.
func (s *site) qualifiedCall(do func(context.Context, *call) error) func(context.Context, *call) error {
	return s.othersCall(do, func(l workflow.Level) error {
		if l != workflow.Qualified {
			return refusal("wrong-level", "This session is not signed with qualified certificates.", nil)
		}
		return nil
	})
}

// lookKey is a person's key at a provider.
type lookKey struct {
	ID      string          `json:"id"`
	Subject string          `json:"subject"`
	Until   time.Time       `json:"until,omitzero"`
	Once    bool            `json:"once,omitempty"` // its certificate is made for each signature; no Subject and Until then
	Page    bool            `json:"page"`           // its person agrees on the provider's page
	Factors []remote.Factor `json:"factors"`
}

func (s *site) qualifiedKeys(ctx context.Context, c *call) error {
	var in struct {
		Token    string `json:"token"`
		Provider string `json:"provider"`
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	all, err := s.find(ctx, c, in.Provider)
	if err != nil {
		return err
	}
	out := struct {
		Keys []lookKey `json:"keys"`
	}{}
	for _, k := range all {
		out.Keys = append(out.Keys, lookKey{k.Credential, k.Subject, k.Until, len(k.Chain) == 0, k.Page, k.Factors})
	}
	return c.answer(out)
}

func (s *site) find(ctx context.Context, c *call, provider string) ([]remote.Credential, error) {
	if s.Remote == nil {
		return nil, refusal("no-provider", "No trust service provider is set up here.", nil)
	}
	return s.Remote.Find(ctx, provider, c.visit.Who().Person, len(c.visit.Session.Mailed()))
}

// cardAlgorithm is one of what an identity card can do, in Web eID's words.
type cardAlgorithm struct {
	Crypto  string `json:"cryptoAlgorithm"` // ECC, RSA
	Hash    string `json:"hashFunction"`    // SHA-256
	Padding string `json:"paddingScheme"`   // NONE, PKCS1.5, PSS
}

// algorithms are Web eID's words for ours.
var algorithms = map[cms.Algorithm]cardAlgorithm{
	cms.ES256: {"ECC", "SHA-256", "NONE"}, cms.ES384: {"ECC", "SHA-384", "NONE"}, cms.ES512: {"ECC", "SHA-512", "NONE"},
	cms.RS256: {"RSA", "SHA-256", "PKCS1.5"}, cms.RS384: {"RSA", "SHA-384", "PKCS1.5"}, cms.RS512: {"RSA", "SHA-512", "PKCS1.5"},
	cms.PS256: {"RSA", "SHA-256", "PSS"}, cms.PS384: {"RSA", "SHA-384", "PSS"}, cms.PS512: {"RSA", "SHA-512", "PSS"},
}

// choose finds the algorithm to use with a card: the usual one of its key, or
// another one that it can do.
func choose(leaf []byte, can []cardAlgorithm) (cms.Algorithm, error) {
	cert, err := x509.ParseCertificate(leaf)
	if err != nil {
		return "", refusal("malformed-certificate", "The certificate of this card cannot be read.", err)
	}
	usual, err := cms.AlgorithmFor(cert.PublicKey)
	if err != nil {
		return "", refusal("weak-algorithm", "The key of this card is not of a kind that is accepted.", err)
	}
	for _, a := range append([]cms.Algorithm{usual}, cms.Algorithms()...) {
		if slices.Contains(can, algorithms[a]) && a.Fits(cert.PublicKey) == nil {
			return a, nil
		}
	}
	return "", refusal("weak-algorithm", "This card offers no signature algorithm that is accepted.", nil)
}

func (s *site) qualifiedPrepare(ctx context.Context, c *call) error {
	var in struct {
		Token      string              `json:"token"`
		Shown      []workflow.Shown    `json:"shown"`
		Appearance workflow.Appearance `json:"appearance"`
		// With a key at a provider:
		Provider string `json:"provider"`
		Key      string `json:"key"`
		// With an identity card:
		Certificate []byte          `json:"certificate"` // DER
		Algorithms  []cardAlgorithm `json:"algorithms"`
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	if err := checkAct(in.Shown, &in.Appearance); err != nil {
		return err
	}
	offer := workflow.Offer{By: workflow.ByCard, Chain: [][]byte{in.Certificate}}
	switch {
	case in.Provider != "":
		all, err := s.find(ctx, c, in.Provider)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(all, func(k remote.Credential) bool { return k.Credential == in.Key })
		if i < 0 {
			return refusal("no-credential", "The provider does not know this certificate any more. Please load the page again.", nil)
		}
		offer = all[i].Offer
	case !s.Card:
		return refusal("no-card", "Identity cards are not taken here.", nil)
	default:
		alg, err := choose(in.Certificate, in.Algorithms)
		if err != nil {
			return err
		}
		offer.Algorithm = string(alg)
	}
	return s.prepareOffer(ctx, c, in.Shown, in.Appearance, offer)
}

// remotePrepared is a preparation of the visitor's that a provider signs: its signed
// attributes, or digests of ByteRanges where the certificate comes with the signature.
func (s *site) remotePrepared(ctx context.Context, c *call, id string) (signed [][]byte, q *workflow.Acceptance, err error) {
	p, q, err := s.Desk.Prepared(ctx, c.visit, id)
	if err != nil {
		return nil, nil, err
	}
	if q == nil || q.By == workflow.ByCard || s.Remote == nil {
		return nil, nil, refusal("preparation-gone", "What was prepared for your signature is out of date. Please sign again.", nil)
	}
	for _, d := range p.Documents {
		if len(q.Chain) == 0 {
			signed = append(signed, d.Digest)
		} else {
			signed = append(signed, d.Attributes)
		}
	}
	return signed, q, nil
}

func (s *site) qualifiedChallenge(ctx context.Context, c *call) error {
	var in struct {
		Token  string `json:"token"`
		ID     string `json:"id"`
		Factor string `json:"factor"`
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	_, q, err := s.remotePrepared(ctx, c, in.ID)
	if err != nil {
		return err
	}
	if !s.sends.allow(c.visit.Who().Mail, s.now()) {
		return refusal("too-fast", "Too many codes were sent; wait a minute.", nil)
	}
	question, err := s.Remote.Challenge(ctx, q, in.Factor)
	if err != nil {
		return err
	}
	return c.answer(map[string]string{"question": question})
}

// qualifiedAuthorize has a provider sign by what the person typed.
func (s *site) qualifiedAuthorize(ctx context.Context, c *call) error {
	var in struct {
		Token   string            `json:"token"`
		ID      string            `json:"id"`
		Answers map[string]string `json:"answers"`
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	if !s.guesses.allow(c.token, s.now()) {
		return refusal("too-fast", "Too many tries; wait a moment.", nil)
	}
	signed, q, err := s.remotePrepared(ctx, c, in.ID)
	if err != nil {
		return err
	}
	values, err := s.Remote.Sign(ctx, q, signed, in.Answers)
	if err != nil {
		return s.Desk.Refused(ctx, c.visit, in.ID, c.client, err)
	}
	return s.finishOffer(ctx, c, in.ID, values)
}

// qualifiedLeave sends the browser to the provider's page.
func (s *site) qualifiedLeave(ctx context.Context, c *call) error {
	var in struct {
		Token string `json:"token"`
		ID    string `json:"id"`
		Lang  string `json:"lang"`
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	if !slices.Contains([]string{"", "en", "de", "fr"}, in.Lang) {
		return refusal("bad-request", "There is no such language here.", nil)
	}
	signed, q, err := s.remotePrepared(ctx, c, in.ID)
	if err != nil {
		return err
	}
	address, kept, err := s.Remote.Leave(ctx, q, in.ID, c.visit.Who().Mail, signed, in.Lang)
	if err != nil {
		return err
	}
	if _, err := s.Desk.Leave(ctx, c.visit, in.ID); err != nil {
		return err
	}
	return c.answer(struct {
		Address string `json:"address"`
		Kept    []byte `json:"kept"`
	}{address, kept})
}

// qualifiedReturn takes what the browser brought back from the provider's page.
func (s *site) qualifiedReturn(ctx context.Context, c *call) error {
	var in struct {
		Token string `json:"token"`
		ID    string `json:"id"`
		Kept  []byte `json:"kept"`
		Query string `json:"query"`
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	query, err := url.ParseQuery(in.Query)
	if err != nil {
		return refusal("bad-request", "The provider's page sent the browser back with something that cannot be read.", nil)
	}
	signed, q, err := s.remotePrepared(ctx, c, in.ID)
	if err != nil {
		return err
	}
	values, err := s.Remote.Return(ctx, q, in.ID, c.visit.Who().Mail, signed, in.Kept, query)
	if err != nil {
		return s.Desk.Refused(ctx, c.visit, in.ID, c.client, err)
	}
	return s.finishOffer(ctx, c, in.ID, values)
}

// qualifiedFinish takes the values that a card has made.
func (s *site) qualifiedFinish(ctx context.Context, c *call) error {
	var in struct {
		Token  string   `json:"token"`
		ID     string   `json:"id"`
		Values [][]byte `json:"values"`
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	return s.finishOffer(ctx, c, in.ID, in.Values)
}
