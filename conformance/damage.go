package main

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"

	"milterd/signature/cms"
	"milterd/signature/pdf/cos"
)

// damage is one way to harm a file.
type damage struct {
	name string
	may  bool // go unnoticed: nothing that is signed or shown is touched
	do   func(p *paper) ([]byte, error)
}

var errNotHere = errors.New("this file has no such thing")

var damages = []damage{
	{name: "a byte of the oldest revision's first stream", do: func(p *paper) ([]byte, error) {
		return p.flip(bytes.Index(p.data, []byte("stream")) + 40), nil
	}},
	{name: "a byte of the newest revision", do: func(p *paper) ([]byte, error) {
		return p.flip(p.last().digits + 2*p.last().room + 20), nil
	}},
	{name: "a comment after the end", do: func(p *paper) ([]byte, error) {
		return slices.Concat(p.data, []byte("% more\n")), nil
	}},
	{name: "64 KB of zeros after the end", do: func(p *paper) ([]byte, error) {
		return slices.Concat(p.data, make([]byte, 64<<10)), nil
	}},
	{name: "another file after the end", do: func(p *paper) ([]byte, error) {
		return slices.Concat(p.data, p.other.data), nil
	}},
	{name: "the last 100 bytes cut off", do: func(p *paper) ([]byte, error) {
		return p.data[:len(p.data)-100], nil
	}},
	{name: "a revision with other content on page 1", do: func(p *paper) ([]byte, error) {
		return p.update(func(f *cos.File, catalog cos.Dict, u *cos.Update) error {
			ref, page, err := firstPage(f, catalog)
			if err != nil {
				return err
			}
			page["Contents"] = u.Add(&cos.Stream{Dict: cos.Dict{}, Raw: []byte("0 0 600 800 re f")})
			u.Set(ref, page)
			return nil
		})
	}},
	{name: "a revision with a note on page 1", do: func(p *paper) ([]byte, error) {
		return p.update(func(f *cos.File, catalog cos.Dict, u *cos.Update) error {
			ref, page, err := firstPage(f, catalog)
			if err != nil {
				return err
			}
			annots, err := f.Array(page["Annots"])
			if err != nil {
				return err
			}
			note := u.Add(cos.Dict{"Type": cos.Name("Annot"), "Subtype": cos.Name("FreeText"), "Rect": cos.Array{50, 700, 500, 800},
				"Contents": cos.Text("Pay a million"), "DA": cos.Text("/Helv 24 Tf 0 g")})
			page["Annots"] = append(slices.Clone(annots), note)
			u.Set(ref, page)
			return nil
		})
	}},
	{name: "a revision that changes nothing", may: true, do: func(p *paper) ([]byte, error) {
		return p.update(func(f *cos.File, catalog cos.Dict, u *cos.Update) error {
			u.Set(f.Root(), catalog)
			return nil
		})
	}},
	{name: "a revision without the DSS", do: func(p *paper) ([]byte, error) {
		return p.update(func(f *cos.File, catalog cos.Dict, u *cos.Update) error {
			if catalog["DSS"] == nil {
				return errNotHere
			}
			delete(catalog, "DSS")
			u.Set(f.Root(), catalog)
			return nil
		})
	}},
	{name: "the DSS renamed in place", do: func(p *paper) ([]byte, error) {
		if !bytes.Contains(p.data, []byte("/DSS ")) {
			return nil, errNotHere
		}
		return bytes.ReplaceAll(p.data, []byte("/DSS "), []byte("/DSX ")), nil
	}},
	{name: "a byte of a CRL in the DSS", do: at(inDSS("CRLs"))},
	{name: "a byte of an OCSP response in the DSS", do: at(inDSS("OCSPs"))},
	{name: "a byte of the signature value", do: func(p *paper) ([]byte, error) {
		m, err := cms.Parse(p.first().der)
		if err != nil {
			return nil, err
		}
		return p.within(p.first(), m.Value)
	}},
	{name: "a byte of the signed attributes", do: func(p *paper) ([]byte, error) {
		m, err := cms.Parse(p.first().der)
		if err != nil {
			return nil, err
		}
		return p.within(p.first(), m.Attributes[4:])
	}},
	{name: "a byte of the signer's certificate", do: func(p *paper) ([]byte, error) {
		m, err := cms.Parse(p.first().der)
		if err != nil {
			return nil, err
		}
		c, err := m.SignerCertificate()
		if err != nil {
			return nil, err
		}
		return p.within(p.first(), c.Signature)
	}},
	{name: "a byte of the timestamp's signature", do: func(p *paper) ([]byte, error) {
		_, t, err := stamped(p.first())
		if err != nil {
			return nil, err
		}
		return p.within(p.first(), t.Message.Value)
	}},
	{name: "a byte of what the timestamp is over", do: func(p *paper) ([]byte, error) {
		_, t, err := stamped(p.first())
		if err != nil {
			return nil, err
		}
		return p.within(p.first(), t.Imprint)
	}},
	{name: "the timestamp of another file", do: func(p *paper) ([]byte, error) {
		m, _, err := stamped(p.first())
		if err != nil {
			return nil, err
		}
		from, _, err := stamped(p.other.first())
		if err != nil {
			return nil, err
		}
		signer, err := m.SignerCertificate()
		if err != nil {
			return nil, err
		}
		sd := cms.SignedData{Algorithm: m.Algorithm, Certificates: append([]*x509.Certificate{signer}, m.Certificates...), Attributes: m.Attributes, Timestamp: from.Timestamps[0]}
		der, err := sd.MarshalVerified(m.Value)
		if err != nil {
			return nil, err
		}
		return p.put(p.first(), der)
	}},
	{name: "a byte of the document timestamp", do: func(p *paper) ([]byte, error) {
		if !p.last().stamp {
			return nil, errNotHere
		}
		t, err := cms.ParseToken(p.last().der)
		if err != nil {
			return nil, err
		}
		return p.within(p.last(), t.Message.Value)
	}},
	{name: "the Contents of another file", do: func(p *paper) ([]byte, error) {
		return p.put(p.first(), p.other.first().der)
	}},
	{name: "the newest Contents of another file", do: func(p *paper) ([]byte, error) {
		return p.put(p.last(), p.other.last().der)
	}},
	{name: "a byte between the newest CMS and the end of Contents", do: func(p *paper) ([]byte, error) {
		return p.flip(p.last().digits + 2*p.last().room - 9), nil
	}},
	{name: "another digit in a ByteRange", do: func(p *paper) ([]byte, error) {
		at := p.first().from
		return p.flip(at + bytes.IndexByte(p.data[at:], ']') - 1 - trailingBlanks(p.data[at:])), nil
	}},
	{name: "another claimed time", do: func(p *paper) ([]byte, error) {
		begin := bytes.LastIndex(p.data[:p.first().digits], []byte(" obj"))
		at := bytes.Index(p.data[max(begin, 0):], []byte("(D:20"))
		if begin < 0 || at < 0 {
			return nil, errNotHere
		}
		return p.flip(begin + at + 6), nil
	}},
}

// at changes the byte at a place.
func at(where func(*paper) (int, error)) func(*paper) ([]byte, error) {
	return func(p *paper) ([]byte, error) {
		i, err := where(p)
		if err != nil {
			return nil, err
		}
		return p.flip(i), nil
	}
}

// harmed are the files that get damaged, each beside one to take from.
var harmed = []struct {
	group, name, other string
	damages            []damage
	spots              func(*paper) ([]spot, error) // nil: no single bytes
	atLeast            int                          // of the spots are there, else they are not what they are meant to be
}{
	{"key types", "P-256, B-T with the published CRLs", "P-384, B-T with the published CRLs", damages, nil, 0},
	{"key types", "RSA-3072, B-LT", "RSA-2048, B-LT", damages, nil, 0},
	{"product", "Standard, 1 signed, RSA-3072, sealed, B-LTA", "Standard, 3 signed, RSA-3072, sealed, B-LTA", damages, allSpots, 100},
	{"product", "Advanced, 3 signed, P-256, time from outside, sealed, B-LTA", "Standard, 3 signed, P-256, time from outside, sealed, B-LTA", damages, nil, 0},
	// It has cross-references in tables, and metadata.
	{"inputs", "libreoffice-pdfa2.pdf, sealed, B-LTA", "libreoffice-pdfa3.pdf, sealed, B-LTA", nil, func(*paper) ([]spot, error) { return structure, nil }, 25},
}

// made finds a good file.
func (m *maker) made(group, name string) (*file, error) {
	for _, f := range m.files {
		if f.group == group && f.name == name {
			return f, nil
		}
	}
	return nil, fmt.Errorf("no file %q", name)
}

// pair is what damaged copies of a good file have in common, its content, and that
// of another one to take from. Roots and CRLs are those of both: a stranger's
// certificate must not be what is noticed.
func (m *maker) pair(group, name, other string) (damaged file, data, theirs []byte, err error) {
	base, err := m.made(group, name)
	if err != nil {
		return file{}, nil, nil, err
	}
	from, err := m.made(group, other)
	if err != nil {
		return file{}, nil, nil, err
	}
	if data, err = os.ReadFile(base.path); err == nil {
		theirs, err = os.ReadFile(from.path)
	}
	return file{group: "damaged: " + base.group + ", " + base.name, roots: slices.Concat(base.roots, from.roots), crls: slices.Concat(base.crls, from.crls),
		base: base, ext: base.ext, content: base.content}, data, theirs, err
}

// damaged adds damaged copies of good files.
func (m *maker) damaged() error {
	for _, h := range harmed {
		base, err := m.made(h.group, h.name)
		if err != nil {
			return err
		}
		from, err := m.made(h.group, h.other)
		if err != nil {
			return err
		}
		p, err := readPaper(base)
		if err != nil {
			return fmt.Errorf("%s: %w", base, err)
		}
		if p.other, err = readPaper(from); err != nil {
			return fmt.Errorf("%s: %w", from, err)
		}
		roots := slices.Concat(base.roots, from.roots) // a stranger's certificate must not be what is noticed
		slices.Sort(roots)
		roots, crls := slices.Compact(roots), slices.Concat(base.crls, from.crls)
		slices.Sort(crls)
		crls = slices.Compact(crls)
		var named []string
		put := func(name string, may bool, data []byte) error {
			if slices.Contains(named, name) {
				return fmt.Errorf("%s: two damages are called %q", base, name)
			}
			named = append(named, name)
			if bytes.Equal(data, p.data) {
				return fmt.Errorf("%s: %s: nothing was changed", base, name)
			}
			_, err := m.add(file{group: "damaged: " + base.name, name: name, roots: roots, crls: crls, base: base, may: may}, data)
			return err
		}
		for _, d := range h.damages {
			data, err := d.do(p)
			if errors.Is(err, errNotHere) {
				continue
			}
			if err != nil {
				return fmt.Errorf("%s: %s: %w", base, d.name, err)
			}
			if err := put(d.name, d.may, data); err != nil {
				return err
			}
		}
		if h.spots == nil {
			continue
		}
		spots, err := h.spots(p)
		if err != nil {
			return fmt.Errorf("%s: %w", base, err)
		}
		tried := 0
		for _, s := range spots {
			i, err := s.at(p)
			if errors.Is(err, errNotHere) {
				continue
			}
			if err != nil {
				return fmt.Errorf("%s: %s: %w", base, s.name, err)
			}
			if err := put("a byte: "+s.name, s.spare, p.flip(i)); err != nil {
				return err
			}
			tried++
		}
		if tried < h.atLeast {
			return fmt.Errorf("%s: %d places for single bytes, want %d at least", base, tried, h.atLeast)
		}
		if err := put("a digit of Contents that is none", false, p.spoil(p.last().digits+100)); err != nil {
			return err
		}
	}
	return nil
}

// allSpots are all places of single bytes: fixed kinds, so the same in every run.
func allSpots(p *paper) ([]spot, error) {
	oldest, err := messageSpots("oldest", p.first())
	if err != nil {
		return nil, err
	}
	for i := range oldest { // what came later covers it
		oldest[i].spare = false
	}
	newest, err := messageSpots("newest", p.last())
	if err != nil {
		return nil, err
	}
	return slices.Concat(structure, around("oldest", (*paper).first), oldest, around("newest", (*paper).last), newest), nil
}
