package main

import (
	"archive/zip"
	"bytes"
	"crypto/x509"
	"encoding/hex"
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
	stamps := len(who) // of an archive: one for each signer, but one over all of ASiC-E
	if f == extendedForm {
		stamps = 1
	}
	base := file{group: string(f), roots: h.roots, ext: f.ext(), content: content, signatures: len(who)}
	levels := [4]validate.Level{validate.CAdESLevelB, validate.CAdESLevelT, validate.CAdESLevelLT, validate.CAdESLevelLTA}
	return m.climb(base, name, lists, levels, stamps, climber{
		sign:     func(stamped bool) ([]byte, error) { return m.signBeside(f, who, times.only(stamped)) },
		evidence: func(data []byte) ([]byte, error) { return m.evidenceBeside(h, f, who, times, data) },
		archive:  func(data []byte) ([]byte, error) { return m.archiveBeside(f, data, times) },
	})
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
