package main

import (
	"slices"
	"strings"
	"testing"
)

func say(indication string, level string) verdict {
	return verdict{Signatures: []signature{{Field: "A", Kind: "signature", Indication: indication, Level: level}, {Field: "Time", Kind: "document timestamp", Indication: passed}}}
}

// Whoever is off is named, and what was declared is explained.
func TestCompare(t *testing.T) {
	lta := "PAdES-BASELINE-LTA"
	fine := opinion{ours: say(passed, lta), dss: say(passed, lta), pyhanko: say(passed, ""), programs: programs{signatures: 1, stamps: 1, pdfsig: 1, mutool: 1, openssl: 2}}
	good := &file{group: "g", name: "good", signatures: 1, stamps: 1, level: "PAdES-BASELINE-LTA", indication: passed}
	harm := &file{group: "damaged: good", name: "a byte", base: good}
	sees := opinion{ours: say(totalFailed, lta), dss: say(totalFailed, lta), pyhanko: say(totalFailed, ""), programs: fine.programs}
	for name, c := range map[string]struct {
		change              func(good, harm *opinion)
		failed, unexplained int
		judge, what         string
	}{
		"all in order":   {func(*opinion, *opinion) {}, 0, 0, "", ""},
		"another level":  {func(g, h *opinion) { g.dss = say(passed, "PAdES-BASELINE-LT") }, 1, 0, "DSS", "want PAdES-BASELINE-LTA"},
		"not passed":     {func(g, h *opinion) { g.pyhanko = say(indeterminate, "") }, 1, 0, "pyHanko", "A is INDETERMINATE"},
		"no signature":   {func(g, h *opinion) { g.dss = verdict{} }, 1, 0, "DSS", "finds 0 signatures"},
		"cannot be read": {func(g, h *opinion) { g.dss = verdict{Error: "no"} }, 1, 0, "DSS", "no"},
		"timestamp does not hold": {func(g, h *opinion) {
			g.dss.Signatures = slices.Clone(g.dss.Signatures)
			g.dss.Signatures[0].Timestamps = "FAILED"
		}, 1, 0, "DSS", "timestamp of A"},
		"a reader disagrees":        {func(g, h *opinion) { g.programs.pdfsig = 0 }, 1, 0, "pdfsig", "0 of 1"},
		"we do not notice":          {func(g, h *opinion) { h.ours, h.dss, h.pyhanko = say(passed, lta), say(passed, lta), say(passed, "") }, 1, 0, "milterd", "does not notice"},
		"we notice less than DSS":   {func(g, h *opinion) { h.ours = say(passed, lta) }, 1, 2, "DSS", "does not hold there"},
		"we notice more than DSS":   {func(g, h *opinion) { h.dss = say(passed, lta) }, 0, 1, "DSS", "holds there, not here"},
		"a declared one is not met": {nil, 0, 1, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			g, h := fine, sees
			var known []difference
			if c.change == nil {
				known = append(known, difference{judge: "DSS", files: "g: good", what: "*"})
			} else {
				c.change(&g, &h)
			}
			r := compare([]*file{good, harm}, map[*file]*opinion{good: &g, harm: &h}, known)
			if r.failed != c.failed || r.unexplained != c.unexplained {
				t.Errorf("failed=%d unexplained=%d, want %d and %d: %+v", r.failed, r.unexplained, c.failed, c.unexplained, r.deviations)
			}
			if c.judge != "" && !slices.ContainsFunc(r.deviations, func(d deviation) bool { return d.judge == c.judge && strings.Contains(d.what, c.what) }) {
				t.Errorf("%s is not named with %q: %+v", c.judge, c.what, r.deviations)
			}
		})
	}
	known := []difference{{judge: "DSS", files: "damaged: good: a*", what: "A holds there*", why: "because"}}
	h := sees
	h.dss = say(passed, lta)
	g := fine
	if r := compare([]*file{good, harm}, map[*file]*opinion{good: &g, harm: &h}, known); r.unexplained != 0 || r.failed != 0 || len(r.deviations) != 1 || r.deviations[0].why != "because" {
		t.Errorf("declared: %+v", r)
	}
}

// The reasons on the page are whole, and the patterns can be read.
func TestDeclared(t *testing.T) {
	for _, x := range declared {
		if x.judge == "" || x.why == "" || x.says == "" || strings.Contains(x.why+x.says, "|") {
			t.Errorf("%+v", x)
		}
		match(x.files, "")
		match(x.what, "")
	}
}
