package program

import (
	"testing"

	"milterd/config"
	"milterd/workflow"
)

// Site is a site for tests outside of this package, which may import demo.
type Site struct{ *site }

func StartSite(t *testing.T, change func(*config.Config)) Site { return Site{startSite(t, change)} }

func (s Site) Config() *config.Config { return s.c }

// Send submits a mail of Jane's, logged in.
func (s Site) Send(t *testing.T, raw string, to ...string) error {
	return s.send(t, "jane.roe", "jane.roe@corp.test", raw, to...)
}

func (s Site) Session(t *testing.T) (*workflow.Session, []workflow.Event) { return s.session(t) }
