package postfix

import (
	"context"
	"errors"
)

// Private is a running Postfix that belongs to nobody else.
type Private struct{ SMTPAddr string }

// StartPrivate starts one; the caller ends it with Stop.
func StartPrivate(ctx context.Context, o Options) (*Private, error) {
	return nil, errors.New("unwritten")
}

// Maildir is the folder with the mail of one of Options.Mailboxes.
func (p *Private) Maildir(addr string) string { return "" }

// Mails gives what was delivered to an address, in order of arrival.
func (p *Private) Mails(addr string) ([][]byte, error) { return nil, errors.New("unwritten") }

// Flush makes Postfix try its deferred mail now.
func (p *Private) Flush(ctx context.Context) error { return errors.New("unwritten") }

// Stop ends it.
func (p *Private) Stop() error { return errors.New("unwritten") }
