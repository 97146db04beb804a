package notify

import (
	"strings"
	"unicode/utf8"
)

// textWidth is where lines of the text part are broken; addresses and digests
// are left whole.
const textWidth = 72

// text renders the content as plain text with LF line ends.
func (c *content) text() string {
	var b strings.Builder
	b.WriteString(c.Brand + "\n\n")
	for _, k := range c.Blocks {
		k.text(&b)
		b.WriteByte('\n')
	}
	b.WriteString(strings.Repeat("_", textWidth) + "\n")
	for _, s := range c.Small {
		wrap(&b, s, "", "")
	}
	return b.String()
}

func (k *block) text(b *strings.Builder) {
	switch k.Is {
	case "items":
		wrap(b, k.Text, "", "")
		for _, it := range k.Items {
			b.WriteByte('\n')
			wrap(b, it.Name, "  * ", "    ")
			wrap(b, it.Detail, "    ", "    ")
			if it.Digest != "" {
				wrap(b, it.Label, "    ", "    ")
				wrap(b, it.Digest, "    ", "    ")
			}
		}
	case "facts":
		for i, it := range k.Items {
			if i > 0 {
				b.WriteByte('\n')
			}
			wrap(b, it.Name, "", "")
			wrap(b, it.Detail, "  ", "  ")
		}
	case "quote":
		wrap(b, k.Text, "", "")
		for _, l := range k.Lines {
			wrap(b, l, "> ", "> ")
		}
	case "button":
		wrap(b, k.Text, "-> ", "   ")
		wrap(b, k.Help, "", "")
		wrap(b, k.URL, "", "")
	case "code":
		b.WriteString("    " + k.Text + "\n")
	default:
		wrap(b, k.Text, "", "")
		if k.URL != "" {
			wrap(b, k.URL, "", "")
		}
	}
}

// wrap writes a paragraph in lines of at most textWidth runes: the first after
// one prefix, the rest after the other. A longer word gets a line of its own.
func wrap(b *strings.Builder, s, first, rest string) {
	line := strings.TrimRight(first, " ")
	used, prefix := 0, first
	for _, word := range strings.Split(s, " ") {
		n := utf8.RuneCountInString(word)
		switch {
		case used == 0:
			line, used = prefix+word, utf8.RuneCountInString(prefix)+n
		case used+1+n <= textWidth:
			line, used = line+" "+word, used+1+n
		default:
			b.WriteString(line + "\n")
			line, used, prefix = rest+word, utf8.RuneCountInString(rest)+n, rest
		}
	}
	b.WriteString(strings.TrimRight(line, " ") + "\n")
}
