package program_test

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"milterd/config"
	"milterd/convert"
	"milterd/demo"
	"milterd/evidence"
	"milterd/program"
	"milterd/validate"
	"milterd/workflow"
)

// docx is a contract as Word writes it.
func docx(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	const head = `<?xml version="1.0" encoding="UTF-8" standalone="yes"?>`
	for _, f := range [][2]string{
		{"[Content_Types].xml", `<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Override PartName="/word/document.xml" ContentType="application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"/></Types>`},
		{"_rels/.rels", `<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="r1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" Target="word/document.xml"/></Relationships>`},
		{"word/document.xml", `<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body><w:p><w:r><w:t>The parties agree.</w:t></w:r></w:p></w:body></w:document>`},
	} {
		w, err := z.Create(f[0])
		if err == nil {
			_, err = w.Write([]byte(head + f[1]))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func mail(id, name string, content []byte) string {
	return "From: Jane Roe <jane.roe@corp.test>\nTo: self@sign.corp.test\nSubject: Lease\nMessage-ID: <" + id + "@corp.test>\nDate: " + time.Now().Format(time.RFC1123Z) +
		"\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\nPlease sign.\n--b\n" +
		"Content-Type: application/vnd.openxmlformats-officedocument.wordprocessingml.document; name=" + name + "\nContent-Disposition: attachment\nContent-Transfer-Encoding: base64\n\n" +
		base64.StdEncoding.EncodeToString(content) + "\n--b--\n"
}

// letter waits for Jane's first mail that fits.
func letter(t *testing.T, s program.Site, fits func(m *demo.Message) bool) *demo.Message {
	t.Helper()
	for range 1200 {
		all, err := s.Mails("jane.roe@corp.test")
		if err != nil {
			t.Fatal(err)
		}
		for _, raw := range all {
			l := demo.Letter{Raw: raw}
			if m, err := l.Open(); err == nil && fits(m) {
				return m
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("no such mail within a minute")
	return nil
}

// TestOfficeFileIsSigned: a .docx by mail becomes a signed PDF, and stays beside it.
func TestOfficeFileIsSigned(t *testing.T) {
	s := program.StartSite(t, func(c *config.Config) { c.Documents.Convert = []string{"docx"} })
	if err := s.CheckConversion(t.Context()); err != nil {
		t.Fatal(err)
	}
	word := docx(t)
	sum := workflow.Digest(sha256.Sum256(word))
	start := time.Now()
	if err := s.Send(t, mail("1", "lease.docx", word), "self@sign.corp.test"); err != nil {
		t.Fatal(err)
	}
	t.Logf("taken after %v", time.Since(start))
	invitation := letter(t, s, func(m *demo.Message) bool { return m.Link() != "" })
	if !strings.Contains(invitation.Text, "made of lease.docx by LibreOffice ") {
		t.Errorf("the invitation does not say of what the PDF was made: %s", invitation.Text)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	page, err := demo.Follow(invitation.Link())
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := page.Post(ctx, "code", nil, nil); err != nil {
		t.Fatal(err)
	}
	code := letter(t, s, func(m *demo.Message) bool { return m.Code() != "" }).Code()
	var look struct {
		Documents []struct {
			Name, Kind, Source, Maker, SHA256, Sight string
			Pages                                    int
		}
	}
	if _, _, err := page.Post(ctx, "open", map[string]any{"code": code}, &look); err != nil {
		t.Fatal(err)
	}
	if len(look.Documents) != 2 {
		t.Fatalf("the page has %+v", look.Documents)
	}
	made, from := look.Documents[0], look.Documents[1]
	if made.Name != "lease.pdf" || made.Kind != "mailed" || made.Source != "lease.docx" || !strings.HasPrefix(made.Maker, "LibreOffice ") || made.Pages != 1 {
		t.Errorf("the page says of the PDF %+v", made)
	}
	if from.Name != "lease.docx" || from.Kind != "unconverted" || from.SHA256 != sum.String() || from.Sight != "file" {
		t.Errorf("the page says of the file %+v", from)
	}
	shown, _, err := page.Document(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	other, content, err := page.Document(ctx, 1)
	if err != nil || !bytes.Equal(content, word) {
		t.Errorf("the page gives another file than was mailed: %v", err)
	}
	sign := map[string]any{"code": code, "appearance": workflow.Appearance{Typed: "Jane Roe"}}
	sign["shown"] = []workflow.Shown{shown, other}
	var refused *demo.Refused
	if _, _, err := page.Post(ctx, "sign", sign, nil); !errors.As(err, &refused) {
		t.Fatalf("the file of which the PDF was made can be signed: %v", err)
	}
	sign["shown"] = []workflow.Shown{shown}
	if _, _, err := page.Post(ctx, "sign", sign, nil); err != nil {
		t.Fatal(err)
	}
	result := letter(t, s, func(m *demo.Message) bool { return len(m.Attachments) > 1 })
	judge(t, s, result, word, sum)
	session, events := s.Session(t)
	if d := events[0].Detail; d["document 1"] != "lease.pdf" || d["document 2"] != "lease.docx" || d["document 2 sha-256"] != sum.String() ||
		d["document 1 made of"] != fmt.Sprintf("document 2, lease.docx, %d bytes", len(word)) || !strings.HasPrefix(d["document 1 made by"], "LibreOffice ") {
		t.Errorf("the audit trail says %v", d)
	}
	if b, err := s.Store.Content(ctx, session.ID, 1, 0); err != nil || !bytes.Equal(b, word) {
		t.Errorf("the file is not kept: %v", err)
	}
	sealed, err := s.Evidence(ctx, session.ID)
	if err != nil {
		t.Fatal(err)
	}
	o := evidence.Options{Anchors: s.Authority.Roots()}
	for _, a := range result.Attachments {
		o.PDFs = append(o.PDFs, evidence.PDF{Name: a.Name, Content: a.Content})
	}
	if r := evidence.Check(sealed, o); r.Indication != validate.Passed {
		t.Errorf("the evidence with all three files: %+v", r)
	}
	o.PDFs[slices.IndexFunc(o.PDFs, func(p evidence.PDF) bool { return p.Name == "lease.docx" })].Content = append(word, 'x', 'y')[1:]
	if r := evidence.Check(sealed, o); r.Indication == validate.Passed {
		t.Error("the evidence holds with another file")
	}
}

// judge looks at the three files of the result mail.
func judge(t *testing.T, s program.Site, m *demo.Message, word []byte, sum workflow.Digest) {
	t.Helper()
	roots, err := program.Roots(s.Config())
	if err != nil {
		t.Fatal(err)
	}
	anchors := x509.NewCertPool()
	for _, r := range roots {
		anchors.AddCert(r)
	}
	var names []string
	for _, a := range m.Attachments {
		names = append(names, a.Name)
		if a.Name == "lease.docx" {
			if !bytes.Equal(a.Content, word) {
				t.Error("the file in the result is not the one that was mailed")
			}
			continue
		}
		if r, err := validate.File(a.Content, validate.Options{Anchors: anchors, Now: time.Now()}); err != nil || r.Indication != validate.Passed {
			t.Errorf("%s: %+v, %v", a.Name, r, err)
		}
		cmd := exec.Command("pdftotext", "-", "-")
		cmd.Stdin = bytes.NewReader(a.Content)
		text, err := cmd.Output()
		if err != nil {
			t.Fatalf("pdftotext: %v", err)
		}
		wants := []string{"The parties agree."}
		if a.Name == workflow.ReportName {
			wants = []string{"of lease.docx (" + fmt.Sprint(len(word)) + " bytes), which nobody signed", sum.String()}
		}
		for _, want := range wants {
			if !strings.Contains(strings.Join(strings.Fields(string(text)), " "), want) {
				t.Errorf("%s lacks %q: %s", a.Name, want, text)
			}
		}
	}
	if slices.Sort(names); !slices.Equal(names, []string{workflow.ReportName, "lease-signed.pdf", "lease.docx"}) {
		t.Errorf("the result has %q", names)
	}
}

// TestOfficeFileIsRefused: what cannot be converted is told to the sender's mail
// program, and opens nothing.
func TestOfficeFileIsRefused(t *testing.T) {
	s := program.StartSite(t, func(c *config.Config) { c.Documents.Convert = []string{"docx"} })
	for i, c := range []struct {
		content, want string
	}{
		{"PK\x03\x04 is no more than that", "554 5.6.3 lease.docx: LibreOffice cannot make a PDF of this file"},
		{"This is a text.", "554 5.6.3 lease.docx: This file is not what the end of its name says"},
	} {
		err := s.Send(t, mail(fmt.Sprint(i), "lease.docx", []byte(c.content)), "self@sign.corp.test")
		if err == nil || !strings.Contains(fmt.Sprint(err), c.want[10:]) {
			t.Errorf("%q: the sender is told %v, want %s", c.content, err, c.want)
		}
	}
	if all, err := s.Store.List(t.Context(), workflow.Filter{}); err != nil || len(all) != 0 {
		t.Errorf("%d sessions, %v", len(all), err)
	}
}

// TestNoLibreOffice: who has switched it on without LibreOffice learns what to
// install; office files wait, everything else goes on.
func TestNoLibreOffice(t *testing.T) {
	s := program.StartSite(t, func(c *config.Config) {
		c.Documents.Convert, c.Documents.Soffice = []string{"docx", "png"}, "/nonexistent/soffice"
	})
	p, err := program.Build(t.Context(), s.Config(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.CheckConversion(t.Context()); !errors.Is(err, convert.ErrUnavailable) ||
		!strings.Contains(err.Error(), "apt-get install --no-install-recommends libreoffice-draw-nogui libreoffice-writer-nogui") {
		t.Errorf("check-config would say %v", err)
	}
	err = s.Send(t, mail("1", "lease.docx", docx(t)), "self@sign.corp.test")
	if err == nil || !strings.Contains(err.Error(), "cannot be converted right now; please save this one as a PDF") {
		t.Errorf("the sender is told %v", err)
	}
	if err := s.Send(t, mail("2", "lease.txt", []byte("We agree.")), "self@sign.corp.test"); err != nil {
		t.Errorf("another file: %v", err)
	}
	letter(t, s, func(m *demo.Message) bool { return m.Link() != "" })
}

// TestKinds: what the configuration takes is what can be converted.
func TestKinds(t *testing.T) {
	_, err := config.Parse("x", []byte("[documents]\nconvert = [\"exe\"]"))
	_, list, ok := strings.Cut(fmt.Sprint(err), `"exe" is not converted, want some of `)
	if !ok {
		t.Fatal(err)
	}
	list, _, _ = strings.Cut(list, "\n")
	words := strings.Split(list, ", ")
	if slices.Sort(words); !slices.Equal(words, convert.Kinds()) {
		t.Errorf("the configuration takes %q, and %q can be converted", words, convert.Kinds())
	}
}
