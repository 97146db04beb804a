package postfix

import (
	"slices"
	"strings"
)

// token is one element of a list in main.cf, and where it stands in the value.
type token struct {
	text       string
	start, end int
}

const separators = ", \t\r\n"

// tokens splits a list as Postfix does: at commas and blanks, with { … } kept
// whole (mystrtokq in its sources). A brace that is never closed lasts to the end.
func tokens(value string) []token {
	var out []token
	start, depth := -1, 0
	for i := range len(value) {
		c := value[i]
		if depth == 0 && strings.IndexByte(separators, c) >= 0 {
			if start >= 0 {
				out = append(out, token{value[start:i], start, i})
				start = -1
			}
			continue
		}
		if start < 0 {
			start = i
		}
		switch {
		case c == '{':
			depth++
		case c == '}' && depth > 0:
			depth--
		}
	}
	if start >= 0 {
		out = append(out, token{value[start:], start, len(value)})
	}
	return out
}

// words are the tokens' texts, with the blanks inside { … } made equal.
func words(value string) []string {
	var out []string
	for _, t := range tokens(value) {
		out = append(out, normal(t.text))
	}
	return out
}

func normal(text string) string { return strings.Join(strings.Fields(text), " ") }

// place is where an element of ours belongs in a list.
type place int

const (
	last     place = iota
	first          // of restrictions the first that decides counts
	anywhere       // the order means nothing
)

func placeOf(parameter string) place {
	switch {
	case strings.HasSuffix(parameter, "_restrictions"):
		return first
	case strings.HasSuffix(parameter, "_milters"):
		return last
	}
	return anywhere
}

// find gives the position of ours within all, or -1.
func find(all, ours []string) int {
	for i := 0; i+len(ours) <= len(all); i++ {
		if slices.Equal(all[i:i+len(ours)], ours) {
			return i
		}
	}
	return -1
}

// plain is what a value comes to that refers to no other parameter: $$ is a $.
func plain(value string) string { return strings.ReplaceAll(value, "$$", "$") }

// stands reports that a list holds ours exactly once and in its place.
func stands(value, ours string, where place) bool {
	all, want := words(value), words(ours)
	at := find(all, want)
	switch {
	case at < 0 || find(all[at+1:], want) >= 0:
		return false
	case where == first:
		return at == 0
	case where == last:
		return at+len(want) == len(all)
	}
	return true
}

// merge puts ours into a list, in its place, and takes out older elements of
// ours. Everything else stays as it is written.
func merge(value, ours string, where place) string {
	all, want := tokens(value), words(ours)
	type span struct{ start, end int }
	var cuts []span
	for i := 0; i+len(want) <= len(all); i++ {
		same := true
		for j, w := range want {
			if t := normal(all[i+j].text); t != w && !supersedes(w, t) {
				same = false
				break
			}
		}
		if same {
			cuts = append(cuts, span{all[i].start, all[i+len(want)-1].end})
			i += len(want) - 1
		}
	}
	for _, c := range slices.Backward(cuts) {
		value = cut(value, c.start, c.end)
	}
	value = strings.Trim(value, separators)
	switch {
	case value == "":
		return ours
	case where == first:
		return ours + ", " + value
	}
	return value + ", " + ours
}

// without takes the elements out of a list that speak of name: the name
// itself, and a check_… restriction whose table has it for an answer.
func without(value, name string) string {
	all := tokens(value)
	for i, t := range slices.Backward(all) {
		start := t.start
		switch {
		case t.text == name:
		case strings.Contains(t.text, name) && i > 0 && strings.HasPrefix(all[i-1].text, "check_"):
			start = all[i-1].start
		default:
			continue
		}
		value = cut(value, start, t.end)
	}
	return strings.Trim(value, separators)
}

// cut takes a span out of a list.
func cut(value string, start, end int) string {
	left, right := strings.TrimRight(value[:start], separators), strings.TrimLeft(value[end:], separators)
	if left != "" && right != "" {
		return left + ", " + right
	}
	return left + right
}

// supersedes reports that an element of a list is an older form of ours: the
// same milter with other settings, or an inline table with no key but ours.
func supersedes(ours, other string) bool {
	if a, b := endpoint(ours), endpoint(other); a != "" && a == b {
		return true
	}
	mine, theirs := inlineKeys(ours), inlineKeys(other)
	if len(mine) == 0 || len(theirs) == 0 {
		return false
	}
	for _, k := range theirs {
		if !slices.Contains(mine, k) {
			return false
		}
	}
	return true
}

// endpoint is the socket of a milter, with or without settings behind it.
func endpoint(element string) string {
	if inner, ok := strings.CutPrefix(element, "{"); ok {
		all := tokens(strings.TrimSuffix(inner, "}"))
		if len(all) == 0 {
			return ""
		}
		element = all[0].text
	}
	if strings.HasPrefix(element, "unix:") || strings.HasPrefix(element, "inet:") || strings.HasPrefix(element, "local:") {
		return strings.Replace(element, "local:", "unix:", 1)
	}
	return ""
}

// inlineKeys are the keys of a table whose entries stand in main.cf itself,
// inline:{ {key = value} … } or regexp:{ {/pattern/ value} … }; none for
// anything else.
func inlineKeys(element string) []string {
	kind, body, _ := strings.Cut(element, ":")
	body, open := strings.CutPrefix(strings.TrimSpace(body), "{")
	body, closed := strings.CutSuffix(body, "}")
	if !open || !closed {
		return nil
	}
	var keys []string
	for _, t := range tokens(body) {
		entry := strings.Trim(t.text, "{} \t")
		switch kind {
		case "inline":
			if key, _, ok := strings.Cut(entry, "="); ok {
				keys = append(keys, strings.TrimSpace(key))
			}
		case "regexp", "pcre":
			if f := strings.Fields(entry); len(f) > 0 {
				keys = append(keys, strings.ReplaceAll(f[0], "$$", "$"))
			}
		}
	}
	return keys
}

// List splits a list of main.cf at commas and blanks, with { … } kept whole.
func List(value string) []string { return words(value) }

// Milters are the sockets in a list of milters, without their settings.
func Milters(value string) []string {
	var out []string
	for _, w := range words(value) {
		if e := endpoint(w); e != "" {
			out = append(out, e)
		} else {
			out = append(out, w)
		}
	}
	return out
}

// Holds reports that a list has an element like ours, wherever.
func Holds(value, ours string) bool { return find(words(value), words(plain(ours))) >= 0 }
