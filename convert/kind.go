package convert

import (
	"bytes"
	"maps"
	"path"
	"slices"
	"strings"
)

// kind is a sort of file, known by the extension of its name.
type kind struct {
	module string // of LibreOffice: writer, calc, impress or draw
	filter string // LibreOffice's name of the import filter; it tries no other
	begins []string
}

// What files begin with.
const (
	zipped   = "PK\x03\x04"
	compound = "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" // the binary files of Office 97
)

// kinds are all that can be converted. Templates, pages of the Web and plain text
// are not among them: the first are no documents, the others are shown as they are.
var kinds = map[string]kind{
	"docx": {"writer", "MS Word 2007 XML", []string{zipped}},
	"doc":  {"writer", "MS Word 97", []string{compound}},
	"odt":  {"writer", "writer8", []string{zipped}},
	"rtf":  {"writer", "Rich Text Format", []string{`{\rtf`}},
	"xlsx": {"calc", "Calc MS Excel 2007 XML", []string{zipped}},
	"xls":  {"calc", "MS Excel 97", []string{compound}},
	"ods":  {"calc", "calc8", []string{zipped}},
	"pptx": {"impress", "Impress MS PowerPoint 2007 XML", []string{zipped}},
	"odp":  {"impress", "impress8", []string{zipped}},
	"odg":  {"draw", "draw8", []string{zipped}},
	"png":  {"draw", "PNG - Portable Network Graphic", []string{"\x89PNG\r\n\x1a\n"}},
	"jpg":  {"draw", "JPEG - Joint Photographic Experts Group", []string{"\xff\xd8\xff"}},
	"jpeg": {"draw", "JPEG - Joint Photographic Experts Group", []string{"\xff\xd8\xff"}},
	"gif":  {"draw", "GIF - Graphics Interchange Format", []string{"GIF87a", "GIF89a"}},
	"svg":  {"draw", "SVG - Scalable Vector Graphics", []string{"<svg", "<?xml", "<!--"}},
}

// registry is the file that each installed module of LibreOffice has, beside its
// programs; the Debian package of the module is libreoffice-MODULE-nogui.
const registry = "../share/registry/%s.xcd"

// Kinds are the extensions, without a dot, of all files that can be converted.
func Kinds() []string { return slices.Sorted(maps.Keys(kinds)) }

// Kind is the extension of a file's name in small letters, without the dot.
func Kind(name string) string {
	return strings.ToLower(strings.TrimPrefix(path.Ext(name), "."))
}

// Name is what the PDF of a file is called: contract.docx becomes contract.pdf.
func Name(name string) string { return strings.TrimSuffix(name, path.Ext(name)) + ".pdf" }

// is reports whether a file begins as its kind does.
func (k kind) is(content []byte) bool {
	start := bytes.TrimLeft(bytes.TrimPrefix(content[:min(len(content), 512)], []byte("\xef\xbb\xbf")), " \t\r\n")
	if k.filter != kinds["svg"].filter {
		start = content
	}
	return slices.ContainsFunc(k.begins, func(b string) bool { return bytes.HasPrefix(start, []byte(b)) })
}
