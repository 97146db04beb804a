// Command judges measures how long signing (PAdES B-B) and verifying a document
// takes beside pyHanko and EU DSS, whose own programs `make conformance` fetches:
//
//	go run ./bench/judges
//
// Every side is a process of its own that is warm, signs the same documents with
// the same key, from memory to memory, and verifies the same signed file with the
// same root and revocation list. The sides take their turns; each figure is a
// median with the lowest and the highest. The floor is the hash of the document
// and the key operation with the same library, and nothing else: no implementation
// in Go can be faster. Before anything is timed, everybody
// must sign so that package validate says TOTAL-PASSED, and say so of our file.
// It fails if a ratio is under its bound, or if we hold more memory than a peer.
package main

import (
	"bufio"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"milterd/bench/internal/probe"
	"milterd/signature/cms/cmstest"
)

const (
	rounds = 7
	field  = "Signature1"
)

func main() {
	do := measure
	if len(os.Args) > 1 && os.Args[1] == "work" {
		do = func() error { return work(os.Args[2:]) }
	}
	if err := do(); err != nil {
		fmt.Fprintln(os.Stderr, "bench/judges:", err)
		os.Exit(1)
	}
}

// side is who signs and verifies.
type side struct {
	name    string
	command []string
	few     int // how many times fewer than we it does a thing in one turn
	process *exec.Cmd
	in      io.Writer
	out     *bufio.Scanner
}

func sides() ([]*side, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return []*side{
		{name: "milterd", command: []string{self, "work"}, few: 1},
		{name: "pyHanko", command: []string{"conformance/.cache/pyhanko/bin/python", "bench/judges/worker.py"}, few: 40},
		{name: "DSS", command: []string{"java", "-XX:+UseSerialGC", "-cp", "conformance/.cache/dss/*", "bench/judges/Worker.java"}, few: 10},
	}, nil
}

func (s *side) start(files ...string) error {
	s.process = exec.Command(s.command[0], append(s.command[1:], files...)...)
	s.process.Stderr = os.Stderr
	in, err := s.process.StdinPipe()
	if err != nil {
		return err
	}
	out, err := s.process.StdoutPipe()
	if err != nil {
		return err
	}
	s.in, s.out = in, bufio.NewScanner(out)
	if err := s.process.Start(); err != nil {
		return fmt.Errorf("%s: %w: make conformance fetches it", s.name, err)
	}
	return nil
}

// do has a side do a task so many times; it gives the time of one. Where into is
// given, what it signed last is written there.
func (s *side) do(task, file, into string, n int) (time.Duration, error) {
	if _, err := fmt.Fprintf(s.in, "%s\t%s\t%s\t%d\n", task, file, into, n); err != nil {
		return 0, err
	}
	if !s.out.Scan() {
		return 0, fmt.Errorf("%s has ended: %v", s.name, s.out.Err())
	}
	var r struct {
		Nanoseconds int64
		Error       string
	}
	if err := json.Unmarshal(s.out.Bytes(), &r); err != nil {
		return 0, fmt.Errorf("%s: %w", s.name, err)
	}
	if r.Error != "" {
		return 0, fmt.Errorf("%s: %s %s: %s", s.name, task, file, r.Error)
	}
	return time.Duration(r.Nanoseconds / int64(n)), nil
}

// bound is what a ratio of a peer's time to ours must reach.
type bound struct {
	task, size, peer string
	least            float64
}

var bounds = []bound{{"sign", "100 KB", "pyHanko", 50}, {"sign", "100 KB", "DSS", 10}, {"sign", "10 MB", "pyHanko", 4}}

func measure() error {
	dir, err := os.MkdirTemp("", "milterd-judges-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	documents := map[string]int{"100 KB": 100 << 10, "10 MB": 10 << 20}
	for name, size := range documents {
		if err := os.WriteFile(filepath.Join(dir, name+".pdf"), cmstest.Document(size), 0o600); err != nil {
			return err
		}
	}
	var missed []error
	for _, kind := range []string{"RSA-2048", "P-256"} {
		if err := identity(dir, kind); err != nil {
			return err
		}
		failed, err := compare(dir, kind)
		if err != nil {
			return err
		}
		missed = append(missed, failed...)
	}
	return errors.Join(missed...)
}

func compare(dir, kind string) (missed []error, err error) {
	all, err := sides()
	if err != nil {
		return nil, err
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	for _, s := range all {
		if err := s.start(in("key.pem"), in("cert.pem"), in("root.pem"), in("root.crl")); err != nil {
			return nil, err
		}
		defer func() { s.process.Process.Kill(); s.process.Wait() }()
	}
	for _, size := range []string{"100 KB", "10 MB"} {
		plain := in(size + ".pdf")
		for _, s := range all { // a warm-up that is looked at
			signed := in(size + "-" + s.name + ".pdf")
			if _, err := s.do("sign", plain, signed, max(1, 400/s.few)); err != nil {
				return nil, err
			}
			if _, err := all[0].do("verify", signed, "", 1); err != nil {
				return nil, fmt.Errorf("what %s signs: %w", s.name, err)
			}
		}
		for _, task := range []string{"sign", "verify"} {
			file := plain
			if task == "verify" {
				file = in(size + "-milterd.pdf")
			}
			n := map[string]int{"100 KB": 200, "10 MB": 10}[size]
			times, floor := make([][]float64, len(all)), []float64(nil)
			for round := -1; round < rounds; round++ { // the first is not counted
				if task == "sign" {
					t, err := all[0].do("floor", file, "", n)
					if err != nil {
						return nil, err
					}
					if round >= 0 {
						floor = append(floor, probe.Ms(t))
					}
				}
				for i, s := range all {
					t, err := s.do(task, file, "", max(1, n/s.few))
					if err != nil {
						return nil, err
					}
					if round >= 0 {
						times[i] = append(times[i], probe.Ms(t))
					}
				}
			}
			if floor != nil {
				fmt.Printf("judges: %s, %s, %s: milterd to SHA-256 and key operation alone %s; pyHanko to those %s times, DSS %s times\n", task, kind, size,
					probe.Spread(probe.Ratios(times[0], floor), 2), probe.Spread(probe.Ratios(times[1], floor), 1), probe.Spread(probe.Ratios(times[2], floor), 1))
			}
			for i, s := range all[1:] {
				ratios := probe.Ratios(times[i+1], times[0])
				mark := ""
				for _, b := range bounds {
					if b.task == task && b.size == size && b.peer == s.name {
						mark = fmt.Sprintf("  (bound %g)", b.least)
						if probe.Percentile(ratios, 0.5) < b.least {
							mark += "  UNDER"
							missed = append(missed, fmt.Errorf("%s, %s, %s: not %g times as fast as %s", task, kind, size, b.least, s.name))
						}
					}
				}
				fmt.Printf("judges: %s, %s, %s: %s %s ms, milterd %s ms: %s times%s\n", task, kind, size, s.name, probe.Spread(times[i+1], 2),
					probe.Spread(times[0], 2), probe.Spread(ratios, 1), mark)
			}
		}
	}
	peaks := make([]float64, len(all))
	var said []string
	for i, s := range all {
		if peaks[i], err = peak(s.process.Process.Pid); err != nil {
			return nil, err
		}
		said = append(said, fmt.Sprintf("%s %.0f MB", s.name, peaks[i]))
		if i > 0 && peaks[0] > peaks[i] {
			missed = append(missed, fmt.Errorf("%s: more memory than %s", kind, s.name))
		}
	}
	fmt.Printf("judges: %s, peak memory of the process: %s\n", kind, strings.Join(said, ", "))
	return missed, nil
}

// peak is the most memory that a process ever held, in MB.
func peak(pid int) (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(b), "VmHWM:")
	var kb float64
	if _, err := fmt.Sscan(rest, &kb); err != nil {
		return 0, fmt.Errorf("peak memory: %w", err)
	}
	return kb / 1024, nil
}

// identity writes a root, its empty revocation list, and a signer's key and certificate.
func identity(dir, kind string) error {
	now := time.Now().Truncate(time.Second)
	rootKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	root := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Root"}, NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(1, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, SubjectKeyId: []byte{1, 2, 3, 4}}
	rootDER, err := x509.CreateCertificate(rand.Reader, root, root, rootKey.Public(), rootKey)
	if err != nil {
		return err
	}
	if root, err = x509.ParseCertificate(rootDER); err != nil {
		return err
	}
	var key crypto.Signer
	if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); kind == "RSA-2048" {
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	if err != nil {
		return err
	}
	leaf, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "Jane Roe"}, NotBefore: now.Add(-time.Hour),
		NotAfter: now.AddDate(0, 1, 0), KeyUsage: x509.KeyUsageContentCommitment, CRLDistributionPoints: []string{"http://crl.invalid/root.crl"}}, root, key.Public(), rootKey)
	if err != nil {
		return err
	}
	crl, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: now, NextUpdate: now.AddDate(0, 0, 7)}, root, rootKey)
	if err != nil {
		return err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	block := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	for name, b := range map[string][]byte{"key.pem": block("PRIVATE KEY", pkcs8), "cert.pem": block("CERTIFICATE", leaf), "root.pem": block("CERTIFICATE", rootDER), "root.crl": crl} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			return err
		}
	}
	return nil
}
