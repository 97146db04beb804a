package main

import (
	"fmt"

	"milterd/program"
)

type versionCmd struct{}

func (versionCmd) Run() error {
	fmt.Println("milterd " + program.Version())
	return nil
}
