package trustlist

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"milterd/signature/xades/dom"
)

// lotlTerritory is the territory of the list of the lists.
const lotlTerritory = "EU"

// Config is where lists come from and whom they must be signed by.
type Config struct {
	Folder      string              // the lists as files: EU.xml is the list of the lists, EE.xml …, pivot-*.xml, and state.json
	LOTL        string              // address of the list of the lists; "" fetches nothing: the administrator fills the folder
	Signers     []*x509.Certificate // of the list of the lists
	Territories []string            // lists to load, "EE"; none for all
	Client      *http.Client        // nil means one of its own
	Timeout     time.Duration       // of one download; 0 means 30 s
	Now         func() time.Time    // nil means time.Now
}

// Lists is the trusted lists that count. It may be used by many at once.
type Lists struct {
	c        Config
	refresh  sync.Mutex // one at a time; guards the folder
	mu       sync.RWMutex
	known    *index
	standing map[string]*standing
	order    []string
}

// standing is how a list stands: read, or why not.
type standing struct {
	list *list
	err  *Error
}

// Open reads the folder and verifies every list in it. Lists that do not count
// are no error here: Vouch and Status tell. The error is for a folder that cannot
// be read, or a configuration without signers.
func Open(c Config) (*Lists, error) {
	if len(c.Signers) == 0 {
		return nil, errors.New("opening trusted lists: no certificate is configured that the list of the lists must be signed with")
	}
	for _, t := range c.Territories {
		if !isTerritory(t) || t == lotlTerritory {
			return nil, fmt.Errorf("opening trusted lists: territory %q: want two capital letters of a country, as the list has them (EL, UK)", t)
		}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Timeout == 0 {
		c.Timeout = 30 * time.Second
	}
	c.Client = client(c.Client)
	l := &Lists{c: c}
	if err := l.Reload(); err != nil {
		return nil, fmt.Errorf("opening trusted lists: %w", err)
	}
	return l, nil
}

// Reload reads the folder anew and verifies what is in it. After an error, which is
// one of the folder, what was read before counts on.
func (l *Lists) Reload() error {
	l.refresh.Lock()
	defer l.refresh.Unlock()
	f, err := openFolder(l.c.Folder)
	if err != nil {
		return err
	}
	turns, err := f.pivots()
	if err != nil {
		return err
	}
	signers, _ := l.pivots(turns)
	lotl := l.load(f, lotlTerritory, signers)
	all, order := map[string]*standing{lotlTerritory: lotl}, []string{lotlTerritory}
	if lotl.list != nil {
		for _, p := range l.wanted(lotl.list) {
			all[p.territory] = l.load(f, p.territory, p.signers)
			order = append(order, p.territory)
		}
	}
	if err := f.save(); err != nil {
		return err
	}
	l.show(all, order)
	return nil
}

func (l *Lists) show(all map[string]*standing, order []string) {
	x := indexOf(all, order)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.known, l.standing, l.order = x, all, order
}

// wanted are the pointers to national lists in XML, one for each territory. What
// several pointers of a territory pin counts together.
func (l *Lists) wanted(lotl *list) (out []pointer) {
	for _, p := range lotl.pointers {
		if p.kind != typeNational || p.mime != mimeList || !isTerritory(p.territory) || p.territory == lotlTerritory ||
			len(l.c.Territories) > 0 && !slices.Contains(l.c.Territories, p.territory) {
			continue
		}
		if i := slices.IndexFunc(out, func(o pointer) bool { return o.territory == p.territory }); i >= 0 {
			out[i].signers = slices.Concat(out[i].signers, p.signers)
			continue
		}
		out = append(out, p)
	}
	return out
}

// load reads a list's file.
func (l *Lists) load(f *folder, territory string, signers []*x509.Certificate) *standing {
	raw, err := f.read(territory)
	if err != nil {
		return &standing{err: err}
	}
	s := l.judge(f, raw, territory, signers)
	if s.list != nil {
		f.seen(s.list)
	}
	return s
}

// judge decides whether a list counts.
func (l *Lists) judge(f *folder, raw []byte, territory string, signers []*x509.Certificate) *standing {
	root, err := verify(raw, territory, signers)
	if err != nil {
		return &standing{err: asError(err, territory)}
	}
	read, err := l.readVerified(root, raw, territory)
	if err != nil {
		return &standing{err: asError(err, territory)}
	}
	if read.issued.After(l.c.Now()) {
		return &standing{err: &Error{ListFromFuture, territory, fmt.Errorf("issued on %s", read.issued.Format(time.RFC3339))}}
	}
	if err := f.checkOrder(read); err != nil {
		return &standing{err: &Error{ListRolledBack, territory, err}}
	}
	return &standing{list: read}
}

func (l *Lists) readVerified(root *dom.Node, raw []byte, territory string) (*list, error) {
	read, err := parseList(root, raw)
	if err != nil {
		return nil, &Error{ListMalformed, territory, err}
	}
	kind := typeNational
	if territory == lotlTerritory {
		kind = typeLOTL
	}
	// One authority may sign the lists of two places; neither stands for the other.
	if read.territory != territory || read.kind != kind {
		return nil, &Error{ListTampered, territory, fmt.Errorf("it is the list of %s, of type %s", read.territory, read.kind)}
	}
	return read, nil
}

func asError(err error, territory string) *Error {
	var e *Error
	if !errors.As(err, &e) {
		e = &Error{ListMalformed, territory, err}
	}
	return e
}

// expired reports whether NextUpdate has passed (clause 5.3.15), or the list is
// closed.
func (l *list) expired(now time.Time) error {
	switch {
	case l.next.IsZero():
		return &Error{ListExpired, l.territory, errors.New("the list is closed, it has no next update")}
	case !now.Before(l.next):
		return &Error{ListExpired, l.territory, fmt.Errorf("the next update was due on %s", l.next.Format(time.RFC3339))}
	}
	return nil
}

// stands gives why a list does not count now, or nil.
func (s *standing) stands(now time.Time) *Error {
	if s.err != nil {
		return s.err
	}
	if err := s.list.expired(now); err != nil {
		return asError(err, s.list.territory)
	}
	return nil
}

// Status is how one list stands.
type Status struct {
	Territory  string    `json:"territory"` // "EU" for the list of the lists
	Sequence   int64     `json:"sequence,omitempty"`
	Issued     time.Time `json:"issued,omitzero"`
	NextUpdate time.Time `json:"nextUpdate,omitzero"`
	SHA256     string    `json:"sha256,omitempty"`
	Services   int       `json:"services"`         // CA/QC
	Reason     Reason    `json:"reason,omitempty"` // it does not count; "" it does
	Why        string    `json:"why,omitempty"`
}

// Status tells how the lists stand now, the list of the lists first.
func (l *Lists) Status() []Status {
	l.mu.RLock()
	defer l.mu.RUnlock()
	var out []Status
	for _, t := range l.order {
		s, n := Status{Territory: t}, l.standing[t]
		if n.list != nil {
			s.Sequence, s.Issued, s.NextUpdate, s.SHA256, s.Services = n.list.sequence, n.list.issued, n.list.next, n.list.sum, len(n.list.services)
		}
		if err := n.stands(l.c.Now()); err != nil {
			s.Reason, s.Why = err.Reason, err.Err.Error()
		}
		out = append(out, s)
	}
	return out
}
