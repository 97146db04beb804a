package main

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"

	"milterd/signature/cms"
	"milterd/signature/pdf"
	"milterd/signature/pdf/cos"
)

// spot is a kind of place in a file of which one byte is changed. The place is
// found by reading the file, so that every run tries the same, however long the
// values are that are new each time.
type spot struct {
	name string
	at   func(p *paper) (int, error) // offset of the byte

	// spare: copies of the issuers' certificates in the newest message. Nothing signs
	// them, and the DSS holds others: that they change can go unnoticed.
	spare bool
}

// structure are the places that any PDF has, and those of what signing adds.
var structure = []spot{
	{name: "the header's version", at: find1("%PDF-1.", 7)},
	{name: "the comment after the header", at: find1("\n%", 3)},
	{name: "the first page's content", at: func(p *paper) (int, error) {
		f, page, err := p.page()
		if err != nil {
			return 0, err
		}
		list, err := f.Array(page["Contents"])
		if err != nil {
			list = cos.Array{page["Contents"]}
		}
		return p.middle(f, list[min(1, len(list)-1)]) // the first belongs to the watermark
	}},
	{name: "the watermark on the first page", at: func(p *paper) (int, error) {
		f, page, err := p.page()
		if err != nil {
			return 0, err
		}
		return p.middle(f, page, "Resources", "XObject", "MilterdMark")
	}},
	{name: "a font of the document", at: stream(func(d cos.Dict) bool { return d["Length1"] != nil }, true)},
	{name: "a font of what was added", at: stream(func(d cos.Dict) bool { return d.Name("Subtype") == "OpenType" || d["Length1"] != nil }, false)},
	{name: "an object stream", at: stream(func(d cos.Dict) bool { return d.Name("Type") == "ObjStm" }, true)},
	{name: "the oldest cross-references", at: section(func(at []int) int { return at[len(at)-1] }, 0.5)},
	{name: "the newest cross-references", at: section(func(at []int) int { return at[0] }, 0.5)},
	{name: "the newest trailer's Prev", at: findN("/Prev ", 6)},
	{name: "the newest trailer's Root", at: findN("/Root ", 6)},
	{name: "the newest trailer's Size", at: findN("/Size ", 6)},
	{name: "the newest trailer's ID", at: findN("/ID[<", 8)},
	{name: "the newest startxref", at: findN("startxref\n", 10)},
	{name: "the oldest startxref", at: find1("startxref\n", 10)},
	{name: "the newest end of file", at: findN("%%EOF", 3)},
	{name: "the oldest end of file", at: find1("%%EOF", 3)},
	{name: "the form", at: findN("/SigFlags ", 10)},
	{name: "the newest catalog", at: findN("/Type/Catalog", 8)},
	{name: "the name of the first signature's field", at: findN("/T(Signatory 1", 5)},
	{name: "the rectangle of the first signature's field", at: func(p *paper) (int, error) {
		return p.after(bytes.LastIndex(p.data, []byte("/T(Signatory 1")), "/Rect[", 6)
	}},
	{name: "the visible signature", at: appearance("Signatory 1")},
	{name: "the visible seal", at: appearance("Seal")},
	{name: "a paraph", at: func(p *paper) (int, error) {
		f, page, err := p.page()
		if err != nil {
			return 0, err
		}
		annots, err := f.Array(page["Annots"])
		if err != nil {
			return 0, err
		}
		for _, o := range annots {
			d, err := f.Dict(o)
			if err != nil {
				return 0, err
			}
			if strings.HasPrefix(f.String(d["TU"]).UTF8(), "Paraph") {
				return p.middle(f, d, "AP", "N")
			}
		}
		return 0, errNotHere
	}},
	{name: "the DSS dictionary", at: findN("/DSS ", 5)},
	{name: "a certificate in the DSS", at: inDSS("Certs")},
	{name: "the document information", at: findN("/Producer", 3)},
	{name: "the metadata", at: func(p *paper) (int, error) {
		f, catalog, err := p.catalog()
		if err != nil {
			return 0, err
		}
		return p.middle(f, catalog, "Metadata")
	}},
}

// around are the places in and about a signature dictionary; oldest and newest.
func around(which string, of func(*paper) place) (out []spot) {
	put := func(name string, at func(p *paper) (int, error)) {
		out = append(out, spot{name: which + ": " + name, at: at})
	}
	key := func(name, key string, off int) {
		put(name, func(p *paper) (int, error) {
			pl := of(p)
			begin := bytes.LastIndex(p.data[:pl.digits], []byte(" obj"))
			i := bytes.Index(p.data[begin:], []byte(key))
			if begin < 0 || i < 0 || begin+i > pl.digits+2*pl.room+4096 {
				return 0, errNotHere
			}
			return begin + i + off, nil
		})
	}
	key("Filter", "/Filter/", 9)
	key("SubFilter", "/SubFilter/", 12)
	key("Name", "/Name(", 7)
	key("Reason", "/Reason(", 9)
	key("M, the claimed time", "/M(D:20", 6)
	put("ByteRange", func(p *paper) (int, error) { return of(p).from + 12, nil })
	put("the < before Contents", func(p *paper) (int, error) { return of(p).digits - 1, nil })
	put("the > after Contents", func(p *paper) (int, error) { return of(p).digits + 2*of(p).room, nil })
	put("the first zero after the message", func(p *paper) (int, error) { return of(p).digits + 2*len(of(p).der), nil })
	put("the last zero of Contents", func(p *paper) (int, error) { return of(p).digits + 2*of(p).room - 1, nil })
	return out
}

// find1 finds the first of a text, and then a byte of it; findN the last.
func find1(text string, off int) func(*paper) (int, error) { return found(bytes.Index, text, off) }
func findN(text string, off int) func(*paper) (int, error) { return found(bytes.LastIndex, text, off) }

func found(index func(s, sep []byte) int, text string, off int) func(*paper) (int, error) {
	return func(p *paper) (int, error) {
		i := index(p.data, []byte(text))
		if i < 0 {
			return 0, errNotHere
		}
		return i + off, nil
	}
}

// after finds a text in the object that an offset lies in, and then a byte of it.
func (p *paper) after(from int, text string, off int) (int, error) {
	if from < 0 {
		return 0, errNotHere
	}
	begin := bytes.LastIndex(p.data[:from], []byte(" obj"))
	end := from + bytes.Index(p.data[from:], []byte("endobj"))
	i := bytes.Index(p.data[max(begin, 0):end], []byte(text))
	if begin < 0 || i < 0 {
		return 0, errNotHere
	}
	return begin + i + off, nil
}

func (p *paper) catalog() (*cos.File, cos.Dict, error) {
	f, err := cos.Open(p.data)
	if err != nil {
		return nil, nil, err
	}
	catalog, err := f.Catalog()
	return f, catalog, err
}

func (p *paper) page() (*cos.File, cos.Dict, error) {
	f, catalog, err := p.catalog()
	if err != nil {
		return nil, nil, err
	}
	_, page, err := firstPage(f, catalog)
	return f, page, err
}

// middle is the middle of the data of a stream, which is reached over keys.
func (p *paper) middle(f *cos.File, o cos.Object, keys ...cos.Name) (int, error) {
	for _, k := range keys {
		d, err := f.Dict(o)
		if err != nil {
			return 0, err
		}
		if o = d[k]; o == nil {
			return 0, errNotHere
		}
	}
	st, err := f.Stream(o)
	if err != nil {
		return 0, err
	}
	return p.inStream(st)
}

func (p *paper) inStream(st *cos.Stream) (int, error) {
	if st == nil || len(st.Raw) < 8 {
		return 0, errNotHere
	}
	at := bytes.Index(p.data, st.Raw)
	if at < 0 {
		return 0, errors.New("the stream is not in the file as it is")
	}
	return at + len(st.Raw)/2, nil
}

// stream finds the first stream of a kind, by number; the last if not first.
func stream(is func(cos.Dict) bool, first bool) func(*paper) (int, error) {
	return func(p *paper) (int, error) {
		f, err := cos.Open(p.data)
		if err != nil {
			return 0, err
		}
		numbers, err := f.Numbers()
		if err != nil {
			return 0, err
		}
		slices.Sort(numbers)
		if !first {
			slices.Reverse(numbers)
		}
		for _, n := range numbers {
			o, err := f.Numbered(n)
			if err != nil {
				return 0, err
			}
			if st, ok := o.(*cos.Stream); ok && is(st.Dict) {
				return p.inStream(st)
			}
		}
		return 0, errNotHere
	}
}

// section is a place in a cross-reference section: in its table, or in the data of
// its stream.
func section(which func(at []int) int, share float64) func(*paper) (int, error) {
	return func(p *paper) (int, error) {
		f, err := cos.Open(p.data)
		if err != nil {
			return 0, err
		}
		all, err := f.Sections()
		if err != nil {
			return 0, err
		}
		begin := which(all)
		size := 0
		if bytes.HasPrefix(p.data[begin:], []byte("xref")) {
			size = bytes.Index(p.data[begin:], []byte("trailer"))
		} else {
			data := bytes.Index(p.data[begin:], []byte("stream")) + 8
			size = bytes.Index(p.data[begin:], []byte("endstream")) - data
			begin += data
		}
		if size <= 0 {
			return 0, errNotHere
		}
		return begin + int(float64(size)*share), nil
	}
}

// appearance is in the middle of what shows in a field.
func appearance(prefix string) func(*paper) (int, error) {
	return func(p *paper) (int, error) {
		f, err := cos.Open(p.data)
		if err != nil {
			return 0, err
		}
		fields, err := pdf.Fields(f)
		if err != nil {
			return 0, err
		}
		for _, fd := range fields {
			if strings.HasPrefix(fd.Name, prefix) && fd.Type == "Sig" {
				return p.middle(f, fd.Dict, "AP", "N")
			}
		}
		return 0, errNotHere
	}
}

// inDSS is the middle of the newest of a list in the DSS.
func inDSS(key cos.Name) func(*paper) (int, error) {
	return func(p *paper) (int, error) {
		f, catalog, err := p.catalog()
		if err != nil {
			return 0, err
		}
		dss, err := f.Dict(catalog["DSS"])
		if err != nil {
			return 0, err
		}
		list, err := f.Array(dss[key])
		if err != nil {
			return 0, err
		}
		if len(list) == 0 {
			return 0, errNotHere
		}
		return p.middle(f, list[len(list)-1])
	}
}

// part is a piece of a message, by its offset.
type part struct {
	name      string
	at, bytes int
	spare     bool
}

// messageParts are the pieces of a SignedData (RFC 5652, 5), and of the timestamp
// token among its unsigned attributes.
func messageParts(der []byte) ([]part, error) {
	m, err := cms.Parse(der)
	if err != nil {
		return nil, err
	}
	leaf, err := m.SignerCertificate()
	if err != nil {
		return nil, err
	}
	var out []part
	put := func(name string, piece []byte) {
		if len(piece) > 0 {
			out = append(out, part{name: name, at: offset(der, piece), bytes: len(piece)})
		}
	}
	var info, wrap, sd, el, signers, si cryptobyte.String
	in := cryptobyte.String(der)
	if !in.ReadASN1(&info, tag.SEQUENCE) || !info.ReadASN1(&el, tag.OBJECT_IDENTIFIER) || !info.ReadASN1(&wrap, context0) || !wrap.ReadASN1(&sd, tag.SEQUENCE) {
		return nil, errors.New("no ContentInfo")
	}
	put("the content type", el)
	next := func(in *cryptobyte.String, name string) cryptobyte.String {
		var el, body cryptobyte.String
		var t tag.Tag
		if in.Empty() {
			return nil
		}
		if whole := *in; in.ReadAnyASN1Element(&el, &t) {
			whole.ReadAnyASN1(&body, &t)
			if name != "" {
				put(name, body)
			}
		}
		return body
	}
	next(&sd, "version")
	next(&sd, "digestAlgorithms")
	encapsulated := next(&sd, "")
	next(&encapsulated, "eContentType")
	if m.Content != nil {
		put("eContent", m.Content)
	}
	who := func(c *x509.Certificate) string {
		switch {
		case c.Equal(leaf):
			return "the signer's certificate"
		case bytes.Equal(c.RawSubject, c.RawIssuer):
			return "an issuer's certificate (root)"
		}
		return "an issuer's certificate (issuing)"
	}
	certificates := slices.Clone(m.Certificates) // they stand in the order of their bytes, which are new each time
	slices.SortStableFunc(certificates, func(a, b *x509.Certificate) int { return strings.Compare(who(b), who(a)) })
	for _, c := range certificates {
		for _, x := range []struct {
			name  string
			piece []byte
		}{{"name of its subject", c.RawSubject}, {"key", c.RawSubjectPublicKeyInfo}, {"signature", c.Signature}} {
			piece := within(der, c.Raw, x.piece)
			out = append(out, part{name: who(c) + ", " + x.name, at: piece, bytes: len(x.piece), spare: !c.Equal(leaf)})
		}
	}
	for !sd.Empty() {
		signers = next(&sd, "")
	}
	if !signers.ReadASN1(&si, tag.SEQUENCE) {
		return nil, errors.New("no SignerInfo")
	}
	next(&si, "SignerInfo's version")
	next(&si, "sid, who signed")
	next(&si, "digestAlgorithm")
	attributes := next(&si, "")
	for n := 1; !attributes.Empty(); n++ {
		var a cryptobyte.String
		if !attributes.ReadASN1Element(&a, tag.SEQUENCE) {
			return nil, errors.New("no attribute")
		}
		put(fmt.Sprintf("signed attribute %d", n), a)
	}
	next(&si, "signatureAlgorithm")
	put("signature value", m.Value)
	if len(m.Timestamps) > 0 {
		inner, err := messageParts(m.Timestamps[0])
		if err != nil {
			return nil, err
		}
		base := offset(der, m.Timestamps[0])
		for _, x := range inner {
			x.name, x.at = "its timestamp, "+x.name, x.at+base
			out = append(out, x)
		}
	}
	return out, nil
}

const context0 = tag.Tag(0x80 | 0x20)

// offset is where a slice of der begins in it. The slices that cms and cryptobyte
// give share its memory; for a copy the first equal bytes are taken.
func offset(der, piece []byte) int {
	if i := cap(der) - cap(piece); i >= 0 && i+len(piece) <= len(der) && len(piece) > 0 && &der[i] == &piece[0] {
		return i
	}
	return bytes.Index(der, piece)
}

// within finds a piece of a certificate where that stands in der.
func within(der, cert, piece []byte) int {
	return bytes.Index(der, cert) + bytes.LastIndex(cert, piece) // a root's subject stands in it twice
}

// messageSpots are the parts of a message, a byte in the middle of each.
func messageSpots(which string, pl place) ([]spot, error) {
	parts, err := messageParts(pl.der)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", which, err)
	}
	var out []spot
	for _, x := range parts {
		if x.at < 0 {
			return nil, fmt.Errorf("%s: %s is not in it", which, x.name)
		}
		out = append(out, spot{name: which + ": " + x.name, spare: x.spare,
			at: func(*paper) (int, error) { return pl.digits + 2*(x.at+x.bytes/2) + 1, nil }})
	}
	return out, nil
}
