package main

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// deviation is where a judge does not say what it should: of a good file, what the
// file was made to be; of a damaged one, or one of others, what we say.
type deviation struct {
	file  *file
	judge string
	what  string
	why   string // from a difference that was declared; "" if there is none
}

// result is everything that was found.
type result struct {
	files       []*file
	opinions    map[*file]*opinion
	deviations  []deviation
	unseen      []difference // declared, but not met
	failed      int          // good files that somebody does not find good, damaged ones that we do; undeclared
	unexplained int          // other deviations that nobody declared, and declared ones that were not met
}

// compare finds the deviations and looks each up among those declared.
func compare(files []*file, opinions map[*file]*opinion, declared []difference) *result {
	r := &result{files: files, opinions: opinions}
	met := make([]bool, len(declared))
	for _, f := range files {
		fails := false
		note := func(judge, what string, counts bool) {
			d := deviation{file: f, judge: judge, what: what}
			for i, x := range declared {
				if x.is(d) {
					met[i], d.why = true, x.why
					break
				}
			}
			r.deviations = append(r.deviations, d)
			switch {
			case d.why != "":
			case counts:
				fails = true
			default:
				r.unexplained++
			}
		}
		o := opinions[f]
		switch {
		case f.base != nil:
			r.damaged(f, o, note)
		case f.signatures == 0:
			foreign(o, note)
		default:
			r.good(f, o, note)
		}
		if fails {
			r.failed++
		}
	}
	for i, x := range declared {
		if !met[i] && !x.perhaps {
			r.unseen = append(r.unseen, x)
			r.unexplained++
		}
	}
	return r
}

// judges are those who speak of indications.
func (o *opinion) judges() []struct {
	name string
	v    *verdict
} {
	return []struct {
		name string
		v    *verdict
	}{{"milterd", &o.ours}, {"DSS", &o.dss}, {"pyHanko", &o.pyhanko}}
}

func (v *verdict) of(field string) *signature {
	for i := range v.Signatures {
		if v.Signatures[i].Field == field {
			return &v.Signatures[i]
		}
	}
	return nil
}

// good compares with what the file was made to be.
func (r *result) good(f *file, o *opinion, note func(judge, what string, counts bool)) {
	others := 0
	for i, j := range o.judges() {
		if f.ext != "" && j.name == "pyHanko" {
			continue
		}
		say := func(format string, args ...any) { note(j.name, fmt.Sprintf(format, args...), true) }
		if j.v.Error != "" {
			say("%s", j.v.Error)
			continue
		}
		var before verdict
		if f.before != nil {
			before = *r.opinions[f.before].judges()[i].v
			others = max(others, len(before.Signatures))
		}
		for _, was := range before.Signatures {
			if is := j.v.of(was.Field); is == nil || is.verdict() != was.verdict() {
				now := "gone"
				if is != nil {
					now = is.verdict()
				}
				say("the signature %q of others was %s, is %s", was.Field, was.verdict(), now)
			}
		}
		signatures, stamps := 0, 0
		for _, s := range j.v.Signatures {
			if before.of(s.Field) != nil {
				continue
			}
			want := f.indication
			if s.Kind == "signature" {
				signatures++
				if s.Level != string(f.level) && j.name != "pyHanko" { // it names none
					say("%s is %s, want %s", s.Field, s.Level, f.level)
				}
				if want == passed && strings.ContainsAny(s.Timestamps, "I") || strings.Contains(s.Timestamps, "FAILED") {
					say("the timestamp of %s is %s", s.Field, s.Timestamps)
				}
			} else {
				stamps++
			}
			if s.Indication != want {
				say("%s is %s, want %s", s.Field, s.verdict(), want)
			}
		}
		if signatures != f.signatures || stamps != f.stamps {
			say("finds %d signatures and %d document timestamps, want %d and %d", signatures, stamps, f.signatures, f.stamps)
		}
	}
	if pics := o.pictures; pics != nil && len(pics.differ) > 0 {
		note("pdftoppm", fmt.Sprintf("pages look different: %v", pics.differ), true)
	}
	if before := &o.pdfa[0]; before.keeps() && (!o.pdfa[1].keeps() || o.pdfa[1].Flavour != before.Flavour) {
		note("veraPDF", words(before, &o.pdfa[1]), true)
	}
	p := &o.programs
	say := func(judge, format string, args ...any) { note(judge, fmt.Sprintf(format, args...), true) }
	signatures := f.signatures + others
	if p.signatures != signatures || p.stamps != f.stamps {
		say("openssl", "%d signatures and %d document timestamps stand in the file, want %d and %d", p.signatures, p.stamps, signatures, f.stamps)
	}
	if p.qpdf != "" {
		say("qpdf", "%s", p.qpdf)
	}
	if f.ext == "" && p.pdfsig < signatures {
		say("pdfsig", "%d of %d signatures are valid", p.pdfsig, signatures)
	}
	if f.ext == "" && p.mutool < signatures {
		say("mutool", "%d of %d signatures are valid", p.mutool, signatures)
	}
	if p.openssl < signatures+f.stamps || len(p.problems) > 0 {
		say("openssl", "%d of %d verify: %s", p.openssl, signatures+f.stamps, strings.Join(p.problems, "; "))
	}
}

// holds reports whether a judge passes the signature in a field.
func (v *verdict) holds(field string) bool {
	s := v.of(field)
	return v.Error == "" && s != nil && s.Indication == passed
}

// all reports whether a judge passes every signature that it found in the good file.
func (v *verdict) all(base *verdict) bool {
	return v.Error == "" && len(v.Signatures) == len(base.Signatures) &&
		!slices.ContainsFunc(v.Signatures, func(s signature) bool { return s.Indication != passed || base.of(s.Field) == nil })
}

// against compares ours with another's, signature by signature.
func against(ours, theirs *verdict, fields []string) (out []string) {
	for _, field := range fields {
		a, b := ours.holds(field), theirs.holds(field)
		switch {
		case a && !b:
			out = append(out, fmt.Sprintf("%s does not hold there, but here: %s", field, theirs.reason(field)))
		case b && !a:
			out = append(out, fmt.Sprintf("%s holds there, not here: %s", field, ours.reason(field)))
		case a && b && theirs.of(field).Level != "" && baseline(theirs.of(field).Level) != baseline(ours.of(field).Level) && ours.of(field).Kind == "signature":
			out = append(out, fmt.Sprintf("%s is %s there, %s here", field, theirs.of(field).Level, ours.of(field).Level))
		}
	}
	return out
}

// baseline is a level, or "" for what is no baseline signature, whatever name
// a judge has for it.
func baseline(level string) string {
	if strings.Contains(level, "-BASELINE-") {
		return level
	}
	return ""
}

func (v *verdict) reason(field string) string {
	if v.Error != "" {
		return v.Error
	}
	s := v.of(field)
	if s == nil {
		return "not found"
	}
	return s.verdict() + ": " + strings.Join(s.Errors, "; ")
}

// fields are those that any of the three finds.
func fields(all ...*verdict) (out []string) {
	for _, v := range all {
		for _, s := range v.Signatures {
			if !slices.Contains(out, s.Field) {
				out = append(out, s.Field)
			}
		}
	}
	return out
}

// damaged compares with us; and we must notice.
func (r *result) damaged(f *file, o *opinion, note func(judge, what string, counts bool)) {
	base := r.opinions[f.base]
	if f.ext != "" { // not asked
		o.programs.pdfsig, o.programs.mutool = base.programs.pdfsig, base.programs.mutool
	}
	all := fields(&base.ours, &o.ours, &o.dss, &o.pyhanko)
	for _, j := range o.judges()[1:] {
		if f.ext != "" && j.name == "pyHanko" {
			continue
		}
		for _, what := range against(&o.ours, j.v, all) {
			note(j.name, what, false)
		}
	}
	if !o.ours.all(&base.ours) {
		return
	}
	if !f.may {
		note("milterd", "does not notice", true)
	}
	for _, s := range o.programs.worse(&base.programs) {
		note(s, "notices, we do not", false)
	}
}

// worse names the programs that find less in order than before.
func (p *programs) worse(before *programs) (out []string) {
	for _, c := range []struct {
		name  string
		worse bool
	}{{"qpdf", p.qpdf != "" && before.qpdf == ""}, {"pdfsig", p.pdfsig < before.pdfsig}, {"mutool", p.mutool < before.mutool}, {"openssl", p.openssl < before.openssl}} {
		if c.worse {
			out = append(out, c.name)
		}
	}
	return out
}

// foreign compares what all say of a file that we have not touched.
func foreign(o *opinion, note func(judge, what string, counts bool)) {
	for _, j := range o.judges()[1:] {
		for _, what := range against(&o.ours, j.v, fields(&o.ours, &o.dss, &o.pyhanko)) {
			note(j.name, what, false)
		}
	}
}

// difference is a deviation that we know and mean. Patterns are path.Match's; a
// slash is no separator here, as names have none.
type difference struct {
	judge string
	files string // pattern of "group: name"
	what  string // pattern
	says  string // the difference in short, for the page

	// perhaps: whether it is met depends on where, between keys that are new each
	// time, a byte happens to lie.
	perhaps bool
	why     string
}

func (x difference) is(d deviation) bool {
	return x.judge == d.judge && match(x.files, d.file.String()) && match(x.what, d.what)
}

func match(pattern, s string) bool {
	ok, err := path.Match(pattern, strings.ReplaceAll(s, "/", "|"))
	if err != nil {
		panic(err) // patterns are ours
	}
	return ok
}
