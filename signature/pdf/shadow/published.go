package shadow

import (
	"bytes"
	"fmt"
	"strings"

	"milterd/signature/pdf/cos"
)

// published are the attacks of the paper.
func published() []Attack {
	const paints = text + " /Cover Do"
	annotation := func(entries string) string {
		return "<</Type/Annot/Subtype/FreeText/Rect[50 700 400 760]/P 3 0 R" + entries + ">>"
	}
	return append([]Attack{
		// Hide: something covers the text until it is signed.
		{
			Name: "hide: a picture over the text", PDF: document("", "", "/XObject<</Cover 6 0 R>>", stream("", paints), stream(xobject, "1 g 0 0 500 500 re f")),
			Spring: object(6, form("")), Says: "object 6 (Form) was changed",
		}, {
			Name: "hide: a picture over the text, freed", PDF: document("", "", "/XObject<</Cover 6 0 R>>", stream("", paints), stream(xobject, "1 g 0 0 500 500 re f")),
			Spring: row(6, func([]byte) string { return "0000000000 00001 f" }), Says: "object 6 (Form) was changed",
		}, {
			Name: "hide: an annotation over the text", PDF: document("", "/Annots[6 0 R]", "", stream("", text), annotation("/F 4/AP<</N 7 0 R>>"), stream(xobject, "1 g 0 0 500 500 re f")),
			Spring: update(func(_ *cos.File, u *cos.Update) {
				d, err := u.Dict(cos.Ref{Num: 3})
				if err != nil {
					panic(err)
				}
				d["Annots"] = d["Annots"].(cos.Array)[1:]
				u.Set(cos.Ref{Num: 3}, d)
			}), Says: "page 1: an annotation was removed",
		}, {
			Name: "hide: a layer that is off", PDF: document("/OCProperties<</OCGs[6 0 R]/D<</OFF[6 0 R]>>>>", "", "/Properties<</L 6 0 R>>", stream("", text+" /OC /L BDC "+text+" EMC"), "<</Type/OCG/Name(L)>>"),
			Spring: entry(1, "OCProperties", direct(cos.Dict{"OCGs": cos.Array{cos.Ref{Num: 6}}, "D": cos.Dict{}})),
			Notes:  []string{"hidden"}, Says: "the catalog's OCProperties was changed",
		}, {
			Name: "hide: an annotation that is hidden", PDF: document("", "/Annots[6 0 R]", "", stream("", text), annotation("/F 2/AP<</N 7 0 R>>"), stream(xobject, text)),
			Spring: entry(6, "F", direct(4)), Notes: []string{"hidden"}, Says: "object 6 (FreeText) was changed",
		}, {
			Name: "hide: a field that prints, but is not on the screen", PDF: document("/AcroForm<</Fields[6 0 R]>>", "/Annots[6 0 R]", "", stream("", text),
				"<</Type/Annot/Subtype/Widget/FT/Tx/T(f)/F 32/V(x)/Rect[50 700 400 760]/P 3 0 R/AP<</N 7 0 R>>>>", stream(xobject, text)),
			Spring: entry(6, "F", direct(32|4)), Notes: []string{"hidden", "field"}, Says: `field "f": its flags were changed`,
		},
		// Replace: something that looks harmless is changed, and counts as allowed.
		{
			Name: "replace: a field shows something other than its value", PDF: document("/AcroForm<</Fields[6 0 R]/DR<</Font<</F1 5 0 R>>>>/DA(/F1 12 Tf)>>", "/Annots[6 0 R]", "", stream("", text),
				"<</Type/Annot/Subtype/Widget/FT/Tx/T(f)/F 4/V(Pay a million)/DA(/F1 12 Tf)/Rect[50 700 400 760]/P 3 0 R/AP<</N 7 0 R>>>>", stream(xobject, "/Tx BMC BT /F1 12 Tf 2 2 Td (Pay ten) Tj ET EMC")),
			Spring: inForm(func(form cos.Dict) { form["NeedAppearances"] = true }),
			Notes:  []string{"field"}, Says: "the form asks readers to draw its fields anew",
		}, {
			Name: "replace: a font", PDF: document("", "", "", stream("", text)),
			Spring: entry(5, "Encoding", direct(cos.Dict{"Differences": cos.Array{0x74, cos.Name("m")}})), Says: "object 5 (Type1) was changed",
		}, {
			Name: "replace: a button's picture", PDF: document("/AcroForm<</Fields[6 0 R]>>", "/Annots[6 0 R]", "", stream("", text),
				"<</Type/Annot/Subtype/Widget/FT/Btn/Ff 65536/T(f)/F 4/Rect[50 700 400 760]/P 3 0 R>>"),
			Spring: update(func(f *cos.File, u *cos.Update) {
				d, err := u.Dict(cos.Ref{Num: 6})
				if err != nil {
					panic(err)
				}
				d["V"], d["AP"] = cos.Name("On"), cos.Dict{"N": u.Add(evil())}
				u.Set(cos.Ref{Num: 6}, d)
			}),
			Says: `field "f", a button that holds no value, was changed`,
		}, {
			Name: "replace: content that is still to come", PDF: freed(6, document("", "", "/XObject<</Later 6 0 R>>", stream("", text+" /Later Do"), "null")),
			Spring: object(6, evil()), Notes: []string{"missing", "unused"}, Says: "object 6, to which signed content refers, was added later",
		}, {
			Name: "replace: content that is null", PDF: document("", "", "/XObject<</Later 6 0 R>>", stream("", text+" /Later Do"), "null"),
			Spring: object(6, evil()), Notes: []string{"missing"}, Says: "object 6 (value) was changed",
		}, {
			Name: "replace: content that is still to come, beyond the last object", PDF: document("", "", "/XObject<</Later 40 0 R>>", stream("", text+" /Later Do")),
			Spring:  update(func(f *cos.File, u *cos.Update) { u.Set(cos.Ref{Num: 40}, evil()); growTo(u, 41) }),
			Refused: true, Says: "object 40, to which signed content refers, was added later",
		}},
		hideAndReplace()...)
}

// growTo uses up object numbers, so that Size covers what was set.
func growTo(u *cos.Update, size int) {
	for u.Reserve().Num < size-1 {
	}
}

// hideAndReplace: a second document is in the file, and nothing leads to it.
func hideAndReplace() []Attack {
	second := []string{"<</Type/Catalog/Pages 7 0 R>>", "<</Type/Pages/Kids[8 0 R]/Count 1>>",
		"<</Type/Page/Parent 7 0 R/MediaBox[0 0 612 792]/Contents 9 0 R/Resources<</Font<</F1 5 0 R>>>>>>", stream("", strings.Replace(text, "ten", "a million", 1))}
	whole := document("", "", "", stream("", text), second...)
	// Object 4 stands in the file a second time; no cross-reference names that place.
	good := document("", "", "", stream("", text))
	at := bytes.Index(good, []byte("5 0 obj"))
	twice := insert(good, at, "4 0 obj\n"+stream("", strings.Replace(text, "ten", "a million", 1))+"\nendobj\n")
	return []Attack{
		{
			Name: "hide-and-replace: another catalog", PDF: whole,
			Spring: func(signed []byte) ([]byte, error) {
				out, err := update(func(f *cos.File, u *cos.Update) {
					catalog, err := u.Dict(f.Root())
					if err != nil {
						panic(err)
					}
					catalog["Pages"] = cos.Ref{Num: 7} // and the signature stays in its form
					u.Set(cos.Ref{Num: 6}, catalog)
				})(signed)
				at := bytes.LastIndex(out, []byte("/Root 1 0 R"))
				copy(out[at:], "/Root 6 0 R")
				return out, err
			},
			Notes: []string{"unused"}, Says: "another catalog takes the place of the signed one",
		}, {
			Name: "hide-and-replace: another page", PDF: whole,
			Spring: entry(2, "Kids", direct(cos.Array{cos.Ref{Num: 8}})), Notes: []string{"unused"}, Says: "object 2 (Pages) was changed",
		}, {
			Name: "hide-and-replace: an object twice", PDF: twice,
			Spring: row(4, func(signed []byte) string {
				return fmt.Sprintf("%010d 00000 n", bytes.LastIndex(signed[:bytes.Index(signed, []byte("\nxref\n"))], []byte("\n4 0 obj"))+1)
			}),
			Notes: []string{"unused"}, Says: "object 4 (stream) was changed",
		}, {
			Name: "hide-and-replace: another generation", PDF: insert(good, at, "4 1 obj\n"+stream("", text)+"\nendobj\n"),
			Spring: row(4, func(signed []byte) string {
				return fmt.Sprintf("%010d 00001 n", bytes.Index(signed, []byte("4 1 obj")))
			}),
			Notes: []string{"unused"}, Says: "object 4 (stream) was changed",
		},
	}
}

// insert puts text into a file with one table, whose offsets follow.
func insert(pdf []byte, at int, text string) []byte {
	out := bytes.Clone(pdf[:at])
	out = append(out, text...)
	table := bytes.LastIndex(pdf, []byte("xref\n0 ")) // not that of startxref, which a digit follows
	out = append(out, pdf[at:table]...)
	lines := strings.SplitAfter(string(pdf[table:]), "\n")
	for i, l := range lines {
		var offset int
		if strings.HasSuffix(l, " n \n") {
			fmt.Sscanf(l, "%d", &offset)
			if offset >= at {
				lines[i] = fmt.Sprintf("%010d 00000 n \n", offset+len(text))
			}
		} else if i > 0 && lines[i-1] == "startxref\n" {
			lines[i] = fmt.Sprintf("%d\n", table+len(text))
		}
	}
	return append(out, strings.Join(lines, "")...)
}
