package validate

import (
	"bytes"
	"encoding/pem"
	"errors"
	"slices"

	"milterd/signature/asic"
	"milterd/signature/cms"
	"milterd/signature/xades"
)

// File judges a file of any form that is known here, by its first bytes: an ASiC
// container (ZIP), a CAdES message (DER, or PEM as OpenSSL writes it), XML, else PDF.
// o.Files are only for a detached signature; the error says so.
func File(data []byte, o Options) (*Result, error) {
	if der := message(data); der != nil {
		return ValidateCAdES(der, o)
	}
	if IsXML(data) {
		return ValidateXAdES(data, o)
	}
	if len(o.Files) > 0 {
		return nil, errors.New("files were given beside one that is no detached signature")
	}
	if asic.IsZIP(data) {
		return ValidateASiC(data, o)
	}
	return Validate(data, o)
}

// message is the DER of what may be a CAdES message, nil for anything else.
func message(data []byte) []byte {
	if block, _ := pem.Decode(data); block != nil && bytes.HasPrefix(data, []byte("-----BEGIN")) && (block.Type == "CMS" || block.Type == "PKCS7") {
		data = block.Bytes
	}
	if len(data) > 0 && data[0] == 0x30 { // SEQUENCE
		return data
	}
	return nil
}

// MayBeDetached reports whether a file looks like one whose signatures could sign
// other files.
func MayBeDetached(data []byte) bool { return IsXML(data) || message(data) != nil }

// Beside chooses, from files that came with data, those that its detached
// signatures are for: with CAdES the only one, or of several the one with the digest
// that was signed; with XAdES those with the names that it says. None where data
// is no detached signature, or cannot be read.
func Beside(data []byte, files []xades.File) (out []xades.File) {
	if IsXML(data) {
		names := xades.Names(data)
		for _, f := range files {
			if slices.Contains(names, f.Name) {
				out = append(out, f)
			}
		}
		return out
	}
	all, err := cms.ParseBER(message(data))
	if err != nil || all[0].Content != nil {
		return nil
	}
	if len(files) == 1 {
		return files
	}
	for _, f := range files {
		digest := digester(f.Content)
		if slices.ContainsFunc(all, func(m *cms.Message) bool { return m.CheckDigest(digest(m.Hash())) == nil }) {
			return []xades.File{f}
		}
	}
	return nil
}

// IsXML reports whether data begins as XML does: with markup, perhaps after blanks
// and a byte order mark.
func IsXML(data []byte) bool {
	data = bytes.TrimLeft(bytes.TrimPrefix(data, []byte("\ufeff")), " \t\r\n")
	return len(data) > 0 && data[0] == '<'
}
