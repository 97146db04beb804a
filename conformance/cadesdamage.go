package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"milterd/signature/cms"
)

// messageDamages harm a CMS; the other one is of another signatory over the same.
var messageDamages = []struct {
	name string
	part func(m *cms.Message) []byte // whose last byte but a few is changed
	do   func(der, other []byte) ([]byte, error)
}{
	{name: "a byte of the signature value", part: func(m *cms.Message) []byte { return m.Value }},
	{name: "a byte of the signed attributes", part: func(m *cms.Message) []byte { return m.Attributes[4:] }},
	{name: "a byte of the signature's timestamp", part: func(m *cms.Message) []byte {
		if len(m.Timestamps) == 0 {
			return nil
		}
		return m.Timestamps[0]
	}},
	{name: "a byte of the archive timestamp", part: func(m *cms.Message) []byte {
		if len(m.Archives) == 0 {
			return nil
		}
		t, err := cms.ParseToken(m.Archives[0])
		if err != nil {
			return nil
		}
		return t.Value
	}},
	{name: "a byte of a CRL", part: func(m *cms.Message) []byte {
		if len(m.CRLs) == 0 {
			return nil
		}
		return m.CRLs[0]
	}},
	{name: "the message cut off", do: func(der, _ []byte) ([]byte, error) { return der[:len(der)-40], nil }},
	{name: "the timestamp of another signature", do: func(der, other []byte) ([]byte, error) {
		a, err := cms.ParseAll(der)
		if err != nil {
			return nil, err
		}
		b, err := cms.ParseAll(other)
		if err != nil {
			return nil, err
		}
		if len(a[0].Timestamps) > 0 || len(b[0].Timestamps) == 0 {
			return nil, errNotHere
		}
		return a[0].WithTimestamp(b[0].Timestamps[0])
	}},
}

// harm applies one of them.
func harm(i int, der, other []byte) ([]byte, error) {
	d := messageDamages[i]
	if d.do != nil {
		return d.do(der, other)
	}
	all, err := cms.ParseAll(der)
	if err != nil {
		return nil, err
	}
	part := d.part(all[0])
	at := bytes.Index(der, part)
	if len(part) == 0 || at < 0 {
		return nil, errNotHere
	}
	out := bytes.Clone(der)
	out[at+len(part)-5] ^= 1
	return out, nil
}

// fileDamages harm the files of a container. changed gives the names in their new
// order.
var fileDamages = []struct {
	name string
	do   func(names []string, files map[string][]byte) []string
}{
	{"a document changed", func(names []string, files map[string][]byte) []string {
		files[names[1]] = append(bytes.Clone(files[names[1]]), '!')
		return names
	}},
	{"a document added", func(names []string, files map[string][]byte) []string {
		files["annex.txt"] = []byte("And a million.")
		return append(names, "annex.txt")
	}},
	{"a document renamed", func(names []string, files map[string][]byte) []string {
		files["other.txt"] = files[names[1]]
		names[1] = "other.txt"
		return names
	}},
	{"a document taken out", func(names []string, _ map[string][]byte) []string { return slices.Delete(names, 1, 2) }},
	{"a document twice", func(names []string, _ map[string][]byte) []string { return append(names, names[1]) }},
	{"a manifest without a document", func(names []string, files map[string][]byte) []string {
		const manifest = "META-INF/ASiCManifest001.xml"
		m := files[manifest]
		at := bytes.Index(m, []byte("<asic:DataObjectReference"))
		if at < 0 {
			return nil
		}
		files[manifest] = slices.Concat(m[:at], m[at+bytes.IndexByte(m[at:], '\n')+1:])
		return names
	}},
	{"the archive manifest's timestamp taken out", func(names []string, files map[string][]byte) []string {
		const token = "META-INF/timestamp001.tst"
		if files[token] == nil {
			return nil
		}
		return slices.DeleteFunc(names, func(n string) bool { return n == token })
	}},
	{"mimetype of something else", func(names []string, files map[string][]byte) []string {
		files["mimetype"] = []byte("application/epub+zip")
		return names
	}},
}

// damagedBeside adds damaged copies of one signatory's files in each form.
func (m *maker) damagedBeside() error {
	for _, f := range forms {
		for _, level := range []string{"B-B with the published CRLs", "B-T with the published CRLs", "B-LTA"} {
			damaged, data, other, err := m.pair(string(f), "P-256, "+level, "RSA-3072, B-T with the published CRLs")
			if err != nil {
				return err
			}
			if err := m.damageBeside(f, damaged, data, other); err != nil {
				return fmt.Errorf("%s: %w", damaged.base, err)
			}
		}
	}
	return nil
}

func (m *maker) damageBeside(f form, damaged file, data, other []byte) error {
	// In ASiC-S nobody signs the document's name.
	may := func(name string) bool { return f == simpleForm && name == "a document renamed" }
	put := func(name string, out []byte, err error, content string) error {
		if errors.Is(err, errNotHere) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		one := damaged
		one.name, one.may, one.content = name, may(name), content
		_, err = m.add(one, out)
		return err
	}
	if f == detachedForm || f == attachedForm {
		for i, d := range messageDamages {
			out, err := harm(i, data, other)
			if err := put(d.name, out, err, damaged.content); err != nil {
				return err
			}
		}
		if f == attachedForm {
			return put("the content changed", bytes.Replace(data, []byte("agree"), []byte("deny!"), 1), nil, "")
		}
		content := filepath.Join(m.dir, "other-content.txt")
		if err := os.WriteFile(content, []byte("We, the undersigned, deny!.\r\n"), 0o600); err != nil {
			return err
		}
		return put("other content", data, nil, content)
	}
	names, files, err := unzip(data)
	if err != nil {
		return err
	}
	_, theirs, err := unzip(other)
	if err != nil {
		return err
	}
	signature := names[slices.IndexFunc(names, func(n string) bool { return strings.HasSuffix(n, ".p7s") })]
	again := func(name string, change func(names []string, files map[string][]byte) []string) error {
		copies := map[string][]byte{}
		for n, b := range files {
			copies[n] = b
		}
		changed := change(slices.Clone(names), copies)
		if changed == nil {
			return nil
		}
		out, err := rezip(changed, copies)
		return put(name, out, err, "")
	}
	for i, d := range messageDamages {
		out, err := harm(i, files[signature], theirs[signature])
		if errors.Is(err, errNotHere) {
			continue
		}
		if err != nil {
			return err
		}
		if err := again(d.name, func(names []string, files map[string][]byte) []string { files[signature] = out; return names }); err != nil {
			return err
		}
	}
	for _, d := range fileDamages {
		if err := again(d.name, d.do); err != nil {
			return err
		}
	}
	if err := put("bytes after the end", append(bytes.Clone(data), "more"...), nil, ""); err != nil {
		return err
	}
	return put("bytes before the start", append([]byte("more"), data...), nil, "")
}

// What is declared of these files; differences.go has what is declared of PDFs.
func init() {
	for _, files := range []string{"CAdES *", "ASiC-*"} {
		declared = append(declared, difference{
			judge: "milterd", files: files + ": *, B-T without revocation data", what: "* is CAdES-BASELINE-B, want CAdES-BASELINE-T",
			says: "B-B, not B-T",
			why:  "As for PDF: our level is what is reached, and without revocation data for the timestamp's authority no time is proven.",
		})
	}
	declared = append(declared,
		difference{
			judge: "openssl", files: "ASiC-E: *time from outside, B-LTA renewed", what: "2 of 3 verify: *",
			says: "does not read one timestamp",
			why: "`openssl ts` reads tokens as PKCS #7, which knows CRLs only. That authority answers by OCSP, and EN 319 162-1, annex A.7, has the answer put into " +
				"the older token when it is renewed (RFC 5940). DSS and we read it.",
		},
		difference{
			judge: "DSS", files: "damaged: *", what: "* holds there, not here: * unsigned attribute that it covers is gone or changed",
			says: "passes the archive timestamp",
			why:  "We are stricter: EN 319 122-1, 5.5.2, has a hash in the index for each unsigned attribute, and one whose attribute is not there any more is a sign that somebody was at work.",
		},
		difference{
			judge: "DSS", files: "damaged: *", what: "* is CAdES-BASELINE-LTA there, CAdES-BASELINE-LT here",
			says: "B-LTA, not B-LT",
			why:  "As for PDF: it names the form. Our level counts an archive timestamp only if it holds; here it is the one that was damaged, and both fail it.",
		},
		difference{
			judge: "DSS", files: "damaged: ASiC-*: bytes after the end", what: "* holds there, not here: opening the container: *",
			says: "passes it",
			why:  "We are stricter: bytes outside of a ZIP file's entries are another file to another reader.",
		},
		difference{
			judge: "DSS", files: "damaged: ASiC-E*: a document twice", what: "* holds there, not here: opening the container: *",
			says: "passes it",
			why:  "We are stricter: of two files with one name some readers take the first, some the second.",
		},
		difference{
			judge: "DSS", files: "damaged: ASiC-*: mimetype of something else", what: "* holds there, not here: opening the container: *",
			says: "passes it",
			why:  "We are stricter: a file that calls itself something else than an ASiC container (EN 319 162-1, annex A.1) will be opened as that.",
		},
		difference{
			judge: "DSS", files: "damaged: ASiC-E*: a document added", what: "* holds there, not here: * SIG_CONSTRAINTS_FAILURE: *",
			says: "passes it with a warning",
			why:  "We are stricter: its default policy only warns of a file that no signature covers; a reader sees it among those that are signed.",
		},
		difference{
			judge: "DSS", files: "damaged: ASiC-E*: the archive manifest's timestamp taken out", what: "* holds there, not here: * SIG_CONSTRAINTS_FAILURE: *",
			says: "passes it as B-LT",
			why:  "We are stricter: the archive manifest is left over, and nothing says whose it is. With both taken out it is a B-LT to us, too.",
		},
	)
}
