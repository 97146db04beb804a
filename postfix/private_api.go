package postfix

import "time"

// Options describe a private Postfix.
type Options struct {
	Dir        string            // an empty folder; its parents are made readable for Postfix
	Milter     string            // as smtpd_milters wants it: unix:/path, inet:127.0.0.1:port; "" for none
	SignDomain string            // sign.corp.test
	Domain     string            // of the maildirs: corp.test
	Users      map[string]string // SASL logins and their passwords; none means no AUTH
	Mailboxes  []string          // addresses of Domain that get a maildir
	Log        func(line string) // each line of the mail log; may be nil
	Start      time.Duration     // how long start may take; default 20 s
}
