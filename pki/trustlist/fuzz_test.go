package trustlist

import (
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"milterd/pki/qualified/qualifiedtest"
	"milterd/pki/trustlist/trustlisttest"
	"milterd/signature/xades/dom"
)

var update = flag.Bool("update", false, "write testdata anew")

func seeds(t testing.TB) map[string][]byte {
	paths, err := filepath.Glob("testdata/*.xml")
	if err != nil || len(paths) < 4 {
		t.Fatalf("seeds are missing: %v (%v); go test -run Seeds -update", paths, err)
	}
	out := map[string][]byte{}
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		out[filepath.Base(p)] = b
	}
	return out
}

func write(t testing.TB) {
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	p, err := qualifiedtest.New(func() time.Time { return now }, "")
	if err != nil {
		t.Fatal(err)
	}
	nested := trustlisttest.Qualify("all", trustlisttest.Commitment+`<sie:CriteriaList assert="none"><sie:PolicySet><sie:PolicyIdentifier>`+
		`<xades:Identifier Qualifier="OIDAsURN">urn:oid:1.2.3</xades:Identifier></sie:PolicyIdentifier></sie:PolicySet></sie:CriteriaList>`+
		`<sie:otherCriteriaList><tslx:ExtendedKeyUsage><tslx:KeyPurposeId><xades:Identifier>1.3.6.1.5.5.7.3.4</xades:Identifier></tslx:KeyPurposeId></tslx:ExtendedKeyUsage></sie:otherCriteriaList>`,
		"QCWithQSCD", "QCForESig")
	services := []trustlisttest.Service{{CA: p.CA, State: trustlisttest.State{Extensions: nested}, History: []trustlisttest.State{{Status: "withdrawn", Age: 6 * 365 * 24 * time.Hour}}}, {Name: "by key", SKI: []byte("identifier")}}
	u, err := trustlisttest.Make(now, "", trustlisttest.List{Territory: "EE", Services: services})
	if err != nil {
		t.Fatal(err)
	}
	u.Files["unsigned.xml"] = u.Lists[0].XML(now)
	u.Files["version.xml"] = trustlisttest.List{Territory: "EE", Version: 3}.XML(now)
	for name, raw := range u.Files {
		if err := os.WriteFile(filepath.Join("testdata", name), raw, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSeeds(t *testing.T) {
	if *update {
		write(t)
	}
	for name, raw := range seeds(t) {
		tree, err := dom.Parse(raw)
		if err != nil {
			t.Fatal(name, err)
		}
		l, err := parseList(tree.Root, raw)
		switch {
		case name == "version.xml":
			if err == nil {
				t.Error("an old version is read")
			}
		case err != nil:
			t.Error(name, err)
		case name == "EU.xml" && len(l.pointers) != 1, name != "EU.xml" && len(l.services) != 2:
			t.Errorf("%s: %d pointers, %d services", name, len(l.pointers), len(l.services))
		}
	}
}

// What parseList takes keeps the limits, has services with a past or present as
// CA/QC and their states in order, and reads the same again.
func FuzzParseList(f *testing.F) {
	for _, raw := range seeds(f) {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		tree, err := dom.Parse(raw)
		if err != nil {
			return
		}
		l, err := parseList(tree.Root, raw)
		if err != nil {
			return
		}
		if !isTerritory(l.territory) || l.sequence < 1 || len(l.pointers) > maxPointers || len(l.services) > maxServices {
			t.Fatalf("beyond the limits: %+v", l)
		}
		for _, s := range l.services {
			if !slices.ContainsFunc(s.states, func(s state) bool { return s.qualified }) || len(s.states) > maxStates || len(s.certs)+len(s.skis) > maxIdentities {
				t.Fatalf("service %+v", s)
			}
			for i := range s.states {
				if i > 0 && s.states[i].since.After(s.states[i-1].since) {
					t.Fatal("states out of order")
				}
				for _, c := range s.certs {
					s.states[i].qualifiersOf(c)
				}
			}
		}
		indexOf(map[string]*standing{"": {list: l}}, []string{""})
		again, err := parseList(tree.Root, raw)
		if err != nil || len(again.services) != len(l.services) || !reflect.DeepEqual(again.pointers, l.pointers) {
			t.Fatal("reads differently again", err)
		}
	})
}
