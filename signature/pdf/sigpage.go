package pdf

import (
	"encoding/hex"
	"fmt"

	"milterd/signature/pdf/cos"
	"milterd/signature/pdf/font"
)

// Measures of a signature page, in points.
const (
	sheetMargin  = 48.0
	boxHeight    = 88.0
	boxGap       = 12.0
	columnMin    = 400.0
	firstHeader  = 176.0 // from the top edge to the first box
	laterHeader  = 92.0
	footerHeight = 62.0
	columnGap    = 18.0
)

// sheet is a signature page while it is drawn.
type sheet struct {
	page   *Page
	c      *canvas
	annots cos.Array
	w, h   float64
	top    float64 // of the next row of boxes
	column int
}

// entry of the signature pages: a signatory, or at the end the seal.
type slot struct {
	title, second, third string
	field, tip, waiting  string
}

// signaturePages appends the pages on which people and the organisation sign,
// as large as the last page is seen.
func (l *layouter) signaturePages() error {
	w, h := l.pages[len(l.pages)-1].Size()
	if w < 320 || h < 400 || w > 2400 || h > 2400 {
		w, h = 595.28, 841.89 // A4
	}
	slots := make([]slot, 0, len(l.plan.Signatories)+1)
	for _, s := range l.plan.Signatories {
		name := font.Printed(s.Name, s.Mail)
		slots = append(slots, slot{
			title: name, second: font.Printed(s.Mail, s.Mail), third: l.plan.Level.String() + " signature",
			field: FieldName(l.plan.Session, s.Person), tip: "Signature of " + s.Name, waiting: "Signature of " + name,
		})
	}
	slots = append(slots, slot{
		title: l.plan.Organisation, second: "Seal of the organisation", third: "closes the document when all have signed",
		field: SealName(l.plan.Session), tip: "Seal of " + l.plan.Organisation, waiting: "Seal of " + l.plan.Organisation,
	})
	columns := max(1, int((w-2*sheetMargin+columnGap)/(columnMin+columnGap)))
	width := (w - 2*sheetMargin - float64(columns-1)*columnGap) / float64(columns)

	var sheets []*sheet
	var at *sheet
	for _, s := range slots {
		if at == nil || at.column == 0 && at.top-boxHeight < footerHeight {
			at = l.newSheet(w, h, len(sheets) == 0)
			sheets = append(sheets, at)
		}
		x := sheetMargin + float64(at.column)*(width+columnGap)
		l.slot(at, s, x, at.top-boxHeight, width)
		if at.column++; at.column == columns {
			at.column = 0
			at.top -= boxHeight + boxGap
		}
	}
	kids := cos.Array{}
	for i, s := range sheets {
		l.footer(s, i+1, len(sheets))
		kids = append(kids, s.page.Ref)
	}
	return l.appendPages(sheets, kids)
}

func (l *layouter) newSheet(w, h float64, first bool) *sheet {
	s := &sheet{page: &Page{Ref: l.u.Reserve(), Crop: Rect{0, 0, w, h}}, c: l.canvas(), w: w, h: h}
	right := w - sheetMargin
	head := h - sheetMargin - 14
	title := "Signatures"
	if !first {
		title = "Signatures, continued"
	}
	s.c.text(sheetMargin, head, bold, 20, accent, title)
	half := (w - 2*sheetMargin) / 2
	name, size := fit(bold, 10, half, l.plan.Organisation)
	s.c.text(right-bold.face().Width(name, size), head+6, bold, size, black, name)
	if l.plan.VAT != "" {
		vat, size := fit(regular, 8, half, "VAT "+l.plan.VAT)
		s.c.text(right-regular.face().Width(vat, size), head-5, regular, size, grey, vat)
	}
	s.c.line(sheetMargin, head-14, right, head-14, accent, 1.2)
	if !first {
		s.top = h - laterHeader
		return s
	}
	pages := fmt.Sprint(len(l.pages))
	facts := [][2]string{
		{"Document", l.plan.Document},
		{"SHA-256", hex.EncodeToString(l.hash[:])},
		{"Pages", pages + ", and the signature pages"},
		{"Asked for by", l.plan.Sender},
		{"Level", l.plan.Level.String()},
		{"Session", l.plan.Session + ", opened " + stamp(l.plan.Created)},
	}
	y := head - 32
	for _, f := range facts {
		s.c.text(sheetMargin, y, regular, 8, grey, f[0])
		s.c.fitted(sheetMargin+72, y, w-2*sheetMargin-72, regular, 8, black, f[1])
		y -= 12.5
	}
	s.top = h - firstHeader
	return s
}

// slot draws the box of a signatory or the seal, with its empty field on the right.
func (l *layouter) slot(s *sheet, e slot, x, y, width float64) {
	s.c.box(x, y, width, boxHeight, paper)
	s.c.frame(x, y, width, boxHeight, hair, 0.6)
	s.c.box(x, y, 3, boxHeight, accent)
	left := width * 0.36
	s.c.fitted(x+14, y+boxHeight-24, left-22, bold, 10.5, black, e.title)
	s.c.fitted(x+14, y+boxHeight-39, left-22, regular, 8, grey, e.second)
	s.c.fitted(x+14, y+boxHeight-52, left-22, regular, 8, grey, e.third)

	r := Rect{x + left, y + 7, x + width - 7, y + boxHeight - 7}
	s.c.box(r.X0, r.Y0, r.W(), r.H(), color{1, 1, 1})
	s.c.frame(r.X0, r.Y0, r.W(), r.H(), hair, 0.5)
	c := l.canvas()
	c.line(18, 22, r.W()-18, 22, hair, 0.6)
	words, size := fit(regular, 6.5, r.W()-36, e.waiting)
	c.text(18, 12, regular, size, faint, words)
	empty := c.form(r.W(), r.H(), nil, l.fonts)
	empty.Dict[glyphsKey] = l.glyphs
	field := widget(s.page, r, l.u.Add(empty))
	field["FT"] = cos.Name("Sig")
	field["T"] = cos.Text(e.field)
	field["TU"] = cos.Text(e.tip)
	ref := l.u.Add(field)
	s.annots = append(s.annots, ref)
	l.fields = append(l.fields, ref)
}

func (l *layouter) footer(s *sheet, n, of int) {
	const y = 30.0
	s.c.line(sheetMargin, y+12, s.w-sheetMargin, y+12, hair, 0.5)
	page := fmt.Sprintf("Signature page %d of %d", n, of)
	room := s.w - 2*sheetMargin - regular.face().Width(page, 6.5) - 12
	s.c.fitted(sheetMargin, y, room, regular, 6.5, faint,
		"Each signature covers the whole document as it stood when it was made. Any PDF reader that checks signatures shows whether it still holds.")
	s.c.text(s.w-sheetMargin-regular.face().Width(page, 6.5), y, regular, 6.5, faint, page)
}

// appendPages hangs the sheets under the root of the page tree.
func (l *layouter) appendPages(sheets []*sheet, kids cos.Array) error {
	cat, err := l.f.Catalog()
	if err != nil {
		return err
	}
	root := cat["Pages"].(cos.Ref) // Pages has checked it
	tree, err := l.u.Dict(root)
	if err != nil {
		return err
	}
	if tree["Kids"] == nil {
		return fmt.Errorf("%w: the page tree is a single page", cos.ErrBroken)
	}
	old, err := l.f.Array(tree["Kids"])
	if err != nil {
		return err
	}
	tree["Kids"] = append(append(cos.Array{}, old...), kids...)
	tree["Count"] = len(l.pages) + len(sheets)
	l.u.Set(root, tree)
	mark, err := l.f.Dict(cat["MarkInfo"])
	if err != nil {
		return err
	}
	tagged := mark["Marked"] == true
	for _, s := range sheets {
		if tagged {
			// Everything in a tagged document is either in its structure or an artifact.
			s.c.b = append(append([]byte("/Artifact BMC\n"), s.c.b...), "EMC\n"...)
		}
		box := cos.Array{0, 0, round(s.w), round(s.h)}
		l.u.Set(s.page.Ref, cos.Dict{
			"Type": cos.Name("Page"), "Parent": root, "MediaBox": box, "CropBox": box, "Rotate": 0,
			"Resources": resources(l.fonts), "Contents": l.u.Add(cos.Compressed(nil, s.c.b)), "Annots": s.annots,
		})
	}
	return nil
}
