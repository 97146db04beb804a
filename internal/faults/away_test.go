package faults

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"milterd/directory/ldaptest"
	"milterd/internal/rig"
	"milterd/pki/tsatest"
	"milterd/store/pgtest"
	"milterd/workflow"
)

// behind gives the options of a site with one of its servers behind a gate.
var behind = map[string]func(t *testing.T) (rig.Options, *rig.Gate){
	"database": func(t *testing.T) (o rig.Options, g *rig.Gate) {
		u, err := url.Parse(pgtest.Database(t))
		if err != nil {
			t.Fatal(err)
		}
		o.Unrecorded = true
		g = gate(t, "unix:"+filepath.Join(u.Query().Get("host"), ".s.PGSQL.5432"))
		o.Database = fmt.Sprintf("postgres://postgres@%s%s?sslmode=disable", g.Address, u.Path)
		return o, g
	},
	"directory": func(t *testing.T) (o rig.Options, g *rig.Gate) {
		var ldif strings.Builder
		for _, p := range rig.People() {
			ldif.WriteString(ldaptest.Person(rig.Local(p), p.Name, p.Mail))
		}
		server := ldaptest.Start(t, ldif.String())
		g = gate(t, strings.TrimPrefix(server.URL, "ldap://"))
		o.LDAP = true
		o.Extra = fmt.Sprintf("[directory.ldap]\nservers = [%q]\nca = %q\nbase = %q\nbind_dn = %q\npassword_file = %q\ncache = \"0m\"\nlogins = [\"uid\", \"mail\"]\n",
			"ldap://"+g.Address, server.CA, server.Base, server.BindDN, server.PasswordFile)
		return o, g
	},
	"mail server": func(t *testing.T) (o rig.Options, g *rig.Gate) {
		g = gate(t, "")
		o.Relay = g.Address
		return o, g
	},
	"timestamp authority": func(t *testing.T) (o rig.Options, g *rig.Gate) {
		tsa := tsatest.New(t)
		u, err := url.Parse(tsa.URL)
		if err != nil {
			t.Fatal(err)
		}
		g = gate(t, u.Host)
		u.Host = g.Address
		return timestamps(t, tsa, u.String()), g
	},
}

// timestamps are the options of a site that asks an authority at a URL before it.
func timestamps(t *testing.T, tsa *tsatest.Server, at string) (o rig.Options) {
	roots := filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: tsa.Root.Raw}), 0o644); err != nil {
		t.Fatal(err)
	}
	o.Trust = []*x509.Certificate{tsa.Root}
	o.Extra = fmt.Sprintf("[timestamps]\nurls = [%q]\nroots = %q\n", at, roots)
	return o
}

// stuck is the work that waits for a server that is away. Without directory or
// database it is the mails themselves that wait, at their senders'.
var stuck = map[string]workflow.JobKind{"mail server": workflow.JobMail, "timestamp authority": workflow.JobSign}

// met waits until a job of a kind has begun and is held up, so that it has met
// the server that is away.
func met(t *testing.T, s *rig.Site, kind workflow.JobKind) {
	t.Helper()
	db, err := s.Store(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	before := map[int64]bool{}
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(2 * time.Second) {
		list, err := db.List(t.Context(), workflow.Filter{Limit: 100})
		if err != nil {
			t.Fatal(err)
		}
		now := map[int64]bool{}
		for _, one := range list {
			jobs, err := db.Jobs(t.Context(), one.ID)
			if err != nil {
				t.Fatal(err)
			}
			for _, j := range jobs {
				if j.Job.Kind != kind || j.Attempt == 0 || !j.Finished.IsZero() {
					continue
				}
				if now[j.ID] = true; before[j.ID] {
					return
				}
			}
		}
		before = now
	}
	t.Errorf("no job %q met the server that is away: nothing is tested", kind)
}

// Sessions at every stage meet a server that goes away, refusing or silent, and
// comes back: each goes on by itself.
func TestAwayAndBack(t *testing.T) {
	for name, build := range behind {
		for _, way := range []string{"refuses", "hangs"} {
			t.Run(name+" "+way, func(t *testing.T) {
				t.Parallel()
				o, g := build(t)
				s := configure(t, o)
				if o.Relay == g.Address {
					g.Open(s.Mail.Address())
				}
				if _, err := s.Place.Start(t.Context()); err != nil {
					t.Fatal(err)
				}
				answer(t, s)

				var mu sync.Mutex
				var taken []string
				var sending sync.WaitGroup
				var meanwhile atomic.Int64 // mails under way
				send := func() {
					meanwhile.Add(1)
					sending.Go(func() {
						defer meanwhile.Add(-1)
						_, id, err := s.Send(t.Context())
						if err != nil {
							t.Error(err)
							return
						}
						mu.Lock()
						defer mu.Unlock()
						taken = append(taken, id)
					})
				}
				// One is asked, and has its invitation, before the server goes.
				send()
				sending.Wait()
				for range 4 {
					send()
					time.Sleep(400 * time.Millisecond)
				}
				if way == "refuses" {
					g.Refuse()
				} else {
					g.Hang()
				}
				for range 2 {
					send()
				}
				time.Sleep(5 * time.Second)
				if kind := stuck[name]; kind != "" {
					met(t, s, kind)
				} else if n := meanwhile.Load(); n < 2 {
					t.Errorf("%d mails wait for the server that is away, want 2: nothing is tested", n)
				}
				g.Open("")
				sending.Wait()
				judge(t, s, 3*time.Minute, taken...)
			})
		}
	}
}

// The timestamp authority gives a signature its time and is gone when the seal
// asks for one: the session waits signed, nothing is mailed, and it is sealed
// when the authority is back.
func TestAwayBeforeSeal(t *testing.T) {
	t.Parallel()
	tsa := tsatest.New(t)
	target, err := url.Parse(tsa.URL)
	if err != nil {
		t.Fatal(err)
	}
	target.Path = ""
	pass := httputil.NewSingleHostReverseProxy(target)
	var signed func() bool // everyone has, and the seal is to come
	var back atomic.Bool
	var refused atomic.Int64
	before := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !back.Load() && signed() {
			refused.Add(1)
			http.Error(w, "away", http.StatusServiceUnavailable)
			return
		}
		pass.ServeHTTP(w, r)
	}))
	t.Cleanup(before.Close)
	s := configure(t, timestamps(t, tsa, before.URL+"/tsa"))
	if _, err := s.Place.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	db, err := s.Store(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	signed = func() bool {
		list, err := db.List(t.Context(), workflow.Filter{Limit: 2})
		if err != nil || len(list) != 1 {
			t.Errorf("%d sessions, %v", len(list), err)
		}
		return err == nil && len(list) == 1 && list[0].State == workflow.Sealing
	}
	answer(t, s)
	_, id, err := s.Send(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	met(t, s, workflow.JobSeal)
	if !signed() || refused.Load() == 0 {
		t.Errorf("the seal does not wait for its time, refused %d times", refused.Load())
	}
	for n := 1; s.Boxes.Letter(n) != nil; n++ {
		if m, err := s.Boxes.Letter(n).Open(); err != nil || len(m.Attachments) > 0 {
			t.Errorf("mailed before the seal: %v, %v", m, err)
		}
	}
	back.Store(true)
	judge(t, s, 3*time.Minute, id)
}
