package signer

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"encoding/pem"
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
	"milterd/validate"
	"milterd/workflow"
)

// device is a signatory's own key with its certificate: what the page keeps.
type device struct {
	key   *ecdsa.PrivateKey
	chain [][]byte
}

func ownKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// certify gives a key a certificate below the issuing CA in dir.
func certify(t testing.TB, dir, name string, until time.Time) *device {
	t.Helper()
	block := func(file string) []byte {
		b, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		p, _ := pem.Decode(b)
		return p.Bytes
	}
	issuer, err := x509.ParseCertificate(block("issuing.crt"))
	if err != nil {
		t.Fatal(err)
	}
	issuerKey, err := x509.ParsePKCS8PrivateKey(block("issuing.key"))
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		t.Fatal(err)
	}
	key := ownKey(t)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name, Organization: []string{org}, Country: []string{"LU"}},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: until, KeyUsage: x509.KeyUsageContentCommitment,
		UnknownExtKeyUsage:    []asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 36}},
		CRLDistributionPoints: []string{"https://sign.corp.test/pki/issuing.crl"}, BasicConstraintsValid: true,
	}, issuer, key.Public(), issuerKey)
	if err != nil {
		t.Fatal(err)
	}
	return &device{key, [][]byte{der, issuer.Raw, block("root.crt")}}
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
	p, err := s.Prepare(context.Background(), sess, 0, person, act.Appearance, act.At, d.chain, head)
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
			a, dir := authority(t, key)
			s, sess := ownClock(a), advanced(3)
			out := laidOut(t, s, sess, document(t, "contract.pdf"))
			for i := range sess.People {
				d := certify(t, dir, sess.People[i].Name, time.Now().Add(30*24*time.Hour))
				out = complete(t, s, sess, i, d, out)
				r := results(t, a, out)
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
			outsiders(t, out, dir, 4)
			if keep := os.Getenv("SIGNER_KEEP"); keep != "" {
				os.WriteFile(filepath.Join(keep, "advanced-"+string(key)+".pdf"), out, 0o644)
				b, _ := os.ReadFile(dir + "/root.crt")
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
	a, dir := authority(t, pki.P256)
	s, sess := ownClock(a), advanced(1)
	head := laidOut(t, s, sess, document(t, "contract.pdf"))
	d := certify(t, dir, "Jane Roe", time.Now().Add(time.Hour))
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
	a, dir := authority(t, pki.P256)
	s, sess := ownClock(a), advanced(1)
	head := laidOut(t, s, sess, document(t, "contract.pdf"))
	d := certify(t, dir, "Jane Roe", time.Now().Add(time.Hour))
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
	a, dir := authority(t, pki.P256)
	s, sess := ownClock(a), advanced(1)
	head := laidOut(t, s, sess, document(t, "contract.pdf"))
	d := certify(t, dir, "Jane Roe", time.Now().Add(time.Hour))
	p := prepare(t, s, sess, 0, d, head)
	p.Value = d.sign(t, p.Attributes, false)
	otherHead := laidOut(t, s, sess, document(t, "packed.pdf"))
	other := prepare(t, s, sess, 0, d, otherHead)
	theirs := certify(t, dir, "Eve", time.Now().Add(time.Hour))
	ctx := context.Background()
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
	}
	if _, err := s.Complete(ctx, sess, 0, 0, head, p); err != nil {
		t.Errorf("and unchanged: %v", err)
	}
	if _, err := s.Complete(ctx, sess, 0, 0, otherHead, stored(t, p)); !errors.Is(err, workflow.ErrConflict) {
		t.Errorf("a head that moved: %v", err)
	}
}

func swapField(t *testing.T, signer []byte, key string, value any) []byte {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(signer, &m); err != nil || m[key] == nil {
		t.Fatal(err, m[key])
	}
	m[key] = value
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func swapCertificate(t *testing.T, signer []byte, d *device) []byte {
	t.Helper()
	return swapField(t, signer, "certificates", d.chain)
}

// A certificate that runs out before the signature has its time asks the person again.
func TestCertificateExpiresBeforeItsTime(t *testing.T) {
	t.Parallel()
	a, dir := authority(t, pki.P256)
	s, sess := ownClock(a), advanced(1)
	head := laidOut(t, s, sess, document(t, "contract.pdf"))
	until := time.Now().Add(24 * time.Hour).Truncate(time.Second)
	d := certify(t, dir, "Jane Roe", until)
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
	b, err := pki.LoadAt(dir, func() time.Time { return until.Add(time.Minute) })
	if err != nil {
		t.Fatal(err)
	}
	s.c.Time = b.OwnClock(pki.ClockPolicy{AllowUnsynchronised: true})
	if _, err := s.Complete(ctx, sess, 0, 0, head, p); !errors.As(err, &refused) || refused.Reason != "certificate-expired" {
		t.Errorf("by the timestamp: %v", err)
	}
	// It cannot be prepared with, either.
	if _, err := s.Prepare(ctx, sess, 0, 0, sess.People[0].Act.Appearance, until.Add(time.Second), d.chain, head); !errors.As(err, &refused) || refused.Reason != "certificate-expired" {
		t.Errorf("prepared: %v", err)
	}
}

// A token that outgrew its place asks the person again, and only then: the next
// preparation has the room.
func TestOwnTokenOutgrowsItsPlace(t *testing.T) {
	t.Parallel()
	a, dir := authority(t, pki.P256)
	s, sess := ownClock(a), advanced(1)
	head := laidOut(t, s, sess, document(t, "contract.pdf"))
	d := certify(t, dir, "Jane Roe", time.Now().Add(time.Hour))
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
	a, dir := authority(t, pki.P256)
	s := ownClock(a)
	d := certify(t, dir, "Jane Roe", time.Now().Add(time.Hour))
	ctx := context.Background()
	var refused *workflow.Refusal
	for _, level := range []workflow.Level{workflow.Standard, workflow.Qualified} {
		sess := session(1)
		sess.Level = level
		if _, err := s.Prepare(ctx, sess, 0, 0, workflow.Appearance{Typed: "J"}, time.Now(), d.chain, document(t, "contract.pdf")); !errors.As(err, &refused) || refused.Reason != "level-unavailable" {
			t.Errorf("%s: %v", level, err)
		}
	}
	sess := advanced(1)
	sess.Documents[0].Signed = true
	if _, err := s.Prepare(ctx, sess, 0, 0, workflow.Appearance{Typed: "J"}, time.Now(), d.chain, document(t, "certified-1.pdf")); !errors.As(err, &refused) || refused.Reason != "signature-forbidden" {
		t.Errorf("certified: %v", err)
	}
	for _, chain := range [][][]byte{nil, {[]byte("no certificate")}} {
		if _, err := s.Prepare(ctx, advanced(1), 0, 0, workflow.Appearance{Typed: "J"}, time.Now(), chain, document(t, "contract.pdf")); err == nil {
			t.Error("prepared without a certificate")
		}
	}
	// A stranger's authority: no evidence, so nothing is handed out.
	_, elsewhere := authority(t, pki.P256)
	stranger := certify(t, elsewhere, "Jane Roe", time.Now().Add(time.Hour))
	head := laidOut(t, s, advanced(1), document(t, "contract.pdf"))
	p := prepare(t, s, advanced(1), 0, stranger, head)
	p.Value = stranger.sign(t, p.Attributes, false)
	if _, err := s.Complete(ctx, advanced(1), 0, 0, head, p); err == nil {
		t.Error("completed with a stranger's certificate")
	}
}
