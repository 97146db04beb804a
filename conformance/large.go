package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
)

// paged makes a plain PDF: catalog, page tree, a font, and for each page what fill
// gives: its content and an image's data, RGB, side by side dots; nil for none.
func paged(pages, side int, fill func(n int) (content string, image []byte)) []byte {
	var b bytes.Buffer
	b.WriteString("%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")
	var offsets []int
	object := func(head string, data []byte) {
		offsets = append(offsets, b.Len())
		fmt.Fprintf(&b, "%d 0 obj\n", len(offsets))
		if data == nil {
			fmt.Fprintf(&b, "<<%s>>\nendobj\n", head)
			return
		}
		fmt.Fprintf(&b, "<<%s/Length %d>>\nstream\n", head, len(data))
		b.Write(data)
		b.WriteString("\nendstream\nendobj\n")
	}
	object("/Type/Catalog/Pages 2 0 R", nil)
	kids := ""
	for n := range pages {
		kids += fmt.Sprintf("%d 0 R ", 4+3*n)
	}
	object(fmt.Sprintf("/Type/Pages/Count %d/MediaBox[0 0 595 842]/Kids[%s]", pages, kids), nil)
	object("/Type/Font/Subtype/Type1/BaseFont/Helvetica", nil)
	for n := range pages {
		content, image := fill(n)
		object(fmt.Sprintf("/Type/Page/Parent 2 0 R/Contents %d 0 R/Resources<</Font<</F 3 0 R>>/XObject<</I %d 0 R>>>>", 5+3*n, 6+3*n), nil)
		object("", []byte(content))
		if image == nil {
			object("/Type/XObject/Subtype/Form/BBox[0 0 1 1]", []byte(" "))
		} else {
			object(fmt.Sprintf("/Type/XObject/Subtype/Image/Width %d/Height %d/ColorSpace/DeviceRGB/BitsPerComponent 8", side, side), image)
		}
	}
	start := b.Len()
	fmt.Fprintf(&b, "xref\n0 %d\n0000000000 65535 f \n", len(offsets)+1)
	for _, o := range offsets {
		fmt.Fprintf(&b, "%010d 00000 n \n", o)
	}
	fmt.Fprintf(&b, "trailer\n<</Size %d/Root 1 0 R/ID[<00><00>]>>\nstartxref\n%d\n%%%%EOF\n", len(offsets)+1, start)
	return b.Bytes()
}

// thousandPages is a document of 1,000 pages.
func thousandPages() []byte {
	return paged(1000, 0, func(n int) (string, []byte) {
		return fmt.Sprintf("BT /F 24 Tf 72 720 Td (Page %d) Tj ET", n+1), nil
	})
}

// fiftyMB is a scan as big as mails can be: 17 pages, each one picture of 3 MB
// that nothing can make smaller.
func fiftyMB() []byte {
	const side = 1000
	noise := rand.NewChaCha8([32]byte{50})
	return paged(17, side, func(n int) (string, []byte) {
		image := make([]byte, 3*side*side)
		noise.Read(image) // it gives no error
		return "q 451 0 0 451 72 200 cm /I Do Q", image
	})
}
