package main

import (
	"fmt"
	"os"
	"os/user"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"milterd/config"
)

// loadAsOwner reads the configuration, and where root calls, goes on as the
// user whose the data folder is. Else what a command makes there (keys, tables)
// would be root's, and serve, which runs as that user, could not read it; and a
// check would find readable what serve cannot read.
func (c *cli) loadAsOwner() (*config.Config, error) {
	cfg, err := c.load()
	if err != nil {
		return nil, err
	}
	if err := becomeOwner(cfg.Data); err != nil {
		return nil, fmt.Errorf("becoming the owner of %s: %w", cfg.Data, err)
	}
	return cfg, nil
}

// becomeOwner gives up root for a folder's owner, with that user's groups. A
// folder that is root's or not there changes nothing.
func becomeOwner(folder string) error {
	info, err := os.Stat(folder)
	if os.Geteuid() != 0 || err != nil {
		return nil
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || st.Uid == 0 {
		return nil
	}
	group, groups := int(st.Gid), []int{int(st.Gid)}
	if u, err := user.LookupId(strconv.Itoa(int(st.Uid))); err == nil {
		ids, err := u.GroupIds()
		if err != nil {
			return err
		}
		groups = nil
		for _, id := range append(ids, u.Gid) {
			n, err := strconv.Atoi(id)
			if err != nil {
				return err
			}
			groups = append(groups, n)
		}
		group = groups[len(groups)-1]
	}
	if err := syscall.Setgroups(groups); err != nil {
		return err
	}
	if err := syscall.Setgid(group); err != nil {
		return err
	}
	if err := syscall.Setuid(int(st.Uid)); err != nil {
		return err
	}
	// The kernel now hides /proc/self from us, where our children come from and their
	// namespaces are set up. What root has read so far is what this user may read.
	return unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0)
}
