package main

import (
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"milterd/signature/cms"
	"milterd/signature/pdf"
	"milterd/signature/pdf/cos"
	"milterd/validate"
	"milterd/workflow"
)

// inputs signs every sample of a PDF that the product takes, on behalf of one
// person, and seals it: those of testdata/pdf, each an oddity; those of
// testdata/producers, each by another program; and large ones. What it refuses is
// noted.
func (m *maker) inputs(h *house) error {
	paths, err := filepath.Glob(filepath.Join("testdata", "pdf", "*.pdf"))
	if err != nil || len(paths) == 0 {
		return fmt.Errorf("no samples: run this in the folder of the module (%v)", err)
	}
	others, err := filepath.Glob(filepath.Join("testdata", "producers", "*.pdf"))
	if err != nil || len(others) < 10 {
		return fmt.Errorf("%d samples of other programs (%v)", len(others), err)
	}
	paths = append(append(paths, others...), "validate/testdata/foreign/two.pdf")
	for name, make := range map[string]func() []byte{"1,000 pages": thousandPages, "50 MB": fiftyMB} {
		path := filepath.Join(m.dir, name)
		if err := os.WriteFile(path, make(), 0o600); err != nil {
			return err
		}
		paths = append(paths, path)
	}
	slices.SortStableFunc(paths, func(a, b string) int { return strings.Compare(filepath.Base(a), filepath.Base(b)) })
	var work []func(*maker) error
	for _, path := range paths {
		work = append(work, func(m *maker) error {
			if err := m.input(h, path); err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			return nil
		})
	}
	return m.together(work...)
}

func (m *maker) input(h *house, path string) error {
	doc, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	name := filepath.Base(path)
	info, err := pdf.Inspect(doc)
	if err != nil {
		var r *workflow.Refusal
		if !errors.As(err, &r) {
			return err
		}
		m.refused = append(m.refused, refused{name, r.Reason})
		return nil
	}
	f := file{group: "inputs", name: name + ", sealed, B-LTA", original: path, roots: h.roots, signatures: 2, stamps: 1, level: validate.LevelLTA}
	if info.Signed {
		if f.before, err = m.others(doc, name); err != nil {
			return err
		}
		f.roots, f.crls = append(slices.Clone(h.roots), f.before.roots...), f.before.crls
	}
	steps, err := m.sign(h, session(1, workflow.Standard, name, info.Signed), doc)
	if err != nil {
		return err
	}
	_, err = m.add(f, steps[len(steps)-1].data)
	return err
}

// others adds a document that others have signed as it came, and trusts their
// certificates.
func (m *maker) others(doc []byte, name string) (*file, error) {
	c, err := cos.Open(doc)
	if err != nil {
		return nil, err
	}
	sigs, err := pdf.Signatures(c)
	if err != nil {
		return nil, err
	}
	f := file{group: "inputs", name: name + " as it came"}
	if name == "two.pdf" {
		root, err := os.ReadFile("validate/testdata/foreign/root.cer")
		if err != nil {
			return nil, err
		}
		cert, err := x509.ParseCertificate(root)
		if err != nil {
			return nil, err
		}
		f.roots, f.crls = []string{filepath.Join(m.dir, "two.pem")}, []string{"validate/testdata/foreign/root.crl"}
		if err := writeCertificate(f.roots[0], cert); err != nil {
			return nil, err
		}
		return m.add(f, doc)
	}
	for i, s := range sigs {
		var der asn1.RawValue
		if _, err := asn1.Unmarshal(s.Contents, &der); err != nil {
			return nil, err
		}
		msg, err := cms.Parse(der.FullBytes)
		if err != nil {
			return nil, err
		}
		cert, err := msg.SignerCertificate()
		if err != nil {
			return nil, err
		}
		path := filepath.Join(m.dir, fmt.Sprintf("%s-%d.pem", name, i))
		if err := writeCertificate(path, cert); err != nil {
			return nil, err
		}
		f.roots = append(f.roots, path)
	}
	return m.add(f, doc)
}
