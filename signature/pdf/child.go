package pdf

import (
	"bufio"
	"bytes"
	"context"
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
	childMark   = "MILTERD_PDF_CHILD" // environment: this is a child
	taskInspect = "inspect"
	childCount  = 4
	exitFault   = 70 // the child has trouble of its own, not with the document
)

// childTime is how long a child may take for a document, by the clock on the wall.
var childTime = 30 * time.Second

// startTime is how long a child may take to start; spareTime, how long one that
// was started ahead waits for a document before it is let go.
const (
	startTime = 15 * time.Second
	spareTime = time.Minute
)

// children bounds how many run at once.
var children = make(chan struct{}, childCount)

// order is what a child is asked to do; the document's bytes follow its line.
type order struct {
	Task string `json:"task"`
	Size int    `json:"size"`
}

// reply is what a child answers, in one line.
type reply struct {
	Info    *Info             `json:"info,omitempty"`
	Refusal *workflow.Refusal `json:"refusal,omitempty"`
	Cause   string            `json:"cause,omitempty"` // of the refusal
	Error   string            `json:"error,omitempty"`
}

// InspectInChild is Inspect in a process of its own, with limits on memory, CPU,
// files and time. A child that dies of them is the refusal "pdf-too-complex".
// Any other error is temporary: the process could not be started, or ctx ended.
func InspectInChild(ctx context.Context, data []byte) (*Info, error) {
	if len(data) > MaxBytes {
		return Inspect(data) // says that it is too large
	}
	return runChild(ctx, taskInspect, data)
}

// child is a process that waits for one document.
type child struct {
	cmd       *exec.Cmd
	in        io.WriteCloser
	out       *bufio.Reader
	complaint bounded
}

// spare holds a child that was started ahead, so that a document need not wait
// for a process to start. Each child still sees one document only.
var spare = make(chan *child, 1)

// takeChild gives the spare or a new one, and has the next started meanwhile.
func takeChild() (*child, error) {
	defer func() { go refill() }()
	select {
	case c := <-spare:
		return c, nil
	default:
		return startChild()
	}
}

func refill() {
	c, err := startChild()
	if err != nil {
		return // whoever needs one tries again, and says why
	}
	select {
	case spare <- c:
		time.AfterFunc(spareTime, func() {
			select {
			case old := <-spare:
				old.end()
			default:
			}
		})
	default:
		c.end()
	}
}

// startChild starts this program again, and waits until it is ready.
func startChild() (*child, error) {
	program, err := ownProgram()
	if err != nil {
		return nil, err
	}
	c := &child{cmd: exec.Command(program)}
	c.complaint.limit = 4096
	c.cmd.Args = []string{os.Args[0], "pdf-child"}
	c.cmd.Env = []string{childMark + "=1", "GOMEMLIMIT=" + childMemory, "GOTRACEBACK=none"}
	c.cmd.Dir = "/"
	c.cmd.WaitDelay = 2 * time.Second
	c.cmd.Stderr = &c.complaint
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.out = bufio.NewReader(io.LimitReader(out, maxReply))
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	late := time.AfterFunc(startTime, func() { c.cmd.Process.Kill() })
	defer late.Stop()
	if ready, err := c.out.ReadByte(); err != nil || ready != '!' {
		c.end()
		return nil, fmt.Errorf("it did not start: %v: %s", err, firstLine(c.complaint.String()))
	}
	return c, nil
}

// end lets a child go that is not needed.
func (c *child) end() {
	c.cmd.Process.Kill()
	c.cmd.Wait()
}

// runChild hands a task with data to a child, and reads its reply.
func runChild(ctx context.Context, task string, data []byte) (*Info, error) {
	if os.Getenv(childMark) != "" {
		return nil, errors.New("pdf child: main did not call pdf.ChildMain first")
	}
	select {
	case children <- struct{}{}:
		defer func() { <-children }()
	case <-ctx.Done():
		return nil, fmt.Errorf("pdf child: %w", ctx.Err())
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("pdf child: %w", ctx.Err())
	}
	line, err := json.Marshal(order{task, len(data)})
	if err != nil {
		return nil, fmt.Errorf("pdf child: %w", err)
	}
	line = append(line, '\n')
	for {
		c, err := takeChild()
		if err != nil {
			return nil, fmt.Errorf("pdf child: %w", err)
		}
		n, _ := c.in.Write(line)
		if n == 0 {
			c.end() // a spare that died while it waited
			continue
		}
		return c.run(ctx, data)
	}
}

// run gives a child its document and waits for the reply, until ctx ends or
// the time is over.
func (c *child) run(ctx context.Context, data []byte) (*Info, error) {
	timed, cancel := context.WithTimeout(ctx, childTime)
	defer cancel()
	stop := context.AfterFunc(timed, func() { c.cmd.Process.Kill() })
	defer stop()
	c.in.Write(data) // a child that died says why below
	c.in.Close()
	out, _ := io.ReadAll(c.out)
	err := c.cmd.Wait()
	if ctx.Err() != nil {
		return nil, fmt.Errorf("pdf child: %w", ctx.Err())
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() != exitFault {
		// Killed by a signal, by time, or by Go itself for want of memory.
		return nil, refuse(fmt.Errorf("pdf child: %w: %w: %s", cos.ErrLimit, err, firstLine(c.complaint.String())))
	}
	if err != nil {
		return nil, fmt.Errorf("pdf child: %w: %s", err, firstLine(c.complaint.String()))
	}
	return readReply(out)
}

// ownProgram is this program's file, also after an upgrade has replaced it.
func ownProgram() (string, error) {
	if runtime.GOOS == "linux" {
		return "/proc/self/exe", nil
	}
	return os.Executable()
}

func readReply(out []byte) (*Info, error) {
	var r reply
	if err := json.Unmarshal(out, &r); err != nil {
		return nil, fmt.Errorf("pdf child: bad reply: %w", err)
	}
	if r.Refusal != nil {
		r.Refusal.Err = errors.New(r.Cause)
		return nil, r.Refusal
	}
	if r.Error != "" {
		return nil, errors.New(r.Error)
	}
	if r.Info == nil {
		return nil, errors.New("pdf child: empty reply")
	}
	return r.Info, nil
}

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
	if err := childWork(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(exitFault)
	}
	return true
}

// tasks are what a child can do with a document.
var tasks = map[string]func(data []byte) (*Info, error){taskInspect: Inspect}

func childWork(stdin io.Reader, out io.Writer) error {
	if err := limitSelf(); err != nil {
		return err
	}
	if _, err := out.Write([]byte("!")); err != nil {
		return err
	}
	in := bufio.NewReader(stdin)
	line, err := in.ReadBytes('\n')
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
	info, err := work(data)
	r := reply{Info: info}
	switch refusal := (*workflow.Refusal)(nil); {
	case errors.As(err, &refusal):
		r.Refusal, r.Cause = refusal, fmt.Sprint(refusal.Err)
		refusal.Err = nil
	case err != nil:
		r.Error = err.Error()
	}
	if line, err = json.Marshal(r); err != nil {
		return err
	}
	_, err = out.Write(append(line, '\n'))
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
