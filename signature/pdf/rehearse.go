package pdf

import (
	"context"
	"fmt"
	"slices"
	"time"

	"milterd/signature/pdf/cos"
	"milterd/workflow"
)

// rehearsal is a session for it.
const rehearsal = "aaaaaaaaaaaaaaaa"

// rehearse does to a document what signing will do: pages, a signature in each
// kind of field, a DSS. What fails here would fail after Postfix heard 250, when
// the sender is no longer on the line (design.md, decision 3).
func rehearse(data []byte) error {
	suffix, err := Layout(context.Background(), data, Plan{Organisation: "milterd", Session: rehearsal, Document: "rehearsal", Level: workflow.Standard,
		Created: time.Unix(0, 0), SHA256: [32]byte{1}, Signatories: []Signatory{{Name: "nobody", Mail: "nobody@example.org"}}})
	if err != nil {
		return err
	}
	var look *Look
	if suffix == nil { // signed by others: the last page is read for a free place
		look = SealLook("milterd", "", time.Unix(0, 0))
	}
	now := append(make([]byte, 0, len(data)+len(suffix)+64<<10), data...)
	now = append(now, suffix...)
	for _, field := range []string{FieldName(rehearsal, 0), SealName(rehearsal), TimeName(rehearsal)} {
		p, err := Place(now, Signing{Field: field, Entries: cos.Dict{"Type": cos.Name("Sig")}, Reserve: 1, Look: look, Row: 2, Paraphs: ParaphName(rehearsal, 0)})
		if err != nil {
			return err
		}
		now = append(now, p.Suffix...)
	}
	last, err := cos.Open(now)
	if err != nil {
		return err
	}
	signed, err := Signatures(last)
	if err != nil {
		return err
	}
	if len(signed) < 3 {
		return fmt.Errorf("signatures that were added are not found again: %w", cos.ErrBroken)
	}
	return nil
}

// checkAnchors looks at what signing hangs its increments on: the form, the DSS
// (EN 319 142-1, 5.4.2) and the permissions (ISO 32000-2, 12.8.6).
func checkAnchors(f *cos.File, cat cos.Dict) error {
	if form, ok := cat["AcroForm"].(cos.Ref); ok && form == f.Root() {
		return fmt.Errorf("the form is the catalog: %w", cos.ErrBroken)
	}
	if _, err := f.Plain(cat["AcroForm"]); err != nil {
		return fmt.Errorf("form: %w", err)
	}
	dss, err := f.Dict(cat["DSS"])
	if err != nil {
		return err
	}
	for _, key := range []cos.Name{"Certs", "CRLs", "OCSPs"} {
		list, err := f.Array(dss[key])
		if err != nil {
			return err
		}
		for _, ref := range list {
			if _, err := f.Stream(ref); err != nil {
				return err
			}
		}
	}
	if _, err := f.Dict(dss["VRI"]); err != nil {
		return err
	}
	perms, err := f.Dict(cat["Perms"])
	if err != nil || perms["DocMDP"] == nil {
		return err
	}
	signed, err := Signatures(f)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(signed, func(s *Signature) bool { return s.DocMDP > 0 }) {
		return fmt.Errorf("permissions without the signature that grants them: %w", cos.ErrBroken)
	}
	return nil
}

// whole reports whether a signature has the shape of one: its ByteRange leaves
// out exactly the hexadecimal string of Contents, and that holds a DER value.
// Whether it is valid is not said here. Without this, any dictionary would pass
// for a signature and keep our pages out of the document.
func (s *Signature) whole(data []byte) bool {
	r := s.ByteRange
	if len(r) != 4 || r[0] != 0 || r[1] <= 0 || r[2] <= r[1]+2 || r[3] < 0 || r[2] > int64(len(data)) || r[3] > int64(len(data))-r[2] {
		return false
	}
	if data[r[1]] != '<' || data[r[2]-1] != '>' {
		return false
	}
	// SEQUENCE for CMS, OCTET STRING for adbe.x509.rsa_sha1.
	return len(s.Contents) > 64 && (s.Contents[0] == 0x30 || s.Contents[0] == 0x04)
}
