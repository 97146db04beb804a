package main

import (
	"bytes"
	"testing"

	"milterd/signature/pdf"
)

// A dot that differs counts unless it lies in what was added.
func TestEqual(t *testing.T) {
	page := &pdf.Page{Crop: pdf.Rect{X0: 0, Y0: 0, X1: 100, Y1: 50}}
	picture := func(x, y int) []byte {
		b := append([]byte("P6\n100 50\n255\n"), bytes.Repeat([]byte{255}, 3*100*50)...)
		if x >= 0 {
			b[len(b)-3*100*50+3*(y*100+x)] = 0
		}
		return b
	}
	stamp := []pdf.Rect{{X0: 10, Y0: 5, X1: 30, Y1: 15}} // rows 35 to 45 from the top
	for _, c := range []struct {
		x, y int
		want bool
	}{{-1, 0, true}, {20, 40, true}, {9, 34, true}, {20, 10, false}, {50, 40, false}, {99, 49, false}} {
		got, err := equal(picture(-1, 0), picture(c.x, c.y), page, stamp)
		if err != nil || got != c.want {
			t.Errorf("a dot at %d, %d: equal %v, %v", c.x, c.y, got, err)
		}
	}
	if got, err := equal(picture(-1, 0), []byte("P6\n50 100\n255\n"+string(make([]byte, 3*100*50))), page, stamp); err != nil || got {
		t.Errorf("another size: %v, %v", got, err)
	}
	if _, err := equal(picture(-1, 0), []byte("P6\n50"), page, stamp); err == nil {
		t.Error("half a picture is one")
	}
}

// What is seen is what was turned: a point of each corner.
func TestSeen(t *testing.T) {
	for rotate, want := range map[int][2]float64{0: {10, 20}, 90: {20, 90}, 180: {90, 180}, 270: {180, 10}} {
		p := &pdf.Page{Crop: pdf.Rect{X0: 5, Y0: 5, X1: 105, Y1: 205}, Rotate: rotate}
		if x, y := seen(p, 15, 25); x != want[0] || y != want[1] {
			t.Errorf("rotated by %d: %v, %v, want %v", rotate, x, y, want)
		}
	}
}

// A lost PDF/A fails, a kept one and what never was one do not.
func TestPDFA(t *testing.T) {
	lta := "PAdES-BASELINE-LTA"
	for name, c := range map[string]struct {
		before, after archival
		failed        int
		words         string
	}{
		"kept":    {archival{Flavour: "2b"}, archival{Flavour: "2b"}, 0, "PDF/A-2b kept"},
		"lost":    {archival{Flavour: "2b"}, archival{Flavour: "2b", Broken: []string{"6.1-1"}}, 1, "PDF/A-2b lost: 6.1-1 "},
		"another": {archival{Flavour: "2b"}, archival{Flavour: "3b"}, 1, "PDF/A-2b lost: "},
		"error":   {archival{Flavour: "2b"}, archival{Flavour: "2b", Error: "no"}, 1, "PDF/A-2b lost: no"},
		"never":   {archival{Flavour: "1b", Broken: []string{"6.1-1"}}, archival{Flavour: "1b"}, 0, ""},
	} {
		f := &file{group: "inputs", name: name, signatures: 1, stamps: 1, level: "PAdES-BASELINE-LTA", indication: passed}
		x := opinion{ours: say(passed, lta), dss: say(passed, lta), pyhanko: say(passed, ""), programs: programs{signatures: 1, stamps: 1, pdfsig: 1, mutool: 1, openssl: 2},
			pdfa: [2]archival{c.before, c.after}, pictures: &pictures{pages: 1}}
		if r := compare([]*file{f}, map[*file]*opinion{f: &x}, nil); r.failed != c.failed {
			t.Errorf("%s: failed=%d, want %d", name, r.failed, c.failed)
		}
		if w := words(&c.before, &c.after); w != c.words {
			t.Errorf("%s: %q, want %q", name, w, c.words)
		}
		x.pictures.differ = []int{1}
		if r := compare([]*file{f}, map[*file]*opinion{f: &x}, nil); r.failed != 1 {
			t.Errorf("%s, a page that looks different: failed=%d", name, r.failed)
		}
	}
}
