package returned

import (
	"bytes"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"time"
)

func TestBox(t *testing.T) {
	dir, master := t.TempDir(), bytes.Repeat([]byte{7}, 32)
	b, err := New(dir, master)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	b.now = func() time.Time { return now }
	tag := b.Tag()
	if len(tag) != 32 || tag != strings.ToLower(tag) || tag == b.Tag() {
		t.Errorf("tag %q", tag)
	}
	other, err := New(dir, bytes.Repeat([]byte{8}, 32))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		box  *Box
		tag  string
		want bool
	}{
		"ours":          {b, tag, true},
		"ours shouted":  {b, strings.ToUpper(tag), true},
		"other key":     {other, tag, false},
		"other nonce":   {b, tag[:9] + string('a'+(tag[9]-'a'+1)%2) + tag[10:], false},
		"short":         {b, tag[:31], false},
		"empty":         {b, "", false},
		"path":          {b, "../../../../../../etc/cron.d/xx", false},
		"not base32":    {b, strings.Repeat("!", 32), false},
		"of all zeroes": {b, strings.Repeat("a", 32), false},
	} {
		if got := c.box.Known(c.tag); got != c.want {
			t.Errorf("%s: known %v", name, got)
		}
		if err := c.box.Keep(c.tag, []byte("x")); (err == nil) != c.want {
			t.Errorf("%s: kept: %v", name, err)
		}
	}
	if raw, err := b.Take(tag); err != nil || string(raw) != "x" {
		t.Errorf("taken %q, %v", raw, err)
	}
	if _, err := b.Take(tag); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("taken twice: %v", err)
	}
	if err := b.Keep(tag, make([]byte, maxMail+1)); err != nil {
		t.Fatal(err)
	}
	if raw, err := b.Take(tag); err != nil || len(raw) != maxMail {
		t.Errorf("%d bytes, %v", len(raw), err)
	}
	for range maxKept {
		if err := b.Keep(b.Tag(), nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Keep(tag, nil); err == nil {
		t.Error("any number is kept")
	}
	now = now.Add(lifetime + time.Second)
	if b.Known(tag) {
		t.Error("a tag holds for ever")
	}
	if err := b.Keep(b.Tag(), nil); err != nil {
		t.Errorf("old ones are in the way: %v", err)
	}
	if _, err := New(dir, []byte("short")); err == nil {
		t.Error("a short key is taken")
	}
}
