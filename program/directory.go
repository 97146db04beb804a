package program

import (
	"context"
	"fmt"
	"log/slog"

	"milterd/config"
	"milterd/directory"
)

// openDirectory opens the directory that the configuration names: LDAP where it
// names servers, else the file. A file without the groups that the policy names
// is an error. LDAP is not asked: milterd starts without it, and mail waits.
func openDirectory(ctx context.Context, c *config.Config, log *slog.Logger) (directory.Backend, error) {
	l := c.Directory.LDAP
	if len(l.Servers) > 0 {
		return directory.OpenLDAP(directory.LDAPConfig{
			Servers: l.Servers, StartTLS: l.StartTLS, CA: l.CA, BindDN: l.BindDN, PasswordFile: l.PasswordFile,
			Base: l.Base, Filter: l.Filter, Addresses: l.Addresses, Logins: l.Logins,
			Name: l.Name, Language: l.Language, Certificate: l.Certificate,
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
