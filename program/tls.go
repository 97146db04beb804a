package program

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"sync/atomic"
)

// certificate is the one of the signing pages. It can be read again while
// connections are open.
type certificate struct {
	files [2]string // chain, key
	now   atomic.Pointer[tls.Certificate]
}

func loadCertificate(chain, key string) (*certificate, error) {
	c := &certificate{files: [2]string{chain, key}}
	return c, c.reload()
}

// reload reads both files; if they do not fit, the old certificate stays.
func (c *certificate) reload() error {
	pair, err := tls.LoadX509KeyPair(c.files[0], c.files[1])
	if err != nil {
		return fmt.Errorf("certificate of the signing pages: %w", err)
	}
	c.now.Store(&pair)
	return nil
}

// Reload reads the people, the trusted lists and the TLS certificate again (SIGHUP).
// An error leaves the old ones.
func (p *Program) Reload() {
	if err := p.Directory.Reload(); err != nil {
		p.log.Error("directory not reloaded, the old one stays", "error", err)
	} else {
		p.log.Info("directory reloaded")
	}
	if p.lists != nil {
		if err := p.lists.Reload(); err != nil {
			p.log.Error("trusted lists not reloaded, the old ones stay", "error", err)
		} else {
			p.log.Info("trusted lists reloaded")
			p.warnLists()
		}
	}
	if p.certificate == nil {
		return
	}
	if err := p.certificate.reload(); err != nil {
		p.log.Error("certificate not reloaded, the old one stays", "error", err)
		return
	}
	p.log.Info("certificate reloaded", slog.Time("expires", p.certificate.now.Load().Leaf.NotAfter))
}

func (c *certificate) config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return c.now.Load(), nil
		},
	}
}
