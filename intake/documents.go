package intake

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"path"
	"regexp"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"milterd/mailparse"
	"milterd/signature/asic"
	"milterd/workflow"
)

// Format is which files are taken, and which form their signatures have where the
// subject names none.
type Format string

// The formats.
const (
	OnlyPDF   Format = ""     // PDFs, as PAdES; nothing else is taken
	Auto      Format = "auto" // PDF as PAdES, XML as XAdES, anything else as ASiC-E
	AllASiC   Format = "asic"
	AllCAdES  Format = "cades"
	formatPDF Format = "pdf" // how the configuration calls OnlyPDF
)

// attached is what a mail asks to be signed: its attachments, or its own text,
// which makes it a transaction.
func (in *Intake) attached(r *mailparse.Request) ([]mailparse.Document, error) {
	n := in.Config.Documents
	switch {
	case n > 0 && len(r.Documents) > n:
		return nil, errTooManyDocuments(n)
	case len(r.Documents) > 0:
		return r.Documents, nil
	case in.Config.onlyPDF():
		return nil, errNoDocument()
	case r.Body == nil:
		return nil, errNoText()
	}
	return []mailparse.Document{*r.Body}, nil
}

// documents inspects what is to be signed. Everything attached is asked for: a file
// that cannot be signed is refused, not silently left unsigned.
func (in *Intake) documents(ctx context.Context, r *mailparse.Request, level workflow.Level) ([]workflow.NewDocument, error) {
	attached, err := in.attached(r)
	if err != nil {
		return nil, err
	}
	pdfs := 0
	for _, d := range attached {
		if isPDF(d) {
			pdfs++
		}
	}
	// All forms first: they cost nothing, an inspection does.
	forms := make([]workflow.Form, len(attached))
	for i, d := range attached {
		if in.converts(d, r.Form) {
			forms[i] = workflow.PAdES
			continue
		}
		if forms[i], err = in.form(d, r.Form, level, pdfs > 0); err != nil {
			return nil, err
		}
	}
	out := make([]workflow.NewDocument, 0, len(attached))
	converting, cancel := context.WithTimeout(ctx, ConversionTime)
	defer cancel()
	for i, d := range attached {
		var n workflow.NewDocument
		if in.converts(d, r.Form) {
			n, err = in.converted(converting, d, attached)
		} else {
			n, err = in.document(ctx, d, forms[i], r.Form != "")
		}
		if err != nil {
			return nil, named(d.Name, err)
		}
		out = append(out, n)
	}
	return out, nil
}

func (c *Config) onlyPDF() bool { return c.Format == OnlyPDF || c.Format == formatPDF }

// form is how a document will be signed: as the subject says, or as the
// configuration does.
func (in *Intake) form(d mailparse.Document, asked workflow.Form, level workflow.Level, pdfs bool) (f workflow.Form, err error) {
	pdf, xml := isPDF(d), isXML(d)
	switch {
	case d.Type == "application/ms-tnef":
		return "", errWinmail()
	case in.Config.onlyPDF() && !pdf:
		return "", errNoPDF(d, pdfs)
	case in.Config.onlyPDF() && asked != "" && asked != workflow.PAdES:
		return "", errOnlyPAdES(asked)
	case asked == workflow.PAdES && !pdf:
		return "", errNotOfForm(d, asked, "PDF")
	case asked == workflow.XAdES && !xml:
		return "", errNotOfForm(d, asked, "XML")
	case asked != "":
		f = asked
	case in.Config.Format == AllASiC:
		f = workflow.ASiC
	case in.Config.Format == AllCAdES:
		f = workflow.CAdES
	case pdf:
		f = workflow.PAdES
	case xml && in.XML != nil && level == workflow.Standard:
		f = workflow.XAdES
	default:
		f = workflow.ASiC
	}
	if level != workflow.Standard && f == workflow.XAdES {
		return "", errFormAtLevel(d, f, level)
	}
	return f, nil
}

// document inspects one. A PDF is inspected whatever becomes of it, because pages
// show it; an XML document that takes no signature in itself goes into a container
// where nobody has asked for XAdES.
func (in *Intake) document(ctx context.Context, d mailparse.Document, form workflow.Form, asked bool) (workflow.NewDocument, error) {
	if len(d.Content) == 0 {
		return workflow.NewDocument{}, errEmpty()
	}
	n := workflow.NewDocument{Name: d.Name, Content: d.Content, Form: form}
	var sum workflow.Digest
	var beside sync.WaitGroup // the inspection is another process's work
	beside.Go(func() { sum = sha256.Sum256(d.Content) })
	if form != workflow.PAdES {
		n.Type, n.Sight = look(d)
	}
	var f Finding
	var err error
	switch {
	case isPDF(d):
		if f, err = in.Inspector.Inspect(ctx, d.Content); err != nil {
			return n, err
		}
		if most := in.Config.Pages; most > 0 && f.Pages > most {
			return n, errTooManyPages(f.Pages, most)
		}
	case form == workflow.XAdES:
		f, err = in.XML(ctx, d.Content)
		var r *workflow.Refusal
		if errors.As(err, &r) && r.Code >= 500 && !asked {
			n.Form, f, err = workflow.ASiC, Finding{}, nil
		}
		if err != nil {
			return n, err
		}
	}
	if n.Form == workflow.ASiC || n.Form == workflow.CAdES {
		if err := asic.CheckFiles(asic.Extended, []asic.File{{Name: d.Name, Content: d.Content}}); err != nil {
			return n, errContainer(err)
		}
	}
	beside.Wait()
	n.SHA256, n.Pages, n.Signed, n.Notes = sum, f.Pages, f.Signed, f.Notes
	return n, nil
}

// isPDF goes by what the file says of itself; what only its sender calls a PDF
// is one too, for the Inspector to say what is wrong with it.
func isPDF(d mailparse.Document) bool {
	return mailparse.LooksPDF(d.Content) || d.Type == "application/pdf" || strings.EqualFold(path.Ext(d.Name), ".pdf")
}

// isXML goes by what its sender calls it: pictures and pages of the Web are XML,
// too, and nobody expects an element more in them.
func isXML(d mailparse.Document) bool {
	return !isPDF(d) && (d.Type == "application/xml" || d.Type == "text/xml" || strings.EqualFold(path.Ext(d.Name), ".xml"))
}

// maxShownText is how much text a page shows.
const maxShownText = 1 << 20

var mediaType = regexp.MustCompile(`^[a-z0-9][a-z0-9!#$&^_.+-]{0,63}/[a-z0-9][a-z0-9!#$&^_.+-]{0,100}$`)

// look is the media type of a file, and what a page can show of it: by its bytes,
// whatever its sender calls it.
func look(d mailparse.Document) (kind string, sight workflow.Sight) {
	switch {
	case isPDF(d):
		return "application/pdf", workflow.AsPages
	case bytes.HasPrefix(d.Content, []byte("\x89PNG\r\n\x1a\n")):
		return "image/png", workflow.AsPicture
	case bytes.HasPrefix(d.Content, []byte("\xff\xd8\xff")):
		return "image/jpeg", workflow.AsPicture
	}
	kind, sight = "application/octet-stream", workflow.AsFile
	if mediaType.MatchString(d.Type) && !strings.HasPrefix(d.Type, "image/") {
		kind = d.Type
	}
	if isText(d.Content) {
		sight = workflow.AsText
		if kind == "application/octet-stream" {
			kind = "text/plain"
		}
	}
	if isXML(d) {
		kind = "application/xml"
	}
	return kind, sight
}

// isText reports whether a page can show all of a file as text.
func isText(content []byte) bool {
	return len(content) <= maxShownText && utf8.Valid(content) && !bytes.ContainsFunc(content, func(r rune) bool {
		return (unicode.IsControl(r) || unicode.Is(unicode.Co, r)) && r != '\t' && r != '\n' && r != '\r' && r != '\f'
	})
}

// named says which document a refusal is about.
func named(name string, err error) error {
	var r *workflow.Refusal
	if !errors.As(err, &r) {
		return errInspection(err)
	}
	c := *r
	c.Text = name + ": " + r.Text
	return &c
}
