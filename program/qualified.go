package program

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"milterd/auth"
	"milterd/config"
	"milterd/directory"
	"milterd/pki"
	"milterd/pki/qualified"
	"milterd/pki/trustlist"
	"milterd/signer/csc"
	"milterd/signer/remote"
	"milterd/workflow"
)

// refreshEvery is how often the trusted lists are asked for newer ones: their
// issuers write them anew at least every six months, and when something happens.
const refreshEvery = 6 * time.Hour

// qualifier implements workflow.Acceptor: by the trusted lists, the directory, and
// revocation data of the moment.
type qualifier struct {
	policy      qualified.Policy
	gatherer    *pki.Gatherer
	directory   directory.Backend
	credentials func(ctx context.Context, mail string) ([]*workflow.Credential, error) // a person's
	now         func() time.Time
}

// Accept implements workflow.Acceptor.
func (q *qualifier) Accept(ctx context.Context, p workflow.Person, chain [][]byte) (*workflow.Acceptance, error) {
	return q.qualify(ctx, p, chain, false)
}

// Registrable implements auth.Cards: it is Accept for a certificate that somebody vouches for as p's.
// So its name is not compared; an identifier that the directory has must still be its.
func (q *qualifier) Registrable(ctx context.Context, p workflow.Person, chain [][]byte) (*workflow.Acceptance, error) {
	return q.qualify(ctx, p, chain, true)
}

func (q *qualifier) qualify(ctx context.Context, p workflow.Person, chain [][]byte, theirs bool) (*workflow.Acceptance, error) {
	certs, who, err := q.asked(ctx, p, chain)
	if err != nil {
		return nil, err
	}
	if theirs {
		who.Registered, who.Removed = certs[:1], nil
	}
	now := q.now()
	path, err := q.policy.Path(certs[0], certs[1:], now)
	if err != nil {
		return nil, unqualified(err)
	}
	report, err := q.accept(ctx, path, who, now, q.policy.Accept)
	if err != nil {
		return nil, err
	}
	out := acceptance(workflow.Qualified, report, path, vouched(report.Entry))
	if q.policy.Registration == qualified.FirstUse {
		switch report.Match {
		case qualified.BySerial, qualified.ByIdentifier:
			out.Register = workflow.RegisterAlways
		case qualified.ByName:
			out.Register = workflow.RegisterAtDevice
		}
	}
	return out, nil
}

// asked reads a chain that came from outside, and says what is known of its person.
func (q *qualifier) asked(ctx context.Context, p workflow.Person, chain [][]byte) ([]*x509.Certificate, qualified.Person, error) {
	var nobody qualified.Person
	certs := make([]*x509.Certificate, len(chain))
	for i, der := range chain {
		var err error
		if certs[i], err = x509.ParseCertificate(der); err != nil {
			return nil, nobody, unqualified(&qualified.Refusal{Reason: qualified.Malformed, Text: "The certificate cannot be read.", Err: err})
		}
	}
	if len(certs) == 0 {
		return nil, nobody, unqualified(&qualified.Refusal{Reason: qualified.Malformed, Text: "There is no certificate.", Err: errors.New("an empty chain")})
	}
	who, err := q.person(ctx, p)
	return certs, who, err
}

// acceptance is a report as it is kept.
func acceptance(level workflow.Level, report *qualified.Report, path []*x509.Certificate, vouched string) *workflow.Acceptance {
	out := &workflow.Acceptance{Level: level, Subject: report.Subject, Issuer: report.Issuer, Serial: report.Serial,
		NotAfter: path[0].NotAfter, Vouched: vouched, At: report.At}
	for _, c := range path {
		out.Chain = append(out.Chain, c.Raw)
	}
	for _, c := range report.Checks {
		out.Checks = append(out.Checks, workflow.AcceptanceCheck{Name: c.Name, Clause: c.Clause, Outcome: string(c.Outcome), Detail: c.Detail})
	}
	return out
}

// accept gathers revocation data for a path, and has a certificate judged with it.
func (q *qualifier) accept(ctx context.Context, path []*x509.Certificate, who qualified.Person, now time.Time,
	judge func(qualified.Candidate, time.Time) (*qualified.Report, error)) (*qualified.Report, error) {
	c := qualified.Candidate{Leaf: path[0], Issuers: path[1:], Person: who}
	e, err := q.gatherer.With([][]byte{path[len(path)-1].Raw}).Gather(ctx, now, path[:1], path[1:])
	if revoked := (*pki.RevokedError)(nil); errors.As(err, &revoked) {
		return nil, unqualified(q.refusal(qualified.Revoked, err))
	}
	c.OCSPs, c.CRLs = e.OCSPs, e.CRLs
	report, refused := judge(c, now)
	if refused == nil && err != nil { // what nobody gives now, the signature would wait for in vain
		refused = q.refusal(qualified.RevocationUnknown, nil)
	}
	if refused != nil {
		return nil, unqualified(errors.Join(refused, err))
	}
	return report, nil
}

// refusal is one of what the outside has said.
func (q *qualifier) refusal(r qualified.Reason, err error) *qualified.Refusal {
	return &qualified.Refusal{Reason: r, Text: qualified.Sentence(q.policy.Purpose, r), Err: err}
}

// Login implements auth.Cards.
func (q *qualifier) Login(ctx context.Context, p workflow.Person, cert *x509.Certificate) (subject string, err error) {
	who, err := q.person(ctx, p)
	if err != nil {
		return "", err
	}
	now := q.now()
	path, err := q.policy.LoginPath(cert, nil, now)
	if err != nil {
		return "", unqualified(err)
	}
	report, err := q.accept(ctx, path, who, now, q.policy.AcceptLogin)
	if err != nil {
		return "", err
	}
	return report.Subject, nil
}

func (q *qualifier) person(ctx context.Context, p workflow.Person) (qualified.Person, error) {
	id, err := q.directory.Identity(ctx, p.Mail)
	switch {
	case errors.Is(err, directory.ErrNotFound), errors.Is(err, directory.ErrAmbiguous):
		return qualified.Person{}, unqualified(&qualified.Refusal{Reason: qualified.PersonUnknown,
			Text: "You are not, or no longer, in the directory, so nobody can say whether this certificate is yours.", Err: err})
	case err != nil:
		return qualified.Person{}, &workflow.Refusal{Code: 451, Enhanced: "4.4.3", Reason: "directory-away", Err: err,
			Text: "The directory does not answer. Please try again in a few minutes."}
	}
	out := qualified.Person{Mail: p.Mail, Serial: id.Serial, GivenName: id.GivenName, Surname: id.Surname}
	for _, der := range id.Certificates {
		if c, err := x509.ParseCertificate(der); err == nil {
			out.Registered = append(out.Registered, c)
		}
	}
	all, err := q.credentials(ctx, p.Mail)
	if err != nil {
		return qualified.Person{}, &workflow.Refusal{Code: 451, Enhanced: "4.3.0", Reason: "store-away", Err: err,
			Text: "The signature desk cannot reach its database. Please try again in a few minutes."}
	}
	now, removed := workflow.Registered(all)
	out.Registered, out.Removed = append(out.Registered, now...), removed
	return out, nil
}

// vouched names the entry that vouches, in words.
func vouched(e *trustlist.Entry) string {
	if e.Own {
		return "the organisation itself: " + e.Service
	}
	return fmt.Sprintf("trusted list of %s, number %d: %s, %s, %s since %s", e.Territory, e.Sequence, e.Provider, e.Service, e.Status, e.Since.Format(time.DateOnly))
}

func unqualified(err error) error {
	var r *qualified.Refusal
	if !errors.As(err, &r) {
		return err
	}
	out := &workflow.Refusal{Code: 550, Enhanced: "5.7.1", Text: r.Text, Reason: string(r.Reason), Err: err}
	if r.Reason == qualified.RevocationUnknown { // an authority that is away, not the person's fault
		out.Code, out.Enhanced = 451, "4.4.3"
	}
	return out
}

// trusts asks several; the first that vouches counts, and of refusals the first.
type trusts []interface {
	qualified.Trust
	Authorities() []*x509.Certificate
}

// Vouch implements qualified.Trust.
func (t trusts) Vouch(leaf *x509.Certificate, issuers []*x509.Certificate, at time.Time) (*trustlist.Entry, error) {
	var first error
	for _, one := range t {
		e, err := one.Vouch(leaf, issuers, at)
		if err == nil {
			return e, nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, first
}

// OpenLists reads and verifies the trusted lists; nil where none are configured.
func OpenLists(cfg *config.Config) (*trustlist.Lists, error) {
	c := cfg.Qualified
	if c.LOTLSigners == "" {
		return nil, nil
	}
	signers, err := readCertificates(c.LOTLSigners)
	if err != nil {
		return nil, fmt.Errorf("qualified.lotl_signers: %w", err)
	}
	folder := c.Lists
	if !filepath.IsAbs(folder) {
		folder = filepath.Join(cfg.Data, folder)
	}
	if err := os.MkdirAll(folder, 0o750); err != nil {
		return nil, fmt.Errorf("qualified.lists: %w", err)
	}
	lists, err := trustlist.Open(trustlist.Config{Folder: folder, LOTL: c.LOTL, Signers: signers, Territories: c.Territories})
	if err != nil {
		return nil, fmt.Errorf("qualified.lists: %w", err)
	}
	return lists, nil
}

// qualified builds what level Qualified needs; nothing where it is not offered.
func (p *Program) qualified(keys *auth.Keys, gatherer *pki.Gatherer) error {
	c := p.Config.Qualified
	if !p.Config.OffersQualified() {
		return nil
	}
	var trust trusts
	var err error
	if p.lists, err = OpenLists(p.Config); err != nil {
		return err
	}
	if p.lists != nil {
		trust = append(trust, p.lists)
	}
	if c.Anchors != "" {
		anchors, err := trustlist.OpenAnchors(c.Anchors)
		if err != nil {
			return fmt.Errorf("qualified.anchors: %w", err)
		}
		trust = append(trust, anchors)
	}
	p.trust = trust
	q := &qualifier{policy: qualified.Policy{Trust: trust, Registration: qualified.Registration(c.Registered)}, gatherer: gatherer,
		directory: p.Directory, credentials: p.Store.Credentials, now: time.Now}
	p.acceptors[workflow.Qualified] = q
	p.Enrolments.Cards, p.Enrolments.Readers = q, c.Card
	p.remote = &remote.Providers{Seal: keys.Seal, Unseal: keys.Unseal, Log: p.log}
	for _, pc := range c.Providers {
		client, err := p.provider(pc)
		if err != nil {
			return err
		}
		p.remote.Clients = append(p.remote.Clients, client)
	}
	return nil
}

// readRoots reads a PEM file of authorities; nil, those of the system, without one.
func readRoots(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil
	}
	certs, err := readCertificates(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	for _, c := range certs {
		pool.AddCert(c)
	}
	return pool, nil
}

func (p *Program) provider(c config.Provider) (*csc.Client, error) {
	secret, err := os.ReadFile(c.SecretFile)
	if err != nil {
		return nil, fmt.Errorf("qualified.provider.secret_file: %w", err)
	}
	of := csc.Provider{Name: c.Name, URL: c.URL, Version: c.Version, ClientID: c.ClientID, Secret: csc.Secret(strings.TrimRight(string(secret), "\r\n")),
		TokenURL: c.TokenURL, AuthorizeURL: c.AuthorizeURL, ClientCredentials: true, BasicAuth: c.BasicAuth, RichRequests: c.RichRequests,
		HashURLSafe: c.HashURLSafe, HashUnpadded: c.HashUnpadded}
	if c.AuthorizeURL != "" {
		of.RedirectURI = p.Config.URL + "/r"
	}
	if of.Roots, err = readRoots(c.CA); err != nil {
		return nil, fmt.Errorf("qualified.provider.ca: %w", err)
	}
	client, err := csc.New(of)
	if err != nil {
		return nil, fmt.Errorf("qualified.provider: %w", err)
	}
	return client, nil
}

// readCertificates reads a PEM file.
func readCertificates(path string) (out []*x509.Certificate, err error) {
	rest, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s holds no PEM certificate", path)
	}
	return out, nil
}

// warnLists logs the lists that do not count.
func (p *Program) warnLists() {
	for _, s := range p.lists.Status() {
		if s.Reason != "" {
			p.log.Warn("a trusted list does not count", "territory", s.Territory, "reason", string(s.Reason), "why", s.Why)
		}
	}
}

// refresh keeps the trusted lists young: at start and then from time to time. What
// is there stays good until its own end.
func (p *Program) refresh(ctx context.Context) {
	if p.lists == nil {
		return
	}
	for {
		if err := p.lists.Refresh(ctx); err != nil && ctx.Err() == nil {
			p.log.Warn("refreshing the trusted lists", "error", err)
		}
		p.warnLists()
		select {
		case <-ctx.Done():
			return
		case <-time.After(refreshEvery):
		}
	}
}
