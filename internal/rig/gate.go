package rig

import (
	"bytes"
	"io"
	"net"
	"strings"
	"sync"
)

// Gate is a TCP port on loopback before a server, which can be taken away and
// given back while everybody keeps the same address.
type Gate struct {
	Address string // host:port

	mu     sync.Mutex
	target string // as for net.Dial: "unix:PATH" or HOST:PORT
	ln     net.Listener
	state  gateState
	cut    []byte
	conns  map[net.Conn]bool
}

type gateState int

const (
	opened  gateState = iota
	refused           // connections are cut at once
	silent            // connections are taken and nothing is ever answered
)

// NewGate opens a gate before a server, "unix:PATH" or HOST:PORT. The caller
// ends it with Close.
func NewGate(target string) (*Gate, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	g := &Gate{Address: ln.Addr().String(), target: target, ln: ln, conns: map[net.Conn]bool{}}
	go g.serve()
	return g, nil
}

// Open lets connections through again, to another server if target is not empty.
func (g *Gate) Open(target string) {
	g.mu.Lock()
	if target != "" {
		g.target = target
	}
	g.mu.Unlock()
	g.turn(opened)
}

// Refuse cuts every connection, and those to come: the server is down.
func (g *Gate) Refuse() { g.turn(refused) }

// Hang cuts every connection and answers none to come: the worst kind of away.
func (g *Gate) Hang() { g.turn(silent) }

// CutAt cuts each connection to come when the server says a word, which does not
// get through. Without a word it stops doing so.
func (g *Gate) CutAt(word []byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.cut = word
}

// Close ends it.
func (g *Gate) Close() {
	g.ln.Close()
	g.turn(refused)
}

func (g *Gate) turn(s gateState) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.state = s
	for c := range g.conns {
		c.Close()
		delete(g.conns, c)
	}
}

// keep remembers a connection, to cut it.
func (g *Gate) keep(c net.Conn) gateState {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.state == refused {
		c.Close()
	} else {
		g.conns[c] = true
	}
	return g.state
}

func (g *Gate) drop(c net.Conn) {
	c.Close()
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.conns, c)
}

func (g *Gate) serve() {
	for {
		c, err := g.ln.Accept()
		if err != nil {
			return
		}
		if g.keep(c) == opened {
			go g.pass(c)
		}
	}
}

func (g *Gate) pass(c net.Conn) {
	defer g.drop(c)
	g.mu.Lock()
	network, address, cut := "tcp", g.target, g.cut
	g.mu.Unlock()
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		network, address = "unix", path
	}
	s, err := net.Dial(network, address)
	if err != nil {
		return
	}
	if g.keep(s) != opened {
		s.Close()
		return
	}
	defer g.drop(s)
	go func() {
		io.Copy(s, c)
		if h, ok := s.(interface{ CloseWrite() error }); ok {
			h.CloseWrite()
		}
	}()
	if len(cut) == 0 {
		io.Copy(c, s)
		return
	}
	for b := make([]byte, 64<<10); ; {
		n, err := s.Read(b)
		if err != nil || bytes.Contains(b[:n], cut) {
			return
		}
		if _, err := c.Write(b[:n]); err != nil {
			return
		}
	}
}
