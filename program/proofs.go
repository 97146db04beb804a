package program

import (
	"time"

	"milterd/auth"
	"milterd/workflow"
)

// people builds the rooms that know who is at the page and whose device it is:
// passkeys, enrolments with their second proofs, one-time passwords.
func (p *Program) people(keys *auth.Keys) error {
	c := p.Config
	passkeys, err := auth.NewPasskeys(auth.Site{Store: p.Store, Keys: keys, URL: c.URL, Organisation: c.Organisation.Name, Now: time.Now, Log: p.log})
	if err != nil {
		return err
	}
	p.Enrolments = &auth.Enrolments{Passkeys: passkeys, PasswordTries: c.Enrolment.PasswordTries, Ways: c.Enrolment.Ways}
	// A directory that knows no passwords offers that way to nobody.
	p.Enrolments.Passwords, _ = p.Directory.(auth.Passwords)
	return nil
}

// proofs are what each level accepts.
func (p *Program) proofs() auth.Proofs {
	return auth.Proofs{workflow.Standard: p.Config.Proofs.Standard, workflow.Advanced: p.Config.Proofs.Advanced}
}
