package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

const (
	veraJars  = "conformance/.cache/verapdf/*"
	veraJudge = "conformance/verapdf/Judge.java"
)

// archival is what veraPDF says of a file. Of one that claims to be no PDF/A it says
// how far it is from PDF/A-1b.
type archival struct {
	File    string   `json:"file"`
	Flavour string   `json:"flavour"` // "2b"
	Error   string   `json:"error"`
	Broken  []string `json:"broken"` // clauses with the number of the test
}

// keeps reports whether the file is the PDF/A that it claims to be.
func (a *archival) keeps() bool { return a.Flavour != "" && a.Error == "" && len(a.Broken) == 0 }

// words are a file as it came and as it left, for the table.
func words(before, after *archival) string {
	switch {
	case before == nil || after == nil || !before.keeps():
		return ""
	case after.keeps() && after.Flavour == before.Flavour:
		return "PDF/A-" + before.Flavour + " kept"
	}
	return fmt.Sprintf("PDF/A-%s lost: %s", before.Flavour, strings.Join(append(after.Broken, after.Error), " "))
}

// archives asks veraPDF about documents before and after.
func archives(ctx context.Context, files []*file, out map[*file]*opinion) error {
	cmd := exec.CommandContext(ctx, "java", "-XX:+UseSerialGC", "-cp", veraJars, veraJudge)
	var in strings.Builder
	for _, f := range files {
		if f.original != "" {
			fmt.Fprintf(&in, "%s\n%s\n", f.original, f.path)
		}
	}
	cmd.Stdin, cmd.Stderr = strings.NewReader(in.String()), os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%w (make conformance brings it)", err)
	}
	scan := bufio.NewScanner(stdout)
	scan.Buffer(nil, 16<<20)
	for _, f := range files {
		if f.original == "" {
			continue
		}
		var said [2]archival
		for i, path := range []string{f.original, f.path} {
			if !scan.Scan() {
				return errors.Join(fmt.Errorf("veraPDF: no answer about %s", f), scan.Err(), cmd.Wait())
			}
			if err := json.Unmarshal(scan.Bytes(), &said[i]); err != nil {
				return fmt.Errorf("veraPDF: %w: %s", err, scan.Bytes())
			}
			if said[i].File != path {
				return fmt.Errorf("veraPDF: an answer about %s, want %s", said[i].File, path)
			}
		}
		out[f].pdfa = said
	}
	return cmd.Wait()
}
