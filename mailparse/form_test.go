package mailparse

import (
	"strings"
	"testing"
)

func TestSubjectForm(t *testing.T) {
	for subject, want := range map[string]string{
		"":                           "<nil>",
		"Please sign [asic]":         "asic <nil>",
		"[ASiC-E] offer":             "asic <nil>",
		"Re: [Advanced] x [ PAdES ]": "pades <nil>",
		"[cades][cades]":             "cades <nil>",
		"[xades] invoice":            "xades <nil>",
		"asic cades":                 "<nil>", // bare words name none
		"xades":                      "<nil>",
		"[asic] [cades]":             "two-forms",
		"[pdf] [basic]":              "<nil>",
	} {
		f, err := SubjectForm(subject)
		got := strings.TrimSpace(string(f) + " " + reason(err))
		if got != want {
			t.Errorf("%q: got %s, want %s", subject, got, want)
		}
		r, err := Parse([]byte("From: jane@corp.test\r\nSubject: "+subject+"\r\n\r\nx\r\n"), Limits{})
		if want == "two-forms" {
			if reason(err) != want {
				t.Errorf("%q: %v", subject, err)
			}
		} else if err != nil || r.Form != f {
			t.Errorf("%q: %v, %v", subject, r, err)
		}
	}
}

// The text of a mail can be signed if it is one plain text, whole.
func TestBody(t *testing.T) {
	head := func(subject, ct string) string {
		return "From: jane@corp.test\r\nSubject: " + subject + "\r\nContent-Type: " + ct + "\r\n"
	}
	alternative := func(parts ...string) string {
		return head("x", "multipart/alternative; boundary=b") + "\r\n--b\r\n" + strings.Join(parts, "\r\n--b\r\n") + "\r\n--b--\r\n"
	}
	for name, c := range map[string]struct{ raw, file, want string }{
		"plain":          {head("Re: [Standard] Buy 3/4 of it: now", "text/plain") + "\r\nI buy it.\r\n\r\n> quoted\r\n-- \r\nJane\r\n\r\n", "Buy 3-4 of it now.txt", "I buy it.\n\n> quoted\n-- \nJane\n"},
		"no subject":     {head("[asic]", "text/plain") + "\r\nx", "message.txt", "x\n"},
		"device":         {head("CON", "text/plain") + "\r\nx", "_CON.txt", "x\n"},
		"latin-1":        {head("x", "text/plain; charset=iso-8859-1") + "\r\nGr\xfc\xdfe", "x.txt", "Grüße\n"},
		"base64":         {head("x", "text/plain; charset=utf-8") + "Content-Transfer-Encoding: base64\r\n\r\nR3LDvMOfZQ==", "x.txt", "Grüße\n"},
		"with HTML":      {alternative("Content-Type: text/plain\r\n\r\none", "Content-Type: text/html\r\n\r\n<p>two"), "x.txt", "one\n"},
		"only HTML":      {alternative("Content-Type: text/html\r\n\r\n<p>two"), "", ""},
		"two texts":      {alternative("Content-Type: text/plain\r\n\r\none", "Content-Type: text/plain\r\n\r\ntwo"), "", ""},
		"blank":          {head("x", "text/plain") + "\r\n \t\r\n\r\n", "", ""},
		"no charset":     {head("x", "text/plain") + "\r\nGr\xfc\xdfe", "", ""},
		"bad base64":     {head("x", "text/plain") + "Content-Transfer-Encoding: base64\r\n\r\nR3LD!!!", "", ""},
		"other encoding": {head("x", "text/plain") + "Content-Transfer-Encoding: x-uue\r\n\r\nx", "", ""},
		"too long":       {head("x", "text/plain") + "\r\n" + strings.Repeat("0123456\n", maxText/8) + "9", "", ""},
		"soft breaks":    {head("x", "text/plain") + "Content-Transfer-Encoding: quoted-printable\r\n\r\na" + strings.Repeat("=\r\n", 2*maxText) + "b", "", ""},
	} {
		r, err := Parse([]byte(c.raw), Limits{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		switch {
		case c.file == "" && r.Body != nil:
			t.Errorf("%s: %q", name, r.Body.Content)
		case c.file != "" && r.Body == nil:
			t.Errorf("%s: none", name)
		case c.file != "" && (r.Body.Name != c.file || string(r.Body.Content) != c.want || r.Body.Type != "text/plain"):
			t.Errorf("%s: %q, %q", name, r.Body.Name, r.Body.Content)
		}
	}
}

// What names mean in a container, they do not mean here.
func TestNamesOfContainers(t *testing.T) {
	for name, want := range map[string]string{
		"mimetype": "_mimetype", "MimeType": "_MimeType", "META-INF": "_META-INF", "META-INF/manifest.xml": "manifest.xml",
		"../../x": "x", "mimetype.txt": "mimetype.txt",
	} {
		if got := safeName(name, ""); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
}

// A CAdES signature that is attached is a file; what S/MIME needs is none.
func TestAttachedMessages(t *testing.T) {
	part := func(fields string) string { return "--b\r\n" + fields + "\r\n\r\nx\r\n" }
	mixed := func(kind string, parts ...string) string {
		return "From: jane@corp.test\r\nContent-Type: multipart/" + kind + "; boundary=b\r\n\r\n" + strings.Join(parts, "") + "--b--\r\n"
	}
	attached := "Content-Disposition: attachment; filename="
	for name, c := range map[string]struct{ raw, want string }{
		"a signature":          {mixed("mixed", part("Content-Type: application/pkcs7-signature\r\n"+attached+"a.pdf.p7s")), "a.pdf.p7s"},
		"a message":            {mixed("mixed", part("Content-Type: application/pkcs7-mime; smime-type=signed-data\r\n"+attached+"a.pdf.p7m")), "a.pdf.p7m"},
		"of a mail client":     {mixed("mixed", part("Content-Type: application/pkcs7-signature\r\n"+attached+"smime.p7s")), ""},
		"encrypted":            {mixed("mixed", part("Content-Type: application/pkcs7-mime\r\n"+attached+"smime.p7m")), "encrypted-mail"},
		"the mail itself":      {"From: jane@corp.test\r\nContent-Type: application/pkcs7-mime\r\n" + attached + "a.p7m\r\n\r\nx", "encrypted-mail"},
		"of the mail":          {mixed("signed", part("Content-Type: text/plain"), part("Content-Type: application/pkcs7-signature\r\n"+attached+"a.p7s")), ""},
		"without a name":       {mixed("mixed", part("Content-Type: application/pkcs7-signature\r\nContent-Disposition: attachment")), ""},
		"another name":         {mixed("mixed", part("Content-Type: application/pkcs7-mime\r\n"+attached+"a.pdf")), "encrypted-mail"},
		"not as an attachment": {mixed("mixed", part("Content-Type: application/pkcs7-mime; name=a.p7m")), "encrypted-mail"},
	} {
		r, err := Parse([]byte(c.raw), Limits{})
		got := ""
		if err != nil {
			got = reason(err)
		} else if len(r.Documents) > 0 {
			got = r.Documents[0].Name
		}
		if got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}
