package pdf

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"milterd/signature/pdf/cos"
	"milterd/workflow"
)

// Limits of a child.
const (
	childCPU    = 25      // seconds
	childData   = 1 << 30 // bytes of writable memory
	childSpace  = 4 << 30 // bytes of address space; Go reserves much more than it uses
	childFiles  = 16
	childMemory = "640MiB" // where the garbage collector tries harder
	maxReply    = 192 << 20
	childTask   = "MILTERD_PDF_CHILD" // environment: which task, and that this is a child
	taskInspect = "inspect"
	taskLayout  = "layout"
	childCount  = 4
	exitFault   = 70 // the child has trouble of its own, not with the document
)

// childTime is how long a child may take, by the clock on the wall.
var childTime = 30 * time.Second

// children bounds how many run at once.
var children = make(chan struct{}, childCount)

// reply is what a child answers; after it come the bytes of a suffix.
type reply struct {
	Info    *Info             `json:"info,omitempty"`
	Refusal *workflow.Refusal `json:"refusal,omitempty"`
	Cause   string            `json:"cause,omitempty"` // of the refusal
	Error   string            `json:"error,omitempty"`
	Suffix  int               `json:"suffix,omitempty"` // bytes that follow
}

// InspectInChild is Inspect in a process of its own, with limits on memory, CPU,
// files and time. A child that dies of them is the refusal "pdf-too-complex".
// Any other error is temporary: the process could not be started, or ctx ended.
func InspectInChild(ctx context.Context, data []byte) (*Info, error) {
	if len(data) > MaxBytes {
		return Inspect(data) // says that it is too large
	}
	r, _, err := runChild(ctx, taskInspect, nil, data)
	if err != nil {
		return nil, err
	}
	return r.Info, nil
}

// LayoutInChild is Layout in a process of its own, like InspectInChild. The
// suffix is nil for a document that has signatures.
func LayoutInChild(ctx context.Context, original []byte, plan Plan) ([]byte, error) {
	head, err := json.Marshal(plan)
	if err != nil {
		return nil, fmt.Errorf("laying out %s: %w", plan.Document, err)
	}
	_, suffix, err := runChild(ctx, taskLayout, head, original)
	return suffix, err
}

// runChild starts this program again for one task, hands it head and data on
// standard input, and reads its reply.
func runChild(ctx context.Context, task string, head, data []byte) (*reply, []byte, error) {
	if os.Getenv(childTask) != "" {
		return nil, nil, errors.New("pdf child: main did not call pdf.ChildMain first")
	}
	select {
	case children <- struct{}{}:
		defer func() { <-children }()
	case <-ctx.Done():
		return nil, nil, fmt.Errorf("pdf child: %w", ctx.Err())
	}
	program, err := ownProgram()
	if err != nil {
		return nil, nil, fmt.Errorf("pdf child: %w", err)
	}
	timed, cancel := context.WithTimeout(ctx, childTime)
	defer cancel()
	cmd := exec.CommandContext(timed, program)
	cmd.Args = []string{os.Args[0], "pdf-child"}
	cmd.Env = []string{childTask + "=" + task, "GOMEMLIMIT=" + childMemory, "GOTRACEBACK=none"}
	cmd.Dir = "/"
	cmd.WaitDelay = 2 * time.Second
	size := binary.BigEndian.AppendUint64(nil, uint64(len(head)))
	cmd.Stdin = io.MultiReader(bytes.NewReader(size), bytes.NewReader(head), bytes.NewReader(data))
	var out, complaint bounded
	out.limit, complaint.limit = maxReply, 4096
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Start(); err != nil {
		return nil, nil, fmt.Errorf("pdf child: %w", err)
	}
	err = cmd.Wait()
	if ctx.Err() != nil {
		return nil, nil, fmt.Errorf("pdf child: %w", ctx.Err())
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() != exitFault {
		// Killed by a signal, by time, or by Go itself for want of memory.
		return nil, nil, refuse(fmt.Errorf("pdf child: %w: %w: %s", cos.ErrLimit, err, firstLine(complaint.String())))
	}
	if err != nil {
		return nil, nil, fmt.Errorf("pdf child: %w: %s", err, firstLine(complaint.String()))
	}
	return readReply(out.Bytes())
}

// ownProgram is this program's file, also after an upgrade has replaced it.
func ownProgram() (string, error) {
	if runtime.GOOS == "linux" {
		return "/proc/self/exe", nil
	}
	return os.Executable()
}

func readReply(out []byte) (*reply, []byte, error) {
	line, rest, _ := bytes.Cut(out, []byte("\n"))
	var r reply
	if err := json.Unmarshal(line, &r); err != nil {
		return nil, nil, fmt.Errorf("pdf child: bad reply: %w", err)
	}
	if r.Refusal != nil {
		r.Refusal.Err = errors.New(r.Cause)
		return nil, nil, r.Refusal
	}
	if r.Error != "" {
		return nil, nil, errors.New(r.Error)
	}
	if len(rest) != r.Suffix {
		return nil, nil, fmt.Errorf("pdf child: %d bytes instead of %d", len(rest), r.Suffix)
	}
	if r.Suffix == 0 {
		rest = nil
	}
	return &r, rest, nil
}

// ChildMain does the work of a child if this process was started as one, and
// says so. Every program that inspects documents calls it first in main, and in
// TestMain:
//
//	if pdf.ChildMain() {
//		return
//	}
func ChildMain() bool {
	task := os.Getenv(childTask)
	if task == "" {
		return false
	}
	if err := childWork(task, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(exitFault)
	}
	return true
}

func childWork(task string, in io.Reader, out io.Writer) error {
	if err := limitSelf(); err != nil {
		return err
	}
	input, err := io.ReadAll(io.LimitReader(in, MaxBytes+1<<20))
	if err != nil {
		return err
	}
	if len(input) < 8 {
		return errors.New("short input")
	}
	n := binary.BigEndian.Uint64(input)
	input = input[8:]
	if n > uint64(len(input)) {
		return errors.New("short input")
	}
	head, data := input[:n], input[n:]
	var r reply
	var suffix []byte
	switch task {
	case taskInspect:
		r.Info, err = Inspect(data)
	case taskLayout:
		var plan Plan
		if err := json.Unmarshal(head, &plan); err != nil {
			return err
		}
		suffix, err = Layout(data, plan)
		r.Suffix = len(suffix)
	default:
		return fmt.Errorf("no task %q", task)
	}
	switch refusal := (*workflow.Refusal)(nil); {
	case errors.As(err, &refusal):
		r.Refusal = refusal
		r.Cause = fmt.Sprint(refusal.Err)
		refusal.Err = nil
	case err != nil && (errors.Is(err, cos.ErrBroken) || errors.Is(err, cos.ErrLimit) || errors.Is(err, cos.ErrEncrypted)):
		r.Refusal = refuse(err)
		r.Cause = err.Error()
		r.Refusal.Err = nil
	case err != nil:
		r.Error = err.Error()
	}
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if _, err := out.Write(append(line, '\n')); err != nil {
		return err
	}
	_, err = out.Write(suffix)
	return err
}

// bounded keeps the first bytes of what is written to it, and ends the writer
// with an error when there is more.
type bounded struct {
	bytes.Buffer
	limit int
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > b.limit {
		return 0, fmt.Errorf("more than %d bytes: %w", b.limit, cos.ErrLimit)
	}
	return b.Buffer.Write(p)
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
