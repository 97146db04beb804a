package asic_test

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"milterd/signature/asic"
	"milterd/signature/cades"
	"milterd/signature/cms"
	"milterd/signature/cms/cmstest"
)

var now = time.Date(2026, 11, 23, 9, 45, 0, 0, time.UTC)

var files = []asic.File{
	{Name: "contract.txt", MIME: "text/plain", Content: []byte("We, the undersigned, agree.\r\n")},
	{Name: "annexes/Öl & Gas.csv", Content: bytes.Repeat([]byte("1;2;3\n"), 1000)},
}

type fixture struct {
	ca, seal *cmstest.Identity
	tsa      *cmstest.TSA
}

func newFixture(t testing.TB) *fixture {
	ca := cmstest.Root(t, now).CA(t, now)
	return &fixture{ca, ca.Signer(t, now, cmstest.P256, nil), ca.TSA(t, func() time.Time { return now.Add(time.Second) })}
}

func (f *fixture) params() cades.Params { return cades.Params{Certificate: f.seal.Cert, Time: now} }

// container is a signed one.
func (f *fixture) container(t testing.TB, kind asic.Kind, files []asic.File) []byte {
	t.Helper()
	s, err := asic.Sign(context.Background(), kind, files, 1, f.params(), f.seal.Key, f.tsa)
	if err != nil {
		t.Fatal(err)
	}
	data, err := asic.Build(kind, files, []asic.Signature{*s})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// What is made is read again as it was meant, the same input gives the same bytes,
// mimetype stands where other programs look for it, and archive/zip and unzip
// agree.
func TestBuild(t *testing.T) {
	f := newFixture(t)
	data := f.container(t, asic.Extended, files)
	c, err := asic.Open(data)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range c.Entries {
		names = append(names, e.Name)
	}
	want := []string{"mimetype", "contract.txt", "annexes/Öl & Gas.csv", "META-INF/ASiCManifest001.xml", "META-INF/signature001.p7s"}
	if !slices.Equal(names, want) || c.Kind != asic.Extended {
		t.Errorf("%s with %q", c.Kind, names)
	}
	if got := string(data[30 : 38+len(c.Kind.MIME())]); got != "mimetype"+c.Kind.MIME() {
		t.Errorf("at byte 30 stands %q", got)
	}
	if e := c.Find("annexes/Öl & Gas.csv"); e == nil || !bytes.Equal(e.Content, files[1].Content) {
		t.Error("a document is not what it was")
	}
	alike(t, data, c)
	if n := len(data); n > 6000 {
		t.Errorf("%d bytes: not compressed?", n)
	}
}

// alike compares with archive/zip.
func alike(t *testing.T, data []byte, c *asic.Container) {
	t.Helper()
	r, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatalf("archive/zip: %v", err)
	}
	n := 0
	for _, f := range r.File {
		if strings.HasSuffix(f.Name, "/") {
			continue
		}
		in, err := f.Open()
		if err != nil {
			t.Fatalf("archive/zip: %q: %v", f.Name, err)
		}
		b, err := io.ReadAll(in)
		if err != nil {
			t.Fatalf("archive/zip: %q: %v", f.Name, err)
		}
		if n >= len(c.Entries) || c.Entries[n].Name != f.Name || !bytes.Equal(c.Entries[n].Content, b) {
			t.Fatalf("archive/zip reads another %q", f.Name)
		}
		n++
	}
	if n != len(c.Entries) {
		t.Fatalf("archive/zip reads %d files, we %d", n, len(c.Entries))
	}
}

// Two people prepare at once, each keeps the preparation as JSON, and the second
// finishes first.
func TestParallel(t *testing.T) {
	f := newFixture(t)
	ctx := context.Background()
	var kept [][]byte
	for n := 1; n <= 2; n++ {
		p, err := asic.Prepare(asic.Extended, files, n, f.params())
		if err != nil {
			t.Fatal(err)
		}
		b, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		kept = append(kept, b)
	}
	slices.Reverse(kept)
	var done []asic.Signature
	for _, b := range kept {
		var p asic.Preparation
		if err := json.Unmarshal(b, &p); err != nil {
			t.Fatal(err)
		}
		value, err := p.Signature.SignWith(f.seal.Key)
		if err != nil {
			t.Fatal(err)
		}
		s, err := p.Finish(ctx, value, f.tsa)
		if err != nil {
			t.Fatal(err)
		}
		// A provider gives the whole message.
		again, err := p.FinishCMS(ctx, s.CMS, nil)
		if err != nil || !bytes.Equal(again.CMS, s.CMS) || again.Number != p.Number {
			t.Errorf("a provider's message: %v", err)
		}
		done = append(done, *s)
	}
	data, err := asic.Build(asic.Extended, files, done)
	if err != nil {
		t.Fatal(err)
	}
	again, err := asic.Build(asic.Extended, files, []asic.Signature{done[1], done[0]})
	if err != nil || !bytes.Equal(again, data) {
		t.Errorf("the order of the signatures changes the container: %v", err)
	}
	c, err := asic.Open(data)
	if err != nil {
		t.Fatal(err)
	}
	all := c.Signed()
	if len(all) != 2 || all[0].Problem != nil || all[1].Problem != nil || all[0].Over.Name == all[1].Over.Name {
		t.Errorf("%+v", all)
	}
}

// What no container can be made of.
func TestBuildRefused(t *testing.T) {
	f := newFixture(t)
	s, err := asic.Sign(context.Background(), asic.Extended, files, 1, f.params(), f.seal.Key, nil)
	if err != nil {
		t.Fatal(err)
	}
	changed := slices.Clone(files)
	changed[0].Content = []byte("other")
	more := append(slices.Clone(files), asic.File{Name: "more.txt"})
	other := *s
	other.Manifest = bytes.Replace(s.Manifest, []byte("text/plain"), []byte("text/html"), 1)
	for name, c := range map[string]struct {
		files []asic.File
		sigs  []asic.Signature
		want  error
	}{
		"another document":  {changed, []asic.Signature{*s}, cms.ErrDigest},
		"a document more":   {more, []asic.Signature{*s}, cms.ErrDigest},
		"a document less":   {files[:1], []asic.Signature{*s}, cms.ErrDigest},
		"another manifest":  {files, []asic.Signature{other}, cms.ErrDigest},
		"one number twice":  {files, []asic.Signature{*s, *s}, nil},
		"nobody's":          {files, nil, nil},
		"nothing to sign":   {nil, []asic.Signature{*s}, nil},
		"a name of our own": {[]asic.File{{Name: "meta-inf/x"}}, []asic.Signature{*s}, asic.ErrFormat},
		"mimetype":          {[]asic.File{{Name: "mimetype"}}, []asic.Signature{*s}, asic.ErrFormat},
		"a path upwards":    {[]asic.File{{Name: "../x"}}, []asic.Signature{*s}, asic.ErrFormat},
		"a name twice":      {append(slices.Clone(files), files[0]), []asic.Signature{*s}, nil},
	} {
		if _, err := asic.Build(asic.Extended, c.files, c.sigs); err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if _, err := asic.Prepare(asic.Simple, files, 1, f.params()); err == nil {
		t.Error("ASiC-S of two documents")
	}
	if _, err := asic.Prepare(asic.Extended, files, 1000, f.params()); err == nil {
		t.Error("number 1000")
	}
}

// zipOf writes pairs of a name, or a header, and content. What has only a name is
// stored, with its sizes in front.
func zipOf(t testing.TB, comment string, entries ...any) []byte {
	t.Helper()
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for i := 0; i+1 < len(entries); i += 2 {
		var part io.Writer
		var err error
		switch h := entries[i].(type) {
		case string:
			part, err = w.CreateRaw(header(h, entries[i+1].(string)))
		case *zip.FileHeader:
			part, err = w.CreateHeader(h)
		}
		if err == nil {
			_, err = part.Write([]byte(entries[i+1].(string)))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.SetComment(comment); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// header is that of a stored file, with its sizes in front.
func header(name, content string) *zip.FileHeader {
	return &zip.FileHeader{Name: name, Flags: 1 << 11, CRC32: crc32.ChecksumIEEE([]byte(content)), UncompressedSize64: uint64(len(content)), CompressedSize64: uint64(len(content))}
}

const mime = "application/vnd.etsi.asic-e+zip"

// Everything by which two readers could see two containers, or one be exhausted.
func TestOpenRefused(t *testing.T) {
	good := zipOf(t, "", "mimetype", mime, "a.txt", "content", "META-INF/x.xml", "<x/>")
	if _, err := asic.Open(good); err != nil {
		t.Fatal(err)
	}
	flip := func(at int, b ...byte) []byte {
		out := bytes.Clone(good)
		copy(out[at:], b)
		return out
	}
	central := bytes.Index(good, []byte("PK\x01\x02"))
	second := central + 46 + len("mimetype")
	local := bytes.Index(good[4:], []byte("PK\x03\x04")) + 4
	end := len(good) - 22
	deflated := &zip.FileHeader{Name: "mimetype", Method: zip.Deflate}
	for name, c := range map[string]struct {
		data []byte
		want error
	}{
		"nothing":                          {nil, asic.ErrFormat},
		"no ZIP":                           {[]byte("%PDF-1.7 and so on, long enough for a record"), asic.ErrFormat},
		"bytes before":                     {append([]byte("#!/bin/sh\n"), good...), asic.ErrFormat},
		"bytes behind":                     {append(bytes.Clone(good), "more"...), asic.ErrFormat},
		"bytes between":                    {between(good, central), asic.ErrFormat},
		"another container in front":       {slices.Concat(good, good), asic.ErrFormat},
		"a comment":                        {zipOf(t, "hello", "mimetype", mime, "META-INF/x", ""), asic.ErrFormat},
		"a comment with another type":      {zipOf(t, "mimetype=application/vnd.etsi.asic-s+zip", "mimetype", mime, "META-INF/x", ""), asic.ErrFormat},
		"a name twice":                     {zipOf(t, "", "mimetype", mime, "a.txt", "1", "a.txt", "2", "META-INF/x", ""), asic.ErrFormat},
		"a name twice but for case":        {zipOf(t, "", "mimetype", mime, "a.txt", "1", "A.TXT", "2", "META-INF/x", ""), asic.ErrFormat},
		"a name twice in Unicode":          {zipOf(t, "", "mimetype", mime, "\u00fc", "1", "u\u0308", "2", "META-INF/x", ""), asic.ErrFormat},
		"a file and a folder of one name":  {zipOf(t, "", "mimetype", mime, "a", "1", "a/", "", "META-INF/x", ""), asic.ErrFormat},
		"an absolute path":                 {zipOf(t, "", "mimetype", mime, "/etc/passwd", "1", "META-INF/x", ""), asic.ErrFormat},
		"a path upwards":                   {zipOf(t, "", "mimetype", mime, "a/../../b", "1", "META-INF/x", ""), asic.ErrFormat},
		"a path of Windows":                {zipOf(t, "", "mimetype", mime, `a\b`, "1", "META-INF/x", ""), asic.ErrFormat},
		"a drive":                          {zipOf(t, "", "mimetype", mime, "c:b", "1", "META-INF/x", ""), asic.ErrFormat},
		"an empty name":                    {zipOf(t, "", "mimetype", mime, "", "1", "META-INF/x", ""), asic.ErrFormat},
		"a line end in a name":             {zipOf(t, "", "mimetype", mime, "a\nb", "1", "META-INF/x", ""), asic.ErrFormat},
		"encrypted":                        {flip(second+8, 1), asic.ErrFormat},
		"an unknown method":                {flip(second+10, 12), asic.ErrFormat},
		"another name in the local header": {flip(local+30, 'b'), asic.ErrFormat},
		"another method in it":             {flip(local+8, 8), asic.ErrFormat},
		"another checksum in it":           {flip(local+14, good[local+14]^1), asic.ErrFormat},
		"another checksum in both":         {both(good, local+14, second+16), asic.ErrFormat},
		"another size in the directory":    {flip(second+24, good[second+24]+1), asic.ErrFormat},
		"an entry at another's place":      {flip(second+42, 0, 0), asic.ErrFormat},
		"one entry less than there are":    {flip(end+8, 2, 0, 2, 0), asic.ErrFormat},
		"no entry":                         {flip(end+8, 0, 0, 0, 0), asic.ErrLimit},
		"several volumes":                  {flip(end+4, 1), asic.ErrFormat},
		"the directory elsewhere":          {flip(end+16, 1, 0), asic.ErrFormat},
		"a compressed mimetype":            {zipOf(t, "", deflated, mime, "META-INF/x", ""), asic.ErrFormat},
		"mimetype not first":               {zipOf(t, "", "META-INF/x", "", "mimetype", mime), asic.ErrFormat},
		"another type":                     {zipOf(t, "", "mimetype", "application/epub+zip", "META-INF/x", ""), asic.ErrFormat},
		"no container":                     {zipOf(t, "", "a.txt", "1"), asic.ErrFormat},
		"ASiC-S of two":                    {zipOf(t, "", "mimetype", "application/vnd.etsi.asic-s+zip", "a", "1", "b", "2"), asic.ErrFormat},
		"a ZIP64 field":                    {zipOf(t, "", "mimetype", mime, extra("a", 0x0001), "1"), asic.ErrFormat},
		"a Unicode name field":             {zipOf(t, "", "mimetype", mime, extra("a", 0x7075), "1"), asic.ErrFormat},
		"a bomb":                           {zipOf(t, "", "mimetype", mime, &zip.FileHeader{Name: "META-INF/x", Method: zip.Deflate}, strings.Repeat("\x00", 8<<20)), asic.ErrLimit},
		"too many entries":                 {many(t), asic.ErrLimit},
	} {
		if _, err := asic.Open(c.data); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func extra(name string, id uint16) *zip.FileHeader {
	b := binary.LittleEndian.AppendUint16(nil, id)
	return &zip.FileHeader{Name: name, Extra: append(b, 1, 0, 1)}
}

// between puts bytes before the directory and moves its offset along.
func between(good []byte, central int) []byte {
	out := slices.Concat(good[:central], []byte("hidden"), good[central:])
	binary.LittleEndian.PutUint32(out[len(out)-6:], uint32(central+6))
	return out
}

func both(good []byte, a, b int) []byte {
	out := bytes.Clone(good)
	out[a] ^= 1
	out[b] ^= 1
	return out
}

func many(t testing.TB) []byte {
	entries := []any{"mimetype", mime}
	for i := range 1001 {
		entries = append(entries, "f"+strings.Repeat("x", i%7)+string(rune('a'+i%26))+strings.Repeat("y", i/26), "")
	}
	return zipOf(t, "", entries...)
}

// seeds are containers as we make them, and as others write ZIP.
func seeds(t testing.TB) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.asic*")
	if err != nil || len(paths) < 4 {
		t.Fatalf("%d seeds, %v", len(paths), err)
	}
	out := map[string][]byte{}
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		out[p] = b
	}
	return out
}

func TestSeedsOpen(t *testing.T) {
	for name, b := range seeds(t) {
		c, err := asic.Open(b)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		alike(t, b, c)
		for _, s := range c.Signed() {
			if s.Problem != nil {
				t.Errorf("%s: %s: %v", name, s.Name, s.Problem)
			}
		}
	}
}

// Whatever opens, archive/zip reads alike.
func FuzzOpen(f *testing.F) {
	for _, b := range seeds(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := asic.Open(b)
		if err != nil {
			if !errors.Is(err, asic.ErrFormat) && !errors.Is(err, asic.ErrLimit) {
				t.Fatalf("an error of no kind: %v", err)
			}
			return
		}
		alike(t, b, c)
		for _, s := range c.Signed() {
			if s.Problem != nil || s.Manifest == nil {
				continue
			}
			for _, r := range s.Manifest.References {
				if e, err := c.Referenced(r); err == nil && e == nil {
					t.Fatal("a reference to nothing")
				}
			}
		}
	})
}
