package main

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"milterd/signature/asic"
	"milterd/signature/cms"
	"milterd/signature/xades"
	"milterd/validate"
)

const (
	xmlExt        = ".xml"
	envelopedForm = "XAdES enveloped"
	detachedXML   = "XAdES detached"
	asicXML       = "ASiC-E with XAdES"
)

// xmlFiles are what a detached signature covers.
var xmlFiles = []xades.File{
	{Name: "Vertrag, 100% Öl.txt", MIME: "text/plain", Content: []byte("We, the undersigned, agree.\r\n")},
	{Name: "plan.svg", MIME: "image/svg+xml", Content: []byte("<svg xmlns=\"http://www.w3.org/2000/svg\"/>\n")},
}

// xades makes every level, enveloped and detached, by one signatory and by
// several, with RSA and ECDSA, with its own time and another's; then damages some.
func (m *maker) xades(rsa, ec, outside *house) error {
	var work []func(*maker) error
	for _, c := range []struct {
		h     *house
		name  string
		kinds []string // of the signatories
		doc   string   // sample
	}{
		{rsa, "RSA-3072", []string{"RSA-3072"}, "invoice"},
		{rsa, "RSA-4096 SHA-512 and RSA-3072 SHA-384", []string{"RSA-4096 SHA-512", "RSA-3072 SHA-384"}, "prefixes"},
		{rsa, "RSA-2048 PSS", []string{"RSA-2048 PSS"}, "empty"},
		{ec, "P-256", []string{"P-256"}, "invoice"},
		{ec, "P-256, P-384 and P-521", []string{"P-256", "P-384", "P-521"}, "prefixes"},
		{outside, "RSA-3072, time from outside", []string{"RSA-3072"}, "empty"},
	} {
		work = append(work, func(m *maker) error {
			var who []signatory
			for _, name := range c.kinds {
				k := kinds[slices.IndexFunc(kinds, func(k kind) bool { return k.name == name })]
				id, err := c.h.seal(k)
				if err != nil {
					return err
				}
				who = append(who, signatory{id, k.alg})
			}
			doc, err := os.ReadFile(filepath.Join("testdata", "xml", c.doc+xmlExt))
			if err != nil {
				return err
			}
			if err := m.xmlLadder(c.h, envelopedForm, c.name+", "+c.doc, who, doc); err != nil {
				return fmt.Errorf("%s, %s: %w", envelopedForm, c.name, err)
			}
			if err := m.xmlLadder(c.h, detachedXML, c.name, who[:1], nil); err != nil { // parallel signatures are files of their own
				return fmt.Errorf("%s, %s: %w", detachedXML, c.name, err)
			}
			if err := m.xmlLadder(c.h, asicXML, c.name, who, nil); err != nil {
				return fmt.Errorf("%s, %s: %w", asicXML, c.name, err)
			}
			return nil
		})
	}
	if err := m.together(work...); err != nil {
		return err
	}
	return m.damagedXML()
}

// xmlLadder adds B-B, B-T, B-LT, B-LTA and a renewed B-LTA; doc is what is
// enveloped.
func (m *maker) xmlLadder(h *house, form, name string, who []signatory, doc []byte) error {
	lists, err := h.lists(m.ctx, m.dir)
	if err != nil {
		return err
	}
	base := file{group: form, roots: h.roots, ext: xmlExt, signatures: len(who)}
	var files []xades.File
	if form == asicXML {
		base.ext = extendedForm.ext()
	}
	if form == detachedXML {
		files = xmlFiles
		if base.content, err = putContent(m.dir, files); err != nil {
			return err
		}
	}
	times := &lastToken{Timestamper: h.time}
	bare, _, err := m.signXML(form, doc, who, nil)
	if err != nil {
		return err
	}
	stamped, ids, err := m.signXML(form, doc, who, times)
	if err != nil {
		return err
	}
	lt, err := m.evidenceXML(h, who, ids, times, stamped)
	if err != nil {
		return err
	}
	lta, err := m.archiveXML(lt, ids, files, times)
	if err != nil {
		return err
	}
	renewed, err := m.evidenceXML(h, who, ids, times, lta)
	if err != nil {
		return err
	}
	if renewed, err = m.archiveXML(renewed, ids, files, times); err != nil {
		return err
	}
	for i, c := range []struct {
		level  validate.Level
		data   []byte
		suffix string
		stamps int
	}{
		{validate.XAdESLevelB, bare, " with the published CRLs", 0}, {validate.XAdESLevelT, stamped, " with the published CRLs", 0},
		{validate.XAdESLevelLT, lt, "", 0}, {validate.XAdESLevelLTA, lta, "", len(who)}, {validate.XAdESLevelLTA, renewed, " renewed", 2 * len(who)},
	} {
		one := base
		one.level, one.stamps, one.name = c.level, c.stamps, name+", "+short(c.level)+c.suffix
		if i < 2 {
			one.crls = lists
			if len(who) == 1 {
				alone := one
				alone.crls, alone.indication, alone.name = nil, indeterminate, name+", "+short(c.level)+" without revocation data"
				if _, err := m.add(alone, c.data); err != nil {
					return err
				}
			}
		}
		if _, err := m.add(one, c.data); err != nil {
			return err
		}
	}
	return nil
}

// putContent writes the signed files into a folder of their own and gives their
// paths, with colons between them.
func putContent(dir string, files []xades.File) (string, error) {
	dir, err := os.MkdirTemp(dir, "content-")
	if err != nil {
		return "", err
	}
	var paths []string
	for _, f := range files {
		path := filepath.Join(dir, f.Name)
		if err := os.WriteFile(path, f.Content, 0o600); err != nil {
			return "", err
		}
		paths = append(paths, path)
	}
	return strings.Join(paths, ":"), nil
}

// contents reads them again, by the names that signatures have for them.
func contents(f *file) (out []xades.File, err error) {
	for _, path := range strings.Split(f.content, ":") {
		if path == "" {
			continue
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		out = append(out, xades.File{Name: filepath.Base(path), Content: b})
	}
	return out, nil
}

// signXML has everybody prepare before anybody has signed, and sign one by one.
// A container has no identifiers: all its signatures are meant.
func (m *maker) signXML(form string, doc []byte, who []signatory, ts cms.Timestamper) (out []byte, ids []string, err error) {
	var preps []*xades.Preparation
	for _, w := range who {
		p := xades.Params{Certificate: w.Leaf(), Chain: w.Chain[1:], Algorithm: w.alg, Time: time.Now()}
		var prep *xades.Preparation
		switch form {
		case asicXML:
			prep, err = asic.PrepareXML(plainFiles, p)
		case detachedXML:
			prep, err = xades.Detach(xmlFiles, p)
		default:
			prep, err = xades.Envelope(doc, p)
		}
		if err != nil {
			return nil, nil, err
		}
		preps, ids = append(preps, prep), append(ids, prep.ID)
	}
	out = doc
	var elements [][]byte
	for i, prep := range preps {
		value, err := prep.SignWith(who[i].Key)
		if err != nil {
			return nil, nil, err
		}
		element, err := prep.Finish(m.ctx, value, ts)
		if err != nil {
			return nil, nil, err
		}
		if form != envelopedForm {
			elements = append(elements, element)
			continue
		}
		if out, err = xades.Put(out, element); err != nil {
			return nil, nil, err
		}
	}
	switch form {
	case asicXML:
		out, err = asic.BuildXML(plainFiles, elements)
		return out, nil, err
	case detachedXML:
		return elements[0], ids, nil
	}
	return out, ids, nil
}

func (m *maker) evidenceXML(h *house, who []signatory, ids []string, times *lastToken, data []byte) ([]byte, error) {
	t, err := cms.ParseToken(times.token)
	if err != nil {
		return nil, err
	}
	authority, err := t.CheckSigner()
	if err != nil {
		return nil, err
	}
	leaves, more := []*x509.Certificate{authority}, slices.Clone(t.Certificates)
	for _, w := range who {
		leaves, more = append(leaves, w.Leaf()), append(more, w.Chain[1:]...)
	}
	e, err := h.gather.Gather(m.ctx, t.Time, leaves, more)
	if err != nil {
		return nil, err
	}
	evidence := xades.Evidence{Certs: e.Certificates, CRLs: e.CRLs, OCSPs: e.OCSPs}
	if ids == nil {
		return asic.AddEvidenceXML(data, evidence)
	}
	for _, id := range ids {
		if data, err = xades.AddEvidence(data, id, evidence); err != nil {
			return nil, err
		}
	}
	return data, nil
}

func (m *maker) archiveXML(data []byte, ids []string, files []xades.File, ts cms.Timestamper) ([]byte, error) {
	if ids == nil {
		return asic.ArchiveXML(m.ctx, data, ts)
	}
	var err error
	for _, id := range ids {
		if data, err = xades.Archive(m.ctx, data, id, files, ts); err != nil {
			return nil, err
		}
	}
	return data, nil
}

// secondXML asks xmlsec1 about each signature, and openssl about each timestamp
// (its imprint is the token's own: that its signature holds is what openssl says).
func secondXML(dir string, f *file, data []byte) (programs, error) {
	var p programs
	var roots []byte
	for _, path := range f.roots {
		b, err := os.ReadFile(path)
		if err != nil {
			return p, err
		}
		roots = append(roots, b...)
	}
	root := filepath.Join(dir, "openssl-roots")
	if err := os.WriteFile(root, roots, 0o600); err != nil {
		return p, err
	}
	at := dir
	if f.content != "" { // where its files are
		first, _, _ := strings.Cut(f.content, ":")
		at = filepath.Dir(first)
	}
	if f.ext == xmlExt {
		return p, p.xmlsec(dir, at, f.path, root, f.roots)
	}
	names, files, err := unzip(data)
	if err != nil {
		p.problems = append(p.problems, err.Error())
		return p, nil
	}
	if at, err = os.MkdirTemp(dir, "unzipped-"); err != nil {
		return p, err
	}
	unpacked, err := os.OpenRoot(at)
	if err != nil {
		return p, err
	}
	defer unpacked.Close()
	for _, name := range names {
		if err := errors.Join(unpacked.MkdirAll(path.Dir(name), 0o700), unpacked.WriteFile(name, files[name], 0o600)); err != nil {
			return p, err
		}
	}
	for _, name := range names {
		if strings.HasPrefix(name, "META-INF/signatures") {
			if err := p.xmlsec(dir, at, filepath.Join(at, name), root, f.roots); err != nil {
				return p, err
			}
		}
	}
	return p, nil
}

// xmlsec asks about one XML file, in the folder at, where the files are that it
// signs.
func (p *programs) xmlsec(dir, at, file, root string, roots []string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	d, err := xades.Read(data)
	if err != nil {
		p.problems = append(p.problems, err.Error())
		return nil
	}
	for _, s := range d.Signatures {
		p.signatures++
		args := []string{"--verify", "--id-attr:Id", "http://uri.etsi.org/01903/v1.3.2#:SignedProperties", "--id-attr:Id", "http://www.w3.org/2000/09/xmldsig#:Signature", "--node-id", s.ID}
		for _, path := range roots {
			args = append(args, "--trusted-pem", path)
		}
		cmd := exec.Command("xmlsec1", append(args, file)...)
		cmd.Dir = at
		if out, err := cmd.CombinedOutput(); err != nil {
			p.problems = append(p.problems, "xmlsec1: "+firstLine(out, err))
		} else {
			p.openssl++
		}
		for _, stamp := range s.Archives {
			t, err := cms.ParseToken(stamp.Token)
			if err != nil {
				continue
			}
			p.stamps++
			path := filepath.Join(dir, "openssl-token")
			if err := os.WriteFile(path, stamp.Token, 0o600); err != nil {
				return err
			}
			if out, err := exec.Command("openssl", "ts", "-verify", "-token_in", "-partial_chain", "-CAfile", root, "-digest", hex.EncodeToString(t.Imprint), "-in", path).CombinedOutput(); err != nil {
				p.problems = append(p.problems, "openssl: "+firstLine(out, err))
			} else {
				p.openssl++
			}
		}
	}
	return nil
}

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
	find := func(group, name string) *file {
		i := slices.IndexFunc(m.files, func(f *file) bool { return f.group == group && f.name == name })
		if i < 0 {
			return nil
		}
		return m.files[i]
	}
	for _, c := range []struct{ group, name, other string }{
		{envelopedForm, "P-256, invoice, B-T with the published CRLs", "RSA-3072, invoice, B-T with the published CRLs"},
		{envelopedForm, "RSA-3072, invoice, B-LTA", "P-256, invoice, B-LTA"},
		{detachedXML, "P-256, B-LTA", "RSA-3072, B-LTA"},
		{asicXML, "P-256, B-LTA", "RSA-3072, B-LTA"},
	} {
		base, from := find(c.group, c.name), find(c.group, c.other)
		if base == nil || from == nil {
			return errors.New("no file to damage")
		}
		data, err := os.ReadFile(base.path)
		if err != nil {
			return err
		}
		other, err := os.ReadFile(from.path)
		if err != nil {
			return err
		}
		damaged := file{group: "damaged: " + base.group + ", " + base.name, roots: slices.Concat(base.roots, from.roots), crls: slices.Concat(base.crls, from.crls), base: base, ext: base.ext, content: base.content}
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
			judge: "milterd", files: "XAdES *, B-T without revocation data", what: "* is XAdES-BASELINE-B, want XAdES-BASELINE-T",
			says: "B-B, not B-T",
			why:  "As for PDF: our level is what is reached, DSS names the form. Without revocation data for the timestamp's authority no time is proven.",
		},
		difference{
			judge: "openssl", files: "XAdES *PSS*", what: "* verify: xmlsec1: *",
			says: "xmlsec1 does not verify RSA-PSS",
			why:  "Debian's xmlsec1 does not know RSA-PSS (RFC 9231, section 2.3.10); DSS does.",
		},
		stricter("damaged: XAdES enveloped*: a comment that cuts a text", "*", "passes it",
			"no signature covers comments, and one that cuts a text makes two values of it: for readers who take the first piece, and for others."),
		stricter("damaged: XAdES enveloped*: a CDATA section that cuts a text", "*", "passes it", "as with comments: the bounds of CDATA sections are not signed."),
		stricter("damaged: XAdES *: an Object with the forged document", "*", "passes it", "what stands in the signature and is not signed could be taken for the document (signature wrapping)."),
		stricter("damaged: XAdES *: a forged document in KeyInfo", "*", "passes it", "as above."),
		stricter("damaged: XAdES *", "* timestamp token: *", "passes the signature, fails its timestamp",
			"as for PDF, a timestamp that is not the signature's is a sign that somebody was at work."),
		stricter("damaged: XAdES detached*: a file renamed", "*", "passes it", "DSS finds files by their digest. What a signature names as plan.svg is not plan.png."),
		stricter("damaged: XAdES detached*: two files for each other", "*", "passes it", "as above: each under the name that it was signed with."),
		stricter("damaged: XAdES detached*: a file more", "*", "passes it", "a file that was given as signed, and is not, keeps the whole from passing."),
		stricter("damaged: XAdES enveloped*: the signature twice", "not found", "passes timestamps in it", "two signatures have one identifier, so we judge nothing in either."),
		difference{
			judge: "DSS", files: "damaged: XAdES *", what: "* is XAdES-BASELINE-LTA there, XAdES-BASELINE-LT here",
			says: "B-LTA, not B-LT",
			why:  "As for PDF: it names the form of the signature. Our level counts an archive timestamp only if it holds; here it is the one that was damaged, and both fail it.",
		},
		difference{
			judge: "DSS", files: "damaged: XAdES *: KeyInfo of another", what: "* does not hold there, but here: not found",
			says: "takes it for a signature of another",
			why:  "The signed properties say whose certificate it is, and we find it in the evidence. The file fails with us, too, at the archive timestamp, which covers KeyInfo.",
		},
	)
}
