package demo

import (
	"bytes"
	"crypto/sha256"
	"encoding/asn1"
	"fmt"
	"slices"
	"testing"
)

// revision makes a prepared one: what was shown, and after it a dictionary
// with an empty place for the signature, which its ByteRange leaves out.
func revision(shown []byte) (whole []byte, gap, end int) {
	const place = "<00000000>"
	for n := 0; ; n++ { // until the numbers are as long as they say
		before := fmt.Sprintf("%s\n<</ByteRange [0 %d %d 3]/Contents ", shown, len(shown)+n, len(shown)+n+len(place))
		if len(before) == len(shown)+n {
			return []byte(before + place + ">>\n"), len(before), len(before) + len(place)
		}
	}
}

type attribute struct {
	Type   asn1.ObjectIdentifier
	Values []any `asn1:"set"`
}

func attributes(t *testing.T, kind asn1.ObjectIdentifier, digest, certificate []byte) []byte {
	t.Helper()
	own := sha256.Sum256(certificate)
	type cert struct{ Hash []byte }
	type signing struct{ Certs []cert }
	der, err := asn1.MarshalWithParams([]attribute{{oidContentType, []any{kind}}, {oidMessageDigest, []any{digest}},
		{oidSigningCertificate, []any{signing{[]cert{{own[:]}}}}}}, "set")
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// A device signs nothing but what it showed, and in its own name.
func TestDeviceChecksBeforeItSigns(t *testing.T) {
	shown, mine := []byte("%PDF-1.7 the contract"), []byte("my certificate")
	good, gap, end := revision(shown)
	sum := func(b []byte) []byte {
		d := sha256.Sum256(slices.Concat(b[:gap], b[end:]))
		return d[:]
	}
	replace := func(old, new string) []byte { return bytes.Replace(good, []byte(old), []byte(new), 1) }
	attrs := attributes(t, oidData, sum(good), mine)
	for name, c := range map[string]struct {
		whole, attributes, certificate []byte
		fits                           bool
	}{
		"what was shown":        {good, attrs, mine, true},
		"another certificate":   {good, attrs, []byte("yours"), false},
		"another digest":        {good, attributes(t, oidData, sum(replace("contract", "contrast")), mine), mine, false},
		"another content type":  {good, attributes(t, oidMessageDigest, sum(good), mine), mine, false},
		"no attributes":         {good, nil, mine, false},
		"bytes after":           {good, append(bytes.Clone(attrs), 0), mine, false},
		"another beginning":     {replace("contract", "contrast"), attributes(t, oidData, sum(replace("contract", "contrast")), mine), mine, false},
		"something in Contents": {replace("<0000", "<0a00"), attrs, mine, false},
		"a longer hole":         {append(bytes.Clone(good), "more"...), attrs, mine, false},
		"two ByteRanges":        {append(bytes.Clone(good), "/ByteRange [0 1 2 3]"...), attrs, mine, false},
		"no ByteRange":          {replace("/ByteRange", "/ByteRang "), attrs, mine, false},
		"nothing added":         {shown, attrs, mine, false},
	} {
		if err := check(c.whole, shown, c.attributes, c.certificate); (err == nil) != c.fits {
			t.Errorf("%s: %v", name, err)
		}
	}
}
