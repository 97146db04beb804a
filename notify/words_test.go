package notify

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"testing"
	"time"

	"golang.org/x/text/language"
)

// catalogue reads one language as it stands in its file: each sentence under
// its id and plural form.
func catalogue(t *testing.T, tag language.Tag) map[string]string {
	t.Helper()
	b, err := catalogues.ReadFile("words/" + tag.String() + ".json")
	if err != nil {
		t.Fatal(err)
	}
	var raw map[string]any
	if err := json.Unmarshal(b, &raw); err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for id, v := range raw {
		switch v := v.(type) {
		case string:
			out[id] = v
		case map[string]any:
			for form, s := range v {
				out[id+" "+form] = s.(string)
			}
		}
	}
	return out
}

func TestCataloguesSayTheSame(t *testing.T) {
	placeholder := regexp.MustCompile(`\.[A-Z]\w*`)
	placeholders := func(s string) string {
		found := placeholder.FindAllString(s, -1)
		slices.Sort(found)
		return fmt.Sprint(slices.Compact(found))
	}
	english := catalogue(t, language.English)
	for _, tag := range languages[1:] {
		other := catalogue(t, tag)
		for id, s := range english {
			if other[id] == "" {
				t.Errorf("%s lacks %q", tag, id)
			} else if a, b := placeholders(s), placeholders(other[id]); a != b {
				t.Errorf("%s %q fills %s, English %s", tag, id, b, a)
			}
		}
		for id := range other {
			if english[id] == "" {
				t.Errorf("%s has %q, English has not", tag, id)
			}
		}
	}
}

// In French no name or organisation stands behind a word that some of them elide.
func TestFrenchElisions(t *testing.T) {
	elided := regexp.MustCompile(`(?i)\b(de|que|jusque)\s\{\{|[’']\{\{`)
	for id, s := range catalogue(t, language.French) {
		if elided.MatchString(s) {
			t.Errorf("%s: %q", id, s)
		}
	}
}

func TestLanguageOfAPerson(t *testing.T) {
	for lang, want := range map[string]string{
		"en": "en", "de": "de", "fr": "fr", "de-AT": "de", "fr_CA": "fr", "DE": "de", "lb": "de", "ja": "en", "": "en", "\r\nBcc: x": "en",
	} {
		if got := speak(lang).tag.String(); got != want {
			t.Errorf("%q is spoken to in %s, want %s", lang, got, want)
		}
	}
}

func TestDatesAndSizes(t *testing.T) {
	at := time.Date(2027, 3, 1, 0, 30, 0, 0, time.FixedZone("CET", 3600)) // still February in UTC
	for lang, want := range map[string][]string{
		"en": {"28 February 2027, 23:30 UTC", "1 March 2027, 23:30 UTC", "1 kB", "999 kB", "1.0 MB", "12.4 MB", "1 page", "0 pages"},
		"de": {"28. Februar 2027, 23:30 Uhr UTC", "1. März 2027, 23:30 Uhr UTC", "1 kB", "999 kB", "1,0 MB", "12,4 MB", "1 Seite", "0 Seiten"},
		"fr": {"28 février 2027 à 23:30 UTC", "1er mars 2027 à 23:30 UTC", "1 ko", "999 ko", "1,0 Mo", "12,4 Mo", "1 page", "0 page"},
	} {
		w := speak(lang)
		got := []string{w.date(at), w.date(at.AddDate(0, 0, 1)), w.size(1), w.size(999_000), w.size(999_001), w.size(12_345_678),
			w.count("pages", 1, nil), w.count("pages", 0, nil)}
		if !slices.Equal(got, want) || w.err != nil {
			t.Errorf("%s: got %q, want %q (%v)", lang, got, want, w.err)
		}
	}
}
