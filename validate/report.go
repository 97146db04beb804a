package validate

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// WriteTo writes the result for people, in English, as `milterd verify` prints it.
func (r *Result) WriteTo(w io.Writer) (int64, error) {
	n, err := io.WriteString(w, r.Text())
	return int64(n), err
}

// Text is what WriteTo writes.
func (r *Result) Text() string {
	var b strings.Builder
	if len(r.Signatures) == 0 {
		b.WriteString("The file holds no signature.\n")
		return b.String()
	}
	for i, s := range r.Signatures {
		s.write(&b, i+1, r)
	}
	if r.Format == XAdES {
		for _, c := range r.Later {
			fmt.Fprintf(&b, "NOT COVERED: %s\n", Plain(c.What))
		}
	}
	b.WriteString(r.verdict())
	return b.String()
}

func (s *Signature) write(b *strings.Builder, number int, r *Result) {
	line := func(label, format string, args ...any) {
		fmt.Fprintf(b, "   %-10s %s\n", label, Plain(fmt.Sprintf(format, args...)))
	}
	family := "CAdES"
	switch r.Format {
	case PDF:
		family = "PAdES"
		fmt.Fprintf(b, "%d. %s in field %q\n", number, s.Kind, s.Field)
	case XAdES:
		family = "XAdES"
		fallthrough
	default:
		fmt.Fprintf(b, "%d. %s: %s\n", number, s.Kind, Plain(s.Field))
	}
	verdict := string(s.Indication)
	if s.Sub != "" {
		verdict += " / " + string(s.Sub)
	}
	line("result", "%s", verdict)
	if s.Problem != "" {
		line("because", "%s", s.Problem)
	}
	if s.Kind == KindSignature {
		if s.Level == NoLevel {
			line("level", "no %s baseline signature", family)
		} else {
			line("level", "%s", s.Level)
		}
	}
	if s.Subject != "" {
		line("by", "%s", s.Subject)
		line("issued by", "%s", s.Issuer)
	}
	if !s.Claimed.IsZero() && s.Kind == KindSignature {
		line("claimed", "%s", stamp(s.Claimed))
	}
	if !s.Proven.IsZero() {
		line("proven", "%s by %s", stamp(s.Proven), s.ProvenBy)
	}
	for _, t := range [][2]string{{"name", s.Name}, {"reason", s.Reason}, {"role", s.Role}, {"location", s.Location}} {
		if t[1] != "" {
			line(t[0], "%s", t[1])
		}
	}
	if s.Covers > 0 {
		if s.Whole {
			line("covers", "the whole file, %d bytes", r.Size)
		} else {
			line("covers", "the first %d of %d bytes", s.Covers, r.Size)
		}
	}
	for _, name := range s.Files {
		line("signs", "%s", name)
	}
	for _, ref := range s.References {
		if r.Format != XAdES && ref.Holds {
			continue // it is among Files
		}
		line(ref.label(), "%s", ref.text())
	}
	for _, c := range s.Changes {
		label := "later"
		if !c.Allowed {
			label = "CHANGED"
		}
		line(label, "%s", c.What)
	}
	for _, n := range s.Notes {
		line("note", "%s", n)
	}
	b.WriteByte('\n')
}

// verdict is the line that people read. It says that nothing was changed only
// where that is known: where every signature holds.
func (r *Result) verdict() string {
	good, failed, rootless, changed := 0, 0, false, r.Changed()
	for _, s := range r.Signatures {
		switch s.Indication {
		case Passed:
			good++
		case Failed:
			failed++
		}
		rootless = rootless || s.Sub == NoChain
	}
	open := len(r.Signatures) - good - failed
	out := fmt.Sprintf("%d of %d signatures and timestamps are valid", good, len(r.Signatures))
	if open > 0 && !changed {
		out += fmt.Sprintf(", %d cannot be decided here", open)
		if rootless {
			out += " (is there a root to trust? see --trust)"
		}
	}
	switch out += ". "; {
	case changed:
		out += "What was signed was CHANGED afterwards."
	case failed > 0:
		out += "What does NOT hold proves nothing about the document."
	case open > 0:
		out += "No change was found that signatures do not allow, as far as they can be decided."
	case len(r.Later) > 0 && r.Format == XAdES:
		out += "But a file was given that no signature covers."
	case len(r.Later) > 0:
		out += "After the last one the file was extended in ways that signatures allow."
	default:
		out += "Nothing was changed that signatures do not allow."
	}
	return out + "\n"
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 MST") }

// Plain keeps a stranger's text from playing with a terminal, and from being read in
// another order than it is written: control characters and those that turn the
// direction become U+FFFD.
func Plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return '\uFFFD'
		}
		return r
	}, s)
}
