package program

import (
	"os"
	"testing"

	"milterd/convert"
	"milterd/signature/pdf"
)

// The test binary serves as the child that inspects documents, too.
func TestMain(m *testing.M) {
	if pdf.ChildMain() || convert.ChildMain() {
		return
	}
	os.Exit(m.Run())
}
