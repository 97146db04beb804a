package ports

import (
	"fmt"
	"net"
	"testing"
)

func TestFree(t *testing.T) {
	seen := map[int]bool{}
	for range 300 {
		first, err := Free(3)
		if err != nil {
			t.Fatal(err)
		}
		for p := first; p < first+3; p++ {
			if seen[p] || p < lowest || p >= above {
				t.Fatalf("port %d: given twice (%v), or one that connections get", p, seen[p])
			}
			seen[p] = true
			ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", p))
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
		}
	}
}
