package workflow_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"milterd/pki"
	"milterd/store/pgtest"
	"milterd/workflow"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// TestAuthorityOfTheHouse issues, renews and revokes with the real authority,
// which compares what it signs with the register.
func TestAuthorityOfTheHouse(t *testing.T) {
	d := newDesk(t)
	d.clock = time.Now().UTC()
	dir := filepath.Join(t.TempDir(), "keys")
	if err := pki.Init(dir, pki.Options{Organisation: "Corp", Country: "LU", URL: "https://sign.corp.test"}); err != nil {
		t.Fatal(err)
	}
	a, err := pki.Open(pki.Config{Dir: dir, URL: "https://sign.corp.test", Register: d.store, Now: d.Now})
	if err != nil {
		t.Fatal(err)
	}
	d.Certifier = a
	s := open(t, d, advanced("m1", john))
	v := d.visit(t, s, john)
	dev := &device{key: newKey(t), credential: "phone"}
	if err := d.store.Do(t.Context(), func(tx workflow.Tx) error {
		return tx.SaveCredential(&workflow.Credential{ID: "phone", Mail: john.Mail, Kind: workflow.Passkey, Name: "phone", Enrolled: d.Now()})
	}); err != nil {
		t.Fatal(err)
	}
	chain, serial, err := d.Certify(t.Context(), v, request(t, dev.key), "phone", "enrolment", "")
	if err != nil || len(chain) < 2 {
		t.Fatalf("certify: %d certificates, %v", len(chain), err)
	}
	dev.serial = serial
	d.signOwn(t, v, dev)
	csr := request(t, newKey(t))
	if _, _, err := d.Renew(t.Context(), v, csr, serial, rs(t, dev.key, csr), ""); err != nil {
		t.Errorf("renew: %v", err)
	}
	_, _, err = d.Certify(t.Context(), v, []byte("no request"), "phone", "passkey", "")
	want(t, "what is no request", reason(err), "bad-csr")
	if err := d.RemoveDevice(t.Context(), v, "phone", ""); err != nil {
		t.Error(err)
	}
	want(t, "log", d.log(t), "issuing issued issuing issued revoked revoked device-revoked")
}

// TestOwnKeysAtOnce lets everybody do everything at the same time on a real
// database: no two wait for each other forever, everybody signs, everybody proves once.
func TestOwnKeysAtOnce(t *testing.T) {
	for engine, url := range map[string]string{
		"sqlite":   "sqlite:" + filepath.Join(t.TempDir(), "milterd.db"),
		"postgres": pgtest.Database(t),
	} {
		t.Run(engine, func(t *testing.T) {
			d := newDeskOn(t, url)
			d.Certifier = newAuthority(t)
			people := []workflow.Person{john, emma, carl}
			var sessions []*workflow.Session
			for i := range 3 {
				sessions = append(sessions, open(t, d, advanced(fmt.Sprint("m", i), people...)))
			}
			devices := make([]*device, len(people))
			for i, p := range people {
				devices[i] = d.enrol(t, d.visit(t, sessions[0], p), p.Name)
			}
			spares := make([]*device, 12)
			for i := range spares {
				spares[i] = d.enrol(t, d.visit(t, sessions[0], people[i%3]), fmt.Sprint("spare ", i))
			}
			var wg sync.WaitGroup
			for _, s := range sessions {
				for i, p := range people {
					v := d.visit(t, s, p)
					shown := d.shown(t, v)
					wg.Go(func() { d.signWhenFree(t, v, devices[i], shown) })
				}
				wg.Go(func() { d.workUntilSigned(t, s.ID) })
			}
			for i, spare := range spares {
				v := d.visit(t, sessions[i%3], people[i%3])
				csr := request(t, newKey(t))
				wg.Go(func() { // its owner removes it while it asks for another certificate
					_, _, err := d.Certify(t.Context(), v, csr, spare.credential, "passkey", "")
					if err != nil && reason(err) != "credential-revoked" {
						t.Errorf("certify: %v", err)
					}
				})
				wg.Go(func() {
					if err := d.RemoveDevice(t.Context(), v, spare.credential, ""); err != nil {
						t.Errorf("remove: %v", err)
					}
				})
			}
			wg.Wait()
			for _, s := range sessions {
				want(t, "state", d.session(t, s.ID).State, workflow.Sealing)
			}
			for _, spare := range spares {
				all, err := d.store.Certificates(t.Context(), workflow.CertificateFilter{Credential: spare.credential})
				if err != nil || len(all) == 0 {
					t.Errorf("%d certificates, %v", len(all), err)
				}
				for _, c := range all {
					if c.Revoked.IsZero() {
						t.Errorf("%s of a removed device is not revoked", c.Serial)
					}
				}
			}
			if _, err := d.store.Log(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// signWhenFree presses Sign until no colleague is in the way, then proves once.
func (d *desk) signWhenFree(t *testing.T, v workflow.Visit, dev *device, shown []workflow.Shown) {
	for {
		p, err := d.Prepare(t.Context(), v, shown, workflow.Appearance{Typed: v.Who().Name}, dev.serial, "")
		if reason(err) == "busy" {
			time.Sleep(5 * time.Millisecond)
			continue
		}
		if err != nil {
			t.Errorf("prepare: %v", err)
			return
		}
		if err := d.finishAs(t, v, dev, p); err != nil {
			t.Errorf("finish: %v", err)
		}
		return
	}
}

// workUntilSigned does a session's jobs as workers would.
func (d *desk) workUntilSigned(t *testing.T, id string) {
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		err := d.run(t, id, workflow.JobSign)
		if err != nil && !errors.As(err, new(workflow.Snooze)) {
			t.Errorf("job: %v", err)
		}
		if d.session(t, id).State == workflow.Sealing {
			return
		}
	}
	t.Errorf("session %s was not signed in a minute", id)
}
