package faults

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
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
		roots := filepath.Join(t.TempDir(), "roots.pem")
		if err := os.WriteFile(roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: tsa.Root.Raw}), 0o644); err != nil {
			t.Fatal(err)
		}
		u.Host = g.Address
		o.Trust = []*x509.Certificate{tsa.Root}
		o.Extra = fmt.Sprintf("[timestamps]\nurls = [%q]\nroots = %q\n", u, roots)
		return o, g
	},
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
