package store

import (
	"strings"
	"testing"
)

// TestDueIndex asks both databases how they find what River's leader looks for
// every five seconds among many jobs that wait for their time. The conditions
// are River's (JobScheduleGetEligible of riversqlite, JobSchedule of riverpgxv5).
func TestDueIndex(t *testing.T) {
	for engine, q := range map[string]struct{ fill, explain string }{
		"sqlite": {
			`INSERT INTO river_job (kind, max_attempts, priority, queue, state, args, scheduled_at)
				WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
				SELECT 'milterd', 1, 1, 'default', 'scheduled', '{}', datetime('now', '+1 hour') FROM n`,
			`EXPLAIN QUERY PLAN SELECT id, unique_key FROM river_job WHERE state IN ('retryable', 'scheduled')
				AND scheduled_at <= coalesce(cast(NULL AS text), datetime('now', 'subsec')) ORDER BY priority, scheduled_at, id LIMIT 1000`,
		},
		"postgres": {
			`INSERT INTO river_job (kind, max_attempts, priority, queue, state, args, scheduled_at)
				SELECT 'milterd', 1, 1, 'default', 'scheduled', '{}', now() + interval '1 hour' FROM generate_series(1, 5000);
			ANALYZE river_job`,
			`EXPLAIN SELECT id FROM river_job WHERE state IN ('retryable', 'scheduled') AND priority >= 0 AND queue IS NOT NULL
				AND scheduled_at <= now() ORDER BY priority, scheduled_at, id LIMIT 1000 FOR UPDATE`,
		},
	} {
		t.Run(engine, func(t *testing.T) {
			s := open(t, empty(t, engine))
			x, err := s.engine.begin(bg)
			if err != nil {
				t.Fatal(err)
			}
			defer x.rollback()
			for one := range strings.SplitSeq(q.fill, ";") {
				if _, err := x.ExecContext(bg, one); err != nil {
					t.Fatal(err)
				}
			}
			rows, err := x.QueryContext(bg, q.explain)
			if err != nil {
				t.Fatal(err)
			}
			defer rows.Close()
			var plan []string
			for rows.Next() {
				var line string
				to := []any{&line}
				if engine == "sqlite" {
					to = []any{new(int), new(int), new(int), &line}
				}
				if err := rows.Scan(to...); err != nil {
					t.Fatal(err)
				}
				plan = append(plan, line)
			}
			if err := rows.Err(); err != nil {
				t.Fatal(err)
			}
			if all := strings.Join(plan, "\n"); !strings.Contains(all, "milterd_job_due") {
				t.Errorf("the plan does not use the index:\n%s", all)
			}
		})
	}
}
