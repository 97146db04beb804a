package intake

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"milterd/workflow"
)

// with is a mail with files: each is a part's header fields, a blank line, and
// the content.
func with(subject string, files ...string) []byte {
	var b strings.Builder
	b.WriteString("From: jane@corp.test\r\nSubject: " + subject + "\r\nMessage-ID: <1@corp.test>\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" +
		"--b\r\nContent-Type: text/plain\r\n\r\nPlease sign.\r\n")
	for _, f := range files {
		b.WriteString("--b\r\n" + strings.ReplaceAll(f, "|", "\r\n\r\n") + "\r\n")
	}
	return []byte(b.String() + "--b--\r\n")
}

func file(kind, name, content string) string {
	return fmt.Sprintf("Content-Type: %s; name=\"%s\"\r\nContent-Disposition: attachment\r\nContent-Transfer-Encoding: quoted-printable|%s", kind, name, content)
}

const (
	word = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
	png  = "=89PNG=0D=0A=1A=0A and more"
)

// How each kind of file is signed, and what its signatory will be shown.
func TestForms(t *testing.T) {
	pdf, xml := file("application/pdf", "a.pdf", "%PDF-1.7 x"), file("text/xml", "a.xml", "<a/>")
	broken := file("application/xml", "b.xml", "<a/><b/>")
	text, docx := file("text/plain; charset=3Dutf-8", "a.txt", "text"), file(word, "a.docx", "PK=03=04=00")
	for name, c := range map[string]struct {
		format Format
		level  workflow.Level
		raw    []byte
		want   string // documents, or a refusal
	}{
		"each in its way": {Auto, "", with("x", pdf, xml, text, docx),
			"a.pdf pades  ;a.xml xades application/xml text;a.txt asic text/plain text;a.docx asic " + word + " file"},
		"pictures": {Auto, "", with("x", file("application/octet-stream", "a.png", png), file("image/jpeg", "b.jpg", "=FF=D8=FF=E0=00"), file("image/png", "c.png", "=00no picture"), file("image/svg+xml", "d.svg", "<svg/>")),
			"a.png asic image/png picture;b.jpg asic image/jpeg picture;c.png asic application/octet-stream file;d.svg asic text/plain text"},
		"media types that are none": {Auto, "", with("x", file("a<b>/c", "a.bin", "=00"), file("text/html", "b.html", "<p>")),
			"a.bin asic application/octet-stream file;b.html asic text/html text"},
		"[asic]":               {Auto, "", with("[asic] x", pdf, xml, text), "a.pdf asic application/pdf ;a.xml asic application/xml text;a.txt asic text/plain text"},
		"[cades]":              {Auto, "", with("x [CAdES]", pdf, text), "a.pdf cades application/pdf ;a.txt cades text/plain text"},
		"[xades]":              {Auto, "", with("[xades]", xml), "a.xml xades application/xml text"},
		"[xades], no XML":      {Auto, "", with("[xades]", xml, text), "554 5.6.1 not-of-form"},
		"[xades], two roots":   {Auto, "", with("[xades]", broken), "554 5.6.3 broken-xml"},
		"two roots":            {Auto, "", with("x", broken), "b.xml asic application/xml text"},
		"[pades]":              {Auto, "", with("[pades]", pdf), "a.pdf pades  "},
		"[pades], no PDF":      {Auto, "", with("[pades]", text), "554 5.6.1 not-of-form"},
		"policy asic":          {AllASiC, "", with("x", pdf, text), "a.pdf asic application/pdf ;a.txt asic text/plain text"},
		"policy asic, [pades]": {AllASiC, "", with("[pades]", pdf), "a.pdf pades  "},
		"policy cades":         {AllCAdES, "", with("x", text), "a.txt cades text/plain text"},
		"policy pdf":           {formatPDF, "", with("x", text), "554 5.6.1 no-pdf"},
		"policy pdf, mixed":    {OnlyPDF, "", with("x", pdf, text), "554 5.6.1 not-only-pdf"},
		"policy pdf, [asic]":   {OnlyPDF, "", with("[asic]", pdf), "554 5.5.4 form-unavailable"},
		"policy pdf, no file":  {OnlyPDF, "", with("x"), "554 5.6.2 no-attachment"},
		"Advanced":             {Auto, workflow.Advanced, with("x", pdf, text, xml), "a.pdf pades  ;a.txt asic text/plain text;a.xml asic application/xml text"},
		"Advanced, a PDF":      {Auto, workflow.Advanced, with("x", pdf), "a.pdf pades  "},
		"Advanced, [asic]":     {Auto, workflow.Advanced, with("[asic]", pdf), "a.pdf asic application/pdf "},
		"Advanced, [xades]":    {Auto, workflow.Advanced, with("[xades]", xml), "554 5.6.1 form-at-level"},
		"empty":                {Auto, "", with("x", file("text/plain", "a.txt", "")), "554 5.6.2 empty-file"},
		"the same name":        {Auto, "", with("x", text, text), "a.txt asic text/plain text;a (2).txt asic text/plain text"},
		"names of a container": {Auto, "", with("x", file("text/plain", "mimetype", "x"), file("text/plain", "META-INF/manifest.xml", "<x/>")),
			"_mimetype asic text/plain text;manifest.xml xades application/xml text"},
		"elsewhere":          {Auto, "", with("x", file("text/plain", "../../x", "x")), "x asic text/plain text"},
		"winmail.dat":        {Auto, "", with("x", file("application/ms-tnef", "winmail.dat", "x")), "554 5.6.1 winmail"},
		"a transaction":      {Auto, "", with("Re: [asic] Buy it"), "Buy it.txt asic text/plain text"},
		"nothing at all":     {Auto, "", []byte("From: jane@corp.test\r\nSubject: x\r\nMessage-ID: <1@corp.test>\r\n\r\n \r\n"), "554 5.6.2 no-text"},
		"too many":           {Auto, "", with("x", text, text, text, text, text), "554 5.5.3 too-many-documents"},
		"control characters": {Auto, "", with("x", file("text/plain", "a.txt", "a=1B[2J")), "a.txt asic text/plain file"},
	} {
		in, o := desk()
		in.Config.Format, in.Config.Documents = c.format, 4
		if c.level != "" {
			in.Config.Level = c.level
		}
		in.XML = func(_ context.Context, content []byte) (Finding, error) {
			if strings.Contains(string(content), "/><") {
				return Finding{}, &workflow.Refusal{Code: 554, Enhanced: "5.6.3", Reason: "broken-xml", Text: "no"}
			}
			return Finding{}, nil
		}
		if err := in.Message(t.Context(), envelope, c.raw); err != nil {
			if got := reason(err); got != c.want {
				t.Errorf("%s: got %s, want %s", name, got, c.want)
			}
			continue
		}
		var got []string
		for _, d := range o.opened[0].Documents {
			got = append(got, fmt.Sprintf("%s %s %s %s", d.Name, string(d.Form), d.Type, d.Sight))
			if d.SHA256 == (workflow.Digest{}) {
				t.Errorf("%s: %s has no digest", name, d.Name)
			}
		}
		if g := strings.Join(got, ";"); g != c.want {
			t.Errorf("%s:\n got %s\nwant %s", name, g, c.want)
		}
	}
}
