// Command trustlist measures what trusted lists of the size of the EU's cost at
// the start and at each refresh: 30 national lists with 4,000 services of type CA/QC, each with two
// past states and a qualification, generated here and signed with our own XAdES.
//
//	go run ./bench/trustlist
//
// Beside the whole of it stand the parts that cannot be left out: reading the
// files and hashing them. A refresh fetches from a server of this machine, over TLS,
// into an empty folder, and then again, when nothing is new. "Held" is the heap after a collection, of the process
// that has opened the lists; "peak" is what the kernel saw (VmHWM) of a process
// of its own that does nothing else.
package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"milterd/pki/trustlist"
	"milterd/pki/trustlist/trustlisttest"
)

const (
	territories = 30
	services    = 4000
	authorities = 400 // distinct certificates; each stands in ten services of its own name
	rounds      = 5
)

func main() {
	do := run
	if len(os.Args) > 2 && os.Args[1] == "open" {
		do = func() error { return open(os.Args[2]) }
	}
	if len(os.Args) > 3 && os.Args[1] == "refresh" {
		do = func() error { return refresh(os.Args[2], os.Args[3]) }
	}
	if err := do(); err != nil {
		fmt.Fprintln(os.Stderr, "bench/trustlist:", err)
		os.Exit(1)
	}
}

func run() error {
	dir, err := os.MkdirTemp("", "milterd-lists-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	var u *trustlisttest.Union
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { u.ServeHTTP(w, r) }))
	defer server.Close()
	u, leaf, err := generate(dir, server.URL+"/")
	if err != nil {
		return err
	}
	root := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(filepath.Join(dir, "server.pem"), root, 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "leaf.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf}), 0o600); err != nil {
		return err
	}
	files, size, err := floor(dir)
	if err != nil {
		return err
	}
	fmt.Printf("%d lists, %d services, %.1f MB\n", territories+1, services, float64(size)/1e6)
	self, err := os.Executable()
	if err != nil {
		return err
	}
	var all []result
	for range rounds {
		var r result
		for _, args := range [][]string{{"open", dir}, {"refresh", dir, server.URL + "/EU.xml"}} {
			out, err := exec.Command(self, args...).Output()
			if err != nil {
				return fmt.Errorf("a process that would %s the lists: %w", args[0], err)
			}
			if err := json.Unmarshal(out, &r); err != nil {
				return err
			}
		}
		all = append(all, r)
	}
	row := func(what, unit string, of func(result) float64) {
		var v []float64
		for _, r := range all {
			v = append(v, of(r))
		}
		slices.Sort(v)
		fmt.Printf("%-46s %9.2f %s (%.2f–%.2f)\n", what, v[len(v)/2], unit, v[0], v[len(v)-1])
	}
	fmt.Printf("%-46s %9.2f s\n", "reading and hashing the files alone", files.Seconds())
	row("opening: verifying and reading all", "s", func(r result) float64 { return r.Open.Seconds() })
	row("asking about a certificate", "ms", func(r result) float64 { return float64(r.Vouch.Microseconds()) / 1000 })
	row("asking about one that nobody vouches for", "ms", func(r result) float64 { return float64(r.Refuse.Microseconds()) / 1000 })
	row("held", "MiB", func(r result) float64 { return float64(r.Held) / (1 << 20) })
	row("peak", "MiB", func(r result) float64 { return float64(r.Peak) / (1 << 10) })
	row("refresh: fetching, verifying and keeping all", "s", func(r result) float64 { return r.Refresh.Seconds() })
	row("refresh when nothing is new", "s", func(r result) float64 { return r.Same.Seconds() })
	row("peak of both", "MiB", func(r result) float64 { return float64(r.RefreshPeak) / (1 << 10) })
	return nil
}

// result is what one process measured.
type result struct {
	Open, Vouch, Refuse time.Duration
	Held                uint64 // bytes
	Peak                uint64 // KiB
	Refresh, Same       time.Duration
	RefreshPeak         uint64 // KiB
}

func open(dir string) error {
	signers, err := certificates(filepath.Join(dir, "signers.pem"))
	if err != nil {
		return err
	}
	leaf, err := certificates(filepath.Join(dir, "leaf.pem"))
	if err != nil {
		return err
	}
	start := time.Now()
	l, err := trustlist.Open(trustlist.Config{Folder: dir, Signers: signers})
	if err != nil {
		return err
	}
	r := result{Open: time.Since(start)}
	for _, s := range l.Status() {
		if s.Reason != "" {
			return fmt.Errorf("list %s does not count: %s", s.Territory, s.Why)
		}
	}
	const times = 100
	start = time.Now()
	for range times {
		if _, err := l.Vouch(leaf[0], nil, time.Now()); err != nil {
			return err
		}
	}
	r.Vouch = time.Since(start) / times
	start = time.Now()
	for range times {
		if _, err := l.Vouch(signers[0], nil, time.Now()); err == nil {
			return fmt.Errorf("somebody vouches for %q", signers[0].Subject)
		}
	}
	r.Refuse = time.Since(start) / times
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	r.Held = m.HeapAlloc
	if r.Peak, err = peak(); err != nil {
		return err
	}
	runtime.KeepAlive(l)
	return json.NewEncoder(os.Stdout).Encode(r)
}

// peak is the most memory that this process ever had, in KiB.
func peak() (kib uint64, err error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for _, line := range strings.Split(string(status), "\n") {
		fmt.Sscanf(line, "VmHWM: %d kB", &kib)
	}
	return kib, nil
}

// refresh fetches the lists into an empty folder, twice.
func refresh(dir, address string) error {
	signers, err := certificates(filepath.Join(dir, "signers.pem"))
	if err != nil {
		return err
	}
	server, err := certificates(filepath.Join(dir, "server.pem"))
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AddCert(server[0])
	folder, err := os.MkdirTemp(dir, "refresh-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	l, err := trustlist.Open(trustlist.Config{Folder: folder, LOTL: address, Signers: signers,
		Client: &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}})
	if err != nil {
		return err
	}
	var r struct {
		Refresh, Same time.Duration
		RefreshPeak   uint64
	}
	for _, took := range []*time.Duration{&r.Refresh, &r.Same} {
		start := time.Now()
		if err := l.Refresh(context.Background()); err != nil {
			return err
		}
		*took = time.Since(start)
	}
	if n := len(l.Status()); n != territories+1 {
		return fmt.Errorf("%d lists after a refresh", n)
	}
	if r.RefreshPeak, err = peak(); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

// floor is what no reader of these files can leave out.
func floor(dir string) (time.Duration, int, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.xml"))
	if err != nil {
		return 0, 0, err
	}
	start, size := time.Now(), 0
	for _, p := range paths {
		raw, err := os.ReadFile(p)
		if err != nil {
			return 0, 0, err
		}
		sha256.Sum256(raw)
		size += len(raw)
	}
	return time.Since(start), size, nil
}

// generate writes the lists, to be fetched from base, and gives a certificate that
// one of the services issued.
func generate(dir, base string) (*trustlisttest.Union, []byte, error) {
	now := time.Now()
	var cas []*x509.Certificate
	var leaf []byte
	for i := range authorities {
		ca, key, err := authority(i, now)
		if err != nil {
			return nil, nil, err
		}
		if cas = append(cas, ca); i == authorities/2 {
			c := &x509.Certificate{SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "Somebody"}, NotBefore: now.AddDate(0, -1, 0),
				NotAfter: now.AddDate(1, 0, 0), KeyUsage: x509.KeyUsageContentCommitment}
			if leaf, err = x509.CreateCertificate(rand.Reader, c, ca, key.Public(), key); err != nil {
				return nil, nil, err
			}
		}
	}
	const year = 365 * 24 * time.Hour
	policy := `<sie:PolicySet><sie:PolicyIdentifier><xades:Identifier Qualifier="OIDAsURN">urn:oid:1.3.6.1.4.1.4711.1.2</xades:Identifier></sie:PolicyIdentifier></sie:PolicySet>`
	qualify := trustlisttest.Qualify("atLeastOne", trustlisttest.Commitment+policy, "QCWithQSCD", "QCForESig")
	var lists []trustlisttest.List
	for i := range territories {
		l := trustlisttest.List{Territory: string([]byte{'A' + byte(i/26), 'A' + byte(i%26)})}
		for n := i; n < services; n += territories {
			l.Services = append(l.Services, trustlisttest.Service{
				Provider: fmt.Sprintf("Provider %d", n/10), Name: fmt.Sprintf("Qualified certificates %d", n), CA: cas[n%authorities],
				State:   trustlisttest.State{Extensions: qualify},
				History: []trustlisttest.State{{Age: 7 * year, Extensions: qualify}, {Age: 15 * year, Status: "undersupervision", Extensions: qualify}},
			})
		}
		lists = append(lists, l)
	}
	u, err := trustlisttest.Make(now, base, lists...)
	if err != nil {
		return nil, nil, err
	}
	signers := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: u.Trusted()[0].Raw})
	if err := os.WriteFile(filepath.Join(dir, "signers.pem"), signers, 0o600); err != nil {
		return nil, nil, err
	}
	return u, leaf, u.Write(dir)
}

func authority(n int, now time.Time) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(int64(n) + 1), Subject: pkix.Name{CommonName: fmt.Sprintf("Authority %d", n), Organization: []string{"Provider"}, Country: []string{"EE"}},
		NotBefore: now.AddDate(-5, 0, 0), NotAfter: now.AddDate(5, 0, 0), KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	ca, err := x509.ParseCertificate(der)
	return ca, key, err
}

func certificates(path string) (out []*x509.Certificate, err error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	for block, rest := pem.Decode(raw); block != nil; block, rest = pem.Decode(rest) {
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}
