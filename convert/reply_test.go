package convert

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"milterd/workflow"
)

// FuzzReply: whatever comes out of the sandbox, it is a PDF of the size that it
// says, or a refusal with a sentence, and fills no log.
func FuzzReply(f *testing.F) {
	for _, s := range []string{
		`{"outcome":"done","size":9}` + "\n%PDF-1.7\n", `{"outcome":"done","size":8}` + "\n%PDF-1.7\n", `{"outcome":"done","size":3}` + "\nPK\x03",
		`{"outcome":"failed","said":"` + strings.Repeat("é", 1000) + `"}` + "\n", `{"outcome":"no sandbox","said":"no"}` + "\n", `{"outcome":"too long"}` + "\n", `{"outcome":"points"}` + "\n",
		`{"outcome":"","size":-1}` + "\n", "\n", "", "null\n", `{"outcome":"done","size":1e3}` + "\n",
	} {
		f.Add([]byte(s))
	}
	c := New(Config{})
	f.Fuzz(func(t *testing.T, said []byte) {
		r, pdf, ok := readReply(said)
		if !ok {
			return
		}
		out, err := c.outcome(r, pdf)
		var refusal *workflow.Refusal
		switch {
		case err == nil && (!bytes.HasPrefix(out, []byte("%PDF-")) || len(out) != r.Size || len(out) > MaxPDF):
			t.Errorf("%q is taken for a PDF", out)
		case err != nil && (!errors.As(err, &refusal) || refusal.Text == "" || refusal.Code/100 != 4 && refusal.Code/100 != 5):
			t.Errorf("no sentence: %v", err)
		case err != nil && len(err.Error()) > maxSaid+400:
			t.Errorf("%d bytes for the log", len(err.Error()))
		}
	})
}
