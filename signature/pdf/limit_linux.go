package pdf

import (
	"fmt"
	"syscall"
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
