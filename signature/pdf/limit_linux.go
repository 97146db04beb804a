package pdf

import (
	"fmt"
	"os"
	"syscall"
	"time"
)

// limitSelf lowers what this process may use, for good.
func limitSelf() error {
	for _, l := range []struct {
		name     string
		resource int
		value    uint64
	}{
		{"memory", syscall.RLIMIT_DATA, childData},
		{"address space", syscall.RLIMIT_AS, childSpace},
		{"CPU", syscall.RLIMIT_CPU, childCPU},
		{"file size", syscall.RLIMIT_FSIZE, 0},
		{"core", syscall.RLIMIT_CORE, 0},
		{"files", syscall.RLIMIT_NOFILE, childFiles},
	} {
		if err := syscall.Setrlimit(l.resource, &syscall.Rlimit{Cur: l.value, Max: l.value}); err != nil {
			return fmt.Errorf("limiting %s: %w", l.name, err)
		}
	}
	return nil
}

// orders is standard input, read without blocking a thread: for 10 ms after each
// blocking read Go looks every 20 µs whether it goes on, and so takes a sixth of the
// processor on which milterd is just storing what this process has inspected.
func orders() *os.File {
	if syscall.SetNonblock(0, true) != nil {
		return os.Stdin
	}
	return os.NewFile(0, "stdin")
}

// spentCPU is how much processor this process has used, which is what counts
// towards its limit.
func spentCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return childCPU * time.Second
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
