package validate

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"

	"milterd/signature/cms"
	"milterd/signature/pdf/cos"
)

// signature is one filled signature field of the final revision.
type signature struct {
	out     Signature
	dict    cos.Dict
	field   cos.Ref
	end     int       // of its revision; 0 if its ByteRange is not sound
	gap     [2]int    // of Contents with its brackets
	own     *cos.File // the file as it was signed
	message *cms.Message
	token   *cms.Token // of a document timestamp
	problem error      // found before its turn
	valid   bool
	chains  []chain // what must have revocation data for level LT

	xml *xmlSignature // of XAdES

	// Of formats other than PDF, where no order of revisions says what covers what.
	format Format // "" means PDF
	*beside
}

// beside is what a signature has that is not in a PDF, where no order of revisions
// says what covers what.
type beside struct {
	later   []*signature               // timestamps that cover it
	stored  *evidence                  // what its own file holds
	covers  func(token []byte) bool    // of a timestamp: one inside of a signature that it covers; nil: all
	holds   map[*signature]*evidence   // of a timestamp: what it covers besides each signature
	content func(h crypto.Hash) []byte // digest of what is signed
	settled bool                       // it was judged
}

const (
	maxFields = 20_000
	maxDepth  = 32
)

// formField is a field of the form, as far as a check needs it.
type formField struct {
	ref   cos.Ref
	name  string
	ft    cos.Name
	flags int // Ff
	dict  cos.Dict
	leaf  bool
}

// formFields lists every named field, parents before kids.
func formFields(f *cos.File) ([]formField, error) {
	catalog, err := f.Catalog()
	if err != nil {
		return nil, err
	}
	form, err := f.Dict(catalog["AcroForm"])
	if err != nil {
		return nil, err
	}
	roots, err := f.Array(form["Fields"])
	if err != nil {
		return nil, err
	}
	var out []formField
	seen := map[int]bool{}
	var visit func(o cos.Object, up formField, depth int) error
	visit = func(o cos.Object, up formField, depth int) error {
		ref, _ := o.(cos.Ref)
		if depth > maxDepth || len(out) >= maxFields || ref.Num != 0 && seen[ref.Num] {
			return fmt.Errorf("form: %w", cos.ErrLimit)
		}
		seen[ref.Num] = true
		d, err := f.Plain(o)
		if err != nil {
			return fmt.Errorf("form: %w", err)
		}
		if d == nil {
			return nil
		}
		fl := formField{ref: ref, name: up.name, ft: up.ft, flags: up.flags, dict: d, leaf: true}
		if t, ok := d["T"]; ok {
			fl.name = strings.TrimPrefix(up.name+"."+f.String(t).UTF8(), ".")
		}
		if t := f.Name(d["FT"]); t != "" {
			fl.ft = t
		}
		if n, ok := f.Int(d["Ff"]); ok {
			fl.flags = n
		}
		out = append(out, fl)
		self := len(out) - 1
		kids, err := f.Array(d["Kids"])
		if err != nil {
			return err
		}
		for _, k := range kids {
			kid, err := f.Dict(k)
			if err != nil {
				return err
			}
			if _, named := kid["T"]; named {
				out[self].leaf = false
			}
			if err := visit(k, fl, depth+1); err != nil {
				return err
			}
		}
		return nil
	}
	for _, o := range roots {
		if err := visit(o, formField{}, 0); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// findSignatures takes the filled signature fields of the final revision, and
// reads each in the revision that it covers.
func (v *validation) findSignatures() error {
	fields, err := formFields(v.final)
	if err != nil {
		return err
	}
	seen := map[cos.Ref]bool{}
	for _, fl := range fields {
		if fl.ft != "Sig" || fl.dict["V"] == nil {
			continue
		}
		if len(v.sigs) == maxSignatures {
			return fmt.Errorf("more than %d signatures: %w", maxSignatures, cos.ErrLimit)
		}
		s := &signature{field: fl.ref}
		s.out.Field, s.out.Kind = fl.name, KindSignature
		if s.dict, err = v.final.Dict(fl.dict["V"]); err != nil {
			return fmt.Errorf("field %q: %w", fl.name, err)
		}
		if r, ok := fl.dict["V"].(cos.Ref); ok {
			if seen[r] {
				s.problem = fail(FormatFailure, "two fields share one signature")
			}
			seen[r] = true
		}
		v.describe(s)
		if s.problem == nil {
			s.problem = v.open(s, fl)
		}
		v.sigs = append(v.sigs, s)
	}
	return nil
}

func (v *validation) describe(s *signature) {
	s.out.SubFilter = string(v.final.Name(s.dict["SubFilter"]))
	text := func(k cos.Name) string { return v.final.String(s.dict[k]).UTF8() }
	s.out.Name, s.out.Reason, s.out.Location = text("Name"), text("Reason"), text("Location")
	if t, err := cos.ParseDate(v.final.String(s.dict["M"])); err == nil {
		s.out.Claimed = t.UTC()
	}
	if s.out.SubFilter == "ETSI.RFC3161" {
		s.out.Kind = KindTimestamp
	}
}

// open is the format check (EN 319 102-1, clause 5.2.2) of a PDF signature: a
// sound ByteRange, a revision that opens by itself and holds this signature,
// and Contents with exactly one message.
func (v *validation) open(s *signature, fl formField) error {
	if err := checkByteRange(v, s); err != nil {
		return err
	}
	if err := checkRevision(v, s, fl); err != nil {
		s.end = 0
		return err
	}
	der, err := contentsDER(v.final, s.dict)
	if err != nil {
		return err
	}
	switch s.out.SubFilter {
	case "ETSI.CAdES.detached", "adbe.pkcs7.detached":
		s.message, err = cms.Parse(der)
	case "ETSI.RFC3161":
		if s.token, err = cms.ParseToken(der); err == nil {
			s.message = s.token.Message
			s.out.Claimed = s.token.Time
		}
	default:
		err = undecided(CryptoConstraints, "signatures of form %q are not accepted", s.out.SubFilter)
	}
	if s.message != nil {
		s.out.Algorithm = string(s.message.Algorithm)
	}
	return err
}

// checkByteRange wants four numbers: from the first byte up to the < of
// Contents, and from after its > up to the end of a revision. What is left out
// must be that hex string and nothing else.
func checkByteRange(v *validation, s *signature) error {
	a, err := v.final.Array(s.dict["ByteRange"])
	if err != nil || len(a) != 4 {
		return fail(FormatFailure, "ByteRange is not four numbers")
	}
	var n [4]int
	for i := range n {
		var ok bool
		if n[i], ok = v.final.Int(a[i]); !ok || n[i] < 0 || n[i] > len(v.data) {
			return fail(FormatFailure, "ByteRange reaches outside the file")
		}
	}
	end := n[2] + n[3]
	switch {
	case n[0] != 0:
		return fail(FormatFailure, "ByteRange does not start at the first byte")
	case n[1] >= n[2]:
		return fail(FormatFailure, "ByteRange overlaps itself")
	case end > len(v.data):
		return fail(FormatFailure, "ByteRange reaches outside the file")
	}
	hole := v.data[n[1]:n[2]]
	if len(hole) < 2 || hole[0] != '<' || hole[len(hole)-1] != '>' {
		return fail(FormatFailure, "ByteRange leaves out something other than Contents")
	}
	b := make([]byte, hex.DecodedLen(len(hole)-2))
	if _, err := hex.Decode(b, hole[1:len(hole)-1]); err != nil {
		return fail(FormatFailure, "ByteRange leaves out something other than hex digits")
	}
	if string(b) != string(v.final.String(s.dict["Contents"])) {
		return fail(FormatFailure, "what ByteRange leaves out is not Contents")
	}
	s.end, s.gap, s.out.Covers = end, [2]int{n[1], n[2]}, end
	return nil
}

// checkRevision opens the file as it was when it was signed: its end must be
// the end of a revision, the later file must build on it, and the same field
// must hold the same signature in it. Since everything of it but Contents is
// hashed, a signature dictionary from elsewhere cannot pass.
func checkRevision(v *validation, s *signature, fl formField) error {
	own := v.data[:s.end]
	if !bytes.HasSuffix(bytes.TrimRight(own, "\r\n"), []byte("%%EOF")) || len(own)-len(bytes.TrimRight(own, "\r\n")) > 2 {
		return fail(FormatFailure, "ByteRange does not end where a revision ends")
	}
	var err error
	if s.own, err = cos.Open(own); err != nil {
		return fail(FormatFailure, "the signed revision cannot be read: %w", err)
	}
	at, err := s.own.Sections()
	if err != nil {
		return fail(FormatFailure, "the signed revision cannot be read: %w", err)
	}
	for _, offset := range at {
		if !v.sections[offset] {
			return fail(FormatFailure, "the file does not build on the signed revision")
		}
	}
	fields, err := formFields(s.own)
	if err != nil {
		return fail(FormatFailure, "the signed revision's form: %w", err)
	}
	for _, f := range fields {
		if f.name != fl.name || f.ref != fl.ref {
			continue
		}
		d, err := s.own.Dict(f.dict["V"])
		if err == nil && sameObject(d, s.dict) && f.ft == "Sig" {
			return nil
		}
	}
	return fail(FormatFailure, "the signed revision does not hold this signature")
}

// contentsDER cuts the message out of Contents; after it only zeros may follow.
func contentsDER(f *cos.File, d cos.Dict) ([]byte, error) {
	all := []byte(f.String(d["Contents"]))
	in := cryptobyte.String(all)
	var el cryptobyte.String
	if !in.ReadASN1Element(&el, tag.SEQUENCE) {
		return nil, fail(FormatFailure, "Contents is no DER")
	}
	if len(bytes.Trim(in, "\x00")) > 0 {
		return nil, fail(FormatFailure, "Contents holds more than a signature")
	}
	return el, nil
}

// judge is everything that follows the format check.
func (v *validation) judge(s *signature, known *evidence) error {
	if s.token != nil {
		return v.judgeDocTimestamp(s, known)
	}
	h := s.message.Hash().New()
	h.Write(v.data[:s.gap[0]])
	h.Write(v.data[s.gap[1]:s.end])
	cert, err := checkMessage(s.message, h.Sum(nil), known.certs, s.out.SubFilter == "ETSI.CAdES.detached")
	if cert != nil {
		name(&s.out, cert)
	}
	if err != nil {
		return err
	}
	return v.judgeSigner(s, cert, known)
}

// name fills in who a certificate is.
func name(out *Signature, c *x509.Certificate) {
	out.Subject, out.Issuer, out.Serial, out.Certificate = subject(c.Subject), subject(c.Issuer), c.SerialNumber.Text(16), c.Raw
}

// labels are the attributes of names that people know.
var labels = map[string]string{
	"2.5.4.3": "CN", "2.5.4.4": "SN", "2.5.4.5": "serialNumber", "2.5.4.6": "C", "2.5.4.7": "L", "2.5.4.8": "ST", "2.5.4.10": "O",
	"2.5.4.11": "OU", "2.5.4.12": "title", "2.5.4.42": "GN", "2.5.4.97": "organizationIdentifier", "2.5.4.65": "pseudonym",
	"1.2.840.113549.1.9.1": "emailAddress",
}

// subject writes a name for people, the most specific part first.
func subject(n pkix.Name) string {
	var parts []string
	for _, a := range n.Names {
		label, ok := labels[a.Type.String()]
		if !ok {
			label = a.Type.String()
		}
		value := fmt.Sprint(a.Value)
		if strings.ContainsAny(value, `,=+"\`) {
			value = strconv.Quote(value)
		}
		parts = append(parts, label+"="+value)
	}
	slices.Reverse(parts)
	return strings.Join(parts, ", ")
}

// checkMessage is cryptographic verification (clause 5.2.7) with identification
// of the signing certificate (clause 5.2.3).
func checkMessage(m *cms.Message, digest []byte, extra []*x509.Certificate, cades bool) (*x509.Certificate, error) {
	if err := m.CheckDetached(); err != nil {
		return nil, err
	}
	return checkSigned(m, digest, extra, cades)
}

// checkSigned is checkMessage for content that may stand in the message.
func checkSigned(m *cms.Message, digest []byte, extra []*x509.Certificate, cades bool) (*x509.Certificate, error) {
	cert, err := m.SignerCertificate(extra...)
	if err != nil {
		return nil, err
	}
	if err := m.CheckContentType(); err != nil {
		return cert, err
	}
	if err := m.CheckDigest(digest); err != nil {
		return cert, err
	}
	if cades || m.HasSigningCertificate() {
		if err := m.CheckSigningCertificate(cert); err != nil {
			return cert, err
		}
	}
	return cert, m.CheckSignature(cert)
}

// baseline reports whether a signature keeps the rules of PAdES-BASELINE-B that
// can be seen in the file (EN 319 142-1, clause 6.3).
func baseline(s *signature) bool {
	switch s.format {
	case CAdES:
		return cadesBaseline(s)
	case XAdES:
		return s.xml.baseline
	}
	return s.out.SubFilter == "ETSI.CAdES.detached" && s.message.HasSigningCertificate() &&
		s.message.SigningTime.IsZero() && !s.out.Claimed.IsZero() && len(s.message.Certificates) > 0
}

// earliest gives the earlier of two times, of which the first may be zero.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}
