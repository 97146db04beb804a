package postfix

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Backups stand beside the files, named after the moment.
const (
	backupMark = ".milterd-" // main.cf as it was before Apply
	undoneMark = ".undone-"  // main.cf as it was before Undo
	stampForm  = "20060102-150405"
)

// Apply carries out a plan through postconf(1): main.cf and master.cf are
// copied, main.cf is changed, and Postfix checks it. If the check
// fails, main.cf is again what it was. It returns the copy of main.cf.
func (i Instance) Apply(ctx context.Context, p *Plan, now time.Time) (backup string, err error) {
	if len(p.Changes) == 0 {
		return "", nil
	}
	dir, err := i.Config(ctx)
	if err != nil {
		return "", fmt.Errorf("changing Postfix: %w", err)
	}
	if backup, err = keep(dir, backupMark, now, "main.cf", "master.cf"); err != nil {
		return "", fmt.Errorf("changing Postfix: backup: %w", err)
	}
	edit, remove := []string{"-e"}, []string{"-X"}
	for _, c := range p.Changes {
		if c.Gone {
			remove = append(remove, c.Name)
		} else {
			edit = append(edit, c.Name+" = "+c.After)
		}
	}
	for _, args := range [][]string{edit, remove} {
		if len(args) > 1 && err == nil {
			_, err = i.run(ctx, "postconf", args...)
		}
	}
	if err == nil {
		_, err = i.run(ctx, "postfix", "check")
	}
	if err != nil {
		return "", errors.Join(fmt.Errorf("changing Postfix: %w", err), os.Rename(backup, filepath.Join(dir, "main.cf")))
	}
	return backup, nil
}

// keep copies files of a folder; it returns the copy of the first. Nothing is
// ever written over.
func keep(dir, mark string, now time.Time, names ...string) (string, error) {
	stamp := mark + now.Format(stampForm)
	for n := 2; exists(filepath.Join(dir, names[0]+stamp)); n++ {
		stamp = fmt.Sprintf("%s%s-%d", mark, now.Format(stampForm), n)
	}
	for _, name := range names {
		if err := copyFile(filepath.Join(dir, name), filepath.Join(dir, name+stamp)); err != nil {
			return "", err
		}
	}
	return filepath.Join(dir, names[0]+stamp), nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// copyFile copies with mode and owner, to a file that must not be there yet.
func copyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, info.Mode().Perm())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if s, ok := info.Sys().(*syscall.Stat_t); ok && os.Geteuid() == 0 {
		if err := out.Chown(int(s.Uid), int(s.Gid)); err != nil {
			return err
		}
	}
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	return out.Sync()
}

// Undoing is what Undo would do.
type Undoing struct {
	Backup  string   // the copy of main.cf that takes its place again
	Changes []Change // Why is empty
	dir     string
}

// Undoing finds the newest copy of main.cf that Apply made.
func (i Instance) Undoing(ctx context.Context) (*Undoing, error) {
	dir, err := i.Config(ctx)
	if err != nil {
		return nil, fmt.Errorf("looking for a backup: %w", err)
	}
	copies, err := filepath.Glob(filepath.Join(dir, "main.cf"+backupMark+"*"))
	if err != nil || len(copies) == 0 {
		return nil, fmt.Errorf("there is no %s%s*: nothing has been changed by milterd postfix apply, or it was undone", filepath.Join(dir, "main.cf"), backupMark)
	}
	u := &Undoing{Backup: slices.Max(copies), dir: dir}
	// postconf reads a main.cf only by that name.
	tmp, err := os.MkdirTemp("", "milterd-undo-")
	if err != nil {
		return nil, fmt.Errorf("looking at the backup: %w", err)
	}
	defer os.RemoveAll(tmp)
	if err := copyFile(u.Backup, filepath.Join(tmp, "main.cf")); err != nil {
		return nil, fmt.Errorf("looking at the backup: %w", err)
	}
	var was, is string
	if was, err = (Instance{Dir: tmp, Bin: i.Bin}).run(ctx, "postconf", "-n"); err == nil {
		is, err = i.run(ctx, "postconf", "-n")
	}
	if err != nil {
		return nil, fmt.Errorf("looking at the backup: %w", err)
	}
	u.compare(pairs(is), pairs(was))
	return u, nil
}

func (u *Undoing) compare(is, was map[string]string) {
	names := map[string]bool{}
	for _, m := range []map[string]string{is, was} {
		for name := range m {
			names[name] = true
		}
	}
	delete(names, "config_directory") // postconf names the folder that it was given
	for name := range names {
		now, set := is[name]
		after, stays := was[name]
		if set == stays && now == after {
			continue
		}
		u.Changes = append(u.Changes, Change{Setting: Setting{Name: name}, Set: set, Now: now, After: after, Gone: !stays})
	}
	slices.SortFunc(u.Changes, func(a, b Change) int { return strings.Compare(a.Name, b.Name) })
}

// Undo puts the copy in main.cf's place. What main.cf was meanwhile stays
// beside it; master.cf stays, which Apply never changes.
func (i Instance) Undo(ctx context.Context, u *Undoing, now time.Time) (kept string, err error) {
	if kept, err = keep(u.dir, undoneMark, now, "main.cf"); err != nil {
		return "", fmt.Errorf("undoing: %w", err)
	}
	if err := os.Rename(u.Backup, filepath.Join(u.dir, "main.cf")); err != nil {
		return "", fmt.Errorf("undoing: %w", err)
	}
	if _, err := i.run(ctx, "postfix", "check"); err != nil {
		return kept, fmt.Errorf("undone, but Postfix does not like it: %w", err)
	}
	return kept, nil
}

// Reload makes a running Postfix read its configuration again.
func (i Instance) Reload(ctx context.Context) error {
	_, err := i.run(ctx, "postfix", "reload")
	return err
}
