package workflow

import (
	"path"
	"strings"
)

// Form is how the signatures of a document stand: within it, or around it.
type Form string

// The forms that a subject can name.
const (
	PAdES Form = "pades" // increments of the PDF
	XAdES Form = "xades" // elements of the XML document, which stays as it is but for them
	CAdES Form = "cades" // a message with the file inside
	ASiC  Form = "asic"  // a container, ASiC-E with CAdES, of the file and its signatures
)

// ParseForm reads the word for a form in any case.
func ParseForm(s string) (Form, bool) {
	switch f := Form(strings.ToLower(s)); f {
	case PAdES, XAdES, CAdES, ASiC:
		return f, true
	case "asic-e":
		return ASiC, true
	}
	return "", false
}

// String gives the word as the standards write it.
func (f Form) String() string {
	switch f {
	case XAdES:
		return "XAdES"
	case CAdES:
		return "CAdES"
	case ASiC:
		return "ASiC-E"
	}
	return "PAdES"
}

// Sight is what a page can show of a document, so that its signatory sees it.
type Sight string

// The sights; a PDF is shown page by page.
const (
	AsPages   Sight = ""
	AsText    Sight = "text"    // UTF-8 without control characters
	AsPicture Sight = "picture" // PNG or JPEG, as Document.Type says
	AsFile    Sight = "file"    // only with a program of the signatory's own
)

// Grows reports whether each revision begins with the one before: the form is
// PAdES, and a page shows the newest revision. Of the other forms it shows the
// original.
func (d *Document) Grows() bool { return d.Form == "" || d.Form == PAdES }

// Shown is the revision that pages show of a document, as the session stands.
func (s *Session) Shown(document int) Revision {
	d := &s.Documents[document]
	if d.Grows() || s.State == Done {
		return d.Head()
	}
	return d.Original()
}

// ResultName is the file name that a document has when it is done.
func (d *Document) ResultName() string {
	if d.Kind != Mailed {
		return d.Name
	}
	switch d.Form {
	case ASiC:
		return d.Name + ".asice"
	case CAdES:
		return d.Name + ".p7m"
	}
	ext := path.Ext(d.Name)
	return strings.TrimSuffix(d.Name, ext) + "-signed" + ext
}

// ResultType is the media type that a document has when it is done.
func (d *Document) ResultType() string {
	if d.Kind == Unconverted {
		return d.Type
	}
	switch d.Form {
	case ASiC:
		return "application/vnd.etsi.asic-e+zip" // EN 319 162-1, 4.4.3.1
	case CAdES:
		return "application/pkcs7-mime" // RFC 8551, 3.2
	case XAdES:
		return "application/xml"
	}
	return "application/pdf"
}
