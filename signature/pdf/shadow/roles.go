package shadow

import (
	"bytes"

	"milterd/signature/cms/cmstest"
	"milterd/signature/pdf/cos"
)

// roles are documents in which one object has two roles: in one of them it is
// free to change, and in the other it shows.
func roles() []Attack {
	const widget = "/Type/Annot/Subtype/Widget/FT/Tx/T(f)/F 4/Rect[50 700 400 760]/P 3 0 R"
	fields := func(ref string) string { return "/AcroForm<</Fields[" + ref + "]>>" }
	harmless := stream(xobject, "")
	return []Attack{
		{
			Name: "roles: a field that is content", PDF: document(fields("4 0 R"), "", "", stream("/FT/Tx/T(f)", text)),
			Spring: object(4, &cos.Stream{Dict: cos.Dict{"FT": cos.Name("Tx"), "T": cos.String("f")}, Raw: evil().Raw}), Refused: true,
		}, {
			Name: "roles: a form that is content", PDF: document("/AcroForm 4 0 R", "/Annots[6 0 R]", "", stream("/Fields[6 0 R]/SigFlags 3", text), "<</Type/Annot/Subtype/Widget/FT/Sig/T(S)/F 132/Rect[0 0 0 0]/P 3 0 R>>"),
			Spring: object(4, &cos.Stream{Dict: cos.Dict{"Fields": cos.Array{cos.Ref{Num: 6}}, "SigFlags": 3}, Raw: bytes.Replace([]byte(text), []byte("ten"), []byte("one"), 1)}), Refused: true, Says: "object 4 (stream) was changed",
		}, {
			Name: "roles: a page that is its own content", PDF: cmstest.Build("<</Type/Catalog/Pages 2 0 R/AcroForm<</Fields[4 0 R]/SigFlags 3>>>>", "<</Type/Pages/Kids[3 0 R]/Count 1>>",
				stream("/Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 3 0 R/Resources<</Font<</F1 5 0 R>>>>", text), "<</Type/Annot/Subtype/Widget/FT/Sig/T(S)/F 132/Rect[0 0 0 0]>>", font),
			Spring: update(func(f *cos.File, u *cos.Update) {
				d, err := u.Dict(cos.Ref{Num: 3})
				if err != nil {
					panic(err)
				}
				u.Set(cos.Ref{Num: 3}, &cos.Stream{Dict: d, Raw: bytes.Replace([]byte(text), []byte("ten"), []byte("one"), 1)}) // as long
			}),
			Refused: true, Says: "object 3 (Page) was changed",
		}, {
			Name: "roles: a form that is resources", PDF: document("/AcroForm 6 0 R", "", "/XObject 6 0 R", stream("", text+" /SigFlags Do"), "<</Fields[]/SigFlags 7 0 R>>", harmless),
			Spring: entry(6, "SigFlags", added(evil())), Refused: true, Says: "object 6 (value) was changed",
		}, {
			Name: "roles: a catalog that is resources", PDF: document("/Version 6 0 R", "", "/XObject 1 0 R", stream("", text+" /Version Do"), harmless),
			Spring: entry(1, "Version", added(evil())), Refused: true, Says: "object 1 (Catalog) was changed",
		}, {
			Name: "roles: a field that is resources", PDF: document(fields("6 0 R"), "/Annots[6 0 R]", "/XObject 6 0 R", stream("", text+" /V Do"), "<<"+widget+"/V 7 0 R>>", harmless),
			Spring: entry(6, "V", added(evil())), Refused: true, Says: "object 6 (Widget) was changed",
		}, {
			Name: "roles: a field that is resources, by another name", PDF: document(fields("6 0 R"), "/Annots[6 0 R]", "/XObject 8 0 R", stream("", text+" /V Do"), "<<"+widget+"/V 7 0 R>>", harmless, "6 0 R"),
			Spring: entry(6, "V", added(evil())), Refused: true, Says: "object 6 (Widget) was changed",
		}, {
			Name: "roles: a field that is a font's glyphs", PDF: document(fields("6 0 R"), "/Annots[6 0 R]", "/ExtGState<</G<</Font[7 0 R 12]>>>>", stream("", "/G gs BT 72 720 Td (V) Tj ET"),
				"<<"+widget+"/V 8 0 R>>", "<</Type/Font/Subtype/Type3/FontBBox[0 0 1 1]/FontMatrix[1 0 0 1 0 0]/CharProcs 6 0 R/Encoding<</Differences[86/V]>>/FirstChar 86/LastChar 86/Widths[1]>>", harmless),
			Spring: entry(6, "V", added(evil())), Refused: true, Says: "object 6 (Widget) was changed",
		}, {
			Name: "roles: a field that is an appearance", PDF: document(fields("6 0 R"), "/Annots[6 0 R 8 0 R]", "", stream("", text), "<<"+widget+"/V 7 0 R>>", harmless,
				"<</Type/Annot/Subtype/Stamp/Rect[50 700 400 760]/F 4/AS/V/AP<</N 6 0 R>>>>"),
			Spring: entry(6, "V", added(evil())), Refused: true, Says: "object 6 (Widget) was changed",
		}, {
			Name: "roles: annotations that are pages", PDF: documentOf("<</Type/Pages/Kids 6 0 R/Count 1>>", "/AcroForm<</Fields[]>>", "/Annots 6 0 R", stream("", text), "[3 0 R]"),
			Spring: update(func(f *cos.File, u *cos.Update) {
				w := u.Add(cos.Dict{"Type": cos.Name("Page"), "Subtype": cos.Name("Widget"), "FT": cos.Name("Sig"), "T": cos.String("g"),
					"Parent": cos.Ref{Num: 2}, "MediaBox": cos.Array{0, 0, 612, 792}, "Contents": u.Add(evil())})
				list, err := f.Array(cos.Ref{Num: 6})
				if err != nil {
					panic(err)
				}
				u.Set(cos.Ref{Num: 6}, append(list[:len(list):len(list)], w))
				setForm(f, u, func(form cos.Dict) {
					form["Fields"] = append(form["Fields"].(cos.Array), w)
				})
			}),
			Refused: true, Says: "object 6 (value) was changed",
		}, {
			Name: "roles: metadata that is content", PDF: document("/Metadata 4 0 R", "", "", stream("/Type/Metadata", text)),
			Spring: object(4, &cos.Stream{Dict: cos.Dict{"Type": cos.Name("Metadata")}, Raw: evil().Raw}), Refused: true, Says: "object 4 (Metadata) was changed",
		}, {
			Name: "roles: content that calls itself an object stream", PDF: document("", "", "", stream("/Type/ObjStm/N 0/First 0", text)),
			Spring: object(4, &cos.Stream{Dict: cos.Dict{"Type": cos.Name("ObjStm"), "N": 0, "First": 0}, Raw: evil().Raw}), Refused: true, Says: "object 4 (ObjStm) was changed",
		}, {
			Name:   "roles: content that calls itself a cross-reference stream, and refers to what is to come",
			PDF:    freed(7, document("", "", "/XObject<</X 6 0 R>>", stream("", text+" /X Do"), stream("/Type/XRef/Subtype/Form/BBox[0 0 500 500]/Resources<</XObject<</Y 7 0 R>>>>", "/Y Do"), "null")),
			Spring: object(7, evil()), Refused: true, Says: "object 7, to which signed content refers, was added later",
		},
	}
}

// documentOf is document with another page tree.
func documentOf(pages, catalog, page, content string, more ...string) []byte {
	return replaceOnce(document(catalog, page, "", content, more...), "<</Type/Pages/Kids[3 0 R]/Count 1>>", pages)
}
