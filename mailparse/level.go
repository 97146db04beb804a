package mailparse

import (
	"regexp"
	"strings"
	"unicode"

	"milterd/workflow"
)

var (
	bracketed = regexp.MustCompile(`\[[^\[\]]*\]`)
	// Reply and forward marks of mail clients in the languages around us, with
	// Outlook's counters: Re:, RE[2]:, AW:, TR :, Fwd:.
	prefix = regexp.MustCompile(`(?i)^\s*(re|aw|antw|antwort|sv|vs|r|rif|res|fw|fwd|wg|tr|rv|enc|doorst|i|pd|odp)\s*(\[\d+\]|\(\d+\))?\s*[:：]`)
)

// SubjectLevel finds the level that a decoded subject names: in square brackets
// anywhere, or as the bare first or last word behind reply and forward marks.
// "" if it names none; a *workflow.Refusal if it names two.
func SubjectLevel(subject string) (workflow.Level, error) {
	var named []workflow.Level
	bare := subject
	for again := true; again; {
		again = false
		// A mark is short. Given all that follows, the matcher would look at
		// the whole rest for each of thousands of marks.
		if p := prefix.FindString(bare[:min(len(bare), 64)]); p != "" {
			bare, again = bare[len(p):], true
		}
		if t := strings.TrimSpace(bare); strings.HasPrefix(t, "[") {
			if end := strings.IndexAny(t[1:], "[]"); end >= 0 && t[1+end] == ']' {
				bare, again = t[end+2:], true
			}
		}
	}
	for _, b := range bracketed.FindAllString(subject, -1) {
		if l, ok := workflow.ParseLevel(strings.TrimSpace(b[1 : len(b)-1])); ok {
			named = append(named, l)
		}
	}
	words := strings.Fields(bracketed.ReplaceAllString(bare, " "))
	for _, at := range []int{0, len(words) - 1} {
		if at < 0 || at >= len(words) {
			continue
		}
		if l, ok := workflow.ParseLevel(strings.TrimFunc(words[at], notLetter)); ok {
			named = append(named, l)
		}
	}
	if len(named) == 0 {
		return "", nil
	}
	for _, l := range named[1:] {
		if l != named[0] {
			return "", errTwoLevels(named[0], l)
		}
	}
	return named[0], nil
}

// SubjectForm finds the form of signatures that a decoded subject names, in square
// brackets anywhere: [asic]. A bare word is none. "" if it names none; a
// *workflow.Refusal if it names two.
func SubjectForm(subject string) (form workflow.Form, err error) {
	for _, b := range bracketed.FindAllString(subject, -1) {
		f, ok := workflow.ParseForm(strings.TrimSpace(b[1 : len(b)-1]))
		if ok && form != "" && f != form {
			return "", errTwoForms(form, f)
		}
		if ok {
			form = f
		}
	}
	return form, nil
}

// subjectName makes a file name's stem of a subject: without marks and what stands
// in brackets.
func subjectName(subject string) string {
	subject = bracketed.ReplaceAllString(subject, " ")
	for p := prefix.FindString(subject[:min(len(subject), 64)]); p != ""; p = prefix.FindString(subject[:min(len(subject), 64)]) {
		subject = subject[len(p):]
	}
	return strings.Join(strings.Fields(strings.NewReplacer("/", "-", `\`, "-", ":", " ").Replace(subject)), " ")
}

func notLetter(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }
