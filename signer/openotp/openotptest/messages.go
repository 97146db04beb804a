package openotptest

import (
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// Kinds of parts. One with an asterisk may be left out: it is for what not every client asks.
const (
	text    = "string"
	needed  = "needed string"
	boolean = "boolean"
	number  = "integer"
	binary  = "base64Binary"
	option  = "*"
)

// messages are the parts of section 7, in their order.
var messages = map[string][]field{
	"openotpNormalSign":    join(order, mode, asked, field{"virtual", text + option}, field{"addCert", text + option}),
	"openotpSignQRCode":    join(order, mode, asked, qr, field{"virtual", text + option}, field{"addCert", text + option}),
	"openotpNormalConfirm": join(order, field{"form", binary + option}, field{"scan", boolean + option}, asked, field{"virtual", text + option}),
	"openotpCheckSign":     session1,
	"openotpCheckConfirm":  session1,
	"openotpCancelSign":    session1,
	"openotpCancelConfirm": session1,
	"openotpTouchSign":     join(session1, field{"sendPush", boolean}, qr),
	"openotpTouchConfirm":  join(session1, field{"sendPush", boolean}, qr),
	"openotpSeal":          {{"file", binary}, {"mode", text}, {"client", needed}, {"source", text}, {"settings", text}},
	"openotpList":          {},
}

var (
	session1 = []field{{"session", needed}}
	order    = []field{{"username", needed}, {"domain", text}, {"data", needed}, {"file", binary}}
	mode     = field{"mode", text}
	asked    = []field{{"async", boolean}, {"timeout", number}, {"issuer", text}, {"client", needed}, {"source", text}, {"settings", text}}
	qr       = []field{{"qrFormat", needed}, {"qrSizing", number}, {"qrMargin", number}}
)

// join lists parts one after the other.
func join(parts ...any) (all []field) {
	for _, p := range parts {
		switch p := p.(type) {
		case field:
			all = append(all, p)
		case []field:
			all = append(all, p...)
		}
	}
	return all
}

// request is a SOAP envelope of the one form that is taken.
type request struct {
	XMLName xml.Name `xml:"http://schemas.xmlsoap.org/soap/envelope/ Envelope"`
	Body    struct {
		Method []struct {
			XMLName xml.Name
			Parts   []struct {
				XMLName xml.Name
				Text    string `xml:",chardata"`
				Inner   []struct {
					XMLName xml.Name
				} `xml:",any"`
			} `xml:",any"`
		} `xml:",any"`
	} `xml:"http://schemas.xmlsoap.org/soap/envelope/ Body"`
}

// read checks a request against its message.
func (s *Server) read(r *http.Request, body []byte) (method string, parts map[string]string, err error) {
	var q request
	if err := xml.Unmarshal(body, &q); err != nil || len(q.Body.Method) != 1 || q.Body.Method[0].XMLName.Space != "urn:openotp" {
		return "", nil, fmt.Errorf("no envelope with one method of urn:openotp: %v", err)
	}
	m := q.Body.Method[0]
	method = m.XMLName.Local
	want, known := messages[method]
	switch {
	case r.Method != http.MethodPost || r.Header.Get("Content-Type") != "text/xml; charset=utf-8":
		return method, nil, fmt.Errorf("%s with %q", r.Method, r.Header.Get("Content-Type"))
	case !known:
		return method, nil, fmt.Errorf("unknown method")
	case r.Header.Get("SOAPAction") != `"`+method+`"`:
		return method, nil, fmt.Errorf("SOAPAction %q", r.Header.Get("SOAPAction"))
	}
	parts = map[string]string{}
	for _, p := range m.Parts {
		for len(want) > 0 && want[0].name != p.XMLName.Local && strings.HasSuffix(want[0].value, option) {
			want = want[1:]
		}
		if len(want) == 0 || p.XMLName.Space != "" || p.XMLName.Local != want[0].name || len(p.Inner) > 0 {
			return method, nil, fmt.Errorf("part %q is unknown, out of order, or has elements in it", p.XMLName.Local)
		}
		kind := strings.TrimSuffix(want[0].value, option)
		n, notNumber := strconv.Atoi(p.Text)
		_, notBinary := base64.StdEncoding.Strict().DecodeString(p.Text)
		if kind == needed && p.Text == "" || kind == boolean && p.Text != "true" && p.Text != "false" ||
			kind == number && (notNumber != nil || n < 1) || kind == binary && notBinary != nil {
			return method, nil, fmt.Errorf("part %s is no %s", want[0].name, kind)
		}
		parts[p.XMLName.Local] = p.Text
		want = want[1:]
	}
	for _, w := range want {
		if !strings.HasSuffix(w.value, option) {
			return method, nil, fmt.Errorf("part %s is missing", w.name)
		}
	}
	return method, parts, nil
}
