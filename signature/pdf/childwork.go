package pdf

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/metrics"

	"milterd/workflow"
)

// ChildMain does the work of a child if this process was started as one, and
// says so. Every program that inspects documents calls it first in main, and in
// TestMain:
//
//	if pdf.ChildMain() {
//		return
//	}
func ChildMain() bool {
	if os.Getenv(childMark) == "" {
		return false
	}
	out := os.Stdout
	os.Stdout = os.Stderr // no library may speak for us
	if err := childWork(orders(), out); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(exitFault)
	}
	return true
}

// Task is what a child does with a document. Its answer goes back as JSON; its
// error, where it is no *workflow.Refusal, as words.
type Task func(options json.RawMessage, data []byte) (answer any, err error)

var tasks = map[string]Task{
	taskInspect: func(_ json.RawMessage, data []byte) (any, error) { return Inspect(data) },
}

// AddTask teaches children a task. It is called while the program starts, before
// ChildMain.
func AddTask(name string, t Task) { tasks[name] = t }

// childWork takes documents until nobody brings one, or it had better end.
func childWork(stdin io.Reader, out io.Writer) error {
	if err := limitSelf(); err != nil {
		return err
	}
	if _, err := out.Write([]byte("!")); err != nil {
		return err
	}
	in := bufio.NewReader(stdin)
	for n := 1; ; n++ {
		line, err := in.ReadBytes('\n')
		if err == io.EOF && len(line) == 0 {
			return nil
		}
		if err != nil {
			return err
		}
		var o order
		if err := json.Unmarshal(line, &o); err != nil {
			return err
		}
		work := tasks[o.Task]
		if work == nil || o.Size < 0 || o.Size > MaxBytes {
			return fmt.Errorf("no task %q of %d bytes", o.Task, o.Size)
		}
		data := make([]byte, o.Size)
		if _, err := io.ReadFull(in, data); err != nil {
			return err
		}
		before := runtime.NumGoroutine()
		r := answer(work(o.Options, data))
		r.ID = o.ID
		r.More = n < usedDocuments && runtime.NumGoroutine() <= before && spentCPU() < usedCPU && heldMemory() < usedMemory
		if line, err = json.Marshal(r); err != nil {
			return err
		}
		if _, err := out.Write(append(line, '\n')); err != nil || !r.More {
			return err
		}
	}
}

// answer puts what a task said into a reply.
func answer(said any, err error) reply {
	var refusal *workflow.Refusal
	if errors.As(err, &refusal) {
		cause := fmt.Sprint(refusal.Err)
		refusal.Err = nil
		return reply{Refusal: refusal, Cause: cause}
	}
	var line []byte
	if err == nil {
		line, err = json.Marshal(said)
	}
	if err != nil {
		return reply{Error: err.Error()}
	}
	return reply{Answer: line}
}

// heldMemory is how many bytes Go holds from the system.
func heldMemory() uint64 {
	s := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64() - s[1].Value.Uint64()
}
