package notify

import (
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nicksnyder/go-i18n/v2/i18n"
	"golang.org/x/text/language"
)

//go:embed words/*.json
var catalogues embed.FS

// English comes first: it is what unknown languages get.
var languages = []language.Tag{language.English, language.German, language.French}

// Both are made when the first mail needs them: every child process that reads a
// document has this package in it, too.
var (
	bundle  = sync.OnceValue(mustLoad)
	matcher = sync.OnceValue(func() language.Matcher { return language.NewMatcher(languages) })
)

// mustLoad panics only for a catalogue that was built into the binary broken.
func mustLoad() *i18n.Bundle {
	b := i18n.NewBundle(language.English)
	b.RegisterUnmarshalFunc("json", json.Unmarshal)
	for _, tag := range languages {
		if _, err := b.LoadMessageFileFS(catalogues, "words/"+tag.String()+".json"); err != nil {
			panic(fmt.Sprintf("catalogue of mails: %v", err))
		}
	}
	return b
}

// data fills the placeholders of a sentence.
type data map[string]any

// words speaks one language. The first sentence that could not be said is
// kept in err, so that callers ask once, at the end.
type words struct {
	tag       language.Tag
	localizer *i18n.Localizer
	err       error
}

// speak chooses the language of a person: BCP 47, or anything unreadable,
// which is English.
func speak(lang string) *words {
	_, i := language.MatchStrings(matcher(), lang)
	return &words{tag: languages[i], localizer: i18n.NewLocalizer(bundle(), languages[i].String())}
}

// say gives a sentence.
func (w *words) say(id string, d data) string {
	return w.localize(&i18n.LocalizeConfig{MessageID: id, TemplateData: d})
}

// count gives a sentence in the form for n things; n is also its N.
func (w *words) count(id string, n int, d data) string {
	if d == nil {
		d = data{}
	}
	d["N"] = n
	return w.localize(&i18n.LocalizeConfig{MessageID: id, TemplateData: d, PluralCount: n})
}

func (w *words) localize(c *i18n.LocalizeConfig) string {
	s, err := w.localizer.Localize(c)
	if err != nil {
		w.err = errors.Join(w.err, fmt.Errorf("%s in %s: %w", c.MessageID, w.tag, err))
	}
	return s
}

// date gives day and minute in UTC, which the sentence names: the reader's own
// time zone is not known.
func (w *words) date(t time.Time) string {
	t = t.UTC()
	return w.say("date", data{
		"Day": t.Day(), "Month": w.say("month."+strconv.Itoa(int(t.Month())), nil), "Year": t.Year(), "Time": t.Format("15:04"),
	})
}

// size gives decimal kilobytes or megabytes, rounded up.
func (w *words) size(n int64) string {
	if n < 999_001 {
		return w.say("size.kb", data{"Size": (n + 999) / 1000})
	}
	tenths := (n + 99_999) / 100_000
	return w.say("size.mb", data{"Whole": tenths / 10, "Tenth": tenths % 10})
}
