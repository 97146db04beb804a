package main

import (
	"archive/zip"
	"bytes"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"milterd/pki"
	"milterd/signature/asic"
	"milterd/signature/cades"
	"milterd/signature/cms"
	"milterd/validate"
)

// form is a way to put CAdES signatures beside what they sign.
type form string

const (
	detachedForm form = "CAdES detached"
	attachedForm form = "CAdES attached"
	simpleForm   form = "ASiC-S"
	extendedForm form = "ASiC-E"
)

var forms = []form{detachedForm, attachedForm, simpleForm, extendedForm}

func (f form) ext() string {
	return map[form]string{detachedForm: ".p7s", attachedForm: ".p7m", simpleForm: ".asics", extendedForm: ".asice"}[f]
}

// plainFiles are what gets signed: one for all forms but ASiC-E.
var plainFiles = []asic.File{
	{Name: "Vertrag über Öl.txt", MIME: "text/plain", Content: []byte("We, the undersigned, agree.\r\n")},
	{Name: "plans/house 100%.svg", MIME: "image/svg+xml", Content: []byte("<svg xmlns=\"http://www.w3.org/2000/svg\"/>\n")},
}

// signatory signs with a kind of key.
type signatory struct {
	pki.Identity
	alg cms.Algorithm
}

// cades makes every level in every form, by one signatory and by three, with RSA
// and ECDSA, with its own time and another's; then damages some.
func (m *maker) cades(rsa, ec, outside *house) error {
	var work []func(*maker) error
	for _, c := range []struct {
		h     *house
		name  string
		kinds []string // of the signatories
	}{
		{rsa, "RSA-3072", []string{"RSA-3072"}}, {rsa, "RSA-2048, RSA-4096 SHA-512 and RSA-2048 PSS", []string{"RSA-2048", "RSA-4096 SHA-512", "RSA-2048 PSS"}},
		{ec, "P-256", []string{"P-256"}}, {ec, "P-256, P-384 and P-521", []string{"P-256", "P-384", "P-521"}},
		{outside, "RSA-3072, time from outside", []string{"RSA-3072"}},
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
			for _, f := range forms {
				if err := m.besideLadder(c.h, f, c.name, who); err != nil {
					return fmt.Errorf("%s, %s: %w", f, c.name, err)
				}
			}
			return nil
		})
	}
	if err := m.together(work...); err != nil {
		return err
	}
	return m.damagedBeside()
}

// besideLadder adds B-B, B-T, B-LT, B-LTA and a renewed B-LTA in one form.
func (m *maker) besideLadder(h *house, f form, name string, who []signatory) error {
	lists, err := h.lists(m.ctx, m.dir)
	if err != nil {
		return err
	}
	content := ""
	if f == detachedForm {
		content = filepath.Join(m.dir, "content.txt")
		if err := os.WriteFile(content, plainFiles[0].Content, 0o600); err != nil {
			return err
		}
	}
	times := &lastToken{Timestamper: h.time}
	bare, err := m.signBeside(f, who, nil)
	if err != nil {
		return err
	}
	stamped, err := m.signBeside(f, who, times)
	if err != nil {
		return err
	}
	lt, err := m.evidenceBeside(h, f, who, times, stamped)
	if err != nil {
		return err
	}
	lta, err := m.archiveBeside(f, lt, times)
	if err != nil {
		return err
	}
	renewed, err := m.evidenceBeside(h, f, who, times, lta)
	if err != nil {
		return err
	}
	if renewed, err = m.archiveBeside(f, renewed, times); err != nil {
		return err
	}
	stamps := len(who) // of an archive: one for each signer, but one over all of ASiC-E
	if f == extendedForm {
		stamps = 1
	}
	base := file{group: string(f), roots: h.roots, ext: f.ext(), content: content, signatures: len(who)}
	for i, c := range []struct {
		level  validate.Level
		data   []byte
		suffix string
		stamps int
	}{
		{validate.CAdESLevelB, bare, " with the published CRLs", 0}, {validate.CAdESLevelT, stamped, " with the published CRLs", 0},
		{validate.CAdESLevelLT, lt, "", 0}, {validate.CAdESLevelLTA, lta, "", stamps}, {validate.CAdESLevelLTA, renewed, " renewed", 2 * stamps},
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

// signBeside has everybody sign, none seeing another's signature.
func (m *maker) signBeside(f form, who []signatory, ts cms.Timestamper) ([]byte, error) {
	kind, files := asic.Simple, plainFiles[:1]
	if f == extendedForm {
		kind, files = asic.Extended, plainFiles
	}
	var sigs []asic.Signature
	var all [][]byte
	for i, w := range who {
		p := cades.Params{Certificate: w.Leaf(), Chain: w.Chain[1:], Algorithm: w.alg, Time: time.Now(), MIME: plainFiles[0].MIME}
		if f == simpleForm || f == extendedForm {
			s, err := asic.Sign(m.ctx, kind, files, i+1, p, w.Key, ts)
			if err != nil {
				return nil, err
			}
			sigs = append(sigs, *s)
			continue
		}
		der, err := cades.Sign(m.ctx, plainFiles[0].Content, p, w.Key, ts)
		if err != nil {
			return nil, err
		}
		all = append(all, der)
	}
	if len(sigs) > 0 {
		return asic.Build(kind, files, sigs)
	}
	der, err := cades.Join(all...)
	if err == nil && f == attachedForm {
		der, err = cades.Attach(der, plainFiles[0].Content)
	}
	return der, err
}

func (m *maker) evidenceBeside(h *house, f form, who []signatory, times *lastToken, data []byte) ([]byte, error) {
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
	evidence := cades.Evidence{Certs: e.Certificates, CRLs: e.CRLs, OCSPs: e.OCSPs}
	if f == simpleForm || f == extendedForm {
		return asic.AddEvidence(data, evidence)
	}
	return cades.AddEvidence(data, evidence)
}

func (m *maker) archiveBeside(f form, data []byte, ts cms.Timestamper) ([]byte, error) {
	switch f {
	case simpleForm, extendedForm:
		return asic.Archive(m.ctx, data, ts)
	case attachedForm:
		return cades.Archive(m.ctx, data, nil, ts)
	}
	return cades.Archive(m.ctx, data, plainFiles[0].Content, ts)
}

// nameBeside gives signatures the names that the DSS judge has for them.
func nameBeside(r *validate.Result) {
	var stamps []*validate.Signature
	for i := range r.Signatures {
		s := &r.Signatures[i]
		if s.Kind != validate.KindSignature {
			stamps = append(stamps, s)
			continue
		}
		name, _, _ := strings.Cut(s.Field, ", signer ")
		if r.Format == validate.CAdES || r.Format == validate.XAdES {
			name = ""
		}
		serial := ""
		if n, ok := new(big.Int).SetString(s.Serial, 16); ok {
			serial = n.String()
		}
		s.Field = name + "/" + serial
	}
	slices.SortStableFunc(stamps, func(a, b *validate.Signature) int { return a.Claimed.Compare(b.Claimed) })
	for i, s := range stamps {
		s.Field, s.Kind = fmt.Sprintf("timestamp %d", i+1), validate.KindArchive
	}
}

// secondBeside asks openssl about each message and each timestamp over an archive.
func secondBeside(dir string, f *file, data []byte) (programs, error) {
	var p programs
	var roots []byte
	for _, path := range f.roots {
		b, err := os.ReadFile(path)
		if err != nil {
			return p, err
		}
		roots = append(roots, b...)
	}
	put := func(name string, b []byte) (string, error) {
		path := filepath.Join(dir, "openssl-"+name)
		return path, os.WriteFile(path, b, 0o600)
	}
	root, err := put("roots", roots)
	if err != nil {
		return p, err
	}
	ask := func(n int, args ...string) {
		if out, err := exec.Command("openssl", args...).CombinedOutput(); err != nil {
			p.problems = append(p.problems, "openssl: "+firstLine(out, err))
		} else {
			p.openssl += n
		}
	}
	message := func(der, content []byte) error {
		value, err := put("value", der)
		if err != nil {
			return err
		}
		args := []string{"cms", "-verify", "-cades", "-binary", "-inform", "DER", "-purpose", "any", "-partial_chain", "-CAfile", root, "-out", os.DevNull, "-in", value}
		if content != nil {
			path, err := put("data", content)
			if err != nil {
				return err
			}
			args = append(args, "-content", path)
		}
		all, err := cms.ParseAll(der)
		if err != nil { // openssl reads BER, and what is broken otherwise; one answer then
			all = []*cms.Message{{}}
		}
		p.signatures += len(all)
		ask(len(all), args...)
		// The imprint is the token's own: what openssl says of archive timestamps is
		// that their signatures hold.
		for _, s := range all {
			for _, token := range s.Archives {
				t, err := cms.ParseToken(token)
				if err != nil {
					continue
				}
				path, err := put("token", token)
				if err != nil {
					return err
				}
				p.stamps++
				ask(1, "ts", "-verify", "-token_in", "-partial_chain", "-CAfile", root, "-digest", hex.EncodeToString(t.Imprint), "-in", path)
			}
		}
		return nil
	}
	if f.ext == detachedForm.ext() || f.ext == attachedForm.ext() {
		var content []byte
		if f.content != "" {
			if content, err = os.ReadFile(f.content); err != nil {
				return p, err
			}
		}
		return p, message(data, content)
	}
	names, files, err := unzip(data)
	if err != nil {
		p.problems = append(p.problems, err.Error())
		return p, nil
	}
	for _, name := range names {
		var over []byte // of ASiC-S: its document, whatever its name
		for n, b := range files {
			if n != "mimetype" && !strings.HasPrefix(n, "META-INF/") {
				over = b
			}
		}
		if f.ext == extendedForm.ext() {
			over = []byte{}
			for n, b := range files { // the manifest that names it
				if strings.HasSuffix(n, ".xml") && bytes.Contains(b, []byte(`SigReference URI="`+name+`"`)) {
					over = b
				}
			}
		}
		switch {
		case strings.HasSuffix(name, ".p7s"):
			err = message(files[name], over)
		case strings.HasSuffix(name, ".tst"):
			var value, path string
			if value, err = put("value", files[name]); err == nil {
				path, err = put("data", over)
			}
			p.stamps++
			ask(1, "ts", "-verify", "-token_in", "-partial_chain", "-CAfile", root, "-data", path, "-in", value)
		}
		if err != nil {
			return p, err
		}
	}
	return p, nil
}

// unzip reads as most programs do: by archive/zip.
func unzip(data []byte) (names []string, files map[string][]byte, err error) {
	r, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, nil, err
	}
	files = map[string][]byte{}
	for _, f := range r.File {
		in, err := f.Open()
		if err != nil {
			return nil, nil, err
		}
		if files[f.Name], err = io.ReadAll(in); err != nil {
			return nil, nil, err
		}
		names = append(names, f.Name)
	}
	return names, files, nil
}

// rezip writes files as archive/zip does, mimetype as other readers want it: first,
// stored, with its size in front.
func rezip(names []string, files map[string][]byte) ([]byte, error) {
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for i, name := range names {
		h, create := &zip.FileHeader{Name: name, Method: zip.Deflate}, w.CreateHeader
		if i == 0 {
			h.Method, h.CRC32, create = zip.Store, crc32.ChecksumIEEE(files[name]), w.CreateRaw
			h.CompressedSize64, h.UncompressedSize64 = uint64(len(files[name])), uint64(len(files[name]))
		}
		part, err := create(h)
		if err != nil {
			return nil, err
		}
		if _, err := part.Write(files[name]); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

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
	find := func(group, name string) *file {
		i := slices.IndexFunc(m.files, func(f *file) bool { return f.group == group && f.name == name })
		if i < 0 {
			return nil
		}
		return m.files[i]
	}
	for _, f := range forms {
		for _, level := range []string{"B-B with the published CRLs", "B-T with the published CRLs", "B-LTA"} {
			base, from := find(string(f), "P-256, "+level), find(string(f), "RSA-3072, B-T with the published CRLs")
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
			if err := m.damageBeside(f, base, from, data, other); err != nil {
				return fmt.Errorf("%s: %w", base, err)
			}
		}
	}
	return nil
}

func (m *maker) damageBeside(f form, base, from *file, data, other []byte) error {
	roots, crls := slices.Concat(base.roots, from.roots), slices.Concat(base.crls, from.crls)
	// In ASiC-S nobody signs the document's name.
	may := func(name string) bool { return f == simpleForm && name == "a document renamed" }
	put := func(name string, damaged []byte, err error, content string) error {
		if errors.Is(err, errNotHere) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		_, err = m.add(file{group: "damaged: " + base.group + ", " + base.name, name: name, roots: roots, crls: crls, base: base, may: may(name), ext: base.ext, content: content}, damaged)
		return err
	}
	if f == detachedForm || f == attachedForm {
		for i, d := range messageDamages {
			out, err := harm(i, data, other)
			if err := put(d.name, out, err, base.content); err != nil {
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
