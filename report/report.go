package report

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"codeberg.org/go-pdf/fpdf"
	"golang.org/x/image/font/gofont/gobold"
	"golang.org/x/image/font/gofont/gomono"
	"golang.org/x/image/font/gofont/goregular"

	"milterd/signature/pdf/font"
	"milterd/workflow"
)

// Config is what every report says of the house.
type Config struct {
	Organisation string
	Root         string   // address of the organisation's root certificate; "" where that is somebody else's
	TSA          []string // addresses of the timestamp authorities; none means the organisation's own clock
}

// Reporter implements workflow.Reporter.
type Reporter struct{ c Config }

// New gives a Reporter.
func New(c Config) *Reporter { return &Reporter{c} }

// Report writes the certificate of completion of a session that has been
// sealed, in its sender's language: A4, one to a few pages.
func (r *Reporter) Report(_ context.Context, s *workflow.Session, events []workflow.Event) ([]byte, error) {
	if len(events) == 0 || s.Sender() == nil {
		return nil, fmt.Errorf("report on session %s: it has no sender or no audit trail", s.ID)
	}
	w := speak(s.Sender().Language)
	p := newPage(w, s, events[len(events)-1])
	p.heading(w.say("title"))
	p.text(w.say("intro", r.c.Organisation))
	p.overview(s, events)
	p.text(w.level(s, r.c.Organisation))
	p.documents(s)
	p.signatories(s, r.c.Organisation)
	p.trail(events)
	if len(r.c.TSA) == 0 {
		p.small(w.say("clock.own", r.c.Organisation))
	} else {
		p.small(w.say("clock.tsa", strings.Join(r.c.TSA, ", ")))
	}
	p.small(w.say("verify"))
	if r.c.Root != "" {
		p.small(w.say("root", r.c.Root))
	}
	if slices.ContainsFunc(s.People, func(q workflow.Participant) bool {
		return q.Act != nil && (q.Act.Proof.Assertion != nil || q.Act.Accepted != nil)
	}) {
		p.small(w.say("evidence", s.ID))
	}
	var out bytes.Buffer
	if err := p.pdf.Output(&out); err != nil {
		return nil, fmt.Errorf("report on session %s: %w", s.ID, err)
	}
	return out.Bytes(), nil
}

func (p *page) overview(s *workflow.Session, events []workflow.Event) {
	w := p.words
	p.row(w.say("session"), s.ID)
	p.row(w.say("subject"), s.Thread.Subject)
	p.row(w.say("level"), w.say("level."+string(s.Level)))
	p.row(w.say("sender"), address(s.Sender().Person))
	p.row(w.say("proven"), w.sender(s.ProvenBy))
	p.row(w.say("asked"), when(s.Created))
	p.row(w.say("deadline"), when(s.Deadline))
	for _, e := range events {
		if e.Kind == workflow.EventSealed {
			p.row(w.say("done"), when(e.Time))
		}
	}
	p.gap()
}

func (p *page) documents(s *workflow.Session) {
	w := p.words
	p.section(w.say("documents"))
	for _, i := range s.Mailed() {
		d := &s.Documents[i]
		about := w.say("pages", d.Pages)
		switch {
		case d.Pages == 1:
			about = w.say("page")
		case d.Pages == 0:
			about = d.Type
		}
		if !d.Grows() {
			about += " · " + w.say("form."+string(d.Form), d.ResultName())
		}
		p.item(d.Name, about)
		p.digest(w.say("before"), d.Original().SHA256.String())
		p.digest(w.say("after"), d.Head().SHA256.String())
		if d.Signed {
			p.small(w.say("presigned"))
		}
		if from := s.SourceOf(d); from != nil {
			p.small(w.say("converted", d.Maker, from.Name, from.Original().Size))
			p.digest(w.say("source"), from.Original().SHA256.String())
		}
		p.gap()
	}
}

func (p *page) signatories(s *workflow.Session, organisation string) {
	w := p.words
	p.section(w.say("signatories"))
	for _, i := range s.Signatories() {
		q := &s.People[i]
		p.item(font.Printed(q.Name, q.Mail), q.Mail)
		p.row(w.say("opened"), when(q.Opened))
		p.row(w.say("signed"), when(q.Decided))
		if a := q.Act; a != nil {
			p.row(w.say("how"), w.how(&a.Proof, q.Mail))
			if a.Proof.Approved != "" {
				p.row(w.say("enrolled"), w.say("approved", when(a.Proof.Enrolled), w.approvedBy(a.Proof.Approved)))
			}
			p.shown(s, a.Shown)
			switch q := a.Accepted; {
			case q != nil:
				p.row(w.say("key"), w.say(string(q.Level)+" key", q.Serial))
				p.row(w.say("issuer"), clean(q.Issuer))
				p.row(w.say("vouched"), clean(q.Vouched))
			case len(a.Own) > 0:
				p.row(w.say("key"), w.say("own key", a.Own[0].Certificate))
				if others(s) {
					p.row(w.say("issuer"), organisation)
				}
			}
			how := "drawn"
			if a.Appearance.Typed != "" {
				how = "typed"
			}
			p.row(w.say("appearance"), w.say(how))
			if a.Proof.Client != "" {
				p.row(w.say("from"), a.Proof.Client)
			}
		}
		p.gap()
	}
}

// shown are the digests that the page computed from what it showed; each with its
// document's name where there are several.
func (p *page) shown(s *workflow.Session, shown []workflow.Shown) {
	for _, d := range shown {
		if len(shown) > 1 && d.Document < len(s.Documents) {
			p.row("", s.Documents[d.Document].Name)
		}
		p.digest(p.words.say("shown"), d.SHA256.String())
	}
}

func (p *page) trail(events []workflow.Event) {
	w := p.words
	p.section(w.say("trail"))
	for _, e := range events {
		p.event(e)
	}
	p.gap()
	p.small(w.say("trailnote"))
	p.digest(w.say("last"), events[len(events)-1].Hash.String())
	p.gap()
}

// told are the details that the trail shows, in this order; the others are for programs.
var told = []string{"certificate", "proof", "device", "signatory", "approved by", "by", "reason", "comment", "message-id"}

// what is an event in words; some read otherwise after another proof.
func (w words) what(e workflow.Event) string {
	if s, ok := w["e."+string(e.Kind)+"."+e.Detail["proof"]]; ok {
		return s
	}
	return w.say("e." + string(e.Kind))
}

// level says what the session's level means. At Advanced the organisation has issued the
// certificates, unless one of another authority was taken.
func (w words) level(s *workflow.Session, organisation string) string {
	if s.Level == workflow.Advanced && others(s) {
		return w.say("advanced others")
	}
	return w.say(string(s.Level), organisation)
}

// others says whether a certificate of another authority was taken.
func others(s *workflow.Session) bool {
	return slices.ContainsFunc(s.People, func(q workflow.Participant) bool { return q.Act != nil && q.Act.Accepted != nil })
}

// how says how somebody was recognised: by their mailbox, or by a device.
func (w words) how(p *workflow.Proof, mail string) string {
	if p.Device != "" {
		return w.say(p.Method, p.Device)
	}
	return w.say(p.Method, mail)
}

// sender says how the sender was recognised (workflow.Opening, ProvenBy).
func (w words) sender(by string) string {
	how, who, _ := strings.Cut(by, " ")
	switch how {
	case "sasl":
		return w.say("by.login", who)
	case "client":
		return w.say("by.client", who)
	case "dkim":
		if domain, by, ok := strings.Cut(who, " checked by "); ok {
			return w.say("by.dkim.checked", domain, by)
		}
		return w.say("by.dkim", who)
	case "confirmed":
		return w.say("by.mailbox")
	}
	return by
}

// approvedBy is the second proof of a device's enrolment, or what a key was
// certified on.
func (w words) approvedBy(by string) string {
	if serial, ok := strings.CutPrefix(by, "device key "); ok {
		return w.say("by.key", serial)
	}
	if name, ok := strings.CutPrefix(by, "device "); ok {
		return w.say("by.device", name)
	}
	switch by {
	case "directory password":
		return w.say("by.password")
	case "identity card":
		return w.say("by.card")
	case "first signature":
		return w.say("by.signature")
	case "enrolment", "passkey":
		return w.say("by." + by)
	}
	return w.say("by.administrator")
}

// detail is an event's detail in a fixed order; digests stand in full above.
func (w words) detail(e workflow.Event) string {
	var parts []string
	switch e.Kind {
	case workflow.EventMailed, workflow.EventUnsent, workflow.EventBounced:
		parts = append(parts, w.say("m."+e.Detail["mail"])+" → "+e.Detail["to"])
	case workflow.EventSealedFor:
		parts = append(parts, e.Detail["on behalf of"])
	default:
		for _, k := range told {
			v := e.Detail[k]
			if _, said := w["e."+string(e.Kind)+"."+v]; v != "" && v != e.Actor && !said {
				parts = append(parts, w.told(k, v))
			}
		}
	}
	if e.Client != "" {
		parts = append(parts, e.Client)
	}
	return strings.Join(parts, " · ")
}

// told is one detail in words: reasons are stable words, with a sentence for
// each that can happen to somebody who means well; what people have written,
// names and other codes stay.
func (w words) told(key, value string) string {
	switch key {
	case "proof":
		return w.say("d." + value)
	case "approved by", "by":
		return w.approvedBy(value)
	case "certificate":
		return w.say("d.certificate", value)
	case "reason":
		if s, ok := w["r."+value]; ok {
			return s
		}
	}
	return value
}

func address(p workflow.Person) string { return font.Printed(p.Name+" <"+p.Mail+">", p.Mail) }

// clean makes foreign text printable: control and format characters (bidi
// overrides among them) go, what lies beyond the fonts' plane is marked.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\n':
			return ' '
		case !unicode.IsPrint(r) && r != ' ':
			return -1
		case r > 0xFFFF:
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}

// page is the PDF while it is written, in millimetres on A4.
type page struct {
	pdf   *fpdf.Fpdf
	words words
}

const (
	margin = 18.0
	width  = 210 - 2*margin
	label  = 46.0 // of a row
	total  = "{pages}"
)

func newPage(w words, s *workflow.Session, last workflow.Event) *page {
	pdf := fpdf.New("P", "mm", "A4", "")
	pdf.AddUTF8FontFromBytes("go", "", goregular.TTF)
	pdf.AddUTF8FontFromBytes("go", "B", gobold.TTF)
	pdf.AddUTF8FontFromBytes("mono", "", gomono.TTF)
	pdf.SetCatalogSort(true)
	pdf.SetCreationDate(last.Time)
	pdf.SetModificationDate(last.Time)
	pdf.SetProducer("milterd", true)
	pdf.SetTitle(w.say("title")+" "+s.ID, true)
	pdf.SetMargins(margin, margin, margin)
	pdf.SetAutoPageBreak(true, margin+6)
	pdf.AliasNbPages(total)
	pdf.SetFooterFunc(func() {
		pdf.SetY(-margin)
		pdf.SetFont("go", "", 7.5)
		pdf.SetTextColor(110, 110, 110)
		pdf.CellFormat(width, 5, w.say("foot", s.ID, fmt.Sprint(pdf.PageNo()), total), "", 0, "C", false, 0, "")
	})
	pdf.AddPage()
	return &page{pdf, w}
}

func (p *page) heading(s string) {
	p.pdf.SetFont("go", "B", 20)
	p.pdf.SetTextColor(20, 45, 85)
	p.pdf.MultiCell(width, 10, clean(s), "", "L", false)
	p.pdf.Ln(1)
}

func (p *page) section(s string) {
	p.room(30)
	p.pdf.Ln(3)
	p.pdf.SetFont("go", "B", 12)
	p.pdf.SetTextColor(20, 45, 85)
	p.pdf.MultiCell(width, 7, clean(s), "B", "L", false)
	p.pdf.Ln(2)
}

// room breaks the page if less than h is left, so that a heading never stands alone.
func (p *page) room(h float64) {
	if _, height := p.pdf.GetPageSize(); p.pdf.GetY()+h > height-margin-6 {
		p.pdf.AddPage()
	}
}

func (p *page) text(s string) {
	p.pdf.SetFont("go", "", 9.5)
	p.pdf.SetTextColor(30, 30, 30)
	p.pdf.MultiCell(width, 4.8, clean(s), "", "L", false)
	p.gap()
}

func (p *page) small(s string) {
	p.pdf.SetFont("go", "", 8)
	p.pdf.SetTextColor(90, 90, 90)
	p.pdf.MultiCell(width, 4.2, clean(s), "", "L", false)
}

func (p *page) gap() { p.pdf.Ln(2.5) }

// item is a line in bold with a remark behind it.
func (p *page) item(name, remark string) {
	p.room(24)
	p.pdf.SetFont("go", "B", 9.5)
	p.pdf.SetTextColor(30, 30, 30)
	p.pdf.MultiCell(width, 5, clean(name), "", "L", false)
	if remark != name {
		p.small(remark)
	}
}

func (p *page) row(key, value string) {
	p.room(10)
	y := p.pdf.GetY()
	p.pdf.SetFont("go", "", 8.5)
	p.pdf.SetTextColor(90, 90, 90)
	p.pdf.MultiCell(label, 4.8, clean(key), "", "L", false)
	after := p.pdf.GetY()
	p.pdf.SetXY(margin+label, y)
	p.pdf.SetTextColor(30, 30, 30)
	p.pdf.MultiCell(width-label, 4.8, clean(value), "", "L", false)
	p.pdf.SetXY(margin, max(after, p.pdf.GetY()))
}

// digest is a row in a typewriter face, on one line.
func (p *page) digest(key, hex string) {
	p.room(10)
	p.pdf.SetFont("go", "", 8.5)
	p.pdf.SetTextColor(90, 90, 90)
	p.pdf.CellFormat(label, 4.8, clean(key), "", 0, "L", false, 0, "")
	p.pdf.SetFont("mono", "", 7.6)
	p.pdf.SetTextColor(30, 30, 30)
	p.pdf.CellFormat(width-label, 4.8, hex, "", 1, "L", false, 0, "")
}

// event is one entry of the trail: number, time, what happened; beside it who
// caused it, and what else is known.
func (p *page) event(e workflow.Event) {
	p.room(12)
	y := p.pdf.GetY()
	p.pdf.SetFont("mono", "", 7.2)
	p.pdf.SetTextColor(90, 90, 90)
	p.pdf.CellFormat(8, 4.4, fmt.Sprint(e.Seq), "", 0, "L", false, 0, "")
	p.pdf.CellFormat(38, 4.4, when(e.Time), "", 0, "L", false, 0, "")
	p.pdf.SetFont("go", "B", 7.8)
	p.pdf.SetTextColor(30, 30, 30)
	p.pdf.MultiCell(54, 4.4, clean(p.words.what(e)), "", "L", false)
	after := p.pdf.GetY()
	p.pdf.SetXY(margin+100, y)
	p.pdf.SetFont("go", "", 7.8)
	who := clean(e.Actor)
	if d := clean(p.words.detail(e)); d != "" {
		who += " · " + d
	}
	p.pdf.MultiCell(width-100, 4.4, who, "", "L", false)
	p.pdf.SetXY(margin, max(after, p.pdf.GetY()))
}
