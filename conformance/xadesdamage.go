package main

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"

	"milterd/signature/cms"
	"milterd/signature/xades"
)

// xmlDamage is one way to harm a file; other is one of another signatory.
type xmlDamage struct {
	name string
	may  bool
	do   func(data, other []byte) ([]byte, error)
}

// replaced changes the first place where a text stands.
func replaced(old, new string) func(data, other []byte) ([]byte, error) {
	return func(data, _ []byte) ([]byte, error) {
		if !bytes.Contains(data, []byte(old)) {
			return nil, errNotHere
		}
		return bytes.Replace(data, []byte(old), []byte(new), 1), nil
	}
}

// flipped changes a byte of base64 in the element whose n-th start is given.
func flipped(element string, n int) func(data, other []byte) ([]byte, error) {
	return func(data, _ []byte) ([]byte, error) {
		at := 0
		for range n {
			i := bytes.Index(data[at:], []byte("<"+element))
			if i < 0 {
				return nil, errNotHere
			}
			at += i + 1
		}
		at += bytes.IndexByte(data[at:], '>')
		end := at + bytes.IndexByte(data[at:], '<')
		at = (at + end) / 2
		out := bytes.Clone(data)
		if out[at]++; out[at] == ':' || out[at] == '[' || out[at] == '{' || out[at] == ',' || out[at] == '>' || out[at] == '0' {
			out[at] = 'A'
		}
		return out, nil
	}
}

// spoilt changes a byte of the signature in the n-th timestamp.
func spoilt(n int) func(data, other []byte) ([]byte, error) {
	return func(data, _ []byte) ([]byte, error) {
		parts := bytes.SplitAfter(data, []byte("<xades:EncapsulatedTimeStamp>"))
		if len(parts) <= n {
			return nil, errNotHere
		}
		text, rest, _ := bytes.Cut(parts[n], []byte("<"))
		der, err := base64.StdEncoding.DecodeString(string(text))
		if err != nil {
			return nil, err
		}
		t, err := cms.ParseToken(der)
		if err != nil {
			return nil, err
		}
		der = bytes.Clone(der)
		der[bytes.Index(der, t.Value)+len(t.Value)-5] ^= 1
		parts[n] = slices.Concat([]byte(base64.StdEncoding.EncodeToString(der)), []byte("<"), rest)
		return bytes.Join(parts, nil), nil
	}
}

// element cuts out the first element of a name, with its content.
func element(data []byte, name string) (from, to int) {
	from = bytes.Index(data, []byte("<"+name))
	end := []byte("</" + name + ">")
	to = bytes.Index(data, end) + len(end)
	if from < 0 || to < from {
		return -1, -1
	}
	return from, to
}

// swapped puts the other's first element in the place of its own.
func swapped(name string) func(data, other []byte) ([]byte, error) {
	return func(data, other []byte) ([]byte, error) {
		from, to := element(data, name)
		f, t := element(other, name)
		if from < 0 || f < 0 {
			return nil, errNotHere
		}
		return slices.Concat(data[:from], other[f:t], data[to:]), nil
	}
}

func without(name string) func(data, other []byte) ([]byte, error) {
	return func(data, _ []byte) ([]byte, error) {
		from, to := element(data, name)
		if from < 0 {
			return nil, errNotHere
		}
		return slices.Concat(data[:from], data[to:]), nil
	}
}

var xmlDamages = []xmlDamage{
	{name: "a text changed", do: replaced("38.40", "98.40")},
	{name: "an attribute changed", do: replaced(`currencyID="EUR"`, `currencyID="USD"`)},
	{name: "another default namespace", do: replaced(`Invoice-2"`, `Invoice-3"`)},
	{name: "an element added", do: replaced("</cbc:ID>", "</cbc:ID><cbc:ID/>")},
	{name: "a blank added", do: replaced("</cbc:ID>", "</cbc:ID> ")},
	{name: "a comment that cuts a text", do: replaced("38.40", "38<!-- -->.40")},
	{name: "a comment between elements", may: true, do: replaced("</cbc:ID>", "</cbc:ID><!-- -->")},
	{name: "a CDATA section that cuts a text", do: replaced("38.40", "38<![CDATA[.40]]>")},
	{name: "the style sheet's name changed", do: replaced("invoice.xsl", "evil.xsl")},
	{name: "the style sheet taken out", do: replaced(`<?xml-stylesheet type="text/xsl" href="invoice.xsl"?>`, "")},
	{name: "a document type declaration", do: replaced("<Invoice ", "<!DOCTYPE Invoice>\n<Invoice ")},
	{name: "a document type declaration with an entity", do: replaced("<Invoice ", "<!DOCTYPE Invoice [<!ENTITY e 'x'>]>\n<Invoice ")},
	{name: "other quotes, the same meaning", may: true, do: replaced(`currencyID="EUR"`, `currencyID='EUR'`)},
	{name: "cut off", do: func(data, _ []byte) ([]byte, error) { return data[:len(data)-20], nil }},
	{name: "something after the end", do: func(data, _ []byte) ([]byte, error) { return slices.Concat(data, []byte("<more/>")), nil }},
	{name: "a character of SignatureValue", do: flipped("ds:SignatureValue", 1)},
	{name: "a character of a DigestValue", do: flipped("ds:DigestValue", 1)},
	{name: "a character of the properties' DigestValue", do: flipped("ds:DigestValue", 2)},
	{name: "a character of the named certificate's digest", do: flipped("ds:DigestValue", 3)},
	{name: "the signing time changed", do: replaced("<xades:SigningTime>2", "<xades:SigningTime>1")},
	{name: "the media type changed", do: replaced("application/xml", "application/zip")},
	{name: "the algorithm called another", do: replaced("-sha256\"></ds:SignatureMethod>", "-sha384\"></ds:SignatureMethod>")},
	{name: "the algorithm called HMAC", do: func(data, _ []byte) ([]byte, error) {
		for _, key := range []string{"ecdsa-sha256", "rsa-sha256"} {
			if bytes.Contains(data, []byte(key)) {
				return bytes.Replace(data, []byte(key), []byte("hmac-sha256"), 1), nil
			}
		}
		return nil, errNotHere
	}},
	{name: "the XPath changed", do: replaced("not(ancestor-or-self::ds:Signature)", "not(ancestor-or-self::*)")},
	{name: "KeyInfo of another", do: swapped("ds:KeyInfo")},
	{name: "KeyInfo taken out", may: true, do: without("ds:KeyInfo")},
	{name: "SignedInfo of another", do: swapped("ds:SignedInfo")},
	{name: "SignatureValue of another", do: swapped("ds:SignatureValue")},
	{name: "SignedInfo twice", do: func(data, _ []byte) ([]byte, error) {
		from, to := element(data, "ds:SignedInfo")
		return slices.Concat(data[:to], data[from:to], data[to:]), nil
	}},
	{name: "the signature twice", do: func(data, _ []byte) ([]byte, error) {
		from, to := bytes.Index(data, []byte("<ds:Signature ")), bytes.Index(data, []byte("</ds:Signature>"))+len("</ds:Signature>")
		if from == 0 { // it is the document
			return nil, errNotHere
		}
		return slices.Concat(data[:to], data[from:to], data[to:]), nil
	}},
	{name: "an Object with the forged document", do: replaced("</ds:Signature>", "<ds:Object><Invoice><Payable>1</Payable></Invoice></ds:Object></ds:Signature>")},
	{name: "a forged document in KeyInfo", do: replaced("</ds:KeyInfo>", "<Invoice><Payable>1</Payable></Invoice></ds:KeyInfo>")},
	{name: "a byte of the signature's timestamp", do: spoilt(1)},
	{name: "a byte of the archive timestamp", do: spoilt(2)},
	{name: "the signature's timestamp of another", do: swapped("xades:SignatureTimeStamp")},
	{name: "the archive timestamp of another", do: swapped("xades141:ArchiveTimeStamp")},
	{name: "the signature's timestamp taken out", may: true, do: without("xades:SignatureTimeStamp")},
	{name: "a character of a CRL", do: flipped("xades:EncapsulatedCRLValue", 1)},
	{name: "the revocation data taken out", do: without("xades:RevocationValues")},
	{name: "the certificates taken out", do: without("xades:CertificateValues")},
}

// damagedXML adds damaged copies of one signatory's files.
func (m *maker) damagedXML() error {
	for _, c := range []struct{ group, name, other string }{
		{envelopedForm, "P-256, invoice, B-T with the published CRLs", "RSA-3072, invoice, B-T with the published CRLs"},
		{envelopedForm, "RSA-3072, invoice, B-LTA", "P-256, invoice, B-LTA"},
		{detachedXML, "P-256, B-LTA", "RSA-3072, B-LTA"},
		{asicXML, "P-256, B-LTA", "RSA-3072, B-LTA"},
	} {
		damaged, data, other, err := m.pair(c.group, c.name, c.other)
		if err != nil {
			return err
		}
		base := damaged.base
		if c.group == asicXML {
			if err := m.damagedASiC(damaged, data, other); err != nil {
				return err
			}
			continue
		}
		for _, d := range xmlDamages {
			out, err := d.do(data, other)
			if errors.Is(err, errNotHere) {
				continue
			}
			if err != nil || bytes.Equal(out, data) {
				return fmt.Errorf("%s: %s: nothing was changed (%v)", base, d.name, err)
			}
			one := damaged
			one.name, one.may = d.name, d.may
			if _, err := m.add(one, out); err != nil {
				return err
			}
		}
		if base.content == "" {
			continue
		}
		for _, x := range []struct {
			name  string
			files []xades.File
		}{
			{"a file changed", []xades.File{{Name: xmlFiles[0].Name, Content: []byte("We, the undersigned, deny!.\r\n")}, xmlFiles[1]}},
			{"a file not given", xmlFiles[:1]},
			{"a file renamed", []xades.File{xmlFiles[0], {Name: "plan.png", Content: xmlFiles[1].Content}}},
			{"two files for each other", []xades.File{{Name: xmlFiles[0].Name, Content: xmlFiles[1].Content}, {Name: xmlFiles[1].Name, Content: xmlFiles[0].Content}}},
			{"a file more", append(slices.Clone(xmlFiles), xades.File{Name: "annex.txt", Content: []byte("And a million.")})},
		} {
			one := damaged
			one.name = x.name
			if one.content, err = putContent(m.dir, x.files); err != nil {
				return err
			}
			if _, err := m.add(one, data); err != nil {
				return err
			}
		}
	}
	return nil
}

// damagedASiC harms the files of a container with an XAdES signature, and that
// signature.
func (m *maker) damagedASiC(damaged file, data, other []byte) error {
	const signature = "META-INF/signatures001.xml"
	names, files, err := unzip(data)
	if err != nil {
		return err
	}
	_, theirs, err := unzip(other)
	if err != nil {
		return err
	}
	put := func(name string, may bool, names []string, files map[string][]byte) error {
		out, err := rezip(names, files)
		if err != nil {
			return err
		}
		one := damaged
		one.name, one.may = name, may
		_, err = m.add(one, out)
		return err
	}
	for _, d := range fileDamages {
		copies := maps.Clone(files)
		if changed := d.do(slices.Clone(names), copies); changed != nil {
			if err := put(d.name, false, changed, copies); err != nil {
				return err
			}
		}
	}
	for _, d := range xmlDamages {
		out, err := d.do(files[signature], theirs[signature])
		if errors.Is(err, errNotHere) {
			continue
		}
		if err != nil {
			return err
		}
		copies := maps.Clone(files)
		copies[signature] = out
		if err := put(d.name, d.may, names, copies); err != nil {
			return err
		}
	}
	return nil
}

// What is declared of XML files stands here, beside what makes them.
func init() {
	stricter := func(files, what, says, why string) difference {
		return difference{judge: "DSS", files: files, what: "* holds there, not here: " + what, says: says, why: "We are stricter: " + why}
	}
	declared = append(declared,
		difference{
			judge: "milterd", files: "*XAdES*, B-T without revocation data", what: "* is XAdES-BASELINE-B, want XAdES-BASELINE-T",
			says: "B-B, not B-T",
			why:  "As for PDF: our level is what is reached, DSS names the form. Without revocation data for the timestamp's authority no time is proven.",
		},
		difference{
			judge: "openssl", files: "*XAdES*PSS*", what: "* verify: xmlsec1: *",
			says: "xmlsec1 does not verify RSA-PSS",
			why:  "Debian's xmlsec1 does not know RSA-PSS (RFC 9231, section 2.3.10); DSS does.",
		},
		stricter("damaged: XAdES enveloped*: a comment that cuts a text", "*", "passes it",
			"no signature covers comments, and one that cuts a text makes two values of it: for readers who take the first piece, and for others."),
		stricter("damaged: XAdES enveloped*: a CDATA section that cuts a text", "*", "passes it", "as with comments: the bounds of CDATA sections are not signed."),
		stricter("damaged: *XAdES*: an Object with the forged document", "*", "passes it", "what stands in the signature and is not signed could be taken for the document (signature wrapping)."),
		stricter("damaged: *XAdES*: a forged document in KeyInfo", "*", "passes it", "as above."),
		stricter("damaged: XAdES detached*: a file renamed", "*", "passes it", "DSS finds files by their digest. What a signature names as plan.svg is not plan.png."),
		stricter("damaged: ASiC-E with XAdES*: a document renamed", "*", "passes its archive timestamp", "as above."),
		stricter("damaged: XAdES detached*: two files for each other", "*", "passes it", "as above: each under the name that it was signed with."),
		stricter("damaged: XAdES detached*: a file more", "*", "passes it", "a file that was given as signed, and is not, keeps the whole from passing."),
		stricter("damaged: *XAdES*: the signature twice", "not found", "passes timestamps in it", "two signatures have one identifier, so we judge nothing in either."),
		difference{
			judge: "DSS", files: "damaged: *XAdES*", what: "* is XAdES-BASELINE-LTA there, XAdES-BASELINE-LT here",
			says: "B-LTA, not B-LT",
			why:  "As for PDF: it names the form of the signature. Our level counts an archive timestamp only if it holds; here it is the one that was damaged, and both fail it.",
		},
		difference{
			judge: "DSS", files: "damaged: *XAdES*: KeyInfo of another", what: "* does not hold there, but here: not found",
			says: "takes it for a signature of another",
			why:  "The signed properties say whose certificate it is, and we find it in the evidence. The file fails with us, too, at the archive timestamp, which covers KeyInfo.",
		},
	)
}
