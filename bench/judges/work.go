package main

import (
	"bufio"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"milterd/signature/pades"
	"milterd/validate"
)

// work is our side: key, certificate, root and revocation list are files.
func work(files []string) error {
	if len(files) != 4 {
		return errors.New("work wants KEY CERTIFICATE ROOT CRL")
	}
	var content [4][]byte
	for i, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		if block, _ := pem.Decode(b); block != nil {
			b = block.Bytes
		}
		content[i] = b
	}
	key, err := x509.ParsePKCS8PrivateKey(content[0])
	if err != nil {
		return err
	}
	cert, err := x509.ParseCertificate(content[1])
	if err != nil {
		return err
	}
	root, err := x509.ParseCertificate(content[2])
	if err != nil {
		return err
	}
	o := validate.Options{Anchors: x509.NewCertPool(), CRLs: [][]byte{content[3]}}
	o.Anchors.AddCert(root)
	signer, ok := key.(crypto.Signer)
	if !ok {
		return errors.New("a key that cannot sign")
	}
	tasks := map[string]func(doc []byte) ([]byte, error){
		"sign": func(doc []byte) ([]byte, error) {
			suffix, err := pades.Sign(context.Background(), doc, pades.Params{Certificate: cert, Field: field, Time: time.Now(), Name: "Jane Roe", Reason: "Bench"}, signer, nil)
			return slices.Concat(doc, suffix), err
		},
		"floor": func(doc []byte) ([]byte, error) { // what nobody can save: the hash and the key operation
			digest := sha256.Sum256(doc)
			return signer.Sign(rand.Reader, digest[:], crypto.SHA256)
		},
		"verify": func(doc []byte) ([]byte, error) {
			r, err := validate.Validate(doc, o)
			if err == nil && (!r.Passed() || len(r.Signatures) != 1) {
				err = errors.New(r.Text())
			}
			return nil, err
		},
	}
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		took, err := order(tasks, strings.Split(in.Text(), "\t"))
		answer := map[string]any{"nanoseconds": took.Nanoseconds()}
		if err != nil {
			answer["error"] = err.Error()
		}
		if err := json.NewEncoder(os.Stdout).Encode(answer); err != nil {
			return err
		}
	}
	return in.Err()
}

// order does a task, a file, where its result goes, and how often.
func order(tasks map[string]func([]byte) ([]byte, error), p []string) (time.Duration, error) {
	if len(p) != 4 || tasks[p[0]] == nil {
		return 0, fmt.Errorf("%q is no order", p)
	}
	n, err := strconv.Atoi(p[3])
	if err != nil {
		return 0, err
	}
	doc, err := os.ReadFile(p[1])
	if err != nil {
		return 0, err
	}
	var out []byte
	begin := time.Now()
	for range n {
		if out, err = tasks[p[0]](doc); err != nil {
			return 0, err
		}
	}
	took := time.Since(begin)
	if p[2] != "" {
		err = os.WriteFile(p[2], out, 0o600)
	}
	return took, err
}
