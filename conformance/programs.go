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

// programs are the second opinions. They know no levels and no revocation: qpdf
// looks at the structure, pdfsig and mutool at signatures as readers do, openssl at
// each CMS with its CAdES attributes and at each document timestamp.
type programs struct {
	signatures, stamps int    // found without anybody's parser
	qpdf               string // what it complains about, "" for nothing
	pdfsig, mutool     int    // signatures that it calls valid
	openssl            int    // signatures and document timestamps that it verifies
	problems           []string
}

// second asks them.
func second(dir string, f *file) (programs, error) {
	var p programs
	data, err := os.ReadFile(f.path)
	if err != nil {
		return p, err
	}
	if f.ext == xmlExt || strings.Contains(f.group, asicXML) {
		return secondXML(dir, f, data)
	}
	if f.ext != "" {
		return secondBeside(dir, f, data)
	}
	if out, err := exec.Command("qpdf", "--check", f.path).CombinedOutput(); err != nil {
		p.qpdf = firstLine(out, err)
	}
	out, err := exec.Command("pdfsig", f.path).CombinedOutput()
	if p.pdfsig = strings.Count(string(out), "Signature is Valid."); err != nil {
		p.problems = append(p.problems, "pdfsig: "+firstLine(out, err))
	}
	// mutool knows no root of ours, so its exit status says nothing, and calls the
	// revocation data that comes after a signature edits; that it finds every
	// signature valid, or the document unchanged since, is what counts.
	out, _ = exec.Command("mutool", "sign", "-v", f.path).CombinedOutput()
	p.mutool = bytes.Count(out, []byte("The signature is valid")) + bytes.Count(out, []byte("The document is unchanged since signing"))
	signed, err := find(data)
	if err != nil {
		p.problems = append(p.problems, "openssl: "+err.Error())
	}
	root := filepath.Join(dir, "openssl-roots")
	var roots []byte
	for _, path := range f.roots {
		b, err := os.ReadFile(path)
		if err != nil {
			return p, err
		}
		roots = append(roots, b...)
	}
	if err := os.WriteFile(root, roots, 0o600); err != nil {
		return p, err
	}
	for _, s := range signed {
		content, value := filepath.Join(dir, "openssl-data"), filepath.Join(dir, "openssl-value")
		if err := os.WriteFile(content, s.data, 0o600); err != nil {
			return p, err
		}
		if err := os.WriteFile(value, s.value, 0o600); err != nil {
			return p, err
		}
		args := []string{"ts", "-verify", "-token_in", "-CAfile", root, "-data", content, "-in", value}
		if s.stamp {
			p.stamps++
		} else {
			p.signatures++
			args = []string{"cms", "-verify", "-binary", "-inform", "DER", "-purpose", "any", "-partial_chain", "-CAfile", root,
				"-out", os.DevNull, "-content", content, "-in", value}
			if s.cades {
				args = append(args, "-cades")
			}
		}
		if out, err := exec.Command("openssl", args...).CombinedOutput(); err != nil {
			p.problems = append(p.problems, "openssl: "+firstLine(out, err))
		} else {
			p.openssl++
		}
	}
	return p, nil
}

func firstLine(out []byte, err error) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return fmt.Sprintf("%v: %s", err, line)
}

// signed is a signature's value and the bytes that it covers.
type signed struct {
	data, value  []byte
	stamp, cades bool
}

var byteRange = regexp.MustCompile(`/ByteRange\s*\[\s*(\d+)\s+(\d+)\s+(\d+)\s+(\d+)\s*\]`)

// find takes signatures and document timestamps out of a PDF without a parser:
// signature dictionaries stand in the open, and ByteRange says where. It gives
// what it could take.
func find(pdf []byte) (out []signed, err error) {
	for _, m := range byteRange.FindAllSubmatchIndex(pdf, -1) {
		var r [4]int
		for i := range r {
			if r[i], err = strconv.Atoi(string(pdf[m[2+2*i]:m[3+2*i]])); err != nil {
				return out, err
			}
		}
		if r[0] != 0 || r[1] < 0 || r[1] >= r[2] || r[2]+r[3] > len(pdf) || pdf[r[1]] != '<' || pdf[r[2]-1] != '>' {
			return out, fmt.Errorf("ByteRange %v leaves out something else than a hex string", r)
		}
		value, err := hex.DecodeString(string(pdf[r[1]+1 : r[2]-1]))
		if err != nil {
			return out, fmt.Errorf("contents: %w", err)
		}
		var der asn1.RawValue
		if _, err := asn1.Unmarshal(value, &der); err != nil {
			return out, fmt.Errorf("contents: %w", err)
		}
		s := signed{data: append(append([]byte(nil), pdf[:r[1]]...), pdf[r[2]:r[2]+r[3]]...), value: der.FullBytes}
		// The dictionary: from its object's head to its end.
		begin := bytes.LastIndex(pdf[:r[1]], []byte(" obj"))
		end := r[2] + bytes.Index(pdf[r[2]:], []byte("endobj"))
		if begin >= 0 && end > begin {
			s.stamp = bytes.Contains(pdf[begin:end], []byte("ETSI.RFC3161"))
			s.cades = bytes.Contains(pdf[begin:end], []byte("ETSI.CAdES.detached"))
		}
		out = append(out, s)
	}
	return out, nil
}
