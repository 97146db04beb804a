package notify

import (
	"strings"
	"unicode"
)

// clean makes one line of text that came from outside fit to be set anywhere:
// broken UTF-8 is replaced, control characters and line ends become spaces,
// characters that turn the reading direction or cannot be seen are dropped,
// runs of white space become one space.
func clean(s string) string {
	return strings.Join(strings.Fields(strings.Map(cleanRune, strings.ToValidUTF8(s, "\uFFFD"))), " ")
}

// cleanLines does the same line by line, keeps single empty lines between
// paragraphs, and cuts after max runes.
func cleanLines(s string, max int) []string {
	s = strings.NewReplacer("\r\n", "\n", "\r", "\n", "\u2028", "\n", "\u2029", "\n").Replace(s)
	var out []string
	for _, l := range strings.Split(s, "\n") {
		l = clean(l)
		if l == "" && (len(out) == 0 || out[len(out)-1] == "") {
			continue
		}
		n := len([]rune(l)) + 1 // its line end counts, so that many empty lines end too
		if n > max {
			out = append(out, shorten(l+"…", max))
			break
		}
		out = append(out, l)
		max -= n
	}
	for len(out) > 0 && out[len(out)-1] == "" {
		out = out[:len(out)-1]
	}
	return out
}

// shorten cuts to at most max runes, of which the last is then an ellipsis.
func shorten(s string, max int) string {
	r := []rune(s)
	if len(r) <= max {
		return s
	}
	return strings.TrimRight(string(r[:max-1]), " ") + "…"
}

func cleanRune(r rune) rune {
	switch {
	case r >= 0x202A && r <= 0x202E, // embeddings and overrides
		r >= 0x2066 && r <= 0x206F,            // isolates, deprecated format characters
		r == 0x200E, r == 0x200F, r == 0x061C, // direction marks
		r == 0x200B, r == 0x2060, r == 0xFEFF, r == 0x00AD, // invisible spaces and hyphens
		r >= 0xFFF9 && r <= 0xFFFB, r >= 0xE0000 && r <= 0xE007F: // annotations, tags
		return -1
	case unicode.IsControl(r), unicode.IsSpace(r):
		return ' '
	}
	return r
}
