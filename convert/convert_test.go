package convert

import (
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	switch {
	case ChildMain():
		return
	case len(os.Args) > 1 && os.Args[1] == "--headless":
		standIn()
		return
	}
	os.Exit(m.Run())
}
