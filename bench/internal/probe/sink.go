package probe

import (
	"context"
	"io"
	"log"
	"net"
	"strings"
	"sync"

	"github.com/emersion/go-smtp"
)

// Sink takes every mail by SMTP and counts it.
type Sink struct {
	Address string // host:port

	server *smtp.Server
	mu     sync.Mutex
	came   map[string]int
	all    int
	news   chan struct{} // closed at every arrival, then made anew
}

// NewSink starts one on loopback; Close ends it.
func NewSink() (*Sink, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &Sink{Address: ln.Addr().String(), came: map[string]int{}, news: make(chan struct{})}
	s.server = smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &delivery{sink: s}, nil }))
	s.server.Domain = "mx.corp.test"
	s.server.EnableSMTPUTF8 = true
	s.server.ErrorLog = log.New(io.Discard, "", 0) // milterd hangs up when it is stopped
	go s.server.Serve(ln)
	return s, nil
}

// Close ends it.
func (s *Sink) Close() { s.server.Close() }

// All is how many mails came.
func (s *Sink) All() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all
}

// Got is how many mails came for an address, in lower case.
func (s *Sink) Got(to string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.came[to]
}

// Wait returns when fits is true, which it looks at after every arrival.
func (s *Sink) Wait(ctx context.Context, fits func() bool) error {
	for {
		s.mu.Lock()
		news := s.news
		s.mu.Unlock()
		if fits() {
			return nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// delivery is one SMTP conversation.
type delivery struct {
	sink *Sink
	to   []string
}

func (d *delivery) Reset()                               { d.to = nil }
func (d *delivery) Logout() error                        { return nil }
func (d *delivery) Mail(string, *smtp.MailOptions) error { return nil }
func (d *delivery) Rcpt(to string, _ *smtp.RcptOptions) error {
	d.to = append(d.to, strings.ToLower(to))
	return nil
}

func (d *delivery) Data(r io.Reader) error {
	if _, err := io.Copy(io.Discard, r); err != nil {
		return err
	}
	d.sink.mu.Lock()
	defer d.sink.mu.Unlock()
	for _, to := range d.to {
		d.sink.came[to]++
		d.sink.all++
	}
	close(d.sink.news)
	d.sink.news = make(chan struct{})
	return nil
}
