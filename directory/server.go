package directory

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-ldap/ldap/v3"
)

const (
	connectTimeout = time.Second      // for TCP alone; the rest has the time of the question
	maxIdle        = 4                // connections that are kept open to a server
	idleTime       = 30 * time.Second // shorter than firewalls forget
	maxAnswer      = 16 << 20         // bytes of the answer to one question
)

var (
	errConnection = errors.New("connection")
	errTooLong    = fmt.Errorf("the answer is longer than %d MB", maxAnswer>>20)
)

// server is one LDAP server with its open connections, and what is known of it.
type server struct {
	url     string
	address string      // host:port
	secure  bool        // ldaps
	tls     *tls.Config // checks the certificate for the URL's host

	mu      sync.Mutex
	idle    []*connection // the last one was used last
	trouble error         // nil: it answered last time
	skip    time.Time     // until then it comes after the others
	rest    time.Time     // until then it is not asked at all
	said    time.Time     // when its trouble was logged last
	loud    bool          // the present trouble was logged
	closed  bool          // by Reload: connections are kept no more
}

// newServer reads a URL.
func newServer(raw string, c *tls.Config) (*server, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Hostname() == "" || u.Scheme != "ldap" && u.Scheme != "ldaps" {
		return nil, fmt.Errorf("%q is no server, want ldaps://HOST or ldap://HOST", raw)
	}
	s := &server{url: raw, secure: u.Scheme == "ldaps", tls: c}
	s.tls.ServerName = u.Hostname()
	port := u.Port()
	if port == "" {
		port = map[bool]string{false: "389", true: "636"}[s.secure]
	}
	s.address = net.JoinHostPort(u.Hostname(), port)
	return s, nil
}

// turn says when a server is asked.
type turn int

const (
	first turn = iota // in its place
	later             // if no other answers
	never             // not now
)

func (s *server) turn(now time.Time) (turn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.trouble == nil:
		return first, nil
	case now.Before(s.rest):
		return never, s.trouble
	case now.Before(s.skip):
		return later, s.trouble
	}
	s.skip = now.Add(leftOut) // this question tries it; the others need not wait for the outcome
	return first, nil
}

// answered notes that it is well.
func (s *server) answered(log *slog.Logger) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trouble = nil
	if s.loud {
		s.loud = false
		log.Info("LDAP server answers again", "server", s.url)
	}
}

// failed notes that it is away, and says so once a minute.
func (s *server) failed(log *slog.Logger, bindDN string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.trouble, s.skip, s.rest = err, now.Add(leftOut), now.Add(pause)
	refused := ldap.IsErrorAnyOf(err, ldap.LDAPResultInvalidCredentials, ldap.LDAPResultInappropriateAuthentication)
	if refused {
		s.rest = now.Add(refusedPause)
	}
	if now.Sub(s.said) < time.Minute {
		return
	}
	s.said, s.loud = now, true
	if refused {
		log.Error("LDAP server refuses milterd's own login: check directory.ldap.bind_dn and password_file, then reload",
			"server", s.url, "bind_dn", bindDN, "error", err)
		return
	}
	log.Error("LDAP server is away", "server", s.url, "error", err)
}

// connection is logged in and used by one question at a time.
type connection struct {
	*ldap.Conn
	raw  *limited
	used time.Time
}

// ask puts a question on an open connection or a new one. The server may have
// closed the open one in the meantime: then the question is put again on a new one.
func (s *server) ask(ctx context.Context, how *servers, question func(*ldap.Conn) (*ldap.SearchResult, error)) (*ldap.SearchResult, error) {
	for {
		c := s.take()
		fresh := c == nil
		if fresh {
			var err error
			if c, err = s.connect(ctx, how); err != nil {
				return nil, err
			}
		}
		c.raw.left.Store(maxAnswer)
		release := context.AfterFunc(ctx, func() { c.raw.Close() })
		result, err := question(c.Conn)
		open := release()
		switch {
		case c.raw.left.Load() < 0:
			result, err = nil, errTooLong
		case !open:
			err = fmt.Errorf("%w: no answer in time: %w", errConnection, ctx.Err())
		case c.IsClosing() && err != nil:
			err = fmt.Errorf("%w: %w", errConnection, err)
		}
		if err == nil || open && !isAway(err) && !errors.Is(err, errTooLong) {
			s.give(c)
			return result, err
		}
		c.Close()
		if !fresh && errors.Is(err, errConnection) && ctx.Err() == nil {
			s.closeIdle(false)
			continue
		}
		return nil, err
	}
}

// connect makes a connection and logs in.
func (s *server) connect(ctx context.Context, how *servers) (_ *connection, err error) {
	d := net.Dialer{Timeout: connectTimeout}
	raw, err := d.DialContext(ctx, "tcp", s.address)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errConnection, err)
	}
	c := &connection{raw: &limited{Conn: raw}}
	c.raw.left.Store(maxAnswer)
	release := context.AfterFunc(ctx, func() { raw.Close() })
	defer func() {
		if !release() && err == nil {
			err = ctx.Err()
		}
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			err = fmt.Errorf("no answer in time: %w", err)
		}
		err = fmt.Errorf("%w: %w", errConnection, err)
		if c.Conn != nil {
			c.Conn.Close()
		}
		raw.Close()
	}()
	stream := net.Conn(c.raw)
	if s.secure {
		t := tls.Client(c.raw, s.tls)
		if err := t.HandshakeContext(ctx); err != nil {
			return nil, fmt.Errorf("TLS: %w", err)
		}
		stream = t
	}
	c.Conn = ldap.NewConn(stream, s.secure)
	c.Conn.Start()
	if !s.secure && how.startTLS {
		if err := c.Conn.StartTLS(s.tls); err != nil {
			return nil, fmt.Errorf("StartTLS: %w", err)
		}
	}
	if how.bindDN != "" {
		if err := c.Conn.Bind(how.bindDN, how.password); err != nil {
			return nil, fmt.Errorf("logging in: %w", err)
		}
	}
	return c, nil
}

// take gives an open connection, or nil.
func (s *server) take() *connection {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.idle) > 0 {
		c := s.idle[len(s.idle)-1]
		s.idle = s.idle[:len(s.idle)-1]
		if !c.IsClosing() && time.Since(c.used) < idleTime {
			return c
		}
		go c.Close()
	}
	return nil
}

func (s *server) give(c *connection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.used = time.Now()
	if s.closed || len(s.idle) >= maxIdle {
		go c.Close()
		return
	}
	s.idle = append(s.idle, c)
}

// closeIdle closes the open connections, and for good those still in use.
func (s *server) closeIdle(forGood bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = s.closed || forGood
	for _, c := range s.idle {
		go c.Close()
	}
	s.idle = nil
}

// limited reads no more than an answer may be long.
type limited struct {
	net.Conn
	left atomic.Int64
}

func (l *limited) Read(b []byte) (int, error) {
	n, err := l.Conn.Read(b)
	if l.left.Add(-int64(n)) < 0 {
		return 0, errTooLong
	}
	return n, err
}
