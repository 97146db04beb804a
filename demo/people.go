package demo

import (
	_ "embed"
	"fmt"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// The demo's domains.
const (
	MailDomain = "corp.test"
	SignDomain = "sign.corp.test"
	password   = "demo" // everybody's
)

// usersFile is the directory of the demo, in the form that milterd reads.
//
//go:embed users.toml
var usersFile []byte

// Person is somebody with a mailbox.
type Person struct {
	Mail     string `toml:"mail"`
	Name     string `toml:"name"`
	Language string `toml:"language"`
}

// Initials are for the circle beside the name.
func (p Person) Initials() string {
	var s string
	for w := range strings.FieldsSeq(p.Name) {
		s += w[:1]
	}
	return s
}

// First is the name as colleagues use it.
func (p Person) First() string {
	first, _, _ := strings.Cut(p.Name, " ")
	return first
}

// People gives the people of the demo and their directory file.
func People() ([]Person, []byte, error) {
	list, err := people()
	return list, usersFile, err
}

// people reads usersFile.
func people() ([]Person, error) {
	var f struct {
		Users []Person `toml:"user"`
	}
	if err := toml.Unmarshal(usersFile, &f); err != nil {
		return nil, fmt.Errorf("demo's users: %w", err)
	}
	return f.Users, nil
}
