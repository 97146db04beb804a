// Command door measures what a directory costs the door: a real milterd with
// its people in LDAP (a real slapd, StartTLS) that has never been asked about
// them (cold) or just before (warm), beside one with the same people in
// users.toml.
//
//	go run ./bench/door bin/milterd
//
// It knocks at the milter socket as Postfix does, without Postfix, whose own
// time would be on both sides. A mail is shown when the mails that the one
// before has caused have left, so that no job stands in its way.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"milterd/bench/internal/probe"
	"milterd/demo"
	"milterd/directory/ldaptest"
	"milterd/internal/rig"
)

const (
	people  = 20_000
	members = 10 // of a group
	rounds  = 5
	mails   = 30 // in a round, for each side
	asked   = 6  // groups asked in a round, for each side
	starts  = 5
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: door BINARY")
		os.Exit(2)
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := measure(ctx, os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "bench/door:", err)
		os.Exit(1)
	}
}

func measure(ctx context.Context, binary string) error {
	dir, err := os.MkdirTemp("", "milterd-door-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	sink, err := probe.NewSink()
	if err != nil {
		return err
	}
	defer sink.Close()
	ldif, users := staff()
	if err := os.MkdirAll(filepath.Join(dir, "slapd"), 0o755); err != nil {
		return err
	}
	slapd, err := ldaptest.Run(ctx, ldaptest.Options{Dir: filepath.Join(dir, "slapd"), LDIF: ldif})
	if err != nil {
		return err
	}
	defer slapd.Stop()
	file := filepath.Join(dir, "users.toml")
	if err := os.WriteFile(file, []byte(users), 0o644); err != nil {
		return err
	}
	fromFile, err := open(ctx, binary, filepath.Join(dir, "file"), sink, file, "")
	if err != nil {
		return err
	}
	defer fromFile.place.Kill()
	fromLDAP, err := open(ctx, binary, filepath.Join(dir, "ldap"), sink, "", fmt.Sprintf(`[directory.ldap]
servers = [%q]
ca = %q
bind_dn = %q
password_file = %q
base = %q
group_base = %q
`, slapd.URL, slapd.CA, slapd.BindDN, slapd.PasswordFile, ldaptest.People, ldaptest.Groups))
	if err != nil {
		return err
	}
	defer fromLDAP.place.Kill()

	fmt.Printf("door: %d people; users.toml, LDAP asked before (warm), LDAP not asked before (cold), in turn\n", people)
	if err := compare(ctx, sink, fromFile, fromLDAP, "one signatory", mails, func(i int) (from, to string, letters int) {
		return person(2 * i), person(2*i + 1), 2
	}); err != nil {
		return err
	}
	if err := compare(ctx, sink, fromFile, fromLDAP, fmt.Sprintf("a group of %d", members), asked, func(i int) (from, to string, letters int) {
		return person(people/2 + i), group(i), members + 1
	}); err != nil {
		return err
	}
	return first(ctx, sink, fromFile, fromLDAP)
}

// staff is everybody and every group, as LDIF and as users.toml.
func staff() (ldif, users string) {
	var l, u strings.Builder
	for i := range people {
		uid := fmt.Sprintf("p%05d", i)
		l.WriteString(ldaptest.Person(uid, "Person "+uid, person(i)))
		fmt.Fprintf(&u, "[[user]]\nmail = %q\nname = %q\n", person(i), "Person "+uid)
	}
	for g := range rounds * asked {
		var dns, mail []string
		for m := range members {
			i := people - 1 - g*members - m
			dns, mail = append(dns, ldaptest.DN(fmt.Sprintf("p%05d", i))), append(mail, fmt.Sprintf("%q", person(i)))
		}
		l.WriteString(ldaptest.Group(fmt.Sprintf("g%02d", g), group(g), dns...))
		fmt.Fprintf(&u, "[[group]]\nname = %q\nmail = %q\nmembers = [%s]\n", fmt.Sprintf("g%02d", g), group(g), strings.Join(mail, ", "))
	}
	return l.String(), u.String()
}

func person(i int) string { return fmt.Sprintf("p%05d@%s", i, demo.MailDomain) }
func group(i int) string  { return fmt.Sprintf("g%02d@%s", i, demo.MailDomain) }

// side is a milterd and a connection to it.
type side struct {
	place *rig.Place
	door  *probe.Door
}

func open(ctx context.Context, binary, dir string, sink *probe.Sink, users, extra string) (*side, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	place, err := rig.At(rig.Setup{Binary: binary, Dir: dir, Extra: extra})
	if err != nil {
		return nil, err
	}
	if err := place.Configure(ctx, sink.Address, users); err != nil {
		return nil, err
	}
	s := &side{place: place}
	return s, s.start(ctx)
}

func (s *side) start(ctx context.Context) (err error) {
	if _, err = s.place.Start(ctx); err != nil {
		return err
	}
	if s.door, err = probe.Knock(s.place.Milter); err != nil {
		s.place.Kill()
	}
	return err
}

// mail shows a sign mail and waits for the mails that it causes.
func (s *side) mail(ctx context.Context, sink *probe.Sink, from, to string, letters int) (rcpt, end float64, err error) {
	to = to[:strings.IndexByte(to, '@')+1] + demo.SignDomain
	raw, err := demo.Draft{From: demo.Person{Mail: from, Name: "Somebody"}, To: []string{to}, Subject: "[Standard] bench", Text: "x",
		File: demo.Sample()}.Compose()
	if err != nil {
		return 0, 0, err
	}
	before := sink.All()
	r, e, err := s.door.Mail(from, to, raw)
	if err != nil {
		return 0, 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := sink.Wait(ctx, func() bool { return sink.All() >= before+letters }); err != nil {
		return 0, 0, fmt.Errorf("waiting for %d mails: %w", letters, err)
	}
	return probe.Ms(r), probe.Ms(e), nil
}

// times are those of one side.
type times struct{ rcpt, end []float64 }

var sides = []string{"users.toml", "LDAP, warm", "LDAP, cold"}

// compare shows the same mails to each side, in turn. Warm is the mail that was cold just before.
func compare(ctx context.Context, sink *probe.Sink, file, ldap *side, what string, n int, mail func(int) (from, to string, letters int)) error {
	all := map[string]*times{}
	medians := map[string]*times{} // of each round
	for _, s := range sides {
		all[s], medians[s] = &times{}, &times{}
	}
	for round := range rounds {
		now := map[string]*times{"users.toml": {}, "LDAP, warm": {}, "LDAP, cold": {}}
		for i := range n {
			from, to, letters := mail(round*n + i)
			order := []string{"users.toml", "LDAP, cold", "LDAP, warm"}
			if i%2 == 1 {
				order = []string{"LDAP, cold", "LDAP, warm", "users.toml"}
			}
			for _, s := range order {
				where := ldap
				if s == "users.toml" {
					where = file
				}
				r, e, err := where.mail(ctx, sink, from, to, letters)
				if err != nil {
					return fmt.Errorf("%s: %w", s, err)
				}
				now[s].rcpt, now[s].end = append(now[s].rcpt, r), append(now[s].end, e)
			}
		}
		for s, t := range now {
			all[s].rcpt, all[s].end = append(all[s].rcpt, t.rcpt...), append(all[s].end, t.end...)
			medians[s].rcpt = append(medians[s].rcpt, probe.Percentile(t.rcpt, 0.5))
			medians[s].end = append(medians[s].end, probe.Percentile(t.end, 0.5))
		}
	}
	base := medians["users.toml"]
	for _, s := range sides {
		a, m := all[s], medians[s]
		fmt.Printf("  %s, %-10s  RCPT %.2f ms, p99 %.2f; end of body %.1f ms, p99 %.1f", what, s,
			probe.Percentile(a.rcpt, 0.5), probe.Percentile(a.rcpt, 0.99), probe.Percentile(a.end, 0.5), probe.Percentile(a.end, 0.99))
		if m != base {
			fmt.Printf("; to users.toml: RCPT %s, end of body %s", probe.Spread(probe.Ratios(m.rcpt, base.rcpt), 1), probe.Spread(probe.Ratios(m.end, base.end), 2))
		}
		fmt.Println()
	}
	return nil
}

// first measures the first RCPT after a start, when LDAP has to be reached, TLS
// begun and the login done.
func first(ctx context.Context, sink *probe.Sink, file, ldap *side) error {
	took := [2][]float64{}
	for i := range starts {
		for k, s := range []*side{file, ldap} {
			s.door.Close()
			if err := s.place.Stop(); err != nil {
				return err
			}
			if err := s.start(ctx); err != nil {
				return err
			}
			rcpt, _, err := s.mail(ctx, sink, person(people*3/4+2*i), person(people*3/4+2*i+1), 2)
			if err != nil {
				return err
			}
			took[k] = append(took[k], rcpt)
		}
	}
	fmt.Printf("  first RCPT after a start: users.toml %s ms, LDAP with connection, StartTLS and login %s ms\n", probe.Spread(took[0], 2), probe.Spread(took[1], 2))
	return nil
}
