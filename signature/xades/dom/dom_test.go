package dom_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"milterd/signature/xades/dom"
)

func TestRefused(t *testing.T) {
	deep := strings.Repeat("<a>", 257) + strings.Repeat("</a>", 257)
	many := "<a"
	for i := range 600 {
		many += " b" + strings.Repeat("c", i) + "=''"
	}
	for in, want := range map[string]error{
		"":                           dom.ErrMalformed,
		"text":                       dom.ErrMalformed,
		"<a/><b/>":                   dom.ErrMalformed,
		"<a/>text":                   dom.ErrMalformed,
		"<a>":                        dom.ErrMalformed,
		"<a></b>":                    dom.ErrMalformed,
		"<a><b></a></b>":             dom.ErrMalformed,
		"<a x='1' x='2'/>":           dom.ErrMalformed,
		"<a x='1'y='2'/>":            dom.ErrMalformed,
		"<a x=1/>":                   dom.ErrMalformed,
		"<a x/>":                     dom.ErrMalformed,
		"<a x='<'/>":                 dom.ErrMalformed,
		"<a x='":                     dom.ErrMalformed,
		"<a>&</a>":                   dom.ErrMalformed,
		"<a>&#0;</a>":                dom.ErrMalformed,
		"<a>&#xD800;</a>":            dom.ErrMalformed,
		"<a>&#x110000;</a>":          dom.ErrMalformed,
		"<a>&#x1_0;</a>":             dom.ErrMalformed,
		"<a>&#+65;</a>":              dom.ErrMalformed,
		"<a>]]></a>":                 dom.ErrMalformed,
		"<a>\x01</a>":                dom.ErrMalformed,
		"<a>\ufffe</a>":              dom.ErrMalformed,
		"<a><!-- -- --></a>":         dom.ErrMalformed,
		"<a><!-- --->":               dom.ErrMalformed,
		"<a><![CDATA[</a>":           dom.ErrMalformed,
		"<a><?xml x?></a>":           dom.ErrMalformed,
		" <?xml version='1.0'?><a/>": dom.ErrMalformed,
		"<a><?p</a>":                 dom.ErrMalformed,
		"<p:a/>":                     dom.ErrMalformed,
		"<a p:b='c'/>":               dom.ErrMalformed,
		"<a:b:c xmlns:a='urn:a'/>":   dom.ErrMalformed,
		"<:a/>":                      dom.ErrMalformed,
		"<a xmlns:p=''/>":            dom.ErrMalformed,
		"<a xmlns:xmlns='urn:a'/>":   dom.ErrMalformed,
		"<a xmlns:xml='urn:a'/>":     dom.ErrMalformed,
		"<a xmlns:p='http://www.w3.org/XML/1998/namespace'/>": dom.ErrMalformed,
		"<a xmlns='http://www.w3.org/2000/xmlns/'/>":          dom.ErrMalformed,
		"<a xmlns:p='u' xmlns:q='u' p:x='1' q:x='2'/>":        dom.ErrMalformed,
		"<1a/>":                     dom.ErrMalformed,
		"< a/>":                     dom.ErrMalformed,
		"<?xml version='1.1'?><a/>": dom.ErrForbidden,
		"<?xml version='1.0' encoding='latin1'?><a/>":  dom.ErrForbidden,
		"<?xml encoding='UTF-8'?><a/>":                 dom.ErrMalformed,
		"<?xml version='1.0' standalone='maybe'?><a/>": dom.ErrMalformed,
		"<a>\xff</a>":                  dom.ErrForbidden,
		"\xff\xfe<\x00a\x00/\x00>\x00": dom.ErrForbidden,
		"<\x00a\x00/\x00>\x00":         dom.ErrForbidden,
		"<!DOCTYPE a><a/>":             dom.ErrForbidden,
		"<!DOCTYPE a [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><a>&e;</a>": dom.ErrForbidden,
		"<!DOCTYPE a [<!ENTITY e 'ee'><!ENTITY f '&e;&e;'>]><a>&f;</a>":    dom.ErrForbidden,
		"<a>&nbsp;</a>":                        dom.ErrForbidden,
		"<a b='&e;'/>":                         dom.ErrForbidden,
		deep:                                   dom.ErrLimit,
		many + "/>":                            dom.ErrLimit,
		"<" + strings.Repeat("a", 2000) + "/>": dom.ErrLimit,
	} {
		if _, err := dom.Parse([]byte(in)); !errors.Is(err, want) {
			t.Errorf("%.80q: %v, want %v", in, err, want)
		}
	}
	if _, err := dom.Parse(make([]byte, dom.MaxSize+1)); !errors.Is(err, dom.ErrLimit) {
		t.Error(err)
	}
	_, err := dom.Parse([]byte("<a>\n\n<b>\n</a>"))
	if err == nil || err.Error() != "line 4: malformed XML: end of a where b is open" {
		t.Error(err)
	}
}

func TestByID(t *testing.T) {
	for in, want := range map[string]string{
		"<a><b Id='x'/></a>": "b", "<a ID='x'/>": "a", "<a><c xml:id='x'/></a>": "c", "<a id='x'/>": "a",
		"<a/>": "", "<a Id='x'><b id='x'/></a>": "", "<a Id='x' xml:id='x'/>": "a", "<a xmlns:p='urn:p' p:Id='x'/>": "", "<a name='x'/>": "",
	} {
		d, err := dom.Parse([]byte(in))
		if err != nil {
			t.Fatal(err)
		}
		n, err := d.ByID("x")
		if want == "" != errors.Is(err, dom.ErrID) || err == nil && n.Local != want {
			t.Errorf("%s: %v, %v", in, n, err)
		}
	}
	d, _ := dom.Parse([]byte("<a Id=''/>"))
	if _, err := d.ByID(""); !errors.Is(err, dom.ErrID) {
		t.Error(err)
	}
}

// Offsets let a caller put bytes in without touching any other.
func TestOffsets(t *testing.T) {
	raw := "\ufeff<?xml version='1.0'?>\r\n<!-- c --><a><b>t&amp;</b><c/></a>\n"
	d, err := dom.Parse([]byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	a := d.Root
	b, c := a.Children[0], a.Children[1]
	for got, want := range map[string]string{
		raw[a.Start:a.End]: "<a><b>t&amp;</b><c/></a>", raw[b.Start:b.End]: "<b>t&amp;</b>", raw[c.Start:c.End]: "<c/>",
		raw[a.Close:a.End]: "</a>", raw[b.Close:b.End]: "</b>", raw[b.Children[0].Start:b.Children[0].End]: "t&amp;",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if c.Close != 0 || b.Text() != "t&" {
		t.Errorf("%d %q", c.Close, b.Text())
	}
}

func TestForms(t *testing.T) {
	for _, uri := range formURIs[:6] {
		f, err := dom.FormOf(uri)
		if err != nil || f.Comments != strings.HasSuffix(uri, "WithComments") {
			t.Errorf("%s: %+v, %v", uri, f, err)
		}
	}
	for _, uri := range []string{"", "http://www.w3.org/2001/10/xml-exc-c14n", "http://www.w3.org/2001/10/xml-exc-c14n##WithComments", "urn:x"} {
		if _, err := dom.FormOf(uri); !errors.Is(err, dom.ErrMethod) {
			t.Errorf("%q: %v", uri, err)
		}
	}
	d, err := dom.Parse([]byte("<a xml:base='http://a/'><b/></a>"))
	if err != nil {
		t.Fatal(err)
	}
	if err := (dom.Form{Version11: true}).WriteElement(io.Discard, d.Root.Children[0], nil); !errors.Is(err, dom.ErrMethod) {
		t.Errorf("xml:base that would have to be joined: %v", err)
	}
}

func seeds(t testing.TB) (out [][]byte) {
	paths, err := filepath.Glob("testdata/c14n/*.xml")
	if err != nil || len(paths) < 10 {
		t.Fatalf("%d seeds (%v)", len(paths), err)
	}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, b)
	}
	return append(out, []byte("<!DOCTYPE a [<!ENTITY e 'x'>]><a>&e;</a>"), []byte("<a Id='x'><b Id='x'/></a>"))
}

// What is read here, encoding/xml reads too, with the same elements and text; and
// a canonical form is its own canonical form.
func FuzzParse(f *testing.F) {
	for _, s := range seeds(f) {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		d, err := dom.Parse(raw)
		if err != nil {
			return
		}
		sameAsOthers(t, raw, d)
		for _, form := range []dom.Form{{Comments: true}, {Exclusive: true}, {Exclusive: true, Prefixes: []string{"p", "#default"}}} {
			var once, twice bytes.Buffer
			if err := form.WriteDocument(&once, d, nil); err != nil {
				t.Fatal(err)
			}
			again, err := dom.Parse(once.Bytes())
			if err != nil {
				t.Fatalf("%q: %v", once.Bytes(), err)
			}
			if err := form.WriteDocument(&twice, again, nil); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(once.Bytes(), twice.Bytes()) {
				t.Fatalf("%q becomes %q", once.Bytes(), twice.Bytes())
			}
		}
	})
}

// sameAsOthers compares names and text with what encoding/xml finds.
func sameAsOthers(t *testing.T, raw []byte, d *dom.Document) {
	var ours, theirs strings.Builder
	d.Walk(func(n *dom.Node) bool {
		switch n.Kind {
		case dom.Element:
			ours.WriteString("<" + n.Space + " " + n.Local + ">")
		case dom.Text:
			if n.Parent != nil {
				ours.WriteString(n.Data)
			}
		}
		return true
	})
	in := xml.NewDecoder(bytes.NewReader(bytes.TrimPrefix(raw, []byte("\ufeff"))))
	depth := 0
	for {
		token, err := in.Token()
		if err == io.EOF {
			break
		}
		if err != nil { // its tables of names are those of an older edition
			if strings.Contains(err.Error(), "invalid XML name") || strings.Contains(err.Error(), "expected element name") || strings.Contains(err.Error(), "expected attribute name") {
				return
			}
			t.Fatalf("%q: %v", raw, err)
		}
		switch x := token.(type) {
		case xml.StartElement:
			depth++
			theirs.WriteString("<" + x.Name.Space + " " + x.Name.Local + ">")
		case xml.EndElement:
			depth--
		case xml.CharData:
			if depth > 0 {
				theirs.Write(x)
			}
		}
	}
	if ours.String() != theirs.String() {
		t.Fatalf("%q\nours   %q\ntheirs %q", raw, ours.String(), theirs.String())
	}
}
