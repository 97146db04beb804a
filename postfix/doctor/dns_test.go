package doctor

import (
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// zone is a DNS server on loopback with a few records.
type zone struct {
	addr string

	mu      sync.Mutex
	records map[string][]string // "name TYPE" to values
}

// startDNS serves until the test ends.
func startDNS(t *testing.T, records map[string][]string) *zone {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	z := &zone{addr: conn.LocalAddr().String(), records: records}
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			if answer, err := z.answer(buf[:n]); err == nil {
				conn.WriteTo(answer, from)
			}
		}
	}()
	return z
}

// set replaces records; none takes the name away. back puts them back.
func (z *zone) set(key string, values ...string) (back func()) {
	z.mu.Lock()
	defer z.mu.Unlock()
	old := z.records[key]
	z.records[key] = values
	return func() { z.set(key, old...) }
}

func (z *zone) answer(query []byte) ([]byte, error) {
	var p dnsmessage.Parser
	h, err := p.Start(query)
	if err != nil {
		return nil, err
	}
	q, err := p.Question()
	if err != nil {
		return nil, err
	}
	name := strings.ToLower(strings.TrimSuffix(q.Name.String(), "."))
	z.mu.Lock()
	values := z.records[name+" "+strings.TrimPrefix(q.Type.String(), "Type")]
	exists := false
	for key, v := range z.records {
		exists = exists || strings.HasPrefix(key, name+" ") && len(v) > 0
	}
	z.mu.Unlock()
	reply := dnsmessage.Header{ID: h.ID, Response: true, Authoritative: true, RecursionAvailable: true}
	if !exists {
		reply.RCode = dnsmessage.RCodeNameError
	}
	b := dnsmessage.NewBuilder(nil, reply)
	b.StartQuestions()
	b.Question(q)
	b.StartAnswers()
	head := dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET, TTL: 1}
	for _, v := range values {
		switch q.Type {
		case dnsmessage.TypeMX:
			b.MXResource(head, dnsmessage.MXResource{Pref: 10, MX: dnsmessage.MustNewName(v)})
		case dnsmessage.TypeA:
			b.AResource(head, dnsmessage.AResource{A: netip.MustParseAddr(v).As4()})
		case dnsmessage.TypeTXT:
			var parts []string
			for len(v) > 255 {
				parts, v = append(parts, v[:255]), v[255:]
			}
			b.TXTResource(head, dnsmessage.TXTResource{TXT: append(parts, v)})
		}
	}
	return b.Finish()
}
