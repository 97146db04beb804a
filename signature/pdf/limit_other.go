//go:build !linux

package pdf

import (
	"os"
	"time"
)

// limitSelf does nothing here: only Linux has all the limits. What is left is
// the time, and the memory limit of Go's garbage collector.
func limitSelf() error { return nil }

// spentCPU is all of it: without limits no child takes a second document.
func spentCPU() time.Duration { return childCPU * time.Second }

func orders() *os.File { return os.Stdin }
