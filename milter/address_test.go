package milter

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

func TestClassify(t *testing.T) {
	for addr, want := range map[string]struct {
		rcpt string
		m    match
	}{
		"john.doe@sign.corp.test":                 {"john.doe@sign.corp.test", plain},
		"<john.doe@sign.corp.test>":               {"john.doe@sign.corp.test", plain},
		"John.Doe@SIGN.corp.Test":                 {"John.Doe@sign.corp.test", plain},
		"john.doe@sign.corp.test.":                {"john.doe@sign.corp.test", plain},
		"john.doe@sign.corp.test..":               {"john.doe@sign.corp.test", plain},
		"@relay:john.doe@sign.corp.test":          {"john.doe@sign.corp.test", plain},
		"@a,@b:john.doe@sign.corp.test":           {"john.doe@sign.corp.test", plain},
		`"john.doe"@sign.corp.test`:               {"john.doe@sign.corp.test", plain},
		`"john\.doe"@sign.corp.test`:              {"john.doe@sign.corp.test", plain},
		"john.doe@ｓｉｇｎ.corp.test":                 {"john.doe@sign.corp.test", plain},
		"john.doe@sign。corp。test":                 {"john.doe@sign.corp.test", plain},
		"john.doe+advanced@sign.corp.test":        {"john.doe+advanced@sign.corp.test", plain},
		"x%elsewhere.test@sign.corp.test":         {"x%elsewhere.test@sign.corp.test", evasive},
		"elsewhere.test!x@sign.corp.test":         {"elsewhere.test!x@sign.corp.test", evasive},
		`"x@elsewhere.test"@sign.corp.test`:       {"x@elsewhere.test@sign.corp.test", evasive},
		"x%sign.corp.test@mx.corp.test":           {"x%sign.corp.test@mx.corp.test", evasive},
		"x%SIGN.corp.test.@mx.corp.test":          {"x%SIGN.corp.test.@mx.corp.test", evasive},
		`"x@sign.corp.test"@mx.corp.test`:         {`"x@sign.corp.test"@mx.corp.test`, evasive},
		"sign.corp.test!x":                        {"sign.corp.test!x", evasive},
		"mx.corp.test!sign.corp.test!x@corp.test": {"mx.corp.test!sign.corp.test!x@corp.test", evasive},
		"john.doe@corp.test":                      {"", other},
		"john.doe@xsign.corp.test":                {"", other},
		"john.doe@sign.corp.test.elsewhere.test":  {"", other},
		"sign.corp.test@corp.test":                {"", other},
		"x=sign.corp.test@corp.test":              {"", other},
		"SRS0=ab=cd=sign.corp.test=x@corp.test":   {"", other},
		"john.doe":                                {"", other},
		"":                                        {"", other},
	} {
		if rcpt, m := classify(addr, "sign.corp.test"); rcpt != want.rcpt || m != want.m {
			t.Errorf("%s: got %q %d, want %q %d", addr, rcpt, m, want.rcpt, want.m)
		}
	}
}

// TestForms: none of the forms that package postfix shows to a real Postfix is
// let go.
func TestForms(t *testing.T) {
	b, err := os.ReadFile("../testdata/addresses.txt")
	if err != nil {
		t.Fatal(err)
	}
	escapes := regexp.MustCompile(`\\x[0-9A-F]{2}|\\u\{[0-9A-F]+\}`)
	for l := range strings.Lines(string(b)) {
		if l = strings.TrimSuffix(l, "\n"); l == "" || strings.HasPrefix(l, "#") {
			continue
		}
		l, byPostfix := strings.CutPrefix(l, "~")
		form := escapes.ReplaceAllStringFunc(l, func(e string) string {
			n, _ := strconv.ParseUint(strings.Trim(e[2:], "{}"), 16, 32)
			if e[1] == 'x' {
				return string([]byte{byte(n)})
			}
			return string(rune(n))
		})
		if _, m := classify(form, "sign.corp.test"); (m == other) != byPostfix {
			t.Errorf("%q: got %d", form, m)
		}
	}
}

// FuzzClassify: no panic, and nothing that ends in the sign domain is let go.
func FuzzClassify(f *testing.F) {
	for _, s := range []string{"a@sign.corp.test", `"a@sign.corp.test"@b`, "@a:b%sign.corp.test@c", "sign.corp.test!b", "@", `"\`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		rcpt, m := classify(s, "sign.corp.test")
		if m == plain && (!strings.HasSuffix(rcpt, "@sign.corp.test") || strings.Count(rcpt, "@") != 1) {
			t.Fatalf("%q became %q", s, rcpt)
		}
		if m == other && strings.HasSuffix(strings.ToLower(s), "@sign.corp.test") {
			t.Fatalf("%q was let go", s)
		}
	})
}
