package main

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"milterd/evidence"
	"milterd/program"
	"milterd/signature/xades"
	"milterd/validate"
)

type verifyCmd struct {
	Files    []string `arg:"" optional:"" type:"existingfile" name:"file" help:"PDF, ASiC container, CAdES signature (.p7s, .p7m) or XML to look at. After a detached signature, what it signs; without that, what stands beside it: letter.odt for letter.odt.p7s, and the files that XML names. With --evidence: any number of documents of the session, to be held against it."`
	Evidence string   `type:"existingfile" placeholder:"FILE" help:"Check the evidence file of a session, as milterd session evidence wrote it."`
	Trust    []string `type:"existingfile" placeholder:"FILE" help:"Root certificate to trust, PEM or DER; can be given more than once. Besides it, the organisation's own root is trusted where the configuration and its data folder can be read."`
	Signers  []string `name:"trust-signers" type:"existingfile" placeholder:"FILE" help:"Authority of signatories' certificates to trust, PEM or DER: of cards, providers or phones; can be given more than once. It counts for signatures of people; evidence that somebody below it has sealed is not believed."`
	CRL      []string `name:"crl" type:"existingfile" placeholder:"FILE" help:"Revocation list to take into account, DER or PEM, perhaps fresher than those in the file; can be given more than once."`
	JSON     bool     `name:"json" help:"Print the result as JSON."`
}

func (verifyCmd) Help() string {
	return "Asks no network: everything comes from the file and the roots. The exit status is 0 if every signature holds and nothing was changed after that may not be, 1 if a signature does not hold, 2 if it cannot be decided here (no file that can be read, no signature, the file that a detached one signs not given, unknown root, no revocation data), and 3 for wrong usage. With --evidence the same statuses speak of everything that the file says: seal, audit trail, the answers of passkeys, certificates, signature values, and the documents."
}

func (v verifyCmd) Run(c *cli) error {
	anchors, signers, crls, err := v.known()
	var content []byte
	if err == nil && v.Evidence == "" && len(v.Files) > 0 {
		if content, err = os.ReadFile(v.Files[0]); err != nil {
			return err
		}
	}
	if err == nil && v.Evidence == "" && len(v.Files) != 1 && !validate.MayBeDetached(content) {
		err = errors.New("verify wants one file, and more only after a detached signature, or --evidence FILE")
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "milterd: %v\n", err)
		return exit(exitUsage)
	}
	for _, root := range c.ownRoots() {
		anchors.AddCert(root)
	}
	if v.Evidence != "" {
		return v.evidence(evidence.Options{Anchors: anchors, Signers: signers})
	}
	for _, c := range signers {
		anchors.AddCert(c)
	}
	o := validate.Options{Anchors: anchors, CRLs: crls}
	if validate.MayBeDetached(content) {
		if o.Files, err = v.signedFiles(content); err != nil {
			return err
		}
	}
	r, err := validate.File(content, o)
	if err != nil {
		fmt.Fprintf(os.Stderr, "milterd: %s: %v\n", v.Files[0], err)
		return exit(exitIndeterminate)
	}
	if err := v.print(r); err != nil {
		return err
	}
	return verdict(r.Indication)
}

// signedFiles reads the files that a detached signature may cover: those that were
// given, or else those in its own folder that have the names it says, with CAdES its
// own name without the last ending.
func (v verifyCmd) signedFiles(signature []byte) (out []xades.File, err error) {
	for _, path := range v.Files[1:] {
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		out = append(out, xades.File{Name: filepath.Base(path), Content: content})
	}
	if len(out) > 0 {
		return out, nil
	}
	folder, err := os.OpenRoot(filepath.Dir(v.Files[0])) // which no name and no link leads out of
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	own := filepath.Base(v.Files[0])
	names := []string{strings.TrimSuffix(own, filepath.Ext(own))}
	if validate.IsXML(signature) {
		names = xades.Names(signature)
	}
	for _, name := range names {
		if i, err := folder.Stat(name); err != nil || !i.Mode().IsRegular() || name == own {
			continue // the result says that it is missing
		}
		content, err := folder.ReadFile(name)
		if err != nil {
			return nil, err
		}
		out = append(out, xades.File{Name: name, Content: content})
	}
	return validate.Beside(signature, out), nil
}

// evidence checks an evidence file and the documents that were named with it.
func (v verifyCmd) evidence(o evidence.Options) error {
	f, err := os.Open(v.Evidence)
	if err != nil {
		return err
	}
	defer f.Close()
	file, err := io.ReadAll(io.LimitReader(f, evidence.MaxFile+1)) // one more is too large
	if err != nil {
		return err
	}
	for _, path := range v.Files {
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		o.PDFs = append(o.PDFs, evidence.PDF{Name: filepath.Base(path), Content: content})
	}
	r := evidence.Check(file, o)
	if err := v.print(r); err != nil {
		return err
	}
	return verdict(r.Indication)
}

func (v verifyCmd) print(r io.WriterTo) error {
	if !v.JSON {
		_, err := r.WriteTo(os.Stdout)
		return err
	}
	out := json.NewEncoder(os.Stdout)
	out.SetIndent("", "  ")
	return out.Encode(r)
}

// known reads the roots, the authorities of signatories, and revocation lists.
func (v verifyCmd) known() (anchors *x509.CertPool, signers []*x509.Certificate, crls [][]byte, err error) {
	anchors = x509.NewCertPool()
	for _, path := range v.Trust {
		roots, err := readRoots(path)
		if err != nil {
			return nil, nil, nil, err
		}
		for _, root := range roots {
			anchors.AddCert(root)
		}
	}
	for _, path := range v.Signers {
		certs, err := readRoots(path)
		if err != nil {
			return nil, nil, nil, err
		}
		signers = append(signers, certs...)
	}
	for _, path := range v.CRL {
		b, err := os.ReadFile(path)
		if err != nil {
			return nil, nil, nil, err
		}
		if block, _ := pem.Decode(b); block != nil {
			b = block.Bytes
		}
		if _, err := x509.ParseRevocationList(b); err != nil {
			return nil, nil, nil, fmt.Errorf("%s: %w", path, err)
		}
		crls = append(crls, b)
	}
	return anchors, signers, crls, nil
}

// verdict turns a result into an exit status.
func verdict(i validate.Indication) error {
	switch i {
	case validate.Passed:
		return nil
	case validate.Failed:
		return exit(exitFailed)
	}
	return exit(exitIndeterminate)
}

// ownRoots are the organisation's, present and former, or none where there are
// none to be read: whoever verifies need not be the one who serves.
func (c *cli) ownRoots() []*x509.Certificate {
	cfg, err := c.load()
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
			fmt.Fprintf(os.Stderr, "milterd: the organisation's root is not used: %v\n", err)
		}
		return nil
	}
	roots, err := program.Roots(cfg)
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
		fmt.Fprintf(os.Stderr, "milterd: the organisation's root is not used: %v\n", err)
	}
	return roots
}

// readRoots reads certificates, PEM or DER.
func readRoots(path string) ([]*x509.Certificate, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if !bytes.Contains(b, []byte("-----BEGIN")) {
		root, err := x509.ParseCertificate(b)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		return []*x509.Certificate{root}, nil
	}
	var out []*x509.Certificate
	for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		root, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		out = append(out, root)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s holds no certificate", path)
	}
	return out, nil
}
