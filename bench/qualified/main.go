// Command qualified measures a Qualified ceremony: what milterd itself does (is the
// certificate good, prepare, check the value, finish) beside what a trust service
// provider does in the same ceremony, which is a stand-in on this machine and so as
// fast as one can be: a real one adds its network, its HSM and a person.
//
//	go run ./bench/qualified
//
// Each figure is a median with the lowest and the highest, of ceremonies in turn.
package main

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"milterd/bench/internal/probe"
	"milterd/pki"
	"milterd/pki/qualified"
	"milterd/pki/qualified/qualifiedtest"
	"milterd/pki/trustlist"
	"milterd/signature/cms/cmstest"
	"milterd/signature/pades"
	"milterd/signer"
	"milterd/signer/csc"
	"milterd/signer/csc/csctest"
	"milterd/signer/remote"
	"milterd/workflow"
)

const rounds = 41

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := measure(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench/qualified:", err)
		os.Exit(1)
	}
}

// ceremony is everything that takes part.
type ceremony struct {
	signer   *signer.Signer
	gatherer *pki.Gatherer
	policy   qualified.Policy
	remote   *remote.Providers
	session  *workflow.Session
	head     []byte
	who      workflow.Person
}

func measure(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "milterd-qualified-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	for _, key := range []csctest.KeyType{csctest.P256, csctest.RSA3072} {
		c, stop, err := open(ctx, filepath.Join(dir, string(key)), key)
		if err != nil {
			return err
		}
		err = c.run(ctx, key)
		stop()
		if err != nil {
			return err
		}
	}
	return nil
}

func open(ctx context.Context, dir string, key csctest.KeyType) (_ *ceremony, stop func(), err error) {
	stop = func() {}
	keys := filepath.Join(dir, "keys")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, stop, err
	}
	if err := pki.Init(keys, pki.Options{Organisation: "Example Corp", Country: "LU", URL: "https://sign.corp.test", Key: pki.P256}); err != nil {
		return nil, stop, err
	}
	a, err := pki.Load(keys)
	if err != nil {
		return nil, stop, err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, stop, err
	}
	authority, err := qualifiedtest.New(time.Now, "http://"+ln.Addr().String())
	if err != nil {
		return nil, stop, err
	}
	revocation := &http.Server{Handler: authority, ReadHeaderTimeout: 10 * time.Second}
	go revocation.Serve(ln)
	union, err := authority.Lists()
	if err != nil {
		return nil, stop, err
	}
	lists := filepath.Join(dir, "lists")
	if err := errors.Join(os.Mkdir(lists, 0o700), union.Write(lists)); err != nil {
		return nil, stop, err
	}
	trust, err := trustlist.Open(trustlist.Config{Folder: lists, Signers: union.Trusted()})
	if err != nil {
		return nil, stop, err
	}
	jane := workflow.Person{Mail: "jane.roe@corp.test", Name: "Jane Roe", Language: "en"}
	qtsp, err := csctest.New(csctest.Config{ClientID: "bench", Secret: "bench", ClientCredentials: true,
		Issue: func(pub crypto.PublicKey, _ string) ([]byte, [][]byte, error) {
			id, err := authority.Issue(qualifiedtest.Request{GivenName: "Jane", Surname: "Roe", Key: pub})
			if err != nil {
				return nil, nil, err
			}
			return id.Cert.Raw, [][]byte{authority.CA.Raw}, nil
		}})
	if err != nil {
		return nil, stop, err
	}
	stop = func() { qtsp.Close(); revocation.Close() }
	qtsp.AddUser(csctest.User{ID: jane.Mail, PIN: "1234"})
	if err := qtsp.AddCredential(csctest.Credential{ID: "key", User: jane.Mail, Type: key, PIN: true}); err != nil {
		return nil, stop, err
	}
	client, err := csc.New(csc.Provider{Name: "Stand-in QTSP", URL: qtsp.URL, ClientID: "bench", Secret: "bench", TokenURL: qtsp.TokenURL, ClientCredentials: true})
	if err != nil {
		return nil, stop, err
	}
	g := &pki.Gatherer{Own: a}
	c := &ceremony{gatherer: g, who: jane, policy: qualified.Policy{Trust: trust},
		signer: signer.New(signer.Config{Seal: a.Seal(), Organisation: "Example Corp", Evidence: g, Time: a.OwnClock(pki.ClockPolicy{AllowUnsynchronised: true})}),
		remote: &remote.Providers{Clients: []*csc.Client{client}, Log: slog.New(slog.DiscardHandler)}}
	c.session = &workflow.Session{ID: "abcdefghijklmnop", Level: workflow.Qualified, State: workflow.Open, Created: time.Now(),
		Documents: []workflow.Document{{Name: "contract.pdf", Kind: workflow.Mailed, Pages: 1}},
		People:    []workflow.Participant{{Person: jane, Sender: true, Signatory: true, State: workflow.Waiting}}}
	original := cmstest.Document(100 << 10)
	layout, err := c.signer.Layout(ctx, c.session, 0, original)
	c.head = append(original, layout...)
	return c, stop, err
}

// run does ceremonies and prints what they took.
func (c *ceremony) run(ctx context.Context, key csctest.KeyType) error {
	var find, accept, prepare, value, finish, own, theirs []float64
	for round := -1; round < rounds; round++ { // the first is not counted
		var took [5]time.Duration
		var offer remote.Credential
		var q *workflow.Acceptance
		var p *workflow.Prepared
		for i, do := range []func() error{
			func() error {
				all, err := c.remote.Find(ctx, "Stand-in QTSP", c.who, 1)
				if err == nil {
					offer = all[0]
				}
				return err
			},
			func() (err error) { q, err = c.accept(ctx, offer); return err },
			func() (err error) {
				p, err = c.signer.Prepare(ctx, c.session, 0, 0, workflow.Appearance{Typed: c.who.Name}, time.Now(), workflow.Key{Chain: q.Chain, Algorithm: q.Algorithm}, c.head)
				return err
			},
			func() error {
				values, err := c.remote.Sign(ctx, q, [][]byte{p.Attributes}, map[string]string{"PIN": "1234"})
				if err == nil {
					p.Value = values[0]
				}
				return err
			},
			func() error { return c.finish(ctx, p) },
		} {
			begin := time.Now()
			if err := do(); err != nil {
				return err
			}
			took[i] = time.Since(begin)
		}
		if round < 0 {
			continue
		}
		find, accept, prepare = append(find, probe.Ms(took[0])), append(accept, probe.Ms(took[1])), append(prepare, probe.Ms(took[2]))
		value, finish = append(value, probe.Ms(took[3])), append(finish, probe.Ms(took[4]))
		own, theirs = append(own, probe.Ms(took[1]+took[2]+took[4])), append(theirs, probe.Ms(took[0]+took[3]))
	}
	fmt.Printf("qualified, %s, 100 KB: milterd %s ms: certificate (list, chain, OCSP over loopback, statements, person) %s, prepare %s, check and finish %s\n",
		key, probe.Spread(own, 2), probe.Spread(accept, 2), probe.Spread(prepare, 2), probe.Spread(finish, 2))
	fmt.Printf("qualified, %s, 100 KB: calls to the stand-in for a provider %s ms: the person's certificates %s, authorise and sign %s; milterd's own to that %s\n",
		key, probe.Spread(theirs, 2), probe.Spread(find, 2), probe.Spread(value, 2), probe.Spread(probe.Ratios(own, theirs), 2))
	return nil
}

// accept decides about the certificate as the desk's qualifier does.
func (c *ceremony) accept(ctx context.Context, k remote.Credential) (*workflow.Acceptance, error) {
	var certs []*x509.Certificate
	for _, der := range k.Chain {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		certs = append(certs, cert)
	}
	now := time.Now()
	path, err := c.policy.Path(certs[0], certs[1:], now)
	if err != nil {
		return nil, err
	}
	e, err := c.gatherer.With([][]byte{path[len(path)-1].Raw}).Gather(ctx, now, certs[:1], path[1:])
	if err != nil {
		return nil, err
	}
	_, err = c.policy.Accept(qualified.Candidate{Leaf: certs[0], Issuers: path[1:], OCSPs: e.OCSPs, CRLs: e.CRLs,
		Person: qualified.Person{GivenName: "Jane", Surname: "Roe"}}, now)
	return &workflow.Acceptance{By: k.By, Credential: k.Credential, Algorithm: k.Algorithm, Chain: k.Offer.Chain}, err
}

// finish checks the value when it arrives, and embeds it without a timestamp.
func (c *ceremony) finish(ctx context.Context, p *workflow.Prepared) error {
	if err := c.signer.CheckValue(p, p.Value); err != nil {
		return err
	}
	var prep pades.Preparation
	if err := prep.UnmarshalBinary(p.Signer); err != nil {
		return err
	}
	prep.Suffix, prep.Attributes = p.Suffix, p.Attributes
	_, err := prep.Finish(ctx, p.Value, nil)
	return err
}
