package pdf

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/pdfcpu/pdfcpu/pkg/api"
	"github.com/pdfcpu/pdfcpu/pkg/pdfcpu/model"

	"milterd/signature/pdf/cos"
	"milterd/workflow"
)

// Info says what is in a document that can be signed.
type Info struct {
	Version     string         `json:"version"` // of the header: "1.7"
	Pages       int            `json:"pages"`
	Sizes       []PageSize     `json:"sizes"`
	Signed      bool           `json:"signed"`
	Signatures  []SignedField  `json:"signatures,omitempty"`
	Permission  int            `json:"permission,omitempty"`   // of a certification: 2 forms and signatures, 3 annotations too; 0 without one
	EmptyFields []string       `json:"empty_fields,omitempty"` // signature fields that may be signed, in the order of the form
	Fields      int            `json:"fields,omitempty"`       // form fields of all kinds
	Notes       []string       `json:"notes,omitempty"`        // what the signatory must be told, of NoteKeys
	Active      map[string]int `json:"active,omitempty"`       // what the notes speak of, counted
}

// PageSize is a page as it is seen, in points, and how it is turned.
type PageSize struct {
	W      float64 `json:"w"`
	H      float64 `json:"h"`
	Rotate int     `json:"rotate,omitempty"`
}

// SignedField is a signature that was there when the document came. Nobody has
// verified it.
type SignedField struct {
	Field     string  `json:"field"`
	SubFilter string  `json:"subfilter"`
	ByteRange []int64 `json:"byte_range"`
	Name      string  `json:"name,omitempty"` // as the signature dictionary claims
}

// Limits of Inspect.
const (
	MaxBytes   = 100 << 20
	maxObjects = 300_000
)

// Inspect reads a foreign document wholly: every object that can be reached must
// be where the cross-references say, and a second reader (pdfcpu) must agree.
// Its error is a *workflow.Refusal; Reason is "not-pdf", "broken-pdf",
// "encrypted-pdf", "xfa-pdf", "pdf-too-complex", "pdf-too-large" or
// "certified-no-changes". Hostile files are for InspectInChild.
func Inspect(data []byte) (*Info, error) {
	if len(data) > MaxBytes {
		return nil, &workflow.Refusal{Code: 552, Enhanced: "5.3.4", Reason: "pdf-too-large",
			Text: fmt.Sprintf("The PDF is larger than %d MB.", MaxBytes>>20)}
	}
	info, err := inspect(data)
	if err == nil {
		err = secondReader(data, info.Pages)
	}
	if err != nil {
		return nil, refuse(err)
	}
	return info, nil
}

// errors that inspection adds to those of cos.
var (
	errXFA       = errors.New("an XFA form")
	errCertified = errors.New("an earlier signature allows no change")
)

// refuse gives the words for an error.
func refuse(err error) *workflow.Refusal {
	r := &workflow.Refusal{Code: 554, Err: err}
	switch {
	case errors.As(err, &r):
	case errors.Is(err, cos.ErrNotPDF):
		r.Enhanced, r.Reason = "5.6.1", "not-pdf"
		r.Text = "The attachment is not a PDF, whatever its name says. Please send the document as PDF."
	case errors.Is(err, cos.ErrEncrypted):
		r.Enhanced, r.Reason = "5.7.5", "encrypted-pdf"
		r.Text = "The PDF is protected by a password or by restrictions. Please save it without protection and send it again."
	case errors.Is(err, errXFA):
		r.Enhanced, r.Reason = "5.6.3", "xfa-pdf"
		r.Text = "The PDF is a dynamic XFA form, which cannot be signed soundly. Please print it to a new PDF and send that."
	case errors.Is(err, errCertified):
		r.Enhanced, r.Reason = "5.7.1", "certified-no-changes"
		r.Text = "The PDF carries a signature that allows no further change, so nobody can sign it after. Please ask its author for a version that can be signed."
	case errors.Is(err, cos.ErrLimit):
		r.Enhanced, r.Reason = "5.6.0", "pdf-too-complex"
		r.Text = "The PDF is too complex to be handled safely. Please print it to a new PDF and send that."
	default:
		r.Enhanced, r.Reason = "5.6.2", "broken-pdf"
		r.Text = "The PDF is damaged: readers would have to guess what is in it. Please export it again, or print it to a new PDF, and send that."
	}
	return r
}

func inspect(data []byte) (*Info, error) {
	f, err := cos.Open(data)
	if err != nil {
		return nil, err
	}
	if _, err := f.Sections(); err != nil {
		return nil, err
	}
	if f.Size() > 4*maxObjects {
		return nil, fmt.Errorf("Size %d: %w", f.Size(), cos.ErrLimit)
	}
	cat, err := f.Catalog()
	if err != nil {
		return nil, err
	}
	info := &Info{Version: version(data)}
	pages, err := Pages(f, 0)
	if err != nil {
		return nil, err
	}
	info.Pages = len(pages)
	for _, p := range pages {
		w, h := p.Size()
		info.Sizes = append(info.Sizes, PageSize{round(w), round(h), p.Rotate})
	}
	form, err := f.Dict(cat["AcroForm"])
	if err != nil {
		return nil, err
	}
	if xfa, err := f.Resolve(form["XFA"]); err != nil || xfa != nil || cat["NeedsRendering"] == true {
		return nil, errors.Join(errXFA, err)
	}
	if err := checkAnchors(f, cat); err != nil {
		return nil, err
	}
	if err := info.readSignatures(f); err != nil {
		return nil, err
	}
	if err := info.walk(f, cat); err != nil {
		return nil, err
	}
	if err := rehearse(data); err != nil {
		return nil, err
	}
	return info, nil
}

func version(data []byte) string {
	i := bytes.Index(data[:min(len(data), 1024)], []byte("%PDF-")) + len("%PDF-")
	end := i
	for end < len(data) && end < i+3 && (data[end] == '.' || data[end] >= '0' && data[end] <= '9') {
		end++
	}
	return string(data[i:end])
}

// readSignatures lists signatures and the fields that may still be signed.
func (info *Info) readSignatures(f *cos.File) error {
	signatures, err := Signatures(f)
	if err != nil {
		return err
	}
	for i := len(signatures) - 1; i >= 0; i-- {
		s := signatures[i]
		if !s.whole(f.Data()) {
			return fmt.Errorf("signature in %q is not one: %w", s.Field.Name, cos.ErrBroken)
		}
		info.Signed = true
		info.Signatures = append(info.Signatures, SignedField{
			Field: s.Field.Name, SubFilter: string(s.SubFilter), ByteRange: s.ByteRange, Name: f.String(s.Dict["Name"]).UTF8(),
		})
	}
	rules, err := ReadRules(f)
	if err != nil {
		return err
	}
	// The seal, at least, always needs a new field.
	if why := rules.Forbid(SealName(rehearsal)); why != "" {
		return fmt.Errorf("%w: %s", errCertified, why)
	}
	info.Permission = rules.permission
	info.Fields = len(rules.Fields)
	empty, err := EmptyFields(f, rules)
	for _, fd := range empty {
		info.EmptyFields = append(info.EmptyFields, fd.Name)
	}
	return err
}

// hasFields reports whether a field is only the parent of others.
func hasFields(f *cos.File, fd *Field) bool {
	kids, err := f.Array(fd.Dict["Kids"])
	if err != nil {
		return false
	}
	for _, k := range kids {
		if d, err := f.Dict(k); err == nil && d["T"] != nil {
			return true
		}
	}
	return false
}

// secondReader lets pdfcpu read the document, and compares what it found.
func secondReader(data []byte, pages int) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("pdfcpu: %v: %w", p, cos.ErrBroken)
		}
	}()
	api.DisableConfigDir()
	conf := model.NewDefaultConfiguration()
	conf.ValidationMode = model.ValidationRelaxed
	conf.Offline = true
	ctx, err := api.ReadContext(bytes.NewReader(data), conf)
	if err != nil {
		return fmt.Errorf("pdfcpu: %w: %w", cos.ErrBroken, err)
	}
	if err := ctx.EnsurePageCount(); err != nil {
		return fmt.Errorf("pdfcpu: %w: %w", cos.ErrBroken, err)
	}
	if ctx.PageCount != pages {
		return fmt.Errorf("pdfcpu finds %d pages, not %d: %w", ctx.PageCount, pages, cos.ErrBroken)
	}
	return nil
}
