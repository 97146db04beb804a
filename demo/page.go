package demo

import (
	"bytes"
	"context"
	"embed"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"io"
	"mime"
	"net/http"
	"net/mail"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/emersion/go-smtp"

	"milterd/auth"
)

//go:embed page
var pageFiles embed.FS

// maxUpload is the largest document that the page takes, in bytes.
const maxUpload = 30 << 20

// page is the web mail client of everybody in the demo.
type page struct {
	people  []Person
	boxes   *Mailboxes
	server  string // address of the mail server
	verdict func(content []byte) string
	admin   administrator
	tmpl    *template.Template

	mu   sync.Mutex
	read map[int]bool // letters that were opened
}

// administrator approves devices, as milterd device approve does; auth.Enrolments does.
type administrator interface {
	Pending(ctx context.Context, mail string) ([]*auth.Enrolment, error)
	Approve(ctx context.Context, id, by string) error
}

func newPage(people []Person, boxes *Mailboxes, server string, verdict func([]byte) string, admin administrator) (http.Handler, error) {
	p := &page{people: people, boxes: boxes, server: server, verdict: verdict, admin: admin, read: map[int]bool{}}
	var err error
	p.tmpl, err = template.New("page.html").Funcs(template.FuncMap{
		"size":    func(b []byte) string { return fmt.Sprintf("%d kB", (len(b)+999)/1000) },
		"verdict": func(a Part) string { return p.judge(a) },
		"standIn": func() string { return StandIn },
		"pin":     func() string { return standInPIN },
	}).ParseFS(pageFiles, "page/page.html")
	if err != nil {
		return nil, fmt.Errorf("demo's page: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/box/"+people[0].Mail, http.StatusSeeOther)
	})
	mux.HandleFunc("GET /box/{box}", p.box)
	mux.HandleFunc("GET /box/{box}/{id}", p.box)
	mux.HandleFunc("GET /mail/{id}/html", p.html)
	mux.HandleFunc("GET /mail/{id}/raw", p.raw)
	mux.HandleFunc("GET /mail/{id}/part/{n}", p.part)
	mux.HandleFunc("GET /version", p.tellVersion)
	mux.HandleFunc("POST /send", p.send)
	mux.HandleFunc("POST /approve", p.approve)
	mux.HandleFunc("GET /sample.pdf", func(w http.ResponseWriter, _ *http.Request) { pdfHeaders(w, false, "contract.pdf"); w.Write(contract) })
	for _, f := range []string{"page.css", "page.js", "icon.svg"} {
		mux.HandleFunc("GET /"+f, func(w http.ResponseWriter, r *http.Request) { http.ServeFileFS(w, r, pageFiles, "page/"+f) })
	}
	return guard(http.NewCrossOriginProtection().Handler(mux)), nil
}

// guard sets the headers, and answers to local names only: a page elsewhere
// must not reach the demo under a name of its own (DNS rebinding).
func guard(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if host := (&url.URL{Host: r.Host}).Hostname(); host != "localhost" && host != "127.0.0.1" {
			http.Error(w, "the demo answers to localhost only", http.StatusMisdirectedRequest)
			return
		}
		w.Header().Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "+
			"connect-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'self'")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		h.ServeHTTP(w, r)
	})
}

type boxView struct {
	Person
	Here   bool
	Unread int
	Local  string
}

type mailView struct {
	ID                       int
	From, Subject, At, Files string
	Unread, Here             bool
}

type view struct {
	Domain, SignDomain string
	Who                Person
	Boxes              []boxView
	Mails              []mailView
	Version            string
	Open               *Message
	ID                 int
	Writing            bool
	Error, Sent        string
	Pending            []*auth.Enrolment // devices that wait for the administrator
}

func (p *page) box(w http.ResponseWriter, r *http.Request) {
	v := view{Domain: MailDomain, SignDomain: SignDomain, Writing: r.FormValue("write") != "",
		Error: r.FormValue("error"), Sent: r.FormValue("sent")}
	found := false
	for _, person := range p.people {
		if person.Mail == r.PathValue("box") {
			v.Who, found = person, true
		}
	}
	if !found {
		http.NotFound(w, r)
		return
	}
	if id := r.PathValue("id"); id != "" {
		l := p.letter(id)
		if l == nil || l.Box != v.Who.Mail {
			http.NotFound(w, r)
			return
		}
		m, err := l.Open()
		if err != nil {
			m = &Message{Subject: "(cannot be read)", Text: string(l.Raw)}
		}
		v.Open, v.ID = m, l.ID
		p.mu.Lock()
		p.read[l.ID] = true
		p.mu.Unlock()
	}
	var err error
	if v.Pending, err = p.admin.Pending(r.Context(), ""); err != nil {
		v.Error = err.Error()
	}
	p.lists(&v)
	var b bytes.Buffer
	if err := p.tmpl.Execute(&b, v); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	b.WriteTo(w)
}

// lists fills in the mailboxes and the mails of the one that is open.
func (p *page) lists(v *view) {
	p.mu.Lock()
	defer p.mu.Unlock()
	v.Version = p.version(v.Pending)
	for _, person := range p.people {
		local, _, _ := strings.Cut(person.Mail, "@")
		b := boxView{Person: person, Here: person.Mail == v.Who.Mail, Local: local}
		for _, l := range p.boxes.In(person.Mail) {
			if !p.read[l.ID] {
				b.Unread++
			}
		}
		v.Boxes = append(v.Boxes, b)
	}
	letters := p.boxes.In(v.Who.Mail)
	for i := len(letters) - 1; i >= 0; i-- { // newest first
		l := letters[i]
		mv := mailView{ID: l.ID, At: l.Received.Format("15:04"), Unread: !p.read[l.ID], Here: l.ID == v.ID, Subject: "(cannot be read)"}
		if m, err := l.Open(); err == nil {
			mv.Subject, mv.From = m.Subject, m.From
			if a, err := mail.ParseAddress(m.From); err == nil && a.Name != "" {
				mv.From = a.Name
			}
			var files []string
			for _, a := range m.Attachments {
				files = append(files, a.Name)
			}
			mv.Files = strings.Join(files, ", ")
		}
		v.Mails = append(v.Mails, mv)
	}
}

func (p *page) tellVersion(w http.ResponseWriter, r *http.Request) {
	waiting, err := p.admin.Pending(r.Context(), "")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	io.WriteString(w, p.version(waiting))
}

// version changes with what the page shows; the caller holds the lock.
func (p *page) version(waiting []*auth.Enrolment) string {
	v := fmt.Sprintf("%d.%d", len(p.boxes.In("")), len(p.read))
	for _, e := range waiting {
		v += "." + e.ID
	}
	return v
}

// approve is the administrator's word for a device that wants to be enrolled.
func (p *page) approve(w http.ResponseWriter, r *http.Request) {
	query := url.Values{"sent": {"The device is approved: its page goes on by itself."}}
	if err := p.admin.Approve(r.Context(), r.FormValue("id"), "administrator"); err != nil {
		query = url.Values{"error": {err.Error()}}
	}
	http.Redirect(w, r, "/box/"+url.PathEscape(r.FormValue("box"))+"?"+query.Encode(), http.StatusSeeOther)
}

func (p *page) letter(id string) *Letter {
	n, err := strconv.Atoi(id)
	if err != nil {
		return nil
	}
	return p.boxes.Letter(n)
}

// opened gives the letter of a request, or answers it.
func (p *page) opened(w http.ResponseWriter, r *http.Request) (*Letter, *Message) {
	l := p.letter(r.PathValue("id"))
	if l == nil {
		http.NotFound(w, r)
		return nil, nil
	}
	m, err := l.Open()
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		return nil, nil
	}
	return l, m
}

// html serves the HTML part for a sandboxed frame: no script, nothing from
// elsewhere, links open beside it. Pictures by Content-ID become data URLs.
func (p *page) html(w http.ResponseWriter, r *http.Request) {
	_, m := p.opened(w, r)
	if m == nil {
		return
	}
	html := m.HTML
	for id, part := range m.Inline {
		html = strings.ReplaceAll(html, "cid:"+id, "data:"+part.Type+";base64,"+base64.StdEncoding.EncodeToString(part.Content))
	}
	if i := strings.Index(html, "<head>"); i >= 0 {
		html = html[:i+6] + `<base target="_blank">` + html[i+6:]
	} else {
		html = `<base target="_blank">` + html
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'")
	io.WriteString(w, html)
}

func (p *page) raw(w http.ResponseWriter, r *http.Request) {
	if l, _ := p.opened(w, r); l != nil {
		w.Header().Set("Content-Type", "message/rfc822")
		w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=mail-%d.eml", l.ID))
		w.Write(l.Raw)
	}
}

func (p *page) part(w http.ResponseWriter, r *http.Request) {
	_, m := p.opened(w, r)
	if m == nil {
		return
	}
	n, err := strconv.Atoi(r.PathValue("n"))
	if err != nil || n < 0 || n >= len(m.Attachments) {
		http.NotFound(w, r)
		return
	}
	a := m.Attachments[n]
	if a.Type == "application/pdf" {
		pdfHeaders(w, r.FormValue("download") != "", a.Name)
	} else {
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": a.Name}))
	}
	w.Write(a.Content)
}

// pdfHeaders lets the browser's own viewer show a PDF. The page's policy is for
// HTML, and would keep the viewer from drawing.
func pdfHeaders(w http.ResponseWriter, download bool, name string) {
	disposition := "inline"
	if download {
		disposition = "attachment"
	}
	w.Header().Set("Content-Type", "application/pdf")
	w.Header().Set("Content-Disposition", mime.FormatMediaType(disposition, map[string]string{"filename": name}))
	w.Header().Del("Content-Security-Policy")
}

func (p *page) judge(a Part) string {
	if a.Type == "text/plain" || p.verdict == nil {
		return ""
	}
	return p.verdict(a.Content)
}

// send submits what the form says through the mail server, logged in as the
// sender, and goes back to the sender's mailbox.
func (p *page) send(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxUpload)
	if err := r.ParseMultipartForm(maxUpload); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	d := Draft{To: []string{r.FormValue("to")}, Text: r.FormValue("text"), Subject: r.FormValue("subject"),
		File: Sample()}
	for _, person := range p.people {
		if person.Mail == r.FormValue("from") {
			d.From = person
		}
	}
	if level := r.FormValue("level"); level != "" {
		d.Subject = "[" + level + "] " + d.Subject
	}
	if f, h, err := r.FormFile("file"); err == nil {
		content, err := io.ReadAll(f)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		kind := mime.TypeByExtension(filepath.Ext(h.Filename))
		if kind == "" {
			kind = "application/octet-stream"
		}
		d.File = Part{h.Filename, kind, content}
	}
	raw, err := d.Compose()
	if err == nil {
		err = Submit(p.server, d.From.Mail, password, d.From.Mail, d.To, raw)
	}
	query := url.Values{"sent": {"The mail is sent. Look into the mailbox of the one who signs."}}
	if err != nil {
		query = url.Values{"write": {"1"}, "error": {refusal(err)}}
	}
	http.Redirect(w, r, "/box/"+d.From.Mail+"?"+query.Encode(), http.StatusSeeOther)
}

// refusal is the mail server's answer as a mail client shows it.
func refusal(err error) string {
	var e *smtp.SMTPError
	if errors.As(err, &e) {
		return fmt.Sprintf("%d %d.%d.%d %s", e.Code, e.EnhancedCode[0], e.EnhancedCode[1], e.EnhancedCode[2], e.Message)
	}
	return err.Error()
}
