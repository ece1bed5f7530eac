package host

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"modwsgi/internal/fault"
)

// As calls f on a thread that accesses files with the rights of an account. The kernel
// applies all its rules, including capabilities and access control lists. The thread is
// not reused.
func As(a *Account, f func() error) error {
	if a == nil || !a.Other {
		return f()
	}
	result := make(chan error)
	go func() {
		// Never unlocked, so the thread ends with this goroutine, unless it is the
		// first thread of the process, which Go keeps. So restore its rights too.
		runtime.LockOSThread()
		result <- func() error {
			// Raw calls change this thread only. Those of package syscall would change
			// all threads.
			before, err := unix.Getgroups()
			if err != nil {
				return err
			}
			defer func() {
				_ = unix.Setfsuid(os.Geteuid())
				_ = unix.Setfsgid(os.Getegid())
				_ = unix.Setgroups(before)
			}()
			if err := unix.Setgroups(a.Groups); err != nil {
				return fault.New(fault.Environment, "root lacks the right to change users here (CAP_SETGID, CAP_SETUID)", "become the user %s: %w", a.User, err)
			}
			// These calls never report errors. Without the required capability, they have
			// no effect, and httpd could not change users either.
			_ = unix.Setfsgid(a.GID)
			_ = unix.Setfsuid(a.UID)
			return f()
		}()
	}()
	return <-result
}
