package doctor

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// connect connects as Postfix's process would: as its user, in its chroot. Linux keeps
// these for each thread, so a thread is changed, used, and thrown away. Without
// root it connects as ourselves.
func (id identity) connect(path string) (net.Conn, error) {
	if !id.able {
		return id.dial(path)
	}
	type result struct {
		fd  int
		err error
	}
	done := make(chan result)
	go func() {
		// Never unlocked: the thread ends with this goroutine.
		runtime.LockOSThread()
		fd, err := id.become(path)
		done <- result{fd, err}
	}()
	r := <-done
	if r.err != nil {
		return nil, r.err
	}
	f := os.NewFile(uintptr(r.fd), path)
	defer f.Close()
	return net.FileConn(f)
}

// become changes the calling thread and connects. The system calls are made
// by hand where the libraries would change every thread.
func (id identity) become(path string) (int, error) {
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return 0, fmt.Errorf("unshare: %w", err)
	}
	if err := unix.Chdir(id.folder); err != nil {
		return 0, fmt.Errorf("cd %s: %w", id.folder, err)
	}
	if id.root != "" {
		if err := unix.Chroot(id.root); err != nil {
			return 0, fmt.Errorf("chroot %s: %w", id.root, err)
		}
		if err := unix.Chdir("/"); err != nil {
			return 0, err
		}
	}
	if err := setIDs(id.uid, id.gid, id.groups); err != nil {
		return 0, err
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("socket: %w", err)
	}
	timeout := unix.NsecToTimeval(patience.Nanoseconds())
	err = errors.Join(unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &timeout),
		unix.Connect(fd, &unix.SockaddrUnix{Name: path}))
	if err != nil {
		unix.Close(fd)
		return 0, fmt.Errorf("connecting: %w", err)
	}
	return fd, nil
}

// setIDs gives up root for good, on this thread alone.
func setIDs(uid, gid int, groups []int) error {
	list := make([]uint32, len(groups)+1)
	for i, g := range groups {
		list[i] = uint32(g)
	}
	list[len(groups)] = uint32(gid)
	for _, c := range []struct {
		name          string
		trap, a, b, c uintptr
	}{
		{"setgroups", unix.SYS_SETGROUPS, uintptr(len(list)), uintptr(unsafe.Pointer(&list[0])), 0},
		{"setresgid", unix.SYS_SETRESGID, uintptr(gid), uintptr(gid), uintptr(gid)},
		{"setresuid", unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)},
	} {
		if _, _, errno := unix.RawSyscall(c.trap, c.a, c.b, c.c); errno != 0 {
			return fmt.Errorf("%s: %w", c.name, errno)
		}
	}
	runtime.KeepAlive(list)
	return nil
}

// kernelClock is adjtimex(2): whether something disciplines the clock.
func kernelClock() error {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	if err != nil {
		return fmt.Errorf("asking the kernel about the clock: %w", err)
	}
	if state == unix.TIME_ERROR || t.Status&unix.STA_UNSYNC != 0 {
		return errors.New("the kernel says that no time server steers the clock")
	}
	return nil
}

// free is the space on the file system of a path that ordinary users may use,
// and its size.
func free(path string) (bytes, of int64, err error) {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return 0, 0, err
	}
	return int64(s.Bavail) * s.Bsize, int64(s.Blocks) * s.Bsize, nil
}
