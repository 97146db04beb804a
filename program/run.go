package program

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"milterd/milter"
	"milterd/store"
	"milterd/web"
)

type httpHandler = http.Handler

// drainTime is how long the doors wait for what has begun, at most. systemd's
// default TimeoutStopSec is 90 s.
const drainTime = 30 * time.Second

// sweepEvery is how often what is out of date is dropped.
const sweepEvery = time.Hour

// socketMode lets Postfix in by group; see docs/admin.md.
const socketMode = 0o660

// state is which parts work, for /healthz.
type state struct{ milter, lmtp, jobs atomic.Bool }

// Run serves until ctx ends or a part fails, then drains: first the doors, so
// that nothing new comes in, then the jobs. It returns nil after a clean stop.
func (p *Program) Run(ctx context.Context) error {
	if err := p.Authority.Unlocked(); err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	socket, err := milter.Listen(p.Config.Milter.Listen, socketMode)
	if err != nil {
		return fmt.Errorf("milter.listen: %w", err)
	}
	defer socket.Close()
	var relayed net.Listener
	if p.Config.LMTP.Listen != "" {
		if relayed, err = milter.Listen(p.Config.LMTP.Listen, socketMode); err != nil {
			return fmt.Errorf("lmtp.listen: %w", err)
		}
		defer relayed.Close()
	}
	pages, err := listenPages(p.Config.HTTP.Listen)
	if err != nil {
		return err
	}
	defer pages.Close()
	servers := []*http.Server{web.NewServer(p.pages, p.log)}
	listeners := []net.Listener{pages}
	if p.Config.Monitor.Listen != "" {
		monitor, err := net.Listen("tcp", p.Config.Monitor.Listen)
		if err != nil {
			return fmt.Errorf("monitor.listen: %w", err)
		}
		defer monitor.Close()
		servers = append(servers, web.NewServer(p.monitor(), p.log))
		listeners = append(listeners, monitor)
	}

	serving, failed := context.WithCancelCause(ctx)
	defer failed(nil)
	var doors, jobs sync.WaitGroup
	run := func(group *sync.WaitGroup, name string, f func() error) {
		group.Go(func() {
			if err := f(); err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, milter.ErrClosed) {
				failed(fmt.Errorf("%s: %w", name, err))
			}
		})
	}
	jobsCtx, stopJobs := context.WithCancel(context.WithoutCancel(ctx))
	defer stopJobs()
	run(&jobs, "jobs", func() error {
		p.state.jobs.Store(true)
		defer p.state.jobs.Store(false)
		return p.Store.Work(jobsCtx, p.Desk, store.WorkOptions{Workers: p.Config.Jobs.Workers, Logger: p.log, OnJob: p.metrics.job})
	})
	run(&doors, "milter", func() error {
		p.state.milter.Store(true)
		defer p.state.milter.Store(false)
		return p.door.Serve(socket)
	})
	if relayed != nil {
		run(&doors, "lmtp", func() error {
			p.state.lmtp.Store(true)
			defer p.state.lmtp.Store(false)
			return p.door.ServeLMTP(relayed)
		})
	}
	for i, s := range servers {
		run(&doors, "http", func() error {
			if i == 0 && p.certificate != nil {
				s.TLSConfig = p.certificate.config()
				return s.ServeTLS(listeners[i], "", "")
			}
			return s.Serve(listeners[i])
		})
	}
	for _, w := range p.Warnings() {
		p.log.Warn("the configuration can hardly be meant", "what", w)
	}
	go func() { // what does not work holds up no PDF
		if err := p.CheckConversion(serving); err != nil && serving.Err() == nil {
			p.log.Error("no file is converted to a PDF; senders are asked to send PDFs", "error", err)
		}
	}()
	go p.remind(serving)
	go p.sweep(serving)
	go p.refresh(serving)
	go watchdog(serving, p.healthy)
	p.log.Info("serving", "milter", p.Config.Milter.Listen, "lmtp", p.Config.LMTP.Listen, "pages", p.Config.URL, "version", Version())
	if err := tell("READY=1"); err != nil {
		p.log.Warn("systemd not told", "error", err)
	}

	<-serving.Done()
	tell("STOPPING=1")
	p.log.Info("stopping: finishing what has begun")
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	if err := p.door.Shutdown(drain); err != nil {
		p.log.Warn("connections of Postfix cut", "error", err)
	}
	for _, s := range servers {
		if err := s.Shutdown(drain); err != nil {
			p.log.Warn("http connections cut", "error", err)
			s.Close()
		}
	}
	doors.Wait()
	stopJobs()
	jobs.Wait()
	if err := context.Cause(serving); ctx.Err() == nil {
		return err
	}
	p.log.Info("stopped")
	return nil
}

// sweep drops what is out of date, at start and then from time to time.
func (p *Program) sweep(ctx context.Context) {
	for {
		if err := p.Desk.Sweep(ctx); err != nil && ctx.Err() == nil {
			p.log.Warn("sweeping what is out of date", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(sweepEvery):
		}
	}
}

// monitor serves /healthz and /metrics.
func (p *Program) monitor() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", p.metrics.handler())
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		parts := p.health(r.Context())
		w.Header().Set("Content-Type", "application/json")
		for _, s := range parts {
			if s != "ok" {
				w.WriteHeader(http.StatusServiceUnavailable)
				break
			}
		}
		json.NewEncoder(w).Encode(parts)
	})
	return mux
}

// health says "ok" or what is wrong, for each part.
func (p *Program) health(ctx context.Context) map[string]string {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	parts := map[string]string{"database": "ok", "milter": "ok", "jobs": "ok"}
	if err := p.Store.Ping(ctx); err != nil {
		p.log.Warn("database away", "error", err)
		parts["database"] = "away"
	}
	if !p.state.milter.Load() {
		parts["milter"] = "not serving"
	}
	if p.Config.LMTP.Listen != "" {
		parts["lmtp"] = "ok"
		if !p.state.lmtp.Load() {
			parts["lmtp"] = "not serving"
		}
	}
	if !p.state.jobs.Load() {
		parts["jobs"] = "not running"
	}
	return parts
}

// healthy is health for the watchdog. The database is left out: systemd
// starting us again would not bring it back.
func (p *Program) healthy(context.Context) error {
	if !p.state.milter.Load() || !p.state.jobs.Load() || p.Config.LMTP.Listen != "" && !p.state.lmtp.Load() {
		return errors.New("a part has stopped")
	}
	return nil
}
