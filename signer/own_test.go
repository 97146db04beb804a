package signer

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"milterd/pki"
	"milterd/signature/cms"
	"milterd/signature/pdf"
	"milterd/signature/pdf/cos"
	"milterd/store"
	"milterd/validate"
	"milterd/workflow"
)

// device is a signatory's own key with its certificate: what the page keeps.
type device struct {
	key   *ecdsa.PrivateKey
	chain [][]byte
	entry *workflow.Certificate
}

var jane = workflow.Person{Name: "Jane Roe", Mail: "p0@corp.test"}

func ownKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// house is an authority with a register, and where its keys are.
type house struct {
	*pki.Authority
	dir      string
	register *store.Store
}

func registered(t testing.TB, key pki.KeyType) *house {
	t.Helper()
	_, dir := authority(t, key)
	st, err := store.Open(context.Background(), store.Config{URL: "sqlite:" + filepath.Join(t.TempDir(), "milterd.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	h := &house{dir: dir, register: st}
	h.Authority = h.open(t, pki.Config{})
	return h
}

// open gives another process on the same keys and register.
func (h *house) open(t testing.TB, c pki.Config) *pki.Authority {
	t.Helper()
	c.Dir, c.Register = h.dir, h.register
	a, err := pki.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (h *house) enter(t testing.TB, c *workflow.Certificate) {
	t.Helper()
	if err := h.register.Do(context.Background(), func(tx workflow.Tx) error { return tx.SaveCertificate(c) }); err != nil {
		t.Fatal(err)
	}
}

// device gives a person's new key a certificate that is valid for so long.
func (h *house) device(t testing.TB, p workflow.Person, valid time.Duration) *device {
	t.Helper()
	d := &device{key: ownKey(t)}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, d.key)
	if err != nil {
		t.Fatal(err)
	}
	a := h.open(t, pki.Config{Validity: valid})
	if d.entry, err = a.Draft(p, csr, time.Now()); err != nil {
		t.Fatal(err)
	}
	h.enter(t, d.entry)
	if err := a.Issue(context.Background(), d.entry); err != nil {
		t.Fatal(err)
	}
	h.enter(t, d.entry)
	d.chain = append([][]byte{d.entry.DER}, a.Issuers()...)
	return d
}

// sign gives r‖s, as WebCrypto does; flip turns s into the other good one.
func (d *device) sign(t testing.TB, attributes []byte, flip bool) []byte {
	t.Helper()
	digest := sha256.Sum256(attributes)
	r, s, err := ecdsa.Sign(rand.Reader, d.key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	if flip {
		s.Sub(d.key.Params().N, s)
	}
	return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
}

func advanced(n int) *workflow.Session {
	s := session(n)
	s.Level = workflow.Advanced
	return s
}

// prepare does what the desk does around Prepare.
func prepare(t testing.TB, s *Signer, sess *workflow.Session, person int, d *device, head []byte) *workflow.Prepared {
	t.Helper()
	act := sess.People[person].Act
	p, err := s.Prepare(context.Background(), sess, 0, person, act.Appearance, act.At, workflow.Key{Chain: d.chain}, head)
	if err != nil {
		t.Fatal(err)
	}
	p.Revision, p.Head = 1, sha256.Sum256(head)
	return stored(t, p)
}

// stored is what a preparation is after the store had it.
func stored(t testing.TB, p *workflow.Prepared) *workflow.Prepared {
	t.Helper()
	b, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	out := &workflow.Prepared{}
	if err := json.Unmarshal(b, out); err != nil {
		t.Fatal(err)
	}
	return out
}

func laidOut(t testing.TB, s *Signer, sess *workflow.Session, data []byte) []byte {
	t.Helper()
	layout, err := s.Layout(context.Background(), sess, 0, data)
	if err != nil {
		t.Fatal(err)
	}
	return append(bytes.Clone(data), layout...)
}

// complete has a device sign, and gives the document after it.
func complete(t testing.TB, s *Signer, sess *workflow.Session, person int, d *device, head []byte) []byte {
	t.Helper()
	p := prepare(t, s, sess, person, d, head)
	p.Value = d.sign(t, p.Attributes, person%2 == 1)
	if err := s.CheckValue(p, p.Value); err != nil {
		t.Fatal(err)
	}
	incs, err := s.Complete(context.Background(), sess, 0, person, head, p)
	if err != nil {
		t.Fatal(err)
	}
	if len(incs) != 2 || incs[0].Kind != workflow.Signature || incs[1].Kind != workflow.DSS {
		t.Fatalf("increments: %d", len(incs))
	}
	out := bytes.Clone(head)
	for _, inc := range incs {
		out = append(out, inc.Suffix...)
	}
	return out
}

func TestOwnKeysReachTheirLevels(t *testing.T) {
	t.Parallel()
	for _, key := range []pki.KeyType{pki.RSA3072, pki.P256} {
		t.Run(string(key), func(t *testing.T) {
			t.Parallel()
			a := registered(t, key)
			s, sess := ownClock(a.Authority), advanced(3)
			out := laidOut(t, s, sess, document(t, "contract.pdf"))
			for i := range sess.People {
				d := a.device(t, sess.People[i].Person, 30*24*time.Hour)
				out = complete(t, s, sess, i, d, out)
				r := results(t, a.Authority, out)
				if last := r.Signatures[len(r.Signatures)-1]; !r.Passed() || last.Level != validate.LevelLT {
					t.Fatal(r.Text())
				}
			}
			incs, err := s.Seal(context.Background(), sess, 0, out)
			if err != nil {
				t.Fatal(err)
			}
			for _, inc := range incs {
				out = append(out, inc.Suffix...)
			}
			r := judge(t, s, out, 4)
			for i, sig := range r.Signatures[:3] {
				name := sess.People[i].Name
				if sig.Reason != "Advanced: signed by "+name+" with a key of their own" || sig.Name != name ||
					!strings.HasPrefix(sig.Subject, "CN="+name) || sig.Level != validate.LevelLTA {
					t.Errorf("reason %q, name %q, by %q, level %s", sig.Reason, sig.Name, sig.Subject, sig.Level)
				}
			}
			outsiders(t, out, a.dir, 4)
			if keep := os.Getenv("SIGNER_KEEP"); keep != "" {
				os.WriteFile(filepath.Join(keep, "advanced-"+string(key)+".pdf"), out, 0o644)
				b, _ := os.ReadFile(a.dir + "/root.crt")
				os.WriteFile(filepath.Join(keep, "advanced-"+string(key)+".pem"), b, 0o644)
			}
		})
	}
}

// outsiders asks those who know nothing of us: qpdf, pdfsig, OpenSSL.
func outsiders(t *testing.T, out []byte, dir string, signatures int) {
	t.Helper()
	tmp := t.TempDir()
	put := func(name string, b []byte) string {
		path := filepath.Join(tmp, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	path := put("out.pdf", out)
	run(t, "qpdf", "--check", path)
	if sigs := run(t, "pdfsig", "-nocert", path); strings.Count(sigs, "Signature is Valid") < signatures {
		t.Errorf("pdfsig:\n%s", sigs)
	}
	f, err := cos.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	sigs, err := pdf.Signatures(f)
	if err != nil {
		t.Fatal(err)
	}
	if len(sigs) != signatures+1 {
		t.Fatalf("%d signatures, want %d", len(sigs), signatures+1)
	}
	for _, s := range sigs {
		r := s.ByteRange
		content := put("content", append(bytes.Clone(out[:r[1]]), out[r[2]:r[2]+r[3]]...))
		value := put("value", s.Contents)
		if s.Dict["Type"] == cos.Name("DocTimeStamp") {
			run(t, "openssl", "ts", "-verify", "-token_in", "-in", value, "-data", content, "-CAfile", dir+"/root.crt")
			continue
		}
		run(t, "openssl", "cms", "-verify", "-cades", "-purpose", "any", "-binary", "-inform", "DER", "-in", value, "-content", content,
			"-CAfile", dir+"/root.crt", "-out", os.DevNull)
	}
}

// A prepared revision is what the page loads: its digest and size are right, and
// nothing but Contents changes when the value comes.
func TestPreparedRevisionIsWhatGetsSigned(t *testing.T) {
	t.Parallel()
	a := registered(t, pki.P256)
	s, sess := ownClock(a.Authority), advanced(1)
	head := laidOut(t, s, sess, document(t, "contract.pdf"))
	d := a.device(t, jane, time.Hour)
	p := prepare(t, s, sess, 0, d, head)
	shown := append(bytes.Clone(head), p.Suffix...)
	if sha256.Sum256(shown) != p.SHA256 || int64(len(shown)) != p.Size || bytes.Contains(p.Signer, []byte(`"suffix":"`)) {
		t.Errorf("%s, %d bytes, kept beside it: %.200s", p.SHA256, p.Size, p.Signer)
	}
	p.Value = d.sign(t, p.Attributes, false)
	incs, err := s.Complete(context.Background(), sess, 0, 0, head, p)
	if err != nil {
		t.Fatal(err)
	}
	signed := incs[0].Suffix
	from, to := bytes.Index(p.Suffix, []byte("0000000000")), 0
	for to = from; p.Suffix[to] == '0'; to++ {
	}
	if !bytes.Equal(signed[:from], p.Suffix[:from]) || !bytes.Equal(signed[to:], p.Suffix[to:]) || bytes.Equal(signed, p.Suffix) {
		t.Error("more than Contents changed")
	}
}

// DER is good, and so are both values of s; all else is refused with a reason.
func TestValuesThatDoNotSign(t *testing.T) {
	t.Parallel()
	a := registered(t, pki.P256)
	s, sess := ownClock(a.Authority), advanced(1)
	head := laidOut(t, s, sess, document(t, "contract.pdf"))
	d := a.device(t, jane, time.Hour)
	p := prepare(t, s, sess, 0, d, head)
	other := prepare(t, s, sess, 0, d, document(t, "packed.pdf"))
	good := d.sign(t, p.Attributes, false)
	order := elliptic.P256().Params().N
	half := func(i int, v *big.Int) []byte {
		out := bytes.Clone(good)
		v.FillBytes(out[32*i : 32*i+32])
		return out
	}
	digest := sha256.Sum256(p.Attributes)
	der, err := ecdsa.SignASN1(rand.Reader, d.key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	twice := sha256.Sum256(digest[:])
	doubled, err := ecdsa.SignASN1(rand.Reader, d.key, twice[:])
	if err != nil {
		t.Fatal(err)
	}
	sValue := new(big.Int).SetBytes(good[32:])
	for name, v := range map[string][]byte{
		"as it came": good, "the other s": half(1, new(big.Int).Sub(order, sValue)), "DER": der,
	} {
		if err := s.CheckValue(p, v); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, v := range map[string][]byte{
		"other attributes": d.sign(t, other.Attributes, false), "another key": (&device{key: ownKey(t)}).sign(t, p.Attributes, false),
		"nothing": {}, "too short": good[:63], "too long": append(bytes.Clone(good), 0), "r alone": good[:32],
		"zero r": half(0, new(big.Int)), "zero s": half(1, new(big.Int)), "both zero": make([]byte, 64),
		"r is the order": half(0, order), "s is the order": half(1, order), "s out of range": half(1, new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 256), big.NewInt(1))),
		"s and r": append(bytes.Clone(good[32:]), good[:32]...), "DER and more": append(bytes.Clone(der), 0), "a digest of a digest": doubled,
		"negated r": half(0, new(big.Int).Sub(order, new(big.Int).SetBytes(good[:32]))),
	} {
		var refused *workflow.Refusal
		if err := s.CheckValue(p, v); !errors.As(err, &refused) || refused.Reason != "bad-value" {
			t.Errorf("%s: %v", name, err)
		}
		bad := *p
		bad.Value = v
		if _, err := s.Complete(context.Background(), sess, 0, 0, head, &bad); !errors.As(err, &refused) || refused.Reason != "bad-value" {
			t.Errorf("%s, completed: %v", name, err)
		}
	}
}

// Whatever is swapped between prepare and finish, nothing comes of it: the
// attributes are of one revision and one certificate.
func TestSwappedBetweenPrepareAndFinish(t *testing.T) {
	t.Parallel()
	a := registered(t, pki.P256)
	s, sess := ownClock(a.Authority), advanced(1)
	head := laidOut(t, s, sess, document(t, "contract.pdf"))
	d := a.device(t, jane, time.Hour)
	p := prepare(t, s, sess, 0, d, head)
	p.Value = d.sign(t, p.Attributes, false)
	otherHead := laidOut(t, s, sess, document(t, "packed.pdf"))
	other := prepare(t, s, sess, 0, d, otherHead)
	theirs := a.device(t, workflow.Person{Name: "Eve", Mail: "eve@corp.test"}, time.Hour)
	ctx := context.Background()
	asked := &counting{Timestamper: s.c.Time}
	s.c.Time = asked
	spoilt := bytes.Clone(head)
	spoilt[bytes.Index(spoilt, []byte("obj"))+5] ^= 1
	for name, c := range map[string]struct {
		head   []byte
		change func(*workflow.Prepared)
	}{
		"another document below it":          {otherHead, func(p *workflow.Prepared) {}},
		"another document, its digest noted": {otherHead, func(p *workflow.Prepared) { p.Head = other.Head }},
		"one bit of the head":                {spoilt, func(p *workflow.Prepared) { p.Head = sha256.Sum256(spoilt) }},
		"another suffix":                     {head, func(p *workflow.Prepared) { p.Suffix = other.Suffix }},
		"one bit of the suffix":              {head, func(p *workflow.Prepared) { p.Suffix[9] ^= 1 }},
		"attributes of another document": {head, func(p *workflow.Prepared) {
			p.Attributes, p.Value = other.Attributes, d.sign(t, other.Attributes, false)
		}},
		"another document, value over its own": {head, func(p *workflow.Prepared) {
			p.Signer, p.Attributes, p.Value = other.Signer, other.Attributes, d.sign(t, other.Attributes, false)
		}},
		"somebody else's certificate and value": {head, func(p *workflow.Prepared) {
			p.Signer = swapCertificate(t, p.Signer, theirs)
			p.Value = theirs.sign(t, p.Attributes, false)
		}},
		"a signer's part that is none":           {head, func(p *workflow.Prepared) { p.Signer = []byte("{") }},
		"a signer's part without a certificate":  {head, func(p *workflow.Prepared) { p.Signer = []byte("{}") }},
		"a place for Contents beyond the suffix": {head, func(p *workflow.Prepared) { p.Signer = swapField(t, p.Signer, "room", 1<<40) }},
		"a place for Contents before the suffix": {head, func(p *workflow.Prepared) { p.Signer = swapField(t, p.Signer, "offset", -5) }},
		"a place for Contents at another offset": {head, func(p *workflow.Prepared) { p.Signer = swapField(t, p.Signer, "offset", 40) }},
		"a digest under another hash":            {head, func(p *workflow.Prepared) { p.Signer = swapField(t, p.Signer, "algorithm", "ES384") }},
		"an algorithm that is none":              {head, func(p *workflow.Prepared) { p.Signer = swapField(t, p.Signer, "algorithm", "none") }},
		"another field than the signed one":      {head, func(p *workflow.Prepared) { p.Signer = swapField(t, p.Signer, "field", "other") }},
	} {
		q := stored(t, p)
		c.change(q)
		if incs, err := s.Complete(ctx, sess, 0, 0, c.head, q); err == nil {
			t.Errorf("%s: completed with %d increments", name, len(incs))
		}
		if asked.times > 0 && name != "another field than the signed one" { // which only the result shows
			t.Errorf("%s: found out only when it had its time", name)
		}
		asked.times = 0
	}
	if _, err := s.Complete(ctx, sess, 0, 0, head, p); err != nil || asked.times != 1 {
		t.Errorf("and unchanged: %v", err)
	}
	// A value is never taken for attributes that are not the preparation's own.
	q := stored(t, p)
	q.Attributes = other.Attributes
	if err := s.CheckValue(q, d.sign(t, other.Attributes, false)); err == nil {
		t.Error("a good value over attributes of another document is taken")
	}
	q = stored(t, p)
	q.Signer = swapCertificate(t, q.Signer, theirs)
	if err := s.CheckValue(q, theirs.sign(t, q.Attributes, false)); err == nil {
		t.Error("a good value by somebody else is taken")
	}
	if _, err := s.Complete(ctx, sess, 0, 0, otherHead, stored(t, p)); !errors.Is(err, workflow.ErrConflict) {
		t.Errorf("a head that moved: %v", err)
	}
}

// counting counts what it is asked.
type counting struct {
	pki.Timestamper
	times int
}

func (c *counting) Timestamp(ctx context.Context, digest []byte) ([]byte, error) {
	c.times++
	return c.Timestamper.Timestamp(ctx, digest)
}

func swapField(t *testing.T, signer []byte, key string, value any) []byte {
	t.Helper()
	var m map[string]any
	line, certificates, _ := bytes.Cut(signer, []byte("\n"))
	if err := json.Unmarshal(line, &m); err != nil || m[key] == nil {
		t.Fatal(err, m[key])
	}
	m[key] = value
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return append(append(b, '\n'), certificates...)
}

func swapCertificate(t *testing.T, signer []byte, d *device) []byte {
	t.Helper()
	line, _, _ := bytes.Cut(signer, []byte("\n"))
	return append(append(bytes.Clone(line), '\n'), bytes.Join(d.chain, nil)...)
}

// A certificate that runs out before the signature has its time asks the person again.
func TestCertificateExpiresBeforeItsTime(t *testing.T) {
	t.Parallel()
	a := registered(t, pki.P256)
	s, sess := ownClock(a.Authority), advanced(1)
	head := laidOut(t, s, sess, document(t, "contract.pdf"))
	d := a.device(t, jane, 24*time.Hour)
	until := d.entry.NotAfter
	p := prepare(t, s, sess, 0, d, head)
	p.Value = d.sign(t, p.Attributes, false)
	ctx := context.Background()
	var refused *workflow.Refusal

	// Known before the time is asked for.
	asked := &switching{Timestamper: s.c.Time, after: 1, do: func() { t.Error("a time was asked for in vain") }}
	late := New(Config{Seal: a.Seal(), Organisation: org, Time: asked, Evidence: s.c.Evidence, Now: func() time.Time { return until.Add(time.Second) }})
	if _, err := late.Complete(ctx, sess, 0, 0, head, p); !errors.As(err, &refused) || refused.Reason != "certificate-expired" || refused.Code >= 500 {
		t.Errorf("late: %v", err)
	}
	// Known from the timestamp alone: our own clock stands still.
	b := a.open(t, pki.Config{Now: func() time.Time { return until.Add(time.Minute) }})
	s.c.Time = b.OwnClock(pki.ClockPolicy{AllowUnsynchronised: true})
	if _, err := s.Complete(ctx, sess, 0, 0, head, p); !errors.As(err, &refused) || refused.Reason != "certificate-expired" {
		t.Errorf("by the timestamp: %v", err)
	}
	// It cannot be prepared with, either.
	if _, err := s.Prepare(ctx, sess, 0, 0, sess.People[0].Act.Appearance, until.Add(time.Second), workflow.Key{Chain: d.chain}, head); !errors.As(err, &refused) || refused.Reason != "certificate-expired" {
		t.Errorf("prepared: %v", err)
	}
}

// A certificate that is revoked before the signature has its time asks the
// person again. One that is revoked later leaves the signature as good as it was.
func TestCertificateRevoked(t *testing.T) {
	t.Parallel()
	a := registered(t, pki.P256)
	s, sess := ownClock(a.Authority), advanced(2)
	head := laidOut(t, s, sess, document(t, "contract.pdf"))
	first, second := a.device(t, sess.People[0].Person, time.Hour), a.device(t, sess.People[1].Person, time.Hour)
	ctx := context.Background()
	signed := complete(t, s, sess, 0, first, head)

	p := prepare(t, s, sess, 1, second, signed)
	p.Value = second.sign(t, p.Attributes, false)
	for _, d := range []*device{first, second} {
		time.Sleep(1100 * time.Millisecond) // revocations count in seconds
		d.entry.Revoked, d.entry.Reason = time.Now(), 1
		a.enter(t, d.entry)
	}
	var refused *workflow.Refusal
	if _, err := s.Complete(ctx, sess, 0, 1, signed, p); !errors.As(err, &refused) || refused.Reason != "certificate-revoked" || refused.Code >= 500 {
		t.Fatalf("revoked: %v", err)
	}
	third := a.device(t, sess.People[1].Person, time.Hour)
	out := complete(t, s, sess, 1, third, signed)
	incs, err := s.Seal(ctx, sess, 0, out)
	if err != nil {
		t.Fatal(err)
	}
	for _, inc := range incs {
		out = append(out, inc.Suffix...)
	}
	r := judge(t, s, out, 3)
	if sig := r.Signatures[0]; sig.Level != validate.LevelLTA || !strings.Contains(strings.Join(sig.Notes, "\n"), "revoked") || sig.Revoked.IsZero() {
		t.Errorf("the first one's later revocation does not show: %+v\n%s", sig.Notes, r.Text())
	}
	if sig := r.Signatures[1]; !sig.Revoked.IsZero() {
		t.Errorf("the second one is said to be revoked: %s", r.Text())
	}
	outsiders(t, out, a.dir, 3)
}

// A token that outgrew its place asks the person again, and only then: the next
// preparation has the room.
func TestOwnTokenOutgrowsItsPlace(t *testing.T) {
	t.Parallel()
	a := registered(t, pki.P256)
	s, sess := ownClock(a.Authority), advanced(1)
	head := laidOut(t, s, sess, document(t, "contract.pdf"))
	d := a.device(t, jane, time.Hour)
	p := prepare(t, s, sess, 0, d, head)
	p.Value = d.sign(t, p.Attributes, false)
	s.c.Time = padded{s.c.Time, 20 << 10}
	var refused *workflow.Refusal
	if _, err := s.Complete(context.Background(), sess, 0, 0, head, p); !errors.As(err, &refused) || refused.Reason != "signature-outgrown" || refused.Code >= 500 {
		t.Fatalf("outgrown: %v", err)
	}
	if q := prepare(t, s, sess, 0, d, head); len(q.Suffix) < len(p.Suffix)+(20<<10) {
		t.Errorf("the next one has no more room: %d after %d", len(q.Suffix), len(p.Suffix))
	}
}

// padded makes tokens larger by unsigned attributes that nobody reads.
type padded struct {
	pki.Timestamper
	by int // bytes, about
}

func (p padded) Timestamp(ctx context.Context, digest []byte) ([]byte, error) {
	token, err := p.Timestamper.Timestamp(ctx, digest)
	if err != nil {
		return nil, err
	}
	for big := token; ; {
		m, err := cms.Parse(big)
		if err != nil || len(big) > p.by {
			return big, err
		}
		if big, err = m.WithTimestamp(token); err != nil {
			return nil, err
		}
	}
}

func TestPrepareRefuses(t *testing.T) {
	t.Parallel()
	a := registered(t, pki.P256)
	s := ownClock(a.Authority)
	d := a.device(t, jane, time.Hour)
	ctx := context.Background()
	var refused *workflow.Refusal
	if _, err := s.Prepare(ctx, session(1), 0, 0, workflow.Appearance{Typed: "J"}, time.Now(), workflow.Key{Chain: d.chain}, document(t, "contract.pdf")); !errors.As(err, &refused) || refused.Reason != "level-unavailable" {
		t.Errorf("Standard: %v", err)
	}
	sess := advanced(1)
	sess.Documents[0].Signed = true
	if _, err := s.Prepare(ctx, sess, 0, 0, workflow.Appearance{Typed: "J"}, time.Now(), workflow.Key{Chain: d.chain}, document(t, "certified-1.pdf")); !errors.As(err, &refused) || refused.Reason != "signature-forbidden" {
		t.Errorf("certified: %v", err)
	}
	for _, chain := range [][][]byte{nil, {[]byte("no certificate")}} {
		if _, err := s.Prepare(ctx, advanced(1), 0, 0, workflow.Appearance{Typed: "J"}, time.Now(), workflow.Key{Chain: chain}, document(t, "contract.pdf")); err == nil {
			t.Error("prepared without a certificate")
		}
	}
	// A stranger's authority: no evidence, so nothing is handed out.
	stranger := registered(t, pki.P256).device(t, jane, time.Hour)
	head := laidOut(t, s, advanced(1), document(t, "contract.pdf"))
	p := prepare(t, s, advanced(1), 0, stranger, head)
	p.Value = stranger.sign(t, p.Attributes, false)
	if _, err := s.Complete(ctx, advanced(1), 0, 0, head, p); err == nil {
		t.Error("completed with a stranger's certificate")
	}
}
