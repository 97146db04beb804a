package directory

import (
	"errors"
	"slices"
	"testing"
)

const groups = people + `
[[group]]
name = "Board"
mail = "board@corp.test"
other = ["chiefs@corp.test"]
members = ["jane.doe@corp.test", "directors"]

[[group]]
name = "directors"
members = ["boss@other.test", "JANE@corp.test"]

[[group]]
name = "empty"
mail = "empty@corp.test"
members = []

[[group]]
name = "other empty"
mail = "empty@other.test"
members = []
`

func TestFileGroups(t *testing.T) {
	f := open(t, groups)
	for _, c := range []struct {
		local string
		want  []string
		err   error
	}{
		{"board", []string{"Jane@corp.test", "boss@other.test"}, nil}, // Jane once, although twice a member
		{"CHIEFS", []string{"Jane@corp.test", "boss@other.test"}, nil},
		{"directors", nil, ErrNotFound}, // no address, so nobody writes to it
		{"jane", nil, ErrNotFound},
		{"empty", nil, ErrAmbiguous},
	} {
		var got []string
		people, err := f.Group(t.Context(), c.local)
		for _, p := range people {
			got = append(got, p.Mail)
		}
		if !slices.Equal(got, c.want) || !errors.Is(err, c.err) || c.err == nil && err != nil {
			t.Errorf("group %q: got %v, %v, want %v, %v", c.local, got, err, c.want, c.err)
		}
	}
	for addr, want := range map[string][]string{
		"jane.doe@corp.test": {"board", "directors"}, "boss@other.test": {"board", "directors"}, "john.doe@corp.test": nil,
	} {
		if got, err := f.Groups(t.Context(), addr); err != nil || !slices.Equal(got, want) {
			t.Errorf("groups of %s: got %v, %v, want %v", addr, got, err, want)
		}
	}
	if _, err := f.Groups(t.Context(), "board@corp.test"); !errors.Is(err, ErrNotFound) {
		t.Errorf("groups of a group: %v", err)
	}
	if missing, err := f.Missing(t.Context(), []string{"board", "DIRECTORS", "staff"}); err != nil || !slices.Equal(missing, []string{"staff"}) {
		t.Errorf("missing: %v, %v", missing, err)
	}
	if addr, err := f.Sample(t.Context()); err != nil || addr != "Jane@corp.test" {
		t.Errorf("sample: %v, %v", addr, err)
	}
	if s := f.Check(t.Context()); len(s) != 1 || s[0].Err != nil || s[0].Source != f.path {
		t.Errorf("check: %v", s)
	}
}

// TestGroupName: two ways to write a group are one name, two groups never.
func TestGroupName(t *testing.T) {
	for a, b := range map[string]string{
		"Staff":                              " staff",
		"cn=board,ou=groups,dc=corp,dc=test": "CN=Board, OU=Groups,DC=corp , DC=test",
		`cn=a\2cb,dc=corp`:                   `cn=a\,b,dc=corp`,
	} {
		if GroupName(a) != GroupName(b) {
			t.Errorf("%q and %q differ: %q, %q", a, b, GroupName(a), GroupName(b))
		}
	}
	for a, b := range map[string]string{
		"cn=a,dc=corp":   `cn=a\,dc=corp`,
		"cn=board,dc=a":  "cn=board,dc=b",
		"cn=a+ou=b,dc=c": "cn=a,ou=b,dc=c",
		"":               "cn=",
	} {
		if GroupName(a) == GroupName(b) {
			t.Errorf("%q and %q are one: %q", a, b, GroupName(a))
		}
	}
}
