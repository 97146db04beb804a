package reference

import (
	"flag"
	"os"
	"strings"
	"testing"

	"milterd/config"
)

var update = flag.Bool("update", false, "write the sample file and the man page")

func load(t *testing.T) []entry {
	t.Helper()
	var sources [][]byte
	for _, file := range []string{"../config.go", "../signing.go"} {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		sources = append(sources, source)
	}
	es, err := entries(sources...)
	if err != nil {
		t.Fatal(err)
	}
	return es
}

func TestFilesAreGenerated(t *testing.T) {
	es := load(t)
	for path, want := range map[string]string{
		"../milterd.toml.sample":        sample(es),
		"../../docs/man/milterd.toml.5": manual(es),
	} {
		if *update {
			if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != want {
			t.Errorf("%s is not what the schema says (%v): run go generate ./config", path, err)
		}
	}
}

func TestEveryFieldIsDocumented(t *testing.T) {
	for _, e := range load(t) {
		if e.doc == "" || !e.Table && e.Example == "" {
			t.Errorf("%s has no comment or no example", e.Name)
		}
	}
}

// The sample is a file that loads, as it stands and with every comment that
// shows a field taken away.
func TestSampleLoads(t *testing.T) {
	s := sample(load(t))
	if _, err := config.Parse("sample", []byte(s)); err != nil {
		t.Errorf("as it stands: %v", err)
	}
	var full strings.Builder
	for line := range strings.Lines(s) {
		if strings.HasPrefix(line, "#") && !strings.HasPrefix(line, "# ") {
			line = line[1:]
		}
		full.WriteString(line)
	}
	if _, err := config.Parse("sample", []byte(full.String())); err != nil {
		t.Errorf("with every field: %v\n%s", err, full.String())
	}
}
