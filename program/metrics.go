package program

import (
	"context"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"milterd/milter"
	"milterd/pki"
	"milterd/store"
	"milterd/workflow"
)

// metrics are the numbers at /metrics. Their names are part of what operators
// build on: docs/admin.md lists those worth an alarm.
type metrics struct {
	registry    *prometheus.Registry
	connections prometheus.Gauge
	recipients  *prometheus.HistogramVec // outcome
	mails       *prometheus.HistogramVec // outcome
	requests    *prometheus.CounterVec   // outcome
	jobs        *prometheus.HistogramVec // kind, outcome
	waits       prometheus.Histogram
	pages       *prometheus.HistogramVec // code, method
	timestamps  *prometheus.HistogramVec // result
}

func newMetrics() *metrics {
	m := &metrics{registry: prometheus.NewRegistry()}
	fast := prometheus.ExponentialBuckets(0.0005, 4, 9) // 0.5 ms to 33 s
	histogram := func(name, help string, labels ...string) *prometheus.HistogramVec {
		h := prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "milterd", Name: name, Help: help, Buckets: fast}, labels)
		m.registry.MustRegister(h)
		return h
	}
	m.connections = prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: "milterd", Name: "milter_connections", Help: "Connections of Postfix that are open."})
	m.requests = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "milterd", Name: "requests_total", Help: "Mails to the sign domain by what became of them."}, []string{"outcome"})
	m.registry.MustRegister(m.connections, m.requests,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.recipients = histogram("recipient_seconds", "Answers at RCPT for the sign domain, by outcome.", "outcome")
	m.mails = histogram("mail_seconds", "Whole mails seen, from MAIL to the answer, by outcome: other, taken or why refused.", "outcome")
	m.jobs = histogram("job_seconds", "Tries of jobs, by kind and outcome: completed, snoozed, failed, discarded, dropped or interrupted.", "kind", "outcome")
	m.waits = prometheus.NewHistogram(prometheus.HistogramOpts{
		Namespace: "milterd", Name: "job_wait_seconds", Help: "Between the time a job was due and its start.", Buckets: fast})
	m.registry.MustRegister(m.waits)
	m.pages = histogram("http_seconds", "Requests to the signing pages, by status code and method.", "code", "method")
	m.timestamps = histogram("timestamp_seconds", "Answers of timestamp authorities, by result.", "result")
	// A series that begins with its first failure at 1 shows no increase.
	for _, r := range []string{"ok", "failed"} {
		m.timestamps.WithLabelValues(r)
	}
	for _, k := range []workflow.JobKind{workflow.JobPrepare, workflow.JobMail, workflow.JobSign, workflow.JobSeal, workflow.JobExpire,
		workflow.JobRetain, workflow.JobAsk, workflow.JobForget, workflow.JobRenew, workflow.JobVerified} {
		m.jobs.WithLabelValues(string(k), string(store.Completed))
		m.jobs.WithLabelValues(string(k), string(store.Failed))
	}
	return m
}

// watch adds what is asked from the store whenever somebody looks.
func (m *metrics) watch(s counter) { m.registry.MustRegister(stored{s}) }

// age adds a certificate by its role; end is asked whenever somebody looks,
// because a certificate can be read again.
func (m *metrics) age(role string, end func() time.Time) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "milterd", Name: "certificate_expiry_timestamp_seconds",
		Help: "When a certificate ends, as Unix time: seal or tsa (the own clock) with their issuers, or pages.", ConstLabels: prometheus.Labels{"certificate": role}},
		func() float64 { return float64(end().Unix()) }))
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Registry: m.registry, ErrorHandling: promhttp.ContinueOnError})
}

// meter is what the milter counts with.
func (m *metrics) meter() milter.Meter {
	return milter.Meter{
		Connection: func(delta int) { m.connections.Add(float64(delta)) },
		Recipient: func(outcome string, took time.Duration) {
			m.recipients.WithLabelValues(outcome).Observe(took.Seconds())
		},
		Mail: func(outcome string, d time.Duration) {
			m.mails.WithLabelValues(outcome).Observe(d.Seconds())
		},
	}
}

// web measures requests to a handler.
func (m *metrics) web(h http.Handler) http.Handler {
	return promhttp.InstrumentHandlerDuration(m.pages, h)
}

// job counts one try of a job.
func (m *metrics) job(r store.JobReport) {
	m.jobs.WithLabelValues(string(r.Kind), string(r.Outcome)).Observe(r.Duration.Seconds())
	m.waits.Observe(r.Waited.Seconds())
}

// measuredTime is a pki.Timestamper with a stopwatch.
type measuredTime struct {
	pki.Timestamper
	m *metrics
}

func (t measuredTime) Timestamp(ctx context.Context, digest []byte) ([]byte, error) {
	begin := time.Now()
	token, err := t.Timestamper.Timestamp(ctx, digest)
	t.m.timestamps.WithLabelValues(result(err)).Observe(time.Since(begin).Seconds())
	return token, err
}

func result(err error) string {
	if err != nil {
		return "failed"
	}
	return "ok"
}

// counter is what /metrics asks of the store.
type counter interface {
	Counts(ctx context.Context) (map[workflow.State]int, error)
	Jobs(ctx context.Context, session string) ([]workflow.JobInfo, error)
}

var states = []workflow.State{workflow.Preparing, workflow.Open, workflow.Sealing,
	workflow.Done, workflow.Declined, workflow.Expired, workflow.Cancelled}

// stored is a prometheus.Collector over a counter.
type stored struct{ counter }

var (
	sessionsDesc  = prometheus.NewDesc("milterd_sessions", "Sessions by state.", []string{"state"}, nil)
	discardedDesc = prometheus.NewDesc("milterd_jobs_discarded", "Jobs that ran out of tries; milterd session resend retries them.", nil, nil)
)

func (s stored) Describe(ch chan<- *prometheus.Desc) {
	ch <- sessionsDesc
	ch <- discardedDesc
}

func (s stored) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	counts, err := s.Counts(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(sessionsDesc, err)
		return
	}
	for _, state := range states {
		ch <- prometheus.MustNewConstMetric(sessionsDesc, prometheus.GaugeValue, float64(counts[state]), string(state))
	}
	jobs, err := s.Jobs(ctx, "")
	if err != nil {
		ch <- prometheus.NewInvalidMetric(discardedDesc, err)
		return
	}
	ch <- prometheus.MustNewConstMetric(discardedDesc, prometheus.GaugeValue, float64(len(jobs)))
}
