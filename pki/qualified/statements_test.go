package qualified

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"milterd/pki/qualified/qualifiedtest"
)

var update = flag.Bool("update", false, "write testdata anew")

func seeds(t testing.TB) map[string][]byte {
	paths, err := filepath.Glob("testdata/*.der")
	if err != nil || len(paths) < 4 {
		t.Fatalf("seeds are missing: %v (%v); go test -run Seeds -update", paths, err)
	}
	out := map[string][]byte{}
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		out[strings.TrimSuffix(filepath.Base(p), ".der")] = b
	}
	return out
}

var want = map[string]Statements{
	"good":    {Compliance: true, SSCD: true, Types: []Type{ESign}},
	"seal":    {Compliance: true, SSCD: true, Types: []Type{ESeal}},
	"foreign": {Compliance: true, Types: []Type{ESign}, Countries: []string{"CH", "LI"}},
	"nothing": {},
}

func TestSeeds(t *testing.T) {
	if *update {
		p, err := qualifiedtest.New(time.Now, "")
		if err != nil {
			t.Fatal(err)
		}
		for name, r := range map[string]qualifiedtest.Request{
			"good": {}, "seal": {Seal: true}, "foreign": {NoQSCD: true, Countries: []string{"CH", "LI"}}, "nothing": {NoCompliance: true, NoQSCD: true, NoType: true},
		} {
			id, err := p.Issue(r)
			if err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(id.Cert.Extensions, func(x pkix.Extension) bool { return x.Id.Equal(oidStatements) })
			if err := os.WriteFile(filepath.Join("testdata", name+".der"), id.Cert.Extensions[i].Value, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	all := seeds(t)
	for name, w := range want {
		got, err := ParseStatements(certificateWith(all[name]))
		if err != nil || !reflect.DeepEqual(got, w) {
			t.Errorf("%s: %+v %v, want %+v", name, got, err, w)
		}
	}
	if got, err := ParseStatements(&x509.Certificate{}); err != nil || !reflect.DeepEqual(got, Statements{}) {
		t.Errorf("no extension: %+v %v", got, err)
	}
}

func certificateWith(statements []byte) *x509.Certificate {
	return &x509.Certificate{Extensions: []pkix.Extension{{Id: oidStatements, Value: statements}}}
}

// DER by hand, of which each is wrong or unusual in one place.
func TestStatementsByHand(t *testing.T) {
	const compliance, sscd = "3008060604008e460101", "3008060604008e460104"
	for _, c := range []struct {
		name, der string
		ok        bool
	}{
		{"two statements", "3014" + compliance + sscd, true},
		{"an unknown one", "3015" + compliance + "3009" + "06032a0304" + "0c0278" + "79", true},
		{"no sequence", "3114" + compliance + sscd, false},
		{"trailing bytes", "300a" + compliance + "00", false},
		{"twice", "3014" + compliance + compliance, false},
		{"QcCompliance with information", "300c" + "300a" + "060604008e460101" + "0500", false},
		{"a long length", "30810a" + compliance, false},
		{"no end", "3080" + compliance + "0000", false},
		{"QcType without values", "300c" + "300a" + "060604008e460106" + "3000", false},
		{"QcType with a number", "300f" + "300d" + "060604008e460106" + "3003020101", false},
		{"another type", "3011" + "300f" + "060604008e460106" + "300506032a0304", true},
		{"a country of three letters", "3011" + "300f" + "060604008e460107" + "30051303434845", false},
		{"a country in UTF8", "3010" + "300e" + "060604008e460107" + "30040c024348", false},
	} {
		der, err := hex.DecodeString(c.der)
		if err != nil {
			t.Fatal(c.name, err)
		}
		if _, err := parseStatements(der); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	many := bytes.Repeat([]byte{0x30, 3, 6, 1, 42}, 100)
	if _, err := parseStatements(append([]byte{0x30, 0x82, 1, 0xf4}, many...)); err == nil {
		t.Error("a hundred statements")
	}
}

// What is read keeps the limits, and bytes behind it are not passed over.
func FuzzStatements(f *testing.F) {
	for _, b := range seeds(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		s, err := parseStatements(der)
		if err != nil {
			return
		}
		if len(s.Types) > maxValues || len(s.Countries) > maxValues || len(der) > maxStatement {
			t.Fatal("beyond the limits")
		}
		for _, c := range s.Countries {
			if len(c) != 2 {
				t.Fatalf("country %q", c)
			}
		}
		if _, err := parseStatements(append(bytes.Clone(der), 0)); err == nil {
			t.Fatal("a byte more makes no difference")
		}
	})
}
