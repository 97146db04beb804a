package convert

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// inside is the user's number in the sandbox. It is not 0, so that no program
// that is started there has a capability.
const inside = 1000

// Limits of each process, besides memory and time.
const (
	maxFile      = 256 << 20 // bytes of one file
	maxWork      = 256 << 20 // bytes of all files together, in memory
	maxProcesses = 256       // threads count
	maxFiles     = 512
	extraSpace   = 4 << 30 // bytes of address space beyond memory: libraries, fonts, what is only reserved
)

// startable is this program, to be started in new namespaces.
func startable(ctx context.Context) (*exec.Cmd, error) {
	if os.Getenv(childMark) != "" {
		return nil, errors.New("convert: a sandbox in a sandbox: the program does not call ChildMain")
	}
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Args = []string{"milterd: convert"}
	cmd.Env = []string{childMark + "=1", "GOMEMLIMIT=256MiB"}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNET | unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: inside, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: inside, HostID: os.Getgid(), Size: 1}},
		AmbientCaps: []uintptr{unix.CAP_SYS_ADMIN}, // for its mounts; given up before LibreOffice starts
		Setpgid:     true,
	}
	return cmd, nil
}

// explain says what an administrator can do about a kernel that does not let us.
func explain(err error) error {
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOSYS) {
		return fmt.Errorf("%w (the sandbox needs user namespaces and Linux 5.12: sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns; under systemd, convert.conf of docs/admin.md)", err)
	}
	return err
}

// shown are the folders and files of the machine that the sandbox has, where
// there are any: libraries, LibreOffice, fonts. Nothing else of /etc, /var, /run
// or /home is there, so a document that links to it gets nothing.
var shown = []string{"/usr/lib", "/usr/lib64", "/usr/share", "/usr/local/share/fonts", "/lib", "/lib64",
	"/etc/fonts", "/etc/libreoffice", "/etc/ld.so.cache", "/var/cache/fontconfig", "/var/lib/libreoffice",
	"/dev/null", "/dev/zero", "/dev/random", "/dev/urandom"}

// enclose makes of this process's namespaces the sandbox, and limits it. The
// calling goroutine stays on its thread, which alone gives up its capability: it
// must be the one that starts programs.
func enclose(o order) error {
	runtime.LockOSThread()
	os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0) // rather this than the server; where forbidden, so be it
	if err := limit(o); err != nil {
		return err
	}
	if err := newRoot(o.Program); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("giving up capabilities: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("giving up privileges: %w", err)
	}
	return nil
}

func limit(o order) error {
	seconds := uint64(2*o.Time/time.Second) + 2 // two threads may be busy all the time
	for _, l := range []struct {
		name     string
		resource int
		value    uint64
	}{
		{"memory", unix.RLIMIT_DATA, uint64(o.Memory)},
		{"address space", unix.RLIMIT_AS, uint64(o.Memory) + extraSpace},
		{"processor time", unix.RLIMIT_CPU, seconds},
		{"file size", unix.RLIMIT_FSIZE, maxFile},
		{"processes", unix.RLIMIT_NPROC, maxProcesses},
		{"files", unix.RLIMIT_NOFILE, maxFiles},
		{"core", unix.RLIMIT_CORE, 0},
	} {
		if err := syscall.Setrlimit(l.resource, &syscall.Rlimit{Cur: l.value, Max: l.value}); err != nil {
			return fmt.Errorf("limiting %s: %w", l.name, err)
		}
	}
	return nil
}

// newRoot puts a file system in memory in the place of the machine's. The
// machine's is first moved below it, so that it does not matter which of its
// folders the new one was mounted on.
func newRoot(program string) error {
	const at, old = "/tmp", "/machine" // /tmp is on every machine
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	if err := memory(at, "size=1m,mode=755"); err != nil {
		return err
	}
	if err := os.Mkdir(at+old, 0o700); err != nil {
		return fmt.Errorf("making a root: %w", err)
	}
	if err := unix.PivotRoot(at, at+old); err != nil {
		return fmt.Errorf("changing the root: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return fmt.Errorf("changing the root: %w", err)
	}
	if err := os.Mkdir(work, 0o700); err != nil {
		return fmt.Errorf("making a root: %w", err)
	}
	if err := memory(work, fmt.Sprintf("size=%d,mode=700,nr_inodes=10000", maxWork)); err != nil {
		return err
	}
	for _, name := range visible(program) {
		if err := show(old, name); err != nil {
			return err
		}
	}
	if err := unix.Unmount(old, unix.MNT_DETACH); err != nil {
		return fmt.Errorf("leaving the machine's files: %w", err)
	}
	if err := os.Remove(old); err != nil {
		return fmt.Errorf("leaving the machine's files: %w", err)
	}
	if err := unix.MountSetattr(unix.AT_FDCWD, "/", 0, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}); err != nil {
		return fmt.Errorf("closing the root: %w", err)
	}
	return nil
}

func memory(at, options string) error {
	if err := unix.Mount("milterd", at, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		return fmt.Errorf("mounting memory: %w", err)
	}
	return nil
}

// visible are the places that are shown, with the program's own where it has one:
// what is installed in /opt/libreoffice has its program in /opt/libreoffice/program.
func visible(program string) []string {
	for _, s := range shown {
		if strings.HasPrefix(program, s+"/") {
			return shown
		}
	}
	own := filepath.Dir(program)
	if filepath.Base(own) == "program" {
		own = filepath.Dir(own)
	}
	return append(shown[:len(shown):len(shown)], own)
}

// show gives a place of the machine, which is now below old, to the new root.
func show(old, name string) error {
	info, err := os.Lstat(old + name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = os.MkdirAll(filepath.Dir(name), 0o755)
	}
	switch {
	case err != nil:
	case info.Mode()&fs.ModeSymlink != 0: // /lib leads to /usr/lib
		var to string
		if to, err = os.Readlink(old + name); err == nil {
			err = os.Symlink(to, name)
		}
	case info.IsDir():
		if err = os.MkdirAll(name, 0o755); err == nil {
			err = bind(old+name, name, unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV)
		}
	default:
		attr := uint64(unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID)
		if info.Mode()&fs.ModeDevice == 0 {
			attr |= unix.MOUNT_ATTR_NODEV
		}
		if err = os.WriteFile(name, nil, 0o644); err == nil {
			err = bind(old+name, name, attr)
		}
	}
	if err != nil {
		return fmt.Errorf("showing %s: %w", name, err)
	}
	return nil
}

// bind includes what is mounted below: without that the kernel refuses, since
// it could uncover what somebody has covered.
func bind(from, to string, attr uint64) error {
	if err := unix.Mount(from, to, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return err
	}
	return unix.MountSetattr(unix.AT_FDCWD, to, unix.AT_RECURSIVE, &unix.MountAttr{Attr_set: attr})
}

// start runs LibreOffice once, from the thread that has nothing to lose.
func start(o order, source string, complaint *tail, end time.Time) (status int, err error) {
	ctx, cancel := context.WithDeadline(context.Background(), end)
	defer cancel()
	cmd := exec.CommandContext(ctx, o.Program, arguments(o, source)...)
	cmd.Env, cmd.Dir = environment(o.Program), work
	cmd.Stdout, cmd.Stderr = complaint, complaint
	cmd.WaitDelay = time.Second // a grandchild may hold the pipe
	err = cmd.Run()
	return cmd.ProcessState.ExitCode(), err
}
