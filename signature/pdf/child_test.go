package pdf

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"milterd/signature/pdf/cos"
	"milterd/workflow"
)

// TestMain is also the child's: besides the real task it has some that break
// one limit each, and some that leave something behind for the next document.
func TestMain(m *testing.M) {
	pid := func() *Info { return &Info{Pages: os.Getpid()} }
	for name, task := range map[string]func() (*Info, error){
		"pid":  func() (*Info, error) { return pid(), nil },
		"hang": func() (*Info, error) { time.Sleep(time.Minute); return nil, nil },
		"eat": func() (*Info, error) {
			for {
				keep(64 << 20)
			}
		},
		"write": func() (*Info, error) {
			f, err := os.CreateTemp("/tmp", "milterd")
			if err == nil {
				defer os.Remove(f.Name())
				_, err = f.Write([]byte("x"))
			}
			return nil, err
		},
		"fat":     func() (*Info, error) { keep(usedMemory); return pid(), nil },
		"linger":  func() (*Info, error) { go time.Sleep(time.Minute); return pid(), nil },
		"refuse":  func() (*Info, error) { return nil, refuse(cos.ErrBroken) },
		"trouble": func() (*Info, error) { return nil, errors.New("trouble") },
		"burn": func() (*Info, error) {
			for spentCPU() < usedCPU {
			}
			return pid(), nil
		},
		// What a library with a bug could be made to do.
		"poison": func() (*Info, error) { poisoned = true; return pid(), nil },
		"ask": func() (*Info, error) {
			if poisoned {
				return nil, refuse(cos.ErrBroken)
			}
			return pid(), nil
		},
		"wait": func() (*Info, error) {
			if poisoned {
				time.Sleep(time.Minute)
			}
			return pid(), nil
		},
		"print": func() (*Info, error) {
			fmt.Println(`{"answer":{"pages":1}}`)
			return nil, refuse(cos.ErrBroken)
		},
		"speak": func() (*Info, error) {
			os.NewFile(1, "stdout").WriteString(`{"id":"x","answer":{"pages":1},"more":true}` + "\n")
			return pid(), nil
		},
	} {
		tasks[name] = func(json.RawMessage, []byte) (any, error) { return task() }
	}
	if ChildMain() {
		return
	}
	os.Exit(m.Run())
}

var (
	kept     [][]byte
	poisoned bool
)

func keep(size int) {
	b := make([]byte, size)
	for i := 0; i < len(b); i += 4096 {
		b[i] = 1
	}
	kept = append(kept, b)
}

// ask has a child do a task as if it were an inspection.
func ask(ctx context.Context, task string, data []byte) (*Info, error) {
	info := new(Info)
	return info, runChild(ctx, task, nil, data, info, len(data) > usedBytes)
}

// do has a child do a task, and gives its process number.
func do(t *testing.T, task string) int {
	t.Helper()
	info, err := ask(context.Background(), task, []byte("data"))
	if err != nil {
		t.Fatalf("%s: %v", task, err)
	}
	return info.Pages
}

// dismiss ends the children that wait.
func dismiss() {
	idle.Lock()
	defer idle.Unlock()
	for _, c := range idle.list {
		c.end()
	}
	idle.list = nil
}

// TestChildLimits: a child that takes too much is a refusal, whatever it took.
func TestChildLimits(t *testing.T) {
	old := childTime
	defer func() { childTime = old }()
	if _, err := ask(context.Background(), "write", nil); err == nil || !strings.Contains(err.Error(), "file too large") {
		t.Errorf("a child that writes a file: %v", err)
	}
	for _, task := range []string{"eat", "hang"} {
		if task == "hang" {
			childTime = 300 * time.Millisecond
		}
		_, err := ask(context.Background(), task, nil)
		var r *workflow.Refusal
		if !errors.As(err, &r) || r.Reason != "pdf-too-complex" || r.Code != 554 {
			t.Errorf("%s: %v", task, err)
		}
	}
}

// TestChildAgain: a child takes several documents, so many and no more, and
// one that died while it waited costs nobody anything.
func TestChildAgain(t *testing.T) {
	dismiss()
	first := do(t, "pid")
	for i := 1; i < usedDocuments-1; i++ {
		if pid := do(t, "pid"); pid != first {
			t.Fatalf("document %d went to another child", i+1)
		}
	}
	next := 0 // is started before it is needed
	for end := time.Now().Add(10 * time.Second); next == 0 && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		idle.Lock()
		for _, c := range idle.list {
			if c.seen == 0 {
				next = c.cmd.Process.Pid
			}
		}
		idle.Unlock()
	}
	last, second := do(t, "pid"), do(t, "pid")
	if last != first || second != next || next == 0 {
		t.Errorf("of %d documents the last two go to children %d and %d; the first has been %d, the next is %d", usedDocuments+1, last, second, first, next)
	}
	idle.Lock()
	for _, c := range idle.list {
		c.cmd.Process.Kill()
		c.cmd.Process.Wait()
	}
	idle.Unlock()
	third := do(t, "pid")
	if third == second {
		t.Error("a dead child answers")
	}
	if info, err := ask(context.Background(), "pid", make([]byte, usedBytes+1)); err != nil || info.Pages == third {
		t.Errorf("a large document goes to a used child: %v", err)
	}
}

// TestChildLetGo: after anything unusual a child sees no other document.
func TestChildLetGo(t *testing.T) {
	for _, task := range []string{"fat", "linger", "burn", "refuse", "trouble", "hang"} {
		t.Run(task, func(t *testing.T) {
			dismiss()
			pid := do(t, "pid")
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			if task == "hang" {
				ctx, cancel = context.WithTimeout(ctx, 200*time.Millisecond)
				defer cancel()
			}
			ask(ctx, task, nil)
			if do(t, "pid") == pid {
				t.Errorf("the child sees another document")
			}
		})
	}
}

// TestChildStrangers: whatever one document could do to its child's memory or
// voice, the next one gets its own verdict.
func TestChildStrangers(t *testing.T) {
	defer func(old time.Duration) { usedTime = old }(usedTime)
	usedTime = time.Second
	for _, next := range []string{"ask", "wait"} {
		dismiss()
		start := time.Now()
		if do(t, "poison") == do(t, next) {
			t.Errorf("%s: it was heard in a child that another document had spoilt", next)
		}
		if took := time.Since(start); took > childTime/2 {
			t.Errorf("%s: it waited %v for a child that another document had spoilt", next, took)
		}
	}
	for first, want := range map[string]string{"print": "broken PDF structure", "speak": "a reply to another order"} {
		dismiss()
		do(t, "pid")
		if _, err := ask(context.Background(), first, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: a library's words are taken for the child's: %v", first, err)
		}
		if do(t, "pid") == 1 {
			t.Errorf("%s: they are taken for the reply to another document", first)
		}
	}
}

// TestChildTrouble: what is not the document's fault is no refusal.
func TestChildTrouble(t *testing.T) {
	var r *workflow.Refusal
	_, err := ask(context.Background(), "nothing", nil)
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
	for _, out := range []string{"", "no JSON\n", "{}\n", `{"id":"a"}` + "\n", `{"id":"a","error":"x","more":true}` + "\n", `{"id":"b","answer":{},"more":true}` + "\n"} {
		if more, err := readReply([]byte(out), "a", new(Info)); err == nil || more {
			t.Errorf("%q is taken as a reply", out)
		}
	}
	refusal := refuse(cos.ErrEncrypted)
	refusal.Err = nil
	b, err := json.Marshal(reply{ID: "a", More: true, Refusal: refusal, Cause: "c"})
	if err != nil {
		t.Fatal(err)
	}
	var r *workflow.Refusal
	if more, err := readReply(append(b, '\n'), "a", new(Info)); more || !errors.As(err, &r) || r.Reason != "encrypted-pdf" || r.Err.Error() != "c" {
		t.Errorf("got %v", err)
	}
}
