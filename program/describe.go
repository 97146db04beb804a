package program

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"milterd/workflow"
)

// Describe writes everything that is known of a session, for operators. broken
// is what is wrong with the audit trail's chain, nil if it holds.
func Describe(w io.Writer, s *workflow.Session, jobs []workflow.JobInfo, events []workflow.Event, broken error) {
	fmt.Fprintf(w, "Session %s: %s, level %s\n", s.ID, s.State, s.Level)
	fmt.Fprintf(w, "Subject: %s\n", s.Thread.Subject)
	fmt.Fprintf(w, "Opened %s, deadline %s%s%s\n", stamp(s.Created), stamp(s.Deadline), since(", ended ", s.Ended), since(", documents deleted ", s.Purged))
	fmt.Fprintf(w, "Sender proven by %s; result %s\n", s.ProvenBy, s.Delivery)

	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(t, "\nPeople\n")
	for i, p := range s.People {
		fmt.Fprintf(t, "  %d\t%s <%s>\t%s\t%s%s%s\n", i, p.Name, p.Mail, strings.Join(roles(p), ", "),
			p.State, since(", opened ", p.Opened), since(", decided ", p.Decided))
		if p.Comment != "" {
			fmt.Fprintf(t, "  \tcomment: %q\n", p.Comment)
		}
	}
	fmt.Fprint(t, "\nDocuments\n")
	for i, d := range s.Documents {
		fmt.Fprintf(t, "  %d\t%s (%s, %d pages)\n", i, d.Name, d.Kind, d.Pages)
		for _, r := range d.Revisions {
			fmt.Fprintf(t, "  \t%d %s\t%d bytes\t%s\t%s\n", r.Number, r.Kind, r.Size, stamp(r.Created), r.SHA256)
		}
	}
	fmt.Fprint(t, "\nJobs\n")
	for _, j := range jobs {
		fmt.Fprintf(t, "  %d\t%s\t%s\ttry %d of %d%s\n", j.ID, jobName(j.Job), j.State, j.Attempt, j.Max, next(j))
		if j.Error != "" {
			fmt.Fprintf(t, "  \t%s\n", j.Error)
		}
	}
	fmt.Fprint(t, "\nAudit trail\n")
	for _, e := range events {
		fmt.Fprintf(t, "  %d\t%s\t%s\t%s\t%s\n", e.Seq, stamp(e.Time), e.Kind, e.Actor, detail(e))
	}
	t.Flush()
	if broken != nil {
		fmt.Fprintf(w, "Chain: BROKEN: %v\n", broken)
	} else if n := len(events); n > 0 {
		fmt.Fprintf(w, "Chain: holds, last %s\n", events[n-1].Hash)
	}
}

func roles(p workflow.Participant) []string {
	var r []string
	for _, c := range []struct {
		is   bool
		word string
	}{{p.Sender, "sender"}, {p.Signatory, "signatory"}, {p.Copy, "copy"}} {
		if c.is {
			r = append(r, c.word)
		}
	}
	return r
}

func jobName(j workflow.Job) string {
	words := []string{string(j.Kind)}
	if j.Mail != "" {
		words = append(words, string(j.Mail))
	}
	if j.Kind == workflow.JobMail || j.Kind == workflow.JobSign {
		words = append(words, fmt.Sprintf("person %d", j.Person))
	}
	if j.Round > 0 {
		words = append(words, fmt.Sprintf("round %d", j.Round))
	}
	return strings.Join(words, " ")
}

func next(j workflow.JobInfo) string {
	switch j.State {
	case "scheduled", "retryable":
		return since(", next ", j.Next)
	}
	return since(", finished ", j.Finished)
}

func detail(e workflow.Event) string {
	var parts []string
	if e.Client != "" {
		parts = append(parts, "from "+e.Client)
	}
	for _, k := range slices.Sorted(maps.Keys(e.Detail)) {
		parts = append(parts, k+"="+e.Detail[k])
	}
	return strings.Join(parts, " ")
}

// stamp is a time as evidence tells it: UTC, to the second.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

func since(words string, t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return words + stamp(t)
}
