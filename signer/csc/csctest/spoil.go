package csctest

import (
	"encoding/asn1"

	"milterd/signature/cms"
)

// spoil makes of a sound CMS one that holds more than it should.
func spoil(der []byte, b Behaviour) ([]byte, error) {
	switch b {
	case OwnTime:
		m, err := cms.Parse(der)
		if err != nil {
			return nil, err
		}
		return m.WithTimestamp([]byte{0x30, 0})
	case TwoSigners, Attached:
	default:
		return der, nil
	}
	var info struct {
		Type    asn1.ObjectIdentifier
		Content asn1.RawValue
	}
	var data struct {
		Version                        int
		Digests, Encap, Certs, Signers asn1.RawValue
	}
	if _, err := asn1.Unmarshal(der, &info); err != nil {
		return nil, err
	}
	if _, err := asn1.Unmarshal(info.Content.Bytes, &data); err != nil {
		return nil, err
	}
	if b == TwoSigners {
		data.Signers.FullBytes, data.Signers.Bytes = nil, append(data.Signers.Bytes, data.Signers.Bytes...)
	} else {
		content, err := asn1.Marshal([]byte("something else"))
		if err != nil {
			return nil, err
		}
		inside, err := asn1.Marshal(asn1.RawValue{Class: asn1.ClassContextSpecific, IsCompound: true, Bytes: content})
		if err != nil {
			return nil, err
		}
		data.Encap.FullBytes, data.Encap.Bytes = nil, append(data.Encap.Bytes, inside...)
	}
	out, err := asn1.Marshal(data)
	if err != nil {
		return nil, err
	}
	info.Content.FullBytes, info.Content.Bytes = nil, out
	return asn1.Marshal(info)
}
