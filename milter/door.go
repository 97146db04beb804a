package milter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emersion/go-milter"
)

// Defaults of a Door.
const (
	DefaultMaxSize  = 50 << 20
	DefaultMaxConns = 400
	DefaultMaxHeld  = 512 << 20
	DefaultIdle     = 10 * time.Minute // smtpd lets its client idle for five
	DefaultWork     = 30 * time.Second
)

// Door serves Postfix, by the milter protocol and by LMTP. Set its fields, then
// Serve and ServeLMTP. A zero limit means its default.
type Door struct {
	Domain string // the sign domain
	Intake Intake
	Log    *slog.Logger
	Meter  Meter

	MaxSize  int64         // bytes of one mail to the sign domain
	MaxConns int           // of each listener; further connections wait in the socket's backlog
	MaxHeld  int64         // bytes of mail held in memory by all connections; beyond it 451
	Idle     time.Duration // Postfix may be silent for so long
	Work     time.Duration // the Intake may take so long for one answer

	mu     sync.Mutex
	conns  map[*conn]struct{}
	lns    map[net.Listener]struct{}
	closed bool
	kill   context.CancelFunc
	ctx    context.Context
	held   atomic.Int64
	wait   sync.WaitGroup
}

// ErrClosed is what Serve returns after Shutdown.
var ErrClosed = errors.New("milter: door closed")

// Serve speaks the milter protocol on ln until Shutdown, which makes it return
// ErrClosed. It closes ln.
func (d *Door) Serve(ln net.Listener) error { return d.serve(ln, d.talkMilter) }

// ServeLMTP speaks LMTP on ln, for mail that Postfix delivers to the sign domain
// because the milter did not see it. It ends as Serve does.
func (d *Door) ServeLMTP(ln net.Listener) error { return d.serve(ln, d.talkLMTP) }

// serve hands each connection to talk, which answers it without blocking.
func (d *Door) serve(ln net.Listener, talk func(*conn)) error {
	defer ln.Close()
	if err := d.open(ln); err != nil {
		return err
	}
	slots := make(chan struct{}, d.MaxConns)
	for {
		slots <- struct{}{}
		c, err := ln.Accept()
		if err != nil {
			d.mu.Lock()
			defer d.mu.Unlock()
			if d.closed {
				return ErrClosed
			}
			delete(d.lns, ln)
			return fmt.Errorf("accepting from Postfix: %w", err)
		}
		if !d.admit(c, talk, func() { <-slots }) {
			<-slots
			c.Close()
		}
	}
}

// open sets defaults at the first Serve and remembers the listener.
func (d *Door) open(ln net.Listener) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return ErrClosed
	}
	if d.conns == nil {
		d.conns, d.lns = map[*conn]struct{}{}, map[net.Listener]struct{}{}
		d.ctx, d.kill = context.WithCancel(context.Background())
		d.MaxSize = orDefault(d.MaxSize, DefaultMaxSize)
		d.MaxConns = orDefault(d.MaxConns, DefaultMaxConns)
		d.MaxHeld = orDefault(d.MaxHeld, DefaultMaxHeld)
		d.Idle = orDefault(d.Idle, DefaultIdle)
		d.Work = orDefault(d.Work, DefaultWork)
	}
	d.lns[ln] = struct{}{}
	return nil
}

func orDefault[T int | int64 | time.Duration](v, def T) T {
	if v <= 0 {
		return def
	}
	return v
}

// admit starts the conversation on one connection; gone is called at its end.
func (d *Door) admit(nc net.Conn, talk func(*conn), gone func()) bool {
	c := newConn(nc, d.Idle)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return false
	}
	d.conns[c] = struct{}{}
	d.wait.Add(1)
	d.meterConn(+1)
	c.onClose = func() {
		d.mu.Lock()
		delete(d.conns, c)
		d.mu.Unlock()
		d.meterConn(-1)
		gone()
		d.wait.Done()
	}
	talk(c)
	return true
}

// talkMilter gives each connection a library server of its own: the library
// replaces its backend after every final reply without telling it the
// connection, so one server for all would lose what CONNECT said.
func (d *Door) talkMilter(c *conn) {
	s := &session{letter: letter{door: d}, conn: c}
	c.release = func() { s.reset(false) }
	srv := &milter.Server{
		NewMilter: func() milter.Milter { return s },
		Actions:   milter.OptRemoveRcpt | milter.OptSetSymList,
		// Header and body need no answer before their end; to wait for one would cost
		// Postfix and us two changes of process for each field and each 64 KB.
		Protocol: milter.OptNoConnect | milter.OptNoHelo | milter.OptNoUnknown | milter.OptNoData |
			milter.OptNoMailReply | milter.OptNoHeaderReply | milter.OptNoBodyReply | milter.OptHeaderLeadingSpace,
		SymList: map[milter.Stage][]string{
			milter.StageMailFrom: {"i", "{client_addr}", "{client_port}", "{auth_authen}", "{mail_addr}"},
			milter.StageRcptTo:   {"{rcpt_addr}"},
			milter.StageEOH:      {"i"},
		},
	}
	go srv.Serve(&single{conn: c})
}

// Shutdown stops listening, lets each mail that is under way come to its end
// and closes the connections. When ctx ends first, it cuts them off: Postfix
// then answers 451 and the client tries again.
func (d *Door) Shutdown(ctx context.Context) error {
	d.mu.Lock()
	d.closed = true
	for ln := range d.lns {
		ln.Close()
	}
	for c := range d.conns {
		c.drain()
	}
	kill := d.kill
	d.mu.Unlock()
	if kill == nil {
		return nil
	}
	defer kill()

	done := make(chan struct{})
	go func() { d.wait.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	kill()
	d.mu.Lock()
	for c := range d.conns {
		c.Conn.Close()
	}
	d.mu.Unlock()
	return fmt.Errorf("draining the doors for Postfix: %w", ctx.Err())
}

func (d *Door) meterConn(delta int) {
	if d.Meter.Connection != nil {
		d.Meter.Connection(delta)
	}
}

// single is a listener with one connection, for the library's Serve.
type single struct{ conn net.Conn }

func (s *single) Accept() (net.Conn, error) {
	if s.conn == nil {
		return nil, io.EOF
	}
	c := s.conn
	s.conn = nil
	return c, nil
}
func (s *single) Close() error   { return nil }
func (s *single) Addr() net.Addr { return nil }
