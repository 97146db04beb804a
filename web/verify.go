package web

import (
	"context"
	"errors"
	"io"
	"net/http"
	"path"
	"strings"
	"time"

	"milterd/workflow"
)

// Verifier judges the signatures in a file that anybody may have made, which are
// detached where others are given for them. Its error is temporary.
type Verifier interface {
	Verify(ctx context.Context, file workflow.NamedFile, others []workflow.NamedFile, given bool) (workflow.VerifiedFile, error)
}

// What the verification page lets strangers cost. A file is judged for some
// hundredths of a second, at worst for as long as a child process may work.
const (
	uploads    = 4 // at once, each in memory
	judgements = 1 // at once: documents on their way to signatures come first
	uploadTime = 2 * time.Minute
	maxListed  = 100 // signatures listed
	maxSigned  = 20  // files that one detached signature is held against
)

// verifyView is what the verification page shows.
type verifyView struct {
	view
	Problem string // key of a text
	File    *workflow.VerifiedFile
	More    int // signatures beyond maxListed
}

// Date is how the page writes a time.
func (verifyView) Date(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// verifyRoutes are the page on which anybody can have a file judged: who got a
// document by mail need not be in the directory. It works without a script.
func (s *site) verifyRoutes(mux *http.ServeMux) {
	if s.Verifier == nil {
		return
	}
	up, judging := make(chan struct{}, uploads), make(chan struct{}, judgements)
	mux.HandleFunc("GET /verify", func(w http.ResponseWriter, r *http.Request) { s.showVerify(w, r, http.StatusOK, verifyView{}) })
	mux.HandleFunc("POST /verify", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		c := &call{ResponseWriter: w, Request: r, client: clientAddress(r, s.Proxies)}
		key := clientKey(c.client)
		switch {
		case s.own(c) != nil:
			s.showVerify(w, r, http.StatusForbidden, verifyView{Problem: "verify.foreign"})
			return
		case !s.clients.allow(key, s.now()) || !s.files.allow(key, s.now()):
			s.showVerify(w, r, http.StatusTooManyRequests, verifyView{Problem: "verify.often"})
			return
		}
		select {
		case up <- struct{}{}:
			defer func() { <-up }()
		default:
			s.showVerify(w, r, http.StatusServiceUnavailable, verifyView{Problem: "verify.busy"})
			return
		}
		f, status, problem := s.judge(c, judging)
		s.showVerify(w, r, status, verifyView{Problem: problem, File: f})
	})
}

// judge reads the file and has it judged; problem is the key of a text.
func (s *site) judge(c *call, slot chan struct{}) (f *workflow.VerifiedFile, status int, problem string) {
	// The server's limits for a request are too short for a large file by phone.
	until := time.Now().Add(uploadTime)
	control := http.NewResponseController(c.ResponseWriter)
	_, _ = control.SetReadDeadline(until), control.SetWriteDeadline(until.Add(time.Minute)) // a recorder in tests has none
	file, signed, err := upload(c, s.MaxFile)
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, http.StatusRequestEntityTooLarge, "verify.large"
	case err != nil:
		return nil, http.StatusBadRequest, "verify.broken"
	case len(file.Content) == 0:
		return nil, http.StatusBadRequest, "verify.none"
	case len(signed) > maxSigned:
		return nil, http.StatusBadRequest, "verify.many"
	}
	ctx, cancel := context.WithTimeout(c.Context(), time.Minute)
	defer cancel()
	select {
	case slot <- struct{}{}:
		defer func() { <-slot }()
	case <-ctx.Done():
		return nil, http.StatusServiceUnavailable, "verify.busy"
	}
	got, err := s.Verifier.Verify(ctx, file, signed, len(signed) > 0)
	if err != nil {
		if c.Context().Err() == nil {
			s.Log.Error("web: a file could not be judged", "err", err)
		}
		return nil, http.StatusServiceUnavailable, "verify.busy"
	}
	return &got, http.StatusOK, ""
}

// upload gives the file of a form, and those that its signature is for.
func upload(c *call, limit int64) (file workflow.NamedFile, signed []workflow.NamedFile, err error) {
	c.Request.Body = http.MaxBytesReader(c.ResponseWriter, c.Request.Body, limit)
	form, err := c.MultipartReader()
	if err != nil {
		return file, nil, err
	}
	for {
		p, err := form.NextPart()
		if err == io.EOF {
			return file, signed, nil
		}
		if err != nil {
			return file, nil, err
		}
		one := workflow.NamedFile{Name: path.Base(strings.ReplaceAll(p.FileName(), `\`, "/"))}
		if one.Content, err = io.ReadAll(p); err != nil {
			return file, nil, err
		}
		switch {
		case p.FileName() == "": // no file was chosen
		case p.FormName() == "file" && file.Content == nil:
			file = one
		case p.FormName() == "signed" && len(signed) <= maxSigned:
			signed = append(signed, one)
		}
	}
}

func (s *site) showVerify(w http.ResponseWriter, r *http.Request, status int, v verifyView) {
	v.view = s.view(r)
	if v.File != nil && len(v.File.Signatures) > maxListed {
		v.More = len(v.File.Signatures) - maxListed
		v.File.Signatures = v.File.Signatures[:maxListed]
	}
	if status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "10")
	}
	s.renderAs(w, status, "verify.html", v)
}
