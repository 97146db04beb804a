package convert

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"milterd/workflow"
)

// Config says with what, and how much it may take.
type Config struct {
	Program string        // path or name of soffice; empty: soffice, as PATH finds it
	Kinds   []string      // of Kinds
	Time    time.Duration // for one file
	Memory  int64         // bytes, for each process of LibreOffice
	Log     *slog.Logger
}

// MaxPDF is the size of the largest result, in bytes.
const MaxPDF = 64 << 20

// maxWait is how long a file may wait for its turn.
const maxWait = 30 * time.Second

// ErrUnavailable says that nothing can be converted: LibreOffice is missing, or
// the kernel does not let us isolate it. An administrator mends that.
var ErrUnavailable = errors.New("no conversion")

// Converter converts one file for each processor at a time. It is safe for
// concurrent use.
type Converter struct {
	config Config
	turns  chan struct{}
}

// New makes a converter; whether it can work is for Check.
func New(c Config) *Converter {
	return &Converter{config: c, turns: make(chan struct{}, runtime.GOMAXPROCS(0))}
}

// Takes reports whether a file is of a kind that is to be converted.
func (c *Converter) Takes(name string) bool {
	k := Kind(name)
	for _, kind := range c.config.Kinds {
		if k == kind {
			return true
		}
	}
	return false
}

// Converted is the PDF of a file.
type Converted struct {
	PDF  []byte
	By   string // "LibreOffice 7.4.7.2"
	Took time.Duration
}

// Convert makes a PDF of a file, whose kind its name's extension says. An error is
// a *workflow.Refusal: permanent where it is the file's fault ("not-of-its-kind",
// "picture-too-large", "conversion-failed", "conversion-too-long"), temporary where it is not
// ("conversion-busy", "conversion-away", which wraps ErrUnavailable).
func (c *Converter) Convert(ctx context.Context, name string, content []byte) (*Converted, error) {
	k, ok := kinds[Kind(name)]
	if !ok || !k.is(content) {
		return nil, refuse("not-of-its-kind", "This file is not what the end of its name says; please give it its right name, or save it as a PDF", nil)
	}
	wait, cancel := context.WithTimeout(ctx, maxWait)
	defer cancel()
	select {
	case c.turns <- struct{}{}:
		defer func() { <-c.turns }()
	case <-wait.Done():
		return nil, later("conversion-busy", "Too many files are being converted right now; please try again in a few minutes, or send a PDF", wait.Err())
	}
	at, err := c.program()
	if err != nil {
		return nil, away(err)
	}
	start := time.Now()
	pdf, err := c.sandboxed(ctx, order{Program: at, Filter: k.filter, Kind: Kind(name)}, content)
	if c.config.Log != nil {
		c.config.Log.Info("file converted", "kind", Kind(name), "bytes", len(content), "pdf", len(pdf), "took", time.Since(start).Round(time.Millisecond), "error", err)
	}
	if err != nil {
		return nil, err
	}
	return &Converted{PDF: pdf, By: version(at), Took: time.Since(start)}, nil
}

// order is what the sandbox is asked to do; the file's bytes follow its line.
type order struct {
	Program string        `json:"program"` // absolute
	Filter  string        `json:"filter"`
	Kind    string        `json:"kind"`
	Time    time.Duration `json:"time"`
	Memory  int64         `json:"memory"`
	Size    int           `json:"size"`
}

// reply is its answer; after a result the PDF's bytes follow its line.
type reply struct {
	Outcome string `json:"outcome"`
	Said    string `json:"said,omitempty"` // for the log
	Size    int    `json:"size,omitempty"`
}

// The outcomes.
const (
	done      = "done"
	failed    = "failed"     // LibreOffice ended without a PDF
	tooLong   = "too long"   // it did not end
	tooLarge  = "too large"  // its PDF is
	points    = "points"     // a picture's
	noSandbox = "no sandbox" // the kernel, or who runs us, does not let us
)

// sandboxed has a child convert a file.
func (c *Converter) sandboxed(ctx context.Context, o order, content []byte) ([]byte, error) {
	o.Time, o.Memory, o.Size = c.config.Time, c.config.Memory, len(content)
	// The child keeps the time itself; what it cannot end, we do.
	timed, cancel := context.WithTimeout(ctx, c.config.Time+5*time.Second)
	defer cancel()
	cmd, err := startable(timed)
	if err != nil {
		return nil, away(err)
	}
	var complaint tail
	cmd.Stderr = &complaint
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, away(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, away(err)
	}
	if err := cmd.Start(); err != nil {
		return nil, away(fmt.Errorf("%w: %w", ErrUnavailable, explain(err)))
	}
	line, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	// Its standard input stays open: when we die, the child sees it end, and ends.
	go func() {
		in.Write(append(line, '\n'))
		in.Write(content)
	}()
	said, readErr := io.ReadAll(io.LimitReader(out, MaxPDF+64<<10))
	in.Close()
	cmd.Process.Kill() // the first process of its namespace: all others end with it
	err = cmd.Wait()
	if ctx.Err() != nil {
		return nil, later("conversion-busy", "The files take too long to be converted right now; please try again in a few minutes, send fewer at once, or send PDFs", ctx.Err())
	}
	r, pdf, ok := readReply(said)
	switch {
	case !ok && timed.Err() != nil:
		return nil, errTooLong(c.config.Time, timed.Err())
	case !ok:
		return nil, errFailed(fmt.Errorf("the sandbox ended: %w: %w: %s", err, readErr, complaint.String()))
	}
	return c.outcome(r, pdf)
}

// maxSaid is how much of its words goes into the log.
const maxSaid = 500

// readReply reads what came out of the sandbox, where a file may have taken over.
func readReply(said []byte) (r reply, pdf []byte, ok bool) {
	line, pdf, ok := bytes.Cut(said, []byte("\n"))
	if !ok || json.Unmarshal(line, &r) != nil {
		return reply{}, nil, false
	}
	r.Said = strings.ToValidUTF8(r.Said[:min(len(r.Said), maxSaid)], "")
	return r, pdf, true
}

func (c *Converter) outcome(r reply, pdf []byte) ([]byte, error) {
	cause := errors.New(r.Said)
	switch r.Outcome {
	case done:
		if len(pdf) != r.Size || len(pdf) > MaxPDF || !bytes.HasPrefix(pdf, []byte("%PDF-")) {
			return nil, errFailed(fmt.Errorf("%d bytes of %d, that begin with %.8q", len(pdf), r.Size, pdf))
		}
		return pdf, nil
	case tooLong:
		return nil, errTooLong(c.config.Time, cause)
	case tooLarge:
		return nil, refuse("conversion-too-large", fmt.Sprintf("The PDF of this file would be larger than %d MB; please send a smaller one", MaxPDF>>20), cause)
	case points:
		return nil, refuse("picture-too-large", fmt.Sprintf("This picture has more than %d million points, or is damaged; please make it smaller", maxPoints/1000000), cause)
	case noSandbox:
		return nil, away(fmt.Errorf("%w: %w", ErrUnavailable, cause))
	}
	return nil, errFailed(cause)
}

func refuse(reason, text string, cause error) error {
	return &workflow.Refusal{Code: 554, Enhanced: "5.6.3", Reason: reason, Text: text + ".", Err: cause}
}

func later(reason, text string, cause error) error {
	return &workflow.Refusal{Code: 451, Enhanced: "4.3.2", Reason: reason, Text: text + ".", Err: cause}
}

func away(cause error) error {
	return later("conversion-away", "Files cannot be converted right now; please save this one as a PDF and send that", cause)
}

func errFailed(cause error) error {
	return refuse("conversion-failed", "LibreOffice cannot make a PDF of this file: it is damaged, protected by a password, or too large; please save it as a PDF and send that", cause)
}

func errTooLong(limit time.Duration, cause error) error {
	return refuse("conversion-too-long", fmt.Sprintf("LibreOffice has not made a PDF of this file in %v; please save it as a PDF and send that", limit), cause)
}

// tail keeps the last bytes of what is written to it.
type tail struct{ b []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p...)
	t.b = t.b[max(0, len(t.b)-500):]
	return len(p), nil
}

func (t *tail) String() string { return strings.TrimSpace(string(t.b)) }

// version is LibreOffice's own, as a file beside the program tells it.
func version(program string) string {
	b, err := os.ReadFile(filepath.Join(filepath.Dir(program), "bootstraprc"))
	if err == nil {
		for line := range strings.Lines(string(b)) {
			if v, ok := strings.CutPrefix(strings.TrimSpace(line), "ProductKey="); ok {
				return v
			}
		}
	}
	return "LibreOffice"
}
