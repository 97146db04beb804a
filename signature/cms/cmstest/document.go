package cmstest

import (
	"bytes"
	"fmt"
	"math/rand"
)

// Document makes a PDF with one page, empty visible signature fields "A", "B"
// and "Seal", a text field "note", more signature fields of the names given, and
// about size bytes.
func Document(size int, more ...string) []byte {
	content := "BT /F1 24 Tf 72 720 Td (Contract) Tj ET"
	widget := func(name, ft string, y int) string {
		return fmt.Sprintf("<</Type/Annot/Subtype/Widget/FT/%s/T(%s)/F 4/P 3 0 R/Rect[72 %d 272 %d]>>", ft, name, y, y+50)
	}
	refs := "6 0 R 7 0 R 8 0 R 9 0 R"
	for i := range more {
		refs += fmt.Sprintf(" %d 0 R", 11+i)
	}
	objects := []string{
		"<</Type/Catalog/Pages 2 0 R/AcroForm 5 0 R>>",
		"<</Type/Pages/Kids[3 0 R]/Count 1>>",
		"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 4 0 R/Resources<</Font<</F1 10 0 R>>>>/Annots[" + refs + "]>>",
		fmt.Sprintf("<</Length %d>>\nstream\n%s\nendstream", len(content), content),
		"<</Fields[" + refs + "]/SigFlags 0/DA(/Helv 0 Tf 0 g)>>",
		widget("A", "Sig", 500), widget("B", "Sig", 400), widget("Seal", "Sig", 300), widget("note", "Tx", 200),
		"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
	}
	for i, name := range more {
		objects = append(objects, widget(name, "Sig", 100+20*i))
	}
	if size > 4096 {
		filler := make([]byte, size-2048)
		rand.New(rand.NewSource(1)).Read(filler)
		objects = append(objects, fmt.Sprintf("<</Length %d>>\nstream\n%s\nendstream", len(filler), filler))
	}
	return Build(objects...)
}

// Build makes a PDF of objects, numbered from 1; the first is the catalog.
func Build(objects ...string) []byte {
	var b bytes.Buffer
	b.WriteString("%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")
	offsets := make([]int, len(objects))
	for i, o := range objects {
		offsets[i] = b.Len()
		fmt.Fprintf(&b, "%d 0 obj\n%s\nendobj\n", i+1, o)
	}
	start := b.Len()
	fmt.Fprintf(&b, "xref\n0 %d\n0000000000 65535 f \n", len(objects)+1)
	for _, o := range offsets {
		fmt.Fprintf(&b, "%010d 00000 n \n", o)
	}
	fmt.Fprintf(&b, "trailer\n<</Size %d/Root 1 0 R/ID[<00112233445566778899aabbccddeeff><00112233445566778899aabbccddeeff>]>>\nstartxref\n%d\n%%%%EOF\n", len(objects)+1, start)
	return b.Bytes()
}
