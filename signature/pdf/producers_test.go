package pdf_test

import (
	"os"
	"path/filepath"
	"testing"

	"milterd/signature/pdf"
)

// What common programs write is taken: a refusal would be a bug of ours.
func TestProducers(t *testing.T) {
	paths, err := filepath.Glob("../../testdata/producers/*.pdf")
	if err != nil || len(paths) < 40 {
		t.Fatalf("%d documents: %v", len(paths), err)
	}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		info, err := pdf.Inspect(b)
		switch {
		case err != nil:
			t.Errorf("%s: %v", filepath.Base(path), err)
		case info.Signed:
			t.Errorf("%s is said to be signed", filepath.Base(path))
		case info.Active["unused"]+info.Active["missing"] > 0:
			t.Errorf("%s: notes that would frighten people: %v", filepath.Base(path), info.Active)
		}
	}
}
