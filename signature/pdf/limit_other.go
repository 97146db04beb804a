//go:build !linux

package pdf

// limitSelf does nothing here: only Linux has all the limits. What is left is
// the time, and the memory limit of Go's garbage collector.
func limitSelf() error { return nil }
