package convert

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"milterd/signature/pdf"
	"milterd/workflow"
)

// office has the real LibreOffice, with all that can be converted. It fails with
// the command that installs what is missing.
func office(t *testing.T, limit time.Duration) *Converter {
	t.Helper()
	c := New(Config{Kinds: Kinds(), Time: limit, Memory: 1 << 30, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if _, err := c.program(); err != nil {
		t.Fatal(err)
	}
	return c
}

// pack makes a ZIP file: name and content, in turns.
func pack(t *testing.T, files ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i := 0; i < len(files); i += 2 {
		w, err := z.Create(files[i])
		if err == nil {
			_, err = w.Write([]byte(files[i+1]))
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

const (
	head = `<?xml version="1.0" encoding="UTF-8" standalone="yes"?>`
	rels = `http://schemas.openxmlformats.org/officeDocument/2006/relationships`
)

// docx is a text as Word writes it (ECMA-376); more are further files in it.
func docx(t *testing.T, body string, more ...string) []byte {
	return pack(t, append([]string{
		"[Content_Types].xml", head + `<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Default Extension="xml" ContentType="application/xml"/><Override PartName="/word/document.xml" ContentType="application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"/><Override PartName="/word/settings.xml" ContentType="application/vnd.openxmlformats-officedocument.wordprocessingml.settings+xml"/></Types>`,
		"_rels/.rels", head + `<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="r1" Type="` + rels + `/officeDocument" Target="word/document.xml"/></Relationships>`,
		"word/document.xml", head + `<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main" xmlns:r="` + rels + `"><w:body>` + body + `</w:body></w:document>`,
	}, more...)...)
}

func paragraph(s string) string { return "<w:p><w:r><w:t>" + s + "</w:t></w:r></w:p>" }

// open is a file of OpenDocument: its kind of content, and further files in it.
func open(t *testing.T, kind, content string, more ...string) []byte {
	manifest := head + `<manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0" manifest:version="1.2"><manifest:file-entry manifest:full-path="/" manifest:media-type="application/vnd.oasis.opendocument.` + kind + `"/><manifest:file-entry manifest:full-path="content.xml" manifest:media-type="text/xml"/>`
	for i := 0; i < len(more); i += 2 {
		manifest += `<manifest:file-entry manifest:full-path="` + more[i] + `" manifest:media-type="text/xml"/>`
	}
	ns := ""
	for _, n := range []string{"office", "text", "table", "script", "drawing", "presentation"} {
		short := map[string]string{"drawing": "draw"}[n]
		if short == "" {
			short = n
		}
		ns += ` xmlns:` + short + `="urn:oasis:names:tc:opendocument:xmlns:` + n + `:1.0"`
	}
	return pack(t, append([]string{"mimetype", "application/vnd.oasis.opendocument." + kind, "META-INF/manifest.xml", manifest + "</manifest:manifest>",
		"content.xml", head + `<office:document-content` + ns + ` xmlns:xlink="http://www.w3.org/1999/xlink" xmlns:ooo="http://openoffice.org/2004/office" office:version="1.2">` + content + `</office:document-content>`}, more...)...)
}

func odt(t *testing.T, body string, more ...string) []byte {
	return open(t, "text", `<office:body><office:text>`+body+`</office:text></office:body>`, more...)
}

// text is what poppler reads in a PDF.
func text(t *testing.T, content []byte) string {
	t.Helper()
	cmd := exec.Command("pdftotext", "-", "-")
	cmd.Stdin = bytes.NewReader(content)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("pdftotext (apt-get install poppler-utils): %v", err)
	}
	return string(out)
}

func picture(t *testing.T, encode func(b *bytes.Buffer, m image.Image) error) []byte {
	t.Helper()
	m := image.NewRGBA(image.Rect(0, 0, 40, 30))
	for i := range 40 * 30 {
		m.Set(i%40, i/40, color.RGBA{uint8(i), uint8(i / 4), 200, 255})
	}
	var b bytes.Buffer
	if err := encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// samples are one small file of each kind; the binary ones of Office 97, and those
// of Excel and PowerPoint, are LibreOffice's own work.
func samples(t *testing.T) map[string][]byte {
	s := map[string][]byte{
		"docx": docx(t, paragraph("The parties agree.")),
		"odt":  odt(t, "<text:p>The parties agree.</text:p>"),
		"rtf":  []byte(`{\rtf1\ansi The parties agree.}`),
		"ods":  open(t, "spreadsheet", `<office:body><office:spreadsheet><table:table table:name="A"><table:table-row><table:table-cell office:value-type="string"><text:p>The parties agree.</text:p></table:table-cell></table:table-row></table:table></office:spreadsheet></office:body>`),
		"svg":  []byte(`<svg xmlns="http://www.w3.org/2000/svg" width="200" height="50"><text x="5" y="20">The parties agree.</text></svg>`),
		"png":  picture(t, func(b *bytes.Buffer, m image.Image) error { return png.Encode(b, m) }),
		"jpg":  picture(t, func(b *bytes.Buffer, m image.Image) error { return jpeg.Encode(b, m, nil) }),
		"gif":  picture(t, func(b *bytes.Buffer, m image.Image) error { return gif.Encode(b, m, nil) }),
	}
	s["jpeg"] = s["jpg"]
	for _, name := range []string{"doc", "xls", "xlsx", "odg", "odp", "pptx"} {
		b, err := os.ReadFile("testdata/agree." + name)
		if err != nil {
			t.Fatal(err)
		}
		s[name] = b
	}
	return s
}

// TestOffice: a file of each kind becomes a PDF that signing takes, with its words
// in it.
func TestOffice(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("TMPDIR", home)
	c := office(t, time.Minute)
	if by, err := c.Check(t.Context()); err != nil || !strings.HasPrefix(by, "LibreOffice ") {
		t.Fatalf("%s, %v", by, err)
	}
	all := samples(t)
	for _, kind := range Kinds() {
		r, err := c.Convert(t.Context(), "a."+strings.ToUpper(kind), all[kind])
		if err != nil {
			t.Errorf("%s: %v (%v)", kind, err, errors.Unwrap(err))
			continue
		}
		info, err := pdf.Inspect(r.PDF)
		if err != nil || info.Pages != 1 || info.Signed || len(info.Notes) > 0 {
			t.Errorf("%s: inspection says %+v, %v", kind, info, err)
		}
		switch kind {
		case "png", "jpg", "jpeg", "gif":
		default:
			if got := text(t, r.PDF); !strings.Contains(got, "The parties agree.") {
				t.Errorf("%s: its PDF says %q", kind, got)
			}
		}
		if !strings.HasPrefix(r.By, "LibreOffice ") {
			t.Errorf("%s: made by %q", kind, r.By)
		}
	}
	if left, _ := filepath.Glob(home + "/*"); len(left) > 0 {
		t.Errorf("files are left: %v", left)
	}
}

// macro runs when the document is opened, where macros run.
const macro = `<?xml version="1.0" encoding="UTF-8"?>
<script:module xmlns:script="http://openoffice.org/2000/script" script:name="M" script:language="StarBasic">Sub Main
ThisComponent.Text.setString("The macro has run.")
End Sub
</script:module>`

// macros is a document with it.
func macros(t *testing.T) []byte {
	lib := `<?xml version="1.0" encoding="UTF-8"?>
<library:%s xmlns:library="http://openoffice.org/2000/library" xmlns:xlink="http://www.w3.org/1999/xlink"%s`
	return open(t, "text", `<office:scripts><office:event-listeners><script:event-listener script:language="ooo:script" script:event-name="dom:load" xmlns:dom="http://www.w3.org/2001/xml-events" xlink:href="vnd.sun.star.script:Standard.M.Main?language=Basic&amp;location=document" xlink:type="simple"/></office:event-listeners></office:scripts><office:body><office:text><text:p>The parties agree.</text:p></office:text></office:body>`,
		"Basic/script-lc.xml", fmt.Sprintf(lib, "libraries", `><library:library library:name="Standard" library:link="false"/></library:libraries>`),
		"Basic/Standard/script-lb.xml", fmt.Sprintf(lib, "library", ` library:name="Standard" library:readonly="false" library:passwordprotected="false"><library:element library:name="M"/></library:library>`),
		"Basic/Standard/M.xml", macro)
}

// TestHostile: what a document refers to is neither fetched nor read, and what it
// would run does not run. Its own words are there all the same.
func TestHostile(t *testing.T) {
	var fetched atomic.Int32
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fetched.Add(1)
		w.Write([]byte("fetched"))
	}))
	defer web.Close()
	secret := filepath.Join(t.TempDir(), "secret.txt")
	if err := os.WriteFile(secret, []byte("confidential"), 0o644); err != nil {
		t.Fatal(err)
	}
	relation := func(kind, target string) string {
		return head + `<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="r1" Type="` + rels + `/` + kind + `" Target="` + target + `" TargetMode="External"/></Relationships>`
	}
	section := func(target string) []byte {
		return odt(t, `<text:p>The parties agree.</text:p><text:section text:name="s"><text:section-source xlink:href="`+target+`" text:filter-name="Text"/><text:p>old</text:p></text:section>`)
	}
	c := office(t, time.Minute)
	for _, d := range []struct {
		name    string
		content []byte
	}{
		{"remote template.docx", docx(t, paragraph("The parties agree."),
			"word/_rels/settings.xml.rels", relation("attachedTemplate", web.URL+"/t.dotm"),
			"word/settings.xml", head+`<w:settings xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main" xmlns:r="`+rels+`"><w:attachedTemplate r:id="r1"/></w:settings>`,
			"word/_rels/document.xml.rels", head+`<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="s1" Type="`+rels+`/settings" Target="settings.xml"/></Relationships>`)},
		{"remote text.docx", docx(t, paragraph("The parties agree.")+`<w:p><w:fldSimple w:instr=" INCLUDETEXT &quot;`+web.URL+`/x.txt&quot; "><w:r><w:t>old</w:t></w:r></w:fldSimple></w:p>`)},
		{"remote picture.docx", docx(t, paragraph("The parties agree.")+`<w:p><w:fldSimple w:instr=" INCLUDEPICTURE &quot;`+web.URL+`/x.png&quot; \d "/></w:p>`)},
		{"remote section.odt", section(web.URL + "/x.txt")},
		{"local section.odt", section("file://" + secret)},
		{"password file.odt", section("file:///etc/passwd")},
		{"remote picture.odt", odt(t, `<text:p>The parties agree.<draw:frame><draw:image xlink:href="`+web.URL+`/x.png"/></draw:frame></text:p>`)},
		{"remote data.ods", open(t, "spreadsheet", `<office:body><office:spreadsheet><table:table table:name="A"><table:table-row><table:table-cell table:formula="of:=WEBSERVICE(&quot;`+web.URL+`/x&quot;)"/><table:table-cell office:value-type="string"><text:p>The parties agree.</text:p></table:table-cell></table:table-row></table:table></office:spreadsheet></office:body>`)},
		{"references.svg", []byte(`<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="300" height="60"><image width="9" height="9" xlink:href="` + web.URL + `/x.png"/><image width="9" height="9" xlink:href="file://` + secret + `"/><text x="5" y="20">The parties agree.</text></svg>`)},
		{"entities.svg", []byte(`<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY s SYSTEM "file://` + secret + `"><!ENTITY w SYSTEM "` + web.URL + `/x">]><svg xmlns="http://www.w3.org/2000/svg" width="300" height="60"><text x="5" y="20">The parties agree.&s;&w;</text></svg>`)},
		{"macro.odt", macros(t)},
	} {
		r, err := c.Convert(t.Context(), d.name, d.content)
		if err != nil {
			if d.name != "entities.svg" { // to refuse it is as good
				t.Errorf("%s: %v (%v)", d.name, err, errors.Unwrap(err))
			}
			continue
		}
		got := text(t, r.PDF)
		if !strings.Contains(got, "The parties agree.") {
			t.Errorf("%s: its PDF says %q", d.name, got)
		}
		for _, bad := range []string{"confidential", "fetched", "root:", "macro has run"} {
			if strings.Contains(got, bad) {
				t.Errorf("%s: its PDF says %q", d.name, got)
			}
		}
		if n := fetched.Swap(0); n > 0 {
			t.Errorf("%s: it was fetched %d times", d.name, n)
		}
	}
}

// TestBombs: what is larger than it looks, or not what it says, is refused with a
// sentence, in time, and nothing is left.
func TestBombs(t *testing.T) {
	header := picture(t, func(b *bytes.Buffer, m image.Image) error { return png.Encode(b, m) })
	wide := append([]byte(nil), header...)
	copy(wide[16:], []byte{0, 0, 0xc3, 0x50, 0, 0, 0xc3, 0x50}) // 50,000 × 50,000
	checksum(wide[12:33])
	c := office(t, 15*time.Second)
	for _, d := range []struct {
		name    string
		content []byte
		reason  string // one of, with blanks between
	}{
		{"bomb.docx", docx(t, strings.Repeat(paragraph(strings.Repeat("x", 1000)), 200000)), "conversion-too-long conversion-failed"},
		{"wide.png", wide, "picture-too-large"},
		{"half.png", header[:20], "picture-too-large"},
		{"broken.docx", []byte("PK\x03\x04 and no more"), "conversion-failed"},
		{"text.docx", []byte("This is a text."), "not-of-its-kind"},
		{"page.odt", []byte("<html><script>"), "not-of-its-kind"},
		{"empty.rtf", nil, "not-of-its-kind"},
		{"program.exe", []byte("MZ"), "not-of-its-kind"},
		{"archive.xlsx", pack(t, "x", "y"), "conversion-failed"},
	} {
		start := time.Now()
		_, err := c.Convert(t.Context(), d.name, d.content)
		var r *workflow.Refusal
		if !errors.As(err, &r) || !strings.Contains(d.reason, r.Reason) || r.Code != 554 || r.Text == "" {
			t.Errorf("%s: %v; want %s", d.name, err, d.reason)
		}
		if took := time.Since(start); took > 25*time.Second {
			t.Errorf("%s: it took %v", d.name, took)
		}
	}
}

// checksum makes a chunk of a PNG agree with its CRC again: type, data, CRC.
func checksum(chunk []byte) {
	n := len(chunk) - 4
	binary.BigEndian.PutUint32(chunk[n:], crc32.ChecksumIEEE(chunk[:n]))
}
