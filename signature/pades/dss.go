package pades

import (
	"crypto/sha256"
	"crypto/x509"
	"fmt"

	"milterd/signature/pdf/cos"
)

// DSSData is what a document security store keeps (ETSI EN 319 142-1, 5.4.2).
type DSSData struct {
	Certs []*x509.Certificate
	CRLs  [][]byte // DER
	OCSPs [][]byte // DER of OCSPResponse
}

// maxDSS bounds how many entries of one kind a store may have.
const maxDSS = 4096

// AddDSS adds to the document's security store, or makes one. What it holds
// already is not stored again; if that is everything, the suffix is nil. No VRI
// is written: validators find what they need by themselves.
func AddDSS(head []byte, data DSSData) ([]byte, error) {
	suffix, err := addDSS(head, data)
	if err != nil {
		return nil, fmt.Errorf("adding revocation data: %w", err)
	}
	return suffix, nil
}

func addDSS(head []byte, data DSSData) ([]byte, error) {
	f, err := cos.Open(head)
	if err != nil {
		return nil, err
	}
	catalog, err := f.Catalog()
	if err != nil {
		return nil, err
	}
	dss, err := f.Dict(catalog["DSS"])
	if err != nil {
		return nil, err
	}
	dss = dss.Clone()
	dss["Type"] = cos.Name("DSS")
	u := f.NewUpdate()
	certs := make([][]byte, len(data.Certs))
	for i, c := range data.Certs {
		certs[i] = c.Raw
	}
	changed := false
	for _, list := range []struct {
		key   cos.Name
		items [][]byte
	}{{"Certs", certs}, {"CRLs", data.CRLs}, {"OCSPs", data.OCSPs}} {
		more, err := merge(f, u, dss, list.key, list.items)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", list.key, err)
		}
		changed = changed || more
	}
	if !changed {
		return nil, nil
	}
	if ref, ok := catalog["DSS"].(cos.Ref); ok {
		u.Set(ref, dss)
	} else {
		catalog = catalog.Clone()
		catalog["DSS"] = u.Add(dss)
		u.Set(f.Root(), catalog)
	}
	return u.Bytes()
}

// merge appends to one list of the store what is not in it yet.
func merge(f *cos.File, u *cos.Update, dss cos.Dict, key cos.Name, items [][]byte) (bool, error) {
	old, err := f.Array(dss[key])
	if err != nil {
		return false, err
	}
	if len(old)+len(items) > maxDSS {
		return false, cos.ErrLimit
	}
	seen := map[[32]byte]bool{}
	for _, o := range old {
		st, err := f.Stream(o)
		if err != nil {
			return false, err
		}
		if st == nil {
			continue
		}
		b, err := f.Decode(st)
		if err != nil {
			return false, err
		}
		seen[sha256.Sum256(b)] = true
	}
	list := old[:len(old):len(old)]
	for _, item := range items {
		if sum := sha256.Sum256(item); !seen[sum] {
			seen[sum] = true
			list = append(list, u.Add(cos.Compressed(nil, item)))
		}
	}
	if len(list) == len(old) {
		return false, nil
	}
	dss[key] = list
	return true, nil
}
