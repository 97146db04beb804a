package directory

import (
	"context"
	"errors"

	"milterd/workflow"
)

// File is a directory in a TOML file.
type File struct{}

// Open reads a users.toml.
func Open(path string) (*File, error) { return nil, errors.New("unwritten") }

// ByAddress implements Directory.
func (f *File) ByAddress(ctx context.Context, addr string) (workflow.Person, error) {
	return workflow.Person{}, errors.New("unwritten")
}

// ByLocalPart implements Directory.
func (f *File) ByLocalPart(ctx context.Context, local string) (workflow.Person, error) {
	return workflow.Person{}, errors.New("unwritten")
}

// ByLogin implements Directory.
func (f *File) ByLogin(ctx context.Context, login string) (workflow.Person, error) {
	return workflow.Person{}, errors.New("unwritten")
}

// Reload reads the file again; on an error the old entries stay.
func (f *File) Reload() error { return errors.New("unwritten") }
