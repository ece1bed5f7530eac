package express

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// as calls f on a thread that reaches files with the rights of an account, by
// the kernel's own rules (capabilities, access lists and all). The thread is not
// used again.
func as(a *account, f func() error) error {
	if a == nil || !a.other {
		return f()
	}
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with us
		result <- func() error {
			// The raw calls change this thread only; those of package syscall
			// would change all of them.
			if err := unix.Setgroups(a.groups); err != nil {
				return err
			}
			if err := unix.Setfsgid(a.gid); err != nil {
				return err
			}
			if err := unix.Setfsuid(a.uid); err != nil {
				return err
			}
			return f()
		}()
	}()
	return <-result
}
