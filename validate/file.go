package validate

import (
	"bytes"
	"encoding/pem"
	"errors"

	"milterd/signature/asic"
)

// File judges a file of any form that is known here, by its first bytes: an ASiC
// container (ZIP), a CAdES message (DER, or PEM as OpenSSL writes it), XML, else PDF.
func File(data []byte, o Options) (*Result, error) {
	if block, _ := pem.Decode(data); block != nil && bytes.HasPrefix(data, []byte("-----BEGIN")) && (block.Type == "CMS" || block.Type == "PKCS7") {
		data = block.Bytes
	}
	if len(data) > 0 && data[0] == 0x30 { // SEQUENCE
		return ValidateCAdES(data, o)
	}
	if o.Content != nil {
		return nil, errors.New("content was given beside a file that is no detached signature")
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

// IsXML reports whether data begins as XML does: with markup, perhaps after blanks
// and a byte order mark.
func IsXML(data []byte) bool {
	data = bytes.TrimLeft(bytes.TrimPrefix(data, []byte("\ufeff")), " \t\r\n")
	return len(data) > 0 && data[0] == '<'
}
