package main

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"

	"milterd/validate"
)

// closing is the line that counts.
func (r *result) closing() string {
	return fmt.Sprintf("conformance: cases=%d failed=%d unexplained=%d", len(r.files), r.failed, r.unexplained)
}

// text is what is printed: the table, what is explained, and what is off.
func (r *result) text() string {
	var b strings.Builder
	for _, row := range r.rows() {
		fmt.Fprintf(&b, "%s\n", strings.Join(row, " | "))
	}
	b.WriteByte('\n')
	for _, d := range r.deviations {
		if d.why == "" {
			fmt.Fprintf(&b, "UNEXPLAINED  %s\n    %s: %s\n", d.file, d.judge, d.what)
		}
	}
	for _, x := range r.unseen {
		fmt.Fprintf(&b, "UNEXPLAINED  declared, but not met: %s, %s, %s\n", x.judge, x.files, x.what)
	}
	return b.String()
}

var columns = []string{"file", "milterd", "DSS", "pyHanko", "pdfsig", "mutool", "openssl", "qpdf"}

// rows are the table, a line for each file.
func (r *result) rows() [][]string {
	var out [][]string
	for _, f := range r.files {
		out = append(out, append([]string{f.String()}, r.cells(f)...))
	}
	return out
}

// noticed tells who notices a damage, in the order of the columns.
func (r *result) noticed(f *file) []bool {
	o, base := r.opinions[f], r.opinions[f.base]
	var out []bool
	for i, j := range o.judges() {
		out = append(out, !j.v.all(base.judges()[i].v))
	}
	worse := o.programs.worse(&base.programs)
	for _, name := range columns[4:] {
		out = append(out, slices.Contains(worse, name))
	}
	return out
}

// cells are what each says of a file.
func (r *result) cells(f *file) []string {
	o := r.opinions[f]
	var out []string
	for _, j := range o.judges() {
		out = append(out, j.v.summary())
	}
	if f.ext != "" {
		out[2] = "–" // pyHanko
	}
	if f.base != nil {
		for _, yes := range r.noticed(f)[3:] {
			out = append(out, map[bool]string{false: "-", true: "notices"}[yes])
		}
		return out
	}
	p := &o.programs
	if f.ext != "" {
		return append(out, "–", "–", fmt.Sprintf("%d of %d", p.openssl, p.signatures+p.stamps), "–")
	}
	out = append(out, fmt.Sprintf("%d of %d", p.pdfsig, p.signatures), fmt.Sprintf("%d of %d", p.mutool, p.signatures), fmt.Sprintf("%d of %d", p.openssl, p.signatures+p.stamps))
	out = append(out, map[bool]string{true: "clean", false: "complains"}[p.qpdf == ""])
	if f.group != "inputs" {
		return out
	}
	if o.pictures == nil {
		return append(out, "", "")
	}
	return append(out, o.pictures.String(), words(&o.pdfa[0], &o.pdfa[1]))
}

// summary counts equal verdicts.
func (v *verdict) summary() string {
	if v.Error != "" {
		return "refused"
	}
	var order []string
	count := map[string]int{}
	for _, s := range v.Signatures {
		text := s.verdict()
		if s.Level != "" {
			text += " " + short(validate.Level(s.Level))
		}
		if s.Kind != "signature" {
			text = "time " + text
		}
		if count[text]++; count[text] == 1 {
			order = append(order, text)
		}
	}
	for i, text := range order {
		if n := count[text]; n > 1 {
			order[i] = fmt.Sprintf("%d × %s", n, text)
		}
	}
	if len(order) == 0 {
		return "no signature"
	}
	return strings.Join(order, ", ")
}

const head = `# What other validators say of our files

` + "`make conformance`" + ` makes a file of every kind that milterd produces, with milterd's own packages, damages some of them, and has all of them judged by
validators that know nothing of us. This page is what it printed last; it is written by ` + "`go run ./conformance`" + `, not by hand. It wants the closing line with two zeros.

    %s

## The judges

| judge | version | what it decides |
|---|---|---|
| EU DSS, the validator of the European Commission | %s | indication and exact level of each signature, under its **default policy, unchanged** |
| pyHanko | %s | indication after ETSI EN 319 102-1, by the process for the signature's form; changes after a signature by its default rules; strict reading |
| milterd (package ` + "`validate`" + `) | this one | the same, and what changed since |
| pdfsig, mutool, openssl, qpdf, xmlsec1 | %s | second opinions: signatures as readers see them, each CMS with its CAdES attributes, each document timestamp, the structure; of XAdES, in the column of openssl, xmlsec1 verifies the signatures and openssl the archive timestamps |
| veraPDF | %s | whether a document that was PDF/A still is |

All are given the file, the trusted roots (ours; the foreign timestamp authority's where it is used; the certificates of others where others signed before) and no network.
Revocation data comes from the file alone. Only rows that say "with the published CRLs" get more: a B-B or B-T signature holds none by definition, so what
its certificate's address would give is handed over as a file. Without that, all three must say INDETERMINATE, and do.

What had to be set: in DSS the sources for AIA, OCSP and CRL are taken away, because nothing may be fetched, and it draws no pages to compare them (its policy would only warn of what
looks different, as every further visible signature does, and drawing is slow); the policy is as it came. In pyHanko: revocation data is demanded for every
certificate below a root, nothing may be fetched, and a change that its rules do not allow counts as INDETERMINATE / SIG_CONSTRAINTS_FAILURE, because its indication leaves changes out.

CAdES signatures and ASiC containers are for DSS and openssl to judge: pyHanko and the other programs read PDF. openssl is asked about each CMS with its CAdES attributes and the
content that it signs, and about each archive timestamp; of one inside of a signature it says that its token holds, and DSS alone what the token is over.

A **case** is one file. It has *failed* if somebody does not say of a good file what it was made to be, or if we do not notice damage. A difference on a damaged file is
*unexplained* unless ` + "`conformance/differences.go`" + ` declares it with its reason; a declared one that is not met any more is unexplained, too.

`

// abouts say what a table needs to be read.
var abouts = map[string]string{
	"inputs": `Samples of ` + "`testdata/pdf`" + ` (each an oddity of the format) and of ` + "`testdata/producers`" + ` (each made by another program, see its README), and two large ones that each run makes anew.
Each is signed on behalf of one person, and sealed. **pages drawn**: poppler draws every page as it came and as it left, and the pictures are equal dot for dot, outside of what signing
adds: the signature and paraph fields, and the line at the top edge. **veraPDF**: says whether a document that was PDF/A still is.

`,
}

// unsigned is said before the single bytes.
const unsigned = `"A byte: …" is one changed bit, at a kind of place that is found by reading the file, so every run tries the same. **Not every byte of a file is signed by something**: of the
newest message, here the document timestamp, nothing signs the copies of certificates that it carries. Where the DSS holds the same certificates, a changed bit in such a copy changes nothing that
matters, and may go unnoticed: by us, and here and there by each of the others, who take the copy for the certificate. So can a hexadecimal digit that becomes a small letter from a large one. That is all: ` + "`validate/everybyte_test.go`" + ` changes bits all over an
archived file, and each that goes unnoticed lies there. In every older message these bytes are covered by what came later.
(A B-LT file ends in its DSS, which nothing signs by the definition of that level: what counts in it is signed by its issuers.)

`

// page is docs/conformance.md.
func (r *result) page(m *maker) string {
	var b strings.Builder
	fmt.Fprintf(&b, head, r.closing(), pinned("conformance/dss/pom.xml", `<dss.version>(.+)</dss.version>`), pinned("conformance/pyhanko/requirements.txt", `(?i)pyhanko==(.+)`), programVersions(), pinned("conformance/verapdf/pom.xml", `<verapdf.version>(.+)</verapdf.version>`))
	titles := map[string]string{
		"key types": "Every level with every kind of key",
		"product":   "What the product makes, as it is after each step",
		"inputs":    "Every kind of PDF that can be signed here",
		"demo":      "What the people of the demo get by mail",
	}
	group := ""
	for _, f := range r.files {
		if f.group != group {
			group = f.group
			title, ok := titles[group]
			if !ok {
				title = strings.ToUpper(group[:1]) + group[1:]
			}
			heads, about := columns, abouts[group]
			if f.base != nil && strings.HasPrefix(f.base.name, "Standard, 1 signed") {
				about = unsigned
			}
			if group == "inputs" {
				heads = append(slices.Clone(columns), "pages drawn", "veraPDF")
			}
			fmt.Fprintf(&b, "\n## %s\n\n%s| %s |\n|%s\n", title, about, strings.Join(heads, " | "), strings.Repeat("---|", len(heads)))
		}
		fmt.Fprintf(&b, "| %s | %s |\n", f.name, strings.Join(r.cells(f), " | "))
	}
	r.explain(&b)
	r.warnings(&b)
	b.WriteString("\n## Inputs that are refused\n\nThese samples of `testdata/pdf` are refused before anything is signed, so there is nothing to judge:\n\n")
	by := map[string][]string{}
	for _, x := range m.refused {
		by[x.reason] = append(by[x.reason], x.name)
	}
	for _, reason := range slices.Sorted(maps.Keys(by)) {
		fmt.Fprintf(&b, "- %s: %s\n", reason, strings.Join(by[reason], ", "))
	}
	return b.String()
}

// explain lists every difference with its reason.
func (r *result) explain(b *strings.Builder) {
	b.WriteString("\n## Where they differ, and why\n\n")
	if len(r.deviations) == 0 {
		b.WriteString("Nowhere.\n")
		return
	}
	b.WriteString("| judge | files | what | why |\n|---|---|---|---|\n")
	for _, x := range declared {
		n := 0
		names := []string{}
		for _, d := range r.deviations {
			if d.why != "" && x.is(d) {
				if n++; !slices.Contains(names, d.file.name) {
					names = append(names, d.file.name)
				}
			}
		}
		if len(names) > 4 {
			names = append(names[:3], fmt.Sprintf("and %d more", len(names)-3))
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", x.judge, strings.Join(names, "; "), x.says, x.why)
	}
	for _, d := range r.deviations {
		if d.why == "" {
			fmt.Fprintf(b, "| %s | %s | %s | **UNEXPLAINED** |\n", d.judge, d.file, strings.ReplaceAll(d.what, "|", "/"))
		}
	}
}

// warnings counts what DSS remarks on good files without thinking less of them.
func (r *result) warnings(b *strings.Builder) {
	count := map[string]int{}
	for _, f := range r.files {
		if f.base != nil || f.signatures == 0 {
			continue
		}
		var seen []string
		for _, s := range r.opinions[f].dss.Signatures {
			for _, w := range s.Warnings {
				w = pagesNamed.ReplaceAllString(w, "page(s) […]")
				if !slices.Contains(seen, w) && !strings.Contains(f.indication, indeterminate) {
					seen = append(seen, w)
					count[w]++
				}
			}
		}
	}
	b.WriteString("\n## What DSS remarks on good files\n\nWarnings of its default policy; the verdict is TOTAL-PASSED all the same.\n\n")
	for _, w := range slices.Sorted(maps.Keys(count)) {
		fmt.Fprintf(b, "- in %d files: %s%s\n", count[w], w, remarks[w])
	}
}

var pagesNamed = regexp.MustCompile(`page\(s\) \[[^]]*\]`)

// remarks say what a warning comes from.
var remarks = map[string]string{}

func pinned(path, pattern string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return "?"
	}
	m := regexp.MustCompile(pattern).FindSubmatch(b)
	if m == nil {
		return "?"
	}
	return string(m[1])
}

// programVersions names Debian's programs with their versions.
func programVersions() string {
	var out []string
	for _, p := range [][]string{{"pdfsig", "-v"}, {"mutool", "-v"}, {"openssl", "version"}, {"qpdf", "--version"}, {"xmlsec1", "--version"}} {
		text, _ := exec.Command(p[0], p[1:]...).CombinedOutput() // -v of pdfsig and mutool has an exit status of its own
		out = append(out, p[0]+" "+regexp.MustCompile(`\d[\w.]+`).FindString(string(text)))
	}
	return strings.Join(out, ", ")
}
