package report

import (
	"embed"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"
)

//go:embed words/*.json
var catalogues embed.FS

// words are a language's sentences by key.
type words map[string]string

// languages holds every catalogue; a broken one is a mistake in the source.
var languages = sync.OnceValue(func() map[string]words {
	out := make(map[string]words)
	for _, lang := range []string{"en", "de", "fr"} {
		b, err := catalogues.ReadFile("words/" + lang + ".json")
		if err != nil {
			panic(err)
		}
		var w words
		if err := json.Unmarshal(b, &w); err != nil {
			panic(fmt.Errorf("report/words/%s.json: %w", lang, err))
		}
		out[lang] = w
	}
	return out
})

// speak gives the catalogue of a BCP 47 tag, English for others.
func speak(tag string) words {
	base, _, _ := strings.Cut(strings.ToLower(tag), "-")
	if w, ok := languages()[base]; ok {
		return w
	}
	return languages()["en"]
}

// say gives a sentence with its values; a key without words shows itself.
func (w words) say(key string, args ...any) string {
	s, ok := w[key]
	if !ok {
		return key
	}
	if len(args) == 0 {
		return s
	}
	return fmt.Sprintf(s, args...)
}

// when is a time to the second, in UTC, the same in every language.
func when(t time.Time) string {
	if t.IsZero() {
		return "–"
	}
	return t.UTC().Format("2006-01-02 15:04:05 UTC")
}
