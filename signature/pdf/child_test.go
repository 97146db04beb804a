package pdf

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"milterd/signature/pdf/cos"
	"milterd/workflow"
)

// TestMain is also the child's: besides the real tasks it has some that break
// one limit each.
func TestMain(m *testing.M) {
	tasks["hang"] = func([]byte) (*Info, error) { time.Sleep(time.Minute); return nil, nil }
	tasks["eat"] = func([]byte) (*Info, error) {
		for {
			b := make([]byte, 64<<20)
			for i := 0; i < len(b); i += 4096 {
				b[i] = 1
			}
			eaten = append(eaten, b)
		}
	}
	tasks["write"] = func([]byte) (*Info, error) {
		f, err := os.CreateTemp("/tmp", "milterd")
		if err == nil {
			defer os.Remove(f.Name())
			_, err = f.Write([]byte("x"))
		}
		return nil, err
	}
	if ChildMain() {
		return
	}
	os.Exit(m.Run())
}

var eaten [][]byte

// TestChildLimits: a child that takes too much is a refusal, whatever it took.
func TestChildLimits(t *testing.T) {
	old := childTime
	defer func() { childTime = old }()
	if _, err := runChild(context.Background(), "write", nil); err == nil || !strings.Contains(err.Error(), "file too large") {
		t.Errorf("a child that writes a file: %v", err)
	}
	for _, task := range []string{"eat", "hang"} {
		if task == "hang" {
			childTime = 300 * time.Millisecond
		}
		_, err := runChild(context.Background(), task, nil)
		var r *workflow.Refusal
		if !errors.As(err, &r) || r.Reason != "pdf-too-complex" || r.Code != 554 {
			t.Errorf("%s: %v", task, err)
		}
	}
}

// TestSpare: a child that was started ahead takes the next document, and one
// that died while it waited costs nobody anything.
func TestSpare(t *testing.T) {
	data := sample(t, "table.pdf")
	for range 3 {
		if _, err := InspectInChild(context.Background(), data); err != nil {
			t.Fatal(err)
		}
		c := <-spare
		c.cmd.Process.Kill()
		c.cmd.Process.Wait()
		spare <- c
	}
	c := <-spare
	c.end()
}

// TestChildTrouble: what is not the document's fault is no refusal.
func TestChildTrouble(t *testing.T) {
	var r *workflow.Refusal
	_, err := runChild(context.Background(), "nothing", nil)
	if err == nil || errors.As(err, &r) || !strings.Contains(err.Error(), `no task "nothing"`) {
		t.Errorf("unknown task: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := InspectInChild(ctx, sample(t, "table.pdf")); !errors.Is(err, context.Canceled) || errors.As(err, &r) {
		t.Errorf("a context that has ended: %v", err)
	}
	t.Setenv(childMark, "1")
	if _, err := InspectInChild(context.Background(), sample(t, "table.pdf")); err == nil || !strings.Contains(err.Error(), "ChildMain") {
		t.Errorf("a child that starts children: %v", err)
	}
}

func TestReply(t *testing.T) {
	for _, out := range []string{"", "no JSON\n", "{}\n", `{"error":"x"}` + "\n"} {
		if _, err := readReply([]byte(out)); err == nil {
			t.Errorf("%q is taken as a reply", out)
		}
	}
	refusal := refuse(cos.ErrEncrypted)
	refusal.Err = nil
	b, err := json.Marshal(reply{Refusal: refusal, Cause: "c"})
	if err != nil {
		t.Fatal(err)
	}
	var r *workflow.Refusal
	if _, err := readReply(append(b, '\n')); !errors.As(err, &r) || r.Reason != "encrypted-pdf" || r.Err.Error() != "c" {
		t.Errorf("got %v", err)
	}
}
