package evidence

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"

	"milterd/signature/asic"
	"milterd/signature/cms"
	"milterd/signature/pdf"
	"milterd/signature/pdf/cos"
	"milterd/validate"
	"milterd/workflow"
)

// documents holds the documents that were given against the evidence.
func (c *checking) documents() {
	given := map[int]bool{}
	for _, p := range c.o.PDFs {
		i, found, err := c.which(p.Content)
		if !c.step(p.Name, found, err) {
			continue
		}
		given[i] = true
		if c.e.Session.Documents[i].Kind == workflow.Unconverted { // carries no signature
			continue
		}
		c.validated(p)
		if c.e.Session.Level != workflow.Standard && c.e.Session.Documents[i].Kind == workflow.Mailed {
			c.inside(p, i)
		}
	}
	for i, d := range c.e.Session.Documents {
		if !given[i] {
			c.step(d.Name, "was not given, and is not compared; as it stands it has the SHA-256 "+d.Head().SHA256.String(), nil)
		}
	}
}

// which finds the document of the session that a file is: its newest revision,
// or that with something after it, such as a later archive timestamp.
func (c *checking) which(content []byte) (document int, found string, err error) {
	for i := range c.e.Session.Documents {
		d := &c.e.Session.Documents[i]
		head := d.Head()
		if head.Size < 0 || head.Size > int64(len(content)) || sha256.Sum256(content[:head.Size]) != head.SHA256 {
			continue
		}
		found := fmt.Sprintf("is document %d of the session, %s, as it was sealed", i+1, d.Name)
		if more := int64(len(content)) - head.Size; more > 0 {
			found += fmt.Sprintf(", and %d bytes after it", more)
		}
		return i, found, nil
	}
	return 0, "", errors.New("is no document of this session as it was sealed")
}

// validated lets validate judge the file as it judges any.
func (c *checking) validated(p PDF) {
	r, err := validate.File(p.Content, validate.Options{Anchors: c.o.signers(), Now: c.o.Now})
	found := ""
	switch {
	case err != nil:
	case r.Indication == validate.Passed:
		found = fmt.Sprintf("all %d hold, and nothing was changed after that may not be", len(r.Signatures))
	case r.Indication == validate.Failed:
		err = errors.New(trouble(r))
	default:
		err = fmt.Errorf("%w: %s", errUnknown, trouble(r))
	}
	c.step(p.Name+": signatures and timestamps", found, err)
}

func trouble(r *validate.Result) string {
	for _, s := range r.Signatures {
		if s.Indication != validate.Passed {
			return fmt.Sprintf("%s in %s: %s", s.Indication, s.Field, s.Problem)
		}
	}
	return "it holds no signature"
}

// inside wants in the document, for each signatory, the very attributes and
// value that the evidence has.
func (c *checking) inside(p PDF, document int) {
	messages, err := messages(p.Content)
	if err != nil {
		c.step(p.Name+": own keys", "", err)
		return
	}
	for _, i := range c.e.Session.Signatories() {
		q := &c.e.Session.People[i]
		if q.Act == nil || q.State != workflow.Signed {
			continue
		}
		for _, o := range q.Act.Own {
			if o.Document == document {
				c.step(fmt.Sprintf("%s: signature of %s", p.Name, q.Mail), "is the one that the evidence tells of", c.contains(messages, q, &o))
			}
		}
	}
}

func (c *checking) contains(messages []*cms.Message, p *workflow.Participant, o *workflow.SignedBy) error {
	cert, err := c.certificate(p, o.Certificate)
	if cert == nil {
		return err
	}
	want, err := value(cert, p.Act, o)
	if err != nil {
		return err
	}
	for _, m := range messages {
		if !bytes.Equal(m.Attributes, o.Attributes) || !bytes.Equal(m.Value, want) {
			continue
		}
		signer, err := m.SignerCertificate()
		if err == nil && signer.Equal(cert) {
			return nil
		}
	}
	return errors.New("it is not in this document")
}

// messages are those of all signatures in a PDF, a container or a message.
func messages(content []byte) (out []*cms.Message, err error) {
	switch {
	case asic.IsZIP(content):
		c, err := asic.Open(content)
		if err != nil {
			return nil, err
		}
		for _, s := range c.Signed() {
			if m, err := cms.Parse(s.Value); err == nil && !s.Token {
				out = append(out, m)
			}
		}
		return out, nil
	case len(content) > 0 && content[0] == 0x30: // SEQUENCE
		return cms.ParseAll(content)
	}
	f, err := cos.Open(content)
	if err != nil {
		return nil, err
	}
	sigs, err := pdf.Signatures(f)
	if err != nil {
		return nil, err
	}
	for _, s := range sigs {
		in, der := cryptobyte.String(s.Contents), cryptobyte.String(nil) // zeros follow it
		if !in.ReadASN1Element(&der, tag.SEQUENCE) {
			continue
		}
		if m, err := cms.Parse(der); err == nil {
			out = append(out, m)
		}
	}
	return out, nil
}
