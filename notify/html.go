package notify

import (
	"bytes"
	_ "embed"
	"html/template"
	"sync"
)

//go:embed mail.html
var mailHTML string

// Outlook for Windows knows no max-width: comments that only it reads set the
// card into a table of fixed width. html/template drops comments, so they come
// in as values.
var page = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("mail").Funcs(template.FuncMap{
		"outlook": func() template.HTML {
			return `<!--[if mso]><table role="presentation" width="600" align="center" cellpadding="0" cellspacing="0"><tr><td><![endif]-->`
		},
		"endOutlook": func() template.HTML { return `<!--[if mso]></td></tr></table><![endif]-->` },
	}).Parse(mailHTML))
})

// html renders the content; cid names the picture of the QR code.
func (c *content) html(cid string) ([]byte, error) {
	var b bytes.Buffer
	err := page().Execute(&b, struct {
		*content
		CID string
	}{c, cid})
	return b.Bytes(), err
}
