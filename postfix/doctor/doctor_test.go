package doctor

import (
	"testing"
)

func TestDoctor(t *testing.T) {
	s := newSite(t)
	r := s.doctor().Examine(t.Context())
	t.Log(text(r))
	if bad := outcome(r); len(bad) > 0 || r.Exit() != 0 {
		t.Fatalf("a healthy site: %v, exit %d", bad, r.Exit())
	}
}
