package xades

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"strings"
	"time"

	"milterd/signature/cms"
	"milterd/signature/xades/dom"
)

// Errors about what can be signed.
var (
	// ErrForbidden: an earlier signature in the document would not survive this one, or cannot be read.
	ErrForbidden = errors.New("an earlier signature forbids this one")
	// ErrSplit: text in the document is cut in two by something that no signature covers.
	ErrSplit = errors.New("text that two readers may read in two ways")
)

// Params says who signs what with.
type Params struct {
	Certificate *x509.Certificate
	Chain       []*x509.Certificate // its issuers, embedded with it; the root may be left out
	Algorithm   cms.Algorithm       // empty: the usual one of the certificate's key
	Time        time.Time           // claimed time, SigningTime, in whole seconds
	Role        string              // what the signer claims to be, in words, signed with it; "" for nothing
}

// maxFiles bounds what one detached signature covers.
const maxFiles = 250

// Preparation is a signature that waits for its value. It is plain data: what
// JSON keeps of it suffices to Finish it.
type Preparation struct {
	ID           string        `json:"id"` // of the ds:Signature
	Time         time.Time     `json:"time"`
	Algorithm    cms.Algorithm `json:"algorithm"`
	Certificates [][]byte      `json:"certificates"` // DER, the signer's first
	Signed       []Signed      `json:"signed"`       // what the signature covers; for a page to show and to check
	Comments     int           `json:"comments"`     // of the document, which the signature does not cover
	SignedInfo   []byte        `json:"signed_info"`  // canonical: this is what gets signed
	Element      []byte        `json:"element"`      // ds:Signature with an empty SignatureValue
}

// Signed is one thing that a signature covers. Of a document, Content gives the
// octets that have this digest.
type Signed struct {
	Name   string `json:"name"`   // of the file; "" for the document
	MIME   string `json:"mime"`   // media type
	Digest []byte `json:"digest"` // under the hash of the algorithm
}

// Content is what an enveloped signature covers of a document: its canonical
// form less all signatures. A page that shows these bytes shows what is signed.
func Content(doc []byte) ([]byte, error) {
	tree, err := dom.Parse(doc)
	if err != nil {
		return nil, fmt.Errorf("reading the document: %w", err)
	}
	return content(tree)
}

func content(tree *dom.Document) ([]byte, error) {
	var b bytes.Buffer
	err := dom.Form{Exclusive: true}.WriteDocument(&b, tree, isSignature)
	return b.Bytes(), err
}

// Envelope prepares a signature that will stand in an XML document and cover all
// of it but signatures. The error wraps what package dom says of the document,
// ErrForbidden, ErrSplit, cms.ErrExpired or cms.ErrAlgorithm.
func Envelope(doc []byte, p Params) (*Preparation, error) {
	prep, err := envelope(doc, p)
	if err != nil {
		return nil, fmt.Errorf("preparing a signature: %w", err)
	}
	return prep, nil
}

func envelope(doc []byte, p Params) (*Preparation, error) {
	d, err := Read(doc)
	if err != nil {
		return nil, err
	}
	if err := d.takes(); err != nil {
		return nil, err
	}
	octets, err := content(d.tree)
	if err != nil {
		return nil, err
	}
	prep, err := prepare([]File{{MIME: "application/xml", Content: octets}}, true, p)
	if err == nil {
		prep.Comments = d.Comments()
	}
	return prep, err
}

// takes reports whether a document can take another signature.
func (d *Document) takes() error {
	if d.container {
		return fmt.Errorf("%w: the document is a signature itself", ErrForbidden)
	}
	for _, s := range d.Signatures {
		if s.Problem != nil {
			return fmt.Errorf("%w: %w", ErrForbidden, s.Problem)
		}
		for _, r := range s.References {
			if r.problem != nil || (r.node == nil && r.Covers == CoversDocument || r.node == d.tree.Root) && !r.others {
				return fmt.Errorf("%w: it covers whatever is added to the document", ErrForbidden)
			}
		}
	}
	if name := d.Split(); name != "" {
		return fmt.Errorf("%w: in element %q a comment or CDATA section stands within the text, which no signature covers", ErrSplit, name)
	}
	return nil
}

// Detach prepares a signature that stands by itself and covers files, in their
// order. Names must differ.
func Detach(files []File, p Params) (*Preparation, error) {
	prep, err := detach(files, p)
	if err != nil {
		return nil, fmt.Errorf("preparing a signature: %w", err)
	}
	return prep, nil
}

func detach(files []File, p Params) (*Preparation, error) {
	if len(files) == 0 || len(files) > maxFiles {
		return nil, fmt.Errorf("%d files to be signed, between 1 and %d can be", len(files), maxFiles)
	}
	seen := map[string]bool{}
	for _, f := range files {
		if !isName(f.Name) || seen[f.Name] {
			return nil, fmt.Errorf("file name %q: used twice, or no name of a file", f.Name)
		}
		seen[f.Name] = true
	}
	return prepare(files, false, p)
}

// isName wants a name that leads nowhere else when somebody reads it as an
// address or a path.
func isName(name string) bool {
	_, err := dom.Parse([]byte("<a>" + escape(name) + "</a>"))
	return err == nil && fs.ValidPath(name) && name != "." && !strings.Contains(name, `\`)
}

func prepare(files []File, enveloped bool, p Params) (*Preparation, error) {
	at := p.Time.UTC().Truncate(time.Second)
	var err error
	if p.Algorithm, err = cms.Usable(p.Certificate, p.Algorithm, at); err != nil {
		return nil, err
	}
	random := make([]byte, 16)
	rand.Read(random) // never fails
	prep := &Preparation{ID: "sig-" + hex.EncodeToString(random), Time: at, Algorithm: p.Algorithm, Certificates: [][]byte{p.Certificate.Raw}}
	for _, c := range p.Chain {
		prep.Certificates = append(prep.Certificates, c.Raw)
	}
	for _, f := range files {
		if f.MIME == "" {
			f.MIME = "application/octet-stream"
		}
		h := p.Algorithm.Hash().New()
		h.Write(f.Content)
		prep.Signed = append(prep.Signed, Signed{f.Name, f.MIME, h.Sum(nil)})
	}
	return prep, prep.build(enveloped, p.Role)
}

// build writes the element. Its exclusive canonical forms do not depend on the
// document that it will stand in.
func (p *Preparation) build(enveloped bool, role string) error {
	method := ` Algorithm="` + digestURI(p.Algorithm.Hash()) + `"`
	reference := func(id, attributes, transforms string, digest []byte) string {
		return `<ds:Reference` + id + attributes + `>` + transforms + `<ds:DigestMethod` + method + `></ds:DigestMethod><ds:DigestValue>` +
			base64.StdEncoding.EncodeToString(digest) + `</ds:DigestValue></ds:Reference>`
	}
	exclusive := `<ds:Transform Algorithm="` + dom.ExclusiveURI + `"></ds:Transform></ds:Transforms>`
	var references, formats strings.Builder
	for i, f := range p.Signed {
		id := fmt.Sprintf("%s-r%d", p.ID, i+1)
		uri, transforms := "", ""
		if enveloped {
			transforms = `<ds:Transforms><ds:Transform Algorithm="` + xpathURI + `"><ds:XPath>` + notSignatures + `</ds:XPath></ds:Transform>` + exclusive
		} else {
			uri = (&url.URL{Path: f.Name}).EscapedPath()
			uri = strings.ReplaceAll(uri, ":", "%3A") // no scheme
		}
		references.WriteString(reference(` Id="`+id+`"`, ` URI="`+escape(uri)+`"`, transforms, f.Digest))
		formats.WriteString(`<xades:DataObjectFormat ObjectReference="#` + id + `"><xades:MimeType>` + escape(f.MIME) + `</xades:MimeType></xades:DataObjectFormat>`)
	}
	if role != "" { // EN 319 132-1, clause 5.2.6
		role = `<xades:SignerRoleV2><xades:ClaimedRoles><xades:ClaimedRole>` + escape(role) + `</xades:ClaimedRole></xades:ClaimedRoles></xades:SignerRoleV2>`
	}
	h := p.Algorithm.Hash().New()
	h.Write(p.Certificates[0])
	object := `<ds:Object><xades:QualifyingProperties xmlns:xades="` + xades132Space + `" Target="#` + p.ID + `"><xades:SignedProperties Id="` + p.ID + `-p">` +
		`<xades:SignedSignatureProperties><xades:SigningTime>` + p.Time.Format("2006-01-02T15:04:05Z") + `</xades:SigningTime>` +
		`<xades:SigningCertificateV2><xades:Cert><xades:CertDigest><ds:DigestMethod` + method + `></ds:DigestMethod><ds:DigestValue>` +
		base64.StdEncoding.EncodeToString(h.Sum(nil)) + `</ds:DigestValue></xades:CertDigest></xades:Cert></xades:SigningCertificateV2>` + role +
		`</xades:SignedSignatureProperties><xades:SignedDataObjectProperties>` + formats.String() + `</xades:SignedDataObjectProperties>` +
		`</xades:SignedProperties></xades:QualifyingProperties></ds:Object>`
	var certificates strings.Builder
	for _, der := range p.Certificates {
		certificates.WriteString(`<ds:X509Certificate>` + base64.StdEncoding.EncodeToString(der) + `</ds:X509Certificate>`)
	}
	head := `<ds:Signature xmlns:ds="` + dsSpace + `" Id="` + p.ID + `">`
	tail := `<ds:SignatureValue Id="` + p.ID + `-v"></ds:SignatureValue><ds:KeyInfo><ds:X509Data>` + certificates.String() + `</ds:X509Data></ds:KeyInfo>` + object + `</ds:Signature>`
	signedInfo := func(properties []byte) string {
		return `<ds:SignedInfo><ds:CanonicalizationMethod Algorithm="` + dom.ExclusiveURI + `"></ds:CanonicalizationMethod><ds:SignatureMethod Algorithm="` +
			methodURI(p.Algorithm) + `"></ds:SignatureMethod>` + references.String() +
			reference("", ` Type="`+signedType+`" URI="#`+p.ID+`-p"`, `<ds:Transforms>`+exclusive, properties) + `</ds:SignedInfo>`
	}
	form := dom.Form{Exclusive: true}
	canonical := func(element, id, local string) ([]byte, error) {
		tree, err := dom.Parse([]byte(element))
		if err != nil {
			return nil, err
		}
		var b bytes.Buffer
		n := tree.Root.Find(dsSpace, local)
		if id != "" {
			of, err := tree.ByID(id)
			if err != nil {
				return nil, err
			}
			n = []*dom.Node{of}
		}
		err = form.WriteElement(&b, n[0], nil)
		return b.Bytes(), err
	}
	properties, err := canonical(head+tail, p.ID+"-p", "")
	if err != nil {
		return err
	}
	h.Reset()
	h.Write(properties)
	p.Element = []byte(head + signedInfo(h.Sum(nil)) + tail)
	p.SignedInfo, err = canonical(string(p.Element), "", "SignedInfo")
	return err
}

var escaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;", "\t", "&#x9;", "\n", "&#xA;", "\r", "&#xD;")

func escape(s string) string { return escaper.Replace(s) }
