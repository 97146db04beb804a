package web

import (
	"encoding/json"
	"os"
	"testing"

	"milterd/signature/pdf"
)

// TestNotes: every note that inspection can make has words in every language.
func TestNotes(t *testing.T) {
	for _, lang := range []string{"en", "de", "fr"} {
		b, err := os.ReadFile("static/i18n/" + lang + ".json")
		if err != nil {
			t.Fatal(err)
		}
		var words map[string]string
		if err := json.Unmarshal(b, &words); err != nil {
			t.Fatal(err)
		}
		for _, key := range pdf.NoteKeys {
			if words["note."+key] == "" {
				t.Errorf("%s has no words for %q", lang, key)
			}
		}
	}
}
