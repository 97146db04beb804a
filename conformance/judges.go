package main

import (
	"bufio"
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"milterd/signature/xades"
	"milterd/validate"
)

// Where `make conformance` puts the two validators.
const (
	dssJars  = "conformance/.cache/dss/*"
	dssJudge = "conformance/dss/Judge.java"
	pyhanko  = "conformance/.cache/pyhanko/bin/python"
	pyJudge  = "conformance/pyhanko/judge.py"
)

// signature is what a judge says of one signature or document timestamp.
type signature struct {
	Field      string   `json:"field"`
	Kind       string   `json:"kind"`
	Indication string   `json:"indication"`
	Sub        string   `json:"sub"`
	Level      string   `json:"level"`
	Timestamps string   `json:"timestamps"` // indications of those over the signature value
	Errors     []string `json:"errors"`
	Warnings   []string `json:"warnings"`
	Undefined  []string `json:"undefined"` // changed objects that DSS has no name for
}

func (s *signature) verdict() string {
	if s.Sub != "" {
		return s.Indication + " " + s.Sub
	}
	return s.Indication
}

// verdict is what a judge says of one file.
type verdict struct {
	File       string      `json:"file"`
	Error      string      `json:"error"` // it could not be read at all
	Signatures []signature `json:"signatures"`
}

// opinion is what everybody says of one file.
type opinion struct {
	ours, dss, pyhanko verdict
	programs           programs
	pictures           *pictures   // nil: there is nothing to compare with
	pdfa               [2]archival // of the document as it came, and of the file
}

// ask has every file judged by everybody.
func ask(ctx context.Context, dir string, files []*file) (map[*file]*opinion, error) {
	out := map[*file]*opinion{}
	for _, f := range files {
		out[f] = &opinion{}
	}
	var wg sync.WaitGroup
	errs := make([]error, 6)
	wg.Go(func() {
		errs[0] = lines(ctx, filepath.Join(dir, "dss.json"), files, func(f *file, v verdict) { out[f].dss = v }, "java", "-XX:+UseSerialGC", "-cp", dssJars, dssJudge)
	})
	pdfs := onlyPDF(files)
	for i := range 2 { // it is the slowest, and one process keeps one core busy
		var half []*file
		for n := i; n < len(pdfs); n += 2 {
			half = append(half, pdfs[n])
		}
		wg.Go(func() {
			errs[4+i] = lines(ctx, filepath.Join(dir, fmt.Sprintf("pyhanko-%d.json", i)), half, func(f *file, v verdict) { out[f].pyhanko = v }, pyhanko, pyJudge)
		})
	}
	wg.Go(func() {
		for _, f := range files {
			if out[f].ours, errs[1] = ours(f); errs[1] != nil {
				return
			}
			if out[f].programs, errs[1] = second(dir, f); errs[1] != nil {
				return
			}
		}
	})
	wg.Go(func() { errs[2] = archives(ctx, files, out) })
	wg.Go(func() {
		for _, f := range files {
			if f.original == "" {
				continue
			}
			if out[f].pictures, errs[3] = draw(ctx, dir, f); errs[3] != nil {
				return
			}
		}
	})
	wg.Wait()
	return out, errors.Join(errs...)
}

func onlyPDF(files []*file) (out []*file) {
	for _, f := range files {
		if f.ext == "" {
			out = append(out, f)
		}
	}
	return out
}

// lines gives all files to a validator that takes one a line and answers with one
// line of JSON each; the lines are kept in a file as they came.
func lines(ctx context.Context, keep string, files []*file, take func(*file, verdict), name string, args ...string) error {
	if len(files) == 0 {
		return nil
	}
	var in strings.Builder
	for _, f := range files {
		fmt.Fprintf(&in, "%s\t%s\t%s", f.path, strings.Join(f.roots, ":"), strings.Join(f.crls, ":"))
		if f.ext != "" {
			fmt.Fprintf(&in, "\t%s", f.content)
		}
		in.WriteByte('\n')
	}
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin = strings.NewReader(in.String())
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%w (make conformance brings it)", err)
	}
	raw, err := os.Create(keep)
	if err != nil {
		return err
	}
	defer raw.Close()
	scan := bufio.NewScanner(io.TeeReader(stdout, raw))
	scan.Buffer(nil, 16<<20)
	for _, f := range files {
		if !scan.Scan() {
			return errors.Join(fmt.Errorf("%s: no answer about %s", name, f), scan.Err(), cmd.Wait())
		}
		var v verdict
		if err := json.Unmarshal(scan.Bytes(), &v); err != nil {
			return fmt.Errorf("%s: %w: %s", name, err, scan.Bytes())
		}
		if v.File != f.path {
			return fmt.Errorf("%s: an answer about %s, want %s", name, v.File, f.path)
		}
		for i := range v.Signatures {
			s := &v.Signatures[i]
			s.Indication = word(s.Indication)
			s.Level = strings.ReplaceAll(s.Level, "_", "-")
		}
		take(f, v)
	}
	return cmd.Wait()
}

// word gives the one word for an indication: DSS has shorter ones for timestamps.
func word(indication string) string {
	switch indication = strings.ReplaceAll(indication, "_", "-"); indication {
	case "PASSED", "FAILED":
		return "TOTAL-" + indication
	}
	return indication
}

// ours is package validate.
func ours(f *file) (verdict, error) {
	v := verdict{File: f.path}
	data, err := os.ReadFile(f.path)
	if err != nil {
		return v, err
	}
	o := validate.Options{Anchors: x509.NewCertPool()}
	for _, path := range f.roots {
		c, err := certificate(path)
		if err != nil {
			return v, err
		}
		o.Anchors.AddCert(c)
	}
	for _, path := range f.crls {
		der, err := os.ReadFile(path)
		if err != nil {
			return v, err
		}
		o.CRLs = append(o.CRLs, der)
	}
	if f.ext == xmlExt {
		if o.Files, err = contents(f); err != nil {
			return v, err
		}
	} else if f.content != "" {
		content, err := os.ReadFile(f.content)
		if err != nil {
			return v, err
		}
		o.Files = []xades.File{{Content: content}}
	}
	r, err := validate.File(data, o)
	if err != nil {
		v.Error = err.Error()
		return v, nil
	}
	if f.ext != "" {
		nameBeside(r)
	}
	for _, s := range r.Signatures {
		out := signature{Field: s.Field, Kind: string(s.Kind), Indication: string(s.Indication), Sub: string(s.Sub), Level: string(s.Level)}
		if s.Problem != "" {
			out.Errors = []string{s.Problem}
		}
		v.Signatures = append(v.Signatures, out)
	}
	for _, c := range r.Later {
		if !c.Allowed {
			v.Error = "after the last signature: " + c.What
		}
	}
	return v, nil
}

func certificate(path string) (*x509.Certificate, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, fmt.Errorf("%s: no PEM", filepath.Base(path))
	}
	return x509.ParseCertificate(block.Bytes)
}
