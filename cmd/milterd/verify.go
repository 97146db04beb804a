package main

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"milterd/program"
	"milterd/validate"
)

type verifyCmd struct {
	File  string   `arg:"" type:"existingfile" help:"PDF to look at."`
	Trust []string `type:"existingfile" placeholder:"FILE" help:"Root certificate to trust, PEM or DER; can be given more than once. Besides it, the organisation's own root is trusted where the configuration and its data folder can be read."`
	JSON  bool     `name:"json" help:"Print the result as JSON."`
}

func (verifyCmd) Help() string {
	return "Asks no network: everything comes from the file and the roots. The exit status is 0 if every signature holds and nothing was changed after that may not be, 1 if a signature does not hold, 2 if it cannot be decided here (no PDF that can be read, no signature, unknown root, no revocation data), and 3 for wrong usage."
}

func (v verifyCmd) Run(c *cli) error {
	content, err := os.ReadFile(v.File)
	if err != nil {
		return err
	}
	anchors := x509.NewCertPool()
	for _, path := range v.Trust {
		roots, err := readRoots(path)
		if err != nil {
			fmt.Fprintf(os.Stderr, "milterd: %v\n", err)
			return exit(exitUsage)
		}
		for _, root := range roots {
			anchors.AddCert(root)
		}
	}
	if root := c.ownRoot(); root != nil {
		anchors.AddCert(root)
	}
	r, err := validate.Validate(content, validate.Options{Anchors: anchors})
	if err != nil {
		fmt.Fprintf(os.Stderr, "milterd: %s: %v\n", v.File, err)
		return exit(exitIndeterminate)
	}
	if v.JSON {
		out := json.NewEncoder(os.Stdout)
		out.SetIndent("", "  ")
		err = out.Encode(r)
	} else {
		_, err = r.WriteTo(os.Stdout)
	}
	if err != nil {
		return err
	}
	return verdict(r)
}

// verdict turns a result into an exit status.
func verdict(r *validate.Result) error {
	switch {
	case r.Passed():
		return nil
	case r.Indication == validate.Failed:
		return exit(exitFailed)
	}
	return exit(exitIndeterminate)
}

// ownRoot is the organisation's root, or nil where there is none to be read:
// whoever verifies need not be the one who serves.
func (c *cli) ownRoot() *x509.Certificate {
	cfg, err := c.load()
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
			fmt.Fprintf(os.Stderr, "milterd: the organisation's root is not used: %v\n", err)
		}
		return nil
	}
	root, err := program.Root(cfg)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
			fmt.Fprintf(os.Stderr, "milterd: the organisation's root is not used: %v\n", err)
		}
		return nil
	}
	return root
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
