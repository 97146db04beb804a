// Command judges lets programs that are not ours look at signed PDFs: qpdf
// (structure), pdfsig and mutool (signatures as readers see them), openssl
// (each CMS with its CAdES attributes, each document timestamp).
//
//	go run ./bench/judges demo/signed
//
// The folder holds *.pdf and root.pem, the root of their certificates. Every
// verdict is printed; the closing line counts, and anything off is exit status 1.
package main

import (
	"bytes"
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: judges FOLDER")
		os.Exit(2)
	}
	files, err := filepath.Glob(filepath.Join(os.Args[1], "*.pdf"))
	if err != nil || len(files) == 0 {
		fmt.Fprintln(os.Stderr, "judges: no *.pdf in", os.Args[1])
		os.Exit(1)
	}
	work, err := os.MkdirTemp("", "milterd-judges-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "judges:", err)
		os.Exit(1)
	}
	defer os.RemoveAll(work)
	c := court{root: filepath.Join(os.Args[1], "root.pem"), work: work}
	for _, f := range files {
		fmt.Println(filepath.Base(f))
		if err := c.judge(f); err != nil {
			c.say("reading", err, "")
		}
	}
	fmt.Printf("conformance: %d passed, %d failed\n", c.passed, c.failed)
	if c.failed > 0 {
		os.RemoveAll(work)
		os.Exit(1)
	}
}

type court struct {
	root, work     string
	passed, failed int
}

func (c *court) say(what string, err error, note string) {
	if err != nil {
		c.failed++
		fmt.Printf("  FAILED  %s: %v\n", what, err)
		return
	}
	c.passed++
	fmt.Printf("  passed  %s%s\n", what, note)
}

// run gives what a program prints; its exit status must be 0.
func run(name string, args ...string) (string, error) {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("%w: %s", err, bytes.TrimSpace(out))
	}
	return string(out), nil
}

func (c *court) judge(file string) error {
	pdf, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	_, err = run("qpdf", "--check", file)
	c.say("qpdf --check", err, "")

	signatures, stamps, err := find(pdf)
	if err != nil {
		return err
	}
	out, err := run("pdfsig", file)
	if n := strings.Count(out, "Signature is Valid."); err == nil && n < len(signatures) {
		err = fmt.Errorf("%d of %d signatures are valid: %s", n, len(signatures), out)
	}
	c.say("pdfsig", err, fmt.Sprintf(": %d signatures", len(signatures)))
	c.say("mutool sign -v", mutool(file, len(signatures)), "")
	for i, s := range signatures {
		c.say(fmt.Sprintf("openssl cms -verify -cades, signature %d", i+1), c.openssl(s, "cms", "-verify", "-cades", "-binary", "-inform", "DER",
			"-purpose", "any", "-CAfile", c.root, "-out", os.DevNull, "-content", c.path("data"), "-in", c.path("value")), "")
	}
	for i, s := range stamps {
		c.say(fmt.Sprintf("openssl ts -verify, document timestamp %d", i+1), c.openssl(s, "ts", "-verify", "-token_in", "-CAfile", c.root,
			"-data", c.path("data"), "-in", c.path("value")), "")
	}
	if len(signatures) == 0 || len(stamps) == 0 {
		return fmt.Errorf("%d signatures and %d document timestamps, want some of both", len(signatures), len(stamps))
	}
	return nil
}

// mutool knows no root of ours, so its exit status says nothing, and calls the
// revocation data that comes after a signature edits; that it finds every
// signature valid is what counts.
func mutool(file string, want int) error {
	out, _ := exec.Command("mutool", "sign", "-v", file).CombinedOutput()
	if n := bytes.Count(out, []byte("The signature is valid")); n < want {
		return fmt.Errorf("%d of %d signatures: %s", n, want, out)
	}
	return nil
}

func (c *court) path(name string) string { return filepath.Join(c.work, name) }

func (c *court) openssl(s signed, args ...string) error {
	if err := os.WriteFile(c.path("data"), s.data, 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(c.path("value"), s.value, 0o600); err != nil {
		return err
	}
	_, err := run("openssl", args...)
	return err
}

// signed is a signature's value and the bytes that it covers.
type signed struct{ data, value []byte }

var byteRange = regexp.MustCompile(`/ByteRange\s*\[\s*(\d+)\s+(\d+)\s+(\d+)\s+(\d+)\s*\]`)

// find takes signatures and document timestamps out of a PDF without a parser:
// signature dictionaries stand in the open, and ByteRange says where.
func find(pdf []byte) (signatures, stamps []signed, err error) {
	for _, m := range byteRange.FindAllSubmatchIndex(pdf, -1) {
		var r [4]int
		for i := range r {
			if r[i], err = strconv.Atoi(string(pdf[m[2+2*i]:m[3+2*i]])); err != nil {
				return nil, nil, err
			}
		}
		if r[0] != 0 || r[1] > r[2] || r[2]+r[3] > len(pdf) || pdf[r[1]] != '<' || pdf[r[2]-1] != '>' {
			return nil, nil, fmt.Errorf("ByteRange %v leaves out something else than a hex string", r)
		}
		value, err := hex.DecodeString(string(pdf[r[1]+1 : r[2]-1]))
		if err != nil {
			return nil, nil, fmt.Errorf("contents: %w", err)
		}
		var der asn1.RawValue
		if _, err := asn1.Unmarshal(value, &der); err != nil {
			return nil, nil, fmt.Errorf("contents: %w", err)
		}
		s := signed{append(append([]byte(nil), pdf[:r[1]]...), pdf[r[2]:r[2]+r[3]]...), der.FullBytes}
		// The dictionary: from its object's head to its end.
		begin := bytes.LastIndex(pdf[:r[1]], []byte(" obj"))
		end := r[2] + bytes.Index(pdf[r[2]:], []byte("endobj"))
		if begin >= 0 && end > begin && bytes.Contains(pdf[begin:end], []byte("ETSI.RFC3161")) {
			stamps = append(stamps, s)
		} else {
			signatures = append(signatures, s)
		}
	}
	return signatures, stamps, nil
}
