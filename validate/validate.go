package validate

import (
	"crypto/x509"
	"fmt"
	"sort"
	"time"

	"milterd/signature/pdf/cos"
	"milterd/signature/xades"
)

// Options say whom to trust and what is known besides the file.
type Options struct {
	Anchors *x509.CertPool      // trusted roots, of signers and of timestamp authorities; nil means none
	Now     time.Time           // zero means the present
	Certs   []*x509.Certificate // that may complete chains
	CRLs    [][]byte            // DER; fresher than the file's own, perhaps
	OCSPs   [][]byte            // DER
	Files   []xades.File        // what a detached signature signs; with CAdES at most one, whose name does not count
}

// maxSignatures bounds the work that one file can ask for.
const maxSignatures = 200

// Validate judges every signature and document timestamp of a PDF file. The
// error is for files that cannot be read at all (wrapping the errors of package
// cos); what is wrong with a signature is in the Result.
func Validate(data []byte, o Options) (*Result, error) {
	if o.Now.IsZero() {
		o.Now = time.Now()
	}
	final, err := cos.Open(data)
	if err != nil {
		return nil, fmt.Errorf("reading the file: %w", err)
	}
	v := &validation{o: o, data: data, final: final, sections: map[int]bool{}, inFile: map[*cos.File]*evidence{}}
	at, err := final.Sections()
	if err != nil {
		return nil, fmt.Errorf("reading the file: %w", err)
	}
	for _, s := range at {
		v.sections[s] = true
	}
	if err := v.findSignatures(); err != nil {
		return nil, fmt.Errorf("reading the signatures: %w", err)
	}
	v.run()
	return v.result(), nil
}

// validation is the state of one Validate.
type validation struct {
	o        Options
	data     []byte
	final    *cos.File
	sections map[int]bool // offsets of all cross-reference sections
	sigs     []*signature // by revision
	inFile   map[*cos.File]*evidence
	ix       *index
}

// run judges from the outermost timestamp inwards, since an outer one proves
// the time of what it covers (EN 319 102-1, clause 5.6).
func (v *validation) run() {
	sort.SliceStable(v.sigs, func(i, j int) bool { return v.sigs[i].end < v.sigs[j].end })
	known := v.evidence(v.final)
	for i := len(v.sigs) - 1; i >= 0; i-- {
		s := v.sigs[i]
		err := s.problem
		if err == nil {
			err = v.judge(s, known)
		}
		s.valid = err == nil // for its revision, whatever came later
		if s.end > 0 {
			s.out.Changes = v.changes(s)
			for _, c := range s.out.Changes {
				if err == nil && !c.Allowed {
					err = undecided(SigConstraintsFailure, "changed afterwards: %s", c.What)
				}
			}
		}
		s.out.Indication, s.out.Sub = outcome(err)
		if err != nil {
			s.out.Problem = err.Error()
		}
		s.out.Whole = s.end == len(v.data)
	}
}

func (v *validation) result() *Result {
	r := &Result{Format: PDF, Indication: Passed, Time: v.o.Now.UTC(), Size: len(v.data), Signatures: []Signature{}}
	for _, s := range v.sigs {
		r.Signatures = append(r.Signatures, s.out)
		if worse(s.out.Indication, r.Indication) {
			r.Indication, r.Sub = s.out.Indication, s.out.Sub
		}
	}
	if len(v.sigs) == 0 {
		r.Indication = Indeterminate
		return r
	}
	if last := v.sigs[len(v.sigs)-1]; !last.out.Whole {
		r.Later = last.out.Changes
	}
	return r
}

func worse(a, b Indication) bool {
	rank := map[Indication]int{Passed: 0, Indeterminate: 1, Failed: 2}
	return rank[a] > rank[b]
}
