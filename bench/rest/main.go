// Command rest prints the size of the binary, how long milterd takes to start
// and how much memory it holds when nothing happens.
//
//	go run ./bench/rest bin/milterd
package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"milterd/internal/rig"
)

// runs is how often each figure is taken; the median is printed with its spread.
const runs = 7

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: rest BINARY")
		os.Exit(2)
	}
	if err := measure(context.Background(), os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "rest:", err)
		os.Exit(1)
	}
}

func measure(ctx context.Context, binary string) error {
	info, err := os.Stat(binary)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "milterd-rest-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	users := filepath.Join(dir, "users.toml")
	if err := os.WriteFile(users, []byte("[[user]]\nmail = \"jane.roe@corp.test\"\nname = \"Jane Roe\"\n"), 0o644); err != nil {
		return err
	}
	place, err := rig.At(rig.Setup{Binary: binary, Dir: dir})
	if err != nil {
		return err
	}
	if err := place.Configure(ctx, "127.0.0.1:9", users); err != nil {
		return err
	}
	var starts, memory []float64
	for range runs {
		took, err := place.Start(ctx)
		if err != nil {
			return err
		}
		starts = append(starts, float64(took.Microseconds())/1000)
		time.Sleep(2 * time.Second) // until what starts late has started
		kb, err := resident(place.Pid())
		if err != nil {
			return err
		}
		memory = append(memory, kb/1024)
		if err := place.Stop(); err != nil {
			return err
		}
	}
	fmt.Printf("rest: binary %.1f MB; start %s ms; memory %s MiB (median, lowest to highest of %d)\n",
		float64(info.Size())/1e6, spread(starts), spread(memory), runs)
	return nil
}

func spread(v []float64) string {
	slices.Sort(v)
	return fmt.Sprintf("%.0f (%.0f to %.0f)", v[len(v)/2], v[0], v[len(v)-1])
}

// resident is VmRSS of proc(5), in kB.
func resident(pid int) (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(b) {
		if rest, ok := bytes.CutPrefix(line, []byte("VmRSS:")); ok {
			return strconv.ParseFloat(string(bytes.TrimSpace(bytes.TrimSuffix(bytes.TrimSpace(rest), []byte("kB")))), 64)
		}
	}
	return 0, fmt.Errorf("no VmRSS of process %d", pid)
}
