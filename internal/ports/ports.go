// Package ports finds loopback ports for a server that is told its port before
// it listens.
package ports

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
)

// Ports for outgoing connections and for servers on port 0 are taken from 32768
// on (Linux; elsewhere from 49152): below them nobody gets by chance, between
// the search and the server's start, what was found free.
const lowest, above = 20000, 32768

var (
	mu    sync.Mutex
	given = map[int]bool{}
)

// Free gives the first of n TCP ports beside each other on which nobody listens
// on loopback, and which this process has not been given before.
func Free(n int) (first int, err error) {
	mu.Lock()
	defer mu.Unlock()
	for range 1000 {
		first = lowest + rand.IntN(above-lowest-n)
		if free(first, n) {
			for p := first; p < first+n; p++ {
				given[p] = true
			}
			return first, nil
		}
	}
	return 0, errors.New("no free port on loopback")
}

func free(first, n int) bool {
	for p := first; p < first+n; p++ {
		if given[p] {
			return false
		}
		ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", p))
		if err != nil {
			return false
		}
		ln.Close()
	}
	return true
}
