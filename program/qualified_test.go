package program

import (
	"bytes"
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"milterd/directory"
	"milterd/pki"
	"milterd/pki/qualified"
	"milterd/pki/qualified/qualifiedtest"
	"milterd/pki/trustlist"
	"milterd/pki/trustlist/trustlisttest"
	"milterd/workflow"
)

// known is a directory that answers about one person.
type known struct {
	directory.Backend
	id  directory.Identity
	err error
}

func (*known) Reload() error { return nil }

func (k *known) Identity(context.Context, string) (directory.Identity, error) { return k.id, k.err }

// chambers are a provider with its revocation service and lists, and the qualifier.
type chambers struct {
	*qualifiedtest.Provider
	*qualifier
	who    *known
	union  *trustlisttest.Union
	folder string
	away   atomic.Bool  // the revocation service
	asked  atomic.Int32 // how often it was
	now    time.Time
	own    []*workflow.Credential // what is registered here

	storeErr error
}

func newChambers(t *testing.T) *chambers {
	t.Helper()
	c := &chambers{folder: t.TempDir(), now: time.Now(), who: &known{id: directory.Identity{GivenName: "Jane", Surname: "Roe"}}}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.asked.Add(1)
		if c.away.Load() {
			http.Error(w, "maintenance", http.StatusServiceUnavailable)
			return
		}
		c.Provider.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	var err error
	if c.Provider, err = qualifiedtest.New(time.Now, srv.URL); err != nil {
		t.Fatal(err)
	}
	if c.union, err = c.Lists(); err != nil {
		t.Fatal(err)
	}
	if err := c.union.Write(c.folder); err != nil {
		t.Fatal(err)
	}
	keys := filepath.Join(t.TempDir(), "keys")
	if err := pki.Init(keys, pki.Options{Organisation: "Example Corp", Country: "LU", URL: "https://sign.corp.test", Key: pki.P256}); err != nil {
		t.Fatal(err)
	}
	own, err := pki.Load(keys)
	if err != nil {
		t.Fatal(err)
	}
	c.qualifier = &qualifier{policy: qualified.Policy{Trust: trusts{c.open(t)}}, gatherer: &pki.Gatherer{Own: own, Timeout: 2 * time.Second},
		directory: c.who, now: func() time.Time { return c.now },
		credentials: func(context.Context, string) ([]*workflow.Credential, error) { return c.own, c.storeErr }}
	return c
}

func (c *chambers) open(t *testing.T) *trustlist.Lists {
	t.Helper()
	l, err := trustlist.Open(trustlist.Config{Folder: c.folder, Signers: c.union.Trusted(), Now: func() time.Time { return c.now }})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// issue gives Jane a certificate; change may be nil.
func (c *chambers) issue(t *testing.T, change func(*qualifiedtest.Request)) *x509.Certificate {
	t.Helper()
	r := qualifiedtest.Request{GivenName: "JANE", Surname: "ROE"}
	if change != nil {
		change(&r)
	}
	id, err := c.Issue(r)
	if err != nil {
		t.Fatal(err)
	}
	return id.Cert
}

// qualify gives the reason of the refusal, and its code.
func (c *chambers) qualify(t *testing.T, chain ...[]byte) (*workflow.Acceptance, string) {
	t.Helper()
	q, err := c.Accept(t.Context(), workflow.Person{Mail: "jane.roe@corp.test", Name: "Jane Roe"}, chain)
	var r *workflow.Refusal
	switch {
	case err == nil:
		return q, ""
	case q != nil || !errors.As(err, &r) || r.Text == "":
		t.Fatalf("%+v, %v", q, err)
	}
	return nil, fmt.Sprintf("%d %s", r.Code, r.Reason)
}

// garbage is not parsed by anybody; it is as large as an answer of a provider can be.
var garbage = bytes.Repeat([]byte{0x30, 0x82}, 1<<19)

func TestQualifier(t *testing.T) {
	t.Parallel()
	chain := func(t *testing.T, c *chambers) [][]byte { return [][]byte{c.issue(t, nil).Raw, c.CA.Raw} }
	with := func(change func(*qualifiedtest.Request)) func(*testing.T, *chambers) [][]byte {
		return func(t *testing.T, c *chambers) [][]byte { return [][]byte{c.issue(t, change).Raw, c.CA.Raw} }
	}
	for name, k := range map[string]struct {
		chain func(*testing.T, *chambers) [][]byte
		want  string
	}{
		"good":                      {chain, ""},
		"a card gives only its own": {func(t *testing.T, c *chambers) [][]byte { return [][]byte{c.issue(t, nil).Raw} }, ""},
		"with the root":             {func(t *testing.T, c *chambers) [][]byte { return append(chain(t, c), c.Root.Raw) }, ""},
		"with strangers": {func(t *testing.T, c *chambers) [][]byte {
			other := newChambers(t)
			return append(chain(t, c), other.CA.Raw, other.Root.Raw, other.issue(t, nil).Raw)
		}, ""},
		"not in the directory": {func(t *testing.T, c *chambers) [][]byte { c.who.err = directory.ErrNotFound; return chain(t, c) }, "550 person-unknown"},
		"twice in the directory": {func(t *testing.T, c *chambers) [][]byte {
			c.who.err = fmt.Errorf("asking: %w", directory.ErrAmbiguous)
			return chain(t, c)
		}, "550 person-unknown"},
		"directory away":         {func(t *testing.T, c *chambers) [][]byte { c.who.err = errors.New("no route"); return chain(t, c) }, "451 directory-away"},
		"no name, no identifier": {func(t *testing.T, c *chambers) [][]byte { c.who.id = directory.Identity{}; return chain(t, c) }, "550 person-unknown"},
		"somebody else":          {with(func(r *qualifiedtest.Request) { r.GivenName = "JOHN" }), "550 wrong-person"},
		"another identifier": {func(t *testing.T, c *chambers) [][]byte {
			c.who.id.Serial = "PNOEE-1"
			return with(func(r *qualifiedtest.Request) { r.Serial = "PNOEE-2" })(t, c)
		}, "550 wrong-person"},
		"revocation service away": {func(t *testing.T, c *chambers) [][]byte { c.away.Store(true); return chain(t, c) }, "451 revocation-unknown"},
		"revocation data of nowhere": {with(func(r *qualifiedtest.Request) {
			r.Change = func(c *x509.Certificate) { c.OCSPServer, c.CRLDistributionPoints = nil, nil }
		}), "451 revocation-unknown"},
		"short-lived, without any": {with(func(r *qualifiedtest.Request) { // EN 319 412-1, 5.2: the signature could not be completed
			r.Change = func(c *x509.Certificate) {
				c.OCSPServer, c.CRLDistributionPoints = nil, nil
				c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{0, 4, 0, 194121, 2, 1}, Value: []byte{5, 0}})
			}
		}), "451 revocation-unknown"},
		"only a list of revocations": {with(func(r *qualifiedtest.Request) { r.Change = func(c *x509.Certificate) { c.OCSPServer = nil } }), ""},
		"revoked": {func(t *testing.T, c *chambers) [][]byte {
			leaf := c.issue(t, nil)
			c.Revoke(leaf, time.Now().Add(-time.Minute))
			return [][]byte{leaf.Raw, c.CA.Raw}
		}, "550 certificate-revoked"},
		"revoked, in the list": {func(t *testing.T, c *chambers) [][]byte {
			leaf := c.issue(t, func(r *qualifiedtest.Request) { r.Change = func(c *x509.Certificate) { c.OCSPServer = nil } })
			c.Revoke(leaf, time.Now().Add(-time.Minute))
			return [][]byte{leaf.Raw, c.CA.Raw}
		}, "550 certificate-revoked"},
		"nobody knows it": {func(t *testing.T, c *chambers) [][]byte {
			leaf := c.issue(t, func(r *qualifiedtest.Request) { r.Change = func(c *x509.Certificate) { c.CRLDistributionPoints = nil } })
			c.Forget(leaf)
			return [][]byte{leaf.Raw, c.CA.Raw}
		}, "451 revocation-unknown"},
		"expired":           {with(func(r *qualifiedtest.Request) { r.Expired = true }), "550 certificate-expired"},
		"no device":         {with(func(r *qualifiedtest.Request) { r.NoQSCD = true }), "550 no-qscd"},
		"for logging in":    {with(func(r *qualifiedtest.Request) { r.Authentication = true }), "550 authentication-certificate"},
		"an authority's":    {func(t *testing.T, c *chambers) [][]byte { return [][]byte{c.CA.Raw, c.Root.Raw} }, "550 wrong-key-usage"},
		"nothing":           {func(*testing.T, *chambers) [][]byte { return nil }, "550 malformed-certificate"},
		"an empty one":      {func(*testing.T, *chambers) [][]byte { return [][]byte{nil} }, "550 malformed-certificate"},
		"garbage":           {func(*testing.T, *chambers) [][]byte { return [][]byte{garbage} }, "550 malformed-certificate"},
		"garbage behind it": {func(t *testing.T, c *chambers) [][]byte { return append(chain(t, c), garbage) }, "550 malformed-certificate"},
		"a megabyte of others": {func(t *testing.T, c *chambers) [][]byte {
			return append([][]byte{c.issue(t, nil).Raw}, slices.Repeat([][]byte{c.Root.Raw, c.CA.Raw}, 800)...)
		}, "550 untrusted-service"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newChambers(t)
			in := k.chain(t, c)
			begun := time.Now()
			q, got := c.qualify(t, in...)
			if got != k.want {
				t.Fatalf("got %q, want %q", got, k.want)
			}
			if took := time.Since(begun); took > 5*time.Second {
				t.Errorf("it took %s", took)
			}
			if q != nil && (len(q.Chain) != 2 || !bytes.Equal(q.Chain[0], in[0]) || !bytes.Equal(q.Chain[1], c.CA.Raw) || len(q.Checks) < 9 ||
				!strings.HasPrefix(q.Vouched, "trusted list of EE, number 1: ") || !strings.Contains(q.Subject, "JANE ROE")) {
				t.Errorf("%+v", q)
			}
		})
	}
}

// A stranger's certificate names addresses: nobody is asked there before a trusted
// list vouches for it.
func TestQualifierAsksNoStrangers(t *testing.T) {
	t.Parallel()
	c, stranger := newChambers(t), newChambers(t)
	for _, chain := range [][][]byte{{stranger.issue(t, nil).Raw}, {stranger.issue(t, nil).Raw, stranger.CA.Raw, stranger.Root.Raw}, {stranger.issue(t, nil).Raw, c.CA.Raw}} {
		if _, got := c.qualify(t, chain...); got != "550 untrusted-service" {
			t.Errorf("got %q", got)
		}
	}
	if n := stranger.asked.Load() + c.asked.Load(); n != 0 {
		t.Errorf("%d addresses were asked", n)
	}
}

// Only what the directory holds for its person counts, where that is demanded.
func TestQualifierRegistered(t *testing.T) {
	t.Parallel()
	c := newChambers(t)
	c.policy.Registration = qualified.Required
	mine, other := c.issue(t, nil), c.issue(t, nil)
	for name, k := range map[string]struct {
		held [][]byte
		want string
	}{
		"none": {nil, "550 certificate-not-registered"}, "another": {[][]byte{other.Raw}, "550 certificate-not-registered"},
		"garbage": {[][]byte{garbage[:64]}, "550 certificate-not-registered"}, "it": {[][]byte{garbage[:64], other.Raw, mine.Raw}, ""},
	} {
		c.who.id.Certificates = k.held
		if _, got := c.qualify(t, mine.Raw); got != k.want {
			t.Errorf("%s: got %q, want %q", name, got, k.want)
		}
	}
	c.policy.Registration, c.who.id = qualified.NotNeeded, directory.Identity{Certificates: [][]byte{mine.Raw}}
	if _, got := c.qualify(t, mine.Raw); got != "" {
		t.Errorf("registered, and nothing else is known: %q", got)
	}
	if _, got := c.qualify(t, other.Raw); got != "550 wrong-person" {
		t.Errorf("not the registered one: %q", got)
	}
}

// registered is a certificate as the register keeps it.
func (c *chambers) registered(t *testing.T, cert *x509.Certificate, removed bool) {
	t.Helper()
	r, err := workflow.Registration("jane.roe@corp.test", cert.Raw, "administrator", c.now)
	if err != nil {
		t.Fatal(err)
	}
	if removed {
		r.Revoked = c.now
	}
	c.own = append(c.own, r)
}

// What is registered here counts beside the directory: for another spelling, for the new card of
// the same person, and against a namesake's. It says whether it is to be registered.
func TestQualifierRegister(t *testing.T) {
	t.Parallel()
	c := newChambers(t)
	c.policy.Registration = qualified.FirstUse
	with := func(surname, serial string) *x509.Certificate {
		return c.issue(t, func(r *qualifiedtest.Request) { r.Surname, r.Serial = surname, serial })
	}
	named, other, renewed, namesake := with("ROE", ""), with("RÖ", "PNOLU-1"), with("NEW", "PNOLU-1"), with("ROE", "PNOLU-2")
	wants := func(what string, cert *x509.Certificate, refused string, register workflow.Registering) {
		t.Helper()
		q, got := c.qualify(t, cert.Raw)
		if got != refused || q != nil && q.Register != register {
			t.Errorf("%s: %q, %+v; want %q, %q", what, got, q, refused, register)
		}
	}
	wants("by name", named, "", workflow.RegisterAtDevice)
	wants("spelt otherwise", other, "550 wrong-person", "")
	c.registered(t, other, false)
	wants("spelt otherwise, registered", other, "", workflow.RegisterNever)
	wants("her new card", renewed, "", workflow.RegisterAlways)
	wants("a namesake", namesake, "550 certificate-not-registered", "")
	wants("by name, with another registered", named, "550 certificate-not-registered", "")
	c.registered(t, namesake, true)
	wants("removed", namesake, "550 certificate-removed", "")
	c.who.id.Certificates = [][]byte{namesake.Raw}
	wants("removed, and in the directory", namesake, "550 certificate-removed", "")
	c.own, c.who.id.Certificates = nil, nil
	c.who.id.Serial = "PNOLU-2"
	wants("by the identifier", namesake, "", workflow.RegisterAlways)

	// What somebody vouches for as hers need not bear her name, but her identifier.
	for cert, want := range map[*x509.Certificate]string{namesake: "", other: "wrong-person"} {
		_, err := c.Registrable(t.Context(), workflow.Person{Mail: "jane.roe@corp.test"}, [][]byte{cert.Raw})
		if r := (*workflow.Refusal)(nil); errors.As(err, &r) != (want != "") || r != nil && r.Reason != want {
			t.Errorf("registrable: %v, want %q", err, want)
		}
	}
	c.who.id.Serial = ""
	if _, err := c.Registrable(t.Context(), workflow.Person{Mail: "jane.roe@corp.test"}, [][]byte{other.Raw}); err != nil {
		t.Errorf("registrable without an identifier: %v", err)
	}
	plain := c.issue(t, func(r *qualifiedtest.Request) { r.NoQSCD = true })
	if _, err := c.Registrable(t.Context(), workflow.Person{Mail: "jane.roe@corp.test"}, [][]byte{plain.Raw}); err == nil {
		t.Error("a certificate without a device can be registered")
	}
	c.storeErr = errors.New("no disk")
	wants("database away", named, "451 store-away", "")
}

// A card's certificate for logging in names its person by an identifier, with fresh revocation data
// of an authority that the lists vouch for; nobody is asked at a stranger's address.
func TestQualifierLogin(t *testing.T) {
	t.Parallel()
	login := func(r *qualifiedtest.Request) { r.Authentication, r.Serial = true, "PNOLU-1" }
	for name, k := range map[string]struct {
		do   func(*testing.T, *chambers) *x509.Certificate
		want string
	}{
		"by the directory's identifier": {func(t *testing.T, c *chambers) *x509.Certificate {
			c.who.id.Serial = "PNOLU-1"
			return c.issue(t, login)
		}, ""},
		"by a registered certificate": {func(t *testing.T, c *chambers) *x509.Certificate {
			c.registered(t, c.issue(t, func(r *qualifiedtest.Request) { r.Serial = "PNOLU-1" }), false)
			return c.issue(t, login)
		}, ""},
		"by one that was removed": {func(t *testing.T, c *chambers) *x509.Certificate {
			c.registered(t, c.issue(t, func(r *qualifiedtest.Request) { r.Serial = "PNOLU-1" }), true)
			return c.issue(t, login)
		}, "550 name-alone"},
		"by name": {func(t *testing.T, c *chambers) *x509.Certificate { return c.issue(t, login) }, "550 name-alone"},
		"somebody else": {func(t *testing.T, c *chambers) *x509.Certificate {
			c.who.id.Serial = "PNOLU-2"
			return c.issue(t, login)
		}, "550 wrong-person"},
		"the one for signatures": {func(t *testing.T, c *chambers) *x509.Certificate {
			c.who.id.Serial = "PNOLU-1"
			return c.issue(t, func(r *qualifiedtest.Request) { r.Serial = "PNOLU-1" })
		}, "550 signing-certificate"},
		"expired": {func(t *testing.T, c *chambers) *x509.Certificate {
			c.who.id.Serial = "PNOLU-1"
			return c.issue(t, func(r *qualifiedtest.Request) { login(r); r.Expired = true })
		}, "550 certificate-expired"},
		"revoked": {func(t *testing.T, c *chambers) *x509.Certificate {
			c.who.id.Serial = "PNOLU-1"
			leaf := c.issue(t, login)
			c.Revoke(leaf, time.Now().Add(-time.Minute))
			return leaf
		}, "550 certificate-revoked"},
		"revocation service away": {func(t *testing.T, c *chambers) *x509.Certificate {
			c.who.id.Serial = "PNOLU-1"
			c.away.Store(true)
			return c.issue(t, login)
		}, "451 revocation-unknown"},
		"a stranger's": {func(t *testing.T, c *chambers) *x509.Certificate {
			c.who.id.Serial = "PNOLU-1"
			other := newChambers(t)
			t.Cleanup(func() {
				if n := other.asked.Load(); n != 0 {
					t.Errorf("%d addresses of a stranger were asked", n)
				}
			})
			return other.issue(t, login)
		}, "550 untrusted-service"},
		"not in the directory": {func(t *testing.T, c *chambers) *x509.Certificate {
			c.who.err = directory.ErrNotFound
			return c.issue(t, login)
		}, "550 person-unknown"},
		"directory away": {func(t *testing.T, c *chambers) *x509.Certificate {
			c.who.err = errors.New("no route")
			return c.issue(t, login)
		}, "451 directory-away"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newChambers(t)
			subject, err := c.Login(t.Context(), workflow.Person{Mail: "jane.roe@corp.test"}, k.do(t, c))
			var r *workflow.Refusal
			got := ""
			if errors.As(err, &r) {
				got = fmt.Sprintf("%d %s", r.Code, r.Reason)
			} else if err != nil {
				got = err.Error()
			}
			if got != k.want || (err == nil) != strings.Contains(subject, "JANE ROE") {
				t.Errorf("%q, %q; want %q", subject, got, k.want)
			}
		})
	}
}

// The organisation's own anchors stand beside the lists; what vouched is said.
func TestQualifierAnchors(t *testing.T) {
	t.Parallel()
	c, own := newChambers(t), newChambers(t)
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "own.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: own.CA.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	anchors, err := trustlist.OpenAnchors(folder)
	if err != nil {
		t.Fatal(err)
	}
	c.policy.Trust = append(c.policy.Trust.(trusts), anchors)
	if q, got := c.qualify(t, c.issue(t, nil).Raw); got != "" || !strings.HasPrefix(q.Vouched, "trusted list of EE") {
		t.Errorf("by the list: %q, %+v", got, q)
	}
	if q, got := c.qualify(t, own.issue(t, nil).Raw); got != "" || !strings.HasPrefix(q.Vouched, "the organisation itself: ") {
		t.Errorf("by the organisation: %q, %+v", got, q)
	}
	if _, got := c.qualify(t, own.issue(t, func(r *qualifiedtest.Request) { r.NoQSCD = true }).Raw); got != "550 no-qscd" {
		t.Errorf("without a device: %q", got)
	}
	if _, got := c.qualify(t, newChambers(t).issue(t, nil).Raw); got != "550 untrusted-service" {
		t.Errorf("by nobody: %q", got)
	}
	c.now = c.now.AddDate(0, 4, 0)
	c.policy.Trust = trusts{c.open(t), anchors}
	if _, got := c.qualify(t, c.issue(t, nil).Raw); got != "550 list-expired" {
		t.Errorf("by a list that is out of date: %q", got)
	}
}

// What an administrator puts into the folder counts when milterd is told to read again;
// what nobody has signed does not.
func TestListsAreReadAgain(t *testing.T) {
	t.Parallel()
	c := newChambers(t)
	lists, err := trustlist.Open(trustlist.Config{Folder: c.folder, Signers: c.union.Trusted()})
	if err != nil {
		t.Fatal(err)
	}
	c.policy.Trust = trusts{lists}
	leaf := c.issue(t, nil).Raw
	if _, got := c.qualify(t, leaf); got != "" {
		t.Fatalf("before: %q", got)
	}
	var log bytes.Buffer
	p := &Program{Directory: c.qualifier.directory, lists: lists, log: slog.New(slog.NewTextHandler(&log, nil))}
	list := &c.union.Lists[0]
	list.Sequence, list.Age, list.Services[0].State.Status = 9, time.Minute, "withdrawn"
	if err := c.union.Sign(time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := c.union.Write(c.folder); err != nil {
		t.Fatal(err)
	}
	if _, got := c.qualify(t, leaf); got != "" {
		t.Fatalf("written, not read: %q", got)
	}
	p.Reload()
	if _, got := c.qualify(t, leaf); got != "550 withdrawn-service" || !strings.Contains(log.String(), "trusted lists reloaded") {
		t.Errorf("read again: %q\n%s", got, log.String())
	}
	if err := os.WriteFile(filepath.Join(c.folder, "EU.xml"), []byte("<a/>"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.Reload()
	if _, got := c.qualify(t, leaf); got != "550 list-tampered" && got != "550 list-malformed" || !strings.Contains(log.String(), "does not count") {
		t.Errorf("no list: %q\n%s", got, log.String())
	}
}

// A list runs out while milterd serves: its certificates count no more, until the
// refresh brings a newer one.
func TestListRunsOut(t *testing.T) {
	t.Parallel()
	c := newChambers(t)
	srv := httptest.NewTLSServer(c.union)
	defer srv.Close()
	c.union.Base, c.union.Lists[0].Life = srv.URL+"/", time.Hour+2*time.Second // issued an hour ago
	if err := c.union.Sign(time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := c.union.Write(c.folder); err != nil {
		t.Fatal(err)
	}
	lists, err := trustlist.Open(trustlist.Config{Folder: c.folder, Signers: c.union.Trusted(), LOTL: srv.URL + "/EU.xml", Client: srv.Client()})
	if err != nil {
		t.Fatal(err)
	}
	c.policy.Trust = trusts{lists}
	c.qualifier.now = time.Now
	leaf := c.issue(t, nil).Raw
	if _, got := c.qualify(t, leaf); got != "" {
		t.Fatalf("young: %q", got)
	}
	time.Sleep(3 * time.Second)
	if _, got := c.qualify(t, leaf); got != "550 list-expired" {
		t.Fatalf("old: %q", got)
	}
	var log bytes.Buffer
	p := &Program{Config: configured(t), lists: lists, log: slog.New(slog.NewTextHandler(&log, nil))}
	p.Config.Qualified.LOTL = srv.URL + "/EU.xml"
	refresh := func(done func() bool) {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { p.refresh(ctx); close(ended) }()
		for end := time.Now().Add(10 * time.Second); !done() && time.Now().Before(end); {
			time.Sleep(50 * time.Millisecond)
		}
		time.Sleep(200 * time.Millisecond)
		cancel()
		<-ended
	}
	refresh(func() bool { return true })
	if said := log.String(); !strings.Contains(said, "a trusted list does not count") || !strings.Contains(said, "reason=list-expired") {
		t.Errorf("the log says %s", said)
	}
	c.union.Lists[0].Life, c.union.Lists[0].Sequence, c.union.LOTL.Sequence = 0, 2, 2
	if err := c.union.Sign(time.Now()); err != nil {
		t.Fatal(err)
	}
	got := "?"
	refresh(func() bool { _, got = c.qualify(t, leaf); return got == "" })
	if got != "" {
		t.Errorf("after the refresh: %q\n%s", got, &log)
	}
}
