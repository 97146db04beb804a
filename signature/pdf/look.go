package pdf

import (
	"fmt"
	"strings"
	"time"
	"unicode"

	"milterd/signature/pdf/cos"
	"milterd/signature/pdf/font"
	"milterd/workflow"
)

// Look is what a signature field shows. SignatoryLook and SealLook make the two
// kinds that there are.
type Look struct {
	Appearance workflow.Appearance // strokes or typed name; both empty for the seal
	Name       string              // signatory, or the organisation
	Lines      []string            // small print below the name
	frame      bool                // around it all
}

// framed is the same within a frame, for a field that stands on no page of ours.
func (l *Look) framed() *Look {
	c := *l
	c.frame = true
	return &c
}

// SignatoryLook shows the drawn or typed signature, name, time, level and whose
// key made it: the organisation's on the person's behalf, or the person's own;
// extra lines follow. A name that the faces cannot show is not in the picture:
// the mail address stands for it (see font.Printed).
func SignatoryLook(a workflow.Appearance, name, mail string, level workflow.Level, organisation string, at time.Time, extra ...string) *Look {
	name = font.Printed(name, mail)
	if !font.Shows(a.Typed) { // pages do not let it pass
		a.Typed = name
	}
	lines := []string{stamp(at)}
	lines = append(lines, level.String()+" signature")
	switch level {
	case workflow.Standard:
		lines = append(lines, "Sealed by "+organisation+" on behalf of "+name)
	case workflow.Advanced:
		lines = append(lines, "Signed by "+name+" with a key of their own", "Certified by "+organisation)
	case workflow.Qualified:
		lines = append(lines, "Signed by "+name)
	default:
		lines = append(lines, "Asked for by "+organisation)
	}
	return &Look{Appearance: a, Name: name, Lines: append(lines, extra...)}
}

// SealLook shows the organisation's seal; extra lines follow.
func SealLook(organisation, vat string, at time.Time, extra ...string) *Look {
	lines := []string{stamp(at), "Seal over the whole document"}
	if vat != "" {
		lines = append(lines, "VAT "+vat)
	}
	return &Look{Name: organisation, Lines: append(lines, extra...)}
}

func stamp(at time.Time) string {
	s := at.Format("2006-01-02 15:04:05 -07:00")
	if _, offset := at.Zone(); offset == 0 {
		s = at.Format("2006-01-02 15:04:05") + " UTC"
	}
	return s
}

// fill gives a signature field its appearance, and the paraph fields theirs.
// A widget without a size stays as it is.
func (l *Look) fill(f *cos.File, u *cos.Update, field cos.Dict, paraphs string) error {
	w, h, matrix, err := widgetBox(f, field)
	if err != nil {
		return err
	}
	e := earlierFonts(f, field)
	if w >= 8 && h >= 8 {
		c := newCanvas()
		if err := l.draw(c, w, h); err != nil {
			return err
		}
		form := c.form(w, h, matrix, fontsFor(u, e, c))
		keepNamed(f, field, form)
		field["AP"] = cos.Dict{"N": u.Add(form)}
	}
	if paraphs == "" {
		return nil
	}
	return l.fillParaphs(f, u, paraphs, e)
}

// keepNamed gives a new appearance what the one before names and it does not: fonts, and
// our own key. A validator that compares revisions object by object takes what is
// gone for a change that nothing allows: EU DSS warns of it.
func keepNamed(f *cos.File, widget cos.Dict, form *cos.Stream) {
	ap, _ := f.Dict(widget["AP"])
	n, _ := f.Dict(ap["N"])
	if g, ok := n[glyphsKey]; ok {
		form.Dict[glyphsKey] = g
	}
	old, _ := f.Dict(n["Resources"])
	before, _ := f.Dict(old["Font"])
	res, _ := form.Dict["Resources"].(cos.Dict)
	if len(before) == 0 || res == nil {
		return
	}
	fonts, _ := res["Font"].(cos.Dict)
	fonts = fonts.Clone()
	for k, r := range before {
		if _, ok := r.(cos.Ref); ok && fonts[k] == nil {
			fonts[k] = r
		}
	}
	res["Font"] = fonts
}

// widgetBox gives the size of a widget as it is seen upright, and the matrix
// that turns its appearance as MK.R says.
func widgetBox(f *cos.File, widget cos.Dict) (w, h float64, matrix cos.Array, err error) {
	pw := pageWalk{f: f}
	a, err := f.Array(widget["Rect"])
	if err != nil || len(a) != 4 {
		return 0, 0, nil, err
	}
	r, err := pw.rect(a)
	if err != nil {
		return 0, 0, nil, nil // no size: invisible
	}
	mk, err := f.Dict(widget["MK"])
	if err != nil {
		return 0, 0, nil, err
	}
	turn, _ := f.Int(mk["R"])
	turn = (turn%360 + 360) % 360
	if turn%180 != 0 {
		return r.H(), r.W(), turned(turn), nil
	}
	return r.W(), r.H(), turned(turn), nil
}

// turned is the matrix of an appearance on a page that is shown turned by so
// many degrees clockwise; nil for none.
func turned(degrees int) cos.Array {
	switch degrees {
	case 90:
		return cos.Array{0, 1, -1, 0, 0, 0}
	case 180:
		return cos.Array{-1, 0, 0, -1, 0, 0}
	case 270:
		return cos.Array{0, -1, 1, 0, 0, 0}
	}
	return nil
}

// draw puts the signature on the left and the words on the right; in a narrow
// box the words go below.
func (l *Look) draw(c *canvas, w, h float64) error {
	pad := min(6, h*0.08)
	if l.frame {
		c.frame(0.3, 0.3, w-0.6, h-0.6, hair, 0.6)
	}
	x, y, tw, th := pad, pad, w-2*pad, h-2*pad // of the words
	drawn := len(l.Appearance.Strokes) > 0 || l.Appearance.Typed != ""
	if drawn {
		sx, sy, sw, sh := pad, pad, w*0.46-2*pad, h-2*pad
		if w < 2*h {
			sx, sy, sw, sh = pad, h*0.45, w-2*pad, h*0.55-pad
			th = h*0.45 - pad
		} else {
			x, tw = w*0.46+pad, w*0.54-2*pad
			c.line(w*0.46, pad, w*0.46, h-pad, hair, 0.5)
		}
		if err := l.signature(c, sx, sy, sw, sh); err != nil {
			return err
		}
	} else {
		c.box(0, 0, 2.5, h, accent)
		x, tw = x+4, tw-4
	}
	l.words(c, x, y, tw, th)
	return nil
}

// signature draws the strokes, or the typed name as large as it fits.
func (l *Look) signature(c *canvas, x, y, w, h float64) error {
	if len(l.Appearance.Strokes) > 0 {
		return c.strokes(l.Appearance, x, y, w, h, max(0.7, min(1.5, h/36)))
	}
	face := italic.face()
	size := min(24, h*0.6)
	if long := face.Width(l.Appearance.Typed, size); long > w {
		size = max(min(size, 5), size*w/long) // a signature is not cut where that can be helped
	}
	name, size := fit(italic, size, w, l.Appearance.Typed)
	used := face.Width(name, size)
	c.text(x+(w-used)/2, y+h/2-size*float64(face.CapHeight)/2000, italic, size, ink, name)
	return nil
}

// words sets the name and the small print, as large as fits the box.
func (l *Look) words(c *canvas, x, y, w, h float64) {
	size := min(7, h/8)
	var lines []string
	for ; ; size *= 0.93 {
		lines = lines[:0]
		for _, s := range l.Lines {
			lines = append(lines, wrap(regular, size, w, s)...)
		}
		if need := size*1.45 + float64(len(lines))*size*1.28; need <= h || size < 3 {
			break
		}
	}
	need := size*1.45 + float64(len(lines))*size*1.28
	at := y + h - max(0, (h-need)/2) - size*1.1
	c.fitted(x, at, w, bold, size*1.25, black, l.Name)
	at -= size * 0.2
	for _, s := range lines {
		at -= size * 1.28
		if at < y-0.5 {
			break // more words than the box can hold legibly
		}
		c.text(x, at, regular, size, grey, s)
	}
}

// fillParaphs gives every paraph of a signatory the same new appearance, one for
// each way that pages are turned.
func (l *Look) fillParaphs(f *cos.File, u *cos.Update, name string, e earlier) error {
	parent, err := FindField(f, name)
	if err != nil || parent == nil {
		return err
	}
	kids, err := f.Array(parent.Dict["Kids"])
	if err != nil {
		return err
	}
	type shape struct {
		turn int
		w, h float64
	}
	made := map[shape]cos.Ref{}
	for _, k := range kids {
		ref, ok := k.(cos.Ref)
		if !ok {
			continue
		}
		d, err := u.Dict(ref)
		if err != nil {
			return err
		}
		w, h, matrix, err := widgetBox(f, d)
		if err != nil {
			return err
		}
		if w < 4 || h < 4 {
			continue
		}
		mk, _ := f.Dict(d["MK"])
		turn, _ := f.Int(mk["R"])
		key := shape{turn, round(w), round(h)}
		ap, ok := made[key]
		if !ok {
			c := newCanvas()
			if err := l.paraph(c, w, h); err != nil {
				return err
			}
			form := c.form(w, h, matrix, fontsFor(u, e, c))
			keepNamed(f, d, form)
			ap = u.Add(form)
			made[key] = ap
		}
		d["AP"] = cos.Dict{"N": ap}
		d["V"] = cos.Text(l.initials()) // an appearance that changes without its value is suspicious
		u.Set(ref, d)
	}
	return nil
}

func (l *Look) initials() string {
	if l.Appearance.Typed != "" {
		return initials(l.Appearance.Typed)
	}
	return initials(l.Name)
}

// paraph draws the small signature, or the initials.
func (l *Look) paraph(c *canvas, w, h float64) error {
	c.line(1, 1, w-1, 1, hair, 0.4)
	if len(l.Appearance.Strokes) > 0 {
		return c.strokes(l.Appearance, 1, 2, w-2, h-3, 0.6)
	}
	text, size := fit(italic, h*0.62, w-2, l.initials())
	c.text((w-italic.face().Width(text, size))/2, h*0.28, italic, size, ink, text)
	return nil
}

// initials are the first letters of the words of a name, at most four.
func initials(name string) string {
	var b strings.Builder
	n := 0
	for word := range strings.FieldsFuncSeq(name, func(r rune) bool { return unicode.IsSpace(r) || r == '-' }) {
		for _, r := range word {
			if unicode.IsLetter(r) || unicode.IsDigit(r) {
				b.WriteRune(unicode.ToUpper(r))
				n++
				break
			}
		}
		if n == 4 {
			break
		}
	}
	if n == 0 {
		return fmt.Sprintf("%.4s", name)
	}
	return b.String()
}
