package mailparse

import (
	"fmt"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// maxName is the longest safe name in bytes; file systems end at 255.
const maxName = 120

// reserved names of Windows devices; with any extension they open the device.
var reserved = map[string]bool{"con": true, "prn": true, "aux": true, "nul": true,
	"com1": true, "com2": true, "com3": true, "com4": true, "com5": true, "com6": true, "com7": true, "com8": true, "com9": true,
	"lpt1": true, "lpt2": true, "lpt3": true, "lpt4": true, "lpt5": true, "lpt6": true, "lpt7": true, "lpt8": true, "lpt9": true}

// safeName makes of a sender's file name one that is a plain file name on every
// system and in a container, shows what it is (no invisible characters, no text turned around),
// and has the extension .pdf if the part says that it is one.
func safeName(name, mediaType string) string {
	name = norm.NFC.String(strings.ToValidUTF8(name, "_"))
	if i := strings.LastIndexAny(name, `/\`); i >= 0 {
		name = name[i+1:]
	}
	name = strings.Map(func(r rune) rune {
		switch {
		case strings.ContainsRune(`<>:"|?*`, r), r == utf8.RuneError:
			return '_'
		case unicode.IsSpace(r):
			return ' '
		case unicode.Is(unicode.C, r) || !unicode.IsPrint(r):
			return -1 // controls, formats (bidirectional overrides), private use
		}
		return r
	}, name)
	name = strings.Join(strings.Fields(name), " ")
	name = strings.TrimLeft(name, ". ")
	name = strings.TrimRight(name, ". ")
	ext := path.Ext(name)
	if len(ext) > 20 || strings.Contains(ext, " ") {
		ext = ""
	}
	stem := strings.TrimRight(strings.TrimSuffix(name, ext), " ")
	if stem == "" {
		stem = "document"
	}
	if mediaType == "application/pdf" && !strings.EqualFold(ext, ".pdf") {
		stem, ext = stem+ext, ".pdf"
	}
	device, _, _ := strings.Cut(stem, ".")
	if whole := strings.ToLower(stem + ext); whole == "mimetype" || whole == "meta-inf" {
		stem = "_" + stem // what these are in a container (EN 319 162-1, 4.4.3)
	}
	if reserved[strings.ToLower(strings.TrimSpace(device))] {
		stem = "_" + stem
	}
	return shorten(stem, maxName-len(ext)) + ext
}

// shorten cuts to n bytes at a rune's border.
func shorten(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return strings.TrimRight(s[:n], " .")
}

// unique gives a name that no other document of the mail has: "a (2).pdf".
func unique(name string, taken map[string]bool) string {
	ext := path.Ext(name)
	stem := strings.TrimSuffix(name, ext)
	for n := 2; taken[strings.ToLower(name)]; n++ {
		mark := fmt.Sprintf(" (%d)", n)
		name = shorten(stem, maxName-len(ext)-len(mark)) + mark + ext
	}
	taken[strings.ToLower(name)] = true
	return name
}
