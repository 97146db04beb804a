package mailparse

import (
	"bytes"
	"encoding/base64"
	"io"
	"strings"
	"testing"

	"github.com/emersion/go-message/textproto"
)

// FuzzBase64: a document in base64 is what the standard decoder makes of it once
// blanks are taken out, or it is refused. The standard one reads piece by piece.
func FuzzBase64(f *testing.F) {
	for _, s := range []string{
		"", "QUJD\r\nQUI=\r\n", "  QUJD\r\n\tQU JD \r\n", "QU\rJD\n\n", "QQ==\r\nQUJD", "QUJ", "QUJD!", "=", "====", " \t\r\n",
		strings.Repeat("QUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJD\r\n", 50),
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, coded []byte) {
		var h textproto.Header
		h.Set("Content-Transfer-Encoding", " BASE64 ")
		w := &walk{}
		for range 2 { // the second document finds what the first has left behind
			got, err := w.decode(h, bytes.NewReader(coded), "x")
			want, wrong := io.ReadAll(base64.NewDecoder(base64.StdEncoding,
				strings.NewReader(strings.NewReplacer(" ", "", "\t", "").Replace(string(coded)))))
			if (err == nil) != (wrong == nil) || err == nil && !bytes.Equal(got, want) {
				t.Fatalf("%q: %q, %v; want %q, %v", coded, got, err, want, wrong)
			}
		}
	})
}
