package evidence

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"milterd/validate"
	"milterd/workflow"
)

// Options are what a check knows besides the file.
type Options struct {
	Anchors *x509.CertPool // the organisation's root, and those of its timestamp authorities; nil means none
	// Signers are authorities of signatories' certificates, of cards, providers and phones.
	// Whom they certify signs documents and seals no evidence: an anchor's people could.
	Signers []*x509.Certificate
	Now     time.Time // zero means the present
	PDFs    []PDF     // documents of the session
}

// PDF is a document that the evidence is held against.
type PDF struct {
	Name    string
	Content []byte
}

// Result is what Check found.
type Result struct {
	Indication validate.Indication `json:"indication"` // the worst of all steps
	Session    string              `json:"session,omitempty"`
	Steps      []Step              `json:"steps"`
}

// Step is one thing that was checked.
type Step struct {
	What       string              `json:"what"`
	Indication validate.Indication `json:"indication"`
	Found      string              `json:"found"` // or what is wrong
}

// Passed reports whether everything holds.
func (r *Result) Passed() bool { return r.Indication == validate.Passed }

// Check looks at everything that an evidence file says. It asks no network.
func Check(file []byte, o Options) *Result {
	if o.Now.IsZero() {
		o.Now = time.Now()
	}
	c := &checking{o: o, r: &Result{Indication: validate.Passed}}
	c.file(file)
	return c.r
}

// signers is the pool of all whose certificates may be signatories'.
func (o Options) signers() *x509.CertPool {
	pool := x509.NewCertPool()
	if o.Anchors != nil {
		pool = o.Anchors.Clone()
	}
	for _, c := range o.Signers {
		pool.AddCert(c)
	}
	return pool
}

// checking is the state of one Check.
type checking struct {
	o Options
	r *Result
	e *workflow.Evidence
}

// step notes an outcome and reports whether it is good.
func (c *checking) step(what, found string, err error) bool {
	s := Step{What: what, Indication: validate.Passed, Found: found}
	if err != nil {
		s.Indication, s.Found = validate.Failed, err.Error()
		if errors.Is(err, errUnknown) {
			s.Indication = validate.Indeterminate
		}
	}
	if c.r.Indication != validate.Failed && s.Indication != validate.Passed {
		c.r.Indication = s.Indication
	}
	c.r.Steps = append(c.r.Steps, s)
	return err == nil
}

func (c *checking) file(file []byte) {
	body, der, err := split(file)
	if !c.step("form of the file", fmt.Sprintf("%d bytes", len(file)), err) {
		return
	}
	s, err := checkSeal(body, der, c.o.Anchors, c.o.Now)
	found := ""
	if err == nil {
		found = fmt.Sprintf("%s, %s", s.by.Subject.CommonName, stamp(s.time))
	}
	c.step("seal over the file", found, err)
	c.content(body)
}

// content checks what the evidence itself says.
func (c *checking) content(body []byte) {
	var err error
	if c.e, err = read(body); !c.step("content", "", err) {
		return
	}
	c.r.Session = c.e.Session.ID
	c.r.Steps[len(c.r.Steps)-1].Found = fmt.Sprintf("session %s, level %s, %s", c.e.Session.ID, c.e.Session.Level, c.e.Session.State)
	last := ""
	if n := len(c.e.Events); n > 0 {
		last = c.e.Events[n-1].Hash.String()
	}
	err = workflow.CheckChain(c.e.Session.ID, c.e.Events)
	state := c.e.Session.State
	switch {
	case err != nil:
	case last == "":
		err = errors.New("it is empty")
	case state.Ended() && !slices.ContainsFunc(c.e.Events, func(e workflow.Event) bool { return string(e.Kind) == string(state) }):
		// Each end has an event of its name; a chain holds without its last links.
		err = fmt.Errorf("it does not tell how the session came to be %s: it was cut short", state)
	}
	c.step("audit trail", fmt.Sprintf("%d entries, the last hash is %s", len(c.e.Events), last)+c.refusedByPages(), err)
	for _, i := range c.e.Session.Signatories() {
		c.signatory(&c.e.Session.People[i])
	}
	c.documents()
}

// refusedByPages tells of revisions that a page would not let its device sign:
// nothing came of them, but whoever asks whether all was well wants to know.
func (c *checking) refusedByPages() string {
	var b strings.Builder
	for i := range c.e.Events {
		e := &c.e.Events[i]
		check, failed := strings.CutPrefix(e.Detail["reason"], workflow.CheckFailed)
		if e.Kind == workflow.EventAbandoned && failed {
			fmt.Fprintf(&b, "; entry %d, %s: the page of %s refused what was prepared for it: %s", e.Seq, stamp(e.Time), e.Actor,
				cmp.Or(workflow.CheckFailures[check], check))
		}
	}
	return b.String()
}

func read(body []byte) (*workflow.Evidence, error) {
	e := &workflow.Evidence{}
	d := json.NewDecoder(bytes.NewReader(body))
	if err := d.Decode(e); err != nil {
		return nil, fmt.Errorf("reading the evidence: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("reading the evidence: there is more than one value")
	}
	if e.Format != workflow.EvidenceFormat {
		return nil, fmt.Errorf("%w: the format %q", errUnknown, e.Format)
	}
	return e, whole(e)
}

// whole wants nothing left out that the checks stand on.
func whole(e *workflow.Evidence) error {
	switch {
	case e.Session == nil:
		return errors.New("reading the evidence: no session")
	case slices.Contains(e.Certificates, nil) || slices.Contains(e.Credentials, nil):
		return errors.New("reading the evidence: an empty certificate or credential")
	case slices.ContainsFunc(e.Session.Documents, func(d workflow.Document) bool { return len(d.Revisions) == 0 }):
		return errors.New("reading the evidence: a document without revisions")
	}
	return nil
}

// signatory checks one person's act.
func (c *checking) signatory(p *workflow.Participant) {
	switch {
	case p.State != workflow.Signed && p.State != workflow.Signing:
		c.step(p.Mail, "has not signed ("+string(p.State)+")", nil)
		return
	case p.Act == nil:
		c.step(p.Mail, "", errors.New("has signed, but how is not told"))
		return
	}
	c.step(p.Mail+": audit trail", "tells the same of this signature", c.told(p))
	c.proof(p)
	if c.e.Session.Level == workflow.Standard {
		return
	}
	c.own(p)
}

// told compares an act with what the audit trail says of it. The newest entry
// counts: who had to sign again has several.
func (c *checking) told(p *workflow.Participant) error {
	for i := len(c.e.Events) - 1; i >= 0; i-- {
		e := c.e.Events[i]
		if e.Kind != workflow.EventSigned || e.Actor != p.Mail {
			continue
		}
		if e.Detail["proof"] != p.Act.Proof.Method || e.Detail["challenge"] != p.Act.Proof.Challenge || e.Client != p.Act.Proof.Client {
			return fmt.Errorf("entry %d tells another proof", e.Seq)
		}
		if !e.Time.Equal(p.Act.At.UTC().Truncate(time.Microsecond)) {
			return fmt.Errorf("entry %d tells another time", e.Seq)
		}
		for _, s := range p.Act.Shown {
			if e.Detail["document "+strconv.Itoa(s.Document+1)+" shown sha-256"] != s.SHA256.String() {
				return fmt.Errorf("entry %d tells another digest of document %d", e.Seq, s.Document+1)
			}
		}
		for _, o := range p.Act.Own {
			if e.Detail["document "+strconv.Itoa(o.Document+1)+" attributes sha-256"] != digest(o.Attributes).String() || e.Detail["certificate"] != o.Certificate {
				return fmt.Errorf("entry %d tells another signature of document %d", e.Seq, o.Document+1)
			}
		}
		if q := p.Act.Accepted; q != nil && (e.Detail["signed with"] != q.By || e.Detail["vouched for"] != q.Vouched) {
			return fmt.Errorf("entry %d tells another reason why the certificate was taken", e.Seq)
		}
		return c.mailed(p.Act.Shown)
	}
	return errors.New("it has no entry of this signature")
}

// mailed wants each mailed document once among what was shown, as one of the
// revisions that the session had.
func (c *checking) mailed(shown []workflow.Shown) error {
	s, seen := c.e.Session, map[int]bool{}
	for _, sh := range shown {
		if sh.Document < 0 || sh.Document >= len(s.Documents) || seen[sh.Document] || s.Documents[sh.Document].Kind != workflow.Mailed ||
			sh.Revision < 0 || sh.Revision >= len(s.Documents[sh.Document].Revisions) ||
			s.Documents[sh.Document].Revisions[sh.Revision].SHA256 != sh.SHA256 {
			return fmt.Errorf("document %d was shown as something that the session does not have", sh.Document+1)
		}
		seen[sh.Document] = true
	}
	if len(seen) != len(s.Mailed()) {
		return errors.New("not every document was shown")
	}
	return nil
}

// digests is what a passkey must have approved: Advanced the signed attributes,
// else the documents as they were shown, in the documents' order, whatever
// order the page had.
func digests(level workflow.Level, a *workflow.Act) []workflow.Digest {
	var out []workflow.Digest
	if level == workflow.Advanced {
		for _, o := range a.Own {
			out = append(out, digest(o.Attributes))
		}
		return out
	}
	shown := slices.SortedFunc(slices.Values(a.Shown), func(a, b workflow.Shown) int { return a.Document - b.Document })
	for _, s := range shown {
		out = append(out, s.SHA256)
	}
	return out
}

func digest(b []byte) workflow.Digest { return sha256.Sum256(b) }

// WriteTo writes the result for people, in English.
func (r *Result) WriteTo(w io.Writer) (int64, error) {
	n, err := io.WriteString(w, r.Text())
	return int64(n), err
}

// Text is what WriteTo writes.
func (r *Result) Text() string {
	var b strings.Builder
	good := 0
	for _, s := range r.Steps {
		word := "holds"
		switch s.Indication {
		case validate.Passed:
			good++
		case validate.Failed:
			word = "FAILED"
		default:
			word = "unknown"
		}
		fmt.Fprintf(&b, "%-8s %s\n", word, plain(s.What))
		if s.Found != "" {
			fmt.Fprintf(&b, "         %s\n", plain(s.Found))
		}
	}
	verdict := "Everything that the file says holds."
	switch r.Indication {
	case validate.Failed:
		verdict = "The file does NOT prove what it says."
	case validate.Indeterminate:
		verdict = "It cannot be decided here whether it all holds."
	}
	fmt.Fprintf(&b, "\n%d of %d checks hold. %s\n", good, len(r.Steps), verdict)
	return b.String()
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 MST") }

// plain keeps a stranger's text from playing with the terminal.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return '\uFFFD'
		}
		return r
	}, s)
}
