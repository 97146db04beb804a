package trustlist

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Limits of files and folders of certificates.
const (
	maxPEM     = 1 << 20
	maxAnchors = 256
)

// Anchors is authorities that the organisation itself has chosen to take for
// qualified, instead of lists. It answers as Lists does, and what its Entry says of a
// certificate is only that: Own.
type Anchors struct {
	known *index
}

// OpenAnchors reads the certificates of authorities from the *.pem files of a
// folder: the issuers of signatories' certificates, or roots above them. The error
// names the file; a folder without any is one.
func OpenAnchors(folder string) (*Anchors, error) {
	a, err := openAnchors(folder)
	if err != nil {
		return nil, fmt.Errorf("reading anchors: %w", err)
	}
	return a, nil
}

func openAnchors(folder string) (*Anchors, error) {
	// A pattern of the path would take its brackets for wildcards.
	files, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	a := &Anchors{}
	l := &list{}
	for _, f := range files {
		if f.IsDir() || !strings.HasSuffix(f.Name(), ".pem") {
			continue
		}
		certs, err := readCertificates(filepath.Join(folder, f.Name()))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name(), err)
		}
		for _, c := range certs {
			if !c.IsCA {
				return nil, fmt.Errorf("%s: %q is no authority", f.Name(), c.Subject)
			}
			l.services = append(l.services, &service{name: c.Subject.String(), certs: []*x509.Certificate{c}, of: l})
		}
	}
	if len(l.services) == 0 || len(l.services) > maxAnchors {
		return nil, fmt.Errorf("%s holds %d certificates in *.pem files, want 1 to %d", folder, len(l.services), maxAnchors)
	}
	a.known = indexOf(map[string]*standing{"": {list: l}}, []string{""})
	return a, nil
}

func readCertificates(path string) (out []*x509.Certificate, err error) {
	raw, err := readFile(path, maxPEM)
	if err != nil {
		return nil, err
	}
	for block, rest := pem.Decode(raw); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("it holds a %s, want certificates only", block.Type)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, errors.New("no certificate in PEM")
	}
	return out, nil
}

// Vouch is that of Lists, by the organisation's own choice.
func (a *Anchors) Vouch(leaf *x509.Certificate, issuers []*x509.Certificate, at time.Time) (*Entry, error) {
	if len(issuers) > maxIssuers {
		return nil, &Error{Reason: Untrusted, Err: fmt.Errorf("more than %d certificates came with it", maxIssuers)}
	}
	for _, found := range a.known.authorities(leaf, issuers) {
		return &Entry{Anchor: found.ca, Own: true, Service: found.services[0].name}, nil
	}
	return nil, &Error{Reason: Untrusted, Err: fmt.Errorf("no authority of the configured folder is %q", leaf.Issuer)}
}
