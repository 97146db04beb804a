package pades_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"milterd/signature/cms/cmstest"
)

// forms gives the document in the shapes that files come in.
func forms(t *testing.T) map[string][]byte {
	t.Helper()
	plain := cmstest.Document(0)
	out := map[string][]byte{"table": plain, "no newline at the end": bytes.TrimSuffix(plain, []byte("\n"))}
	for name, args := range map[string][]string{
		"object streams": {"--object-streams=generate"},
		"linearized":     {"--linearize"},
		"both":           {"--linearize", "--object-streams=generate"},
	} {
		dir := t.TempDir()
		in, to := filepath.Join(dir, "in.pdf"), filepath.Join(dir, "out.pdf")
		write(t, in, plain)
		if msg, err := exec.Command("qpdf", append(args, in, to)...).CombinedOutput(); err != nil {
			t.Fatalf("qpdf: %v (apt-get install -y qpdf)\n%s", err, msg)
		}
		b, err := os.ReadFile(to)
		if err != nil {
			t.Fatal(err)
		}
		out[name] = b
	}
	return out
}

func write(t testing.TB, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
