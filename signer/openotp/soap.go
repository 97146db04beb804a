package openotp

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
)

const (
	soapNS    = "http://schemas.xmlsoap.org/soap/envelope/"
	openotpNS = "urn:openotp"
)

// Limits on answers: bytes, and what one holds.
const (
	maxAnswer = 64 << 20 // a signed file in base64
	maxParts  = 20
)

// part is one of a message's, in its order.
type part struct{ name, value string }

// envelope writes a request.
func envelope(method string, parts []part) []byte {
	var b bytes.Buffer
	b.WriteString(xml.Header)
	fmt.Fprintf(&b, `<soapenv:Envelope xmlns:soapenv="%s" xmlns:urn="%s"><soapenv:Body><urn:%s>`, soapNS, openotpNS, method)
	for _, p := range parts {
		b.WriteString("<" + p.name + ">")
		xml.EscapeText(&b, []byte(p.value)) // never fails on a buffer
		b.WriteString("</" + p.name + ">")
	}
	fmt.Fprintf(&b, `</urn:%s></soapenv:Body></soapenv:Envelope>`, method)
	return b.Bytes()
}

// answer is the parts of a response.
type answer map[string]string

// code is 0 for an error, 1 for success, 2 for a session that is pending (7.1.2);
// -1 if there is none.
func (a answer) code() int {
	n, err := strconv.Atoi(a["code"])
	if err != nil {
		return -1
	}
	return n
}

// bytes is a base64Binary, which may be broken into lines; nil if it is not there.
func (a answer) bytes(name string) ([]byte, error) {
	s := strings.Join(strings.Fields(a[name]), "")
	if s == "" {
		return nil, nil
	}
	return base64.StdEncoding.Strict().DecodeString(s)
}

// fault is a SOAP Fault.
type fault struct{ text string }

func (f *fault) Error() string { return "SOAP fault: " + f.text }

// readAnswer reads an envelope with one response of flat parts, each there once. It takes
// no document type, no processing instruction but the declaration, no nesting.
func readAnswer(b []byte) (answer, error) {
	r := &reader{d: xml.NewDecoder(bytes.NewReader(b))}
	r.open(soapNS, "Envelope")
	name := r.next()
	if name.Space == soapNS && name.Local == "Header" {
		for r.err == nil && r.next().Local != "" {
			r.err = errors.New("a SOAP header")
		}
		name = r.next()
	}
	if r.err == nil && (name.Space != soapNS || name.Local != "Body") {
		r.err = errors.New("no SOAP Body")
	}
	name = r.next()
	isFault := name.Space == soapNS && name.Local == "Fault"
	if r.err == nil && !isFault && (name.Space != openotpNS || !strings.HasPrefix(name.Local, "openotp") || !strings.HasSuffix(name.Local, "Response")) {
		r.err = errors.New("no response of urn:openotp")
	}
	a := answer{}
	for r.err == nil {
		p := r.next()
		if p.Local == "" {
			break
		}
		if _, twice := a[p.Local]; twice || len(a) >= maxParts {
			r.err = errors.New("a part is there twice, or there are too many")
			break
		}
		a[p.Local] = r.text()
	}
	r.close() // Body
	r.close() // Envelope
	r.end()
	if r.err == nil && isFault {
		r.err = &fault{clean(a["faultcode"]+" "+a["faultstring"], maxSaid)}
	}
	return a, r.err
}

// reader goes through an XML document element by element.
type reader struct {
	d   *xml.Decoder
	err error
}

// token is the next one that says something.
func (r *reader) token() xml.Token {
	for r.err == nil {
		t, err := r.d.Token()
		if err != nil {
			r.err = err
			break
		}
		switch t := t.(type) {
		case xml.Comment:
			continue
		case xml.CharData:
			if len(bytes.TrimSpace(t)) == 0 {
				continue
			}
		case xml.ProcInst:
			if t.Target == "xml" {
				continue
			}
			r.err = errors.New("a processing instruction")
		case xml.Directive:
			r.err = errors.New("a document type")
		}
		return t
	}
	return nil
}

// next opens the next element; its name is empty if the one around it ends here.
func (r *reader) next() xml.Name {
	switch t := r.token().(type) {
	case xml.StartElement:
		return t.Name
	case xml.EndElement:
		return xml.Name{}
	}
	if r.err == nil {
		r.err = errors.New("text between elements")
	}
	return xml.Name{}
}

func (r *reader) open(space, local string) {
	if n := r.next(); r.err == nil && (n.Space != space || n.Local != local) {
		r.err = fmt.Errorf("no %s", local)
	}
}

// text is an element's content up to its end, with nothing but text in it.
func (r *reader) text() string {
	var b strings.Builder
	for r.err == nil {
		t, err := r.d.Token()
		if err != nil {
			r.err = err
			break
		}
		switch t := t.(type) {
		case xml.CharData:
			b.Write(t)
		case xml.EndElement:
			return b.String()
		default:
			r.err = errors.New("a part that is not text")
		}
	}
	return ""
}

func (r *reader) close() {
	if n := r.next(); r.err == nil && n.Local != "" {
		r.err = errors.New("more than one element")
	}
}

func (r *reader) end() {
	if r.err != nil {
		return
	}
	r.token()
	if r.err == io.EOF {
		r.err = nil
	} else if r.err == nil {
		r.err = errors.New("something follows the envelope")
	}
}

// call makes one request; none is made twice by itself, because most reach a phone.
func (c *Client) call(ctx context.Context, method string, parts []part) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, c.s.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.s.URL, bytes.NewReader(envelope(method, parts)))
	if err != nil {
		return nil, c.fail(method, BadOrder, err)
	}
	req.Header.Set("Content-Type", `text/xml; charset=utf-8`)
	req.Header.Set("SOAPAction", `"`+method+`"`)
	if c.s.APIKey != "" {
		req.Header.Set("WA-API-Key", string(c.s.APIKey))
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.fail(method, Away, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	switch {
	case err != nil:
		return nil, c.fail(method, Away, fmt.Errorf("reading the answer: %w", err))
	case len(body) > maxAnswer:
		return nil, c.fail(method, WrongAnswer, fmt.Errorf("answer of more than %d bytes", maxAnswer))
	case resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden:
		return nil, c.fail(method, Misconfigured, fmt.Errorf("HTTP status %d", resp.StatusCode))
	// SOAP 1.1, 6.2: a fault comes with status 500.
	case resp.StatusCode >= 500 && kind != "text/xml":
		return nil, c.fail(method, Away, fmt.Errorf("HTTP status %d", resp.StatusCode))
	case resp.StatusCode != http.StatusOK && resp.StatusCode < 500, kind != "text/xml":
		return nil, c.fail(method, WrongAnswer, fmt.Errorf("HTTP status %d, %q; want 200 and text/xml", resp.StatusCode, clean(kind, 60)))
	}
	a, err := readAnswer(body)
	var f *fault
	switch {
	case errors.As(err, &f):
		return nil, c.fail(method, Refused, err)
	case err != nil:
		return nil, c.fail(method, WrongAnswer, errors.New("no answer in SOAP: "+clean(err.Error(), 100)))
	case a.code() == 0:
		return nil, c.judge(method, a)
	}
	return a, nil
}
