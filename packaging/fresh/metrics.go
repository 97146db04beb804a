package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

var metricName = regexp.MustCompile(`\bmilterd_[a-z_]+`)

// metrics has promtool judge what the running milterd says, the alert rules
// with their tests, and the dashboard's questions; and no rule or panel may ask
// for a metric that is not there.
func (t *trial) metrics(ctx context.Context) error {
	resp, err := http.Get("http://localhost:8471/metrics") // in the machine, as every connection now
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var said bytes.Buffer
	if _, err := said.ReadFrom(resp.Body); err != nil {
		return err
	}
	if out, err := promtool(ctx, t.monitoring, said.Bytes(), "check", "metrics"); err != nil {
		return err
	} else if out != "" {
		return fmt.Errorf("promtool check metrics: %s", out)
	}
	if _, err := promtool(ctx, t.monitoring, nil, "check", "rules", "alerts.yml"); err != nil {
		return err
	}
	if _, err := promtool(ctx, t.monitoring, nil, "test", "rules", "alerts_test.yml"); err != nil {
		return err
	}
	if err := t.dashboard(ctx); err != nil {
		return err
	}
	for _, file := range []string{"alerts.yml", "grafana.json"} {
		b, err := os.ReadFile(filepath.Join(t.monitoring, file))
		if err != nil {
			return err
		}
		for _, name := range metricName.FindAllString(string(b), -1) {
			if !strings.Contains(said.String(), "\n"+name+"{") && !strings.Contains(said.String(), "\n"+name+" ") {
				return fmt.Errorf("%s asks for %s, which milterd does not say", file, name)
			}
		}
	}
	return nil
}

// dashboard reads the panels and has promtool read what they ask.
func (t *trial) dashboard(ctx context.Context) error {
	b, err := os.ReadFile(filepath.Join(t.monitoring, "grafana.json"))
	if err != nil {
		return err
	}
	var d struct {
		UID           string
		SchemaVersion int
		Panels        []struct {
			ID          int
			Title, Type string
			GridPos     struct{ X, Y, W, H int }
			Targets     []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(b, &d); err != nil {
		return fmt.Errorf("grafana.json: %w", err)
	}
	type rule struct {
		Record string `json:"record"`
		Expr   string `json:"expr"`
	}
	var rules []rule
	ids, plain := map[int]bool{}, strings.NewReplacer("$__rate_interval", "5m", "$instance", ".*")
	for _, p := range d.Panels {
		if ids[p.ID] || p.Title == "" || len(p.Targets) == 0 || p.GridPos.X+p.GridPos.W > 24 {
			return fmt.Errorf("grafana.json: panel %d, %q, cannot be shown", p.ID, p.Title)
		}
		ids[p.ID] = true
		for _, q := range p.Targets {
			rules = append(rules, rule{fmt.Sprintf("panel%d:%d", p.ID, len(rules)), plain.Replace(q.Expr)})
		}
	}
	if d.UID == "" || d.SchemaVersion == 0 || len(rules) < 10 {
		return fmt.Errorf("grafana.json: %d questions, uid %q, schema %d", len(rules), d.UID, d.SchemaVersion)
	}
	// JSON is YAML.
	group, err := json.Marshal(map[string]any{"groups": []any{map[string]any{"name": "dashboard", "rules": rules}}})
	if err != nil {
		return err
	}
	file := filepath.Join(os.TempDir(), fmt.Sprintf("milterd-dashboard-%d.yml", os.Getpid()))
	defer os.Remove(file)
	if err := os.WriteFile(file, group, 0o600); err != nil {
		return err
	}
	_, err = promtool(ctx, t.monitoring, nil, "check", "rules", file)
	return err
}

// promtool is Prometheus's own judge.
func promtool(ctx context.Context, dir string, in []byte, args ...string) (string, error) {
	c := exec.CommandContext(ctx, "promtool", args...)
	c.Dir, c.Stdin = dir, bytes.NewReader(in)
	out, err := c.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("promtool %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out)), nil
}
