package pdf

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
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
	maxReply    = 64 << 20
	childMark   = "MILTERD_PDF_CHILD" // environment: this is a child
	taskInspect = "inspect"
	childCount  = 4
	exitFault   = 70 // the child has trouble of its own, not with the document
)

// How much a child may have behind it and still take another document; see
// docs/decisions.md for why several may share one.
const (
	usedDocuments = 32
	usedSpare     = 24          // documents after which its successor is started, so that nobody waits for that
	usedCPU       = time.Second // so that each document finds nearly all of childCPU
	usedMemory    = 64 << 20    // bytes that Go holds from the system
	usedBytes     = 8 << 20     // a document larger than that gets a fresh child at once
)

// childTime is how long a child may take for a document, by the clock on the
// wall; usedTime, how long one that has seen other documents may.
var (
	childTime = 30 * time.Second
	usedTime  = 3 * time.Second
)

// startTime is how long a child may take to start; idleTime, how long one waits
// for a document before it is let go.
const (
	startTime = 15 * time.Second
	idleTime  = time.Minute
)

// children bounds how many run at once.
var children = make(chan struct{}, childCount)

// order is what a child is asked to do; the document's bytes follow its line.
type order struct {
	ID      string          `json:"id"` // unguessable, for the reply
	Task    string          `json:"task"`
	Options json.RawMessage `json:"options,omitempty"`
	Size    int             `json:"size"`
}

// reply is what a child answers, in one line.
type reply struct {
	ID      string            `json:"id"`
	More    bool              `json:"more,omitempty"` // it takes another document
	Answer  json.RawMessage   `json:"answer,omitempty"`
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
	info := new(Info)
	if err := runChild(ctx, taskInspect, nil, data, info, len(data) > usedBytes); err != nil {
		return nil, err
	}
	return info, nil
}

// child is a process that takes documents, one after the other.
type child struct {
	cmd       *exec.Cmd
	in        io.WriteCloser
	out       *bufio.Reader
	left      *io.LimitedReader // under out: what a reply may still bring
	complaint bounded           // to be read when it has ended
	seen      int               // documents
	let       *time.Timer       // lets it go while it waits
}

// idle holds children that wait for a document, so that none has to wait for a
// process to start.
var idle struct {
	sync.Mutex
	list []*child
}

// takeChild gives the child that waits and has seen the most, or a new one. A
// fresh one has never seen a document.
func takeChild(fresh bool) (*child, error) {
	idle.Lock()
	best := -1
	for i, c := range idle.list {
		if (!fresh || c.seen == 0) && (best < 0 || c.seen > idle.list[best].seen) {
			best = i
		}
	}
	if best < 0 {
		idle.Unlock()
		return startChild()
	}
	c := idle.list[best]
	idle.list = slices.Delete(idle.list, best, best+1)
	idle.Unlock()
	c.let.Stop()
	return c, nil
}

// wait lets a child wait for a document, but not for ever.
func (c *child) wait() {
	idle.Lock()
	defer idle.Unlock()
	if len(idle.list) >= childCount {
		go c.end()
		return
	}
	idle.list = append(idle.list, c)
	c.let = time.AfterFunc(idleTime, func() {
		idle.Lock()
		i := slices.Index(idle.list, c)
		if i >= 0 {
			idle.list = slices.Delete(idle.list, i, i+1)
		}
		idle.Unlock()
		if i >= 0 {
			c.end()
		}
	})
}

// replace starts a child when none waits that will take some more documents.
func replace() {
	idle.Lock()
	enough := slices.ContainsFunc(idle.list, func(c *child) bool { return c.seen < usedSpare })
	idle.Unlock()
	if enough {
		return
	}
	if c, err := startChild(); err == nil { // else whoever needs one tries again, and says why
		c.wait()
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
	// Documents make garbage and are gone; memory has its limit anyway, so less is collected.
	c.cmd.Env = []string{childMark + "=1", "GOMEMLIMIT=" + childMemory, "GOGC=400", "GOTRACEBACK=none"}
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
	c.left = &io.LimitedReader{R: out, N: maxReply}
	c.out = bufio.NewReader(c.left)
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

// RunInChild hands a task (AddTask) with its options, which may be nil, and a
// document to a child that has seen no other one, and reads what it answers.
// Errors are those of InspectInChild, and what the task itself says.
func RunInChild(ctx context.Context, task string, options any, data []byte, answer any) error {
	if len(data) > MaxBytes {
		return refuse(fmt.Errorf("%d bytes: %w", len(data), cos.ErrLimit))
	}
	return runChild(ctx, task, options, data, answer, true)
}

// runChild hands a task with data to a child, and reads its reply. Where a
// child that has seen other documents says anything but yes, it does not count:
// a fresh one is asked.
func runChild(ctx context.Context, task string, options any, data []byte, answer any, fresh bool) error {
	if os.Getenv(childMark) != "" {
		return errors.New("pdf child: main did not call pdf.ChildMain first")
	}
	o := order{ID: rand.Text(), Task: task, Size: len(data)}
	var err error
	if options != nil {
		if o.Options, err = json.Marshal(options); err != nil {
			return fmt.Errorf("pdf child: %w", err)
		}
	}
	line, err := json.Marshal(o)
	if err != nil {
		return fmt.Errorf("pdf child: %w", err)
	}
	select {
	case children <- struct{}{}:
		defer func() { <-children }()
	case <-ctx.Done():
		return fmt.Errorf("pdf child: %w", ctx.Err())
	}
	for {
		if ctx.Err() != nil {
			return fmt.Errorf("pdf child: %w", ctx.Err())
		}
		c, err := takeChild(fresh)
		if err != nil {
			return fmt.Errorf("pdf child: %w", err)
		}
		if n, _ := c.in.Write(append(line, '\n')); n == 0 {
			c.end() // it died while it waited
			continue
		}
		used := c.seen > 0
		err = c.run(ctx, o.ID, data, answer)
		if err == nil || !used || ctx.Err() != nil {
			return err
		}
		fresh = true
	}
}

// run gives a child the document of an order and waits for the reply, until ctx
// ends or the time is over. A child that takes more documents then waits for
// one; any other has ended.
func (c *child) run(ctx context.Context, id string, data []byte, answer any) error {
	limit := childTime
	if c.seen > 0 {
		limit = usedTime
	}
	timed, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	stop := context.AfterFunc(timed, func() { c.cmd.Process.Kill() })
	c.left.N = maxReply
	c.in.Write(data) // a child that died says why below
	line, err := c.out.ReadBytes('\n')
	if err != nil {
		defer stop()
		return c.died(ctx)
	}
	more, err := readReply(line, id, answer)
	if stop() && more { // else the time has killed it meanwhile
		if c.seen++; c.seen == usedSpare {
			go replace()
		}
		c.wait()
	} else {
		c.end()
		go replace()
	}
	return err
}

// died says why a child has ended, or ends after a reply that has no end.
func (c *child) died(ctx context.Context) error {
	if c.left.N == 0 {
		c.end()
		return refuse(fmt.Errorf("pdf child: a reply of more than %d bytes: %w", maxReply, cos.ErrLimit))
	}
	c.in.Close()
	err := c.cmd.Wait()
	if ctx.Err() != nil {
		return fmt.Errorf("pdf child: %w", ctx.Err())
	}
	var exit *exec.ExitError
	switch said := firstLine(c.complaint.String()); {
	case errors.As(err, &exit) && exit.ExitCode() != exitFault:
		// Killed by a signal, by time, or by Go itself for want of memory.
		return refuse(fmt.Errorf("pdf child: %w: %w: %s", cos.ErrLimit, err, said))
	case err != nil:
		return fmt.Errorf("pdf child: %w: %s", err, said)
	}
	return errors.New("pdf child: no reply")
}

// ownProgram is this program's file, also after an upgrade has replaced it.
func ownProgram() (string, error) {
	if runtime.GOOS == "linux" {
		return "/proc/self/exe", nil
	}
	return os.Executable()
}

// readReply reads the reply to the order with this id. more is whether the
// child is given another document: never after anything but yes.
func readReply(line []byte, id string, answer any) (more bool, err error) {
	var r reply
	if err := json.Unmarshal(line, &r); err != nil {
		return false, fmt.Errorf("pdf child: bad reply: %w", err)
	}
	switch {
	case r.ID != id:
		return false, errors.New("pdf child: a reply to another order")
	case r.Refusal != nil:
		r.Refusal.Err = errors.New(r.Cause)
		return false, r.Refusal
	case r.Error != "":
		return false, errors.New(r.Error)
	case r.Answer == nil:
		return false, errors.New("pdf child: empty reply")
	}
	if err := json.Unmarshal(r.Answer, answer); err != nil {
		return false, fmt.Errorf("pdf child: bad reply: %w", err)
	}
	return r.More, nil
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
