package cos

import (
	"math"
	"slices"
	"strconv"
)

// Object is a PDF object: nil (null), bool, int64, float64, String, Name,
// Array, Dict, Ref or *Stream. When writing, int, Verbatim and *Hole are taken too.
type Object any

// Name is a name without its slash, with #xx undone.
type Name string

// String is a string with its escapes or hex digits undone.
type String string

// Array is an array.
type Array []Object

// Dict is a dictionary. It is written with its keys in order, Type first.
type Dict map[Name]Object

// Ref is an indirect reference.
type Ref struct {
	Num int
	Gen int
}

// Stream is a dictionary with data, as it stands in the file (encoded by Filter).
// Length is set when writing.
type Stream struct {
	Dict Dict
	Raw  []byte
}

// Verbatim is written as it is.
type Verbatim []byte

// Name gives the value of a key that must be a direct name, or "".
func (d Dict) Name(key Name) Name {
	n, _ := d[key].(Name)
	return n
}

// Clone copies the dictionary, not the values in it.
func (d Dict) Clone() Dict {
	c := make(Dict, len(d)+4)
	for k, v := range d {
		c[k] = v
	}
	return c
}

// Number gives the value of an int64, int or float64.
func Number(o Object) (float64, bool) {
	switch v := o.(type) {
	case int64:
		return float64(v), true
	case int:
		return float64(v), true
	case float64:
		return v, true
	}
	return 0, false
}

// Append writes an object to dst in PDF syntax.
func Append(dst []byte, o Object) []byte {
	switch v := o.(type) {
	case nil:
		return append(dst, "null"...)
	case bool:
		return strconv.AppendBool(dst, v)
	case int:
		return strconv.AppendInt(dst, int64(v), 10)
	case int64:
		return strconv.AppendInt(dst, v, 10)
	case float64:
		return appendReal(dst, v)
	case Name:
		return appendName(dst, v)
	case String:
		return appendString(dst, v)
	case Ref:
		dst = strconv.AppendInt(dst, int64(v.Num), 10)
		dst = append(dst, ' ')
		dst = strconv.AppendInt(dst, int64(v.Gen), 10)
		return append(dst, " R"...)
	case Array:
		dst = append(dst, '[')
		for i, e := range v {
			if i > 0 {
				dst = append(dst, ' ')
			}
			dst = Append(dst, e)
		}
		return append(dst, ']')
	case Dict:
		return appendDict(dst, v)
	case *Stream:
		d := v.Dict.Clone()
		d["Length"] = len(v.Raw)
		dst = appendDict(dst, d)
		dst = append(dst, "\nstream\n"...)
		dst = append(dst, v.Raw...)
		return append(dst, "\nendstream"...)
	case Verbatim:
		return append(dst, v...)
	case *Hole:
		return v.appendTo(dst)
	}
	return append(dst, "null"...)
}

func appendDict(dst []byte, d Dict) []byte {
	var small [24]Name
	keys := small[:0]
	for k := range d {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b Name) int {
		if (a == "Type") != (b == "Type") {
			if a == "Type" {
				return -1
			}
			return 1
		}
		if a < b {
			return -1
		}
		return 1
	})
	dst = append(dst, "<<"...)
	for _, k := range keys {
		dst = appendName(dst, k)
		switch d[k].(type) {
		case Name, String, Array, Dict:
		default:
			dst = append(dst, ' ')
		}
		dst = Append(dst, d[k])
	}
	return append(dst, ">>"...)
}

func appendReal(dst []byte, f float64) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) || f == 0 { // no -0 either
		f = 0
	}
	// PDF knows no exponents.
	return strconv.AppendFloat(dst, f, 'f', -1, 64)
}

const hexDigits = "0123456789ABCDEF"

func appendName(dst []byte, n Name) []byte {
	dst = append(dst, '/')
	for i := 0; i < len(n); i++ {
		c := n[i]
		if c < '!' || c > '~' || c == '#' || isDelimiter(c) {
			dst = append(dst, '#', hexDigits[c>>4], hexDigits[c&15])
			continue
		}
		dst = append(dst, c)
	}
	return dst
}

func appendString(dst []byte, s String) []byte {
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] > '~' {
			return appendHex(dst, s)
		}
	}
	dst = append(dst, '(')
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '(', ')', '\\':
			dst = append(dst, '\\')
		}
		dst = append(dst, s[i])
	}
	return append(dst, ')')
}

func appendHex(dst []byte, s String) []byte {
	dst = append(dst, '<')
	for i := 0; i < len(s); i++ {
		dst = append(dst, hexDigits[s[i]>>4], hexDigits[s[i]&15])
	}
	return append(dst, '>')
}
