package asic

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// Errors of Open; others wrap them.
var (
	// ErrFormat: no ZIP file that every reader would read alike, or no container.
	ErrFormat = errors.New("malformed container")
	// ErrLimit: larger, or more, than is read.
	ErrLimit = errors.New("container exceeds a limit")
)

// Limits of Open.
const (
	maxEntries = 1000
	maxTotal   = 256 << 20 // bytes, of the file and of all entries unpacked
	maxName    = 255       // bytes
	maxRatio   = 250       // of an entry unpacked to packed, above
	freeRatio  = 1 << 20   // bytes unpacked
	maxComment = 100
)

// Entry is a file in a container.
type Entry struct {
	Name    string
	Content []byte

	stored bool // not compressed
	first  bool // it starts the file
	plain  bool // without extra fields in its local header
}

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrFormat, fmt.Sprintf(format, args...))
}

// readZIP gives the entries in the order of the central directory, and the
// archive's comment. Folders are left out.
func readZIP(data []byte) ([]Entry, string, error) {
	if len(data) > maxTotal {
		return nil, "", fmt.Errorf("%w: %d bytes", ErrLimit, len(data))
	}
	heads, comment, start, err := directory(data)
	if err != nil {
		return nil, "", err
	}
	// Entries one after the other: nothing before, between or behind them.
	byPlace := slices.Clone(heads)
	slices.SortFunc(byPlace, func(a, b *head) int { return int(a.offset) - int(b.offset) })
	at := 0
	for _, h := range byPlace {
		if int(h.offset) != at {
			return nil, "", malformed("bytes that belong to no entry, or to two, before %q", h.name)
		}
		if at, err = h.local(data[:start]); err != nil {
			return nil, "", err
		}
	}
	if at != start {
		return nil, "", malformed("bytes that belong to no entry before the directory")
	}
	var out []Entry
	seen, total := map[string]bool{}, 0
	for _, h := range heads {
		folder := strings.HasSuffix(h.name, "/")
		if err := checkName(strings.TrimSuffix(h.name, "/")); err != nil {
			return nil, "", err
		}
		// Names that some systems take for the same.
		key := cases.Fold().String(norm.NFKC.String(strings.TrimSuffix(h.name, "/")))
		if seen[key] {
			return nil, "", malformed("the name %q twice", h.name)
		}
		seen[key] = true
		if folder {
			if h.size != 0 || h.packed != 0 {
				return nil, "", malformed("a folder with content: %q", h.name)
			}
			continue
		}
		if total += int(h.size); total > maxTotal || h.size > freeRatio && h.size/max(h.packed, 1) > maxRatio {
			return nil, "", fmt.Errorf("%w: %q unpacks to %d bytes", ErrLimit, h.name, h.size)
		}
		content, err := h.unpack()
		if err != nil {
			return nil, "", fmt.Errorf("%q: %w", h.name, err)
		}
		out = append(out, Entry{Name: h.name, Content: content, stored: h.method == zip.Store, first: h.offset == 0, plain: h.plain})
	}
	return out, comment, nil
}

// head is an entry as the central directory has it.
type head struct {
	name          string
	flags, method uint16
	crc           uint32
	packed, size  uint32
	offset        uint32
	data          []byte // packed
	plain         bool
}

const (
	localSize, centralSize, endSize = 30, 46, 22
	flagDescriptor, flagUTF8        = 1 << 3, 1 << 11
	flagsKnown                      = flagDescriptor | flagUTF8 | 1<<1 | 1<<2 // the last two: how well it was compressed
)

// directory reads the end record and the central directory (APPNOTE.TXT, 4.3.12
// and 4.3.16). ZIP64 is not needed below our limits, and is refused.
func directory(data []byte) (heads []*head, comment string, start int, err error) {
	le := binary.LittleEndian
	end := -1
	for n := 0; n <= maxComment && end < 0; n++ {
		i := len(data) - endSize - n
		if i < 0 {
			break
		}
		if string(data[i:i+4]) == "PK\x05\x06" && int(le.Uint16(data[i+20:])) == n {
			end = i
		}
	}
	if end < 0 {
		return nil, "", 0, malformed("not a ZIP file, or bytes after its end")
	}
	e := data[end:]
	comment = string(e[endSize:])
	count, size := int(le.Uint16(e[10:])), int(le.Uint32(e[12:]))
	start = int(le.Uint32(e[16:]))
	switch {
	case strings.Contains(comment, "PK"):
		return nil, "", 0, malformed("a comment that looks like ZIP")
	case le.Uint16(e[4:]) != 0 || le.Uint16(e[6:]) != 0 || le.Uint16(e[8:]) != uint16(count):
		return nil, "", 0, malformed("in several volumes")
	case start+size != end:
		return nil, "", 0, malformed("the directory does not end where the file does")
	case count == 0 || count > maxEntries:
		return nil, "", 0, fmt.Errorf("%w: %d entries", ErrLimit, count)
	}
	rest := data[start:end]
	for range count {
		if len(rest) < centralSize || string(rest[:4]) != "PK\x01\x02" {
			return nil, "", 0, malformed("directory")
		}
		n, x, c := int(le.Uint16(rest[28:])), int(le.Uint16(rest[30:])), int(le.Uint16(rest[32:]))
		if len(rest) < centralSize+n+x+c {
			return nil, "", 0, malformed("directory")
		}
		h := &head{
			name: string(rest[centralSize : centralSize+n]), flags: le.Uint16(rest[8:]), method: le.Uint16(rest[10:]), crc: le.Uint32(rest[16:]),
			packed: le.Uint32(rest[20:]), size: le.Uint32(rest[24:]), offset: le.Uint32(rest[42:]),
		}
		if err := h.check(le.Uint16(rest[34:]), rest[centralSize+n:centralSize+n+x]); err != nil {
			return nil, "", 0, err
		}
		heads, rest = append(heads, h), rest[centralSize+n+x+c:]
	}
	if len(rest) > 0 {
		return nil, "", 0, malformed("more in the directory than it counts")
	}
	return heads, comment, start, nil
}

func (h *head) check(volume uint16, extra []byte) error {
	switch {
	case h.flags&1 != 0:
		return malformed("%q is encrypted", h.name)
	case h.flags&^flagsKnown != 0 || volume != 0:
		return malformed("%q has flags %#x", h.name, h.flags)
	case h.method != zip.Store && h.method != zip.Deflate:
		return malformed("%q is compressed by method %d", h.name, h.method)
	case h.method == zip.Store && h.packed != h.size:
		return malformed("%q has two sizes", h.name)
	case h.flags&flagUTF8 == 0 && strings.ContainsFunc(h.name, func(r rune) bool { return r >= utf8.RuneSelf }):
		return malformed("%q is not said to be UTF-8", h.name)
	}
	return checkExtra(h.name, extra)
}

// checkExtra refuses extra fields that give an entry another size or name: ZIP64,
// the Info-ZIP Unicode ones, AES.
func checkExtra(name string, extra []byte) error {
	for len(extra) > 0 {
		if len(extra) < 4 {
			return malformed("%q: extra fields", name)
		}
		id, n := binary.LittleEndian.Uint16(extra), int(binary.LittleEndian.Uint16(extra[2:]))
		if len(extra) < 4+n {
			return malformed("%q: extra fields", name)
		}
		switch id {
		case 0x0001, 0x7075, 0x6375, 0x9901:
			return malformed("%q: extra field %#04x", name, id)
		}
		extra = extra[4+n:]
	}
	return nil
}

// local compares the local header (4.3.7) with the directory, takes the data, and
// tells where the next entry begins.
func (h *head) local(data []byte) (next int, err error) {
	le := binary.LittleEndian
	at := int(h.offset)
	if len(data)-at < localSize || string(data[at:at+4]) != "PK\x03\x04" {
		return 0, malformed("%q has no local header", h.name)
	}
	l := data[at:]
	n, x := int(le.Uint16(l[26:])), int(le.Uint16(l[28:]))
	if len(l) < localSize+n+x+int(h.packed) {
		return 0, malformed("%q reaches into the directory", h.name)
	}
	crc, packed, size := le.Uint32(l[14:]), le.Uint32(l[18:]), le.Uint32(l[22:])
	described := h.flags&flagDescriptor != 0
	same := crc == h.crc && packed == h.packed && size == h.size
	if described && crc == 0 && packed == 0 && size == 0 {
		same = true
	}
	if string(l[localSize:localSize+n]) != h.name || le.Uint16(l[6:]) != h.flags || le.Uint16(l[8:]) != h.method || !same {
		return 0, malformed("%q is another entry in its local header", h.name)
	}
	if err := checkExtra(h.name, l[localSize+n:localSize+n+x]); err != nil {
		return 0, err
	}
	h.plain = x == 0
	from := at + localSize + n + x
	next = from + int(h.packed)
	h.data = data[from:next]
	if !described {
		return next, nil
	}
	d := data[next:]
	if len(d) >= 4 && string(d[:4]) == "PK\x07\x08" { // optional, 4.3.9.3
		d, next = d[4:], next+4
	}
	if len(d) < 12 || le.Uint32(d) != h.crc || le.Uint32(d[4:]) != h.packed || le.Uint32(d[8:]) != h.size {
		return 0, malformed("%q: data descriptor", h.name)
	}
	return next + 12, nil
}

// unpack gives the content, all of it and nothing more.
func (h *head) unpack() ([]byte, error) {
	content := h.data
	if h.method == zip.Deflate {
		in := bytes.NewReader(h.data)
		r := flate.NewReader(in)
		var err error
		if content, err = io.ReadAll(io.LimitReader(r, int64(h.size)+1)); err != nil {
			return nil, malformed("compressed data: %v", err)
		}
		if in.Len() > 0 {
			return nil, malformed("bytes after the compressed data")
		}
	}
	if len(content) != int(h.size) || crc32.ChecksumIEEE(content) != h.crc {
		return nil, malformed("size or checksum")
	}
	return content, nil
}

// checkName wants a relative path that means the same everywhere.
func checkName(name string) error {
	bad := func(r rune) bool { return r < ' ' || r == 0x7f || r == '\\' || r == utf8.RuneError }
	if name == "" || len(name) > maxName || !utf8.ValidString(name) || strings.ContainsFunc(name, bad) || len(name) > 1 && name[1] == ':' {
		return malformed("the name %.300q", name)
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part == "." || part == ".." || strings.HasSuffix(part, ".") || strings.HasSuffix(part, " ") {
			return malformed("the name %q", name)
		}
	}
	return nil
}

// writeZIP writes entries in their order: sizes in the local headers, no time but
// the first of ZIP's, no extra fields. The same entries give the same bytes.
func writeZIP(entries []Entry) ([]byte, error) {
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	total := 0
	for _, e := range entries {
		if total += len(e.Content); total > maxTotal || len(entries) > maxEntries {
			return nil, fmt.Errorf("%w: %d entries, %d bytes", ErrLimit, len(entries), total)
		}
		h := &zip.FileHeader{Name: e.Name, CRC32: crc32.ChecksumIEEE(e.Content), UncompressedSize64: uint64(len(e.Content)), ModifiedDate: 1<<5 | 1}
		packed := e.Content
		if !e.stored {
			var b bytes.Buffer
			f, err := flate.NewWriter(&b, flate.DefaultCompression)
			if err != nil {
				return nil, err
			}
			if _, err := f.Write(e.Content); err != nil {
				return nil, err
			}
			if err := f.Close(); err != nil {
				return nil, err
			}
			// What we would not read again is not compressed.
			if n := b.Len(); n < len(packed) && (len(packed) <= freeRatio || len(packed)/n < maxRatio) {
				packed, h.Method = b.Bytes(), zip.Deflate
			}
		}
		h.CompressedSize64 = uint64(len(packed))
		if strings.ContainsFunc(e.Name, func(r rune) bool { return r >= utf8.RuneSelf }) {
			h.Flags |= flagUTF8
		}
		part, err := w.CreateRaw(h)
		if err != nil {
			return nil, err
		}
		if _, err := part.Write(packed); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
