package validate_test

import (
	"bytes"
	"encoding/asn1"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"milterd/signature/cms"
	"milterd/signature/cms/cmstest"
	"milterd/signature/pdf"
	"milterd/signature/pdf/cos"
	"milterd/validate"
)

// A changed bit anywhere in an archived file is noticed. Only two things are not
// signed by anything and can change without a sign: copies of certificates that
// the newest timestamp token carries and the DSS holds, too; and whether a
// hexadecimal digit is written as a small or a large letter.
func TestEveryByteOfAnArchive(t *testing.T) {
	f := newFixture(t)
	whole := f.archive(cmstest.Document(2000))
	c, err := cos.Open(whole)
	if err != nil {
		t.Fatal(err)
	}
	sigs, err := pdf.Signatures(c)
	if err != nil {
		t.Fatal(err)
	}
	newest := sigs[0]
	for _, s := range sigs {
		if s.ByteRange[2]+s.ByteRange[3] > newest.ByteRange[2]+newest.ByteRange[3] {
			newest = s
		}
	}
	from, to := int(newest.ByteRange[1])+1, int(newest.ByteRange[2])-1 // the digits
	if newest.SubFilter != "ETSI.RFC3161" || int(newest.ByteRange[2]+newest.ByteRange[3]) != len(whole) {
		t.Fatal("the file does not end in a document timestamp")
	}
	var der asn1.RawValue
	if _, err := asn1.Unmarshal(newest.Contents, &der); err != nil {
		t.Fatal(err)
	}
	copies := tokenCopies(t, der.FullBytes, inStore(t, c))
	inCopy := func(at int) bool {
		i := (at - from) / 2
		for _, r := range copies {
			if at >= from && at < to && i >= r[0] && i < r[1] {
				return true
			}
		}
		return false
	}
	options := f.options()
	notices := func(data []byte) bool {
		r, err := validate.Validate(data, options)
		return err != nil || len(r.Signatures) != len(sigs) || !r.Passed()
	}
	if notices(whole) {
		t.Fatal("the whole file does not pass")
	}

	// Every byte of the token but of its copies; of these, of the zeros and of the
	// rest, which is hashed, some in even steps.
	end := from + 2*len(der.FullBytes)
	var at []int
	for i := range whole {
		switch {
		case i >= from-2 && i < end && !inCopy(i), i >= from && i < end && i%23 == 0, i >= end && i < to+2 && i%101 == 0, i%89 == 0:
			at = append(at, i)
		}
	}
	var tried, spared, inCopies atomic.Int64
	var wg sync.WaitGroup
	for w := range 2 {
		wg.Go(func() {
			b := bytes.Clone(whole)
			for n := w; n < len(at); n += 2 {
				i := at[n]
				bit := byte(1) << (i % 8)
				if testing.Short() && n%16 > 1 {
					continue
				}
				b[i] ^= bit
				tried.Add(1)
				if !notices(b) {
					switch {
					case inCopy(i):
						inCopies.Add(1)
					case i >= from && i < to && bytes.EqualFold(b[i:i+1], whole[i:i+1]):
						spared.Add(1)
					default:
						t.Errorf("bit %d of byte %d of %d, digit %d of the token, went unnoticed: %q for %q in %s", i%8, i, len(whole), i-from, b[i], whole[i], whole[max(0, i-24):min(len(whole), i+24)])
					}
				}
				b[i] ^= bit
			}
		})
	}
	wg.Wait()
	t.Logf("%d of %d bytes tried; unnoticed: %d in copies of certificates, %d times a digit's other letter", tried.Load(), len(whole), inCopies.Load(), spared.Load())
	if tried.Load() < 100 {
		t.Errorf("only %d bytes were tried", tried.Load())
	}
}

// inStore are the certificates of the DSS.
func inStore(t *testing.T, c *cos.File) (out [][]byte) {
	t.Helper()
	catalog, err := c.Catalog()
	if err != nil {
		t.Fatal(err)
	}
	dss, err := c.Dict(catalog["DSS"])
	if err != nil {
		t.Fatal(err)
	}
	certs, err := c.Array(dss["Certs"])
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range certs {
		st, err := c.Stream(o)
		if err != nil {
			t.Fatal(err)
		}
		der, err := c.Decode(st)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, der)
	}
	return out
}

// tokenCopies are the places of those certificates in a token that are in the
// store, too.
func tokenCopies(t *testing.T, der []byte, stored [][]byte) (out [][2]int) {
	t.Helper()
	token, err := cms.ParseToken(der)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range token.Certificates {
		i := bytes.Index(der, c.Raw)
		if i < 0 {
			t.Fatal("a certificate is not where it was read")
		}
		if slices.ContainsFunc(stored, func(s []byte) bool { return bytes.Equal(s, c.Raw) }) {
			out = append(out, [2]int{i, i + len(c.Raw)})
		}
	}
	if len(out) == 0 {
		t.Fatal("the token has no copies: nothing is tried here")
	}
	return out
}
