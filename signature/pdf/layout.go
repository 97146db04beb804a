package pdf

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"milterd/signature/pdf/cos"
	"milterd/signature/pdf/font"
	"milterd/workflow"
)

// Plan says what Layout writes.
type Plan struct {
	Organisation string
	VAT          string // may be empty
	Session      string
	Document     string // file name
	Level        workflow.Level
	Sender       string // name and address, as it is to be printed
	Created      time.Time
	SHA256       [32]byte // of the document, for printing; zero: Layout computes it
	Signatories  []Signatory
}

// Signatory is somebody who gets a box on a signature page.
type Signatory struct {
	Person int // index in Session.People, for FieldName
	Name   string
	Mail   string
}

// Limits of a layout. Beyond those of paraphs a document is signed without
// them; its signatures cover every page all the same.
const (
	MaxSignatories  = 100
	MaxParaphPages  = 300
	MaxParaphFields = 1500 // pages times signatories
)

// Layout gives the first increment of an unsigned document, with everything that
// will ever be visible: signature pages at the end, a watermark on each page, a
// paraph field per page and signatory, a signature field per signatory, the
// seal's field, and an invisible one for the document timestamp. It is nil for
// a document that has signatures already: there nothing may be laid out.
//
// It works in this process, so it is for documents that InspectInChild let
// pass. What the document is to blame for is a *workflow.Refusal, also when
// layoutTime is over; what ctx ends is not.
func Layout(ctx context.Context, original []byte, plan Plan) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, layoutTime, fmt.Errorf("longer than %v: %w", layoutTime, cos.ErrLimit))
	defer cancel()
	f, err := cos.Open(original)
	var suffix []byte
	if err == nil {
		suffix, err = layout(ctx, f, plan)
	}
	if err == nil {
		return suffix, nil
	}
	err = fmt.Errorf("laying out %s: %w", plan.Document, err)
	if errors.Is(err, cos.ErrBroken) || errors.Is(err, cos.ErrLimit) || errors.Is(err, cos.ErrEncrypted) {
		return nil, refuse(err)
	}
	return nil, err
}

// layoutTime is how long one layout may take; it is looked at on each page.
var layoutTime = 30 * time.Second

// layouter holds one layout while it is made.
type layouter struct {
	f      *cos.File
	u      *cos.Update
	plan   Plan
	hash   [32]byte
	pages  []*Page
	fonts  cos.Dict // of all that is drawn; their objects are set last
	glyphs cos.Ref  // of glyphsKey
	used   *canvas  // collects the glyphs of all that is drawn

	fields  cos.Array
	annots  map[int]cos.Array // new widgets by page index
	paraphs []cos.Array       // kids by signatory

	shapes map[string]cos.Object // streams that several pages share, by what they draw
	shared map[sharing]cos.Ref   // new Resources
}

func layout(ctx context.Context, f *cos.File, plan Plan) ([]byte, error) {
	if n := len(plan.Signatories); n < 1 || n > MaxSignatories {
		return nil, fmt.Errorf("%d signatories, want 1 to %d", n, MaxSignatories)
	}
	signed, err := Signatures(f)
	if err != nil || len(signed) > 0 {
		return nil, err
	}
	pages, err := Pages(f, 0)
	if err != nil {
		return nil, err
	}
	l := &layouter{
		f: f, u: f.NewUpdate(), plan: plan, hash: plan.SHA256, pages: pages,
		used: newCanvas(), annots: map[int]cos.Array{},
		shapes: map[string]cos.Object{}, shared: map[sharing]cos.Ref{}, paraphs: make([]cos.Array, len(plan.Signatories)),
	}
	if l.hash == [32]byte{} {
		l.hash = sha256.Sum256(f.Data())
	}
	l.glyphs, l.fonts = l.u.Reserve(), cos.Dict{}
	for _, s := range []style{regular, bold, italic} {
		l.fonts[cos.Name(s)] = l.u.Reserve()
	}
	for i, p := range pages {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err := l.page(i, p); err != nil {
			return nil, fmt.Errorf("page %d: %w", i+1, err)
		}
	}
	if err := l.signaturePages(); err != nil {
		return nil, err
	}
	if err := l.form(); err != nil {
		return nil, err
	}
	texts := []string{plan.Organisation, plan.VAT}
	for _, s := range plan.Signatories {
		texts = append(texts, font.Printed(s.Name, s.Mail))
	}
	l.used.base(texts...)
	sets := cos.Dict{}
	for _, s := range []style{regular, bold, italic} {
		sets[cos.Name(s)] = cos.String(bits(slices.Sorted(maps.Keys(l.used.used[s]))))
		embedFontAt(l.u, s, l.used.used[s], l.fonts[cos.Name(s)].(cos.Ref))
	}
	l.u.Set(l.glyphs, sets)
	return l.u.Bytes()
}

// canvas begins a drawing whose glyphs go into the layout's fonts.
func (l *layouter) canvas() *canvas {
	c := newCanvas()
	c.used = l.used.used
	return c
}

// page puts the watermark and the paraph fields on a page of the document.
func (l *layouter) page(i int, p *Page) error {
	d, err := l.u.Dict(p.Ref)
	if err != nil {
		return err
	}
	changed, err := l.watermark(p, d)
	if err != nil {
		return err
	}
	if l.addParaphs(i, p) || i == 0 {
		changed = true
		if i == 0 {
			l.addTimeField(p)
		}
		if err := l.addAnnots(d, l.annots[i]); err != nil {
			return err
		}
	}
	if changed {
		l.u.Set(p.Ref, d)
	}
	return nil
}

// addAnnots appends widgets to a page's annotations, wherever their array stands.
func (l *layouter) addAnnots(page cos.Dict, widgets cos.Array) error {
	old, err := l.f.Array(page["Annots"])
	if err != nil {
		return err
	}
	// An array that is an object of its own may be shared by pages: this page gets its own.
	page["Annots"] = append(append(cos.Array{}, old...), widgets...)
	return nil
}

// Paraphs stand in a row at the bottom right, as seen.
const (
	paraphWidth  = 46.0
	paraphHeight = 18.0
	paraphBottom = 12.0
	paraphGap    = 5.0
	pageMargin   = 24.0
)

func (l *layouter) addParaphs(i int, p *Page) bool {
	n := len(l.plan.Signatories)
	w, h := p.Size()
	step := min(paraphWidth+paraphGap, (w-2*pageMargin)/float64(n))
	if len(l.pages) > MaxParaphPages || len(l.pages)*n > MaxParaphFields || step < 18 || h < 90 {
		return false
	}
	for s := range n {
		x := w - pageMargin - float64(n-s)*step + paraphGap
		r := Rect{x, paraphBottom, x + step - paraphGap, paraphBottom + paraphHeight}
		c := l.canvas()
		c.line(1, 1, r.W()-1, 1, hair, 0.4)
		ap := l.shape(fmt.Sprintf("paraph %d %.2f", p.Rotate, r.W()), func() cos.Object {
			return l.u.Add(c.form(r.W(), r.H(), turned(p.Rotate), l.fonts))
		})
		w := widget(p, r, ap)
		w["FT"] = cos.Name("Tx")
		w["T"] = cos.Text(fmt.Sprintf("page %d", i+1))
		w["TU"] = cos.Text(fmt.Sprintf("Paraph of %s, page %d", l.plan.Signatories[s].Name, i+1))
		w["Ff"] = 1 // read only
		w["DA"] = cos.String("/MilterdI 0 Tf 0 g")
		ref := l.u.Reserve()
		l.paraphs[s] = append(l.paraphs[s], ref)
		l.annots[i] = append(l.annots[i], ref)
		l.u.Set(ref, w)
	}
	return true
}

// shape gives an object that is made once for all that look the same.
func (l *layouter) shape(key string, create func() cos.Object) cos.Object {
	o, ok := l.shapes[key]
	if !ok {
		o = create()
		l.shapes[key] = o
	}
	return o
}

// widget makes an annotation at a place as seen on the page; ap may be nil.
func widget(p *Page, r Rect, ap cos.Object) cos.Dict {
	m := p.matrix()
	x0, y0 := m.apply(r.X0, r.Y0)
	x1, y1 := m.apply(r.X1, r.Y1)
	d := cos.Dict{
		"Type": cos.Name("Annot"), "Subtype": cos.Name("Widget"), "F": 4, // printed
		"Rect": cos.Array{round(min(x0, x1)), round(min(y0, y1)), round(max(x0, x1)), round(max(y0, y1))},
		"P":    p.Ref,
	}
	if ap != nil {
		d["AP"] = cos.Dict{"N": ap}
	}
	if p.Rotate != 0 {
		d["MK"] = cos.Dict{"R": int64(p.Rotate)} // as it is when it is read
	}
	return d
}

// addTimeField adds the invisible field of the document timestamp.
func (l *layouter) addTimeField(p *Page) {
	ref := l.u.Add(cos.Dict{
		"Type": cos.Name("Annot"), "Subtype": cos.Name("Widget"), "FT": cos.Name("Sig"),
		"T": cos.Text(TimeName(l.plan.Session)), "F": 132, "Rect": cos.Array{0, 0, 0, 0}, "P": p.Ref,
		"AP": nothing(l.u),
	})
	l.annots[0] = append(l.annots[0], ref)
	l.fields = append(l.fields, ref)
}

// form adds all fields to the document's form, which keeps its own.
func (l *layouter) form() error {
	var parents cos.Array
	for s, kids := range l.paraphs {
		if len(kids) == 0 {
			continue
		}
		who := l.plan.Signatories[s]
		parent := l.u.Reserve()
		for _, k := range kids {
			d, err := l.u.Dict(k)
			if err != nil {
				return err
			}
			d["Parent"] = parent
			l.u.Set(k.(cos.Ref), d)
		}
		l.u.Set(parent, cos.Dict{
			"FT": cos.Name("Tx"), "Ff": 1, "T": cos.Text(ParaphName(l.plan.Session, who.Person)), "Kids": kids,
			"DA": cos.String("/MilterdI 0 Tf 0 g"),
		})
		parents = append(parents, parent)
	}
	// Fields are looked for from the last one back: first those that get signed.
	l.fields = append(parents, l.fields...)
	if err := addFields(l.f, l.u, l.fields...); err != nil {
		return err
	}
	cat, err := l.u.Dict(l.f.Root())
	if err != nil {
		return err
	}
	form, err := l.u.Dict(cat["AcroForm"])
	if err != nil {
		return err
	}
	dr, err := l.u.Dict(form["DR"])
	if err != nil {
		return err
	}
	fonts, err := l.u.Dict(dr["Font"])
	if err != nil {
		return err
	}
	fonts["MilterdI"] = l.fonts["I"]
	dr["Font"] = fonts
	form["DR"] = dr
	l.u.Set(cat["AcroForm"].(cos.Ref), form)
	return l.dropUsageRights(cat)
}

// dropUsageRights takes out the signature of Adobe's usage rights, which any
// change breaks and which then only frightens readers.
func (l *layouter) dropUsageRights(cat cos.Dict) error {
	perms, err := l.u.Dict(cat["Perms"])
	if err != nil || perms["UR3"] == nil && perms["UR"] == nil {
		return err
	}
	delete(perms, "UR3")
	delete(perms, "UR")
	cat["Perms"] = perms
	if len(perms) == 0 {
		delete(cat, "Perms")
	}
	l.u.Set(l.f.Root(), cat)
	return nil
}
