package pades_test

import (
	"bytes"
	"fmt"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// document makes a PDF with one page, an empty visible signature field "A" with
// "B" and "Seal" beside it, a text field, and at least size bytes.
func document(size int) []byte {
	var b bytes.Buffer
	var offsets []int
	add := func(body string) {
		offsets = append(offsets, b.Len())
		fmt.Fprintf(&b, "%d 0 obj\n%s\nendobj\n", len(offsets), body)
	}
	b.WriteString("%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")
	content := "BT /F1 24 Tf 72 720 Td (Contract) Tj ET"
	widget := func(name, ft string, y int) string {
		return fmt.Sprintf("<</Type/Annot/Subtype/Widget/FT/%s/T(%s)/F 4/P 3 0 R/Rect[72 %d 272 %d]>>", ft, name, y, y+50)
	}
	add("<</Type/Catalog/Pages 2 0 R/AcroForm 5 0 R>>")
	add("<</Type/Pages/Kids[3 0 R]/Count 1>>")
	add("<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 4 0 R/Resources<</Font<</F1 10 0 R>>>>/Annots[6 0 R 7 0 R 8 0 R 9 0 R]>>")
	add(fmt.Sprintf("<</Length %d>>\nstream\n%s\nendstream", len(content), content))
	add("<</Fields[6 0 R 7 0 R 8 0 R 9 0 R]/SigFlags 0/DA(/Helv 0 Tf 0 g)>>")
	add(widget("A", "Sig", 500))
	add(widget("B", "Sig", 400))
	add(widget("Seal", "Sig", 300))
	add(widget("note", "Tx", 200))
	add("<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>")
	if n := size - b.Len(); n > 0 {
		filler := make([]byte, n)
		rand.New(rand.NewSource(1)).Read(filler)
		add(fmt.Sprintf("<</Length %d>>\nstream\n%s\nendstream", len(filler), filler))
	}
	start := b.Len()
	fmt.Fprintf(&b, "xref\n0 %d\n0000000000 65535 f \n", len(offsets)+1)
	for _, o := range offsets {
		fmt.Fprintf(&b, "%010d 00000 n \n", o)
	}
	fmt.Fprintf(&b, "trailer\n<</Size %d/Root 1 0 R/ID[<00112233445566778899aabbccddeeff><00112233445566778899aabbccddeeff>]>>\nstartxref\n%d\n%%%%EOF\n", len(offsets)+1, start)
	return b.Bytes()
}

// forms gives the document in the shapes that files come in.
func forms(t *testing.T) map[string][]byte {
	t.Helper()
	plain := document(0)
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
