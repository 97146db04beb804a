package demo

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The whole job for mail that the milter never saw: its socket is gone, Postfix
// takes the mail of people who have logged in and delivers it by LMTP.
func TestOnceByLMTP(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	people, err := everybody()
	if err != nil {
		t.Fatal(err)
	}
	h, err := start(ctx, Options{Postfix: true}, people, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer h.close()
	if err := os.Remove(filepath.Join(h.dir, "milter.sock")); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	r := &run{house: h, out: &out, dir: t.TempDir(), began: time.Now()}
	for _, d := range []string{"mail", "signed"} {
		if err := os.Mkdir(filepath.Join(r.dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range scenarios(h.people) {
		r.sign(ctx, c)
	}
	log := h.mail.(*Postfix).Log()
	if r.failed != 0 || r.signed != 2 || strings.Count(log, ", relay=mx.corp.test["+h.dir+"/lmtp.sock], ") != 2 {
		t.Errorf("%d signed, %d failed\n%s%s", r.signed, r.failed, out.String(), log)
	}
}
