package workflow_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"milterd/workflow"
)

// TestPerHour: a sender has so many sessions in any hour, whoever signs; the
// same mail again is none.
func TestPerHour(t *testing.T) {
	d := newDesk(t)
	d.Policy.PerHour = 3
	open := func(id string, sender workflow.Person) (bool, error) {
		o := opening(id, john)
		o.Sender = sender
		_, created, err := d.Open(t.Context(), o)
		return created, err
	}
	for i := range 3 {
		if created, err := open(fmt.Sprint(i), jane); err != nil || !created {
			t.Fatalf("session %d: %t, %v", i, created, err)
		}
		d.tick(10 * time.Minute)
	}
	var r *workflow.Refusal
	if _, err := open("fourth", jane); !errors.As(err, &r) || r.Code != 450 || r.Enhanced != "4.7.1" || r.Reason != "too-many-requests" {
		t.Errorf("the fourth within the hour: %v", err)
	}
	if created, err := open("1", jane); err != nil || created {
		t.Errorf("the same mail again: %t, %v", created, err)
	}
	if created, err := open("fourth", emma); err != nil || !created {
		t.Errorf("somebody else: %t, %v", created, err)
	}
	d.tick(31 * time.Minute) // the first is over an hour old
	if created, err := open("fourth", jane); err != nil || !created {
		t.Errorf("an hour later: %t, %v", created, err)
	}
	if _, err := open("fifth", jane); !errors.As(err, &r) {
		t.Errorf("the next one: %v", err)
	}
}

// TestBlanksMakeNoNewMail: what DKIM lets a resender change opens nothing.
func TestBlanksMakeNoNewMail(t *testing.T) {
	d := newDesk(t)
	o := opening("once", john)
	if _, created, err := d.Open(t.Context(), o); err != nil || !created {
		t.Fatal(created, err)
	}
	o.Thread.Subject = "Contract \t  [Standard] "
	if _, created, err := d.Open(t.Context(), o); err != nil || created {
		t.Errorf("blanks in the subject made another mail: %t, %v", created, err)
	}
	o.Thread.Subject = "Contract [Standard]!"
	if _, created, err := d.Open(t.Context(), o); err != nil || !created {
		t.Errorf("another subject is the same mail: %t, %v", created, err)
	}
}
