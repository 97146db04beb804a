package xades

import (
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"time"

	"milterd/signature/cms"
	"milterd/signature/xades/dom"
)

// Limits of Read.
const (
	maxSignatures = 200
	maxReferences = 256       // of one signature
	maxStamps     = 16        // of one signature and one kind
	maxEntries    = 4096      // certificates, lists and answers of all signatures, and certificates that one names
	maxPrefixes   = 64        // of InclusiveNamespaces
	maxWork       = 512 << 20 // bytes of canonical forms that are hashed
	maxHashed     = 4 << 30   // bytes of files that are hashed
)

// Document is an XML file with its signatures.
type Document struct {
	Signatures []*Signature // in document order, those within others left out

	tree      *dom.Document
	container bool // the root is ds:Signature or asic:XAdESSignatures: nothing stands here but signatures
	work      *work
	entries   int // of evidence in all signatures
	split     *string
}

// Signature is a ds:Signature element. What cannot be read of it is its Problem.
type Signature struct {
	ID           string
	Algorithm    cms.Algorithm
	Value        []byte // as it stands there: r‖s for ECDSA
	SigningTime  time.Time
	Role         string              // claimed by the signer, in words; "" for none that is read here
	References   []*Reference        // but for the one of SignedProperties
	Certificates []*x509.Certificate // of KeyInfo
	Stamps       []*Stamp            // over the value
	Archives     []*Stamp            // archive timestamps
	Problem      error               // why it is no XAdES signature that is judged here; wraps errors of package cms and this one
	Stray        string              // an element within it that nothing signs and that does not belong there; "" for none
	Notes        []string            // what it holds and nobody here judges

	doc        *Document
	node       *dom.Node
	signedInfo *dom.Node
	form       dom.Form // of SignedInfo
	value      *dom.Node
	keyInfo    *dom.Node
	objects    []*dom.Node
	qualifying *dom.Node
	signed     *dom.Node // SignedProperties
	own        *Reference
	unsigned   []*dom.Node // children of UnsignedSignatureProperties
	named      []certID
	v2         bool // named by SigningCertificateV2, without addresses
	entries    []entry
}

// Stamp is a timestamp with what it is over.
type Stamp struct {
	Token []byte // DER

	form dom.Form
	at   int // among the unsigned properties
}

// Evidence is what makes B-LT of B-T: certificates, and revocation data issued
// after the signature's time, for the signer's chain and the timestamp
// authority's.
type Evidence struct {
	Certs []*x509.Certificate
	CRLs  [][]byte // DER
	OCSPs [][]byte // DER of OCSPResponse
}

// entry is a value of the evidence, with the place of its property.
type entry struct {
	at   int
	kind string // name of the element
	der  []byte
	cert *x509.Certificate
}

// certID names a certificate by its digest.
type certID struct {
	method string
	digest []byte
}

// Read finds the signatures of a document. The error wraps those of package dom,
// for what is no XML that is read here.
func Read(raw []byte) (*Document, error) {
	tree, err := dom.Parse(raw)
	if err != nil {
		return nil, err
	}
	d := &Document{tree: tree, work: &work{sums: map[sumKey][]byte{}}, container: isContainer(tree.Root)}
	tree.Walk(func(n *dom.Node) bool {
		if !n.Is(dsSpace, "Signature") {
			return true
		}
		d.Signatures = append(d.Signatures, &Signature{doc: d, node: n, ID: n.Attr("Id")})
		return false
	})
	if len(d.Signatures) > maxSignatures {
		return nil, fmt.Errorf("%w: more than %d signatures", dom.ErrLimit, maxSignatures)
	}
	for _, s := range d.Signatures {
		s.Problem = s.read()
	}
	return d, nil
}

// isContainer reports whether a root holds signatures and nothing else.
func isContainer(root *dom.Node) bool {
	kids, err := elements(root)
	return isSignature(root) ||
		root.Is(asicSpace, "XAdESSignatures") && err == nil && !slices.ContainsFunc(kids, func(n *dom.Node) bool { return !isSignature(n) })
}

// work is what has been spent on a document's signatures, so that a stranger
// cannot ask for more and more.
type work struct {
	forms, files int64 // bytes
	sums         map[sumKey][]byte
}

// sumKey is a file and a hash; names differ.
type sumKey struct {
	name string
	hash crypto.Hash
}

// Share has two documents, whose signatures cover the same files, count their
// work as one.
func (d *Document) Share(with *Document) { d.work = with.work }

// Container reports whether the document holds nothing but signatures, of files.
func (d *Document) Container() bool { return d.container }

// Root is the document's root element: the tree that the references of its
// signatures were checked over.
func (d *Document) Root() *dom.Node { return d.tree.Root }

// read takes the element apart in the order of its schema.
func (s *Signature) read() error {
	kids, err := elements(s.node)
	if err != nil {
		return err
	}
	take := func(local string) *dom.Node {
		if len(kids) == 0 || !kids[0].Is(dsSpace, local) {
			return nil
		}
		n := kids[0]
		kids = kids[1:]
		return n
	}
	s.signedInfo, s.value, s.keyInfo = take("SignedInfo"), take("SignatureValue"), take("KeyInfo")
	for o := take("Object"); o != nil; o = take("Object") {
		s.objects = append(s.objects, o)
	}
	if s.signedInfo == nil || s.value == nil || len(kids) > 0 {
		return malformed("ds:Signature is not SignedInfo, SignatureValue, KeyInfo, Objects")
	}
	if s.Value, err = binary(s.value); err != nil {
		return err
	}
	if err := s.readSignedInfo(); err != nil {
		return err
	}
	if err := s.readKeyInfo(); err != nil {
		return err
	}
	if err := s.readProperties(); err != nil {
		return err
	}
	if err := s.readUnsigned(); err != nil {
		return err
	}
	if err := s.resolve(); err != nil {
		return err
	}
	s.findStray()
	return nil
}

func (s *Signature) readSignedInfo() error {
	kids, err := elements(s.signedInfo)
	if err != nil {
		return err
	}
	if len(kids) < 3 || !kids[0].Is(dsSpace, "CanonicalizationMethod") || !kids[1].Is(dsSpace, "SignatureMethod") {
		return malformed("ds:SignedInfo is not CanonicalizationMethod, SignatureMethod, References")
	}
	if s.form, err = readForm(kids[0]); err != nil {
		return fmt.Errorf("%w: %w", cms.ErrFormat, err)
	}
	method := kids[1].Attr("Algorithm")
	var ok bool
	if s.Algorithm, ok = methods[method]; !ok {
		return fmt.Errorf("%w: signature %q", cms.ErrAlgorithm, method)
	}
	if len(kids[1].Elements()) > 0 {
		return fmt.Errorf("%w: parameters of the signature method", cms.ErrAlgorithm)
	}
	if len(kids)-2 > maxReferences {
		return malformed("more than %d references", maxReferences)
	}
	for _, n := range kids[2:] {
		r, err := readReference(n)
		if err != nil {
			return err
		}
		if r.Type == signedType {
			if s.own != nil {
				return malformed("two references of type SignedProperties")
			}
			s.own = r
			continue
		}
		s.References = append(s.References, r)
	}
	return nil
}

func (s *Signature) readKeyInfo() error {
	if s.keyInfo == nil {
		return nil
	}
	for _, data := range s.keyInfo.Find(dsSpace, "X509Data") {
		for _, n := range data.Find(dsSpace, "X509Certificate") {
			der, err := binary(n)
			if err != nil {
				return err
			}
			if s.doc.entries++; s.doc.entries > maxEntries {
				return malformed("more than %d certificates and revocation data", maxEntries)
			}
			if c, err := x509.ParseCertificate(der); err == nil {
				s.Certificates = append(s.Certificates, c)
			}
		}
	}
	return nil
}

// elements gives the children of an element that holds elements only.
func elements(n *dom.Node) ([]*dom.Node, error) {
	for _, c := range n.Children {
		if c.Kind == dom.Text && strings.TrimSpace(c.Data) != "" {
			return nil, malformed("text in %s", n.Local)
		}
	}
	return n.Elements(), nil
}

// leaf is the text of an element that holds nothing else: comments, too, would
// let two readers see two values.
func leaf(n *dom.Node) (string, error) {
	for _, c := range n.Children {
		if c.Kind != dom.Text {
			return "", malformed("%s is not text alone", n.Local)
		}
	}
	return n.Text(), nil
}

var blanks = strings.NewReplacer(" ", "", "\t", "", "\n", "", "\r", "")

// binary reads base64.
func binary(n *dom.Node) ([]byte, error) {
	text, err := leaf(n)
	if err != nil {
		return nil, err
	}
	b, err := base64.StdEncoding.Strict().DecodeString(blanks.Replace(text))
	if err != nil || len(b) == 0 {
		return nil, malformed("%s is no base64", n.Local)
	}
	return b, nil
}

// readForm reads CanonicalizationMethod or a Transform that is one.
func readForm(n *dom.Node) (dom.Form, error) {
	form, err := dom.FormOf(n.Attr("Algorithm"))
	if err != nil {
		return form, err
	}
	for i, k := range n.Elements() {
		if i > 0 || !form.Exclusive || !k.Is(excSpace, "InclusiveNamespaces") {
			return form, fmt.Errorf("%w: parameters %s", dom.ErrMethod, k.Local)
		}
		if form.Prefixes = strings.Fields(k.Attr("PrefixList")); len(form.Prefixes) > maxPrefixes {
			return form, fmt.Errorf("%w: %d prefixes", dom.ErrMethod, len(form.Prefixes))
		}
	}
	return form, nil
}
