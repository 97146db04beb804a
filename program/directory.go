package program

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"milterd/config"
	"milterd/directory"
)

// OpenDirectory opens the directory that the configuration names: LDAP where it
// names servers, else the file. A file without the groups that the policy names
// is an error. LDAP is not asked: milterd starts without it, and mail waits.
func OpenDirectory(ctx context.Context, c *config.Config, log *slog.Logger) (directory.Backend, error) {
	l := c.Directory.LDAP
	if len(l.Servers) > 0 {
		return directory.OpenLDAP(directory.LDAPConfig{
			Servers: l.Servers, StartTLS: l.StartTLS, CA: l.CA, BindDN: l.BindDN, PasswordFile: l.PasswordFile,
			Base: l.Base, Filter: l.Filter, Addresses: l.Addresses, Logins: l.Logins,
			Name: l.Name, Language: l.Language, Certificate: l.Certificate,
			GivenName: l.GivenName, Surname: l.Surname, Serial: l.Serial,
			GroupBase: l.GroupBase, GroupFilter: l.GroupFilter, GroupAddresses: l.GroupAddresses, Member: l.Member,
			Cache: l.Cache.Duration, Log: log,
		})
	}
	f, err := directory.Open(c.Directory.Users)
	if err != nil {
		return nil, err
	}
	missing, err := f.Missing(ctx, c.Policy.Names())
	if err == nil && len(missing) > 0 {
		err = fmt.Errorf("policy: the group %q is not in %s", missing[0], c.Directory.Users)
	}
	return f, err
}

// CheckDirectory asks every source of the directory by itself, and whether it
// holds people and the policy's groups. Warnings are what is wrong while
// another server still answers; err is what makes milterd answer 451, or refuse
// everybody.
func (p *Program) CheckDirectory(ctx context.Context) (warnings []string, err error) {
	var away []error
	all := p.Directory.Check(ctx)
	for _, s := range all {
		if s.Err != nil {
			away = append(away, fmt.Errorf("directory: %s: %w", s.Source, s.Err))
		}
	}
	if len(away) == len(all) {
		return nil, errors.Join(away...)
	}
	for _, err := range away {
		warnings = append(warnings, err.Error())
	}
	switch _, err := p.Directory.Sample(ctx); {
	case errors.Is(err, directory.ErrNotFound):
		return warnings, errors.New("directory: nobody with a mail address is in it: see directory.ldap.base, filter and addresses")
	case err != nil:
		return warnings, fmt.Errorf("directory: %w", err)
	}
	missing, err := p.Directory.Missing(ctx, p.Config.Policy.Names())
	if err == nil && len(missing) > 0 {
		err = fmt.Errorf("policy: the group %q is not below directory.ldap.group_base", missing[0])
	}
	return warnings, err
}
