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

// cast is who has a mailbox, who stands in milterd's directory, and who may log
// in to the mail server with which password.
type cast struct {
	people []Person
	users  []byte // users.toml
	logins map[string]string
}

// everybody is the demo's own cast.
func everybody() (cast, error) {
	c, err := parseCast(usersFile)
	for _, p := range c.people {
		c.logins[p.Mail] = password
	}
	return c, err
}

func parseCast(users []byte) (cast, error) {
	var f struct {
		Users []Person `toml:"user"`
	}
	if err := toml.Unmarshal(users, &f); err != nil {
		return cast{}, fmt.Errorf("demo's users: %w", err)
	}
	return cast{f.Users, users, map[string]string{}}, nil
}

// People gives the people of the demo and their directory file.
func People() ([]Person, []byte, error) {
	c, err := everybody()
	return c.people, c.users, err
}
