// Package probe is what the measurements of a whole milterd share: a client
// that knocks at its milter socket as Postfix does, a mail server that takes
// what it sends, and a look at its process in proc(5).
//
// Limits: the client is logged in and shows one mail after the other; nothing
// of it ships.
package probe

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Percentile gives the value below which the part p of all lies.
func Percentile(v []float64, p float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return s[min(len(s)-1, int(p*float64(len(s))))]
}

// Spread is the median with the lowest and the highest.
func Spread(v []float64, digits int) string {
	return fmt.Sprintf("%.*f (%.*f–%.*f)", digits, Percentile(v, 0.5), digits, slices.Min(v), digits, slices.Max(v))
}

// Ratios divides pairs of one round by each other.
func Ratios(over, under []float64) []float64 {
	out := make([]float64, len(over))
	for i := range over {
		out[i] = over[i] / under[i]
	}
	return out
}

// Ms is a time in milliseconds.
func Ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// Resident is a process's VmRSS of proc(5), in MiB, and its RssFile: what of it
// are pages of the program's own file, which processes share.
func Resident(pid int) (all, file float64, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range bytes.Lines(b) {
		name, rest, _ := strings.Cut(string(line), ":")
		into := map[string]*float64{"VmRSS": &all, "RssFile": &file}[name]
		if into == nil {
			continue
		}
		kb, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 64)
		if err != nil {
			return 0, 0, err
		}
		*into = kb / 1024
	}
	if all == 0 {
		return 0, 0, fmt.Errorf("no VmRSS of process %d", pid)
	}
	return all, file, nil
}

// Processor is the processor time that a process has used, with its children
// that have ended.
func Processor(pid int) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// proc(5): behind the name in parentheses, utime is the 12th field.
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(f) < 15 {
		return 0, fmt.Errorf("stat of process %d has %d fields", pid, len(f))
	}
	var ticks int64
	for _, s := range f[11:15] {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * (time.Second / 100), nil // USER_HZ is 100
}
