package program

import (
	"os"
	"testing"

	"milterd/signature/pdf"
)

// The test binary serves as the child that inspects documents, too.
func TestMain(m *testing.M) {
	if pdf.ChildMain() {
		return
	}
	os.Exit(m.Run())
}
