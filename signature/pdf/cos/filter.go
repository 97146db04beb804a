package cos

import (
	"bytes"
	"compress/zlib"
	"fmt"
	"io"
	"sync"
)

// Decode undoes the filters of a stream: FlateDecode with PNG and TIFF
// predictors, ASCIIHexDecode, or none. Other filters are an error: object and
// cross-reference streams have no use for them.
func (f *File) Decode(st *Stream) ([]byte, error) {
	filters, err := f.list(st.Dict["Filter"])
	if err != nil {
		return nil, err
	}
	params, err := f.list(st.Dict["DecodeParms"])
	if err != nil {
		return nil, err
	}
	if len(filters) > 4 {
		return nil, fmt.Errorf("%d filters on one stream: %w", len(filters), ErrLimit)
	}
	data := st.Raw
	for i, name := range filters {
		switch f.Name(name) {
		case "FlateDecode", "Fl":
			if data, err = f.inflate(data); err != nil {
				return nil, err
			}
			if i < len(params) {
				d, err := f.Dict(params[i])
				if err != nil {
					return nil, err
				}
				if data, err = f.unpredict(data, d); err != nil {
					return nil, err
				}
			}
		case "ASCIIHexDecode", "AHx":
			p := parser{b: append([]byte{'<'}, data...)}
			o, err := p.hex()
			if err != nil {
				return nil, err
			}
			data = []byte(o.(String))
		default:
			return nil, fmt.Errorf("%w: filter %v", ErrBroken, name)
		}
	}
	return data, nil
}

// list gives an array, or one object as an array of one.
func (f *File) list(o Object) (Array, error) {
	v, err := f.Resolve(o)
	if err != nil || v == nil {
		return nil, err
	}
	if a, ok := v.(Array); ok {
		return a, nil
	}
	return Array{v}, nil
}

var inflaters sync.Pool

func (f *File) inflate(data []byte) ([]byte, error) {
	src := bytes.NewReader(data)
	r, _ := inflaters.Get().(io.ReadCloser)
	if r == nil {
		var err error
		if r, err = zlib.NewReader(src); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrBroken, err)
		}
	} else if err := r.(zlib.Resetter).Reset(src, nil); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBroken, err)
	}
	defer inflaters.Put(r)
	limit := min(LimitInflated, LimitTotal-f.inflated)
	var out bytes.Buffer
	n, err := io.Copy(&out, io.LimitReader(r, int64(limit)+1))
	f.inflated += int(n)
	if n > int64(limit) {
		return nil, fmt.Errorf("a stream of more than %d bytes: %w", limit, ErrLimit)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBroken, err)
	}
	return out.Bytes(), nil
}

// unpredict undoes a predictor (ISO 32000-2, 7.4.4.4).
func (f *File) unpredict(data []byte, parms Dict) ([]byte, error) {
	get := func(key Name, def int) int {
		if n, ok := f.Int(parms[key]); ok {
			return n
		}
		return def
	}
	predictor := get("Predictor", 1)
	if predictor <= 1 {
		return data, nil
	}
	colors, bits, columns := get("Colors", 1), get("BitsPerComponent", 8), get("Columns", 1)
	if colors < 1 || colors > 32 || bits != 8 || columns < 1 || columns > 1<<20 {
		return nil, fmt.Errorf("%w: predictor with Colors %d, BitsPerComponent %d, Columns %d", ErrBroken, colors, bits, columns)
	}
	width := colors * columns
	if predictor == 2 {
		out := bytes.Clone(data)
		for row := 0; row < len(out); row += width {
			for i := row + colors; i < min(row+width, len(out)); i++ {
				out[i] += out[i-colors]
			}
		}
		return out, nil
	}
	if len(data)%(width+1) != 0 {
		return nil, fmt.Errorf("%w: %d bytes are no rows of %d", ErrBroken, len(data), width)
	}
	out := make([]byte, 0, len(data))
	above := make([]byte, width)
	for row := 0; row < len(data); row += width + 1 {
		line := data[row+1 : row+1+width]
		start := len(out)
		for i, c := range line {
			var left, up, corner int
			up = int(above[i])
			if i >= colors {
				left, corner = int(out[start+i-colors]), int(above[i-colors])
			}
			switch data[row] {
			case 0:
			case 1:
				c += byte(left)
			case 2:
				c += byte(up)
			case 3:
				c += byte((left + up) / 2)
			case 4:
				c += byte(paeth(left, up, corner))
			default:
				return nil, fmt.Errorf("%w: PNG predictor %d", ErrBroken, data[row])
			}
			out = append(out, c)
		}
		above = out[start:]
	}
	return out, nil
}

func paeth(a, b, c int) int {
	p := a + b - c
	pa, pb, pc := abs(p-a), abs(p-b), abs(p-c)
	if pa <= pb && pa <= pc {
		return a
	}
	if pb <= pc {
		return b
	}
	return c
}

func abs(n int) int {
	if n < 0 {
		return -n
	}
	return n
}

var deflaters = sync.Pool{New: func() any { w, _ := zlib.NewWriterLevel(io.Discard, 6); return w }}

// Compressed makes a stream with FlateDecode, or without a filter where that
// is shorter or the data small. The dictionary may be nil.
func Compressed(d Dict, data []byte) *Stream {
	d = d.Clone()
	if len(data) < 512 {
		return &Stream{Dict: d, Raw: data}
	}
	var out bytes.Buffer
	w := deflaters.Get().(*zlib.Writer)
	defer deflaters.Put(w)
	w.Reset(&out)
	w.Write(data) // a bytes.Buffer takes everything
	w.Close()
	if out.Len() >= len(data) {
		return &Stream{Dict: d, Raw: data}
	}
	d["Filter"] = Name("FlateDecode")
	return &Stream{Dict: d, Raw: out.Bytes()}
}
