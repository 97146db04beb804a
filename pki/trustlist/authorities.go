package trustlist

import (
	"crypto/x509"
	"time"
)

// Authorities are the certificates of all services that issue qualified
// certificates now, by lists that count: anchors for whoever judges signatures of
// strangers. None where the list of the lists does not count.
func (l *Lists) Authorities() []*x509.Certificate {
	l.mu.RLock()
	defer l.mu.RUnlock()
	now := l.c.Now()
	if l.standing[lotlTerritory].stands(now) != nil {
		return nil
	}
	return l.known.granted(now)
}

// Authorities are the certificates of the folder.
func (a *Anchors) Authorities() []*x509.Certificate { return a.known.granted(time.Time{}) }

// granted are those of the services whose newest state is granted, or that have no
// states, in lists that have not expired.
func (x *index) granted(now time.Time) (out []*x509.Certificate) {
	known := map[string]bool{}
	for _, services := range x.byKey {
		for _, s := range services {
			if !s.counts(now) {
				continue
			}
			for _, c := range s.certs {
				if !known[string(c.Raw)] {
					known[string(c.Raw)] = true
					out = append(out, c)
				}
			}
		}
	}
	return out
}

func (s *service) counts(now time.Time) bool {
	if len(s.states) == 0 {
		return true // of the organisation's own choice
	}
	newest := s.states[0]
	for _, t := range s.states {
		if t.since.After(newest.since) {
			newest = t
		}
	}
	return newest.qualified && newest.status == Granted && s.of.expired(now) == nil
}
