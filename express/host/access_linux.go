package host

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"modwsgi/internal/fault"
)

// As calls f on a thread that reaches files with the rights of an account, by
// the kernel's own rules (capabilities, access lists and all). The thread is not
// used again.
func As(a *Account, f func() error) error {
	if a == nil || !a.Other {
		return f()
	}
	result := make(chan error)
	go func() {
		// Never unlocked: the thread ends with us, unless it is the first one of
		// the process, which Go puts aside. So its rights are given back as well.
		runtime.LockOSThread()
		result <- func() error {
			// The raw calls change this thread only; those of package syscall
			// would change all of them.
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
			// These two never fail: without the right to it they do nothing, and
			// httpd could not change users either.
			_ = unix.Setfsgid(a.GID)
			_ = unix.Setfsuid(a.UID)
			return f()
		}()
	}()
	return <-result
}
