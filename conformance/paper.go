package main

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"

	"milterd/signature/cms"
	"milterd/signature/pdf/cos"
)

// place is where a signature or document timestamp stands in a file.
type place struct {
	digits int // offset of the first hex digit of Contents
	room   int // bytes that it can hold
	from   int // offset of ByteRange's first digit
	der    []byte
	stamp  bool
}

// paper is a good file that gets damaged, and another one to take from.
type paper struct {
	data   []byte
	places []place
	other  *paper
}

func readPaper(f *file) (*paper, error) {
	data, err := os.ReadFile(f.path)
	if err != nil {
		return nil, err
	}
	found, err := find(data)
	if err != nil {
		return nil, err
	}
	p := &paper{data: data}
	for i, m := range byteRange.FindAllIndex(data, -1) {
		digits := []byte("<" + hex.EncodeToString(found[i].value))
		value := max(bytes.Index(data, digits), bytes.Index(data, bytes.ToUpper(digits)))
		if value < 0 {
			return nil, errors.New("Contents is not where it should be")
		}
		end := value + bytes.IndexByte(data[value:], '>')
		p.places = append(p.places, place{digits: value + 1, room: (end - value - 1) / 2, from: m[0], der: found[i].value, stamp: found[i].stamp})
	}
	return p, nil
}

// first is the oldest signature; last the newest of everything.
func (p *paper) first() place { return p.places[0] }
func (p *paper) last() place  { return p.places[len(p.places)-1] }

// flip changes one bit. Of a hexadecimal digit in Contents it changes the value, so
// that a digit stays a digit, and runs do not differ by what letters they meet.
func (p *paper) flip(at int) []byte {
	out := bytes.Clone(p.data)
	for _, pl := range p.places {
		if at >= pl.digits && at < pl.digits+2*pl.room {
			v, err := strconv.ParseUint(string(out[at]), 16, 8)
			if err != nil {
				panic(err) // readPaper has found digits there
			}
			out[at] = strconv.FormatUint(v^1, 16)[0]
			return out
		}
	}
	out[at] ^= 1
	return out
}

// put writes another DER into a place, with zeros behind it.
func (p *paper) put(at place, der []byte) ([]byte, error) {
	if len(der) > at.room {
		return nil, fmt.Errorf("%d bytes for a place of %d", len(der), at.room)
	}
	out := bytes.Clone(p.data)
	padded := make([]byte, at.room)
	copy(padded, der)
	hex.Encode(out[at.digits:], padded)
	return out, nil
}

// within changes one byte of a part of a place's DER, in the part's middle.
func (p *paper) within(at place, part []byte) ([]byte, error) {
	i := bytes.Index(at.der, part)
	if i < 0 || len(part) == 0 {
		return nil, errors.New("no such part")
	}
	der := bytes.Clone(at.der)
	der[i+len(part)/2] ^= 1
	return p.put(at, der)
}

// update adds a revision.
func (p *paper) update(change func(f *cos.File, catalog cos.Dict, u *cos.Update) error) ([]byte, error) {
	f, err := cos.Open(p.data)
	if err != nil {
		return nil, err
	}
	catalog, err := f.Catalog()
	if err != nil {
		return nil, err
	}
	u := f.NewUpdate()
	if err := change(f, catalog.Clone(), u); err != nil {
		return nil, err
	}
	suffix, err := u.Bytes()
	return slices.Concat(p.data, suffix), err
}

// spoil writes what is no hexadecimal digit.
func (p *paper) spoil(at int) []byte {
	out := bytes.Clone(p.data)
	out[at] = 'g'
	return out
}

func trailingBlanks(b []byte) int {
	end := bytes.IndexByte(b, ']')
	return end - len(bytes.TrimRight(b[:end], " "))
}

func firstPage(f *cos.File, catalog cos.Dict) (cos.Ref, cos.Dict, error) {
	var o cos.Object = catalog["Pages"]
	for {
		d, err := f.Dict(o)
		if err != nil {
			return cos.Ref{}, nil, err
		}
		kids, err := f.Array(d["Kids"])
		if err != nil {
			return cos.Ref{}, nil, err
		}
		if len(kids) == 0 {
			ref, ok := o.(cos.Ref)
			if !ok {
				return cos.Ref{}, nil, errors.New("a page that is no object of its own")
			}
			return ref, d.Clone(), nil
		}
		o = kids[0]
	}
}

// stamped gives a signature's message with its timestamp.
func stamped(at place) (*cms.Message, *cms.Token, error) {
	m, err := cms.Parse(at.der)
	if err != nil {
		return nil, nil, err
	}
	if len(m.Timestamps) == 0 {
		return nil, nil, errNotHere
	}
	t, err := cms.ParseToken(m.Timestamps[0])
	return m, t, err
}
