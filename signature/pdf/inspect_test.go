package pdf

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"milterd/workflow"
)

func TestInsp(t *testing.T) {
	files, _ := filepath.Glob("../../testdata/pdf/*.pdf")
	for _, name := range files {
		data, _ := os.ReadFile(name)
		info, err := InspectInChild(context.Background(), data)
		var r *workflow.Refusal
		if errors.As(err, &r) {
			fmt.Println(filepath.Base(name), r.Enhanced, r.Reason, r.Err)
			continue
		}
		b, _ := json.Marshal(info)
		fmt.Println(filepath.Base(name), err, string(b))
	}
}
