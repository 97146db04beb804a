package demo

import (
	"bytes"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// visit gives the body of a page of the demo.
func visit(t *testing.T, h http.Handler, path string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest("GET", "http://localhost:8480"+path, nil)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func testPage(t *testing.T) (http.Handler, *MailServer, *clerk) {
	t.Helper()
	s, c, _ := stage(t)
	all, _, err := People()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		s.Users[p.Mail] = password
		s.Boxes.boxes[p.Mail] = true
	}
	h, err := newPage(all, s.Boxes, s.Address(), func([]byte) string { return "judged" }, &office{})
	if err != nil {
		t.Fatal(err)
	}
	return h, s, c
}

// post fills in the form and follows to the page that it leads to.
func post(t *testing.T, h http.Handler, fields map[string]string, header http.Header) *httptest.ResponseRecorder {
	t.Helper()
	var b bytes.Buffer
	form := multipart.NewWriter(&b)
	for k, v := range fields {
		form.WriteField(k, v)
	}
	form.Close()
	r := httptest.NewRequest("POST", "http://localhost:8480/send", &b)
	r.Header = header
	r.Header.Set("Content-Type", form.FormDataContentType())
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

const htmlLetter = "From: Desk <reply@sign.corp.test>\r\nTo: jane.roe@corp.test\r\nSubject: =?utf-8?q?=C3=84<script>?=\r\nMIME-Version: 1.0\r\n" +
	"Content-Type: multipart/mixed; boundary=m\r\n\r\n" +
	"--m\r\nContent-Type: multipart/related; boundary=r\r\n\r\n" +
	"--r\r\nContent-Type: multipart/alternative; boundary=a\r\n\r\n" +
	"--a\r\nContent-Type: text/plain\r\n\r\nText http://localhost:1/s#0123456789abcdefghij_-\r\n" +
	"--a\r\nContent-Type: text/html\r\n\r\n<html><head></head><body><img src=\"cid:qr@x\"></body></html>\r\n--a--\r\n" +
	"--r\r\nContent-Type: image/png\r\nContent-ID: <qr@x>\r\nContent-Transfer-Encoding: base64\r\n\r\naGVsbG8=\r\n--r--\r\n" +
	"--m\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; filename=a.pdf\r\n\r\n%PDF\r\n--m--\r\n"

func TestPageShowsMail(t *testing.T) {
	h, s, _ := testPage(t)
	s.Boxes.deliver("jane.roe@corp.test", "bounce@sign.corp.test", []byte(htmlLetter))

	list := visit(t, h, "/box/jane.roe@corp.test").Body.String()
	for _, want := range []string{"Ä&lt;script&gt;", "unread: </span>1", "a.pdf"} {
		if !strings.Contains(list, want) {
			t.Errorf("the list lacks %q", want)
		}
	}
	mail := visit(t, h, "/box/jane.roe@corp.test/1").Body.String()
	for _, want := range []string{`sandbox="allow-popups allow-popups-to-escape-sandbox"`, "/mail/1/part/0", "judged", "Text http"} {
		if !strings.Contains(mail, want) {
			t.Errorf("the mail lacks %q:\n%s", want, mail)
		}
	}
	html := visit(t, h, "/mail/1/html")
	if !strings.Contains(html.Body.String(), `<base target="_blank">`) || !strings.Contains(html.Body.String(), "data:image/png;base64,aGVsbG8=") ||
		!strings.HasPrefix(html.Header().Get("Content-Security-Policy"), "sandbox allow-popups") {
		t.Errorf("frame: %v\n%s", html.Header(), html.Body)
	}
	part := visit(t, h, "/mail/1/part/0?download=1")
	if part.Body.String() != "%PDF" || part.Header().Get("Content-Disposition") != "attachment; filename=a.pdf" {
		t.Errorf("part: %v %q", part.Header(), part.Body)
	}
	m, err := s.Boxes.Letter(1).Open()
	if err != nil || m.Link() != "http://localhost:1/s#0123456789abcdefghij_-" || m.Code() != "" {
		t.Errorf("link is %q, code %q, %v", m.Link(), m.Code(), err)
	}
	form := visit(t, h, "/box/jane.roe@corp.test?write=1").Body.String()
	for _, want := range []string{`value="Standard"`, `value="Advanced"`, `value="Qualified">Qualified: by a stand-in`, standInPIN, "verify@" + SignDomain} {
		if !strings.Contains(form, want) {
			t.Errorf("the form does not offer %q", want)
		}
	}
	for _, path := range []string{"/box/who@corp.test", "/box/john.doe@corp.test/1", "/mail/2/html", "/mail/1/part/1"} {
		if w := visit(t, h, path); w.Code != http.StatusNotFound {
			t.Errorf("%s answers %d", path, w.Code)
		}
	}
}

func TestPageSendsMail(t *testing.T) {
	h, _, c := testPage(t)
	fields := map[string]string{"from": "jane.roe@corp.test", "to": "self@sign.corp.test", "level": "Standard", "subject": "Lease", "text": "Hello"}
	w := post(t, h, fields, http.Header{})
	if to := w.Header().Get("Location"); w.Code != http.StatusSeeOther || !strings.Contains(to, "sent=") {
		t.Fatalf("answer %d to %s: %s", w.Code, to, w.Body)
	}
	if len(c.mails) != 1 || c.envelopes[0].Login != "jane.roe@corp.test" {
		t.Fatalf("milter was shown %d mails", len(c.mails))
	}
	l := Letter{Raw: []byte(c.mails[0])}
	m, err := l.Open()
	if err != nil || m.Subject != "[Standard] Lease" || m.Text != "Hello" || len(m.Attachments) != 1 || !bytes.Equal(m.Attachments[0].Content, contract) {
		t.Errorf("mail is %+v, %v", m, err)
	}

	fields["to"] = "nobody@sign.corp.test"
	to, err := url.Parse(post(t, h, fields, http.Header{}).Header().Get("Location"))
	if err != nil || to.Query().Get("error") != "550 5.1.1 Nobody here is called nobody." {
		t.Errorf("refusal leads to %v, %v", to, err)
	}
	if page := visit(t, h, to.String()).Body.String(); !strings.Contains(page, "Nobody here is called nobody.") {
		t.Error("the page does not show the refusal")
	}
}

func TestPageAnswersLocalPeopleOnly(t *testing.T) {
	h, _, c := testPage(t)
	w := post(t, h, map[string]string{"from": "jane.roe@corp.test", "to": "self@sign.corp.test"},
		http.Header{"Origin": {"https://evil.example"}, "Sec-Fetch-Site": {"cross-site"}})
	if w.Code != http.StatusForbidden || len(c.mails) != 0 {
		t.Errorf("a post from elsewhere gets %d", w.Code)
	}
	r := httptest.NewRequest("GET", "http://evil.example/box/jane.roe@corp.test", nil)
	w = httptest.NewRecorder()
	if h.ServeHTTP(w, r); w.Code != http.StatusMisdirectedRequest {
		t.Errorf("another name gets %d", w.Code)
	}
	w = visit(t, h, "/page.css")
	if b, _ := io.ReadAll(w.Body); w.Code != 200 || len(b) == 0 || w.Header().Get("Content-Security-Policy") == "" {
		t.Errorf("style: %d, %v", w.Code, w.Header())
	}
}
