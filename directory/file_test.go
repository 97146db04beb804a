package directory

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"milterd/workflow"
)

const people = `
[[user]]
mail = "Jane@Corp.Test"
name = "Jane Doe"
other = ["jane.doe@corp.test", "boss@corp.test"]
language = "de"
login = "jane"

[[user]]
mail = "john.doe@corp.test"
name = "John Doe"

[[user]]
mail = "boss@other.test"
name = "Boss of Other"
login = "john.doe@other.test"
`

func open(t *testing.T, text string) *File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "users.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestFile(t *testing.T) {
	f := open(t, people)
	jane := workflow.Person{Mail: "Jane@corp.test", Name: "Jane Doe", Language: "de"}
	john := workflow.Person{Mail: "john.doe@corp.test", Name: "John Doe", Language: "en"}
	boss := workflow.Person{Mail: "boss@other.test", Name: "Boss of Other", Language: "en"}
	for _, c := range []struct {
		by, key string
		want    workflow.Person
		err     error
	}{
		{"address", "jane@corp.test", jane, nil},
		{"address", "JANE.DOE@CORP.TEST", jane, nil},
		{"address", "jane@other.test", workflow.Person{}, ErrNotFound},
		{"address", "", workflow.Person{}, ErrNotFound},
		{"local", "Jane.Doe", jane, nil},
		{"local", "john.doe", john, nil},
		{"local", "boss", workflow.Person{}, ErrAmbiguous},
		{"local", "nobody", workflow.Person{}, ErrNotFound},
		{"login", "JANE", jane, nil},
		{"login", "jane.doe@corp.test", workflow.Person{}, ErrNotFound}, // she has a login of her own
		{"login", "john.doe", john, nil},
		{"login", "john.doe@corp.test", john, nil},
		{"login", "john.doe@other.test", boss, nil},
		{"login", "boss", workflow.Person{}, ErrNotFound},
	} {
		var got workflow.Person
		var err error
		switch c.by {
		case "address":
			got, err = f.ByAddress(t.Context(), c.key)
		case "local":
			got, err = f.ByLocalPart(t.Context(), c.key)
		case "login":
			got, err = f.ByLogin(t.Context(), c.key)
		}
		if got != c.want || !errors.Is(err, c.err) || c.err == nil && err != nil {
			t.Errorf("by %s %q: got %v, %v, want %v, %v", c.by, c.key, got, err, c.want, c.err)
		}
	}
}

// TestLoginNeverTaken: a written login is nobody else's, whatever the order.
func TestLoginNeverTaken(t *testing.T) {
	a := "[[user]]\nmail = \"jane@a.test\"\nname = \"A\"\n"
	b := "[[user]]\nmail = \"b@b.test\"\nname = \"B\"\nlogin = \"jane\"\n"
	c := "[[user]]\nmail = \"jane@c.test\"\nname = \"C\"\n"
	for _, text := range []string{a + b, b + a} {
		if p, err := open(t, text).ByLogin(t.Context(), "jane"); err != nil || p.Name != "B" {
			t.Errorf("got %v, %v", p, err)
		}
	}
	for _, text := range []string{a + c, c + a} {
		if p, err := open(t, text).ByLogin(t.Context(), "jane"); !errors.Is(err, ErrAmbiguous) {
			t.Errorf("got %v, %v", p, err)
		}
	}
}

// TestBroken reads one broken file for each failure; the message stands beside it.
func TestBroken(t *testing.T) {
	files, err := filepath.Glob("testdata/*.toml")
	if err != nil || len(files) < 10 {
		t.Fatalf("broken files are missing: %d, %v", len(files), err)
	}
	for _, path := range files {
		want, err := os.ReadFile(strings.TrimSuffix(path, ".toml") + ".txt")
		if err != nil {
			t.Fatal(err)
		}
		_, err = Open(path)
		if err == nil || err.Error() != strings.TrimSpace(string(want)) {
			t.Errorf("%s:\n got %v\nwant %s", path, err, want)
		}
	}
}

func TestReload(t *testing.T) {
	f := open(t, people)
	if err := os.WriteFile(f.path, []byte("[[user]]\nmail = 3"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := f.Reload(); err == nil || f.Len() != 3 {
		t.Errorf("a broken file replaced the entries: %v, %d", err, f.Len())
	}
	if err := os.WriteFile(f.path, []byte("[[user]]\nmail = \"a@b.test\"\nname = \"A\""), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := f.Reload(); err != nil || f.Len() != 1 {
		t.Errorf("not reloaded: %v, %d", err, f.Len())
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(people))
	f.Add([]byte(groups))
	files, err := filepath.Glob("testdata/*.toml")
	if err != nil || len(files) == 0 {
		f.Fatalf("seeds are missing: %v", err)
	}
	for _, path := range files {
		b, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		ix, err := parse(b)
		if err != nil {
			return
		}
		for i := range ix.people {
			p := &ix.people[i]
			if p.Name == "" || ix.address[fold(p.Mail)] != p {
				t.Fatalf("%q cannot be found by its address", p.Mail)
			}
		}
	})
}

// TestFileIdentity: what is written is told; else the last word of the name is
// the surname.
func TestFileIdentity(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users.toml")
	text := "[[user]]\nmail = \"jan@corp.test\"\nname = \"Jan van der Berg\"\ngiven_name = \"Jan\"\nsurname = \"van der Berg\"\nserial = \"PNONL-123\"\n" +
		"[[user]]\nmail = \"anna@corp.test\"\nname = \"Anna Maria Roe\"\n[[user]]\nmail = \"x@corp.test\"\nname = \"Mononym\"\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	for mail, want := range map[string]Identity{
		"JAN@corp.test":  {Serial: "PNONL-123", GivenName: "Jan", Surname: "van der Berg"},
		"anna@corp.test": {GivenName: "Anna Maria", Surname: "Roe"},
		"x@corp.test":    {},
	} {
		got, err := f.Identity(t.Context(), mail)
		if err != nil || got.Serial != want.Serial || got.GivenName != want.GivenName || got.Surname != want.Surname {
			t.Errorf("%s: %+v, %v", mail, got, err)
		}
	}
	if _, err := f.Identity(t.Context(), "nobody@corp.test"); !errors.Is(err, ErrNotFound) {
		t.Errorf("nobody: %v", err)
	}
}
