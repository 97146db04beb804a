package font

import (
	"fmt"
	"strings"
	"testing"
)

func TestShows(t *testing.T) {
	for name, want := range map[string]bool{
		"Zoë Müller-Ångström": true, "Łukasz Żółć": true, "Ёлка Ωμέγα": true, "Jose\u0301 d’Été": true, "": true,
		"山田 太郎": false, "Jane 😀": false, "علي": false, "Nguyễn": false, "x\u0302": false, "a\uFFFDb": false,
	} {
		if Shows(name) != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
}

func TestPrinted(t *testing.T) {
	for _, c := range [][3]string{
		{"Jane Roe", "jane@corp.test", "Jane Roe"},
		{"山田 太郎", "taro@corp.test", "taro@corp.test"},
		{"山田 太郎", "山田@corp.test", `\u5c71\u7530@corp.test`},
	} {
		if got := Printed(c[0], c[1]); got != c[2] || !Shows(got) {
			t.Errorf("%q <%s>: %q", c[0], c[1], got)
		}
	}
}

// TestRanges: the ranges say of each character what Shows says.
func TestRanges(t *testing.T) {
	in := map[rune]bool{}
	for _, part := range strings.Split(Ranges(), ",") {
		var from, to rune
		if _, err := fmt.Sscanf(part, "%x-%x", &from, &to); err != nil || from > to {
			t.Fatalf("%q: %v", part, err)
		}
		for r := from; r <= to; r++ {
			in[r] = true
		}
	}
	for r := rune(0xA0); r <= 0x1FFFF; r++ {
		shown := false
		Regular().Glyphs(string(r), func(_ uint16, as rune) { shown = as == r }) // not composed to another, not left out
		if shown && r != Replacement && Shows(string(r)) && !in[r] {
			t.Errorf("U+%04X is shown, and in no range", r)
		}
	}
	for r := range in {
		if !Shows(string(r)) {
			t.Errorf("U+%04X is in a range, and not shown", r)
		}
	}
}
