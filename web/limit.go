package web

import (
	"container/list"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// limiter grants each key its own rate. It remembers the limiterKeys keys that
// were used last, so that a flood of keys costs a bounded amount of memory.
type limiter struct {
	mu    sync.Mutex
	rate  rate.Limit
	burst int
	keys  map[string]*list.Element
	used  *list.List // of *bucket, newest first
}

type bucket struct {
	key string
	*rate.Limiter
}

const limiterKeys = 10_000

func newLimiter(perSecond float64, burst int) *limiter {
	return &limiter{rate: rate.Limit(perSecond), burst: burst, keys: map[string]*list.Element{}, used: list.New()}
}

func (l *limiter) allow(key string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, ok := l.keys[key]
	if !ok {
		if l.used.Len() >= limiterKeys {
			last := l.used.Back()
			delete(l.keys, last.Value.(*bucket).key)
			l.used.Remove(last)
		}
		e = l.used.PushFront(&bucket{key, rate.NewLimiter(l.rate, l.burst)})
		l.keys[key] = e
	}
	l.used.MoveToFront(e)
	return e.Value.(*bucket).AllowN(now, 1)
}

// clientAddress is the address of who asks. X-Forwarded-For is read from its
// right end, and only as far as the addresses before it belong to proxies that
// we trust: what stands further left was written by the client.
func clientAddress(r *http.Request, proxies []netip.Prefix) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	addr = addr.Unmap().WithZone("")
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && trusted(addr, proxies); i-- {
		next, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		addr = next.Unmap().WithZone("")
	}
	return addr.String()
}

func trusted(a netip.Addr, proxies []netip.Prefix) bool {
	for _, p := range proxies {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// clientKey puts an IPv6 client's whole /64 under one limit.
func clientKey(client string) string {
	a, err := netip.ParseAddr(client)
	if err != nil || a.Is4() {
		return client
	}
	p, _ := a.Prefix(64) // cannot fail: 64 bits of an IPv6 address
	return p.String()
}
