package evidence

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"milterd/pki"
	"milterd/signature/pades"
	"milterd/validate"
	"milterd/workflow"
)

func TestEverythingHolds(t *testing.T) {
	s := finished(t)
	for name, id := range map[string]string{"advanced": s.advanced, "another": s.another, "standard": s.standard} {
		file := s.h.file(id)
		r := Check(file, s.options(s.h.pdfs(id)...))
		if !r.Passed() || r.Session != id {
			t.Errorf("%s:\n%s", name, r.Text())
		}
		if r := Check(file, s.options()); !r.Passed() { // from the file alone
			t.Errorf("%s, the file alone:\n%s", name, r.Text())
		}
		if !json.Valid(file) {
			t.Errorf("%s: not JSON", name)
		}
		if name == "advanced" {
			t.Log(r.Text())
			if want := "the page of john.doe@corp.test refused what was prepared for it: " + workflow.CheckFailures["byte-range"]; !strings.Contains(r.Text(), want) {
				t.Errorf("it does not tell that %s", want)
			}
		}
		// Years later the passkeys and keys say the same.
		o := s.options()
		o.Now = time.Now().AddDate(30, 0, 0)
		if r := Check(file, o); !r.Passed() {
			t.Errorf("%s, 30 years later:\n%s", name, r.Text())
		}
	}
	// And when the documents are deleted; those that people kept still fit.
	kept := s.h.pdfs(s.standard)
	s.h.must(s.h.desk.Run(t.Context(), workflow.Job{Kind: workflow.JobRetain, Session: s.standard}))
	if r := Check(s.h.file(s.standard), s.options(kept...)); !r.Passed() {
		t.Errorf("after retention:\n%s", r.Text())
	}
}

// Every flipped bit of the file is noticed.
func TestEveryByteCounts(t *testing.T) {
	s := finished(t)
	for i := range s.file {
		bad := bytes.Clone(s.file)
		bad[i] ^= 1 << (i % 8)
		if body, der, err := split(bad); err == nil {
			t.Fatalf("byte %d of %d: %d and %d bytes", i, len(s.file), len(body), len(der))
		}
	}
	for _, n := range []int{0, 1, 20, len(s.file) / 2, len(s.file) - 1} {
		if r := Check(s.file[:n], s.options()); r.Indication != validate.Failed {
			t.Errorf("cut after %d bytes: %s", n, r.Text())
		}
	}
	if r := Check(append(bytes.Clone(s.file), '\n'), s.options()); r.Passed() {
		t.Error("a line more is not noticed")
	}
}

// Who changes a word and makes the checksum anew still lacks the seal.
func TestEveryFieldIsSealed(t *testing.T) {
	s := finished(t)
	body, der, err := split(s.file)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for i := 0; i < len(body); i += 7 {
		bad := bytes.Clone(body)
		bad[i] ^= 1
		_, err := checkSeal(bad, der, s.h.authority.Roots(), time.Now())
		if err == nil {
			t.Fatalf("byte %d of the evidence", i)
		}
		n++
	}
	t.Logf("%d changes", n)
	if r := Check(assemble(bytes.Replace(body, []byte("administrator"), []byte("john.doe@corp"), 1), der), s.options()); r.Indication != validate.Failed {
		t.Errorf("another word: %s", r.Text())
	}
	// With the seal of another organisation nothing can be decided here.
	dir := t.TempDir() + "/keys"
	if err := pki.Init(dir, pki.Options{Organisation: "Corp S.A.", Country: "LU", URL: origin, Key: pki.P256}); err != nil {
		t.Fatal(err)
	}
	other, err := pki.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	forged, err := Write(t.Context(), clone(t, s.file), other.Seal(), other.OwnClock(pki.ClockPolicy{AllowUnsynchronised: true}))
	if err != nil {
		t.Fatal(err)
	}
	if r := Check(forged, s.options()); r.Indication != validate.Indeterminate {
		t.Errorf("another organisation's seal:\n%s", r.Text())
	}
	// The timestamp of another seal, and the seal of another file.
	_, stranger, err := split(s.h.file(s.another))
	if err != nil {
		t.Fatal(err)
	}
	if r := Check(assemble(body, stranger), s.options()); r.Indication != validate.Failed {
		t.Errorf("the seal of another file:\n%s", r.Text())
	}
}

// What passkeys and devices made cannot be changed by the organisation either:
// each field is flipped, and the whole sealed again by the organisation itself.
func TestOrganisationCannotForge(t *testing.T) {
	s := finished(t)
	n := 0
	for _, path := range fields(reflect.ValueOf(clone(t, s.file)).Elem(), "") {
		if !theirs(path) {
			continue
		}
		e := clone(t, s.file)
		flip(t, find(t, reflect.ValueOf(e).Elem(), path))
		if r := s.judge(t, e); r.Indication != validate.Failed {
			t.Errorf("%s was changed, and nobody noticed:\n%s", path, r.Text())
		}
		n++
	}
	if n < 60 {
		t.Errorf("only %d fields were tried", n)
	}
}

// judge checks changed evidence without seal, as if the organisation had sealed
// it anew: what a seal costs is time only.
func (s *sessions) judge(t *testing.T, e *workflow.Evidence) *Result {
	t.Helper()
	body, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	c := &checking{o: s.options(), r: &Result{Indication: validate.Passed}}
	c.o.Now = time.Now()
	c.content(body)
	return c.r
}

// theirs are the fields that something of the signatories' own vouches for.
func theirs(path string) bool {
	for _, p := range []string{
		"Session.People.*.Act.Proof.Assertion.*", "Session.People.*.Act.Own.*", "Session.ID",
		"Certificates.*.Serial", "Certificates.*.Name", "Certificates.*.Mail", "Certificates.*.Key", "Certificates.*.PublicKey", "Certificates.*.DER",
		"Certificates.*.NotBefore", "Certificates.*.NotAfter",
		"Credentials.*.ID", "Credentials.*.Mail", "Events.*", "Session.People.*.Mail",
	} {
		if match(p, path) {
			return true
		}
	}
	return false
}

func match(pattern, path string) bool {
	a, b := strings.Split(pattern, "."), strings.Split(path, ".")
	for i, x := range a {
		if i == len(a)-1 && x == "*" {
			return len(b) > i
		}
		if i >= len(b) || x != "*" && x != b[i] {
			return false
		}
	}
	return len(a) == len(b)
}

// fields lists the places of all plain values, such as Events.3.Actor.
func fields(v reflect.Value, at string) (out []string) {
	switch {
	case v.Kind() == reflect.Pointer && v.IsNil():
	case v.Kind() == reflect.Pointer:
		return fields(v.Elem(), at)
	case v.Type() == reflect.TypeFor[time.Time](), v.Type() == reflect.TypeFor[workflow.Digest](), v.Type() == reflect.TypeFor[[]byte]():
		return []string{strings.TrimPrefix(at, ".")}
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			out = append(out, fields(v.Field(i), at+"."+v.Type().Field(i).Name)...)
		}
	case v.Kind() == reflect.Slice:
		for i := range v.Len() {
			out = append(out, fields(v.Index(i), fmt.Sprintf("%s.%d", at, i))...)
		}
	case v.Kind() == reflect.Map:
		for _, k := range v.MapKeys() {
			out = append(out, strings.TrimPrefix(at+".["+k.String()+"]", "."))
		}
	case !v.IsZero():
		return []string{strings.TrimPrefix(at, ".")}
	}
	return out
}

// place is a value that can be changed: a field, or an entry of a map.
type place struct {
	v   reflect.Value
	key string
}

func find(t *testing.T, v reflect.Value, path string) place {
	t.Helper()
	for i, step := range strings.Split(path, ".") {
		for v.Kind() == reflect.Pointer {
			v = v.Elem()
		}
		if strings.HasPrefix(step, "[") {
			return place{v, strings.Trim(strings.Join(strings.Split(path, ".")[i:], "."), "[]")}
		}
		if v.Kind() == reflect.Slice {
			var n int
			fmt.Sscan(step, &n)
			v = v.Index(n)
			continue
		}
		v = v.FieldByName(step)
	}
	return place{v: v}
}

// flip changes a value a little.
func flip(t *testing.T, p place) {
	t.Helper()
	switch x := p.v.Interface().(type) {
	case map[string]string:
		x[p.key] += "x"
	case time.Time:
		p.v.Set(reflect.ValueOf(x.Add(time.Second)))
	case workflow.Digest:
		x[7] ^= 4
		p.v.Set(reflect.ValueOf(x))
	case []byte:
		b := bytes.Clone(x)
		if len(b) == 0 {
			b = []byte{0}
		}
		b[len(b)/2] ^= 2
		p.v.Set(reflect.ValueOf(b))
	default:
		switch p.v.Kind() {
		case reflect.String:
			p.v.SetString(p.v.String() + "x")
		case reflect.Int:
			p.v.SetInt(p.v.Int() + 1)
		case reflect.Bool:
			p.v.SetBool(!p.v.Bool())
		default:
			t.Fatalf("%s cannot be changed", p.v.Type())
		}
	}
}

// Evidence of one session does not serve for another, nor one person's for another's.
func TestSwappedEvidence(t *testing.T) {
	s := finished(t)
	other := clone(t, s.h.file(s.another))
	act := func(e *workflow.Evidence, i int) *workflow.Act { return e.Session.People[i].Act }
	for name, change := range map[string]func(e *workflow.Evidence){
		"an act of another session":            func(e *workflow.Evidence) { *act(e, 0) = *act(other, 0) },
		"an assertion of another session":      func(e *workflow.Evidence) { act(e, 0).Proof.Assertion = act(other, 0).Proof.Assertion },
		"another person's assertion":           func(e *workflow.Evidence) { act(e, 0).Proof.Assertion = act(e, 1).Proof.Assertion },
		"another person's act":                 func(e *workflow.Evidence) { *act(e, 0) = *act(e, 1) },
		"a value of another session":           func(e *workflow.Evidence) { act(e, 0).Own[0].Value = act(other, 0).Own[0].Value },
		"values of two documents swapped":      func(e *workflow.Evidence) { o := act(e, 0).Own; o[0].Value, o[1].Value = o[1].Value, o[0].Value },
		"documents swapped":                    func(e *workflow.Evidence) { o := act(e, 0).Own; o[0], o[1] = o[1], o[0] },
		"one document only":                    func(e *workflow.Evidence) { act(e, 0).Own = act(e, 0).Own[:1] },
		"one document twice":                   func(e *workflow.Evidence) { o := act(e, 0).Own; o[1] = o[0] },
		"no own signature":                     func(e *workflow.Evidence) { act(e, 0).Own = nil },
		"another person's certificate":         func(e *workflow.Evidence) { act(e, 0).Own[0].Certificate = act(e, 1).Own[0].Certificate },
		"no act":                               func(e *workflow.Evidence) { e.Session.People[0].Act = nil },
		"no assertion":                         func(e *workflow.Evidence) { act(e, 0).Proof.Assertion = nil },
		"no certificates":                      func(e *workflow.Evidence) { e.Certificates = nil },
		"no credentials":                       func(e *workflow.Evidence) { e.Credentials = nil },
		"no trail":                             func(e *workflow.Evidence) { e.Events = nil },
		"a trail without its middle":           func(e *workflow.Evidence) { e.Events = slices.Delete(e.Events, 3, 4) },
		"a trail without its end":              func(e *workflow.Evidence) { e.Events = e.Events[:len(e.Events)-1] },
		"the trail of another session":         func(e *workflow.Evidence) { e.Events = other.Events },
		"a label of another purpose":           func(e *workflow.Evidence) { act(e, 0).Proof.Assertion.Label = "open" },
		"a weaker proof":                       func(e *workflow.Evidence) { act(e, 0).Proof.Method, act(e, 0).Proof.Assertion = "mailed code", nil },
		"a weaker level":                       func(e *workflow.Evidence) { e.Session.Level = workflow.Standard },
		"a certificate revoked before":         func(e *workflow.Evidence) { e.Certificates[0].Revoked = act(e, 0).At.Add(-time.Second) },
		"a device revoked before":              func(e *workflow.Evidence) { e.Credentials[0].Revoked = act(e, 0).At.Add(-time.Second) },
		"a device enrolled after":              func(e *workflow.Evidence) { e.Credentials[0].Enrolled = act(e, 0).At.Add(time.Second) },
		"signed after the certificate":         func(e *workflow.Evidence) { act(e, 0).At = e.Certificates[0].NotAfter.Add(time.Second) },
		"shown what the session does not have": func(e *workflow.Evidence) { act(e, 0).Shown[0].Revision = 99 },
		"the challenge's nonce cut":            func(e *workflow.Evidence) { a := act(e, 0).Proof.Assertion; a.Nonce = a.Nonce[:31] },
		"bytes moved from the mail to the session": func(e *workflow.Evidence) {
			a := act(e, 0).Proof.Assertion
			a.Session += a.Mail[:1]
			a.Mail = a.Mail[1:]
		},
		"no session": func(e *workflow.Evidence) { e.Session = nil },
	} {
		e := clone(t, s.file)
		change(e)
		if r := s.judge(t, e); r.Indication != validate.Failed {
			t.Errorf("%s:\n%s", name, r.Text())
		}
	}
	e := clone(t, s.file)
	e.Format = "milterd evidence 9"
	if r := s.judge(t, e); r.Indication != validate.Indeterminate {
		t.Errorf("another format:\n%s", r.Text())
	}
	if r := Check(s.file, Options{}); r.Indication != validate.Indeterminate {
		t.Errorf("no anchors:\n%s", r.Text())
	}
}

// An answer of the right passkey over the right digests, but for another purpose,
// session or person, is none. All of these are consistent in themselves.
func TestAnswersForSomethingElse(t *testing.T) {
	s := finished(t)
	for _, c := range []struct {
		name, label, session, mail string
		flags                      bool // that the person was verified
		want                       validate.Indication
	}{
		{"the right one", "sign", s.advanced, john.Mail, true, validate.Passed},
		{"another purpose", "key", s.advanced, john.Mail, true, validate.Failed},
		{"another session", "sign", s.another, john.Mail, true, validate.Failed},
		{"another person", "sign", s.advanced, zoe.Mail, true, validate.Failed},
		{"nobody verified", "sign", s.advanced, john.Mail, false, validate.Failed},
	} {
		e := clone(t, s.file)
		pr := &e.Session.People[0].Act.Proof
		pr.Assertion = s.john.answer(t, pr.Assertion, c.label, c.session, c.mail, !c.flags)
		if r := s.judge(t, e); r.Indication != c.want {
			t.Errorf("%s: %s, want %s\n%s", c.name, r.Indication, c.want, r.Text())
		}
	}
}

// Revoked later, and said so: the signature stands.
func TestRevokedAfterwards(t *testing.T) {
	s := finished(t)
	e := clone(t, s.file)
	e.Certificates[0].Revoked = time.Now()
	e.Credentials[0].Revoked = time.Now()
	if r := s.judge(t, e); !r.Passed() || !strings.Contains(r.Text(), "after this signature, which stands") {
		t.Error(r.Text())
	}
}

// Documents of another session, and changed ones, are not those of the evidence.
func TestDocumentsAreCompared(t *testing.T) {
	s := finished(t)
	for name, c := range map[string]struct {
		pdfs []PDF
		want validate.Indication
	}{
		"of another session": {s.h.pdfs(s.another)[:1], validate.Failed},
		"as it was mailed":   {[]PDF{{"contract.pdf", document(t, "contract.pdf")}}, validate.Failed},
		"one byte":           {[]PDF{{"contract.pdf", touched(s.pdfs[0].Content)}}, validate.Failed},
		"no PDF":             {[]PDF{{"contract.pdf", []byte("hello")}}, validate.Failed},
		"nothing":            {[]PDF{{"contract.pdf", nil}}, validate.Failed},
		"something after it": {[]PDF{{"contract.pdf", append(bytes.Clone(s.pdfs[0].Content), "\n%more"...)}}, validate.Indeterminate},
		"a later timestamp":  {[]PDF{{"contract.pdf", stamped(t, s)}}, validate.Passed},
		"the report alone":   {s.pdfs[2:], validate.Passed},
	} {
		if r := Check(s.file, s.options(c.pdfs...)); r.Indication != c.want {
			t.Errorf("%s: %s, want %s\n%s", name, r.Indication, c.want, r.Text())
		}
	}
	// Of another session whose digests were written into this one's evidence:
	// the signatures inside are others.
	e, other := clone(t, s.file), clone(t, s.h.file(s.another))
	e.Session.Documents = other.Session.Documents
	c := &checking{o: s.options(s.h.pdfs(s.another)...), r: &Result{Indication: validate.Passed}}
	c.o.Now = time.Now()
	body, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	c.content(body)
	missing := 0
	for _, st := range c.r.Steps {
		if strings.Contains(st.What, "signature of") && st.Indication == validate.Failed {
			missing++
		}
	}
	if missing != 4 {
		t.Errorf("%d signatures are missed, want 4\n%s", missing, c.r.Text())
	}
}

// stamped is a document with one more archive timestamp, as renewing gives it.
func stamped(t *testing.T, s *sessions) []byte {
	t.Helper()
	b := s.pdfs[0].Content
	suffix, err := pades.Timestamp(t.Context(), b, "", s.h.clock, 8<<10)
	if err != nil {
		t.Fatal(err)
	}
	return append(bytes.Clone(b), suffix...)
}

func touched(b []byte) []byte {
	b = bytes.Clone(b)
	b[len(b)/2] ^= 1
	return b
}

// What stands in a file is not taken for the file's own form, nor for commands of
// a terminal.
func TestHostileWords(t *testing.T) {
	s := finished(t)
	e := clone(t, s.file)
	e.Session.Thread.Subject = seal + check + tail + "\x1b[2J\u202e"
	e.Session.Documents[0].Name = seal + "AAAA" + check + strings.Repeat("0", 64) + tail + "\x1b[2J"
	file := s.h.write(e)
	r := Check(file, s.options())
	if strings.ContainsAny(r.Text(), "\x1b\u202e") {
		t.Errorf("control characters reach the terminal: %q", r.Text())
	}
	if _, _, err := split(file); err != nil {
		t.Error(err)
	}
}

func FuzzCheck(f *testing.F) {
	empty, _ := json.MarshalIndent(workflow.Evidence{Format: workflow.EvidenceFormat, Session: &workflow.Session{}}, "", " ")
	f.Add(assemble(empty, []byte{0x30, 0}))
	f.Add([]byte(head + "{}" + seal + base64.StdEncoding.EncodeToString([]byte("x")) + check + hex.EncodeToString(make([]byte, 32)) + tail))
	f.Add([]byte("{}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		body, der, err := split(b)
		if err == nil && !bytes.Equal(assemble(body, der), b) {
			t.Error("not the same when it is written again")
		}
		if Check(b, Options{}).Passed() {
			t.Error("passed without an anchor")
		}
		// The evidence itself must not crash a check, whatever it says.
		c := &checking{r: &Result{}, o: Options{Now: time.Now()}}
		c.content(b)
		_ = sha256.Sum256([]byte(c.r.Text()))
	})
}
