package intake

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"milterd/convert"
	"milterd/workflow"
)

// converting stands in for LibreOffice: its PDF says of what it was made.
type converting []string

func (c converting) Takes(name string) bool { return slices.Contains(c, convert.Kind(name)) }

func (converting) Convert(ctx context.Context, name string, content []byte) (*convert.Converted, error) {
	if strings.Contains(string(content), "hostile") {
		return nil, &workflow.Refusal{Code: 554, Enhanced: "5.6.3", Reason: "conversion-failed", Text: "no"}
	}
	if _, ok := ctx.Deadline(); !ok {
		return nil, fmt.Errorf("no deadline")
	}
	return &convert.Converted{PDF: []byte("%PDF-1.7 of " + name), By: "LibreOffice 7.4"}, nil
}

// TestConverts: which files become PDFs, what they are called, and which stay.
func TestConverts(t *testing.T) {
	pdf, docx, odt := file("application/pdf", "a.pdf", "%PDF-1.7 x"), file(word, "a.docx", "PK=03=04=00"), file("application/octet-stream", "b.ODT", "PK=03=04=00")
	for name, c := range map[string]struct {
		format Format
		raw    []byte
		want   string // documents, or a refusal
	}{
		"one":                {Auto, with("x", odt), "b.pdf pades of b.ODT"},
		"only PDFs":          {OnlyPDF, with("x", docx, pdf), "a.docx.pdf pades of a.docx;a.pdf pades"},
		"two of a name":      {Auto, with("x", docx, file(word, "a.odt", "PK")), "a.docx.pdf pades of a.docx;a.odt.pdf pades of a.odt"},
		"[asic]":             {Auto, with("[asic] x", docx), "a.docx asic"},
		"[cades]":            {Auto, with("[cades] x", docx), "a.docx cades"},
		"[pades]":            {Auto, with("[pades] x", docx), "a.pdf pades of a.docx"},
		"not configured":     {Auto, with("x", file("application/octet-stream", "a.xls", "x")), "a.xls asic"},
		"only PDFs, another": {OnlyPDF, with("x", file("application/octet-stream", "a.xls", "x")), "554 5.6.1 no-pdf"},
		"a PDF by its bytes": {Auto, with("x", file(word, "a.docx", "%PDF-1.7 x")), "a.docx.pdf pades"},
		"empty":              {Auto, with("x", file(word, "a.docx", "")), "554 5.6.2 empty-file"},
		"refused":            {Auto, with("x", pdf, file(word, "b.docx", "hostile")), "554 5.6.3 conversion-failed"},
	} {
		in, o := desk()
		in.Config.Format, in.Converter = c.format, converting{"docx", "odt"}
		if err := in.Message(t.Context(), envelope, c.raw); err != nil {
			if got := reason(err); got != c.want {
				t.Errorf("%s: got %s (%v), want %s", name, got, err, c.want)
			}
			continue
		}
		var got []string
		for _, d := range o.opened[0].Documents {
			s := d.Name + " " + string(d.Form)
			if d.Source != nil {
				s += " of " + d.Source.Name
				if string(d.Content) != "%PDF-1.7 of "+d.Source.Name || d.Source.Maker != "LibreOffice 7.4" || !strings.HasPrefix(string(d.Source.Content), "PK") || d.Source.Type == "" {
					t.Errorf("%s: %+v", name, d)
				}
			}
			got = append(got, s)
		}
		if g := strings.Join(got, ";"); g != c.want {
			t.Errorf("%s:\n got %s\nwant %s", name, g, c.want)
		}
	}
}
