package main

import (
	"fmt"

	"milterd/program"
)

type versionCmd struct{}

func (versionCmd) Run() error {
	fmt.Println(versionText())
	return nil
}

func versionText() string { return "milterd " + program.Version() }
