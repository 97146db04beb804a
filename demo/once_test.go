package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"milterd/workflow"
)

// The unattended run is the whole job: mails become signed, sealed and
// timestamped documents in every mailbox concerned.
func TestOnce(t *testing.T) {
	for level, sessions := range map[workflow.Level]int{workflow.Standard: 5, workflow.Advanced: 5} {
		t.Run(string(level), func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
			defer cancel()
			dir := t.TempDir()
			own, old := filepath.Join(dir, "mail", "important.txt"), filepath.Join(dir, "mail", "99-jane.roe@corp.test.eml")
			if err := errors.Join(os.Mkdir(filepath.Dir(own), 0o755), os.WriteFile(own, nil, 0o644), os.WriteFile(old, nil, 0o644)); err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			ok, err := Run(ctx, Options{Once: true, Level: level, Dir: dir, Out: &out})
			if err != nil || !ok {
				t.Fatalf("%v\n%s", err, out.String())
			}
			lines := strings.Split(strings.TrimSpace(out.String()), "\n")
			// A receipt, an invitation, a code and a result for Jane; for John's case a
			// receipt, an invitation, a code, three results and the ordinary copy.
			closing := fmt.Sprintf(`^demo: sessions=%d signed=%[1]d mails=\d+ failed=0$`, sessions)
			if last := lines[len(lines)-1]; !regexp.MustCompile(closing).MatchString(last) {
				t.Errorf("closing line is %q\n%s", last, out.String())
			}
			if named := strings.Contains(out.String(), SoftwareDevice); named != (level == workflow.Advanced) {
				t.Errorf("software devices named: %v", named)
			}
			files := map[string]int{"mail/*.eml": 9, "signed/*.pdf": sessions + 2, "signed/*.asice": 2, "signed/root.pem": 1}
			if level == workflow.Standard {
				files["signed/*-signed.xml"] = 1
			}
			for pattern, atLeast := range files {
				if files, _ := filepath.Glob(filepath.Join(dir, pattern)); len(files) < atLeast {
					t.Errorf("%s: %q", pattern, files)
				}
			}
			if _, err := os.Stat(own); err != nil {
				t.Errorf("a file that is not the demo's: %v", err)
			}
			if _, err := os.Stat(old); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("a mail of an earlier run is still there (%v)", err)
			}
		})
	}
}

// The sample is the same document that the other rooms test with.
func TestSampleIsTestdata(t *testing.T) {
	b, err := os.ReadFile("../testdata/pdf/contract.pdf")
	if err != nil || !bytes.Equal(b, contract) {
		t.Errorf("contract.pdf differs from testdata/pdf/contract.pdf (%v): copy it here", err)
	}
}

// What is off is counted, and the run says so.
func TestStepCountsFailures(t *testing.T) {
	var out bytes.Buffer
	r := &run{out: &out}
	if r.step("x", func() (string, error) { return "", os.ErrInvalid }) || r.failed != 1 || !strings.HasPrefix(out.String(), "  FAILED") {
		t.Errorf("failed=%d, %q", r.failed, out.String())
	}
	if _, err := Follow("http://localhost/s"); err == nil {
		t.Error("a link without a token is followed")
	}
}
