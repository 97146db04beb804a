package font

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
)

// Shows reports whether all three faces have every character of a text: Latin,
// Greek and Cyrillic, what European keyboards write.
func Shows(s string) bool {
	all := true
	for _, f := range []*Face{Regular(), Bold(), Italic()} {
		f.Glyphs(s, func(_ uint16, r rune) { all = all && r != Replacement })
	}
	return all
}

// Printed is how a person is named where a name is drawn: by the name, or where
// the faces lack a character of it by the mail address, never with marks in the
// place of letters. The name itself stands in a signature's dictionary.
func Printed(name, mail string) string {
	switch {
	case Shows(name):
		return name
	case Shows(mail):
		return mail
	}
	return strings.Trim(strconv.QuoteToASCII(mail), `"`) // RFC 6531: it may be of any letters
}

// Ranges are the characters that Shows shows, as "20-7e,a0-17f": for programs
// that want to know it without the faces.
var Ranges = sync.OnceValue(func() string {
	var b strings.Builder
	for first, r := rune(-1), rune(' '); r <= 0xFFFF; r++ {
		_, in := Regular().cmap[r]
		for _, f := range []*Face{Bold(), Italic()} {
			_, too := f.cmap[r]
			in = in && too
		}
		switch in = in && r != Replacement && (r < 0x7F || r >= 0xA0); {
		case in && first < 0:
			first = r
		case !in && first >= 0:
			fmt.Fprintf(&b, ",%x-%x", first, r-1)
			first = -1
		}
	}
	return b.String()[1:]
})
