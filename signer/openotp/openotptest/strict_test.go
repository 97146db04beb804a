package openotptest

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// Each request has one fault; without it, it is taken.
func TestStrict(t *testing.T) {
	s, err := New(Config{Client: "desk", Users: []string{"john"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	const head = `<?xml version="1.0"?><e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/" xmlns:u="urn:openotp"><e:Body>`
	const good = head + `<u:openotpNormalSign><username>john</username><domain></domain><data>sign this</data><file>JVBERi0xLjc=</file><mode>pades</mode><async>true</async>` +
		`<timeout>600</timeout><issuer/><client>desk</client><source/><settings>SignScope=eIDAS</settings><virtual></virtual><addCert>1</addCert></u:openotpNormalSign></e:Body></e:Envelope>`
	for _, c := range []struct{ name, old, new, media, action, want string }{
		{"good", "", "", "", "", "<code>2</code>"},
		{"without what is optional", "<virtual></virtual><addCert>1</addCert>", "", "", "", "<code>2</code>"},
		{"media type", "", "", "application/soap+xml", "", "BadRequest"},
		{"action", "", "", "", `"openotpSeal"`, "BadRequest"},
		{"method", "openotpNormalSign", "openotpSteal", "", "", "BadRequest"},
		{"namespace", "urn:openotp", "urn:other", "", "", "BadRequest"},
		{"SOAP 1.2", "http://schemas.xmlsoap.org/soap/envelope/", "http://www.w3.org/2003/05/soap-envelope", "", "", "BadRequest"},
		{"unknown part", "<username>", "<x/><username>", "", "", "BadRequest"},
		{"qualified part", "<domain></domain>", "<u:domain></u:domain>", "", "", "BadRequest"},
		{"missing part", "<issuer/>", "", "", "", "BadRequest"},
		{"order", "<domain></domain><data>sign this</data>", "<data>sign this</data><domain></domain>", "", "", "BadRequest"},
		{"twice", "<issuer/>", "<issuer/><issuer/>", "", "", "BadRequest"},
		{"nested", "john", "<x>john</x>", "", "", "BadRequest"},
		{"base64", "JVBERi0xLjc=", "JVBERi0xLjc", "", "", "BadRequest"},
		{"no file", "JVBERi0xLjc=", "", "", "", "BadRequest"},
		{"boolean", "true", "yes", "", "", "BadRequest"},
		{"number", "600", "soon", "", "", "BadRequest"},
		{"a year", "600", "31536000", "", "", "BadRequest"},
		{"too long to wait", "true</async>", "false</async>", "", "", "BadRequest"},
		{"client", ">desk<", ">other<", "", "", "BadRequest"},
		{"scope", "eIDAS", "eidas", "", "", "BadRequest"},
		{"mode", "pades", "xades", "", "", "BadRequest"},
		{"user", "john", "joan", "", "", "AuthFailed"},
		{"address", "<source/>", "<source>here</source>", "", "", "ServerError"},
	} {
		body := strings.Replace(good, c.old, c.new, 1)
		if c.name == "method" || c.name == "namespace" {
			body = strings.ReplaceAll(good, c.old, c.new)
		}
		if c.old != "" && body == good {
			t.Fatalf("%s: nothing changed", c.name)
		}
		req, err := http.NewRequest(http.MethodPost, s.URL, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if c.media == "" {
			c.media = "text/xml; charset=utf-8"
		}
		if c.action == "" {
			c.action = `"openotpNormalSign"`
		}
		req.Header.Set("Content-Type", c.media)
		req.Header.Set("SOAPAction", c.action)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		out, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || !strings.Contains(string(out), c.want) {
			t.Errorf("%s: %s, %v, want %s", c.name, out, err, c.want)
		}
	}
}
