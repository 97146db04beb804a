package trustlist

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"milterd/signature/xades/dom"
)

const maxPivots = 16

// pivots goes from the configured certificates to those that sign the list of the
// lists now (TS 119 615, clause 4.1). A pivot is a list of the lists of the time
// when its signers changed: signed with a certificate of before, and naming those
// of after. They are applied by their number, each once; one that nobody
// signed who may, or that is older than the last, is passed over. It gives the signers, and which
// of the pivots led there.
func (l *Lists) pivots(all [][]byte) (signers []*x509.Certificate, used []int) {
	signers = l.c.Signers
	last, now := int64(0), l.c.Now()
	for range all {
		next, from := (*list)(nil), 0
		for i, raw := range all {
			if slices.Contains(used, i) {
				continue
			}
			root, err := verify(raw, lotlTerritory, signers)
			if err != nil {
				continue
			}
			p, err := l.readVerified(root, raw, lotlTerritory)
			if err != nil || p.sequence <= last || p.issued.After(now) || len(p.own()) == 0 {
				continue
			}
			if next == nil || p.sequence < next.sequence {
				next, from = p, i
			}
		}
		if next == nil {
			break
		}
		signers, used, last = next.own(), append(used, from), next.sequence
	}
	return signers, used
}

// own are the certificates that a list of the lists names for itself.
func (l *list) own() (out []*x509.Certificate) {
	for _, p := range l.pointers {
		if p.territory == lotlTerritory && p.kind == typeLOTL && p.mime == mimeList {
			out = append(out, p.signers...)
		}
	}
	return out
}

// pivots are those in the folder: pivot-*.xml.
func (f *folder) pivots() (out [][]byte, err error) {
	files, err := os.ReadDir(f.path)
	if err != nil {
		return nil, err
	}
	for _, e := range files {
		if len(out) == maxPivots || !strings.HasPrefix(e.Name(), "pivot-") || !strings.HasSuffix(e.Name(), ".xml") {
			continue
		}
		raw, err := readFile(filepath.Join(f.path, e.Name()), maxList)
		if err != nil {
			return nil, err
		}
		out = append(out, raw)
	}
	return out, nil
}

// fetchPivots downloads the pivots that a list of the lists names, of which nothing is
// trusted: only https addresses on the host that was configured are asked. Those that
// lead on from the configured certificates go into the folder. It gives the signers,
// and joins what kept others from being fetched.
func (l *Lists) fetchPivots(ctx context.Context, f *folder, lotl []byte) ([]*x509.Certificate, error) {
	all, err := f.pivots()
	if err != nil {
		return nil, err
	}
	had, problems := len(all), []error(nil)
	for _, address := range pivotAddresses(lotl, l.c.LOTL) {
		if len(all) >= maxPivots {
			break
		}
		raw, _, err := l.fetch(ctx, pointer{location: address}, mark{})
		if err != nil { // it may be one of before the configured certificates
			problems = append(problems, &Error{ListUnreachable, lotlTerritory, err})
			continue
		}
		if !slices.ContainsFunc(all, func(have []byte) bool { return string(have) == string(raw) }) {
			all = append(all, raw)
		}
	}
	signers, used := l.pivots(all)
	for _, i := range used {
		if i < had {
			continue
		}
		sum := sha256.Sum256(all[i])
		if err := replace(filepath.Join(f.path, "pivot-"+hex.EncodeToString(sum[:8])+".xml"), all[i]); err != nil {
			return nil, err
		}
	}
	return signers, errors.Join(problems...)
}

// pivotAddresses are the lists among the SchemeInformationURIs (TS 119 612, clause 5.3.7).
func pivotAddresses(lotl []byte, beside string) (out []string) {
	at, err := url.Parse(beside)
	if err != nil {
		return nil
	}
	tree, err := dom.Parse(lotl)
	if err != nil {
		return nil
	}
	for _, info := range tree.Root.Find(tslSpace, "SchemeInformation") {
		for _, uris := range info.Find(tslSpace, "SchemeInformationURI") {
			for _, n := range uris.Find(tslSpace, "URI") {
				u, err := url.Parse(text(n))
				if err == nil && u.Scheme == "https" && u.Host == at.Host && strings.HasSuffix(u.Path, ".xml") && len(out) < maxPivots && !slices.Contains(out, u.String()) {
					out = append(out, u.String())
				}
			}
		}
	}
	return out
}
